"""Linear algebra of information matrices: cross products, ranks, scaled solves and inverses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dposv

from hetglm.typing import Array

#: Size of a block in cross products, in numbers: blocks that stay in the cache.
BLOCK_CELLS = 1 << 16
#: Multiplications up to which OpenBLAS multiplies matrices on one thread. Its threads for products as
#: small as those of a fit take up to 20 times the CPU where other processes are busy.
MAX_MATRIX_PRODUCT = 1 << 18
#: The same for a matrix and a vector, in numbers of the matrix; OpenBLAS's own limit is a little higher.
MAX_VECTOR_PRODUCT = 9000
#: Multiplications above which threads are faster in spite of their start.
MIN_THREADED_PRODUCT = 10**9
#: Smallest number of rows of a block.
MIN_BLOCK_ROWS = 32
#: Norm of a scaled column outside the span of earlier ones below which it is aliased (R's lm: 1e-7).
TOL_ALIAS = 1e-7
#: Squared counterpart in a Gram matrix: pivots above it are not rounding.
MIN_PIVOT = 1e-8
#: Probe size for full column rank and for duplicate rows, in rows.
N_PROBE_ROWS = 500
#: Share of distinct rows in the probe above which duplicate rows are not merged.
MAX_DISTINCT_SHARE = 0.95


def gram(A: Array, w: Array | None, B: Array) -> Array:
    """Return A' diag(w) B, shape (p, q), in blocks of rows."""
    out = np.zeros((A.shape[1], B.shape[1]))
    cells = A.shape[1] * B.shape[1]
    step = BLOCK_CELLS // max(1, A.shape[1])
    if len(A) * cells <= MIN_THREADED_PRODUCT:
        step = min(step, MAX_MATRIX_PRODUCT // max(1, cells))
    for rows in _blocks(len(A), step):
        out += (A[rows] if w is None else A[rows] * w[rows, None]).T @ B[rows]
    return out


def times(A: Array, b: Array) -> Array:
    """Return A b, shape (n,), in blocks of rows."""
    out = np.empty(len(A))
    for rows in _blocks(len(A), MAX_VECTOR_PRODUCT // max(1, A.shape[1])):
        np.matmul(A[rows], b, out=out[rows])
    return out


def crossed(A: Array, v: Array) -> Array:
    """Return A'v, shape (p,), in blocks of rows."""
    out = np.zeros(A.shape[1])
    for rows in _blocks(len(A), MAX_VECTOR_PRODUCT // max(1, A.shape[1])):
        out += A[rows].T @ v[rows]
    return out


def _blocks(n: int, step: int) -> Iterator[slice]:
    """Yield slices of ``step`` rows, or of MIN_BLOCK_ROWS."""
    step = max(step, MIN_BLOCK_ROWS)
    return (slice(i, i + step) for i in range(0, n, step))


def independent_columns(X: Array) -> Array:
    """
    Return which columns are not linear combinations of earlier ones, shape (p,).

    The first of a dependent set stays, as in R. The Gram matrix decides where it can; near
    dependence, where squaring has lost the digits, orthogonalisation does.
    """
    if len(X) >= 2 * N_PROBE_ROWS and X.shape[1] and _clearly_independent(X):
        return np.ones(X.shape[1], dtype=bool)
    products = gram(X, None, X)
    norms = np.sqrt(np.diag(products))
    keep = norms > 0
    if not keep.any():
        return keep
    scaled = products / np.outer(np.where(keep, norms, 1), np.where(keep, norms, 1))
    if np.all(keep) and _smallest_pivot(scaled) > MIN_PIVOT:
        return keep
    return keep & _orthogonalise(X / np.where(keep, norms, 1), keep)


def _clearly_independent(X: Array) -> bool:
    """Return whether a probe has full column rank: further rows can only increase the pivots."""
    some = X[:: len(X) // N_PROBE_ROWS]
    products, squares = some.T @ some, np.einsum("ij,ij->j", X, X)
    norms = np.sqrt(np.diag(products))
    if not np.all(norms > 0):
        return False
    pivot = _smallest_pivot(products / np.outer(norms, norms))
    return bool(np.all(pivot * norms**2 > MIN_PIVOT * squares))


def _smallest_pivot(correlation: Array) -> float:
    try:
        return float(np.min(np.diag(np.linalg.cholesky(correlation))) ** 2)
    except np.linalg.LinAlgError:
        return 0.0


def _orthogonalise(X: Array, candidates: Array) -> Array:
    """Return which candidate columns are independent of earlier ones, by Gram-Schmidt."""
    basis = np.empty((X.shape[1], len(X)))
    keep = np.zeros(X.shape[1], dtype=bool)
    found = 0
    for j in np.flatnonzero(candidates):
        rest = X[:, j]
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            rest = rest - (basis[:found] @ rest) @ basis[:found]
        norm = np.linalg.norm(rest)
        if norm > TOL_ALIAS:
            basis[found] = rest / norm
            keep[j] = True
            found += 1
    return keep


def distinct_rows(arrays: list[Array]) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """
    Return the first of each set of equal rows and the set of each row, where these are few.

    Parameters
    ----------
    arrays : list of ndarray, each of shape (n,) or (n, k)
        Columns of the rows.

    Returns
    -------
    first : ndarray of int, shape (m,)
    of_row : ndarray of int, shape (n,)
        Row i equals row ``first[of_row[i]]``. None instead of both where there are fewer than
        ``2 * N_PROBE_ROWS`` rows or more than half of them are distinct.
    """
    n = len(arrays[0])
    if n < 2 * N_PROBE_ROWS:
        return None
    some = mixed_columns([a[:: n // N_PROBE_ROWS] for a in arrays])
    if len(np.unique(some)) > MAX_DISTINCT_SHARE * len(some):
        return None
    # different rows may also give the same combination
    _, first, of_row = np.unique(mixed_columns(arrays), return_index=True, return_inverse=True)
    if 2 * len(first) > n:
        return None
    same = all(np.array_equal(a[first][of_row], a, equal_nan=True) for a in arrays)
    return (first, of_row) if same else None


def mixed_columns(arrays: list[Array]) -> Array:
    """Return a random linear combination of all columns, to distinguish rows, shape (n,)."""
    rng = np.random.default_rng(0)
    mixed = np.zeros(len(arrays[0]))
    for a in arrays:
        mixed += a @ rng.normal(size=a.shape[1]) if a.ndim == 2 else a * rng.normal()
    return mixed


def contains(X: Array, target: Array) -> bool:
    """Return whether the column space of X contains every column of ``target``, shape (n, r)."""
    basis = X[:, independent_columns(X)]
    both = np.column_stack([basis, target])
    return bool(independent_columns(both).sum() == basis.shape[1])


def solve_scaled(information: Array, gradient: Array) -> Array | None:
    """Return information^-1 gradient by a scaled Cholesky factor, or None if not positive definite."""
    diagonal = np.diag(information)
    if not np.all(np.isfinite(information)) or np.any(diagonal <= 0):
        return None
    if not len(information):
        return gradient
    s = 1 / np.sqrt(diagonal)
    across = s if gradient.ndim == 1 else s[:, None]
    _, solution, failed = dposv(information * s * s[:, None], gradient * across)
    return None if failed else solution * across


def inverse(information: Array) -> Array | None:
    """Return the symmetric inverse of a positive definite matrix, or None."""
    identity = np.eye(len(information))
    result = solve_scaled(information, identity) if len(information) else identity
    if result is None or not np.all(np.isfinite(result)):
        return None
    return 0.5 * (result + result.T)


def triangular_inverse(R: Array) -> Array:
    """
    Return the inverse of an upper triangular matrix, shape (p, p).

    By BLAS's dtrsm: for LAPACK's dtrtrs (scipy's solve_triangular) OpenBLAS starts a team of threads
    whatever the size, which takes milliseconds for what is done in one microsecond.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is singular.
    """
    if np.any(np.diag(R) == 0):
        raise np.linalg.LinAlgError("singular matrix")
    return np.asarray(dtrsm(1.0, R, np.eye(len(R))))
