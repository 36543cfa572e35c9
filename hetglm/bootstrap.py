"""Bootstrap: refits to resampled rows, groups or simulated responses; ratios of two such refits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hetglm import _arrays, _intervals, plots, prediction
from hetglm._checkpoint import fingerprint
from hetglm._covariance import covariance
from hetglm._fit import at_fit, maximum
from hetglm._likelihood import Likelihood
from hetglm._linalg import inverse
from hetglm._replicates import Outcome, Replicates, Run, replicate
from hetglm._text import warn
from hetglm._warm import Fitted, refit
from hetglm.exceptions import BootstrapFailureWarning

Array = NDArray[Any]

KINDS = ("pairs", "parametric", "cluster")
#: A ratio may be this much below another, per unit of both, by rounding alone.
ROUNDING = 1e-9
#: Covariances that can be made of any resample; "cluster" needs the groups of the resample.
OF_RESAMPLES = ("nonrobust", "eim", "HC0", "HC1")


# -- results ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BootstrapResult:
    """
    Replicates of the estimates; unpacks as ``mean, std, params``.

    Attributes
    ----------
    params : ndarray, shape (nrep - failed, p + q)
        Estimates of the refits that succeeded; NaN where a replicate has no finite one, because its
        dispersion is at the boundary.
    nrep, failed : int
        Replicates asked for, and those whose refit failed.
    kind : str
    reasons : dict
        Why refits failed, with counts.
    estimate : ndarray, shape (p + q,)
        Of the fit.
    names : list of str
        Of the coefficients.
    bse : ndarray, shape (p + q,)
        Standard errors of the fit.
    params_bse : ndarray, shape (nrep - failed, p + q), or None
        Standard errors of the refits, for studentised intervals.
    acceleration : ndarray, shape (p + q,)
        Sixth of the skewness of each coefficient's influence values: those of the one-step
        (infinitesimal) jackknife, information^-1 times the score of a row, or of a group.
    """

    params: Array
    nrep: int
    failed: int
    kind: str
    reasons: dict[str, int] = field(default_factory=dict)
    estimate: Array = field(default_factory=lambda: np.empty(0), repr=False)
    names: list[str] = field(default_factory=list, repr=False)
    bse: Array = field(default_factory=lambda: np.empty(0), repr=False)
    params_bse: Array | None = field(default=None, repr=False)
    acceleration: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @property
    def mean(self) -> Array:
        """Mean of the replicates, shape (p + q,); NaN where one of them is not finite."""
        return self.params.mean(axis=0)

    @property
    def std(self) -> Array:
        """Standard deviation of the replicates, shape (p + q,); NaN where one is not finite."""
        return self.params.std(axis=0)

    @property
    def finite(self) -> Array:
        """Number of replicates with a finite estimate of each coefficient, shape (p + q,)."""
        return np.isfinite(self.params).sum(axis=0)

    def __iter__(self) -> Iterator[Array]:
        """Yield mean, std and params, as statsmodels' bootstrap returns them."""
        return iter((self.mean, self.std, self.params))

    def __str__(self) -> str:
        """Return the table of estimates under a line on the replicates."""
        done = self.nrep - self.failed
        failures = f"; {self.failed} failed and are not among them: {self.reasons}"
        head = f"Bootstrap ({self.kind}): {done} of {self.nrep} replicates"
        return head + (failures if self.failed else "") + "\n" + self.summary_frame().to_string()

    def conf_int(self, alpha: float = 0.05, method: str = "percentile") -> Array:
        """
        Return confidence intervals of the coefficients.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        method : {"percentile", "basic", "studentized", "bca"}
            Quantiles of the replicates; these mirrored at the estimate; those of (replicate -
            estimate)/(its standard error), times the standard error of the fit; or the percentiles
            corrected for bias and skewness (BCa, see ``acceleration``).

        Returns
        -------
        ndarray, shape (p + q, 2)
            A replicate without a finite estimate counts as beyond either limit, which is infinite
            where there are more than a share of alpha/2. NaN where the fit has no estimate. With
            fewer than 2/alpha - 1 replicates the limits are the extremes.

        Raises
        ------
        ValueError
            For an unknown method, or "studentized" without standard errors of the refits.

        References
        ----------
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, chapter 5.
        """
        alpha = _arrays.share(alpha, "alpha")
        if method not in _intervals.METHODS:
            raise ValueError(f"method={method!r}: choose one of {', '.join(_intervals.METHODS)}")
        if method == "studentized" and self.params_bse is None:
            raise ValueError(
                "method='studentized': needs standard errors of the refits; call "
                "bootstrap(..., studentized=True)"
            )
        return _intervals.interval(
            method, self.estimate, self.params, alpha, self.bse, self.params_bse, self.acceleration
        )

    def summary_frame(self, alpha: float = 0.05, method: str = "percentile") -> pd.DataFrame:
        """
        Return estimates, replicates and intervals as a table.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        method : str
            As in `conf_int`.

        Returns
        -------
        DataFrame
            A row for each coefficient; columns ``estimate``, ``bse`` (of the fit), ``mean`` and
            ``std`` of the replicates, ``ci_lower``, ``ci_upper``, and ``finite``, the number of
            replicates with a finite estimate.
        """
        lower, upper = self.conf_int(alpha, method).T
        columns = {
            "estimate": self.estimate,
            "bse": self.bse,
            "mean": self.mean,
            "std": self.std,
            "ci_lower": lower,
            "ci_upper": upper,
            "finite": self.finite,
        }
        return pd.DataFrame(columns, index=self.names)

    def plot(
        self,
        coefficients: Any = None,
        *,
        alpha: float = 0.05,
        method: str = "percentile",
        ax: Any = None,
    ) -> Any:
        """
        Draw histograms of the replicates with the estimates and their intervals.

        Parameters
        ----------
        coefficients : str or list of str, optional
            Names; those of the dispersion by default.
        alpha : float
            One minus the coverage.
        method : str
            As in `conf_int`.
        ax : matplotlib Axes or sequence of them, optional
            One for each coefficient.

        Returns
        -------
        matplotlib Axes, or ndarray of them
            One where ``coefficients`` is a string.

        Raises
        ------
        ValueError
            For an unknown name, or another number of axes than of coefficients.
        """
        chosen = [coefficients] if isinstance(coefficients, str) else coefficients
        if chosen is None:
            chosen = [name for name in self.names if name.startswith("dispersion-")]
        unknown = [name for name in chosen if name not in self.names]
        if unknown or not len(chosen):
            raise ValueError(f"coefficients: {unknown or 'none given'}; choose from {self.names}")
        limits = self.conf_int(alpha, method)
        where = [self.names.index(name) for name in chosen]
        panels = [(self.names[j], self.params[:, j], self.estimate[j], limits[j]) for j in where]
        axes = plots.plot_replicates(panels, f"{100 * (1 - alpha):g} % interval ({method})", ax)
        return axes[0] if isinstance(coefficients, str) else axes


