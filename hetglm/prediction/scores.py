"""Scores of predictions against the rows they are of."""

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
    Rows that a fit has not seen, and what it predicts for them; shape (m,) all.

    Attributes
    ----------
    rows : ndarray of int
        Their positions in the data of the fit.
    endog : ndarray
        Response on the scale of the mean: of successes, the proportion.
    mean, variance : ndarray
        Prediction of ``endog`` and its variance.
    observed : ndarray
        Response in the form of the distribution: of successes, the count.
    loglike : ndarray
        Log-likelihood of each row, or extended quasi-likelihood.
    trials : ndarray or None
        Trials of the beta-binomial, whose ``observed`` is ``endog`` times them.
    law : frozen scipy distribution or None
        Of ``observed``; None for extended quasi-likelihood families.
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
    law: Any
    discrete: bool


# Metrics -------------------------------------------------------------------------------------------


def squared_error(held: HeldOut) -> Array:
    """Return (y - mean)^2."""
    return (held.endog - held.mean) ** 2


def absolute_error(held: HeldOut) -> Array:
    """Return the distance of y from its mean."""
    return np.abs(held.endog - held.mean)


def dawid_sebastiani(held: HeldOut) -> Array:
    """Return (y - mean)^2/variance + log(variance), a proper score of two moments."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return squared_error(held) / held.variance + np.log(held.variance)


def log_score(held: HeldOut) -> Array:
    """Return minus the logarithm of the density or probability of y."""
    return -held.loglike


def ranked_score(held: HeldOut) -> Array:
    """Return the continuous ranked probability score, on the scale of the mean."""
    score = crps(held.law, held.observed, held.discrete)
    return score if held.trials is None else score / held.trials


@dataclass(frozen=True)
class Coverage:
    """Whether y lies in its prediction interval, the quantiles of the distribution."""

    alpha: float

    def __call__(self, held: HeldOut) -> Array:
        """Return 1 for inside, ends included, and 0 for outside."""
        low, high = held.law.ppf(self.alpha / 2), held.law.ppf(1 - self.alpha / 2)
        return ((held.observed >= low) & (held.observed <= high)).astype(float)


#: Metrics by name, and those that need a distribution.
MOMENTS: dict[str, Metric] = {
    "mse": squared_error,
    "mae": absolute_error,
    "dss": dawid_sebastiani,
}
DISTRIBUTIONAL: dict[str, Metric] = {"log_score": log_score, "crps": ranked_score}
NAMES = (*MOMENTS, *DISTRIBUTIONAL, "coverage")


def chosen_metrics(given: Any, family: Any, alpha: float) -> dict[str, Metric]:
    """
    Return metrics by name.

    Parameters
    ----------
    given : str, callable, sequence, dict or None
        Names and functions; None for all that the family has.
    family : Family
    alpha : float
        One minus the coverage of intervals.

    Raises
    ------
    ValueError
        For an unknown name, two of one name, or none at all.
    NotImplementedError
        For one that needs a distribution where the family has none.
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
                    f"metrics: {metric!r} is none of {', '.join(known)}; or give a function"
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
            raise ValueError(f"metrics: {metric!r} is neither a name nor a function")
        if name in chosen:
            raise ValueError(
                f"metrics: two are called {name!r}; give a dict of names, such as "
                "{'first': f, 'second': g}"
            )
        chosen[name] = metric
    if not chosen:
        raise ValueError("metrics: give at least one")
    return chosen


def numbers(name: str, given: Any) -> Any:
    """Return what a metric gave, refused where it is no number."""
    if np.asarray(given).dtype.kind not in "biuf":
        raise ValueError(
            f"metrics: {name!r} gave {given!r}; return one number a row, or one number"
        )
    return given
