"""The error of Laplace's approximation by importance sampling, for several grouping factors."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from hetglm.mixed.joint import Effects
from hetglm.mixed.laplace import Laplace
from hetglm.typing import Array

#: Draws, in antithetic pairs: a standard error of 0.1 where the error is below 1.
N_DRAWS = 200
#: Rows of all draws together, and draws, where rows are so many that fewer are taken.
MAX_ROWS, MIN_DRAWS = 4_000_000, 20
#: Seed of the draws, so that a fit repeats its error.
SEED = 0


def laplace_error(
    laplace: Laplace, fixed: tuple[Array, Array], draws: int | None = None
) -> tuple[float, float]:
    """
    Return the log-likelihood less Laplace's, and its Monte-Carlo standard error.

    The mean of exp(h(u) - q(u)) over draws u of q, the normal density at the mode with the curvature
    there (Durbin and Koopman 1997); the standard error is that of the logarithm, by the delta method.

    Parameters
    ----------
    laplace : Laplace
    fixed : tuple of ndarray, shape (n,)
        Predictors without random effects.
    draws : int, optional
        `N_DRAWS` by default, fewer with many rows.
    """
    if draws is None:
        draws = int(np.clip(MAX_ROWS // laplace.joint.likelihood.n, MIN_DRAWS, N_DRAWS))
    rng = np.random.default_rng(SEED)
    ratios = []
    for _ in range(draws // 2):
        z = [rng.normal(size=u.shape) for u in laplace.mode.u]
        step = _in_units_of_curvature(laplace, z)
        size = 0.5 * sum(float((part**2).sum()) for part in z)
        for sign in (1.0, -1.0):
            u = [a + sign * b for a, b in zip(laplace.mode.u, step, strict=True)]
            value = laplace.joint.value(fixed, laplace.mode.Lambdas, u)
            ratios.append(value + size - laplace.mode.value)
    logs = np.nan_to_num(np.array(ratios), nan=-np.inf, posinf=-np.inf)
    error = float(logsumexp(logs) - np.log(len(logs)))
    pairs = np.exp(logs - error).reshape(-1, 2).mean(axis=1)
    return error, float(pairs.std(ddof=1) / np.sqrt(len(pairs)))


def _in_units_of_curvature(laplace: Laplace, z: Effects) -> Effects:
    """Return a vector of covariance H^-1, of independent standard normal numbers in the form of u."""
    system = laplace.system
    first = np.einsum("gij,gi->gj", system.roots, z[0])  # covariance F^-1
    if len(z) == 1:
        return [first]
    flat = np.concatenate([part.ravel() for part in z[1:]])
    rest = solve_triangular(system.schur, flat, lower=True, trans="T")
    first = first - (system.Y @ rest).reshape(first.shape)
    parts = np.split(rest, np.cumsum([part.size for part in z[1:]])[:-1])
    return [first, *(part.reshape(old.shape) for part, old in zip(parts, z[1:], strict=True))]
