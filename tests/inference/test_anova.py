"""Tables with a row for each term: three types, three statistics, robust covariances."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from covariances import COVARIANCES, SCORE_TESTED
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.discrete.discrete_model import NegativeBinomialP

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import fit as fit_module
from hetglm.estimation import refit
from hetglm.exceptions import (
    AliasedColumnWarning,
    BootstrapFailureWarning,
    BoundaryWarning,
    NotNestedError,
    UntestedTermWarning,
)
from hetglm.inference import likelihood_ratio
from hetglm.utils import parallel
from hetglm.utils.parallel import generator

#: statsmodels' negative binomial stops at a gradient of 1e-8 or so.
PEER = 1e-5
#: Two converged fits, and their differences.
SAME = 1e-7
RIGHT = "x*group | z + group"
#: Hierarchical and marginal comparisons of RIGHT, the latter where no term contains another.
SMALLER = {
    ("mean", "group"): ("x + group | z + group", "x | z + group"),
    ("mean", "x"): ("x + group | z + group", "group | z + group"),
    ("mean", "x:group"): (RIGHT, "x + group | z + group"),
    ("dispersion", "group"): (RIGHT, "x*group | z"),
    ("dispersion", "z"): (RIGHT, "x*group | group"),
}
SEQUENCE = ["1", "group", "group + x", "x*group", "x*group | group", RIGHT]


def llf(case, right):
    return case.formula(right).fit().llf


def test_hierarchical_likelihood_ratios(case):
    table = het.anova(case.formula(RIGHT).fit(), typ=2)
    assert set(table.index) == set(SMALLER)
    for row, (larger, smaller) in SMALLER.items():
        statistic = 2 * (llf(case, larger) - llf(case, smaller))
        assert_allclose(table.loc[row, "statistic"], statistic, rtol=SAME, atol=SAME)
        assert_allclose(
            table.loc[row, "P"], stats.chi2.sf(statistic, table.loc[row, "df"]), rtol=1e-5
        )
    assert table["df"].tolist() == [2, 1, 2, 2, 1]
    assert table.columns.name == ("LR" if case.exact else "EQL ratio")


def test_sequential_likelihood_ratios(case):
    res = case.formula(RIGHT).fit()
    table = het.anova(res, typ=1)
    steps = 2 * np.diff([llf(case, right) for right in SEQUENCE])
    assert_allclose(table["statistic"], steps, rtol=SAME, atol=SAME)
    two = het.anova(res)
    assert_allclose(table.groupby("part")["statistic"].sum(), two["Seq.Chisq"][::-1], rtol=SAME)
    assert table.groupby("part")["df"].sum().tolist() == two["DF"][::-1].tolist()


def test_marginal_tests_leave_out_columns(case):
    """Whatever contains the term stays: with treatment coding that is a test at the first level."""
    data, res = simulated().copy(), case.formula(RIGHT).fit()
    table = het.anova(res, typ=3)
    for level in "bc":
        data[f"x_{level}"] = data["x"] * (data["group"] == level)
    smaller = case.formula("group + x_b + x_c | z + group", data).fit()
    statistic = 2 * (res.llf - smaller.llf)
    assert_allclose(table.loc[("mean", "x"), "statistic"], statistic, rtol=SAME)
    wald, terms_table = het.anova(res, typ=3, test="wald"), res.wald_test_terms().table
    for part, name in wald.index:
        row = terms_table.loc[name if part == "mean" else f"dispersion-{name}"]
        assert_allclose(wald.loc[(part, name)], row[["df_constraint", "statistic", "pvalue"]])
    assert wald.columns.name == "Wald"


@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.IndefiniteCovarianceWarning")
def test_wald_tests_honour_the_covariance(case, kind):
    kwds = COVARIANCES[kind]
    table = het.anova(case.formula(RIGHT).fit(**kwds), typ=2, test="wald")
    smaller = case.formula("x + group | z + group").fit(**kwds)
    expected = smaller.wald_test_terms().table.loc["group"]
    assert_allclose(table.loc[("mean", "group"), "statistic"], expected["statistic"], rtol=1e-5)
    assert_allclose(table.loc[("mean", "group"), "P"], expected["pvalue"], rtol=1e-4)


def test_robust_fits_are_tested_by_wald(case):
    res = case.formula(RIGHT).fit(cov_type="HC0")
    assert het.anova(res, typ=3).columns.name == "Wald"
    with pytest.raises(ValueError, match=r"ignores cov_type='HC0'.*'wald' or 'score'"):
        het.anova(res, typ=3, test="lr")


def test_t_distribution():
    res = CASES["gaussian"].formula(RIGHT).fit(use_t=True)
    table = het.anova(res, typ=3, test="wald").loc[("mean", "x:group")]
    assert_allclose(table["P"], stats.f.sf(table["statistic"], 2, res.df_resid))
    table = het.anova(res, typ=2, test="wald").loc[("mean", "group")]
    assert_allclose(table["P"], stats.f.sf(table["statistic"], 2, res.df_resid + 2))


@pytest.mark.parametrize("kind", SCORE_TESTED)
def test_score_tests_of_both_parts(case, kind):
    """The fit without the term is asked for its columns."""
    kwds = COVARIANCES[kind]
    data = simulated()
    dummies = np.column_stack([data["group"] == level for level in "bc"]).astype(float)
    table = het.anova(case.formula(RIGHT).fit(**kwds), typ=2, test="score")
    mean = case.formula("x | z + group").fit(**kwds).score_test((dummies, None))
    dispersion = case.formula("x*group | z").fit(**kwds).score_test((None, dummies))
    for part, test in (("mean", mean), ("dispersion", dispersion)):
        row = table.loc[(part, "group")]
        assert_allclose(row["statistic"], np.squeeze(test[0]), rtol=1e-5)
        assert_allclose(row["P"], np.squeeze(test[1]), rtol=1e-4)
    assert table.columns.name == "Score"


def test_score_test_of_clusters_by_hand(case):
    """White (1982): the new scores, less their regression on the old ones, summed by cluster."""
    data, res = simulated(), case.formula("x | x").fit()
    z = data[["z"]].to_numpy()
    wide = case.formula("x + z | x")
    params = np.insert(np.asarray(res.params), 2, 0.0)
    score, information = wide.score_obs(params), -wide.hessian(params)
    old = [0, 1, 3, 4]
    weights = np.linalg.solve(information[np.ix_(old, old)], information[old, 2])
    left = score[:, 2] - score[:, old] @ weights
    sums = np.bincount(data["block"], weights=left)
    n, count = len(data), len(sums)
    factor = count / (count - 1) * (n - 1) / (n - 4)
    for correct in (True, False):
        kwds = {"groups": "block", "use_correction": correct}
        test = res.score_test((z, None), cov_type="cluster", cov_kwds=kwds)
        expected = sums.sum() ** 2 / (np.sum(sums**2) * (factor if correct else 1))
        assert_allclose(test[0], expected, rtol=1e-9)
        assert_allclose(test[1], stats.chi2.sf(test[0], 1))
        assert test[2] == 1


def test_score_test_by_the_expected_information(case):
    res, wide = case.formula("x | x").fit(), case.formula("x + z | x")
    params = np.insert(np.asarray(res.params), 2, 0.0)
    score, information = wide.score(params), -wide.hessian(params, observed=False)
    test = res.score_test((simulated()[["z"]].to_numpy(), None), cov_type="eim")
    assert_allclose(np.squeeze(test[0]), score @ np.linalg.solve(information, score), rtol=1e-9)


def test_score_test_of_two_clusterings(case):
    """Rows that are each their own cluster in one direction leave the other's."""
    res = case.formula("x | z").fit()
    data = simulated()
    extra = ((data["group"] == "b").to_numpy(float)[:, None], None)
    block = np.unique(data["block"], return_inverse=True)[1]
    rows = np.arange(len(data))
    one, two = (
        res.score_test(
            extra, cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
        )
        for groups in (block, np.column_stack([block, rows]))
    )
    assert_allclose(two[0], one[0], rtol=1e-10)


