"""Tests of sigma = 0, and what the intraclass correlation means for a sample."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.discrete.diagnostic import PoissonDiagnostic

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import refit
from hetglm.exceptions import BootstrapFailureWarning
from hetglm.inference import overdispersion

pytestmark = pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")


@pytest.fixture(scope="module")
def seeds():
    return het.datasets.load_germination()


def test_score_is_tarone_where_the_mean_is_constant(seeds):
    res = hmf.betabinomial("y + I(n - y) ~ 1 | root", seeds).fit()
    y, n = seeds.y, seeds.n
    p = y.sum() / n.sum()
    z = (((y - n * p) ** 2).sum() / (p * (1 - p)) - n.sum()) / np.sqrt(2 * (n * (n - 1)).sum())
    test = res.test_overdispersion()
    assert test.score == pytest.approx(z, rel=1e-9)
    assert test.score_pvalue == pytest.approx(stats.norm.sf(z), rel=1e-7)


@pytest.mark.filterwarnings("ignore:the likelihood has several maxima")
def test_ratio_is_that_of_constant_sigma_whatever_the_formula(seeds):
    mean = "y + I(n - y) ~ variety * root"
    constant = hmf.betabinomial(mean, seeds).fit()
    # the binomial maximum comes with the reference results
    binomial = -54.937020324766
    expected = 2 * (constant.llf - binomial)
    for dispersion in ("1", "root", "n"):
        test = hmf.betabinomial(f"{mean} | {dispersion}", seeds).fit().test_overdispersion()
        assert test.statistic == pytest.approx(expected, abs=1e-7)
        assert test.pvalue == pytest.approx(0.5 * stats.chi2.sf(expected, 1), rel=1e-6)
        assert "half-and-half" in test.method
    assert "score Z" in str(test)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:the likelihood has several maxima")
def test_cells_have_binomial_weights_and_other_formulas_the_bootstrap(seeds):
    cells = hmf.betabinomial("y + I(n - y) ~ variety * root | root", seeds).fit()
    test = cells.test_overdispersion("model")
    tail = 0.5 * stats.chi2.sf(test.statistic, 1) + 0.25 * stats.chi2.sf(test.statistic, 2)
    assert test.pvalue == pytest.approx(tail)
    assert np.isnan(test.score)
    other = hmf.betabinomial("y + I(n - y) ~ variety * root | n", seeds).fit()
    test = other.test_overdispersion("model", nrep=9, rng=1)
    assert test.method == "parametric bootstrap, 9 draws"
    again = other.test_overdispersion("model", nrep=9, rng=1)
    assert (test.statistic, test.pvalue) == (again.statistic, again.pvalue)
    assert 10 * test.pvalue == pytest.approx(round(10 * test.pvalue))


def by_numbers(seeds, **kwargs):
    res = hmf.betabinomial("y + I(n - y) ~ 1 | n", seeds).fit()
    return res.test_overdispersion("model", rng=1, **kwargs)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:the likelihood has several maxima")
def test_bootstrap_runs_as_others_do(seeds, tmp_path, capsys):
    """In two processes, with a bar and from a checkpoint: the same, with its Monte-Carlo error."""
    path = tmp_path / "kept"
    plain = by_numbers(seeds, nrep=5)
    assert plain == by_numbers(seeds, nrep=5, n_jobs=2, batch_size=2, progress=True)
    assert "5/5" in capsys.readouterr().err
    by_numbers(seeds, nrep=2, checkpoint=path)
    begun = path.read_bytes()
    assert plain == by_numbers(seeds, nrep=5, checkpoint=path)
    assert path.read_bytes().startswith(begun)
    q = plain.pvalue * 6 / 7  # (1 + exceeded)/(2 + 5)
    assert plain.mc_error == pytest.approx(np.sqrt(q * (1 - q) / 5))
    assert f"P = {plain.pvalue:.3g} +/- {plain.mc_error:.2g}" in " ".join(str(plain).split())
    even = seeds.assign(y=(seeds.n * 0.4).round())
    stopped = by_numbers(even, nrep=6, sequential=2)
    assert (stopped.pvalue, stopped.method[-25:]) == (1, ", stopped at 2 exceedances"[-25:])


@pytest.mark.filterwarnings("ignore:the likelihood has several maxima")
def test_failed_refits_are_reported(seeds, monkeypatch):
    original = refit.refit

    def sometimes(of, core):
        if core.y.sum() % 2:
            raise ValueError("no luck: at all")
        return original(of, core)

    monkeypatch.setattr(overdispersion, "refit", sometimes)
    with pytest.warns(BootstrapFailureWarning, match="bootstrap refits failed"):
        test = by_numbers(seeds, nrep=6)
    assert 0 < test.failed < 6
    assert test.reasons == {"ValueError: no luck: at all": test.failed}
    assert f"{test.failed} refits failed and are left out" in " ".join(str(test).split())


def test_no_overdispersion_at_all_has_p_one(seeds):
    data = seeds.assign(y=(seeds.n * 0.4).round())
    test = hmf.betabinomial("y + I(n - y) ~ 1 | root", data).fit().test_overdispersion()
    assert (test.statistic, test.pvalue) == (0, 1)
    assert test.score < 0
    assert test.score_pvalue > 0.5


def test_frequencies_count_as_rows(seeds):
    repeated = seeds.loc[seeds.index.repeat(2)]
    one = hmf.betabinomial("y + I(n - y) ~ root", repeated).fit().test_overdispersion()
    two = hmf.betabinomial("y + I(n - y) ~ root", seeds, freq_weights=np.full(21, 2)).fit()
    two = two.test_overdispersion()
    assert (two.score, two.statistic) == pytest.approx((one.score, one.statistic), rel=1e-7)


@pytest.mark.filterwarnings("ignore:the likelihood has several maxima")
def test_frequencies_are_draws(seeds, monkeypatch):
    """Each of the rows that a frequency stands for is drawn for itself."""
    tasks = []
    repeated = seeds.loc[seeds.index.repeat(2)].reset_index(drop=True)
    for data, kwargs in ((repeated, {}), (seeds, {"freq_weights": np.full(21, 2)})):
        res = hmf.betabinomial("y + I(n - y) ~ 1 | n", data, **kwargs).fit()
        with monkeypatch.context() as patch:
            patch.setattr(overdispersion, "exceedances", lambda task, *_: tasks.append(task))
            with pytest.raises(AttributeError):
                res.test_overdispersion("model", nrep=4, rng=1)
    draws = [task(np.random.default_rng(1)) for task in tasks]
    assert draws[0] == pytest.approx(draws[1], rel=1e-5)
    assert draws[0] > 0


def test_refusals(seeds):
    res = hmf.betabinomial("y + I(n - y) ~ 1", seeds).fit()
    with pytest.raises(ValueError, match="choose 'constant' or 'model'"):
        res.test_overdispersion("cells")
    with pytest.raises(ValueError, match="Gaussian: phi = 0 is not a model"):
        hmf.doubleglm("y ~ 1", seeds).fit().test_overdispersion()


# ---- of an ordinary GLM --------------------------------------------------------------------------


def counts(n=120, seed=3):
    """Return counts that are more variable than a Poisson's, with an offset and frequencies."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.normal(size=n), "t": rng.uniform(5, 50, n)})
    data["y"] = rng.poisson(data.t * np.exp(0.3 * data.x) * rng.gamma(4, 0.25, n))
    return data.assign(f=rng.integers(1, 4, n))


