"""What both benchmarks share: interleaved timing and data."""

from __future__ import annotations

import time

import numpy as np


def interleaved(functions, repetitions=7):
    """Return the seconds of each function in each repetition, shape (functions, repetitions)."""
    for function in functions:
        function()
    seconds = np.empty((len(functions), repetitions))
    for i in range(repetitions):
        for j, function in enumerate(functions):
            start = time.perf_counter()
            function()
            seconds[j, i] = time.perf_counter() - start
    return seconds


def draw(n, mu, sigma, rng):
    """Return beta-binomial counts."""
    p = rng.beta(mu / sigma, (1 - mu) / sigma)
    return rng.binomial(n.astype(int), p).astype(float)
