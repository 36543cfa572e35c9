"""Linear mixed models: profiled deviance, derivatives, information, boundary against dense algebra."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from mixed_cases import data, reference
from scipy import stats
from scipy.sparse import issparse as sparse_matrix
from statsmodels.genmod.families import links

from hetglm.design.random_terms import GroupingFactor
from hetglm.exceptions import UnboundedLikelihoodError
from hetglm.families.gamma import Gamma
from hetglm.families.gaussian import Gaussian
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.conditional import Uncertainty
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.cross_products import cross_products
from hetglm.mixed.fit import fit_mixed
from hetglm.mixed.linear import LinearMixedModel
from hetglm.mixed.linear_fit import fit_linear, is_linear
from hetglm.mixed.linear_search import SADDLE_STEP, newton_step

N = 60


def core(y, X, q=1, family=None, **keywords):
    """Return a Gaussian likelihood with a constant dispersion, or with a known one."""
    identity, log = links.Identity(), links.Log()
    return Likelihood(family or Gaussian(), identity, log, y, X, np.ones((len(y), q)), **keywords)


def factor(name, labels, values, blocks=None):
    """Return a grouping factor of the mean."""
    levels, codes = np.unique(labels, return_inverse=True)
    k = values.shape[1]
    columns = ("Intercept", *(f"x{j}" for j in range(1, k)))
    whole = (tuple(range(k)),)
    return GroupingFactor(
        name, tuple(levels), codes, values, columns, ("mean",) * k, blocks or whole
    )


@cache
def problem():
    """Return response, design, weights and grouping factors of unbalanced, crossed data."""
    rng = np.random.default_rng(7)
    g, h, x = rng.integers(0, 7, N), rng.integers(0, 5, N), rng.normal(size=N)
    X = np.column_stack([np.ones(N), x])
    y = X @ [1, 2] + rng.normal(size=7)[g] + x * rng.normal(size=7)[g] + rng.normal(size=N)
    y += 2 * rng.normal(size=5)[h]
    weights, freq = rng.uniform(0.5, 2, N), rng.integers(1, 3, N).astype(float)
    keywords = {
        "weights": weights,
        "freq": freq,
        "offset": rng.normal(size=N),
        "offset_dispersion": 0.1 * rng.normal(size=N),
    }
    factors = {
        "slopes": (factor("g", g, X),),
        "crossed": (factor("h", h, X[:, :1]), factor("g", g, X)),
        "independent": (factor("g", g, X), factor("h", h, X, ((0,), (1,)))),
    }
    return y, X, keywords, factors


def dense(likelihood, factors, Lambdas):
    """Return y, X and V = W^-1 + Z Lambda Lambda'Z' of the rows, each as often as its frequency."""
    none = np.zeros(N)
    freq, w, offset, shift = (
        default if a is None else a
        for a, default in (
            (likelihood.freq, none + 1),
            (likelihood.weights, none + 1),
            (likelihood.offset, none),
            (likelihood.offset_dispersion, none),
        )
    )
    rows = np.repeat(np.arange(N), freq.astype(int))
    V = np.diag((np.exp(shift) / w)[rows])
    for f, L in zip(factors, Lambdas, strict=True):
        B = (f.values @ L)[rows]
        V += (B @ B.T) * np.equal.outer(f.codes[rows], f.codes[rows])
    return (likelihood.y - offset)[rows], likelihood.X[rows], V


def projection(X, V, reml=True):
    """Return P, or V^-1 where the criterion is not adjusted for the mean."""
    inverse = np.linalg.inv(V)
    left = inverse @ X
    return inverse - reml * left @ np.linalg.solve(X.T @ left, left.T)


def deviance(y, X, V, phi, reml):
    """Return minus twice the maximum of the criterion over beta, and over phi where it is None."""
    q, nu = y @ projection(X, V) @ y, len(y) - reml * X.shape[1]
    phi = q / nu if phi is None else phi
    value = nu * np.log(2 * np.pi * phi) + q / phi + np.linalg.slogdet(V)[1]
    return value + reml * np.linalg.slogdet(X.T @ np.linalg.solve(V, X))[1]


def slopes(function, at, step=1e-5):
    """Return the central differences of a function of a vector."""
    steps = step * np.eye(len(at))
    return np.array([(function(at + e) - function(at - e)) / (2 * step) for e in steps])


@pytest.fixture(params=[False, True], ids=["dense", "sparse"])
def sparse(request, monkeypatch):
    """Have the matrices between factors as arrays, as small ones are, or sparse."""
    if request.param:
        monkeypatch.setattr("hetglm.mixed.cross_products.MAX_SMALL_CELLS", 0)
        monkeypatch.setattr("hetglm.mixed.cross_products.MIN_DENSITY", 1.0)
    return request.param


@pytest.mark.parametrize("known", [False, True], ids=["estimated", "known"])
@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
@pytest.mark.parametrize("name", ["slopes", "crossed", "independent"])
def test_profiled_deviance_and_derivatives(name, reml, known, sparse):
    y, X, keywords, factors = problem()
    likelihood, structure = core(y, X, **keywords), structure_of(factors[name])
    cross = cross_products(likelihood, X, factors[name])
    assert sparse_matrix(cross.between) == (sparse and name != "slopes")
    model = LinearMixedModel(cross, structure, reml, known)
    theta = np.random.default_rng(1).normal(size=structure.m)
    here = model.at(theta)
    Lambdas = structure.matrices(theta / model.scale)
    expected = deviance(*dense(likelihood, factors[name], Lambdas), 1.0 if known else None, reml)
    assert here.value == pytest.approx(expected, rel=1e-12)
    by_value = slopes(lambda t: model.at(t).value, theta)
    np.testing.assert_allclose(here.gradient, by_value, rtol=1e-6, atol=1e-6)
    by_gradient = slopes(lambda t: model.at(t).gradient, theta)
    _, X, V = dense(likelihood, factors[name], Lambdas)
    P = projection(X, V, reml)

    def covariance(t):
        return dense(likelihood, factors[name], structure.matrices(t / model.scale))[2]

    PV = [P @ V_a for V_a in slopes(covariance, theta, 0.1)]
    traces = np.array([[np.sum(a * b.T) for b in PV] for a in PV])
    if len(factors[name]) == 1:
        np.testing.assert_allclose(here.traces, traces, rtol=1e-10)
    # of several factors the traces stand for their expectation
    exact = here.hessian + here.traces - traces
    np.testing.assert_allclose(exact, by_gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
def test_lmer_sleepstudy(reml):
    case, frame = reference(f"lmer_sleepstudy_{'reml' if reml else 'ml'}"), data("sleepstudy")
    X = np.column_stack([np.ones(len(frame)), frame["Days"]])
    fit = fit_linear(
        core(frame["Reaction"].to_numpy(), X), (factor("Subject", frame["Subject"], X),), reml
    )
    assert fit.maximum == pytest.approx(case["llf"], abs=1e-7)
    assert fit.maximum > case["llf"] - 1e-10
    beta = list(case["beta"].values())
    np.testing.assert_allclose(fit.params[:2], beta, rtol=1e-9)
    sds = [*case["re_sd"], case["re_corr"][0][1]]
    # lmer stops where its deviance is 3e-8 above the minimum: 2e-4 standard errors
    assert np.all(np.abs(fit.params[3:] - sds) < 2e-4 * fit.bse[3:])
    np.testing.assert_allclose(fit.covariance[:2, :2], case["vcov"], rtol=1e-4)
    modes = pd.DataFrame(case["ranef"]).to_numpy()
    np.testing.assert_allclose(fit.effects[0].modes, modes, atol=1e-3)
    assert fit.integration == "exact" and fit.converged


def information_by_differences(function, at, units):
    """Return minus the second derivatives of a function of a vector."""
    steps, k = np.diag(3e-3 * units), len(at)
    out = np.empty((k, k))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            change = function(at + a + b) - function(at + a - b)
            change += function(at - a - b) - function(at - a + b)
            out[i, j] = -change / (4 * a[i] * b[j])
    return out


def loglike(psi, likelihood, factors, structure):
    """Return the marginal log-likelihood of reported parameters."""
    p, phi = likelihood.k_mean, np.exp(psi[likelihood.k_mean])
    Lambdas = structure.matrices(structure.of_reported(psi[p + 1 :]) / np.sqrt(phi))
    y, X, V = dense(likelihood, factors, Lambdas)
    r = y - X @ psi[:p]
    value = len(y) * np.log(2 * np.pi * phi) + np.linalg.slogdet(V)[1]
    return -(value + r @ np.linalg.solve(V, r) / phi) / 2


@pytest.mark.parametrize("name", ["slopes", "crossed"])
def test_information_is_that_of_the_marginal_likelihood(name):
    y, X, keywords, factors = problem()
    likelihood, structure = core(y, X, **keywords), structure_of(factors[name])
    fit = fit_linear(likelihood, factors[name])
    marginal = lambda psi: loglike(psi, likelihood, factors[name], structure)  # noqa: E731
    assert fit.llf == pytest.approx(marginal(fit.params), abs=1e-10)
    np.testing.assert_allclose(slopes(marginal, fit.params), 0, atol=1e-6)
    expected = information_by_differences(marginal, fit.params, fit.bse)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(fit.information / size, expected / size, atol=2e-5)
    np.testing.assert_allclose(fit.covariance @ fit.information, np.eye(len(fit.params)), atol=1e-9)


@pytest.mark.parametrize("name", ["slopes", "crossed"])
def test_restricted_likelihood_and_its_information(name):
    y, X, keywords, factors = problem()
    likelihood, structure = core(y, X, **keywords), structure_of(factors[name])
    fit = fit_linear(likelihood, factors[name], reml=True)

    def beta(psi):
        Lambdas = structure.matrices(structure.of_reported(psi[1:]) / np.sqrt(np.exp(psi[0])))
        y, X, V = dense(likelihood, factors[name], Lambdas)
        return np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))

    def restricted(psi):
        phi = np.exp(psi[0])
        Lambdas = structure.matrices(structure.of_reported(psi[1:]) / np.sqrt(phi))
        return -deviance(*dense(likelihood, factors[name], Lambdas), phi, True) / 2

    psi = fit.params[2:]
    assert fit.maximum == pytest.approx(restricted(psi), abs=1e-10)
    np.testing.assert_allclose(fit.params[:2], beta(psi), rtol=1e-8)
    information = information_by_differences(restricted, psi, fit.bse[2:])
    covariance = np.linalg.inv(information)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), fit.bse[2:], rtol=1e-4)
    phi = np.exp(psi[0])
    Lambdas = structure.matrices(structure.of_reported(psi[1:]) / np.sqrt(phi))
    _, X, V = dense(likelihood, factors[name], Lambdas)
    expected = phi * np.linalg.inv(X.T @ np.linalg.solve(V, X))
    np.testing.assert_allclose(fit.covariance[:2, :2], expected, rtol=1e-9)
    assert np.all(fit.covariance[:2, 2:] == 0)


@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
def test_modes_and_their_covariance(reml):
    y, X, keywords, factors = problem()
    likelihood, pair = core(y, X, **keywords), factors["crossed"]
    structure = structure_of(pair)
    fit = fit_linear(likelihood, pair, reml)
    phi = np.exp(fit.params[2])
    y, X, V = dense(likelihood, pair, structure.matrices(fit.theta / np.sqrt(phi)))
    rows = np.repeat(np.arange(N), keywords["freq"].astype(int))
    P = np.linalg.inv(phi * V)
    r = P @ (y - X @ fit.params[:2])
    for f, Lambda, effects in zip(pair, structure.matrices(fit.theta), fit.effects, strict=True):
        Z = [np.equal(f.codes, g)[rows, None] * f.values[rows] for g in range(len(f.levels))]
        S = Lambda @ Lambda.T
        np.testing.assert_allclose(effects.modes, [S @ z.T @ r for z in Z], rtol=1e-9)
        given = [S - S @ z.T @ P @ z @ S for z in Z]
        np.testing.assert_allclose(effects.covariance, given, rtol=1e-9)
        np.testing.assert_allclose(effects.modes, effects.standardized @ Lambda.T, rtol=1e-10)


@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
@pytest.mark.parametrize("name", ["slopes", "crossed"])
def test_laplace_approximation_is_the_same(name, reml, monkeypatch):
    y, X, keywords, factors = problem()
    ours, names = core(y, X, **keywords), ["Intercept", "x", "dispersion"]
    fit = fit_mixed(ours, factors[name], names, reml)
    assert fit.integration == "exact"
    monkeypatch.setattr("hetglm.mixed.fit.is_linear", lambda *_: False)
    other = fit_mixed(ours, factors[name], names, reml)
    assert other.integration == "exact" and other.evaluations > fit.evaluations
    assert fit.maximum == pytest.approx(other.maximum, abs=1e-9)
    np.testing.assert_allclose(fit.params, other.params, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(fit.theta, other.theta, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(fit.bse, other.bse, rtol=1e-6)
    for a, b in zip(fit.effects, other.effects, strict=True):
        np.testing.assert_allclose(a.modes, b.modes, atol=1e-6)
        np.testing.assert_allclose(a.standardized, b.standardized, atol=1e-6)
        np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-6)


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "general"])
def test_uncertainty_of_the_mean_counts_once_after_reml(linear, monkeypatch):
    y, X, _, factors = problem()
    likelihood, f = core(y, X), factors["slopes"][0]
    monkeypatch.setattr("hetglm.mixed.fit.is_linear", lambda *_: linear)
    fit = fit_mixed(likelihood, (f,), ["Intercept", "x", "dispersion"], reml=True)
    slope = Uncertainty(likelihood, (f,), fit).slopes[0][..., :2]
    covariance = fit.effects[0].covariance + slope @ fit.covariance[:2, :2] @ slope.swapaxes(1, 2)
    # Henderson's mixed model equations
    phi, Lambda = np.exp(fit.params[2]), structure_of((f,)).matrices(fit.theta)[0]
    Z = np.einsum("ng,nj->ngj", np.equal.outer(f.codes, range(7)), f.values).reshape(N, -1)
    both = np.column_stack([X, Z])
    prior = np.kron(np.eye(7), phi * np.linalg.inv(Lambda @ Lambda.T))
    equations = both.T @ both
    equations[2:, 2:] += prior
    expected = phi * np.linalg.inv(equations)[2:, 2:].reshape(7, 2, 7, 2)
    np.testing.assert_allclose(covariance, np.einsum("gjgk->gjk", expected), rtol=1e-6, atol=1e-9)


def without_variance(seed=0):
    """Return data whose groups differ less than rows do: the variance of the groups is 0."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(10), 6)
    y = rng.normal(size=N)
    return y - np.array([y[g == k].mean() for k in range(10)])[g] + 1.0, g


