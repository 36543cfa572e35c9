"""Average effects of variables on the mean, the dispersion and the variance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from hetglm import _arrays, prediction
from hetglm._display import Printed, TitledSummary, coefficient_table
from hetglm._likelihood import Likelihood
from hetglm.exceptions import FormulaError

Array = NDArray[Any]

#: Step of a derivative in standard deviations of the variable: of order h^4, 1e-12.
STEP = 5e-4
#: Weights of differences, over the step, at -2, ..., 2 steps, and at 0, ..., 4 from an end of the data.
CENTRAL = (1 / 12, -2 / 3, 0.0, 2 / 3, -1 / 12)
INWARD = (-25 / 12, 4.0, -3.0, 4 / 3, -1 / 4)
#: The latter of order h^2; where there is a slope they agree to a share of it.
INWARD_ROUGH, SMOOTH = (-3 / 2, 2.0, -1 / 2, 0.0, 0.0), 0.01
#: Predictors have either sign: ratios of them say nothing.
SIGNED = ("linear", "linear-dispersion")
#: What has an average effect, and parts of it that are derivatives in the predictors.
WHICH = ("mean", "linear", "dispersion", "linear-dispersion", "var", "sd", "icc")


class Predicted(NamedTuple):
    """Predictions of rows, their slopes in both predictors with the designs, and how rows count."""

    values: Array
    slopes: list[tuple[Array | None, Array]]
    weight: Array

    def average(self, by: Any = 1.0) -> tuple[float, Array]:
        """Return the average of weighted rows and its gradient in the coefficients, shape (p + q,)."""
        weight = by * self.weight
        # a part that the prediction does not read is NaN in new rows
        parts = [np.zeros(A.shape[1]) if d is None else (weight * d) @ A for d, A in self.slopes]
        return float(weight @ self.values), np.concatenate(parts)


class Contrast(NamedTuple):
    """
    A variable with the data it is compared on: (weight of each row, data) less the base each.

    For derivatives also the weights of a rougher one, 0 in rows where there is none.
    """

    variable: str
    label: str
    base: pd.DataFrame
    parts: list[tuple[Any, pd.DataFrame]]
    rough: Array | None = None


@dataclass(frozen=True, repr=False)
class AverageEffects(Printed):
    """
    Average effects with standard errors by the delta method.

    Attributes
    ----------
    which : str
        What the effects are on.
    margeff, margeff_se : ndarray, shape (k,)
        Effects and standard errors; of ratios, these of their logarithms.
    index : MultiIndex
        Variable and contrast of each.
    ratio : bool
        Whether the effects are ratios.
    df : float or None
        Degrees of freedom of the t distribution, None for the normal.
    """

    which: str
    margeff: Array
    margeff_se: Array
    index: pd.MultiIndex
    ratio: bool
    df: float | None

    def _headline(self) -> str:
        what = "Ratios of the" if self.ratio else "Average effects on the"
        return f"{what} {self.which}, standard errors by the delta method"

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame()]

    @property
    def _law(self) -> Any:
        return stats.norm if self.df is None else stats.t(self.df)

    @property
    def _centre(self) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(self.margeff) if self.ratio else self.margeff

    @property
    def tvalues(self) -> Array:
        """Statistics of no effect, shape (k,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._centre / self.margeff_se

    @property
    def pvalues(self) -> Array:
        """Two-sided p-values of no effect, shape (k,)."""
        return 2 * self._law.sf(np.abs(self.tvalues))

    def conf_int(self, alpha: float = 0.05) -> Array:
        """
        Return confidence intervals, of ratios on the scale of their logarithms and mapped back.

        Parameters
        ----------
        alpha : float
            One minus the coverage.

        Returns
        -------
        ndarray, shape (k, 2)
        """
        half = self._law.isf(_arrays.share(alpha, "alpha") / 2) * self.margeff_se
        ends = np.column_stack([self._centre - half, self._centre + half])
        return np.exp(ends) if self.ratio else ends

    def summary(self, alpha: float = 0.05) -> TitledSummary:
        """
        Summarise the effects as statsmodels' marginal effects do.

        Parameters
        ----------
        alpha : float
            One minus the coverage of the intervals.

        Returns
        -------
        statsmodels.iolib.summary.Summary
        """
        return _summary(self, alpha)

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """
        Return a table with a row for each variable and contrast.

        Parameters
        ----------
        alpha : float
            One minus the coverage of the intervals.

        Returns
        -------
        DataFrame
            Columns effect (or ratio), se (or se_log), z (or t), P, ci_lower, ci_upper.
        """
        names = ("ratio", "se_log") if self.ratio else ("effect", "se")
        low, high = self.conf_int(alpha).T
        columns = {
            names[0]: self.margeff,
            names[1]: self.margeff_se,
            "z" if self.df is None else "t": self.tvalues,
            "P": self.pvalues,
            "ci_lower": low,
            "ci_upper": high,
        }
        table = pd.DataFrame(columns, index=self.index)
        table.columns.name = self.which
        return table


def _summary(found: AverageEffects, alpha: float) -> TitledSummary:
    """Return the summary of effects; see their method."""
    names = [" ".join(map(str, labels)) for labels in found.index]
    columns = (
        found.margeff,
        found.margeff_se,
        found.tvalues,
        found.pvalues,
        found.conf_int(alpha),
    )
    what = "ratio" if found.ratio else "effect"
    out = TitledSummary()
    out.tables.append(
        coefficient_table(names, columns, found._headline(), alpha, found.df is not None, what)
    )
    if found.ratio:
        out.add_extra_txt(["Standard errors and statistics are of the logarithms of the ratios."])
    return out


def average_effects(res: Any, which: str, variables: Any, ratio: bool) -> AverageEffects:
    """Return average effects of variables; see the results' methods."""
    model = res.model
    if ratio and which in SIGNED:
        raise ValueError(
            f"which={which!r}: predictors can be negative, and their ratios say nothing; use "
            "get_margeff, or choose 'mean', 'dispersion', 'icc', 'var' or 'sd'"
        )
    chosen = _chosen(variables_of(model, which), which, variables)
    effects, errors, index = [], [], []
    for name in chosen:
        for contrast in _contrasts(model, name, ratio):
            effect, se = _effect(res, which, contrast, ratio)
            effects.append(effect)
            errors.append(se)
            index.append((contrast.variable, contrast.label))
    labels = pd.MultiIndex.from_tuples(index, names=["variable", "contrast"])
    return AverageEffects(
        which, np.array(effects), np.array(errors), labels, ratio, res._df_prediction
    )


def variables_of(model: Any, which: str) -> list[str]:
    """Return the variables of the formulas that a prediction reads."""
    if which not in WHICH:
        raise ValueError(f"which={which!r}: choose one of {', '.join(WHICH)}")
    prediction.check_which(which, model.core.family)
    if model._spec is None:
        raise ValueError(
            "effects of variables need a formula fit: a design's columns do not say which of them move "
            "together; use predict on designs of your own"
        )
    prediction.need_rows(model.core)
    parts = [part for part in prediction.PARTS[which] if part != "rows"]
    designs = [getattr(model._spec, part) for part in parts]
    read = set().union(*(design.variables for design in designs))
    return [name for name in model._frame.columns if name in read]


def _chosen(known: list[str], which: str, variables: Any) -> list[str]:
    """Return the variables asked for, all by default."""
    if variables is None:
        return known
    wanted = [variables] if isinstance(variables, str) else list(variables)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"variables: {unknown[0]!r} does not move the {which}; choose from {', '.join(known)}"
        )
    return wanted


