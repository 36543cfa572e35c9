"""
Maxima on the boundary of the mean's parameter space.

With an identity link a mean of counts may be 0 but not negative, and where the counts are 0 the
likelihood may still increase there: the gradient at the maximum is not zero. An active-set method for
inequality constraints finds it: the rows on the boundary are fixed, the likelihood is maximised over
the rest, and it is the maximum where the gradient points outwards in every fixed row, that is where the
Lagrange multipliers are not negative (Karush, Kuhn and Tucker; Nocedal and Wright 2006, 16.5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls
from statsmodels.genmod.families import links

from hetglm.estimation.record import Fit, Settings
from hetglm.estimation.search import search
from hetglm.likelihood.boundary import TOL_ZERO, null_space, recession
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import invert
from hetglm.typing import Array
from hetglm.utils.linalg import independent_columns

Watch = Callable[[Array, bool], None]

#: Relative distance of the linear predictor from the boundary at which a row counts as on it.
TOL_ON_BOUNDARY = 1e-6

#: Relative distance from the boundary at which such a row is fixed: its mean still has digits there.
FIXED_DISTANCE = 1e-13

#: Bisections that find the boundary.
N_BISECTIONS = 60

#: Sets of active rows that are tried, for each coefficient.
MAX_ROUNDS_PER_COEFFICIENT = 4

#: Share of a gradient, or of a product with a direction, that is rounding.
TOL_GRADIENT = 1e-5

#: Relative residual, on the scale of the predictor, of a response that is fitted exactly.
TOL_EXACT_FIT = 1e-10


def maximise_on_boundary(
    likelihood: Likelihood,
    estimated: Array,
    stopped: Fit,
    settings: Settings,
    watch: Watch,
) -> Fit:
    """
    Return the maximum on the boundary of the mean's domain that a search stopped short of.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    stopped : Fit
        A search that did not converge.
    settings : Settings
    watch : callable
        Called with the coefficients after each step; may raise.

    Returns
    -------
    Fit
        ``stopped`` itself where no row is on the boundary, or no maximum was found there.
    """
    params, iterations = stopped.internal, stopped.iterations
    released = np.zeros(likelihood.n, dtype=bool)
    for _ in range(MAX_ROUNDS_PER_COEFFICIENT * len(params)):
        bounds = active_bounds(likelihood, params)
        fixed = (bounds != 0) & ~released
        if not fixed.any():
            again = search(likelihood, estimated, params, settings, watch)
            return again if released.any() and again.converged else stopped
        start = _step_back(likelihood, estimated, params, bounds, fixed)
        found = _with_means_fixed(likelihood, estimated, start, fixed, settings, watch)
        params, iterations = found.internal, iterations + found.iterations
        if not found.converged:
            if np.array_equal(active_bounds(likelihood, params) != 0, bounds != 0):
                break  # no further row stopped the search
            released[:] = False
            continue
        outward = _outward(likelihood, estimated, params, bounds, fixed)
        if outward is None:
            return _as_fit(likelihood, estimated, found, fixed, iterations)
        released |= fixed & ~outward
    return stopped


def active_bounds(likelihood: Likelihood, params: Array) -> Array:
    """Return the active bound of each row's mean, shape (n,): 1 upper, -1 lower, 0 none."""
    at = likelihood.predictors(params)
    step = TOL_ON_BOUNDARY * np.max(np.abs(at.eta), initial=0.0)
    return np.asarray(
        np.where(_in_domain(likelihood, params, at.eta + step), 0, 1)
        - np.where(_in_domain(likelihood, params, at.eta - step), 0, 1)
    )


def _in_domain(likelihood: Likelihood, params: Array, eta: Array) -> Array:
    """Return which rows' likelihood is finite at a linear predictor of the mean."""
    at = likelihood.predictors(params)
    mean = invert(likelihood.link, eta)
    value = likelihood.terms(replace(at, mean=mean), 0).loglike
    return np.isfinite(value)


