"""A fit: starting values, and the search for a maximum or for the supremum at an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.genmod.families import links

from hetglm import _reml
from hetglm._edge import settle
from hetglm._likelihood import Likelihood
from hetglm._reml import RemlFit
from hetglm._search import DEFAULT_METHOD, OWN_METHODS, Fit, Settings, search
from hetglm._start import starting_values
from hetglm._supremum import supremum
from hetglm._text import listed, rows_text
from hetglm.exceptions import UnboundedLikelihoodError

__all__ = [
    "DEFAULT_METHOD",
    "OWN_METHODS",
    "Fit",
    "RemlFit",
    "Settings",
    "at_fit",
    "fit",
    "maximum",
    "search",
]

Array = NDArray[Any]

#: phi this far below the other rows' is beyond what squared doubles can hold.
VANISHING = 1e-30


def fit(
    likelihood: Likelihood,
    names: list[str],
    estimated: Array,
    start: Array | None = None,
    method: str = DEFAULT_METHOD,
    maxiter: int = 100,
    tol: float = 1e-8,
    disp: bool = False,
    reml: bool = False,
    **options: Any,
) -> Fit:
    """
    Return the maximum of a likelihood, or of the adjusted profile likelihood (REML).

    Parameters
    ----------
    likelihood : Likelihood
    names : list of str
        Names of the p + q coefficients, for messages.
    estimated : ndarray of bool, shape (p + q,)
        Which coefficients are estimable.
    start : ndarray, optional
        Starting values of all coefficients; NaN counts as 0.
    method : str
        ``"newton-scoring"`` or the name of a statsmodels optimiser.
    maxiter, tol, disp
        Largest number of steps, tolerance of the scaled gradient, whether to print.
    reml : bool
        Whether by REML: a `RemlFit`, for exponential dispersion families.
    **options
        Passed on to a statsmodels optimiser.

    Raises
    ------
    UnboundedLikelihoodError
        If rows are fitted exactly and the likelihood has no maximum.
    """
    saturated = int(estimated[: likelihood.k_mean].sum()) >= likelihood.n
    if saturated and not likelihood.family.zero_dispersion:
        where = (
            f"the likelihood grows without bound: the mean has {likelihood.n} coefficients for "
            f"{likelihood.n} rows, so every row is fitted exactly"
        )
        raise UnboundedLikelihoodError(f"{where}; take terms out of the mean", where)
    likelihood, of_row = (
        likelihood.distinct() if likelihood.family.zero_dispersion else (likelihood, None)
    )
    if start is None:
        starts = starting_values(likelihood, estimated)
    elif likelihood.loglike(start) > -np.inf:
        starts = iter([np.nan_to_num(start)])
    else:
        raise ValueError("start_params: the log-likelihood is not finite there")
    settings = Settings(names, method, maxiter, tol, disp, options)
    if likelihood.family.zero_dispersion:
        if isinstance(likelihood.link_dispersion, links.Log):
            found = supremum(likelihood, estimated, starts, settings)
            boundary = found.boundary
            if boundary is None or of_row is None:
                return found
            return replace(found, boundary=boundary.of_rows(of_row))
        return search(likelihood, estimated, next(starts), settings)
    return _beside_spikes(likelihood, estimated, starts, settings, _reml.search if reml else search)


def _beside_spikes(
    likelihood: Likelihood,
    estimated: Array,
    starts: Iterator[Array],
    settings: Settings,
    seek: Callable[..., Fit],
) -> Fit:
    """Return the maximum that the first start leads to which runs into no spike."""
    unbounded = None
    for start in starts:

        def watch(params: Array, converged: bool, start: Array = start) -> None:
            _refuse_unbounded(likelihood, params, start, settings.names, converged)

        try:
            found = seek(likelihood, estimated, start, settings, watch)
            if not found.converged and seek is search and settings.method in OWN_METHODS:
                found = settle(likelihood, estimated, found, settings, watch)
        except UnboundedLikelihoodError as exc:
            # a maximum inside may lie beside the spike: another start may reach it, as dglm does
            unbounded = unbounded or exc
            continue
        if unbounded is None or found.converged:
            return replace(found, spike="" if unbounded is None else unbounded.where)
    assert unbounded is not None
    raise unbounded


def _refuse_unbounded(
    likelihood: Likelihood, params: Array, start: Array, names: list[str], converged: bool
) -> None:
    """Raise where the dispersion of some rows has vanished beyond what doubles can hold."""
    at = likelihood.predictors(params)
    phi = likelihood.row_phi(at.phi)
    # a search that stalled in the rounding of y - mu did not get as far as one that goes on
    limit, roundings = (VANISHING, 1.0) if converged else (VANISHING**0.6, 64.0)
    vanished = phi < limit * np.median(phi)
    if likelihood.family.unit_interval:
        vanished |= phi < limit
    else:
        rounding = roundings * np.finfo(float).eps * (np.abs(likelihood.y) + np.abs(at.mean.mu))
        with np.errstate(all="ignore"):
            variance = likelihood.family.variance(at.mean.mu, None, phi, likelihood.trials)
            vanished |= (phi < 1e-280) | (np.sqrt(variance) < rounding)
    # an identity link cannot take phi below the rounding of its terms; a stall is not far from that
    k = likelihood.k_mean
    terms = np.abs(likelihood.Z) @ np.abs(np.nan_to_num(params[k:]))
    rest = np.finfo(float).eps ** (1.0 if converged else 2 / 3) * terms
    vanished |= phi < 4 * rest * np.abs(likelihood.row_phi(at.d_phi))
    if not vanished.any():
        return
    change = np.abs(params - start)[k:] * np.sqrt(np.mean(likelihood.Z[vanished] ** 2, axis=0))
    moved = [n for n, c in zip(names[k:], change, strict=True) if c > 0.1 * change.max()]
    where = (
        f"the likelihood grows without bound: {rows_text(vanished)} (counted from 0) can be fitted "
        f"exactly, and the dispersion there goes to zero along {listed(moved)}"
    )
    raise UnboundedLikelihoodError(
        f"{where}; merge the cell with another or take the term out of the dispersion (or out of the "
        "mean)",
        where,
    )


def at_fit(likelihood: Likelihood, fitted: Fit) -> Likelihood:
    """Return the likelihood with the rows of the boundary held there."""
    if fitted.boundary is None or likelihood.n == 0:
        return likelihood
    return replace(likelihood, held=fitted.boundary.held)


def maximum(fitted: Fit) -> float:
    """Return the maximum of what was maximised: the log-likelihood, or the criterion of REML."""
    return fitted.llf_reml if isinstance(fitted, RemlFit) else fitted.llf
