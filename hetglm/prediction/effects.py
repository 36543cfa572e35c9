"""Average effects of variables on the mean, the dispersion and the variance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.design.frames import is_number
from hetglm.estimation import record
from hetglm.exceptions import FormulaError, NotEstimableWarning
from hetglm.likelihood import estimability
from hetglm.likelihood.estimability import RowSpace
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import new_rows
from hetglm.prediction.quantities import QUANTITIES, lookup
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.display import Printed, TitledSummary, coefficient_table
from hetglm.utils.linalg import crossed
from hetglm.utils.messages import listed, quoted, warn

Memo = dict[int, tuple[Any, Any]]

#: Step h of a numerical derivative, in standard deviations of the variable; its error h^4 is 1e-12.
STEP = 5e-4
#: Points of the fourth-order central difference, in steps.
CENTRAL_STEPS = (-2, -1, 1, 2)
#: Weights of the fourth-order central difference, over h.
CENTRAL_WEIGHTS = (1 / 12, -2 / 3, 2 / 3, -1 / 12)
#: Weights of the third-order one-sided difference, at 0, ..., 3 steps inward from an end of the data.
ONE_SIDED_WEIGHTS = (-11 / 6, 3.0, -3 / 2, 1 / 3)
#: Weights of the second-order one-sided difference, which agrees where there is a derivative.
CHECK_WEIGHTS = (-3 / 2, 2.0, -1 / 2, 0.0)
#: Largest disagreement of both one-sided differences, relative to the steepest row.
TOL_DERIVATIVE = 0.01
#: Points at which effects are evaluated, as in statsmodels.
AT = ("overall", "mean", "median", "zero", "all")
#: Titles of effects that are evaluated at one point.
POINTS = {
    "mean": "at the means of the variables",
    "median": "at the medians of the variables",
    "zero": "at zero",
}
#: Derivatives, or elasticities and semi-elasticities, as in statsmodels.
METHODS = ("dydx", "eyex", "dyex", "eydx")
#: Quantities with an average effect: a single number for each row.
WHICH = [name for name, quantity in QUANTITIES.items() if not quantity.of_counts]


class Predicted(NamedTuple):
    """Predictions of rows, and for both predictors their derivatives and the design."""

    values: Array
    slopes: list[tuple[Array | None, Array]]


class Contrast(NamedTuple):
    """
    A contrast of a variable: a weighted sum of predictions on several data sets.

    Parameters
    ----------
    variable, label : str
    parts : list of tuple
        (weight, a number or one for each row; data). For levels: the level, then the reference.
    number : bool
        Whether a number is changed from its value in each row; else a level is assigned to all rows.
    check : ndarray or None
        Weights of the second-order one-sided derivative, 0 in rows with a central one.
    """

    variable: str
    label: str
    parts: list[tuple[Any, pd.DataFrame]]
    number: bool
    check: Array | None = None


@dataclass(frozen=True)
class Options:
    """Points and scale of the effects; see the results' get_margeff."""

    which: str
    ratio: bool = False
    at: str = "overall"
    method: str = "dydx"
    dummy: bool = False
    count: bool = False

    def __post_init__(self) -> None:
        """Raise a ValueError for unknown options."""
        for name, value, known in (("at", self.at, AT), ("method", self.method, METHODS)):
            if value not in known:
                raise ValueError(f"{name}={value!r}: choose one of {', '.join(map(repr, known))}")


