"""Tests of fits with random effects against each other: ratios, their bootstrap, what is nested."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation.record import fitted_of
from hetglm.exceptions import LaplaceErrorWarning, NotNestedError
from hetglm.inference.bootstrap_test import Ratio, observed_ratio
from hetglm.inference.random_terms import chi_bar_square
from hetglm.mixed.simulation import new_effects


@cache
def fit(formula, **options):
    """Return a fit to sleepstudy, with a factor by subjects."""
    frame = data("sleepstudy").assign(side=lambda d: np.where(d["Subject"] % 2, "l", "r"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LaplaceErrorWarning)
        return hmf.doubleglm(f"Reaction ~ {formula}", frame).fit(**options)


def test_fixed_effects_by_chi_square():
    small, large = fit("1 + (1 | Subject)"), fit("Days + (1 | Subject)")
    table = het.anova(large, small)
    assert_allclose(table.loc[1, "statistic"], 2 * (large.llf - small.llf))
    assert_allclose(table.loc[1, "P"], stats.chi2.sf(table.loc[1, "statistic"], 1))
    assert "Model 0: Reaction ~ 1 + (1 | Subject) | 1" in str(table)
    # a correlation is no variance: 0 is inside
    table = het.anova(fit("Days + (Days || Subject)"), fit("Days + (Days | Subject)"))
    assert table.loc[1, "df_diff"] == 1
    assert_allclose(table.loc[1, "P"], stats.chi2.sf(table.loc[1, "statistic"], 1))


def test_variances_by_bootstrap():
    fits = fit("Days"), fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)")
    table = het.anova(*fits, nrep=9, rng=1)
    assert list(table["df_diff"][1:]) == [1, 2]
    assert_allclose(table["statistic"][1:], 2 * np.diff([res.llf for res in fits]))
    assert_allclose(table["P"][1:].astype(float), 0.1)
    assert list(table["draws"][1:]) == [9, 9]
    assert table.columns.name == "LR, P by bootstrap"
    # the fixed effects between fits of other variances are still tested by chi-square
    table = het.anova(fit("1 + (1 | Subject)"), *fits[1:], nrep=4, rng=1)
    assert_allclose(table.loc[1, "P"], stats.chi2.sf(table.loc[1, "statistic"], 1))
    assert np.isnan(table.loc[1, "draws"]) and table.loc[2, "draws"] == 4


def test_reml():
    small, large = (fit(f"Days + {t}", reml=True) for t in ("(1 | Subject)", "(Days | Subject)"))
    table = het.anova(small, large, nrep=4, rng=1)
    assert_allclose(table.loc[1, "statistic"], 2 * (large.llf_reml - small.llf_reml))
    assert_allclose(table.loc[1, "P"], 0.2)


def test_bound():
    fits = fit("Days"), fit("Days + (1 | Subject)")
    table = het.anova(*fits, test="chi-bar-square")
    statistic = table.loc[1, "statistic"]
    assert_allclose(table.loc[1, "P"], 0.5 * stats.chi2.sf(statistic, 1))
    assert "bounds P from above" in " ".join(str(table).split())
    assert_allclose(chi_bar_square(2.0, 3), 0.5 * (stats.chi2.sf(2, 2) + stats.chi2.sf(2, 3)))
    assert chi_bar_square(0.0, 1) == 1
    table = het.anova(*fits, test="lr")
    assert np.isnan(table.loc[1, "P"])
    assert "a variance of a random effect is 0 under H0" in " ".join(str(table).split())


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.SingularFitWarning")
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.LaplaceErrorWarning")
@pytest.mark.parametrize("full", ["Days | Days + (1 | Subject)", "Days | Days"])
def test_a_replicate_is_the_ratio_of_new_fits(full):
    """Refits that start at a fit, and at that of the smaller model, reach the maxima of searches."""
    mean = "Days + (Days | Subject)"
    null, large = fit(f"{mean} | 1"), fit(f"{mean} | {full.split('| ', 1)[1]}", nodes=1)
    task = Ratio(fitted_of(null._results), fitted_of(large._results))
    (ratio,) = task(np.random.default_rng(3))
    y = task.simulator(np.random.default_rng(3)).y
    again = [res.model.clone(endog=y).fit(nodes=1) for res in (null, large)]
    assert_allclose(ratio, 2 * (again[1].llf - again[0].llf), atol=1e-6)
    assert ratio > 0


def test_quadrature():
    """P is that of the ratio by Laplace's approximation, the statistic that of the fits."""
    null, full = (
        fit("Days + (Days | Subject)"),
        fit("Days + (Days | Subject) | Days + (1 | Subject)"),
    )
    table = het.anova(null, full, nrep=4, rng=1)
    assert_allclose(table.loc[1, "statistic"], 2 * (full.llf - null.llf))
    assert "ratio by Laplace's approximation" in " ".join(str(table).split())
    laplace = fit("Days + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    found = observed_ratio(fitted_of(full._results), fitted_of(null._results))
    assert_allclose(found, 2 * (laplace.llf - null.llf), atol=1e-6)
    with pytest.raises(NotNestedError, match=r"by Laplace approximation .* by Gauss-Hermite"):
        het.anova(fit("Days + (1 | Subject) | 1 + (1 | Subject)", nodes=1), full)


def test_draws_have_new_effects():
    res = fit("Days + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    (factor,) = res.model.random
    rng = np.random.default_rng(1)
    draws = [new_effects((factor,), res.fit.theta, rng)[0] for _ in range(1000)]
    n, C = 18_000, res.cov_re.to_numpy()
    error = np.sqrt((np.outer(np.diag(C), np.diag(C)) + C**2) / n)
    assert np.abs((np.cov(np.concatenate(draws).T) - C) / error).max() < 4
    task = Ratio(fitted_of(res._results), fitted_of(res._results))
    y = np.array([task.simulator(rng).y for _ in range(200)])
    variance = C[0, 0] + np.exp(res.params_dispersion.iloc[0] + C[2, 2] / 2)
    first = y[:, data("sleepstudy")["Days"] == 0]
    assert_allclose(first.var(), variance, rtol=0.1)


def test_checkpoint(tmp_path):
    fits = fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)")
    whole = het.anova(*fits, nrep=6, rng=2)
    file = tmp_path / "run"
    het.anova(*fits, nrep=3, rng=2, checkpoint=file)
    pd.testing.assert_frame_equal(het.anova(*fits, nrep=6, rng=2, checkpoint=file), whole)
    with pytest.raises(ValueError, match="belongs to another run"):
        het.anova(fits[0], fit("Days + (Days || Subject)"), nrep=3, rng=2, checkpoint=file)


@pytest.mark.thorough
def test_jobs():
    fits = fit("Days + (1 | Subject)"), fit("Days + (Days | Subject)")
    one, two = (het.anova(*fits, nrep=6, rng=2, n_jobs=n) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two)


REML = {"reml": True}


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (("1 + (1 | Subject)", REML), ("Days + (1 | Subject)", REML), "have different means"),
        (
            ("Days + (1 | Subject)", {}),
            ("Days + (Days | Subject)", REML),
            "by maximum likelihood and",
        ),
        (("Days", REML), ("Days + (1 | Subject)", REML), "one fit has random effects"),
        (
            ("Days + (0 + Days | Subject)", {}),
            ("Days * side + (1 | Subject)", {}),
            "effect of Days",
        ),
        (("Days + (1 | Subject)", {}), ("Days + (1 | side)", {}), "same number"),
        (
            ("1 + (1 | Subject)", {}),
            ("Days * side", {}),
            "no random effect of Intercept by Subject",
        ),
        (
            ("1 + (Days | Subject)", {}),
            ("Days * side + (Days || Subject)", {}),
            "their correlations",
        ),
        (
            ("Days + (1 | Subject) | Days", {"reml": "both", "nodes": 1}),
            ("Days + (Days | Subject) | side", {"reml": "both", "nodes": 1}),
            "different fixed effects of the dispersion",
        ),
    ],
)
def test_not_nested(a, b, message):
    with pytest.raises(NotNestedError, match=message):
        het.anova(fit(a[0], **a[1]), fit(b[0], **b[1]))


