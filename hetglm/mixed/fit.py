"""
A fit with random effects: starting values, the search, the boundary, and the record.

Starting values are the fit without random effects and some rounds of EM.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation.checks import boundary_texts
from hetglm.estimation.fit import fit as fit_without_random_effects
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed import importance
from hetglm.mixed.cholesky import Indefinite
from hetglm.mixed.covariance_structure import CovarianceStructure
from hetglm.mixed.dispersion_limits import at_limits, boundary_at
from hetglm.mixed.em import em_start
from hetglm.mixed.integration import LAPLACE, N_NODES, Integration, error_columns, integration
from hetglm.mixed.joint import NoModeError
from hetglm.mixed.linear_fit import fit_linear, is_linear
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.mixed.quadrature import Quadrature, Rule
from hetglm.mixed.record import CRITERIA, REML_BOTH, REML_MEAN, Effects, MixedFit, Start
from hetglm.mixed.search import Optimum, ended, maximised, near_maximum
from hetglm.mixed.variance_boundary import away_from_zero, search_closure
from hetglm.typing import Array
from hetglm.utils.linalg import inverse

#: Steps of a search, at most.
MAX_STEPS = 200
#: Curvature of the joint density at its mode from which on Laplace's approximation is not near a pole.
MIN_SAFE_CURVATURE = 0.5
#: Size of a correlation from which on it is 1 but for rounding.
MAX_CORRELATION = 1 - 1e-10


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
    nodes: int | str = "auto",
    start: MixedFit | Start | None = None,
    maxiter: int = MAX_STEPS,
    information: bool = True,
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
    nodes : int or "auto"
        Nodes of the quadrature over random effects of one factor; 1 for Laplace's approximation.
    start : MixedFit or Start, optional
        A fit to similar data or values, where the search begins.
    maxiter : int
        Largest number of steps.
    information : bool
        Whether to difference the information, which decides on convergence and gives the standard
        errors; without it the search ends where BFGS does.
    """
    method = integration(likelihood, factors, nodes, reml is not False)
    if CRITERIA[reml] is not REML_BOTH and is_linear(likelihood, factors):
        exact = fit_linear(likelihood, factors, CRITERIA[reml] is REML_MEAN)
        if exact.converged:
            return replace(exact, requested_nodes=nodes)
    columns = _columns(likelihood, reml)
    laplace_steps = maxiter if start is None else 0
    if start is None:
        start = default_start(likelihood, factors, names)
    coefficients, theta, u = start.start if isinstance(start, MixedFit) else start
    core, estimable = likelihood, columns.searched | columns.integrated
    iterations = 0
    while True:
        marginal = marginal_of(core, factors, columns)
        first = first_evaluation(marginal, columns, coefficients, theta, u)
        if method.nodes > 1:
            marginal, first, steps = _by_nodes(marginal, method, first, laplace_steps)
            iterations += steps
        found = search_closure(marginal, first, maxiter, maximised if information else ended)
        iterations += found.iterations
        fit = _record(core, marginal, columns, found, reml)
        coefficients, theta, u = fit.start
        arrived = at_limits(core, estimable, coefficients)
        if arrived is None:
            break
        core, searched, coefficients = arrived
        columns = Columns(searched & ~columns.integrated, searched & columns.integrated)
        laplace_steps = 0
    fit = _at_dispersion_limits(fit, core, estimable, columns, names)
    fit = replace(
        fit,
        iterations=iterations,
        integration=method.text,
        nodes=method.nodes,
        requested_nodes=nodes,
        quadrature_columns=method.columns,
    )
    if not information or method.text != LAPLACE or columns.integrated.any():
        return fit
    error, se = laplace_error(marginal, found.here)
    return replace(fit, laplace_error=error, laplace_error_se=se)


def _at_dispersion_limits(
    fit: MixedFit, core: Likelihood, estimable: Array, columns: Columns, names: list[str]
) -> MixedFit:
    """Return the fit with what is to be said of rows whose dispersion is zero or infinite."""
    searched = columns.searched | columns.integrated
    boundary, infinite = boundary_at(core, estimable, searched, names)
    if boundary is None:
        return fit
    params, estimated = fit.params.copy(), fit.estimated.copy()
    params[: len(infinite)][infinite], estimated[: len(infinite)][infinite] = np.nan, False
    notes = tuple(boundary_texts(boundary, core))
    return replace(fit, params=params, estimated=estimated, boundary=boundary, notes=notes)


