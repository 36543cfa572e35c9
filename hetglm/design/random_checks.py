"""Random terms whose covariance parameters the rows of a fit do not identify: refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design.random_syntax import PARTS
from hetglm.design.random_terms import GroupingFactor, TermRows
from hetglm.typing import Array


def check(factors: Sequence[GroupingFactor], terms: Sequence[TermRows]) -> None:
    """
    Raise a ValueError for a factor with one level, one for each number, or without enough rows.

    Parameters
    ----------
    factors : sequence of GroupingFactor
        On the rows of the fit.
    terms : sequence of TermRows
        What they were made of, for their texts.
    """
    for factor in factors:
        text = text_of(factor, terms)
        if len(factor.levels) < 2:
            raise ValueError(
                f"{text}: {factor.name!r} has one level in these rows; a random effect needs at least "
                "two groups"
            )
        sizes = np.bincount(factor.codes)
        if sizes.max() == 1 and _are_continuous(factor.levels):
            raise ValueError(
                f"{text}: {factor.name!r} has another number in each row, and is no grouping variable; "
                f"write it on the left of the bar, ({factor.name} | g), or make groups of it "
                "(pd.cut)"
            )
        _check_size(factor, int(sizes.max()), terms)
    _check_distinct(factors, terms)


def text_of(factor: GroupingFactor, terms: Iterable[TermRows], part: str | None = None) -> str:
    """Return the first term of a factor, of a part if one is given, as it is written."""
    return next(t.text for t in terms if t.name == factor.name and part in (None, t.part))


def _are_continuous(levels: Iterable[Any]) -> bool:
    return any(isinstance(level, float) and not level.is_integer() for level in levels)


def _check_size(factor: GroupingFactor, largest: int, terms: Sequence[TermRows]) -> None:
    """Raise a ValueError where no group has as many rows as the factor has columns in a part."""
    for part in PARTS:
        k = factor.parts.count(part)
        if k > largest:
            raise ValueError(
                f"{text_of(factor, terms, part)}: {k} columns vary between the levels of "
                f"{factor.name!r} in the {part}, but no level has more than {largest} "
                f"row{'s' * (largest > 1)}; use fewer columns"
            )


def _check_distinct(factors: Sequence[GroupingFactor], terms: Sequence[TermRows]) -> None:
    """Raise a ValueError for two grouping variables that make the same groups."""
    seen: dict[bytes, GroupingFactor] = {}
    for factor in factors:
        partition = pd.factorize(factor.codes)[0].astype(np.int64).tobytes()
        other = seen.setdefault(partition, factor)
        if other is not factor:
            raise ValueError(
                f"{text_of(other, terms)} and {text_of(factor, terms)}: {other.name!r} and "
                f"{factor.name!r} make the same groups of rows; use one of them for both"
            )


def check_gaussian(
    factors: Iterable[GroupingFactor],
    terms: Sequence[TermRows],
    exog_dispersion: Array,
    known: Iterable[Array | None],
) -> None:
    """
    Raise a ValueError for a mean effect of each row that the residual variance takes up.

    With one row a group the variance is phi + x' Sigma x in each row. Where the dispersion has a
    coefficient for each distinct row of all that the variance depends on, any Sigma fits alike.

    Parameters
    ----------
    factors, terms
        As of `check`.
    exog_dispersion : ndarray, shape (n, q)
    known : iterable of ndarray, shape (n,), or None
        Further known parts of the dispersion: offset and weights.
    """
    for factor in factors:
        own = [i for i, part in enumerate(factor.parts) if part == "mean"]
        if not own or np.bincount(factor.codes).max() > 1:
            continue
        parts = [
            exog_dispersion,
            np.abs(factor.values[:, own]),
            *(a for a in known if a is not None),
        ]
        distinct = len(np.unique(np.column_stack(parts), axis=0))
        if distinct <= np.linalg.matrix_rank(exog_dispersion):
            raise ValueError(
                f"{text_of(factor, terms, 'mean')}: {factor.name!r} has one row a level, so that its "
                "variance cannot be separated from the dispersion of the Gaussian; leave the term out"
            )
