"""Random terms: what users pass of them, and grouping factors with their columns on the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hetglm.typing import Array


@dataclass(frozen=True)
class RandomTerm:
    """
    A random term ``(exog | groups)`` of one part, as lme4 has them.

    Parameters
    ----------
    groups : array_like, shape (n,), or str
        Labels of the groups, in a formula call also the name of a column.
    exog : array_like, shape (n, k), optional
        Columns whose coefficients vary between groups; a constant by default.
    part : {"mean", "dispersion"}
    correlated : bool
        Whether the coefficients of a group are correlated; ``||`` in a formula is False.
    label : str, optional
        Terms of one label and grouping variable, in either part, share one covariance matrix; brms'
        ``(1 |p| g)``.
    name : str, optional
        Name of the grouping variable, where ``groups`` is an array without one.
    """

    groups: Any
    exog: Any = None
    part: str = "mean"
    correlated: bool = True
    label: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class GroupingFactor:
    """
    A grouping variable with the columns, of both parts, whose coefficients vary between its levels.

    Attributes
    ----------
    name : str
    levels : tuple
        Labels of the G levels that occur.
    codes : ndarray of int, shape (n,)
        Level of each row, in 0, ..., G - 1.
    values : ndarray, shape (n, k)
        Columns: of the mean first, then of the dispersion.
    columns : tuple of str, length k
        Their names, such as ``"Intercept"``.
    parts : tuple of str, length k
        The part each belongs to, ``"mean"`` or ``"dispersion"``.
    blocks : tuple of tuple of int
        Positions of the columns that share one full covariance matrix; columns of different blocks
        are independent. Together they are 0, ..., k - 1.
    """

    name: str
    levels: tuple[Any, ...]
    codes: NDArray[Any]
    values: Array
    columns: tuple[str, ...]
    parts: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
