"""Standard errors and intervals of predictions, by the delta method on the link scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr, stdtrit

from hetglm.families.base import Family
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction.quantities import (
    QUANTITIES,
    Quantity,
    Slopes,
    asked,
    predict,
    variance_slopes,
)
from hetglm.typing import Array
from hetglm.utils.checks import share
from hetglm.utils.display import Printed
from hetglm.utils.host import PredictionResultsBase
from hetglm.utils.linalg import distinct_rows


@dataclass(frozen=True)
class Interval:
    """
    Centre, standard error and inverse transform of a prediction's interval.

    Attributes
    ----------
    centre, se : ndarray, shape (n,)
        The transformed prediction and its standard error.
    inverse : callable
        Inverse transform.
    slope : ndarray, shape (n,)
        Derivative of the prediction with respect to its transform, for the delta method.
    """

    centre: Array
    se: Array
    inverse: Callable[[Array], Array]
    slope: Array


class PredictorCovariance(Protocol):
    """Covariance of both estimated linear predictors of each row; entries of shape (n,)."""

    @property
    def eta_eta(self) -> Array:
        """Variance of the mean's."""

    @property
    def eta_zeta(self) -> Array:
        """Covariance of both."""

    @property
    def zeta_zeta(self) -> Array:
        """Variance of the dispersion's."""


@dataclass(frozen=True)
class ByCoefficients:
    """Covariance of the linear predictors of rows, by that of the coefficients (NaN counts as 0)."""

    rows: Likelihood
    cov: Array

    @property
    def eta_eta(self) -> Array:
        """Variance of the mean's."""
        k = self.rows.k_mean
        return _quadratic(self.rows.X, np.nan_to_num(self.cov)[:k, :k])

    @property
    def eta_zeta(self) -> Array:
        """Covariance of both."""
        k = self.rows.k_mean
        of_eta = self.rows.X @ np.nan_to_num(self.cov)[:k, k:]
        return np.asarray(np.einsum("ij,ij->i", of_eta, self.rows.Z))

    @property
    def zeta_zeta(self) -> Array:
        """Variance of the dispersion's."""
        k = self.rows.k_mean
        return _quadratic(self.rows.Z, np.nan_to_num(self.cov)[k:, k:])


def interval_of(
    quantity: Quantity, rows: Likelihood, params: Array, covariance: PredictorCovariance
) -> Interval:
    """Return a transformed quantity with standard errors by the delta method."""
    t = quantity.scale(quantity, rows, rows.predictors(params))
    return Interval(t.centre, _standard_error(t.slopes, covariance), t.inverse, t.slope)


def _standard_error(slopes: Slopes, V: PredictorCovariance) -> Array:
    """Return standard errors from derivatives with respect to the linear predictors, shape (n,)."""
    by_eta, by_zeta = slopes
    if by_zeta is None:
        assert by_eta is not None
        return np.abs(by_eta) * np.sqrt(V.eta_eta)
    if by_eta is None:
        return np.abs(by_zeta) * np.sqrt(V.zeta_zeta)
    variance = by_eta**2 * V.eta_eta + by_zeta**2 * V.zeta_zeta
    variance += 2 * by_eta * by_zeta * V.eta_zeta
    return np.sqrt(np.maximum(variance, 0.0))  # of rounding


def _quadratic(A: Array, V: Array) -> Array:
    """Return a' V a for every row a."""
    return np.einsum("ij,ij->i", A @ V, A)


def total_effective_size(rows: Likelihood, params: Array, cov: Array) -> tuple[Array, Interval]:
    """
    Return the sum of the effective sample sizes of all rows, shape (1,), and its `Interval`.

    The interval is formed on the logit of the relative position of the sum between the number of rows
    (rho = 1) and the number of trials (rho = 0). Rows of a fit are frequency-weighted.
    """
    quantity = QUANTITIES["effective-size"]
    freq = np.ones(rows.n) if rows.freq is None else rows.freq
    trials: Any = rows.trials
    total = np.atleast_1d(freq @ predict(rows, params, quantity.name))
    low, high = freq @ (trials > 0), freq @ trials
    if low == high:  # no row has more than one trial
        return total, Interval(total, np.zeros(1), lambda t: t, np.ones(1))
    _, by_zeta = quantity.slopes(rows, rows.predictors(params))
    assert by_zeta is not None
    jacobian, k = (freq * by_zeta) @ rows.Z, rows.k_mean
    with np.errstate(divide="ignore", invalid="ignore"):  # all rows at the boundary
        se = np.sqrt(jacobian @ np.nan_to_num(cov)[k:, k:] @ jacobian)
        unknown = np.isnan(interval_of(quantity, rows, params, ByCoefficients(rows, cov)).se).any()
        se = np.full(1, np.nan if unknown else se)
        slope = (total - low) * (high - total) / (high - low)
        centre = np.log(total - low) - np.log(high - total)
        return total, Interval(centre, se / slope, lambda t: low + (high - low) * expit(t), slope)


