"""
Laplace's approximation to the marginal log-likelihood, and its exact gradient.

L = h(u^) - log|H| / 2, plus log(2 pi) / 2 for each fixed column that is integrated out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hetglm.mixed.cholesky import BlockedCholesky
from hetglm.mixed.joint import Effects, JointDensity, Mode, Products
from hetglm.mixed.loadings import Symmetric, contraction
from hetglm.typing import Array


@dataclass(frozen=True)
class Laplace:
    """
    Laplace's approximation at given coefficients and covariance of the random effects.

    Attributes
    ----------
    joint : JointDensity
    mode : Mode
    """

    joint: JointDensity
    mode: Mode

    @cached_property
    def M(self) -> Products:
        """A'WA at the mode, W observed."""
        return self.joint.products(self.mode.W)

    @cached_property
    def system(self) -> BlockedCholesky:
        """H at the mode."""
        return self.joint.factorised(self.M, self.mode.Lambdas)

    @cached_property
    def value(self) -> float:
        """Approximate log-likelihood, or restricted log-likelihood."""
        integrated = 0.5 * self.joint.integrated_columns * np.log(2 * np.pi)
        return float(self.mode.value - 0.5 * self.system.logdet + integrated)

    @property
    def curvature(self) -> float:
        """Smallest curvature of h at the mode along an effect given earlier ones; the prior's is 1."""
        smallest = 1 / np.einsum("gjj->gj", self.system.roots).max() ** 2
        is_prior = [np.full(loading.size, loading.prior) for loading in self.joint.loadings[1:]]
        rest = np.diag(self.system.schur)[np.concatenate([np.empty(0, dtype=bool), *is_prior])]
        return float(np.min(rest**2, initial=smallest))

    @cached_property
    def inverse(self) -> Products:
        """Blocks of H^-1."""
        return self.joint.inverse_blocks(self.system)

    @cached_property
    def covariances(self) -> Products:
        """Blocks of Lambda H^-1 Lambda', the covariance of the effects given the data."""
        L = self.mode.Lambdas
        own = [a @ block @ a.T for a, block in zip(L, self.inverse.own, strict=True)]
        pairs = zip(self.joint.crossings, self.inverse.crossed, strict=True)
        return Products(own, [L[a] @ block @ L[b].T for (a, b), block in pairs])

    @cached_property
    def row_covariances(self) -> Symmetric:
        """Covariance V_i of (eta_i, zeta_i) given the data."""
        out = [np.zeros(self.joint.likelihood.n) for _ in range(3)]
        for loading, C in zip(self.joint.loadings, self.covariances.own, strict=True):
            loading.quadratic(C, out)
        for crossing, C in zip(
            self.joint.crossings.values(), self.covariances.crossed, strict=True
        ):
            crossing.quadratic(C, out)
        return Symmetric(*out)

    @cached_property
    def skewness(self) -> tuple[Array, Array]:
        """t_i: derivatives in eta_i and zeta_i of V_i : l_i'', V_i fixed; each of shape (n,)."""
        return self.third_derivatives_times(self.row_covariances)

    def third_derivatives_times(self, V: Symmetric) -> tuple[Array, Array]:
        """
        Return the derivatives in eta_i and zeta_i of V_i : l_i'', each of shape (n,).

        V_i is A B A' of some B, 0 where the integrated columns do not enter.
        """
        parts = self._integrated_parts
        if parts == {0}:  # V has only its first entry; third derivatives are symmetric
            mean, cross, _ = self.joint.third_derivatives(self.mode, 0)
            return V.eta_eta * mean, V.eta_eta * cross
        if parts == {1}:
            _, cross, dispersion = self.joint.third_derivatives(self.mode, 1)
            return V.zeta_zeta * cross, V.zeta_zeta * dispersion
        if not parts:
            return np.zeros_like(self.mode.eta), np.zeros_like(self.mode.zeta)
        by_eta, by_zeta = (self.joint.third_derivatives(self.mode, j) for j in (0, 1))
        return contraction(V, by_eta), contraction(V, by_zeta)

    @property
    def _integrated_parts(self) -> set[int]:
        """The linear predictors that the integrated columns enter: 0 for eta, 1 for zeta."""
        pairs = zip(self.joint.loadings, self.mode.Lambdas, strict=True)
        return {p for a, L in pairs for p, row in zip(a.predictors, L, strict=True) if row.any()}

    @cached_property
    def shift(self) -> Effects:
        """V = H^-1 Lambda' A' t / 2."""
        pairs = zip(self.joint.loadings, self.mode.Lambdas, strict=True)
        right = [0.5 * loading.sums(*self.skewness) @ L for loading, L in pairs]
        return self.joint.solve(self.system, right)

    @cached_property
    def row_scores(self) -> tuple[Array, Array]:
        """r_i: total derivatives of the criterion in eta_i and zeta_i, each of shape (n,)."""
        d = [np.zeros(self.joint.likelihood.n) for _ in range(2)]
        for loading, L, v in zip(self.joint.loadings, self.mode.Lambdas, self.shift, strict=True):
            for total, more in zip(d, loading.of_rows(v @ L.T), strict=True):
                total += more
        W, (of_eta, of_zeta), t = self.mode.W, self.mode.score, self.skewness
        return (
            of_eta + 0.5 * t[0] - W.eta_eta * d[0] - W.eta_zeta * d[1],
            of_zeta + 0.5 * t[1] - W.eta_zeta * d[0] - W.zeta_zeta * d[1],
        )

    def matrix_gradients_by_group(self, j: int) -> Array:
        """Return the contribution of each group of loading j to the gradient in Lambda, (G, k, k)."""
        loading, u, v = self.joint.loadings[j], self.mode.u[j], self.shift[j]
        total = np.einsum("gj,gk->gjk", loading.sums(*self.row_scores), u)
        total += np.einsum("gj,gk->gjk", loading.sums(*self.mode.score), v)
        return np.asarray(total - self.weighted_inverse(j))

    def weighted_inverse(self, j: int) -> Array:
        """Return the blocks of A'WA Lambda H^-1 of each group of a factor, shape (G, k, k)."""
        L = self.mode.Lambdas
        out = self.M.own[j] @ L[j] @ self.inverse.own[j]
        blocks = zip(
            self.joint.crossings.items(), self.M.crossed, self.inverse.crossed, strict=True
        )
        for ((a, b), crossing), m, inverse in blocks:
            g, h = crossing.pairs
            if a == j:
                np.add.at(out, g, m @ L[b] @ np.swapaxes(inverse, 1, 2))
            elif b == j:
                np.add.at(out, h, np.swapaxes(m, 1, 2) @ L[a] @ inverse)
        return out


