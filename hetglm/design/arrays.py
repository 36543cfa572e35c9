"""Checks of what users pass as arrays: shapes, finiteness, trials; every message names the argument."""

from __future__ import annotations

import reprlib
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from hetglm.exceptions import AmbiguousResponseWarning, MissingValueError
from hetglm.typing import Array
from hetglm.utils.messages import RowNames, listed, require, warn

#: Largest distance of K = proportion x trials from a whole number, relative to the trials.
WHOLE = 1e-7


#: What a dtype that is not numeric is, and what to give instead.
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
    """Return a NumPy array as floats, of whatever real numbers it is."""
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


def row_array(value: Any, n: int, name: str, scalar: bool = False) -> Array | None:
    """Return a float array of shape (n,), or None for None; a single number only where it may be one."""
    if value is None:
        return None
    if isinstance(value, str):
        raise ValueError(f"{name}={value!r}: the name of a column needs a formula; give the values")
    array = numeric(value, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0 and scalar:
        return np.full(n, float(array))
    if array.shape != (n,):
        one = ", or one number for all" if scalar else ""
        raise ValueError(
            f"{name}: shape {array.shape}, but there are {n} rows; give one value a row{one}"
        )
    return array


def labels(value: Any) -> Array:
    """Return the labels of rows, None where one is masked; a single column is one of labels."""
    # numbers and words in one list stay what they are
    array = np.asarray(value, dtype=object if isinstance(value, (list, tuple)) else None)
    if isinstance(value, np.ma.MaskedArray):
        array = array.astype(object)
        array[np.ma.getmaskarray(value)] = None
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def design(value: Any, n: int, name: str, empty: bool = False) -> Array:
    """Return a float array of shape (n, k), k > 0 unless it may be empty."""
    array = numeric(value, name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or len(array) != n:
        raise ValueError(f"{name}: shape {array.shape}, but endog has {n} rows")
    if array.shape[1] == 0 and not empty:
        raise ValueError(f"{name}: no columns; a constant is a column of ones")
    return array


def index_of(sources: dict[str, Any]) -> pd.Index | None:
    """Return the index of the first pandas argument, None without one."""
    labelled = (v.index for v in sources.values() if isinstance(v, (pd.Series, pd.DataFrame)))
    return next(labelled, None)


def check_aligned(sources: dict[str, Any]) -> None:
    """Raise a ValueError that names the first pandas argument whose index is not the others'."""
    labelled = {k: v.index for k, v in sources.items() if isinstance(v, (pd.Series, pd.DataFrame))}
    for name, index in labelled.items():
        first = next(iter(labelled))
        if len(index) == len(labelled[first]) and not index.equals(labelled[first]):
            raise ValueError(
                f"{name}: its index differs from that of {first}; align them (reindex), or pass "
                "to_numpy() if the rows are in the same order"
            )


def check_index(value: Any, index: pd.Index | None, name: str) -> None:
    """Raise a ValueError if a pandas argument with a value for each row has another index than these."""
    if index is None or not isinstance(value, (pd.Series, pd.DataFrame)):
        return
    if len(value) == len(index) and not value.index.equals(index):
        raise ValueError(
            f"{name}: its index differs from that of the data; align it (reindex), or pass "
            "to_numpy() if the rows are in the same order"
        )


def column_names(value: Any, array: Array) -> list[str]:
    """Return the names of the columns: a pandas object's own, else as statsmodels names them."""
    if isinstance(value, pd.DataFrame):
        return [str(c) for c in value.columns]
    if isinstance(value, pd.Series):
        return ["x1" if value.name is None else str(value.name)]
    k = array.shape[1]
    # a glance rules out most columns
    constant = (j for j in range(k if len(array) else 0) if np.ptp(array[:50, j]) == 0)
    first = next((j for j in constant if np.ptp(array[:, j]) == 0), -1)
    others = iter(range(1, k + 1))
    return ["const" if j == first else f"x{next(others)}" for j in range(k)]


def check_distinct(names: list[str], name: str) -> None:
    """Raise a ValueError that names the first column whose name another one has too."""
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise ValueError(
            f"{name}: {names.count(twice)} columns have the name {twice!r}; rename them"
        )


def check_finite(arrays: dict[str, Array | None], sources: dict[str, Any], names: RowNames) -> None:
    """
    Raise a MissingValueError that names the first argument with a missing or infinite value.

    Parameters
    ----------
    arrays : dict
        Argument -> array.
    sources : dict
        Argument -> what was passed, for the names of columns.
    names : RowNames
        Of the rows.
    """
    for name, array in arrays.items():
        if array is None or np.isfinite(array).all():
            continue
        bad: Array = ~np.isfinite(array)
        if array.ndim == 2:
            column = column_names(sources[name], array)[int(np.argmax(bad.any(axis=0)))]
            name, bad = f"{name}, column {column!r}", np.asarray(bad.any(axis=1))
        kind = "missing" if np.isnan(array).any() else "infinite"
        hint = "; use missing='drop' to leave such rows out" if kind == "missing" else ""
        raise MissingValueError(f"{name}: {kind} value in {names.text(bad)}{hint}")


def present(arrays: dict[str, Array | None], n: int) -> Array:
    """Return which of n rows miss no value in any array."""
    keep = np.ones(n, dtype=bool)
    for array in arrays.values():
        if array is not None:
            keep &= ~np.isnan(array if array.ndim == 1 else array.sum(axis=1))
    return keep


def split_binomial(
    endog: Array, n_trials: Array | None, name: str, whole: bool
) -> tuple[Array, Array | None]:
    """
    Return (successes or proportion, trials) of a binomial response.

    Parameters
    ----------
    endog : ndarray, shape (n,) or (n, 2)
        Successes and failures, or counts or proportions.
    n_trials : ndarray, shape (n,), or None
    name : str
        Name of the response in messages.
    whole : bool
        Return whole successes (beta-binomial) rather than proportions.

    Raises
    ------
    ValueError
        If the response is neither counts nor proportions.
    """
    if endog.ndim == 2 and endog.shape[1] == 2:
        if n_trials is not None:
            raise ValueError(
                f"{name} has two columns (successes, failures): they give the trials; leave n_trials out"
            )
        require(np.any(endog < 0, axis=1), name, "successes and failures must not be negative")
        fractional = np.any(endog != np.round(endog), axis=1)
        require(whole & fractional, name, "successes and failures must be whole numbers")
        trials = endog.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return (endog[:, 0], trials) if whole else (endog[:, 0] / trials, trials)
    if n_trials is None:
        return endog, None
    require(~(n_trials >= 0), "n_trials", "trials must not be negative")
    if _are_counts(endog, n_trials, name):
        require(endog > n_trials, name, "more successes than trials")
        with np.errstate(invalid="ignore"):
            return (endog, n_trials) if whole else (endog / n_trials, n_trials)
    if not whole:
        return endog, n_trials
    successes = np.round(endog * n_trials)
    off = np.abs(endog * n_trials - successes) > WHOLE * np.maximum(n_trials, 1)
    require(
        off,
        name,
        "proportion x n_trials is not a whole number of successes; give the counts themselves",
    )
    return successes, n_trials


def _are_counts(endog: Array, n_trials: Array, name: str) -> bool:
    """Return True for counts, False for proportions; warn where 0 and 1 may be either."""
    require(endog < 0, name, "a binomial response must not be negative")
    whole = np.all(endog == np.round(endog))
    if whole and np.any(endog > 1):
        return True
    if not whole:
        require(
            endog > 1,
            name,
            "some values are fractions and these are above 1, so it is neither counts nor proportions",
        )
        return False
    if np.any(
        n_trials[endog > 0] > 1
    ):  # all zero, or one success of one trial: the same either way
        warn(
            f"{name}: all values are 0 or 1 while n_trials is larger; they are taken as numbers of "
            "successes. Of proportions give proportion * n_trials, and of counts two columns, "
            "'K + I(N - K) ~ ...' or endog = [successes, failures], without this warning",
            AmbiguousResponseWarning,
        )
    return True


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
    """Raise a ValueError for settings of a bootstrap out of range, whether or not it will be needed."""
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
