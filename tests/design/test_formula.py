"""Two-part formulas: the bar, one set of rows for everything, names, and new data."""

import pickle

import numpy as np
import pandas as pd
import patsy
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal

import hetglm.formula.api as hmf
from hetglm.design.syntax import split_bar
from hetglm.exceptions import FormulaError, MissingValueError
from hetglm.models import DoubleGLM

#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6


def double(x):
    """Return twice x; pickles, as functions at the top of a module do."""
    return 2 * x


def fit(formula, data, *args, **kwargs):
    return hmf.doubleglm(formula, data, *args, eval_env=1, **kwargs).fit()


# ---- the bar ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("y ~ x", ("y ~ x", None)),
        ("y ~ x | z", ("y ~ x", "z")),
        ("y~x|z+w", ("y~x", "z+w")),
        ("y ~ I((a) | (b))", ("y ~ I((a) | (b))", None)),
        ("y ~ I((a) | (b)) | I((c) | (d))", ("y ~ I((a) | (b))", "I((c) | (d))")),
        ("y ~ Q('a|b') | Q(\"c|d\")", ("y ~ Q('a|b')", 'Q("c|d")')),
        ("y ~ f(x['a|b']) | 1", ("y ~ f(x['a|b'])", "1")),
        ("y ~ Q('it\\'s | x') | z", ("y ~ Q('it\\'s | x')", "z")),
    ],
)
def test_only_a_top_level_bar_splits(formula, parts):
    assert split_bar(formula) == parts


def test_the_bar_and_the_second_formula_say_the_same(data):
    bar = fit("gaussian ~ x | z + group", data)
    for dispersion in ("~ z + group", "z + group"):
        res = fit("gaussian ~ x", data, dispersion)
        assert res.params.index.equals(bar.params.index)
        assert_array_equal(res.params, bar.params)
    assert fit("gaussian ~ x", data).params.index[-1] == "dispersion-Intercept"


def test_bars_inside_terms(data):
    data = data.rename(columns={"z": "a|b"})
    res = fit("gaussian ~ I((x > 0) | (shift > 0)) | Q('a|b')", data)
    names = ["Intercept", "I((x > 0) | (shift > 0))[T.True]", "Intercept", "Q('a|b')"]
    assert [*res.params_mean.index, *res.params_dispersion.index] == names
    new = data.tail(3)
    assert_allclose(res.predict(new, which="var"), res.predict(which="var").tail(3))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("gaussian ~ x | z | w",), "2 bars"),
        (("gaussian ~ x | z", "~ z"), "has a bar and exog_dispersion_formula='~ z'.*once"),
        (("gaussian ~ x | ",), r"write 'y ~ mean \| dispersion'"),
        (("| x",), r"write 'y ~ mean \| dispersion'"),
        (("gaussian ~ x", ""), "cannot read the formula"),
        (("gaussian ~ x", "~"), "cannot read the formula"),
        (("gaussian ~ x", "gaussian ~ z"), "~ can only be used once|left-hand side"),
        (("x + z",), "no response; write 'y ~"),
        (("gaussian ~ x +",), "cannot read the formula"),
        (("gaussian ~ np.log(x",), "cannot read the formula.*unclosed bracket"),
        (("gaussian ~ I(x z)",), r"x z"),
        ((None,), "formula must be a str.*NoneType"),
        (("gaussian ~ nope",), "nope"),
        (("gaussian ~ x | log(nope)",), "nope"),
        (("gaussian ~ undefined(x)",), "undefined"),
        (("group ~ x",), "response 'group' is not numeric"),
    ],
)
def test_unreadable_formulas(data, args, message):
    with pytest.raises(FormulaError, match=message):
        hmf.doubleglm(args[0], data, *args[1:])


# ---- rows ------------------------------------------------------------------------------------

HOLES = {"gaussian": 3, "x": 5, "z": 7, "shift": 9, "w": 11, "group": 13}
ROW_ARRAYS = {"offset": "shift", "var_weights": "w"}


@pytest.fixture
def holes(data):
    for column, row in HOLES.items():
        data[column] = data[column].astype(object if column == "group" else float)
        data.loc[row, column] = None if column == "group" else np.nan
    data.index = data.index + 1000
    return data


