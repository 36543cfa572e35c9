"""Binomial family: the distribution of a number of successes without a dispersion parameter, phi = 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.families.base import Family, Rows, Terms
from hetglm.families.betabinomial import BetaBinomial, beta_binomial
from hetglm.families.exponential import LOG_2PI, divergence
from hetglm.families.special.stirling import stirling
from hetglm.typing import Array
from hetglm.utils.messages import require


class Binomial(Family):
    r"""
    Successes out of n trials of probability mu; the likelihood does not depend on phi, which is 1.

    The log-probability is :math:`-d/2` less its value at mu = y/n, with d the deviance of the count;
    :math:`\log n! = n \log n - n + \frac12\log(2\pi n) + \delta(n)` leaves no large terms to cancel.
    """

    name = "Binomial"
    variance_formula = "n mu (1 - mu)"
    unit_interval = True
    takes_trials = True
    discrete = True
    counts_successes = True
    has_dispersion = False

    @property
    def mixed_family(self) -> Family:
        """The beta-binomial: a binomial count whose probability is a beta variable."""
        return BetaBinomial()

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError where y is no number of successes out of the trials."""
        if trials is None:
            trials = np.ones_like(y)
        else:
            whole = (trials >= 1) & (trials == np.floor(trials)) & np.isfinite(trials)
            require(~whole, name, "n_trials must be whole numbers of at least 1")
        require(y < 0, name, "a number of successes must not be negative")
        require(
            ~(y == np.floor(y)),
            name,
            "a number of successes must be a whole number; give n_trials with proportions, or "
            "offset_dispersion=0 for the extended quasi-likelihood with phi = 1",
        )
        require(y > trials, name, "more successes than trials; give n_trials, or a 0/1 response")

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the rows with the log-probability of each count at the proportion observed."""
        n = np.ones_like(y) if trials is None else np.broadcast_to(trials, np.shape(y))
        inside = (y > 0) & (y < n)
        k, n_ = np.where(inside, y, 1.0), np.where(inside, n, 2.0)
        rest = n_ - k
        value = -0.5 * (LOG_2PI + np.log(k) + np.log(rest / n_))
        value += stirling(n_) - stirling(k) - stirling(rest)
        return Rows(y, np.array(n, dtype=float), np.where(inside, value, 0.0))

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 [y log(y/(n mu)) + (n - y) log((n - y)/(n nu))]."""
        y, n = rows.y, _trials(rows)
        return 2 * (divergence(y, n * mu) + divergence(n - y, n * _upper(mu, nu)))

    def evaluate(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """Return the log-likelihood and its derivatives, 0 in phi; -inf where mu is inadmissible."""
        nu, y = _upper(mu, nu), rows.y
        rest = _trials(rows) - y
        with np.errstate(all="ignore"):
            value = rows.constant - 0.5 * self.unit_deviance(rows, mu, nu)
            inside = (mu >= 0) & (nu >= 0) & ((mu > 0) | (y == 0)) & ((nu > 0) | (rest == 0))
            loglike = np.where(inside, value, -np.inf)
            if order == 0:
                return Terms(loglike)
            first, none = self.approximate_score(rows, mu, nu, phi)
            if order == 1:
                return Terms(loglike, first, none)
            up, down = _per(y, mu, mu), _per(rest, nu, nu)
            return Terms(loglike, first, none, none - up - down, none.copy(), none.copy())

    def approximate_score(self, rows: Rows, mu: Array, nu: Array | None, phi: Array) -> Array:
        """Return y/mu - (n - y)/nu, exact, and 0: without the log-likelihood, which costs more."""
        nu, rest = _upper(mu, nu), _trials(rows) - rows.y
        with np.errstate(all="ignore"):
            none = np.where((mu >= 0) & (nu >= 0), 0.0, np.nan)
            return np.stack([none + _per(rows.y, mu) - _per(rest, nu), none])

    def saturated(self, rows: Rows, phi: Array) -> Array:
        """Return the log-probability at the proportion observed."""
        return rows.constant.copy()

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -n/(mu nu), and 0 for phi."""
        with np.errstate(all="ignore"):
            return -_trials(rows) / (mu * _upper(mu, nu)), np.zeros_like(mu), np.zeros_like(mu)

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return the variance of the count, n mu nu."""
        return (1.0 if trials is None else trials) * mu * _upper(mu, nu) + 0 * phi

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return the sigma of the beta-binomial with the variance of the mixture."""
        return BetaBinomial().mixed_dispersion(mu, nu, np.zeros_like(mu), spread)

    def start(self, rows: Rows) -> Array:
        """Return (y + 1/2)/(n + 1)."""
        return (rows.y + 0.5) / (_trials(rows) + 1)

    def moment_dispersion(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 1."""
        return np.ones_like(mu)

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen distribution of the count: the beta-binomial with sigma = 0."""
        n = np.ones_like(mu) if trials is None else np.asarray(trials, dtype=float)
        return beta_binomial(mu, _upper(mu, nu), np.zeros_like(mu), n)


def _upper(mu: Array, nu: Array | None) -> Array:
    """Return nu, or 1 - mu where it was not given."""
    return 1 - mu if nu is None else nu


def _per(count: Array, *shares: Array) -> Array:
    """Return a count over one share after the other, 0 for none."""
    quotient = count
    for share in shares:
        quotient = quotient / share
    return np.where(count > 0, quotient, 0.0)


def _trials(rows: Rows) -> Array:
    """Return the trials, which `Binomial.prepare` sets."""
    assert rows.trials is not None
    return rows.trials
