"""Functions for formulas and data frames: ``import hetglm.formula.api as hmf``."""

from hetglm.models.betabinomial import BetaBinomial
from hetglm.models.doubleglm import DoubleGLM
from hetglm.models.negbin import NegativeBinomial

__all__ = ["betabinomial", "doubleglm", "negativebinomial"]

betabinomial = BetaBinomial.from_formula
doubleglm = DoubleGLM.from_formula
negativebinomial = NegativeBinomial.from_formula
