"""Words of other languages and packages: each is refused with what to write here."""

import re

import numpy as np
import pytest

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.design.syntax import check_marks
from hetglm.exceptions import FormulaError


def refused(data, formula, *args, **kwargs):
    """Return what a formula is refused with, of a caller who has no names of his own."""
    with pytest.raises(FormulaError) as caught:
        hmf.doubleglm(formula, data, *args, eval_env=-1, **kwargs)
    return str(caught.value)


# ---- the left-hand side ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left",
    ["K/N", "K*N", "K:N", "K**2", "K - N", "(K + N)**2", "(K)/(N)", "K + K/N", "-K", "1 + K"],
)
@pytest.mark.parametrize("make", [hmf.doubleglm, hmf.betabinomial, hmf.negativebinomial])
def test_no_arithmetic_on_the_left(data, left, make):
    for kwargs in ({}, {"n_trials": "N"}):
        with pytest.raises(FormulaError, match=r"response: .*not as arithmetic; write I\("):
            make(f"{left} ~ x | z", data, **kwargs)


def test_what_to_write_for_a_proportion(data):
    message = refused(data, "K/N ~ x | z")
    assert "I(K/N) with n_trials=" in message
    assert "K + I(N - K)" in message
    assert message.endswith("\n    K/N ~ x\n    ^^^")
    counts = hmf.betabinomial("K + I(N - K) ~ x | z", data).fit()
    shares = hmf.betabinomial("I(K/N) ~ x | z", data, n_trials="N").fit()
    np.testing.assert_allclose(shares.llf, counts.llf)
    assert "twice" in refused(data, "K + K ~ x")


# ---- bars inside functions ---------------------------------------------------------------------


@pytest.mark.parametrize("term", ["I((a) | (b))", "I((a | b))", "C((a) | b)", "Q('(1 | id)')"])
def test_a_bitwise_or_inside_a_function_stays(data, term):
    data = data.assign(a=data["x"] > 0, b=data["z"] > 0).assign(**{"(1 | id)": data["w"]})
    assert hmf.doubleglm(f"gaussian ~ {term} | {term}", data).exog.shape[1] == 2


# ---- R's habits --------------------------------------------------------------------------------

HABITS = {
    "log(x)": r"np\.log\(x\)",
    "exp(x)": r"np\.exp\(x\)",
    "sqrt(time)": r"np\.sqrt\(time\)",
    "poly(x, 2)": r"x \+ I\(x\*\*2\)",
    "s(x)": r"bs\(x, df=5\)",
    "ns(x, 3)": r"cr\(x, df=4\)",
    "rcs(x, 3)": r"cr\(x, df=4\)",
    "factor(w)": r"C\(w\)",
    "as.factor(w)": r"C\(w\)",
    "as.numeric(w)": r"w\.astype\(float\)",
    "offset(shift)": "offset=",
    "offset(log(time))": "offset=",
    "random(block)": r"\(1 \| g\)",
    "I(x^2)": r"I\(x\*\*2\)",
    "x^2": r"\(a \+ b\)\*\*2",
    "(x + z)^2": r"\(a \+ b\)\*\*2",
    "z %in% x": "a:b",
    "x := z": "':='",
    "`x`": r"Q\('",
    ".": r"does not stand for all columns.*gaussian \+ x|gaussian",
    "x + .": "does not stand for all columns",
    "TRUE": "True",
    "np.log(time)": "import numpy as np",
    "body.mass": r"Q\('body\.mass'\)",
    "Group": "did you mean 'group'",
    "grup": "did you mean 'group'.*Columns: .*gaussian",
    "centre(x)": "did you mean 'center'",
    "None": "constant, not a variable",
    "Intercept": "name of the constant",
}


@pytest.mark.parametrize("term", HABITS)
def test_habits_of_other_languages(data, term):
    data["body.mass"] = data["x"]
    for formula in (f"gaussian ~ {term}", f"gaussian ~ x | {term}"):
        message = refused(data, formula)
        assert re.search(HABITS[term], message, re.S)
        *_, caret = message.splitlines()
        assert set(caret.strip()) == {"^"}


def test_successes_and_failures_as_r_binds_them(data):
    assert "K + I(N - K)" in refused(data, "cbind(K, N - K) ~ x")
    assert "np.log(time)" in refused(data, "log(time) ~ x")


