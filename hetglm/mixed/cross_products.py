"""
Cross-products of the rows of a linear mixed model: all that its likelihood needs of them.

Rows i have the precision w_i / phi. The effects of all grouping factors are one vector of length Q:
factor by factor, those of the factor with most effects first; within a factor column by column.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import crossed, gram, solve_scaled, times

#: Cells up to which a matrix is dense, and the share of cells other than 0 above which it is: the
#: libraries for dense matrices are some twenty times as fast for a cell.
MAX_SMALL_CELLS, MIN_DENSITY = 10_000, 0.05


@dataclass(frozen=True)
class CrossProducts:
    """
    Cross-products of random effects Z, fixed columns X and response y, with row weights W.

    Attributes
    ----------
    n : float
        Rows, counted by their frequencies.
    log_weights : float
        Sum of log w over these rows.
    order : tuple of int
        Positions of the factors, the one with most effects first.
    sizes : tuple of (int, int)
        Columns k and groups G of the factors in that order.
    scales : tuple of ndarray, each of shape (k,)
        What the columns of Z were divided by, their root mean squares.
    within : ndarray, shape (k, k, G)
        Z'WZ of the groups of the first factor.
    between, others : sparse matrix or ndarray, shapes (k G, r) and (r, r), or None
        Z'WZ between the first factor and the r effects of the others, and among these; None where
        there is one factor.
    effects : ndarray, shape (Q, p + 1)
        Z'W [X, e], with e the residual of y from X ``pooled``.
    fixed : ndarray, shape (p + 1, p + 1)
        [X, e]'W [X, e].
    pooled : ndarray, shape (p,)
        Least-squares coefficients without random effects, about which cancellation is least.
    """

    n: float
    log_weights: float
    order: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    scales: tuple[Array, ...]
    within: Array
    between: Any
    others: Any
    effects: Array
    fixed: Array
    pooled: Array

    @property
    def p(self) -> int:
        """Fixed columns."""
        return len(self.pooled)

    @cached_property
    def parts(self) -> list[slice]:
        """Positions of the effects of each factor."""
        ends = np.cumsum([k * groups for k, groups in self.sizes])
        return [slice(int(e) - k * g, int(e)) for e, (k, g) in zip(ends, self.sizes, strict=True)]

    @cached_property
    def rest_parts(self) -> list[slice]:
        """The same among the effects of all factors but the first."""
        first, *rest = self.parts
        return [slice(part.start - first.stop, part.stop - first.stop) for part in rest]

    def of_effects(self, V: Array) -> Array:
        """Return Z'WZ V, shape (Q, m)."""
        first = self.parts[0]
        blocks = V[first].reshape(*self.sizes[0], -1)
        out = np.einsum("abg,bgm->agm", self.within, blocks).reshape(first.stop, -1)
        if self.others is None:
            return out
        rest = self.between.T @ V[first] + self.others @ V[first.stop :]
        return np.concatenate([out + self.between @ V[first.stop :], rest])


def cross_products(
    likelihood: Likelihood, X: Array, factors: tuple[GroupingFactor, ...]
) -> CrossProducts:
    """
    Return the cross-products of a Gaussian likelihood with constant dispersion.

    Parameters
    ----------
    likelihood : Likelihood
    X : ndarray, shape (n, p)
        Linearly independent columns of the mean.
    factors : tuple of GroupingFactor
    """
    precision, n, log_weights = row_precisions(likelihood)
    y = likelihood.y if likelihood.offset is None else likelihood.y - likelihood.offset
    pooled, residual = least_squares(X, y, precision)
    order = sorted(
        range(len(factors)), key=lambda f: -factors[f].values.shape[1] * groups(factors[f])
    )
    ordered = [factors[f] for f in order]
    scales = [root_mean_square(f.values) for f in ordered]
    weighted, *rest = [incidence(f, s, precision) for f, s in zip(ordered, scales, strict=True)]
    k, G = ordered[0].values.shape[1], groups(ordered[0])
    within = (weighted.T @ (ordered[0].values / scales[0])).reshape(k, G, k)
    parts = [weighted]
    between = others = None
    if rest:
        Z = sparse.hstack([incidence(f, s) for f, s in zip(ordered[1:], scales[1:], strict=True)])
        parts.append(sparse.hstack(rest, format="csr"))
        between, others = compact(weighted.T @ Z), compact(parts[1].T @ Z)
    effects = [np.column_stack([part.T @ X, part.T @ residual]) for part in parts]
    return CrossProducts(
        n,
        log_weights,
        tuple(order),
        tuple((f.values.shape[1], groups(f)) for f in ordered),
        tuple(scales),
        np.ascontiguousarray(within.transpose(0, 2, 1)),
        between,
        others,
        np.concatenate(effects),
        bordered(X, residual, precision),
        pooled,
    )


