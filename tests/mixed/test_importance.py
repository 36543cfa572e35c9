"""The error of Laplace's approximation with several factors, by importance sampling."""

import numpy as np
import pytest
from mixed_cases import ONE, data, factor, fitted, sleepstudy

from hetglm.mixed.importance import laplace_error
from hetglm.mixed.marginal import Marginal


def test_one_factor_agrees_with_quadrature():
    model, subject = sleepstudy("Days", in_dispersion=True)
    fit = fitted(model, subject, nodes=1)
    marginal = Marginal(model.core, (subject,))
    psi = np.append(fit.params[:4], fit.theta)
    here = marginal.at(psi)
    fixed = marginal.joint.fixed_part(psi[:4])
    error, se = laplace_error(here.laplace, fixed, draws=2000)
    assert 0 < se < 0.3
    assert abs(error - fit.laplace_error) < 4 * se


def test_a_gaussian_mean_has_no_error():
    """The ratio is 1 in every draw, crossed factors included: the draws have covariance H^-1."""
    model, subject = sleepstudy("Days")
    marginal = Marginal(model.core, (subject, factor("Days", data("sleepstudy")["Days"], ONE)))
    psi = np.array([252, 10, 5.9, 0.04, 20, 3, 5, 6.0])
    error, se = laplace_error(
        marginal.at(psi).laplace, marginal.joint.fixed_part(psi[:4]), draws=10
    )
    assert error == pytest.approx(0, abs=1e-9) and se < 1e-9


def test_error_of_a_fit_with_crossed_factors():
    model, subject = sleepstudy("Days", in_dispersion=True)
    week = factor("Week", data("sleepstudy")["Days"] // 4, ONE)
    fit = fitted(model, subject, week)
    assert fit.integration == "Laplace approximation"
    assert fit.laplace_error == pytest.approx(1.85, abs=4 * fit.laplace_error_se)
    assert fit.laplace_error_se > 0
