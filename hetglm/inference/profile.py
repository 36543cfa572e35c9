"""Profile likelihood: of a coefficient, and of the dispersion of a boundary cell."""

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
from hetglm.estimation.record import Fit, Settings, of_results
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

#: Relative precision of a limit; factor by which a step towards it grows,
#: and half-widths beyond which there is none.
PRECISE, GROWTH, FARTHEST = 1e-9, 1.6, 1e3
#: Steps in a row without a fall that make a floor: near a separated estimate one may be too short.
FLAT = 2
#: Iterations of a search from near by, few enough to make no others beside it, steps towards a value
#: that its neighbour's maximum is no start for, and times that another maximum may take over.
NEAR, STRIDES, BRANCHES = 30, 12, 10
#: A fall of the log-likelihood that is as good as any other.
BOTTOMLESS = 1e6
#: A profile may be this much above the maximum, per unit of log-likelihood, by rounding alone.
ROUNDING = 1e-9

#: Values of a profile by default.
N_VALUES = 21
#: Smallest and largest log phi looked at, and the tolerance of the limit on that scale.
LOWEST, HIGHEST, TOLERANCE = -80.0, 40.0, 1e-8


@dataclass(frozen=True, repr=False)
class Profile(Printed):
    """
    Log-likelihood along one coefficient, all else maximised.

    Attributes
    ----------
    name : str
    estimate : float
    llf : float
        The maximum, at the estimate.
    values, profile : ndarray, shape (k,)
        Values of the coefficient in ascending order, and the log-likelihood at each.
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
        """Signed root of the likelihood ratio, shape (k,): a straight line where Wald is right."""
        side = np.sign(self.values - self.estimate)
        return side * np.sqrt(2 * np.maximum(self.llf - self.profile, 0.0))

    def conf_int(self, alpha: float = 0.05) -> Array:
        """
        Return where the profile has fallen by half the chi-square quantile, as the trace has it.

        Parameters
        ----------
        alpha : float
            One minus the coverage.

        Returns
        -------
        ndarray, shape (2,)
            The signed root is interpolated between the values; infinite beyond the last one.
        """
        root = self.of_root()
        cut = stats.norm.isf(checks.share(alpha, "alpha") / 2)
        beyond = [cut > -root.x[0], cut > root.x[-1]]
        limits = root(np.clip([-cut, cut], root.x[0], root.x[-1]))
        return np.where(beyond, [-np.inf, np.inf], limits)

    def of_root(self) -> PchipInterpolator:
        """Return the coefficient as a function of the signed root, where that rises."""
        finite = np.isfinite(self.root)
        root, values = self.root[finite], self.values[finite]
        rising = root > np.r_[-np.inf, np.maximum.accumulate(root)[:-1]]
        return PchipInterpolator(root[rising], values[rising])

    def plot(self, *, alpha: float = 0.05, ax: Any = None) -> Any:
        """
        Draw the log-likelihood below its maximum, the estimate and the interval.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        ax : matplotlib Axes, optional

        Returns
        -------
        matplotlib Axes
            With the parabola of equal curvature, where Wald intervals come from, dashed.
        """
        return picture(self, self.conf_int(alpha), alpha, ax)


def picture(trace: Profile, limits: Array, alpha: float, ax: Any) -> Any:
    """Draw a profile with an interval of coverage 1 - alpha; see `Profile.plot`."""
    cut = float(stats.chi2.isf(alpha, 1)) / 2
    return plots.plot_profile(trace, limits, cut, f"{100 * (1 - alpha):g} %", ax)


def fixed(core: Likelihood, j: int, value: float) -> Likelihood:
    """Return the likelihood of the other coefficients with coefficient j at a value."""
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


def _cold(core: Likelihood, estimable: Array) -> Array | None:
    """Return a start from the response alone, None if it finds none."""
    try:
        return next(starting_values(core, estimable))
    except ValueError:
        return None


class Along:
    """The profile of one coefficient of a fit; each point is remembered and starts those near by."""

    def __init__(self, core: Likelihood, fit: Fit, names: list[str], estimable: Array, j: int):
        self.core, self.fit, self.j = core, fit, j
        self.names, self.estimable = np.delete(names, j).tolist(), np.delete(estimable, j)
        self.name, self.estimate = names[j], float(fit.params[j])
        self.criterion = fit.criterion
        if not self.criterion.comparable_means and j < core.k_mean:
            raise ValueError(
                f"{self.name}: {self.criterion.name} criteria of different means cannot be compared, "
                "so there is no profile; use method='wald', or fit by maximum likelihood"
            )
        self.llf = fit.maximum
        self.slight = ROUNDING * (1 + abs(self.llf))
        self.known = {self.estimate: self.llf}
        others = replace(fit, internal=np.delete(fit.internal, j), solved=np.delete(fit.solved, j))
        self.fits = {self.estimate: others}

    def __call__(self, value: float) -> float:
        """Return the log-likelihood with the coefficient at a value, maximised from near by."""
        if value not in self.known:
            self._walk(value)
        if value not in self.known:
            start = _cold(fixed(self.core, self.j, value), self.estimable)
            if start is None:
                self.known[value] = -np.inf
            else:
                self._search(value, start, thorough=True)
        return self.known[value]

    def largest(self, value: float) -> float:
        """Return the largest log-likelihood with the coefficient at a value, of all maxima met."""
        if self(value) > -np.inf and self.core.has_boundary:  # others have no other starts
            self._search(value, self.fits[value].internal, thorough=True)
        return self.known[value]

    def _walk(self, value: float) -> None:
        """Search from the nearest point, in shorter steps where what it predicts is no start."""
        near, share = min(self.fits, key=lambda at: abs(at - value)), 1.0
        for _ in range(STRIDES):
            at = value if share == 1 else near + share * (value - near)
            start = self._predicted(near, at)
            if start is None:
                share *= 0.5
                continue
            self._search(at, start)
            if at == value:
                return
            near, share = at, 1.0

    def _predicted(self, near: float, value: float) -> Array | None:
        """Return the likelier of the other coefficients near by and where their tangent leads to."""
        fit, core = self.fits[near], fixed(self.core, self.j, value)
        starts = [fit.internal]
        if fit.boundary is None:
            here = np.insert(fit.internal, self.j, near)
            with np.errstate(all="ignore"):  # what comes of it is judged by its likelihood
                information = -self.core.hessian(self.core.factors(here))
                solved = np.flatnonzero(np.insert(fit.solved, self.j, False))
                along = information[solved, self.j] * (value - near)
                moved = solve_scaled(information[np.ix_(solved, solved)], along)
            if moved is not None:
                starts.append(fit.internal.copy())
                starts[1][fit.solved] -= moved
        values = [core.loglike(start) for start in starts]
        best = int(np.argmax(values))
        return starts[best] if values[best] > -np.inf else None

    def _search(self, value: float, start: Array, thorough: bool = False) -> None:
        """Remember the maximum that a start leads to; thorough, the largest that other starts find."""
        given = (fixed(self.core, self.j, value), self.names, self.estimable, start)
        found = None if thorough else fit_module.fit(*given, criterion=self.criterion, maxiter=NEAR)
        if found is None or not found.converged:
            found = fit_module.fit(*given, criterion=self.criterion)
        llf = found.maximum
        if llf > self.llf + self.slight:
            raise ValueError(
                f"the profile of {self.name} found a log-likelihood {llf - self.llf:.3g} above the "
                f"fit's, at {value:.6g}: the fit is not at its maximum; refit it with start_params "
                "from there"
            )
        if llf > self.known.get(value, -np.inf):
            self.known[value], self.fits[value] = llf, found

    def limit(self, half: float, side: float, cut: float) -> float:
        """
        Return where the profile has fallen by half of ``cut`` on one side, infinity if nowhere.

        ``half`` is the half-width of the Wald interval, ``side`` -1 or 1.
        """
        step, near = side * min(half, self._furthest()), self.estimate
        for _ in range(BRANCHES):
            ends = self._beyond(near, step, cut)
            if ends is None:
                return float(np.copysign(np.inf, side))
            near = brentq(self._above, *ends, args=(cut,), xtol=1e-12 * abs(step), rtol=PRECISE)
            met = self(near)
            if self.largest(near) <= met + self.slight:
                break
            # another maximum is larger there: what is known of the way on was the wrong one's
            for value in [v for v in self.known if (v - near) * side > 0]:
                self.known.pop(value)
                self.fits.pop(value, None)
        return float(near)

    def _furthest(self) -> float:
        """Return the longest sensible first step: a Wald interval of separated data has no meaning."""
        if not self.core.has_boundary:
            return np.inf
        column = np.hstack([self.core.X, self.core.Z])[:, self.j]
        return MAX_STEP_LENGTH / float(np.sqrt(np.mean(column**2)))

    def _above(self, value: float, cut: float) -> float:
        """Return how much more than the cut the profile has fallen, on the scale of the root."""
        drop = min(max(self.llf - self(value), 0.0), BOTTOMLESS)
        return float(np.sqrt(2 * drop) - np.sqrt(cut))

    def _beyond(self, near: float, step: float, cut: float) -> tuple[float, float] | None:
        """Return values between which the profile falls through the cut, None if it does not."""
        far, level = near + step, 0
        while self._above(far, cut) < 0:
            # a profile that has stopped falling has a floor; to go on would only underflow
            level = level + 1 if self(near) - self(far) <= self.slight else 0
            if level == FLAT or abs(far - self.estimate) > FARTHEST * abs(step):
                return None
            near, far = far, self.estimate + GROWTH * (far - self.estimate)
        return near, far

    def out_to(self, values: Array) -> None:
        """Evaluate the profile at values on one side, the nearest first."""
        for value in values:
            self.largest(float(value))

    @property
    def trace(self) -> Profile:
        """What is known of the profile."""
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
    along = _along(res, j)
    if values is None:
        alpha = checks.share(alpha, "alpha")
        ends = intervals(res, [j], alpha)[0]
        wald = res.conf_int(alpha, [j])[0]
        low, high = np.where(np.isfinite(ends), ends, wald)
        values = np.linspace(low, high, N_VALUES)
    values = np.sort(checks.finite_values(values, "values"))
    along.out_to(values[values >= along.estimate])
    along.out_to(values[values < along.estimate][::-1])
    return along.trace


def _along(res: Any, j: int) -> Along:
    """Return the profile of coefficient j, of which only the maximum is known yet."""
    of = of_results(res)
    return Along(of.core, of.fit, of.names, of.estimable, j)


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
        Infinite where the likelihood does not fall that far, NaN without an estimate.
    """
    model_based = covariance(res.core, res.fit, "nonrobust", {}, False, 0.0).matrix
    half = half_width(res, alpha) * np.sqrt(np.diag(model_based))
    cut = float(stats.chi2.isf(alpha, 1))
    out = np.full((len(columns), 2), np.nan)
    for row, j in zip(out, columns, strict=True):
        if np.isfinite(half[j]):
            row[0], row[1] = (_along(res, j).limit(half[j], side, cut) for side in (-1.0, 1.0))
    return out


