"""Predictions with random effects: at their modes, at 0, averaged over; intervals; simulation."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from mixed_cases import data, owls, splicing
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import expit

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.datasets import load_splicing
from hetglm.exceptions import BoundaryWarning, FormulaError, SingularFitWarning
from hetglm.families.crps import crps
from hetglm.mixed.averages import Averages
from hetglm.mixed.conditional import Uncertainty
from hetglm.mixed.loadings import Symmetric
from hetglm.mixed.mixtures import Mixture
from hetglm.mixed.refit import NewEffects
from hetglm.prediction.quantities import QUANTITIES

#: Rows of sleepstudy: a subject of the fit twice, one that it did not have, one that is missing.
NEW = pd.DataFrame({"Days": [2.0, 7.5, 3.0, 4.0], "Subject": [308, 308, 999, None]})


@lru_cache
def sleepstudy(dispersion="1"):
    return hmf.doubleglm(
        f"Reaction ~ Days + (Days | Subject) | {dispersion}", data("sleepstudy")
    ).fit()


@lru_cache
def nests():
    frame = data("owls")
    formula = "SiblingNegotiation ~ FoodTreatment + (1 | Nest) | FoodTreatment"
    return hmf.negativebinomial(formula, frame).fit()


def symmetric(n, eta_eta, eta_zeta, zeta_zeta):
    return Symmetric(np.full(n, eta_eta), np.full(n, eta_zeta), np.full(n, zeta_zeta))


def test_modes_new_levels_and_population():
    res = sleepstudy()
    fixed = res.fe_params["Intercept"] + res.fe_params["Days"] * NEW["Days"]
    b = res.random_effects[308]
    known = b["Intercept"] + b["Days"] * NEW["Days"]
    with pytest.raises(
        FormulaError, match=r"Subject: the fit did not have 999.*; write new_levels="
    ):
        res.predict(NEW)
    found = res.predict(NEW, new_levels="population")
    assert_allclose(found, np.where([1, 1, 0, 0], fixed + known, [0, 0, fixed[2], np.nan]))
    assert_allclose(res.predict(NEW[["Days"]], random=False), fixed)
    assert_allclose(res.predict(NEW[["Days"]], random="integrate"), fixed)  # identity link
    assert_allclose(res.predict(NEW[:2], random=["Subject"]), found[:2])
    assert_allclose(res.predict(data("sleepstudy")), res.fittedvalues)
    rows = res.predict(random=False)
    assert_allclose(rows, res.predict(data("sleepstudy"), random=False))


def test_variance_of_a_new_group():
    res = sleepstudy()
    a = np.column_stack([np.ones(4), NEW["Days"]])
    of_effects = np.einsum("ij,jk,ik->i", a, res.cov_re.to_numpy(), a)
    phi = np.exp(res.fit.internal[2])
    found = res.predict(NEW, which="var", new_levels="integrate")
    assert_allclose(found, np.where([0, 0, 1, 0], phi + of_effects, [phi, phi, 0, np.nan]))
    interval = res.get_prediction(NEW[["Days"]], random="integrate").conf_int(
        obs=True, obs_ci="plugin"
    )
    half = stats.norm.isf(0.025) * np.sqrt(phi + of_effects)
    assert_allclose(interval[:, 1] - interval[:, 0], 2 * half, rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"random": "Days"},
            "random: 'Days' is no grouping variable of the fit, which has Subject",
        ),
        ({"random": 3}, "random=3: choose True, False, 'integrate' or a list"),
        ({"new_levels": "zero"}, "new_levels='zero': choose one of error, population, integrate"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        sleepstudy().predict(NEW, **options)


def test_new_rows_of_designs():
    frame = data("sleepstudy")
    X = np.column_stack([np.ones(180), frame["Days"]])
    term = het.RandomTerm(frame["Subject"])
    res = het.DoubleGLM(frame["Reaction"], X, random=[term]).fit()
    with pytest.raises(
        ValueError, match="Subject: designs do not say which groups new rows belong to"
    ):
        res.predict(X[:2])
    assert_allclose(res.predict(X[:2], random=False), X[:2] @ res.params[:2])
    sd = res.params["sd(Subject)"]
    assert_allclose(
        res.predict(X[:2], which="var", random="integrate"), np.exp(res.fit.internal[2]) + sd**2
    )
    assert_allclose(res.predict(), res.fittedvalues)


def test_averages_against_integrals():
    core = splicing()[0].core.take(np.arange(3))
    params, s, r, v = np.array([-0.5, -2.0, 0.3, 0.2, 0.1]), 1.5, 0.4, 0.8
    at = core.predictors(params)
    averages = Averages(core, params, symmetric(3, s**2, r * s * v, v**2))

    x, y = np.meshgrid(*2 * [np.linspace(-9, 9, 601)])
    weights = stats.norm.pdf(x) * stats.norm.pdf(y) * 0.03**2
    mu = expit(at.eta[0] + s * x)
    rho = expit(at.zeta[0] + r * v * x + v * np.sqrt(1 - r**2) * y)
    m, n = np.sum(weights * mu), core.trials[0]
    spread = np.sum(weights * (mu - m) ** 2)
    within = np.sum(weights * mu * (1 - mu) * (1 + (n - 1) * rho))
    variance = n * within + n**2 * spread
    assert_allclose(averages.value("mean")[0], m, rtol=1e-7)
    assert_allclose(averages.value("var")[0], variance, rtol=1e-7)
    inflation = variance / (n * m * (1 - m))
    assert_allclose(averages.value("design-effect")[0], inflation, rtol=1e-7)
    assert_allclose(averages.value("effective-size")[0], n / inflation, rtol=1e-7)
    assert_allclose(averages.value("icc")[0], (inflation - 1) / (n - 1), rtol=1e-7)


def test_mixture():
    core = owls()[0].core.take(np.arange(4))
    params = np.array([0.4, -0.3, 0.1, 0.2, -1.5, 0.2])
    mixture = Mixture(Averages(core, params, symmetric(4, 0.2, 0.1, 0.2)))
    k = np.arange(200.0)
    p = np.array([mixture.pmf(i) for i in k])
    assert_allclose(p.sum(axis=0), 1, atol=1e-4)
    assert_allclose(np.cumsum(p, axis=0)[7], mixture.cdf(7), rtol=1e-8)
    assert_allclose(mixture.sf(7), 1 - mixture.cdf(7), rtol=1e-8)
    assert_array_equal(mixture.ppf(0.9), k[np.argmax(np.cumsum(p, axis=0) >= 0.9, axis=0)])
    assert_allclose(k @ p, mixture.mean(), rtol=0.01)
    drawn = mixture.rvs((2000, 4), random_state=1)
    assert_allclose(drawn.mean(axis=0), mixture.mean(), atol=5 * mixture.std().max() / 2000**0.5)


def test_quantiles_of_narrow_components():
    """Nodes are nearer to each other where the response varies little given the effects."""
    core = sleepstudy().model.core.take(np.arange(2))
    mixture = Mixture(Averages(core, np.array([0.0, 0.0, 0.0]), symmetric(2, 900.0, 0.0, 0.0)))
    assert_allclose(mixture.ppf(0.8), stats.norm.ppf(0.8, scale=np.sqrt(901)), rtol=1e-8)


def test_covariance_of_predictors_is_of_the_mixed_model_equations():
    """Given the variances it is that of Henderson (1975): [X A] K^-1 [X A]'."""
    res = sleepstudy()
    model, fit = res.model, res.fit
    core, factor, phi = model.core, model.random[0], np.exp(res.fit.internal[2])
    covariance = np.zeros_like(fit.covariance)
    A = np.zeros((core.n, 36))
    for j in range(2):
        A[np.arange(core.n), 2 * factor.codes + j] = factor.values[:, j]
    D = np.column_stack([core.X, A])
    K = D.T @ D / phi
    K[2:, 2:] += np.kron(np.eye(18), np.linalg.inv(res.cov_re.to_numpy()))
    inverse = np.linalg.inv(K)
    covariance[:2, :2] = inverse[:2, :2]
    given = Uncertainty(core, model.random, replace(fit, covariance=covariance))
    found = given.of_rows(core.X, core.Z, model.random)
    assert_allclose(found.eta_eta, np.einsum("ij,jk,ik->i", D, inverse, D), rtol=1e-6)


