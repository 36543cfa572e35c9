"""
Adaptive Gauss-Hermite quadrature over some of the random effects of one factor.

The effects of a group are u = (u_Q, u_R). u_Q runs over nodes around its mode, scaled by the marginal
curvature there (Liu and Pierce 1994); at each node u_R is integrated by Laplace's approximation around
its own mode, which is exact for a Gaussian mean with identity link. All nodes are evaluated as one joint
density, with a group for each pair of node and group; `JointDensity.mode` finds all modes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp

from hetglm.mixed.joint import JointDensity
from hetglm.mixed.laplace import Laplace, pulled_back
from hetglm.mixed.tangent import followed, linear_mode
from hetglm.typing import Array

#: Rows of all nodes that are evaluated together.
MAX_ROWS = 200_000


@dataclass(frozen=True)
class Placement:
    """
    Where the nodes of each group lie: u_Q = center + scale z.

    Attributes
    ----------
    center : ndarray, shape (G, q)
    scale : ndarray, shape (G, q, q)
        Lower triangular.
    """

    center: Array
    scale: Array


class Rule:
    """
    A product rule and the joint density of all its nodes.

    Parameters
    ----------
    joint : JointDensity
        Of one factor.
    columns : ndarray of bool, shape (k,)
        Columns of Lambda whose u is integrated by quadrature.
    nodes : int
        Of each column.
    """

    def __init__(self, joint: JointDensity, columns: Array, nodes: int) -> None:
        self.joint, self.columns = joint, columns
        z, weights = hermegauss(nodes)
        q = int(columns.sum())
        #: Nodes, shape (J, q), and the logarithm of weight over normal density, shape (J,).
        self.z = np.array(list(product(z, repeat=q)))
        log_weights = np.log(weights / np.sqrt(2 * np.pi)) + 0.5 * z**2
        self.log_weights = np.array([sum(w) for w in product(log_weights, repeat=q)])
        J, n, G = len(self.z), joint.likelihood.n, joint.loadings[0].levels
        at_once = max(1, min(J, MAX_ROWS // max(n, 1)))
        #: Positions of the nodes that are evaluated together; the last ones may repeat a node.
        self.chunks = [
            np.minimum(np.arange(first, first + at_once), J - 1) for first in range(0, J, at_once)
        ]
        factor = joint.factors[0]
        level = (G * np.arange(at_once)[:, None] + factor.codes).ravel()
        tiled = replace(
            factor,
            levels=tuple(range(G * at_once)),
            codes=level,
            values=np.tile(factor.values, (at_once, 1)),
        )
        bare = joint.likelihood.with_designs(np.empty((n, 0)), np.empty((n, 0)))
        rows = bare.take(np.tile(np.arange(n), at_once))
        self.tiled = JointDensity(rows, (tiled,))
        #: At the nodes of each chunk of the quadrature last accepted.
        self.accepted: list[Laplace] = []

    def placement(self, laplace: Laplace) -> Placement:
        """Return the nodes' places for a mode and the curvature there."""
        C = laplace.inverse.own[0][:, self.columns][:, :, self.columns]
        return Placement(laplace.mode.u[0][:, self.columns], np.linalg.cholesky(C))


