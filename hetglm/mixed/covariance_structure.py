"""
Covariance of the random effects of a group: b = Lambda u with u ~ N(0, I), so cov(b) = Lambda Lambda'.

The entries of Lambda, block lower triangular, are the unconstrained parameters theta: a variance of 0
and correlations of -1 and 1 are ordinary points. Standard deviations and correlations are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hetglm.design.random_terms import GroupingFactor
from hetglm.typing import Array

#: Pivot of a covariance matrix, relative to its diagonal, below which it is rounding and counts as 0.
MIN_RELATIVE_PIVOT = 1e-14

#: The column of an intercept, which names of standard deviations leave out.
INTERCEPT = "Intercept"


@dataclass(frozen=True)
class FactorStructure:
    """
    Covariance of the k random effects of a group of one grouping factor.

    Attributes
    ----------
    name : str
        Of the grouping factor.
    columns, parts : tuple of str, length k
    blocks : tuple of tuple of int
        Columns that share one full covariance matrix. Within a block those of the dispersion come
        first in Lambda's order, so that given u of the dispersion the effects of the mean stay normal.
    """

    name: str
    columns: tuple[str, ...]
    parts: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]

    @property
    def k(self) -> int:
        """Columns."""
        return len(self.columns)

    @cached_property
    def ordered_blocks(self) -> list[list[int]]:
        """Columns of each block in Lambda's order."""
        return [sorted(block, key=lambda j: (self.parts[j] == "mean", j)) for block in self.blocks]

    @cached_property
    def entries(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the free entries of Lambda, in the order of theta; each of shape (m,)."""
        free = [(r, c) for b in self.ordered_blocks for i, r in enumerate(b) for c in b[: i + 1]]
        rows, columns = np.array(free, dtype=np.intp).reshape(-1, 2).T
        return rows, columns

    @property
    def m(self) -> int:
        """Parameters: free entries of Lambda, and as many standard deviations and correlations."""
        return len(self.entries[0])

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of columns with a correlation, in the order they are reported."""
        blocks = [sorted(block) for block in self.blocks]
        return [(i, j) for b in blocks for a, j in enumerate(b) for i in b[:a]]

    @property
    def names(self) -> list[str]:
        """Names of the standard deviations, then of the correlations."""
        ends = ["" if c == INTERCEPT else f": {c}" for c in self.columns]
        begins = [self._of_part(j, self.name) for j in range(self.k)]
        sds = [f"sd({begin}{end})" for begin, end in zip(begins, ends, strict=True)]
        label = [self._of_part(j, column) for j, column in enumerate(self.columns)]
        return sds + [f"corr({self.name}: {label[i]}, {label[j]})" for i, j in self.pairs]

    def _of_part(self, j: int, name: str) -> str:
        return name if self.parts[j] == "mean" else f"dispersion-{name}"

    def matrix(self, theta: Array) -> Array:
        """Return Lambda, shape (k, k), rows and columns in the order of the factor's columns."""
        Lambda = np.zeros((self.k, self.k))
        Lambda[self.entries] = theta
        return Lambda

    def covariance(self, theta: Array) -> Array:
        """Return the covariance matrix of b, shape (k, k)."""
        Lambda = self.matrix(theta)
        return Lambda @ Lambda.T

    def of_covariance(self, covariance: Array) -> Array:
        """Return theta, with a diagonal of at least 0, of a positive semidefinite covariance of b."""
        Lambda = np.zeros((self.k, self.k))
        for block in self.ordered_blocks:
            Lambda[np.ix_(block, block)] = semidefinite_cholesky(covariance[np.ix_(block, block)])
        return Lambda[self.entries]

    def signs(self, theta: Array) -> Array:
        """Return -1 for columns of Lambda to be negated for a diagonal of at least 0, else 1; (k,)."""
        return np.where(np.diag(self.matrix(theta)) < 0, -1.0, 1.0)

    def reported(self, theta: Array) -> Array:
        """Return standard deviations and correlations; NaN for those with an effect of sd 0; (m,)."""
        covariance = self.covariance(theta)
        sd = np.sqrt(np.diag(covariance))
        i, j = np.array(self.pairs, dtype=int).reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            return np.concatenate([sd, covariance[i, j] / (sd[i] * sd[j])])

    def of_reported(self, reported: Array) -> Array:
        """
        Return theta of standard deviations and correlations; NaN for a correlation counts as 0.

        Raises
        ------
        ValueError
            If the correlations are those of no positive semidefinite matrix.
        """
        sd, correlation = reported[: self.k], np.eye(self.k)
        for (i, j), value in zip(self.pairs, np.nan_to_num(reported[self.k :]), strict=True):
            correlation[i, j] = correlation[j, i] = value
        try:
            return self.of_covariance(correlation * np.outer(sd, sd))
        except np.linalg.LinAlgError:
            names = ", ".join(self.names[self.k :])
            values = ", ".join(f"{value:g}" for value in reported[self.k :])
            raise ValueError(f"{names}: {values} are no correlations of random effects") from None

    def jacobian(self, theta: Array) -> Array:
        """
        Return the derivative of `reported` in theta, shape (m, m).

        At a standard deviation of 0, the one-sided derivative of the diagonal entry of Lambda; 0 for
        a correlation that is not defined.
        """
        Lambda, reported = self.matrix(theta), self.reported(theta)
        sd = reported[: self.k]
        rows, columns = self.entries
        out = np.zeros((self.m, self.m))
        with np.errstate(all="ignore"):
            by_sd = np.where(sd[rows] > 0, Lambda[rows, columns] / sd[rows], rows == columns)
            out[rows, np.arange(self.m)] = by_sd
            for at, (i, j) in enumerate(self.pairs):
                one = (rows == i) * Lambda[j, columns] + (rows == j) * Lambda[i, columns]
                slope = one / (sd[i] * sd[j])
                slope -= reported[self.k + at] * (out[i] / sd[i] + out[j] / sd[j])
                out[self.k + at] = np.nan_to_num(slope, posinf=0.0, neginf=0.0)
        return out


def semidefinite_cholesky(covariance: Array) -> Array:
    """
    Return the lower Cholesky factor of a positive semidefinite matrix, with columns 0 for pivots 0.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a pivot is negative, or is 0 where the column below it is not.
    """
    rest, L = np.array(covariance, dtype=float), np.zeros_like(covariance, dtype=float)
    size = np.diag(rest).copy()
    for j, scale in enumerate(size):
        pivot, small = rest[j, j], MIN_RELATIVE_PIVOT * scale
        if pivot > small:
            L[j:, j] = rest[j:, j] / np.sqrt(pivot)
            rest -= np.outer(L[:, j], L[:, j])
        elif pivot < -small or np.any(np.abs(rest[j:, j]) > np.sqrt(small * size[j:]) + small):
            raise np.linalg.LinAlgError("not positive semidefinite")
    return L


@dataclass(frozen=True)
class CovarianceStructure:
    """
    Covariance of the random effects of all grouping factors, which are independent of each other.

    Attributes
    ----------
    factors : tuple of FactorStructure
    """

    factors: tuple[FactorStructure, ...]

    @property
    def m(self) -> int:
        """Parameters of all factors."""
        return sum(factor.m for factor in self.factors)

    @property
    def names(self) -> list[str]:
        """Names of the reported parameters, factor by factor."""
        return [name for factor in self.factors for name in factor.names]

    def split(self, params: Array) -> list[Array]:
        """Return the parameters, theta or reported, of each factor."""
        return np.split(params, np.cumsum([factor.m for factor in self.factors])[:-1])

    def matrices(self, theta: Array) -> list[Array]:
        """Return Lambda of each factor, of shapes (k, k)."""
        parts = zip(self.factors, self.split(theta), strict=True)
        return [factor.matrix(part) for factor, part in parts]

    def covariances(self, theta: Array) -> list[Array]:
        """Return the covariance matrix of b in a group of each factor, of shapes (k, k)."""
        return [Lambda @ Lambda.T for Lambda in self.matrices(theta)]

    def reported(self, theta: Array) -> Array:
        """Return standard deviations and correlations, shape (m,)."""
        parts = zip(self.factors, self.split(theta), strict=True)
        return np.concatenate([factor.reported(part) for factor, part in parts])

    def of_reported(self, reported: Array) -> Array:
        """Return theta of standard deviations and correlations, shape (m,)."""
        parts = zip(self.factors, self.split(np.asarray(reported, dtype=float)), strict=True)
        return np.concatenate([factor.of_reported(part) for factor, part in parts])

    def of_covariances(self, covariances: list[Array]) -> Array:
        """Return theta of a covariance matrix of each factor, shape (m,)."""
        parts = zip(self.factors, covariances, strict=True)
        return np.concatenate([factor.of_covariance(part) for factor, part in parts])

    def jacobian(self, theta: Array) -> Array:
        """Return the derivative of `reported` in theta, shape (m, m)."""
        out, at = np.zeros((self.m, self.m)), 0
        for factor, part in zip(self.factors, self.split(theta), strict=True):
            to = at + factor.m
            out[at:to, at:to] = factor.jacobian(part)
            at = to
        return out


def structure_of(factors: tuple[GroupingFactor, ...]) -> CovarianceStructure:
    """Return the covariance structure of grouping factors."""
    return CovarianceStructure(
        tuple(FactorStructure(f.name, f.columns, f.parts, f.blocks) for f in factors)
    )
