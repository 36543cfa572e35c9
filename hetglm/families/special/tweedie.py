"""Compound Poisson-gamma density over its saddlepoint form: series, Laplace expansion, information."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import wrightomega

from hetglm.families.base import Rows
from hetglm.families.exponential import LOG_2PI, divergence
from hetglm.families.quasi import QuasiTweedie
from hetglm.families.special.stirling import stirling
from hetglm.typing import Array

#: Log of the ratio to the largest term above which a term is left out: e^-45 = 3e-20.
MAX_LOG_RATIO = 45.0

#: Terms summed at a time.
BLOCK_TERMS = 1 << 18

#: mu^(2 - p)/phi from which on Laplace's expansion is exact to a rounding; found with mpmath.
MIN_LAPLACE_SIZE = 16.0

#: Terms of that expansion.
N_LAPLACE_TERMS = 12

#: Width of a piece of log size on which the information is one polynomial.
PIECE_WIDTH = 1.0

#: Nodes of that polynomial.
N_NODES = 24

#: Step of the trapezoidal rule, in units of the narrowest feature of a density.
STEP = 0.12


class Gap(NamedTuple):
    """The distance delta to the saddlepoint form, and its first two derivatives in log size."""

    value: Array
    first: Array
    second: Array


def saddlepoint_gap(size: Array, power: float) -> Gap:
    """
    Return delta and its derivatives in the logarithm of the size y^(2-p)/phi.

    Parameters
    ----------
    size : ndarray, shape (n,)
        Positive.
    power : float
        The variance power p, 1 < p < 2.
    """
    large = size >= _large_size(power)
    out = np.empty((3, len(size)))
    out[:, large] = _by_laplace(size[large], power)
    out[:, ~large] = _by_series(size[~large], power)
    return Gap(*out)


def _large_size(power: float) -> float:
    """Return the size from which the sum differs from its integral by less than e^-45."""
    # Poisson's summation formula: the first harmonic is of order exp(-ripple x), none for p >= 3/2
    ripple = 2 * np.sin(np.pi * (power - 1)) ** 2 / ((2 - power) * (power - 1))
    return (
        MIN_LAPLACE_SIZE if power >= 1.5 else max(MIN_LAPLACE_SIZE, MAX_LOG_RATIO / float(ripple))
    )


def _by_laplace(size: Array, power: float) -> Array:
    """Return `Gap` by its expansion in 1/size, shape (3, n)."""
    out, inverse = np.zeros((3, len(size))), 1 / size
    for k, c in reversed([*enumerate(_laplace_coefficients(power), 1)]):
        out = out * inverse + np.array([[c], [-k * c], [k * k * c]])
    return out * inverse


@lru_cache(maxsize=256)
def _laplace_coefficients(power: float) -> tuple[float, ...]:
    r"""
    Return the coefficients of 1/x, 1/x^2, ... in delta.

    The density is an integral of :math:`e^{x q^2/2} dw/dq` along the imaginary q, where
    :math:`m(q)`, the tilted mean, solves :math:`(m - 1) m' = q m^p` and dw/dq = q/(m - 1):
    each even power of q gives one of 1/x.
    """
    n = 2 * N_LAPLACE_TERMS + 2
    m, raised = [1.0, 1.0], [1.0, power]  # series of m and of m^p in q
    for k in range(2, n + 1):
        cross = sum(m[i] * (k - i + 1) * m[k - i + 1] for i in range(2, k))
        m.append((raised[k - 1] - cross) / (k + 1))
        own = sum(m[i] * (k - i) * raised[k - i] for i in range(1, k))
        raised.append((sum(power * i * m[i] * raised[k - i] for i in range(1, k + 1)) - own) / k)
    slope = [1.0]  # q/(m - 1)
    for k in range(1, n):
        slope.append(-sum(m[i + 1] * slope[k - i] for i in range(1, k + 1)))
    moments = np.cumprod([-(2.0 * k - 1) for k in range(1, N_LAPLACE_TERMS + 1)])
    factor = [1.0, *(s * v for s, v in zip(slope[2::2], moments, strict=False))]
    log: list[float] = []  # of the series 1 + factor[1]/x + ...
    for k in range(1, N_LAPLACE_TERMS + 1):
        log.append(factor[k] - sum(j * log[j - 1] * factor[k - j] for j in range(1, k)) / k)
    return tuple(log)


def _by_series(size: Array, power: float) -> Array:
    """Return `Gap` by summation over the number of claims, shape (3, n)."""
    a = (2 - power) / (power - 1)
    order = np.argsort(size)  # rows of a block then need nearly the same terms
    x = size[order]
    peak = x / (2 - power)
    out = np.empty((3, len(size)))
    for rows, j, starts, of_row in series_terms(*series_reach(peak, 1 + a)):
        centre = peak[rows][of_row]
        e = -(1 + a) * divergence(j, centre) - series_remainders(j, 1.0) - series_remainders(j, a)
        top = np.maximum.reduceat(e, starts)
        weight = np.exp(e - top[of_row])
        total = np.add.reduceat(weight, starts)
        away = j - centre
        mean = np.add.reduceat(weight * away, starts) / total
        spread = np.add.reduceat(weight * (away - mean[of_row]) ** 2, starts) / total
        value = top + np.log(total) + 0.5 * (np.log(a / x[rows]) - LOG_2PI)
        second = (1 + a) * ((1 + a) * spread - peak[rows])
        out[:, order[rows]] = value, (1 + a) * mean - 0.5, second
    return out


def series_reach(peak: Array, curvature: float) -> tuple[Array, Array]:
    """Return the first and the last j for which curvature D(j, peak) is not negligible."""
    # D(c + t, c) is at least t^2/(2 (c + t/3)), and t^2/(2c) below c (Bernstein's inequality)
    least = 2 * MAX_LOG_RATIO / curvature
    centre = np.maximum(peak, 1.0)
    first = np.maximum(np.floor(centre - np.sqrt(least * centre)), 1.0)
    return first, np.ceil(centre + least / 6 + np.sqrt(least**2 / 36 + least * centre))


def series_terms(first: Array, last: Array) -> Iterator[tuple[slice, Array, Array, Array]]:
    """
    Yield, for blocks of rows, their terms j = first, ..., last one row after the other.

    Yields
    ------
    rows : slice
    j : ndarray, shape (m,)
    starts : ndarray, shape (rows,)
        Where each row begins in j.
    of_row : ndarray, shape (m,)
        Row of each term, within the block.
    """
    count = (last - first + 1).astype(np.intp)
    ends = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = ends[begin] - count[begin]
        rows = slice(begin, max(begin + 1, int(np.searchsorted(ends, done + BLOCK_TERMS))))
        starts = ends[rows] - count[rows] - done
        of_row = np.repeat(np.arange(len(starts)), count[rows])
        yield rows, np.arange(len(of_row)) + (first[rows] - starts)[of_row], starts, of_row
        begin = rows.stop


def series_remainders(j: Array, factor: float) -> Array:
    """Return Stirling's remainder at factor j, computed once for each whole number in j."""
    low = int(j.min())
    table = stirling(factor * np.arange(low, int(j.max()) + 1.0))
    return table[(j - low).astype(np.intp)]


