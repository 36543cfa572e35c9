"""
Quantities of rows averaged over normal random effects, by Gauss-Hermite quadrature.

Whatever the number of effects, those of a row enter through its linear predictors (eta, zeta), which are
bivariate normal: two dimensions at the most, one where the effects of one part are averaged over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.mixed.loadings import Symmetric
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils.messages import RowNames

#: Nodes in each linear predictor: the mean of a logit-normal proportion has an error of 1e-9 for a
#: standard deviation of 1 and of 1e-5 for one of 3.
N_NODES = 32
#: Rows times nodes evaluated at a time.
MAX_POINTS = 1 << 18

BOTH = (quantities.MEAN, quantities.DISPERSION)

#: Functions of a row.
OfRow = Callable[[Likelihood, Predictors], Array]

#: Nodes and weights, of sum 1, of an average over N(0, 1).
Rule = tuple[Array, Array]


def hermite(n: int) -> Rule:
    """Return the Gauss-Hermite rule: exact for polynomials of degree 2n - 1."""
    z, w = hermegauss(n)
    return z, w / w.sum()


def average(values: Array, weights: Array) -> Array:
    """Return weighted averages over the nodes, the second axis."""
    return np.asarray(np.tensordot(weights, values, (0, 1)))


def spread(values: Array, weights: Array) -> Array:
    """Return weighted variances over the nodes, the second axis."""
    return average((values - average(values, weights)[:, None]) ** 2, weights)


@dataclass(frozen=True)
class Averages:
    """
    Averages of rows over (eta, zeta) ~ N(their predictors, a covariance matrix).

    Attributes
    ----------
    rows : Likelihood
        Rows whose offsets have the effects that are not averaged over.
    params : ndarray, shape (p + q,)
        Coefficients of both parts.
    covariance : Symmetric
        Of (eta, zeta) in each row; 0 where nothing is averaged over.
    rules : tuple of Rule
        Quadrature rules for eta and for zeta given eta.
    """

    rows: Likelihood
    params: Array
    covariance: Symmetric
    rules: tuple[Rule, Rule] = field(default_factory=lambda: (hermite(N_NODES), hermite(N_NODES)))

    def _loadings(self, parts: tuple[str, ...] = BOTH) -> tuple[Array, Array, Array]:
        """Return s, a, b with (s x, a x + b y) of the covariance for x, y ~ N(0, 1), each (n,)."""
        V = self.covariance
        sd = np.sqrt(V.eta_eta * (quantities.MEAN in parts))
        slope = np.divide(V.eta_zeta, sd, out=np.zeros_like(sd), where=sd != 0)
        rest = V.zeta_zeta * (quantities.DISPERSION in parts) - slope**2
        return sd, slope, np.sqrt(np.maximum(rest, 0.0))

    def _moved(self, x: Array, y: Array, parts: tuple[str, ...] = BOTH) -> tuple[Array, Array]:
        """Return eta and zeta at standard normal x and y of shape (Q,) or (n, Q); shape (n, Q)."""
        at = self.rows.predictors(self.params)
        sd, slope, rest = (a[:, None] for a in self._loadings(parts))
        return at.eta[:, None] + sd * x, at.zeta[:, None] + slope * x + rest * y

    def _nodes(self, parts: tuple[str, ...]) -> tuple[Array, Array, Array]:
        """Return eta and zeta at the nodes, shapes (n, Q), and the weights of the nodes, (Q,)."""
        sd, _, rest = self._loadings(parts)
        (x, of_x), (y, of_y) = (
            rule if np.any(a != 0) else (np.zeros(1), np.ones(1))
            for rule, a in zip(self.rules, (sd, rest), strict=True)
        )
        x, y = (a.ravel() for a in np.meshgrid(x, y, indexing="ij"))
        return *self._moved(x, y, parts), np.outer(of_x, of_y).ravel()

    def _blocks(self, parts: tuple[str, ...]) -> Iterator[tuple[Likelihood, Array]]:
        """Yield rows, each repeated at the nodes, and the weights of the nodes."""
        eta, zeta, weights = self._nodes(parts)
        step = max(1, MAX_POINTS // len(weights))
        for first in range(0, self.rows.n, step):
            block = slice(first, first + step)
            yield repeated(self.rows, eta[block], zeta[block], block), weights

    def drawn(self, size: int, rng: np.random.Generator) -> Array:
        """Return responses, each row and draw with random effects of its own; shape (size, n)."""
        x, y = rng.standard_normal((2, self.rows.n, size))
        return responses(self.rows, *self._moved(x, y), rng)

    def of(
        self,
        function: OfRow,
        parts: tuple[str, ...] = BOTH,
        reduce: Callable[[Array, Array], Array] = average,
    ) -> Array:
        """
        Return the average of a function of the rows and their predictors.

        Parameters
        ----------
        function : callable
        parts : tuple of str
            What it depends on, as in `quantities.Quantity`.
        reduce : callable
            Another summary than the average, of values (n, Q, ...) and weights (Q,).
        """
        out = [np.empty(0)]
        for rows, weights in self._blocks(parts):
            values = function(rows, rows.predictors(np.empty(0)))
            out.append(reduce(values.reshape(-1, len(weights), *values.shape[1:]), weights))
        return np.concatenate(out[1:] or out)

    def mean(self) -> Array:
        """Return E mu, shape (n,)."""
        return self.of(lambda rows, at: at.mean.mu, (quantities.MEAN,))

    def variance_of_mean(self) -> Array:
        """Return Var mu, shape (n,)."""
        return self.of(lambda rows, at: at.mean.mu, (quantities.MEAN,), spread)

    def variance(self) -> Array:
        """Return the variance E V + Var mu of the response, of the count for counts of successes."""
        counts: Any = self.rows.trials if self.rows.family.counts_successes else 1.0
        return self.of(quantities.variance) + counts**2 * self.variance_of_mean()

    def correlation(self) -> Array:
        """
        Return the correlation of two trials of a row.

        (E[mu (1 - mu) rho] + Var mu) / (m (1 - m)), m = E mu.
        """

        def covariance(rows: Likelihood, at: Predictors) -> Array:
            rho = quantities.QUANTITIES["icc"].value(rows, at)
            return np.asarray(at.mean.mu * at.mean.nu * rho)

        m = self.mean()
        return (self.of(covariance) + self.variance_of_mean()) / (m * (1 - m))

    def value(self, which: str, y_values: Any = None) -> Array:
        """
        Return a quantity of the distribution of the responses averaged over the effects.

        Parameters
        ----------
        which : str
            A name of `quantities.QUANTITIES`. Linear predictors, means, dispersions and probabilities
            are averaged; variance and intraclass correlation are those of the mixture.
        y_values : array_like, optional
            Counts for ``which="prob"``.

        Returns
        -------
        ndarray, shape (n,), or (n, len(y_values)) for ``which="prob"``
        """
        quantity = quantities.asked(which, y_values)
        if quantities.ROWS in quantity.parts:
            quantities.need_trials(self.rows, which)
        parts = depends_on(which)
        if which.startswith("linear") or not self.is_needed(parts):
            return quantity.value(self.rows, self.rows.predictors(self.params))
        check_average(which)
        if which in ("var", "sd"):
            variance = self.variance()
            return variance if which == "var" else np.sqrt(variance)
        if which in OF_CORRELATION:
            return from_correlation(which, self.correlation(), self.rows.trials)
        if quantity.of_counts:
            counts = quantities.requested_counts(self.rows, y_values)
            quantity = quantities.asked(which, counts)  # the same in every block
        return self.of(quantity.value, parts)

    def is_needed(self, parts: tuple[str, ...] = BOTH) -> bool:
        """Return whether anything is averaged over that a quantity depends on."""
        V = self.covariance
        of_part = {quantities.MEAN: V.eta_eta, quantities.DISPERSION: V.zeta_zeta}
        return any(np.any(of_part[part] != 0) for part in parts if part in of_part)


#: Quantities that are functions of the correlation of two trials of a row.
OF_CORRELATION = ("icc", "design-effect", "effective-size")

#: Quantities whose value for the mixture is their average over the random effects.
AVERAGED = ("mean", "dispersion", "prob")

#: Every quantity that the mixture over the random effects has here, those of `Averages.value`.
OF_MIXTURE = (*AVERAGED, "var", "sd", *OF_CORRELATION)


def check_average(which: str) -> None:
    """Raise a NotImplementedError for a quantity whose value for the mixture is not written."""
    if which not in OF_MIXTURE:
        raise NotImplementedError(
            f"which={which!r}: not available for the average over the random effects; write "
            "random=True for the modes of the groups, or random=False for effects of 0"
        )


def repeated(rows: Likelihood, eta: Array, zeta: Array, block: slice = slice(None)) -> Likelihood:
    """Return rows of a block, each repeated with other linear predictors; shapes (n, Q)."""
    arrays: dict[str, Any] = {"offset": eta.ravel(), "offset_dispersion": zeta.ravel()}
    for name in ("y", "trials", "weights"):
        a = getattr(rows, name)
        arrays[name] = None if a is None else np.repeat(a[block], eta.shape[1])
    arrays |= dict.fromkeys(("freq", "fixed_predictor"))  # zeta has what is fixed
    none = np.empty((eta.size, 0))
    return replace(rows, X=none, Z=none, rows=(), names=RowNames(), **arrays)


def responses(rows: Likelihood, eta: Array, zeta: Array, rng: np.random.Generator) -> Array:
    """Return responses drawn at linear predictors of shape (n, Q), shape (Q, n)."""
    frozen = quantities.distribution(repeated(rows, eta, zeta), np.empty(0))
    drawn = np.asarray(frozen.rvs(random_state=rng), dtype=float)
    return drawn.reshape(eta.shape).T


def depends_on(which: str) -> tuple[str, ...]:
    """Return what a quantity of the averaged distribution depends on, as `Quantity.parts`."""
    return BOTH if which in OF_CORRELATION else quantities.QUANTITIES[which].parts


def from_correlation(which: str, rho: Array, trials: Any) -> Array:
    """Return the correlation of two trials, or the design effect or the effective size it gives."""
    if which == "icc":
        return rho
    inflation = 1 + (trials - 1) * rho
    if which == "design-effect":
        return np.where(trials < 1, np.nan, inflation)
    return np.asarray(trials / inflation)


def moved(averages: Averages, eta: Array, zeta: Array) -> Averages:
    """Return averages with more in the offsets of the rows."""
    rows = averages.rows
    parts = (rows.offset, eta), (rows.offset_dispersion, zeta)
    offset, of_dispersion = (more if a is None else a + more for a, more in parts)
    return replace(averages, rows=replace(rows, offset=offset, offset_dispersion=of_dispersion))
