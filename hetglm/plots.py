"""Plots of one or several fits."""

from hetglm.diagnostics.plots_binomial import beyond_binomial, plot_beyond_binomial
from hetglm.diagnostics.plots_dispersion import (
    plot_coefficients,
    plot_dispersion,
    plot_mean_variance,
)
from hetglm.diagnostics.plots_residuals import plot_diagnostics, plot_qdis, plot_qq
from hetglm.inference.plots import plot_profile, plot_replicates
from hetglm.mixed.plots import (
    plot_random_effects,
    plot_random_effects_pairs,
    plot_random_effects_qq,
)
from hetglm.utils.axes import COLOURS, MARKERS, axes_of, one_axes, require_matplotlib

__all__ = [
    "COLOURS",
    "MARKERS",
    "axes_of",
    "beyond_binomial",
    "one_axes",
    "plot_beyond_binomial",
    "plot_coefficients",
    "plot_diagnostics",
    "plot_dispersion",
    "plot_mean_variance",
    "plot_profile",
    "plot_qdis",
    "plot_qq",
    "plot_random_effects",
    "plot_random_effects_pairs",
    "plot_random_effects_qq",
    "plot_replicates",
    "require_matplotlib",
]
