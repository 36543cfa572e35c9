"""Functions for formulas and data frames: ``import hetglm.formula.api as hmf``."""

from hetglm.models import BetaBinomial, DoubleGLM

__all__ = ["betabinomial", "doubleglm"]

betabinomial = BetaBinomial.from_formula
doubleglm = DoubleGLM.from_formula
