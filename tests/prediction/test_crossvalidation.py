"""Cross-validation: folds, scores against other ways to compute them, and what cannot be predicted."""

import doctest
import functools
import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose
from quick import thorough
from scipy import integrate, stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import FoldFailureWarning
from hetglm.families.betabinomial import beta_binomial
from hetglm.families.crps import _by_quadrature, crps
from hetglm.families.negbin import negative_binomial
from hetglm.families.of_statsmodels import of_statsmodels
from hetglm.families.tweedie import CompoundPoissonGamma
from hetglm.prediction import crossvalidation
from hetglm.prediction.crossvalidation import _predictable
from hetglm.utils.messages import reason, rows_text

#: A warm refit leaves coefficients 3e-6 standard errors from the maximum.
WARM = 1e-5
#: Adaptive quadrature gives up at 1e-8 where a density is infinite at an end (Tweedie, p > 1.5).
QUADRATURE, SINGULAR = 1e-10, 1e-8


# ---- CRPS ----------------------------------------------------------------------------------------


def by_quadrature(law, y):
    """Return the score of one observation by adaptive quadrature of its definition."""
    low = max(law.support()[0], law.mean() - 40 * law.std())
    points = law.mean() + law.std() * np.array([-8, -4, -2, -1, -0.3, 0, 0.3, 1, 2, 4, 8, 16])
    ends = np.unique(
        [low, y, *points[points > low], low + 1e-6, low + 1e-3, law.mean() + 60 * law.std()]
    )

    def square(x):
        return (law.cdf(x) - (x >= y)) ** 2

    options = {"epsabs": 1e-13, "epsrel": 1e-12, "limit": 200}
    return sum(integrate.quad(square, a, b, **options)[0] for a, b in itertools.pairwise(ends))


def by_double_sum(law, y, largest):
    """Return E|Y - y| - E|Y - Y'|/2 of a count."""
    k = np.arange(largest + 1.0)
    p = law.pmf(k)
    return p @ np.abs(k - y) - 0.5 * p @ np.abs(k[:, None] - k) @ p


CONTINUOUS = {
    "gaussian": (sm.families.Gaussian(), None),
    "gamma": (sm.families.Gamma(), None),
    "inverse-gaussian": (sm.families.InverseGaussian(), None),
    "tweedie-1.2": (sm.families.Tweedie(var_power=1.2), "exact"),
    "tweedie-1.7": (sm.families.Tweedie(var_power=1.7), "exact"),
}


@pytest.mark.parametrize(
    "name", ["gaussian", "gamma", "inverse-gaussian", *thorough("tweedie-1.2", "tweedie-1.7")]
)
def test_crps_of_continuous_laws(name):
    family = of_statsmodels(*CONTINUOUS[name])
    mu, phi = np.array([0.5, 2.0, 5.0]), np.array([0.1, 1.5, 0.02])
    y = np.array([0.4, 0.01, 20.0])
    found = crps(family.distribution(mu, None, phi, None), y, False)
    expected = [
        by_quadrature(family.distribution(m, None, p, None), at)
        for m, p, at in zip(mu, phi, y, strict=True)
    ]
    assert_allclose(found, expected, rtol=SINGULAR if "1.7" in name else QUADRATURE)


@pytest.mark.parametrize("power", [1.5, *thorough(1.1, 1.8)])
def test_crps_of_tweedie_is_that_of_quadrature(power):
    rng = np.random.default_rng(5)
    mu, phi = np.exp(0.5 * rng.normal(size=8)), np.exp(rng.normal(size=8))
    law = CompoundPoissonGamma(power)(mu, phi)
    y = np.append(law.rvs(random_state=rng)[:-1], 0.0)
    assert_allclose(crps(law, y, False), _by_quadrature(law, y), rtol=SINGULAR)
    # nearly always nothing
    rare = CompoundPoissonGamma(power)(np.ones(2), np.full(2, 1e5))
    y = np.array([0.0, 3.0])
    assert_allclose(crps(rare, y, False), _by_quadrature(rare, y), rtol=1e-6)


