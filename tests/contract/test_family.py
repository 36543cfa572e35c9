"""
The contract of every family: density, derivatives, moments, domain, distribution, residuals.

Run over the facts of ``tests/specs``, one file a family; points come from what a family declares of
itself.
"""

import importlib
import inspect
import pickle
import pkgutil
from functools import cache
from itertools import product
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest
from multiprecision.families import DPS, FAMILIES, SPEC_OF, derivatives, likelihood
from numpy.testing import assert_allclose
from scipy import stats

from hetglm import families
from hetglm.families.base import BoundaryFamily, Family, Rows
from hetglm.families.exponential import ExponentialDispersion
from hetglm.families.tails import normal_scores, tails

EPS, TINY = np.finfo(float).eps, np.finfo(float).tiny

#: Values: some roundings of each of the terms they are the sum of.
VALUE = 5e-14
#: Derivatives, relative; and in units of their own standard deviation where they pass through zero.
SLOPE, SLOPE_SD = 1e-11, 1e-13
#: Sums and integrals over the response: the trapezoid's rest and rounding of 10^4 terms.
INTEGRAL = 1e-10
#: scipy's densities, which form log-gammas of size 1/phi: relative to the sum of those.
SCIPY = 1e-13
#: Derivatives of the score in the response: mpmath's second differences against closed forms.
BY_RESPONSE = 1e-10
#: Rows that are drawn, and the P value below which they are not of the distribution: of some hundred
#: tests with a fixed seed none is.
DRAWS, RARE = 1000, 1e-4
#: Complex step: no subtraction.
COMPLEX_STEP = 1e-13


# ---- all families ------------------------------------------------------------------------------


every = pytest.mark.parametrize("name", FAMILIES)
exact = pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.exact])
quasi = pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if not f.exact])
exponential = pytest.mark.parametrize(
    "name", [n for n, f in FAMILIES.items() if isinstance(f, ExponentialDispersion)]
)


def test_every_family_has_its_facts():
    found = set()
    for info in pkgutil.walk_packages(families.__path__, "hetglm.families."):
        for cls in vars(importlib.import_module(info.name)).values():
            # list[int] passes for a class in Python 3.10, but not its type for a metaclass
            ours = issubclass(type(cls), type) and issubclass(cls, Family)
            if ours and not inspect.isabstract(cls):
                found.add(cls.__name__)
    assert found == {type(family).__name__ for family in FAMILIES.values()}, "tests/specs"
    assert len(FAMILIES) >= 14


@every
def test_names(name):
    family = FAMILIES[name]
    assert family.name
    assert (family.symbol in family.variance_formula) == family.has_dispersion


# ---- points ------------------------------------------------------------------------------------


def accepts(family, *y):
    """Return whether responses of these values, and of 2, are of the family."""
    try:
        family.validate(np.array([*y, 2.0]), None, "y")
    except ValueError:
        return False
    return True


def is_real(family):
    """Return whether any mean is admissible."""
    one = np.ones(1)
    rows = family.prepare(one, one * 2 if family.takes_trials else None)
    nu = one * 2 if family.unit_interval else None
    return bool(np.isfinite(family.evaluate(rows, -one, nu, one, 0).loglike[0]))


def grid(family, phis, means, spread, trials):
    """Return points as columns y, mu, nu, phi, trials: the product of what is given."""
    points = []
    for mu, phi, s, n in product(means, phis, spread, trials):
        nu = 1 - mu if family.unit_interval else None
        points.append((s(mu, n), mu, nu, phi, n))
    y, mu, nu, phi, n = zip(*dict.fromkeys(points), strict=True)
    return SimpleNamespace(
        y=np.array(y, dtype=float),
        mu=np.array(mu, dtype=float),
        nu=np.array(nu, dtype=float) if family.unit_interval else None,
        phi=np.array(phi, dtype=float),
        trials=np.array(n, dtype=float) if family.takes_trials else None,
    )


