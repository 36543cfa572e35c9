"""Stepwise selection: the path is that of brute force, and what cannot be fitted is reported."""

import doctest
import itertools
import pickle
import re

import numpy as np
import pytest
from conftest import CASES, simulated
from numpy.testing import assert_allclose

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import FormulaError
from hetglm.inference import stepwise

#: Fits of one model from different starts agree to so much.
SAME = 1e-6
MEANS = ["1", "x", "group", "x + group", "x * group"]
DISPERSIONS = ["1", "z", "group", "z + group"]
KEPT = "~ x + group | z"
FAMILIES = ["gaussian", "gamma", "poisson", "beta-binomial", "nb2"]


def atoms(text):
    """Return the terms of a formula of sums and one product."""
    if "*" in text:
        left, right = text.split(" * ")
        return frozenset({left, right, f"{left}:{right}"})
    return frozenset(text.split(" + ")) - {"1"}


def every_model(name, criterion):
    """Return the criterion of each model of the scope, fitted on its own from its formula."""
    return {
        (atoms(m), atoms(d)): getattr(CASES[name].formula(f"{m} | {d}").fit(), criterion)
        for m, d in itertools.product(MEANS, DISPERSIONS)
    }


def descent(values, model, direction):
    """Return the models on the way down, one term more or less a step."""
    path = [model]
    while True:
        near = [
            other
            for other in values
            if sum(len(a ^ b) for a, b in zip(model, other, strict=True)) == 1
            and (direction != "forward" or all(a <= b for a, b in zip(model, other, strict=True)))
            and (direction != "backward" or all(a >= b for a, b in zip(model, other, strict=True)))
        ]
        best = min(near, key=values.get, default=model)
        if values[best] >= values[model]:
            return path
        path.append(model := best)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FAMILIES)
def test_path_is_that_of_brute_force(name):
    criterion = "bic" if name == "gamma" else "aic"
    values = every_model(name, criterion)
    full = CASES[name].formula("x * group | z + group").fit()
    null = CASES[name].formula("1 | 1").fit()
    scope = "~ x * group | z + group"
    for direction, start in (("forward", null), ("backward", full), ("both", null), ("both", full)):
        found = het.stepwise(start, direction, criterion, scope)
        begin = tuple(map(atoms, (MEANS[-1], DISPERSIONS[-1]) if start is full else ("1", "1")))
        path = descent(values, begin, direction)
        assert_allclose(found.trace[criterion], [values[model] for model in path], rtol=SAME)
        assert_allclose(getattr(found.fit, criterion), values[path[-1]], rtol=SAME)
        terms = {(t.part, t.name.removeprefix("dispersion-")) for t in found.fit.model.term_list}
        chosen = [
            {n for p, n in terms if p == part} - {"Intercept"} for part in ("mean", "dispersion")
        ]
        assert tuple(map(frozenset, chosen)) == path[-1]
    assert len(found.trace) > 1


def test_forward_starts_from_constants_by_default():
    res = CASES["gaussian"].formula("x * group | z + group").fit()
    null = CASES["gaussian"].formula("1 | 1").fit()
    found = het.stepwise(res, "forward")
    other = het.stepwise(null, "forward", scope="~ x * group | z + group")
    assert found.trace.drop(columns=["llf", "aic"]).equals(other.trace.drop(columns=["llf", "aic"]))
    assert_allclose(found.trace["aic"], other.trace["aic"], rtol=SAME)
    assert found.trace.loc[0, "k"] == 2


def test_interactions_come_after_their_terms_and_go_before():
    res = CASES["gaussian"].formula("x * group | z").fit()
    first = het.stepwise(res, "backward", lambda fit: 0.0).tried
    assert list(first["term"]) == ["x:group", "z"]  # neither x nor group alone
    first = het.stepwise(CASES["gaussian"].formula("x | 1").fit(), scope="~ x * group | z").tried
    assert "x:group" not in set(first.loc[1, "term"])
    # an interaction whose margin is not in the scope waits for nothing
    bare = het.stepwise(CASES["gaussian"].formula("1 | 1").fit(), scope="~ x:z | 1").tried
    assert set(bare["term"]) == {"x:z"}