@dataclass(frozen=True, repr=False)
class AverageEffects(Printed):
    """
    Average marginal effects, or ratios, with standard errors by the delta method.

    Attributes
    ----------
    which : str
        Quantity that the effects refer to.
    margeff, margeff_se : ndarray, shape (k,)
        Effects and standard errors; for ratios the standard errors of their logarithms. Effects in
        each row (``at="all"``) have shape (n, k); their standard errors are NaN.
    index : MultiIndex
        Variable and contrast of each effect.
    ratio : bool
        Whether the effects are ratios.
    df : float or None
        Degrees of freedom of the t distribution, None for the normal.
    rows : Index or None
        Labels of the rows with ``at="all"``.
    at : str
        Point at which the effects are evaluated.
    """

    which: str
    margeff: Array
    margeff_se: Array
    index: pd.MultiIndex
    ratio: bool
    df: float | None
    rows: Any = None
    at: str = "overall"

    def _need_errors(self) -> None:
        if self.margeff.ndim == 2:
            raise ValueError(
                "at='all' gives the effects of each row without standard errors; see margeff, or use "
                "at='overall'"
            )

    def _headline(self) -> str:
        if self.at == "all":
            return f"Effects on the {self.which} in each row"
        what = "Average effects" if self.at == "overall" else "Effects"
        where = "" if self.at == "overall" else f" {POINTS[self.at]}"
        what = "Ratios of" if self.ratio else f"{what} on"
        return f"{what} the {self.which}{where}, standard errors by the delta method"

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame()]

    @property
    def _distribution(self) -> Any:
        return stats.norm if self.df is None else stats.t(self.df)

    @property
    def _centre(self) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(self.margeff) if self.ratio else self.margeff

    @property
    def tvalues(self) -> Array:
        """Statistics of the hypothesis of no effect, shape (k,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._centre / self.margeff_se

    @property
    def pvalues(self) -> Array:
        """Two-sided p-values of the hypothesis of no effect, shape (k,)."""
        return 2 * self._distribution.sf(np.abs(self.tvalues))

    def conf_int(self, alpha: float = 0.05) -> Array:
        """
        Return confidence intervals; for ratios they are formed on the log scale and transformed back.

        Parameters
        ----------
        alpha : float
            One minus the coverage.

        Returns
        -------
        ndarray, shape (k, 2)
        """
        self._need_errors()
        half = self._distribution.isf(checks.share(alpha, "alpha") / 2) * self.margeff_se
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
            Columns effect (or ratio), se (or se_log), z (or t), P, ci_lower, ci_upper. With
            ``at="all"`` only the effects, with a row for each row of the fit.
        """
        if self.margeff.ndim == 2:
            return pd.DataFrame(self.margeff, index=self.rows, columns=self.index)
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
        out.add_extra_txt(["Standard errors and statistics refer to the logarithms of the ratios."])
    return out


def average_effects(res: Any, options: Options, variables: Any, atexog: Any) -> AverageEffects:
    """Return effects of variables; see the results' methods."""
    model, which = res.model, options.which
    known = variables_of(model, which)
    if options.ratio and QUANTITIES[which].signed:
        positive = ", ".join(name for name in WHICH if not QUANTITIES[name].signed)
        raise ValueError(
            f"which={which!r}: it can be negative, so ratios are meaningless; use get_margeff, or "
            f"choose one of {positive}"
        )
    if variables is None and options.method.endswith("ex"):
        known = [name for name in known if factor_levels(model, name) is None]
    chosen = _chosen(known, which, variables)
    data = model.spec.coded(_at_values(model, options, atexog))
    changed = set(model.frame.columns if options.at == "zero" else atexog or ())
    found = []
    for name in chosen:
        memo: Memo = {}
        for contrast in _contrasts(model, data, name, options):
            found.append((contrast, *_effect(res, options, changed, contrast, memo)))
    labels = pd.MultiIndex.from_tuples(
        [(c.variable, c.label) for c, _, _ in found], names=["variable", "contrast"]
    )
    effects = np.stack([effect for _, effect, _ in found], axis=-1)
    errors = np.array([se for _, _, se in found])
    rows = data.index if options.at == "all" else None
    df = res.df_prediction
    return AverageEffects(which, effects, errors, labels, options.ratio, df, rows, options.at)


