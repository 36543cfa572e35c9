"""Profile likelihood of a coefficient, and of the dispersion of a cell at the boundary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from hetglm.estimation import fit as fit_module
from hetglm.estimation.covariance import covariance
from hetglm.estimation.record import TOL_LLF, Fit, Settings, fitted_of
from hetglm.estimation.search import search
from hetglm.estimation.start import starting_values
from hetglm.inference import plots
from hetglm.inference.wald import half_width
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import MAX_STEP_LENGTH
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.display import Printed, number
from hetglm.utils.linalg import solve_scaled
from hetglm.utils.messages import listed

#: Relative tolerance of a confidence limit.
TOL_LIMIT = 1e-9
#: Factor by which the steps that bracket a limit grow.
STEP_GROWTH = 1.6
#: Distance from the estimate, in Wald half-widths, at which the search for a limit ends: infinite limit.
MAX_HALF_WIDTHS = 1e3
#: Steps in succession without a decrease that show a flat profile: near a separated estimate a single
#: step may be too short to decrease.
N_FLAT_STEPS = 2
#: Iterations of a search started at a neighbouring maximum, too few to trigger restarts.
MAX_WARM_ITERATIONS = 30
#: Steps of the continuation to a value, bisections included.
MAX_CONTINUATION_STEPS = 12
#: Switches to a superior branch of local maxima while a limit is searched for.
MAX_BRANCH_SWITCHES = 10
#: Cap on the drop of the log-likelihood, to keep the root finder finite.
MAX_DROP = 1e6

#: Default number of values of a profile.
N_VALUES = 21
#: Smallest log phi at which the likelihood of a cell is evaluated.
MIN_LOG_PHI = -80.0
#: Largest log phi, beyond which a cell has no upper limit.
MAX_LOG_PHI = 40.0
#: Absolute tolerance of the limit of a cell, on the scale of log phi.
TOL_LOG_PHI = 1e-8


@dataclass(frozen=True, repr=False)
class Profile(Printed):
    """
    Profile log-likelihood of one coefficient, maximised over all others.

    Attributes
    ----------
    name : str
    estimate : float
    llf : float
        Maximum of the log-likelihood, at the estimate.
    values, profile : ndarray, shape (k,)
        Values of the coefficient in ascending order, and the profile log-likelihood at each.
    """

    name: str
    estimate: float
    llf: float
    values: Array
    profile: Array

    def _headline(self) -> str:
        return (
            f"Profile likelihood of {self.name}: estimate {number(self.estimate)}{self._limits()}"
        )

    def _limits(self) -> str:
        if np.sum(np.isfinite(self.root)) < 2:
            return ""
        low, high = self.conf_int()
        return f", 95 % interval {number(low)} to {number(high)}"

    def _body(self) -> list[str | pd.DataFrame]:
        table = {"value": self.values, "loglike": self.profile, "root": self.root}
        return [f"Maximum of the log-likelihood: {self.llf:.5f}", pd.DataFrame(table)]

    @property
    def root(self) -> Array:
        """Signed root of the likelihood ratio, shape (k,): linear where Wald intervals are exact."""
        side = np.sign(self.values - self.estimate)
        return side * np.sqrt(2 * np.maximum(self.llf - self.profile, 0.0))

    def conf_int(self, alpha: float = 0.05) -> Array:
        """
        Return the profile-likelihood confidence interval, interpolated between the evaluated values.

        Parameters
        ----------
        alpha : float
            One minus the coverage.

        Returns
        -------
        ndarray, shape (2,)
            Values at which the profile is below its maximum by half the chi-square quantile, by
            interpolation of the signed root; infinite beyond the last value.
        """
        root = self.of_root()
        cut = stats.norm.isf(checks.share(alpha, "alpha") / 2)
        beyond = [cut > -root.x[0], cut > root.x[-1]]
        limits = root(np.clip([-cut, cut], root.x[0], root.x[-1]))
        return np.where(beyond, [-np.inf, np.inf], limits)

    def of_root(self) -> PchipInterpolator:
        """Return the coefficient as a function of the signed root, interpolated where that increases."""
        finite = np.isfinite(self.root)
        root, values = self.root[finite], self.values[finite]
        increasing = root > np.r_[-np.inf, np.maximum.accumulate(root)[:-1]]
        return PchipInterpolator(root[increasing], values[increasing])

    def plot(self, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Plot the profile log-likelihood relative to its maximum, the estimate and the interval.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            The dashed parabola is the quadratic approximation that Wald intervals are based on.
        """
        return plot_with_interval(self, self.conf_int(alpha), alpha, ax)


