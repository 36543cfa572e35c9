"""Average effects against formulas, differences of the predictions, and repeated rows."""

import importlib
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from conftest import CASES, PREDICTED, RATIOS, WHICH, fitted, simulated
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.iolib.summary2 import summary_col

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import AliasedColumnWarning, FormulaError
from hetglm.prediction import new_rows, quantities
from hetglm.prediction.quantities import QUANTITIES

#: Differences of predictions in the coefficients: h^2 and rounding over h.
DIFFERENCES = 1e-6
RIGHT = "x + group | x + group"


def test_dispersion_ratios_are_those_of_the_coefficients(case):
    """With a log link exp(gamma), with its Wald interval and test."""
    res = case.formula(RIGHT).fit()
    effects = res.dispersion_ratios()
    names = ["dispersion-x", "dispersion-group[T.b]", "dispersion-group[T.c]"]
    assert effects.index.tolist() == [("x", "+ 1"), ("group", "b / a"), ("group", "c / a")]
    assert_allclose(effects.margeff, np.exp(res.params[names]), rtol=1e-12)
    assert_allclose(effects.margeff_se, res.bse[names], rtol=1e-10)
    assert_allclose(effects.conf_int(0.1), np.exp(res.conf_int(0.1).loc[names]), rtol=1e-10)
    assert_allclose(effects.pvalues, res.pvalues[names], rtol=1e-8)
    frame = effects.summary_frame()
    assert frame.columns.tolist() == ["ratio", "se_log", "z", "P", "ci_lower", "ci_upper"]
    assert frame.columns.name == "dispersion"


def test_marginal_effects_by_hand():
    """Of a logit mean: beta times the average of mu (1 - mu)."""
    res = fitted("beta-binomial", RIGHT)
    mu = res.predict()
    effect = res.get_margeff(variables="x")
    assert_allclose(effect.margeff, res.params["x"] * np.mean(mu * (1 - mu)), rtol=1e-10)
    eta = res.predict(which="linear") - res.params["group[T.b]"] * (simulated()["group"] == "b")
    eta -= res.params["group[T.c]"] * (simulated()["group"] == "c")
    low, high = (1 / (1 + np.exp(-eta - shift)) for shift in (0, res.params["group[T.b]"]))
    effects = res.get_margeff().summary_frame()
    assert_allclose(effects.loc[("group", "b - a"), "effect"], np.mean(high - low), rtol=1e-10)
    icc = res.predict(which="icc")
    expected = res.params["dispersion-x"] * np.mean(icc * (1 - icc))
    assert_allclose(res.get_margeff("icc", variables=["x"]).margeff, expected, rtol=1e-10)


@pytest.mark.parametrize(("case", "which"), PREDICTED, indirect=["case"])
def test_effects_and_errors_by_differences(case, which):
    """Of the average prediction, moved by hand; errors by differences in the coefficients."""
    data = simulated()
    res = case.formula("x * group | x + group").fit()
    effects = res.get_margeff(which).summary_frame()
    h = 1e-5 * data["x"].std()
    changed = {
        ("x", "d/dx"): [(data.assign(x=data["x"] + s * h), s / (2 * h)) for s in (1, -1)],
        ("group", "c - a"): [(data.assign(group=g), s) for g, s in (("c", 1), ("a", -1))],
    }
    V = res.cov_params().to_numpy()
    for row, parts in changed.items():
        rows = [
            (new_rows.rows_of_results(res, which, new, None, True, {})[0], weight)
            for new, weight in parts
        ]

        def effect(params, rows=rows):
            return sum(w * np.mean(quantities.predict(r, params, which)) for r, w in rows)

        params = np.asarray(res.params)
        assert_allclose(effects.loc[row, "effect"], effect(params), rtol=DIFFERENCES, atol=1e-9)
        steps = 1e-5 * np.eye(len(params))
        gradient = np.array([(effect(params + s) - effect(params - s)) / 2e-5 for s in steps])
        assert_allclose(effects.loc[row, "se"], np.sqrt(gradient @ V @ gradient), rtol=1e-4)


