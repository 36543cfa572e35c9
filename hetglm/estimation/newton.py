"""
Newton's method with line search on any smooth log-likelihood; Fisher scoring where it has no step.

The observed information is used where it is positive definite, else a step bounded along its
eigenvectors or the expected information, so that every step is one of ascent. The length of a step is
limited by the criterion (`likelihood.objective`), the number of steps by `record.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hetglm.likelihood.objective import Local, Objective
from hetglm.typing import Array
from hetglm.utils.linalg import solve_scaled

#: Share of the predicted gain that a step must bring (Armijo's constant, Nocedal and Wright 2006, 3.1).
MIN_GAIN_SHARE = 1e-4

#: Gain in units of n + |llf| below which rounding hides the change in the log-likelihood: the
#: gradient, which keeps more digits, decides.
TOL_ROUNDING = 2.0**-40

#: Ratio of successive scaled gradients from which on a search stalls, where rounding hides the gain.
MAX_GRADIENT_RATIO = 0.9

#: Scaled gradient up to which a search that cannot gain any more has converged.
TOL_STALLED = 1e-5

#: Share of a step below which halving stops.
MIN_STEP_SHARE = 2.0**-40

#: Factor by which the first share of a step may exceed the share that the step before it took.
MAX_SHARE_GROWTH = 8.0

#: Factor by which the step bound grows along a direction without curvature.
STEP_BOUND_GROWTH = 2.0

#: Relative change of the information by a Newton step up to which the gradient after the step is
#: known without evaluating it: that share of the gradient before.
TOL_INFORMATION = 1e-6

#: Number of rows from which on this saves the final evaluation.
MIN_ROWS_UNEVALUATED = 4000

#: Multiples of the diagonal added to a singular expected information (Levenberg and Marquardt).
RIDGES = (1e-3, 1.0, 1e3)


@dataclass(frozen=True)
class Optimum:
    """
    Where an optimisation stopped, and why.

    Attributes
    ----------
    params : ndarray
        The last point.
    local : Local
        Value, gradient and observed information there; where the last step was not evaluated, gradient
        and information are those before it, and the decrement is the one expected after it.
    iterations : int
    decrement : float
        Newton decrement sqrt(g' I^-1 g): the gradient in units of its standard deviation, largest
        over all directions and free of the scale of the columns.
    converged : bool
    message : str
        A sentence on how it ended.
    """

    params: Array
    local: Local
    iterations: int
    decrement: float
    converged: bool
    message: str


def maximise(
    objective: Objective,
    start: Array,
    maxiter: int = 100,
    tol: float = 1e-8,
    watch: Callable[[Array], None] | None = None,
) -> Optimum:
    """
    Return the maximum reached from ``start``.

    Parameters
    ----------
    objective : Objective
    start : ndarray
        A point inside the domain.
    maxiter : int
        Largest number of steps.
    tol : float
        Convergence is declared on the Newton decrement (see `Optimum`), never on a step size.
    watch : callable, optional
        Called with the params after each step; may raise to stop.
    """
    params, here, share, bound = start, objective.local(start), 1.0, objective.max_step_length
    best = np.inf
    for iteration in range(maxiter + 1):
        step, decrement = _direction(objective, params, here, bound)
        if decrement <= tol:
            return Optimum(params, here, iteration, decrement, True, "the scaled gradient is zero")
        ratio = decrement / best if iteration else 1.0
        if objective.n >= MIN_ROWS_UNEVALUATED and decrement * TOL_INFORMATION <= tol:
            after = _gradient_ratio(objective, step, ratio)
            if after <= TOL_INFORMATION:
                return _unevaluated(params + step, here, iteration + 1, decrement, after)
        noise = TOL_ROUNDING * (objective.n + abs(here.value))
        if 0.5 * decrement**2 < noise and decrement >= MAX_GRADIENT_RATIO * best:
            return _stalled(params, here, iteration, decrement)
        best = decrement
        if iteration == maxiter:
            break
        first = min(1.0, MAX_SHARE_GROWTH * share)
        moved = _search(objective, params, here, step, decrement, noise, first)
        if moved is None and decrement > TOL_STALLED:
            moved = _damped_search(objective, params, here, noise)
        if moved is None:
            return _stalled(params, here, iteration, decrement)
        params, here, share = moved
        # the step bound grows along a direction without curvature
        limited = share == 1 and np.linalg.norm(step) >= bound
        bound = max(objective.max_step_length, bound * (STEP_BOUND_GROWTH if limited else share))
        if watch is not None:
            watch(params)
    return Optimum(
        params, here, maxiter, decrement, False, f"no convergence in {maxiter} iterations (maxiter)"
    )


def _direction(
    objective: Objective, params: Array, here: Local, bound: float
) -> tuple[Array, float]:
    """Return an ascent step and its decrement: Newton's, else a bounded one or Fisher scoring's."""
    step = solve_scaled(here.information, here.gradient)
    if step is None and bound < np.inf:
        step = _bounded(here.information, here.gradient, bound)
    if step is None:
        step = solve_scaled(objective.expected_information(params), here.gradient)
    if step is None:
        step = here.gradient
    return step, max(float(here.gradient @ step), 0.0) ** 0.5


def _bounded(information: Array, gradient: Array, bound: float) -> Array | None:
    """
    Return an ascent step along every eigenvector, by the size of its curvature, of bounded length.

    Y. Dauphin et al. (2014), Identifying and attacking the saddle point problem.
    """
    if not np.all(np.isfinite(information)):
        return None
    curvature, vectors = np.linalg.eigh(information)
    along = vectors.T @ gradient
    steps = along / np.maximum(np.maximum(np.abs(curvature), np.abs(along) / bound), 1e-300)
    return np.asarray(vectors @ steps)


def _search(
    objective: Objective,
    params: Array,
    here: Local,
    step: Array,
    decrement: float,
    noise: float,
    first: float = 1.0,
) -> tuple[Array, Local, float] | None:
    """
    Return the first point along the step, by halving, with a sufficient gain, and the share of the step.

    None if there is none. ``first`` is the share of the longest step (`Objective.longest_step`) to
    begin with.
    """
    longest = min(1.0, objective.longest_step(params, step))
    share = first
    while share > MIN_STEP_SHARE:
        fraction = share * longest
        point = params + fraction * step
        # a gain that rounding hides: a step is accepted if it loses no more than that
        visible = 0.5 * decrement**2 > noise
        needed = here.value + (MIN_GAIN_SHARE * fraction * decrement**2 if visible else -noise)
        if share == 1 or objective.value(point) >= needed:
            there = objective.local(point)
            if there.value >= needed and np.all(np.isfinite(there.gradient)):
                return point, there, share
        share *= 0.5
    return None


def _damped_search(
    objective: Objective, params: Array, here: Local, noise: float
) -> tuple[Array, Local, float] | None:
    """Return a better point by steps damped more and more, where the information is near singular."""
    expected = np.nan_to_num(objective.expected_information(params))
    diagonal = np.diag(np.maximum(np.diag(expected), 1e-300))
    for ridge in RIDGES:
        step = solve_scaled(expected + ridge * diagonal, here.gradient)
        if step is not None:
            decrement = max(float(here.gradient @ step), 0.0) ** 0.5
            moved = _search(objective, params, here, step, decrement, noise)
            if moved is not None:
                return moved
    return None


def _gradient_ratio(objective: Objective, step: Array, ratio: float) -> float:
    """
    Return the ratio of the gradients after and before a Newton step, without evaluating it.

    It is the relative change of the information: the square of the last step's ratio, or of the order of
    the largest change of a predictor. Guarded by tests/estimation/test_optimize.py
    (``test_last_step_of_many_rows_needs_no_evaluation``).
    """
    return ratio**2 if ratio**2 <= TOL_INFORMATION else objective.change(step)


def _unevaluated(
    params: Array, before: Local, iteration: int, decrement: float, ratio: float
) -> Optimum:
    """Return the optimum after a last step that is not evaluated."""
    there = replace(before, value=before.value + 0.5 * decrement**2)
    message = "the last step leaves a scaled gradient of zero"
    return Optimum(params, there, iteration, decrement * ratio, True, message)


def _stalled(params: Array, here: Local, iteration: int, decrement: float) -> Optimum:
    """Return the optimum where rounding keeps the log-likelihood from increasing."""
    converged = decrement < TOL_STALLED
    message = (
        "the log-likelihood cannot be raised further in double precision; "
        f"scaled gradient {decrement:.1e}"
    )
    return Optimum(params, here, iteration, decrement, converged, message)
