"""
Saturated dispersion models: other local maxima in single cells.

Where the dispersion has one parameter for each cell (distinct row of Z), a cell of few rows can have
two local maxima, one inside and one at phi = 0: with y = 7, 22, 2 of n = 7, 29, 5 the binomial is
likelier than the best sigma > 0. The log-likelihood that a cell can reach is bounded by its profile
over phi with a mean of its own, which is cheap on a grid: all cells and points at once.
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

#: Standard error of a cell's log phi above which another local maximum of the cell is looked for.
MAX_CELL_SE_LOG_PHI = 0.5

#: Number of dispersions of a cell on the grid: 0, and others equally spaced in log phi.
N_GRID = 9

#: Boundary scale times phi at the lowest positive point of the grid.
MIN_GRID_SCALED_PHI = 0.2

#: Log phi at the highest point of the grid.
MAX_GRID_LOG_PHI = 4.0

#: Newton steps for a cell's mean at each point of the grid, at most.
MAX_MEAN_STEPS = 8

#: Length of such a step in the linear predictor, at most.
MAX_MEAN_STEP = 2.0

#: Length of such a step below which the maximum is reached.
TOL_MEAN_STEP = 1e-3

#: Share by which a step that lowers the log-likelihood is shortened.
STEP_SHRINKAGE = 0.3

#: Log-likelihood that the maximum between two points of the grid may lie above the higher of them.
MAX_GAIN_BETWEEN = 0.3

#: Log-likelihood that another local maximum must promise to be searched for.
MIN_LLF_DIFFERENCE = 1e-5

#: Boundary scale times phi of cells that start near phi = 0.
MIN_START_SCALED_PHI = 1e-3

#: Log phi of a start, at most.
MAX_START_LOG_PHI = 5.0

#: Number of rows of a probe for duplicates: most designs have more distinct ones than columns.
N_PROBE_ROWS = 500


def saturated_cells(likelihood: Likelihood, estimated: Array) -> Array | None:
    """Return each row's cell where the dispersion model is saturated, None where it is not."""
    Z, q = likelihood.Z, int(estimated[likelihood.k_mean :].sum())
    probe = Z[:: 1 + len(Z) // N_PROBE_ROWS]
    if len(np.unique(mixed_columns([probe]))) > q:
        return None
    values, of_row = np.unique(mixed_columns([Z]), return_inverse=True)
    return np.asarray(of_row) if len(values) <= q else None


def one_mean_each(likelihood: Likelihood, cells: Array) -> bool:
    """Return whether the rows of each cell have one mean, so that a shift of it is all it can have."""
    first = np.unique(cells, return_index=True)[1]
    own = first[np.unique(cells, return_inverse=True)[1]]
    return bool(np.array_equal(likelihood.X, likelihood.X[own]))


def uncertain(found: Fit, likelihood: Likelihood, cells: Array) -> Array:
    """Return the rows of cells whose phi is zero or whose log phi has a large standard error."""
    covariance, k = inverse(found.information), likelihood.k_mean
    zero = np.zeros(likelihood.n, dtype=bool) if found.boundary is None else found.boundary.rows
    if covariance is None:
        return np.ones(likelihood.n, dtype=bool)
    free = int(found.solved[:k].sum())
    Z = likelihood.Z[:, found.solved[k:]]
    variance = np.sum((Z @ covariance[free:, free:]) * Z, axis=1)
    # rows of one trial are not fixed at the boundary, but the cell is
    return np.bincount(cells, zero | (variance > MAX_CELL_SE_LOG_PHI**2))[cells] > 0


def cell_starts(
    likelihood: Likelihood, estimated: Array, found: Fit, cells: Array, uncertain: Array
) -> Iterator[Array]:
    """
    Yield starting values with another dispersion of every cell that may gain by it, then of each alone.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    found : Fit
    cells : ndarray of int, shape (n,)
        From `saturated_cells`.
    uncertain : ndarray of bool, shape (n,)
        Rows of the cells to look at.
    """
    fixed = None if found.boundary is None else found.boundary.fixed_predictor
    at = replace(likelihood, fixed_predictor=fixed).predictors(found.internal)
    rows = np.flatnonzero(uncertain)
    names, of_row = np.unique(cells[rows], return_inverse=True)
    zeta = np.full(len(names), np.inf)
    np.minimum.at(zeta, of_row, at.zeta[rows])
    inner = likelihood.take(rows)
    grid = _grid(inner, of_row)
    values, shifts, scores = _profiles(inner, of_row, at.eta[rows], grid)
    here = np.bincount(of_row, _at_points(inner, at.eta[rows], at.zeta[rows])[0])
    points = [_other_maximum(*cell) for cell in zip(values, scores, grid, zeta, here, strict=True)]
    chosen = [(c, j) for c, j in enumerate(points) if j is not None]
    lowest = np.log(
        MIN_START_SCALED_PHI / likelihood.boundary_family.boundary_scale(likelihood.rows)
    )
    alone = [[each] for each in chosen] if len(chosen) > 1 else []
    for some in [chosen, *alone] if chosen else ():
        eta, log_phi = np.array(at.eta), np.clip(at.zeta, lowest, MAX_START_LOG_PHI)
        for c, j in some:
            of_cell = cells == names[c]
            eta[of_cell] += shifts[c, j]
            log_phi[of_cell] = np.maximum(grid[c, j], lowest[of_cell].min())
        yield _coefficients(likelihood, estimated, eta, log_phi)


def _coefficients(likelihood: Likelihood, estimated: Array, eta: Array, zeta: Array) -> Array:
    """Return the coefficients whose predictors are nearest to these, by least squares."""
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
    """Return log phi of each cell, from phi = 0 to far above 1, shape (cells, N_GRID)."""
    scale = np.bincount(of_row, inner.boundary_family.boundary_scale(inner.rows)) / np.bincount(
        of_row
    )
    low = np.log(MIN_GRID_SCALED_PHI / scale)[:, None]
    share = np.linspace(0.0, 1.0, N_GRID - 1)
    return np.hstack([np.full_like(low, -np.inf), low + share * (MAX_GRID_LOG_PHI - low)])


def _at_points(inner: Likelihood, eta: Array, zeta: Array) -> tuple[Array, Array, Array, Array]:
    """Return the rows' log-likelihood, its two derivatives in eta, and the score in phi."""
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
    Return the profile log-likelihood of each cell over its grid, maximised over its mean.

    The mean moves by one shift of the cell's linear predictors, by Newton's method with halving.

    Returns
    -------
    values, shifts, scores : ndarray, shape (cells, N_GRID)
        Profile log-likelihood, shift of the linear predictor, score in phi.
    """
    n, shape = len(of_row), grid.shape
    many = inner.take(np.tile(np.arange(n), N_GRID))
    point = (of_row * N_GRID + np.arange(N_GRID)[:, None]).ravel()
    zeta, base = grid.ravel()[point], np.tile(eta, N_GRID)
    best, best_score, shift, step = np.zeros((4, grid.size))
    best -= np.inf
    for _ in range(MAX_MEAN_STEPS):
        rows = _at_points(many, base + (shift + step)[point], zeta)
        value, first, second, score = (np.bincount(point, a, grid.size) for a in rows)
        better = value >= best
        best, best_score = np.where(better, value, best), np.where(better, score, best_score)
        shift = np.where(better, shift + step, shift)
        with np.errstate(all="ignore"):
            newton = np.where(second < 0, first / -second, np.sign(first))
        newton = np.clip(np.nan_to_num(newton), -MAX_MEAN_STEP, MAX_MEAN_STEP)
        step = np.where(better, newton, STEP_SHRINKAGE * step)
        if np.max(np.abs(step)) < TOL_MEAN_STEP:
            break
    return best.reshape(shape), shift.reshape(shape), best_score.reshape(shape)


def _other_maximum(
    values: Array, scores: Array, grid: Array, zeta: float, here: float
) -> int | None:
    """
    Return the point of a cell's grid that is nearest to a higher local maximum, None if there is none.

    Parameters
    ----------
    values, scores, grid : ndarray, shape (N_GRID,)
        Profile log-likelihood, score in phi, log phi.
    zeta, here : float
        Log phi and log-likelihood of the cell in the fit.
    """
    at_zero = values[0] if scores[0] <= 0 and zeta > -np.inf else -np.inf
    # a local maximum lies between a point of positive score and the next, of negative score
    falls = np.append(scores[1:] <= 0, True)
    peak = (scores > 0) & falls
    after = np.append(grid[1:], np.inf)
    of_fit = (grid <= zeta) & (zeta <= after)
    higher = np.maximum(values, np.append(values[1:], -np.inf))
    bound = np.where(peak & ~of_fit, higher + MAX_GAIN_BETWEEN, -np.inf)
    j = int(np.argmax(bound))
    if at_zero >= bound[j]:
        return 0 if at_zero > here + MIN_LLF_DIFFERENCE else None
    if not bound[j] > here + MIN_LLF_DIFFERENCE:
        return None
    return j + 1 if j == 0 or (j + 1 < len(grid) and values[j + 1] > values[j]) else j
