"""Predictions of mean, dispersion and variance, with intervals formed on the scale of their link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr, stdtrit
from statsmodels.base._prediction_inference import PredictionResultsBase

from hetglm.design import estimability
from hetglm.design.arrays import check_aligned, index_of, numeric, row_array, share
from hetglm.exceptions import NotEstimableWarning
from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood, Predictors
from hetglm.likelihood.links import invert
from hetglm.typing import Array
from hetglm.utils.display import Printed
from hetglm.utils.linalg import distinct_rows
from hetglm.utils.messages import RowNames, naming, require, warn

#: Which parts of the model each prediction reads.
PARTS = {
    "mean": ("mean",),
    "linear": ("mean",),
    "dispersion": ("dispersion",),
    "linear-dispersion": ("dispersion",),
    "icc": ("dispersion",),
    "design-effect": ("dispersion", "rows"),
    "effective-size": ("dispersion", "rows"),
    "var": ("mean", "dispersion", "rows"),
    "sd": ("mean", "dispersion", "rows"),
    "prob": ("mean", "dispersion", "rows"),
}
#: Row arrays of the fit that each part of a new row must bring too.
BROUGHT = {
    "mean": ("offset", "exposure"),
    "dispersion": ("offset_dispersion",),
    "rows": ("n_trials", "var_weights"),
}
#: Functions of the intraclass correlation, alone or with the trials of the row.
CORRELATION = ("icc", "design-effect", "effective-size")
_STEP = 1e-30  # complex step: no subtraction, so any tiny step is exact


def check_which(which: str, family: Any) -> None:
    """Raise a ValueError where a prediction is unknown or the family has none of its kind."""
    if which not in PARTS:
        raise ValueError(f"which={which!r}: choose one of {', '.join(map(repr, PARTS))}")
    if which in CORRELATION and not family.counts_successes:
        raise ValueError(f"which={which!r}: {family.name} has no intraclass correlation")
    if which == "prob" and not family.exact:
        family.distribution(None, None, None, None)
    if which == "prob" and not family.discrete:
        raise ValueError(f"which='prob': {family.name} is continuous; use get_distribution().pdf")


def need_rows(core: Likelihood) -> None:
    """Raise a ValueError if the rows of the fit were removed."""
    if core.n == 0:
        raise ValueError("remove_data() took the rows of this fit away; fit again")


def rows_of(
    model: Any,
    core: Likelihood,
    which: str,
    exog: Any = None,
    exog_dispersion: Any = None,
    **given: Any,
) -> Likelihood:
    """
    Return the rows a prediction is for: those of the fit, or new ones with all they need.

    Parameters
    ----------
    model : LocationScaleModel
    core : Likelihood
        Of the rows of the fit.
    which : str
    exog, exog_dispersion : array_like, optional
        New designs, in the columns of the fit.
    **given
        ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights``.

    Raises
    ------
    ValueError
        If a new design comes without what the prediction needs beside it: nothing is broadcast or
        taken from the rows of the fit.
    """
    check_which(which, core.family)
    known = {name for names in BROUGHT.values() for name in names}
    if set(given) - known:
        raise TypeError(f"predict: unknown argument {sorted(set(given) - known)[0]!r}")
    given = {name: value for name, value in given.items() if value is not None}
    _refuse(model, given)
    exog = one_row(exog, core.X, "exog")
    exog_dispersion = one_row(exog_dispersion, core.Z, "exog_dispersion")
    designs = {"exog": exog, "exog_dispersion": exog_dispersion}
    check_aligned({**designs, **given})
    if exog is None and exog_dispersion is None:
        given = {name: model.rows_of_fit(value, name) for name, value in given.items()}
        return _fitted_rows(model, core, given)
    needs = PARTS[which]
    n = len(exog if exog is not None else exog_dispersion)
    X = _new_design(model, exog, n, "exog", core.X, "mean" in needs)
    if exog_dispersion is None and model._default_exog_dispersion:
        exog_dispersion = np.ones((n, 1))
    Z = _new_design(model, exog_dispersion, n, "exog_dispersion", core.Z, "dispersion" in needs)
    for part in needs:
        for name in BROUGHT[part]:
            if getattr(model, name) is not None and name not in given:
                raise ValueError(
                    f"{name}: the fit has it, so which={which!r} on new rows needs it too; pass "
                    f"{name}=..., or the columns the fit took it from"
                )
    names = RowNames(np.arange(n), index_of(designs))
    return _core_at(model, X, Z, _row_arrays(given, names), names)


def one_row(value: Any, fitted: Array, name: str) -> Any:
    """Return a new design as a table, one of its rows in one dimension as a table of one row."""
    k = fitted.shape[1]
    if isinstance(value, pd.Series):
        return value.to_frame().T if k != 1 else value
    if value is None or isinstance(value, pd.DataFrame):
        return value
    array = numeric(value, name)
    if array.ndim == 0:
        raise ValueError(f"{name}: one number; give a row of {k} numbers, or rows of them")
    if array.ndim == 1 and len(array) == 0:
        return np.empty((0, k))
    return array[None, :] if array.ndim == 1 and k != 1 else array


def _refuse(model: Any, given: dict[str, Any]) -> None:
    """Raise a ValueError for row arrays that the model does not take at the fit either."""
    for name in given:
        if name in model._refused:
            raise ValueError(
                f"{name}: {type(model).__name__} does not take it; {model._refused[name]}"
            )
    if "n_trials" in given and not model.core.family.takes_trials:
        raise ValueError(f"n_trials: {model.family_name} has no trials; they are for proportions")
    if "exposure" in given:
        model._check_exposure()


def _row_arrays(given: dict[str, Any], names: RowNames) -> dict[str, Any]:
    """Return row arrays; a single number is that of every row."""
    n = len(names.positions)
    arrays: dict[str, Any] = {
        name: row_array(value, n, name, True) for name, value in given.items()
    }
    with naming(names):
        for name in ("exposure", "var_weights"):
            require(arrays.get(name, np.ones(n)) <= 0, name, "must be positive")
        require(arrays.get("n_trials", np.ones(n)) < 0, "n_trials", "must not be negative")
    return arrays


def _new_design(model: Any, value: Any, n: int, name: str, fitted: Array, needed: bool) -> Array:
    if value is None:
        if needed:
            raise ValueError(f"{name}: this prediction needs it on the new rows; pass {name}=...")
        return np.full((n, fitted.shape[1]), np.nan)
    if isinstance(value, pd.DataFrame):
        _check_columns([str(column) for column in value.columns], model.column_names[name], name)
    array = numeric(value, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.shape != (n, fitted.shape[1]):
        raise ValueError(
            f"{name}: shape {array.shape}, but the fit has {fitted.shape[1]} columns and there are "
            f"{n} new rows"
        )
    return array


def _check_columns(new: list[str], fitted: list[str], name: str) -> None:
    """Raise a ValueError if a column of the fit is at another place in the new design."""
    for column, there in zip(new, fitted, strict=False):
        if column != there and column in fitted:
            raise ValueError(
                f"{name}: column {column!r} is where the fit has {there!r}; give the columns in the "
                f"order {fitted}, or pass to_numpy() if they are in it under other names"
            )


def _core_at(model: Any, X: Array, Z: Array, arrays: dict[str, Any], names: RowNames) -> Likelihood:
    """Return the likelihood's predictors on new rows; it has no response there."""
    core: Likelihood = model.core
    offset, exposure = arrays.get("offset"), arrays.get("exposure")
    if exposure is not None:
        offset = np.log(exposure) + (0.0 if offset is None else offset)
    trials, weights = arrays.get("n_trials"), arrays.get("var_weights")
    weights = model._phi_weights(trials, weights)
    return Likelihood(
        core.family,
        core.link,
        core.link_dispersion,
        np.full(len(X), np.nan),
        X,
        Z,
        offset,
        arrays.get("offset_dispersion"),
        trials,
        weights,
        None,
        rows=(),
        names=names,
    )


