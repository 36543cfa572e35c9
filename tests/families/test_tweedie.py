"""The exact Tweedie: its series against direct sums, its law, and what it makes of a DoubleGLM."""

import pickle
import tracemalloc
from functools import cache

import numpy as np
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from multiprecision.tweedie import series
from numpy.testing import assert_allclose
from scipy import integrate, optimize, stats
from scipy.special import gammaln, logsumexp

import hetglm.api as het
from hetglm.families.of_statsmodels import of_statsmodels
from hetglm.families.quasi import QuasiTweedie
from hetglm.families.special.tweedie import information, saddlepoint_gap
from hetglm.families.tweedie import CompoundPoissonGamma, Tweedie

F = sm.families
LOG = F.links.Log()
EPS = np.finfo(float).eps

#: Values and slopes of log densities: some roundings of terms of order 1.
ROUNDING = 5e-14
#: Second derivatives are (1 + a)^2 times a variance less its mean: roundings of that, size/((2-p)(p-1)).
CANCELLED = 4e-15
#: Sums over 10^4 points of a trapezoidal rule.
INTEGRAL = 1e-10
#: A Monte Carlo mean is within 4.5 standard errors but once in 1e5.
MONTE_CARLO = 4.5
#: A search that knows no derivatives: digits of the value that are left.
DERIVATIVE_FREE = 1e-6

POWERS = (1.01, 1.1, 1.3, 1.5, 1.75, 1.9, 1.99)
#: Both sides of where Laplace's expansion takes over (16; 21.2 for 1.1; 226 for 1.01) among them.
SIZES = (1e-8, 1e-3, 0.2, 1.0, 6.0, 15.9, 16.1, 21.1, 21.3, 60.0, 225.0, 227.0)


# ---- the series ------------------------------------------------------------------------------


@pytest.mark.parametrize("power", POWERS)
def test_series_is_the_sum_over_the_claims(power):
    got = np.array(saddlepoint_gap(np.array(SIZES), power))
    for i, size in enumerate(SIZES):
        errors = np.abs(got[:, i] - series(size, power))
        cancelled = 1 + size / ((2 - power) * (power - 1))
        logs = 1 + abs(np.log(size)) / (power - 1)
        assert errors[0] < ROUNDING * logs, size
        assert errors[1] < ROUNDING + EPS * cancelled, size  # a rounding of the peak
        # near p = 1 the density has a spike at each whole number: a third derivative of (1 + a)^3
        spikes = EPS / (power - 1) ** 3
        assert errors[2] < ROUNDING + CANCELLED * cancelled + spikes, size


def test_rows_do_not_depend_on_their_neighbours(monkeypatch):
    sizes = np.random.default_rng(0).permutation(np.geomspace(1e-6, 300, 200))
    whole = saddlepoint_gap(sizes, 1.2)
    monkeypatch.setattr("hetglm.families.special.tweedie.BLOCK_TERMS", 7)  # a row or two at a time
    single = [saddlepoint_gap(sizes[i : i + 1], 1.2) for i in range(len(sizes))]
    for k, (together, blocks) in enumerate(zip(whole, saddlepoint_gap(sizes, 1.2), strict=True)):
        assert_allclose(together, blocks, rtol=1e-12, atol=1e-13)
        assert_allclose(together, [s[k][0] for s in single], rtol=1e-12, atol=1e-13)


def test_first_term_of_the_expansion():
    # Edgeworth: kappa_4/8 - 5 kappa_3^2/24 of a law of variance phi mu^p
    for p in POWERS:
        assert_allclose(
            saddlepoint_gap(np.array([1e7]), p).value * 1e7, -p * (3 - p) / 24, rtol=1e-6
        )


@pytest.mark.thorough
def test_memory_is_bounded():
    # 700 terms a row at p = 1.99: 11 million terms, 90 MB for each array of them
    sizes = np.full(16_000, 15.0)
    tracemalloc.start()
    saddlepoint_gap(sizes, 1.99)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize("power", [1.01, 1.2, 1.7, 1.95])
