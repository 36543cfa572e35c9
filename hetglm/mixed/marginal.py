"""The marginal log-likelihood, or restricted one, in psi = (coefficients, theta)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.cholesky import Indefinite
from hetglm.mixed.covariance_structure import CovarianceStructure, structure_of
from hetglm.mixed.joint import Effects, JointDensity, NoModeError
from hetglm.mixed.laplace import Laplace
from hetglm.mixed.quadrature import FollowedQuadrature, Quadrature, Rule
from hetglm.mixed.tangent import followed, linear_mode
from hetglm.typing import Array
from hetglm.utils.linalg import crossed

#: Curvature of the joint density at its mode, in units of the prior's, below which the criterion is not
#: defined, by Laplace's approximation and by nodes: where a mode splits in two it is 0, which is a pole
#: of Laplace's approximation, and puts the nodes of a quadrature far apart.
MIN_CURVATURE, MIN_CURVATURE_OF_NODES = 0.1, 0.01


class Evaluation(NamedTuple):
    """The criterion at a point: value, Laplace's approximation, and the quadrature if there is one."""

    psi: Array
    value: float
    laplace: Laplace
    quadrature: Quadrature | None = None


class Contributions(NamedTuple):
    """
    Parts of the gradient in psi.

    Attributes
    ----------
    rows : tuple of ndarray, shape (n,)
        Derivatives in eta and zeta of each row.
    groups : list of ndarray, shapes (G, m)
        Derivatives in theta by group, of each factor in the order of the user.
    """

    rows: tuple[Array, Array]
    groups: list[Array]


@dataclass
class Marginal:
    """
    What a fit with random effects maximises.

    Attributes
    ----------
    likelihood : Likelihood
        Its designs have the estimated columns that are not integrated out, all independent.
    factors : tuple of GroupingFactor
    integrated : tuple of ndarray, shapes (n, r) and (n, s), optional
        Fixed columns of both parts that are integrated out.
    nodes : int
        Quadrature nodes for each column in ``quadrature_columns``; 1 for Laplace's approximation.
    quadrature_columns : ndarray of bool, shape (k,), optional
        Columns of the only factor that are integrated by quadrature.
    """

    likelihood: Likelihood
    factors: tuple[GroupingFactor, ...]
    integrated: tuple[Array, Array] | None = None
    nodes: int = 1
    quadrature_columns: Array | None = None
    joint: JointDensity = field(init=False)
    structure: CovarianceStructure = field(init=False)
    u: Effects = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the joint density; modes are searched from u first, then near the one accepted."""
        self.joint = JointDensity(self.likelihood, self.factors, self.integrated)
        self.structure = structure_of(self.factors)
        self.u = self.joint.zero()
        self.accepted: Laplace | None = None
        self.rule = None
        if self.nodes > 1 and self.quadrature_columns is not None:
            self.rule = Rule(self.joint, self.quadrature_columns, self.nodes)

    @property
    def k_coefficients(self) -> int:
        """Coefficients in psi."""
        return self.likelihood.k_mean + self.likelihood.Z.shape[1]

    def laplace(self, psi: Array) -> Laplace:
        """
        Return Laplace's approximation at a point.

        Raises
        ------
        NoModeError
        """
        fixed, Lambdas = self.parts(psi)
        start = self.u
        if self.accepted is not None:
            start = linear_mode(self.accepted, fixed, Lambdas)
        return Laplace(self.joint, self.joint.mode(fixed, Lambdas, start))

    def parts(self, psi: Array) -> tuple[tuple[Array, Array], list[Array]]:
        """Return the predictors without random effects, and Lambda of each loading."""
        k = self.k_coefficients
        Lambdas = self.joint.ordered_matrices(self.structure.matrices(psi[k:]))
        return self.joint.fixed_part(psi[:k]), Lambdas

    def at(self, psi: Array) -> Evaluation | None:
        """Return the criterion at a point, None where it is not defined."""
        try:
            laplace = self.laplace(psi)
            least = MIN_CURVATURE if self.rule is None else MIN_CURVATURE_OF_NODES
            if laplace.curvature < least:
                return None
            quadrature = None
            if self.rule is not None:
                quadrature = Quadrature(self.rule, laplace, self.parts(psi)[0])
            value = laplace.value if quadrature is None else quadrature.value
        except (NoModeError, Indefinite, np.linalg.LinAlgError):
            return None
        return Evaluation(psi, value, laplace, quadrature) if np.isfinite(value) else None

    def accept(self, here: Evaluation) -> None:
        """Search later modes from those at this point, to first order in the distance."""
        self.accepted = here.laplace
        if self.rule is not None and here.quadrature is not None:
            self.rule.accepted = here.quadrature.at_nodes

    def gradient(self, here: Evaluation) -> Array:
        """Return the gradient in psi."""
        core, parts = self.likelihood, self.contributions(here)
        of_coefficients = [crossed(core.X, parts.rows[0]), crossed(core.Z, parts.rows[1])]
        return np.concatenate([*of_coefficients, *(g.sum(axis=0) for g in parts.groups)])

    def contributions(self, here: Evaluation) -> Contributions:
        """Return the parts of the gradient by rows and groups."""
        source = here.laplace if here.quadrature is None else here.quadrature
        groups = []
        for index, factor in enumerate(self.structure.factors):
            by_group = source.matrix_gradients_by_group(self.joint.order.index(index))
            rows, columns = factor.entries
            groups.append(by_group[:, rows, columns])
        return Contributions(source.row_scores, groups)


class Neighbourhood:
    """
    The gradient near a point, exact to first order in the distance: for central differences of it.

    The rows are linearised at the point and modes follow to first order, so that a gradient takes no
    evaluation of a family and no search.

    Parameters
    ----------
    marginal : Marginal
    here : Evaluation
    """

    def __init__(self, marginal: Marginal, here: Evaluation) -> None:
        self.marginal, self.here = marginal, here
        self.joint = marginal.joint.linearised(here.laplace.mode)
        nodes = [] if here.quadrature is None else here.quadrature.at_nodes
        self.at_nodes = [a.joint.linearised(a.mode) for a in nodes]

    def gradient(self, psi: Array) -> Array:
        """Return the gradient in psi, NaN where it is not defined."""
        fixed, Lambdas = self.marginal.parts(psi)
        base, quadrature = self.here.quadrature, None
        try:
            laplace = followed(self.joint, self.here.laplace, fixed, Lambdas)
            if base is not None:
                quadrature = FollowedQuadrature(
                    base.rule, laplace, fixed, base.at_nodes, self.at_nodes
                )
            return self.marginal.gradient(Evaluation(psi, np.nan, laplace, quadrature))
        except (Indefinite, np.linalg.LinAlgError):
            return np.full(len(psi), np.nan)