@cache
def points(name):
    """Return a grid over the family's domain, its corners included."""
    family = FAMILIES[name]
    phis = [1e-6, 0.05, 0.8, 5.0, 200.0] + [0.0] * isinstance(family, BoundaryFamily)
    if family.unit_interval:
        # powers of two: 1 - mu is exact
        means = [2.0**-20, 0.0625, 0.6875, 1 - 2.0**-20]
        shares = [0.0, 0.25, 0.5, 1.0]
        if family.counts_successes:
            spread = [lambda mu, n, q=q: np.floor(q * n) for q in shares]
        else:
            spread = [lambda mu, n, q=q: q for q in [*shares, 0.7, 1e-6]]
        return grid(family, phis, means, spread, [1, 2, 11])
    means = [0.02, 0.7, 3.0, 45.0, 2e4] + [-1.5, 0.0] * is_real(family)
    if family.discrete:
        spread = [lambda mu, n, q=q: np.floor(q * mu) for q in (0, 0.4, 1, 3)]
    else:
        ratios = [1e-3, 0.5, 1.0, 1 + 2.0**-20, 3.0] + [0.0] * accepts(family, 0.0)
        spread = [lambda mu, n, q=q: q * mu for q in ratios]
    return grid(family, phis, means, spread, [None])


@cache
def evaluated(name, order=2):
    """Return the family's terms at its points."""
    at, family = points(name), FAMILIES[name]
    return family.evaluate(family.prepare(at.y, at.trials), at.mu, at.nu, at.phi, order)


# ---- value and derivatives ---------------------------------------------------------------------


@cache
def reference(name):
    """Return value and derivatives, one column per point."""
    at = points(name)
    trials = [None] * len(at.y) if at.trials is None else at.trials.tolist()
    rows = zip(at.y.tolist(), at.mu.tolist(), at.phi.tolist(), trials, strict=True)
    terms = likelihood if FAMILIES[name].exact else derivatives
    return np.array([terms(name, *row) for row in rows]).T


@quasi
def test_independent_deviances(name):
    # 2 times the integral of (y - t)/V(t) from mu to y
    family = FAMILIES[name]
    variance, deviance = SPEC_OF[name].variance, SPEC_OF[name].deviance
    for y, mu in [(0.7, 0.2), (0.1, 0.6), (0.9, 0.85)]:
        with mp.workdps(30):
            y, mu = mp.mpf(y), mp.mpf(mu)
            integral = 2 * mp.quad(lambda t, y=y: (y - t) / variance(family, t, 1, None), [mu, y])
            assert mp.almosteq(integral, deviance(family, y, mu), 1e-20)


@cache
def condition(name):
    """Return how many units a value moves where mu moves by its share of one."""
    return abs(points(name).mu * reference(name)[1])


@every
def test_value_and_derivatives(name):
    at, family = points(name), FAMILIES[name]
    got, (value, *slopes) = evaluated(name), reference(name)
    assert np.isfinite(value).all()
    logs = abs(np.log(np.where(at.phi > 0, at.phi, 1))) + abs(np.log(abs(at.y) + 1e-6))
    size = 1 + abs(value) + logs + condition(name)
    assert np.max(abs(got.loglike - value) / size) < VALUE
    rows = family.prepare(at.y, at.trials)
    mm, _, pp = family.expected_hessian(rows, at.mu, at.nu, at.phi)
    sd_mu, sd_phi = np.sqrt(-mm), np.sqrt(-pp)
    parts = ("mu", "phi", "mu_mu", "mu_phi", "phi_phi")
    units = (sd_mu, sd_phi, sd_mu**2, sd_mu * sd_phi, sd_phi**2)
    for part, unit, expected in zip(parts, units, slopes, strict=True):
        error = abs(getattr(got, part) - expected)
        error = error / (SLOPE * abs(expected) + SLOPE_SD * unit + TINY)
        worst = int(np.argmax(error))
        where = (at.y[worst], at.mu[worst], at.phi[worst])
        assert error[worst] < 1, (part, where, getattr(got, part)[worst], expected[worst])


