"""Refits to similar data (resamples, simulations, subsets), started at the maximum of a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from statsmodels.genmod.families import links

from hetglm.estimation import fit
from hetglm.estimation.dispersion_boundary import APPROACHING
from hetglm.estimation.multistart import is_dispersion_uncertain
from hetglm.estimation.record import Fit, Fitted
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.linalg import inverse

#: Scaled gradient after the last step of a refit: coefficients to this share of their standard error,
#: the log-likelihood to 1e-9.
TOL_GRADIENT = 3e-6

#: Number of first steps, which use the information of the fit: approximate scores suffice for them.
N_APPROXIMATE_STEPS = 2

#: Steps of a refit from the fit, at most; one that needs more is searched for from the data.
MAX_STEPS = 8


@singledispatch
def refit(fitted: Fitted, core: Likelihood, warm: bool = True) -> Any:
    """
    Return the fit of the same model to other data: a `Fit`, or a `MixedFit` with random effects.

    Parameters
    ----------
    fitted : Fitted
    core : Likelihood
        Same columns, other rows or another response.
    warm : bool
        Whether to start from the fit. The search from the data alone is made where that does not
        converge in a few steps, or to a point from which that search would restart.

    Raises
    ------
    ValueError
        If there is no maximum, or the search did not converge.
    """
    criterion = fitted.fit.criterion
    near = warm and fitted.fit.boundary is None
    found = _near(fitted, core) if near and criterion.by_rows else None
    if found is None:
        start = fitted.fit.internal if near and not criterion.by_rows else None
        found = fit.fit(core, fitted.names, fitted.estimable, start, criterion=criterion)
    if not found.converged:
        raise ValueError(f"no convergence: {found.message}")
    return found


@singledispatch
def refit_both(full: Fitted, null: Fitted, draw: Likelihood, warm: bool) -> tuple[Any, Any]:
    """
    Return the fits of a smaller and of a larger model to a draw from the smaller one.

    Parameters
    ----------
    full, null : Fitted
    draw : Likelihood
        Of the smaller model.
    warm : bool
        As in `refit`.
    """
    core = replace(full.core, y=draw.y, rows=draw.rows)
    larger = refit(full, core, warm)
    return refit(null, draw, warm), larger


def _near(fitted: Fitted, core: Likelihood) -> Fit | None:
    """Return the interior maximum that a few steps lead to, None where a search is needed."""
    if fitted.is_grouped:
        core = core.distinct()[0]
    with np.errstate(all="ignore"):  # a step may lead far outside
        found = _quasi_newton(fitted, core)
    if found is None:
        return None
    near = replace(
        fitted.fit,
        params=np.where(fitted.fit.estimated, found.params, np.nan),
        internal=found.params,
        llf=found.llf,
        information=found.information,
        iterations=found.iterations,
        decrement=found.decrement,
        converged=True,
        message="from the maximum of the original data",
    )
    return near if _is_interior(core, near) else None


@dataclass(frozen=True)
class _Reached:
    """
    The point that quasi-Newton steps converged to.

    Attributes
    ----------
    params : ndarray, shape (p + q,)
    information : ndarray, shape (k, k)
        Observed information of the solved coefficients, one or more steps before.
    llf : float
        Log-likelihood, the gain of the last step included to second order.
    iterations : int
    decrement : float
        Bound on the scaled gradient.
    """

    params: Array
    information: Array
    llf: float
    iterations: int
    decrement: float


def _quasi_newton(fitted: Fitted, core: Likelihood) -> _Reached | None:
    """
    Return the maximum near the fit's, None where the steps diverge, or converge too slowly.

    First `N_APPROXIMATE_STEPS` steps with the information of the fit and approximate scores: each
    shrinks the gradient by the relative difference of the two informations, a factor of 5 or more.
    Then the information of these data is evaluated once, for a Newton step and chord steps after it.

    Invariant: the scaled gradient shrinks in every step, else None.
    tests/inference/test_bootstrap.py compares the refits with full searches.
    """
    first = _approximate_steps(fitted, core)
    return None if first is None else _newton_and_chords(fitted, core, *first)


def _approximate_steps(fitted: Fitted, core: Likelihood) -> tuple[Array, float] | None:
    """Return the coefficients after the first steps and the last scaled gradient, None if it grew."""
    solved, last = fitted.fit.solved, np.inf
    params, covariance = fitted.fit.internal, fitted.bread
    for _ in range(N_APPROXIMATE_STEPS):
        moved = _step(params, solved, core.approximate_gradient(params)[0], covariance, last)
        if moved is None:
            return None
        params, last = moved
    return params, last


def _newton_and_chords(
    fitted: Fitted, core: Likelihood, params: Array, last: float
) -> _Reached | None:
    """Return the point that a Newton step, and chord steps with its information, converge to."""
    solved = fitted.fit.solved
    factors = core.factors(params)
    gradient = core.gradient(factors)
    information = -core.hessian(factors)[np.ix_(solved, solved)]
    covariance = inverse(information)
    for iteration in range(N_APPROXIMATE_STEPS, MAX_STEPS):
        if iteration > N_APPROXIMATE_STEPS:
            factors = core.factors(params, 1)
            gradient = core.gradient(factors)
        moved = _step(params, solved, gradient, covariance, last)
        if moved is None:
            return None
        params, decrement = moved
        # the information is off by the length of the Newton step: |g_k+1| <= 2 |g_k|^2 / |g_k-1|
        bound = 2 * decrement**2 / last
        if iteration > N_APPROXIMATE_STEPS and bound <= TOL_GRADIENT:
            llf = float(factors.loglike.sum()) + 0.5 * decrement**2
            return _Reached(params, information, llf, iteration + 1, bound)
        last = decrement
    return None


def _step(
    params: Array, solved: Array, gradient: Array, covariance: Array | None, last: float
) -> tuple[Array, float] | None:
    """Return the coefficients after a step and its scaled gradient, None unless below the last one."""
    if covariance is None:
        return None
    step = covariance @ gradient[solved]
    decrement = max(float(gradient[solved] @ step), 0.0) ** 0.5
    if not decrement < last:
        return None
    params = params.copy()
    params[solved] += step
    return params, decrement


def _is_interior(core: Likelihood, near: Fit) -> bool:
    """Return whether all phi are far from the boundary and of small standard error: no restarts then."""
    if not core.has_boundary or not isinstance(core.link_dispersion, links.Log):
        return True
    low, high = np.log(APPROACHING)
    zeta = core.dispersion_predictor(near.internal[core.k_mean :])
    scaled = zeta + np.log(core.boundary_family.boundary_scale(core.rows))
    inside = np.all(scaled > low) and np.all(zeta <= high)
    return bool(inside) and not is_dispersion_uncertain(near, core)


def fit_again(
    model: Any, start: Any = None, criterion: Criterion = LIKELIHOOD, nodes: int | str = "auto"
) -> Any:
    """Return the record of a fit of a model, a `Fit`, or with random effects a `MixedFit`."""
    if model.random:
        return model.fit_of_random_effects(start, criterion, nodes)
    names, estimable = model.parameter_names, model.estimable
    return fit.fit(model.core, names, estimable, start, criterion=criterion)


def refitted_from_null(model: Any, fitted: Any, null: Any, smaller: Any) -> Any:
    """
    Return a failed fit refitted from the null estimates, where that converges to a larger maximum.

    Parameters
    ----------
    model, null : LocationScaleModel
        The larger and the smaller one.
    fitted, smaller : Fit or MixedFit
        Their fits.
    """
    again = fit_again(
        model, model.embedded(null, smaller), fitted.criterion, fitted.requested_nodes
    )
    return again if again.converged and again.maximum > fitted.maximum else fitted


def embedded(larger: Likelihood, smaller: Likelihood, params: Array) -> Array:
    """Return coefficients of a larger model with the predictors of a submodel."""
    beta, gamma = np.split(params, [smaller.k_mean])
    parts = ((larger.X, smaller.X, beta), (larger.Z, smaller.Z, gamma))
    return np.concatenate([np.linalg.lstsq(A, B @ b, rcond=None)[0] for A, B, b in parts])
