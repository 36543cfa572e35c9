"""
Random beta-binomial problems, most of them nasty, and a multi-start to judge a maximum by.

Used by the tests (a fixed sample) and by ``benchmarks/corpus_report.py`` (all of them, and peers).
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog, minimize

import hetglm.api as het
from hetglm import exceptions
from hetglm.likelihood.likelihood import Likelihood

#: Problems of the whole corpus.
SIZE = 2000
#: Problems of the fixed sample: the first ones.
SAMPLE = 200
#: Problems after these that once went wrong, by what made them.
BEYOND = {
    "dispersions beyond any double": (856, 1196),
    "an interior maximum that was not restarted from": (566, 742),
    "rows fixed at phi = 0 that gain by leaving it": (1204, 1766, 1846),
    "ascent directions from phi = 0 not improved far enough": (671,),
    "slopes not steep enough": (1230, 1859),
    "a row in the centre of the others": (1837,),
    "every row separated": (1148, 1339),
}
#: All problems with a recorded maximum.
KEPT = (*range(SAMPLE), *sorted(seed for seeds in BEYOND.values() for seed in seeds))
#: Largest scaled gradient at a maximum, and how far another may be above it.
TOLERANCE = 1e-6
#: The best log-likelihoods known of these; ``benchmarks/corpus_report.py --record`` makes it.
RECORD = Path(__file__).parent / "reference" / "corpus.json"


@dataclass(frozen=True)
class Problem:
    """Successes, trials and the two designs, each with a constant first."""

    seed: int
    y: np.ndarray
    n: np.ndarray
    X: np.ndarray
    Z: np.ndarray


def problem(seed: int) -> Problem:
    """
    Return one random problem.

    1 to 8 columns in each part (slopes, factors with rare levels, copies of the other part's
    columns, collinear ones), 8 to 500 rows, 1 to 10^6 trials, log sigma from none to extreme, cells
    without overdispersion, separated levels, columns in units from 1e-6 to 1e6.
    """
    rng = np.random.default_rng([20261121, seed])
    rows = int(np.exp(rng.uniform(np.log(8), np.log(500))))
    X = _design(rows, rng, None)
    Z = _design(rows, rng, X)
    top = 10 ** rng.uniform(0.5, 6)
    n = (
        np.floor(np.exp(rng.uniform(0, np.log(top), rows)))
        if rng.random() < 0.7
        else np.full(rows, top // 1)
    )
    n[int(rng.integers(rows))] = max(2, top // 1)
    eta = _predictor(X, rng, rng.choice([0.3, 1.0, 3.0])) + rng.normal(0, 1.5)
    log_sigma = _predictor(Z, rng, rng.choice([0.1, 1.0, 3.0])) + rng.uniform(-12, 3)
    mu, sigma = 1 / (1 + np.exp(-eta)), np.exp(np.clip(log_sigma, -30, 12))
    mu = np.clip(mu, 1e-9, 1 - 1e-9)
    p = rng.beta(np.maximum(mu / sigma, 1e-6), np.maximum((1 - mu) / sigma, 1e-6))
    y = rng.binomial(n.astype(int), p).astype(float)
    trouble = rng.random()
    if trouble < 0.15:  # one level of a factor, or the upper part of a slope, has no failures
        full = X[:, -1] > np.median(X[:, -1])
        y[full] = n[full]
    elif trouble < 0.35:  # less than binomial scatter where a dispersion column is large
        column = Z[:, -1]
        calm = column >= np.quantile(column, rng.uniform(0, 0.8))
        y[calm] = np.round(n * mu)[calm]
    X = _in_other_units(X, rng)
    Z = _in_other_units(Z, rng)
    return Problem(seed, y, n, X, Z)


def _design(rows: int, rng: np.random.Generator, other: np.ndarray | None) -> np.ndarray:
    """Return a constant and up to 7 columns, some of them those of the other part."""
    columns = [np.ones(rows)]
    wanted = int(rng.integers(1, 9))
    while len(columns) < wanted:
        kind = rng.random()
        if kind < 0.4:
            columns.append(rng.normal(size=rows))
        elif kind < 0.5:
            columns.append(rng.lognormal(0, 1.5, rows))
        elif kind < 0.75:
            share = rng.choice([0.02, 0.1, 0.3, 0.5])
            columns.append((rng.random(rows) < share).astype(float))
        elif kind < 0.93 and other is not None:
            columns.append(other[:, int(rng.integers(other.shape[1]))])
        elif kind > 0.93:
            columns.append(columns[-1] * 2 - columns[0])
        else:
            levels = int(min(rng.integers(2, 5), wanted - len(columns) + 1))
            level = rng.integers(0, levels, rows)
            columns += [(level == i).astype(float) for i in range(1, levels)]
    return np.column_stack(columns[:wanted])


def _in_other_units(A: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the columns but the constant on scales from 1e-6 to 1e6, three times out of ten."""
    return A * np.r_[1.0, 10 ** rng.uniform(-6, 6, A.shape[1] - 1)] if rng.random() < 0.3 else A