@every
def test_lower_orders(name):
    full, none = evaluated(name), ("mu", "phi", "mu_mu", "mu_phi", "phi_phi")
    for order, missing in ((0, none), (1, none[2:])):
        got = evaluated(name, order)
        assert all(getattr(got, part) is None for part in missing)
        for part in {"loglike", *none} - set(missing):
            assert_allclose(getattr(got, part), getattr(full, part), rtol=1e-14, err_msg=part)


@every
@pytest.mark.parametrize("order", [0, 1, 2])
def test_terms_are_the_callers_own(name, order):
    """The chain rule overwrites them."""
    at, family = points(name), FAMILIES[name]
    rows = family.prepare(at.y, at.trials)
    args = [at.mu, at.nu, at.phi]
    terms = [t for t in vars(family.evaluate(rows, *args, order)).values() if t is not None]
    assert len(terms) == (1, 3, 6)[order]
    assert all(t.flags.writeable for t in terms)
    others = [a for a in [*args, *vars(rows).values()] if isinstance(a, np.ndarray)]
    pairs = [(a, b) for i, a in enumerate(terms) for b in [*terms[i + 1 :], *others]]
    assert not any(np.shares_memory(a, b) for a, b in pairs)


@every
def test_shapes(name):
    family, at = FAMILIES[name], points(name)
    got = evaluated(name)
    assert all(part.shape == at.y.shape and part.dtype == float for part in vars(got).values())
    none = np.zeros(0)
    trials, nu = (none if family.takes_trials else None), (none if family.unit_interval else None)
    assert family.evaluate(family.prepare(none, trials), none, nu, none).phi_phi.shape == (0,)


@pytest.mark.parametrize(
    "name", [n for n, f in FAMILIES.items() if not f.exact and (f.unit_interval or accepts(f, 0.0))]
)
def test_boundary_responses(name):
    # Nelder and Pregibon: V(1/6) at a count of 0, V((K + 1/6)/(N + 1/3)) where K is 0 or N
    family = FAMILIES[name]
    if family.unit_interval:
        n = np.array([1.0, 8.0, 8.0])
        p = np.array([1 / 6, 1 / 6, 8 + 1 / 6]) / (n + 1 / 3)
        rows = family.prepare(np.array([0.0, 0.0, 1.0]), n)
        V = p * (1 - p)
    else:
        rows = family.prepare(np.array([0.0, 1 / 6]), None)
        V = family.unit_variance(np.full(2, 1 / 6), None)[0]
    assert_allclose(rows.constant, -0.5 * np.log(2 * np.pi * V), rtol=1e-14)


# ---- moments and distribution ------------------------------------------------------------------


@cache
def law(name):
    """Return parameters, and points of the response with their weights as rows of a table."""
    family = FAMILIES[name]
    if family.counts_successes:
        params = [
            (m, s, n) for m in (0.125, 0.5, 0.875) for s in (0.0, 0.02, 1.5) for n in (2, 9, 30)
        ]
        return [(m, s, n, np.arange(n + 1.0), np.ones(n + 1)) for m, s, n in params]
    phis = (0.03, 0.5, 2.0)
    if family.unit_interval:
        raise NotImplementedError("give nodes on (0, 1)")
    if family.discrete:
        # 1e-16 of the probability lies beyond
        sizes = {0.03: 2000, 0.5: 4000, 2.0: 20000}
        return [
            (m, s, None, np.arange(sizes[s]), np.ones(sizes[s])) for m in (0.3, 9.0) for s in phis
        ]
    table = []
    for m, phi in product((0.3, 3.0, 25.0), phis):
        one = np.ones(1)
        sd = float(np.sqrt(family.variance(m * one, None, phi * one, None)[0]))
        if is_real(family):
            # the trapezoid in t, y = m + sd sinh(t), which takes heavy tails too
            t = np.linspace(-40, 40, 16001)
            y, weight = m + sd * np.sinh(t), sd * np.cosh(t) * (t[1] - t[0])
            table.append((m, phi, None, y, weight))
        else:
            # the trapezoid on the log scale, where the density falls off at least like y^(1/phi)
            t = np.linspace(-90, 12, 40001)
            y, weight = m * np.exp(t), m * np.exp(t) * (t[1] - t[0])
            if accepts(family, 0.0):  # of which there is a probability, not a density
                y, weight = np.r_[0.0, y], np.r_[1.0, weight]
            table.append((m, phi, None, y, weight))
    return table


