"""Inverse Gaussian family: V(mu) = mu^3, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.families.base import Rows
from hetglm.families.exponential import ExponentialDispersion
from hetglm.typing import Array
from hetglm.utils.messages import require


class InverseGaussian(ExponentialDispersion):
    """Inverse Gaussian distribution with mean mu and variance phi mu^3 (shape 1/phi)."""

    name = "Inverse Gaussian"
    variance_formula = "phi mu^3"
    scale_power = 3.0

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise where the response is not positive."""
        require(y <= 0, name, "an inverse Gaussian response must be positive")

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu^3 and 3 mu^2."""
        return mu**3, 3 * mu**2

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return (y - mu)^2 / (mu^2 y)."""
        return ((rows.y - mu) / mu) ** 2 / rows.y

    def deviance_slope(self, y: Array, mu: Array) -> Array:
        """Return 1/mu^2 - 1/y^2."""
        return (y - mu) * (y + mu) / (mu * y) ** 2

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return 3 log y."""
        return 3 * np.log(y)

    def start(self, rows: Rows) -> Array:
        """Return y moved halfway to its mean."""
        return 0.5 * (rows.y + rows.y.mean())

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return scipy's invgauss: shape mu phi, scale 1/phi."""
        return stats.invgauss(mu * phi, scale=1 / phi)
