"""The record of a fit with random effects: estimates, covariance and modes of the random effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.display import Printed

#: The marginal likelihood with the mean's coefficients integrated out too; of a Gaussian with constant
#: dispersion it is the restricted likelihood of Patterson and Thompson (1971).
REML_MEAN = Criterion("REML", comparable_means=False)

#: The same with the coefficients of both parts integrated out.
REML_BOTH = Criterion("REML (mean and dispersion)", False, comparable_dispersions=False)

#: What `fit_mixed` maximises by its argument ``reml``.
CRITERIA: dict[bool | str, Criterion] = {
    False: LIKELIHOOD,
    True: REML_MEAN,
    "mean": REML_MEAN,
    "both": REML_BOTH,
}


def reml_of(criterion: Criterion) -> bool | str:
    """Return the argument ``reml`` of `fit_mixed` that maximises a criterion."""
    return next(reml for reml, other in CRITERIA.items() if other == criterion)


@dataclass(frozen=True)
class Effects:
    """
    Random effects of the groups of one grouping factor at the estimates.

    Attributes
    ----------
    modes : ndarray, shape (G, k)
        Mode b^ of each group's effects given the data; rows in the order of the factor's levels.
    standardized : ndarray, shape (G, k)
        The same as u^, with b^ = Lambda u^.
    covariance : ndarray, shape (G, k, k)
        Covariance of b given the data and all estimates, after REML too, by the curvature at the mode.
    """

    modes: Array
    standardized: Array
    covariance: Array

    @property
    def sd(self) -> Array:
        """Standard deviations given the estimates, shape (G, k)."""
        return np.asarray(np.sqrt(np.einsum("gjj->gj", self.covariance)))


class Start(NamedTuple):
    """Where a search begins: coefficients, 0 where aliased, theta, and u of each factor."""

    coefficients: Array
    theta: Array
    u: list[Array]


@dataclass(frozen=True, repr=False)
class MixedFit(Printed):
    """
    A maximised marginal or restricted likelihood.

    Attributes
    ----------
    params : ndarray, shape (p + q + m,)
        Coefficients of the mean and of the dispersion, then standard deviations and correlations of the
        random effects (`CovarianceStructure.names`); NaN where one is aliased or has no value.
    estimated : ndarray of bool, shape (p + q + m,)
        Which of them have an estimate.
    at_boundary : ndarray of bool, shape (p + q + m,)
        Standard deviations of 0 and correlations of -1 or 1, which have no standard error.
    theta : ndarray, shape (m,)
        Entries of Lambda (`CovarianceStructure`) with a diagonal of at least 0.
    llf : float
        Marginal log-likelihood at the estimates.
    effects : tuple of Effects
        Of each grouping factor.
    information : ndarray, shape (p + q + m, p + q + m)
        Observed information of ``params``; NaN in rows and columns of parameters that have no estimate
        or lie at the boundary.
    covariance : ndarray, shape (p + q + m, p + q + m)
        Its inverse without those, NaN elsewhere. After REML, coefficients that were integrated out have
        their covariance given the others, as lmer's have.
    integration : str
        How the random effects were integrated out, as printed: "Laplace approximation",
        "Gauss-Hermite quadrature with 15 nodes" or "exact".
    nodes : int
        Quadrature nodes of each effect in ``quadrature_columns``; 1 for Laplace's approximation.
    requested_nodes : int or "auto"
        What was asked for, which submodels are fitted with.
    quadrature_columns : ndarray of bool, shape (k,), or None
        Effects of the only factor that are integrated by quadrature.
    criterion : Criterion
        What was maximised: the likelihood, `REML_MEAN` or `REML_BOTH`.
    adjusted_llf : float or None
        Maximum of the criterion where that is not the likelihood.
    converged : bool
    message : str
        How the search ended.
    iterations : int
        Steps of all searches: by Laplace's approximation, by nodes, and again with rows at a boundary.
    decrement : float
        Gradient in units of its standard deviation, over all directions.
    method : str
        Name of the search.
    evaluations : int
        Evaluations of the criterion.
    laplace_error : float or None
        Log-likelihood by quadrature or by importance sampling less Laplace's, at the estimates; None
        where Laplace's approximation is exact or was not used, NaN where it could not be computed.
    laplace_error_se : float
        Monte-Carlo standard error of ``laplace_error``; 0 by quadrature.
    boundary : Boundary or None
        Rows whose dispersion is zero or infinite, if there are any.
    notes : tuple of str
        Sentences on rows whose dispersion is zero or infinite.
    """

    params: Array
    estimated: Array
    at_boundary: Array
    theta: Array
    llf: float
    effects: tuple[Effects, ...]
    information: Array
    covariance: Array
    integration: str
    nodes: int = 1
    requested_nodes: int | str = "auto"
    quadrature_columns: Array | None = None
    criterion: Criterion = LIKELIHOOD
    adjusted_llf: float | None = None
    converged: bool = True
    message: str = ""
    iterations: int = 0
    decrement: float = 0.0
    method: str = "BFGS and Newton's method"
    evaluations: int = 0
    laplace_error: float | None = None
    laplace_error_se: float = 0.0
    boundary: Boundary | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def maximum(self) -> float:
        """Maximum of the criterion."""
        return self.llf if self.adjusted_llf is None else self.adjusted_llf

    @property
    def internal(self) -> Array:
        """Coefficients of the linear predictors, 0 where one is aliased; shape (p + q,)."""
        return np.nan_to_num(self.params[: len(self.params) - len(self.theta)])

    @property
    def start(self) -> Start:
        """Where the search of a similar fit begins."""
        return Start(self.internal, self.theta, [effects.standardized for effects in self.effects])

    @property
    def interior(self) -> Array:
        """Which parameters have an estimate that is not at the boundary, shape (p + q + m,)."""
        return self.estimated & ~self.at_boundary

    @property
    def solved(self) -> Array:
        """Which parameters the information is of, shape (p + q + m,)."""
        return self.interior

    @property
    def retvals(self) -> dict[str, Any]:
        """How the search ended, by statsmodels' names."""
        return {
            "converged": self.converged,
            "iterations": self.iterations,
            "fcalls": self.evaluations,
            "message": self.message,
        }

    @property
    def bse(self) -> Array:
        """Standard errors, NaN at the boundary and where there is no estimate; shape (p + q + m,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def fixed_rows(self, likelihood: Likelihood) -> Likelihood:
        """Return a likelihood of the rows of the fit with those at the boundary fixed there."""
        if self.boundary is None:
            return likelihood
        return replace(likelihood, fixed_predictor=self.boundary.fixed_predictor)

    def _headline(self) -> str:
        end = "converged" if self.converged else "not converged"
        steps = f"after {self.iterations} step{'s' * (self.iterations != 1)}"
        return f"{self.integration}, {self.criterion.name} {self.maximum:.4f}, {end} {steps}"
