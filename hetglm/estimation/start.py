"""Where a search begins: coefficients from the response alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hetglm.estimation.record import Fit, Settings
from hetglm.estimation.search import search
from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.likelihood.links import invert, reached
from hetglm.typing import Array
from hetglm.utils.linalg import gram, independent_columns, inverse, solve_scaled

NO_START = (
    "no starting values with a finite likelihood were found (the link may leave the domain of the "
    "mean); give start_params, or use a log or logit link"
)
#: Rows that starting values are taken from, where there are twice as many or more, and the share of
#: all rows that is enough.
GLANCE, SPARSEST = 2000, 20
#: Share of them that is enough to start from.
FEWER = 4
#: Quasi-Newton steps from the maximum of the subsample, at most, with exact scores.
MAX_EXACT_STEPS = 2
#: The same with approximate scores, which cost less.
MAX_APPROXIMATE_STEPS = 8
#: Largest ratio of the scaled gradients of successive steps: slower progress ends them.
MAX_STEP_RATIO = 0.5
#: Scaled gradient at which they have converged as far as a start needs.
TOL_GRADIENT = 3e-4
#: Scaled gradient at which their maximum is near enough, and steps allowed for it.
TOL_SUBSAMPLE, MAX_SUBSAMPLE_STEPS = 0.5, 15
#: E log chi2(1): log of a squared residual is lower than log phi by this on average.
MEAN_LOG_CHI2 = -1.2703628454614782


def starting_values(likelihood: Likelihood, estimated: Array) -> Iterator[Array]:
    """
    Yield coefficients inside the domain, from the response alone, the likeliest first.

    The mean by one weighted least-squares fit of the linked response; the dispersion from the rows'
    crude estimates: constant, or by regression of their logarithm with or without a floor. Of many
    rows every so many-th serves, where these determine every coefficient.

    Raises
    ------
    ValueError
        If there are none.
    """
    every, found = _stride(likelihood, estimated), False
    for start in _from_some(likelihood, estimated, every) if every else ():
        found = True
        yield start
    if found:
        return
    starts = _likeliest(likelihood, estimated)
    if not starts:
        raise ValueError(NO_START)
    yield from starts


def _stride(likelihood: Likelihood, estimated: Array) -> int:
    """Return which every so many-th of many rows is enough, 0 where these leave a coefficient open."""
    if likelihood.n < 2 * GLANCE:
        return 0
    every, k = min(likelihood.n // GLANCE, SPARSEST), likelihood.k_mean
    parts = likelihood.X[::every, estimated[:k]], likelihood.Z[::every, estimated[k:]]
    return every if all(independent_columns(A).all() for A in parts) else 0


def _from_some(likelihood: Likelihood, estimated: Array, every: int) -> Iterator[Array]:
    """Yield starting values from every so many-th row: one near the maximum of all rows first."""
    fewer = slice(None, None, every * FEWER)
    # what serves for some rows may leave the domain in others, unless every predictor has a mean
    anywhere = likelihood.has_boundary and bool(
        np.all(reached(likelihood.link, np.array([-1.0, 1.0])))
    )
    near = None
    if anywhere:
        start = _regressed(likelihood.take(fewer), estimated)
        near = _near(likelihood, estimated, every, start, anywhere)
        if near is not None:
            yield near
    starts = _likeliest(likelihood.take(fewer), estimated)
    if near is None and starts:
        near = _near(likelihood, estimated, every, starts[0], anywhere)
        if near is not None:
            yield near
    yield from (start for start in starts if anywhere or likelihood.loglike(start) > -np.inf)


def _near(
    likelihood: Likelihood, estimated: Array, every: int, start: Array, anywhere: bool
) -> Array | None:
    """Return a point near the maximum of all rows by way of that of some, None if it has none."""
    some = likelihood.take(slice(None, None, every))
    near = search(
        some, estimated, start, Settings([], tol=TOL_SUBSAMPLE, maxiter=MAX_SUBSAMPLE_STEPS)
    )
    if not near.converged:
        return None
    points = (_approached(likelihood, near, some.n), near.internal)
    inside = (point for point in points if anywhere or likelihood.loglike(point) > -np.inf)
    return next(inside, None)


def _regressed(likelihood: Likelihood, estimated: Array) -> Array:
    """Return the start by regressions alone, however unlikely, for families finite at phi = 0."""
    k = likelihood.k_mean
    beta, _ = _linked_means(likelihood, estimated[:k])
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    *_, smooth = _dispersion_targets(likelihood, np.nan_to_num(_moment_dispersion(likelihood, at)))
    return np.concatenate([beta, _regress(likelihood.Z, estimated[k:], smooth)])


def _likeliest(likelihood: Likelihood, estimated: Array) -> list[Array]:
    """Return starting values by the regressions of all these rows, the likeliest first."""
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
    Return coefficients nearer to the maximum of all rows than a maximum of some of them.

    By steps along the gradient of all rows with the information of some, which each step corrects
    (BFGS): the first leaves what the two informations differ by, a few hundredths.
    """
    params, solved, last = near.internal, near.solved, np.inf
    covariance = inverse(near.information * (likelihood.n / n))
    gradient, approximate = likelihood.approximate_gradient(params)
    most = MAX_APPROXIMATE_STEPS if approximate else MAX_EXACT_STEPS
    for i in range(most):
        if covariance is None:
            break
        step = covariance @ gradient[solved]
        left = max(float(gradient[solved] @ step), 0.0) ** 0.5
        if not left < MAX_STEP_RATIO * last:
            break
        params, last = params.copy(), left
        params[solved] += step
        if left < TOL_GRADIENT or i + 1 == most:
            break
        before, gradient = gradient, likelihood.approximate_gradient(params)[0]
        covariance = _corrected(covariance, step, (before - gradient)[solved])
    return params


