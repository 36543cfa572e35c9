"""Information of psi = (coefficients, theta): a metric for the search, the observed one at its end."""

from __future__ import annotations

import numpy as np

from hetglm.mixed.covariance_structure import FactorStructure
from hetglm.mixed.laplace import Laplace
from hetglm.mixed.marginal import Evaluation, Marginal, Neighbourhood
from hetglm.typing import Array

#: Condition number of Lambda above which it counts as singular.
MAX_CONDITION = 1e6

#: Smallest eigenvalue of the metric with a unit diagonal.
MIN_METRIC_EIGENVALUE = 1e-6

#: Step of the central differences of the gradient, in units of a standard error.
DIFFERENCE_STEP = 3e-4


def metric(marginal: Marginal, here: Evaluation) -> Array:
    """
    Return an approximate information of psi, positive definite, without differences.

    Of the coefficients it is the Schur complement of the joint information, of theta that of a normal
    model with the curvature of the rows.
    """
    k = marginal.k_coefficients
    out = np.zeros((len(here.psi), len(here.psi)))
    out[:k, :k] = coefficient_information(here.laplace)
    at = k
    for j, factor in enumerate(marginal.structure.factors):
        position = marginal.joint.order.index(j)
        Lambda = here.laplace.mode.Lambdas[position]
        precisions = marginal_precisions(here.laplace, position)
        own = covariance_information(factor, Lambda, precisions)
        out[at : at + factor.m, at : at + factor.m] = own
        at += factor.m
    return positive(out)


def coefficient_information(laplace: Laplace) -> Array:
    """Return D'WD - D'WA Lambda H^-1 Lambda'A'WD of the coefficients' design D, shape (p, p)."""
    core, mode, joint = laplace.joint.likelihood, laplace.mode, laplace.joint
    W = mode.W
    out = core.assemble(*W)
    weighted = [(W.eta_eta * x, W.eta_zeta * x) for x in core.X.T]
    weighted += [(W.eta_zeta * z, W.zeta_zeta * z) for z in core.Z.T]
    right = [
        [loading.sums(*pair) @ L for loading, L in zip(joint.loadings, mode.Lambdas, strict=True)]
        for pair in weighted
    ]
    flat = np.array([np.concatenate([r.ravel() for r in parts]) for parts in right])
    solved = [joint.solve(laplace.system, parts) for parts in right]
    left = np.array([np.concatenate([s.ravel() for s in parts]) for parts in solved])
    return out - flat @ left.T if len(right) else out


def covariance_information(factor: FactorStructure, Lambda: Array, precisions: Array) -> Array:
    """
    Return the information of theta of a normal model, shape (m, m).

    1/2 sum_g tr(P_g D_j P_g D_l) with D_j the derivative of Lambda Lambda' in entry j.

    Parameters
    ----------
    factor : FactorStructure
    Lambda : ndarray, shape (k, k)
    precisions : ndarray, shape (G, k, k)
        From `marginal_precisions`.
    """
    products = np.einsum("gab,gcd->abcd", precisions, precisions)
    rows, columns = factor.entries
    D = np.zeros((factor.m, factor.k, factor.k))
    D[np.arange(factor.m), rows] = Lambda[:, columns].T
    D += np.swapaxes(D, 1, 2)
    return np.asarray(0.5 * np.einsum("abcd,jbc,lda->jl", products, D, D, optimize=True))


def marginal_precisions(laplace: Laplace, j: int) -> Array:
    """
    Return P_g of a loading with A'WA Lambda H^-1 = P Lambda, shape (G, k, k).

    P is the inverse of Lambda Lambda' + (A'WA)^-1, A'WA taken for the effects that it determines.
    Where Lambda is singular and there are other loadings, these are taken to be known.
    """
    M, L = laplace.M.own[j], laplace.mode.Lambdas[j]
    if len(laplace.joint.loadings) == 1:
        inner = laplace.inverse.own[j]
    elif np.linalg.cond(L) < MAX_CONDITION:
        P = laplace.weighted_inverse(j) @ np.linalg.inv(L)
        return 0.5 * (P + np.swapaxes(P, 1, 2))
    else:
        inner = np.linalg.inv(np.eye(len(L)) + L.T @ M @ L)
    return np.asarray(M - M @ L @ inner @ L.T @ M)


def positive(information: Array) -> Array:
    """Return a matrix with the absolute values of its eigenvalues, in units of its diagonal."""
    diagonal = np.abs(np.diag(information))
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    values = np.maximum(np.abs(values), MIN_METRIC_EIGENVALUE)
    return np.asarray((vectors * values) @ vectors.T * np.outer(scale, scale))


def observed_information(marginal: Marginal, here: Evaluation, free: Array, se: Array) -> Array:
    """
    Return the observed information of the free entries of psi, by differences of the exact gradient.

    Parameters
    ----------
    marginal : Marginal
    here : Evaluation
    free : ndarray of int, shape (f,)
    se : ndarray, shape (f,)
        Rough standard errors, the units of the steps.
    """
    out = np.empty((len(free), len(free)))
    near = Neighbourhood(marginal, here)
    for at, (j, unit) in enumerate(zip(free, se, strict=True)):
        step = DIFFERENCE_STEP * unit * (np.arange(len(here.psi)) == j)
        slopes = near.gradient(here.psi - step), near.gradient(here.psi + step)
        out[at] = (slopes[0] - slopes[1])[free] / (2 * DIFFERENCE_STEP * unit)
    return 0.5 * (out + out.T)
