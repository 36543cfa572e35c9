"""Results of a fit: thin, the work is done by the functions it hands to."""

from __future__ import annotations

import copy
import itertools
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from statsmodels.base import wrapper as wrap
from statsmodels.base._parameter_inference import score_test
from statsmodels.base.model import (
    GenericLikelihoodModelResults,
    LikelihoodModelResults,
    LikelihoodResultsWrapper,
    _LLRMixin,
)
from statsmodels.iolib.summary2 import Summary as Summary2
from statsmodels.stats.contrast import MultiCompResult, WaldTestResults, t_test_multi

from hetglm import (
    _arrays,
    _formula,
    anova,
    bootstrap,
    effects,
    overdispersion,
    prediction,
    profile,
    residuals,
    summary,
)
from hetglm._covariance import covariance
from hetglm._fit import Fit, RemlFit, at_fit
from hetglm._replicates import Run
from hetglm._text import listed
from hetglm.influence import LocationScaleInfluence
from hetglm.terms import clustered_score

Array = NDArray[Any]


class LocationScaleResults(_LLRMixin, GenericLikelihoodModelResults):
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
    df_model, df_resid : float
        rank(X) less the constant, and nobs less the number k of estimated coefficients.
    converged : bool
    notes : list of str
        What is to be said of the fit.
    cov_type : str
    boundary : Boundary or None
        Rows whose dispersion is zero at the supremum of the likelihood, with the directions along
        which the coefficients run off and the terms without a finite estimate.
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
        self._fit, self._cov, self.notes = fit, cov.internal, list(notes)
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
        self.reml = isinstance(fit, RemlFit)
        self.llf_reml = fit.llf_reml if isinstance(fit, RemlFit) else np.nan
        self.mle_retvals = fit.retvals
        self.mle_settings = {"optimizer": fit.method}
        self.converged, self.iterations, self.method = fit.converged, fit.iterations, fit.method
        self._nulls: dict[tuple[str, str, bool], tuple[float, bool]] = {}

    @property
    def _core(self) -> Any:
        """Likelihood on the rows of the fit, those at the boundary held there."""
        return at_fit(self.model.core, self._fit)

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

    @cached_property
    def llf(self) -> float:
        """Log-likelihood at the estimates."""
        return self._fit.llf

    @cached_property
    def aic(self) -> float:
        """Akaike's criterion -2 llf + 2k; NaN after REML, which does not maximise llf."""
        return np.nan if self.reml else super().aic

    @cached_property
    def bic(self) -> float:
        """Schwarz's criterion -2 llf + k log(nobs); NaN after REML, which does not maximise llf."""
        return np.nan if self.reml else super().bic

    @property
    def params_mean(self) -> pd.Series:
        """Coefficients of the mean, labelled by its columns."""
        k = len(self.model._mean_names)
        return pd.Series(np.asarray(self.params)[:k], index=self.model._mean_names)

    @property
    def params_dispersion(self) -> pd.Series:
        """Coefficients of the dispersion, labelled by its columns without the prefix."""
        k = len(self.model._mean_names)
        return pd.Series(np.asarray(self.params)[k:], index=self.model._dispersion_names)

    @cached_property
    def fittedvalues(self) -> Array:
        """Fitted mean, shape (n,)."""
        return prediction.predict(self._core, self._fit.internal, "mean")

    @cached_property
    def fitted_dispersion(self) -> Array:
        """Fitted dispersion phi (sigma, alpha), before the weights, shape (n,)."""
        return prediction.predict(self._core, self._fit.internal, "dispersion")

    @cached_property
    def resid(self) -> Array:
        """Response less fitted mean, shape (n,)."""
        return self.model.endog - self.fittedvalues

    @cached_property
    def resid_pearson(self) -> Array:
        """Residuals in units of the fitted standard deviation, shape (n,)."""
        return residuals.pearson(self._core, self._fit.internal)

    @cached_property
    def resid_deviance(self) -> Array:
        """Signed roots of the unit deviances over phi, shape (n,); not for the beta-binomial."""
        return residuals.deviance(self._core, self._fit.internal)

    @cached_property
    def llnull(self) -> float:
        """Log-likelihood with both parts constant (and any offsets); NaN after REML."""
        self.df_resid_null = self.nobs - 2
        if self.reml:
            return np.nan
        return anova.null_fit(self.model, "constant", "constant").llf

    def remove_data(self) -> None:
        """
        Remove every array of the length of the data; predictions on new rows go on working.

        Call ``summary()`` before, if it is wanted: what was computed once is kept.
        """
        for name in (
            *("fittedvalues", "fitted_dispersion", "resid", "resid_pearson", "resid_deviance"),
        ):
            self.__dict__.pop(name, None)
        super().remove_data()
        self.model.core = self.model.core.without_rows()

    @cached_property
    def prsquared(self) -> float:
        """Cox-Snell pseudo R-squared, 1 - exp(2 (llnull - llf)/nobs)."""
        return float(self.pseudo_rsquared(kind="lr"))

    # -- covariance and tests: aliased coefficients stay out --------------------------------------

    def cov_params(
        self,
        r_matrix: Any = None,
        column: Any = None,
        scale: Any = None,
        cov_p: Any = None,
        other: Any = None,
    ) -> Array:
        """
        Return the covariance of the coefficients, or of linear combinations of them.

        Parameters
        ----------
        r_matrix : array_like, optional
            Linear combinations, one a row.
        column : array_like, optional
            Positions of the coefficients wanted.
        scale : float, optional
            As in statsmodels.
        cov_p : array_like, optional
            Covariance to use instead.
        other : array_like, optional
            Combinations for covariances with those of r_matrix.

        Returns
        -------
        ndarray
            NaN in the rows and columns of aliased coefficients; combinations that give them no
            weight are not touched by that.
        """
        if r_matrix is None:
            return super().cov_params(None, column, scale, cov_p, other)
        self._refuse_aliased(r_matrix)
        cov_p = self.cov_params_default if cov_p is None else cov_p
        return super().cov_params(r_matrix, column, scale, self._zeroed(cov_p), other)

    def t_test(self, r_matrix: Any, cov_p: Any = None, use_t: bool | None = None) -> Any:
        """
        Test each linear hypothesis about the coefficients of either part.

        Parameters
        ----------
        r_matrix : array_like, str or tuple
            As in statsmodels: ``"group[T.b] = 0, dispersion-group[T.b] = 0"`` may name terms of both
            parts.
        cov_p : array_like, optional
        use_t : bool, optional

        Returns
        -------
        ContrastResults

        Raises
        ------
        ValueError
            If the hypothesis names an aliased coefficient or an unknown one.
        """
        r_matrix = self._restrictions(r_matrix)
        return super(LocationScaleResults, self._without_nan()).t_test(r_matrix, cov_p, use_t)

    def wald_test(self, r_matrix: Any, *args: Any, **kwargs: Any) -> Any:
        """
        Test linear hypotheses about the coefficients of either part jointly.

        Parameters
        ----------
        r_matrix : array_like, str or tuple
            As in `t_test`.
        *args, **kwargs
            As in statsmodels.

        Returns
        -------
        ContrastResults
        """
        r_matrix = self._restrictions(r_matrix)
        kwargs.setdefault("scalar", True)
        return super(LocationScaleResults, self._without_nan()).wald_test(r_matrix, *args, **kwargs)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Any = None,
        combine_terms: Any = None,
        scalar: bool = True,
    ) -> WaldTestResults:
        """
        Test each term of both parts.

        Parameters
        ----------
        skip_single : bool
            Whether to leave out terms of one column.
        extra_constraints : list of (name, array), optional
            Further restrictions.
        combine_terms : list of str, optional
            Terms whose names contain one of these strings are tested together.
        scalar : bool
            Whether statistics are floats.

        Returns
        -------
        WaldTestResults
            With one row for each term; those of the dispersion begin with ``dispersion-``.
        """
        identity = np.eye(len(self.params))
        terms = {
            name: [j for j in columns if self._fit.estimated[j]]
            for name, columns in self.model.terms.items()
        }
        rows = [
            (n, identity[c]) for n, c in terms.items() if c and not (skip_single and len(c) == 1)
        ]
        for part in combine_terms or []:
            columns = [j for name, c in terms.items() if part in name for j in c]
            if not columns:
                raise ValueError(f"combine_terms: no term has {part!r} in its name")
            rows.append((part, identity[columns]))
        rows += list(extra_constraints or [])
        tests = [(name, self.wald_test(matrix, scalar=scalar)) for name, matrix in rows]
        table = pd.DataFrame(
            {
                "statistic": [t.statistic for _, t in tests],
                "pvalue": [t.pvalue for _, t in tests],
                "df_constraint": [int(t.df_num if self.use_t else t.df_denom) for _, t in tests],
            },
            index=[name for name, _ in tests],
        )
        if self.use_t:
            table["df_denom"] = [t.df_denom for _, t in tests]
        return WaldTestResults(None, "F" if self.use_t else "chi2", None, table=table)

    def t_test_pairwise(
        self,
        term_name: str,
        method: str | list[str] = "hs",
        alpha: float = 0.05,
        factor_labels: list[str] | None = None,
    ) -> MultiCompResult:
        """
        Test all pairs of levels of a factor, with p-values corrected for their number.

        Parameters
        ----------
        term_name : str
            Term of the formula; ``dispersion-`` before one of the dispersion.
        method : str or list of str
            Corrections, as in statsmodels.
        alpha : float
            Level of the corrected tests.
        factor_labels : list of str, optional
            Names of the levels.

        Returns
        -------
        MultiCompResult
            With ``result_frame`` and ``contrasts``.

        Raises
        ------
        ValueError
            Without a formula, or for a term that is not a single factor.
        """
        spec = self.model._spec
        if spec is None:
            raise ValueError("t_test_pairwise: needs the terms of a formula; use t_test")
        of_dispersion = term_name.startswith("dispersion-")
        design = spec.dispersion if of_dispersion else spec.mean
        levels, coding = design.coding(term_name.removeprefix("dispersion-"))
        if factor_labels is not None and len(factor_labels) != len(levels):
            raise ValueError(
                f"factor_labels: {len(factor_labels)}, but there are {len(levels)} levels"
            )
        names = levels if factor_labels is None else factor_labels
        pairs = list(itertools.combinations(range(len(levels)), 2))
        labels = [f"{names[j]}-{names[i]}" for i, j in pairs]
        contrasts = np.zeros((len(pairs), len(self.params)))
        columns = self.model.terms[term_name]
        contrasts[:, columns] = [coding[j] - coding[i] for i, j in pairs]
        table = t_test_multi(self, contrasts, method, alpha, contrast_names=labels)
        return MultiCompResult(
            result_frame=table,
            contrasts=contrasts,
            term=term_name,
            contrast_labels=labels,
            term_encoding_matrix=coding,
        )

    def _restrictions(self, r_matrix: Any) -> Any:
        """Return restrictions as an array, with column names read from strings."""
        if isinstance(r_matrix, str):
            r_matrix = _formula.linear_constraint(r_matrix, self.model.parameter_names)
        coefs = r_matrix[0] if isinstance(r_matrix, tuple) else r_matrix
        self._refuse_aliased(coefs)
        return r_matrix

    def _refuse_aliased(self, r_matrix: Any) -> None:
        used = np.any(np.atleast_2d(np.asarray(r_matrix, dtype=float)) != 0, axis=0)
        if used.shape != self._fit.estimated.shape:
            raise ValueError(
                f"r_matrix: {used.size} columns, but there are {len(self.params)} coefficients"
            )
        bad = used & ~self._fit.estimated
        if bad.any():
            names = [n for n, b in zip(self.model.parameter_names, bad, strict=True) if b]
            raise ValueError(
                f"{listed(names)}: aliased or at the boundary, so there is nothing to test; see the "
                "summary"
            )

    def _zeroed(self, cov: Any) -> Array:
        """Return a covariance with zeros for aliased coefficients."""
        out = np.array(cov, dtype=float)
        out[~self._fit.estimated] = 0.0
        out[:, ~self._fit.estimated] = 0.0
        return out

    def _without_nan(self) -> LocationScaleResults:
        """Return a view on the results in which aliased coefficients are zero."""
        view = copy.copy(self)
        view.params = np.where(self._fit.estimated, self.params, 0.0)
        view.cov_params_default = self._zeroed(self.cov_params_default)
        return view

    def score_test(
        self,
        exog_extra: Any = None,
        *,
        cov_type: str | None = None,
        cov_kwds: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Test whether further columns belong to either part, without fitting them.

        Parameters
        ----------
        exog_extra : array_like or tuple of two
            Columns for the mean, or (for the mean, for the dispersion), None for neither.
        cov_type : {"nonrobust", "eim", "HC0", "cluster"}, optional
            Covariance of the scores; that of the fit by default.
        cov_kwds : dict, optional
            ``groups`` of "cluster" (and ``use_correction``), those of the fit by default.
        **kwargs
            As in statsmodels' score test, which the first three are.

        Returns
        -------
        tuple or ScoreTestResult
            Statistic, p-value (and degrees of freedom), as the installed statsmodels has it.

        Raises
        ------
        ValueError
            For no columns, columns that the data tell nothing of, another type of covariance, or after
            REML.
        """
        if self.reml:
            raise ValueError(
                "score_test: the score of the likelihood is not zero at a fit by REML; fit by maximum "
                "likelihood"
            )
        cov_type = self.cov_type if cov_type is None else cov_type
        if cov_type not in ("nonrobust", "eim", "HC0", "cluster"):
            raise ValueError(
                f"cov_type={cov_type!r}: score tests take 'nonrobust', 'eim', 'HC0' or 'cluster'"
            )
        extra = exog_extra if isinstance(exog_extra, tuple) else (exog_extra, None)
        n = self.model.core.n
        if all(part is None for part in extra):
            raise ValueError(
                "exog_extra: give the columns to test, (for the mean, for the dispersion)"
            )
        extra = tuple(None if e is None else _arrays.design(e, n, "exog_extra") for e in extra)
        view = self._solved_alone()
        if cov_type != "cluster":
            kwargs.setdefault("observed", cov_type != "eim")
            kwargs["cov_type"] = "HC0" if cov_type == "HC0" else "nonrobust"
            try:
                return score_test(view, exog_extra=extra, **kwargs)
            except np.linalg.LinAlgError as exc:
                raise ValueError(
                    "exog_extra: nothing to test: the columns depend on each other or on the model's "
                    "own, or the rows they tell of have their dispersion at the boundary"
                ) from exc
        kwds = self.cov_kwds if cov_kwds is None else cov_kwds
        if kwds.get("groups") is None:
            raise ValueError("cov_kwds: cov_type='cluster' needs 'groups'")
        groups = self.model.row_kwds({"groups": kwds["groups"]})["groups"]
        mean, dispersion = (np.empty((n, 0)) if e is None else e for e in extra)
        correct = kwds.get("use_correction", True)
        test = clustered_score(view.model.core, view.params, mean, dispersion, groups, correct)
        return test.statistic, test.pvalue, test.df

    def _solved_alone(self) -> LocationScaleResults:
        """Return a view on the results with the columns that were searched for, and no others."""
        core, solved = self._core, self._fit.solved
        view = copy.copy(self)
        view.model = copy.copy(self.model)
        k = core.k_mean
        view.model.core = core.with_designs(X=core.X[:, solved[:k]], Z=core.Z[:, solved[k:]])
        view.params = self._fit.internal[solved]
        return view

    def get_influence(self) -> LocationScaleInfluence:
        """
        Return leverages, standardised residuals and Cook's distances of both parts.

        Returns
        -------
        LocationScaleInfluence
            With ``hat_matrix_diag``, ``hat_matrix_diag_dispersion``, ``cooks_distance``,
            ``summary_frame()``, ``plot_influence()`` and more.
        """
        return LocationScaleInfluence(self)

    # -- predictions --------------------------------------------------------------------------

    def _new_rows(
        self, which: str, exog: Any, exog_dispersion: Any, transform: bool, given: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Return the rows of a prediction and their labels."""
        model = self.model
        if exog is None and exog_dispersion is None:
            return prediction.rows_of(model, self._core, which, **given), model.data.row_labels
        labels = getattr(exog if exog is not None else exog_dispersion, "index", None)
        if transform and model._spec is not None:
            if exog_dispersion is not None:
                raise ValueError(
                    "exog_dispersion: after a formula fit one DataFrame serves both parts; or give both "
                    "designs with transform=False"
                )
            data = _as_rows(exog)
            labels = data.index
            prediction.check_which(which, model.core.family)
            parts = prediction.PARTS[which]
            exog, exog_dispersion = (
                design.build(data)
                if part in parts
                else np.full((len(data), len(design.columns)), np.nan)
                for part, design in (
                    ("mean", model._spec.mean),
                    ("dispersion", model._spec.dispersion),
                )
            )
            given = {**model.new_row_arrays(data, parts), **given}
        rows = prediction.rows_of(model, self._core, which, exog, exog_dispersion, **given)
        if self.boundary is not None:
            rows = prediction.place_at_boundary(rows, self.boundary)
        return rows, labels

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
            - "mean": mu; for binomial-type models the success probability
            - "linear", "linear-dispersion": the linear predictors
            - "dispersion": phi (sigma, alpha)
            - "var", "sd": of the response; of the count for the beta-binomial
            - "prob": P(Y = y_values), count families only, shape (n, len(y_values))
            - "icc": intraclass correlation rho, beta-binomial only
            - "design-effect", "effective-size": 1 + (n - 1) rho and n over it, where n are the
              trials of the row
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
            As the rows came in; NaN where a new row misses a value.
        """
        rows, labels = self._new_rows(which, exog, exog_dispersion, transform, kwargs)
        values = prediction.predict(rows, self._fit.internal, which, y_values)
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
        y_values: Any = None,
        **kwargs: Any,
    ) -> prediction.LocationScalePrediction:
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
            Interval formed on the link scale (logarithm for dispersion, var and sd; logit for icc
            and prob; logit of icc for design effect and effective size) and mapped back, or the
            symmetric one.
        y_values : array_like, optional
            As in `predict`; one count.
        **kwargs
            As in `predict`.

        Returns
        -------
        LocationScalePrediction
            With ``summary_frame(alpha)`` and ``conf_int(alpha=...)``; ``which="mean"`` has
            prediction intervals too where the rows have all that the variance needs.
        """
        rows, labels = self._new_rows(which, exog, exog_dispersion, transform, kwargs)
        observed = None
        if which == "mean" and self.model.core.family.exact:
            try:
                observed, _ = self._new_rows("var", exog, exog_dispersion, transform, kwargs)
                prediction.predict(observed, self._fit.internal, "var")
            except ValueError:
                observed = None  # the new rows say nothing of the dispersion or of the trials
        return prediction.get_prediction(
            rows,
            self._fit.internal,
            self._cov,
            which,
            y_values,
            ci_method,
            self._df_prediction,
            labels if row_labels is None else row_labels,
            observed,
        )

    @property
    def _df_prediction(self) -> float | None:
        """Degrees of freedom of intervals, None for the normal distribution."""
        return getattr(self, "df_resid_inference", self.df_resid) if self.use_t else None

    def design_effect(
        self, exog: Any = None, exog_dispersion: Any = None, **kwargs: Any
    ) -> prediction.LocationScalePrediction:
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
    ) -> prediction.LocationScalePrediction:
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
        rows, _ = self._new_rows("effective-size", exog, exog_dispersion, transform, kwargs)
        predicted, link = prediction.total_effective_size(rows, self._fit.internal, self._cov)
        return prediction.LocationScalePrediction(
            predicted,
            link,
            "effective-size",
            ci_method,
            self._df_prediction,
            ["total"] if row_labels is None else row_labels,
        )

    def get_margeff(self, which: str = "mean", *, variables: Any = None) -> effects.AverageEffects:
        """
        Return average marginal effects on the mean, the dispersion or the variance.

        Parameters
        ----------
        which : str
            "mean", "dispersion", "var", "sd", "icc", "linear" or "linear-dispersion", as in
            `predict`.
        variables : str or list of str, optional
            Variables of the formula; by default all that move ``which``.

        Returns
        -------
        AverageEffects
            Over the rows of the fit, with ``summary_frame()``: of a number the derivative, of a
            factor the difference of each level from the first, all rows given that level. A variable
            of both formulas moves both parts.

        Raises
        ------
        ValueError
            Without a formula, or for a variable that does not move ``which``.
        """
        return effects.average_effects(self, which, variables, False)

    def dispersion_ratios(
        self, which: str = "dispersion", *, variables: Any = None
    ) -> effects.AverageEffects:
        """
        Return how many times larger the dispersion is with another value of a variable.

        Parameters
        ----------
        which : str
            "dispersion", "icc", "var", "sd" or "mean": what the ratios are of.
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
            As in `get_margeff`.
        """
        return effects.average_effects(self, which, variables, True)

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
        rows, _ = self._new_rows("var", exog, exog_dispersion, transform, kwargs)
        return prediction.distribution(rows, self._fit.internal)

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
        return bootstrap.simulate(self._core, self._fit.internal, nsim, rng)

    # -- inference ------------------------------------------------------------------------------

    def bootstrap(
        self,
        nrep: int = 100,
        kind: str = "pairs",
        *,
        groups: Any = None,
        rng: Any = None,
        studentized: bool = False,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> bootstrap.BootstrapResult:
        """
        Refit to resampled data.

        Parameters
        ----------
        nrep : int
            Number of replicates.
        kind : {"pairs", "parametric", "cluster"}
            Rows drawn with replacement; responses drawn from the fitted model; or whole groups
            drawn with replacement.
        groups : array_like, shape (n,), or str, optional
            For "cluster": labels, or the name of a column.
        rng : None, int or numpy.random.Generator
            Source of randomness. Each replicate has a child of this seed of its own, so that the
            results do not depend on the number of jobs or batches.
        studentized : bool
            Whether to compute the standard error of each refit, by the ``cov_type`` of this fit,
            for studentised intervals.
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
    ) -> anova.ConstantDispersionTest:
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
        draws = 999 if test == "bootstrap" else 199
        draws = draws if nrep is None else _arrays.count(nrep, "nrep")
        return anova.compare_constant(self, test, draws, rng, sequential, run)

    def test_overdispersion(
        self, against: str = "constant", *, nrep: int = 199, rng: Any = None
    ) -> overdispersion.OverdispersionTest:
        """
        Test whether there is any dispersion beyond the boundary law: sigma = 0.

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

        Returns
        -------
        OverdispersionTest
            ``score``, ``score_pvalue``, ``statistic``, ``pvalue``, ``alternative``, ``method``.

        Raises
        ------
        ValueError
            For families that have no boundary law.

        References
        ----------
        Tarone, R. E. (1979). Testing the goodness of fit of the binomial distribution. Biometrika
        66, 585-590. Self, S. G. and Liang, K.-Y. (1987). JASA 82, 605-610.
        """
        nrep = _arrays.count(nrep, "nrep")
        return overdispersion.overdispersion(self, against, nrep, rng)

    def boundary_limits(self, alpha: float = 0.05) -> pd.DataFrame:
        """
        Bound the dispersion of the cells at the boundary, which have no Wald interval.

        Parameters
        ----------
        alpha : float
            One minus the coverage of the interval from 0 to the limit.

        Returns
        -------
        DataFrame
            A row for each cell: ``rows``, the estimate 0, and ``upper``, where the profile
            log-likelihood has fallen by half the chi-square quantile (1.92 for alpha = 0.05).

        Raises
        ------
        ValueError
            If nothing is at the boundary.
        """
        if self.boundary is None:
            raise ValueError("no cell of the dispersion is at the boundary; see conf_int")
        model = self.model
        return profile.boundary_limits(
            model.core,
            self._fit,
            model.parameter_names,
            model._dispersion_names,
            _arrays.share(alpha, "alpha"),
        )

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

    def conf_int(self, alpha: float = 0.05, cols: Any = None, method: str = "wald") -> Array:
        """
        Return confidence intervals of the coefficients.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        cols : array_like, optional
            Positions of the coefficients wanted; all by default.
        method : {"wald", "profile"}
            Symmetric in standard errors, or where the profile log-likelihood has fallen by half the
            chi-square quantile (whatever ``cov_type``). A profile takes a dozen fits for each
            coefficient.

        Returns
        -------
        ndarray, shape (p + q, 2)
            NaN where there is no estimate; infinite where the likelihood does not fall that far.

        Raises
        ------
        ValueError
            For an unknown method, or where a profile rises above the fit's log-likelihood.
        """
        alpha = _arrays.share(alpha, "alpha")
        dist = stats.norm
        if self.use_t:
            dist = stats.t(getattr(self, "df_resid_inference", self.df_resid))
        columns = list(range(len(self.params)) if cols is None else np.atleast_1d(cols))
        if method not in ("wald", "profile"):
            raise ValueError(f"method={method!r}: choose 'wald' or 'profile'")
        quantile = dist.isf(alpha / 2)
        if method == "profile":
            model_based = covariance(self._core, self._fit, "nonrobust", {}, False, 0.0).matrix
            half = quantile * np.sqrt(np.diag(model_based))
            return profile.intervals(self._along, columns, half, alpha)
        half = quantile * self.bse
        return np.column_stack([self.params - half, self.params + half])[columns]

    def _along(self, j: int) -> profile.Along:
        """Return the profile of coefficient j."""
        model = self.model
        return profile.Along(model.core, self._fit, model.parameter_names, model.estimable, j)

    def profile(self, name: str, values: Any = None, alpha: float = 0.001) -> profile.Profile:
        """
        Return the log-likelihood along one coefficient, all else maximised.

        Parameters
        ----------
        name : str
            Coefficient, with the prefix ``dispersion-`` for one of the dispersion.
        values : array_like, optional
            Values of the coefficient; by default 21 across the profile interval.
        alpha : float
            One minus the coverage of that interval.

        Returns
        -------
        Profile
            ``values``, ``profile`` (log-likelihoods) and ``root``, the signed root of the ratio.
        """
        names = self.model.parameter_names
        if name not in names:
            raise ValueError(f"name={name!r}: choose one of {listed(names)}")
        j = names.index(name)
        if not self._fit.estimated[j]:
            raise ValueError(f"{name}: aliased or at the boundary, so it has no profile")
        along = self._along(j)
        if values is None:
            ends = self.conf_int(alpha, [j], "profile")[0]
            wald = self.conf_int(alpha, [j])[0]
            low, high = np.where(np.isfinite(ends), ends, wald)
            values = np.linspace(low, high, 21)
        values = np.sort(_arrays.numeric(values, "values"))
        along.out_to(values[values >= along.estimate])
        along.out_to(values[values < along.estimate][::-1])
        return along.trace


class LocationScaleResultsWrapper(LikelihoodResultsWrapper):
    """Results with pandas labels where the data had them."""

    _attrs = {  # noqa: RUF012 - the form statsmodels' wrappers have
        **LikelihoodResultsWrapper._attrs,
        "fitted_dispersion": "rows",
        "resid_pearson": "rows",
        "resid_deviance": "rows",
    }
    _wrap_attrs = _attrs
    _methods = {"cov_params": "cov"}  # noqa: RUF012
    _wrap_methods = _methods

    def conf_int(self, alpha: float = 0.05, cols: Any = None, method: str = "wald") -> Any:
        """
        Return confidence intervals of the coefficients, with labels where the data had them.

        Parameters
        ----------
        alpha : float
            As in `LocationScaleResults.conf_int`.
        cols : array_like, optional
            As in `LocationScaleResults.conf_int`.
        method : {"wald", "profile"}
            As in `LocationScaleResults.conf_int`.

        Returns
        -------
        DataFrame or ndarray, shape (p + q, 2)
        """
        table = self._results.conf_int(alpha, cols, method)
        if not isinstance(self.params, pd.Series):
            return table
        return pd.DataFrame(table, index=self.params.index[slice(None) if cols is None else cols])


wrap.populate_wrapper(LocationScaleResultsWrapper, LocationScaleResults)


def _as_rows(data: Any) -> pd.DataFrame:
    """Return new data as a DataFrame; a Series is one row."""
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return data.to_frame().T.infer_objects()
    if hasattr(data, "to_pandas"):
        return data.to_pandas()
    try:
        return pd.DataFrame(data)
    except ValueError as exc:
        raise ValueError(
            f"exog: after a formula fit give a DataFrame of its variables ({exc}), or transform=False"
        ) from exc