@exact
def test_moments(name):
    family = FAMILIES[name]
    for mu, phi, n, y, weight in law(name):
        at = [np.full(y.shape, v) if v is not None else None for v in (mu, phi, n)]
        m, s, trials = at
        nu = 1 - m if family.unit_interval else None
        t = family.evaluate(family.prepare(y, trials), m, nu, s)
        p = weight * np.exp(t.loglike)
        keep = p > 0
        one = [None if v is None else v[:1] for v in (m, nu, s, trials)]
        sums = [np.sum(p[keep] * h[keep]) for h in (np.ones_like(y), y)]
        mean = mu * n if family.counts_successes else mu
        assert_allclose(sums, [1, mean], rtol=INTEGRAL)
        variance = family.variance(*one)[0]
        assert_allclose(np.sum(p[keep] * (y[keep] - mean) ** 2), variance, rtol=INTEGRAL)
        # E score = 0, E Hessian = expected_hessian = - E score score'
        rows = family.prepare(y[:1], one[3])
        mm, mp_, pp = (h[0] for h in family.expected_hessian(rows, *one[:3]))
        sd_mu, sd_phi = np.sqrt(-mm), np.sqrt(-pp)
        e_mu, e_phi = (np.sum(p[keep] * h[keep]) for h in (t.mu, t.phi))
        assert abs(e_mu) < INTEGRAL * sd_mu
        assert abs(e_phi) <= INTEGRAL * sd_phi
        for observed, product_, value, unit in (
            (t.mu_mu, t.mu * t.mu, mm, sd_mu**2),
            (t.mu_phi, t.mu * t.phi, mp_, sd_mu * sd_phi),
            (t.phi_phi, t.phi * t.phi, pp, sd_phi**2),
        ):
            assert abs(np.sum(p[keep] * observed[keep]) - value) <= INTEGRAL * unit
            assert abs(np.sum(p[keep] * product_[keep]) + value) <= INTEGRAL * unit
        frozen = family.distribution(*one)
        assert_allclose(frozen.mean(), mean, rtol=INTEGRAL)
        assert_allclose(frozen.var(), variance, rtol=INTEGRAL)


@exact
def test_distribution_is_the_density(name):
    family, at = FAMILIES[name], points(name)
    frozen = family.distribution(at.mu, at.nu, at.phi, at.trials)
    density = frozen.logpmf if family.discrete else frozen.logpdf
    value = evaluated(name).loglike
    positive = np.where(at.phi > 0, at.phi, 1)
    size = (
        1
        + abs(value)
        + (0 if family.discrete else condition(name) + abs(np.log(positive)) / positive)
    )
    assert np.max(abs(density(at.y) - value) / size) < SCIPY


@pytest.mark.parametrize("name", [n for n, spec in SPEC_OF.items() if spec.scipy])
def test_scipy_density(name):
    family, at = FAMILIES[name], points(name)
    some = at.phi >= 0.05  # scipy forms differences of log-gammas of size 1/phi
    trials = None if at.trials is None else at.trials[some]
    frozen = SPEC_OF[name].scipy(at.mu[some], at.phi[some], trials)
    density = frozen.logpmf if family.discrete else frozen.logpdf
    assert_allclose(evaluated(name).loglike[some], density(at.y[some]), rtol=1e-9, atol=1e-11)