def test_crps_of_a_wide_inverse_gaussian():
    # scipy's quantiles fail here
    mu, phi, y = 3.0, 80.0, np.array([0.01, 2.0, 400.0])
    family = of_statsmodels(sm.families.InverseGaussian())
    law = family.distribution(np.full(3, mu), None, np.full(3, phi), None)
    draws = family.distribution(mu, None, phi, None).rvs(size=400_000, random_state=1)
    other = np.random.default_rng(2).permutation(draws)
    terms = np.abs(draws[:, None] - y) - 0.5 * np.abs(draws - other)[:, None]
    assert np.all(np.abs(crps(law, y, False) - terms.mean(axis=0)) < 5 * terms.std(axis=0) / 632)


def test_crps_of_counts():
    n = np.array([20.0, 15.0, 60.0, 60.0])
    mu, sigma = np.array([0.3, 0.3, 0.9, 0.5]), np.array([0.1, 0.0, 3.0, 0.001])
    y = np.array([3.0, 15.0, 2.0, 60.0])
    found = crps(beta_binomial(mu, 1 - mu, sigma, n), y, True)
    expected = [
        by_double_sum(beta_binomial(m, 1 - m, s, t), at, t)
        for m, s, t, at in zip(mu, sigma, n, y, strict=True)
    ]
    assert_allclose(found, expected, rtol=QUADRATURE)
    mu, alpha, y = (
        np.array([3.0, 10.0, 0.5]),
        np.array([0.5, 0.0, 2.0]),
        np.array([0.0, 200.0, 3.0]),
    )
    found = crps(negative_binomial(mu, alpha), y, True)
    expected = [
        by_double_sum(negative_binomial(m, a), at, 600)
        for m, a, at in zip(mu, alpha, y, strict=True)
    ]
    assert_allclose(found, expected, rtol=QUADRATURE)


# ---- against a loop ------------------------------------------------------------------------------


def parts(n, k, rng):
    """Return the part of each row, drawn as cross_validate documents: one permutation."""
    part = np.empty(n, dtype=int)
    part[np.random.default_rng(rng).permutation(n)] = np.arange(n) % k
    return part


@pytest.mark.parametrize("name", ["gaussian", "gamma", "beta-binomial", "nb2", "binomial"])
def test_scores_are_those_of_a_plain_loop(name):
    case, data = CASES[name], simulated()
    res = fitted(name)
    exact = case.exact
    found = het.cross_validate(res, 5, rng=3, metrics=None if exact else ["mse", "mae", "dss"])
    part = parts(len(data), 5, 3)
    for model, right in (
        ("fit", "x + group | z + group"),
        ("constant dispersion", "x + group | 1"),
    ):
        rows = []
        for i in range(5):
            train, test = data[part != i], data[part == i]
            fold = case.formula(right, train).fit()
            mean, var = fold.predict(test), fold.predict(test, which="var")
            y = test["K"] / test["N"] if case.binomial else test[case.response]
            if name == "beta-binomial":
                var = var / test["N"] ** 2
            frame = pd.DataFrame({"mse": (y - mean) ** 2, "mae": np.abs(y - mean)})
            frame["dss"] = (y - mean) ** 2 / var + np.log(var)
            if exact:
                law, at = fold.get_distribution(test), test[case.response].to_numpy(float)
                density = law.logpmf(at) if law.dist.name.endswith("binomial") else law.logpdf(at)
                frame["log_score"] = -density
                frame["coverage"] = (at >= law.ppf(0.025)) & (at <= law.ppf(0.975))
            rows.append(frame.astype(float))
        expected = pd.concat(rows).sort_index()
        assert_allclose(found.scores[model][expected.columns], expected, rtol=WARM, atol=WARM)
        mean = found.table[model]["mean"]
        assert_allclose(mean[expected.columns], expected.mean(), rtol=WARM)
        se = expected.std() / np.sqrt(len(data))
        assert_allclose(found.table[model]["se"][expected.columns], se, rtol=10 * WARM)
    difference = found.scores["fit"] - found.scores["constant dispersion"]
    assert_allclose(found.table["difference"]["mean"], difference.mean(), rtol=1e-9)
    assert ("crps" in found.table.index) == exact
    assert found.failed == {"fit": {}, "constant dispersion": {}}
    assert found.left_out == found.unpredicted == 0


