"""Methods of results on diagnostics: each one documents and hands over."""

from __future__ import annotations

from typing import Any

import pandas as pd
from statsmodels.base.model import GenericLikelihoodModelResults

from hetglm.diagnostics import (
    findings,
    plots_dispersion,
    plots_residuals,
    residuals,
    simulated_residuals,
)
from hetglm.diagnostics.influence import LocationScaleInfluence
from hetglm.utils.parallel import Run


class DiagnosticMethods(GenericLikelihoodModelResults):
    """Diagnostics of a fit: findings, residuals and plots."""

    @property
    def row_diagnostics(self) -> Any:
        """Class of the leverages and standardised residuals of rows that plots show."""
        return LocationScaleInfluence

    def diagnose(self, groups: Any = None) -> findings.Diagnosis:
        """
        Check the fit for common problems and report them in plain words.

        The checks, by the ``kind`` of their findings:

        - "convergence": the search for the maximum stopped before it
        - "unbounded": the likelihood has no upper bound; the fit is a local maximum
        - "domain boundary": the maximum is at the boundary of the domain of the mean
        - "several maxima": another local maximum was found
        - "separation": coefficients of the mean without a finite estimate
        - "boundary": coefficients of the dispersion without one, at dispersion zero or infinity
        - "small counts": the extended quasi-likelihood is inaccurate
        - "aliased": columns that are linear combinations of earlier ones
        - "single row": a row that alone determines a coefficient
        - "few rows": cells with few residual degrees of freedom for the dispersion
        - "Hauck-Donner": Wald statistics that decrease as the effect grows (Hauck and Donner 1977)
        - "near-singular": an information matrix that is nearly singular
        - "leverage": rows that dominate their own fit
        - "correlated rows": rows of a group that go together in the mean or in the dispersion, by
          `test_random_effect` with P at most 0.01; needs ``groups``

        Parameters
        ----------
        groups : array_like, shape (n,), or str, or a list of two, optional
            Grouping variables: labels, or names of columns of the data; by default the groups of the
            fit's covariance if its ``cov_type`` is "cluster".

        Returns
        -------
        Diagnosis
            A list of `Finding`, each with ``kind``, ``term``, ``evidence`` and ``remedy``; empty if no
            problem was found. Prints as numbered paragraphs.

        Raises
        ------
        ValueError
            If the data of the fit were removed, or for an unknown column or a wrong length of groups.
        NotImplementedError
            For groups with extended quasi-likelihood families.

        Examples
        --------
        >>> import hetglm.api as het
        >>> import hetglm.formula.api as hmf
        >>> print(hmf.doubleglm("Hwt ~ Bwt | Bwt", het.datasets.load_cats()).fit().diagnose())
        No problems found by the checks that were run (convergence, unbounded, domain
        boundary, several maxima, separation, boundary, small counts, aliased, single
        row, few rows, Hauck-Donner, near-singular, leverage).
        """
        return findings.diagnose(self, groups)

    def get_resid(self, kind: str = "quantile", *, rng: Any = None) -> Any:
        """
        Return the residuals of the rows of the fit.

        Parameters
        ----------
        kind : str
            - "quantile": standard normal under the model for every family; randomised for counts and
              the zeros of the Tweedie
            - "response": response minus fitted mean
            - "pearson": response minus fitted mean, over the fitted standard deviation
            - "deviance": signed square root of twice the difference between the saturated and the
              fitted log-likelihood, at the fitted dispersion; in exponential dispersion models of the
              unit deviance over phi
            - "dispersion": score with respect to the linear predictor of the dispersion over its
              standard deviation; for the Gaussian (d/phi - 1)/sqrt(2), d the unit deviance; for the
              Poisson and binomial with ``| 0`` the score of the negative binomial or beta-binomial at
              no overdispersion, of which `test_overdispersion` takes the sum
            - "standardized", "standardized-deviance", "standardized-dispersion": Pearson, deviance
              and dispersion residuals over sqrt(1 - leverage)
        rng : None, int or numpy.random.Generator
            Source of randomness of "quantile".

        Returns
        -------
        Series or ndarray, shape (n,)
            One for each row, regardless of its frequency; NaN where a row is fitted exactly or, for
            dispersion residuals, contains no information about the dispersion.

        Raises
        ------
        ValueError
            For an unknown kind, or after remove_data().
        NotImplementedError
            For "quantile" of extended quasi-likelihood families, which have no distribution.

        References
        ----------
        Dunn, P. K. and Smyth, G. K. (1996). Randomized quantile residuals. Journal of Computational
        and Graphical Statistics 5, 236-244.
        """
        if not isinstance(kind, str) or kind not in residuals.KINDS:
            known = ", ".join(map(repr, residuals.KINDS))
            raise ValueError(f"kind={kind!r}: choose one of {known}")
        values, labels = residuals.of_kind(self, kind, rng), self.model.data.row_labels
        return values if labels is None else pd.Series(values, index=labels)

    def simulate_residuals(
        self,
        nsim: int = 250,
        *,
        rng: Any = None,
        refit: bool = True,
        n_jobs: int | None = None,
        progress: bool | None = None,
    ) -> simulated_residuals.SimulatedResiduals:
        """
        Simulate residuals and test the fitted distribution by parametric bootstrap.

        Parameters
        ----------
        nsim : int
            Number of data sets simulated from the fit.
        rng : None, int or numpy.random.Generator
            Source of randomness.
        refit : bool
            Whether to refit the model to each data set. Only then P < 0.05 in 5 % of data from the
            model; without refits P is too large, but large data sets are fast.
        n_jobs : int, optional
            As in `bootstrap`.
        progress : bool, optional
            As in `bootstrap`.

        Returns
        -------
        SimulatedResiduals
            ``scaled`` residuals as in DHARMa, uniform under the model (with random effects: new ones in
            each data set; the tests are of residuals given their modes); ``outliers``; and
            ``summary_frame()`` with four parametric bootstrap tests. *uniformity*:
            Kolmogorov-Smirnov distance of the quantile residuals. *dispersion*: their mean fourth
            power, two-sided; detects dispersion heterogeneity not captured by the formula. *outliers*:
            the largest absolute quantile residual. *zeros*: number of zeros, two-sided.

        Raises
        ------
        ValueError
            If an argument is out of range, freq_weights are no whole numbers, or every refit failed.
        NotImplementedError
            For extended quasi-likelihood families, which have no distribution.

        References
        ----------
        Hartig, F. (2022). DHARMa: residual diagnostics for hierarchical regression models. R
        package. Dunn, P. K. and Smyth, G. K. (1996), as in `get_resid`.
        """
        return simulated_residuals.simulate_residuals(self, nsim, rng, refit, Run(n_jobs, progress))

    # -- plots ----------------------------------------------------------------------------------

    def plot_diagnostics(self, *, ax: Any = None, rng: Any = None) -> Any:
        """
        Plot a page of six diagnostic plots.

        Parameters
        ----------
        ax : sequence of six matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Source of randomness of quantile residuals of counts, and of which of many rows are
            drawn.

        Returns
        -------
        ndarray of matplotlib Axes, shape (6,)
            See `hetglm.plots.plot_diagnostics`; ``axes[0].figure.savefig(...)`` keeps the page.
        """
        return plots_residuals.plot_diagnostics(self, ax=ax, rng=rng)

    def plot_qq(
        self,
        res2: Any = None,
        *,
        labels: tuple[str, str] = ("first fit", "second fit"),
        ax: Any = None,
        rng: Any = None,
    ) -> Any:
        """
        Plot the ordered quantile residuals against normal quantiles (Q-Q plot), of one or two fits.

        Parameters
        ----------
        res2 : results, optional
            Another fit to compare.
        labels : tuple of two str
            Names of the two fits in the legend.
        ax : matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Source of randomness of quantile residuals of counts.

        Returns
        -------
        matplotlib Axes
        """
        return plots_residuals.plot_qq(self, res2, labels=labels, ax=ax, rng=rng)

    def plot_qdis(
        self,
        res2: Any = None,
        *,
        labels: tuple[str, str] = ("first fit", "second fit"),
        bins: int = 20,
        ax: Any = None,
        rng: Any = None,
    ) -> Any:
        """
        Plot a histogram of the probability integral transform (PIT), of one or two fits.

        Parameters
        ----------
        res2 : results, optional
            Another fit to compare.
        labels : tuple of two str
            Names of the two fits in the legend.
        bins : int
            Number of intervals from 0 to 1.
        ax : matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Source of randomness of the PIT of counts.

        Returns
        -------
        matplotlib Axes
        """
        return plots_residuals.plot_qdis(self, res2, labels=labels, bins=bins, ax=ax, rng=rng)

    def plot_dispersion(self, term: str, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Plot the fitted dispersion against the variables of a term, with confidence intervals.

        Parameters
        ----------
        term : str
            Term of the dispersion with one or two variables, with or without its prefix. Without a
            formula, a column.
        alpha : float
            One minus the coverage of the pointwise intervals.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            Other variables are set to their median or mode.

        Raises
        ------
        ValueError
            For an unknown term, a constant, or one of more than two variables.
        """
        return plots_dispersion.plot_dispersion(self, term, alpha=alpha, ax=ax)

    def plot_mean_variance(self, *, by: Any = None, ax: Any = None, rng: Any = None) -> Any:
        """
        Plot the variance of the response against its mean, with the fitted variance function.

        Parameters
        ----------
        by : str or array_like, shape (n,), optional
            Column of the data, or labels, of at most four groups to distinguish.
        ax : matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Source of randomness of the rows drawn, if there are many.

        Returns
        -------
        matplotlib Axes
            Observed variances in bins of the fitted mean; see `hetglm.plots.plot_mean_variance`.
        """
        return plots_dispersion.plot_mean_variance(self, by=by, ax=ax, rng=rng)

    def plot_coefficients(
        self, *, alpha: float = 0.05, intercept: bool = False, ax: Any = None
    ) -> Any:
        """
        Plot the coefficients of both parts with confidence intervals.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        intercept : bool
            Whether to include the constants.
        ax : sequence of two matplotlib Axes, optional
            For the mean and the dispersion, each on the scale of its link.

        Returns
        -------
        ndarray of matplotlib Axes, shape (2,)
        """
        return plots_dispersion.plot_coefficients(self, alpha=alpha, intercept=intercept, ax=ax)
