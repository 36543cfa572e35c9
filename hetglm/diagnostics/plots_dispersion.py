"""Plots of a fitted model: dispersion by a term, variance against mean, coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hetglm.design import arrays, syntax
from hetglm.design.frames import is_number
from hetglm.diagnostics.influence import LocationScaleInfluence
from hetglm.diagnostics.plots_base import separation
from hetglm.estimation import random_effects
from hetglm.estimation.record import need_rows
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.axes import (
    COLOURS,
    INK,
    MARKERS,
    bins,
    drawn_rows,
    is_wide,
    log_axis,
    many_axes,
    note,
    one_axes,
    sampled,
    say_drawn,
    shortened,
    weighted_means,
)
from hetglm.utils.messages import listed

#: Number of points of a curve.
N_CURVE_POINTS = 101
#: Number of bins of the fitted mean.
N_BINS = 12
#: Largest number of curves or groups: one colour each.
MAX_GROUPS = len(COLOURS)
#: Largest number of cells at the boundary with profile limits, which take several fits each.
MAX_BOUNDED_CELLS = 12
#: Largest upper limit drawn, relative to the largest estimate: a larger one would flatten the others.
MAX_LIMIT_RATIO = 20.0
#: Suffix of a coefficient without a finite estimate.
NO_ESTIMATE = " (no estimate)"
LINES = ("-", "--", "-.", ":")


# -- the dispersion over a term ---------------------------------------------------------------------


def plot_dispersion(res: Any, term: str, *, alpha: float = 0.05, ax: Any = None) -> Any:
    """
    Plot the fitted dispersion against the variables of a term, with confidence intervals.

    Parameters
    ----------
    res : results
    term : str
        Term of the dispersion with one or two variables, with or without its prefix; the first is
        on the axis, the second by colour. Without a formula, a column.
    alpha : float
        One minus the coverage of the pointwise intervals.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        Other variables are set to their median or mode. Levels at the boundary are drawn at 0, with
        the upper profile limit of `boundary_limits`.

    Raises
    ------
    ValueError
        For an unknown term, a constant, or one of more than two variables.
    """
    alpha = checks.share(alpha, "alpha")
    name = term.removeprefix("dispersion-") if isinstance(term, str) else None
    known = [t for t in res.model.term_list if t.part == "dispersion" and t.factors]
    names = [t.name.removeprefix("dispersion-") for t in known]
    if res.model.core.dispersion_is_known:
        raise ValueError(
            f"term={term!r}: the dispersion has no columns (| 0): it is known, so there is no term to "
            "plot"
        )
    if name not in names:
        raise ValueError(
            f"term={term!r}: choose a term of the dispersion: {listed(names) or 'none'}"
        )
    need_rows(res.model.core)
    random_effects.check(res.model, "plot_dispersion")
    if res.model.spec is None:
        curves, x = _column_curve(res, name, alpha), name
    else:
        x, *hue = _variables(res.model, name)
        curves = _formula_curves(res, x, hue, alpha)
    ax = one_axes(ax)
    for i, (label, frame) in enumerate(curves.items()):
        _curve(ax, frame, i, label, len(curves))
    ax.set_xlabel(x)
    _dispersion_axis(ax, pd.concat(curves.values()))
    core = res.model.core
    ax.set_ylabel(f"dispersion {core.family.symbol}, {100 * (1 - alpha):g} % interval")
    if len(curves) > 1:
        ax.legend(frameon=False, fontsize="small")
    if len(res.model.term_list) and len(known) > 1:
        ax.set_title("other variables at median / mode", fontsize="small", color=INK)
    return ax


def _dispersion_axis(ax: Any, drawn: pd.DataFrame) -> None:
    """Set a log axis, or one from 0 with notes where a dispersion is at the boundary."""
    zero = drawn["predicted"] == 0
    if zero.any():
        bounded = (drawn["ci_upper"][zero] > 0).any()
        what = "upper limits by profile likelihood" if bounded else "see boundary_limits()"
        note(ax, f"0: at the boundary; {what}")
        if not _start_at_zero(ax, drawn):
            note(ax, "an interval ends above the plot")
    elif not (drawn[["predicted", "ci_lower"]] <= 0).to_numpy().any():
        log_axis(ax, "y")
    if np.isinf(drawn["predicted"]).any():
        note(ax, "no marker: infinite, at the boundary")


def _start_at_zero(ax: Any, drawn: pd.DataFrame) -> bool:
    """Start the axis at 0; return whether all intervals fit, or one would flatten the others."""
    ends = drawn[["predicted", "ci_upper"]].to_numpy()
    known = drawn["predicted"].where(drawn["predicted"] > 0, drawn["ci_upper"]).to_numpy()
    most = MAX_LIMIT_RATIO * np.max(known[np.isfinite(known)], initial=0.0)
    shown = ends[ends <= most]
    ax.set_ylim(0, 1.08 * np.max(shown, initial=0.0) or 1.0)
    return not np.any(ends > most)


def _bounded(res: Any, Z: Array, frame: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Return predictions with intervals from 0 to the profile limit for cells at the boundary."""
    if res.boundary is None or not 0 < len(res.boundary.cells) <= MAX_BOUNDED_CELLS:
        return frame
    same = np.all(np.isclose(Z[:, None], res.boundary.cells), axis=2)
    drawn = same.any(axis=1) & (frame["predicted"] == 0).to_numpy()
    if not drawn.any():
        return frame
    upper = res.boundary_limits(alpha)["upper"].to_numpy()[same.argmax(axis=1)]
    low, high = frame["ci_lower"].mask(drawn, 0.0), frame["ci_upper"].mask(drawn, upper)
    return frame.assign(ci_lower=low, ci_upper=high)


