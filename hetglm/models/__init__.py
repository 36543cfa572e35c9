"""
The classes users meet: models, results, summary. Orchestrates, computes nothing.

In addition to `DoubleGLM` there is a model of each family of `hetglm.families.registry.MODELS`.
"""

from typing import TYPE_CHECKING

from hetglm.families.registry import MODELS
from hetglm.models.doubleglm import DoubleGLM
from hetglm.models.own_family import OwnFamily, model_class

globals().update({name: model_class(name) for name in MODELS})
__all__ = ["DoubleGLM"]
__all__ += MODELS
__all__.sort()

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[OwnFamily]: ...