@dataclass(frozen=True)
class BootstrapRatio:
    """
    Likelihood ratios of data drawn from the smaller of two models.

    Attributes
    ----------
    statistic : float
        The ratio of the data.
    ratios : ndarray, shape (done,)
        Those of the draws whose refits succeeded, in order.
    nrep : int
        Draws, those that failed included; fewer than asked for where the sequential rule stopped.
    exceeded : int
        Ratios at least as large as that of the data.
    pvalue : float
        (1 + exceeded)/(1 + done); exceeded/done where the sequential rule stopped. Draws whose
        refits failed are in neither count.
    mc_error : float
        Monte-Carlo standard error of the p-value.
    stopped : bool
        Whether the sequential rule stopped.
    reasons : dict
        Why refits failed, with counts.
    """

    statistic: float
    ratios: Array
    nrep: int
    exceeded: int
    pvalue: float
    mc_error: float
    stopped: bool
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Number of draws whose refits failed."""
        return self.nrep - len(self.ratios)


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
    return prediction.distribution(at_fit(fitted.core, fitted.fit), fitted.fit.internal)


def simulate(core: Likelihood, params: Array, nsim: int, rng: Any) -> Array:
    """Return ``nsim`` responses drawn from the fitted distribution, shape (nsim, n)."""
    nsim = _arrays.count(nsim, "nsim")
    frozen = prediction.distribution(core, params)
    draws = frozen.rvs(size=(nsim, core.n), random_state=_arrays.generator(rng))
    return np.asarray(draws, dtype=float)


# -- what results call ----------------------------------------------------------------------------


def bootstrap(
    res: Any, nrep: int, kind: str, rng: Any, groups: Any, studentized: bool, run: Run
) -> BootstrapResult:
    """Return refits to resampled data; see the results' method."""
    nrep = _arrays.count(nrep, "nrep")
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: choose 'pairs', 'parametric' or 'cluster'")
    if (groups is not None) != (kind == "cluster"):
        raise ValueError("groups: needed for kind='cluster', and only there")
    if groups is not None and np.ndim(groups) != 1:
        raise ValueError("groups: the cluster bootstrap draws one kind of groups, not two")
    fitted, groups = _single_rows(of_results(res), groups)
    cov_type, cov_kwds = ("", {}) if not studentized else _covariance_of(res, kind)
    task = Resampling(fitted, kind, groups, cov_type, cov_kwds, res.df_resid)
    if kind == "parametric":
        distribution(fitted)  # a family without one says so before any work
    what = f"{kind} bootstrap"
    identity = fingerprint(*_identity(fitted), kind, groups, cov_type, sorted(cov_kwds.items()))
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
    identity = fingerprint(*_identity(null), *_identity(full))
    found = exceedances(Ratio(null, full), statistic, nrep, rng, sequential, run or Run(), identity)
    return found.pvalue, found


