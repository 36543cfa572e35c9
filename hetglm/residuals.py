"""Residuals of a fit, a function for each kind; all of a single row, whatever its frequency."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetglm._likelihood import Likelihood

Array = NDArray[Any]


def response(core: Likelihood, params: Array) -> Array:
    """Return y less its fitted mean; of successes, the proportion less its probability."""
    y = core.y if not core.family.counts_successes or core.trials is None else core.y / core.trials
    return y - core.predictors(params).mean.mu


def pearson(core: Likelihood, params: Array) -> Array:
    """Return the residuals of the response in units of its fitted standard deviation."""
    at = core.predictors(params)
    variance = core.family.variance(at.mean.mu, at.mean.nu, core.row_phi(at.phi), core.trials)
    counts = core.trials if core.family.counts_successes and core.trials is not None else 1.0
    return response(core, params) * counts / np.sqrt(variance)


def deviance(core: Likelihood, params: Array) -> Array:
    """
    Return sign(y - mu) sqrt(w d/phi), d the unit deviance.

    Raises
    ------
    NotImplementedError
        For families that are no exponential dispersion model.
    """
    at = core.predictors(params)
    nu = at.mean.nu if core.family.unit_interval else None
    d = core.family.unit_deviance(core.rows, at.mean.mu, nu)
    return np.sign(response(core, params)) * np.sqrt(d / core.row_phi(at.phi))


def dispersion(core: Likelihood, params: Array) -> Array:
    """
    Return the score of each row in its dispersion's predictor, in units of its standard deviation.

    For the Gaussian, and for the extended quasi-likelihood, (w d/phi - 1)/sqrt(2): the Pearson
    residual of the gamma GLM that the deviances d follow. NaN where a row tells nothing of the
    dispersion.
    """
    core = replace(core, freq=None)
    score = core.factors(params, 1).zeta
    assert score is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        return score / np.sqrt(-core.expected_factors(params)[2])