@dataclass(frozen=True)
class Observation:
    """
    A new response of each row, and the uncertainty of its distribution.

    Attributes
    ----------
    rows : Likelihood
        With trials and weights, which the variance depends on.
    params : ndarray, shape (p + q,)
    covariance : PredictorCovariance
        Of both linear predictors.
    """

    rows: Likelihood
    params: Array
    covariance: PredictorCovariance

    def interval(self, alpha: float, kind: str) -> Array:
        """
        Return the interval of a new observation of each row, shape (n, 2).

        ``"plugin"`` gives the quantiles of the fitted distribution. ``"predictive"`` adds the variance
        of the estimated mean to the variance of the response, within the family, and replaces normal
        quantiles by those of t with df = 2 / Var(log variance) degrees of freedom (Satterthwaite),
        where Var is the part due to the estimated dispersion. For a Gaussian with constant dispersion
        by REML this is the exact t interval of least squares.
        """
        rows = self.rows
        at = rows.predictors(self.params)
        mu, nu, phi = at.mean.mu, at.mean.nu, rows.row_phi(at.phi)
        level, family = np.full(rows.n, alpha / 2), rows.family
        if kind == "predictive":
            with np.errstate(all="ignore"):
                var_mean = self._variance_of_mean(at)
                level = ndtr(stdtrit(self._df(at), level))
                phi, family = family.mixed_dispersion(mu, nu, phi, var_mean), family.mixed_family
        return _quantiles(rows, family, mu, nu, phi, level)

    def _variance_of_mean(self, at: Any) -> Array:
        """Return the variance of each estimated mean."""
        return at.mean.d1**2 * self.covariance.eta_eta

    def _df(self, at: Any) -> Array:
        """Return the degrees of freedom of each response's variance, infinite at the boundary."""
        _, slope, variance = variance_slopes(self.rows, at)
        relative = (slope * at.d_phi / variance) ** 2
        df = 2 / (relative * self.covariance.zeta_zeta)
        if self.rows.fixed_predictor is not None:
            df = np.where(np.isnan(self.rows.fixed_predictor), df, np.inf)
        return np.where(relative == 0, np.inf, df)


def _quantiles(
    rows: Likelihood, family: Family, mu: Array, nu: Array | None, phi: Array, level: Array
) -> Array:
    """Return the quantiles of each row at ``level`` and 1 - ``level``; equal rows are computed once."""
    known = np.flatnonzero(~np.isnan(mu + phi + level))
    given = [None if a is None else a[known] for a in (mu, nu, phi, rows.trials, level)]
    alike = distinct_rows([a for a in given if a is not None])
    if alike is not None:
        given = [None if a is None else a[alike[0]] for a in given]
    *parameters, level = (cast(Array, a) for a in given)
    distribution = family.distribution(*parameters)
    ends = np.column_stack([distribution.ppf(level), distribution.isf(level)])
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


class NewObservation(Protocol):
    """A new response of each row."""

    def interval(self, alpha: float, kind: str) -> Array:
        """Return its interval, shape (n, 2)."""


class LocationScalePrediction(Printed, PredictionResultsBase):
    """
    Predictions with standard errors and intervals.

    Attributes
    ----------
    predicted, se : ndarray, shape (n,)
        Predictions on the scale of ``which`` and their standard errors by the delta method.
    which : str
    """

    def __init__(
        self,
        predicted: Array,
        interval: Interval,
        observation: NewObservation | None = None,
        *,
        which: str,
        ci_method: str,
        df: float | None,
        row_labels: Any,
        obs_ci: str = "predictive",
    ) -> None:
        self.which, self.ci_method = which, _checked_method(ci_method)
        self.obs_ci = _checked_kind(obs_ci)
        self._interval, self._observation = interval, observation
        super().__init__(
            predicted,
            (interval.slope * interval.se) ** 2,
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
        Return the confidence interval of each row.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        method : {"endpoint", "delta"}, optional
            Interval formed on the link scale and transformed back, or prediction -/+ quantile times
            standard error; by default as chosen in get_prediction.
        obs : bool
            Return the interval of a new observation instead.
        obs_ci : {"predictive", "plugin"}, optional
            Kind of interval of a new observation; by default as chosen in get_prediction.

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
        on, half = self._interval, q * self._interval.se
        ends = [on.inverse(on.centre - half), on.inverse(on.centre + half)]
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
    """Return predictions of ``rows`` with their intervals; see the results' method."""
    predicted = predict(rows, params, which, y_values)
    predicted = predicted[:, 0] if predicted.ndim == 2 else predicted
    by = ByCoefficients(rows, cov)
    observation = None
    if observed is not None:
        observation = Observation(observed, params, ByCoefficients(observed, cov))
    interval = interval_of(asked(which, y_values), rows, params, by)
    return LocationScalePrediction(
        predicted,
        interval,
        observation,
        which=which,
        ci_method=ci_method,
        df=df,
        row_labels=row_labels,
        obs_ci=obs_ci,
    )