def _variables(model: Any, name: str) -> list[str]:
    """Return the one or two variables of a term, with the variable of the axis first."""
    design = model.spec.dispersion
    factors = next(t.factors for t in design.info.terms if t.name() == name)
    read = set().union(*(syntax.names(factor.code)[1] for factor in factors))
    found = [column for column in model.frame.columns if column in read]
    if not 1 <= len(found) <= 2:
        raise ValueError(
            f"term={name!r}: it has {len(found)} variables, but a plot can show one or two; "
            "use get_prediction(new_data, which='dispersion')"
        )
    # a number on the axis, a factor by colour; of two factors the one with more levels on the axis
    return sorted(
        found, key=lambda v: _is_factor(model, v) and 1 + (_colours(model, v) <= MAX_GROUPS)
    )


def _colours(model: Any, name: str) -> int:
    return int(model.frame[name].nunique())


def _is_factor(model: Any, name: str) -> bool:
    return not is_number(model.frame[name]) or name in model.spec.dispersion.categories


def _levels(model: Any, name: str) -> Array:
    return pd.Series(checks.levels(model.frame[name], name), dtype=object).to_numpy()


def _on_axis(model: Any, name: str) -> Array:
    """Return the levels of a factor, or the points of a curve over a number."""
    if _is_factor(model, name):
        return _levels(model, name)
    column = model.frame[name]
    return np.linspace(column.min(), column.max(), N_CURVE_POINTS)


def _by_colour(model: Any, name: str) -> Array:
    """Return the levels of a factor, or three quantiles of a number."""
    if not _is_factor(model, name):
        return np.quantile(model.frame[name], [0.1, 0.5, 0.9])
    found = _levels(model, name)
    if len(found) > MAX_GROUPS:
        raise ValueError(
            f"{name}: {len(found)} levels, but a plot can distinguish only {MAX_GROUPS}"
        )
    return found


def _formula_curves(res: Any, x: str, hue: list[str], alpha: float) -> dict[str, pd.DataFrame]:
    """Return the predictions along x, for each value of the other variable."""
    model = res.model
    places = _on_axis(model, x)
    colours = _by_colour(model, hue[0]) if hue else [None]
    wanted = model.spec.dispersion.variables | set(model.spec.columns.values())
    read = [name for name in model.frame.columns if name in wanted]
    curves = {}
    for level in colours:
        fixed = {x: places} | ({hue[0]: [level] * len(places)} if hue else {})
        data = _typical(model.frame[read], len(places), fixed)
        given = {}
        if model.offset_dispersion is not None and "offset_dispersion" not in model.spec.columns:
            given["offset_dispersion"] = np.full(len(places), np.median(model.offset_dispersion))
        frame = res.get_prediction(data, which="dispersion", **given).summary_frame(alpha)
        design = model.spec.dispersion.build(data).to_numpy()
        frame = _bounded(res, design, frame.reset_index(drop=True), alpha)
        text = f"{level:.3g}" if isinstance(level, float) else str(level)
        curves[f"{hue[0]} = {text}" if hue else ""] = frame.assign(x=places)
    return curves


