"""Models with random effects through the formula: estimates of other programs, results, refusals."""

import pickle
import re
import warnings
from dataclasses import replace
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import simulated
from methods import CALLS, public_methods, refusals
from mixed_cases import data, reference
from numpy.testing import assert_allclose
from statsmodels.tools.sm_exceptions import ConvergenceWarning, ModelWarning

import hetglm.formula.api as hmf
from hetglm import plots
from hetglm.datasets import load_splicing
from hetglm.estimation.random_effects import NOT_YET
from hetglm.exceptions import (
    BoundaryWarning,
    LaplaceErrorWarning,
    NotIdentifiedWarning,
    SeparationWarning,
    SingularFitWarning,
    UnboundedLikelihoodError,
)
from hetglm.mixed import checks


def sleepstudy(formula="Reaction ~ Days + (Days | Subject)", **options):
    """Return a fit to sleepstudy."""
    return hmf.doubleglm(formula, data("sleepstudy")).fit(**options)


@cache
def slopes():
    """Return the fit to sleepstudy with effects in both parts; tests do not change it."""
    return sleepstudy(SLOPES)


SLOPES = "Reaction ~ Days + (Days | Subject) | Days + (1 | Subject)"


# ---- estimates -----------------------------------------------------------------------------------


def test_both_parts_of_a_gaussian():
    case = reference("gaussian_mixed_dispersion_sleepstudy")
    with pytest.warns(LaplaceErrorWarning, match=r"is \+1.9 from it"):
        res = sleepstudy(SLOPES, nodes=1)
    glmmtmb = case["glmmTMB"]
    se = np.sqrt(np.diag(glmmtmb["vcov"]))[:4] * [1, 1, 2, 2]  # its dispersion is log(sd)
    expected = [*glmmtmb["mu"].values(), *(2 * v for v in glmmtmb["disp"].values())]
    assert_allclose((res.fe_params - expected) / se, 0, atol=2e-4)
    assert_allclose(res.bse_fe, se, rtol=2e-4)
    assert_allclose(res.llf, glmmtmb["llf"], atol=1e-6)
    assert_allclose(res.aic, 2 * 8 - 2 * res.llf)
    assert res.df_resid == 180 - 8
    sds = [*glmmtmb["re_mean"]["Subject"]["sd"], 2 * glmmtmb["re_disp"]["Subject"]["sd"]]
    assert_allclose(res.variance_components["sd"], sds, rtol=2e-4)
    assert_allclose(
        res.params["corr(Subject: Intercept, Days)"],
        glmmtmb["re_mean"]["Subject"]["corr"][0][1],
        atol=1e-4,
    )
    assert list(res.params.index) == [
        *("Intercept", "Days", "dispersion-Intercept", "dispersion-Days"),
        *("sd(Subject)", "sd(Subject: Days)", "sd(dispersion-Subject)"),
        "corr(Subject: Intercept, Days)",
    ]


def test_reml():
    case, res = reference("lmer_sleepstudy_reml"), sleepstudy(reml=True)
    assert_allclose(res.llf_reml, case["llf"], atol=1e-7)
    assert_allclose(res.params_mean, list(case["beta"].values()), rtol=1e-6)
    assert_allclose(res.bse[:2], np.sqrt(np.diag(case["vcov"])), rtol=1e-5)
    assert np.isnan(res.aic)
    assert res.reml and "information of the restricted likelihood" in str(res.summary())
    # the log-likelihood at these estimates, not the restricted one
    assert_allclose(res.llf, res.model.loglike(res.params), atol=1e-8)


def test_glmer():
    case = reference("glmer_cbpp_nagq1")
    cbpp = data("cbpp").astype({"period": str})
    formula = "incidence + I(size - incidence) ~ period + (1 | herd) | 0"
    res = hmf.doubleglm(formula, cbpp, family=sm.families.Binomial()).fit(nodes=1)
    assert res.llf >= case["llf"] - 1e-6
    assert_allclose(res.llf, -92.026281865, atol=1e-6)  # glmer stops 2.8e-4 below
    se = np.sqrt(np.diag(case["vcov"]))
    assert_allclose((res.params_mean - list(case["beta"].values())) / se, 0, atol=0.02)
    assert_allclose(res.bse[:4], se, rtol=0.02)
    assert list(res.params.index[4:]) == ["sd(herd)"]