def test_columns_are_the_terms_of_arrays():
    data = simulated()
    X = data[["x", "shift", "time"]].assign(const=1.0)
    Z = data[["z", "shift"]].assign(const=1.0)
    res = CASES["gaussian"].arrays(X, Z).fit()
    found = het.stepwise(res, "backward")
    formula = CASES["gaussian"].formula("x + shift + time | z + shift").fit()
    other = het.stepwise(formula, "backward")
    assert list(found.trace["term"]) == list(other.trace["term"])
    assert_allclose(found.trace["aic"], other.trace["aic"], rtol=SAME)
    named = other.fit.params.rename(lambda name: name.replace("Intercept", "const"))
    assert_allclose(found.fit.params[named.index], named, rtol=1e-4)
    few = het.stepwise(
        res, "backward", scope={"mean": ["x", "shift", "time"]}, keep={"mean": ["time"]}
    )
    assert "time" in few.fit.params.index
    assert "dispersion-shift" in few.fit.params.index
    with pytest.raises(ValueError, match="without a formula give a list of columns of the mean"):
        het.stepwise(res, scope={"mean": "~ x"})
    with pytest.raises(ValueError, match="the mean has no column y"):
        het.stepwise(res, scope={"mean": ["x", "y"]})


@pytest.mark.parametrize("kind", ["names", "numbers"])
def test_constants_and_numbers_of_columns_may_be_kept(kind):
    data = simulated()
    X, Z = data[["x", "shift"]].assign(const=1.0), data[["z"]].assign(const=1.0)
    keep = {"mean": ["const", "shift"], "dispersion": ["const"]}
    if kind == "numbers":
        X.columns, Z.columns = [0, 1, 2], [0, 1]
        keep = {"mean": [2, 1], "dispersion": [np.int64(1)]}
    res = CASES["gaussian"].arrays(X, Z).fit()
    found = het.stepwise(res, "backward", lambda fit: len(fit.params), keep=keep)
    names = {"names": ["shift", "const", "dispersion-const"], "numbers": ["1", "2", "dispersion-1"]}
    assert list(found.fit.params.index) == names[kind]
    scope = {"mean": [*keep["mean"], X.columns[0]]}
    assert len(het.stepwise(res, "backward", scope=scope).tried.loc[1]) == 2
    formula = CASES["gaussian"].formula("x + shift | z").fit()
    kept = het.stepwise(
        formula, "backward", lambda fit: len(fit.params), keep={"mean": ["Intercept", "shift"]}
    )
    assert kept.fit.model.formula == "gaussian ~ shift | 1"


def test_scope_of_a_fit_without_constants():
    res = hmf.doubleglm("gaussian ~ x - 1 | z - 1", simulated()).fit()
    scope = "~ x + shift - 1 | z - 1"
    found = het.stepwise(res, "both", lambda fit: -len(fit.params), scope).fit
    assert list(found.params.index) == ["x", "shift", "dispersion-z"]


def test_chosen_fit_is_a_fit_like_any_other():
    data = simulated()
    arrays = {"offset": "shift", "offset_dispersion": "shift", "freq_weights": "w"}
    case = CASES["nb2"]
    res = case.formula("x + group + time | z + group", **arrays).fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    )
    found = het.stepwise(res, "backward", lambda fit: len(fit.params), keep=KEPT).fit
    assert found.model.formula == "count ~ group + x | z"
    direct = case.formula("x + group | z", **arrays).fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    )
    assert_allclose(found.llf, direct.llf, rtol=SAME)
    assert_allclose(found.bse, direct.bse, rtol=1e-4)
    assert list(found.params.index) == list(direct.params.index)
    assert found.fittedvalues.index.equals(data.index)
    new = data.iloc[:4]
    assert_allclose(found.predict(new, which="var"), direct.predict(new, which="var"), rtol=1e-4)
    assert found.summary().as_text().count("dispersion") == direct.summary().as_text().count(
        "dispersion"
    )
    again = pickle.loads(pickle.dumps(found))
    assert_allclose(again.predict(new), found.predict(new))


