"""The frame of predictions of counts with intervals of new observations against the fit, CPU seconds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from bench_effects import cpu
from scipy.special import expit

import hetglm.formula.api as hmf

ROWS = 20_000
#: The aim: at most this many times the CPU time of the call and the fit of the same rows.
AIM = 10.0
#: Beta-binomials by the range of trials and sigma; negative binomials by mean and alpha.
BETABINOMIALS = [
    ((50, 2_000), 0.05),
    ((10_000, 100_000), 1e-5),
    ((10_000, 100_000), 1e-3),
    ((10_000, 100_000), 0.05),
    ((10_000, 100_000), 0.9),
]
NEGATIVE_BINOMIALS = [(10, 0.3), (1e4, 1e-3), (1e4, 0.3), (1e4, 2.0), (1e6, 0.3)]


def successes(trials, sigma):
    """Return distinct rows of a beta-binomial with a covariate."""
    rng = np.random.default_rng(1)
    x, n = rng.normal(size=ROWS), rng.integers(*trials, ROWS)
    mu = expit(0.5 * x - 0.5)
    K = rng.binomial(n, rng.beta(mu / sigma, (1 - mu) / sigma))
    return pd.DataFrame({"K": K, "F": n - K, "x": x})


def events(mean, alpha):
    """Return distinct rows of a negative binomial with a covariate."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=ROWS)
    y = rng.poisson(mean * np.exp(0.3 * x) * rng.gamma(1 / alpha, alpha, ROWS))
    return pd.DataFrame({"y": y, "x": x})


def compare(label, function, formula, data, benchmark):
    """Print the seconds of call and fit, and of the frame."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = function(formula, data)
        res = model.fit()
        whole, fit = cpu(lambda: function(formula, data).fit()), cpu(model.fit)
        frame = cpu(lambda: res.get_prediction().summary_frame())
    verdict = "within" if frame <= AIM * whole else "beyond"
    print(
        f"\n{label:44s} call and fit {whole:.3f} s (fit {fit:.3f}), frame {frame:.3f} s, "
        f"{frame / whole:4.1f} times ({frame / fit:4.1f} the fit): {verdict} the aim"
    )
    benchmark.pedantic(lambda: res.get_prediction().summary_frame(), rounds=1)


@pytest.mark.parametrize(("trials", "sigma"), BETABINOMIALS)
def test_betabinomial(trials, sigma, benchmark):
    label = f"beta-binomial, {trials} trials, sigma {sigma:g}"
    data = successes(trials, sigma)
    compare(label, hmf.betabinomial, "K + F ~ x | x", data, benchmark)


@pytest.mark.parametrize(("mean", "alpha"), NEGATIVE_BINOMIALS)
def test_negativebinomial(mean, alpha, benchmark):
    label = f"negative binomial, mean {mean:g}, alpha {alpha:g}"
    compare(label, hmf.negativebinomial, "y ~ x | x", events(mean, alpha), benchmark)
