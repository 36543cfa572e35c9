"""Benchmarks run with ``pytest benchmarks --bench -s``; without ``--bench`` they are skipped."""

from __future__ import annotations

import os

import pytest

# one thread on both sides, set before NumPy loads its BLAS
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def pytest_addoption(parser):
    parser.addoption("--bench", action="store_true", help="run the benchmarks")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--bench") or config.getoption("--benchmark-only", default=False):
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="a benchmark: give --bench"))
