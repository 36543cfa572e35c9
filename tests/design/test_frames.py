"""The gate for data frames: what goes into a formula, at the fit and for new rows alike."""

import datetime
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import (
    FormulaError,
    MissingValueError,
    UndefinedTermWarning,
    UnseenLevelWarning,
)

#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6


def fit(formula, data, **kwargs):
    return hmf.doubleglm(formula, data, **kwargs).fit()


def objects(column):
    return pd.Series(list(column), index=column.index, dtype=object)


#: Columns of the same numbers in other types.
AS_NUMBERS = {
    "object": objects,
    "decimal": lambda w: objects(w.map(lambda v: Decimal(str(v)))),
    "decimal and float": lambda w: objects(pd.Series([Decimal(int(w.iloc[0])), *w.iloc[1:]])),
    "numpy scalars": lambda w: objects(w.map(np.int16)),
    "Int64": lambda w: w.astype("Int64"),
    "Float32": lambda w: w.astype("Float32"),
    "uint8": lambda w: w.astype("uint8"),
    "int8": lambda w: w.astype("int8"),
    "float32": lambda w: w.astype("float32"),
    "pyarrow": lambda w: w.astype("int64[pyarrow]"),
}


@pytest.mark.parametrize("kind", AS_NUMBERS)
def test_numbers_are_numbers_in_every_type(data, kind):
    if kind == "pyarrow":
        pytest.importorskip("pyarrow")
    data["w"] = data["w"].astype(int)
    other = data.assign(w=AS_NUMBERS[kind](data["w"]))
    expected, res = (fit("gaussian ~ w + I(w**2) | w", d) for d in (data, other))
    assert res.params.index.equals(expected.params.index)
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    for which in ("mean", "dispersion"):
        right = expected.predict(data.head(4), which=which)
        assert_array_equal(expected.predict(other.head(4), which=which), right)
        assert_array_equal(expected.predict(other.iloc[0], which=which), right.head(1))
        assert_allclose(res.predict(data.head(4), which=which), right, atol=AT_MAXIMUM)
    assert_allclose(res.get_margeff().margeff, expected.get_margeff().margeff, atol=1e-5)


@pytest.mark.parametrize("kind", AS_NUMBERS)
def test_a_response_of_numbers_in_every_type(data, kind):
    if kind == "pyarrow":
        pytest.importorskip("pyarrow")
    other = data.assign(w=AS_NUMBERS[kind](data["w"].astype(int)))
    assert_allclose(fit("w ~ x | z", other).llf, fit("w ~ x | z", data).llf)


@pytest.mark.parametrize("kind", [int, float, objects, "Int64", "uint8"])
def test_whole_levels_keep_their_names(data, kind):
    data["w"] = data["w"].astype(int)
    other = data.assign(w=kind(data["w"]) if kind is objects else data["w"].astype(kind))
    res = fit("gaussian ~ C(w) | 1", other)
    suffix = ".0" if kind is float else ""
    assert f"C(w)[T.2{suffix}]" in res.params
    assert_allclose(res.predict(data.head(3)), res.predict().head(3))
    other.loc[3, "w"] = None
    if kind == "Int64":
        assert "C(w)[T.2]" in fit("gaussian ~ C(w) | 1", other).params


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "uint64", "UInt8", "int8"])
def test_more_successes_than_trials_never_wrap_round(data, kind):
    data.loc[5, "K"] = data.loc[5, "N"] + 1
    small = data.astype({"K": kind, "N": kind})
    with pytest.raises(ValueError, match="must not be negative; see row"):
        hmf.betabinomial("K + I(N - K) ~ x", small)


def test_sums_and_products_of_small_integers_do_not_overflow(data):
    data["t"] = np.tile([90, 100, 120], 40)
    expected = fit("gaussian ~ I(t + t) | I(t * t / 1e4)", data)
    res = fit("gaussian ~ I(t + t) | I(t * t / 1e4)", data.astype({"t": "int8"}))
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    new = data.head(3).astype({"t": "int8"})
    assert_allclose(res.predict(new, which="var"), expected.predict(which="var").head(3))


def test_unsigned_beyond_the_signed_range(data):
    data["big"] = np.uint64(2**63) + np.arange(120, dtype=np.uint64) * np.uint64(2**50)
    res = fit("gaussian ~ I(big / 2**63)", data)
    assert res.model.exog[:, 1].min() == 1


