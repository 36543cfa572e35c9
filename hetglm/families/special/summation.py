"""Sums over the counts of beta-binomial rows by Gauss-Legendre panels with end corrections."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.families.special.betabinomial_counts import MIN_SERIES, N_BLOCK_ROWS, counts
from hetglm.typing import Array

#: Terms of a sum over counts from which on it is integrated.
MAX_TERMS_SUMMED = 300

#: Terms at both limits of an integrated sum that are taken one by one, for the end correction.
N_END_TERMS = 48

#: Gauss-Legendre rule in each panel.
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)

#: Limits of the panels, in standard deviations from the centre.
PANEL_LIMITS = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])

#: Gauss's second summation formula: coefficients of the odd central differences at the ends.
END_DIFFERENCES = (1 / 24, -17 / 5760, 367 / 967680, -27859 / 464486400)


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
    long = length > MAX_TERMS_SUMMED
    cost = np.where(long, MAX_TERMS_SUMMED, length)
    chunk = np.floor(np.cumsum(cost) / (64 * N_BLOCK_ROWS)).astype(int)
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
    value, h = function(counts(y, n[row], MIN_SERIES), mu[row], nu[row], s[row])
    h = h * (weight * np.exp(value))
    return np.stack([np.bincount(row, v, minlength=len(mu)) for v in h])


def _nodes(
    mu: Array, nu: Array, s: Array, low: Array, high: Array, n: Array
) -> tuple[Array, Array]:
    """Return the counts at which a long sum is evaluated and their weights, shape (rows, nodes)."""
    first, last = end_weights()
    step = np.arange(len(first), dtype=float)
    left, right = low[:, None] + step, high[:, None] - step[::-1]
    inner, weight = _panels(mu, nu, s, low + N_END_TERMS - 0.5, high - N_END_TERMS + 0.5, n)
    ends = np.ones((len(n), 1))
    return np.hstack([left, right, inner]), np.hstack([ends * first, ends * last, weight])


def end_weights() -> tuple[Array, Array]:
    """Return the weights of the terms at the lower and upper end: 1, and the end correction."""
    reach = len(END_DIFFERENCES)
    weights = np.concatenate([np.ones(N_END_TERMS), np.zeros(reach)])
    difference = np.array([-1.0, 1.0])
    for i, c in enumerate(END_DIFFERENCES):
        weights[N_END_TERMS - 1 - i : N_END_TERMS + 1 + i] += c * difference
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
    offsets = np.concatenate([-PANEL_LIMITS[:0:-1], PANEL_LIMITS])
    edges = np.clip(
        centre[:, None] + scale[:, None] * offsets, limits[0][:, None], limits[1][:, None]
    )
    half = 0.5 * np.diff(edges, axis=1)[:, :, None]
    theta = edges[:, :-1, None] + half * (1 + NODES)
    p = 1 / (1 + np.exp(-theta))
    y = n[:, None, None] * p
    weight = half * NODE_WEIGHTS * y * (1 - p)
    return y.reshape(len(n), -1), weight.reshape(len(n), -1)


def flat(*arrays: Any) -> tuple[Array, ...]:
    """Return the arrays broadcast together, as vectors of floats."""
    return tuple(np.asarray(a, dtype=float).ravel() for a in np.broadcast_arrays(*arrays))
