"""
The search for the maximum: BFGS in the metric of psi, then Newton's method.

A small step of BFGS is no convergence: the observed information, by differences of the exact gradient,
decides; it is the one reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hetglm.mixed.information import metric, observed_information, positive
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.typing import Array
from hetglm.utils.linalg import inverse

#: Squared Newton decrement at which the search has converged.
TOL_DECREMENT = 1e-12
#: Squared decrement of BFGS from which on Newton's method takes over.
MAX_NEWTON_DECREMENT = 1e-13
#: Squared decrement before the last Newton steps up to which the information is that at the maximum.
MAX_INFORMATION_DECREMENT = 1e-8
#: Share of the predicted gain that a step must bring (Armijo's constant, Nocedal and Wright 2006, 3.1).
MIN_GAIN_SHARE = 1e-4
#: Share of a step below which halving stops.
MIN_STEP_SHARE = 2.0**-30
#: Gain in units of 1 + |L| that rounding hides.
TOL_ROUNDING = 1e-12
#: Times the information is differenced, at most, and Newton steps on one of them.
MAX_INFORMATIONS, MAX_STEPS_ON_ONE = 10, 4
#: Eigenvalue of the information with a unit diagonal below which a direction is not identified.
MIN_EIGENVALUE = 1e-4


@dataclass(frozen=True)
class Optimum:
    """
    Where a search ended.

    Attributes
    ----------
    here : Evaluation
    free : ndarray of int
        Entries of psi that were searched over.
    information : ndarray, shape (f, f)
        Observed information of the free entries.
    decrement : float
        Square root of g'I^-1 g, infinite if the information is not positive definite.
    iterations : int
    converged : bool
    message : str
    """

    here: Evaluation
    free: Array
    information: Array
    decrement: float
    iterations: int
    converged: bool
    message: str


#: What follows BFGS.
LastSteps = Callable[[Marginal, Evaluation, Array, int, int], Optimum]


def near_maximum(
    marginal: Marginal, here: Evaluation, free: Array, maxiter: int
) -> tuple[Evaluation, int]:
    """Return the point near a maximum where BFGS ends, and the number of steps."""
    B, of_metric = _inverse_metric(marginal, here, free), True
    gradient = marginal.gradient(here)[free]
    for iteration in range(maxiter):
        step = B @ gradient
        decrement = float(gradient @ step)
        if decrement < MAX_NEWTON_DECREMENT:
            return here, iteration
        there = line_search(marginal, here, free, step, decrement)
        if there is None and of_metric:
            return here, iteration
        if there is None:
            B, of_metric = _inverse_metric(marginal, here, free), True
            continue
        marginal.accept(there)
        after = marginal.gradient(there)[free]
        s, y = (there.psi - here.psi)[free], gradient - after
        here, gradient = there, after
        if s @ y > 0:
            B, of_metric = _updated(B, s, y), False
        else:
            B, of_metric = _inverse_metric(marginal, here, free), True
    return here, maxiter


def _inverse_metric(marginal: Marginal, here: Evaluation, free: Array) -> Array:
    found = inverse(positive(metric(marginal, here)[np.ix_(free, free)]))
    assert found is not None
    return found


def _updated(B: Array, s: Array, y: Array) -> Array:
    """Return BFGS's update of an inverse information by a step and the fall of the gradient."""
    rho = 1 / (s @ y)
    left = np.eye(len(s)) - rho * np.outer(s, y)
    return np.asarray(left @ B @ left.T + rho * np.outer(s, s))


def line_search(
    marginal: Marginal, here: Evaluation, free: Array, step: Array, decrement: float
) -> Evaluation | None:
    """Return the first point along a step, by halving, with a sufficient gain; None without one."""
    share, noise = 1.0, TOL_ROUNDING * (1 + abs(here.value))
    while share > MIN_STEP_SHARE:
        psi = here.psi.copy()
        psi[free] += share * step
        there = marginal.at(psi)
        needed = MIN_GAIN_SHARE * share * decrement
        if there is not None and there.value >= here.value + min(needed, decrement - noise):
            return there
        share *= 0.5
    return None


def maximised(
    marginal: Marginal, here: Evaluation, free: Array, iterations: int, maxiter: int
) -> Optimum:
    """Return the maximum by Newton's method on differenced informations."""
    marginal.accept(here)
    gradient = marginal.gradient(here)[free]
    information, decrement, message = np.eye(len(free)), np.inf, "no convergence"
    for _ in range(MAX_INFORMATIONS):
        units = np.diag(metric(marginal, here)[np.ix_(free, free)]) ** -0.5
        information = observed_information(marginal, here, free, units)
        if not np.all(np.isfinite(information)):
            return _ended(here, free, information, np.inf, iterations, "derivatives are not finite")
        covariance = inverse(information)
        usable = covariance is not None
        B = covariance if covariance is not None else np.linalg.inv(positive(information))
        first = float(gradient @ B @ gradient)
        for _ in range(MAX_STEPS_ON_ONE):
            step = B @ gradient
            decrement = float(gradient @ step)
            if decrement < TOL_DECREMENT:
                break
            there = line_search(marginal, here, free, step, decrement)
            if there is None:
                break
            here, iterations = there, iterations + 1
            marginal.accept(here)
            gradient = marginal.gradient(here)[free]
        if decrement < TOL_DECREMENT and usable and first < MAX_INFORMATION_DECREMENT:
            return _ended(here, free, information, decrement, iterations, "")
        if iterations >= maxiter:
            message = f"no convergence in {maxiter} iterations (maxiter)"
            break
    return _ended(here, free, information, decrement if usable else np.inf, iterations, message)


def ended(
    marginal: Marginal, here: Evaluation, free: Array, iterations: int, maxiter: int
) -> Optimum:
    """Return the point where BFGS ended as a maximum, without its information."""
    unknown = np.full((len(free), len(free)), np.nan)
    message = f"no convergence in {maxiter} iterations (maxiter)" if iterations >= maxiter else ""
    return _ended(here, free, unknown, 0.0, iterations, message)


def _ended(
    here: Evaluation, free: Array, information: Array, squared: float, iterations: int, message: str
) -> Optimum:
    converged = not message
    message = message or "the scaled gradient is zero"
    return Optimum(here, free, information, float(np.sqrt(squared)), iterations, converged, message)