def test_rows_stay_those_of_the_fit(data):
    data.loc[data.index[:9], "x"] = np.nan
    data["group"] = data["group"].astype("category")
    res = hmf.doubleglm(
        "gaussian ~ center(x) + group * z | z", data, subset=data.index[:90], var_weights="w"
    ).fit()
    found = het.stepwise(
        res, "backward", lambda fit: len(fit.params), keep="~ center(x) + z | z"
    ).fit
    assert found.nobs == res.nobs == 81
    direct = hmf.doubleglm(
        "gaussian ~ center(x) + z | z", data, subset=data.index[:90], var_weights="w"
    ).fit()
    assert found.model.formula == "gaussian ~ center(x) + z | z"
    assert_allclose(found.params, direct.params[found.params.index], rtol=1e-6)
    assert_allclose(found.predict(data, which="sd"), direct.predict(data, which="sd"), rtol=1e-6)
    # the name of an interaction is the same either way round
    scope = {"mean": ["center(x)", "group", "z", "z:group"], "dispersion": "~ z"}
    assert len(het.stepwise(res, "backward", "bic", scope).tried.loc[1]) == 3


def test_names_of_the_caller_serve():
    def twice(values):
        return 2 * values

    data = simulated()
    null = hmf.doubleglm("gaussian ~ np.exp(x)", data)
    found = het.stepwise(null.fit(), scope="~ np.exp(x) + twice(x) | np.exp(z)")
    assert "twice(x)" in found.fit.params.index
    assert np.isfinite(found.fit.predict(data.iloc[:3], which="sd")).all()


def test_model_without_a_maximum_is_skipped_with_a_word(data):
    data["one"] = (np.arange(len(data)) == 7).astype(float)
    data["again"] = 2 * data["x"]
    res = hmf.doubleglm("gaussian ~ x + one | 1", data).fit()
    found = het.stepwise(res, "forward", scope="~ x + one + again | z + one")
    skipped = found.skipped
    assert set(skipped["term"]) == {"one", "again"}
    text = " ".join(str(found).split())
    assert "Skipped in step 1: + one (dispersion): the likelihood grows without bound" in text
    assert (
        "Skipped in step 1: + again (mean): its columns depend linearly on the columns of the model"
        in text
    )
    assert text.endswith(f"Chosen: {found.fit.model.formula}")
    assert skipped["aic"].isna().all()
    assert "one" not in found.fit.params_dispersion.index


def test_criteria():
    res = CASES["gaussian"].formula("x * group | z + group").fit()
    by_name, by_function = het.stepwise(res), het.stepwise(res, criterion=lambda fit: fit.aic)
    assert_allclose(by_name.trace["aic"], by_function.trace.iloc[:, -1], rtol=1e-12)
    assert by_function.criterion == "<lambda>"
    quasi = het.stepwise(CASES["poisson"].formula("x | z").fit())
    assert "by AIC of the extended quasi-likelihood" in str(quasi)
    with pytest.raises(ValueError, match="starting model cannot be fitted: nothing is NaN"):
        het.stepwise(res, criterion=_nothing)


def _empty(fit):
    """Return nothing at all."""


_empty.__name__ = "empty"


def _nothing(fit):
    """Return no criterion."""
    return np.nan


_nothing.__name__ = "nothing"


def test_reml_has_no_aic():
    res = hmf.doubleglm("gaussian ~ x | z + group", simulated()).fit(reml=True)
    with pytest.raises(ValueError, match="criterion='aic': not available after REML"):
        het.stepwise(res)
    found = het.stepwise(
        res,
        "backward",
        lambda fit: -2 * fit.llf_reml + 6 * len(fit.params_dispersion),
        {"dispersion": "~ z + group"},
    )
    assert found.fit.reml
    assert found.fit.model.formula == "gaussian ~ x | z"


def test_boundary_models_count(data):
    lirat = het.datasets.load_lirat()
    res = hmf.betabinomial("R + I(N - R) ~ C(grp) | 1", lirat).fit()
    with pytest.warns(het.exceptions.BoundaryWarning):  # of the chosen model, once
        found = het.stepwise(res, "forward", lambda fit: -fit.llf, {"dispersion": "~ C(grp)"})
    assert found.fit.boundary is not None
    assert found.fit.notes


