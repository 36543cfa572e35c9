"""Parametric bootstrap test of a likelihood ratio: data are drawn from the null model."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, singledispatch
from typing import Any, NamedTuple

import numpy as np

from hetglm.estimation.record import TOL_LLF, Fitted, expanded_rows, identifying
from hetglm.estimation.refit import refit_both
from hetglm.inference.bootstrap import simulator
from hetglm.inference.bootstrap_results import BootstrapRatio
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.checks import generator
from hetglm.utils.parallel import N_REPLICATES, Replicate, Run, replicate, report_failures


@dataclass(frozen=True)
class Ratio:
    """One replicate of a likelihood ratio: draw from the smaller model, refit both."""

    null: Fitted
    full: Fitted

    def __call__(self, rng: np.random.Generator) -> Array:
        """Return the ratio of a draw, shape (1,)."""
        draw = self.simulator(rng)
        for warm in (True, False):
            null, full = refit_both(self.full, self.null, draw, warm)
            ratio = 2 * (full.maximum - null.maximum)
            if ratio >= -TOL_LLF * (1 + abs(full.llf)):
                return np.array([ratio])
        raise ValueError("the larger model was fitted with a smaller maximum than its submodel")

    @cached_property
    def simulator(self) -> Callable[[np.random.Generator], Likelihood]:
        """Draws data from the smaller model."""
        return simulator(self.null)


@singledispatch
def observed_ratio(full: Fitted, null: Fitted) -> float:
    """Return the ratio of two fits, by the criterion that those of draws are compared by."""
    return float(2 * (full.fit.maximum - null.fit.maximum))


def bootstrap_ratio(
    null: Fitted,
    full: Fitted,
    nrep: int = N_REPLICATES,
    rng: Any = None,
    *,
    sequential: int | None = None,
    run: Run | None = None,
    what: str = "the likelihood ratio",
) -> tuple[float, BootstrapRatio]:
    """
    Test a smaller model against a larger one by a parametric bootstrap of their likelihood ratio.

    Parameters
    ----------
    null, full : Fitted
        Of the same rows and responses; see `fitted_of`.
    nrep : int
        Draws from the smaller model; both are refitted to each.
    rng : None, int or numpy.random.Generator
        Source of randomness.
    sequential : int, optional
        Stop after this many draws with a ratio at least as large as the observed one: few draws
        suffice for a large p-value.
    run : Run, optional
        Jobs, progress bar and checkpoint.
    what : str
        Name of the test, for the progress bar and messages.

    Returns
    -------
    pvalue : float
    details : BootstrapRatio

    Raises
    ------
    NotImplementedError
        For extended quasi-likelihood families, which have no distribution to draw from.
    ValueError
        If an argument is out of range, the larger model has a smaller maximum than its submodel, or
        every refit failed.

    References
    ----------
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, 4.2.
    Besag, J. and Clifford, P. (1991). Sequential Monte Carlo p-values. Biometrika 78, 301-304.
    """
    statistic = observed_ratio(full, null)
    if statistic < -TOL_LLF * (1 + abs(full.fit.llf)):
        raise ValueError(
            "the larger model has a smaller maximum than its submodel, so it is not at its maximum: "
            "refit it with start_params from the submodel"
        )
    simulator(null)  # raises, before any work, where the family has none
    null, full = (
        expanded_rows(fitted)[0] for fitted in (null, full)
    )  # each row is drawn on its own
    identity = fingerprint(*identifying(null), *identifying(full))
    found = exceedances(
        Ratio(null, full), statistic, nrep, rng, sequential, run or Run(), identity, what
    )
    return found.pvalue, found


class SimulatedP(NamedTuple):
    """P of a bootstrap in a table, its Monte-Carlo standard error, draws counted and failed refits."""

    pvalue: float = np.nan
    mc_error: float = np.nan
    draws: int = 0
    failed: int = 0


class Simulation:
    """
    Settings of the bootstrap tests of a table: `bootstrap_ratio` for each p-value in turn.

    Parameters
    ----------
    nrep : int
    rng : None, int or numpy.random.Generator
        Source of randomness of all p-values; each uses one draw of it as its seed.
    sequential : int or None
    run : Run
        The first bootstrap uses its checkpoint, the others the same name with -2, -3, ... appended.
    """

    def __init__(self, nrep: int, rng: Any, sequential: int | None, run: Run) -> None:
        checks.draws(nrep, rng, sequential)
        self.nrep, self.sequential, self.run, self.done = nrep, sequential, run, 0
        self.rng = None if rng is None else generator(rng)

    def __call__(self, null: Fitted, full: Fitted, what: str) -> SimulatedP:
        """Return the bootstrap P of the likelihood ratio of two fits."""
        self.done += 1
        run = self.run
        if run.checkpoint is not None and self.done > 1:
            run = replace(run, checkpoint=f"{os.fspath(run.checkpoint)}-{self.done}")
        p, found = bootstrap_ratio(
            null, full, self.nrep, self.rng, sequential=self.sequential, run=run, what=what
        )
        return SimulatedP(p, found.mc_error, len(found.ratios), found.failed)


def exceedances(
    task: Callable[[np.random.Generator], Array],
    statistic: float,
    nrep: int,
    rng: Any,
    sequential: int | None,
    run: Run,
    identity: str,
    what: str,
) -> BootstrapRatio:
    """Return how often a task's statistic is at least the observed one; see `bootstrap_ratio`."""
    least = statistic - TOL_LLF * (1 + abs(statistic))
    wanted = None if sequential is None else checks.count(sequential, "sequential")

    def enough(outcomes: list[Replicate]) -> int:
        hits = [i for i, o in enumerate(outcomes) if not isinstance(o, str) and o[0] >= least]
        return hits[wanted - 1] + 1 if wanted is not None and len(hits) >= wanted else 0

    done = replicate(
        task,
        nrep,
        rng,
        run,
        f"bootstrap of {what}",
        identity,
        enough if wanted else None,
    )
    report_failures(done, "draws")
    ratios = done.values[:, 0]
    exceeded, count = int((ratios >= least).sum()), len(ratios)
    stopped = exceeded == wanted
    # binomial standard error, or negative binomial where the sequential rule stopped
    p = exceeded / count if stopped else (1 + exceeded) / (1 + count)
    # at the posterior mean of p under a flat prior, so that it is not 0 where every draw exceeds
    q = (1 + exceeded) / (2 + count)
    error = q * ((1 - q) / exceeded) ** 0.5 if stopped else (q * (1 - q) / count) ** 0.5
    return BootstrapRatio(statistic, ratios, done.nrep, exceeded, p, error, stopped, done.reasons)