def _by_nodes(
    marginal: Marginal, method: Integration, first: Evaluation, maxiter: int
) -> tuple[Marginal, Evaluation, int]:
    """
    Return the criterion by quadrature, near the maximum of Laplace's approximation, and the steps.

    Where that is next to a pole the search begins anew.
    """
    near, steps = near_maximum(marginal, first, np.arange(len(first.psi)), maxiter)
    by_nodes = Marginal(marginal.likelihood, marginal.factors, None, method.nodes, method.columns)
    start = first if near.laplace.curvature < MIN_SAFE_CURVATURE else near
    by_nodes.u = start.laplace.mode.u
    here = by_nodes.at(start.psi)
    if here is None:
        raise ValueError(
            f"nodes={method.nodes}: the log-likelihood is not finite at nodes of the quadrature, where "
            "random effects take a linear predictor outside the domain of its link, or the curvature of "
            "the joint density fails; use nodes=1, a log or logit link, or simpler random terms"
        )
    by_nodes.accept(here)
    return by_nodes, here, steps


def laplace_error(marginal: Marginal, here: Evaluation) -> tuple[float | None, float]:
    """
    Return the log-likelihood less Laplace's, and its Monte-Carlo standard error.

    By quadrature for one factor, by importance sampling for several; None for one with too many effects
    a group.
    """
    fixed = marginal.joint.fixed_part(here.psi[: marginal.k_coefficients])
    if len(marginal.factors) > 1:
        return importance.laplace_error(here.laplace, fixed)
    columns = error_columns(marginal.likelihood, marginal.factors[0])
    if not columns.any():
        return None, 0.0
    rule = Rule(marginal.joint, columns, N_NODES)
    try:
        return Quadrature(rule, here.laplace, fixed).value - here.value, 0.0
    except (NoModeError, Indefinite, np.linalg.LinAlgError):
        return np.nan, 0.0


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
) -> Start:
    """Return coefficients, theta and u by the fit without random effects and EM."""
    estimable = likelihood.estimable()
    plain = fit_without_random_effects(likelihood, names, estimable)
    k = likelihood.k_mean
    reduced = likelihood.with_designs(
        likelihood.X[:, estimable[:k]], likelihood.Z[:, estimable[k:]]
    )
    found, theta, u = em_start(reduced, factors, np.nan_to_num(plain.params)[estimable])
    coefficients = np.zeros(len(estimable))
    coefficients[estimable] = found
    return Start(coefficients, theta, u)


def first_evaluation(
    marginal: Marginal, columns: Columns, coefficients: Array, theta: Array, u: list[Array]
) -> Evaluation:
    """Return the criterion at starting values, u of each factor among them."""
    if all(len(part) == len(f.levels) for part, f in zip(u, marginal.factors, strict=True)):
        marginal.u[: len(u)] = [u[i] for i in marginal.joint.order]
    if columns.integrated.any():
        marginal.u[-1] = coefficients[columns.integrated][None, :]
    here = marginal.at(np.concatenate([coefficients[columns.searched], theta]))
    if here is None:
        raise ValueError("the marginal log-likelihood is not finite at the starting values")
    marginal.accept(here)
    return away_from_zero(marginal, here)


def _record(
    likelihood: Likelihood, marginal: Marginal, columns: Columns, found: Optimum, reml: bool | str
) -> MixedFit:
    """Return the record of an optimum."""
    here, k = found.here, marginal.k_coefficients
    theta = canonical(marginal.structure, here.psi[k:])
    coefficients = np.full(len(columns.searched), np.nan)
    coefficients[columns.searched] = here.psi[:k]
    if columns.integrated.any():
        coefficients[columns.integrated] = here.laplace.mode.u[-1][0]
    params = np.concatenate([coefficients, marginal.structure.reported(theta)])
    at_boundary = _at_boundary(marginal.structure, params)
    covariance = _covariance(marginal, columns, found, at_boundary)
    criterion = CRITERIA[reml]
    adjusted = None if criterion.comparable_means else here.value
    given, there = marginal, here
    if adjusted is not None:
        given, there = _at_all_estimates(likelihood, marginal, columns, coefficients, here)
    return MixedFit(
        params=params,
        estimated=np.isfinite(params),
        at_boundary=at_boundary,
        theta=theta,
        llf=there.value,
        effects=_effects(given, there),
        information=_information(covariance),
        covariance=covariance,
        integration=LAPLACE,
        criterion=criterion,
        adjusted_llf=adjusted,
        converged=found.converged,
        message=_message(found),
        decrement=found.decrement,
        evaluations=marginal.joint.evaluations,
    )


