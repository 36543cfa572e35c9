"""REML: the adjusted profile likelihood against independent forms of it, and what rests on it."""

import copy
import json
import pickle
import warnings
from functools import cache
from pathlib import Path

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, simulated
from covariances import AFTER_REML
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.datasets import load_cats, load_clotting, load_welding
from hetglm.estimation import reml as reml_module
from hetglm.exceptions import (
    AliasedColumnWarning,
    NotNestedError,
    UnboundedLikelihoodError,
    UntestedTermWarning,
)
from hetglm.families.special import tweedie
from hetglm.likelihood.adjusted_profile import (
    AdjustedProfile,
    evaluate,
    inverse_cholesky,
    mean_given,
    weighted_cross_products,
    working,
)
from hetglm.utils import linalg
from hetglm.utils.parallel import generator

REFERENCE = Path(__file__).parents[1] / "reference"
FAMILIES, LINKS = sm.families, sm.families.links
D = simulated()
WELDING = "Strength ~ Drying + Material | Material + Method + Preheating"

#: remlscore stops at a scaled score of 3e-3 (tol = 1e-5) and takes one more step of scoring: on the
#: welding data, and on the cats, that is this many standard errors short of the maximum.
REMLSCORE, REMLSCORE_CATS = 2e-7, 5e-6
#: dglm's alternation went on to where nothing moves; 12 digits are printed.
DGLM = 1e-11
#: Gradient, in standard errors, against differences of sixth order with steps of 0.03 standard
#: errors: the criterion's rounding of 1e-14 over the step; some links have second derivatives by
#: numerical differences in statsmodels.
GRADIENT = 1e-7
#: Differences of the gradient, Richardson's with steps of 0.02 standard errors in the package and of
#: sixth order here, in units of the information.
CURVATURE = 3e-7
#: Two converged fits, in standard errors.
AT_MAXIMUM = 1e-6
#: The same numbers in another order of additions.
ROUNDING = 1e-9
MONTE_CARLO = 4.5


