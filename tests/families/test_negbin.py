"""Negative binomial: accuracy at every scale, the Poisson boundary, peers and random problems."""

from __future__ import annotations

import pickle
import warnings
from functools import partial
from pathlib import Path

import corpus
import mpmath as mp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from multiprecision.negbin import terms
from numpy.testing import assert_allclose
from quick import thorough
from scipy import optimize, special, stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import BoundaryWarning, SeparationWarning
from hetglm.families import negbin
from hetglm.families.negbin import bulk, negative_binomial, sum_over_counts
from hetglm.families.special.negbin import MAX_FEW, N_BLOCK_ROWS, log_factors, log_probability

REFERENCE = Path(__file__).parents[1] / "reference"
FAMILY = negbin.NegativeBinomial()
#: What the family promises: values relative to max(1, value), derivatives relative to the larger of
#: themselves and their expected size.
VALUE, SLOPE = 1e-12, 1e-9
#: Sums over counts against brute force.
SUM = 1e-11
#: Same numbers from another parametrisation of one maximum.
SAME = 1e-6
#: No source may beat us.
MAXIMUM = 1e-8
LINKS = sm.families.links


# ---- the kernel --------------------------------------------------------------------------------


def kernel_points(seed, n):
    """Return counts, means and dispersions over all scales, likely and absurd, corners included."""
    rng = np.random.default_rng(seed)
    mu, a = 10 ** rng.uniform(-12, 12, n), 10 ** rng.uniform(-18, 8, n)
    a[: n // 8] = 0.0
    rng.shuffle(a)
    shape = 1 / np.clip(a, 1e-6, 1e4)
    likely = rng.poisson(np.minimum(mu * rng.gamma(shape, 1 / shape), 1e9))
    kinds = [likely, rng.integers(0, 2 * MAX_FEW, n), np.floor(10 ** rng.uniform(-0.5, 9, n))]
    y = np.choose(rng.integers(0, 4, n), [*kinds, likely]).astype(float)
    # means at and next to the count, where the deviance vanishes
    close = rng.random(n) < 0.2
    gap = 1 + rng.choice([0, 1e-9, 1e-4, -0.1, 0.1], n)
    return y, np.where(close, np.maximum(y, 1) * gap, mu), a


@pytest.mark.parametrize("seed", range(4))
def test_kernel_at_every_scale(seed):
    y, mu, a = kernel_points(seed, 150)
    out = log_probability(y, mu, a, 2)
    out[0] += log_factors(y)
    mm, _, pp = FAMILY.expected_hessian(FAMILY.prepare(y, None), mu, None, a)
    for i in range(len(y)):
        value, slope, bend = terms(float(y[i]), float(mu[i]), float(a[i]))
        m, r = mp.mpf(mu[i]), mp.mpf(y[i]) - mp.mpf(mu[i])
        c = 1 + mp.mpf(a[i]) * m
        score, cross = r / (m * c), -r / c**2
        curve = mp.mpf(a[i]) / c**2 - y[i] * (1 + 2 * mp.mpf(a[i]) * m) / (m * c) ** 2
        sd_mu, sd_a = mp.sqrt(-mm[i]), mp.sqrt(-pp[i])
        where = (y[i], mu[i], a[i])
        assert abs(out[0, i] - value) <= VALUE * max(1, abs(value)), where
        units = (sd_mu, sd_a, sd_mu**2, sd_mu * sd_a, sd_a**2)
        expected = (score, slope, curve, cross, bend)
        for got, true, unit in zip(out[1:, i], expected, units, strict=True):
            assert abs(got - true) <= SLOPE * max(abs(true), unit), where


def test_rows_are_evaluated_on_their_own():
    points = kernel_points(9, 150)
    one, many = (log_probability(*(np.tile(p, k) for p in points), 2) for k in (1, 60))
    assert many.shape[1] > N_BLOCK_ROWS
    assert np.array_equal(many, np.tile(one, 60), equal_nan=True)
    alone = [log_probability(*(p[i : i + 1] for p in points), 2) for i in range(150)]
    assert_allclose(np.hstack(alone), one, rtol=1e-13)


def test_far_out_is_finite():
    """Nothing over- or underflows, and rows that end at infinite dispersion stay there."""
    y = np.array([0.0, 0, 0, 1, 1e15, 3, 50])
    mu = np.array([1e-300, 1e300, 5, 1e-300, 1e15, 1e200, 4.0])
    a = np.array([1e300, 1e300, np.inf, 1e-300, 1e-30, 1e90, 1e99])
    got = FAMILY.evaluate(FAMILY.prepare(y, None), mu, None, a)
    assert all(np.isfinite(part).all() for part in vars(got).values())
    assert_allclose(got.loglike[:3], 0, atol=1e-90)
    assert got.phi[1] == got.phi_phi[1] == 0
    zero = FAMILY.evaluate(FAMILY.prepare(np.array([0.0, 2]), None), np.full(2, 3.0), None, a[2:4])
    assert zero.loglike[0] == pytest.approx(0, abs=1e-90)
    at_end = FAMILY.evaluate(FAMILY.prepare(y[3:4], None), mu[2:3], None, a[2:3], 0)
    assert at_end.loglike[0] == -np.inf


@pytest.mark.parametrize("zeta", [-800.0, 240.0, 400.0, 800.0])
def test_derivatives_at_coefficients_that_run_off(zeta):
    """The square of a large alpha overflowed, and an infinite one times zero."""
    y, z = np.array([0.0, 0, 2, 1]), np.array([1.0, 1, 0, 0])
    model = het.NegativeBinomial(y, np.ones(4), np.column_stack([z, 1 - z]))
    far, rest = (model.clone(rows=rows) for rows in ([0, 1], [2, 3]))
    params = np.array([0.3, zeta, 0.1])
    for name in ("score", "hessian"):
        total = getattr(model, name)(params)
        assert np.isfinite(total).all()
        # at infinite alpha zeros say nothing, at none what the Poisson does
        assert_allclose(total[..., 1], 0, atol=1e-90)
        limit = {"score": -2 * np.exp(0.3), "hessian": -2 * np.exp(0.3)}[name] * (zeta < 0)
        assert_allclose(np.ravel(getattr(far, name)(params))[0], limit, atol=1e-90)
        assert_allclose(total - getattr(far, name)(params), getattr(rest, name)(params), rtol=1e-9)


def test_poisson_at_zero_dispersion():
    y = np.array([0.0, 1, 3, 12, 13, 40, 1000])
    mu = np.array([0.3, 1, 5, 9, 13, 44, 1010.0])
    rows = FAMILY.prepare(y, None)
    limit, near = (FAMILY.evaluate(rows, mu, None, np.full(7, a)) for a in (0.0, 1e-16))
    assert_allclose(limit.loglike, stats.poisson.logpmf(y, mu), rtol=1e-12)
    assert_allclose(limit.phi, ((y - mu) ** 2 - y) / 2, rtol=1e-12)
    for part, value in vars(limit).items():
        assert_allclose(getattr(near, part), value, rtol=1e-8, atol=1e-15, err_msg=part)


# ---- sums over counts, the distribution --------------------------------------------------------


@pytest.mark.parametrize("mu", [1e-12, 1e-3, 0.3, 7.0, 300.0, 1e4])
@pytest.mark.parametrize("a", [0.0, 1e-18, 1e-3, 0.2, 5.0, 1e3, 1e8])
def test_expected_information_by_summation(mu, a):
    low, high = bulk(np.array([mu]), np.array([a]))
    if high[0] > 3e5:
        # most of it is in few counts, and those beyond fall off like 1/y
        high[0] = 3e5
    y = np.arange(high[0] * 1.1 + 100)
    value, _, score = log_probability(y, np.full(y.shape, mu), np.full(y.shape, a), 1)
    brute = np.exp(value + log_factors(y)) @ (score * score)

    def squared(y, mu, a):
        value, _, score = log_probability(y, mu, a, 1)
        return value + log_factors(y), score * score

    mu, a = np.array([mu]), np.array([a])
    assert_allclose(sum_over_counts(mu, a, low * 0, y[-1:], squared), brute, rtol=SUM)
    if high[0] < 3e5:
        pp = FAMILY.expected_hessian(FAMILY.prepare(np.ones(1), None), mu, None, a)[2]
        assert_allclose(-pp, brute, rtol=SUM)


@pytest.mark.parametrize("a", [0.0, 1e-9, 0.05, 2.0, 40.0])
def test_distribution(a):
    mu = np.array([0.01, 3.0, 80.0, 5e4])
    peer = stats.nbinom(1 / a, 1 / (1 + a * mu)) if a > 1e-6 else stats.poisson(mu)
    ours = negative_binomial(mu, a)
    close = 1e-9 if a > 1e-6 or a == 0 else 1e-3
    for q in (1e-8, 0.02, 0.5, 0.98, 1 - 1e-8):
        k = peer.ppf(q)
        assert_allclose(ours.cdf(k), peer.cdf(k), rtol=close)
        assert_allclose(ours.sf(k), peer.sf(k), rtol=close)
        assert_allclose(ours.cdf(k) + ours.sf(k), 1, rtol=1e-12)
        found = ours.ppf(q)
        assert (ours.cdf(found) >= q).all()
        assert (ours.cdf(found - 1) < q).all()
    draws = ours.rvs(size=(40_000, 4), random_state=2)
    error = np.sqrt(ours.var() / len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - mu) < 4.5 * error)


