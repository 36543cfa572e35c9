"""New rows and contrasts that the data of a fit do not determine are NaN, whatever the coding."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import CASES, PREDICTED, simulated, which_of
from numpy.testing import assert_allclose, assert_array_equal

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import (
    AliasedColumnWarning,
    FormulaError,
    NotEstimableWarning,
    UnseenLevelWarning,
)
from hetglm.prediction.quantities import QUANTITIES

#: Another coding of the same cells: rounding of two fits of one likelihood.
CODINGS = 1e-6
CELL = r"the {} is not estimable, NaN, in row new .* of the new data.*at group = 'c', h = 'v'"


def incomplete():
    """Return data without the cell (c, v)."""
    data = simulated().assign(h=lambda d: np.where(d["w"] > 1, "u", "v"))
    return data[~((data["group"] == "c") & (data["h"] == "v"))]


NEW = pd.DataFrame(
    {"group": ["a", "c", "b", "c"], "h": ["v", "u", "v", "v"], "x": 0.3, "K": 3, "N": 9},
    index=["one", "two", "three", "new"],
)
KNOWN = [True, True, True, False]


def fit_quietly(model):
    """Return a fit of a model with aliased columns."""
    with pytest.warns(AliasedColumnWarning):
        return model.fit()


def predictions(res, which, new=NEW, **kwargs):
    """Return the table of predictions without the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotEstimableWarning)
        return res.get_prediction(new, which=which, **kwargs).summary_frame()


@pytest.mark.parametrize(("case", "which"), PREDICTED, indirect=["case"])
def test_a_cell_never_seen_is_nan(case, which):
    """In the part that has the interaction; the other cells are predicted as ever."""
    for right, part in (("x + group * h | group", "mean"), ("x | group * h", "dispersion")):
        res = fit_quietly(case.formula(right, incomplete()))
        reads = part in QUANTITIES[which].parts
        table = predictions(res, which)
        columns = ["predicted", "se", "ci_lower", "ci_upper"]
        known = KNOWN if reads else [True] * 4
        assert_array_equal(table[columns].notna().all(axis=1), known)
        assert_array_equal(table[columns].isna().all(axis=1), ~np.array(known))
        if reads:
            with pytest.warns(NotEstimableWarning, match=CELL.format(part)):
                assert_array_equal(res.predict(NEW, which=which).notna(), known)


@pytest.mark.parametrize("name", ["gaussian", "beta-binomial", "nb2"])
def test_the_coding_does_not_matter(name):
    """Which rows are estimable, and their predictions, in any reference level and order of levels."""
    codings = [
        "group * h",
        "C(group, Treatment('b')) * C(h, Treatment('v'))",
        "C(group, Treatment('c')) * h",
        "C(group, Sum) * C(h, Sum)",
        "0 + group:h",
        "h * group",
    ]
    tables = []
    for coding in codings:
        res = fit_quietly(CASES[name].formula(f"{coding} | {coding}", incomplete()))
        tables.append(predictions(res, "var"))
    for table in tables:
        assert_array_equal(table["se"].notna(), KNOWN)
        assert_allclose(table, tables[0], rtol=CODINGS)


def test_every_prediction_of_a_count():
    """Probabilities, correlation, design effect, distribution and total of unknown rows are NaN."""
    data = incomplete()
    res = fit_quietly(CASES["beta-binomial"].formula("group | group * h", data))
    for which in ("icc", "design-effect", "effective-size"):
        assert_array_equal(predictions(res, which)["predicted"].notna(), KNOWN)
    with pytest.warns(NotEstimableWarning, match="dispersion"):
        assert_array_equal(res.predict(NEW, which="prob", y_values=[0, 1])[1].notna(), KNOWN)
    with pytest.warns(NotEstimableWarning, match="dispersion"):
        assert_array_equal(np.isfinite(res.get_distribution(NEW).mean()), KNOWN)
    with pytest.warns(NotEstimableWarning, match="dispersion"):
        table = res.get_prediction(NEW).summary_frame()
    assert_array_equal(table["obs_ci_upper"].notna(), KNOWN)
    assert table["predicted"].notna().all()
    with pytest.warns(NotEstimableWarning, match="dispersion"):
        total = res.effective_sample_size(NEW, total=True)
    assert np.isnan(total.predicted).all()