@pytest.mark.parametrize("size", [1e-3, 0.3, 2.0, 40.0, 1e5])
def test_information_is_the_variance_of_the_score(power, size):
    # given y the number of claims is what is missing: (1 + a) lambda - (1 + a)^2 E Var(N | y)
    family, one = Tweedie(power), np.ones(1)
    sd = np.sqrt(family.variance(one, None, one / size, None))[0]
    a = (2 - power) / (power - 1)
    t = np.linspace(-40 / a - 40, np.log(40 + 40 / size), 100_001) if size < 30 else None
    y = np.exp(t) if size < 30 else 1 + np.linspace(-min(12, 0.999 / sd), 12, 40_001) * sd
    weight = y * (t[1] - t[0]) if size < 30 else np.full(y.shape, y[1] - y[0])
    y, weight = np.r_[0.0, y], np.r_[1.0, weight]
    at = family.evaluate(family.prepare(y, None), np.ones_like(y), None, np.full(y.shape, 1 / size))
    p = weight * np.exp(at.loglike)
    assert_allclose(p.sum(), 1, rtol=INTEGRAL)
    score = p @ (at.phi / size) ** 2
    assert_allclose(information(np.array([size]), power)[0], score, rtol=1e-8)


def test_information_at_the_ends():
    a = 1.0  # p = 3/2
    small, large = information(np.array([1e-9, 1e9]), 1.5)
    assert_allclose(small, (1 + a) * 2e-9, rtol=1e-7)  # a claim is as rare as it tells much
    assert_allclose(large, 0.5, rtol=1e-8)
    assert np.isnan(information(np.array([np.nan, 0.0, -1.0, np.inf]), 1.5)).all()


# ---- the distribution --------------------------------------------------------------------------


LAWS = [(1.05, 2.0, 0.3), (1.5, 0.4, 1.1), (1.5, 30.0, 0.05), (1.8, 3.0, 1.5)]


@pytest.mark.parametrize(("power", "mu", "phi"), LAWS)
def test_distribution_functions(power, mu, phi):
    law = CompoundPoissonGamma(power)(mu, phi)
    none = np.exp(-(mu ** (2 - power)) / (phi * (2 - power)))
    assert_allclose(law.cdf([-1.0, 0.0, np.inf]), [0, none, 1], rtol=1e-14)
    assert_allclose(law.pdf(0.0), none, rtol=1e-12)
    y = law.ppf([0.3 + 0.7 * none, 0.9 + 0.1 * none])
    between = integrate.quad(law.pdf, *y, epsabs=0, epsrel=1e-11, limit=400)[0]
    assert_allclose(np.diff(law.cdf(y)), between, rtol=1e-9)
    far = mu + np.array([0.5, 2.0, 9.0]) * law.std()
    assert_allclose(law.cdf(far) + law.sf(far), 1, rtol=1e-14)
    tail = integrate.quad(law.pdf, far[2], np.inf, epsabs=0, epsrel=1e-10, limit=400)[0]
    assert_allclose(law.sf(far[2]), tail, rtol=1e-8)  # 1 - cdf would have no digit of it
    skewness = power * phi * mu ** (power - 1) / np.sqrt(phi * mu**power)
    assert_allclose(law.stats("mvs"), [mu, phi * mu**power, skewness], rtol=1e-12)


@pytest.mark.parametrize(("power", "mu", "phi"), LAWS)
def test_quantiles_invert(power, mu, phi):
    law = CompoundPoissonGamma(power)(mu, phi)
    none = law.cdf(0.0)
    q = np.r_[0.0, 0.5 * none, none + (1 - none) * np.array([1e-6, 0.01, 0.4, 0.99, 1 - 1e-9]), 1.0]
    y = law.ppf(q)
    assert_allclose(y[:2], 0)
    assert y[-1] == np.inf
    assert_allclose(law.cdf(y[2:-1]), q[2:-1], rtol=1e-13, atol=1e-15)