def test_normal_scores_have_closed_forms():
    found = het.cross_validate(fitted("gaussian"), 4, rng=1, metrics=["crps", "log_score"])
    again = het.cross_validate(
        fitted("gaussian"), 4, rng=1, metrics={"crps": _crps_normal, "log_score": _log_normal}
    )
    for model, scores in found.scores.items():
        assert_allclose(again.scores[model], scores, rtol=1e-9)


def _crps_normal(held):
    sd = np.sqrt(held.variance)
    z = (held.endog - held.mean) / sd
    return sd * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))


def _log_normal(held):
    return -stats.norm(held.mean, np.sqrt(held.variance)).logpdf(held.observed)


# ---- folds ---------------------------------------------------------------------------------------


def test_groups_stay_together_and_are_the_units():
    data, seen = simulated(), []

    def record(held):
        seen.append(np.unique(data["site"].to_numpy()[held.rows]))
        return held.endog

    res = CASES["gaussian"].formula("x | z").fit()
    found = het.cross_validate(res, 4, groups="site", metrics=record, rng=5)
    sites = [set(some) for some in seen[::2]]
    assert sum(map(len, sites)) == 13
    assert set.union(*sites) == set(range(13))
    sizes = [data["site"].isin(some).sum() for some in sites]
    assert max(sizes) - min(sizes) <= data["site"].value_counts().max()
    assert found.units == "groups"
    # the metric is the response itself: the standard error of its mean over sites
    y, n = data["gaussian"], len(data)
    sums = (y - y.mean()).groupby(data["site"]).sum()
    assert_allclose(found.table["fit"], [[y.mean(), np.sqrt(13 / 12 * (sums**2).sum()) / n]])
    by_array = het.cross_validate(res, 4, groups=data["site"].to_numpy(), metrics=record, rng=5)
    pd.testing.assert_frame_equal(found.table, by_array.table)


def test_one_predicted_group_has_no_standard_error(data):
    # each other group has its own slope, which cannot be estimated without its rows; was a
    # ZeroDivisionError
    for i in (1, 2):
        data[f"slope{i}"] = np.where(data.index % 3 == i, data["x"], 0.0)
    res = hmf.doubleglm("gaussian ~ slope1 + slope2", data).fit()
    with pytest.warns(FoldFailureWarning):
        found = het.cross_validate(res, 3, groups=data.index % 3, rng=1, metrics="mse")
    assert found.left_out == 80
    assert np.isfinite(found.table["fit"]["mean"].item())
    assert np.isnan(found.table["fit"]["se"].item())


def test_every_row_is_held_out_once_a_repeat():
    seen = []
    res = CASES["gaussian"].formula("x").fit()
    found = het.cross_validate(
        res, 7, repeats=3, metrics=lambda held: seen.append(held.rows) or 1.0
    )
    assert len(seen) == 21
    assert {len(rows) for rows in seen} <= {17, 18}
    for i in range(3):
        assert_allclose(np.sort(np.concatenate(seen[7 * i : 7 * i + 7])), np.arange(120))
    assert list(found.table.columns) == [
        ("fit", "mean"),
        ("fit", "se"),
    ]  # its dispersion is constant
    assert found.table.index.tolist() == ["<lambda>"]


def test_leave_one_out():
    res = CASES["gaussian"].formula("x", simulated(30, 1)).fit()
    found = het.cross_validate(res, 30, metrics="mse")
    ols = sm.OLS(res.endog, res.exog).fit()
    press = ols.resid / (1 - ols.get_influence().hat_matrix_diag)
    assert_allclose(found.scores["fit"]["mse"], press**2, rtol=WARM)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["gaussian", "beta-binomial"])
