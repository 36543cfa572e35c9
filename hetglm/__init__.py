"""Regression models for the mean and the dispersion of a response."""

from __future__ import annotations

__version__ = "0.1.0"
