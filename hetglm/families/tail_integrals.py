"""
Quantiles of widely dispersed counts, from the integral of a tail of their probabilities.

A sum of probabilities is their integral, continued between the counts, with the first terms of the
Euler-Maclaurin formula at either limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, ndtri

from hetglm.typing import Array

Rows = NDArray[np.intp]
#: Takes the indices of some rows; returns what gives two numbers for each of their counts k, of which
#: the ratio is P(Y = k + 1) / P(Y = k).
Ratio = Callable[[Rows], Callable[[Array], tuple[Array, Array]]]
#: Takes the indices of some rows; returns the factors c + d k of that ratio: c, d = 1 or -1, and the
#: exponent 1 or -1. The exponents sum to 0.
Factors = Callable[[Rows], list[tuple[Array, int, int]]]
#: Takes counts and the indices of the rows they are of, returns a probability of each.
OfRows = Callable[[Array, Rows], Array]

#: Standard deviation of the counts above which a tail is integrated.
MIN_SD = 20.0

#: Distance from both limits of the support above which a tail is integrated.
MIN_COUNT = 200

#: Shape parameters of a beta distribution above which a normal approximation of its quantiles is near
#: enough to start from.
MIN_SHAPE = 3.0

#: Terms at a limit of the support that are summed: the continuation is not smooth enough there.
N_LIMIT_TERMS = 24

#: Gauss-Legendre rule on (0, 1).
NODES, NODE_WEIGHTS = (np.polynomial.legendre.leggauss(20) + np.array([[1.0], [0.0]])) / 2

#: The integral ends where the integrand has decreased by exp of this.
MAX_DEPTH = 24.0

#: An integral that covers a decrease of the integrand by less than exp of this is not used.
MIN_DEPTH = 20.0

#: Newton steps in search of that limit.
N_LIMIT_STEPS = 4

#: Relative error of the integral: ten times the largest one found.
TOL_INTEGRAL = 6e-8

#: Relative error of an integral that goes on to the limit of the support, likewise.
TOL_WITH_LIMIT = 2.5e-7

#: Distance, in standard normal units, over which the quantile is extrapolated, at most.
MAX_DISTANCE = 0.05

#: Such distance below which another integral would not improve the quantile.
MIN_DISTANCE = 1e-3

#: Integrals of a row, at most; one or two suffice.
N_INTEGRALS = 4

#: Offset of a factor, at most: those of a Poisson or binomial are infinite.
MAX_OFFSET = 1e30

#: Rows integrated at a time, so that the work arrays stay in the cache.
N_BLOCK_ROWS = 1024


def start(q: Array, mean: Array, sd: Array, highest: Array) -> Array:
    """
    Return approximate quantiles: of the beta distribution on (-1/2, highest + 1/2) with these moments.

    Of the gamma distribution on (-1/2, infinity) where ``highest`` is infinite.
    """
    width, finite = highest + 1, np.isfinite(highest)
    m, v = (mean + 0.5) / width, (sd / width) ** 2
    total = m * (1 - m) / v - 1
    found = np.full(len(q), np.nan)
    a, b = m[finite] * total[finite], (1 - m[finite]) * total[finite]
    found[finite] = width[finite] * _beta_quantile(q[finite], a, b) - 0.5
    scale = sd[~finite] ** 2 / (mean[~finite] + 0.5)
    found[~finite] = scale * gammaincinv((mean[~finite] + 0.5) / scale, q[~finite]) - 0.5
    return np.round(np.clip(found, 0.0, highest))


def _beta_quantile(q: Array, a: Array, b: Array) -> Array:
    """Return quantiles of beta distributions; of bell-shaped ones to 0.04 standard deviations."""
    with np.errstate(all="ignore"):
        # Abramowitz and Stegun (1964), 26.5.22
        z, u, v = ndtri(q), 1 / (2 * a - 1), 1 / (2 * b - 1)
        h, third = 2 / (u + v), (z**2 - 3) / 6
        w = z * np.sqrt(h + third) / h + (v - u) * (third + 5 / 6 - 2 / (3 * h))
        found = a / (a + b * np.exp(-2 * w))
    exact = ~(np.minimum(a, b) > MIN_SHAPE) | np.isnan(found)
    found[exact] = betaincinv(a[exact], b[exact], q[exact])
    return np.asarray(found)


def quantiles(
    q: Array, k: Array, highest: Array, rows: Rows, pmf: OfRows, ratio: Ratio, factors: Factors
) -> Array:
    """
    Return the quantiles of some rows from counts k near them; NaN where the error leaves them open.

    Parameters
    ----------
    q, k, highest : ndarray, shape (n,)
        Of the rows.
    rows : ndarray of int, shape (n,)
    pmf, ratio, factors
        Of the rows with these indices.

    Returns
    -------
    ndarray, shape (n,)
    """
    out, k = np.full(len(q), np.nan), k.copy()
    for first in range(0, len(q), N_BLOCK_ROWS):
        open_ = np.arange(first, min(first + N_BLOCK_ROWS, len(q)))
        for _ in range(N_INTEGRALS):
            inside = (k[open_] >= MIN_COUNT) & (highest[open_] - k[open_] >= MIN_COUNT)
            open_ = open_[inside]
            if not len(open_):
                break
            some = rows[open_]
            tail = _Tail(k[open_], highest[open_], ratio(some), factors(some))
            shift, error, distance = _shift(tail, q[open_], pmf(k[open_], some))
            found = np.ceil(shift)
            sure = np.minimum(found - shift, shift - found + 1) > error
            done = sure & (distance < MAX_DISTANCE)
            out[open_[done]] = k[open_[done]] + found[done]
            k[open_] += np.nan_to_num(found)
            open_ = open_[~done & (distance > MIN_DISTANCE) & np.isfinite(shift)]
    return out


class _Tail:
    """
    Probabilities of counts relative to P(Y = k), continued between the counts.

    log P(Y = u + 1/2) - log P(Y = u - 1/2) is a sum of log(c + d u), and the continuation is its
    integral with one correction. Integrals over u are over the log odds of u + 1/2 out of highest + 1.
    """

    def __init__(self, k: Array, highest: Array, step: Any, factors: Any) -> None:
        self.k, self.highest, self.step = k, highest, step
        self.factors = [(np.minimum(c, MAX_OFFSET) + d * (k - 0.5), d, e) for c, d, e in factors]
        up, down = step(k - 0.5)
        self.slope = np.log(up / down)
        self.odds = self._odds(k + 1)

    def _odds(self, w: Array) -> Array:
        """Return the odds of w out of highest + 1, times highest + 1."""
        return w / (1 - w / (self.highest + 1))

    def log_density(self, t: Array) -> Array:
        """Return log P(Y = k + t) - log P(Y = k) for shifts of shape (n,) or (nodes, n)."""
        total = t * self.slope
        for c, d, e in self.factors:
            at = c + d * t
            total += (d * e) * at * np.log1p(d * t / c)
            total -= (d * e / 24) * (1 / at - 1 / c)
        return total

    def at(self, s: Array) -> tuple[Array, Array]:
        """Return the shifts t at log odds s beyond those of k + 1/2, and du/ds there."""
        odds = self.odds * np.exp(s)
        w = odds / (1 + odds / (self.highest + 1))
        return w - 0.5 - self.k, w * (1 - w / (self.highest + 1))

    def log_slope(self, t: Array, jacobian: Array) -> Array:
        """Return the derivative in s of log(P(Y = k + t) du/ds)."""
        up, down = self.step(self.k + t - 0.5)
        w = self.k + t + 0.5
        return np.log(up / down) * jacobian + 1 - 2 * w / (self.highest + 1)


def _shift(tail: _Tail, q: Array, at: Array) -> tuple[Array, Array, Array]:
    """
    Return how far the quantile lies beyond k, its error and its distance in standard normal units.

    The shift is real: the quantile is the next count at or above it.
    """
    half = np.full_like(q, 0.5)
    up, down = tail.step(tail.k)
    middle = np.exp(tail.log_density(half))
    sign = np.where(tail.log_slope(half, tail.at(0 * half)[1]) > 0, -1.0, 1.0)
    area, relative = _area(tail, sign)
    first, second = np.log(up / down), _second_derivative(tail)
    third = middle * (first**3 + 3 * first * second)
    total = at * (area + sign * ((up / down - 1) / 24 - 17 / 5760 * third))
    z, wanted = -sign * ndtri(total), ndtri(q)
    g = at * middle * np.sqrt(2 * np.pi) * np.exp(0.5 * z**2)
    s = first + z * g
    delta = wanted - z
    # the inverse of z(u), to the third order
    by = delta / g - s / g**2 * delta**2 / 2
    by += (2 * s**2 - second - g**2 - z * g * s) / g**3 * delta**3 / 6
    error = (relative * total + 4 * np.finfo(float).eps) / (at * middle) + delta**4 / g
    return by, error, np.abs(delta)


def _second_derivative(tail: _Tail) -> Array:
    """Return the second derivative of the log-probability at k + 1/2."""
    return np.asarray(sum(e * d / (c + 0.5 * d) for c, d, e in tail.factors))


def _area(tail: _Tail, sign: Array) -> tuple[Array, Array]:
    """
    Return the tail relative to P(Y = k), less the correction at k + 1/2, and its relative error.

    The error is NaN where the limit of the integral was not found.
    """
    last = np.where(sign < 0, N_LIMIT_TERMS, tail.highest + 1 - N_LIMIT_TERMS)
    most = np.abs(np.log(tail._odds(last) / tail.odds))
    most = np.where(np.isfinite(tail.highest) | (sign < 0), most, np.inf)
    limit = _limit(tail, sign, most)
    t, jacobian = tail.at(sign * limit * NODES[:, None])
    area = limit * (NODE_WEIGHTS @ (jacobian * np.exp(tail.log_density(t))))
    t, jacobian = tail.at(sign * limit)
    fall = tail.log_density(t) + np.log(jacobian / tail.at(0 * limit)[1])
    cut = (limit == most) & (fall > -MIN_DEPTH)
    if cut.any():
        area[cut] += _end_sum(tail, sign)[cut]
    error = np.where(cut, TOL_WITH_LIMIT, TOL_INTEGRAL)
    return area, np.where(cut | (fall < -MIN_DEPTH), error, np.nan)


def _limit(tail: _Tail, sign: Array, most: Array) -> Array:
    """Return the log odds beyond those of k + 1/2 where the integrand has fallen by MAX_DEPTH."""
    first = tail.at(0 * sign)[1]
    up, down = tail.step(tail.k)
    curvature = (_second_derivative(tail) - np.log(up / down) / first) * first**2
    limit = np.fmin(np.sqrt(2 * MAX_DEPTH / np.abs(curvature)), most)
    for _ in range(N_LIMIT_STEPS):
        t, jacobian = tail.at(sign * limit)
        fall = tail.log_density(t) + np.log(jacobian / first)
        # Newton's step in the logarithms of both: the fall is convex, nearly a power
        power = np.clip(limit * sign * tail.log_slope(t, jacobian) / fall, 0.5, 50.0)
        factor = np.where(fall < 0, (MAX_DEPTH / -fall) ** (1 / power), 4.0)
        limit = np.fmin(limit * np.clip(factor, 0.1, 4.0), most)
    return limit


def _end_sum(tail: _Tail, sign: Array) -> Array:
    """Return the last N_LIMIT_TERMS terms of the tail relative to P(Y = k), with the correction."""
    k = np.where(sign < 0, N_LIMIT_TERMS - 1, tail.highest + 1 - N_LIMIT_TERMS)
    term = np.exp(tail.log_density(k - tail.k))
    before = np.exp(tail.log_density(k - sign - tail.k))
    total = term - (term - before) / 24
    for _ in range(N_LIMIT_TERMS - 1):
        up, down = tail.step(np.where(sign < 0, k - 1, k))
        term = term * np.where(sign < 0, down / up, up / down)
        total += term
        k += sign
    return total
