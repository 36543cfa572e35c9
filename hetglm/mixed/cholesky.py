"""
Blocked Cholesky factorisation of H, and those blocks of its inverse that belong to rows.

The factor with the most effects has a block-diagonal part F of H, a stack of small matrices that is
eliminated first; what is left is a dense Schur complement S (as in MixedModels.jl, D. Bates).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dpotri

from hetglm.typing import Array


class Indefinite(Exception):
    """
    Raised where H is not positive definite.

    Attributes
    ----------
    groups : ndarray of bool, shape (G,), or None
        Whose blocks of F are not; None where only the Schur complement is not.
    """

    def __init__(self, groups: Array | None) -> None:
        super().__init__("not positive definite")
        self.groups = groups


class Inverse(NamedTuple):
    """Blocks of H^-1: FF of shape (G, k, k), FR of shape (G, k, r), RR of shape (r, r)."""

    FF: Array
    FR: Array
    RR: Array


def inverse_factors(F: Array) -> Array:
    """
    Return the inverses of the Cholesky factors of a stack of matrices, shape (G, k, k).

    Raises
    ------
    Indefinite
        With the groups whose matrix is not positive definite.
    """
    if F.shape[1] == 1:
        bad = ~(F[:, 0, 0] > 0)
        if bad.any():
            raise Indefinite(bad)
        return 1 / np.sqrt(F)
    try:
        return np.linalg.inv(np.linalg.cholesky(F))
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(F)[:, 0]
        bad = smallest <= np.maximum(smallest.min(), 0)
        raise Indefinite(bad) from None


@dataclass(frozen=True)
class BlockedCholesky:
    """
    Factorisation of H = [[F, FR], [FR', RR]].

    Parameters
    ----------
    F : ndarray, shape (G, k, k)
        Diagonal blocks of the first factor.
    FR : ndarray or scipy.sparse matrix, shape (G k, r)
        Sparse where few pairs of groups have rows in common.
    RR : ndarray, shape (r, r)

    Raises
    ------
    Indefinite
        If H is not positive definite.
    """

    F: Array
    FR: Any
    RR: Array

    def __post_init__(self) -> None:
        """Factorise at once."""
        assert self.roots is not None
        assert self.schur is not None

    @cached_property
    def roots(self) -> Array:
        """Inverse Cholesky factors of the blocks of F, shape (G, k, k)."""
        return inverse_factors(self.F)

    @cached_property
    def inverse_F(self) -> Array:
        """Inverses of the blocks of F, shape (G, k, k)."""
        return np.einsum("gij,gik->gjk", self.roots, self.roots)

    @cached_property
    def Y(self) -> Any:
        """F^-1 FR, shape (G k, r), sparse where FR is."""
        G, k = self.F.shape[:2]
        if sparse.issparse(self.FR):
            blocks = self.inverse_F, np.arange(G), np.arange(G + 1)
            return sparse.bsr_matrix(blocks, shape=(G * k, G * k)).tocsr() @ self.FR
        return (self.inverse_F @ self.FR.reshape(G, k, -1)).reshape(G * k, -1)

    @cached_property
    def schur(self) -> Array:
        """Lower Cholesky factor of S = RR - FR' F^-1 FR, shape (r, r)."""
        if not len(self.RR):
            return self.RR
        product = self.FR.T @ self.Y
        try:
            return np.linalg.cholesky(
                self.RR - (product.toarray() if sparse.issparse(product) else product)
            )
        except np.linalg.LinAlgError:
            raise Indefinite(None) from None

    @property
    def logdet(self) -> float:
        """Logarithm of the determinant of H."""
        return float(self.logdets.sum() + 2 * np.log(np.diag(self.schur)).sum())

    @property
    def logdets(self) -> Array:
        """Logarithm of the determinant of each block of F, shape (G,)."""
        return np.asarray(-2 * np.log(np.einsum("gjj->gj", self.roots)).sum(axis=1))

    def solve(self, of_F: Array, of_R: Array) -> tuple[Array, Array]:
        """
        Return H^-1 times right-hand sides.

        Parameters
        ----------
        of_F : ndarray, shape (G, k, s)
        of_R : ndarray, shape (r, s)
        """
        first = self.inverse_F @ of_F
        if not len(self.RR):
            return first, of_R
        s = of_R.shape[1]
        rest = of_R - self.FR.T @ first.reshape(-1, s)
        second = cho_solve((self.schur, True), rest)
        return first - (self.Y @ second).reshape(first.shape), second

    @cached_property
    def inverse(self) -> Inverse:
        """Blocks of H^-1 on pairs of groups that have rows in common (all those of the rest)."""
        G, k = self.F.shape[:2]
        if not len(self.RR):
            return Inverse(self.inverse_F, np.empty((G, k, 0)), self.RR)
        lower = dpotri(self.schur, lower=1)[0]
        RR = np.tril(lower) + np.tril(lower, -1).T
        FR = -np.asarray(self.Y @ RR).reshape(G, k, -1)
        FF = self.inverse_F.copy()
        for j in range(k):
            Y = self.Y[j::k]
            for i in range(k):
                of_pair = Y.multiply(FR[:, i]) if sparse.issparse(Y) else Y * FR[:, i]
                FF[:, i, j] -= np.asarray(of_pair.sum(axis=1)).reshape(-1)
        return Inverse(FF, FR, RR)
