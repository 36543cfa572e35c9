"""Clusters of rows that share no random effect: their scores, and resamples of groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.record import MixedFit
from hetglm.mixed.reported import ReportedLikelihood
from hetglm.typing import Array
from hetglm.utils.messages import listed

Factors = tuple[GroupingFactor, ...]


def contains_groups(clusters: Array, factor: GroupingFactor) -> bool:
    """Return whether all rows of a group are in one cluster, for every group of a factor."""
    pairs = np.unique(np.column_stack([factor.codes, clusters]), axis=0)
    return len(pairs) == len(factor.levels)


def cluster_codes(factors: Factors, groups: Array | None = None) -> Array:
    """
    Return the cluster of each row: the outermost groups, or given ones; shape (n,).

    Parameters
    ----------
    factors : tuple of GroupingFactor
    groups : ndarray of int, shape (n,), optional

    Raises
    ------
    ValueError
        If clusters would share a random effect: of crossed grouping variables, or of given groups
        that divide one.
    """
    if groups is None:
        return outermost(factors)
    if np.ndim(groups) != 1:
        raise ValueError("groups: with random effects give one grouping variable")
    for factor in factors:
        if not contains_groups(groups, factor):
            raise ValueError(
                f"groups: a group of {factor.name} has rows in several of them, which then share its "
                "random effect; give groups that contain all rows of each"
            )
    codes: Array = np.unique(groups, return_inverse=True)[1].reshape(-1)
    return codes


def outermost(factors: Factors) -> Array:
    """
    Return the codes of the factor whose groups contain those of all others, shape (n,).

    Raises
    ------
    ValueError
        If there is none: they are crossed.
    """
    for factor in sorted(factors, key=lambda factor: len(factor.levels)):
        if all(contains_groups(factor.codes, other) for other in factors):
            return np.asarray(factor.codes)
    raise ValueError(
        f"groups: {listed([factor.name for factor in factors])} are crossed, so no rows are independent "
        "of the others; give groups= of which each contains whole groups of all of them, or use "
        "model-based standard errors and bootstrap(kind='parametric')"
    )


def with_groups(factors: Factors, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a robust covariance, with the outermost groups where none are given."""
    default = {} if "groups" in given else {"groups": outermost(factors)}
    return {**default, **given}


def cluster_scores(
    likelihood: Likelihood, factors: Factors, fit: MixedFit | None, params: Array, codes: Array
) -> Array:
    """Return the contribution of each cluster to the gradient, shape (clusters, P)."""
    reported = ReportedLikelihood(likelihood, factors, fit)
    return reported.score_by_cluster(params, codes, int(codes.max()) + 1)


def redrawn(factors: Factors, rows: Array, clusters: Array) -> Factors:
    """
    Return factors on the rows of drawn clusters, of which each draw has random effects of its own.

    Parameters
    ----------
    factors : tuple of GroupingFactor
    rows : ndarray of int, shape (n,)
    clusters : ndarray of int, shape (n,)
        Number of the draw that each row came with.
    """
    out = []
    for factor in factors:
        pairs = np.column_stack([clusters, factor.codes[rows]])
        levels, codes = np.unique(pairs, axis=0, return_inverse=True)
        names = tuple(f"{draw}:{factor.levels[code]}" for draw, code in levels)
        out.append(
            replace(factor, levels=names, codes=codes.reshape(-1), values=factor.values[rows])
        )
    return tuple(out)