@pytest.mark.parametrize(("case", "which"), RATIOS, indirect=["case"])
def test_ratios_by_predictions(case, which):
    data, res = simulated(), case.formula(RIGHT).fit()
    if np.any(res.predict(which=which) < 0):
        with pytest.raises(ValueError, match=r"which='mean': .*some are negative; use get_margeff"):
            res.dispersion_ratios(which)
        return
    table = res.dispersion_ratios(which).summary_frame()
    low, high = (res.predict(data.assign(group=g), which=which) for g in "ab")
    assert_allclose(table.loc[("group", "b / a"), "ratio"], high.mean() / low.mean(), rtol=1e-12)
    moved = res.predict(data.assign(x=data["x"] + 1), which=which).mean()
    now = res.predict(which=which).mean()
    assert_allclose(table.loc[("x", "+ 1"), "ratio"], moved / now, rtol=1e-12)


def test_ratios_of_intraclass_correlations():
    """Of rho itself, with an interval on the scale of its logarithm; near that of sigma."""
    res, data = CASES["beta-binomial"].formula(RIGHT).fit(), simulated()
    table = res.dispersion_ratios("icc").summary_frame(0.1).loc[("group", "b / a")]
    low, high = (res.predict(data.assign(group=g), which="icc").mean() for g in "ab")
    assert_allclose(table["ratio"], high / low, rtol=1e-12)
    half = stats.norm.isf(0.05) * table["se_log"]
    assert_allclose(
        np.log(table[["ci_lower", "ci_upper"]].to_numpy(float) / table["ratio"]), [-half, half]
    )
    rows = [
        new_rows.rows_of_results(res, "icc", data.assign(group=g), None, True, {})[0] for g in "ab"
    ]

    def log_ratio(params):
        low, high = (np.mean(quantities.predict(r, params, "icc")) for r in rows)
        return np.log(high / low)

    params = np.asarray(res.params)
    steps = 1e-5 * np.eye(len(params))
    gradient = np.array([(log_ratio(params + s) - log_ratio(params - s)) / 2e-5 for s in steps])
    V = res.cov_params().to_numpy()
    assert_allclose(table["se_log"], np.sqrt(gradient @ V @ gradient), rtol=DIFFERENCES)


def test_robust_errors_and_t():
    res = (
        CASES["gaussian"]
        .formula(RIGHT)
        .fit(cov_type="cluster", cov_kwds={"groups": "block"}, use_t=True)
    )
    effect = res.get_margeff("linear", variables="x")
    assert_allclose(effect.margeff_se, res.bse["x"], rtol=1e-8)
    assert_allclose(effect.pvalues, res.pvalues["x"], rtol=1e-6)
    assert_allclose(effect.conf_int(), res.conf_int().loc[["x"]], rtol=1e-8)
    assert "t" in effect.summary_frame()


def test_arrays_of_the_fit_stay_with_their_rows():
    """Offsets, exposure and trials given as arrays are those of each row."""
    data = simulated()
    by_name = CASES["poisson"].formula("x | x", exposure="time").fit()
    by_array = CASES["poisson"].formula("x | x", exposure=data["time"].to_numpy()).fit()
    for which in ("mean", "var"):
        a, b = (res.get_margeff(which).summary_frame() for res in (by_name, by_array))
        assert_allclose(a, b, rtol=1e-8)


def test_a_row_of_frequency_f_counts_so_often(case):
    data = simulated()
    repeated = data.loc[data.index.repeat(data["w"])].reset_index(drop=True)
    a = case.formula(RIGHT, data, freq_weights="w").fit()
    b = case.formula(RIGHT, repeated).fit()
    frames = [res.get_margeff("var").summary_frame() for res in (a, b)]
    assert_allclose(frames[0], frames[1], rtol=1e-5)


def test_kinds_of_variables():
    """Factors by C(), categories in their order, logical values; numbers by their derivative."""
    data = simulated().copy()
    data["number"] = np.arange(len(data)) % 3 + 1
    data["ordered"] = pd.Categorical(data["group"], categories=["c", "a", "b"])
    data["flag"] = data["z"] > 0
    res = CASES["gaussian"].formula("C(number) + np.exp(x) + flag | ordered", data).fit()
    mean = res.get_margeff().summary_frame()["effect"]
    assert list(mean.index) == [
        ("x", "d/dx"),
        ("number", "2 - 1"),
        ("number", "3 - 1"),
        ("flag", "True - False"),
    ]
    assert_allclose(mean[("number", "3 - 1")], res.params["C(number)[T.3]"])
    assert_allclose(mean[("flag", "True - False")], res.params["flag[T.True]"])
    slope = res.params["np.exp(x)"] * np.mean(np.exp(data["x"]))
    assert_allclose(mean[("x", "d/dx")], slope, rtol=1e-9)
    dispersion = res.get_margeff("linear-dispersion").summary_frame()["effect"]
    assert list(dispersion.index) == [("ordered", "a - c"), ("ordered", "b - c")]
    assert_allclose(dispersion, res.params.filter(like="dispersion-ordered"))


