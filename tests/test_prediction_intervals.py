"""Intervals of new observations: exact for the Gaussian by REML, plug-in quantiles on request."""

import numpy as np
import pytest
import statsmodels.api as sm

import hetglm.api as het

#: Of the optimum of the dispersion, relative.
EXACT = 1e-10


@pytest.mark.parametrize("weighted", [False, True])
def test_gaussian_reml_interval_of_an_observation_is_that_of_least_squares(weighted):
    rng = np.random.default_rng(0)
    X = sm.add_constant(rng.normal(size=(16, 3)))
    y = X.sum(axis=1) + rng.normal(size=16)
    w = rng.uniform(0.5, 2, 16) if weighted else np.ones(16)
    kwds = {"var_weights": w} if weighted else {}
    found = het.DoubleGLM(y, X, **kwds).fit(reml=True).get_prediction()
    theirs = sm.WLS(y, X, weights=w).fit().get_prediction(weights=w)
    ours = found.conf_int(obs=True, alpha=0.1)
    np.testing.assert_allclose(ours, theirs.conf_int(obs=True, alpha=0.1), rtol=EXACT)


def test_plugin_interval_is_of_the_fitted_distribution():
    rng = np.random.default_rng(1)
    X = sm.add_constant(rng.normal(size=30))
    res = het.DoubleGLM(X.sum(axis=1) + rng.normal(size=30), X, X).fit(reml=True)
    prediction, law = res.get_prediction(), res.get_distribution()
    plugin = prediction.conf_int(obs="plugin")
    np.testing.assert_allclose(plugin, np.column_stack([law.ppf(0.025), law.ppf(0.975)]))
    wide = prediction.conf_int(obs=True)
    assert np.all(wide[:, 0] < plugin[:, 0]) and np.all(wide[:, 1] > plugin[:, 1])


def test_unknown_kind_of_observation_interval_is_refused():
    res = het.DoubleGLM(np.array([1.0, 2, 4, 3]), np.ones((4, 1))).fit()
    with pytest.raises(ValueError, match="plugin"):
        res.get_prediction().conf_int(obs="plug")
