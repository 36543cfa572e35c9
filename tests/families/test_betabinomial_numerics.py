"""
Accuracy of the beta-binomial likelihood and of the special functions below it.

The references are mpmath's (``betabinomial_reference``), or direct sums.
"""

from __future__ import annotations

import pickle

import mpmath as mp
import numpy as np
import pytest
from betabinomial_reference import (
    FAMILY,
    TRIALS,
    adversarial_rows,
    both_ends,
    evaluate,
    rows,
    scaled_errors,
)
from multiprecision.betabinomial import reference
from scipy import stats

from hetglm.families.special import betabinomial_counts, stirling

pytestmark = pytest.mark.filterwarnings("error")

#: Relative to max(1, |log-likelihood|).
VALUE_TOL = 1e-12
#: Relative to the larger of the value and its natural scale, the root of the information.
DERIVATIVE_TOL = 1e-9
#: The special functions, relative: about ten roundings.
FUNCTION_TOL = 3e-15
#: Sums over all counts: rounding of some hundred terms.
SUM_TOL = 1e-12
#: Integrated sums: the end correction where the distribution is narrowest.
INTEGRAL_TOL = 1e-9


def assert_accurate(n, y, mu, nu, sigma, terms=reference) -> None:
    """Compare every row with its reference on the natural scales."""
    errors, got, want = scaled_errors(n, y, mu, nu, sigma, terms)
    tolerances = [VALUE_TOL] + [DERIVATIVE_TOL] * 5
    for i, (error, tol) in enumerate(zip(errors, tolerances, strict=True)):
        worst = int(np.argmax(error))
        row = [float(np.asarray(a)[worst]) for a in (n, y, mu, nu, sigma)]
        assert error[worst] <= tol, (i, row, float(got[i][worst]), float(want[i][worst]))


@pytest.mark.parametrize("n", TRIALS)
def test_adversarial_grid(n: int) -> None:
    """Ends, neighbours and middle of every response, every sigma and tail."""
    assert_accurate(*adversarial_rows(n))


@pytest.mark.parametrize("n", [29, 64, 65])
def test_few_rows_of_few_trials(n: int) -> None:
    """All draws at once, up to 64 trials, and the two regimes in one call beyond."""
    assert_accurate(*(a[:21] for a in adversarial_rows(n)))


def test_few_rows_are_as_many() -> None:
    """The plain sums of few rows and the regimes of many agree."""
    rng = np.random.default_rng(3)
    n = rng.integers(1, 60, 4000)
    y, mu = rng.integers(0, n + 1), rng.uniform(0.01, 0.99, 4000)
    sigma = 10 ** rng.uniform(-6, 2, 4000)
    many = evaluate(n, y, mu, 1 - mu, sigma)
    few = evaluate(*(a[:21] for a in (n, y, mu, 1 - mu, sigma)))
    np.testing.assert_allclose(few, many[:, :21], rtol=1e-9, atol=1e-10)


@pytest.mark.thorough
def test_random_rows() -> None:
    """Rows drawn from the model, log-uniform in n, sigma and the tail."""
    rng = np.random.default_rng(20240607)
    size = 300
    n = np.floor(10 ** rng.uniform(0, 9, size))
    sigma = np.where(rng.random(size) < 0.1, 0.0, 10 ** rng.uniform(-18, 8, size))
    mu, nu = both_ends(10 ** rng.uniform(-12, -0.302, size), rng)
    y = FAMILY.distribution(mu, nu, sigma, n).rvs(random_state=rng)
    assert_accurate(n, y.astype(float), mu, nu, sigma, reference.function)  # none is stored


def test_far_from_the_mean() -> None:
    """Responses far beyond a tiny mean, where second derivatives are sums of opposite signs."""
    n = np.full(8, 1e9)
    y = np.array([1e9, 1e9 - 8, 5e8, 1e5] * 2)
    mu = np.repeat([1e-12, 1e-9], 4)
    assert_accurate(n, y, mu, 1 - mu, np.repeat([1e-12, 1e-10], 4))
    assert_accurate(n, n - y, 1 - mu, mu, np.repeat([1e-11, 1e-9], 4))