@pytest.mark.parametrize("kind", ["object", "boolean", "bool[pyarrow]"])
def test_truth_values(data, kind):
    if "pyarrow" in kind:
        pytest.importorskip("pyarrow")
    data["flag"] = data["time"] > 1
    other = data.astype({"flag": kind})
    res, expected = (fit("gaussian ~ flag | flag", d) for d in (other, data))
    assert_array_equal(res.params, expected.params)
    right = expected.predict(which="var").head(3)
    for new in (other, data, data.assign(flag=data["flag"].astype(int))):
        assert_array_equal(res.predict(new.head(3), which="var"), right)
    other.loc[2, "flag"] = pd.NA if kind != "object" else None
    assert fit("gaussian ~ flag", other).nobs == 119
    assert np.isnan(res.predict(other.head(3)).iloc[2])


def test_a_truth_value_as_response_and_for_a_number(data):
    data["won"] = data["K"] > 3
    assert_array_equal(
        fit("won ~ x | z", data).params, fit("won ~ x | z", data.astype({"won": int})).params
    )
    res = fit("gaussian ~ num", data.assign(num=data["won"].astype(int)))
    assert_array_equal(res.predict(data.assign(num=data["won"])), res.predict())
    with pytest.raises(FormulaError, match=r"not numeric: False, True.*write I\(1 \* \(K"):
        fit("I(K > 3) ~ x", data)


# ---- missing values --------------------------------------------------------------------------

HOLES = {
    "string": ("group", "string", pd.NA),
    "str": ("group", "str", np.nan),
    "object": ("group", object, None),
    "object NA": ("group", object, pd.NA),
    "category": ("group", "category", np.nan),
    "Int64": ("w", "Int64", pd.NA),
    "Float64": ("x", "Float64", pd.NA),
    "object number": ("x", object, None),
    "object NaN": ("x", object, pd.NA),
}


@pytest.mark.parametrize("part", ["mean", "dispersion"])
@pytest.mark.parametrize("kind", HOLES)
def test_a_hole_is_left_out_of_the_fit_and_of_predictions(data, kind, part):
    column, dtype, hole = HOLES[kind]
    data["w"] = data["w"].astype(int)
    holey = data.astype({column: dtype})
    holey.loc[6, column] = hole
    formula = f"gaussian ~ z + {column}" if part == "mean" else f"gaussian ~ z | {column}"
    res = fit(formula, holey)
    expected = fit(formula, data.drop(index=6))
    assert res.params.index.equals(expected.params.index)
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    predicted = res.predict(holey, which=part)
    assert predicted.index[predicted.isna()].tolist() == [6]
    assert_allclose(predicted.drop(index=6), res.predict(which=part))


@pytest.mark.parametrize("empty", [None, np.nan, pd.NA])
@pytest.mark.parametrize("column", ["x", "group"])
def test_columns_of_nothing(data, column, empty):
    nothing = data.assign(**{column: pd.Series([empty] * len(data), dtype=object)})
    with pytest.raises(ValueError, match=rf"no rows left.*column '{column}' has no value"):
        fit("gaussian ~ x + group", nothing)
    assert fit("gaussian ~ x + group", data).predict(nothing.head(2)).isna().all()


def test_splines_of_new_rows_with_a_hole(data):
    res = fit("gaussian ~ bs(x, df=4) | cr(z, df=3) - 1", data)
    new = data.head(3).assign(x=[np.nan, *data["x"][1:3]])
    predicted = res.predict(new, which="var")
    assert_allclose(predicted.iloc[1:], res.predict(which="var").iloc[1:3])


def test_masked_columns_and_arrays(data):
    x = np.ma.masked_array(data["x"], mask=np.arange(120) == 4)
    shift = np.ma.masked_array(data["shift"], mask=np.arange(120) == 9)
    columns = {"gaussian": data["gaussian"].to_numpy(), "x": x, "z": data["z"].to_numpy()}
    expected = fit("gaussian ~ x | z", data.drop(index=[4, 9]), offset="shift")
    assert_allclose(fit("gaussian ~ x | z", columns, offset=shift).params, expected.params)
    own = x
    assert own.mask.any()
    other = hmf.doubleglm("gaussian ~ own | z", data, offset=shift).fit()
    assert_allclose(other.params, expected.params)


