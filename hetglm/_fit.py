"""From a likelihood to its maximum: rank, start, optimisation, diagnosis."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.base.optimizer import Optimizer
from statsmodels.genmod.families import links

from hetglm._boundary import Boundary, recession
from hetglm._likelihood import Likelihood, Predictors
from hetglm._linalg import gram, independent_columns, inverse, solve_scaled
from hetglm._links import invert
from hetglm._optimize import Local, Optimum, maximize
from hetglm._text import listed, rows_text, warn
from hetglm.exceptions import (
    AliasedColumnWarning,
    BoundaryWarning,
    ConvergenceWarning,
    SeparationWarning,
    UnboundedLikelihoodError,
    UnboundedLikelihoodWarning,
)

Array = NDArray[Any]

NO_START = (
    "no starting values with a finite likelihood were found (the link may leave the domain of the "
    "mean); give start_params, or use a log or logit link"
)
#: The default method; every other name is one of statsmodels' optimisers.
DEFAULT_METHOD = "newton-scoring"
#: "newton" too is ours: statsmodels' takes full steps and leaves the domain.
OWN_METHODS = (DEFAULT_METHOD, "newton")
#: Largest scaled gradient (log-likelihood 5e-5 short) at which another optimiser is believed.
BELIEVED = 1e-2
#: Largest change of a log-dispersion in one step: keeps a step off the flat parts of a likelihood.
LONGEST_LOG_STEP = 4.0
#: E log chi2(1): log of a squared residual is lower than log phi by this on average.
MEAN_LOG_CHI2 = -1.2703628454614782
#: phi this far below the other rows' is beyond what squared doubles can hold.
VANISHING = 1e-30
#: Share of a mean direction's information, against its columns, below which it has no estimate.
SEPARATED_INFORMATION = 1e-6
SEPARATED_TAIL = 1e-4
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


def warn_of_aliases(estimable: Array, names: list[str]) -> None:
    """Warn, once, of the columns that are left out, by name."""
    aliased = [name for name, kept in zip(names, estimable, strict=True) if not kept]
    if aliased:
        warn(aliased_text(aliased), AliasedColumnWarning)


def aliased_text(names: list[str]) -> str:
    """Return the sentence on aliased columns."""
    return (
        f"aliased, left out of the fit: {listed(names)} (each a linear combination of earlier columns "
        "of its part); the coefficients are reported as NaN"
    )


def starting_values(likelihood: Likelihood, estimated: Array) -> list[Array]:
    """
    Return coefficients inside the domain, from the response alone, the likeliest first.

    The mean by one weighted least-squares fit of the linked response; the dispersion from the rows'
    crude estimates: constant, or by regression of their logarithm with or without a floor.
    """
    k = likelihood.k_mean
    keep_mean, keep_disp = estimated[:k], estimated[k:]
    beta = _start_mean(likelihood, keep_mean)
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    raw = _crude_dispersion(likelihood, at)
    if not np.isfinite(raw).any():
        raise ValueError(NO_START)
    raw = np.nan_to_num(raw, nan=float(np.nanmean(raw)))
    starts = [
        np.concatenate([beta, _regress(likelihood.Z, keep_disp, target)])
        for target in _dispersion_targets(likelihood, raw)
    ]
    values = [likelihood.loglike(start) for start in starts]
    order = [i for i in np.argsort(values)[::-1] if values[i] > -np.inf]
    if not order:
        raise ValueError(NO_START)
    return [starts[i] for i in order]


def _dispersion_targets(likelihood: Likelihood, raw: Array) -> list[Array]:
    """Return row-wise linear predictors of the dispersion to start from."""
    off = 0.0 if likelihood.offset_dispersion is None else likelihood.offset_dispersion
    mean = max(float(np.average(raw, weights=likelihood.freq)), 1e-12)
    link = likelihood.link_dispersion
    constant = np.full(likelihood.n, float(link(np.array([mean]))[0])) - off
    floors = (1e-3 * mean, 1e-12 * mean)
    smooth = [link(np.exp(np.log(raw + floor) - MEAN_LOG_CHI2)) - off for floor in floors]
    return [constant, *smooth]


def _start_mean(likelihood: Likelihood, keep: Array) -> Array:
    rows, family, link = likelihood.rows, likelihood.family, likelihood.link
    off = 0.0 if likelihood.offset is None else likelihood.offset
    mu = family.start(rows)
    with np.errstate(all="ignore"):
        target = np.asarray(link(mu), dtype=float) - off
        # a link that cannot take a response (log of a negative one) clips it: no row to start from
        usable = np.isclose(invert(link, target + off).mu, mu, rtol=1e-6)
        usable |= ~usable.any()
        freq = np.ones(likelihood.n) if likelihood.freq is None else likelihood.freq
        level = np.average(mu[usable], weights=freq[usable])
        centre = np.full(likelihood.n, float(np.asarray(link(np.array([level])))[0])) - off
        slope = np.asarray(link.deriv(mu), dtype=float)
        variance = family.variance(mu, 1 - mu, np.ones_like(mu), likelihood.trials)
        weight = 1 / (slope**2 * variance)
    weight = np.where(np.isfinite(weight) & (weight > 0) & usable, weight * freq, 0.0)
    target = np.where(np.isfinite(target), target, centre)
    beta = _regress(likelihood.X, keep, target, weight if weight.any() else None)
    flat = _regress(likelihood.X, keep, centre)
    worst = _profile(likelihood, flat)
    if _profile(likelihood, beta) > worst:
        return beta
    # outside the domain, or absurd: as far towards the regression as the likelihood allows
    mixed = [share * beta + (1 - share) * flat for share in (0.75, 0.5, 0.25, 0.1, 0.0)]
    return max(mixed, key=lambda candidate: _profile(likelihood, candidate))


def _profile(likelihood: Likelihood, beta: Array) -> float:
    """Return the log-likelihood of a mean with the constant dispersion of its crude residuals."""
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    raw = _crude_dispersion(likelihood, at)
    if not np.isfinite(raw).any():
        return -np.inf
    phi = likelihood.row_phi(np.full(likelihood.n, max(float(np.nanmean(raw)), 1e-12)))
    nu = at.mean.nu if likelihood.family.unit_interval else None
    value = likelihood.family.evaluate(likelihood.rows, at.mean.mu, nu, phi, 0).loglike.sum()
    return float(value) if value == value else -np.inf


def _crude_dispersion(likelihood: Likelihood, at: Predictors) -> Array:
    """Return each row's own estimate of phi, NaN where it has none, shape (n,)."""
    nu = at.mean.nu if likelihood.family.unit_interval else None
    with np.errstate(all="ignore"):
        raw = likelihood.family.start_dispersion(likelihood.rows, at.mean.mu, nu)
        raw = raw if likelihood.weights is None else raw * likelihood.weights
    return np.where(np.isfinite(raw) & (raw >= 0), raw, np.nan)


