"""Arrays of every kind, at the fit and for new rows alike: right, or refused in words."""

import decimal
import fractions
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import simulated
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import AmbiguousResponseWarning, MissingValueError

D = simulated()
N_ROWS = len(D)
POISSON, GAUSSIAN = sm.families.Poisson(), sm.families.Gaussian()
#: Two searches that take other steps to one maximum.
AT_MAXIMUM = 1e-6

X = D[["x", "w"]].assign(const=1.0)[["const", "x", "w"]]
Z = X[["const", "x"]]
FIT = het.DoubleGLM(D["gaussian"], X, Z).fit()
PLAIN = het.DoubleGLM(D["gaussian"].to_numpy(), X.to_numpy(), Z.to_numpy()).fit()
ONE = het.DoubleGLM(D["gaussian"].to_numpy(), np.ones(N_ROWS)).fit()


# -- new rows ---------------------------------------------------------------------------------------

FORMS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a)),
    "list of arrays": list,
    "frame": lambda a: pd.DataFrame(a),
    "object": lambda a: a.astype(object),
    "Decimal": lambda a: [[decimal.Decimal(str(v)) for v in row] for row in a],
    "nullable": lambda a: pd.DataFrame(a).astype("Float64"),
    "masked": np.ma.array,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", ["mean", "linear-dispersion", "sd"])
def test_rows_in_any_form(form, which):
    new = FORMS[form]
    got = PLAIN.predict(new(X.to_numpy()[:4]), new(Z.to_numpy()[:4]), which)
    assert_allclose(got, PLAIN.predict(which=which)[:4], rtol=1e-12)
    frame = PLAIN.get_prediction(new(X.to_numpy()[:4]), new(Z.to_numpy()[:4]), which)
    assert_allclose(frame.predicted, got, rtol=1e-15)


@pytest.mark.parametrize("form", [list, tuple, np.array, np.ma.array, lambda v: v.astype(object)])
def test_one_row_in_one_dimension(form):
    x, z = X.to_numpy()[1], Z.to_numpy()[1]
    assert_allclose(PLAIN.predict(form(x)), PLAIN.predict()[[1]], rtol=1e-12)
    assert_allclose(
        PLAIN.predict(form(x), form(z), "sd"), PLAIN.predict(which="sd")[[1]], rtol=1e-12
    )
    assert_allclose(
        PLAIN.predict(exog_dispersion=form(z), which="dispersion"),
        PLAIN.fitted_dispersion[[1]],
        rtol=1e-12,
    )
    frame = PLAIN.get_prediction(form(x), form(z)).summary_frame()
    assert_allclose(frame, PLAIN.get_prediction().summary_frame().iloc[[1]], rtol=1e-10)


def test_one_row_of_a_frame():
    got = FIT.predict(X.iloc[1], Z.iloc[1], "sd")
    assert_allclose(got, FIT.predict(which="sd").iloc[[1]], rtol=1e-12)
    assert list(got.index) == [1]
    with pytest.raises(ValueError, match=r"^exog: column 'x' is where the fit has 'const'"):
        FIT.predict(X.iloc[1][["x", "const", "w"]])


def test_one_row_of_a_formula_fit():
    res = hmf.doubleglm("gaussian ~ x + w | x", D).fit()
    got = res.predict(res.model.exog[1], transform=False)
    assert_allclose(got, res.predict().iloc[[1]], rtol=1e-12)


def test_one_column_is_rows_in_one_dimension():
    assert_allclose(ONE.predict([1.0, 1.0]), ONE.predict()[:2])
    assert_allclose(ONE.predict(np.ones(2)), ONE.predict()[:2])


