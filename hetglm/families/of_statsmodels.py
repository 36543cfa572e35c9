"""Which family a family of statsmodels stands for."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from statsmodels.genmod import families as sm_families

from hetglm.families import registry
from hetglm.families.base import Family
from hetglm.families.binomial import Binomial
from hetglm.families.gamma import Gamma
from hetglm.families.gaussian import Gaussian
from hetglm.families.inverse_gaussian import InverseGaussian
from hetglm.families.poisson import Poisson
from hetglm.families.quasi import QuasiBinomial, QuasiNegativeBinomial, QuasiPoisson, QuasiTweedie
from hetglm.families.tweedie import Tweedie

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

#: statsmodels family -> its distribution, where that has no dispersion: phi is 1.
UNIT_DISPERSION: dict[type, Callable[[], Family]] = {
    sm_families.Poisson: Poisson,
    sm_families.Binomial: Binomial,
}

#: Variance powers whose Tweedie distribution is one of the exact families.
EXACT_POWERS: dict[float, Callable[[], Family]] = {0: Gaussian, 2: Gamma, 3: InverseGaussian}

#: What has a likelihood where a family has none.
INSTEAD = {
    "Poisson": "NegativeBinomial is a model of overdispersed counts with a likelihood",
    "NegativeBinomial": "the NegativeBinomial model estimates alpha by its likelihood",
    "Binomial": "BetaBinomial is a model of overdispersed proportions with a likelihood",
}

#: Names of families that do not exist here -> text after the list of those that do.
ABSENT = {
    "beta": "; beta regression of continuous shares is not among them (BetaBinomial is of counts)",
}


def of_statsmodels(
    family: Any, likelihood: str | None = None, unit_dispersion: bool = False
) -> Family:
    """
    Return our family for a statsmodels one.

    Parameters
    ----------
    family : statsmodels.genmod.families.Family
        An instance (not the class) of a statsmodels family.
    likelihood : {None, "eql", "exact"}
        Extended quasi-likelihood or the exact density; by default exact for the Gaussian, Gamma,
        inverse Gaussian and Tweedie with 1 < var_power < 2, EQL for the others.
    unit_dispersion : bool
        Whether phi is known to be 1: the Poisson and the binomial then are distributions.

    Raises
    ------
    ValueError
        If it is a class, a family without a counterpart, or one without that likelihood.
    """
    if likelihood not in (None, "eql", "exact"):
        raise ValueError(f"likelihood={likelihood!r}: choose 'eql' or 'exact', or leave it out")
    if isinstance(family, type):
        raise ValueError(f"family: pass an instance, sm.families.{family.__name__}()")
    if isinstance(family, str):
        raise ValueError(f"family={family!r}{_by_name(family)}")
    make = REGISTRY.get(type(family))
    if make is None:
        known = ", ".join(sorted(cls.__name__ for cls in REGISTRY))
        raise ValueError(f"family: {type(family).__name__} is not one of {known} (sm.families)")
    if unit_dispersion and likelihood != "eql" and type(family) in UNIT_DISPERSION:
        return UNIT_DISPERSION[type(family)]()
    ours = make(family)
    if likelihood == "eql" and ours.exact:
        raise ValueError(f"likelihood='eql': {ours.name} has an exact likelihood; leave it out")
    if likelihood is None and isinstance(ours, QuasiTweedie) and 1 < ours.power < 2:
        likelihood = "exact"
    return _exact(family) if likelihood == "exact" and not ours.exact else ours


def _by_name(text: str) -> str:
    """Return what to write instead of the name of a family."""
    plain = "".join(filter(str.isalpha, text.lower())).removeprefix("quasi")
    known = {cls.__name__.lower(): cls.__name__ for cls in REGISTRY}
    for name in registry.MODELS:
        if plain in (name.lower(), *registry.model_spec(name).aliases):
            return f" is a model of its own; use {name} (hmf.{name.lower()})"
    named = known | {"normal": "Gaussian", "norm": "Gaussian", "no": "Gaussian"}
    if plain in named:
        return f": pass an instance, such as sm.families.{named[plain]}()"
    near = difflib.get_close_matches(plain, known, 1, 0.7)
    meant = f"; did you mean sm.families.{known[near[0]]}()? There" if near else "; there"
    families = ", ".join(cls.__name__ for cls in REGISTRY)
    return (
        f" is not a family here{meant} are {families} (of sm.families), and the models "
        f"{' and '.join(registry.MODELS)}{ABSENT.get(plain, '')}"
    )


def _exact(family: Any) -> Family:
    """Return the family with a density, for a family of the extended quasi-likelihood."""
    name = type(family).__name__
    if name in INSTEAD:
        raise ValueError(
            f"likelihood='exact': the {name} family with a free dispersion is no distribution; "
            f"{INSTEAD[name]}"
        )
    power = float(family.var_power)
    if power in EXACT_POWERS:
        return EXACT_POWERS[power]()
    if not 1 < power < 2:
        raise ValueError(
            f"likelihood='exact': Tweedie has it for var_power between 1 and 2, and for 0, 2 and 3, not "
            f"for {power:g}; leave it out for the extended quasi-likelihood"
        )
    return Tweedie(power)