def test_functions_of_the_caller_may_have_such_names(data):
    log, s = np.log, np.tanh
    assert s(log(1.0)) == 0
    assert hmf.doubleglm("gaussian ~ log(time) + s(x)", data).exog_names[1:3] == [
        "log(time)",
        "s(x)",
    ]
    with pytest.raises(FormulaError, match="comprehension"):  # not: column 'v' not found
        hmf.doubleglm("gaussian ~ I([min(v, 1) for v in x])", data)


@pytest.mark.parametrize(
    "right", ["I(x * .5)", "np.exp(x)", "Q('a.b') + Q('x^2')", "I(w % 2)", "x.abs()", "bs(x, df=4)"]
)
def test_what_is_no_habit(right):
    check_marks(f"y ~ {right}")


# ---- hypotheses --------------------------------------------------------------------------------


def test_a_mistyped_coefficient(data):
    res = hmf.doubleglm("gaussian ~ x + group | z", data).fit()
    for text, near in {
        "dispersion-x = 0": "'dispersion-x'; did you mean 'dispersion-z'",
        "x = 0, group[T.d] = 0": r"'group[T.d]'; did you mean 'group[T.",
        "X = 0": "'X'; did you mean 'x'",
    }.items():
        with pytest.raises(FormulaError, match=re.escape(near)) as caught:
            res.wald_test(text)
        assert "Coefficients: Intercept, group[T.b], group[T.c], x" in str(caught.value)


# ---- arguments ---------------------------------------------------------------------------------

ARGUMENTS = {
    "dispformula": "exog_dispersion_formula",
    "dformula": "exog_dispersion_formula",
    "sigma.formula": "exog_dispersion_formula",
    "sigma_formula": "exog_dispersion_formula",
    "phi.formula": "exog_dispersion_formula",
    "exog_precision_formula": "exog_dispersion_formula",
    "weights": "var_weights",
    "trials": "n_trials",
    "groups": r"\(1 \| g\).*cov_kwds",
    "ranef": r"random=\[hetglm\.api\.RandomTerm\(g\)\]",
    "na_action": "missing",
    "reml": r"fit\(reml",
    "method": r"fit\(method",
    "n_trails": "did you mean 'n_trials'",
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("cls", [het.DoubleGLM, het.BetaBinomial, het.NegativeBinomial])
def test_arguments_have_their_name_here(data, name, cls):
    match = f"^{cls.__name__}: unknown argument '{re.escape(name)}'.*{ARGUMENTS[name]}"
    with pytest.raises(TypeError, match=match):
        cls.from_formula("count ~ x", data, **{name: "~ z"})
    with pytest.raises(TypeError, match=match):
        cls(data["count"], data[["x"]], **{name: "~ z"})


@pytest.mark.parametrize(
    ("family", "instead"),
    [
        ("gaussian", r"sm\.families\.Gaussian\(\)"),
        ("Gamma", r"sm\.families\.Gamma\(\)"),
        ("quasipoisson", r"sm\.families\.Poisson\(\)"),
        ("inverse.gaussian", r"sm\.families\.InverseGaussian\(\)"),
        ("nbinom2", "hmf.negativebinomial"),
        ("betabinomial", "hmf.betabinomial"),
    ],
)
def test_a_family_by_name(data, family, instead):
    with pytest.raises(ValueError, match=f"family='{family}'.*{instead}"):
        hmf.doubleglm("count ~ x", data, family=family)
    with pytest.raises(TypeError, match="'family'; the class is the family"):
        hmf.negativebinomial("count ~ x", data, family=family)


def test_arguments_of_fit(data):
    model = hmf.doubleglm("gaussian ~ x", data)
    for method in ("reml", "REML"):
        with pytest.raises(
            ValueError, match=r"write reml=True; method is the optimiser, 'newton-sc"
        ):
            model.fit(method=method)
    with pytest.raises(ValueError, match="maximum likelihood is the default"):
        model.fit(method="ML")
    with pytest.raises(ValueError, match=r"'newton-scoring' by default; choose from .*bfgs"):
        model.fit(method="irls")
    for bad in ("yes", "no", 1, None):
        with pytest.raises(ValueError, match=rf"reml={bad!r}: give True or False"):
            model.fit(reml=bad)
    with pytest.raises(ValueError, match="use_t='no': give True or False"):
        model.fit(use_t="no")
    for name, instead in {"maxit": "maxiter", "weights": "var_weights", "REML": "reml"}.items():
        with pytest.raises(TypeError, match=f"fit: unknown argument '{name}'.*{instead}"):
            model.fit(**{name: 1})
    assert model.fit(reml=np.True_).converged


def test_arguments_in_another_order(data):
    order = "the order is formula, data, exog_dispersion_formula"
    with pytest.raises(ValueError, match=f"data: cannot.*{order}"):
        hmf.doubleglm("gaussian ~ x", "~ z")
    with pytest.raises(FormulaError, match=f"must be a str.*not DataFrame; {order}"):
        hmf.doubleglm("gaussian ~ x", "~ z", data)
    with pytest.raises(FormulaError, match=f"must be a str.*DataFrame; {order}"):
        hmf.doubleglm(data, "gaussian ~ x")
    with pytest.raises(FormulaError, match=f"exog_dispersion_formula must be a str.*{order}"):
        hmf.doubleglm("gaussian ~ x", data, data)
    with pytest.raises(ValueError, match=r"write DoubleGLM\.from_formula"):
        het.DoubleGLM("gaussian ~ x", data)


# ---- what a second reader broke -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "instead"),
    [(het.BetaBinomial, "n_trials for trials"), (het.NegativeBinomial, "exposure for time")],
)
def test_weights_are_not_sent_to_what_is_refused(data, cls, instead):
    match = f"{cls.__name__} takes no var_weights: use {instead}.*freq_weights"
    with pytest.raises(TypeError, match=match):
        cls.from_formula("count ~ x", data, weights="w")
    with pytest.raises(TypeError, match=match):
        cls(data["count"], data[["x"]], weights=data["w"])


