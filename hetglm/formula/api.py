"""Functions for formulas and data frames: ``import hetglm.formula.api as hmf``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hetglm import models
from hetglm.families.registry import MODELS
from hetglm.models import DoubleGLM

doubleglm = DoubleGLM.from_formula
globals().update({name.lower(): getattr(models, name).from_formula for name in MODELS})
__all__ = ["doubleglm"]
__all__ += map(str.lower, MODELS)
__all__.sort()

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...
