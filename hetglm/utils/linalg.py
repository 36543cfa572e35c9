"""Linear algebra of information matrices: cross products, ranks, scaled solves and inverses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm
from scipy.linalg.lapack import dposv

from hetglm.typing import Array

#: Cells of a design handled at a time in cross products: blocks that stay in the cache.
BLOCK_CELLS = 1 << 16
#: Multiplications up to which OpenBLAS multiplies matrices on one thread, and somewhat less than the
#: cells of a matrix up to which it does so with a vector. A team of threads for products as small as
#: those of a fit takes up to 20 times their CPU where other processes are busy.
PRODUCT, VECTOR = 1 << 18, 9000
#: Multiplications from which threads are worth their start.
WORTH_THREADS = 10**9
#: Rows of a block, at least.
FEWEST_ROWS = 32
#: A column whose part outside the earlier columns is smaller than this is aliased (R's lm: 1e-7).
ALIAS_TOLERANCE = 1e-7
#: Squared counterpart in a Gram matrix that is surely above rounding.
_SAFE_PIVOT = 1e-8
#: Rows of a long design that may show that its columns are independent.
_GLANCE = 500
#: Share of distinct rows among ``_GLANCE`` rows above which equal rows are not looked for.
_MOSTLY_DISTINCT = 0.95


def gram(A: Array, w: Array | None, B: Array) -> Array:
    """Return A' diag(w) B, shape (p, q), in blocks of rows."""
    out = np.zeros((A.shape[1], B.shape[1]))
    cells = A.shape[1] * B.shape[1]
    step = BLOCK_CELLS // max(1, A.shape[1])
    if len(A) * cells <= WORTH_THREADS:
        step = min(step, PRODUCT // max(1, cells))
    for rows in _blocks(len(A), step):
        out += (A[rows] if w is None else A[rows] * w[rows, None]).T @ B[rows]
    return out


def times(A: Array, b: Array) -> Array:
    """Return A b, shape (n,), in blocks of rows."""
    out = np.empty(len(A))
    for rows in _blocks(len(A), VECTOR // max(1, A.shape[1])):
        np.matmul(A[rows], b, out=out[rows])
    return out


def crossed(A: Array, v: Array) -> Array:
    """Return A'v, shape (p,), in blocks of rows."""
    out = np.zeros(A.shape[1])
    for rows in _blocks(len(A), VECTOR // max(1, A.shape[1])):
        out += A[rows].T @ v[rows]
    return out


def _blocks(n: int, step: int) -> Iterator[slice]:
    """Yield slices of that many rows, of not too few."""
    step = max(step, FEWEST_ROWS)
    return (slice(i, i + step) for i in range(0, n, step))


def independent_columns(X: Array) -> Array:
    """
    Return which columns are not linear combinations of earlier ones, shape (p,).

    The first of a dependent set stays, as in R. The Gram matrix decides where it can; near
    dependence, where squaring has lost the digits, orthogonalisation does.
    """
    if len(X) >= 2 * _GLANCE and _clearly_independent(X):
        return np.ones(X.shape[1], dtype=bool)
    products = gram(X, None, X)
    norms = np.sqrt(np.diag(products))
    keep = norms > 0
    if not keep.any():
        return keep
    scaled = products / np.outer(np.where(keep, norms, 1), np.where(keep, norms, 1))
    if np.all(keep) and _smallest_pivot(scaled) > _SAFE_PIVOT:
        return keep
    return keep & _orthogonalise(X / np.where(keep, norms, 1), keep)


def _clearly_independent(X: Array) -> bool:
    """Return whether some rows tell: the others add to the Gram matrix, and so to its pivots."""
    some = X[:: len(X) // _GLANCE]
    products, squares = some.T @ some, np.einsum("ij,ij->j", X, X)
    norms = np.sqrt(np.diag(products))
    if not np.all(norms > 0):
        return False
    pivot = _smallest_pivot(products / np.outer(norms, norms))
    return bool(np.all(pivot * norms**2 > _SAFE_PIVOT * squares))


def _smallest_pivot(correlation: Array) -> float:
    try:
        return float(np.min(np.diag(np.linalg.cholesky(correlation))) ** 2)
    except np.linalg.LinAlgError:
        return 0.0


def _orthogonalise(X: Array, candidates: Array) -> Array:
    """Return which candidate columns have a part outside the earlier ones, by Gram-Schmidt."""
    basis = np.empty((X.shape[1], len(X)))
    keep = np.zeros(X.shape[1], dtype=bool)
    found = 0
    for j in np.flatnonzero(candidates):
        rest = X[:, j]
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            rest = rest - (basis[:found] @ rest) @ basis[:found]
        norm = np.linalg.norm(rest)
        if norm > ALIAS_TOLERANCE:
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
        What makes a row.

    Returns
    -------
    first : ndarray of int, shape (m,)
    of_row : ndarray of int, shape (n,)
        Row i equals row ``first[of_row[i]]``. None instead of both where there are fewer than
        ``2 * _GLANCE`` rows or more than half of them are distinct.
    """
    n = len(arrays[0])
    if n < 2 * _GLANCE:
        return None
    some = mixed_columns([a[:: n // _GLANCE] for a in arrays])
    if len(np.unique(some)) > _MOSTLY_DISTINCT * len(some):
        return None
    # equal rows may not be the only ones that mix to the same number
    _, first, of_row = np.unique(mixed_columns(arrays), return_index=True, return_inverse=True)
    if 2 * len(first) > n:
        return None
    same = all(np.array_equal(a[first][of_row], a, equal_nan=True) for a in arrays)
    return (first, of_row) if same else None


def mixed_columns(arrays: list[Array]) -> Array:
    """Return a random combination of all columns, which tells rows apart, shape (n,)."""
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
