"""Profile likelihood: how large the dispersion of a boundary cell may be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from hetglm._fit import Fit, Settings, search
from hetglm._likelihood import Likelihood

Array = NDArray[Any]

#: Smallest and largest log phi looked at, and the tolerance of the limit on that scale.
LOWEST, HIGHEST, TOLERANCE = -80.0, 40.0, 1e-8


def boundary_limits(
    core: Likelihood, fit: Fit, names: list[str], shown: list[str], alpha: float
) -> pd.DataFrame:
    """
    Return the profile-likelihood limit of the dispersion in each cell at the boundary.

    Parameters
    ----------
    core : Likelihood
        Of the rows of the fit, none held.
    fit : Fit
        With a boundary.
    names, shown : list of str
        Names of all coefficients, and of the dispersion's columns.
    alpha : float
        One minus the coverage.

    Returns
    -------
    DataFrame
        A row for each cell: number of rows, the estimate 0, and the dispersion at which twice the
        log-likelihood has fallen by the chi-square quantile, all else maximised.
    """
    assert fit.boundary is not None
    table = []
    for cell in fit.boundary.cells:
        rows = fit.boundary.rows & np.all(core.Z == cell, axis=1)
        table.append(
            (_label(cell, shown), int(rows.sum()), 0.0, _limit(core, fit, rows, names, alpha))
        )
    columns = ["cell", "rows", core.family.symbol, "upper"]
    return pd.DataFrame(table, columns=columns).set_index("cell")


def _label(cell: Array, shown: list[str]) -> str:
    terms = zip(cell, shown, strict=True)
    return " + ".join(name if v == 1 else f"{v:g} {name}" for v, name in terms if v != 0)


def _limit(core: Likelihood, fit: Fit, rows: Array, names: list[str], alpha: float) -> float:
    """Return the limit of one cell; infinity where the likelihood never falls that far."""
    assert fit.boundary is not None
    cut, start = stats.chi2.isf(alpha, 1), fit.internal
    zero = fit.boundary.held

    def drop(log_phi: float) -> float:
        nonlocal start
        held = replace(core, held=np.where(rows, log_phi, zero))
        found = search(held, fit.solved, start, Settings(names))
        start = found.internal
        return float(2 * (fit.llf - found.llf) - cut)

    low = max(-np.log(core.family.size(core.rows)[rows].max()) - 12, LOWEST)
    high = low + 4
    while drop(high) < 0:
        low, high = high, high + 2
        if high > HIGHEST:
            return np.inf
    return float(np.exp(brentq(drop, low, high, xtol=TOLERANCE)))