def _typical(frame: pd.DataFrame, n: int, fixed: dict[str, Any]) -> pd.DataFrame:
    """Return n rows of medians and modes, except for the columns given."""
    columns: dict[str, Any] = {}
    for name, column in frame.items():
        if name in fixed:
            dtype = column.dtype if column.dtype.kind not in "iu" else float
            columns[str(name)] = pd.Series(list(fixed[name]), dtype=dtype)
        elif is_number(column):
            # an observed value, so that C(number) finds its level
            middle = column.quantile(0.5, interpolation="nearest")
            columns[str(name)] = pd.Series([middle] * n, dtype=column.dtype)
        else:
            columns[str(name)] = pd.Series([column.mode().iloc[0]] * n, dtype=column.dtype)
    return pd.DataFrame(columns)


def _column_curve(res: Any, name: str, alpha: float) -> dict[str, pd.DataFrame]:
    """Return the predictions along a column of the design, with the others at their medians."""
    model, Z = res.model, res.model.core.Z
    j = model.dispersion_names.index(name)
    values = np.unique(Z[:, j])
    places = values if len(values) <= 2 else np.linspace(values[0], values[-1], N_CURVE_POINTS)
    rows = np.tile(np.median(Z, axis=0), (len(places), 1))
    rows[:, j] = places
    given = {}
    if model.offset_dispersion is not None:
        given["offset_dispersion"] = np.full(len(places), np.median(model.offset_dispersion))
    found = res.get_prediction(None, rows, which="dispersion", transform=False, **given)
    return {"": _bounded(res, rows, found.summary_frame(alpha), alpha).assign(x=places)}


def _curve(ax: Any, frame: pd.DataFrame, i: int, label: str, curves: int) -> None:
    colour, style = COLOURS[i], {"label": label or None}
    if len(frame) == N_CURVE_POINTS and frame["x"].dtype.kind == "f":
        ax.fill_between(
            frame["x"], frame["ci_lower"], frame["ci_upper"], color=colour, alpha=0.2, lw=0
        )
        ax.plot(frame["x"], frame["predicted"], color=colour, lw=2, ls=LINES[i], **style)
        return
    position = np.arange(len(frame)) + 0.12 * (i - (curves - 1) / 2)
    with np.errstate(invalid="ignore"):
        ends = frame["predicted"] - frame["ci_lower"], frame["ci_upper"] - frame["predicted"]
    ends = np.nan_to_num(ends, posinf=0.0)  # no limit: nothing is drawn
    bars = ax.errorbar(
        position, frame["predicted"], ends, fmt=MARKERS[i], color=colour, ms=6, lw=1.5, **style
    )
    bars[0].set_clip_on(False)  # half of a marker at 0 is below the axis
    names = [f"{v:g}" if isinstance(v, float) else str(v) for v in frame["x"]]
    crowded = sum(map(len, names)) > 50
    ax.set_xticks(range(len(frame)), names, rotation=90 if crowded else 0)
    ax.set_xlim(-0.5, len(frame) - 0.5)


# -- variance against mean ------------------------------------------------------------------------


