"""Classes and functions for arrays: ``import hetglm.api as het``."""

from hetglm import datasets, exceptions
from hetglm.inference.anova import anova
from hetglm.inference.stepwise import stepwise
from hetglm.models.betabinomial import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.models.negbin import NegativeBinomial
from hetglm.prediction.crossvalidation import cross_validate

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
