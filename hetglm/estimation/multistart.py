"""
From starting values to the supremum of a likelihood that is finite where the dispersion ends.

Three things can keep the supremum from being an ordinary maximum. Rows of a separated mean
(`_separated`) and rows that are all or nothing (dispersion infinite) follow from the response and the
designs alone (`recession`); they are set aside, or fixed at their end, before any search.
Which rows end at phi = 0 depends on the mean: they are found on the way (`_from_start`). And there
may be several maxima, when rows lie at an end or some dispersion is hardly known: then other starts
are tried (`_other_starts`, `_escapes`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from hetglm.estimation import cells as cells_module
from hetglm.estimation.cells import GRID, other_starts, saturated_cells
from hetglm.estimation.dispersion_boundary import (
    determined,
    fit_at_boundary,
    search_from,
    zero_scores,
)
from hetglm.estimation.record import OWN_METHODS, Fit, Settings
from hetglm.estimation.search import search
from hetglm.estimation.separation import (
    TAIL,
    lost_coefficients,
    moved_near_limit,
    put_near_limit,
    separated_rows,
)
from hetglm.likelihood.boundary import ZERO, recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LONGEST_LOG_STEP
from hetglm.typing import Array
from hetglm.utils.linalg import distinct_rows, inverse

#: Standard error of a row's log phi from which on a maximum inside may not be the only one.
VAGUE = 1.5

#: Log-likelihoods closer than this are level.
LEVEL = 1e-9

#: Maxima further apart than this are different ones.
DISTINCT = 1e-5

#: Difference of log-likelihood from the best down to which another maximum is worth a word.
COMPETING = -5.0

#: Other starts that are tried: as many as have so many rows in all, but some.
ROWS_SEARCHED, FEWEST_STARTS = 20_000, 4

#: Times a search leaves phi = 0 again, at most; of very many rows, once.
MOST_ESCAPES = 10

#: Steps after which a search from another start is given up if it promises too little, and the most
#: that twice the log-likelihood is believed to gain by more.
EXPLORED, MOST_GAIN = 40, 10.0

#: Log of phi times size, at most, where a search starts that leaves phi = 0.
FOOT = -2.0

#: Rows towards which ways out of phi = 0 are looked for, those that gain most by it, and the range of
#: log phi along a way.
WAYS, STEEP = 16, (3.0, 10.0, 40.0)

#: Steps by which a way is steered to more gain: a little, and then further.
STEERED = (12, 48)

#: Ways on which phi differs by less than this share of the largest, everywhere, are one.
ALIKE = 0.05

#: Levels of log phi that other starts have.
LEVELS = (-6.0, -2.0, 1.0)

#: Log phi per standard deviation of a column that other starts have.
SLOPE = 10.0

#: Times that another maximum of single cells may lead further.
MOST_ROUNDS = 3

#: Times the slopes of the best maximum, for a last start.
STEEPER = 1.6


def maximise_over_closure(
    likelihood: Likelihood, estimated: Array, starts: Iterator[Array], settings: Settings
) -> Fit:
    """
    Return the supremum.

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
        return _at_ends(likelihood, estimated, starts, settings)
    if rows.all():  # nothing is left to search for: the search finds that
        start = moved_near_limit(likelihood, next(starts), rows, direction, TAIL**2)
        found = search(likelihood, estimated, start, settings)
        of_mean = np.arange(len(estimated)) < likelihood.k_mean
        return replace(
            found, params=np.where(of_mean, found.params, np.nan), estimated=estimated & of_mean
        )
    inner = likelihood.take(~rows)
    solved = determined(inner, estimated, np.full(inner.n, np.nan))
    found = _at_ends(inner, solved, starts, settings)
    return put_near_limit(
        found,
        likelihood,
        estimated & ~lost_coefficients(solved, estimated, likelihood),
        rows,
        direction,
    )