@dataclass(frozen=True)
class Quadrature:
    """
    The marginal log-likelihood by a rule around the mode of Laplace's approximation.

    Attributes
    ----------
    rule : Rule
    laplace : Laplace
    fixed : tuple of ndarray, shape (n,)
        Predictors without random effects.
    """

    rule: Rule
    laplace: Laplace
    fixed: tuple[Array, Array]

    @cached_property
    def placement(self) -> Placement:
        """The places of the nodes."""
        return self.rule.placement(self.laplace)

    @cached_property
    def u(self) -> Array:
        """u_Q at each node, shape (J, G, q)."""
        place = self.placement
        return place.center + np.einsum("gqr,jr->jgq", place.scale, self.rule.z)

    @cached_property
    def at_nodes(self) -> list[Laplace]:
        """Laplace's approximation over u_R at the nodes of each chunk."""
        Lambdas = [self.laplace.mode.Lambdas[0][:, ~self.rule.columns]]
        tiled, out = self.rule.tiled, []
        for number, chunk in enumerate(self.rule.chunks):
            fixed = self.predictors(chunk)
            if self.rule.accepted:
                start = linear_mode(self.rule.accepted[number], fixed, Lambdas)
            else:
                start = [self.regression(chunk)]
            out.append(Laplace(tiled, tiled.mode(fixed, Lambdas, start)))
        return out

    def regression(self, chunk: Array) -> Array:
        """Return u_R at some nodes by its regression on u_Q, one node after the other."""
        columns, C = self.rule.columns, self.laplace.inverse.own[0]
        of_Q = C[:, columns][:, :, columns]
        slope = np.linalg.solve(of_Q, C[:, columns][:, :, ~columns]).swapaxes(1, 2)
        moved = np.einsum("grq,jgq->jgr", slope, self.u[chunk] - self.placement.center)
        out = self.laplace.mode.u[0][:, ~columns] + moved
        return out.reshape(len(chunk) * len(C), out.shape[2])

    def predictors(self, chunk: Array) -> tuple[Array, Array]:
        """Return eta and zeta of the rows at some nodes without u_R, one node after the other."""
        loading, columns = self.laplace.joint.loadings[0], self.rule.columns
        of_Q = self.laplace.mode.Lambdas[0][:, columns]
        added = [loading.of_rows(u @ of_Q.T) for u in self.u[chunk]]
        eta, zeta = (np.concatenate([f + a[s] for a in added]) for s, f in enumerate(self.fixed))
        return eta, zeta

    def of_nodes(self, parts: list[Array]) -> Array:
        """Return quantities of the chunks' groups as one array, shape (J, G, ...)."""
        G = self.laplace.joint.loadings[0].levels
        chunks = [part.reshape(len(part) // G, G, *part.shape[1:]) for part in parts]
        J = len(self.rule.z)
        return np.concatenate(chunks)[:J]

    @cached_property
    def log_terms(self) -> Array:
        """Logarithm of the contribution of each node to each group's likelihood, shape (J, G)."""
        inner = [a.mode.by_group - 0.5 * a.system.logdets for a in self.at_nodes]
        out = self.of_nodes(inner) - 0.5 * np.einsum("jgq,jgq->jg", self.u, self.u)
        return np.asarray(out + self.rule.log_weights[:, None])

    @cached_property
    def by_group(self) -> Array:
        """Marginal log-likelihood of each group, shape (G,)."""
        of_scale = np.log(np.einsum("gqq->gq", self.placement.scale)).sum(axis=1)
        return np.asarray(logsumexp(self.log_terms, axis=0) + of_scale)

    @property
    def value(self) -> float:
        """Marginal log-likelihood."""
        return float(self.by_group.sum())

    @cached_property
    def weights(self) -> Array:
        """Posterior probability of each node in each group, shape (J, G)."""
        return np.exp(self.log_terms - logsumexp(self.log_terms, axis=0))

    @cached_property
    def row_scores(self) -> tuple[Array, Array]:
        """Derivatives in eta_i and zeta_i, each of shape (n,)."""
        codes, n = self.laplace.joint.loadings[0].codes, self.laplace.joint.likelihood.n
        weights = self.weights[:, codes]
        out = []
        for s in (0, 1):
            rows = np.concatenate([a.row_scores[s].reshape(-1, n) for a in self.at_nodes])
            of_nodes = np.einsum("jn,jn->n", weights, rows[: len(weights)])
            out.append(of_nodes + self.by_placement[0][s])
        return out[0], out[1]

    @cached_property
    def _sums(self) -> Array:
        """A'r of each group at each node, shape (J, G, k)."""
        return self.of_nodes([a.joint.loadings[0].sums(*a.row_scores) for a in self.at_nodes])

    def matrix_gradients_by_group(self, j: int) -> Array:
        """Return each group's gradient in Lambda, shape (G, k, k)."""
        columns = self.rule.columns
        out = np.empty((self.weights.shape[1], len(columns), len(columns)))
        inner = self.of_nodes([a.matrix_gradients_by_group(j) for a in self.at_nodes])
        out[:, :, ~columns] = np.einsum("jg,jgkr->gkr", self.weights, inner)
        out[:, :, columns] = np.einsum("jg,jgk,jgq->gkq", self.weights, self._sums, self.u)
        return out + self.by_placement[1]

    @cached_property
    def by_placement(self) -> tuple[tuple[Array, Array], Array]:
        """Parts of the derivatives by the nodes' places, which follow the mode and its curvature."""
        columns, scale = self.rule.columns, self.placement.scale
        Lambda = self.laplace.mode.Lambdas[0][:, columns]
        slope = self.weights[:, :, None] * (self._sums @ Lambda - self.u)
        of_scale = np.einsum("jgq,jr->gqr", slope, self.rule.z)
        roots = np.linalg.inv(scale)
        # derivatives in scale scale', the covariance of u_Q (of the Cholesky factor: Smith 1995)
        inner = np.tril(scale.swapaxes(1, 2) @ of_scale + np.eye(columns.sum()))
        inner = 0.5 * (inner + np.tril(inner, -1).swapaxes(1, 2))
        of_covariance = roots.swapaxes(1, 2) @ inner @ roots
        C = self.laplace.inverse.own[0]
        of_H = -C[:, :, columns] @ of_covariance @ C[:, columns]
        of_u = np.zeros(C.shape[:2])
        of_u[:, columns] = slope.sum(axis=0)
        return pulled_back(self.laplace, of_H, of_u)


@dataclass(frozen=True)
class FollowedQuadrature(Quadrature):
    """
    The marginal log-likelihood near a base, at modes to first order, without a search.

    Attributes
    ----------
    base : list of Laplace
        At the nodes of each chunk.
    linear : list of JointDensity
        Those of the base, `linearised`.
    """

    base: list[Laplace] = field(default_factory=list)
    linear: list[JointDensity] = field(default_factory=list)

    @cached_property
    def at_nodes(self) -> list[Laplace]:
        """Laplace's approximation over u_R at the nodes of each chunk."""
        Lambda = self.laplace.mode.Lambdas[0][:, ~self.rule.columns]
        parts = zip(self.rule.chunks, self.linear, self.base, strict=True)
        return [followed(a, base, self.predictors(chunk), [Lambda]) for chunk, a, base in parts]
