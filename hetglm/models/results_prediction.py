"""Methods of results on predictions: each one documents and hands over."""

from __future__ import annotations

import inspect
from typing import Any

from statsmodels.base.model import GenericLikelihoodModelResults

from hetglm.inference import bootstrap
from hetglm.prediction import effects, intervals, new_rows, quantities
from hetglm.typing import Array


def with_quantities(method: Any) -> Any:
    """Return a method with the list of quantities in its docstring."""
    doc = inspect.cleandoc(method.__doc__ or "")
    method.__doc__ = doc.replace("{quantities}", "\n    ".join(quantities.described()))
    return method


class PredictionMethods(GenericLikelihoodModelResults):
    """Predictions for the rows of the fit or for new rows."""

    @with_quantities
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
            New rows; after a formula fit, a DataFrame with the variables of both parts.
        exog_dispersion : array_like, optional
            Design of the dispersion for the new rows, without a formula.
        which : str
            {quantities}
        transform : bool
            Whether ``exog`` goes through the formula.
        y_values : array_like, optional
            Counts for ``which="prob"``; 0, ..., max(n_trials) by default.
        **kwargs
            ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights`` of the new
            rows, shape (n,). Required if the fit was given arrays; read from the data if it was given
            column names.

        Returns
        -------
        ndarray, Series or DataFrame
            Same kind as ``exog``. NaN where a value is missing, or (with a `NotEstimableWarning`) where
            a declared level or a combination of levels cannot be estimated from the data of the fit.

        Raises
        ------
        FormulaError
            If a level was neither in the data of the fit nor declared there (among the categories
            of its column, or in ``C(g, levels=[...])``), as in patsy and R.
        MissingValueError
            If a value is infinite, such as ``np.log(0)``.
        """
        rows, labels = new_rows.rows_of_results(
            self, which, exog, exog_dispersion, transform, kwargs
        )
        values = quantities.predict(rows, self.fit.internal, which, y_values)
        return new_rows.labelled(values, labels, y_values)

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
            Interval formed on a transformed scale and mapped back, or the symmetric delta-method
            interval. The transform is the link for the mean and the dispersion, the logarithm for var
            and sd, the logit for prob and icc; intervals of design effect and effective size are
            mapped from the interval of icc.
        obs_ci : {"predictive", "plugin"}
            Interval of a new observation (``obs_ci_lower`` and ``obs_ci_upper``): with the uncertainty
            of the estimates, or the quantiles of the fitted distribution, which are too narrow with
            few rows.
        y_values : array_like, optional
            As in `predict`; a single count.
        **kwargs
            As in `predict`.

        Returns
        -------
        LocationScalePrediction
            With ``summary_frame(alpha)`` and ``conf_int(alpha=...)``; for ``which="mean"`` also
            prediction intervals, if the dispersion design and trials of the rows are given.

        Notes
        -----
        The predictive interval uses the family's distribution, with the variance of the estimated
        mean added to the variance of the response, and replaces normal quantiles by those of t with
        2 / Var(log variance) degrees of freedom (Satterthwaite). For the Gaussian with constant
        dispersion by REML it equals the t interval of ``sm.OLS`` and ``sm.WLS``.
        """
        rows, labels = new_rows.rows_of_results(
            self, which, exog, exog_dispersion, transform, kwargs
        )
        observed = None
        if which == "mean" and self.model.core.family.exact:
            try:
                observed, _ = new_rows.rows_of_results(
                    self, "var", exog, exog_dispersion, transform, kwargs, unwarned=("mean",)
                )
                quantities.predict(observed, self.fit.internal, "var")
            except ValueError:
                observed = None  # dispersion design or trials of the new rows are not given
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
        Return the design effect 1 + (n - 1) rho of each row with n trials.

        The variance of the count over the binomial variance: the variance inflation caused by
        correlated trials.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`; with arrays, the only design needed.
        **kwargs
            As in `get_prediction`: ``n_trials`` of the new rows, where the new data do not have
            them; ``ci_method``, ``row_labels``, ``transform``, ``offset_dispersion``.

        Returns
        -------
        LocationScalePrediction
            The interval is mapped from the interval of rho, so its limits are between 1 and n. A row
            with one trial has design effect 1 and standard error 0. Where rho is 0 at the boundary the
            design effect is 1 without standard error.

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
        Return the effective sample size n / (1 + (n - 1) rho) of each row with n trials.

        The number of independent trials with the same information about the mean as the n trials.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            As in `predict`.
        exog_dispersion : array_like, optional
            As in `predict`; with arrays, the only design needed.
        total : bool
            Whether to return the sum over the rows, frequency-weighted, with its standard error.
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
            The interval is mapped from the interval of rho, so its limits are between 1 and n; the
            limits of the total are between the numbers of rows and of trials. Where rho is 0 at the
            boundary the size is n without standard error; a total with such a row has none either.

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
        rows, _ = new_rows.rows_of_results(
            self, "effective-size", exog, exog_dispersion, transform, kwargs
        )
        predicted, link = intervals.total_effective_size(rows, self.fit.internal, self.cov_internal)
        return intervals.LocationScalePrediction(
            predicted,
            link,
            which="effective-size",
            ci_method=ci_method,
            df=self.df_prediction,
            row_labels=["total"] if row_labels is None else row_labels,
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
            Variables of the formula; by default every variable that affects ``which``.
        at : {"overall", "mean", "median", "zero", "all"}
            Average of the effects over all rows; effect with the columns of both designs at their
            means or medians, or with all variables 0 (factors at their first level); or the effect
            of each row, without standard errors. Offsets and trials keep their values in the rows.
        method : {"dydx", "eyex", "dyex", "eydx"}
            Derivative, elasticity or semi-elasticity: ``ey`` stands for log(y), ``ex`` for log(x),
            the latter for numeric variables only.
        atexog : dict, optional
            Name of a variable -> value at which it is fixed, one or one for each row.
        dummy : bool
            Whether numeric 0/1 variables are changed from 0 to 1, as factors are from level to level.
        count : bool
            Whether other integer variables are changed by 1: (effect of +1 minus effect of -1)/2.

        Returns
        -------
        AverageEffects
            Over the rows of the fit, with ``summary_frame()``: the derivative for a number; for a
            factor the difference of each level from the first, assigned to all rows. A variable in both
            formulas affects both parts. NaN, with a `NotEstimableWarning`, where an effect is not
            estimable: for a variable aliased with another, or for empty cells.

        Raises
        ------
        ValueError
            Without a formula, for an unknown option, or for a variable that does not affect ``which``
            or whose derivative is not finite at its smallest or largest value (sqrt(x) at 0).

        See Also
        --------
        hetglm.marginaleffects.MarginalModel : Adapter for the PyPI package marginaleffects.

        Notes
        -----
        The options are those of ``GLMResults.get_margeff`` in statsmodels, which changes columns of
        the design instead of variables.
        """
        options = effects.Options(which, False, at, method, bool(dummy), bool(count))
        return effects.average_effects(self, options, variables, atexog)

    def dispersion_ratios(
        self, which: str = "dispersion", *, variables: Any = None
    ) -> effects.AverageEffects:
        """
        Return ratios of the dispersion (or mean, variance, ...) between values of a variable.

        Parameters
        ----------
        which : str
            Quantity whose ratios to return, as in `predict`, but not "prob" or a linear predictor.
        variables : str or list of str, optional
            As in `get_margeff`.

        Returns
        -------
        AverageEffects
            Ratios of averages over the rows of the fit, with ``summary_frame()``: each level of a
            factor over the first, a number increased by 1 over its value. With a log link and without
            interactions the ratios of the dispersion are exp(coefficient).

        Raises
        ------
        ValueError
            As in `get_margeff`; for quantities that can be negative; or if the formula cannot be
            evaluated at a number increased by 1.
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
        Return the fitted distribution of the response (for the beta-binomial of the count).

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
            For extended quasi-likelihood families, which have no distribution.
        """
        rows, _ = new_rows.rows_of_results(self, "var", exog, exog_dispersion, transform, kwargs)
        return quantities.distribution(rows, self.fit.internal)

    def simulate(self, nsim: int = 1, rng: Any = None) -> Array:
        """
        Draw responses from the fitted model on the rows of the fit.

        Parameters
        ----------
        nsim : int
            Number of data sets.
        rng : None, int or numpy.random.Generator
            Source of randomness; the global generator is never used.

        Returns
        -------
        ndarray, shape (nsim, n)
            Counts of successes for the beta-binomial; one response for each row, regardless of its
            frequency.

        Raises
        ------
        NotImplementedError
            For extended quasi-likelihood families, which have no distribution.
        """
        return bootstrap.simulate(self.core, self.fit.internal, nsim, rng)
