"""Scores of predictions of held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hetglm.families.crps import crps
from hetglm.typing import Array

Metric = Callable[["HeldOut"], Any]


@dataclass(frozen=True)
class HeldOut:
    """
    Held-out rows of a fold and their predictions; all arrays have shape (m,).

    Attributes
    ----------
    rows : ndarray of int
        Positions of the rows in the data of the fit.
    endog : ndarray
        Response on the scale of the mean: for counts of successes the proportion.
    mean, variance : ndarray
        Prediction of ``endog`` and its variance.
    observed : ndarray
        Response on the scale of the distribution: for counts of successes the count.
    loglike : ndarray
        Log-likelihood of each row, or extended quasi-likelihood.
    trials : ndarray or None
        Numbers of trials of the beta-binomial, for which ``observed`` is ``trials * endog``.
    distribution : frozen scipy distribution or None
        Predictive distribution of ``observed``; None for extended quasi-likelihood families.
    discrete : bool
        Whether ``observed`` is a count.
    """

    rows: Array
    endog: Array
    mean: Array
    variance: Array
    observed: Array
    loglike: Array
    trials: Array | None
    distribution: Any
    discrete: bool


# Metrics -------------------------------------------------------------------------------------------


def squared_error(held: HeldOut) -> Array:
    """Return (y - mean)^2."""
    return (held.endog - held.mean) ** 2


def absolute_error(held: HeldOut) -> Array:
    """Return |y - mean|."""
    return np.abs(held.endog - held.mean)


def dawid_sebastiani(held: HeldOut) -> Array:
    """Return the Dawid-Sebastiani score (y - mean)^2/variance + log(variance), a proper score."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return squared_error(held) / held.variance + np.log(held.variance)


def log_score(held: HeldOut) -> Array:
    """Return minus the log density (or log probability) of y."""
    return -held.loglike


def ranked_score(held: HeldOut) -> Array:
    """Return the continuous ranked probability score, on the scale of the mean."""
    score = crps(held.distribution, held.observed, held.discrete)
    return score if held.trials is None else score / held.trials


@dataclass(frozen=True)
class Coverage:
    """Coverage of prediction intervals, the quantiles of the distribution."""

    alpha: float

    def __call__(self, held: HeldOut) -> Array:
        """Return 1 for y in its interval, limits included, else 0."""
        low, high = held.distribution.ppf(self.alpha / 2), held.distribution.ppf(1 - self.alpha / 2)
        return ((held.observed >= low) & (held.observed <= high)).astype(float)


#: Metrics of mean and variance, which every family has.
MOMENTS: dict[str, Metric] = {
    "mse": squared_error,
    "mae": absolute_error,
    "dss": dawid_sebastiani,
}
#: Metrics of the density, which need a distribution, as "coverage" does.
DISTRIBUTIONAL: dict[str, Metric] = {"log_score": log_score, "crps": ranked_score}
NAMES = (*MOMENTS, *DISTRIBUTIONAL, "coverage")


def chosen_metrics(given: Any, family: Any, alpha: float) -> dict[str, Metric]:
    """
    Return the chosen metrics by name.

    Parameters
    ----------
    given : str, callable, sequence, dict or None
        Names and functions; None for all metrics that the family supports.
    family : Family
    alpha : float
        One minus the coverage of intervals.

    Raises
    ------
    ValueError
        For an unknown or repeated name, or if there is none.
    NotImplementedError
        For a metric that needs a distribution, if the family has none.
    """
    known: dict[str, Metric] = {**MOMENTS, **DISTRIBUTIONAL, "coverage": Coverage(alpha)}
    if given is None:
        given = NAMES if family.exact else tuple(MOMENTS)
    if isinstance(given, str) or callable(given) or not isinstance(given, Iterable):
        given = [given]
    named: Any = given.items() if isinstance(given, Mapping) else ((None, each) for each in given)
    chosen: dict[str, Metric] = {}
    for name, metric in named:
        if isinstance(metric, str):
            if metric not in known:
                raise ValueError(
                    f"metrics: {metric!r} is unknown; choose from {', '.join(known)}, or give a function"
                )
            if not family.exact and metric not in MOMENTS:
                raise NotImplementedError(
                    f"metrics: {metric!r} needs a distribution, and {family.name} by extended "
                    f"quasi-likelihood has none; use {', '.join(MOMENTS)}"
                )
            name, metric = name or metric, known[metric]
        elif callable(metric):
            name = name or str(getattr(metric, "__name__", type(metric).__name__))
        else:
            raise ValueError(
                f"metrics: {metric!r} is neither a name nor a function; choose from "
                f"{', '.join(known)}, or give a function"
            )
        if name in chosen:
            raise ValueError(
                f"metrics: the name {name!r} is used twice; give a dict with names, such as "
                "{'first': f, 'second': g}"
            )
        chosen[name] = metric
    if not chosen:
        raise ValueError("metrics: give at least one")
    return chosen


def numbers(name: str, given: Any) -> Any:
    """Return the value of a metric; raise where it is not numeric."""
    if np.asarray(given).dtype.kind not in "biuf":
        raise ValueError(
            f"metrics: {name!r} returned {given!r}; return one number for each row, or one for the fold"
        )
    return given
