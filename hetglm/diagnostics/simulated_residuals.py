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
from hetglm.estimation.record import Fit, Fitted, at_fit
from hetglm.estimation.refit import refit
from hetglm.families.tails import has_atom
from hetglm.inference import bootstrap
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks, parallel
from hetglm.utils.display import Printed
from hetglm.utils.parallel import Run, replicate

#: The tests, with the side on which they look.
TESTS = {
    "uniformity": "greater",
    "dispersion": "two-sided",
    "outliers": "greater",
    "zeros": "two-sided",
}
#: Draws made at a time, 32 MB of them.
CELLS = 1 << 22
#: A statistic that is equal to another but for rounding is not larger.
ROUNDING = 1e-9


@dataclass(frozen=True, repr=False)
class SimulatedResiduals(Printed):
    """
    Residuals scaled by simulation, and tests of the fitted distribution.

    Attributes
    ----------
    scaled : ndarray, shape (nobs,)
        Place of each response among ``nsim`` simulated ones, between 0 and 1, ties broken at random:
        uniform under the model.
    rows : ndarray of int, shape (nobs,)
        Position, in the data that were passed, of the row that each is of; a row of frequency f comes
        f times.
    statistics : ndarray, shape (4,)
        Of the data, in the order of ``summary_frame()``.
    simulated : ndarray, shape (nsim - failed, 4)
        Of data simulated from the fit.
    nsim : int
    refit : bool
        Whether the model was fitted again to each simulated data set.
    reasons : dict
        Why refits failed, with counts.
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
        """Refits that failed; the tests leave them out."""
        return self.nsim - len(self.simulated)

    @property
    def outliers(self) -> Array:
        """Positions, in the data that were passed, of rows beyond every simulated response."""
        beyond = (self.scaled < 1 / (self.nsim + 1)) | (self.scaled > self.nsim / (self.nsim + 1))
        return np.unique(self.rows[beyond])

    @property
    def pvalues(self) -> Array:
        """P of each test, shape (4,); of zeros NaN where the response cannot be 0."""
        slack = ROUNDING * np.abs(self.statistics)
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
            Rows ``uniformity``: largest distance of the distribution of the quantile residuals' places
            from the uniform one; ``dispersion``: mean fourth power of the quantile residuals over 3;
            ``outliers``: the largest of them without its sign; ``zeros``: number of zeros. Columns
            ``statistic``; ``expected``, the mean of the simulated ones; ``alternative``; ``P``.
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
    """Task of a replicate: the statistics of data drawn from the fit."""

    fitted: Fitted
    again: bool

    def __call__(self, rng: np.random.Generator) -> Array:
        core = self.fitted.core
        drawn = core.with_response(self.distribution.rvs(size=core.n, random_state=rng))
        fit = refit(self.fitted, drawn) if self.again else self.fitted.fit
        return statistics(drawn, fit, rng)

    @cached_property
    def distribution(self) -> Any:
        """Fitted distribution of the rows."""
        return bootstrap.distribution(self.fitted)


def statistics(core: Likelihood, fit: Fit, rng: np.random.Generator) -> Array:
    """Return the four statistics of a fit to its data, shape (4,)."""
    held = at_fit(core, fit)
    r = residuals.quantile(held, fit.internal, rng)
    n = len(r)
    place = np.sort(ndtr(r))
    step = np.arange(n + 1) / n
    distance = np.maximum(step[1:] - place, place - step[:-1]).max()
    law = quantities.distribution(held, fit.internal)
    zeros = float(np.sum(core.y == 0)) if has_atom(law) else np.nan
    return np.array([distance, np.mean(r**4) / 3, np.abs(r).max(), zeros])


def scaled(frozen: Any, y: Array, nsim: int, rng: np.random.Generator) -> Array:
    """Return the place of each response among simulated ones, shape (n,); no n x nsim array."""
    below, equal = np.zeros(len(y)), np.zeros(len(y))
    most = max(1, CELLS // len(y))
    for first in range(0, nsim, most):
        shape = (min(most, nsim - first), len(y))
        drawn = frozen.rvs(size=shape, random_state=rng)
        below += (drawn < y).sum(axis=0)
        equal += (drawn == y).sum(axis=0)
    return (below + rng.uniform(size=len(y)) * (equal + 1)) / (nsim + 1)


def simulate_residuals(res: Any, nsim: int, rng: Any, again: bool, run: Run) -> SimulatedResiduals:
    """Return scaled residuals and tests of a fit; see the results' method."""
    nsim, generator = checks.count(nsim, "nsim"), checks.generator(rng)
    if again not in (True, False):
        raise ValueError(f"refit={again!r}: give True or False")
    fitted, rows = record.single_rows(record.of_results(res), np.arange(res.model.core.n))
    residuals.require_distribution(
        fitted.core, "simulated residuals", "plot_diagnostics() and bootstrap(kind='pairs')"
    )
    task = _Simulation(fitted, again)
    found = scaled(task.distribution, fitted.core.y, nsim, generator)
    observed = statistics(fitted.core, fitted.fit, generator)
    done = replicate(task, nsim, generator, run, "simulated residuals", "")
    parallel.report_failures(done, "simulations")
    passed = res.model.core.names.positions[rows]
    return SimulatedResiduals(found, passed, observed, done.values, nsim, again, done.reasons)
