"""Results of a bootstrap: replicates of the estimates with intervals, or of a likelihood ratio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hetglm.inference import bootstrap_intervals, plots
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.display import Printed, p_text


@dataclass(frozen=True, repr=False)
class BootstrapResult(Printed):
    """
    Bootstrap replicates of the estimates; unpacks as ``mean, std, params``.

    Attributes
    ----------
    params : ndarray, shape (nrep - failed, p + q)
        Estimates of the refits that succeeded; NaN where an estimate is not finite, because the
        dispersion of the replicate is at the boundary.
    nrep, failed : int
        Number of replicates requested, and of failed refits.
    kind : str
    reasons : dict
        Reasons of the failed refits, with counts.
    estimate : ndarray, shape (p + q,)
        Estimates of the fit.
    names : list of str
        Names of the coefficients.
    bse : ndarray, shape (p + q,)
        Standard errors of the fit.
    params_bse : ndarray, shape (nrep - failed, p + q), or None
        Standard errors of the refits, for studentised intervals.
    acceleration : ndarray, shape (p + q,)
        Acceleration of the BCa interval: one sixth of the skewness of each coefficient's influence
        values (infinitesimal jackknife: information^-1 times the score of a row or of a group).
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

    def _headline(self) -> str:
        done = self.nrep - self.failed
        failures = f"; {self.failed} refits failed and are left out: {self.reasons}"
        head = f"Bootstrap ({self.kind}): {done} of {self.nrep} replicates"
        return head + (failures if self.failed else "")

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame()]

    def conf_int(self, alpha: float = 0.05, method: str = "percentile") -> Array:
        """
        Return confidence intervals of the coefficients.

        Parameters
        ----------
        alpha : float
            One minus the coverage.
        method : {"percentile", "basic", "studentized", "bca"}
            "percentile": quantiles of the replicates. "basic": the same, reflected at the estimate.
            "studentized" (bootstrap-t): estimate minus quantiles of (replicate - estimate)/(its
            standard error), times the standard error of the fit. "bca": percentiles corrected for
            bias and skewness (see ``acceleration``).

        Returns
        -------
        ndarray, shape (p + q, 2)
            A replicate whose estimate is not finite counts as beyond either limit; where their share
            exceeds alpha/2 the limit is infinite. NaN where the fit has no estimate. With fewer than
            2/alpha - 1 replicates the limits are the smallest and the largest replicate.

        Raises
        ------
        ValueError
            For an unknown method, or "studentized" without standard errors of the refits.

        References
        ----------
        Davison, A. C. and Hinkley, D. V. (1997). Bootstrap Methods and their Application, chapter 5.
        """
        alpha = checks.share(alpha, "alpha")
        if method not in bootstrap_intervals.METHODS:
            raise ValueError(
                f"method={method!r}: choose one of {', '.join(bootstrap_intervals.METHODS)}"
            )
        if method == "studentized" and self.params_bse is None:
            raise ValueError(
                "method='studentized': needs standard errors of the refits; call "
                "bootstrap(..., studentized=True)"
            )
        return bootstrap_intervals.interval(
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
            Names of coefficients; by default all of the dispersion.
        alpha : float
            One minus the coverage.
        method : str
            As in `conf_int`.
        ax : matplotlib Axes or sequence of them, optional
            One for each coefficient.

        Returns
        -------
        matplotlib Axes, or ndarray of them
            A single Axes where ``coefficients`` is a string.

        Raises
        ------
        ValueError
            For an unknown name, or if the numbers of axes and of coefficients differ.
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


@dataclass(frozen=True, repr=False)
class BootstrapRatio(Printed):
    """
    Parametric bootstrap test: likelihood ratios of data drawn from the smaller of two models.

    Attributes
    ----------
    statistic : float
        Observed likelihood ratio.
    ratios : ndarray, shape (done,)
        Likelihood ratios of the draws whose refits succeeded, in order.
    nrep : int
        Number of draws, failed ones included; fewer than requested where the sequential rule stopped.
    exceeded : int
        Number of draws with a ratio at least as large as the observed one.
    pvalue : float
        (1 + exceeded)/(1 + done); exceeded/done where the sequential rule stopped. Failed refits
        are in neither count.
    mc_error : float
        Monte-Carlo standard error of the p-value, binomial or (sequential) negative binomial,
        evaluated at (1 + exceeded)/(2 + done), so that it is not 0 where every draw exceeds.
    stopped : bool
        Whether the sequential rule stopped.
    reasons : dict
        Reasons of the failed refits, with counts.
    """

    statistic: float
    ratios: Array
    nrep: int
    exceeded: int
    pvalue: float
    mc_error: float
    stopped: bool
    reasons: dict[str, int] = field(default_factory=dict)

    def _headline(self) -> str:
        return (
            f"Bootstrap of a likelihood ratio of {self.statistic:.4g}: {self.exceeded} of "
            f"{len(self.ratios)} draws are as large, P {p_text(self.pvalue)} +/- {self.mc_error:.2g}"
        )

    @property
    def failed(self) -> int:
        """Number of draws whose refits failed."""
        return self.nrep - len(self.ratios)
