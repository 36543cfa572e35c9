"""Classes and functions for arrays: ``import hetglm.api as het``."""

from hetglm import datasets, exceptions
from hetglm.anova import anova
from hetglm.crossvalidation import cross_validate
from hetglm.models import BetaBinomial, DoubleGLM, NegativeBinomial
from hetglm.selection import stepwise

__all__ = [
    "BetaBinomial",
    "DoubleGLM",
    "NegativeBinomial",
    "anova",
    "cross_validate",
    "datasets",
    "exceptions",
    "stepwise",
]
