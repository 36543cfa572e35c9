"""
The log-likelihood of a double generalized linear model (Smyth 1989) in its coefficients.

The mean has the linear predictor eta = X beta + offset, the dispersion zeta = Z gamma + offset, each
with its own link. A family gives the log-likelihood of a row in (mu, phi) with derivatives; the chain
rule through both links is applied here, once for all families.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hetglm.families.base import BoundaryFamily, Family, Terms
from hetglm.likelihood.links import Inverse, invert, invert_dispersion
from hetglm.typing import Array
from hetglm.utils.display import Printed
from hetglm.utils.linalg import crossed, distinct_rows, gram, independent_columns, times
from hetglm.utils.messages import RowNames


@dataclass(frozen=True)
class Predictors:
    """Linear predictors, mean, dispersion and derivatives of the links, each of shape (n,)."""

    eta: Array
    zeta: Array
    mean: Inverse
    phi: Array
    d_phi: Array
    d2_phi: Array


@dataclass(frozen=True)
class Factors:
    """
    Row-wise log-likelihood and derivatives in the two linear predictors, each of shape (n,).

    Attributes
    ----------
    loglike : ndarray
        Log-likelihood of each row, times its frequency.
    eta, zeta : ndarray or None
        First derivatives in the mean's and the dispersion's linear predictor.
    eta_eta, eta_zeta, zeta_zeta : ndarray or None
        Second derivatives.
    """

    loglike: Array
    eta: Array | None = None
    zeta: Array | None = None
    eta_eta: Array | None = None
    eta_zeta: Array | None = None
    zeta_zeta: Array | None = None


@dataclass(frozen=True, repr=False)
class Likelihood(Printed):
    """
    Data of a location-scale model and its log-likelihood in params = (beta, gamma).

    Attributes
    ----------
    family : Family
        Log-likelihood of a row in (mu, phi).
    link, link_dispersion : statsmodels links
    y : ndarray, shape (n,)
        Response in the family's form.
    X, Z : ndarray, shapes (n, p) and (n, q)
        Designs of the mean and of the dispersion.
    offset, offset_dispersion, trials, weights, freq : ndarray, shape (n,), or None
        Shifts of the linear predictors (the log exposure included), trials, divisors of phi and
        frequencies.
    fixed_predictor : ndarray, shape (n,), or None
        Linear predictor of the dispersion of rows that are fixed at the boundary (minus infinity for
        phi = 0), NaN where it is Z gamma + offset.
    names : RowNames
        Names of the rows for messages.
    """

    family: Family
    link: Any
    link_dispersion: Any
    y: Array
    X: Array
    Z: Array
    offset: Array | None = None
    offset_dispersion: Array | None = None
    trials: Array | None = None
    weights: Array | None = None
    freq: Array | None = None
    fixed_predictor: Array | None = None
    rows: Any = None
    names: RowNames = field(default=RowNames())

    def __post_init__(self) -> None:
        """Compute once what depends on the response only."""
        if self.rows is None:
            object.__setattr__(self, "rows", self.family.prepare(self.y, self.trials))

    def _headline(self) -> str:
        columns = f"{self.k_mean} columns for the mean, {self.Z.shape[1]} for the dispersion"
        return f"{self.family.name}, {self.n} rows, {columns}"

    @property
    def k_mean(self) -> int:
        """Columns of the mean's design."""
        return int(self.X.shape[1])

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.y)

    @property
    def dispersion_is_known(self) -> bool:
        """Whether the dispersion has no columns: its predictor is the offset, 0 without one."""
        return self.Z.shape[1] == 0

    @property
    def has_boundary(self) -> bool:
        """Whether the likelihood is finite and smooth at phi = 0."""
        return isinstance(self.family, BoundaryFamily)

    @property
    def boundary_family(self) -> BoundaryFamily:
        """The family, where the likelihood has a boundary at phi = 0."""
        assert isinstance(self.family, BoundaryFamily)
        return self.family

    def uninformative(self) -> Array | None:
        """Return which rows are uninformative about the dispersion, None for none; shape (n,)."""
        return self.boundary_family.uninformative(self.rows) if self.has_boundary else None

    def estimable(self) -> Array:
        """Return which columns of X, and of Z on the informative rows, are independent; (p + q,)."""
        uninformative = self.uninformative()
        Z = self.Z if uninformative is None else self.Z[~uninformative]
        return np.concatenate([independent_columns(self.X), independent_columns(Z)])

    def take(self, index: Any) -> Likelihood:
        """Return the likelihood of some rows: an index array or a boolean mask."""
        names = "y X Z offset offset_dispersion trials weights freq fixed_predictor".split()
        arrays = {name: getattr(self, name) for name in names}
        # contiguous copies: a strided view would slow down every later evaluation
        taken: dict[str, Any] = {
            k: None if a is None else np.array(a[index], order="F") for k, a in arrays.items()
        }
        return replace(self, rows=None, names=self.names.take(index), **taken)

    def without_rows(self) -> Likelihood:
        """Return the likelihood with no rows: links, family and widths, for predictions on new rows."""
        return replace(self.take(slice(0, 0)), names=RowNames())

    def distinct(self) -> tuple[Likelihood, Array | None]:
        """
        Return the frequency-weighted likelihood of the distinct rows, where these are few.

        Returns
        -------
        Likelihood
            Itself where most rows are distinct.
        of_row : ndarray of int, shape (n,), or None
            Index of the distinct row that each row equals; None where most are distinct.
        """
        if self.fixed_predictor is not None:
            return self, None
        columns = (self.y, self.offset, self.offset_dispersion, self.trials, self.weights)
        alike = distinct_rows([self.X, self.Z, *(a for a in columns if a is not None)])
        if alike is None:
            return self, None
        first, of_row = alike
        freq = np.bincount(of_row, weights=self.freq).astype(float)
        return replace(self.take(first), freq=freq), of_row

    def with_designs(self, X: Array | None = None, Z: Array | None = None) -> Likelihood:
        """Return the likelihood of the same rows with other designs."""
        return replace(self, X=self.X if X is None else X, Z=self.Z if Z is None else Z)

    def with_response(self, y: Array) -> Likelihood:
        """Return the likelihood of another response on the same rows."""
        return replace(self, y=y, rows=None)

    def predictors(self, params: Array) -> Predictors:
        """Return linear predictors, mean and dispersion at ``params``; NaN coefficients count as 0."""
        params = np.asarray(params, dtype=float)
        params = np.where(np.isnan(params), 0.0, params)
        eta = self.mean_predictor(params[: self.k_mean])
        zeta = self.dispersion_predictor(params[self.k_mean :])
        phi, d1, d2 = invert_dispersion(self.link_dispersion, zeta)
        if self.fixed_predictor is not None:
            d1, d2 = (np.where(np.isnan(self.fixed_predictor), d, 0.0) for d in (d1, d2))
        return Predictors(eta, zeta, invert(self.link, eta), phi, d1, d2)

    def mean_predictor(self, beta: Array) -> Array:
        """Return the linear predictor of the mean of each row."""
        eta = times(self.X, beta)
        return eta if self.offset is None else eta + self.offset

    def dispersion_predictor(self, gamma: Array) -> Array:
        """Return the linear predictor of the dispersion of each row, boundary rows included."""
        zeta = times(self.Z, gamma)
        zeta = zeta if self.offset_dispersion is None else zeta + self.offset_dispersion
        return (
            zeta
            if self.fixed_predictor is None
            else np.where(np.isnan(self.fixed_predictor), zeta, self.fixed_predictor)
        )

    def row_phi(self, phi: Array) -> Array:
        """Return phi / w, the dispersion of each row after its weight."""
        return phi if self.weights is None else phi / self.weights

    def terms(self, at: Predictors, order: int = 2) -> Terms:
        """Return the family's terms in (mu, phi / w)."""
        nu = at.mean.nu if self.family.unit_interval else None
        return self.family.evaluate(self.rows, at.mean.mu, nu, self.row_phi(at.phi), order)

    def loglike_rows(self, params: Array) -> Array:
        """Return the log-likelihood of each row, times its frequency; shape (n,)."""
        loglike = self.terms(self.predictors(params), 0).loglike
        return loglike if self.freq is None else loglike * self.freq

    def loglike(self, params: Array) -> float:
        """Return the log-likelihood, -inf where it is not defined."""
        with np.errstate(invalid="ignore"):
            value = float(self.loglike_rows(params).sum())
        return -np.inf if np.isnan(value) else value

    def factors(self, params: Array, order: int = 2) -> Factors:
        """Return the log-likelihood of each row and its derivatives in the linear predictors."""
        at = self.predictors(params)
        t = self.terms(at, order)
        parts = [part for part in vars(t).values() if part is not None]
        with np.errstate(all="ignore"):  # a trial point may lie outside the domain
            d1, d_phi, d2_phi = at.mean.d1, at.d_phi, at.d2_phi
            if self.weights is not None:
                d_phi, d2_phi = d_phi / self.weights, d2_phi / self.weights
            if order == 2:
                _, mu, phi, mu_mu, mu_phi, phi_phi = parts
                mu_mu *= d1
                mu_mu *= d1
                mu_mu += mu * at.mean.d2
                mu_phi *= d1
                mu_phi *= d_phi
                phi_phi *= d_phi  # one by one: the square may overflow
                phi_phi *= d_phi
                phi_phi += phi * d2_phi
            for part, slope in zip(parts[1:3], (d1, d_phi), strict=False):
                part *= slope
            if self.freq is not None:
                for part in parts:
                    part *= self.freq
            return Factors(*parts)

    def expected_factors(self, params: Array) -> tuple[Array, Array, Array]:
        """Return the expected second derivatives (eta eta, eta zeta, zeta zeta) of each row."""
        at = self.predictors(params)
        nu = at.mean.nu if self.family.unit_interval else None
        phi = self.row_phi(at.phi)
        mm, mp, pp = self.family.expected_hessian(self.rows, at.mean.mu, nu, phi)
        scale = 1.0 if self.weights is None else 1 / self.weights
        freq = 1.0 if self.freq is None else self.freq
        with np.errstate(all="ignore"):
            d1, d_phi = at.mean.d1, at.d_phi * scale
            return freq * mm * d1**2, freq * mp * d1 * d_phi, freq * pp * d_phi**2

    def gradient(self, factors: Factors) -> Array:
        """Return the score in params, shape (p + q,)."""
        assert factors.eta is not None and factors.zeta is not None
        return np.concatenate([crossed(self.X, factors.eta), crossed(self.Z, factors.zeta)])

    def score(self, params: Array) -> Array:
        """Return the score at params, shape (p + q,)."""
        return self.gradient(self.factors(params, 1))

    def observed_hessian(self, params: Array) -> Array:
        """Return the observed Hessian at params, shape (p + q, p + q)."""
        return self.hessian(self.factors(params))

    def approximate_gradient(self, params: Array) -> tuple[Array, bool]:
        """
        Return the score in params to about five digits, and True; exact, and False, where not cheaper.

        It serves the first quasi-Newton steps, whose own error is larger.
        """
        at = self.predictors(params)
        nu = at.mean.nu if self.family.unit_interval else None
        score = self.family.approximate_score(self.rows, at.mean.mu, nu, self.row_phi(at.phi))
        if score is None:
            return self.gradient(self.factors(params, 1)), False
        weight: Any = 1.0 if self.freq is None else self.freq
        eta = score[0] * at.mean.d1 * weight
        zeta = score[1] * self.row_phi(at.d_phi) * weight
        return np.concatenate([crossed(self.X, eta), crossed(self.Z, zeta)]), True

    def assemble(self, eta_eta: Array, eta_zeta: Array, zeta_zeta: Array) -> Array:
        """Return the Hessian in params from row-wise second derivatives, shape (p + q, p + q)."""
        with np.errstate(all="ignore"):  # far outside the domain a weight may be infinite
            cross = gram(self.X, eta_zeta, self.Z)
            mean, dispersion = gram(self.X, eta_eta, self.X), gram(self.Z, zeta_zeta, self.Z)
        return np.block([[mean, cross], [cross.T, dispersion]])

    def hessian(self, factors: Factors) -> Array:
        """Return the observed Hessian in params."""
        assert factors.eta_eta is not None and factors.eta_zeta is not None
        assert factors.zeta_zeta is not None
        return self.assemble(factors.eta_eta, factors.eta_zeta, factors.zeta_zeta)

    def expected_hessian(self, params: Array) -> Array:
        """Return the expected Hessian in params."""
        return self.assemble(*self.expected_factors(params))

    def score_obs(self, params: Array) -> Array:
        """Return the score of each row, shape (n, p + q)."""
        f = self.factors(params, 1)
        assert f.eta is not None and f.zeta is not None
        return np.column_stack([self.X * f.eta[:, None], self.Z * f.zeta[:, None]])

    def score_by_response(self, params: Array) -> Array:
        """Return the derivative of each row's score in its response, shape (n, p + q)."""
        at = self.predictors(params)
        nu = at.mean.nu if self.family.unit_interval else None
        mu, phi = self.family.score_by_response(self.rows, at.mean.mu, nu, self.row_phi(at.phi))
        freq = 1.0 if self.freq is None else self.freq
        eta, zeta = freq * mu * at.mean.d1, freq * phi * self.row_phi(at.d_phi)
        return np.column_stack([self.X * eta[:, None], self.Z * zeta[:, None]])
