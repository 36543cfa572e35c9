"""Newton's method with expected information as its safety net, on any smooth log-likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hetglm.likelihood.objective import Local, Objective
from hetglm.typing import Array
from hetglm.utils.linalg import solve_scaled

#: Share of the predicted gain a step must bring (Armijo's constant, Nocedal and Wright 2006, 3.1).
SUFFICIENT = 1e-4

#: Below this gain, in units of n + |llf|, a log-likelihood that is a difference of large terms may not
#: see a step; the gradient, which has more digits, judges it.
ROUNDING = 2.0**-40

#: A step that shrinks the gradient by less than this, where the value sees nothing, is the last.
SHRINKS = 0.9

#: A stall with a scaled gradient above this is no convergence.
STALLED_TOLERANCE = 1e-5

SMALLEST_STEP = 2.0**-40

#: After a step that had to be shortened, the next begins with so many times its share.
LONGER = 8.0

#: A step that changes the information by a share of CLOSING at most leaves as little of the gradient:
#: with MANY rows it is taken without another evaluation.
CLOSING, MANY = 1e-6, 4000


@dataclass(frozen=True)
class Optimum:
    """
    Where an optimisation stopped, and why.

    Attributes
    ----------
    params : ndarray
        The last point.
    local : Local
        Value, gradient and observed information there; where the last step was not evaluated,
        gradient and information are those before it, and the decrement is what it leaves.
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
    params, here, share, furthest = start, objective.local(start), 1.0, objective.furthest
    best = np.inf
    for iteration in range(maxiter + 1):
        step, decrement = _direction(objective, params, here, furthest)
        if decrement <= tol:
            return Optimum(params, here, iteration, decrement, True, "the scaled gradient is zero")
        shrunk = decrement / best if iteration else 1.0
        if objective.n >= MANY and decrement * CLOSING <= tol:
            left = _left(objective, step, shrunk)
            if left <= CLOSING:
                return _closed(params + step, here, iteration + 1, decrement, left)
        noise = ROUNDING * (objective.n + abs(here.value))
        if 0.5 * decrement**2 < noise and decrement >= SHRINKS * best:
            return _stalled(params, here, iteration, decrement)
        best = decrement
        if iteration == maxiter:
            break
        first = min(1.0, LONGER * share)
        moved = _search(objective, params, here, step, decrement, noise, first)
        if moved is None and decrement > STALLED_TOLERANCE:
            moved = _damped_search(objective, params, here, noise)
        if moved is None:
            return _stalled(params, here, iteration, decrement)
        params, here, share = moved
        # a slope without end is climbed faster and faster
        limited = share == 1 and np.linalg.norm(step) >= furthest
        furthest = max(objective.furthest, furthest * (2.0 if limited else share))
        if watch is not None:
            watch(params)
    return Optimum(
        params, here, maxiter, decrement, False, f"no convergence in {maxiter} iterations (maxiter)"
    )


def _direction(
    objective: Objective, params: Array, here: Local, furthest: float
) -> tuple[Array, float]:
    """Return an ascent step and its decrement: Newton's, else a bounded one or scoring's."""
    step = solve_scaled(here.information, here.gradient)
    if step is None and furthest < np.inf:
        step = _bounded(here.information, here.gradient, furthest)
    if step is None:
        step = solve_scaled(objective.expected_information(params), here.gradient)
    if step is None:
        step = here.gradient
    return step, max(float(here.gradient @ step), 0.0) ** 0.5


def _bounded(information: Array, gradient: Array, furthest: float) -> Array | None:
    """
    Return a step uphill along every eigenvector, by its curvature of either sign but not far.

    Y. Dauphin et al. (2014), Identifying and attacking the saddle point problem.
    """
    if not np.all(np.isfinite(information)):
        return None
    curvature, vectors = np.linalg.eigh(information)
    along = vectors.T @ gradient
    steps = along / np.maximum(np.maximum(np.abs(curvature), np.abs(along) / furthest), 1e-300)
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
    Return the first point along the step, halving it, that gains enough, and the share of the step.

    None if none does. ``first`` is the share to begin with, of the longest that is sensible.
    """
    longest = min(1.0, objective.longest_step(params, step))
    share = first
    while share > SMALLEST_STEP:
        fraction = share * longest
        point = params + fraction * step
        # too small a gain to be seen in the value: the gradient alone can judge the step
        visible = 0.5 * decrement**2 > noise
        needed = here.value + (SUFFICIENT * fraction * decrement**2 if visible else -noise)
        if share == 1 or objective.value(point) >= needed:
            there = objective.local(point)
            if there.value >= needed and np.all(np.isfinite(there.gradient)):
                return point, there, share
        share *= 0.5
    return None


def _damped_search(
    objective: Objective, params: Array, here: Local, noise: float
) -> tuple[Array, Local, float] | None:
    """Return a better point by shorter and shorter steps: in a singular corner Newton's is absurd."""
    expected = np.nan_to_num(objective.expected_information(params))
    diagonal = np.diag(np.maximum(np.diag(expected), 1e-300))
    for ridge in (1e-3, 1.0, 1e3):
        step = solve_scaled(expected + ridge * diagonal, here.gradient)
        if step is not None:
            decrement = max(float(here.gradient @ step), 0.0) ** 0.5
            moved = _search(objective, params, here, step, decrement, noise)
            if moved is not None:
                return moved
    return None


def _left(objective: Objective, step: Array, shrunk: float) -> float:
    """
    Return the share of the gradient that a Newton step leaves, that by which the information changes.

    It is the square of the last step's, or of the order of the largest change of a predictor.
    """
    return shrunk**2 if shrunk**2 <= CLOSING else objective.change(step)


def _closed(params: Array, before: Local, iteration: int, decrement: float, left: float) -> Optimum:
    """Return the optimum after a last step that needs no evaluation."""
    there = replace(before, value=before.value + 0.5 * decrement**2)
    message = "the last step leaves a scaled gradient of zero"
    return Optimum(params, there, iteration, decrement * left, True, message)


def _stalled(params: Array, here: Local, iteration: int, decrement: float) -> Optimum:
    converged = decrement < STALLED_TOLERANCE
    message = (
        "the log-likelihood cannot be raised further in double precision; "
        f"scaled gradient {decrement:.1e}"
    )
    return Optimum(params, here, iteration, decrement, converged, message)