def test_jobs_do_not_matter(name):
    res = fitted(name)
    tables = [
        het.cross_validate(res, 6, rng=2, metrics=["mse", "log_score", "coverage"], n_jobs=n)
        for n in (1, 2)
    ]
    pd.testing.assert_frame_equal(tables[0].table, tables[1].table, rtol=0, atol=0)
    for model in tables[0].scores:
        pd.testing.assert_frame_equal(*(t.scores[model] for t in tables), rtol=0, atol=0)
    rng = np.random.default_rng(2)
    again = het.cross_validate(res, 6, rng=rng, metrics=["mse", "log_score", "coverage"])
    pd.testing.assert_frame_equal(tables[0].table, again.table, rtol=0, atol=0)


@pytest.mark.thorough
def test_functions_travel_to_jobs():
    res = fitted("gaussian")
    one, two = (
        het.cross_validate(
            res, 4, rng=1, metrics={"far": lambda h: np.abs(h.endog - h.mean) > 1}, n_jobs=n
        )
        for n in (1, 2)
    )
    pd.testing.assert_frame_equal(one.table, two.table, rtol=0, atol=0)

    def breaks(rows):
        raise KeyError("mine")

    for n in (1, 2):
        with pytest.raises(KeyError, match="mine"):  # no failure of a fold
            het.cross_validate(res, 4, rng=1, metrics=breaks, n_jobs=n)


def test_weights_offsets_and_reml():
    data = simulated()
    arrays = {
        "offset": "shift",
        "offset_dispersion": "shift",
        "var_weights": "w",
        "freq_weights": "w",
    }
    res = CASES["gamma"].formula("x | z", **arrays).fit(reml=True)
    found = het.cross_validate(res, 4, rng=3, metrics=["log_score"])
    part, rows = parts(len(data), 4, 3), []
    for i in range(4):
        fold = CASES["gamma"].formula("x | z", data[part != i], **arrays).fit(reml=True)
        test = data[part == i]
        rows.append(pd.Series(-fold.get_distribution(test).logpdf(test["positive"]), test.index))
    expected = pd.concat(rows).sort_index()
    assert_allclose(found.scores["fit"]["log_score"], expected, rtol=WARM)
    assert_allclose(found.table["fit"]["mean"], np.average(expected, weights=data["w"]), rtol=WARM)
    # as if each row stood there as often as its frequency
    expanded = expected.loc[np.repeat(expected.index, data["w"])]
    se = expanded.std() / np.sqrt(len(expanded))
    assert_allclose(found.table["fit"]["se"], se, rtol=10 * WARM)


# ---- what cannot be predicted --------------------------------------------------------------------


def test_rows_of_an_unseen_level_are_reported(data):
    data["level"] = np.where(data.index < 2, "rare", data["group"])
    res = hmf.doubleglm("gaussian ~ x + level | z", data).fit()
    groups = np.where(data.index < 2, 0, 1 + data.index % 9)
    with pytest.warns(
        FoldFailureWarning, match="4 held-out rows have a factor level.*; 2 rows have"
    ):
        found = het.cross_validate(res, 5, groups=groups, repeats=2, rng=1, metrics="mse")
    assert found.unpredicted == 4
    assert found.left_out == 2
    assert found.scores["fit"]["mse"].isna().to_numpy().nonzero()[0].tolist() == [0, 1]
    assert "4 held-out rows have a factor level or a column" in str(found)
    # their fold-mates count, and rows that keep the relation of aliased columns are predicted
    data["twin"] = data["x"] + (data.index == 0)
    res = hmf.doubleglm("gaussian ~ x + twin | z", data).fit()
    with pytest.warns(FoldFailureWarning):
        found = het.cross_validate(res, 5, rng=1, metrics="mse")
    assert found.unpredicted == 1
    assert found.scores["fit"]["mse"].isna().sum() == 1


def test_rows_beyond_the_boundary_are_not_predicted():
    # new_rows.fix_at_boundary leaves NaN where nothing can be said of a row's dispersion
    model = CASES["beta-binomial"].formula("x | z")
    Z = model.core.Z.copy()
    Z[5] = np.nan
    ok = _predictable(model, model.core.with_designs(Z=Z))
    assert np.flatnonzero(~ok).tolist() == [5]