def test_quantiles_do_not_trust_a_first_guess(monkeypatch):
    law, q = negative_binomial(np.array([0.01, 3.0, 80.0, 5e4]), 0.3), [[0.01], [0.5], [0.999]]
    expected = law.ppf(q)
    for guess in (np.nan, 0.0, 1e9, 40.0):
        monkeypatch.setattr(special, "nbdtrik", lambda q, *shapes, guess=guess: 0 * q + guess)
        assert np.array_equal(law.ppf(q), expected)


@pytest.mark.thorough
def test_tails_of_the_distribution():
    assert_allclose(
        negative_binomial(10.0, 0.1).sf([300, 1000]),
        stats.nbinom.sf([300, 1000], 10, 0.5),
        rtol=1e-10,
    )
    assert_allclose(negative_binomial(1e4, 0.0).cdf(7000), stats.poisson.cdf(7000, 1e4), rtol=1e-9)
    end = negative_binomial(5.0, np.inf)
    assert end.pmf([0, 1]).tolist() == [1, 0]
    assert end.ppf(0.9) == 0
    assert not end.rvs(size=9, random_state=1).any()


# ---- peers -------------------------------------------------------------------------------------


def salamanders():
    data = pd.read_csv(REFERENCE / "data" / "salamanders.csv")
    spp = pd.Categorical(data["spp"], data["spp"].unique())
    return data.assign(spp=spp, mined=pd.Categorical(data["mined"], ["yes", "no"]))


