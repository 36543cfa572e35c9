"""
Faults of statsmodels' BetaModel (0.15), the nearest model with a second linear predictor.

Each of them is a number or an error that a user of it has met; none may come back here.
"""

import pickle

import numpy as np
import pytest
from conftest import CASES
from numpy.testing import assert_allclose

#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6


def test_aic_without_an_intercept_in_the_mean(case):
    """df_model is hard-coded there, and AIC is off by 2."""
    res = case.formula("x - 1 | z").fit()
    assert_allclose(res.aic, -2 * res.llf + 2 * 3)
    assert res.df_model == 1


@pytest.mark.parametrize("column", ["x", "z"])
def test_missing_value_in_either_part(case, data, column):
    """It raises there, since the two designs then differ in length."""
    data.loc[[2, 11], column] = np.nan
    res = case.formula("x | z", data).fit()
    assert res.nobs == len(data) - 2
    expected = case.formula("x | z", data.drop([2, 11])).fit()
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)


def test_subset(case, data):
    """It raises there, since only the mean's design is cut."""
    chosen = data["group"] != "a"
    res = case.formula("x | z", data, subset=chosen).fit()
    expected = case.formula("x | z", data[chosen]).fit()
    assert_allclose(res.params, expected.params, atol=AT_MAXIMUM)
    assert res.fittedvalues.index.equals(data.index[chosen])


def test_names_of_the_dispersion_terms(case):
    """They are lost there without a formula."""
    names = case.formula("1 | group").exog_names
    assert names == ["Intercept"] + [
        f"dispersion-{t}" for t in ("Intercept", "group[T.b]", "group[T.c]")
    ]


@pytest.mark.parametrize("which", ["dispersion", "var"])
def test_dispersion_and_variance_on_new_data(case, data, which):
    """They take the fitted rows' second design there, or fail."""
    res = case.formula("x | z").fit()
    new = data.iloc[[8, 90, 2]]
    assert_allclose(res.predict(new, which=which), res.predict(which=which).loc[new.index])


def test_one_new_row_is_not_broadcast(case, data):
    """One row of the mean meets n rows of the dispersion there, and n numbers come out."""
    res = case.formula("x | z").fit()
    for which in ("mean", "dispersion", "var"):
        assert res.predict(data.head(1), which=which).shape == (1,)
        assert len(res.get_prediction(data.head(1), which=which).summary_frame()) == 1


def test_bootstrap(case):
    """It fails there: the clone has no second design."""
    mean, std, params = case.formula("x | z").fit().bootstrap(4, rng=3)
    assert params.shape == (4, 4)
    assert np.all(std > 0)
    assert np.all(np.isfinite(mean))


def test_a_formula_result_pickles(case, data):
    """It does not there: patsy's objects are in the way."""
    res = pickle.loads(pickle.dumps(case.formula("x | z").fit()))
    assert res.predict(data.head(2), which="sd").shape == (2,)


def test_offset_is_not_ignored(case, data):
    """It is there."""
    res, shifted = case.formula("x").fit(), case.formula("x", offset=data["x"]).fit()
    assert_allclose(shifted.params["x"], res.params["x"] - 1, atol=AT_MAXIMUM)


def test_null_model_is_fitted_by_newton_steps(data):
    """It runs Nelder-Mead for up to 10,000 iterations there."""
    res = CASES["beta-binomial"].formula("x + group | z").fit()
    calls, core = [], type(res.model.core)
    original = core.loglike_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            core, "loglike_rows", lambda self, params: calls.append(1) or original(self, params)
        )
        null = res.llnull
    assert len(calls) < 50
    assert_allclose(null, CASES["beta-binomial"].formula("1").fit().llf, rtol=1e-9)