def test_unseen_level_of_the_dispersion(data):
    data["level"] = np.where(data.index < 6, "rare", data["group"])
    res = hmf.doubleglm("gaussian ~ x | level", data).fit()
    with pytest.warns(FoldFailureWarning):
        found = het.cross_validate(
            res, 5, groups=np.where(data.index < 6, 0, 1 + data.index % 9), rng=1, metrics="mse"
        )
    assert found.unpredicted == 6


def test_failed_folds_are_reported(data):
    # without row 0 the cell has one row, with a mean of its own: no maximum
    data["pair"] = (data.index < 2).astype(float)
    res = hmf.doubleglm("gaussian ~ x + pair | pair", data).fit()
    groups = data.index.to_numpy().copy()
    with pytest.warns(
        FoldFailureWarning, match="folds failed for 'fit' and are left out for all models"
    ):
        found = het.cross_validate(res, 60, groups=groups, rng=1, metrics=["mse", "coverage"])
    assert found.failed["constant dispersion"] == {}
    (reason,) = found.failed["fit"]
    assert reason == "UnboundedLikelihoodError: the likelihood grows without bound"
    assert found.failed["fit"][reason] in (1, 2)
    assert found.left_out == found.scores["fit"]["mse"].isna().sum() > 0
    both = [scores["mse"].isna() for scores in found.scores.values()]
    assert both[0].equals(both[1])  # paired
    assert "of 60 folds failed for 'fit'" in str(found)


def test_reasons_of_failures_say_why(data):
    # was 'UnboundedLikelihoodError: REML'
    data["pair"] = (data.index < 2).astype(float)
    res = hmf.doubleglm("gaussian ~ x + pair | pair", data).fit(reml=True)
    with pytest.warns(FoldFailureWarning, match="REML: the mean fits some rows exactly"):
        found = het.cross_validate(res, 60, groups=data.index, rng=1, metrics="mse")
    (why,) = found.failed["fit"]
    assert why.startswith(
        "UnboundedLikelihoodError: REML: the mean fits some rows exactly, so there is no information"
    )
    assert found.failed["fit"][why] in (1, 2)


MASK = np.arange(9) > 2
REASONS = {
    "REML: no information": "REML: no information",
    "no maximum was found": "no maximum was found: the value is 7.25",
    "edge: some rows lie beyond": f"edge: {rows_text(MASK)} lie beyond; move it",
    "no maximum in some rows": f"no maximum in {rows_text(~MASK)}",
    "long " * 22 + "long ...": "long " * 40,
}


@pytest.mark.parametrize("short", REASONS)
def test_reasons_are_short(short):
    assert reason(ValueError(REASONS[short])) == f"ValueError: {short}"


def test_every_fold_failed(data):
    res = hmf.doubleglm("gaussian ~ x + z | 1", data.iloc[:5]).fit()
    with pytest.raises(
        ValueError, match=r"every fold failed for 'fit': \{'UnboundedLikelihoodError"
    ):
        het.cross_validate(res, 2, rng=0, metrics="mse")  # three coefficients, two or three rows


@pytest.mark.parametrize(
    ("right", "name"), [("x + group | z", "group"), ("x | group", "dispersion-group")]
)
def test_groups_of_a_term_of_the_model(data, right, name):
    res = hmf.doubleglm(f"gaussian ~ {right}", data).fit()
    with pytest.raises(
        ValueError,
        match=f"groups: no row has a score: {name} cannot be estimated ",
    ):
        het.cross_validate(res, 3, groups="group", rng=1)


def test_a_metric_that_is_nan_shows(data):
    res = CASES["gaussian"].formula("x").fit()

    def holes(held):
        return np.where(held.rows == 3, np.nan, held.endog)

    assert np.isnan(het.cross_validate(res, metrics=holes).table.loc["holes", ("fit", "mean")])


def test_boundary_in_training():
    lirat = het.datasets.load_lirat()
    with pytest.warns(het.exceptions.BoundaryWarning):
        res = hmf.betabinomial("R + I(N - R) ~ C(grp) | C(grp)", lirat).fit()
    found = het.cross_validate(res, 5, rng=2, metrics=["log_score", "coverage"])
    assert np.isfinite(found.scores["fit"]["log_score"]).all()


# ---- arguments -----------------------------------------------------------------------------------


