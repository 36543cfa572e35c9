"""Random terms of a formula: their groups and columns for the data of the fit and for new data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design import arrays, frames, syntax
from hetglm.design.design import Design
from hetglm.design.random_syntax import WrittenTerm
from hetglm.design.random_terms import (
    GroupingFactor,
    RandomTerm,
    TermOfFormula,
    TermRows,
    by_part,
)
from hetglm.exceptions import FormulaError


@dataclass
class TermDesign:
    """
    A random term of a formula: builds its groups and columns from new data.

    Attributes
    ----------
    written : WrittenTerm
    design : Design
        Of its left side.
    known : dict
        What its grouping variables were at the fit.
    """

    written: WrittenTerm
    design: Design
    known: dict[str, frames.Column]

    def build(
        self,
        data: pd.DataFrame,
        levels: Sequence[Any],
        said: set[str] | None = None,
        grouped: bool = True,
    ) -> TermRows:
        """
        Return the term on new data; codes are -1 for levels that the fit did not have.

        Parameters
        ----------
        data : DataFrame
        levels : sequence
            Of the fit.
        said : set of str, optional
            See `Design.build`.
        grouped : bool
            Whether the groups are read; without them all codes are -1.

        Raises
        ------
        FormulaError
            If a variable is not in the data.
        """
        written, codes = self.written, np.full(len(data), -1)
        values = self.design.build(data, said).to_numpy(dtype=float, copy=True)
        if grouped:
            found, distinct = pd.factorize(self.labels(data))
            position = {level: i for i, level in enumerate(levels)}
            of_distinct = [*(position.get(v, -1) for v in distinct.tolist()), -1]
            codes = np.array(of_distinct, dtype=int)[found]
            values[found < 0] = np.nan
        return TermRows(
            written.text,
            written.name,
            written.part,
            written.correlated,
            written.label,
            tuple(levels),
            codes,
            values,
            self.design.columns,
        )

    def labels(self, data: pd.DataFrame) -> pd.Series:
        """Return the labels of the groups in new data, None where one is missing."""
        for name in self.written.groups:
            if name not in data.columns:
                said = syntax.unknown_column(name, list(map(str, data.columns)))
                raise FormulaError(f"new data: {self.written.text}: {said}")
        read = frames.conform(frames.read_columns(data, self.written.groups), self.known, ())
        return labels(read, self.written.groups)


@dataclass
class RandomDesign:
    """
    The random terms of a formula: builds its factors from new data, and pickles as `Design` does.

    Attributes
    ----------
    terms : tuple of TermDesign
        In the order of the formula, those of the mean first.
    """

    terms: tuple[TermDesign, ...] = ()

    def build(
        self,
        data: pd.DataFrame,
        fitted: Sequence[GroupingFactor],
        said: set[str] | None = None,
        grouped: bool = True,
    ) -> tuple[GroupingFactor, ...]:
        """
        Return the factors of a fit on new data.

        Parameters
        ----------
        data : DataFrame
        fitted : sequence of GroupingFactor
            Those of the fit, whose levels the codes refer to: -1 is another level. Where a variable
            of a term is missing the values are NaN.
        said : set of str, optional
            See `Design.build`.
        grouped : bool
            Whether the groups are read; without them all codes are -1.

        Raises
        ------
        FormulaError
            If a variable is not in the data.
        ValueError
            If a random term of the fit was given as arrays.
        """
        return tuple(self._factor(data, factor, said, grouped) for factor in fitted)

    def labels(self, data: pd.DataFrame, name: str) -> pd.Series:
        """Return the labels of the groups of a grouping variable in new data."""
        return next(t for t in self.terms if t.written.name == name).labels(data)

    def _factor(
        self, data: pd.DataFrame, factor: GroupingFactor, said: set[str] | None, grouped: bool
    ) -> GroupingFactor:
        own = [term for term in self.terms if term.written.name == factor.name]
        made = by_part([term.build(data, factor.levels, said, grouped) for term in own])
        if sum(len(term.columns) for term in made) != len(factor.columns):
            raise ValueError(
                f"new data: a random term of {factor.name!r} was given as arrays, whose values in new "
                "rows are not known; write it in the formula"
            )
        values = np.column_stack([term.values for term in made])
        return replace(factor, codes=made[0].codes, values=values)


def labels(frame: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """
    Return the labels of groups: a column, or the combinations of several as "a1:b2".

    Parameters
    ----------
    frame : DataFrame
    names : sequence of str
        Columns.

    Returns
    -------
    Series
        A categorical one of several columns, sorted by the levels of each in turn; None where one is
        missing.

    Raises
    ------
    FormulaError
        If two combinations have the same label.
    """
    if len(names) == 1:
        return frame[names[0]]
    coded = [pd.factorize(frame[name], sort=True) for name in names]
    missing = np.any([codes < 0 for codes, _ in coded], axis=0)
    key = np.ravel_multi_index(
        [np.maximum(codes, 0) for codes, _ in coded], [max(len(levels), 1) for _, levels in coded]
    )
    codes, used = pd.factorize(key[~missing], sort=True)
    each = np.unravel_index(used, [max(len(levels), 1) for _, levels in coded])
    words = [[_word(levels[i]) for i in of] for of, (_, levels) in zip(each, coded, strict=True)]
    joined = pd.Index([":".join(parts) for parts in zip(*words, strict=True)])
    if joined.has_duplicates:
        raise FormulaError(
            f"{':'.join(names)}: several combinations of levels are called "
            f"{joined[joined.duplicated()][0]!r}; make one column of them"
        )
    whole = np.full(len(frame), -1)
    whole[~missing] = codes
    return pd.Series(pd.Categorical.from_codes(whole, joined), index=frame.index)


def _word(level: Any) -> str:
    """Return a level as text: 2.0, as a column with a missing value has it, is 2."""
    whole = isinstance(level, (float, np.floating)) and float(level).is_integer()
    return str(int(level)) if whole else str(level)


def from_formula(
    written: Sequence[WrittenTerm],
    designs: Sequence[Design],
    matrices: Sequence[pd.DataFrame],
    frame: pd.DataFrame,
) -> tuple[list[RandomTerm], RandomDesign]:
    """
    Return the random terms of a formula as arrays on the rows of the fit, and for new data.

    Parameters
    ----------
    written : sequence of WrittenTerm
    designs, matrices : sequences of Design and of DataFrame
        Of their left sides.
    frame : DataFrame
        The variables on the rows of the fit.
    """
    terms: list[RandomTerm] = []
    made: list[TermDesign] = []
    for term, design, exog in zip(written, designs, matrices, strict=True):
        groups = labels(frame, term.groups)
        words = term.part, term.correlated, term.label, term.name
        terms.append(TermOfFormula(groups, exog, *words, text=term.text))
        _, known = frames.learn(frame[list(term.groups)], ())
        numbers = {name: frames.Column(column.is_number) for name, column in known.items()}
        made.append(TermDesign(term, design, numbers))
    return terms, RandomDesign(tuple(made))


def is_column(term: RandomTerm) -> bool:
    """Return whether a term given beside a formula is a column of the data with a constant."""
    return isinstance(term.groups, str) and term.exog is None and term.name is None


def as_written(terms: Sequence[RandomTerm]) -> list[WrittenTerm]:
    """Return those terms given beside a formula that it could have as they are."""
    return [
        WrittenTerm(term.part, "1", (term.groups,), term.correlated, term.label)
        for term in terms
        if is_column(term)
    ]


def on_rows(terms: Sequence[RandomTerm], frame: pd.DataFrame, rows: Any) -> list[RandomTerm]:
    """
    Return the other terms given beside a formula, as arrays on the rows in use.

    Parameters
    ----------
    terms : sequence of RandomTerm
        Groups may be the name of a column.
    frame : DataFrame
    rows : ndarray of int
        Positions of the rows in use.

    Raises
    ------
    FormulaError, ValueError
        For an unknown column, another length or another index.
    """
    return [
        _on_rows(term, f"random[{i}]", frame, rows)
        for i, term in enumerate(terms)
        if not is_column(term)
    ]


def _on_rows(term: RandomTerm, where: str, frame: pd.DataFrame, rows: Any) -> RandomTerm:
    groups, exog, name = term.groups, term.exog, term.name
    if isinstance(groups, str):
        if groups not in frame.columns:
            raise FormulaError(syntax.not_a_column(f"{where}.groups", groups, frame.columns))
        groups = frames.column(frame, groups)
    name = name or getattr(groups, "name", None)
    groups = _taken(groups, arrays.labels(groups), f"{where}.groups", frame, rows)
    if exog is not None:
        values = arrays.design(exog, len(np.atleast_1d(exog)), f"{where}.exog")
        names = arrays.column_names(exog, values)
        exog = _taken(exog, values, f"{where}.exog", frame, rows)
        exog = pd.DataFrame(exog, index=frame.index[rows], columns=names)
    return replace(term, groups=groups, exog=exog, name=name)


def _taken(given: Any, values: Any, where: str, frame: pd.DataFrame, rows: Any) -> Any:
    """Return values given for all rows of the data, or for those in use, on the rows in use."""
    whole = len(values) == len(frame)
    if not whole and len(values) != len(rows):
        raise ValueError(f"{where}: {len(values)} rows, but the data have {len(frame)}")
    arrays.check_index(given, frame.index if whole else frame.index[rows], where)
    taken = given if isinstance(given, pd.Series) else values
    if not whole:
        return taken
    return taken.iloc[rows] if isinstance(taken, pd.Series) else taken[rows]


def missing(terms: Sequence[RandomTerm], n: int) -> Any:
    """Return which of n rows miss a value in an array of some terms."""
    absent = np.zeros(n, dtype=bool)
    for term in terms:
        absent |= np.asarray(pd.isna(term.groups))
        if term.exog is not None:
            absent |= term.exog.isna().to_numpy().any(axis=1)
    return absent


def take(terms: Sequence[RandomTerm], rows: Any, index: pd.Index) -> list[RandomTerm]:
    """Return terms from `on_rows` on some of these rows, with their labels."""
    return [
        replace(
            term,
            groups=pd.Series(term.groups).iloc[rows].set_axis(index),
            exog=None if term.exog is None else term.exog.iloc[rows],
        )
        for term in terms
    ]
