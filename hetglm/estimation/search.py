"""One search for a maximum: from a start to where the gradient vanishes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from statsmodels.base.optimizer import Optimizer
from statsmodels.genmod.families import links

from hetglm.estimation.newton import Local, Optimum, maximize
from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import solve_scaled

#: The default method; every other name is one of statsmodels' optimisers.
DEFAULT_METHOD = "newton-scoring"
#: "newton" too is ours: statsmodels' takes full steps and leaves the domain.
OWN_METHODS = (DEFAULT_METHOD, "newton")
#: Largest scaled gradient (log-likelihood 5e-5 short) at which another optimiser is believed.
BELIEVED = 1e-2
#: Largest change of a log-dispersion in one step: keeps a step off the flat parts of a likelihood.
LONGEST_LOG_STEP = 4.0
#: Longest step along a direction without curvature, in units of a standardised column's effect.
FURTHEST = 20.0
#: Size times phi (1/phi) below which another value makes no difference to the length of a step.
PLAIN_LAW = 1e-5


@dataclass(frozen=True)
class Fit:
    """
    A maximised likelihood.

    Attributes
    ----------
    params : ndarray, shape (p + q,)
        Coefficients of both parts, NaN where one is aliased or has no finite estimate.
    estimated : ndarray of bool, shape (p + q,)
        Which coefficients have an estimate.
    internal : ndarray, shape (p + q,)
        Coefficients that make the predictors of the rows that are not held at the boundary.
    solved : ndarray of bool, shape (p + q,)
        Which of the latter were searched for; the others are 0.
    llf : float
        Log-likelihood at the maximum.
    method, message : str
        How it was reached, and how the search ended.
    iterations : int
    decrement : float
        Gradient in units of its standard deviation, over all directions.
    converged : bool
    information : ndarray, shape (k, k)
        Observed information of the solved coefficients.
    retvals : dict
        What statsmodels' optimiser returned, or the same facts of ours.
    spike : str
        Where else the likelihood is unbounded, if that was met on the way to this maximum.
    edge : str
        Which means are at the edge of their domain, where the maximum lies there.
    boundary : Boundary or None
        Rows whose dispersion is zero or infinite, where there are such.
    second : float
        Log-likelihood of the next best maximum that was met, NaN if no other was.
    """

    params: Array
    estimated: Array
    internal: Array
    solved: Array
    llf: float
    method: str
    message: str
    iterations: int
    decrement: float
    converged: bool
    information: Array
    retvals: dict[str, Any]
    spike: str = ""
    edge: str = ""
    boundary: Boundary | None = None
    second: float = np.nan


@dataclass(frozen=True)
class Settings:
    """How to search: names of the coefficients, method and its options."""

    names: list[str]
    method: str = DEFAULT_METHOD
    maxiter: int = 100
    tol: float = 1e-8
    disp: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class ScaledObjective:
    """The log-likelihood in the estimable coefficients, columns scaled to unit root mean square."""

    def __init__(self, likelihood: Likelihood, estimated: Array) -> None:
        self.likelihood = likelihood
        self.estimated = estimated
        self.n = likelihood.n
        # log-odds and log sigma have a scale of their own
        self.furthest = FURTHEST if likelihood.family.zero_dispersion else np.inf
        squares = [np.einsum("ij,ij->j", A, A) for A in (likelihood.X, likelihood.Z)]
        rms = np.sqrt(np.concatenate(squares) / max(self.n, 1))
        self.scale = np.where(rms > 0, rms, 1.0)[estimated]

    def full(self, params: Array) -> Array:
        """Return coefficients of all columns, 0 where aliased."""
        full = np.zeros(len(self.estimated))
        full[self.estimated] = params / self.scale
        return full

    def reduced(self, full: Array) -> Array:
        """Return scaled coefficients of the estimable columns."""
        return np.asarray(full, dtype=float)[self.estimated] * self.scale

    def value(self, params: Array) -> float:
        """Return the log-likelihood."""
        return self.likelihood.loglike(self.full(params))

    def local(self, params: Array) -> Local:
        """Return value, gradient and observed information."""
        factors = self.likelihood.factors(self.full(params))
        with np.errstate(all="ignore"):
            value = float(factors.loglike.sum())
            gradient = self.likelihood.gradient(factors)[self.estimated] / self.scale
            hessian = self.likelihood.hessian(factors)
        return Local(value if value == value else -np.inf, gradient, self._shrink(-hessian))

    def gradient(self, params: Array) -> Array:
        """Return the gradient alone."""
        factors = self.likelihood.factors(self.full(params), 1)
        return self.likelihood.gradient(factors)[self.estimated] / self.scale

    def expected_information(self, params: Array) -> Array:
        """Return the expected information."""
        return self._shrink(-self.likelihood.expected_hessian(self.full(params)))

    def longest_step(self, params: Array, step: Array) -> float:
        """
        Return the fraction of a step that changes no log-dispersion by more than a few units.

        Where the likelihood is finite at phi = 0, only the change between dispersions that make a
        difference counts.
        """
        core, k = self.likelihood, self.likelihood.k_mean
        change = core.Z @ self.full(step)[k:]
        if not isinstance(core.link_dispersion, links.Log):
            at = core.predictors(self.full(params))
            with np.errstate(all="ignore"):
                of_log = np.nanmax(np.abs(change * at.d_phi / at.phi), initial=0.0)
            return float(min(1.0, LONGEST_LOG_STEP / max(of_log, LONGEST_LOG_STEP)))
        if np.max(np.abs(change), initial=0.0) <= LONGEST_LOG_STEP:
            return 1.0
        here = core.predictors(self.full(params)).zeta
        low, high = np.full(self.n, -np.inf), np.inf
        if core.family.zero_dispersion:
            low, high = np.log(PLAIN_LAW / core.family.size(core.rows)), -np.log(PLAIN_LAW)
        up = np.sign(change)
        here, ahead = here * up, np.where(up > 0, high, -low)
        until = np.maximum(here, np.where(up > 0, low, -high)) + LONGEST_LOG_STEP
        with np.errstate(all="ignore"):
            fraction = (until - here) / np.abs(change)
        fraction = np.where((until > ahead) | ~np.isfinite(here), np.inf, fraction)
        return float(min(1.0, np.nanmin(fraction, initial=np.inf)))

    def change(self, step: Array) -> float:
        """Return the largest change of a row's linear predictor by a step."""
        core, k, step = self.likelihood, self.likelihood.k_mean, self.full(step)
        changes = core.X @ step[:k], core.Z @ step[k:]
        return max(float(np.max(np.abs(change), initial=0.0)) for change in changes)

    def _shrink(self, information: Array) -> Array:
        kept = information[np.ix_(self.estimated, self.estimated)]
        return kept / np.outer(self.scale, self.scale)