@pytest.mark.parametrize("reml", [False, True], ids=["ml", "reml"])
def test_variance_of_zero(reml):
    y, g = without_variance()
    one = np.ones((N, 1))
    fit = fit_linear(core(y, one), (factor("g", g, one),), reml)
    assert fit.params[2] == 0 and np.isnan(fit.bse[2])
    np.testing.assert_array_equal(fit.at_boundary, [False, False, True])
    variance = np.var(y, ddof=int(reml))
    assert fit.params[1] == pytest.approx(np.log(variance), abs=1e-10)
    expected = [np.sqrt(variance / N), np.sqrt(2 / (N - reml))]
    np.testing.assert_allclose(fit.bse[:2], expected, rtol=1e-10)
    assert np.all(fit.effects[0].modes == 0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_correlation_of_one(sign):
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(10), 6), np.tile(np.linspace(-1, 1, 6), 10)
    X = np.column_stack([np.ones(N), x])
    b = rng.normal(size=10)
    noise = 0.5 * rng.normal(size=(10, 6))
    noise -= noise.mean(axis=1, keepdims=True)
    noise -= np.outer(noise @ x[:6] / (x[:6] @ x[:6]), x[:6])
    y = X @ [1, 1] + b[g] + sign * x * b[g] + noise.ravel()
    fit = fit_linear(core(y, X), (factor("g", g, X),))
    assert fit.params[5] == sign
    np.testing.assert_array_equal(fit.at_boundary, [False] * 5 + [True])
    assert np.isnan(fit.bse[5]) and np.all(np.isfinite(fit.bse[:5]))
    one = (factor("g", g, X @ [[1.0], [sign * fit.params[4] / fit.params[3]]]),)
    assert fit_linear(core(y, X), one).llf == pytest.approx(fit.llf, abs=1e-9)


