"""One search for a local maximum of the likelihood: by our Newton method or a statsmodels optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from hetglm.estimation.newton import Optimum, maximise
from hetglm.estimation.record import OWN_METHODS, Fit, Settings
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import ScaledObjective
from hetglm.typing import Array
from hetglm.utils import host
from hetglm.utils.linalg import solve_scaled

#: Tolerance on the Newton decrement for accepting a statsmodels optimiser's solution: the
#: log-likelihood is then at most 5e-5 short.
TOL_STATSMODELS = 1e-2


def search(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    settings: Settings,
    watch: Callable[[Array, bool], None] | None = None,
) -> Fit:
    """
    Return the local maximum that one start leads to.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
        Coefficients to search for; the others are 0.
    start : ndarray, shape (p + q,)
    settings : Settings
    watch : callable, optional
        Called with the coefficients after each step, and whether the search is progressing or has
        converged; may raise to stop it.
    """
    objective = ScaledObjective(likelihood, estimated)
    origin = objective.reduced(start)
    method, maxiter, disp = settings.method, settings.maxiter, settings.disp

    def after(params: Array) -> None:
        if watch is not None:
            watch(objective.full(params), True)

    if method in OWN_METHODS:
        with np.errstate(over="ignore", invalid="ignore"):  # trial points may lie far outside
            optimum = maximise(objective, origin, maxiter, settings.tol, after)
        retvals = {"converged": optimum.converged, "iterations": optimum.iterations}
    else:
        optimum, retvals = by_statsmodels(
            objective, origin, method, maxiter, disp, settings.options
        )
    internal = objective.full(optimum.params)
    if watch is not None:
        watch(internal, optimum.converged)
    if disp:
        print(f"{method}: {optimum.message}; log-likelihood {optimum.local.value:.6f}")
    return Fit(
        np.where(estimated, internal, np.nan),
        estimated,
        internal,
        estimated,
        optimum.local.value,
        method,
        optimum.message,
        optimum.iterations,
        optimum.decrement,
        optimum.converged,
        optimum.local.information * np.outer(objective.scale, objective.scale),
        retvals,
    )


def by_statsmodels(
    objective: ScaledObjective,
    origin: Array,
    method: str,
    maxiter: int,
    disp: bool,
    options: dict[str, Any],
) -> tuple[Optimum, dict[str, Any]]:
    """Return the optimum found by one of statsmodels' optimisers, by its name."""
    n = objective.n
    if method == "nm":
        options = {"xtol": 1e-8, "ftol": 1e-10, **options}  # its 1e-4 is far from a maximum
    with warnings.catch_warnings():
        # statsmodels warns of an unknown option and drops it
        warnings.simplefilter("error", FutureWarning)
        try:
            params, retvals, _ = host.optimise(
                lambda p: -objective.value(p) / n,
                lambda p: -objective.gradient(p) / n,
                origin,
                (),
                dict(options),
                hessian=lambda p: objective.local(p).information / n,
                method=method,
                disp=disp,
                maxiter=maxiter,
                full_output=True,
                retall=False,
            )
        except FutureWarning as exc:
            raise TypeError(f"fit: {exc}") from exc
    local = objective.local(params)
    step = solve_scaled(local.information, local.gradient)
    decrement = np.inf if step is None else max(float(local.gradient @ step), 0.0) ** 0.5
    converged = bool(retvals.get("converged", True)) and decrement < TOL_STATSMODELS
    message = f"statsmodels' {method} " + ("converged" if converged else "stopped short")
    iterations = int(retvals.get("iterations", 0) or 0)
    return Optimum(params, local, iterations, decrement, converged, message), retvals