def plot_mean_variance(res: Any, *, by: Any = None, ax: Any = None, rng: Any = None) -> Any:
    """
    Plot the variance of the response against its mean, with the fitted variance function.

    Parameters
    ----------
    res : results
    by : str or array_like, shape (n,), optional
        Column of the data, or labels, of at most four groups to distinguish.
    ax : matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of the rows drawn, if there are many.

    Returns
    -------
    matplotlib Axes
        Large markers: means of squared residuals divided by 1 - leverage, in bins of the fitted mean
        with equal numbers of rows. Lines: the fitted variance in the same bins. Small dots: the
        fitted variance of single rows, which also depends on their dispersion. For binomial-type
        models all variances are of the proportion. Rows at the limit of a separated mean are left
        out.
    """
    need_rows(res.model.core)
    random_effects.check(res.model, "plot_mean_variance")
    generator = checks.generator(rng)
    groups, n = _groups(res.model, by), res.core.n
    sample = sampled(n, generator)
    core, params = res.core if sample is None else res.core.take(sample), res.fit.internal
    inside = ~separation(res)[0]
    inside = inside if sample is None else inside[sample]
    mean = quantities.predict(core, params, "mean")
    variance = quantities.predict(core, params, "var")
    if core.family.counts_successes:
        variance = variance / core.trials**2
    standardised = LocationScaleInfluence(res, sample).resid_studentized
    square = np.nan_to_num(standardised**2) * variance
    freq = np.ones(core.n) if core.freq is None else core.freq
    ax = one_axes(ax)
    rows = drawn_rows(core.n, generator)
    handles = {}
    for i, (label, member) in enumerate(groups.items()):
        member = inside & (member if sample is None else member[sample])
        if not member.any():
            continue  # a rare group is not in the sample
        dots = rows[member[rows]]
        ax.plot(mean[dots], variance[dots], ".", color=COLOURS[i], ms=2, alpha=0.35, zorder=1)
        codes = bins(mean[member], N_BINS)
        given = (mean[member], variance[member], square[member])
        x, fitted, observed = weighted_means(codes, freq[member], *given)
        (line,) = ax.plot(x, fitted, color=COLOURS[i], lw=2, ls=LINES[i], label="fitted")
        (marks,) = ax.plot(
            *(x, observed, MARKERS[i]),
            **{"color": COLOURS[i], "ms": 7, "mec": "white", "label": "observed"},
        )
        handles[label] = (line, marks)
    if inside.any():
        _scales(ax, mean[inside], core.family.unit_interval)
    proportion = core.family.counts_successes or core.family.takes_trials
    ax.set_xlabel("fitted mean" + (" of the proportion" if proportion else ""))
    ax.set_ylabel("variance (binned)" + (" of the proportion" if proportion else ""))
    _mean_variance_legend(ax, handles, by)
    if not inside.all():
        note(ax, f"{int((~inside).sum()):,} rows at the limit of the mean left out")
    say_drawn(ax, len(rows) if sample is None else len(sample), n)
    return ax


def _mean_variance_legend(ax: Any, handles: dict[str, tuple[Any, Any]], by: Any) -> None:
    """Place the legend above the plot, with an entry for each group."""
    if by is None:
        given: Any = {one.get_label(): one for pair in handles.values() for one in pair}
        title = None
    else:
        given = {shortened(name, 40): pair for name, pair in handles.items()}
        title = (f"{by}: " if isinstance(by, str) else "") + "fitted as lines, observed as markers"
    # number of small characters that fit into a line
    room = 14 * ax.get_position().width * ax.figure.get_figwidth()
    columns = max(1, min(len(given), int(room / (max(map(len, given), default=1) + 8))))
    ax.legend(
        *(list(given.values()), list(given)),
        **{"title": title, "ncols": columns, "frameon": False, "fontsize": "small"},
        **{"title_fontsize": "small", "loc": "lower center", "bbox_to_anchor": (0.5, 1.0)},
    )


def _scales(ax: Any, mean: Array, probability: bool) -> None:
    """Set log axes where the values are positive and of different magnitude."""
    drawn = np.concatenate([line.get_ydata() for line in ax.lines])
    if is_wide(drawn, 5.0):
        log_axis(ax, "y")
    if is_wide(mean) and not probability:
        log_axis(ax, "x")


def _groups(model: Any, by: Any) -> dict[str, Array]:
    """Return which rows are in each group, in the order of the levels."""
    if by is None:
        return {"": np.ones(model.core.n, dtype=bool)}
    labels = _labels(model, by)
    found = checks.levels(labels, "by")
    if len(found) > MAX_GROUPS:
        raise ValueError(
            f"by: {len(found)} groups, but a plot can distinguish only {MAX_GROUPS}; merge some"
        )
    return {str(level): np.asarray(labels == level, dtype=bool) for level in found}


def _no_column(model: Any, by: str) -> str:
    """Return the message for a name that is not a column of the data of a fit."""
    if model.frame is None:
        return f"by={by!r}: a fit of arrays has no named columns; give a label for each row"
    return syntax.not_a_column("by", by, model.frame.columns)


