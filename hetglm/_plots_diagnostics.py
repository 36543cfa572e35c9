"""Pictures of residuals: the page of six, and the pair of quantile pictures for one or two fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr, ndtri

from hetglm import _arrays, prediction, residuals
from hetglm._plots_base import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    POINTS,
    bins,
    drawn_rows,
    is_wide,
    many_axes,
    note,
    one_axes,
    say_drawn,
    weighted_means,
)

Array = NDArray[Any]

#: Coverage of the bands.
LEVEL = 0.95
#: Bins of the dispersion, bins of a term, and terms in one picture.
BINS, TERM_BINS, TERMS = 10, 6, len(COLOURS)
#: Rows that are named as the most influential.
NAMED = 3


@dataclass(frozen=True)
class Shown:
    """
    Residuals of a fit that a picture of their distribution shows.

    Attributes
    ----------
    resid : ndarray, shape (n,)
        Quantile residuals, or standardised deviance residuals where there is no distribution.
    label : str
    freq : ndarray, shape (n,)
        Frequencies of the rows.
    """

    resid: Array
    label: str
    freq: Array


def shown(res: Any, rng: np.random.Generator) -> Shown:
    """Return what stands for a fit's residuals in pictures; rows fitted exactly are left at 0."""
    core = res._core
    if core.n == 0:
        raise ValueError("the data of the fit were removed (remove_data); fit again")
    freq = np.ones(core.n) if core.freq is None else core.freq
    if core.family.exact:
        return Shown(residuals.quantile(core, res._fit.internal, rng), "quantile residual", freq)
    standardised = res.get_influence().resid_studentized_deviance
    return Shown(np.nan_to_num(standardised), "standardised deviance residual", freq)


@dataclass(frozen=True)
class Ordered:
    """
    Residuals in order with the normal quantiles of their places and a pointwise band.

    Attributes
    ----------
    normal, resid, low, high : ndarray, shape (n,)
    """

    normal: Array
    resid: Array
    low: Array
    high: Array


def ordered(resid: Array, freq: Array) -> Ordered:
    """
    Return residuals in order, with the band of each order statistic of a normal sample.

    The residuals of data simulated from the fit are such a sample, so the band is where endless
    simulations would put it: the quantiles of a beta distribution.
    """
    order = np.argsort(resid)
    total = freq.sum()
    place = np.cumsum(freq[order]) - 0.5 * (freq[order] - 1)
    beta = stats.beta(place, total + 1 - place)
    tail = 0.5 * (1 - LEVEL)
    normal = ndtri((place - 0.5) / total)
    return Ordered(normal, resid[order], ndtri(beta.ppf(tail)), ndtri(beta.ppf(1 - tail)))


