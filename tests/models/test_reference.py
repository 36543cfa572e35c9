"""
Results of other systems on public data; `reference/README.md` says what each of them computes.

The tolerances are the accuracy of the sources, measured against the exact maxima (found apart from
this package): R's alternations and optimisers stop where the criterion no longer moves, which is
short of the maximum. Differences of estimates are counted in standard errors.
"""

import json
import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.datasets import load_cats, load_clotting, load_germination, load_splicing, load_welding

REFERENCE = Path(__file__).parents[1] / "reference"

#: No source may beat us: our log-likelihood is at least the exact one at its estimates.
MAXIMUM = 1e-8
#: Log-likelihoods and their differences agree to what the sources' stopping rules leave.
LLF = 1e-8
#: Sources print 12 significant digits.
DIGITS = 1e-10
#: R takes 1 - pchisq(): its p-values are rounded to the spacing of numbers below 1.
R_PVALUE = np.finfo(float).eps


# ---- the models ------------------------------------------------------------------------------


def question_data():
    """Return the splicing data with group and treatment coded as numbers, as in the question."""
    data = load_splicing()
    group, treatment = data["group"] == "b", data["treatment"].str[-1].astype(int) - 1
    return data.assign(group=group.astype(int), treatment=treatment)


def salamanders():
    """Return the salamander counts with the order of levels that R has."""
    data = pd.read_csv(REFERENCE / "data" / "salamanders.csv")
    spp = pd.Categorical(data["spp"], data["spp"].unique())
    return data.assign(spp=spp, mined=pd.Categorical(data["mined"], ["yes", "no"]))


def biochemists():
    """Return the articles of biochemists with the order of levels that R has."""
    data = pd.read_csv(REFERENCE / "data" / "biochemists.csv")
    return data.assign(mar=pd.Categorical(data["mar"], ["Single", "Married"]))


GAUSSIAN, GAMMA = sm.families.Gaussian(), sm.families.Gamma()
LOG = sm.families.links.Log()
QUASI = partial(hmf.doubleglm, family=sm.families.Binomial(), n_trials="N")
WIDE = partial(load_clotting, wide=True)

MODELS = {
    "cats": (hmf.doubleglm, "Hwt ~ Bwt | Bwt", load_cats, GAUSSIAN),
    "cats_noint": (hmf.doubleglm, "Hwt ~ Bwt - 1 | Bwt - 1", load_cats, GAUSSIAN),
    "cats_noint_constant": (hmf.doubleglm, "Hwt ~ Bwt - 1 | 1", load_cats, GAUSSIAN),
    "welding": (
        hmf.doubleglm,
        "Strength ~ Drying + Material | Material + Method + Preheating",
        load_welding,
        GAUSSIAN,
    ),
    "clotting": (hmf.doubleglm, "lot1 ~ np.log(u) | u", WIDE, GAMMA),
    "clotting_constant": (hmf.doubleglm, "lot1 ~ np.log(u) | 1", WIDE, GAMMA),
    "clotting_gamma": (
        hmf.doubleglm,
        "time ~ np.log(u) * lot | np.log(u)",
        load_clotting,
        sm.families.Gamma(link=LOG),
    ),
    "clotting_invgauss": (
        hmf.doubleglm,
        "time ~ np.log(u) * lot | np.log(u)",
        load_clotting,
        sm.families.InverseGaussian(link=LOG),
    ),
    "salamanders": (hmf.doubleglm, "count ~ spp | mined", salamanders, sm.families.Poisson()),
    "quasi": (QUASI, "I(K / N) ~ 1 | group + treatment", load_splicing),
    "question": (QUASI, "I(K / N) ~ 1 | group + treatment", question_data),
    "germination": (hmf.betabinomial, "y + I(n - y) ~ variety * root | root", load_germination),
    "germination_full": (
        hmf.betabinomial,
        "y + I(n - y) ~ variety * root | variety + root",
        load_germination,
    ),
    "germination_constant": (
        hmf.betabinomial,
        "y + I(n - y) ~ variety * root | 1",
        load_germination,
    ),
    "splicing": (hmf.betabinomial, "K + I(N - K) ~ id | group + treatment", load_splicing),
    "negbin_salamanders": (
        hmf.negativebinomial,
        "count ~ spp + mined | DOP + mined",
        salamanders,
    ),
    "biochemists": (
        hmf.negativebinomial,
        "art ~ fem + mar + kid5 + phd + ment | ment",
        biochemists,
    ),
    "biochemists_constant": (
        hmf.negativebinomial,
        "art ~ fem + mar + kid5 + phd + ment | 1",
        biochemists,
    ),
    "splicing_constant": (hmf.betabinomial, "K + I(N - K) ~ id | 1", load_splicing),
}


