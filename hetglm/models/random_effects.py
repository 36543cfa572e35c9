"""Random effects of a model: grouping factors of its random terms, refused where nothing fits them."""

from __future__ import annotations

from collections.abc import Sequence

from hetglm.design import random_checks
from hetglm.design.random_syntax import PARTS
from hetglm.design.random_terms import GroupingFactor, TermRows, grouping_factors
from hetglm.families.base import Family
from hetglm.families.gaussian import Gaussian
from hetglm.families.quasi import Quasi, QuasiBinomial, QuasiPoisson
from hetglm.likelihood.likelihood import Likelihood


def factors(terms: Sequence[TermRows], core: Likelihood) -> tuple[GroupingFactor, ...]:
    """
    Return the grouping factors of random terms.

    Parameters
    ----------
    terms : sequence of TermRows
        On the rows of the fit.
    core : Likelihood

    Raises
    ------
    ValueError
        If the family has no likelihood, or the rows cannot tell what a term asks for.
    """
    if terms:
        _check_likelihood(terms[0].text, core.family)
    made = grouping_factors(terms)
    random_checks.check(made, terms)
    if isinstance(core.family, Gaussian):
        known = core.offset_dispersion, core.weights
        random_checks.check_gaussian(made, terms, core.Z, known)
    return made


def _check_likelihood(text: str, family: Family) -> None:
    """Raise a ValueError if the criterion of a family is an extended quasi-likelihood."""
    if not isinstance(family, Quasi):
        return
    unit = "; for phi = 1 write '| 0', without random terms, offset_dispersion or var_weights"
    has_unit = isinstance(family, (QuasiPoisson, QuasiBinomial))
    raise ValueError(
        f"{text}: random effects need a likelihood, and {family.name} with a free dispersion has an "
        f"extended quasi-likelihood only; {family.instead()}{unit if has_unit else ''}"
    )


def formula_text(mean: str, dispersion: str, terms: Sequence[tuple[str, str]]) -> str:
    """
    Return both parts of a formula with their random terms.

    Parameters
    ----------
    mean, dispersion : str
        Without them, the mean with its response.
    terms : sequence of (str, str)
        Part and text of each random term.
    """
    return " | ".join(
        " + ".join([fixed, *(text for of, text in terms if of == part)])
        for part, fixed in zip(PARTS, (mean, dispersion), strict=True)
    )