def _corrected(covariance: Array, step: Array, change: Array) -> Array | None:
    """Return an inverse information that takes the change of a gradient to the step that made it."""
    along = float(change @ step)
    if not along > 0:
        return None
    rest = np.eye(len(step)) - np.outer(step, change) / along
    return rest @ covariance @ rest.T + np.outer(step, step) / along


def _dispersion_targets(likelihood: Likelihood, raw: Array) -> list[Array]:
    """Return row-wise linear predictors of the dispersion to start from."""
    off = 0.0 if likelihood.offset_dispersion is None else likelihood.offset_dispersion
    mean = max(float(np.average(raw, weights=likelihood.freq)), 1e-12)
    link = likelihood.link_dispersion
    constant = np.full(likelihood.n, float(link(np.array([mean]))[0])) - off
    # without a floor for spikes, which a likelihood that is finite at phi = 0 does not have
    floors = (1e-3 * mean,) if likelihood.has_boundary else (1e-3 * mean, 1e-12 * mean)
    smooth = [link(np.exp(np.log(raw + floor) - MEAN_LOG_CHI2)) - off for floor in floors]
    return [constant, *smooth]


def _linked_means(likelihood: Likelihood, keep: Array) -> tuple[Array, Array]:
    """Return coefficients of the mean by regression of the linked response, and of a constant mean."""
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
    return beta, _regress(likelihood.X, keep, centre)


def _start_mean(likelihood: Likelihood, keep: Array) -> tuple[Array, Array]:
    """Return coefficients of the mean, and each row's own estimate of phi there."""
    beta, flat = _linked_means(likelihood, keep)
    value, raw = _profile(likelihood, beta)
    if value > _profile(likelihood, flat)[0]:
        return beta, raw
    # outside the domain, or absurd: as far towards the regression as the likelihood allows
    mixed = [share * beta + (1 - share) * flat for share in (0.75, 0.5, 0.25, 0.1, 0.0)]
    beta = max(mixed, key=lambda candidate: _profile(likelihood, candidate)[0])
    return beta, _profile(likelihood, beta)[1]


def _profile(likelihood: Likelihood, beta: Array) -> tuple[float, Array]:
    """Return the log-likelihood of a mean with constant dispersion, and each row's estimate of it."""
    at = likelihood.predictors(np.concatenate([beta, np.zeros(likelihood.Z.shape[1])]))
    raw = _moment_dispersion(likelihood, at)
    if not np.isfinite(raw).any():
        return -np.inf, raw
    phi = likelihood.row_phi(np.full(likelihood.n, max(float(np.nanmean(raw)), 1e-12)))
    nu = at.mean.nu if likelihood.family.unit_interval else None
    value = likelihood.family.evaluate(likelihood.rows, at.mean.mu, nu, phi, 0).loglike.sum()
    return float(value) if value == value else -np.inf, raw


def _moment_dispersion(likelihood: Likelihood, at: Predictors) -> Array:
    """Return each row's own estimate of phi, NaN where it has none, shape (n,)."""
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