def test_score_test_of_repeated_rows():
    """A frequency counts as so many rows of one cluster."""
    data = simulated().copy()
    data["times"] = np.where(np.arange(len(data)) % 3 == 0, 2, 1)
    long = data.loc[data.index.repeat(data["times"])].reset_index(drop=True)
    tests = [
        CASES["gaussian"]
        .formula("x | x", frame, **kwargs)
        .fit()
        .score_test(
            (None, frame[["z"]].to_numpy()), cov_type="cluster", cov_kwds={"groups": "block"}
        )
        for frame, kwargs in ((data, {"freq_weights": "times"}), (long, {}))
    ]
    assert_allclose(tests[0][0], tests[1][0], rtol=1e-6)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC0"])
def test_score_test_is_that_of_statsmodels(cov_type):
    """Of a negative binomial with one dispersion, theirs alpha itself, ours log(alpha)."""
    data = simulated()
    res = hmf.negativebinomial("count ~ x", data).fit(cov_type=cov_type)
    alpha = np.exp(res.params.iloc[-1])
    exog = sm.add_constant(data["x"].to_numpy())
    peer = NegativeBinomialP(data["count"].to_numpy(), exog, p=2).fit(
        start_params=[*res.params.iloc[:2], alpha], method="newton", disp=False
    )
    z = data[["z"]].to_numpy()
    ours = res.score_test((z, None))
    theirs = peer.score_test(exog_extra=(z, None), cov_type=cov_type)
    assert_allclose(np.squeeze(ours[0]), np.squeeze(theirs[0]), rtol=PEER)
    assert_allclose(np.squeeze(ours[1]), np.squeeze(theirs[1]), rtol=PEER)


def test_score_test_scales_the_covariance(case):
    """As the Wald test does; statsmodels' own two, which do not, are refused it."""
    z = simulated()[["z"]].to_numpy()
    kwds = {"groups": "block", "scaling_factor": 1.5}
    plain = case.formula("x | x").fit(cov_type="cluster", cov_kwds={"groups": "block"})
    scaled = case.formula("x | x").fit(cov_type="cluster", cov_kwds=kwds)
    for extra in ((z, None), (None, z)):
        assert_allclose(scaled.score_test(extra)[0], plain.score_test(extra)[0] / 1.5, rtol=1e-10)
        assert_allclose(
            plain.score_test(extra, cov_kwds=kwds)[0], scaled.score_test(extra)[0], rtol=1e-10
        )
    assert_allclose(plain.bse * np.sqrt(1.5), scaled.bse)
    for cov_type in ("nonrobust", "eim", "HC0"):
        with pytest.raises(ValueError, match=f"'{cov_type}' does not take 'scaling_factor'"):
            scaled.score_test((z, None), cov_type=cov_type, cov_kwds={"scaling_factor": 1.5})


