"""What a bootstrap returns: replicates of estimates with their intervals, and of a likelihood ratio."""

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

    def _headline(self) -> str:
        done = self.nrep - self.failed
        failures = f"; {self.failed} failed and are not among them: {self.reasons}"
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


@dataclass(frozen=True, repr=False)
class BootstrapRatio(Printed):
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
        Monte-Carlo standard error of the p-value, binomial or negative binomial, at the share
        (1 + exceeded)/(2 + done), so that it is not 0 where every draw exceeds.
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

    def _headline(self) -> str:
        return (
            f"Bootstrap of a likelihood ratio of {self.statistic:.4g}: {self.exceeded} of "
            f"{len(self.ratios)} draws are as large, P {p_text(self.pvalue)} +/- {self.mc_error:.2g}"
        )

    @property
    def failed(self) -> int:
        """Number of draws whose refits failed."""
        return self.nrep - len(self.ratios)
