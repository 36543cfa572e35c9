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

from collections.abc import Sequence
from typing import Any, NamedTuple

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

#: Draws of each colour taken one by one; from there on seven terms of the series leave 6e-15.
HEAD = 7
#: Coefficients of delta(x) x, -delta'(x) x^2 and the derivative of the latter, in powers of 1/x^2.
_SERIES = np.array([_DELTA[:-1], _DELTA1[:-1], [k * c for k, c in enumerate(_DELTA1) if k]])
#: Below this |t| log(1 + t) is summed (|r| <= 0.053, six terms); above, at most 3 digits cancel.
_NEAR = 0.1
_NEAR_TERMS = 6
#: Above this t second derivatives are formed by `_far_second`; below, three digits cancel.
_FAR = 1e3
#: Up to this many trials n KL(y/n || p) is formed by logarithms: n roundings are lost.
_PLAIN = 1000
#: Rows with no more trials than this are summed draw by draw.
FEW = 12
#: Terms of the series of delta that are enough where every sigma/x is below the limit before.
_TERMS = ((1 / 150, 2), (1 / 40, 3), (1 / 12, 5), (np.inf, 7))
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


def all_draws(urn: Urn, order: int, rare: bool) -> Derivatives:
    """Return the terms of the first and the later draws, n H(y/n) added; ``rare`` if n mu is tiny."""
    path = _path(urn)
    last = _remainders_rare if rare else _remainders
    parts = [part(urn, path, order) for part in (_divergences, _roots, last)]
    if urn.ky.any() or urn.kz.any():
        parts.append(first_draws(urn, order, True))
    return Derivatives(*(sum(terms) for terms in zip(*parts, strict=True) if terms[0] is not None))


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
    far = t[0] > _FAR
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
    y, z = np.maximum(urn.y, _NONE), np.maximum(urn.z, _NONE)
    if N.max(initial=0) <= _PLAIN:
        return y * np.log(N / y * growth[0]) + z * np.log(N / z * growth[1])
    inverse = 1 / np.stack([y, z])
    kappa = log_ratio(np.stack([-r, r]) * inverse, growth * (N * inverse))[1]
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


def _remainders(urn: Urn, path: _Path, order: int) -> Derivatives:
    """
    Return the differences of delta.

    Notes
    -----
    With e(x) = -delta'(x/s)/s^2 the derivative in sigma is mu [e(A) - e(alpha)] + nu [e(B) -
    e(beta)] - [e(C) - e(gamma)]. Half the slope of e(A) in sigma is h = mu e5 - y e3 with e3 = e/A
    and e5 = s e1'(s^2/A^2)/A^5; in mu it is -g = -(e3 + s e5). None of these grows as sigma falls.
    """
    m, n, s, y, z, ky, kz = urn
    later = path.drawn[:2] > 0
    if not later.all():
        # both points are the same, and may be too small for the series
        path.inv_start[:2] *= later
        path.inv_end[:2] *= later
    counts = (ky, kz, ky + kz), (y, z, y + z)
    shares = (m, n, 1.0)
    start, end = (
        _series_terms(i, s, shares, count, order)
        for i, count in zip((path.inv_start, path.inv_end), counts, strict=True)
    )
    value, e, h, g = (b - a for a, b in zip(start, end, strict=True))
    value = value[0] + value[1] - value[2]
    if order == 0:
        return Derivatives(value)
    difference = e[1] - e[0]
    d_mu, d_sigma = s * difference, m * e[0] + n * e[1] - e[2]
    if order == 1:
        return Derivatives(value, d_mu, d_sigma)
    d_ss = 2 * (m * h[0] + n * h[1] - h[2])
    d_ms = difference + 2 * s * (h[1] - h[0])
    return Derivatives(value, d_mu, d_sigma, 2 * s * (g[0] + g[1]), d_ms, d_ss)


def _series_terms(i: Array, s: Array, shares: Any, counts: Any, order: int) -> list[Array]:
    """Return delta, e, h and g of `_remainders` at 1/i, up to the order, of shape (3, n)."""
    w = s * i
    largest = w.max(initial=0)
    terms = next((count for limit, count in _TERMS if largest <= limit), _SERIES.shape[1])
    square = w * w
    # no matrix product: BLAS would start threads for it
    series = [_horner(row[:terms], square) for row in _SERIES[: order + 1]]
    series[0] *= w
    if order == 0:
        return [series[0], *[np.zeros(3)] * 3]
    e = series[1]
    i2 = i * i
    e *= i2
    if order == 1:
        return [series[0], e, *[np.zeros(3)] * 2]
    e3, e5 = e * i, series[2]
    i2 *= i2
    e5 *= i2
    e5 *= w
    h = np.empty_like(e)
    for j in range(3):
        h[j] = shares[j] * e5[j]
        h[j] -= counts[j] * e3[j]
    e5 *= s
    e5 += e3
    return [series[0], e, h, e5]


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


def _remainders_rare(urn: Urn, path: _Path, order: int) -> Derivatives:
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
    return Derivatives(value, d_mu, d_sigma, *_remainders_rare2(urn, path, points, e, de, de_b))


def _remainders_rare2(
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
