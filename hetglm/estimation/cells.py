"""
Cells with a dispersion of their own: where one of them may have another maximum.

A cell of few rows can have two maxima, one inside and one at phi = 0: with y = 7, 22, 2 of n = 7, 29, 5
the binomial is likelier than the best sigma > 0. What a cell can make of another dispersion is bounded
by its profile with a mean of its own, which is cheap on a grid: all cells and points at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from hetglm.estimation.record import Fit
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import invert
from hetglm.typing import Array
from hetglm.utils.linalg import inverse, mixed_columns

#: Standard error of a cell's log phi from which on another maximum of the cell is looked for.
DOUBTFUL = 0.5
#: Dispersions of a cell that are tried: 0, and from LOW over its mean size up to a log phi of HIGH.
GRID, LOW, HIGH = 9, 0.2, 4.0
#: Steps to the maximum over the cell's mean, the longest and one that is none; the share kept of one
#: that is too long.
SHIFTS, LONGEST, SHORTEST, SHORTER = 8, 2.0, 1e-3, 0.3
#: Log-likelihood that may be gained between two points of the grid, and what must be gained at all.
BETWEEN, DISTINCT = 0.3, 1e-5
#: Size times phi from which a search for phi = 0 starts, and the largest log phi of a start.
LOWEST, HIGHEST = 1e-3, 5.0
#: Rows that show that a design has more distinct ones than columns.
GLANCE = 500


def saturated_cells(likelihood: Likelihood, estimated: Array) -> Array | None:
    """Return each row's cell, None where cells do not all have a dispersion of their own."""
    Z, q = likelihood.Z, int(estimated[likelihood.k_mean :].sum())
    # a glance shows that most designs have more distinct rows
    if len(np.unique(mixed_columns([Z[:: 1 + len(Z) // GLANCE]]))) > q:
        return None
    values, of_row = np.unique(mixed_columns([Z]), return_inverse=True)
    return np.asarray(of_row) if len(values) <= q else None


def doubtful(found: Fit, likelihood: Likelihood, cells: Array) -> Array:
    """Return the rows of cells whose dispersion is zero or hardly known."""
    covariance, k = inverse(found.information), likelihood.k_mean
    zero = np.zeros(likelihood.n, dtype=bool) if found.boundary is None else found.boundary.rows
    if covariance is None:
        return np.ones(likelihood.n, dtype=bool)
    free = int(found.solved[:k].sum())
    Z = likelihood.Z[:, found.solved[k:]]
    variance = np.sum((Z @ covariance[free:, free:]) * Z, axis=1)
    # rows of one trial are not fixed, but of the cell
    return np.bincount(cells, zero | (variance > DOUBTFUL**2))[cells] > 0


def other_starts(
    likelihood: Likelihood, estimated: Array, found: Fit, cells: Array, doubtful: Array
) -> Iterator[Array]:
    """
    Yield starting values with another dispersion of all cells that promise more by it, then of each.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    found : Fit
    cells : ndarray of int, shape (n,)
        From `saturated_cells`.
    doubtful : ndarray of bool, shape (n,)
        Rows of the cells to look at.
    """
    fixed = None if found.boundary is None else found.boundary.fixed_predictor
    at = replace(likelihood, fixed_predictor=fixed).predictors(found.internal)
    rows = np.flatnonzero(doubtful)
    names, of_row = np.unique(cells[rows], return_inverse=True)
    zeta_here = np.full(len(names), np.inf)
    np.minimum.at(zeta_here, of_row, at.zeta[rows])
    inner = likelihood.take(rows)
    grid = _grid(inner, of_row)
    values, shifts, slopes = _profiles(inner, of_row, at.eta[rows], grid)
    here = np.bincount(of_row, _at_points(inner, at.eta[rows], at.zeta[rows])[0])
    points = [
        _other_maximum(*cell) for cell in zip(values, slopes, grid, zeta_here, here, strict=True)
    ]
    promising = [(c, j) for c, j in enumerate(points) if j is not None]
    lowest = np.log(LOWEST / likelihood.boundary_family.boundary_scale(likelihood.rows))
    alone = [[each] for each in promising] if len(promising) > 1 else []
    for some in [promising, *alone] if promising else ():
        eta, zeta = np.array(at.eta), np.clip(at.zeta, lowest, HIGHEST)
        for c, j in some:
            of_cell = cells == names[c]
            eta[of_cell] += shifts[c, j]
            zeta[of_cell] = np.maximum(grid[c, j], lowest[of_cell].min())
        yield _coefficients(likelihood, estimated, eta, zeta)


def _coefficients(likelihood: Likelihood, estimated: Array, eta: Array, zeta: Array) -> Array:
    """Return the coefficients whose predictors are nearest to these."""
    k = likelihood.k_mean
    out = np.zeros(len(estimated))
    for A, target, offset, part in (
        (likelihood.X, eta, likelihood.offset, slice(0, k)),
        (likelihood.Z, zeta, likelihood.offset_dispersion, slice(k, None)),
    ):
        kept = estimated[part]
        right = target if offset is None else target - offset
        out[part][kept] = np.linalg.lstsq(A[:, kept], right, rcond=None)[0]
    return out


def _grid(inner: Likelihood, of_row: Array) -> Array:
    """Return log dispersions of each cell, from zero to far above 1, shape (cells, GRID)."""
    size = np.bincount(of_row, inner.boundary_family.boundary_scale(inner.rows)) / np.bincount(
        of_row
    )
    low = np.log(LOW / size)[:, None]
    share = np.linspace(0.0, 1.0, GRID - 1)
    return np.hstack([np.full_like(low, -np.inf), low + share * (HIGH - low)])


def _at_points(inner: Likelihood, eta: Array, zeta: Array) -> tuple[Array, Array, Array, Array]:
    """Return log-likelihood, its two derivatives in eta, and that in phi, of rows at predictors."""
    mean = invert(inner.link, eta)
    nu = mean.nu if inner.family.unit_interval else None
    t = inner.family.evaluate(inner.rows, mean.mu, nu, inner.row_phi(np.exp(zeta)), 2)
    assert t.mu is not None and t.mu_mu is not None and t.phi is not None
    weight: Any = 1.0 if inner.freq is None else inner.freq
    first, second = t.mu * mean.d1, t.mu_mu * mean.d1**2 + t.mu * mean.d2
    return t.loglike * weight, first * weight, second * weight, t.phi * weight


def _profiles(
    inner: Likelihood, of_row: Array, eta: Array, grid: Array
) -> tuple[Array, Array, Array]:
    """
    Return the profile of each cell over its grid, with a shift of its linear predictor maximised.

    Returns
    -------
    values, shifts, slopes : ndarray, shape (cells, GRID)
        The slopes are those in phi.
    """
    n, shape = len(of_row), grid.shape
    many = inner.take(np.tile(np.arange(n), GRID))
    point = (of_row * GRID + np.arange(GRID)[:, None]).ravel()
    zeta, base = grid.ravel()[point], np.tile(eta, GRID)
    best, slope, taken, step = np.zeros((4, grid.size))
    best -= np.inf
    for _ in range(SHIFTS):
        rows = _at_points(many, base + (taken + step)[point], zeta)
        value, first, second, score = (np.bincount(point, a, grid.size) for a in rows)
        better = value >= best
        best, slope = np.where(better, value, best), np.where(better, score, slope)
        taken = np.where(better, taken + step, taken)
        with np.errstate(all="ignore"):
            newton = np.where(second < 0, first / -second, np.sign(first))
        newton = np.clip(np.nan_to_num(newton), -LONGEST, LONGEST)
        step = np.where(better, newton, SHORTER * step)
        if np.max(np.abs(step)) < SHORTEST:
            break
    return best.reshape(shape), taken.reshape(shape), slope.reshape(shape)


def _other_maximum(
    values: Array, slopes: Array, grid: Array, zeta: float, here: float
) -> int | None:
    """Return which point of a cell's grid is near another maximum that may be higher, None if none."""
    at_zero = values[0] if slopes[0] <= 0 and zeta > -np.inf else -np.inf
    # between a point where the profile rises and the next, where it falls, there is a maximum
    falls = np.append(slopes[1:] <= 0, True)
    peak = (slopes > 0) & falls
    after = np.append(grid[1:], np.inf)
    beside = (grid <= zeta) & (zeta <= after)
    higher = np.maximum(values, np.append(values[1:], -np.inf))
    promise = np.where(peak & ~beside, higher + BETWEEN, -np.inf)
    j = int(np.argmax(promise))
    if at_zero >= promise[j]:
        return 0 if at_zero > here + DISTINCT else None
    if not promise[j] > here + DISTINCT:
        return None
    return j + 1 if j == 0 or (j + 1 < len(grid) and values[j + 1] > values[j]) else j
