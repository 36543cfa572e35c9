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
from hetglm.utils.parallel import Run


class DiagnosticMethods(GenericLikelihoodModelResults):
    """Whether to trust a fit: what may be wrong with it, its residuals, and what is drawn of them."""

    def diagnose(self) -> findings.Diagnosis:
        """
        Return what may be wrong with the fit, in plain words.

        Looked for are a search that did not converge, a separated mean, cells at the boundary of the
        dispersion, cells of one row, aliased columns, Wald tests that fail (Hauck and Donner 1977), an
        information that is near-singular, huge leverages, and cells of the dispersion with a handful
        of rows.

        Returns
        -------
        Diagnosis
            A list of `Finding`, each with ``kind``, ``term``, ``evidence`` and ``remedy``; empty where
            nothing was found. Prints as numbered paragraphs.

        Raises
        ------
        ValueError
            If the data of the fit were removed.

        Examples
        --------
        >>> import hetglm.api as het
        >>> import hetglm.formula.api as hmf
        >>> print(hmf.doubleglm("Hwt ~ Bwt | Bwt", het.datasets.load_cats()).fit().diagnose())
        No problems found by the checks that were run (convergence, unbounded, edge,
        several maxima, separation, boundary, aliased, single row, few rows,
        Hauck-Donner, near-singular, leverage, small counts).
        """
        return findings.diagnose(self)

    def get_resid(self, kind: str = "quantile", *, rng: Any = None) -> Any:
        """
        Return the residuals of the rows of the fit.

        Parameters
        ----------
        kind : str
            - "quantile": standard normal under the model, whatever the family; exact where the
              response is continuous, randomised for counts and the zeros of the Tweedie
            - "response": response less fitted mean
            - "pearson": in units of the fitted standard deviation
            - "deviance": signed root of twice what a mean of its own gains a row at its dispersion;
              of the unit deviance over phi in exponential dispersion models
            - "dispersion": score of the row in the dispersion's predictor in units of its standard
              deviation, (d/phi - 1)/sqrt(2) for the Gaussian: deviance components against phi
            - "standardized", "standardized-deviance", "standardized-dispersion": Pearson, deviance
              and dispersion residuals over sqrt(1 - leverage)
        rng : None, int or numpy.random.Generator
            Source of randomness of "quantile".

        Returns
        -------
        Series or ndarray, shape (n,)
            One for each row, whatever its frequency; NaN where a row is fitted exactly or tells
            nothing of the dispersion.

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
        Scale residuals by simulation and test the fitted distribution.

        Parameters
        ----------
        nsim : int
            Data sets simulated from the fit.
        rng : None, int or numpy.random.Generator
            Source of randomness.
        refit : bool
            Whether to fit the model again to each: the data were fitted too, so that only then a
            test finds P < 0.05 in 5 % of data from the model. Without, P is too large, but
            nothing needs refits of very many rows.
        n_jobs : int, optional
            As in `bootstrap`.
        progress : bool, optional
            As in `bootstrap`.

        Returns
        -------
        SimulatedResiduals
            ``scaled`` residuals, uniform under the model, as DHARMa has them; ``outliers``; and
            ``summary_frame()`` with four tests by the parametric bootstrap. *uniformity*:
            Kolmogorov and Smirnov's distance of the quantile residuals. *dispersion*: their mean
            fourth power, two-sided; the fitted dispersion takes up what the variance is on the
            average, so what is left over is dispersion that differs between rows more (or less) than
            its formula says. *outliers*: the largest. *zeros*: their number, two-sided.

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

    # -- pictures -------------------------------------------------------------------------------

    def plot_diagnostics(self, *, ax: Any = None, rng: Any = None) -> Any:
        """
        Draw a page of six pictures that show where the fit fails.

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
        Draw the quantile residuals in order against normal quantiles, of this fit or of two.

        Parameters
        ----------
        res2 : results, optional
            Another fit, drawn beside this one.
        labels : tuple of two str
            Names of the two.
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
        Draw how the places of the responses in their fitted distributions are spread.

        Parameters
        ----------
        res2 : results, optional
            Another fit, drawn beside this one.
        labels : tuple of two str
            Names of the two.
        bins : int
            Intervals of the places from 0 to 1.
        ax : matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Source of randomness of the places of counts.

        Returns
        -------
        matplotlib Axes
        """
        return plots_residuals.plot_qdis(self, res2, labels=labels, bins=bins, ax=ax, rng=rng)

    def plot_dispersion(self, term: str, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Draw the fitted dispersion over the variables of a term, with its interval.

        Parameters
        ----------
        term : str
            Term of the dispersion with one variable or two, with or without its prefix. Without a
            formula, a column.
        alpha : float
            One minus the coverage of the pointwise intervals.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            The other variables are held at their median, or most frequent level.

        Raises
        ------
        ValueError
            For an unknown term, a constant, or one of more than two variables.
        """
        return plots_dispersion.plot_dispersion(self, term, alpha=alpha, ax=ax)

    def plot_mean_variance(self, *, by: Any = None, ax: Any = None, rng: Any = None) -> Any:
        """
        Draw the variance of the response against its mean, with the fitted variance function.

        Parameters
        ----------
        by : str or array_like, shape (n,), optional
            Column of the data, or labels, of at most four groups that are drawn apart.
        ax : matplotlib Axes, optional
        rng : None, int or numpy.random.Generator
            Which of many rows are drawn.

        Returns
        -------
        matplotlib Axes
            Observed in bins by the fitted mean; see `hetglm.plots.plot_mean_variance`.
        """
        return plots_dispersion.plot_mean_variance(self, by=by, ax=ax, rng=rng)

    def plot_coefficients(
        self, *, alpha: float = 0.05, intercept: bool = False, ax: Any = None
    ) -> Any:
        """
        Draw the coefficients of both parts with their intervals.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        intercept : bool
            Whether the constants are drawn too.
        ax : sequence of two matplotlib Axes, optional
            For the mean and the dispersion, each on the scale of its link.

        Returns
        -------
        ndarray of matplotlib Axes, shape (2,)
        """
        return plots_dispersion.plot_coefficients(self, alpha=alpha, intercept=intercept, ax=ax)
