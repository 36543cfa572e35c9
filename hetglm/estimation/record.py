"""The record of a fit, the settings of a search, and a fit with its data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hetglm.likelihood.boundary import Boundary
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.checks import count
from hetglm.utils.display import Printed
from hetglm.utils.linalg import inverse

#: Log-likelihoods are equal up to this share of 1 + |llf|: the rounding of a converged search.
TOL_LLF = 1e-9

#: The default method; every other name is one of statsmodels' optimisers.
DEFAULT_METHOD = "newton-scoring"

#: "newton" too is ours: statsmodels' takes full steps and leaves the domain.
OWN_METHODS = (DEFAULT_METHOD, "newton")

#: Scaled gradient sqrt(g' I^-1 g) at which a search has converged, by default.
TOL = 1e-8

#: Most steps by default, of our methods and of statsmodels' optimisers.
MAX_STEPS, MAX_STEPS_OF_OPTIMISERS = 100, 10_000


@dataclass(frozen=True, repr=False)
class Fit(Printed):
    """
    A maximised likelihood.

    Attributes
    ----------
    params : ndarray, shape (p + q,)
        Coefficients of both parts, NaN where one is aliased or has no finite estimate.
    estimated : ndarray of bool, shape (p + q,)
        Which coefficients have an estimate.
    internal : ndarray, shape (p + q,)
        Coefficients of the linear predictors of the rows that are not fixed at the boundary.
    solved : ndarray of bool, shape (p + q,)
        Which of ``internal`` were maximised over; the others are 0.
    llf : float
        Log-likelihood at the maximum.
    method, message : str
        Name of the optimiser, and how the search ended.
    iterations : int
    decrement : float
        Gradient in units of its standard deviation, over all directions.
    converged : bool
    information : ndarray, shape (k, k)
        Observed information of the solved coefficients.
    retvals : dict
        What statsmodels' optimiser returned, or the same for ours.
    unbounded : str
        Sentence on the singularity of the likelihood, if one was met before this local maximum.
    domain_boundary : str
        Sentence on the means at the boundary of their domain, if the maximum lies there.
    boundary : Boundary or None
        Rows whose dispersion is zero or infinite, if there are any.
    second : float
        Log-likelihood of the next best local maximum that was found, NaN if there was none.
    criterion : Criterion
        What was maximised.
    adjusted_llf : float or None
        Maximum of the criterion where that is not the log-likelihood at the estimates.
    cov_expected : ndarray, shape (k, k), or None
        Covariance of the solved coefficients where the criterion has an expected information, which
        ``information`` is then.
    """

    params: Array
    estimated: Array
    internal: Array
    solved: Array
    llf: float
    method: str
    message: str
    iterations: int
    decrement: float
    converged: bool
    information: Array
    retvals: dict[str, Any]
    unbounded: str = ""
    domain_boundary: str = ""
    boundary: Boundary | None = None
    second: float = np.nan
    criterion: Criterion = LIKELIHOOD
    adjusted_llf: float | None = None
    cov_expected: Array | None = None

    @property
    def requested_nodes(self) -> str:
        """Nodes that random effects of a related model are integrated with."""
        return "auto"

    @property
    def interior(self) -> Array:
        """Which coefficients have an estimate: those at the boundary have none; shape (p + q,)."""
        return self.estimated

    @property
    def maximum(self) -> float:
        """Maximum of the criterion."""
        return self.llf if self.adjusted_llf is None else self.adjusted_llf

    def _headline(self) -> str:
        end = "converged" if self.converged else "not converged"
        steps = f"after {self.iterations} step{'s' * (self.iterations != 1)}"
        return f"log-likelihood {self.llf:.4f}, {end} {steps} ({self.method})"


@dataclass(frozen=True)
class Settings:
    """How to search: names of the coefficients, criterion, method and its options."""

    names: list[str]
    criterion: Criterion = LIKELIHOOD
    method: str = DEFAULT_METHOD
    maxiter: int = 100
    tol: float = 1e-8
    disp: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def steps(maxiter: Any, method: str) -> int:
    """Return the most steps of a method, by default as many as it may need."""
    if maxiter is None:
        return MAX_STEPS if method in OWN_METHODS else MAX_STEPS_OF_OPTIMISERS
    return 0 if maxiter == 0 else count(maxiter, "maxiter")


def need_rows(core: Likelihood) -> None:
    """Raise a ValueError if the rows of the fit were removed."""
    if core.n == 0:
        raise ValueError("the data were removed by remove_data(); refit the model")


def at_fit(likelihood: Likelihood, fitted: Fit) -> Likelihood:
    """Return the likelihood with the boundary rows of a fit fixed at the boundary."""
    if fitted.boundary is None or likelihood.n == 0:
        return likelihood
    return replace(likelihood, fixed_predictor=fitted.boundary.fixed_predictor)


@dataclass(frozen=True)
class Fitted:
    """
    A fit with its data, for refits.

    Attributes
    ----------
    core : Likelihood
        Of the rows of the fit, none fixed at the boundary.
    fit : Fit
    names : list of str
        Of the p + q coefficients.
    estimable : ndarray of bool, shape (p + q,)
    """

    core: Likelihood
    fit: Fit
    names: list[str]
    estimable: Array

    @property
    def identity(self) -> list[Any]:
        """What identifies the fit beyond its rows and estimates."""
        return []

    def of_rows(self, rows: Array) -> Fitted:
        """Return the fit with some of its rows, each as often as it is given."""
        fit = self.fit
        if fit.boundary is not None:
            fit = replace(fit, boundary=fit.boundary.of_rows(rows))
        return replace(self, core=self.core.take(rows), fit=fit)

    def rows_at(self, core: Likelihood, fit: Any) -> Likelihood:
        """Return the rows of a fit to other data, with those at its boundary fixed there."""
        return at_fit(core, fit)

    def with_estimates(self, core: Likelihood) -> Any:
        """Return the estimates of the fit, for other data."""
        return self.fit

    def redrawn(self, rows: Array, clusters: Array) -> Fitted:
        """
        Return the fit for refits to drawn clusters of rows.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
        clusters : ndarray of int, shape (n,)
            Number of the draw that each row came with.
        """
        return self

    @cached_property
    def bread(self) -> Array | None:
        """Inverse of the information, None where it has none."""
        return inverse(self.fit.information)

    @cached_property
    def is_grouped(self) -> bool:
        """Whether few rows are distinct, so that similar data are best evaluated by frequencies."""
        return self.core.has_boundary and self.core.distinct()[1] is not None


def fitted_of(res: Any) -> Fitted:
    """Return the fit of a results instance with its data."""
    need_rows(res.model.core)
    fitted: Fitted = res.model.fitted(res.fit)
    return fitted


def expanded_rows(fitted: Fitted, groups: Any = None) -> tuple[Fitted, Any]:
    """Return the fit with each row repeated by its frequency, so that each row is one observation."""
    core = fitted.core
    if core.freq is None:
        return fitted, groups
    if not np.array_equal(core.freq, np.round(core.freq)):
        raise ValueError("freq_weights: the bootstrap draws rows, so they must be whole numbers")
    rows = np.repeat(np.arange(core.n), core.freq.astype(int))
    of_rows = fitted.of_rows(rows)
    single = replace(of_rows, core=replace(of_rows.core, freq=None))
    return single, None if groups is None else groups[rows]


def identifying(fitted: Fitted) -> list[Any]:
    """Return what identifies a fit: data, estimates to a few digits, and the criterion."""
    core = fitted.core
    names = "y X Z offset offset_dispersion trials weights freq".split()
    arrays = [getattr(core, name) for name in names]
    estimates = [f"{value:.5g}" for value in fitted.fit.params]
    how = core.link, core.link_dispersion, fitted.fit.criterion.name
    return [core.family, *how, *arrays, fitted.names, estimates, *fitted.identity]
