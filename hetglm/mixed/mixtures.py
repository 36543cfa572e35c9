"""The distribution of responses averaged over normal (eta, zeta): a mixture over the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.mixed.averages import Averages, average, hermite
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils.checks import generator

#: Nodes in zeta, in which distribution functions are smooth.
N_ZETA_NODES = 8
#: Half the range of nodes in eta, in standard deviations.
MAX_Z = 8.0
#: Nodes in eta, at least and at most. A step of one standard deviation of the response given the effects
#: has an error of 1e-8; where that would take more of them quantiles are right to half a step, 0.01
#: standard deviations of eta.
MIN_ETA_NODES, MAX_ETA_NODES = 33, 801
#: The same for counts, whose distribution functions are sums; half a step is 0.04.
MAX_ETA_NODES_OF_COUNTS = 201
#: Relative width of the bracket at which the search for a quantile ends.
TOL_QUANTILE = 1e-10
#: Probability in each tail that a score leaves out; its error is of the order of the square.
TAIL = 1e-7
#: Ends of the panels of a score, in standard deviations from the mean.
PANELS = (-4.0, -2.5, -1.5, -0.7, 0.0, 0.7, 1.5, 2.5, 4.0, 6.0)
#: Gauss-Legendre rule of a panel.
LEGENDRE = np.polynomial.legendre.leggauss(8)
#: Steps of that search, every twelfth of which halves the bracket.
MAX_STEPS = 200


@dataclass(frozen=True)
class Mixture:
    """
    Distribution of each row's response, averaged over (eta, zeta); methods are those of scipy's frozen.

    Attributes
    ----------
    averages : Averages
        Of the rows, shape (n,).
    """

    averages: Averages

    @cached_property
    def _components(self) -> Averages:
        """The averages with nodes so near to each other that the components overlap."""
        rows, params = self.averages.rows, self.averages.params
        at = rows.predictors(params)
        size: Any = rows.trials if rows.family.counts_successes else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            sd = np.sqrt(quantities.variance(rows, at)) / np.abs(size * at.mean.d1)
            ratio = np.nanmax(np.sqrt(self.averages.covariance.eta_eta) / sd, initial=0.0)
        most = MAX_ETA_NODES_OF_COUNTS if self.is_discrete else MAX_ETA_NODES
        n = np.clip(2 * MAX_Z * ratio + 1, MIN_ETA_NODES, most)
        z = np.linspace(-MAX_Z, MAX_Z, int(np.ceil(n)))
        w = np.exp(-0.5 * z**2)
        return replace(self.averages, rules=((z, w / w.sum()), hermite(N_ZETA_NODES)))

    @property
    def is_discrete(self) -> bool:
        """Whether it is a distribution of counts."""
        return bool(self.averages.rows.family.discrete)

    def _of(self, name: str, y: Any, reduce: Callable[[Array, Array], Array] = average) -> Array:
        """Return the average over the components of one of their methods at y, shape (n,)."""
        rows = self.averages.rows
        given = replace(rows, y=np.array(np.broadcast_to(y, rows.n), dtype=float), rows=())

        def component(rows: Likelihood, at: Predictors) -> Array:
            frozen = quantities.distribution(rows, np.empty(0))
            return np.asarray(getattr(frozen, name)(rows.y))

        return replace(self._components, rows=given).of(component, reduce=reduce)

    def cdf(self, y: Any) -> Array:
        """Return P(Y <= y) of each row, shape (n,)."""
        return self._of("cdf", y)

    def sf(self, y: Any) -> Array:
        """Return P(Y > y) of each row, shape (n,)."""
        return self._of("sf", y)

    def pdf(self, y: Any) -> Array:
        """Return the density, or the probability of a count, of each row at y; shape (n,)."""
        return self._of("pmf" if self.is_discrete else "pdf", y)

    pmf = pdf

    def mean(self) -> Array:
        """Return the mean of each row, of the count for counts of successes; shape (n,)."""
        rows = self.averages.rows
        size: Any = rows.trials if rows.family.counts_successes else 1.0
        return size * self.averages.mean()

    def var(self) -> Array:
        """Return the variance of each row, shape (n,)."""
        return self.averages.variance()

    def std(self) -> Array:
        """Return the standard deviation of each row, shape (n,)."""
        return np.sqrt(self.var())

    def ppf(self, q: Any) -> Array:
        """Return the least y with P(Y <= y) >= q of each row, shape (n,)."""
        if self.is_discrete:
            return self._of_counts(np.broadcast_to(q, self.averages.rows.n))
        # it lies between the quantiles of the components
        low = self._of("ppf", q, lambda values, weights: values.min(axis=1))
        high = self._of("ppf", q, lambda values, weights: values.max(axis=1))
        return self._continuous(np.broadcast_to(q, low.shape), low, high)

    def isf(self, q: Any) -> Array:
        """Return the least y with P(Y > y) <= q of each row, shape (n,)."""
        return self.ppf(1 - np.asarray(q))

    def _of_counts(self, q: Array) -> Array:
        """Return quantiles of counts, by bisection; of a bracket that doubles where it has no end."""
        rows, low = self.averages.rows, np.full(len(q), -1.0)
        high = rows.trials if rows.family.counts_successes else np.maximum(self.mean(), 1.0)
        high = np.ceil(np.asarray(high))
        while not rows.family.counts_successes and np.any(below := self.cdf(high) < q):
            low, high = np.where(below, high, low), np.where(below, 2 * high, high)
        while np.any(high - low > 1):
            middle = np.floor(0.5 * (low + high))
            below = self.cdf(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high

    def _continuous(self, q: Array, low: Array, high: Array) -> Array:
        """Return quantiles in a bracket, by Newton's steps and bisection."""
        y = 0.5 * (low + high)
        for step in range(MAX_STEPS):
            F = self.cdf(y)
            low, high = np.where(q > F, y, low), np.where(q > F, high, y)
            with np.errstate(divide="ignore", invalid="ignore"):
                aim = y - (F - q) / self.pdf(y)
            found = np.abs(aim - y) <= TOL_QUANTILE * np.maximum(np.abs(y), high - low)
            inside = (aim > low) & (aim < high) & (step % 12 != 11)
            y = np.where(found, y, np.where(inside, aim, 0.5 * (low + high)))
            if np.all(found | (high - low <= TOL_QUANTILE * np.abs(y)) | np.isnan(y)):
                break
        return y

    def crps(self, y: Array) -> Array:
        """
        Return the continuous ranked probability score of each response, shape (n,).

        The integral of (F(x) - 1{x >= y})^2 in panels, of which the response is an end; the sum for
        counts.
        """
        if self.is_discrete:
            k = np.arange(self.ppf(TAIL).min(), self.ppf(1 - TAIL).max() + 1)
            return np.asarray(sum((self.cdf(x) - (x >= y)) ** 2 for x in k) + _outside(y, k))
        low, high = self.ppf(TAIL), self.ppf(1 - TAIL)
        inner = np.clip(self.mean() + np.outer(PANELS, self.std()), low, high)
        edges = np.sort(np.vstack([y, low, high, inner]), axis=0)
        out = np.zeros(len(y))
        for low, high in pairwise(edges):
            half = 0.5 * (high - low)
            for node, weight in zip(*LEGENDRE, strict=True):
                x = low + half * (1 + node)
                out += weight * half * (self.cdf(x) - (x >= y)) ** 2
        return out

    def rvs(self, size: Any = None, random_state: Any = None) -> Array:
        """Return responses, shape ``size`` with n last; each row and draw has effects of its own."""
        shape = tuple(np.atleast_1d(self.averages.rows.n if size is None else size))
        count = int(np.prod(shape)) // max(self.averages.rows.n, 1)
        return self.averages.drawn(count, generator(random_state)).reshape(shape)


def _outside(y: Array, k: Array) -> Array:
    """Return the part of the sum of a score between the counts k and a response outside of them."""
    return np.maximum(y - 1 - k[-1], 0.0) + np.maximum(k[0] - y, 0.0)
