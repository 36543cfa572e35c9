"""
Degrees of freedom of t and F tests on the mean of a fit with random effects (Satterthwaite 1946).

The covariance V of the mean's coefficients depends on psi = (gamma, theta), which is estimated. For a
contrast l with variance v = l'V l, df = 2 v^2 / Var(v), Var(v) = g'A g with g = dv/dpsi and A the
covariance of the estimated psi (Giesbrecht and Burns 1985); for several contrasts at once they are
joined as Fai and Cornelius (1996) do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.fit import Columns, marginal_of
from hetglm.mixed.linear_fit import is_linear, linear_model
from hetglm.mixed.record import MixedFit
from hetglm.typing import Array

#: Step of the central differences of V, in standard errors of psi.
DIFFERENCE_STEP = 1e-3
#: Eigenvalue of the covariance of contrasts, as a share of the largest, below which they are dependent.
MIN_EIGENVALUE = 1e-10
#: Degrees of freedom up to which an F statistic has no expectation.
MIN_DF = 2.0


@dataclass(frozen=True)
class Satterthwaite:
    """
    What the degrees of freedom need.

    Attributes
    ----------
    covariance : ndarray, shape (p, p)
        V of the mean's coefficients at the estimates, 0 for those without an estimate.
    slopes : ndarray, shape (d, p, p)
        Its derivatives in psi.
    variance : ndarray, shape (d, d)
        Covariance A of the estimated psi, 0 at the boundary.
    """

    covariance: Array
    slopes: Array
    variance: Array

    def df(self, contrast: Array) -> float:
        """Return the degrees of freedom of a contrast, shape (p,); inf where V is known."""
        v = float(contrast @ self.covariance @ contrast)
        g = np.einsum("i,dij,j->d", contrast, self.slopes, contrast)
        variance = float(g @ self.variance @ g)
        return 2 * v**2 / variance if variance > 0 else np.inf

    def df_joint(self, contrasts: Array) -> float:
        """
        Return the denominator's degrees of freedom of the F test of several contrasts, shape (r, p).

        The statistic is the Wald statistic over their rank.
        """
        values, vectors = np.linalg.eigh(contrasts @ self.covariance @ contrasts.T)
        independent = values > MIN_EIGENVALUE * values.max()
        each = np.array([self.df(row) for row in vectors.T[independent] @ contrasts])
        if np.all(np.isinf(each)):
            return np.inf
        if np.any(each <= MIN_DF):
            return MIN_DF
        # of an F statistic the expectation is df / (df - 2); 1 in the limit of known V
        excess = float(np.sum(2 / (each - 2)))
        return 2 * (excess + len(each)) / excess


def satterthwaite(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> Satterthwaite:
    """
    Return what the degrees of freedom of tests on the mean need, for any family.

    Parameters
    ----------
    likelihood : Likelihood
        Of the responses given the random effects.
    factors : tuple of GroupingFactor
    fit : MixedFit
        By maximum likelihood or REML; V is that of REML in either case.
    """
    k, q = likelihood.k_mean, likelihood.Z.shape[1]
    kind = _of_linear if is_linear(likelihood, factors) else _of_laplace
    covariance_at = kind(likelihood, factors, fit)
    back = np.eye(len(fit.params) - k)
    back[q:, q:] = np.linalg.pinv(structure_of(factors).jacobian(fit.theta))
    variance = back @ np.nan_to_num(fit.covariance[k:, k:]) @ back.T
    psi = np.concatenate([np.nan_to_num(fit.params[k : k + q]), fit.theta])
    slopes = np.zeros((len(psi), k, k))
    of_mean = np.ix_(fit.estimated[:k], fit.estimated[:k])
    for slope, step in zip(
        slopes, np.diag(DIFFERENCE_STEP * np.sqrt(np.diag(variance))), strict=True
    ):
        if step.any():
            change = covariance_at(psi + step) - covariance_at(psi - step)
            slope[of_mean] = change / (2 * step.sum())
    covariance = np.zeros((k, k))
    covariance[of_mean] = covariance_at(psi)
    return Satterthwaite(covariance, slopes, variance)


def _of_linear(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> Callable[[Array], Array]:
    """Return V of a linear mixed model as a function of psi."""
    keep, q = fit.estimated[: likelihood.k_mean], likelihood.Z.shape[1]
    model = linear_model(likelihood, factors, keep, reml=True)

    def covariance_at(psi: Array) -> Array:
        phi = np.exp(psi[:q].sum())
        return phi * model.at(psi[q:] * model.scale / np.sqrt(phi)).information_inverse

    return covariance_at


def _of_laplace(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], fit: MixedFit
) -> Callable[[Array], Array]:
    """Return V, the block of H^-1 of the mean's columns integrated out, as a function of psi."""
    estimated = fit.estimated[: likelihood.k_mean + likelihood.Z.shape[1]]
    is_mean = np.arange(len(estimated)) < likelihood.k_mean
    marginal = marginal_of(likelihood, factors, Columns(estimated & ~is_mean, estimated & is_mean))
    searched = np.append(estimated[~is_mean], np.ones(len(fit.theta), dtype=bool))
    marginal.u[:-1] = [fit.effects[i].standardized for i in marginal.joint.order]
    marginal.u[-1] = fit.params[: likelihood.k_mean][estimated[is_mean]][None, :]

    def covariance_at(psi: Array) -> Array:
        here = marginal.at(psi[searched])
        assert here is not None
        return np.asarray(here.laplace.inverse.own[-1][0])

    return covariance_at
