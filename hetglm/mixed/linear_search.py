"""Minimisation of the profiled deviance of a linear mixed model: EM, then Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hetglm.mixed.linear import LinearMixedModel, Profile
from hetglm.typing import Array

#: Rounds of EM before Newton's method, which may run through wrong basins from afar.
N_EM_ROUNDS = 2
#: Most steps, and most halvings of one.
MAX_STEPS, MAX_HALVINGS = 60, 30
#: Longest step, in units of 1 + |theta|.
MAX_STEP = 2.0
#: Squared length of the step in standard errors, in the criterion's units, that ends the search.
TOL_DECREMENT = 1e-16
#: The same below which full steps are taken without a look at the value: it is less than its rounding
#: there.
MAX_DECREMENT_NEAR = 1e-6
#: Share of the last step's squared length from which the next is slow: the nearly exact Hessian of
#: several factors does not do.
MAX_RATE = 0.1
#: Slow steps with the exact Hessian, near the minimum, after which what is left is rounding.
MAX_STALLED = 3
#: Eigenvalue of the Hessian with a unit diagonal, as a share of the largest, below which a direction
#: has no curvature.
MIN_EIGENVALUE = 1e-10
#: Step of the differences of the exact gradient, in units of theta: sd of an effect over sd of a row.
DIFFERENCE = 1e-4
#: Step out of a saddle point, in the same units.
SADDLE_STEP = 0.1
#: Increase of the deviance that a parameter may cost that is set to its boundary.
TOL_BOUNDARY = 1e-9
#: Largest theta at which the boundary is tried.
MAX_THETA_BOUNDARY = 1e-2


@dataclass(frozen=True)
class Search:
    """The end of a search: the profile there, the Hessian of its deviance, and how it went."""

    profile: Profile
    hessian: Array
    decrement: float
    iterations: int
    evaluations: int
    converged: bool


def minimise(model: LinearMixedModel) -> Search:
    """Return the minimum of the profiled deviance."""
    here = model.at(model.theta_of([np.eye(k) for k, _ in model.cross.sizes]))
    for _ in range(N_EM_ROUNDS):
        here = model.at(expectation_maximisation(here))
    steps, evaluations, near, before, stalled = 0, 1 + N_EM_ROUNDS, False, np.inf, 0
    hessian = here.hessian
    while True:
        step, decrement = newton_step(here.gradient, hessian)
        if decrement < TOL_DECREMENT or steps == MAX_STEPS or here.degenerate:
            break
        near, slow = decrement < MAX_DECREMENT_NEAR, near and decrement > MAX_RATE * before
        if slow:
            step, decrement = newton_step(here.gradient, curvature(here))
            stalled += decrement > MAX_RATE * before
            if stalled == MAX_STALLED:
                break
        there, more = accepted(here, step, near)
        if there is here:
            break
        here = there
        steps, evaluations, before = steps + 1, evaluations + more, decrement
        hessian = here.hessian
    here, more = at_boundary(here)
    if more or here.H.rest is not None:
        hessian = curvature(here)
    converged = decrement < MAX_DECREMENT_NEAR
    return Search(here, hessian, decrement, steps, evaluations + more, converged)


def curvature(here: Profile) -> Array:
    """Return the exact Hessian, for several factors by differences, shape (m, m)."""
    return here.hessian if here.H.rest is None else differenced(here)


def at_boundary(here: Profile) -> tuple[Profile, int]:
    """Return the profile with what is 0 up to rounding set to 0, its signs fixed, and evaluations."""
    evaluations = 0
    for at, (k, _) in enumerate(here.model.cross.sizes):
        for j in range(k):
            for columns in (
                slice(None),
                j,
            ):  # without variance, else determined by the effects before
                if 0 < np.abs(here.H.Lambda[at][j, columns]).max() < MAX_THETA_BOUNDARY:
                    trial = [np.array(L) for L in here.H.Lambda]
                    trial[at][j, columns] = 0
                    there = normalised(here.model, trial)
                    evaluations += 1
                    here = there if there.value <= here.value + TOL_BOUNDARY else here
    if any(np.any(np.diag(L) < 0) for L in here.H.Lambda):
        return normalised(here.model, here.H.Lambda), evaluations + 1
    return here, evaluations


def normalised(model: LinearMixedModel, Lambda: list[Array]) -> Profile:
    """Return the profile at the Lambda with a diagonal of at least 0 of the same covariances."""
    return model.at(model.theta_of([L @ L.T for L in Lambda]))


def expectation_maximisation(here: Profile) -> Array:
    """Return theta after a round of EM: covariances are means of b b' + cov(b) over the groups."""
    covariances = []
    for at, ((k, groups), L) in enumerate(zip(here.model.cross.sizes, here.H.Lambda, strict=True)):
        u = here.by_column(here.u, at)
        second = u @ u.T / here.phi + groups * np.eye(k) - L.T @ here.precisions[at][1]
        covariances.append(L @ (second + second.T) @ L.T / (2 * groups))
    return here.model.theta_of(covariances)


def newton_step(gradient: Array, hessian: Array) -> tuple[Array, float]:
    """
    Return a descent direction and the decrease it promises, twice over.

    Negative eigenvalues are replaced by their absolute values. At a stationary point with one, the
    direction leads out of it.
    """
    size = np.sqrt(np.abs(np.diag(hessian)))
    size = np.where(size > 0, size, max(float(size.max()), 1.0))
    values, vectors = np.linalg.eigh(hessian / np.outer(size, size))
    curvature = np.maximum(np.abs(values), MIN_EIGENVALUE * np.abs(values).max())
    vectors = vectors / size[:, None]
    along = vectors.T @ gradient
    decrement = float(np.sum(along**2 / curvature))
    if decrement < TOL_DECREMENT and values[0] < -MIN_EIGENVALUE * curvature.max():
        out = SADDLE_STEP * vectors[:, 0] / np.linalg.norm(vectors[:, 0])
        return out, float(-out @ hessian @ out)
    return -vectors @ (along / curvature), decrement


def accepted(here: Profile, step: Array, near: bool) -> tuple[Profile, int]:
    """Return the profile after the step, halved until the deviance falls, and the evaluations."""
    longest = MAX_STEP * (1 + float(np.linalg.norm(here.theta)))
    step = step * min(1.0, longest / max(float(np.linalg.norm(step)), TOL_DECREMENT))
    for halvings in range(MAX_HALVINGS):
        there = here.model.at(here.theta + step / 2**halvings)
        if near or there.value < here.value:
            return there, halvings + 1
    return here, MAX_HALVINGS


def differenced(here: Profile) -> Array:
    """Return the Hessian by differences of the exact gradient, shape (m, m)."""
    rows = []
    for one in DIFFERENCE * np.eye(len(here.theta)):
        up, down = (here.model.at(here.theta + sign * one).gradient for sign in (1, -1))
        rows.append((up - down) / (2 * DIFFERENCE))
    return 0.5 * (np.array(rows) + np.array(rows).T)
