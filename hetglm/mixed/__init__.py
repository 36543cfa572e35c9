"""Random effects in both parts: covariance structures, Laplace's approximation, quadrature and fits."""
