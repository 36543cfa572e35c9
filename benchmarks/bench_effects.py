"""Average marginal effects against those of statsmodels' GLM, CPU seconds on 200,000 rows."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import hetglm.formula.api as hmf

ROWS = 200_000
#: The aim: at most this many times the CPU time of ``GLMResults.get_margeff``.
AIM = 3.0
FAMILIES = {
    "poisson": ("count", "doubleglm", sm.families.Poisson()),
    "gaussian": ("y", "doubleglm", sm.families.Gaussian()),
    "binomial": ("K + failures", "doubleglm", sm.families.Binomial()),
    "beta-binomial": ("K + failures", "betabinomial", sm.families.Binomial()),
}


def simulated(n=ROWS):
    """Return a number, a factor of four levels, and responses of every family."""
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"x": rng.normal(size=n), "g": rng.choice(list("abcd"), n)})
    data["count"] = rng.poisson(np.exp(0.3 * data["x"]))
    data["y"] = data["x"] + rng.normal(size=n)
    trials = rng.integers(5, 20, n)
    data["K"] = rng.binomial(trials, rng.beta(2 * np.exp(0.3 * data["x"]), 2))
    data["failures"] = trials - data["K"]
    return data


def cpu(function, repetitions=3):
    """Return the best CPU seconds of some calls."""
    best = np.inf
    for _ in range(repetitions):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("name", FAMILIES)
def test_margeff(name, benchmark, figures):
    left, function, family = FAMILIES[name]
    kwargs = {"family": family} if function == "doubleglm" else {}
    data = simulated()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = smf.glm(f"{left} ~ x + g", data, family=family).fit()
        ours = getattr(hmf, function)(f"{left} ~ x + g | x + g", data, **kwargs).fit()
    theirs = cpu(peer.get_margeff)
    for which in ("mean", "dispersion", "var"):
        seconds = cpu(lambda which=which: ours.get_margeff(which))
        figures[f"ratio to statsmodels, {which}"] = seconds / theirs
        verdict = "within" if seconds <= AIM * theirs else "beyond"
        print(
            f"\n{name:14s} {which:10s} statsmodels {theirs:5.2f} s, ours {seconds:5.2f} s, "
            f"{seconds / theirs:4.1f} times: {verdict} the aim"
        )
    benchmark.pedantic(ours.get_margeff, rounds=1)
