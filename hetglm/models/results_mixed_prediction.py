"""Predictions of results with random effects: each method documents and hands over."""

from __future__ import annotations

from typing import Any

from hetglm.estimation.record import need_rows
from hetglm.mixed import new_rows as mixed_rows
from hetglm.mixed import simulation
from hetglm.mixed.mixtures import Mixture
from hetglm.mixed.record import MixedFit
from hetglm.models.results_prediction import PredictionMethods, with_quantities
from hetglm.prediction import effects, intervals, new_rows, quantities
from hetglm.typing import Array
from hetglm.utils import checks


class MixedPredictionMethods(PredictionMethods):
    """Predictions with random effects at their modes, at 0, or averaged over."""

    fit: MixedFit
    model: Any

    @with_quantities
    def predict(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        which: str = "mean",
        *,
        random: Any = True,
        new_levels: str = "error",
        transform: bool = True,
        y_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        """
        Predict for the rows of the fit or for new ones.

        Parameters
        ----------
        exog : array_like or DataFrame, optional
            New rows; after a formula fit, a DataFrame with the variables of both parts and the
            grouping variables, which ``random=False`` and ``"integrate"`` do not need.
        exog_dispersion : array_like, optional
            Design of the dispersion for the new rows, without a formula; then ``random=False``, or
            ``random="integrate"`` where all random effects are intercepts.
        which : str
            {quantities}
        random : bool, "integrate", or list of str
            - True: conditional on the random effects, at their modes
            - False: with random effects of 0, a typical group
            - a list of grouping variables: their effects at their modes, those of others 0
            - "integrate": averaged over the random effects, of a group not yet seen. Means,
              dispersions and probabilities are averages; the variance is E V + Var mu, and the
              intraclass correlation (design effect, effective size) that of two trials of a row of
              the averaged distribution. Except for identity links they differ from those of
              ``random=False``.
        new_levels : {"error", "population", "integrate"}
            What is done, with ``random=True`` or a list, where a level of a grouping variable was not
            in the data of the fit: its effects are set to 0 or averaged over.
        transform : bool
            Whether ``exog`` goes through the formula.
        y_values : array_like, optional
            Counts for ``which="prob"``; 0, ..., max(n_trials) by default.
        **kwargs
            ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights`` of the new
            rows, as without random effects.

        Returns
        -------
        ndarray, Series or DataFrame
            Same kind as ``exog``. NaN where a value or a group is missing, or (with a
            `NotEstimableWarning`) not estimable.

        Raises
        ------
        FormulaError
            If a level of a factor, or with ``new_levels="error"`` of a grouping variable, is new.
        """
        prediction, labels = mixed_rows.prediction_of_results(
            self, which, exog, exog_dispersion, transform, random, new_levels, kwargs
        )
        return new_rows.labelled(prediction.value(which, y_values), labels, y_values)

    def get_prediction(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        which: str = "mean",
        *,
        random: Any = True,
        new_levels: str = "error",
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
        exog, exog_dispersion, which, random, new_levels, transform, y_values, **kwargs
            As in `predict`.
        row_labels : array_like, optional
            Labels of the rows of the table.
        ci_method : {"endpoint", "delta"}
            As without random effects.
        obs_ci : {"predictive", "plugin"}
            Interval of a new observation: with the uncertainty of all that is estimated, or the
            quantiles of the fitted distribution, averaged over random effects as the prediction is.

        Returns
        -------
        LocationScalePrediction

        Notes
        -----
        Standard errors are joint: of the coefficients, of the modes of the random effects given these,
        and of the variances and correlations of the random effects, by the delta method,
        H^-1 + J cov(params) J' with J the derivative of the modes in the parameters (Kass and Steffey
        1989). Effects set to 0 or averaged over add none of their own, but a new observation is drawn
        from the averaged distribution.

        References
        ----------
        Kass, R. E. and Steffey, D. (1989). Approximate Bayesian inference in conditionally independent
        hierarchical models (parametric empirical Bayes models). JASA 84, 717-726.
        """
        labels, values, interval, observation = mixed_rows.intervals_of_results(
            self, which, exog, exog_dispersion, transform, random, new_levels, y_values, kwargs
        )
        return intervals.LocationScalePrediction(
            values,
            interval,
            observation,
            which=which,
            ci_method=ci_method,
            df=self.df_prediction,
            row_labels=labels if row_labels is None else row_labels,
            obs_ci=obs_ci,
        )

    def effective_sample_size(
        self, exog: Any = None, exog_dispersion: Any = None, *, total: bool = False, **kwargs: Any
    ) -> intervals.LocationScalePrediction:
        """
        Return the effective sample size n / (1 + (n - 1) rho) of each row with n trials.

        Parameters
        ----------
        exog, exog_dispersion, **kwargs
            As in `get_prediction`.
        total : bool
            Not available: trials of different rows of a group are correlated too.

        Returns
        -------
        LocationScalePrediction

        Raises
        ------
        NotImplementedError
            For a total.
        """
        if total:
            raise NotImplementedError(
                "total=True: trials of different rows of a group are correlated too, so the sizes of "
                "rows do not add up; use total=False"
            )
        return self.get_prediction(exog, exog_dispersion, "effective-size", **kwargs)

    def get_distribution(
        self,
        exog: Any = None,
        exog_dispersion: Any = None,
        *,
        random: Any = True,
        new_levels: str = "error",
        transform: bool = True,
        **kwargs: Any,
    ) -> Any:
        """
        Return the fitted distribution of the response (for the beta-binomial of the count).

        Parameters
        ----------
        exog, exog_dispersion, random, new_levels, transform, **kwargs
            As in `predict`.

        Returns
        -------
        scipy frozen distribution, or Mixture
            Over the rows, shape (n,); a `Mixture`, with ``cdf sf pdf pmf ppf isf mean var std rvs``,
            where random effects are averaged over.
        """
        prediction, _ = mixed_rows.prediction_of_results(
            self, "var", exog, exog_dispersion, transform, random, new_levels, kwargs
        )
        averages = prediction.averages
        if averages.is_needed():
            return Mixture(averages)
        return quantities.distribution(averages.rows, averages.params)

    def simulate(self, nsim: int = 1, rng: Any = None, *, random: str = "new") -> Array:
        """
        Draw responses from the fitted model on the rows of the fit.

        Parameters
        ----------
        nsim : int
            Number of data sets.
        rng : None, int or numpy.random.Generator
            Source of randomness; the global generator is never used.
        random : {"new", "conditional"}
            Whether random effects are drawn for each data set, or are at their modes: new responses
            of the same groups.

        Returns
        -------
        ndarray, shape (nsim, n)
            Counts of successes for the beta-binomial; one response for each row, regardless of its
            frequency.
        """
        nsim, generator = checks.count(nsim, "nsim"), checks.generator(rng)
        need_rows(self.model.core)
        rows = self.fit.fixed_rows(self.model.core)
        return simulation.simulate(rows, self.model.random, self.fit, nsim, generator, random)

    def get_margeff(self, which: str = "mean", **options: Any) -> effects.AverageEffects:
        """
        Return average marginal effects in a typical group, with random effects of 0.

        Parameters
        ----------
        which : str
            As in `predict`, but not "prob".
        **options
            ``variables``, ``at``, ``method``, ``atexog``, ``dummy`` and ``count``, as without random
            effects.

        Returns
        -------
        AverageEffects
            With identity links they are those of the averages over the random effects; with others
            compare ``predict(random="integrate")`` of data that differ.
        """
        return super().get_margeff(which, **options)

    def dispersion_ratios(
        self, which: str = "dispersion", *, variables: Any = None
    ) -> effects.AverageEffects:
        """
        Return ratios of the dispersion (or mean, variance, ...) in a typical group.

        Parameters
        ----------
        which : str
            Quantity whose ratios to return, as in `predict`, but not "prob" or a linear predictor.
        variables : str or list of str, optional
            As in `get_margeff`.

        Returns
        -------
        AverageEffects
            With random effects of 0. Under a log link they are, where no random effect belongs to the
            variable, those of every group, and of the averages over the random effects.
        """
        return super().dispersion_ratios(which, variables=variables)
