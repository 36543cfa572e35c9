"""A dispersion part without columns, ``| 0``: log(phi) is the offset, and phi = 1 the GLM itself."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import statsmodels.api as sm
from conftest import simulated
from methods import CALLS, public_methods, refusals
from numpy.testing import assert_allclose
from quick import thorough
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import NotNestedError, SeparationWarning

POISSON, BINOMIAL = sm.families.Poisson, sm.families.Binomial
#: Both fits at the maximum: a few roundings of 300 terms.
TOL_GLM = 1e-10
N = 300
#: P value of a fixed seed below which data are not of the model.
RARE = 1e-4


# ---- the GLM -------------------------------------------------------------------------------------


def responses(family):
    """Return a design, and a count; or successes and failures, and a 0/1 response."""
    rng = np.random.default_rng(14)
    x = rng.uniform(size=N)
    X = np.column_stack([np.ones(N), x])
    if family is POISSON:
        return X, {"count": rng.poisson(1 + 2 * x)}
    p, n = 0.2 + 0.3 * x, rng.integers(1, 9, size=N)
    K = rng.binomial(n, p)
    return X, {"grouped": np.column_stack([K, n - K]), "binary": 1.0 * (rng.uniform(size=N) < p)}


GLMS = [
    (family, link, y)
    for family, ys in ((POISSON, ("count",)), (BINOMIAL, ("grouped", "binary")))
    for link in family.links
    for y in ys
]


def glm(y, X, family, start=None, **kwargs):
    """Return statsmodels' fit, searched to the last digit; from its own start LogC does not arrive."""
    model = sm.GLM(y, X, family=family, **kwargs)
    return model.fit(start, tol=1e-15, tol_criterion="params", maxiter=500)


@pytest.mark.filterwarnings("ignore::statsmodels.tools.sm_exceptions.DomainWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("family", "link", "y"), GLMS, ids=[f"{f.__name__}-{k.__name__}-{y}" for f, k, y in GLMS]
)
def test_is_the_glm(family, link, y, weighted):
    X, ys = responses(family)
    kwargs = {"freq_weights": np.arange(N) % 3 + 1.0} if weighted else {}
    model = het.DoubleGLM(ys[y], X, np.empty((N, 0)), family=family(link()), **kwargs)
    ours = model.fit(tol=1e-13)
    theirs = glm(ys[y], X, family(link()), np.round(ours.params, 2), **kwargs)
    assert model.core.family.exact
    assert_allclose(ours.llf, theirs.llf, rtol=TOL_GLM)
    assert_allclose((ours.params - theirs.params) / theirs.bse, 0, atol=TOL_GLM)
    assert_allclose(model.fit(cov_type="eim").cov_params(), theirs.cov_params(), rtol=1e-9)
    observed = -theirs.model.hessian(theirs.params, observed=True)
    assert_allclose(ours.bse, np.sqrt(np.diag(np.linalg.inv(observed))), rtol=TOL_GLM)
    assert_allclose(ours.aic, theirs.aic, rtol=TOL_GLM)
    assert ours.df_resid == theirs.df_resid
    assert_allclose(ours.resid_pearson, theirs.resid_pearson, rtol=1e-8)
    assert_allclose(ours.resid_deviance, theirs.resid_deviance, rtol=1e-8, atol=1e-8)


def test_llnull():
    data = simulated()
    ours = hmf.doubleglm("count ~ x | 0", data, family=POISSON()).fit()
    theirs = sm.GLM.from_formula("count ~ x", data, family=POISSON()).fit()
    assert_allclose(ours.llnull, theirs.llnull, rtol=TOL_GLM)
    assert_allclose(ours.llr_pvalue, stats.chi2.sf(2 * (ours.llf - theirs.llnull), 1), rtol=1e-9)
    assert_allclose(ours.pseudo_rsquared("mcf"), theirs.pseudo_rsquared("mcf"), rtol=1e-9)


