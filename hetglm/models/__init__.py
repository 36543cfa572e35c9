"""The classes users meet: models, results, summary. Orchestrates, computes nothing."""

from hetglm.models.betabinomial import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.models.negbin import NegativeBinomial

__all__ = ["BetaBinomial", "DoubleGLM", "NegativeBinomial"]
