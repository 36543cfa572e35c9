"""Responses drawn from a fit with random effects."""

from __future__ import annotations

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.averages import MAX_POINTS, responses
from hetglm.mixed.conditional import added, at_modes
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.record import MixedFit
from hetglm.prediction import quantities
from hetglm.typing import Array

#: Random effects of simulated responses: drawn anew for each data set, or at their modes.
KINDS = ("new", "conditional")


def simulate(
    likelihood: Likelihood,
    factors: tuple[GroupingFactor, ...],
    fit: MixedFit,
    nsim: int,
    rng: np.random.Generator,
    random: str,
) -> Array:
    """
    Return responses on the rows of a fit, shape (nsim, n).

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    fit : MixedFit
    nsim : int
        Number of data sets.
    rng : numpy.random.Generator
    random : {"new", "conditional"}
        Whether the random effects are drawn for each data set, or are at their modes.

    Raises
    ------
    ValueError
        For another value of ``random``.
    """
    if random not in KINDS:
        raise ValueError(f"random={random!r}: choose 'new' or 'conditional'")
    if random == "conditional":
        frozen = quantities.distribution(at_modes(likelihood, factors, fit), fit.internal)
        drawn = frozen.rvs(size=(nsim, likelihood.n), random_state=rng)
        return np.asarray(drawn, dtype=float)
    at = likelihood.predictors(fit.internal)
    most = max(1, MAX_POINTS // max(1, likelihood.n))
    out = []
    for first in range(0, nsim, most):
        size = min(most, nsim - first)
        moved = [added(factors, new_effects(factors, fit.theta, rng)) for _ in range(size)]
        eta, zeta = np.stack(moved, axis=-1)
        out.append(responses(likelihood, at.eta[:, None] + eta, at.zeta[:, None] + zeta, rng))
    return np.concatenate(out)


def new_effects(
    factors: tuple[GroupingFactor, ...], theta: Array, rng: np.random.Generator
) -> list[Array]:
    """Return random effects b = Lambda u of each factor with new u, shapes (G, k)."""
    matrices = structure_of(factors).matrices(theta)
    return [
        rng.standard_normal((len(factor.levels), len(factor.columns))) @ Lambda.T
        for factor, Lambda in zip(factors, matrices, strict=True)
    ]