def test_input():
    res = fitted("gaussian", "x | z")
    with pytest.raises(ValueError, match="variables: 'z' does not affect the mean; choose from x"):
        res.get_margeff(variables="z")
    with pytest.raises(ValueError, match="which='prob': choose one of mean"):
        res.get_margeff("prob")
    with pytest.raises(ValueError, match="no intraclass correlation"):
        res.get_margeff("icc")
    data = simulated()
    arrays = het.DoubleGLM(data["gaussian"].to_numpy(), np.ones((len(data), 1))).fit()
    with pytest.raises(ValueError, match="need a formula fit"):
        arrays.get_margeff()


def test_z_and_p():
    effect = fitted("gamma", RIGHT).get_margeff()
    assert_allclose(effect.tvalues, effect.margeff / effect.margeff_se)
    assert_allclose(effect.pvalues, 2 * stats.norm.sf(np.abs(effect.tvalues)))


# ---- other tools that statsmodels users have at hand -------------------------------------------------


def test_pairwise_comparisons(res):
    table = res.t_test_pairwise("group").result_frame
    assert table.index.tolist() == ["b-a", "c-a", "c-b"]
    assert_allclose(table.loc["b-a", "coef"], res.params["group[T.b]"])
    difference = res.params["group[T.c]"] - res.params["group[T.b]"]
    assert_allclose(table.loc["c-b", "coef"], difference)
    dispersion = res.t_test_pairwise("dispersion-group", "bonferroni").result_frame
    test = res.t_test("dispersion-group[T.c] = dispersion-group[T.b]")
    assert_allclose(dispersion.loc["c-b", "P>|z|"], test.pvalue)
    corrected = np.minimum(3 * dispersion["P>|z|"], 1)
    assert_allclose(dispersion["pvalue-bonferroni"], corrected)


def test_pairwise_comparisons_of_other_codings():
    """A factor without an intercept, sums to zero, names of one's own: the same differences."""
    data = simulated()
    treatment, cells, sums = (
        CASES["gaussian"].formula(f"{right} | z", data).fit()
        for right in ("x + group", "x + group - 1", "x + C(group, Sum)")
    )
    expected = treatment.t_test_pairwise("group").result_frame["coef"]
    assert_allclose(cells.t_test_pairwise("group").result_frame["coef"], expected, rtol=1e-6)
    named = sums.t_test_pairwise("C(group, Sum)", factor_labels=["x", "y", "z"]).result_frame
    assert_allclose(named["coef"], expected, rtol=1e-6)
    assert named.index.tolist() == ["y-x", "z-x", "z-y"]


def test_pairwise_input(data):
    res = CASES["gaussian"].formula("x * group | z").fit()
    with pytest.raises(ValueError, match="'x' is a number"):
        res.t_test_pairwise("x")
    with pytest.raises(ValueError, match="'x:group' is not a term of one factor"):
        res.t_test_pairwise("x:group")
    with pytest.raises(ValueError, match="'group' is not a term"):
        res.t_test_pairwise("dispersion-group")
    with pytest.raises(ValueError, match="factor_labels: 2, but there are 3"):
        res.t_test_pairwise("group", factor_labels=["x", "y"])
    arrays = het.DoubleGLM(data["gaussian"].to_numpy(), np.ones((len(data), 1))).fit()
    with pytest.raises(ValueError, match="needs the terms of a formula"):
        arrays.t_test_pairwise("x1")


