r"""
Beta-binomial log-probabilities by shifted log-gammas: no branch, no loop over draws.

With :math:`w = x + m - \tfrac12`, m = 8, and :math:`P(x) = x (x + 1) \cdots (x + m - 1)`,

.. math::
    \log\Gamma(x) = w \log w - w + \tfrac12\log 2\pi + \delta_{1/2}(w) - \log P(x),

where :math:`\delta_{1/2}` is a series in odd powers of 1/w with the coefficients
:math:`B_{2k}(\tfrac12)/(2k (2k - 1))`, economised to five terms for w >= m - 1/2 (Chebyshev's
interpolation in 1/w^2 leaves 1e-15), and P, P'/P and its derivative are rational in
u = x (x + m - 1). This holds for all x > 0: no branch and no loop over draws. For
a, b, c = (mu, nu, 1)/sigma before the draws and A, B, C after them the large terms combine as
in Loader's form (see `betabinomial`), with h = m - 1/2:

.. math::
    y\log\frac{n w_A}{y w_C} + z\log\frac{n w_B}{z w_C} + w_a r_a + w_b r_b
    + h\log\frac{w_C}{w_c}, \qquad r_a = \log\frac{w_A w_c}{w_C w_a},

with both arguments less one formed from the pull :math:`(y w_c - n w_a)/w_C`. With the
differences of digamma :math:`\psi_a = r_a + \ldots`, less :math:`\log(w_C/w_c)` which they
share, those of trigamma :math:`T_a`, :math:`e = \mu\psi_a + \nu\psi_b - \psi_c` and
:math:`U = \psi + x T`, the derivatives in (mu, sigma) are

.. math::
    c (\psi_a - \psi_b), \quad -c^2 e, \quad
    c^2 (T_a + T_b), \quad -c^2 (U_a - U_b), \quad c^3 (e + \mu U_a + \nu U_b - U_c).

As sigma falls these cancel: the rounding of P'/P, about 1e-15/c, is left in e, c^2 e being of
the order of n or c, whichever is less, and fewer still are the digits where successes are rare.
So this is for rows with sigma min(n sigma, 1) and n mu/(1 + n sigma) not too small: 1e-10 is
left in the second derivatives at the bounds MILD_* of `betabinomial_counts`.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from scipy.special import bernoulli

from hetglm.families.special.betabinomial import MIN_COUNT
from hetglm.families.special.stirling import horner
from hetglm.typing import Array

Single = NDArray[np.float32]

#: Steps by which `shifted_draws` moves the arguments of log-gamma.
N_SHIFTS = 8

#: Terms of its asymptotic series.
N_SHIFT_TERMS = 5

#: t below which 1 + t cancels: r of `shifted_draws` is then the logarithm of the ratio itself.
_MAX_CANCELLED = -0.9


def _product_polynomials() -> tuple[tuple[float, ...], ...]:
    """
    Return P/u, P'/h and P'', derivatives in x, as polynomials in u: P of the module's notes.

    h = x + (m - 1)/2, du/dx = 2 h and (2 h)^2 = 4 u + (m - 1)^2.
    """
    j = np.arange(N_SHIFTS // 2)
    product = Polynomial.fromroots(-j * (N_SHIFTS - 1.0 - j))
    slope, square = product.deriv(), Polynomial([(N_SHIFTS - 1.0) ** 2, 4.0])
    parts = product // Polynomial([0.0, 1.0]), 2 * slope, slope.deriv() * square + 2 * slope
    return tuple(tuple(part.coef.tolist()) for part in parts)


def _economised_series(steps: int, terms: int, known: int) -> tuple[tuple[float, ...], ...]:
    """
    Return w d, w^2 d' and w^3 d'' as polynomials in 1/w^2, d the series of the module's notes.

    For w from steps - 1/2 on, where so many terms of the asymptotic series are known to be right.
    """
    k = np.arange(1, known + 1)
    b = -(1 - 2.0 ** (1 - 2 * k)) * bernoulli(2 * known)[2::2]
    reach = [0, (steps - 0.5) ** -2]
    return tuple(
        tuple(
            Chebyshev.interpolate(Polynomial(c), terms - 1, domain=reach)
            .convert(kind=Polynomial)
            .coef.tolist()
        )
        for c in (b / (2 * k * (2 * k - 1)), -b / (2 * k), b)
    )


_PRODUCT, _PRODUCT1, _PRODUCT2 = _product_polynomials()

_HALF, _HALF1, _HALF2 = _economised_series(N_SHIFTS, N_SHIFT_TERMS, 12)

_, _APPROXIMATE, _ = _economised_series(4, 3, 6)


def shifted_draws(
    mu: Array, nu: Array, sigma: Array, drawn: Array, order: int, work: Array, out: Array
) -> None:
    """
    Write the terms, n H(y/n) added, where neither sigma nor n mu nor n nu is tiny.

    Parameters
    ----------
    mu, nu, sigma : ndarray, shape (n,)
        1 - mu is nu up to rounding; either may be the smaller.
    drawn : ndarray, shape (3, n)
        Successes, failures and both.
    order : int
    work : ndarray, shape (8, 6, n)
        Overwritten. The six rows are a, b, c and A, B, C: every pass takes all of them.
    out : ndarray, shape (1, 3 or 6, n)
    """
    x, w, v, z, u, product, first, spare = work
    c, share = 1 / sigma, np.array([mu, nu])
    np.multiply(share, c, out=x[:2])
    x[2] = c
    np.add(x[:3], drawn, out=x[3:])
    np.add(x, N_SHIFTS - 0.5, out=w)
    np.divide(1, w, out=v)
    np.multiply(v, v, out=z)
    np.add(x, N_SHIFTS - 1, out=u)
    u *= x
    horner(_PRODUCT, u, product)
    product *= u
    horner(_HALF, z, first)
    first *= v
    logs = _shifted_value(w, v, product, first[3:] - first[:3], drawn, out[0])
    if order == 0:
        return
    np.divide(1, product, out=product)
    horner(_PRODUCT1, u, first)
    first *= product
    w -= N_SHIFTS / 2
    first *= w
    horner(_HALF1, z, spare)
    spare *= z
    spare -= first
    psi = spare[3:] - spare[:3]
    psi[:2] += logs
    c2 = c * c
    np.subtract(psi[0], psi[1], out=out[1])
    out[1] *= c
    share_psi = share * psi[:2]
    slope = psi[2] - share_psi[0]
    slope -= share_psi[1]
    np.multiply(slope, c2, out=out[2])
    if order == 1:
        return
    curve = _shifted_trigamma(work, drawn)
    np.add(curve[0], curve[1], out=out[3])
    curve *= x[:3]
    curve += psi
    np.subtract(curve[1], curve[0], out=out[4])
    share *= curve[:2]
    share[0] += share[1]
    share[0] -= curve[2]
    share[0] -= slope
    share[0] *= c
    out[5] = share[0]
    out[3:] *= c2


def approximate_score(
    mu: Single, nu: Single, sigma: Single, drawn: Single, work: Single, out: Single
) -> None:
    """
    Write the score to about five digits, where `shifted_draws` serves and n sigma is not small.

    Four steps instead of eight, where :math:`P'/P = 4 (u + 1)(w - 2)/[u (u + 2)]` with u = x (x + 3)
    and w = x + 7/2, and three terms of the series: enough for the roundings of single precision.

    Parameters
    ----------
    mu, nu, sigma : ndarray, shape (n,)
        Of float32, as all of these.
    drawn : ndarray, shape (3, n)
        Successes, failures and both.
    work : ndarray, shape (4 or more, 6, n)
        Overwritten.
    out : ndarray, shape (2, n)
    """
    x, w, u, slope, *_ = work
    c, share = 1 / sigma, np.array([mu, nu])
    np.multiply(share, c, out=x[:2])
    x[2] = c
    np.add(x[:3], drawn, out=x[3:])
    np.add(x, 3.5, out=w)
    np.add(x, 3, out=u)
    u *= x
    np.subtract(w, 2, out=slope)
    np.add(u, 2, out=x)
    x *= u
    u += 1
    slope *= u
    slope *= 4
    slope /= x
    np.divide(1, w, out=u)
    u *= u
    horner(_APPROXIMATE, u, x)
    x *= u
    x -= slope
    psi = x[3:] - x[:3]
    psi += np.log(w[3:] / w[:3])
    np.subtract(psi[0], psi[1], out=out[0])
    out[0] *= c
    psi[:2] *= share
    psi[2] -= psi[0]
    psi[2] -= psi[1]
    c *= c
    np.multiply(psi[2], c, out=out[1])


def _shifted_value(
    w: Array, v: Array, product: Array, series: Array, drawn: Array, out: Array
) -> Array:
    """Write the value and return r of the module's notes, shape (2, n)."""
    ratio = product[3:] / product[:3]
    ratio[0] *= ratio[1]
    ratio[0] /= ratio[2]
    series[2] += np.log(ratio[0])
    np.multiply(w[5], v[2], out=out)
    np.log(out, out=out)
    out *= N_SHIFTS - 0.5
    out += series[0]
    out += series[1]
    out -= series[2]
    pull = drawn[:2] * w[2]
    pull -= drawn[2] * w[:2]
    pull *= v[5]
    logs = pull * v[:2]
    cancelled = logs < _MAX_CANCELLED
    np.log1p(logs, out=logs)
    for i, some in enumerate(map(np.flatnonzero, cancelled)):
        logs[i, some] = np.log(w[i + 3, some] * v[i, some] * (w[2, some] * v[5, some]))
    pull /= np.maximum(drawn[:2], MIN_COUNT)
    np.negative(pull, out=pull)
    np.log1p(pull, out=pull)
    pull *= drawn[:2]
    pull += logs * w[:2]
    out += pull[0]
    out += pull[1]
    return logs


def _shifted_trigamma(work: Array, drawn: Array) -> Array:
    """Return the differences of trigamma, shape (3, n); ``slope`` is P'/P."""
    _, _, v, z, u, inverse, slope, last = work
    horner(_PRODUCT2, u, last)
    last *= inverse
    slope *= slope
    slope -= last
    horner(_HALF2, z, last)
    z *= v
    last *= z
    slope += last
    curve = slope[3:] - slope[:3]
    step = v[3:] * v[:3]
    step *= drawn
    curve -= step
    return curve
