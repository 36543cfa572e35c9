"""Tests and intervals of coefficients: the methods of results that hand to `terms` and `profile`."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.base._parameter_inference import score_test
from statsmodels.base.model import GenericLikelihoodModelResults
from statsmodels.stats.contrast import WaldTestResults, t_test_multi

from hetglm.design import formula, syntax
from hetglm.estimation.covariance import (
    covariance,
    covariance_type,
    is_definite,
    refuse_other_arguments,
    type_of,
)
from hetglm.estimation.record import of_results
from hetglm.exceptions import NotEstimableWarning
from hetglm.inference import profile
from hetglm.inference.hypotheses import NOTHING_TO_TEST
from hetglm.inference.score import SCORE_TYPES, extra_columns, robust_score
from hetglm.inference.test_results import LinearTests, PairwiseComparisons, TermTests, score_tested
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import listed, warn


class InferenceMethods(GenericLikelihoodModelResults):
    """Tests and intervals of results, in which aliased coefficients stay out."""

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
        column : int, str or list of them, optional
            Positions or names of the coefficients wanted; used on its own. A single one gives its
            variance as a number.
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
        if column is not None:
            if r_matrix is not None or other is not None:
                raise ValueError("column: give it on its own, without r_matrix and other")
            chosen = checks.positions(column, self.model.parameter_names, "column")
            matrix = super().cov_params(None, None, scale, cov_p, None)[np.ix_(chosen, chosen)]
            return matrix[0, 0] if np.ndim(column) == 0 else matrix
        if r_matrix is None:
            return super().cov_params(None, None, scale, cov_p, other)
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
        test = super(InferenceMethods, self._without_nan()).t_test(r_matrix, cov_p, use_t)
        test.__class__ = LinearTests  # the same numbers, with a display
        return test

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
            As in `t_test`, and if a robust covariance is of too few groups for the restrictions.
        """
        r_matrix = self._restrictions(r_matrix)
        kwargs.setdefault("scalar", True)
        # of the covariance of the fit only: another one is the caller's
        own = not (args or {"cov_p", "invcov"} & kwargs.keys())
        exists = not own or self._has_wald_test(r_matrix)
        test = super(InferenceMethods, self._without_nan()).wald_test(r_matrix, *args, **kwargs)
        if not exists:
            for name in {"statistic", "pvalue", "fvalue", "tvalue"} & vars(test).keys():
                setattr(test, name, getattr(test, name) * np.nan)
        test.__class__ = LinearTests
        return test

    def _has_wald_test(self, r_matrix: Any) -> bool:
        """Return whether restrictions have a positive definite covariance."""
        if type_of(self).model_based or (known := inverse(self.fit.information)) is None:
            return True
        coefs = r_matrix[0] if isinstance(r_matrix, tuple) else r_matrix
        R, solved = np.atleast_2d(np.asarray(coefs, dtype=float)), self.fit.solved
        unit = R[:, solved] @ known @ R[:, solved].T
        cov = R @ self._zeroed(self.cov_params_default) @ R.T
        return is_definite(cov, unit, self.cov_type, self.cov_kwds.get("groups"))

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
            With one row for each term; those of the dispersion begin with ``dispersion-``. NaN where a
            coefficient is at the boundary, or the covariance not positive definite.
        """
        identity = np.eye(len(self.params))
        terms = {
            name: [j for j in columns if self.model.estimable[j]]
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
        tests = [(name, self._term_test(matrix, scalar)) for name, matrix in rows]
        tests += [(name, self._wald_row(m, scalar)) for name, m in extra_constraints or []]
        columns = ["statistic", "pvalue", "df_constraint", "df_denom"][: 4 if self.use_t else 3]
        table = pd.DataFrame([t for _, t in tests], index=[n for n, _ in tests], columns=columns)
        return TermTests(None, "F" if self.use_t else "chi2", None, table=table)

    def _term_test(self, matrix: Array, scalar: bool) -> tuple[Any, ...]:
        """Return the row of a term: without a test where a coefficient is at the boundary."""
        if np.any(matrix[:, ~self.fit.estimated]):
            denominator = getattr(self, "df_resid_inference", self.df_resid)
            return (np.nan, np.nan, len(matrix), denominator)[: 4 if self.use_t else 3]
        return self._wald_row(matrix, scalar)

    def _wald_row(self, matrix: Any, scalar: bool) -> tuple[Any, ...]:
        """Return statistic, P and degrees of freedom of a Wald test."""
        test = self.wald_test(matrix, scalar=scalar)
        if self.use_t:
            return test.statistic, test.pvalue, int(test.df_num), test.df_denom
        return test.statistic, test.pvalue, int(test.df_denom)

    def t_test_pairwise(
        self,
        term_name: str,
        method: str | list[str] = "hs",
        alpha: float = 0.05,
        factor_labels: list[str] | None = None,
    ) -> PairwiseComparisons:
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
        PairwiseComparisons
            A MultiCompResult, with ``result_frame`` and ``contrasts``. A pair that the data do not
            determine is NaN, with a `NotEstimableWarning`, and the corrections are for the others.

        Raises
        ------
        ValueError
            Without a formula, or for a term that is not a single factor.
        """
        spec = self.model.spec
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
        table = self._multiple_tests(contrasts, method, alpha, labels, term_name)
        return PairwiseComparisons(
            result_frame=table,
            contrasts=contrasts,
            term=term_name,
            contrast_labels=labels,
            term_encoding_matrix=coding,
        )

    def _multiple_tests(
        self, contrasts: Array, method: Any, alpha: float, labels: list[str], term: str
    ) -> pd.DataFrame:
        """Return the table of contrasts, NaN where they are not estimable."""
        exist = self._estimable_contrasts(contrasts)
        if not exist.all():
            gone = [label for label, there in zip(labels, exist, strict=True) if not there]
            warn(
                f"{term}: {listed(gone)} not estimable, NaN: the data of the fit do not determine "
                "these differences",
                NotEstimableWarning,
            )
        if not exist.any():
            raise ValueError(f"{term}: no difference of two levels is estimable")
        names = [label for label, there in zip(labels, exist, strict=True) if there]
        # the fit has aliased coefficients at 0, so that estimable combinations need none of them
        used = np.where(self.fit.estimated, contrasts[exist], 0.0)
        table = t_test_multi(self, used, method, alpha, contrast_names=names)
        return table if exist.all() else table.reindex(labels)

    def _estimable_contrasts(self, contrasts: Array) -> Array:
        """Return which combinations of all coefficients the data determine, shape (m,)."""
        k = len(self.model.mean_names)
        parts = {"mean": contrasts[:, :k], "dispersion": contrasts[:, k:]}
        at_boundary = self.model.estimable & ~self.fit.estimated
        exist = ~np.any(contrasts[:, at_boundary] != 0, axis=1)
        for part, space in self.model.row_spaces.items():
            exist &= ~space.outside(parts[part]).any(axis=1)
        return exist

    def _restrictions(self, r_matrix: Any) -> Any:
        """Return restrictions as an array, with column names read from strings."""
        if isinstance(r_matrix, str):
            r_matrix = syntax.linear_constraint(r_matrix, self.model.parameter_names)
        coefs = r_matrix[0] if isinstance(r_matrix, tuple) else r_matrix
        self._refuse_aliased(coefs)
        return r_matrix

    def _refuse_aliased(self, r_matrix: Any) -> None:
        used = np.any(np.atleast_2d(np.asarray(r_matrix, dtype=float)) != 0, axis=0)
        if used.shape != self.fit.estimated.shape:
            raise ValueError(
                f"r_matrix: {used.size} columns, but there are {len(self.params)} coefficients"
            )
        bad = used & ~self.fit.estimated
        if bad.any():
            names = [n for n, b in zip(self.model.parameter_names, bad, strict=True) if b]
            raise ValueError(
                f"{listed(names)}: aliased or at the boundary, so there is nothing to test; see the "
                "summary"
            )

    def _zeroed(self, cov: Any) -> Array:
        """Return a covariance with zeros for aliased coefficients."""
        out = np.array(cov, dtype=float)
        out[~self.fit.estimated] = 0.0
        out[:, ~self.fit.estimated] = 0.0
        return out

    def _without_nan(self) -> Any:
        """Return a view on the results in which aliased coefficients are zero."""
        view = copy.copy(self)
        view.params = np.where(self.fit.estimated, self.params, 0.0)
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
        exog_extra : array_like, str or tuple of two
            Columns for the mean, or (for the mean, for the dispersion), None for neither; on the rows
            of the fit or of the data passed in. After a formula fit names of columns or a formula,
            ``(None, "~ z + C(group)")``, of which the terms that the model has stay out.
        cov_type : {"nonrobust", "eim", "HC0", "cluster"}, optional
            Covariance of the scores; that of the fit by default.
        cov_kwds : dict, optional
            ``groups`` of "cluster" (and ``use_correction``, ``scaling_factor``: that of the
            covariance of the scores), those of the fit by default.
        **kwargs
            As in statsmodels' score test, which the first three are.

        Returns
        -------
        tuple or ScoreTestResult
            Statistic, p-value (and degrees of freedom), as the installed statsmodels has it.

        Raises
        ------
        ValueError
            For no columns, columns that are missing somewhere or depend on the model's own or on each
            other, more columns than groups can test, another type of covariance, or after REML.
        TypeError
            For an argument of statsmodels' test that a robust one does not take.
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
        n = of_results(self).core.n
        further = self._further(exog_extra, formula.environment(0))
        view = self._solved_alone()
        extra = extra_columns(further, view.model.core)
        refuse_other_arguments(covariance_type(cov_type), cov_kwds or {})
        by_rows = cov_type == "HC0" and self.model.core.freq is not None  # statsmodels squares them
        if cov_type != "cluster" and not by_rows:
            kwargs.setdefault("observed", cov_type != "eim")
            kwargs["cov_type"] = "HC0" if cov_type == "HC0" else "nonrobust"
            try:
                return score_tested(score_test(view, exog_extra=extra, **kwargs))
            except np.linalg.LinAlgError as exc:
                raise ValueError(NOTHING_TO_TEST) from exc
        if kwargs:
            raise TypeError(f"score_test: cov_type={cov_type!r} does not take {min(kwargs)!r}")
        kwds = {} if by_rows else dict(self.cov_kwds if cov_kwds is None else cov_kwds)
        if not by_rows and kwds.get("groups") is None:
            raise ValueError("cov_kwds: cov_type='cluster' needs 'groups'")
        kwds |= self.model.row_kwds({"groups": kwds.get("groups")})
        mean, dispersion = (np.empty((n, 0)) if e is None else e for e in extra)
        try:
            test = robust_score(view.model.core, view.params, mean, dispersion, kwds)
        except np.linalg.LinAlgError as exc:
            raise ValueError(NOTHING_TO_TEST) from exc
        return score_tested((test.statistic, test.pvalue, test.df))

    def _further(self, exog_extra: Any, env: Any) -> tuple[Any, Any]:
        """Return the columns of a score test for either part on the rows of the fit, None for none."""
        given = exog_extra if isinstance(exog_extra, tuple) else (exog_extra, None)
        if len(given) != 2:
            raise ValueError(
                f"exog_extra: {len(given)} parts; give columns, or (for the mean, for the dispersion)"
            )
        if all(part is None for part in given):
            raise ValueError("exog_extra: give columns, (for the mean, for the dispersion)")
        named = [part if _are_names(part) else None for part in given]
        made = (None, None) if named == [None, None] else self.model.further_columns(*named, env)
        mean, dispersion = (
            columns if part is None or columns is not None else self.model.rows_of_fit(part)
            for part, columns in zip(given, made, strict=True)
        )
        return mean, dispersion

    def _solved_alone(self) -> Any:
        """Return a view on the results with the columns that were searched for, and no others."""
        core, solved = self.core, self.fit.solved
        view = copy.copy(self)
        view.model = copy.copy(self.model)
        k = core.k_mean
        view.model.core = core.with_designs(X=core.X[:, solved[:k]], Z=core.Z[:, solved[k:]])
        view.params = self.fit.internal[solved]
        return view

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
            Positions or names of the coefficients wanted; all by default.
        method : {"wald", "profile", "bootstrap"}
            Symmetric in standard errors, or where the profile log-likelihood has fallen by half the
            chi-square quantile (whatever ``cov_type``). A profile takes a dozen fits for each
            coefficient. Or percentiles of refits to resampled data, corrected for bias and skewness
            (BCa): a maximum likelihood estimate of the dispersion is too low, and so are the plain
            percentiles, twice.
        **kwargs
            For "bootstrap" only: ``nrep`` (999 by default), ``kind``, ``groups``, ``rng``,
            ``n_jobs``, ``progress``, ``checkpoint``, ``batch_size``, as in `bootstrap` (which draws the
            groups of a fit with ``cov_type="cluster"``), whose result has the other kinds of
            intervals.

        Returns
        -------
        ndarray, shape (p + q, 2)
            NaN where there is no estimate; infinite where the likelihood does not fall that far, or
            too many replicates have no finite estimate.

        Raises
        ------
        ValueError
            For an unknown method or column, an argument out of range, or where a profile rises above
            the fit's log-likelihood.
        NotImplementedError
            For ``kind="parametric"`` with extended quasi-likelihood families.

        References
        ----------
        Efron, B. (1987). Better bootstrap confidence intervals. JASA 82, 171-185.
        """
        alpha = checks.share(alpha, "alpha")
        columns = checks.positions(cols, self.model.parameter_names)
        if method not in ("wald", "profile", "bootstrap"):
            raise ValueError(f"method={method!r}: choose 'wald', 'profile' or 'bootstrap'")
        if method == "bootstrap":
            replicates = self.bootstrap(**{"nrep": 999, **kwargs})
            return replicates.conf_int(alpha, "bca")[columns]
        if kwargs:
            raise TypeError(f"conf_int: {min(kwargs)!r} is for method='bootstrap' only")
        if method == "profile":
            return self._profile_intervals(columns, alpha)
        half = self._half_width(alpha) * self.bse
        return np.column_stack([self.params - half, self.params + half])[columns]

    def _half_width(self, alpha: float) -> float:
        """Return the quantile of Wald intervals."""
        dist = stats.norm
        if self.use_t:
            dist = stats.t(getattr(self, "df_resid_inference", self.df_resid))
        return float(dist.isf(alpha / 2))

    def _profile_intervals(self, columns: list[int], alpha: float) -> Array:
        """Return profile-likelihood intervals of some coefficients."""
        model_based = covariance(self.core, self.fit, "nonrobust", {}, False, 0.0).matrix
        half = self._half_width(alpha) * np.sqrt(np.diag(model_based))
        return profile.intervals(self._along, columns, half, alpha)

    def _along(self, j: int) -> profile.Along:
        """Return the profile of coefficient j."""
        of = of_results(self)
        return profile.Along(of.core, of.fit, of.names, of.estimable, j)

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
        if not self.fit.estimated[j]:
            raise ValueError(f"{name}: aliased or at the boundary, so it has no profile")
        along = self._along(j)
        if values is None:
            ends = self.conf_int(alpha, [j], "profile")[0]
            wald = self.conf_int(alpha, [j])[0]
            low, high = np.where(np.isfinite(ends), ends, wald)
            values = np.linspace(low, high, 21)
        values = np.sort(checks.finite_values(values, "values"))
        along.out_to(values[values >= along.estimate])
        along.out_to(values[values < along.estimate][::-1])
        return along.trace

    def plot_profile(self, name: str, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Draw the profile log-likelihood of a coefficient with its interval.

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
            Of ``profile(name)``; see its ``plot``.

        Raises
        ------
        ValueError
            As in `profile`.
        """
        alpha = checks.share(alpha, "alpha")
        trace = self.profile(name, alpha=min(alpha / 10, 0.001))
        column = self.model.parameter_names.index(name)
        return profile.picture(trace, self._profile_intervals([column], alpha)[0], alpha, ax)

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
            self.fit,
            model.parameter_names,
            model.dispersion_names,
            checks.share(alpha, "alpha"),
        )


def _are_names(value: Any) -> bool:
    """Return whether columns are given by their names or by a formula."""
    several = isinstance(value, list) and len(value) > 0
    return isinstance(value, str) or (several and all(isinstance(v, str) for v in value))