def pulled_back(laplace: Laplace, of_H: Array, of_u: Array) -> tuple[tuple[Array, Array], Array]:
    """
    Return the derivatives of a function of H and u^ in the predictors of the rows and in Lambda.

    Parameters
    ----------
    laplace : Laplace
        Of one factor, without integrated columns.
    of_H : ndarray, shape (G, k, k)
        The function's derivatives in H of each group, symmetric.
    of_u : ndarray, shape (G, k)
        Those in u^.

    Returns
    -------
    rows : tuple of ndarray, shape (n,)
        In eta_i and zeta_i.
    matrices : ndarray, shape (G, k, k)
        In Lambda, by group.
    """
    loading, mode, L = laplace.joint.loadings[0], laplace.mode, laplace.mode.Lambdas[0]
    V = [np.zeros(laplace.joint.likelihood.n) for _ in range(3)]
    loading.quadratic(-L @ of_H @ L.T, V)
    eta, zeta = laplace.third_derivatives_times(Symmetric(*V))
    (v,) = laplace.joint.solve(laplace.system, [of_u + loading.sums(eta, zeta) @ L])
    d, W = loading.of_rows(v @ L.T), mode.W
    eta = eta - W.eta_eta * d[0] - W.eta_zeta * d[1]
    zeta = zeta - W.eta_zeta * d[0] - W.zeta_zeta * d[1]
    matrices = np.einsum("gj,gk->gjk", loading.sums(eta, zeta), mode.u[0])
    matrices += np.einsum("gj,gk->gjk", loading.sums(*mode.score), v)
    return (eta, zeta), matrices + 2 * laplace.M.own[0] @ L @ of_H