def _regress(A: Array, keep: Array, target: Array, weight: Array | None = None) -> Array:
    """Return the least-squares coefficients of ``target`` on the kept columns, 0 elsewhere."""
    kept = A[:, keep]
    w = np.ones(len(A)) if weight is None else weight
    coef = np.zeros(A.shape[1])
    if kept.shape[1]:
        right = kept.T @ (w * target)
        solution = solve_scaled(gram(kept, w, kept), right)
        if solution is None:
            root = np.sqrt(w)
            solution = np.linalg.lstsq(kept * root[:, None], root * target, rcond=None)[0]
        coef[keep] = solution
    return coef


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


def diagnose(
    likelihood: Likelihood,
    fitted: Fit,
    estimable: Array,
    names: list[str],
    warn_convergence: bool = True,
) -> list[str]:
    """Return what is to be said of a fit, one sentence each, and warn of it by its own class."""
    notes = []
    if not fitted.converged:
        notes.append(
            f"the fit did not converge: {fitted.message} (scaled gradient {fitted.decrement:.1e}); try "
            "more iterations, start_params or a simpler dispersion"
        )
        if warn_convergence:
            warn(notes[-1], ConvergenceWarning)
    if fitted.spike:
        notes.append(f"{fitted.spike}; this is the maximum beside that, with a zero gradient")
        warn(notes[-1], UnboundedLikelihoodWarning)
    if not np.isfinite(fitted.llf):
        return notes
    separated = separation_text(likelihood, fitted, names)
    if separated:
        notes.append(separated)
        warn(separated, SeparationWarning)
    boundary = boundary_text(fitted, likelihood.family.at_zero)
    if boundary:
        notes.append(boundary)
        warn(boundary, BoundaryWarning)
    aliased = [name for name, kept in zip(names, estimable, strict=True) if not kept]
    return [*notes, aliased_text(aliased)] if aliased else notes