def test_negative_binomial():
    case, owls = reference("negbin_mixed_owls")["glmmTMB"], data("owls")
    formula = "SiblingNegotiation ~ FoodTreatment * SexParent + (1 | Nest) | FoodTreatment"
    res = hmf.negativebinomial(formula, owls, offset="logBroodSize").fit(nodes=1)
    assert_allclose(res.llf, case["llf"], atol=1e-6)
    se = np.sqrt(np.diag(case["vcov"]))[:6]
    expected = [*case["mu"].values(), *(-v for v in case["disp"].values())]
    assert_allclose((res.fe_params - expected) / se, 0, atol=2e-4)
    assert_allclose(res.bse_fe, se, rtol=2e-4)


@pytest.mark.thorough
def test_both_parts_of_a_beta_binomial():
    case = reference("betabinomial_mixed_dispersion_splicing")["glmmTMB"]
    formula = "K + I(N - K) ~ 1 + (1 | id) | group + treatment + (1 | id)"
    with pytest.warns(LaplaceErrorWarning, match=r"is \+0.8"):
        res = hmf.betabinomial(formula, load_splicing()).fit(nodes=1)
    assert res.llf > case["llf"] - 1e-6
    expected = [*case["mu"].values(), *(-v for v in case["disp"].values())]
    se = np.sqrt(np.diag(case["vcov"]))[:5]
    assert_allclose((res.fe_params - expected) / se, 0, atol=2e-4)
    assert_allclose(res.bse_fe, se, rtol=2e-4)
    frame = res.ranef().set_index(["part", "level"])
    modes = pd.Series({row["_row"]: row["(Intercept)"] for row in case["ranef_mean"]})
    assert_allclose(frame.loc["mean", "mode"][modes.index], modes, atol=1e-4)
    # most of the uncertainty of a gene's mean is that of the grand mean
    assert frame.loc["mean", "sd"].min() > 20 * frame.loc["mean", "sd_given_estimates"].median()


# ---- the likelihood, as statsmodels calls it -----------------------------------------------------


def test_likelihood_of_the_model():
    res = slopes()
    model, params = res.model, np.asarray(res.params)
    assert_allclose(model.loglike(params), res.llf, atol=1e-8)
    assert_allclose(model.score(params) * res.bse, 0, atol=1e-5)
    moved = params * 1.1
    steps = 1e-5 * np.asarray(res.bse)
    expected = [
        (model.loglike(moved + h) - model.loglike(moved - h)) / (2 * h.sum())
        for h in np.diag(steps)
    ]
    assert_allclose(model.score(moved) * res.bse, expected * res.bse, atol=1e-4)
    assert_allclose(-np.linalg.inv(model.hessian(params)), res.cov_params(), rtol=1e-4)
    assert model.loglike([*params[:-1], 1.5]) == -np.inf
    with pytest.raises(ValueError, match="there are 8 parameters"):
        model.loglike(params[:4])
    assert_allclose(model.score_obs(moved).sum(axis=0), model.score(moved), rtol=1e-8)
    with pytest.raises(NotImplementedError, match="no sum over rows"):
        model.loglikeobs(params)


@pytest.mark.parametrize("options", [{"nodes": 1}, {"nodes": 5}, {"reml": True}])
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.LaplaceErrorWarning")
def test_likelihood_of_the_results_has_the_nodes_of_the_fit(options):
    model = hmf.doubleglm("Reaction ~ Days + (1 | Subject) | (1 | Subject)", data("sleepstudy"))
    res = model.fit(**options)
    assert_allclose(res.model.loglike(res.params), res.llf, atol=1e-8)
    assert abs(model.loglike(res.params) - res.llf) > 1e-4  # that of nodes="auto"


def test_start_params():
    formula = "Reaction ~ Days + (Days | Subject) | Days"
    res = sleepstudy(formula)
    again = sleepstudy(formula, start_params=res.params)
    assert again.iterations < res.iterations
    assert_allclose(again.params, res.params, rtol=1e-5)
    assert res.model.loglike(res.model.start_params) > res.llf - 10


# ---- what results have ---------------------------------------------------------------------------


