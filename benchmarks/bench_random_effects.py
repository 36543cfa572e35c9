"""
Random effects in mean and dispersion against glmmTMB and lme4, by Laplace's approximation.

Every time stands beside the log-likelihood it was spent on, less ours. Ours is the whole call, formula,
estimates and standard errors, and so are theirs; the first call of each is not counted. Random effects
in the dispersion need glmmTMB 1.1.10 or later (older versions refuse: "no answer").
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from _measure import memory, timed
from _peers import asked

import hetglm.formula.api as hmf
from hetglm.datasets import load_splicing

DATA = Path(__file__).parents[1] / "tests" / "reference" / "data"
R = ["Rscript", str(Path(__file__).parent / "peers" / "random_effects.R")]


class Problem(NamedTuple):
    """Our constructor and formula; theirs: mean, dispersion, family, and the peers that have it."""

    make: object
    formula: str
    mean: str
    dispersion: str
    family: str
    data: object
    options: dict = {}  # noqa: RUF012
    peers: tuple = ("glmmTMB",)


def owls():
    return pd.read_csv(DATA / "owls.csv")


def cbpp():
    return pd.read_csv(DATA / "cbpp.csv").assign(period=lambda f: f["period"].astype(str))


COUNTS = "cbind(K, N - K) ~ group * treatment + (1 | id)"
OWLS = "SiblingNegotiation ~ FoodTreatment + offset(logBroodSize) + (1 | Nest)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
PROBLEMS = {
    "splicing, both parts": Problem(
        hmf.betabinomial,
        "K + I(N - K) ~ group * treatment + (1 | id) | group + treatment + (1 | id)",
        *(COUNTS, "~ group + treatment + (1 | id)", "betabinomial()", load_splicing),
    ),
    "splicing, mean": Problem(
        hmf.betabinomial,
        "K + I(N - K) ~ group * treatment + (1 | id) | group + treatment",
        *(COUNTS, "~ group + treatment", "betabinomial()", load_splicing),
    ),
    "owls": Problem(
        hmf.negativebinomial,
        "SiblingNegotiation ~ FoodTreatment + (1 | Nest) | FoodTreatment",
        *(OWLS, "~ FoodTreatment", "nbinom2()", owls),
        options={"offset": "logBroodSize"},
    ),
    "cbpp, beta-binomial": Problem(
        hmf.betabinomial,
        "incidence + I(size - incidence) ~ period + (1 | herd) | 1",
        *(CBPP, "~ 1", "betabinomial()", cbpp),
    ),
    "cbpp, binomial": Problem(
        hmf.doubleglm,
        "incidence + I(size - incidence) ~ period + (1 | herd) | 0",
        *(CBPP, "~ 1", "binomial()", cbpp),
        options={"family": sm.families.Binomial()},
        peers=("glmmTMB", "lme4"),
    ),
}
#: Promised on splicing with effects in both parts: this share of glmmTMB's time.
PROMISED = 1 / 10
#: Log-likelihoods above ours by this much would be more than rounding.
ROUNDING = 1e-6
#: Fits of each, the first not counted.
REPEATS = 3
#: Rows of the test of growth, ten a group, and the most memory over that of the inputs.
GROWTH, PEAK = (10_000, 100_000, 1_000_000), 8

pytestmark = pytest.mark.filterwarnings("ignore::hetglm.exceptions.LaplaceErrorWarning")


def ours(problem, data):
    """Return the maximum of Laplace's approximation."""
    return problem.make(problem.formula, data, **problem.options).fit(nodes=1).llf


@pytest.mark.parametrize("name", PROBLEMS)
def test_times_and_maxima(figures, tmp_path, name):
    problem, path = PROBLEMS[name], tmp_path / "data.csv"
    data = problem.data()
    data.to_csv(path, index=False, float_format="%.17g")
    maximum = ours(problem, data)
    own = float(np.median(timed(lambda: ours(problem, data), REPEATS)))
    figures["seconds"] = own
    print(f"\n{name}: {problem.formula}, {maximum:.6f}\n  {'hetglm':16s} {own:8.3f} s")
    theirs = problem.mean, problem.dispersion, problem.family
    for peer in problem.peers:
        answer = asked([*R, peer], *theirs, path, REPEATS)
        if answer is None:
            print(f"  {peer:16s} no answer")
            continue
        seconds = float(np.median(answer["seconds"][1:]))
        more, said = answer["llf"] - maximum, f"{peer} {answer['version']}"
        print(f"  {said:16s} {seconds:8.3f} s, ours / theirs {own / seconds:.3f}, llf {more:+.1e}")
        assert more < ROUNDING, f"{peer} is above our maximum"
        figures[f"ratio to {peer}"] = own / seconds
    print(f"  promised on splicing with effects in both parts: {PROMISED:.3f}")


def simulated(rows):
    """Return the arguments of a model of normal data with random effects in both parts."""
    rng = np.random.default_rng(rows)
    groups = rows // 10
    g, x = rng.integers(0, groups, rows), rng.normal(size=rows)
    sd = np.exp(0.5 * (0.3 * x + 0.7 * rng.normal(size=groups)[g]))
    y = 1 + 0.5 * x + rng.normal(size=groups)[g] + sd * rng.normal(size=rows)
    return pd.DataFrame({"y": y, "x": x, "g": pd.Categorical(g)})


def test_growth_and_memory(figures):
    print()
    for rows in GROWTH:
        data = simulated(rows)
        model = hmf.doubleglm("y ~ x + (1 | g) | x + (1 | g)", data)
        # as arrays: response, two columns of each design, one of each random effect, the groups
        inputs = 8 * rows * (1 + 2 + 2 + 2 + 1)
        seconds = timed(lambda: model.fit(nodes=1), 1)[0]  # noqa: B023
        peak = memory(lambda: model.fit(nodes=1)) / inputs  # noqa: B023
        figures[f"{rows:,} rows, seconds"] = seconds
        figures[f"{rows:,} rows, peak memory over inputs"] = peak
        print(f"  {rows:9,} rows: {seconds:.2f} s, peak memory {peak:.1f} times the inputs")
    print(f"  promised: at most {PEAK} times the inputs")
