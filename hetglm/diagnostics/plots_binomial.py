"""Extra-binomial variance by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hetglm.utils.axes import COLOURS, MARKERS, one_axes


def beyond_binomial(data: pd.DataFrame, successes: str, trials: str, by: list[str]) -> pd.Series:
    """
    Return moment estimates of the intraclass correlation (extra-binomial variance) in each cell.

    Parameters
    ----------
    data : DataFrame
        One row for each proportion.
    successes, trials : str
        Names of columns.
    by : list of str
        Columns that define the cells.

    Returns
    -------
    Series
        (s^2/(p (1 - p)) - m)/(1 - m), with p and s^2 the mean and variance of the proportions of a
        cell and m the mean of 1/trials; approximately sigma where sigma is small.
    """
    cells = data.assign(_share=data[successes] / data[trials], _inverse=1 / data[trials])
    cells = cells.groupby(by, observed=True).agg(
        p=("_share", "mean"), s2=("_share", "var"), m=("_inverse", "mean")
    )
    return (cells.s2 / (cells.p * (1 - cells.p)) - cells.m) / (1 - cells.m)


def plot_beyond_binomial(
    observed: pd.Series, fitted: pd.DataFrame, x: str, hue: str, ax: Any = None
) -> Any:
    """
    Plot the extra-binomial variance of each cell with the fitted dispersions.

    Parameters
    ----------
    observed : Series
        From `beyond_binomial`; its index has the levels ``x`` and ``hue``.
    fitted : DataFrame
        Columns ``x``, ``hue``, ``predicted``, ``ci_lower``, ``ci_upper``.
    x, hue : str
        Factors on the axis and by colour.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = one_axes(ax, (8.0, 5.0))
    points = observed[observed > 0].rename("value").reset_index()
    positions, levels = sorted(fitted[x].unique()), sorted(fitted[hue].unique())
    width = 0.8 / len(levels)
    for j, level in enumerate(levels):
        shift = (j - (len(levels) - 1) / 2) * width
        colour, marker = COLOURS[j % len(COLOURS)], MARKERS[j % len(MARKERS)]
        for i, position in enumerate(positions):
            values = np.sort(points.loc[(points[x] == position) & (points[hue] == level), "value"])
            jitter = np.linspace(-0.3, 0.3, len(values)) * width
            ax.plot(i + shift + jitter, values, marker, color=colour, alpha=0.55, ms=5, mec="none")
            cell = fitted[(fitted[x] == position) & (fitted[hue] == level)].iloc[0]
            ends = [i + shift - 0.42 * width, i + shift + 0.42 * width]
            ax.fill_between(ends, cell.ci_lower, cell.ci_upper, color=colour, alpha=0.2, lw=0)
            label = f"{hue} {level}" if i == 0 else None
            ax.plot(
                ends, [cell.predicted] * 2, color=colour, lw=2.5, marker=marker, ms=0, label=label
            )
    below = int((observed <= 0).sum())
    if below:
        text = f"{below} of {len(observed)} cells with less than binomial variance are not shown"
        ax.annotate(text, (0.99, 0.01), xycoords="axes fraction", ha="right", fontsize="small")
    ax.set_yscale("log")
    ax.set_xticks(range(len(positions)), [str(position) for position in positions])
    ax.set_xlabel(x)
    ax.set_ylabel("extra-binomial variance of K/N\n(intraclass correlation, about sigma)")
    ax.legend(frameon=False, loc="upper left", ncols=len(levels))
    ax.margins(y=0.15)
    return ax