def test_fitted_rows_are_estimable():
    """Passed again they are predicted as they were, without a word."""
    data = incomplete()
    res = fit_quietly(CASES["gaussian"].formula("x + group * h | group * h", data))
    for which in which_of(res.model):
        assert_allclose(res.predict(data, which=which), res.predict(which=which), rtol=1e-12)


def test_a_level_that_no_row_has():
    """With a column of its own, as an array has it."""
    data = simulated()
    levels = pd.Categorical(data["group"], categories=["q", "a", "b", "c"])
    X = np.column_stack([np.ones(len(data)), pd.get_dummies(levels).to_numpy(float)])
    res = fit_quietly(het.DoubleGLM(data["gaussian"].to_numpy(), X, X))
    right = CASES["gaussian"].formula("group | group", data).fit()
    new = np.array([[1.0, 0, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0]])
    for which in which_of(res.model):
        with pytest.warns(NotEstimableWarning, match=r"rows 1, 3 \(.*\) of the new data"):
            values = res.predict(new, new, which=which)
        known = right.predict(pd.DataFrame({"group": ["a", "b"]}), which=which)
        assert_allclose(values[[0, 2]], known, rtol=1e-6)
        assert_array_equal(np.isnan(values), [False, True, False, True])
    with pytest.warns(NotEstimableWarning):
        assert_array_equal(res.model.predict(res.params, new), res.predict(new, which="mean"))


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_scales_and_rounding_of_columns(scale, dtype):
    """A sum of two columns, in any unit; new rows may break it by as much as those of the fit."""
    rng = np.random.default_rng(3)

    def design(m):
        a, b = (scale * (2000 + rng.normal(size=(2, m)))).astype(dtype)
        return np.column_stack([np.ones(m), a, b, a / dtype(3) + b]).astype(float)

    X, new = design(80), design(20)
    y = (X[:, 1] / scale - 2000) + rng.normal(size=80)
    res = fit_quietly(het.DoubleGLM(y, X))
    assert np.isnan(res.params[3])
    kept = het.DoubleGLM(y, X[:, :3]).fit()
    assert_allclose(res.predict(new), kept.predict(new[:, :3]), rtol=1e-6)
    new[5, 3] += scale
    with pytest.warns(NotEstimableWarning, match="x1, x2, x3"):
        assert_array_equal(np.flatnonzero(np.isnan(res.predict(new))), [5])


def test_new_rows_after_remove_data_and_pickling():
    res = fit_quietly(CASES["nb2"].formula("group * h | 1", incomplete()))
    res = pickle.loads(pickle.dumps(res))
    res.remove_data()
    with pytest.warns(NotEstimableWarning, match="group = 'c', h = 'v'"):
        assert_array_equal(res.predict(NEW).notna(), KNOWN)


def test_a_missing_value_is_not_a_cell():
    """It is NaN as ever, without this warning."""
    res = fit_quietly(CASES["gaussian"].formula("group * h | 1", incomplete()))
    new = NEW.iloc[:3].assign(h=["v", None, "v"])
    assert_array_equal(res.predict(new).isna(), [False, True, False])


def test_rows_at_the_boundary_keep_their_zero():
    """A cell without overdispersion has sigma 0; one never seen has none."""
    rows = pd.DataFrame({"g": list("aaaabbbbcccc"), "h": list("uuvvuuvvuuuu")})
    rows["K"], rows["N"] = [2, 9, 3, 8, 5, 5, 4, 6, 1, 8, 2, 7], 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        res = hmf.betabinomial("K + I(N - K) ~ g | g * h", rows).fit()
        assert res.boundary is not None
        new = pd.DataFrame({"g": list("abc"), "h": list("uuv")})
        sigma = res.predict(new, which="dispersion")
    assert sigma[0] > 0
    assert sigma[1] == 0
    assert np.isnan(sigma[2])


# -- tests of pairs ---------------------------------------------------------------------------------


