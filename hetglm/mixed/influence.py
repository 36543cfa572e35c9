"""Influence of groups on a fit with random effects: one step, or exact by refits without each."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from hetglm.estimation.record import need_rows
from hetglm.mixed.clusters import cluster_scores
from hetglm.mixed.refit import MixedFitted, near, refit_from
from hetglm.typing import Array
from hetglm.utils.display import Printed
from hetglm.utils.parallel import Run, each


class GroupInfluence(Printed):
    """
    Influence of groups on the estimates: each group is left out as a whole.

    Parameters
    ----------
    results : MixedResults
    groups : ndarray of int, shape (n,), optional
        Codes of given groups; the outermost ones of the random effects by default.

    Attributes
    ----------
    d_params : DataFrame, shape (groups, parameters)
        Estimates minus estimates without the group, by one step: the score of the group times the
        covariance of the estimates.
    dfbetas : DataFrame, shape (groups, parameters)
        The same over the standard errors.
    cooks_distance : Series, shape (groups,)
        Quadratic form of d_params in the inverse covariance, over the number of parameters.

    References
    ----------
    Demidenko, E. and Stukel, T. A. (2005). Influence analysis for linear mixed-effects models.
    Statistics in Medicine 24, 893-909.
    """

    def __init__(self, results: Any, groups: Array | None = None) -> None:
        need_rows(results.model.core)
        self.results, self.codes = results, results.model.clusters(groups)
        factors = results.model.random
        same = [f for f in factors if np.array_equal(f.codes, self.codes)]
        self.levels = list(same[0].levels) if same else list(range(int(self.codes.max()) + 1))

    def _headline(self) -> str:
        most = self.cooks_distance.idxmax()
        return (
            f"Influence of {len(self.levels)} groups: largest Cook's distance "
            f"{self.cooks_distance[most]:.3g}, of {most}"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.summary_frame().sort_values("cooks_d", ascending=False).head()]

    def _framed(self, values: Array) -> pd.DataFrame:
        names = self.results.model.parameter_names
        return pd.DataFrame(values, index=self.levels, columns=names)

    @cached_property
    def d_params(self) -> pd.DataFrame:
        """Change of the estimates by one step."""
        model, fit = self.results.model, self.results.fit
        scores = cluster_scores(model.core, model.random, fit, fit.params, self.codes)
        moved = scores @ np.nan_to_num(fit.covariance)
        return self._framed(np.where(fit.interior, moved, np.nan))

    @property
    def dfbetas(self) -> pd.DataFrame:
        """Change of the estimates in standard errors."""
        return self.d_params / self.results.fit.bse

    @cached_property
    def cooks_distance(self) -> pd.Series:
        """Cook's distance of each group."""
        return self._cooks(self.d_params)

    def _cooks(self, moved: pd.DataFrame) -> pd.Series:
        fit, inside = self.results.fit, self.results.fit.interior
        d = moved.to_numpy()[:, inside]
        information = np.linalg.inv(fit.covariance[np.ix_(inside, inside)])
        return pd.Series(np.einsum("gi,ij,gj->g", d, information, d) / inside.sum(), self.levels)

    def exact(self, *, n_jobs: int | None = None, progress: bool | None = None) -> pd.DataFrame:
        """
        Return d_params by a refit without each group.

        Parameters
        ----------
        n_jobs : int, optional
            As in the results' ``bootstrap``.
        progress : bool, optional
            As in the results' ``bootstrap``.

        Returns
        -------
        DataFrame, shape (groups, parameters)
            NaN where the refit failed.
        """
        fitted = self.results.model.fitted(self.results.fit)
        kept = [np.flatnonzero(self.codes != g) for g in range(len(self.levels))]
        run = Run(n_jobs, progress)
        found = each(partial(estimates_on, fitted), kept, run, "refits without a group")
        return self._framed(fitted.fit.params - np.array(found))

    def summary_frame(self) -> pd.DataFrame:
        """Return Cook's distances and dfbetas, a row for each group."""
        named = self.dfbetas.add_prefix("dfb_")
        return pd.concat([self.cooks_distance.rename("cooks_d"), named], axis=1)

    def plot_influence(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the plots are of rows."""
        raise NotImplementedError(
            "plot_influence: the influence of a fit with random effects is that of groups; "
            "summary_frame() has their numbers, and summary_frame().plot() a picture"
        )

    plot_index = plot_influence


def estimates_on(fitted: MixedFitted, rows: Array) -> Array:
    """Return the estimates on some rows, NaN where there are none."""
    on_rows = fitted.of_rows(rows)
    try:
        return refit_from(on_rows, on_rows.core, near(on_rows)).params
    except (ValueError, FloatingPointError, np.linalg.LinAlgError):
        return np.full(len(fitted.fit.params), np.nan)
