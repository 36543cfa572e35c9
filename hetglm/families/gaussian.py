"""Gaussian family: V(mu) = 1, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.families.base import Rows
from hetglm.families.exponential import ExponentialDispersion
from hetglm.typing import Array


class Gaussian(ExponentialDispersion):
    """Normal distribution with variance phi."""

    name = "Gaussian"
    variance_formula = "phi"
    scale_power = 0.0

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Accept every finite response."""

    def in_domain(self, mu: Array) -> Array:
        """Return where mu is finite."""
        return np.isfinite(mu)

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return 1 and 0."""
        return np.ones_like(mu), np.zeros_like(mu)

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return (y - mu)^2."""
        return (rows.y - mu) ** 2

    def deviance_slope(self, y: Array, mu: Array) -> Array:
        """Return 2 (y - mu)."""
        return 2 * (y - mu)

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return log 1 = 0."""
        return np.zeros_like(y)

    def start(self, rows: Rows) -> Array:
        """Return y itself."""
        return rows.y

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the normal distribution."""
        return stats.norm(loc=mu, scale=np.sqrt(phi))
