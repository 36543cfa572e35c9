"""Arguments by the names that other packages give them, and the names they have here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from inspect import Parameter, signature
from typing import Any

import numpy as np

from hetglm._syntax import did_you_mean

_DISPERSION = "exog_dispersion_formula='~ z' or a formula 'y ~ x | z' (of arrays, exog_dispersion=)"
_CLUSTERS = "fit(cov_type='cluster', cov_kwds={'groups': ...})"
_TRIALS = "n_trials="
_RANDOM = "nothing yet: random effects are not supported"
_SETTINGS = "fit(maxiter=..., tol=...)"
#: Names elsewhere, in lower case without dots and underscores -> what to write here.
ELSEWHERE = {
    **dict.fromkeys(
        (
            *("dispformula", "dformula", "sigmaformula", "sigmafo", "phiformula", "shapeformula"),
            *("dispersionformula", "scaleformula", "varformula", "precisionformula", "vformula"),
            *("exogprecisionformula", "exogprecision", "exogscale", "exogvar"),
            *("dispersion", "ddesign", "phi", "sigma", "zformula", "formuladispersion"),
        ),
        _DISPERSION,
    ),
    **dict.fromkeys(
        ("weights", "weight", "wt", "wts", "priorweights", "aweights"),
        "var_weights= (they divide the dispersion), freq_weights= (repeated rows) or n_trials=",
    ),
    **dict.fromkeys(("fweights", "frequencies", "freq"), "freq_weights="),
    **dict.fromkeys(("trials", "size", "ntrial", "total", "totals", "bd", "denominator"), _TRIALS),
    **dict.fromkeys(("links", "meanlink", "mulink"), "link=, of DoubleGLM in family="),
    **dict.fromkeys(
        ("displink", "dlink", "sigmalink", "philink", "linkphi", "linkprecision", "linksigma"),
        "link_dispersion=",
    ),
    **dict.fromkeys(("groups", "group", "cluster", "clusters", "id", "panel"), _CLUSTERS),
    **dict.fromkeys(("random", "reformula", "vcformula", "exogre", "ranef"), _RANDOM),
    **dict.fromkeys(("naaction", "dropna"), "missing='drop' or missing='raise'"),
    **dict.fromkeys(("control", "maxit", "niter", "ncyc", "epsilon", "gtol", "ftol"), _SETTINGS),
    **dict.fromkeys(("start", "mustart", "startvalues", "betastart"), "fit(start_params=...)"),
    **dict.fromkeys(("robust", "vcov", "vce", "se"), "fit(cov_type=...)"),
    "contrasts": "the formula, such as C(x, Sum)",
    "distribution": "family=, or another model of hetglm.api",
    "dist": "family=, or another model of hetglm.api",
    "logoffset": "offset=",
    "doffset": "offset_dispersion=",
}
#: Arguments of fit.
OF_FIT = (
    "method",
    "reml",
    "start_params",
    "cov_type",
    "cov_kwds",
    "use_t",
    "maxiter",
    "tol",
    "disp",
)
#: statsmodels' optimisers (statsmodels.base.optimizer).
OPTIMISERS = "newton nm bfgs lbfgs powell cg ncg basinhopping minimize".split()
#: What R calls an estimation method -> what it is here.
ESTIMATION = {
    **dict.fromkeys(("reml", "restricted"), "write reml=True"),
    **dict.fromkeys(("ml", "mle"), "maximum likelihood is the default; write reml=False"),
}


def unknown(owner: str, given: Iterable[str], accepted: Iterable[str]) -> TypeError:
    """
    Return the error for an argument that is not known, with its name here.

    Parameters
    ----------
    owner : str
        Who was called.
    given : iterable of str
        Arguments that are not known.
    accepted : iterable of str
        Arguments that are.
    """
    name = sorted(given)[0]
    plain = re.sub(r"[._]", "", name).lower()
    accepted = [other for other in accepted if not other.startswith("_")]
    said = f"{owner}: unknown argument {name!r}"
    if name == "family":
        return TypeError(
            f"{said}; the class is the family. Choose the model, and its link by link="
        )
    if plain in ELSEWHERE:
        return TypeError(f"{said}; here it is {ELSEWHERE[plain]}")
    of_fit = {other.replace("_", ""): other for other in OF_FIT}
    if plain in of_fit and of_fit[plain] not in accepted:
        return TypeError(f"{said}; it is an argument of fit(): fit({of_fit[plain]}=...)")
    return TypeError(f"{said}{did_you_mean(name, accepted)}; known: {', '.join(accepted)}")


def refuse(owner: type, unknown_arguments: Mapping[str, Any]) -> None:
    """Raise a TypeError for arguments that the constructor of a class does not know."""
    if unknown_arguments:
        known = signature(owner).parameters.values()
        names = [p.name for p in known if p.kind is not Parameter.VAR_KEYWORD]
        raise unknown(owner.__name__, unknown_arguments, names)


def flag(value: Any, name: str) -> bool:
    """
    Return True or False.

    Raises
    ------
    ValueError
        For anything else: the text "no" would count as true.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: give True or False")
    return bool(value)


def check_method(method: Any, default: str, own: Iterable[str]) -> None:
    """
    Raise a ValueError unless it is the name of an optimiser.

    Parameters
    ----------
    method : str
    default : str
        Name of the default.
    own : iterable of str
        Names of our methods.
    """
    known = [*own, *(other for other in OPTIMISERS if other not in own)]
    if method in known:
        return
    instead = ESTIMATION.get(method.lower(), "") if isinstance(method, str) else ""
    raise ValueError(
        f"method={method!r}: {instead + '; ' if instead else ''}method is the optimiser, "
        f"{default!r} by default; choose from {', '.join(known)}"
    )
