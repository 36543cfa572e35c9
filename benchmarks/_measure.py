"""What benchmarks share: timing, memory and data."""

from __future__ import annotations

import time
import tracemalloc

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


def timed(fit, repeats):
    """Return the seconds of each call but the first."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        fit()
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def memory(fit):
    """Return the most bytes that a call allocates at a time."""
    tracemalloc.start()
    try:
        fit()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def draw(n, mu, sigma, rng):
    """Return beta-binomial counts."""
    p = rng.beta(mu / sigma, (1 - mu) / sigma)
    return rng.binomial(n.astype(int), p).astype(float)