def test_conditional_on_the_random_effects():
    res, frame = slopes(), data("sleepstudy")
    b = pd.DataFrame(res.random_effects).T.loc[frame["Subject"]].to_numpy()
    mean = res.params.iloc[0] + b[:, 0] + (res.params.iloc[1] + b[:, 1]) * frame["Days"]
    log_phi = res.params.iloc[2] + res.params.iloc[3] * frame["Days"] + b[:, 2]
    assert_allclose(res.fittedvalues, mean)
    assert_allclose(res.fitted_dispersion, np.exp(log_phi))
    assert_allclose(res.resid_pearson, (frame["Reaction"] - mean) / np.exp(log_phi / 2))
    assert_allclose(res.predict(), mean)
    assert_allclose(res.get_resid(), res.resid_pearson)
    # without them by the parameters alone
    fixed = res.model.predict(res.params, np.array([[1.0, 2.0]]), which="linear")
    assert_allclose(fixed, res.params.iloc[0] + 2 * res.params.iloc[1])


def test_tables():
    res = slopes()
    modes = res.ranef()
    assert list(modes) == "part factor level column mode sd sd_given_estimates".split()
    assert len(modes) == 3 * 18
    assert (modes["sd"] > modes["sd_given_estimates"]).all()
    one = modes[modes["level"] == 308].set_index(["part", "column"])
    assert_allclose(one["mode"].to_numpy(), res.random_effects[308].to_numpy())
    variances = np.diag(res.random_effects_cov[308])
    assert_allclose(one["sd_given_estimates"] ** 2, variances)
    components = res.variance_components
    sds = res.params[components.index]
    assert_allclose(np.sqrt(np.diag(res.cov_re)), sds)
    limits = res.conf_int(cols=list(components.index))
    assert_allclose(components[["[0.025", "0.975]"]], limits)
    half = 1.959963984540054 * res.bse
    assert_allclose(np.log(limits[1] / sds), half[components.index] / sds)
    assert_allclose(limits[0] * limits[1], sds**2)
    r = "corr(Subject: Intercept, Days)"
    assert_allclose(
        np.arctanh(res.conf_int(cols=[r]).to_numpy().ravel()),
        np.arctanh(res.params[r]) + np.array([-1, 1]) * half[r] / (1 - res.params[r] ** 2),
    )
    assert_allclose(res.conf_int().loc["Days", 0], res.params["Days"] - half["Days"])
    assert res.n_groups == {"Subject": 18}
    assert res.pvalues[components.index].isna().all()
    assert list(res.wald_test_terms().table.index) == list(res.fe_params.index)
    assert_allclose(res.t_test("Days = 0").tvalue, res.tvalues["Days"])


def test_uncertainty_of_random_effects():
    """Of a linear mixed model by REML: that of the best linear unbiased prediction given the sds."""
    res, frame = sleepstudy(reml=True), data("sleepstudy")
    X = np.column_stack([np.ones(180), frame["Days"]])
    A = np.column_stack(
        [X * (frame["Subject"] == s).to_numpy()[:, None] for s in res.random_effects]
    )
    phi = np.exp(res.params_dispersion.iloc[0])
    prior = np.kron(np.eye(18), np.linalg.inv(res.cov_re))
    whole = np.block([[X.T @ X, X.T @ A], [A.T @ X, A.T @ A + phi * prior]])
    henderson = phi * np.diag(np.linalg.inv(whole))[2:].reshape(18, 2)
    given = phi * np.diag(np.linalg.inv(A.T @ A + phi * prior)).reshape(18, 2)
    modes = res.ranef().pivot(index="level", columns="column", values=["sd", "sd_given_estimates"])
    columns = ["Intercept", "Days"]
    assert_allclose(modes["sd_given_estimates"][columns], np.sqrt(given), rtol=1e-7)
    # more than Henderson's by the uncertainty of the covariance parameters
    ratio = modes["sd"][columns].to_numpy() / np.sqrt(henderson)
    assert ratio.min() > 1 and ratio.max() < 1.2


def test_several_factors():
    rng = np.random.default_rng(3)
    a, b = np.repeat(np.arange(12), 20), np.tile(np.arange(20), 12)
    y = 3 + rng.normal(size=12)[a] + rng.normal(size=20)[b] + rng.normal(size=240)
    res = hmf.doubleglm("y ~ 1 + (1 | a) + (1 | b)", {"y": y, "a": a, "b": b}).fit(nodes=1)
    assert res.n_groups == {"a": 12, "b": 20}
    assert set(res.random_effects) == {"a", "b"}
    assert_allclose(res.cov_re["b"].iloc[0, 0], res.params["sd(b)"] ** 2)
    assert_allclose(
        res.fittedvalues, res.params.iloc[0] + _modes(res, "a")[a] + _modes(res, "b")[b]
    )


def _modes(res, factor):
    frame = res.ranef()
    return frame.loc[frame["factor"] == factor, "mode"].to_numpy()


