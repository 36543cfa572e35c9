"""The hearts of cats: the introduction of R's lmvar from end to end, with its published numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hetglm.datasets import load_cats
from hetglm.examples.story import OUT, heading, run, save, say, show
from hetglm.exceptions import NotNestedError
from hetglm.inference.stepwise import stepwise
from hetglm.models.doubleglm import DoubleGLM
from hetglm.prediction.crossvalidation import cross_validate
from hetglm.utils import axes

STORY = (
    "The hearts of 144 cats (Hwt, in g) and their bodies (Bwt, in kg) are weighed. A linear model "
    "has one standard deviation for all cats, but the hearts of heavy cats vary more. The R package "
    "lmvar (Posthuma Partners) gives log(sigma) a linear model of its own; its introduction is followed "
    "here again."
)
SCALES = (
    "lmvar models log(sigma), hetglm log(phi) with phi = sigma^2: lmvar's coefficients of the "
    "dispersion and their standard errors are half of ours. Its standard errors come from the expected "
    "information, cov_type='eim'. On lmvar's scale:"
)


def fit_with_intercepts(cats: pd.DataFrame) -> Any:
    """Fit mean and dispersion to the body weight, with lmvar's standard errors."""
    return DoubleGLM.from_formula("Hwt ~ Bwt | Bwt", cats).fit(cov_type="eim")


def on_the_scale_of_lmvar(res: Any) -> pd.DataFrame:
    """Return the coefficients of mean and log(sigma), with standard errors, z and P."""
    half = np.where([name.startswith("dispersion-") for name in res.params.index], 0.5, 1.0)
    table = {"Estimate": half * res.params, "Std. Error": half * res.bse}
    return pd.DataFrame({**table, "z value": res.tvalues, "Pr(>|z|)": res.pvalues})


def covariance_of_lmvar(res: Any) -> pd.DataFrame:
    """Return the covariance of the coefficients of mean and log(sigma)."""
    half = np.where([name.startswith("dispersion-") for name in res.params.index], 0.5, 1.0)
    return res.cov_params() * np.outer(half, half)


def intervals(res: Any, cats: pd.DataFrame) -> pd.DataFrame:
    """Return mean and sd of each row with the symmetric intervals that lmvar has, and those of y."""
    mean = res.get_prediction(cats, obs_ci="plugin").summary_frame()
    sd = res.get_prediction(cats, which="sd", ci_method="delta").summary_frame()
    return pd.DataFrame(
        {
            "mu": mean["predicted"],
            "mu_lwr": mean["ci_lower"],
            "mu_upr": mean["ci_upper"],
            "sigma": sd["predicted"],
            "sigma_lwr": sd["ci_lower"],
            "sigma_upr": sd["ci_upper"],
            "lwr": mean["obs_ci_lower"],
            "upr": mean["obs_ci_upper"],
        }
    )


def first_fit(cats: pd.DataFrame) -> Any:
    """Print the fit with intercepts."""
    heading("1. Mean and standard deviation grow with the body")
    res = fit_with_intercepts(cats)
    print(res.summary(), end="\n\n")
    say(SCALES)
    show(on_the_scale_of_lmvar(res), 6)
    quantiles = pd.DataFrame(
        {
            "Standardized residuals": np.quantile(res.resid_pearson, [0, 0.25, 0.5, 0.75, 1]),
            "Standard deviations": np.quantile(res.predict(which="sd"), [0, 0.25, 0.5, 0.75, 1]),
        },
        index=["Min", "1Q", "Median", "3Q", "Max"],
    )
    show(quantiles.T)
    test = res.compare_constant_dispersion()
    say(
        f"Against the classical linear model: log likelihood-ratio {test.statistic / 2:.6f}, {test.df} "
        f"additional degree of freedom, P = {test.pvalue:.5f}. There are {res.nobs:.0f} observations, "
        f"the log-likelihood is {res.llf:.3f} with {len(res.params)} coefficients, "
        f"{len(res.params_mean)} of them of the mean; AIC {res.aic:.4f}, BIC {res.bic:.4f}."
    )
    say("The covariance matrix, on lmvar's scale:")
    table = covariance_of_lmvar(res)
    names = ["(Intercept)", "Bwt", "(Intercept_s)", "Bwt_s"]
    show(table.set_axis(names).set_axis(names, axis=1), 6)
    return res