@pytest.mark.thorough
@pytest.mark.parametrize(("power", "mu", "phi"), LAWS)
def test_draws(power, mu, phi):
    law, n = CompoundPoissonGamma(power)(mu, phi), 20_000
    y = law.rvs(size=n, random_state=np.random.default_rng(5))
    assert abs(y.mean() - mu) < MONTE_CARLO * law.std() / np.sqrt(n)
    none = law.cdf(0.0)
    assert abs(np.mean(y == 0) - none) <= MONTE_CARLO * np.sqrt(none * (1 - none) / n)
    u = (law.cdf(y[y > 0]) - none) / (1 - none)
    assert stats.kstest(u, "uniform").pvalue > 1e-4


def test_distribution_pickles():
    law = pickle.loads(pickle.dumps(CompoundPoissonGamma(1.3)(2.0, 0.7)))
    assert law.dist.power == 1.3
    assert_allclose(law.logpdf(1.0), CompoundPoissonGamma(1.3)(2.0, 0.7).logpdf(1.0))
    assert np.isnan(CompoundPoissonGamma(1.3)(-2.0, 0.7).cdf(1.0))


# ---- the model -----------------------------------------------------------------------------------


def log_density(y, mu, phi, p):
    """Return the textbook series in plain sums, shape (n,)."""
    rate, a, scale = (
        mu ** (2 - p) / (phi * (2 - p)),
        (2 - p) / (p - 1),
        phi * (p - 1) * mu ** (p - 1),
    )
    j = np.arange(1, 200)[:, None]
    safe = np.where(y > 0, y, 1.0)
    terms = j * np.log(rate) - gammaln(j + 1) + j * a * np.log(safe / scale) - gammaln(j * a)
    return np.where(y > 0, -rate - y / scale - np.log(safe) + logsumexp(terms, axis=0), -rate)


@cache
def claims(power, n=150, phi=0.0):
    rng = np.random.default_rng(11)
    x, z = rng.normal(size=(2, n))
    X, Z = np.column_stack([np.ones(n), x]), np.column_stack([np.ones(n), z])
    mu, phi = np.exp(X @ [0.5, 0.4]), np.exp(Z @ [phi, 0.5])
    return CompoundPoissonGamma(power)(mu, phi).rvs(random_state=rng), X, Z


@pytest.mark.thorough
@pytest.mark.parametrize("power", [1.2, 1.5, 1.85])
def test_fit_is_the_maximum_of_the_textbook_likelihood(power):
    y, X, Z = claims(power)

    def loss(params):
        with np.errstate(all="ignore"):
            return -log_density(y, np.exp(X @ params[:2]), np.exp(Z @ params[2:]), power).sum()

    family = F.Tweedie(LOG, var_power=power)
    res = het.DoubleGLM(y, X, Z, family=family, likelihood="exact").fit()
    assert_allclose(res.llf, -loss(res.params), rtol=1e-12)
    found = [
        optimize.minimize(
            loss, start, method="Nelder-Mead", options={"maxiter": 4000, "fatol": 1e-9}
        )
        for start in (np.zeros(4), [np.log(y.mean()), 0, 1, 0])
    ]
    assert_allclose(max(-r.fun for r in found), res.llf, atol=DERIVATIVE_FREE)
    assert np.all(-res.llf <= np.array([r.fun for r in found]) + 1e-9)


def test_quasi_likelihood_is_the_limit_of_small_dispersion():
    # delta is -p(3 - p)/(24 x) to first order, x = y^(2-p)/phi, and the next order is 1/x of that
    for log_phi, most, rtol in ((-5.0, 0.03, 0.02), (-9.0, 5e-4, 4e-4)):
        y, X, Z = claims(1.5, phi=log_phi)
        family = F.Tweedie(LOG, var_power=1.5)
        exact, eql = (
            het.DoubleGLM(y, X, Z, family=family, likelihood=kind).fit()
            for kind in ("exact", "eql")
        )
        assert np.all(abs(exact.params - eql.params) < most * eql.bse)
        delta = 1.5 * 1.5 / 24 * np.sum(exact.fitted_dispersion / np.sqrt(y))
        assert_allclose(eql.llf - exact.llf, delta, rtol=rtol)


