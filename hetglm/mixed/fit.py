"""
A fit with random effects: starting values, the search, the boundary, and the record.

Starting values are the fit without random effects and some rounds of EM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation.fit import fit as fit_without_random_effects
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.covariance_structure import CovarianceStructure
from hetglm.mixed.em import em_start
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.mixed.record import CRITERIA, Effects, MixedFit
from hetglm.mixed.search import Optimum, search
from hetglm.typing import Array
from hetglm.utils.linalg import inverse

#: Steps of a search, at most.
MAX_STEPS = 200


@dataclass(frozen=True)
class Columns:
    """Which coefficients are searched over and which are integrated out; each of shape (p + q,)."""

    searched: Array
    integrated: Array


def fit_mixed(
    likelihood: Likelihood,
    factors: tuple[GroupingFactor, ...],
    names: list[str],
    reml: bool | str = False,
    start: MixedFit | None = None,
    maxiter: int = MAX_STEPS,
) -> MixedFit:
    """
    Return the maximum of the marginal likelihood, or of the restricted one.

    Parameters
    ----------
    likelihood : Likelihood
        Of the responses given the random effects, with the fixed columns as designs.
    factors : tuple of GroupingFactor
    names : list of str
        Names of the p + q coefficients, for messages.
    reml : {False, True, "mean", "both"}
        Whether the coefficients of the mean, or of both parts, are integrated out too.
    start : MixedFit, optional
        A fit to similar data, where the search begins.
    maxiter : int
        Largest number of steps.
    """
    columns = _columns(likelihood, reml)
    if start is None:
        coefficients, theta = default_start(likelihood, factors, names)
    else:
        coefficients = np.nan_to_num(start.params[: len(columns.searched)])
        theta = start.theta
    marginal = marginal_of(likelihood, factors, columns)
    first = first_evaluation(marginal, columns, coefficients, theta)
    found = search(marginal, first, np.arange(len(first.psi)), maxiter)
    return _record(likelihood, marginal, columns, found, reml)


def _columns(likelihood: Likelihood, reml: bool | str) -> Columns:
    estimable = likelihood.estimable()
    is_mean = np.arange(len(estimable)) < likelihood.k_mean
    integrated = estimable & (
        is_mean if CRITERIA[reml].name == "REML" else np.full(len(estimable), reml == "both")
    )
    return Columns(estimable & ~integrated, integrated)


def marginal_of(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], columns: Columns
) -> Marginal:
    """Return the criterion of given columns."""
    k = likelihood.k_mean
    searched, integrated = columns.searched, columns.integrated
    reduced = likelihood.with_designs(likelihood.X[:, searched[:k]], likelihood.Z[:, searched[k:]])
    out = likelihood.X[:, integrated[:k]], likelihood.Z[:, integrated[k:]]
    return Marginal(reduced, factors, out if integrated.any() else None)


def default_start(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], names: list[str]
) -> tuple[Array, Array]:
    """Return coefficients, 0 where aliased, and theta by the fit without random effects and EM."""
    estimable = likelihood.estimable()
    plain = fit_without_random_effects(likelihood, names, estimable)
    k = likelihood.k_mean
    reduced = likelihood.with_designs(
        likelihood.X[:, estimable[:k]], likelihood.Z[:, estimable[k:]]
    )
    found, theta = em_start(reduced, factors, np.nan_to_num(plain.params)[estimable])
    coefficients = np.zeros(len(estimable))
    coefficients[estimable] = found
    return coefficients, theta


def first_evaluation(
    marginal: Marginal, columns: Columns, coefficients: Array, theta: Array
) -> Evaluation:
    """Return the criterion at starting values."""
    if columns.integrated.any():
        marginal.u[-1] = coefficients[columns.integrated][None, :]
    here = marginal.at(np.concatenate([coefficients[columns.searched], theta]))
    if here is None:
        raise ValueError("the marginal log-likelihood is not finite at the starting values")
    marginal.accept(here)
    return here


def _record(
    likelihood: Likelihood,
    marginal: Marginal,
    columns: Columns,
    found: Optimum,
    reml: bool | str,
) -> MixedFit:
    """Return the record of an optimum."""
    structure, k = marginal.structure, marginal.k_coefficients
    here = found.here
    theta = here.psi[k:]
    flip = np.concatenate(
        [
            f.signs(t)[f.entries[1]]
            for f, t in zip(structure.factors, structure.split(theta), strict=True)
        ]
    )
    coefficients = np.full(len(columns.searched), np.nan)
    coefficients[columns.searched] = here.psi[:k]
    if columns.integrated.any():
        coefficients[columns.integrated] = here.laplace.mode.u[-1][0]
    params = np.concatenate([coefficients, structure.reported(theta)])
    estimated = np.isfinite(params)
    information, covariance = _reported_information(structure, columns, found, theta, k)
    criterion = CRITERIA[reml]
    fit = MixedFit(
        params=params,
        estimated=estimated,
        at_boundary=np.zeros(len(params), dtype=bool),
        theta=theta * flip,
        llf=here.value,
        effects=_effects(marginal, here),
        information=information,
        covariance=covariance,
        integration="Laplace approximation",
        criterion=criterion,
        converged=found.converged,
        message=found.message,
        iterations=found.iterations,
        decrement=found.decrement,
        evaluations=marginal.joint.evaluations,
    )
    if criterion.comparable_means:
        return fit
    return replace(fit, adjusted_llf=here.value)


def _reported_information(
    structure: CovarianceStructure, columns: Columns, found: Optimum, theta: Array, k: int
) -> tuple[Array, Array]:
    """Return information and covariance of the reported parameters."""
    of_theta = structure.jacobian(theta)
    jacobian = np.eye(k + structure.m)
    jacobian[k:, k:] = of_theta
    where = np.concatenate(
        [np.flatnonzero(columns.searched), len(columns.searched) + np.arange(structure.m)]
    )
    size = len(columns.searched) + structure.m
    information, covariance = np.full((2, size, size), np.nan)
    cov = inverse(found.information)
    if cov is not None:
        cov = jacobian @ cov @ jacobian.T
        covariance[np.ix_(where, where)] = cov
        back = inverse(cov)
        if back is not None:
            information[np.ix_(where, where)] = back
    return information, covariance


def _effects(marginal: Marginal, here: Evaluation) -> tuple[Effects, ...]:
    """Return modes and conditional covariances of each factor."""
    out: dict[int, Effects] = {}
    for j, index in enumerate(marginal.joint.order):
        Lambda, u = here.laplace.mode.Lambdas[j], here.laplace.mode.u[j]
        signs = np.where(np.diag(Lambda) < 0, -1.0, 1.0)
        covariance = here.laplace.covariances.own[j]
        out[index] = Effects(u @ Lambda.T, u * signs, covariance)
    return tuple(out[i] for i in range(len(out)))
