"""Checks that fits are nested and comparable, as a likelihood ratio requires."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.estimation import fit
from hetglm.estimation.record import Fit, Fitted
from hetglm.estimation.refit import embedded
from hetglm.exceptions import NotNestedError
from hetglm.inference import random_terms
from hetglm.likelihood.links import invert
from hetglm.likelihood.objective import LIKELIHOOD, Criterion
from hetglm.typing import Array
from hetglm.utils.linalg import contains, gram

#: Linear predictors at which the inverses of two links are compared.
LINK_GRID = np.linspace(-6, 6, 49)
#: Relative tolerance for equal links: Probit and the CDFLink of the normal differ by rounding.
TOL_SAME_LINK = 1e-10
#: Name of the argument that each vector of the likelihood comes from.
ARGUMENTS = {
    "trials": "n_trials",
    "weights": "var_weights",
    "freq": "freq_weights",
    "offset": "offset (or exposure)",
    "offset_dispersion": "offset_dispersion",
}


def comparable(res: Any, fitted: Fit | None = None) -> float:
    """Return the maximum of a fit; a REML criterion is made independent of the coding of the mean."""
    fitted = res.fit if fitted is None else fitted
    value = fitted.maximum
    if fitted.criterion.comparable_means:
        return value
    core, estimable = res.model.core, res.model.estimable
    value += 0.5 * _log_det(core.X[:, estimable[: core.k_mean]])
    if not fitted.criterion.comparable_dispersions:
        value += 0.5 * _log_det(core.Z[:, estimable[core.k_mean :]])
    return value


def _log_det(X: Array) -> float:
    """Return log det X'X."""
    s = 1 / np.sqrt(np.einsum("ij,ij->j", X, X))
    return float(np.linalg.slogdet(gram(X, None, X) * s * s[:, None])[1] - 2 * np.log(s).sum())