def test_a_design_beside_a_formula(data):
    with pytest.raises(TypeError, match=r"exog_dispersion= is for arrays; .*formula='~ z'"):
        hmf.doubleglm("gaussian ~ x", data, exog_dispersion="~ z")
    for name in ("endog", "exog"):
        with pytest.raises(TypeError, match=f"the formula makes {name}; leave {name}= out"):
            hmf.betabinomial("K + I(N - K) ~ x", data, **{name: data["x"]})


def test_arguments_of_the_other_call(data):
    with pytest.raises(TypeError, match=r"'link'; here it is family=, such as sm\.families"):
        hmf.doubleglm("gaussian ~ x", data, link="log")
    with pytest.raises(TypeError, match=r"'method'; in fit\(\), write reml=True"):
        hmf.doubleglm("gaussian ~ x", data, method="REML")
    with pytest.raises(TypeError, match=r"'re_formula'; write random terms in the formula"):
        hmf.doubleglm("gaussian ~ x", data, re_formula="~ x")
    with pytest.raises(TypeError, match=r"here it is from_formula\(formula, data\)"):
        het.DoubleGLM(data["gaussian"], data[["x"]], data=data)
    model = hmf.doubleglm("gaussian ~ x", data)
    for name in ("family", "missing", "freq_weights"):
        with pytest.raises(
            TypeError, match=f"{name!r}; it is an argument of DoubleGLM, not of fit"
        ):
            model.fit(**{name: None})
    with pytest.raises(TypeError, match=r"\? Known: start_params, .*warn_convergence$"):
        model.fit(REML=True)
    with pytest.raises(ValueError, match="disp='no': give True or False"):
        model.fit(disp="no")
    for quiet in (0, None, np.False_):
        assert model.fit(disp=quiet).converged


def test_names_of_columns_in_arguments(data):
    message = r"='grup' is not a column of the data; did you mean 'group'\? Columns: .*group"
    with pytest.raises(FormulaError, match="offset" + message):
        hmf.doubleglm("gaussian ~ x", data, offset="grup")
    model = hmf.doubleglm("gaussian ~ x", data)
    for groups in ("grup", ["block", "grup"]):
        with pytest.raises(ValueError, match="groups" + message):
            model.fit(cov_type="cluster", cov_kwds={"groups": groups})


def test_hypotheses_that_cannot_be_read(data):
    res = hmf.doubleglm("gaussian ~ x | group", data).fit()
    with pytest.raises(FormulaError, match=r"'dispersion-group\[T\.x\]'; did you mean 'disp"):
        res.t_test("dispersion-group[T.x] = 0")
    with pytest.raises(FormulaError, match="is empty"):
        res.t_test(" ")
    with pytest.raises(FormulaError, match="write '=' once"):
        res.t_test("x == 0")


@pytest.mark.parametrize(
    ("left", "right"), [("K:N", "I(K*N)"), ("(N - K)", "I(N - K)"), ("K + (N-K)", "I(N-K)")]
)
def test_what_the_left_hand_side_is_to_be_can_be_read(data, left, right):
    assert f"write {right}" in refused(data, f"{left} ~ x")
    assert len(hmf.doubleglm(f"{right} ~ x", data).endog) == len(data)


