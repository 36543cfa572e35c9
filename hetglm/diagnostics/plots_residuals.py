"""Residual plots: a page of six diagnostic plots, and quantile plots of one or two fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from hetglm.diagnostics import residuals
from hetglm.diagnostics.influence import LocationScaleInfluence, standardised
from hetglm.diagnostics.plots_base import compared, separation
from hetglm.estimation.record import need_rows
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.axes import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    MAX_POINTS,
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

#: Pointwise coverage of the bands.
BAND_COVERAGE = 0.95
#: Number of bins of the fitted dispersion.
N_BINS = 10
#: Number of bins of the contribution of a term.
N_TERM_BINS = 6
#: Largest number of terms in a plot: one colour each.
MAX_TERMS = len(COLOURS)
#: Number of most influential rows that are labelled.
N_LABELLED_ROWS = 3


@dataclass(frozen=True)
class Shown:
    """
    The data of a residual plot: the rows of a fit, or a sample of many, and their residuals.

    Attributes
    ----------
    res : results
    core : Likelihood
        Likelihood of the rows shown.
    rows : ndarray of int, shape (m,), or None
        Positions of the rows shown, None for all.
    freq : ndarray, shape (m,)
        Frequencies of the rows.
    resid : ndarray, shape (m,)
        Quantile residuals, or standardised deviance residuals where there is no distribution.
    label : str
    """

    res: Any
    core: Likelihood
    rows: Array | None
    freq: Array
    resid: Array
    label: str

    @property
    def n(self) -> int:
        """Number of rows of the fit."""
        return int(self.res.core.n)

    @cached_property
    def influence(self) -> Any:
        """Leverages and standardised residuals, without random effects influence measures as well."""
        return self.res.row_diagnostics(self.res, self.rows)

    @cached_property
    def at_limit(self) -> Array:
        """Which rows are at the limit of a separated mean, shape (m,)."""
        found = separation(self.res)[0]
        return found if self.rows is None else found[self.rows]

    @property
    def fitted(self) -> Array:
        """Fitted means, shape (m,)."""
        return quantities.predict(self.core, self.res.fit.internal, "mean")

    def names(self, where: Array) -> list[str]:
        """Return the labels of some of the rows."""
        where = where if self.rows is None else self.rows[where]
        return [str(name) for name in self.res.model.core.names.known[where]]


def shown(res: Any, rng: np.random.Generator) -> Shown:
    """Return the data of a residual plot; residuals of rows that are fitted exactly are set to 0."""
    need_rows(res.model.core)
    core = res.core
    rows = sampled(core.n, rng)
    core = core if rows is None else core.take(rows)
    freq = np.ones(core.n) if core.freq is None else core.freq
    if core.family.exact:
        resid, label = residuals.quantile(core, res.fit.internal, rng), "quantile residual"
    else:
        by_leverage = LocationScaleInfluence(res, rows).resid_studentized_deviance
        resid, label = np.nan_to_num(by_leverage), "standardised deviance residual"
    return Shown(res, core, rows, freq, resid, label)


@dataclass(frozen=True)
class Ordered:
    """
    Ordered residuals with normal quantiles and a pointwise band.

    Attributes
    ----------
    normal, resid, low, high : ndarray, shape (k,)
    """

    normal: Array
    resid: Array
    low: Array
    high: Array


def ordered(resid: Array, freq: Array) -> Ordered:
    """
    Return ordered residuals with pointwise bands for normal order statistics.

    Order statistics of a uniform sample have beta distributions, so the bands are exact and need no
    simulation. Of many residuals only the extremes and some in between are returned.
    """
    order, total = np.argsort(resid), freq.sum()
    keep = _order_statistics(len(resid))
    rank = (np.cumsum(freq[order]) - 0.5 * (freq[order] - 1))[keep]
    beta = stats.beta(rank, total + 1 - rank)
    tail = 0.5 * (1 - BAND_COVERAGE)
    normal = ndtri((rank - 0.5) / total)
    return Ordered(normal, resid[order][keep], ndtri(beta.ppf(tail)), ndtri(beta.ppf(1 - tail)))


def plot_qq(
    res: Any,
    res2: Any = None,
    *,
    labels: tuple[str, str] = ("first fit", "second fit"),
    ax: Any = None,
    rng: Any = None,
) -> Any:
    """
    Plot the ordered residuals of one or two fits against normal quantiles (Q-Q plot).

    Parameters
    ----------
    res, res2 : results
        One or two fits.
    labels : tuple of two str
        Names of the two fits in the legend.
    ax : matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of the residuals of counts.

    Returns
    -------
    matplotlib Axes
        With the pointwise 95 % band under the (first) fitted model. Residuals are quantile residuals;
        for extended quasi-likelihood standardised deviance residuals.
    """
    fits, names = compared(res, res2, labels)
    ax, generator = one_axes(ax), checks.generator(rng)
    found = [shown(fit, generator) for fit in fits]
    for i, one in enumerate(found):
        _qq(ax, one, i, names[i], band=i == 0)
    ax.set_ylabel(_common_label(found))
    _say_order_statistics(ax, found[0])
    ax.legend(frameon=False, fontsize="small", loc="upper left")
    return ax


def plot_qdis(
    res: Any,
    res2: Any = None,
    *,
    labels: tuple[str, str] = ("first fit", "second fit"),
    bins: int = 20,
    ax: Any = None,
    rng: Any = None,
) -> Any:
    """
    Plot a histogram of the probability integral transform (PIT).

    Parameters
    ----------
    res, res2 : results
        One or two fits.
    labels : tuple of two str
        Names of the two fits in the legend.
    bins : int
        Number of intervals from 0 to 1.
    ax : matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of the PIT of counts.

    Returns
    -------
    matplotlib Axes
        Proportion of responses in each interval, uniform under the model, with a pointwise 95 % band.
    """
    bins = checks.count(bins, "bins")
    fits, names = compared(res, res2, labels)
    ax, generator = one_axes(ax), checks.generator(rng)
    found = [shown(fit, generator) for fit in fits]
    edges, total = np.linspace(0, 1, bins + 1), found[0].freq.sum()
    tail = 0.5 * (1 - BAND_COVERAGE)
    low, high = (stats.binom.ppf(q, total, 1 / bins) / total for q in (tail, 1 - tail))
    ax.axhspan(low, high, color=GREY, lw=0, label="95 % under the model")
    ax.axhline(1 / bins, color=INK, lw=1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for i, one in enumerate(found):
        share = np.histogram(ndtr(one.resid), edges, weights=one.freq)[0] / one.freq.sum()
        ax.stairs(share, edges, color=COLOURS[i], lw=1.5, ls=("-", "--")[i])
        ax.plot(middle, share, MARKERS[i], color=COLOURS[i], ms=5, label=names[i])
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.2 * max(ax.get_ylim()[1], high))
    ax.set_ylabel("proportion of responses")
    exact = all(fit.core.family.exact for fit in fits)
    text = "probability integral transform (PIT)"
    ax.set_xlabel(text if exact else "normal probability of the standardised deviance residual")
    say_drawn(ax, len(found[0].resid), found[0].n)
    ax.legend(frameon=False, fontsize="small", loc="upper left", ncols=len(fits) + 1)
    return ax


def plot_diagnostics(res: Any, *, ax: Any = None, rng: Any = None) -> Any:
    """
    Plot a page of six diagnostic plots.

    Parameters
    ----------
    res : results
    ax : sequence of six matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of quantile residuals of counts, and of which of many rows are drawn.

    Returns
    -------
    ndarray of matplotlib Axes, shape (6,)
        Quantile residuals against fitted means; Q-Q plot of quantile residuals; detrended Q-Q plot
        (worm plot; van Buuren and Fredriks 2001), both with a pointwise 95 % band under the fitted
        model; ratio of observed (moment estimate) to fitted dispersion in bins with equal numbers of
        rows, with bars of two standard errors; standardised residuals against leverage, with the
        largest Cook's distances labelled; mean dispersion residual against the contribution of each
        term to the log dispersion. Extended quasi-likelihood has standardised deviance residuals
        instead of quantile residuals. With random effects residuals are conditional on them, leverages
        count them, and the fifth plot has the quantile residuals by group of the first grouping
        variable, in the order of their root mean squares, which are drawn with the pointwise 95 % band
        of normal residuals: groups that are more variable than the model has them are above it.

    References
    ----------
    van Buuren, S. and Fredriks, M. (2001). Worm plot: a simple diagnostic device for modelling
    growth reference curves. Statistics in Medicine 20, 1259-1277.
    """
    generator = checks.generator(rng)
    axes = many_axes(ax, 2, 3, (11.0, 6.6), "plots")
    one = shown(res, generator)
    largest = _most_influential(one)
    drawn = drawn_rows(len(one.resid), generator, largest)
    _against_fitted(axes[0], one, drawn)
    _qq(axes[1], one, 0, None)
    _say_order_statistics(axes[1], one)
    _worm(axes[2], one)
    _dispersion_bins(axes[3], one)
    if res.model.random:
        _groups(axes[4], one, drawn)
    else:
        _leverage(axes[4], one, largest, drawn)
    _dispersion_terms(axes[5], one)
    for panel in axes:
        panel.xaxis.label.set_fontsize("small")
        panel.yaxis.label.set_fontsize("small")
        panel.tick_params(labelsize="small")
    return axes


# -- the panels -------------------------------------------------------------------------------------


def _common_label(found: list[Shown]) -> str:
    """Return the name of the residuals of one or two fits."""
    names = {one.label for one in found}
    return names.pop() if len(names) == 1 else "quantile or standardised deviance residual"


def _say_order_statistics(ax: Any, one: Shown) -> None:
    """Note the number of rows sampled, or of order statistics drawn."""
    kept = len(_order_statistics(len(one.resid)))
    say_drawn(ax, kept if one.rows is None else len(one.resid), one.n)


def _order_statistics(n: int, ends: int = 200) -> Array:
    """Return which order statistics are drawn: all, or the extremes and some in between."""
    if n <= MAX_POINTS:
        return np.arange(n)
    between = np.linspace(ends, n - ends - 1, MAX_POINTS // 2).round().astype(int)
    return np.union1d(np.concatenate([np.arange(ends), np.arange(n - ends, n)]), between)


def _qq(ax: Any, one: Shown, i: int, label: str | None, band: bool = True) -> None:
    at = ordered(one.resid, one.freq)
    if band:
        ax.fill_between(at.normal, at.low, at.high, color=GREY, lw=0, label="95 %, pointwise")
        ax.plot(at.normal, at.normal, color=INK, lw=1)
    ax.plot(
        at.normal, at.resid, MARKERS[i], color=COLOURS[i], ms=3.5, alpha=0.7, mew=0, label=label
    )
    ax.set_xlabel("normal quantile")
    ax.set_ylabel(one.label)


def _worm(ax: Any, one: Shown) -> None:
    at = ordered(one.resid, one.freq)
    low, high = at.low - at.normal, at.high - at.normal
    ax.fill_between(at.normal, low, high, color=GREY, lw=0)
    ax.axhline(0, color=INK, lw=1)
    ax.plot(at.normal, at.resid - at.normal, MARKERS[0], color=COLOURS[0], ms=3.5, alpha=0.7, mew=0)
    ax.set_xlabel("normal quantile")
    ax.set_ylabel("detrended Q-Q (worm plot)")
    _say_order_statistics(ax, one)


def _against_fitted(ax: Any, one: Shown, drawn: Array) -> None:
    fitted = one.fitted
    _cloud(ax, fitted[drawn], one.resid[drawn])
    ax.axhline(0, color=INK, lw=1)
    if is_wide(fitted) and not one.core.family.unit_interval:
        log_axis(ax, "x")
    ax.set_xlabel("fitted mean")
    ax.set_ylabel(one.label)
    say_drawn(ax, len(drawn), one.n)


def _cloud(ax: Any, x: Array, y: Array) -> None:
    """Draw rows as points, more transparent the more there are."""
    alpha = float(np.clip(30 / np.sqrt(len(x) + 1), 0.25, 0.8))
    ax.plot(x, y, MARKERS[0], color=COLOURS[0], ms=3.5, alpha=alpha, mew=0)


@dataclass(frozen=True)
class DispersionBins:
    """
    Observed over fitted dispersion in bins of rows.

    Attributes
    ----------
    x, ratio, se : ndarray, shape (k,)
        Mean of ``by`` in each bin, moment estimate of the ratio and its standard error.
    by : {"fitted dispersion", "fitted mean"}
    left_out : int
        Number of rows without information about the dispersion: at its boundary, at the limit of a
        separated mean, or with one trial.
    """

    x: Array
    ratio: Array
    se: Array
    by: str
    left_out: int


def dispersion_bins(one: Shown) -> DispersionBins:
    """
    Return moment estimates of the ratio of observed to fitted dispersion, in bins.

    One step of the moment equation sum w (e^2/((1 - h) V) - 1) = 0 with w = d log V/d log phi, which
    is 1 in an exponential dispersion model: there the ratio is the mean of e^2/((1 - h) V).
    """
    at = one.core.predictors(one.res.fit.internal)
    weight, short = _components(one)
    use = np.isfinite(weight * short) & (weight > 0) & ~one.at_limit
    freq, weight, short = one.freq[use], weight[use], short[use]
    phi, mu = at.phi[use], at.mean.mu[use]
    constant = len(phi) == 0 or np.ptp(phi) <= 1e-10 * phi.max()
    x, by = (mu, "fitted mean") if constant else (phi, "fitted dispersion")
    codes = bins(x, N_BINS)
    total, information = (np.bincount(codes, freq * weight**k) for k in (1, 2))
    ratio = np.bincount(codes, freq * weight * short) / information
    noise = np.sqrt(np.bincount(codes, freq * (weight * short) ** 2)) / information
    centre = np.bincount(codes, freq * weight * x) / total
    return DispersionBins(centre, 1 + ratio, noise, by, int((~use).sum()))


def _components(one: Shown) -> tuple[Array, Array]:
    """
    Return d log V/d log phi and e^2/((1 - h) V) - 1 of each row.

    Of a family without a dispersion the first is that of its quasi-likelihood: 1, or 0 where the
    variance of a row cannot be another (one trial).
    """
    at = one.core.predictors(one.res.fit.internal)
    _, slope, variance = quantities.variance_slopes(one.core, at)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = slope * at.phi / variance
        if not one.core.family.has_dispersion:
            weight = np.isfinite(residuals.dispersion(one.core, one.res.fit.internal)) * 1.0
        return weight, one.influence.resid_studentized**2 - 1


def _dispersion_bins(ax: Any, one: Shown) -> None:
    found = dispersion_bins(one)
    ax.axhline(1, color=INK, lw=1)
    ax.errorbar(
        found.x,
        found.ratio,
        2 * found.se,
        fmt=MARKERS[0],
        color=COLOURS[0],
        ms=5,
        lw=1.2,
    )
    if len(found.x) and is_wide(found.x, 4.0):
        log_axis(ax, "x")
    ax.set_xlabel(f"{found.by} (binned)")
    ax.set_ylabel("observed / fitted dispersion")
    if found.left_out:
        note(ax, f"{found.left_out} uninformative rows left out")
    say_drawn(ax, len(one.freq), one.n)


def _leverage(ax: Any, one: Shown, largest: Array, drawn: Array) -> None:
    h, r = one.influence.hat_matrix_diag, np.nan_to_num(one.influence.resid_studentized)
    rest = np.setdiff1d(drawn, largest)
    _cloud(ax, h[rest], r[rest])
    ax.plot(h[largest], r[largest], MARKERS[1], color=COLOURS[1], ms=6, mew=0)
    ax.axhline(0, color=INK, lw=1)
    ax.locator_params(axis="x", nbins=5)  # labels of nearly equal leverages are long
    ax.set_xlabel("leverage on the mean")
    ax.set_ylabel("standardised Pearson residual")
    names = [shortened(name, 30) for name in one.names(largest)]
    # long names such as dates have a line each, because a panel is narrow
    note(ax, "Cook's D: " + (", " if sum(map(len, names)) < 20 else ",\n").join(names))
    say_drawn(ax, len(drawn), one.n)


def _most_influential(one: Shown) -> Array:
    """Return the rows with the largest Cook's distances; none with random effects."""
    if one.res.model.random:
        return np.array([], dtype=int)
    distance = np.nan_to_num(one.influence.cooks_distance[0])
    return np.argsort(distance)[::-1][:N_LABELLED_ROWS]


