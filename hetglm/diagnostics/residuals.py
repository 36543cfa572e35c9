"""Residuals of a fit, a function for each kind; all of a single row, whatever its frequency."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hetglm.estimation import random_effects
from hetglm.estimation.record import need_rows
from hetglm.families.tails import normal_scores, tails
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks

#: Kinds of residuals, with the attribute of the results or of their influence that has them.
KINDS = {
    "quantile": "",
    "response": "resid_response",
    "pearson": "resid_pearson",
    "deviance": "resid_deviance",
    "dispersion": "resid_dispersion",
    "standardized": "resid_studentized",
    "standardized-deviance": "resid_studentized_deviance",
    "standardized-dispersion": "resid_studentized_dispersion",
}


def of_kind(res: Any, kind: str, rng: Any) -> Array:
    """Return the residuals of one of `KINDS`, shape (n,)."""
    need_rows(res.model.core)
    generator = checks.generator(rng)
    if kind == "quantile":
        return quantile(res.core, res.fit.internal, generator)
    if kind.startswith("standardized"):
        random_effects.check(res.model, "get_resid(kind='standardized')")
    owner = res.get_influence() if kind.startswith("standardized") else res
    values: Array = getattr(owner, KINDS[kind])
    return values


def response(core: Likelihood, params: Array) -> Array:
    """Return y minus its fitted mean; for counts of successes the proportion minus its probability."""
    y = core.y if not core.family.counts_successes or core.trials is None else core.y / core.trials
    return y - core.predictors(params).mean.mu


def pearson(core: Likelihood, params: Array) -> Array:
    """Return Pearson residuals: (y - mu) over the fitted standard deviation."""
    at = core.predictors(params)
    variance = core.family.variance(at.mean.mu, at.mean.nu, core.row_phi(at.phi), core.trials)
    counts = core.trials if core.family.counts_successes and core.trials is not None else 1.0
    return response(core, params) * counts / np.sqrt(variance)


def deviance(core: Likelihood, params: Array) -> Array:
    """
    Return deviance residuals sign(y - mu) sqrt(D), D = 2 (saturated - fitted log-likelihood).

    In an exponential dispersion model that is w d/phi, d the unit deviance. The others have no
    deviance free of the dispersion, but a gain they have.
    """
    at = core.predictors(params)
    nu = at.mean.nu if core.family.unit_interval else None
    try:
        gain = core.family.unit_deviance(core.rows, at.mean.mu, nu) / core.row_phi(at.phi)
    except NotImplementedError:
        best = core.family.saturated(core.rows, core.row_phi(at.phi))
        gain = 2 * (best - core.terms(at, 0).loglike)
    return np.sign(response(core, params)) * np.sqrt(np.maximum(gain, 0.0))  # of rounding


def dispersion(core: Likelihood, params: Array, expected: Array | None = None) -> Array:
    """
    Return dispersion residuals: scores with respect to zeta over their standard deviation.

    For the Gaussian, and for the extended quasi-likelihood, (w d/phi - 1)/sqrt(2): the Pearson
    residual of the gamma GLM that the deviances d follow. Of a family without a dispersion, the
    scores of its mixture (negative binomial, beta-binomial) at phi = 0. NaN where a row contains no
    information about the dispersion. ``expected`` is the expected second derivative of each row,
    where it is known.
    """
    if not core.family.has_dispersion:
        return _of_mixture(core, params)
    core = replace(core, freq=None)
    score = core.factors(params, 1).zeta
    assert score is not None
    expected = core.expected_factors(params)[2] if expected is None else expected
    with np.errstate(invalid="ignore", divide="ignore"):
        return score / np.sqrt(-expected)


def _of_mixture(core: Likelihood, params: Array) -> Array:
    """Return the scores in phi of `Family.mixed_family` at phi = 0 over their standard deviation."""
    mean, family, zero = core.predictors(params).mean, core.family.mixed_family, np.zeros(core.n)
    at = mean.mu, mean.nu if family.unit_interval else None, zero
    rows = family.prepare(core.y, core.trials)
    score = family.evaluate(rows, *at, 1).phi
    assert score is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        return score / np.sqrt(-family.expected_hessian(rows, *at)[2])


def quantile(core: Likelihood, params: Array, rng: np.random.Generator) -> Array:
    """
    Return quantile residuals: normal quantiles of the probability integral transform (PIT).

    Where the distribution function has a jump (counts, the zeros of the Tweedie) the PIT is drawn
    uniformly within it, so that under the model the residuals are standard normal up to estimation
    error (Dunn and Smyth 1996). Extremes are computed from the logarithm of the tail probability, so
    that none is infinite because a probability underflows.

    Raises
    ------
    NotImplementedError
        For extended quasi-likelihood families, which have no distribution.

    References
    ----------
    Dunn, P. K. and Smyth, G. K. (1996). Randomized quantile residuals. Journal of Computational and
    Graphical Statistics 5, 236-244.
    """
    require_distribution(core, "quantile residuals", "kind='standardized-deviance'")
    found = tails(quantities.distribution(core, params), core.y)
    uniform = np.full(core.n, 0.5)
    jumps = np.isfinite(found.at)
    uniform[jumps] = rng.uniform(size=int(jumps.sum()))
    return normal_scores(found, uniform)


def require_distribution(core: Likelihood, what: str, instead: str) -> None:
    """Raise a NotImplementedError for families without a distribution."""
    if not core.family.exact:
        raise NotImplementedError(
            f"{core.family.name} by extended quasi-likelihood is not a distribution, so it has no "
            f"{what}: use {instead}, or a model with a likelihood (BetaBinomial for proportions, "
            "NegativeBinomial for counts, likelihood='exact' for Tweedie)"
        )