def variables_of(model: Any, which: str) -> list[str]:
    """Return the variables of the formulas that affect a quantity."""
    if which not in WHICH:
        other = f"; to choose the point of evaluation write at={which!r}" if which in AT else ""
        raise ValueError(f"which={which!r}: choose one of {', '.join(WHICH)}{other}")
    quantity = lookup(which, model.core.family)
    if model.spec is None:
        raise ValueError(
            "effects of variables need a formula fit: without a formula it is unknown which columns of "
            "the design depend on a variable; use predict on designs of your own"
        )
    record.need_rows(model.core)
    parts = [part for part in quantity.parts if part != "rows"]
    designs = [getattr(model.spec, part) for part in parts]
    read = set().union(*(design.variables for design in designs))
    found = [name for name in model.frame.columns if name in read]
    if not found:
        raise ValueError(f"which={which!r}: no variable affects it in {model.formula_text()}")
    return found


def _chosen(known: list[str], which: str, variables: Any) -> list[str]:
    """Return the requested variables, all by default."""
    if variables is None:
        return known
    wanted = [variables] if isinstance(variables, str) else list(variables)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"variables: {unknown[0]!r} does not affect the {which}; choose from {', '.join(known)}"
        )
    return wanted


def _at_values(model: Any, options: Options, atexog: Any) -> pd.DataFrame:
    """Return the rows of the fit, with variables set to the values of ``at`` and ``atexog``."""
    data = model.frame
    if options.at == "zero":
        read = model.spec.mean.variables | model.spec.dispersion.variables
        known = {name: factor_levels(model, name) for name in data.columns if name in read}
        zeros = {n: _repeated(data[n], 0 if v is None else v[0]) for n, v in known.items()}
        data = data.assign(**zeros)
    if atexog is None:
        return data
    if not isinstance(atexog, Mapping):
        raise ValueError("atexog: give a dict {name of a variable: value}")
    for name, value in atexog.items():
        if name not in data.columns:
            raise ValueError(
                f"atexog: {name!r} is not a variable of the data; use names of variables, not positions"
            )
        try:
            moved = pd.Series(np.broadcast_to(value, len(data)), index=data.index)
        except ValueError as exc:
            raise ValueError(
                f"atexog: {name!r}: give one value, or one for each row: {exc}"
            ) from exc
        _need_known(name, moved, factor_levels(model, name))
        kept = isinstance(data[name].dtype, pd.CategoricalDtype)
        data = data.assign(**{name: moved.astype(data[name].dtype) if kept else moved})
    return data


def _need_known(name: str, values: pd.Series, known: list[Any] | None) -> None:
    """Raise a ValueError for a level that is not in the data of the fit."""
    strange = [] if known is None else values[~values.isin(known)].tolist()
    if strange:
        raise ValueError(
            f"atexog: {name!r}: the level {quoted(strange[0])} is not one of the fit, which had "
            f"{listed(list(map(quoted, known or [])), 12)}"
        )


def _contrasts(model: Any, data: pd.DataFrame, name: str, options: Options) -> Iterator[Contrast]:
    """Yield the contrasts of a variable: levels against the first, or a change of a number."""
    values = factor_levels(model, name)
    column = data[name]
    if values is None and options.dummy and set(model.frame[name]) == {0, 1}:
        values = [0, 1]
    if values is not None:
        if options.method.endswith("ex"):
            raise ValueError(
                f"method={options.method!r}: {name} is a factor, which has no proportional change; "
                "choose other variables=..., or method='dydx' or 'eydx'"
            )
        low = data.assign(**{name: _repeated(column, values[0])})
        for level in values[1:]:
            high = data.assign(**{name: _repeated(column, level)})
            sign = "/" if options.ratio else "-"
            parts = [(1.0, high), (-1.0, low)]
            yield Contrast(name, f"{level} {sign} {values[0]}", parts, number=False)
        return
    column = column.astype(float)
    if options.ratio:
        parts = [(1.0, data.assign(**{name: column + 1})), (-1.0, data)]
        yield Contrast(name, "+ 1", parts, number=True)
    elif options.count and _is_count(model.frame[name]):
        parts = [(0.5 * sign, data.assign(**{name: column + sign})) for sign in (1, -1)]
        yield Contrast(name, "(+ 1 less - 1)/2", parts, number=True)
    else:
        yield _derivative(data, name, column, model.frame[name].astype(float), options)


