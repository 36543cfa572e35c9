r"""
Continuous ranked probability scores of frozen scipy distributions.

.. math:: \mathrm{CRPS}(F, y) = \int (F(x) - 1\{x \ge y\})^2 dx

In closed form for the normal and the Gamma (Gneiting and Raftery 2007, JASA 102, 359-378; Scheuerer and
Moeller 2015, Annals of Applied Statistics 9, 1328-1349), by summation for counts, and by quadrature in
panels between quantiles for the others; for the Tweedie frozen only the half mean difference is, which
depends on one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

from hetglm.families.tweedie import CompoundPoissonGamma
from hetglm.typing import Array

#: Probability in a tail that is left out: the error of the score is of the order of its square.
MAX_TAIL_LEFT_OUT = 1e-13

#: Lower-tail probabilities that bound the panels: many, since a density may be infinite at 0.
BELOW = np.array(
    [MAX_TAIL_LEFT_OUT, 1e-8, 1e-5, 1e-4, 1e-3, 0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5]
)

#: Upper-tail probabilities that bound the panels.
ABOVE = np.array([MAX_TAIL_LEFT_OUT, 1e-8, 1e-5, 1e-3, 0.02, 0.1, 0.3])

#: Smallest tail probability for which scipy's isf is right: it forms 1 minus it.
MIN_TAIL = 1e-15

#: Gauss-Legendre rule of a panel.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)

#: Width of a piece of log(1/phi) on which the Tweedie's mean difference is one polynomial.
PIECE_WIDTH = 2.0

#: Degree of that polynomial.
N_DEGREE = 19

#: Points evaluated at a time.
MAX_POINTS = 1_000_000


def crps(frozen: Any, y: Array, discrete: bool) -> Array:
    """
    Return the score of each observation, on the scale of the response; small is good.

    Parameters
    ----------
    frozen : frozen scipy distribution
        Of shape (n,); one with a method ``crps`` is asked.
    y : ndarray, shape (n,)
    discrete : bool
        Whether it is a distribution of counts.

    Returns
    -------
    ndarray, shape (n,)
    """
    if hasattr(frozen, "crps"):  # a mixture
        return np.asarray(frozen.crps(y))
    closed = CLOSED.get(frozen.dist.name)
    if closed is not None:
        return closed(frozen, y)
    out = np.empty(len(y))
    score = _of_counts if discrete else _by_quadrature
    for rows in _blocks(frozen, len(y), discrete):
        out[rows] = score(_take(frozen, rows, len(y)), y[rows])
    return out


def _normal(frozen: Any, y: Array) -> Array:
    sd = frozen.std()
    z = (y - frozen.mean()) / sd
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return sd * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def _gamma(frozen: Any, y: Array) -> Array:
    mean, shape = frozen.mean(), frozen.mean() ** 2 / frozen.var()
    at = np.maximum(y, 0.0) / mean * shape
    below, above = special.gammainc(shape, at), special.gammainc(shape + 1, at)
    # half the mean difference of two draws: mean / (shape B(1/2, shape))
    apart = mean / shape * np.exp(-special.betaln(0.5, shape))
    return y * (2 * below - 1) - mean * (2 * above - 1) - apart


def _tweedie(frozen: Any, y: Array) -> Array:
    """Return E|Y - y| - E|Y - Y'|/2: a sum over claims, and a function of mu^(2 - p)/phi alone."""
    mu, phi = (np.array(np.broadcast_to(value, y.shape), dtype=float) for value in frozen.args)
    away = y * (2 * frozen.cdf(y) - 1) + mu - 2 * frozen.dist.partial_mean(y, mu, phi)
    power = frozen.dist.power
    scaled = ((2 - power) * np.log(mu) - np.log(phi)) / PIECE_WIDTH
    piece, apart = np.floor(scaled), np.empty(len(y))
    for k in np.unique(piece):
        here = piece == k
        apart[here] = chebyshev.chebval(2 * (scaled[here] - k) - 1, _apart(power, float(k)))
    return away - mu * np.exp(apart)


