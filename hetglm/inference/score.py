"""Score tests of terms and of added columns, model-based and robust."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy import stats

from hetglm.design import arrays
from hetglm.estimation.covariance import (
    COVARIANCE_TYPES,
    covariance_type,
    is_definite,
    refuse_other_arguments,
)
from hetglm.estimation.record import need_rows
from hetglm.exceptions import IndefiniteCovarianceWarning
from hetglm.inference.hypotheses import NOTHING, NOTHING_TO_TEST, Hypothesis, Outcome
from hetglm.inference.likelihood_ratio import Submodels
from hetglm.inference.test_results import ScoreTest, ScoreTuple, score_tested
from hetglm.inference.wald import robust_kwds
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils import host
from hetglm.utils.linalg import independent_columns, solve_scaled
from hetglm.utils.messages import listed, naming, require, warn

#: Types of covariance that score tests take.
SCORE_TYPES = tuple(kind.name for kind in COVARIANCE_TYPES if kind.score_test)


def score(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the score test of a term, evaluated at the fit without it."""
    core, columns = res.model.core, hypothesis.term.columns
    small, smaller = submodels.without({*hypothesis.absent, *columns})
    big = submodels.without(hypothesis.absent)[0] if hypothesis.absent else res.model
    df = int(big.estimable.sum() - small.estimable.sum())
    if df == 0:
        return NOTHING
    if hypothesis.term.part == "dispersion" and smaller.boundary is not None:
        # rows fixed at the boundary have no score in log phi: no chi-square, as for the ratio
        return Outcome(df, np.nan, np.nan)
    null = type(res)(small, smaller, [])
    design = np.hstack([core.X, core.Z])[:, [j for j in columns if res.model.estimable[j]]]
    extra = (design, None) if hypothesis.term.part == "mean" else (None, design)
    test = null.score_test(extra, cov_type=res.cov_type, cov_kwds=robust_kwds(res))
    return Outcome(df, *(float(np.squeeze(number)) for number in (test[0], test[1])))


def score_test(
    res: Any,
    exog_extra: Any,
    cov_type: str,
    cov_kwds: dict[str, Any] | None,
    env: Any,
    options: dict[str, Any],
) -> ScoreTest | ScoreTuple:
    """Return the test of further columns for either part; see `InferenceMethods.score_test`."""
    need_rows(res.model.core)
    further = _further(res.model, exog_extra, env)
    view = _searched_alone(res)
    extra = extra_columns(further, view.model.core)
    refuse_other_arguments(covariance_type(cov_type), cov_kwds or {})
    by_rows = cov_type == "HC0" and res.model.core.freq is not None  # statsmodels squares them
    if cov_type != "cluster" and not by_rows:
        options.setdefault("observed", cov_type != "eim")
        options["cov_type"] = "HC0" if cov_type == "HC0" else "nonrobust"
        return score_tested(_invertible(host.score_test, view, exog_extra=extra, **options))
    if options:
        raise TypeError(f"score_test: cov_type={cov_type!r} does not take {min(options)!r}")
    kwds = {} if by_rows else dict(res.cov_kwds if cov_kwds is None else cov_kwds)
    if not by_rows and kwds.get("groups") is None:
        raise ValueError("cov_kwds: cov_type='cluster' needs 'groups'")
    kwds |= res.model.row_kwds({"groups": kwds.get("groups")})
    columns = (np.empty((res.core.n, 0)) if e is None else e for e in extra)
    test = _invertible(robust_score, view.model.core, view.params, *columns, kwds)
    return score_tested((test.statistic, test.pvalue, test.df))


def _invertible(test: Any, *args: Any, **kwargs: Any) -> Any:
    """Return a test, with a ValueError in place of NumPy's where a covariance is singular."""
    try:
        return test(*args, **kwargs)
    except np.linalg.LinAlgError as exc:
        raise ValueError(NOTHING_TO_TEST) from exc


def _further(model: Any, exog_extra: Any, env: Any) -> tuple[Any, Any]:
    """Return the columns for either part on the rows of the fit, None for none."""
    given = exog_extra if isinstance(exog_extra, tuple) else (exog_extra, None)
    if len(given) != 2:
        raise ValueError(
            f"exog_extra: {len(given)} parts; give columns, or (for the mean, for the dispersion)"
        )
    if all(part is None for part in given):
        raise ValueError("exog_extra: give columns, (for the mean, for the dispersion)")
    named = [part if _are_names(part) else None for part in given]
    made = (None, None) if named == [None, None] else model.further_columns(*named, env)
    mean, dispersion = (
        columns if part is None or columns is not None else model.rows_of_fit(part)
        for part, columns in zip(given, made, strict=True)
    )
    return mean, dispersion


def _are_names(value: Any) -> bool:
    """Return whether columns are given by their names or by a formula."""
    several = isinstance(value, list) and len(value) > 0
    return isinstance(value, str) or (several and all(isinstance(v, str) for v in value))


def _searched_alone(res: Any) -> Any:
    """Return a view on the results with the columns that were searched for, and no others."""
    core, solved = res.core, res.fit.solved
    view = copy.copy(res)
    view.model = copy.copy(res.model)
    k = core.k_mean
    view.model.core = core.with_designs(X=core.X[:, solved[:k]], Z=core.Z[:, solved[k:]])
    view.params = res.fit.internal[solved]
    return view