def test_pairs_within_regions_exist():
    """Cities nested in regions: their differences are those of cells, across regions there is none."""
    rng = np.random.default_rng(5)
    city = np.array(list("klmnop"))[np.arange(90) % 6]
    data = pd.DataFrame({"city": city, "region": np.where(city < "n", "north", "south")})
    data["y"] = rng.normal(size=90) + (city == "l")
    res = fit_quietly(hmf.doubleglm("y ~ region + city | 1", data))
    with pytest.warns(NotEstimableWarning, match=r"city: n-k, o-k, p-k, n-l, .*9 in all"):
        table = res.t_test_pairwise("city", method="bonferroni").result_frame
    means = data.groupby("city")["y"].mean()
    for pair, row in table.iterrows():
        high, low = pair.split("-")
        if (high < "n") != (low < "n"):
            assert row[["coef", "std err", "P>|z|"]].isna().all()
            continue
        assert_allclose(row["coef"], means[high] - means[low], rtol=1e-8)
        assert_allclose(row["pvalue-bonferroni"], min(6 * row["P>|z|"], 1), rtol=1e-10)


def test_pairs_beside_the_boundary():
    """Levels of finite dispersion are compared where another level has none."""
    rows = pd.DataFrame({"g": list("aaaabbbbcccc"), "N": 10})
    rows["K"] = [2, 9, 3, 8, 1, 6, 7, 6, 5, 5, 5, 5]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        res = hmf.betabinomial("K + I(N - K) ~ 1 | g", rows).fit()
    with pytest.warns(NotEstimableWarning, match="dispersion-g: c-a, c-b not estimable"):
        table = res.t_test_pairwise("dispersion-g").result_frame
    assert_allclose(table.loc["b-a", "coef"], res.params["dispersion-g[T.b]"])
    assert table.loc[["c-a", "c-b"]].isna().all(axis=None)


# -- covariance of some coefficients ---------------------------------------------------------------


def test_cov_params_of_columns():
    """Numbers for one coefficient, tables with names for several, arrays for combinations."""
    res = CASES["gaussian"].formula("x + z | z").fit()
    whole = res.cov_params()
    assert whole.columns.tolist() == res.params.index.tolist()
    for column in (1, "x", np.int64(1), np.array(1)):
        assert np.ndim(res.cov_params(column=column)) == 0
        assert res.cov_params(column=column) == whole.loc["x", "x"]
    assert res._results.cov_params(column=1) == whole.loc["x", "x"]
    pd.testing.assert_frame_equal(
        res.cov_params(column=["dispersion-z", "x"]),
        whole.loc[["dispersion-z", "x"]][["dispersion-z", "x"]],
    )
    pd.testing.assert_frame_equal(res.cov_params(column=[2]), whole.iloc[[2], [2]])
    pd.testing.assert_frame_equal(
        res.cov_params(column=np.array([0, -1])), whole.iloc[[0, -1], [0, -1]]
    )
    R = np.eye(5)[::-1]
    combined = res.cov_params(R)
    assert isinstance(combined, np.ndarray)
    assert_allclose(combined, R @ whole.to_numpy() @ R.T)
    assert np.ndim(res.cov_params(R[0])) == 0
    assert res.cov_params(R[:2], other=R).shape == (2, 5)
    pd.testing.assert_frame_equal(res.cov_params(cov_p=2 * whole.to_numpy()), 2 * whole)
    with pytest.raises(ValueError, match="on its own"):
        res.cov_params(R, column=1)
    for wrong in ("w", 9, ["x", "w"]):
        with pytest.raises(ValueError, match="column: "):
            res.cov_params(column=wrong)


def test_cov_params_of_an_aliased_column():
    res = fit_quietly(CASES["gaussian"].formula("x + I(2 * x) + z | 1"))
    assert np.isnan(res.cov_params(column="I(2 * x)"))
    assert res.cov_params(column="x") > 0
    assert np.isnan(res.cov_params().loc["I(2 * x)"]).all()


# -- average effects --------------------------------------------------------------------------------


