"""What the benchmarks leave behind can be read and compared."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def result(load=0.1, **figures):
    return {
        "date": "2026-11-28 09:00",
        "commit": "abc",
        "machine": {"cores": 2, "load": load},
        "versions": {"numpy": "2.4"},
        "figures": {"bench_fit.test_ratio": figures},
    }


def test_compare_puts_the_largest_change_first_and_says_what_differs():
    report = runpy.run_path(str(BENCHMARKS / "compare.py"))["report"]
    a = result(same=2.0, slow=1.0, fast=1.0, gone=1.0)
    b = result(load=3.0, same=2.1, slow=1.5, fast=0.5, added=1.0)
    lines = report(a, b).splitlines()
    assert lines[1] == "machine, load: 0.1 -> 3.0"
    assert [line.split()[2:] for line in lines[4:7]] == [
        ["1.50", "slower", "bench_fit.test_ratio:", "slow"],
        ["1.05", "bench_fit.test_ratio:", "same"],
        ["0.50", "faster", "bench_fit.test_ratio:", "fast"],
    ]
    assert lines[7:] == [
        "only in A: bench_fit.test_ratio: gone",
        "only in B: bench_fit.test_ratio: added",
    ]


def test_a_result_is_kept_with_its_machine_and_versions():
    found = [json.loads(path.read_text()) for path in (BENCHMARKS / "results").glob("*.json")]
    assert found
    for kept in found:
        assert {"processor", "cores", "load"} <= kept["machine"].keys()
        assert {"python", "numpy", "statsmodels"} <= kept["versions"].keys()
        assert any("ratio" in name for names in kept["figures"].values() for name in names)