def test_robust_score_test_of_repeated_rows(case):
    """By HC0 too a row of frequency 3 is three rows."""
    data = simulated()
    long = data.loc[data.index.repeat(data["w"])].reset_index(drop=True)
    fits = [
        case.formula("x + group | z", frame, **kwargs).fit(cov_type="HC0")
        for frame, kwargs in ((data, {"freq_weights": "w"}), (long, {}))
    ]
    tables = [het.anova(res, typ=2, test="score") for res in fits]
    assert_allclose(*tables, rtol=1e-5)
    tests = [
        res.score_test((frame[["shift"]], frame[["shift"]]))
        for res, frame in zip(fits, (data, long), strict=True)
    ]
    assert_allclose(*(np.squeeze(test[0]) for test in tests), rtol=1e-5)


Z = simulated()[["z"]].to_numpy()
NO_COLUMNS = {
    "dependent": (np.hstack([Z, 2 * Z]), "column 1 .*depends linearly"),
    "the model's": (3.3 * simulated()[["x"]].to_numpy(), "column 0 .*depends linearly"),
    "of the dispersion": ((None, np.hstack([Z, 1 + Z])), "column 1 "),
    "dummies": (pd.get_dummies(simulated()["group"], dtype=float), "column 2 "),
    "missing": (np.where(np.arange(120)[:, None] == 7, np.nan, Z), "exog_extra: .*row 7"),
    "infinite": ((None, np.where(np.arange(120)[:, None] == 7, np.inf, Z)), "row 7"),
    "three parts": ((Z, None, Z), "exog_extra: 3 parts"),
    "one part": ((Z,), "exog_extra: 1 parts"),
}


@pytest.mark.parametrize("kind", SCORE_TESTED)
@pytest.mark.parametrize("name", NO_COLUMNS)
def test_no_score_test_of_such_columns(name, kind):
    extra, message = NO_COLUMNS[name]
    with pytest.raises(ValueError, match=message):
        fitted("gaussian", "x").score_test(extra, **COVARIANCES[kind])


def test_robust_score_tests_ignore_no_argument():
    with pytest.raises(TypeError, match="'cluster' does not take 'hypothesis'"):
        fitted("gaussian", "x").score_test(
            Z, cov_type="cluster", cov_kwds={"groups": "block"}, hypothesis="separate"
        )


def test_score_test_input():
    res = CASES["gaussian"].formula("x").fit()
    extra = (simulated()[["z"]].to_numpy(), None)
    with pytest.raises(ValueError, match="cov_type='HC1': score tests take"):
        res.score_test(extra, cov_type="HC1")
    with pytest.raises(ValueError, match="needs 'groups'"):
        res.score_test(extra, cov_type="cluster")
    with pytest.raises(ValueError, match="'cluster' does not take 'maxlags'"):
        res.score_test(extra, cov_type="cluster", cov_kwds={"groups": "block", "maxlags": 1})
    with pytest.raises(ValueError, match=r"groups: shape \(3,\)"):
        res.score_test(extra, cov_type="cluster", cov_kwds={"groups": [1, 2, 3]})


def test_score_test_leaves_out_aliased_columns():
    plain = CASES["gaussian"].formula("x | z").fit()
    with pytest.warns(AliasedColumnWarning):
        aliased = CASES["gaussian"].formula("x + I(2 * x) | z").fit()
    extra = (simulated()[["z"]].to_numpy(), None)
    a, b = (np.squeeze(res.score_test(extra)[0]) for res in (aliased, plain))
    assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("cov_type", SCORE_TESTED)
