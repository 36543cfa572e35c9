"""Terms of both parts: their names, columns and factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hetglm.design.design import Design
from hetglm.typing import Array


@dataclass(frozen=True)
class Term:
    """
    A term of one part.

    Attributes
    ----------
    part : {"mean", "dispersion"}
    name : str
    factors : frozenset of str
        What it is the interaction of; empty for a constant.
    columns : tuple of int
        Positions of its coefficients.
    """

    part: str
    name: str
    factors: frozenset[str]
    columns: tuple[int, ...]


def term_list(
    names: Sequence[Sequence[str]], designs: Sequence[Array], formulas: Sequence[Design] | None
) -> list[Term]:
    """
    Return the terms of the mean, then those of the dispersion.

    Parameters
    ----------
    names : sequence of two lists of str
        Names of the columns of both designs.
    designs : sequence of two ndarrays, shapes (n, p) and (n, q)
    formulas : sequence of two Designs, or None
        What made them; without it each column is a term, one without variation a constant.
    """
    found, first = [], 0
    for i, (part, prefix) in enumerate((("mean", ""), ("dispersion", "dispersion-"))):
        if formulas is None:
            constant = np.ptp(designs[i], axis=0) == 0
            columns = {name: [j] for j, name in enumerate(names[i])}
            factors = {
                name: frozenset(() if constant[j] else (name,)) for j, name in enumerate(names[i])
            }
        else:
            columns, factors = formulas[i].terms, formulas[i].factors
        found += [
            Term(part, prefix + name, frozenset(factors[name]), tuple(first + j for j in js))
            for name, js in columns.items()
        ]
        first += len(names[i])
    return found
