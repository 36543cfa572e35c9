r"""
Beta-binomial log-probabilities as draws from Polya's urn, without cancellation down to sigma = 0.

For the rows that `betabinomial_shifted` does not take. The probability of y successes and z
failures in a given order is :math:`L(\mu, y) + L(\nu, z) - L(1, n)` on the log scale, with
:math:`L(x, k) = \sum_{j<k}\log(x + j\sigma)`: draws from an urn that starts with the shares
(mu, nu) and gains :math:`\sigma` of the colour drawn. The order does not matter, so take as
many successes and failures one by one, ky <= 7 and kz <= 7, as the urn needs to hold at least
7 times :math:`\sigma` of every colour still to come (`first_draws`, plain sums; none where
:math:`\mu \ge 7 \sigma`), and the others from the urn
:math:`(\alpha, \beta) = (\mu + k_y\sigma, \nu + k_z\sigma)`. Where successes are rare, n mu
below 0.5, seven are taken at any :math:`\sigma`: else terms of order y/mu would cancel.

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

With :math:`-n KL(y/n \| p)` of all draws in place of the first divergence, the value of the
first draws being taken relative to p and 1 - p, what is left is free of ky, kz and parameters.
p minimises the two divergences together, so it need not be differentiated. All differences
are formed as products: :math:`p - \alpha/\gamma = \sigma\rho`,
:math:`\mu - \alpha/\gamma = \sigma\omega`, :math:`p - \mu = \sigma R/C` with
:math:`R = y - n\mu`, and hence :math:`R/C = \rho - \omega`. The formulas hold at
:math:`\sigma = 0`, where the binomial is left.

The tails are swapped so that mu <= nu. Every difference between B and C is then formed from
A = C - B, and the derivatives at y = 0 are right relative to mu, however small.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetglm.families.special.stirling import DELTA, DELTA1, log_ratio
from hetglm.typing import Array

#: First draws of each colour taken one by one: the seven terms of the series after them err by 6e-15.
N_HEAD = 7

#: Coefficients of delta(x) x, -delta'(x) x^2 and the derivative of the latter, in powers of 1/x^2.
_SERIES = np.array([DELTA[:-1], DELTA1[:-1], [k * c for k, c in enumerate(DELTA1) if k]])

#: t above which second derivatives are formed by `_far_second`; below it three digits cancel.
_MIN_FAR = 1e3

#: Trials up to which n KL(y/n || p) is formed by logarithms, at a loss of n roundings.
_MAX_TRIALS_LOGARITHMS = 1000

#: Trials up to which rows that need first draws are summed draw by draw.
MAX_FEW = 12

#: Largest sigma/x, and the terms of the series of delta that suffice up to it.
_TERMS = ((1 / 150, 2), (1 / 40, 3), (1 / 12, 5), (np.inf, 7))

#: Stands for a count of 0 in x log x, whose value it leaves at zero.
MIN_COUNT = 1e-30


class Derivatives(NamedTuple):
    """
    A log-probability and its derivatives in (mu, sigma), nu = 1 - mu; None beyond the order.

    Every field is an array of shape (n,).
    """

    value: Array
    mu: Array | None = None
    sigma: Array | None = None
    mu_mu: Array | None = None
    mu_sigma: Array | None = None
    sigma_sigma: Array | None = None


class Urn(NamedTuple):
    """
    Rows: tails with mu <= nu, sigma, successes and failures, and how many of them come first.

    Every field is an array of shape (n,).
    """

    mu: Array
    nu: Array
    sigma: Array
    y: Array
    z: Array
    ky: Array
    kz: Array


class _Path(NamedTuple):
    """
    Urn before and after the later draws; rows (successes, failures, both) of shape (3, n).

    ``drawn`` holds y', z', n', ``K`` is drawn/(start end); rho, omega and r = R/C are those of the
    module's notes, of shape (n,).
    """

    start: Array
    end: Array
    inv_start: Array
    inv_end: Array
    drawn: Array
    K: Array
    rho: Array
    omega: Array
    r: Array


def first_draws(urn: Urn, order: int, pooled: bool) -> Derivatives:
    """
    Return the sums over the first kz failures and, after them, ky successes.

    Parameters
    ----------
    urn : Urn
    order : int
    pooled : bool
        Whether the value is relative to draws with the shares p and 1 - p of the final urn.

    """
    m, n, s, y, z, ky, kz = urn
    total = 1 + (y + z) * s
    rates = (total / (m + y * s), total / (n + z * s)) if pooled else (1.0, 1.0)
    out = _draws_of_one(m, n, s, kz, ky, rates[0], order)
    failures = _draws_of_one(n, m, s, np.zeros_like(s), kz, rates[1], order)
    failures[1:5:3] *= -1
    out += failures
    return Derivatives(*out)


def _draws_of_one(
    share: Array, other: Array, s: Array, ahead: Array, k: Array, rate: Any, order: int
) -> Array:
    """
    Return the sums over k draws of one colour and their derivatives in its share and sigma.

    Notes
    -----
    Draw j meets the part 1/a = share + j s of the total 1/d = 1 + (ahead + j) s. The terms in
    sigma, tau = j a - (ahead + j) d, are formed as (j other - ahead share) a d. Three shares of at
    least 1e-100 can be multiplied.
    """
    out = np.zeros(((1, 3, 6)[order], len(s)))
    held, total, product, base = share.copy(), 1 + ahead * s, np.ones_like(s), ahead * share
    least = k.min(initial=np.inf)
    for j in range(int(k.max(initial=0))):
        d = 1 / total
        ratio = held * d
        ratio *= rate
        if j < least:
            a = 1 / held
        else:
            alive = (k > j).astype(float)
            a = alive / held
            ratio *= alive
            ratio += 1 - alive
        product *= ratio
        if j % 3 == 2:
            out[0] += np.log(product)
            product[:] = 1.0
        if order:
            _add_derivatives(out, a, d, j, j * other - base)
        held += s
        total += s
    out[0] += np.log(product)
    return out


def _add_derivatives(out: Array, a: Array, d: Array, j: int, tau: Array) -> None:
    """Add those of draw j to ``out``; see `_draws_of_one`. ``tau`` is overwritten."""
    tau *= a
    tau *= d
    out[1] += a
    out[2] += tau
    if len(out) == 3:
        return
    twice = (2 * j) * a
    twice -= tau
    tau *= twice
    out[5] -= tau
    a *= a
    out[3] -= a
    a *= j
    out[4] -= a


def every_draw(
    mu: Array, nu: Array, sigma: Array, y: Array, z: Array, order: int
) -> NDArray[np.float64]:
    """
    Return the terms, n H(y/n) added, as plain sums over all draws at once, shape (1, 3 or 6, n).

    For few rows of few trials: nothing but the number of NumPy's calls costs. Failures come first, as
    in `_draws_of_one`; the draws of n trials lose n roundings where their terms cancel.
    """
    most = max(y.max(initial=0.0), z.max(initial=0.0))
    j = np.arange(most)[:, None, None]
    drawn, share, ahead = np.array([z, y]), np.array([nu, mu]), np.array([np.zeros_like(z), z])
    other = share[::-1]
    alive = j < drawn
    d = 1 / (1 + (ahead + j) * sigma)
    a = share + j * sigma
    ratio = a * d
    ratio *= (y + z) / np.maximum(drawn, 1)
    np.copyto(ratio, 1.0, where=~alive)
    np.log(ratio, out=ratio)
    np.divide(alive, a, out=a)
    out = np.empty(((1, 3, 6)[order], len(y)))
    out[0] = ratio.sum(axis=(0, 1))
    if order == 0:
        return out
    failures, successes = a.sum(axis=0)
    out[1] = successes - failures
    tau = j * other
    tau -= ahead * share
    tau *= a
    tau *= d
    out[2] = tau.sum(axis=(0, 1))
    if order == 1:
        return out
    ja = j * a
    twice = 2 * ja
    twice -= tau
    twice *= tau
    out[5] = -twice.sum(axis=(0, 1))
    ja *= a
    failures, successes = ja.sum(axis=0)
    out[4] = failures - successes
    a *= a
    out[3] = -a.sum(axis=(0, 1))
    return out


def all_draws(urn: Urn, order: int) -> Derivatives:
    """Return the terms of the first and the later draws, n H(y/n) added."""
    path = _path(urn)
    total = _divergences(urn, path, order)
    parts = [part(urn, path, order) for part in (_roots, _remainders)]
    if urn.ky.any() or urn.kz.any():
        parts.append(first_draws(urn, order, True))
    for part in parts:
        for a, b in zip(total, part, strict=True):
            if a is not None and b is not None:
                a += b
    return total


def _path(urn: Urn) -> _Path:
    """Return the urn before and after the later draws."""
    m, n, s, y, z, ky, kz = urn
    N, k, y1, z1 = y + z, ky + kz, y - ky, z - kz
    drawn = np.array([y1, z1, y1 + z1])
    start = np.array([ky, kz, k]) * s
    end = np.array([y, z, N]) * s
    for i, share in enumerate((m, n, 1.0)):
        start[i] += share
        end[i] += share
    inv_start, inv_end = 1 / start, 1 / end
    K = drawn[:2] * inv_start[:2]
    K *= inv_end[:2]
    rho = (y1 - drawn[2] * m + s * (y1 * kz - z1 * ky)) * inv_end[2] * inv_start[2]
    omega = (m * kz - n * ky) * inv_start[2]
    return _Path(start, end, inv_start, inv_end, drawn, K, rho, omega, (y - N * m) * inv_end[2])


def _divergences(urn: Urn, path: _Path, order: int) -> Derivatives:
    """Return minus the two divergences."""
    s, k, rho, omega = urn.sigma, urn.ky + urn.kz, path.rho, path.omega
    f = path.start[2] * path.inv_start[:2]
    step, signed = s * rho, np.array([rho, -rho])
    growth = path.inv_end[2] * path.end[:2]
    t = signed * f * s
    q, kappa, theta = log_ratio(t, growth * f)
    pull = kappa * f
    pulled = pull[0] + pull[1]
    value = rho * path.start[2] * step * pulled + _data_divergence(urn, path, growth)
    if order == 0:
        return Derivatives(value)
    d_mu = rho * (f[0] * q[0] + f[1] * q[1])
    rho2 = rho * rho
    d_sigma = -rho2 * pulled - omega * d_mu
    if order == 1:
        return Derivatives(value, d_mu, d_sigma)
    pull *= f
    bend = theta * (f * f)
    k2, K, r = pull[0] - pull[1], path.K[0] + path.K[1], path.r
    kr = k * rho * (path.inv_start[0] + path.inv_start[1])
    rK = r * K
    d_ss = 2 * rho2 * (rho * (bend[0] - bend[1]) + omega * k2) - r * rK - kr * (rho - 2 * omega)
    d_ms = -rK - kr - rho2 * k2
    far = t[0] > _MIN_FAR
    if far.any():
        d_ms[far], d_ss[far] = _far_second(
            Urn(*(a[far] for a in urn)),
            _Path(*(a[..., far] for a in path)),
            d_mu[far],
            d_sigma[far],
        )
    return Derivatives(value, d_mu, d_sigma, -K, d_ms, d_ss)


def _data_divergence(urn: Urn, path: _Path, growth: Array) -> Array:
    """Return -n KL(y/n || p): by its logarithms where the counts do not multiply their rounding."""
    r, N = path.r, urn.y + urn.z
    y, z = np.maximum(urn.y, MIN_COUNT), np.maximum(urn.z, MIN_COUNT)
    if N.max(initial=0) <= _MAX_TRIALS_LOGARITHMS:
        return y * np.log(N / y * growth[0]) + z * np.log(N / z * growth[1])
    inverse = 1 / np.array([y, z])
    kappa = log_ratio(np.array([-r, r]) * inverse, growth * (N * inverse))[1]
    kappa *= inverse
    return r * r * (kappa[0] + kappa[1])


def _far_second(urn: Urn, path: _Path, d_mu: Array, d_sigma: Array) -> tuple[Array, Array]:
    """
    Return the divergences' derivatives (mu sigma, sigma sigma) where p is far above alpha/gamma.

    There the divergences are differenced, which loses 1/t of the digits; the terms of the other
    form are t times their sum.
    """
    ia, ib, _ = path.inv_start
    iA, iB, _ = path.inv_end
    Ka, Kb = path.K
    d_ms = (urn.mu * Ka - urn.nu * Kb - d_mu) / urn.sigma
    squares = path.omega**2 * path.start[2] * ia * ib - path.r**2 * path.end[2] * iA * iB
    return d_ms, -(2 * d_sigma + squares) / urn.sigma


def _roots(urn: Urn, path: _Path, order: int) -> Derivatives:
    """Return -1/2 log[A B gamma/(alpha beta C)]."""
    m, n, s, y, z, ky, kz = urn
    ia, ib, ig = path.inv_start
    iA, iB, iC = path.inv_end
    growth = path.end * path.inv_start
    value = -0.5 * np.log(growth[0] * growth[1] / growth[2])
    if order == 0:
        return Derivatives(value)
    Ka, Kb = path.K
    d_mu = 0.5 * s * (Ka - Kb)
    gain_y = path.end[1] * iC * path.drawn[0] * iA + path.rho
    gain_z = path.end[0] * iC * path.drawn[1] * iB - path.rho
    d_sigma = -0.5 * (m * ia * gain_y + n * ib * gain_z)
    if order == 1:
        return Derivatives(value, d_mu, d_sigma)
    r, omega = path.r, path.omega
    Ka, Kb = 0.5 * Ka, 0.5 * Kb
    mA, nB = m * iA, n * iB
    d_mm = -s * (Ka * (iA + ia) + Kb * (iB + ib))
    d_ms = Ka * (mA - ky * s * ia) - Kb * (nB - kz * s * ib)
    d_ss = (
        Ka * (r * mA - omega * m * ia)
        - Kb * (r * nB - omega * n * ib)
        - ((y + z) * iC + (ky + kz) * ig) * d_sigma
    )
    return Derivatives(value, d_mu, d_sigma, d_mm, d_ms, d_ss)


class _Points(NamedTuple):
    """
    Pairs of points x at which delta(x/s) is differenced: (A, alpha), (B, C) and (beta, gamma).

    u and v are 1/x at the first and second of each pair, ``gap`` is u - v, ``gap2`` u^2 - v^2, all
    of shape (3, n). ``at`` and ``slope`` are the polynomials of `_SERIES`, up to the order, at
    s^2 v^2 and their divided differences to s^2 u^2; a constant slope is a number.
    """

    u: Array
    v: Array
    gap: Array
    gap2: Array
    at: list[Array]
    slope: list[Any]


def _points(urn: Urn, path: _Path, order: int) -> _Points:
    """Return the pairs; where no success (failure) comes later, alpha (beta) and A (B) drop out."""
    s = urn.sigma
    ia, ib, ig = path.inv_start
    iA, iB, iC = path.inv_end
    u, v = np.array([iA, iB, ib]), np.array([ia, iC, ig])
    gap = np.array([-s * path.drawn[0], path.end[0], path.start[0]])
    gap *= u
    gap *= v
    later = path.drawn[:2] > 0
    if not later.all():
        u[0] *= later[0]
        v[0] *= later[0]
        u[1:] *= later[1]
        np.copyto(gap[1:], -v[1:], where=~later[1])
    gap2 = u + v
    gap2 *= gap
    x, y = s * u, s * v
    largest = max(x.max(initial=0), y.max(initial=0))
    terms = next((count for limit, count in _TERMS if largest <= limit), _SERIES.shape[1])
    x *= x
    y *= y
    pairs = [_divided(row[:terms].tolist(), x, y) for row in _SERIES[: order + 1]]
    return _Points(u, v, gap, gap2, [p for p, _ in pairs], [q for _, q in pairs])


def _divided(coefficients: list[float], x: Array, y: Array) -> tuple[Array, Any]:
    """Return P(y) and [P(x) - P(y)]/(x - y) of a polynomial of two terms or more."""
    slope: Any = coefficients[-1]
    at = y * slope
    at += coefficients[-2]
    for c in coefficients[-3::-1]:
        slope = slope * x
        slope += at
        at *= y
        at += c
    return at, slope


def _remainders(urn: Urn, path: _Path, order: int) -> Derivatives:
    """
    Return the differences of delta, differenced term by term: right relative to mu at y = 0.

    Notes
    -----
    With e(x) = -delta'(x/s)/s^2 the derivative in sigma is mu [e(A) - e(alpha)] + nu [e(B) -
    e(beta)] - [e(C) - e(gamma)]; B and C and beta and gamma are taken together, see `_Points`.
    """
    m, n, s = urn.mu, urn.nu, urn.sigma
    points = _points(urn, path, order)
    u, v, gap, gap2, at, slope = points
    s2 = s * s
    d = u * gap2
    d *= slope[0] * s2
    d += gap * at[0]
    value = s * (d[0] + d[1] - d[2])
    if order == 0:
        return Derivatives(value)
    v2 = v * v
    e = v2 * at[1]
    de = gap2 + v2
    de *= slope[1] * s2
    de += at[1]
    de *= gap2
    de_c = e[1] - e[2]
    de_b = de[1] - de[2] + de_c
    d_mu = s * (de_b - de[0])
    d_sigma = m * (de[0] - de_c) + n * (de[1] - de[2])
    if order == 1:
        return Derivatives(value, d_mu, d_sigma)
    return Derivatives(value, d_mu, d_sigma, *_remainders2(urn, path, points, e, de, de_b))


def _remainders2(
    urn: Urn, path: _Path, points: _Points, e: Array, de: Array, de_b: Array
) -> tuple[Array, Array, Array]:
    """
    Return the second derivatives of the differences of delta.

    Notes
    -----
    With e3 = e/A and e5 = s e1'(s^2/A^2)/A^5 half the slope of e(A) in sigma is mu e5 - y e3, in
    mu it is -(e3 + s e5). Both are differenced over the same pairs. None grows as sigma falls.
    """
    m, n, s, y, z, ky, kz = urn
    u, v, gap, gap2, at, slope = points
    v2 = v * v
    slope4 = slope[2] * (s * s)
    de4 = gap2 * slope4
    de4 += at[2]
    de4 *= gap2 + 2 * v2
    v2 *= v2
    de4 += v2 * slope4
    gap2 *= s
    de4 *= gap2
    v2 *= s
    v2 *= at[2]
    e3, e5 = v * e, v * v2
    de3, de5 = u * de, u * de4
    de3 += gap * e
    de5 += gap * v2
    half_a = m * de5[0] - y * de3[0] - path.drawn[0] * e3[0]
    half_bc = y * e3[1] - z * de3[1] + n * de5[1] - m * e5[1]
    half_bg = ky * e3[2] - kz * de3[2] + n * de5[2] - m * e5[2]
    half_c = (ky + kz) * e3[2] - (y + z) * e3[1] + e5[1] - e5[2]
    half_b = half_bc - half_bg
    d_ss = 2 * (m * (half_a - half_c) + n * half_b)
    d_ms = de_b - de[0] - 2 * s * (half_a - half_b - half_c)
    curve3 = de3[0] + de3[1] - de3[2] + e3[1] - e3[2]
    curve5 = de5[0] + de5[1] - de5[2] + e5[1] - e5[2]
    return 2 * s * (curve3 + s * curve5), d_ms, d_ss
