r"""
Differences of log-gamma functions and their derivatives, without cancellation.

Stirling's remainder
    :math:`\delta(x) = \log\Gamma(x) - [(x - \tfrac12)\log x - x + \tfrac12\log 2\pi]` and its
    derivatives (`stirling`, `stirling1`, `stirling2`). Large x: the asymptotic series (DLMF
    5.11.1). Small x: the recurrence :math:`\delta(x) = \delta(x + 1) + g(x)`, where with
    :math:`r = 1/(2x + 1)`

    .. math::
        g = \frac{\operatorname{artanh} r}{r} - 1 = \sum_{k \ge 1} \frac{r^{2k}}{2k + 1}, \qquad
        g' = -2 r \sum_{k \ge 1} \frac{2k\, r^{2k}}{2k + 1}, \qquad
        g'' = \frac{1}{2 x^2 (x + 1)^2},

    all sums of one sign, so that :math:`\delta` keeps its relative accuracy.

Polya's urn
    The beta-binomial probability of y successes and z failures in a given order is
    :math:`L(\mu, y) + L(\nu, z) - L(1, n)` on the log scale, with
    :math:`L(x, k) = \sum_{j<k}\log(x + j\sigma)`: draws from an urn that starts with the shares
    (mu, nu) and gains :math:`\sigma` of the colour drawn. The order does not matter, so take the
    first ky <= 8 successes and kz <= 8 failures one by one (`first_draws`, plain sums) and the
    others from the urn :math:`(\alpha, \beta) = (\mu + k_y\sigma, \nu + k_z\sigma)`, which holds
    at least 8 times :math:`\sigma` of every colour still to come (`later_draws`).

    For these write every log-gamma by Stirling's formula. With the total
    :math:`\gamma = \alpha + \beta`, the final urn :math:`(A, B) = (\mu + y\sigma, \nu + z\sigma)`
    of total C, and :math:`p = A/C`, the large terms combine into two Kullback-Leibler
    divergences, as in Loader's form of the binomial (C. Loader 2000, Fast and accurate computation
    of binomial probabilities):

    .. math::
        -n' KL(y'/n' \| p) - \frac{\gamma}{\sigma} KL(\alpha/\gamma \| p)
        - \frac12\log\frac{A B \gamma}{\alpha \beta C}
        + [\delta(A/\sigma) - \delta(\alpha/\sigma)] + [\delta(B/\sigma) - \delta(\beta/\sigma)]
        - [\delta(C/\sigma) - \delta(\gamma/\sigma)].

    p minimises the two divergences together, so it need not be differentiated. All differences
    are formed as products: :math:`p - \alpha/\gamma = \sigma\rho`,
    :math:`\mu - \alpha/\gamma = \sigma\omega`, :math:`p - \mu = \sigma R/C` with
    :math:`R = y - n\mu`, and hence :math:`R/C = \rho - \omega`. The formulas hold at
    :math:`\sigma = 0`, where the binomial is left.

    The tails are swapped so that mu <= nu. Every difference between B and C is then formed from
    A = C - B, and the derivatives at y = 0 are right relative to mu, however small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

#: B_{2k}/(2k (2k - 1)), B_{2k}/(2k) and B_{2k}: delta, -delta' and delta'' in powers of 1/x^2.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
_DELTA = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1))
_DELTA1 = tuple(b / (2 * k) for k, b in enumerate(_BERNOULLI, 1))
#: Eight terms are exact to rounding from here on (the ninth is 55/(18 x^18) in delta').
_LARGE = 12
#: sum_k z^k/(2k + 3), (artanh(r)/r - 1)/z with z = r^2; 17 terms for |r| <= 1/3.
_ARTANH = tuple(1 / (2 * k + 3) for k in range(17))
_ARTANH1 = tuple((2 * k + 2) / (2 * k + 3) for k in range(17))

#: Draws of each colour taken one by one, and the terms that the series after them needs: the
#: first term left out of delta is 1/156/8^13 = 1e-14.
HEAD = 8
_TERMS = 6
#: Below this |t| log(1 + t) is summed (|r| <= 0.053, six terms); above, at most 3 digits cancel.
_NEAR = 0.1
#: Rows with no more trials than this are summed draw by draw.
FEW = 12
#: Stands for no success in x log x, whose value it leaves at zero.
_NONE = 1e-30


def _horner(coefficients: Sequence[float], z: Array) -> Array:
    """Return sum_k coefficients[k] z^k."""
    total = np.full_like(z, coefficients[-1])
    for c in reversed(coefficients[:-1]):
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
        series = -r * u + 2 * r**3 * _horner(_ARTANH, r * r)
        far = np.where(t == np.inf, -np.inf, np.log1p(t) - np.where(np.isinf(t), 0.0, t))
        return np.where(near, series, far)


def stirling(x: ArrayLike) -> Array:
    """
    Return delta(x) = lgamma(x) - [(x - 1/2) log x - x + log(2 pi)/2] for x > 0.

    It falls from infinity like -log(x)/2 at 0 to 1/(12 x); see the module's notes.
    """
    return _remainder(np.asarray(x, dtype=float), 0)


def stirling1(x: ArrayLike) -> Array:
    """Return delta'(x) = digamma(x) - log x + 1/(2x), which is negative, for x > 0."""
    return _remainder(np.asarray(x, dtype=float), 1)