def test_forms_of_the_response():
    data = simulated()
    same = {
        "K + I(N - K) ~ x | 0": {},
        "K ~ x | 0": {"n_trials": "N"},
        "I(K / N) ~ x | 0": {"n_trials": "N"},
        "K + I(N - K) ~ x": {"exog_dispersion_formula": "~ 0"},
        "K + I(N - K) ~ x | -1": {},
    }
    fits = [hmf.doubleglm(f, data, family=BINOMIAL(), **k).fit() for f, k in same.items()]
    for res in fits[1:]:
        assert_allclose(
            [res.llf, *res.params, *res.bse], [fits[0].llf, *fits[0].params, *fits[0].bse]
        )
    with pytest.raises(ValueError, match=r"whole number; give n_trials"):
        hmf.doubleglm("I(K / N) ~ x | 0", data, family=BINOMIAL())


def test_offset_and_exposure():
    data = simulated()
    args = {"offset": data["shift"], "exposure": data["time"]}
    ours = hmf.doubleglm("count ~ x | 0", data, family=POISSON(), **args).fit()
    theirs = sm.GLM.from_formula("count ~ x", data, family=POISSON(), **args).fit(tol=1e-14)
    assert_allclose([ours.llf, *ours.params], [theirs.llf, *theirs.params], rtol=1e-9)
    new = data.head(4)
    expected = theirs.predict(new, offset=new["shift"], exposure=new["time"])
    args = {name: value.head(4) for name, value in args.items()}
    assert_allclose(ours.predict(new, **args), expected, rtol=1e-9)


def test_separation_is_reported():
    x = np.linspace(-1, 1, 40)
    data = {"y": 1.0 * (x > 0), "x": x}
    with pytest.warns(SeparationWarning, match="separated"):
        res = hmf.doubleglm("y ~ x | 0", data, family=BINOMIAL()).fit()
    assert abs(res.llf) < 1e-3


def test_saturated_mean():
    # known dispersion: no likelihood without bound
    y = np.array([3.0, 1.0, 7.0])
    res = het.DoubleGLM(y, np.eye(3), np.empty((3, 0)), family=POISSON()).fit()
    assert_allclose(res.llf, stats.poisson.logpmf(y, y).sum(), rtol=1e-12)


# ---- a known dispersion --------------------------------------------------------------------------

KNOWN = {
    "gaussian": lambda y, m, phi: stats.norm.logpdf(y, m, np.sqrt(phi)),
    "positive": lambda y, m, phi: stats.gamma.logpdf(y, 1 / phi, scale=m * phi),
    "wald": lambda y, m, phi: stats.invgauss.logpdf(y, m * phi, scale=1 / phi),
    "count": lambda y, m, phi: stats.nbinom.logpmf(y, 1 / phi, 1 / (1 + phi * m)),
    "K": None,
    "claims": None,
}


def known(response, **kwargs):
    """Return the model of a family with the known dispersion exp(shift)."""
    data, log = simulated(), sm.families.links.Log()
    families = {
        "gaussian": sm.families.Gaussian(),
        "positive": sm.families.Gamma(log),
        "wald": sm.families.InverseGaussian(log),
        "claims": sm.families.Tweedie(log, var_power=1.5),
    }
    kwargs = {"offset_dispersion": "shift", **kwargs}
    if response == "count":
        return hmf.negativebinomial("count ~ x + group | 0", data, **kwargs)
    if response == "K":
        return hmf.betabinomial("K + I(N - K) ~ x + group | 0", data, **kwargs)
    family = families[response]
    return hmf.doubleglm(f"{response} ~ x + group | 0", data, family=family, **kwargs)


@pytest.mark.parametrize("response", KNOWN)
def test_known_dispersion(response):
    data, res = simulated(), known(response).fit()
    assert res.converged
    assert len(res.params) == 4
    assert_allclose(res.fitted_dispersion, np.exp(data["shift"]), rtol=1e-13)
    assert_allclose(res.model.score(res.params), 0, atol=1e-6)
    if KNOWN[response]:
        expected = KNOWN[response](data[response], res.fittedvalues, np.exp(data["shift"])).sum()
        assert_allclose(res.llf, expected, rtol=1e-10)
    # one more coefficient: against the fit that estimates a factor of it
    larger = res.model.clone(exog_dispersion=np.ones((len(data), 1))).fit()
    table = het.anova(res, larger)
    assert table["df_diff"].iloc[1] == 1
    assert 0 <= table["P"].iloc[1] <= 1


