r"""
Tweedie family with 1 < p < 2: V(mu) = mu^p, exact by the series of its density.

A sum of N gamma variables, N Poisson: N has mean :math:`\lambda = \mu^{2-p}/(\phi(2-p))`, each summand
shape :math:`a = (2-p)/(p-1)` and scale :math:`\tau = \phi(p-1)\mu^{p-1}`. The response is 0 with
probability :math:`e^{-\lambda}`; elsewhere its density is a sum over N (Dunn and Smyth 2005,
Statistics and Computing 15, 267-280). As for the Gamma, all that separates it from the saddlepoint
form (the extended quasi-likelihood) is one function, here of p and of the size
:math:`x = y^{2-p}/\phi`:

.. math::

    \log f(y) = -\frac{d(y, \mu)}{2\phi} - \frac12\log(2\pi\phi y^p) + \delta_p(x).

With :math:`j_0 = x/(2-p)`, :math:`D(j, j_0) = j\log(j/j_0) - (j - j_0)` and Stirling's remainder S
the large terms of the series cancel on paper,

.. math::

    e^{\delta_p(x)} = \sqrt{\frac{a}{2\pi x}} \sum_{j \ge 1} e^{-(1+a) D(j, j_0) - S(j) - S(ja)},

and what is left is summed around its peak at j_0. Where the sum is as good as its integral
:math:`\delta_p` is Laplace's expansion in 1/x, -p(3 - p)/(24 x) - ...
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from scipy import stats
from scipy.special import gammainc, gammaincc, wrightomega

from hetglm.families.base import Rows
from hetglm.families.exponential import LOG_2PI, divergence
from hetglm.families.quasi import QuasiTweedie
from hetglm.families.special.betabinomial import stirling
from hetglm.typing import Array

#: Terms further below the largest than this (in logarithms) are not summed: e^-45 = 3e-20.
NEGLIGIBLE = 45.0
#: Terms summed at a time.
BLOCK_TERMS = 1 << 18
#: Size from which, with so many terms, Laplace's expansion is exact to a rounding; found with mpmath.
LARGE_SIZE, LAPLACE_TERMS = 16.0, 12
#: Width of a piece of log size on which the information is a polynomial, and its nodes.
PIECE, NODES = 1.0, 24
#: Step of the trapezoidal rule in units of the narrowest feature of a density.
STEP = 0.12
#: Newton steps, far more than a quantile needs, and a last relative change, whose square is left.
QUANTILE_STEPS, QUANTILE_TOLERANCE = 200, 1e-9


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
    return LARGE_SIZE if power >= 1.5 else max(LARGE_SIZE, NEGLIGIBLE / float(ripple))


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
    :math:`m(q)`, the mean of the tilted law, solves :math:`(m - 1) m' = q m^p` and dw/dq = q/(m - 1):
    each even power of q gives one of 1/x.
    """
    n = 2 * LAPLACE_TERMS + 2
    m, raised = [1.0, 1.0], [1.0, power]  # series of m and of m^p in q
    for k in range(2, n + 1):
        cross = sum(m[i] * (k - i + 1) * m[k - i + 1] for i in range(2, k))
        m.append((raised[k - 1] - cross) / (k + 1))
        own = sum(m[i] * (k - i) * raised[k - i] for i in range(1, k))
        raised.append((sum(power * i * m[i] * raised[k - i] for i in range(1, k + 1)) - own) / k)
    slope = [1.0]  # q/(m - 1)
    for k in range(1, n):
        slope.append(-sum(m[i + 1] * slope[k - i] for i in range(1, k + 1)))
    moments = np.cumprod([-(2.0 * k - 1) for k in range(1, LAPLACE_TERMS + 1)])
    factor = [1.0, *(s * v for s, v in zip(slope[2::2], moments, strict=False))]
    log: list[float] = []  # of the series 1 + factor[1]/x + ...
    for k in range(1, LAPLACE_TERMS + 1):
        log.append(factor[k] - sum(j * log[j - 1] * factor[k - j] for j in range(1, k)) / k)
    return tuple(log)


def _by_series(size: Array, power: float) -> Array:
    """Return `Gap` by summation over the number of claims, shape (3, n)."""
    a = (2 - power) / (power - 1)
    order = np.argsort(size)  # rows of a block then need nearly the same terms
    x = size[order]
    peak = x / (2 - power)
    out = np.empty((3, len(size)))
    for rows, j, starts, of_row in _terms(*_reach(peak, 1 + a)):
        centre = peak[rows][of_row]
        e = -(1 + a) * divergence(j, centre) - _remainders(j, 1.0) - _remainders(j, a)
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