def _fitted_rows(model: Any, core: Likelihood, given: dict[str, Any]) -> Likelihood:
    if core.n == 0:
        raise ValueError("the data of the fit were removed (remove_data); pass new rows")
    if not given:
        return core
    arrays = {name: getattr(model, name) for names in BROUGHT.values() for name in names}
    arrays |= _row_arrays(given, core.names)
    rows = _core_at(model, core.X, core.Z, arrays, core.names)
    return replace(rows, held=core.held, freq=core.freq)


def place_at_boundary(rows: Likelihood, boundary: Boundary) -> Likelihood:
    """Return new rows with zero dispersion where the fit has it, and NaN where it cannot tell."""
    held, unknown = boundary.place(rows.Z)
    Z = np.where(unknown[:, None], np.nan, rows.Z)
    return replace(rows, Z=Z, held=held)


def without_untold(
    model: Any,
    rows: Likelihood,
    which: str,
    data: pd.DataFrame | None = None,
    said: tuple[str, ...] = (),
) -> Likelihood:
    """
    Return new rows with NaN designs where the fitted rows do not determine them, and warn.

    Parameters
    ----------
    model : LocationScaleModel
    rows : Likelihood
        From `rows_of`.
    which : str
    data : DataFrame, optional
        What the formula made the rows of.
    said : tuple of str
        Parts of the model without a warning.
    """
    for part, space in model.row_spaces.items():
        if part not in PARTS[which]:
            continue
        of_mean = part == "mean"
        A = rows.X if of_mean else rows.Z
        outside = space.outside(A)
        bad = outside.any(axis=1)
        if not bad.any():
            continue
        if part not in said:
            design = None if data is None else getattr(model._spec, part)
            names = model._mean_names if of_mean else model._dispersion_names
            cells = estimability.cells(space, outside, names, design, data)
            warn(estimability.message(part, outside, rows.names, cells), NotEstimableWarning)
        rows = rows.with_designs(**{"X" if of_mean else "Z": np.where(bad[:, None], np.nan, A)})
        if rows.held is not None and not of_mean:
            rows = replace(rows, held=np.where(bad, np.nan, rows.held))
    return rows


