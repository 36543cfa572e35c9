"""Residuals scaled by simulation, and tests of the fitted distribution by parametric bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from hetglm.diagnostics import residuals
from hetglm.estimation import record
from hetglm.estimation.record import Fitted
from hetglm.estimation.refit import refit
from hetglm.families.tails import has_atom
from hetglm.inference import bootstrap
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks, parallel
from hetglm.utils.display import Printed
from hetglm.utils.parallel import Run, replicate

#: The tests and their alternatives.
TESTS = {
    "uniformity": "greater",
    "dispersion": "two-sided",
    "outliers": "greater",
    "zeros": "two-sided",
}
#: Number of responses drawn at a time: 32 MB.
MAX_DRAWS = 1 << 22
#: Relative difference of two statistics that may be rounding; they then count as equal.
TOL_ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class SimulatedResiduals(Printed):
    """
    Residuals scaled by simulation, and tests of the fitted distribution.

    Attributes
    ----------
    scaled : ndarray, shape (nobs,)
        Randomised rank of each response among ``nsim`` simulated ones, scaled to 0 to 1 (simulated
        probability integral transform): uniform under the model.
    rows : ndarray of int, shape (nobs,)
        Row of each residual, as position in the data passed by the user; a row of frequency f occurs
        f times.
    statistics : ndarray, shape (4,)
        Test statistics of the data, in the order of ``summary_frame()``.
    simulated : ndarray, shape (nsim - failed, 4)
        Test statistics of data simulated from the fit.
    nsim : int
    refit : bool
        Whether the model was refitted to each simulated data set.
    reasons : dict
        Reasons of the failed refits, with counts.
    """

    scaled: Array
    rows: Array
    statistics: Array
    simulated: Array
    nsim: int
    refit: bool
    reasons: dict[str, int]

    @property
    def failed(self) -> int:
        """Number of failed refits, which the tests leave out."""
        return self.nsim - len(self.simulated)

    @property
    def outliers(self) -> Array:
        """Positions, in the data passed, of rows outside the range of their simulated responses."""
        beyond = (self.scaled < 1 / (self.nsim + 1)) | (self.scaled > self.nsim / (self.nsim + 1))
        return np.unique(self.rows[beyond])

    @property
    def pvalues(self) -> Array:
        """P of each test, shape (4,); NaN for zeros where the response cannot be 0."""
        slack = TOL_ROUNDING * np.abs(self.statistics)
        above = self._share(self.simulated >= self.statistics - slack)
        below = self._share(self.simulated <= self.statistics + slack)
        two = np.minimum(2 * np.minimum(above, below), 1.0)
        one_sided = np.array([side == "greater" for side in TESTS.values()])
        return np.where(np.isnan(self.statistics), np.nan, np.where(one_sided, above, two))

    def _share(self, counted: Array) -> Array:
        return (1 + counted.sum(axis=0)) / (1 + len(self.simulated))

    def summary_frame(self) -> pd.DataFrame:
        """
        Return the tests as a table.

        Returns
        -------
        DataFrame
            Rows ``uniformity``: Kolmogorov-Smirnov distance of the probability integral transforms
            from the uniform distribution; ``dispersion``: mean fourth power of the quantile residuals
            over 3; ``outliers``: largest absolute quantile residual; ``zeros``: number of zeros.
            Columns ``statistic``; ``expected``, the mean of the simulated statistics;
            ``alternative``; ``P``.
        """
        table = {
            "statistic": self.statistics,
            "expected": self.simulated.mean(axis=0),
            "alternative": list(TESTS.values()),
            "P": self.pvalues,
        }
        return pd.DataFrame(table, index=list(TESTS))

    def _headline(self) -> str:
        how = "each with a refit" if self.refit else "without refits, so P is too large"
        failures = f"; {self.failed} refits failed: {self.reasons}" if self.failed else ""
        return f"Fitted distribution against {self.nsim} simulations, {how}{failures}"

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame()]


@dataclass(frozen=True)
class _Simulation:
    """One replicate: the test statistics of data drawn from the fit."""

    fitted: Fitted
    again: bool

    def __call__(self, rng: np.random.Generator) -> Array:
        drawn, fitted = self.simulator(rng), self.fitted
        fit = refit(fitted, drawn) if self.again else fitted.with_estimates(drawn)
        return statistics(fitted.rows_at(drawn, fit), fit.internal, rng)

    @cached_property
    def simulator(self) -> bootstrap.Simulator:
        """Draws responses."""
        return bootstrap.simulator(self.fitted)


def statistics(core: Likelihood, params: Array, rng: np.random.Generator) -> Array:
    """Return the four test statistics of a fit to its data, shape (4,)."""
    r = residuals.quantile(core, params, rng)
    n = len(r)
    pit = np.sort(ndtr(r))
    step = np.arange(n + 1) / n
    distance = np.maximum(step[1:] - pit, pit - step[:-1]).max()
    fitted = quantities.distribution(core, params)
    zeros = float(np.sum(core.y == 0)) if has_atom(fitted) else np.nan
    return np.array([distance, np.mean(r**4) / 3, np.abs(r).max(), zeros])


def scaled(simulator: bootstrap.Simulator, y: Array, nsim: int, rng: np.random.Generator) -> Array:
    """Return the randomised rank of each response among simulated ones, scaled to 0 to 1, shape (n,)."""
    below, equal = np.zeros(len(y)), np.zeros(len(y))
    most = max(1, MAX_DRAWS // len(y))
    for first in range(0, nsim, most):
        drawn = simulator.responses(min(most, nsim - first), rng)
        below += (drawn < y).sum(axis=0)
        equal += (drawn == y).sum(axis=0)
    return (below + rng.uniform(size=len(y)) * (equal + 1)) / (nsim + 1)


def simulate_residuals(res: Any, nsim: int, rng: Any, again: bool, run: Run) -> SimulatedResiduals:
    """Return simulated residuals and tests of a fit; see the results' method."""
    nsim, generator = checks.count(nsim, "nsim"), checks.generator(rng)
    if again not in (True, False):
        raise ValueError(f"refit={again!r}: give True or False")
    fitted, rows = record.expanded_rows(record.fitted_of(res), np.arange(res.model.core.n))
    residuals.require_distribution(
        fitted.core, "simulated residuals", "plot_diagnostics() and bootstrap(kind='pairs')"
    )
    task = _Simulation(fitted, again)
    found = scaled(task.simulator, fitted.core.y, nsim, generator)
    here = fitted.rows_at(fitted.core, fitted.fit)
    observed = statistics(here, fitted.fit.internal, generator)
    done = replicate(task, nsim, generator, run, "simulated residuals", "")
    parallel.report_failures(done, "simulations")
    passed = res.model.core.names.positions[rows]
    return SimulatedResiduals(found, passed, observed, done.values, nsim, again, done.reasons)
