"""Inverse links with both tails: statsmodels' links, and nu = 1 - mu where a mean is a probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr
from statsmodels.genmod.families import links

from hetglm.typing import Array

#: Log phi above which it is evaluated at this, so that phi^2 is finite; infinity stays infinite.
MAX_LOG_PHI = 345.0

#: Complementary log-log predictor above which it is evaluated at this: nu is 0 from 6.62 on.
MAX_CLOGLOG = 700.0


class Inverse(NamedTuple):
    """Inverse link at eta: mu, nu = 1 - mu, d mu / d eta and d2 mu / d eta2, each of shape (n,)."""

    mu: Array
    nu: Array
    d1: Array
    d2: Array


def _logit(eta: Array) -> Inverse:
    # both tails from one exponential, which cannot overflow
    small = np.exp(-np.abs(eta))
    large = 1 / (1 + small)
    small *= large
    up = eta > 0
    mu, nu = np.where(up, large, small), np.where(up, small, large)
    d1 = mu * nu
    return Inverse(mu, nu, d1, d1 * (nu - mu))


def _probit(eta: Array) -> Inverse:
    d1 = np.exp(-0.5 * eta**2) / np.sqrt(2 * np.pi)
    return Inverse(ndtr(eta), ndtr(-eta), d1, -eta * d1)


def _cloglog(eta: Array) -> Inverse:
    t = np.exp(np.minimum(eta, MAX_CLOGLOG))  # inf * 0 would be NaN
    nu = np.exp(-t)
    return Inverse(-np.expm1(-t), nu, t * nu, t * nu * (1 - t))


def _loglog(eta: Array) -> Inverse:
    other = _cloglog(-eta)
    return Inverse(other.nu, other.mu, other.d1, -other.d2)


def _cauchy(eta: Array) -> Inverse:
    # arctan2 keeps the digits of the tail that 1/2 + arctan(eta)/pi loses
    mu, nu = np.arctan2(1.0, -eta) / np.pi, np.arctan2(1.0, eta) / np.pi
    d1 = 1 / (np.pi * (1 + eta**2))
    return Inverse(mu, nu, d1, -2 * np.pi * eta * d1**2)


def _log(eta: Array) -> Inverse:
    mu = np.exp(eta)
    return Inverse(mu, -np.expm1(eta), mu, mu)


def _logc(eta: Array) -> Inverse:
    nu = np.exp(eta)
    return Inverse(-np.expm1(eta), nu, -nu, -nu)


def _identity(eta: Array) -> Inverse:
    return Inverse(eta, 1 - eta, np.ones_like(eta), np.zeros_like(eta))


_EXACT: dict[type, Callable[[Array], Inverse]] = {
    links.Logit: _logit,
    links.Probit: _probit,
    links.CLogLog: _cloglog,
    links.LogLog: _loglog,
    links.Cauchy: _cauchy,
    links.Log: _log,
    links.LogC: _logc,
    links.Identity: _identity,
}


def invert(link: Any, eta: Array) -> Inverse:
    """
    Return the inverse of a statsmodels link with its derivatives and the upper tail.

    Parameters
    ----------
    link : statsmodels.genmod.families.links.Link
        The usual links are inverted exactly in both tails; any other by its own methods, with
        nu = 1 - mu.
    eta : ndarray, shape (n,)
        Linear predictor.
    """
    with np.errstate(all="ignore"):
        exact = _EXACT.get(type(link))
        if exact is not None:
            return exact(eta)
        mu = np.asarray(link.inverse(eta), dtype=float)
        d1 = np.asarray(link.inverse_deriv(eta), dtype=float)
        return Inverse(mu, 1 - mu, d1, np.asarray(link.inverse_deriv2(eta), dtype=float))


#: Whether a link's mean reaches its lower limit at eta = minus infinity, its upper one at plus infinity,
#: faster than any power: rows can be separated there.
LIMITS_AT_INFINITY = {
    links.Logit: (True, True),
    links.Probit: (True, True),
    links.CLogLog: (True, True),
    links.LogLog: (True, True),
    links.Log: (True, False),
}


def reached(link: Any, limits: Array) -> Array:
    """Return whether each mean reaches its limit (-1 the lower, 1 the upper, 0 none) at infinity."""
    known = (LIMITS_AT_INFINITY[cls] for cls in type(link).__mro__ if cls in LIMITS_AT_INFINITY)
    lower, upper = next(known, (False, False))
    return np.where(limits < 0, lower, (limits > 0) & upper)


def near_limit(link: Any, tail: Array, up: Array) -> Array:
    """Return the linear predictor at which the mean is ``tail`` from its limit, shape (n,)."""
    if isinstance(link, links.CLogLog):
        upper = np.log(-np.log(tail))
    elif isinstance(link, links.LogLog):
        upper = -np.log(tail)
    else:
        upper = -np.asarray(link(tail))
    return np.where(up, upper, link(tail))


def invert_dispersion(link: Any, zeta: Array) -> tuple[Array, Array, Array]:
    """Return phi and its first two derivatives in its linear predictor, each of shape (n,)."""
    if type(link) is links.Log:
        phi = np.exp(np.minimum(zeta, MAX_LOG_PHI, where=zeta < np.inf, out=zeta.copy()))
        if phi.max(initial=0.0) < np.inf:
            return phi, phi, phi
        slope = np.where(phi < np.inf, phi, 0.0)  # no derivative at infinity
        return phi, slope, slope
    phi, _, d1, d2 = invert(link, zeta)
    return phi, d1, d2


def check_link(link: Any, name: str) -> Any:
    """Return the link, or raise a ValueError that says to pass an instance of a statsmodels link."""
    if isinstance(link, type) or not hasattr(link, "inverse_deriv2"):
        shown = link.__name__ if isinstance(link, type) else repr(link)
        raise ValueError(
            f"{name}: pass an instance of a statsmodels link such as sm.families.links.Log(), "
            f"not {shown}"
        )
    return link


def link_text(link: Any, symbol: str) -> str:
    """Return a link as a function of what it transforms: 'log(mu)'."""
    name = type(link).__name__
    plain = {"Log": "log", "Logit": "logit", "Identity": "", "InversePower": "inverse"}
    text = plain.get(name, name.lower())
    return f"{text}({symbol})" if text else symbol
