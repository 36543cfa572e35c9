"""The quantities a fit predicts, and their values at rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.checks import numeric

#: Which parts of the model each prediction reads.
PARTS = {
    "mean": ("mean",),
    "linear": ("mean",),
    "dispersion": ("dispersion",),
    "linear-dispersion": ("dispersion",),
    "icc": ("dispersion",),
    "design-effect": ("dispersion", "rows"),
    "effective-size": ("dispersion", "rows"),
    "var": ("mean", "dispersion", "rows"),
    "sd": ("mean", "dispersion", "rows"),
    "prob": ("mean", "dispersion", "rows"),
}

#: Functions of the intraclass correlation, alone or with the trials of the row.
CORRELATION = ("icc", "design-effect", "effective-size")


def check_which(which: str, family: Any) -> None:
    """Raise a ValueError where a prediction is unknown or the family has none of its kind."""
    if which not in PARTS:
        raise ValueError(f"which={which!r}: choose one of {', '.join(map(repr, PARTS))}")
    if which in CORRELATION and not family.counts_successes:
        raise ValueError(f"which={which!r}: {family.name} has no intraclass correlation")
    if which == "prob" and not family.exact:
        family.distribution(None, None, None, None)
    if which == "prob" and not family.discrete:
        raise ValueError(f"which='prob': {family.name} is continuous; use get_distribution().pdf")


def trials_of(rows: Likelihood, which: str) -> None:
    """Raise a ValueError where a quantity of counts is asked for and there are no trials."""
    if rows.family.counts_successes and rows.trials is None:
        raise ValueError(
            f"which={which!r} is of the count and needs its trials; pass n_trials=..., or give the new "
            "data the columns of the formula's left-hand side"
        )


def predict(rows: Likelihood, params: Array, which: str = "mean", y_values: Any = None) -> Array:
    """
    Return a prediction for each row, NaN where a row misses a value.

    Parameters
    ----------
    rows : Likelihood
        From `rows_of`.
    params : ndarray, shape (p + q,)
    which : str
    y_values : array_like, optional
        Counts for ``which="prob"``.

    Returns
    -------
    ndarray, shape (n,), or (n, len(y_values)) for ``which="prob"``
    """
    at = rows.predictors(params)
    if "rows" in PARTS[which]:
        trials_of(rows, which)
    if which == "prob":
        counts = counts_asked(rows, y_values)
        known = ~np.isnan(at.eta + at.zeta + (0.0 if rows.trials is None else rows.trials))
        p = np.full((rows.n, len(counts)), np.nan)
        p[known] = distribution(unprepared(rows).take(known), params, column=True).pmf(counts)
        return p
    if which in ("var", "sd"):
        var = rows.family.variance(at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials)
        var = np.where(np.isnan(at.eta), np.nan, var)  # a Gaussian variance does not read the mean
        return var if which == "var" else np.sqrt(var)
    if which in CORRELATION:
        return of_intraclass_correlation(which, intraclass_correlation(at.phi), rows.trials)
    return {
        "mean": at.mean.mu,
        "linear": at.eta,
        "dispersion": at.phi,
        "linear-dispersion": at.zeta,
    }[which]


def intraclass_correlation(phi: Array) -> Array:
    """Return phi / (1 + phi)."""
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / (1 + 1 / phi)  # 0 at phi = 0 and 1 at phi = infinity


def of_intraclass_correlation(which: str, icc: Array, trials: Any) -> Array:
    """
    Return the intraclass correlation, the design effect or the effective size of each row.

    The design effect 1 + (n - 1) rho is the variance of the count over that of n independent trials
    (Kish 1965, Survey Sampling, section 5.4); n over it is how many such trials the row is worth.
    """
    if which == "icc":
        return icc
    effect = 1 + (trials - 1) * icc
    if which == "effective-size":
        return trials / effect
    return np.where(trials < 1, np.nan, effect)  # no trials, no variance to compare


def of_intraclass_correlation_slope(which: str, icc: Array, trials: Any) -> Array:
    """Return the derivative of `_of_icc` in logit(rho), shape (n,)."""
    slope = icc * (1 - icc)
    if which == "icc":
        return slope
    if which == "effective-size":
        return -trials * (trials - 1) * slope / (1 + (trials - 1) * icc) ** 2
    return (trials - 1) * slope


def unprepared(rows: Likelihood, y: Array | None = None) -> Likelihood:
    """Return the rows with a response the family has not seen yet."""
    return replace(rows, y=np.zeros(rows.n) if y is None else y, rows=())


def counts_asked(rows: Likelihood, y_values: Any) -> Array:
    """Return the counts whose probabilities are asked for; by default all up to the largest trials."""
    if y_values is None:
        if rows.trials is None:
            raise ValueError("which='prob': give y_values, the counts whose probability is wanted")
        return np.arange(np.nanmax(rows.trials) + 1)
    return np.atleast_1d(numeric(y_values, "y_values"))


def distribution(rows: Likelihood, params: Array, column: bool = False) -> Any:
    """Return the frozen scipy distribution of each row's response, of shape (n,) or (n, 1)."""
    at = rows.predictors(params)
    if rows.family.exact:
        trials_of(rows, "distribution")
    mu, nu, phi, trials = at.mean.mu, at.mean.nu, rows.row_phi(at.phi), rows.trials
    if column:
        mu, nu, phi = mu[:, None], nu[:, None], phi[:, None]
        trials = None if trials is None else trials[:, None]
    return rows.family.distribution(mu, nu, phi, trials)
