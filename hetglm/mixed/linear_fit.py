"""Fit of a linear mixed model: estimates, joint information and modes of the random effects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from statsmodels.genmod.families import links

from hetglm.design.random_terms import GroupingFactor
from hetglm.estimation.record import TOL_LLF
from hetglm.exceptions import UnboundedLikelihoodError
from hetglm.families.gaussian import Gaussian
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.conditional import with_effects
from hetglm.mixed.covariance_structure import structure_of
from hetglm.mixed.cross_products import cross_products, row_precisions
from hetglm.mixed.linear import LinearMixedModel, Profile
from hetglm.mixed.linear_search import Search, minimise
from hetglm.mixed.record import CRITERIA, Effects, MixedFit
from hetglm.typing import Array
from hetglm.utils.linalg import independent_columns, inverse

#: Distance of a correlation from 1 that is its rounding.
TOL_CORRELATION = 1e-8


def is_linear(likelihood: Likelihood, factors: tuple[GroupingFactor, ...]) -> bool:
    """Return whether `fit_linear` can fit: Gaussian, identity, one dispersion times known weights."""
    return (
        isinstance(likelihood.family, Gaussian)
        and isinstance(likelihood.link, links.Identity)
        and isinstance(likelihood.link_dispersion, links.Log)
        and bool(np.all(likelihood.Z == 1))
        and likelihood.Z.shape[1] <= 1
        and all(part == "mean" for factor in factors for part in factor.parts)
    )


def fit_linear(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], reml: bool = False
) -> MixedFit:
    """
    Return the fit of a Gaussian with identity link, random effects of the mean and one dispersion.

    The likelihood is exact, and the same as Laplace's approximation, at a cost that does not grow with
    the rows.

    Parameters
    ----------
    likelihood : Likelihood
        One for which `is_linear` is true.
    factors : tuple of GroupingFactor
    reml : bool
        Maximise the restricted likelihood.

    Raises
    ------
    UnboundedLikelihoodError
        If the mean, or the mean and the random effects, fit every row.
    """
    keep = independent_columns(likelihood.X)
    model = linear_model(likelihood, factors, keep, reml)
    if not model.known and is_fitted_exactly(likelihood, model.cross.fixed[-1, -1]):
        raise UnboundedLikelihoodError(
            "the mean fits every row: the likelihood grows without bound as the dispersion goes to 0; "
            "take terms out of the mean, or fit more rows"
        )
    search = minimise(model)
    if search.profile.degenerate:
        raise UnboundedLikelihoodError(
            "the random effects fit every row: the likelihood grows without bound as the dispersion "
            "goes to 0; leave a random term out, or use a grouping variable with several rows a level"
        )
    fit = Joint(search).record(keep)
    if rounding(likelihood, factors, search.profile, fit) > TOL_LLF * (1 + abs(fit.llf)):
        message = "the rows vary too little beside the groups for cross-products"
        return replace(fit, converged=False, message=message)
    return fit


def rounding(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], at: Profile, fit: MixedFit
) -> float:
    """
    Return the error of the log-likelihood by the rounding of cross-products, by one pass over rows.

    y'P y is the penalised residual sum of squares at the modes, which does not cancel: an error of the
    modes enters it at second order.
    """
    given = with_effects(likelihood, factors, [effects.modes for effects in fit.effects])
    precision = row_precisions(likelihood)[0]
    squares = (likelihood.y - given.mean_predictor(fit.internal[: given.k_mean])) ** 2
    squares = squares if precision is None else precision * squares
    penalty = sum(float(np.sum(effects.standardized**2)) for effects in fit.effects)
    return 0.5 * abs(float(squares.sum()) / at.phi + penalty - at.q / at.phi)


def is_fitted_exactly(likelihood: Likelihood, residual: float) -> bool:
    """Return whether a weighted sum of squared residuals is rounding of the response."""
    size = row_precisions(likelihood)[0]
    total = np.sum(likelihood.y**2 * (1.0 if size is None else size))
    return bool(residual <= likelihood.n * np.finfo(float).eps ** 2 * total)


def linear_model(
    likelihood: Likelihood, factors: tuple[GroupingFactor, ...], keep: Array, reml: bool
) -> LinearMixedModel:
    """
    Return the profiled deviance of a likelihood.

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    keep : ndarray of bool, shape (p,)
        Linearly independent columns of the mean.
    reml : bool
    """
    X = likelihood.X if keep.all() else likelihood.X[:, keep]
    cross = cross_products(likelihood, X, factors)
    return LinearMixedModel(cross, structure_of(factors), reml, likelihood.Z.shape[1] == 0)


@dataclass(frozen=True)
class Joint:
    """
    Estimates and information of psi = (beta, log phi, theta) of a search that has ended.

    Attributes
    ----------
    search : Search
    """

    search: Search

    @property
    def here(self) -> Profile:
        """The profile at the estimates."""
        return self.search.profile

    @property
    def model(self) -> LinearMixedModel:
        """The model."""
        return self.search.profile.model

    @property
    def k(self) -> int:
        """Coefficients of both parts."""
        return self.model.cross.p + (not self.model.known)

    @property
    def theta(self) -> Array:
        """Entries of Lambda, shape (m,)."""
        return self.here.theta * np.sqrt(self.here.phi) / self.model.scale

    @property
    def free(self) -> Array:
        """Which entries of theta are not at the boundary, shape (m,)."""
        out = []
        for factor, theta in zip(
            self.model.structure.factors, self.model.structure.split(self.theta), strict=True
        ):
            sd = np.sqrt(np.diag(factor.covariance(theta)))
            rows, columns = factor.entries
            out.append((sd[rows] > 0) & (np.diag(factor.matrix(theta))[columns] > 0))
        return np.concatenate(out)

    def information(self) -> Array:
        """
        Return the information of psi, shape (k + m, k + m).

        That of (log phi, theta) by the criterion, which has beta eliminated, and of beta given these,
        joined by maximum likelihood by the slope of beta in them.
        """
        outer = self.of_variances()
        A = self.here.information / self.here.phi
        slope = np.zeros((len(A), len(outer)))
        if self.model.reml:
            return np.block([[A, slope], [slope.T, outer]])
        unit = np.sqrt(self.here.phi) / self.model.scale
        slope[:, -len(unit) :] = -(self.here.information_inverse @ self.here.X_directions) / unit
        if not self.model.known:
            # log phi at a fixed theta, not at a fixed theta over sqrt(phi)
            slope[:, 0] = -slope[:, 1:] @ self.theta / 2
        return np.block([[A, -A @ slope], [-slope.T @ A, outer + slope.T @ A @ slope]])

    def of_variances(self) -> Array:
        """Return the information of (log phi, theta), of theta alone where phi is known."""
        here, unit = self.here, np.sqrt(self.here.phi) / self.model.scale
        if self.model.known:
            return self.search.hessian / 2 / np.outer(unit, unit)
        q = here.q_slope / here.phi
        relative = np.zeros((1 + len(q),) * 2)
        relative[0, 0] = self.model.nu / 2
        relative[0, 1:] = relative[1:, 0] = -q / 2
        relative[1:, 1:] = (self.search.hessian + np.outer(q, q) / self.model.nu) / 2
        back = np.diag(np.append(1.0, 1 / unit))
        back[1:, 0] = -here.theta / 2
        return back.T @ relative @ back

    def covariance(self) -> Array:
        """Return the covariance of psi given its entries at the boundary, NaN if there is none."""
        free = np.append(np.ones(self.k, dtype=bool), self.free)
        out = np.zeros((len(free),) * 2)
        found = inverse(self.information()[np.ix_(free, free)])
        out[np.ix_(free, free)] = np.nan if found is None else found
        return out

    def effects(self) -> tuple[Effects, ...]:
        """Return the random effects of each factor, in the order of the user."""
        here, cross, out = self.here, self.model.cross, {}
        covariances = here.H.covariances()
        for at, f in enumerate(cross.order):
            u = here.by_column(here.u, at)
            modes = (here.H.Lambda[at] @ u).T / cross.scales[at]
            covariance = here.phi * covariances[at] / np.multiply.outer(*[cross.scales[at]] * 2)
            out[f] = Effects(modes, u.T / np.sqrt(here.phi), covariance)
        return tuple(out[f] for f in sorted(out))

    def record(self, keep: Array) -> MixedFit:
        """
        Return the record of the fit.

        Parameters
        ----------
        keep : ndarray of bool, shape (p,)
            Which columns of the mean are estimated.
        """
        here, structure = self.here, self.model.structure
        reported, scale = structure.reported(self.theta), 1 - TOL_CORRELATION
        of_sd = np.concatenate([np.arange(factor.m) < factor.k for factor in structure.factors])
        edge = np.where(of_sd, reported == 0, np.abs(reported) > scale)
        reported = np.where(edge & ~of_sd, np.sign(reported), reported)
        log_phi = [] if self.model.known else [np.log(here.phi)]
        values = np.concatenate([self.model.cross.pooled + here.shift, log_phi, reported])
        jacobian = np.eye(len(values))
        jacobian[self.k :, self.k :] = structure.jacobian(self.theta)
        usable = np.isfinite(values) & ~np.append(np.zeros(self.k, dtype=bool), edge)
        covariance = (jacobian @ self.covariance() @ jacobian.T)[np.ix_(usable, usable)]
        there = np.concatenate([keep, np.ones(len(values) - keep.sum(), dtype=bool)])
        full, where = np.full(len(there), np.nan), np.flatnonzero(there)
        full[where] = values
        return MixedFit(
            params=full,
            estimated=np.isfinite(full),
            at_boundary=placed(np.flatnonzero(edge) + len(there) - len(edge), len(there)),
            theta=self.theta,
            llf=-here.deviance(self.model.cross.n, False, here.phi) / 2,
            effects=self.effects(),
            information=bordered(inverse_or_nan(covariance), where[usable], len(there)),
            covariance=bordered(covariance, where[usable], len(there)),
            integration="exact",
            criterion=CRITERIA[self.model.reml],
            adjusted_llf=-here.value / 2 if self.model.reml else None,
            converged=self.search.converged,
            message="converged" if self.search.converged else "no convergence",
            iterations=self.search.iterations,
            decrement=float(np.sqrt(self.search.decrement)),
            method="EM and Newton's method",
            evaluations=self.search.evaluations,
        )


def placed(positions: Array, size: int) -> Array:
    """Return a mask that is true at some positions, shape (size,)."""
    out = np.zeros(size, dtype=bool)
    out[positions] = True
    return out


def bordered(matrix: Array, positions: Array, size: int) -> Array:
    """Return a matrix at its positions in a larger one of NaN, shape (size, size)."""
    out = np.full((size, size), np.nan)
    out[np.ix_(positions, positions)] = matrix
    return out


def inverse_or_nan(covariance: Array) -> Array:
    """Return the inverse, NaN where there is none: correlations that determine each other."""
    found = inverse(covariance)
    return np.full_like(covariance, np.nan) if found is None else found
