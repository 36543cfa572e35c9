"""Wald tests of linear hypotheses, of terms and of pairs of levels; aliased coefficients stay out."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.base.model import GenericLikelihoodModelResults
from statsmodels.stats.contrast import WaldTestResults, t_test_multi

from hetglm.design import syntax
from hetglm.design.design import Design
from hetglm.estimation.covariance import is_definite, type_of
from hetglm.exceptions import NotEstimableWarning
from hetglm.inference.hypotheses import NOTHING, Hypothesis, Outcome
from hetglm.inference.likelihood_ratio import Submodels
from hetglm.inference.test_results import LinearTests, PairwiseComparisons, TermTests
from hetglm.typing import Array
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import listed, warn


def wald(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the Wald test of a term in the larger model, with the covariance type of the fit."""
    kept = np.setdiff1d(np.arange(len(res.params)), hypothesis.absent)
    if hypothesis.absent:
        big, larger = submodels.without(hypothesis.absent)
        res = type(res)(big, larger, [], res.cov_type, robust_kwds(res), res.use_t)
    of_coefficients = kept[: len(res.model.estimable)]
    tested = np.flatnonzero(np.isin(of_coefficients, hypothesis.term.columns) & res.model.estimable)
    if len(tested) == 0:
        return NOTHING
    if not np.all(res.fit.estimated[tested]):  # at the boundary: no estimate, no standard error
        return Outcome(len(tested), np.nan, np.nan)
    test = res.wald_test(np.eye(len(res.params))[tested])
    return Outcome(len(tested), float(test.statistic), float(test.pvalue))


def robust_kwds(res: Any) -> dict[str, Any]:
    """Return the arguments of a fit's robust covariance."""
    return {name: res.cov_kwds[name] for name in type_of(res).arguments if name in res.cov_kwds}


# Linear hypotheses ---------------------------------------------------------------------------------


def t_test(res: Any, r_matrix: Any, cov_p: Any, use_t: bool | None) -> LinearTests:
    """Return the test of each linear hypothesis, given as an array, a tuple or text."""
    restrictions = read_restrictions(res, r_matrix)
    test = GenericLikelihoodModelResults.t_test(_without_nan(res), restrictions, cov_p, use_t)
    test.__class__ = LinearTests  # the same numbers, with a display
    return test


def wald_test(res: Any, r_matrix: Any, *args: Any, **kwargs: Any) -> LinearTests:
    """Return the joint test of linear hypotheses, NaN where their covariance is not definite."""
    restrictions = read_restrictions(res, r_matrix)
    kwargs.setdefault("scalar", True)
    # of the covariance of the fit only: another one is the caller's
    own = not (args or {"cov_p", "invcov"} & kwargs.keys())
    exists = not own or _is_testable(res, restrictions)
    view = _without_nan(res)
    test = GenericLikelihoodModelResults.wald_test(view, restrictions, *args, **kwargs)
    if not exists:
        for name in {"statistic", "pvalue", "fvalue", "tvalue"} & vars(test).keys():
            setattr(test, name, getattr(test, name) * np.nan)
    test.__class__ = LinearTests
    return test


def _is_testable(res: Any, restrictions: Any) -> bool:
    """Return whether restrictions have a positive definite covariance."""
    if type_of(res).model_based or (known := inverse(res.fit.information)) is None:
        return True
    coefs = restrictions[0] if isinstance(restrictions, tuple) else restrictions
    R, solved = np.atleast_2d(np.asarray(coefs, dtype=float)), res.fit.solved
    unit = R[:, solved] @ known @ R[:, solved].T
    cov = R @ without_aliased(res, res.cov_params_default) @ R.T
    return is_definite(cov, unit, res.cov_type, res.cov_kwds.get("groups"))


def read_restrictions(res: Any, r_matrix: Any) -> Any:
    """Return restrictions as an array, with column names read from strings."""
    if isinstance(r_matrix, str):
        r_matrix = syntax.linear_constraint(r_matrix, res.model.parameter_names)
    refuse_aliased(res, r_matrix[0] if isinstance(r_matrix, tuple) else r_matrix)
    return r_matrix


def refuse_aliased(res: Any, r_matrix: Any) -> None:
    """Raise a ValueError if combinations give weight to a coefficient that has no estimate."""
    used = np.any(np.atleast_2d(np.asarray(r_matrix, dtype=float)) != 0, axis=0)
    if used.shape != res.fit.interior.shape:
        raise ValueError(
            f"r_matrix: {used.size} columns, but there are {len(res.params)} coefficients"
        )
    bad = used & ~res.fit.interior
    if bad.any():
        names = [n for n, b in zip(res.model.parameter_names, bad, strict=True) if b]
        raise ValueError(
            f"{listed(names)}: aliased or at the boundary, so there is nothing to test; see the "
            "summary"
        )


def without_aliased(res: Any, cov: Any) -> Array:
    """Return a covariance with zeros for coefficients that have no estimate."""
    out = np.array(cov, dtype=float)
    out[~res.fit.interior] = 0.0
    out[:, ~res.fit.interior] = 0.0
    return out