def test_exact_powers_are_the_exact_families():
    y, X, Z = claims(1.5)
    y = y + 0.5
    for power, family in ((0, F.Gaussian(LOG)), (2, F.Gamma(LOG)), (3, F.InverseGaussian(LOG))):
        tweedie = F.Tweedie(LOG, var_power=power)
        res = het.DoubleGLM(y, X, Z, family=tweedie, likelihood="exact").fit()
        assert_allclose(res.llf, het.DoubleGLM(y, X, Z, family=family).fit().llf, rtol=1e-12)
        assert het.DoubleGLM(y, X, Z, family=tweedie).core.family.exact is False


@pytest.mark.parametrize(
    ("family", "likelihood", "message"),
    [
        (F.Tweedie(var_power=1), "exact", "var_power between 1 and 2, .* not for 1;"),
        (
            F.Tweedie(var_power=2.5),
            "exact",
            "var_power between 1 and 2, .* not for 2.5; leave it out",
        ),
        (
            F.Poisson(),
            "exact",
            "Poisson family with a free dispersion is no dist.*NegativeBinomial is",
        ),
        (F.NegativeBinomial(alpha=1.0), "exact", "the NegativeBinomial model estimates alpha"),
        (F.Binomial(), "exact", "BetaBinomial is a model of overdispersed proportions"),
        (F.Gamma(), "eql", "likelihood='eql': Gamma has an exact likelihood; leave it out"),
        (F.Tweedie(var_power=1.5), "series", "choose 'eql' or 'exact'"),
    ],
)
def test_likelihoods_that_are_not_there(family, likelihood, message):
    with pytest.raises(ValueError, match=message):
        of_statsmodels(family, likelihood)


def test_defaults():
    assert type(of_statsmodels(F.Tweedie(var_power=1.5))) is Tweedie
    for power in (1, 2.5):
        assert type(of_statsmodels(F.Tweedie(var_power=power))) is QuasiTweedie
    assert type(of_statsmodels(F.Tweedie(var_power=1.5), "eql")) is QuasiTweedie
    assert of_statsmodels(F.Gamma(), "exact").name == "Gamma"
    for power in (1.0, 2.0, 0.5):
        with pytest.raises(ValueError, match=rf"1 < var_power < 2, not {power:g}"):
            Tweedie(power)


def test_likelihood_is_kept_when_a_model_is_made_again():
    model = fitted("tweedie-exact").model
    again = type(model)(model.endog, model.exog, **model._get_init_kwds())
    assert again.likelihood == "exact"
    assert type(again.core.family) is type(model.clone().core.family) is Tweedie
    assert type(pickle.loads(pickle.dumps(model)).core.family) is Tweedie
    assert_allclose(again.fit().llf, fitted("tweedie-exact").llf, rtol=1e-12)


def test_reports_name_the_likelihood():
    res = fitted("tweedie-exact")
    text = res.summary().as_text()
    assert "Log-Likelihood:" in text
    assert "EQL" not in text + str(res.compare_constant_dispersion()) + str(het.anova(res))
    eql = CASES["tweedie"].formula(data=simulated()).fit()
    assert "Log-EQL:" in eql.summary().as_text()


def test_claims_none_at_all_in_a_dispersion_cell():
    # the likelihood rises to P(no claim) = 1 as phi goes to infinity: bounded, unlike the EQL's
    y, X, _ = claims(1.5)
    cell = np.arange(len(y)) < 6
    Z = np.column_stack([np.ones(len(y)), cell])
    model = het.DoubleGLM(
        np.where(cell, 0.0, y), X, Z, family=F.Tweedie(LOG, var_power=1.5), likelihood="exact"
    )
    res = model.fit()
    rest = het.DoubleGLM(
        y[~cell], X[~cell], family=F.Tweedie(LOG, var_power=1.5), likelihood="exact"
    ).fit()
    assert_allclose(res.llf, rest.llf, atol=1e-6)
