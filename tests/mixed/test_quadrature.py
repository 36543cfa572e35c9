"""Gauss-Hermite quadrature: exact maxima, lme4, gradients, and the error of Laplace's approximation."""

import numpy as np
import pytest
import statsmodels.api as sm
from mixed_cases import ONE, cbpp_binomial, data, factor, fitted, reference, sleepstudy
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import binom, norm
from test_laplace import check_gradient

import hetglm.formula.api as hmf
from hetglm.mixed.marginal import Marginal
from hetglm.mixed.reported import ReportedLikelihood

#: Maximum of sleepstudy's likelihood with a random effect in the dispersion, by two quadratures.
EXACT = -857.694936


def test_exact_maximum_of_sleepstudy():
    fit = fitted(*sleepstudy("Days", in_dispersion=True))
    assert fit.integration == "Gauss-Hermite quadrature with 15 nodes" and fit.converged
    assert fit.llf == pytest.approx(EXACT, abs=1e-5)
    assert_allclose(fit.params[2:4], [5.9116, 0.03584], rtol=1e-3)
    assert fit.params[6] == pytest.approx(0.7939, abs=1e-4)


def test_error_of_laplace_is_computed():
    model, subject = sleepstudy("Days", in_dispersion=True)
    fit = fitted(model, subject, nodes=1)
    assert fit.integration == "Laplace approximation"
    assert fit.laplace_error == pytest.approx(1.8535, abs=1e-3)
    assert fitted(*sleepstudy()).laplace_error is None


def test_lme4_by_nodes():
    case = reference("glmer_cbpp_nagq25")
    model, herd = cbpp_binomial()
    core = model.core
    fit = fitted(model, herd, nodes=25)
    saturated = binom.logpmf(core.y, core.trials, core.y / core.trials).sum()
    assert fit.llf == pytest.approx(case["llf"] + saturated, abs=1e-6)
    assert_allclose(fit.params[:4], list(case["beta"].values()), rtol=1e-4)
    assert fit.params[4] == pytest.approx(case["re_sd"], rel=1e-4)
    modes = [row["(Intercept)"] for row in case["ranef"]]
    assert_allclose(fit.effects[0].modes[by_number(herd), 0], modes, atol=2e-4)


def test_lme4_by_laplace():
    """The source stops 2.8e-4 short of the maximum."""
    fit = fitted(*cbpp_binomial(), nodes=1)
    assert fit.llf == pytest.approx(-92.026281865, abs=1e-8)


def by_number(herd):
    """Return the positions of lme4's levels 1, 2, ..., which are sorted as numbers."""
    return np.argsort(np.array(herd.levels, dtype=int))


@pytest.mark.parametrize("nodes", [3, 7])
def test_gradient(nodes):
    """It includes the places of the nodes, which depend on the parameters."""
    frame = data("sleepstudy")
    model, _ = sleepstudy("Days")
    subject = factor("Subject", frame["Subject"], {**ONE, "Days": frame["Days"] / 5}, ONE)
    marginal = Marginal(model.core, (subject,), None, nodes, np.array([False, False, True]))
    check_gradient(marginal, [252, 10, 5.9, 0.04, 0.7, 3, 24, 5, 2.5, 25], 1e-6)


def test_score_by_nodes():
    model, subject = sleepstudy("Days", in_dispersion=True)
    fit = fitted(model, subject)
    reported = ReportedLikelihood(model.core, (subject,), fit)
    assert reported.loglike(fit.params) == pytest.approx(fit.llf, abs=1e-9)
    assert_allclose(reported.score(fit.params) * fit.bse, 0, atol=1e-5)
    scores = reported.score_by_cluster(fit.params, subject.codes, 18)
    assert_allclose(scores.sum(axis=0) * fit.bse, 0, atol=1e-5)


def test_binary_clusters():
    """One random intercept, 0/1 responses: the integrals by scipy."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 4)
    x = rng.normal(size=120)
    y = rng.binomial(1, 1 / (1 + np.exp(-0.3 - x - 1.5 * rng.normal(size=30)[groups])))
    model = hmf.doubleglm("y ~ x | 0", {"y": y, "x": x}, family=sm.families.Binomial())
    fit = fitted(model, factor("g", groups, ONE))
    assert fit.integration == "Gauss-Hermite quadrature with 15 nodes"

    def integrand(b, g):
        rows = groups == g
        eta = fit.params[0] + fit.params[1] * x[rows] + b
        return np.prod(1 / (1 + np.exp(-eta * (2 * y[rows] - 1)))) * norm.pdf(b, 0, fit.params[2])

    exact = sum(np.log(quad(integrand, -12, 12, args=(g,), epsabs=1e-12)[0]) for g in range(30))
    assert fit.llf == pytest.approx(exact, abs=1e-6)


def test_refused():
    model, subject = sleepstudy("Days", in_dispersion=True)
    with pytest.raises(ValueError, match="nodes='many': give a whole number from 1 to 100"):
        fitted(model, subject, nodes="many")
    other = factor("Days", data("sleepstudy")["Days"], ONE)
    with pytest.raises(ValueError, match="not 2 grouping variables; use nodes=1"):
        fitted(model, subject, other, nodes=5)
    with pytest.raises(ValueError, match="not REML; use nodes=1"):
        fitted(model, subject, nodes=5, reml=True)
