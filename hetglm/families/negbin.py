"""Negative binomial family (NB2): overdispersed counts, down to the Poisson at alpha = 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hetglm.families.base import BoundaryFamily, ModelSpec, Rows, Terms
from hetglm.families.quantiles import quantiles
from hetglm.families.special.negbin import log_factors, log_probability
from hetglm.families.special.summation import (
    MAX_TERMS_SUMMED,
    N_END_TERMS,
    NODE_WEIGHTS,
    NODES,
    end_weights,
    flat,
)
from hetglm.typing import Array
from hetglm.utils.messages import require

#: Means and dispersions below this are evaluated at it: no power of it underflows.
MIN_VALUE = 1e-100

#: Means and dispersions above this are evaluated at it: no power of it overflows.
MAX_VALUE = 1e100

#: Minus the log probability of the tails that sums over counts leave out.
MAX_LOG_TAIL = 50.0

#: Width of a panel of an integrated sum, in standard deviations of log y.
PANEL_WIDTH = 1.5

#: Points evaluated at a time.
MAX_POINTS = 500_000

#: Largest mean that NumPy draws a Poisson count from.
MAX_POISSON_MEAN = 9e18


class NegativeBinomial(BoundaryFamily):
    r"""
    Negative binomial count with mean mu and variance mu + alpha mu^2.

    A Poisson count whose mean is a gamma variable of shape 1/alpha; at alpha = 0 it is the Poisson, and
    value and derivatives are continuous there. Mean and dispersion are information-orthogonal.
    """

    name = "Negative binomial"
    symbol = "alpha"
    variance_formula = "mu + alpha mu^2"
    limit_at_zero = "Poisson"
    limit_at_infinity = "all zero"
    mean_at_infinity = False
    discrete = True
    model = ModelSpec(
        title="Negative binomial model (NB2) with linear predictors for mean and log dispersion.",
        text="""
