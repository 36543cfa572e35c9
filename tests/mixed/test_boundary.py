"""Variances of 0 and correlations of size 1."""

from dataclasses import replace

import numpy as np
import pytest
from mixed_cases import ONE, cbpp, factor, fitted, reference, sleepstudy
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf
from hetglm.mixed.reported import ReportedLikelihood


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