def boundary_text(fitted: Fit, law: str) -> str:
    """Return the sentence on rows whose dispersion is zero, or an empty one."""
    if fitted.boundary is None:
        return ""
    rows, terms = fitted.boundary.rows, fitted.boundary.terms
    return (
        f"the dispersion is zero in {rows_text(rows)} (counted from 0), at the {law} boundary: these "
        f"rows are no more variable than the {law}, and {listed(terms)} have no finite estimate; the "
        f"log-likelihood is its supremum, the other numbers are those with these rows held at the {law}"
    )


def separation_text(likelihood: Likelihood, fitted: Fit, names: list[str]) -> str:
    """Return the sentence on mean terms without a finite estimate, or an empty one."""
    k = likelihood.k_mean
    keep = fitted.estimated[:k]
    likelihood = at_fit(likelihood, fitted)
    at = likelihood.predictors(fitted.internal)
    unit = likelihood.family.unit_interval
    tail = np.minimum(at.mean.mu, at.mean.nu) if unit else np.abs(at.mean.mu)
    level = 0.5 if unit else np.median(tail)
    at_limit = (tail < SEPARATED_TAIL * level) & (np.abs(at.mean.d1) < SEPARATED_TAIL * level)
    if not at_limit.any() or not keep.any():
        return ""
    X = likelihood.X[:, keep]
    weight = np.nan_to_num(-likelihood.expected_factors(fitted.internal)[0])
    flat = _flat_direction(X, np.maximum(weight, 0.0))
    rows = at_limit & (np.abs(X @ flat) > 1e-3 * np.max(np.abs(X @ flat), initial=0.0))
    if not rows.any():
        return ""
    share = np.abs(flat) * np.sqrt(np.mean(X**2, axis=0))
    kept = [name for name, kept in zip(names[:k], keep, strict=True) if kept]
    terms = [name for name, s in zip(kept, share, strict=True) if s > 0.1 * share.max()]
    return (
        f"the response is separated: {rows_text(rows)} (counted from 0) are fitted at the limit of the "
        f"mean, so {listed(terms)} have no finite estimate; the other numbers stand"
    )


def _flat_direction(X: Array, weight: Array) -> Array:
    """Return the combination of columns with next to no information, or zeros."""
    scale = np.sqrt(np.einsum("ij,ij->j", X, X))
    S = X / scale
    whitener = inverse(gram(S, None, S))
    if whitener is None:
        return np.zeros(X.shape[1])
    root = np.linalg.cholesky(whitener)
    values, vectors = np.linalg.eigh(root.T @ gram(S, weight, S) @ root)
    typical = float(np.median(weight[weight > 0])) if np.any(weight > 0) else 1.0
    if values[0] > SEPARATED_INFORMATION * typical:
        return np.zeros(X.shape[1])
    return np.asarray(root @ vectors[:, 0] / scale)
