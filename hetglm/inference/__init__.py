"""Tests, intervals and model comparison, resampling included."""
