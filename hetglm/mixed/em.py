"""Starting values by rounds of the EM algorithm at Laplace's approximation (Dempster et al. 1977)."""

from __future__ import annotations

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.cholesky import Indefinite
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.joint import JointDensity, NoModeError
from hetglm.mixed.laplace import Laplace
from hetglm.typing import Array

#: Rounds: without them some searches run through the basin of another maximum.
N_ROUNDS = 5
#: Squared decrement at which a mode is near enough for a starting value.
TOL_MODE = 1e-3
#: Curvature of a row in its predictor below which the first standard deviation is that of 1.
MIN_CURVATURE = 1e-8


def em_start(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], coefficients: Array
) -> tuple[Array, Array, list[Array]]:
    """
    Return coefficients, theta and modes u from which a search may start.

    In each round the mode of coefficients and random effects together at given covariances, then
    the covariance of each factor as the mean over its groups of b b' and the covariance of b.

    Parameters
    ----------
    likelihood : Likelihood
        With independent columns.
    factors : tuple of GroupingFactor
    coefficients : ndarray, shape (p + q,)
        Of the fit without random effects.
    """
    n, structure = likelihood.n, structure_of(factors)
    bare = likelihood.with_designs(np.empty((n, 0)), np.empty((n, 0)))
    joint = JointDensity(bare, factors, (likelihood.X, likelihood.Z))
    theta = structure.of_covariances(first_covariances(likelihood, factors, coefficients))
    try:
        u = _first_modes(likelihood, factors, coefficients, theta)
        for _ in range(N_ROUNDS):
            Lambdas = joint.ordered_matrices(structure.matrices(theta))
            laplace = Laplace(
                joint, joint.mode(joint.fixed_part(np.empty(0)), Lambdas, u, TOL_MODE)
            )
            theta = structure.of_covariances(_covariances(laplace))
            after = joint.ordered_matrices(structure.matrices(theta))
            # the same effects b in units of the new covariance
            u = [
                v @ (np.linalg.pinv(b) @ a).T
                for v, a, b in zip(laplace.mode.u, Lambdas, after, strict=True)
            ]
    except (NoModeError, Indefinite):
        return coefficients, theta, [np.zeros((len(f.levels), len(f.columns))) for f in factors]
    modes = [u[joint.order.index(i)] for i in range(len(factors))]
    return (u[-1][0] if joint.integrated_columns else coefficients), theta, modes


def _first_modes(
    likelihood: Likelihood,
    factors: tuple[GroupingFactor, ...],
    coefficients: Array,
    theta: Array,
) -> list[Array]:
    """Return modes of the random effects at given coefficients, and these coefficients as the last."""
    joint = JointDensity(likelihood, factors)
    Lambdas = joint.ordered_matrices(structure_of(factors).matrices(theta))
    u = joint.mode(joint.fixed_part(coefficients), Lambdas, joint.zero(), TOL_MODE).u
    return [*u, coefficients[None, :]] if len(coefficients) else u


def _covariances(laplace: Laplace) -> list[Array]:
    """Return the mean over the groups of b b' and of the covariance of b, for each factor."""
    out = []
    for j in map(laplace.joint.order.index, range(len(laplace.joint.order))):
        b = laplace.mode.u[j] @ laplace.mode.Lambdas[j].T
        C = laplace.covariances.own[j]
        out.append((b.T @ b + C.sum(axis=0)) / len(b))
    return out


def first_covariances(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], coefficients: Array
) -> list[Array]:
    """Return diagonal covariances, a variance being the inverse of the mean curvature of a row."""
    rows = likelihood.factors(coefficients)
    assert rows.eta_eta is not None and rows.zeta_zeta is not None
    curvature = {"mean": -rows.eta_eta, "dispersion": -rows.zeta_zeta}
    out = []
    for factor in factors:
        means = [
            np.nanmean(curvature[part] * column**2)
            for part, column in zip(factor.parts, factor.values.T, strict=True)
        ]
        usable = [w if np.isfinite(w) and w > MIN_CURVATURE else 1.0 for w in means]
        out.append(np.diag(1 / np.array(usable)))
    return out
