"""Profile likelihood: of a coefficient, and of the dispersion of a boundary cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq

from hetglm import _arrays, _fit, plots
from hetglm._fit import Fit, RemlFit, Settings, maximum, search
from hetglm._likelihood import Likelihood

Array = NDArray[Any]

#: Relative precision of a limit; factor by which a step towards it grows,
#: and half-widths beyond which there is none.
PRECISE, GROWTH, FARTHEST = 1e-9, 1.6, 1e3
#: A fall of the log-likelihood that is as good as any other.
BOTTOMLESS = 1e6
#: A profile may be this much above the maximum, per unit of log-likelihood, by rounding alone.
ROUNDING = 1e-9

#: Smallest and largest log phi looked at, and the tolerance of the limit on that scale.
LOWEST, HIGHEST, TOLERANCE = -80.0, 40.0, 1e-8


@dataclass(frozen=True)
class Profile:
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
        cut = stats.norm.isf(_arrays.share(alpha, "alpha") / 2)
        beyond = [cut > -root.x[0], cut > root.x[-1]]
        limits = root(np.clip([-cut, cut], root.x[0], root.x[-1]))
        return np.where(beyond, [-np.inf, np.inf], limits)

    def of_root(self) -> PchipInterpolator:
        """Return the coefficient as a function of the signed root, where that rises."""
        finite = np.isfinite(self.root)
        root, values = self.root[finite], self.values[finite]
        rising = np.diff(root, prepend=-np.inf) > 0
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


class Along:
    """The profile of one coefficient of a fit; each point is remembered and starts the next."""

    def __init__(self, core: Likelihood, fit: Fit, names: list[str], estimable: Array, j: int):
        self.core, self.fit, self.j = core, fit, j
        self.names, self.estimable = np.delete(names, j).tolist(), np.delete(estimable, j)
        self.name, self.estimate = names[j], float(fit.params[j])
        self.reml = isinstance(fit, RemlFit)
        if self.reml and j < core.k_mean:
            raise ValueError(
                f"{self.name}: REML criteria of different means cannot be compared, so there is no "
                "profile; use method='wald', or fit by maximum likelihood"
            )
        self.llf = maximum(fit)
        self.known = {self.estimate: self.llf}
        self._start = np.delete(fit.internal, j)

    def __call__(self, value: float) -> float:
        """Return the largest log-likelihood with the coefficient at a value."""
        if value not in self.known:
            core = fixed(self.core, self.j, value)
            if core.loglike(self._start) == -np.inf:  # half the way is nearer to where it is not
                self.known[value] = -np.inf
                return -np.inf
            found = _fit.fit(core, self.names, self.estimable, self._start, reml=self.reml)
            llf, self._start = maximum(found), found.internal
            if llf > self.llf + ROUNDING * (1 + abs(self.llf)):
                raise ValueError(
                    f"the profile of {self.name} found a log-likelihood {llf - self.llf:.3g} above the "
                    f"fit's, at {value:.6g}: the fit is not at its maximum; refit it with start_params "
                    "from there"
                )
            self.known[value] = llf
        return self.known[value]

    def limit(self, step: float, cut: float) -> float:
        """
        Return where the profile has fallen by half of ``cut`` on one side, infinity if nowhere.

        ``step`` is where the Wald interval ends, from the estimate.
        """

        def above(value: float) -> float:
            drop = min(max(self.llf - self(value), 0.0), BOTTOMLESS)
            return float(np.sqrt(2 * drop) - np.sqrt(cut))

        near, far, start = self.estimate, self.estimate + step, self._start
        while above(far) < 0:
            # a profile that has stopped falling has a floor; to go on would only underflow
            floor = self(near) - self(far) <= ROUNDING * (1 + abs(self.llf))
            if floor or abs(far - self.estimate) > FARTHEST * abs(step):
                return float(np.copysign(np.inf, step))
            near, far = far, self.estimate + GROWTH * (far - self.estimate)
        self._start = start
        return float(brentq(above, near, far, xtol=1e-12 * abs(step), rtol=PRECISE))

    def out_to(self, values: Array) -> None:
        """Evaluate the profile at values on one side, the nearest first."""
        self._start = np.delete(self.fit.internal, self.j)
        for value in values:
            self(float(value))

    @property
    def trace(self) -> Profile:
        """What is known of the profile."""
        values, profile = (np.array(a) for a in zip(*sorted(self.known.items()), strict=True))
        return Profile(self.name, self.estimate, self.llf, values, profile)


def intervals(
    along: Callable[[int], Along], columns: list[int], half: Array, alpha: float
) -> Array:
    """
    Return profile-likelihood intervals.

    Parameters
    ----------
    along : callable
        Makes the profile of a coefficient.
    columns : list of int
    half : ndarray, shape (p + q,)
        Half-widths of the Wald intervals; NaN where there is no estimate.
    alpha : float
        One minus the coverage.

    Returns
    -------
    ndarray, shape (len(columns), 2)
        Infinite where the likelihood does not fall that far, NaN without an estimate.
    """
    cut = float(stats.chi2.isf(alpha, 1))
    out = np.full((len(columns), 2), np.nan)
    for row, j in zip(out, columns, strict=True):
        if np.isfinite(half[j]):
            row[0], row[1] = (along(j).limit(side * half[j], cut) for side in (-1.0, 1.0))
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
    zero = fit.boundary.held

    def drop(log_phi: float) -> float:
        nonlocal start
        held = replace(core, held=np.where(rows, log_phi, zero))
        found = search(held, fit.solved, start, Settings(names))
        start = found.internal
        return float(2 * (fit.llf - found.llf) - cut)

    low = max(-np.log(core.family.size(core.rows)[rows].max()) - 12, LOWEST)
    high = low + 4
    while drop(high) < 0:
        low, high = high, high + 2
        if high > HIGHEST:
            return np.inf
    return float(np.exp(brentq(drop, low, high, xtol=TOLERANCE)))
