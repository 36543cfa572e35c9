"""The table of docs/random_effects.rst: parameters of other packages on our scale."""

import numpy as np
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from mixed_cases import data, reference
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf
from hetglm.datasets import load_splicing

pytestmark = pytest.mark.filterwarnings("ignore::hetglm.exceptions.LaplaceErrorWarning")
#: Estimates of packages that stop a little before the maximum.
STOPPED = 1e-4
SLOPES = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize("reml", [False, True])
def test_lmer(reml):
    case = reference(f"lmer_sleepstudy_{'reml' if reml else 'ml'}")
    res = hmf.doubleglm(SLOPES, data("sleepstudy")).fit(reml=reml)
    assert_allclose(res.params[["sd(Subject)", "sd(Subject: Days)"]], case["re_sd"], rtol=STOPPED)
    r = res.params["corr(Subject: Intercept, Days)"]
    assert_allclose(r, case["re_corr"][0][1], atol=STOPPED)
    assert_allclose(np.diag(res.cov_re), np.square(case["re_sd"]), rtol=2 * STOPPED)
    sigma = np.exp(res.params["dispersion-Intercept"] / 2)
    assert_allclose(sigma, case["sigma"], rtol=STOPPED)
    assert_allclose(res.llf_reml if reml else res.llf, case["llf"], atol=1e-7)
    modes = [list(row.values()) for row in case["ranef"]]
    assert_allclose(np.vstack(list(res.random_effects.values())), modes, atol=3e-3)


@pytest.mark.thorough
def test_glmer_leaves_out_a_constant():
    case, cbpp = reference("glmer_cbpp_nagq25"), data("cbpp").astype({"period": str})
    formula = "incidence + I(size - incidence) ~ period + (1 | herd) | 0"
    model = hmf.doubleglm(formula, cbpp, family=sm.families.Binomial())
    res, laplace = model.fit(nodes=25), model.fit(nodes=1)
    assert_allclose(res.params_mean, list(case["beta"].values()), atol=STOPPED)
    assert_allclose(res.params["sd(herd)"], case["re_sd"], rtol=STOPPED)
    assert abs(res.llf - laplace.llf) < 0.1 < abs(res.llf - case["llf"])


@pytest.mark.thorough
def test_glmmtmb_beta_binomial():
    case = reference("betabinomial_mixed_splicing")["glmmTMB"]
    formula = "K + I(N - K) ~ 1 + (1 | id) | group + treatment"
    res = hmf.betabinomial(formula, load_splicing()).fit(nodes=1)
    minus = -np.array(list(case["disp"].values()))
    assert_allclose(res.params_dispersion[: len(minus)], minus, atol=1e-3)
    assert_allclose(res.params["sd(id)"], case["re"]["id"]["sd"], rtol=1e-3)


def test_glmmtmb_negative_binomial():
    case, owls = reference("negbin_mixed_owls")["glmmTMB"], data("owls")
    formula = "SiblingNegotiation ~ FoodTreatment * SexParent + (1 | Nest) | FoodTreatment"
    res = hmf.negativebinomial(formula, owls, offset="logBroodSize").fit(nodes=1)
    assert_allclose(res.params.iloc[4:6], -np.array(list(case["disp"].values())), atol=1e-4)
    assert_allclose(res.params["sd(Nest)"], case["re"]["Nest"]["sd"], rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "dispersion", "factor"),
    [
        ("gaussian_mixed_sleepstudy_slope_dispformula", "Days", 1),  # 1.1.5: log variance
        ("gaussian_mixed_dispersion_sleepstudy", "Days + (1 | Subject)", 2),  # 1.1.11: log sd
    ],
)
def test_glmmtmb_gaussian(name, dispersion, factor):
    case = reference(name)["glmmTMB"]
    res = hmf.doubleglm(f"{SLOPES} | {dispersion}", data("sleepstudy")).fit(nodes=1)
    gamma = factor * np.array(list(case["disp"].values()))
    assert_allclose(res.params_dispersion[:2], gamma, atol=1e-3)
    if factor == 2:
        sd = 2 * case["re_disp"]["Subject"]["sd"]
        assert_allclose(res.params["sd(dispersion-Subject)"], sd, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_mixedlm_divides_by_the_scale():
    frame = data("sleepstudy")
    peer = smf.mixedlm("Reaction ~ Days", frame, groups="Subject", re_formula="~Days").fit()
    res = hmf.doubleglm(SLOPES, frame).fit(reml=True)
    phi = np.exp(res.params["dispersion-Intercept"])
    assert_allclose(res.cov_re, peer.cov_re, rtol=STOPPED)
    assert_allclose(phi, peer.scale, rtol=STOPPED)
    ratio = res.params["sd(Subject)"] ** 2 / phi
    assert_allclose(ratio, peer.params["Subject Var"], rtol=STOPPED)
    assert_allclose(res.bse_fe[:2], peer.bse_fe, rtol=STOPPED)


def test_hglm():
    case = reference("hglm_gaussian_sleepstudy")
    formula = "Reaction ~ Days + (1 | Subject) | Days"
    res = hmf.doubleglm(formula, data("sleepstudy")).fit(reml=True)
    (intercept, _), (slope, error) = case["disp_coef"]
    assert_allclose(res.params_dispersion[:2], [intercept, slope], atol=1e-3)
    assert_allclose(res.params["sd(Subject)"] ** 2, case["var_ranef"], rtol=1e-3)
    assert_allclose(res.params_mean, list(case["beta"].values()), atol=1e-3)
    modes = np.concatenate(list(res.random_effects.values()))
    assert_allclose(modes, case["ranef"], atol=5e-3)
    assert [round(error, 2), round(res.bse["dispersion-Days"], 2)] == [0.04, 0.05]


def test_mixregls_is_a_cholesky_factor():
    formula = "Reaction ~ Days + (1 |p| Subject) | (1 |p| Subject)"
    res = hmf.doubleglm(formula, data("sleepstudy")).fit(nodes=1)
    factor = np.linalg.cholesky(res.cov_re)
    location, scale = res.variance_components["sd"]
    r = res.params["corr(Subject: Intercept, dispersion-Intercept)"]
    assert_allclose(factor[0], [location, 0])
    assert_allclose(np.hypot(*factor[1]), scale)
    assert_allclose(factor[1, 0] / scale, r)