def plot_with_interval(profile: Profile, limits: Array, alpha: float, ax: Any) -> Any:
    """Plot a profile with an interval of coverage 1 - alpha; see `Profile.plot`."""
    cut = float(stats.chi2.isf(alpha, 1)) / 2
    return plots.plot_profile(profile, limits, cut, f"{100 * (1 - alpha):g} %", ax)


def fixed(core: Likelihood, j: int, value: float) -> Likelihood:
    """Return the likelihood of the other coefficients with coefficient j fixed at a value."""
    k = core.k_mean
    name, A, column = ("X", core.X, j) if j < k else ("Z", core.Z, j - k)
    shift = "offset" if j < k else "offset_dispersion"
    moved = value * A[:, column]
    before = getattr(core, shift)
    given: dict[str, Any] = {
        name: np.delete(A, column, axis=1),
        shift: moved + (0.0 if before is None else before),
    }
    return replace(core, **given)


def _default_start(core: Likelihood, estimable: Array) -> Array | None:
    """Return starting values from the response alone, None where there are none."""
    try:
        return next(starting_values(core, estimable))
    except ValueError:
        return None


class CoefficientProfile:
    """The profile of one coefficient of a fit, by continuation: each maximum found starts the next."""

    def __init__(self, core: Likelihood, fit: Fit, names: list[str], estimable: Array, j: int):
        self.core, self.fit, self.j = core, fit, j
        self.names, self.estimable = np.delete(names, j).tolist(), np.delete(estimable, j)
        self.name, self.estimate = names[j], float(fit.params[j])
        self.criterion = fit.criterion
        if not self.criterion.comparable_means and j < core.k_mean:
            raise ValueError(
                f"{self.name}: {self.criterion.name} criteria of different means cannot be compared, "
                "so there is no profile of a mean coefficient; use method='wald', or fit by maximum "
                "likelihood"
            )
        self.llf = fit.maximum
        self.noise = TOL_LLF * (1 + abs(self.llf))
        self.known = {self.estimate: self.llf}
        others = replace(fit, internal=np.delete(fit.internal, j), solved=np.delete(fit.solved, j))
        self.fits = {self.estimate: others}

    def __call__(self, value: float) -> float:
        """Return the profile log-likelihood at a value, by continuation from the nearest known one."""
        if value not in self.known:
            self._continue(value)
        if value not in self.known:
            start = _default_start(fixed(self.core, self.j, value), self.estimable)
            if start is None:
                self.known[value] = -np.inf
            else:
                self._search(value, start, thorough=True)
        return self.known[value]

    def largest(self, value: float) -> float:
        """Return the profile log-likelihood at a value, the largest of the maxima that restarts find."""
        if self(value) > -np.inf and self.core.has_boundary:  # other families have no restarts
            self._search(value, self.fits[value].internal, thorough=True)
        return self.known[value]

    def _continue(self, value: float) -> None:
        """Search from the nearest known maximum; halve the step where its prediction is not feasible."""
        near, fraction = min(self.fits, key=lambda at: abs(at - value)), 1.0
        for _ in range(MAX_CONTINUATION_STEPS):
            at = value if fraction == 1 else near + fraction * (value - near)
            start = self._predicted(near, at)
            if start is None:
                fraction *= 0.5
                continue
            self._search(at, start)
            if at == value:
                return
            near, fraction = at, 1.0

    def _predicted(self, near: float, value: float) -> Array | None:
        """Return the better of two starts: the neighbouring maximum, or its tangent's prediction."""
        fit, core = self.fits[near], fixed(self.core, self.j, value)
        starts = [fit.internal]
        if fit.boundary is None:
            here = np.insert(fit.internal, self.j, near)
            with np.errstate(all="ignore"):  # an overflow is rejected by its likelihood
                information = -self.core.hessian(self.core.factors(here))
                solved = np.flatnonzero(np.insert(fit.solved, self.j, False))
                tangent = information[solved, self.j] * (value - near)
                step = solve_scaled(information[np.ix_(solved, solved)], tangent)
            if step is not None:
                starts.append(fit.internal.copy())
                starts[1][fit.solved] -= step
        values = [core.loglike(start) for start in starts]
        best = int(np.argmax(values))
        return starts[best] if values[best] > -np.inf else None

    def _search(self, value: float, start: Array, thorough: bool = False) -> None:
        """Record the maximum reached from a start; if thorough, the largest that restarts find."""
        given = (fixed(self.core, self.j, value), self.names, self.estimable, start)
        found = (
            None
            if thorough
            else fit_module.fit(*given, criterion=self.criterion, maxiter=MAX_WARM_ITERATIONS)
        )
        if found is None or not found.converged:
            found = fit_module.fit(*given, criterion=self.criterion)
        llf = found.maximum
        if llf > self.llf + self.noise:
            raise ValueError(
                f"the profile of {self.name} found a log-likelihood {llf - self.llf:.3g} above the "
                f"fit's, at {value:.6g}: the fit is not at its maximum; refit it with start_params "
                "that have this value"
            )
        if llf > self.known.get(value, -np.inf):
            self.known[value], self.fits[value] = llf, found

    def limit(self, half: float, side: float, cut: float) -> float:
        """
        Return the confidence limit on one side: the profile is ``cut``/2 below its maximum there.

        ``half`` is the half-width of the Wald interval, ``side`` -1 or 1. Infinite where the profile
        does not decrease that far.
        """
        step, near = side * min(half, self._longest_step()), self.estimate
        for _ in range(MAX_BRANCH_SWITCHES):
            bracket = self._bracket(near, step, cut)
            if bracket is None:
                return float(np.copysign(np.inf, side))
            near = brentq(
                self._excess, *bracket, args=(cut,), xtol=1e-12 * abs(step), rtol=TOL_LIMIT
            )
            found = self(near)
            if self.largest(near) <= found + self.noise:
                break
            # another maximum is larger there: discard profile points computed on the inferior branch
            for value in [v for v in self.known if (v - near) * side > 0]:
                self.known.pop(value)
                self.fits.pop(value, None)
        return float(near)

    def _longest_step(self) -> float:
        """Return an upper bound of the first step: Wald intervals of separated data are meaningless."""
        if not self.core.has_boundary:
            return np.inf
        column = np.hstack([self.core.X, self.core.Z])[:, self.j]
        return MAX_STEP_LENGTH / float(np.sqrt(np.mean(column**2)))

    def _excess(self, value: float, cut: float) -> float:
        """Return the root of the likelihood ratio at a value minus its critical value."""
        drop = min(max(self.llf - self(value), 0.0), MAX_DROP)
        return float(np.sqrt(2 * drop) - np.sqrt(cut))

    def _bracket(self, near: float, step: float, cut: float) -> tuple[float, float] | None:
        """Return values that bracket the limit, None if the profile does not decrease that far."""
        far, flat = near + step, 0
        while self._excess(far, cut) < 0:
            # a profile that no longer decreases has a lower bound; further steps would only underflow
            flat = flat + 1 if self(near) - self(far) <= self.noise else 0
            distance = abs(far - self.estimate)
            if flat == N_FLAT_STEPS or distance > MAX_HALF_WIDTHS * abs(step):
                return None
            near, far = far, self.estimate + STEP_GROWTH * (far - self.estimate)
        return near, far

    def evaluate(self, values: Array) -> None:
        """Evaluate the profile at values on one side of the estimate, the nearest first."""
        for value in values:
            self.largest(float(value))

    @property
    def path(self) -> Profile:
        """The profile at all values evaluated so far."""
        values, profile = (np.array(a) for a in zip(*sorted(self.known.items()), strict=True))
        return Profile(self.name, self.estimate, self.llf, values, profile)