def with_warnings(make, *args, **kwargs):
    """Return the table of effects and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = make(*args, **kwargs).summary_frame()
    assert {w.category for w in caught} == {NotEstimableWarning}
    return table, " ".join(str(w.message) for w in caught)


def test_effects_of_cells_never_seen(case):
    """Of levels compared on all rows, some of which then are in such a cell; whatever the coding."""
    tables = []
    for right in ("x + group * h", "x + C(group, Treatment('c')) * C(h, Treatment('v'))"):
        res = fit_quietly(case.formula(f"{right} | {right}", incomplete()))
        table, text = with_warnings(res.get_margeff, "var")
        for part in ("mean", "dispersion"):
            assert f"determine the {part} at group = 'c', h = 'v'" in text
        assert "group (c - a): not estimable, NaN: " in text
        assert "h (v - u)" in text
        tables.append(table)
        known = {"d/dx": True, "b - a": True, "c - a": False, "v - u": False}
        for (_, label), row in table.iterrows():
            assert row.notna().all() == row.notna().any() == known[label]
        if not res.predict(which="mean").min() < 0:
            ratios = with_warnings(res.dispersion_ratios, "mean")[0]
            assert_array_equal(ratios["se_log"].isna(), [False, False, True, True])
    assert_allclose(tables[0], tables[1], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("which", ["mean", "dispersion"])
@pytest.mark.parametrize("shift", [0, 1e5])
def test_the_effect_of_an_aliased_variable(which, shift):
    """Of x and of twice x, one held while the other moves, nothing is known; of z it is."""
    data = incomplete().assign(x=lambda d: d["x"] + shift, twice=lambda d: 2 * d["x"])
    for right in ("x + twice + z", "twice + x + z"):
        res = fit_quietly(CASES["gaussian"].formula(f"{right} | {right}", data))
        table, text = with_warnings(res.get_margeff, which)
        assert "x (d/dx): not estimable, NaN" in text
        assert "twice (d/dx): not estimable, NaN" in text
        assert table.loc[["x", "twice"]].isna().all(axis=None)
        alone = CASES["gaussian"].formula("x + z | x + z", data).fit().get_margeff(which)
        # products of a column that far from zero have lost the digits of its square
        rtol = max(1e-6, 10 * np.finfo(float).eps * shift**2)
        assert_allclose(table.loc["z"], alone.summary_frame().loc["z"], rtol=rtol)
        ratios = with_warnings(res.dispersion_ratios)[0]["ratio"]
        assert_array_equal(ratios.isna().loc[["x", "twice", "z"]], [True, True, False])


@pytest.mark.parametrize("shift", [0, 1e5])
def test_columns_that_move_together_have_an_effect(shift):
    """One variable makes both: its effect is that of the fit without the second."""
    data = simulated().assign(x=lambda d: d["x"] + shift)
    res = fit_quietly(CASES["gaussian"].formula("x + I(2 * x) + group | 1", data))
    alone = CASES["gaussian"].formula("x + group | 1", data).fit()
    assert_allclose(
        res.get_margeff().summary_frame(), alone.get_margeff().summary_frame(), rtol=1e-6
    )


def test_plots_and_the_package_marginaleffects():
    """Grids with such a cell are drawn without it; the package has no estimate of it."""
    me = pytest.importorskip("marginaleffects")
    adapter = pytest.importorskip("hetglm.marginaleffects")
    data = incomplete().rename(columns={"group": "kind"})
    res = fit_quietly(CASES["gaussian"].formula("kind * h | kind * h", data))
    with pytest.warns(NotEstimableWarning, match="kind = 'c', h = 'v'"):
        ax = res.plot_dispersion("kind:h")
    ax.figure.clf()
    model = adapter.MarginalModel(res, "dispersion")
    grid = me.datagrid(model, kind=["a", "c"], h=["u", "v"])
    with pytest.warns(NotEstimableWarning, match="kind = 'c', h = 'v'"):
        table = me.predictions(model, newdata=grid).to_pandas()
    unknown = (table["kind"].astype(str) == "c") & (table["h"].astype(str) == "v")
    assert_array_equal(table["estimate"].isna(), unknown)
    assert_array_equal(table["std_error"].isna(), unknown)


def test_levels_that_are_numbers_are_named_as_numbers():
    """2009, not np.int64(2009)."""
    data = simulated().assign(year=lambda d: pd.Categorical(2001 + np.arange(len(d)) % 3))
    data["year"] = data["year"].cat.add_categories([2009])
    res = CASES["gaussian"].formula("C(year) | 1", data).fit()
    with pytest.warns(UnseenLevelWarning, match=r"had 2009 of 'year'"):
        assert np.isnan(res.predict(pd.DataFrame({"year": [2009]})).iloc[0])
    with pytest.raises(FormulaError, match="the level 1999 is not one of the fit, which had 2001"):
        res.predict(pd.DataFrame({"year": [1999]}))
