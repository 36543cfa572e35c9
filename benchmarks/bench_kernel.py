"""One fused evaluation (value, score, Hessian) against one gammaln on as many values."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from _measure import draw, interleaved
from scipy.special import gammaln

from hetglm.families.betabinomial import BetaBinomial

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from betabinomial_reference import TRIALS, adversarial_rows, scaled_errors

ROWS, FEW = 10**6, 21
CHECKED = 200
#: Smallest and largest n, and log10 of smallest and largest sigma.
REGIMES = {
    "few": (1, 12, -3, 0),
    "small": (1, 60, -3, 0),
    "medium": (13, 100, -1.3, -0.3),
    "large": (100, 1000, -3, 0),
    "huge": (1000, 10**5, -4, 0),
    "huge, nearly binomial": (1000, 10**5, -12, -3),
}


#: What is checked: value, score and second derivatives.
PARTS = {"value": slice(0, 1), "score": slice(1, 3), "second": slice(3, 6)}
NAMES = ("value", "mu", "sigma", "mu mu", "mu sigma", "sigma sigma")


@pytest.mark.parametrize("regime", REGIMES)
def test_ratio_to_gammaln(regime, benchmark, figures):
    low, high, least, most = REGIMES[regime]
    rng = np.random.default_rng(1)
    n = np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1), ROWS)))
    mu, sigma = rng.uniform(0.05, 0.95, ROWS), 10 ** rng.uniform(least, most, ROWS)
    y = draw(n, mu, sigma, rng)
    family, nu = BetaBinomial(), 1 - mu
    rows, points = family.prepare(y, n), y + mu / sigma
    peer, ours = interleaved(
        [lambda: gammaln(points), lambda: family.evaluate(rows, mu, nu, sigma, 2)]
    )
    figures["nanoseconds a row"] = np.median(ours) * 1e9 / ROWS
    figures["ratio to gammaln"] = np.median(ours / peer)
    errors = scaled_errors(*(a[:CHECKED] for a in (n, y, mu, nu, sigma)))[0]
    worst = ", ".join(f"{name} {errors[part].max():.0e}" for name, part in PARTS.items())
    llf = family.evaluate(rows, mu, nu, sigma, 0).loglike.sum()
    print(
        f"\n{regime:22s} gammaln {np.median(peer) * 1e9 / ROWS:5.1f} ns/row, "
        f"fused {np.median(ours) * 1e9 / ROWS:5.0f} ns/row, ratio {np.median(ours / peer):5.1f}, "
        f"worst {worst}, llf {llf:.3f}"
    )
    benchmark.pedantic(family.evaluate, (rows, mu, nu, sigma, 2), rounds=3)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.1])
def test_few_rows(sigma, benchmark, figures):
    """What a call costs that has next to nothing to sum: the 21 rows of a small experiment."""
    rng = np.random.default_rng(1)
    n, mu, phi = rng.integers(1, 61, FEW), rng.uniform(0.05, 0.95, FEW), np.full(FEW, sigma)
    family, nu = BetaBinomial(), 1 - mu
    rows = family.prepare(rng.binomial(n, mu).astype(float), n.astype(float))
    benchmark(family.evaluate, rows, mu, nu, phi, 2)
    figures["microseconds a call"] = benchmark.stats.stats.median * 1e6


def test_worst_of_the_grid(benchmark):
    """The grid of the tests: where each term is least accurate."""
    grid = np.concatenate([adversarial_rows(n) for n in TRIALS], axis=1)
    errors = benchmark.pedantic(scaled_errors, tuple(grid), rounds=1)[0]
    print(f"\nworst of the {grid.shape[1]} rows of the accuracy grid")
    for name, error in zip(NAMES, errors, strict=True):
        n, y, mu, _, sigma = grid[:, np.argmax(error)]
        print(f"{name:12s} {error.max():.0e} at n={n:.0f}, y={y:.0f}, mu={mu:g}, sigma={sigma:g}")