def _predictor(A: np.ndarray, rng: np.random.Generator, size: float) -> np.ndarray:
    """Return a random combination of all columns but the constant, of this standard deviation."""
    spread = A[:, 1:].std(axis=0)
    weight = rng.normal(size=A.shape[1] - 1) * np.where(
        spread > 0, size / np.where(spread > 0, spread, 1), 0
    )
    return (A[:, 1:] - A[:, 1:].mean(axis=0)) @ weight


@dataclass(frozen=True)
class Judged:
    """
    Our fit of a problem and what there is to judge it by.

    ``seconds`` are those of the model and its fit, ``caught`` all warnings of them.
    """

    model: Any
    result: Any
    seconds: float
    caught: list[warnings.WarningMessage]

    @property
    def gradient(self) -> float:
        """Scaled gradient."""
        return float(self.result.fit.decrement)

    @property
    def named(self) -> list[str]:
        """Names of the classes of the package's warnings, each once."""
        ours = [w.category.__name__ for w in self.caught if w.category.__name__ in NAMES]
        return sorted(set(ours))

    @property
    def strange(self) -> list[str]:
        """Warnings that are not the package's, each once."""
        other = [w for w in self.caught if w.category.__name__ not in NAMES]
        return list(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in other))

    def overstated(self) -> float:
        """
        Return how far plain coefficients stay below the supremum at the dispersion's boundary.

        They run along a direction that takes these rows to their ends and leaves the others alone;
        infinity where there is none.
        """
        fit, core = self.result.fit, self.model.core
        end = fit.boundary
        if end is None:
            return 0.0
        change = core.Z @ end.directions
        size = np.max(np.abs(change), axis=0)
        signs = end.infinite.astype(float) - end.rows
        away = signs != 0
        moves = -(change[away] / size) * signs[away, None]
        free = [(None, None)] * len(size)
        found = linprog(np.zeros(len(size)), A_ub=moves, b_ub=-np.ones(len(moves)), bounds=free)
        if not found.success:
            return np.inf
        step = np.r_[np.zeros(core.k_mean), end.directions @ (found.x / size)]
        # the held rows' own coefficients may put them anywhere to begin with
        zeta = core.dispersion_predictor(fit.internal[core.k_mean :])
        lag = max(float(np.max(-zeta[away] * signs[away])), 0.0)
        ways = [lag + t for t in (30.0, 60.0, 120.0, 300.0)]
        reached = [core.loglike(fit.internal + t * step) for t in ways]
        return float(fit.llf - max(reached))


#: Warnings by which the package names what is wrong with a problem.
NAMES = [name for name in exceptions.__all__ if name.endswith("Warning")]


def judged(p: Problem) -> Judged:
    """Fit a problem as a user would, with nothing but the data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model = het.BetaBinomial(np.column_stack([p.y, p.n - p.y]), p.X, p.Z)
        result = model.fit()
        seconds = time.perf_counter() - start
    return Judged(model, result, seconds, list(caught))


def recorded() -> dict[int, tuple[float, float]]:
    """Return the best log-likelihood known of each problem kept, by seed, and its `mark`."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    values = zip(record["llf"], record["mark"], strict=True)
    return dict(zip(record["seed"], values, strict=True))


def mark(known: Problem) -> float:
    """Return a number by which to check that a problem is the recorded one: NumPy's draws may change."""
    return float(known.y @ np.arange(1, len(known.y) + 1) + known.n.sum())


def best_of_many(
    core: Likelihood, estimable: np.ndarray, beside: np.ndarray, starts: int
) -> tuple[float, np.ndarray]:
    """
    Return the largest log-likelihood that L-BFGS-B finds from many starts, and where.

    Half of them lie around the coefficients ``beside``, the others anywhere: the mean's from zero
    and the dispersion's at levels from next to nothing to extreme.
    """
    k = core.k_mean
    A = np.where(estimable, np.r_[np.abs(core.X).max(axis=0), np.abs(core.Z).max(axis=0)], 1.0)
    kept = np.flatnonzero(estimable)
    rng = np.random.default_rng(len(core.y))

    def full(x: np.ndarray) -> np.ndarray:
        params = np.zeros(len(estimable))
        params[kept] = x / A[kept]
        return params

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        f = core.factors(full(x), 1)
        value = f.loglike.sum()
        gradient = core.gradient(f)[kept] / A[kept]
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return 1e10, np.zeros(len(kept))
        return -float(value), -gradient

    best, where = -np.inf, beside
    for i in range(starts):
        x = np.nan_to_num(beside)[kept] * A[kept]
        if i % 2:
            x = x + rng.normal(0, (0.1, 1.0, 5.0)[i // 2 % 3], len(kept))
        else:
            x = np.where(kept < k, 0.2 * x, 0.0) + rng.normal(0, 0.5, len(kept))
            x[kept == k] = (-6.0, -2.0, 1.0, -12.0)[i // 2 % 4]
        found = minimize(
            objective,
            x,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-60, 60)] * len(x),
            options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
        )
        if -found.fun > best:
            best, where = -float(found.fun), full(found.x)
    return best, where
