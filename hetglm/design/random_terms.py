"""Random terms as users give them, and grouping factors with their columns on the rows of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hetglm.design.arrays import check_distinct, column_names, design, labels
from hetglm.design.random_syntax import PARTS, WrittenTerm
from hetglm.typing import Array
from hetglm.utils.checks import flag
from hetglm.utils.messages import listed

#: Name of a grouping variable that has none.
_UNNAMED = "groups"


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
        Name of the grouping variable, where ``groups`` is an array without one: "groups", "groups2",
        ... by default.

    Notes
    -----
    ``correlated=False`` makes the covariance matrix diagonal in the columns, also in those of a
    factor.

    Examples
    --------
    >>> import numpy as np
    >>> import hetglm.api as het
    >>> y, plate = np.array([3.1, 2.9, 4.2, 4.4, 3.6, 3.3]), ["a", "a", "b", "b", "c", "c"]
    >>> model = het.DoubleGLM(y, np.ones(6), random=[het.RandomTerm(plate, name="plate")])
    >>> model.formula_text()
    'y ~ const + (1 | plate) | const'
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

    def __str__(self) -> str:
        """Return its name, number of levels and columns."""
        return f"Random effects: {self.name} ({len(self.levels)} levels): {listed(self.labels)}"

    @property
    def labels(self) -> list[str]:
        """Names of the columns; those of the dispersion begin with ``dispersion-``."""
        prefixes = ("" if part == "mean" else "dispersion-" for part in self.parts)
        return [prefix + name for prefix, name in zip(prefixes, self.columns, strict=True)]

    def take(self, rows: Any) -> GroupingFactor:
        """Return the factor on some rows, with the levels that they have."""
        codes = self.codes[rows]
        occurs = np.bincount(codes, minlength=len(self.levels)) > 0
        levels = tuple(self.levels[i] for i in np.flatnonzero(occurs))
        codes = (np.cumsum(occurs) - 1)[codes]
        return replace(self, levels=levels, codes=codes, values=self.values[rows])

    def with_columns(self, kept: Sequence[int]) -> GroupingFactor:
        """Return the factor with some of its columns."""
        position = {column: i for i, column in enumerate(kept)}
        blocks = (tuple(position[j] for j in b if j in position) for b in self.blocks)
        return replace(
            self,
            values=self.values[:, list(kept)],
            columns=tuple(self.columns[j] for j in kept),
            parts=tuple(self.parts[j] for j in kept),
            blocks=tuple(filter(None, blocks)),
        )

    def without_rows(self) -> GroupingFactor:
        """Return the factor with no rows and all its levels, for predictions on new rows."""
        return replace(self, codes=self.codes[:0], values=self.values[:0])


@dataclass(frozen=True)
class ModelTerm:
    """
    A random term of a model.

    Attributes
    ----------
    part, text : str
    name : str
        Of its grouping factor.
    columns : int
        How many it has.
    """

    part: str
    text: str
    name: str
    columns: int


def with_terms(
    factors: Iterable[GroupingFactor], terms: Sequence[ModelTerm], kept: Sequence[ModelTerm]
) -> tuple[GroupingFactor, ...]:
    """Return factors with the columns of some of a model's terms."""
    out = []
    for factor in factors:
        own = [term for term in terms if term.name == factor.name]
        columns: list[int] = []
        at = 0
        for term in sorted(own, key=lambda term: PARTS.index(term.part)):
            columns += range(at, at + term.columns) if term in kept else ()
            at += term.columns
        if columns:
            out.append(factor.with_columns(columns))
    return tuple(out)


@dataclass(frozen=True)
class TermOfFormula(RandomTerm):
    """
    A random term that a formula made.

    Attributes
    ----------
    text : str
        As it is written.
    """

    text: str = ""


@dataclass(frozen=True)
class TermRows:
    """
    A random term on rows.

    Attributes
    ----------
    text : str
        As it is, or would be, written in a formula.
    name, part, correlated, label
        As of `RandomTerm`.
    levels : tuple
    codes : ndarray of int, shape (n,)
        -1 where the label is missing.
    values : ndarray, shape (n, k)
    columns : list of str
    """

    text: str
    name: str
    part: str
    correlated: bool
    label: str | None
    levels: tuple[Any, ...]
    codes: NDArray[Any]
    values: Array
    columns: list[str]

    def take(self, rows: Any) -> TermRows:
        """Return the term on some rows."""
        return replace(self, codes=self.codes[rows], values=self.values[rows])


