"""Information of psi = (coefficients, theta): a metric for the search, the observed one at its end."""

from __future__ import annotations

import numpy as np

from hetglm.mixed.covariance_structure import FactorStructure
from hetglm.mixed.laplace import Laplace
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.typing import Array

#: Diagonal entry of Lambda, relative to the largest entry of its row, below which the metric takes it
#: to be that: at 0 the metric is singular.
MIN_RELATIVE_DIAGONAL = 1e-4

#: Smallest eigenvalue of the metric with a unit diagonal.
MIN_METRIC_EIGENVALUE = 1e-6

#: Step of the central differences of the gradient, in units of a standard error.
DIFFERENCE_STEP = 1e-3


def metric(marginal: Marginal, here: Evaluation) -> Array:
    """
    Return an approximate information of psi, positive definite, without differences.

    Of the coefficients it is the Schur complement of the joint information, of theta that of a normal
    model with the curvature of the rows.
    """
    k = marginal.k_coefficients
    out = np.zeros((len(here.psi), len(here.psi)))
    out[:k, :k] = coefficient_information(here.laplace)
    at, thetas = k, marginal.structure.split(here.psi[k:])
    for j, (factor, theta) in enumerate(zip(marginal.structure.factors, thetas, strict=True)):
        position = marginal.joint.order.index(j)
        blocks = here.laplace.inverse.own[position]
        out[at : at + factor.m, at : at + factor.m] = covariance_information(factor, theta, blocks)
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


def covariance_information(factor: FactorStructure, theta: Array, blocks: Array) -> Array:
    """
    Return 1/2 sum_g tr(K_g (E_j + E_j') K_g (E_l + E_l')) with K_g = I - (H^-1)_gg, shape (m, m).

    E_j = Lambda^-1 dLambda/dtheta_j.
    """
    Lambda = factor.matrix(theta)
    size = np.abs(Lambda).max(axis=1)
    size = np.where(size > 0, size, max(size.max(), 1.0))
    diagonal = np.diag(Lambda)
    floor = MIN_RELATIVE_DIAGONAL * size
    floored = np.where(np.abs(diagonal) < floor, floor, diagonal)
    inverse = np.linalg.inv(Lambda + np.diag(floored - diagonal))
    K = np.eye(factor.k) - blocks
    products = np.einsum("gab,gcd->abcd", K, K)
    rows, columns = factor.entries
    E = np.zeros((factor.m, factor.k, factor.k))
    E[np.arange(factor.m), :, columns] = inverse[:, rows].T
    E += np.swapaxes(E, 1, 2)
    return np.asarray(0.5 * np.einsum("abcd,jbc,lda->jl", products, E, E, optimize=True))


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
    for at, (j, unit) in enumerate(zip(free, se, strict=True)):
        slopes = []
        for sign in (1.0, -1.0):
            psi = here.psi.copy()
            psi[j] += sign * DIFFERENCE_STEP * unit
            there = marginal.at(psi)
            slopes.append(np.full(len(psi), np.nan) if there is None else marginal.gradient(there))
        out[at] = (slopes[1] - slopes[0])[free] / (2 * DIFFERENCE_STEP * unit)
    return 0.5 * (out + out.T)