def test_score_test_holds_rows_at_the_boundary(cov_type):
    """The binomial rows say nothing of a dispersion term, and their part of the mean's."""
    data = het.datasets.load_lirat()
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("R + I(N - R) ~ C(grp) | C(grp)", data).fit()
    held = res.boundary.rows
    hb = data[["hb"]].to_numpy()
    kwds = {"cov_type": cov_type}
    if cov_type == "cluster":
        kwds["cov_kwds"] = {"groups": np.arange(len(data)) // 2}
    every = res.score_test((None, hb), **kwds)
    others = res.score_test((None, np.where(held[:, None], 0.0, hb)), **kwds)
    assert_allclose(np.squeeze(every[0]), np.squeeze(others[0]), rtol=1e-9)
    assert 0 < np.squeeze(every[1]) < 1
    assert np.squeeze(res.score_test((hb, None), **kwds)[0]) > 0


def test_terms_of_arrays():
    data = simulated()
    X = np.column_stack([np.ones(len(data)), data["x"], data["z"]])
    res = het.DoubleGLM(data["gaussian"].to_numpy(), X, X[:, [0, 2]]).fit()
    table = het.anova(res, typ=3)
    assert table.index.tolist() == [("mean", "x1"), ("mean", "x2"), ("dispersion", "x1")]
    smaller = het.DoubleGLM(data["gaussian"].to_numpy(), X[:, :2], X[:, [0, 2]]).fit()
    assert_allclose(table.loc[("mean", "x2"), "statistic"], 2 * (res.llf - smaller.llf), rtol=SAME)


def test_aliased_columns_have_no_degrees_of_freedom():
    with pytest.warns(AliasedColumnWarning):
        res = CASES["gaussian"].formula("x + I(2 * x) | z").fit()
    for test in ("lr", "wald", "score"):
        table = het.anova(res, typ=1, test=test)
        assert table["df"].tolist() == [1, 0, 1]
        assert np.isnan(table.loc[("mean", "I(2 * x)"), ["statistic", "P"]]).all()
    # in the presence of the other, neither says anything
    assert het.anova(res, typ=3)["df"].tolist() == [0, 0, 1]


def test_no_p_value_at_the_boundary():
    """A coefficient there has no Wald test; a null there no chi-square."""
    lirat = het.datasets.load_lirat()
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("R + I(N - R) ~ C(grp) | C(grp)", lirat).fit()
    wald = het.anova(res, typ=3, test="wald")["P"]
    assert np.isnan(wald["dispersion"]["C(grp)"])
    assert 0 < wald["mean"]["C(grp)"] < 1
    assert 0 < het.anova(res, typ=3)["P"]["dispersion"]["C(grp)"] < 0.05  # constant sigma: inside
    even = simulated().assign(K=simulated()["N"] // 2)
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("K + I(N - K) ~ x | z", even).fit()
    ratio = het.anova(res, typ=3)["P"]
    assert np.isnan(ratio["dispersion"]["z"])
    assert 0 < ratio["mean"]["x"] < 1


@pytest.mark.parametrize("use_t", [False, True])
def test_terms_at_the_boundary_are_not_tested_by_the_rest(use_t):
    data = het.datasets.load_lirat()
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("R + I(N - R) ~ C(grp) | C(grp)", data).fit(use_t=use_t)
    rows = res.wald_test_terms(combine_terms=["grp"]).table
    wald = het.anova(res, typ=3, test="wald").loc[("dispersion", "C(grp)")]
    table = rows.loc["dispersion-C(grp)"]
    assert_allclose(table[["df_constraint", "statistic", "pvalue"]], wald)
    assert table["df_constraint"] == 3
    assert np.isnan(table["pvalue"])
    assert rows.loc["grp", ["statistic", "pvalue"]].isna().all()
    assert 0 < rows.loc["C(grp)", "pvalue"] < 1
    # what is asked for by columns is refused as ever
    with pytest.raises(ValueError, match="boundary"):
        res.wald_test_terms(extra_constraints=[("all", np.eye(len(res.params)))])


def test_dispersion_without_a_constant():
    res = CASES["gaussian"].formula("x | z - 1").fit()
    for typ in (1, 3):
        with pytest.warns(
            UntestedTermWarning, match="without dispersion-z the dispersion has no column"
        ):
            table = het.anova(res, typ=typ)
        # in sequence the mean is tested where the dispersion has no column either
        assert table["P"].isna().tolist() == [typ == 1, True]


def test_failed_fits_are_refitted_from_the_smaller_one(monkeypatch):
    """Never a negative ratio: the larger model starts where the smaller one ended."""
    res = CASES["gaussian"].formula("x + z | z").fit()
    expected = het.anova(res, typ=1)
    fit = refit.fit_again

    def failing(model, start=None, criterion=None, nodes="auto"):
        found = fit(model, start)
        short = 1e3 if model.core.k_mean == 2 and start is None else 0
        return replace(found, llf=found.llf - short)

    for user in (refit, likelihood_ratio):
        monkeypatch.setattr(user, "fit_again", failing)
    assert_allclose(het.anova(res, typ=1)["statistic"], expected["statistic"], rtol=1e-5)
    for user in (refit, likelihood_ratio):
        monkeypatch.setattr(
            user, "fit_again", lambda model, *_, **__: replace(fit(model), llf=-model.core.k_mean)
        )
    with pytest.warns(UntestedTermWarning, match=r"likelihood ratio of .* is negative"):
        table = het.anova(res, typ=1)
    assert np.isnan(table.loc[("mean", "z"), ["statistic", "P"]]).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"typ": 4}, "typ=4: choose 1"),
        ({"typ": True}, "typ=True: choose 1"),
        ({"typ": "III"}, "typ='III'"),
        ({"typ": 2, "test": "F"}, "test='F': choose 'lr'"),
        ({"test": "wald"}, "give typ=1, 2 or 3"),
    ],
)
def test_unknown_tables(kwargs, message):
    with pytest.raises(ValueError, match=message):
        het.anova(CASES["gaussian"].formula("x | z").fit(), **kwargs)


def test_types_are_of_one_fit():
    fits = [CASES["gaussian"].formula(right).fit() for right in ("x", "x | z")]
    with pytest.raises(ValueError, match="typ: for one fit only"):
        het.anova(*fits, typ=1)


# ---- by REML, and of several fits -----------------------------------------------------------------


