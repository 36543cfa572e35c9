"""
Rows whose dispersion is zero, or infinite, at the supremum of the marginal likelihood.

They are found where a search ends, as in fits without random effects (`estimation.dispersion_boundary`):
the coefficients of the dispersion diverge along a direction of recession.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hetglm.estimation.dispersion_boundary import (
    ARRIVED,
    boundary_of,
    determined_coefficients,
    in_determined,
    possible_limits,
)
from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array


def at_limits(
    likelihood: Likelihood, estimable: Array, coefficients: Array
) -> tuple[Likelihood, Array, Array] | None:
    """
    Return the likelihood with the rows fixed that have arrived at a limit of their dispersion.

    Parameters
    ----------
    likelihood : Likelihood
        Rows may be fixed already.
    estimable : ndarray of bool, shape (p + q,)
    coefficients : ndarray, shape (p + q,)
        Where a search ended; 0 for those that it left out.

    Returns
    -------
    Likelihood
    searched : ndarray of bool, shape (p + q,)
        Coefficients that the other rows determine.
    coefficients : ndarray, shape (p + q,)
        Those of the same dispersion in the other rows. None instead of all where no row has arrived.
    """
    if not likelihood.has_boundary or not estimable[likelihood.k_mean :].any():
        return None
    limits = possible_limits(likelihood, estimable, coefficients, ARRIVED)
    before = likelihood.fixed_predictor
    known = np.zeros(len(limits), dtype=bool) if before is None else ~np.isnan(before)
    if not np.any(~np.isnan(limits) & ~known):
        return None
    fixed = replace(likelihood, fixed_predictor=limits)
    searched = determined_coefficients(likelihood, estimable, limits)
    return fixed, searched, in_determined(likelihood, limits, coefficients, estimable)


def boundary_at(
    likelihood: Likelihood, estimable: Array, searched: Array, names: list[str]
) -> tuple[Boundary | None, Array]:
    """Return the boundary of a likelihood with fixed rows, and which coefficients diverge, (p + q,)."""
    limits = likelihood.fixed_predictor
    if limits is None:
        return None, np.zeros(len(estimable), dtype=bool)
    boundary, infinite = boundary_of(likelihood, estimable, searched, limits, names)
    return boundary, np.append(np.zeros(likelihood.k_mean, dtype=bool), infinite)
