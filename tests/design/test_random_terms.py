"""Random terms: from formulas and arrays to grouping factors, on the rows of a fit and on new rows."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.design.random_design import labels
from hetglm.design.random_syntax import WrittenTerm, take_out
from hetglm.exceptions import DroppedRowsWarning, FormulaError, MissingValueError

# ---- what is taken out of a formula ------------------------------------------------------------


def term(left, *groups, part="mean", **kwargs):
    return WrittenTerm(part, left, groups, **kwargs)


TAKEN = {
    "y ~ x + (1 | g)": ("y ~ x", [term("1", "g")]),
    "y ~ (1|g)": ("y ~ 1", [term("1", "g")]),
    "~ (1 | g)": ("~ 1", [term("1", "g")]),
    "y ~ (1 | g) + x": ("y ~ x", [term("1", "g")]),
    "y ~ z + (1 | g) + x": ("y ~ z + x", [term("1", "g")]),
    "y ~ (1 | g) - 1": ("y ~ - 1", [term("1", "g")]),
    "y ~ 0 + (1 | g)": ("y ~ 0", [term("1", "g")]),
    "y ~ (1 | g) + (1 | h)": ("y ~ 1", [term("1", "g"), term("1", "h")]),
    "y ~ (x || g)": ("y ~ 1", [term("x", "g", correlated=False)]),
    "y ~ (0 + x |p| g)": ("y ~ 1", [term("0 + x", "g", label="p")]),
    "y ~ (f(x) | g)": ("y ~ 1", [term("f(x)", "g")]),
    "y ~ (I(a | b) | g)": ("y ~ 1", [term("I(a | b)", "g")]),
    "y ~ (1 | a:b)": ("y ~ 1", [term("1", "a", "b")]),
    "y ~ (1 | (a:b))": ("y ~ 1", [term("1", "a", "b")]),
    "y ~ (1 | a/b/c)": ("y ~ 1", [term("1", *"abc"[:k]) for k in (1, 2, 3)]),
    "y ~ (1 | a:b/c)": ("y ~ 1", [term("1", "a", "b"), term("1", "a", "b", "c")]),
    "y ~ (1 | Q('body | mass'):b)": ("y ~ 1", [term("1", "body | mass", "b")]),
    "y ~ x + I((a) | (b)) + Q('(1 | g)')": ("y ~ x + I((a) | (b)) + Q('(1 | g)')", []),
}


@pytest.mark.parametrize("formula", TAKEN)
def test_terms_are_taken_out(formula):
    assert take_out(formula, "mean") == TAKEN[formula]


def test_the_text_of_a_term_is_that_term():
    for written in (t for _, terms in TAKEN.values() for t in terms):
        assert take_out(f"y ~ {written.text}", "mean")[1] == [written]


# ---- factors ------------------------------------------------------------------------------------


def structure(model):
    """Return name, columns with their parts, and blocks of each factor."""
    prefix = {"mean": "", "dispersion": "d-"}
    return {
        f.name: ([prefix[p] + c for p, c in zip(f.parts, f.columns, strict=True)], f.blocks)
        for f in model.random
    }


STRUCTURES = {
    "(1 | block)": {"block": (["Intercept"], ((0,),))},
    "(x | block)": {"block": (["Intercept", "x"], ((0, 1),))},
    "(x || block)": {"block": (["Intercept", "x"], ((0,), (1,)))},
    "(0 + group || block)": {
        "block": (["group[a]", "group[b]", "group[c]"], ((0,), (1,), (2,))),
    },
    "(1 | block) + (0 + x | block)": {"block": (["Intercept", "x"], ((0,), (1,)))},
    "(x | block) | z + (1 | block)": {
        "block": (["Intercept", "x", "d-Intercept"], ((0, 1), (2,))),
    },
    "(x |p| block) + (0 + w | block) | (1 |p| block)": {
        "block": (["Intercept", "x", "w", "d-Intercept"], ((0, 1, 3), (2,))),
    },
    "(1 | block) | (1 | site)": {
        "block": (["Intercept"], ((0,),)),
        "site": (["d-Intercept"], ((0,),)),
    },
    "(1 | group/site)": {
        "group": (["Intercept"], ((0,),)),
        "group:site": (["Intercept"], ((0,),)),
    },
    "(1 |p| group/site) | (1 |p| group/site)": {
        "group": (["Intercept", "d-Intercept"], ((0, 1),)),
        "group:site": (["Intercept", "d-Intercept"], ((0, 1),)),
    },
}


@pytest.mark.parametrize("right", STRUCTURES)
def test_columns_and_blocks(data, right):
    model = hmf.doubleglm(f"gaussian ~ x + {right}", data)
    assert structure(model) == STRUCTURES[right]
    fixed = hmf.doubleglm("gaussian ~ x | z" if "z" in right else "gaussian ~ x", data)
    assert model.coefficient_names == fixed.parameter_names


def test_values_levels_and_codes(data):
    data["f"] = pd.Categorical(data["group"], categories=["c", "x", "b", "a"])
    model = hmf.doubleglm("gaussian ~ 1 + (center(x) | f) + (1 | group:site)", data)
    f, nested = model.random
    assert f.levels == ("c", "b", "a")
    np.testing.assert_array_equal(np.array(f.levels)[f.codes], data["group"])
    np.testing.assert_allclose(f.values[:, 1], data["x"] - data["x"].mean())
    # sorted by the levels of each in turn, as lme4 names them
    assert nested.levels[:3] == ("a:0", "a:1", "a:2")
    assert nested.levels[-1] == "c:12"
    joined = data["group"] + ":" + data["site"].astype(str)
    np.testing.assert_array_equal(np.array(nested.levels)[nested.codes], joined)


def test_parts_and_levels_of_any_order(data):
    data["mixed"] = np.where(data["block"] < 7, data["block"].astype(object), "late")
    term = het.RandomTerm("mixed", part="dispersion")
    model = hmf.doubleglm("gaussian ~ x", data, random=[term, het.RandomTerm("mixed")])
    assert structure(model) == {"mixed": (["Intercept", "d-Intercept"], ((0,), (1,)))}
    assert model.random[0].levels == (*range(7), "late")
    model = hmf.doubleglm("gaussian ~ x", data, "z + (1 | block)")
    assert structure(model) == {"block": (["d-Intercept"], ((0,),))}


def test_two_combinations_of_one_name():
    frame = pd.DataFrame({"a": ["p:q", "p"], "b": ["r", "q:r"]})
    with pytest.raises(FormulaError, match=r"a:b: several combinations .* called 'p:q:r'"):
        labels(frame, ["a", "b"])


def test_rows_of_the_fit(data):
    data.loc[3, "block"] = np.nan  # whole numbers as floats
    data.loc[5, "w"] = np.nan
    subset = data["x"] > -1
    kwargs = {"subset": subset, "freq_weights": (np.arange(120) % 4 > 0).astype(int)}
    with pytest.warns(DroppedRowsWarning):
        model = hmf.doubleglm("gaussian ~ x + (w | block) | (1 | group:block)", data, **kwargs)
    kept = data[subset & (np.arange(120) % 4 > 0)].dropna()
    assert len(model.core.y) == len(kept) < subset.sum()
    block, both = model.random
    np.testing.assert_array_equal(np.array(block.levels)[block.codes], kept["block"])
    np.testing.assert_array_equal(block.values[:, 1], kept["w"])
    assert both.levels[0] == "a:1"  # not a:1.0
    with pytest.raises(MissingValueError, match="row 3 misses a value"):
        hmf.doubleglm("gaussian ~ x + (1 | block)", data, missing="raise")


# ---- models -------------------------------------------------------------------------------------


def test_what_a_model_shows(data):
    formula = "gaussian ~ x + (x |p| block)|(1|site/group) + z + (1 |p| block)"
    model = hmf.doubleglm(formula, data)
    text = "gaussian ~ x + (x |p| block) | z + (1 | site) + (1 | site:group) + (1 |p| block)"
    assert model.formula == formula
    assert model.formula_text() == text
    assert "Random effects: block (20 levels): Intercept, x, dispersion-Intercept" in str(model)
    assert hmf.doubleglm("gaussian ~ x", data).random == ()


def test_clone_slices_the_factors(data):
    model = hmf.doubleglm("gaussian ~ x + (x | block)", data)
    rows = np.array([30, 31, 30, 100])
    clone = model.clone(rows=rows)
    (factor,) = clone.random
    assert factor.levels == (5, 16)
    np.testing.assert_array_equal(factor.codes, [0, 0, 0, 1])
    np.testing.assert_array_equal(factor.values[:, 1], data["x"].to_numpy()[rows])
    assert model.clone(endog=model.core.y).random is model.random


@pytest.mark.parametrize("by_formula", [True, False])
def test_other_terms_keep_the_random_ones(data, by_formula):
    if by_formula:
        model = hmf.doubleglm("gaussian ~ x + group + (x | block) | z", data)
    else:
        term = het.RandomTerm(data["block"], np.column_stack([np.ones(120), data["x"]]))
        model = het.DoubleGLM(data["gaussian"], data[["x", "w"]], data[["z"]], random=[term])
    new = model.with_terms(["x"], ["z"])
    assert new.random is model.random
    assert new.formula_text().startswith("gaussian ~ ")
    assert (" (x | block) | " if by_formula else " (1 + x1 | block) | ") in new.formula_text()
    if by_formula:
        with pytest.raises(FormulaError, match="random terms of a model stay"):
            model.with_terms(["(1 | site)"], ["z"])
        assert new.formula == new.formula_text()
        assert new.spec.random is model.spec.random


def test_names_of_the_caller(data):
    ours = data["block"].to_numpy() % 7
    model = hmf.doubleglm("gaussian ~ x + (1 | ours)", data)
    np.testing.assert_array_equal(np.array(model.random[0].levels)[model.random[0].codes], ours)


# ---- new data -----------------------------------------------------------------------------------


def test_new_data(data):
    data["f"] = pd.Categorical(data["group"], categories=["c", "b", "a"])
    formula = "gaussian ~ 1 + (center(x) | f) + (1 | group:site) | (z |p| f) + (1 |p| f)"
    model = hmf.doubleglm(formula.replace("(1 |p| f)", "(0 + w |p| f)"), data)
    spec = pickle.loads(pickle.dumps(model.spec))
    again = spec.random.build(data, model.random)
    for new, fitted in zip(again, model.random, strict=True):
        np.testing.assert_array_equal(new.codes, fitted.codes)
        np.testing.assert_allclose(new.values, fitted.values)
        assert (new.levels, new.blocks) == (fitted.levels, fitted.blocks)
    rows = pd.DataFrame(
        {
            "x": 1.0,
            "z": 0.5,
            "w": 2,
            "f": ["a", "q", None, "b"],
            "group": ["a", "a", "q", "b"],
            "site": [0.0, 99.0, 0.0, np.nan],  # numbers of the fit, with one missing
        }
    )
    f, nested = spec.random.build(rows, model.random)
    assert f.codes.tolist() == [2, -1, -1, 1]
    assert nested.codes.tolist() == [nested.levels.index("a:0"), -1, -1, -1]
    assert np.isnan(f.values).any(axis=1).tolist() == [False, False, True, False]
    assert np.isnan(nested.values[:, 0]).tolist() == [False, False, False, True]
    np.testing.assert_allclose(f.values[0], [1, 1 - data["x"].mean(), 1, 0.5, 2])
    nowhere = rows.assign(site=np.nan, f=None)
    assert all((factor.codes == -1).all() for factor in spec.random.build(nowhere, model.random))
    with pytest.raises(
        FormulaError, match=r"new data: \(1 \| group:site\): column 'site' not found"
    ):
        spec.random.build(rows.drop(columns="site"), model.random)


def test_new_data_after_arrays(data):
    terms = [het.RandomTerm("block"), het.RandomTerm(data["group"], data[["x"]])]
    model = hmf.doubleglm("gaussian ~ x", data, random=terms)
    assert model.spec.random.build(data, model.random[:1])[0].levels == model.random[0].levels
    with pytest.raises(ValueError, match="term of 'group' was given as arrays"):
        model.spec.random.build(data, model.random)


# ---- arrays -------------------------------------------------------------------------------------


def test_arrays_and_formulas_agree(data):
    formula = hmf.doubleglm("gaussian ~ x + (x || block) + (1 |p| group) | z + (1 |p| group)", data)
    one_x = pd.DataFrame({"Intercept": 1.0, "x": data["x"]})
    random = [
        het.RandomTerm(data["block"], one_x, correlated=False),
        het.RandomTerm(list(data["group"]), label="p", name="group"),
        het.RandomTerm(pd.Categorical(data["group"]), label="p", part="dispersion", name="group"),
    ]
    X, Z = sm.add_constant(data["x"]), sm.add_constant(data["z"])
    model = het.DoubleGLM(data["gaussian"], X, Z, random=random)
    assert structure(model) == structure(formula)
    for ours, theirs in zip(model.random, formula.random, strict=True):
        assert ours.levels == theirs.levels
        np.testing.assert_array_equal(ours.codes, theirs.codes)
        np.testing.assert_array_equal(ours.values, theirs.values)
    assert model.formula_text() == (
        "gaussian ~ const, x + (1 + x || block) + (1 |p| group) | const, z + (1 |p| group)"
    )


@pytest.mark.parametrize("cls", [het.BetaBinomial, het.NegativeBinomial])
def test_default_names(data, cls):
    endog = data[["K", "N"]].to_numpy() if cls is het.BetaBinomial else data["count"].to_numpy()
    group, block = data["group"].to_numpy(), data["block"].to_numpy()
    random = [
        het.RandomTerm(group),
        het.RandomTerm(block),
        het.RandomTerm(group.copy(), data[["x"]].to_numpy(), part="dispersion"),
    ]
    model = cls(endog, np.ones(120), random=random)
    assert structure(model) == {
        "groups": (["Intercept", "d-x1"], ((0,), (1,))),
        "groups2": (["Intercept"], ((0,),)),
    }


def test_arrays_with_missing_values(data):
    group = data["group"].astype(object).where(data.index != 7, None)
    x = data[["x"]].drop(9).reindex(data.index)
    random = [het.RandomTerm(group, x)]
    args = data["gaussian"], data[["w"]]
    model = het.DoubleGLM(*args, random=random, missing="drop")
    assert model.rows_text == "118 of 120 rows; 2 with missing values left out"
    np.testing.assert_array_equal(model.random[0].values[:, 0], data["x"].drop([7, 9]))
    with pytest.raises(MissingValueError, match=r"random\[0\]\.groups: missing value in row 7"):
        het.DoubleGLM(*args, random=random)
    with pytest.raises(MissingValueError, match="rows 7, 9"):
        het.DoubleGLM(*args, random=random, missing="raise")


def test_arrays_beside_a_formula(data):
    group = data["group"].to_numpy(dtype=object)
    group[8] = None
    data.loc[4, "w"] = np.nan
    random = [
        het.RandomTerm("block", part="dispersion", label="q"),
        het.RandomTerm("site", exog=data[["w"]]),
        het.RandomTerm(group, name="arm"),
    ]
    model = hmf.doubleglm(
        "gaussian ~ x + (1 |q| block)", data, random=random, subset=data["x"] > -1
    )
    assert structure(model) == {
        "block": (["Intercept", "d-Intercept"], ((0, 1),)),
        "site": (["w"], ((0,),)),
        "arm": (["Intercept"], ((0,),)),
    }
    kept = data[data["x"] > -1].drop([4, 8])
    for factor, column in zip(model.random, ("block", "site", "group"), strict=True):
        np.testing.assert_array_equal(np.array(factor.levels)[factor.codes], kept[column])
    assert model.formula_text() == (
        "gaussian ~ x + (1 |q| block) + (0 + w | site) + (1 | arm) | 1 + (1 |q| block)"
    )


# ---- bad input ----------------------------------------------------------------------------------


@pytest.fixture
def rough(data):
    """Return data with variables that are no grouping variables."""
    return data.assign(one=1, row=np.arange(120), twin=data["block"] * 3.0, ones=1.0)


REFUSED = {
    "x + (1 | blok)": r"\(1 \| blok\): column 'blok' not found; did you mean 'block'",
    "x + (1 | gaussian)": r"'gaussian' is the response",
    "(1 | x)": r"\(1 \| x\): 'x' has another number in each row, .* \(x \| g\)",
    "z | (1 | x)": r"\(1 \| x\): 'x' has another number in each row",
    "(1 | one)": "'one' has one level in these rows",
    "x | z | block": r"has 2 bars; .* in brackets, \(1 \| g\)",
    "x || block": r"has 2 bars; .* in brackets, \(1 \| g\)",
    "(1 | row)": r"\(1 \| row\): 'row' has one row a level, .* dispersion of the Gaussian",
    "x + (1 | row) | group": "'row' has one row a level",
    "(1 | block) + (1 | twin)": r"\(1 \| block\) and \(1 \| twin\): .* make the same groups",
    "(1 | block:group) + (1 | group:block)": "make the same groups",
    "(x + z + w + shift + time + count | block)": "7 columns vary .* no level has more than 6 rows",
    "(1 | block) + (x | block)": r"'Intercept' is in \(1 \| block\) and \(x \| block\)",
    "(1 |p| block) | (1 |p| site)": "label 'p' joins terms of one grouping variable",
    "(1 | block": r"'\(1 \| block' has no closing bracket",
    "( | block)": r"nothing on the left of the bar; write \(1 \| block\)",
    "(x | )": r"no grouping variable .*; write \(x \| g\)",
    "(0 | block)": r"\(0 \| block\) has no columns; write \(1 \| block\)",
    "(x || p | block)": r"write \(x \| g\), \(x \|\| g\) .* \(x \|p\| g\)",
    "(1 | C(block))": r"levels as they are; write \(1 \| block\)",
    "(x | factor(block))": r"levels as they are; write \(x \| block\)",
    "(1 | block + site)": r"write \(1 \| block\) \+ \(1 \| site\)",
    "(1 | block*site)": r"write \(1 \| block\) \+ \(1 \| site\) \+ \(1 \| block:site\)",
    "(1 | interaction(block, site))": r"write \(1 \| block:site\)",
    "(1 | block.site)": r"write \(1 \| Q\('block\.site'\)\)",
    "(1 | block:block)": "a grouping variable twice",
    "(1 | np.floor(x))": r"'np\.floor\(x\)' is not a column; make one",
    "(1 | 1)": "'1' is not a column; make one",
    "x + ar1(0 + x | block)": r"the covariance structure ar1\(\) is not available",
    "mm(1 | block)": r"the covariance structure mm\(\) is not available",
    "us(x | block)": r"write \(x \| block\)",
    "diag(x | block)": r"write \(x \|\| block\)",
    "s(block, bs='re')": r"a random intercept of each level of g is \(1 \| g\)",
    "x * (1 | block)": r"added to the others with '\+'",
    "x - (1 | block)": r"added to the others with '\+'",
    "((1 | block))": "one pair of brackets",
    "(x + (1 | block)) * z": "one pair of brackets",
    "(missing | block)": r"column 'missing' not found.*\n    \(missing \| block\)\n     \^+$",
    "(x^2 | block)": r"in the random term \(x\^2 \| block\): '\^' is",
    "(log(x) | block)": r"write np\.log\(x\)",
}


@pytest.mark.parametrize("right", REFUSED)
def test_refused(rough, right):
    with pytest.raises((FormulaError, ValueError)) as caught:
        hmf.doubleglm(f"gaussian ~ {right}", rough, eval_env=-1)
    assert re.search(REFUSED[right], str(caught.value), re.S)


def test_a_term_on_the_left(data):
    with pytest.raises(FormulaError, match="to the right of '~'"):
        hmf.doubleglm("(1 | block) ~ x", data)


def test_one_row_a_group_may_be_identified(data):
    data["row"] = np.arange(120) + 0.0
    assert hmf.doubleglm("gaussian ~ 1 + (1 | row) | z", data).random[0].name == "row"
    weights = {"var_weights": "w"}
    assert hmf.doubleglm("gaussian ~ 1 + (1 | row)", data, **weights).random
    assert hmf.doubleglm("gaussian ~ 1 + (0 + x | row)", data).random
    assert hmf.doubleglm("gaussian ~ 1 | (1 | row)", data).random
    assert hmf.negativebinomial("count ~ 1 + (1 | row)", data).random


def test_a_number_may_be_a_group(data):
    data["dose"] = data["block"] / 4
    assert hmf.doubleglm("gaussian ~ dose + (1 | dose)", data).random[0].levels[:2] == (0.0, 0.25)


@pytest.mark.parametrize(
    ("family", "left", "instead"),
    [
        (sm.families.Poisson(), "count", "use negativebinomial, .*; for phi = 1 write '| 0'"),
        (sm.families.Binomial(), "K + I(N - K)", "use betabinomial, .*; for phi = 1 write '| 0'"),
        (
            sm.families.NegativeBinomial(alpha=1.0),
            "count",
            "use negativebinomial, .* estimates alpha$",
        ),
    ],
)
def test_no_likelihood(data, family, left, instead):
    match = rf"\(x \| block\): random effects need a likelihood, .*{instead.replace('|', '[|]')}"
    with pytest.raises(ValueError, match=match):
        hmf.doubleglm(f"{left} ~ x + (x | block)", data, family=family)
    if "phi = 1" in instead:
        model = hmf.doubleglm(f"{left} ~ x + (x | block) | 0", data, family=family)
        assert model.formula_text().endswith("+ (x | block) | 0")


ARRAYS = {
    r"random: give a list": lambda d: "~ 1 | block",
    r"random: give a list, \[": lambda d: het.RandomTerm(d["block"]),
    r"random: give a list, \[h": lambda d: [d["block"]],
    r"\[0\]\.groups='block': the name of a column needs": lambda d: [het.RandomTerm("block")],
    r"\[0\]\.groups: its index differs": lambda d: [het.RandomTerm(d["block"][::-1])],
    r"\[0\]\.groups: shape \(3,\)": lambda d: [het.RandomTerm(d["block"][:3])],
    r"\[0\]\.groups: shape \(120, 2\)": lambda d: [het.RandomTerm(d[["block", "site"]])],
    r"\[0\]\.exog, column 'group': not n": lambda d: [het.RandomTerm(d["block"], d[["group"]])],
    r"\[0\]: exog='x': .* \(x \| g\)": lambda d: [het.RandomTerm(d["block"], "x")],
    r"\[0\]: part='phi': choose": lambda d: [het.RandomTerm(d["block"], part="phi")],
    r"\[0\]: label=3: give a text": lambda d: [het.RandomTerm(d["block"], label=3)],
    r"\[0\]: terms of one label are": lambda d: [
        het.RandomTerm(d["block"], label="p", correlated=False)
    ],
    r"\[1\]: two grouping variables .* 'block'": lambda d: [
        het.RandomTerm(d["block"]),
        het.RandomTerm(d["site"], name="block"),
    ],
}


@pytest.mark.parametrize("message", ARRAYS)
def test_arrays_refused(data, message):
    with pytest.raises((TypeError, ValueError), match=message):
        het.DoubleGLM(data["gaussian"], data[["x"]], random=ARRAYS[message](data))


def test_arrays_refused_beside_a_formula(data):
    def refused(match, *args, error=ValueError, **kwargs):
        with pytest.raises(error, match=match):
            hmf.doubleglm("gaussian ~ x", data, random=[het.RandomTerm(*args, **kwargs)])

    refused(r"\(1 \| blok\): column 'blok' not found", "blok", error=FormulaError)
    refused(r"random\[0\]\.groups='blok' is not a column", "blok", data["x"], error=FormulaError)
    refused(r"random\[0\]\.groups: 3 rows, but the data have 120", data["block"][:3])
    refused(r"random\[0\]\.groups: its index differs", data["block"][::-1])
    refused(r"random\[0\]\.exog: 2 rows", "block", np.ones((2, 1)))
