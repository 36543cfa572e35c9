"""From a criterion to estimates with their covariance."""
