"""Variances of 0 and correlations of size 1."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from mixed_cases import ONE, cbpp, data, factor, fitted, reference, sleepstudy
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf
from hetglm.exceptions import BoundaryWarning
from hetglm.mixed.marginal import Marginal
from hetglm.mixed.reported import ReportedLikelihood
from hetglm.mixed.variance_boundary import search_closure


def test_variance_of_zero():
    model, herd = cbpp()
    fit = fitted(model, herd)
    plain = model.fit()
    assert fit.converged and fit.params[-1] == 0 and fit.at_boundary[-1]
    assert fit.llf == pytest.approx(plain.llf, abs=1e-9)
    assert fit.llf > reference("betabinomial_mixed_cbpp")["glmmTMB"]["llf"] - 1e-6
    assert_allclose(fit.bse[:-1], plain.bse, rtol=1e-5)
    assert np.isnan(fit.bse[-1])
    assert ReportedLikelihood(model.core, (herd,)).score(fit.params)[-1] == 0


def unidentified_correlation(seed=3):
    """Return a model whose groups have few rows, so that the correlation is estimated as 1."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(12), 6)
    x = np.tile(np.arange(6.0), 12)
    b = rng.normal(size=12)
    y = 5 + x + b[g] * (1 + 0.3 * x) + rng.normal(size=72)
    model = hmf.doubleglm("y ~ x | 1", {"y": y, "x": x})
    return model, factor("g", g, {**ONE, "x": x})


def test_correlation_of_one():
    model, groups = unidentified_correlation()
    fit = fitted(model, groups)
    assert fit.converged
    assert fit.params[-1] == pytest.approx(1, abs=1e-12)
    assert fit.at_boundary.tolist() == [False] * 5 + [True]
    assert np.isnan(fit.bse[-1]) and np.all(fit.bse[:-1] > 0)
    reported = ReportedLikelihood(model.core, (groups,))
    lower = fit.params.copy()
    lower[-1] = 0.999
    assert reported.loglike(lower) < fit.llf


def test_a_search_that_begins_at_zero_leaves_it():
    model, subject = sleepstudy()
    fit = fitted(model, subject)
    zero = replace(fit, theta=np.zeros(3))
    again = fitted(model, subject, start=zero)
    assert again.llf == pytest.approx(fit.llf, abs=1e-8)
    assert_allclose(again.params, fit.params, rtol=1e-5)


def test_a_stationary_point_at_zero_is_no_maximum():
    """The sign of the second derivative tells, and the search goes on from there."""
    model, subject = sleepstudy("Days", in_dispersion=True)
    fit = fitted(model, subject, nodes=1)
    marginal = Marginal(model.core, (subject,))
    here = marginal.at(np.append(fit.params[:4], np.zeros(4)))
    assert np.all(marginal.gradient(here)[4:] == 0)
    found = search_closure(marginal, here, 100)
    assert found.converged and found.here.value == pytest.approx(fit.llf, abs=1e-8)


def test_cells_without_dispersion():
    """The fourth period lies on the binomial boundary, the variance between herds at 0."""
    frame = data("cbpp").assign(period=lambda f: f["period"].astype(str))
    model = hmf.betabinomial("incidence + I(size - incidence) ~ period | period", frame)
    herd = factor("herd", frame["herd"], ONE)
    fit = fitted(model, herd)
    with pytest.warns(BoundaryWarning):
        plain = model.fit()
    assert fit.converged and fit.llf == pytest.approx(plain.llf, abs=1e-9)
    assert_allclose(fit.params[:-1], plain.params, rtol=1e-6)
    assert_allclose(fit.bse[:-1], plain.bse, rtol=1e-5)
    assert np.isnan(fit.params[-2]) and not fit.estimated[-2]
    assert "the dispersion is zero in rows 3, 10, 14" in fit.notes[0]
    reported = ReportedLikelihood(model.core, (herd,), fit)
    assert reported.loglike(fit.params) == pytest.approx(fit.llf, abs=1e-9)


def test_binomial_responses_with_effects_in_both_parts():
    """Without dispersion beyond the binomial, its random effects have nothing to vary."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(20), 6)
    trials = rng.integers(3, 9, size=120)
    y = rng.binomial(trials, 1 / (1 + np.exp(-0.7 * rng.normal(size=20)[groups])))
    model = hmf.betabinomial("y + m ~ 1 | 1", {"y": y, "m": trials - y})
    both = factor("g", groups, ONE, ONE, ((0,), (1,)))
    fit = fitted(model, both)
    assert fit.converged and fit.notes[0].startswith("the dispersion is zero in rows 0, 1")
    binomial = hmf.doubleglm(
        "y + m ~ 1 | 0", {"y": y, "m": trials - y}, family=sm.families.Binomial()
    )
    simple = fitted(binomial, factor("g", groups, ONE), nodes=1)
    again = fitted(model, both, nodes=1)
    assert again.llf == pytest.approx(simple.llf, abs=1e-8)
    assert_allclose(again.params[[0, 2]], simple.params, rtol=1e-5)