def _contrasts(model: Any, name: str, ratio: bool) -> Iterator[Contrast]:
    """Yield what is compared: levels with the first, or a number with itself moved."""
    data = model._frame
    values = levels(model, name)
    if values is not None:
        low = data.assign(**{name: _repeated(data[name], values[0])})
        for level in values[1:]:
            high = data.assign(**{name: _repeated(data[name], level)})
            sign = "/" if ratio else "-"
            yield Contrast(name, f"{level} {sign} {values[0]}", low, [(1.0, high)])
        return
    column = data[name].astype(float)
    if ratio:
        yield Contrast(name, "+ 1", data, [(1.0, data.assign(**{name: column + 1}))])
        return
    yield _derivative(data, name, column)


def _derivative(data: pd.DataFrame, name: str, column: pd.Series) -> Contrast:
    """Return the contrast of a derivative, whose steps do not leave the range of the data."""
    x, h = column.to_numpy(), STEP * (float(column.std()) or 1.0)
    low, high = x - 2 * h < x.min(), x + 2 * h > x.max()
    inward = 1.0 * low - 1.0 * high  # 0 of a variable that does not vary
    inside = inward == 0
    parts = []
    for k in range(len(CENTRAL)):
        moved = x + h * np.where(inside, k - 2, inward * k)
        weight = np.where(inside, CENTRAL[k], inward * INWARD[k]) / h
        parts.append((weight, data.assign(**{name: moved})))
    return Contrast(name, "d/dx", data, parts, np.outer(INWARD_ROUGH, inward) / h)


