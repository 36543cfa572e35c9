"""Results of a fit: thin, the work is done by the functions it hands to."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.base import wrapper as wrap
from statsmodels.base.model import (
    GenericLikelihoodModelResults,
    LikelihoodModelResults,
    LikelihoodResultsWrapper,
)
from statsmodels.iolib.summary2 import Summary as Summary2

from hetglm.diagnostics import residuals
from hetglm.diagnostics.influence import LocationScaleInfluence
from hetglm.estimation.covariance import covariance
from hetglm.estimation.record import Fit, at_fit
from hetglm.inference import bootstrap, bootstrap_results, constant_dispersion, overdispersion
from hetglm.inference.null_model import NullModel
from hetglm.likelihood.adjusted_profile import REML
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import Criterion
from hetglm.models import summary
from hetglm.models.results_diagnostics import DiagnosticMethods
from hetglm.models.results_inference import InferenceMethods
from hetglm.models.results_prediction import PredictionMethods
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.display import Printed
from hetglm.utils.host import WRAPPED_ATTRIBUTES, PseudoRSquared
from hetglm.utils.parallel import Run


class LocationScaleResults(
    Printed,
    InferenceMethods,
    PredictionMethods,
    DiagnosticMethods,
    PseudoRSquared,
    GenericLikelihoodModelResults,
):
    """
    Results of a location-scale fit.

    Attributes
    ----------
    params, bse, tvalues, pvalues : ndarray, shape (p + q,)
        Coefficients of the mean, then of the dispersion, on the scale of their links; NaN where a
        column is aliased.
    llf : float
        Log-likelihood; the extended quasi-likelihood for families without a distribution. After
        REML it is that at the estimates, and aic, bic and what compares with llnull are NaN.
    llf_reml : float
        Maximum of the adjusted profile likelihood after ``fit(reml=True)``, NaN otherwise. For the
        Gaussian -2 llf_reml = n log(2 pi) + sum log(phi) + sum d/phi + log det(X'WX); it depends on
        how the columns of the mean are scaled and coded, so it compares fits of one mean only.
    reml : bool
        Whether the fit is by REML.
    nobs : float
        Number of observations, sum(freq_weights).
    n_missing : int
        Rows of the data that were left out because they miss a value.
    df_model, df_resid : float
        rank(X) less the constant, and nobs less the number k of estimated coefficients.
    converged : bool
    notes : list of str
        What is to be said of the fit.
    cov_type : str
    boundary : Boundary or None
        Rows whose dispersion is zero at the supremum of the likelihood, with the directions along
        which the coefficients run off and the terms without a finite estimate.
    fit : Fit
        Record of the maximum: the estimates, how they were reached, and their information.
    core : Likelihood
        Of the rows of the fit, those of ``boundary`` with their predictor fixed there (in
        ``model.core`` none is fixed).
    cov_internal : ndarray, shape (p + q, p + q)
        Covariance of ``fit.internal``, the coefficients that make the predictors of these rows.
    null_fits : dict
        Fits of the models with a constant part that were made already, for the tests.
    """

    def __init__(
        self,
        model: Any,
        fit: Fit,
        notes: list[str],
        cov_type: str = "nonrobust",
        cov_kwds: dict[str, Any] | None = None,
        use_t: bool | None = None,
    ) -> None:
        kwds = model.row_kwds(cov_kwds or {})
        core = at_fit(model.core, fit)
        cov = covariance(core, fit, cov_type, kwds, bool(use_t), model.df_resid)
        LikelihoodModelResults.__init__(self, model, fit.params, cov.matrix, use_t=use_t)
        self._cache: dict[str, Any] = {}
        self.fit, self.cov_internal, self.notes = fit, cov.internal, list(notes)
        self.boundary = fit.boundary
        self.nobs, self.df_model, self.df_resid = model.nobs, model.df_model, model.df_resid
        self.cov_params_default = cov.matrix
        self.cov_type, self.cov_kwds = cov.cov_type, cov.kwds
        if cov.df_inference is not None:
            self.df_resid_inference = cov.df_inference
        if np.isnan(np.diag(cov.matrix)[fit.estimated]).any():
            self.notes.append(
                "the information matrix is singular: there are no standard errors; some direction of "
                "the coefficients is not determined by the data"
            )
        self.reml = fit.criterion == REML
        self.llf_reml = fit.maximum if self.reml else np.nan
        self.mle_retvals = fit.retvals
        self.mle_settings = {"optimizer": fit.method}
        self.converged, self.iterations, self.method = fit.converged, fit.iterations, fit.method
        self.null_fits: dict[tuple[str, str, Criterion], Fit] = {}

    def _headline(self) -> str:
        kind = "log-likelihood" if self.model.core.family.exact else "log-EQL"
        by = self.fit.criterion
        kind = kind if by.by_rows else f"{by.name}, {kind}"
        return f"{type(self.model).__name__}: {self.model._headline()}, {kind} {self.llf:.4f}"

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self.summary().as_text())

    def _repr_html_(self) -> str:
        """Return the summary as a notebook shows it."""
        return str(self.summary().as_html())

    @property
    def core(self) -> Likelihood:
        """Likelihood of the rows of the fit, those at the boundary fixed there."""
        return at_fit(self.model.core, self.fit)

    # -- numbers ------------------------------------------------------------------------------

    @property
    def endog(self) -> Array:
        """Response on the scale of the mean, shape (n,)."""
        return self.model.endog

    @property
    def exog(self) -> Array:
        """Design of the mean, shape (n, p)."""
        return self.model.exog

    @property
    def exog_dispersion(self) -> Array:
        """Design of the dispersion, shape (n, q)."""
        return self.model.exog_dispersion

    @property
    def n_missing(self) -> int:
        """Rows of the data that were left out because they miss a value."""
        return int(self.model.n_missing)

    @cached_property
    def llf(self) -> float:
        """Log-likelihood at the estimates."""
        return self.fit.llf

    @cached_property
    def aic(self) -> float:
        """
        Akaike's criterion -2 llf + 2k; NaN after REML, which does not maximise llf.

        Of an extended quasi-likelihood it is not to be compared with that of a likelihood.
        `summary2` labels it; statsmodels' ``summary_col`` prints what it is told, by the label it is
        told: ``info_dict={"AIC (EQL)": lambda res: f"{res.aic:.1f}"}``.
        """
        return super().aic if self.fit.criterion.comparable_means else np.nan

    @cached_property
    def bic(self) -> float:
        """Schwarz's criterion -2 llf + k log(nobs); NaN after REML, which does not maximise llf."""
        return super().bic if self.fit.criterion.comparable_means else np.nan

    @property
    def params_mean(self) -> pd.Series:
        """Coefficients of the mean, labelled by its columns."""
        k = len(self.model.mean_names)
        return pd.Series(np.asarray(self.params)[:k], index=self.model.mean_names)

    @property
    def params_dispersion(self) -> pd.Series:
        """Coefficients of the dispersion, labelled by its columns without the prefix."""
        k = len(self.model.mean_names)
        return pd.Series(np.asarray(self.params)[k:], index=self.model.dispersion_names)

    @cached_property
    def fittedvalues(self) -> Array:
        """Fitted mean, shape (n,)."""
        return quantities.predict(self.core, self.fit.internal, "mean")

    @cached_property
    def fitted_dispersion(self) -> Array:
        """Fitted dispersion phi (sigma, alpha), before the weights, shape (n,)."""
        return quantities.predict(self.core, self.fit.internal, "dispersion")

    @cached_property
    def resid(self) -> Array:
        """Response less fitted mean, shape (n,)."""
        return self.model.endog - self.fittedvalues

    @property
    def resid_response(self) -> Array:
        """Response less fitted mean, shape (n,), as ``resid``."""
        return self.resid

    @cached_property
    def resid_pearson(self) -> Array:
        """Residuals in units of the fitted standard deviation, shape (n,)."""
        return residuals.pearson(self.core, self.fit.internal)

    @cached_property
    def resid_deviance(self) -> Array:
        """
        Signed roots of twice what a mean of its own gains each row at its dispersion, shape (n,).

        In exponential dispersion models, of the unit deviances over phi.
        """
        return residuals.deviance(self.core, self.fit.internal)

    @cached_property
    def resid_dispersion(self) -> Array:
        """Scores of the rows in the dispersion in units of their sd, shape (n,); see `get_resid`."""
        return residuals.dispersion(self.core, self.fit.internal)

    @cached_property
    def llnull(self) -> float:
        """Log-likelihood with both parts constant (and any offsets); NaN after REML."""
        self.df_resid_null = self.nobs - 2
        if not self.fit.criterion.comparable_means:
            return np.nan
        return NullModel(self, "constant", "constant", self.fit.criterion).fit.maximum

    def remove_data(self) -> None:
        """
        Remove every array of the length of the data; predictions on new rows go on working.

        The summary then has no quartiles and no comparison with a constant dispersion.
        """
        for name in (
            *("fittedvalues", "fitted_dispersion", "resid", "resid_pearson", "resid_deviance"),
            "resid_dispersion",
        ):
            self.__dict__.pop(name, None)
        name = self.model.endog_names
        self.null_fits.clear()
        super().remove_data()
        self.model.data.ynames = name
        self.model.core = self.model.core.without_rows()

    @cached_property
    def prsquared(self) -> float:
        """Cox-Snell pseudo R-squared, 1 - exp(2 (llnull - llf)/nobs)."""
        return float(self.pseudo_rsquared(kind="lr"))

    def get_influence(self, observed: bool = False) -> LocationScaleInfluence:
        """
        Return leverages, standardised residuals and Cook's distances of both parts.

        Parameters
        ----------
        observed : bool
            Whether they rest on the observed information and not on the expected one: d_params and
            dfbetas then come nearer to refits without each row.

        Returns
        -------
        LocationScaleInfluence
            With ``hat_matrix_diag``, ``hat_matrix_diag_dispersion``, ``cooks_distance``,
            ``summary_frame()``, ``plot_influence()`` and more.
        """
        return LocationScaleInfluence(self, observed=observed)

    # -- inference ------------------------------------------------------------------------------

    def bootstrap(
        self,
        nrep: int = 100,
        kind: str | None = None,
        *,
        groups: Any = None,
        rng: Any = None,
        studentized: bool = False,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> bootstrap_results.BootstrapResult:
        """
        Refit to resampled data.

        Parameters
        ----------
        nrep : int
            Number of replicates.
        kind : {"pairs", "parametric", "cluster"}, optional
            Rows drawn with replacement; responses drawn from the fitted model; or whole groups
            drawn with replacement. By default "cluster" of a fit with ``cov_type="cluster"``, else
            "pairs".
        groups : array_like, shape (n,), or str, optional
            For "cluster": labels, or the name of a column; by default those of the fit's
            covariance.
        rng : None, int or numpy.random.Generator
            Source of randomness. Each replicate has a child of this seed of its own, so that the
            results do not depend on the number of jobs or batches.
        studentized : bool
            Whether to compute the standard error of each refit, by the ``cov_type`` of this fit,
            for studentised intervals; of groups these must be the groups that are drawn.
        n_jobs : int, optional
            Jobs that run at once, by joblib: -1 for all cores; None for one, or as
            ``joblib.parallel_config`` says, with ``backend="dask"`` on many machines.
        progress : bool, optional
            Whether to show a progress bar; by default only on a terminal.
        checkpoint : str or path-like, optional
            File that keeps every finished batch. The same call goes on from there if it was
            interrupted (with ``rng=None`` with the seed in the file), or adds replicates if ``nrep``
            is larger.
        batch_size : int, optional
            Replicates a job is given at a time.

        Returns
        -------
        BootstrapResult
            Unpacks as ``mean, std, params``, as statsmodels' does; has ``conf_int``,
            ``summary_frame`` and ``plot``, and counts the failed refits.

        Raises
        ------
        ValueError
            If an argument is out of range, the checkpoint is that of another run or cannot be
            written, or every refit failed.
        NotImplementedError
            For "parametric" with extended quasi-likelihood families, which have no distribution.
        """
        if groups is not None:
            groups = self.model.row_kwds({"groups": groups})["groups"]
        run = Run(n_jobs, progress, checkpoint, batch_size)
        return bootstrap.bootstrap(self, nrep, kind, rng, groups, studentized, run)

    def compare_constant_dispersion(
        self,
        *,
        test: str = "lr",
        nrep: int | None = None,
        rng: Any = None,
        sequential: int | None = None,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> constant_dispersion.ConstantDispersionTest:
        """
        Compare with the model of the same mean and a constant dispersion by a likelihood ratio.

        Parameters
        ----------
        test : {"lr", "bootstrap"}
            Whether the p-value is that of chi-square or simulated: the share of draws from the
            model with constant dispersion whose ratio, both models refitted, is as large. Where the
            constant dispersion is itself at the boundary (sigma = 0), so that chi-square does not
            hold, it is always simulated.
        nrep : int, optional
            Draws of the bootstrap: 999, or 199 where "lr" needs it at the boundary.
        rng : None, int or numpy.random.Generator
            Source of randomness of those draws.
        sequential : int, optional
            Stop at the draw that brings so many larger ratios (Besag and Clifford 1991).
        n_jobs : int, optional
            As in `bootstrap`.
        progress : bool, optional
            As in `bootstrap`.
        checkpoint : str or path-like, optional
            As in `bootstrap`.
        batch_size : int, optional
            As in `bootstrap`.

        Returns
        -------
        ConstantDispersionTest
            ``statistic``, ``pvalue``, ``df`` = rank(Z) - 1, ``llf``, ``llf_constant``, ``method``;
            of a bootstrap, ``mc_error`` of the p-value, and ``failed`` and ``reasons`` of refits
            that failed, which the p-value leaves out. After REML both models are fitted by it, and
            the ratio is that of the adjusted likelihoods.

        Raises
        ------
        NotNestedError
            If the constant is not in the column space of the dispersion's design; AIC and BIC of
            both models are in the message.
        ValueError
            If an argument is out of range.
        NotImplementedError
            For the bootstrap of extended quasi-likelihood families, which have no distribution.
        """
        run = Run(n_jobs, progress, checkpoint, batch_size)
        if nrep is None:
            nrep = 999 if test == "bootstrap" else 199
        checks.draws(nrep, rng, sequential)
        return constant_dispersion.compare_constant(self, test, nrep, rng, sequential, run)

    def test_overdispersion(
        self,
        against: str = "constant",
        *,
        nrep: int = 199,
        rng: Any = None,
        sequential: int | None = None,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> overdispersion.OverdispersionTest | overdispersion.GLMOverdispersionTest:
        """
        Test whether the data vary more than a Poisson or binomial GLM allows.

        Of a beta-binomial or negative binomial fit, whether there is any dispersion beyond the binomial
        or the Poisson: sigma = 0. Of a Poisson or binomial `DoubleGLM`, whether the ordinary GLM of the
        same mean, offset and frequencies (phi = 1) holds: its score tests against the negative binomial
        (Dean 1992, for Var = mu + alpha mu^2 and Var = mu (1 + alpha)), the regression tests of Cameron
        and Trivedi (1990; variance by HC3) against the same, or against the beta-binomial (Tarone 1979).
        All are one-sided.

        Parameters
        ----------
        against : {"constant", "model"}
            One constant sigma, whatever the dispersion formula: the one-sided score test and the
            likelihood ratio with the half-and-half mixture. Or the dispersion formula of the fit:
            the ratio with binomial mixture weights where the formula is one sigma for each cell, by
            parametric bootstrap otherwise.
        nrep : int
            Draws of the bootstrap.
        rng : None, int or numpy.random.Generator
            Source of randomness of those draws.
        sequential : int, optional
            As in `compare_constant_dispersion`.
        n_jobs : int, optional
            As in `bootstrap`.
        progress : bool, optional
            As in `bootstrap`.
        checkpoint : str or path-like, optional
            As in `bootstrap`.
        batch_size : int, optional
            As in `bootstrap`.

        Returns
        -------
        OverdispersionTest or GLMOverdispersionTest
            ``score``, ``score_pvalue``, ``statistic``, ``pvalue``, ``alternative``, ``method``; of a
            bootstrap, ``mc_error``, ``failed`` and ``reasons`` as in `compare_constant_dispersion`.
            Of a GLM ``score``, ``score_pvalue``, ``table`` and Pearson's ``dispersion``.

        Raises
        ------
        ValueError
            For families that have no boundary law, or an argument out of range.

        References
        ----------
        Tarone, R. E. (1979). Testing the goodness of fit of the binomial distribution. Biometrika
        66, 585-590. Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610. Dean, C. B. (1992). Testing
        for overdispersion in Poisson and binomial regression models. JASA 87, 451-457. Cameron, A. C.
        and Trivedi, P. K. (1990). Journal of Econometrics 46, 347-364.

        Examples
        --------
        Counts against log mass, "not a good model: overdispersed":

        >>> import statsmodels.api as sm
        >>> import hetglm.formula.api as hmf
        >>> mass, count = [2, 3, 5, 8, 13, 21, 34], [310, 420, 680, 820, 1420, 1500, 2900]
        >>> data = {"count": count, "log_mass": np.log(mass)}
        >>> res = hmf.doubleglm("count ~ log_mass", data, family=sm.families.Poisson()).fit()
        >>> print(res.test_overdispersion())                       # doctest: +NORMALIZE_WHITESPACE
        Test of no overdispersion in the Poisson GLM (phi = 1): score Z = 36.54, P < 1e-16,
        Pearson chi-square/df = 22.18
                                           statistic        P
        test            variance
        Dean score      mu (1 + alpha mu) 36.5435 < 1e-16
                        mu (1 + alpha) 27.7555 < 1e-16
        Cameron-Trivedi mu (1 + alpha mu) 1.2208 0.111
                        mu (1 + alpha) 1.5152 0.0649
        """
        run = Run(n_jobs, progress, checkpoint, batch_size)
        checks.draws(nrep, rng, sequential)
        return overdispersion.overdispersion(self, against, nrep, rng, sequential, run)

    # -- reports --------------------------------------------------------------------------------

    def summary(
        self,
        yname: str | None = None,
        xname: list[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Any:
        """
        Summarise the fit.

        Parameters
        ----------
        yname : str, optional
            Name of the response.
        xname : list of str, optional
            Names of all coefficients.
        title : str, optional
        alpha : float
            One minus the coverage of the intervals.

        Returns
        -------
        statsmodels.iolib.summary.Summary
        """
        return summary.summary(self, yname, xname, title, alpha)

    def summary2(
        self,
        yname: str | None = None,
        xname: list[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
        float_format: str = "%.4f",
    ) -> Summary2:
        """
        Summarise the fit in statsmodels' second format.

        Parameters
        ----------
        yname : str, optional
            As in `summary`.
        xname : list of str, optional
            As in `summary`.
        title : str, optional
            As in `summary`.
        alpha : float
            As in `summary`.
        float_format : str
            Format of numbers.

        Returns
        -------
        statsmodels.iolib.summary2.Summary
        """
        return summary.summary2(self, yname, xname, title, alpha, float_format)


class LocationScaleResultsWrapper(LikelihoodResultsWrapper):
    """Results with pandas labels where the data had them."""

    _attrs = {  # noqa: RUF012 - the form statsmodels' wrappers have
        **WRAPPED_ATTRIBUTES,
        "fitted_dispersion": "rows",
        "resid_pearson": "rows",
        "resid_deviance": "rows",
        "resid_dispersion": "rows",
        "resid_response": "rows",
    }
    _wrap_attrs = _attrs
    _methods: dict[str, str] = {}  # noqa: RUF012
    _wrap_methods = _methods

    def __str__(self) -> str:
        """Return the summary as text."""
        return str(self._results)

    def __repr__(self) -> str:
        """Return the model, its family and its rows in one line."""
        return repr(self._results)

    def cov_params(
        self,
        r_matrix: Any = None,
        column: Any = None,
        scale: Any = None,
        cov_p: Any = None,
        other: Any = None,
    ) -> Any:
        """
        Return the covariance of the coefficients, with labels where the data had them.

        Parameters
        ----------
        r_matrix : array_like, optional
            As in `LocationScaleResults.cov_params`.
        column : int, str or list of them, optional
            As in `LocationScaleResults.cov_params`.
        scale : float, optional
            As in `LocationScaleResults.cov_params`.
        cov_p : array_like, optional
            As in `LocationScaleResults.cov_params`.
        other : array_like, optional
            As in `LocationScaleResults.cov_params`.

        Returns
        -------
        DataFrame or ndarray
            Of coefficients; of linear combinations an array; of a single column a number.
        """
        table = self._results.cov_params(r_matrix, column, scale, cov_p, other)
        if r_matrix is not None or np.ndim(table) == 0 or not isinstance(self.params, pd.Series):
            return table
        wanted = checks.positions(column, self._results.model.parameter_names)
        names = self.params.index[wanted]
        return pd.DataFrame(table, index=names, columns=names)

    def conf_int(
        self, alpha: float = 0.05, cols: Any = None, method: str = "wald", **kwargs: Any
    ) -> Any:
        """
        Return confidence intervals of the coefficients, with labels where the data had them.

        Parameters
        ----------
        alpha : float
            As in `LocationScaleResults.conf_int`.
        cols : array_like, optional
            As in `LocationScaleResults.conf_int`.
        method : {"wald", "profile", "bootstrap"}
            As in `LocationScaleResults.conf_int`.
        **kwargs
            As in `LocationScaleResults.conf_int`.

        Returns
        -------
        DataFrame or ndarray, shape (p + q, 2)
        """
        table = self._results.conf_int(alpha, cols, method, **kwargs)
        if not isinstance(self.params, pd.Series):
            return table
        wanted = checks.positions(cols, self._results.model.parameter_names)
        return pd.DataFrame(table, index=self.params.index[wanted])


wrap.populate_wrapper(LocationScaleResultsWrapper, LocationScaleResults)