def _step_back(
    likelihood: Likelihood, estimated: Array, params: Array, bounds: Array, fixed: Array
) -> Array:
    """Return coefficients with the fixed rows at one small distance from the boundary."""
    k = likelihood.k_mean
    eta = likelihood.predictors(params).eta
    unit = np.max(np.abs(eta), initial=0.0)
    near, far = np.zeros(likelihood.n), np.full(likelihood.n, TOL_ON_BOUNDARY * unit)
    for _ in range(N_BISECTIONS):
        middle = 0.5 * (near + far)
        inside = _in_domain(likelihood, params, eta + bounds * middle)
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    wanted = (bounds * (near - FIXED_DISTANCE * unit))[fixed]
    keep = np.flatnonzero(estimated[:k])
    moved = params.copy()
    moved[keep] += np.linalg.lstsq(likelihood.X[np.ix_(fixed, keep)], wanted, rcond=None)[0]
    return moved if likelihood.loglike(moved) > -np.inf else params


def _with_means_fixed(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    fixed: Array,
    settings: Settings,
    watch: Watch,
) -> Fit:
    """Return the maximum over the coefficients that leave the fixed rows' means unchanged."""
    k = likelihood.k_mean
    keep = np.flatnonzero(estimated[:k])
    basis = null_space(likelihood.X[:, keep], np.flatnonzero(fixed))
    free = np.zeros((k, basis.shape[1]))
    free[keep] = basis
    offset = likelihood.predictors(start).eta
    face = replace(likelihood, X=likelihood.X @ free, offset=offset)
    inner = np.r_[independent_columns(face.X), estimated[k:]]

    def whole(params: Array) -> Array:
        r = free.shape[1]
        return np.r_[start[:k] + free @ params[:r], params[r:]]

    found = search(
        face,
        inner,
        np.r_[np.zeros(free.shape[1]), start[k:]],
        settings,
        lambda params, converged: watch(whole(params), converged),
    )
    return replace(found, internal=whole(found.internal))


def _outward(
    likelihood: Likelihood, estimated: Array, params: Array, bounds: Array, fixed: Array
) -> Array | None:
    """Return the rows of positive multiplier, None where the multipliers balance the gradient (KKT)."""
    keep = np.flatnonzero(estimated[: likelihood.k_mean])
    gradient = likelihood.gradient(likelihood.factors(params, 1))[keep]
    normals = (bounds[fixed, None] * likelihood.X[np.ix_(fixed, keep)]).T
    size = np.linalg.norm(likelihood.X[:, keep], axis=0)
    multiplier, rest = nnls(normals / size[:, None], gradient / size)
    if rest <= TOL_GRADIENT * np.linalg.norm(gradient / size):
        return None
    outward = np.zeros(likelihood.n, dtype=bool)
    outward[np.flatnonzero(fixed)[multiplier > 0]] = True
    return outward


def _as_fit(
    likelihood: Likelihood, estimated: Array, found: Fit, fixed: Array, iterations: int
) -> Fit:
    """Return a maximum with fixed means as a fit of all coefficients that names the fixed rows."""
    # derivatives on the boundary may be infinite, and the gradient there is not zero: expected ones
    information = -likelihood.take(~fixed).expected_hessian(found.internal)
    mu = likelihood.predictors(found.internal).mean.mu[fixed]
    limits = " or ".join(f"{value:g}" for value in np.unique(np.round(mu, 6)))
    link = type(likelihood.link).__name__
    return replace(
        found,
        params=np.where(estimated, found.internal, np.nan),
        estimated=estimated,
        solved=estimated,
        iterations=iterations,
        message="the maximum is on the boundary of the domain of the mean",
        information=information[np.ix_(estimated, estimated)],
        domain_boundary=(
            f"the maximum lies on the boundary of the domain of the mean, {limits}: the {link} link "
            f"would take {likelihood.names.text(fixed)} beyond it"
        ),
    )


