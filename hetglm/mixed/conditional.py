"""What is conditional on the random effects: the likelihood at their modes, and their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.laplace import Laplace
from hetglm.mixed.loadings import Loading, Symmetric, loading_of
from hetglm.mixed.marginal import Marginal
from hetglm.mixed.record import MixedFit
from hetglm.mixed.tangent import mode_slopes
from hetglm.typing import Array


def with_effects(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], effects: list[Array]
) -> Likelihood:
    """
    Return the likelihood given random effects, which the offsets of both parts take up.

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
        On the rows of the likelihood; a row of code -1 has no effect of that factor.
    effects : list of ndarray, shapes (G, k)
        b of each factor.
    """
    offsets = likelihood.offset, likelihood.offset_dispersion
    eta, zeta = (
        more if a is None else a + more
        for a, more in zip(offsets, added(factors, effects), strict=True)
    )
    return replace(likelihood, offset=eta, offset_dispersion=zeta)


def added(factors: tuple[GroupingFactor, ...], effects: list[Array]) -> Array:
    """Return what random effects add to eta and zeta of each row, shape (2, n)."""
    out = np.zeros((2, len(factors[0].codes)))
    for factor, b in zip(factors, effects, strict=True):
        # code -1 is the row of zeros that is appended
        out += loading_of(factor).of_rows(np.vstack([b, np.zeros((1, b.shape[1]))]))
    return out


def at_modes(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> Likelihood:
    """Return the likelihood given the modes of the random effects, as offsets of both parts."""
    likelihood = fit.fixed_rows(likelihood)
    return with_effects(likelihood, factors, [effect.modes for effect in fit.effects])


def laplace_at(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> tuple[Marginal, Laplace]:
    """Return the marginal likelihood of all coefficients, and Laplace's approximation at a fit."""
    marginal = Marginal(fit.fixed_rows(likelihood), factors)
    marginal.u = [fit.effects[i].standardized for i in marginal.joint.order]
    k = marginal.k_coefficients
    here = marginal.at(np.concatenate([np.nan_to_num(fit.params[:k]), fit.theta]))
    assert here is not None
    return marginal, here.laplace


@dataclass(frozen=True)
class Uncertainty:
    """
    Uncertainty of the random effects of a fit, given the estimates and with that of the estimates.

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
    def _at(self) -> tuple[Marginal, Laplace]:
        return laplace_at(self.likelihood, self.factors, self.fit)

    @cached_property
    def cov_params(self) -> Array:
        """Covariance of all estimates with 0 for those that have none, shape (P, P)."""
        return np.nan_to_num(self.fit.covariance)

    @cached_property
    def slopes(self) -> list[Array]:
        """Derivatives of the modes of each factor in the parameters, shapes (G, k, P)."""
        marginal, laplace = self._at
        structure, order = marginal.structure, marginal.joint.order
        k, J = marginal.k_coefficients, np.linalg.pinv(structure.jacobian(self.fit.theta))
        of_u = mode_slopes(laplace, structure)
        out, at = [], k
        for index, factor in enumerate(structure.factors):
            j = order.index(index)
            raw = np.stack([du[j] @ laplace.mode.Lambdas[j].T for du in of_u], axis=-1)
            for entry, (row, column) in enumerate(zip(*factor.entries, strict=True)):
                raw[:, row, at + entry] += laplace.mode.u[j][:, column]
            raw[..., k:] = raw[..., k:] @ J
            out.append(raw)
            at += factor.m
        return out

    @cached_property
    def covariances(self) -> list[Array]:
        """Covariances of the effects of each group with the uncertainty of the estimates, (G, k, k)."""
        # those of the record are given all estimates, by REML too
        pairs = zip(self.fit.effects, self.slopes, strict=True)
        return [e.covariance + J @ self.cov_params @ np.swapaxes(J, 1, 2) for e, J in pairs]

    def of_rows(self, X: Array, Z: Array, factors: tuple[GroupingFactor, ...]) -> Symmetric:
        """
        Return the covariance of (eta, zeta) of rows, old or new, with their random effects.

        Parameters
        ----------
        X, Z : ndarray, shapes (n, p) and (n, q)
            Fixed columns of the rows.
        factors : tuple of GroupingFactor
            Those of the fit on the rows, with the levels of the fit; code -1 for no effect.
        """
        slopes, total = self.slopes_of_rows(X, Z, factors), self.given_of_rows(factors)
        eta, zeta = slopes @ self.cov_params
        pairs = ((eta, slopes[0]), (eta, slopes[1]), (zeta, slopes[1]))
        by_estimates = (np.einsum("ij,ij->i", a, b) for a, b in pairs)
        return Symmetric(*(a + b for a, b in zip(total, by_estimates, strict=True)))

    def _loadings(self, factors: tuple[GroupingFactor, ...]) -> list[Loading]:
        return [loading_of(factors[i]) for i in self._at[0].joint.order]

    def slopes_of_rows(self, X: Array, Z: Array, factors: tuple[GroupingFactor, ...]) -> Array:
        """Return the derivatives of (eta, zeta) of rows in all parameters, shape (2, n, P)."""
        p, size = X.shape[1], len(self.fit.params)
        slopes = np.zeros((2, len(X), size))
        slopes[0, :, :p], slopes[1, :, p : p + Z.shape[1]] = X, Z
        order = self._at[0].joint.order
        for loading, index in zip(self._loadings(factors), order, strict=True):
            for j, predictor in enumerate(loading.predictors):
                weights = loading.values[:, j] * (loading.codes >= 0)
                slopes[predictor] += weights[:, None] * self.slopes[index][loading.codes, j]
        return slopes

    def given_of_rows(self, factors: tuple[GroupingFactor, ...]) -> Symmetric:
        """Return the covariance of (eta, zeta) of rows given all estimates."""
        loaded = self._loadings(factors)
        total = Symmetric(*np.zeros((3, len(factors[0].codes))))
        for a, b in product(range(len(loaded)), repeat=2):
            for out, more in zip(total, self._given(loaded, a, b), strict=True):
                out += more
        return total

    def _given(self, loaded: list[Loading], a: int, b: int) -> Symmetric:
        """Return the covariance, given the estimates, of the effects of two factors in each row."""
        marginal, laplace = self._at
        first, second, L = loaded[a], loaded[b], laplace.mode.Lambdas
        system = laplace.system
        inverse = marginal.joint.inverse_between(system, a, first.codes, b, second.codes)
        C = L[a] @ inverse @ L[b].T * ((first.codes >= 0) & (second.codes >= 0))[:, None, None]
        out = Symmetric(*np.zeros((3, len(C))))
        for i, of_first in enumerate(first.predictors):
            for j, of_second in enumerate(second.predictors):
                if of_first <= of_second:
                    out[of_first + of_second][:] += (
                        first.values[:, i] * second.values[:, j] * C[:, i, j]
                    )
        return out