def test_terms_by_reml():
    """Ratios of REML criteria for the dispersion; for the mean, which they cannot test, ML's."""
    reml = CASES["gaussian"].formula(RIGHT).fit(reml=True)
    table, by_ml = het.anova(reml, typ=2), het.anova(fitted("gaussian", RIGHT), typ=2)
    smaller = CASES["gaussian"].formula("x*group | group").fit(reml=True)
    statistic = 2 * (reml.llf_reml - smaller.llf_reml)
    assert_allclose(table.loc[("dispersion", "z"), "statistic"], statistic, rtol=SAME)
    assert_allclose(table.loc["mean"], by_ml.loc["mean"], rtol=SAME)
    assert table.columns.name == "LR by REML, mean by ML"
    wald = het.anova(reml, typ=3, test="wald")
    expected = reml.wald_test_terms().table.loc["dispersion-z", "statistic"]
    assert_allclose(wald.loc[("dispersion", "z"), "statistic"], expected)
    with pytest.raises(ValueError, match="not after REML"):
        het.anova(reml, typ=3, test="score")


def test_several_fits_of_which_the_larger_failed():
    small, large = (CASES["gaussian"].formula(right).fit() for right in ("x | z", "x + group | z"))
    expected = het.anova(small, large)
    short = large.model.fit(np.zeros(6), maxiter=0, warn_convergence=False)
    assert short.llf < small.llf
    table = het.anova(small, short)
    assert_allclose(table["statistic"][1], expected["statistic"][1], rtol=1e-6)


@pytest.mark.parametrize("reml", [False, True])
def test_comparisons_of_a_fit_that_failed(reml):
    """It is made again from the null's estimates, and the tables are those of the maximum."""
    model = CASES["gaussian"].formula("x | z")
    good, short = model.fit(reml=reml), model.fit(reml=reml)
    name = "adjusted_llf" if reml else "llf"
    short._results.fit = replace(short._results.fit, **{name: -1e3})
    one, two = (res.compare_constant_dispersion() for res in (good, short))
    assert_allclose(two.statistic, one.statistic, rtol=1e-6)
    assert_allclose(het.anova(short), het.anova(good), rtol=1e-6)
    boot = {"test": "bootstrap", "nrep": 9, "rng": 1}
    a, b = (res.compare_constant_dispersion(**boot) for res in (good, short))
    assert a.pvalue == b.pvalue


def test_a_comparison_that_stays_negative_is_an_error(monkeypatch):
    res = CASES["gaussian"].formula("x | z").fit()._results
    res.fit = replace(res.fit, llf=-1e3)
    monkeypatch.setattr(refit, "fit_again", lambda *args: res.fit)
    with pytest.raises(ValueError, match="ratio of the dispersion is negative"):
        res.compare_constant_dispersion()
    with pytest.warns(UntestedTermWarning, match="ratio of the dispersion is negative"):
        assert np.isnan(het.anova(res).loc["Dispersion model"]).all()


def test_ratios_of_robust_fits_say_that_they_are_not():
    fits = [CASES["gaussian"].formula(right).fit(cov_type="HC0") for right in ("x", "x | z")]
    assert het.anova(*fits).columns.name == "LR, model-based"
    assert het.anova(fits[1]).columns.name == "LR, model-based"


@pytest.mark.parametrize("robust", [0, 1])
def test_one_robust_fit_of_several_is_enough(robust):
    fits = [
        CASES["gaussian"].formula(right).fit(cov_type="HC0" if i == robust else "nonrobust")
        for i, right in enumerate(("x", "x | z"))
    ]
    for order in (fits, fits[::-1]):
        assert het.anova(*order).columns.name == "LR, model-based"


def test_the_comparison_with_constant_says_that_it_is_not_robust():
    model, said = (
        CASES["gaussian"].formula("x | z"),
        "model-based: a likelihood ratio is not robust",
    )
    robust, plain = model.fit(cov_type="HC0"), model.fit()
    assert " ".join(str(robust.compare_constant_dispersion()).split()).endswith(f"({said})")
    assert said not in str(plain.compare_constant_dispersion())
    text = " ".join(robust.summary().as_text().split())
    assert text.count(said) == 1


@pytest.mark.parametrize("cov_type", ["HC1", "HAC"])
def test_score_tests_of_other_covariances_name_the_fit(cov_type):
    kwds = {"maxlags": 1} if cov_type == "HAC" else None
    res = CASES["gaussian"].formula("x | z").fit(cov_type=cov_type, cov_kwds=kwds)
    with pytest.raises(ValueError, match=f"for a fit with cov_type='{cov_type}'; use 'wald'"):
        het.anova(res, typ=2, test="score")


def double(right, family, response="positive", **kwargs):
    """Return a double GLM's fit, of the smaller or the larger model."""
    return hmf.doubleglm(f"{response} ~ {right}", simulated(), family=family, **kwargs).fit()


