"""Rows to predict with their random effects: the rows of a fit, or new ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design import frames
from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation.record import need_rows
from hetglm.exceptions import FormulaError
from hetglm.mixed.averages import OF_CORRELATION
from hetglm.mixed.conditional import Uncertainty
from hetglm.mixed.covariance_structure import INTERCEPT
from hetglm.mixed.predictions import (
    INTEGRATE,
    MixedIntervals,
    MixedPrediction,
    check_new_levels,
    effects_of,
    is_new,
    used,
)
from hetglm.prediction import new_rows
from hetglm.prediction.intervals import Interval, NewObservation
from hetglm.prediction.quantities import lookup
from hetglm.typing import Array
from hetglm.utils.messages import listed, quoted


def prediction_of_results(
    res: Any,
    which: str,
    exog: Any,
    exog_dispersion: Any,
    transform: bool,
    random: Any,
    new_levels: str,
    given: dict[str, Any],
    unwarned: tuple[str, ...] = (),
) -> tuple[MixedPrediction, Any]:
    """
    Return the predictions of rows from a fit, and the labels of the rows.

    Parameters
    ----------
    res : MixedResults
    which, exog, exog_dispersion, transform, given, unwarned
        As in `prediction.new_rows.rows_of_results`.
    random, new_levels
        As in `predictions.effects_of`.

    Raises
    ------
    FormulaError
        If a level is new and ``new_levels="error"``.
    ValueError
        If random effects are needed that cannot be known, of new rows of a model of arrays.
    """
    model = res.model
    names = used(random, [factor.name for factor in model.random])
    check_new_levels(new_levels)
    lookup(which, model.core.family)
    # averaged over effects of the mean, a correlation depends on both parts
    averaged = INTEGRATE in (random if isinstance(random, str) else "", new_levels)
    needed = "var" if which in OF_CORRELATION and averaged else which
    rows, labels = new_rows.rows_of_results(
        res, needed, exog, exog_dispersion, transform, given, unwarned
    )
    factors = model.random
    if exog is not None or exog_dispersion is not None:
        formula = transform and model.spec is not None
        data = frames.new_rows(exog, model.spec.mean.variables) if formula else None
        factors = tuple(
            _on_new_rows(model, factor, data, rows.n, factor.name in names, random, new_levels)
            for factor in model.random
        )
    return MixedPrediction(rows, effects_of(factors, random, new_levels), res.fit), labels


def intervals_of_results(
    res: Any,
    which: str,
    exog: Any,
    exog_dispersion: Any,
    transform: bool,
    random: Any,
    new_levels: str,
    y_values: Any,
    given: dict[str, Any],
) -> tuple[Any, Array, Interval, NewObservation | None]:
    """
    Return labels, predictions and intervals of rows, and new observations where the rows allow it.

    Parameters
    ----------
    res, which, exog, exog_dispersion, transform, random, new_levels, given
        As in `prediction_of_results`.
    y_values : array_like, optional
        Counts for ``which="prob"``.
    """
    asked = exog, exog_dispersion, transform, random, new_levels, given
    prediction, labels = prediction_of_results(res, which, *asked)
    model, observation = res.model, None
    need_rows(model.core)
    uncertainty = Uncertainty(model.core, model.random, res.fit)
    if which == "mean":
        try:
            observed, _ = prediction_of_results(res, "var", *asked, unwarned=("mean",))
            observed.value("var")
            observation = MixedIntervals(observed, uncertainty).observation()
        except ValueError:
            pass  # dispersion design or trials of the new rows are not given
    values = prediction.value(which, y_values)
    values = values[:, 0] if values.ndim == 2 else values
    interval = MixedIntervals(prediction, uncertainty).interval(which, y_values)
    return labels, values, interval, observation


def _on_new_rows(
    model: Any,
    factor: GroupingFactor,
    data: pd.DataFrame | None,
    n: int,
    is_used: bool,
    random: Any,
    new_levels: str,
) -> GroupingFactor:
    """Return a factor of the fit on new rows."""
    integrate = isinstance(random, str) and random == INTEGRATE
    constant = all(column == INTERCEPT for column in factor.columns)
    if not is_used or (data is None and integrate and constant):
        values = np.ones((n, len(factor.columns)))
        return replace(factor, codes=np.full(n, -1), values=values)
    if data is None:
        raise ValueError(
            f"{factor.name}: designs do not say which groups new rows belong to; write random=False "
            "for random effects of 0, or give the model and the new data as formula and DataFrame"
        )
    (made,) = model.spec.random.build(data, [factor], grouped=not integrate)
    if new_levels == "error" and not integrate and is_new(made).any():
        found = model.spec.random.labels(data, factor.name)[is_new(made)].unique()
        raise FormulaError(
            f"{factor.name}: the fit did not have {listed(list(map(quoted, found)), 12)}; write "
            "new_levels='integrate' to average over the random effects of new levels, "
            "new_levels='population' to set them to 0, or random=False to set all to 0"
        )
    return made
