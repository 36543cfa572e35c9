"""New rows: their designs and row arrays, validated against the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design import frames
from hetglm.design.arrays import (
    check_aligned,
    check_bounded,
    index_of,
    row_array,
    total_offset,
)
from hetglm.design.formula import TwoPartFormula
from hetglm.estimation.record import at_fit, need_rows
from hetglm.exceptions import FormulaError, NotEstimableWarning
from hetglm.families.base import Family
from hetglm.likelihood import estimability
from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction.quantities import QUANTITIES, lookup
from hetglm.typing import Array
from hetglm.utils.checks import numeric
from hetglm.utils.messages import RowNames, naming, require, warn

#: Arguments with a value for each row that new rows need where the fit has them, by part.
ROW_ARGUMENTS = {
    "mean": ("offset", "exposure"),
    "dispersion": ("offset_dispersion",),
    "rows": ("n_trials", "var_weights"),
}


def rows_of(
    model: Any,
    core: Likelihood,
    which: str,
    exog: Any = None,
    exog_dispersion: Any = None,
    **given: Any,
) -> Likelihood:
    """
    Return the rows to predict: the rows of the fit, or new ones.

    Parameters
    ----------
    model : LocationScaleModel
    core : Likelihood
        Of the rows of the fit.
    which : str
    exog, exog_dispersion : array_like, optional
        New designs, in the columns of the fit.
    **given
        ``offset``, ``exposure``, ``offset_dispersion``, ``n_trials``, ``var_weights``.

    Raises
    ------
    ValueError
        If a design or row argument that the prediction needs is missing for new rows: nothing is
        broadcast or taken from the rows of the fit.
    """
    needs = lookup(which, core.family).parts
    known = {name for names in ROW_ARGUMENTS.values() for name in names}
    if set(given) - known:
        raise TypeError(f"predict: unknown argument {sorted(set(given) - known)[0]!r}")
    given = {name: value for name, value in given.items() if value is not None}
    _refuse(model, given)
    exog = one_row(exog, core.X, "exog")
    exog_dispersion = one_row(exog_dispersion, core.Z, "exog_dispersion")
    designs = {"exog": exog, "exog_dispersion": exog_dispersion}
    check_aligned({**designs, **given})
    if exog is None and exog_dispersion is None:
        given = {name: model.rows_of_fit(value, name) for name, value in given.items()}
        return _fitted_rows(model, core, given)
    n = len(exog if exog is not None else exog_dispersion)
    X = _new_design(model, exog, n, "exog", core.X, "mean" in needs)
    if exog_dispersion is None and model.default_exog_dispersion:
        exog_dispersion = np.ones((n, 1))
    Z = _new_design(model, exog_dispersion, n, "exog_dispersion", core.Z, "dispersion" in needs)
    for part in needs:
        for name in ROW_ARGUMENTS[part]:
            if getattr(model, name) is not None and name not in given:
                raise ValueError(
                    f"{name}: the fit has it, so which={which!r} needs it for new rows; pass "
                    f"{name}=..., or include its column in the new data"
                )
    names = RowNames(np.arange(n), index_of(designs))
    arrays = _row_arrays(given, names)
    needed = {"mean": {"exog": X}, "dispersion": {"exog_dispersion": Z}}
    for part in needs:
        brought = {name: arrays.get(name) for name in ROW_ARGUMENTS[part]}
        check_bounded({**needed.get(part, {}), **brought}, model.column_names, names)
    return core_at(model, X, Z, arrays, names)


def rows_of_results(
    res: Any,
    which: str,
    exog: Any,
    exog_dispersion: Any,
    transform: bool,
    given: dict[str, Any],
    unwarned: tuple[str, ...] = (),
) -> tuple[Likelihood, Any]:
    """
    Return the rows to predict from a fit, and their labels.

    Parameters
    ----------
    res : LocationScaleResults
    which : str
    exog, exog_dispersion : array_like, optional
        Data of a formula, or both designs; the rows of the fit by default.
    transform : bool
        Whether ``exog`` goes through the formula, if the fit has one.
    given : dict
        Row arrays, as in `rows_of`.
    unwarned : tuple of str
        Parts of the model that no warning is issued for.
    """
    model, data = res.model, None
    core = at_fit(model.core, res.fit)  # without random effects, which are added elsewhere
    if exog is None and exog_dispersion is None:
        return rows_of(model, core, which, **given), model.data.row_labels
    if transform and model.spec is not None:
        if exog_dispersion is not None:
            raise ValueError(
                "exog_dispersion: after a formula fit one DataFrame serves both parts; or give both "
                "designs with transform=False"
            )
        parts = lookup(which, model.core.family).parts
        data, exog, exog_dispersion = _through_formula(model.spec, exog, parts, unwarned)
        given = {**model.new_row_arrays(data, parts), **given}
    rows = rows_of(model, core, which, exog, exog_dispersion, **given)
    if res.boundary is not None:
        rows = fix_at_boundary(rows, res.boundary)
    rows = without_inestimable(model, rows, which, data, unwarned)
    return rows, rows.names.labels


def labelled(values: Array, labels: Any, y_values: Any) -> Any:
    """Return predictions as they are, or as a Series or DataFrame where the rows have labels."""
    if labels is None:
        return values
    if values.ndim == 1:
        return pd.Series(values, index=labels)
    columns = None if y_values is None else np.atleast_1d(y_values)
    return pd.DataFrame(values, index=labels, columns=columns)


def _through_formula(
    spec: TwoPartFormula, exog: Any, parts: tuple[str, ...], unwarned: tuple[str, ...]
) -> tuple[pd.DataFrame, Any, Any]:
    """Return new data and the designs a formula makes of them, NaN for a part that is not needed."""
    designs = {"mean": spec.mean, "dispersion": spec.dispersion}
    data = frames.new_rows(exog, set().union(*(d.variables for d in designs.values())))
    named = set().union(*(d.variables for part, d in designs.items() if part in unwarned))
    X, Z = (
        design.build(data, named)
        if part in parts
        else np.full((len(data), len(design.columns)), np.nan)
        for part, design in designs.items()
    )
    return data, X, Z


def arrays_from(
    spec: TwoPartFormula, family: Family, data: pd.DataFrame, parts: tuple[str, ...]
) -> dict[str, Array]:
    """
    Return the row arguments that were given as column names at the fit, read from new data.

    Parameters
    ----------
    spec : TwoPartFormula
    family : Family
    data : DataFrame
    parts : tuple of str
        Parts of the model that a quantity depends on.

    Raises
    ------
    FormulaError
        If such a column is not in the new data.
    """
    found: dict[str, Array] = {}
    for name in {name for part in parts for name in ROW_ARGUMENTS[part]}:
        column = spec.columns.get(name)
        if column is not None and column in data.columns:
            found[name] = numeric(data[column], column)
        elif column is not None and name != "n_trials":
            raise FormulaError(f"{name}: column {column!r} not found in the new data; add it")
    if family.takes_trials and "n_trials" not in found:
        trials = spec.trials(data)
        found |= {} if trials is None else {"n_trials": trials}
    return found


def one_row(value: Any, fitted: Array, name: str) -> Any:
    """Return a new design as a table; a single row in one dimension becomes a table of one row."""
    k = fitted.shape[1]
    if isinstance(value, pd.Series):
        return value.to_frame().T if k != 1 else value
    if value is None or isinstance(value, pd.DataFrame):
        return value
    array = numeric(value, name)
    if array.ndim == 0:
        raise ValueError(
            f"{name}: it is a single number; give one row of {k} numbers, or several rows"
        )
    if array.ndim == 1 and len(array) == 0:
        return np.empty((0, k))
    return array[None, :] if array.ndim == 1 and k != 1 else array


def _refuse(model: Any, given: dict[str, Any]) -> None:
    """Raise a ValueError for row arguments that the model does not take."""
    for name in given:
        if name in model.refused:
            raise ValueError(
                f"{name}: {type(model).__name__} does not take it; {model.refused[name]}"
            )
    if "n_trials" in given and not model.core.family.takes_trials:
        raise ValueError(f"n_trials: {model.family_name} has no trials; leave n_trials out")
    if "exposure" in given:
        model.check_exposure()


def _row_arrays(given: dict[str, Any], names: RowNames) -> dict[str, Any]:
    """Return row arrays; a single number is used for every row."""
    n = len(names.positions)
    arrays: dict[str, Any] = {
        name: row_array(value, n, name, True) for name, value in given.items()
    }
    with naming(names):
        for name in ("exposure", "var_weights"):
            require(arrays.get(name, np.ones(n)) <= 0, name, "must be positive")
        require(arrays.get("n_trials", np.ones(n)) < 0, "n_trials", "must not be negative")
    return arrays


def _new_design(model: Any, value: Any, n: int, name: str, fitted: Array, needed: bool) -> Array:
    if value is None:
        if needed:
            raise ValueError(f"{name}: this prediction needs it on the new rows; pass {name}=...")
        return np.full((n, fitted.shape[1]), np.nan)
    if isinstance(value, pd.DataFrame):
        _check_columns([str(column) for column in value.columns], model.column_names[name], name)
    array = numeric(value, name)
    array = array[:, None] if array.ndim == 1 else array
    if array.shape != (n, fitted.shape[1]):
        raise ValueError(
            f"{name}: shape {array.shape}, but the fit has {fitted.shape[1]} columns and there are "
            f"{n} new rows"
        )
    return array


def _check_columns(new: list[str], fitted: list[str], name: str) -> None:
    """Raise a ValueError if the columns of a new design are not in the order of the fit."""
    for column, there in zip(new, fitted, strict=False):
        if column != there and column in fitted:
            raise ValueError(
                f"{name}: column {column!r} is where the fit has {there!r}; give the columns in the "
                f"order {fitted}, or pass to_numpy() if only their names differ"
            )


def core_at(model: Any, X: Array, Z: Array, arrays: dict[str, Any], names: RowNames) -> Likelihood:
    """Return a likelihood for predictions on new rows, without response."""
    core: Likelihood = model.core
    trials, weights = arrays.get("n_trials"), arrays.get("var_weights")
    weights = model.phi_weights(trials, weights)
    if trials is None and model.single_trials:
        trials = np.ones(len(X))
    return Likelihood(
        core.family,
        core.link,
        core.link_dispersion,
        np.full(len(X), np.nan),
        X,
        Z,
        total_offset(arrays.get("offset"), arrays.get("exposure")),
        arrays.get("offset_dispersion"),
        trials,
        weights,
        None,
        rows=(),
        names=names,
    )


def _fitted_rows(model: Any, core: Likelihood, given: dict[str, Any]) -> Likelihood:
    need_rows(core)
    if not given:
        return core
    arrays = {name: getattr(model, name) for names in ROW_ARGUMENTS.values() for name in names}
    arrays |= _row_arrays(given, core.names)
    rows = core_at(model, core.X, core.Z, arrays, core.names)
    return replace(rows, fixed_predictor=core.fixed_predictor, freq=core.freq)


def fix_at_boundary(rows: Likelihood, boundary: Boundary) -> Likelihood:
    """Return new rows with phi = 0 in the fit's cells at the boundary, NaN where phi is undetermined."""
    fixed, unknown = boundary.place(rows.Z)
    Z = np.where(unknown[:, None], np.nan, rows.Z)
    return replace(rows, Z=Z, fixed_predictor=fixed)


