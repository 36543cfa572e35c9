"""
Linear mixed models: a Gaussian mean with random effects and a constant dispersion.

The deviance is profiled: beta and phi have closed forms given theta, the entries of Lambda over
sqrt(phi) (Bates, Maechler, Bolker and Walker 2015, J. Stat. Soft. 67(1)). With V the covariance of y
over phi, P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 and q = y'P y, minus twice the criterion is

    log|V| + nu log q + const,  nu = n            by maximum likelihood,
    log|V| + log|X'V^-1 X| + nu log q + const,  nu = n - p     by REML;

with a known dispersion q replaces nu log q. It costs no pass over the rows: `cross_products`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hetglm.mixed.covariance_structure import CovarianceStructure
from hetglm.mixed.cross_products import CrossProducts
from hetglm.mixed.elimination import Elimination, eliminate
from hetglm.typing import Array
from hetglm.utils.linalg import inverse

#: Dispersion as a share of that without random effects at which these fit every row.
MIN_DISPERSION = 1e-12


@dataclass(frozen=True)
class LinearMixedModel:
    """
    What the profiled deviance is made of.

    Attributes
    ----------
    cross : CrossProducts
    structure : CovarianceStructure
        Of the factors in the order of the user.
    reml : bool
    known : bool
        Whether the dispersion is known, phi = 1.
    """

    cross: CrossProducts
    structure: CovarianceStructure
    reml: bool
    known: bool

    @property
    def nu(self) -> float:
        """Degrees of freedom of the dispersion."""
        return self.cross.n - self.cross.p * self.reml

    @cached_property
    def entries(self) -> list[tuple[int, int, int]]:
        """Factor in the order of ``cross``, row and column of Lambda of each entry of theta."""
        place = {f: at for at, f in enumerate(self.cross.order)}
        return [
            (place[f], int(i), int(j))
            for f, factor in enumerate(self.structure.factors)
            for i, j in zip(*factor.entries, strict=True)
        ]

    @cached_property
    def scale(self) -> Array:
        """What theta, in units of the scaled columns, is divided by; shape (m,)."""
        return np.array([self.cross.scales[f][i] for f, i, _ in self.entries])

    def Lambda(self, theta: Array) -> list[Array]:
        """Return Lambda of the factors in the order of ``cross``."""
        matrices = self.structure.matrices(theta)
        return [matrices[f] for f in self.cross.order]

    def theta_of(self, covariances: list[Array]) -> Array:
        """Return theta of covariance matrices of the factors in the order of ``cross``."""
        place = {f: at for at, f in enumerate(self.cross.order)}
        return self.structure.of_covariances([covariances[place[f]] for f in sorted(place)])

    def at(self, theta: Array) -> Profile:
        """Return the profiled deviance at theta."""
        return Profile(self, theta, eliminate(self.cross, self.Lambda(theta)))


@dataclass(frozen=True)
class Profile:
    """
    The profiled deviance at one theta, with its derivatives.

    With V_a the derivative of V in theta_a and s = Z'P y, they are (`K` is Z'V^-1 Z, by REML Z'P Z)

        D_a = tr(P V_a) - y'P V_a P y / phi
        D_ab = -tr(P V_a P V_b) + tr(P V_ab) + q_ab / phi - q_a q_b / (nu phi^2)

    where V^-1 replaces P in the traces by maximum likelihood.
    """

    model: LinearMixedModel
    theta: Array
    H: Elimination

    @cached_property
    def projections(self) -> tuple[Array, Array]:
        """H^-1 Lambda'Z'W [X, e] and Z'V^-1 [X, e], shapes (Q, p + 1)."""
        return self.H.projected(self.model.cross.effects)

    @cached_property
    def left(self) -> Array:
        """[X, e]'V^-1 [X, e], shape (p + 1, p + 1)."""
        cross = self.model.cross
        return cross.fixed - self.H.of_u(self.projections[0]).T @ cross.effects

    @cached_property
    def information(self) -> Array:
        """X'V^-1 X, shape (p, p)."""
        A = self.left[:-1, :-1]
        return 0.5 * (A + A.T)

    @cached_property
    def information_inverse(self) -> Array:
        """(X'V^-1 X)^-1, shape (p, p)."""
        found = inverse(self.information)
        assert found is not None
        return found

    @cached_property
    def shift(self) -> Array:
        """Coefficients beta less the pooled ones, shape (p,)."""
        return self.information_inverse @ self.left[:-1, -1]

    @cached_property
    def q(self) -> float:
        """The quadratic form q = y'P y."""
        return float(self.left[-1, -1] - self.shift @ self.left[:-1, -1])

    @cached_property
    def phi(self) -> float:
        """The dispersion that maximises the criterion, or the known one."""
        return 1.0 if self.model.known else self.q / self.model.nu

    @property
    def degenerate(self) -> bool:
        """Whether the random effects fit every row: the likelihood has no maximum."""
        cross = self.model.cross
        return self.phi < MIN_DISPERSION * cross.fixed[-1, -1] / cross.n

    @cached_property
    def value(self) -> float:
        """Minus twice the maximum of the criterion over beta and phi."""
        return self.deviance(self.model.nu, self.model.reml, self.phi)

    def deviance(self, nu: float, reml: bool, phi: float) -> float:
        """Return minus twice the log-likelihood, restricted or not, at theta, beta and phi."""
        value = nu * np.log(2 * np.pi * phi) + self.q / phi + self.H.logdet
        if reml:
            value += np.linalg.slogdet(self.information)[1]
        return float(value - self.model.cross.log_weights)

    @cached_property
    def s(self) -> Array:
        """Z'P y, shape (Q,)."""
        return self.projections[1] @ np.append(-self.shift, 1.0)

    @cached_property
    def u(self) -> Array:
        """Modes of the random effects u over sqrt(phi), shape (Q,)."""
        return self.projections[0] @ np.append(-self.shift, 1.0)

    @cached_property
    def precisions(self) -> list[tuple[Array, Array]]:
        """Sums over the groups of each factor of the blocks of K and K Lambda."""
        return [self._adjusted(*sums, at) for at, sums in enumerate(self.H.precisions())]

    def _adjusted(self, K: Array, KL: Array, at: int) -> tuple[Array, Array]:
        if not self.model.reml:
            return K, KL
        U, T = (self.by_column(V[:, :-1], at) for V in self.projections)
        scaled = self.by_column(self.projections[1][:, :-1] @ self.information_inverse, at)
        return K - scaled @ T.T, KL - scaled @ U.T

    def by_column(self, V: Array, at: int) -> Array:
        """Return the rows of V of a factor, of shape (k, anything): one row for each column of Z."""
        return V[self.model.cross.parts[at]].reshape(self.model.cross.sizes[at][0], -1)

    @cached_property
    def gradient(self) -> Array:
        """Derivative of ``value`` in theta, shape (m,)."""
        slopes = [
            2 * (KL - self.by_column(self.s, at) @ self.by_column(self.u, at).T / self.phi)
            for at, (_, KL) in enumerate(self.precisions)
        ]
        return np.array([slopes[f][i, j] for f, i, j in self.model.entries])

    @cached_property
    def directions(self) -> Array:
        """(V_a P y in terms of Z): Sigma_a s for each entry of theta, shape (Q, m)."""
        cross = self.model.cross
        out = np.zeros((len(self.s), len(self.theta)))
        for a, (f, i, j) in enumerate(self.model.entries):
            L, s = self.H.Lambda[f], self.by_column(self.s, f)
            block = np.outer(L[:, j], s[i])
            block[i] += L[:, j] @ s
            out[cross.parts[f], a] = block.ravel()
        return out

    @cached_property
    def q_slope(self) -> Array:
        """Derivative of q, shape (m,)."""
        return -self.directions.T @ self.s

    @cached_property
    def X_directions(self) -> Array:
        """X'V^-1 V_a P y, shape (p, m)."""
        return self.projections[1][:, :-1].T @ self.directions

    @cached_property
    def average(self) -> Array:
        """The matrix y'P V_a P V_b P y, shape (m, m): Gilmour, Thompson and Cullis (1995)."""
        _, T = self.H.projected(self.model.cross.of_effects(self.directions))
        B = self.X_directions
        return self.directions.T @ T - B.T @ self.information_inverse @ B

    @cached_property
    def curvature(self) -> Array:
        """tr(P V_ab) - y'P V_ab P y / phi, shape (m, m); 2 M_ik for entries of one column."""
        M = []
        for at, (K, _) in enumerate(self.precisions):
            s = self.by_column(self.s, at)
            M.append(2 * (K - s @ s.T / self.phi))
        entries = self.model.entries
        return np.array(
            [
                [M[f][i, k] if (f, j) == (g, c) else 0.0 for g, k, c in entries]
                for f, i, j in entries
            ]
        )

    @cached_property
    def traces(self) -> Array:
        """tr(P V_a P V_b), shape (m, m): for several factors by its expectation of ``average``."""
        if self.H.rest is not None:
            return self.average / self.phi
        derivatives = self._derivatives
        K = self.H.within_precisions()
        flat = K.reshape(-1, K.shape[2])
        out = contracted(flat @ flat.T, derivatives)
        if not self.model.reml:
            return out
        T = self.projections[1][:, :-1].reshape(len(K), K.shape[2], -1)
        scaled = T @ self.information_inverse
        rank = np.einsum("agm,bgm->abg", scaled, T).reshape(flat.shape)
        out -= 2 * contracted(flat @ rank.T, derivatives)
        flat_T, flat_scaled = T.reshape(len(K), -1), scaled.reshape(-1, T.shape[2])
        B = [flat_scaled.T @ (S @ flat_T).reshape(-1, T.shape[2]) for S in derivatives]
        return out + np.array([[np.sum(b * c.T) for c in B] for b in B])

    @property
    def _derivatives(self) -> list[Array]:
        """Derivatives of the covariance of a group of the only factor in each entry of theta."""
        (L,), out = self.H.Lambda, []
        for _, i, j in self.model.entries:
            one = np.zeros_like(L)
            one[i] = L[:, j]
            out.append(one + one.T)
        return out

    @cached_property
    def hessian(self) -> Array:
        """Second derivative of ``value``, shape (m, m); for several factors nearly."""
        out = -self.traces + self.curvature + 2 * self.average / self.phi
        if self.model.known:
            return out
        return out - np.outer(self.q_slope, self.q_slope) / (self.model.nu * self.phi**2)


def contracted(moment: Array, derivatives: list[Array]) -> Array:
    """Return sum_g tr(A_g S_a B_g S_b) for all a, b from sum_g vec(A_g) vec(B_g)'; shape (m, m)."""
    m, k = len(derivatives), len(derivatives[0])
    S = np.array(derivatives)
    by_pairs = moment.reshape(k, k, k, k).transpose(1, 2, 0, 3).reshape(k * k, k * k)
    return np.asarray(S.reshape(m, -1) @ by_pairs @ S.swapaxes(1, 2).reshape(m, -1).T)
