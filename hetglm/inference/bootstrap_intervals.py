"""
Bootstrap intervals from replicates: percentile, basic, studentized (percentile-t) and BCa.

Davison and Hinkley (1997), Bootstrap Methods and their Application, chapter 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.typing import Array
from hetglm.utils.parallel import N_REPLICATES

METHODS = ("percentile", "basic", "studentized", "bca")


def of_coefficients(res: Any, columns: list[int], alpha: float, **options: Any) -> Array:
    """Return BCa intervals of some coefficients from new replicates, shape (len(columns), 2)."""
    replicates = res.bootstrap(**{"nrep": N_REPLICATES, **options})
    limits: Array = replicates.conf_int(alpha, "bca")[columns]
    return limits


def interval(
    method: str,
    estimate: Array,
    draws: Array,
    alpha: float,
    bse: Array | None = None,
    draws_bse: Array | None = None,
    acceleration: Array | None = None,
) -> Array:
    """
    Return lower and upper limits, shape (k, 2), NaN where there is no estimate.

    Parameters
    ----------
    method : {"percentile", "basic", "studentized", "bca"}
    estimate : ndarray, shape (k,)
    draws : ndarray, shape (nrep, k)
        Replicates; NaN, an estimate that is not finite, counts as beyond either limit.
    alpha : float
    bse, draws_bse : ndarray, shapes (k,) and (nrep, k)
        Standard errors of estimate and replicates, for "studentized".
    acceleration : ndarray, shape (k,)
        For "bca".

    References
    ----------
    Efron, B. (1987). Better bootstrap confidence intervals. JASA 82, 171-185.
    """
    tails = np.full((2, len(estimate)), [[alpha / 2], [1 - alpha / 2]])
    if method == "bca":
        assert acceleration is not None
        tails = bca_tails(estimate, draws, acceleration, tails)
    if method in ("percentile", "bca"):
        limits = _limits(draws, tails)
    elif method == "basic":
        limits = estimate - _limits(draws - estimate, tails)[::-1]
    else:
        assert bse is not None and draws_bse is not None
        with np.errstate(all="ignore"):
            limits = estimate - bse * _limits((draws - estimate) / draws_bse, tails)[::-1]
    return np.where(np.isfinite(estimate), limits, np.nan).T


def bca_tails(estimate: Array, draws: Array, acceleration: Array, tails: Array) -> Array:
    """Return tail probabilities corrected for bias and skewness (Efron 1987, eq. 3.10), shape (2, k)."""
    # a replicate equal to the estimate, or not finite, counts half
    share = (0.5 * (1 + np.sign(np.nan_to_num(estimate - draws)))).mean(axis=0)
    limit = 0.5 / len(draws)
    bias = stats.norm.ppf(np.clip(share, limit, 1 - limit))
    moved = bias + stats.norm.ppf(tails)
    return stats.norm.cdf(bias + moved / (1 - acceleration * moved))


def _limits(draws: Array, tails: Array) -> Array:
    """Return lower and upper quantiles, shape (2, k); NaN replicates count as beyond both."""
    lowest, highest = (
        np.sort(np.nan_to_num(draws, nan=v, posinf=np.inf, neginf=-np.inf), axis=0)
        for v in (-np.inf, np.inf)
    )
    return np.array([_quantile(lowest, tails[0], -np.inf), _quantile(highest, tails[1], np.inf)])


def _quantile(ordered: Array, tail: Array, beyond: float) -> Array:
    """Return order statistic (nrep + 1) tail of each column, interpolated linearly."""
    n, columns = len(ordered), np.arange(ordered.shape[1])
    position = np.clip(np.nan_to_num(tail) * (n + 1) - 1, 0, n - 1)
    below = np.floor(position).astype(int)
    low, high = ordered[below, columns], ordered[np.minimum(below + 1, n - 1), columns]
    fraction = position - below
    with np.errstate(invalid="ignore"):
        between = np.where(fraction > 0, low + fraction * (high - low), low)
    return np.where(np.isnan(between), beyond, between)
