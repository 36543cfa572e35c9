"""Refits to data like those of a fit: they start at its maximum, with its information."""

from __future__ import annotations

from dataclasses import replace
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

#: Scaled gradient that is left at the end: coefficients to so much of their standard error, the
#: log-likelihood to 1e-9.
LEFT = 3e-6

#: Steps with the information of the fit; a gradient to a few digits will do for them.
N_APPROXIMATE_STEPS = 2

#: Evaluations that a refit near by takes at most.
MOST = 8


def refit(fitted: Fitted, core: Likelihood, warm: bool = True) -> Fit:
    """
    Return the fit of the same model to other data.

    Parameters
    ----------
    fitted : Fitted
    core : Likelihood
        Same columns, other rows or another response.
    warm : bool
        Whether to start from the fit; where that does not lead to a maximum inside, fast, and one
        that the search from the data alone would not doubt, that search is made.

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


def _near(fitted: Fitted, core: Likelihood) -> Fit | None:
    """
    Return the maximum that a few steps lead to, None if they do not or if it needs a closer look.

    The first steps are made with the information of the fit, the others with that of these data
    after them; each takes a gradient only, and shrinks it by a factor of five to a thousand.
    """
    if fitted.is_grouped:
        core = core.distinct()[0]
    with np.errstate(all="ignore"):  # a step may lead far outside
        found = _steps(fitted, core)
    if found is None:
        return None
    params, information, llf, iterations, decrement = found
    near = replace(
        fitted.fit,
        params=np.where(fitted.fit.estimated, params, np.nan),
        internal=params,
        llf=llf,
        information=information,
        iterations=iterations,
        decrement=decrement,
        converged=True,
        message="from the maximum of the original data",
    )
    return near if _is_inside(core, near) else None


def _steps(fitted: Fitted, core: Likelihood) -> tuple[Array, Array, float, int, float] | None:
    """Return maximum, information near by, log-likelihood, steps and scaled gradient; None if far."""
    solved = fitted.fit.solved
    params, bread, last = fitted.fit.internal, fitted.bread, np.inf
    for iteration in range(MOST):
        if iteration < N_APPROXIMATE_STEPS:
            gradient = core.approximate_gradient(params)[0][solved]
        else:
            factors = core.factors(params, 2 if iteration == N_APPROXIMATE_STEPS else 1)
            gradient = core.gradient(factors)[solved]
        if iteration == N_APPROXIMATE_STEPS:
            information = -core.hessian(factors)[np.ix_(solved, solved)]
            bread = inverse(information)
        if bread is None:
            return None
        step = bread @ gradient
        decrement = max(float(gradient @ step), 0.0) ** 0.5
        if not decrement < last:
            return None
        params = params.copy()
        params[solved] += step
        # the step after Newton's shrinks the gradient half as well as that did, the next ones as it
        left = 2 * decrement**2 / last
        if iteration > N_APPROXIMATE_STEPS and left <= LEFT:
            # the last step gains half of the gradient times it
            llf = float(factors.loglike.sum()) + 0.5 * decrement**2
            return params, information, llf, iteration + 1, left
        last = decrement
    return None


def _is_inside(core: Likelihood, near: Fit) -> bool:
    """Return whether the dispersion is so far from its ends, and so well known, as not to be doubted."""
    if not core.has_boundary or not isinstance(core.link_dispersion, links.Log):
        return True
    low, high = np.log(APPROACHING)
    zeta = core.log_dispersion(near.internal[core.k_mean :])
    scaled = zeta + np.log(core.boundary_family.boundary_scale(core.rows))
    inside = np.all(scaled > low) and np.all(zeta <= high)
    return bool(inside) and not is_dispersion_uncertain(near, core)


def fit_again(model: Any, start: Array | None = None, criterion: Criterion = LIKELIHOOD) -> Fit:
    """Return the fit of a model."""
    names, estimable = model.parameter_names, model.estimable
    return fit.fit(model.core, names, estimable, start, criterion=criterion)


def refitted_from_null(model: Any, fitted: Fit, core: Likelihood, smaller: Fit) -> Fit:
    """Return what a fit that failed, below a smaller model's, reaches from that if it converges."""
    start = embedded(model.core, core, smaller.internal)
    again = fit_again(model, start, fitted.criterion)
    return again if again.converged and again.maximum > fitted.maximum else fitted


def embedded(larger: Likelihood, smaller: Likelihood, params: Array) -> Array:
    """Return coefficients of a larger model with the predictors of a smaller one."""
    beta, gamma = np.split(params, [smaller.k_mean])
    parts = ((larger.X, smaller.X, beta), (larger.Z, smaller.Z, gamma))
    return np.concatenate([np.linalg.lstsq(A, B @ b, rcond=None)[0] for A, B, b in parts])