def spread_by_group(one: Shown) -> tuple[Array, Array, Array]:
    """
    Return standardised quantile residuals, the group of each row, and root mean squares of groups.

    Groups are those of the first grouping variable, counted from 0 in the order of their root mean
    squares, which are NaN for groups without a row shown; shapes (m,), (m,) and (G,).
    """
    factor = one.res.model.random[0]
    codes = factor.codes if one.rows is None else factor.codes[one.rows]
    resid = standardised(one.resid, one.influence.hat_matrix_diag)
    use = np.isfinite(resid)
    total = np.bincount(codes[use], one.freq[use], len(factor.levels))
    square = np.bincount(codes[use], (one.freq * resid**2)[use], len(factor.levels))
    with np.errstate(invalid="ignore"):
        size = np.sqrt(square / total)
    order = np.argsort(size)
    return resid, np.argsort(order)[codes], size[order]


def _groups(ax: Any, one: Shown, drawn: Array) -> None:
    resid, group, size = spread_by_group(one)
    rows = np.bincount(group, one.freq, len(size))
    tail = 0.5 * (1 - BAND_COVERAGE)
    x = np.arange(len(size))
    low, high = (np.sqrt(stats.chi2.ppf(q, rows) / rows) for q in (tail, 1 - tail))
    ax.fill_between(x, low, high, step="mid", color=GREY, lw=0)
    ax.axhline(0, color=INK, lw=1)
    _cloud(ax, group[drawn], resid[drawn])
    ax.plot(x, size, MARKERS[1], color=COLOURS[1], ms=4, mew=0)
    factor = one.res.model.random[0]
    ax.set_xlabel(f"{len(size):,} groups of {shortened(factor.name)}, ordered")
    ax.set_ylabel("standardised residual, RMS by group")
    ax.locator_params(axis="x", integer=True)
    say_drawn(ax, len(drawn), one.n)