@pytest.mark.parametrize("named", [True, False])
def test_a_missing_value_anywhere_drops_the_row_from_everything(holes, named):
    arrays = ROW_ARRAYS if named else {k: holes[v].to_numpy() for k, v in ROW_ARRAYS.items()}
    groups = "block" if named else holes["block"].to_numpy()
    model = hmf.doubleglm("gaussian ~ x | z + group", holes, **arrays)
    res = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    complete = holes.drop([1000 + row for row in HOLES.values()])
    expected = hmf.doubleglm("gaussian ~ x | z + group", complete, **ROW_ARRAYS).fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    )
    assert res.nobs == len(holes) - len(HOLES)
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    assert_allclose(res.bse, expected.bse, rtol=AT_MAXIMUM)
    assert res.fittedvalues.index.equals(complete.index)
    assert model.exog.shape[0] == model.exog_dispersion.shape[0] == len(model.offset) == res.nobs


def test_a_hole_in_another_column_drops_nothing(holes):
    assert fit("count ~ 1 | time", holes).nobs == len(holes)


@pytest.mark.parametrize("missing", ["raise", "none"])
@pytest.mark.parametrize(
    ("formula", "row"), [("gaussian ~ time", 1003), ("count ~ x", 1005), ("count ~ 1 | z", 1007)]
)
def test_missing_values_raise_on_request(holes, missing, formula, row):
    with pytest.raises(MissingValueError, match=f"row {row} misses a value.*missing='drop'"):
        hmf.doubleglm(formula, holes, missing=missing)


def test_missing_values_of_arrays_raise_on_request(holes):
    with pytest.raises(MissingValueError, match=r"row 1009 misses a value.*offset"):
        hmf.doubleglm("count ~ 1", holes, offset="shift", missing="raise")
    with pytest.raises(ValueError, match="missing='ignore'"):
        hmf.doubleglm("count ~ 1", holes, missing="ignore")


def test_groups_with_a_missing_value_are_refused(holes):
    with pytest.raises(ValueError, match="groups: missing value"):
        hmf.doubleglm("count ~ 1", holes).fit(cov_type="cluster", cov_kwds={"groups": "w"})


@pytest.mark.parametrize("kind", ["boolean", "mask", "labels"])
def test_subset(data, kind):
    data.index = [f"row{i}" for i in data.index]
    chosen = data["time"] > 1
    subset = {"boolean": chosen, "mask": chosen.to_numpy(), "labels": data.index[chosen][::-1]}[
        kind
    ]
    weights = data["w"].to_numpy()  # full length: cut with the rows
    res = fit("gaussian ~ x | z", data, subset=subset, var_weights=weights, offset="shift")
    expected = fit("gaussian ~ x | z", data[chosen], var_weights="w", offset="shift")
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    assert res.fittedvalues.index.equals(data.loc[subset].index)
    robust = res.model.fit(cov_type="cluster", cov_kwds={"groups": data["block"].to_numpy()})
    by_name = res.model.fit(cov_type="cluster", cov_kwds={"groups": "block"})
    expected = expected.model.fit(cov_type="cluster", cov_kwds={"groups": "block"})
    assert_allclose(by_name.bse, expected.bse, rtol=AT_MAXIMUM)
    assert_allclose(robust.bse, expected.bse, rtol=AT_MAXIMUM)


@pytest.mark.parametrize("subset", ["nope", [True, False], [99999]])
def test_a_subset_that_selects_nothing_sensible(data, subset):
    with pytest.raises(ValueError, match=r"^subset: cannot select rows"):
        hmf.doubleglm("gaussian ~ x", data, subset=subset)


def test_every_row_array_may_be_a_column(data):
    columns = {
        "offset": "shift",
        "exposure": "time",
        "offset_dispersion": "x",
        "var_weights": "w",
        "freq_weights": "w",
    }
    poisson = sm.families.Poisson()
    named = fit("count ~ x | z", data, family=poisson, **columns)
    arrays = {key: data[column].to_numpy() for key, column in columns.items()}
    given = fit("count ~ x | z", data, family=poisson, **arrays)
    assert_array_equal(named.params, given.params)
    trials = hmf.betabinomial("K ~ x | z", data, n_trials="N").fit()
    assert_array_equal(
        trials.params, hmf.betabinomial("K ~ x | z", data, n_trials=data["N"]).fit().params
    )


