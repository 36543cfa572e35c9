"""Simulated splicing experiments, like the embedded one but of any size."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Size of the negative binomial N times its mean. Fitted to the embedded data, gene by gene, it
#: is 1.00e6 (geometric mean): the coefficient of variation of N grows with the gene's expression.
SIZE_TIMES_MEAN = 1e6
#: Range of the genes' mean proportions; 0 and 1 are left out so that every gene varies.
PROPORTIONS = (0.01, 0.99)


def _count(name: str, value: Any) -> int:
    """Return a positive integer, or raise a ValueError naming the argument."""
    try:
        number = index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}")
    return number


def _number(name: str, value: Any, positive: bool) -> float:
    """Return a finite float of the right sign, or raise a ValueError naming the argument."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number < 0 or (positive and number == 0):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be a {kind} finite number, not {value!r}")
    return number


def _draw_trials(
    rng: np.random.Generator, mean: NDArray[np.float64], size: int
) -> NDArray[np.int64]:
    """Return an array of shape (size, len(mean)): one more than a negative binomial count."""
    shape = SIZE_TIMES_MEAN / mean
    return 1 + rng.negative_binomial(shape, shape / (shape + mean), (size, len(mean)))


def make_splicing(
    genes: int = 20,
    replicates: int = 30,
    *,
    treatments: int = 3,
    trials: float = 22_000.0,
    trials_sd: float = 1.0,
    sigma: float = 1.7e-4,
    ratio: float = 3.0,
    gene_sd: float = 2.0,
    rng: int | np.random.Generator | None = None,
) -> pd.DataFrame:
    """
    Return a simulated splicing experiment, like `load_splicing` but of any size.

    Two groups of genes, each gene with a mean proportion and a dispersion of its own; group b is
    ``ratio`` times as dispersed as group a, and the treatments do nothing.

    Parameters
    ----------
    genes : int, default 20
        Genes per group.
    replicates : int, default 30
        Replicates of each gene in each treatment.
    treatments : int, default 3
        Number of treatments.
    trials : float, default 22000
        Median over genes of the mean of N.
    trials_sd : float, default 1
        Standard deviation between genes of the log of that mean.
    sigma : float, default 1.7e-4
        Median over the genes of group a of the dispersion 1/(alpha + beta).
    ratio : float, default 3
        Dispersion of group b over that of group a.
    gene_sd : float, default 2
        Standard deviation of log(sigma) between the genes of a group. At 0 the replicates are the
        units and a model without gene effects in the dispersion is right.
    rng : int, Generator or None, default None
        Seed or generator, as for `numpy.random.default_rng`.

    Returns
    -------
    DataFrame
        ``2 * genes * treatments * replicates`` rows with the columns ``id, group, treatment, N, K``
        in the types and the order of rows of `load_splicing`.

    Raises
    ------
    ValueError
        If a count is not a positive integer, or another number is negative, infinite or, where
        it has to be positive, zero. The message names the argument.

    See Also
    --------
    load_splicing : The embedded experiment.

    Notes
    -----
    This is a generator of data *like* the embedded set; it does not reproduce R's random stream.
    The model per gene g is

    - mean m of N: log m is normal around log(trials); N - 1 is negative binomial with mean m and
      size 10^6/m, which is what the embedded counts show;
    - mean proportion uniform on (0.01, 0.99);
    - K given N beta-binomial with log(sigma) normal around log(sigma), or log(ratio * sigma) in
      group b.

    The defaults are a beta-binomial with random gene effects in both parts, fitted to the embedded
    data (log sigma -8.66, between-gene sd 2.09, group effect 1.08) and rounded. The distribution
    differs in one point: in the embedded data the proportions of a gene are as flat as a uniform
    within some per cent of their mean (up to 5 in group a and 9 in group b), so that its dispersion
    grows with its mean; here the two are independent and the proportions beta distributed.

    Examples
    --------
    >>> from hetglm.datasets import make_splicing
    >>> make_splicing(genes=100, replicates=5, rng=1).shape
    (3000, 5)
    """
    genes = _count("genes", genes)
    replicates = _count("replicates", replicates)
    treatments = _count("treatments", treatments)
    trials = _number("trials", trials, positive=True)
    trials_sd = _number("trials_sd", trials_sd, positive=False)
    sigma = _number("sigma", sigma, positive=True)
    ratio = _number("ratio", ratio, positive=True)
    gene_sd = _number("gene_sd", gene_sd, positive=False)
    rng = np.random.default_rng(rng)

    group = np.repeat(["a", "b"], genes)
    mean_trials = trials * np.exp(trials_sd * rng.standard_normal(2 * genes))
    proportion = rng.uniform(*PROPORTIONS, 2 * genes)
    centre = sigma * np.where(group == "b", ratio, 1.0)
    dispersion = centre * np.exp(gene_sd * rng.standard_normal(2 * genes))

    # rows as in the embedded data: treatment, then gene, then replicate
    gene = np.tile(np.repeat(np.arange(2 * genes), replicates), treatments)
    N = _draw_trials(rng, mean_trials, treatments * replicates)
    N = N.reshape(treatments, replicates, 2 * genes).transpose(0, 2, 1).ravel()
    chance = rng.beta((proportion / dispersion)[gene], ((1 - proportion) / dispersion)[gene])
    label = [f"{g}.{i % genes + 1}" for i, g in enumerate(group)]
    return pd.DataFrame(
        {
            "id": np.array(label, dtype=object)[gene],
            "group": group.astype(object)[gene],
            "treatment": np.repeat(
                np.array([f"t.{t + 1}" for t in range(treatments)], dtype=object),
                2 * genes * replicates,
            ),
            "N": N,
            "K": rng.binomial(N, chance),
        }
    )
