"""Residuals against definitions and mpmath, and the tests that simulation makes of them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import CASES, fitted, simulated
from multiprecision import tails as exact
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.diagnostics import residuals
from hetglm.exceptions import BoundaryWarning
from hetglm.families.betabinomial import beta_binomial
from hetglm.families.negbin import negative_binomial
from hetglm.families.tails import Tails, tails
from hetglm.families.tails import normal_scores as scores
from hetglm.families.tweedie import CompoundPoissonGamma

EXACT = [name for name, case in CASES.items() if case.exact]
CONTINUOUS = ["gaussian", "gamma", "inverse-gaussian"]
COUNTS = ["beta-binomial", "nb2"]

#: Relative error of a log probability: of a sum for the tail cut at e^-45 of the whole, read down to
#: e^-30, and of integrals beyond.
LOG_TAIL = 1e-6
#: The same where scipy has the tail itself, or it is summed.
ROUNDING = 1e-10
#: A fit of the same data in another form.
AT_MAXIMUM = 1e-5
#: P below which a test of a right sample fails: once in 10^4 runs of fixed seed, so never.
IMPROBABLE = 1e-4


# ---- tails -----------------------------------------------------------------------------------------


def one(value):
    return np.array([float(value)])


def close_tails(found, below, above, rtol):
    """Compare logarithms; where the probability is next to 1, what is left of them."""
    assert_allclose(found.below[0], below, rtol=rtol, atol=1e-13)
    assert_allclose(found.above[0], above, rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("phi", [0.01, 3.0])
@pytest.mark.parametrize("y", [1e-8, 0.05, 1.1, 50.0, 2000.0])
def test_tails_of_the_gamma(phi, y):
    found = tails(stats.gamma(one(1 / phi), scale=one(phi)), one(y))
    close_tails(found, *exact.gamma(phi, y), ROUNDING)


@pytest.mark.parametrize("y", [1e-4, 0.01, 0.9, 30.0, 4000.0])
def test_tails_of_the_inverse_gaussian(y):
    mu, phi = 1.5, 0.4
    found = tails(stats.invgauss(one(mu * phi), scale=one(1 / phi)), one(y))
    close_tails(found, *exact.inverse_gaussian(mu, phi, y), LOG_TAIL)


@pytest.mark.parametrize(("mu", "alpha"), [(3.0, 0.5), (100.0, 0.01), (3.0, 0.0), (1000.0, 0.0)])
@pytest.mark.parametrize("y", [0, 5, 300, 3000])
def test_tails_of_the_negative_binomial(mu, alpha, y):
    below, above, at = exact.negative_binomial(mu, alpha, y)
    found = tails(negative_binomial(one(mu), one(alpha)), one(y))
    close_tails(found, below, above, ROUNDING)
    assert_allclose(found.at[0], at, rtol=ROUNDING)


@pytest.mark.parametrize(("sigma", "n"), [(0.0, 3000), (1e-4, 3000), (0.2, 40)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.75, 1.0])
def test_tails_of_the_beta_binomial(sigma, n, share):
    mu, y = 0.3, int(share * n)
    frozen = beta_binomial(one(mu), one(1 - mu), one(sigma), one(n))
    close_tails(tails(frozen, one(y)), *exact.beta_binomial(mu, sigma, n, y), 1e-9)


@pytest.mark.parametrize(
    ("phi", "y"),
    [
        *((0.8, y) for y in (0.0, 1e-6, 0.3, 4.0, 40.0, 900.0)),
        *((0.002, y) for y in (0.0, 1e-6, 0.3, 4.0)),
    ],
)
def test_tails_of_the_tweedie(phi, y):
    below, above, none = exact.tweedie(1.2, phi, y)
    found = tails(CompoundPoissonGamma(1.5)(one(1.2), one(phi)), one(y))
    close_tails(found, below, above, LOG_TAIL)
    assert_allclose(found.at[0], none if y == 0 else -np.inf)


def test_scores_take_the_tail_they_are_in():
    frozen = stats.norm(np.zeros(4), np.ones(4))
    found = tails(frozen, np.array([-60.0, -1.0, 9.0, 300.0]))
    assert_allclose(scores(found, np.full(4, 0.5)), [-60, -1, 9, 300], rtol=1e-12)


def test_scores_split_a_jump():
    found = Tails(*np.log([[0.2, 0.2], [0.6, 0.6], [0.2, 0.2]]))
    assert_allclose(scores(found, np.array([0.1, 0.9])), ndtri([0.26, 0.74]), rtol=1e-12)
    wide = Tails(*np.log([[1e-300], [1 - 1e-300], [1e-300]]))
    assert np.isfinite(scores(wide, np.array([0.0]))).all()


# ---- quantile residuals ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTINUOUS)
def test_of_a_continuous_response_they_are_exact(name):
    res = fitted(name)
    expected = ndtri(res.get_distribution().cdf(res.model.endog))
    found = res.get_resid("quantile")
    assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    assert_array_equal(found, res.get_resid("quantile", rng=1))  # nothing is drawn
    assert found.index.equals(res.fittedvalues.index)
    if name == "gaussian":
        assert_allclose(found, res.resid_pearson, rtol=1e-12)


@pytest.mark.parametrize("name", COUNTS)
def test_of_counts_they_lie_within_the_jump(name):
    res = fitted(name)
    y, law = res.model.core.y, res.get_distribution()
    low, high = ndtri(law.cdf(y - 1)), ndtri(law.cdf(y))
    draws = np.array([res.get_resid("quantile", rng=rng) for rng in range(60)])
    assert np.all((draws > low - 1e-9) & (draws < high + 1e-9))
    # uniform between: each third of the jump gets a third of the draws
    place = (stats.norm.cdf(draws) - law.cdf(y - 1)) / law.pmf(y)
    assert stats.kstest(place.ravel(), "uniform").pvalue > IMPROBABLE
    assert_array_equal(draws[3], res.get_resid("quantile", rng=np.random.default_rng(3)))


def claims():
    """Return a Tweedie fit a third of whose responses are 0."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=150)
    mu, number = np.exp(0.3 * x), rng.poisson(1.1, size=150)
    y = (number > 0) * rng.gamma(np.maximum(number, 1)) * mu
    return hmf.doubleglm("y ~ x", {"y": y, "x": x}, **CASES["tweedie-exact"].kwargs).fit()


