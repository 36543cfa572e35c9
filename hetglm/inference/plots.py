"""Plots of bootstrap replicates and of profile likelihoods."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.utils.axes import COLOURS, MARKERS, one_axes, panels_of

#: Largest height of bars and lines, as a fraction of the axes: the legend is above them.
MAX_HEIGHT = 0.66


def plot_replicates(panels: list[tuple[Any, ...]], interval: str, ax: Any = None) -> Any:
    """
    Plot histograms of bootstrap replicates, with estimates and intervals.

    Parameters
    ----------
    panels : list of tuples
        Name, replicates (NaN where not finite), estimate and limits of each coefficient.
    interval : str
        Label of the limits in the legend.
    ax : matplotlib Axes or sequence of them, optional
        One for each panel.

    Returns
    -------
    ndarray of matplotlib Axes, shape (len(panels),)
    """
    axes = panels_of(ax, len(panels), (4, 3), "coefficients")
    for panel, (name, values, estimate, limits) in zip(axes, panels, strict=True):
        _histogram(panel, values, estimate, limits, interval)
        panel.set_title(name, fontsize="medium")
    axes[0].legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(0, 0.93))
    return axes


def _histogram(ax: Any, values: Any, estimate: float, limits: Any, interval: str) -> None:
    finite = values[np.isfinite(values)]
    if len(finite):
        ax.hist(finite, bins="auto", color=COLOURS[0], alpha=0.45, ec="white", lw=0.4)
    # bars and lines end below the legend and the note
    ax.axvline(estimate, 0, MAX_HEIGHT, color=COLOURS[1], lw=2, label="estimate")
    for i, limit in enumerate(limits[np.isfinite(limits)]):
        ax.axvline(
            limit, 0, MAX_HEIGHT, color=COLOURS[1], lw=1.2, ls="--", label=None if i else interval
        )
    if len(finite) < len(values):
        text = f"{len(values) - len(finite)} of {len(values)} replicates are not finite"
        ax.annotate(
            text, (0.99, 0.97), xycoords="axes fraction", ha="right", va="top", fontsize="small"
        )
    ax.set_xlabel("coefficient")
    ax.set_ylabel("replicates")
    if ax.patches:
        ax.set_ylim(0, max(bar.get_height() for bar in ax.patches) / MAX_HEIGHT)


def plot_profile(profile: Any, limits: Any, cut: float, level: str, ax: Any = None) -> Any:
    """
    Plot a profile log-likelihood relative to its maximum, with the estimate and the interval.

    Parameters
    ----------
    profile : Profile
    limits : ndarray, shape (2,)
        Confidence limits; infinite for none.
    cut : float
        Drop of the log-likelihood at the limits.
    level : str
        Coverage of the interval, for the legend.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    ax = one_axes(ax, (6.0, 4.0))
    coefficient = profile.of_root()
    root = np.linspace(coefficient.x[0], coefficient.x[-1], 201)
    ax.plot(coefficient(root), -0.5 * root**2, color=COLOURS[0], lw=2, label="profile")
    ends = np.clip(limits, profile.values[0], profile.values[-1])
    low, high = (f"{limit:.4g}" for limit in limits)
    ax.plot(ends, [-cut, -cut], color=COLOURS[1], lw=1.5, label=f"{level}: {low} to {high}")
    finite = limits[np.isfinite(limits)]
    bottom = -2.3 * cut
    ax.vlines(finite, bottom, -cut, color=COLOURS[1], lw=1.2, ls=":")
    at = f"estimate: {profile.estimate:.4g}"
    ax.plot([profile.estimate], [0], MARKERS[0], color=COLOURS[1], ms=7, label=at)
    shown = coefficient(root[0.5 * root**2 <= -bottom])
    if coefficient.x[0] < 0 < coefficient.x[-1]:
        x = np.linspace(shown[0], shown[-1], 201)
        wald = -0.5 * ((x - profile.estimate) / coefficient.derivative()(0.0)) ** 2
        ax.plot(x, wald, color="0.45", lw=1.2, ls="--", label="Wald")
    ax.set_ylim(bottom, 0.25 * cut)
    ax.set_xlim(shown[0], shown[-1])
    ax.set_xlabel(profile.name)
    ax.set_ylabel("log-likelihood - maximum")
    ax.legend(framealpha=0.9, edgecolor="none", fontsize="small", loc="best")
    return ax