@pytest.mark.filterwarnings("ignore:The Sqrt link function")
@pytest.mark.parametrize("link", [None, sm.families.links.Sqrt()])
def test_of_a_poisson_glm_are_those_of_statsmodels(link):
    data, family = counts(), sm.families.Poisson(link, check_link=False)
    given = {"offset": np.log(data.t)} if link is None else {}
    res = hmf.doubleglm("y ~ x | x", data, family=family, **given).fit()
    test = res.test_overdispersion()
    glm = sm.GLM.from_formula("y ~ x", data, family=family, **given).fit(tol=1e-14)
    expected = PoissonDiagnostic(glm).test_dispersion().summary_frame().set_index("method")
    rows = {
        ("Dean score", "mu (1 + alpha mu)"): "Dean B",
        ("Dean score", "mu (1 + alpha)"): "Dean C",
        ("Cameron-Trivedi", "mu (1 + alpha mu)"): "CT nb2 HC3",
        ("Cameron-Trivedi", "mu (1 + alpha)"): "CT nb1 HC3",
    }
    assert list(test.table.index) == list(rows)
    for row, method in rows.items():
        assert test.table.loc[row, "statistic"] == pytest.approx(
            expected.loc[method, "statistic"], rel=1e-8
        )
        assert test.table.loc[row, "P"] == pytest.approx(
            expected.loc[method, "pvalue"] / 2, rel=1e-6
        )
    assert test.score == test.statistic == test.table["statistic"].iloc[0]
    assert test.dispersion == pytest.approx(glm.pearson_chi2 / glm.df_resid, rel=1e-8)


