"""From a start to a maximum where some rows' dispersion may end at its boundary, 0 or infinity."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from hetglm.estimation.cells import saturated_cells
from hetglm.estimation.record import Fit, Settings
from hetglm.estimation.search import search
from hetglm.likelihood.boundary import Boundary, null_space, recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import distinct_rows, independent_columns, mixed_columns

#: Size times phi below which, and phi above which, a row is tried at its end on the way there ...
APPROACHING = (1e-2, 1e3)

#: ... and cannot be told from it where a search ended.
ARRIVED = (1e-4, 1e6)

#: How far gains by phi = 0 outweigh losses before rows are fixed there.
OUTWEIGHS = 3.0

#: Log-likelihood that is given up, for the time being, to end a search that goes nowhere, and steps
#: before that.
SLIGHT, PATIENCE = 1e-2, 3

#: Least fall of log phi in a step of such a search: one that comes to rest has a maximum there.
FALLS = 1.0


class _MeetsBoundary(Exception):
    """Rows are on their way to an end and gain by it: hold them there."""

    def __init__(self, params: Array, ends: Array) -> None:
        super().__init__()
        self.params, self.ends = params, ends


class _Watch:
    """Stops a search where rows not fixed yet approach an end and would lose by leaving it."""

    def __init__(self, likelihood: Likelihood, estimated: Array) -> None:
        self.likelihood, self.estimated = likelihood, estimated
        fixed = likelihood.fixed_predictor
        self.fixed = np.zeros(likelihood.n, bool) if fixed is None else ~np.isnan(fixed)
        self.near: Array = self.fixed
        self.waited = 0
        self.nowhere: Array = np.full(likelihood.n, np.nan)
        self.ends = self.zeta = self.nowhere
        self.crawls = False

    @functools.cached_property
    def cells(self) -> Array | None:
        """The cell of each row where each has a dispersion of its own."""
        return saturated_cells(self.likelihood, self.estimated)

    def __call__(self, params: Array, converged: bool) -> None:
        """Raise `_MeetsBoundary` where that is so."""
        zeta = self.likelihood.log_dispersion(params[self.likelihood.k_mean :])
        signs = _signs(self.likelihood, zeta, *APPROACHING)
        if signs is None and self.likelihood.fixed_predictor is None:
            self.near, self.ends, self.zeta = self.fixed, self.nowhere, zeta
            return
        near = np.zeros(len(zeta)) if signs is None else signs != 0
        if np.array_equal(near, self.near):
            self.waited += 1
        else:
            self.near, self.waited = near, 0
            self.ends = _candidates(self.likelihood, self.estimated, params, *APPROACHING)
        falls = (zeta < self.zeta - FALLS) & (self.ends < 0) & ~self.fixed
        self.zeta, self.crawls = zeta, self.waited >= PATIENCE and bool(falls.any())
        new = ~np.isnan(self.ends) & ~self.fixed
        going = self._going(params, new) if new.any() else new
        if going.any():
            raise _MeetsBoundary(params, np.where(going | self.fixed, self.ends, np.nan))

    def _going(self, params: Array, new: Array) -> Array:
        """
        Return which rows that come near an end had better be fixed there.

        Cells with a dispersion of their own go to phi = 0 if they gain by it, other rows all together.
        """
        rows = new & (self.ends < 0)
        if not rows.any():
            return new
        if self.cells is None:
            return new & self._gains(params, rows)
        score = np.zeros(len(rows))
        score[rows] = zero_scores(self.likelihood, params, rows)
        return new & (np.bincount(self.cells, score)[self.cells] <= 0)

    def _gains(self, params: Array, rows: Array) -> bool:
        """Return whether rows that gain by phi = 0 outweigh by far those that lose, or all is slight."""
        phi = self.likelihood.predictors(params).phi[rows]
        change = zero_scores(self.likelihood, params, rows) * phi
        of_cell = np.unique(mixed_columns([self.likelihood.Z[rows]]), return_inverse=True)[1]
        change = np.bincount(of_cell, weights=change)
        loss, gain = np.sum(change[change > 0]), -np.sum(change[change < 0])
        patient = loss < SLIGHT and self.crawls
        return bool(OUTWEIGHS * loss < gain or (patient and loss < gain))


def search_from(
    likelihood: Likelihood, estimated: Array, start: Array, settings: Settings, top: Array
) -> Fit:
    """
    Return where one start leads to, the rows ``top`` being fixed at infinite dispersion.

    Rows are fixed at their end as soon as they seem to go there: that saves the crawl of log phi to
    infinity.
    """
    ends, params = np.where(top, np.inf, np.nan), start
    while True:
        fixed = ~np.isnan(ends)
        core = replace(likelihood, fixed_predictor=ends) if fixed.any() else likelihood
        solved = determined(likelihood, estimated, ends) if fixed.any() else estimated
        try:
            found = search(core, solved, params, settings, _Watch(core, estimated))
        except _MeetsBoundary as met:
            ends, params = met.ends, _without(core, met.ends, met.params, estimated)
            continue
        more = _candidates(core, estimated, found.internal, *ARRIVED)
        if not np.any(~np.isnan(more) & ~fixed):
            break
        ends, params = more, _without(core, more, found.internal, estimated)
    return (
        fit_at_boundary(found, likelihood, estimated, ends, settings.names)
        if fixed.any()
        else found
    )


def _without(core: Likelihood, ends: Array, params: Array, estimated: Array) -> Array:
    """Return params in the coefficients that rows at no end determine; their dispersion stays."""
    k, free = core.k_mean, np.isnan(ends)
    solved = determined(core, estimated, ends)
    uninformative = core.uninformative()
    Z = core.Z[free if uninformative is None else free & ~uninformative]
    size = np.max(np.abs(Z), axis=0, initial=0.0)
    kept = solved[k:] & (size > 0)
    out = np.array(params)
    out[k:] = 0.0
    if kept.any():
        A = Z[:, kept] / size[kept]
        out[k:][kept] = np.linalg.lstsq(A, Z @ params[k:], rcond=None)[0] / size[kept]
    return out


def determined(likelihood: Likelihood, estimated: Array, ends: Array) -> Array:
    """Return the coefficients that are determined, the dispersion's by the rows at no end."""
    k, family = likelihood.k_mean, likelihood.boundary_family
    uninformative = likelihood.uninformative()
    telling = np.isnan(ends) if uninformative is None else np.isnan(ends) & ~uninformative
    X = likelihood.X if family.mean_at_infinity else likelihood.X[ends != np.inf]
    solved = np.array(estimated)
    for A, part in ((X, slice(0, k)), (likelihood.Z[telling], slice(k, None))):
        columns = np.flatnonzero(estimated[part])
        solved[part][columns[~independent_columns(A[:, columns])]] = False
    return solved


