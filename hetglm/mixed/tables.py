"""Random effects and variance components as tables, with intervals of their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hetglm.design.random_terms import GroupingFactor
from hetglm.mixed.covariance_structure import CovarianceStructure
from hetglm.mixed.record import MixedFit
from hetglm.typing import Array


def intervals(params: Array, se: Array, structure: CovarianceStructure, alpha: float) -> Array:
    """
    Return Wald intervals of all parameters, shape (P, 2).

    Those of standard deviations are symmetric on the logarithmic scale, those of correlations on that of
    Fisher's z = artanh(r), so that no limit leaves the parameter space.
    """
    half = stats.norm.isf(alpha / 2) * se
    limits = np.column_stack([params - half, params + half])
    at = len(params) - structure.m
    with np.errstate(invalid="ignore", divide="ignore"):
        for factor in structure.factors:
            sd, r = slice(at, at + factor.k), slice(at + factor.k, at + factor.m)
            ratio = np.exp(half[sd] / params[sd])
            limits[sd] = np.column_stack([params[sd] / ratio, params[sd] * ratio])
            z, of_z = np.arctanh(params[r]), half[r] / (1 - params[r] ** 2)
            limits[r] = np.tanh(np.column_stack([z - of_z, z + of_z]))
            at += factor.m
    return limits


def is_sd(structure: CovarianceStructure, size: int) -> Array:
    """Return which of all parameters are standard deviations of random effects, shape (size,)."""
    of_theta = [np.arange(factor.m) < factor.k for factor in structure.factors]
    return np.concatenate([np.zeros(size - structure.m, dtype=bool), *of_theta])


def variance_components(
    fit: MixedFit, se: Array, structure: CovarianceStructure, alpha: float
) -> pd.DataFrame:
    """Return a row for each standard deviation, with its standard error and interval."""
    rows = is_sd(structure, len(fit.params))
    limits = intervals(fit.params, se, structure, alpha)[rows]
    names = [name for factor in structure.factors for name in factor.names[: factor.k]]
    return pd.DataFrame(
        {
            "part": [part for factor in structure.factors for part in factor.parts],
            "factor": [factor.name for factor in structure.factors for _ in factor.columns],
            "column": [column for factor in structure.factors for column in factor.columns],
            "sd": fit.params[rows],
            "se": se[rows],
            f"[{alpha / 2:g}": limits[:, 0],
            f"{1 - alpha / 2:g}]": limits[:, 1],
            "at_boundary": fit.at_boundary[rows],
        },
        index=names,
    )


def ranef(
    fit: MixedFit, factors: tuple[GroupingFactor, ...], covariances: list[Array]
) -> pd.DataFrame:
    """
    Return a row for each column of each group.

    Parameters
    ----------
    fit : MixedFit
    factors : tuple of GroupingFactor
    covariances : list of ndarray, shapes (G, k, k)
        Of the effects of each factor, with the uncertainty of the estimates.
    """
    tables = [
        pd.DataFrame(
            {
                "part": part,
                "factor": factor.name,
                "level": pd.Series(factor.levels, dtype=object),
                "column": factor.columns[j],
                "mode": effects.modes[:, j],
                "sd": np.sqrt(covariance[:, j, j]),
                "sd_given_estimates": effects.sd[:, j],
            }
        )
        for factor, effects, covariance in zip(factors, fit.effects, covariances, strict=True)
        for j, part in enumerate(factor.parts)
    ]
    return pd.concat(tables, ignore_index=True)


def by_level(
    factors: tuple[GroupingFactor, ...], values: list[Array], kind: type[pd.Series | pd.DataFrame]
) -> dict[Any, Any]:
    """Return values of each level of the only factor, or a dict of these by factor."""
    out: dict[str, Any] = {}
    for factor, of_levels in zip(factors, values, strict=True):
        axes = [factor.labels] * (2 if kind is pd.DataFrame else 1)
        pairs = zip(factor.levels, of_levels, strict=True)
        out[factor.name] = {level: kind(value, *axes) for level, value in pairs}
    return only(out)


def only(by_factor: dict[str, Any]) -> Any:
    """Return the value of the only factor, or the dict where there are several."""
    return next(iter(by_factor.values())) if len(by_factor) == 1 else by_factor