def extra_columns(
    exog_extra: tuple[Any, Any], core: Likelihood
) -> tuple[Array | None, Array | None]:
    """Return the columns that a score test adds to the mean and to the dispersion, validated."""
    if exog_extra[1] is not None and not core.family.has_dispersion:
        raise ValueError(
            f"exog_extra: the {core.family.name} has phi = 1 and no terms of a dispersion to test; use "
            "test_overdispersion(), or fit with offset_dispersion=0, the extended quasi-likelihood "
            "(EQL) with phi = 1, and test them there"
        )
    mean, dispersion = (
        None if part is None else arrays.design(part, core.n, "exog_extra") for part in exog_extra
    )
    for own, part in ((core.X, mean), (core.Z, dispersion)):
        if part is None:
            continue
        with naming(core.names):
            require(~np.isfinite(part).all(axis=1), "exog_extra", "missing or infinite values")
        dependent = ~independent_columns(np.hstack([own, part]))[own.shape[1] :]
        if dependent.any():
            which = listed([str(j) for j in np.flatnonzero(dependent)])
            raise ValueError(
                f"exog_extra: nothing to test in column {which} (counted from 0), which depends "
                "linearly on the columns before it and on the model's own; leave it out"
            )
    return mean, dispersion


def robust_score(
    core: Likelihood,
    params: Array,
    extra_mean: Array,
    extra_dispersion: Array,
    kwds: dict[str, Any],
) -> Outcome:
    """
    Return the robust score test of further columns: scores with their empirical covariance.

    Parameters
    ----------
    core : Likelihood
        Without aliased columns; rows at the boundary are fixed there.
    params : ndarray, shape (p + q,)
        Its maximum.
    extra_mean, extra_dispersion : ndarray, shapes (n, r) and (n, s)
        Columns added to the mean and to the dispersion.
    kwds : dict
        As for the Wald tests' covariance: ``groups``, integers of shape (n,) or (n, 2);
        ``use_correction``, whether to multiply by G/(G - 1) (n - 1)/(n - k); and
        ``scaling_factor``, a further factor. Without groups the scores of single rows, as in
        statsmodels' HC0.

    Raises
    ------
    ValueError
        If there are no more groups than columns.

    References
    ----------
    White, H. (1982). Maximum likelihood estimation of misspecified models. Econometrica 50, 1-25
    (eq. 3.4 and after).
    """
    factors = core.factors(params)
    assert factors.eta is not None and factors.zeta is not None
    wide = core.with_designs(np.hstack([core.X, extra_mean]), np.hstack([core.Z, extra_dispersion]))
    k, p, r = len(params), core.k_mean, extra_mean.shape[1]
    information = -wide.hessian(factors)
    rows = np.hstack([wide.X * factors.eta[:, None], wide.Z * factors.zeta[:, None]])
    new = np.r_[p : p + r, k + r : len(information)].astype(int)
    old = np.setdiff1d(np.arange(len(information)), new)
    nuisance = solve_scaled(information[np.ix_(old, old)], information[np.ix_(old, new)])
    assert nuisance is not None
    # scores adjusted for the estimation of the other coefficients (efficient scores)
    efficient = rows[:, new] - rows[:, old] @ nuisance
    freq = np.ones(len(efficient)) if core.freq is None else core.freq
    groups, reference = kwds.get("groups"), _covariance_by_rows(efficient, freq)
    covariance = (
        reference if groups is None else _covariance_by_groups(efficient, freq.sum(), k, kwds)
    )
    if not is_definite(covariance, reference, "HC0" if groups is None else "cluster", groups):
        warn(
            "score test: the two-way cluster covariance of the scores is not positive definite, so the "
            "test is NaN; cluster by one of the two groups",
            IndefiniteCovarianceWarning,
        )
        return Outcome(len(new), np.nan, np.nan)
    total = efficient.sum(axis=0)
    solved = solve_scaled(covariance, total)
    if solved is None:
        raise np.linalg.LinAlgError("singular")
    statistic = float(total @ solved)
    return Outcome(len(new), statistic, float(stats.chi2.sf(statistic, len(new))))


def _covariance_by_rows(scores: Array, freq: Array) -> Array:
    """Return n times the covariance of row scores; frequency f: f rows with score/f each."""
    n = freq.sum()
    deviations = scores / np.where(freq > 0, freq, 1)[:, None] - scores.sum(axis=0) / n
    return n / (n - 1) * (deviations * freq[:, None]).T @ deviations


def _covariance_by_groups(scores: Array, n: float, k: int, kwds: dict[str, Any]) -> Array:
    """Return the cluster covariance of scores; two-way: sum of both minus that of the intersection."""
    covariance = np.zeros((scores.shape[1], scores.shape[1]))
    columns, correct = np.atleast_2d(kwds["groups"].T), kwds.get("use_correction", True)
    scale = 1.0 if kwds.get("scaling_factor") is None else float(kwds["scaling_factor"])
    both = [(columns[0], 1.0)]
    if len(columns) == 2:
        crossed = np.unique(columns, axis=1, return_inverse=True)[1].ravel()
        both = [(columns[0], 1.0), (columns[1], 1.0), (crossed, -1.0)]
    for codes, sign in both:
        codes = np.unique(codes, return_inverse=True)[1]
        sums = np.column_stack([np.bincount(codes, weights=column) for column in scores.T])
        count = len(sums)
        factor = count / (count - 1) * (n - 1) / (n - k) if correct else 1.0
        covariance += sign * scale * factor * sums.T @ sums
    return covariance
