"""Predictions of a fit: the methods of results that hand to `prediction` and `effects`."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.base.model import GenericLikelihoodModelResults

from hetglm.inference import bootstrap
from hetglm.prediction import effects, intervals, new_rows, quantities
from hetglm.typing import Array


def _with_quantities(method: Any) -> Any:
    """Return a method with the list of quantities in its docstring."""
    doc = inspect.cleandoc(method.__doc__ or "")
    method.__doc__ = doc.replace("{quantities}", "\n    ".join(quantities.described()))
    return method


class PredictionMethods(GenericLikelihoodModelResults):
    """What results say of rows, those of the fit and new ones."""

    @_with_quantities
    def predict(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        which: str = "mean",
        *,
        transform: bool = True,
        y_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        """
        Predict for the rows of the fit or for new ones.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            New rows; after a formula fit, one DataFrame of the variables serves both parts.
        exog_dispersion : array_like, optional
            Design of the dispersion on the new rows, where no formula makes it.
        which : str
            {quantities}
        transform : bool
            Whether ``exog`` goes through the formula.
        y_values : array_like, optional
            Counts for ``which="prob"``; 0, ..., max(n_trials) by default.
        **kwargs
            ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights`` of the new
            rows, shape (n,); needed if the fit has them as arrays, read from the data if it has
            them as column names.

        Returns
        -------
        ndarray, Series or DataFrame
            As the rows came in; NaN where a new row misses a value, or (with a
            `NotEstimableWarning`) has a declared level or a combination of levels that the data of
            the fit do not determine.

        Raises
        ------
        FormulaError
            If a level was neither in the data of the fit nor declared there (among the categories
            of its column, or in ``C(g, levels=[...])``): a misspelling, as patsy and R take it.
        MissingValueError
            If a value is infinite, such as ``np.log(0)``; it is refused as at the fit.
        """
        rows, labels = new_rows.of_results(self, which, exog, exog_dispersion, transform, kwargs)
        values = quantities.predict(rows, self.fit.internal, which, y_values)
        if labels is None:
            return values
        if values.ndim == 1:
            return pd.Series(values, index=labels)
        columns = None if y_values is None else np.atleast_1d(y_values)
        return pd.DataFrame(values, index=labels, columns=columns)

    def get_prediction(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        which: str = "mean",
        *,
        transform: bool = True,
        row_labels: Any = None,
        ci_method: str = "endpoint",
        obs_ci: str = "predictive",
        y_values: Any = None,
        **kwargs: Any,
    ) -> intervals.LocationScalePrediction:
        """
        Predict with standard errors and intervals.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`.
        which : str
            As in `predict`.
        transform : bool
            As in `predict`.
        row_labels : array_like, optional
            Labels of the rows of the table.
        ci_method : {"endpoint", "delta"}
            Interval formed on the scale of the quantity and mapped back, or the symmetric one. The
            scale is the link of the mean or of the dispersion, the logarithm of var and sd, the
            logit of prob and of icc, which those of design effect and effective size are mapped from.
        obs_ci : {"predictive", "plugin"}
            Interval of a new observation (``obs_ci_lower`` and ``obs_ci_upper``): with the uncertainty
            of the estimates, or the plain quantiles of the fitted distribution, which are too
            narrow with few rows.
        y_values : array_like, optional
            As in `predict`; one count.
        **kwargs
            As in `predict`.

        Returns
        -------
        LocationScalePrediction
            With ``summary_frame(alpha)`` and ``conf_int(alpha=...)``; ``which="mean"`` has
            prediction intervals too where the rows have all that the variance needs.

        Notes
        -----
        The predictive interval takes the family's distribution with the variance of the estimated
        mean added to that of the response, at the normal scores of a t distribution with
        2 / Var(log variance) degrees of freedom, as Satterthwaite has it. For the Gaussian with
        constant dispersion by REML it is the t interval of ``sm.OLS`` and ``sm.WLS``, exactly.
        """
        rows, labels = new_rows.of_results(self, which, exog, exog_dispersion, transform, kwargs)
        observed = None
        if which == "mean" and self.model.core.family.exact:
            try:
                observed, _ = new_rows.of_results(
                    self, "var", exog, exog_dispersion, transform, kwargs, unwarned=("mean",)
                )
                quantities.predict(observed, self.fit.internal, "var")
            except ValueError:
                observed = None  # the new rows say nothing of the dispersion or of the trials
        return intervals.get_prediction(
            rows,
            self.fit.internal,
            self.cov_internal,
            which,
            y_values,
            ci_method,
            obs_ci,
            self.df_prediction,
            labels if row_labels is None else row_labels,
            observed,
        )

    @property
    def df_prediction(self) -> float | None:
        """Degrees of freedom of intervals, None for the normal distribution."""
        return getattr(self, "df_resid_inference", self.df_resid) if self.use_t else None

    def design_effect(
        self, exog: Any = None, exog_dispersion: Any = None, **kwargs: Any
    ) -> intervals.LocationScalePrediction:
        """
        Return the design effect 1 + (n - 1) rho of each row, n its trials.

        It is the variance of the count over the binomial one: what n trials that go together lose
        against n independent ones.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`; with arrays, the only design this reads.
        **kwargs
            As in `get_prediction`: ``n_trials`` of the new rows, where the new data do not have
            them; ``ci_method``, ``row_labels``, ``transform``, ``offset_dispersion``.

        Returns
        -------
        LocationScalePrediction
            The interval is that of rho mapped through, so it stays within 1 and n. A row of one
            trial has design effect 1 and standard error 0. Where rho is 0 at the boundary the effect
            is 1 and has no standard error.

        Raises
        ------
        ValueError
            For families other than the beta-binomial, or where new rows have no trials.

        References
        ----------
        Kish, L. (1965). Survey Sampling. Wiley.
        """
        return self.get_prediction(exog, exog_dispersion, "design-effect", **kwargs)

    def effective_sample_size(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        *,
        total: bool = False,
        transform: bool = True,
        row_labels: Any = None,
        ci_method: str = "endpoint",
        **kwargs: Any,
    ) -> intervals.LocationScalePrediction:
        """
        Return the effective sample size n / (1 + (n - 1) rho) of each row, n its trials.

        It is the number of independent trials that say as much of the mean as the n trials of the row.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`; with arrays, the only design this reads.
        total : bool
            Return the sum over the rows instead, with its standard error; rows of the fit count by
            their frequency.
        transform : bool
            As in `predict`.
        row_labels : array_like, optional
            As in `get_prediction`.
        ci_method : {"endpoint", "delta"}
            As in `get_prediction`.
        **kwargs
            ``n_trials`` of the new rows, where the new data do not have them; ``offset_dispersion``.

        Returns
        -------
        LocationScalePrediction
            The interval is that of rho mapped through, so it stays within 1 and n; that of the
            total, within the number of rows and that of their trials. Where rho is 0 at the
            boundary the size is n and has no standard error, nor has a total with such a row.

        Raises
        ------
        ValueError
            For families other than the beta-binomial, or where new rows have no trials.

        References
        ----------
        Kish, L. (1965). Survey Sampling. Wiley.
        """
        given = {"transform": transform, "row_labels": row_labels, "ci_method": ci_method, **kwargs}
        if not total:
            return self.get_prediction(exog, exog_dispersion, "effective-size", **given)
        rows, _ = new_rows.of_results(
            self, "effective-size", exog, exog_dispersion, transform, kwargs
        )
        predicted, link = intervals.total_effective_size(rows, self.fit.internal, self.cov_internal)
        return intervals.LocationScalePrediction(
            predicted,
            link,
            "effective-size",
            ci_method,
            self.df_prediction,
            ["total"] if row_labels is None else row_labels,
        )

    def get_margeff(
        self,
        which: str = "mean",
        *,
        variables: Any = None,
        at: str = "overall",
        method: str = "dydx",
        atexog: Any = None,
        dummy: bool = False,
        count: bool = False,
    ) -> effects.AverageEffects:
        """
        Return average marginal effects on the mean, the dispersion or the variance.

        Parameters
        ----------
        which : str
            As in `predict`, but not "prob".
        variables : str or list of str, optional
            Variables of the formula; by default all that move ``which``.
        at : {"overall", "mean", "median", "zero", "all"}
            Average of the effects of all rows; effect with the columns of both designs at their
            means or medians, or with all variables 0 (factors at their first level); or the effect
            of each row, without standard errors. Offsets and trials are those of the rows.
        method : {"dydx", "eyex", "dyex", "eydx"}
            Derivative, elasticity, or proportional change of one of the two alone: ``ey`` is the
            change of log(y), ``ex`` of log(x), of numbers only.
        atexog : dict, optional
            Values at which variables are fixed, by name; one each, or one for each row.
        dummy : bool
            Whether numbers that are 0 or 1 are moved from 0 to 1. Factors always are, from level to
            level.
        count : bool
            Whether other whole numbers are moved by 1: half the difference from one less to one more.

        Returns
        -------
        AverageEffects
            Over the rows of the fit, with ``summary_frame()``: of a number the derivative, of a
            factor the difference of each level from the first, all rows given that level. A variable
            of both formulas moves both parts. NaN, with a `NotEstimableWarning`, where the data do
            not determine it: of a variable aliased with another, or of cells without a row.

        Raises
        ------
        ValueError
            Without a formula, for an unknown option, or for a variable that does not move ``which``
            or has no finite slope at the end of its values (a root at 0).

        See Also
        --------
        hetglm.marginaleffects.MarginalModel : Hands the fit to the PyPI package marginaleffects.

        Notes
        -----
        The options are those of ``GLMResults.get_margeff`` in statsmodels, which moves columns of
        the design and not variables.
        """
        options = effects.Options(which, False, at, method, bool(dummy), bool(count))
        return effects.average_effects(self, options, variables, atexog)

    def dispersion_ratios(
        self, which: str = "dispersion", *, variables: Any = None
    ) -> effects.AverageEffects:
        """
        Return how many times larger the dispersion is with another value of a variable.

        Parameters
        ----------
        which : str
            What the ratios are of, as in `predict`, but not "prob" or a linear predictor.
        variables : str or list of str, optional
            As in `get_margeff`.

        Returns
        -------
        AverageEffects
            Ratios of averages over the rows of the fit, with ``summary_frame()``: each level of a
            factor over the first, a number increased by 1 over itself. With a log link and no
            interaction those of the dispersion are exp(coefficient), whatever the rows.

        Raises
        ------
        ValueError
            As in `get_margeff`; of predictors and of negative means, which have no ratios; or where
            the formula cannot take a number increased by 1.
        """
        return effects.average_effects(self, effects.Options(which, True), variables, None)

    def get_distribution(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        *,
        transform: bool = True,
        **kwargs: Any,
    ) -> Any:
        """
        Return the fitted distribution of the response, of the count for the beta-binomial.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`.
        transform : bool
            As in `predict`.
        **kwargs
            As in `predict`.

        Returns
        -------
        scipy frozen distribution
            Over the rows, shape (n,).

        Raises
        ------
        NotImplementedError
            For extended quasi-likelihood families, which have none.
        """
        rows, _ = new_rows.of_results(self, "var", exog, exog_dispersion, transform, kwargs)
        return quantities.distribution(rows, self.fit.internal)

    def simulate(self, nsim: int = 1, rng: Any = None) -> Array:
        """
        Draw responses from the fitted model on the rows of the fit.

        Parameters
        ----------
        nsim : int
            Number of data sets.
        rng : None, int or numpy.random.Generator
            Source of randomness; the global generator is not touched.

        Returns
        -------
        ndarray, shape (nsim, n)
            Counts of successes for the beta-binomial; one response a row, whatever its frequency.

        Raises
        ------
        NotImplementedError
            For extended quasi-likelihood families, which have no distribution.
        """
        return bootstrap.simulate(self.core, self.fit.internal, nsim, rng)