def plot_qq(
    res: Any,
    res2: Any = None,
    *,
    labels: tuple[str, str] = ("first fit", "second fit"),
    ax: Any = None,
    rng: Any = None,
) -> Any:
    """
    Draw the ordered residuals of one or two fits against normal quantiles.

    Parameters
    ----------
    res, res2 : results
        One fit, or two.
    labels : tuple of two str
        Names of two fits.
    ax : matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of the residuals of counts.

    Returns
    -------
    matplotlib Axes
        With the pointwise 95 % band of samples from the (first) fitted model. The residuals are the
        quantile residuals, or the standardised deviance residuals for extended quasi-likelihood.
    """
    ax, generator = one_axes(ax), _arrays.generator(rng)
    fits = _fits(res, res2)
    found = [shown(fit, generator) for fit in fits]
    for i, one in enumerate(found):
        _qq(ax, one, i, labels[i] if len(fits) > 1 else None, generator, band=i == 0)
    ax.set_ylabel(_common_label(found))
    ax.set_xlabel("normal quantile")
    _note_thinning(ax, found)
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
    Draw how the places of the responses in their fitted distributions are spread.

    Parameters
    ----------
    res, res2 : results
        One fit, or two.
    labels : tuple of two str
        Names of two fits.
    bins : int
        Intervals of the places from 0 to 1.
    ax : matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of the places of counts.

    Returns
    -------
    matplotlib Axes
        Shares of the responses in each interval, equal under the model, with the 95 % band of each.
    """
    ax, generator = one_axes(ax), _arrays.generator(rng)
    bins = _arrays.count(bins, "bins")
    fits = _fits(res, res2)
    found = [shown(fit, generator) for fit in fits]
    edges, total = np.linspace(0, 1, bins + 1), found[0].freq.sum()
    tail = 0.5 * (1 - LEVEL)
    low, high = (stats.binom.ppf(q, total, 1 / bins) / total for q in (tail, 1 - tail))
    ax.axhspan(low, high, color=GREY, lw=0, label="95 % under the model")
    ax.axhline(1 / bins, color=INK, lw=1)
    middle = 0.5 * (edges[1:] + edges[:-1])
    for i, one in enumerate(found):
        share = np.histogram(ndtr(one.resid), edges, weights=one.freq)[0] / one.freq.sum()
        label = labels[i] if len(fits) > 1 else None
        ax.stairs(share, edges, color=COLOURS[i], lw=1.5, ls=("-", "--")[i])
        ax.plot(middle, share, MARKERS[i], color=COLOURS[i], ms=5, label=label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.2 * max(ax.get_ylim()[1], high))
    ax.set_ylabel("share of the responses")
    exact = all(fit._core.family.exact for fit in fits)
    text = "place in the fitted distribution"
    ax.set_xlabel(text if exact else "normal probability of the standardised deviance residual")
    ax.legend(frameon=False, fontsize="small", loc="upper left", ncols=len(fits) + 1)
    return ax


def plot_diagnostics(res: Any, *, ax: Any = None, rng: Any = None) -> Any:
    """
    Draw a page of six pictures that show where a fit fails.

    Parameters
    ----------
    res : results
    ax : sequence of six matplotlib Axes, optional
    rng : None, int or numpy.random.Generator
        Source of randomness of quantile residuals of counts, and of which of many rows are drawn.

    Returns
    -------
    ndarray of matplotlib Axes, shape (6,)
        Quantile residuals against fitted means; in order against normal quantiles; the same less
        these quantiles (worm plot; van Buuren and Fredriks 2001), both with the pointwise 95 % band
        of samples from the fitted model; observed over fitted dispersion, by moments, in bins of
        equal numbers, with bars of two standard errors; standardised residuals against leverage,
        with the largest Cook's distances; mean dispersion residual by what each term adds to the
        dispersion. Extended quasi-likelihood has standardised deviance residuals instead of
        quantile residuals.

    References
    ----------
    van Buuren, S. and Fredriks, M. (2001). Worm plot: a simple diagnostic device for modelling
    growth reference curves. Statistics in Medicine 20, 1259-1277.
    """
    generator = _arrays.generator(rng)
    axes = many_axes(ax, 2, 3, (11.0, 6.6), "pictures")
    found, influence = shown(res, generator), res.get_influence()
    distance = np.nan_to_num(influence.cooks_distance[0])
    largest = np.argsort(distance)[::-1][:NAMED]
    rows = drawn_rows(len(found.resid), generator, largest)
    _against_fitted(axes[0], res, found, rows)
    _qq(axes[1], found, 0, None, generator)
    axes[1].set_ylabel(found.label)
    axes[1].set_xlabel("normal quantile")
    _worm(axes[2], found, generator)
    _dispersion_bins(axes[3], res, influence.hat_matrix_diag)
    _leverage(axes[4], res, influence, largest, rows)
    components = influence.resid_studentized_dispersion
    if res.reml:  # what the mean took from the squares is given back, as the criterion does
        components = _components(res, influence.hat_matrix_diag)[1] / np.sqrt(2)
    _dispersion_terms(axes[5], res, components, found.freq)
    for k in (1, 2):
        _note_thinning(axes[k], [found])
    for place in axes:
        place.xaxis.label.set_fontsize("small")
        place.yaxis.label.set_fontsize("small")
        place.tick_params(labelsize="small")
    return axes


# -- the panels -------------------------------------------------------------------------------------


def _fits(res: Any, res2: Any) -> list[Any]:
    return [res] if res2 is None else [res, res2]


def _common_label(found: list[Shown]) -> str:
    """Return the name of the residuals of one or two fits."""
    names = {one.label for one in found}
    return names.pop() if len(names) == 1 else "quantile or standardised deviance residual"


def _note_thinning(ax: Any, found: list[Shown]) -> None:
    n = max(len(one.resid) for one in found)
    drawn = len(_order_statistics(n))
    say_drawn(ax, drawn, n, "residuals")


def _order_statistics(n: int, ends: int = 200) -> Array:
    """Return which order statistics are drawn: all, or those at the ends and some between."""
    if n <= POINTS:
        return np.arange(n)
    between = np.linspace(ends, n - ends - 1, POINTS // 2).round().astype(int)
    return np.union1d(np.concatenate([np.arange(ends), np.arange(n - ends, n)]), between)


def _drawn(one: Shown) -> Ordered:
    """Return the order statistics that are drawn."""
    every = ordered(one.resid, one.freq)
    keep = _order_statistics(len(one.resid))
    return Ordered(*(getattr(every, name)[keep] for name in ("normal", "resid", "low", "high")))


def _qq(
    ax: Any, one: Shown, i: int, label: str | None, rng: np.random.Generator, band: bool = True
) -> None:
    at = _drawn(one)
    if band:
        ax.fill_between(at.normal, at.low, at.high, color=GREY, lw=0, label="95 %, pointwise")
        ax.plot(at.normal, at.normal, color=INK, lw=1)
    ax.plot(
        at.normal, at.resid, MARKERS[i], color=COLOURS[i], ms=3.5, alpha=0.7, mew=0, label=label
    )


def _worm(ax: Any, one: Shown, rng: np.random.Generator) -> None:
    at = _drawn(one)
    low, high = at.low - at.normal, at.high - at.normal
    ax.fill_between(at.normal, low, high, color=GREY, lw=0)
    ax.axhline(0, color=INK, lw=1)
    ax.plot(at.normal, at.resid - at.normal, MARKERS[0], color=COLOURS[0], ms=3.5, alpha=0.7, mew=0)
    ax.set_xlabel("normal quantile")
    ax.set_ylabel("residual less quantile (worm)")


def _against_fitted(ax: Any, res: Any, one: Shown, rows: Array) -> None:
    fitted = prediction.predict(res._core, res._fit.internal, "mean")
    _cloud(ax, fitted[rows], one.resid[rows])
    ax.axhline(0, color=INK, lw=1)
    if is_wide(fitted) and not res._core.family.unit_interval:
        ax.set_xscale("log")
    ax.set_xlabel("fitted mean")
    ax.set_ylabel(one.label)
    say_drawn(ax, len(rows), len(fitted))


def _cloud(ax: Any, x: Array, y: Array) -> None:
    """Draw rows as points, the fainter the more there are."""
    alpha = float(np.clip(30 / np.sqrt(len(x) + 1), 0.25, 0.8))
    ax.plot(x, y, MARKERS[0], color=COLOURS[0], ms=3.5, alpha=alpha, mew=0)


@dataclass(frozen=True)
class DispersionBins:
    """
    Observed over fitted dispersion in bins of rows.

    Attributes
    ----------
    x, ratio, se : ndarray, shape (k,)
        Mean of what the bins are of, moment estimate of the ratio and its standard error.
    by : {"fitted dispersion", "fitted mean"}
    left_out : int
        Rows whose dispersion is at its boundary.
    """

    x: Array
    ratio: Array
    se: Array
    by: str
    left_out: int


def dispersion_bins(res: Any, leverage: Array) -> DispersionBins:
    """
    Return by how much the squared residuals want the fitted dispersion changed, in bins.

    One step of the moment equation sum w (e^2/((1 - h) V) - 1) = 0 with w = d log V/d log phi, which
    is 1 in an exponential dispersion model: there the ratio is the mean of e^2/((1 - h) V).
    """
    core = res._core
    at = core.predictors(res._fit.internal)
    weight, short = _components(res, leverage)
    use = np.isfinite(weight * short) & (weight > 0)
    freq = (np.ones(core.n) if core.freq is None else core.freq)[use]
    weight, short, phi, mu = weight[use], short[use], at.phi[use], at.mean.mu[use]
    constant = len(phi) == 0 or np.ptp(phi) <= 1e-10 * phi.max()
    x, by = (mu, "fitted mean") if constant else (phi, "fitted dispersion")
    codes = bins(x, BINS)
    total, information = (np.bincount(codes, freq * weight**k) for k in (1, 2))
    ratio = np.bincount(codes, freq * weight * short) / information
    noise = np.sqrt(np.bincount(codes, freq * (weight * short) ** 2)) / information
    centre = np.bincount(codes, freq * weight * x) / total
    return DispersionBins(centre, 1 + ratio, noise, by, int((~use).sum()))


def _components(res: Any, leverage: Array) -> tuple[Array, Array]:
    """Return d log V/d log phi and e^2/((1 - h) V) - 1 of each row."""
    core, params = res._core, res._fit.internal
    _, slope, variance = prediction.variance_slopes(core, params)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = slope * core.predictors(params).phi / variance
        return weight, residuals.pearson(core, params) ** 2 / (1 - leverage) - 1


def _dispersion_bins(ax: Any, res: Any, leverage: Array) -> None:
    found = dispersion_bins(res, leverage)
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
    if len(found.x) and is_wide(found.x, 3.0):
        ax.set_xscale("log")
        _few_ticks(ax)
    ax.set_xlabel(f"{found.by}, by bins")
    ax.set_ylabel("observed / fitted dispersion")
    if found.left_out:
        note(ax, f"{found.left_out} rows at the boundary are left out")


def _few_ticks(ax: Any) -> None:
    """Label a logarithmic axis of less than a decade or two without crowding it."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = ax.get_xlim()
    if high < 30 * low:
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 8 * low else (1, 3)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _leverage(ax: Any, res: Any, influence: Any, largest: Array, rows: Array) -> None:
    h, r = influence.hat_matrix_diag, np.nan_to_num(influence.resid_studentized)
    rest = np.setdiff1d(rows, largest)
    _cloud(ax, h[rest], r[rest])
    ax.plot(h[largest], r[largest], MARKERS[1], color=COLOURS[1], ms=6, mew=0)
    ax.axhline(0, color=INK, lw=1)
    ax.set_xlabel("leverage on the mean")
    ax.set_ylabel("standardised Pearson residual")
    labels = res.model.data.row_labels
    names = largest if labels is None else np.asarray(labels)[largest]
    note(ax, "Cook's D: " + ", ".join(str(name) for name in names))
    say_drawn(ax, len(rows), len(h))


