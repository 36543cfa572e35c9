"""Residuals, influence, findings and their plots."""
