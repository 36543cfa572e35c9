"""Third and fourth derivatives of the rows' log-likelihoods, by central differences of the second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from statsmodels.genmod.families import links

from hetglm.likelihood.likelihood import Factors, Likelihood
from hetglm.mixed.loadings import Symmetric
from hetglm.typing import Array

#: Step of the central differences of second derivatives, in units of a linear predictor (of its
#: standard deviation given the rest, for links without a natural unit).
DIFFERENCE_STEP = 3e-5

#: Step where second differences are taken too, in the same units: rounding is divided by its square.
SECOND_DIFFERENCE_STEP = 1e-3

#: Links whose linear predictor has a natural unit.
UNIT_LINKS = (links.Log, links.LogC, links.Logit)

#: Evaluates the rows at linear predictors.
Rows = Callable[[Array, Array], Factors]


def second(f: Factors) -> Symmetric:
    """Return the second derivatives of each row."""
    assert f.eta_eta is not None and f.eta_zeta is not None and f.zeta_zeta is not None
    return Symmetric(f.eta_eta, f.eta_zeta, f.zeta_zeta)


def unit(likelihood: Likelihood, f: Factors, predictor: int) -> Array:
    """Return the unit of a linear predictor, 0 for eta and 1 for zeta, in each row; shape (n,)."""
    if isinstance((likelihood.link, likelihood.link_dispersion)[predictor], UNIT_LINKS):
        return np.ones(likelihood.n)
    w = second(f)[2 * predictor]
    return np.asarray(1 / np.sqrt(np.where(w == 0, 1.0, np.abs(w))))


def ends(
    rows: Rows, eta: Array, zeta: Array, step: Array, predictor: int
) -> tuple[Symmetric, Symmetric]:
    """Return second derivatives after a step up and down in one predictor."""
    h, k = (step, 0.0) if predictor == 0 else (0.0, step)
    return second(rows(eta + h, zeta + k)), second(rows(eta - h, zeta - k))


@dataclass(frozen=True)
class LinearRows:
    """
    Log-likelihood and derivatives of the rows to first order around given predictors.

    Attributes
    ----------
    eta, zeta : ndarray, shape (n,)
    orders : list of list of ndarray
        The derivatives of order 0 to 4; of each order those with no, one, ... differentiation in zeta.
    """

    eta: Array
    zeta: Array
    orders: list[list[Array]]

    def some(self, orders: range, eta: Array, zeta: Array) -> list[Array]:
        """Return the derivatives of some orders at other predictors, to first order."""
        d, e = change(eta, self.eta), change(zeta, self.zeta)
        return [
            a + d * self.orders[m + 1][i] + e * self.orders[m + 1][i + 1]
            for m in orders
            for i, a in enumerate(self.orders[m])
        ]

    def __call__(self, eta: Array, zeta: Array, order: int = 2) -> Factors:
        """Return log-likelihood and derivatives at other predictors, to first order."""
        return Factors(*self.some(range(order + 1), eta, zeta))


def change(to: Array, origin: Array) -> Array:
    """Return the difference, 0 where both are minus infinity (a dispersion of zero)."""
    with np.errstate(invalid="ignore"):
        out = to - origin
    out[to == origin] = 0.0
    return out


def linear_rows(
    rows: Rows, likelihood: Likelihood, eta: Array, zeta: Array, f: Factors, predictors: set[int]
) -> LinearRows:
    """
    Return the rows to first order around predictors where their factors are known.

    Third and fourth derivatives are taken along the given predictors only, and are 0 where these do
    not tell them.
    """
    assert f.eta is not None and f.zeta is not None
    middle = second(f)
    third, fourth = ([np.zeros(len(eta)) for _ in range(m + 1)] for m in (3, 4))
    for j in sorted(predictors):
        step = SECOND_DIFFERENCE_STEP * unit(likelihood, f, j)
        up, down = ends(rows, eta, zeta, step, j)
        for i, (a, b, c) in enumerate(zip(up, middle, down, strict=True)):
            third[i + j] = (a - c) / (2 * step)
            fourth[i + 2 * j] = (a - 2 * b + c) / step**2
    return LinearRows(eta, zeta, [[f.loglike], [f.eta, f.zeta], [*middle], third, fourth])