def _trials(rows: Likelihood, which: str) -> None:
    if rows.family.counts_successes and rows.trials is None:
        raise ValueError(
            f"which={which!r} is of the count and needs its trials; pass n_trials=..., or give the new "
            "data the columns of the formula's left-hand side"
        )


def predict(rows: Likelihood, params: Array, which: str = "mean", y_values: Any = None) -> Array:
    """
    Return a prediction for each row, NaN where a row misses a value.

    Parameters
    ----------
    rows : Likelihood
        From `rows_of`.
    params : ndarray, shape (p + q,)
    which : str
    y_values : array_like, optional
        Counts for ``which="prob"``.

    Returns
    -------
    ndarray, shape (n,), or (n, len(y_values)) for ``which="prob"``
    """
    at = rows.predictors(params)
    if "rows" in PARTS[which]:
        _trials(rows, which)
    if which == "prob":
        counts = _counts(rows, y_values)
        known = ~np.isnan(at.eta + at.zeta + (0.0 if rows.trials is None else rows.trials))
        p = np.full((rows.n, len(counts)), np.nan)
        p[known] = distribution(_unprepared(rows).take(known), params, column=True).pmf(counts)
        return p
    if which in ("var", "sd"):
        var = rows.family.variance(at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials)
        var = np.where(np.isnan(at.eta), np.nan, var)  # a Gaussian variance does not read the mean
        return var if which == "var" else np.sqrt(var)
    if which in CORRELATION:
        return _of_icc(which, _icc(at.phi), rows.trials)
    return {
        "mean": at.mean.mu,
        "linear": at.eta,
        "dispersion": at.phi,
        "linear-dispersion": at.zeta,
    }[which]


