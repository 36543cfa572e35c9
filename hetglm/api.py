"""Classes and functions for arrays: ``import hetglm.api as het``."""

from typing import TYPE_CHECKING

from hetglm import datasets, exceptions, models
from hetglm.design.random_terms import RandomTerm
from hetglm.families.registry import MODELS
from hetglm.inference.anova import anova
from hetglm.inference.stepwise import stepwise
from hetglm.models import DoubleGLM
from hetglm.prediction.crossvalidation import cross_validate

globals().update({name: getattr(models, name) for name in MODELS})
__all__ = [
    "DoubleGLM",
    "RandomTerm",
    "anova",
    "cross_validate",
    "datasets",
    "exceptions",
    "stepwise",
]
__all__ += MODELS
__all__.sort()

if TYPE_CHECKING:
    from hetglm.models.own_family import OwnFamily

    def __getattr__(name: str) -> type[OwnFamily]: ...