def test_constant_alpha_is_that_of_statsmodels():
    data = pd.read_csv(REFERENCE / "data" / "biochemists.csv")
    res = hmf.negativebinomial("art ~ fem + ment", data).fit()
    peer = sm.NegativeBinomial.from_formula("art ~ fem + ment", data).fit(
        disp=0, method="newton", tol=1e-12
    )
    assert_allclose(np.exp(res.params.iloc[-1]), peer.params.iloc[-1], rtol=1e-5)
    assert_allclose(res.params.iloc[:-1], peer.params.iloc[:-1], rtol=1e-4)
    assert -1e-9 < res.llf - peer.llf < 1e-6


# ---- links, offsets, weights -------------------------------------------------------------------


@pytest.mark.parametrize("link", [LINKS.Log(), LINKS.Sqrt(), LINKS.Identity(), LINKS.Power(0.4)])
def test_links_of_the_mean(link):
    """Means in two cells are free with any link, so the maxima are the same."""
    data = salamanders()
    res = hmf.negativebinomial("count ~ mined | mined", data, link=link).fit()
    log = hmf.negativebinomial("count ~ mined | mined", data).fit()
    assert res.llf == pytest.approx(log.llf, abs=1e-9)
    assert_allclose(res.fittedvalues, log.fittedvalues, rtol=SAME)
    assert_allclose(
        res.get_prediction(which="var").se, log.get_prediction(which="var").se, rtol=1e-5
    )


