"""
Starting values from the response alone, by regressions as in Smyth (1989).

The mean: weighted least squares of the linked response. The dispersion: regression of the log of
row-wise moment estimates of phi at that mean. With many rows both come from a subsample, followed by a
few quasi-Newton steps with the score of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hetglm.estimation.record import Fit, Settings
from hetglm.estimation.search import search
from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.likelihood.links import invert, reached
from hetglm.typing import Array
from hetglm.utils.checks import numeric
from hetglm.utils.linalg import gram, independent_columns, inverse, solve_scaled

NO_START = (
    "no starting values with a finite likelihood were found (the link may leave the domain of the "
    "mean); give start_params, or use a log or logit link"
)
#: Subsample size for starting values.
N_SUBSAMPLE_ROWS = 2000

#: Smallest sampling fraction of the subsample is 1 in this many rows.
MAX_STRIDE = 20

#: Factor by which the rows of the regressions are fewer than those of the subsample.
N_STRIDES_REGRESSION = 4

#: Quasi-Newton steps from the maximum of the subsample with exact scores, at most.
MAX_EXACT_STEPS = 2

#: The same with approximate scores, which cost less.
MAX_APPROXIMATE_STEPS = 8

#: Ratio of successive scaled gradients from which on these steps converge too slowly to go on.
MAX_STEP_RATIO = 0.5

#: Scaled gradient at which a start is near enough to the maximum.
TOL_GRADIENT = 3e-4

#: Scaled gradient at which the maximum of the subsample is near enough.
TOL_SUBSAMPLE = 0.5

#: Newton steps for the maximum of the subsample, at most.
MAX_SUBSAMPLE_STEPS = 15

#: E log chi2(1): the log of a squared residual lies below log phi by this on average.
MEAN_LOG_CHI2 = -1.2703628454614782

#: Floor under row-wise estimates of phi before their logarithm is taken, over their mean.
MIN_RELATIVE_PHI = 1e-3

#: A floor next to none, for likelihoods that are unbounded at phi = 0.
MIN_RELATIVE_PHI_UNBOUNDED = 1e-12

#: Mean of the row-wise estimates of phi, at least.
MIN_PHI = 1e-12

#: Shares of the regression's mean in starts between it and a constant mean.
REGRESSION_SHARES = (0.75, 0.5, 0.25, 0.1, 0.0)


def given(start_params: Any, k: int) -> Array:
    """Return starting values as given for all k coefficients, as floats."""
    values = numeric(start_params, "start_params")
    if values.shape != (k,):
        raise ValueError(f"start_params: shape {values.shape}, but there are {k} coefficients")
    return values


def starting_values(likelihood: Likelihood, estimated: Array) -> Iterator[Array]:
    """
    Yield coefficients inside the domain, from the response alone, those of largest likelihood first.

    The mean by one weighted least-squares fit of the linked response; the dispersion from row-wise
    moment estimates: constant, or by regression of their logarithm with or without a floor. Of many
    rows a systematic subsample is used, where it determines every coefficient.

    Raises
    ------
    ValueError
        If there are none.
    """
    stride, found = _stride(likelihood, estimated), False
    for start in _from_subsample(likelihood, estimated, stride) if stride else ():
        found = True
        yield start
    if found:
        return
    starts = _by_regression(likelihood, estimated)
    if not starts:
        raise ValueError(NO_START)
    yield from starts


def _stride(likelihood: Likelihood, estimated: Array) -> int:
    """Return the stride of the subsample, 0 where all rows are needed to determine the coefficients."""
    if likelihood.n < 2 * N_SUBSAMPLE_ROWS:
        return 0
    stride, k = min(likelihood.n // N_SUBSAMPLE_ROWS, MAX_STRIDE), likelihood.k_mean
    parts = likelihood.X[::stride, estimated[:k]], likelihood.Z[::stride, estimated[k:]]
    return stride if all(independent_columns(A).all() for A in parts) else 0


def _from_subsample(likelihood: Likelihood, estimated: Array, stride: int) -> Iterator[Array]:
    """Yield starting values from a subsample: one near the maximum of all rows first."""
    fewer = slice(None, None, stride * N_STRIDES_REGRESSION)
    # a start from some rows may leave the domain in others, unless every predictor has a mean
    anywhere = likelihood.has_boundary and bool(
        np.all(reached(likelihood.link, np.array([-1.0, 1.0])))
    )
    near = None
    if anywhere:
        start = _regressed(likelihood.take(fewer), estimated)
        near = _near(likelihood, estimated, stride, start, anywhere)
        if near is not None:
            yield near
    starts = _by_regression(likelihood.take(fewer), estimated)
    if near is None and starts:
        near = _near(likelihood, estimated, stride, starts[0], anywhere)
        if near is not None:
            yield near
    yield from (start for start in starts if anywhere or likelihood.loglike(start) > -np.inf)


def _near(
    likelihood: Likelihood, estimated: Array, stride: int, start: Array, anywhere: bool
) -> Array | None:
    """Return a point near the maximum of all rows from that of the subsample, None if it has none."""
    some = likelihood.take(slice(None, None, stride))
    near = search(
        some, estimated, start, Settings([], tol=TOL_SUBSAMPLE, maxiter=MAX_SUBSAMPLE_STEPS)
    )
    if not near.converged:
        return None
    points = (_approached(likelihood, near, some.n), near.internal)
    inside = (point for point in points if anywhere or likelihood.loglike(point) > -np.inf)
    return next(inside, None)


def _regressed(likelihood: Likelihood, estimated: Array) -> Array:
    """Return the start by regressions, not compared with others, for families finite at phi = 0."""
    k = likelihood.k_mean
    beta, _ = _linked_means(likelihood, estimated[:k])
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    *_, smooth = _dispersion_targets(likelihood, np.nan_to_num(_moment_dispersion(likelihood, at)))
    return np.concatenate([beta, _regress(likelihood.Z, estimated[k:], smooth)])


def _by_regression(likelihood: Likelihood, estimated: Array) -> list[Array]:
    """Return starting values by the regressions, those of largest likelihood first."""
    k = likelihood.k_mean
    beta, raw = _start_mean(likelihood, estimated[:k])
    if not np.isfinite(raw).any():
        return []
    raw = np.nan_to_num(raw, nan=float(np.nanmean(raw)))
    starts = [
        np.concatenate([beta, _regress(likelihood.Z, estimated[k:], target)])
        for target in _dispersion_targets(likelihood, raw)
    ]
    values = [likelihood.loglike(start) for start in starts]
    return [starts[i] for i in np.argsort(values)[::-1] if values[i] > -np.inf]


def _approached(likelihood: Likelihood, near: Fit, n: int) -> Array:
    """
    Return coefficients nearer to the maximum of all rows than the maximum of a subsample.

    Quasi-Newton steps (BFGS) by the gradient of all rows and the information of the subsample, scaled
    up: the two differ by a few per cent, which is the ratio of the gradients after and before a step.
    Invariant: a step is taken only while the scaled gradient halves. Guarded by
    tests/estimation/test_optimize.py (``test_start_is_near_the_maximum_of_all_rows``).
    """
    params, solved, last = near.internal, near.solved, np.inf
    covariance = inverse(near.information * (likelihood.n / n))
    gradient, is_approximate = likelihood.approximate_gradient(params)
    most = MAX_APPROXIMATE_STEPS if is_approximate else MAX_EXACT_STEPS
    for i in range(most):
        if covariance is None:
            break
        step = covariance @ gradient[solved]
        decrement = max(float(gradient[solved] @ step), 0.0) ** 0.5
        if not decrement < MAX_STEP_RATIO * last:
            break
        params, last = params.copy(), decrement
        params[solved] += step
        if decrement < TOL_GRADIENT or i + 1 == most:
            break
        before, gradient = gradient, likelihood.approximate_gradient(params)[0]
        covariance = _bfgs_update(covariance, step, (before - gradient)[solved])
    return params


def _bfgs_update(covariance: Array, step: Array, change: Array) -> Array | None:
    """Return the BFGS update of an inverse information: it maps a change of gradient to its step."""
    along = float(change @ step)
    if not along > 0:
        return None
    rest = np.eye(len(step)) - np.outer(step, change) / along
    return rest @ covariance @ rest.T + np.outer(step, step) / along


def _dispersion_targets(likelihood: Likelihood, raw: Array) -> list[Array]:
    """Return the responses of the dispersion's regressions: constant, and row-wise with floors."""
    off = 0.0 if likelihood.offset_dispersion is None else likelihood.offset_dispersion
    mean = max(float(np.average(raw, weights=likelihood.freq)), MIN_PHI)
    link = likelihood.link_dispersion
    constant = np.full(likelihood.n, float(link(np.array([mean]))[0])) - off
    floors = [MIN_RELATIVE_PHI * mean]
    if not likelihood.has_boundary:
        floors.append(MIN_RELATIVE_PHI_UNBOUNDED * mean)
    smooth = [link(np.exp(np.log(raw + floor) - MEAN_LOG_CHI2)) - off for floor in floors]
    return [constant, *smooth]


