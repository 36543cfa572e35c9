"""Formula interface, as in statsmodels."""