def test_refusals(data):
    res = hmf.doubleglm("gaussian ~ x | z", data).fit()
    for match, kwargs in {
        "direction='up': choose 'forward'": {"direction": "up"},
        "criterion='cp': choose 'aic' or 'bic'": {"criterion": "cp"},
        "without a bar the part is ambiguous": {"scope": "~ x + group"},
        "scope={'variance': '~ z'}: write": {"scope": {"variance": "~ z"}},
        "scope: it lacks x, which the fit has": {"scope": "~ group | z"},
        "keep: group is not a term of the fit": {"keep": {"mean": "~ group"}},
        "scope: None for the mean is neither": {"scope": {"mean": None}},
        "keep: 3.5 for the mean is neither": {"keep": {"mean": 3.5}},
        "scope: [None] for the dispersion is neither": {"scope": {"dispersion": [None]}},
        "scope='~ | z': no terms before the bar; write '~ 1 | z'": {"scope": "~ | z"},
        "scope='| z': no terms before the bar": {"scope": "| z"},
        "scope='~ x |': write '~ a": {"scope": "~ x |"},
        "scope='~ x | z | z': write '~ a": {"scope": "~ x | z | z"},
        "criterion: 'empty' returned None; return one number": {"criterion": _empty},
        "criterion: '<lambda>' returned 'a'; return": {"criterion": lambda fit: "a"},
        "criterion: '<lambda>' returned array": {"criterion": lambda fit: np.ones(1)},
        "scope: '~ x - 1' has no constant, but the mean of the fit has one": {
            "scope": "~ x - 1 | z"
        },
        "keep: '0 + z' has no constant, but the dispersion": {"keep": {"dispersion": "0 + z"}},
        "scope: 'y ~ x' has a left-hand side": {"scope": {"mean": "y ~ x"}},
    }.items():
        with pytest.raises(ValueError, match=re.escape(match)):
            het.stepwise(res, **kwargs)
    with pytest.raises(FormulaError, match="'nowhere'"):
        het.stepwise(res, scope="~ x + nowhere | z")
    data["holes"] = data["x"].where(data["x"] < 1)
    with pytest.raises(
        ValueError, match="scope: row 3 misses a value in one of its variables, and all models"
    ):
        het.stepwise(hmf.doubleglm("gaussian ~ x | z", data).fit(), scope="~ x + holes | z")
    with pytest.raises(ValueError, match="res: stepwise needs hetglm results; got DataFrame"):
        het.stepwise(data)
    with pytest.raises(ValueError, match="the dispersion has no constant to start from"):
        het.stepwise(hmf.doubleglm("gaussian ~ x | z - 1", data).fit(), "forward")
    with pytest.raises(ValueError, match="drop_cols: the fit leaves out"):
        het.stepwise(hmf.doubleglm("gaussian ~ x + group | z", data, drop_cols=["x"]).fit())
    res.remove_data()
    with pytest.raises(ValueError, match="remove_data"):
        het.stepwise(res)


def test_keep_and_margins():
    res = CASES["gaussian"].formula("x * group + shift | z").fit()
    found = het.stepwise(res, "backward", lambda fit: len(fit.params), keep={"mean": "~ x:group"})
    assert found.fit.model.formula == "gaussian ~ group + x + x:group | 1"


def test_a_part_keeps_one_term():
    res = hmf.doubleglm("gaussian ~ x + z - 1 | z - 1", simulated()).fit()
    found = het.stepwise(res, "backward", lambda fit: len(fit.params))
    assert [len(found.fit.params_mean), len(found.fit.params_dispersion)] == [1, 1]


def test_progress_bar(capsys):
    res = CASES["gaussian"].formula("x | z").fit()
    het.stepwise(res, progress=True)
    assert "stepwise selection: 3it" in capsys.readouterr().err
    het.stepwise(res)
    assert capsys.readouterr().err == ""


def test_docstring_examples():
    assert doctest.testmod(stepwise).failed == 0