def test_variance_of_zero():
    frame = data("sleepstudy").assign(lot=np.arange(180) % 7)
    with pytest.warns(SingularFitWarning, match=r"sd\(lot\) = 0"):
        res = hmf.doubleglm("Reaction ~ Days + (1 | Subject) + (1 | lot)", frame).fit(nodes=1)
    without = hmf.doubleglm("Reaction ~ Days + (1 | Subject)", frame).fit(nodes=1)
    assert_allclose(res.llf, without.llf, atol=1e-8)
    assert res.params["sd(lot)"] == 0
    assert np.isnan(res.bse["sd(lot)"])
    assert_allclose(res.bse.drop("sd(lot)"), without.bse, rtol=1e-4)
    assert res.variance_components.loc["sd(lot)", "at_boundary"]
    assert np.isfinite(res.ranef()["sd"]).all()
    crossed, _ = grid("gaussian")  # sds of 0 in one block, whose correlation has no value
    corr = [name for name in crossed.params.index if name.startswith("corr")]
    assert crossed.params[corr].isna().all() and crossed.bse[corr].isna().all()
    assert np.isfinite(crossed.bse["sd(dispersion-block)"])
    assert "sd(lot) = 0" in str(res.summary())
    with pytest.raises(ValueError, match=r"sd\(lot\).*nothing to test"):
        res.t_test("sd(lot) = 1")


def test_without_data():
    res = pickle.loads(pickle.dumps(slopes()))
    table, text = res.ranef(), str(res.summary()).splitlines()
    res.remove_data()
    assert res.model.random[0].values.size == 0 and len(res.model.random[0].levels) == 18
    res = pickle.loads(pickle.dumps(res))
    pd.testing.assert_frame_equal(res.ranef(), table)
    assert set(text) - set(str(res.summary()).splitlines()) < {
        line
        for line in text
        if "resid" in line or "Fitted" in line or "1Q" in line or "Time" in line
    } | {text[-1]}
    assert len(pickle.dumps(res)) < 60_000
    with pytest.raises(ValueError, match="the data were removed"):
        res.model.fit()


def test_summary():
    with pytest.warns(LaplaceErrorWarning):
        by_laplace = sleepstudy(SLOPES, nodes=1)
    assert "Error:      log-likelihood less Laplace's approximation +1.9" in str(
        by_laplace.summary()
    )
    text = slopes().summary().as_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "Likelihood: marginal, Gauss-Hermite quadrature with 15 nodes" in text
    assert "Groups:     Subject, 18 of 10 rows" in text
    second = slopes().summary2().as_text()
    assert max(map(len, second.splitlines())) <= 80
    assert repr(sleepstudy()).startswith(
        "<MixedResults: DoubleGLM: Reaction ~ Days + (Days | Subject)"
    )


def test_cluster_robust_covariance():
    frame = data("sleepstudy")
    res = sleepstudy("Reaction ~ Days + (1 | Subject)", cov_type="cluster")
    # generalized estimating equations with the covariance of the fit, G/(G - 1) (n - 1)/(n - k) aside
    X = np.column_stack([np.ones(180), frame["Days"]])
    V = res.cov_re.iloc[0, 0] + np.exp(res.params["dispersion-Intercept"]) * np.eye(10)
    of = [np.flatnonzero(frame["Subject"] == s) for s in res.random_effects]
    error = frame["Reaction"].to_numpy() - X @ res.params_mean.to_numpy()
    bread = np.linalg.inv(sum(X[g].T @ np.linalg.solve(V, X[g]) for g in of))
    scores = np.array([X[g].T @ np.linalg.solve(V, error[g]) for g in of])
    expected = bread @ scores.T @ scores @ bread * 18 / 17 * 179 / 176
    assert_allclose(res.cov_params().iloc[:2, :2], expected, rtol=1e-6)
    assert "Clusters:   18" in str(res.summary())
    assert "robust to clusters" in str(res.summary())
    assert_allclose(res.variance_components["se"], res.bse["sd(Subject)"])
    limits = res.variance_components[["[0.025", "0.975]"]]
    assert_allclose(limits, res.conf_int(cols=["sd(Subject)"]))
    same = res.model.fit(cov_type="cluster", cov_kwds={"groups": "Subject"})
    assert_allclose(same.bse, res.bse)
    for kwds, message in {
        "Days": "a group of Subject has rows in several clusters",
        "Nobody": "Nobody",
    }.items():
        with pytest.raises(ValueError, match=message):
            res.model.fit(cov_type="cluster", cov_kwds={"groups": kwds})
    with pytest.raises(ValueError, match="not available after REML"):
        res.model.fit(cov_type="cluster", reml=True)
    with pytest.raises(ValueError, match="nonrobust' takes none"):
        res.model.fit(cov_kwds={"groups": "Subject"})


