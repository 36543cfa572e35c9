"""Comparison of the random terms of two models: which are nested, and what is at the boundary."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

from hetglm.design.random_terms import GroupingFactor
from hetglm.exceptions import NotNestedError
from hetglm.typing import Array
from hetglm.utils.linalg import contains

Factors = tuple[GroupingFactor, ...]

#: Printed of a P from `chi_bar_square`.
CONSERVATIVE = (
    "by the mixture of chi-square on {} and {} df, which bounds P from above where a variance is 0 "
    "under H0 (Stram and Lee 1994); test='bootstrap' is exact up to simulation"
)


def check_nested(smaller: Factors, larger: Factors) -> None:
    """Raise a NotNestedError if the random effects of one model are no special case of another's."""
    for factor in smaller:
        candidates = [other for other in larger if same_groups(factor, other)]
        for block in factor.blocks:
            if not any(_spans(factor, block, other) for other in candidates):
                labels = ", ".join(factor.labels[j] for j in block)
                raise NotNestedError(
                    f"the fits are not nested: the larger one has no random effect of {labels} by "
                    f"{factor.name}, or not with their correlations; compare their AIC"
                )


def same_groups(a: GroupingFactor, b: GroupingFactor) -> bool:
    """Return whether two factors divide the rows alike."""
    pairs = np.unique(np.column_stack([a.codes, b.codes]), axis=0)
    return len(pairs) == len(a.levels) == len(b.levels)


def _spans(factor: GroupingFactor, block: tuple[int, ...], other: GroupingFactor) -> bool:
    """Return whether one block of a factor has the effects of a block as a special case."""
    return any(
        all(contains(_columns(other, of, part), _columns(factor, block, part)) for part in _PARTS)
        for of in other.blocks
    )


_PARTS = ("mean", "dispersion")


def _columns(factor: GroupingFactor, block: Iterable[int], part: str) -> Array:
    return factor.values[:, [j for j in block if factor.parts[j] == part]]


def differ(smaller: Factors, larger: Factors) -> bool:
    """Return whether the larger of two nested models has covariance parameters of its own."""
    return _size(smaller) < _size(larger)


def has_new_variances(smaller: Factors, larger: Factors) -> bool:
    """Return whether the larger of two nested models has a variance that the smaller has not."""
    return sum(len(f.columns) for f in smaller) < sum(len(f.columns) for f in larger)


def _size(factors: Factors) -> int:
    return sum(len(b) * (len(b) + 1) // 2 for factor in factors for b in factor.blocks)


def chi_bar_square(statistic: float, df: int) -> float:
    """
    Return a bound of P of a ratio with df parameters under H0, a variance of 0 among them.

    Where the parameter space is a half-space the ratio is chi-square on df - 1 or df, each with
    probability 1/2 (Self and Liang 1987); in any smaller one, as of several variances, it is smaller.
    """
    fewer = float(stats.chi2.sf(statistic, df - 1)) if df > 1 else float(statistic <= 0)
    return 0.5 * (fewer + float(stats.chi2.sf(statistic, df)))
