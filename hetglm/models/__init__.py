"""The classes users meet: models, results, summary. Orchestrates, computes nothing."""

from hetglm.models.doubleglm import BetaBinomial, DoubleGLM, NegativeBinomial

__all__ = ["BetaBinomial", "DoubleGLM", "NegativeBinomial"]
