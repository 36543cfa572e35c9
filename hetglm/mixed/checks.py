"""Notes on a fit with random effects, and the warnings that go with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hetglm.design.random_terms import GroupingFactor
from hetglm.exceptions import (
    BoundaryWarning,
    ConvergenceWarning,
    LaplaceErrorWarning,
    NotIdentifiedWarning,
    SingularFitWarning,
)
from hetglm.mixed.record import MixedFit
from hetglm.utils.linalg import inverse
from hetglm.utils.messages import listed, warn

#: Error of Laplace's approximation, in units of the log-likelihood, above which it is warned of.
MAX_LAPLACE_ERROR = 0.1
#: Eigenvalue of the information with a unit diagonal below which a direction is not identified.
MIN_EIGENVALUE = 1e-4
#: Share of the largest entry of such a direction from which on a message names a parameter.
MIN_NAMED_SHARE = 0.1

Note = tuple[str, type[Warning]]


def diagnose(
    fit: MixedFit,
    factors: tuple[GroupingFactor, ...],
    names: list[str],
    warn_convergence: bool = True,
) -> list[str]:
    """
    Return the notes on a fit, one sentence each, and warn of each by its own class.

    Parameters
    ----------
    fit : MixedFit
    factors : tuple of GroupingFactor
    names : list of str
        Of all parameters.
    warn_convergence : bool
        Whether a failure to converge warns.
    """
    found = [*_convergence(fit), *_boundary(fit, names), *_identification(fit, names)]
    found += _laplace(fit, factors)
    for text, category in found:
        if warn_convergence or category is not ConvergenceWarning:
            warn(text, category)
    for text in fit.notes:
        warn(text, BoundaryWarning)
    return [*(text for text, _ in found), *fit.notes]


def _convergence(fit: MixedFit) -> Iterator[Note]:
    if not fit.converged:
        yield (
            f"the fit did not converge: {fit.message} (scaled gradient {fit.decrement:.1e}); try more "
            "iterations, start_params or simpler random terms",
            ConvergenceWarning,
        )


def _boundary(fit: MixedFit, names: list[str]) -> Iterator[Note]:
    at = [
        f"{name} = {round(value):d}"
        for name, value, there in zip(names, fit.params, fit.at_boundary, strict=True)
        if there
    ]
    if at:
        yield (
            f"the covariance matrix of the random effects is singular: {listed(at)}; there is no "
            "standard error there, those of the others are given these values, and a simpler random "
            "term fits as well",
            SingularFitWarning,
        )


def _identification(fit: MixedFit, names: list[str]) -> Iterator[Note]:
    has = fit.interior
    if not np.all(np.isfinite(fit.bse[has])):
        if fit.converged:
            yield (
                "the information matrix is singular, so there are no standard errors: the data do not "
                "identify some combination of the parameters; leave a random term out",
                NotIdentifiedWarning,
            )
        return
    information = inverse(fit.covariance[np.ix_(has, has)])
    if information is None:
        return
    scale = np.sqrt(np.diag(information))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < MIN_EIGENVALUE:
        size = np.abs(vectors[:, 0]) / np.abs(vectors[:, 0]).max()
        own = [name for name, there in zip(names, has, strict=True) if there]
        moved = [name for name, s in zip(own, size, strict=True) if s > MIN_NAMED_SHARE]
        yield (
            f"the data hardly identify a combination of {listed(moved)} (smallest eigenvalue of the "
            f"scaled information {values[0]:.1e}); leave one of these terms out",
            NotIdentifiedWarning,
        )


def _laplace(fit: MixedFit, factors: tuple[GroupingFactor, ...]) -> Iterator[Note]:
    error = fit.laplace_error
    if error is not None and np.isnan(error):
        yield (
            "the error of Laplace's approximation is unknown: the log-likelihood is not finite at nodes "
            "of the quadrature, where random effects take a linear predictor out of the domain of its "
            "link or the curvature at the mode fails; a log or logit link has no such domain",
            LaplaceErrorWarning,
        )
    elif error is not None and abs(error) > MAX_LAPLACE_ERROR:
        yield (
            f"Laplace's approximation errs: the log-likelihood is {error:+.2g} from it, by "
            "Gauss-Hermite quadrature or importance sampling at these estimates; fit with nodes=15 "
            "where there is one grouping factor",
            LaplaceErrorWarning,
        )
        return
    for factor in factors:
        single = np.bincount(factor.codes).max(initial=0) == 1
        if single and fit.nodes == 1 and "dispersion" in factor.parts:
            yield (
                f"{factor.name} has one row a group: Laplace's approximation is poor for its effects in "
                "the dispersion",
                LaplaceErrorWarning,
            )