def _message(found: Optimum) -> str:
    """Return how a search ended, and that it met a pole of the criterion if it did."""
    if found.converged or found.here.laplace.curvature >= MIN_SAFE_CURVATURE:
        return found.message
    return (
        f"{found.message}, next to a pole of Laplace's approximation (the joint density is nearly flat "
        "at the mode of a group); fit with nodes=15, or leave a random term of the dispersion out"
    )


def canonical(structure: CovarianceStructure, theta: Array) -> Array:
    """Return theta with columns of Lambda negated so that its diagonal is at least 0."""
    parts = zip(structure.factors, structure.split(theta), strict=True)
    return theta * np.concatenate([f.signs(part)[f.entries[1]] for f, part in parts])


def _at_boundary(structure: CovarianceStructure, params: Array) -> Array:
    """Return which parameters are standard deviations of 0 or correlations of size 1."""
    of_theta = params[len(params) - structure.m :]
    is_sd = np.concatenate([np.arange(f.m) < f.k for f in structure.factors])
    at_boundary = np.zeros(len(params), dtype=bool)
    at_boundary[len(params) - structure.m :] = np.where(
        is_sd, of_theta == 0, np.abs(of_theta) > MAX_CORRELATION
    )
    return at_boundary


def _at_all_estimates(
    likelihood: Likelihood,
    marginal: Marginal,
    columns: Columns,
    coefficients: Array,
    here: Evaluation,
) -> tuple[Marginal, Evaluation]:
    """Return the marginal likelihood with nothing of the fixed part integrated out, and its value."""
    estimated = Columns(columns.searched | columns.integrated, np.zeros_like(columns.integrated))
    whole = marginal_of(likelihood, marginal.factors, estimated)
    whole.u = here.laplace.mode.u[: len(marginal.factors)]
    theta = here.psi[marginal.k_coefficients :]
    there = whole.at(np.concatenate([coefficients[estimated.searched], theta]))
    assert there is not None
    return whole, there


def _covariance(marginal: Marginal, columns: Columns, found: Optimum, at_boundary: Array) -> Array:
    """Return the covariance of the reported parameters, NaN for those without a standard error."""
    k, structure = marginal.k_coefficients, marginal.structure
    size = len(at_boundary)
    covariance = np.full((size, size), np.nan)
    if columns.integrated.any():
        integrated = np.flatnonzero(columns.integrated)
        rest = np.setdiff1d(np.arange(size), integrated)
        covariance[np.ix_(integrated, integrated)] = found.here.laplace.inverse.own[-1][0]
        covariance[np.ix_(integrated, rest)] = covariance[np.ix_(rest, integrated)] = 0.0
    of_free = inverse(found.information)
    if of_free is None:
        return covariance
    jacobian = np.eye(k + structure.m)
    jacobian[k:, k:] = structure.jacobian(found.here.psi[k:])
    jacobian = jacobian[:, found.free]
    reported = jacobian @ of_free @ jacobian.T
    searched = np.flatnonzero(columns.searched)
    where = np.append(searched, np.arange(size - structure.m, size))
    covariance[np.ix_(where, where)] = reported
    covariance[at_boundary], covariance[:, at_boundary] = np.nan, np.nan
    return covariance


def _information(covariance: Array) -> Array:
    """Return the inverse of a covariance without its rows and columns of NaN, NaN there."""
    has = np.flatnonzero(np.isfinite(np.diag(covariance)))
    information = np.full(covariance.shape, np.nan)
    found = inverse(covariance[np.ix_(has, has)])
    if found is not None:
        information[np.ix_(has, has)] = found
    return information


def with_modes(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> MixedFit:
    """
    Return the estimates of a fit with the modes of the random effects of other data.

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
        On the rows of the likelihood.
    fit : MixedFit

    Raises
    ------
    ValueError
        If the mode is not found.
    """
    marginal = Marginal(fit.fixed_rows(likelihood), factors)
    here = marginal.at(np.concatenate([fit.internal, fit.theta]))
    if here is None:
        raise ValueError("the modes of the random effects were not found")
    return replace(fit, effects=_effects(marginal, here))


def _effects(marginal: Marginal, here: Evaluation) -> tuple[Effects, ...]:
    """Return modes and conditional covariances of each factor, in the order of the user."""
    laplace, out = here.laplace, []
    for position in map(marginal.joint.order.index, range(len(marginal.factors))):
        Lambda, u = laplace.mode.Lambdas[position], laplace.mode.u[position]
        signs = np.where(np.diag(Lambda) < 0, -1.0, 1.0)
        out.append(Effects(u @ Lambda.T, u * signs, laplace.covariances.own[position]))
    return tuple(out)
