"""Probabilities below, at and above a response in logarithms, right however far out it lies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial.laguerre import laggauss
from scipy import stats
from scipy.special import logsumexp, ndtri_exp

from hetglm.typing import Array

#: Log probability below which a continuous tail is integrated from its density: a sum for the tail
#: that was cut at e^-45 of the whole still has six digits there.
MAX_LOG_INTEGRATED = -30.0

#: Log probability below which a sum of counts may have underflowed.
MAX_LOG_SUMMED = -650.0

#: Nodes of the Gauss-Laguerre integral; a tail at e^-30 or beyond is nearly exponential.
N_NODES = 64

#: Step, in the log of the response, of the difference that gives the rate of the tail.
LOG_STEP = 1e-4

#: Terms of a sum added at a time.
N_BLOCK_TERMS = 256

#: Share of the sum below which a term ends it.
TOL_TERM = 1e-17


class Tails(NamedTuple):
    """Logarithms of P(Y < y), P(Y = y) (minus infinity for a density) and P(Y > y), shape (n,)."""

    below: Array
    at: Array
    above: Array


def tails(frozen: Any, y: Array) -> Tails:
    """
    Return the log probabilities on either side of each response.

    Parameters
    ----------
    frozen : frozen scipy distribution
        Over n rows: of a count, or continuous except for an atom at the lower limit of the support.
    y : ndarray, shape (n,)
    """
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        if isinstance(frozen.dist, stats.rv_discrete):
            return _of_counts(frozen, y)
        return _of_density(frozen, y)


def normal_scores(found: Tails, uniform: Array) -> Array:
    """
    Return the normal quantile of P(Y < y) + U P(Y = y), each tail from its own side.

    Parameters
    ----------
    found : Tails
    uniform : ndarray, shape (n,)
        U, read only where P(Y = y) > 0.
    """
    with np.errstate(divide="ignore"):
        lower = np.logaddexp(found.below, np.log(uniform) + found.at)
        upper = np.logaddexp(found.above, np.log1p(-uniform) + found.at)
        # the smaller of two probabilities that add up to 1 has all its digits
        left = lower < upper
        score = ndtri_exp(np.minimum(np.where(left, lower, upper), 0.0))
    return np.where(left, score, -score)


def _of_counts(frozen: Any, y: Array) -> Tails:
    below, above = frozen.logcdf(y - 1), frozen.logsf(y)
    for found, step in ((below, -1.0), (above, 1.0)):
        far = np.flatnonzero(found < MAX_LOG_SUMMED)
        found[far] = _summed(_rows(frozen, far), y[far] + step, step)
    return Tails(below, frozen.logpmf(y), above)


def _summed(frozen: Any, start: Array, step: float) -> Array:
    """Return the log of the sum of probabilities from ``start`` outwards."""
    first = frozen.logpmf(start)
    total = np.zeros(len(start))
    open_, done = np.flatnonzero(np.isfinite(first)), 0
    while len(open_):
        j = start[open_, None] + step * (done + np.arange(N_BLOCK_TERMS))
        share = np.exp(_rows(frozen, open_, column=True).logpmf(j) - first[open_, None])
        total[open_] += share.sum(axis=1)
        open_, done = open_[share[:, -1] > TOL_TERM * total[open_]], done + N_BLOCK_TERMS
    return first + np.log(total)


def _of_density(frozen: Any, y: Array) -> Tails:
    low = np.broadcast_to(frozen.support()[0], y.shape)
    below, above, at = frozen.logcdf(y), frozen.logsf(y), np.full(y.shape, -np.inf)
    positive = np.isfinite(low)  # otherwise it is the normal, whose tails scipy has
    for found, side in ((below, -1.0), (above, 1.0)):
        far = np.flatnonzero((found < MAX_LOG_INTEGRATED) & positive & (y > low))
        found[far] = _integrated(_rows(frozen, far), y[far], side)
    if has_atom(frozen):
        at_low = frozen.logpdf(low)
        far = below < MAX_LOG_INTEGRATED
        below[far] = np.logaddexp(below, at_low)[far]
        there = y == low
        at[there], below[there] = at_low[there], -np.inf
        above[there] = np.log(-np.expm1(at_low[there]))
    return Tails(below, at, above)


def has_atom(frozen: Any) -> bool:
    """Return whether the lower limit of the support has a positive probability."""
    return isinstance(frozen.dist, stats.rv_discrete) or getattr(frozen.dist, "atom", False)


def _integrated(frozen: Any, y: Array, side: float) -> Array:
    """Return the log integral of the density of a positive response beyond y, by Gauss-Laguerre."""

    def log_density(t: Array, of: Any = frozen) -> Array:
        return of.logpdf(np.exp(t)) + t

    if not len(y):
        return y
    t, column = np.log(y), _rows(frozen, slice(None), column=True)
    here = log_density(t)
    rate = -side * (log_density(t + LOG_STEP) - log_density(t - LOG_STEP)) / (2 * LOG_STEP)
    node, weight = laggauss(N_NODES)
    fall = log_density(t[:, None] + side * node / rate[:, None], column) - here[:, None]
    return here - np.log(rate) + logsumexp(fall + node + np.log(weight), axis=1)


def _rows(frozen: Any, rows: Any, column: bool = False) -> Any:
    """Return the distribution of some rows, of shape (k,) or (k, 1)."""

    def taken(parameter: Any) -> Any:
        if np.ndim(parameter) == 0:
            return parameter
        return np.asarray(parameter)[rows][:, None] if column else np.asarray(parameter)[rows]

    kwds = {name: taken(value) for name, value in frozen.kwds.items()}
    return frozen.dist(*map(taken, frozen.args), **kwds)