# ---- every method --------------------------------------------------------------------------------


def grid(name):
    """Return a fit with random effects and the data of the grid of methods."""
    frame = simulated().assign(lot=lambda d: np.arange(len(d)) % 5)
    formulas = {
        "gaussian": "gaussian ~ x + group + (x | block) | x + group + (1 | block)",
        "beta-binomial": "K + I(N - K) ~ x + group | x + group + (1 | block)",
        "poisson": "count ~ x + group + (1 | block) | 0",
        "crossed": "gaussian ~ x + group + (1 | block) + (1 | lot) | x + group",
    }
    with warnings.catch_warnings():
        for category in (SingularFitWarning, LaplaceErrorWarning, NotIdentifiedWarning):
            warnings.simplefilter("ignore", category)
        if name == "beta-binomial":
            return hmf.betabinomial(formulas[name], frame).fit(nodes=1), frame
        family = sm.families.Poisson() if name == "poisson" else None
        return hmf.doubleglm(formulas[name], frame, family=family).fit(nodes=1), frame


#: Methods that only fits with random effects have (tests/mixed/test_plots_of_effects.py has the plots).
OWN = {"icc", "r2_nakagawa", "ranef"} | {
    f"plot_random_effects{kind}" for kind in ("", "_pairs", "_qq")
}
#: What every fit with random effects refuses besides what has no version for them yet.
REFUSED = {
    "bootstrap": "kind='pairs': the rows of a group share its random effects",
    "anova typ=3": "test='score': there is none for fits with random effects",
    "fit HC1": "cov_type='HC1': with random effects choose",
    "fit bfgs": "method='bfgs': with random effects",
    "get_influence plot": "that of groups",
    "get_influence index": "that of groups",
    "get_resid dispersion": r"get_resid.kind='standardized'.: not available",
}
#: What the distribution has not, by name of the fit.
REFUSED_BY_FAMILY = {
    name: {
        "design_effect": "no intraclass correlation",
        "effective_sample_size": "no intraclass correlation",
        **({} if name == "poisson" else {"predict prob": "is continuous"}),
    }
    for name in ("gaussian", "crossed", "poisson")
}
REFUSED_BY_FAMILY["poisson"] |= {
    "dispersion_ratios": "no variable affects it",
    "get_margeff dispersion": "no variable affects it",
}
of_groups = ("get_influence", "get_influence observed")
of_groups += ("get_influence plot", "get_influence index")
REFUSED_BY_FAMILY["crossed"] |= dict.fromkeys(of_groups, "block, lot are crossed")
REFUSED_BY_FAMILY["crossed"]["bootstrap cluster"] = "a group of lot has rows in several"
REFUSED_BY_FAMILY["poisson"]["compare_constant_dispersion"] = "the dispersion has no columns"
REFUSED_BY_FAMILY["crossed"]["fit cluster"] = "a group of lot has rows in several clusters"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("gaussian", marks=pytest.mark.thorough),
        pytest.param("beta-binomial", marks=pytest.mark.thorough),
        "poisson",
        pytest.param("crossed", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.SingularFitWarning")
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.NotIdentifiedWarning")
def test_every_method_works_or_says_why_not(name):
    res, frame = grid(name)
    refused = REFUSED | REFUSED_BY_FAMILY.get(name, {})
    assert public_methods(res) - OWN <= {call.split()[0] for call in CALLS}
    found = refusals(res, frame)
    plt.close("all")
    not_yet = {call for call in CALLS if call.split()[0] in NOT_YET}
    assert found.keys() == not_yet | refused.keys()
    for call in not_yet - refused.keys():
        method = call.split()[0]
        assert (
            found[call].startswith(method) and "not available for models with random" in found[call]
        )
    for call, message in refused.items():
        assert re.search(message, found[call])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reml": "yes"}, ValueError, "choose False, True"),
        ({"nodes": 0}, ValueError, "nodes=0: give a whole number from 1 to 100"),
        ({"maxiter": -1}, ValueError, "maxiter"),
        ({"use_t": True}, NotImplementedError, "use_t=True: with random effects"),
        ({"tol": 1e-3}, NotImplementedError, "tol=0.001: with random effects"),
        ({"gtol": 1e-3}, TypeError, "'gtol' is an option of optimisers"),
        ({"start_params": [1.0, 2.0]}, ValueError, r"shape \(2,\), but there are 6"),
        ({"start_params": [1, 2, 3, 4, 5, np.nan]}, ValueError, r"NaN for corr\(Subject"),
        ({"start_params": [1, 2, 3, 4, 5, 1.2]}, ValueError, "no correlations"),
    ],
)
def test_options_of_fit(options, error, message):
    model = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", data("sleepstudy"))
    with pytest.raises(error, match=message):
        model.fit(**options)


