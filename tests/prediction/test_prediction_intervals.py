"""Intervals of new observations: with what is not known of the estimates, and fast for counts."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, simulated
from numpy.testing import assert_allclose, assert_array_equal

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.families import quantiles
from hetglm.families.betabinomial import beta_binomial
from hetglm.families.negbin import negative_binomial

#: Two ways to the same quantile of t differ by the rounding of a normal probability.
ROUNDING = 1e-10


def small_sample(n=16, p=4):
    rng = np.random.default_rng(3)
    X = sm.add_constant(rng.normal(size=(n, p - 1)))
    return X.sum(axis=1) + rng.normal(size=n), X, rng.uniform(0.5, 2, n), X[:5] + 0.3


@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_the_gaussian_interval_by_reml_is_that_of_least_squares(alpha):
    y, X, w, new = small_sample()
    for weights in (np.ones(len(y)), w):
        res = het.DoubleGLM(y, X, var_weights=weights).fit(reml=True)
        known = {"var_weights": np.linspace(1, 2, 5)}
        frame = res.get_prediction(new, np.ones((5, 1)), **known).summary_frame(alpha)
        wls = sm.WLS(y, X, weights=weights).fit().get_prediction(new, weights=known["var_weights"])
        right = wls.summary_frame(alpha)[["obs_ci_lower", "obs_ci_upper"]]
        assert_allclose(frame[["obs_ci_lower", "obs_ci_upper"]], right, rtol=ROUNDING)


def test_the_predictive_interval_is_the_wider_one(exact):
    table = exact.get_prediction()
    inner, outer = (table.conf_int(obs=True, obs_ci=kind) for kind in ("plugin", "predictive"))
    assert np.all(outer[:, 0] <= inner[:, 0])
    assert np.all(outer[:, 1] >= inner[:, 1])
    assert np.any(outer != inner)
    assert_array_equal(table.conf_int(obs=True), outer)
    assert_array_equal(exact.get_prediction(obs_ci="plugin").conf_int(obs=True), inner)
    with pytest.raises(ValueError, match="obs_ci='both': choose 'predictive' or 'plugin'"):
        exact.get_prediction(obs_ci="both")


def brute(law, highest):
    """Return the least count with cdf >= q for every level, looking at all counts."""
    cdf = law.cdf(np.arange(highest + 1))
    return [int(np.argmax(cdf >= q)) for q in LEVELS]


LEVELS = [1e-9, 1e-4, 0.025, 0.3, 0.47, 0.8, 0.975, 1 - 1e-6]


@pytest.mark.parametrize("n", [1, 2, 17, 400])
@pytest.mark.parametrize("sigma", [0.0, 1e-9, 0.05, 1.0, 30.0, np.inf])
@pytest.mark.parametrize("mu", [1e-5, 0.03, 0.5, 0.99])
def test_quantiles_of_a_beta_binomial(mu, sigma, n):
    law = beta_binomial(mu, 1 - mu, sigma, n)
    assert law.ppf(LEVELS).tolist() == brute(law, n)


@pytest.mark.parametrize("alpha", [0.0, 1e-9, 0.2, 3.0])
@pytest.mark.parametrize("mu", [1e-4, 0.7, 12.0, 150.0])
def test_quantiles_of_a_negative_binomial(mu, alpha):
    law = negative_binomial(mu, alpha)
    highest = int(law.mean() + 40 * law.std()) + 20
    assert law.ppf(LEVELS).tolist() == brute(law, highest)


@pytest.mark.parametrize("sigma", [1e-6, 1e-3, 0.2])
def test_quantiles_of_long_counts_agree_with_their_distribution_function(sigma):
    # some by tails, some by Newton's steps, as their standard deviation says
    n = np.array([1e3, 2e4, 1e6, 1e8])
    law = beta_binomial(0.3, 0.7, sigma, n)
    for q in (0.025, 0.6, 0.999):
        k = law.ppf(q)
        assert np.all(law.cdf(k) >= q)
        assert np.all(law.cdf(k - 1) < q)


WIDE = [0.005, 0.025, 0.3, 0.975, 0.995]


def summed(law, highest):
    """Return the least count with cdf >= q for every level, by sums from the nearer end."""
    p = law.pmf(np.arange(highest + 1.0))
    cdf, above = np.cumsum(p), np.append(np.cumsum(p[:0:-1])[::-1], 0.0)
    return [int(np.argmax(cdf >= q if q < 0.5 else above <= 1 - q)) for q in WIDE]


@pytest.mark.parametrize("n", [1_000, 12_345, 100_000])
@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1e-4, 1e-3, 0.02, 0.2, 0.9, 2.0])
def test_quantiles_of_many_trials_are_those_of_sums(sigma, n):
    # U- and J-shaped ones and nearly binomial ones too
    for mu in (0.001, 0.03, 0.5, 0.9, 0.999):
        law = beta_binomial(mu, 1 - mu, sigma, n)
        assert law.ppf(WIDE).tolist() == summed(law, n)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-3, 0.05, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("mu", [1e3, 5e3])
def test_quantiles_of_large_counts_are_those_of_sums(mu, alpha):
    law = negative_binomial(mu, alpha)
    highest = int(law.mean() + 12 * law.std() + 30 * alpha * mu)
    assert law.ppf(WIDE).tolist() == summed(law, highest)


@pytest.mark.parametrize("alpha", [0.0, 1e-5, 0.3, 2.0])
def test_quantiles_of_very_large_counts_agree_with_their_distribution_function(alpha):
    law = negative_binomial(np.array([1e5, 1e6, 3e7]), alpha)
    for q in (0.025, 0.4, 0.975):
        k = law.ppf(q)
        assert np.all(law.cdf(k) >= q)
        assert np.all(law.cdf(k - 1) < q)


@pytest.mark.parametrize("n", [1235, 12_345, 99_999])
def test_the_median_of_a_symmetric_count_is_a_tie(n):
    sigma = np.array([0.0, 1e-6, 1e-3, 0.02, 0.9, 2.0])
    assert_array_equal(beta_binomial(0.5, 0.5, sigma, n).ppf(0.5), (n - 1) / 2)


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 0.05, 0.9])
def test_quantiles_of_wide_counts_need_few_sums(spread, monkeypatch):
    # the distribution function decides only where a quantile is nearly between two counts
    mu = np.linspace(0.2, 0.8, 2000)
    laws = beta_binomial(mu, 1 - mu, spread, 50_000), negative_binomial(1e5 * mu, spread)
    for law in laws:
        rows, plain = [], type(law.dist)._cdf

        def cdf(self, k, *parameters, rows=rows, plain=plain):
            rows.append(np.size(k))
            return plain(self, k, *parameters)

        with monkeypatch.context() as patch:
            patch.setattr(type(law.dist), "_cdf", cdf)
            law.ppf(0.025)
        assert sum(rows) < 0.1 * len(mu)


def test_what_tails_cannot_sum_goes_by_newton(monkeypatch):
    law = beta_binomial(np.full(3, 0.3), np.full(3, 0.7), np.full(3, 0.1), np.array([90, 800, 7e3]))
    by_tails = law.ppf(0.975)
    monkeypatch.setattr(quantiles, "MAX_TERMS", 2)
    assert_array_equal(law.ppf(0.975), by_tails)


def test_equal_rows_have_their_quantiles_computed_once(monkeypatch):
    data = pd.DataFrame({"K": [1, 15, 19, 2] * 600, "N": 20, "g": ["a", "a", "b", "b"] * 600})
    res, seen = hmf.betabinomial("K + I(N - K) ~ g | g", data).fit(), []
    plain = type(beta_binomial)._ppf

    def ppf(self, q, *parameters):
        seen.append(np.size(q))
        return plain(self, q, *parameters)

    prediction = res.get_prediction()
    monkeypatch.setattr(type(beta_binomial), "_ppf", ppf)
    frame = prediction.summary_frame()
    assert max(seen) == 2
    assert frame.drop_duplicates().shape[0] == 2
    assert_array_equal(frame.iloc[:4], res.get_prediction(data.head(4)).summary_frame())


def test_rows_at_the_boundary_and_missing_rows():
    data = pd.DataFrame({"K": [5] * 8 + [1, 9] * 4, "N": 10, "g": ["a"] * 8 + ["b"] * 8})
    with pytest.warns(het.exceptions.BoundaryWarning):
        res = hmf.betabinomial("K + I(N - K) ~ 1 | g", data).fit()
    new = pd.DataFrame({"g": ["a", "b", None], "N": 10, "K": 0})
    frame = res.get_prediction(new).summary_frame()
    ends = frame[["obs_ci_lower", "obs_ci_upper"]]
    assert ends.iloc[2].isna().all()
    assert 0 <= ends.iloc[1, 0] < ends.iloc[0, 0] < ends.iloc[0, 1] < ends.iloc[1, 1] <= 10


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.exact])
def test_nothing_of_the_observation_is_computed_before_it_is_asked_for(name, monkeypatch):
    case = CASES[name]
    res = case.formula("x | z", simulated().head(60)).fit()
    monkeypatch.setattr(type(res.model.core.family), "distribution", None)
    res.get_prediction().conf_int()