@pytest.mark.parametrize("none", [X.iloc[:0], X.to_numpy()[:0], [], np.array([])])
def test_no_rows_have_no_predictions(none):
    assert FIT.predict(none).shape == (0,)
    assert len(FIT.get_prediction(none).summary_frame()) == 0


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ([1.0, 2.0], r"^exog: shape \(1, 2\), but the fit has 3 columns"),
        (np.ones((1, 3, 1)), r"^exog: shape \(1, 3, 1\)"),
        (3.0, "^exog: it is a single number; give one row of 3 numbers, or several rows"),
        ([["a", "b", "c"]], r"^exog: not numeric \(dtype <U1\): text"),
        ([[1.0, 2.0, 1j]], r"^exog: not numeric \(dtype complex128\): complex"),
        (X.assign(x="a"), r"^exog, column 'x': not numeric \(dtype (object|str)\)"),
        (X.assign(x=pd.Timestamp("2020-01-01")), r"^exog, column 'x': not numeric.*dates"),
    ],
)
def test_what_is_no_row(new, message):
    with pytest.raises(ValueError, match=message):
        FIT.predict(new)


def test_masked_new_rows_are_missing():
    new = np.ma.array(X.to_numpy()[:3], mask=False)
    new[1, 1] = np.ma.masked
    got = PLAIN.predict(new)
    assert np.isnan(got[1])
    assert_allclose(got[[0, 2]], PLAIN.predict()[[0, 2]])


def test_nothing_new_is_broadcast():
    for new in (X.iloc[:1], X.to_numpy()[:1], X.to_numpy()[0]):
        assert len(FIT.predict(new)) == 1
    with pytest.raises(ValueError, match=r"^exog_dispersion: shape \(1, 2\).*4 new rows"):
        PLAIN.predict(X.to_numpy()[:4], Z.to_numpy()[0], "sd")


# -- one number for all rows ------------------------------------------------------------------------

SHIFTED = hmf.negativebinomial(
    "count ~ x | x", D, offset="shift", exposure="time", offset_dispersion="z"
).fit()
TRIALS = hmf.betabinomial("K ~ x | x", D, n_trials="N").fit()
WEIGHTED = hmf.doubleglm("gaussian ~ x | x", D, var_weights="w").fit()
SINGLE = {
    "offset": (SHIFTED, "mean", 0),
    "exposure": (SHIFTED, "mean", 1),
    "offset_dispersion": (SHIFTED, "var", 0.5),
    "n_trials": (TRIALS, "var", 10),
    "var_weights": (WEIGHTED, "var", 2.0),
}


@pytest.mark.parametrize("form", [float, np.float32, np.array, decimal.Decimal])
@pytest.mark.parametrize("name", SINGLE)
def test_a_number_is_that_of_every_new_row(name, form):
    res, which, value = SINGLE[name]
    new = D.head(5)
    full = res.predict(new, which=which, **{name: np.full(5, float(value))})
    assert_allclose(res.predict(new, which=which, **{name: form(value)}), full, rtol=1e-14)
    frame = res.get_prediction(new, which=which, **{name: form(value)}).summary_frame()
    assert_allclose(frame["predicted"], full, rtol=1e-14)
    # of the rows of the fit too
    fitted = res.predict(which=which, **{name: np.full(N_ROWS, float(value))})
    assert_allclose(res.predict(which=which, **{name: form(value)}), fitted, rtol=1e-14)
    with pytest.raises(ValueError, match=rf"^{name}: shape \(1,\).*5 rows.*or one number for all"):
        res.predict(new, which=which, **{name: [value]})


FITTED = {
    "offset": ("negativebinomial", "count ~ x | x", 0.5),
    "exposure": ("negativebinomial", "count ~ x | x", 3),
    "offset_dispersion": ("negativebinomial", "count ~ x | x", 0.5),
    "n_trials": ("betabinomial", "K ~ x | x", 60),
}


@pytest.mark.parametrize("name", FITTED)
def test_a_number_is_that_of_every_row_of_the_fit(name):
    function, formula, value = FITTED[name]
    fit = getattr(hmf, function)
    res = fit(formula, D, **{name: value}).fit()
    full = fit(formula, D, **{name: np.full(N_ROWS, float(value))}).fit()
    assert_allclose(res.params, full.params, rtol=1e-12)
    cls, (y, _) = type(res.model), formula.split(" ~ ")
    arrays = cls(D[y].to_numpy(), Z.to_numpy(), Z.to_numpy(), **{name: np.array(value)}).fit()
    assert_allclose(arrays.params, full.params, rtol=AT_MAXIMUM)


