"""One fused evaluation (value, score, Hessian) against one gammaln on as many values."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from _measure import draw, interleaved
from scipy.special import gammaln

from hetglm.families.betabinomial import BetaBinomial

ROWS = 10**6
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


def exact(n, y, mu, sigma):
    """Return the value and the score by log-gammas and digammas at 80 digits."""
    with mp.workdps(80):
        n, y, mu, c = mp.mpf(n), mp.mpf(y), mp.mpf(mu), 1 / mp.mpf(sigma)
        a, b, z = mu * c, (1 - mu) * c, n - y
        value = mp.log(mp.binomial(n, y)) + mp.log(mp.beta(a + y, b + z)) - mp.log(mp.beta(a, b))
        pa, pb, pc = (mp.digamma(x + k) - mp.digamma(x) for x, k in ((a, y), (b, z), (c, n)))
        slope = -(c**2) * (mu * pa + (1 - mu) * pb - pc)
        return float(value), float(c * (pa - pb)), float(slope)


def worst_errors(family, n, y, mu, sigma):
    """Return the worst errors of value and score, relative to their natural scales."""
    rows = family.prepare(y, n)
    got = family.evaluate(rows, mu, 1 - mu, sigma, 1)
    want = np.array([exact(*row) for row in zip(n, y, mu, sigma, strict=True)]).T
    info = -np.array(family.expected_hessian(rows, mu, 1 - mu, sigma))[[0, 2]]
    scales = np.array([np.ones_like(mu), *np.sqrt(np.maximum(info, 1e-30))])
    error = np.abs(np.array([got.loglike, got.mu, got.phi]) - want)
    # one trial has no information on sigma
    error = (error / np.maximum(np.abs(want), scales))[:, n > 1].max(axis=1)
    return error[0], error[1:].max()


@pytest.mark.parametrize("regime", REGIMES)
def test_ratio_to_gammaln(regime, benchmark):
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
    value, score = worst_errors(family, *(a[:CHECKED] for a in (n, y, mu, sigma)))
    llf = family.evaluate(rows, mu, nu, sigma, 0).loglike.sum()
    print(
        f"\n{regime:22s} gammaln {np.median(peer) * 1e9 / ROWS:5.1f} ns/row, "
        f"fused {np.median(ours) * 1e9 / ROWS:5.0f} ns/row, ratio {np.median(ours / peer):5.1f}, "
        f"worst value {value:.0e}, score {score:.0e}, llf {llf:.3f}"
    )
    benchmark.pedantic(family.evaluate, (rows, mu, nu, sigma, 2), rounds=3)
