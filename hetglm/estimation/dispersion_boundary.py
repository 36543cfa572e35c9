"""
Local maxima on the boundary of the dispersion: some rows at phi = 0 or at phi = infinity.

An active-set method: a search is interrupted where rows approach the boundary and the likelihood
increases towards it; these rows are fixed there (`Likelihood.fixed_predictor`), and the search goes on
in the coefficients that the other rows determine. Without this log phi would creep to -infinity.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from hetglm.estimation.cells import saturated_cells
from hetglm.estimation.record import Fit, Settings
from hetglm.estimation.search import search
from hetglm.likelihood.boundary import Boundary, null_space, recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import distinct_rows, independent_columns, mixed_columns


class Nearness(NamedTuple):
    """Boundary scale times phi below which a row is near phi = 0; phi above which near infinity."""

    scaled_phi: float
    phi: float


#: A row this near the boundary is tried there during a search.
APPROACHING = Nearness(1e-2, 1e3)

#: A row this near the boundary where a search ended is at it, to the digits of the likelihood.
ARRIVED = Nearness(1e-4, 1e6)

#: Ratio of gain to loss in log-likelihood from which on rows go to phi = 0 together.
MIN_GAIN_RATIO = 3.0

#: Loss of log-likelihood accepted, for the time being, to end a search that diverges slowly.
MAX_LOSS = 1e-2

#: Number of steps with the same rows near the boundary before a search counts as diverging.
N_STEPS_NEAR = 3

#: A search whose log phi still decreases by at least this per step is diverging.
MIN_LOG_PHI_DECREASE = 1.0


class _BoundaryApproached(Exception):
    """Raised when rows approach the boundary and the likelihood increases there."""

    def __init__(self, params: Array, limits: Array) -> None:
        super().__init__()
        self.params, self.limits = params, limits


class _BoundaryWatch:
    """Interrupts a search where rows that are not fixed yet had better be fixed at the boundary."""

    def __init__(self, likelihood: Likelihood, estimated: Array) -> None:
        self.likelihood, self.estimated = likelihood, estimated
        self.fixed = _fixed_rows(likelihood)
        self.near: Array = self.fixed
        self.steps_near = 0
        self.interior: Array = np.full(likelihood.n, np.nan)
        self.limits = self.zeta = self.interior
        self.diverges = False

    @functools.cached_property
    def cells(self) -> Array | None:
        """The cell of each row where the dispersion model is saturated."""
        return saturated_cells(self.likelihood, self.estimated)

    def __call__(self, params: Array, converged: bool) -> None:
        """Raise `_BoundaryApproached` where new rows are near the boundary and gain by it."""
        zeta = self.likelihood.dispersion_predictor(params[self.likelihood.k_mean :])
        signs = _near_boundary(self.likelihood, zeta, APPROACHING)
        if signs is None and self.likelihood.fixed_predictor is None:
            self.near, self.limits, self.zeta = self.fixed, self.interior, zeta
            return
        near = np.zeros(len(zeta)) if signs is None else signs != 0
        if np.array_equal(near, self.near):
            self.steps_near += 1
        else:
            self.near, self.steps_near = near, 0
            self.limits = possible_limits(self.likelihood, self.estimated, params, APPROACHING)
        falls = (zeta < self.zeta - MIN_LOG_PHI_DECREASE) & (self.limits < 0) & ~self.fixed
        self.zeta, self.diverges = zeta, self.steps_near >= N_STEPS_NEAR and bool(falls.any())
        new = ~np.isnan(self.limits) & ~self.fixed
        gaining = self._gaining(params, new) if new.any() else new
        if gaining.any():
            limits = np.where(gaining | self.fixed, self.limits, np.nan)
            raise _BoundaryApproached(params, limits)

    def _gaining(self, params: Array, new: Array) -> Array:
        """
        Return which rows near the boundary had better be fixed there.

        Where the dispersion model is saturated each cell goes to phi = 0 if it gains by that; other
        rows go all together or not at all. Guarded by tests/likelihood/test_boundary.py
        (``test_many_rows_at_the_boundary_cost_few_evaluations``).
        """
        rows = new & (self.limits < 0)
        if not rows.any():
            return new
        if self.cells is None:
            return new & self._gain_together(params, rows)
        score = np.zeros(len(rows))
        score[rows] = scores_at_zero(self.likelihood, params, rows)
        return new & (np.bincount(self.cells, score)[self.cells] <= 0)

    def _gain_together(self, params: Array, rows: Array) -> bool:
        """
        Return whether rows gain more by phi = 0 than others lose, to first order.

        By `MIN_GAIN_RATIO`, or by anything where the search diverges and the loss is slight: an error
        is undone, since restarts leave phi = 0 in ascent directions.
        """
        phi = self.likelihood.predictors(params).phi[rows]
        change = scores_at_zero(self.likelihood, params, rows) * phi
        of_cell = np.unique(mixed_columns([self.likelihood.Z[rows]]), return_inverse=True)[1]
        change = np.bincount(of_cell, weights=change)
        loss, gain = np.sum(change[change > 0]), -np.sum(change[change < 0])
        slight = loss < MAX_LOSS and self.diverges
        return bool(MIN_GAIN_RATIO * loss < gain or (slight and loss < gain))


def search_from(
    likelihood: Likelihood, estimated: Array, start: Array, settings: Settings, infinite: Array
) -> Fit:
    """
    Return the local maximum that one start leads to, rows at the boundary fixed there.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    start : ndarray, shape (p + q,)
    settings : Settings
    infinite : ndarray of bool, shape (n,)
        Rows that are fixed at phi = infinity from the beginning.
    """
    limits, params = np.where(infinite, np.inf, np.nan), start
    while True:
        fixed = ~np.isnan(limits)
        core = replace(likelihood, fixed_predictor=limits) if fixed.any() else likelihood
        solved = estimated
        if fixed.any():
            solved = determined_coefficients(likelihood, estimated, limits)
        try:
            found = search(core, solved, params, settings, _BoundaryWatch(core, estimated))
        except _BoundaryApproached as met:
            limits, params = met.limits, in_determined(core, met.limits, met.params, estimated)
            continue
        more = possible_limits(core, estimated, found.internal, ARRIVED)
        if not np.any(~np.isnan(more) & ~fixed):
            break
        limits, params = more, in_determined(core, more, found.internal, estimated)
    if not fixed.any():
        return found
    return fit_at_boundary(found, likelihood, estimated, limits, settings.names)


def in_determined(core: Likelihood, limits: Array, params: Array, estimated: Array) -> Array:
    """Return the same dispersion of the interior rows by the coefficients that these determine."""
    k = core.k_mean
    solved = determined_coefficients(core, estimated, limits)
    Z = core.Z[_informative_rows(core, limits)]
    size = np.max(np.abs(Z), axis=0, initial=0.0)
    kept = solved[k:] & (size > 0)
    out = np.array(params)
    out[k:] = 0.0
    if kept.any():
        A = Z[:, kept] / size[kept]
        out[k:][kept] = np.linalg.lstsq(A, Z @ params[k:], rcond=None)[0] / size[kept]
    return out


def determined_coefficients(likelihood: Likelihood, estimated: Array, limits: Array) -> Array:
    """
    Return the coefficients that the rows determine, shape (p + q,).

    Those of the dispersion by the informative rows in the interior; those of the mean by all rows,
    or by those of finite phi where infinite phi leaves nothing of the mean.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    limits : ndarray, shape (n,)
        Log phi of rows at the boundary (-inf, inf), NaN in the interior.
    """
    k = likelihood.k_mean
    of_mean = likelihood.boundary_family.mean_at_infinity
    X = likelihood.X if of_mean else likelihood.X[limits != np.inf]
    Z = likelihood.Z[_informative_rows(likelihood, limits)]
    solved = np.array(estimated)
    for A, part in ((X, slice(0, k)), (Z, slice(k, None))):
        columns = np.flatnonzero(estimated[part])
        solved[part][columns[~independent_columns(A[:, columns])]] = False
    return solved


def _informative_rows(likelihood: Likelihood, limits: Array) -> Array:
    """Return which rows are informative about the dispersion: in the interior, not of one trial."""
    interior = np.isnan(limits)
    uninformative = likelihood.uninformative()
    return interior if uninformative is None else interior & ~uninformative


def _fixed_rows(likelihood: Likelihood) -> Array:
    """Return which rows are fixed at the boundary."""
    fixed = likelihood.fixed_predictor
    return np.zeros(likelihood.n, dtype=bool) if fixed is None else ~np.isnan(fixed)


def _near_boundary(core: Likelihood, zeta: Array, nearness: Nearness) -> Array | None:
    """Return -1 where phi is near zero, 1 where it is near infinity and may go there, 0 elsewhere."""
    # cheap test on the range first: usually no row is near the boundary
    low, high = np.log(nearness)
    if zeta.min(initial=0.0) > low and zeta.max(initial=0.0) <= high:
        return None
    scale = core.boundary_family.boundary_scale(core.rows)
    signs = np.where(zeta < np.log(nearness.scaled_phi / scale), -1.0, 0.0)
    large = zeta > high
    if large.any():
        signs[large & (core.boundary_family.extreme_responses(core.rows) != 0)] = 1.0
    return signs


def possible_limits(core: Likelihood, estimated: Array, params: Array, nearness: Nearness) -> Array:
    """Return log phi of the rows that are fixed at the boundary or can go there, NaN elsewhere."""
    signs = _near_boundary(core, core.dispersion_predictor(params[core.k_mean :]), nearness)
    if signs is None:
        return np.full(core.n, np.nan) if core.fixed_predictor is None else core.fixed_predictor
    Z = core.Z[:, estimated[core.k_mean :]]
    uninformative = core.uninformative()
    # fixed rows went to the boundary faster than these, and may move either way meanwhile
    fixed = _fixed_rows(core)
    unconstrained = fixed if uninformative is None else fixed | uninformative
    rows, _, _ = recession(Z, signs, unconstrained)
    limits = np.where(rows, np.copysign(np.inf, signs), np.nan)
    return limits if core.fixed_predictor is None else np.where(fixed, core.fixed_predictor, limits)


def scores_at_zero(likelihood: Likelihood, params: Array, rows: Array) -> Array:
    """Return the score in phi, at phi = 0, of some rows."""
    at_zero = np.where(rows, -np.inf, np.nan)
    core = replace(likelihood, fixed_predictor=at_zero).take(rows)
    score = core.terms(core.predictors(params), 1).phi
    assert score is not None
    score = score if core.freq is None else score * core.freq
    return score if core.offset_dispersion is None else score * np.exp(core.offset_dispersion)


def fit_at_boundary(
    found: Fit, likelihood: Likelihood, estimated: Array, limits: Array, names: list[str]
) -> Fit:
    """Return a fit with rows fixed at the boundary, the coefficients without a finite value NaN."""
    k = likelihood.k_mean
    boundary, infinite = boundary_of(likelihood, estimated, found.solved, limits, names)
    params, estimated = np.array(found.params), np.array(found.solved)
    params[k:][infinite] = np.nan
    estimated[k:][infinite] = False
    return replace(found, params=params, estimated=estimated, boundary=boundary)


def boundary_of(
    likelihood: Likelihood, estimated: Array, solved: Array, limits: Array, names: list[str]
) -> tuple[Boundary, Array]:
    """
    Return the boundary where rows are fixed, and which coefficients of the dispersion diverge.

    Parameters
    ----------
    likelihood : Likelihood
    estimated, solved : ndarray of bool, shape (p + q,)
        Coefficients that all rows determine, and those that the other rows determine.
    limits : ndarray, shape (n,)
        Log phi of rows at the boundary (-inf, inf), NaN in the interior.
    names : list of str
    """
    k = likelihood.k_mean
    kept_mean, kept = estimated[:k], estimated[k:]
    finite = np.flatnonzero(_informative_rows(likelihood, limits))
    basis = null_space(likelihood.Z[:, kept], finite)
    directions = np.zeros((likelihood.Z.shape[1], basis.shape[1]))
    directions[kept] = basis
    infinite = np.any(directions != 0, axis=1)
    # of the mean, those that only rows at phi = infinity determine
    lost = np.append(kept_mean & ~solved[:k], infinite)
    terms = [name for name, gone in zip(names, lost, strict=True) if gone]
    zero, at_infinity = limits < 0, limits > 0
    cells, infinite_cells = (_distinct(likelihood.Z[rows]) for rows in (zero, at_infinity))
    return Boundary(zero, at_infinity, directions, terms, cells, infinite_cells), infinite


def _distinct(Z: Array) -> Array:
    """Return the distinct rows of a design, sorted."""
    alike = distinct_rows([Z])
    return np.unique(Z if alike is None else Z[alike[0]], axis=0)
