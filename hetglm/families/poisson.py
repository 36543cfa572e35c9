"""Poisson family: the distribution of a count without a dispersion parameter, phi = 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.families.base import Family, Rows, Terms
from hetglm.families.exponential import LOG_2PI, divergence
from hetglm.families.negbin import NegativeBinomial, negative_binomial
from hetglm.families.special.stirling import stirling
from hetglm.typing import Array
from hetglm.utils.messages import require


class Poisson(Family):
    r"""
    Poisson count with mean mu; the likelihood does not depend on phi, which is 1.

    The log-probability is :math:`-d/2` less its value at mu = y, with d the deviance and by
    :math:`\log y! = y \log y - y + \frac12\log(2\pi y) + \delta(y)` no large terms to cancel.
    """

    name = "Poisson"
    variance_formula = "mu"
    discrete = True
    has_dispersion = False

    @property
    def mixed_family(self) -> Family:
        """The negative binomial: a Poisson count whose mean is a gamma variable."""
        return NegativeBinomial()

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError where y is no count, or nowhere positive."""
        require(y < 0, name, "a Poisson response must not be negative")
        whole = (
            "a count must be a whole number; for a rate give the count, and its exposure=, or "
            "offset_dispersion=0 for the extended quasi-likelihood with phi = 1"
        )
        require(~(y == np.floor(y)), name, whole)
        if not np.any(y > 0):
            raise ValueError(f"{name}: every response is 0, so the mean has no finite estimate")

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the rows with the log-probability of each count at the mean that equals it."""
        some = np.where(y > 0, y, 1.0)
        return Rows(y, None, np.where(y > 0, -0.5 * (LOG_2PI + np.log(some)) - stirling(some), 0.0))

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 [y log(y/mu) - (y - mu)]."""
        return 2 * divergence(rows.y, mu)

    def evaluate(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """Return the log-likelihood and its derivatives, 0 in phi; -inf where mu is inadmissible."""
        with np.errstate(all="ignore"):
            value = rows.constant - 0.5 * self.unit_deviance(rows, mu, nu)
            inside = (mu >= 0) & (mu < np.inf) & ((mu > 0) | (rows.y == 0))
            loglike = np.where(inside, value, -np.inf)
            if order == 0:
                return Terms(loglike)
            first, none = self.approximate_score(rows, mu, nu, phi)
            if order == 1:
                return Terms(loglike, first, none)
            second = np.where(rows.y > 0, -rows.y / mu / mu, none)
            return Terms(loglike, first, none, second, none.copy(), none.copy())

    def approximate_score(self, rows: Rows, mu: Array, nu: Array | None, phi: Array) -> Array:
        """Return (y - mu)/mu, exact, and 0: without the log-likelihood, which costs more."""
        with np.errstate(all="ignore"):
            none = np.where(mu >= 0, 0.0, np.nan)
            return np.stack([np.where(rows.y > 0, (rows.y - mu) / mu, none - 1), none])

    def saturated(self, rows: Rows, phi: Array) -> Array:
        """Return the log-probability at the mean that equals the count."""
        return rows.constant.copy()

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -1/mu, and 0 for phi."""
        with np.errstate(all="ignore"):
            return -1 / mu, np.zeros_like(mu), np.zeros_like(mu)

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return mu."""
        return mu + 0 * phi

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return the alpha of the negative binomial with the variance of the mixture, spread / mu^2."""
        return spread / mu**2

    def start(self, rows: Rows) -> Array:
        """Return y moved halfway to its mean, or to 1 where all are 0."""
        return 0.5 * (rows.y + (rows.y.mean() or 1.0))

    def moment_dispersion(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 1."""
        return np.ones_like(mu)

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen distribution of the count: the negative binomial with alpha = 0."""
        return negative_binomial(mu, np.zeros_like(mu))