@cache
def fitted(key, cov_type="nonrobust"):
    """Return the fit of a model of the table; nothing may change it."""
    make, formula, load, *family = MODELS[key]
    options = {"family": family[0]} if family else {}
    res = make(formula, data=load(), **options).fit(cov_type=cov_type)
    assert res.converged
    return res


# ---- the sources -----------------------------------------------------------------------------

#: Our dispersion coefficients over the source's.
FACTORS = {"log_sd": 2, "log_sd_coef": 2, "log_sigma": 1, "log_phi": -1, "gamma": 1}
FACTORS |= {"log_alpha": 1, "disp": -1}
#: What marks a dispersion coefficient in lists of both parts: crch, corncob and VGAM.
MARKS = re.compile(r"^\(scale\)_|^phi\.|:2$")


def case(name, *parts):
    """Return a case, or a part of it."""
    block = json.loads((REFERENCE / f"{name}.json").read_text())
    for part in parts:
        block = block[part]
    return block


def estimates(block):
    """
    Return a source's estimates, labelled and ordered as there.

    The columns are the value on our scale and the factor that took it there.
    """
    rows = []
    for part, coefs in block.items():
        if part in ("mu", "beta"):
            rows += [(label, x, 1) for label, x in coefs.items()]
        elif part in FACTORS:
            factor = FACTORS[part]
            rows += [
                (f"dispersion-{k.replace('_s)', ')')}", factor * x, factor)
                for k, x in coefs.items()
            ]
        elif part == "coef":
            rows += [split_label(label, x) for label, x in coefs.items()]
    return pd.DataFrame(rows, columns=["label", "value", "factor"]).set_index("label")


def split_label(label, x):
    """Return the row of `estimates` for a coefficient from a list of both parts."""
    if MARKS.search(label):
        factor = 2 if label.startswith("(scale)") else 1
        return f"dispersion-{MARKS.sub('', label)}", factor * x, factor
    return re.sub(r"^mu\.|:1$", "", label), x, 1


def r_labels(index):
    """Return patsy's labels as R writes them."""
    plain = (re.sub(r"\[T\.([^]]*)\]", r"\1", label) for label in index)
    return [label.replace("Intercept", "(Intercept)").replace("np.log", "log") for label in plain]


def in_our_order(res, source):
    """Return a source's estimates in the order of our parameters."""
    assert len(source) == len(res.params)
    return source.loc[r_labels(res.params.index)]


def covariance(res, block):
    """Return a source's covariance on our scale and in our order."""
    source = estimates(block)
    V = np.array(block.get("vcov", block.get("vcov_lmvar_scale", block.get("vcov_gamlss_scale"))))
    V = pd.DataFrame(V * np.outer(source["factor"], source["factor"]), source.index, source.index)
    labels = in_our_order(res, source).index
    return V.loc[labels, labels].to_numpy()


def assert_covariance(actual, expected, tol):
    """Compare covariance matrices, each entry relative to its two standard errors."""
    se = np.sqrt(np.diag(expected))
    assert_allclose(
        np.asarray(actual) / np.outer(se, se), expected / np.outer(se, se), rtol=0, atol=tol
    )


# ---- estimates and log-likelihoods -----------------------------------------------------------

