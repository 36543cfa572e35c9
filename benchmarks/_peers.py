"""
Beta-binomial fits by other packages: a directory of problems in, their answers out.

A problem ``<name>.csv`` (no dot in the name) has the columns ``y``, ``n`` (successes and trials),
``x0, x1, ...`` (the mean's design, its constant included) and ``z0, z1, ...`` (the dispersion's). One
process of each peer answers all of them in ``<name>.<peer>.csv``, with the columns ``field`` and
``value``: ``warning`` (any number of them), then ``error`` with the message of the failure, or

- ``seconds`` of the fit alone, one for each repeat
- ``bare``, the same less what gamlss does beside estimating
- ``converged``, by its own account
- ``llf``, its own
- ``x0, ..., z0, ...``, the estimates: of the mean, and of log(sigma) = logit(rho) = -log(phi)

The scripts in ``peers/`` can be run by hand: ``Rscript peers/vgam.R directory [repeats]``.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent / "peers"
#: A Python that has the package gamlss; it may be one with nothing else in it.
GAMLSS_PYTHON = os.environ.get("HETGLM_GAMLSS_PYTHON", sys.executable)


def _r(package, script):
    version = f"cat(as.character(packageVersion('{package}')))"
    return ("Rscript", "-e", version), ("Rscript", str(HERE / script))


#: Peer -> its name in print, the command that tells its version, and its script.
PEERS = {
    "glmmtmb": ("R glmmTMB", *_r("glmmTMB", "glmmtmb.R")),
    "vgam": ("R VGAM", *_r("VGAM", "vgam.R")),
    "gamlss": (
        "PyPI gamlss",
        (GAMLSS_PYTHON, "-c", "from importlib.metadata import version as v; print(v('gamlss'))"),
        (GAMLSS_PYTHON, str(HERE / "gamlss_port.py")),
    ),
}


@dataclass
class Answer:
    """
    What a peer made of a problem.

    Attributes
    ----------
    mean, dispersion : ndarray
        Coefficients of mu and of log(sigma); empty where it failed.
    seconds : list of float
        Of each repeat of the fit.
    bare : list of float
        The same without the quantile residuals, for gamlss; else empty.
    converged : bool
        By its own account.
    llf : float
        Its own log-likelihood.
    warnings : list of str
    error : str
        Message of the failure, empty where there was none.
    """

    mean: np.ndarray = field(default_factory=lambda: np.empty(0))
    dispersion: np.ndarray = field(default_factory=lambda: np.empty(0))
    seconds: list = field(default_factory=list)
    bare: list = field(default_factory=list)
    converged: bool = False
    llf: float = np.nan
    warnings: list = field(default_factory=list)
    error: str = ""


#: Seconds that a peer is given for a model with random effects.
TIMEOUT = 300


def asked(command, *arguments):
    """
    Return what a script for models with random effects prints, or None.

    It is a line of JSON with the peer's version, its log-likelihood and the seconds of each fit.
    """
    try:
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT
        )
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def version(peer):
    """Return the version of a peer, or None where it is not installed."""
    command = PEERS[peer][1]
    if shutil.which(command[0]) is None:
        return None
    told = subprocess.run(command, capture_output=True, text=True)
    return told.stdout.strip() if told.returncode == 0 else None


def write(directory, name, y, n, X, Z):
    """Write a problem, every number to its last digit."""
    if "." in name:
        raise ValueError(f"name={name!r}: no dot, which marks the answers")
    table = pd.DataFrame(
        {
            "y": np.asarray(y, dtype=float),
            "n": np.asarray(n, dtype=float),
            **{f"x{i}": column for i, column in enumerate(np.asarray(X).T)},
            **{f"z{i}": column for i, column in enumerate(np.asarray(Z).T)},
        }
    )
    table.to_csv(Path(directory) / f"{name}.csv", index=False, float_format="%.17g")


def run(peer, directory, repeats=1, timeout=None):
    """Let a peer answer every problem of the directory; return what its process said on stderr."""
    for stale in Path(directory).glob(f"*.{peer}.csv"):
        stale.unlink()
    command = [*PEERS[peer][2], str(directory), str(repeats)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"not done after {timeout} s"
    return done.stderr


def read(peer, directory, name):
    """Return the answer to a problem; one that is not there is a failure."""
    path = Path(directory) / f"{name}.{peer}.csv"
    if not path.exists():
        return Answer(error="no answer: the process ended before it")
    answer = Answer()
    mean, dispersion = [], []
    with path.open(newline="", encoding="utf-8") as file:
        for key, value in list(csv.reader(file))[1:]:
            if key == "warning":
                answer.warnings.append(value)
            elif key == "error":
                answer.error = value
            elif key == "converged":
                answer.converged = value == "TRUE"
            else:
                number = np.nan if value == "NA" else float(value)
                if key in ("seconds", "bare"):
                    getattr(answer, key).append(number)
                elif key == "llf":
                    answer.llf = number
                else:
                    (mean if key.startswith("x") else dispersion).append(number)
    answer.mean, answer.dispersion = np.array(mean), np.array(dispersion)
    return answer
