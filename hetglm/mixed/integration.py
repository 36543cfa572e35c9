"""How the random effects of a model are integrated out: exactly, by Laplace or by quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from statsmodels.genmod.families import links

from hetglm.design.random_terms import GroupingFactor
from hetglm.families.gaussian import Gaussian
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array

#: Nodes of each effect by ``nodes="auto"``: the likelihood to 1e-5 with groups of ten rows and more.
N_NODES = 15
#: Effects of a group and part that ``nodes="auto"`` integrates by quadrature, at most: 15^2 nodes.
MAX_COLUMNS = 2
#: Median number of trials up to which Laplace's approximation of effects of the mean is poor.
MAX_BINARY_TRIALS = 2
#: Nodes of an effect, at most: their weights underflow above.
MAX_NODES = 100

LAPLACE = "Laplace approximation"
EXACT = "exact"


@dataclass(frozen=True)
class Integration:
    """
    How the random effects are integrated out.

    Attributes
    ----------
    nodes : int
        Of each effect in ``columns``; 1 for Laplace's approximation.
    columns : ndarray of bool, shape (k,), or None
        Effects of the only factor that are integrated by quadrature.
    text : str
        As printed.
    """

    nodes: int = 1
    columns: Array | None = None
    text: str = LAPLACE


def integration(
    likelihood: Likelihood,
    factors: tuple[GroupingFactor, ...],
    nodes: int | str,
    restricted: bool,
) -> Integration:
    """
    Return how the random effects of a model are integrated out.

    Parameters
    ----------
    likelihood : Likelihood
    factors : tuple of GroupingFactor
    nodes : int or "auto"
    restricted : bool
        Whether fixed columns are integrated out too, so that the groups depend on each other.

    Raises
    ------
    ValueError
        If ``nodes`` is no number of nodes, or is above 1 where the groups depend on each other.
    """
    is_auto = nodes == "auto"
    if not is_auto and not (isinstance(nodes, (int, np.integer)) and 1 <= nodes <= MAX_NODES):
        raise ValueError(f"nodes={nodes!r}: give a whole number from 1 to {MAX_NODES}, or 'auto'")
    if is_exact(likelihood, factors):
        return Integration(text=EXACT)
    if len(factors) > 1 or restricted:
        if is_auto or nodes == 1:
            return Integration()
        why = "REML" if restricted else f"{len(factors)} grouping variables"
        raise ValueError(
            f"nodes={nodes}: quadrature is for one grouping variable by ML, not {why}; use nodes=1"
        )
    columns = _columns(likelihood, factors[0], is_auto)
    number = N_NODES if is_auto else int(nodes)
    if number == 1 or not columns.any():
        return Integration()
    return Integration(number, columns, f"Gauss-Hermite quadrature with {number} nodes")


def is_exact(likelihood: Likelihood, factors: tuple[GroupingFactor, ...]) -> bool:
    """Return whether Laplace's approximation is exact: effects of a Gaussian mean, identity link."""
    only_mean = all(part == "mean" for factor in factors for part in factor.parts)
    return only_mean and has_linear_mean(likelihood)


def has_linear_mean(likelihood: Likelihood) -> bool:
    """Return whether the responses are Gaussian and their mean is the linear predictor."""
    return type(likelihood.family) is Gaussian and type(likelihood.link) is links.Identity


def _columns(likelihood: Likelihood, factor: GroupingFactor, is_auto: bool) -> Array:
    """Return the effects to be integrated by quadrature, shape (k,)."""
    of_dispersion = np.array([part == "dispersion" for part in factor.parts])
    is_binary = likelihood.family.counts_successes and (
        likelihood.trials is None or np.median(likelihood.trials) <= MAX_BINARY_TRIALS
    )
    with_mean = is_binary or not (is_auto or of_dispersion.any())
    parts = [of_dispersion, ~of_dispersion & with_mean]
    if is_auto:
        parts = [part & (part.sum() <= MAX_COLUMNS) for part in parts]
    both = parts[0] | parts[1]
    return parts[0] if is_auto and both.sum() > MAX_COLUMNS else both


def error_columns(likelihood: Likelihood, factor: GroupingFactor) -> Array:
    """Return the effects whose quadrature tells the error of Laplace's approximation, shape (k,)."""
    columns = _columns(likelihood, factor, False)
    return columns & (columns.sum() <= MAX_COLUMNS)