def _labels(model: Any, by: Any) -> pd.Series:
    """Return the group of each row of the fit; labels of dropped rows are left out."""
    n = model.core.n
    if isinstance(by, str):
        if model.frame is None or by not in model.frame.columns:
            raise ValueError(_no_column(model, by))
        labels = model.frame[by]
    else:
        try:
            labels = by if isinstance(by, pd.Series) else pd.Series(arrays.labels(by))
        except (TypeError, ValueError) as exc:
            raise ValueError("by: give the name of one column, or a label for each row") from exc
        if len(labels) not in (n, model.n_passed):
            raise ValueError(f"by: {len(labels)} labels, but there are {n} rows")
        labels = labels if len(labels) == n else labels.iloc[model.kept]
    if labels.isna().any():
        raise ValueError(f"by: missing value in {model.core.names.text(labels.isna())}")
    return labels


# -- coefficients ---------------------------------------------------------------------------------


def plot_coefficients(
    res: Any, *, alpha: float = 0.05, intercept: bool = False, ax: Any = None
) -> Any:
    """
    Plot the coefficients of both parts with confidence intervals (forest plot).

    Parameters
    ----------
    res : results
    alpha : float
        One minus the coverage.
    intercept : bool
        Whether to include the constants.
    ax : sequence of two matplotlib Axes, optional
        For the mean and the dispersion, each on the scale of its link.

    Returns
    -------
    ndarray of matplotlib Axes, shape (2,)
        Coefficients without a finite estimate (separated ones too) are listed without a marker.
    """
    alpha, intercept = checks.share(alpha, "alpha"), checks.flag(intercept, "intercept")
    model, k = res.model, len(res.model.mean_names)
    if model.spec is None:  # constant columns are found from the rows
        need_rows(res.model.core)
    limits = np.asarray(res.conf_int(alpha))
    flat = {j for term in model.term_list if not term.factors for j in term.columns}
    parts = []
    for names, first in ((model.mean_names, 0), (model.dispersion_names, k)):
        parts.append(
            [(n, first + j) for j, n in enumerate(names) if intercept or first + j not in flat]
        )
    tall = 0.9 + 0.3 * max(len(part) for part in parts)
    names = [name for part in parts for name, _ in part]
    # width in inches, with room for the names left of each part
    wide = 2 * (2.4 + 0.07 * (max(map(len, names), default=0) + len(NO_ESTIMATE)))
    size = float(np.clip(wide, 8.0, 30.0)), float(np.clip(tall, 2.5, 20.0))
    axes = many_axes(ax, 1, 2, size, "parts")
    params = np.array(res.params, dtype=float)
    params[np.isin(model.parameter_names, separation(res)[1])] = np.nan
    link = type(model.core.link_dispersion).__name__.lower()
    titles = ("mean", f"dispersion: {link}({model.core.family.symbol})")
    for i, (panel, part, title) in enumerate(zip(axes, parts, titles, strict=True)):
        _forest(panel, part, params, limits, i)
        if not part:
            known = i == 1 and model.core.dispersion_is_known
            text = "known: no coefficients" if known else "constant only"
            panel.annotate(text, (0.5, 0.5), xycoords="axes fraction", ha="center")
        panel.set_title(title, fontsize="medium")
        panel.set_xlabel(f"coefficient, {100 * (1 - alpha):g} % interval", fontsize="small")
    return axes


def _forest(ax: Any, part: list[tuple[str, int]], params: Array, limits: Array, i: int) -> None:
    ax.axvline(0, color=INK, lw=1, ls=":")
    where = np.array([j for _, j in part], dtype=int)
    y = np.arange(len(part))[::-1]
    finite = np.isfinite(params[where])
    ends = np.abs(limits[where] - params[where, None]).T
    ax.errorbar(
        params[where][finite],
        y[finite],
        xerr=np.nan_to_num(ends[:, finite]),
        fmt=MARKERS[i],
        color=COLOURS[i],
        ms=6,
        lw=1.5,
    )
    names = [name + ("" if ok else NO_ESTIMATE) for (name, _), ok in zip(part, finite, strict=True)]
    room = 60 * ax.figure.get_figheight() / max(len(part), 1)  # height of a name in points
    ax.set_yticks(y, names, fontsize=float(np.clip(0.85 * room, 4.0, 8.5)))
    ax.set_ylim(-0.6, max(len(part) - 0.4, 0.6))