def _icc(phi: Array) -> Array:
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + 1 / phi)  # 0 at phi = 0 and 1 at phi = infinity


def _of_icc(which: str, icc: Array, trials: Any) -> Array:
    """
    Return the intraclass correlation, the design effect or the effective size of each row.

    The design effect 1 + (n - 1) rho is the variance of the count over that of n independent trials
    (Kish 1965, Survey Sampling, section 5.4); n over it is how many such trials the row is worth.
    """
    if which == "icc":
        return icc
    effect = 1 + (trials - 1) * icc
    if which == "effective-size":
        return trials / effect
    return np.where(trials < 1, np.nan, effect)  # no trials, no variance to compare


def _of_icc_slope(which: str, icc: Array, trials: Any) -> Array:
    """Return the derivative of `_of_icc` in logit(rho), shape (n,)."""
    slope = icc * (1 - icc)
    if which == "icc":
        return slope
    if which == "effective-size":
        return -trials * (trials - 1) * slope / (1 + (trials - 1) * icc) ** 2
    return (trials - 1) * slope


def _unprepared(rows: Likelihood, y: Array | None = None) -> Likelihood:
    """Return the rows with a response the family has not seen yet."""
    return replace(rows, y=np.zeros(rows.n) if y is None else y, rows=())


def _counts(rows: Likelihood, y_values: Any) -> Array:
    if y_values is None:
        if rows.trials is None:
            raise ValueError("which='prob': give y_values, the counts whose probability is wanted")
        return np.arange(np.nanmax(rows.trials) + 1)
    return np.atleast_1d(numeric(y_values, "y_values"))


def distribution(rows: Likelihood, params: Array, column: bool = False) -> Any:
    """Return the frozen scipy distribution of each row's response, of shape (n,) or (n, 1)."""
    at = rows.predictors(params)
    if rows.family.exact:
        _trials(rows, "distribution")
    mu, nu, phi, trials = at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials
    if column:
        mu, nu, phi = mu[:, None], nu[:, None], phi[:, None]
        trials = None if trials is None else trials[:, None]
    return rows.family.distribution(mu, nu, phi, trials)


@dataclass(frozen=True)
class OnLink:
    """
    A prediction on the scale on which its interval is formed.

    Attributes
    ----------
    centre, se : ndarray, shape (n,)
        Prediction and standard error on that scale.
    inverse : callable
        Back to the scale of the prediction.
    slope : ndarray, shape (n,)
        Derivative of the prediction in its transform, for the delta method.
    """

    centre: Array
    se: Array
    inverse: Callable[[Array], Array]
    slope: Array


def on_link(
    rows: Likelihood, params: Array, cov: Array, which: str, y_values: Any = None
) -> OnLink:
    """Return a prediction on the scale of its link, with its standard error by the delta method."""
    at = rows.predictors(params)
    k = rows.k_mean
    V = np.nan_to_num(cov)
    if which in ("mean", "linear"):
        se = np.sqrt(np.einsum("ij,jk,ik->i", rows.X, V[:k, :k], rows.X))
        if which == "linear":
            return OnLink(at.eta, se, lambda t: t, np.ones_like(at.eta))
        return OnLink(at.eta, se, lambda t: invert(rows.link, t).mu, at.mean.d1)
    if which in ("dispersion", "linear-dispersion", *CORRELATION):
        se = np.sqrt(np.einsum("ij,jk,ik->i", rows.Z, V[k:, k:], rows.Z))
        if rows.held is not None:  # no Wald interval at the boundary
            se = np.where(np.isnan(rows.held), se, np.nan)
        if which == "linear-dispersion":
            return OnLink(at.zeta, se, lambda t: t, np.ones_like(at.zeta))
        if which == "dispersion":
            return OnLink(at.zeta, se, lambda t: invert(rows.link_dispersion, t).mu, at.d_phi)
        icc, trials = _icc(at.phi), rows.trials
        with np.errstate(divide="ignore", invalid="ignore"):  # phi = 0 at the boundary
            centre, se = np.log(at.phi), se * at.d_phi / at.phi
        if which != "icc":  # one trial has no other to be correlated with, at the boundary too
            se = np.where(trials == 1, 0.0, se)
        slope = _of_icc_slope(which, icc, trials)
        return OnLink(centre, se, lambda t: _of_icc(which, expit(t), trials), slope)
    if which == "prob":
        return _probability(rows, params, V, y_values)
    d_mu, d_phi, var = variance_slopes(rows, params)
    jacobian = _jacobian(rows, d_mu * at.mean.d1 / var, d_phi * at.d_phi / var)
    se = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, V, jacobian))
    if which == "var":
        return OnLink(np.log(var), se, np.exp, var)
    return OnLink(0.5 * np.log(var), 0.5 * se, np.exp, np.sqrt(var))