@exact
def test_distribution_function(name):
    """Differences of the distribution function are sums and integrals of the density."""
    family, nodes = FAMILIES[name], np.polynomial.legendre.leggauss(64)
    for mu, phi, n, *_ in law(name):
        one = [None if v is None else np.full(1, float(v)) for v in (mu, phi, n)]
        m, s, trials = one
        frozen = family.distribution(m, 1 - m if family.unit_interval else None, s, trials)
        if family.discrete:
            y = np.arange(float(min(frozen.ppf(1 - 1e-6)[0], 2000)) + 1)
            F, expected = frozen.cdf(y), np.cumsum(frozen.pmf(y))
        else:
            # from the lower decile: a Tweedie has a probability of 0, a density may be infinite there
            low = max(0.1, 1.01 * float(frozen.cdf(0.0)[0])) if accepts(family, 0.0) else 0.1
            y = (
                frozen.ppf(np.linspace(low, 0.999, 9))
                if low < 0.99
                else frozen.ppf([0.999, 0.9999])
            )
            half = 0.5 * np.diff(y)[:, None]
            x = 0.5 * (y[1:] + y[:-1])[:, None] + half * nodes[0]
            pieces = np.sum(half * nodes[1] * frozen.pdf(x.ravel()).reshape(x.shape), axis=1)
            F, expected = frozen.cdf(y)[1:] - frozen.cdf(y[0]), np.cumsum(pieces)
        assert_allclose(F, expected, rtol=1e-8, atol=INTEGRAL)
        assert_allclose(frozen.cdf(y) + frozen.sf(y), 1, atol=INTEGRAL)
        inside = y[(frozen.cdf(y) > 1e-6) & (frozen.sf(y) > 1e-6)]
        p = frozen.cdf(inside) - (1e-9 if family.discrete else 0)  # in the jump, not at its end
        assert_allclose(frozen.ppf(p), inside, rtol=1e-6)


@exact
def test_draws_have_normal_quantile_residuals(name):
    """What is simulated is of the distribution, by the residuals that find out if it is not."""
    family, rng = FAMILIES[name], np.random.default_rng(20261128)
    for mu, phi, n, *_ in law(name):
        m, s, trials = (None if v is None else np.full(DRAWS, float(v)) for v in (mu, phi, n))
        nu = 1 - m if family.unit_interval else None
        frozen = family.distribution(m, nu, s, trials)
        y = np.asarray(frozen.rvs(random_state=rng), dtype=float)
        family.validate(y, trials, "y")
        scores = normal_scores(tails(frozen, y), rng.uniform(size=DRAWS))
        assert stats.kstest(scores, "norm").pvalue > RARE, (mu, phi, n)


@exact
def test_score_by_response(name):
    """Influence on the estimates differentiates the score in a continuous response."""
    family, at = FAMILIES[name], points(name)
    rows = family.prepare(at.y, at.trials)
    try:
        got = family.score_by_response(rows, at.mu, at.nu, at.phi)
    except NotImplementedError:
        assert family.discrete or accepts(family, 0.0), "a density in a continuous response has it"
        return
    f = SPEC_OF[name].loglike
    with mp.workdps(DPS):
        for i in range(len(at.y)):
            y, mu, phi = mp.mpf(at.y[i]), mp.mpf(at.mu[i]), mp.mpf(at.phi[i])
            h = mp.mpf(10) ** -20 * min(1, abs(y) or 1, abs(mu) or 1)

            def value(y, m, p):
                return f(family, y, m, p, None)

            for part, order in zip(got, ((1, 1, 0), (1, 0, 1)), strict=True):
                expected = float(mp.diff(value, (y, mu, phi), order, h=h))
                assert_allclose(part[i], expected, rtol=BY_RESPONSE, atol=1e-12 / at.phi[i] ** 1.5)


@every
def test_mixed_dispersion_has_the_variance_of_the_mixture(name):
    # that of the response and that of its mean; of counts, given the mean it depends on the mean too
    family, at = FAMILIES[name], points(name)
    mu, nu, phi = at.mu, at.nu, at.phi
    own = phi if family.has_dispersion else 0 * phi
    assert_allclose(family.mixed_dispersion(mu, nu, phi, np.zeros_like(mu)), own, rtol=1e-14)
    spread = 0.01 * mu * nu if family.unit_interval else 0.01 * (1 + mu**2)
    dispersion = family.mixed_dispersion(mu, nu, phi, spread)
    mixed = family.mixed_family.variance(mu, nu, dispersion, at.trials)
    size = at.trials if family.counts_successes else np.ones_like(mu)
    h = np.sqrt(spread) if family.discrete else 0.0  # two means, as likely
    inside = [
        family.variance(mu + d, None if nu is None else nu - d, phi, at.trials) for d in (h, -h)
    ]
    expected = np.mean(inside, axis=0) + size**2 * spread
    assert_allclose(mixed, expected, rtol=1e-11)


