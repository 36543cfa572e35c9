"""Gamma family: V(mu) = mu^2, exact by its digamma form."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.families.base import Rows
from hetglm.families.exponential import ExponentialDispersion, divergence
from hetglm.families.special.stirling import stirling, stirling1, stirling2
from hetglm.typing import Array
from hetglm.utils.messages import require


class Gamma(ExponentialDispersion):
    r"""
    Gamma distribution with mean mu and variance phi mu^2 (shape k = 1/phi).

    With :math:`\log\Gamma(k) = (k - \frac12)\log k - k + \frac12\log 2\pi + \delta(k)` the
    log-likelihood is :math:`-kd/2 - \log y + \frac12\log(k/2\pi) - \delta(k)`: no large terms
    cancel, and :math:`\delta` is the whole distance to the saddlepoint (extended quasi-likelihood)
    form.
    """

    name = "Gamma"
    variance_formula = "phi mu^2"
    scale_power = 2.0

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise where the response is not positive."""
        require(y <= 0, name, "a Gamma response must be positive")

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu^2 and 2 mu."""
        return mu**2, 2 * mu

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 [(y - mu)/mu - log(y/mu)]."""
        return 2 * divergence(mu, rows.y) / mu

    def deviance_slope(self, y: Array, mu: Array) -> Array:
        """Return 2 (1/mu - 1/y)."""
        return 2 * (y - mu) / (mu * y)

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return 2 log y."""
        return 2 * np.log(y)

    def dispersion_terms(self, rows: Rows, phi: Array, d: Array, order: int) -> tuple[Array, ...]:
        """Return the saddlepoint form less delta(1/phi), and derivatives."""
        k = 1 / phi
        value = -0.5 * (np.log(phi) + d * k) - stirling(k)
        if order == 0:
            return (value,)
        first, second = k**2 * stirling1(k), k**3 * (2 * stirling1(k) + k * stirling2(k))
        return value, 0.5 * (d * k - 1) * k + first, (0.5 - d * k) * k**2 - second

    def information_phi(self, phi: Array) -> Array:
        """Return k^4 [trigamma(k) - 1/k] with k = 1/phi."""
        k = 1 / phi
        return k**2 * (0.5 + k**2 * stirling2(k))

    def start(self, rows: Rows) -> Array:
        """Return y moved halfway to its mean."""
        return 0.5 * (rows.y + rows.y.mean())

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return scipy's gamma: shape 1/phi, scale mu phi."""
        return stats.gamma(1 / phi, scale=mu * phi)
