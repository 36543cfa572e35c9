"""Data frames as formulas read them: one gate for the rows of a fit and for new rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from hetglm.exceptions import FormulaError, UnseenLevelWarning
from hetglm.utils.messages import RowNames, listed, quoted, warn

#: pandas' names of the inferred types of object columns with numbers, missing values aside.
NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal")


@dataclass(frozen=True)
class Column:
    """
    What a variable was at the fit.

    Attributes
    ----------
    is_number : bool
        Whether it had numbers.
    declared : tuple, optional
        Categories of a categorical column, or levels written in the formula.
    used : tuple
        Those of them that a row of the fit had.
    ordered : bool
        Whether the categories were ordered.
    """

    is_number: bool
    declared: tuple[Any, ...] | None = None
    used: tuple[Any, ...] = ()
    ordered: bool = False


def as_frame(data: Any) -> pd.DataFrame:
    """
    Return data as a DataFrame: pandas, pyarrow or polars tables and mappings; scalars are one row.

    Raises
    ------
    ValueError
        If pandas makes no frame of it.
    """
    if isinstance(data, pd.DataFrame):
        return data
    if hasattr(data, "to_pandas"):
        data = data.to_pandas()
    if data is None:
        raise ValueError("data is None; give a DataFrame or a mapping of columns")
    if isinstance(data, Mapping) and data and all(map(types.is_scalar, data.values())):
        data = [dict(data)]
    try:
        return pd.DataFrame(data)
    except Exception as exc:
        order = "; the order is formula, data, exog_dispersion_formula"
        what = f"data: cannot make a DataFrame of {type(data).__name__}: {exc}"
        raise ValueError(f"{what}{order if isinstance(data, str) else ''}") from exc


def new_rows(data: Any, variables: Collection[str]) -> pd.DataFrame:
    """
    Return new data as a DataFrame; a Series is one row, as is a mapping of scalars.

    Parameters
    ----------
    data : DataFrame, or anything pandas makes one of
        A Series with the name of a variable, and without one among its labels, is that column.
    variables : collection of str
        What the formula reads.

    Raises
    ------
    ValueError
        If it is no table of variables.
    """
    if isinstance(data, pd.Series):
        is_column = data.name in variables and not data.index.isin(list(variables)).any()
        return data.to_frame() if is_column else data.to_frame().T
    needed = "exog: after a formula fit give a DataFrame of its variables"
    try:
        frame = as_frame(data)
    except ValueError as exc:
        raise ValueError(f"{needed} ({exc}), or transform=False") from exc
    nameless = isinstance(frame.columns, pd.RangeIndex) and not isinstance(data, pd.DataFrame)
    if nameless and variables and len(frame.columns):
        raise ValueError(
            f"{needed} ({listed(sorted(variables))}), not {type(data).__name__} without column names; "
            "or the designs with transform=False"
        )
    return frame


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column, or raise a FormulaError where several have its name."""
    found = frame[name]
    if isinstance(found, pd.DataFrame):
        raise FormulaError(f"{found.shape[1]} columns have the name {name!r}; rename them")
    return found


def is_number(column: pd.Series) -> bool:
    """Return whether a formula reads a column as numbers, not as the levels of a factor."""
    return types.is_numeric_dtype(column) and not types.is_bool_dtype(column)