def _linked_means(likelihood: Likelihood, keep: Array) -> tuple[Array, Array]:
    """Return the mean's coefficients by regression of the linked response, and of a constant mean."""
    rows, family, link = likelihood.rows, likelihood.family, likelihood.link
    off = 0.0 if likelihood.offset is None else likelihood.offset
    mu = family.start(rows)
    with np.errstate(all="ignore"):
        target = np.asarray(link(mu), dtype=float) - off
        # statsmodels' links clip a response outside their domain: leave these rows out
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
    return beta, _regress(likelihood.X, keep, centre)


def _start_mean(likelihood: Likelihood, keep: Array) -> tuple[Array, Array]:
    """Return coefficients of the mean, and row-wise moment estimates of phi there."""
    beta, flat = _linked_means(likelihood, keep)
    value, raw = _profile(likelihood, beta)
    if value > _profile(likelihood, flat)[0]:
        return beta, raw
    # outside the domain, or worse than a constant: the best mean between the two
    mixed = [share * beta + (1 - share) * flat for share in REGRESSION_SHARES]
    beta = max(mixed, key=lambda candidate: _profile(likelihood, candidate)[0])
    return beta, _profile(likelihood, beta)[1]


def _profile(likelihood: Likelihood, beta: Array) -> tuple[float, Array]:
    """Return the log-likelihood with constant dispersion, and row-wise moment estimates of phi."""
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    raw = _moment_dispersion(likelihood, at)
    if not np.isfinite(raw).any():
        return -np.inf, raw
    phi = likelihood.row_phi(np.full(likelihood.n, max(float(np.nanmean(raw)), MIN_PHI)))
    nu = at.mean.nu if likelihood.family.unit_interval else None
    value = likelihood.family.evaluate(likelihood.rows, at.mean.mu, nu, phi, 0).loglike.sum()
    return -np.inf if np.isnan(value) else float(value), raw


def _moment_dispersion(likelihood: Likelihood, at: Predictors) -> Array:
    """Return row-wise moment estimates of phi, NaN where there is none, shape (n,)."""
    nu = at.mean.nu if likelihood.family.unit_interval else None
    with np.errstate(all="ignore"):
        raw = likelihood.family.moment_dispersion(likelihood.rows, at.mean.mu, nu)
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
