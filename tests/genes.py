"""Genes in two groups, each with a dispersion of its own: for tests and the README's tables."""

from functools import cache

import numpy as np
import pandas as pd

import hetglm.formula.api as hmf

#: Standard deviation of log(sigma) between genes, genes of either group, rows of a gene.
GENE_SD, GENES, ROWS = 0.8, 20, 15


@cache
def genes():
    """Return a model of genes in two groups; its response is drawn anew each time."""
    data = pd.DataFrame({"id": np.repeat(np.arange(2 * GENES), ROWS)})
    data = data.assign(group=np.where(data["id"] < GENES, "a", "b"), K=data["id"] % 40, N=50)
    return hmf.betabinomial("K + I(N - K) ~ group | group", data)


def drawn_genes(rng):
    """Return a model of genes each of a dispersion of its own, drawn alike in both groups."""
    sigma = np.exp(-2.5 + GENE_SD * rng.normal(size=2 * GENES)).repeat(ROWS)
    p = rng.beta(0.4 / sigma, 0.6 / sigma)
    return genes().clone(endog=rng.binomial(50, p).astype(float))