def stirling2(x: ArrayLike) -> Array:
    """Return delta''(x) = trigamma(x) - 1/x - 1/(2 x^2), which is positive, for x > 0."""
    return _remainder(np.asarray(x, dtype=float), 2)


def trigamma(x: ArrayLike) -> Array:
    """Return the second derivative of log-gamma for x > 0."""
    x = np.asarray(x, dtype=float)
    with np.errstate(all="ignore"):
        return (1 + 0.5 / x) / x + stirling2(x)


def _remainder(x: Array, order: int) -> Array:
    """Return the derivative of delta of this order: the series, or the recurrence up to it."""
    with np.errstate(all="ignore"):
        small = x < _LARGE
        out = _remainder_series(np.where(small, x + _LARGE, x), order)
        if small.any():
            low = x[small] if x.ndim else x
            steps = low + np.arange(_LARGE, dtype=float).reshape(-1, *[1] * np.ndim(low))
            added = _remainder_step(steps, order).sum(axis=0)
            out = out + added if not x.ndim else _add_where(out, small, added)
        return np.where(x > 0, out, np.where(x == 0, (np.inf, -np.inf, np.inf)[order], np.nan))


def _add_where(total: Array, where: NDArray[np.bool_], added: Array) -> Array:
    """Return total with ``added`` put on the places that ``where`` marks."""
    total[where] += added
    return total


def _remainder_series(x: Array, order: int) -> Array:
    """Return the asymptotic series of a derivative of delta."""
    v = 1 / x
    z = v * v
    if order == 0:
        return v * _horner(_DELTA, z)
    return -z * _horner(_DELTA1, z) if order == 1 else v * z * _horner(_BERNOULLI, z)


def _remainder_step(x: Array, order: int) -> Array:
    """Return g(x) = delta(x) - delta(x + 1) or one of its derivatives."""
    if order == 2:
        return 0.5 / (x * (x + 1)) ** 2
    r = 1 / (2 * x + 1)
    z = np.where(x < 1, 0.0, r * r)
    far = np.log(np.where(x < 1, (1 + x) / x, 1.0))
    if order == 0:
        return np.where(x < 1, (x + 0.5) * far - 1, z * _horner(_ARTANH, z))
    near = -2 * r * z * _horner(_ARTANH1, z)
    return np.where(x < 1, far - (x + 0.5) / (x * (x + 1)), near)


class Derivatives(NamedTuple):
    """
    Log-probability of a sequence of draws and its derivatives in (mu, sigma), nu = 1 - mu.

    Entries beyond the order asked for are None.
    """

    value: Array
    mu: Array | None = None
    sigma: Array | None = None
    mu_mu: Array | None = None
    mu_sigma: Array | None = None
    sigma_sigma: Array | None = None


class Urn(NamedTuple):
    """
    Rows of a block: tails with mu <= nu, sigma, successes and failures, and how many come first.

    Every field is an array of the same shape.
    """

    mu: Array
    nu: Array
    sigma: Array
    y: Array
    z: Array
    ky: Array
    kz: Array


def first_draws(urn: Urn, order: int) -> Derivatives:
    """Return the sums over the first ky successes and, before them, kz failures."""
    failures = _draws(urn.nu, urn.mu, urn.sigma, urn.kz, np.zeros_like(urn.kz), order)
    successes = _draws(urn.mu, urn.nu, urn.sigma, urn.ky, urn.kz, order)
    value, *rest = (a + b for a, b in zip(successes, failures, strict=True))
    if order == 0:
        return Derivatives(value)
    sigma, _, *second = rest
    mu = successes[2] - failures[2]
    if order == 1:
        return Derivatives(value, mu, sigma)
    return Derivatives(value, mu, sigma, -second[0], failures[4] - successes[4], -second[2])