def _is_count(column: pd.Series) -> bool:
    """Return whether a number is a count by statsmodels' rule: whole, not negative, not 0 or 1."""
    x = column.to_numpy(float)
    return bool(np.all((x >= 0) & (x % 1 == 0)) and x.min() < x.max() and set(x) != {0, 1})


def _derivative(
    data: pd.DataFrame, name: str, column: pd.Series, fitted: pd.Series, options: Options
) -> Contrast:
    """Return the contrast of a numerical derivative, with all steps within the range of the data."""
    x, h = column.to_numpy(), STEP * (float(fitted.std()) or 1.0)
    least, most = min(fitted.min(), x.min()), max(fitted.max(), x.max())
    low, high = x - 2 * h < least, x + 2 * h > most
    inward = 1.0 * low - 1.0 * high  # 0 for a constant variable
    inside = inward == 0
    by = x / h if options.method.endswith("ex") else np.full(len(x), 1 / h)
    parts = []
    for k, step in enumerate(CENTRAL_STEPS):
        weight = by * np.where(inside, CENTRAL_WEIGHTS[k], inward * ONE_SIDED_WEIGHTS[k])
        moved = x + h * np.where(inside, step, inward * k)
        parts.append((weight, data.assign(**{name: moved})))
    check = np.outer(CHECK_WEIGHTS, inward * by)
    return Contrast(name, "d/dx", parts, True, check)


def factor_levels(model: Any, name: str) -> list[Any] | None:
    """Return the levels of a variable that a formula treats as a factor, None for a number."""
    column = model.frame[name]
    factors = model.spec.mean.categories | model.spec.dispersion.categories
    if is_number(column) and name not in factors:
        return None
    return checks.levels(column, name)


def _repeated(column: pd.Series, value: Any) -> pd.Series:
    """Return a constant column with the type of another one."""
    one = pd.Series([value], dtype=column.dtype)
    return one.repeat(len(column)).set_axis(column.index)


def _once(memo: Memo | None, of: Any, make: Callable[[Any], Any]) -> Any:
    """Return ``make(of)``, computed once for each object where there is a memo."""
    if memo is None:
        return make(of)
    if id(of) not in memo:
        memo[id(of)] = of, make(of)  # keeping the object alive keeps its id unique
    return memo[id(of)][1]


def _effect(
    res: Any, options: Options, changed: set[str], contrast: Contrast, memo: Memo
) -> tuple[Any, float]:
    """Return an effect and its standard error; ``memo`` keeps the reference level of a factor."""
    try:
        parts = _parts(res, options, changed | {contrast.variable}, contrast, memo)
    except FormulaError as exc:
        raise FormulaError(
            f"{contrast.variable} ({contrast.label}): the formula cannot be evaluated at the "
            "values to compare (out of the range of the fit, or categories recomputed from them); "
            f"choose other variables=...: {exc}"
        ) from exc

    def predict(rows: Likelihood) -> Predicted:
        return _predicted(rows, res.fit.internal, options.which, options.method.startswith("ey"))

    predicted = [
        _once(_shared(contrast, i, memo), rows, predict) for i, (_, rows) in enumerate(parts)
    ]
    core = res.model.core
    share = np.full(core.n, 1 / core.n) if core.freq is None else core.freq / core.freq.sum()
    if options.ratio:
        value, gradient = _ratio(options.which, share, *predicted)
    else:
        weights = [w for w, _ in parts]
        # weights sum to 0 in each row: subtracting the first prediction makes constant ones exactly 0
        moved = [p.values - predicted[0].values for p in predicted]
        effect = _weighted(weights, moved)
        _require_slopes(contrast, weights, moved, effect)
        if options.at == "all":
            return effect, np.nan
        value = float(share @ effect)
        gradient = _gradient([share * w for w in weights], predicted, True)
    with np.errstate(invalid="ignore"):
        return value, float(np.sqrt(gradient @ np.nan_to_num(res.cov_internal) @ gradient))


