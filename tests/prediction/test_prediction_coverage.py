"""
How often 95 % intervals of new observations cover them.

``PYTHONPATH=tests python tests/prediction/test_prediction_coverage.py`` prints the README's table.

The mean is ~ x + z + group, the dispersion constant or ~ group; 40 new rows for each sample.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import hetglm.api as het

FAMILIES, LOG = sm.families, sm.families.links.Log()
TRIALS = 40
#: Rows of each sample, and what fits it.
SETTINGS = {
    "Gaussian, REML": (16, lambda y, X, Z: het.DoubleGLM(y, X, Z)),
    "Gaussian": (50, lambda y, X, Z: het.DoubleGLM(y, X, Z)),
    "Gamma": (50, lambda y, X, Z: het.DoubleGLM(y, X, Z, family=FAMILIES.Gamma(LOG))),
    "Inverse Gaussian": (
        50,
        lambda y, X, Z: het.DoubleGLM(y, X, Z, family=FAMILIES.InverseGaussian(LOG)),
    ),
    "Tweedie": (
        50,
        lambda y, X, Z: het.DoubleGLM(y, X, Z, family=FAMILIES.Tweedie(LOG, var_power=1.5)),
    ),
    "Negative binomial": (50, lambda y, X, Z: het.NegativeBinomial(y, X, Z)),
    "Beta-binomial": (
        50,
        lambda y, X, Z: het.BetaBinomial(y, X, Z, n_trials=np.full(len(y), TRIALS)),
    ),
}
#: Coverage that is near enough, and samples that show it to a standard error of 0.5 %.
NEAR, SAMPLES = (0.93, 0.97), 150


def designs(n, rng):
    group = np.arange(n) % 2.0
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2)), group])
    return X, np.column_stack([np.ones(n), group])


def response(name, X, Z, grouped, rng):
    eta, phi = X @ [1, 0.3, 0.2, 0.2], np.exp(Z @ [-1, 0.7 * grouped])
    mu = np.exp(eta)
    if name.startswith("Gaussian"):
        return eta + np.sqrt(phi) * rng.normal(size=len(mu))
    if name == "Gamma":
        return rng.gamma(1 / phi, phi * mu)
    if name == "Inverse Gaussian":
        return rng.wald(mu, 1 / (0.3 * phi))
    if name == "Tweedie":
        claims = rng.poisson(2 * np.sqrt(mu) / phi)
        return (claims > 0) * rng.gamma(np.maximum(claims, 1), phi * np.sqrt(mu) / 2)
    if name == "Negative binomial":
        return rng.poisson(10 * mu * rng.gamma(1 / phi, phi))
    p = 1 / (1 + np.exp(1 - eta))
    return rng.binomial(TRIALS, rng.beta(3 * p / phi, 3 * (1 - p) / phi))


def coverage(name, grouped, samples, rng):
    """Return the share of new observations within their intervals, plug-in and predictive."""
    n, model = SETTINGS[name]
    fit = {"reml": True} if name.endswith("REML") else {}
    given = {"n_trials": np.full(40, TRIALS)} if name == "Beta-binomial" else {}
    inside = []
    for _ in range(samples):
        (X, Z), (new, new_z) = designs(n, rng), designs(40, rng)
        y, new_y = (response(name, *both, grouped, rng) for both in ((X, Z), (new, new_z)))
        columns = slice(None) if grouped else slice(1)
        prediction = model(y, X, Z[:, columns]).fit(**fit)
        prediction = prediction.get_prediction(new, new_z[:, columns], **given)
        for kind in ("plugin", "predictive"):
            low, high = prediction.conf_int(obs=True, obs_ci=kind).T
            inside.append(np.mean((low <= new_y) & (new_y <= high)))
    return np.reshape(inside, (samples, 2)).mean(axis=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", SETTINGS)
def test_new_observations_are_covered(name, grouped):
    rng = np.random.default_rng(20261128)
    plugin, predictive = coverage(name, grouped, SAMPLES, rng)
    assert NEAR[0] <= predictive <= NEAR[1]
    assert plugin < predictive


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows = {
        (name, "group" if grouped else "constant"): coverage(
            name, grouped, 500, np.random.default_rng(1)
        )
        for name in SETTINGS
        for grouped in (False, True)
    }
    table = pd.DataFrame(rows, index=["plug-in", "predictive"]).T
    print((100 * table).round(1).to_string())