def quiet(call, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


# ---- an independent criterion ------------------------------------------------------------------


def working_weights(model, params):
    """Return W of the adjustment, from the family and the link of statsmodels."""
    p = model.exog.shape[1]
    core = model.core
    eta = model.exog @ params[:p] + (0 if core.offset is None else core.offset)
    zeta = model.exog_dispersion @ params[p:]
    zeta = zeta + (0 if core.offset_dispersion is None else core.offset_dispersion)
    mu, phi = model.link.inverse(eta), model.link_dispersion.inverse(zeta)
    weight = 1.0 if core.weights is None else core.weights
    freq = 1.0 if core.freq is None else core.freq
    return freq * weight / (phi * model.family.variance(mu) * model.link.deriv(mu) ** 2)


def mean_at(model, beta, gamma):
    """Return the mean's coefficients that maximise the likelihood given those of the dispersion."""
    k = len(beta)
    for _ in range(60):
        params = np.concatenate([beta, gamma])
        hessian, score = model.hessian(params)[:k, :k], model.score(params)[:k]
        step = np.linalg.solve(-hessian, score)
        beta = beta + step
        if abs(score @ step) < 1e-26:
            break
    return beta


def criterion(model, beta, gamma):
    """Return the adjusted profile log-likelihood at gamma, the mean solved from beta."""
    params = np.concatenate([mean_at(model, beta, gamma), gamma])
    X = model.exog
    _, log_det = np.linalg.slogdet(X.T @ (working_weights(model, params)[:, None] * X))
    return model.loglike(params) - 0.5 * log_det


def differences(function, point, steps):
    """Return the gradient by central differences of sixth order."""
    weights = {1: 45, 2: -9, 3: 1}
    out = []
    for j, h in enumerate(steps):
        e = np.eye(len(point))[j] * h
        ahead = sum(
            w * (function(point + m * e) - function(point - m * e)) for m, w in weights.items()
        )
        out.append(ahead / (60 * h))
    return np.array(out)


# ---- all families and links --------------------------------------------------------------------


def free(family, link, **kwargs):
    return family(link, check_link=False, **kwargs)


GRID = {
    "gaussian": ("gaussian", FAMILIES.Gaussian()),
    "gaussian-log": ("positive", FAMILIES.Gaussian(LINKS.Log())),
    "gaussian-inverse": ("positive", FAMILIES.Gaussian(LINKS.InversePower())),
    "gamma": ("positive", FAMILIES.Gamma()),
    "gamma-log": ("positive", FAMILIES.Gamma(LINKS.Log())),
    "gamma-identity": ("positive", FAMILIES.Gamma(LINKS.Identity())),
    "gamma-power": ("positive", free(FAMILIES.Gamma, LINKS.Power(0.3))),
    "invgauss": ("wald", FAMILIES.InverseGaussian()),
    "invgauss-log": ("wald", FAMILIES.InverseGaussian(LINKS.Log())),
    "invgauss-inverse": ("wald", FAMILIES.InverseGaussian(LINKS.InversePower())),
    "poisson": ("count", FAMILIES.Poisson()),
    "poisson-sqrt": ("count", FAMILIES.Poisson(LINKS.Sqrt())),
    "poisson-identity": ("count", FAMILIES.Poisson(LINKS.Identity())),
    "binomial": ("K", FAMILIES.Binomial()),
    "binomial-probit": ("K", FAMILIES.Binomial(LINKS.Probit())),
    "binomial-cloglog": ("K", FAMILIES.Binomial(LINKS.CLogLog())),
    "binomial-cauchy": ("K", FAMILIES.Binomial(LINKS.Cauchy())),
    "binomial-log": ("K", FAMILIES.Binomial(LINKS.Log())),
    "negbin": ("count", FAMILIES.NegativeBinomial(LINKS.Log(), alpha=0.1)),
    "negbin-sqrt": ("count", free(FAMILIES.NegativeBinomial, LINKS.Sqrt(), alpha=0.1)),
    "tweedie": ("positive", FAMILIES.Tweedie(LINKS.Log(), var_power=1.6)),
    "tweedie-power": ("positive", free(FAMILIES.Tweedie, LINKS.Power(-0.6), var_power=1.6)),
    "tweedie-2.5": ("positive", FAMILIES.Tweedie(LINKS.Log(), var_power=2.5)),
    "tweedie-exact": ("claims", FAMILIES.Tweedie(LINKS.Log(), var_power=1.5)),
    "tweedie-exact-power": ("claims", free(FAMILIES.Tweedie, LINKS.Power(0.3), var_power=1.3)),
}
DISPERSION_LINKS = {"log": LINKS.Log(), "sqrt": LINKS.Sqrt(), "inverse": LINKS.InversePower()}
SEVERAL_LINKS = ["gaussian", "gamma", "invgauss-log", "poisson", "binomial-probit", "tweedie-exact"]
ALL = [
    *((name, "log") for name in GRID),
    *((name, link) for name in SEVERAL_LINKS for link in ("sqrt", "inverse")),
    # the mean of the first start runs out of the domain of its link
    ("invgauss-inverse", "inverse"),
]
every = pytest.mark.parametrize(("name", "link"), ALL)


def build(name, link="log", data=None, **kwargs):
    """Return a model of 60 rows with four columns of the mean and three of the dispersion."""
    data = D[:60] if data is None else data
    response, family = GRID[name]
    X = np.column_stack([np.ones(len(data)), data["x"], data["group"] == "b", data["group"] == "c"])
    Z = np.column_stack([np.ones(len(data)), data["z"], data["group"] == "b"])
    y = np.column_stack([data["K"], data["N"] - data["K"]]) if response == "K" else data[response]
    X, Z, y = (np.asarray(a, dtype=float) for a in (X, Z, y))
    arrays = {"X": X, "Z": Z, **{k: kwargs.pop(k) for k in ("X", "Z") if k in kwargs}}
    if "exact" in name:
        kwargs["likelihood"] = "exact"
    elif name in ("tweedie", "tweedie-power"):
        kwargs["likelihood"] = "eql"
    link_dispersion = DISPERSION_LINKS[link]
    return het.DoubleGLM(
        y, arrays["X"], arrays["Z"], family=family, link_dispersion=link_dispersion, **kwargs
    )


@cache
def grid_fit(name, link="log"):
    return build(name, link).fit(reml=True)


def at(res, gamma=None):
    """Return our point of the adjusted profile likelihood, at the fit or elsewhere."""
    k = res.model.core.k_mean
    beta, fitted = res.fit.internal[:k], res.fit.internal[k:]
    return evaluate(res.model.core, beta, fitted if gamma is None else gamma)


@every
def test_gradient_of_the_criterion(name, link):
    res = grid_fit(name, link)
    beta = res.params[: res.model.core.k_mean]
    gamma, se = np.split(np.array([res.params, res.bse]), [len(beta)], axis=1)[1]
    away = gamma + 0.4 * se * np.cos(np.arange(len(se)))
    point = at(res, away)
    assert_allclose(point.value, criterion(res.model, beta, away), rtol=ROUNDING)
    numerical = differences(lambda g: criterion(res.model, beta, g), away, 0.03 * se)
    assert np.abs(se * numerical).max() > 0.1
    assert_allclose(se * point.gradient, se * numerical, atol=GRADIENT)


@every
def test_maximum(name, link):
    res = grid_fit(name, link)
    point = at(res)
    se = np.sqrt(np.diag(np.linalg.inv(point.expected)))
    assert res.converged
    assert_allclose(se * point.gradient, 0, atol=AT_MAXIMUM)
    assert res.llf_reml == pytest.approx(point.value, rel=ROUNDING)
    assert res.llf == pytest.approx(res.model.loglike(res.params), rel=ROUNDING)
    assert_allclose(
        res.model.score(res.params)[: len(point.beta)] * res.bse[: len(point.beta)],
        0,
        atol=AT_MAXIMUM,
    )
    for sign in (-1, 1):
        start = res.params + sign * 0.7 * res.bse * np.concatenate(
            [np.zeros(len(point.beta)), [1, -1, 1]]
        )
        again = res.model.fit(start_params=start, reml=True)
        assert again.llf_reml == pytest.approx(res.llf_reml, rel=ROUNDING)
        assert_allclose(again.params / res.bse, res.params / res.bse, atol=AT_MAXIMUM)


@every
def test_observed_information(name, link):
    res = grid_fit(name, link)
    k = res.model.core.k_mean
    gamma = res.params[k:]
    oim = res.model.fit(reml=True, cov_type="oim", start_params=res.params)
    hessian = differences(lambda g: at(res, g).gradient, gamma, 0.02 * res.bse[k:])
    observed = np.linalg.inv(oim.cov_params()[k:, k:])
    scale = np.sqrt(np.diag(observed))
    assert_allclose(
        observed / np.outer(scale, scale), -hessian / np.outer(scale, scale), atol=CURVATURE
    )
    # the mean: its own information, and what the dispersion's uncertainty adds as it moves
    joint = res.model.hessian(res.params)
    own = np.linalg.inv(-joint[:k, :k])
    moves = own @ joint[:k, k:]
    expected = own + moves @ np.linalg.inv(observed) @ moves.T
    assert_allclose(
        oim.cov_params()[:k, :k], expected, rtol=CURVATURE, atol=CURVATURE * expected.max()
    )
    assert_allclose(oim.cov_params()[:k, k:], moves @ np.linalg.inv(observed), rtol=1e-5, atol=1e-8)


@every
def test_expected_information(name, link):
    res = grid_fit(name, link)
    k, model = res.model.core.k_mean, res.model
    root = np.sqrt(working_weights(model, res.params))[:, None] * model.exog
    H = root @ np.linalg.solve(root.T @ root, root.T)
    zeta = model.exog_dispersion @ res.params[k:]
    phi = model.link_dispersion.inverse(zeta)
    SZ = model.exog_dispersion * (model.link_dispersion.inverse_deriv(zeta) / phi)[:, None]
    kappa = np.full(len(phi), 0.5)
    if isinstance(model.family, FAMILIES.Gamma):
        kappa = [float(mp.psi(1, 1 / f) / f**2 - 1 / f) for f in phi]
    elif model.likelihood == "exact":
        power = model.family.var_power
        kappa = tweedie.information(res.fittedvalues ** (2 - power) / phi, power)
    expected = (
        SZ.T @ (np.diag(kappa) - 0.5 * np.eye(len(phi)) + 0.5 * (np.eye(len(phi)) - H) ** 2) @ SZ
    )
    for cov_type in ("nonrobust", "eim"):
        cov = model.fit(reml=True, cov_type=cov_type, start_params=res.params).cov_params()
        assert_allclose(np.linalg.inv(cov[k:, k:]), expected, rtol=1e-7)
        assert_allclose(cov[:k, :k], np.linalg.inv(root.T @ root), rtol=1e-7)
        assert not cov[:k, k:].any()


def test_expected_information_is_the_mean_of_the_observed():
    # Gaussian with few rows: every term counts, the off-diagonal h_ij^2 too
    model = build("gaussian", data=D[:12])
    rng = np.random.default_rng(5)
    params = np.array([1.0, 0.4, 0.3, 0.0, -0.8, 0.9, 0.2])
    core = model.core
    phi, mu = np.exp(core.Z @ params[4:]), core.X @ params[:4]
    points = [
        evaluate(
            core.with_response(mu + np.sqrt(phi) * rng.normal(size=12)), params[:4], params[4:]
        )
        for _ in range(400)
    ]
    assert_allclose(points[0].expected, points[1].expected, rtol=ROUNDING)
    for values in (
        [p.information - p.expected for p in points],
        [np.outer(p.gradient, p.gradient) - p.expected for p in points],
        [p.gradient for p in points],
    ):
        mean, se = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(len(points))
        assert np.abs(mean / se).max() < MONTE_CARLO


# ---- references --------------------------------------------------------------------------------


def case(name, *parts):
    block = json.loads((REFERENCE / f"{name}.json").read_text())
    for part in parts:
        block = block[part]
    return block


def test_welding():
    ref = case("gaussian_reml_welding_remlscore")
    res = hmf.doubleglm(WELDING, load_welding()).fit(reml=True)
    theirs = np.array(ref["beta"] + ref["gamma_log_variance"])
    assert_allclose(res.params / res.bse, theirs / res.bse, atol=REMLSCORE)
    assert_allclose(res.bse, ref["se_beta"] + ref["se_gamma"], rtol=REMLSCORE)
    assert_allclose(res.fittedvalues, ref["mu"], rtol=REMLSCORE)
    assert_allclose(res.fitted_dispersion, ref["phi"], rtol=REMLSCORE)
    assert -2 * res.llf_reml == pytest.approx(ref["deviance"], abs=1e-10)
    assert -2 * res.llf_reml <= ref["deviance"] + 1e-12
    k, core = 3, res.model.core
    weight = working(core, res.fit.internal).weight
    h, _ = weighted_cross_products(core.X, at(res).T, weight, core.Z[:, :0])
    # its leverages are those before the last step
    assert_allclose(h, ref["h"], atol=REMLSCORE)
    assert h.sum() == pytest.approx(k)
    dglm = case("gaussian_welding_dglm", "reml")
    assert_allclose(res.params, [*dglm["beta"].values(), *dglm["gamma"].values()], atol=DGLM)


def test_cats():
    ref = case("gaussian_cats_peers", "remlscore")
    res = hmf.doubleglm("Hwt ~ Bwt | Bwt", load_cats()).fit(reml=True)
    theirs = np.array(ref["beta"] + ref["gamma_log_variance"])
    assert_allclose(res.params / res.bse, theirs / res.bse, atol=REMLSCORE_CATS)
    assert_allclose(res.bse, ref["se_beta"] + ref["se_gamma"], rtol=REMLSCORE_CATS)
    assert -2 * res.llf_reml == pytest.approx(ref["deviance"], abs=1e-9)
    assert -2 * res.llf_reml <= ref["deviance"]
    beta, k = np.array(ref["beta"]), 2
    at_theirs = criterion(res.model, beta, theirs[k:])
    assert res.llf_reml >= at_theirs - 1e-10


def clotting_criterion(*gamma):
    """Return the adjusted profile likelihood of the clotting data to 30 digits."""
    data = load_clotting(wide=True)
    y, u = ([mp.mpf(float(v)) for v in data[c]] for c in ("lot1", "u"))
    x = [mp.log(v) for v in u]
    k = [mp.exp(-gamma[0] - gamma[1] * v) for v in u]

    def score(b0, b1):
        # the inverse is the canonical link: k (1/eta - y)
        r = [ki * (1 / (b0 + b1 * xi) - yi) for ki, xi, yi in zip(k, x, y, strict=True)]
        return [mp.fsum(r), mp.fsum(ri * xi for ri, xi in zip(r, x, strict=True))]

    b0, b1 = mp.findroot(score, (mp.mpf("-0.01786"), mp.mpf("0.015965")))
    mu = [1 / (b0 + b1 * xi) for xi in x]
    W = [ki * m**2 for ki, m in zip(k, mu, strict=True)]
    s = [mp.fsum(w * xi**j for w, xi in zip(W, x, strict=True)) for j in range(3)]
    loglike = mp.fsum(
        ki * mp.log(ki / m) + (ki - 1) * mp.log(yi) - ki * yi / m - mp.loggamma(ki)
        for ki, m, yi in zip(k, mu, y, strict=True)
    )
    return loglike - mp.log(s[0] * s[2] - s[1] ** 2) / 2


def test_clotting_is_at_the_maximum_not_at_the_fixed_point_of_leverage_scoring():
    data = load_clotting(wide=True)
    res = hmf.doubleglm("lot1 ~ np.log(u) | u", data, family=FAMILIES.Gamma()).fit(reml=True)
    gamma = res.params_dispersion.to_numpy()
    assert_allclose(gamma, [-4.464908, -0.0664469], atol=2e-6)
    fixed = np.array([-4.466469, -0.0664043])
    with mp.workdps(30):
        here = [mp.mpf(g) for g in gamma]
        gradient = [float(mp.diff(clotting_criterion, here, n)) for n in ((1, 0), (0, 1))]
        best, there = clotting_criterion(*here), clotting_criterion(*map(mp.mpf, fixed))
    se = res.bse.to_numpy()[2:]
    assert_allclose(gradient * se, 0, atol=AT_MAXIMUM)
    assert res.llf_reml == pytest.approx(float(best), rel=1e-12)
    assert 1e-7 < float(best - there) < 1e-4
    # leverage scoring stops where this vanishes: not at the maximum
    core, beta = res.model.core, res.fit.internal[:2]

    def leverage_score(g):
        point = evaluate(core, beta, g)
        params = np.concatenate([point.beta, g])
        f, w = core.factors(params, 1), working(core, params)
        h, _ = weighted_cross_products(core.X, point.T, w.weight, core.Z[:, :0])
        return core.Z.T @ (f.zeta + 0.5 * h) * se

    assert_allclose(leverage_score(fixed), 0, atol=1e-4)
    assert np.abs(leverage_score(gamma)).max() > 1e-3


def test_constant_dispersion_is_the_unbiased_one():
    rng = np.random.default_rng(1)
    X = sm.add_constant(rng.normal(size=(20, 5)))
    y = rng.normal(size=20)
    ml, reml = (het.DoubleGLM(y, X).fit(reml=r).fitted_dispersion[0] for r in (False, True))
    assert reml == pytest.approx(ml * 20 / 14, rel=1e-12)
    assert reml == pytest.approx(sm.OLS(y, X).fit().scale, rel=1e-12)


@pytest.mark.slow
def test_dispersion_is_unbiased_where_the_mean_takes_many_coefficients():
    # p/n = 0.3; ML estimates 0.7 of the dispersion
    n, p, phi = 30, 9, 2.0
    rng = np.random.default_rng(3)
    X = sm.add_constant(rng.normal(size=(n, p - 1)))
    model = het.DoubleGLM(rng.normal(size=n), X)
    for reml, expected in ((True, phi), (False, 0.7 * phi)):
        responses = X @ np.ones(p) + np.sqrt(phi) * rng.normal(size=(2000, n))
        draws = [model.clone(endog=y).fit(reml=reml).fitted_dispersion[0] for y in responses]
        assert abs(np.mean(draws) - expected) < MONTE_CARLO * np.std(draws) / np.sqrt(2000)


# ---- equivariance ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "gamma", "poisson-sqrt", "binomial-cloglog"])
@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_scale_of_columns_is_immaterial(name, size):
    res = grid_fit(name)
    X, Z = res.model.exog.copy(), res.model.exog_dispersion.copy()
    X[:, 1] *= size
    Z[:, 1] /= size
    scaled = build(name, X=X, Z=Z).fit(reml=True)
    factor = np.array([1, size, 1, 1, 1, 1 / size, 1])
    assert_allclose(scaled.params * factor / res.bse, res.params / res.bse, atol=AT_MAXIMUM)
    assert_allclose(scaled.bse * factor, res.bse, rtol=AT_MAXIMUM)
    assert scaled.llf_reml == pytest.approx(res.llf_reml - np.log(size), rel=ROUNDING)


@pytest.mark.parametrize("name", ["gaussian", "gamma-log", "poisson"])
def test_nearly_dependent_columns_keep_their_digits(name):
    # year and its square: a part in 4e4 of the column is its own, squared 6e-10
    year = 2000 + 10 * D["z"][:60].to_numpy()
    basis = (np.ones(60), (year - 2000) / 10, ((year - 2000) / 10) ** 2)
    good = build(name, X=np.column_stack(basis)).fit(reml=True)
    bad = build(name, X=np.column_stack([np.ones(60), year, year**2])).fit(reml=True)
    assert bad.converged
    assert_allclose(bad.params[3:], good.params[3:], rtol=1e-9)
    assert_allclose(bad.bse[3:], good.bse[3:], rtol=1e-9)
    assert_allclose(bad.bse[2] * 100, good.bse[2], rtol=1e-9)
    assert_allclose(bad.params[2] * 100, good.params[2], rtol=1e-7)


@pytest.mark.parametrize("apart", [1.0, 1e-2, 3e-4, 1e-4, 2e-5, 1e-6])
def test_whitener_keeps_nine_digits(apart):
    rng = np.random.default_rng(4)
    x, weight = rng.normal(size=200), rng.gamma(1, size=200)
    X = np.column_stack([np.ones(200), 1e5 * x, x + apart * rng.normal(size=200)])
    U = np.sqrt(weight)[:, None] * (X @ inverse_cholesky(X, weight))
    assert_allclose(U.T @ U, np.eye(3), atol=4e-9)


@pytest.mark.parametrize("name", ["gaussian", "gamma", "binomial"])
def test_aliased_columns_are_left_out(name):
    res = grid_fit(name)
    X, Z = res.model.exog, res.model.exog_dispersion
    model = build(
        name, X=np.column_stack([X, X[:, 1] - X[:, 0]]), Z=np.column_stack([Z, 2 * Z[:, 1]])
    )
    with pytest.warns(AliasedColumnWarning):
        aliased = model.fit(reml=True, cov_type="oim")
    kept = [0, 1, 2, 3, 5, 6, 7]
    assert_allclose(aliased.params[kept], res.params, rtol=1e-6, atol=1e-7)
    assert np.isnan(aliased.params[[4, 8]]).all()
    assert np.isnan(aliased.bse[[4, 8]]).all()
    oim = res.model.fit(reml=True, cov_type="oim")
    assert_allclose(aliased.bse[kept], oim.bse, rtol=1e-6)
    assert aliased.llf_reml == pytest.approx(res.llf_reml, rel=ROUNDING)


@pytest.mark.parametrize("cov_type", AFTER_REML)
@pytest.mark.parametrize("name", ["gaussian", "gamma", "invgauss-log", "poisson-sqrt", "binomial"])
def test_frequencies_are_repeated_rows(name, cov_type):
    data = D[:60]
    rows = np.repeat(np.arange(60), data["w"])
    weighted = build(name, freq_weights=data["w"]).fit(reml=True, cov_type=cov_type)
    repeated = build(name, data=data.iloc[rows]).fit(reml=True, cov_type=cov_type)
    assert_allclose(weighted.params / repeated.bse, repeated.params / repeated.bse, atol=AT_MAXIMUM)
    assert_allclose(weighted.cov_params(), repeated.cov_params(), rtol=1e-6, atol=1e-9)
    assert weighted.llf_reml == pytest.approx(repeated.llf_reml, rel=ROUNDING)
    assert weighted.df_resid == repeated.df_resid


@pytest.mark.parametrize("name", ["gaussian", "gamma", "poisson", "binomial-probit"])
def test_weights_and_offsets(name):
    data = D[:60]
    w, shift = data["w"].to_numpy(dtype=float), data["shift"].to_numpy()
    shift = 0.01 * shift if name == "gamma" else shift
    given = {"var_weights": w, "offset": shift, "offset_dispersion": -0.7 * data["x"]}
    res = build(name, **given).fit(reml=True)
    k = res.model.core.k_mean
    se = res.bse[k:]
    away = res.params[k:] + 0.3 * se
    numerical = differences(lambda g: criterion(res.model, res.params[:k], g), away, 0.03 * se)
    assert_allclose(se * at(res, away).gradient, se * numerical, atol=GRADIENT)
    # an offset of the dispersion divides as var_weights do, and a column moves its own coefficient
    divided = build(name, var_weights=w, offset=shift, offset_dispersion=given["offset_dispersion"])
    folded = build(name, offset=shift, offset_dispersion=given["offset_dispersion"] - np.log(w))
    for one, other in ((divided, folded),):
        first, second = one.fit(reml=True), other.fit(reml=True)
        assert_allclose(first.params, second.params, rtol=1e-6, atol=1e-8)
        assert first.llf_reml == pytest.approx(second.llf_reml, rel=ROUNDING)
    moved = build(name, offset=0.01 * data["x"], offset_dispersion=0.5 * data["z"]).fit(reml=True)
    plain = grid_fit(name)
    expected = plain.params - [0, 0.01, 0, 0, 0, 0.5, 0]
    assert_allclose(moved.params / plain.bse, expected / plain.bse, atol=AT_MAXIMUM)


def test_negative_means_of_the_gaussian():
    res = grid_fit("gaussian")
    data = D[:60].assign(gaussian=D["gaussian"][:60] - 50)
    moved = build("gaussian", data=data).fit(reml=True)
    assert np.all(moved.fittedvalues < 0)
    assert_allclose(moved.params[4:], res.params[4:], rtol=1e-7, atol=1e-8)
    assert_allclose(moved.params[0], res.params[0] - 50, rtol=1e-9)


def test_order_of_rows_is_immaterial():
    shuffled = D[:60].sample(frac=1, random_state=2)
    for name in ("gaussian", "gamma"):
        a, b = build(name, data=shuffled).fit(reml=True), grid_fit(name)
        assert_allclose(a.params / b.bse, b.params / b.bse, atol=AT_MAXIMUM)


def test_statsmodels_optimisers_reach_the_maximum():
    res = grid_fit("gamma")
    other = res.model.fit(method="bfgs", reml=True)
    assert other.converged
    assert_allclose(other.params / res.bse, res.params / res.bse, atol=1e-3)
    assert other.method == "bfgs"


@pytest.mark.parametrize("name", ["gaussian", "poisson"])
def test_far_starts(name):
    # Newton's full step of the mean, or of the dispersion, would leave the doubles
    res = grid_fit(name)
    k = res.model.core.k_mean
    for j, far in ((0, -4.0), (k, 9.0), (k, -12.0)):
        again = res.model.fit(reml=True, start_params=res.params + far * np.eye(len(res.params))[j])
        assert again.converged
        assert_allclose(again.params / res.bse, res.params / res.bse, atol=AT_MAXIMUM)


def test_mean_given_the_dispersion():
    res = grid_fit("poisson")
    beta, gamma = np.split(res.params, [4])
    # from there Newton's full step takes exp beyond doubles
    far, factors = mean_given(res.model.core, beta - [4, 0, 0, 0], gamma + 0.5)
    expected = mean_at(res.model, beta, gamma + 0.5)
    assert_allclose(far, expected, rtol=ROUNDING)
    params = np.concatenate([expected, gamma + 0.5])
    assert factors.loglike.sum() == pytest.approx(res.model.loglike(params), rel=ROUNDING)


@pytest.mark.parametrize("link", DISPERSION_LINKS)
def test_longest_step(link):
    # four units of log phi at most, whatever the link
    res = grid_fit("gaussian", link)
    core, k = res.model.core, res.model.core.k_mean
    objective = AdjustedProfile(core, res.params[:k])
    gamma, step = res.params[k:], np.array([7.0, -30.0, 2.0])
    zeta, change = core.Z @ gamma, core.Z @ step
    slope = {"log": 1, "sqrt": 2 / zeta, "inverse": -1 / zeta}[link]
    expected = min(1, 4 / np.abs(slope * change).max())
    assert expected < 1
    assert_allclose(objective.longest_step(gamma, step), expected)
    assert objective.longest_step(gamma, 1e-9 * step) == 1
    assert objective.longest_step(gamma, 0 * step) == 1


def test_failure_to_converge_is_said():
    model = build("gamma")
    with pytest.warns(sm.tools.sm_exceptions.ConvergenceWarning, match="did not converge"):
        res = model.fit(reml=True, maxiter=1)
    assert not res.converged


# ---- rows that are fitted exactly ----------------------------------------------------------------


def cells(n_each=8):
    rng = np.random.default_rng(11)
    g = np.repeat(list("abcd"), n_each)
    return pd.DataFrame({"g": g, "z": rng.normal(size=len(g)), "x": rng.normal(size=len(g))})


def test_row_with_a_mean_of_its_own_drops_out():
    data = cells()
    data["own"] = np.where(data.index == 5, "q", data["g"])
    res = hmf.doubleglm("z ~ own | g", data).fit(reml=True)
    without = hmf.doubleglm("z ~ g | g", data.drop(5)).fit(reml=True)
    assert_allclose(res.params_dispersion, without.params_dispersion, rtol=1e-8)
    k = len(without.params_mean)
    assert_allclose(res.bse[k + 1 :], without.bse[k:], rtol=1e-8)
    shared = without.params_mean.index.str.replace("g[", "own[", regex=False)
    assert_allclose(res.params_mean[shared], without.params_mean, rtol=1e-9)


def test_cell_of_one_row_has_no_dispersion():
    data = cells()
    data["own"] = np.where(data.index == 5, "q", data["g"])
    with pytest.raises(UnboundedLikelihoodError, match=r"row 5 .*own\[T.q\].*merge the cell"):
        hmf.doubleglm("z ~ own | own", data).fit(reml=True)


def test_two_rows_with_one_mean_have_no_two_dispersions():
    data = cells()
    data["pair"] = np.where(data.index.isin([5, 6]), "q", data["g"])
    data["first"] = (data.index == 5) * 1.0
    with pytest.raises(UnboundedLikelihoodError, match=r"along .*pair\[T.q\], .*first"):
        hmf.doubleglm("z ~ pair | pair + first", data).fit(reml=True)
    res = hmf.doubleglm("z ~ pair | pair", data).fit(reml=True)
    # one contrast of two rows: phi = (y1 - y2)^2 / 2
    assert res.fitted_dispersion[5] == pytest.approx((data["z"][5] - data["z"][6]) ** 2 / 2)


def test_ties_are_unbounded():
    data = cells()
    data.loc[data["g"] == "b", "z"] = 1.5
    with pytest.raises(UnboundedLikelihoodError, match=r"rows 8, .*g\[T.b\]"):
        hmf.doubleglm("z ~ g | g", data).fit(reml=True)


def test_saturated_mean():
    with pytest.raises(UnboundedLikelihoodError, match="8 coefficients for 8 rows"):
        hmf.doubleglm("z ~ C(x)", cells(2)).fit(reml=True)
    with pytest.raises(
        UnboundedLikelihoodError, match=r"coefficient for the only row, .*more rows"
    ):
        hmf.doubleglm("z ~ 1", cells(2).iloc[:1]).fit()


def own_pair():
    """Return a model where two rows have a mean of their own, and one of them its own dispersion."""
    data = cells()
    data["pair"] = np.where(data.index.isin([5, 6]), "q", data["g"])
    return hmf.doubleglm("z ~ pair | first", data.assign(first=(data.index == 5) * 1.0))


def test_leverage_makes_up_for_a_row_that_the_mean_could_run_through():
    model = own_pair()
    with pytest.raises(UnboundedLikelihoodError):
        model.fit()
    res = model.fit(reml=True)
    assert res.converged
    # all that is known of its dispersion is in one contrast: (y1 - y2)^2 is the sum of the two
    z, phi = model.endog, res.fitted_dispersion
    assert phi[5] + phi[6] == pytest.approx((z[5] - z[6]) ** 2)


def test_separated_mean_is_refused():
    data = D[:60].assign(count=np.where(D["group"][:60] == "b", 0, D["count"][:60]))
    with pytest.raises(
        ValueError, match=r"reml=True: the response is separated: rows 1, 4.*no limit"
    ):
        hmf.doubleglm("count ~ x + group | x", data, family=FAMILIES.Poisson()).fit(reml=True)


def test_mean_without_a_maximum_inside_its_domain():
    model = het.DoubleGLM(
        D["gaussian"][:60],
        sm.add_constant(D["x"][:60]),
        family=free(FAMILIES.Gaussian, LINKS.Power(1.5)),
    )
    with pytest.raises(ValueError, match=r"reml=True: .*inside the domain of the link"):
        quiet(model.fit, reml=True)


# ---- results -----------------------------------------------------------------------------------

DOUBLE = [name for name, c in CASES.items() if c.cls is het.DoubleGLM]
RIGHT = "x + group | z + group"


@cache
def fitted(name, right=RIGHT, reml=True):
    return CASES[name].formula(right).fit(reml=reml)


@pytest.fixture(params=DOUBLE)
def res(request):
    return fitted(request.param)


def test_other_models_refuse():
    with pytest.raises(
        ValueError, match="reml=True: REML is for DoubleGLM; fit BetaBinomial by maximum"
    ):
        CASES["beta-binomial"].formula().fit(reml=True)


def test_criteria(res):
    assert res.reml
    assert np.isnan([res.aic, res.bic, res.llnull, res.llr, res.llr_pvalue, res.prsquared]).all()
    assert res.llf == pytest.approx(res.model.loglike(res.params), rel=ROUNDING)
    ml = fitted(next(n for n in DOUBLE if fitted(n) is res), reml=False)
    assert not ml.reml
    assert np.isnan(ml.llf_reml)
    assert np.isfinite([ml.aic, ml.bic]).all()
    assert ml.llf > res.llf
    # the dispersion makes up for the mean's degrees of freedom
    assert np.log(res.fitted_dispersion).mean() > np.log(ml.fitted_dispersion).mean()


def test_summary(res):
    text = str(res.summary())
    assert "REML" in text
    assert f"{res.llf_reml:.5f}" in text
    assert "AIC:" not in text
    assert "BIC" not in text.split("==")[0]
    assert "nan" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "expected REML information" in text
    assert "LR (REML" in text
    second = str(res.summary2())
    assert f"{res.llf_reml:.5f}" in second
    assert "AIC:" not in second
    assert res.summary().as_latex()


@pytest.mark.parametrize("cov_type", ["HC0", "HC1", "hc3", "cluster", "HAC", "nope"])
def test_robust_covariances_are_refused(cov_type):
    kwds = {"groups": "block"} if cov_type == "cluster" else None
    with pytest.raises(
        ValueError, match=f"cov_type='{cov_type}'.*by REML.*no sum over rows.*bootstrap"
    ):
        CASES["gaussian"].formula(RIGHT).fit(reml=True, cov_type=cov_type, cov_kwds=kwds)


def test_arguments_of_covariances_are_refused():
    with pytest.raises(ValueError, match="cov_kwds: cov_type='oim' does not take 'groups'"):
        CASES["gaussian"].formula(RIGHT).fit(
            reml=True, cov_type="OIM", cov_kwds={"groups": "block"}
        )


def test_score_test_is_refused(res):
    with pytest.raises(ValueError, match=r"score_test: .*REML"):
        res.score_test(exog_extra=D[["w"]])


def test_predictions_and_tests_work(res):
    frame = res.get_prediction(D[:4], which="dispersion").summary_frame()
    assert_allclose(frame["predicted"], res.fitted_dispersion[:4])
    Z = res.model.exog_dispersion[:4]
    k = len(res.params_mean)
    se = np.sqrt(np.einsum("ij,jk,ik->i", Z, res.cov_params().to_numpy()[k:, k:], Z))
    assert_allclose(frame["se"], se * frame["predicted"])
    assert_allclose(res.predict(D[:4], which="sd"), res.predict(which="sd")[:4])
    test = res.t_test("dispersion-z = 0")
    assert_allclose(test.tvalue, res.tvalues["dispersion-z"])
    assert res.wald_test_terms().table.shape[0] == 6
    assert_allclose(res.conf_int()[0], res.params - stats.norm.isf(0.025) * res.bse)


def test_pickling_and_removed_data(res):
    again = pickle.loads(pickle.dumps(res))
    assert_array_equal(again.params, res.params)
    assert again.llf_reml == res.llf_reml
    assert_allclose(
        again.compare_constant_dispersion().pvalue, res.compare_constant_dispersion().pvalue
    )
    again.remove_data()
    small = pickle.loads(pickle.dumps(again))
    assert small.reml
    assert_allclose(small.predict(D[:3]), res.predict(D[:3]))


def test_clone_refits_to_the_same(res):
    again = res.model.clone(rows=np.arange(len(D))[::-1]).fit(reml=True)
    assert_allclose(again.params / res.bse, res.params / res.bse, atol=AT_MAXIMUM)


# ---- comparisons -------------------------------------------------------------------------------


def test_comparison_with_constant_dispersion(res):
    test = res.compare_constant_dispersion()
    constant = fitted(next(n for n in DOUBLE if fitted(n) is res), "x + group | 1")
    assert test.df == 3
    assert_allclose(test.statistic, 2 * (res.llf_reml - constant.llf_reml), rtol=1e-7)
    assert_allclose(test.pvalue, stats.chi2.sf(test.statistic, 3), rtol=1e-7)
    assert (test.llf, test.llf_constant) == pytest.approx((res.llf_reml, constant.llf_reml))
    assert np.isnan([test.aic, test.bic, test.aic_constant, test.bic_constant]).all()
    assert "REML" in test.criterion
    several = het.anova(constant, res)
    assert_allclose(several["statistic"][1], test.statistic, rtol=1e-7)
    assert several.columns[1] == "llf_reml"
    assert_allclose(several["llf_reml"], [constant.llf_reml, res.llf_reml])
    assert "REML" in several.columns.name


def test_comparison_without_an_intercept():
    res = CASES["gaussian"].formula("x | z - 1").fit(reml=True)
    with pytest.raises(NotNestedError, match=r"no intercept.*llf_reml .* \(1 coefficients of the"):
        res.compare_constant_dispersion()


def test_anova_of_one_fit(res):
    name = next(n for n in DOUBLE if fitted(n) is res)
    table = het.anova(res)
    assert list(table.columns) == ["DF", "Seq.Chisq", "Seq.P", "Adj.Chisq", "Adj.P"]
    assert list(table.index) == ["Mean model", "Dispersion model"]
    assert table.columns.name.endswith("by REML, mean by ML")
    test = res.compare_constant_dispersion()
    assert_allclose(table.loc["Dispersion model"], [3, *2 * (test.statistic, test.pvalue)])
    # REML criteria of different means have no ratio: the mean is by maximum likelihood
    ml = het.anova(fitted(name, reml=False))
    assert_allclose(table.loc["Mean model"], ml.loc["Mean model"], rtol=1e-6, atol=1e-12)


def test_anova_where_maximum_likelihood_is_unbounded():
    res = own_pair().fit(reml=True)
    assert res.compare_constant_dispersion().df == 1
    with pytest.warns(
        UntestedTermWarning, match=r"Mean model: the row of the mean.*compare_constant"
    ):
        table = het.anova(res)
    assert np.isnan(table.loc["Mean model"].drop("DF")).all()
    assert table.loc["Dispersion model", "Adj.P"] == res.compare_constant_dispersion().pvalue


def test_different_means_are_refused():
    full, less = fitted("gaussian"), fitted("gaussian", "x | z + group")
    with pytest.raises(NotNestedError, match=r"REML have different means.*maximum likelihood"):
        het.anova(full, less)
    with pytest.raises(NotNestedError, match="one fit is by REML and the other by maximum"):
        het.anova(fitted("gaussian", reml=False), fitted("gaussian", "x + group | z"))


def test_coding_of_the_mean_is_immaterial_to_a_ratio():
    full, less = fitted("gaussian"), fitted("gaussian", "x + group | z")
    coded = fitted("gaussian", "I(1e5 * x) + C(group, Sum) | z")
    assert abs(coded.llf_reml - less.llf_reml) > 1
    expected = het.anova(less, full)["statistic"][1]
    assert_allclose(het.anova(coded, full)["statistic"][1], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["pairs", "parametric", "cluster"])
def test_bootstrap_refits_by_reml(kind):
    res = fitted("gaussian", "x | z")
    kwargs = {"groups": "block"} if kind == "cluster" else {}
    boot = res.bootstrap(3, kind, rng=7, **kwargs)
    ml = fitted("gaussian", "x | z", reml=False).bootstrap(3, kind, rng=7, **kwargs)
    assert np.all(boot.params[:, 2] > ml.params[:, 2]) or kind == "parametric"
    if kind == "pairs":
        entropy = np.random.default_rng(7).integers(2**32, size=4).tolist()
        rows = generator(entropy, 0).integers(len(D), size=len(D))
        again = res.model.clone(rows=rows).fit(reml=True)
        assert_allclose(boot.params[0] / res.bse, again.params / res.bse, atol=AT_MAXIMUM)


def test_results_do_not_depend_on_an_earlier_fit():
    model = copy.copy(CASES["gamma"].formula("x | z"))
    first = model.fit(reml=True)
    model.fit()
    assert_array_equal(model.fit(reml=True).params, first.params)


def test_inverse_of_a_triangle():
    R = np.triu(np.random.default_rng(4).normal(size=(5, 5))) + 4 * np.eye(5)
    assert_allclose(linalg.triangular_inverse(R) @ R, np.eye(5), atol=1e-15)
    R[2, 2] = 0
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        linalg.triangular_inverse(R)


def test_no_lapack_that_starts_threads_whatever_the_size():
    # OpenBLAS's dtrtrs: milliseconds and both processors for a triangle of five rows
    sources = Path(reml_module.__file__).parent.rglob("*.py")
    assert [p.name for p in sources if "import solve_triangular" in p.read_text("utf-8")] == []
