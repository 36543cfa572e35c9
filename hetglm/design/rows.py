"""Rows passed and rows fitted: which rows are left out, and arguments given for either set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hetglm.design import syntax
from hetglm.design.arrays import (
    check_aligned,
    check_finite,
    check_index,
    design,
    index_of,
    labels,
    present,
    row_array,
)
from hetglm.design.random_terms import RandomTerm, TermRows, as_arrays, read_terms
from hetglm.exceptions import DroppedRowsWarning, MissingValueError
from hetglm.typing import Array
from hetglm.utils.checks import numeric
from hetglm.utils.messages import RowNames, warn

#: Row arguments that may be a single number; a constant weight would have no effect.
SCALARS = ("offset", "exposure", "offset_dispersion", "n_trials")


@dataclass(frozen=True)
class ModelArrays:
    """
    Arrays of a model on the rows to be fitted.

    Attributes
    ----------
    arrays : dict
        Argument -> floats, None where it was not given.
    random : list of TermRows
        Random terms.
    names : RowNames
        Of the rows.
    kept : ndarray of int
        Positions of the rows among those that were passed.
    n_passed : int
    n_missing : int
        Number of rows left out because they miss a value.
    n_weightless : int
        Number of rows left out because they carry no weight.
    """

    arrays: dict[str, Any]
    random: list[TermRows]
    names: RowNames
    kept: NDArray[np.intp]
    n_passed: int
    n_missing: int
    n_weightless: int


def read_arrays(
    endog: Any,
    exog: Any,
    exog_dispersion: Any,
    given: dict[str, Any],
    missing: str,
    names: RowNames | None = None,
    random: Sequence[RandomTerm] = (),
) -> ModelArrays:
    """
    Return every array of a model as floats on the rows to be fitted.

    Parameters
    ----------
    endog : array_like, shape (n,) or (n, 2)
    exog : array_like, shape (n, p)
    exog_dispersion : array_like, shape (n, q), or None
        A constant by default.
    given : dict
        Row arrays by the names of their arguments, None where one was not given.
    missing : {"none", "drop", "raise"}
        What to do with rows that miss a value.
    names : RowNames, optional
        Of the rows, where these are not all rows of the data.
    random : sequence of RandomTerm

    Raises
    ------
    MissingValueError
        If a row that is not left out has a missing or infinite value.
    ValueError
        If an array is of another shape, index or type, or no row is left.
    """
    y = _response(endog)
    n = len(y)
    if exog is None:
        raise ValueError("exog: give the design of the mean, such as a column of ones")
    sources = {"endog": endog, "exog": exog, "exog_dispersion": exog_dispersion}
    for i, term in enumerate(random):
        sources |= {f"random[{i}].groups": term.groups, f"random[{i}].exog": term.exog}
    check_aligned(sources | given)
    Z = np.ones((n, 1)) if exog_dispersion is None else exog_dispersion
    arrays: dict[str, Any] = {
        "endog": y,
        "exog": design(exog, n, "exog"),
        "exog_dispersion": design(Z, n, "exog_dispersion", empty=True),
    }
    arrays |= {name: row_array(value, n, name, name in SCALARS) for name, value in given.items()}
    terms = read_terms(random, n)
    arrays |= as_arrays(terms)
    names = names or RowNames(np.arange(n), index_of(sources | given))
    complete = _complete(arrays, n, missing, names)
    keep = complete & _informative(arrays, complete, names)
    if not keep.any():
        raise ValueError("no rows left to fit: every row misses a value or has zero weight")
    if not keep.all():
        arrays = {name: None if a is None else a[keep] for name, a in arrays.items()}
        terms = [term.take(keep) for term in terms]
    names = names.take(keep)
    check_finite(arrays, sources, names)
    n_missing, n_weightless = int((~complete).sum()), int((complete & ~keep).sum())
    return ModelArrays(arrays, terms, names, np.flatnonzero(keep), n, n_missing, n_weightless)


def _response(endog: Any) -> Array:
    """Return the response as floats, shape (n,) or (n, 2)."""
    y = numeric(endog, "endog")
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim == 0:
        raise ValueError("endog: one number; give the response of each row")
    if len(y) == 0:
        raise ValueError("endog: no rows to fit, the data are empty")
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != 2):
        raise ValueError(f"endog: shape {y.shape}; give one column, or successes and failures")
    return y


def _complete(arrays: dict[str, Any], n: int, missing: str, names: RowNames) -> Array:
    """Return which rows are kept, having no missing value."""
    keep = present(arrays, n)
    if missing == "raise" and not keep.all():
        where = names.text(~keep)
        raise MissingValueError(f"missing values in {where}; missing='drop' leaves such rows out")
    return np.ones(n, dtype=bool) if missing == "none" else keep


def _informative(arrays: dict[str, Any], keep: Array, names: RowNames) -> Array:
    """Return which rows have trials and frequency; warn of kept rows without."""
    endog, trials, freq = (arrays[name] for name in ("endog", "n_trials", "freq_weights"))
    trials = np.abs(endog).sum(axis=1) if endog.ndim == 2 else trials
    none = {"n_trials": trials, "freq_weights": freq}
    empty = {name: keep & (a == 0) for name, a in none.items() if a is not None}
    texts = [
        f"{rows.sum()} {'row was' if rows.sum() == 1 else 'rows were'} dropped because {name} is 0: "
        f"{names.listed(rows)}"
        for name, rows in empty.items()
        if rows.any()
    ]
    if texts:
        warn("; ".join(texts), DroppedRowsWarning)
    return ~np.any([*empty.values(), ~keep], axis=0)


@dataclass(frozen=True)
class FittedRows:
    """
    The rows of a fit among those that were passed: puts what is given for either on the former.

    Attributes
    ----------
    names : RowNames
        Of the rows of the fit.
    kept : ndarray of int, shape (n,)
        Their positions among the rows that were passed.
    n : int
        Number of rows of the fit.
    n_passed : int
    index : pandas.Index or None
        Labels of the rows of the fit.
    frame : DataFrame or None
        Data of a formula fit, on the rows of the fit.
    """

    names: RowNames
    kept: Any
    n: int
    n_passed: int
    index: pd.Index | None
    frame: pd.DataFrame | None

    def check_aligned(self, value: Any, name: str) -> None:
        """Raise a ValueError if a Series or DataFrame has another index than the rows of the fit."""
        if isinstance(value, (pd.Series, pd.DataFrame)):
            whole = len(value) == self.n_passed and len(value) != self.n
            check_index(value.iloc[self.kept] if whole else value, self.index, name)

    def take(self, value: Any, name: str) -> Any:
        """Return an argument given for the rows fitted, or for all rows passed, on the rows fitted."""
        self.check_aligned(value, name)
        if not isinstance(value, (pd.Series, pd.DataFrame, np.ndarray, str)):
            value = numeric(value, name)
        if np.ndim(value) == 0 or len(value) == self.n or len(value) != self.n_passed:
            return value
        return value.iloc[self.kept] if hasattr(value, "iloc") else value[self.kept]

    def cov_kwds(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return arguments of a robust covariance with ``groups`` and ``time`` as integer codes."""
        out = dict(given)
        if out.get("groups") is not None:
            out["groups"] = self.codes(out["groups"], "groups")
            # one panel has lags within it and needs no other
            if "maxlags" not in out and np.any(np.atleast_2d(out["groups"].T).max(axis=1) == 0):
                raise ValueError("groups: all rows are in one group; give at least two groups")
        if out.get("time") is not None:
            out["time"] = self.codes(out["time"], "time")
        return out

    def codes(self, value: Any, name: str) -> NDArray[Any]:
        """
        Return labels of the rows of the fit as integer codes.

        Parameters
        ----------
        value : array_like, str, or a sequence of one or two of them
            Labels, or the name of a column of the data.
        name : str
            Of the argument.

        Returns
        -------
        ndarray of int, shape (n,) or (n, 2)

        Raises
        ------
        ValueError
            For an unknown column, a wrong length, another index or a missing value.
        """
        if isinstance(value, (list, tuple)) and self._are_columns(value):
            if len(value) > 2:
                raise ValueError(f"{name}: {len(value)} kinds; give one or two")
            columns = [self.codes(v, name) for v in value]
            return columns[0] if len(columns) == 1 else np.column_stack(columns)
        found = self._labels(value, name)
        if found.ndim == 2 and found.shape[1] == 2:
            return np.column_stack([self.codes(column, name) for column in found.T])
        if found.ndim != 1 or len(found) not in (self.n, self.n_passed):
            whole = "" if self.n_passed == self.n else f" of {self.n_passed} passed"
            raise ValueError(f"{name}: shape {found.shape}, but there are {self.n} rows{whole}")
        found = found if len(found) == self.n else found[self.kept]
        if pd.isna(found).any():
            raise ValueError(f"{name}: missing value in {self.names.text(pd.isna(found))}")
        return pd.factorize(found, sort=True)[0]

    def _labels(self, value: Any, name: str) -> NDArray[Any]:
        """Return labels as they were given, or those of a column of the data."""
        if not isinstance(value, str):
            found = labels(value)
            self.check_aligned(value, name)
            return found
        if self.frame is None:
            raise ValueError(f"{name}={value!r} is not a column of the data of a formula fit")
        if value not in self.frame.columns:
            raise ValueError(syntax.not_a_column(name, value, self.frame.columns))
        return self.frame[value].to_numpy()

    def _are_columns(self, value: Sequence[Any]) -> bool:
        """Return whether these are columns, by name or as labels of the rows, and not labels."""
        rows = (self.n, self.n_passed)
        arrays = [v for v in value if not isinstance(v, str)]
        if not arrays:
            return 0 < len(value) and len(value) not in rows
        return all(np.ndim(v) == 1 and len(v) in rows for v in arrays)
