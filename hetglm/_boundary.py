"""
The boundary phi = 0 of a likelihood that is finite there, as a result and not as a failure.

Where some rows are no more variable than phi = 0 allows, the supremum of the likelihood lies at
log phi = -infinity for them: the coefficients run off along a direction delta with Z delta = 0 on
the other rows and Z delta < 0 on these. Such directions are found from the rows whose dispersion has
become negligible: the null space of Z on the rest (`recession`), and inside it, by linear programming,
a direction that takes as many of these rows as possible to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, nnls

from hetglm._linalg import independent_columns

Array = NDArray[Any]

#: Relative size below which a product with a direction is zero.
ZERO = 1e-8


@dataclass(frozen=True)
class Boundary:
    """
    Rows whose dispersion is zero at the supremum of the likelihood.

    Attributes
    ----------
    rows : ndarray of bool, shape (n,)
        Which rows of the fit.
    directions : ndarray, shape (q, r)
        Basis of the directions of the dispersion's coefficients along which they run to infinity.
    terms : list of str
        Coefficients without a finite estimate.
    cells : ndarray, shape (m, q)
        Distinct rows of the dispersion's design at the boundary.
    """

    rows: Array
    directions: Array
    terms: list[str]
    cells: Array

    def place(self, Z: Array) -> tuple[Array, Array]:
        """
        Return which new rows have dispersion zero, and of which nothing can be said.

        Parameters
        ----------
        Z : ndarray, shape (n, q)
            Designs of the dispersion.
        """
        moved = Z @ self.directions
        size = np.linalg.norm(Z, axis=1, keepdims=True) + np.isnan(Z).any(axis=1, keepdims=True)
        away = np.any(np.abs(moved) > ZERO * size, axis=1)
        generators = (self.cells @ self.directions).T
        zero = np.zeros(len(Z), dtype=bool)
        for i in np.flatnonzero(away):
            zero[i] = nnls(generators, moved[i])[1] < ZERO * size[i, 0]
        return zero, away & ~zero


def recession(Z: Array, negligible: Array) -> tuple[Array, Array]:
    """
    Return the rows that can go to zero dispersion together, and the directions that take them there.

    Parameters
    ----------
    Z : ndarray, shape (n, q)
        Design of the dispersion, of full rank.
    negligible : ndarray of bool, shape (n,)
        Rows whose dispersion cannot be told from zero.

    Returns
    -------
    rows : ndarray of bool, shape (n,)
    directions : ndarray, shape (q, r)
        A basis; r is 0 where no direction leaves the other rows alone.
    """
    rows = np.array(negligible)
    while rows.any():
        directions = _null_space(Z[~rows])
        cells, of_row = np.unique(Z[rows] @ directions, axis=0, return_inverse=True)
        moving = _moving(cells)[of_row.ravel()]
        if directions.shape[1] == 0 or moving.all():
            return (rows, directions) if directions.shape[1] else (rows & False, directions)
        rows[np.flatnonzero(rows)[~moving]] = False
    return rows, np.zeros((Z.shape[1], 0))


def _null_space(Z: Array) -> Array:
    """Return a basis of the null space of Z, shape (q, r), a vector for each dependent column."""
    q = Z.shape[1]
    scale = np.sqrt(np.einsum("ij,ij->j", Z, Z))
    keep = independent_columns(Z)
    if keep.all():
        return np.zeros((q, 0))
    # each dependent column, less its combination of the kept ones
    basis = np.zeros((q, int((~keep).sum())))
    for i, j in enumerate(np.flatnonzero(~keep)):
        basis[j, i] = 1.0
        if keep.any() and scale[j] > 0:
            basis[keep, i] = -np.linalg.lstsq(Z[:, keep], Z[:, j], rcond=None)[0]
    basis[np.abs(basis) < ZERO] = 0.0
    return basis


def _moving(cells: Array) -> Array:
    """Return which rows of ``cells`` are negative along one common direction c, as many as can be."""
    m, r = cells.shape
    if r == 0:
        return np.zeros(m, dtype=bool)
    # maximise sum t subject to cells c + t <= 0, 0 <= t <= 1
    result = linprog(
        np.r_[np.zeros(r), -np.ones(m)],
        A_ub=np.hstack([cells, np.eye(m)]),
        b_ub=np.zeros(m),
        bounds=[(None, None)] * r + [(0, 1)] * m,
    )
    return np.asarray(result.x[r:] > 0.5) if result.success else np.zeros(m, dtype=bool)