#: (model, case and part, standard errors from the maximum, log-likelihood short of it)
PEERS = [
    ("cats", ("gaussian_ml_cats_lmvar",), 1e-9, LLF),
    ("cats_noint", ("gaussian_ml_cats_noint_lmvar",), 1e-6, LLF),
    # gamlss ends when the deviance moves by less than 0.001, here late enough
    ("cats", ("gaussian_cats_peers", "gamlss_NO"), 1e-6, LLF),
    ("clotting_gamma", ("gamma_log_clotting_gamlss",), 1e-7, LLF),
    ("clotting_invgauss", ("invgauss_log_clotting_gamlss",), 1e-6, LLF),
    ("cats", ("gaussian_cats_peers", "crch"), 1e-5, LLF),
    # the same rule of gamlss, and here it ends too early; a gap g in the log-likelihood goes with
    # sqrt(2 g) standard errors. What it prints as log-likelihood of germination_full belongs to
    # the estimates of an earlier iteration: those it prints are 0.0025 below the maximum.
    ("germination", ("betabinomial_germination", "gamlss_BB"), 0.02, 2e-4),
    ("germination_full", ("betabinomial_germination_full", "gamlss_BB"), 0.07, 3e-3),
    ("germination_constant", ("betabinomial_germination", "constant_dispersion"), 0.02, 2e-4),
    ("germination_constant", ("betabinomial_germination_full", "constant_dispersion"), 0.02, 2e-4),
    # its last digits, and the scaled gradient of 1e-8 at which our own fit is content
    ("splicing", ("betabinomial_splicing", "gamlss_BB"), 1e-8, LLF),
    # the printed log-likelihoods carry the rounding of lgamma: 5e-8
    ("splicing_constant", ("betabinomial_splicing", "constant_dispersion"), 1e-8, 1e-7),
    ("splicing", ("betabinomial_splicing", "glmmTMB"), 5e-4, 2e-7),
    ("germination", ("betabinomial_germination", "glmmTMB"), 1e-5, LLF),
    ("germination_full", ("betabinomial_germination_full", "glmmTMB"), 1e-5, LLF),
    ("germination", ("betabinomial_germination", "corncob"), 1e-7, LLF),
    ("germination_full", ("betabinomial_germination_full", "corncob"), 1e-7, LLF),
    ("germination_constant", ("betabinomial_germination_vgam",), 2e-5, LLF),
    ("negbin_salamanders", ("negbin_salamanders", "gamlss_NBI"), 1e-5, LLF),
    ("negbin_salamanders", ("negbin_salamanders", "glmmTMB"), 1e-4, 1e-7),
    # gamlss ends when the deviance moves by less than 0.001
    ("biochemists", ("negbin_biochemists", "gamlss_NBI"), 2e-2, 2e-4),
    ("biochemists_constant", ("negbin_biochemists", "constant"), 2e-2, 2e-4),
]


@pytest.mark.parametrize(("key", "source", "reached", "gap"), PEERS)
def test_estimates(key, source, reached, gap):
    res, block = fitted(key), case(*source)
    theirs = in_our_order(res, estimates(block))["value"].to_numpy()
    assert np.max(np.abs(res.params.to_numpy() - theirs) / res.bse.to_numpy()) < reached
    assert -MAXIMUM < res.llf - res.model.loglike(theirs) < gap
    assert abs(res.llf - block["llf"]) < gap


#: Certified maxima: correct to 1e-8 in the estimates, where the likelihood is flat to rounding.
CERTIFIED = 1e-7


@pytest.mark.parametrize(
    ("key", "name"), [("germination", "root"), ("germination_constant", "const")]
)
def test_certified_maxima(key, name):
    res, fit = fitted(key), case("certified_betabinomial_maxima", "fits", f"germination_{name}")
    assert_allclose(res.llf, fit["llf"], rtol=0, atol=1e-10)
    assert res.params_mean.index.tolist() == list(fit["mu"])
    assert_allclose(res.params_mean, list(fit["mu"].values()), rtol=0, atol=CERTIFIED)
    sigma = sorted(set(res.fitted_dispersion))
    assert_allclose(sigma, sorted(fit["sigma_by_cell"].values()), rtol=CERTIFIED)


