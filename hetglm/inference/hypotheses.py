"""Hypotheses on terms of both parts, and outcomes of their tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hetglm.design.terms import Term

NOTHING_TO_TEST = (
    "exog_extra: nothing to test: the columns are linearly dependent (on each other or on the model's "
    "own), or all rows that determine their coefficients have their dispersion at the boundary"
)


@dataclass(frozen=True)
class Hypothesis:
    """
    A term that is tested, and the columns left out of both models that are compared.

    Attributes
    ----------
    term : Term
    absent : tuple of int
    """

    term: Term
    absent: tuple[int, ...]


class Outcome(NamedTuple):
    """Degrees of freedom, statistic and P of a test, NaN where there is nothing to test."""

    df: int
    statistic: float
    pvalue: float


NOTHING = Outcome(0, np.nan, np.nan)


def hypotheses(terms: list[Term], typ: int) -> list[Hypothesis]:
    """
    Return the hypothesis of each term but the constants.

    Parameters
    ----------
    terms : list of Term
        The terms of the mean, followed by the terms of the dispersion.
    typ : {1, 2, 3}
        Terms that a term is added to. 1: the terms before it, where the mean comes first and the
        dispersion is constant meanwhile; 2: all terms that do not contain it; 3: all other terms.
    """
    tested = [term for term in terms if term.factors]

    def absent(i: int, term: Term) -> list[Term]:
        if typ == 1:
            return tested[i + 1 :]
        return [t for t in tested if typ == 2 and t.part == term.part and term.factors < t.factors]

    return [
        Hypothesis(term, tuple(j for other in absent(i, term) for j in other.columns))
        for i, term in enumerate(tested)
    ]
