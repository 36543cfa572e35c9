r"""
The negative binomial log-probability and its derivatives, without cancellation, down to alpha = 0.

With :math:`c = 1 + \alpha\mu` the log-likelihood of a count is

.. math::
    \sum_{j<y}\log(1 + j\alpha) + y\log\mu - (y + 1/\alpha)\log c - \log y!,

and the derivatives in mu are rational: :math:`r/(\mu c)` with :math:`r = y - \mu`, and
:math:`-r/c^2` differentiated once more in alpha.

Few
    Counts up to 12 (`_few`) as it stands. With :math:`m = \mu/c` and t = -alpha m,
    :math:`\log(1 + t) = -\log c`, the terms of y = 0 are :math:`-m q`, :math:`-m^2\kappa` and
    :math:`-2 m^3\theta`, (q, kappa, theta) of t as in `stirling.log_ratio`: all of one
    sign, and :math:`-\mu, \mu^2/2, -2\mu^3/3` at alpha = 0.

Many
    Larger counts (`_many`) by Stirling's formula. The large terms combine into the deviance, as in
    Loader's form of the binomial (C. Loader 2000, Fast and accurate computation of binomial
    probabilities): with s = r/c, t = alpha s and :math:`1 + t = (1 + \alpha y)/c`

    .. math::
        -D = y\,\ell(-s/y) + \frac{1}{\alpha}\ell(t), \quad \ell(t) = \log(1 + t) - t \le 0,
        \qquad -D_\alpha = -s^2\kappa(t), \qquad
        -D_{\alpha\alpha} = 2 s^3\theta(t) - \frac{s^2 y}{1 + \alpha y},

    and what is left is :math:`-\frac12\log(1 + \alpha y) + \delta(y + 1/\alpha) -
    \delta(1/\alpha)` with Stirling's remainder delta. Where 1/alpha is below 12 the first k = 12
    factors :math:`1 + j\alpha` are taken out, so that delta is a series at both ends, 1/alpha + k
    and 1/alpha + y; they leave a function of alpha alone, `_head`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import bernoulli, gammaln

from hetglm.families.special.stirling import log_ratio, stirling
from hetglm.typing import Array

#: Rows evaluated at a time: the temporaries stay near the cache.
N_BLOCK_ROWS = 8000

#: Count up to which factors are multiplied one by one, and 1/alpha from which on delta is a series.
MAX_FEW = 12

#: 2k of the eight terms of the series of delta; the ninth ones are below 1e-18 from x = 12 on.
_POWERS = np.arange(2, 17, 2)

#: B_{2k}/(2k): E = -delta'(x) x^2 in powers of 1/x^2.
_SLOPE = bernoulli(16)[2::2] / _POWERS

#: B_{2k}/(2k (2k - 1)): delta(x) x in powers of 1/x^2.
_DELTA = _SLOPE / (_POWERS - 1)

#: t above which second derivatives of the deviance are formed by log(1 + t); below it few digits cancel.
_MIN_FAR = 1.0


def log_factors(y: Array) -> Array:
    """Return the part of the log-probability that depends on no parameter, shape (n,)."""
    large = np.maximum(y, MAX_FEW)
    many = -0.5 * np.log(2 * np.pi * large) - stirling(large)
    return np.where(y > MAX_FEW, many, -gammaln(np.minimum(y, MAX_FEW) + 1))


def log_probability(y: Array, mu: Array, alpha: Array, order: int) -> Array:
    """
    Return the log-probability less `log_factors` and its derivatives.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Counts.
    mu, alpha : ndarray, shape (n,)
        Mean > 0 and dispersion >= 0, both at most 1e100.
    order : int

    Returns
    -------
    ndarray, shape (1, n), (3, n) or (6, n)
        Value; by mu, alpha; by mu mu, mu alpha, alpha alpha.
    """
    out = np.empty(((1, 3, 6)[order], len(y)))
    with np.errstate(all="ignore"):
        for i in range(0, len(y), N_BLOCK_ROWS):
            part = slice(i, i + N_BLOCK_ROWS)
            _write(y[part], mu[part], alpha[part], order, out[:, part])
    return out


def _write(y: Array, mu: Array, alpha: Array, order: int, out: Array) -> None:
    """Write the terms of some rows into ``out``."""
    b = 1 / (1 + alpha * mu)
    few = y <= MAX_FEW
    for some, terms in ((few, _few), (~few, _many)):
        if not some.any():
            continue
        rows = slice(None) if some.all() else np.flatnonzero(some)
        parts = terms(y[rows], mu[rows], alpha[rows], b[rows], order)
        for part, i in zip(parts, (0, 2, 5), strict=False):
            out[i, rows] = part
    if order:
        out[1] = (y - mu) * b / mu
    if order > 1:
        out[3] = alpha * b * b - (y * b / mu) * ((1 + 2 * alpha * mu) * b / mu)
        out[4] = -(y - mu) * b * b


def _few(y: Array, mu: Array, alpha: Array, b: Array, order: int) -> Array:
    """Return value and derivatives in alpha, factor by factor, shape (order + 1, n)."""
    m = mu * b
    q, kappa, theta = log_ratio(-alpha * m, b)
    out = _factors(alpha, y, order)
    out[0] += y * np.log(m) - m * q
    if order:
        out[1] -= m * (y + m * kappa)
    if order > 1:
        out[2] += m * m * (y - 2 * m * theta)
    return out


def _factors(alpha: Array, k: Array, order: int) -> Array:
    """Return the sum of log(1 + j alpha), j < k, and its derivatives, shape (order + 1, n)."""
    out = np.zeros((order + 1, len(alpha)))
    product = np.ones_like(alpha)
    for j in range(1, int(k.max(initial=0))):
        taken = j * (k > j)
        step = 1 + taken * alpha
        product *= step
        if j % 3 == 0:
            out[0] += np.log(product)
            product[:] = 1.0
        if order:
            share = taken / step
            out[1] += share
        if order > 1:
            out[2] -= share * share
    out[0] += np.log(product)
    return out


def _many(y: Array, mu: Array, alpha: Array, b: Array, order: int) -> Array:
    """Return value and derivatives in alpha by the deviance and Stirling's remainders."""
    end = 1 + alpha * y
    s = (y - mu) * b
    t = alpha * s
    _, kappa, theta = log_ratio(t, end * b)
    s2 = s * s
    out = np.empty((order + 1, len(y)))
    out[0] = (s2 / y) * log_ratio(-s / y, mu * b * end / y)[1] + s * t * kappa
    if order:
        out[1] = -s2 * kappa
    if order > 1:
        near = s2 * (2 * s * theta - y / end)
        out[2] = np.where(t > _MIN_FAR, s2 / alpha * (2 * kappa + 1 / end), near)
    first = np.where(alpha * MAX_FEW > 1, float(MAX_FEW), 0.0)
    out += _remainder(alpha, y, end, order)
    out -= _remainder(alpha, first, 1 + first * alpha, order)
    rows = np.flatnonzero(first)
    if len(rows):
        out[:, rows] += _head(alpha[rows], order)
    return out


