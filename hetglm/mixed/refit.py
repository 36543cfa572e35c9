"""Draws from a fit with random effects, refits to similar data that start at it, held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation.record import Fitted
from hetglm.estimation.refit import embedded, refit, refit_both
from hetglm.inference.bootstrap import influence, simulator
from hetglm.inference.bootstrap_test import observed_ratio
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.clusters import cluster_codes, cluster_scores, redrawn
from hetglm.mixed.conditional import at_modes
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.fit import fit_mixed, with_modes
from hetglm.mixed.mixtures import Mixture
from hetglm.mixed.predictions import INTEGRATE, MixedPrediction, effects_of
from hetglm.mixed.record import MixedFit, Start, reml_of
from hetglm.mixed.simulation import simulate
from hetglm.prediction import quantities
from hetglm.prediction.crossvalidation import fit_of_fold, held_out
from hetglm.prediction.scores import HeldOut
from hetglm.typing import Array


@dataclass(frozen=True)
class MixedFitted(Fitted):
    """
    A fit with random effects and its data, for refits.

    Attributes
    ----------
    core : Likelihood
        Of the rows without their random effects.
    fit : MixedFit
    names : list of str
        Of all parameters.
    factors : tuple of GroupingFactor
    """

    fit: MixedFit  # type: ignore[assignment]
    factors: tuple[GroupingFactor, ...] = ()

    def of_rows(self, rows: Array) -> MixedFitted:
        """Return the fit with other rows: repeated, or in another order; groups keep their levels."""
        factors = tuple(factor.take(rows) for factor in self.factors)
        return replace(self, core=self.core.take(rows), factors=factors)

    def rows_at(self, core: Likelihood, fit: Any) -> Likelihood:
        """Return the rows of a fit to other data, given the modes of their random effects."""
        return at_modes(core, self.factors, fit)

    def with_estimates(self, core: Likelihood) -> MixedFit:
        """Return the estimates of the fit with the modes of other data."""
        return with_modes(core, self.factors, self.fit)

    def redrawn(self, rows: Array, clusters: Array) -> MixedFitted:
        """Return the fit with drawn clusters of rows, of which each draw is a group of its own."""
        factors = redrawn(self.factors, rows, clusters)
        return replace(self, core=self.core.take(rows), factors=factors)

    @property
    def identity(self) -> list[Any]:
        """Return what identifies a fit beyond its rows and estimates."""
        return [
            part for f in self.factors for part in (f.name, f.codes, f.values, f.columns, f.blocks)
        ]


@dataclass(frozen=True)
class NewEffects:
    """Draws responses of new random effects and new rows."""

    fitted: MixedFitted

    def __call__(self, rng: np.random.Generator) -> Likelihood:
        """Return the likelihood of a draw."""
        (y,) = self.responses(1, rng)
        return self.fitted.core.with_response(y)

    def responses(self, nsim: int, rng: np.random.Generator) -> Array:
        """Return responses of several draws, shape (nsim, n)."""
        fitted, fit = self.fitted, self.fitted.fit
        return simulate(fit.fixed_rows(fitted.core), fitted.factors, fit, nsim, rng, "new")


@simulator.register
def _(fitted: MixedFitted) -> NewEffects:
    quantities.distribution(fitted.core, fitted.fit.internal)  # raises where there is none
    return NewEffects(fitted)


@refit.register
def _(fitted: MixedFitted, core: Likelihood, warm: bool = True) -> MixedFit:
    """Return the maximum for other data, without standard errors."""
    return refit_from(fitted, core, near(fitted) if warm else None)


@influence.register
def _(fitted: MixedFitted, members: list[Array] | None) -> Array:
    """Return the influence of groups, none where grouping variables are crossed."""
    factors, fit = fitted.factors, fitted.fit
    try:
        codes = cluster_codes(factors) if members is None else codes_of(members)
    except ValueError:
        return np.empty((0, len(fit.params)))
    scores = cluster_scores(fitted.core, factors, fit, fit.params, codes)
    return scores @ np.nan_to_num(fit.covariance)


def codes_of(members: list[Array]) -> Array:
    """Return the group of each row, of the rows of each group."""
    codes = np.empty(sum(map(len, members)), dtype=int)
    for group, rows in enumerate(members):
        codes[rows] = group
    return codes


@refit_both.register
def _(full: MixedFitted, null: Fitted, draw: Likelihood, warm: bool) -> tuple[Any, MixedFit]:
    """Return both maxima by Laplace's approximation, the larger model's from the smaller one's."""
    null, full = by_laplace(null), by_laplace(full)
    smaller = refit(null, draw, warm)
    core = replace(full.core, y=draw.y, rows=draw.rows)
    start = embedded_start(full, null, smaller) if warm else None
    return smaller, refit_from(full, core, start)


@observed_ratio.register
def _(full: MixedFitted, null: Fitted) -> float:
    """Return the ratio by Laplace's approximation, as that of draws is."""
    if max(full.fit.nodes, getattr(null.fit, "nodes", 1)) == 1:
        return float(2 * (full.fit.maximum - null.fit.maximum))
    smaller, larger = refit_both(full, null, null.core, True)
    again = refit(by_laplace(full), full.core)
    return float(2 * (max(larger.maximum, again.maximum) - smaller.maximum))


