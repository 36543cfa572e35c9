"""
Linear mixed models against lme4, glmmTMB, statsmodels' MixedLM and four packages of PyPI, by REML.

Every time stands beside the log-likelihood it was spent on, less ours. Ours is the whole call, formula,
estimates and standard errors, and so are theirs; the first call of each is not counted. The packages of
PyPI may live in an environment of their own, ``HETGLM_MIXED_PYTHON=/path/to/python``:
``pip install statsmodels mixedlm mixedlm-rs lme-python interlace-lme polars``. For the R packages,
``apt-get install r-cran-lme4 r-cran-glmmtmb``. What is not installed is left out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _measure import memory, timed
from _peers import asked

import hetglm.formula.api as hmf
from hetglm.datasets import load_sleepstudy

PEERS = Path(__file__).parent / "peers"
PYTHON = [os.environ.get("HETGLM_MIXED_PYTHON", sys.executable), str(PEERS / "linear_mixed.py")]
R = ["Rscript", str(PEERS / "lmer.R")]
#: Peer -> its command.
COMMANDS = {
    **{name: [*R, name] for name in ("lme4", "glmmTMB")},
    **{
        name: [*PYTHON, name]
        for name in ("statsmodels", "mixedlm", "mixedlm-rs", "lme-python", "interlace-lme")
    },
}
SLOPES, CROSSED = "y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)"
#: Problem -> formula, rows, groups of g and of h, and how often each peer repeats it.
PROBLEMS = {
    "sleepstudy": (SLOPES, 180, 18, 0, 9),
    "20,000 rows, 1,000 groups": (SLOPES, 20_000, 1_000, 0, 3),
    "100,000 rows, 500 x 200 crossed": (CROSSED, 100_000, 500, 200, 1),
    "70,000 rows, 3,000 x 1,000 crossed": (CROSSED, 70_000, 3_000, 1_000, 1),
}
#: The promises: at most so many times the time of the fastest peer, by problem; None: of lme4.
TIMES_FASTEST = 2
#: Rows of the test of growth, ten a group, and the most memory over that of the inputs.
GROWTH, PEAK = (10_000, 100_000, 1_000_000), 8
#: Log-likelihoods above ours by this much would be more than rounding.
ROUNDING = 1e-6


def simulated(rows, groups, others=0):
    """Return data with random intercepts, and slopes where there is one grouping factor."""
    rng = np.random.default_rng(rows)
    g, x = rng.integers(0, groups, rows), rng.normal(size=rows)
    y = 1 + 0.5 * x + rng.normal(size=groups)[g] + rng.normal(size=rows)
    if not others:
        return pd.DataFrame({"y": y + x * 0.5 * rng.normal(size=groups)[g], "x": x, "g": g})
    h = rng.integers(0, others, rows)
    return pd.DataFrame({"y": y + 0.5 * rng.normal(size=others)[h], "x": x, "g": g, "h": h})


def data_of(name):
    """Return the data of a problem."""
    _, rows, groups, others, _ = PROBLEMS[name]
    if name != "sleepstudy":
        return simulated(rows, groups, others)
    data = load_sleepstudy()
    return pd.DataFrame({"y": data["Reaction"], "x": data["Days"], "g": data["Subject"]})


def ours(formula, data):
    """Return the maximum of the restricted likelihood."""
    return hmf.doubleglm(formula, data).fit(reml=True).llf_reml


@pytest.mark.parametrize("name", PROBLEMS)
def test_times_and_maxima(figures, tmp_path, name):
    formula, *_, repeats = PROBLEMS[name]
    data = data_of(name)
    path = tmp_path / "data.csv"
    data.to_csv(path, index=False, float_format="%.17g")
    labels = {column: data[column].astype(str) for column in {"g", "h"} & set(data.columns)}
    data = data.assign(**labels)
    maximum = ours(formula, data)
    own = float(np.median(timed(lambda: ours(formula, data), max(3, repeats))))
    figures["seconds"] = own
    print(f"\n{name}: {formula}, REML {maximum:.6f}\n  {'hetglm':24s} {own:9.4f} s")
    fastest = np.inf
    for peer, command in COMMANDS.items():
        answer = asked(command, formula, path, repeats)
        if answer is None:
            print(f"  {peer:24s} no answer")
            continue
        seconds = float(np.median(answer["seconds"][1:]))
        more = answer["llf"] - maximum
        said = f"{peer} {answer['version']}"
        print(f"  {said:24s} {seconds:9.4f} s, ours / theirs {own / seconds:6.3f}, llf {more:+.1e}")
        assert more < ROUNDING, f"{peer} is above our maximum"
        figures[f"ratio to {peer}"] = own / seconds
        fastest = min(fastest, seconds)
    print(f"  ours / fastest {own / fastest:.2f}; promised: {TIMES_FASTEST}")


def test_growth_and_memory(figures):
    print()
    for rows in GROWTH:
        data = simulated(rows, rows // 10)
        data["g"] = pd.Categorical(data["g"])
        seconds = min(timed(lambda: ours(SLOPES, data), 2))  # noqa: B023
        peak = memory(lambda: ours(SLOPES, data)) / data.memory_usage(index=False).sum()  # noqa: B023
        figures[f"{rows:,} rows, seconds"] = seconds
        figures[f"{rows:,} rows, peak memory over inputs"] = peak
        print(f"  {rows:9,} rows: {seconds:.3f} s, peak memory {peak:.1f} times the inputs")
