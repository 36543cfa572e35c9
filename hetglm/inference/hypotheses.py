"""Tests of the terms of both parts: what each leaves out, and its statistic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.design import arrays
from hetglm.estimation import fit as fit_module
from hetglm.estimation.covariance import ROBUST, is_definite
from hetglm.estimation.fit import maximum
from hetglm.estimation.refit import Fitted
from hetglm.estimation.reml import RemlFit
from hetglm.estimation.search import Fit
from hetglm.exceptions import IndefiniteCovarianceWarning, NotNestedError
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.linalg import independent_columns, solve_scaled
from hetglm.utils.messages import listed, naming, require, warn

#: A likelihood ratio may be this much below zero, per unit of log-likelihood, by rounding alone.
NEGATIVE_BY_ROUNDING = 1e-9
#: Types of covariance that score tests take.
SCORE_TYPES = ("nonrobust", "eim", "HC0", "cluster")
NOTHING_TO_TEST = (
    "exog_extra: nothing to test: the columns depend on each other or on the model's own, or the rows "
    "they tell of have their dispersion at the boundary"
)


@dataclass(frozen=True)
class Term:
    """
    A term of one part.

    Attributes
    ----------
    part : {"mean", "dispersion"}
    name : str
    factors : frozenset of str
        What it is the interaction of; empty for a constant.
    columns : tuple of int
        Positions of its coefficients.
    """

    part: str
    name: str
    factors: frozenset[str]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Hypothesis:
    """
    A term, and the columns that neither of the two models has which its test compares.

    Attributes
    ----------
    term : Term
    absent : tuple of int
    """

    term: Term
    absent: tuple[int, ...]


class Outcome(NamedTuple):
    """Degrees of freedom, statistic and P of a test, NaN where there is nothing to test."""

    df: int
    statistic: float
    pvalue: float


NOTHING = Outcome(0, np.nan, np.nan)


def hypotheses(terms: list[Term], typ: int) -> list[Hypothesis]:
    """
    Return what each term but a constant is tested against.

    Parameters
    ----------
    terms : list of Term
        Those of the mean, then those of the dispersion.
    typ : {1, 2, 3}
        1: the terms before it, those of the mean being before all of the dispersion but its
        constant; 2: all terms that do not contain it; 3: all other terms.
    """
    tested = [term for term in terms if term.factors]

    def absent(i: int, term: Term) -> list[Term]:
        if typ == 1:
            return tested[i + 1 :]
        return [t for t in tested if typ == 2 and t.part == term.part and term.factors < t.factors]

    return [
        Hypothesis(term, tuple(j for other in absent(i, term) for j in other.columns))
        for i, term in enumerate(tested)
    ]


# Likelihood ratio ------------------------------------------------------------------------------------


def likelihood_ratio(larger: float, smaller: float, what: str) -> float:
    """Return 2 (larger - smaller); an error where it is negative beyond rounding."""
    value = 2 * (larger - smaller)
    if value < -NEGATIVE_BY_ROUNDING * (1 + abs(larger)):
        raise ValueError(
            f"the likelihood ratio of {what} is negative ({value:.3g}): the larger model has a higher "
            "maximum that was not reached, from the smaller one's estimates neither; try other "
            "start_params, or take terms out"
        )
    return max(value, 0.0)


class Submodels:
    """The models with some columns of a fit, each fitted once."""

    def __init__(self, model: Any, fitted: Fit) -> None:
        self.model, self.reml = model, isinstance(fitted, RemlFit)
        self._known: dict[frozenset[int], tuple[Any, Fit]] = {frozenset(): (model, fitted)}

    def without(self, columns: Any) -> tuple[Any, Fit]:
        """Return the model without some columns, and its fit."""
        columns = frozenset(columns)
        if columns not in self._known:
            reduced = self._reduced(columns)
            self._known[columns] = reduced, refit(reduced, reml=self.reml)
        return self._known[columns]

    def ratio(self, hypothesis: Hypothesis) -> tuple[float, int]:
        """Return the likelihood ratio of a term and its degrees of freedom."""
        absent, term = frozenset(hypothesis.absent), hypothesis.term
        (big, larger), (small, smaller) = (
            self.without(columns) for columns in (absent, absent.union(term.columns))
        )
        if maximum(larger) < maximum(smaller):
            larger = from_smaller(big, larger, small.core, smaller)
            self._known[absent] = big, larger
        df = int(big.estimable.sum() - small.estimable.sum())
        return likelihood_ratio(maximum(larger), maximum(smaller), term.name), df

    def fits(self, hypothesis: Hypothesis) -> tuple[Fitted, Fitted]:
        """Return the fits without and with a term, as their refits need them."""
        absent = {*hypothesis.absent}
        both = (
            self.without(columns) for columns in (absent.union(hypothesis.term.columns), absent)
        )
        null, full = (
            Fitted(model.core, fit, model.parameter_names, model.estimable) for model, fit in both
        )
        return null, full

    def _reduced(self, columns: frozenset[int]) -> Any:
        core, names = self.model.core, self.model.parameter_names
        designs: dict[str, pd.DataFrame] = {}
        for name, A, first in (
            ("exog", core.X, 0),
            ("exog_dispersion", core.Z, core.k_mean),
        ):
            kept = [j for j in range(A.shape[1]) if first + j not in columns]
            if len(kept) == A.shape[1]:
                continue
            if not kept and name == "exog_dispersion":
                lost = listed([names[j] for j in sorted(columns) if j >= core.k_mean])
                raise NotNestedError(
                    f"without {lost} the dispersion has no column left to be tested against: keep an "
                    "intercept in its formula"
                )
            own = self.model.column_names[name]
            designs[name] = pd.DataFrame(A[:, kept], columns=[own[j] for j in kept])
        return self.model.clone(**designs)


def refit(model: Any, start: Array | None = None, reml: bool = False) -> Fit:
    """Return the fit of a model."""
    return fit_module.fit(model.core, model.parameter_names, model.estimable, start, reml=reml)


def from_smaller(model: Any, fitted: Fit, core: Likelihood, smaller: Fit) -> Fit:
    """Return what a fit that failed, below a smaller model's, reaches from that if it converges."""
    start = embedded(model.core, core, smaller.internal)
    again = refit(model, start, isinstance(fitted, RemlFit))
    return again if again.converged and maximum(again) > maximum(fitted) else fitted