def without_inestimable(
    model: Any,
    rows: Likelihood,
    which: str,
    data: pd.DataFrame | None = None,
    unwarned: tuple[str, ...] = (),
) -> Likelihood:
    """
    Return new rows with NaN designs where they are not estimable from the fit, and warn.

    Parameters
    ----------
    model : LocationScaleModel
    rows : Likelihood
        From `rows_of`.
    which : str
    data : DataFrame, optional
        Data that the formula was evaluated on.
    unwarned : tuple of str
        Parts of the model that no warning is issued for.
    """
    for part, space in model.row_spaces.items():
        if part not in QUANTITIES[which].parts:
            continue
        of_mean = part == "mean"
        A = rows.X if of_mean else rows.Z
        outside = space.outside(A)
        bad = outside.any(axis=1)
        if not bad.any():
            continue
        if part not in unwarned:
            design = None if data is None else getattr(model.spec, part)
            names = model.mean_names if of_mean else model.dispersion_names
            cells = estimability.cells(space, outside, names, design, data)
            warn(estimability.message(part, outside, rows.names, cells), NotEstimableWarning)
        rows = rows.with_designs(**{"X" if of_mean else "Z": np.where(bad[:, None], np.nan, A)})
        if rows.fixed_predictor is not None and not of_mean:
            rows = replace(rows, fixed_predictor=np.where(bad, np.nan, rows.fixed_predictor))
    return rows
