"""Score tests of terms and of added columns, model-based and robust."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.design import arrays
from hetglm.estimation.covariance import COVARIANCE_TYPES, is_definite
from hetglm.exceptions import IndefiniteCovarianceWarning
from hetglm.inference.hypotheses import NOTHING, Hypothesis, Outcome
from hetglm.inference.likelihood_ratio import Submodels
from hetglm.inference.wald import robust_kwds
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import independent_columns, solve_scaled
from hetglm.utils.messages import listed, naming, require, warn

#: Types of covariance that score tests take.
SCORE_TYPES = tuple(kind.name for kind in COVARIANCE_TYPES if kind.score_test)


def score(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the score test of a term: the fit without it, asked whether it belongs there."""
    core, columns = res.model.core, hypothesis.term.columns
    small, smaller = submodels.without({*hypothesis.absent, *columns})
    big = submodels.without(hypothesis.absent)[0] if hypothesis.absent else res.model
    df = int(big.estimable.sum() - small.estimable.sum())
    if df == 0:
        return NOTHING
    if hypothesis.term.part == "dispersion" and smaller.boundary is not None:
        # rows held at the end do not move with their log dispersion: as for the ratio, no chi-square
        return Outcome(df, np.nan, np.nan)
    null = type(res)(small, smaller, [])
    design = np.hstack([core.X, core.Z])[:, [j for j in columns if res.model.estimable[j]]]
    extra = (design, None) if hypothesis.term.part == "mean" else (None, design)
    test = null.score_test(extra, cov_type=res.cov_type, cov_kwds=robust_kwds(res))
    return Outcome(df, *(float(np.squeeze(number)) for number in (test[0], test[1])))


def extra_columns(
    exog_extra: tuple[Any, Any], core: Likelihood
) -> tuple[Array | None, Array | None]:
    """Return columns for the mean and for the dispersion that a score test can be of."""
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
                f"exog_extra: nothing to test in column {which} (counted from 0): linear "
                "combinations of the columns before and of the model's own; leave them out"
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
    Return the score test of further columns with the covariance of the rows' or the groups' scores.

    Parameters
    ----------
    core : Likelihood
        Without aliased columns, rows at the boundary held.
    params : ndarray, shape (p + q,)
        Its maximum.
    extra_mean, extra_dispersion : ndarray, shapes (n, r) and (n, s)
        Columns for either part.
    kwds : dict
        As of the Wald tests' covariance: ``groups``, integers of shape (n,) or (n, 2);
        ``use_correction``, whether to multiply by G/(G - 1) (n - 1)/(n - k); and ``scaling_factor``,
        to multiply by as well. Without groups single rows, as statsmodels' HC0.

    Raises
    ------
    ValueError
        If the groups are too few for so many columns.

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
    # what is left of the scores after the estimation of the other coefficients
    left = rows[:, new] - rows[:, old] @ nuisance
    freq = np.ones(len(left)) if core.freq is None else core.freq
    groups, unit = kwds.get("groups"), _spread_of_rows(left, freq)
    spread = unit if groups is None else _spread_of_groups(left, freq.sum(), k, kwds)
    if not is_definite(spread, unit, "HC0" if groups is None else "cluster", groups):
        warn(
            "score test: the covariance of the scores by these groups is not positive definite, so "
            "there is no test (NaN); group by one of them",
            IndefiniteCovarianceWarning,
        )
        return Outcome(len(new), np.nan, np.nan)
    total = left.sum(axis=0)
    solved = solve_scaled(spread, total)
    if solved is None:
        raise np.linalg.LinAlgError("singular")
    statistic = float(total @ solved)
    return Outcome(len(new), statistic, float(stats.chi2.sf(statistic, len(new))))


def _spread_of_rows(left: Array, freq: Array) -> Array:
    """Return n times the covariance of scores; a row of frequency f is f rows of a score over f."""
    n = freq.sum()
    deviations = left / np.where(freq > 0, freq, 1)[:, None] - left.sum(axis=0) / n
    return n / (n - 1) * (deviations * freq[:, None]).T @ deviations


def _spread_of_groups(left: Array, n: float, k: int, kwds: dict[str, Any]) -> Array:
    """Return the sum over groups, of two ways of grouping less that over both crossed."""
    spread = np.zeros((left.shape[1], left.shape[1]))
    columns, correct = np.atleast_2d(kwds["groups"].T), kwds.get("use_correction", True)
    scale = 1.0 if kwds.get("scaling_factor") is None else float(kwds["scaling_factor"])
    both = [(columns[0], 1.0)]
    if len(columns) == 2:
        crossed = np.unique(columns, axis=1, return_inverse=True)[1].ravel()
        both = [(columns[0], 1.0), (columns[1], 1.0), (crossed, -1.0)]
    for codes, sign in both:
        codes = np.unique(codes, return_inverse=True)[1]
        sums = np.column_stack([np.bincount(codes, weights=column) for column in left.T])
        count = len(sums)
        factor = count / (count - 1) * (n - 1) / (n - k) if correct else 1.0
        spread += sign * scale * factor * sums.T @ sums
    return spread