def total_effective_size(rows: Likelihood, params: Array, cov: Array) -> tuple[Array, OnLink]:
    """
    Return the sum of the effective sizes of all rows, shape (1,), with what its interval needs.

    The interval is formed on the logit of the place of the sum between the number of rows (rho = 1)
    and that of their trials (rho = 0). Rows of a fit count by their frequency.
    """
    freq = np.ones(rows.n) if rows.freq is None else rows.freq
    trials: Any = rows.trials
    total = np.atleast_1d(freq @ predict(rows, params, "effective-size"))
    low, high = freq @ (trials > 0), freq @ trials
    if low == high:  # no row has more than one trial
        return total, OnLink(total, np.zeros(1), lambda t: t, np.ones(1))
    at, link, k = rows.predictors(params), on_link(rows, params, cov, "effective-size"), rows.k_mean
    with np.errstate(divide="ignore", invalid="ignore"):  # phi = 0 at the boundary
        by_zeta = np.where(link.slope == 0, 0.0, link.slope * at.d_phi / at.phi)
        jacobian = (freq * by_zeta) @ rows.Z
        se = np.sqrt(jacobian @ np.nan_to_num(cov)[k:, k:] @ jacobian)
        se = np.full(1, np.nan if np.isnan(link.se).any() else se)
        slope = (total - low) * (high - total) / (high - low)
        centre = np.log(total - low) - np.log(high - total)
        return total, OnLink(centre, se / slope, lambda t: low + (high - low) * expit(t), slope)


def _jacobian(rows: Likelihood, by_eta: Array, by_zeta: Array) -> Array:
    return np.column_stack([rows.X * by_eta[:, None], rows.Z * by_zeta[:, None]])


def variance_slopes(
    rows: Likelihood, params: Array, at: Predictors | None = None
) -> tuple[Array, Array, Array]:
    """Return d var/d mu, d var/d phi (phi before its weight) and var, by complex step."""
    _trials(rows, "var")
    at = rows.predictors(params) if at is None else at
    phi = rows.row_phi(at.phi)
    variance: Any = rows.family.variance
    h = 1j * _STEP
    with np.errstate(invalid="ignore"):  # NaN rows
        d_mu = variance(at.mean.mu + h, at.mean.nu - h, phi, rows.trials).imag / _STEP
        d_phi = variance(at.mean.mu, at.mean.nu, phi + h, rows.trials).imag / _STEP
    weight = 1.0 if rows.weights is None else rows.weights
    return d_mu, d_phi / weight, variance(at.mean.mu, at.mean.nu, phi, rows.trials)


def _probability(rows: Likelihood, params: Array, V: Array, y_values: Any) -> OnLink:
    counts = _counts(rows, y_values)
    if len(counts) != 1:
        raise ValueError("which='prob': give one y_values at a time for an interval")
    p = predict(rows, params, "prob", counts)[:, 0]
    inside = (p > 0) & (p < 1)
    # of one response, whatever the frequency of the row
    core = replace(_unprepared(rows, np.full(rows.n, counts[0])), freq=None).take(inside)
    factors = core.factors(params, 1)
    assert factors.eta is not None and factors.zeta is not None
    jacobian = _jacobian(core, factors.eta, factors.zeta) / (1 - p[inside])[:, None]
    centre = np.where(np.isnan(p), np.nan, np.where(p > 0, np.inf, -np.inf))
    centre[inside] = np.log(p[inside]) - np.log1p(-p[inside])
    se = np.where(np.isnan(p), np.nan, 0.0)
    se[inside] = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, V, jacobian))
    return OnLink(centre, se, expit, p * (1 - p))