def test_of_a_poisson_glm_is_the_score_of_the_negative_binomial():
    """Without a dispersion formula, after REML and with a robust covariance: one and the same test."""
    data = counts()
    nb = hmf.negativebinomial("y ~ x", data, exposure="t").fit().test_overdispersion()
    for right, fit in (("x", {}), ("x | x", {"reml": True}), ("x | t", {"cov_type": "HC0"})):
        model = hmf.doubleglm(f"y ~ {right}", data, family=sm.families.Poisson(), exposure="t")
        test = model.fit(**fit).test_overdispersion()
        assert test.score == pytest.approx(nb.score, rel=1e-8)
        assert test.pvalue == test.score_pvalue == pytest.approx(nb.score_pvalue, rel=1e-6)


def test_frequencies_are_rows_of_a_poisson_glm():
    data, family = counts(), sm.families.Poisson()
    rows = data.loc[data.index.repeat(data.f)]
    one = hmf.doubleglm("y ~ x", rows, family=family, exposure="t").fit().test_overdispersion()
    two = hmf.doubleglm("y ~ x", data, family=family, exposure="t", freq_weights="f").fit()
    two = two.test_overdispersion()
    assert two.table.to_numpy() == pytest.approx(one.table.to_numpy(), rel=1e-7)
    assert two.dispersion == pytest.approx(one.dispersion, rel=1e-9)


def test_of_a_binomial_glm_is_tarone(seeds):
    family = sm.families.Binomial()
    y, n = seeds.y, seeds.n
    p = y.sum() / n.sum()
    z = (((y - n * p) ** 2).sum() / (p * (1 - p)) - n.sum()) / np.sqrt(2 * (n * (n - 1)).sum())
    res = hmf.doubleglm("y + I(n - y) ~ 1 | root", seeds, family=family).fit()
    assert res.test_overdispersion().score == pytest.approx(z, rel=1e-9)
    mean = "variety * root"
    expected = hmf.betabinomial(f"y + I(n - y) ~ {mean}", seeds).fit().test_overdispersion()
    share = seeds.assign(p=y / n)
    for model in (
        hmf.doubleglm(f"y + I(n - y) ~ {mean}", seeds, family=family),
        hmf.doubleglm(f"y ~ {mean}", seeds, family=family, n_trials="n"),
        hmf.doubleglm(f"p ~ {mean}", share, family=family, n_trials="n"),
        hmf.doubleglm(f"p ~ {mean}", share, family=family, var_weights="n"),
    ):
        test = model.fit().test_overdispersion()
        assert test.score == pytest.approx(expected.score, rel=1e-7)
        glm = sm.GLM.from_formula(f"y + I(n - y) ~ {mean}", seeds, family=family).fit()
        assert test.dispersion == pytest.approx(glm.pearson_chi2 / glm.df_resid, rel=1e-7)


def test_of_a_glm_prints_what_is_tested_and_never_a_p_of_zero(seeds):
    data = counts().assign(y=lambda d: d.y * 7)
    poisson = hmf.doubleglm("y ~ x", data, family=sm.families.Poisson()).fit().test_overdispersion()
    binomial = hmf.doubleglm("y + I(n - y) ~ 1", seeds, family=sm.families.Binomial()).fit()
    binomial = binomial.test_overdispersion()
    assert str(poisson).startswith(
        "Test of no overdispersion in the Poisson GLM (phi = 1): score Z ="
    )
    assert "P < 1e-16" in str(poisson)
    assert "P = 0\n" not in str(poisson)
    assert str(binomial).startswith(
        "Test of no overdispersion in the binomial GLM (phi = 1): score Z"
    )
    assert "Tarone score" in str(binomial)
    assert poisson.summary_frame().equals(poisson.table)


def test_less_variance_is_no_overdispersion():
    data = pd.DataFrame({"y": np.tile([9, 10, 11], 30)})
    test = hmf.doubleglm("y ~ 1", data, family=sm.families.Poisson()).fit().test_overdispersion()
    assert (test.table["statistic"] < -3).all()
    assert (test.table["P"] > 0.99).all()
    assert test.dispersion < 0.1