def test_interval_of_an_averaged_mean():
    """With a log link it is exp(eta + sd^2/2)."""
    res, new = nests(), pd.DataFrame({"FoodTreatment": ["Deprived", "Satiated"]})
    sd, X = res.params["sd(Nest)"], np.array([[1.0, 0.0], [1.0, 1.0]])
    found = res.get_prediction(new, random="integrate").summary_frame()
    eta = X @ res.params[:2] + 0.5 * sd**2
    gradient = np.column_stack([X, np.zeros((2, 2)), np.full(2, sd)])
    se = np.sqrt(np.einsum("ij,jk,ik->i", gradient, res.cov_params(), gradient))
    assert_allclose(found["predicted"], np.exp(eta), rtol=1e-9)
    assert_allclose(found["se"], np.exp(eta) * se, rtol=1e-6)
    assert_allclose(found["ci_upper"], np.exp(eta + 1.959963984540054 * se), rtol=1e-6)
    rows = res.get_prediction(new, random=False)
    fixed = np.sqrt(np.einsum("ij,jk,ik->i", X, res.cov_params().iloc[:2, :2], X))
    assert_allclose(rows.se, rows.predicted * fixed)


def test_intervals_of_known_groups_are_joint():
    res = nests()
    frame = data("owls").head(3)
    found = res.get_prediction(frame)
    model = res.model
    V = Uncertainty(model.core, model.random, res.fit).of_rows(
        model.core.X, model.core.Z, model.random
    )
    assert_allclose(found.se / found.predicted, np.sqrt(V.eta_eta[:3]))
    both = res.get_prediction(frame, new_levels="integrate").summary_frame()
    pd.testing.assert_frame_equal(both, found.summary_frame())
    var = res.get_prediction(frame, which="var", random="integrate").summary_frame()
    assert (var["predicted"] > res.predict(frame, which="var", random=False)).all()
    assert np.isfinite(var.to_numpy()).all()