@dataclass(frozen=True)
class Observation:
    """
    A new response of each row, with what is not known of its distribution.

    Attributes
    ----------
    rows : Likelihood
        With all that the variance needs.
    params, cov : ndarray
        Estimates and their covariance.
    """

    rows: Likelihood
    params: Array
    cov: Array

    def interval(self, alpha: float, kind: str) -> Array:
        """
        Return the interval of a new observation of each row, shape (n, 2).

        ``"plugin"`` gives the quantiles of the fitted distribution. ``"predictive"`` adds the variance
        of the estimated mean to that of the response, in the distribution of the family, and reads
        its quantiles where the t distribution has the normal one's, with df = 2 / Var(log variance)
        degrees of freedom, the variance as far as the dispersion determines it. For a Gaussian with
        constant dispersion by REML this is the exact t interval of least squares.
        """
        rows = self.rows
        at = rows.predictors(self.params)
        mu, nu, phi = at.mean.mu, at.mean.nu, rows.row_phi(at.phi)
        level = np.full(rows.n, alpha / 2)
        if kind == "predictive":
            with np.errstate(all="ignore"):
                spread = self._variance_of_mean(at)
                level = ndtr(stdtrit(self._df(at), level))
                phi = rows.family.mixed_dispersion(mu, nu, phi, spread)
        return _quantiles(rows, mu, nu, phi, level)

    def _variance_of_mean(self, at: Any) -> Array:
        """Return the variance of each estimated mean."""
        X, k = self.rows.X, self.rows.k_mean
        return at.mean.d1**2 * _quadratic(X, np.nan_to_num(self.cov)[:k, :k])

    def _df(self, at: Any) -> Array:
        """Return the degrees of freedom of each response's variance, infinite at the boundary."""
        Z, k = self.rows.Z, self.rows.k_mean
        _, slope, variance = variance_slopes(self.rows, self.params)
        relative = (slope * at.d_phi / variance) ** 2
        df = 2 / (relative * _quadratic(Z, np.nan_to_num(self.cov)[k:, k:]))
        if self.rows.held is not None:
            df = np.where(np.isnan(self.rows.held), df, np.inf)
        return np.where(relative == 0, np.inf, df)


def _quadratic(A: Array, V: Array) -> Array:
    """Return a' V a for every row a."""
    return np.einsum("ij,ij->i", A @ V, A)


def _quantiles(rows: Likelihood, mu: Array, nu: Array | None, phi: Array, level: Array) -> Array:
    """Return the quantiles of each row at ``level`` and one minus it, of equal rows once."""
    known = np.flatnonzero(~np.isnan(mu + phi + level))
    given = [None if a is None else a[known] for a in (mu, nu, phi, rows.trials, level)]
    alike = distinct_rows([a for a in given if a is not None])
    if alike is not None:
        given = [None if a is None else a[alike[0]] for a in given]
    *parameters, level = (cast(Array, a) for a in given)
    law = rows.family.distribution(*parameters)
    ends = np.column_stack([law.ppf(level), law.isf(level)])
    out = np.full((rows.n, 2), np.nan)
    out[known] = ends if alike is None else ends[alike[1]]
    return out


def _checked_kind(kind: str) -> str:
    if kind not in ("predictive", "plugin"):
        raise ValueError(f"obs_ci={kind!r}: choose 'predictive' or 'plugin'")
    return kind


def _checked_method(method: str) -> str:
    if method not in ("endpoint", "delta"):
        raise ValueError(f"ci_method={method!r}: choose 'endpoint' or 'delta'")
    return method


