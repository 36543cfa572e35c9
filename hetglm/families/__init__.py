"""Likelihoods: one small file each, behind one contract (`base.Family`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from statsmodels.genmod import families as sm_families

from hetglm.families.base import Family
from hetglm.families.betabinomial import BetaBinomial
from hetglm.families.gamma import Gamma
from hetglm.families.gaussian import Gaussian
from hetglm.families.inverse_gaussian import InverseGaussian
from hetglm.families.negbin import NegativeBinomial
from hetglm.families.quasi import (
    QuasiBinomial,
    QuasiNegativeBinomial,
    QuasiPoisson,
    QuasiTweedie,
)

__all__ = ["REGISTRY", "BetaBinomial", "Family", "NegativeBinomial", "of_statsmodels"]

#: statsmodels family -> ours. A new exponential dispersion family is one line here.
REGISTRY: dict[type, Callable[[Any], Family]] = {
    sm_families.Gaussian: lambda family: Gaussian(),
    sm_families.Gamma: lambda family: Gamma(),
    sm_families.InverseGaussian: lambda family: InverseGaussian(),
    sm_families.Poisson: lambda family: QuasiPoisson(),
    sm_families.Binomial: lambda family: QuasiBinomial(),
    sm_families.NegativeBinomial: lambda family: QuasiNegativeBinomial(family.alpha),
    sm_families.Tweedie: lambda family: QuasiTweedie(family.var_power),
}


def of_statsmodels(family: Any) -> Family:
    """
    Return our family for a statsmodels one.

    Parameters
    ----------
    family : statsmodels.genmod.families.Family
        An instance (not the class) of a statsmodels family.

    Raises
    ------
    ValueError
        If it is a class, or a family without a counterpart.
    """
    if isinstance(family, type):
        raise ValueError(f"family: pass an instance, sm.families.{family.__name__}()")
    make = REGISTRY.get(type(family))
    if make is None:
        known = ", ".join(sorted(cls.__name__ for cls in REGISTRY))
        raise ValueError(f"family: {type(family).__name__} is not one of {known} (sm.families)")
    return make(family)
