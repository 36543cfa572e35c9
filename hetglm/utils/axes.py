"""Matplotlib axes, colours, bins and notes: what every plot shares, whatever it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hetglm.typing import Array

#: Colours that stay apart for colour-blind readers and in grey (Okabe and Ito), with markers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")

MARKERS = ("o", "^", "s", "D")

#: Of bands, lines that nothing is compared with, and small print.
GREY, INK = "0.85", "0.35"

#: Labels on a short logarithmic axis.
MOST_TICKS = 5

#: More points than this say no more; and of more rows than that, a sample is looked at.
POINTS, SAMPLE = 4000, 50_000


def require_matplotlib() -> Any:
    """Return matplotlib's Figure class, or raise an ImportError that says how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ImportError("pictures need matplotlib: pip install 'hetglm[plot]'") from exc
    return Figure


def one_axes(ax: Any, figsize: tuple[float, float] = (6.4, 4.8)) -> Any:
    """Return the axes given, or those of a new figure."""
    if ax is None:
        return require_matplotlib()(figsize=figsize, layout="constrained").subplots()
    _check_axes([ax], ax)
    return ax


def axes_of(ax: Any, count: int, what: str) -> Array:
    """Return the axes given as a vector of so many."""
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    _check_axes(axes, ax)
    if len(axes) != count:
        raise ValueError(f"ax: {len(axes)} axes for {count} {what}")
    return axes


def _check_axes(axes: Any, given: Any) -> None:
    from matplotlib.axes import Axes

    if not all(isinstance(one, Axes) for one in axes):
        raise ValueError(f"ax: give matplotlib Axes, not {type(given).__name__}")


def flag(value: Any, name: str) -> bool:
    """Return True or False."""
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
            f"{name}: labels of several types have no order; make them strings"
        ) from exc


def many_axes(ax: Any, rows: int, columns: int, figsize: tuple[float, float], what: str) -> Any:
    """Return rows x columns axes as a vector: those given, or those of a new figure."""
    if ax is None:
        figure = require_matplotlib()(figsize=figsize, layout="constrained")
        ax = figure.subplots(rows, columns)
    return axes_of(ax, rows * columns, what)


def sampled(n: int, rng: np.random.Generator) -> Array | None:
    """Return the rows of a picture where it looks at a sample of very many, None for all."""
    return None if n <= SAMPLE else np.sort(rng.choice(n, SAMPLE, replace=False))


def drawn_rows(n: int, rng: np.random.Generator, always: Any = ()) -> Array:
    """Return which rows are drawn, sorted: all, or some of them with those that always are."""
    if n <= POINTS:
        return np.arange(n)
    return np.union1d(rng.choice(n, POINTS, replace=False), always).astype(int)


def say_drawn(ax: Any, drawn: int, n: int, what: str = "rows") -> None:
    """Say under the picture that not everything is drawn."""
    if drawn < n:
        note(ax, f"{drawn:,} of {n:,} {what} drawn")


def note(ax: Any, text: str) -> None:
    """Add a line to the label of the abscissa, where nothing can be in its way."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n({text})")


def shortened(name: str, most: int = 24) -> str:
    """Return a name that fits into a legend; its ends, which tell the most, are kept."""
    if len(name) <= most:
        return name
    head = (most - 2) // 2
    return f"{name[:head]}...{name[head + 3 - most :]}"


def bins(x: Array, most: int) -> Array:
    """Return the bin of each value: a distinct value each, or quantiles where there are more."""
    values, codes = np.unique(x, return_inverse=True)
    if len(values) <= most:
        return codes.ravel()
    edges = np.quantile(x, np.linspace(0, 1, most + 1)[1:-1])
    return np.unique(np.searchsorted(edges, x, side="right"), return_inverse=True)[1].ravel()


def weighted_means(codes: Array, weight: Array, *values: Array) -> list[Array]:
    """Return the weighted mean of each array in each bin."""
    total = np.bincount(codes, weight)
    return [np.bincount(codes, weight * v) / total for v in values]


def is_wide(x: Array, times: float = 20.0) -> bool:
    """Return whether positive values range over so many times the smallest that logarithms help."""
    return bool(np.all(x > 0) and x.max() > times * x.min())


def log_axis(ax: Any, which: str) -> None:
    """Make the x or y axis logarithmic, with labels a reader can read where it is short."""
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    getattr(ax, f"set_{which}scale")("log")
    low, high = sorted(getattr(ax, f"get_{which}lim")())
    if low < 1e-4 or high > 1e6 or high > 2000 * low:
        return  # powers of ten say it better
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    axis = getattr(ax, f"{which}axis")
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = np.sort(np.outer(decades, steps).ravel())
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= MOST_TICKS:
            break
    axis.set_major_locator(FixedLocator(ticks.tolist()))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
