"""Random effects of a model: grouping factors of its random terms, refused where nothing fits them."""

from __future__ import annotations

from collections.abc import Sequence

from hetglm.design import random_checks
from hetglm.design.random_syntax import PARTS
from hetglm.design.random_terms import GroupingFactor, TermRows, grouping_factors
from hetglm.families.gaussian import Gaussian
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
    family = core.family
    if terms and not family.exact:
        raise ValueError(
            f"{terms[0].text}: random effects need a likelihood, and the {family.name} family with a "
            "free dispersion has none; write '| 0' for a dispersion of 1, or use NegativeBinomial for "
            "counts, BetaBinomial for proportions, likelihood='exact' for Tweedie"
        )
    made = grouping_factors(terms)
    random_checks.check(made, terms)
    if isinstance(family, Gaussian):
        known = core.offset_dispersion, core.weights
        random_checks.check_gaussian(made, terms, core.Z, known)
    return made


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
