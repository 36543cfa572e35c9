"""Exponential dispersion families: a variance function and a deviance give all derivatives."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from hetglm.families.base import Family, Rows, Terms
from hetglm.families.special.stirling import log1pmx
from hetglm.typing import Array

LOG_2PI = float(np.log(2 * np.pi))


def divergence(y: Array, mu: Array) -> Array:
    """
    Return y log(y/mu) - (y - mu) for y >= 0 and mu > 0, without cancellation.

    The Bregman divergence of t log t: half the Poisson deviance, and the piece the deviances of the
    Gamma, binomial and negative binomial are made of.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        near = -y * log1pmx((mu - y) / y)
        far = y * (np.log(y) - np.log(mu)) - (y - mu)
        value = np.where(np.abs(mu - y) < 0.5 * y, near, far)
    return np.where(y > 0, value, mu)


class ExponentialDispersion(Family):
    r"""
    Family with log-likelihood :math:`-d(y, \mu)/(2\phi) + c(y, \phi)`.

    Subclasses give the variance function V with its derivative and the unit deviance d. With
    :math:`c = -\frac12 \log(2\pi\phi V(y))` this is exact for the normal and the inverse Gaussian
    and the extended quasi-likelihood otherwise (Nelder and Pregibon 1987, Biometrika 74, 221-232).
    Prior weights w enter as phi / w.
    """

    @abstractmethod
    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return V(mu) and V'(mu)."""

    @abstractmethod
    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return d(y, mu) = 2 * integral from mu to y of (y - t)/V(t) dt."""

    def saturated(self, rows: Rows, phi: Array) -> Array:
        """Return the log-likelihood at any mean with d/(2 phi) given back: also where V(y) = 0."""
        most = 1.0 if self.unit_interval else np.inf
        mu = np.where((rows.y > 0) & (rows.y < most), rows.y, 0.5)
        nu = 1 - mu if self.unit_interval else None
        value = self.evaluate(rows, mu, nu, phi, 0).loglike
        return value + 0.5 * self.unit_deviance(rows, mu, nu) / phi

    def deviance_slope(self, y: Array, mu: Array) -> Array:
        """Return the derivative of d(y, mu) in y, where y is continuous."""
        raise NotImplementedError(f"{self.name}: no derivative in the response")

    def score_by_response(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array]:
        """Return 1/(phi V) and d'(y)/(2 phi^2): c(y, phi) is a sum of functions of y and of phi."""
        slope = self.deviance_slope(rows.y, mu)
        return 1 / (phi * self.unit_variance(mu, nu)[0]), 0.5 * slope / phi**2

    def residual(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return y - mu."""
        return rows.y - mu

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return log V(y), with y moved off the boundary where V(y) = 0."""
        raise NotImplementedError

    def in_domain(self, mu: Array) -> Array:
        """Return where mu is an admissible mean."""
        return (mu > 0) & np.isfinite(mu)

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the response with -log(2 pi V(y))/2."""
        return Rows(y, trials, -0.5 * (LOG_2PI + self.log_variance_at_response(y, trials)))

    def dispersion_terms(self, rows: Rows, phi: Array, d: Array, order: int) -> tuple[Array, ...]:
        """Return -d/(2 phi) + c(phi) without its constant, and its derivatives in phi."""
        value = -0.5 * (np.log(phi) + d / phi)
        if order == 0:
            return (value,)
        first = 0.5 * (d / phi - 1) / phi
        return value, first, (0.5 - d / phi) / phi**2

    def evaluate(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """Return the log-likelihood and its derivatives; -inf where mu or phi is inadmissible."""
        with np.errstate(all="ignore"):
            inside = self.in_domain(mu) & (phi > 0) & np.isfinite(phi)
            d = self.unit_deviance(rows, mu, nu)
            value, *rest = self.dispersion_terms(rows, phi, d, order)
            loglike = np.where(inside, rows.constant + value, -np.inf)
            if order == 0:
                return Terms(loglike)
            V, dV = self.unit_variance(mu, nu)
            u = self.residual(rows, mu, nu) / V / phi
            mu_mu = -1 / (V * phi) - u * dV / V if order > 1 else None
            mu_phi = -u / phi if order > 1 else None
            return Terms(loglike, u, rest[0], mu_mu, mu_phi, rest[1] if order > 1 else None)

    def information_phi(self, phi: Array) -> Array:
        """Return the expected information of phi in one row."""
        return 0.5 / phi**2

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -1/(phi V), 0 and minus the information of phi: mean and dispersion are orthogonal."""
        with np.errstate(all="ignore"):
            V, _ = self.unit_variance(mu, nu)
            return -1 / (phi * V), np.zeros_like(mu), -self.information_phi(phi)

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return phi V(mu)."""
        return phi * self.unit_variance(mu, nu)[0]

    def variance_slopes(
        self, mu: Array, nu: Array, phi: Array, trials: Array | None
    ) -> tuple[Array, Array, Array]:
        """Return phi V'(mu), V(mu) and phi V(mu)."""
        V, slope = self.unit_variance(mu, nu)
        return phi * slope, V, phi * V

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return phi + spread / V(mu)."""
        return phi + spread / self.unit_variance(mu, nu)[0]

    def moment_dispersion(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return the unit deviance, whose mean is about phi."""
        return self.unit_deviance(rows, mu, nu)