def without_intercepts(cats: pd.DataFrame) -> None:
    """Print the fit without intercepts, which is not nested with a constant dispersion."""
    heading("2. Without intercepts")
    res = DoubleGLM.from_formula("Hwt ~ Bwt - 1 | Bwt - 1", cats).fit(cov_type="eim")
    show(on_the_scale_of_lmvar(res), 6)
    classical = DoubleGLM.from_formula("Hwt ~ Bwt - 1", cats).fit()
    table = pd.DataFrame(
        {
            "log-likelihood": [res.llf, classical.llf],
            "AIC": [res.aic, classical.aic],
            "BIC": [res.bic, classical.bic],
        },
        index=["sigma grows with Bwt", "one sigma"],
    )
    show(table)
    try:
        res.compare_constant_dispersion()
    except NotNestedError as exc:
        say(f"No likelihood ratio compares the two, and the package says so: {exc}.")
    say(
        f"AIC and BIC favour the variable sigma. (R's lm divides by n - 1 for its own sigma of "
        f"{np.sqrt((classical.resid**2).sum() / (len(cats) - 1)):.4f}; that of maximum likelihood is "
        f"{np.sqrt(classical.fitted_dispersion.iloc[0]):.4f}.)"
    )


def bands(res: Any, cats: pd.DataFrame) -> None:
    """Print the intervals."""
    heading("3. Intervals")
    say(
        "Confidence intervals of mu and sigma, as fitted(fit, interval = 'confidence') gives them, and "
        "prediction intervals of a new heart (lwr, upr). lmvar's interval of sigma is symmetric: "
        "ci_method='delta'. For five body weights:"
    )
    first = cats.drop_duplicates("Bwt").iloc[[0, 1, 5, 10, -1]]
    show(pd.concat([first["Bwt"], intervals(res, first)], axis=1).set_index("Bwt"), 3)
    log_scale = res.get_prediction(first.iloc[[-1]], which="sd").conf_int()[0]
    say(
        "Our default is formed on the log scale, where sigma cannot become negative: "
        f"{log_scale[0]:.3f} to {log_scale[1]:.3f} for the heaviest cat."
    )


def choose(cats: pd.DataFrame) -> None:
    """Print the selected terms and the cross-validated scores."""
    heading("4. Choosing: fwbw and cv")
    full = DoubleGLM.from_formula("Hwt ~ Sex * Bwt | Sex * Bwt", cats).fit()
    say("lmvar's fwbw searches for the best terms; stepwise does it here, term by term, by BIC:")
    print(stepwise(full, "both", "bic"), end="\n\n")
    say("Its use for predicting new cats, as in lmvar's cv (10 parts, 5 times):")
    res = fit_with_intercepts(cats)
    print(cross_validate(res, repeats=5, rng=1), end="\n\n")
    say(
        "The mean gains nothing. The log score and the CRPS, which judge the whole distribution, lean "
        "towards the variable sigma, but by less than a standard error: what the likelihood ratio sees "
        "is too small to show in the prediction of 144 cats. And is anything wrong with the fit?"
    )
    print(res.diagnose(), end="\n\n")


def plot(cats: pd.DataFrame, res: Any) -> Any:
    """Draw hearts with mean and prediction interval, and sigma with its symmetric interval."""
    figure = axes.require_matplotlib()(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = pd.DataFrame({"Bwt": np.linspace(cats["Bwt"].min(), cats["Bwt"].max(), 60)})
    bands = intervals(res, grid)
    blue, orange = axes.COLOURS[:2]
    left.plot(
        cats["Bwt"], cats["Hwt"], "o", ms=4, mec="none", color="0.35", alpha=0.6, label="cats"
    )
    left.plot(grid["Bwt"], bands["mu"], color=blue, lw=2, label="mean, 95 % interval")
    left.fill_between(grid["Bwt"], bands["mu_lwr"], bands["mu_upr"], color=blue, alpha=0.3, lw=0)
    for name, label in (("lwr", "95 % of new hearts"), ("upr", None)):
        left.plot(grid["Bwt"], bands[name], color=orange, lw=1.5, ls="--", label=label)
    left.set(xlabel="body weight (kg)", ylabel="heart weight (g)")
    left.legend(frameon=False, loc="upper left")
    right.plot(grid["Bwt"], bands["sigma"], color=blue, lw=2, label="fitted, 95 % interval")
    right.fill_between(
        grid["Bwt"], bands["sigma_lwr"], bands["sigma_upr"], color=blue, alpha=0.3, lw=0
    )
    constant = DoubleGLM.from_formula("Hwt ~ Bwt", cats).fit()
    level = float(np.sqrt(constant.fitted_dispersion.iloc[0]))
    right.axhline(level, color=orange, ls="--", lw=1.5, label="one sigma for all")
    right.set(xlabel="body weight (kg)", ylabel="standard deviation of heart weight (g)")
    right.legend(frameon=False, loc="upper left")
    right.set_ylim(0, None)
    return figure


def main(out: Path = OUT) -> None:
    """
    Repeat the analysis of lmvar's introduction, and save its plot.

    Parameters
    ----------
    out : Path
        Folder of the plot.
    """
    cats = load_cats()
    say(STORY)
    res = first_fit(cats)
    without_intercepts(cats)
    bands(res, cats)
    choose(cats)
    save({"cats.png": lambda: plot(cats, res)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.cats")
