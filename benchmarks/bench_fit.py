"""The default fit: against sm.GLM, its growth with the rows, its memory, few distinct rows."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import statsmodels.api as sm
from _measure import draw, interleaved

import hetglm.api as het
from hetglm.likelihood.likelihood import Likelihood

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


def test_ratio_to_glm(benchmark, figures):
    counts, X, Z = problem(20_000)
    fits = (
        lambda: het.BetaBinomial(counts, X, Z).fit(),
        lambda: sm.GLM(counts, X, family=sm.families.Binomial()).fit(),
    )
    ours, glm = interleaved(fits, 15)
    figures["seconds"] = np.median(ours)
    figures["ratio to sm.GLM"] = np.median(ours / glm)
    print(
        f"\n20,000 rows: beta-binomial {np.median(ours) * 1e3:.1f} ms (llf {fits[0]().llf:.6f}), "
        f"sm.GLM {np.median(glm) * 1e3:.1f} ms (llf {fits[1]().llf:.6f}), "
        f"ratio {np.median(ours / glm):.2f}"
    )
    benchmark.pedantic(fits[0], rounds=5)


def test_growth_and_memory(benchmark, figures):
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
        figures[f"{rows} rows, microseconds a row"] = seconds / rows * 1e6
        figures[f"{rows} rows, peak memory over inputs"] = peak
        print(f"{rows:9d} {seconds:7.2f} {seconds / rows * 1e6:8.2f} {peak:12.1f} {llf:14.4f}")
    counts, X, Z = problem(20_000)
    benchmark.pedantic(lambda: het.BetaBinomial(counts, X, Z).fit(), rounds=3)


def test_few_distinct_rows(benchmark, figures, monkeypatch):
    rng = np.random.default_rng(1)
    rows = 50_000
    g, h, n = rng.integers(0, 4, rows), rng.integers(0, 3, rows), rng.integers(3, 9, rows)
    X = np.column_stack([np.ones(rows), g == 1, g == 2, g == 3, h == 1, h == 2]).astype(float)
    Z = X[:, [0, 4, 5]]
    mu = 1 / (1 + np.exp(-X @ [-0.5, 0.3, 0.2, -0.4, 0.1, 0.6]))
    y = draw(n, mu, np.exp(Z @ [-2, 0.5, 0.8]), rng)
    model = het.BetaBinomial(y, X, Z, n_trials=n)
    once = model.fit()
    distinct = model.core.distinct()[0].n
    grouped = interleaved([model.fit], 9)[0]
    benchmark.pedantic(model.fit, rounds=3)
    monkeypatch.setattr(Likelihood, "distinct", lambda self: (self, None))
    every = interleaved([model.fit], 9)[0]
    figures["seconds"] = np.median(grouped)
    figures["ratio to each row on its own"] = np.median(grouped) / np.median(every)
    print(
        f"\n{rows:,} rows, {distinct} distinct: {np.median(grouped) * 1e3:.1f} ms (llf {once.llf:.9f}), "
        f"each row on its own {np.median(every) * 1e3:.1f} ms (llf {model.fit().llf:.9f})"
    )