@pytest.mark.parametrize("family", [POISSON(), BINOMIAL()])
def test_offset_makes_it_eql(family):
    data, left = simulated(), "count" if isinstance(family, POISSON) else "K + I(N - K)"
    res = hmf.doubleglm(f"{left} ~ x | 0", data, family=family, offset_dispersion=0.7).fit()
    assert "EQL" in str(res.summary())
    assert "known: offset_dispersion" in str(res.summary())
    theirs = sm.GLM.from_formula(f"{left} ~ x", data, family=family).fit(
        scale=np.exp(0.7), tol=1e-14
    )
    assert_allclose(res.params, theirs.params, rtol=1e-8)
    assert_allclose(res.bse, theirs.bse, rtol=1e-8)


def test_score_test_of_phi_1():
    """Of the EQL with phi = 1: of a constant, or of a formula with its constant; arrays say the same."""
    data = simulated()
    res = hmf.doubleglm("count ~ x | 0", data, family=POISSON(), offset_dispersion=0).fit()
    ones, z = np.ones((len(data), 1)), data[["z"]].to_numpy()
    for named, columns in (("~ 1", ones), ("z", z), ("~ z", np.hstack([ones, z]))):
        tested = [res.score_test((None, part))[:2] for part in (named, columns)]
        assert_allclose(*(np.ravel(test) for test in tested), rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    {
        "negative binomial": (
            lambda: known("count", offset_dispersion=None),
            r"alpha is not known: give .*offset_dispersion=.*DoubleGLM",
        ),
        "beta-binomial": (
            lambda: known("K", offset_dispersion=None),
            r"sigma is not known: give .*offset_dispersion=.*\| 1",
        ),
        "another link": (
            lambda: hmf.doubleglm(
                "gaussian ~ x | 0", simulated(), link_dispersion=sm.families.links.Identity()
            ),
            r"link_dispersion=Identity: a dispersion without columns",
        ),
        "REML": (
            lambda: hmf.doubleglm("gaussian ~ x | 0", simulated()).fit(reml=True),
            r"reml=True: .*has no columns",
        ),
        "more dispersion": (
            lambda: exact("count").model.clone(exog_dispersion=np.ones((120, 1))),
            r"exog_dispersion: the Poisson .* has phi = 1",
        ),
        "a fraction": (
            lambda: hmf.doubleglm("I(count / 2) ~ x | 0", simulated(), family=POISSON()),
            "whole number",
        ),
    }.values(),
)
def test_what_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_exact_and_quasi_likelihood_have_no_ratio():
    data = simulated()
    quasi = hmf.doubleglm("count ~ x + group | 1", data, family=POISSON()).fit()
    with pytest.raises(NotNestedError, match="extended quasi-likelihood, which have no ratio"):
        het.anova(exact("count"), quasi)


# ---- every method --------------------------------------------------------------------------------


def exact(response):
    """Return the fit of the GLM of counts, of proportions or of a 0/1 response."""
    data = simulated()
    left = {"count": "count", "K": "K + I(N - K)", "binary": "I(1.0 * (K > N / 2))"}[response]
    family = POISSON() if response == "count" else BINOMIAL()
    return hmf.doubleglm(f"{left} ~ x + group | 0", data, family=family).fit()