def test_options_of_random_effects_without_them():
    model = hmf.doubleglm("Reaction ~ Days", data("sleepstudy"))
    with pytest.raises(ValueError, match="reml='both': without random effects"):
        model.fit(reml="both")
    with pytest.raises(ValueError, match="nodes=15: the model has no random effects"):
        model.fit(nodes=15)


def test_functions_of_results_refuse():
    res = sleepstudy()
    with pytest.raises(NotImplementedError, match="not available for models with random effects"):
        plots.plot_mean_variance(res)


def test_notes():
    res = sleepstudy()
    record = replace(res.fit, laplace_error=0.4, converged=False, message="enough")
    with pytest.warns(ModelWarning) as caught:
        notes = checks.diagnose(record, res.model.random, res.model.parameter_names)
    assert {w.category for w in caught} == {ConvergenceWarning, LaplaceErrorWarning}
    assert "+0.4 from it" in notes[1]
    near = np.array(res.cov_params())
    near[3, :], near[:, 3] = near[4], near[:, 4]  # sd(Subject) = sd(Subject: Days) + noise
    near[3, 3] = near[4, 4] * (1 + 1e-6)
    record = replace(res.fit, covariance=near)
    with pytest.warns(
        NotIdentifiedWarning, match=r"combination of sd\(Subject\), sd\(Subject: Days"
    ):
        checks.diagnose(record, res.model.random, res.model.parameter_names)


def test_dispersions_of_zero_warn():
    cbpp = data("cbpp").astype({"period": str})
    model = hmf.betabinomial("incidence + I(size - incidence) ~ period + (1 | herd) | period", cbpp)
    with (
        pytest.warns(BoundaryWarning, match="the dispersion is zero in rows 3, 10, 14"),
        pytest.warns(SingularFitWarning),
    ):
        res = model.fit()
    assert sum("the dispersion is zero" in note for note in res.notes) == 1


def test_unknown_error_of_laplace():
    """A node lies where the inverse link has no mean."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(8), 5)
    y = np.exp(0.7 * rng.normal(size=8))[g] * rng.gamma(2.0, 0.5, size=40)
    model = hmf.doubleglm("y ~ 1 + (1 | g)", {"y": y, "g": g}, family=sm.families.Gamma())
    with pytest.warns(LaplaceErrorWarning, match="not finite at nodes"):
        res = model.fit()
    assert res.converged and np.isnan(res.laplace_error)
    with pytest.raises(ValueError, match="outside the domain of its link"):
        model.fit(nodes=15)


def test_steps_of_all_searches_are_counted():
    frame = data("sleepstudy")
    by_nodes = hmf.doubleglm("Reaction ~ Days + (1 | Subject) | (1 | Subject)", frame).fit()
    assert by_nodes.fit.iterations > 5


@pytest.mark.parametrize("response", ["one", "by_x"])
def test_separation_by_fixed_columns(response):
    x = np.random.default_rng(1).normal(size=60)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "x": x, "one": 1, "by_x": x > 0})
    model = hmf.doubleglm(
        f"I({response} * 1.0) ~ x + (1 | g) | 0", frame, family=sm.families.Binomial()
    )
    warnings.simplefilter("ignore", SingularFitWarning)
    with pytest.warns(SeparationWarning, match="has no finite estimate"):
        res = model.fit()
    assert any("is separated" in note for note in res.notes)


@pytest.mark.parametrize("response", ["3.0 + 0 * x", "2 * x + 1"])
def test_mean_that_fits_every_row(response):
    frame = pd.DataFrame({"g": np.repeat([1, 2, 3], 4), "x": np.arange(12.0)})
    model = hmf.doubleglm(f"I({response}) ~ x + (1 | g)", frame)
    with pytest.raises(UnboundedLikelihoodError, match="the mean fits every row"):
        model.fit()
