"""Size and power of the score test for a variance component, by simulation."""

import numpy as np
import pytest

import hetglm.api as het

#: Samples without and with the random effect.
SAMPLES, WITH_EFFECT = 300, 100
#: Standard errors that a share of samples may be from the nominal one.
MONTE_CARLO = 4.5
#: Draws of each test; so many exceedances make P larger than 0.05.
DRAWS, EXCEEDED = 199, 10
#: Groups of five rows.
GROUPS, SIZE = 20, 5
#: Model and part -> standard deviation of the effect that is found in most samples.
EFFECTS = {
    ("Gaussian", "mean"): 0.65,
    ("Gaussian", "dispersion"): 1.1,
    ("beta-binomial", "mean"): 0.8,
    ("beta-binomial", "dispersion"): 1.5,
    ("negative binomial", "mean"): 0.8,
    ("negative binomial", "dispersion"): 2.5,
}
#: Share of samples with P <= 0.05 there, at least; the exact F test of a Gaussian mean has 0.91.
MIN_POWER = 0.5


def sample(rng, model, part, effect):
    """Return the model of a sample with a covariate in its mean, and its groups."""
    codes, n = np.repeat(np.arange(GROUPS), SIZE), GROUPS * SIZE
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    b = effect * rng.normal(size=GROUPS)[codes]
    of_mean, log_phi = (b, 0 * b) if part == "mean" else (0 * b, b)
    eta = 0.5 * X[:, 1] + of_mean
    if model == "Gaussian":
        return het.DoubleGLM(eta + np.exp(log_phi / 2) * rng.normal(size=n), X), codes
    if model == "negative binomial":
        alpha = np.exp(log_phi - 0.7)
        y = rng.poisson(np.exp(1 + eta) * rng.gamma(1 / alpha, alpha))
        return het.NegativeBinomial(y, X), codes
    p, sigma = 1 / (1 + np.exp(-eta)), np.exp(log_phi - 1.5)
    y = rng.binomial(20, rng.beta(p / sigma, (1 - p) / sigma))
    return het.BetaBinomial(np.column_stack([y, 20 - y]), X), codes


def pvalues(model, part, samples, effect, seed):
    """Return the P of samples."""
    rng, out = np.random.default_rng(seed), []
    for _ in range(samples):
        built, codes = sample(rng, model, part, effect)
        test = built.fit().test_random_effect(
            codes, part=part, nrep=DRAWS, sequential=EXCEEDED, rng=rng
        )
        out.append(test.pvalue)
    return np.array(out)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
@pytest.mark.parametrize(("model", "part"), EFFECTS)
def test_size_is_nominal_and_the_effect_is_found(model, part):
    p = pvalues(model, part, SAMPLES, 0.0, 1)
    for level in (0.05, 0.01):
        error = np.sqrt(level * (1 - level) / SAMPLES)
        assert abs(np.mean(p <= level) - level) < MONTE_CARLO * error
    found = pvalues(model, part, WITH_EFFECT, EFFECTS[model, part], 2)
    assert np.mean(found <= 0.05) > MIN_POWER
