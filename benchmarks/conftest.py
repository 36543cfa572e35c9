"""
Benchmarks run with ``pytest benchmarks --bench -s``; without ``--bench`` they are skipped.

What they put into ``figures`` is written to ``benchmarks/results/`` when the run ends, with the
machine and the versions: less is better in all of it, so a ratio is ours over the other's.
``compare.py`` compares two such files.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from _machine import commit, machine, versions

# one thread on both sides, set before NumPy loads its BLAS
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

RESULTS = Path(__file__).parent / "results"
FIGURES = pytest.StashKey[dict]()


def pytest_addoption(parser):
    parser.addoption("--bench", action="store_true", help="run the benchmarks")


def pytest_configure(config):
    config.stash[FIGURES] = {}


def pytest_collection_modifyitems(config, items):
    if config.getoption("--bench") or config.getoption("--benchmark-only", default=False):
        return
    for item in items:
        item.add_marker(pytest.mark.skip(reason="a benchmark: give --bench"))


@pytest.fixture
def figures(request):
    """Numbers of this benchmark, by name with its unit."""
    name = f"{request.path.stem}.{request.node.name}"
    return request.config.stash[FIGURES].setdefault(name, {})


def pytest_sessionfinish(session):
    measured = {
        test: {name: float(f"{value:.4g}") for name, value in found.items()}
        for test, found in session.config.stash[FIGURES].items()
        if found
    }
    if not measured:
        return
    now, at = datetime.now(), commit()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d-%H%M}-{at}.json"
    result = {
        "date": f"{now:%Y-%m-%d %H:%M}",
        "commit": at,
        "machine": machine(),
        "versions": versions(),
        "figures": measured,
    }
    text = json.dumps(result, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"\nwritten: {os.path.relpath(path)}")