def _shared(contrast: Contrast, i: int, memo: Memo) -> Memo | None:
    """Return the memo for the reference level of a factor (the second part of its contrasts)."""
    return memo if i == 1 and not contrast.number else None


def _parts(
    res: Any, options: Options, changed: set[str], contrast: Contrast, memo: Memo
) -> list[tuple[Any, Likelihood]]:
    """Return the weights and rows of a contrast, NaN where it is not estimable."""

    def make(data: pd.DataFrame) -> Likelihood:
        return _rows(res.model, options.which, changed, data)

    parts = [
        (weight, _once(_shared(contrast, i, memo), data, make))
        for i, (weight, data) in enumerate(contrast.parts)
    ]
    if options.at in ("mean", "median"):
        parts = _at_centre(res.model, options.at, parts)
    if res.boundary is not None:
        parts = [(w, new_rows.fix_at_boundary(rows, res.boundary)) for w, rows in parts]
    for part, space in res.model.row_spaces.items():
        if part in QUANTITIES[options.which].parts:
            parts[0] = parts[0][0], _without_inestimable(res.model, part, space, contrast, parts)
    return parts


def _rows(model: Any, which: str, changed: set[str], data: pd.DataFrame) -> Likelihood:
    """Return the rows of the fit with other values of some variables."""
    spec, core, parts = model.spec, model.core, QUANTITIES[which].parts
    moved = {part for part in parts if part != "rows" and changed & getattr(spec, part).variables}
    X = spec.mean.rebuild(data, core.X, changed) if "mean" in moved else core.X
    if len(moved) == 2 and spec.mean.columns == spec.dispersion.columns:
        Z = X  # both parts have the same terms
    else:
        Z = spec.dispersion.rebuild(data, core.Z, changed) if "dispersion" in moved else core.Z
    if not changed & (set(spec.columns.values()) | spec.endog.variables):
        return replace(core, X=X, Z=Z)
    arrays = {n: getattr(model, n) for names in new_rows.ROW_ARGUMENTS.values() for n in names}
    arrays |= model.new_row_arrays(data, parts)
    return new_rows.core_at(model, X, Z, arrays, core.names)


def _at_centre(
    model: Any, at: str, parts: list[tuple[Any, Likelihood]]
) -> list[tuple[Any, Likelihood]]:
    """Return a contrast with the columns of both designs at their means or medians."""
    core = model.core

    def centre(A: Array) -> Array:
        middle = np.median(A, axis=0) if at == "median" else np.average(A, 0, core.freq)
        return np.broadcast_to(middle, A.shape)

    if np.ndim(parts[0][0]) == 0:
        return [(w, rows.with_designs(centre(rows.X), centre(rows.Z))) for w, rows in parts]
    X, Z = centre(core.X), centre(core.Z)
    weights = [w[:, None] for w, _ in parts]
    dX = centre(_weighted(weights, [rows.X for _, rows in parts]))
    dZ = centre(_weighted(weights, [rows.Z for _, rows in parts]))
    rows = parts[0][1]
    return [
        (w / STEP, rows.with_designs(X + k * STEP * dX, Z + k * STEP * dZ))
        for k, w in zip(CENTRAL_STEPS, CENTRAL_WEIGHTS, strict=True)
    ]


def _without_inestimable(
    model: Any, part: str, space: RowSpace, contrast: Contrast, parts: list[tuple[Any, Likelihood]]
) -> Likelihood:
    """Return the first rows of a contrast with NaN where it is not estimable, and warn."""
    name = "X" if part == "mean" else "Z"
    designs = [getattr(rows, name) for _, rows in parts]
    if contrast.number:
        weights = [np.reshape(w, (-1, 1)) for w, _ in parts]
        size = _weighted([np.abs(w) for w in weights], [np.abs(A) for A in designs])
        outside, data = space.outside(_weighted(weights, designs), size), None
    else:
        outside = np.logical_or(*(space.outside(A) for A in designs))
        data = contrast.parts[0][1]
    bad: Array = np.asarray(outside.any(axis=1))
    if not bad.any():
        return parts[0][1]
    names = model.mean_names if part == "mean" else model.dispersion_names
    cells = estimability.cells(space, outside, names, getattr(model.spec, part), data)
    warn(
        f"{contrast.variable} ({contrast.label}): not estimable, NaN: the data of the fit do not "
        f"determine the {part} at {'; '.join(cells)}",
        NotEstimableWarning,
    )
    rows = parts[0][1].with_designs(**{name: np.where(bad[:, None], np.nan, designs[0])})
    if rows.fixed_predictor is not None and part == "dispersion":
        rows = replace(rows, fixed_predictor=np.where(bad, np.nan, rows.fixed_predictor))
    return rows