def test_of_the_tweedie_the_zeros_are_randomised_alone():
    res = claims()
    a, b = (res.get_resid(rng=rng) for rng in (1, 2))
    zero = res.model.endog == 0
    assert 5 < zero.sum() < 100
    assert_array_equal(a != b, zero)
    assert np.all(a[zero] < ndtri(res.get_distribution().pdf(0.0)[zero]))


@pytest.mark.parametrize("name", EXACT)
def test_they_are_normal_under_the_model(name):
    res = fitted(name)
    core, params = res.model.core, res.fit.internal
    rng = np.random.default_rng(5)
    draws = res.simulate(20, rng=rng)
    r = np.concatenate([residuals.quantile(core.with_response(y), params, rng) for y in draws])
    assert stats.kstest(r, "norm").pvalue > IMPROBABLE
    for power, moment in ((2, 1), (4, 3)):
        spread = np.sqrt((moment * (4, 105 / 3)[power > 2] - moment**2) / len(r)) + 1e-9
        assert abs(np.mean(r**power) - moment) < 5 * spread


@pytest.mark.parametrize("name", EXACT)
def test_extreme_rows_are_finite_and_ordered(name):
    res = fitted(name)
    core, params = res.model.core, res.fit.internal
    far = (1e3, 1e4) if name != "beta-binomial" else (0.98, 1.0)
    trials = np.full(core.n, 1e4) if core.trials is not None else None
    rng = np.random.default_rng(0)
    found = []
    for times in far:
        away = res.fittedvalues + times * res.predict(which="sd")
        y = np.round(times * trials if trials is not None else np.asarray(away))
        changed = replace(core, y=y, trials=trials, rows=None)
        found.append(residuals.quantile(changed, params, rng))
    assert np.isfinite(found).all()
    assert np.all(np.abs(found[1]) > np.abs(found[0]))
    if name != "beta-binomial":
        assert np.all(np.abs(found[0]) > 20)