def check_nested(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError with the reason where a likelihood ratio is not defined."""
    _check_families(smaller, larger)
    _check_criteria(smaller.fit, larger.fit)
    _check_rows(smaller.model, larger.model)
    _check_designs(smaller, larger)
    random_terms.check_nested(smaller.model.random, larger.model.random)


def _check_families(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError for fits of different families or kinds of likelihood."""
    a, b = smaller.model.core, larger.model.core
    if type(smaller.model) is not type(larger.model) or a.family.name != b.family.name:
        raise NotNestedError(
            f"the fits are of different families ({a.family.name}, {b.family.name}); "
            f"{_instead(a.family, b.family)}"
        )
    if a.family.exact != b.family.exact:
        raise NotNestedError(
            "one fit has the exact likelihood and the other an extended quasi-likelihood, which have no "
            "ratio, and the criteria (AIC, BIC) are not comparable; give both models the same "
            "likelihood argument"
        )


def _check_criteria(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError for fits that maximise different criteria."""
    by, others = smaller.criterion, larger.criterion
    mixed = {type(fit) for fit in (smaller, larger)}
    if len(mixed) == 2 and not by.comparable_means:
        raise NotNestedError(
            f"one fit has random effects and the other has none, and their "
            f"criteria by {by.name} are not comparable; fit both by maximum likelihood"
        )
    if len(mixed) == 1 and _integrate_otherwise(smaller, larger):
        raise NotNestedError(
            f"the random effects are integrated out by {smaller.integration} in one fit and by "
            f"{larger.integration} in the other; give both the same nodes"
        )
    if by != others:
        raise NotNestedError(
            f"one fit is by {_in_words(by)} and the other by {_in_words(others)}; use the same "
            "criterion for both"
        )


def _check_rows(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError for models of different responses, rows, weights or links."""
    a, b = smaller.core, larger.core
    if not np.array_equal(a.y, b.y) and smaller.endog_names != larger.endog_names:
        raise NotNestedError(
            f"the fits have different responses ({smaller.endog_names}, "
            f"{larger.endog_names}); fit both to the same response"
        )
    if a.n == b.n and not np.array_equal(a.y, b.y):
        raise NotNestedError(
            "the responses of the fits differ in their values, their order or their missing rows; fit "
            "both to the same rows in the same order"
        )
    if a.n != b.n:
        raise NotNestedError(
            f"the fits are on different rows ({a.n} and {b.n}), perhaps because of missing values; fit "
            "both to the same rows"
        )
    for name, argument in ARGUMENTS.items():
        first, second = (getattr(core, name) for core in (a, b))
        if (first is None) != (second is None) or not np.array_equal(
            0 if first is None else first, 0 if second is None else second
        ):
            raise NotNestedError(f"the fits differ in their {argument}; give both the same")
    same_links = _same_link(a.link, b.link) and _same_link(a.link_dispersion, b.link_dispersion)
    if not (same_links and _same_family(a.family, b.family)):
        raise NotNestedError(
            f"the fits differ in their links or variance functions; {_instead(a.family, b.family)}"
        )


def _check_designs(smaller: Any, larger: Any) -> None:
    """Raise a NotNestedError for designs that are not nested, or that the criterion depends on."""
    a, b, by = smaller.model.core, larger.model.core, smaller.fit.criterion
    if not by.comparable_means and not (contains(a.X, b.X) and contains(b.X, a.X)):
        raise NotNestedError(
            f"the fits by {by.name} have different means, and the criterion depends on the mean's "
            "design, so it compares dispersions only; to compare means, fit both by maximum likelihood"
        )
    if not by.comparable_dispersions and not (contains(a.Z, b.Z) and contains(b.Z, a.Z)):
        raise NotNestedError(
            f"the fits by {by.name} have different fixed effects of the dispersion, on whose design the "
            "criterion depends; fit both by maximum likelihood"
        )
    if smaller.df_resid == larger.df_resid:
        raise NotNestedError(
            f"the fits have the same number of coefficients; {_instead(a.family, b.family)}"
        )
    for part, X0, X1 in (("mean", a.X, b.X), ("dispersion", a.Z, b.Z)):
        if not contains(X1, X0):
            raise NotNestedError(
                f"the fits are not nested: the {part} model of the smaller fit is not a submodel of the "
                f"larger fit's; {_instead(a.family, b.family)}"
            )


def _integrate_otherwise(a: Any, b: Any) -> bool:
    """Return whether approximations of two fits differ by what was asked for."""
    if a.requested_nodes == b.requested_nodes or not hasattr(a, "integration"):
        return False
    return bool(a.integration != b.integration and "exact" not in (a.integration, b.integration))


def _in_words(criterion: Criterion) -> str:
    return "maximum likelihood" if criterion == LIKELIHOOD else criterion.name


def _instead(a: Any, b: Any) -> str:
    """Return, in words, how to compare fits without a likelihood ratio."""
    if a.exact and b.exact:
        return "compare their AIC"
    if _same_family(a, b):
        return "compare their AIC, computed from the extended quasi-likelihood (EQL)"
    return (
        "the criteria (AIC, BIC) are not comparable, because an extended quasi-likelihood (EQL) is not "
        "the likelihood of a distribution"
    )


def _same_link(a: Any, b: Any) -> bool:
    """Return whether two links have the same inverse, regardless of class and parameters."""
    first, second = (invert(link, LINK_GRID).mu for link in (a, b))
    least = np.finfo(float).eps
    return np.allclose(first, second, rtol=TOL_SAME_LINK, atol=least, equal_nan=True)


def _same_family(a: Any, b: Any) -> bool:
    """Return whether two families have the same class and exactly the same parameters."""
    return type(a) is type(b) and vars(a) == vars(b)


def same_mean(smaller: Fitted, larger: Fitted) -> Fitted:
    """Return the smaller fit with the mean's design of the larger one, refitted if that differs."""
    core, k = larger.core, larger.core.k_mean
    if np.array_equal(smaller.core.X, core.X):
        return smaller
    small, k0 = smaller.core.with_designs(X=core.X), smaller.core.k_mean
    names = larger.names[:k] + smaller.names[k0:]
    estimable = np.concatenate([larger.estimable[:k], smaller.estimable[k0:]])
    start = embedded(small, smaller.core, smaller.fit.internal)
    return Fitted(
        small,
        fit.fit(small, names, estimable, start, criterion=smaller.fit.criterion),
        names,
        estimable,
    )
