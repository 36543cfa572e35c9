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
from hetglm.exceptions import BoundaryWarning, SmallCountsWarning
from hetglm.inference.anova import anova
from hetglm.models import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.utils.axes import require_matplotlib

QUESTION = (
    "A biologist counts K of N transcripts in two groups of 20 genes, under three treatments, with 30 "
    "replicates each: 3,600 proportions. Do group and treatment change the variance of K/N beyond what "
    "N and the mean explain?"
)


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
        f"No effect of the group (P = {res.pvalues['dispersion-group[T.b]']:.2f}), but the model is "
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
    name = "dispersion-group[T.b]"
    test = res.compare_constant_dispersion()
    say(
        f"log sigma of group b: {res.params[name]:+.3f}, model-based standard error "
        f"{res.bse[name]:.3f}; against constant dispersion LR = {test.statistic:.1f} on {test.df} df."
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


def answer(res: Any) -> None:
    """Print the plain sentence."""
    name = "dispersion-group[T.b]"
    low, high = np.exp(np.asarray(res.conf_int())[res.model.parameter_names.index(name)])
    names = [n for n in res.model.parameter_names if n.startswith("dispersion-treatment")]
    treatment = res.wald_test(" = ".join([*names, "0"]))
    say(
        f"Answer: group b is about {np.exp(res.params[name]):.1f} times more overdispersed than group a "
        f"(95 % interval {low:.1f} to {high:.0f}), and there is no evidence that treatment changes it "
        f"(P = {treatment.pvalue:.2f}). The interval is the clustered one, since 40 genes and not 3,600 "
        "replicates carry the information."
    )


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
    answer(res)
    save({"splicing.png": lambda: plot(data, res)}, out)


if __name__ == "__main__":
    run(main, "hetglm.examples.splicing")
