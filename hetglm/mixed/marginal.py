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
from hetglm.typing import Array


class Evaluation(NamedTuple):
    """The criterion at a point: its value and what gives the gradient."""

    psi: Array
    value: float
    laplace: Laplace


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
    """

    likelihood: Likelihood
    factors: tuple[GroupingFactor, ...]
    integrated: tuple[Array, Array] | None = None
    joint: JointDensity = field(init=False)
    structure: CovarianceStructure = field(init=False)
    u: Effects = field(init=False)

    def __post_init__(self) -> None:
        """Prepare the joint density; modes are searched from u = 0 first, then from the last one."""
        self.joint = JointDensity(self.likelihood, self.factors, self.integrated)
        self.structure = structure_of(self.factors)
        self.u = self.joint.zero()

    @property
    def k_coefficients(self) -> int:
        """Coefficients in psi."""
        return self.likelihood.k_mean + self.likelihood.Z.shape[1]

    def at(self, psi: Array, start: Effects | None = None) -> Evaluation | None:
        """
        Return the criterion at a point, None where it is not defined.

        The search for the mode begins at ``start``, by default at the one last accepted.
        """
        k = self.k_coefficients
        Lambdas = self.joint.ordered_matrices(self.structure.matrices(psi[k:]))
        try:
            laplace = Laplace(self.joint, self.joint.mode(psi[:k], Lambdas, start or self.u))
            value = laplace.value
        except (NoModeError, Indefinite):
            return None
        return Evaluation(psi, value, laplace) if np.isfinite(value) else None

    def accept(self, here: Evaluation) -> None:
        """Search later modes from the one at this point."""
        self.u = here.laplace.mode.u

    def gradient(self, here: Evaluation) -> Array:
        """Return the gradient in psi."""
        of_theta = [
            gradient[factor.entries]
            for factor, gradient in zip(
                self.structure.factors, here.laplace.matrix_gradients, strict=True
            )
        ]
        return np.concatenate([here.laplace.coefficient_gradient, *of_theta])