def information(size: Array, power: float) -> Array:
    """
    Return the expected information of log phi in a row.

    Parameters
    ----------
    size : ndarray, shape (n,)
        mu^(2-p)/phi, the only thing it depends on.
    power : float

    Returns
    -------
    ndarray, shape (n,)
        From 0 at size 0 to 1/2 at infinity; NaN where the size is not positive and finite.
    """
    out = np.full(np.shape(size), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log(size) / PIECE_WIDTH
    piece = np.floor(scaled)
    for k in np.unique(piece[np.isfinite(scaled)]):
        here = piece == k
        out[here] = chebyshev.chebval(2 * (scaled[here] - k) - 1, _piece(power, float(k)))
    return out


@lru_cache(maxsize=1024)
def _piece(power: float, k: float) -> Array:
    """Return the information's Chebyshev coefficients for log size in [k, k + 1] times PIECE_WIDTH."""
    nodes = chebyshev.chebpts1(N_NODES)
    values = _information_at(np.exp(PIECE_WIDTH * (k + 0.5 * (nodes + 1))), power)
    return chebyshev.chebfit(nodes, values, N_NODES - 1)


def _information_at(size: Array, power: float) -> Array:
    """
    Return the expected information of log phi at mu = 1 and phi = 1/size, shape (k,).

    The score is (d/phi - 1)/2 - delta' where y > 0 and has mean 0, so minus the second derivative has
    mean P(y > 0)/2 + E (delta' - delta''): no large terms cancel. The trapezoidal rule in s, log y =
    log tau + s - e^-s, which draws the long tail at small y together (Takahasi and Mori 1974).
    """
    size = size[:, None]
    scale = np.log((power - 1) / size)
    ends = np.concatenate(_range(size, power), axis=1)
    narrowest = 1 / np.sqrt(1 + size * np.exp((2 - power) * ends[:, 1:]) / (power - 1))
    begin, end = np.hsplit(ends - scale + wrightomega(scale - ends), 2)  # s of these log y
    count = int(np.max((end - begin) / (STEP * narrowest))) + 16
    width = (end - begin) / count
    s = begin + width * np.arange(count + 1)
    t = scale + s - np.exp(-s)
    x = size * np.exp((2 - power) * t)
    gap = Gap(*(part.reshape(x.shape) for part in saddlepoint_gap(x.ravel(), power)))
    log_density = 0.5 * (np.log(x) - LOG_2PI) + gap.value - _half_deviance(t, size, power)
    weight = np.exp(log_density) * (1 + np.exp(-s)) * width
    return np.asarray(np.sum(weight * (0.5 + gap.first - gap.second), axis=1))


def _half_deviance(t: Array, size: Array, power: float) -> Array:
    """Return d(y, 1) size/2 at log y = t, at any y however small."""
    b = 2 - power
    y = np.exp(t)
    near = 0.5 * QuasiTweedie(power).unit_deviance(Rows(y, None, y), np.ones_like(y), None)
    return size * np.where(t > -600, near, (1 - np.exp(b * t) / (power - 1)) / b)


def _range(size: Array, power: float) -> tuple[Array, Array]:
    """Return the logarithms of y between which, at mu = 1, the density is not negligible."""
    # d/2 is more than half of y beyond 4, whatever the power; one claim has shape a, and its density
    # in log y falls like y^a
    high = np.log(1 + 200 * (1 + 1 / size))
    low = np.log((power - 1) / size) - 50 * (power - 1) / (2 - power)
    return _negligible_from(low, size, power), _negligible_from(high, size, power)


def _negligible_from(far: Array, size: Array, power: float) -> Array:
    """Return where between log y = 0 and ``far`` the density becomes negligible, or ``far``."""
    near = np.zeros_like(far)
    for _ in range(40):
        middle = 0.5 * (near + far)
        inside = _half_deviance(middle, size, power) < 50
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far
