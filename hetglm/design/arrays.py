"""Row arrays and designs given as arrays: shapes, alignment, trials; messages name the argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hetglm.exceptions import AmbiguousResponseWarning, MissingValueError
from hetglm.typing import Array
from hetglm.utils.checks import numeric
from hetglm.utils.messages import RowNames, require, warn

#: Largest distance of proportion x trials from a whole number, relative to the trials.
TOL_WHOLE = 1e-7


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
        raise ValueError(f"{name}: no columns; a constant is a column of ones, 1 in a formula")
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
    # a probe of the first rows excludes most columns
    constant = (j for j in range(k if len(array) else 0) if np.ptp(array[:50, j]) == 0)
    first = next((j for j in constant if np.ptp(array[:, j]) == 0), -1)
    others = iter(range(1, k + 1))
    return ["const" if j == first else f"x{next(others)}" for j in range(k)]


def response_name(endog: Any) -> str:
    """Return the name of the response: a pandas object's own, else as statsmodels names it."""
    if isinstance(endog, pd.DataFrame):
        return " + ".join(str(c) for c in endog.columns)
    name = getattr(endog, "name", None)
    return "y" if name is None else str(name)


def total_offset(offset: Array | None, exposure: Array | None) -> Array | None:
    """Return offset + log(exposure), None if neither is given."""
    if exposure is None:
        return offset
    return np.log(exposure) + (0.0 if offset is None else offset)


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


def check_bounded(
    arrays: dict[str, Array | None], columns: dict[str, list[str]], names: RowNames
) -> None:
    """
    Raise a MissingValueError that names the first argument of new rows with an infinite value.

    Parameters
    ----------
    arrays : dict
        Argument -> array; NaN stands for a row without a prediction.
    columns : dict
        Argument -> names of the columns of designs.
    names : RowNames
        Of the rows.
    """
    for name, array in arrays.items():
        if array is None or not np.isinf(array).any():
            continue
        bad: Array = np.isinf(array)
        if array.ndim == 2:
            column = columns[name][int(np.argmax(bad.any(axis=0)))]
            name, bad = f"{name}, column {column!r}", np.asarray(bad.any(axis=1))
        raise MissingValueError(f"{name}: infinite value in {names.text(bad)} of the new data")


def present(arrays: dict[str, Array | None], n: int) -> Array:
    """Return which of n rows have no missing value in any array."""
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
    off = np.abs(endog * n_trials - successes) > TOL_WHOLE * np.maximum(n_trials, 1)
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
