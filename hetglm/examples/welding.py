"""Welds that vary less: which settings of a screening experiment move the spread, by REML."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hetglm.datasets import load_welding
from hetglm.examples.story import OUT, heading, run, save, say, show
from hetglm.models.doubleglm import DoubleGLM
from hetglm.utils.axes import COLOURS, require_matplotlib

STORY = (
    "Sixteen welds, each with its own combination of nine settings at two levels (Taguchi and Wu 1980). "
    "A good weld is strong, and strong every time. No combination was repeated, so no cell has a spread "
    "of its own: only a model of the dispersion can say which setting makes the strength vary."
)
MEAN = "Strength ~ Drying + Material"
#: remlscore of the R package statmod 1.5.0 for the same model: estimates and standard errors.
REMLSCORE = {
    "Intercept": (43.136601, 0.052039),
    "Drying": (0.931136, 0.024028),
    "Material": (-1.618738, 0.052039),
    "dispersion-Intercept": (-2.903351, 0.405901),
    "dispersion-Material": (-1.367722, 0.411241),
    "dispersion-Method": (-0.043013, 0.417547),
    "dispersion-Preheating": (1.666297, 0.412512),
}


def screen_the_mean(welds: pd.DataFrame) -> None:
    """Print which settings affect the mean."""
    heading("1. What makes a weld strong")
    settings = list(welds.columns.drop("Strength"))
    res = DoubleGLM.from_formula(f"Strength ~ {' + '.join(settings)}", welds).fit(reml=True)
    show(pd.DataFrame({"coef": res.params_mean, "z": res.tvalues[: len(res.params_mean)]}), 3)
    say("Drying and Material stand out; the other seven are not significant.")


def screen_the_spread(welds: pd.DataFrame) -> pd.DataFrame:
    """Print which settings affect the dispersion, one at a time, by REML."""
    heading("2. What makes it vary: one setting at a time")
    rows = {}
    for setting in welds.columns.drop("Strength"):
        res = DoubleGLM.from_formula(f"{MEAN} | {setting}", welds).fit(reml=True)
        test = res.compare_constant_dispersion()
        factor = np.exp(res.params_dispersion[setting])
        rows[setting] = (res.params_dispersion[setting], factor, test.statistic, test.pvalue)
    table = pd.DataFrame(rows, index=["log(phi)", "sd, + over -", "LR by REML", "P"]).T
    show(table)
    say(
        "A coefficient c multiplies the variance by exp(2c) from one level to the other, so the sd by "
        "exp(c). Three settings stand out; with nine looked at, P should be below 0.05/9 = 0.0056 "
        "before it surprises anybody."
    )
    return table


def joint_model(welds: pd.DataFrame) -> Any:
    """Print the published model of three settings by maximum likelihood and by REML."""
    heading("3. The three together, by REML")
    formula = f"{MEAN} | Material + Method + Preheating"
    res = DoubleGLM.from_formula(formula, welds).fit(reml=True)
    table = pd.DataFrame({"coef": res.params, "std err": res.bse})
    known = pd.DataFrame(REMLSCORE, index=["remlscore", "its std err"]).T
    show(table.join(known), 6)
    ml = DoubleGLM.from_formula(formula, welds).fit()
    by_reml, by_ml = (fit.compare_constant_dispersion() for fit in (res, ml))
    say(
        "The mean takes three of sixteen degrees of freedom, which maximum likelihood "
        f"ignores: by ML the ratio against a constant dispersion is {by_ml.statistic:.1f} on {by_ml.df} "
        f"df, by REML {by_reml.statistic:.1f} (P = {by_reml.pvalue:.4f}). "
        "With so few rows the REML test nearly keeps its level, the ML test does not."
    )
    simpler = DoubleGLM.from_formula(f"{MEAN} | Material + Preheating", welds).fit(reml=True)
    say(
        f"Method adds nothing to the others (its z is {res.tvalues['dispersion-Method']:.1f}): "
        "within the welds of Material +1 it is Preheating with its sign changed. Without it:"
    )
    show(pd.DataFrame({"coef": simpler.params, "std err": simpler.bse}))
    say(f"{simpler.compare_constant_dispersion()}.")
    say(
        "A warning about these data: four runs (Material +1, Preheating +1) have the same "
        "strength in pairs of the same Drying. A mean that goes through all four leaves them no "
        "dispersion, so the likelihood of the three settings is unbounded there; the estimates "
        "above, and the published ones, are the local maximum away from that."
    )
    return simpler


def settings_of(res: Any) -> pd.DataFrame:
    """Return mean and sd, with intervals, for every setting of the three that matter."""
    names = ["Drying", "Material", "Preheating"]
    grid = pd.DataFrame(list(itertools.product((-1, 1), repeat=3)), columns=names)
    mean, sd = (res.get_prediction(grid, which=which).summary_frame() for which in ("mean", "sd"))
    grid["mean"], grid["sd"] = mean["predicted"], sd["predicted"]
    grid["sd_lower"], grid["sd_upper"] = sd["ci_lower"], sd["ci_upper"]
    grid["lower"], grid["upper"] = mean["obs_ci_lower"], mean["obs_ci_upper"]
    return grid


def robust_design(res: Any) -> None:
    """Print the settings in the order of their 2.5 % quantile of strength."""
    heading("4. The robust setting")
    grid = settings_of(res).sort_values("lower", ascending=False)
    say(
        "lower and upper hold 95 % of the welds of a setting, by the fitted distribution; a setting is "
        "as good as its weak welds, so they are in the order of lower:"
    )
    show(grid.set_index(["Drying", "Material", "Preheating"]), 2)
    best = grid.iloc[0]
    ratio = np.exp(res.params["dispersion-Preheating"])
    say(
        f"Dry long (+1), take Material -1 and do not preheat (-1): {best['mean']:.1f} kg/mm with "
        f"standard deviation {best['sd']:.2f} (95 % interval {best['sd_lower']:.2f} to "
        f"{best['sd_upper']:.2f}). Preheating multiplies the standard deviation by {ratio:.1f} and "
        "shows no effect on the mean, so omitting it costs nothing. Material +1 varies less, but "
        "costs three units of strength."
    )
    print(res.diagnose(), end="\n\n")


def plot(welds: pd.DataFrame, res: Any) -> Any:
    """Draw the distances from the mean with the fitted sd, and what each setting gives."""
    figure = require_matplotlib()(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = settings_of(res)
    draw_spread(left, welds, res, grid[grid["Drying"] == 1])
    draw_settings(right, grid.sort_values("lower"))
    return figure


def draw_spread(axes: Any, welds: pd.DataFrame, res: Any, cells: pd.DataFrame) -> None:
    """Draw each weld's distance from its mean by Material and Preheating, with the fitted sd."""
    away = np.maximum(np.abs(res.resid), 0.01)
    for i, cell in enumerate(cells.itertuples()):
        own = (welds["Material"] == cell.Material) & (welds["Preheating"] == cell.Preheating)
        colour = COLOURS[cell.Preheating > 0]
        x = i + np.linspace(-0.2, 0.2, own.sum())
        axes.plot(x, np.sort(away[own]), "o", ms=5, color="0.3", label=None if i else "welds")
        axes.fill_between(
            [i - 0.35, i + 0.35], cell.sd_lower, cell.sd_upper, color=colour, alpha=0.25, lw=0
        )
        label = f"fitted sd, Preheating {cell.Preheating:+d}" if i < 2 else None
        style = "--" if cell.Preheating > 0 else "-"
        axes.plot([i - 0.35, i + 0.35], [cell.sd] * 2, style, color=colour, lw=2.5, label=label)
    axes.set_yscale("log")
    axes.set_ylim(0.008, 9)
    names = [
        f"Material {cell.Material:+d}\nPreheating {cell.Preheating:+d}"
        for cell in cells.itertuples()
    ]
    axes.set_xticks(range(len(names)), names, fontsize="small")
    axes.set_ylabel("distance from the fitted mean (kg/mm)")
    axes.legend(frameon=False, fontsize="small", loc="upper right")


def draw_settings(axes: Any, grid: pd.DataFrame) -> None:
    """Draw mean and 95 % of the welds of each setting."""
    blue, orange = COLOURS[:2]
    y = np.arange(len(grid))
    colours = np.where(grid["Preheating"] > 0, orange, blue)
    axes.hlines(y, grid["lower"], grid["upper"], colors=list(colours), lw=3)
    axes.plot(grid["mean"], y, "|", color="black", ms=12, mew=2)
    names = [f"{r.Drying:+d}  {r.Material:+d}  {r.Preheating:+d}" for r in grid.itertuples()]
    axes.set_yticks(y, names)
    axes.set_xlabel("strength (kg/mm): mean and 95 % of the welds")
    axes.set_ylabel("Drying, Material, Preheating")


def main(out: Path = OUT) -> None:
    """
    Find the settings that make welds vary, and save the plot.

    Parameters
    ----------
    out : Path
        Folder of the plot.
    """
    welds = load_welding()
    say(STORY)
    screen_the_mean(welds)
    screen_the_spread(welds)
    res = joint_model(welds)
    robust_design(res)
    save({"welding.png": lambda: plot(welds, res)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.welding")