def test_tests_that_there_are():
    res = fit("Days + (1 | Subject)")
    with pytest.raises(ValueError, match="there is none for fits with random effects"):
        het.anova(res, typ=3, test="score")
    with pytest.raises(ValueError, match="choose 'lr' or 'bootstrap', 'chi-bar-square'"):
        het.anova(res, fit("Days + (Days | Subject)"), test="f")


# ---- one fit -------------------------------------------------------------------------------------


def test_terms():
    res = fit("Days * side + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    table = het.anova(res, typ=3)
    without = fit("Days * side + (Days | Subject) | 1 + (1 | Subject)", nodes=1)
    row = table.loc[("dispersion", "Days")]
    assert_allclose(row["statistic"], 2 * (res.llf - without.llf), atol=1e-6)
    assert row["df"] == 1
    wald = het.anova(res, typ=3, test="wald")
    expected = res.wald_test("dispersion-Days = 0").statistic
    assert_allclose(wald.loc[("dispersion", "Days"), "statistic"], expected)
    # the interaction is absent where its main effects are tested
    hierarchical = het.anova(res, typ=2, test="wald")
    smaller = fit("Days + side + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    expected = smaller.wald_test("Days = 0").statistic
    assert_allclose(hierarchical.loc[("mean", "Days"), "statistic"], expected, rtol=1e-4)


def test_both_parts():
    res = fit("Days + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    constant = fit("Days + (Days | Subject)")
    table = het.anova(res)
    assert_allclose(
        table.loc["Dispersion model", "Adj.Chisq"], 2 * (res.llf - constant.llf), atol=1e-6
    )
    assert np.isnan(table.loc["Dispersion model", "Adj.P"])
    assert "a variance of a random effect is 0" in str(table)
    flat = fit("1 + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    assert_allclose(table.loc["Mean model", "Adj.Chisq"], 2 * (res.llf - flat.llf), atol=1e-6)


def test_constant_dispersion():
    res = fit("Days + (Days | Subject) | Days + (1 | Subject)", nodes=1)
    found = res.compare_constant_dispersion(nrep=4, rng=1)
    assert found.df == 2
    assert_allclose(found.llf_constant, fit("Days + (Days | Subject)").llf)
    assert_allclose(found.aic_constant, fit("Days + (Days | Subject)").aic)
    assert_allclose(found.pvalue, 0.2)
    assert "4 draws from constant dispersion" in found.method
    # without random effects in the dispersion chi-square holds
    found = fit("Days + (Days | Subject) | Days", nodes=1).compare_constant_dispersion()
    assert found.df == 1
    assert_allclose(found.pvalue, stats.chi2.sf(found.statistic, 1))