def test_a_number_does_not_bring_back_missing_rows():
    data = D.assign(x=D["x"].where(D.index != 4))
    res = hmf.betabinomial("K ~ x", data, n_trials=60, subset=D.index < 50).fit()
    assert res.nobs == 49
    assert_array_equal(res.model.n_trials, np.full(49, 60.0))


@pytest.mark.parametrize("name", ["var_weights", "freq_weights"])
def test_one_weight_for_all_rows_is_refused(name):
    for call in (
        lambda: het.DoubleGLM(D["gaussian"], X, **{name: 2.0}),
        lambda: hmf.doubleglm("gaussian ~ x", D, **{name: 2.0}),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name}: shape \(\).*120 rows; give one value a row"
        ):
            call()


@pytest.mark.parametrize(
    ("res", "given", "message"),
    [
        (SHIFTED, {"exposure": 0}, "^exposure: must be positive; see rows 0, 1"),
        (WEIGHTED, {"var_weights": -1}, "^var_weights: must be positive"),
        (TRIALS, {"n_trials": -1}, "^n_trials: must not be negative"),
        (WEIGHTED, {"exposure": 2}, "^exposure: needs a log link"),
        (WEIGHTED, {"n_trials": 2}, "^n_trials: Gaussian has no trials"),
        (TRIALS, {"var_weights": 2}, "^var_weights: BetaBinomial does not take it"),
        (SHIFTED, {"n_trials": 2}, "^n_trials: NegativeBinomial does not take it"),
    ],
)
def test_what_the_fit_refuses_new_rows_refuse(res, given, message):
    given = {**dict.fromkeys(res.model.spec.columns, 1.0), **given}
    with pytest.raises(ValueError, match=message):
        res.predict(D.head(3), which="var", **given)


# -- types ------------------------------------------------------------------------------------------

TYPES = {
    "uint8": lambda s: s.astype("uint8"),
    "int8": lambda s: s.astype("int8"),
    "uint64": lambda s: s.astype("uint64"),
    "float16": lambda s: s.astype("float16"),
    "Int64": lambda s: s.astype("Int64"),
    "UInt8": lambda s: s.astype("UInt8"),
    "object": lambda s: s.astype(object),
    "Decimal": lambda s: s.map(decimal.Decimal).astype(object),
    "Fraction": lambda s: s.map(fractions.Fraction).astype(object),
    "mixed": lambda s: pd.Series(
        [int(v) if i % 2 else float(v) for i, v in enumerate(s)], dtype=object
    ),
}
COUNTS = het.BetaBinomial(D["K"], Z.to_numpy(), n_trials=D["N"]).fit()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("container", ["series", "array", "list"])
def test_counts_of_any_type(kind, container):
    as_given = {"series": lambda s: s, "array": lambda s: s.to_numpy(), "list": list}[container]
    K, N = (TYPES[kind](D[name]) for name in ("K", "N"))
    res = het.BetaBinomial(as_given(K), Z.to_numpy(), n_trials=as_given(N)).fit()
    assert_allclose(res.params, COUNTS.params, rtol=1e-12)
    two = pd.concat([K, TYPES[kind](D["N"] - D["K"])], axis=1)
    given = two if container == "series" else two.to_numpy()
    given = given.tolist() if container == "list" else given
    assert_allclose(het.BetaBinomial(given, Z.to_numpy()).fit().params, COUNTS.params, rtol=1e-12)