def given_terms(random: Any) -> list[RandomTerm]:
    """
    Return the argument ``random`` as a list of terms, their words checked.

    Raises
    ------
    TypeError, ValueError
        If it is no list of RandomTerm, or a word of one has no meaning.
    """
    if random is None:
        return []
    terms = list(random) if isinstance(random, (list, tuple)) else [random]
    if isinstance(random, RandomTerm) or not all(isinstance(t, RandomTerm) for t in terms):
        raise TypeError(
            "random: give a list, [hetglm.api.RandomTerm(groups), ...], or write random terms in the "
            "formula, (1 | g)"
        )
    for i, term in enumerate(terms):
        _check_words(term, f"random[{i}]")
    return terms


def _check_words(term: RandomTerm, where: str) -> None:
    if term.part not in PARTS:
        raise ValueError(f"{where}: part={term.part!r}: choose 'mean' or 'dispersion'")
    flag(term.correlated, f"{where}: correlated")
    for word, value in (("label", term.label), ("name", term.name)):
        if value is not None and not (isinstance(value, str) and value):
            raise ValueError(f"{where}: {word}={value!r}: give a text, or leave it out")
    if term.label is not None and not term.correlated:
        raise ValueError(
            f"{where}: terms of one label are correlated; leave label={term.label!r} or "
            "correlated=False out"
        )
    if isinstance(term.exog, str):
        raise ValueError(
            f"{where}: exog={term.exog!r}: give the columns, or write ({term.exog} | g) in the formula"
        )


def read_terms(terms: Sequence[RandomTerm], n: int) -> list[TermRows]:
    """
    Return random terms on n rows.

    Parameters
    ----------
    terms : sequence of RandomTerm
        From `given_terms`, with arrays.
    n : int

    Raises
    ------
    ValueError
        If an array is of another shape, or two grouping variables have the same name.
    """
    made: list[TermRows] = []
    for i, term in enumerate(terms):
        where = f"random[{i}]"
        codes, levels = _coded(term.groups, n, f"{where}.groups")
        name = _name(term, where, made, [o for o in made if _same_labels(o, codes, levels)])
        values, columns = _columns(term.exog, n, f"{where}.exog")
        text = term.text if isinstance(term, TermOfFormula) else _text(term, name, columns)
        words = text, name, term.part, term.correlated, term.label
        made.append(TermRows(*words, levels, codes, values, columns))
    return made


def _name(
    term: RandomTerm, where: str, earlier: Sequence[TermRows], same: Sequence[TermRows]
) -> str:
    """Return the name of a grouping variable, by default that of earlier terms with the same labels."""
    name = term.name or getattr(term.groups, "name", None)
    used = {other.name for other in earlier}
    if name is None:
        defaults = (_UNNAMED + str(i if i > 1 else "") for i in range(1, len(used) + 2))
        return same[0].name if same else next(other for other in defaults if other not in used)
    name = str(name)
    if name in used - {other.name for other in same}:
        raise ValueError(
            f"{where}: two grouping variables of different labels have the name {name!r}; give name="
        )
    return name


def _coded(groups: Any, n: int, where: str) -> tuple[NDArray[Any], tuple[Any, ...]]:
    """Return labels as codes, and their sorted levels; a categorical's in its own order."""
    if isinstance(groups, str):
        raise ValueError(
            f"{where}={groups!r}: the name of a column needs a formula; give the labels of the rows"
        )
    found = groups if isinstance(groups, (pd.Series, pd.Categorical, pd.Index)) else labels(groups)
    if np.shape(found) != (n,):
        raise ValueError(
            f"{where}: shape {np.shape(found)}, but there are {n} rows; give one label a row"
        )
    codes, levels = pd.factorize(found, sort=True)
    return codes, tuple(pd.Index(levels).tolist())


