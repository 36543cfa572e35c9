"""Plots of random effects: modes with intervals, against normal quantiles, and against each other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from hetglm.diagnostics.plots_residuals import ordered
from hetglm.likelihood.links import link_text
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.axes import COLOURS, GREY, INK, MARKERS, note, panels_of, shortened
from hetglm.utils.messages import listed

#: Height in inches of a level with a label.
LABEL_HEIGHT = 0.125
#: Largest height in inches of a new figure.
MAX_HEIGHT = 9.0
#: Share of the height of the axes of an intended figure that the layout leaves to them.
AXES_SHARE = 0.8
#: Coverage of the ellipses of pairs of effects.
ELLIPSE_COVERAGE = 0.95
#: Number of groups farthest from 0 that are labelled.
N_LABELLED_GROUPS = 3
#: Share of a variance that the data must determine for a standardised effect.
MIN_DETERMINED_SHARE = 1e-6

COLOUR_OF = dict(zip(("mean", "dispersion"), COLOURS, strict=False))


@dataclass(frozen=True)
class Column:
    """
    Random effects of one column of a grouping factor.

    Attributes
    ----------
    factor, part, name : str
        ``name`` as in the standard deviation's, such as ``"Subject: Days"``.
    at : int
        Position in the factor.
    scale : str
        Of the linear predictor that they are added to, such as ``"log(sigma)"``.
    levels : list of str, length G
    modes, sd, given : ndarray, shape (G,)
        Modes, their standard deviations with the uncertainty of the estimates and given the estimates.
    total : float
        Estimated standard deviation of the effects.
    """

    factor: str
    part: str
    name: str
    at: int
    scale: str
    levels: list[str]
    modes: Array
    sd: Array
    given: Array
    total: float

    @property
    def label(self) -> str:
        """Label of an axis."""
        return f"effect on {self.scale}"


def columns(res: Any, factor: str | None, part: str | None) -> list[Column]:
    """Return the columns of a grouping factor and a part, all by default."""
    core, table, components = res.model.core, res.ranef(), res.variance_components
    scales = {
        "mean": link_text(core.link, "mu"),
        "dispersion": link_text(core.link_dispersion, core.family.symbol),
    }
    names = list(components["factor"].unique())
    if factor is not None and factor not in names:
        raise ValueError(f"factor={factor!r}: choose a grouping variable: {listed(names)}")
    if part is not None and part not in scales:
        raise ValueError(f"part={part!r}: choose 'mean' or 'dispersion'")
    found: list[Column] = []
    by_column = table.groupby(["factor", "part", "column"], sort=False)
    for (name, row), ((of, at_part, _), rows) in zip(components.iterrows(), by_column, strict=True):
        found.append(
            Column(
                factor=of,
                part=at_part,
                name=str(name).removeprefix("sd(").removesuffix(")"),
                at=sum(one.factor == of for one in found),
                scale=scales[at_part],
                levels=[str(level) for level in rows["level"]],
                modes=rows["mode"].to_numpy(),
                sd=rows["sd"].to_numpy(),
                given=rows["sd_given_estimates"].to_numpy(),
                total=float(row["sd"]),
            )
        )
    found = [c for c in found if factor in (None, c.factor) and part in (None, c.part)]
    if not found:
        raise ValueError(f"part={part!r}: there are no random effects of the {part}")
    return found


# -- modes with intervals ---------------------------------------------------------------------------


def plot_random_effects(
    res: Any,
    *,
    factor: str | None = None,
    part: str | None = None,
    alpha: float = 0.05,
    ax: Any = None,
) -> Any:
    """
    Plot the random effects of the groups with intervals, in increasing order (caterpillar plot).

    Parameters
    ----------
    res : MixedResults
    factor : str, optional
        Grouping variable; all by default.
    part : {"mean", "dispersion"}, optional
        Both by default.
    alpha : float
        One minus the coverage of the intervals.
    ax : matplotlib Axes or sequence of them, optional
        One for each column of each grouping variable.

    Returns
    -------
    ndarray of matplotlib Axes
        Conditional modes; thick lines are intervals given the estimates (as those of lme4's
        ``dotplot(ranef(fit))``), thin lines include the uncertainty of the estimates.

    Raises
    ------
    ValueError
        For an unknown grouping variable or part.
    """
    alpha = checks.share(alpha, "alpha")
    found = columns(res, factor, part)
    most = max(len(one.levels) for one in found)
    height = float(np.clip(LABEL_HEIGHT * most / AXES_SHARE + 0.6, 3.2, MAX_HEIGHT))
    axes = panels_of(ax, len(found), (4.2, height), "columns of random effects")
    for panel, one in zip(axes, found, strict=True):
        _caterpillar(panel, one, float(stats.norm.isf(alpha / 2)))
    note(axes[0], f"{100 * (1 - alpha):g} % intervals;\nthick: given the estimates")
    return axes


def _caterpillar(ax: Any, one: Column, z: float) -> None:
    order, y, colour = np.argsort(one.modes), np.arange(len(one.modes)), COLOUR_OF[one.part]
    mode = one.modes[order]
    ax.axvline(0, color=INK, lw=1)
    for sd, width in ((one.sd, 1.0), (one.given, 3.0)):
        half = z * sd[order]
        ax.hlines(y, mode - half, mode + half, colors=colour, lw=width, alpha=0.6)
    ax.plot(mode, y, MARKERS[0], color=colour, ms=4, mec="white", mew=0.5)
    ax.set_ylim(-0.8, len(y) - 0.2)
    ax.set_title(shortened(one.name, 36), fontsize="medium")
    ax.set_xlabel(one.label)
    height = ax.figure.get_figheight() * ax.get_position().height
    if LABEL_HEIGHT * len(y) <= height:
        names = [shortened(one.levels[i]) for i in order]
        ax.set_yticks(y, names, fontsize="small" if len(y) <= 0.6 * height / LABEL_HEIGHT else 7)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(y):,} levels of {one.factor}")


# -- against normal quantiles -----------------------------------------------------------------------


def standardised(one: Column) -> Array:
    """
    Return modes over their standard deviation in repeated samples, shape (G,).

    The variance of a mode is that of the effect less its variance given the data (exactly so in a
    linear mixed model; Lange and Ryan 1989). NaN where the data determine nothing of an effect.
    """
    variance = one.total**2 - one.given**2
    with np.errstate(invalid="ignore", divide="ignore"):
        known = variance > MIN_DETERMINED_SHARE * one.total**2
        return np.where(known, one.modes / np.sqrt(variance), np.nan)


def plot_random_effects_qq(
    res: Any, *, factor: str | None = None, part: str | None = None, ax: Any = None
) -> Any:
    """
    Plot the ordered random effects against normal quantiles (Q-Q plot).

    Parameters
    ----------
    res : MixedResults
    factor : str, optional
        Grouping variable; all by default.
    part : {"mean", "dispersion"}, optional
        Both by default.
    ax : matplotlib Axes or sequence of them, optional
        One for each column of each grouping variable.

    Returns
    -------
    ndarray of matplotlib Axes
        Modes over their standard deviation in repeated samples, sd^2 less the variance given the data:
        standard normal if the effects are normal (approximately where the model is no linear mixed
        one); the band has 95 % pointwise. Groups of which the data say nothing are left out.

    Raises
    ------
    ValueError
        For an unknown grouping variable or part.

    References
    ----------
    Lange, N. and Ryan, L. (1989). Assessing normality in random effects models. Annals of Statistics
    17, 624-642.
    """
    found = columns(res, factor, part)
    axes = panels_of(ax, len(found), (3.8, 3.6), "columns of random effects")
    for panel, one in zip(axes, found, strict=True):
        _qq(panel, one)
    return axes


def _qq(ax: Any, one: Column) -> None:
    values = standardised(one)
    values = values[np.isfinite(values)]
    ax.set_title(shortened(one.name, 36), fontsize="medium")
    ax.set_xlabel("normal quantile")
    ax.set_ylabel("standardised random effect")
    if not len(values):
        ax.annotate("sd is 0", (0.5, 0.5), xycoords="axes fraction", ha="center")
        return
    at = ordered(values, np.ones(len(values)))
    ax.fill_between(at.normal, at.low, at.high, color=GREY, lw=0)
    ax.plot(at.normal, at.normal, color=INK, lw=1)
    ax.plot(at.normal, at.resid, MARKERS[0], color=COLOUR_OF[one.part], ms=4, alpha=0.8, mew=0)
    if len(values) < len(one.modes):
        note(ax, f"{len(one.modes) - len(values)} of {len(one.modes)} groups left out")


# -- against each other -----------------------------------------------------------------------------


def plot_random_effects_pairs(res: Any, *, factor: str | None = None, ax: Any = None) -> Any:
    """
    Plot the random effects of each group against each other, those of the mean and of the dispersion.

    Parameters
    ----------
    res : MixedResults
    factor : str, optional
        Grouping variable; all by default.
    ax : matplotlib Axes or sequence of them, optional
        One for each pair of columns of a grouping variable.

    Returns
    -------
    ndarray of matplotlib Axes
        Conditional modes with 95 % intervals given the estimates, and the ellipse that has 95 % of
        the effects by their estimated covariance; modes vary less than the effects. The title has the
        correlation, or "independent" where the model has none. The groups farthest out are labelled.

    Raises
    ------
    ValueError
        For an unknown grouping variable, or if no grouping variable has two columns.
    """
    found = columns(res, factor, None)
    pairs = [(a, b) for a, b in combinations(found, 2) if a.factor == b.factor]
    if not pairs:
        raise ValueError(
            "plot_random_effects_pairs: each grouping variable has one column, so there is no pair; "
            "plot_random_effects() has the effects"
        )
    axes = panels_of(ax, len(pairs), (4.2, 4.0), "pairs of columns")
    structures = {one.name: i for i, one in enumerate(res.structure.factors)}
    for panel, (a, b) in zip(axes, pairs, strict=True):
        index = structures[a.factor]
        covariance = res.structure.covariances(res.fit.theta)[index]
        together = (a.at, b.at) in res.structure.factors[index].pairs
        _pair(panel, a, b, covariance[np.ix_([a.at, b.at], [a.at, b.at])], together)
    return axes


def _pair(ax: Any, a: Column, b: Column, covariance: Array, together: bool) -> None:
    z = float(stats.norm.isf(0.5 * (1 - ELLIPSE_COVERAGE)))
    half = z * a.given, z * b.given
    ax.hlines(b.modes, a.modes - half[0], a.modes + half[0], colors=GREY, lw=1, zorder=1)
    ax.vlines(a.modes, b.modes - half[1], b.modes + half[1], colors=GREY, lw=1, zorder=1)
    ax.axhline(0, color=INK, lw=0.8, zorder=1)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.plot(*_ellipse(covariance), color=COLOURS[2], lw=1.3)
    ax.plot(a.modes, b.modes, MARKERS[0], color=COLOURS[0], ms=4, alpha=0.8, mew=0)
    modes = np.column_stack([a.modes, b.modes])
    distance = np.einsum("gj,jk,gk->g", modes, np.linalg.pinv(covariance), modes)
    for g in np.argsort(distance)[::-1][:N_LABELLED_GROUPS]:
        right = a.modes[g] < 0  # labels are towards the middle
        ax.annotate(
            shortened(a.levels[g]),
            modes[g],
            xytext=(4 if right else -4, 3),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize="x-small",
        )
    product = a.total * b.total
    title = "independent"
    if together:
        title = f"correlation {covariance[0, 1] / product:.2f}" if product else "an sd is 0"
    ax.set_title(title, fontsize="medium")
    ax.set_xlabel(f"{shortened(a.name, 30)}: {a.label}")
    ax.set_ylabel(f"{shortened(b.name, 30)}: {b.label}")


def _ellipse(covariance: Array) -> Array:
    """Return points of the ellipse of a covariance matrix, shape (2, m)."""
    values, vectors = np.linalg.eigh(covariance)
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.sqrt(stats.chi2.ppf(ELLIPSE_COVERAGE, 2)) * np.vstack(
        [np.cos(angle), np.sin(angle)]
    )
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ circle)
