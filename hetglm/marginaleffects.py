"""Adapter for the PyPI package marginaleffects: its predictions, comparisons and slopes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype

from hetglm.prediction import effects, new_rows, quantities
from hetglm.typing import Array

try:
    import polars as pl
    from marginaleffects.classes import ModelAbstract, ModelVault
except ImportError as exc:
    raise ImportError(
        "hetglm.marginaleffects needs other packages: pip install 'marginaleffects>=0.6' 'polars<2'"
    ) from exc


class MarginalModel(ModelAbstract):
    """
    A formula fit as a model of the package ``marginaleffects``.

    Functions such as ``avg_slopes(MarginalModel(res, "dispersion"))`` then work for every quantity
    that a fit predicts, as they do for the means of statsmodels' models.

    Parameters
    ----------
    results : LocationScaleResults
        Results of a formula fit; with random effects these are 0, as in a typical group.
    which : str
        As in ``predict``, but not "prob".

    Raises
    ------
    ValueError
        For an unknown ``which``, or without a formula.

    Notes
    -----
    Standard errors use the covariance of the fit; choose a robust one there. The package refuses data
    with columns that have names of its results, such as "group": rename them before the fit. Columns
    with missing values that the fit does not use are left out, because it would drop their rows.
    """

    def __init__(self, results: Any, which: str = "mean") -> None:
        res = getattr(results, "_results", results)
        variables = effects.variables_of(res.model, which)
        self.which, frame = which, res.model.frame
        read = [name for name in frame.columns if frame[name].notna().all()]
        self._levels = {
            # the package handles booleans itself
            name: None if is_bool_dtype(frame[name]) else effects.factor_levels(res.model, name)
            for name in read
        }
        vault = ModelVault(
            coef=np.array(res.fit.internal),
            coefnames=np.array(res.model.coefficient_names),
            formula=_itself,
            modeldata=pl.DataFrame([_column(frame[name], self._levels[name]) for name in read]),
            package="hetglm",
            variable_names=[str(res.model.endog_names), *variables],
        )
        super().__init__(res, vault)

    @property
    def df_resid(self) -> float:
        """Degrees of freedom of intervals, infinite for the normal distribution."""
        df = self.model.df_prediction
        return float("inf") if df is None else float(df)

    def get_vcov(self, vcov: Any = True) -> Array | None:
        """Return the covariance of the fit, None for False."""
        if not isinstance(vcov, bool):
            raise ValueError(f"vcov={vcov!r}: give True or False, or fit with that cov_type")
        return np.array(self.model.cov_internal) if vcov else None

    def get_exog(self, newdata: Any) -> pd.DataFrame:
        """Return rows of a polars DataFrame as pandas, with the original levels."""
        columns = {
            name: _values(newdata[name], self._levels[name])
            for name in newdata.columns
            if name in self._levels
        }
        return pd.DataFrame(columns)

    def get_predict(self, params: Array, newdata: pd.DataFrame) -> Any:
        """Return the prediction of each row with these coefficients."""
        known = np.array_equal(params, self.model.fit.internal)  # not shifted for a derivative
        unwarned = () if known else quantities.QUANTITIES[self.which].parts
        rows, _ = new_rows.rows_of_results(
            self.model, self.which, newdata, None, True, {}, unwarned
        )
        estimate = quantities.predict(rows, np.asarray(params), self.which)
        numbers = pl.Series(range(len(estimate)), dtype=pl.Int32)
        return pl.DataFrame({"rowid": numbers, "estimate": estimate})


def _itself(newdata: Any) -> tuple[None, Any]:
    """Return no response and the data unchanged: our formula is evaluated later."""
    return None, newdata


def _column(column: pd.Series, levels: list[Any] | None) -> Any:
    """Return a column for polars, factors by the text of their levels."""
    if levels is None:
        return pl.Series(column.name, column.to_numpy())
    names = [str(level) for level in levels]
    return pl.Series(column.name, [str(value) for value in column], dtype=pl.Enum(names))


def _values(column: Any, levels: list[Any] | None) -> Any:
    """Return a column of polars with the original levels."""
    if levels is None:
        return column.to_numpy()
    known = {str(level): level for level in levels}
    return [known.get(str(value), value) for value in column.to_list()]
