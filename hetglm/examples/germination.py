"""Seeds on plates: how much more they differ than the binomial allows, and whether by extract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from hetglm.datasets import load_germination
from hetglm.examples.story import OUT, heading, run, save, say, show
from hetglm.inference.anova import anova
from hetglm.models import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.prediction.crossvalidation import cross_validate
from hetglm.utils.axes import COLOURS, require_matplotlib

STORY = (
    "Seeds of two varieties of the parasitic plant Orobanche aegyptiaca lie on 21 plates with an "
    "extract of bean or of cucumber root, and are counted when they germinate (Crowder 1978). Plates "
    "treated alike differ: seeds that share a plate share its moisture, its warmth and its hand."
)
MEAN = "y + I(n - y) ~ variety * root"


def binomial(seeds: pd.DataFrame) -> Any:
    """Print the logistic regression and its residual overdispersion."""
    heading("1. Were the seeds independent")
    res = GLM.from_formula(MEAN, seeds, family=Binomial()).fit()
    table = pd.DataFrame({"coef": res.params, "std err": res.bse, "P": res.pvalues})
    show(table)
    say(
        f"The interaction looks clear. But the residual deviance is {res.deviance:.2f} on "
        f"{res.df_resid:.0f} degrees of freedom: the plates differ by more than their seeds' chance."
    )
    return res


def beta_binomial(seeds: pd.DataFrame, plain: Any) -> Any:
    """Print a constant intraclass correlation and the test that it is zero."""
    heading("2. One correlation for all plates")
    res = BetaBinomial.from_formula(MEAN, seeds).fit()
    table = pd.DataFrame({"coef": res.params, "std err": res.bse, "P": res.pvalues})
    show(table)
    grown, rho = res.bse[plain.params.index] / plain.bse, 1 / (1 + np.exp(-res.params.iloc[-1]))
    say(
        f"The standard errors of the mean have grown by {100 * (grown.min() - 1):.0f} to "
        f"{100 * (grown.max() - 1):.0f} %: two seeds of a plate have correlation rho = {rho:.4f}. The P "
        "of its logarithm tests nothing of interest, for rho = 0 is at minus infinity. The tests that "
        "hold there are one-sided:"
    )
    say(f"{res.test_overdispersion()}.")
    return res


def by_root(seeds: pd.DataFrame, constant: Any) -> Any:
    """Print the test whether the correlation depends on the extract."""
    heading("3. Does the extract change the correlation?")
    res = BetaBinomial.from_formula(MEAN + " | root", seeds).fit()
    show(pd.DataFrame({"coef": res.params, "std err": res.bse, "P": res.pvalues}))
    say(f"{res.compare_constant_dispersion()}.")
    test = res.compare_constant_dispersion(test="bootstrap", nrep=99, rng=1)
    say(
        "With 21 plates the chi-square approximation is poor. Ratios of data drawn from the model "
        "of one rho, both "
        f"models refitted, give P = {test.pvalue:.2f} +/- {test.mc_error:.2f}."
    )
    cells = seeds.drop_duplicates("root").set_index("root", drop=False)
    frame = res.get_prediction(cells, which="icc").summary_frame()
    show(frame.rename_axis("root"))
    say(
        "The estimates of rho differ by a factor of two, but their intervals overlap almost "
        "entirely: 21 "
        f"plates are too few to decide. AIC agrees: {constant.aic:.2f} with one rho, "
        f"{res.aic:.2f} with two."
    )
    show(anova(res, typ=2))
    return res


def worth(seeds: pd.DataFrame, res: Any, constant: Any, plain: Any) -> None:
    """Print the effective sample size and the cross-validated scores."""
    heading("4. What the plates cost")
    total = constant.effective_sample_size(total=True).summary_frame().iloc[0]
    say(
        f"All {seeds['n'].sum()} seeds are equivalent to {total['predicted']:.0f} independent ones "
        f"(95 % interval {total['ci_lower']:.0f} to {total['ci_upper']:.0f}): "
        "more plates would have been more informative than more seeds on each plate."
    )
    inside = prediction_limits(seeds, constant, plain)
    binomial, correlated = (
        ((seeds["y"] >= inside[f"{name} low"]) & (seeds["y"] <= inside[f"{name} high"])).sum()
        for name in ("binomial", "beta-binomial")
    )
    say(
        f"Of the 21 plates {binomial} lie within the 95 % interval of the binomial and {correlated} "
        "within that of the beta-binomial. For plates that the fit has not seen (leave one out), a rho "
        "for each extract predicts no better than one rho:"
    )
    found = cross_validate(res, k=len(seeds), rng=1, metrics=["mae", "log_score", "crps"])
    print(found, end="\n\n")
    say(f"And is anything wrong with the fit of one rho? {constant.diagnose()}")


def random_plates(seeds: pd.DataFrame, constant: Any) -> Any:
    """Print the binomial with a random effect of each plate beside the beta-binomial."""
    heading("5. A random effect of each plate")
    data = seeds.assign(plate=np.arange(len(seeds)))
    known = {"data": data, "family": Binomial()}
    res = DoubleGLM.from_formula(f"{MEAN} + (1 | plate) | 0", **known).fit()
    say(
        "Plates may also differ by a normal deviation of their logit, (1 | plate), with binomial seeds "
        "on each (phi = 1, | 0). Both models have one parameter for the plates, and nearly the same fit "
        f"(log-likelihood {res.llf:.2f}; beta-binomial {constant.llf:.2f}):"
    )
    k = len(res.params_mean)
    table = pd.DataFrame(
        {
            "(1 | plate)": res.params.iloc[:k],
            "std err": res.bse.iloc[:k],
            "beta-binomial": constant.params.iloc[:k],
            "std err ": constant.bse.iloc[:k],
        }
    )
    show(table)
    cells = seeds.drop_duplicates(["variety", "root"])
    marginal = res.predict(cells.assign(plate=0), random="integrate")
    typical = res.predict(cells.assign(plate=0), random=False)
    say(
        f"The plates have the standard deviation {res.params['sd(plate)']:.3f} on the logit scale. The "
        "coefficients of (1 | plate) are those of a given plate, of the beta-binomial those of the "
        "share of all plates; averaged over plates the four shares differ by at most "
        f"{np.max(np.abs(marginal - constant.predict(cells))):.4f}, for the typical plate by "
        f"{np.max(np.abs(typical - constant.predict(cells))):.4f}."
    )
    plain = DoubleGLM.from_formula(f"{MEAN} | 0", **known).fit()
    row = anova(plain, res, nrep=99, rng=1).iloc[1]
    say(
        f"Do they differ at all? The ratio against no random effect is {row['statistic']:.2f}; the "
        f"half-and-half mixture of chi-squares, which holds in large samples, has P = "
        f"{stats.chi2.sf(row['statistic'], 1) / 2:.3f}, the parametric bootstrap P = {row['P']:.2f} +/- "
        f"{row['mc_error']:.2f}: four means of 21 plates bias the standard deviation downwards, in data "
        "drawn without one as well."
    )
    return res


def prediction_limits(seeds: pd.DataFrame, res: Any, plain: Any) -> pd.DataFrame:
    """Return the 95 % intervals of each plate's count, binomial and beta-binomial."""
    distribution = res.get_distribution(seeds)
    chance = stats.binom(seeds["n"], plain.fittedvalues)
    return pd.DataFrame(
        {
            f"{name} {end}": each.ppf(q)
            for name, each in (("binomial", chance), ("beta-binomial", distribution))
            for end, q in (("low", 0.025), ("high", 0.975))
        },
        index=seeds.index,
    )


