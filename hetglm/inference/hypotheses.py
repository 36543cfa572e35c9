"""Hypotheses on terms of both parts, and what came of testing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hetglm.design.terms import Term

NOTHING_TO_TEST = (
    "exog_extra: nothing to test: the columns depend on each other or on the model's own, or the rows "
    "they tell of have their dispersion at the boundary"
)


@dataclass(frozen=True)
class Hypothesis:
    """
    A term, and the columns that neither of the two models has which its test compares.

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
    Return what each term but a constant is tested against.

    Parameters
    ----------
    terms : list of Term
        Those of the mean, then those of the dispersion.
    typ : {1, 2, 3}
        1: the terms before it, those of the mean being before all of the dispersion but its
        constant; 2: all terms that do not contain it; 3: all other terms.
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