def test_certified_likelihood_ratio():
    fits = case("certified_betabinomial_maxima", "fits")
    test = fitted("germination").compare_constant_dispersion()
    lr = 2 * (fits["germination_root"]["llf"] - fits["germination_const"]["llf"])
    assert_allclose([test.statistic, test.df], [lr, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("key", "gap"), [("germination", 2e-4), ("germination_full", 2e-4), ("splicing", 1e-7)]
)
def test_gamlss_likelihood_ratio(key, gap):
    """Both of gamlss's log-likelihoods may be short of their maxima by ``gap`` (see PEERS)."""
    test, theirs = fitted(key).compare_constant_dispersion(), case(f"betabinomial_{key}")
    assert abs(test.statistic - theirs["constant_dispersion"]["lr"]) < 2 * gap
    assert test.df == theirs["constant_dispersion"]["df"]


@pytest.mark.parametrize("key", ["germination", "germination_full", "splicing"])
def test_glmmtmb_fitted_values(key):
    head = case(f"betabinomial_{key}", "glmmTMB", "fitted_head")
    assert_allclose(fitted(key).fittedvalues[:6], head, rtol=2e-6)


#: aod's optimiser stops 1.6e-6 below the maximum: sqrt(2 * 1.6e-6) standard errors.
AOD_GAP = 2e-6


def test_aod_identity_link_on_rho():
    """Fitted dispersions in the two roots are free in both models, so the maxima are the same."""
    res, aod = fitted("germination"), case("betabinomial_germination_aod")
    sigma = res.predict(
        pd.DataFrame({"root": ["bean", "cucumber"], "variety": "O73"}), which="dispersion"
    )
    rho = np.array(list(aod["rho"].values()))
    # the delta method takes the error of log(sigma) = logit(rho), in standard errors, to rho's
    se = res.bse.to_numpy()[-2:]
    distance = np.abs(np.log(sigma) - np.log(rho / (1 - rho))) / se
    mean = np.abs(res.params_mean.to_numpy() - list(aod["mu"].values())) / res.bse.to_numpy()[:4]
    assert max(*distance, *mean) < np.sqrt(2 * AOD_GAP)
    assert -MAXIMUM < res.llf - aod["llf"] < AOD_GAP


@pytest.mark.parametrize("key", ["germination", "germination_full", "splicing"])
def test_binomial_limit(key):
    """At sigma = e^-40 the beta-binomial is the binomial, to all digits."""
    res, data = fitted(key), MODELS[key][2]()
    n, y = (data["N"], data["K"]) if "K" in data else (data["n"], data["y"])
    glm = sm.GLM(np.column_stack([y, n - y]), res.model.exog, family=sm.families.Binomial()).fit()
    sigma = [-40.0] + [0.0] * (len(res.params_dispersion) - 1)
    limit = res.model.loglike(np.r_[glm.params, sigma])
    assert_allclose(limit, case(f"betabinomial_{key}", "binomial_llf"), rtol=1e-12)


# ---- covariances -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "source", "cov_type", "tol"),
    [
        ("cats", ("gaussian_ml_cats_lmvar",), "eim", 1e-8),
        ("cats_noint", ("gaussian_ml_cats_noint_lmvar",), "eim", 1e-7),
        # VGAM's, crch's and glmmTMB's are taken at estimates 1e-5 standard errors away
        ("germination_constant", ("betabinomial_germination_vgam",), "eim", 2e-5),
        ("cats", ("gaussian_cats_peers", "crch"), "nonrobust", 1e-6),
        ("germination", ("betabinomial_germination", "glmmTMB"), "nonrobust", 2e-5),
        ("germination_full", ("betabinomial_germination_full", "glmmTMB"), "nonrobust", 2e-5),
        ("negbin_salamanders", ("negbin_salamanders", "glmmTMB"), "nonrobust", 2e-4),
    ],
)
def test_covariance(key, source, cov_type, tol):
    res = fitted(key, cov_type)
    assert_covariance(res.cov_params(), covariance(res, case(*source)), tol)


@pytest.mark.parametrize("key", ["germination", "germination_full"])
def test_corncob_standard_errors(key):
    se = list(case(f"betabinomial_{key}", "corncob", "se").values())
    assert_allclose(fitted(key).bse, se, rtol=1e-7)


