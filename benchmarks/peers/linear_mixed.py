"""
Fits one linear mixed model with one Python package, repeatedly: ``linear_mixed.py PEER CSV REPEATS``.

The data have the columns y, x, g and, for crossed factors, h. It prints a line of JSON: the package's
version, its log-likelihood (REML) and the seconds of each fit, the first apart: compilation and caches.
"""

import json
import sys
import time
from importlib.metadata import version

import pandas as pd


def statsmodels(formula, data):
    import statsmodels.formula.api as smf

    if "h" in data:
        raise ValueError("crossed factors are one group of all rows there: n x n matrices")
    slopes = "~x" if "x | g" in formula else "1"
    fit = smf.mixedlm("y ~ x", data, groups=data["g"], re_formula=slopes).fit(reml=True)
    return fit.llf


def mixedlm(formula, data):
    from mixedlm import lmer

    return lmer(formula, data).logLik().value


def lme_python(formula, data):
    import lme_python
    import polars

    frame = polars.DataFrame({name: data[name].to_list() for name in data.columns})
    return lme_python.lmer(formula, frame).log_likelihood


def interlace(formula, data):
    from interlace import fit

    random = [part.split(")")[0] for part in formula.split("(")[1:]]
    return fit("y ~ x", data, random=[f"({part})" for part in random]).llf


def mixedlm_rs(formula, data):
    import mixedlm_rs

    if "h" in data:
        raise ValueError("one grouping factor")
    slopes = "~x" if "x | g" in formula else "1"
    fit = mixedlm_rs.mixedlm("y ~ x", data, groups=data["g"], re_formula=slopes).fit(reml=True)
    return fit.llf


#: Peer -> its function and its distribution.
PEERS = {
    "statsmodels": (statsmodels, "statsmodels"),
    "mixedlm": (mixedlm, "mixedlm"),
    "lme-python": (lme_python, "lme-python"),
    "interlace-lme": (interlace, "interlace-lme"),
    "mixedlm-rs": (mixedlm_rs, "mixedlm-rs"),
}


def main(peer, formula, path, repeats):
    fit, distribution = PEERS[peer]
    data = pd.read_csv(path)
    for name in {"g", "h"} & set(data.columns):
        data[name] = data[name].astype(str)
    seconds = []
    for _ in range(int(repeats) + 1):
        start = time.perf_counter()
        llf = fit(formula, data)
        seconds.append(time.perf_counter() - start)
    answer = {"version": version(distribution), "llf": float(llf), "seconds": seconds}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
