"""
Maxima of the beta-binomial likelihood over sigma >= 0, from its products: no code of the package.

``python tests/reference/certified_betabinomial_maxima.py`` computes them again and prints how far the
stored ones are; ``--write`` stores them. The log-likelihood of y of n is, without its coefficient,

    sum_{k<y} log(mu + k sigma) + sum_{k<n-y} log(nu + k sigma) - sum_{k<n} log(1 + k sigma),

exact down to sigma = 0. Each cell of the dispersion has a sigma of its own, so the boundary is sigma = 0
and the maximum one with bounds: where sigma = 0 the slope in sigma must not be positive.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import patsy
from scipy.optimize import minimize
from scipy.special import expit, gammaln

HERE = Path(__file__).parent
STORED = HERE / f"{Path(__file__).stem}.json"
DATASETS = HERE.parents[1] / "hetglm" / "datasets"
#: Newton steps from what L-BFGS-B finds, and the relative step of the differences of its scores.
N_STEPS, STEP = 20, 1e-6


def designs(fit):
    """Return the successes, the failures, the mean's design, and that of the cells of sigma."""
    path = DATASETS / f"{fit['data']}.csv"
    data = pd.read_csv(path if path.exists() else HERE / "data" / path.name)
    response, X = patsy.dmatrices(fit["mean"], data)
    right = fit["dispersion"].removeprefix("~").strip()
    Z = patsy.dmatrix("1" if right == "1" else f"0 + {right}", data)
    return (*np.asarray(response).T, X, Z)


def loglike(params, y, z, X, Z):
    """Return the log-likelihood and its score in the mean's coefficients and the sigmas."""
    beta, sigma = params[: X.shape[1]], np.asarray(Z) @ params[X.shape[1] :]
    eta = np.asarray(X) @ beta
    mu, nu = expit(eta), expit(-eta)
    value = gammaln(y + z + 1) - gammaln(y + 1) - gammaln(z + 1)
    d_mu, d_sigma = np.zeros(len(y)), np.zeros(len(y))
    for k in range(int(np.max(y + z))):
        for count, base, of_mu, sign in ((y, mu, 1, 1), (z, nu, -1, 1), (y + z, 1.0, 0, -1)):
            term = base + k * sigma
            value += np.where(k < count, sign * np.log(term), 0.0)
            d_mu += np.where(k < count, sign * of_mu / term, 0.0)
            d_sigma += np.where(k < count, sign * k / term, 0.0)
    return value.sum(), np.concatenate([(d_mu * mu * nu) @ X, d_sigma @ Z])


def maximum(y, z, X, Z):
    """Return the parameters at the maximum and its value; the last is checked by its score."""
    p, q = X.shape[1], Z.shape[1]
    found = minimize(
        lambda params: tuple(-part for part in loglike(params, y, z, X, Z)),
        np.r_[np.zeros(p), np.full(q, 0.05)],
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None)] * p + [(0, None)] * q,
        options={"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-9},
    )
    params = found.x
    free = np.r_[np.full(p, True), params[p:] > 0]
    for _ in range(N_STEPS):
        steps = STEP * np.maximum(np.abs(params), 1e-2)
        scores = [
            loglike(params + step, y, z, X, Z)[1] - loglike(params - step, y, z, X, Z)[1]
            for step in np.diag(steps)[free]
        ]
        hessian = np.array(scores)[:, free] / (2 * steps[free, None])
        params[free] -= np.linalg.solve(hessian, loglike(params, y, z, X, Z)[1][free])
    value, score = loglike(params, y, z, X, Z)
    assert np.all(params[p:] >= 0)
    assert np.max(np.abs(score[free])) < 1e-8
    assert np.all(score[~free] <= 0)
    return params, value


def main():
    """Compute every fit of the file again."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="store what is found")
    write = parser.parse_args().write
    stored = json.loads(STORED.read_text())
    for name, fit in stored["fits"].items():
        y, z, X, Z = designs(fit)
        params, value = maximum(y, z, X, Z)
        mu, sigma = np.split(params, [X.shape[1]])
        kept = np.r_[list(fit["mu"].values()), list(fit["sigma_by_cell"].values())]
        print(
            f"{name:18s} llf {value:.12f}, stored less by {value - fit['llf']:+.1e}; "
            f"estimates within {np.max(np.abs(params - kept)):.1e}"
        )
        fit["llf"] = float(value)
        fit["mu"] = dict(zip(fit["mu"], mu.tolist(), strict=True))
        fit["sigma_by_cell"] = dict(zip(fit["sigma_by_cell"], sigma.tolist(), strict=True))
    if write:
        STORED.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
