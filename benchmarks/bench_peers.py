"""
The default fit of 20,000 rows against glmmTMB, VGAM and the PyPI package gamlss, where installed.

Beside each time stands the exact log-likelihood at the estimates it was spent on, less ours: fast and
wrong does not win. Peers are timed inside their own process, around the fit alone; ours includes the
construction of the model. gamlss is timed twice: as it is called, and without the quantile residuals
its fit ends with, row by row. ``install.packages(c("glmmTMB", "VGAM"))``; gamlss may be in a virtual
environment of its own, whose Python HETGLM_GAMLSS_PYTHON names.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from _peers import PEERS, read, run, version, write
from bench_fit import problem
from scipy.special import expit

import hetglm.api as het

ROWS = 20_000
REPEATS = 5
#: The promise: so many times faster than the fastest peer.
PROMISED = 100
#: A log-likelihood so far below the maximum is a fit that has not found it.
SHORT = 1e-3
#: Of a sum of 20,000 log-likelihoods of 60,000 in all.
ROUNDING = 1e-8


def exact_llf(counts, X, Z, beta, gamma):
    """
    Return the log-likelihood by its products, without a kernel and without log-gammas.

    P(y) = C(n, y) prod_{k<y} (mu + k sigma) prod_{k<n-y} (nu + k sigma) / prod_{k<n} (1 + k sigma):
    all factors are positive, so nothing cancels.
    """
    y, z = counts.T
    eta, sigma = X @ beta, np.exp(Z @ gamma)
    rows = np.zeros(len(y))
    for k in range(int((y + z).max())):
        rows += np.where(k < y, np.log((expit(eta) + k * sigma) / (k + 1)), 0.0)
        rows += np.where(k < z, np.log((expit(-eta) + k * sigma) / (k + 1)), 0.0)
        rows -= np.where(k < y + z, np.log((1 + k * sigma) / (k + 1)), 0.0)
    return math.fsum(rows)


def our_seconds(counts, X, Z, repeats):
    """Return the seconds of each of our fits."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        het.BetaBinomial(counts, X, Z).fit()
        seconds.append(time.perf_counter() - start)
    return seconds


def test_times_and_estimates(benchmark, figures, tmp_path):
    versions = {peer: version(peer) for peer in PEERS}
    if not any(versions.values()):
        pytest.skip("none of glmmTMB, VGAM and gamlss is installed: nothing to compare with")
    counts, X, Z = problem(ROWS)
    write(tmp_path, "problem", counts[:, 0], counts.sum(axis=1), X, Z)
    k, own = X.shape[1], np.asarray(het.BetaBinomial(counts, X, Z).fit().params)
    best = exact_llf(counts, X, Z, own[:k], own[k:])
    ours, answers = our_seconds(counts, X, Z, REPEATS), {}
    for peer in [peer for peer, installed in versions.items() if installed]:
        said = run(peer, tmp_path, REPEATS)
        ours += our_seconds(counts, X, Z, REPEATS)  # between the peers, in the same minutes
        answers[peer] = read(peer, tmp_path, "problem")
        answers[peer].error += said if answers[peer].error else ""
    print(f"\n{ROWS:,} rows, {len(own)} parameters; llf at the estimates, the peers' less ours")
    print(f"{'':19s} {'median s':>9s} {'least s':>9s} {'ratio':>6s} {'least':>6s}   llf")
    print(f"{'hetglm':19s} {np.median(ours):9.4f} {min(ours):9.4f} {'':13s}   {best:.9f}")
    ratios = {"as called": [], "gamlss without its residuals": []}
    for peer, (label, *_) in PEERS.items():
        label = f"{label} {versions[peer] or ''}"
        if versions[peer] is None:
            print(f"{label:19s} is not installed: not measured")
            continue
        answer = answers[peer]
        if answer.error:
            print(f"{label:19s} failed: {answer.error}")
            continue
        short = exact_llf(counts, X, Z, answer.mean, answer.dispersion) - best
        assert short < ROUNDING, f"{label} is above our maximum by {short}"
        for line, times in ((label, answer.seconds), ("  without residuals", answer.bare)):
            if not times:
                continue
            seconds = np.array([np.median(times), min(times)])
            ratio = seconds / [np.median(ours), min(ours)]
            figures[f"ratio to {line.strip()}"] = 1 / ratio[0]
            print(
                f"{line:19s} {seconds[0]:9.4f} {seconds[1]:9.4f} {ratio[0]:6.1f} {ratio[1]:6.1f}"
                f"   {short:+.1e}{'' if answer.converged else '  not converged'}"
            )
            # fast and short of the maximum does not count
            if short > -SHORT:
                ratios["as called" if line == label else "gamlss without its residuals"] += [ratio]
    for kind, found in ratios.items():
        if found:
            median, least = np.min(found, axis=0)
            print(f"{median:.0f} times (least times: {least:.0f}) as fast as the fastest, {kind}")
    print(f"promised: {PROMISED} times")
    benchmark.pedantic(lambda: het.BetaBinomial(counts, X, Z).fit(), rounds=5)