def _ratio(which: str, share: Array, high: Predicted, low: Predicted) -> tuple[float, Array]:
    """Return a ratio of averages, and the gradient of its logarithm."""
    if np.any(high.values < 0) or np.any(low.values < 0):
        raise ValueError(
            f"which={which!r}: ratios need positive predictions, and some are negative; use "
            "get_margeff"
        )
    above, below = share @ high.values, share @ low.values
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.divide(above, below)
        gradient = _gradient([share / above, -share / np.float64(below)], [high, low], False)
        return float(ratio), gradient


def _weighted(weights: list[Any], values: list[Array]) -> Array:
    """Return a weighted sum."""
    total = weights[0] * values[0]
    for w, v in zip(weights[1:], values[1:], strict=True):
        total = total + w * v
    return np.asarray(total)


def _gradient(weights: list[Array], predicted: list[Predicted], cancel: bool) -> Array:
    """
    Return the gradient of a weighted sum of predictions with respect to all coefficients.

    Shape (p + q,). ``cancel``: the weights of each row sum to 0.
    """
    parts = []
    for slopes in zip(*(p.slopes for p in predicted), strict=True):
        A = slopes[0][1]
        derivatives = [d for d, _ in slopes if d is not None]
        if not derivatives:  # the prediction does not depend on this part, which may be NaN
            parts.append(np.zeros(A.shape[1]))
        elif all(design is A for _, design in slopes):
            base = derivatives[0] if cancel else 0.0
            parts.append(crossed(A, _weighted(weights, [d - base for d in derivatives])))
        else:
            products = [
                crossed(design, w * d)
                for w, d, (_, design) in zip(weights, derivatives, slopes, strict=True)
            ]
            parts.append(np.sum(products, axis=0))
    return np.concatenate(parts)


def _require_slopes(
    contrast: Contrast, weights: list[Any], moved: list[Array], slopes: Array
) -> None:
    """Raise a ValueError where a one-sided derivative is not finite, as for sqrt(x) at 0."""
    if contrast.check is None or np.ndim(weights[0]) == 0:  # no derivative, or at means or medians
        return
    ends = np.flatnonzero(contrast.check[1])
    check = _weighted(list(contrast.check[:, ends]), [m[ends] for m in moved])
    apart = np.abs(slopes[ends] - check)
    if np.any(apart > TOL_DERIVATIVE * np.max(np.abs(slopes), initial=0.0)):
        raise ValueError(
            f"{contrast.variable}: the derivative at its smallest or largest value is not finite; "
            "choose other variables=..., or leave such rows out"
        )


def _predicted(rows: Likelihood, params: Array, which: str, log: bool) -> Predicted:
    """Return predictions, or their logarithms, with derivatives for both predictors."""
    at = rows.predictors(params)
    quantity = QUANTITIES[which]
    values, (d_eta, d_zeta) = quantity.value(rows, at), quantity.slopes(rows, at)
    if log:
        if np.any(values <= 0):
            raise ValueError(
                f"method: proportional changes need positive predictions, and some of the {which} "
                "are not positive; use method='dydx'"
            )
        d_eta, d_zeta = (None if d is None else d / values for d in (d_eta, d_zeta))
        values = np.log(values)
    return Predicted(values, [(d_eta, rows.X), (d_zeta, rows.Z)])