def test_metrics_by_function_and_fold():
    res = fitted("gaussian")

    def worst(held):
        return np.max(np.abs(held.endog - held.mean))

    found = het.cross_validate(res, 5, rng=1, metrics=["mae", worst])
    assert found.table.index.tolist() == ["mae", "worst"]
    assert found.scores["fit"].columns.tolist() == ["mae"]
    part = parts(120, 5, 1)
    folds = found.scores["fit"]["mae"].groupby(part).max()
    assert_allclose(found.table.loc["worst", "fit"], [folds.mean(), folds.std() / np.sqrt(5)])


def test_refusals():
    res, quasi = fitted("gaussian"), fitted("poisson")
    for match, kwargs in {
        "k=1: give a number of parts from 2 to 120, the number of rows": {"k": 1},
        "k=11: give a number of parts from 2 to 3, the number of groups": {
            "k": 11,
            "groups": "group",
        },
        "metrics: 'rmse' is unknown; choose from mse, mae": {"metrics": "rmse"},
        "metrics: 3 is neither": {"metrics": [3]},
        "metrics: 4 is neither": {"metrics": 4},
        "metrics: '<lambda>' returned None; return": {"metrics": lambda held: None},
        "metrics: 'word' returned 'a'; return": {"metrics": {"word": lambda held: "a"}},
        "metrics: give at least one": {"metrics": []},
        "alpha=2": {"alpha": 2},
        "repeats=0": {"repeats": 0},
        "groups='nope' is not a column": {"groups": "nope"},
        "one label for each row": {"groups": ["group", "block"]},
        "returned shape": {"metrics": lambda held: np.ones(3)},
    }.items():
        with pytest.raises(ValueError, match=match):
            het.cross_validate(res, **kwargs)
    with pytest.raises(
        NotImplementedError, match=r"'crps' needs a distribution, and Poisson .*mse, mae, dss"
    ):
        het.cross_validate(quasi, metrics="crps")
    with pytest.raises(ValueError, match="cross_validate needs hetglm results; got DataFrame"):
        het.cross_validate(simulated())
    with pytest.raises(TypeError):
        het.cross_validate(res, seed=3)
    gone = CASES["gaussian"].formula("x").fit()
    gone.remove_data()
    with pytest.raises(ValueError, match="remove_data"):
        het.cross_validate(gone)


def test_metrics_of_one_name_are_refused():
    def mse(held):
        return held.endog

    res = fitted("gaussian")
    partials = [functools.partial(np.subtract, 0), functools.partial(np.add, 0)]
    for name, metrics in {
        "partial": partials,
        "<lambda>": [lambda held: held.endog, lambda held: held.mean],
        "mse": ["mse", mse],
        "mae": ["mae", "mae"],
    }.items():
        with pytest.raises(
            ValueError, match=f"metrics: the name '{name}' is used twice; give a dict"
        ):
            het.cross_validate(res, metrics=metrics)
    found = het.cross_validate(res, 3, metrics={"one": "mse", "two": mse, "three": "mse"})
    assert found.table.index.tolist() == ["one", "two", "three"]


def test_print_and_progress(capsys):
    found = het.cross_validate(fitted("gaussian"), 3, rng=1, progress=True)
    assert "cross-validation: 100%" in capsys.readouterr().err
    text = str(found)
    assert text.startswith("3-fold cross-validation of 120 rows; standard errors over rows")
    assert text.endswith("coverage should be near 0.95; for all other metrics smaller is better.")
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(AttributeError):
        found.k = 4


@pytest.mark.slow
def test_the_dispersion_part_wins_where_there_is_one():
    # 60 data sets: log score and CRPS prefer the truth, on average and in most
    better = []
    for seed in range(60):
        data = simulated(200, seed)
        res = CASES["gaussian"].formula("x + group | z", data).fit()
        found = het.cross_validate(res, 10, rng=seed, metrics=["log_score", "crps"])
        better.append(found.table["difference"]["mean"] < 0)
    assert np.all(np.mean(better, axis=0) > 0.8)


def test_docstring_examples():
    assert doctest.testmod(crossvalidation, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