def test_simulate():
    res = sleepstudy()
    drawn = res.simulate(3000, 1)
    a = np.column_stack([np.ones(10), np.arange(10)])
    expected = a @ res.cov_re.to_numpy() @ a.T + np.exp(res.fit.internal[2]) * np.eye(10)
    assert_allclose(np.cov(drawn[:, :10].T), expected, atol=0.15 * expected.max())
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 10])[0, 1]) < 0.08
    assert_allclose(drawn.mean(axis=0), res.predict(random=False), atol=5)
    again = res.simulate(3000, 1, random="conditional")
    assert_allclose(again.mean(axis=0), res.fittedvalues, atol=3)
    with pytest.raises(ValueError, match="random='old': choose 'new' or 'conditional'"):
        res.simulate(1, 1, random="old")


def test_distributions():
    res = sleepstudy()
    conditional = res.get_distribution(NEW[:2])
    assert_allclose(conditional.mean(), res.predict(NEW[:2]))
    new = res.get_distribution(NEW, new_levels="integrate")
    assert_allclose(new.mean(), res.predict(NEW, new_levels="integrate"))
    assert_allclose(new.std(), res.predict(NEW, which="sd", new_levels="integrate"))


def test_total_effective_size_is_refused():
    frame = load_splicing()
    res = hmf.betabinomial("K + I(N - K) ~ 1 + (1 | id) | group + treatment", frame).fit()
    with pytest.raises(NotImplementedError, match="trials of different rows of a group"):
        res.effective_sample_size(total=True)
    new = frame.head(5)
    found = res.design_effect(new, random="integrate").summary_frame()
    assert (found["predicted"] > res.design_effect(new, random=False).predicted).all()
    size = res.effective_sample_size(new, random="integrate")
    trials = res.model.core.trials[:5]
    assert_allclose(size.predicted * found["predicted"], trials)
    assert_allclose(size.conf_int()[:, 0] * found["ci_upper"], trials)
    assert np.all(size.conf_int()[:, 1] <= trials)


def test_predictions_of_other_programs():
    """Those of lme4 1.1 (REML) and glmmTMB 1.1, whose searches stop at 1e-7."""
    frame = data("sleepstudy")
    linear = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", frame).fit(reml=True)
    assert_allclose(linear.predict(NEW[:2]), [292.996179249, 401.160618737], rtol=1e-7)
    found = sleepstudy("Days").get_prediction(frame.head(3))
    assert_allclose(found.predicted, [249.4420321, 269.5238762, 289.6057203], rtol=1e-6)
    assert_allclose(found.se, [10.474768152, 8.784308968, 7.578532379], rtol=2e-6)


def test_effects_of_a_typical_group():
    res = nests()
    found = res.get_margeff().summary_frame()["effect"].item()
    levels = res.predict(pd.DataFrame({"FoodTreatment": ["Deprived", "Satiated"]}), random=False)
    assert_allclose(found, levels[1] - levels[0])
    ratio = res.dispersion_ratios().summary_frame()
    gamma = res.params["dispersion-FoodTreatment[T.Satiated]"]
    assert_allclose(ratio["ratio"], np.exp(gamma))
    assert_allclose(ratio["se_log"], res.bse["dispersion-FoodTreatment[T.Satiated]"])


