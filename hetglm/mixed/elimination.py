"""
Elimination of the random effects of a linear mixed model from its cross-products.

H = Lambda'Z'WZ Lambda + I. Its block F of the first factor is block-diagonal, a stack of small
matrices; what the effects of the other factors have left after it, S, is dense (Bates, Maechler,
Bolker and Walker 2015; MixedModels.jl). V = W^-1 + Z Lambda Lambda'Z' is the covariance of y over phi.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg.lapack import dpotrf, dpotri

from hetglm.mixed.cross_products import CrossProducts
from hetglm.typing import Array

#: Numbers of a block of rows of a dense product with S^-1: it stays small beside the data.
MAX_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True)
class Elimination:
    """
    H at one Lambda, with its first block and the rest eliminated.

    Attributes
    ----------
    cross : CrossProducts
    Lambda : list of ndarray, each of shape (k, k)
        Of the factors in the order of ``cross``.
    logdet : float
        log|H|.
    inverse : ndarray, shape (k, k, G)
        F^-1.
    rest : Rest or None
        What concerns the other factors.
    """

    cross: CrossProducts
    Lambda: list[Array]
    logdet: float
    inverse: Array
    rest: Rest | None = None

    def solve(self, C: Array) -> Array:
        """Return H^-1 Lambda'C, shape (Q, m)."""
        first, rest = self.cross.parts[0], self.rest
        LC = times_Lambda(C[first], self.Lambda[:1], self.cross.sizes[:1], transposed=True)
        head = times_stack(self.inverse, LC)
        if rest is None:
            return head
        others, sizes = self.Lambda[1:], self.cross.sizes[1:]
        left = times_Lambda(C[first.stop :] - rest.Y.T @ LC, others, sizes, transposed=True)
        tail = rest.S_inverse @ left
        return np.concatenate([head - rest.Y @ times_Lambda(tail, others, sizes), tail])

    def projected(self, C: Array) -> tuple[Array, Array]:
        """Return H^-1 Lambda'C and, of C = Z'W A, what V leaves of it: Z'V^-1 A; (Q, m) each."""
        U = self.solve(C)
        return U, C - self.cross.of_effects(self.of_u(U))

    def of_u(self, U: Array) -> Array:
        """Return b = Lambda u, shape (Q, m)."""
        return times_Lambda(U, self.Lambda, self.cross.sizes)

    def precisions(self) -> list[tuple[Array, Array]]:
        """Return sums over the groups of each factor of the blocks of K = Z'V^-1 Z and K Lambda."""
        k, G = self.cross.sizes[0]
        S, L = self.cross.within, self.Lambda[0]
        SL = np.einsum("abg,bc->acg", S, L)
        KL = np.einsum("abg,bcg->acg", SL, self.inverse)
        blocks = S
        found: list[tuple[Array, Array]] = []
        if self.rest is not None:
            more, blocks_more, found = self.rest.precisions(self)
            KL, blocks = KL - more, S - blocks_more
        K = blocks.sum(axis=2) - KL.reshape(k, -1) @ SL.reshape(k, k, G).reshape(k, -1).T
        return [(K, KL.sum(axis=2)), *found]

    def within_precisions(self) -> Array:
        """Return the blocks of K = Z'V^-1 Z of the groups of the only factor, shape (k, k, G)."""
        SL = np.einsum("abg,bc->acg", self.cross.within, self.Lambda[0])
        return self.cross.within - np.einsum("abg,bcg,dcg->adg", SL, self.inverse, SL)

    def covariances(self) -> list[Array]:
        """Return the diagonal blocks of Lambda H^-1 Lambda', each of shape (G, k, k)."""
        inverse = self.inverse
        found: list[Array] = []
        if self.rest is not None:
            more, found = self.rest.covariances(self)
            inverse = inverse + more
        return [
            L @ H.transpose(2, 0, 1) @ L.T
            for L, H in zip(self.Lambda, [inverse, *found], strict=True)
        ]