def test_several_fits_side_by_side():
    """A row for each coefficient of any fit, the parts distinguished, next to a fit of statsmodels."""
    one, two = (CASES["gaussian"].formula(right).fit() for right in ("x", RIGHT))
    peer = smf.ols("gaussian ~ x", simulated()).fit()
    table = summary_col([one, two, peer], model_names=["one", "two", "OLS"]).tables[0]
    names = [name for name in table.index if name and not name.startswith("R-squared")]
    assert sorted(names) == sorted(two.params.index)
    assert table.loc["x"].tolist() == [f"{res.params['x']:.4f}" for res in (one, two, peer)]
    assert table.loc["dispersion-x"].tolist() == ["", f"{two.params['dispersion-x']:.4f}", ""]
    assert f"({two.bse['dispersion-x']:.4f})" in table["two"].tolist()


def test_fits_by_group(case):
    """A fit for each group of a data frame, as pipelines have it."""
    data = simulated()
    table = data.groupby("group")[data.columns.drop("group")].apply(
        lambda part: case.formula("x | z", part).fit().params
    )
    assert table.shape == (3, 4)
    alone = case.formula("x | z", data[data["group"] == "b"]).fit()
    assert_allclose(table.loc["b"], alone.params, rtol=1e-6)
    fits = data.groupby("group")[data.columns.drop("group")].apply(
        lambda part: case.formula("x | z", part).fit()
    )
    assert_allclose(fits["b"].predict(data.head(2)), alone.predict(data.head(2)), rtol=1e-6)


def test_the_package_marginaleffects_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "hetglm.marginaleffects", raising=False)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"pip install 'marginaleffects>=0\.6' 'polars<2'"):
        importlib.import_module("hetglm.marginaleffects")


CONDITIONS = [
    "I(x > 0)",
    "(x > 0)",
    "np.where(x > 0, 'up', 'down')",
    "C(x > 0)",
    "C(np.sign(x))",
    "C(x // 9)",
]


@pytest.mark.parametrize("term", CONDITIONS)
def test_condition_on_a_number_leaves_it_a_number(term):
    res = hmf.doubleglm(f"gaussian ~ x | x + {term}", simulated()).fit()
    effects = res.get_margeff("dispersion")
    assert effects.index.tolist() == [("x", "d/dx")]  # not 119 contrasts
    # no row is so near to 0 that the step crosses it
    average = res.params["dispersion-x"] * np.mean(res.predict(which="dispersion"))
    assert_allclose(effects.margeff, average, rtol=DIFFERENCES)


SITES = ["C(site)", "C(site, Sum)", "C(Q('site'))", "C(data=site)", "z:C(site)", "site.astype(str)"]


@pytest.mark.parametrize("term", [*SITES, "C(site - 1)", "C(1 + site)"])
def test_number_written_as_a_factor_is_one(term):
    res = hmf.doubleglm(f"gaussian ~ 1 | {term}", simulated()).fit()
    names = [contrast for name, contrast in res.get_margeff("dispersion", variables="site").index]
    assert names == [f"{level} - 0" for level in range(1, 13)]


@pytest.mark.parametrize("which", [name for name in WHICH if QUANTITIES[name].signed])
def test_predictors_have_no_ratios(which):
    with pytest.raises(ValueError, match=rf"^which='{which}': .*negative.*use get_margeff"):
        fitted("gamma").dispersion_ratios(which)


@pytest.mark.parametrize("term", ["bs(x, df=4)", "np.sqrt(x - LEAST)"])
def test_derivatives_stay_within_the_data(term):
    """By the difference of predictions inside; of rows at the ends, from within."""
    data = simulated()
    right = term.replace("LEAST", repr(float(data["x"].min()) - 0.5))
    res = CASES["gaussian"].formula(f"{right} | {right}").fit()
    # the whole data a little inward, each row towards the middle
    h, side = 1e-5, np.where(data["x"] > data["x"].median(), -1, 1)
    for which in ("mean", "var"):
        near, far = (
            res.predict(data.assign(x=data["x"] + k * h * side), which=which) for k in (1, 2)
        )
        slope = side * (4 * near - far - 3 * res.predict(which=which)) / (2 * h)
        assert_allclose(res.get_margeff(which).margeff, slope.mean(), rtol=1e-6)


def test_a_variable_that_moves_nothing_has_the_effect_zero():
    effects = CASES["gaussian"].formula("bs(x, df=4) | z").fit().get_margeff("var")
    assert effects.index.get_level_values(0).tolist() == ["x", "z"]
    assert (effects.margeff[0], effects.margeff_se[0]) == (0, 0)


