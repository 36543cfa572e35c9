"""Standard deviations and correlations against Lambda, their derivatives and the boundary."""

import numpy as np
import pytest

from hetglm.mixed.covariance_structure import CovarianceStructure, FactorStructure

SLOPES = FactorStructure("Subject", ("Intercept", "Days"), ("mean", "mean"), ((0, 1),))
LABELLED = FactorStructure(
    "id",
    ("Intercept", "x", "Intercept", "x"),
    ("mean", "mean", "dispersion", "dispersion"),
    ((0, 2, 3), (1,)),
)
BOTH = CovarianceStructure((LABELLED, SLOPES))


def random_theta(structure, seed=0):
    """Return theta of a positive diagonal."""
    theta = np.random.default_rng(seed).normal(size=structure.m)
    for factor in getattr(structure, "factors", (structure,)):
        part = theta[: factor.m] if factor is structure else theta
        rows, columns = factor.entries
        part[: factor.m][rows == columns] = np.abs(part[: factor.m][rows == columns]) + 0.3
    return theta


def test_names():
    assert SLOPES.names == [
        "sd(Subject)",
        "sd(Subject: Days)",
        "corr(Subject: Intercept, Days)",
    ]
    assert LABELLED.names == [
        "sd(id)",
        "sd(id: x)",
        "sd(dispersion-id)",
        "sd(dispersion-id: x)",
        "corr(id: Intercept, dispersion-Intercept)",
        "corr(id: Intercept, dispersion-x)",
        "corr(id: dispersion-Intercept, dispersion-x)",
    ]
    assert BOTH.names == LABELLED.names + SLOPES.names


def test_effects_of_the_mean_depend_on_u_of_the_dispersion_not_the_reverse():
    Lambda = LABELLED.matrix(random_theta(LABELLED))
    assert Lambda[0, 2] != 0 and Lambda[2, 0] == 0
    assert np.all(Lambda[1, [0, 2, 3]] == 0)


def test_reported_and_back():
    theta = random_theta(LABELLED)
    reported = LABELLED.reported(theta)
    covariance = LABELLED.covariance(theta)
    np.testing.assert_allclose(reported[:4] ** 2, np.diag(covariance), rtol=1e-14)
    expected = covariance[0, 3] / np.sqrt(covariance[0, 0] * covariance[3, 3])
    assert reported[5] == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(LABELLED.of_reported(reported), theta, rtol=1e-12)
    np.testing.assert_allclose(LABELLED.of_covariance(covariance), theta, rtol=1e-12)


def test_jacobian_by_differences():
    theta = np.concatenate([random_theta(LABELLED, 1), random_theta(SLOPES, 2)])
    h = 1e-6
    steps = h * np.eye(BOTH.m)
    differences = [(BOTH.reported(theta + s) - BOTH.reported(theta - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(BOTH.jacobian(theta), np.transpose(differences), atol=1e-8)


def test_boundary():
    one = SLOPES.of_reported(np.array([2.0, 3.0, -1.0]))
    np.testing.assert_allclose(one, [2.0, -3.0, 0.0], atol=1e-7)
    zero = SLOPES.of_reported(np.array([0.0, 3.0, np.nan]))
    np.testing.assert_array_equal(zero, [0.0, 0.0, 3.0])
    np.testing.assert_array_equal(SLOPES.reported(zero), [0.0, 3.0, np.nan])
    np.testing.assert_array_equal(SLOPES.jacobian(zero), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])


def test_impossible_correlations_are_named():
    bad = np.array([1, 1, 1, 1, 0.9, 0.9, -0.9])
    with pytest.raises(ValueError, match=r"dispersion-x\): 0.9, 0.9, -0.9 are no correlations"):
        LABELLED.of_reported(bad)
