"""Classes and functions for arrays: ``import hetglm.api as het``."""

from hetglm import datasets, exceptions
from hetglm.anova import anova
from hetglm.models import BetaBinomial, DoubleGLM, NegativeBinomial
from hetglm.selection import stepwise

__all__ = [
    "BetaBinomial",
    "DoubleGLM",
    "NegativeBinomial",
    "anova",
    "datasets",
    "exceptions",
    "stepwise",
]
