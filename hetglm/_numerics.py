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
    first ky <= 6 successes and kz <= 6 failures one by one (`first_draws`, plain sums) and the
    others from the urn :math:`(\alpha, \beta) = (\mu + k_y\sigma, \nu + k_z\sigma)`, which holds
    at least 6 times :math:`\sigma` of every colour still to come (`later_draws`).

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

#: Draws of each colour taken one by one; from there on seven terms of the series leave 6e-14.
HEAD = 6
#: Coefficients of delta(x) x, -delta'(x) x^2 and the derivative of the latter, in powers of 1/x^2.
_SERIES = np.array([_DELTA[:-1], _DELTA1[:-1], [k * c for k, c in enumerate(_DELTA1) if k]])
#: Below this |t| log(1 + t) is summed (|r| <= 0.053, six terms); above, at most 3 digits cancel.
_NEAR = 0.1
_NEAR_TERMS = 6
#: Above this t second derivatives are formed by `_far_second`; below, three digits cancel.
_FAR = 1e3
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
    flat = x.ravel()
    with np.errstate(all="ignore"):
        small = flat < _LARGE
        out = _remainder_series(np.where(small, flat + _LARGE, flat), order)
        steps = flat[small] + np.arange(_LARGE, dtype=float)[:, None]
        out[small] += _remainder_step(steps, order).sum(axis=0)
        out[~(flat >= 0)] = np.nan
        out[flat == 0] = -np.inf if order == 1 else np.inf
    return out.reshape(x.shape)


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


def first_draws(urn: Urn, order: int) -> Derivatives:
    """
    Return the sums over the first kz failures and, after them, ky successes.

    Notes
    -----
    With j = 0, 1, ... down the rows of a table, failures meet the share b = nu + j s of the total
    c = 1 + j s, successes a = mu + j s of d = 1 + (kz + j) s. The terms in sigma, j/b - j/c and
    tau = j/a - (kz + j)/d, are formed as j mu/(b c) and (j nu - kz mu)/(a d). Sums over j are
    products with the rows 1, j, j^2.
    """
    m = urn.mu
    powers, tables, live = _draw_tables(urn)
    a, b, c, d = (1 / table for table in tables)
    ratios = [tables[0] * d, tables[1] * c]
    for table, ratio, alive in zip((a, b), ratios, live, strict=False):
        table *= alive
        ratio *= alive
        ratio += 1 - alive
    product = ratios[0] * ratios[1]
    value = np.log(product[::2] * product[1::2]).sum(axis=0)
    if order == 0:
        return Derivatives(value)
    two = powers[:2]
    tau = powers[1][:, None] * urn.nu
    tau -= urn.kz * m
    tau *= a
    tau *= d
    bc = b * c
    d_mu = (two @ a)[0] - (two @ b)[0]
    d_sigma = (two @ tau)[0] + m * (two @ bc)[1]
    if order == 1:
        return Derivatives(value, d_mu, d_sigma)
    c += b
    c *= bc
    a_tau = a * tau
    for table in (a, b, tau):
        table *= table
    a_sums, b_sums = two @ a, two @ b
    d_ss = (two @ tau)[0] - 2 * (two @ a_tau)[1] - m * (powers @ c)[2]
    return Derivatives(value, d_mu, d_sigma, -a_sums[0] - b_sums[0], b_sums[1] - a_sums[1], d_ss)