def _remainder(alpha: Array, k: Array, past: Array, order: int) -> Array:
    """Return delta(1/alpha + k) - log(1 + k alpha)/2 and derivatives; ``past`` is 1 + k alpha."""
    v = alpha / past
    z = v * v
    out = np.empty((order + 1, len(alpha)))
    out[0] = v * _polynomial(_DELTA, z) - 0.5 * np.log(past)
    if order:
        rate = k / past
        slope = _polynomial(_SLOPE, z) / past / past
        out[1] = slope - 0.5 * rate
    if order > 1:
        bend = 2 * v * _polynomial(_SLOPE[1:] * np.arange(1, len(_SLOPE)), z) / past**4
        out[2] = bend - 2 * rate * slope + 0.5 * rate * rate
    return out


def _polynomial(coefficients: Array, z: Array) -> Array:
    """Return sum_k coefficients[k] z^k."""
    total = np.full_like(z, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= z
        total += c
    return total


def _head(alpha: Array, order: int) -> Array:
    """Return the sum of log(1 + j alpha), j < k = 12, + k - (k + 1/alpha) log(1 + k alpha)."""
    k = float(MAX_FEW)
    out = _factors(alpha, np.full_like(alpha, k), order)
    log = np.log1p(k * alpha)
    out[0] += k - (k + 1 / alpha) * log
    if order:
        out[1] += (log - k * alpha) / alpha / alpha
    if order > 1:
        out[2] -= (2 * (log / alpha - k) / alpha + k * (k / (1 + k * alpha))) / alpha
    return out
