"""Matplotlib axes, colours, bins and notes, shared by all plots."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.typing import Array

#: Colours distinguishable by colour-blind readers and in grey (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")

#: Markers of the same groups.
MARKERS = ("o", "^", "s", "D")

#: Grey of bands.
GREY = "0.85"
#: Grey of reference lines and small print.
INK = "0.35"

#: Largest number of tick labels of a short logarithmic axis.
MAX_TICKS = 5

#: Largest number of points drawn: more would only overlap.
MAX_POINTS = 4000
#: Largest number of rows that residuals are computed for; of more rows a sample is used.
MAX_ROWS = 50_000


def require_matplotlib() -> Any:
    """Return matplotlib's Figure class, or raise an ImportError that says how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ImportError("plots need matplotlib: pip install 'hetglm[plot]'") from exc
    return Figure


def one_axes(ax: Any, figsize: tuple[float, float] = (6.4, 4.8)) -> Any:
    """Return the axes given, or those of a new figure."""
    if ax is None:
        return require_matplotlib()(figsize=figsize, layout="constrained").subplots()
    _check_axes([ax], ax)
    return ax


def axes_of(ax: Any, count: int, what: str) -> Array:
    """Return the axes given as a vector; raise unless there are ``count``."""
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    _check_axes(axes, ax)
    if len(axes) != count:
        raise ValueError(f"ax: {len(axes)} axes for {count} {what}")
    return axes


def _check_axes(axes: Any, given: Any) -> None:
    from matplotlib.axes import Axes

    if not all(isinstance(one, Axes) for one in axes):
        raise ValueError(f"ax: give matplotlib Axes, not {type(given).__name__}")


def many_axes(ax: Any, rows: int, columns: int, figsize: tuple[float, float], what: str) -> Any:
    """Return rows x columns axes as a vector: those given, or those of a new figure."""
    if ax is None:
        figure = require_matplotlib()(figsize=figsize, layout="constrained")
        ax = figure.subplots(rows, columns)
    return axes_of(ax, rows * columns, what)


def panels_of(ax: Any, count: int, size: tuple[float, float], what: str) -> Any:
    """Return the axes given as a vector, or those of a new figure, three in a row, each of a size."""
    if ax is None:
        rows = -(-count // 3)
        columns = -(-count // rows)
        figsize = (size[0] * columns, size[1] * rows)
        figure = require_matplotlib()(figsize=figsize, layout="constrained")
        ax = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in ax[count:]:
            spare.remove()
        ax = ax[:count]
    return axes_of(ax, count, what)


def sampled(n: int, rng: np.random.Generator) -> Array | None:
    """Return a sample of rows where there are more than MAX_ROWS, None for all."""
    return None if n <= MAX_ROWS else np.sort(rng.choice(n, MAX_ROWS, replace=False))


def drawn_rows(n: int, rng: np.random.Generator, always: Any = ()) -> Array:
    """Return which rows are drawn, sorted: all, or a sample and ``always``."""
    if n <= MAX_POINTS:
        return np.arange(n)
    return np.union1d(rng.choice(n, MAX_POINTS, replace=False), always).astype(int)


def say_drawn(ax: Any, drawn: int, n: int, what: str = "rows") -> None:
    """Note under the plot that not all rows are drawn."""
    if drawn < n:
        note(ax, f"{drawn:,} of {n:,} {what} drawn")


def note(ax: Any, text: str) -> None:
    """Add a line to the label of the x axis."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n({text})")


def shortened(name: str, most: int = 24) -> str:
    """Return a name shortened in the middle to fit into a legend."""
    if len(name) <= most:
        return name
    head = (most - 2) // 2
    return f"{name[:head]}...{name[head + 3 - most :]}"


def bins(x: Array, most: int) -> Array:
    """Return the bin of each value: the distinct values, or quantile bins where there are more."""
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
    """Return whether values are positive and the largest exceeds ``times`` the smallest."""
    return bool(np.all(x > 0) and x.max() > times * x.min())


def log_axis(ax: Any, which: str) -> None:
    """Set a logarithmic x or y axis, with plain numbers as labels where it is short."""
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter

    getattr(ax, f"set_{which}scale")("log")
    low, high = sorted(getattr(ax, f"get_{which}lim")())
    if low < 1e-4 or high > 1e6 or high > 2000 * low:
        return  # matplotlib's powers of ten are clearer
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    axis = getattr(ax, f"{which}axis")
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = np.sort(np.outer(decades, steps).ravel())
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= MAX_TICKS:
            break
    axis.set_major_locator(FixedLocator(ticks.tolist()))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