def by_laplace(fitted: Any) -> Any:
    """
    Return a fit whose refits are by Laplace's approximation.

    A bootstrap of a likelihood ratio holds for any approximation of it that data and draws share, and
    quadrature takes several times as long.
    """
    if not isinstance(fitted, MixedFitted):
        return fitted
    return replace(fitted, fit=replace(fitted.fit, requested_nodes=1))


def refit_from(fitted: MixedFitted, core: Likelihood, start: Start | None) -> MixedFit:
    """
    Return the maximum for other data, without standard errors.

    Raises
    ------
    ValueError
        If the search did not converge.
    """
    names, reml = fitted.names[: len(fitted.estimable)], reml_of(fitted.fit.criterion)
    nodes = fitted.fit.requested_nodes
    found = fit_mixed(core, fitted.factors, names, reml, nodes, start, information=False)
    if not found.converged:
        raise ValueError(f"no convergence: {found.message}")
    return found


def near(fitted: MixedFitted) -> Start:
    """Return the estimates of a fit; the modes of other data are searched from 0."""
    return Start(fitted.fit.internal, fitted.fit.theta, none_of(fitted.factors))


def none_of(factors: tuple[GroupingFactor, ...]) -> list[Array]:
    """Return random effects of 0."""
    return [np.zeros((len(factor.levels), len(factor.columns))) for factor in factors]


def embedded_start(larger: MixedFitted, smaller: Fitted, fit: Any) -> Start:
    """
    Return where the search of a larger model begins: at the fit of a submodel.

    Parameters
    ----------
    larger, smaller : MixedFitted, MixedFitted or Fitted
    fit : Fit or MixedFit
        Of the smaller model, to the data of the search.
    """
    coefficients = embedded(larger.core, smaller.core, fit.internal)
    structure, modes = structure_of(larger.factors), none_of(larger.factors)
    reported = dict.fromkeys(structure.names, 0.0)
    if isinstance(smaller, MixedFitted):
        known = structure_of(smaller.factors).names
        own = zip(known, np.nan_to_num(fit.params[len(fit.internal) :]), strict=True)
        reported |= {name: value for name, value in own if name in reported}
        _take_modes(modes, larger, smaller, fit)
    theta = structure.of_reported(np.array(list(reported.values())))
    matrices = structure.matrices(theta)
    u = [b @ np.linalg.pinv(L).T for b, L in zip(modes, matrices, strict=True)]
    return Start(coefficients, theta, u)


def _take_modes(
    modes: list[Array], larger: MixedFitted, smaller: MixedFitted, fit: MixedFit
) -> None:
    """Fill in the modes of a smaller model, by factor and column."""
    known = {
        (factor.name, label): effects.modes[:, j]
        for factor, effects in zip(smaller.factors, fit.effects, strict=True)
        for j, label in enumerate(factor.labels)
    }
    for b, factor in zip(modes, larger.factors, strict=True):
        for j, label in enumerate(factor.labels):
            own = known.get((factor.name, label))
            if own is not None and len(own) == len(b):
                b[:, j] = own


@fit_of_fold.register
def _(fitted: MixedFitted, train: Any, criterion: Any) -> MixedFit:
    """Return the fit to the training rows of a fold, and their groups."""
    found: MixedFit = refit(train.fitted(fitted.fit), train.core)
    return found


@held_out.register
def _(fitted: MixedFitted, fit: MixedFit, train: Any, core: Likelihood, rows: Array) -> HeldOut:
    """Return held-out rows with their predictions, averaged over random effects of new groups."""
    pairs = zip(fitted.factors, train.random, strict=True)
    factors = tuple(on_rows(factor, own.levels, rows) for factor, own in pairs)
    effects = effects_of(factors, True, INTEGRATE)
    averages = MixedPrediction(core, effects, fit).averages
    conditional, params = averages.rows, averages.params
    distribution: Any = quantities.distribution(conditional, params)
    loglike = conditional.loglike_rows(params)
    if averages.is_needed():
        distribution = Mixture(averages)
        with np.errstate(divide="ignore"):
            loglike = np.log(distribution.pdf(core.y))
    trials = core.trials if core.family.counts_successes else None
    scale: Any = 1.0 if trials is None else trials
    return HeldOut(
        rows,
        core.y / scale,
        averages.value("mean"),
        averages.value("var") / scale**2,
        core.y,
        loglike,
        trials,
        distribution,
        core.family.discrete,
    )


def on_rows(factor: GroupingFactor, levels: tuple[Any, ...], rows: Array) -> GroupingFactor:
    """Return a factor on some rows, with codes of other levels: -1 where they are not among them."""
    position = {level: i for i, level in enumerate(levels)}
    codes = np.array([position.get(level, -1) for level in factor.levels])[factor.codes[rows]]
    return replace(factor, levels=levels, codes=codes, values=factor.values[rows])