@exact
def test_moment_dispersion_is_on_the_scale_of_phi(name):
    """Starting values are: at the boundary phi = 0 moments are of no use."""
    family = FAMILIES[name]
    some = family.has_dispersion and not isinstance(family, BoundaryFamily)
    for mu, phi, n, y, weight in law(name) if some else ():
        m, s = np.full(y.shape, mu), np.full(y.shape, phi)
        rows = family.prepare(y, None if n is None else np.full(y.shape, n))
        nu = 1 - m if family.unit_interval else None
        p = weight * np.exp(family.evaluate(rows, m, nu, s, 0).loglike)
        mean = np.sum(np.where(p > 0, p, 0) * family.moment_dispersion(rows, m, nu))
        assert 1 / 3 < mean / phi < 3


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.scale_power is not None])
@pytest.mark.parametrize("c", [0.125, 64.0])
def test_unit_of_the_response(name, c):
    """The distribution of y/c is of the family, with mean mu/c and dispersion phi c^(p - 2)."""
    family, at = FAMILIES[name], points(name)
    phi = at.phi * c ** (family.scale_power - 2)
    inner = family.evaluate(family.prepare(at.y / c, None), at.mu / c, None, phi, 0).loglike
    value = evaluated(name).loglike
    size = 1 + abs(value) + abs(np.log(at.phi)) / at.phi
    assert np.max(abs(inner - np.log(c) - value) / size) < SCIPY


@quasi
def test_quasi_likelihood_is_no_distribution(name):
    family, one = FAMILIES[name], np.ones(1)
    with pytest.raises(
        NotImplementedError, match=rf"{family.name} by extended quasi.*pairs.*cov_type"
    ):
        family.distribution(one, one, one, None)


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.counts_successes])
@pytest.mark.parametrize("n", [1, 2, 12, 60])
def test_binomial_at_zero_dispersion(name, n):
    family = FAMILIES[name]
    y = np.arange(n + 1.0)
    mu, trials = np.full(n + 1, 0.3125), np.full(n + 1, float(n))
    rows = family.prepare(y, trials)
    limit, close = (family.evaluate(rows, mu, 1 - mu, np.full(n + 1, phi)) for phi in (0.0, 1e-13))
    assert_allclose(limit.loglike, stats.binom.logpmf(y, n, mu), rtol=1e-12, atol=1e-13)
    for part, value in vars(limit).items():
        # continuous: 1e-13 away the next derivative, of order n^5, adds 1e-13 n^5
        assert_allclose(getattr(close, part), value, rtol=1e-8, atol=1e-13 * n**5)


# ---- extremes ----------------------------------------------------------------------------------


@exponential
@pytest.mark.parametrize("gap", [0.0, -1e-9, 1e-9, 1e-5, -0.01, 0.3])
def test_deviance_close_to_the_mean(name, gap):
    family = FAMILIES[name]
    deviance = SPEC_OF[name].deviance
    mu = np.array([0.25, 0.8125]) if family.unit_interval else np.array([0.25, 3.0, 700.0])
    y = mu * (1 + gap) if gap < 0.3 else mu * 1.125
    nu = 1 - mu if family.unit_interval else None
    got = family.unit_deviance(Rows(y, None, y), mu, nu)
    with mp.workdps(DPS):
        expected = [
            float(deviance(family, mp.mpf(a), mp.mpf(b))) for a, b in zip(y, mu, strict=True)
        ]
    # a rounding of y - mu, or of the complements' difference; subtracted logarithms lose its square
    rtol = 8 * EPS * (1 + 1 / abs(gap)) if gap else 0
    assert_allclose(got, expected, rtol=rtol, atol=1e-40)


