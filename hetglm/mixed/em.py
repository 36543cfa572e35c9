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
#: Curvature of a row in its predictor below which the first standard deviation is that of 1.
MIN_CURVATURE = 1e-8


def em_start(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], coefficients: Array
) -> tuple[Array, Array]:
    """
    Return coefficients and theta from which a search may start.

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
    u = joint.zero()
    if joint.integrated_columns:
        u[-1] = coefficients[None, :]
    covariances = first_covariances(likelihood, factors, coefficients)
    for _ in range(N_ROUNDS):
        theta = structure.of_covariances(covariances)
        Lambdas = joint.ordered_matrices(structure.matrices(theta))
        try:
            laplace = Laplace(joint, joint.mode(np.empty(0), Lambdas, u))
            blocks = laplace.covariances.own
        except (NoModeError, Indefinite):
            break
        u = laplace.mode.u
        coefficients = u[-1][0] if joint.integrated_columns else coefficients
        for j, index in enumerate(joint.order):
            b = u[j] @ Lambdas[j].T
            covariances[index] = (np.einsum("gj,gk->jk", b, b) + blocks[j].sum(axis=0)) / len(b)
    return coefficients, structure.of_covariances(covariances)


def first_covariances(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], coefficients: Array
) -> list[Array]:
    """Return diagonal covariances: a random effect as large as the curvature of one row tells."""
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