def test_effect_without_variance_beside_one_with():
    y, g = without_variance()
    x = np.tile(np.linspace(-1, 1, 6), 10)
    X = np.column_stack([np.ones(N), x])
    y = y + x * np.random.default_rng(1).normal(size=10)[g]
    fit = fit_linear(core(y, X), (factor("g", g, X),))
    assert fit.params[3] == 0 and np.isnan(fit.params[5])
    smaller = fit_linear(core(y, X), (factor("g", g, X[:, 1:]),))
    assert fit.llf == pytest.approx(smaller.llf, abs=1e-9)
    np.testing.assert_allclose(fit.bse[[0, 1, 2, 4]], smaller.bse, rtol=1e-6)


def test_scale_of_response_and_columns_is_no_matter():
    y, X, _, factors = problem()
    (slopes,) = factors["slopes"]
    fit = fit_linear(core(y, X), (slopes,))
    scaled = factor("g", slopes.codes, slopes.values * [1, 1e4])
    other = fit_linear(core(1e-3 * y + 1e4, X * [1, 1e4]), (scaled,))
    assert other.llf == pytest.approx(fit.llf - N * np.log(1e-3), abs=1e-7)
    expected = fit.params[3:] * [1e-3, 1e-7, 1]
    np.testing.assert_allclose(other.params[3:], expected, rtol=1e-6)


