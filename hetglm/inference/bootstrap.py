"""Bootstrap of the estimates: refits to resampled rows, resampled groups or simulated responses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, singledispatch
from typing import Any, Protocol

import numpy as np

from hetglm.estimation import record
from hetglm.estimation.covariance import covariance, type_of
from hetglm.estimation.record import Fitted, at_fit, expanded_rows, fitted_of, identifying
from hetglm.estimation.refit import refit
from hetglm.inference.bootstrap_results import BootstrapResult
from hetglm.likelihood.likelihood import Likelihood
from hetglm.prediction import quantities
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.checks import generator
from hetglm.utils.linalg import inverse
from hetglm.utils.parallel import Run, replicate, report_failures

KINDS = ("pairs", "parametric", "cluster")


@dataclass(frozen=True)
class Resampling:
    """
    One replicate of the estimates: resample, refit.

    Attributes
    ----------
    fitted : Fitted
    kind : {"pairs", "parametric", "cluster"}
    codes : ndarray of int, shape (n,), or None
        Group of each row.
    cov_type : str
        Covariance type of the refits' standard errors, "" for none.
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
        """Return the estimates of a replicate, and their standard errors if ``cov_type`` is given."""
        fitted, core, codes = self.drawn(rng)
        fit = refit(fitted, core)
        if not self.cov_type:
            return fit.params
        fixed = at_fit(core, fit)
        hessian = fixed.hessian(fixed.factors(fit.internal))
        fit = replace(fit, information=-hessian[np.ix_(fit.solved, fit.solved)])
        kwds = self.cov_kwds | ({"groups": codes} if self.cov_type == "cluster" else {})
        found = covariance(fixed, fit, self.cov_type, kwds, False, self.df_resid)
        return np.concatenate([fit.params, np.sqrt(np.diag(found.matrix))])

    def drawn(self, rng: np.random.Generator) -> tuple[Fitted, Likelihood, Array | None]:
        """Return the fit for refits, the likelihood of resampled data, and the groups of its rows."""
        core = self.fitted.core
        if self.kind == "parametric":
            return self.fitted, self.simulator(rng), self.codes
        codes = None
        if self.kind == "pairs":
            rows = rng.integers(core.n, size=core.n)
        else:
            drawn = rng.integers(len(self.members), size=len(self.members))
            rows = np.concatenate([self.members[g] for g in drawn])
            # a group drawn twice counts as two groups
            codes = np.repeat(np.arange(len(drawn)), [len(self.members[g]) for g in drawn])
        fitted = self.fitted if codes is None else self.fitted.redrawn(rows, codes)
        core = core.take(rows)
        if not np.array_equal(core.estimable(), self.fitted.estimable):
            raise ValueError("a column is aliased in the resample: a factor level is missing there")
        return fitted, core, codes

    @cached_property
    def simulator(self) -> Simulator:
        """Draws new responses."""
        return simulator(self.fitted)

    @cached_property
    def members(self) -> list[Array]:
        """Rows of each group."""
        assert self.codes is not None
        return np.split(
            np.argsort(self.codes, kind="stable"), np.cumsum(np.bincount(self.codes))[:-1]
        )

    def acceleration(self) -> Array:
        """Return the accelerations of the estimates, by the influence of rows or groups."""
        values = influence(self.fitted, self.members if self.kind == "cluster" else None)
        if not len(values):
            return np.zeros(values.shape[1])
        with np.errstate(invalid="ignore"):
            skewness = (values**3).sum(axis=0) / (6 * (values**2).sum(axis=0) ** 1.5)
        return np.asarray(skewness)


@dataclass(frozen=True)
class NewResponses:
    """Draws new responses of the rows of a fit."""

    core: Likelihood
    distribution: Any

    def __call__(self, rng: np.random.Generator) -> Likelihood:
        """Return the likelihood of a draw."""
        draws = self.distribution.rvs(size=self.core.n, random_state=rng)
        return self.core.with_response(draws)

    def responses(self, nsim: int, rng: np.random.Generator) -> Array:
        """Return responses of several draws, shape (nsim, n)."""
        return np.asarray(self.distribution.rvs(size=(nsim, self.core.n), random_state=rng))


class Simulator(Protocol):
    """Draws data from a fit."""

    def __call__(self, rng: np.random.Generator) -> Likelihood:
        """Return the likelihood of a draw."""

    def responses(self, nsim: int, rng: np.random.Generator) -> Array:
        """Return responses of several draws, shape (nsim, n)."""


@singledispatch
def simulator(fitted: Fitted) -> Simulator:
    """Return what draws data from a fit, with new random effects where it has any."""
    return NewResponses(fitted.core, distribution(fitted))