def embedded(larger: Likelihood, smaller: Likelihood, params: Array) -> Array:
    """Return coefficients of a larger model with the predictors of a smaller one."""
    beta, gamma = np.split(params, [smaller.k_mean])
    parts = ((larger.X, smaller.X, beta), (larger.Z, smaller.Z, gamma))
    return np.concatenate([np.linalg.lstsq(A, B @ b, rcond=None)[0] for A, B, b in parts])


# Wald ------------------------------------------------------------------------------------------------


def wald(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the Wald test of a term in the larger model, with the covariance type of the fit."""
    kept = np.setdiff1d(np.arange(len(res.params)), hypothesis.absent)
    if hypothesis.absent:
        big, larger = submodels.without(hypothesis.absent)
        res = type(res)(big, larger, [], res.cov_type, robust_kwds(res), res.use_t)
    tested = np.flatnonzero(np.isin(kept, hypothesis.term.columns) & res.model.estimable)
    if len(tested) == 0:
        return NOTHING
    if not np.all(res._fit.estimated[tested]):  # at the boundary: no estimate, no standard error
        return Outcome(len(tested), np.nan, np.nan)
    test = res.wald_test(np.eye(len(res.params))[tested])
    return Outcome(len(tested), float(test.statistic), float(test.pvalue))


def robust_kwds(res: Any) -> dict[str, Any]:
    """Return the arguments of a fit's robust covariance."""
    return {
        name: res.cov_kwds[name] for name in ROBUST.get(res.cov_type, ()) if name in res.cov_kwds
    }


# Score -----------------------------------------------------------------------------------------------


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
