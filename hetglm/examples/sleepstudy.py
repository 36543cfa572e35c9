"""Reaction times of people short of sleep: pooling, REML, and random effects in the dispersion."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hetglm.datasets import load_sleepstudy
from hetglm.examples.story import OUT, heading, run, save, say, show
from hetglm.exceptions import LaplaceErrorWarning
from hetglm.inference.anova import anova
from hetglm.models.doubleglm import DoubleGLM
from hetglm.utils.axes import COLOURS, GREY, require_matplotlib

STORY = (
    "Eighteen people came to sleep three hours a night, and their average reaction time (in ms) was "
    "measured on each of the first ten days (Belenky et al. 2003). How much slower do they get a day, "
    "do people differ in that, and are some steadier than others?"
)
MEAN = "Reaction ~ Days + (Days | Subject)"
#: Replicates of the parametric bootstraps.
N_REPLICATES = 99


def lines(sleep: pd.DataFrame, res: Any) -> pd.DataFrame:
    """Return intercept and slope of each subject: of a line of its own, and of the mixed model."""
    own = {
        who: np.polyfit(d["Days"], d["Reaction"], 1)[::-1] for who, d in sleep.groupby("Subject")
    }
    effects = pd.DataFrame(res.random_effects).T
    fixed = res.params[["Intercept", "Days"]]
    return pd.DataFrame(
        {
            "own intercept": [a for a, _ in own.values()],
            "own slope": [b for _, b in own.values()],
            "intercept": fixed["Intercept"] + effects["Intercept"],
            "slope": fixed["Days"] + effects["Days"],
        },
        index=pd.Index(own, name="Subject"),
    )


def pooling(sleep: pd.DataFrame) -> Any:
    """Print the lines of complete, no and partial pooling."""
    heading("1. One line, eighteen lines, or something between")
    one = DoubleGLM.from_formula("Reaction ~ Days", sleep).fit()
    res = DoubleGLM.from_formula(MEAN, sleep).fit()
    table = lines(sleep, res)
    say(
        f"Complete pooling, one line for all: {one.params['Days']:.2f} ms a day, standard error "
        f"{one.bse['Days']:.2f}, as if 180 people had been measured once. No pooling, a line for each: "
        f"slopes from {table['own slope'].min():.1f} to {table['own slope'].max():.1f}, each from ten "
        "numbers. Partial pooling takes intercepts and slopes as normal random effects, "
        "(Days | Subject):"
    )
    show(res.variance_components[["sd", "se", "[0.025", "0.975]"]])
    say(
        f"The mean slope is {res.params['Days']:.2f} again, but its standard error is "
        f"{res.bse['Days']:.2f}: the eighteen people are the units. The slopes of the lines have the "
        f"standard deviation {table['own slope'].std(ddof=0):.2f}, those of people "
        f"{res.params['sd(Subject: Days)']:.2f}, the rest is noise; so the lines are drawn towards the "
        "mean line. Three of them:"
    )
    show(table.loc[["308", "335", "337"]], 2)
    return res


def correlation(sleep: pd.DataFrame) -> Any:
    """Print the intraclass correlation of a model of intercepts."""
    heading("2. How alike are two measurements of a person?")
    res = DoubleGLM.from_formula("Reaction ~ Days + (1 | Subject)", sleep).fit()
    sd, residual = res.params["sd(Subject)"], np.exp(res.params["dispersion-Intercept"] / 2)
    say(
        f"With intercepts only, (1 | Subject), people have the standard deviation {sd:.1f} and days of "
        f"a person {residual:.1f}. Two measurements of a person, the trend apart, have the intraclass "
        f"correlation {sd:.1f}^2 / ({sd:.1f}^2 + {residual:.1f}^2) = {res.icc()['Subject']:.2f}."
    )
    return res


def restricted(sleep: pd.DataFrame, res: Any) -> None:
    """Print the estimates by maximum likelihood and by REML."""
    heading("3. Maximum likelihood or REML")
    reml = res.model.fit(reml=True)
    table = pd.DataFrame({"ML": res.params, "SE": res.bse, "REML": reml.params, "SE ": reml.bse})
    show(table, 3)
    people = sleep["Subject"].nunique()
    say(
        "ML takes the mean line as known; REML gives back what it cost. In this balanced design the "
        f"standard error of the mean slope grows by the factor sqrt({people}/{people - 1}) = "
        f"{np.sqrt(people / (people - 1)):.3f}: here {reml.bse['Days'] / res.bse['Days']:.3f}. "
        "Likelihoods by REML compare models of the same mean only; AIC and the ratios below are by ML."
    )


def tests(intercepts: Any, slopes: Any) -> None:
    """Print the parametric bootstrap of the variance of the slopes."""
    heading("4. Do the slopes differ at all?")
    table = anova(intercepts, slopes, nrep=N_REPLICATES, rng=1)
    row = table.iloc[1]
    say(
        "The likelihood ratio of (Days | Subject) against (1 | Subject) is "
        f"{row['statistic']:.1f} on {row['df_diff']:.0f} df. A variance of 0 is at the boundary, where "
        f"the chi-square distribution does not hold; {row['draws']:.0f} ratios of data drawn from the "
        f"smaller model give P = {row['P']:.2f} +/- {row['mc_error']:.2f}: none was as large."
    )


def steadiness(sleep: pd.DataFrame, slopes: Any) -> Any:
    """Print the fit with random effects in the dispersion."""
    heading("5. Are some people steadier than others?")
    model = DoubleGLM.from_formula(f"{MEAN} | 1 + (1 | Subject)", sleep)
    res = model.fit()
    with warnings.catch_warnings():
        # its error is what the text is about
        warnings.simplefilter("ignore", LaplaceErrorWarning)
        laplace = model.fit(nodes=1)
    name = "sd(dispersion-Subject)"
    say(
        "So far the residual variance was the same for all. A random effect of log(phi), (1 | Subject) "
        f"after the bar, raises the log-likelihood by {res.llf - slopes.llf:.1f} with one parameter, "
        f"{name} = {res.params[name]:.2f} ({res.bse[name]:.2f}): the residual standard deviations of "
        f"people vary by a factor of {np.exp(res.params[name] / 2):.2f} either way. The steadiest and "
        "the least steady, as modes of the effect on log(phi):"
    )
    effects = res.ranef().query("part == 'dispersion'").sort_values("mode")
    effects["residual sd"] = np.exp((res.params["dispersion-Intercept"] + effects["mode"]) / 2)
    shown = pd.concat([effects.head(3), effects.tail(3)]).set_index("level")
    show(shown[["mode", "sd", "residual sd"]].rename_axis("Subject"), 2)
    say(
        f"The random effect is integrated out by quadrature with {res.fit.nodes} nodes. Laplace's "
        f"approximation, which glmmTMB takes, is {res.llf - laplace.llf:.2f} too low here and has "
        f"{name} = {laplace.params[name]:.2f}. The mean slope moves to {res.params['Days']:.2f}, since "
        "steady people count for more."
    )
    return res


def plot(sleep: pd.DataFrame, slopes: Any, res: Any) -> Any:
    """Draw the shrinkage of the lines, the dispersion effects, and Q-Q plots of all random effects."""
    figure = require_matplotlib()(figsize=(11, 7.6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    _shrinkage(axes[0], lines(sleep, slopes), slopes.params)
    res.plot_random_effects(part="dispersion", ax=axes[1])
    res.plot_qq(ax=axes[2], rng=1)
    axes[2].set_title("residuals", fontsize="medium")
    res.plot_random_effects_qq(ax=axes[3:])
    return figure


def _shrinkage(ax: Any, table: pd.DataFrame, params: pd.Series) -> None:
    """Draw an arrow from each subject's own line to that of the mixed model."""
    for _, row in table.iterrows():
        own, pooled = row[["own intercept", "own slope"]], row[["intercept", "slope"]]
        arrow = {"arrowstyle": "->", "color": GREY, "shrinkA": 2, "shrinkB": 2}
        ax.annotate("", tuple(pooled), tuple(own), arrowprops=arrow)
    ax.plot(
        table["own intercept"], table["own slope"], "^", color=COLOURS[1], ms=4, label="no pooling"
    )
    ax.plot(
        table["intercept"], table["slope"], "o", color=COLOURS[0], ms=4, label="partial pooling"
    )
    ax.plot(params["Intercept"], params["Days"], "s", color="black", ms=6, label="mean line")
    ax.set(xlabel="reaction time on day 0 (ms)", ylabel="ms a day")
    ax.set_title("lines of the subjects", fontsize="medium")
    ax.legend(frameon=False, fontsize="small")


def main(out: Path = OUT) -> None:
    """
    Analyse reaction times with random effects in the mean and in the dispersion, and save the plots.

    Parameters
    ----------
    out : Path
        Folder of the plots.
    """
    sleep = load_sleepstudy()
    say(STORY)
    slopes = pooling(sleep)
    intercepts = correlation(sleep)
    restricted(sleep, slopes)
    tests(intercepts, slopes)
    res = steadiness(sleep, slopes)
    save({"sleepstudy.png": lambda: plot(sleep, slopes, res)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.sleepstudy")