def test_quasi_likelihood_has_none(quasi):
    for call in (quasi.get_resid, quasi.simulate_residuals):
        with pytest.raises(NotImplementedError, match=r"is not a distribution.*use "):
            call()
    with pytest.raises(NotImplementedError, match="kind='standardized-deviance'"):
        quasi.get_resid("quantile")


def at_boundary():
    """Return a fit with a cell that is not even binomially variable."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"cell": np.repeat([0.0, 1.0], 30), "n": 20})
    p = np.where(data["cell"] == 1, rng.beta(2, 2, size=60), 0.5)
    data["y"] = rng.binomial(20, p)
    data.loc[data["cell"] == 0, "y"] = 10
    with pytest.warns(BoundaryWarning):
        return het.BetaBinomial.from_formula("y + I(n - y) ~ 1 | cell", data).fit()


def test_at_the_boundary_they_are_the_binomials():
    res = at_boundary()
    r = res.get_resid(rng=1)
    law = stats.binom(20, res.fittedvalues.iloc[0])
    assert np.all((r[:30] > ndtri(law.cdf(9))) & (r[:30] < ndtri(law.cdf(10))))
    assert np.isfinite(r).all()
    assert np.isfinite(res.get_resid("deviance")).all()
    assert res.get_resid("dispersion")[:30].isna().all()


# ---- weights and offsets ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTINUOUS)
def test_weights_and_offsets_enter(name):
    data = simulated().copy()
    data["shift"] = -np.log(data["w"])
    weighted = CASES[name].formula(data=data, var_weights="w").fit()
    shifted = CASES[name].formula(data=data, offset_dispersion="shift").fit()
    for kind in ("quantile", "deviance", "standardized", "dispersion"):
        assert_allclose(weighted.get_resid(kind), shifted.get_resid(kind), atol=AT_MAXIMUM)
    repeated = CASES[name].formula(data=data.loc[data.index.repeat(data["w"])]).fit()
    counted = CASES[name].formula(data=data, freq_weights="w").fit()
    for kind in ("quantile", "deviance", "standardized"):
        expected = np.repeat(counted.get_resid(kind).to_numpy(), data["w"])
        assert_allclose(repeated.get_resid(kind), expected, atol=AT_MAXIMUM)


# ---- the others ------------------------------------------------------------------------------------


def test_the_face(res):
    influence = res.get_influence()
    expected = {
        "response": res.resid,
        "pearson": res.resid_pearson,
        "deviance": res.resid_deviance,
        "dispersion": res.resid_dispersion,
        "standardized": influence.resid_studentized,
        "standardized-deviance": influence.resid_studentized_deviance,
        "standardized-dispersion": influence.resid_studentized_dispersion,
    }
    for kind, values in expected.items():
        found = res.get_resid(kind)
        assert isinstance(found, pd.Series)
        assert_array_equal(found, values)
        assert np.isfinite(found).all()
    assert_array_equal(res.resid_response, res.resid)
    with pytest.raises(ValueError, match=r"kind='working'.*'quantile', 'response'"):
        res.get_resid("working")
    with pytest.raises(ValueError, match="rng"):
        res.get_resid("quantile", rng="1")


def test_arrays_and_removed_data(data):
    X = np.column_stack([np.ones(120), data["x"]])
    res = het.DoubleGLM(data["gaussian"].to_numpy(), X, X).fit()
    assert isinstance(res.get_resid(), np.ndarray)
    res.remove_data()
    with pytest.raises(ValueError, match="data were removed"):
        res.get_resid()


def test_deviance_residuals_of_the_negative_binomial():
    res = fitted("nb2")
    y, mu = res.model.endog, res.fittedvalues.to_numpy()
    a = res.fitted_dispersion.to_numpy()
    part = np.where(y > 0, y * np.log(np.maximum(y, 1) / mu), 0)
    d = 2 * (part - (y + 1 / a) * np.log((1 + a * y) / (1 + a * mu)))
    assert_allclose(res.resid_deviance, np.sign(y - mu) * np.sqrt(d), rtol=1e-6, atol=1e-7)


def test_deviance_residuals_of_the_beta_binomial():
    res = fitted("beta-binomial")
    core, found = res.model.core, res.resid_deviance.to_numpy()
    law, sigma = res.get_distribution(), res.fitted_dispersion.to_numpy()
    assert_array_equal(np.sign(found), np.sign(res.resid.to_numpy()))
    for i in range(0, 120, 7):
        n, y, s = core.trials[i], core.y[i], sigma[i]

        def minus(m, n=n, y=y, s=s):
            return -stats.betabinom.logpmf(y, n, m / s, (1 - m) / s)

        best = minimize_scalar(
            minus, bounds=(1e-9, 1 - 1e-9), method="bounded", options={"xatol": 1e-9}
        )
        gain = 2 * (law.logpmf(core.y)[i] + best.fun)
        assert_allclose(found[i] ** 2, -gain, rtol=1e-4, atol=1e-6)


# ---- by simulation ---------------------------------------------------------------------------------


@pytest.mark.thorough
def test_scaled_residuals_are_places_among_simulated_responses():
    res = fitted("nb2", "x | z")
    found = res.simulate_residuals(100, rng=3, refit=False)
    u = stats.norm.cdf(res.get_resid(rng=1))
    assert found.scaled.shape == (120,)
    assert_array_equal(found.rows, np.arange(120))
    law, y = res.get_distribution(), res.model.endog
    # within the jump but for the noise of 100 draws
    assert np.all(found.scaled > law.cdf(y - 1) - 0.2)
    assert np.all(found.scaled < law.cdf(y) + 0.2)
    assert np.corrcoef(found.scaled, u)[0, 1] > 0.9
    again = res.simulate_residuals(100, rng=3, refit=False)
    assert_array_equal(found.scaled, again.scaled)
    assert_array_equal(found.simulated, again.simulated)
    assert found.simulated.shape == (100, 4)


@pytest.mark.thorough
def test_the_table_of_tests():
    res = claims()
    found = res.simulate_residuals(39, rng=1)
    frame = found.summary_frame()
    assert frame.index.tolist() == ["uniformity", "dispersion", "outliers", "zeros"]
    assert frame.columns.tolist() == ["statistic", "expected", "alternative", "P"]
    assert frame.loc["zeros", "statistic"] == np.sum(res.model.endog == 0) > 10
    k = np.sum(found.simulated[:, 0] >= found.statistics[0])
    assert frame.loc["uniformity", "P"] == (1 + k) / 40
    assert np.all(frame["P"] > 0.02)
    assert found.failed == 0
    assert "39 simulations, each with a refit" in str(found)
    assert "zeros" in str(found)


def test_two_sided_p_counts_both_sides():
    found = fitted("gaussian", "x | z").simulate_residuals(19, rng=1, refit=False)
    assert np.isnan(found.pvalues[3])  # no probability of a zero
    simulated = np.column_stack([np.arange(19.0)] * 4)
    for value, both in ((-1.0, 0.1), (18.0, 0.2), (9.0, 1.0), (99.0, 0.1)):
        changed = replace(found, simulated=simulated, statistics=np.full(4, value))
        assert_allclose(changed.pvalues[[1, 3]], both)
        above = (1 + np.sum(simulated[:, 0] >= value)) / 20
        assert_allclose(changed.pvalues[[0, 2]], above)


def planted(fault, n=300):
    """Return a fit whose model misses what the data have."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=n)
    mu = np.exp(1 + 0.3 * x)
    data = pd.DataFrame({"x": x, "cell": np.arange(n) % 2})
    if fault == "zeros":
        counts = rng.poisson(mu * rng.gamma(4, 0.25, size=n) * 2)
        data["y"] = np.where(rng.uniform(size=n) < 0.25, 0, counts)
        return hmf.negativebinomial("y ~ x", data).fit()
    if fault == "dispersion":
        data["y"] = mu + np.where(data["cell"], 3.0, 0.7) * rng.normal(size=n)
    elif fault == "outliers":
        data["y"] = mu + rng.normal(size=n)
        data.loc[7, "y"] += 8
    else:
        data["y"] = mu + rng.gamma(1.5, size=n)
    return hmf.doubleglm("y ~ x | x", data).fit()


