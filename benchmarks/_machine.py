"""What a measurement depends on: the machine, its load, the versions, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("numpy", "scipy", "pandas", "patsy", "statsmodels")


def _processor():
    """Return the model of the processor; ``platform`` does not know it on Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def machine():
    """Return the machine, and the mean number of processes that wanted to run in the last 15 minutes."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "not said"),
        "load": round(os.getloadavg()[2], 1) if hasattr(os, "getloadavg") else None,
    }


def versions():
    """Return the version of Python, of hetglm and of what it stands on."""
    import hetglm

    found = {"python": sys.version.split()[0], "hetglm": hetglm.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit():
    """Return the short name of the commit, with -dirty where the files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"
