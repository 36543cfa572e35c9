"""
Quantiles of counts, from a count near the quantile and a tail probability there.

The tail of a narrow distribution is summed term by term, that of a wide one is an integral.
"""

from __future__ import annotations

from itertools import count as passes
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hetglm.families import tail_integrals
from hetglm.families.tail_integrals import Factors, OfRows, Ratio
from hetglm.typing import Array

#: Rows summed at a time, so that the work arrays stay in the cache.
N_BLOCK_ROWS = 4096
#: Terms below this share of their sum end it.
TOL_TERM = 1e-17
#: A probability this close to the level, relative to the smaller tail, is equal to it: the rounding of
#: a sum of MAX_TERMS ratios.
TOL_TIE = 1e-12
#: Most terms of a sum; a longer one costs more than quadrature.
MAX_TERMS = 8_000
#: Terms between two checks of which sums are complete.
N_BETWEEN_CHECKS = 16
#: Distance of a level from 0 or 1 below which the tail on that side is summed, for its digits.
MAX_EXTREME_LEVEL = 1e-3
#: Newton's steps, of which three to five do, before bisection takes over.
N_NEWTON = 20
#: Standard deviations that a tail is long, at the most: 8 for a normal one.
N_SD = 20.0


def quantiles(
    distribution: Any,
    q: Array,
    parameters: tuple[Array, ...],
    highest: Array,
    ratio: Ratio,
    factors: Factors,
) -> Array:
    """
    Return the least count k with P(Y <= k) >= q.

    Parameters
    ----------
    distribution : scipy.stats.rv_discrete
        Of counts; its ``_stats``, ``_pmf`` and ``_cdf`` are read.
    q : ndarray, shape (n,)
        Levels between 0 and 1.
    parameters : tuple of ndarray, shape (n,)
        Of the distribution.
    highest : ndarray, shape (n,)
        The largest count, or infinity.
    ratio : Ratio
    factors : Factors

    Returns
    -------
    ndarray, shape (n,)
    """

    def pmf(k: Array, rows: NDArray[np.intp]) -> Array:
        return np.asarray(distribution._pmf(k, *(p[rows] for p in parameters)))

    def cdf(k: Array, rows: NDArray[np.intp]) -> Array:
        return np.asarray(distribution._cdf(k, *(p[rows] for p in parameters)))

    with np.errstate(all="ignore"):
        mean, variance, *_ = distribution._stats(*parameters)
        sd = np.sqrt(variance)
        start = np.round(np.clip(np.nan_to_num(mean + sd * ndtri(q)), 0.0, highest))
        wide = np.flatnonzero((sd > tail_integrals.MIN_SD) & np.isfinite(sd))
        of_wide = q[wide], mean[wide], sd[wide], highest[wide]
        start[wide], found = tail_integrals.start(*of_wide), np.full(len(q), np.nan)
        found[wide] = tail_integrals.quantiles(
            q[wide], start[wide], highest[wide], wide, pmf, ratio, factors
        )
        rest = np.flatnonzero(np.isnan(found))
        at = pmf(start[rest], rest)
        found[rest] = _by_tails(
            q[rest], start[rest], sd[rest], highest[rest], at, lambda rows: ratio(rest[rows])
        )
        far = np.flatnonzero(np.isnan(found))
        found[far] = _by_newton(q, start, highest, far, pmf, cdf)
    return found


def _by_tails(q: Array, k: Array, sd: Array, highest: Array, at: Array, ratio: Ratio) -> Array:
    """Return the quantiles from counts k near them and P(Y = k); NaN where a sum is too long."""
    out = np.full(len(k), np.nan)
    lower = np.minimum(k, N_SD * sd) <= np.minimum(highest - k, N_SD * sd)
    lower = np.where(q < MAX_EXTREME_LEVEL, True, np.where(q > 1 - MAX_EXTREME_LEVEL, False, lower))
    few = np.where(lower, k, highest - k) <= tail_integrals.MIN_COUNT
    quick = (at > 0) & (few | (sd <= tail_integrals.MIN_SD))
    for first in range(0, len(k), N_BLOCK_ROWS):
        block = np.arange(first, min(first + N_BLOCK_ROWS, len(k)))
        block = block[quick[block]]
        for rows, side in ((block[lower[block]], -1), (block[~lower[block]], 1)):
            total = _tail(k[rows], at[rows], highest[rows], side, rows, ratio)
            out[rows] = _walk(k[rows], at[rows], total, q[rows], side, ratio(rows))
    return out