@pytest.mark.parametrize("text", ["gaussian ~ x | group", "gaussian ~ x | x", "gaussian ~ C(w)"])
def test_zero_rows(data, text):
    with pytest.raises(ValueError, match="no rows left to fit: the data are empty"):
        fit(text, data[data["x"] > 99])
    predicted = fit(text, data).predict(data[:0], which="var")
    assert predicted.shape == (0,)


# ---- levels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [["a", "b"], ["c", "b", "a"], ["b", "x", "a", "c"]])
@pytest.mark.parametrize("fitted", ["str", "category", "object"])
def test_categories_of_a_subset_or_another_order(data, levels, fitted):
    res = fit("gaussian ~ x + group | C(group)", data.astype({"group": fitted}))
    new = data[data["group"].isin(levels)].head(5)
    other = new.assign(group=pd.Categorical(new["group"], categories=levels))
    for which in ("mean", "dispersion"):
        right = res.predict(which=which)[new.index]
        assert_allclose(res.predict(other, which=which), right)
        assert_allclose(res.predict(new, which=which), right)


@pytest.mark.parametrize("term", ["group", "C(group)", "C(group, Treatment('b'))", "Q('group')"])
def test_unused_levels_are_dropped_and_have_no_prediction(data, term):
    declared = pd.Categorical(data["group"], categories=["a", "q", "b", "c"])
    res = fit(f"gaussian ~ x + {term} | {term}", data.assign(group=declared))
    assert_allclose(res.params, fit(f"gaussian ~ x + {term} | {term}", data).params)
    for again in (res, pickle.loads(pickle.dumps(res))):
        new = data.head(3).assign(group=["a", "q", "b"])
        for which in ("mean", "sd"):
            with pytest.warns(
                UnseenLevelWarning, match="no row of the fit had 'q' of 'group'.*row 1"
            ):
                predicted = again.predict(new, which=which)
            right = res.predict(data.head(3).assign(group=["a", "a", "b"]), which=which)
            assert_allclose(predicted, right.where([True, False, True]))
    with pytest.raises(FormulaError, match=r"level 'nowhere' is not one of the fit.*'a', 'b', 'c'"):
        res.predict(data.head(3).assign(group="nowhere"))


def test_a_level_that_only_dropped_rows_had(data):
    data["group"] = data["group"].astype("category")
    data.loc[data["group"] == "c", "x"] = np.nan
    res = fit("gaussian ~ x + group", data)
    assert not any("T.c" in name for name in res.params.index)
    new = data.head(3).assign(x=0.0, group=["a", "b", "c"])
    with pytest.warns(UnseenLevelWarning, match="'c' of 'group'"):
        assert res.predict(new).isna().tolist() == [False, False, True]


def test_functions_of_categories_keep_the_codes(data):
    grades = ["low", "mid", "high", "top"]
    data["grade"] = pd.Categorical(
        np.array(["low", "high", "top"])[np.arange(120) % 3], categories=grades, ordered=True
    )
    res = fit("gaussian ~ I(grade.cat.codes)", data)
    assert set(res.model.exog[:, 1]) == {0, 2, 3}
    new = data.iloc[1:3].assign(grade=pd.Categorical(["high", "top"]))
    assert_allclose(res.predict(new), res.predict().iloc[1:3])
    with pytest.raises(FormulaError, match="level 'best' is not one of the fit"):
        res.predict(new.assign(grade="best"))


def test_text_of_new_rows_is_named(data):
    res = fit("gaussian ~ x | z", data)
    for bad in ("1.0", "n/a"):
        with pytest.raises(
            FormulaError, match=rf"'x' is not numeric \(dtype .*'{bad}'.*to_numeric"
        ):
            res.predict(data.head(2).assign(x=bad))
    with pytest.raises(FormulaError, match=r"column 'x' is not numeric.*datetime"):
        res.predict(data.head(2).assign(x=pd.Timestamp("2020-01-01")))
    with pytest.raises(FormulaError, match=r"column 'x' not found.*Columns: gaussian, z"):
        res.predict(data.head(2)[["gaussian", "z"]])


