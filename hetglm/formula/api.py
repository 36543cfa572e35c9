"""Functions for formulas and data frames: ``import hetglm.formula.api as hmf``."""

from hetglm.models.doubleglm import BetaBinomial, DoubleGLM, NegativeBinomial

__all__ = ["betabinomial", "doubleglm", "negativebinomial"]

betabinomial = BetaBinomial.from_formula
doubleglm = DoubleGLM.from_formula
negativebinomial = NegativeBinomial.from_formula
