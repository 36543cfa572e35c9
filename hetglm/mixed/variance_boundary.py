"""
Maxima at the boundary of the covariances: a variance of 0, a correlation of -1 or 1.

A column of Lambda is 0 there. Such a point is stationary always, since the likelihood is even in the
column: no search begins there, and where one ends there the sign of the second derivative is tested.
"""

from __future__ import annotations

import numpy as np

from hetglm.mixed.derivatives import UNIT_LINKS
from hetglm.mixed.information import metric
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.mixed.search import LastSteps, Optimum, maximised, near_maximum
from hetglm.typing import Array

#: Squared ratio of a diagonal entry of Lambda and its rough standard error up to which 0 is tried.
MAX_SQUARED_RATIO = 4.0
#: Loss of log-likelihood up to which an entry is set to 0; the second derivative decides at the end.
MAX_LOSS = 1e-3
#: Variance at which that is read, in units of its rough standard error at 0.
SMALL_VARIANCE = 1e-2
#: Gain of log-likelihood at that variance that is more than rounding, in units of 1 + |L|.
MIN_GAIN = 1e-12
#: Variance from which a search begins instead of 0, in units of its rough standard error.
FIRST_VARIANCE = 1.0


def search_closure(
    marginal: Marginal, start: Evaluation, maxiter: int, last: LastSteps = maximised
) -> Optimum:
    """
    Return the maximum that is reached from a start, columns of Lambda that vanish fixed at 0.

    ``last`` is what follows BFGS: `maximised`, or `ended` where its end suffices.
    """
    columns = Columns(marginal)
    here, zero = start, np.zeros(columns.count, dtype=bool)
    kept = zero.copy()
    iterations = 0
    while True:
        here, more = near_maximum(marginal, here, columns.free(zero), maxiter)
        here, zero = _vanishing(marginal, columns, here, zero, kept)
        iterations += more
        found = last(marginal, here, columns.free(zero), iterations, maxiter)
        rising = _rising(marginal, columns, found.here, zero & ~kept)
        if rising is None:
            return found
        here, column = rising
        zero[column], kept[column], iterations = False, True, found.iterations
        marginal.accept(here)


class Columns:
    """The columns of Lambda of all factors, numbered one after the other."""

    def __init__(self, marginal: Marginal) -> None:
        factors = marginal.structure.factors
        first = np.cumsum([0, *(factor.k for factor in factors)])
        self.count = int(first[-1])
        self.factor = np.repeat(np.arange(len(factors)), [factor.k for factor in factors])
        self.within = np.arange(self.count) - first[self.factor]
        entries = [
            (f.entries[0] + a, f.entries[1] + a) for f, a in zip(factors, first, strict=False)
        ]
        rows, self.of_entry = (np.concatenate(part) for part in zip(*entries, strict=True))
        self.first_entry = marginal.k_coefficients
        on_diagonal = np.flatnonzero(rows == self.of_entry)
        #: Position in psi of the diagonal entry of each column.
        self.diagonal = np.empty(self.count, dtype=int)
        self.diagonal[self.of_entry[on_diagonal]] = self.first_entry + on_diagonal

    def free(self, zero: Array) -> Array:
        """Return the positions in psi that are searched over, some columns of Lambda being 0."""
        of_theta = np.flatnonzero(~zero[self.of_entry])
        return np.concatenate([np.arange(self.first_entry), self.first_entry + of_theta])

    def place(self, marginal: Marginal, column: int) -> tuple[int, int]:
        """Return the loading of a column and its position there."""
        return marginal.joint.order.index(int(self.factor[column])), int(self.within[column])

    def zero(self, psi: Array) -> Array:
        """Return which columns of Lambda are 0, shape (count,)."""
        size = np.zeros(self.count)
        np.maximum.at(size, self.of_entry, np.abs(psi[self.first_entry :]))
        return size == 0


def _vanishing(
    marginal: Marginal, columns: Columns, here: Evaluation, zero: Array, kept: Array
) -> tuple[Evaluation, Array]:
    """Return the point with those columns at 0 whose loss is slight, and which they are."""
    information = np.diag(metric(marginal, here))[columns.diagonal]
    small = here.psi[columns.diagonal] ** 2 * information < MAX_SQUARED_RATIO
    small |= [not _curvature(marginal, columns, here, c).any() for c in range(columns.count)]
    for column in np.flatnonzero(small & ~zero & ~kept)[::-1]:
        there = marginal.at(_without(marginal, columns, here.psi, column))
        if there is not None and there.value >= here.value - MAX_LOSS:
            marginal.accept(there)
            return _vanishing(marginal, columns, there, columns.zero(there.psi), kept)
    return here, zero


def _without(marginal: Marginal, columns: Columns, psi: Array, column: int) -> Array:
    """Return psi with the diagonal entry of a column 0, in the form of a Cholesky factor."""
    psi = psi.copy()
    psi[columns.diagonal[column]] = 0.0
    structure, k = marginal.structure, marginal.k_coefficients
    thetas = structure.split(psi[k:])
    factor, index = structure.factors[columns.factor[column]], columns.factor[column]
    thetas[index] = factor.of_covariance(factor.covariance(thetas[index]))
    return np.concatenate([psi[:k], *thetas])


def _curvature(marginal: Marginal, columns: Columns, here: Evaluation, column: int) -> Array:
    """Return the curvature of the rows along the effects of a column, shape (G,)."""
    j, within = columns.place(marginal, column)
    return here.laplace.M.own[j][:, within, within]


def _small_sd(marginal: Marginal, columns: Columns, here: Evaluation, column: int) -> float:
    """Return the square root of the rough standard error, at 0, of the variance of a column."""
    j, within = columns.place(marginal, column)
    curvature = _curvature(marginal, columns, here, column)
    own = float((0.5 * np.sum(curvature**2)) ** -0.25) if curvature.any() else np.inf
    core, loading = marginal.likelihood, marginal.joint.loadings[j]
    link = (core.link, core.link_dispersion)[loading.predictors[within]]
    if isinstance(link, UNIT_LINKS):  # rows may tell nothing, as those of a vanishing dispersion do
        own = min(own, float(np.mean(loading.values[:, within] ** 2) ** -0.5))
    return own if np.isfinite(own) else 1.0


def _rising(
    marginal: Marginal, columns: Columns, here: Evaluation, zero: Array
) -> tuple[Evaluation, int] | None:
    """Return a point where a column at 0 is small, and the column, if the likelihood rises there."""
    for column in map(int, np.flatnonzero(zero)):
        at = columns.diagonal[column]
        psi = here.psi.copy()
        psi[at] = SMALL_VARIANCE**0.5 * _small_sd(marginal, columns, here, column)
        there = marginal.at(psi)
        if there is None:
            continue
        gain = 0.5 * psi[at] * marginal.gradient(there)[at]
        if gain > MIN_GAIN * (1 + abs(here.value)):
            return there, column
    return None


def away_from_zero(marginal: Marginal, here: Evaluation) -> Evaluation:
    """Return a point from which a search may begin: no column of Lambda is 0."""
    columns = Columns(marginal)
    zero = columns.zero(here.psi)
    if not zero.any():
        return here
    psi = here.psi.copy()
    for column in map(int, np.flatnonzero(zero)):
        sd = FIRST_VARIANCE**0.5 * _small_sd(marginal, columns, here, column)
        psi[columns.diagonal[column]] = sd
    return marginal.at(psi) or here
