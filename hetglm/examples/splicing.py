"""The question that started the package: whether a gene's group changes the variance of K/N."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.genmod.families import Binomial

from hetglm.datasets import load_splicing
from hetglm.diagnostics import plots_binomial
from hetglm.examples.story import OUT, heading, run, save, say
from hetglm.exceptions import BoundaryWarning, LaplaceErrorWarning, SmallCountsWarning
from hetglm.inference.anova import anova
from hetglm.models import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.utils.axes import COLOURS, MARKERS, require_matplotlib

QUESTION = (
    "A biologist counts K of N transcripts in two groups of 20 genes, under three treatments, with 30 "
    "replicates each: 3,600 proportions. Do group and treatment change the variance of K/N beyond what "
    "N and the mean explain?"
)
#: Coefficient that the question asks for.
GROUP = "dispersion-group[T.b]"


def question_of_2015(data: pd.DataFrame) -> Any:
    """Fit the double GLM of the question, one mean for all genes, and say what is wrong with it."""
    heading("1. The double GLM of the question: K/N ~ 1, dispersion ~ group + treatment")
    model = DoubleGLM.from_formula(
        "I(K / N) ~ 1 | group + treatment", data, family=Binomial(), n_trials="N"
    )
    with warnings.catch_warnings():
        # the summary has these warnings, and the text below explains them
        warnings.simplefilter("ignore", SmallCountsWarning)
        res = model.fit(cov_type="eim")
    print(res.summary(), end="\n\n")
    say(f"-2 log-EQL = {-2 * res.llf:.6f}, as R's dglm has it.")
    say(
        f"No effect of the group (P = {res.pvalues[GROUP]:.2f}), but the model is "
        "wrong: it has one common mean for forty genes whose means range over all of (0, 1), and the "
        "differences between genes dominate the variance within them."
    )
    return res


def mean_per_gene(data: pd.DataFrame) -> Any:
    """Fit the beta-binomial with a mean for each gene by maximum likelihood."""
    heading("2. The beta-binomial: a mean per gene, sigma ~ group + treatment")
    res = BetaBinomial.from_formula("K + I(N - K) ~ C(id) | group + treatment", data).fit()
    print(res.summary(), end="\n\n")
    print(anova(res).to_string(float_format="%.5g"), end="\n\n")
    test = res.compare_constant_dispersion()
    say(
        f"log sigma of group b: {res.params[GROUP]:+.3f}, model-based standard error "
        f"{res.bse[GROUP]:.3f}; against constant dispersion LR = {test.statistic:.1f} on {test.df} df."
    )
    return res


def clustered(data: pd.DataFrame, model_based: Any) -> Any:
    """Let the genes, not the replicates, be the units."""
    heading("3. The genes are the independent units")
    with warnings.catch_warnings():
        # the dispersion of some genes is zero: expected here
        warnings.simplefilter("ignore", BoundaryWarning)
        by_gene = BetaBinomial.from_formula("K + I(N - K) ~ C(id) | C(id) + treatment", data).fit()
    test = anova(model_based, by_gene).iloc[1]
    say(
        "That likelihood-ratio test is far too optimistic. Genes of one group have dispersions of their "
        f"own (a sigma per gene: LR = {test.statistic:.0f} on {test.df_diff:.0f} df against one per "
        "group), so the model-based test counts 3,600 replicates as if 40 genes shared two dispersions. "
        "With the covariance clustered by gene (a sandwich without small-sample factor):"
    )
    res = model_based.model.fit(
        start_params=model_based.params,
        cov_type="cluster",
        cov_kwds={"groups": "id", "use_correction": False},
    )
    k = len(res.params_mean)
    table = pd.DataFrame(
        {
            "log sigma": res.params_dispersion,
            "model-based SE": np.asarray(model_based.bse)[k:],
            "clustered SE": np.asarray(res.bse)[k:],
            "z": np.asarray(res.tvalues)[k:],
            "P": np.asarray(res.pvalues)[k:],
        }
    )
    print(table.round(3).to_string(), end="\n\n")
    return res


def random_genes(data: pd.DataFrame, by_clusters: Any) -> Any:
    """Let the genes be random effects of both parts."""
    heading("4. The genes as random effects in both parts")
    formula = "K + I(N - K) ~ group + treatment + (1 |p| id) | group + treatment + (1 |p| id)"
    model = BetaBinomial.from_formula(formula, data)
    with warnings.catch_warnings():
        # the text below has the error of Laplace's approximation
        warnings.simplefilter("ignore", LaplaceErrorWarning)
        res = model.fit(nodes=1)
    say(
        "Clustering corrects the standard error of a model in which all genes of a group share one "
        "sigma. Here logit(mu) and log(sigma) of each gene deviate from those of its group by normal "
        "random effects, which may be correlated, (1 |p| id) in both parts:"
    )
    limits = np.asarray(res.conf_int())
    table = pd.DataFrame(
        {
            "estimate": res.params,
            "std error": res.bse,
            "2.5 %": limits[:, 0],
            "97.5 %": limits[:, 1],
        }
    ).tail(3)
    print(table.round(3).to_string(index_names=False), end="\n\n")
    sd = res.params["sd(dispersion-id)"]
    say(
        f"The sigmas of genes of a group vary, by a factor of {np.exp(sd):.0f} for one standard "
        "deviation, and genes with a larger share of the first form are the more dispersed. The effect "
        "of the group, of a typical gene, has about the standard error of a comparison of 20 with 20 "
        f"genes, {sd:.2f} x sqrt(2/20) = {sd * np.sqrt(0.1):.2f}; beside the clustered one:"
    )
    fits = {"clustered": by_clusters, "random effects": res}
    rows = {
        name: [numbers[GROUP] for numbers in (one.params, one.bse, one.tvalues, one.pvalues)]
        for name, one in fits.items()
    }
    frame = pd.DataFrame.from_dict(rows, "index", columns=["log sigma of group b", "SE", "z", "P"])
    print(frame.round(3).to_string(), end="\n\n")
    say(
        "(By Laplace's approximation; by quadrature at these estimates the log-likelihood is "
        f"{res.laplace_error:.2f} larger. fit(nodes=15) takes some seconds and agrees.)"
    )
    return res


def answer(by_clusters: Any, res: Any) -> None:
    """Print the plain sentence."""
    ratio, low, high = ratio_of_groups(by_clusters)
    typical, lower, upper = ratio_of_groups(res)
    names = [n for n in by_clusters.model.parameter_names if n.startswith("dispersion-treatment")]
    treatment = by_clusters.wald_test(" = ".join([*names, "0"]))
    say(
        f"Answer: group b is about {ratio:.1f} times more overdispersed than group a "
        f"(95 % interval {low:.1f} to {high:.0f}), and there is no evidence that treatment changes it "
        f"(P = {treatment.pvalue:.2f}). The interval is the clustered one, since 40 genes and not 3,600 "
        f"replicates carry the information. The sigma of a typical gene is {typical:.1f} times larger "
        f"({lower:.1f} to {upper:.0f}, by random effects): genes differ so much within their group that "
        "20 of each leave the sign of that difference open."
    )


def ratio_of_groups(res: Any) -> Any:
    """Return the ratio of sigma between the groups with its 95 % interval."""
    limits = np.asarray(res.conf_int())[res.model.parameter_names.index(GROUP)]
    return np.exp([res.params[GROUP], *limits])


def plot_genes(data: pd.DataFrame, res: Any) -> Any:
    """Draw log sigma of each gene by group, and the effects on the mean against those on sigma."""
    figure = require_matplotlib()(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    group = data.drop_duplicates("id").set_index("id")["group"]
    genes = res.ranef().query("part == 'dispersion'").sort_values("mode")
    first, z = res.params["dispersion-Intercept"], 1.96
    start = 0
    for i, name in enumerate(("a", "b")):
        level, colour = first + i * res.params[GROUP], COLOURS[i]
        own = genes[genes["level"].map(group) == name]
        x, y = start + np.arange(len(own)), level + own["mode"]
        half = z * own["sd_given_estimates"]
        left.vlines(x, y - half, y + half, colors=colour, lw=2, alpha=0.5)
        left.plot(x, y, MARKERS[i], color=colour, ms=5, mew=0, label=f"genes of group {name}")
        left.hlines(level, x[0] - 0.5, x[-1] + 0.5, colors=colour, lw=1.5)
        start += len(own) + 2
    left.set(
        xticks=[], xlabel="genes, ordered within their group", ylabel="log(sigma) in treatment t.1"
    )
    left.set_title("modes with 95 % intervals; lines: typical gene", fontsize="medium")
    left.legend(frameon=False, loc="upper left")
    res.plot_random_effects_pairs(ax=right)
    right.set(xlabel="effect of the gene on logit(mu)", ylabel="effect of the gene on log(sigma)")
    return figure


def plot(data: pd.DataFrame, res: Any) -> Any:
    """Draw the variance beyond the binomial by gene, group and treatment, with the fit."""
    observed = plots_binomial.beyond_binomial(data, "K", "N", ["group", "treatment", "id"])
    cells = data.drop_duplicates(["group", "treatment"]).reset_index(drop=True)
    frame = res.get_prediction(cells, which="icc").summary_frame()
    fitted = pd.concat([cells[["group", "treatment"]], frame], axis=1)
    figure = require_matplotlib()(figsize=(8, 5), layout="constrained")
    axes = plots_binomial.plot_beyond_binomial(
        observed, fitted, "treatment", "group", figure.subplots()
    )
    axes.set_title("Each point a gene; lines and bands: fit and 95 % interval, clustered by gene")
    return figure


def main(out: Path = OUT) -> None:
    """
    Analyse the splicing data from the question to the answer, and save the plot.

    Parameters
    ----------
    out : Path
        Folder of the plot.
    """
    data = load_splicing()
    say(QUESTION)
    question_of_2015(data)
    model_based = mean_per_gene(data)
    res = clustered(data, model_based)
    genes = random_genes(data, res)
    answer(res, genes)
    plots = {"splicing.png": lambda: plot(data, res), "genes.png": lambda: plot_genes(data, genes)}
    save(plots, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.splicing")