def test_exposure_and_offsets():
    data = salamanders().assign(effort=lambda d: np.where(d["mined"] == "no", 2.0, 1.0))
    data["shift"] = np.log(data["effort"])
    plain = hmf.negativebinomial("count ~ mined | mined", data).fit()
    res = hmf.negativebinomial(
        "count ~ mined | mined", data, exposure="effort", offset_dispersion="shift"
    ).fit()
    shift = np.array([0, np.log(2), 0, np.log(2)])
    assert_allclose(res.params + shift, plain.params, rtol=SAME, atol=SAME)
    assert res.llf == pytest.approx(plain.llf, abs=1e-9)
    new = data.iloc[[0, -1]]
    assert_allclose(res.predict(new, which="var"), plain.predict(new, which="var"), rtol=SAME)


def test_probabilities():
    res = hmf.negativebinomial("count ~ mined | mined", salamanders()).fit()
    table = res.predict(which="prob", y_values=np.arange(200))
    assert_allclose(table.sum(axis=1), 1, rtol=1e-9)
    assert_allclose(table @ np.arange(200), res.fittedvalues, rtol=1e-6)
    frame = res.get_prediction(which="prob", y_values=0).summary_frame()
    assert ((0 < frame["ci_lower"]) & (frame["ci_upper"] < 1)).all()
    with pytest.raises(ValueError, match="which='prob': pass y_values"):
        res.predict(which="prob")