def _draw_tables(urn: Urn) -> tuple[Array, list[Array], list[Array]]:
    """
    Return rows 1, j, j^2, the tables a, b, c, d, and where successes and failures are drawn (0/1).

    There are no masks where every row has all draws.
    """
    m, n, s, _, _, ky, kz = urn
    top = int(max(ky.max(initial=0), kz.max(initial=0)))
    j = np.arange(top + top % 2, dtype=float)
    powers, column = np.stack([j**0, j, j * j]), j[:, None]
    steps = column * s
    tables = [m + steps, n + steps, 1 + steps, (1 + kz * s) + steps]
    if len(j) <= min(ky.min(initial=top), kz.min(initial=top)):
        return powers, tables, []
    return powers, tables, [(column < ky).astype(float), (column < kz).astype(float)]


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
    Both forms are taken for all t and blended by sums: cheaper than branches.
    """
    near = np.abs(t) < _NEAR
    if near.all():
        return _log_ratio_near(t)
    here = near.astype(float)
    there = 1 - here
    i = there / (t + here)
    q = np.log(ratio) * i
    kappa = (q - there) * i
    theta = (kappa + 0.5 * there) * i
    near_q, near_kappa, near_theta = _log_ratio_near(t * here)
    return q + near_q * here, kappa + near_kappa * here, theta + near_theta * here


def _log_ratio_near(t: Array) -> tuple[Array, Array, Array]:
    """Return `log_ratio` by the series of artanh(r), r = t/(2 + t)."""
    h = 1 / (2 + t)
    r = t * h
    r *= r
    theta = _horner(_ARTANH[:_NEAR_TERMS], r)
    theta *= h
    theta *= h
    theta *= 2
    theta += 0.5
    theta *= h
    kappa = t * theta
    kappa -= 0.5
    return 1 + t * kappa, kappa, theta


def later_draws(urn: Urn, order: int) -> Derivatives:
    """Return the terms of the draws after the first, without the entropy of their counts."""
    path = _path(urn)
    parts = [part(urn, path, order) for part in (_divergences, _roots, _remainders)]
    return Derivatives(*(a + b + c for a, b, c in zip(*parts, strict=True) if a is not None))


def _path(urn: Urn) -> _Path:
    """Return the urn before and after the later draws."""
    m, n, s, y, z, ky, kz = urn
    N, k, y1, z1 = y + z, ky + kz, y - ky, z - kz
    drawn = np.stack([y1, z1, y1 + z1])
    start = np.stack([ky, kz, k]) * s
    end = np.stack([y, z, N]) * s
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
    step, signed = s * rho, np.stack([rho, -rho])
    growth = path.inv_end[2] * path.end[:2]
    t = signed * f * s
    q, kappa, theta = log_ratio(t, growth * f)
    drawn = np.maximum(path.drawn, _NONE)
    later = 1 / drawn[:2]
    move = rho * path.start[2]
    data_t = np.stack([-move, move]) * later
    data = log_ratio(data_t, growth * (drawn[2] * later))[1] * later
    pull = kappa * f
    pulled = pull[0] + pull[1]
    value = move * (step * pulled + move * (data[0] + data[1]))
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
    far = t[0] > _FAR
    if far.any():
        d_ms[far], d_ss[far] = _far_second(
            Urn(*(a[far] for a in urn)),
            _Path(*(a[..., far] for a in path)),
            d_mu[far],
            d_sigma[far],
        )
    return Derivatives(value, d_mu, d_sigma, -K, d_ms, d_ss)


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
    of shape (3, n). ``at`` and ``slope``, of shape (3, order + 1, n), are the polynomials of
    `_SERIES` at s^2 v^2 and their divided differences to s^2 u^2.
    """

    u: Array
    v: Array
    gap: Array
    gap2: Array
    at: Array
    slope: Array


def _points(urn: Urn, path: _Path, order: int) -> _Points:
    """Return the pairs; where no success (failure) comes later, alpha (beta) and A (B) drop out."""
    s = urn.sigma
    ia, ib, ig = path.inv_start
    iA, iB, iC = path.inv_end
    u, v = np.stack([iA, iB, ib]), np.stack([ia, iC, ig])
    gap = np.stack([-s * path.drawn[0], path.end[0], path.start[0]])
    gap *= u
    gap *= v
    no_y, no_z = path.drawn[:2] == 0
    if no_y.any():
        u[0, no_y] = v[0, no_y] = 0.0
    if no_z.any():
        u[1:, no_z], gap[1:, no_z] = 0.0, -v[1:, no_z]
    su, sv = s * u, s * v
    at, slope = _polynomials(_SERIES[: order + 1], su * su, sv * sv)
    return _Points(u, v, gap, gap * (u + v), at, slope)


def _polynomials(coefficients: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Return P(y) and [P(x) - P(y)]/(x - y) of some polynomials, shape (len(x), P, n)."""
    terms = coefficients.shape[1]
    powers, slopes = np.empty((2, len(x), terms, x.shape[1]))
    powers[:, 0], powers[:, 1] = 1.0, y
    slopes[:, 0], slopes[:, 1] = 0.0, 1.0
    for k in range(2, terms):
        np.multiply(powers[:, k - 1], y, out=powers[:, k])
        np.multiply(slopes[:, k - 1], x, out=slopes[:, k])
        slopes[:, k] += powers[:, k - 1]
    return coefficients @ powers, coefficients @ slopes


def _remainders(urn: Urn, path: _Path, order: int) -> Derivatives:
    """
    Return the differences of delta.

    Notes
    -----
    With e(x) = -delta'(x/s)/s^2 the derivative in sigma is mu [e(A) - e(alpha)] + nu [e(B) -
    e(beta)] - [e(C) - e(gamma)]; B and C and beta and gamma are taken together, see `_Points`.
    """
    m, n, s = urn.mu, urn.nu, urn.sigma
    points = _points(urn, path, order)
    u, v, gap, gap2, at, slope = points
    s2 = s * s
    d = gap * at[:, 0] + u * (s2 * gap2) * slope[:, 0]
    value = s * (d[0] + d[1] - d[2])
    if order == 0:
        return Derivatives(value)
    v2 = v * v
    e = v2 * at[:, 1]
    de = gap2 * (at[:, 1] + s2 * (gap2 + v2) * slope[:, 1])
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
    In sigma, half the slope of e(A) is mu e5 - y e3 with e3 = e/A and e5 = s e1'(s^2/A^2)/A^5; in
    mu it is -(e3 + s e5). Both are differenced over the same pairs.
    """
    m, n, s, y, z, ky, kz = urn
    u, v, gap, gap2, at, slope = points
    s2, v2 = s * s, v * v
    e4 = s * v2 * v2 * at[:, 2]
    slope4 = s2 * slope[:, 2]
    de4 = s * gap2 * ((gap2 + 2 * v2) * (at[:, 2] + gap2 * slope4) + v2 * v2 * slope4)
    e3, e5 = v * e, v * e4
    de3, de5 = u * de + gap * e, u * de4 + gap * e4
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
