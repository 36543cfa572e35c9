r"""
Horner's scheme, log(1 + x) - x and the remainders of Stirling's series, to full precision.

The remainder is
:math:`\delta(x) = \log\Gamma(x) - [(x - \tfrac12)\log x - x + \tfrac12\log 2\pi]`, of
`stirling`, with its derivatives `stirling1` and `stirling2`. Large x: the asymptotic series (DLMF
5.11.1). Small x: the recurrence :math:`\delta(x) = \delta(x + 1) + g(x)`, where with
:math:`r = 1/(2x + 1)`

.. math::
    g = \frac{\operatorname{artanh} r}{r} - 1 = \sum_{k \ge 1} \frac{r^{2k}}{2k + 1}, \qquad
    g' = -2 r \sum_{k \ge 1} \frac{2k\, r^{2k}}{2k + 1}, \qquad
    g'' = \frac{1}{2 x^2 (x + 1)^2},

all sums of one sign, so that :math:`\delta` keeps its relative accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hetglm.typing import Array

#: B_{2k}/(2k (2k - 1)), B_{2k}/(2k) and B_{2k}: delta, -delta' and delta'' in powers of 1/x^2.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)

DELTA = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1))

DELTA1 = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI, 1))

#: Argument from which on eight terms are exact to rounding (the ninth is 55/(18 x^18) in delta').
_MIN_LARGE = 12

#: sum_k z^k/(2k + 3), (artanh(r)/r - 1)/z with z = r^2; 27 terms for |r| <= 1/2.
ARTANH = tuple(1 / (2 * k + 3) for k in range(27))

_ARTANH1 = tuple((2 * k + 2) / (2 * k + 3) for k in range(27))

#: |t| below which `log_ratio` sums log(1 + t) (|r| <= 0.053); above it at most 3 digits cancel.
_MAX_NEAR = 0.1

#: Terms of that sum.
_N_NEAR_TERMS = 6


def horner(
    coefficients: Sequence[float], z: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Return sum_k coefficients[k] z^k of two coefficients or more."""
    if coefficients[-1] == 1:
        total = np.add(z, coefficients[-2], out=out)
    else:
        total = np.multiply(z, coefficients[-1], out=out)
        total += coefficients[-2]
    for c in coefficients[-3::-1]:
        total *= z
        total += c
    return total


def log1pmx(t: ArrayLike) -> Array:
    """
    Return log(1 + t) - t without cancellation.

    Parameters
    ----------
    t : array_like
        Values of at least -1; -1 gives -inf, less gives NaN.

    Notes
    -----
    With r = t/(2 + t), log(1 + t) = 2 artanh(r) and t - 2r = r t, so for ``|t| <= 1/2`` it is
    -r t + 2 r^3 (1/3 + r^2/5 + ...); beyond that the difference loses less than three bits.
    """
    t = np.asarray(t, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        near = np.abs(t) <= 0.5
        u = np.where(near, t, 0.0)
        r = u / (2 + u)
        series = -r * u + 2 * r**3 * horner(ARTANH, r * r)
        far = np.where(t == np.inf, -np.inf, np.log1p(t) - np.where(np.isinf(t), 0.0, t))
        return np.where(near, series, far)


def log_ratio(t: Array, ratio: Array) -> tuple[Array, Array, Array]:
    """
    Return q, kappa and theta: log(1 + t) = t q, q = 1 + t kappa, kappa = -1/2 + t theta.

    Parameters
    ----------
    t : ndarray
        Values of at least -1.
    ratio : ndarray
        1 + t, formed without t.

    Notes
    -----
    The series for ``|t| < 0.1``, and the logarithm elsewhere: mostly few values.
    """
    far = np.abs(t) >= _MAX_NEAR
    q, kappa, theta = _log_ratio_near(t)
    if far.any():
        index = np.flatnonzero(far)
        i, log = 1 / t.flat[index], np.log(ratio.flat[index])
        log *= i
        q.flat[index] = log
        log -= 1
        log *= i
        kappa.flat[index] = log
        log += 0.5
        log *= i
        theta.flat[index] = log
    return q, kappa, theta


def _log_ratio_near(t: Array) -> tuple[Array, Array, Array]:
    """Return `log_ratio` by the series of artanh(r), r = t/(2 + t)."""
    h = 1 / (2 + t)
    r = t * h
    r *= r
    theta = horner(ARTANH[:_N_NEAR_TERMS], r)
    theta *= h
    theta *= h
    theta *= 2
    theta += 0.5
    theta *= h
    kappa = t * theta
    kappa -= 0.5
    return 1 + t * kappa, kappa, theta


def stirling(x: ArrayLike) -> Array:
    """
    Return delta(x) = lgamma(x) - [(x - 1/2) log x - x + log(2 pi)/2] for x > 0.

    It falls from infinity like -log(x)/2 at 0 to 1/(12 x); see the module's notes.
    """
    return _remainder(np.asarray(x, dtype=float), 0)


def stirling_large(x: Array) -> Array:
    """Return delta(x) for x of 32 and more, where four terms leave 2e-17."""
    v = 1 / x
    return v * horner(DELTA[:4], v * v)


def stirling1(x: ArrayLike) -> Array:
    """Return delta'(x) = digamma(x) - log x + 1/(2x), which is negative, for x > 0."""
    return _remainder(np.asarray(x, dtype=float), 1)


def stirling2(x: ArrayLike) -> Array:
    """Return delta''(x) = trigamma(x) - 1/x - 1/(2 x^2), which is positive, for x > 0."""
    return _remainder(np.asarray(x, dtype=float), 2)


def _remainder(x: Array, order: int) -> Array:
    """Return the derivative of delta of this order: the series, or the recurrence up to it."""
    flat = x.ravel()
    with np.errstate(all="ignore"):
        small = flat < _MIN_LARGE
        out = _remainder_series(np.where(small, flat + _MIN_LARGE, flat), order)
        steps = flat[small] + np.arange(_MIN_LARGE, dtype=float)[:, None]
        out[small] += _remainder_step(steps, order).sum(axis=0)
        out[~(flat >= 0)] = np.nan
        out[flat == 0] = -np.inf if order == 1 else np.inf
    return out.reshape(x.shape)


def _remainder_series(x: Array, order: int) -> Array:
    """Return the asymptotic series of a derivative of delta."""
    v = 1 / x
    z = v * v
    if order == 0:
        return v * horner(DELTA, z)
    return -z * horner(DELTA1, z) if order == 1 else v * z * horner(_BERNOULLI, z)


def _remainder_step(x: Array, order: int) -> Array:
    """Return g(x) = delta(x) - delta(x + 1) or one of its derivatives."""
    if order == 2:
        return 0.5 / (x * (x + 1)) ** 2
    r = 1 / (2 * x + 1)
    z = np.where(x < 0.5, 0.0, r * r)
    far = np.log(np.where(x < 0.5, (1 + x) / x, 1.0))
    if order == 0:
        return np.where(x < 0.5, (x + 0.5) * far - 1, z * horner(ARTANH, z))
    near = -2 * r * z * horner(_ARTANH1, z)
    return np.where(x < 0.5, far - (x + 0.5) / (x * (x + 1)), near)