def compact(M: Any) -> Any:
    """Return a sparse matrix by rows, or as an array where it is small or well filled."""
    cells = M.shape[0] * M.shape[1]
    dense = cells <= MAX_SMALL_CELLS or M.nnz > MIN_DENSITY * cells
    return M.toarray() if dense else sparse.csr_matrix(M)


def row_precisions(likelihood: Likelihood) -> tuple[Array | None, float, float]:
    """Return f w of each row (None where all are 1), the sum of f, and that of f log w."""
    w, freq, shift = likelihood.weights, likelihood.freq, likelihood.offset_dispersion
    n = float(likelihood.n if freq is None else freq.sum())
    if w is None and shift is None:
        return freq, n, 0.0
    logs = (0.0 if w is None else np.log(w)) - (0.0 if shift is None else shift)
    weights = np.exp(logs)
    if freq is None:
        return weights, n, float(np.sum(logs))
    return freq * weights, n, float(np.sum(freq * logs))


def least_squares(X: Array, y: Array, precision: Array | None) -> tuple[Array, Array]:
    """Return weighted least-squares coefficients and residuals, refined once; shapes (p,), (n,)."""
    information = gram(X, precision, X)
    beta, residual = np.zeros(X.shape[1]), y
    for _ in range(2):
        weighted = residual if precision is None else precision * residual
        step = solve_scaled(information, crossed(X, weighted))
        assert step is not None
        beta = beta + step
        residual = y - times(X, beta)
    return beta, residual


def bordered(X: Array, e: Array, precision: Array | None) -> Array:
    """Return [X, e]'W [X, e], shape (p + 1, p + 1)."""
    weighted = e if precision is None else precision * e
    out = np.zeros((X.shape[1] + 1,) * 2)
    out[:-1, :-1] = gram(X, precision, X)
    out[:-1, -1] = out[-1, :-1] = crossed(X, weighted)
    out[-1, -1] = e @ weighted
    return out


def groups(factor: GroupingFactor) -> int:
    """Return the number of levels."""
    return len(factor.levels)


def root_mean_square(values: Array) -> Array:
    """Return the root mean square of each column, 1 for a column of zeros; shape (k,)."""
    size = np.sqrt(np.einsum("ij,ij->j", values, values) / max(1, len(values)))
    return np.where(size > 0, size, 1.0)


def incidence(factor: GroupingFactor, scale: Array, precision: Array | None = None) -> Any:
    """Return the columns of a factor's effects, times a precision, a sparse matrix of shape (n, k G)."""
    n, k = factor.values.shape
    G = groups(factor)
    columns = factor.codes.astype(np.int32)[:, None] + np.arange(k, dtype=np.int32) * np.int32(G)
    starts = np.arange(0, n * k + 1, k, dtype=np.int32 if n * k < 2**31 else np.int64)
    data = factor.values / scale
    data = data if precision is None else data * precision[:, None]
    return sparse.csr_matrix((data.ravel(), columns.ravel(), starts), shape=(n, k * G))