def test_data_may_be_a_mapping(data):
    columns = {name: data[name].to_numpy() for name in ("gaussian", "x", "z", "shift")}
    res = fit("gaussian ~ x | z", columns, offset="shift")
    assert_array_equal(res.params, fit("gaussian ~ x | z", data, offset="shift").params)
    new = {"x": [0.0, 1.0], "z": [0.5, 0.5], "shift": [0.0, 0.0]}
    assert res.predict(new, which="var").shape == (2,)


@pytest.mark.parametrize("kind", ["Float64", "Int64", "category", "string", "boolean"])
def test_extension_dtypes(data, kind):
    column = {"Float64": "x", "Int64": "w", "category": "group", "string": "group"}.get(
        kind, "flag"
    )
    data["flag"] = data["time"] > 1
    other = data.astype({column: kind})
    formula = f"gaussian ~ x + {column} | {column}"
    a, b = fit(formula, other), fit(formula, data)
    assert a.params.index.equals(b.params.index)
    assert_allclose(a.params, b.params, atol=AT_MAXIMUM)


# ---- names and environments ------------------------------------------------------------------


def test_callers_variables_named_like_patsys(data):
    C, Q = 5, np.arange(3)  # noqa: F841 - looked up by the formula
    res = fit("gaussian ~ C(group) | C(w) + Q('z')", data)
    assert "C(group)[T.b]" in res.params
    assert_allclose(res.predict(data.head(2), which="var"), res.predict(which="var").head(2))


def test_columns_named_like_patsys(data):
    data = data.assign(C=data["x"], Q=data["z"])
    res = fit("gaussian ~ C(group) + Q('x') | center(z)", data)
    assert res.params.index[3] == "Q('x')"
    as_variables = fit("gaussian ~ C | Q", data)
    assert_array_equal(as_variables.params, fit("gaussian ~ x | z", data).params)
    for name, formula in (("C", "gaussian ~ C + C(group)"), ("Q", "gaussian ~ x | Q + Q('z')")):
        with pytest.raises(FormulaError, match=rf"'{name}' is both.*rename"):
            hmf.doubleglm(formula, data)


def test_callers_functions_and_arrays(data):
    threshold, own = 0.3, data["z"].to_numpy() ** 2

    def positive(x):
        return np.maximum(x, 0) + threshold

    res = hmf.doubleglm("gaussian ~ positive(x) | own", data).fit()
    expected = data.assign(p=np.maximum(data["x"], 0) + threshold, own=own)
    assert_allclose(res.params, fit("gaussian ~ p | own", expected).params, atol=AT_MAXIMUM)
    holey = np.where(np.arange(len(own)) == 4, np.nan, own)  # noqa: F841 - read by the formula
    assert hmf.doubleglm("gaussian ~ x | holey", data).nobs == len(data) - 1
    assert (
        hmf.doubleglm("gaussian ~ x | own", data, subset=data["x"] > 0).nobs
        == (data["x"] > 0).sum()
    )
    with pytest.raises(FormulaError, match="own"):
        res.predict(data.head(2), which="dispersion")
    new = data.head(2).assign(own=own[:2])
    assert_allclose(res.predict(new, which="dispersion"), res.fitted_dispersion.head(2))


def test_new_data_never_borrow_a_callers_variable(data):
    x = np.zeros(2)  # noqa: F841 - must not stand in for the column
    res = hmf.doubleglm("gaussian ~ x | z", data).fit()
    with pytest.raises(FormulaError, match="'x'"):
        res.predict(pd.DataFrame({"z": [0.1, 0.2]}))


@pytest.mark.parametrize("make", [hmf.doubleglm, DoubleGLM.from_formula])
def test_the_caller_is_who_calls(data, make):
    scale_of_caller = 10.0  # noqa: F841 - read by the formula
    assert "I(x / scale_of_caller)" in make("gaussian ~ I(x / scale_of_caller)", data).exog_names


def test_environments(data):
    secret = 2.0  # noqa: F841 - hidden by eval_env=-1

    def inner(depth):
        return hmf.doubleglm("gaussian ~ I(x * secret)", data, eval_env=depth)

    assert inner(1).exog_names[1] == "I(x * secret)"
    for depth in (0, -1):
        with pytest.raises(FormulaError, match="secret"):
            inner(depth)
    assert hmf.doubleglm("gaussian ~ C(group)", data, eval_env=-1).exog.shape[1] == 3
    env = patsy.EvalEnvironment([{"secret": 3.0}])
    assert_allclose(inner(env).exog[:, 1], 3 * data["x"])