LINKS = sm.families.links
FAMILIES = {
    "powers": (
        lambda right, i: double(
            right,
            sm.families.Tweedie(LINKS.Power([0.5, 0.33][i]), var_power=1.5),
            likelihood="eql",
        ),
        "differ in their links",
    ),
    "distributions": (
        lambda right, i: double(
            right,
            sm.families.Binomial(LINKS.CDFLink([stats.t(3), stats.norm][i])),
            "K + I(N - K)",
        ),
        "differ in their links",
    ),
    "alpha": (
        lambda right, i: double(
            right, sm.families.NegativeBinomial(LINKS.Log(), alpha=1 + 1e-6 * i), "count"
        ),
        "variance functions",
    ),
    "var_power": (
        lambda right, i: double(
            right, sm.families.Tweedie(LINKS.Log(), var_power=1.5 + 1e-8 * i), likelihood="eql"
        ),
        "variance functions",
    ),
    "likelihood": (
        lambda right, i: double(
            right,
            sm.families.Tweedie(LINKS.Log(), var_power=1.5),
            "claims",
            likelihood=["exact", "eql"][i],
        ),
        "exact likelihood and the other an extended quasi-likelihood",
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_no_ratio_of_other_families(name):
    """What links and variances do counts, not what they are called or print."""
    fit, message = FAMILIES[name]
    for i in (0, 1):
        with pytest.raises(NotNestedError, match=message):
            het.anova(fit("1", i), fit("x", 1 - i))
        assert het.anova(fit("1", i), fit("x", i))["P"].between(0, 1).any()


def test_links_of_two_names_that_do_the_same_are_the_same():
    smaller, larger = (
        double(right, sm.families.Binomial(link), "K + I(N - K)")
        for right, link in (("1", LINKS.Probit()), ("x", LINKS.CDFLink(stats.norm)))
    )
    expected = 2 * (larger.llf - smaller.llf)
    assert_allclose(het.anova(smaller, larger)["statistic"][1], expected)


def test_no_ratio_of_other_responses():
    family = sm.families.Gaussian()
    fits = [double("1", family), double("x", family, "np.log(positive)")]
    with pytest.raises(NotNestedError, match=r"different responses \(.*positive, np.log"):
        het.anova(*fits)
    data = simulated()
    moved = [
        hmf.doubleglm("positive ~ x", data.iloc[rows]).fit()
        for rows in (slice(100), slice(20, 120))
    ]
    larger = hmf.doubleglm("positive ~ x | z", data.iloc[:100]).fit()
    with pytest.raises(NotNestedError, match="values, their order or their missing rows"):
        het.anova(moved[1], larger)
    assert het.anova(moved[0], larger)["P"][1] <= 1


def test_several_fits_with_a_null_at_the_boundary():
    """Chi-square does not hold for the dispersion; it does for the mean."""
    even = simulated().assign(K=simulated()["N"] // 2)
    with pytest.warns(BoundaryWarning):
        fits = [
            hmf.betabinomial(f"K + I(N - K) ~ {right}", even).fit() for right in ("1", "x", "x | z")
        ]
    p = het.anova(*fits)["P"]
    assert 0 < p[1] < 1
    assert np.isnan(p[2])


def test_no_score_test_against_a_null_at_the_boundary():
    """Without any overdispersion in the null the score of the dispersion is zero: no test."""
    y, n = np.array([3.0, 4, 3, 4, 3, 4, 2, 5, 3, 4, 3, 5]), np.full(12, 8.0)
    data = pd.DataFrame({"y": y, "n": n, "g": np.repeat(["a", "b"], 6), "x": np.arange(12) % 5})
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("y + I(n - y) ~ x | g", data).fit()
    table = het.anova(res, typ=3, test="score")
    assert table.loc[("dispersion", "g"), ["statistic", "P"]].isna().all()
    assert table.loc[("mean", "x"), "P"] > 0
    with pytest.warns(BoundaryWarning):
        null = hmf.betabinomial("y + I(n - y) ~ x", data).fit()
    with pytest.raises(ValueError, match=r"exog_extra: nothing to test.*boundary"):
        null.score_test((None, (data["g"] == "b").to_numpy(float)))


# ---- by bootstrap ---------------------------------------------------------------------------------


def by_hand(smaller, larger, rng, nrep=9):
    """Return P, its error, draws and failures of two fits, each draw refitted from the data alone."""
    null, full = (getattr(res, "_results", res) for res in (smaller, larger))
    entropy = rng.integers(2**32, size=4).tolist()
    ratios = []
    for i in range(nrep):
        y = null.get_distribution().rvs(random_state=generator(entropy, i))
        fits = (res.model.clone(endog=y).fit(reml=res.reml) for res in (full, null))
        larger, smaller = (res.fit.maximum for res in fits)
        ratios.append(2 * (larger - smaller))
    observed = 2 * (full.fit.maximum - null.fit.maximum)
    exceeded = np.sum(np.array(ratios) >= observed)
    share = (1 + exceeded) / (nrep + 2)  # the mean of P under a flat prior, for its error
    return [(1 + exceeded) / (nrep + 1), np.sqrt(share * (1 - share) / nrep), nrep, 0]


@pytest.mark.parametrize("typ", [1, 2])
def test_bootstrap_of_terms(typ):
    """The statistic is the ratio's; P is that of draws from the row's own null."""
    case = CASES["gaussian"]
    table = het.anova(case.formula(RIGHT).fit(), typ=typ, test="bootstrap", nrep=9, rng=3)
    ratio = het.anova(case.formula(RIGHT).fit(), typ=typ)
    assert_allclose(table[["df", "statistic"]], ratio[["df", "statistic"]])
    assert table.columns.tolist() == ["df", "statistic", "P", "mc_error", "draws", "failed"]
    assert table.columns.name == "LR, P by bootstrap"
    pairs = [(SEQUENCE[i + 1], SEQUENCE[i]) for i in range(5)]
    if typ == 2:
        pairs = [SMALLER[row] for row in table.index]
    rng = np.random.default_rng(3)
    for row, (larger, smaller) in zip(table.index, pairs, strict=True):
        fits = (case.formula(right).fit() for right in (smaller, larger))
        assert_allclose(table.loc[row].iloc[2:], by_hand(*fits, rng))


@pytest.mark.thorough
@pytest.mark.parametrize("typ", [None, 3])
def test_bootstrap_does_not_depend_on_jobs(typ):
    res = CASES["gaussian"].formula("w | w", simulated(60)).fit()
    one, two = (
        het.anova(res, typ=typ, test="bootstrap", nrep=12, rng=5, n_jobs=jobs, batch_size=jobs)
        for jobs in (1, 2)
    )
    assert one.equals(two)
    assert not one.equals(het.anova(res, typ=typ, test="bootstrap", nrep=12, rng=6))


def test_bootstrap_of_the_two_rows():
    case, rng = CASES["gaussian"], np.random.default_rng(2)
    table = het.anova(case.formula("x | z").fit(), test="bootstrap", nrep=9, rng=2)
    ratio = het.anova(case.formula("x | z").fit())
    assert_allclose(
        table[["DF", "Seq.Chisq", "Adj.Chisq"]], ratio[["DF", "Seq.Chisq", "Adj.Chisq"]]
    )
    one, mean, both, dispersion = (case.formula(f"{r}").fit() for r in ("1", "x", "x | z", "1 | z"))
    for row, kind, pair in (
        ("Mean model", "Seq", (one, mean)),
        ("Mean model", "Adj", (dispersion, both)),
        ("Dispersion model", "Seq", (mean, both)),
    ):
        expected = by_hand(*pair, rng)[:2]
        assert_allclose(table.loc[row, [f"{kind}.P", f"{kind}.Error"]].tolist(), expected)
    assert table.loc["Dispersion model", "Adj.P"] == table.loc["Dispersion model", "Seq.P"]
    assert table["Failed"].tolist() == [0, 0]


@pytest.mark.thorough
def test_bootstrap_of_several_fits():
    fits = [CASES["gamma"].formula(right).fit() for right in ("x | z + w", "x", "x | z")]
    table = het.anova(*fits, test="bootstrap", nrep=9, rng=4)
    rng = np.random.default_rng(4)
    for i, pair in ((1, (fits[1], fits[2])), (2, (fits[2], fits[0]))):
        assert_allclose(table.loc[i].iloc[-4:], by_hand(*pair, rng))
    assert table.loc[0].iloc[-4:].isna().all()
    ratio = het.anova(*fits)
    assert_allclose(table["statistic"], ratio["statistic"])
    stopped = het.anova(*fits[::2], test="bootstrap", nrep=99, rng=4, sequential=2).loc[1]
    assert stopped["P"] == 2 / stopped["draws"]
    assert stopped["draws"] < 99


def test_sequential_rows_stop_each_for_itself():
    res = CASES["gaussian"].formula("x + w | z + w", simulated(60)).fit()
    table = het.anova(res, typ=3, test="bootstrap", nrep=60, rng=1, sequential=3)
    assert table["draws"].min() < table["draws"].max() == 60
    stopped = table["draws"] < 60
    assert_allclose(table["P"][stopped], 3 / table["draws"][stopped])


@pytest.mark.parametrize("shift", [False, True], ids=["same columns", "other coding"])
def test_bootstrap_by_reml(shift):
    """Of dispersions, both refitted by REML, whatever the coding of the mean."""
    case = CASES["gaussian"]
    smaller, larger = (case.formula(f"x + group | {z}").fit(reml=True) for z in ("1", "z"))
    expected = by_hand(smaller, larger, np.random.default_rng(7))
    if shift:
        smaller = case.formula("I(x / 100) + C(group, Sum) | 1").fit(reml=True)
    pair = het.anova(smaller, larger, test="bootstrap", nrep=9, rng=7)
    assert_allclose(pair.loc[1].iloc[-4:], expected)
    assert pair.columns.name == "LR by REML, P by bootstrap"


def test_bootstrap_of_terms_by_reml():
    """Rows of the dispersion are refitted by REML, those of the mean by maximum likelihood."""
    case, rng = CASES["gaussian"], np.random.default_rng(7)
    table = het.anova(case.formula("x | w").fit(reml=True), typ=3, test="bootstrap", nrep=9, rng=7)
    for part, reml, smaller in (("mean", False, "1 | w"), ("dispersion", True, "x | 1")):
        fits = (case.formula(right).fit(reml=reml) for right in (smaller, "x | w"))
        assert_allclose(table.loc[part].iloc[0, 2:], by_hand(*fits, rng))


def test_bootstrap_where_chi_square_does_not_hold():
    data = pd.DataFrame({"y": [3, 4, 5, 4, 3, 5, 4, 4], "g": list("aaaabbbb")})
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("y + I(8 - y) ~ 1 | g", data).fit()
    assert np.isnan(het.anova(res, typ=3)["P"]["dispersion"]["g"])
    table = het.anova(res, typ=3, test="bootstrap", nrep=9, rng=1)
    assert table["P"]["dispersion"]["g"] == 1  # no draw can be less dispersed
    assert table["draws"].tolist() == [9]


def test_bootstrap_of_an_aliased_term_and_of_a_constant_dispersion():
    with pytest.warns(AliasedColumnWarning):
        res = CASES["gaussian"].formula("x + I(2 * x)").fit()
    row = het.anova(res, typ=1, test="bootstrap", nrep=9, rng=1).loc[("mean", "I(2 * x)")]
    assert row["df"] == row["draws"] == 0
    assert np.isnan(row["P"])
    two = het.anova(res, test="bootstrap", nrep=9, rng=1)
    assert two.loc["Mean model", "Seq.P"] == 0.1
    assert np.isnan(two.loc["Dispersion model", "Seq.P"])


def test_failed_refits_are_in_the_table(monkeypatch):
    original = refit.refit

    def sometimes(of, core, warm=True):
        if core.y[0] > np.median(simulated()["gaussian"]):
            raise ValueError("no luck: at all")
        return original(of, core, warm)

    monkeypatch.setattr(refit, "refit", sometimes)
    with pytest.warns(BootstrapFailureWarning, match="bootstrap refits failed"):
        table = het.anova(fitted("gaussian", "x | z"), typ=3, test="bootstrap", nrep=20, rng=1)
    assert table["failed"].between(1, 19).all()
    assert (table["failed"] + table["draws"] == 20).all()


def test_checkpoints_of_rows(tmp_path, monkeypatch):
    """One file each, and what is in them is not done again."""
    res, path = fitted("gaussian", "x | z"), tmp_path / "kept"
    kwargs = {"typ": 3, "test": "bootstrap", "checkpoint": path}
    table = het.anova(res, nrep=9, **kwargs)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["kept", "kept-2"]
    monkeypatch.setattr(parallel, "_outcomes", None)  # nothing is left to do
    assert het.anova(res, nrep=9, **kwargs).equals(table)


@pytest.mark.thorough
def test_repeated_rows_are_drawn_one_by_one():
    """A frequency of two is two responses, in the draws too."""
    data = simulated(40)
    long = data.loc[data.index.repeat(data["w"])].reset_index(drop=True)
    case = CASES["gaussian"]
    fits = [
        case.formula("shift | shift", data, freq_weights="w").fit(),
        case.formula("shift | shift", long).fit(),
    ]
    tables = [het.anova(res, typ=3, test="bootstrap", nrep=30, rng=1) for res in fits]
    assert tables[0]["P"].between(0.1, 0.9).any()
    assert_allclose(*tables, rtol=1e-6)
    one, two = (res.compare_constant_dispersion(test="bootstrap", nrep=30, rng=1) for res in fits)
    assert one.pvalue == two.pvalue


def test_tables_print_whole():
    fits = [CASES["gaussian"].formula(right).fit() for right in ("x", "x | z")]
    text = str(het.anova(*fits, test="bootstrap", nrep=9, rng=1))
    assert "..." not in text
    assert text.splitlines()[0] == "Model 0: gaussian ~ x | 1"
    assert max(map(len, text.splitlines())) <= 80
    assert f"{fits[0].llf:.4f}" in text
    assert type(het.anova(*fits).round(2)) is pd.DataFrame


NO_BOOTSTRAP = {
    "robust": (
        lambda: het.anova(
            CASES["gaussian"].formula("x | z").fit(cov_type="HC0"), typ=3, **BOOTSTRAP
        ),
        ValueError,
        "test='bootstrap': a likelihood ratio ignores cov_type='HC0'",
    ),
    "quasi": (
        lambda: het.anova(fitted("poisson", "x | z"), typ=2, **BOOTSTRAP),
        NotImplementedError,
        "kind='pairs'",
    ),
    "quasi, two rows": (
        lambda: het.anova(fitted("poisson", "x | z"), **BOOTSTRAP),
        NotImplementedError,
        "EQL|extended",
    ),
    "quasi, several": (
        lambda: het.anova(fitted("poisson", "x"), fitted("poisson", "x | z"), **BOOTSTRAP),
        NotImplementedError,
        "not a distribution",
    ),
    "draws without": (
        lambda: het.anova(fitted("gaussian"), nrep=9),
        ValueError,
        "nrep: only with test=",
    ),
    "seed without": (
        lambda: het.anova(fitted("gaussian"), typ=2, rng=1),
        ValueError,
        "rng: only with",
    ),
    "file without": (
        lambda: het.anova(fitted("gaussian"), typ=2, test="wald", checkpoint="x"),
        ValueError,
        "checkpoint: only with",
    ),
}
BOOTSTRAP = {"test": "bootstrap", "nrep": 9, "rng": 1}


@pytest.mark.parametrize("name", NO_BOOTSTRAP)
def test_no_bootstrap(name, monkeypatch):
    call, error, message = NO_BOOTSTRAP[name]
    for right in ("x", "x | z"):
        fitted("poisson", right)
    if error is NotImplementedError:
        monkeypatch.setattr(fit_module, "fit", None)  # it is said before any work
    with pytest.raises(error, match=message):
        call()


def test_a_search_that_diverges_replaces_no_fit():
    """Welding by REML: from the better fit without Preheating, the search diverges to a singularity."""
    res = hmf.doubleglm(
        "Strength ~ Drying + Material | Material + Method + Preheating",
        het.datasets.load_welding(),
    ).fit(reml=True)
    with pytest.warns(UntestedTermWarning, match="dispersion-Preheating is negative"):
        table = het.anova(res, typ=2)
    assert np.isnan(table.loc[("dispersion", "Preheating"), "P"])