def unbounded_direction(
    likelihood: Likelihood, estimated: Array, params: Array, vanished: Array, adjusted: bool
) -> tuple[Array, Array] | None:
    r"""
    Return the rows whose phi goes to 0 with unbounded likelihood, and the direction; None if none do.

    Where the mean fits rows V exactly, the log-likelihood at :math:`\gamma + t c` changes by
    :math:`-\frac12 t \sum_i z_i'c` along a direction c that decreases no other row's log phi. Some
    such c increases it without bound unless the sum of all :math:`z_i` is a combination of those of the
    other rows with nonnegative weights (Farkas). A criterion that is adjusted for the mean, as REML is,
    changes by :math:`-\frac12 \log\det X'WX` as well: that takes from the sum the :math:`z_i'c` of as
    many independent rows as X has columns, those first that decrease fastest.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
    params : ndarray, shape (p + q,)
        The point that a search has reached.
    vanished : ndarray of bool, shape (n,)
        Rows whose phi has vanished there.
    adjusted : bool
        Whether the criterion is adjusted for the estimation of the mean.

    Returns
    -------
    rows : ndarray of bool, shape (n,)
    direction : ndarray, shape (q,)
    """
    if not _fitted_exactly(likelihood, estimated, vanished):
        return None
    # the mean that fits these rows exactly may fit others as well
    at = likelihood.predictors(params)
    with np.errstate(all="ignore"):
        left = np.abs(np.asarray(likelihood.link(likelihood.y), dtype=float) - at.eta)
    more = vanished | (left <= TOL_EXACT_FIT * np.max(np.abs(at.eta)))
    if _fitted_exactly(likelihood, estimated, more):
        vanished = more
    k = likelihood.k_mean
    Z, X = likelihood.Z[:, estimated[k:]], likelihood.X[:, estimated[:k]]
    size = np.maximum(np.max(np.abs(Z), axis=0, initial=0.0), np.finfo(float).tiny)
    Z = Z / size
    freq = np.ones(likelihood.n) if likelihood.freq is None else likelihood.freq

    def slope_at(zeta: Array) -> Array:
        total = Z.T @ freq
        if not adjusted:
            return total
        first = np.argsort(zeta, kind="stable")
        return total - Z[first[_independent_rows(X[first])]].sum(axis=0)

    direction = np.zeros(likelihood.Z.shape[1])
    if not isinstance(likelihood.link_dispersion, links.Log):
        # phi itself goes to zero, at finite coefficients
        direction[estimated[k:]] = (
            np.linalg.lstsq(Z[vanished], -np.ones(vanished.sum()), rcond=None)[0] / size
        )
        return vanished, direction
    slope = slope_at(at.zeta)
    others = np.unique(Z[~vanished], axis=0)
    weights = nnls(others.T, slope)[0] if len(others) else np.zeros(0)
    residual = others.T @ weights - slope
    if np.linalg.norm(residual) <= TOL_GRADIENT * np.linalg.norm(slope):  # zero but for rounding
        return None
    change = Z @ residual
    tiny = TOL_GRADIENT * np.max(np.abs(change), initial=0.0)
    gain = -float(residual @ slope_at(change))
    if gain <= TOL_GRADIENT * float(np.linalg.norm(residual) * np.linalg.norm(slope)):
        return None
    rows = vanished & (change < -tiny)
    if not rows.any():
        return None
    direction[estimated[k:]] = residual / size
    return rows, direction


def _independent_rows(X: Array) -> Array:
    """Return which rows are not linear combinations of earlier ones, shape (n,)."""
    keep = np.zeros(len(X), dtype=bool)
    rest, size = np.array(X, dtype=float), np.linalg.norm(X, axis=1)
    for _ in range(X.shape[1]):
        free = np.linalg.norm(rest, axis=1) > TOL_ZERO * size
        if not free.any():
            break
        i = int(np.argmax(free))
        keep[i] = True
        unit = rest[i] / np.linalg.norm(rest[i])
        rest -= np.outer(rest @ unit, unit)
    return keep


def _fitted_exactly(likelihood: Likelihood, estimated: Array, rows: Array) -> bool:
    """Return whether the mean's columns can fit rows exactly, in the limit at least."""
    X = likelihood.X[np.ix_(rows, np.flatnonzero(estimated[: likelihood.k_mean]))]
    with np.errstate(all="ignore"):
        eta = np.asarray(likelihood.link(likelihood.y[rows]), dtype=float)
    target = eta if likelihood.offset is None else eta - likelihood.offset[rows]
    limits = np.isinf(eta)
    if limits.any():
        gone = recession(X, np.where(limits, np.sign(eta), 0.0))[0]
        if not gone[limits].all():
            return False
    X, target = X[~limits], target[~limits]
    if not len(X):
        return True
    size = np.maximum(np.max(np.abs(X), axis=0, initial=0.0), np.finfo(float).tiny)
    left = target - X / size @ np.linalg.lstsq(X / size, target, rcond=None)[0]
    return bool(np.max(np.abs(left)) <= TOL_EXACT_FIT * np.max(np.abs(eta[~limits])))
