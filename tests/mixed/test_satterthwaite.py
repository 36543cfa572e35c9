"""Satterthwaite's degrees of freedom: exact in balanced designs, else those of lmerTest."""

import numpy as np
import pytest
from mixed_cases import ONE, data, factor, fitted, reference, sleepstudy, splicing

import hetglm.formula.api as hmf
from hetglm.mixed.satterthwaite import Satterthwaite, satterthwaite

#: lmerTest differences the deviance at estimates of a search that stops early.
TOL_LMERTEST = 5e-5
#: V is differenced in steps of 1e-3 standard errors, and the general fit's information is that at most
#: 1e-4 standard errors from the maximum.
TOL_DIFFERENCES = 3e-5


def degrees(model, *factors, **options):
    """Return the degrees of freedom of a fit, by coefficient and of all but the first."""
    fit = fitted(model, *factors, **options)
    found = satterthwaite(model.core, factors, fit)
    identity = np.eye(len(found.covariance))
    each = [found.df(row) for row in identity]
    return each, found.df_joint(identity[1:]), found.df_joint(identity)


@pytest.fixture(params=[True, False], ids=["linear", "general"])
def linear(request, monkeypatch):
    """Have linear mixed models by their cross-products, or by the general fit."""
    if not request.param:
        for module in ("fit", "satterthwaite"):
            monkeypatch.setattr(f"hetglm.mixed.{module}.is_linear", lambda *_: False)
    return request.param


def test_balanced_slopes_have_one_less_than_subjects(linear):
    each, *joint = degrees(*sleepstudy(), reml=True)
    np.testing.assert_allclose([*each, *joint], 17, rtol=TOL_DIFFERENCES)


@pytest.mark.parametrize("name", ["slopes", "curve"])
def test_lmertest(name, linear):
    frame = data("sleepstudy")
    frame = frame[np.arange(len(frame)) % 7 != 3]
    right = "Days" if name == "slopes" else "Days + I(Days**2)"
    mean = {**ONE, "Days": frame["Days"]} if name == "slopes" else ONE
    model = hmf.doubleglm(f"Reaction ~ {right}", frame)
    case = reference("lmertest_sleepstudy")[name]
    each, joint, of_all = degrees(model, factor("Subject", frame["Subject"], mean), reml=True)
    np.testing.assert_allclose(each, case["df"], rtol=TOL_LMERTEST)
    if name == "curve":
        expected = [case["df_joint"], case["df_joint_all"]]
        np.testing.assert_allclose([joint, of_all], expected, rtol=TOL_LMERTEST)


def test_variance_of_zero_leaves_the_residuals():
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(10), 6), np.tile(np.arange(6.0), 10)
    y = rng.normal(size=60)
    y -= np.array([y[g == k].mean() for k in range(10)])[g]
    model = hmf.doubleglm("y ~ x", {"y": y, "x": x})
    each, *joint = degrees(model, factor("g", g, ONE), reml=True)
    np.testing.assert_allclose([*each, *joint], 58, rtol=TOL_DIFFERENCES)


def test_known_covariance():
    known = Satterthwaite(np.eye(2), np.zeros((1, 2, 2)), np.eye(1))
    assert known.df(np.array([1.0, 0])) == np.inf
    assert known.df_joint(np.eye(2)) == np.inf


def test_few_degrees_of_freedom_have_no_expectation():
    slopes = np.array([np.diag([1.0, 0.1])])
    found = Satterthwaite(np.eye(2), slopes, np.eye(1))
    assert found.df(np.array([1.0, 0])) == pytest.approx(2)
    assert found.df_joint(np.eye(2)) == 2


def test_other_families():
    model, genes = splicing()
    fit = fitted(model, genes)
    found = satterthwaite(model.core, (genes,), fit)
    # forty genes of ninety rows: all but the variance between genes is known
    assert found.df(np.ones(1)) == pytest.approx(40, rel=1e-3)
    np.testing.assert_allclose(found.covariance, fit.covariance[:1, :1], rtol=1e-2)
