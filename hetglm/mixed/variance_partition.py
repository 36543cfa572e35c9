"""
Shares of the variance of the response, and the conditional Akaike information criterion.

Intraclass correlation and R2 of Nakagawa, Johnson and Schielzeth (2017) on the scale of the mean's
linear predictor; random slopes as in Johnson (2014).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from statsmodels.genmod.families import links

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import invert
from hetglm.mixed.averages import Averages
from hetglm.mixed.conditional import Uncertainty, at_modes
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.loadings import Symmetric, loading_of
from hetglm.mixed.record import MixedFit
from hetglm.typing import Array

#: Variances of the latent variables whose thresholds give binary responses.
LATENT = {links.Logit: np.pi**2 / 3, links.Probit: 1.0, links.CLogLog: np.pi**2 / 6}


@dataclass(frozen=True)
class VariancePartition:
    """
    Parts of the variance of the response on the scale of the mean's linear predictor.

    Attributes
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    fit : MixedFit
    """

    likelihood: Likelihood
    factors: tuple[GroupingFactor, ...]
    fit: MixedFit

    @cached_property
    def fixed(self) -> float:
        """Variance over the rows of the fixed part of the mean's predictor, without offset."""
        core, freq = self.likelihood, self._freq
        eta = core.X @ self.fit.internal[: core.k_mean]
        centred = eta - np.average(eta, weights=freq)
        return float(freq @ centred**2 / (freq.sum() - 1))

    @property
    def _freq(self) -> Array:
        freq = self.likelihood.freq
        return np.ones(self.likelihood.n) if freq is None else freq

    @cached_property
    def by_row(self) -> list[Symmetric]:
        """Covariance of (eta, zeta) of each row by the random effects of each factor."""
        out = []
        matrices = structure_of(self.factors).covariances(self.fit.theta)
        for factor, matrix in zip(self.factors, matrices, strict=True):
            entries = [np.zeros(self.likelihood.n) for _ in range(3)]
            one = replace(factor, codes=np.zeros(self.likelihood.n, dtype=int))
            loading_of(one).quadratic(matrix[None], entries)
            out.append(Symmetric(*entries))
        return out

    @cached_property
    def random(self) -> Array:
        """Average variance of the mean's predictor by each factor, shape (number of factors,)."""
        averages = [np.average(V.eta_eta, weights=self._freq) for V in self.by_row]
        return np.array(averages)

    @cached_property
    def residual(self) -> float:
        """Variance of the response given its mean, on the scale of the mean's predictor."""
        core, family = self.likelihood, self.likelihood.family
        if family.counts_successes:
            for link, variance in LATENT.items():
                if type(core.link) is link:
                    return float(variance)
        total = Symmetric(*np.sum(self.by_row, axis=0))
        rows = Averages(self.fit.fixed_rows(core), self.fit.internal, total)
        phi = np.average(core.row_phi(rows.value("dispersion")), weights=self._freq)
        mean = np.average(rows.value("mean"), weights=self._freq)
        trials = np.ones(1) if family.counts_successes else None
        at = np.array([mean])
        variance = family.variance(at, 1 - at, np.array([phi]), trials)[0]
        if type(core.link) is links.Log:
            return float(np.log1p(variance / mean**2))
        slope = invert(core.link, np.asarray(core.link(at))).d1[0]
        return float(variance / slope**2)

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.fixed + float(self.random.sum()) + self.residual


def conditional_df(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> float:
    """
    Return the effective degrees of freedom of a fit given its random effects.

    The trace of W V: W the observed information of each row in its linear predictors at the modes, V
    their covariance with the uncertainty of all estimates.
    """
    at = at_modes(likelihood, factors, fit).factors(fit.internal)
    V = Uncertainty(likelihood, factors, fit).of_rows(likelihood.X, likelihood.Z, factors)
    second: Any = at.eta_eta, at.eta_zeta, at.zeta_zeta
    return -float(second[0] @ V[0] + 2 * second[1] @ V[1] + second[2] @ V[2])
