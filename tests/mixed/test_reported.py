"""The marginal likelihood in sds and correlations, contributions of groups, conditional quantities."""

from dataclasses import replace

import numpy as np
import pytest
from mixed_cases import ONE, data, factor, fitted, sleepstudy
from numpy.testing import assert_allclose

from hetglm.mixed.conditional import Uncertainty, at_modes
from hetglm.mixed.reported import ReportedLikelihood

MODEL, SUBJECT = sleepstudy("Days", in_dispersion=True)
FRAME = data("sleepstudy")
WEEK = factor("Week", FRAME["Days"] // 4, ONE)
POINT = np.array([252, 10, 5.9, 0.04, 25, 6, 0.7, 0.1])
STEP = 1e-4


def differences(function, point, size=None):
    """Return derivatives by central differences, the last axis that of the point."""
    out = []
    for j in range(len(point)):
        step = np.zeros(len(point))
        step[j] = STEP * max(1.0, abs(point[j]))
        out.append((function(point + step) - function(point - step)) / (2 * step[j]))
    return np.stack(out, axis=-1)


def test_score_is_the_gradient_of_loglike():
    reported = ReportedLikelihood(MODEL.core, (SUBJECT,))
    found = reported.score(POINT)
    assert_allclose(found, differences(reported.loglike, POINT), rtol=1e-5, atol=1e-6)


def test_loglike_at_the_fit():
    fit = fitted(MODEL, SUBJECT, nodes=1)
    reported = ReportedLikelihood(MODEL.core, (SUBJECT,), fit)
    assert reported.loglike(fit.params) == pytest.approx(fit.llf, abs=1e-9)
    assert_allclose(reported.score(fit.params) * fit.bse, 0, atol=2e-6)


def test_loglike_of_impossible_correlations():
    reported = ReportedLikelihood(MODEL.core, (SUBJECT,))
    assert reported.loglike(np.append(POINT[:-1], 1.1)) == -np.inf


def test_scores_of_groups_are_those_of_their_rows_alone():
    reported = ReportedLikelihood(MODEL.core, (SUBJECT,))
    scores = reported.score_by_cluster(POINT, SUBJECT.codes, 18)
    assert_allclose(scores.sum(axis=0), reported.score(POINT), rtol=1e-9)
    rows = SUBJECT.codes == 4
    alone = factor("Subject", FRAME["Subject"][rows], {**ONE, "Days": FRAME["Days"][rows]}, ONE,
                   ((0, 1), (2,)))  # fmt: skip
    expected = ReportedLikelihood(MODEL.core.take(rows), (alone,)).score(POINT)
    assert_allclose(scores[4], expected, rtol=1e-8, atol=1e-9)


def test_scores_of_clusters_that_cut_a_group_are_refused():
    reported = ReportedLikelihood(MODEL.core, (SUBJECT,))
    with pytest.raises(ValueError, match="a group of Subject has rows in several clusters"):
        reported.score_by_cluster(POINT, np.arange(180) % 2, 2)


def test_likelihood_at_the_modes():
    fit = fitted(MODEL, SUBJECT, nodes=1)
    conditional = at_modes(MODEL.core, (SUBJECT,), fit)
    effects = fit.effects[0].modes[SUBJECT.codes]
    eta = conditional.mean_predictor(fit.params[:2])
    by_hand = fit.params[0] + effects[:, 0] + (fit.params[1] + effects[:, 1]) * FRAME["Days"]
    assert_allclose(eta, by_hand, rtol=1e-12)


def test_slopes_of_modes_by_differences():
    """Two factors, so that the modes of one depend on the covariance of the other."""
    factors = (SUBJECT, WEEK)
    fit = fitted(MODEL, *factors)
    reported = ReportedLikelihood(MODEL.core, factors, fit)

    def modes(params):
        here = reported.marginal.at(reported.psi(params))
        pairs = zip(here.laplace.mode.u, here.laplace.mode.Lambdas, strict=True)
        return np.concatenate([(u @ L.T).ravel() for u, L in pairs])

    found = Uncertainty(MODEL.core, factors, fit).slopes
    flat = np.concatenate([J.reshape(-1, J.shape[-1]) for J in found])
    assert_allclose(flat, differences(modes, fit.params), rtol=1e-5, atol=1e-5)


def test_uncertainty_of_rows_is_that_of_their_effects():
    factors = (SUBJECT, WEEK)
    fit = fitted(MODEL, *factors)
    uncertainty = Uncertainty(MODEL.core, factors, fit)
    rows = uncertainty.of_rows(MODEL.core.X, MODEL.core.Z, factors)
    psi_only = uncertainty.of_rows(MODEL.core.X, MODEL.core.Z, without(factors))
    cov = fit.covariance[:2, :2]
    assert_allclose(psi_only.eta_eta, np.einsum("ij,jk,ik->i", MODEL.core.X, cov, MODEL.core.X))
    # the effects of a row alone: its columns of X and Z at 0
    zero = np.zeros_like(MODEL.core.X)
    alone = uncertainty.of_rows(zero, zero, (SUBJECT, without((WEEK,))[0]))
    C = uncertainty.covariances[0][SUBJECT.codes]
    a = SUBJECT.values[:, :2]
    assert_allclose(alone.eta_eta, np.einsum("ij,ijk,ik->i", a, C[:, :2, :2], a), rtol=1e-10)
    assert_allclose(alone.zeta_zeta, C[:, 2, 2], rtol=1e-10)
    assert_allclose(alone.eta_zeta, np.einsum("ij,ij->i", a, C[:, :2, 2]), rtol=1e-9, atol=1e-12)
    assert np.all(rows.eta_eta * rows.zeta_zeta > rows.eta_zeta**2)


def without(factors):
    """Return factors of which no row has an effect."""
    return tuple(replace(f, codes=np.full(len(f.codes), -1)) for f in factors)
