"""What is conditional on the random effects: the likelihood at their modes, and their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.joint import Effects
from hetglm.mixed.laplace import Laplace
from hetglm.mixed.loadings import Loading, Symmetric, loading_of
from hetglm.mixed.marginal import Marginal
from hetglm.mixed.record import MixedFit
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
    offsets = [likelihood.offset, likelihood.offset_dispersion]
    eta, zeta = (np.zeros(likelihood.n) if a is None else np.array(a, float) for a in offsets)
    for factor, b in zip(factors, effects, strict=True):
        # code -1 is the row of zeros that is appended
        more = loading_of(factor).of_rows(np.vstack([b, np.zeros((1, b.shape[1]))]))
        eta += more[0]
        zeta += more[1]
    return replace(likelihood, offset=eta, offset_dispersion=zeta)


def at_modes(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> Likelihood:
    """Return the likelihood given the modes of the random effects, as offsets of both parts."""
    return with_effects(likelihood, factors, [effect.modes for effect in fit.effects])


def laplace_at(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> tuple[Marginal, Laplace]:
    """Return the marginal likelihood of all coefficients, and Laplace's approximation at a fit."""
    marginal = Marginal(likelihood, factors)
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
        core, W, order = self.likelihood, laplace.mode.W, marginal.joint.order
        columns = [self._solved(W.eta_eta * x, W.eta_zeta * x) for x in core.X.T]
        columns += [self._solved(W.eta_zeta * z, W.zeta_zeta * z) for z in core.Z.T]
        for index, factor in enumerate(marginal.structure.factors):
            entries = zip(*factor.entries, strict=True)
            columns += [self._by_entry(order.index(index), *entry) for entry in entries]
        J = np.linalg.pinv(marginal.structure.jacobian(self.fit.theta))
        stacks = [np.stack(parts, axis=-1) for parts in zip(*columns, strict=True)]
        for stack in stacks:
            stack[..., marginal.k_coefficients :] = stack[..., marginal.k_coefficients :] @ J
        return [stacks[order.index(i)] for i in range(len(self.factors))]

    def _solved(self, eta: Array, zeta: Array) -> Effects:
        """Return - Lambda H^-1 Lambda' A' of row quantities."""
        marginal, laplace = self._at
        pairs = list(zip(marginal.joint.loadings, laplace.mode.Lambdas, strict=True))
        right = [-loading.sums(eta, zeta) @ L for loading, L in pairs]
        solved = marginal.joint.solve(laplace.system, right)
        return [u @ L.T for u, (_, L) in zip(solved, pairs, strict=True)]

    def _by_entry(self, j: int, row: int, column: int) -> Effects:
        """Return the derivative of all modes b^ in an entry of Lambda of a loading."""
        marginal, laplace = self._at
        joint, mode = marginal.joint, laplace.mode
        db = np.zeros_like(mode.u[j])
        db[:, row] = mode.u[j][:, column]
        more = joint.loadings[j].of_rows(db)
        W = mode.W
        out = self._solved(
            W.eta_eta * more[0] + W.eta_zeta * more[1], W.eta_zeta * more[0] + W.zeta_zeta * more[1]
        )
        # the entry also turns the score of b into that of u
        right = [np.zeros_like(u) for u in mode.u]
        right[j][:, column] = joint.loadings[j].sums(*mode.score)[:, row]
        solved = joint.solve(laplace.system, right)
        out = [b + s @ L.T for b, s, L in zip(out, solved, mode.Lambdas, strict=True)]
        out[j] = out[j] + db
        return out

    @cached_property
    def covariances(self) -> list[Array]:
        """Covariances of the effects of each group with the uncertainty of the estimates, (G, k, k)."""
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
        joint = self._at[0].joint
        loaded = [loading_of(factors[i]) for i in joint.order]
        total = self._of_estimates(X, Z, loaded)
        for a, b in product(range(len(loaded)), repeat=2):
            for out, more in zip(total, self._given(loaded, a, b), strict=True):
                out += more
        return total

    def _of_estimates(self, X: Array, Z: Array, loaded: list[Loading]) -> Symmetric:
        """Return the covariance of (eta, zeta) of rows by that of the estimates."""
        p, size = X.shape[1], len(self.fit.params)
        slopes = np.zeros((2, len(X), size))
        slopes[0, :, :p], slopes[1, :, p : p + Z.shape[1]] = X, Z
        for loading, index in zip(loaded, self._at[0].joint.order, strict=True):
            for j, predictor in enumerate(loading.predictors):
                weights = loading.values[:, j] * (loading.codes >= 0)
                slopes[predictor] += weights[:, None] * self.slopes[index][loading.codes, j]
        eta, zeta = slopes
        of_eta, of_zeta = eta @ self.cov_params, zeta @ self.cov_params
        pairs = ((of_eta, eta), (of_eta, zeta), (of_zeta, zeta))
        return Symmetric(*(np.einsum("ij,ij->i", a, b) for a, b in pairs))

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