def _tail(
    k: Array, at: Array, highest: Array, side: int, rows: NDArray[np.intp], ratio: Ratio
) -> Array:
    """Return P(Y <= k) for the lower side, P(Y > k) for the upper one; NaN for what takes too long."""
    k, term, total = k.copy(), at.copy(), at.copy() if side < 0 else np.zeros(len(at))
    open_, result, step = np.arange(len(k)), np.full(len(k), np.nan), ratio(rows)
    for i in range(1, MAX_TERMS + 1):
        if side < 0:
            k -= 1
            up, down = step(k)
            term = np.where(k < 0, 0.0, term * down / up)
        else:
            up, down = step(k)
            term = np.where(k >= highest, 0.0, term * up / down)
            k += 1
        total += term
        if i % N_BETWEEN_CHECKS == 0:
            going = term > TOL_TERM * total
            result[open_[~going]] = total[~going]
            open_ = open_[going]
            if not len(open_):
                break
            k, term, total, highest = (a[going] for a in (k, term, total, highest))
            step = ratio(rows[open_])
    return result


def _walk(k: Array, at: Array, total: Array, q: Array, side: int, step: Any) -> Array:
    """Return the quantile, from a count k near it, P(Y = k) and the tail of it; NaN if too far."""
    k, at = k.copy(), at.copy()
    # P(Y <= k) minus the level, from either tail; differences within rounding count as zero
    excess = total - q if side < 0 else (1 - q) - total
    excess += TOL_TIE * np.minimum(q, 1 - q) + (0.0 if side < 0 else np.finfo(float).eps)
    for _ in range(MAX_TERMS):
        down = (excess - at >= 0) & (k > 0)
        if not down.any():
            break
        excess = np.where(down, excess - at, excess)
        up_share, down_share = step(k - 1)
        at = np.where(down, at * down_share / up_share, at)
        k = np.where(down, k - 1, k)
    for _ in range(MAX_TERMS):
        up = excess < 0
        if not up.any():
            break
        up_share, down_share = step(k)
        at = np.where(up, at * up_share / down_share, at)
        excess = np.where(up, excess + at, excess)
        k = np.where(up, k + 1, k)
    arrived = (excess >= 0) & ((excess < at) | (k == 0))
    return np.where(arrived, k, np.nan)


def _by_newton(
    q: Array, start: Array, highest: Array, open_: NDArray[np.intp], pmf: OfRows, cdf: OfRows
) -> Array:
    """Return the quantiles of some rows by Newton's steps on the normal scale, bracketed."""
    low, high, k, rows = np.full_like(q, -1.0), highest.copy(), start.copy(), open_
    wanted = ndtri(q)
    for i in passes():
        here = k[open_]
        F = cdf(here, open_)
        below = F < (q - TOL_TIE * np.minimum(q, 1 - q))[open_]
        low[open_[below]], high[open_[~below]] = here[below], here[~below]
        left, right = low[open_], high[open_]
        slope = pmf(here, open_) * np.sqrt(2 * np.pi) * np.exp(0.5 * ndtri(F) ** 2)
        aim = np.round(here + (wanted[open_] - ndtri(F)) / slope)
        # where Newton stays, the next count on the other side closes the bracket
        aim = np.where(aim == here, np.where(below, here + 1, here - 1), aim)
        inside = (aim > left) & (aim < right) & (i < N_NEWTON)
        middle = np.where(np.isfinite(right), np.floor(0.5 * (left + right)), 2 * left + 2)
        k[open_] = np.where(inside, aim, middle)
        open_ = open_[right - left > 1]
        if not len(open_):
            return high[rows]
    raise AssertionError