def search(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    settings: Settings,
    watch: Callable[[Array, bool], None] | None = None,
) -> Fit:
    """
    Return where one start leads to.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
        Coefficients to search for; the others are 0.
    start : ndarray, shape (p + q,)
    settings : Settings
    watch : callable, optional
        Called with the coefficients after each step, and whether the search went well so far; may
        raise to stop it.
    """
    objective = ScaledObjective(likelihood, estimated)
    origin = objective.reduced(start)
    method, maxiter, disp = settings.method, settings.maxiter, settings.disp

    def after(params: Array) -> None:
        if watch is not None:
            watch(objective.full(params), True)

    if method in OWN_METHODS:
        with np.errstate(over="ignore", invalid="ignore"):  # trial points may lie far outside
            optimum = maximize(objective, origin, maxiter, settings.tol, after)
        retvals = {"converged": optimum.converged, "iterations": optimum.iterations}
    else:
        optimum, retvals = _by_statsmodels(
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


def _by_statsmodels(
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
            params, retvals, _ = Optimizer()._fit(
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
    converged = bool(retvals.get("converged", True)) and decrement < BELIEVED
    message = f"statsmodels' {method} " + ("converged" if converged else "stopped short")
    iterations = int(retvals.get("iterations", 0) or 0)
    return Optimum(params, local, iterations, decrement, converged, message), retvals
