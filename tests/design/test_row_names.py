"""Rows are named as the user knows them, and those left out are counted."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import simulated
from numpy.testing import assert_allclose
from quick import thorough

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import (
    BoundaryWarning,
    DroppedRowsWarning,
    FoldFailureWarning,
    MissingValueError,
    SeparationWarning,
    UnboundedLikelihoodError,
)
from hetglm.utils.messages import RowNames, reason

POISSON, BINOMIAL = sm.families.Poisson(), sm.families.Binomial()
GAMMA = sm.families.Gamma(sm.families.links.Log())
#: Rows without a value, and the row that each message is about, as positions.
GONE, BAD = [0, 3, 10], 20

D = simulated()
N_ROWS = len(D)
LABELS = pd.Index([f"s{i}" for i in range(N_ROWS)])

#: How a data set of the rows is passed, and what row 20 is called then.
FORMS = {
    "default": (D.index, r"row 20 \(counted from 0\)"),
    "words": (LABELS, r"row s20 \(index label\)"),
    "numbers": (pd.Index(np.arange(N_ROWS) + 1000), r"row 1020 \(index label\)"),
    "dates": (pd.date_range("2020", periods=N_ROWS), r"row 2020-01-21 00:00:00 \(index label\)"),
    "two levels": (
        pd.MultiIndex.from_product([["a", "b"], range(N_ROWS // 2)]),
        r"row \('a', 20\) \(index label\)",
    ),
    "repeated": (pd.Index(np.arange(N_ROWS) // 2), r"row 20 \(counted from 0\)"),
}


def holed(data=D):
    """Return the data with missing values before the row."""
    data = data.copy()
    data["x"] = data["x"].where(~np.isin(np.arange(len(data)), GONE))
    return data


def with_value(column, value, row=BAD):
    data = holed(D.astype({column: float}))
    data.iloc[row, data.columns.get_loc(column)] = value
    return data


# Each: the class, the response's column(s), row arrays, the family, a value that cannot be.
BAD_ROWS = {
    "negative count": ("NegativeBinomial", "count", -1, {}, "must not be negative; see"),
    "fraction": ("NegativeBinomial", "count", 1.5, {}, "see"),
    "Gamma": ("DoubleGLM", "positive", 0, {"family": GAMMA}, "must be positive; see"),
    "Poisson": ("DoubleGLM", "count", -1, {"family": POISSON}, "must not be negative; see"),
    "successes": ("BetaBinomial", "K", 1e4, {"n_trials": "N"}, "more successes than trials; see"),
    "proportion": ("DoubleGLM", "share", 1.5, {"family": BINOMIAL, "var_weights": "N"}, "see"),
    "trials": (
        "BetaBinomial",
        "N",
        -3,
        {"n_trials": "N"},
        "n_trials: trials must not be negative; see",
    ),
    "weights": ("DoubleGLM", "w", -1, {"var_weights": "w"}, "^var_weights: must be positive; see"),
    "infinite": ("DoubleGLM", "shift", np.inf, {"offset": "shift"}, "^offset: infinite value in"),
    "infinite design": (
        "DoubleGLM",
        "z",
        np.inf,
        {},
        "^exog_dispersion, column 'z': infinite value in",
    ),
}
RESPONSE = {"BetaBinomial": "K", "NegativeBinomial": "count", "DoubleGLM": "gaussian"}


def spoiled(kind, index):
    name, column, value, given, message = BAD_ROWS[kind]
    base = D.assign(share=D["K"] / D["N"])
    data = holed(base.astype({column: float}))
    data.iloc[BAD, data.columns.get_loc(column)] = value
    response = column if column in ("positive", "share") or "family" in given else RESPONSE[name]
    return name, response, data.set_axis(index), given, message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows_of_a_formula(kind, form):
    index, named = FORMS[form]
    name, response, data, given, message = spoiled(kind, index)
    with pytest.raises(ValueError, match=f"{message} {named}$") as caught:
        getattr(hmf, name.lower())(f"{response} ~ x | z", data, **given)
    assert type(caught.value) in (ValueError, MissingValueError)


@pytest.mark.parametrize("kind", BAD_ROWS)
@pytest.mark.parametrize("form", [*FORMS, "arrays"])
def test_bad_rows_of_arrays(kind, form):
    index, named = FORMS.get(form, FORMS["default"])
    name, response, data, given, message = spoiled(kind, index)
    data = data.assign(one=1.0)
    passed = [data[response], data[["one", "x"]], data[["one", "z"]]]
    given = {k: data[v] if isinstance(v, str) else v for k, v in given.items()}
    if form == "arrays":
        passed = [a.to_numpy() for a in passed]
        given = {k: a.to_numpy() if isinstance(a, pd.Series) else a for k, a in given.items()}
        message = message.replace("column 'z'", "column 'x1'")
    with pytest.raises(ValueError, match=f"{message} {named}$"):
        getattr(het, name)(*passed, **given, missing="drop")


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_a_subset(form):
    index, named = FORMS[form]
    data = with_value("count", -1).set_axis(index)
    with pytest.raises(ValueError, match=f"see {named}$"):
        hmf.negativebinomial("count ~ x", data, subset=np.arange(N_ROWS) > 5)


@pytest.mark.parametrize("form", FORMS)
def test_missing_rows_that_raise(form):
    index, named = FORMS[form]
    data = D.assign(x=D["x"].where(D.index != BAD)).set_axis(index)
    with pytest.raises(
        MissingValueError, match=f"row {re.escape(repr(index[[BAD]].tolist()[0]))} misses a value"
    ):
        hmf.doubleglm("gaussian ~ x", data, missing="raise")
    with pytest.raises(MissingValueError, match=f"missing values in {named}; missing='drop'"):
        het.DoubleGLM(data["gaussian"], data[["x"]], missing="raise")
    with pytest.raises(MissingValueError, match=f"^exog, column 'x': missing value in {named}"):
        het.DoubleGLM(data["gaussian"], data[["x"]])


def test_data_without_an_index():
    polars = pytest.importorskip("polars")
    data = with_value("count", -1)
    columns = {name: data[name].to_numpy() for name in ("count", "x")}
    for passed in (columns, polars.DataFrame(columns)):
        with pytest.raises(ValueError, match=r"see row 20 \(counted from 0\)$"):
            hmf.negativebinomial("count ~ x", passed, subset=np.arange(N_ROWS) > 5)
    columns["N"] = np.where(np.arange(N_ROWS) == BAD, 0, 9)
    columns["count"] = np.minimum(np.abs(columns["count"]), columns["N"])
    with pytest.warns(DroppedRowsWarning, match=r"n_trials is 0: position 20 \(counted from 0\)$"):
        hmf.betabinomial("count ~ x", columns, n_trials="N")


# -- rows without weight ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_dropped_rows(form):
    index, _ = FORMS[form]
    data = holed().set_axis(index)
    rows = [43, 88, 110]
    for name in ("K", "N"):
        data.iloc[rows, data.columns.get_loc(name)] = 0
    listed = "positions 43, 88, 110 (counted from 0)"
    if form != "repeated":
        listed = "index labels " + ", ".join(str(index[i]) for i in rows)
    for text, given in (("K + I(N - K) ~ x", {}), ("K ~ x", {"n_trials": "N"})):
        with pytest.warns(DroppedRowsWarning) as caught:
            model = hmf.betabinomial(text, data, **given)
        assert [str(w.message) for w in caught] == [
            f"3 rows were dropped because n_trials is 0: {listed}"
        ]
        assert (model.n_missing, model.n_weightless) == (3, 3)
    frequency = np.where(np.arange(N_ROWS) == 44, 0, 1)
    with pytest.warns(
        DroppedRowsWarning, match=r"is 0: .*; 1 row was dropped because freq_weights is 0"
    ):
        model = hmf.betabinomial("K ~ x", data, n_trials="N", freq_weights=frequency)
    assert model.n_weightless == 4


def test_a_row_is_dropped_for_one_reason():
    n = D["N"].where(D.index != 3, 0)  # row 3 misses x, too
    model = hmf.betabinomial("K ~ x", holed().assign(N=n), n_trials="N")
    assert (model.n_missing, model.n_weightless) == (3, 0)
    arrays = het.BetaBinomial(D["K"], holed()[["x"]], n_trials=n, missing="drop")
    assert (arrays.n_missing, arrays.n_weightless) == (3, 0)


# -- fits -------------------------------------------------------------------------------------------

ALONE = D.assign(odd=(D.index == BAD).astype(float))


@pytest.mark.parametrize("form", ["default", "words", *thorough(*list(FORMS)[2:])])
def test_an_unbounded_likelihood(form):
    index, named = FORMS[form]
    model = hmf.doubleglm("gaussian ~ x + odd | z + odd", holed(ALONE).set_axis(index))
    with pytest.raises(UnboundedLikelihoodError, match=f"without bound: {named} can be fitted"):
        model.fit()
    with pytest.raises(UnboundedLikelihoodError, match=f"the mean fits {named} exactly"):
        model.fit(reml=True)
    again = model.clone(rows=np.arange(5, model.core.n))  # the rows of a clone are the same rows
    with pytest.raises(UnboundedLikelihoodError, match=f"without bound: {named} can be fitted"):
        again.fit()


@pytest.mark.parametrize("form", FORMS)
def test_a_separated_row(form):
    index, named = FORMS[form]
    data = holed(ALONE.assign(K=D["K"].where(D.index != BAD, 0))).set_axis(index)
    with pytest.warns(SeparationWarning, match=f"separated: {named} are fitted at the limit"):
        res = hmf.betabinomial("K + I(N - K) ~ x + odd", data).fit()
    finding = next(f for f in res.diagnose() if f.kind == "separation")
    assert finding.rows == (BAD,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pd.Series([finding.evidence]).str.contains(named).all()
    assert f"separated: {named}".replace("\\", "") in " ".join(str(res.summary()).split())


@pytest.mark.parametrize("form", ["words", "numbers"])
def test_a_cell_at_the_boundary(form):
    index, _ = FORMS[form]
    data = holed(D.assign(cell=D.index < 15)).set_axis(index)
    even = np.arange(15)
    data.iloc[even, data.columns.get_loc("N")] = 20
    data.iloc[even, data.columns.get_loc("K")] = 10
    rows = ", ".join(str(index[i]) for i in (1, 2, 4, 5, 6))
    message = rf"zero in rows {rows}, \.\.\. \(12 in all\) \(index labels\), at the binomial"
    with pytest.warns(BoundaryWarning, match=message):
        res = hmf.betabinomial(
            "K + I(N - K) ~ cell | cell",
            data.assign(cell=data["cell"].astype(int)).assign(x=data["x"]).dropna(),
        ).fit()
    assert res.boundary.rows.sum() == 12


def test_the_boundary_of_a_domain():
    rng = np.random.default_rng(2)
    x = np.linspace(0, 1, 60)
    data = pd.DataFrame({"x": x, "y": np.where(x < 0.1, 0, rng.poisson(8 * x))})
    data.index = [f"s{i}" for i in range(60)]
    family = sm.families.Poisson(sm.families.links.Identity())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hmf.doubleglm("y ~ x", data, family=family).fit()
    found = [str(w.message) for w in caught if w.category.__name__ == "DomainEdgeWarning"]
    assert len(found) == 1
    assert "would take row s0 (index label) beyond it" in found[0]


def test_groups_name_the_rows_of_the_data():
    data = holed().set_axis(LABELS)
    groups = D["block"].astype(float).where(D.index != BAD).to_numpy()
    model = hmf.doubleglm("gaussian ~ x", data)
    for given in (groups, pd.Series(groups, LABELS), np.delete(groups, GONE)):
        with pytest.raises(ValueError, match=r"^groups: missing value in row s20 \(index label\)$"):
            model.fit(cov_type="cluster", cov_kwds={"groups": given})
    with pytest.raises(ValueError, match=r"^groups: missing value in row s20 \(index label\)$"):
        het.cross_validate(model.fit(), 5, groups=groups)


def test_new_rows_are_named():
    res = hmf.negativebinomial("count ~ x", D, exposure="time").fit()
    new = D.head(4).set_axis(list("abcd")).assign(time=[1, 2, 0, 1])
    with pytest.raises(
        ValueError, match=r"^exposure: must be positive; see row c \(index label\)$"
    ):
        res.predict(new)
    with pytest.raises(
        ValueError, match=r"^exposure: must be positive; see row 2 \(counted from 0\)$"
    ):
        res.predict({name: new[name].to_numpy() for name in ("x", "time")})


def test_influence_and_scores_are_labelled():
    data = holed().assign(one=1.0)
    X, y = data[["one", "x"]], data["gaussian"]
    plain = het.DoubleGLM(y.to_numpy(), X.to_numpy(), missing="drop").fit()
    labelled = het.DoubleGLM(y.set_axis(LABELS), X.set_axis(LABELS), missing="drop").fit()
    kept = np.delete(np.arange(N_ROWS), GONE)
    for res, index in ((plain, pd.Index(kept)), (labelled, LABELS[kept])):
        assert res.get_influence().summary_frame().index.equals(index)
        scores = het.cross_validate(res, 5, metrics="mse", rng=1).scores["fit"]
        assert scores.index.equals(index)


@pytest.mark.thorough
def test_reasons_leave_names_out():
    names = RowNames(np.arange(N_ROWS), LABELS)
    for mask in (np.arange(N_ROWS) == 5, np.arange(N_ROWS) > 5):
        error = ValueError(f"the mean fits {names.text(mask)} exactly, so it has no residual")
        assert reason(error) == "ValueError: the mean fits some rows exactly, so it has no residual"
    data = ALONE.assign(pair=(D.index < 2).astype(float)).set_axis(LABELS)
    res = hmf.doubleglm("gaussian ~ x + pair | pair", data).fit()
    with pytest.warns(FoldFailureWarning, match=r"likelihood grows without bound': [12]\}"):
        het.cross_validate(res, 60, rng=1, metrics="mse")


# -- counts -----------------------------------------------------------------------------------------


def counted(res):
    return res.n_missing, " ".join(str(res.summary()).split()), str(res.summary2())


def test_missing_rows_are_counted(tmp_path):
    line = "117 of 120 rows; 3 with missing values left out"
    res = hmf.doubleglm("gaussian ~ x | z", holed()).fit()
    again = res.model.clone().fit()
    other = res.model.with_terms(["Intercept", "x"], ["Intercept"]).fit()
    thawed = pickle.loads(pickle.dumps(res))
    arrays = het.DoubleGLM(D["gaussian"], holed()[["x"]], missing="drop").fit()
    res.save(tmp_path / "res.pickle", remove_data=True)
    bare = sm.load(tmp_path / "res.pickle")
    for fit in (res, again, other, thawed, arrays, bare):
        n, text, text2 = counted(fit)
        assert n == 3
        assert f"Rows: {line} " in text
        assert line in text2
        assert max(map(len, str(fit.summary()).split("\n"))) <= 80
    none = hmf.doubleglm("gaussian ~ x | z", D).fit()
    assert none.n_missing == 0
    assert "Rows:" not in str(none.summary())
    assert again.model.clone(rows=np.arange(50)).n_missing == 0


def test_rows_of_both_kinds_are_counted_within_80_columns():
    data = holed()
    data.loc[[43, 88], ["K", "N"]] = 0
    with pytest.warns(DroppedRowsWarning):
        res = hmf.betabinomial("K + I(N - K) ~ x", data, subset=data.index < 100).fit()
    _, text, text2 = counted(res)
    line = "95 of 100 rows; 3 with missing values, 2 without weight left out"
    assert line in text
    assert line in " ".join(text2.split())
    assert max(map(len, str(res.summary()).split("\n"))) <= 80
    assert res.nobs == 95


# -- score tests of further columns -----------------------------------------------------------------

SCORED = hmf.doubleglm("gaussian ~ x | x", holed()).fit()
FURTHER = holed().assign(two=2 * D["w"])
KEPT = np.delete(np.arange(N_ROWS), GONE)
W = D["w"].to_numpy()[KEPT][:, None]
ONE_COLUMN = {
    "name": "w",
    "names": ["w"],
    "formula": "~ w",
    "without a tilde": "0 + w",
    "with the model's own": "~ x + w",
    "series": D["w"],
    "frame": D[["w"]],
    "array": D["w"].to_numpy(),
    "column": D[["w"]].to_numpy(),
    "list": D["w"].tolist(),
    "series of the rows of the fit": D["w"].drop(GONE),
    "masked where dropped": np.ma.array(D["w"].to_numpy(), mask=np.isin(D.index, GONE)),
    "nullable": D["w"].astype("Float64").mask(np.isin(D.index, GONE), pd.NA),
}


def as_numbers(test):
    return np.array([np.squeeze(test[0]), np.squeeze(test[1])], dtype=float)


@pytest.mark.parametrize("kind", ONE_COLUMN)
def test_a_further_column_in_any_form(kind):
    given = ONE_COLUMN[kind]
    for of_part in (lambda a: (None, a), lambda a: (a, None), lambda a: (a, a)):
        right = as_numbers(SCORED.score_test(of_part(W)))
        assert_allclose(as_numbers(SCORED.score_test(of_part(given))), right, rtol=1e-10)
    alone = as_numbers(SCORED.score_test(W))
    assert_allclose(as_numbers(SCORED.score_test(given)), alone, rtol=1e-10)


def test_further_terms():
    data = D.iloc[KEPT]
    levels = pd.get_dummies(data["group"], drop_first=True).to_numpy(float)
    right = SCORED.score_test((None, np.column_stack([levels, W])))
    for given in ("group + w", "~ C(group) + w", ["group", "w"]):
        got = SCORED.score_test((None, given))
        assert_allclose(as_numbers(got), as_numbers(right), rtol=1e-8)
    product = SCORED.score_test((None, W * data[["x"]].to_numpy()))
    assert_allclose(as_numbers(SCORED.score_test((None, "x:w"))), as_numbers(product), rtol=1e-8)
    scale = 3.0
    made = as_numbers(SCORED.score_test((None, "~ np.log(w * scale)")))
    logs = SCORED.score_test((None, np.log(W * scale)))
    assert_allclose(made, as_numbers(logs), rtol=1e-8)
    mixed = SCORED.score_test(("w", data[["z"]]))
    assert_allclose(as_numbers(mixed), as_numbers(SCORED.score_test((W, data[["z"]]))), rtol=1e-8)


def test_a_name_that_is_no_python():
    data = holed().rename(columns={"w": "my w"})
    res = hmf.doubleglm("gaussian ~ x | x", data).fit()
    right = as_numbers(SCORED.score_test((None, W)))
    assert_allclose(as_numbers(res.score_test((None, "my w"))), right, rtol=1e-8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, "nope"), "nope"),
        ("~ x", r"^exog_extra='~ x': nothing to test, the model has these terms"),
        ("y ~ w", "^exog_extra: .*left-hand side"),
        ((None, D["w"].iloc[::-1]), "^exog_extra: its index differs"),
        ((None, W[:9]), r"^exog_extra: shape \(9, 1\)"),
        ((None, D["group"]), "^exog_extra: not numeric"),
        (
            D["w"].where(D.index != BAD),
            r"^exog_extra: missing or infinite values; see row 20 \(counted from 0\)",
        ),
        (("w", "w", "w"), "^exog_extra: 3 parts"),
    ],
)
def test_what_cannot_be_tested(given, message):
    with pytest.raises(ValueError, match=message):
        SCORED.score_test(given)


def test_a_variable_with_missing_values_is_not_tested():
    data = holed().assign(w=D["w"].where(D.index != BAD))
    res = hmf.doubleglm("gaussian ~ x | x", data).fit()
    with pytest.raises(MissingValueError, match="row 20 misses a value"):
        res.score_test((None, "w"))


def test_names_need_a_formula():
    res = het.DoubleGLM(D["gaussian"], D[["x"]]).fit()
    with pytest.raises(ValueError, match="names and formulas need the data of a formula fit"):
        res.score_test((None, "w"))


# -- what has the length of all the data ------------------------------------------------------------


def test_rows_of_the_fit_take_what_all_the_data_have():
    res = hmf.negativebinomial("count ~ x", holed(), offset="shift", exposure="time").fit()
    right = res.predict(offset=np.zeros(len(KEPT)), exposure=D["time"].to_numpy()[KEPT])
    for time in (D["time"], D["time"].to_numpy(), D["time"].tolist(), D[["time"]]):
        got = res.predict(offset=0, exposure=time)
        assert_allclose(got, right, rtol=1e-14)
        assert got.index.equals(pd.Index(KEPT))
    with pytest.raises(ValueError, match=r"^exposure: shape \(9,\), but there are 117 rows"):
        res.predict(exposure=np.ones(9))
    with pytest.raises(
        ValueError, match=r"^groups: shape \(9,\), but there are 117 rows of 120 passed$"
    ):
        res.bootstrap(2, "cluster", groups=np.ones(9))


def test_a_clone_knows_the_rows_that_were_passed():
    model = hmf.doubleglm("gaussian ~ x", holed())
    given = {"cov_type": "cluster", "cov_kwds": {"groups": D["block"]}}
    clone = model.clone(exog=pd.DataFrame({"one": np.ones(len(KEPT))}))
    right = hmf.doubleglm("gaussian ~ 1", D.iloc[KEPT]).fit(
        **given | {"cov_kwds": {"groups": "block"}}
    )
    assert_allclose(clone.fit(**given).bse, right.bse, rtol=1e-6)