def test_where_the_regimes_meet() -> None:
    """Either side of the smallest urn of the series, and of rare successes; few and many of them."""
    n, y, urn = (
        a.ravel() for a in np.meshgrid([14.0, 400.0, 1e6], [0.0, 1.0, 2.0, 9.0], [6.9, 7.1])
    )
    for expected in (0.4, 0.6, 3.0):
        mu = expected / n
        assert_accurate(n, y, mu, 1 - mu, mu / urn)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 13, 60, 1000, 10**5, 10**8])
def test_where_the_shift_begins(n: int) -> None:
    """Either side of the smallest sigma and tail of the shifted form, and of its largest sigma."""
    rng = np.random.default_rng(n)
    sigma, tail = 10 ** rng.uniform(-4, 1.02, 4000), 10 ** rng.uniform(-9, -0.302, 4000)
    n = np.full(4000, float(n))

    def mild(factor):
        return betabinomial_counts._mild(tail / factor, 1 - tail / factor, sigma / factor, n)

    edge = np.flatnonzero(mild(1.0) != mild(1.1))[:40]
    top = np.flatnonzero(np.abs(sigma - 10) < 0.4)[:10]
    chosen = np.concatenate([edge, top])
    n, sigma, tail = n[chosen], sigma[chosen], tail[chosen]
    mu, nu = both_ends(tail, rng)
    y = FAMILY.distribution(mu, nu, sigma, n).rvs(random_state=rng).astype(float)
    y[::5], y[1::5] = 0.0, n[1::5]
    assert_accurate(n, y, mu, nu, sigma)


def test_rows_do_not_depend_on_their_company() -> None:
    """Whatever rows share a block, in whatever share of regimes, each gets its own answer."""
    rng = np.random.default_rng(11)
    for top, lean in ((3, 0.0), (1.2, 0.0), (4, -8.0), (1, -3.0)):
        n = np.floor(10 ** rng.uniform(0, top, 400))
        sigma = 10 ** (rng.uniform(-6, 2, 400) + lean)
        mu, nu = both_ends(10 ** rng.uniform(-5, -0.302, 400), rng)
        y = np.floor(n * rng.random(400)) * (rng.random(400) < 0.5)
        together = evaluate(n, y, mu, nu, sigma)
        each = np.transpose([n, y, mu, nu, sigma])
        alone = np.hstack([evaluate(*row[:, None]) for row in each])
        root = np.sqrt(n / mu / nu)
        size = np.maximum(np.abs(alone), [np.ones(400), root, n, root**2, root * n, n * n])
        assert np.max(np.abs(together - alone) / size) < DERIVATIVE_TOL


def test_lower_orders_agree() -> None:
    """Orders 0 and 1 are the head of order 2."""
    rng = np.random.default_rng(5)
    n = np.floor(10 ** rng.uniform(0, 5, 200))
    args = (
        n,
        np.floor(n * rng.random(200)),
        *both_ends(rng.uniform(0, 0.5, 200), rng),
        rng.random(200),
    )
    full = evaluate(*args)
    for order, count in ((0, 1), (1, 3)):
        np.testing.assert_array_equal(evaluate(*args, order=order), full[:count])


