"""The contract every likelihood keeps: density, derivatives and moments in (mu, phi)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hetglm.typing import Array


@dataclass(frozen=True)
class Terms:
    """
    Row-wise log-likelihood and its derivatives in the natural parameters.

    Every array has shape (n,), derivatives that were not asked for are None. Each is of the caller's
    own, who may overwrite it.

    Attributes
    ----------
    loglike : ndarray
        Log-likelihood of each row.
    mu, phi : ndarray or None
        First derivatives.
    mu_mu, mu_phi, phi_phi : ndarray or None
        Second derivatives.
    """

    loglike: Array
    mu: Array | None = None
    phi: Array | None = None
    mu_mu: Array | None = None
    mu_phi: Array | None = None
    phi_phi: Array | None = None


@dataclass(frozen=True)
class Rows:
    """
    Response rows in the form a family evaluates, with what is free of parameters.

    Attributes
    ----------
    y : ndarray, shape (n,)
        Response; a count of successes for the beta-binomial.
    trials : ndarray, shape (n,), or None
        Trials of binomial-type families.
    constant : ndarray, shape (n,)
        The part of the log-likelihood that depends on no parameter.
    """

    y: Array
    trials: Array | None
    constant: Array


@dataclass(frozen=True)
class ModelSpec:
    """
    What a model of one family needs besides the likelihood: links, row arrays and documentation.

    Attributes
    ----------
    title : str
        First line of the docstring of the model.
    text : str
        The distribution and its variance, and how other software parametrises it.
    endog : str
        What the response is.
    references, example : str
        Sections of the docstring.
    link, link_dispersion : str
        Default links, by their names in ``statsmodels.genmod.families.links``.
    refused : mapping
        ``n_trials`` or ``var_weights``, where the model does not take them -> what to use instead.
    aliases : tuple of str
        What users may call the family elsewhere; lower case letters only.
    """

    title: str
    text: str
    endog: str
    references: str
    example: str
    link: str = "Identity"
    link_dispersion: str = "Log"
    refused: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


#: Complex step of a derivative: nothing is subtracted, so any tiny step is exact.
COMPLEX_STEP = 1e-30


class Family(ABC):
    """
    Likelihood of a response with mean mu and dispersion phi.

    A family knows nothing of links, designs, weights or pandas. All arrays have shape (n,).
    Families of a probability (``unit_interval``) are given nu = 1 - mu as well as mu, so that the upper
    tail keeps its digits; the others are given ``nu=None``.
    """

    #: Name printed in summaries.
    name: str = ""
    #: Symbol of the dispersion parameter in print.
    symbol: str = "phi"
    #: Variance function in print.
    variance_formula: str = ""
    #: False where the criterion is the extended quasi-likelihood.
    exact: bool = True
    #: Whether the likelihood depends on phi; otherwise it is that of phi = 1, whatever phi is passed.
    has_dispersion: bool = True
    #: The mean is a probability.
    unit_interval: bool = False
    #: The likelihood needs the number of trials of each row.
    takes_trials: bool = False
    #: The response is a count.
    discrete: bool = False
    #: p where y/c has mean mu/c and dispersion phi c^(p - 2) in the same family, for every c; else None.
    scale_power: float | None = None
    #: The response is a number of successes, with mean n mu; otherwise its mean is mu.
    counts_successes: bool = False
    #: Links, row arrays and documentation where the family is a model of its own (`registry.MODELS`).
    model: ModelSpec | None = None

    @abstractmethod
    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError that names the response ``name`` where y cannot be of this family."""

    @abstractmethod
    def prepare(self, y: Array, trials: Array | None) -> Any:
        """Return what `evaluate` needs of the response; computed once per fit."""

    @abstractmethod
    def evaluate(self, rows: Any, mu: Array, nu: Array | None, phi: Array, order: int = 2) -> Terms:
        """Return the log-likelihood of each row and its derivatives up to ``order`` (0, 1 or 2)."""

    def approximate_score(self, rows: Any, mu: Array, nu: Array | None, phi: Array) -> Array | None:
        """
        Return the first derivatives in mu and phi to about five digits, shape (2, n).

        None where an approximation is not cheaper.
        """
        return None

    @abstractmethod
    def expected_hessian(
        self, rows: Any, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return the expected second derivatives (mu mu, mu phi, phi phi) of each row."""

    @abstractmethod
    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return the variance of the response."""

    def variance_slopes(
        self, mu: Array, nu: Array, phi: Array, trials: Array | None
    ) -> tuple[Array, Array, Array]:
        """Return the derivatives of the variance in mu and in phi, and the variance."""
        h = 1j * COMPLEX_STEP
        by_mu = self.variance(mu + h, nu - h, phi, trials).imag / COMPLEX_STEP
        by_phi = self.variance(mu, nu, phi + h, trials).imag / COMPLEX_STEP
        return by_mu, by_phi, self.variance(mu, nu, phi, trials)

    @property
    def mixed_family(self) -> Family:
        """The family of a response whose mean is random: this one, where it has a dispersion."""
        return self

    @abstractmethod
    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """
        Return the dispersion of a response whose mean is random, with mean mu and variance ``spread``.

        The distribution of `mixed_family` with it has the variance of the mixture.
        """

    @abstractmethod
    def start(self, rows: Any) -> Array:
        """Return a starting value of each row's mean, inside the domain of every link of the family."""

    @abstractmethod
    def moment_dispersion(self, rows: Any, mu: Array, nu: Array | None) -> Array:
        """
        Return a moment estimate of phi from each row alone, given its mean, at least 0.

        It is on the scale of phi itself, which each family chooses: of a variance phi, the squared
        residual; of a scale phi, the absolute one, each over its expectation at phi = 1.
        """

    @abstractmethod
    def saturated(self, rows: Any, phi: Array) -> Array:
        """
        Return the supremum of the log-likelihood of each row over its mean, at a given dispersion.

        Deviance residuals measure from it. Where the supremum lies on the boundary of the domain of the
        mean (a count of 0, a proportion of 0 or 1), it is the limit there.

        Parameters
        ----------
        rows : object
            From `prepare`.
        phi : ndarray, shape (n,)
            Dispersion of each row.
        """

    def unit_deviance(self, rows: Any, mu: Array, nu: Array | None) -> Array:
        """Return d(y, mu), of which phi is the scale; for exponential dispersion families only."""
        raise NotImplementedError(
            f"{self.name}: it has no unit deviance free of the dispersion; use the Pearson residuals"
        )

    def score_by_response(
        self, rows: Any, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array]:
        """Return the derivatives of the first derivatives (mu, phi) in a continuous response."""
        raise NotImplementedError(f"{self.name}: no derivative in the response")

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen scipy distribution of the response; EQL families have none."""
        raise NotImplementedError(
            f"{self.name} by extended quasi-likelihood is not a distribution: it has a mean and a "
            "variance only. Use bootstrap(kind='pairs') or a robust cov_type, or a model with a "
            "likelihood (BetaBinomial for proportions, likelihood='exact' for Tweedie)."
        )


class BoundaryFamily(Family):
    """
    Family whose likelihood is finite and smooth at phi = 0, where it is a distribution of its own.

    The maximum may lie at that boundary, and for extreme responses at phi = infinity too: the search
    and the results need to know what the family is there.
    """

    #: Name of the distribution at phi = 0.
    limit_at_zero: str = ""
    #: What responses look like that may have phi = infinity, in words.
    limit_at_infinity: str = ""
    #: Rows at phi = infinity are informative about the mean.
    mean_at_infinity: bool = True
    #: Rows that are uninformative about the dispersion, in words.
    uninformative_text: str = ""

    @abstractmethod
    def extreme_responses(self, rows: Any) -> Array:
        """
        Return -1 for the smallest response a row can have, 1 for the largest, 0 between.

        The likelihood of an extreme response increases as its mean approaches that limit, and in phi.
        """

    @abstractmethod
    def boundary_scale(self, rows: Any) -> Array:
        """
        Return a scale s of each row, at least 1.

        Where s phi is much smaller than 1 the row is close to its distribution at phi = 0.
        """

    def uninformative(self, rows: Any) -> Array | None:
        """Return which rows are uninformative about the dispersion, None for none."""
        return None
