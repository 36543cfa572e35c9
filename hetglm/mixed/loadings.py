"""Loadings: the rows of A, by which random effects enter both linear predictors; sums by group."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hetglm.design.random_terms import GroupingFactor
from hetglm.typing import Array
from hetglm.utils.linalg import gram

#: Position of the linear predictor of each part.
PREDICTORS = {"mean": 0, "dispersion": 1}


class Symmetric(NamedTuple):
    """A symmetric 2 x 2 matrix of each row in (eta, zeta); each entry has shape (n,)."""

    eta_eta: Array
    eta_zeta: Array
    zeta_zeta: Array

    def entry(self, j: int, k: int) -> Array:
        """Return entry (j, k), shape (n,)."""
        return self[j + k]


def contraction(V: Symmetric, D: Symmetric) -> Array:
    """Return the sum over j, k of V_jk D_jk of each row, shape (n,)."""
    return V.eta_eta * D.eta_eta + 2 * V.eta_zeta * D.eta_zeta + V.zeta_zeta * D.zeta_zeta


@dataclass(frozen=True)
class Loading:
    """
    Columns whose coefficients vary between the G levels of a factor, or integrated fixed columns.

    Attributes
    ----------
    codes : ndarray of int, shape (n,)
        Level of each row.
    levels : int
        Levels, G; 1 for fixed columns.
    values : ndarray, shape (n, k)
    predictors : tuple of int, length k
        0 for a column of eta, 1 for one of zeta.
    prior : bool
        Whether the coefficients are random: u of fixed columns has no prior.
    """

    codes: NDArray[np.intp]
    levels: int
    values: Array
    predictors: tuple[int, ...]
    prior: bool = True

    @property
    def k(self) -> int:
        """Columns."""
        return len(self.predictors)

    @property
    def size(self) -> int:
        """Coefficients of all groups."""
        return self.levels * self.k

    @cached_property
    def columns(self) -> list[Array | None]:
        """Columns of ``values``, contiguous; None for a column of ones."""
        columns = [np.ascontiguousarray(v) for v in self.values.T]
        return [None if np.all(column == 1) else column for column in columns]

    def weighted(self, j: int, weights: Array) -> Array:
        """Return column j times weights, shape (n,)."""
        column = self.columns[j]
        return weights if column is None else column * weights

    def by_group(self, weights: Array) -> Array:
        """Return the sums of weights by group, shape (G,)."""
        if self.levels == 1:
            return weights.sum(keepdims=True)
        return np.bincount(self.codes, weights, self.levels)

    def of_rows(self, coefficients: Array) -> tuple[Array, Array]:
        """Return what coefficients, shape (G, k), add to eta and zeta of each row."""
        out = [np.zeros(len(self.codes)), np.zeros(len(self.codes))]
        for j, predictor in enumerate(self.predictors):
            out[predictor] += self.weighted(j, coefficients[self.codes, j])
        return out[0], out[1]

    def sums(self, eta: Array, zeta: Array) -> Array:
        """Return A'r of row quantities r = (eta, zeta), shape (G, k)."""
        of_predictor = eta, zeta
        sums = [
            self.by_group(self.weighted(j, of_predictor[predictor]))
            for j, predictor in enumerate(self.predictors)
        ]
        return np.stack(sums, axis=1)

    def products(self, W: Symmetric) -> Array:
        """Return A'WA of each group, shape (G, k, k)."""
        if self.levels == 1:
            return self._fixed_products(W)[None]
        out = np.empty((self.levels, self.k, self.k))
        for j in range(self.k):
            for i in range(j + 1):
                w = self.weighted(i, W.entry(self.predictors[i], self.predictors[j]))
                out[:, i, j] = out[:, j, i] = self.by_group(self.weighted(j, w))
        return out

    def _fixed_products(self, W: Symmetric) -> Array:
        """Return A'WA of all rows, shape (k, k)."""
        k = self.predictors.count(0)
        X, Z = self.values[:, :k], self.values[:, k:]
        cross = gram(X, W.eta_zeta, Z)
        mean, dispersion = gram(X, W.eta_eta, X), gram(Z, W.zeta_zeta, Z)
        return np.block([[mean, cross], [cross.T, dispersion]])

    def quadratic(self, C: Array, out: list[Array]) -> None:
        """Add A C A' of each row, for C of shape (G, k, k), to its entries."""
        for j in range(self.k):
            for i in range(j + 1):
                v = self.weighted(i, self.weighted(j, C[self.codes, i, j]))
                once = i == j or self.predictors[i] != self.predictors[j]
                out[self.predictors[i] + self.predictors[j]] += v if once else 2 * v


@dataclass(frozen=True)
class Crossing:
    """
    Two loadings on the same rows, by the pairs of their groups that have rows in common.

    Attributes
    ----------
    first, second : Loading
    pairs : ndarray of int, shape (2, P)
        Groups of each pair.
    of_row : ndarray of int, shape (n,)
        Pair of each row.
    """

    first: Loading
    second: Loading
    pairs: NDArray[np.intp] = field(init=False)
    of_row: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        """Find the pairs once."""
        code = self.first.codes * self.second.levels + self.second.codes
        found, of_row = np.unique(code, return_inverse=True)
        pairs = np.stack(np.divmod(found, self.second.levels))
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "of_row", of_row.reshape(-1))

    def products(self, W: Symmetric) -> Array:
        """Return A'WB of each pair, shape (P, k, l)."""
        a, b = self.first, self.second
        out = np.empty((self.pairs.shape[1], a.k, b.k))
        for i, of_first in enumerate(a.predictors):
            for j, of_second in enumerate(b.predictors):
                w = b.weighted(j, a.weighted(i, W.entry(of_first, of_second)))
                out[:, i, j] = np.bincount(self.of_row, w, len(out))
        return out

    def quadratic(self, C: Array, out: list[Array]) -> None:
        """Add A C B' + B C' A' of each row, for C of shape (P, k, l), to its entries."""
        a, b = self.first, self.second
        for i, of_first in enumerate(a.predictors):
            for j, of_second in enumerate(b.predictors):
                v = b.weighted(j, a.weighted(i, C[self.of_row, i, j]))
                out[of_first + of_second] += 2 * v if of_first == of_second else v


def loading_of(factor: GroupingFactor) -> Loading:
    """Return the loading of a grouping factor."""
    predictors = tuple(PREDICTORS[part] for part in factor.parts)
    return Loading(np.asarray(factor.codes), len(factor.levels), factor.values, predictors)


def fixed_loading(X: Array, Z: Array) -> Loading:
    """Return the loading of integrated fixed columns of both parts."""
    predictors = (0,) * X.shape[1] + (1,) * Z.shape[1]
    codes = np.zeros(len(X), dtype=np.intp)
    return Loading(codes, 1, np.column_stack([X, Z]), predictors, prior=False)