@pytest.mark.parametrize("n", [1, 2, 9, 12, 13, 60, 5000])
def test_continuous_at_zero(n: int) -> None:
    """A tiny sigma moves nothing by more than its own derivative does."""
    y = np.unique(np.linspace(0, n, 30).round())
    for mu in (1e-3, 0.3, 0.5, 0.98):
        at, near = (evaluate(n, y, mu, 1 - mu, s) for s in (0.0, 1e-16))
        np.testing.assert_allclose(near, at, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(at[0], stats.binom(n, mu).logpmf(y), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("sigma", [0.0, 1e-17, 1e-3, 0.4, 20.0])
@pytest.mark.parametrize("mu", [1e-7, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 2, 12, 13, 30, 250])
def test_sums_over_counts(n: int, mu: float, sigma: float) -> None:
    """Probabilities sum to one, scores to zero; variance, information and cdf are the sums."""
    y = np.arange(n + 1.0)
    terms = evaluate(n, y, mu, 1 - mu, sigma)
    pmf = np.exp(terms[0])
    assert abs(pmf.sum() - 1) < SUM_TOL
    info = -(terms[3:] @ pmf)
    scale = np.sqrt(np.maximum(info[[0, 2]], 1e-30))
    assert np.all(np.abs(terms[1:3] @ pmf) < SUM_TOL * scale)
    one = tuple(np.array([v]) for v in (mu, 1 - mu, sigma))
    got = -np.array(FAMILY.expected_hessian(rows([0], [n]), *one))[:, 0]
    sizes = np.array([info[0], scale[0] * scale[1], max(info[2], 1e-30)])
    assert np.all(np.abs(got - info) < 10 * SUM_TOL * sizes)
    variance = FAMILY.variance(*one, np.array([n]))[0]
    assert abs(pmf @ (y - n * mu) ** 2 / variance - 1) < SUM_TOL * 10 / min(1, n * mu)
    frozen = FAMILY.distribution(mu, 1 - mu, sigma, n)
    np.testing.assert_allclose(frozen.cdf(y), np.cumsum(pmf), rtol=SUM_TOL)
    np.testing.assert_allclose(frozen.pmf(y), pmf, rtol=SUM_TOL)
    np.testing.assert_allclose(frozen.var(), variance, rtol=SUM_TOL)


@pytest.mark.parametrize("n", [301, 1000, 40_000])
def test_integrated_sums(n: int) -> None:
    """Above 300 trials the expected Hessian and the cdf integrate; compare with the full sum."""
    y = np.arange(n + 1.0)
    points = [(0.01, 1e-3), (0.02, 1e-4), (0.5, 0.0), (1e-5, 0.5), (0.3, 0.05), (0.999, 4.0)]
    points += [(20 / n, 0.0), (50 / n, 1e-9), (100 / n, 0.0), (0.2, 1e-6)]
    for mu, sigma in points:
        terms = evaluate(n, y, mu, 1 - mu, sigma)
        pmf = np.exp(terms[0])
        info = -(terms[3:] @ pmf)
        one = tuple(np.array([v]) for v in (mu, 1 - mu, sigma))
        got = -np.array(FAMILY.expected_hessian(rows([0], [n]), *one))[:, 0]
        sizes = [info[0], np.sqrt(info[0] * info[2]), info[2]]
        assert np.all(np.abs(got - info) < INTEGRAL_TOL * np.array(sizes)), (mu, sigma)
        k = np.unique(np.linspace(0, n, 40).round())
        cdf = FAMILY.distribution(mu, 1 - mu, sigma, n).cdf(k)
        np.testing.assert_allclose(cdf, np.cumsum(pmf)[k.astype(int)], rtol=0, atol=INTEGRAL_TOL)


def test_information_of_large_counts() -> None:
    """The binomial's information is known at any n; E[score^2] must match it."""
    n, mu = np.array([1e6, 1e9, 1e9]), np.array([0.3, 0.5, 1e-4])
    got = -np.array(FAMILY.expected_hessian(rows(n * 0, n), mu, 1 - mu, 0 * mu))
    np.testing.assert_allclose(got[0], n / (mu * (1 - mu)), rtol=INTEGRAL_TOL)
    np.testing.assert_allclose(got[2], n * (n - 1) / 2, rtol=INTEGRAL_TOL)


def test_rows_share_and_chunk() -> None:
    """Equal rows get equal answers, in any order and however many there are."""
    rng = np.random.default_rng(2)
    pick = rng.integers(0, 4, 900)
    mu, sigma, n = (
        np.array(v)[pick] for v in ([0.1, 0.2, 0.7, 0.5], [0, 1, 0.1, 2], [3, 90, 700, 1])
    )
    many = np.array(FAMILY.expected_hessian(rows(0 * n, n), mu, 1 - mu, sigma.astype(float)))
    for i in (0, 1, 2, 3, 899):
        one = (mu[[i]], 1 - mu[[i]], sigma[[i]].astype(float))
        alone = np.array(FAMILY.expected_hessian(rows([0], n[[i]]), *one))[:, 0]
        np.testing.assert_allclose(many[:, i], alone, rtol=1e-14, atol=1e-300)


def test_impossible_parameters() -> None:
    """Boundary and senseless parameters give -inf or the limit, no warning and no exception."""
    mu = np.array([0.0, 0.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3, np.nan])
    nu = 1 - mu
    sigma = np.array([0.1, 0.1, 0.0, 0.1, np.inf, np.nan, -1.0, np.inf, 0.1])
    y = np.array([0, 2, 5, 4, 2, 2, 2, 0, 1])
    value = evaluate(5.0, y, mu, nu, sigma)[0]
    want = [0.0, -np.inf, 0.0, -np.inf, -np.inf, -np.inf, -np.inf, np.log(0.7), -np.inf]
    np.testing.assert_allclose(value, want, atol=1e-12)
    for n in (5.0, 5000.0):
        data = rows(np.minimum(y, n), np.full(len(y), n))
        expected = FAMILY.expected_hessian(data, mu, nu, sigma)
        assert np.all(np.isnan(expected[0][5:7]))


@pytest.mark.parametrize(
    ("y", "trials", "match"),
    [
        ([1.0, -2.0], [3.0, 3.0], "deaths.*negative.*row 1"),
        ([0.5, 2.0], [3.0, 3.0], "deaths.*whole.*row 0"),
        ([1.0, 4.0], [3.0, 3.0], "deaths.*more successes than trials.*row 1"),
        ([1.0, 2.0], [3.0, 2.5], "deaths.*n_trials.*row 1"),
        ([0.0, 2.0], [0.0, 3.0], "deaths.*n_trials.*row 0"),
        ([1.0, 2.0], [-3.0, 3.0], "deaths.*n_trials.*row 0"),
        ([1.0, 2.0], None, "deaths.*n_trials="),
        ([1.0, 0.0], [1.0, 1.0], "deaths.*one trial.*unidentified"),
    ],
)
def test_validate(y: list[float], trials: list[float] | None, match: str) -> None:
    """Each bad response is named, with its rows and the way out."""
    with pytest.raises(ValueError, match=match):
        FAMILY.validate(np.array(y), None if trials is None else np.array(trials), "deaths")


def test_beyond_the_largest_sigma() -> None:
    """A mixed row falls by log sigma for ever, an all or nothing one stays; no power overflows."""
    n, y = np.full(6, 7.0), np.array([0.0, 1, 3, 6, 7, 0])
    ends = np.full(6, 0.3), np.full(6, 0.7)
    near, far = (10.0 ** np.array([p] * 6) for p in (90, 150))
    mixed = (y > 0) & (y < n)
    powers = (0, 0, 1, 0, 1, 2)
    at, beyond = (
        [term * sigma**p for term, p in zip(evaluate(n, y, *ends, sigma), powers, strict=True)]
        for sigma in (near, far)
    )
    at[0] = at[0] - np.log(far / near) * mixed
    np.testing.assert_allclose(beyond, at, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(beyond[2], -1.0 * mixed, atol=1e-13)
    assert evaluate(n, y, *ends, np.full(6, np.inf), order=0)[0][mixed].max() == -np.inf


def test_starts() -> None:
    """Starts are finite, also for rows of one trial, and a large sample's mean is near sigma."""
    rng = np.random.default_rng(8)
    n = rng.integers(1, 40, 20_000).astype(float)
    mu = np.full(len(n), 0.3)
    y = FAMILY.distribution(mu, 1 - mu, 0.2, n).rvs(random_state=rng).astype(float)
    data = rows(y, n)
    start = FAMILY.start(data)
    assert np.all((start > 0) & (start < 1))
    sigma = FAMILY.moment_dispersion(data, mu, 1 - mu)
    assert np.all(np.isfinite(sigma) & (sigma >= 0))
    assert abs(sigma[n == 1] - 0.2).max() < 0.05


def test_distribution() -> None:
    """Frozen distribution: broadcasts, pickles, inverts its cdf, draws with the right moments."""
    mu, sigma = np.array([[0.2], [0.7]]), np.array([0.0, 1e-16, 0.5])
    frozen = pickle.loads(pickle.dumps(FAMILY.distribution(mu, 1 - mu, sigma, np.array(25))))
    assert frozen.pmf(3).shape == (2, 3)
    k = np.arange(26).reshape(-1, 1, 1)
    clear = frozen.pmf(k) > 1e-9
    inverse = frozen.ppf(frozen.cdf(k) * (1 - 1e-13))
    np.testing.assert_array_equal(inverse[clear], (k + 0 * mu * sigma)[clear])
    np.testing.assert_allclose(frozen.cdf(k) + frozen.sf(k), 1, rtol=SUM_TOL)
    peer = stats.betabinom(25, mu / 0.5, (1 - mu) / 0.5)
    np.testing.assert_allclose(frozen.pmf(k)[..., 2:], peer.pmf(k), rtol=1e-11)
    draws = frozen.rvs(size=(40_000, 2, 3), random_state=np.random.default_rng(3))
    assert draws.min() >= 0
    assert draws.max() <= 25
    error = np.sqrt(frozen.var() / len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - frozen.mean()) < 5 * error)
    np.testing.assert_allclose(draws.var(axis=0), frozen.var(), rtol=0.06)


def stirling_reference(x: mp.mpf, order: int) -> mp.mpf:
    """Return a derivative of Stirling's remainder from mpmath's own functions."""
    if order == 0:
        return mp.loggamma(x) - ((x - mp.mpf(1) / 2) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)
    if order == 1:
        return mp.digamma(x) - mp.log(x) + 1 / (2 * x)
    return mp.polygamma(1, x) - 1 / x - 1 / (2 * x * x)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_stirling(order: int) -> None:
    """The remainder and its derivatives keep their relative accuracy everywhere."""
    names = ("stirling", "stirling1", "stirling2")
    x = np.concatenate([10 ** np.linspace(-20, 15, 150), np.linspace(0.3, 15, 150)])
    got = getattr(stirling, names[order])(x)
    with mp.workdps(80):
        want = [float(stirling_reference(v, order)) for v in map(mp.mpf, x.tolist())]
    np.testing.assert_allclose(got, want, rtol=FUNCTION_TOL)


def test_log1pmx() -> None:
    """The difference keeps its relative accuracy for tiny, negative and huge arguments."""
    tiny = 10 ** np.linspace(-150, -1e-9, 100)
    t = np.concatenate([tiny, -tiny, np.linspace(-0.99, 3, 200), [-1 + 1e-16, 1e300]])
    with mp.workdps(400):
        want = [float(mp.log(1 + v) - v) for v in map(mp.mpf, t.tolist())]
    np.testing.assert_allclose(stirling.log1pmx(t), want, rtol=FUNCTION_TOL)
    np.testing.assert_array_equal(stirling.log1pmx([-1.0, 0.0, np.inf]), [-np.inf, 0, -np.inf])


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.5, 8.0])
@pytest.mark.parametrize("mu", [0.02, 0.5, 0.97])
def test_approximate_score(mu, sigma):
    """Five digits of what is typical, in a form of its own."""
    n = np.repeat([25.0, 80.0, 1000.0], 8)
    y = np.round(n * np.tile(np.linspace(0, 1, 8), 3))
    prepared = rows(y, n)
    args = np.full_like(n, mu), np.full_like(n, 1 - mu), np.full_like(n, sigma)
    approximate = betabinomial_counts.approximate_score_counts(prepared, *args)
    exact = evaluate(n, y, *args, order=1)[1:]
    assert approximate is not None
    assert np.all(np.abs(approximate - exact) < 1e-5 * np.sqrt(np.mean(exact**2, axis=1))[:, None])


def test_approximate_score_is_not_tried_where_it_fails():
    prepared = rows([3.0], [4.0])
    args = np.array([0.4]), np.array([0.6]), np.array([0.02])
    assert FAMILY.approximate_score(prepared, *args) is None


def test_counts_by_table_and_by_series():
    """Whole numbers are looked up, real ones summed: the same log-binomials."""
    n = np.array([40.0, 70.0, 1000.0, 1023.0, 1024.0, 5000.0])
    y = np.array([33.0, 35.0, 400.0, 500.0, 512.0, 1024.0])
    table, series = (betabinomial_counts.counts(y, n, least).constant for least in (1024, 32))
    assert np.abs(table - series).max() < 1e-15