def test_what_cannot_be_compared_is_named():
    data = simulated()
    data = data.assign(root=data["x"] - data["x"].min())
    spline = CASES["gaussian"].formula("x | bs(z, df=4)").fit()
    message = (
        r"^z \(\+ 1\): the formula cannot be evaluated .*out of the range.*choose other variables"
    )
    with pytest.raises(FormulaError, match=message):
        spline.dispersion_ratios()
    cut = CASES["gaussian"].formula("C(pd.cut(x, 3)) | 1").fit()
    with pytest.raises(FormulaError, match=r"^x \(.*categories recomputed"):
        cut.get_margeff()
    root = hmf.doubleglm("gaussian ~ np.sqrt(root)", data).fit()
    with pytest.raises(ValueError, match=r"^root: the derivative at its smallest or largest"):
        root.get_margeff()


# ---- the options of statsmodels' get_margeff ------------------------------------------------------

AT = ["overall", "mean", "median", "zero"]
METHODS = ["dydx", "eyex", "dyex", "eydx"]


@pytest.fixture(scope="module")
def both():
    data = simulated().assign(flag=lambda d: (d["z"] > 0).astype(int))
    peer = smf.poisson("count ~ x + w + flag", data).fit(disp=0)
    fit = hmf.doubleglm("count ~ x + w + flag", data, family=sm.families.Poisson()).fit()
    return peer, fit


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("method", METHODS)
def test_options_as_statsmodels(both, at, method):
    """The same effects; the same errors but for the estimate of the scale."""
    peer, fit = both
    ours, theirs = (res.get_margeff(at=at, method=method) for res in (fit, peer))
    assert_allclose(ours.margeff, theirs.margeff, rtol=1e-5, atol=1e-9)
    expected = fit.model.fit(cov_type="eim").get_margeff(at=at, method=method).margeff_se
    scale = np.sqrt(peer.scale / fit.fitted_dispersion.iloc[0])
    assert_allclose(scale * expected, theirs.margeff_se, rtol=1e-5, atol=1e-9)


def test_discrete_changes_as_statsmodels(both):
    peer, fit = both
    for kwargs in ({"dummy": True}, {"count": True}, {"dummy": True, "count": True}):
        ours, theirs = (res.get_margeff(**kwargs) for res in (fit, peer))
        assert_allclose(ours.margeff, theirs.margeff, rtol=1e-5)
    labels = fit.get_margeff(dummy=True, count=True).index.get_level_values(1)
    assert labels.tolist() == ["d/dx", "(+ 1 less - 1)/2", "1 - 0"]


def test_effects_of_each_row(both):
    peer, fit = both
    ours, theirs = (res.get_margeff(at="all") for res in (fit, peer))
    assert_allclose(ours.margeff, theirs.margeff, rtol=1e-5)
    assert ours.summary_frame().shape == (len(simulated()), 3)
    assert_allclose(ours.margeff.mean(axis=0), fit.get_margeff().margeff)
    with pytest.raises(ValueError, match=r"at='all' .*without standard errors"):
        ours.conf_int()


def test_values_fixed_by_name(both):
    """atexog: by the name of a variable, where statsmodels has positions of columns."""
    peer, fit = both
    theirs = peer.get_margeff(atexog={3: 1.0}).margeff
    assert_allclose(fit.get_margeff(atexog={"flag": 1}).margeff, theirs, rtol=1e-5)
    with pytest.raises(ValueError, match="atexog: 2 is not a variable"):
        fit.get_margeff(atexog={2: 1.0})
    with pytest.raises(ValueError, match="atexog: give a dict"):
        fit.get_margeff(atexog=np.ones(3))


