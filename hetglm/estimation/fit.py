"""
A fit: starting values, and the search for a local maximum or for the supremum on the boundary.

Exponential families of unbounded likelihood (a row fitted exactly has phi = 0) are searched for a local
maximum away from the singularity; families that are finite at phi = 0 for the supremum over the closure
of the parameter space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from statsmodels.genmod.families import links

from hetglm.estimation import reml
from hetglm.estimation.domain_boundary import maximise_on_boundary, unbounded_direction
from hetglm.estimation.multistart import N_EXPLORATORY_STEPS, maximise_over_closure
from hetglm.estimation.record import DEFAULT_METHOD, OWN_METHODS, Fit, Settings
from hetglm.estimation.search import search
from hetglm.estimation.start import starting_values
from hetglm.exceptions import UnboundedLikelihoodError
from hetglm.likelihood.adjusted_profile import REML
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.messages import listed

#: How each criterion is maximised from one start.
SEARCHES: dict[Criterion, Callable[..., Fit]] = {LIKELIHOOD: search, REML: reml.search}

#: phi over its median below which it has vanished: squares of doubles cannot hold both.
MIN_RELATIVE_PHI = 1e-30

#: The same after an unconverged search, which stops earlier: a weaker threshold.
MIN_RELATIVE_PHI_UNCONVERGED = MIN_RELATIVE_PHI**0.6

#: phi below which it has vanished whatever the others are: powers of it underflow.
MIN_PHI = 1e-280

#: Standard deviation below which phi has vanished, in units of the rounding of y - mu.
MIN_SD_ROUNDINGS = 1.0

#: The same after an unconverged search.
MIN_SD_ROUNDINGS_UNCONVERGED = 64.0

#: Typical response above which, or below one over which, another unit is fitted: powers of its
#: dispersion would over- or underflow.
MAX_RESPONSE = 1e30

#: Share of the largest change of a coefficient from which on a message names it.
MIN_NAMED_SHARE = 0.1

REMEDY = "; merge the cell with another or take the term out of the dispersion (or out of the mean)"


def fit(
    likelihood: Likelihood,
    names: list[str],
    estimated: Array,
    start: Array | None = None,
    method: str = DEFAULT_METHOD,
    maxiter: int = 100,
    tol: float = 1e-8,
    disp: bool = False,
    criterion: Criterion = LIKELIHOOD,
    **options: Any,
) -> Fit:
    """
    Return the maximum of a criterion.

    Parameters
    ----------
    likelihood : Likelihood
    names : list of str
        Names of the p + q coefficients, for messages.
    estimated : ndarray of bool, shape (p + q,)
        Which coefficients are estimable.
    start : ndarray, optional
        Starting values of all coefficients; NaN counts as 0 where one is aliased. A search from
        them that does not converge is repeated from the default start.
    method : str
        ``"newton-scoring"`` or the name of a statsmodels optimiser.
    maxiter, tol, disp
        Largest number of steps, tolerance of the scaled gradient, whether to print.
    criterion : Criterion
        The likelihood, or one of `SEARCHES`, for families without a boundary of the dispersion.
    **options
        Passed on to a statsmodels optimiser.

    Raises
    ------
    UnboundedLikelihoodError
        If rows are fitted exactly and the likelihood is unbounded.
    """
    saturated = int(estimated[: likelihood.k_mean].sum()) >= likelihood.n
    if saturated and not (likelihood.has_boundary or likelihood.dispersion_is_known):
        where = (
            f"the likelihood grows without bound: the mean has {_as_many(likelihood.n)}, so every "
            "row is fitted exactly"
        )
        more = "fit more rows" if likelihood.n == 1 else "take terms out of the mean"
        raise UnboundedLikelihoodError(f"{where}; {more}", where)
    unit = _unit(likelihood)
    if unit != 1:
        inner, units = _in_unit(likelihood, unit)
        within = None if start is None else np.asarray(start) / units
        found = fit(
            inner, names, estimated, within, method, maxiter, tol, disp, criterion, **options
        )
        return _from_unit(likelihood, found, unit, units)
    if start is not None:
        start = _checked(likelihood, start, names, estimated)
    settings = Settings(names, criterion, method, maxiter, tol, disp, options)
    of_row = None
    if likelihood.has_boundary:
        likelihood, of_row = likelihood.distinct()
    seek = partial(_sought, likelihood, estimated, settings)
    found = seek(start)
    if start is not None and _has_failed(found, settings):
        again = seek(None)
        found = again if again.converged or again.maximum > found.maximum else found
    if found.boundary is None or of_row is None:
        return found
    return replace(found, boundary=found.boundary.of_rows(of_row))


def _as_many(rows: int) -> str:
    return "a coefficient for the only row" if rows == 1 else f"{rows} coefficients for {rows} rows"


def _sought(
    likelihood: Likelihood, estimated: Array, settings: Settings, start: Array | None
) -> Fit:
    """Return the fit from given starting values, or from the default ones."""
    starts = starting_values(likelihood, estimated)
    if not likelihood.has_boundary:
        starts = starts if start is None else chain([start], starts)
        return _local_maximum_beside_singularity(likelihood, estimated, starts, settings)
    starts = starts if start is None else iter([start])
    if isinstance(likelihood.link_dispersion, links.Log):
        return maximise_over_closure(likelihood, estimated, starts, settings)
    return search(likelihood, estimated, next(starts), settings)


def _has_failed(found: Fit, settings: Settings) -> bool:
    """Return whether a search of our own failed that had steps enough."""
    enough = settings.method in OWN_METHODS and settings.maxiter >= N_EXPLORATORY_STEPS
    return enough and not found.converged


def _checked(likelihood: Likelihood, start: Array, names: list[str], estimated: Array) -> Array:
    """Return starting values with 0 for NaN of aliased coefficients."""
    missing = [n for n, bad in zip(names, np.isnan(start) & estimated, strict=True) if bad]
    if missing:
        raise ValueError(f"start_params: NaN for {listed(missing)}; give a number")
    if likelihood.loglike(start) > -np.inf:
        return np.nan_to_num(start)
    raise ValueError("start_params: the log-likelihood is not finite there")


def _unit(likelihood: Likelihood) -> float:
    """Return the unit, a power of 2, in which an extreme response is of the order of 1; else 1."""
    family, link = likelihood.family, type(likelihood.link)
    equivariant = family.scale_power is not None and link in (links.Identity, links.Log)
    size = np.abs(likelihood.y[likelihood.y != 0])
    if not equivariant or not len(size) or type(likelihood.link_dispersion) is not links.Log:
        return 1.0
    middle = float(np.median(size))
    return (
        1.0 if 1 / MAX_RESPONSE < middle < MAX_RESPONSE else float(2.0 ** np.floor(np.log2(middle)))
    )


def _in_unit(likelihood: Likelihood, unit: float) -> tuple[Likelihood, Array]:
    """Return the likelihood of the response in another unit, and the unit of each coefficient."""
    assert likelihood.family.scale_power is not None
    log, zero = np.log(unit), np.zeros(likelihood.n)
    offset = zero if likelihood.offset is None else likelihood.offset
    shift = zero if likelihood.offset_dispersion is None else likelihood.offset_dispersion
    linear = type(likelihood.link) is links.Identity
    units = np.ones(likelihood.k_mean + likelihood.Z.shape[1])
    units[: likelihood.k_mean] = unit if linear else 1.0
    inner = replace(
        likelihood.with_response(likelihood.y / unit),
        offset=offset / unit if linear else offset - log,
        offset_dispersion=shift + (likelihood.family.scale_power - 2) * log,
    )
    return inner, units


def _from_unit(likelihood: Likelihood, found: Fit, unit: float, units: Array) -> Fit:
    """Return the fit to a response in another unit as a fit to the response itself."""
    freq = likelihood.n if likelihood.freq is None else float(likelihood.freq.sum())
    jacobian = freq * np.log(unit)
    scale = units[found.solved]
    both = np.outer(scale, scale)
    found = replace(
        found,
        params=found.params * units,
        internal=found.internal * units,
        llf=found.llf - jacobian,
        information=found.information / both,
    )
    if found.cov_expected is not None:
        found = replace(found, cov_expected=found.cov_expected * both)
    if found.adjusted_llf is None:
        return found
    # what depends on the mean's design depends on the unit of its coefficients
    design = 0.0 if found.criterion.comparable_means else float(np.log(scale).sum())
    return replace(found, adjusted_llf=found.adjusted_llf - jacobian + design)


class _Diverged(Exception):
    """Raised when phi of some rows has vanished though the likelihood is bounded there."""


def _local_maximum_beside_singularity(
    likelihood: Likelihood,
    estimated: Array,
    starts: Iterator[Array],
    settings: Settings,
) -> Fit:
    """
    Return the first local maximum found that is not at a singularity of the likelihood.

    A start that leads to a singularity, or where phi vanishes, is given up for the next.

    Raises
    ------
    UnboundedLikelihoodError
        If a start leads to a singularity, and none to a local maximum.
    """
    seek, criterion = SEARCHES[settings.criterion], settings.criterion
    unbounded = diverged = None

    def watch(params: Array, converged: bool) -> None:
        if likelihood.dispersion_is_known:
            return
        vanished = _vanished(likelihood, params, converged)
        if not vanished.any():
            return
        where = _unbounded(likelihood, estimated, params, vanished, settings)
        if where:
            raise UnboundedLikelihoodError(f"{where}{REMEDY}", where)
        raise _Diverged

    for start in starts:
        try:
            found = seek(likelihood, estimated, start, settings, watch)
            if not found.converged and criterion.by_rows and settings.method in OWN_METHODS:
                found = maximise_on_boundary(likelihood, estimated, found, settings, watch)
        except UnboundedLikelihoodError as exc:
            # another start may reach a local maximum elsewhere, as dglm's does
            unbounded = unbounded or exc
            continue
        except _Diverged:
            diverged = start
            continue
        if unbounded is None or found.converged:
            return replace(found, unbounded="" if unbounded is None else unbounded.where)
    if unbounded is None:
        return seek(likelihood, estimated, diverged, settings)
    raise unbounded


def _vanished(likelihood: Likelihood, params: Array, converged: bool) -> Array:
    """Return the rows whose phi has vanished beyond what doubles can hold, shape (n,)."""
    at = likelihood.predictors(params)
    phi = likelihood.row_phi(at.phi)
    limit = MIN_RELATIVE_PHI if converged else MIN_RELATIVE_PHI_UNCONVERGED
    vanished = phi < limit * np.median(phi)
    if likelihood.family.unit_interval:
        vanished |= phi < limit
    else:
        vanished |= (phi < MIN_PHI) | _is_sd_rounding(likelihood, at.mean.mu, phi, converged)
    # a link that is not the log takes phi to the rounding of the terms of its predictor, not below
    terms = np.abs(likelihood.Z) @ np.abs(np.nan_to_num(params[likelihood.k_mean :]))
    rounding = np.finfo(float).eps ** (1.0 if converged else 2 / 3) * terms
    vanished |= phi < 4 * rounding * np.abs(likelihood.row_phi(at.d_phi))
    return np.asarray(vanished)


def _is_sd_rounding(likelihood: Likelihood, mu: Array, phi: Array, converged: bool) -> Array:
    """Return which rows' standard deviation is below the rounding of y - mu, shape (n,)."""
    units = MIN_SD_ROUNDINGS if converged else MIN_SD_ROUNDINGS_UNCONVERGED
    rounding = units * np.finfo(float).eps * (np.abs(likelihood.y) + np.abs(mu))
    with np.errstate(all="ignore"):
        variance = likelihood.family.variance(mu, None, phi, likelihood.trials)
        return np.asarray(np.sqrt(variance) < rounding)


def _unbounded(
    likelihood: Likelihood,
    estimated: Array,
    params: Array,
    vanished: Array,
    settings: Settings,
) -> str:
    """Return the sentence on where the criterion is proved to be unbounded, or an empty one."""
    k, adjusted = likelihood.k_mean, not settings.criterion.comparable_means
    found = unbounded_direction(likelihood, estimated, params, vanished, adjusted)
    if found is None:
        return ""
    rows, direction = found
    size = np.abs(direction) * np.sqrt(np.mean(likelihood.Z[rows] ** 2, axis=0))
    moved = [
        n for n, s in zip(settings.names[k:], size, strict=True) if s > MIN_NAMED_SHARE * size.max()
    ]
    return (
        f"the likelihood grows without bound: {likelihood.names.text(rows)} can be fitted "
        f"exactly, and the dispersion there goes to zero along {listed(moved)}"
    )