def test_small_integers_do_not_wrap():
    K, N = np.array([200, 250, 190, 240], np.uint8), np.array([255, 255, 250, 251], np.uint8)
    res = het.BetaBinomial(np.column_stack([K, N - K]), np.ones(4)).fit()
    exact = het.BetaBinomial(K.astype(float), np.ones(4), n_trials=N).fit()
    assert_allclose(res.params, exact.params, rtol=1e-12)
    assert_array_equal(res.model.n_trials, N.astype(float))
    assert_allclose(
        res.predict([1], n_trials=np.uint8(200), which="var"),
        exact.predict([1], n_trials=200, which="var"),
    )


def test_booleans_are_0_and_1():
    flag = D["x"] > 0
    right = het.DoubleGLM(D["gaussian"], X.assign(flag=flag.astype(float))).fit()
    for kind in (bool, "boolean", object):
        assert_allclose(
            het.DoubleGLM(D["gaussian"], X.assign(flag=flag.astype(kind))).fit().params,
            right.params,
        )


MISSING = {
    "NaN": lambda s: s.where(s.index != 4),
    "None": lambda s: s.astype(object).where(s.index != 4, None),
    "NA": lambda s: s.astype("Float64").mask(s.index == 4, pd.NA),
    "NA object": lambda s: s.astype(object).where(s.index != 4, pd.NA),
    "Decimal": lambda s: s.map(lambda v: decimal.Decimal(str(v))).where(
        s.index != 4, decimal.Decimal("NaN")
    ),
    "masked": lambda s: np.ma.array(np.where(s.index == 4, 1e6, s), mask=s.index == 4),
    "list": lambda s: [None if i == 4 else v for i, v in s.items()],
    "list with masked": lambda s: [np.ma.masked if i == 4 else v for i, v in s.items()],
}
PLACES = ("endog", "exog", "exog_dispersion", "offset", "offset_dispersion", "var_weights")
WITHOUT = D.drop(4)


def placed(data, **given):
    design = data["w"].to_numpy()
    whole = {
        "endog": data["gaussian"].to_numpy(),
        "exog": design,
        "exog_dispersion": design,
        "offset": data["shift"].to_numpy(),
        "offset_dispersion": data["z"].to_numpy(),
        "var_weights": data["w"].to_numpy(),
    }
    return het.DoubleGLM(**{**whole, **given})


COLUMN = dict(zip(PLACES, ("gaussian", "w", "w", "shift", "z", "w"), strict=True))
RIGHT = placed(WITHOUT).fit()


@pytest.mark.parametrize("kind", MISSING)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_missing_is_missing(place, kind):
    given = {place: MISSING[kind](D[COLUMN[place]]), "missing": "drop"}
    res = placed(D, **given).fit()
    assert res.nobs == N_ROWS - 1
    assert_allclose(res.params, RIGHT.params, rtol=1e-12)
    with pytest.raises(
        MissingValueError, match=rf"^{place}.*missing value in row 4 \(counted from 0\)"
    ):
        placed(D, **{**given, "missing": "none"})
    with pytest.raises(MissingValueError, match=r"missing values in row 4 \(counted from 0\)"):
        placed(D, **{**given, "missing": "raise"})


@pytest.mark.parametrize("kind", ["masked", "list", "NA"])
@pytest.mark.parametrize("name", ["offset", "offset_dispersion", "var_weights"])
def test_row_arrays_beside_a_formula(name, kind):
    others = {n: COLUMN[n] for n in ("offset", "offset_dispersion", "var_weights") if n != name}
    model = hmf.doubleglm(
        "gaussian ~ 0 + w | 0 + w", D, **others, **{name: MISSING[kind](D[COLUMN[name]])}
    )
    assert_allclose(model.fit().params, RIGHT.params, rtol=AT_MAXIMUM)
    column = D[[COLUMN[name]]]
    whole = hmf.doubleglm("gaussian ~ 0 + w | 0 + w", D, **others, **{name: column})
    assert whole.nobs == N_ROWS


@pytest.mark.parametrize(
    "value", [[None] * N_ROWS, np.ma.masked_all(N_ROWS), np.full(N_ROWS, pd.NA, object)]
)
@pytest.mark.parametrize("place", PLACES)
def test_all_missing(place, value):
    with pytest.raises(MissingValueError, match=f"^{place}.*missing value in rows 0, 1"):
        placed(D, **{place: value})
    with pytest.raises(ValueError, match="no rows left to fit"):
        placed(D, **{place: value, "missing": "drop"})