@pytest.mark.parametrize("fault", ["uniformity", "dispersion", "outliers", "zeros"])
def test_planted_faults_are_found(fault):
    found = planted(fault).simulate_residuals(59, rng=2)
    assert found.summary_frame().loc[fault, "P"] <= 2 / 60 + 1e-12
    if fault == "outliers":
        assert 7 in found.outliers


def test_rows_of_a_frequency_are_so_many():
    data = simulated()
    res = CASES["nb2"].formula("x | 1", data, freq_weights="w").fit()
    found = res.simulate_residuals(30, rng=1)
    assert_array_equal(found.rows, np.repeat(np.arange(120), data["w"]))
    assert found.statistics[3] == data["w"] @ (data["count"] == 0)
    halves = CASES["nb2"].formula("x | 1", data.assign(w=1.5), freq_weights="w").fit()
    with pytest.raises(ValueError, match="whole numbers"):
        halves.simulate_residuals(5)


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
def test_simulation_at_the_boundary_and_after_reml():
    found = at_boundary().simulate_residuals(19, rng=1)
    assert np.isfinite(found.simulated).all()
    reml = CASES["gaussian"].formula("x | z").fit(reml=True)
    assert np.isfinite(reml.simulate_residuals(9, rng=1).simulated[:, :3]).all()


