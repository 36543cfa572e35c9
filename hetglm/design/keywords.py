"""Arguments by the names that other packages give them, and the names they have here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any

from hetglm.design.syntax import did_you_mean

_DISPERSION = "exog_dispersion_formula='~ z' or a formula 'y ~ x | z' (of arrays, exog_dispersion=)"
_CLUSTERS = (
    "(1 | g) in the formula for random effects, fit(cov_type='cluster', cov_kwds={'groups': ...}) for "
    "standard errors by clusters"
)
_TRIALS = "n_trials="
_SETTINGS = "fit(maxiter=..., tol=...)"
#: Names of weights in other packages that leave their meaning open.
WEIGHTS = ("weights", "weight", "wt", "wts", "priorweights", "aweights")
#: Names in other packages, in lower case without dots and underscores -> name in this one.
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
        WEIGHTS,
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
    **dict.fromkeys(("naaction", "dropna"), "missing='drop' or missing='raise'"),
    **dict.fromkeys(("control", "maxit", "niter", "ncyc", "epsilon", "gtol", "ftol"), _SETTINGS),
    **dict.fromkeys(("start", "mustart", "startvalues", "betastart"), "fit(start_params=...)"),
    **dict.fromkeys(("robust", "vcov", "vce", "se"), "fit(cov_type=...)"),
    "link": "family=, such as sm.families.Poisson(link=sm.families.links.Log())",
    **dict.fromkeys(("formula", "data"), "from_formula(formula, data) of the model"),
    "contrasts": "the formula, such as C(x, Sum)",
    "distribution": "family=, or another model of hetglm.api",
    "dist": "family=, or another model of hetglm.api",
    "logoffset": "offset=",
    "doffset": "offset_dispersion=",
}
#: Names of random effects in other packages.
RANDOM = ("reformula", "vcformula", "exogre", "ranef", "randomeffects")
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
#: Names of estimation methods in R -> arguments here.
ESTIMATION = {
    **dict.fromkeys(("reml", "restricted"), "write reml=True"),
    **dict.fromkeys(("ml", "mle"), "maximum likelihood is the default; write reml=False"),
}


def unknown(owner: Callable[..., Any], given: Mapping[str, Any], model: type) -> TypeError:
    """
    Return the error for an argument that is not known, with its name here.

    Parameters
    ----------
    owner : class or method
        Who was called.
    given : dict
        Arguments that are not known.
    model : type
        Class of the model.
    """
    name = sorted(given)[0]
    plain = re.sub(r"[._]", "", name).lower()
    accepted = _arguments(owner)
    said = f"{owner.__name__}: unknown argument {name!r}"
    if name in _arguments(model):
        return TypeError(f"{said}; it is an argument of {model.__name__}, not of fit()")
    if name == "family":
        return TypeError(
            f"{said}; the class is the family. Choose the model, and its link by link="
        )
    if plain in RANDOM:
        return TypeError(
            f"{said}; write random terms in the formula, (1 | g), or random=[hetglm.api.RandomTerm(g)]"
        )
    refused = getattr(model, "refused", {})
    if plain in WEIGHTS and "var_weights" in refused:
        instead = refused["var_weights"]
        return TypeError(f"{said}; {model.__name__} takes no var_weights: {instead}")
    if plain in ELSEWHERE:
        return TypeError(f"{said}; here it is {ELSEWHERE[plain]}")
    of_fit = {other.replace("_", ""): other for other in OF_FIT}
    if plain in of_fit and of_fit[plain] not in accepted:
        if str(given[name]).lower() in ESTIMATION:
            return TypeError(f"{said}; in fit(), {ESTIMATION[str(given[name]).lower()]}")
        return TypeError(f"{said}; it is an argument of fit(): fit({of_fit[plain]}=...)")
    return TypeError(f"{said}{did_you_mean(name, accepted, '; known')}: {', '.join(accepted)}")


def _arguments(owner: Callable[..., Any]) -> list[str]:
    """Return the names of the arguments of a class or function that users may give."""
    known = signature(owner).parameters.values()
    return [p.name for p in known if p.kind is not Parameter.VAR_KEYWORD and p.name[0] != "_"]


def refuse(owner: type, unknown_arguments: Mapping[str, Any]) -> None:
    """Raise a TypeError for arguments that the constructor of a class does not know."""
    if unknown_arguments:
        raise unknown(owner, unknown_arguments, owner)


def check_no_design(model: type, given: Mapping[str, Any]) -> None:
    """
    Raise a TypeError for a design given together with a formula.

    Parameters
    ----------
    model : type
        Class of the model.
    given : dict
        Arguments given with the formula.
    """
    if "exog_dispersion" in given:
        raise TypeError(
            f"{model.__name__}: exog_dispersion= is for arrays; with a formula it is {_DISPERSION}"
        )
    for name in ("endog", "exog"):
        if name in given:
            raise TypeError(
                f"{model.__name__}: the formula makes {name}; leave {name}= out, or for arrays write "
                f"{model.__name__}(endog, exog)"
            )


def check_fit(tol: float, cov_kwds: Any) -> None:
    """Raise a ValueError if a tolerance is not positive, or arguments of a covariance are no dict."""
    if not tol > 0:
        raise ValueError(f"tol={tol}: must be positive")
    if cov_kwds is not None and not isinstance(cov_kwds, dict):
        raise ValueError(f"cov_kwds: give a dict, not {type(cov_kwds).__name__}")


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