def contributions(one: Shown) -> dict[str, Array]:
    """Return the contribution of each varying term to the log dispersion, the most variable first."""
    core, k = one.core, one.core.k_mean
    gamma = np.nan_to_num(one.res.fit.internal)[k:]
    found = {}
    for term in one.res.model.term_list:
        if term.part == "dispersion":
            columns = np.array(term.columns, dtype=int) - k
            added = core.Z[:, columns] @ gamma[columns]
            if np.ptp(added) > 1e-10 * np.abs(added).max():
                found[term.name.removeprefix("dispersion-")] = added
    return dict(sorted(found.items(), key=lambda item: -np.std(item[1])))


def _dispersion_terms(ax: Any, one: Shown) -> None:
    terms = contributions(one)
    x_label = "standardised contribution"
    if not terms:
        terms = {"fitted mean": one.fitted}
        x_label = "standardised fitted mean"
    resid = one.influence.resid_studentized_dispersion
    if not one.res.fit.criterion.comparable_means:
        # squared residuals adjusted for leverage, as in the REML criterion
        resid = _components(one)[1] / np.sqrt(2)
    use = np.isfinite(resid) & ~one.at_limit
    if not use.any():
        ax.annotate("no row is informative", (0.5, 0.6), xycoords="axes fraction", ha="center")
        terms = {}
    ax.axhline(0, color=INK, lw=1)
    for i, (name, added) in enumerate(list(terms.items())[:MAX_TERMS]):
        codes, f, r = bins(added[use], N_TERM_BINS), one.freq[use], resid[use]
        x, mean, square = weighted_means(codes, f, added[use], r, r**2)
        x = (x - added[use].mean()) / (added[use].std() or 1.0)
        noise = np.sqrt(np.maximum(square - mean**2, 0) / np.bincount(codes, f))
        shift = 0.03 * (i - (min(len(terms), MAX_TERMS) - 1) / 2) * (np.ptp(x) or 1.0)
        ax.errorbar(
            x + shift,
            mean,
            2 * noise,
            fmt=MARKERS[i],
            ls=("-", "--", "-.", ":")[i],
            color=COLOURS[i],
            ms=5,
            lw=1.2,
            label=shortened(name),
        )
    ax.set_xlabel(x_label)
    ax.set_ylabel("mean dispersion residual")
    if len(terms) > MAX_TERMS:
        note(ax, f"the {MAX_TERMS} of {len(terms)} terms that vary most")
    say_drawn(ax, len(one.freq), one.n)
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.09 * (min(len(terms), MAX_TERMS) + 1) * (high - low))
    if terms:
        ax.legend(frameon=False, fontsize="x-small", loc="upper left")
