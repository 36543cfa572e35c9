"""Separated rows of the mean: set aside before a search, and put near their limit after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hetglm.estimation.record import Fit
from hetglm.likelihood.boundary import recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import near_limit, reached
from hetglm.likelihood.objective import ScaledObjective
from hetglm.typing import Array

#: Distance of a separated row's mean from its limit, over its trials: no digit of the likelihood.
MAX_TAIL = 1e-10


def separated_rows(likelihood: Likelihood, estimated: Array) -> tuple[Array, Array]:
    """
    Return the rows whose mean goes to its limit at the supremum, and a direction that takes it there.

    Albert and Anderson (1984), On the existence of maximum likelihood estimates in logistic
    regression models. Biometrika 71, 1-10.
    """
    k = likelihood.k_mean
    kept = estimated[:k]
    direction = np.zeros(k)
    extreme = likelihood.boundary_family.extreme_responses(likelihood.rows)
    signs = np.where(reached(likelihood.link, extreme), extreme, 0.0)
    rows, _, direction[kept] = recession(likelihood.X[:, kept], signs)
    return rows, direction


def lost_coefficients(solved: Array, estimated: Array, likelihood: Likelihood) -> Array:
    """Return the dispersion's coefficients that only separated rows are informative about."""
    lost = estimated & ~solved
    lost[: likelihood.k_mean] = False
    return lost


def put_near_limit(
    found: Fit, likelihood: Likelihood, estimated: Array, rows: Array, direction: Array
) -> Fit:
    """Return a fit without the separated rows as a fit to all rows, these near their limit."""
    k = likelihood.k_mean
    internal = moved_near_limit(likelihood, found.internal, rows, direction, MAX_TAIL)
    boundary = found.boundary
    of_mean = np.arange(len(estimated)) < k
    solved = found.solved | (estimated & of_mean)
    fixed = None
    if boundary is not None:
        at_zero, infinite = np.zeros((2, likelihood.n), dtype=bool)
        at_zero[~rows], infinite[~rows] = boundary.rows, boundary.infinite
        boundary = replace(boundary, rows=at_zero, infinite=infinite)
        estimated = estimated & (found.estimated | of_mean)
        fixed = boundary.fixed_predictor
    objective = ScaledObjective(replace(likelihood, fixed_predictor=fixed), solved)
    local = objective.local(objective.reduced(internal))
    return replace(
        found,
        params=np.where(estimated, internal, np.nan),
        estimated=estimated,
        internal=internal,
        solved=solved,
        llf=local.value,
        information=local.information * np.outer(objective.scale, objective.scale),
        boundary=boundary,
    )


def moved_near_limit(
    likelihood: Likelihood, params: Array, rows: Array, direction: Array, tail: float
) -> Array:
    """Return params moved in a direction of the mean until all the rows are this near their limit."""
    trials = 1.0 if likelihood.trials is None else likelihood.trials[rows]
    tails = np.broadcast_to(tail / trials, int(rows.sum()))
    eta = likelihood.predictors(params).eta[rows]
    change = likelihood.X[rows] @ direction
    target = near_limit(likelihood.link, tails, change > 0)
    out = np.array(params)
    out[: likelihood.k_mean] += max(float(np.max((target - eta) / change)), 0.0) * direction
    return out
