"""Methods of results on inference: each one documents, checks what it is asked and hands over."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from statsmodels.base.model import GenericLikelihoodModelResults
from statsmodels.stats.contrast import WaldTestResults

from hetglm.design import formula
from hetglm.inference import bootstrap_intervals, profile, score, variance_component, wald
from hetglm.inference.score import SCORE_TYPES
from hetglm.inference.test_results import PairwiseComparisons
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.parallel import Run


class InferenceMethods(GenericLikelihoodModelResults):
    """Tests and confidence intervals of the coefficients; aliased ones are left out."""

    #: Functions that compute the intervals of coefficients, by method.
    interval_methods: ClassVar[dict[str, Any]] = {
        "wald": wald.intervals,
        "profile": profile.intervals,
        "bootstrap": bootstrap_intervals.of_coefficients,
    }

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
            Linear combinations, one in each row.
        column : int, str or list of them, optional
            Positions or names of coefficients, without r_matrix and other. A single one gives its
            variance as a number.
        scale : float, optional
            As in statsmodels.
        cov_p : array_like, optional
            Covariance to use instead.
        other : array_like, optional
            Linear combinations whose covariance with r_matrix to return.

        Returns
        -------
        ndarray
            NaN in the rows and columns of aliased coefficients; linear combinations must not involve
            these.
        """
        if column is not None:
            if r_matrix is not None or other is not None:
                raise ValueError("column: give it on its own, without r_matrix and other")
            chosen = checks.positions(column, self.model.parameter_names, "column")
            matrix = super().cov_params(None, None, scale, cov_p, None)[np.ix_(chosen, chosen)]
            return matrix[0, 0] if np.ndim(column) == 0 else matrix
        if r_matrix is None:
            return super().cov_params(None, None, scale, cov_p, other)
        wald.refuse_aliased(self, r_matrix)
        cov_p = self.cov_params_default if cov_p is None else cov_p
        return super().cov_params(r_matrix, None, scale, wald.without_aliased(self, cov_p), other)

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
        return wald.t_test(self, r_matrix, cov_p, use_t)

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
            With NaN where a robust covariance is not positive definite.

        Raises
        ------
        ValueError
            As in `t_test`, or if there are too few clusters for the number of restrictions.
        """
        return wald.wald_test(self, r_matrix, *args, **kwargs)

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
            A row for each term; terms of the dispersion begin with ``dispersion-``. NaN where a
            coefficient is at the boundary or the covariance is not positive definite.
        """
        return wald.wald_test_terms(self, skip_single, extra_constraints, combine_terms, scalar)

    def t_test_pairwise(
        self,
        term_name: str,
        method: str | list[str] = "hs",
        alpha: float = 0.05,
        factor_labels: list[str] | None = None,
    ) -> PairwiseComparisons:
        """
        Test all pairwise differences of the levels of a factor, corrected for multiple testing.

        Parameters
        ----------
        term_name : str
            Term of the formula, with prefix ``dispersion-`` for a term of the dispersion.
        method : str or list of str
            Corrections, as in statsmodels.
        alpha : float
            Level of the corrected tests.
        factor_labels : list of str, optional
            Names of the levels.

        Returns
        -------
        PairwiseComparisons
            A MultiCompResult, with ``result_frame`` and ``contrasts``. Differences that are not
            estimable are NaN, with a `NotEstimableWarning`, and do not count in the corrections.

        Raises
        ------
        ValueError
            Without a formula, or for a term that is not a single factor.
        """
        return wald.t_test_pairwise(self, term_name, method, alpha, factor_labels)

    def score_test(
        self,
        exog_extra: Any = None,
        *,
        cov_type: str | None = None,
        cov_kwds: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Score test of adding columns to either part, without fitting the larger model.

        Parameters
        ----------
        exog_extra : array_like, str or tuple of two
            Columns for the mean, or a tuple (mean columns, dispersion columns) with None for an empty
            part; on the rows of the fit or of the data passed in. After a formula fit also names of
            columns or a formula, ``(None, "~ z + C(group)")``; terms of the model are left out.
        cov_type : {"nonrobust", "eim", "HC0", "cluster"}, optional
            Covariance type of the scores, by default as in the fit.
        cov_kwds : dict, optional
            For "cluster": ``groups`` (and ``use_correction``, ``scaling_factor`` of the covariance of
            the scores), by default as in the fit.
        **kwargs
            As in statsmodels' score test, which computes the tests of the first three types.

        Returns
        -------
        tuple or ScoreTestResult
            Statistic, p-value (and degrees of freedom), as in the installed statsmodels.

        Raises
        ------
        ValueError
            If there are no columns, if they have missing values or are linearly dependent, if there are
            more columns than clusters, for another type of covariance, or after REML.
        TypeError
            For an argument of statsmodels' test that the robust test does not take.
        """
        by = self.fit.criterion
        if not by.by_rows:
            raise ValueError(
                f"score_test: the score of the likelihood is not zero at a fit by {by.name}; fit by "
                "maximum likelihood"
            )
        cov_type = self.cov_type if cov_type is None else cov_type
        if cov_type not in SCORE_TYPES:
            raise ValueError(f"cov_type={cov_type!r}: score tests take {', '.join(SCORE_TYPES)}")
        env = formula.environment(0)
        return score.score_test(self, exog_extra, cov_type, cov_kwds, env, kwargs)

    def test_random_effect(
        self,
        groups: Any,
        exog: Any = None,
        part: str = "mean",
        *,
        nrep: int = 199,
        rng: Any = None,
        sequential: int | None = None,
        n_jobs: int | None = None,
        progress: bool | None = None,
        checkpoint: Any = None,
        batch_size: int | None = None,
    ) -> variance_component.RandomEffectTest:
        """
        Score test for a variance component: whether ``(1 | groups)`` belongs in a part of the model.

        Needs neither the fit of a model with random effects nor a refit. The statistic is the score of
        the variance at 0 in the marginal likelihood, of which the terms of pairs of rows are kept
        (Jacqmin-Gadda and Commenges 1995): the sum of x_i s_i x_j s_j over the pairs of rows of each
        group, with the scores s = dl/deta or dl/dzeta adjusted for the estimation of the coefficients.
        Overdispersion or heavy tails of single rows do not move it. One-sided, since a variance is not
        negative (Verbeke and Molenberghs 2003). P is from data drawn from the fit, because with few
        groups the statistic is far from normal.

        Rows that share a deviation of their mean share a large residual: test the dispersion in a fit
        whose mean has a coefficient for each group, ``C(groups)``, where the mean's test is significant.

        Parameters
        ----------
        groups : array_like, shape (n,), or str
            Labels, or name of a column of the data.
        exog : array_like, shape (n,), or str, optional
            Variable whose slope varies between groups, ``(0 + exog | groups)``; by default the
            intercept varies.
        part : {"mean", "dispersion"}
            Linear predictor that the random effect is in.
        nrep : int
            Number of draws.
        rng : None, int or numpy.random.Generator
            Source of randomness.
        sequential : int, optional
            Stop after this many draws with a score at least as large as the observed one.
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
        RandomEffectTest
            ``statistic``, ``pvalue`` with its ``mc_error``, ``sd`` (a rough estimate of the standard
            deviation of the random effect), ``term``, ``part``, ``n_groups`` and ``draws``. The
            ``cov_type`` of the fit has no part in it.

        Raises
        ------
        ValueError
            If every group is a single row, if the part has a fixed coefficient for each group, if all
            dispersions are at the boundary, or if an argument is out of range.
        NotImplementedError
            For extended quasi-likelihood families, which have no marginal likelihood.

        References
        ----------
        Jacqmin-Gadda, H. and Commenges, D. (1995). Tests of homogeneity for generalized linear models.
        JASA 90, 1237-1246. Lin, X. (1997). Variance component testing in generalised linear models with
        random effects. Biometrika 84, 309-326. Verbeke, G. and Molenberghs, G. (2003). The use of score
        tests for inference on variance components. Biometrics 59, 254-262.

        Examples
        --------
        Do genes differ in their dispersion, beyond group and treatment?

        >>> import hetglm.api as het
        >>> import hetglm.formula.api as hmf
        >>> data = het.datasets.load_splicing()
        >>> data = data[data["treatment"] == "t.1"].groupby("id").head(8)
        >>> res = hmf.betabinomial("K + I(N - K) ~ C(id) | group", data).fit()
        >>> print(res.test_random_effect("id", part="dispersion", rng=0))
        Score test of (1 | id) in the dispersion, H0: its variance is 0: score
        z = 57.1, P = 0.005 +/- 0.005 (199 draws from the fit)
        Estimate of its standard deviation 1.99, 40 groups.
        """
        run = Run(n_jobs, progress, checkpoint, batch_size)
        checks.draws(nrep, rng, sequential)
        return variance_component.random_effect(
            self, groups, exog, part, nrep, rng, sequential, run
        )

    def conf_int(
        self, alpha: float = 0.05, cols: Any = None, method: str = "wald", **kwargs: Any
    ) -> Array:
        """
        Return confidence intervals of the coefficients.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        cols : array_like, optional
            Positions or names of coefficients; all by default.
        method : {"wald", "profile", "bootstrap"}
            "wald": estimate -/+ quantile times standard error. "profile": values at which the profile
            log-likelihood is below its maximum by half the chi-square quantile (ignores
            ``cov_type``); takes a dozen fits for each coefficient. "bootstrap": percentiles of refits
            to resampled data, corrected for bias and skewness (BCa), because maximum likelihood
            estimates of the dispersion are too small and uncorrected percentiles double this bias.
        **kwargs
            For "bootstrap" only: ``nrep`` (999 by default), ``kind``, ``groups``, ``rng``,
            ``n_jobs``, ``progress``, ``checkpoint``, ``batch_size``, as in `bootstrap`. After a fit
            with ``cov_type="cluster"`` its groups are drawn. The result of `bootstrap` has other kinds
            of intervals.

        Returns
        -------
        ndarray, shape (p + q, 2)
            NaN where there is no estimate; infinite where the profile does not decrease that far, or
            where too many replicates are not finite.

        Raises
        ------
        ValueError
            For an unknown method or column, an argument out of range, or if a profile exceeds the
            fit's log-likelihood.
        NotImplementedError
            For ``kind="parametric"`` with extended quasi-likelihood families.

        References
        ----------
        Efron, B. (1987). Better bootstrap confidence intervals. JASA 82, 171-185.
        """
        alpha = checks.share(alpha, "alpha")
        columns = checks.positions(cols, self.model.parameter_names)
        if method not in self.interval_methods:
            raise ValueError(f"method={method!r}: choose 'wald', 'profile' or 'bootstrap'")
        if kwargs and method != "bootstrap":
            raise TypeError(f"conf_int: {min(kwargs)!r} is for method='bootstrap' only")
        return self.interval_methods[method](self, columns, alpha, **kwargs)

    def profile(self, name: str, values: Any = None, alpha: float = 0.001) -> profile.Profile:
        """
        Return the profile log-likelihood of one coefficient, maximised over all others.

        Parameters
        ----------
        name : str
            Coefficient, with prefix ``dispersion-`` for a coefficient of the dispersion.
        values : array_like, optional
            Values of the coefficient; by default 21 across the profile interval.
        alpha : float
            One minus the coverage of the profile interval.

        Returns
        -------
        Profile
            ``values``, ``profile`` (log-likelihoods) and ``root``, the signed root of the
            likelihood ratio.
        """
        return profile.profile(self, name, values, alpha)

    def plot_profile(self, name: str, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Plot the profile log-likelihood of a coefficient with its interval.

        Parameters
        ----------
        name : str
            As in `profile`.
        alpha : float
            One minus the coverage.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            See the ``plot`` method of `profile`'s result.

        Raises
        ------
        ValueError
            As in `profile`.
        """
        alpha = checks.share(alpha, "alpha")
        found = self.profile(name, alpha=min(alpha / 10, 0.001))
        column = self.model.parameter_names.index(name)
        return profile.plot_with_interval(
            found, self.interval_methods["profile"](self, [column], alpha)[0], alpha, ax
        )

    def boundary_limits(self, alpha: float = 0.05) -> pd.DataFrame:
        """
        Return upper limits of the dispersion in cells at the boundary, which have no Wald interval.

        Parameters
        ----------
        alpha : float
            One minus the coverage of the interval from 0 to the limit.

        Returns
        -------
        DataFrame
            A row for each cell: ``rows``, the estimate 0, and ``upper``, at which the profile
            log-likelihood is below its maximum by half the chi-square quantile (1.92 for alpha =
            0.05).

        Raises
        ------
        ValueError
            If no cell is at the boundary.
        """
        if self.boundary is None:
            raise ValueError("no cell of the dispersion is at the boundary; see conf_int")
        model = self.model
        return profile.boundary_limits(
            model.core,
            self.fit,
            model.parameter_names,
            model.dispersion_names,
            checks.share(alpha, "alpha"),
        )