def _at_ends(
    likelihood: Likelihood, estimated: Array, starts: Iterator[Array], settings: Settings
) -> Fit:
    """Return the supremum of a likelihood without separated rows."""
    k = likelihood.k_mean
    sides = likelihood.boundary_family.extreme_responses(likelihood.rows)
    uninformative = likelihood.uninformative()
    top, _, _ = recession(likelihood.Z[:, estimated[k:]], np.abs(sides), uninformative)
    best = search_from(likelihood, estimated, next(starts), settings, top)
    alone = settings.method not in OWN_METHODS or settings.maxiter < EXPLORED
    if alone:
        return best
    best = _over_cells(likelihood, estimated, best, settings, top)
    if _is_plain(best, likelihood, estimated):
        return best
    found = [best]
    others = _other_starts(likelihood, estimated, best, starts, settings)
    most = max(FEWEST_STARTS, ROWS_SEARCHED // likelihood.n)
    for start in islice(others, most):
        found.append(_explored(likelihood, estimated, start, settings, top, best.llf))
        best = _better(best, found[-1])
    # ways out of phi = 0 from the best fit that has such rows, and from where they lead
    at_zero = [fit for fit in found if fit.boundary is not None and fit.boundary.rows.any()]
    base = functools.reduce(_better, at_zero) if at_zero else best
    times = min(MOST_ESCAPES, max(1, ROWS_SEARCHED // likelihood.n))
    for _ in range(times if base.llf > best.llf + COMPETING else 0):
        before = base
        for start in islice(_escapes(likelihood, base), most):
            reached = _explored(likelihood, estimated, start, settings, top, base.llf)
            base = _better(base, reached)
        found.append(base)
        if base is before:
            break
    best = _better(best, base)
    # where the dispersion is steep it may be steeper: rows far from its centre have no say then
    for _ in range(times):
        before, start = best, np.array(best.internal)
        start[k:] *= STEEPER
        found.append(_explored(likelihood, estimated, start, settings, top, best.llf))
        best = _better(best, found[-1])
        if best is before:
            break
    return replace(best, second=_second(likelihood, found, best.llf))


def _over_cells(
    likelihood: Likelihood, estimated: Array, best: Fit, settings: Settings, top: Array
) -> Fit:
    """
    Return the best fit with other dispersions of single cells, where each cell has its own.

    One cell can have two maxima, one of them at phi = 0. Each cell whose dispersion is hardly known
    is looked at over a grid, with a mean of its own: no other cell's fit can make more of it.
    """
    cells = saturated_cells(likelihood, estimated)
    if cells is None or not best.converged:
        return best
    for _ in range(MOST_ROUNDS):
        doubtful = cells_module.doubtful(best, likelihood, cells) & ~top
        if not 0 < doubtful.sum() * GRID <= ROWS_SEARCHED:
            break
        before = best
        for start in other_starts(likelihood, estimated, best, cells, doubtful):
            found = _explored(likelihood, estimated, start, settings, top, best.llf)
            if found.converged and found.llf > best.llf + LEVEL * (1 + abs(best.llf)):
                best = found
                break
        if best is before:
            break
    return best


def _second(likelihood: Likelihood, found: list[Fit], llf: float) -> float:
    """Return the log-likelihood of the next best maximum, NaN if there is none worth a word."""
    others = (f for f in found if f.converged and COMPETING < f.llf - llf < -DISTINCT)
    for other in sorted(others, key=lambda f: -f.llf):
        if next(_escapes(likelihood, other), None) is None:
            return other.llf
    return np.nan


def _explored(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    settings: Settings,
    top: Array,
    llf: float,
) -> Fit:
    """Return what a start leads to, to the end only where it may pass a log-likelihood."""
    glance = replace(settings, maxiter=min(settings.maxiter, EXPLORED))
    found = search_from(likelihood, estimated, start, glance, top)
    if found.converged or found.llf + 0.5 * min(found.decrement**2, MOST_GAIN) < llf:
        return found
    return search_from(likelihood, estimated, start, settings, top)


def _better(best: Fit, found: Fit) -> Fit:
    """Return the fit with more likelihood, one that converged where they are level."""
    if abs(found.llf - best.llf) > LEVEL * (1 + abs(best.llf)):
        return found if found.llf > best.llf else best
    return found if found.converged and not best.converged else best


def _is_plain(found: Fit, likelihood: Likelihood, estimated: Array) -> bool:
    """Return whether there is hardly another maximum: all phi well known, or every cell on its own."""
    if not found.converged or next(_escapes(likelihood, found), None) is not None:
        return False
    if found.boundary is None and not is_dispersion_uncertain(found, likelihood):
        return True
    return saturated_cells(likelihood, estimated) is not None


def is_dispersion_uncertain(found: Fit, likelihood: Likelihood) -> bool:
    """Return whether some row's log phi has a large standard error, by the observed information."""
    k = likelihood.k_mean
    covariance = inverse(found.information)
    if covariance is None:
        return True
    free = int(found.solved[:k].sum())
    V, Z = covariance[free:, free:], likelihood.Z[:, found.solved[k:]]
    # most are far from it: no standard error is larger than the sum of those of the coefficients
    if np.max(np.abs(Z), axis=0, initial=0.0) @ np.sqrt(np.diag(V)) <= VAGUE:
        return False
    return bool(np.max(np.sum((Z @ V) * Z, axis=1)) > VAGUE**2)


def _other_starts(
    likelihood: Likelihood,
    estimated: Array,
    found: Fit,
    starts: Iterator[Array],
    settings: Settings,
) -> Iterator[Array]:
    """Yield other starting values: out of phi = 0, those not tried, levels, and slopes both ways."""
    k = likelihood.k_mean
    ends = np.full(likelihood.n, -np.inf)
    solved = determined(likelihood, estimated, ends)
    zero = search(replace(likelihood, fixed_predictor=ends), solved, found.internal, settings)
    yield from _escapes(
        likelihood, fit_at_boundary(zero, likelihood, estimated, ends, settings.names)
    )
    yield from starts
    Z = likelihood.Z
    beta = found.internal[:k]
    spread = Z.std(axis=0)
    for level in LEVELS:
        gamma = np.linalg.lstsq(Z, np.full(likelihood.n, level), rcond=None)[0]
        yield np.concatenate([beta, np.where(estimated[k:], gamma, 0.0)])
    for j in np.flatnonzero(estimated[k:] & (spread > 0)):
        for slope in (-SLOPE, SLOPE):
            target = LEVELS[1] + slope * (Z[:, j] - Z[:, j].mean()) / spread[j]
            gamma = np.linalg.lstsq(Z, target, rcond=None)[0]
            yield np.concatenate([beta, np.where(estimated[k:], gamma, 0.0)])


def _escapes(likelihood: Likelihood, found: Fit) -> Iterator[Array]:
    r"""
    Yield starting values in directions that leave phi = 0 uphill.

    Near phi = 0 the log-likelihood is :math:`\sum_i s_i \phi_i` higher, s the score in phi, so
    there is a way out along c wherever :math:`\sum_i s_i \exp(z_i' c) > 0`.
    """
    if found.boundary is None or not found.boundary.rows.any():
        return
    k, rows = likelihood.k_mean, found.boundary.rows
    score = zero_scores(likelihood, found.internal, rows)
    sizes = likelihood.boundary_family.boundary_scale(likelihood.rows)[rows]
    Z, score, sizes = _of_cells(likelihood.Z[rows], score, sizes)
    if not np.any(score > 0):
        return
    moved = Z @ found.boundary.directions
    size = np.max(np.abs(moved), axis=0)
    D = found.boundary.directions[:, size > 0] / size[size > 0]
    moved = Z @ D
    # towards a row and away from the others, so steep that one of these outweighs them all
    centred = moved - moved.mean(axis=0)
    away = centred @ np.linalg.pinv(centred.T @ centred, hermitian=True)
    chosen = [i for i in np.argsort(-score / sizes)[:WAYS] if score[i] > 0]
    widths = [np.ptp(moved @ away[i]) for i in chosen]
    ways = [
        steep * away[i] / width
        for i, width in zip(chosen, widths, strict=True)
        if width > ZERO * np.max(np.abs(away[i]))  # a row in the very centre has no way
        for steep in STEEP
    ]
    seen: list[Array] = []
    near = [_steered(way, moved, score, STEERED[0]) for way in ways]
    far = (_steered(way, moved, score, STEERED[1]) for way in near)
    for c in chain([np.zeros(D.shape[1])], near, ways, far):
        power = moved @ c
        shares = np.exp(power - power.max())
        if shares @ score > 0 and not any(np.abs(shares - old).max() < ALIKE for old in seen):
            seen.append(shares)
            foot = FOOT - np.max(power + np.log(sizes))
            level = np.linalg.lstsq(moved, np.full(len(moved), foot), rcond=None)[0]
            start = np.array(found.internal)
            start[k:] += D @ (c + level)
            yield start


def _of_cells(Z: Array, score: Array, sizes: Array) -> tuple[Array, Array, Array]:
    """Return the distinct rows of a long design, which go one way: sums of scores, largest sizes."""
    alike = distinct_rows([Z])
    if alike is None:
        return Z, score, sizes
    first, of_row = alike
    largest = np.zeros(len(first))
    np.maximum.at(largest, of_row, sizes)
    return Z[first], np.bincount(of_row, score), largest


def _steered(c: Array, moved: Array, score: Array, steps: int) -> Array:
    """Return a direction with more gain for its loss, some steps uphill from another."""
    value, gradient = _balance(c, moved, score)
    length = LONGEST_LOG_STEP
    for _ in range(steps):
        width = np.ptp(moved @ gradient)
        if not width > 0:
            break
        trial = c + gradient * (length / width)
        reached, slope = _balance(trial, moved, score)
        if reached > value:
            c, value, gradient = trial, reached, slope
        else:
            length *= 0.4
    return c


def _balance(c: Array, moved: Array, score: Array) -> tuple[float, Array]:
    """Return log sum of gains less log sum of losses by exp(moved c), and its gradient."""
    power = moved @ c
    shares = np.exp(power - power.max())
    value, gradient = 0.0, np.zeros(len(c))
    for side in (1.0, -1.0):
        weights = shares * np.maximum(side * score, 0.0)
        total = max(float(weights.sum()), 1e-300)
        value += side * np.log(total)
        gradient += side * (weights @ moved) / total
    return value, gradient
