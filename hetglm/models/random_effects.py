"""Random effects of a model: grouping factors of its random terms, and its fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from hetglm.design import random_checks
from hetglm.design.random_syntax import PARTS
from hetglm.design.random_terms import GroupingFactor, TermRows, grouping_factors
from hetglm.estimation import checks as aliases
from hetglm.estimation import start
from hetglm.estimation.record import DEFAULT_METHOD, OWN_METHODS, TOL, need_rows
from hetglm.exceptions import SeparationWarning
from hetglm.families.base import Family
from hetglm.families.gaussian import Gaussian
from hetglm.families.quasi import Quasi, QuasiBinomial, QuasiPoisson
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed import checks
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.fit import MAX_STEPS, default_start, fit_mixed
from hetglm.mixed.integration import integration
from hetglm.mixed.record import CRITERIA, MixedFit, Start
from hetglm.typing import Array
from hetglm.utils.checks import count
from hetglm.utils.messages import listed, warn

#: Arguments of fit that a fit with random effects does not use -> accepted values, and why no others.
OPTIONS: dict[str, tuple[tuple[Any, ...], str]] = {
    "method": (
        (DEFAULT_METHOD, *OWN_METHODS),
        "the search is by BFGS and Newton's method; leave method out",
    ),
    "cov_type": (
        ("nonrobust", "cluster"),
        "choose 'nonrobust' (observed information) or 'cluster' (over whole groups)",
    ),
    "tol": ((TOL,), "the search ends at a scaled gradient below 1e-6; leave tol out"),
    "use_t": ((None, False), "tests use the normal distribution; leave use_t out"),
}


def factors(terms: Sequence[TermRows], core: Likelihood) -> tuple[GroupingFactor, ...]:
    """
    Return the grouping factors of random terms.

    Parameters
    ----------
    terms : sequence of TermRows
        On the rows of the fit.
    core : Likelihood

    Raises
    ------
    ValueError
        If the family has no likelihood, or the rows do not identify the parameters of a term.
    """
    if terms:
        _check_likelihood(terms[0].text, core.family)
    made = grouping_factors(terms)
    random_checks.check(made, terms)
    if isinstance(core.family, Gaussian):
        known = core.offset_dispersion, core.weights
        random_checks.check_gaussian(made, terms, core.Z, known)
    return made


def _check_likelihood(text: str, family: Family) -> None:
    """Raise a ValueError if the criterion of a family is an extended quasi-likelihood."""
    if not isinstance(family, Quasi):
        return
    unit = "; for phi = 1 write '| 0', without random terms, offset_dispersion or var_weights"
    has_unit = isinstance(family, (QuasiPoisson, QuasiBinomial))
    raise ValueError(
        f"{text}: random effects need a likelihood, and {family.name} with a free dispersion has an "
        f"extended quasi-likelihood only; {family.instead()}{unit if has_unit else ''}"
    )


def formula_text(mean: str, dispersion: str, terms: Sequence[tuple[str, str]]) -> str:
    """
    Return both parts of a formula with their random terms.

    Parameters
    ----------
    mean, dispersion : str
        Without them, the mean with its response.
    terms : sequence of (str, str)
        Part and text of each random term.
    """
    return " | ".join(
        " + ".join([fixed, *(text for of, text in terms if of == part)])
        for part, fixed in zip(PARTS, (mean, dispersion), strict=True)
    )


def fit(
    model: Any,
    reml: Any,
    nodes: Any,
    start_params: Any,
    maxiter: int | None,
    disp: bool,
    warn_convergence: bool,
    cov_kwds: dict[str, Any] | None,
    options: Mapping[str, Any],
) -> Any:
    """
    Return the results of a fit with random effects.

    Parameters
    ----------
    model : LocationScaleModel
    reml, nodes, start_params, maxiter, disp, warn_convergence, cov_kwds
        As of the model's method.
    options : dict
        Its other arguments, which must be among `OPTIONS`.

    Raises
    ------
    NotImplementedError, ValueError
        For an argument out of range, or one that a fit with random effects does not take.
    """
    if not isinstance(reml, (bool, str)) or reml not in CRITERIA:
        raise ValueError(f"reml={reml!r}: choose False, True (or 'mean') or 'both'")
    need_rows(model.core)
    _check_options(options)
    steps = MAX_STEPS if maxiter is None else count(maxiter, "maxiter")
    names = model.parameter_names
    aliases.warn_of_aliases(model.core, model.estimable, model.coefficient_names)
    first = None if start_params is None else _start(model, start_params)
    found = fit_mixed(model.core, model.random, model.coefficient_names, reml, nodes, first, steps)
    if disp:
        print(found)
    notes = checks.diagnose(found, model.random, names, warn_convergence)
    aliased = aliases.aliased_text(model.core, model.estimable, model.coefficient_names)
    separated = aliases.separation_text(model.core, found, model.coefficient_names)
    if separated:
        warn(separated, SeparationWarning)
    notes += filter(None, [separated, aliased])
    own = _with_nodes_of(model, found)
    results = model.results_class(own, found, notes, options["cov_type"], cov_kwds)
    return model.results_class_wrapper(results)


def _with_nodes_of(model: Any, fit: MixedFit) -> Any:
    """Return a model whose log-likelihood at the estimates is that of a fit: a copy if need be."""
    if integration(model.core, model.random, "auto", False).nodes == fit.nodes:
        return model
    own = copy(model)
    own.integrated_as = fit
    return own


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise an error for options that a fit with random effects does not take."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise TypeError(
                f"fit: {name!r} is an option of optimisers that a fit with random effects does not "
                "use; it takes reml, nodes, start_params, maxiter, disp and warn_convergence"
            )
        defaults, why = OPTIONS[name]
        if value not in defaults:
            raise NotImplementedError(f"{name}={value!r}: with random effects {why}")


def refuse_options(reml: Any, nodes: Any) -> None:
    """
    Raise a ValueError for what only a fit with random effects has.

    Parameters
    ----------
    reml, nodes
        As of the model's method.
    """
    if isinstance(reml, str) and reml in CRITERIA:
        raise ValueError(f"reml={reml!r}: without random effects choose reml=True or False")
    if nodes != "auto":
        raise ValueError(f"nodes={nodes!r}: the model has no random effects to integrate out")


def _start(model: Any, start_params: Any) -> Start:
    """Return where the search begins, of parameters as they are reported."""
    params = start.given(start_params, len(model.parameter_names))
    k, estimable = len(model.coefficient_names), model.estimable
    missing = [*(np.isnan(params[:k]) & estimable), *np.isnan(params[k:])]
    if np.any(missing):
        names = [n for n, bad in zip(model.parameter_names, missing, strict=True) if bad]
        raise ValueError(f"start_params: NaN for {listed(names)}; give a number")
    theta = structure_of(model.random).of_reported(params[k:])
    u = [np.zeros((len(factor.levels), len(factor.columns))) for factor in model.random]
    return Start(np.nan_to_num(params[:k]), theta, u)


def start_params(model: Any) -> Array:
    """
    Return starting values of all parameters.

    Parameters
    ----------
    model : LocationScaleModel
    """
    found = default_start(model.core, model.random, model.coefficient_names)
    reported = structure_of(model.random).reported(found.theta)
    return np.concatenate([found.coefficients, np.nan_to_num(reported)])
