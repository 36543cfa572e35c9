"""Covariances of clusters: the corrections of statsmodels, in both parts and in the tests of terms."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import simulated
from genes import drawn_genes
from numpy.testing import assert_allclose
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import IndefiniteCovarianceWarning, UntestedTermWarning

#: statsmodels' negative binomial stops at a gradient of 1e-8 or so.
PEER = 1e-5
SAME = 1e-8
ONE_WAY, TWO_WAY = "block", ["block", "site"]
#: Some of these two-way covariances are indefinite, in directions that the tests do not ask for.
MAY_BE_INDEFINITE = pytest.mark.filterwarnings(
    "ignore::hetglm.exceptions.IndefiniteCovarianceWarning"
)


def fit(cov_kwds, right="x | 1", **kwargs):
    model = hmf.negativebinomial(f"count ~ {right}", simulated())
    return model.fit(cov_type="cluster", cov_kwds=cov_kwds, **kwargs)


@MAY_BE_INDEFINITE
@pytest.mark.parametrize("groups", [ONE_WAY, TWO_WAY], ids=["one-way", "two-way"])
@pytest.mark.parametrize(
    "kwds",
    [{}, {"use_correction": False}, {"df_correction": False}, {"scaling_factor": 1.5}],
    ids=["default", "no correction", "no df", "scaled"],
)
def test_statsmodels_negative_binomial_has_the_same(groups, kwds):
    """Standard errors of mean and dispersion, P and intervals; ours is log(alpha), theirs alpha."""
    data = simulated()
    ours = fit({"groups": groups, **kwds}, use_t=True)
    alpha = np.exp(ours.params.iloc[-1])
    peer = sm.NegativeBinomial(data["count"], sm.add_constant(data["x"])).fit(
        start_params=[*ours.params.iloc[:2], alpha],
        method="newton",
        disp=False,
        cov_type="cluster",
        cov_kwds={"groups": data[groups].to_numpy(), **kwds},
        use_t=True,
    )
    theirs = peer.bse / np.array([1, 1, alpha])
    assert_allclose(ours.bse, theirs, rtol=PEER)
    if kwds.get("df_correction", True):  # else n - k, and statsmodels' k here is without alpha
        assert_allclose(ours.pvalues.iloc[:2], peer.pvalues.iloc[:2], rtol=1e-3)
        assert_allclose(ours.conf_int().iloc[:2], peer.conf_int().iloc[:2], rtol=PEER)


@pytest.mark.parametrize("right", ["x | 1", "x + group | z + group"])
def test_correction_by_hand(right):
    """G/(G - 1) (n - 1)/(n - k), with the coefficients of both parts in k."""
    corrected, raw = (fit({"groups": ONE_WAY, "use_correction": c}, right) for c in (True, False))
    n, k, count = 120, len(raw.params), 120 / 6
    factor = count / (count - 1) * (n - 1) / (n - k)
    assert_allclose(corrected.cov_params(), raw.cov_params() * factor, rtol=SAME)
    assert_allclose(fit({"groups": ONE_WAY}, right).bse, corrected.bse, rtol=SAME)


@MAY_BE_INDEFINITE
def test_two_ways_are_the_sum_less_the_crossed():
    """Cameron, Gelbach and Miller (2011): each of the three with the correction of its own groups."""
    data = simulated()
    crossed = (100 * data["block"] + data["site"]).to_numpy()
    for correct in (True, False):
        first, second, both, two = (
            fit({"groups": groups, "use_correction": correct}, "x | z").cov_params()
            for groups in ("block", "site", crossed, TWO_WAY)
        )
        assert_allclose(two, first + second - both, rtol=SAME, atol=SAME * np.abs(two).max().max())


@MAY_BE_INDEFINITE
@pytest.mark.parametrize(
    ("groups", "kwds", "df"),
    [
        (ONE_WAY, {}, 19),
        (TWO_WAY, {}, 12),  # the fewer groups: 13 sites
        (ONE_WAY, {"df_correction": False}, 120 - 4),
    ],
)
def test_degrees_of_freedom(groups, kwds, df):
    res = fit({"groups": groups, **kwds}, "x | z", use_t=True)
    assert_allclose(res.pvalues, 2 * stats.t.sf(np.abs(res.tvalues), df))
    table = het.anova(res, typ=3, test="wald")
    assert_allclose(table["P"], stats.f.sf(table["statistic"], 1, df))
    assert res.df_resid == 116


@pytest.mark.parametrize(
    "kwds", [{"use_correction": False}, {"df_correction": False}, {"scaling_factor": 2.0}]
)
def test_submodels_keep_the_corrections(kwds):
    """A type 2 Wald test refits without the interaction, and by the same covariance."""
    kwds = {"groups": ONE_WAY, **kwds}
    row = het.anova(fit(kwds, "x*group | z", use_t=True), typ=2, test="wald").loc[("mean", "x")]
    smaller = fit(kwds, "x + group | z", use_t=True)
    assert_allclose(row["statistic"], smaller.tvalues["x"] ** 2, rtol=1e-5)
    assert_allclose(row["P"], smaller.pvalues["x"], rtol=1e-4)


# ---- covariances that are indefinite, or of too few groups -------------------------------------------


def indefinite():
    """Return a fit whose covariance of blocks and groups has negative variances."""
    model = hmf.doubleglm("gaussian ~ x*group | z", simulated())
    with pytest.warns(IndefiniteCovarianceWarning, match="not positive definite"):
        return model.fit(cov_type="cluster", cov_kwds={"groups": ["block", "group"]})


def test_an_indefinite_covariance_is_said():
    res = indefinite()
    assert np.linalg.eigvalsh(res.cov_params()).min() < 0
    assert "not positive definite" in " ".join(res.summary().as_text().split())


def test_no_wald_test_of_a_negative_variance():
    """Where the covariance of a term is definite it is tested; elsewhere NaN."""
    res = indefinite()
    table = het.anova(res, typ=3)
    terms, cov = res.wald_test_terms().table, res.cov_params()
    for part, name in table.index:
        term = name if part == "mean" else f"dispersion-{name}"
        columns = res.model.terms[term]
        block = cov.iloc[columns, columns]
        exists = np.linalg.eigvalsh(block).min() > 0
        for row in (table.loc[(part, name)], terms.loc[term]):
            assert row[["statistic", "P" if "P" in row else "pvalue"]].notna().all() == exists
            assert not row["statistic"] < 0
    assert table["P"].isna().any()
    assert table["P"].notna().any()
    columns = res.model.terms["x:group"]
    joint = res.wald_test(np.eye(len(res.params))[columns])
    assert np.isnan([joint.statistic, joint.pvalue]).all()


def test_no_score_test_of_a_negative_variance():
    """Groups that each balance exactly: what is within both is subtracted, and nothing is left."""
    data = pd.DataFrame({"a": np.tile([0, 0, 1, 1], 10), "b": np.tile([0, 1, 0, 1], 10)})
    data["y"] = np.repeat([0.0, 2.0], 20)
    res = hmf.doubleglm("y ~ 1", data).fit()
    kwds = {"groups": data[["a", "b"]].to_numpy(), "use_correction": False}
    # scores of 1, -1, -1, 1: their sums are zero in a and in b, and not in both crossed
    x = np.tile([1.0, -1, -1, 1], 10) * (data["y"] - 1)
    with pytest.warns(IndefiniteCovarianceWarning, match="of the scores"):
        test = res.score_test((x, None), cov_type="cluster", cov_kwds=kwds)
    assert np.isnan(test[:2]).all()
    assert test[2] == 1


@pytest.mark.parametrize("test", ["wald", "score"])
def test_few_groups_cannot_test_many_columns(test):
    data = simulated().assign(three=np.arange(120) % 3)
    model = hmf.doubleglm("gaussian ~ x + bs(z, df=5)", data)
    res = model.fit(cov_type="cluster", cov_kwds={"groups": "three"})
    with pytest.warns(UntestedTermWarning, match="3 groups cannot test 5 columns"):
        table = het.anova(res, typ=2, test=test)
    assert table["P"].isna().tolist() == [False, True]
    with pytest.raises(ValueError, match="3 groups cannot test"):
        res.wald_test(np.eye(len(res.params))[2:])
    assert res.wald_test("x = 0").pvalue < 1


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_columns_as_groups_have_no_score_test(count):
    """Its statistic would be the number of groups (less the correction), whatever the data."""
    data = simulated().assign(some=np.arange(120) % count)
    res = hmf.doubleglm("gaussian ~ group", data).fit()
    kwds, extra = {"groups": "some"}, data[["x", "z", "shift"]].to_numpy()
    with pytest.raises(ValueError, match=f"{count} groups cannot test {count} columns"):
        res.score_test(extra[:, :count], cov_type="cluster", cov_kwds=kwds)
    fewer = res.score_test(extra[:, : count - 1], cov_type="cluster", cov_kwds=kwds)
    assert 0 < fewer[1] < 1


# ---- dispersions that differ between genes ---------------------------------------------------------

#: Standard errors of 300 replicates have an error of 4 %; sandwich and bootstrap of 40 clusters differ
#: by a term of the order 1/40 besides.
REPLICATES, AGREE = 300, 0.15


@pytest.mark.parametrize("seed", [1, 3])
def test_cluster_bootstrap_has_the_standard_errors_of_the_sandwich(seed):
    """And both are far from the naive ones where genes differ in their dispersion."""
    model = drawn_genes(np.random.default_rng(seed))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": "id"})
    drawn = robust.bootstrap(REPLICATES, kind="cluster", groups="id", rng=seed)
    assert_allclose(drawn.std, robust.bse, rtol=AGREE)
    assert np.all(robust.bse[2:] > 1.5 * model.fit().bse[2:])
