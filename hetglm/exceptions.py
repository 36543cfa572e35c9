"""Errors and warnings of hetglm: one class for each condition."""

from __future__ import annotations

from statsmodels.tools.sm_exceptions import ConvergenceWarning, ModelWarning

__all__ = [
    "AliasedColumnWarning",
    "AmbiguousResponseWarning",
    "BootstrapFailureWarning",
    "BoundaryWarning",
    "ConvergenceWarning",
    "DomainEdgeWarning",
    "DroppedRowsWarning",
    "EveryRefitFailedError",
    "FoldFailureWarning",
    "FormulaError",
    "IndefiniteCovarianceWarning",
    "LaplaceErrorWarning",
    "MissingValueError",
    "NotEstimableWarning",
    "NotIdentifiedWarning",
    "NotNestedError",
    "SeparationWarning",
    "SeveralMaximaWarning",
    "SingularFitWarning",
    "SmallCountsWarning",
    "UnboundedLikelihoodError",
    "UnboundedLikelihoodWarning",
    "UndefinedTermWarning",
    "UnseenLevelWarning",
    "UntestedTermWarning",
]


class FormulaError(ValueError):
    """A formula cannot be read or does not fit the data."""


class MissingValueError(ValueError):
    """A variable has missing or infinite values where none are allowed."""


class UnboundedLikelihoodError(ValueError):
    """
    The likelihood is unbounded: some rows are fitted exactly, and their dispersion goes to zero.

    Parameters
    ----------
    message : str
    where : str
        The part of the message that names rows and terms.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


class UnboundedLikelihoodWarning(ModelWarning):
    """The likelihood is unbounded at a singularity; the fit is a local maximum elsewhere."""


class AliasedColumnWarning(ModelWarning):
    """A column is a linear combination of earlier ones and is left out of the fit."""


class AmbiguousResponseWarning(ModelWarning):
    """A binomial response of 0 and 1 may be counts or proportions; it is treated as counts."""


class SeparationWarning(ModelWarning):
    """Some mean coefficients have no finite estimate: the response is separated."""


class BoundaryWarning(ModelWarning):
    """The maximum is on the boundary of the dispersion (zero or infinite) for some rows."""


class DomainEdgeWarning(ModelWarning):
    """The maximum is on the boundary of the mean's domain, where the gradient is not zero."""


class SeveralMaximaWarning(ModelWarning):
    """The likelihood has several local maxima; the fit is the largest that was found."""


class SmallCountsWarning(ModelWarning):
    """Expected counts are too small, given the dispersion, for the extended quasi-likelihood."""


class DroppedRowsWarning(ModelWarning):
    """Rows without information (no trials or zero frequency) were dropped."""


class BootstrapFailureWarning(ModelWarning):
    """Some bootstrap refits failed and are left out."""


class FoldFailureWarning(ModelWarning):
    """Some folds of a cross-validation failed, or have rows that cannot be predicted."""


class IndefiniteCovarianceWarning(ModelWarning):
    """A robust covariance is not positive definite, so some tests are NaN."""


class SingularFitWarning(ModelWarning):
    """A covariance matrix of random effects is singular: a variance of 0, a correlation of 1 or -1."""


class NotIdentifiedWarning(ModelWarning):
    """The data hardly identify a combination of the parameters of a fit with random effects."""


class LaplaceErrorWarning(ModelWarning):
    """Laplace's approximation of the marginal likelihood is inaccurate."""


class NotEstimableWarning(ModelWarning):
    """A prediction or contrast is NaN because the data of the fit do not determine it."""


class UndefinedTermWarning(ModelWarning):
    """A term of a formula has no value in some rows, such as the logarithm of a negative number."""


class UnseenLevelWarning(NotEstimableWarning):
    """New rows have a level that is a declared category but has no rows in the fit."""


class UntestedTermWarning(ModelWarning):
    """Some rows of a table of tests are NaN; the reasons are printed below the table."""


class EveryRefitFailedError(ValueError):
    """All refits of a bootstrap failed."""


class NotNestedError(ValueError):
    """A likelihood ratio was requested for models that are not nested, or not on the same data."""