def test_aliased_column_has_no_estimate():
    y, X, _, factors = problem()
    fit = fit_linear(core(y, X), factors["slopes"])
    more = fit_linear(core(y, np.column_stack([X, X[:, 1] * 2])), factors["slopes"])
    np.testing.assert_array_equal(np.isnan(more.params), [False, False, True, *[False] * 4])
    np.testing.assert_allclose(np.delete(more.params, 2), fit.params, rtol=1e-9)
    np.testing.assert_allclose(np.delete(more.bse, 2), fit.bse, rtol=1e-7)


def test_known_dispersion_is_a_meta_analysis():
    rng = np.random.default_rng(5)
    v = rng.uniform(0.1, 1, N)
    y = 1 + 0.7 * rng.normal(size=N) + np.sqrt(v) * rng.normal(size=N)
    one = np.ones((N, 1))
    likelihood = core(y, one, q=0, offset_dispersion=np.log(v))
    fit = fit_linear(likelihood, (factor("study", np.arange(N), one),))
    w = 1 / (v + fit.params[1] ** 2)
    assert fit.params[0] == pytest.approx(np.average(y, weights=w), rel=1e-10)
    r = y - fit.params[0]
    assert abs(np.sum(w**2 * r**2 - w)) < 1e-7 * np.sum(w)
    assert fit.llf == pytest.approx(-0.5 * np.sum(np.log(2 * np.pi / w) + w * r**2), rel=1e-12)


