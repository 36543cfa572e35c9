"""
Gaussian ML and REML of 10 + 5 columns against statmod::remlscore and alternations of statsmodels fits.

The alternations are what one writes without hetglm: the mean by least squares weighted with the fitted
dispersion, the dispersion from its squared residuals, in turn. They are told the maximum and stop as
soon as they are within 1e-6 of it; beside each time stands the criterion at the estimates it was spent
on, less ours. remlscore is timed inside its process, around the fit alone, with its own tolerance; ours
includes the construction of the model. ``install.packages("statmod")`` for it.
"""

from __future__ import annotations

import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from _measure import interleaved

import hetglm.api as het

R_SCRIPT = Path(__file__).parent / "peers" / "remlscore.R"
#: Rows, and how often each fit of so many is repeated.
SIZES = {10_000: 9, 100_000: 5, 1_000_000: 2}
P, Q = 10, 5
#: An alternation this far below the maximum goes on; a criterion this far above it is no rounding.
NEAR, ROUNDING = 1e-6, 1e-6
#: The promises: times as fast as the alternation of two GLMs, and peak memory over the inputs'.
PROMISED, PEAK = 3, 4


def problem(rows):
    """Return the response and the two designs."""
    rng = np.random.default_rng(rows)
    X, Z = (np.column_stack([np.ones(rows), rng.normal(size=(rows, k - 1))]) for k in (P, Q))
    zeta = Z @ [0.5, 0.3, -0.2, 0.1, 0.4]
    return X @ np.linspace(1, -1, P) + np.exp(0.5 * zeta) * rng.normal(size=rows), X, Z


def ml(y, X, Z, beta, gamma):
    """Return the log-likelihood."""
    zeta = Z @ gamma
    return -0.5 * np.sum(np.log(2 * np.pi) + zeta + (y - X @ beta) ** 2 * np.exp(-zeta))


def reml(y, X, Z, beta, gamma):
    """Return the restricted log-likelihood, as remlscore has its constant."""
    W = np.exp(-Z @ gamma)
    return ml(y, X, Z, beta, gamma) - 0.5 * np.linalg.slogdet(X.T @ (W[:, None] * X))[1]


def ours(y, X, Z, criterion):
    """Return hetglm's coefficients."""
    return np.split(het.DoubleGLM(y, X, Z).fit(reml=criterion is reml).params, [P])


def alternated(y, X, Z, criterion, maximum, mean, dispersion):
    """Return the coefficients of fits of mean and dispersion in turn."""
    gamma = np.zeros(Q)
    gamma[0] = np.log(np.mean(sm.OLS(y, X).fit().resid ** 2))
    for _ in range(100):
        beta, h = mean(y, X, np.exp(-Z @ gamma), criterion is reml)
        gamma = dispersion((y - X @ beta) ** 2, Z, gamma, 1 - h)
        if criterion(y, X, Z, beta, gamma) > maximum - NEAR:
            return beta, gamma
    raise RuntimeError("not within 1e-6 of the maximum after 100 turns")


def glm_mean(y, X, weights, leverages):
    fit = sm.GLM(y, X, var_weights=weights).fit()
    return fit.params, fit.get_hat_matrix_diag() if leverages else 0.0


def glm_dispersion(d, Z, gamma, left):
    family = sm.families.Gamma(sm.families.links.Log())
    weights = np.full(len(d), 0.5) * left
    return sm.GLM(d / left, Z, family=family, var_weights=weights).fit(start_params=gamma).params


def wls_mean(y, X, weights, leverages):
    fit = sm.WLS(y, X, weights).fit()
    if not leverages:
        return fit.params, 0.0
    return fit.params, np.einsum("ij,ij->i", X @ fit.normalized_cov_params, X) * weights


def wls_dispersion(d, Z, gamma, left):
    zeta = Z @ gamma
    return sm.WLS(zeta + d * np.exp(-zeta) / left - 1, Z, left * np.ones(len(d))).fit().params


def remlscore(directory, y, X, Z, repeats):
    """Return remlscore's coefficients and seconds, None where it is not installed."""
    installed = ["Rscript", "-e", "stopifnot(requireNamespace('statmod', quietly = TRUE))"]
    if shutil.which("Rscript") is None or subprocess.run(installed, capture_output=True).returncode:
        return None
    for name, array in (("y", y), ("X", X), ("Z", Z)):
        array.ravel(order="F").tofile(directory / f"{name}.bin")
    sizes = [str(k) for k in (len(y), P, Q, repeats)]
    subprocess.run(["Rscript", str(R_SCRIPT), str(directory), *sizes], check=True)
    numbers = np.loadtxt(directory / "remlscore.txt")
    return np.split(numbers[: P + Q], [P]), numbers[P + Q :]


def tell(label, seconds, own, short):
    assert short < ROUNDING, f"{label} is above our maximum by {short}"
    print(
        f"  {label:24s} {np.median(seconds):9.4f} {np.min(seconds):9.4f} "
        f"{np.median(seconds) / np.median(own):6.1f} {np.min(seconds) / np.min(own):6.1f}   {short:+.1e}"
    )


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("criterion", [ml, reml], ids=["ml", "reml"])
def test_times_and_estimates(benchmark, figures, tmp_path, rows, criterion):
    data, repeats = problem(rows), SIZES[rows]
    maximum = criterion(*data, *ours(*data, criterion))
    fits = {
        "hetglm": lambda: ours(*data, criterion),
        "two sm.GLM in turn": lambda: alternated(
            *data, criterion, maximum, glm_mean, glm_dispersion
        ),
        "sm.WLS in turn": lambda: alternated(*data, criterion, maximum, wls_mean, wls_dispersion),
    }
    own, *others = interleaved(list(fits.values()), repeats)
    figures["seconds"] = np.median(own)
    print(f"\n{rows:,} rows, {criterion.__name__.upper()} {maximum:.6f}")
    print(f"  {'':24s} {'median s':>9s} {'least s':>9s} {'ratio':>6s} {'least':>6s}   criterion")
    print(f"  {'hetglm':24s} {np.median(own):9.4f} {np.min(own):9.4f}")
    for (label, fit), seconds in zip(list(fits.items())[1:], others, strict=True):
        figures[f"ratio to {label}"] = np.median(own) / np.median(seconds)
        tell(label, seconds, own, criterion(*data, *fit()) - maximum)
    print(f"  promised: {PROMISED} times as fast as two sm.GLM in turn, as fast as remlscore")
    benchmark.pedantic(fits["hetglm"], rounds=3)
    if criterion is ml:
        return
    before = interleaved([fits["hetglm"]], repeats)[0]
    answer = remlscore(tmp_path, *data, repeats)
    if answer is None:
        pytest.skip("R's statmod is not installed: remlscore is not compared")
    after = interleaved([fits["hetglm"]], repeats)[0]
    own = np.r_[before, after]
    figures["ratio to remlscore"] = np.median(own) / np.median(answer[1])
    tell("remlscore", answer[1], own, criterion(*data, *answer[0]) - maximum)


@pytest.mark.parametrize("rows", SIZES)
def test_memory(rows, figures):
    y, X, Z = problem(rows)
    print()
    for criterion in (ml, reml):
        tracemalloc.start()
        ours(y, X, Z, criterion)
        peak = tracemalloc.get_traced_memory()[1] / sum(a.nbytes for a in (y, X, Z))
        tracemalloc.stop()
        figures[f"{criterion.__name__.upper()}, peak memory over inputs"] = peak
        print(f"{rows:,} rows, {criterion.__name__.upper()}: peak {peak:.2f} times the inputs")
        assert peak <= PEAK