def exceedances(
    task: Callable[[np.random.Generator], Array],
    statistic: float,
    nrep: int,
    rng: Any,
    sequential: int | None,
    run: Run,
    identity: str,
) -> BootstrapRatio:
    """Return how often a task's statistic is at least that of the data; see `bootstrap_ratio`."""
    least = statistic - ROUNDING * (1 + abs(statistic))
    wanted = None if sequential is None else _arrays.count(sequential, "sequential")

    def enough(outcomes: list[Outcome]) -> int:
        hits = [i for i, o in enumerate(outcomes) if not isinstance(o, str) and o[0] >= least]
        return hits[wanted - 1] + 1 if wanted is not None and len(hits) >= wanted else 0

    done = replicate(
        task,
        nrep,
        rng,
        run,
        "bootstrap of the likelihood ratio",
        identity,
        enough if wanted else None,
    )
    _report(done, "draws")
    ratios = done.values[:, 0]
    exceeded, count = int((ratios >= least).sum()), len(ratios)
    stopped = exceeded == wanted
    # of a fixed number of draws the binomial error, of a fixed number of exceedances the negative one
    p = exceeded / count if stopped else (1 + exceeded) / (1 + count)
    error = p * ((1 - p) / exceeded) ** 0.5 if stopped else (p * (1 - p) / count) ** 0.5
    return BootstrapRatio(statistic, ratios, done.nrep, exceeded, p, error, stopped, done.reasons)


def of_results(res: Any) -> Fitted:
    """Return what refits need of a result."""
    model = res.model
    if model.core.n == 0:
        raise ValueError("bootstrap: remove_data() took the rows of this fit away; fit again")
    return Fitted(model.core, res._fit, model.parameter_names, model.estimable)


def _covariance_of(res: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """Return the covariance of a fit as its refits need it, the groups left out."""
    if res.cov_type == "cluster" and kind == "cluster":
        return "cluster", {"use_correction": res.cov_kwds["use_correction"]}
    if res.cov_type not in OF_RESAMPLES:
        raise ValueError(
            f"studentized=True: standard errors with cov_type={res.cov_type!r} cannot be made of a "
            f"resample of kind={kind!r}; fit with cov_type 'nonrobust' or 'HC1', or with 'cluster' for "
            "kind='cluster'"
        )
    return res.cov_type, {}


def _single_rows(fitted: Fitted, groups: Any) -> tuple[Fitted, Any]:
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


def _identity(fitted: Fitted) -> list[Any]:
    """Return what tells a fit from others: its data, and its estimates to a few digits."""
    core = fitted.core
    names = "y X Z offset offset_dispersion trials weights freq".split()
    arrays = [getattr(core, name) for name in names]
    estimates = [f"{value:.5g}" for value in fitted.fit.params]
    return [core.family, core.link, core.link_dispersion, *arrays, fitted.names, estimates]


def _report(done: Replicates, what: str) -> None:
    """Raise where every replicate failed, warn where some did."""
    if done.failed == done.nrep:
        raise ValueError(f"every bootstrap refit failed: {done.reasons}")
    if done.failed:
        warn(
            f"{done.failed} of {done.nrep} bootstrap refits failed and are not among the {what}: "
            f"{done.reasons}",
            BootstrapFailureWarning,
        )
