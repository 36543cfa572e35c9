r"""
Continuous ranked probability scores of frozen scipy distributions.

.. math:: \mathrm{CRPS}(F, y) = \int (F(x) - 1\{x \ge y\})^2 dx

In closed form for the normal and the Gamma (Gneiting and Raftery 2007, JASA 102, 359-378; Scheuerer and
Moeller 2015, Annals of Applied Statistics 9, 1328-1349), by summation for counts, and by quadrature in
panels between quantiles for the others; for the Tweedie law only the half mean difference is, which
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

#: Probability in a tail that is left out; its square is what the score would have of it.
TAIL = 1e-13
#: Tail probabilities between which the panels lie: more below, where a density may be infinite.
BELOW = np.array([TAIL, 1e-8, 1e-5, 1e-4, 1e-3, 0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5])
ABOVE = np.array([TAIL, 1e-8, 1e-5, 1e-3, 0.02, 0.1, 0.3])
#: Tail probability that is told from none: scipy's isf forms 1 less it.
SMALLEST = 1e-15
#: Points of a panel.
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
#: Width of a piece of log size on which the Tweedie's mean difference is a polynomial, and its degree.
PIECE, DEGREE = 2.0, 19
#: Points evaluated at a time.
POINTS = 1_000_000


def crps(law: Any, y: Array, discrete: bool) -> Array:
    """
    Return the score of each observation, on the scale of the response; small is good.

    Parameters
    ----------
    law : frozen scipy distribution
        Of shape (n,).
    y : ndarray, shape (n,)
    discrete : bool
        Whether it is a distribution of counts.

    Returns
    -------
    ndarray, shape (n,)
    """
    closed = CLOSED.get(law.dist.name)
    if closed is not None:
        return closed(law, y)
    out = np.empty(len(y))
    score = _of_counts if discrete else _by_quadrature
    for rows in _blocks(law, len(y), discrete):
        out[rows] = score(_take(law, rows, len(y)), y[rows])
    return out


def _normal(law: Any, y: Array) -> Array:
    sd = law.std()
    z = (y - law.mean()) / sd
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return sd * (z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def _gamma(law: Any, y: Array) -> Array:
    mean, shape = law.mean(), law.mean() ** 2 / law.var()
    at = np.maximum(y, 0.0) / mean * shape
    below, above = special.gammainc(shape, at), special.gammainc(shape + 1, at)
    # half the mean difference of two draws: mean / (shape B(1/2, shape))
    apart = mean / shape * np.exp(-special.betaln(0.5, shape))
    return y * (2 * below - 1) - mean * (2 * above - 1) - apart


def _tweedie(law: Any, y: Array) -> Array:
    """Return E|Y - y| - E|Y - Y'|/2: a sum over claims, and a function of one number alone."""
    mu, phi = (np.array(np.broadcast_to(value, y.shape), dtype=float) for value in law.args)
    away = y * (2 * law.cdf(y) - 1) + mu - 2 * law.dist.partial_mean(y, mu, phi)
    power = law.dist.power
    scaled = ((2 - power) * np.log(mu) - np.log(phi)) / PIECE
    piece, apart = np.floor(scaled), np.empty(len(y))
    for k in np.unique(piece):
        here = piece == k
        apart[here] = chebyshev.chebval(2 * (scaled[here] - k) - 1, _apart(power, float(k)))
    return away - mu * np.exp(apart)


@lru_cache(maxsize=1024)
def _apart(power: float, k: float) -> Array:
    """Return the Chebyshev coefficients of log(E|Y - Y'|/2), mu = 1, log(1/phi)/PIECE in [k, k + 1]."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    phi = np.exp(-PIECE * (k + 0.5 * (nodes + 1)))
    law = CompoundPoissonGamma(power)(np.ones_like(phi), phi)
    half = 1 - _by_quadrature(law, np.zeros_like(phi))  # the score of 0 is E Y - E|Y - Y'|/2
    return chebyshev.chebfit(nodes, np.log(half), DEGREE)


CLOSED: dict[str, Callable[[Any, Array], Array]] = {
    "norm": _normal,
    "gamma": _gamma,
    "tweedie": _tweedie,
}


def _take(law: Any, rows: Array, n: int) -> Any:
    """Return the distribution of some rows."""

    def some(value: Any) -> Any:
        return np.broadcast_to(value, (n,))[rows]

    return law.dist(*map(some, law.args), **{name: some(v) for name, v in law.kwds.items()})


def _blocks(law: Any, n: int, discrete: bool) -> Iterator[Array]:
    """Yield rows that are summed together: of like length, and not too many."""
    length = np.full(n, (len(BELOW) + len(ABOVE) + 1) * len(NODES), dtype=float)
    if discrete:
        length = law.isf(TAIL) - np.maximum(law.ppf(TAIL), 0.0) + 1
    order = np.argsort(length, kind="stable")
    first = 0
    while first < n:
        last = first + 1
        while last < n and length[order[last]] * (last + 1 - first) <= POINTS:
            last += 1
        yield order[first:last]
        first = last


def _of_counts(law: Any, y: Array) -> Array:
    """Return the sum over counts of the squared distance of the two distribution functions."""
    low, high = np.maximum(law.ppf(TAIL), 0.0), law.isf(TAIL)
    k = low + np.arange(np.max(high - low) + 1)[:, None]
    inside = k <= high
    F = law.cdf(low - 1) + np.cumsum(np.where(inside, law.pmf(k), 0.0), axis=0)
    squares = np.where(inside, (F - (k >= y)) ** 2, 0.0)
    # counts between the observation and the range have distance 1
    return squares.sum(axis=0) + np.maximum(y - 1 - high, 0.0) + np.maximum(low - y, 0.0)


def _by_quadrature(law: Any, y: Array) -> Array:
    """Return the integral by Gauss-Legendre in panels between quantiles and the observation."""
    inside = _of_inverse_gaussian(law) if law.dist.name == "invgauss" else _quantiles(law)
    low = law.support()[0]
    least = np.where(np.isfinite(low), low, inside[0])
    cuts = np.sort(np.array([np.broadcast_to(least, y.shape), *inside, y]), axis=0)
    half = 0.5 * np.diff(cuts, axis=0)
    x = 0.5 * (cuts[1:] + cuts[:-1])[:, None] + half[:, None] * NODES[:, None]
    x = x.reshape(-1, len(y))
    weights = (half[:, None] * WEIGHTS[:, None]).reshape(-1, len(y))
    return (weights * (law.cdf(x) - (x >= y)) ** 2).sum(axis=0)


def _quantiles(law: Any) -> list[Array]:
    """Return points that lie where a distribution has its probability."""
    low = law.support()[0]
    atom = np.where(np.isfinite(low), law.cdf(low), 0.0)  # Tweedie: the probability of 0
    below = [law.ppf(np.clip(atom + (1 - atom) * level, 0.0, 1.0)) for level in BELOW]
    above = [law.isf(np.maximum((1 - atom) * level, SMALLEST)) for level in ABOVE]
    return [*below, *above]


def _of_inverse_gaussian(law: Any) -> list[Array]:
    """
    Return such points for the inverse Gaussian, whose quantiles in scipy are not to be trusted.

    Where sqrt(1/x) (x/m - 1) = z its distribution function is that of the normal at z and a second
    term that is no larger.
    """
    (m,), scale = law.args, law.kwds["scale"]
    z = -special.ndtri(BELOW)
    above = [scale * m * (1 + 0.5 * m * v * v + 0.5 * v * np.sqrt(m * (4 + m * v * v))) for v in z]
    return [*((scale * m) ** 2 / x for x in above), *above]