@singledispatch
def influence(fitted: Fitted, members: list[Array] | None) -> Array:
    """
    Return influence values (infinitesimal jackknife), shape (rows or groups, parameters).

    Parameters
    ----------
    fitted : Fitted
    members : list of ndarray of int, or None
        Rows of each group; None for the rows one by one.
    """
    fit = fitted.fit
    scores = at_fit(fitted.core, fit).score_obs(fit.internal)
    if members is not None:
        scores = np.array([scores[rows].sum(axis=0) for rows in members])
    values = np.full(scores.shape, np.nan)
    bread = inverse(fit.information)
    if bread is not None:
        values[:, fit.solved] = scores[:, fit.solved] @ bread
    return values


def distribution(fitted: Fitted) -> Any:
    """Return the fitted distribution of the rows; EQL families have none."""
    return quantities.distribution(at_fit(fitted.core, fitted.fit), fitted.fit.internal)


def simulate(core: Likelihood, params: Array, nsim: int, rng: Any) -> Array:
    """Return ``nsim`` responses drawn from the fitted distribution, shape (nsim, n)."""
    nsim = checks.count(nsim, "nsim")
    record.need_rows(core)
    frozen = quantities.distribution(core, params)
    draws = frozen.rvs(size=(nsim, core.n), random_state=generator(rng))
    return np.asarray(draws, dtype=float)


def bootstrap(
    res: Any, nrep: int, kind: str | None, rng: Any, groups: Any, studentized: bool, run: Run
) -> BootstrapResult:
    """Return refits to resampled data; see the results' method."""
    nrep = checks.count(nrep, "nrep")
    of = fitted_of(res)
    kind, groups = _resampled(res, kind, groups)
    cov_type, cov_kwds = ("", {}) if not studentized else _covariance_of(res, kind, groups)
    fitted, groups = expanded_rows(of, groups)
    task = Resampling(fitted, kind, groups, cov_type, cov_kwds, res.df_resid)
    if kind == "parametric":
        simulator(fitted)  # raises, before any work, where the family has none
    what = f"{kind} bootstrap"
    identity = fingerprint(*identifying(fitted), kind, groups, cov_type, sorted(cov_kwds.items()))
    done = replicate(task, nrep, rng, run, what, identity)
    report_failures(done, "replicates")
    k = len(fitted.names)
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
        task.acceleration(),
    )


def _resampled(res: Any, kind: str | None, groups: Any) -> tuple[str, Any]:
    """Return kind and groups; by default the groups of a cluster-robust fit are drawn, else rows."""
    clustered, mixed = res.cov_type == "cluster", bool(res.model.random)
    if kind is None:
        kind = "cluster" if clustered else "parametric" if mixed else "pairs"
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose 'pairs', 'parametric' or 'cluster'")
    if mixed and kind == "pairs":
        raise ValueError(
            "kind='pairs': the rows of a group share its random effects, so they are not drawn one by "
            "one; choose 'parametric' (new random effects) or 'cluster' (groups are drawn)"
        )
    if mixed and kind == "cluster":
        return kind, res.model.clusters(groups)
    if kind == "cluster" and groups is None and clustered:
        groups = res.cov_kwds["groups"]
        if np.ndim(groups) != 1:
            raise ValueError(
                "groups: the fit has two-way clusters and the bootstrap draws one-way clusters; pass "
                "groups=..., those to draw, or kind='pairs' or 'parametric'"
            )
    if (groups is not None) != (kind == "cluster"):
        raise ValueError("groups: give groups with kind='cluster', and only with it")
    if groups is not None and np.ndim(groups) != 1:
        raise ValueError(
            "groups: the cluster bootstrap draws one-way clusters; pass one column of groups"
        )
    return kind, groups


def _covariance_of(res: Any, kind: str, groups: Any) -> tuple[str, dict[str, Any]]:
    """Return covariance type and arguments for the refits, without the groups."""
    if res.model.random:
        raise ValueError(
            "studentized=True: refits with random effects have no standard errors; use percentiles "
            "or BCa"
        )
    if res.cov_type == "cluster" and kind == "cluster":
        own = res.cov_kwds["groups"]
        if np.ndim(own) != 1 or not _same_groups(own, groups):
            raise ValueError(
                "studentized=True: the standard errors of the fit are not clustered by the groups that "
                "are drawn; fit with cov_type='cluster' and these groups"
            )
        settings = ("use_correction", "scaling_factor")
        return "cluster", {name: res.cov_kwds.get(name) for name in settings}
    if not type_of(res).of_resamples:
        raise ValueError(
            f"studentized=True: standard errors with cov_type={res.cov_type!r} cannot be computed "
            f"from a resample of kind={kind!r}; fit with cov_type 'nonrobust' or 'HC1', or, for "
            "kind='cluster', with 'cluster'"
        )
    return res.cov_type, {}


def _same_groups(a: Array, b: Array) -> bool:
    """Return whether two labellings define the same partition of the rows."""
    # label each row by the first row of its group
    (_, first, own), (_, other, codes) = (
        np.unique(x, return_index=True, return_inverse=True) for x in (a, b)
    )
    return bool(np.array_equal(first[own], other[codes]))
