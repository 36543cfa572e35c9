"""
Score test for a variance component: whether rows of a group go together, from the fit without it.

With a random effect b_g ~ N(0, s^2) in one of the linear predictors, x_i b_g in row i, the derivative
of the marginal log-likelihood in s^2 at 0 is half the sum over groups of (sum_i x_i l_i')^2 +
sum_i x_i^2 l_i''. Its terms of single rows measure whether their distribution fits (overdispersion,
heavy tails); those of pairs, kept here, have mean zero wherever rows are independent, whatever their
distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hetglm.design.arrays import row_array
from hetglm.design.syntax import not_a_column
from hetglm.estimation.record import Fit, Fitted, at_fit, expanded_rows, fitted_of, identifying
from hetglm.inference.bootstrap_test import exceedances
from hetglm.likelihood.likelihood import Factors, Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.display import Printed, p_text
from hetglm.utils.linalg import contains, solve_scaled, times
from hetglm.utils.messages import naming, require
from hetglm.utils.parallel import Run

PARTS = ("mean", "dispersion")

#: Draws that expected second derivatives are means over, at least.
MIN_CURVATURE_DRAWS = 20
#: Rows of these draws in all, at least: the information then has an error of 1 to 2 %.
N_CURVATURE_ROWS = 5_000
#: Seed of these draws: the same score for the same fit.
SEED = 0


@dataclass(frozen=True, repr=False)
class RandomEffectTest(Printed):
    """
    Score test for a variance component, H0: the random effect has variance 0.

    Attributes
    ----------
    term : str
        The random term, such as ``"(1 | id)"``.
    part : {"mean", "dispersion"}
        Part of the model that it is tested in.
    n_groups : int
        Number of groups with several rows that are informative about it; others do not count.
    statistic : float
        Score, standardised by its mean and standard deviation in the draws; NaN if these are all equal.
    sd : float
        Moment estimate of the standard deviation of the random effect, on the scale of the linear
        predictor: one scoring step from 0. Rough where it is large.
    pvalue : float
        One-sided, from draws of the fit.
    mc_error : float
        Monte-Carlo standard error of the p-value.
    draws : int
        Number of draws.
    failed : int
        Number of draws whose score is not finite; they are left out.
    reasons : dict
        Reasons of these, with counts.
    """

    term: str
    part: str
    n_groups: int
    statistic: float
    sd: float
    pvalue: float
    mc_error: float
    draws: int
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def _headline(self) -> str:
        failed = f"; {self.failed} failed and are left out: {self.reasons}" if self.failed else ""
        return (
            f"Score test of {self.term} in the {self.part}, H0: its variance is 0: {self.numbers} "
            f"({self.draws} draws from the fit{failed})"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        return [f"Estimate of its standard deviation {self.sd:.3g}, {self.n_groups} groups."]

    @property
    def numbers(self) -> str:
        """Statistic and P in words."""
        return f"score z = {self.statistic:.4g}, P {p_text(self.pvalue)} +/- {self.mc_error:.2g}"


@dataclass(frozen=True)
class Grouping:
    """
    A grouping variable on the rows of a fit.

    Attributes
    ----------
    name : str
    codes : ndarray of int, shape (n,)
    """

    name: str
    codes: NDArray[Any]


def groupings(model: Any, groups: Any) -> list[Grouping]:
    """
    Return the grouping variables that a user gave: one, or two as for two-way clusters.

    Parameters
    ----------
    model : LocationScaleModel
    groups : array_like, str, or a list of two
        As ``groups`` of a cluster-robust covariance.
    """
    codes = model.row_kwds({"groups": groups})["groups"]
    if codes.ndim == 1:
        return [Grouping(_name(model, groups, codes), codes)]
    each = groups if isinstance(groups, (list, tuple)) else codes.T
    return [
        Grouping(_name(model, value, column), column)
        for value, column in zip(each, codes.T, strict=True)
    ]


def _name(model: Any, groups: Any, codes: NDArray[Any]) -> str:
    """Return the name of a grouping variable, by its values where it is an array without one."""
    if isinstance(groups, (list, tuple)) and len(groups) == 1:
        groups = groups[0]
    if isinstance(groups, str):
        return groups
    if getattr(groups, "name", None) is not None:
        return str(groups.name)
    frame = model.frame if model.frame is not None and len(model.frame) == len(codes) else {}
    same = (str(c) for c in frame if np.array_equal(pd.factorize(frame[c], sort=True)[0], codes))
    return next(same, "g")


def random_effect(
    res: Any,
    groups: Any,
    exog: Any,
    part: str,
    nrep: int,
    rng: Any,
    sequential: int | None,
    run: Run,
) -> RandomEffectTest:
    """Return the score test of a random effect; see `InferenceMethods.test_random_effect`."""
    fitted = fitted_of(res)
    if part not in PARTS:
        raise ValueError(f"part={part!r}: choose 'mean' or 'dispersion'")
    found = groupings(res.model, groups)
    if len(found) > 1:
        raise ValueError("groups: give one grouping variable, and test a second one on its own")
    x, name = _slope(res.model, exog)
    return of_fit(fitted, found[0], part, nrep, rng, sequential, run, x, name)


def _slope(model: Any, exog: Any) -> tuple[Array | None, str]:
    """Return the variable whose slope varies, shape (n,), and its name; None and "1" for none."""
    if exog is None:
        return None, "1"
    name, n = getattr(exog, "name", None) or "x", model.core.n
    if isinstance(exog, str) and model.frame is not None:
        if exog not in model.frame:
            raise ValueError(not_a_column("exog", exog, model.frame.columns))
        name, exog = exog, model.frame[exog]
    x = row_array(exog if isinstance(exog, str) else model.rows_of_fit(exog, "exog"), n, "exog")
    assert x is not None
    with naming(model.core.names):
        require(~np.isfinite(x), "exog", "missing or infinite values")
    return x, f"0 + {name}"


def of_fit(
    fitted: Fitted,
    grouping: Grouping,
    part: str,
    nrep: int,
    rng: Any,
    sequential: int | None,
    run: Run,
    x: Array | None = None,
    name: str = "1",
) -> RandomEffectTest:
    """
    Return the score test of one random effect.

    Parameters
    ----------
    fitted : Fitted
        The fit without it.
    grouping : Grouping
    part : {"mean", "dispersion"}
    nrep, rng, sequential, run
        As in `exceedances`.
    x : ndarray, shape (n,), optional
        Variable whose slope varies; a constant by default.
    name : str
        Left side of the random term.

    Raises
    ------
    NotImplementedError
        For extended quasi-likelihood families.
    ValueError
        If there is nothing to test, or the information is singular.
    """
    core = fitted.core
    need_likelihood(core)
    term = f"({name} | {grouping.name})"
    x = np.ones(core.n) if x is None else x
    reason = untestable(fitted, grouping, part, x)
    if reason:
        raise ValueError(f"{term}: nothing to test in the {part}: {reason}")
    single, rows = expanded_rows(fitted, np.arange(core.n))
    task = PairScore(
        at_fit(single.core, single.fit), single.fit, grouping.codes[rows], x[rows], part
    )
    identity = fingerprint(*identifying(single), "random effect", part, task.codes, task.x)
    observed = task.of_response(task.core)
    found = exceedances(
        task, observed, nrep, rng, sequential, run, identity, f"the score of {term}"
    )
    above, sd = observed - found.ratios.mean(), found.ratios.std(ddof=min(1, len(found.ratios) - 1))
    return RandomEffectTest(
        term,
        part,
        int((_rows_of_groups(task.core, task.codes, _informative(task.core, part)) > 1).sum()),
        above / sd if sd > 0 else np.nan,
        max(above, 0.0) ** 0.5 / sd if sd > 0 else np.nan,
        found.pvalue,
        found.mc_error,
        len(found.ratios),
        found.failed,
        found.reasons,
    )


def need_likelihood(core: Likelihood) -> None:
    """Raise a NotImplementedError for extended quasi-likelihood families."""
    if not core.family.exact:
        raise NotImplementedError(
            f"{core.family.name} by extended quasi-likelihood is not a distribution, so there is no "
            "marginal likelihood with random effects; use a model with a likelihood (BetaBinomial for "
            "proportions, NegativeBinomial for counts, likelihood='exact' for Tweedie)"
        )


def untestable(fitted: Fitted, grouping: Grouping, part: str, x: Array | None = None) -> str:
    """Return why there is nothing to test, "" if there is; see `of_fit`."""
    core, x = at_fit(fitted.core, fitted.fit), np.ones(fitted.core.n) if x is None else x
    rows = _informative(core, part) & (x != 0)
    if part == "dispersion" and not core.family.has_dispersion:
        return f"the {core.family.name} of a dispersion part without columns (| 0) has phi = 1"
    if not rows.any():
        return "no row is informative about it (a dispersion at the boundary has no random effect)"
    count = _rows_of_groups(core, grouping.codes, rows)
    if not (count > 1).any():
        return "every group is a single informative row; give groups of several rows"
    design, levels = (core.X if part == "mean" else core.Z)[rows], np.flatnonzero(count)
    if design.shape[1] < len(levels):
        return ""
    indicators = (grouping.codes[rows, None] == levels) * x[rows, None]
    return "it has a fixed coefficient for each group already" * contains(design, indicators)


def _rows_of_groups(core: Likelihood, codes: NDArray[Any], rows: Array) -> Array:
    """Return the number of some rows in each group, by their frequency."""
    freq = None if core.freq is None else core.freq[rows]
    return np.bincount(codes[rows], freq, codes.max() + 1)


def _informative(core: Likelihood, part: str) -> Array:
    """Return which rows have a score in the linear predictor of a part, shape (n,)."""
    rows = np.ones(core.n, dtype=bool)
    if part == "mean":
        return rows
    uninformative = core.uninformative()
    if uninformative is not None:
        rows &= ~uninformative
    return rows if core.fixed_predictor is None else rows & np.isnan(core.fixed_predictor)


@dataclass(frozen=True)
class PairScore:
    """
    Score of a variance component from pairs of rows, of the fitted responses or of a draw.

    Attributes
    ----------
    core : Likelihood
        Single rows, those at the boundary fixed there.
    fit : Fit
    codes : ndarray of int, shape (n,)
        Group of each row.
    x : ndarray, shape (n,)
        Variable that the random effect multiplies.
    part : {"mean", "dispersion"}
    """

    core: Likelihood
    fit: Fit
    codes: NDArray[Any]
    x: Array
    part: str

    def __call__(self, rng: np.random.Generator) -> Array:
        """Return the score of a draw from the fit, shape (1,)."""
        score = self.of_response(self.drawn(rng))
        if not np.isfinite(score):
            raise ValueError("the score of a draw is not finite")
        return np.array([score])

    def drawn(self, rng: np.random.Generator) -> Likelihood:
        """Return the likelihood of responses drawn from the fit."""
        return self.core.with_response(self.distribution.rvs(size=self.core.n, random_state=rng))

    @cached_property
    def distribution(self) -> Any:
        """Fitted distribution of the rows."""
        return quantities.distribution(self.core, self.fit.internal)

    def of_response(self, core: Likelihood) -> float:
        """Return the sum of x_i s_i x_j s_j over the pairs of rows of each group, s efficient scores."""
        terms = self.x * self.efficient(core.factors(self.fit.internal, 1))
        sums = np.bincount(self.codes, terms)
        return float(sums @ sums - terms @ terms) / 2

    def efficient(self, factors: Factors) -> Array:
        """
        Return the scores of the rows at the estimates of their responses, to first order; shape (n,).

        The estimates are one scoring step from those of the fit: Neyman's C(alpha).
        """
        k, (eta_eta, eta_zeta, zeta_zeta) = self.core.k_mean, self.curvature
        step = np.zeros(len(self.fit.solved))
        solved = solve_scaled(self.information, self.core.gradient(factors)[self.fit.solved])
        if solved is None:
            raise ValueError("the information matrix is singular, so there is no score test")
        step[self.fit.solved] = solved
        eta, zeta = times(self.core.X, step[:k]), times(self.core.Z, step[k:])
        assert factors.eta is not None and factors.zeta is not None
        if self.part == "mean":
            return factors.eta + eta_eta * eta + eta_zeta * zeta
        return factors.zeta + eta_zeta * eta + zeta_zeta * zeta

    @cached_property
    def curvature(self) -> Array:
        """
        Expected second derivatives (eta eta, eta zeta, zeta zeta) of each row, shape (3, n).

        Means over draws: those of the fitted responses would have their groups in them, and for large
        counts draws are far cheaper than sums over all responses.
        """
        rng, total = np.random.default_rng(SEED), np.zeros((3, self.core.n))
        count = max(MIN_CURVATURE_DRAWS, N_CURVATURE_ROWS // self.core.n)
        for _ in range(count):
            f = self.drawn(rng).factors(self.fit.internal)
            total += np.array([f.eta_eta, f.eta_zeta, f.zeta_zeta])
        return total / count

    @cached_property
    def information(self) -> Array:
        """Expected information of the solved coefficients."""
        return -self.core.assemble(*self.curvature)[np.ix_(self.fit.solved, self.fit.solved)]