def _reach(peak: Array, curvature: float) -> tuple[Array, Array]:
    """Return the first and the last j for which curvature D(j, peak) is not negligible."""
    # D(c + t, c) is at least t^2/(2 (c + t/3)), and t^2/(2c) below c (Bernstein's inequality)
    least = 2 * NEGLIGIBLE / curvature
    centre = np.maximum(peak, 1.0)
    first = np.maximum(np.floor(centre - np.sqrt(least * centre)), 1.0)
    return first, np.ceil(centre + least / 6 + np.sqrt(least**2 / 36 + least * centre))


def _terms(first: Array, last: Array) -> Iterator[tuple[slice, Array, Array, Array]]:
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


def _remainders(j: Array, factor: float) -> Array:
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
        scaled = np.log(size) / PIECE
    piece = np.floor(scaled)
    for k in np.unique(piece[np.isfinite(scaled)]):
        here = piece == k
        out[here] = chebyshev.chebval(2 * (scaled[here] - k) - 1, _piece(power, float(k)))
    return out


@lru_cache(maxsize=1024)
def _piece(power: float, k: float) -> Array:
    """Return the information's Chebyshev coefficients for log size in [k, k + 1] times PIECE."""
    nodes = chebyshev.chebpts1(NODES)
    values = _information_at(np.exp(PIECE * (k + 0.5 * (nodes + 1))), power)
    return chebyshev.chebfit(nodes, values, NODES - 1)


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
    return _edge(low, size, power), _edge(high, size, power)


def _edge(far: Array, size: Array, power: float) -> Array:
    """Return where between log y = 0 and ``far`` the density becomes negligible, or ``far``."""
    near = np.zeros_like(far)
    for _ in range(40):
        middle = 0.5 * (near + far)
        inside = _half_deviance(middle, size, power) < 50
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return far