@pytest.mark.parametrize("bad", ["n/a", datetime.date(2020, 1, 1), 1j])
def test_numbers_mixed_with_something_else(data, bad):
    mixed = data.assign(x=objects(data["x"]))
    mixed.at[3, "x"] = bad
    with pytest.raises(FormulaError, match=r"column 'x' \(dtype object\) has .* among its numbers"):
        fit("gaussian ~ x", mixed)
    with pytest.raises(FormulaError, match=r"new data: column 'x' is not numeric \(dtype object"):
        fit("gaussian ~ x", data).predict(mixed)
    ids = data.assign(w=objects(data["w"].astype(int)).where(data["w"] > 1, "one"))
    assert "C(w)[T.one]" in fit("gaussian ~ C(w)", ids).params


def test_types_that_are_neither_numbers_nor_levels(data):
    data["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(120) % 5, unit="D")
    kinds = (data["when"], data["when"].dt.date, data["when"].dt.tz_localize("UTC"))
    for when in kinds:
        dated = data.assign(when=when)
        with pytest.raises(FormulaError, match=r"'when' has dates.*write a number.*C\(when\)"):
            fit("gaussian ~ when", dated)
    for when in kinds[:2]:
        assert fit("gaussian ~ C(when)", data.assign(when=when)).params.size == 6
    res = fit("gaussian ~ I(when.dt.day)", data)
    assert_allclose(res.predict(data.head(2)), res.predict().head(2))
    with pytest.raises(FormulaError, match="complex numbers"):
        fit("gaussian ~ x", data.assign(x=1j * data["x"]))


# ---- shapes of data --------------------------------------------------------------------------


def test_two_columns_of_one_name(data):
    twice = pd.concat([data, data[["x"]]], axis=1)
    res = fit("gaussian ~ x | z", data)
    for formula in ("gaussian ~ x", "gaussian ~ 1 | x", "x ~ z", "gaussian ~ I(x + 1)"):
        with pytest.raises(FormulaError, match="2 columns have the name 'x'; rename"):
            fit(formula, twice)
    with pytest.raises(FormulaError, match="2 columns have the name 'x'; rename"):
        res.predict(twice)
    with pytest.raises(FormulaError, match="offset='x': several columns have this name"):
        fit("gaussian ~ z", twice, offset="x")
    assert_array_equal(fit("gaussian ~ z", twice).params, fit("gaussian ~ z", data).params)


def test_one_row_in_every_form(data):
    res = fit("gaussian ~ x + group | z", data)
    row = data.iloc[7]
    right = res.predict(data.iloc[[7]], which="var").to_numpy()
    for new in (row, row.to_dict(), [row.to_dict()], row.to_frame().T, {"x": row["x"]} | dict(row)):
        assert_array_equal(res.predict(new, which="var"), right)
    frame = res.get_prediction(row.to_dict()).summary_frame()
    assert frame.shape[0] == 1


def test_scalars_and_columns_of_one_for_row_arrays(data):
    data["ten"] = 10
    expected = hmf.betabinomial("count ~ x", data.assign(count=data["count"] % 9), n_trials="ten")
    counts = data.assign(count=data["count"] % 9)
    for trials in (10, np.int8(10), np.full((120, 1), 10), [10] * 120):
        model = hmf.betabinomial("count ~ x", counts, n_trials=trials)
        assert_array_equal(model.n_trials, expected.n_trials)
    decimals = counts.assign(ten=objects(counts["ten"].map(Decimal)))
    assert_array_equal(
        hmf.betabinomial("count ~ x", decimals, n_trials="ten").n_trials, expected.n_trials
    )


# ---- what a second reader broke -----------------------------------------------------------------


def test_an_unused_level_is_said_once_for_both_parts(data):
    data["group"] = data["group"].astype(pd.CategoricalDtype(["a", "b", "c", "q"]))
    res = fit("gaussian ~ group | group", data)
    new = {"group": ["a", "q"]}
    for ask in (
        lambda: res.predict(new, which="sd"),
        lambda: res.get_prediction(new, which="var").summary_frame(),
    ):
        with pytest.warns(UnseenLevelWarning) as caught:
            out = np.asarray(ask())
        assert len(caught) == 1
        assert np.isnan(out[1]).all()
        assert np.isfinite(out[0]).all()


def test_a_named_series_is_a_column(data):
    res = fit("gaussian ~ x", data)
    right = res.predict(data.head(3))
    assert_array_equal(res.predict(data["x"].head(3)), right)
    assert_array_equal(res.predict(data["x"].head(3).set_axis(["u", "v", "w"])), right)
    assert_array_equal(res.predict(pd.Series({"x": data["x"].iloc[0]}, name="x")), right[:1])


@pytest.mark.parametrize("new", [np.ones((2, 2)), [1.0, 2.0], [[1.0, 2.0]]])
def test_rows_without_names_after_a_formula(data, new):
    res = fit("gaussian ~ x | z", data)
    with pytest.raises(ValueError, match=r"DataFrame of its variables \(x, z\), not .*transform=F"):
        res.predict(new)


def test_the_dtype_is_the_users(data):
    data["text"] = data["x"].round(1).astype("string")
    for formula in ("text ~ x", "gaussian ~ np.log(text)"):
        with pytest.raises(FormulaError, match=r"dtype string|dtype str\)"):
            fit(formula, data)


DATES = {
    "datetime": lambda n: pd.date_range("2020-01-01", periods=n),
    "zone": lambda n: pd.date_range("2020-01-01", periods=n, tz="UTC"),
    "period": lambda n: pd.period_range("2020-01-01", periods=n, freq="D"),
    "duration": lambda n: pd.to_timedelta(np.arange(n), "s"),
    "python duration": lambda n: pd.Series(map(datetime.timedelta, range(n)), dtype=object),
    "python date": lambda n: pd.Series(
        [datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(n)], dtype=object
    ),
    "time": lambda n: pd.Series([datetime.time(i % 24) for i in range(n)], dtype=object),
}


@pytest.mark.parametrize("kind", DATES)
def test_the_number_that_a_message_on_dates_names(data, kind):
    data["when"] = np.asarray(DATES[kind](len(data))) if kind == "time" else DATES[kind](len(data))
    with pytest.raises(FormulaError, match=r"column 'when' has .*; write a number, such as I") as e:
        fit("gaussian ~ when", data)
    number = str(e.value).split("such as ")[1].split(", or C(")[0]
    res = fit(f"gaussian ~ {number}", data)
    assert len(res.params) == 3
    assert np.isfinite(res.predict(data.head(2))).all()
    with pytest.raises(FormulaError, match="column 'when' has") as e:
        fit("when ~ x", data)
    assert "for a factor" not in str(e.value)


def test_dates_for_numbers_in_new_rows(data):
    res = fit("gaussian ~ x", data)
    with pytest.raises(
        FormulaError, match=r"dtype datetime64.*the fit had numbers; give such numb"
    ):
        res.predict({"x": pd.date_range("2020", periods=2)})


def test_rows_of_new_data_in_errors(data):
    data.index = [f"s{i}" for i in range(len(data))]
    res = fit("gaussian ~ x + group", data)
    new = data.iloc[:4].assign(group=["a", None, "z", "z"])
    with pytest.raises(
        FormulaError, match=r"level 'z' is not .*; see rows s2, s3 \(index labels\)"
    ):
        res.predict(new)
    with pytest.raises(FormulaError, match=r"^new data: column 'x' .*such as 'b'.*pd\.to_numeric$"):
        res.predict(new.assign(group="a", x=[1, 2, "b", None]))


def test_a_subset_of_no_rows(data):
    with pytest.raises(ValueError, match="subset selects none of the data"):
        fit("gaussian ~ x", data, subset=data["x"] > np.inf)
    with pytest.raises(ValueError, match="endog: one number; give the response of each row"):
        het.DoubleGLM(1.0, data[["x"]])


# ---- values that a function of the formula makes -------------------------------------------------


@pytest.mark.parametrize("part", ["mean", "dispersion"])
def test_an_infinite_term_is_refused_at_the_fit_and_in_new_rows(data, part):
    data = data.assign(time=data["time"]).set_axis([f"r{i}" for i in range(len(data))])
    formula = "gaussian ~ np.log(time)" if part == "mean" else "gaussian ~ 1 | np.log(time)"
    zero = data.assign(time=data["time"].where(data.index != "r3", 0))
    name = "exog" if part == "mean" else "exog_dispersion"
    match = rf"^{name}, column 'np\.log\(time\)': infinite value in row r3 \(index label\)"
    with pytest.raises(MissingValueError, match=match + "$"):
        hmf.doubleglm(formula, zero)
    res, new = hmf.doubleglm(formula, data).fit(), zero.iloc[2:5]
    for call in (res.predict, res.get_prediction):
        with pytest.raises(MissingValueError, match=match + " of the new data$"):
            call(new, which="var")
    other = "dispersion" if part == "mean" else "mean"  # does not read the term
    assert np.isfinite(res.predict(new, which=other)).all()


def test_an_infinite_value_of_new_arrays_is_refused(data):
    X = np.column_stack([np.ones(len(data)), data["x"]])
    res = het.DoubleGLM(data["gaussian"], X, X, offset=data["shift"]).fit()
    bad = np.array([[1, 0.5], [1, np.inf]])
    for exog, exog_dispersion, shift, name in (
        (bad, bad[:1].repeat(2, 0), [0, 0], "exog, column 'x1'"),
        (bad[:1].repeat(2, 0), bad, [0, 0], "exog_dispersion, column 'x1'"),
        (bad[:1].repeat(2, 0), bad[:1].repeat(2, 0), [0, -np.inf], "offset"),
    ):
        with pytest.raises(MissingValueError, match=f"^{name}: infinite value in row 1 .counted"):
            res.predict(exog, exog_dispersion, offset=shift, which="var")
    missing = np.array([[1, 0.5], [1, np.nan]])
    assert np.isnan(res.predict(missing, offset=[0, 0])).tolist() == [False, True]


def test_a_term_without_a_value_is_named_once(data):
    match = r"^np\.log\(time\) has no value in row 3 \(counted from 0\): "
    negative = data.assign(time=data["time"].where(data.index != 3, -1))
    with pytest.warns(UndefinedTermWarning, match=match + "left out of the fit$") as caught:
        model = hmf.doubleglm("gaussian ~ np.log(time) | np.log(time)", negative)
    assert len(caught) == 1
    assert model.n_missing == 1
    res = hmf.doubleglm("gaussian ~ np.log(time)", data).fit()
    with pytest.warns(UndefinedTermWarning, match=match + "NaN in its prediction$") as caught:
        predicted = res.predict(negative.iloc[:5])
    assert len(caught) == 1
    assert np.flatnonzero(np.isnan(predicted)).tolist() == [3]


def test_levels_written_in_the_formula_that_no_row_has_are_dropped(data):
    wide = "C(group, levels=['e', 'a', 'b', 'c', 'f'])"
    tight = hmf.doubleglm("gaussian ~ group | group", data).fit()
    res = hmf.doubleglm(f"gaussian ~ {wide} | {wide}", data).fit()
    np.testing.assert_allclose(res.params, tight.params, rtol=1e-10)
    assert res.model.exog_names[1] == f"{wide}[T.b]"
    order = hmf.doubleglm("gaussian ~ C(group, levels=['e', 'c', 'a', 'b'])", data)
    assert order.exog_names[1].endswith("[T.a]")
    new = data.iloc[:2].assign(group=["a", "e"])
    for fit in (res, pickle.loads(pickle.dumps(res))):
        with pytest.warns(
            UnseenLevelWarning, match=r"no row of the fit had 'e' of 'group'.* row 1"
        ):
            assert np.isnan(fit.predict(new)).tolist() == [False, True]
        with pytest.raises(
            FormulaError, match=r"the level 'q' is not one of the fit.*'a', 'b', 'c'"
        ):
            fit.predict(new.assign(group="q"))
    with pytest.raises(FormulaError, match="does not match any of the expected levels"):
        hmf.doubleglm("gaussian ~ C(group, levels=['a', 'b', 'z'])", data)


def test_levels_of_numbers_written_in_the_formula(data):
    res = hmf.doubleglm("gaussian ~ C(w, levels=(3, 2, 1, 9)) | w", data).fit()
    assert res.model.exog_names[1:3] == [f"C(w, levels=(3, 2, 1, 9))[T.{i}]" for i in (2, 1)]
    with pytest.warns(UnseenLevelWarning, match="had 9 of 'w'"):
        mean = res.predict(data.iloc[:2].assign(w=[1, 9]))
    assert np.isnan(mean).tolist() == [False, True]
    assert np.isfinite(res.predict(data.iloc[:2].assign(w=[1, 9]), which="dispersion")).all()
