"""Predictions for rows with random effects: which are at their modes, 0, or averaged over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from statsmodels.genmod.families import links

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.averages import OF_CORRELATION, Averages, depends_on, from_correlation, moved
from hetglm.mixed.conditional import Uncertainty, with_effects
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.loadings import Symmetric, loading_of
from hetglm.mixed.mixtures import Mixture
from hetglm.mixed.record import MixedFit
from hetglm.prediction import intervals, quantities
from hetglm.prediction.intervals import Interval, Observation
from hetglm.typing import Array
from hetglm.utils.messages import listed

#: What is done with the effects of levels that the fit did not have.
NEW_LEVELS = ("error", "population", "integrate")
#: Steps of differences, in standard errors.
STEP = 1e-3
#: The value of ``random`` that averages over all random effects.
INTEGRATE = "integrate"


def used(random: Any, names: Sequence[str]) -> tuple[str, ...]:
    """
    Return the grouping variables whose effects are not set to 0.

    Parameters
    ----------
    random : bool, "integrate", str or list of str
    names : sequence of str
        Grouping variables of the fit.

    Raises
    ------
    ValueError
        For another value or an unknown grouping variable.
    """
    if random is True or (isinstance(random, str) and random == INTEGRATE):
        return tuple(names)
    if random is False:
        return ()
    given = [random] if isinstance(random, str) else random
    if not isinstance(given, (list, tuple)):
        raise ValueError(
            f"random={random!r}: choose True, False, 'integrate' or a list of grouping variables"
        )
    for name in given:
        if name not in names:
            raise ValueError(
                f"random: {name!r} is no grouping variable of the fit, which has {listed(list(names))}"
            )
    return tuple(given)


@dataclass(frozen=True)
class EffectsOfRows:
    """
    Random effects of rows, old or new.

    Attributes
    ----------
    factors : tuple of GroupingFactor
        Those of the fit on the rows; code -1 for an effect of 0 or one that is averaged over.
    averaged : tuple of ndarray of bool, shape (n,)
        Rows that are averaged over the effects of each factor.
    """

    factors: tuple[GroupingFactor, ...]
    averaged: tuple[Array, ...]

    def covariance(self, theta: Array) -> Symmetric:
        """Return the covariance of (eta, zeta) of each row by the effects that are averaged over."""
        n = len(self.averaged[0])
        out = [np.zeros(n) for _ in range(3)]
        matrices = structure_of(self.factors).covariances(theta)
        for factor, rows, matrix in zip(self.factors, self.averaged, matrices, strict=True):
            whole = replace(
                factor, codes=np.zeros(n, dtype=int), values=factor.values * rows[:, None]
            )
            loading_of(whole).quadratic(matrix[None], out)
        return Symmetric(*out)


def check_new_levels(new_levels: str) -> None:
    """Raise a ValueError for another word than those of `NEW_LEVELS`."""
    if new_levels not in NEW_LEVELS:
        raise ValueError(f"new_levels={new_levels!r}: choose one of {listed(list(NEW_LEVELS))}")


def effects_of(factors: tuple[GroupingFactor, ...], random: Any, new_levels: str) -> EffectsOfRows:
    """
    Return what is done with the random effects of rows.

    Parameters
    ----------
    factors : tuple of GroupingFactor
        Those of the fit on the rows; code -1 for a level that the fit did not have, NaN for a missing
        value.
    random : bool, "integrate", str or list of str
        Effects of which grouping variables are at their modes, or averaged over; 0 for the others.
    new_levels : {"error", "population", "integrate"}
        Whether the effects of new levels are averaged over; 0 otherwise.
    """
    names = used(random, [factor.name for factor in factors])
    made = [
        _treated(factor, factor.name in names, random == INTEGRATE, new_levels)
        for factor in factors
    ]
    return EffectsOfRows(tuple(f for f, _ in made), tuple(a for _, a in made))


def _treated(
    factor: GroupingFactor, is_used: bool, integrate: bool, new_levels: str
) -> tuple[GroupingFactor, Array]:
    """Return a factor with code -1 where its effects are not at the modes, and where to average."""
    nobody = np.full(len(factor.codes), -1)
    if not is_used:
        return replace(factor, codes=nobody, values=np.zeros_like(factor.values)), nobody > 0
    if integrate:
        return replace(factor, codes=nobody), nobody < 0
    return factor, is_new(factor) & (new_levels == INTEGRATE)


def is_new(factor: GroupingFactor) -> Array:
    """Return which rows have a level that the fit did not have, shape (n,)."""
    return np.asarray((factor.codes < 0) & np.isfinite(factor.values).all(axis=1))


@dataclass(frozen=True)
class MixedPrediction:
    """
    Predictions for rows with random effects.

    Attributes
    ----------
    rows : Likelihood
        The rows without random effects.
    effects : EffectsOfRows
    fit : MixedFit
    """

    rows: Likelihood
    effects: EffectsOfRows
    fit: MixedFit

    @cached_property
    def averages(self) -> Averages:
        """Averages over the effects that are neither 0 nor at their modes."""
        return self.at(self.fit.theta)

    def at(self, theta: Array) -> Averages:
        """Return the averages at another covariance of the effects."""
        return Averages(self.conditional, self.fit.internal, self.effects.covariance(theta))

    @cached_property
    def conditional(self) -> Likelihood:
        """The rows with the effects at their modes in the offsets."""
        modes = [effects.modes for effects in self.fit.effects]
        return with_effects(self.rows, self.effects.factors, modes)

    def value(self, which: str, y_values: Any = None) -> Array:
        """Return a quantity of each row, as `Averages.value` does."""
        return self.averages.value(which, y_values)


@dataclass(frozen=True)
class MixedIntervals:
    """
    Intervals of predictions for rows with random effects, with the uncertainty of all that is estimated.

    Coefficients, modes of the random effects and, where effects are averaged over, their covariance.

    Attributes
    ----------
    prediction : MixedPrediction
    uncertainty : Uncertainty
        Of the random effects of the fit.
    """

    prediction: MixedPrediction
    uncertainty: Uncertainty

    @cached_property
    def covariance(self) -> Symmetric:
        """Covariance of (eta, zeta) of each row with its effects at their modes."""
        rows, factors = self.prediction.rows, self.prediction.effects.factors
        return self.uncertainty.of_rows(rows.X, rows.Z, factors)

    def interval(self, which: str, y_values: Any = None) -> Interval:
        """Return the transformed quantity with its standard error, by the delta method."""
        averages, quantity = self.prediction.averages, quantities.asked(which, y_values)
        parts = depends_on(which)
        if which.startswith("linear") or not averages.is_needed(parts):
            rows, params = self.prediction.conditional, averages.params
            return intervals.interval_of(quantity, rows, params, self.covariance)
        scale = _Scale(which, averages.rows)

        def transformed(averages: Averages) -> Array:
            value = averages.value(scale.base, y_values)
            return scale.link(value.reshape(len(value)))

        centre = transformed(averages)
        se = np.sqrt(self._variance(transformed, parts))
        return Interval(centre, se, scale.inverse, scale.slope(centre))

    def _variance(self, function: Callable[[Averages], Array], parts: tuple[str, ...]) -> Array:
        """Return the variance of a function of the averages, by differences of it; shape (n,)."""
        here, n = self.prediction.averages, self.prediction.rows.n
        rows, factors = self.prediction.rows, self.prediction.effects.factors
        of_eta, _, of_zeta = self.covariance
        by_eta, by_zeta = self.uncertainty.slopes_of_rows(rows.X, rows.Z, factors)
        given = self.uncertainty.given_of_rows(factors)
        none = eta = zeta = np.zeros(n)
        slopes = np.zeros(by_eta.shape)
        if quantities.MEAN in parts:  # the other part of new rows may be missing
            eta = _slope(lambda h: function(moved(here, h, none)), of_eta)
            slopes += eta[:, None] * by_eta
        if quantities.DISPERSION in parts:
            zeta = _slope(lambda h: function(moved(here, none, h)), of_zeta)
            slopes += zeta[:, None] * by_zeta
        slopes[:, len(here.params) :] += self._by_covariance(function)
        by_estimates = np.einsum("ij,ij->i", slopes @ self.uncertainty.cov_params, slopes)
        by_modes = eta**2 * given[0] + 2 * eta * zeta * given[1] + zeta**2 * given[2]
        return np.maximum(by_estimates + by_modes, 0.0)  # of rounding

    def _by_covariance(self, function: Callable[[Averages], Array]) -> Array:
        """Return the derivatives in the standard deviations and correlations, shape (n, m)."""
        fit, structure = self.prediction.fit, structure_of(self.prediction.effects.factors)
        k = len(fit.internal)
        out = np.zeros((self.prediction.rows.n, structure.m))
        for j in np.flatnonzero(fit.interior[k:]):
            step = STEP * min(fit.bse[k + j], fit.params[k + j] or 1.0)
            values = []
            for sign in (1, -1):
                params = fit.params[k:].copy()
                params[j] += sign * step
                values.append(function(self.prediction.at(structure.of_reported(params))))
            out[:, j] = (values[0] - values[1]) / (2 * step)
        return out

    def observation(self) -> Observation | ObservationOfMixture:
        """Return a new response of each row, for its interval."""
        averages = self.prediction.averages
        if averages.is_needed():
            return ObservationOfMixture(averages, self.covariance)
        return Observation(averages.rows, averages.params, self.covariance)


@dataclass(frozen=True)
class ObservationOfMixture:
    """
    A new response of each row, averaged over random effects.

    Attributes
    ----------
    averages : Averages
    covariance : Symmetric
        Of the estimated (eta, zeta), their uncertainty.
    """

    averages: Averages
    covariance: Symmetric

    def interval(self, alpha: float, kind: str) -> Array:
        """
        Return the interval of a new observation of each row, shape (n, 2).

        ``"plugin"`` gives the quantiles of the distribution averaged over the random effects,
        ``"predictive"`` averages over the uncertainty of the linear predictors too.
        """
        V = self.averages.covariance
        if kind == "predictive":
            V = Symmetric(*(a + b for a, b in zip(V, self.covariance, strict=True)))
        mixture = Mixture(replace(self.averages, covariance=V))
        return np.column_stack([mixture.ppf(alpha / 2), mixture.isf(alpha / 2)])


def _slope(function: Callable[[Array], Array], variance: Array) -> Array:
    """Return the derivative of a function of each row at 0, by a step of its standard error; (n,)."""
    step = STEP * np.sqrt(np.where(variance > 0, variance, 1.0))
    return (function(step) - function(-step)) / (2 * step)


@dataclass(frozen=True)
class _Scale:
    """
    The transform on which the interval of an averaged quantity is formed.

    Attributes
    ----------
    which : str
        Name of the quantity.
    rows : Likelihood
    """

    which: str
    rows: Likelihood

    @property
    def base(self) -> str:
        """The quantity that is transformed: the correlation of two trials for its functions."""
        return "icc" if self.which in OF_CORRELATION else self.which

    @property
    def link(self) -> Any:
        """Transform of the base."""
        own = {"mean": self.rows.link, "dispersion": self.rows.link_dispersion}
        log = dict.fromkeys(("var", "sd"), links.Log())
        return (own | log).get(self.base) or links.Logit()

    def inverse(self, t: Array) -> Array:
        """Return the quantity as a function of the transform."""
        base = self.link.inverse(t)
        if self.which not in OF_CORRELATION:
            return np.asarray(base)
        return from_correlation(self.which, base, self.rows.trials)

    def slope(self, t: Array) -> Array:
        """Return the derivative of `inverse`."""
        by_base = self.link.inverse_deriv(t)
        if self.which not in ("design-effect", "effective-size"):
            return np.asarray(by_base)
        trials: Any = self.rows.trials
        inflation = 1 + (trials - 1) * self.link.inverse(t)
        by_rho = (trials - 1) * (1 if self.which == "design-effect" else -trials / inflation**2)
        return np.asarray(by_base * by_rho)
