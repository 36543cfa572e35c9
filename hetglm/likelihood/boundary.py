"""
Directions of recession, and the boundary of the dispersion they lead to: phi = 0 and phi = infinity.

Where some rows are less variable than phi = 0 allows, the supremum of the likelihood is at log phi =
-infinity for them: the coefficients diverge along a direction of recession delta (Rockafellar 1970;
Geyer 2009), with Z delta = 0 on the other rows and Z delta < 0 on these. Rows of extreme response (no
success or no failure) may go to log phi = infinity. Such a direction is found from the rows whose phi
is near the boundary: it lies in the null space of Z on the other rows, and by nonnegative least
squares it takes as many of these rows as possible to the boundary (`recession`). The same function
finds the rows of a separated mean.

References
----------
Geyer, C. J. (2009). Likelihood inference in exponential families and directions of recession.
Electronic Journal of Statistics 3, 259-289.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from hetglm.typing import Array
from hetglm.utils.display import Printed
from hetglm.utils.linalg import distinct_rows, independent_columns

#: Relative size below which a product with a direction is zero: rounding of the designs.
TOL_ZERO = 1e-8

#: Rounding of a sum of weights that is 1 in exact arithmetic.
TOL_SUM = 1e-14

#: Probe size for full column rank: the null space of a long design is usually empty on these rows.
N_PROBE_ROWS = 1000


@dataclass(frozen=True, repr=False)
class Boundary(Printed):
    """
    Rows whose dispersion is zero, or infinite, at the supremum of the likelihood.

    Attributes
    ----------
    rows : ndarray of bool, shape (n,)
        Rows of the fit with dispersion zero.
    infinite : ndarray of bool, shape (n,)
        Rows of the fit with infinite dispersion: their response is extreme.
    directions : ndarray, shape (q, r)
        Basis of the directions in which the dispersion's coefficients diverge.
    terms : list of str
        Coefficients without a finite estimate.
    cells, infinite_cells : ndarray, shapes (m, q)
        Distinct rows of the dispersion's design with dispersion zero, and infinite.
    """

    rows: Array
    infinite: Array
    directions: Array
    terms: list[str]
    cells: Array
    infinite_cells: Array

    def _headline(self) -> str:
        zero, infinite = int(self.rows.sum()), int(self.infinite.sum())
        return f"Boundary: dispersion 0 in {zero} rows, infinite in {infinite}"

    def _body(self) -> list[str | pd.DataFrame]:
        cells = np.vstack([self.cells, self.infinite_cells])
        limits = ["0"] * len(self.cells) + ["infinite"] * len(self.infinite_cells)
        table = pd.DataFrame(cells, limits).rename_axis("dispersion", axis=0)
        return [f"Without a finite estimate: {', '.join(self.terms)}", table]

    @property
    def fixed_predictor(self) -> Array:
        """Linear predictor of the dispersion of rows at the boundary, NaN elsewhere, shape (n,)."""
        return np.where(self.rows, -np.inf, np.where(self.infinite, np.inf, np.nan))

    def of_rows(self, of_row: Array) -> Boundary:
        """Return the boundary for other rows, ``of_row`` the row of this one that each repeats."""
        return replace(self, rows=self.rows[of_row], infinite=self.infinite[of_row])

    def place(self, Z: Array) -> tuple[Array, Array]:
        """
        Return the infinite log dispersion of new rows, and the rows where it is not determined.

        Parameters
        ----------
        Z : ndarray, shape (n, q)
            Designs of the dispersion.

        Returns
        -------
        fixed : ndarray, shape (n,)
            -inf, inf, or NaN where log phi is finite.
        unknown : ndarray of bool, shape (n,)
        """
        change = Z @ self.directions
        size = np.linalg.norm(Z, axis=1, keepdims=True) + np.isnan(Z).any(axis=1, keepdims=True)
        away = np.any(np.abs(change) > TOL_ZERO * size, axis=1)
        down = np.vstack([self.cells @ self.directions, -self.infinite_cells @ self.directions]).T
        fixed = np.full(len(Z), np.nan)
        for i in np.flatnonzero(away):
            falls, rises = (
                nnls(down, sign * change[i])[1] < TOL_ZERO * size[i, 0] for sign in (1, -1)
            )
            if falls != rises:
                fixed[i] = -np.inf if falls else np.inf
        return fixed, away & np.isnan(fixed)


def recession(
    Z: Array, signs: Array, unconstrained: Array | None = None
) -> tuple[Array, Array, Array]:
    """
    Return the rows whose predictor can diverge together, and the directions of recession.

    Parameters
    ----------
    Z : ndarray, shape (n, q)
        Design, of full rank.
    signs : ndarray, shape (n,)
        -1 where a row's predictor may go to -infinity, 1 where to infinity, 0 where it must stay.
    unconstrained : ndarray of bool, shape (n,), optional
        Rows whose predictor may change in any way.

    Returns
    -------
    rows : ndarray of bool, shape (n,)
    directions : ndarray, shape (q, r)
        Basis of those that leave the other rows unchanged; r is 0 where no row can diverge.
    direction : ndarray, shape (q,)
        One that changes the predictor of every such row by at least 1 in size.
    """
    bound = np.ones(len(Z), bool) if unconstrained is None else ~unconstrained
    signs = np.where(bound, signs, 0.0)
    if not signs.any():
        return signs != 0, np.zeros((Z.shape[1], 0)), np.zeros(Z.shape[1])
    alike = distinct_rows([Z, signs, bound])
    if alike is None:
        return _recession(Z, signs, bound)
    first, of_row = alike
    rows, directions, direction = _recession(Z[first], signs[first], bound[first])
    return rows[of_row], directions, direction


def _recession(Z: Array, signs: Array, bound: Array) -> tuple[Array, Array, Array]:
    """Return what `recession` returns, by dropping rows until all that are left can diverge."""
    rows = signs != 0
    none = np.zeros((Z.shape[1], 0))
    while rows.any():
        directions = null_space(Z, np.flatnonzero(bound & ~rows))
        if directions.shape[1] == 0:
            break
        change = Z[rows] @ directions * -signs[rows, None]
        # rounding of a sum that cancels is no change
        change[np.abs(change) < TOL_ZERO * (np.abs(Z[rows]) @ np.abs(directions))] = 0.0
        size = np.max(np.abs(change), axis=0)
        cells, of_row = np.unique(
            change / np.where(size > 0, size, 1.0), axis=0, return_inverse=True
        )
        decreasing, combination = _decreasing(cells)
        decreasing = decreasing[of_row.ravel()]
        if decreasing.all():
            return rows, directions, directions @ (combination / np.where(size > 0, size, 1.0))
        rows[np.flatnonzero(rows)[~decreasing]] = False
    return np.zeros(len(Z), dtype=bool), none, np.zeros(Z.shape[1])


def null_space(Z: Array, rows: NDArray[np.intp]) -> Array:
    """Return a basis of the null space of some rows, shape (q, r), one vector a dependent column."""
    q, stride = Z.shape[1], len(rows) // N_PROBE_ROWS
    if stride > 1 and independent_columns(Z[rows[::stride]]).all():
        return np.zeros((q, 0))
    Z = Z[rows]
    keep = independent_columns(Z)
    return np.zeros((q, 0)) if keep.all() else combinations(Z, keep)


def combinations(Z: Array, keep: Array) -> Array:
    """Return a null-space basis: each column not kept, less its combination of kept ones, (q, r)."""
    size = np.max(np.abs(Z), axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    Z = Z / size
    basis = np.zeros((len(keep), int((~keep).sum())))
    basis[~keep] = np.eye(basis.shape[1])
    if keep.any():
        basis[keep] = -np.linalg.lstsq(Z[:, keep], Z[:, ~keep], rcond=None)[0]
    basis[np.abs(basis) < TOL_ZERO] = 0.0
    return basis / size[:, None]


def _decreasing(cells: Array) -> tuple[Array, Array]:
    """
    Return which rows of ``cells`` may decrease along one direction c, and c where all of them do.

    By Gordan's theorem there is either a c with cells c < 0, or weights >= 0, not all zero, with
    weights' cells = 0; rows with such a weight cannot decrease unless another increases. Nonnegative
    least squares for weights' cells = 0 and a sum of 1 decides: its residual is c.
    """
    m, r = cells.shape
    norm = np.linalg.norm(cells, axis=1)
    if not norm.all():
        return norm > 0, np.zeros(r)
    common = np.linalg.lstsq(cells, -np.ones(m), rcond=None)[0]
    if np.all(cells @ common < -0.5):
        return np.ones(m, dtype=bool), 2 * common
    lifted, goal = np.vstack([cells.T / norm, np.ones(m)]), np.append(np.zeros(r), 1.0)
    try:
        weights = nnls(lifted, goal)[0]
    except RuntimeError:  # the iteration limit of nnls
        return np.zeros(m, dtype=bool), np.zeros(r)
    rest = goal - lifted @ weights
    c = rest[:r] / max(rest[r], TOL_SUM)
    if np.all(lifted[:r].T @ c < -0.5):
        return np.ones(m, dtype=bool), 2 * c / norm.min()
    return weights <= TOL_ZERO, np.zeros(r)
