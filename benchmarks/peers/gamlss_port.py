"""
``python gamlss_port.py directory [repeats]``: fits by the PyPI package gamlss, family BB.

Its fit ends with quantile residuals, row by row in Python, which take most of the time and cannot be
switched off. ``seconds`` is the whole call; ``bare`` leaves the residuals out.
"""

from __future__ import annotations

import csv
import io
import re
import sys
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import gamlss
import pandas as pd
from gamlss.model import GamlssResults

_residuals = GamlssResults._compute_rqres
_residual_seconds = []


def _timed_residuals(self):
    start = time.perf_counter()
    residuals = _residuals(self)
    _residual_seconds.append(time.perf_counter() - start)
    return residuals


GamlssResults._compute_rqres = _timed_residuals


def answer(data, repeats):
    """Return (field, value) pairs; log(sigma) is that of R's BB, which is ours."""
    xs, zs = ([c for c in data if re.fullmatch(f"{part}[0-9]+", c)] for part in "xz")
    mean = "cbind(y, n - y) ~ 0 + " + " + ".join(xs)
    dispersion = "~ 0 + " + " + ".join(zs)
    seconds = []
    _residual_seconds.clear()
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            for _ in range(repeats):
                start = time.perf_counter()
                res = gamlss.gamlss(mean, sigma_formula=dispersion, family=gamlss.BB(), data=data)
                seconds.append(time.perf_counter() - start)
            estimates = [*res.coef("mu"), *res.coef("sigma")]
            result = [
                *(("seconds", value) for value in seconds),
                *(("bare", s - r) for s, r in zip(seconds, _residual_seconds, strict=True)),
                ("converged", str(bool(res.converged)).upper()),
                ("llf", float(res.logLik())),
                *zip([*xs, *zs], map(float, estimates), strict=True),
            ]
        except Exception as exc:  # whatever it is, it is the peer's answer
            result = [("error", f"{type(exc).__name__}: {exc}")]
    said = dict.fromkeys(str(w.message) for w in caught)
    return [*(("warning", text) for text in said), *result]


def main():
    """Answer every problem of the directory."""
    directory = Path(sys.argv[1])
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for path in sorted(p for p in directory.glob("*.csv") if "." not in p.stem):
        pairs = answer(pd.read_csv(path), repeats)
        with path.with_suffix(".gamlss.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("field", "value"), *pairs])


if __name__ == "__main__":
    main()
