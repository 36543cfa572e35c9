"""What an optimiser sees of a criterion: value, gradient and information in scaled coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from statsmodels.genmod.families import links

from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array


@dataclass(frozen=True)
class Local:
    """Log-likelihood at a point with its gradient and observed information."""

    value: float
    gradient: Array
    information: Array


@dataclass(frozen=True)
class Criterion:
    """
    What estimates maximise; its `Objective` computes it.

    To add one: an objective in ``likelihood/``, its search in ``estimation/``, one entry in
    ``fit.SEARCHES``.

    Attributes
    ----------
    name : str
    comparable_means : bool
        Whether its maxima compare models of different means, as likelihood ratios and AIC do; not if
        it is adjusted for the estimation of the mean and so depends on the mean's design.
    comparable_dispersions : bool
        The same of dispersions.
    by_rows : bool
        Whether it is the log-likelihood, a sum over rows: robust covariances, score tests and refits
        by the scores of the rows need that.
    """

    name: str
    comparable_means: bool = True
    comparable_dispersions: bool = True
    by_rows: bool = False

    @property
    def of_means(self) -> Criterion:
        """What models of different means are compared by: this, or the likelihood."""
        return self if self.comparable_means else LIKELIHOOD


#: The log-likelihood, or where a family has none the extended quasi-likelihood.
LIKELIHOOD = Criterion("likelihood", by_rows=True)


class Objective(Protocol):
    """
    What is maximised: a log-likelihood of params with analytic derivatives.

    Attributes
    ----------
    n : int
        Rows.
    max_step_length : float
        Length of a step along a direction without curvature, at most; infinite without a natural scale.
    """

    n: int
    max_step_length: float

    def value(self, params: Array) -> float:
        """Return the log-likelihood, -inf outside its domain."""

    def local(self, params: Array) -> Local:
        """Return value, gradient and observed information."""

    def expected_information(self, params: Array) -> Array:
        """Return the expected information."""

    def longest_step(self, params: Array, step: Array) -> float:
        """Return the fraction of a step from ``params`` to try at most, in (0, 1]."""

    def change(self, step: Array) -> float:
        """Return the largest change of a row's linear predictor by a step."""


#: Change of a row's log phi in one step, at most: keeps a step off the flat parts of a likelihood.
MAX_LOG_PHI_STEP = 4.0

#: Length of a step along a direction without curvature, in units of a standardised column's effect.
MAX_STEP_LENGTH = 20.0

#: Boundary scale times phi (and 1/phi) below which the likelihood no longer depends on phi.
MIN_SCALED_PHI = 1e-5


class ScaledObjective:
    """The log-likelihood in the estimable coefficients, columns scaled to unit root mean square."""

    def __init__(self, likelihood: Likelihood, estimated: Array) -> None:
        self.likelihood = likelihood
        self.estimated = estimated
        self.n = likelihood.n
        # log-odds and log sigma have a natural scale, responses do not
        self.max_step_length = MAX_STEP_LENGTH if likelihood.has_boundary else np.inf
        squares = [np.einsum("ij,ij->j", A, A) for A in (likelihood.X, likelihood.Z)]
        rms = np.sqrt(np.concatenate(squares) / max(self.n, 1))
        self.scale = np.where(rms > 0, rms, 1.0)[estimated]

    def full(self, params: Array) -> Array:
        """Return coefficients of all columns, 0 where aliased."""
        full = np.zeros(len(self.estimated))
        full[self.estimated] = params / self.scale
        return full

    def reduced(self, full: Array) -> Array:
        """Return scaled coefficients of the estimable columns."""
        return np.asarray(full, dtype=float)[self.estimated] * self.scale

    def value(self, params: Array) -> float:
        """Return the log-likelihood."""
        return self.likelihood.loglike(self.full(params))

    def local(self, params: Array) -> Local:
        """Return value, gradient and observed information."""
        factors = self.likelihood.factors(self.full(params))
        with np.errstate(all="ignore"):
            value = float(factors.loglike.sum())
            gradient = self.likelihood.gradient(factors)[self.estimated] / self.scale
            hessian = self.likelihood.hessian(factors)
        return Local(-np.inf if np.isnan(value) else value, gradient, self._shrink(-hessian))

    def gradient(self, params: Array) -> Array:
        """Return the gradient alone."""
        factors = self.likelihood.factors(self.full(params), 1)
        return self.likelihood.gradient(factors)[self.estimated] / self.scale

    def expected_information(self, params: Array) -> Array:
        """Return the expected information."""
        return self._shrink(-self.likelihood.expected_hessian(self.full(params)))

    def longest_step(self, params: Array, step: Array) -> float:
        """
        Return the largest fraction of a step that changes each row's log phi by a few units at most.

        Of families with a limit at phi = 0, the change counts between dispersions on which the
        likelihood depends; beyond them log phi may move freely.
        """
        core, k = self.likelihood, self.likelihood.k_mean
        change = core.Z @ self.full(step)[k:]
        if not isinstance(core.link_dispersion, links.Log):
            at = core.predictors(self.full(params))
            with np.errstate(all="ignore"):
                of_log = np.nanmax(np.abs(change * at.d_phi / at.phi), initial=0.0)
            return float(min(1.0, MAX_LOG_PHI_STEP / max(of_log, MAX_LOG_PHI_STEP)))
        if np.max(np.abs(change), initial=0.0) <= MAX_LOG_PHI_STEP:
            return 1.0
        zeta = core.predictors(self.full(params)).zeta
        return _longest_fraction(zeta, change, *self._informative_range())

    def _informative_range(self) -> tuple[Array, float]:
        """Return the limits of log phi of each row between which the likelihood depends on it."""
        core = self.likelihood
        if not core.has_boundary:
            return np.full(self.n, -np.inf), np.inf
        scale = core.boundary_family.boundary_scale(core.rows)
        return np.log(MIN_SCALED_PHI / scale), -np.log(MIN_SCALED_PHI)

    def change(self, step: Array) -> float:
        """Return the largest change of a row's linear predictor by a step."""
        core, k, step = self.likelihood, self.likelihood.k_mean, self.full(step)
        changes = core.X @ step[:k], core.Z @ step[k:]
        return max(float(np.max(np.abs(change), initial=0.0)) for change in changes)

    def _shrink(self, information: Array) -> Array:
        kept = information[np.ix_(self.estimated, self.estimated)]
        return kept / np.outer(self.scale, self.scale)


def _longest_fraction(zeta: Array, change: Array, low: Array, high: float) -> float:
    """
    Return the largest fraction of a step, up to 1, that no row forbids.

    A row that rises from zeta may go to max(zeta, low) + `MAX_LOG_PHI_STEP`: the way up to ``low``
    is free. If that is above ``high`` it may go anywhere. A row that falls is one that rises, mirrored.

    Parameters
    ----------
    zeta, change : ndarray, shape (n,)
        Log phi of each row and its change by the full step.
    low : ndarray, shape (n,)
    high : float
        Limits between which the likelihood depends on log phi.
    """
    rises = change > 0
    begin = np.where(rises, zeta, -zeta)
    free_until = np.where(rises, low, -high)
    free_from = np.where(rises, high, -low)
    until = np.maximum(begin, free_until) + MAX_LOG_PHI_STEP
    with np.errstate(all="ignore"):
        fraction = (until - begin) / np.abs(change)
    fraction = np.where((until > free_from) | ~np.isfinite(begin), np.inf, fraction)
    return float(min(1.0, np.nanmin(fraction, initial=np.inf)))