WRONG = {
    "complex": (np.ones(N_ROWS) * 1j, r"\(dtype complex128\): complex"),
    "complex object": (np.full(N_ROWS, 1j, object), r"\(dtype object\): 1j is of type complex"),
    "dates": (pd.Series(pd.date_range("2020", periods=N_ROWS)), r"\(dtype datetime64.*days since"),
    "date array": (np.full(N_ROWS, "2020-01-01", "M8[D]"), r"\(dtype datetime64\[D\]\): dates"),
    "date objects": (
        pd.date_range("2020", periods=N_ROWS).to_series().astype(object).to_numpy(),
        "is of type Timestamp",
    ),
    "zoned dates": (pd.Series(pd.date_range("2020", periods=N_ROWS, tz="UTC")), "UTC.*dates"),
    "durations": (pd.Series(pd.to_timedelta(np.arange(N_ROWS), "D")), "total_seconds"),
    "duration objects": (np.full(N_ROWS, np.timedelta64(1, "D"), object), "is of type timedelta"),
    "text": (np.full(N_ROWS, "1"), r"\(dtype <U1\): text; pd.to_numeric"),
    "text series": (pd.Series(np.full(N_ROWS, "1")), "text; pd.to_numeric|'1' is of type str"),
    "text with a number": (["a", 1.0] * (N_ROWS // 2), "text"),
    "bytes": (np.full(N_ROWS, b"1"), "text; pd.to_numeric"),
    "levels": (
        pd.Series(np.arange(N_ROWS) % 2).astype("category"),
        "category.*levels; name it in a formula",
    ),
    "periods": (pd.Series(pd.period_range("2020", periods=N_ROWS)), r"\(dtype period"),
    "beyond floats": ([10**400] * N_ROWS, "beyond what floats hold"),
    "objects": ([object()] * N_ROWS, "is of type object; give numbers"),
    "dict": ({"a": 1}, "of type dict; give an array, list or Series"),
    "generator": ((v for v in range(N_ROWS)), "of type generator; give an array"),
    "sparse": (
        sparse.csr_matrix(np.ones((N_ROWS, 1))),
        r"of type csr_matrix; its \.toarray\(\) is",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_a_number_is_refused(place, kind):
    value, message = WRONG[kind]
    with pytest.raises(ValueError, match=rf"^{place}: (not numeric|a number).*({message})"):
        placed(D, **{place: value})
    if isinstance(value, pd.Series) and place.startswith("exog"):
        with pytest.raises(ValueError, match=rf"^{place}, column 'bad': not numeric.*({message})"):
            placed(D, **{place: X.assign(bad=value)})
    if place not in ("endog", "exog", "exog_dispersion"):
        with pytest.raises(ValueError, match=rf"^{place}: (not numeric|a number).*({message})"):
            hmf.doubleglm("gaussian ~ x", D, **{place: value})


def test_the_name_of_a_column_needs_a_formula():
    with pytest.raises(ValueError, match=r"^n_trials='N': the name of a column needs a formula"):
        het.BetaBinomial(D["K"], X, n_trials="N")


@pytest.mark.parametrize("kind", ["text", "dates", "levels"])
def test_a_named_column_that_is_not_numeric(kind):
    value = {
        "text": "a",
        "dates": pd.Timestamp("2020-01-01"),
        "levels": pd.Categorical(["a"] * N_ROWS),
    }[kind]
    with pytest.raises(ValueError, match=r"^offset, column 'bad': not numeric"):
        hmf.doubleglm("gaussian ~ x", D.assign(bad=value), offset="bad")


def test_a_name_of_two_columns():
    twice = pd.concat([D, D[["shift"]]], axis=1)
    with pytest.raises(ValueError, match=r"^offset='shift': several columns have this name"):
        hmf.doubleglm("gaussian ~ x", twice, offset="shift")


# -- groups -----------------------------------------------------------------------------------------

HOLED = D.assign(x=D["x"].where(~D.index.isin([3, 7])))
GROUPED = hmf.doubleglm("gaussian ~ x | x", HOLED)
SERIES = GROUPED.fit(cov_type="cluster", cov_kwds={"groups": D["block"]}).bse
ONE_WAY = {
    "name": "block",
    "names": ["block"],
    "frame": D[["block"]],
    "column": D[["block"]].to_numpy(),
    "list": list(D["block"]),
    "tuple": tuple(D["block"]),
    "rows of the fit": D["block"].drop([3, 7]).to_numpy(),
    "column of the rows of the fit": D[["block"]].drop([3, 7]),
    "Int64": D["block"].astype("Int64") if D["block"].dtype != object else D["block"],
    "category": D["block"].astype("category"),
    "masked where dropped": np.ma.array(D["block"].to_numpy(), mask=D.index.isin([3, 7])),
    "text": [f"b{b}" for b in D["block"]],
}


@pytest.mark.parametrize("kind", ONE_WAY)
def test_groups_in_any_form(kind):
    bse = GROUPED.fit(cov_type="cluster", cov_kwds={"groups": ONE_WAY[kind]}).bse
    assert_allclose(bse, SERIES, rtol=1e-12)


TWO_WAYS = {
    "names": ["block", "site"],
    "frame": D[["block", "site"]],
    "array": D[["block", "site"]].to_numpy(),
    "arrays": [D["block"].to_numpy(), D["site"].to_numpy()],
    "series": (D["block"], D["site"]),
    "name and array": ["block", D["site"].to_numpy()],
}


@pytest.mark.parametrize("kind", TWO_WAYS)
def test_two_ways_of_groups(kind):
    model = hmf.doubleglm("gaussian ~ x", HOLED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bse = [
            model.fit(cov_type="cluster", cov_kwds={"groups": g}).bse
            for g in (TWO_WAYS["names"], TWO_WAYS[kind])
        ]
    assert_allclose(*bse, rtol=1e-12)


def test_masked_groups_are_missing():
    masked = np.ma.array(D["block"].to_numpy(), mask=D.index == 5)
    with pytest.raises(ValueError, match=r"^groups: missing value in row 5 \(counted from 0\)"):
        GROUPED.fit(cov_type="cluster", cov_kwds={"groups": masked})


# -- 0 and 1 of more trials -------------------------------------------------------------------------

RARE = (D["x"] > 1).astype(int)


def test_zero_and_one_of_many_trials_are_counts():
    right = het.BetaBinomial(np.column_stack([RARE, D["N"] - RARE]), np.ones(N_ROWS))
    for y in (RARE, RARE.astype(float), RARE.astype(bool), RARE.astype("Int8")):
        with pytest.warns(
            AmbiguousResponseWarning, match=r"taken as numbers of successes.*proportion \*"
        ) as caught:
            model = het.BetaBinomial(y, np.ones(N_ROWS), n_trials=D["N"])
        assert len(caught) == 1
        assert_array_equal(model.core.y, right.core.y)
    with pytest.warns(AmbiguousResponseWarning, match=r"^rare: .*0 or 1"):
        quasi = hmf.doubleglm(
            "rare ~ 1", D.assign(rare=RARE), n_trials="N", family=sm.families.Binomial()
        )
    assert_allclose(quasi.core.y, RARE / D["N"])
    quasi.clone(rows=np.arange(40))  # no second word


def test_what_is_not_ambiguous_has_no_word():
    none = het.BetaBinomial(0 * RARE, np.ones(N_ROWS), n_trials=D["N"])
    assert none.core.y.sum() == 0
    y = np.where(D.index < 5, 0.5, RARE)
    shares = het.BetaBinomial(y, np.ones(N_ROWS), n_trials=np.full(N_ROWS, 10))
    assert_array_equal(shares.core.y, 10 * y)
