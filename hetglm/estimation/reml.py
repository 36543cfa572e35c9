"""
Restricted maximum likelihood (REML): the adjusted profile likelihood of the dispersion, maximised.

Smyth and Verbyla (1999), Smyth (2002); see `search`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hetglm.estimation.newton import Optimum, maximise
from hetglm.estimation.record import OWN_METHODS, Fit, Settings
from hetglm.estimation.search import by_statsmodels
from hetglm.estimation.search import search as by_likelihood
from hetglm.exceptions import UnboundedLikelihoodError
from hetglm.likelihood.adjusted_profile import (
    REML,
    AdjustedProfile,
    Point,
    solve,
    weighted_cross_products,
    working,
)
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import gram, inverse, triangular_inverse
from hetglm.utils.messages import listed

#: Share of the information of a direction of the dispersion that is left once the mean is estimated,
#: below which there is no information about it.
MIN_INFORMATION_SHARE = 1e-12

#: Leverage above which a row counts as fitted exactly by the mean.
MIN_LEVERAGE_EXACT = 1 - 1e-5

#: Share of the largest coefficient of such a direction from which on a message names it.
MIN_NAMED_SHARE = 0.1

NO_MEAN = (
    "reml=True: the likelihood has no maximum in the mean, at a given dispersion, inside the domain of "
    "the link; use a link without bounds such as the log or logit, or give start_params"
)

#: Step of the differences of the gradient, in standard errors: their error is of the order of its
#: fourth power.
DIFFERENCE_STEP = 0.02


def restricted_to(likelihood: Likelihood, kept: Array) -> Likelihood:
    """Return the likelihood in the columns that are kept of both designs."""
    if kept.all():
        return likelihood
    k = likelihood.k_mean
    return likelihood.with_designs(likelihood.X[:, kept[:k]], likelihood.Z[:, kept[k:]])


def search(
    likelihood: Likelihood,
    estimated: Array,
    start: Array,
    settings: Settings,
    watch: Callable[[Array, bool], None] | None = None,
) -> Fit:
    r"""
    Return the maximum of the adjusted profile likelihood that one start leads to.

    The covariance of the fit is the inverse of the expected information: X'WX for the mean and

    .. math:: Z'S [\mathrm{diag}(\kappa - h) + \tfrac12 H \circ H] S Z

    for the dispersion, where :math:`\kappa` is the expected information of log phi in a row, S =
    diag(d log phi / d zeta) and H the hat matrix of the weights W. :math:`\kappa = 1/2` but for the
    Gamma and the exact Tweedie, which makes it :math:`\frac12 Z'S (I - H)^{\circ 2} S Z` (Smyth 2002):
    exact for the Gaussian with identity link, and to the order of the leverages for the others.

    Parameters
    ----------
    likelihood : Likelihood
    estimated : ndarray of bool, shape (p + q,)
        Coefficients to search for; the others are 0.
    start : ndarray, shape (p + q,)
    settings : Settings
    watch : callable, optional
        As in `hetglm.estimation.search.search`.

    Raises
    ------
    UnboundedLikelihoodError
        If there is no information about some direction of the dispersion once the mean is estimated.

    References
    ----------
    Cox, D. R. and Reid, N. (1987). Parameter orthogonality and approximate conditional inference.
    JRSS B 49, 1-39. Smyth, G. K. and Verbyla, A. P. (1999). Adjusted likelihood methods for modelling
    dispersion in generalized linear models. Environmetrics 10, 695-709. Smyth, G. K. (2002). An
    efficient algorithm for REML in heteroscedastic regression. JCGS 11, 836-847.
    """
    core, k = restricted_to(likelihood, estimated), int(estimated[: likelihood.k_mean].sum())
    names = [n for n, kept in zip(settings.names, estimated, strict=True) if kept][k:]
    begin = np.asarray(start, dtype=float)[estimated]
    objective: Any = AdjustedProfile(core, begin[:k])

    def after(gamma: Array, converged: bool = True) -> None:
        point = objective.at(gamma)
        if point is not None:
            _refuse_flat(core, point, names)
            if watch is not None:
                watch(_full(point, estimated), converged)

    with np.errstate(over="ignore", invalid="ignore"):  # trial points may lie far outside
        if objective.at(begin[k:]) is None:
            # the mean has no maximum inside its domain at this dispersion: start from that of likelihood
            begin = by_likelihood(likelihood, estimated, start, settings, watch).internal[estimated]
            objective.beta = begin[:k]
            if objective.at(begin[k:]) is None:
                raise ValueError(NO_MEAN)
        after(begin[k:])
        found, retvals = _maximum(objective, begin[k:], settings, after)
        after(found.params, found.converged)
        return _as_fit(objective, found, retvals, estimated, settings)


def _maximum(
    objective: Any, origin: Array, settings: Settings, after: Callable[[Array], None]
) -> tuple[Optimum, dict[str, Any]]:
    """Return the optimum by our method or one of statsmodels', and the optimiser's own report."""
    method, maxiter = settings.method, settings.maxiter
    if method in OWN_METHODS:
        found = maximise(objective, origin, maxiter, settings.tol, after)
        return found, {"converged": found.converged, "iterations": found.iterations}
    return by_statsmodels(objective, origin, method, maxiter, settings.disp, settings.options)


def _full(point: Point, estimated: Array) -> Array:
    """Return the coefficients of all columns, 0 where aliased."""
    out = np.zeros(len(estimated))
    out[estimated] = np.concatenate([point.beta, point.gamma])
    return out


def _as_fit(
    objective: AdjustedProfile,
    found: Optimum,
    retvals: dict[str, Any],
    estimated: Array,
    settings: Settings,
) -> Fit:
    """Return the fit at an optimum."""
    core, point = objective.core, objective.at(found.params)
    if point is None:
        raise ValueError(NO_MEAN)
    if settings.disp:
        print(f"{settings.method}: {found.message}; REML log-likelihood {point.value:.6f}")
    internal = _full(point, estimated)
    weight = working(core, internal[estimated]).weight
    dispersion = inverse(point.expected)
    if dispersion is None:
        dispersion = np.full(point.expected.shape, np.nan)
    return Fit(
        np.where(estimated, internal, np.nan),
        estimated,
        internal,
        estimated,
        point.llf,
        settings.method,
        found.message,
        found.iterations,
        found.decrement,
        found.converged,
        _joint(gram(core.X, weight, core.X), point.expected),
        retvals,
        criterion=REML,
        adjusted_llf=point.value,
        cov_expected=_joint(point.T @ point.T.T, dispersion),
    )


def _joint(mean: Array, dispersion: Array) -> Array:
    """Return the block-diagonal matrix of the two parts."""
    zero = np.zeros((len(mean), len(dispersion)))
    return np.block([[mean, zero], [zero.T, dispersion]])


def _refuse_flat(core: Likelihood, point: Point, names: list[str]) -> None:
    """Raise where estimating the mean leaves no information about some dispersion."""
    root = inverse(point.unadjusted)
    if root is None or not np.all(np.isfinite(point.expected)):
        return
    root = np.linalg.cholesky(root)
    share, directions = np.linalg.eigh(root.T @ point.expected @ root)
    if share.min(initial=1.0) > MIN_INFORMATION_SHARE:
        return
    flat = np.abs(root @ directions[:, 0]) * np.sqrt(np.diag(point.unadjusted))
    terms = [
        name for name, size in zip(names, flat, strict=True) if size > MIN_NAMED_SHARE * flat.max()
    ]
    weight = working(core, np.concatenate([point.beta, point.gamma])).weight
    exact = weighted_cross_products(core.X, point.T, weight, core.Z[:, :0])[0] > MIN_LEVERAGE_EXACT
    rows = f"the mean fits {core.names.text(exact)} exactly, so there is " if exact.any() else ""
    where = f"REML: {rows}no information about the dispersion along {listed(terms)}"
    raise UnboundedLikelihoodError(
        f"{where}; merge the cell with another or take the term out of the dispersion (or out of the "
        "mean)",
        where,
    )


def observed_information(likelihood: Likelihood, fitted: Fit) -> Array:
    r"""
    Return the observed information of the solved coefficients, shape (k, k).

    Its inverse has the inverse negative Hessian of the adjusted profile likelihood for the
    dispersion. For the mean it is the inverse observed information at a given dispersion plus
    :math:`D V D'`, what the uncertainty V of the dispersion adds as the mean moves with it. The
    Hessian is exact where W does not depend on the mean; elsewhere it is formed by differences of
    the exact gradient, since links and variance functions provide no third derivatives.
    """
    core, k = restricted_to(likelihood, fitted.solved), likelihood.k_mean
    params = fitted.internal[fitted.solved]
    k = int(fitted.solved[:k].sum())
    objective = AdjustedProfile(core, params[:k])
    point = objective.at(params[k:])
    assert point is not None
    profile = point.information if point.fixed_weights else _by_differences(objective, point)
    to_mean = triangular_inverse(point.T) if k else point.T
    mean = to_mean.T @ point.observed_mean @ to_mean
    cross = to_mean.T @ point.cross
    dispersion = profile + point.cross.T @ solve(point.observed_mean, point.cross)
    return np.block([[mean, cross], [cross.T, dispersion]])


def _by_differences(objective: AdjustedProfile, point: Point) -> Array:
    """Return the negative Hessian by central differences of the gradient, Richardson's mean of two."""
    q = len(point.gamma)
    out = np.zeros((q, q))
    for j, size in enumerate(DIFFERENCE_STEP / np.sqrt(np.diag(point.expected))):
        step = np.eye(q)[j] * size

        def slope(share: float, step: Array = step, size: float = size) -> Array:
            ahead = objective.gradient(point.gamma + share * step)
            behind = objective.gradient(point.gamma - share * step)
            return (behind - ahead) / (2 * share * size)

        out[j] = (4 * slope(0.5) - slope(1.0)) / 3
    return 0.5 * (out + out.T)
