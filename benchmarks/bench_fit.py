"""The default fit: against sm.GLM, its growth with the rows, its memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import statsmodels.api as sm
from _measure import draw, interleaved

import hetglm.api as het

#: Mean and log-dispersion coefficients of ``x + g | z + g``, g of four levels.
BETA, GAMMA = np.array([-0.5, 0.4, 0.3, -0.2, 0.1]), np.array([-2.0, 0.3, 0.2, -0.3, 0.4])


def problem(rows):
    """Return (successes, failures) and the two designs."""
    rng = np.random.default_rng(rows)
    n = rng.integers(5, 60, rows).astype(float)
    g = (rng.integers(0, 4, rows)[:, None] == [1, 2, 3]).astype(float)
    X, Z = (np.column_stack([np.ones(rows), rng.normal(size=rows), g]) for _ in range(2))
    y = draw(n, 1 / (1 + np.exp(-X @ BETA)), np.exp(Z @ GAMMA), rng)
    return np.column_stack([y, n - y]), X, Z


def test_ratio_to_glm(benchmark):
    counts, X, Z = problem(20_000)
    fits = (
        lambda: het.BetaBinomial(counts, X, Z).fit(),
        lambda: sm.GLM(counts, X, family=sm.families.Binomial()).fit(),
    )
    ours, glm = interleaved(fits, 15)
    print(
        f"\n20,000 rows: beta-binomial {np.median(ours) * 1e3:.1f} ms (llf {fits[0]().llf:.6f}), "
        f"sm.GLM {np.median(glm) * 1e3:.1f} ms (llf {fits[1]().llf:.6f}), "
        f"ratio {np.median(ours / glm):.2f}"
    )
    benchmark.pedantic(fits[0], rounds=5)


def test_growth_and_memory(benchmark):
    print("\n     rows       s   us/row   peak/input            llf")
    for rows in (10_000, 100_000, 1_000_000):
        counts, X, Z = problem(rows)
        start = time.perf_counter()
        llf = het.BetaBinomial(counts, X, Z).fit().llf
        seconds = time.perf_counter() - start
        tracemalloc.start()
        het.BetaBinomial(counts, X, Z).fit()
        peak = tracemalloc.get_traced_memory()[1] / sum(a.nbytes for a in (counts, X, Z))
        tracemalloc.stop()
        print(f"{rows:9d} {seconds:7.2f} {seconds / rows * 1e6:8.2f} {peak:12.1f} {llf:14.4f}")
    counts, X, Z = problem(20_000)
    benchmark.pedantic(lambda: het.BetaBinomial(counts, X, Z).fit(), rounds=3)