def test_dropped_columns(data):
    model = hmf.doubleglm("gaussian ~ x + group | z", data, drop_cols=["Intercept", "x"])
    assert model.exog_names[:2] == ["group[T.b]", "group[T.c]"]
    res = model.fit()
    assert_allclose(res.predict(data.head(2)), res.fittedvalues.head(2))
    with pytest.raises(ValueError, match="nope"):
        hmf.doubleglm("gaussian ~ x", data, drop_cols=["nope"])


# ---- new data --------------------------------------------------------------------------------

TRANSFORMS = [
    "bs(x, df=4) | center(z)",
    "center(x) | bs(z, df=3)",
    "cr(x, df=4) - 1 | scale(z)",
    "standardize(x):group | cr(z, df=3) - 1",
    "C(group, Treatment('b')) | C(group, Sum)",
    "np.exp(x) | double(z)",
    "te(cr(x, df=3), cr(z, df=3)) - 1 | 1",
]


@pytest.mark.parametrize("right", TRANSFORMS)
def test_transforms_keep_what_they_learned(data, right):
    res = fit(f"gaussian ~ {right}", data)
    new = data.iloc[[7, 3]]
    pickled = pickle.loads(pickle.dumps(res))
    for which in ("mean", "dispersion", "var"):
        expected = res.predict(which=which).iloc[[7, 3]]
        assert_allclose(res.predict(new, which=which), expected)
        assert_allclose(pickled.predict(new, which=which), expected)
        assert_allclose(res.predict(new.iloc[0], which=which), expected.iloc[:1])


def test_a_pickled_design_builds_the_same_columns(data):
    spec = fit("gaussian ~ bs(x, df=4):group + double(z) | scale(z)", data).model.spec
    copy = pickle.loads(pickle.dumps(spec))
    for part in ("endog", "mean", "dispersion"):
        original, again = getattr(spec, part), getattr(copy, part)
        assert again.columns == original.columns
        assert again.terms == original.terms
        assert_allclose(again.build(data.tail(4)), original.build(data.tail(4)))
    assert len(pickle.dumps(spec)) < 20_000  # no frame, no caller's variables


def test_a_function_that_cannot_be_pickled_is_named(data):
    local = lambda x: x  # noqa: E731 - lambdas do not pickle
    assert local(1) == 1
    res = hmf.doubleglm("gaussian ~ local(x)", data).fit()
    with pytest.raises(pickle.PicklingError, match=r"'local'.*top level of a module"):
        pickle.dumps(res)


@pytest.mark.parametrize(
    ("formula", "which", "term"),
    [
        ("gaussian ~ group | z", "mean", "group"),
        ("gaussian ~ x | group", "dispersion", "group"),
        ("gaussian ~ x | C(w)", "var", r"C\(w\)"),
    ],
)
def test_levels_unseen_at_the_fit(data, formula, which, term):
    res = fit(formula, data)
    new = data.head(2).assign(group="elsewhere", w=17)
    with pytest.raises(FormulaError, match=rf"new data: in '{term}'.*(elsewhere|17)"):
        res.predict(new, which=which)


def test_a_level_missing_from_new_data_is_no_fault(data):
    res = fit("gaussian ~ group | group", data)
    new = data[data["group"] == "b"].head(2)
    assert_allclose(res.predict(new, which="var"), res.predict(which="var")[new.index])


def test_constant_parts_know_the_rows_of_new_data(data):
    res = fit("gaussian ~ 1", data)
    new = pd.DataFrame(index=["p", "q", "r"])
    for which in ("mean", "dispersion", "var"):
        values = res.predict(new, which=which)
        assert values.index.tolist() == ["p", "q", "r"]
        assert_allclose(values, res.predict(which=which).iloc[0])


@pytest.mark.parametrize("new", [np.ones((2, 2)), 3.0])
def test_new_data_without_names(data, new):
    with pytest.raises(ValueError, match=r"'x'|DataFrame of its variables"):
        fit("gaussian ~ x | z", data).predict(new)