def levels(model: Any, name: str) -> list[Any] | None:
    """Return the levels of a variable that a formula takes as a factor, None for a number."""
    column = model._frame[name]
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    factors = model._spec.mean.categories | model._spec.dispersion.categories
    if number and name not in factors:
        return None
    if isinstance(column.dtype, pd.CategoricalDtype):
        seen = set(column)
        return [level for level in column.cat.categories if level in seen]
    return sorted(column.unique())


def _repeated(column: pd.Series, value: Any) -> pd.Series:
    """Return a column of one value with the type of another."""
    return pd.Series([value] * len(column), index=column.index, dtype=column.dtype)


def _effect(res: Any, which: str, contrast: Contrast, ratio: bool) -> tuple[float, float]:
    """Return an effect and its standard error."""
    try:
        base = _predicted(res, which, contrast.base)
        parts = [(weight, _predicted(res, which, data)) for weight, data in contrast.parts]
    except FormulaError as exc:
        raise FormulaError(
            f"{contrast.variable} ({contrast.label}): the formula cannot take the values to compare "
            f"(out of the range of the fit, or cut anew); choose other variables=...: {exc}"
        ) from exc
    if ratio:
        value, gradient = _ratio(which, parts[0][1], base)
    else:
        _need_slopes(contrast, [part.values - base.values for _, part in parts])
        value, gradient = 0.0, np.zeros(len(res._cov))
        for weight, part in parts:
            (high, by_high), (low, by_low) = part.average(weight), base.average(weight)
            value, gradient = value + (high - low), gradient + (by_high - by_low)
    with np.errstate(invalid="ignore"):
        return value, float(np.sqrt(gradient @ np.nan_to_num(res._cov) @ gradient))


def _ratio(which: str, high: Predicted, low: Predicted) -> tuple[float, Array]:
    """Return a ratio of averages, and the gradient of its logarithm."""
    if np.any(high.values < 0) or np.any(low.values < 0):
        raise ValueError(
            f"which={which!r}: ratios are of positive predictions, and some are negative; use "
            "get_margeff"
        )
    (above, by_above), (below, by_below) = high.average(), low.average()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(above, below)
        return float(ratio), by_above / above - by_below / np.float64(below)


def _need_slopes(contrast: Contrast, moved: list[Array]) -> None:
    """Raise a ValueError if there is no slope at an end of the data, as of a root at 0."""
    if contrast.rough is None:
        return
    slopes = sum(w * v for (w, _), v in zip(contrast.parts, moved, strict=True))
    rough = sum(w * v for w, v in zip(contrast.rough, moved, strict=True))
    ends = contrast.rough[1] != 0
    if np.any(np.abs(slopes - rough)[ends] > SMOOTH * np.nanmax(np.abs(slopes))):
        raise ValueError(
            f"{contrast.variable}: no finite slope at an end of its values; choose other variables=..., "
            "or leave such rows out"
        )


def _predicted(res: Any, which: str, data: pd.DataFrame) -> Predicted:
    """Return the predictions on the fit's rows with other values of a variable."""
    model = res.model
    given = {
        name: getattr(model, name)
        for part in prediction.PARTS[which]
        for name in prediction.BROUGHT[part]
        if name not in model._spec.columns and getattr(model, name) is not None
    }
    rows, _ = res._new_rows(which, data, None, True, given)
    params = res._fit.internal
    freq = np.ones(rows.n) if model.core.freq is None else model.core.freq
    slopes = list(zip(row_slopes(rows, params, which), (rows.X, rows.Z), strict=True))
    return Predicted(prediction.predict(rows, params, which), slopes, freq / freq.sum())


def row_slopes(rows: Likelihood, params: Array, which: str) -> tuple[Array | None, Array | None]:
    """Return the derivatives of a prediction in the two predictors, shape (n,), None for none."""
    at, one = rows.predictors(params), np.ones(rows.n)
    if which in ("mean", "linear"):
        return (at.mean.d1 if which == "mean" else one), None
    if which in ("dispersion", "linear-dispersion"):
        return None, (at.d_phi if which == "dispersion" else one)
    if which == "icc":
        return None, at.d_phi / (1 + at.phi) ** 2
    d_mu, d_phi, var = prediction.variance_slopes(rows, params)
    scale = 1.0 if which == "var" else 0.5 / np.sqrt(var)
    return scale * d_mu * at.mean.d1, scale * d_phi * at.d_phi
