"""The modes of the random effects to first order in psi: their derivatives, and where they move."""

from __future__ import annotations

import numpy as np

from hetglm.mixed.covariance_structure import CovarianceStructure
from hetglm.mixed.derivatives import change
from hetglm.mixed.joint import Effects, JointDensity
from hetglm.mixed.laplace import Laplace
from hetglm.typing import Array


def mode_slopes(laplace: Laplace, structure: CovarianceStructure) -> list[Effects]:
    """
    Return the derivatives of u^ in each coefficient and each entry of theta.

    H du^ is the derivative of the gradient Lambda'A'l' - u of h.
    """
    core, W = laplace.joint.likelihood, laplace.mode.W
    out = [solved(laplace, -W.eta_eta * x, -W.eta_zeta * x) for x in core.X.T]
    out += [solved(laplace, -W.eta_zeta * z, -W.zeta_zeta * z) for z in core.Z.T]
    for index, factor in enumerate(structure.factors):
        entries = zip(*factor.entries, strict=True)
        out += [_by_entry(laplace, laplace.joint.order.index(index), *at) for at in entries]
    return out


def solved(laplace: Laplace, eta: Array, zeta: Array) -> Effects:
    """Return H^-1 Lambda'A' of row quantities."""
    pairs = zip(laplace.joint.loadings, laplace.mode.Lambdas, strict=True)
    return laplace.joint.solve(laplace.system, [a.sums(eta, zeta) @ L for a, L in pairs])


def linear_mode(base: Laplace, fixed: tuple[Array, Array], Lambdas: list[Array]) -> Effects:
    """
    Return the mode of h with the scores of the rows linear around a base, exact to first order.

    Lambda is that of the new point, so that a group's b = Lambda u stays where many rows hold it.

    Parameters
    ----------
    base : Laplace
    fixed : tuple of ndarray, shape (n,)
        Predictors without random effects at the new point.
    Lambdas : list of ndarray, shapes (k, k)
        At the new point.

    Raises
    ------
    Indefinite
        If h has no such mode.
    """
    joint, u, W = base.joint, base.mode.u, base.mode.W
    eta, zeta = joint.predictors(fixed, Lambdas, u)
    d, e = change(eta, base.mode.eta), change(zeta, base.mode.zeta)
    of_eta, of_zeta = base.mode.score
    score = of_eta - W.eta_eta * d - W.eta_zeta * e, of_zeta - W.eta_zeta * d - W.zeta_zeta * e
    system = joint.factorised(base.M, Lambdas)
    step = joint.solve(system, joint.gradient(score, Lambdas, u))
    return [part + more for part, more in zip(u, step, strict=True)]


def followed(
    joint: JointDensity, base: Laplace, fixed: tuple[Array, Array], Lambdas: list[Array]
) -> Laplace:
    """
    Return Laplace's approximation near a base, at the mode to first order, without a search.

    What is of second order has no part in a central difference. ``joint`` is that of the base,
    `linearised` there.
    """
    return Laplace(joint, joint.at(fixed, Lambdas, linear_mode(base, fixed, Lambdas)))


def _by_entry(laplace: Laplace, j: int, row: int, column: int) -> Effects:
    """Return the derivative of u^ in an entry of Lambda of loading j."""
    joint, mode, W = laplace.joint, laplace.mode, laplace.mode.W
    more = np.zeros_like(mode.u[j])
    more[:, row] = mode.u[j][:, column]
    eta, zeta = joint.loadings[j].of_rows(more)
    right = [
        loading.sums(-W.eta_eta * eta - W.eta_zeta * zeta, -W.eta_zeta * eta - W.zeta_zeta * zeta)
        @ L
        for loading, L in zip(joint.loadings, mode.Lambdas, strict=True)
    ]
    # the entry also turns the score of b into that of u
    right[j][:, column] += joint.loadings[j].sums(*mode.score)[:, row]
    return joint.solve(laplace.system, right)