@exponential
def test_deviance_far_from_the_mean(name):
    family = FAMILIES[name]
    deviance = SPEC_OF[name].deviance
    tiny = [1e-8, 1e-17, 1e-60]
    y = np.array([*tiny, 0.5, 0.5, 0.5])
    mu = np.array([0.5, 0.5, 0.5, *tiny])
    nu = 1 - mu if family.unit_interval else None
    got = family.unit_deviance(Rows(y, None, y), mu, nu)
    with mp.workdps(200):
        expected = [
            float(deviance(family, mp.mpf(a), mp.mpf(b))) for a, b in zip(y, mu, strict=True)
        ]
    assert_allclose(got, expected, rtol=1e-14)


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.unit_interval])
def test_upper_tail_is_the_mirrored_lower_one(name):
    family = FAMILIES[name]
    tail = np.array([1e-3, 1e-18, 1e-60])
    n = np.full(3, 5.0)
    whole = 5.0 if family.counts_successes else 1.0
    for y in (0.0, 0.4 * whole, whole):
        phi = np.full(3, 0.3)
        low = family.evaluate(family.prepare(np.full(3, y), n), tail, 1 - tail, phi)
        high = family.evaluate(family.prepare(np.full(3, whole - y), n), 1 - tail, tail, phi)
        signs = {"mu": -1, "mu_phi": -1}
        for part, value in vars(low).items():
            assert np.isfinite(value).all()
            mirrored = signs.get(part, 1) * getattr(high, part)
            assert_allclose(mirrored, value, rtol=1e-11, err_msg=part)


# ---- domain ------------------------------------------------------------------------------------


@every
def test_outside_the_domain(name):
    family = FAMILIES[name]
    means = [np.nan, np.inf] + [-0.5] * (not is_real(family)) + [1.5] * family.unit_interval
    inside = 0.5
    phis = [np.nan, -1.0, -np.inf] + [0.0] * (not isinstance(family, BoundaryFamily))
    phis = phis if family.has_dispersion else []
    outside = [(m, 1.0) for m in means] + [(inside, s) for s in phis]
    # every row has a neighbour inside, which must not be touched
    mu, phi = (np.array([*column, inside]) for column in zip(*outside, strict=True))
    y = np.full(len(mu), 1.0)
    nu = 1 - mu if family.unit_interval else None
    rows = family.prepare(y, np.full(len(mu), 3.0) if family.takes_trials else None)
    for order in range(3):
        loglike = family.evaluate(rows, mu, nu, phi, order).loglike
        wrong = [point for point, value in zip(outside, loglike, strict=False) if value != -np.inf]
        assert wrong == []
        assert np.isfinite(loglike[-1])


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.counts_successes])
def test_impossible_and_limiting_means(name):
    family = FAMILIES[name]
    n = np.full(4, 3.0)
    rows = family.prepare(np.array([1.0, 0.0, 1.0, 3.0]), n)
    mu = np.array([0.0, 0.0, 1.0, 1.0])
    value = family.evaluate(rows, mu, 1 - mu, np.full(4, 0.5), 0).loglike
    assert_allclose(value, [-np.inf, 0, -np.inf, 0], atol=1e-15)


@every
def test_validate(name):
    family = FAMILIES[name]
    for y, trials, message in SPEC_OF[name].refusals(family):
        with pytest.raises(ValueError, match=f"^strength: .*{message}"):
            family.validate(
                np.array(y, dtype=float), None if trials is None else np.array(trials), "strength"
            )
    at = points(name)
    family.validate(at.y, at.trials, "strength")


@every
def test_start(name):
    family, at = FAMILIES[name], points(name)
    rows = family.prepare(at.y, at.trials)
    mu = family.start(rows)
    nu = 1 - mu if family.unit_interval else None
    assert mu.shape == at.y.shape
    assert np.isfinite(family.evaluate(rows, mu, nu, np.ones_like(mu), 0).loglike).all()
    if family.unit_interval:
        assert np.all((mu > 0) & (mu < 1))
    elif not is_real(family):
        assert np.all(mu > 0)
    mu = 0.5 * (mu + np.median(mu))
    phi = family.moment_dispersion(rows, mu, None if nu is None else 1 - mu)
    assert phi.shape == at.y.shape
    assert np.all((phi >= 0) & np.isfinite(phi))
    assert np.any(phi > 0)


