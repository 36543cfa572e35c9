"""Estimability: new rows in the row space of the fitted design, whatever the coding of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hetglm.likelihood.boundary import combinations
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.messages import RowNames, listed

#: Share of the sum of its terms below which a product with a null direction is zero.
TOL_ZERO = 1e-9

#: Factor by which a product of a new row may exceed the largest of the fitted rows, which is rounding
#: of the data.
MAX_ROUNDING_RATIO = 10.0

#: Rounding of a difference, relative to the terms that are subtracted.
TOL_DIFFERENCE = 16 * np.finfo(float).eps

#: Distinct cells that a message names, at most.
MAX_NAMED_CELLS = 3


@dataclass(frozen=True)
class RowSpace:
    """
    Row space of a fitted design of deficient rank, by its orthogonal complement.

    Attributes
    ----------
    directions : ndarray, shape (p, r)
        Basis of the null space of the fitted design.
    tolerance : ndarray, shape (r,)
        Relative size below which a product with each direction is zero.
    """

    directions: Array
    tolerance: Array

    def outside(self, A: Array, rounded: Array | None = None) -> Array:
        """
        Return which rows leave the row space, by direction; False where a value is missing.

        Parameters
        ----------
        A : ndarray, shape (m, p)
            Rows of designs, or contrasts of them.
        rounded : ndarray, shape (m, p), optional
            Absolute size of the terms of which ``A`` is the difference.

        Returns
        -------
        ndarray of bool, shape (m, r)
        """
        across = np.abs(self.directions)
        limit = self.tolerance * (np.abs(A) @ across)
        if rounded is not None:
            limit += TOL_DIFFERENCE * (rounded @ across)
        return np.abs(A @ self.directions) > limit


def row_space(A: Array, kept: Array) -> RowSpace | None:
    """Return the row space of a design, None if its columns are independent (all are ``kept``)."""
    if kept.all():
        return None
    directions = combinations(A, kept)
    size = np.abs(A) @ np.abs(directions)
    noise = np.abs(A @ directions) / np.where(size > 0, size, 1.0)
    return RowSpace(
        directions, np.maximum(TOL_ZERO, MAX_ROUNDING_RATIO * np.max(noise, axis=0, initial=0.0))
    )


def row_spaces(core: Likelihood, estimable: Array) -> dict[str, RowSpace]:
    """Return the row spaces of the parts ("mean", "dispersion") that have aliased columns."""
    k = core.k_mean
    uninformative = core.uninformative()
    Z = core.Z if uninformative is None or estimable[k:].all() else core.Z[~uninformative]
    found = {"mean": row_space(core.X, estimable[:k]), "dispersion": row_space(Z, estimable[k:])}
    return {part: space for part, space in found.items() if space is not None}


def message(part: str, outside: Array, of_rows: RowNames, cells: list[str]) -> str:
    """
    Return the sentence on rows that are not estimable.

    Parameters
    ----------
    part : {"mean", "dispersion"}
    outside : ndarray of bool, shape (m, r)
        From `RowSpace.outside`.
    of_rows : RowNames
        Names of the rows.
    cells : list of str
        What the fitted rows do not determine.
    """
    rows = of_rows.text(outside.any(axis=1))
    return (
        f"the {part} is not estimable, NaN, in {rows} of the new data: the data of the fit do not "
        f"determine it at {'; '.join(cells)}"
    )


def cells(
    space: RowSpace, outside: Array, names: list[str], design: Any, data: pd.DataFrame | None
) -> list[str]:
    """Return what the fitted rows do not determine: values of variables, or of columns."""
    if data is None:
        return _cells_of_columns(names, space, outside)
    return _cells_of_data(design, space, outside, data)


def _cells_of_data(design: Any, space: RowSpace, outside: Array, data: pd.DataFrame) -> list[str]:
    """Return the values of the variables behind each null direction that a row violates."""
    names, found = np.array(design.columns, dtype=object), dict[str, None]()
    for j in np.flatnonzero(outside.any(axis=0)):
        read = design.variables_of(names[space.directions[:, j] != 0])
        columns = [name for name in data.columns if name in read]
        for _, row in data.loc[outside[:, j].tolist(), columns].drop_duplicates().iterrows():
            found[", ".join(f"{name} = {_text(value)}" for name, value in row.items())] = None
    return _few(list(found))


def _cells_of_columns(names: list[str], space: RowSpace, outside: Array) -> list[str]:
    """Return the columns in each null direction that a row violates."""
    used = [space.directions[:, j] != 0 for j in np.flatnonzero(outside.any(axis=0))]
    involved = [[name for name, u in zip(names, of, strict=True) if u] for of in used]
    return _few(
        [
            f"other values of {cols[0]} than 0"
            if len(cols) == 1
            else f"values of {listed(cols)} that break their linear dependence in the fit"
            for cols in involved
        ]
    )


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)


def _few(cells: list[str]) -> list[str]:
    rest = len(cells) - MAX_NAMED_CELLS
    return cells if rest <= 0 else [*cells[:MAX_NAMED_CELLS], f"{rest} more"]