def read_columns(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return the columns that a formula reads: one named C must not hide patsy's C()."""
    names = set(names)
    read = [c for c in frame.columns.unique() if c in names]
    return pd.DataFrame({name: column(frame, name) for name in read}, index=frame.index)


def plain(frame: pd.DataFrame, as_levels: Iterable[str] = ()) -> pd.DataFrame:
    """
    Return the frame with columns of NumPy's types, None or NaN for missing, and numbers of 64 bits.

    Parameters
    ----------
    frame : DataFrame
    as_levels : iterable of str
        Columns that may mix numbers and text, as their values are levels.

    Raises
    ------
    FormulaError
        If a column mixes numbers with something else, or is complex.
    """
    exempt = set(as_levels)
    columns = {name: _plain(str(name), frame[name], name in exempt) for name in frame.columns}
    return pd.DataFrame(columns, index=frame.index)


def _plain(name: str, values: pd.Series, as_levels: bool) -> pd.Series:
    dtype = values.dtype
    if types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return _missing_as_none(values) if values.isna().any() else values.astype(bool)
    if types.is_complex_dtype(dtype):
        raise FormulaError(
            f"column {name!r} has complex numbers (dtype {dtype}); use np.real or np.abs of it"
        )
    if types.is_numeric_dtype(dtype):
        return _numbers(values)
    if types.is_object_dtype(dtype) or (
        types.is_extension_array_dtype(dtype) and not _is_kept(dtype)
    ):
        return _objects(name, values, as_levels)
    return values


def _is_kept(dtype: Any) -> bool:
    """Return whether patsy or a formula's functions know this type of pandas' own."""
    return isinstance(
        dtype, (pd.CategoricalDtype, pd.DatetimeTZDtype, pd.PeriodDtype, pd.IntervalDtype)
    )


def _numbers(values: pd.Series) -> pd.Series:
    """Return numbers as int64 where they are whole and none is missing, else as float64."""
    if values.dtype in (np.int64, np.float64):
        return values
    whole = types.is_integer_dtype(values.dtype) and not values.isna().any()
    if whole and (len(values) == 0 or int(values.max()) <= np.iinfo(np.int64).max):
        return pd.Series(values.to_numpy(dtype=np.int64), index=values.index)
    missing = values.isna()
    numbers = np.full(len(values), np.nan)
    numbers[~missing] = values[~missing].to_numpy(dtype=float)
    return pd.Series(numbers, index=values.index)


def _objects(name: str, values: pd.Series, as_levels: bool) -> pd.Series:
    """Return an object column that holds nothing but numbers as numbers, others as they are."""
    there = values.notna()
    kind = types.infer_dtype(values[there].astype(object), skipna=True)
    found = [_is_number(v) for v in values[there]] if kind.startswith("mixed") else [False]
    if kind in NUMBERS or all(found):
        numbers = pd.Series(np.full(len(values), np.nan), index=values.index)
        numbers[there] = values[there].astype(float)
        if kind == "integer" and there.all() and (numbers.abs() < 2.0**53).all():
            return numbers.astype(np.int64)
        return numbers
    if any(found) and not as_levels:
        other = next(v for v, number in zip(values[there], found, strict=True) if not number)
        raise FormulaError(
            f"column {name!r} (dtype {values.dtype}) has {other!r} among its numbers; use "
            f"pd.to_numeric(..., errors='coerce'), or write C({name}) for a factor"
        )
    return _missing_as_none(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (Real, Decimal)) and not isinstance(value, (bool, np.bool_))


def _missing_as_none(values: pd.Series) -> pd.Series:
    """Return objects with None for whatever is missing: patsy does not know pd.NA."""
    objects = values.astype(object)
    return objects.where(objects.notna(), None) if objects.isna().any() else objects


def learn(frame: pd.DataFrame, as_levels: Iterable[str]) -> tuple[pd.DataFrame, dict[str, Column]]:
    """
    Return the rows of a fit without unused levels, and what each column is.

    Parameters
    ----------
    frame : DataFrame
        From `plain`.
    as_levels : iterable of str
        Columns whose values are the levels of a factor; others keep their categories, which a
        function of the formula may count.
    """
    dropped, known = {}, {}
    for name in frame.columns:
        values = frame[name]
        if not isinstance(values.dtype, pd.CategoricalDtype):
            known[name] = Column(is_number(values))
            continue
        used = values.cat.remove_unused_categories()
        known[name] = Column(
            False, tuple(values.cat.categories), tuple(used.cat.categories), values.cat.ordered
        )
        if name in as_levels:
            dropped[name] = used
    return frame.assign(**dropped), known


def declare(
    known: dict[str, Column], frame: pd.DataFrame, written: Mapping[str, tuple[Any, ...]]
) -> dict[str, Column]:
    """Return what columns are whose levels the formula writes."""
    used = {name: set(frame[name].dropna().unique()) for name in written}
    return {
        name: replace(
            known[name], declared=levels, used=tuple(v for v in levels if v in used[name])
        )
        for name, levels in written.items()
    }


def conform(
    frame: pd.DataFrame,
    known: Mapping[str, Column],
    as_levels: Iterable[str],
    said: set[str] | None = None,
) -> pd.DataFrame:
    """
    Return new rows with each column of the type it had at the fit.

    A level that was declared at the fit and that no row had is missing, with an UnseenLevelWarning.

    Parameters
    ----------
    frame : DataFrame
        The columns that the formula reads.
    known : dict
        From `learn`.
    as_levels : iterable of str
        As in `learn`.
    said : set of str, optional
        Variables that a warning has named; those that one names here join them.

    Raises
    ------
    FormulaError
        If a column has text where the fit had numbers.
    """
    conformed, said = {}, set() if said is None else said
    for name in frame.columns:
        values = frame[name]
        column = known.get(name, Column(False))
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype(object)
        if column.is_number:
            values = _as_numbers(str(name), values)
            conformed[name] = (
                _seen(str(name), values, column, said) if name in as_levels else values
            )
        elif column.declared is None:
            conformed[name] = _plain(str(name), values, True)
        elif name in as_levels:
            conformed[name] = _seen(str(name), _plain(str(name), values, True), column, said)
        else:
            conformed[name] = _as_categories(str(name), values, column)
    return pd.DataFrame(conformed, index=frame.index)


def _as_numbers(name: str, values: pd.Series) -> pd.Series:
    if values.isna().all():
        return pd.Series(np.full(len(values), np.nan), index=values.index)
    found = _plain(name, values, True)
    if types.is_bool_dtype(found):
        return found.astype(np.int64)
    if not types.is_numeric_dtype(found):
        first = next(v for v in values[values.notna()] if not _is_number(v))
        how = "convert it with pd.to_numeric" if isinstance(first, str) else "give such numbers"
        raise FormulaError(
            f"new data: column {name!r} is not numeric (dtype {values.dtype}, such as {first!r}), but "
            f"the fit had numbers; {how}"
        )
    return found


def _seen(name: str, values: pd.Series, column: Column, said: set[str]) -> pd.Series:
    """Return levels, with None for levels without a row in the fit."""
    unused = [level for level in column.declared or () if level not in column.used]
    unseen = values.isin(unused) & values.notna()
    if not unseen.any():
        return values
    if name not in said:
        said.add(name)
        levels = listed([quoted(level) for level in values[unseen].unique()])
        rows = RowNames(np.arange(len(values)), values.index).text(unseen)
        warn(
            f"new data: no row of the fit had {levels} of {name!r}, so nothing is estimated for "
            f"{rows}: NaN",
            UnseenLevelWarning,
        )
    return values.astype(object).where(~unseen, None)


def _as_categories(name: str, values: pd.Series, column: Column) -> pd.Series:
    declared = list(column.declared or ())
    strange = ~values.isin(declared) & values.notna()
    if strange.any():
        rows = RowNames(np.arange(len(values)), values.index)
        raise FormulaError(unknown_level(f"in {name!r}", values, strange, declared, rows))
    categories = pd.Categorical(values, categories=declared, ordered=column.ordered)
    return pd.Series(categories, index=values.index)


def unknown_level(
    where: str, values: pd.Series, strange: pd.Series, levels: Iterable[Any], names: RowNames
) -> str:
    """Return the message for the first level of new data that is not in the fit."""
    level = values[strange].iloc[0]
    rows = names.text(values.isin([level]).to_numpy())
    return (
        f"new data: {where}: the level {quoted(level)} is not one of the fit, which had "
        f"{listed([quoted(known) for known in levels], 12)}; see {rows}"
    )


def describe(
    frame: pd.DataFrame, names: Iterable[str], dtypes: Mapping[str, Any] | None = None
) -> str:
    """Return '; column 'x' has text (dtype str), such as 'a'' for those read that have text."""
    found = []
    for name in names:
        values = frame[name] if name in frame.columns else None
        if values is not None and len(values) and isinstance(values.iloc[0], str):
            dtype = (dtypes or {}).get(name, values.dtype)
            found.append(f"; column {name!r} has text (dtype {dtype}), such as {values.iloc[0]!r}")
    return "".join(found)