@pytest.mark.parametrize("part", ["gamlss_BB", "glmmTMB"])
def test_splicing_standard_errors(part):
    res, block = fitted("splicing"), case("betabinomial_splicing", part)
    variance = pd.Series(block["vcov_diagonal"], estimates(block).index)[r_labels(res.params.index)]
    # differenced Hessians: 1.4e-5 (gamlss), 8e-6 (glmmTMB)
    assert_allclose(res.bse**2, variance, rtol=2e-5)


#: Step of R's optimHess, from which gamlss has its covariances.
OPTIM_STEP = 1e-3


def second_differences(loglike, params, steps):
    """Return the matrix of second derivatives as R's optimHess takes it."""
    E = np.diag(steps)
    corners = [
        [[loglike(params + a * d + b * e) for a in (1, -1) for b in (1, -1)] for e in E] for d in E
    ]
    return np.array(corners) @ [1, -1, -1, 1] / (4 * np.outer(steps, steps))


@pytest.mark.parametrize(
    ("key", "source", "differencing"),
    [
        # the error of the second differences, in the units of assert_covariance
        ("clotting_gamma", ("gamma_log_clotting_gamlss",), 5e-3),
        ("clotting_invgauss", ("invgauss_log_clotting_gamlss",), 1e-2),
        ("germination", ("betabinomial_germination", "gamlss_BB"), 1e-5),
        ("germination_full", ("betabinomial_germination_full", "gamlss_BB"), 1e-5),
    ],
)
def test_gamlss_covariance(key, source, differencing):
    """That of second differences of our log-likelihood, and near the exact one."""
    res, block = fitted(key), case(*source)
    theirs, expected = in_our_order(res, estimates(block)), covariance(res, block)
    point, steps = theirs["value"].to_numpy(), OPTIM_STEP * theirs["factor"].to_numpy()
    differenced = np.linalg.inv(-second_differences(res.model.loglike, point, steps))
    assert_covariance(differenced, expected, 1e-5)
    assert_covariance(np.linalg.inv(-res.model.hessian(point)), expected, differencing)


# ---- lmvar: the cats --------------------------------------------------------------------------


def test_lmvar_summary():
    res, c = fitted("cats", "eim"), case("gaussian_ml_cats_lmvar")
    assert_allclose([res.llf, res.aic, res.bic], [c["llf"], c["aic"], c["bic"]], rtol=DIGITS)
    test = res.compare_constant_dispersion()
    assert round(test.statistic / 2, 6) == c["lr_vs_constant"] / 2 == 4.069774
    assert (round(test.pvalue, 5), test.df) == (c["lr_p"], c["lr_df"])
    printed = [float(x) for x in re.findall(r"-?\d+\.\d+", c["seed_summary"])]
    quartiles = [
        np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
        for x in (res.resid_pearson, res.predict(which="sd"))
    ]
    assert np.round(np.concatenate(quartiles), 4).tolist() == printed


def test_lmvar_fitted_values_and_intervals():
    res, c, head = fitted("cats", "eim"), case("gaussian_ml_cats_lmvar"), load_cats().head(6)
    assert_allclose(res.fittedvalues[:6], c["mu_head"], rtol=DIGITS)
    assert_allclose(np.sqrt(res.fitted_dispersion[:6]), c["sd_head"], rtol=DIGITS)
    ci, pi = pd.DataFrame(c["ci95_head"]), pd.DataFrame(c["pi95_head"])
    for which, name in (("mean", "mu"), ("sd", "sigma")):
        frame = res.get_prediction(head, which=which, ci_method="delta").summary_frame(alpha=0.05)
        expected = ci[[name, f"{name}_lwr", f"{name}_upr"]]
        assert_allclose(frame[["predicted", "ci_lower", "ci_upper"]], expected, rtol=DIGITS)
    frame = res.get_prediction(head, obs_ci="plugin").summary_frame(alpha=0.05)
    assert_allclose(frame[["obs_ci_lower", "obs_ci_upper"]], pi[["lwr", "upr"]], rtol=DIGITS)


def test_lmvar_without_intercepts():
    res, c = fitted("cats_noint"), case("gaussian_ml_cats_noint_lmvar")
    assert_allclose([res.aic, res.bic], [c["aic"], c["bic"]], rtol=DIGITS)
    assert (round(res.aic, 4), round(res.bic, 4)) == (512.7867, 518.7263)
    twin = fitted("cats_noint_constant")
    assert (round(twin.aic, 4), round(twin.bic, 4)) == (518.3905, 524.3301)


