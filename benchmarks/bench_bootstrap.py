"""Parametric replicates of the splicing fit (3,600 rows, 44 coefficients) against a cold fit."""

from __future__ import annotations

import time

import numpy as np

import hetglm.formula.api as hmf
from hetglm.datasets import load_splicing

#: Replicates in a round, each timed against the cold fits before and after it.
PER_ROUND, ROUNDS = 50, 20
#: What a replicate may cost, in cold fits.
LIMIT = 0.35


def splicing():
    """Return the model of the splicing question with a mean for each gene."""
    return hmf.betabinomial("K + I(N - K) ~ C(id) | group + treatment", load_splicing())


def seconds(function):
    """Return the processor time of a call: the machine may have other work."""
    start = time.process_time()
    function()
    return time.process_time() - start


def test_replicate_to_cold_fit(benchmark, figures):
    model = splicing()
    res = model.fit()
    ratios, cold, warm = [], [], []
    for round_ in range(ROUNDS):
        cold.append(np.mean([seconds(model.fit) for _ in range(10)]))
        warm.append(
            seconds(lambda: res.bootstrap(PER_ROUND, "parametric", rng=round_)) / PER_ROUND  # noqa: B023
        )
        ratios.append(warm[-1] / cold[-1])
    ratio = float(np.median(ratios))
    figures["seconds of a cold fit"] = np.median(cold)
    figures["ratio of a replicate to a cold fit"] = ratio
    boot = res.bootstrap(PER_ROUND * ROUNDS, "parametric", rng=1)
    bias = np.max(np.abs(boot.mean - res.params) / res.bse)
    spread = np.median(boot.std / res.bse)
    print(
        f"\ncold fit {np.median(cold) * 1e3:.1f} ms (llf {res.llf:.6f}), parametric replicate "
        f"{np.median(warm) * 1e3:.2f} ms, ratio {ratio:.2f} (limit {LIMIT}); {boot.nrep} replicates, "
        f"{boot.failed} failed: mean within {bias:.2f} standard errors, std/bse {spread:.3f}"
    )
    benchmark.pedantic(lambda: res.bootstrap(PER_ROUND, "parametric", rng=1), rounds=3)
    assert ratio < LIMIT


def test_kinds_and_comparison(benchmark, figures):
    model = splicing()
    res = model.fit()
    cold = np.median([seconds(model.fit) for _ in range(20)])
    # the replicates within a cell: every gene is in each
    replicate = load_splicing().groupby(["id", "treatment"]).cumcount().to_numpy()
    calls = {
        "pairs": lambda: res.bootstrap(100, rng=1),
        "cluster": lambda: res.bootstrap(100, "cluster", groups=replicate, rng=1),
        "parametric, studentised": lambda: res.bootstrap(
            100, "parametric", rng=1, studentized=True
        ),
        "comparison": lambda: res.compare_constant_dispersion(test="bootstrap", nrep=100, rng=1),
    }
    print()
    for name, call in calls.items():
        each = seconds(call) / 100
        figures[f"ratio of a replicate to a cold fit, {name}"] = each / cold
        print(f"{name:24s} {each * 1e3:6.2f} ms a replicate, {each / cold:.2f} fits")
    benchmark.pedantic(calls["pairs"], rounds=1)