@every
def test_variance_takes_a_complex_step(name):
    # predictions differentiate it so
    family, at = FAMILIES[name], points(name)
    h = 1e-30
    real = family.variance(at.mu, at.nu, at.phi, at.trials)
    assert real.dtype == float
    nu = None if at.nu is None else at.nu - 1j * h
    by_mu = family.variance(at.mu + 1j * h, nu, at.phi, at.trials).imag / h
    by_phi = family.variance(at.mu, at.nu, at.phi + 1j * h, at.trials).imag / h
    nu = 1 - at.mu if at.nu is None else at.nu
    slopes = family.variance_slopes(at.mu, nu, at.phi, at.trials)
    for slope, stepped in zip(slopes, (by_mu, by_phi, real), strict=True):
        assert_allclose(slope, stepped, rtol=COMPLEX_STEP)
    with mp.workdps(DPS):
        for i in range(len(at.y)):
            m, s = mp.mpf(at.mu[i]), mp.mpf(at.phi[i])
            n = None if at.trials is None else int(at.trials[i])

            def variance(m, s, n=n):
                return SPEC_OF[name].variance(family, m, s, n)

            slopes = (
                mp.diff(variance, (m, s), (1, 0), h=1e-20),
                mp.diff(variance, (m, s), (0, 1), h=1e-20),
            )
            expected = np.array([variance(m, s), *slopes], dtype=float)
            got = [real[i], by_mu[i], by_phi[i]]
            assert_allclose(got, expected, rtol=COMPLEX_STEP, atol=COMPLEX_STEP * real[i])


@every
def test_pickling(name):
    family, at = FAMILIES[name], points(name)
    again = pickle.loads(pickle.dumps(family))
    assert vars(again) == vars(family)
    assert again.variance_formula == family.variance_formula
    rows = pickle.loads(pickle.dumps(again.prepare(at.y, at.trials)))
    got = again.evaluate(rows, at.mu, at.nu, at.phi)
    assert np.array_equal(got.loglike, evaluated(name).loglike)
    assert np.array_equal(pickle.loads(pickle.dumps(got)).phi_phi, got.phi_phi)


# ---- the saturated log-likelihood -------------------------------------------------------------------


@every
def test_saturated_is_the_supremum_over_the_mean(name):
    """At least the log-likelihood at any mean, and reached near the best of a fine grid of them."""
    family = FAMILIES[name]
    ys = [y for y in (0.0, 1.0, 3.0, 5.0) if family.takes_trials or accepts(family, y)]
    if not family.discrete and not family.unit_interval:
        ys.append(0.7)
    if is_real(family):
        ys.append(-1.3)
    assert ys
    share = np.concatenate([np.geomspace(1e-14, 0.5, 400), np.arange(1, 600) / 600])
    for y, phi in product(ys, (0.3, 2.0)):
        trials = np.array([5.0]) if family.takes_trials else None
        scaled = np.array([y / 5]) if family.takes_trials and not family.counts_successes else [y]
        rows = family.prepare(np.array(scaled, dtype=float), trials)
        best = family.saturated(rows, np.array([phi]))
        assert best.shape == (1,)
        if family.unit_interval:
            means, nus = np.append(share, 1 - share[:400]), np.append(1 - share, share[:400])
        else:
            means = np.append(12 * share, y) if not is_real(family) else 12 * share - 6
            means = means[family.in_domain(means)] if hasattr(family, "in_domain") else means
            means, nus = means[(means > 0) | is_real(family)], None
        n = len(means)
        rows = family.prepare(
            np.repeat(scaled, n), None if trials is None else np.repeat(trials, n)
        )
        values = family.evaluate(rows, means, nus, np.full(n, phi), 0).loglike
        assert best[0] >= np.max(values) - 1e-10 * (1 + abs(best[0]))
        assert best[0] == pytest.approx(np.max(values), abs=SATURATED)


#: Of the supremum and the best of a grid of means with steps of 1/50; nearly 0 at the ends.
SATURATED = 5e-3