def profile(res: Any, name: str, values: Any, alpha: float) -> Profile:
    """Return the profile of a coefficient at some values; see `InferenceMethods.profile`."""
    names = res.model.parameter_names
    if name not in names:
        raise ValueError(f"name={name!r}: choose one of {listed(names)}")
    j = names.index(name)
    if not res.fit.estimated[j]:
        raise ValueError(f"{name}: aliased or at the boundary, so it has no profile")
    found = _of_coefficient(res, j)
    if values is None:
        alpha = checks.share(alpha, "alpha")
        ends = intervals(res, [j], alpha)[0]
        wald = res.conf_int(alpha, [j])[0]
        low, high = np.where(np.isfinite(ends), ends, wald)
        values = np.linspace(low, high, N_VALUES)
    values = np.sort(checks.finite_values(values, "values"))
    found.evaluate(values[values >= found.estimate])
    found.evaluate(values[values < found.estimate][::-1])
    return found.path


def _of_coefficient(res: Any, j: int) -> CoefficientProfile:
    """Return the profile of coefficient j, evaluated at the estimate only."""
    of = fitted_of(res)
    return CoefficientProfile(of.core, of.fit, of.names, of.estimable, j)


def intervals(res: Any, columns: list[int], alpha: float) -> Array:
    """
    Return profile-likelihood intervals.

    Parameters
    ----------
    res : LocationScaleResults
    columns : list of int
        Positions of the coefficients.
    alpha : float
        One minus the coverage.

    Returns
    -------
    ndarray, shape (len(columns), 2)
        Infinite where the likelihood does not decrease that far, NaN without an estimate.
    """
    model_based = covariance(res.core, res.fit, "nonrobust", {}, False, 0.0).matrix
    half = half_width(res, alpha) * np.sqrt(np.diag(model_based))
    cut = float(stats.chi2.isf(alpha, 1))
    out = np.full((len(columns), 2), np.nan)
    for row, j in zip(out, columns, strict=True):
        if np.isfinite(half[j]):
            row[0], row[1] = (
                _of_coefficient(res, j).limit(half[j], side, cut) for side in (-1.0, 1.0)
            )
    return out


