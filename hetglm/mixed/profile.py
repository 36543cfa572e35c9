"""Profile likelihood of a parameter of a fit with random effects: coefficient, sd or correlation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq, minimize

from hetglm.estimation.record import TOL_LLF
from hetglm.inference.profile import MAX_HALF_WIDTHS, N_VALUES, STEP_GROWTH, Profile
from hetglm.likelihood.objective import LIKELIHOOD
from hetglm.mixed.record import MixedFit
from hetglm.mixed.reported import ReportedLikelihood
from hetglm.mixed.tables import is_sd
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.messages import listed

#: Gradient, in units of its standard deviation, at which a point of the profile is found: 1e-8 of llf.
TOL_GRADIENT = 1e-4
#: Relative tolerance of a limit, in half-widths of the Wald interval.
TOL_LIMIT = 1e-6
#: Correlation, and standard deviation in standard errors, beyond which the limit is that of the domain.
MAX_CORRELATION, MIN_SD = 1 - 1e-6, 1e-4


@dataclass
class ParameterProfile:
    """
    The profile log-likelihood of one parameter by continuation: each maximum starts the next.

    The other parameters are searched on scales without bounds: sds by their logarithm, correlations by
    Fisher's z.

    Attributes
    ----------
    likelihood : ReportedLikelihood
    fit : MixedFit
        By maximum likelihood.
    name : str
    j : int
        Position of the parameter.
    """

    likelihood: ReportedLikelihood
    fit: MixedFit
    name: str
    j: int
    known: dict[float, float] = field(init=False)
    others: dict[float, Array] = field(init=False)

    def __post_init__(self) -> None:
        """Begin at the estimate."""
        fit, structure = self.fit, self.likelihood.marginal.structure
        self.estimate = float(fit.params[self.j])
        size = len(fit.params)
        self.sds = is_sd(structure, size)
        self.correlations = ~self.sds & (np.arange(size) >= size - structure.m)
        self.free = np.flatnonzero(fit.interior & (np.arange(size) != self.j))
        self.known = {self.estimate: fit.maximum}
        self.others = {self.estimate: self._unbounded(fit.params)}
        slopes = self._slopes(fit.params)
        C = fit.covariance[np.ix_(self.free, self.free)] / np.outer(slopes, slopes)
        cross = np.nan_to_num(fit.covariance[self.free, self.j]) / slopes
        variance = fit.covariance[self.j, self.j]
        self.tangent = cross / variance if variance > 0 else np.zeros(len(self.free))
        given = C - np.outer(cross, self.tangent)
        values, vectors = np.linalg.eigh(given)
        self.root = vectors * np.sqrt(np.maximum(values, 0.0))

    def _unbounded(self, params: Array) -> Array:
        own = params[self.free]
        own = np.where(self.sds[self.free], np.log(np.abs(own) + (own == 0)), own)
        r = np.where(self.correlations[self.free], own, 0.0)
        return np.where(self.correlations[self.free], np.arctanh(r), own)

    def _params(self, value: float, unbounded: Array) -> Array:
        params = self.fit.params.copy()
        own = np.where(self.sds[self.free], np.exp(unbounded), unbounded)
        own = np.where(self.correlations[self.free], np.tanh(unbounded), own)
        params[self.free], params[self.j] = own, value
        return params

    def _slopes(self, params: Array) -> Array:
        """Return the derivatives of the free parameters in their unbounded scales."""
        own = params[self.free]
        slopes = np.where(self.sds[self.free], own, 1.0)
        return np.where(self.correlations[self.free], 1 - own**2, slopes)

    def __call__(self, value: float) -> float:
        """Return the profile log-likelihood at a value."""
        if value not in self.known:
            near = min(self.others, key=lambda at: abs(at - value))
            start = self.others[near] + self.tangent * (value - near)
            self.known[value], self.others[value] = self._searched(value, start)
            if self.known[value] > self.fit.maximum + TOL_LLF * (1 + abs(self.fit.maximum)) * 1e3:
                raise ValueError(
                    f"the profile of {self.name} found a log-likelihood above the fit's, at "
                    f"{value:.6g}: the fit is not at its maximum; refit it with start_params that "
                    "have this value"
                )
        return self.known[value]

    def _searched(self, value: float, start: Array) -> tuple[float, Array]:
        """Return the maximum over the other parameters, and where it is."""

        def loss(x: Array) -> tuple[float, Array]:
            at = start + self.root @ x
            params = self._params(value, at)
            llf = self.likelihood.loglike(params)
            if not np.isfinite(llf):
                return np.inf, np.zeros(len(x))
            score = self.likelihood.score(params)[self.free] * self._slopes(params)
            return -llf, -self.root.T @ score

        zero = np.zeros(len(self.free))
        if not len(zero):
            return -loss(zero)[0], start
        found = minimize(loss, zero, jac=True, method="BFGS", options={"gtol": TOL_GRADIENT})
        return -float(found.fun), start + self.root @ found.x

    @property
    def domain(self) -> tuple[float, float]:
        """Smallest and largest value."""
        if self.sds[self.j]:
            return 0.0, np.inf
        return (-1.0, 1.0) if self.correlations[self.j] else (-np.inf, np.inf)

    def limit(self, half: float, side: float, cut: float) -> float:
        """Return the value on one side where the profile is ``cut``/2 below its maximum."""
        bound = self.domain[side > 0]
        edge = bound
        if self.correlations[self.j]:
            edge = side * MAX_CORRELATION
        elif self.sds[self.j] and side < 0:
            edge = MIN_SD * half
        near, far = self.estimate, self.estimate + side * half
        while True:
            far = edge if side * (far - edge) >= 0 else far
            if self._excess(far, cut) >= 0:
                break
            if far == edge:
                return bound
            if abs(far - self.estimate) > MAX_HALF_WIDTHS * half:
                return float(np.copysign(np.inf, side))
            near, far = far, self.estimate + STEP_GROWTH * (far - self.estimate)
        return float(brentq(self._excess, near, far, args=(cut,), xtol=TOL_LIMIT * half))

    def _excess(self, value: float, cut: float) -> float:
        drop = max(self.fit.maximum - self(value), 0.0)
        return float(min(np.sqrt(2 * drop), 1e3) - np.sqrt(cut))

    @property
    def path(self) -> Profile:
        """The profile at all values evaluated so far."""
        values, profile = (np.array(a) for a in zip(*sorted(self.known.items()), strict=True))
        return Profile(self.name, self.estimate, self.fit.maximum, values, profile)


def of_parameter(res: Any, j: int) -> ParameterProfile:
    """
    Return the profile of parameter j of results, evaluated at the estimate only.

    Raises
    ------
    ValueError
        After REML.
    """
    fit, name = res.fit, res.model.parameter_names[j]
    if fit.criterion != LIKELIHOOD:
        raise ValueError(
            f"{name}: profiles are of the likelihood, and the fit is by {fit.criterion.name}; use "
            "method='wald', or fit by maximum likelihood"
        )
    likelihood = ReportedLikelihood(res.model.core, res.model.random, fit)
    return ParameterProfile(likelihood, fit, name, j)


def intervals(res: Any, columns: list[int], alpha: float) -> Array:
    """
    Return profile-likelihood intervals of parameters, shape (len(columns), 2).

    A limit beyond which there is no value is that of the domain: 0 of a standard deviation, -1 and 1 of
    a correlation. NaN for what has no standard error.
    """
    cut, out = float(stats.chi2.isf(alpha, 1)), np.full((len(columns), 2), np.nan)
    quantile = float(stats.norm.isf(alpha / 2))
    for row, j in zip(out, columns, strict=True):
        half = quantile * res.fit.bse[j]
        if np.isfinite(half):
            found = of_parameter(res, j)
            row[:] = [found.limit(half, side, cut) for side in (-1.0, 1.0)]
    return out


def profile(res: Any, name: str, values: Any, alpha: float) -> Profile:
    """Return the profile of a parameter at some values; see `InferenceMethods.profile`."""
    names = res.model.parameter_names
    if name not in names:
        raise ValueError(f"name={name!r}: choose one of {listed(names)}")
    j = names.index(name)
    if not res.fit.interior[j]:
        raise ValueError(f"{name}: aliased or at the boundary, so it has no profile")
    found = of_parameter(res, j)
    if values is None:
        alpha = checks.share(alpha, "alpha")
        ends, wald = intervals(res, [j], alpha)[0], np.asarray(res.conf_int(alpha, [j]))[0]
        low, high = np.where(np.isfinite(ends), ends, wald)
        low, high = (low, high) if not found.sds[j] else (max(low, MIN_SD * res.fit.bse[j]), high)
        if found.correlations[j]:
            low, high = np.clip((low, high), -MAX_CORRELATION, MAX_CORRELATION)
        values = np.linspace(low, high, N_VALUES)
    values = np.sort(checks.finite_values(values, "values"))
    low, high = found.domain
    if values[0] < low or values[-1] > high:
        raise ValueError(f"values: {name} lies between {low:g} and {high:g}")
    for value in (*values[values >= found.estimate], *values[values < found.estimate][::-1]):
        found(float(value))
    return found.path
