"""Laplace's approximation: its gradient against differences, the mode and what can go wrong there."""

import numpy as np
import pytest
from mixed_cases import ONE, cbpp_binomial, data, factor, owls, sleepstudy
from numpy.testing import assert_allclose

from hetglm.mixed.information import metric, observed_information
from hetglm.mixed.joint import absolute
from hetglm.mixed.loadings import Symmetric
from hetglm.mixed.marginal import Marginal

#: Error of the gradient, in units of a standard error: rounding of second derivatives.
TOL_GRADIENT = 2e-8
#: Weights of central differences of sixth order, and their step in units of a parameter.
STENCIL, STEP = {-3: -1, -2: 9, -1: -45, 1: 45, 2: -9, 3: 1}, 1e-3


def differences(marginal, here):
    """Return the gradient by differences of the value."""
    out = []
    for j, size in enumerate(np.maximum(np.abs(here.psi), 1.0)):
        total = 0.0
        for step, weight in STENCIL.items():
            psi = here.psi.copy()
            psi[j] += step * STEP * size
            total += weight * marginal.at(psi).value
        out.append(total / (60 * STEP * size))
    return np.array(out)


def check_gradient(marginal, psi, tol=TOL_GRADIENT):
    here = marginal.at(np.asarray(psi, dtype=float))
    marginal.accept(here)
    # a step of a thousandth leaves an error of the stencil beside that of the gradient
    assert_allclose(marginal.gradient(here), differences(marginal, here), rtol=1e-7, atol=tol)


def subjects_and_days():
    """Return sleepstudy's likelihood and two crossed factors, the first labelled across the parts."""
    model, _ = sleepstudy("Days")
    frame = data("sleepstudy")
    days = frame["Days"].to_numpy(dtype=float)
    subjects = factor("Subject", frame["Subject"], {**ONE, "Days": days / 5}, ONE)
    return model.core, (subjects, factor("Days", days, ONE, ONE), factor("Week", days // 4, ONE))


PSI = [252, 10, 5.9, 0.04, 0.7, 3, 24, 5, 2.5, 25]


def test_gradient_of_one_factor_with_effects_in_both_parts():
    core, factors = subjects_and_days()
    check_gradient(Marginal(core, factors[:1]), PSI, 1e-6)


@pytest.mark.parametrize("integrated", ["none", "mean", "both"])
def test_gradient_of_crossed_factors(integrated):
    core, factors = subjects_and_days()
    empty = np.empty((core.n, 0))
    X = empty if integrated != "none" else core.X
    Z = empty if integrated == "both" else core.Z
    out = (empty if X is core.X else core.X, empty if Z is core.Z else core.Z)
    marginal = Marginal(core.with_designs(X, Z), factors, None if integrated == "none" else out)
    skipped = {"none": 0, "mean": 2, "both": 4}[integrated]
    check_gradient(marginal, [*PSI[skipped:], 0.3, 0.5, 6, 4], 1e-6)


@pytest.mark.parametrize("way", ["Laplace", "REML", "nodes", "binary"])
def test_information_is_the_slope_of_the_gradient(way):
    """It takes neither searches nor evaluations of the family at each parameter."""
    core, factors = subjects_and_days()
    psi = np.array([*PSI, 0.3, 0.5, 6, 4])
    if way == "Laplace":
        marginal = Marginal(core, factors)
    elif way == "REML":
        empty, psi = np.empty((core.n, 0)), psi[2:]
        marginal = Marginal(core.with_designs(empty), factors, (core.X, empty))
    elif way == "nodes":
        psi = psi[:10]
        marginal = Marginal(core, factors[:1], None, 5, np.array([False, False, True]))
    else:
        model, herd = cbpp_binomial()
        psi = np.array([-1.4, -1, -1.1, -1.6, 0.6])
        marginal = Marginal(model.core, (herd,), None, 5, np.array([True]))
    here = marginal.at(psi)
    marginal.accept(here)
    free = np.arange(len(psi))
    units = np.diag(metric(marginal, here)) ** -0.5
    expected = []
    for step in np.diag(1e-3 * units):
        slopes = [marginal.gradient(marginal.at(psi + s * step)) for s in (1, -1, 2, -2)]
        slope = 8 * (slopes[1] - slopes[0]) - (slopes[3] - slopes[2])
        expected.append(slope / (12 * step.sum()))
    before = marginal.joint.evaluations
    found = observed_information(marginal, here, free, units)
    assert marginal.joint.evaluations - before <= 4
    scale = np.outer(units, units)
    assert_allclose(found * scale, expected * scale, atol=2e-6)


def test_gradient_of_the_negative_binomial():
    model, nest = owls()
    check_gradient(Marginal(model.core, (nest,)), [0.6, -0.6, 0.01, 0.15, -0.4, 1.2, 0.2])


def test_gradient_of_the_binomial_with_few_trials():
    model, herd = cbpp_binomial()
    check_gradient(Marginal(model.core, (herd,)), [-1.4, -1, -1.1, -1.6, 0.6])


def test_gradient_of_a_variance_of_zero_is_zero():
    model, herd = cbpp_binomial()
    marginal = Marginal(model.core, (herd,))
    here = marginal.at(np.array([-1.4, -1, -1.1, -1.6, 0.0]))
    assert marginal.gradient(here)[-1] == 0


def test_absolute_value_of_matrices():
    rng = np.random.default_rng(0)
    W = Symmetric(*rng.normal(size=(3, 50)) * [[100.0], [10.0], [1.0]])
    out = absolute(W)
    for i in range(50):
        scale = np.sqrt(np.abs([W.eta_eta[i], W.zeta_zeta[i]]))
        matrix = np.array([[W.eta_eta[i], W.eta_zeta[i]], [W.eta_zeta[i], W.zeta_zeta[i]]])
        values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
        expected = (vectors * np.abs(values)) @ vectors.T * np.outer(scale, scale)
        found = [[out.eta_eta[i], out.eta_zeta[i]], [out.eta_zeta[i], out.zeta_zeta[i]]]
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