def boundary_limits(
    core: Likelihood, fit: Fit, names: list[str], shown: list[str], alpha: float
) -> pd.DataFrame:
    """
    Return the upper profile-likelihood limit of the dispersion in each cell at the boundary.

    Parameters
    ----------
    core : Likelihood
        Of the rows of the fit, none fixed at the boundary.
    fit : Fit
        With a boundary.
    names, shown : list of str
        Names of all coefficients, and of the dispersion's columns.
    alpha : float
        One minus the coverage.

    Returns
    -------
    DataFrame
        A row for each cell: number of rows, the estimate 0, and the dispersion at which the
        likelihood ratio, maximised over all else, equals the chi-square quantile.
    """
    assert fit.boundary is not None
    table = []
    for cell in fit.boundary.cells:
        rows = fit.boundary.rows & np.all(core.Z == cell, axis=1)
        table.append(
            (_label(cell, shown), int(rows.sum()), 0.0, _limit(core, fit, rows, names, alpha))
        )
    columns = ["cell", "rows", core.family.symbol, "upper"]
    return pd.DataFrame(table, columns=columns).set_index("cell")


def _label(cell: Array, shown: list[str]) -> str:
    terms = zip(cell, shown, strict=True)
    return " + ".join(name if v == 1 else f"{v:g} {name}" for v, name in terms if v != 0)


def _limit(core: Likelihood, fit: Fit, rows: Array, names: list[str], alpha: float) -> float:
    """Return the limit of one cell; infinite where the likelihood does not decrease that far."""
    assert fit.boundary is not None
    cut, start = stats.chi2.isf(alpha, 1), fit.internal
    zero = fit.boundary.fixed_predictor

    def drop(log_phi: float) -> float:
        nonlocal start
        at_value = replace(core, fixed_predictor=np.where(rows, log_phi, zero))
        found = search(at_value, fit.solved, start, Settings(names))
        start = found.internal
        return float(2 * (fit.llf - found.llf) - cut)

    low = max(-np.log(core.boundary_family.boundary_scale(core.rows)[rows].max()) - 12, MIN_LOG_PHI)
    high = low + 4
    while drop(high) < 0:
        low, high = high, high + 2
        if high > MAX_LOG_PHI:
            return np.inf
    return float(np.exp(brentq(drop, low, high, xtol=TOL_LOG_PHI)))