#: What a fit with a known dispersion refuses, and what the sentence says.
REFUSED = {
    "boundary_limits": "no cell of the dispersion is at the boundary",
    "compare_constant_dispersion": "the dispersion has no columns .* nothing to test",
    "dispersion_ratios": "no variable affects it",
    "get_margeff dispersion": "no variable affects it",
    "plot_dispersion": "the dispersion has no columns .* no term to plot",
    "fit reml": "reml=True",
}
WITHOUT_CORRELATION = {
    "design_effect": "has no intraclass correlation",
    "effective_sample_size": "has no intraclass correlation",
}
NO_DISPERSION = {
    "score_test dispersion": "has phi = 1 and no terms of a dispersion",
    "test_random_effect dispersion": "nothing to test in the dispersion: .* phi = 1",
}
OF_CASE = {
    "count": WITHOUT_CORRELATION | NO_DISPERSION,
    "K": WITHOUT_CORRELATION | NO_DISPERSION,
    "binary": WITHOUT_CORRELATION | NO_DISPERSION | {"test_overdispersion": "one trial"},
}


def check_every_method(res, expected):
    """Check that every method works, but for those that are refused with these sentences."""
    assert public_methods(res) <= {name.split()[0] for name in CALLS}
    found = refusals(res, simulated())
    plt.close("all")
    assert found.keys() == expected.keys()
    for name, message in expected.items():
        assert re.search(message, found[name]), name


@pytest.mark.parametrize("response", ["binary", *thorough("count", "K")])
def test_every_method_works_or_says_why_not(response):
    check_every_method(exact(response), REFUSED | OF_CASE[response])


CONTINUOUS = WITHOUT_CORRELATION | {
    "predict prob": "is continuous",
    "test_overdispersion": "not a model of its own",
}
OF_KNOWN = {
    **dict.fromkeys(("gaussian", "positive", "wald", "claims"), CONTINUOUS),
    "count": WITHOUT_CORRELATION,
    "K": {},
}


@pytest.mark.thorough
@pytest.mark.parametrize("response", KNOWN)
def test_every_method_with_a_known_dispersion(response):
    check_every_method(known(response).fit(), REFUSED | OF_KNOWN[response])


def test_dispersion_residuals_are_the_scores_of_overdispersion():
    """Dean's score of the Poisson, Tarone's of the binomial; 0/1 rows tell nothing of it."""
    res, y = exact("count"), simulated()["count"]
    mu = res.fittedvalues
    assert_allclose(res.resid_dispersion, ((y - mu) ** 2 - y) / (np.sqrt(2) * mu), rtol=1e-9)
    total = np.sum(res.resid_dispersion * mu) / np.sqrt(np.sum(mu**2))
    assert_allclose(
        total, res.test_overdispersion().score, rtol=0.02
    )  # of which the mean is estimated
    assert np.isnan(exact("binary").resid_dispersion).all()
    n, p, K = simulated()["N"], exact("K").fittedvalues, simulated()["K"]
    z = (K - n * p) / np.sqrt(n * p * (1 - p))
    assert np.corrcoef(exact("K").resid_dispersion, z**2)[0, 1] > 0.95


def test_summary():
    text = str(exact("count").summary())
    assert "fixed: phi = 1" in text
    assert "EQL" not in text
    assert "constant dispersion" not in text
    assert exact("count").model.formula_text() == "count ~ x + group | 0"


@pytest.mark.parametrize("response", OF_CASE)
def test_simulated_responses_have_normal_quantile_residuals(response):
    """What is simulated is of the model: no residual of it is found to be of another."""
    res = exact(response)
    trials = res.model.core.trials
    draws = res.simulate(40, rng=3)
    expected = res.fittedvalues * (1 if trials is None else trials)
    z = (draws.mean(axis=0) - expected) / np.sqrt(res.predict(which="var") / len(draws))
    scores = res.model.clone(endog=draws[0]).fit().get_resid(rng=5)
    for normal in (z, scores):
        assert stats.kstest(normal, "norm").pvalue > RARE


def test_prediction_interval_covers_the_uncertain_mean():
    """The mixture of the Poisson over the estimated mean is wider than the fitted distribution."""
    found = exact("count").get_prediction()
    plugin, mixture = (found.conf_int(obs=True, obs_ci=kind) for kind in ("plugin", "predictive"))
    assert (mixture[:, 1] >= plugin[:, 1]).all()
    assert (mixture != plugin).any()