def _draws(
    x: Array, other: Array, s: Array, count: Array, before: Array, order: int
) -> tuple[Array, ...]:
    r"""
    Return the sums over one colour of share x, drawn ``count`` times after ``before`` others.

    With v = x + j s, w = 1 + (before + j) s and j < count: the sums of log(v/w),
    tau = j/v - (before + j)/w, 1/v, 1/v^2, j/v^2 and tau (j/v + (before + j)/w). tau is
    (j other - before x)/(v w), where other = 1 - x. The logarithm is that of a product whose
    factors, measured by the second of them, can neither overflow nor underflow.
    """
    top, low = int(count.max(initial=0)), count.min(initial=0)
    one = np.ones_like(x) if low >= 1 else (count > 0).astype(float)
    w = 1 + before * s
    iv, iw = one / x, 1 / w
    num = -before * x
    tau = -before * iw * one
    sums = [tau, iv, iv * iv, np.zeros_like(x), -tau * tau]
    gauge = (1 + s) / (x + s)
    v, product = x.copy(), np.ones_like(x)
    for j in range(1, top):
        v += s
        w += s
        np.divide(1.0, w, out=iw)
        ratio = v * iw
        ratio *= gauge
        iv = 1 / v
        if j >= low:
            live = count > j
            ratio = np.where(live, ratio, 1.0)
            iv *= live
        product *= ratio
        num += other
        if order:
            tau = num * iv
            tau *= iw
            sums[0] += tau
            sums[1] += iv
        if order > 1:
            jv = j * iv
            iv *= iv
            sums[2] += iv
            iv *= j
            sums[3] += iv
            jv *= 2
            jv -= tau
            jv *= tau
            sums[4] += jv
    more = np.maximum(count - 1, 0)
    value = np.log(product) - more * np.log(gauge) + np.where(one > 0, np.log(x / (1 + before * s)), 0.0)
    return (value, *sums)


def log_ratio(t: Array, log1p_t: Array) -> tuple[Array, Array, Array]:
    """
    Return q, kappa and theta: log(1 + t) = t q, q = 1 + t kappa, kappa = -1/2 + t theta.

    Parameters
    ----------
    t : ndarray
        Values of at least -1.
    log1p_t : ndarray
        log(1 + t), right where ``|t| > 0.1``.
    """
    near = np.abs(t) < _NEAR
    u = np.where(near, t, 0.0)
    h = 1 / (2 + u)
    r = u * h
    theta = (0.5 + 2 * h * h * _horner(_ARTANH[:_TERMS], r * r)) * h
    kappa = u * theta - 0.5
    it = 1 / t
    q_far = log1p_t * it
    kappa_far = (q_far - 1) * it
    theta_far = (kappa_far + 0.5) * it
    return (
        np.where(near, 1 + u * kappa, q_far),
        np.where(near, kappa, kappa_far),
        np.where(near, theta, theta_far),
    )


def later_draws(urn: Urn, order: int) -> Derivatives:
    """Return the terms of the draws after the first; the data's own entropy is left out."""
    m, n, s, y, z, ky, kz = urn
    y1, z1, k, N = y - ky, z - kz, ky + kz, y + z
    n1 = y1 + z1
    start = np.stack([m + ky * s, n + kz * s, 1 + k * s])
    end = np.stack([m + y * s, n + z * s, 1 + N * s])
    a, b, g = start
    ia, ib, ig = i_start = 1 / start
    iA, iB, iC = i_end = 1 / end
    R = y - N * m
    rho = (y1 - n1 * m + s * (y1 * kz - z1 * ky)) * iC * ig
    omega = (m * kz - n * ky) * ig
    fa, fb = g * ia, g * ib
    some_y, some_z = np.maximum(y1, _NONE), np.maximum(z1, _NONE)
    rg = rho * g
    growth = end * i_start
    shrink = 1 / growth[2]
    t = np.stack([s * rho * fa, -s * rho * fb, -rg / some_y, rg / some_z])
    logs = np.log(
        np.stack([growth[0] * shrink, growth[1] * shrink, end[0] * iC * n1 / some_y, end[1] * iC * n1 / some_z])
    )
    q, kappa, theta = log_ratio(t, logs)
    tail = _remainders(urn, start, end, i_start, i_end, y1, z1, order)
    value = (
        rg * (s * rho * (kappa[0] * fa + kappa[1] * fb) + rg * (kappa[2] / some_y + kappa[3] / some_z))
        - 0.5 * np.log(growth[0] * growth[1] * shrink)
        + tail.value
    )
    if order == 0:
        return Derivatives(value)
    Ka, Kb = y1 * iA * ia, z1 * iB * ib
    F_mu = rho * (fa * q[0] + fb * q[1])
    d_mu = F_mu + 0.5 * s * (Ka - Kb) + tail.mu
    H_s = -0.5 * (m * ia * (end[1] * iC * y1 * iA + rho) + n * ib * (end[0] * iC * z1 * iB - rho))
    r2 = rho * rho
    d_s = H_s - r2 * (kappa[0] * fa + kappa[1] * fb) - omega * F_mu + tail.sigma
    if order == 1:
        return Derivatives(value, d_mu, d_s)
    fa2, fb2 = fa * fa, fb * fb
    k2 = kappa[0] * fa2 - kappa[1] * fb2
    r = R * iC
    K = Ka + Kb
    kr = k * rho * (ia + ib)
    d_mm = tail.mu_mu - K - 0.5 * s * (Ka * (iA + ia) + Kb * (iB + ib))
    d_ms = (
        tail.mu_sigma - K * r - kr - r2 * k2
        + 0.5 * (Ka * (m * iA - ky * s * ia) - Kb * (n * iB - kz * s * ib))
    )
    d_ss = (
        tail.sigma_sigma
        - r * r * K - kr * (rho - 2 * omega) + 2 * r2 * (rho * (theta[0] * fa2 - theta[1] * fb2) + omega * k2)
        - (N * iC + k * ig) * H_s
        + 0.5 * (m * Ka * (r * iA - omega * ia) - n * Kb * (r * iB - omega * ib))
    )
    return Derivatives(value, d_mu, d_s, d_mm, d_ms, d_ss)


