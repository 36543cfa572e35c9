"""Everything that users get shows itself: as text of 80 columns, in one line, as HTML and LaTeX."""

import copy
import inspect
import pickle
import re
import warnings
from html.parser import HTMLParser
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from quick import thorough
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.summary2 import summary_col
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.diagnostics import findings
from hetglm.exceptions import NotNestedError, UntestedTermWarning
from hetglm.models.results import LocationScaleResults
from hetglm.utils.display import Printed, coefficient_table, latex, number, p_text, paragraph

#: HTML elements without an end.
VOID = {"br", "hr", "img", "meta", "link", "col"}


def data(n=60):
    """Return responses of several kinds with two variables and names that HTML and LaTeX escape."""
    rng = np.random.default_rng(5)
    x, g = rng.normal(size=n), np.array(["a<b", "c&d", "e_f"])[np.arange(n) % 3]
    trials = rng.integers(8, 30, n)
    y = 2 + x + np.exp(0.2 + 0.4 * x) * rng.normal(size=n)
    return pd.DataFrame(
        {
            **{"x": x, "g_1": g, "n": trials, "y": y, "pos": np.exp(0.3 * y)},
            "k": rng.binomial(trials, rng.beta(3, 3, n)),
            "count": rng.negative_binomial(3, 0.2, n),
            "block": np.arange(n) % 12,
        }
    )


FITS = {
    "gaussian": lambda d: hmf.doubleglm("y ~ x + g_1 | x", d).fit(),
    "reml": lambda d: hmf.doubleglm("y ~ x + g_1 | x", d).fit(reml=True),
    "t": lambda d: hmf.doubleglm("y ~ x + g_1 | x", d).fit(use_t=True),
    "gamma": lambda d: hmf.doubleglm(
        "pos ~ x + g_1 | x", d, family=sm.families.Gamma(sm.families.links.Log())
    ).fit(),
    "poisson": lambda d: hmf.doubleglm(
        "count ~ x + g_1 | x", d, family=sm.families.Poisson()
    ).fit(),
    "betabinomial": lambda d: hmf.betabinomial("k + I(n - k) ~ x + g_1 | x", d).fit(),
    "negativebinomial": lambda d: hmf.negativebinomial("count ~ x + g_1 | x", d).fit(),
    "clustered": lambda d: hmf.doubleglm("y ~ x + g_1 | x", d).fit(
        cov_type="cluster", cov_kwds={"groups": d["block"].to_numpy()}
    ),
}
#: Arguments of those methods that need some, or take long without.
ARGUMENTS = {
    "bootstrap": {"nrep": 12, "rng": 1},
    "simulate_residuals": {"nsim": 19, "rng": 1},
    "profile": {"name": "dispersion-x"},
    "t_test": {"r_matrix": "x = 0"},
    "f_test": {"r_matrix": "x = 0"},
    "wald_test": {"r_matrix": "x = 0", "scalar": True},
    "wald_test_terms": {"scalar": True},
    "t_test_pairwise": {"term_name": "g_1"},
    "score_test": {"exog_extra": data()[["block"]].to_numpy() ** 2.0},
    "simulate": {"rng": 1},
    "get_resid": {"kind": "pearson"},
    "design_effect": {},
    "cross_validate": {"k": 3, "rng": 1},
}
#: Methods that return no object to look at, change the fit, or draw (test_plots has those).
ELSEWHERE = {"save", "load", "remove_data", "initialize", "get_nlfun"}


QUICK = ("gaussian", "reml", "poisson", "betabinomial")


