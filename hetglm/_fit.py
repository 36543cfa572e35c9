"""From a likelihood to its supremum: search, boundary, unbounded directions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.base.optimizer import Optimizer
from statsmodels.genmod.families import links

from hetglm._boundary import Boundary, recession
from hetglm._likelihood import Likelihood
from hetglm._linalg import independent_columns, solve_scaled
from hetglm._optimize import Local, Optimum, maximize
from hetglm._start import starting_values
from hetglm._text import listed, rows_text
from hetglm.exceptions import (
    UnboundedLikelihoodError,
)

Array = NDArray[Any]

#: The default method; every other name is one of statsmodels' optimisers.
DEFAULT_METHOD = "newton-scoring"
#: "newton" too is ours: statsmodels' takes full steps and leaves the domain.
OWN_METHODS = (DEFAULT_METHOD, "newton")
#: Largest scaled gradient (log-likelihood 5e-5 short) at which another optimiser is believed.
BELIEVED = 1e-2
#: Largest change of a log-dispersion in one step: keeps a step off the flat parts of a likelihood.
LONGEST_LOG_STEP = 4.0
#: phi this far below the other rows' is beyond what squared doubles can hold.
VANISHING = 1e-30
#: n phi below which a row that a search ended with cannot be told from phi = 0 ...
NEGLIGIBLE_DISPERSION = 1e-4
#: ... and below which a row on its way is tried there.
APPROACHING = 1e-2


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
    boundary : Boundary or None
        Rows whose dispersion is zero, where there are such.
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
    boundary: Boundary | None = None


class ScaledObjective:
    """The log-likelihood in the estimable coefficients, columns scaled to unit root mean square."""

    def __init__(self, likelihood: Likelihood, estimated: Array) -> None:
        self.likelihood = likelihood
        self.estimated = estimated
        self.n = likelihood.n
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

    def longest_step(self, step: Array) -> float:
        """Return the fraction of a step that changes no log-dispersion by more than a few units."""
        k = int(self.estimated[: self.likelihood.k_mean].sum())
        gamma = np.zeros(len(self.estimated) - self.likelihood.k_mean)
        gamma[self.estimated[self.likelihood.k_mean :]] = step[k:] / self.scale[k:]
        change = np.max(np.abs(self.likelihood.Z @ gamma), initial=0.0)
        return float(min(1.0, LONGEST_LOG_STEP / change)) if change > 0 else 1.0

    def _shrink(self, information: Array) -> Array:
        kept = information[np.ix_(self.estimated, self.estimated)]
        return kept / np.outer(self.scale, self.scale)


def fit(
    likelihood: Likelihood,
    names: list[str],
    estimated: Array,
    start: Array | None = None,
    method: str = DEFAULT_METHOD,
    maxiter: int = 100,
    tol: float = 1e-8,
    disp: bool = False,
    **options: Any,
) -> Fit:
    """
    Return the maximum of a likelihood.

    Parameters
    ----------
    likelihood : Likelihood
    names : list of str
        Names of the p + q coefficients, for messages.
    estimated : ndarray of bool, shape (p + q,)
        Which coefficients are estimable.
    start : ndarray, optional
        Starting values of all coefficients; NaN counts as 0.
    method : str
        ``"newton-scoring"`` or the name of a statsmodels optimiser.
    maxiter, tol, disp
        Largest number of steps, tolerance of the scaled gradient, whether to print.
    **options
        Passed on to a statsmodels optimiser.

    Raises
    ------
    UnboundedLikelihoodError
        If rows are fitted exactly and the likelihood has no maximum.
    """
    saturated = int(estimated[: likelihood.k_mean].sum()) >= likelihood.n
    if saturated and not likelihood.family.zero_dispersion:
        where = (
            f"the likelihood grows without bound: the mean has {likelihood.n} coefficients for "
            f"{likelihood.n} rows, so every row is fitted exactly"
        )
        raise UnboundedLikelihoodError(f"{where}; take terms out of the mean", where)
    if start is None:
        starts = starting_values(likelihood, estimated)
    elif likelihood.loglike(start) > -np.inf:
        starts = [np.nan_to_num(start)]
    else:
        raise ValueError("start_params: the log-likelihood is not finite there")
    unbounded = None
    for candidate in starts:
        settings = Settings(names, method, maxiter, tol, disp, options)
        try:
            found = _supremum(likelihood, estimated, candidate, settings)
        except UnboundedLikelihoodError as exc:
            # a maximum inside may lie beside the spike: another start may reach it, as dglm does
            unbounded = unbounded or exc
            continue
        if unbounded is None or found.converged:
            return replace(found, spike="" if unbounded is None else unbounded.where)
    assert unbounded is not None
    raise unbounded


@dataclass(frozen=True)
class Settings:
    """How to search: names of the coefficients, method and its options."""

    names: list[str]
    method: str = DEFAULT_METHOD
    maxiter: int = 100
    tol: float = 1e-8
    disp: bool = False
    options: dict[str, Any] = field(default_factory=dict)


class _MeetsBoundary(Exception):
    """Rows are on their way to zero dispersion, where the score is negative: hold them there."""

    def __init__(self, params: Array) -> None:
        super().__init__()
        self.params = params


def _supremum(likelihood: Likelihood, estimated: Array, start: Array, settings: Settings) -> Fit:
    """Return the supremum one start leads to, at the boundary phi = 0 where it lies there."""
    log_link = isinstance(likelihood.link_dispersion, links.Log)
    if not (likelihood.family.zero_dispersion and log_link):
        return search(likelihood, estimated, start, settings)
    # holding rows at zero as soon as they seem to go there saves the crawl of log phi to -infinity;
    # where it was too soon, crawl
    found = _towards_boundary(likelihood, estimated, start, settings, eager=True)
    return found or _towards_boundary(likelihood, estimated, start, settings, eager=False)  # type: ignore[return-value]


def _towards_boundary(
    likelihood: Likelihood, estimated: Array, start: Array, settings: Settings, eager: bool
) -> Fit | None:
    """Return the supremum; None where rows were held at zero that have more likelihood above it."""
    rows, params = np.zeros(likelihood.n, dtype=bool), start
    while True:
        core, solved = _held(likelihood, estimated, rows)
        try:
            found = search(core, solved, params, settings, estimated if eager else None)
        except _MeetsBoundary as met:
            rows, _ = _candidates(core, estimated, met.params, APPROACHING)
            params = met.params
            continue
        more, directions = _candidates(core, estimated, found.internal, NEGLIGIBLE_DISPERSION)
        if not np.any(more & ~rows):
            break
        rows, params = more, found.internal
    if not rows.any():
        return found
    if eager and np.any(_cell_scores(likelihood, found.internal, rows) > 0):
        return None
    return _at_boundary(found, likelihood, rows, directions, settings.names)


def _held(likelihood: Likelihood, estimated: Array, rows: Array) -> tuple[Likelihood, Array]:
    """Return the likelihood with some rows at phi = 0, and the coefficients the others determine."""
    if not rows.any():
        return likelihood, estimated
    held = np.where(rows, -np.inf, np.nan)
    solved = np.array(estimated)
    scale = np.flatnonzero(estimated[likelihood.k_mean :])
    independent = independent_columns(likelihood.Z[~rows][:, scale])
    solved[likelihood.k_mean + scale[~independent]] = False
    return replace(likelihood, held=held), solved


def _candidates(
    core: Likelihood, estimated: Array, params: Array, limit: float
) -> tuple[Array, Array]:
    """Return the rows that can go to zero dispersion at ``params``, and their directions."""
    phi = core.predictors(params).phi
    negligible = phi * (1.0 if core.trials is None else core.trials) < limit
    kept = estimated[core.k_mean :]
    rows, reduced = recession(core.Z[:, kept], negligible)
    directions = np.zeros((core.Z.shape[1], reduced.shape[1]))
    directions[kept] = reduced
    return rows, directions


def _cell_scores(likelihood: Likelihood, params: Array, rows: Array) -> Array:
    """Return the score in phi at phi = 0, summed over the rows of each distinct dispersion."""
    core = replace(likelihood, held=np.where(rows, -np.inf, np.nan)).take(rows)
    score = core.terms(core.predictors(params), 1).phi
    assert score is not None
    score = score if core.freq is None else score * core.freq
    if core.offset_dispersion is not None:
        score = score * np.exp(core.offset_dispersion)
    of_row = np.unique(core.Z, axis=0, return_inverse=True)[1].ravel()
    return np.bincount(of_row, weights=score)


def _stop_at_boundary(likelihood: Likelihood, estimated: Array, params: Array) -> None:
    """Raise where rows not held yet approach zero dispersion and would lose by leaving it."""
    held = np.zeros(likelihood.n, bool) if likelihood.held is None else ~np.isnan(likelihood.held)
    phi = likelihood.predictors(params).phi
    near = phi * (1.0 if likelihood.trials is None else likelihood.trials) < APPROACHING
    if not np.any(near & ~held):
        return
    rows, _ = _candidates(likelihood, estimated, params, APPROACHING)
    if np.any(rows & ~held) and np.all(_cell_scores(likelihood, params, rows) < 0):
        raise _MeetsBoundary(params)


def _at_boundary(
    found: Fit, likelihood: Likelihood, rows: Array, directions: Array, names: list[str]
) -> Fit:
    """Return the fit with the coefficients that have no finite value as NaN."""
    k = likelihood.k_mean
    infinite = np.any(directions != 0, axis=1)
    params, estimated = np.array(found.params), np.array(found.solved)
    params[k:][infinite] = np.nan
    estimated[k:][infinite] = False
    terms = [name for name, lost in zip(names[k:], infinite, strict=True) if lost]
    cells = np.unique(likelihood.Z[rows], axis=0)
    boundary = Boundary(rows, directions, terms, cells)
    return replace(found, params=params, estimated=estimated, boundary=boundary)


def search(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    settings: Settings,
    eager: Array | None = None,
) -> Fit:
    """Return where one start leads to; with ``eager``, stop where rows meet the boundary."""
    objective = ScaledObjective(likelihood, estimated)
    origin = objective.reduced(start)
    names, method, maxiter, tol, disp, options = (
        getattr(settings, f.name) for f in fields(settings)
    )

    def watch(params: Array, converged: bool = True) -> None:
        if not likelihood.family.zero_dispersion:
            _refuse_unbounded(likelihood, objective.full(params), start, names, converged)
        elif eager is not None:
            _stop_at_boundary(likelihood, eager, objective.full(params))

    if method in OWN_METHODS:
        optimum = maximize(objective, origin, maxiter, tol, watch)
        retvals = {"converged": optimum.converged, "iterations": optimum.iterations}
    else:
        optimum, retvals = _by_statsmodels(objective, origin, method, maxiter, disp, options)
    watch(optimum.params, optimum.converged)
    if disp:
        print(f"{method}: {optimum.message}; log-likelihood {optimum.local.value:.6f}")
    internal = objective.full(optimum.params)
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


def _refuse_unbounded(
    likelihood: Likelihood, params: Array, start: Array, names: list[str], converged: bool
) -> None:
    """Raise where the dispersion of some rows has vanished beyond what doubles can hold."""
    at = likelihood.predictors(params)
    phi = likelihood.row_phi(at.phi)
    # a search that stalled in the rounding of y - mu did not get as far as one that goes on
    limit, roundings = (VANISHING, 1.0) if converged else (VANISHING**0.6, 64.0)
    vanished = phi < limit * np.median(phi)
    if likelihood.family.unit_interval:
        vanished |= phi < limit
    else:
        rounding = roundings * np.finfo(float).eps * (np.abs(likelihood.y) + np.abs(at.mean.mu))
        with np.errstate(all="ignore"):
            variance = likelihood.family.variance(at.mean.mu, None, phi, likelihood.trials)
            vanished |= (phi < 1e-280) | (np.sqrt(variance) < rounding)
    if not vanished.any():
        return
    k = likelihood.k_mean
    change = np.abs(params - start)[k:] * np.sqrt(np.mean(likelihood.Z[vanished] ** 2, axis=0))
    moved = [n for n, c in zip(names[k:], change, strict=True) if c > 0.1 * change.max()]
    where = (
        f"the likelihood grows without bound: {rows_text(vanished)} (counted from 0) can be fitted "
        f"exactly, and the dispersion there goes to zero along {listed(moved)}"
    )
    raise UnboundedLikelihoodError(
        f"{where}; merge the cell with another or take the term out of the dispersion (or out of the "
        "mean)",
        where,
    )


def at_fit(likelihood: Likelihood, fitted: Fit) -> Likelihood:
    """Return the likelihood with the rows of the boundary held there."""
    if fitted.boundary is None or likelihood.n == 0:
        return likelihood
    return replace(likelihood, held=np.where(fitted.boundary.rows, -np.inf, np.nan))
