"""What models with random effects do not have yet, and what to use meanwhile."""

from __future__ import annotations

from typing import Any

_OTHER = "leave the random terms out for the fit without them"

#: Methods of results, and functions of them -> what there is instead.
NOT_YET = {
    "boundary_limits": "notes names the cells whose dispersion is at the boundary",
    "diagnose": "notes has what the fit warned of",
    "get_resid(kind='standardized')": "kind='pearson' is conditional on the random effects",
    "plot_dispersion": "fitted_dispersion is conditional on the random effects",
    "plot_mean_variance": "fittedvalues and predict(which='var') are conditional on the random effects",
    "score_test": "add the terms to the formula and test them by wald_test_terms",
    "test_overdispersion": _OTHER,
    "test_random_effect": _OTHER,
}


def check(model: Any, name: str) -> None:
    """
    Raise a NotImplementedError if a model has random effects.

    Parameters
    ----------
    model : LocationScaleModel
    name : str
        Of what was asked for, in `NOT_YET`.
    """
    if model.random:
        raise NotImplementedError(
            f"{name}: not available for models with random effects yet; {NOT_YET[name]}"
        )