def _divided(coefficients: Sequence[float], x: Array, y: Array) -> tuple[Array, Array]:
    """Return P(y) and [P(x) - P(y)]/(x - y) for the polynomial P."""
    value = np.full_like(y, coefficients[-1])
    slope = np.zeros_like(y)
    for c in reversed(coefficients[:-1]):
        slope *= x
        slope += value
        value *= y
        value += c
    return value, slope


def _remainders(
    urn: Urn, start: Array, end: Array, i_start: Array, i_end: Array, y1: Array, z1: Array, order: int
) -> Derivatives:
    """Return the differences of delta; see the module's notes."""
    m, n, s, y, z, ky, kz = urn
    N, k = y + z, ky + kz
    U, V = np.stack([i_end[0], i_end[1], i_start[1]]), np.stack([i_start[0], i_end[2], i_start[2]])
    none = y1 == 0
    if none.any():
        U[0][none] = V[0][none] = 0
    no_z = z1 == 0
    if no_z.any():
        U[1:, no_z] = 0
    u, v = U * U, V * V
    s2 = s * s
    su, sv = s2 * u, s2 * v
    d = U * _horner(_DELTA[:_TERMS], su) - V * _horner(_DELTA[:_TERMS], sv)
    value = s * (d[0] + d[1] - d[2])
    if order == 0:
        return Derivatives(value)
    T = np.stack([-s * y1, end[0], start[0]]) * U * V
    if no_z.any():
        T[1:, no_z] = -V[1:, no_z]
    e, slope = _divided(_DELTA1[:_TERMS], su, sv)
    sumT = T * (U + V)
    X = sumT * (e + su * slope)
    e *= v
    XC = e[1] - e[2]
    XB = X[1] - X[2] + XC
    d_s = m * (X[0] - XC) + n * (X[1] - X[2])
    d_m = -s * (X[0] - XB)
    if order == 1:
        return Derivatives(value, d_m, d_s)
    return Derivatives(value, d_m, d_s, *_remainders2(urn, (U, V, T, u, v, su, sv), sumT, X, e, XB, y1))


_DELTA1_SLOPE = tuple(k * c for k, c in enumerate(_DELTA1))[1:]


def _remainders2(urn, points, sumT, X, e, XB, y1):
    m, n, s, y, z, ky, kz = urn
    U, V, T, u, v, su, sv = points
    N, k = y + z, ky + kz
    f, slope = _divided(_DELTA1_SLOPE[: _TERMS - 1], su, sv)
    dG = s * sumT * ((u + v) * (f + (su - sv) * slope) + s * s * v * v * slope)
    G = s * v * v * f
    dE3 = U * X + T * e
    E3 = V * e
    dE5 = U * dG + T * G
    E5 = V * G
    XA_s = m * dE5[0] - y * dE3[0] - y1 * E3[0]
    XBC_s = y * E3[1] - z * dE3[1] + n * dE5[1] - m * E5[1]
    Xbc_s = ky * E3[2] - kz * dE3[2] + n * dE5[2] - m * E5[2]
    XC_s = k * E3[2] - N * E3[1] + E5[1] - E5[2]
    dBs = XBC_s - Xbc_s
    ss = 2 * (m * (XA_s - XC_s) + n * dBs)
    ms = XB - X[0] - 2 * s * (XA_s - dBs - XC_s)
    e3 = dE3[0] + dE3[1] - dE3[2] + E3[1] - E3[2]
    e5 = dE5[0] + dE5[1] - dE5[2] + E5[1] - E5[2]
    return 2 * s * (e3 + s * e5), ms, ss