@pytest.mark.thorough
def test_the_global_generator_is_left_alone():
    np.random.seed(1)  # noqa: NPY002
    before = json.dumps([int(v) for v in np.random.get_state()[1]])  # noqa: NPY002
    res = fitted("nb2")
    res.get_resid()
    res.simulate_residuals(5)
    assert before == json.dumps([int(v) for v in np.random.get_state()[1]])  # noqa: NPY002


def test_arguments_are_checked():
    res = fitted("gaussian")
    for kwargs in ({"nsim": 0}, {"refit": "yes"}, {"rng": 1.5}, {"n_jobs": 0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            res.simulate_residuals(**{"nsim": 5, **kwargs})


#: Data sets of the slow test (fewer where one takes seconds), and how many standard errors a share of
#: 5 % of them may be away.
SETS, FAR = {"gaussian": 300, "gamma": 300, "tweedie-exact": 100}, 3.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
@pytest.mark.parametrize("name", ["gaussian", "gamma", "tweedie-exact", "beta-binomial", "nb2"])
def test_sizes(name):
    # 79 simulations: P <= 0.05 has probability 4/80 (one-sided), 2 (1/40) (two-sided) exactly
    res, sets = claims() if name == "tweedie-exact" else fitted(name, "x | z"), SETS.get(name, 150)
    rng = np.random.default_rng(17)
    rejected = np.zeros(4)
    for y in res.simulate(sets, rng=rng):
        found = res.model.clone(endog=y).fit().simulate_residuals(79, rng=rng)
        rejected += found.pvalues <= 0.05
    share, far = rejected / sets, FAR * np.sqrt(0.05 * 0.95 / sets)
    print(name, sets, share)
    assert np.all(np.abs(share[:3] - 0.05) < far)
    if name in ("tweedie-exact", "nb2", "beta-binomial"):  # a number of zeros has ties
        assert share[3] < 0.05 + far
