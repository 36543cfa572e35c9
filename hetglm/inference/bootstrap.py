"""Bootstrap: refits to resampled rows, groups or simulated responses; ratios of two such refits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hetglm.design import arrays as arrays_module
from hetglm.design.arrays import generator
from hetglm.estimation.covariance import covariance
from hetglm.estimation.fit import at_fit, maximum
from hetglm.estimation.refit import Fitted, refit
from hetglm.estimation.reml import RemlFit
from hetglm.exceptions import BootstrapFailureWarning, EveryRefitFailedError
from hetglm.inference.bootstrap_results import BootstrapRatio, BootstrapResult
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import warn
from hetglm.utils.parallel import Outcome, Replicates, Run, replicate

KINDS = ("pairs", "parametric", "cluster")
#: A ratio may be this much below another, per unit of both, by rounding alone.
ROUNDING = 1e-9
#: Covariances that can be made of any resample; "cluster" needs the groups of the resample.
OF_RESAMPLES = ("nonrobust", "eim", "HC0", "HC1")


# -- tasks --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resampling:
    """
    Task of a replicate of the estimates.

    Attributes
    ----------
    fitted : Fitted
    kind : {"pairs", "parametric", "cluster"}
    codes : ndarray of int, shape (n,), or None
        Group of each row.
    cov_type : str
        Covariance of the refits' standard errors, "" for none.
    cov_kwds : dict
    df_resid : float
    """

    fitted: Fitted
    kind: str
    codes: Array | None
    cov_type: str
    cov_kwds: dict[str, Any]
    df_resid: float

    def __call__(self, rng: np.random.Generator) -> Array:
        """Return the estimates of a replicate, and their standard errors if wanted."""
        core, codes = self.drawn(rng)
        fit = refit(self.fitted, core)
        if not self.cov_type:
            return fit.params
        held = at_fit(core, fit)
        hessian = held.hessian(held.factors(fit.internal))
        fit = replace(fit, information=-hessian[np.ix_(fit.solved, fit.solved)])
        kwds = self.cov_kwds | ({"groups": codes} if self.cov_type == "cluster" else {})
        found = covariance(held, fit, self.cov_type, kwds, False, self.df_resid)
        return np.concatenate([fit.params, np.sqrt(np.diag(found.matrix))])

    def drawn(self, rng: np.random.Generator) -> tuple[Likelihood, Array | None]:
        """Return the likelihood of resampled data, and the groups of its rows."""
        core = self.fitted.core
        if self.kind == "parametric":
            return core.with_response(
                self.distribution.rvs(size=core.n, random_state=rng)
            ), self.codes
        codes = None
        if self.kind == "pairs":
            rows = rng.integers(core.n, size=core.n)
        else:
            drawn = rng.integers(len(self.members), size=len(self.members))
            rows = np.concatenate([self.members[g] for g in drawn])
            # a group drawn twice is two groups
            codes = np.repeat(np.arange(len(drawn)), [len(self.members[g]) for g in drawn])
        core = core.take(rows)
        if not np.array_equal(core.estimable(), self.fitted.estimable):
            raise ValueError("a column is aliased in the resample: a level is missing from it")
        return core, codes

    @cached_property
    def distribution(self) -> Any:
        """Fitted distribution of the rows."""
        return distribution(self.fitted)

    @cached_property
    def members(self) -> list[Array]:
        """Rows of each group."""
        assert self.codes is not None
        return np.split(
            np.argsort(self.codes, kind="stable"), np.cumsum(np.bincount(self.codes))[:-1]
        )

    def influence(self) -> Array:
        """Return the one-step jackknife of rows, or groups: by how much each moves the estimates."""
        fit = self.fitted.fit
        scores = at_fit(self.fitted.core, fit).score_obs(fit.internal)
        if self.kind == "cluster":
            scores = np.array([scores[rows].sum(axis=0) for rows in self.members])
        moved = np.full(scores.shape, np.nan)
        bread = inverse(fit.information)
        if bread is not None:
            moved[:, fit.solved] = scores[:, fit.solved] @ bread
        return moved


@dataclass(frozen=True)
class Ratio:
    """Task of a replicate of a likelihood ratio: data drawn from the smaller model."""

    null: Fitted
    full: Fitted

    def __call__(self, rng: np.random.Generator) -> Array:
        """Return the ratio of a draw, shape (1,)."""
        n = self.null.core.n
        full = self.full.core.with_response(self.distribution.rvs(size=n, random_state=rng))
        null = replace(self.null.core, y=full.y, rows=full.rows)
        for warm in (True, False):
            fits = refit(self.full, full, warm), refit(self.null, null, warm)
            ratio = 2 * (maximum(fits[0]) - maximum(fits[1]))
            if ratio >= -ROUNDING * (1 + abs(fits[0].llf)):
                return np.array([ratio])
        raise ValueError("the larger model ended below the smaller one")

    @cached_property
    def distribution(self) -> Any:
        """Distribution of the rows under the smaller model."""
        return distribution(self.null)


def distribution(fitted: Fitted) -> Any:
    """Return the fitted distribution of the rows; EQL families have none."""
    return quantities.distribution(at_fit(fitted.core, fitted.fit), fitted.fit.internal)


def simulate(core: Likelihood, params: Array, nsim: int, rng: Any) -> Array:
    """Return ``nsim`` responses drawn from the fitted distribution, shape (nsim, n)."""
    nsim = arrays_module.count(nsim, "nsim")
    quantities.need_rows(core)
    frozen = quantities.distribution(core, params)
    draws = frozen.rvs(size=(nsim, core.n), random_state=generator(rng))
    return np.asarray(draws, dtype=float)


# -- what results call ----------------------------------------------------------------------------


def bootstrap(
    res: Any, nrep: int, kind: str | None, rng: Any, groups: Any, studentized: bool, run: Run
) -> BootstrapResult:
    """Return refits to resampled data; see the results' method."""
    nrep = arrays_module.count(nrep, "nrep")
    of = of_results(res)
    kind, groups = _resampled(res, kind, groups)
    cov_type, cov_kwds = ("", {}) if not studentized else _covariance_of(res, kind, groups)
    fitted, groups = single_rows(of, groups)
    task = Resampling(fitted, kind, groups, cov_type, cov_kwds, res.df_resid)
    if kind == "parametric":
        distribution(fitted)  # a family without one says so before any work
    what = f"{kind} bootstrap"
    identity = fingerprint(*identifying(fitted), kind, groups, cov_type, sorted(cov_kwds.items()))
    done = replicate(task, nrep, rng, run, what, identity)
    _report(done, "replicates")
    k = len(fitted.names)
    influence = task.influence()
    return BootstrapResult(
        done.values[:, :k],
        nrep,
        done.failed,
        kind,
        done.reasons,
        np.array(fitted.fit.params),
        fitted.names,
        np.asarray(res.bse, dtype=float),
        done.values[:, k:] if studentized else None,
        (influence**3).sum(axis=0) / (6 * (influence**2).sum(axis=0) ** 1.5),
    )