@pytest.fixture(
    scope="module", params=[*QUICK, *thorough(*(name for name in FITS if name not in QUICK))]
)
def res(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FITS[request.param](data())


class Balance(HTMLParser):
    """Raises where elements do not end in the order in which they began."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text.append(data)


def check_html(text):
    """Check that HTML is well formed, and return its text."""
    parser = Balance()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert "<b" not in re.sub(r"</?(br|body|tbody)\b", "", text)  # a level, not an element
    assert not re.search(r"&(?!\w+;|#)", text)
    return " ".join(parser.text)


def check_latex(text):
    """Check that environments are balanced and no special character stands for itself."""
    open_ = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            open_.append(name)
        else:
            assert open_.pop() == name
    assert open_ == []
    bare = re.sub(r"\\[#$%&_{}]", "", text)
    assert not re.search(r"[#$%_^~<>|]", bare)
    assert bare.count("{") == bare.count("}")
    columns = 0
    for line in bare.splitlines():
        if begun := re.match(r"\\begin\{tabular\}\{(\w+)\}", line):
            columns = len(begun[1])
        elif line.startswith(r"\end{tabular}"):
            columns = 0
        elif columns and "\\rule" not in line and "rule" not in line:
            assert line.count("&") == columns - 1
        elif not columns:
            assert "&" not in line


def check_display(shown):
    """Check the three forms of an object of ours."""
    text, line = str(shown), repr(shown)
    assert text.strip()
    assert max(map(len, text.splitlines())) <= 80
    assert " object at 0x" not in text + line
    assert "\n" not in line
    assert "P = 0;" not in text
    assert not re.search(r"\bP = 0(?![.\d])", text)
    check_html(shown._repr_html_())


def is_ours(thing):
    return type(thing).__module__.startswith("hetglm")


def objects(res):
    """Yield the name and the value of every public attribute and method of a fit."""
    names = {name for name in dir(type(res._results)) if not name.startswith("_")}
    for name in sorted(names - ELSEWHERE):
        if name.startswith("plot"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = getattr(res, name)
                if callable(value):
                    value = value(**ARGUMENTS.get(name, {}))
            except (NotImplementedError, ValueError, TypeError, AttributeError) as exc:
                value = exc  # what a family does not have says so
        yield name, value


#: Arrays, tables and numbers, which NumPy and pandas show.
PLAIN = (np.ndarray, np.number, np.bool_, pd.Series, pd.DataFrame, int, float, str, bool)


def test_every_object_of_a_fit_shows_itself(res):
    seen = set()
    for name, value in objects(res):
        if is_ours(value) and not isinstance(value, (Summary, Exception)):
            seen.add(name)
            check_display(value)
        elif not isinstance(value, (*PLAIN, list, tuple, dict, type(None), Exception)):
            # statsmodels' own, and frozen distributions, which SciPy shows
            assert " object at 0x" not in str(value) or "scipy" in type(value).__module__, name
    assert {"get_margeff", "get_influence", "get_prediction", "profile", "diagnose"} <= seen
    assert {"dispersion_ratios", "compare_constant_dispersion", "t_test_pairwise"} <= seen
    for value in (res, res.model, res.fit, res.core):
        check_display(value)
    assert "DoubleGLM" in repr(res) or "Binomial" in repr(res)
    assert "x + g_1 | x" in repr(res)


#: Tests of coefficients, whose numbers and classes are statsmodels'.
COEFFICIENT_TESTS = {
    "t_test": lambda res: res.t_test("x = 1, g_1[T.c&d] = 0"),
    "t_test of one": lambda res: res.t_test("dispersion-x = 0"),
    "wald_test": lambda res: res.wald_test("x = 0, dispersion-x = 0"),
    "wald_test of arrays": lambda res: res.wald_test(np.eye(len(res.params))[1:3], scalar=False),
    "f_test": lambda res: res.f_test("x = 0"),
    "wald_test_terms": lambda res: res.wald_test_terms(scalar=False),
    "extra constraints": lambda res: res.wald_test_terms(
        extra_constraints=[("both", np.eye(len(res.params))[1:3])]
    ),
}


@pytest.mark.parametrize("what", COEFFICIENT_TESTS)
def test_tests_of_coefficients_show_themselves(res, what):
    test = COEFFICIENT_TESTS[what](res)
    check_display(test)
    assert isinstance(test, (ContrastResults, WaldTestResults))
    values = np.ravel(test.pvalue if isinstance(test, ContrastResults) else test.pvalues)
    for p in np.array(values, dtype=float):
        assert p_text(p).removeprefix("= ") in str(test)
    for again in (copy.deepcopy(test), pickle.loads(pickle.dumps(test))):
        assert str(again) == str(test)


@pytest.mark.parametrize("kwds", [{}, {"cov_type": "HC0"}, {"cov_type": "cluster"}])
def test_score_tests_show_themselves(kwds):
    res = FITS["clustered"](data())
    if not kwds:
        res = FITS["gaussian"](data())
    test = res.score_test(np.random.default_rng(1).normal(size=(60, 2)), **kwds)
    check_display(test)
    assert repr(test).startswith("<Score")
    statistic, p = test[0], test[1]
    assert f"{float(np.squeeze(statistic)):.4g} on 2 df, P {p_text(float(np.squeeze(p)))}" in str(
        test
    )
    assert pickle.loads(pickle.dumps(test))[1] == p


def test_no_p_value_of_a_test_of_coefficients_is_nought():
    frame = data()
    exact = frame.assign(y=1000 * frame["x"] + 0.001 * frame["y"])
    res = hmf.doubleglm("y ~ x + g_1 | x", exact).fit()
    shown = [res.t_test("x = 0"), res.wald_test("x = 0"), res.wald_test_terms()]
    far = exact.assign(y=exact["y"] + 1e6 * (exact["g_1"] == "e_f"))
    shown.append(hmf.doubleglm("y ~ x + g_1 | x", far).fit().t_test_pairwise("g_1"))
    for test in shown:
        assert "< 1e-16" in str(test)


def test_every_function_of_the_package_returns_what_shows_itself(res):
    seen = set()
    for name in het.__all__:
        function = getattr(het, name)
        if isinstance(function, ModuleType) or inspect.isclass(function):
            continue
        kwargs = ARGUMENTS.get(name, {})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = function(res, **kwargs)
            except (NotImplementedError, ValueError):  # which say what to use instead
                continue
        text = str(found)
        assert max(map(len, text.splitlines())) <= 80, name
        assert " object at 0x" not in text
        check_html(found._repr_html_())
        seen.add(name)
    assert "anova" in seen


def test_classes_of_results_all_show_themselves():
    shown = {cls.__name__ for cls in Printed.__subclasses__()}
    assert {
        *("AverageEffects", "BootstrapRatio", "BootstrapResult", "Boundary", "CrossValidation"),
        *("ConstantDispersionTest", "Diagnosis", "Finding", "LocationScaleInfluence"),
        *("LocationScaleModel", "LocationScalePrediction", "LocationScaleResults"),
        *("OverdispersionTest", "Profile", "Selection", "SimulatedResiduals"),
    } <= shown


# ---- numbers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "< 1e-16"),
        (1e-17, "< 1e-16"),
        (0.0123456, "= 0.0123"),
        (1.0, "= 1"),
        (np.nan, "= NaN"),
    ],
)
def test_p(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize(
    ("x", "text"),
    [
        *[(0.0, "0.0000"), (1.23456, "1.2346"), (0.0123456, "0.0123"), (1.23456e-7, "1.235e-07")],
        *[(-0.00123456, "-0.001235"), (123456789.0, "1.2345679e+08"), (np.nan, "NaN")],
        (np.inf, "inf"),
    ],
)
def test_numbers_keep_significant_digits(x, text):
    assert number(x) == text


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1.0, 1e4, 1e9])
def test_summary_keeps_digits_on_any_scale(scale):
    d = data()
    unit = hmf.doubleglm("y ~ x | x", d).fit()
    res = hmf.doubleglm("y ~ x | x", d.assign(y=d["y"] * scale)).fit()
    text = res.summary().as_text()
    assert max(map(len, text.splitlines())) <= 80
    printed = re.search(r"^Fitted sd +(.*)$", text, re.M)[1].split()
    sd = np.quantile(res.predict(which="sd"), (0, 0.25, 0.5, 0.75, 1))
    assert_allclose([float(part) for part in printed], sd, rtol=5e-3)
    row = [float(part) for part in re.search(r"^x +(.*)$", text, re.M)[1].split()]
    se = res.bse["x"]
    exact = [res.params["x"], se, *res.conf_int().loc["x"]]
    # two digits of the standard error
    assert_allclose([row[0], row[1], *row[4:]], exact, rtol=0, atol=0.05 * se)
    assert_allclose(row[2], unit.tvalues["x"], atol=0.01)
    second = str(res.summary2())
    assert not re.search(r"^x +-?0\.0000 ", second, re.M)


def test_coefficients_of_very_different_sizes():
    columns = (
        np.array([1e-9, 1.0, 123456.789, np.nan]),
        np.array([2e-10, 1e-5, 0.01, np.nan]),
        np.array([5.0, 1e5, 1e7, np.nan]),
        np.array([1e-6, 0.0, 0.0, np.nan]),
        np.array([[6e-10, 1.4e-9], [0.99998, 1.00002], [123456.77, 123456.81], [np.nan, np.nan]]),
    )
    table = coefficient_table(["a", "b", "c", "d"], columns, "T", 0.05, False)
    text = table.as_text()
    for part in ("1e-09", "2e-10", "1.000000", "0.999980", "123456.79", "123456.77"):
        assert part in text, part
    assert "nan" in text


def test_lines_end_between_sentences_not_in_a_comparison():
    for n in range(60, 90):
        text = paragraph("x" * (n - 12) + " and P < 1e-16, Z = 98.63")
        assert "P < 1e-16" in text
        assert "Z = 98.63" in text
        assert max(map(len, text.splitlines())) <= 78


# ---- what is tested ------------------------------------------------------------------------------


def test_overdispersion_begins_with_what_is_tested():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"y": rng.negative_binomial(1, 0.01, 300)})
    test = hmf.negativebinomial("y ~ 1", d).fit().test_overdispersion()
    text = " ".join(str(test).split())
    assert text.startswith("Test of no overdispersion against a constant dispersion: score Z = ")
    assert text.count("P < 1e-16") == 2
    assert "P = 0" not in text
    assert "P &lt; 1e-16" in test._repr_html_()


def test_constant_dispersion_is_no_finding():
    res = hmf.doubleglm("y ~ x", data()).fit()
    assert str(res.compare_constant_dispersion()) == "Dispersion model: constant (no terms)."
    assert "Dispersion model: constant (no terms)." in res.summary().as_text()


def test_checks_of_a_diagnosis_are_named():
    source = inspect.getsource(findings)
    kinds = set(re.findall(r'Finding\(\s*"([^"]+)"', source))
    assert kinds <= set(findings.CHECKS)
    documented = re.findall(r'- "([^"]+)":', LocationScaleResults.diagnose.__doc__)
    assert documented == list(findings.CHECKS)
    assert documented[-1] == findings.GROUPED
    clean = hmf.doubleglm("Hwt ~ Bwt | Bwt", het.datasets.load_cats()).fit().diagnose()
    text = " ".join(str(clean).split())
    assert text.startswith("No problems found by the checks that were run (convergence, ")


def test_effects_have_a_summary():
    res = FITS["gaussian"](data())
    for effects, word in (
        (res.get_margeff("mean"), "effect"),
        (res.dispersion_ratios(), "ratio"),
    ):
        table = effects.summary()
        assert isinstance(table, Summary)
        text = str(table)
        assert word in text
        assert f"{effects.margeff[0]:.4f}" in text
        assert effects.summary(alpha=0.2).as_text() != text
        check_latex(table.as_latex())
        check_html(table.as_html())


# ---- summaries -----------------------------------------------------------------------------------


def test_summary_in_latex_and_html_keeps_both_titles(res):
    text = res.summary().as_latex()
    check_latex(text)
    assert r"\textbf{Mean: " in text
    assert r"\textbf{Dispersion: log(" in text
    assert r"g\_1[T.c\&d]" in text
    html = res.summary().as_html()
    shown = check_html(html)
    assert "Mean: " in shown
    assert "Dispersion: log(" in shown
    assert "g_1[T.c&d]" in shown


@pytest.mark.parametrize(
    "name", ["a_b", "50%", "a&b", "x^2", "#1", "$p", "{a}", "~a", "a\\b", "<i>"]
)
def test_names_are_escaped(name):
    d = data()
    X = pd.DataFrame({"const": 1.0, name: d["x"]})
    res = het.DoubleGLM(d["y"].rename(name), X, exog_dispersion=X).fit()
    check_latex(res.summary().as_latex())
    assert res.summary().as_latex().count(latex(name)) >= 3
    assert name in check_html(res.summary().as_html())
    check_html(res._repr_html_())
    check_html(res.get_influence()._repr_html_())


def test_summary_names_the_number_of_groups():
    d = data()
    model = hmf.doubleglm("y ~ x | x", d)
    one = d["block"].to_numpy()
    two = np.column_stack([one, np.arange(len(d)) // 15])
    for kwds, cov_type, text in (
        ({"groups": one}, "cluster", "12"),
        ({"groups": two}, "cluster", "12 x 4"),
        (
            {"groups": np.sort(one), "time": np.arange(len(d)) % 5, "maxlags": 1},
            "hac-panel",
            "12",
        ),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            res = model.fit(cov_type=cov_type, cov_kwds=kwds)
        assert re.search(rf"^Clusters: +{text} *$", res.summary().as_text(), re.M)
        assert f"Clusters: {text} " in " ".join(str(res.summary2()).split())
        assert max(map(len, res.summary().as_text().splitlines())) <= 80


def test_summary_col_takes_fits(res):
    assert "dispersion-x" in str(summary_col([res]))


def test_a_fit_without_its_rows_shows_itself():
    res = FITS["gaussian"](data())
    res.remove_data()
    assert "x" in str(res)
    assert "log-likelihood" in repr(res)
    check_html(res._repr_html_())


# ---- tables of tests ---------------------------------------------------------------------------------


def test_anova_of_several_fits_names_them():
    d = data()
    small, large = (hmf.doubleglm(f, d).fit() for f in ("y ~ x", "y ~ x + g_1 | x"))
    table = het.anova(large, small)
    text = str(table)
    assert text.splitlines()[:2] == ["Model 0: y ~ x | 1", "Model 1: y ~ x + g_1 | x"]
    assert "Model 1: y ~ x + g_1 | x" in check_html(table._repr_html_())
    assert table.attrs["models"] == ["y ~ x | 1", "y ~ x + g_1 | x"]


def clustered():
    d = data(90).assign(
        many=lambda d: np.arange(len(d)) % 5, three=lambda d: np.arange(len(d)) // 30
    )
    return hmf.doubleglm("y ~ x + C(many) | x", d).fit(
        cov_type="cluster", cov_kwds={"groups": d["three"].to_numpy()}
    )


@pytest.mark.parametrize("typ", [1, 2, 3])
@pytest.mark.parametrize("test", ["wald", "score"])
def test_a_row_that_cannot_be_tested_leaves_the_others(typ, test):
    res = clustered()
    with pytest.warns(UntestedTermWarning, match=r"mean C\(many\): 3 groups cannot test 4 columns"):
        table = het.anova(res, typ=typ, test=test)
    assert table["P"].isna().tolist() == [True, False, False]
    assert table.loc[("mean", "C(many)"), "df"] == 4
    assert list(table.attrs["reasons"]) == ["mean C(many)"]
    assert "3 groups cannot test 4 columns" in " ".join(str(table).split())
    assert "3 groups cannot test 4 columns" in check_html(table._repr_html_())
    assert max(map(len, str(table).splitlines())) <= 80


@pytest.mark.parametrize("test", ["lr", "bootstrap"])
def test_a_ratio_that_does_not_exist_leaves_the_others(test):
    d = data()
    kwargs = {"nrep": 9, "rng": 1} if test == "bootstrap" else {}
    res = hmf.doubleglm("y ~ x | 0 + x", d).fit()
    with pytest.warns(UntestedTermWarning, match="dispersion x: without dispersion-x"):
        table = het.anova(res, typ=2, test=test, **kwargs)
    assert table["P"].isna().tolist() == [False, True]
    with pytest.warns(UntestedTermWarning, match="Dispersion model"):
        two = het.anova(res, test=test, **kwargs)
    assert two.loc["Mean model", ["Seq.P", "Adj.P"]].between(0, 1).all()
    assert two.loc["Dispersion model"].drop("Failed", errors="ignore").isna().all()
    with pytest.raises(NotNestedError):
        res.compare_constant_dispersion()


def test_a_row_at_the_boundary_says_why():
    d = pd.DataFrame({"g": np.repeat(["a", "b"], 12), "y": [5] * 12 + [1, 20, 3, 9, 30, 2] * 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        res = hmf.negativebinomial("y ~ g | g", d).fit()
        table = het.anova(res, typ=2, test="wald")
    assert "boundary" in table.attrs["reasons"]["dispersion g"]
    check_display(res.boundary)