def _without_nan(res: Any) -> Any:
    """Return a view on the results in which coefficients that have no estimate are zero."""
    view = copy.copy(res)
    view.params = np.where(res.fit.interior, res.params, 0.0)
    view.cov_params_default = without_aliased(res, res.cov_params_default)
    return view


def intervals(res: Any, columns: list[int], alpha: float) -> Array:
    """Return symmetric intervals of some coefficients, shape (len(columns), 2)."""
    half = half_width(res, alpha) * res.bse
    return np.column_stack([res.params - half, res.params + half])[columns]


def half_width(res: Any, alpha: float) -> float:
    """Return the quantile that standard errors are multiplied by in Wald intervals."""
    df = res.df_prediction
    return float((stats.norm if df is None else stats.t(df)).isf(alpha / 2))


# Terms ---------------------------------------------------------------------------------------------


def wald_test_terms(
    res: Any, skip_single: bool, extra_constraints: Any, combine_terms: Any, scalar: bool
) -> WaldTestResults:
    """Return the tests of all terms; see `InferenceMethods.wald_test_terms`."""
    identity = np.eye(len(res.params))
    terms = {
        name: [j for j in columns if res.model.estimable[j]]
        for name, columns in res.model.terms.items()
    }
    rows = [(n, identity[c]) for n, c in terms.items() if c and not (skip_single and len(c) == 1)]
    for part in combine_terms or []:
        columns = [j for name, c in terms.items() if part in name for j in c]
        if not columns:
            raise ValueError(f"combine_terms: no term has {part!r} in its name")
        rows.append((part, identity[columns]))
    tests = [(name, _term_row(res, matrix, scalar)) for name, matrix in rows]
    tests += [(name, _row(res, matrix, scalar)) for name, matrix in extra_constraints or []]
    names = ["statistic", "pvalue", "df_constraint", "df_denom"][: 4 if res.use_t else 3]
    table = pd.DataFrame([t for _, t in tests], index=[n for n, _ in tests], columns=names)
    return TermTests(None, "F" if res.use_t else "chi2", None, table=table)


def _term_row(res: Any, matrix: Array, scalar: bool) -> tuple[Any, ...]:
    """Return the row of a term: without a test where a coefficient is at the boundary."""
    if np.any(matrix[:, ~res.fit.interior]):
        return (np.nan, np.nan, len(matrix), res.df_prediction)[: 4 if res.use_t else 3]
    return _row(res, matrix, scalar)


def _row(res: Any, matrix: Any, scalar: bool) -> tuple[Any, ...]:
    """Return statistic, P and degrees of freedom of a Wald test."""
    test = res.wald_test(matrix, scalar=scalar)
    if res.use_t:
        return test.statistic, test.pvalue, int(test.df_num), test.df_denom
    return test.statistic, test.pvalue, int(test.df_denom)


# Pairs of levels -----------------------------------------------------------------------------------


def t_test_pairwise(
    res: Any, term: str, method: Any, alpha: float, factor_labels: list[str] | None
) -> PairwiseComparisons:
    """Return the tests of all pairs of levels; see `InferenceMethods.t_test_pairwise`."""
    levels, coding = _design(res, term).coding(term.removeprefix("dispersion-"))
    if factor_labels is not None and len(factor_labels) != len(levels):
        raise ValueError(f"factor_labels: {len(factor_labels)}, but there are {len(levels)} levels")
    names = levels if factor_labels is None else factor_labels
    pairs = list(itertools.combinations(range(len(levels)), 2))
    labels = [f"{names[j]}-{names[i]}" for i, j in pairs]
    contrasts = np.zeros((len(pairs), len(res.params)))
    contrasts[:, res.model.terms[term]] = [coding[j] - coding[i] for i, j in pairs]
    return PairwiseComparisons(
        result_frame=_multiple_tests(res, contrasts, method, alpha, labels, term),
        contrasts=contrasts,
        term=term,
        contrast_labels=labels,
        term_encoding_matrix=coding,
    )


def _design(res: Any, term: str) -> Design:
    """Return the design of the part that a term is of."""
    spec = res.model.spec
    if spec is None:
        raise ValueError("t_test_pairwise: needs the terms of a formula; use t_test")
    return spec.dispersion if term.startswith("dispersion-") else spec.mean


def _multiple_tests(
    res: Any, contrasts: Array, method: Any, alpha: float, labels: list[str], term: str
) -> pd.DataFrame:
    """Return the table of contrasts, NaN where they are not estimable."""
    exist = _estimable(res, contrasts)
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
    used = np.where(res.fit.interior, contrasts[exist], 0.0)
    table = t_test_multi(res, used, method, alpha, contrast_names=names)
    return table if exist.all() else table.reindex(labels)


def _estimable(res: Any, contrasts: Array) -> Array:
    """Return which combinations of all coefficients the data determine, shape (m,)."""
    k, both = res.core.k_mean, len(res.model.estimable)
    parts = {"mean": contrasts[:, :k], "dispersion": contrasts[:, k:both]}
    at_boundary = res.model.estimable & ~res.fit.interior[:both]
    exist = ~np.any(contrasts[:, :both][:, at_boundary] != 0, axis=1)
    for part, space in res.model.row_spaces.items():
        exist &= ~space.outside(parts[part]).any(axis=1)
    return exist