def boundary_limits(
    core: Likelihood, fit: Fit, names: list[str], shown: list[str], alpha: float
) -> pd.DataFrame:
    """
    Return the profile-likelihood limit of the dispersion in each cell at the boundary.

    Parameters
    ----------
    core : Likelihood
        Of the rows of the fit, none held.
    fit : Fit
        With a boundary.
    names, shown : list of str
        Names of all coefficients, and of the dispersion's columns.
    alpha : float
        One minus the coverage.

    Returns
    -------
    DataFrame
        A row for each cell: number of rows, the estimate 0, and the dispersion at which twice the
        log-likelihood has fallen by the chi-square quantile, all else maximised.
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
    """Return the limit of one cell; infinity where the likelihood never falls that far."""
    assert fit.boundary is not None
    cut, start = stats.chi2.isf(alpha, 1), fit.internal
    zero = fit.boundary.fixed_predictor

    def drop(log_phi: float) -> float:
        nonlocal start
        held = replace(core, fixed_predictor=np.where(rows, log_phi, zero))
        found = search(held, fit.solved, start, Settings(names))
        start = found.internal
        return float(2 * (fit.llf - found.llf) - cut)

    low = max(-np.log(core.boundary_family.boundary_scale(core.rows)[rows].max()) - 12, LOWEST)
    high = low + 4
    while drop(high) < 0:
        low, high = high, high + 2
        if high > HIGHEST:
            return np.inf
    return float(np.exp(brentq(drop, low, high, xtol=TOLERANCE)))