@pytest.mark.parametrize(
    ("formula", "given", "family", "message"),
    [
        ("y ~ x", {"var_weights": "t"}, sm.families.Poisson(), "not available with var_weights"),
        ("I(y + 0.5) ~ x", {}, sm.families.Poisson(), "whole numbers"),
        (
            "y ~ x",
            {"n_trials": "n", "var_weights": "f"},
            sm.families.Binomial(),
            "not available with var_w",
        ),
        ("y ~ x", {}, sm.families.NegativeBinomial(alpha=0.1), "not a model of its own"),
    ],
)
def test_of_a_glm_refusals(formula, given, family, message):
    data = counts().assign(n=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        res = hmf.doubleglm(formula, data, family=family, **given).fit()
    with pytest.raises(ValueError, match=message):
        res.test_overdispersion()


def test_of_a_glm_is_against_a_constant_only():
    res = hmf.doubleglm("y ~ x", counts(), family=sm.families.Poisson()).fit()
    with pytest.raises(ValueError, match="fit NegativeBinomial or BetaBinomial"):
        res.test_overdispersion("model")


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 100, 1000])
def test_size(n):
    """Both one-sided tests reject a true binomial about as often as they say."""
    rng = np.random.default_rng(n)
    data = pd.DataFrame({"x": rng.normal(size=n), "n": rng.integers(5, 30, n)})
    mu = 1 / (1 + np.exp(0.5 - 0.4 * data.x))
    draws, level = 600 if n < 1000 else 150, 0.05
    rejected = np.zeros(2)
    for _ in range(draws):
        data["y"] = rng.binomial(data.n, mu)
        test = hmf.betabinomial("y + I(n - y) ~ x", data).fit().test_overdispersion()
        rejected += np.array([test.score_pvalue, test.pvalue]) < level
    # small samples are conservative; none may reject beyond Monte-Carlo error (4 standard errors)
    error = 4 * np.sqrt(level * (1 - level) / draws)
    assert np.all(rejected / draws < level + error)
    assert np.all(rejected / draws > level * (0.3 if n == 20 else 0.6) - error)


@pytest.mark.slow
def test_size_against_three_cells():
    """Half-and-half would reject with probability 0.19 here; the binomial mixture does not."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(list("abc"), 60), "n": 20})
    draws, level, rejected, naive = 300, 0.05, 0, 0
    for _ in range(draws):
        data["y"] = rng.binomial(20, 0.4, 180)
        test = hmf.betabinomial("y + I(n - y) ~ g | g", data).fit().test_overdispersion("model")
        rejected += test.pvalue < level
        naive += 0.5 * stats.chi2.sf(test.statistic, 1) < level
    error = 4 * np.sqrt(level * (1 - level) / draws)
    assert abs(rejected / draws - level) < error
    assert naive / draws > 0.1


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.SmallCountsWarning")
def test_groups_whose_rows_go_together():
    rng, clinic = np.random.default_rng(0), np.repeat(np.arange(12), 6)
    data = pd.DataFrame({"clinic": clinic, "ward": np.arange(72) % 9})
    data["y"] = rng.poisson(np.exp(1 + 0.6 * rng.normal(size=12)[clinic]))
    poisson = hmf.doubleglm("y ~ 1", data, family=sm.families.Poisson())
    model = hmf.negativebinomial("y ~ 1", data)
    own = model.fit().test_random_effect("clinic", nrep=49, rng=1)
    clustered = model.fit(cov_type="cluster", cov_kwds={"groups": "clinic"})
    for test in (
        poisson.fit().test_overdispersion(groups="clinic", nrep=49, rng=1),
        model.fit().test_overdispersion(groups="clinic", nrep=49, rng=1),
        clustered.test_overdispersion(nrep=49, rng=1),
    ):
        assert test.random_effect.statistic == pytest.approx(own.statistic, rel=1e-6)
        assert "go together in the mean" in str(test)
        assert "write (1 | clinic) in the mean" in " ".join(str(test).split())
    other = clustered.test_overdispersion(groups="ward", nrep=49, rng=1)
    assert "No evidence that rows of a group go together ((1 | ward): score z" in str(other)
    assert "go together" not in str(model.fit().test_overdispersion())
    with pytest.raises(ValueError, match="groups: give one grouping variable"):
        clustered.test_overdispersion(groups=["clinic", "ward"])