Counts with Var(y) = mu + alpha mu^2: Poisson counts whose mean has a Gamma distribution of shape
1/alpha. alpha = 0 is the Poisson. glmmTMB's ``nbinom2`` has phi = 1/alpha; gamlss's ``NBI`` and
Stata's ``gnbreg`` have log(alpha), as here.""",
        endog="Counts.",
        references="""
Lawless, J. F. (1987). Negative binomial and mixed Poisson regression. Canadian Journal of
Statistics 15, 209-225.""",
        example="""
>>> splicing = het.datasets.load_splicing()
>>> res = hmf.negativebinomial("N ~ id | group", splicing).fit()
>>> print(res.params_dispersion.round(4).to_string())
Intercept    -3.3185
group[T.b]   -0.2087""",
        link="Log",
        refused={
            "n_trials": "counts out of n trials are for BetaBinomial; for time or area use exposure",
            "var_weights": "use exposure for time or area, freq_weights for repeated rows",
        },
        aliases=("nb", "nbinom", "negbin", "nbi"),
    )

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError where y is no count, or nowhere positive."""
        require(y < 0, name, "a count must not be negative")
        whole = "a count must be a whole number; for a rate give the count, and its exposure="
        require(~(y == np.floor(y)), name, whole)
        if not np.any(y > 0):
            raise ValueError(f"{name}: every response is 0, so the mean has no finite estimate")

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the rows with what depends on the counts alone."""
        return Rows(y, None, log_factors(y))

    def evaluate(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """Return the log-likelihood and its derivatives; -inf where mu or alpha is inadmissible."""
        out = log_probability(rows.y, *_within(mu, phi), order)
        out[0] += rows.constant
        out[2::2, phi > MAX_VALUE] = 0.0  # constant from there on
        out[5:, phi > MAX_VALUE] = 0.0
        out[0, (rows.y > 0) & ((mu == 0) | (phi == np.inf))] = -np.inf
        wrong = ~((mu >= 0) & (mu < np.inf) & (phi >= 0))
        out[0, wrong] = -np.inf
        out[1:, wrong] = np.nan
        return Terms(*out)

    def saturated(self, rows: Any, phi: Array) -> Array:
        """Return the log-likelihood at the count itself, where its score in the mean is 0."""
        none = rows.y == 0  # the limit at mu = 0 is 0
        value = self.evaluate(rows, np.where(none, 1.0, rows.y), None, phi, 0).loglike
        return np.where(none, 0.0, value)

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -1/(mu + alpha mu^2), 0 and minus the expected square of the score in alpha."""
        m, a = _within(mu, phi)
        points, of_row = np.unique(np.column_stack([m, a]), axis=0, return_inverse=True)
        distinct = points[:, 0], points[:, 1]
        score2 = sum_over_counts(*distinct, *bulk(*distinct), function=_squared_score)
        inside = (mu > 0) & (mu < np.inf) & (phi >= 0)
        parts = -1 / _variance(m, a), np.zeros(len(m)), -score2[of_row.ravel()]
        mu_mu, mu_phi, phi_phi = (np.where(inside, part, np.nan) for part in parts)
        return mu_mu, mu_phi, phi_phi

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return mu + alpha mu^2."""
        return _variance(mu, phi)

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return alpha + (1 + alpha) spread / mu^2: gammas of mean 1 multiply their 1 + alpha."""
        return phi + (1 + phi) * spread / mu**2

    def start(self, rows: Rows) -> Array:
        """Return y moved halfway to its mean, or to 1 where all are 0."""
        return 0.5 * (rows.y + (rows.y.mean() or 1.0))

    def moment_dispersion(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return ((y - mu)^2 - mu)/mu^2 where the mean is large, less where it is small."""
        return np.maximum((rows.y - mu) ** 2 - mu, 0.0) / (mu * (1 + mu))

    def extreme_responses(self, rows: Rows) -> Array:
        """Return -1 where the count is 0, 0 elsewhere."""
        return np.where(rows.y == 0, -1.0, 0.0)

    def boundary_scale(self, rows: Rows) -> Array:
        """Return the counts, at least 1."""
        return np.maximum(rows.y, 1.0)

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen distribution of the count (scipy.stats.rv_discrete)."""
        return negative_binomial(mu, phi)


def _within(mu: Array, alpha: Array) -> tuple[Array, Array]:
    """Return mean and dispersion within what can be evaluated."""
    return np.clip(mu, MIN_VALUE, MAX_VALUE), np.clip(alpha, 0.0, MAX_VALUE)


def _variance(mu: Array, alpha: Array) -> Array:
    """Return the variance of the count."""
    return mu * (1 + alpha * mu)


# Sums over counts ---------------------------------------------------------------------------------


def _squared_score(y: Array, mu: Array, alpha: Array) -> tuple[Array, Array]:
    """Return the log-probability and the squared score in alpha."""
    value, _, score = log_probability(y, mu, alpha, 1)
    return value + log_factors(y), score * score


def _unity(y: Array, mu: Array, alpha: Array) -> tuple[Array, Array]:
    """Return the log-probability and ones."""
    value = log_probability(y, mu, alpha, 0)[0] + log_factors(y)
    return value, np.ones_like(value)


def bulk(mu: Array, alpha: Array) -> tuple[Array, Array]:
    """
    Return the smallest and the largest count of probability above e^-MAX_LOG_TAIL, shape (n,) each.

    By Chernoff's bounds of the Gamma mean and of the Poisson count given it.
    """
    spread = MAX_LOG_TAIL * alpha
    high = mu * (1 + spread + np.sqrt(spread * (spread + 2)))
    low = mu * np.maximum(1 - np.sqrt(2 * spread), 0.0)
    low = low - np.sqrt(2 * MAX_LOG_TAIL * low)
    high = high + MAX_LOG_TAIL + np.sqrt(2 * MAX_LOG_TAIL * high)
    return np.floor(np.maximum(low, 0.0)), np.ceil(high)


def sum_over_counts(mu: Array, alpha: Array, low: Array, high: Array, function: Any) -> Array:
    """
    Return the sum of P(Y = y) h(y) over low <= y <= high for every row.

    Sums of up to 300 terms are taken term by term. Of the longer ones the first and last 48 terms
    are, and what is between is the integral over log y by Gauss-Legendre in panels, with Gauss's
    second summation formula at both limits.

    Parameters
    ----------
    mu, alpha, low, high : ndarray, shape (n,)
        Parameters and limits (whole numbers).
    function : callable
        Takes (y, mu, alpha) and returns the log-probability and h.

    Returns
    -------
    ndarray, shape (n,)
    """
    out = np.zeros(len(mu))
    long = high - low >= MAX_TERMS_SUMMED
    cost = np.where(long, 2 * MAX_TERMS_SUMMED, np.maximum(high - low + 1, 0))
    chunk = (np.cumsum(cost) // MAX_POINTS).astype(int)
    for i in np.unique(chunk):
        for some, points in ((~long, _every), (long, _nodes)):
            rows = np.flatnonzero(some & (chunk == i))
            if len(rows):
                y, weight, of_row = points(mu[rows], alpha[rows], low[rows], high[rows])
                with np.errstate(all="ignore"):
                    value, h = function(y, mu[rows][of_row], alpha[rows][of_row])
                out[rows] = np.bincount(of_row, h * weight * np.exp(value), len(rows))
    return out


def _every(mu: Array, alpha: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return every count from low to high, weights of 1, and the row of each."""
    length = np.maximum(high - low + 1, 0).astype(int)
    of_row = np.repeat(np.arange(len(mu)), length)
    y = np.arange(len(of_row)) - np.repeat(np.cumsum(length) - length, length) + low[of_row]
    return y, np.ones(len(y)), of_row


def _nodes(mu: Array, alpha: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Return the counts at which a long sum is evaluated, their weights, and the row of each."""
    first, last = end_weights()
    step, ends = np.arange(len(first), dtype=float), np.ones((len(mu), 1))
    limits = np.log(np.stack([low + N_END_TERMS - 0.5, high - N_END_TERMS + 0.5]))
    width = PANEL_WIDTH * np.sqrt(np.minimum(1 / mu + alpha, 1.0))
    panels = int(np.ceil(np.max((limits[1] - limits[0]) / width)))
    half = 0.5 * (limits[1] - limits[0])[:, None, None] / panels
    centres = limits[0][:, None, None] + half * (2 * np.arange(panels)[:, None] + 1)
    inner = np.exp(centres + half * NODES).reshape(len(mu), -1)
    weight = inner * np.broadcast_to(half * NODE_WEIGHTS, (len(mu), panels, len(NODES))).reshape(
        len(mu), -1
    )
    y = np.hstack([low[:, None] + step, high[:, None] - step[::-1], inner])
    weights = np.hstack([ends * first, ends * last, weight])
    return y.ravel(), weights.ravel(), np.repeat(np.arange(len(mu)), y.shape[1])


# Distribution -------------------------------------------------------------------------------------


class NegativeBinomialDistribution(stats.rv_discrete):
    """
    Distribution of a negative binomial count, with shapes (mu, alpha); alpha = 0 is the Poisson.

    scipy's own `nbinom` forms log-gammas of size 1/alpha and has no Poisson.
    """

    def _argcheck(self, mu: Array, alpha: Array) -> NDArray[np.bool_]:
        return (mu >= 0) & (mu < np.inf) & (alpha >= 0)

    def _logpmf(self, k: Array, mu: Array, alpha: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (k, mu, alpha)))
        k, mu, alpha = flat(k, mu, alpha)
        family = NegativeBinomial()
        terms = family.evaluate(family.prepare(k, None), mu, None, alpha, 0)
        return terms.loglike.reshape(shape)

    def _pmf(self, k: Array, mu: Array, alpha: Array) -> Array:
        return np.exp(self._logpmf(k, mu, alpha))

    def _cdf(self, k: Array, mu: Array, alpha: Array) -> Array:
        return _probability(np.floor(k), mu, alpha, lower=True)

    def _sf(self, k: Array, mu: Array, alpha: Array) -> Array:
        return _probability(np.floor(k), mu, alpha, lower=False)

    def _ppf(self, q: Array, mu: Array, alpha: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (q, mu, alpha)))
        q, mu, alpha = flat(q, mu, alpha)

        def ratio(rows: Any) -> Any:
            mixed, a = mu[rows] / (1 + alpha[rows] * mu[rows]), alpha[rows]
            return lambda k: (mixed * (1 + a * k), k + 1)

        def factors(rows: Any) -> Any:
            return [(1 / alpha[rows], 1, 1), (np.ones(len(rows)), 1, -1)]

        highest = np.full_like(mu, np.inf)
        return quantiles(self, q, (mu, alpha), highest, ratio, factors).reshape(shape)

    def _stats(self, mu: Array, alpha: Array) -> tuple[Any, ...]:
        return mu, _variance(mu, alpha), None, None

    def _rvs(self, mu: Array, alpha: Array, size: Any = None, random_state: Any = None) -> Any:
        mu, alpha = np.asarray(mu, dtype=float), np.asarray(alpha, dtype=float)
        shape = np.clip(np.where(alpha > 0, 1 / np.where(alpha > 0, alpha, 1.0), 1.0), 1e-300, None)
        mixed = random_state.gamma(shape, size=size) * (mu / shape)
        drawn = np.where(alpha > 0, mixed, mu)
        return random_state.poisson(np.minimum(drawn, MAX_POISSON_MEAN))


def _probability(k: Array, mu: Array, alpha: Array, lower: bool) -> Array:
    """Return P(Y <= k), or P(Y > k): sums over the bulk, moved on where k lies beyond it."""
    shape = np.broadcast_shapes(*map(np.shape, (k, mu, alpha)))
    k, mu, alpha = flat(k, mu, alpha)
    m, a = _within(mu, alpha)
    low, high = bulk(m, a)
    if lower:
        low = np.maximum(np.minimum(low, k - np.ceil(m - low)), 0.0)
        total = sum_over_counts(m, a, low, np.minimum(k, high), _unity)
    else:
        total = sum_over_counts(m, a, np.maximum(k + 1, low), np.maximum(high, k + high), _unity)
    return np.minimum(total, 1.0).reshape(shape)


negative_binomial = NegativeBinomialDistribution(name="negative_binomial", shapes="mu, alpha")