def test_a_sum_on_the_left(data):
    with pytest.raises(ValueError, match=r"takes one response; for their sum write I\(K \+ N\)"):
        hmf.doubleglm("K + N ~ x", data)


def test_a_response_of_true_and_false(data):
    data["yes"] = (data["x"] > 0).astype("category")
    for left, right in {"yes": "yes.astype(int)", "I(x > 0)": "I(1 * (x > 0))"}.items():
        assert refused(data, f"{left} ~ z").endswith(f"write {right}")
        assert set(hmf.doubleglm(f"{right} ~ z", data).endog) == {0, 1}


@pytest.mark.parametrize("name", ["the x", "the-x", "class", "2x", "x%"])
def test_columns_whose_names_are_not_python(data, name):
    data = data.rename(columns={"x": name})
    for formula in (f"gaussian ~ {name}", f"gaussian ~ z | {name}"):
        assert f"Q({name!r})" in refused(data, formula)
    assert hmf.doubleglm(f"gaussian ~ Q({name!r})", data).exog.shape[1] == 2


def test_columns_whose_names_are_numbers(data):
    for code in ("Q('0')", "Q(0)"):
        message = refused(data.rename(columns={"x": 0}), f"gaussian ~ {code}")
        assert "name of column 0 is not text (int)" in message


def test_a_tensor_product_is_of_bases(data):
    assert "te() takes bases" in refused(data, "gaussian ~ te(x)")
    assert "te() takes bases" in refused(data, "gaussian ~ 1 | te(x, z)")
    assert hmf.doubleglm("gaussian ~ te(cr(x, df=3), cr(z, df=3))", data).exog.shape[1] == 10


def test_a_nearest_name_ends_its_sentence(data):
    assert "did you mean 'group'? Columns: " in refused(data, "gaussian ~ grup")
    with pytest.raises(TypeError, match=r"did you mean 'offset'\? Known: endog"):
        hmf.doubleglm("gaussian ~ x", data, offst="x")


def test_random_effects_in_a_scope(data):
    res = hmf.doubleglm("gaussian ~ x", data).fit()
    with pytest.raises(FormulaError, match=r"\(1 \| group\) stand in the formula of a model only"):
        res.score_test(("~ (1 | group)", None))


MORE_HABITS = {
    "x %/% 2": r"'%/%' is '//' here",
    "I(x %/% 2)": r"'%/%' is '//' here",
    "I(x %% 2)": r"'%%' is '%' here",
    "x && z": r"'&&' is '&' here",
    "data$x": r"name of the column alone",
    "x, z": r"write '\+'",
    "x; z": r"write '\+'",
    "x %>% scale": "function around its argument",
    "re(block)": r"re\(\) is not known here; .* is \(1 \| g\)",
    "s(block, bs='re')": r"s\(\) is not known here; .* is \(1 \| g\)",
    "us(1 | block)": r"us\(\) is not known here; write \(1 \| block\)",
    "diag(x || block)": r"diag\(\) is not known here; write \(x \|\| block\)",
    "ar1(0 + x | block)": r"the covariance structure ar1\(\) is not available",
    "mean(x)": r"write x\.mean\(\)",
    "as.logical(x)": r"write x\.astype\(bool\)",
    "i.group": r"'i\.group' is not known here; write C\(group\)",
    "ib2.group": r"'ib2\.group' is not known here; write C\(group, Treatment\(2\)\)",
    "i.Group": r"column 'Group' not found; did you mean 'group'\?",
    "group##x": r"'##' is '\*' here: a\*b for a \+ b \+ a:b",
    "c.x": r"'c\.x' is not known here; write x",
    "C(group, contr.sum)": r"such as C\(g, Sum\)",
    "I(x > 0 & z > 1)": r"write brackets: \(a > 0\) & \(b > 0\)",
    "I(w > 0 & block)": r"write brackets",  # would be w > 0 without a word
    "2*x": r"write arithmetic in I\(\)",
}


@pytest.mark.parametrize("term", MORE_HABITS)
def test_more_habits_of_other_languages(data, term):
    for formula in (f"gaussian ~ {term}", f"gaussian ~ x | {term}"):
        message = refused(data, formula)
        assert re.search(MORE_HABITS[term], message)
        assert set(message.splitlines()[-1].strip()) == {"^"}


def test_a_second_tilde(data):
    for formula in ("gaussian ~ x ~ z", "gaussian ~ x, sigma ~ z"):
        assert "'|' before the dispersion" in refused(data, formula)


