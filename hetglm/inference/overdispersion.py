"""Tests for overdispersion: H0 sigma = 0, which lies on the boundary; score tests of a GLM."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.estimation import fit, record, search
from hetglm.estimation.record import (
    TOL_LLF,
    Fitted,
    Settings,
    expanded_rows,
    fitted_of,
    identifying,
)
from hetglm.estimation.refit import refit
from hetglm.estimation.start import starting_values
from hetglm.families.betabinomial import BetaBinomial
from hetglm.families.binomial import Binomial
from hetglm.families.negbin import NegativeBinomial
from hetglm.families.poisson import Poisson
from hetglm.families.quasi import QuasiBinomial, QuasiPoisson
from hetglm.inference.bootstrap_test import exceedances
from hetglm.inference.variance_component import RandomEffectTest, groupings, of_fit
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.display import Printed, p_text
from hetglm.utils.linalg import independent_columns, inverse
from hetglm.utils.parallel import Run

#: Largest P with which a random effect of the groups is advised.
MAX_P = 0.05


@dataclass(frozen=True, repr=False)
class OverdispersionTest(Printed):
    """
    Tests for overdispersion, H0: phi = 0.

    Attributes
    ----------
    score, score_pvalue : float
        Standardised score of a constant phi at 0 (Tarone's Z where the mean is constant), and its
        one-sided p-value; NaN for other alternatives.
    statistic, pvalue : float
        Likelihood ratio and its p-value.
    alternative : str
        The alternative: dispersion model that phi = 0 was tested against.
    method : str
        Reference distribution of the likelihood ratio, or the bootstrap.
    mc_error : float
        Monte-Carlo standard error of a bootstrap p-value, else NaN.
    failed : int
        Number of bootstrap draws whose refits failed; they are left out.
    reasons : dict
        Reasons of the failed refits, with counts.
    random_effect : RandomEffectTest or None
        Test of ``(1 | groups)`` in the mean beside the dispersion of the fit, where groups are known.
    """

    score: float
    score_pvalue: float
    statistic: float
    pvalue: float
    alternative: str
    method: str
    mc_error: float = np.nan
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    random_effect: RandomEffectTest | None = None

    def _headline(self) -> str:
        error = f" +/- {self.mc_error:.2g}" if np.isfinite(self.mc_error) else ""
        text = f"LR = {self.statistic:.4g}, P {p_text(self.pvalue)}{error} ({self.method})"
        if self.failed:
            text += f"; {self.failed} refits failed and are left out: {self.reasons}"
        if np.isfinite(self.score):
            text = f"score Z = {self.score:.4g}, P {p_text(self.score_pvalue)}; " + text
        return f"Test of no overdispersion against {self.alternative}: {text}"

    def _body(self) -> list[str | pd.DataFrame]:
        return _of_groups(self.random_effect)


@dataclass(frozen=True, repr=False)
class GLMOverdispersionTest(Printed):
    """
    Score tests for overdispersion of an ordinary Poisson or binomial GLM, H0: phi = 1.

    Attributes
    ----------
    null : str
        The GLM that was tested.
    table : DataFrame
        A row for each test and variance function of the alternative: ``statistic``, standard normal
        under the GLM, and the one-sided ``P``.
    dispersion : float
        Pearson's chi-square over its degrees of freedom, about 1 under the GLM.
    random_effect : RandomEffectTest or None
        Test of ``(1 | groups)`` in the mean of the negative binomial or beta-binomial with the same mean
        and a constant dispersion, where groups are known.
    """

    null: str
    table: pd.DataFrame
    dispersion: float
    random_effect: RandomEffectTest | None = None

    @property
    def score(self) -> float:
        """Score statistic against the negative binomial (NB2), or the beta-binomial."""
        return float(self.table["statistic"].iloc[0])

    @property
    def score_pvalue(self) -> float:
        """One-sided p-value of ``score``."""
        return float(self.table["P"].iloc[0])

    statistic, pvalue = score, score_pvalue

    def summary_frame(self) -> pd.DataFrame:
        """Return the table of tests."""
        return self.table.copy()

    def _headline(self) -> str:
        return (
            f"Test of no overdispersion in the {self.null} (phi = 1): score Z = {self.score:.4g}, P "
            f"{p_text(self.score_pvalue)}, Pearson chi-square/df = {self.dispersion:.4g}"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.table, *_of_groups(self.random_effect)]


def _of_groups(test: RandomEffectTest | None) -> list[str | pd.DataFrame]:
    """Return the sentence on the groups of the rows."""
    if test is None:
        return []
    if test.pvalue > MAX_P:
        return [f"No evidence that rows of a group go together ({test.term}: {test.numbers})."]
    return [
        f"Rows of a group go together in the mean ({test.numbers}): write {test.term} in the mean, "
        "beside the dispersion of single rows."
    ]


def of_glm(core: Likelihood, keep_mean: Array) -> GLMOverdispersionTest:
    """Return the score tests of the GLM with the same mean, offset and frequencies."""
    core = as_boundary_family(core)
    null = without_dispersion(core, keep_mean)[1]
    at = core.predictors(null.internal).mean
    freq = np.ones(core.n) if core.freq is None else core.freq
    trials = 1.0 if core.trials is None else core.trials
    mu, r = trials * at.mu, core.y - trials * at.mu
    score, nb2, nb1 = score_statistic(core, null, keep_mean), "mu (1 + alpha mu)", "mu (1 + alpha)"
    if core.trials is None:
        z = (r**2 - core.y) / mu
        tests = {
            ("Dean score", nb2): score,
            ("Dean score", nb1): np.sum(freq * z) / np.sqrt(2 * np.sum(freq)),
            ("Cameron-Trivedi", nb2): _regression(z, mu, freq),
            ("Cameron-Trivedi", nb1): _regression(z, np.ones(core.n), freq),
        }
    else:
        tests = {("Tarone score", "n mu (1 - mu) [1 + (n - 1) rho]"): score}
    statistic = np.array(list(tests.values()), dtype=float)
    index = pd.MultiIndex.from_tuples(list(tests), names=["test", "variance"])
    table = pd.DataFrame({"statistic": statistic, "P": stats.norm.sf(statistic)}, index=index)
    pearson = np.sum(freq * r**2 / (mu if core.trials is None else mu * at.nu))
    name = "Poisson GLM" if core.trials is None else "binomial GLM"
    return GLMOverdispersionTest(name, table, float(pearson / (freq.sum() - keep_mean.sum())))


def as_boundary_family(core: Likelihood) -> Likelihood:
    """Return a quasi-Poisson likelihood as negative binomial, a quasi-binomial one as beta-binomial."""
    plain = replace(core, weights=None, offset_dispersion=None, rows=None)
    if isinstance(core.family, Binomial):
        if np.all(core.trials == 1):
            raise ValueError(
                "test_overdispersion: every row has one trial, and the variance of a 0/1 response is "
                "mu (1 - mu) whatever the dispersion; sum the rows of each group (K of N)"
            )
        return replace(plain, family=BetaBinomial(), rows=None)
    if isinstance(core.family, QuasiBinomial):
        assert core.trials is not None and core.weights is not None
        if not np.array_equal(core.weights, core.trials):
            raise ValueError(
                "test_overdispersion: not available with var_weights other than n_trials"
            )
        plain = replace(plain, family=BetaBinomial(), y=_whole(core.y * core.trials))
        return replace(plain, trials=_whole(core.trials), rows=None)
    if core.weights is not None:
        raise ValueError(
            "test_overdispersion: not available with var_weights, with which the response is not a "
            "count; use counts as the response, with exposure"
        )
    return replace(plain, family=NegativeBinomial(), y=_whole(core.y), rows=None)


def _whole(count: Array) -> Array:
    """Return counts rounded to integers; raise a ValueError where they are not."""
    whole = np.rint(count)
    if not np.allclose(count, whole, rtol=1e-9, atol=1e-9):
        raise ValueError("test_overdispersion: the response must be whole numbers (counts)")
    return whole


def _regression(z: Array, x: Array, freq: Array) -> float:
    """Return the t-value (HC3) of the regression of z on x without intercept, frequency-weighted."""
    squares = np.sum(freq * x**2)
    slope = np.sum(freq * x * z) / squares
    e = (z - slope * x) / (1 - x**2 / squares)
    return float(slope * squares / np.sqrt(np.sum(freq * (x * e) ** 2)))


def without_dispersion(core: Likelihood, keep_mean: Array) -> tuple[Likelihood, record.Fit]:
    """Return the likelihood with every row fixed at phi = 0, and its maximum."""
    fixed = replace(core, fixed_predictor=np.full(core.n, -np.inf))
    solved = np.concatenate([keep_mean, np.zeros(core.Z.shape[1], dtype=bool)])
    names = [""] * len(solved)
    kept = np.concatenate([keep_mean, independent_columns(core.Z)])
    start = next(starting_values(core, kept))
    return fixed, search.search(fixed, solved, start, Settings(names))


def score_statistic(core: Likelihood, null: record.Fit, keep_mean: Array) -> float:
    """
    Return the standardised score of a constant phi at phi = 0.

    Its variance is the expected information about phi adjusted for the estimated mean (Schur
    complement); with a constant mean this is Tarone's Z (Tarone 1979, Biometrika 66, 585-590).
    """
    at = core.predictors(null.internal)
    nu = at.mean.nu if core.family.unit_interval else None
    zero = np.zeros(core.n)
    score = core.family.evaluate(core.rows, at.mean.mu, nu, zero, 1).phi
    assert score is not None
    mm, mp, pp = core.family.expected_hessian(core.rows, at.mean.mu, nu, zero)
    # the offset of log phi scales phi row by row
    scale = np.ones(core.n) if core.offset_dispersion is None else np.exp(core.offset_dispersion)
    freq = np.ones(core.n) if core.freq is None else core.freq
    X = core.X[:, keep_mean] * at.mean.d1[:, None]
    total = float(np.sum(freq * scale * score))
    variance = -float(np.sum(freq * scale**2 * pp))
    cross = -X.T @ (freq * scale * mp)
    bread = inverse(-(X.T * (freq * mm)) @ X)
    if bread is not None:
        variance -= float(cross @ bread @ cross)
    return total / np.sqrt(variance)


def overdispersion(
    res: Any, against: str, groups: Any, nrep: int, rng: Any, sequential: int | None, run: Run
) -> OverdispersionTest | GLMOverdispersionTest:
    """Return the tests of phi = 0, or of phi = 1 for a GLM; see the results' method."""
    test = _tested(res, against, nrep, rng, sequential, run)
    if groups is None and res.cov_type == "cluster" and np.ndim(res.cov_kwds["groups"]) == 1:
        groups = res.cov_kwds["groups"]
    if groups is None:
        return test
    return replace(test, random_effect=_random_effect(res, groups, nrep, rng, sequential, run))


def _random_effect(
    res: Any, groups: Any, nrep: int, rng: Any, sequential: int | None, run: Run
) -> RandomEffectTest:
    """Return the test of a random effect of the groups in the mean, beside a dispersion of the rows."""
    grouping, *others = groupings(res.model, groups)
    if others:
        raise ValueError("groups: give one grouping variable, and test a second one on its own")
    fitted = fitted_of(res)
    if not fitted.core.has_boundary:  # a GLM: with a constant dispersion
        core = constant(as_boundary_family(fitted.core))
        solved = np.append(fitted.estimable[: core.k_mean], True)
        names = [*fitted.names[: core.k_mean], "dispersion-Intercept"]
        fitted = Fitted(core, fit.fit(core, names, solved), names, solved)
    return of_fit(fitted, grouping, "mean", nrep, rng, sequential, replace(run, checkpoint=None))


def _tested(
    res: Any, against: str, nrep: int, rng: Any, sequential: int | None, run: Run
) -> OverdispersionTest | GLMOverdispersionTest:
    """Return the tests without groups."""
    model = res.model
    core: Likelihood = model.core
    keep_mean = model.estimable[: core.k_mean]
    if isinstance(core.family, (QuasiPoisson, QuasiBinomial, Poisson, Binomial)):
        record.need_rows(core)
        if against != "constant":
            raise ValueError(
                f"against={against!r}: a {core.family.name} DoubleGLM can be tested against a constant "
                "overdispersion only; fit NegativeBinomial or BetaBinomial to test a dispersion formula"
            )
        return of_glm(core, keep_mean)
    if not core.has_boundary:
        raise ValueError(f"{core.family.name}: phi = 0 is not a model of its own; nothing to test")
    record.need_rows(core)
    null = without_dispersion(core, keep_mean)[1]
    if against == "constant":
        return _against_constant(core, null, keep_mean)
    if against != "model":
        raise ValueError(f"against={against!r}: choose 'constant' or 'model'")
    ratio = _ratio(res.llf, null.llf)
    cells = len(np.unique(core.Z, axis=0))
    if cells == int(model.estimable[core.k_mean :].sum()):
        return OverdispersionTest(
            np.nan,
            np.nan,
            ratio,
            _mixture(ratio, cells),
            f"a dispersion in each of {cells} cells",
            f"binomial mixture of chi-square 0 to {cells}",
        )
    full = expanded_rows(fitted_of(res))[0]
    task = _Ratio(full, *without_dispersion(full.core, keep_mean), keep_mean)
    identity = fingerprint(*identifying(full), "phi = 0")
    found = exceedances(task, ratio, nrep, rng, sequential, run, identity, "the likelihood ratio")
    stop = f", stopped at {found.exceeded} exceedances" if found.stopped else ""
    return OverdispersionTest(
        np.nan,
        np.nan,
        ratio,
        found.pvalue,
        "the dispersion formula",
        f"parametric bootstrap, {len(found.ratios)} draws{stop}",
        found.mc_error,
        found.failed,
        found.reasons,
    )


def constant(core: Likelihood) -> Likelihood:
    """Return the likelihood with one dispersion of all rows."""
    return core.with_designs(Z=np.ones((core.n, 1)))


def _against_constant(core: Likelihood, null: record.Fit, keep_mean: Array) -> OverdispersionTest:
    """Return the score and likelihood-ratio tests of phi = 0 against one dispersion of all rows."""
    solved = np.append(keep_mean, True)
    best = fit.fit(constant(core), [""] * len(solved), solved).llf
    score = score_statistic(core, null, keep_mean)
    ratio = _ratio(best, null.llf)
    pvalue = 0.5 * stats.chi2.sf(ratio, 1) if ratio > 0 else 1.0
    return OverdispersionTest(
        score,
        float(stats.norm.sf(score)),
        ratio,
        float(pvalue),
        "a constant dispersion",
        "half-and-half mixture of chi-square 0 and 1",
    )


def _ratio(larger: float, smaller: float) -> float:
    ratio = 2 * (larger - smaller)
    return ratio if ratio > TOL_LLF * (1 + abs(larger)) else 0.0


def _mixture(ratio: float, cells: int) -> float:
    """Return the upper tail of chi-bar-square for independent cells: binomial(cells, 1/2) weights."""
    if ratio == 0:
        return 1.0
    k = np.arange(1, cells + 1)
    return float(stats.binom.pmf(k, cells, 0.5) @ stats.chi2.sf(ratio, k))


@dataclass(frozen=True)
class _Ratio:
    """One replicate of the likelihood ratio: draw at phi = 0, refit both models."""

    full: Fitted
    fixed: Likelihood
    null: record.Fit
    keep_mean: Array

    def __call__(self, rng: np.random.Generator) -> Array:
        core = self.full.core.with_response(
            self.distribution.rvs(size=self.fixed.n, random_state=rng)
        )
        full = refit(self.full, core)
        return np.array([_ratio(full.llf, without_dispersion(core, self.keep_mean)[1].llf)])

    @cached_property
    def distribution(self) -> Any:
        return quantities.distribution(self.fixed, self.null.internal)