# ---- dglm ------------------------------------------------------------------------------------

#: (model, case and part, standard errors from the maximum): dglm stops when -2 log-likelihood moves
#: by less than 1e-7 of itself; its linear convergence leaves more where mean and dispersion are
#: strongly tied, as in the salamanders. The likelihood of welding is unbounded: with Material 1,
#: Method -1 and Preheating 1 the replicates are equal in pairs, and a mean can pass through both.
#: dglm's estimates, and ours, are the maximum inside.
DGLM = [
    ("welding", ("gaussian_welding_dglm", "ml"), 1e-7),
    ("clotting_constant", ("gamma_clotting_dglm", "constant"), 1e-10),
    ("clotting", ("gamma_clotting_dglm", "het"), 1e-10),
    ("salamanders", ("quasipoisson_salamanders_dglm", "ml"), 2e-4),
    ("quasi", ("seed_quasibinomial_splicing_dglm", "ml"), 5e-7),
]


def dglm_factor(res):
    """Return dglm's standard errors of the mean over those of the expected information."""
    return np.sqrt(np.sum(res.resid_pearson**2) / (res.nobs - len(res.params_mean)))


@pytest.mark.parametrize(("key", "source", "reached"), DGLM)
def test_dglm(key, source, reached):
    res, block = fitted(key, "eim"), case(*source)
    theirs = in_our_order(res, estimates(block))["value"].to_numpy()
    assert np.max(np.abs(res.params.to_numpy() - theirs) / res.bse.to_numpy()) < reached
    assert -MAXIMUM < res.llf - res.model.loglike(theirs) < LLF
    assert abs(-2 * res.llf - block["m2loglik"]) < LLF

    se = np.split(res.bse.to_numpy(), [len(res.params_mean)])
    # a family named poisson keeps its scale of 1
    factor = 1 if key == "salamanders" else dglm_factor(res)
    assert_allclose(se[0] * factor, flat(block["se_beta"]), rtol=reached)
    assert_allclose(se[1], flat(block["se_gamma"]), rtol=max(reached, DIGITS))
    assert_allclose(res.fittedvalues[:6], block["mu_head"], rtol=reached)
    assert_allclose(res.fitted_dispersion[:6], block["phi_head"], rtol=reached)


def flat(values):
    """Return the numbers of a list or of a dict."""
    return list(values.values()) if isinstance(values, dict) else values


@pytest.mark.parametrize(
    ("key", "source"),
    [
        ("welding", ("gaussian_welding_dglm", "anova_ml")),
        ("clotting", ("gamma_clotting_dglm", "anova")),
        ("quasi", ("seed_quasibinomial_splicing_dglm", "anova")),
    ],
)
def test_dglm_anova(key, source):
    expected = pd.DataFrame(case(*source)).set_index("_row").astype(float)
    table = het.anova(fitted(key))
    assert table.index.tolist() == expected.index.tolist() == ["Mean model", "Dispersion model"]
    assert table.columns.tolist() == expected.columns.tolist()
    chisq, p = ["DF", "Seq.Chisq", "Adj.Chisq"], ["Seq.P", "Adj.P"]
    assert_allclose(table[chisq], expected[chisq], atol=LLF)
    assert_allclose(table[p].astype(float), expected[p], rtol=1e-8, atol=R_PVALUE)


def decimals(printed):
    """Return how many decimals a number was printed with."""
    return len(repr(printed).partition(".")[2])


def assert_printed(actual, printed):
    """Compare with printed numbers, to all their digits."""
    printed = flat(printed)
    assert [round(float(x), decimals(p)) for x, p in zip(actual, printed, strict=True)] == printed