def contributions(res: Any) -> dict[str, Array]:
    """Return what each term that varies adds to the log dispersion, the largest first."""
    core, k = res._core, res._core.k_mean
    gamma = np.nan_to_num(res._fit.internal)[k:]
    found = {}
    for term in res.model.term_list:
        if term.part == "dispersion":
            columns = np.array(term.columns, dtype=int) - k
            added = core.Z[:, columns] @ gamma[columns]
            if np.ptp(added) > 1e-10 * np.abs(added).max():
                found[term.name.removeprefix("dispersion-")] = added
    return dict(sorted(found.items(), key=lambda item: -np.std(item[1])))


def _dispersion_terms(ax: Any, res: Any, resid: Array, freq: Array) -> None:
    terms = contributions(res)
    x_label = "what the term adds (in its sd)"
    if not terms:
        terms = {"fitted mean": prediction.predict(res._core, res._fit.internal, "mean")}
        x_label = "fitted mean (in its sd): no term"
    use = np.isfinite(resid)
    ax.axhline(0, color=INK, lw=1)
    for i, (name, added) in enumerate(list(terms.items())[:TERMS]):
        codes, f, r = bins(added[use], TERM_BINS), freq[use], resid[use]
        x, mean, square = weighted_means(codes, f, added[use], r, r**2)
        x = (x - added[use].mean()) / (added[use].std() or 1.0)
        noise = np.sqrt(np.maximum(square - mean**2, 0) / np.bincount(codes, f))
        shift = 0.03 * (i - (min(len(terms), TERMS) - 1) / 2) * (np.ptp(x) or 1.0)
        ax.errorbar(
            x + shift,
            mean,
            2 * noise,
            fmt=MARKERS[i],
            ls=("-", "--", "-.", ":")[i],
            color=COLOURS[i],
            ms=5,
            lw=1.2,
            label=_shortened(name),
        )
    ax.set_xlabel(x_label)
    ax.set_ylabel("mean dispersion residual")
    if len(terms) > TERMS:
        note(ax, f"the {TERMS} of {len(terms)} terms that add most")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.09 * (min(len(terms), TERMS) + 1) * (high - low))
    ax.legend(frameon=False, fontsize="x-small", loc="upper left")


def _shortened(name: str, most: int = 24) -> str:
    """Return a name that fits into a legend."""
    return name if len(name) <= most else name[: most - 3] + "..."