@pytest.mark.parametrize(
    "right",
    ["I((x > 0) & (z > 1))", "C(group, Sum)", "Q('a;b') + Q('a, b$')", "x.clip(0, 1)", "I(w % 2)"],
)
def test_what_is_no_habit_either(data, right):
    data["a;b"], data["a, b$"] = data["x"], data["z"]
    assert hmf.doubleglm(f"gaussian ~ {right}", data).exog.shape[1] >= 2


def test_arguments_of_a_covariance(data):
    model = hmf.doubleglm("gaussian ~ x", data)
    with pytest.raises(ValueError, match="does not take 'groups'; write cov_type='cluster'"):
        model.fit(cov_kwds={"groups": "block"})
    with pytest.raises(ValueError, match=r"does not take 'maxlag'; it takes .*maxlags"):
        model.fit(cov_type="HAC", cov_kwds={"maxlag": 2})
    with pytest.raises(ValueError, match="does not take 'maxlags'; it takes none"):
        model.fit(cov_kwds={"maxlags": 2})


# ---- references of factors, additions to the response (brms), families -----------------------------

CODINGS = {
    "C(group, base='b')": r"C\(\) has no argument 'base'; write C\(group, Treatment\('b'\)\)",
    "C(group, base=2)": r"write C\(group, Treatment\('reference'\)\)",  # an index in R
    "C(group, ref='b')": r"write C\(group, Treatment\('b'\)\)",
    "C(w, reference=2)": r"write C\(w, Treatment\(2\)\)",
    "C(group, Treatment(ref='b'))": r"Treatment\(\) has no argument 'ref'; write Treatment\('b'\)",
    "C(group, Treatment(base='b'))": r"write Treatment\('b'\)",
    "C(group, Sum(base='b'))": r"write Sum\(omit='b'\)",
    "C(group, labels=['b'])": r"C\(g, levels=\[\.\.\.\]\) for an order",
    "C(group, Poly(degree=2))": r"Poly\(\) has no argument 'degree'; it takes",
}


@pytest.mark.parametrize("term", CODINGS)
def test_a_reference_level_as_others_write_it(data, term):
    for formula in (f"gaussian ~ {term}", f"gaussian ~ x | {term}"):
        message = refused(data, formula)
        assert re.search(CODINGS[term], message)
        assert set(message.splitlines()[-1].strip()) == {"^"}


@pytest.mark.parametrize(
    ("left", "instead"),
    [
        (
            "K | trials(N)",
            r"trials\(N\) after the response .*betabinomial\(\.\.\., n_trials='N'\)",
        ),
        ("K|trials( 10 )", r"n_trials=10\)"),
        ("count | rate(time)", "exposure='time'"),
        ("gaussian | weights(w)", "var_weights='w', or freq_weights='w'"),
        ("gaussian | cens(w)", "it has no counterpart here"),
    ],
)
@pytest.mark.parametrize("right", ["x", "x | z"])
def test_terms_beside_the_response(data, left, instead, right):
    assert re.search(instead, refused(data, f"{left} ~ {right}"))


@pytest.mark.parametrize("family", ["beta", "lognormal", "weibull", "zip", "t"])
def test_a_family_that_is_not_here(data, family):
    with pytest.raises(
        ValueError, match=f"family='{family}' is not a family here; there"
    ) as caught:
        hmf.doubleglm("gaussian ~ x", data, family=family)
    assert "Gaussian, Gamma, InverseGaussian, Poisson" in str(caught.value)
    assert "BetaBinomial and NegativeBinomial" in str(caught.value)
    assert ("beta regression of continuous shares" in str(caught.value)) == (family == "beta")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(("family", "near"), [("gausian", "Gaussian"), ("Poison", "Poisson")])
def test_a_mistyped_family(data, family, near):
    with pytest.raises(ValueError, match=rf"did you mean sm\.families\.{near}\(\)\? There are Gau"):
        hmf.doubleglm("gaussian ~ x", data, family=family)


def test_a_mistyped_group_of_a_plot(data):
    pytest.importorskip("matplotlib")
    res = hmf.doubleglm("gaussian ~ x + group", data).fit()
    with pytest.raises(ValueError, match=r"by='grup' is not a column .* did you mean 'group'"):
        res.plot_mean_variance(by="grup")
    arrays = het.DoubleGLM(data["gaussian"], data[["x"]]).fit()
    with pytest.raises(ValueError, match="fit of arrays has no named columns; give a label"):
        arrays.plot_mean_variance(by="group")