@pytest.mark.parametrize(("case", "which"), RATIOS, indirect=["case"])
def test_options_of_every_part(case, which):
    """An elasticity is the derivative of one logarithm in the other, with its error."""
    data = simulated().assign(x=lambda d: np.exp(d["x"] / 2))
    res = case.formula("x + group | x + group", data).fit()
    if np.any(res.predict(which=which) <= 0):
        with pytest.raises(ValueError, match="proportional changes need positive predictions"):
            res.get_margeff(which, method="eyex")
        return
    effect = res.get_margeff(which, method="eyex")
    assert effect.index.tolist() == [("x", "d/dx")]
    h = 1e-5
    rows = [
        new_rows.rows_of_results(
            res, which, data.assign(x=data["x"] * np.exp(s * h)), None, True, {}
        )[0]
        for s in (1, -1)
    ]

    def elasticity(params):
        up, down = (np.log(quantities.predict(r, params, which)) for r in rows)
        return np.mean(up - down) / (2 * h)

    params = np.asarray(res.params)
    assert_allclose(effect.margeff, elasticity(params), rtol=1e-6)
    steps = 1e-4 * np.eye(len(params))
    gradient = [(elasticity(params + s) - elasticity(params - s)) / 2e-4 for s in steps]
    variance = np.array(gradient) @ res.cov_params().to_numpy() @ gradient
    assert_allclose(effect.margeff_se, np.sqrt(variance), rtol=1e-4)
    factor = res.get_margeff(which, method="eydx", variables="group").summary_frame()["effect"]
    low, high = (np.log(res.predict(data.assign(group=g), which=which)) for g in "ab")
    assert_allclose(factor[("group", "b - a")], np.mean(high - low))
    with pytest.raises(ValueError, match="group is a factor"):
        res.get_margeff(which, method="dyex", variables="group")


def test_unknown_options(both):
    fit = both[1]
    with pytest.raises(ValueError, match="at='nowhere': choose one of 'overall'"):
        fit.get_margeff(at="nowhere")
    with pytest.raises(ValueError, match="method='dx': choose one of 'dydx'"):
        fit.get_margeff(method="dx")
    with pytest.raises(ValueError, match=r"which='overall': .*at='overall'"):
        fit.get_margeff("overall")


@pytest.mark.parametrize("dtype", [object, "category"])
def test_fixed_levels_are_those_of_the_fit(dtype):
    """atexog: a level that the fit never saw is refused by name, of whatever type."""
    data = simulated().assign(group=lambda d: pd.Categorical(d["group"], categories=[*"abcq"]))
    data["year"] = data["group"].cat.codes.astype(int) + 2001
    res = CASES["gaussian"].formula("x * group + C(year) | 1", data.astype({"group": dtype}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AliasedColumnWarning)
        res = res.fit()
    for level in ("q", "zz"):
        with pytest.raises(ValueError, match=rf"atexog: 'group': the level '{level}' .* 'a', 'b'"):
            res.get_margeff(atexog={"group": level})
    with pytest.raises(ValueError, match=r"the level 2009 is not .* had 2001, 2002, 2003"):
        res.get_margeff(atexog={"year": np.array([2009])})


def test_titles_say_where_effects_are():
    res = fitted("gamma", RIGHT)
    titles = {at: str(res.get_margeff(at=at)).splitlines()[0] for at in ("mean", "all", "overall")}
    assert titles["overall"].startswith("Average effects on the mean, standard errors")
    assert titles["mean"].startswith("Effects on the mean at the means of the variables, standard")
    assert titles["all"] == "Effects on the mean in each row"
    assert "Average" not in str(res.get_margeff(at="zero").summary())


def test_only_the_terms_of_a_moved_variable_are_built_again():
    # of both parts: with different formulas each had all its terms built for each contrast
    data, calls = pd.DataFrame({"x": np.linspace(0, 2, 60), "z": np.tile([0.0, 1.0, 3.0], 20)}), []
    data["y"] = 1 + data["x"] + np.random.default_rng(3).normal(size=60)

    def kept(values):
        calls.append(len(values))
        return values**2

    res = hmf.doubleglm("y ~ x * kept(z) + np.log1p(x) | kept(z)", data).fit()
    calls.clear()
    found = res.get_margeff("mean", variables="x")
    assert len(calls) == 4  # of x:kept(z), at each step of the derivative
    _, x, log, both = res.params_mean[["Intercept", "x", "np.log1p(x)", "x:kept(z)"]]
    expected = np.mean(x + log / (1 + data["x"]) + both * data["z"] ** 2)
    assert_allclose(found.margeff, [expected], rtol=1e-9)
    calls.clear()
    res = hmf.doubleglm("y ~ x + kept(z) | z", data).fit()
    calls.clear()
    res.get_margeff("var", variables="x")
    assert calls == []