class Tweedie(QuasiTweedie):
    """
    Compound Poisson-gamma distribution with mean mu and variance phi mu^p, 1 < p < 2.

    Parameters
    ----------
    power : float
        The variance power p. Close to 2 the series is long: 100 terms a row at 1.9, 10,000 within
        1e-5 of 2.
    """

    exact = True

    def __init__(self, power: float = 1.5) -> None:
        super().__init__(power)
        if not 1 < self.power < 2:
            raise ValueError(
                f"Tweedie: the series is for 1 < var_power < 2, not {self.power:g}; powers 0, 2 and 3 "
                "are the Gaussian, the Gamma and the inverse Gaussian"
            )

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the response with -log(2 pi y^p)/2; a 0 has a probability, not a density."""
        with np.errstate(divide="ignore"):
            constant = -0.5 * (LOG_2PI + self.power * np.log(y))
        return Rows(y, trials, np.where(y > 0, constant, 0.0))

    def dispersion_terms(self, rows: Rows, phi: Array, d: Array, order: int) -> tuple[Array, ...]:
        """Return the saddlepoint form plus delta, -d/(2 phi) alone at 0; and derivatives."""
        zero = rows.y == 0
        value, *rest = super().dispersion_terms(rows, phi, d, order)
        alone = -0.5 * d / phi, 0.5 * d / phi**2, -d / phi**3
        gap = np.zeros((3, len(phi)))
        size = rows.y ** (2 - self.power) / phi
        usable = np.isfinite(size) & (size > 0)
        gap[:, usable] = saddlepoint_gap(size[usable], self.power)
        delta, first, second = gap
        extra = delta, -first / phi, (first + second) / phi**2
        parts = zip((value, *rest), extra, alone, strict=False)
        return tuple(np.where(zero, at_zero, part + more) for part, more, at_zero in parts)

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -1/(phi V), 0 and minus the information of phi, by quadrature."""
        with np.errstate(all="ignore"):
            mu_mu, mu_phi, _ = super().expected_hessian(rows, mu, nu, phi)
            size = mu ** (2 - self.power) / phi
            return mu_mu, mu_phi, -information(size, self.power) / phi**2

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the compound Poisson-gamma distribution."""
        return CompoundPoissonGamma(self.power)(mu, phi)


class CompoundPoissonGamma(stats.rv_continuous):
    """
    Sum of a Poisson number of gamma variables, as a scipy distribution with shapes mu and phi.

    At 0 ``pdf`` and ``logpdf`` are those of the atom: the probability of 0, not a density.

    Parameters
    ----------
    power : float
        Variance power, 1 < p < 2.
    """

    #: The lower end has a probability, which may underflow.
    atom = True

    def __init__(self, power: float = 1.5, **kwargs: Any) -> None:
        self.power = power
        super().__init__(**{"a": 0.0, "name": "tweedie", "shapes": "mu, phi", **kwargs})

    def _updated_ctor_param(self) -> dict[str, Any]:
        return {**super()._updated_ctor_param(), "power": self.power}

    def _argcheck(self, mu: Array, phi: Array) -> Any:
        return (mu > 0) & (phi > 0) & np.isfinite(mu) & np.isfinite(phi)

    def _open_support_mask(self, x: Array, *args: Array) -> Any:
        return (x >= 0) & (x < np.inf)  # 0 has a probability

    def _claims(self, mu: Array, phi: Array) -> tuple[Array, float, Array]:
        """Return the mean number of summands, and their shape and scale."""
        p = self.power
        return mu ** (2 - p) / (phi * (2 - p)), (2 - p) / (p - 1), phi * (p - 1) * mu ** (p - 1)

    def _stats(self, mu: Array, phi: Array) -> tuple[Array, ...]:
        p, size = self.power, mu ** (2 - self.power) / phi
        return mu, phi * mu**p, p / np.sqrt(size), p * (2 * p - 1) / size

    def _rvs(self, mu: Array, phi: Array, size: Any = None, random_state: Any = None) -> Array:
        mean, shape, scale = self._claims(mu, phi)
        number = random_state.poisson(mean, size)
        total = random_state.gamma(np.where(number > 0, shape * number, 1.0)) * scale
        return np.where(number > 0, total, 0.0)

    def _logpdf(self, x: Array, mu: Array, phi: Array) -> Array:
        family = Tweedie(self.power)
        return family.evaluate(family.prepare(x, None), mu, None, phi, 0).loglike

    def _pdf(self, x: Array, mu: Array, phi: Array) -> Array:
        return np.exp(self._logpdf(x, mu, phi))

    def _mixture(self, part: Any, x: Array, mu: Array, phi: Array) -> Array:
        """Return the sum over N >= 1 of P(N = j) times the gamma probability ``part``(j a, x/tau)."""
        mean, shape, scale = self._claims(mu, phi)
        out = np.empty(len(x))
        for rows, j, starts, of_row in _terms(*_reach(mean, 1.0)):
            # Loader's form of the Poisson probabilities: no large terms cancel
            weight = -divergence(j, mean[rows][of_row]) - _remainders(j, 1.0)
            weight = np.exp(weight) / np.sqrt(2 * np.pi * j)
            terms = weight * part(shape * j, (x / scale)[rows][of_row])
            out[rows] = np.add.reduceat(terms, starts)
        return out

    def _cdf(self, x: Array, mu: Array, phi: Array) -> Array:
        return np.exp(-self._claims(mu, phi)[0]) + self._mixture(gammainc, x, mu, phi)

    def _sf(self, x: Array, mu: Array, phi: Array) -> Array:
        return self._mixture(gammaincc, x, mu, phi)

    def partial_mean(self, x: Array, mu: Array, phi: Array) -> Array:
        """Return the mean of Y where Y is at most x, and 0 elsewhere; arguments of shape (n,)."""
        return self._claims(mu, phi)[2] * self._mixture(
            lambda shape, t: shape * gammainc(shape + 1, t), x, mu, phi
        )

    def _ppf(self, q: Array, mu: Array, phi: Array) -> Array:
        """Return quantiles by Newton's method in log y, kept within what is known to bracket them."""
        q, mu, phi = np.broadcast_arrays(q, mu, phi)
        out = np.zeros(q.shape)
        none = np.exp(-self._claims(mu, phi)[0])
        above = np.flatnonzero(q > none)
        q, mu, phi, none = q[above], mu[above], phi[above], none[above]
        # start from the gamma law with the moments of the positive part
        m = mu / (1 - none)
        v = (phi * mu**self.power + mu**2) / (1 - none) - m**2
        start = stats.gamma.ppf((q - none) / (1 - none), m**2 / v, scale=v / m)
        t = np.log(np.maximum(start, 1e-290 * mu))
        low, high = np.full(t.shape, -np.inf), np.full(t.shape, np.inf)
        open_ = np.arange(len(t))
        for _ in range(QUANTILE_STEPS):
            if not len(open_):
                break
            at = t[open_], q[open_], mu[open_], phi[open_]
            new, low[open_], high[open_] = self._newton(*at, low[open_], high[open_])
            moved, t[open_] = np.abs(new - t[open_]), new
            open_ = open_[moved > QUANTILE_TOLERANCE]
        out[above] = np.exp(t)
        return out

    def _newton(
        self, t: Array, q: Array, mu: Array, phi: Array, low: Array, high: Array
    ) -> tuple[Array, Array, Array]:
        """Return a better logarithm of each quantile, and what now brackets it."""
        y = np.exp(t)
        short = self._cdf(y, mu, phi) - q
        low, high = np.where(short < 0, t, low), np.where(short < 0, high, t)
        with np.errstate(all="ignore"):
            step = np.clip(-short / (y * self._pdf(y, mu, phi)), -2.0, 2.0)
        new = t + np.where(np.isnan(step), 0.0, step)
        within = (new >= low) & (new <= high) & ~np.isnan(step)
        bracketed = np.isfinite(high - low)
        far = t - 2.0 * np.sign(short)
        with np.errstate(invalid="ignore"):
            middle = np.where(bracketed, 0.5 * (low + high), far)
        return np.where(within, new, middle), low, high