def test_question_printout():
    res, c = fitted("question", "eim"), case("seed_quasibinomial_splicing_dglm", "numeric_coding")
    assert_printed([res.bse.iloc[0] * dglm_factor(res)], c["se_beta"])
    assert_printed(res.bse.iloc[1:], c["se_gamma"])
    assert_printed([-2 * res.llf], [c["minus_twice_loglik"]])

    # Deviances: the mean's is sum(d/phi). The dispersion model is a gamma GLM for the weighted
    # unit deviances d with prior weights 1/2, hence half of statsmodels' gamma deviance.
    data, gamma = question_data(), sm.families.Gamma()
    y = data["K"] / data["N"]
    d = data["N"] * sm.families.Binomial().resid_dev(y, np.asarray(res.fittedvalues)) ** 2
    phi = np.asarray(res.fitted_dispersion)
    assert_printed([np.sum(d / phi)], [c["mean_residual_deviance"]])
    assert_printed([gamma.deviance(d, phi) / 2], [c["dispersion_residual_deviance"]])
    assert_printed([gamma.deviance(d, d.mean()) / 2], [c["dispersion_null_deviance"]])
    df = [res.nobs - 1, res.nobs - len(res.params_dispersion)]
    assert df == [c["dispersion_null_df"], c["dispersion_residual_df"]]


def alternations(data, Z):
    """
    Yield the estimates (intercept of the mean, dispersion coefficients) of dglm's iterations.

    From regressions of the empirical logits and of log(d), shifted by -E log(chi2_1) = 1.27036, it
    alternates a scoring step for the dispersion with one for the mean.
    """
    n, y = data["N"].to_numpy(), (data["K"] / data["N"]).to_numpy()
    smooth = (data["K"] + 0.5) / (data["N"] + 1)
    beta = np.log(smooth / (1 - smooth)).mean()

    def deviance(beta):
        mu = np.full(len(y), 1 / (1 + np.exp(-beta)))
        return n * sm.families.Binomial().resid_dev(y, mu) ** 2

    def mean_step(beta, gamma):
        mu, w = 1 / (1 + np.exp(-beta)), n * np.exp(-Z @ gamma)
        return beta + np.sum(w * (y - mu)) / np.sum(w * mu * (1 - mu))

    gamma = np.linalg.lstsq(Z, np.log(deviance(beta)), rcond=None)[0] + [1.27036, 0, 0]
    beta = mean_step(beta, gamma)
    while True:
        gamma = gamma + np.linalg.lstsq(Z, deviance(beta) * np.exp(-Z @ gamma) - 1, rcond=None)[0]
        beta = mean_step(beta, gamma)
        yield np.r_[beta, gamma]


def test_question_coefficients():
    """
    The printed coefficients are dglm's fifth iterate, not the maximum, and both are ours.

    Each iteration leaves 1/22 of the error: the fifth is 4e-6 standard errors from the maximum,
    which shows from the seventh printed digit on.
    """
    res, c = fitted("question", "eim"), case("seed_quasibinomial_splicing_dglm", "numeric_coding")
    iterates = alternations(question_data(), res.model.exog_dispersion)
    fifth = [next(iterates) for _ in range(c["iterations"])][-1]
    assert_printed(fifth[:1], c["beta"])
    assert_printed(fifth[1:], c["gamma"])
    assert_printed(fifth[1:] / res.bse.to_numpy()[1:], c["z_gamma"])
    assert np.max(np.abs(fifth - res.params.to_numpy()) / res.bse.to_numpy()) < 5e-6
    limit = [next(iterates) for _ in range(10)][-1]
    assert_allclose(res.params, limit, rtol=DIGITS)


# ---- what the splicing data say ---------------------------------------------------------------


def test_splicing_three_readings():
    """The group effect: hidden by a common mean, too sure by replicate, honest by gene."""
    assert round(fitted("quasi", "eim").pvalues["dispersion-group[T.b]"], 2) == 0.13
    res, name = fitted("splicing"), "dispersion-group[T.b]"
    test = res.compare_constant_dispersion()
    assert (round(res.params[name], 3), round(res.bse[name], 3)) == (1.279, 0.050)
    assert (round(test.statistic, 1), test.df) == (624.1, 3)
    groups = {"groups": load_splicing()["id"], "use_correction": False}
    clustered = res.model.fit(cov_type="cluster", cov_kwds=groups)
    assert (round(clustered.bse[name], 2), round(clustered.tvalues[name], 1)) == (0.54, 2.4)
