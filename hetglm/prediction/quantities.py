"""The quantities a fit predicts: one table of their values, derivatives and interval scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit

from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.likelihood.links import Inverse, invert
from hetglm.typing import Array
from hetglm.utils.checks import numeric

#: Derivatives with respect to the linear predictors of the mean and of the dispersion, each of shape
#: (n,); None for a predictor that the quantity does not depend on.
Slopes = tuple[Array | None, Array | None]


@dataclass(frozen=True)
class Quantity:
    """
    A quantity to predict, a function of both linear predictors of a row.

    Attributes
    ----------
    name : str
        The ``which`` of `predict`, `get_prediction`, `get_margeff` and `dispersion_ratios`.
    text : str
        Its definition, for the docstring of `predict`.
    parts : tuple of str
        What it depends on: the "mean", the "dispersion", trials and weights of the "rows".
    value : callable
        ``value(rows, at)`` of a `Likelihood` and its `Predictors`: shape (n,).
    slopes : callable
        ``slopes(rows, at)``: derivatives with respect to the linear predictors.
    scale : callable
        ``scale(quantity, rows, at)``: the transform on which intervals are formed, `OnScale`.
    needs : callable
        ``needs(family)``: reason why a family does not have it, "" where it does.
    signed : bool
        Whether it can be negative, so that ratios are meaningless.
    of_counts : bool
        Whether it has a column for each of the requested counts: `value` and `slopes` then take
        ``y_values`` too.
    """

    name: str
    text: str
    parts: tuple[str, ...]
    value: Callable[..., Array]
    slopes: Callable[..., Slopes]
    scale: Callable[[Quantity, Likelihood, Predictors], OnScale]
    needs: Callable[[Any], str] = lambda family: ""
    signed: bool = False
    of_counts: bool = False


@dataclass(frozen=True)
class OnScale:
    """
    The transform t of a quantity on which its interval is formed.

    Attributes
    ----------
    centre : ndarray, shape (n,)
        t at the estimates.
    slopes : tuple
        Derivatives of t with respect to the linear predictors.
    inverse : callable
        The quantity as a function of t.
    slope : ndarray, shape (n,)
        Derivative of the quantity with respect to t.
    """

    centre: Array
    slopes: Slopes
    inverse: Callable[[Array], Array]
    slope: Array


# ---- scales of intervals -----------------------------------------------------------------------------


def log_scale(quantity: Quantity, rows: Likelihood, at: Predictors) -> OnScale:
    """Return the logarithm of a positive quantity."""
    value = quantity.value(rows, at)
    slopes = _scaled(quantity.slopes(rows, at), 1 / value)
    return OnScale(np.log(value), slopes, np.exp, value)


def logit_scale(quantity: Quantity, rows: Likelihood, at: Predictors) -> OnScale:
    """Return the logit of a probability; probabilities of 0 or 1 have no standard error."""
    slopes = quantity.slopes(rows, at)  # raises unless a single count is requested
    p = quantity.value(rows, at).reshape(rows.n)
    slope = p * (1 - p)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.log(p) - np.log1p(-p)
        slopes = _scaled(slopes, np.where(slope == 0, 0.0, 1 / slope))
    return OnScale(centre, slopes, expit, slope)


def mean_scale(quantity: Quantity, rows: Likelihood, at: Predictors) -> OnScale:
    """Return the linear predictor of the mean, for quantities that depend on the mean alone."""

    def inverse(eta: Array) -> Array:
        return quantity.value(rows, replace(at, eta=eta, mean=invert(rows.link, eta)))

    slope, _ = quantity.slopes(rows, at)
    assert slope is not None
    return OnScale(at.eta, (np.ones(rows.n), None), inverse, slope)


def dispersion_scale(quantity: Quantity, rows: Likelihood, at: Predictors) -> OnScale:
    """Return the linear predictor of the dispersion, for quantities that depend on it alone."""

    def inverse(zeta: Array) -> Array:
        return quantity.value(
            rows, replace(at, zeta=zeta, phi=invert(rows.link_dispersion, zeta).mu)
        )

    _, slope = quantity.slopes(rows, at)
    assert slope is not None
    return OnScale(at.zeta, (None, _nan_at_boundary(rows, np.ones(rows.n))), inverse, slope)


def correlation_scale(quantity: Quantity, rows: Likelihood, at: Predictors) -> OnScale:
    """Return log(phi), the logit of the intraclass correlation, for functions of the latter alone."""

    def inverse(log_phi: Array) -> Array:
        with np.errstate(over="ignore"):
            return quantity.value(rows, replace(at, phi=np.exp(log_phi)))

    with np.errstate(divide="ignore", invalid="ignore"):  # phi = 0 at the boundary
        centre, by_zeta = np.log(at.phi), _nan_at_boundary(rows, at.d_phi / at.phi)
    _, slope = quantity.slopes(rows, at)
    assert slope is not None
    slope = np.divide(slope, by_zeta, out=np.zeros(rows.n), where=np.abs(by_zeta) > 0)
    if (
        "rows" in quantity.parts
    ):  # one trial has no other to be correlated with, at the boundary too
        by_zeta = np.where(rows.trials == 1, 0.0, by_zeta)
    return OnScale(centre, (None, by_zeta), inverse, slope)


def _scaled(slopes: Slopes, factor: Array) -> Slopes:
    """Return derivatives times a factor."""
    by_eta, by_zeta = slopes
    return (
        None if by_eta is None else by_eta * factor,
        None if by_zeta is None else by_zeta * factor,
    )


def _nan_at_boundary(rows: Likelihood, by_zeta: Array) -> Array:
    """Return derivatives with respect to zeta, NaN where zeta is fixed at the boundary."""
    fixed = rows.fixed_predictor
    return by_zeta if fixed is None else np.where(np.isnan(fixed), by_zeta, np.nan)


# ---- the variance ------------------------------------------------------------------------------------


def variance(rows: Likelihood, at: Predictors) -> Array:
    """Return the variance of the response."""
    var = rows.family.variance(at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials)
    return np.where(
        np.isnan(at.eta), np.nan, var
    )  # a Gaussian variance does not depend on the mean


def variance_slopes(rows: Likelihood, at: Predictors) -> tuple[Array, Array, Array]:
    """Return d var/d mu, d var/d phi (phi before its weight) and var."""
    phi = rows.row_phi(at.phi)
    with np.errstate(invalid="ignore"):  # NaN rows
        d_mu, d_phi, var = rows.family.variance_slopes(at.mean.mu, at.mean.nu, phi, rows.trials)
    return d_mu, rows.row_phi(d_phi), var


def _variance_slopes(rows: Likelihood, at: Predictors) -> Slopes:
    by_mu, by_phi, _ = variance_slopes(rows, at)
    return by_mu * at.mean.d1, by_phi * at.d_phi


def _sd(rows: Likelihood, at: Predictors) -> Array:
    return np.sqrt(variance(rows, at))


def _sd_slopes(rows: Likelihood, at: Predictors) -> Slopes:
    by_mu, by_phi, var = variance_slopes(rows, at)
    return _scaled((by_mu * at.mean.d1, by_phi * at.d_phi), 0.5 / np.sqrt(var))


# ---- the intraclass correlation ----------------------------------------------------------------------


def _counts_successes(family: Any) -> str:
    correlated = family.counts_successes and family.has_dispersion
    return "" if correlated else f"{family.name} has no intraclass correlation"


def _correlation(rows: Likelihood, at: Predictors) -> Array:
    """Return phi / (1 + phi)."""
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + 1 / at.phi)  # 0 at phi = 0 and 1 at phi = infinity


def _correlation_slopes(rows: Likelihood, at: Predictors) -> tuple[None, Array]:
    return None, at.d_phi / (1 + at.phi) ** 2


def _inflation(rows: Likelihood, at: Predictors) -> Array:
    trials: Any = rows.trials
    return 1 + (trials - 1) * _correlation(rows, at)


def _design_effect(rows: Likelihood, at: Predictors) -> Array:
    """
    Return the variance of the count over that of n independent trials.

    See Kish (1965), Survey Sampling, section 5.4.
    """
    trials: Any = rows.trials
    return np.where(trials < 1, np.nan, _inflation(rows, at))  # no trials, no variance to compare


def _design_effect_slopes(rows: Likelihood, at: Predictors) -> Slopes:
    trials: Any = rows.trials
    return None, (trials - 1) * _correlation_slopes(rows, at)[1]


def _effective_size(rows: Likelihood, at: Predictors) -> Array:
    """Return the effective sample size: the equivalent number of independent trials."""
    return rows.trials / _inflation(rows, at)


def _effective_size_slopes(rows: Likelihood, at: Predictors) -> tuple[None, Array]:
    trials: Any = rows.trials
    by_inflation = -trials / _inflation(rows, at) ** 2
    return None, by_inflation * (trials - 1) * _correlation_slopes(rows, at)[1]


# ---- probabilities of counts -------------------------------------------------------------------------


def _has_probabilities(family: Any) -> str:
    if not family.exact:
        family.distribution(None, None, None, None)  # raises, with what to do instead
    return "" if family.discrete else f"{family.name} is continuous; use get_distribution().pdf"


def _probability(rows: Likelihood, at: Predictors, y_values: Any) -> Array:
    """Return P(Y = y) of each row and requested count, shape (n, len(y_values))."""
    counts = requested_counts(rows, y_values)
    known = ~np.isnan(at.eta + at.zeta + (0.0 if rows.trials is None else rows.trials))
    p = np.full((rows.n, len(counts)), np.nan)
    some = _unprepared(rows).take(known)
    p[known] = _frozen(some, _taken(at, known), column=True).pmf(counts)
    return p


def _probability_slopes(rows: Likelihood, at: Predictors, y_values: Any) -> Slopes:
    counts = requested_counts(rows, y_values)
    if len(counts) != 1:
        raise ValueError(
            "which='prob': intervals are for a single count; pass one number as y_values"
        )
    p = _probability(rows, at, counts)[:, 0]
    inside = (p > 0) & (p < 1)
    # the derivative for a single response, without the frequency of the row
    response = _unprepared(rows, np.full(rows.n, counts[0]))
    some, there = replace(response, freq=None).take(inside), _taken(at, inside)
    terms = some.terms(there, 1)
    assert terms.mu is not None
    assert terms.phi is not None
    slopes = np.where(np.isnan(p), np.nan, np.zeros((2, rows.n)))
    slopes[0, inside] = p[inside] * terms.mu * there.mean.d1
    slopes[1, inside] = p[inside] * terms.phi * some.row_phi(there.d_phi)
    return slopes[0], slopes[1]


def requested_counts(rows: Likelihood, y_values: Any) -> Array:
    """Return the requested counts; by default 0 to the largest number of trials."""
    if y_values is None:
        if rows.trials is None:
            raise ValueError(
                "which='prob': pass y_values, the counts whose probabilities to return"
            )
        return np.arange(np.nanmax(rows.trials) + 1)
    return np.atleast_1d(numeric(y_values, "y_values"))


def _unprepared(rows: Likelihood, y: Array | None = None) -> Likelihood:
    """Return the rows with another response, not yet prepared by the family."""
    return replace(rows, y=np.zeros(rows.n) if y is None else y, rows=())


def _taken(at: Predictors, index: Array) -> Predictors:
    """Return the predictors of some rows."""
    arrays = {name: a[index] for name, a in vars(at).items() if name != "mean"}
    return Predictors(mean=Inverse(*(a[index] for a in at.mean)), **arrays)


# ---- the table ---------------------------------------------------------------------------------------

MEAN, DISPERSION, ROWS = "mean", "dispersion", "rows"

#: Every quantity by its name. One entry here makes a prediction with intervals, average effects, ratios
#: and an entry of the docstrings, and is tested by tests/contract/test_quantities.py.
QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "mean",
            "mu; for binomial-type models the success probability",
            parts=(MEAN,),
            value=lambda rows, at: at.mean.mu,
            slopes=lambda rows, at: (at.mean.d1, None),
            scale=mean_scale,
        ),
        Quantity(
            "linear",
            "the linear predictor of the mean",
            parts=(MEAN,),
            value=lambda rows, at: at.eta,
            slopes=lambda rows, at: (np.ones(rows.n), None),
            scale=mean_scale,
            signed=True,
        ),
        Quantity(
            "dispersion",
            "phi (sigma, alpha)",
            parts=(DISPERSION,),
            value=lambda rows, at: at.phi,
            slopes=lambda rows, at: (None, at.d_phi),
            scale=dispersion_scale,
        ),
        Quantity(
            "linear-dispersion",
            "the linear predictor of the dispersion",
            parts=(DISPERSION,),
            value=lambda rows, at: at.zeta,
            slopes=lambda rows, at: (None, np.ones(rows.n)),
            scale=dispersion_scale,
            signed=True,
        ),
        Quantity(
            "icc",
            "intraclass correlation rho, beta-binomial only",
            parts=(DISPERSION,),
            value=_correlation,
            slopes=_correlation_slopes,
            scale=correlation_scale,
            needs=_counts_successes,
        ),
        Quantity(
            "design-effect",
            "1 + (n - 1) rho, where n are the trials of the row",
            parts=(DISPERSION, ROWS),
            value=_design_effect,
            slopes=_design_effect_slopes,
            scale=correlation_scale,
            needs=_counts_successes,
        ),
        Quantity(
            "effective-size",
            "n / (1 + (n - 1) rho), the equivalent number of independent trials",
            parts=(DISPERSION, ROWS),
            value=_effective_size,
            slopes=_effective_size_slopes,
            scale=correlation_scale,
            needs=_counts_successes,
        ),
        Quantity(
            "var",
            "variance of the response; of the count for the beta-binomial",
            parts=(MEAN, DISPERSION, ROWS),
            value=variance,
            slopes=_variance_slopes,
            scale=log_scale,
        ),
        Quantity(
            "sd",
            "standard deviation, the square root of var",
            parts=(MEAN, DISPERSION, ROWS),
            value=_sd,
            slopes=_sd_slopes,
            scale=log_scale,
        ),
        Quantity(
            "prob",
            "P(Y = y_values), count families only, shape (n, len(y_values))",
            parts=(MEAN, DISPERSION, ROWS),
            value=_probability,
            slopes=_probability_slopes,
            scale=logit_scale,
            needs=_has_probabilities,
            of_counts=True,
        ),
    )
}


def described() -> list[str]:
    """Return a line for each quantity, for docstrings."""
    return [f'- "{quantity.name}": {quantity.text}' for quantity in QUANTITIES.values()]


def lookup(which: str, family: Any) -> Quantity:
    """Return a quantity; raise a ValueError where it is unknown or the family does not have it."""
    if which not in QUANTITIES:
        raise ValueError(f"which={which!r}: choose one of {', '.join(map(repr, QUANTITIES))}")
    missing = QUANTITIES[which].needs(family)
    if missing:
        raise ValueError(f"which={which!r}: {missing}")
    return QUANTITIES[which]


def asked(which: str, y_values: Any = None) -> Quantity:
    """Return a quantity; for one of counts, with y_values bound."""
    quantity = QUANTITIES[which]
    if not quantity.of_counts:
        return quantity
    return replace(
        quantity,
        value=partial(quantity.value, y_values=y_values),
        slopes=partial(quantity.slopes, y_values=y_values),
    )


def predict(rows: Likelihood, params: Array, which: str = "mean", y_values: Any = None) -> Array:
    """
    Return a prediction for each row, NaN where a value is missing.

    Parameters
    ----------
    rows : Likelihood
        From `rows_of`.
    params : ndarray, shape (p + q,)
    which : str
        A name of `QUANTITIES`.
    y_values : array_like, optional
        Counts for ``which="prob"``.

    Returns
    -------
    ndarray, shape (n,), or (n, len(y_values)) for ``which="prob"``
    """
    quantity = asked(which, y_values)
    if ROWS in quantity.parts:
        need_trials(rows, which)
    return quantity.value(rows, rows.predictors(params))


def distribution(rows: Likelihood, params: Array) -> Any:
    """Return the frozen scipy distribution of each row's response, of shape (n,)."""
    if rows.family.exact:
        need_trials(rows, "distribution")
    return _frozen(rows, rows.predictors(params))


def need_trials(rows: Likelihood, which: str) -> None:
    """Raise a ValueError if a quantity needs the number of trials and the rows have none."""
    if rows.family.counts_successes and rows.trials is None:
        raise ValueError(
            f"which={which!r} needs the number of trials; pass n_trials=..., or include the columns of "
            "the formula's left-hand side in the new data"
        )


def _frozen(rows: Likelihood, at: Predictors, column: bool = False) -> Any:
    """Return the frozen distribution of each row's response, of shape (n,) or (n, 1)."""
    mu, nu, phi, trials = at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials
    if column:
        mu, nu, phi = mu[:, None], nu[:, None], phi[:, None]
        trials = None if trials is None else trials[:, None]
    return rows.family.distribution(mu, nu, phi, trials)
