"""Beta-binomial family: overdispersed counts out of n, down to the binomial at sigma = 0."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, xlogy

from hetglm.families.base import Family, Rows, Terms
from hetglm.families.quantiles import quantiles
from hetglm.families.special.betabinomial import (
    FEW,
    HEAD,
    Derivatives,
    Urn,
    all_draws,
    every_draw,
    first_draws,
    rough_score,
    shifted_draws,
    stirling,
    stirling_large,
)
from hetglm.typing import Array
from hetglm.utils.messages import require

#: Rows evaluated at a time: the temporaries stay near the cache, the calls cost little.
BLOCK = 10_000
#: Rows that are never split.
SPLIT = 2000
#: Rows split by regime at a time, into blocks of one regime each.
SORTED = 4 * BLOCK
#: Trials of a row, and trials times rows, up to which all draws are summed at once; and rows up to
#: which those of both regimes are evaluated in one.
PLAIN_TRIALS, PLAIN_CELLS, FEW_ROWS = 64, 4096, 400
#: glibc returns blocks above 128 kB to the system at every free, and faults their pages in again at
#: the next use (three quarters of the time of an evaluation), until one larger than these has been
#: freed. Allocating 4 MB, or somewhat more than a column, untouched, teaches it to keep temporaries.
UNTRIMMED = 1 << 19
np.empty(UNTRIMMED)
#: Below this expected number of successes, few of them are drawn one by one: what is left of the
#: derivatives in sigma is far smaller than the terms of the series, y^2/mu and y^3/mu^2.
RARE = 0.5
#: Means and dispersions beyond these are evaluated at them: no power of theirs over- or underflows.
SMALLEST, LARGEST = 1e-100, 1e100
#: Mild rows, which `shifted_draws` takes: sigma min(n sigma, 1) min(e, 4) and e = n mu/(1 + n sigma)
#: are at least these (they divide its rounding in the second derivatives; mu is the smaller tail),
MILD_SPREAD, MILD_SHARE = 1e-3, 1e-3
#: sigma and n within these (the products of eight steps neither over- nor underflow).
MILD_SIGMA, MILD_TRIALS = (1e-4, 10.0), 1e9
#: n sigma from which on `rough_score` has its five digits.
ROUGH_SPREAD = 0.1
#: Stirling's remainder of 1, ..., TABLE, and 0 for 0; from LEAST on by its series too.
TABLE, LEAST = 1024, 32
WHOLE = np.append(0.0, stirling(np.arange(1.0, TABLE + 1)))
#: k log k up to FEW.
ENTROPY = xlogy(np.arange(FEW + 1.0), np.arange(FEW + 1.0))
#: Longest sum over counts that is taken term by term; longer ones are integrated.
LONGEST = 300
#: Terms kept at either end of an integrated sum, for the end correction.
END = 48
#: Gauss-Legendre nodes in each panel, and panel edges in standard deviations from the centre.
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)
EDGES = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
#: Gauss's second summation formula: coefficients of the odd central differences at the ends.
END_DIFFERENCES = (1 / 24, -17 / 5760, 367 / 967680, -27859 / 464486400)
#: sigma from which on a drawn row is all or nothing: the others are 1e-12 of them.
ALL_OR_NOTHING = 1e12
#: Log odds between which the likeliest mean of a row is sought (expit(-40) = 4e-18).
LOGIT_RANGE = 40.0
#: Halvings of that interval down to rounding.
HALVINGS = 60
#: Largest moment estimate of the intraclass correlation that starts a fit.
LARGEST_RHO = 0.9


#: Memory that each thread keeps from one evaluation to the next.
_KEPT = threading.local()


@dataclass(frozen=True)
class Counts(Rows):
    """Rows with their trials; ``drawn`` holds successes, failures and trials, shape (3, n)."""

    trials: Array
    drawn: Array


def counts(y: Array, n: Array, table: int = TABLE) -> Counts:
    """Return the rows of y successes out of n; whole numbers below ``table``, LEAST or more."""
    drawn = np.empty((3, len(y)))
    drawn[0], drawn[2] = y, n
    np.subtract(n, y, out=drawn[1])
    return Counts(drawn[0], drawn[2], _log_orders(drawn, table), drawn)


def _log_orders(drawn: Array, table: int) -> Array:
    """Return log C(n, y), less n H(y/n)."""
    delta = WHOLE.take(np.minimum(drawn, table).astype(np.intp))
    large = drawn >= table
    if large.any():
        delta[large] = stirling_large(drawn[large])
    orders = drawn[0] * drawn[1]
    never = orders == 0
    orders[never] = 1
    np.divide(drawn[2] / (2 * np.pi), orders, out=orders)
    np.log(orders, out=orders)
    orders *= 0.5
    orders += delta[2]
    orders -= delta[0]
    orders -= delta[1]
    orders[never] = 0
    return orders


def _pieces(which: NDArray[np.bool_], urn: Urn) -> Iterator[Any]:
    """
    Yield blocks of the rows that are True, with the same draws or nearly so: indices or slices.

    Slices, which need no copies, may take in rows that are False where no row has first draws: those
    are mild, and written later.
    """
    rows = np.flatnonzero(which)
    if len(rows) == 0:
        return
    key = ((FEW + 1) * urn.ky + urn.kz).astype(np.uint8)
    whole = np.ptp(key) == 0 and (key[0] == 0 or len(rows) == len(which))
    if not whole:
        rows = rows[np.argsort(key[rows], kind="stable")]
    for i in range(0, len(which) if whole else len(rows), BLOCK):
        yield slice(i, i + BLOCK) if whole else rows[i : i + BLOCK]


def evaluate_counts(rows: Counts, mu: Array, nu: Array, sigma: Array, order: int) -> Array:
    """Return the log-likelihood and derivatives: shape (1, n), (3, n) or (6, n) by order."""
    size = len(rows.y)
    if size > UNTRIMMED:
        np.empty(size + size // 8)
    out = np.empty(((1, 3, 6)[order], size))
    rest_mild: list[NDArray[np.intp]] = []
    rest_hard: list[NDArray[np.intp]] = []
    with np.errstate(all="ignore"):
        for i in range(0, size, SORTED):
            part = slice(i, i + SORTED)
            args = mu[part], nu[part], sigma[part], rows.drawn[:, part]
            mild = _mild(mu[part], nu[part], sigma[part], rows.trials[part])
            if size <= FEW_ROWS and not mild.all():
                mild[:] = False
            if 2 * np.count_nonzero(mild) > len(mild):
                _evaluate_mild(*args, order, out[:, part])
                rest_hard.append(i + np.flatnonzero(~mild))
            else:
                _evaluate_hard(*args, order, ~mild, out[:, part])
                rest_mild.append(i + np.flatnonzero(mild))
        for some in _chunks(rest_mild):
            args = mu[some], nu[some], sigma[some], rows.drawn[:, some]
            out[:, some] = _evaluate_mild(*args, order, np.empty((len(out), len(some))))
        for some in _chunks(rest_hard):
            args = mu[some], nu[some], sigma[some], rows.drawn[:, some]
            out[:, some] = _evaluate_hard(*args, order, True, np.empty((len(out), len(some))))
    out[0] += rows.constant
    if order and size and rows.trials.min() <= 1:
        # one trial says nothing of sigma
        once = (rows.trials == 1) & (mu >= 0) & (nu >= 0) & (sigma >= 0)
        out[2, once] = 0.0
        out[4:, once] = 0.0
    return out


def _blocks(size: int) -> Iterator[slice]:
    """Yield blocks of rows, halves at least where that keeps temporaries below the rows' own memory."""
    step = min(BLOCK, max(SPLIT, -(-size // 2)))
    for i in range(0, size, step):
        yield slice(i, i + step)


def _workspace(size: int, dtype: Any = float) -> Array:
    """Return the work array of `shifted_draws` for so many rows, the same memory in each call."""
    if not hasattr(_KEPT, "cells"):
        _KEPT.cells = np.empty(8 * 6 * BLOCK)
    return _KEPT.cells.view(dtype)[: 8 * 6 * size].reshape(8, 6, size)


def _chunks(rows: list[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """Yield the rows, SORTED at a time."""
    together = np.concatenate(rows) if rows else np.empty(0, dtype=np.intp)
    for i in range(0, len(together), SORTED):
        yield together[i : i + SORTED]


def _mild(mu: Array, nu: Array, sigma: Array, n: Array) -> NDArray[np.bool_]:
    """Return whether `shifted_draws` keeps its accuracy; sigma does not matter to one trial."""
    mild = (sigma >= MILD_SIGMA[0]) & (sigma <= MILD_SIGMA[1]) & (n <= MILD_TRIALS)
    if not mild.any():
        return mild
    spread = sigma * n
    share = np.minimum(mu, nu)
    share *= n
    share /= 1 + spread
    mild &= share >= MILD_SHARE
    np.minimum(spread, 1, out=spread)
    spread *= sigma
    spread *= np.minimum(share, 4, out=share)
    return mild & ((spread >= MILD_SPREAD) | (n == 1))


def _evaluate_mild(
    mu: Array, nu: Array, sigma: Array, drawn: Array, order: int, out: Array
) -> Array:
    """Write the terms by `shifted_draws`, block by block, into ``out`` and return it."""
    for part in _blocks(len(mu)):
        args = mu[part], nu[part], sigma[part], drawn[:, part]
        shifted_draws(*args, order, _workspace(len(args[0])), out[:, part])
    return out


def rough_counts(rows: Counts, mu: Array, nu: Array, sigma: Array) -> Array | None:
    """Return the score to some five digits, float32 of shape (2, n); None where that takes more."""
    out = np.empty((2, len(mu)), dtype=np.float32)
    for part in _blocks(len(mu)):
        arrays = mu[part], nu[part], sigma[part], rows.drawn[:, part]
        m, w, s, drawn = (a.astype(np.float32) for a in arrays)
        if (s * drawn[2]).min() < ROUGH_SPREAD or not _mild(m, w, s, drawn[2]).all():
            return None
        rough_score(m, w, s, drawn, _workspace(len(s), np.float32), out[:, part])
    return out


def _evaluate_hard(
    m: Array, w: Array, s: Array, drawn: Array, order: int, hard: Any, out: Array
) -> Array:
    """Write the terms of the rows that are ``hard`` into ``out``, others too, and return it."""
    y, z, _ = drawn
    flip = (m > w).astype(float)
    dy = flip * (z - y)
    low, high = np.maximum(np.minimum(m, w), SMALLEST), np.maximum(m, w)
    if (most := drawn[2].max(initial=0)) <= PLAIN_TRIALS and most * len(m) <= PLAIN_CELLS:
        out[:] = every_draw(low, high, np.clip(s, 0, LARGEST), y + dy, z - dy, order)
    else:
        _by_regime(low, high, s, drawn, dy, order, hard, out)
    flip *= -2
    flip += 1
    out[1:5:3] *= flip
    if not (min(m.min(), w.min()) > 0 and s.min() >= 0 and s.max() <= LARGEST):
        _limits(out, y, z, m, w, s)
    return out


def _by_regime(
    low: Array, high: Array, s: Array, drawn: Array, dy: Array, order: int, hard: Any, out: Array
) -> None:
    """Write the terms of the rows that are ``hard``, by one or the other sum."""
    # the mild rows among them cost least as binomial ones
    urn, few = _urn(low, high, np.clip(s, 0, LARGEST) * hard, drawn[0] + dy, drawn[1] - dy)
    for take in _pieces(~few & hard, urn):
        _put(all_draws(_taken(urn, take), order), out, take)
    for take in _pieces(few & hard, urn):
        _put(first_draws(_taken(urn, take), order, False), out, take)
    if few.any():
        entropy = ENTROPY[drawn[:, few].astype(int)]
        out[0, few] += entropy[2] - entropy[0] - entropy[1]


def _put(terms: Derivatives, out: Array, rows: Any) -> None:
    """Write the terms of some rows."""
    for total, term in zip(out, terms, strict=False):
        total[rows] = term


def _urn(mu: Array, nu: Array, sigma: Array, y: Array, z: Array) -> tuple[Urn, NDArray[np.bool_]]:
    """
    Return the rows with their first draws, and which of them have no other draws.

    The first draws fill the urn up to HEAD sigma of each colour. Where successes are rare as many
    are taken at any sigma.
    """
    n = y + z
    rare = mu * n < RARE
    few = (n <= FEW) & (rare | (mu < HEAD * sigma))
    if HEAD * sigma.max() <= mu.min():
        ky, kz = np.zeros((2, len(n)))
    else:
        ky, kz = (np.fmax(np.ceil(HEAD - share / sigma), 0) for share in (mu, nu))
    for k, most in ((ky, y), (kz, z)):
        k[rare] = HEAD
        k[few] = FEW
        np.minimum(k, most, out=k)
    return Urn(mu, nu, sigma, y, z, ky, kz), few


def _taken(urn: Urn, rows: Any) -> Urn:
    """Return some rows."""
    return Urn(*(a[rows] for a in urn))


def _limits(out: Array, y: Array, z: Array, mu: Array, nu: Array, sigma: Array) -> None:
    """
    Put -inf where the response is impossible, NaN derivatives where a parameter is none.

    And continue a mixed row's 1/sigma from LARGEST on.
    """
    far = np.maximum(sigma / LARGEST, 1)
    out[0, y * z > 0] -= np.log(far[y * z > 0])
    for i, power in ((2, 1), (4, 1), (5, 2)):
        out[i : i + 1] /= far**power
    impossible = ((mu <= 0) & (y > 0)) | ((nu <= 0) & (z > 0)) | ((sigma == np.inf) & (y * z > 0))
    out[0, impossible] = -np.inf
    wrong = ~((mu >= 0) & (nu >= 0) & (sigma >= 0))
    if wrong.any():
        out[0, wrong] = -np.inf
        out[1:, wrong] = np.nan


class BetaBinomial(Family):
    r"""
    Beta-binomial count of successes out of n, with success probability mu and dispersion sigma.

    The probability of a row is Beta(mu/sigma, nu/sigma); sigma = 1/(alpha + beta) and the
    intraclass correlation is rho = sigma/(1 + sigma). At sigma = 0 it is the binomial, and value
    and derivatives are continuous there.
    """

    name = "Beta-binomial"
    symbol = "sigma"
    variance_formula = "n mu(1-mu) [1 + (n-1) rho], rho = sigma/(1+sigma)"
    unit_interval = True
    takes_trials = True
    zero_dispersion = True
    at_zero = "binomial"
    at_infinity = "all or nothing"
    silent = "rows of one trial"
    discrete = True
    counts_successes = True

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError where y is no count of successes out of the trials."""
        if trials is None:
            raise ValueError(
                f"{name}: a beta-binomial response needs the number of trials of each row; give "
                "n_trials=, or a response of two columns (successes, failures)"
            )
        bad_trials = "n_trials must be whole numbers of at least 1; leave out rows without trials"
        require(
            ~(np.isfinite(trials) & (trials >= 1) & (trials == np.floor(trials))), name, bad_trials
        )
        require(y < 0, name, "a number of successes must not be negative")
        require(
            ~(y == np.floor(y)),
            name,
            "a number of successes must be a whole number; for proportions write y * n_trials",
        )
        require(
            y > trials, name, "more successes than trials; give n_trials as all trials of a row"
        )
        if np.all(trials == 1):
            raise ValueError(
                f"{name}: every row has one trial, so the dispersion is unidentified; sum the "
                "successes and trials of each group into one row, or fit a binomial GLM"
            )

    def prepare(self, y: Array, trials: Array | None) -> Counts:
        """Return the rows with their log-binomial coefficients."""
        if trials is None:
            raise ValueError("a beta-binomial response needs the number of trials of each row")
        return counts(y, np.broadcast_to(trials, np.shape(y)))

    def evaluate(
        self, rows: Counts, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """
        Return the log-likelihood of each row and its derivatives in (mu, sigma), nu = 1 - mu.

        Parameters
        ----------
        rows : Rows
            From `prepare`.
        mu, nu : ndarray, shape (n,)
            The probability and one minus it; the smaller of the two is taken to be exact.
        phi : ndarray, shape (n,)
            sigma >= 0.
        order : int
            0, 1 or 2.

        Notes
        -----
        -inf where the row is impossible or a parameter is outside its range.
        """
        return Terms(*evaluate_counts(rows, mu, _upper(mu, nu), phi, order))

    def rough_score(self, rows: Counts, mu: Array, nu: Array | None, phi: Array) -> Array | None:
        """Return the first derivatives in mu and sigma to a few digits; None where that takes all."""
        with np.errstate(all="ignore"):
            return rough_counts(rows, mu, _upper(mu, nu), phi)

    def saturated(self, rows: Counts, phi: Array) -> Array:
        """Return the maximum over mu by bisection: a sum of log(mu + j sigma), log(nu + j sigma)."""
        low, high = np.full(len(rows.y), -LOGIT_RANGE), np.full(len(rows.y), LOGIT_RANGE)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            slope: Any = self.evaluate(rows, expit(middle), expit(-middle), phi, 1).mu
            low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
        value = self.evaluate(rows, expit(middle), expit(-middle), phi, 0).loglike
        # all or nothing: the limit at mu = 0 or 1 is 0
        return np.where((rows.y == 0) | (rows.y == rows.trials), 0.0, value)

    def expected_hessian(
        self, rows: Counts, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """
        Return the expected second derivatives: minus the expected products of the score.

        NaN where mu is not inside (0, 1) or sigma is negative or NaN.
        """
        points = np.column_stack([mu, _upper(mu, nu), phi, rows.trials])
        unique, where = np.unique(points, axis=0, return_inverse=True)
        sums = np.full((3, len(unique)), np.nan)
        good = (unique[:, :2] > 0).all(axis=1) & (unique[:, 2] >= 0)
        m, w, s, n = unique[good].T
        sums[:, good] = sum_over_counts(m, w, s, 0 * n, n, n, _squared_score)
        mu_mu, mu_phi, phi_phi = -sums[:, where.reshape(-1)]
        return mu_mu, mu_phi, phi_phi

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return the variance of the count."""
        n = _required(trials)
        return _count_variance(mu, _upper(mu, nu), phi, n)

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return sigma where the probability has variance rho mu nu + (1 - rho) spread."""
        share = np.minimum(spread / (mu * _upper(mu, nu)), 1.0)
        with np.errstate(divide="ignore"):
            return (phi + share) / (1 - share)

    def start(self, rows: Counts) -> Array:
        """Return (y + 1/2)/(n + 1)."""
        return (rows.y + 0.5) / (rows.trials + 1)

    def start_dispersion(self, rows: Counts, mu: Array, nu: Array | None) -> Array:
        """
        Return each row's moment estimate of sigma, at least 0.

        A row's squared Pearson residual has mean 1 + (n - 1) rho. A row of one trial says nothing
        of rho and is given the estimate of all rows together.
        """
        n = rows.trials
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = (rows.y - n * mu) ** 2 / (n * mu * _upper(mu, nu)) - 1
        informed = (n > 1) & np.isfinite(excess)
        pooled = np.sum(excess[informed]) / max(float(np.sum(n[informed] - 1)), 1.0)
        rho = np.where(informed, excess / np.maximum(n - 1, 1), pooled)
        rho = np.clip(rho, 0, LARGEST_RHO)
        return rho / (1 - rho)

    def sides(self, rows: Counts) -> Array:
        """Return -1 where no trial succeeded, 1 where all did, 0 elsewhere."""
        return np.where(rows.y == 0, -1.0, np.where(rows.y == rows.trials, 1.0, 0.0))

    def size(self, rows: Counts) -> Array:
        """Return the trials."""
        return rows.trials

    def indifferent(self, rows: Counts) -> Array | None:
        """Return the rows of one trial, None if there are none."""
        single = rows.trials == 1
        return single if single.any() else None

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen distribution of the count (scipy.stats.rv_discrete)."""
        return beta_binomial(mu, _upper(mu, nu), phi, _required(trials))


def _upper(mu: Array, nu: Array | None) -> Array:
    """Return nu, or 1 - mu where it was not given."""
    return 1 - mu if nu is None else nu


def _count_variance(mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
    """Return the variance of the count, for sigma = 0 and infinity too."""
    with np.errstate(divide="ignore"):
        rho = 1 / (1 + 1 / sigma)
    return n * mu * nu * (1 + (n - 1) * rho)


def _required(trials: Array | None) -> Array:
    """Return the trials, or raise."""
    if trials is None:
        raise ValueError("the beta-binomial needs the number of trials: give n_trials=")
    return np.asarray(trials, dtype=float)


# Sums over counts ---------------------------------------------------------------------------------


def _squared_score(rows: Counts, mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the log-likelihood and the products of the scores, shape (3, rows)."""
    value, a, b = evaluate_counts(rows, mu, nu, sigma, 1)
    return value, np.stack([a * a, a * b, b * b])


def _unity(rows: Counts, mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the log-likelihood and ones."""
    value = evaluate_counts(rows, mu, nu, sigma, 0)[0]
    return value, np.ones((1, len(value)))


def sum_over_counts(
    mu: Array, nu: Array, sigma: Array, low: Array, high: Array, n: Array, function: Any
) -> Array:
    """
    Return the sum of P(Y = y) h(y) over low <= y <= high for every row.

    Sums of up to 300 terms are taken term by term. Of the longer ones the first and last 48
    terms are, and what is between is the integral by Gauss-Legendre in panels around the
    centre of the distribution on the logit scale, where the beta-binomial is log-concave, with
    Gauss's second summation formula at both ends.

    Parameters
    ----------
    mu, nu, sigma, low, high, n : ndarray, shape (n,)
        Parameters and limits (whole numbers).
    function : callable
        Takes (rows, mu, nu, sigma) and returns the log-likelihood and h, shape (k, rows).

    Returns
    -------
    ndarray, shape (k, n)
    """
    length = np.maximum(high - low + 1, 0)
    long = length > LONGEST
    cost = np.where(long, LONGEST, length)
    chunk = np.floor(np.cumsum(cost) / (64 * BLOCK)).astype(int)
    parts = []
    for i in range(chunk[-1] + 1 if len(chunk) else 0):
        take = np.flatnonzero(chunk == i)
        args = (a[take] for a in (mu, nu, sigma, low, high, n, long))
        with np.errstate(all="ignore"):
            parts.append(_sum_chunk(function, *args))
    return np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))


def _sum_chunk(
    function: Any, mu: Array, nu: Array, s: Array, low: Array, high: Array, n: Array, long: Any
) -> Array:
    """Return `sum_over_counts` of some rows."""
    short = np.flatnonzero(~long)
    length = np.maximum(high - low + 1, 0)[short].astype(int)
    row = np.repeat(short, length)
    y = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length) + low[row]
    weight = np.ones(len(row))
    if long.any():
        many = np.flatnonzero(long)
        ys, weights = _nodes(mu[many], nu[many], s[many], low[many], high[many], n[many])
        row = np.concatenate([row, np.repeat(many, ys.shape[1])])
        y, weight = np.concatenate([y, ys.ravel()]), np.concatenate([weight, weights.ravel()])
    value, h = function(counts(y, n[row], LEAST), mu[row], nu[row], s[row])
    h = h * (weight * np.exp(value))
    return np.stack([np.bincount(row, v, minlength=len(mu)) for v in h])


def _nodes(
    mu: Array, nu: Array, s: Array, low: Array, high: Array, n: Array
) -> tuple[Array, Array]:
    """Return the counts at which a long sum is evaluated and their weights, shape (rows, nodes)."""
    first, last = end_weights()
    step = np.arange(len(first), dtype=float)
    left, right = low[:, None] + step, high[:, None] - step[::-1]
    inner, weight = _panels(mu, nu, s, low + END - 0.5, high - END + 0.5, n)
    ends = np.ones((len(n), 1))
    return np.hstack([left, right, inner]), np.hstack([ends * first, ends * last, weight])


def end_weights() -> tuple[Array, Array]:
    """Return the weights of the terms at the lower and upper end: 1, and the end correction."""
    reach = len(END_DIFFERENCES)
    weights = np.concatenate([np.ones(END), np.zeros(reach)])
    difference = np.array([-1.0, 1.0])
    for i, c in enumerate(END_DIFFERENCES):
        weights[END - 1 - i : END + 1 + i] += c * difference
        difference = np.convolve(difference, [1.0, -2.0, 1.0])
    return weights, weights[::-1]


def _panels(
    mu: Array, nu: Array, s: Array, low: Array, high: Array, n: Array
) -> tuple[Array, Array]:
    """Return nodes and weights of the integral over y from low to high."""
    limits = np.log(low / (n - low)), np.log(high / (n - high))
    centre = np.clip(np.log(mu / nu), *limits)
    variance = (s + 1 / n) / (mu * nu)
    scale = np.sqrt(np.minimum(variance, 1.0))
    offsets = np.concatenate([-EDGES[:0:-1], EDGES])
    edges = np.clip(
        centre[:, None] + scale[:, None] * offsets, limits[0][:, None], limits[1][:, None]
    )
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    theta = edges[:, :-1, None] + half * (1 + NODES)
    p = 1 / (1 + np.exp(-theta))
    y = n[:, None, None] * p
    weight = half * NODE_WEIGHTS * y * (1 - p)
    return y.reshape(len(n), -1), weight.reshape(len(n), -1)


# Distribution -------------------------------------------------------------------------------------


class BetaBinomialDistribution(stats.rv_discrete):
    """
    Distribution of a beta-binomial count, with shapes (mu, nu, sigma, n) and nu = 1 - mu.

    scipy's own `betabinom` forms log-gammas of size 1/sigma and is wrong by tens of nats at tiny
    sigma; this one is right down to sigma = 0, the binomial.
    """

    def _argcheck(self, mu: Array, nu: Array, sigma: Array, n: Array) -> NDArray[np.bool_]:
        whole = (n >= 0) & (n == np.floor(n))
        return whole & (mu >= 0) & (nu >= 0) & (abs(mu + nu - 1) < 1e-8) & (sigma >= 0)

    def _get_support(self, mu: Array, nu: Array, sigma: Array, n: Array) -> tuple[Any, Any]:
        return np.zeros_like(n), n

    def _logpmf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (k, mu, nu, sigma, n)))
        k, mu, nu, sigma, n = flat(k, mu, nu, sigma, n)
        return evaluate_counts(counts(k, n), mu, nu, sigma, 0)[0].reshape(shape)

    def _pmf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        return np.exp(self._logpmf(k, mu, nu, sigma, n))

    def _cdf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (k, mu, nu, sigma, n)))
        k, mu, nu, sigma, n = flat(np.floor(k), mu, nu, sigma, n)
        total = sum_over_counts(mu, nu, sigma, np.zeros_like(k), k, n, _unity)[0]
        return np.minimum(total, 1.0).reshape(shape)

    def _sf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        return self._cdf(n - 1 - np.floor(k), nu, mu, sigma, n)

    def _ppf(self, q: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (q, mu, nu, sigma, n)))
        q, mu, nu, sigma, n = flat(q, mu, nu, sigma, n)

        def ratio(rows: Any) -> Any:
            m, v, s, whole = mu[rows], nu[rows], sigma[rows], n[rows]

            def step(k: Array) -> tuple[Array, Array]:
                left = whole - k
                return left * (m + k * s), (k + 1) * (v + (left - 1) * s)

            return step

        return quantiles(self, q, (mu, nu, sigma, n), n, ratio).reshape(shape)

    def _stats(self, mu: Array, nu: Array, sigma: Array, n: Array) -> tuple[Any, ...]:
        return n * mu, _count_variance(mu, nu, sigma, n), None, None

    def _rvs(
        self,
        mu: Array,
        nu: Array,
        sigma: Array,
        n: Array,
        size: Any = None,
        random_state: Any = None,
    ) -> Any:
        small, large = np.minimum(mu, nu), np.maximum(mu, nu)
        drawn_from_beta = (sigma > 0) & (sigma < ALL_OR_NOTHING)
        positive = np.where(drawn_from_beta, sigma, 1.0)
        with np.errstate(over="ignore"):
            p = random_state.beta(*_shapes(small, large, positive), size)
        p = np.where(sigma > 0, p, small)
        extreme = np.asarray(sigma) >= ALL_OR_NOTHING
        if np.any(extreme):
            p = np.where(extreme, random_state.uniform(size=np.shape(p)) < small, p)
        drawn = random_state.binomial(np.asarray(n).astype(np.int64), p, size)
        return np.where(np.asarray(mu) > nu, n - drawn, drawn)


def _shapes(mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the beta's two shapes, kept within what a generator can draw."""
    return np.clip(mu / sigma, 1e-300, 1e300), np.clip(nu / sigma, 1e-300, 1e300)


def flat(*arrays: Any) -> tuple[Array, ...]:
    """Return the arrays broadcast together, as vectors of floats."""
    return tuple(np.asarray(a, dtype=float).ravel() for a in np.broadcast_arrays(*arrays))


beta_binomial = BetaBinomialDistribution(name="beta_binomial", shapes="mu, nu, sigma, n")
