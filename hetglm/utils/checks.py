"""Checks of single arguments: numbers, counts, shares, generators; every message names the argument."""

from __future__ import annotations

import reprlib
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from hetglm.typing import Array
from hetglm.utils.messages import listed

#: Kind of a non-numeric dtype -> its name, and what to give instead.
_INSTEAD = {
    "M": "dates; give numbers, such as the days since the first",
    "m": "durations; give numbers, such as .dt.total_seconds()",
    "c": "complex numbers; give real ones",
    "U": "text; pd.to_numeric(...) makes numbers of it, a formula makes it a factor",
    "S": "text; pd.to_numeric(...) makes numbers of it, a formula makes it a factor",
}


def numeric(value: Any, name: str) -> Array:
    """
    Return a float array with its columns together; what is masked, None or NA is NaN.

    Parameters
    ----------
    value : array_like
        Real numbers of any type (unsigned and nullable ones, Decimal, bool).
    name : str
        Name of the argument, for the message.

    Raises
    ------
    ValueError
        If it has anything else, such as text, dates, levels or complex numbers.
    """
    if isinstance(value, pd.DataFrame):
        return _frame(value, name)
    if isinstance(value, (pd.Series, pd.Index)):
        return _column(value, name)
    if isinstance(value, (list, tuple)) and any(isinstance(v, np.ma.MaskedArray) for v in value):
        value = [numeric(v, name) for v in value]
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{name}: not numeric ({exc})") from exc
    out = _floats(array, name)
    if isinstance(value, np.ma.MaskedArray):
        out[np.ma.getmaskarray(value)] = np.nan
    return out


def _frame(frame: pd.DataFrame, name: str) -> Array:
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in frame.dtypes):
        return np.array(frame, dtype=float, order="F")
    columns = (frame.iloc[:, j] for j in range(frame.shape[1]))
    return np.column_stack([_column(c, f"{name}, column {c.name!r}") for c in columns])


def _column(column: pd.Series | pd.Index, name: str) -> Array:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return _floats(column.to_numpy(), name)
    if pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype):
        return np.array(column.to_numpy(dtype=float, na_value=np.nan))
    if isinstance(dtype, pd.CategoricalDtype):
        instead = "levels; name it in a formula, or give the columns of pd.get_dummies(...)"
        raise ValueError(f"{name}: not numeric (dtype {dtype}): {instead}")
    kind = "U" if pd.api.types.is_string_dtype(dtype) else dtype.kind
    raise ValueError(f"{name}: not numeric (dtype {dtype}): {_INSTEAD.get(kind, 'give numbers')}")


def _floats(array: Array, name: str) -> Array:
    """Return a NumPy array of real numbers as floats."""
    kind = array.dtype.kind
    if kind in "biuf":
        return np.array(array, dtype=float, order="F")
    if kind != "O":
        raise ValueError(
            f"{name}: not numeric (dtype {array.dtype}): {_INSTEAD.get(kind, 'give numbers')}"
        )
    if array.ndim == 2:
        columns = [_floats(a, f"{name}, column {j} (from 0)") for j, a in enumerate(array.T)]
        return np.asfortranarray(np.stack(columns, axis=1)) if columns else np.empty(array.shape)
    if array.ndim == 0 and not (_is_real(item := array.item()) or pd.isna(item) is True):
        dense = (
            "; its .toarray() is" if hasattr(item, "toarray") else "; give an array, list or Series"
        )
        raise ValueError(f"{name}: not numeric, of type {type(item).__name__}{dense}")
    out = np.full(array.shape, np.nan)
    known = ~pd.isna(array)
    wrong = next((item for item in array[known] if not _is_real(item)), None)
    if wrong is not None:
        raise ValueError(
            f"{name}: not numeric (dtype object): {reprlib.repr(wrong)} is of type "
            f"{type(wrong).__name__}; give numbers, and None or NaN where one is missing"
        )
    try:
        out[known] = array[known].astype(float)
    except OverflowError as exc:
        raise ValueError(f"{name}: a number is beyond what floats hold ({exc})") from exc
    return out


def _is_real(item: Any) -> bool:
    """Return whether an object is a real number."""
    return isinstance(item, (Number, np.bool_)) and not isinstance(item, (complex, np.timedelta64))


def generator(rng: Any) -> np.random.Generator:
    """
    Return a random generator.

    Parameters
    ----------
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        None for fresh entropy; the global generator is never touched.
    """
    allowed = (int, np.integer, np.random.SeedSequence, np.random.Generator)
    if rng is not None and (isinstance(rng, bool) or not isinstance(rng, allowed)):
        raise ValueError(f"rng: give None, an int or a numpy Generator, not {type(rng).__name__}")
    if isinstance(rng, (int, np.integer)) and rng < 0:
        raise ValueError(f"rng={rng}: must not be negative")
    return np.random.default_rng(rng)


def draws(nrep: Any, rng: Any, sequential: Any = None) -> None:
    """Raise a ValueError for bootstrap settings out of range, even if no bootstrap is needed."""
    count(nrep, "nrep")
    generator(rng)
    if sequential is not None:
        count(sequential, "sequential")


def count(value: Any, name: str) -> int:
    """Return a whole number of at least 1."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name}={value!r}: must be a whole number of at least 1")
    return int(value)


def share(value: Any, name: str) -> float:
    """Return a number strictly between 0 and 1."""
    if not isinstance(value, (float, np.floating)) or not 0 < value < 1:
        raise ValueError(f"{name}={value!r}: must be a number between 0 and 1")
    return float(value)


def finite_values(value: Any, name: str) -> Array:
    """Return a float array of one dimension without missing or infinite values."""
    array = np.atleast_1d(numeric(value, name))
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{name}: give finite numbers, in one dimension")
    return array


def flag(value: Any, name: str) -> bool:
    """
    Return True or False.

    Raises
    ------
    ValueError
        For anything else: the text "no" would count as true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: give True or False")
    return bool(value)


def levels(column: pd.Series, name: str) -> list[Any]:
    """Return the distinct values of a column: categories in their order, others sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        seen = set(column)
        return [level for level in column.cat.categories if level in seen]
    try:
        return sorted(column.unique())
    except TypeError as exc:
        raise ValueError(
            f"{name}: labels of several types cannot be sorted; convert them to strings"
        ) from exc


def positions(cols: Any, names: list[str], argument: str = "cols") -> list[int]:
    """Return the positions of coefficients given by position or name, or by a mask; None for all."""
    k = len(names)
    if cols is None:
        return list(range(k))
    given = [cols] if isinstance(cols, str) else np.atleast_1d(np.asarray(cols, object)).tolist()
    if len(given) == k and all(isinstance(c, (bool, np.bool_)) for c in given):
        return [j for j in range(k) if given[j]]
    whole = (int, np.integer)
    out = [names.index(c) if isinstance(c, str) and c in names else c for c in given]
    for c in out:
        if not isinstance(c, whole) or isinstance(c, bool) or not -k <= c < k:
            raise ValueError(
                f"{argument}: {c!r} is no coefficient; give positions from 0 to {k - 1}, or names, "
                f"some of {listed(names)}"
            )
    return [range(k)[int(c)] for c in out]
