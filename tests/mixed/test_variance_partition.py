"""Intraclass correlation, R2 and the conditional Akaike information criterion."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from mixed_cases import data
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf
from hetglm.exceptions import SingularFitWarning
from hetglm.mixed.variance_partition import conditional_df


@lru_cache
def sleepstudy(dispersion="1"):
    return hmf.doubleglm(
        f"Reaction ~ Days + (Days | Subject) | {dispersion}", data("sleepstudy")
    ).fit()


def test_linear_mixed_model():
    res = sleepstudy()
    S, days = res.cov_re.to_numpy(), np.arange(10.0)
    of_subject = S[0, 0] + 2 * S[0, 1] * days.mean() + S[1, 1] * np.mean(days**2)
    residual = np.exp(res.fit.internal[2])
    fixed = res.params["Days"] ** 2 * np.var(np.tile(days, 18), ddof=1)
    icc = of_subject / (of_subject + residual)
    assert_allclose(res.icc(), [icc, icc])
    total = fixed + of_subject + residual
    assert_allclose(res.r2_nakagawa(), [fixed / total, (fixed + of_subject) / total])


def test_random_effects_of_the_dispersion():
    """The residual variance is averaged over them: E exp(zeta) = exp(gamma + sd^2/2)."""
    res = hmf.doubleglm(
        "Reaction ~ Days + (1 | Subject) | 1 + (1 | Subject)", data("sleepstudy")
    ).fit()
    mean, dispersion = res.params["sd(Subject)"], res.params["sd(dispersion-Subject)"]
    residual = np.exp(res.fit.internal[2] + 0.5 * dispersion**2)
    assert_allclose(res.icc()["Subject"], mean**2 / (mean**2 + residual), rtol=1e-8)


def test_counts_and_proportions():
    frame = data("owls")
    formula = "SiblingNegotiation ~ FoodTreatment + (1 | Nest)"
    res = hmf.negativebinomial(formula, frame).fit()
    sd = res.params["sd(Nest)"]
    alpha = np.exp(res.fit.internal[2])
    average = np.mean(res.predict(random=False)) * np.exp(0.5 * sd**2)
    residual = np.log(1 + 1 / average + alpha)
    assert_allclose(res.icc()["Nest"], sd**2 / (sd**2 + residual), rtol=1e-8)
    formula = "incidence + I(size - incidence) ~ 1 + (1 | herd) | 0"
    res = hmf.doubleglm(formula, data("cbpp"), family=sm.families.Binomial()).fit()
    sd = res.params["sd(herd)"]
    assert_allclose(res.icc()["herd"], sd**2 / (sd**2 + np.pi**2 / 3))
    assert_allclose(res.r2_nakagawa()["marginal"], 0, atol=1e-12)


def test_conditional_df_given_the_variances_is_the_trace_of_the_hat_matrix():
    """Vaida and Blanchard (2005)."""
    res = sleepstudy()
    core, fit, factor = res.model.core, res.fit, res.model.random[0]
    phi = np.exp(fit.internal[2])
    A = np.zeros((core.n, 36))
    for j in range(2):
        A[np.arange(core.n), 2 * factor.codes + j] = factor.values[:, j]
    D = np.column_stack([core.X, A])
    K = D.T @ D / phi
    K[2:, 2:] += np.kron(np.eye(18), np.linalg.inv(res.cov_re.to_numpy()))
    inverse = np.linalg.inv(K)
    covariance = np.zeros_like(fit.covariance)
    covariance[:2, :2] = inverse[:2, :2]
    found = conditional_df(core, res.model.random, replace(fit, covariance=covariance))
    hat = np.trace(inverse @ D.T @ D) / phi
    assert_allclose(found, hat, rtol=1e-6)
    assert hat < res.conditional_df < 36 + 3
    density = res.core.loglike(fit.internal)
    assert_allclose(res.caic, -2 * density + 2 * res.conditional_df)


def test_conditional_df_without_variance_is_the_number_of_coefficients():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"y": rng.standard_normal(60), "x": rng.standard_normal(60)})
    frame["g"] = np.arange(60) % 6
    frame["y"] -= frame.groupby("g")["y"].transform("mean")  # no variance between groups
    with pytest.warns(SingularFitWarning):
        res = hmf.doubleglm("y ~ x + (1 | g) | x", frame).fit()
    assert res.params["sd(g)"] == 0
    assert_allclose(res.conditional_df, 4, rtol=1e-5)
    assert_allclose(res.caic, res.aic - 2, rtol=1e-5)
    assert_allclose(res.icc(), 0, atol=1e-12)