def test_simulated_residuals():
    res = sleepstudy()
    found = res.simulate_residuals(60, rng=1, refit=False)
    assert_allclose([found.scaled.mean(), found.scaled.var()], [0.5, 1 / 12], atol=0.05)
    drawn = NewEffects(res.model.fitted(res.fit)).responses(400, np.random.default_rng(2))
    ranks = (drawn < res.model.core.y).mean(axis=0)  # new subjects, not those of the fit
    assert np.corrcoef(ranks, found.scaled)[0, 1] > 0.9
    # subjects differ in dispersion, which this model does not have
    assert np.all(found.pvalues[:3] < 0.05) and np.all(found.simulated[:, :3].std(axis=0) > 0)


def test_modes_of_other_data():
    res = sleepstudy()
    fitted = res.model.fitted(res.fit)
    again = fitted.with_estimates(res.model.core)
    assert_allclose(again.effects[0].modes, res.fit.effects[0].modes, rtol=1e-6)
    core = res.model.core.with_response(2 * res.model.core.y)
    other = fitted.rows_at(core, fitted.with_estimates(core))
    assert np.abs(other.offset).max() > 1.5 * np.abs(res.core.offset).max()


def test_rows_without_dispersion():
    """The fourth period of cbpp lies on the binomial boundary."""
    frame = data("cbpp").assign(period=lambda f: f["period"].astype(str))
    model = hmf.betabinomial(
        "incidence + I(size - incidence) ~ period + (1 | herd) | period", frame
    )
    with pytest.warns((BoundaryWarning, SingularFitWarning)):
        res = model.fit()
    last = (frame["period"] == "4").to_numpy()
    for random in (True, False, "integrate"):
        of_fit = res.predict(which="dispersion", random=random)
        assert np.all(of_fit[last] == 0) and np.all(of_fit[~last] > 0)
        assert_allclose(res.predict(frame, which="dispersion", random=random), of_fit)
        assert np.isfinite(res.predict(which="var", random=random)).all()
    assert res.simulate(2, 1).shape == (2, 56)


def test_scores_of_mixtures():
    """A normal mixture of normals is normal; a score of counts is a sum."""
    core = sleepstudy().model.core.take(np.arange(5))
    V = symmetric(5, 25.0, 0.0, 0.0)
    mixture = Mixture(Averages(core, np.array([1.0, 0.5, np.log(9.0)]), V))
    y = np.array([-20.0, 0.0, 1.4, 5.0, 9.0])
    normal = stats.norm(1 + 0.5 * core.X[:, 1], np.sqrt(34.0))
    assert_allclose(mixture.crps(y), crps(normal, y, False), rtol=1e-7)
    assert_allclose(crps(mixture, y, False), mixture.crps(y))
    core = owls()[0].core.take(np.arange(2))
    params = np.array([-1.0, -0.3, 0.1, 0.2, -1.5, 0.2])
    mixture = Mixture(Averages(core, params, symmetric(2, 0.2, 0.0, 0.0)))
    F = np.array([mixture.cdf(k) for k in range(150)])
    expected = np.sum((F - (np.arange(150)[:, None] >= [3, 7])) ** 2, axis=0)
    assert_allclose(mixture.crps(np.array([3.0, 7.0])), expected, atol=1e-6)


def test_cross_validation():
    res, frame = sleepstudy(), data("sleepstudy")
    metrics = ["mse", "log_score"]
    groups = het.cross_validate(res, 18, "Subject", rng=1, metrics=metrics)
    out = (frame["Subject"] == 308).to_numpy()
    without = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", frame[~out]).fit()
    new = frame[out]
    mean = without.predict(new, random="integrate")
    sd = without.predict(new, which="sd", random="integrate")
    scores = groups.scores["fit"][out]
    assert_allclose(scores["mse"], (new["Reaction"] - mean) ** 2, rtol=1e-4)
    assert_allclose(scores["log_score"], -stats.norm(mean, sd).logpdf(new["Reaction"]), rtol=1e-5)
    rows = het.cross_validate(res, 3, rng=1)
    assert rows.table["fit"]["mean"]["mse"] < 0.5 * groups.table["fit"]["mean"]["mse"]
    assert list(rows.scores) == ["fit"]


def test_a_quantity_without_a_value_for_the_mixture_is_refused(monkeypatch):
    cv = replace(QUANTITIES["sd"], name="cv")
    monkeypatch.setitem(QUANTITIES, "cv", cv)
    res = nests()
    assert_allclose(res.predict(which="cv"), res.predict(which="sd"))
    for call in (res.predict, res.get_prediction):
        with pytest.raises(NotImplementedError, match="'cv': not available for the average"):
            call(data("owls")[:3], which="cv", random="integrate")
