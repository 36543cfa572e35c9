"""
The beta-binomial likelihood against mpmath's, and rows that are hard for it: for tests and benchmarks.
"""

from __future__ import annotations

import numpy as np
from multiprecision.betabinomial import reference

from hetglm.families.betabinomial import BetaBinomial
from hetglm.families.special.betabinomial_counts import Counts

FAMILY = BetaBinomial()

SIGMAS = [0.0, 1e-18, 1e-12, 1e-8, 1e-5, 1e-3, 0.02, 0.3, 1.0, 30.0, 1e4, 1e8]
TAILS = [1e-12, 1e-6, 0.003, 0.2, 0.5]
TRIALS = [1, 2, 3, 7, 12, 13, 17, 100, 1000, 10**6, 10**9]


def rows(y, n) -> Counts:
    """Return prepared rows."""
    return FAMILY.prepare(np.asarray(y, dtype=float), np.asarray(n, dtype=float))


def evaluate(n, y, mu, nu, sigma, order=2) -> np.ndarray:
    """Return the terms as an array of shape (1, 3 or 6, rows)."""
    n, y, mu, nu, sigma = np.broadcast_arrays(
        *(np.asarray(a, dtype=float) for a in (n, y, mu, nu, sigma))
    )
    terms = FAMILY.evaluate(rows(y, n), mu, nu, sigma, order)
    names = ("loglike", "mu", "phi", "mu_mu", "mu_phi", "phi_phi")[: (1, 3, 6)[order]]
    return np.array([getattr(terms, name) for name in names])


def scaled_errors(
    n, y, mu, nu, sigma, terms=reference
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors on the natural scales, the terms and their references, shape (6, rows)."""
    n, y, mu, nu, sigma = map(np.asarray, (n, y, mu, nu, sigma))
    got = evaluate(n, y, mu, nu, sigma)
    want = np.array([terms(*row) for row in np.transpose([n, y, mu, nu, sigma]).tolist()]).T
    info = -np.array(FAMILY.expected_hessian(rows(y, n), mu, nu, sigma))
    root = np.sqrt(info[[0, 2]])
    scales = [np.ones_like(mu), *root, root[0] ** 2, root[0] * root[1], root[1] ** 2]
    size = np.maximum(np.abs(want), scales)
    # n = 1 has no information on sigma: what 140 digits leave is 0, and ours is exactly 0.
    size[np.ix_([2, 4, 5], n == 1)] = 1e-30
    return np.abs(got - want) / size, got, want


def both_ends(tail, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return mu and nu with the tail on a random side."""
    side = rng.random(len(tail)) < 0.5
    return np.where(side, tail, 1 - tail), np.where(side, 1 - tail, tail)


def adversarial_rows(n: int) -> tuple[np.ndarray, ...]:
    """Return n, y, mu, nu and sigma: ends, neighbours and middle, every sigma and tail."""
    ys = np.unique([0, 1, 8, 9, n // 2, n - 1, n])
    grid = np.array(np.meshgrid(ys[(ys >= 0) & (ys <= n)], TAILS, SIGMAS)).reshape(3, -1)
    rng = np.random.default_rng(n)
    grid = grid[:, rng.permutation(grid.shape[1])[:45]]
    mu, nu = both_ends(grid[1], rng)
    return np.full(len(mu), float(n)), grid[0], mu, nu, grid[2]