def _signs(core: Likelihood, zeta: Array, negligible: float, dominant: float) -> Array | None:
    """Return -1 where phi is next to zero, 1 where it is next to infinite and may be, else 0."""
    # most searches come near no end, None: two numbers tell
    if zeta.min(initial=0.0) > np.log(negligible) and zeta.max(initial=0.0) <= np.log(dominant):
        return None
    sizes = core.boundary_family.boundary_scale(core.rows)
    signs = np.where(zeta < np.log(negligible / sizes), -1.0, 0.0)
    large = zeta > np.log(dominant)
    if large.any():
        signs[large & (core.boundary_family.extreme_responses(core.rows) != 0)] = 1.0
    return signs


def _candidates(
    core: Likelihood, estimated: Array, params: Array, negligible: float, dominant: float
) -> Array:
    """Return the end of the log dispersion each row is fixed at or can go to, NaN for the others."""
    signs = _signs(core, core.log_dispersion(params[core.k_mean :]), negligible, dominant)
    if signs is None:
        return np.full(core.n, np.nan) if core.fixed_predictor is None else core.fixed_predictor
    kept = estimated[core.k_mean :]
    uninformative = core.uninformative()
    # rows fixed already went to their end faster than these, and may move either way meanwhile
    fixed = (
        np.zeros(core.n, dtype=bool)
        if core.fixed_predictor is None
        else ~np.isnan(core.fixed_predictor)
    )
    rows, _, _ = recession(
        core.Z[:, kept], signs, fixed if uninformative is None else fixed | uninformative
    )
    ends = np.where(rows, np.copysign(np.inf, signs), np.nan)
    return ends if core.fixed_predictor is None else np.where(fixed, core.fixed_predictor, ends)


def zero_scores(likelihood: Likelihood, params: Array, rows: Array) -> Array:
    """Return the score in phi, at phi = 0, of some rows."""
    core = replace(likelihood, fixed_predictor=np.where(rows, -np.inf, np.nan)).take(rows)
    score = core.terms(core.predictors(params), 1).phi
    assert score is not None
    score = score if core.freq is None else score * core.freq
    return score if core.offset_dispersion is None else score * np.exp(core.offset_dispersion)


def fit_at_boundary(
    found: Fit, likelihood: Likelihood, estimated: Array, ends: Array, names: list[str]
) -> Fit:
    """Return the fit with the coefficients that have no finite value as NaN."""
    k = likelihood.k_mean
    uninformative = likelihood.uninformative()
    finite = np.isnan(ends) if uninformative is None else np.isnan(ends) & ~uninformative
    kept_mean, kept = estimated[:k], estimated[k:]
    reduced = null_space(likelihood.Z[:, kept], np.flatnonzero(finite))
    directions = np.zeros((likelihood.Z.shape[1], reduced.shape[1]))
    directions[kept] = reduced
    infinite = np.any(directions != 0, axis=1)
    params, estimated = np.array(found.params), np.array(found.solved)
    params[k:][infinite] = np.nan
    estimated[k:][infinite] = False
    # of the mean, those that only rows at infinity have
    lost = np.append(kept_mean & ~found.solved[:k], infinite)
    terms = [name for name, gone in zip(names, lost, strict=True) if gone]
    zero, top = ends < 0, ends > 0
    cells, top_cells = (_distinct(likelihood.Z[rows]) for rows in (zero, top))
    boundary = Boundary(zero, top, directions, terms, cells, top_cells)
    return replace(found, params=params, estimated=estimated, boundary=boundary)


def _distinct(Z: Array) -> Array:
    """Return the distinct rows of a design, sorted."""
    alike = distinct_rows([Z])
    return np.unique(Z if alike is None else Z[alike[0]], axis=0)
