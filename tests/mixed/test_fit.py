"""Fits against glmmTMB and lme4: likelihood, estimates, standard errors, modes of the effects."""

import numpy as np
import pytest
from mixed_cases import fitted, owls, reference, sleepstudy, splicing
from numpy.testing import assert_allclose

#: The maximum may lie above the source's, which stops short, and below it by this at most.
TOL_LLF = 1e-6
#: Estimates of sources whose searches stop at a relative change of 1e-8 of the likelihood, in
#: standard errors.
TOL_ESTIMATE = 2e-4
#: Standard errors, relative: sources difference the log-likelihood or a gradient.
TOL_SE = 2e-4


def glmmtmb(name, flip=1.0, scale=1.0, shift=0.0):
    """Return the log-likelihood, coefficients in our form and standard errors of a reference case."""
    case = reference(name)["glmmTMB"]
    mean, dispersion = list(case["mu"].values()), np.array(list(case["disp"].values()))
    of_dispersion = flip * scale * dispersion
    se = np.sqrt(np.diag(case["vcov"]))[: len(mean) + len(dispersion)]
    se[len(mean) :] *= scale
    return case, np.concatenate([mean, of_dispersion]), se


CASES = {
    "gaussian_mixed_sleepstudy_dispformula": (lambda: sleepstudy("Days", slope=False), 1, 1),
    "gaussian_mixed_sleepstudy_slope_dispformula": (lambda: sleepstudy("Days"), 1, 1),
    # glmmTMB 1.1.11 models the log standard deviation
    "gaussian_mixed_dispersion_sleepstudy": (lambda: sleepstudy("Days", in_dispersion=True), 1, 2),
    "negbin_mixed_owls": (owls, -1, 1),
    "betabinomial_mixed_splicing": (splicing, -1, 1),
    "betabinomial_mixed_dispersion_splicing": (lambda: splicing(dispersion=True), -1, 1),
}


@pytest.mark.parametrize("name", CASES)
def test_reference(name):
    make, flip, scale = CASES[name]
    case, coefficients, se = glmmtmb(name, flip, scale)
    fit = fitted(*make(), nodes=1)
    assert fit.converged and fit.llf > case["llf"] - TOL_LLF
    k = len(coefficients)
    assert_allclose((fit.params[:k] - coefficients) / se, 0, atol=TOL_ESTIMATE)
    assert_allclose(fit.bse[:k], se, rtol=TOL_SE)


def test_lmer_by_maximum_likelihood():
    case = reference("lmer_sleepstudy_ml")
    fit = fitted(*sleepstudy())
    assert fit.llf == pytest.approx(case["llf"], abs=1e-7)
    assert_allclose(fit.params[:2], list(case["beta"].values()), rtol=1e-6)
    assert_allclose(fit.params[3:5], case["re_sd"], rtol=1e-4)
    modes = [list(row.values()) for row in case["ranef"]]
    assert_allclose(fit.effects[0].modes, modes, rtol=1e-4, atol=2e-3)


def test_restricted_likelihood_of_lmer():
    case = reference("lmer_sleepstudy_reml")
    fit = fitted(*sleepstudy(), reml=True)
    assert fit.adjusted_llf == pytest.approx(case["llf"], abs=1e-7)
    assert_allclose(fit.params[:2], list(case["beta"].values()), rtol=1e-6)
    assert_allclose(fit.params[3:5], case["re_sd"], rtol=1e-4)
