"""
The beta-binomial likelihood by mpmath, and rows that are hard for it: for tests and benchmarks.

At 60 digits beyond what the plain formulas lose.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

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


def binomial_limit(n, y, mu, nu) -> list[mp.mpf]:
    """Return the terms at sigma = 0 by Taylor expansion of the sums over draws."""

    def first(k):
        return mp.mpf(k) * (k - 1) / 2

    def second(k):
        return mp.mpf(k) * (k - 1) * (2 * k - 1) / 6

    z = n - y
    return [
        y * mp.log(mu) + z * mp.log(nu),
        y / mu - z / nu,
        first(y) / mu + first(z) / nu - first(n),
        -y / mu**2 - z / nu**2,
        -first(y) / mu**2 + first(z) / nu**2,
        -second(y) / mu**2 - second(z) / nu**2 + second(n),
    ]


def polya(n, y, mu, nu, sigma) -> list[mp.mpf]:
    """Return the terms from log-gammas, digammas and trigammas."""
    c, z = 1 / sigma, n - y
    a, b = mu * c, nu * c

    def differences(x, k):
        trigamma = mp.polygamma(1, x) - mp.polygamma(1, x + k)
        return mp.loggamma(x + k) - mp.loggamma(x), mp.digamma(x + k) - mp.digamma(x), trigamma

    (la, pa, ta), (lb, pb, tb), (lc, pc, tc) = (
        differences(*args) for args in ((a, y), (b, z), (c, n))
    )
    slope = mu * pa + nu * pb - pc
    return [
        la + lb - lc,
        c * (pa - pb),
        -(c**2) * slope,
        -(c**2) * (ta + tb),
        -(c**2) * ((pa - a * ta) - (pb - b * tb)),
        2 * c**3 * slope - c**4 * (mu**2 * ta + nu**2 * tb - tc),
    ]


def reference(n, y, mu, nu, sigma) -> list[float]:
    """Return the six terms, the smaller tail taken as exact."""
    # c^4 times differences of trigammas leaves what is of order n^2.
    lost = 0 if sigma == 0 else int(5 * abs(np.log10(sigma)))
    with mp.workdps(120 + lost):
        n, y = int(n), int(y)
        mu, nu = (mp.mpf(float(mu)), mp.mpf(float(nu)))
        mu, nu = (mu, 1 - mu) if mu <= nu else (1 - nu, nu)
        ways = mp.loggamma(n + 1) - mp.loggamma(y + 1) - mp.loggamma(n - y + 1)
        terms = (
            binomial_limit(n, y, mu, nu)
            if sigma == 0
            else polya(n, y, mu, nu, mp.mpf(float(sigma)))
        )
        return [float(ways + terms[0]), *map(float, terms[1:])]


def scaled_errors(n, y, mu, nu, sigma) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return errors on the natural scales, the terms and their references, shape (6, rows)."""
    n, y, mu, nu, sigma = map(np.asarray, (n, y, mu, nu, sigma))
    got = evaluate(n, y, mu, nu, sigma)
    want = np.array([reference(*row) for row in zip(n, y, mu, nu, sigma, strict=True)]).T
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