@dataclass(frozen=True)
class Rest:
    """
    The effects of all factors but the first after its elimination.

    With V_1 the covariance of the rows by the first factor alone; matrices with G rows of groups are
    sparse where few pairs of groups have rows in common.

    Attributes
    ----------
    FR : matrix, shape (k G, r)
        Z'WZ between the first factor and the others.
    Y : matrix, shape (k G, r)
        F^-1 Lambda'Z'WZ.
    left : matrix, shape (k G, r)
        Z'V_1^-1 Z between the first factor and the others.
    B : ndarray, shape (r, r)
        Z'V_1^-1 Z of the others.
    BL : ndarray, shape (r, r)
        B Lambda.
    S_inverse, E : ndarray, shape (r, r)
        S^-1 = (I + Lambda'B Lambda)^-1 and Lambda S^-1 Lambda'.
    """

    FR: Any
    Y: Any
    left: Any
    B: Array
    BL: Array
    S_inverse: Array
    E: Array

    def precisions(self, of: Elimination) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """
        Return what the others take from the blocks of the first factor, and their own sums.

        Returns
        -------
        KL, K : ndarray, shape (k, k, G)
            To be subtracted from S Lambda F^-1 and from Z'WZ, for the first factor.
        sums : list of (ndarray, ndarray)
            Sums of the blocks of K and K Lambda for each other factor.
        """
        KL, K = self._by_group(self.left, [self.Y, self.FR], of.cross.sizes[0])
        N = self.BL @ self.S_inverse
        sums = []
        for rows, (k, G) in zip(of.cross.rest_parts, of.cross.sizes[1:], strict=True):
            taken = N[rows].reshape(k, -1) @ self.BL[rows].reshape(k, -1).T
            own = sum_of_blocks(self.B[rows, rows], k, G) - taken
            sums.append((own, sum_of_blocks(N[rows, rows], k, G)))
        return KL, K, sums

    def covariances(self, of: Elimination) -> tuple[Array, list[Array]]:
        """Return Y E Y' by groups of the first factor, and the blocks of S^-1; (k, k, G) each."""
        parts = zip(of.cross.rest_parts, of.cross.sizes[1:], strict=True)
        found = [
            np.einsum("agbg->abg", self.S_inverse[rows, rows].reshape(k, G, k, G))
            for rows, (k, G) in parts
        ]
        return self._by_group(self.Y, [self.Y], of.cross.sizes[0])[0], found

    def _by_group(self, left: Any, rights: list[Any], size: tuple[int, int]) -> Array:
        """Return left E right' by groups of the first factor for each right, (., k, k, G)."""
        k, G = size
        out = np.empty((len(rights), k, k, G))
        step = max(1, MAX_BLOCK_CELLS // len(self.E))
        for start in range(0, G, step):
            stop = min(G, start + step)
            for a in range(k):
                dense = left[a * G + start : a * G + stop] @ self.E
                for which, b in np.ndindex(len(rights), k):
                    rows = rights[which][b * G + start : b * G + stop]
                    out[which, a, b, start:stop] = row_sums(rows, dense)
        return out


def eliminate(cross: CrossProducts, Lambda: list[Array]) -> Elimination:
    """Return H at Lambda with its blocks eliminated."""
    k, G = cross.sizes[0]
    L = Lambda[0]
    LSL = (np.kron(L, L).T @ cross.within.reshape(k * k, G)).reshape(k, k, G)
    inverse, logdet = inverse_of_stack(LSL + np.eye(k)[:, :, None])
    first = Elimination(cross, Lambda, float(logdet.sum()), inverse)
    return first if cross.others is None else eliminate_rest(first)


def eliminate_rest(first: Elimination) -> Elimination:
    """Return H with the other factors eliminated after the first."""
    cross, L = first.cross, first.Lambda[0]
    transposed = np.repeat(L.T[:, :, None], cross.sizes[0][1], axis=2)
    across = blocks_times(transposed, cross.between)
    Y = blocks_times(first.inverse, across)
    left = cross.between - blocks_times(np.einsum("abg,bc->acg", cross.within, L), Y)
    B = as_array(cross.others - across.T @ Y)
    others, sizes = first.Lambda[1:], cross.sizes[1:]
    BL = times_Lambda(B, others, sizes, transposed=True).T
    S = np.eye(len(B)) + times_Lambda(BL, others, sizes, transposed=True)
    factor, failed = dpotrf(S, lower=1)
    assert not failed
    half, _ = dpotri(factor, lower=1)
    S_inverse = half + half.T
    S_inverse[np.diag_indices(len(S))] /= 2
    E = times_Lambda(times_Lambda(S_inverse, others, sizes).T, others, sizes)
    logdet = first.logdet + 2 * float(np.sum(np.log(np.diag(factor))))
    rest = Rest(cross.between, Y, left, B, BL, S_inverse, E)
    return Elimination(cross, first.Lambda, logdet, first.inverse, rest)


def times_Lambda(
    V: Array, Lambda: list[Array], sizes: tuple[tuple[int, int], ...], transposed: bool = False
) -> Array:
    """Return Lambda V, or Lambda'V, of the effects of some factors, shape (Q, m)."""
    parts, at = [], 0
    for L, (k, G) in zip(Lambda, sizes, strict=True):
        block = V[at : at + k * G]
        at += k * G
        parts.append(((L.T if transposed else L) @ block.reshape(k, -1)).reshape(block.shape))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def inverse_of_stack(F: Array) -> tuple[Array, Array]:
    """
    Return the inverses of positive definite matrices and their log determinants.

    By the sweep operator on all matrices at once (Goodnight 1979): far faster than LAPACK for many
    small ones.

    Parameters
    ----------
    F : ndarray, shape (k, k, G)

    Returns
    -------
    inverse : ndarray, shape (k, k, G)
    logdet : ndarray, shape (G,)
    """
    A, logdet = np.array(F), np.zeros(F.shape[2])
    for j in range(len(A)):
        pivot = A[j, j].copy()
        logdet += np.log(pivot)
        row = A[j] / pivot
        column = A[:, j].copy()
        A -= column[:, None] * row
        A[j] = row
        A[:, j] = -column / pivot
        A[j, j] = 1 / pivot
    return A, logdet


def times_stack(A: Array, V: Array) -> Array:
    """Return the product of each group's matrix with its rows of V; (k, k, G) with (k G, m)."""
    k, _, G = A.shape
    return np.einsum("abg,bgm->agm", A, V.reshape(k, G, -1)).reshape(len(V), -1)


def block_diagonal(A: Array) -> Any:
    """Return a stack of shape (k, k, G) as a sparse matrix of shape (k G, k G)."""
    k, _, G = A.shape
    columns = np.arange(G)[:, None] + np.arange(k) * G
    data = np.ascontiguousarray(A.transpose(0, 2, 1)).ravel()
    return sparse.csr_matrix((data, np.tile(columns.ravel(), k), np.arange(0, k * k * G + 1, k)))


def blocks_times(A: Array, M: Any) -> Any:
    """Return the product of each group's matrix with its rows of a sparse or dense matrix."""
    return block_diagonal(A) @ M if sparse.issparse(M) else times_stack(A, M)


def as_array(M: Any) -> Array:
    """Return a sparse or dense matrix as an array."""
    return np.asarray(M.toarray() if sparse.issparse(M) else M)


def row_sums(A: Any, B: Array) -> Array:
    """Return the sums over rows of the elementwise product of a sparse or dense matrix with another."""
    if sparse.issparse(A):
        return np.asarray(A.multiply(B).sum(axis=1)).ravel()
    return np.asarray(np.einsum("ij,ij->i", A, B))


def sum_of_blocks(A: Array, k: int, G: int) -> Array:
    """Return the sum of the blocks of each group with itself; (k G, k G) to (k, k)."""
    return np.asarray(np.einsum("agbg->ab", A.reshape(k, G, k, G)))