def _same_labels(term: TermRows, codes: NDArray[Any], levels: tuple[Any, ...]) -> bool:
    return term.levels == levels and np.array_equal(term.codes, codes)


def _columns(exog: Any, n: int, where: str) -> tuple[Array, list[str]]:
    """Return what varies between groups, and the names of its columns; a constant by default."""
    if exog is None:
        return np.ones((n, 1)), ["Intercept"]
    values = design(exog, n, where)
    names = column_names(exog, values)
    check_distinct(names, where)
    return values, names


def _text(term: RandomTerm, name: str, columns: Sequence[str]) -> str:
    """Return a term of arrays as it would be written in a formula."""
    constants = ("Intercept", "const")
    words = ["1" if column in constants else column for column in columns]
    left = " + ".join(words if "1" in words else ["0", *words])
    return WrittenTerm(term.part, left, (name,), term.correlated, term.label).text


def as_arrays(terms: Iterable[TermRows]) -> dict[str, Array]:
    """Return floats with NaN for what is missing in terms, by the names of the arguments."""
    arrays: dict[str, Array] = {}
    for i, term in enumerate(terms):
        arrays[f"random[{i}].groups"] = np.where(term.codes < 0, np.nan, term.codes)
        arrays[f"random[{i}].exog"] = term.values
    return arrays


def grouping_factors(terms: Sequence[TermRows]) -> tuple[GroupingFactor, ...]:
    """
    Return one factor for each grouping variable, with the columns of all of its terms.

    Parameters
    ----------
    terms : sequence of TermRows
        On the rows of a fit.

    Raises
    ------
    ValueError
        If a factor has a column twice, or a label joins nothing.
    """
    names = dict.fromkeys(term.name for term in terms)
    of = {name: by_part([term for term in terms if term.name == name]) for name in names}
    _check_labels(of)
    return tuple(_factor(own) for own in of.values())


def by_part(terms: Iterable[TermRows]) -> list[TermRows]:
    """Return terms with those of the mean first."""
    return sorted(terms, key=lambda term: PARTS.index(term.part))


def _factor(terms: list[TermRows]) -> GroupingFactor:
    first = terms[0]
    columns = [(term.part, column) for term in terms for column in term.columns]
    _check_columns(terms, columns)
    whole = GroupingFactor(
        first.name,
        first.levels,
        first.codes,
        np.column_stack([term.values for term in terms]),
        tuple(column for _, column in columns),
        tuple(part for part, _ in columns),
        _blocks(terms),
    )
    return whole.take(slice(None))


def _blocks(terms: Iterable[TermRows]) -> tuple[tuple[int, ...], ...]:
    """Return the positions of the columns that share a covariance matrix."""
    blocks: dict[Any, list[int]] = {}
    position = 0
    for i, term in enumerate(terms):
        for j in range(len(term.columns)):
            key = (i, None if term.correlated else j) if term.label is None else term.label
            blocks.setdefault(key, []).append(position)
            position += 1
    return tuple(map(tuple, blocks.values()))


def _check_columns(terms: Iterable[TermRows], columns: list[tuple[str, str]]) -> None:
    for part, column in columns:
        if columns.count((part, column)) > 1:
            texts = [t.text for t in terms if t.part == part and column in t.columns]
            raise ValueError(
                f"random terms of the {part}: {column!r} is in {' and '.join(texts)}; write it in one "
                "of them, and '0 +' on the left of the others, such as (1 | g) + (0 + x | g)"
            )


def _check_labels(of: dict[str, list[TermRows]]) -> None:
    """Raise a ValueError for a label of several factors that is alone in one of them."""
    all_labels = {term.label for terms in of.values() for term in terms} - {None}
    for label in sorted(filter(None, all_labels)):
        found = {name: [t for t in terms if t.label == label] for name, terms in of.items()}
        found = {name: terms for name, terms in found.items() if terms}
        alone = [terms[0].text for terms in found.values() if len(terms) == 1]
        if len(found) > 1 and alone:
            raise ValueError(
                f"{alone[0]}: the label {label!r} joins terms of one grouping variable, but is used "
                f"with {listed(list(found))}; leave it out, or use one label for each"
            )
