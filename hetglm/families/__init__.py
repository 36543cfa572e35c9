"""Families of distributions, and functions of them: NumPy and SciPy only."""
