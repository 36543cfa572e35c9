"""
The supremum of a likelihood that is finite at phi = 0, by restarts from several points.

The maximum likelihood estimates of a double generalized linear model (Smyth 1989) may lie on the
boundary of the parameter space, and there may be several local maxima. Three things are dealt with:

1. Separated rows of the mean and extreme responses of infinite dispersion follow from the response
   and the designs alone (`recession`). They are set aside (`separated_rows`), or fixed at phi =
   infinity, before any search.
2. Which rows have their supremum at phi = 0 depends on the mean: `search_from` finds them on the way.
3. Where rows lie at phi = 0 or some log phi has a large standard error, the local maximum may not be
   the global one. The search is restarted: from other levels and slopes of log phi (`_other_starts`),
   off phi = 0 in ascent directions (`_ascent_starts`), with larger slopes (`_steepened`), and with
   another dispersion of single cells where the dispersion model is saturated (`_restarted_in_cells`).

A restart never lowers the log-likelihood: the best fit so far is kept (`_better`). That no better
maximum is missed cannot be proved; tests/estimation/test_corpus.py compares random problems, those
that once went wrong included, with the best of many searches by another optimiser.

References
----------
Smyth, G. K. (1989). Generalized linear models with varying dispersion. JRSS B 51, 47-60.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from hetglm.estimation import cells as cells_module
from hetglm.estimation.cells import N_GRID, cell_starts, one_mean_each, saturated_cells
from hetglm.estimation.dispersion_boundary import (
    determined_coefficients,
    fit_at_boundary,
    scores_at_zero,
    search_from,
)
from hetglm.estimation.record import OWN_METHODS, TOL_LLF, Fit, Settings
from hetglm.estimation.search import search
from hetglm.estimation.separation import (
    MAX_TAIL,
    lost_coefficients,
    moved_near_limit,
    put_near_limit,
    separated_rows,
)
from hetglm.likelihood.boundary import TOL_ZERO, recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import MAX_LOG_PHI_STEP
from hetglm.typing import Array
from hetglm.utils.linalg import distinct_rows, inverse

#: Standard error of a row's log phi above which an interior maximum may not be the only one.
MAX_ROW_SE_LOG_PHI = 1.5

#: Difference of log-likelihood above which two fits are different local maxima.
MIN_LLF_DIFFERENCE = 1e-5

#: Difference of log-likelihood from the best within which another local maximum is reported.
MAX_LLF_DEFICIT = 5.0

#: Number of rows that all restarts together evaluate: there are this many over n restarts.
N_ROWS_RESTARTED = 20_000

#: Number of restarts at least.
MIN_RESTARTS = 4

#: Number of rounds of ascent from phi = 0, and of larger slopes, at most.
MAX_ROUNDS = 10

#: Step limit of an exploratory search.
N_EXPLORATORY_STEPS = 40

#: Cap on the squared Newton decrement (twice the gain of log-likelihood that is expected) of an
#: exploratory search: far from a maximum the quadratic approximation promises too much.
MAX_SQUARED_DECREMENT = 10.0

#: Log of boundary scale times phi, at most, in a start off phi = 0: the expansion there still holds.
MAX_START_LOG_SCALED_PHI = -2.0

#: Number of rows with the largest positive score at phi = 0 that are used as restart directions.
N_ASCENT_ROWS = 16

#: Ranges of log phi over the rows at phi = 0 along such a direction: from a slope that several rows
#: share to one that leaves a single row overdispersed.
LOG_PHI_RANGES = (3.0, 10.0, 40.0)

#: Gradient steps by which an ascent direction is improved first.
N_GRADIENT_STEPS = 12

#: Gradient steps after these where no improved direction leads to a better maximum.
N_FURTHER_GRADIENT_STEPS = 48

#: Number of rows up to which cells whose means depend on other cells are searched from restarts too.
MAX_ROWS_OF_TIED_CELLS = 60

#: Share by which a gradient step is shortened where it does not improve a direction.
STEP_SHRINKAGE = 0.4

#: Directions are the same where phi, over its largest value, differs by less than this in every row.
TOL_SAME_DIRECTION = 0.05

#: Constant levels of log phi of other starts.
START_LOG_PHI = (-6.0, -2.0, 1.0)

#: Log phi per standard deviation of a column, in other starts with a slope.
START_SLOPE = 10.0

#: Level of log phi in the middle of such a slope.
START_SLOPE_LEVEL = -2.0

#: Number of times that another local maximum of single cells may be followed by a further one.
MAX_CELL_ROUNDS = 3

#: Factor on the dispersion's coefficients of the best fit, for a last restart.
SLOPE_FACTOR = 1.6


@dataclass(frozen=True)
class _Problem:
    """
    What every restart shares.

    Attributes
    ----------
    likelihood : Likelihood
        Without separated rows.
    estimated : ndarray of bool, shape (p + q,)
    settings : Settings
    infinite : ndarray of bool, shape (n,)
        Rows that are fixed at phi = infinity.
    """

    likelihood: Likelihood
    estimated: Array
    settings: Settings
    infinite: Array

    @property
    def max_restarts(self) -> int:
        """Number of restarts, at most: fewer where an evaluation costs more."""
        return max(MIN_RESTARTS, N_ROWS_RESTARTED // self.likelihood.n)

    @property
    def max_rounds(self) -> int:
        """Number of rounds of restarts from the best fit, at most; of very many rows one."""
        return min(MAX_ROUNDS, max(1, N_ROWS_RESTARTED // self.likelihood.n))

    def search(self, start: Array) -> Fit:
        """Return the fit that one start leads to."""
        return search_from(self.likelihood, self.estimated, start, self.settings, self.infinite)

    def explore(self, start: Array, llf: float) -> Fit:
        """Return the fit that a start leads to, unconverged where it cannot reach ``llf``."""
        steps = min(self.settings.maxiter, N_EXPLORATORY_STEPS)
        few = replace(self, settings=replace(self.settings, maxiter=steps))
        found = few.search(start)
        promised = found.llf + 0.5 * min(found.decrement**2, MAX_SQUARED_DECREMENT)
        return found if found.converged or promised < llf else self.search(start)


def maximise_over_closure(
    likelihood: Likelihood, estimated: Array, starts: Iterator[Array], settings: Settings
) -> Fit:
    """
    Return the supremum of the likelihood: its maximum with the boundary of the parameters included.

    Parameters
    ----------
    likelihood : Likelihood
        Of a family that is finite at phi = 0, with a log link for phi.
    estimated : ndarray of bool, shape (p + q,)
        Estimable coefficients.
    starts : iterator of ndarray, shape (p + q,)
        Starting values, the best first.
    settings : Settings
    """
    rows, direction = separated_rows(likelihood, estimated)
    if not rows.any():
        return _without_separation(likelihood, estimated, starts, settings)
    if rows.all():
        return _all_separated(likelihood, estimated, next(starts), settings, direction)
    inner = likelihood.take(~rows)
    solved = determined_coefficients(inner, estimated, np.full(inner.n, np.nan))
    found = _without_separation(inner, solved, starts, settings)
    lost = lost_coefficients(solved, estimated, likelihood)
    return put_near_limit(found, likelihood, estimated & ~lost, rows, direction)


def _all_separated(
    likelihood: Likelihood, estimated: Array, start: Array, settings: Settings, direction: Array
) -> Fit:
    """Return the fit where every row is separated: no row is left to inform about the dispersion."""
    every = np.ones(likelihood.n, dtype=bool)
    near = moved_near_limit(likelihood, start, every, direction, MAX_TAIL**2)
    found = search(likelihood, estimated, near, settings)
    of_mean = np.arange(len(estimated)) < likelihood.k_mean
    params = np.where(of_mean, found.params, np.nan)
    return replace(found, params=params, estimated=estimated & of_mean)


def _without_separation(
    likelihood: Likelihood, estimated: Array, starts: Iterator[Array], settings: Settings
) -> Fit:
    """Return the supremum of a likelihood without separated rows."""
    extreme = np.abs(likelihood.boundary_family.extreme_responses(likelihood.rows))
    uninformative = likelihood.uninformative()
    Z = likelihood.Z[:, estimated[likelihood.k_mean :]]
    infinite, _, _ = recession(Z, extreme, uninformative)
    problem = _Problem(likelihood, estimated, settings, infinite)

    best = problem.search(next(starts))
    if settings.method not in OWN_METHODS or settings.maxiter < N_EXPLORATORY_STEPS:
        return best  # the user asked for one search
    best = _restarted_in_cells(problem, best)
    if _is_certain(problem, best):
        return best
    maxima = [best, *_restarted(problem, best, _other_starts(problem, best, starts))]
    best = functools.reduce(_better, maxima)
    ascended = _ascended_from_zero(problem, maxima, best)
    best = _better(best, ascended[-1])
    steepened = _steepened(problem, best)
    best = functools.reduce(_better, steepened, best)
    second = _second_maximum(likelihood, [*maxima, *ascended, *steepened], best.llf)
    return replace(best, second=second)


def _restarted(problem: _Problem, best: Fit, starts: Iterator[Array]) -> list[Fit]:
    """Return the fits that the first of some starts lead to."""
    found = []
    for start in islice(starts, problem.max_restarts):
        found.append(problem.explore(start, best.llf))
        best = _better(best, found[-1])
    return found


def _ascended_from_zero(problem: _Problem, maxima: list[Fit], best: Fit) -> list[Fit]:
    """
    Return the best fit with rows at phi = 0, then what ascent directions from it lead to, by rounds.

    Each round restarts from the fit of the round before, as long as that gains.
    """
    at_zero = [fit for fit in maxima if fit.boundary is not None and fit.boundary.rows.any()]
    bases = [functools.reduce(_better, at_zero) if at_zero else best]
    if bases[0].llf <= best.llf - MAX_LLF_DEFICIT:
        return bases
    for _ in range(problem.max_rounds):
        base = bases[-1]
        reached = _restarted(problem, base, _ascent_starts(problem.likelihood, base))
        bases.append(functools.reduce(_better, reached, base))
        if bases[-1] is base:
            break
    return bases


def _steepened(problem: _Problem, best: Fit) -> list[Fit]:
    """
    Return the fits with larger and larger coefficients of the dispersion, as long as these gain.

    A steeper slope makes rows far from the centre uninformative, so that the likelihood may rise
    along it again. Guarded by tests/estimation/test_multistart.py, and by test_corpus.py ("slopes not
    steep enough").
    """
    found, k = [], problem.likelihood.k_mean
    for _ in range(problem.max_rounds):
        start = np.array(best.internal)
        start[k:] *= SLOPE_FACTOR
        found.append(problem.explore(start, best.llf))
        better = _better(best, found[-1])
        if better is best:
            break
        best = better
    return found


def _restarted_in_cells(problem: _Problem, best: Fit) -> Fit:
    """
    Return the best fit with other dispersions of single cells, where that model is saturated.

    One cell can have two maxima, one of them at phi = 0. Each cell whose dispersion has a large
    standard error is evaluated over a grid, with a mean of its own: no fit of the cell with the
    common mean exceeds that. Guarded by tests/likelihood/test_boundary.py
    (``test_a_cell_with_two_maxima_is_at_its_supremum``).
    """
    cells = saturated_cells(problem.likelihood, problem.estimated)
    if cells is None or not best.converged:
        return best
    for _ in range(MAX_CELL_ROUNDS):
        uncertain = cells_module.uncertain(best, problem.likelihood, cells) & ~problem.infinite
        if not 0 < uncertain.sum() * N_GRID <= N_ROWS_RESTARTED:
            break
        starts = cell_starts(problem.likelihood, problem.estimated, best, cells, uncertain)
        reached = (problem.explore(start, best.llf) for start in starts)
        better = next((fit for fit in reached if _is_higher(fit, best)), None)
        if better is None:
            break
        best = better
    return best


def _is_higher(found: Fit, best: Fit) -> bool:
    """Return whether a fit converged to a larger log-likelihood."""
    return found.converged and found.llf > best.llf + TOL_LLF * (1 + abs(best.llf))


def _better(best: Fit, found: Fit) -> Fit:
    """Return the fit of larger log-likelihood, or the one that converged where they are equal."""
    if abs(found.llf - best.llf) > TOL_LLF * (1 + abs(best.llf)):
        return found if found.llf > best.llf else best
    return found if found.converged and not best.converged else best


def _second_maximum(likelihood: Likelihood, found: list[Fit], llf: float) -> float:
    """Return the log-likelihood of the next best local maximum, NaN if there is none to report."""
    others = (
        f for f in found if f.converged and -MAX_LLF_DEFICIT < f.llf - llf < -MIN_LLF_DIFFERENCE
    )
    for other in sorted(others, key=lambda f: -f.llf):
        if not _has_ascent(likelihood, other):
            return other.llf
    return np.nan


def _is_certain(problem: _Problem, found: Fit) -> bool:
    """
    Return whether another maximum is unlikely, so that no restarts are needed.

    The fit converged, no direction leads uphill from phi = 0, and either no dispersion is uncertain
    or the dispersion model is saturated, whose cells were searched one by one (with few rows only
    if no cell shares a coefficient of the mean with another).
    """
    if not found.converged or _has_ascent(problem.likelihood, found):
        return False
    if found.boundary is None and not is_dispersion_uncertain(found, problem.likelihood):
        return True
    cells = saturated_cells(problem.likelihood, problem.estimated)
    few = problem.likelihood.n <= MAX_ROWS_OF_TIED_CELLS
    return cells is not None and (not few or one_mean_each(problem.likelihood, cells))


def is_dispersion_uncertain(found: Fit, likelihood: Likelihood) -> bool:
    """Return whether some row's log phi has a large standard error, by the observed information."""
    k = likelihood.k_mean
    covariance = inverse(found.information)
    if covariance is None:
        return True
    free = int(found.solved[:k].sum())
    V, Z = covariance[free:, free:], likelihood.Z[:, found.solved[k:]]
    # cheap bound first: no standard error exceeds the sum of those of the coefficients
    if np.max(np.abs(Z), axis=0, initial=0.0) @ np.sqrt(np.diag(V)) <= MAX_ROW_SE_LOG_PHI:
        return False
    return bool(np.max(np.sum((Z @ V) * Z, axis=1)) > MAX_ROW_SE_LOG_PHI**2)


def _other_starts(problem: _Problem, found: Fit, starts: Iterator[Array]) -> Iterator[Array]:
    """
    Yield the starting values of restarts.

    In order: off phi = 0 from the fit with every row there, the default starts that were not used,
    constant dispersions, and a slope of either sign in each column.
    """
    likelihood, estimated = problem.likelihood, problem.estimated
    yield from _ascent_starts(likelihood, _fit_at_zero(problem, found))
    yield from starts
    k, Z = likelihood.k_mean, likelihood.Z

    def with_log_phi(target: Array) -> Array:
        gamma = np.linalg.lstsq(Z, target, rcond=None)[0]
        return np.concatenate([found.internal[:k], np.where(estimated[k:], gamma, 0.0)])

    for level in START_LOG_PHI:
        yield with_log_phi(np.full(likelihood.n, level))
    sd = Z.std(axis=0)
    for j in np.flatnonzero(estimated[k:] & (sd > 0)):
        for slope in (-START_SLOPE, START_SLOPE):
            yield with_log_phi(START_SLOPE_LEVEL + slope * (Z[:, j] - Z[:, j].mean()) / sd[j])


def _fit_at_zero(problem: _Problem, found: Fit) -> Fit:
    """Return the fit with every row at phi = 0, from another fit's mean."""
    likelihood, estimated = problem.likelihood, problem.estimated
    limits = np.full(likelihood.n, -np.inf)
    solved = determined_coefficients(likelihood, estimated, limits)
    fixed = replace(likelihood, fixed_predictor=limits)
    zero = search(fixed, solved, found.internal, problem.settings)
    return fit_at_boundary(zero, likelihood, estimated, limits, problem.settings.names)


def _has_ascent(likelihood: Likelihood, found: Fit) -> bool:
    """Return whether the log-likelihood increases off phi = 0 in some direction that is tried."""
    return next(_ascent_starts(likelihood, found), None) is not None


def _ascent_starts(likelihood: Likelihood, found: Fit) -> Iterator[Array]:
    r"""
    Yield starting values off phi = 0 in directions in which the log-likelihood increases.

    With s the scores in phi at phi = 0, the rows there gain :math:`\sum_i s_i \phi_i` in
    log-likelihood to first order. The coefficients of their dispersion move along the columns of
    a basis D of `Boundary.directions`: with :math:`\phi_i \propto \exp(z_i' D c)` direction c is one
    of ascent where :math:`\sum_i s_i \exp(z_i' D c) > 0`.

    Invariant: only directions of ascent are used, and none that has the phi of an earlier one up to
    a constant. tests/estimation/test_corpus.py (``test_what_once_went_wrong``) has problems that need
    the improved directions and the rows that lie in the centre of the others.
    """
    if found.boundary is None or not found.boundary.rows.any():
        return
    rows = found.boundary.rows
    score = scores_at_zero(likelihood, found.internal, rows)
    scale = likelihood.boundary_family.boundary_scale(likelihood.rows)[rows]
    Z, score, scale = _merged(likelihood.Z[rows], score, scale)
    if not np.any(score > 0):
        return
    size = np.max(np.abs(Z @ found.boundary.directions), axis=0)
    D = found.boundary.directions[:, size > 0] / size[size > 0]
    design = Z @ D
    seen: list[Array] = []
    for c in _candidate_directions(design, score, scale):
        log_phi = design @ c
        relative = np.exp(log_phi - log_phi.max())
        if not relative @ score > 0:
            continue
        if any(np.abs(relative - old).max() < TOL_SAME_DIRECTION for old in seen):
            continue
        seen.append(relative)
        # as far from phi = 0 as the expansion holds in every row
        shift = MAX_START_LOG_SCALED_PHI - np.max(log_phi + np.log(scale))
        level = np.linalg.lstsq(design, np.full(len(design), shift), rcond=None)[0]
        start = np.array(found.internal)
        start[likelihood.k_mean :] += D @ (c + level)
        yield start


def _candidate_directions(design: Array, score: Array, scale: Array) -> Iterator[Array]:
    """Yield directions to try: constant phi, then those of single rows, improved, plain and more so."""
    yield np.zeros(design.shape[1])
    of_rows = _directions_of_rows(design, score, scale)
    improved = [_improved(c, design, score, N_GRADIENT_STEPS) for c in of_rows]
    yield from improved
    yield from of_rows
    yield from (_improved(c, design, score, N_FURTHER_GRADIENT_STEPS) for c in improved)


def _directions_of_rows(design: Array, score: Array, scale: Array) -> list[Array]:
    """
    Return directions in which single rows of positive score are the most overdispersed ones.

    Each is the coefficient vector of the least-squares regression on a row's indicator, scaled to
    several ranges of log phi; with the widest range that row alone outweighs all others.
    """
    centred = design - design.mean(axis=0)
    regressions = centred @ np.linalg.pinv(centred.T @ centred, hermitian=True)
    directions = []
    for i in np.argsort(-score / scale)[:N_ASCENT_ROWS]:
        width = np.ptp(design @ regressions[i])
        # the regression on a row in the centre of the others has no slope
        if score[i] > 0 and width > TOL_ZERO * np.max(np.abs(regressions[i])):
            directions += [spread * regressions[i] / width for spread in LOG_PHI_RANGES]
    return directions


def _merged(Z: Array, score: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Return the distinct rows of a long design with their sums of scores and largest scales."""
    alike = distinct_rows([Z])
    if alike is None:
        return Z, score, scale
    first, of_row = alike
    largest = np.zeros(len(first))
    np.maximum.at(largest, of_row, scale)
    return Z[first], np.bincount(of_row, score), largest


def _improved(c: Array, design: Array, score: Array, steps: int) -> Array:
    """Return a direction with a larger ratio of gain to loss, by gradient steps of bounded length."""
    value, gradient = _log_ratio(c, design, score)
    length = MAX_LOG_PHI_STEP
    for _ in range(steps):
        width = np.ptp(design @ gradient)
        if not width > 0:
            break
        trial = c + gradient * (length / width)
        new_value, new_gradient = _log_ratio(trial, design, score)
        if new_value > value:
            c, value, gradient = trial, new_value, new_gradient
        else:
            length *= STEP_SHRINKAGE
    return c


def _log_ratio(c: Array, design: Array, score: Array) -> tuple[float, Array]:
    r"""
    Return the log of the gain over the loss in log-likelihood at phi = exp(design c), and its gradient.

    The gain is :math:`\sum_i s_i \phi_i` over the rows of positive score, the loss minus that over the
    others: a direction is one of ascent where the log ratio is positive.
    """
    log_phi = design @ c
    relative = np.exp(log_phi - log_phi.max())
    value, gradient = 0.0, np.zeros(len(c))
    for sign in (1.0, -1.0):
        weights = relative * np.maximum(sign * score, 0.0)
        total = max(float(weights.sum()), 1e-300)
        value += sign * np.log(total)
        gradient += sign * (weights @ design) / total
    return value, gradient
