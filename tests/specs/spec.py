"""The facts that tests need of a family, and what several families have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import mpmath as mp


@dataclass(frozen=True)
class Spec:
    """
    Facts of a family, from the literature and not from its code.

    Attributes
    ----------
    families : sequence of Family
        The family, once for each value of its parameter where it has one.
    loglike : callable
        Log-likelihood of a row in mpmath: of family, y, mu, phi and trials.
    variance : callable
        Variance of y in mpmath: of family, mu, phi and trials.
    model : class, optional
        The model of the family; None where it has no dispersion to model
        (tests/models/test_known_dispersion.py).
    response : str
        Column of ``conftest.simulated`` with data of the family.
    kwargs : mapping
        Arguments of the model.
    simulate : callable, optional
        Where the shared data have no such column: of a generator, the linear predictor of the mean
        and phi, each of shape (n,).
    refused : sequence or callable
        (responses, trials, what the message says) of data that are not of the family; or a function
        of the family that returns them.
    orthogonal : bool
        Whether mean and dispersion are information-orthogonal.
    alike : str, optional
        Case whose model is fitted by the same code, and stands for this one in the quick set of tests.
    deviance : callable, optional
        Unit deviance in mpmath, of family, y and mu; of exponential dispersion families.
    scipy : callable, optional
        The frozen distribution in scipy, of mu, phi and trials.
    """

    families: Sequence[Any]
    loglike: Callable[..., Any]
    variance: Callable[..., Any]
    model: Any = None
    response: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    simulate: Callable[..., Any] | None = None
    refused: Any = ()
    orthogonal: bool = True
    alike: str | None = None
    deviance: Callable[..., Any] | None = None
    scipy: Callable[..., Any] | None = None

    @property
    def exact(self):
        """Whether the model of ``kwargs`` has a likelihood."""
        return self.families[0].exact

    def refusals(self, family):
        """Return the data that a family refuses."""
        return self.refused(family) if callable(self.refused) else self.refused


def xlogx(y, m):
    """Return y log(y/m), 0 at y = 0."""
    return y * mp.log(y / m) if y else mp.mpf(0)


def poisson_deviance(y, m):
    return 2 * (xlogx(y, m) - (y - m))


def gamma_deviance(y, m):
    return 2 * ((y - m) / m - mp.log(y / m))


def extended_quasi(variance, deviance):
    """Return the extended quasi-likelihood of a variance function and a unit deviance."""

    def loglike(f, y, m, phi, n):
        # Nelder and Pregibon: V at y moved off the boundary
        moved = y
        if f.unit_interval and y in (0, 1):
            moved = (y * n + mp.mpf(1) / 6) / (n + mp.mpf(1) / 3)
        elif y == 0 and variance(f, y, 1, None) == 0:
            moved = mp.mpf(1) / 6
        V = variance(f, moved, 1, None)
        return -(mp.log(2 * mp.pi * phi * V) + deviance(f, y, m) / phi) / 2

    return loglike


#: Counts and amounts of which some must be positive.
REFUSED_COUNTS = (
    ([1, -1], None, "must not be negative; see row 1"),
    ([0, 0], None, "every response is 0"),
)
