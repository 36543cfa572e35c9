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
from hetglm.estimation.covariance import Covariance, covariance
from hetglm.estimation.record import Fit, at_fit
from hetglm.inference import bootstrap, bootstrap_results, constant_dispersion, overdispersion
from hetglm.inference.null_model import NullModel
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
from hetglm.utils.parallel import N_BOUNDARY_REPLICATES, N_REPLICATES, Run


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
        Number of rows left out because of missing values.
    df_model, df_resid : float
        rank(X) minus 1 for a constant, and nobs minus the number k of estimated coefficients.
    converged : bool
    notes : list of str
        Messages about the fit.
    cov_type : str
    boundary : Boundary or None
        Rows whose dispersion is zero at the supremum of the likelihood, the directions along which
        the coefficients diverge, and the terms without a finite estimate.
    fit : Fit
        Record of the maximum: estimates, optimisation and information.
    core : Likelihood
        Likelihood of the rows of the fit; rows of ``boundary`` have their predictor fixed there
        (in ``model.core`` none is fixed).
    cov_internal : ndarray, shape (p + q, p + q)
        Covariance of ``fit.internal``, the coefficients that predictions are computed from.
    null_fits : dict
        Fits of models with a constant part made so far, for the tests.
    """

    #: `Fit`, or of a model with random effects `MixedFit`.
    fit: Any

    def __init__(
        self,
        model: Any,
        fit: Any,
        notes: list[str],
        cov_type: str = "nonrobust",
        cov_kwds: dict[str, Any] | None = None,
        use_t: bool | None = None,
    ) -> None:
        self.notes = list(notes)
        cov = self._covariance(model, fit, cov_type, cov_kwds, use_t)
        LikelihoodModelResults.__init__(self, model, fit.params, cov.matrix, use_t=use_t)
        self._cache: dict[str, Any] = {}
        self.fit, self.cov_internal = fit, cov.internal
        self.boundary = fit.boundary
        self.nobs, self.df_model, self.df_resid = model.nobs, model.df_model, model.df_resid
        self.cov_params_default = cov.matrix
        self.cov_type, self.cov_kwds = cov.cov_type, cov.kwds
        if cov.df_inference is not None:
            self.df_resid_inference = cov.df_inference
        self.reml = not fit.criterion.comparable_means
        self.llf_reml = fit.maximum if self.reml else np.nan
        self.mle_retvals = fit.retvals
        self.mle_settings = {"optimizer": fit.method}
        self.converged, self.iterations, self.method = fit.converged, fit.iterations, fit.method
        self.null_fits: dict[tuple[str, str, Criterion], Fit] = {}

    def _covariance(
        self, model: Any, fit: Any, cov_type: str, cov_kwds: Any, use_t: bool | None
    ) -> Covariance:
        """Return the covariance of the estimates, and note where there is none."""
        kwds = model.row_kwds(cov_kwds or {})
        core = at_fit(model.core, fit)
        cov = covariance(core, fit, cov_type, kwds, bool(use_t), model.df_resid)
        if np.isnan(np.diag(cov.matrix)[fit.estimated]).any():
            self.notes.append(
                "the information matrix is singular, so there are no standard errors: the data do not "
                "determine some combination of the coefficients"
            )
        return cov

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
        """Number of rows left out because of missing values."""
        return int(self.model.n_missing)

    @cached_property
    def llf(self) -> float:
        """Log-likelihood at the estimates."""
        return self.fit.llf

    @cached_property
    def aic(self) -> float:
        """
        Akaike's criterion -2 llf + 2k; NaN after REML, which does not maximise llf.

        AIC of an extended quasi-likelihood is not comparable with AIC of a likelihood. `summary2`
        labels it; in statsmodels' ``summary_col`` choose the label yourself:
        ``info_dict={"AIC (EQL)": lambda res: f"{res.aic:.1f}"}``.
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
        k, names = len(self.model.mean_names), self.model.dispersion_names
        return pd.Series(np.asarray(self.params)[k : k + len(names)], index=names)

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
        """Response minus fitted mean, shape (n,)."""
        return self.model.endog - self.fittedvalues

    @property
    def resid_response(self) -> Array:
        """Response minus fitted mean, shape (n,), as ``resid``."""
        return self.resid

    @cached_property
    def resid_pearson(self) -> Array:
        """Pearson residuals: ``resid`` over the fitted standard deviation, shape (n,)."""
        return residuals.pearson(self.core, self.fit.internal)

    @cached_property
    def resid_deviance(self) -> Array:
        """
        Deviance residuals at the fitted dispersion, shape (n,).

        Signed square roots of twice the difference between the saturated and the fitted
        log-likelihood; in exponential dispersion models, of the unit deviances over phi.
        """
        return residuals.deviance(self.core, self.fit.internal)

    @cached_property
    def resid_dispersion(self) -> Array:
        """Dispersion residuals: scores over their standard deviation, shape (n,); see `get_resid`."""
        return residuals.dispersion(self.core, self.fit.internal)

    @cached_property
    def llnull(self) -> float:
        """Log-likelihood with both parts constant (and any offsets; `| 0` stays); NaN after REML."""
        self.df_resid_null = self.nobs - (1 if self.model.core.dispersion_is_known else 2)
        if not self.fit.criterion.comparable_means:
            return np.nan
        return NullModel(self, "constant", "constant", self.fit.criterion).fit.maximum

    def remove_data(self) -> None:
        """
        Remove all arrays of the length of the data; predictions for new rows still work.

        The summary then has no quartiles and no test of constant dispersion.
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
            Whether to use the observed instead of the expected information: d_params and dfbetas then
            approximate refits without each row better.

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
        Bootstrap the estimates: refit to resampled data.

        Parameters
        ----------
        nrep : int
            Number of replicates.
        kind : {"pairs", "parametric", "cluster"}, optional
            "pairs": rows drawn with replacement. "parametric": responses drawn from the fitted model.
            "cluster": groups drawn with replacement. By default "cluster" for a fit with
            ``cov_type="cluster"``, else "pairs". With random effects "parametric" draws new ones and
            is the default, "cluster" draws the groups of the outermost factor, each draw with
            random effects of its own, and "pairs" is not available.
        groups : array_like, shape (n,), or str, optional
            For "cluster": labels or name of a column; by default the groups of the fit's covariance,
            or the outermost ones of the random effects.
        rng : None, int or numpy.random.Generator
            Source of randomness. Each replicate has its own child seed, so the results do not depend
            on the number of jobs or batches.
        studentized : bool
            Whether to compute the standard error of each refit, by the ``cov_type`` of this fit,
            for studentised intervals; cluster-robust ones need the groups that are drawn.
        n_jobs : int, optional
            Number of parallel jobs (joblib); -1 for all cores; None for one, or as set by
            ``joblib.parallel_config``, for example ``backend="dask"`` on several machines.
        progress : bool, optional
            Whether to show a progress bar; by default only on a terminal.
        checkpoint : str or path-like, optional
            File that stores each finished batch. The same call continues an interrupted run (with
            ``rng=None`` it uses the seed in the file), or adds replicates if ``nrep`` is larger.
        batch_size : int, optional
            Number of replicates in a batch.

        Returns
        -------
        BootstrapResult
            Unpacks as ``mean, std, params``, as in statsmodels; has ``conf_int``, ``summary_frame``,
            ``plot`` and the number of failed refits.

        Raises
        ------
        ValueError
            If an argument is out of range, the checkpoint belongs to another run or cannot be
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
        Likelihood-ratio test of constant dispersion, given the same mean with its random effects.

        Parameters
        ----------
        test : {"lr", "bootstrap"}
            Whether the p-value is from chi-square or from a parametric bootstrap: the share of draws
            from the model with constant dispersion whose ratio, with both models refitted, is at least
            as large. The bootstrap is always used where the constant dispersion is at the boundary
            (sigma = 0), or random effects of the dispersion have a variance of 0 under H0, so that the
            chi-square distribution does not hold.
        nrep : int, optional
            Draws of the bootstrap; by default 999, or 199 where "lr" needs it at the boundary.
        rng : None, int or numpy.random.Generator
            Source of randomness of the bootstrap.
        sequential : int, optional
            Stop after this many draws with a ratio at least as large as the observed one (Besag and
            Clifford 1991).
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
            ``statistic``, ``pvalue``, ``df`` = rank(Z) - 1 (and the covariance parameters of random
            effects of the dispersion), ``llf``, ``llf_constant``, ``method``;
            for a bootstrap also ``mc_error`` of the p-value, and ``failed`` and ``reasons`` of failed
            refits, which are left out. After REML both models are fitted by REML, and the ratio is of
            their REML criteria.

        Raises
        ------
        NotNestedError
            If a constant is not in the column space of the dispersion's design; the message has AIC
            and BIC of both models.
        ValueError
            If an argument is out of range.
        NotImplementedError
            For the bootstrap of extended quasi-likelihood families, which have no distribution.
        """
        run = Run(n_jobs, progress, checkpoint, batch_size)
        if nrep is None:
            nrep = N_REPLICATES if test == "bootstrap" else N_BOUNDARY_REPLICATES
        checks.draws(nrep, rng, sequential)
        return constant_dispersion.compare_constant(self, test, nrep, rng, sequential, run)

    def test_overdispersion(
        self,
        against: str = "constant",
        *,
        groups: Any = None,
        nrep: int = N_BOUNDARY_REPLICATES,
        rng: Any = None,
        sequential: int | None = None,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> overdispersion.OverdispersionTest | overdispersion.GLMOverdispersionTest:
        """
        Test for overdispersion relative to the Poisson or binomial (H0: sigma = 0, or phi = 1).

        For a beta-binomial or negative binomial fit H0 is sigma = 0, the binomial or Poisson limit. For
        a Poisson or binomial `DoubleGLM` H0 is the ordinary GLM with the same mean, offset and
        frequencies (phi = 1); the alternatives are the negative binomial, by score tests (Dean 1992, for
        Var = mu + alpha mu^2 and Var = mu (1 + alpha)) and regression tests (Cameron and Trivedi 1990,
        variance by HC3), or the beta-binomial, by the score test of Tarone (1979). All are one-sided.

        Parameters
        ----------
        against : {"constant", "model"}
            "constant": the alternative is a constant sigma, by the one-sided score test and the
            likelihood ratio with the half-and-half mixture. "model": the alternative is the dispersion
            formula of the fit, by the likelihood ratio; its P is from a mixture with binomial weights
            if the formula has one sigma for each cell, otherwise from a parametric bootstrap.
        groups : array_like, shape (n,), or str, optional
            Labels, or name of a column, of groups whose rows may go together, which looks like
            overdispersion: also tests ``(1 | groups)`` in the mean beside the dispersion of the rows,
            as `test_random_effect`. By default the groups of a fit with ``cov_type="cluster"``.
        nrep : int
            Number of draws of the bootstrap.
        rng : None, int or numpy.random.Generator
            Source of randomness of the bootstrap.
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
            ``score``, ``score_pvalue``, ``statistic``, ``pvalue``, ``alternative``, ``method``; for a
            bootstrap also ``mc_error``, ``failed`` and ``reasons`` as in `compare_constant_dispersion`;
            with groups ``random_effect``. For a GLM ``score``, ``score_pvalue``, ``table`` and Pearson's
            ``dispersion``.

        Raises
        ------
        ValueError
            For families without a limiting distribution at phi = 0, or an argument out of range.

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
        return overdispersion.overdispersion(self, against, groups, nrep, rng, sequential, run)

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
    """Results with pandas labels, if the data had them."""

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
        Return the covariance of the coefficients, with labels if the data had them.

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
            For linear combinations an array, for a single column a number.
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
        Return confidence intervals of the coefficients, with labels if the data had them.

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
