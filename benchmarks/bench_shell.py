"""The worked example from the shell: CPU with one BLAS thread, as many as BLAS likes, and ours."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import pytest

from hetglm.__main__ import THREADS

#: Calls the command line without `use_one_thread`.
AS_IMPORTED = "import sys; from hetglm.__main__ import main; sys.exit(main(sys.argv[1:]))"
IMPORTS = "import hetglm.shell.commands, matplotlib.figure"


def cpu(command, threads):
    """Return (CPU seconds, wall seconds) of a command."""
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *command], env=env | threads, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = sum(getattr(after, t) - getattr(before, t) for t in ("ru_utime", "ru_stime"))
    return used, time.perf_counter() - start


def busy(count):
    """Start processes that keep a core busy each."""
    return [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]


@pytest.mark.parametrize("others", [0, 2])
def test_worked_example(others, tmp_path, figures):
    example, one = ["-m", "hetglm", "--out", str(tmp_path)], dict.fromkeys(THREADS, "1")
    cases = {
        "imports alone": (["-c", IMPORTS], one),
        "one BLAS thread": (example, one),
        "not said": (example, {}),
        "as many as BLAS likes": (["-c", AS_IMPORTED, *example[2:]], {}),
    }
    running = busy(others)
    try:
        print(f"\n{others} other processes busy    CPU s  wall s")
        for name, case in cases.items():
            seconds, wall = min(cpu(*case) for _ in range(2))
            figures[f"CPU seconds, {name}"] = seconds
            print(f"{name:26s} {seconds:7.1f} {wall:7.1f}")
    finally:
        for process in running:
            process.kill()
            process.wait()
