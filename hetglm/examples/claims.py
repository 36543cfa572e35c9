"""Insurance claims: exposure as offset of the mean and as weight of the dispersion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.genmod.families import Tweedie

from hetglm.examples.story import OUT, heading, run, save, say
from hetglm.families.tweedie import CompoundPoissonGamma
from hetglm.models.doubleglm import DoubleGLM
from hetglm.utils.axes import COLOURS, MARKERS, require_matplotlib

POWER = 1.5
POLICIES = 100_000
AREAS = ("country", "town", "city")
DRIVERS = ("25 and over", "under 25")
#: The simulated truth: logarithms of a full year's mean claim (in thousands) and of its dispersion.
TRUE_MEAN = {
    "Intercept": -2.0,
    "area[T.town]": 0.2,
    "area[T.city]": 0.4,
    "young": 0.7,
    "power": 0.3,
}
TRUE_DISPERSION = {"Intercept": 1.2, "area[T.town]": 0.0, "area[T.city]": 0.3, "young": 0.5}
FORMULA = "claim ~ area + young + power | area + young"
STORY = (
    "100,000 motor policies, in force for a few weeks up to a year. A policy costs nothing or the sum "
    "of a few claims: a compound Poisson-gamma variable, which has Tweedie's distribution with "
    "variance power 1.5. "
    "The tariff needs the mean; the reserve, the reinsurance and every interval need the variance."
)
EXPOSURE = (
    "A policy of w years is the sum of w independent years. Its mean is w times a year's, so log w is "
    "the mean's offset: exposure=w. Its variance is w times a year's too: w phi m^p = (phi w^(1-p)) "
    "(w m)^p. With the claim per year, claim/w, it is simpler: the mean has no offset and the variance "
    "is phi m^p / w, so w is the weight of the dispersion: var_weights=w."
)


def linear(data: pd.DataFrame, truth: dict[str, float]) -> NDArray[Any]:
    """Return a linear predictor from coefficients by their names, shape (n,)."""
    columns = {f"area[T.{area}]": data["area"] == area for area in AREAS[1:]}
    columns |= {"Intercept": np.ones(len(data)), "young": data["young"], "power": data["power"]}
    return np.asarray(sum(value * columns[name] for name, value in truth.items()), dtype=float)


def make_claims(n: int = POLICIES, rng: int = 20260401) -> pd.DataFrame:
    """
    Return simulated policies.

    Parameters
    ----------
    n : int
        Number of policies.
    rng : int
        Seed.

    Returns
    -------
    DataFrame
        ``years`` in force, ``area``, ``young`` (driver under 25), ``power`` of the engine
        (standardised), and the total ``claim`` in thousands.
    """
    generator = np.random.default_rng(rng)
    data = pd.DataFrame(
        {
            "years": np.ceil(generator.beta(2, 1, size=n) * 52) / 52,
            "area": np.array(AREAS)[generator.choice(3, size=n, p=(0.3, 0.4, 0.3))],
            "young": (generator.uniform(size=n) < 0.15).astype(int),
            "power": np.round(generator.normal(size=n), 1),
        }
    )
    data["area"] = pd.Categorical(data["area"], AREAS)
    # sum of w years: by additivity a Tweedie of mean w m and dispersion phi w^(1-p)
    years, p = data["years"].to_numpy(), POWER
    mu, phi = np.exp(linear(data, TRUE_MEAN)), np.exp(linear(data, TRUE_DISPERSION))
    distribution = CompoundPoissonGamma(p)(years * mu, phi * years ** (1 - p))
    data["claim"] = distribution.rvs(random_state=generator)
    return data


def fit_of_totals(data: pd.DataFrame) -> Any:
    """Fit the total claims: exposure of the mean, and w^(p-1) as weight of the dispersion."""
    return DoubleGLM.from_formula(
        FORMULA,
        data.assign(weight=data["years"] ** (POWER - 1)),
        family=Tweedie(var_power=POWER),
        likelihood="exact",
        exposure="years",
        var_weights="weight",
    ).fit()


def fit_of_rates(data: pd.DataFrame) -> Any:
    """Fit the claims per year: the years are the weight of the dispersion."""
    return DoubleGLM.from_formula(
        FORMULA,
        data.assign(claim=data["claim"] / data["years"]),
        family=Tweedie(var_power=POWER),
        likelihood="exact",
        var_weights="years",
    ).fit()


def against_truth(res: Any) -> None:
    """Print the estimates of both parts and the simulated values."""
    truth = [*TRUE_MEAN.values(), *TRUE_DISPERSION.values()]
    names = [*TRUE_MEAN, *(f"dispersion-{name}" for name in TRUE_DISPERSION)]
    table = pd.DataFrame({"simulated": truth}, index=names)
    table["estimate"], table["std error"] = res.params[names], res.bse[names]
    table["z from truth"] = (table["estimate"] - table["simulated"]) / table["std error"]
    print(table.round(3).to_string(), end="\n\n")


def what_a_weight_does(data: pd.DataFrame, right: Any) -> None:
    """Show what becomes of the fit where the exposure enters the mean alone."""
    heading("3. Exposure in the mean alone is half of it")
    wrong = DoubleGLM.from_formula(
        FORMULA, data, family=Tweedie(var_power=POWER), likelihood="exact", exposure="years"
    ).fit()
    say(
        f"Without the weight the log-likelihood falls by {right.llf - wrong.llf:.0f}, with as many "
        "coefficients: a year's policy is then assumed as variable, relative to its mean, as a week's."
    )


def two_drivers(res: Any) -> pd.DataFrame:
    """Return the distribution of a full year for an old and a young driver in town."""
    drivers = pd.DataFrame({"area": "town", "young": [0, 1], "power": 0.0, "years": 1.0})
    distribution = res.get_distribution(drivers)
    return pd.DataFrame(
        {
            "mean": distribution.mean(),
            "sd": distribution.std(),
            "P(no claim)": distribution.cdf(0.0),
            "99 % quantile": distribution.ppf(0.99),
            "P(above 5)": distribution.sf(5.0),
        },
        index=list(DRIVERS),
    )


def draw_claim_free(axes: Any, data: pd.DataFrame, distribution: Any) -> None:
    """Draw the share of policies without a claim, by their years in force, with the fitted one."""
    seen = data[["years", "young"]].assign(free=data["claim"] == 0, fitted=distribution.cdf(0.0))
    for young, cells in (
        seen.groupby(["young", np.ceil(seen["years"] * 13).rename("month")]).mean().groupby("young")
    ):
        colour, marker = COLOURS[int(young)], MARKERS[int(young)]
        label = DRIVERS[int(young)]
        axes.plot(cells["years"], cells["free"], marker, ms=4, color=colour, label=label)
        axes.plot(cells["years"], cells["fitted"], color=colour, lw=1)
    axes.set(xlabel="years in force", ylabel="share of policies without a claim")
    axes.legend(title="driver", frameon=False)


def draw_tail(axes: Any, data: pd.DataFrame, res: Any) -> None:
    """Draw the share of policies with more than a claim, with the mean of some fitted distributions."""
    for young, some in data.groupby("young"):
        levels = np.geomspace(0.05, np.sort(some["claim"])[-3], 25)
        observed = [(some["claim"] > level).mean() for level in levels]
        few = some.iloc[:: max(1, len(some) // 1000)]
        distributions = res.get_distribution(few.assign(weight=few["years"] ** (POWER - 1)))
        colour, marker = COLOURS[int(young)], MARKERS[int(young)]
        axes.loglog(levels, observed, marker, ms=4, color=colour)
        axes.loglog(
            levels, [distributions.sf(level).mean() for level in levels], color=colour, lw=1
        )
    axes.set(xlabel="claim (thousands)", ylabel="share of policies above")


def plot(data: pd.DataFrame, res: Any) -> Any:
    """Draw the share of claim-free policies by exposure, and the tail of the claims, with the fit."""
    figure = require_matplotlib()(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_claim_free(left, data, res.get_distribution())
    draw_tail(right, data, res)
    figure.suptitle("Points: simulated policies; lines: the fitted Tweedie distribution")
    return figure


def main(out: Path = OUT) -> None:
    """
    Fit a tariff with a model of the dispersion, and save its plot.

    Parameters
    ----------
    out : Path
        Folder of the plot.
    """
    data = make_claims()
    say(STORY)
    free, years = (data["claim"] == 0).mean(), data["years"]
    say(
        f"Of these policies {100 * free:.0f} % had no claim; the years in force run from "
        f"{years.min():.2f} to {years.max():.0f} with mean {years.mean():.2f}."
    )
    heading("1. Exposure in both parts")
    say(EXPOSURE)
    totals, rates = fit_of_totals(data), fit_of_rates(data)
    print(totals.summary(), end="\n\n")
    gap = np.max(np.abs(totals.params - rates.params) / totals.bse)
    say(
        "The fit of claims per year, weighted by the years, has the same coefficients: they differ by "
        f"at most {gap:.0e} standard errors."
    )
    heading("2. The truth is known here")
    against_truth(totals)
    what_a_weight_does(data, totals)
    heading("4. What the dispersion is for")
    print(two_drivers(rates).round(4).to_string(), end="\n\n")
    ratio = np.exp(totals.params["dispersion-young"])
    say(
        f"Young drivers cost {np.exp(totals.params['young']):.1f} times as much, and at equal means "
        f"their variance is {ratio:.1f} times that of others: a tariff with one dispersion would "
        "misstate the probability of a large claim in both groups."
    )
    save({"claims.png": lambda: plot(data, totals)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.claims")