def bootstrap_ratio(
    null: Fitted,
    full: Fitted,
    nrep: int = 999,
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
        Of the same rows and responses; see `of_results`.
    nrep : int
        Draws from the smaller model; both are refitted to each.
    rng : None, int or numpy.random.Generator
        Source of randomness.
    sequential : int, optional
        Stop at the draw that brings so many ratios at least as large as that of the data: few
        draws settle a large p-value.
    run : Run, optional
        Jobs, progress bar and checkpoint.
    what : str
        What the ratio is of, for the progress bar and messages.

    Returns
    -------
    pvalue : float
    details : BootstrapRatio

    Raises
    ------
    NotImplementedError
        For extended quasi-likelihood families, which have no distribution to draw from.
    ValueError
        If an argument is out of range, the larger model is below the smaller one, or every refit
        failed.

    References
    ----------
    Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, 4.2.
    Besag, J. and Clifford, P. (1991). Sequential Monte Carlo p-values. Biometrika 78, 301-304.
    """
    statistic = 2 * (maximum(full.fit) - maximum(null.fit))
    if statistic < -ROUNDING * (1 + abs(full.fit.llf)):
        raise ValueError("the larger model is below the smaller one: it is not at its maximum")
    distribution(null)  # a family without one says so before any work
    null, full = (single_rows(fitted)[0] for fitted in (null, full))  # a draw for each of them
    identity = fingerprint(*identifying(null), *identifying(full))
    found = exceedances(
        Ratio(null, full), statistic, nrep, rng, sequential, run or Run(), identity, what
    )
    return found.pvalue, found


class SimulatedP(NamedTuple):
    """P of a bootstrap in a table: its Monte-Carlo error, the draws that count and those that failed."""

    pvalue: float = np.nan
    mc_error: float = np.nan
    draws: int = 0
    failed: int = 0


class Simulation:
    """
    How the p-values of a table are simulated: one `bootstrap_ratio` for each, in turn.

    Parameters
    ----------
    nrep : int
    rng : None, int or numpy.random.Generator
        One source for all of them; each moves it on by one draw.
    sequential : int or None
    run : Run
        The first bootstrap has its checkpoint, the others files beside it that end in -2, -3, ...
    """

    def __init__(self, nrep: int, rng: Any, sequential: int | None, run: Run) -> None:
        arrays_module.draws(nrep, rng, sequential)
        self.nrep, self.sequential, self.run, self.done = nrep, sequential, run, 0
        self.rng = None if rng is None else generator(rng)

    def __call__(self, null: Fitted, full: Fitted, what: str) -> SimulatedP:
        """Return P of the ratio of two fits."""
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
    """Return how often a task's statistic is at least that of the data; see `bootstrap_ratio`."""
    least = statistic - ROUNDING * (1 + abs(statistic))
    wanted = None if sequential is None else arrays_module.count(sequential, "sequential")

    def enough(outcomes: list[Outcome]) -> int:
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
    _report(done, "draws")
    ratios = done.values[:, 0]
    exceeded, count = int((ratios >= least).sum()), len(ratios)
    stopped = exceeded == wanted
    # of a fixed number of draws the binomial error, of a fixed number of exceedances the negative one
    p = exceeded / count if stopped else (1 + exceeded) / (1 + count)
    # at the mean of p under a flat prior: no error is 0 where every draw exceeds
    q = (1 + exceeded) / (2 + count)
    error = q * ((1 - q) / exceeded) ** 0.5 if stopped else (q * (1 - q) / count) ** 0.5
    return BootstrapRatio(statistic, ratios, done.nrep, exceeded, p, error, stopped, done.reasons)


def of_results(res: Any) -> Fitted:
    """Return what refits need of a result."""
    model = res.model
    quantities.need_rows(model.core)
    return Fitted(model.core, res._fit, model.parameter_names, model.estimable)


def _resampled(res: Any, kind: str | None, groups: Any) -> tuple[str, Any]:
    """Return what is drawn: by default the groups of a fit with a covariance of groups, else rows."""
    clustered = res.cov_type == "cluster"
    if kind is None:
        kind = "cluster" if clustered else "pairs"
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose 'pairs', 'parametric' or 'cluster'")
    if kind == "cluster" and groups is None and clustered:
        groups = res.cov_kwds["groups"]
        if np.ndim(groups) != 1:
            raise ValueError(
                "groups: the fit has two kinds of groups and the bootstrap draws one; pass "
                "groups=..., the one to draw, or kind='pairs' or 'parametric'"
            )
    if (groups is not None) != (kind == "cluster"):
        raise ValueError("groups: needed for kind='cluster', and only there")
    if groups is not None and np.ndim(groups) != 1:
        raise ValueError("groups: the cluster bootstrap draws one kind of groups, not two")
    return kind, groups


def _covariance_of(res: Any, kind: str, groups: Any) -> tuple[str, dict[str, Any]]:
    """Return the covariance of a fit as its refits need it, the groups left out."""
    if res.cov_type == "cluster" and kind == "cluster":
        own = res.cov_kwds["groups"]
        if np.ndim(own) != 1 or not _same_groups(own, groups):
            raise ValueError(
                "studentized=True: the standard errors of the fit have other groups than are drawn; "
                "fit with cov_type='cluster' and these groups, of one kind"
            )
        settings = ("use_correction", "scaling_factor")
        return "cluster", {name: res.cov_kwds.get(name) for name in settings}
    if res.cov_type not in OF_RESAMPLES:
        raise ValueError(
            f"studentized=True: standard errors with cov_type={res.cov_type!r} cannot be made of a "
            f"resample of kind={kind!r}; fit with cov_type 'nonrobust' or 'HC1', or with 'cluster' for "
            "kind='cluster'"
        )
    return res.cov_type, {}


def _same_groups(a: Array, b: Array) -> bool:
    """Return whether two labellings divide the rows in the same way."""
    # each row by the first one of its group
    (_, first, own), (_, other, codes) = (
        np.unique(x, return_index=True, return_inverse=True) for x in (a, b)
    )
    return bool(np.array_equal(first[own], other[codes]))


def single_rows(fitted: Fitted, groups: Any = None) -> tuple[Fitted, Any]:
    """Return the fit with each row repeated as often as it was observed, so that rows are units."""
    core, fit = fitted.core, fitted.fit
    if core.freq is None:
        return fitted, groups
    if not np.array_equal(core.freq, np.round(core.freq)):
        raise ValueError("freq_weights: the bootstrap draws rows, so they must be whole numbers")
    rows = np.repeat(np.arange(core.n), core.freq.astype(int))
    if fit.boundary is not None:
        fit = replace(fit, boundary=fit.boundary.of_rows(rows))
    single = replace(core.take(rows), freq=None)
    return replace(fitted, core=single, fit=fit), None if groups is None else groups[rows]


def identifying(fitted: Fitted) -> list[Any]:
    """Return what tells a fit from others: data, estimates to a few digits, and whether by REML."""
    core = fitted.core
    names = "y X Z offset offset_dispersion trials weights freq".split()
    arrays = [getattr(core, name) for name in names]
    estimates = [f"{value:.5g}" for value in fitted.fit.params]
    links, reml = (core.link, core.link_dispersion), isinstance(fitted.fit, RemlFit)
    return [core.family, *links, *arrays, fitted.names, estimates, reml]


def _report(done: Replicates, what: str) -> None:
    """Raise where every replicate failed, warn where some did."""
    if done.failed == done.nrep:
        raise EveryRefitFailedError(f"every bootstrap refit failed: {done.reasons}")
    if done.failed:
        warn(
            f"{done.failed} of {done.nrep} bootstrap refits failed and are not among the {what}: "
            f"{done.reasons}",
            BootstrapFailureWarning,
        )