@lru_cache(maxsize=1024)
def _apart(power: float, k: float) -> Array:
    """Return Chebyshev coefficients of log(E|Y - Y'|/2), mu = 1, log(1/phi)/PIECE_WIDTH from k on."""
    nodes = chebyshev.chebpts1(N_DEGREE + 1)
    phi = np.exp(-PIECE_WIDTH * (k + 0.5 * (nodes + 1)))
    frozen = CompoundPoissonGamma(power)(np.ones_like(phi), phi)
    half = 1 - _by_quadrature(frozen, np.zeros_like(phi))  # the score of 0 is E Y - E|Y - Y'|/2
    return chebyshev.chebfit(nodes, np.log(half), N_DEGREE)


CLOSED: dict[str, Callable[[Any, Array], Array]] = {
    "norm": _normal,
    "gamma": _gamma,
    "tweedie": _tweedie,
}


def _take(frozen: Any, rows: Array, n: int) -> Any:
    """Return the distribution of some rows."""

    def some(value: Any) -> Any:
        return np.broadcast_to(value, (n,))[rows]

    return frozen.dist(
        *map(some, frozen.args), **{name: some(v) for name, v in frozen.kwds.items()}
    )


def _blocks(frozen: Any, n: int, discrete: bool) -> Iterator[Array]:
    """Yield rows that are summed together: of like length, and not too many."""
    length = np.full(n, (len(BELOW) + len(ABOVE) + 1) * len(NODES), dtype=float)
    if discrete:
        length = frozen.isf(MAX_TAIL_LEFT_OUT) - np.maximum(frozen.ppf(MAX_TAIL_LEFT_OUT), 0.0) + 1
    order = np.argsort(length, kind="stable")
    first = 0
    while first < n:
        last = first + 1
        while last < n and length[order[last]] * (last + 1 - first) <= MAX_POINTS:
            last += 1
        yield order[first:last]
        first = last


def _of_counts(frozen: Any, y: Array) -> Array:
    """Return the sum over counts of the squared distance of the two distribution functions."""
    low, high = np.maximum(frozen.ppf(MAX_TAIL_LEFT_OUT), 0.0), frozen.isf(MAX_TAIL_LEFT_OUT)
    k = low + np.arange(np.max(high - low) + 1)[:, None]
    inside = k <= high
    F = frozen.cdf(low - 1) + np.cumsum(np.where(inside, frozen.pmf(k), 0.0), axis=0)
    squares = np.where(inside, (F - (k >= y)) ** 2, 0.0)
    # counts between the observation and the range have distance 1
    return squares.sum(axis=0) + np.maximum(y - 1 - high, 0.0) + np.maximum(low - y, 0.0)


def _by_quadrature(frozen: Any, y: Array) -> Array:
    """Return the integral by Gauss-Legendre in panels between quantiles and the observation."""
    inside = _of_inverse_gaussian(frozen) if frozen.dist.name == "invgauss" else _quantiles(frozen)
    low = frozen.support()[0]
    least = np.where(np.isfinite(low), low, inside[0])
    cuts = np.sort(np.array([np.broadcast_to(least, y.shape), *inside, y]), axis=0)
    half = 0.5 * np.diff(cuts, axis=0)
    x = 0.5 * (cuts[1:] + cuts[:-1])[:, None] + half[:, None] * NODES[:, None]
    x = x.reshape(-1, len(y))
    weights = (half[:, None] * WEIGHTS[:, None]).reshape(-1, len(y))
    return (weights * (frozen.cdf(x) - (x >= y)) ** 2).sum(axis=0)


def _quantiles(frozen: Any) -> list[Array]:
    """Return points that lie where a distribution has its probability."""
    low = frozen.support()[0]
    atom = np.where(np.isfinite(low), frozen.cdf(low), 0.0)  # Tweedie: the probability of 0
    below = [frozen.ppf(np.clip(atom + (1 - atom) * level, 0.0, 1.0)) for level in BELOW]
    above = [frozen.isf(np.maximum((1 - atom) * level, MIN_TAIL)) for level in ABOVE]
    return [*below, *above]


def _of_inverse_gaussian(frozen: Any) -> list[Array]:
    """
    Return such points for the inverse Gaussian, whose quantiles in scipy are not to be trusted.

    Where sqrt(1/x) (x/m - 1) = z its distribution function is that of the normal at z and a second
    term that is no larger.
    """
    (m,), scale = frozen.args, frozen.kwds["scale"]
    z = -special.ndtri(BELOW)
    above = [scale * m * (1 + 0.5 * m * v * v + 0.5 * v * np.sqrt(m * (4 + m * v * v))) for v in z]
    return [*((scale * m) ** 2 / x for x in above), *above]