# ---- the Poisson boundary ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed():
    """Cell a less variable than the Poisson, b and c overdispersed."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(list("abc"), 12), "x": rng.normal(size=36)})
    y = rng.poisson(6 * rng.gamma(1.5, 1 / 1.5, 36))
    return data.assign(y=np.where(data.g == "a", np.tile([6, 7], 6).repeat(3), y))


def fit(formula, data, **kwargs):
    with pytest.warns(BoundaryWarning):
        return hmf.negativebinomial(formula, data, **kwargs).fit()


def test_cell_at_the_boundary_is_a_poisson_one(mixed):
    res = fit("y ~ 0 + g | 0 + g", mixed)
    alone = hmf.negativebinomial("y ~ 0 + g | 0 + g", mixed[mixed.g != "a"]).fit()
    a = mixed[mixed.g == "a"]
    poisson = sm.GLM(a.y, np.ones(12), sm.families.Poisson()).fit()
    assert res.converged
    assert res.llf == pytest.approx(alone.llf + poisson.llf, abs=1e-8)
    assert res.params["g[a]"] == pytest.approx(poisson.params.iloc[0], rel=SAME)
    assert res.bse["g[a]"] == pytest.approx(poisson.bse.iloc[0], rel=SAME)
    others = ["g[b]", "g[c]", "dispersion-g[b]", "dispersion-g[c]"]
    assert_allclose(res.params[others], alone.params[others], rtol=SAME)
    assert_allclose(res.bse[others], alone.bse[others], rtol=SAME)
    lost = ["dispersion-g[a]"]
    assert res.boundary.terms == lost
    assert np.isnan(res.params[lost]).all()
    assert np.isnan(res.conf_int().loc[lost]).all(axis=None)
    rows = (mixed.g == "a").to_numpy()
    assert np.array_equal(res.predict(which="dispersion") == 0, rows)
    assert_allclose(res.predict(which="var")[rows], res.fittedvalues[rows])
    prob = res.predict(which="prob", y_values=[7])[rows][7]
    assert_allclose(prob, stats.poisson.pmf(7, res.fittedvalues[rows]))
    again = pickle.loads(pickle.dumps(res))
    assert_allclose(
        again.predict(mixed.iloc[[0, 20]], which="var"), res.predict(which="var")[[0, 20]]
    )


def test_boundary_in_words_and_its_limit(mixed):
    res = fit("y ~ 1 | g", mixed)
    upper = res.boundary_limits().loc["Intercept", "upper"]

    def loglike(p):
        a = np.select([mixed.g == "a", mixed.g == "b"], [upper, np.exp(p[1])], np.exp(p[2]))
        rows = FAMILY.prepare(mixed.y.to_numpy(float), None)
        return FAMILY.evaluate(rows, np.full(36, np.exp(p[0])), None, a, 0).loglike.sum()

    best = optimize.minimize(lambda p: -loglike(p), [1.8, -1, -1], method="Nelder-Mead", tol=1e-10)
    assert 2 * (res.llf + best.fun) == pytest.approx(stats.chi2.isf(0.05, 1), abs=1e-5)
    text = " ".join(str(res.summary()).split())
    assert "no more variable than the Poisson" in text
    assert (
        "At the Poisson boundary: Intercept (12 rows): alpha = 0, 95 % profile interval up to "
        f"{upper:.4g}" in text
    )


def test_everything_at_the_boundary_is_a_poisson_glm(mixed):
    data = mixed[mixed.g == "a"]
    res = fit("y ~ x", data)
    glm = sm.GLM(data.y, sm.add_constant(data.x), sm.families.Poisson()).fit()
    assert res.llf == pytest.approx(glm.llf, abs=1e-9)
    assert_allclose(res.params_mean, glm.params, rtol=SAME)
    test = res.test_overdispersion()
    assert (test.statistic, test.pvalue) == (0, 1)
    assert test.score < 0


def test_a_small_dispersion_is_no_boundary():
    """A maximum at alpha = 9e-4 was held at 0 after three steps near it."""
    known = problem(74)
    res = het.NegativeBinomial(known.y, known.X, known.Z).fit()
    assert res.boundary is None
    assert res.llf == pytest.approx(-49.9199839, abs=1e-6)


def test_score_against_one_constant_alpha():
    """Dean and Lawless (1989): the sum of (y - mu)^2 - y over sqrt(2 sum mu^2)."""
    data = salamanders()
    res = hmf.negativebinomial("count ~ spp + mined | mined", data).fit()
    glm = sm.GLM.from_formula("count ~ spp + mined", data, family=sm.families.Poisson()).fit()
    y, mu = data["count"], glm.fittedvalues
    z = ((y - mu) ** 2 - y).sum() / np.sqrt(2 * (mu**2).sum())
    test = res.test_overdispersion()
    assert test.score == pytest.approx(z, rel=1e-6)
    constant = hmf.negativebinomial("count ~ spp + mined", data).fit()
    assert test.statistic == pytest.approx(2 * (constant.llf - glm.llf), rel=1e-7)
    assert test.pvalue == pytest.approx(0.5 * stats.chi2.sf(test.statistic, 1))
    cells = res.test_overdispersion("model")
    tail = 0.5 * stats.chi2.sf(cells.statistic, 1) + 0.25 * stats.chi2.sf(cells.statistic, 2)
    assert cells.pvalue == pytest.approx(tail)


def test_cell_of_zeros_has_infinite_dispersion(mixed):
    data = mixed.assign(y=np.where(mixed.g == "c", 0, mixed.y))
    res = fit("y ~ x | 0 + g", data)
    assert "infinite in rows 24, 25" in res.notes[1]
    assert "these rows are all zero" in res.notes[1]
    rest = fit("y ~ x | 0 + g", data.iloc[:24])
    assert res.llf == pytest.approx(rest.llf, abs=1e-8)
    assert_allclose(res.params_mean, rest.params_mean, rtol=SAME)
    rows = (data.g == "c").to_numpy()
    assert np.array_equal(res.boundary.infinite, rows)
    assert not res.simulate(5, rng=1)[:, rows].any()
    assert np.all(res.predict(which="prob", y_values=[0])[rows][0] == 1)
    assert "nan" not in str(res.summary()).split("Standardised")[1].split("Note")[0]


def test_a_term_that_only_zeros_of_infinite_dispersion_have(mixed):
    """They say nothing of their mean, so it is not estimated."""
    data = mixed.assign(y=np.where(mixed.g == "c", 0, mixed.y), only=mixed.x * (mixed.g == "c"))
    res = fit("y ~ x + only | 0 + g", data)
    assert "only, dispersion-g" in res.notes[-1]
    assert np.isnan(res.params["only"])
    assert np.isfinite(res.bse["x"])


def test_separated_cell(mixed):
    """More than half of the rows: the level of the others tells that their mean is at its limit."""
    data = mixed.assign(y=np.where(mixed.g != "b", 0, mixed.y))
    said = r"g\[a\], g\[c\].*, but dispersion-g\[a\], dispersion-g\[c\] cannot be estimated"
    with pytest.warns(SeparationWarning, match=said):
        res = hmf.negativebinomial("y ~ 0 + g | 0 + g", data).fit()
    rest = hmf.negativebinomial("y ~ 1", data[data.g == "b"]).fit()
    assert res.llf == pytest.approx(rest.llf, abs=1e-7)
    assert_allclose(res.params[["g[b]", "dispersion-g[b]"]], rest.params, rtol=SAME)
    assert_allclose(res.bse[["g[b]", "dispersion-g[b]"]], rest.bse, rtol=1e-5)


# ---- input -------------------------------------------------------------------------------------

Y = np.array([0.0, 3, 1, 2])
make = partial(het.NegativeBinomial, exog=np.ones(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make(-Y), "^y: a count must not be negative; see rows 1, 2, 3"),
        (lambda: make(pd.Series(Y / 2, name="seen")), "^seen: a count must be a whole number"),
        (lambda: make(0 * Y), "^y: every response is 0"),
        (lambda: make(Y, n_trials=Y + 1), "^n_trials: .*BetaBinomial; .*exposure"),
        (lambda: make(Y, var_weights=Y + 1), "^var_weights: .*exposure .*freq_weights"),
        (lambda: make(np.column_stack([Y, Y + 1])), "^y: two columns"),
        (lambda: make(Y, exposure=Y), "^exposure: .*must be positive"),
        (lambda: make(Y, exposure=Y + 1, link=LINKS.Sqrt()), "^exposure: needs a log link"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_intraclass_correlation():
    res = hmf.negativebinomial("count ~ 1", salamanders()).fit()
    for which in ("icc", "design-effect", "effective-size"):
        with pytest.raises(ValueError, match="no intraclass correlation"):
            res.predict(which=which)


# ---- random problems ---------------------------------------------------------------------------


def problem(seed):
    """Return a random problem, most of them nasty: up to 4 columns a part, zeros, calm cells."""
    rng = np.random.default_rng([20261122, seed])
    rows = int(np.exp(rng.uniform(np.log(8), np.log(400))))
    X = corpus._design(rows, rng, None)[:, : rng.integers(1, 5)]
    Z = corpus._design(rows, rng, X)[:, : rng.integers(1, 5)]
    eta = np.full(rows, 0.0)
    if X.shape[1] > 1:
        eta += corpus._predictor(X, rng, rng.choice([0.3, 1.0, 3.0]))
        eta += rng.uniform(-3, 12 if rng.random() < 0.3 else 3)
    else:
        eta += rng.uniform(-3, 13)
    zeta = corpus._predictor(Z, rng, rng.choice([0.1, 1.0, 3.0])) if Z.shape[1] > 1 else 0.0
    zeta = zeta + rng.uniform(-12, 3) + np.zeros(rows)
    mu, shape = np.exp(np.clip(eta, -20, 14)), np.exp(-np.clip(zeta, -30, 8))
    y = rng.poisson(np.minimum(mu * rng.gamma(shape, 1 / shape), 1e12)).astype(float)
    trouble, last = rng.random(), Z[:, -1]
    if trouble < 0.15:  # a part of the mean with no counts
        y[X[:, -1] > np.median(X[:, -1])] = 0
    elif trouble < 0.35:  # less than Poisson scatter where a dispersion column is large
        calm = last >= np.quantile(last, rng.uniform(0, 0.8))
        y[calm] = np.round(mu)[calm]
    elif trouble < 0.45:
        y[last > np.quantile(last, 0.7)] = 0
    y[0] += not y.any()
    return corpus.Problem(
        seed, y, y, corpus._in_other_units(X, rng), corpus._in_other_units(Z, rng)
    )


def judged(known):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = het.NegativeBinomial(known.y, known.X, known.Z)
        result = model.fit()
    return corpus.Judged(model, result, 0.0, list(caught))


@pytest.mark.thorough
@pytest.mark.parametrize("first", [100, *thorough(*range(110, 160, 10))])
def test_maximum_or_a_name(first):
    failures = []
    for seed in range(first, first + 10):
        ours = judged(problem(seed))
        assert ours.strange == []
        if "ConvergenceWarning" not in ours.named:
            above = ours.overstated()
            if not (ours.result.converged and ours.gradient <= 1e-6 and abs(above) <= 1e-6):
                failures.append((seed, ours.gradient, above))
        model, internal = ours.model, ours.result.fit.internal
        best = corpus.best_of_many(model.core, model.estimable, internal, 2)[0]
        if best > ours.result.llf + 1e-6:
            failures.append((seed, best - ours.result.llf))
    assert failures == []
