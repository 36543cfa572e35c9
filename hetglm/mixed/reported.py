"""The marginal log-likelihood in the reported parameters: coefficients, then sds and correlations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.information import DIFFERENCE_STEP, metric, positive
from hetglm.mixed.integration import integration
from hetglm.mixed.loadings import Loading
from hetglm.mixed.marginal import Evaluation, Marginal
from hetglm.mixed.record import MixedFit
from hetglm.typing import Array


@dataclass(frozen=True)
class ReportedLikelihood:
    """
    The marginal log-likelihood as users see it.

    Attributes
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    fit : MixedFit, optional
        A fit: its method of integration, and its modes of the random effects, at which searches for
        modes begin. Without one, the method is that of ``nodes="auto"``.
    """

    likelihood: Likelihood
    factors: tuple[GroupingFactor, ...]
    fit: MixedFit | None = None

    @cached_property
    def marginal(self) -> Marginal:
        """The criterion in psi, in all coefficients."""
        if self.fit is None:
            method = integration(self.likelihood, self.factors, "auto", False)
            return Marginal(self.likelihood, self.factors, None, method.nodes, method.columns)
        nodes, columns = self.fit.nodes, self.fit.quadrature_columns
        core = self.fit.fixed_rows(self.likelihood)
        marginal = Marginal(core, self.factors, None, nodes, columns)
        marginal.u = [self.fit.effects[i].standardized for i in marginal.joint.order]
        return marginal

    def _given(self, params: Array) -> Array:
        """Return parameters as floats, their number checked."""
        params = np.asarray(params, dtype=float)
        size = self.marginal.k_coefficients + self.marginal.structure.m
        if params.shape != (size,):
            raise ValueError(
                f"params: shape {params.shape}, but there are {size} parameters, with the standard "
                "deviations and correlations of the random effects"
            )
        return params

    def psi(self, params: Array) -> Array:
        """
        Return (coefficients, theta) of reported parameters; NaN coefficients count as 0.

        Raises
        ------
        ValueError
            If the correlations are those of no positive semidefinite matrix.
        """
        k = self.marginal.k_coefficients
        theta = self.marginal.structure.of_reported(params[k:])
        return np.concatenate([np.nan_to_num(params[:k]), theta])

    def loglike(self, params: Array) -> float:
        """Return the marginal log-likelihood, -inf where it is not defined."""
        params = self._given(params)
        try:
            here = self.marginal.at(self.psi(params))
        except ValueError:  # correlations of no covariance matrix
            return -np.inf
        return -np.inf if here is None else here.value

    def score(self, params: Array) -> Array:
        """Return its exact gradient; 0 along a standard deviation of 0, NaN where undefined; (P,)."""
        here = self.marginal.at(self.psi(self._given(params)))
        if here is None:
            return np.full(len(params), np.nan)
        return self._reported(here, self.marginal.gradient(here))

    def observed_hessian(self, params: Array) -> Array:
        """Return its Hessian, by differences of the exact gradient; shape (P, P)."""
        params = self._given(params)
        k = self.marginal.k_coefficients
        is_sd = np.concatenate([np.arange(f.m) < f.k for f in self.marginal.structure.factors])
        steps = DIFFERENCE_STEP * self._rough_se(params)
        out = np.empty((len(params), len(params)))
        for j, step in enumerate(steps):
            low, high = params.copy(), params.copy()
            low[j], high[j] = params[j] - step, params[j] + step
            if j >= k and is_sd[j - k]:
                low[j] = max(low[j], 0.0)  # the score of a standard deviation of 0 is 0
            out[j] = (self.score(high) - self.score(low)) / (high[j] - low[j])
        return 0.5 * (out + out.T)

    def _rough_se(self, params: Array) -> Array:
        """Return rough standard errors, the units of steps; shape (P,)."""
        here = self.marginal.at(self.psi(params))
        if here is None:
            return np.full(len(params), np.nan)
        k = self.marginal.k_coefficients
        covariance = np.linalg.inv(positive(metric(self.marginal, here)))
        J = np.eye(len(params))
        J[k:, k:] = self.marginal.structure.jacobian(here.psi[k:])
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", J, covariance, J)))

    def score_by_cluster(self, params: Array, clusters: Array, count: int) -> Array:
        """
        Return the contribution of each cluster of rows to the score, shape (count, P).

        Parameters
        ----------
        params : ndarray, shape (P,)
        clusters : ndarray of int, shape (n,)
            Cluster of each row in 0, ..., count - 1; the rows of a group of any factor have one.
        count : int

        Raises
        ------
        ValueError
            If a group has rows in several clusters.
        """
        here = self.marginal.at(self.psi(np.asarray(params, dtype=float)))
        if here is None:
            return np.full((count, len(params)), np.nan)
        core, parts = self.likelihood, self.marginal.contributions(here)
        eta, zeta = parts.rows
        out = np.zeros((count, len(params)))
        of_rows = np.column_stack([core.X * eta[:, None], core.Z * zeta[:, None]])
        np.add.at(out[:, : of_rows.shape[1]], clusters, of_rows)
        at = self.marginal.k_coefficients
        for index, factor in enumerate(self.marginal.structure.factors):
            j = self.marginal.joint.order.index(index)
            of_group = _cluster_of_groups(self.marginal.joint.loadings[j], clusters, factor.name)
            np.add.at(out[:, at : at + factor.m], of_group, parts.groups[index])
            at += factor.m
        return np.array([self._reported(here, row) for row in out])

    def _reported(self, here: Evaluation, gradient: Array) -> Array:
        """Return a gradient in psi as one in the reported parameters."""
        k = self.marginal.k_coefficients
        J = self.marginal.structure.jacobian(here.psi[k:])
        of_theta = np.linalg.lstsq(J.T, gradient[k:], rcond=None)[0]
        return np.concatenate([gradient[:k], of_theta])


def _cluster_of_groups(loading: Loading, clusters: Array, name: str) -> Array:
    """Return the cluster of each group, shape (G,)."""
    of_group = np.zeros(loading.levels, dtype=int)
    of_group[loading.codes] = clusters
    if np.any(of_group[loading.codes] != clusters):
        raise ValueError(f"a group of {name} has rows in several clusters; give larger clusters")
    return of_group
