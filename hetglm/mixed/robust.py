"""
Cluster-robust covariance of the estimates of a fit with random effects.

V (sum_c s_c s_c') V, V the inverse information and s_c the score of the rows of cluster c (Liang and
Zeger 1986), to which the groups that lie in the cluster contribute as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.record import MixedFit
from hetglm.mixed.reported import ReportedLikelihood
from hetglm.typing import Array


def check(fit: MixedFit, given: Mapping[str, Any]) -> None:
    """Raise a ValueError for arguments of the covariance that it does not take, or after REML."""
    if not fit.criterion.by_rows:
        raise ValueError(f"cov_type='cluster': not available after {fit.criterion.name}; fit by ML")
    if unknown := sorted(set(given) - {"groups", "use_correction"}):
        raise ValueError(
            f"cov_kwds: cov_type='cluster' of a fit with random effects takes groups and "
            f"use_correction, not {unknown[0]!r}"
        )


def cluster_covariance(
    likelihood: Likelihood,
    factors: tuple[GroupingFactor, ...],
    fit: MixedFit,
    clusters: NDArray[np.intp],
    correct: bool = True,
) -> Array:
    """
    Return the covariance of all parameters, NaN for those at the boundary; shape (P, P).

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    fit : MixedFit
        By maximum likelihood.
    clusters : ndarray of int, shape (n,)
        Codes 0, ..., G - 1; the rows of a group lie in one cluster.
    correct : bool
        Whether to multiply by G/(G - 1) (n - 1)/(n - k), as statsmodels does.

    Raises
    ------
    ValueError
        If a group has rows in several clusters.
    """
    if clusters.ndim != 1:
        raise ValueError("cov_kwds: groups: with random effects give one variable, not two")
    count, inside = int(clusters.max()) + 1, np.flatnonzero(fit.interior)
    reported = ReportedLikelihood(likelihood, factors, fit)
    scores = reported.score_by_cluster(fit.params, clusters, count)[:, inside]
    half = scores @ fit.covariance[np.ix_(inside, inside)]
    out = np.full(fit.covariance.shape, np.nan)
    out[np.ix_(inside, inside)] = half.T @ half
    n = likelihood.n if likelihood.freq is None else likelihood.freq.sum()
    return out * (count / (count - 1) * (n - 1) / (n - len(inside)) if correct else 1.0)