def plot(seeds: pd.DataFrame, res: Any, plain: Any) -> Any:
    """Draw the share that germinated on each plate, with both prediction intervals."""
    axes = require_matplotlib()(figsize=(9, 4.5), layout="constrained").subplots()
    limits = prediction_limits(seeds, res, plain)
    order = seeds.assign(mean=res.predict(seeds)).sort_values(["variety", "root", "n"]).index
    cells = (seeds["variety"] + ", " + seeds["root"])[order]
    n = seeds["n"][order].to_numpy()
    gap = np.cumsum(np.r_[0, np.diff(pd.factorize(cells)[0])])  # a space between treatments
    x = np.arange(len(order)) + gap
    blue, orange = COLOURS[:2]
    for name, colour, width, alpha, label in (
        ("beta-binomial", blue, 9, 0.45, "beta-binomial, 95 % of plates"),
        ("binomial", orange, 3, 1.0, "binomial, 95 % of plates"),
    ):
        low, high = (limits[f"{name} {end}"][order] / n for end in ("low", "high"))
        axes.vlines(x, low, high, colors=colour, lw=width, alpha=alpha, label=label)
    axes.plot(x, seeds["y"][order] / n, "o", ms=6, color="black", label="plates")
    axes.plot(x, res.predict(seeds)[order], "_", ms=11, mew=2, color=blue, label="mean")
    labels = cells.drop_duplicates()
    axes.set_xticks([x[cells == label].mean() for label in labels], list(labels))
    axes.set(ylabel="share of seeds that germinated", ylim=(-0.03, 1.03))
    axes.set_xlabel("variety and root extract; plates of a treatment by their number of seeds")
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return axes.figure


def main(out: Path = OUT) -> None:
    """
    Analyse seeds whose germination is correlated within plates, and save the plot.

    Parameters
    ----------
    out : Path
        Folder of the plot.
    """
    seeds = load_germination()
    say(STORY)
    plain = binomial(seeds)
    constant = beta_binomial(seeds, plain)
    res = by_root(seeds, constant)
    worth(seeds, res, constant, plain)
    random_plates(seeds, constant)
    save({"germination.png": lambda: plot(seeds, constant, plain)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.germination")
