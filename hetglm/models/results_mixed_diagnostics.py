"""Plots of random effects as methods of results: each one documents and hands over."""

from __future__ import annotations

from typing import Any

from statsmodels.base.model import GenericLikelihoodModelResults

from hetglm.mixed import plots
from hetglm.mixed.leverage import ConditionalResiduals


class MixedDiagnosticMethods(GenericLikelihoodModelResults):
    """Plots of the random effects of a fit."""

    @property
    def row_diagnostics(self) -> Any:
        """Class of the leverages and standardised residuals of rows that plots show."""
        return ConditionalResiduals

    def plot_random_effects(
        self,
        *,
        factor: str | None = None,
        part: str | None = None,
        alpha: float = 0.05,
        ax: Any = None,
    ) -> Any:
        """
        Plot the random effects of the groups with intervals, in increasing order (caterpillar plot).

        Parameters
        ----------
        factor : str, optional
            Grouping variable; all by default.
        part : {"mean", "dispersion"}, optional
            Both by default.
        alpha : float
            One minus the coverage of the intervals.
        ax : matplotlib Axes or sequence of them, optional
            One for each column of each grouping variable.

        Returns
        -------
        ndarray of matplotlib Axes
            Thick lines are intervals given the estimates, thin lines include their uncertainty; see
            `hetglm.plots.plot_random_effects`.

        Raises
        ------
        ValueError
            For an unknown grouping variable or part.
        """
        return plots.plot_random_effects(self, factor=factor, part=part, alpha=alpha, ax=ax)

    def plot_random_effects_qq(
        self, *, factor: str | None = None, part: str | None = None, ax: Any = None
    ) -> Any:
        """
        Plot the ordered, standardised random effects against normal quantiles (Q-Q plot).

        Parameters
        ----------
        factor : str, optional
            Grouping variable; all by default.
        part : {"mean", "dispersion"}, optional
            Both by default.
        ax : matplotlib Axes or sequence of them, optional
            One for each column of each grouping variable.

        Returns
        -------
        ndarray of matplotlib Axes
            With a pointwise 95 % band; see `hetglm.plots.plot_random_effects_qq`.

        Raises
        ------
        ValueError
            For an unknown grouping variable or part.
        """
        return plots.plot_random_effects_qq(self, factor=factor, part=part, ax=ax)

    def plot_random_effects_pairs(self, *, factor: str | None = None, ax: Any = None) -> Any:
        """
        Plot the random effects of each group against each other, those of the mean and dispersion.

        Parameters
        ----------
        factor : str, optional
            Grouping variable; all by default.
        ax : matplotlib Axes or sequence of them, optional
            One for each pair of columns of a grouping variable.

        Returns
        -------
        ndarray of matplotlib Axes
            With the ellipse of 95 % of the effects; see `hetglm.plots.plot_random_effects_pairs`.

        Raises
        ------
        ValueError
            For an unknown grouping variable, or if no grouping variable has two columns.
        """
        return plots.plot_random_effects_pairs(self, factor=factor, ax=ax)