def test_rows_that_the_effects_fit_are_refused():
    one = np.ones((N, 1))
    y, g = np.repeat(np.random.default_rng(0).normal(size=10), 6), np.repeat(np.arange(10), 6)
    with pytest.raises(UnboundedLikelihoodError, match="fit every row"):
        fit_linear(core(y, one), (factor("g", g, one),))


def test_search_leaves_a_saddle_point():
    step, promised = newton_step(np.zeros(2), np.diag([1.0, -4.0]))
    np.testing.assert_allclose(np.abs(step), [0, SADDLE_STEP])
    assert promised == pytest.approx(4 * SADDLE_STEP**2)


def test_search_ends_where_rows_are_far_less_than_groups():
    rng = np.random.default_rng(2)
    g, h = rng.integers(0, 10, N), rng.integers(0, 4, N)
    one = np.ones((N, 1))
    y = rng.normal(size=10)[g] + rng.normal(size=4)[h] + 3e-3 * rng.normal(size=N)
    likelihood, pair = core(y, one), (factor("g", g, one), factor("h", h, one))
    assert fit_linear(likelihood, pair).iterations < 30
    # cross-products have lost 5 digits of the log-likelihood: the fit is by rows
    fit = fit_mixed(likelihood, pair, ["Intercept", "dispersion"])
    assert fit.converged
    covariance = np.exp(fit.params[1]) * np.eye(N)
    for codes, sd in zip((g, h), fit.params[2:], strict=True):
        covariance += sd**2 * np.equal.outer(codes, codes)
    normal = stats.multivariate_normal(np.full(N, fit.params[0]), covariance)
    assert fit.llf == pytest.approx(normal.logpdf(y), abs=1e-7)


def test_what_is_linear():
    y, X, _, factors = problem()
    slopes = factors["slopes"]
    assert is_linear(core(y, X), slopes) and is_linear(core(y, X, q=0), slopes)
    assert not is_linear(core(np.exp(y), X, family=Gamma()), slopes)
    varying = core(y, X).with_designs(Z=X)
    assert not is_linear(varying, slopes)