class LocationScalePrediction(Printed, PredictionResultsBase):
    """
    Predictions with standard errors and intervals.

    Attributes
    ----------
    predicted, se : ndarray, shape (n,)
        On the scale asked for; se by the delta method.
    which : str
    """

    def __init__(
        self,
        predicted: Array,
        link: OnLink,
        which: str,
        ci_method: str,
        df: float | None,
        row_labels: Any,
        observation: Observation | None = None,
        obs_ci: str = "predictive",
    ) -> None:
        self.which, self.ci_method = which, _checked_method(ci_method)
        self.obs_ci = _checked_kind(obs_ci)
        self._link, self._observation = link, observation
        super().__init__(
            predicted,
            (link.slope * link.se) ** 2,
            df=df,
            dist="norm" if df is None else "t",
            row_labels=row_labels,
        )

    def _headline(self) -> str:
        n = len(np.atleast_1d(self.predicted))
        return f"Predictions (which={self.which!r}) of {n} row{'s' * (n != 1)}, with 95 % intervals"

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame()]

    def conf_int(
        self,
        *,
        alpha: float = 0.05,
        method: str | None = None,
        obs: bool = False,
        obs_ci: str | None = None,
    ) -> Array:
        """
        Return the interval of each row.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        method : {"endpoint", "delta"}, optional
            Formed on the link scale and mapped back, or symmetric; as chosen in get_prediction.
        obs : bool
            Return the interval of a new observation instead.
        obs_ci : {"predictive", "plugin"}, optional
            Kind of that interval; as chosen in get_prediction.

        Returns
        -------
        ndarray, shape (n, 2)
        """
        alpha = share(alpha, "alpha")
        method = _checked_method(method or self.ci_method)
        if obs:
            if self._observation is None:
                raise ValueError(
                    "no prediction interval: it needs which='mean', a family with a distribution and, "
                    "for counts, n_trials"
                )
            return self._observation.interval(alpha, _checked_kind(obs_ci or self.obs_ci))
        q = self.dist.isf(alpha / 2, *self.dist_args)
        if method == "delta":
            return np.column_stack([self.predicted - q * self.se, self.predicted + q * self.se])
        link = self._link
        ends = [link.inverse(link.centre - q * link.se), link.inverse(link.centre + q * link.se)]
        return np.sort(np.column_stack(ends), axis=1)

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """
        Return predictions, standard errors and intervals as a table.

        Parameters
        ----------
        alpha : float
            One minus the coverage.

        Returns
        -------
        DataFrame
            Columns ``predicted se ci_lower ci_upper``, and ``obs_ci_lower obs_ci_upper`` for the
            mean of a family with a distribution: the interval of a new observation.
        """
        ci = self.conf_int(alpha=alpha)
        table = {
            "predicted": self.predicted,
            "se": self.se,
            "ci_lower": ci[:, 0],
            "ci_upper": ci[:, 1],
        }
        if self._observation is not None:
            obs = self.conf_int(alpha=alpha, obs=True)
            table |= {"obs_ci_lower": obs[:, 0], "obs_ci_upper": obs[:, 1]}
        return pd.DataFrame(table, index=self.row_labels)


def get_prediction(
    rows: Likelihood,
    params: Array,
    cov: Array,
    which: str,
    y_values: Any,
    ci_method: str,
    obs_ci: str,
    df: float | None,
    row_labels: Any,
    observed: Likelihood | None,
) -> LocationScalePrediction:
    """Return predictions of ``rows`` with what their intervals need; see the results' method."""
    predicted = predict(rows, params, which, y_values)
    predicted = predicted[:, 0] if predicted.ndim == 2 else predicted
    observation = None if observed is None else Observation(observed, params, cov)
    link = on_link(rows, params, cov, which, y_values)
    return LocationScalePrediction(
        predicted, link, which, ci_method, df, row_labels, observation, obs_ci
    )
