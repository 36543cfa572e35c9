"""Extended quasi-likelihood families: Poisson, binomial, negative binomial and Tweedie variances."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.special import xlogy

from hetglm.families.base import Rows, Terms
from hetglm.families.exponential import ExponentialDispersion, divergence
from hetglm.families.special.stirling import log1pmx
from hetglm.typing import Array
from hetglm.utils.messages import require

#: Counts at 0 are moved here before V(y) is taken (Nelder and Pregibon 1987).
BOUNDARY_SHIFT = 1 / 6
#: Distance of a fitted mean from its limit below which it counts as this: avoids 0/0 in rows at the
#: limit, where every derivative in the linear predictor is smaller still.
MIN_TAIL = 1e-100
#: Second-order term of the saddlepoint's relative error b, as a multiple of b^2: that of the Poisson
#: deviance, E[d] = 1 + 1/(6 mu) + 1/(6 mu^2) + ... (the exact sums are in tests/estimation/test_eql.py).
SECOND_ORDER = 6.0


class Quasi(ExponentialDispersion):
    """Family known by its variance function only; its criterion is not a likelihood."""

    exact = False

    @abstractmethod
    def unit_error(self, mu: Array, nu: Array | None) -> Array:
        """
        Return V'^2/(6 V) - V''/4: phi times this is E[d]/phi - 1 to first order.

        The relative error of the saddlepoint approximation to the density with this variance function
        (1/(6 mu) for the Poisson: twice Stirling's 1/(12 mu)).
        """

    @abstractmethod
    def instead(self) -> str:
        """Return what to use where the saddlepoint approximation fails."""

    def saddlepoint_error(self, mu: Array, nu: Array | None, phi: Array) -> Array:
        """
        Return how far E[d]/phi is from 1 in each row, about; at most 1.

        References
        ----------
        Smyth, G. K. and Verbyla, A. P. (1999). Adjusted likelihood methods for modelling dispersion
        in generalized linear models. Environmetrics 10, 695-709.
        """
        with np.errstate(all="ignore"):
            first = np.abs(self.unit_error(mu, nu)) * phi
            error = first + SECOND_ORDER * first**2
        return np.minimum(np.nan_to_num(error, nan=1.0, posinf=1.0), 1.0)

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return log V(y), zeros moved to 1/6."""
        return np.log(self.unit_variance(np.where(y == 0, BOUNDARY_SHIFT, y), None)[0])

    def start(self, rows: Rows) -> Array:
        """Return y moved halfway to its mean."""
        return 0.5 * (rows.y + rows.y.mean())


class QuasiCount(Quasi):
    """Non-negative response."""

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise where the response is negative, or nowhere positive."""
        require(y < 0, name, f"a {self.name} response must not be negative")
        if not np.any(y > 0):
            raise ValueError(f"{name}: every response is 0, so the mean has no finite estimate")


class QuasiPoisson(QuasiCount):
    """V(mu) = mu."""

    name = "Poisson"
    variance_formula = "phi mu"

    def unit_error(self, mu: Array, nu: Array | None) -> Array:
        """Return 1/(6 mu)."""
        return 1 / (6 * mu)

    def instead(self) -> str:
        """Return the model of counts with a likelihood."""
        return "use negativebinomial, which has a likelihood"

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu and 1."""
        return mu, np.ones_like(mu)

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 [y log(y/mu) - (y - mu)]."""
        return 2 * divergence(rows.y, mu)


class QuasiNegativeBinomial(QuasiCount):
    """
    V(mu) = mu + alpha mu^2 with alpha given.

    Parameters
    ----------
    alpha : float
        The ancillary parameter of the statsmodels family.
    """

    name = "Negative binomial"

    def __init__(self, alpha: float) -> None:
        self.alpha = float(alpha)
        self.variance_formula = f"phi (mu + {self.alpha:g} mu^2)"

    def unit_error(self, mu: Array, nu: Array | None) -> Array:
        """Return (1 + 2 alpha mu)^2/(6 V) - alpha/2."""
        V, slope = self.unit_variance(mu, nu)
        return slope**2 / (6 * V) - self.alpha / 2

    def instead(self) -> str:
        """Return the model that estimates alpha."""
        return "use negativebinomial, which has a likelihood and estimates alpha"

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu + alpha mu^2 and its derivative."""
        return mu * (1 + self.alpha * mu), 1 + 2 * self.alpha * mu

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        r"""
        Return 2 [y log(y/mu) - (y + 1/alpha) log((1 + alpha y)/(1 + alpha mu))].

        With A = 1 + alpha y, s = (y - mu)/(mu A) and u = alpha (y - mu)/A the two logarithms are
        log1p(s) and -log1p(-u); their linear parts leave (y - mu)^2/(mu A), which does not cancel.
        """
        y, a = rows.y, self.alpha
        A, B, r = 1 + a * y, 1 + a * mu, y - mu
        s, u = r / (mu * A), a * r / A
        with np.errstate(divide="ignore", invalid="ignore"):
            near = r**2 / (mu * A) + y * log1pmx(s) + log1pmx(-u) / a
            log_ratio = np.where(np.abs(u) < 0.5, np.log1p(-u), np.log(B) - np.log(A))
            far = xlogy(y, y / mu * (B / A)) + log_ratio / a
        return 2 * np.where(np.abs(s) < 0.5, near, far)


class QuasiTweedie(QuasiCount):
    """
    V(mu) = mu^p.

    Parameters
    ----------
    power : float
        The variance power p of the statsmodels family.
    """

    name = "Tweedie"

    def __init__(self, power: float) -> None:
        self.power = float(power)
        self.variance_formula = f"phi mu^{self.power:g}"

    def unit_error(self, mu: Array, nu: Array | None) -> Array:
        """Return p (3 - p) mu^(p-2)/12."""
        return self.power * (3 - self.power) / 12 * mu ** (self.power - 2)

    def instead(self) -> str:
        """Return the likelihood of the power, or the nearest family with one."""
        if 1 < self.power < 2:
            return 'use likelihood="exact", the density of the Tweedie'
        if self.power == 1:
            return "use negativebinomial, which has a likelihood"
        return "use the Gamma or the InverseGaussian family, which have a likelihood"

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise where the response is outside the support of the power."""
        if self.power >= 2:
            require(y <= 0, name, "a Tweedie response of power 2 or more must be positive")
        elif self.power >= 1:
            super().validate(y, trials, name)
        elif self.power != 0:
            raise ValueError(f"Tweedie: var_power must be 0 or at least 1, not {self.power:g}")

    def in_domain(self, mu: Array) -> Array:
        """Return where mu is positive; any mean serves for power 0."""
        return np.isfinite(mu) if self.power == 0 else super().in_domain(mu)

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu^p and p mu^(p-1)."""
        if self.power == 0:
            return np.ones_like(mu), np.zeros_like(mu)
        return mu**self.power, self.power * mu ** (self.power - 1)

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 times the integral of (y - t)/t^p from mu to y."""
        y, p = rows.y, self.power
        if p == 0:
            return (y - mu) ** 2
        if p == 1:
            return 2 * divergence(y, mu)
        if p == 2:
            return 2 * divergence(mu, y) / mu
        # mu^b [(1 + t)^b - 1 - b t]/(a b) with t = (y - mu)/mu, without its cancelling terms
        a, b, t = 1 - p, 2 - p, (y - mu) / mu
        with np.errstate(divide="ignore", invalid="ignore"):
            x = b * np.log1p(t)
            near = _expm1_rest(x) + b * log1pmx(t)
            far = np.where(y == 0, 0.0, np.abs(y / mu) ** b) - 1 - b * t
        return 2 * mu**b * np.where((np.abs(t) < 0.5) & (np.abs(x) < 1.4), near, far) / (a * b)


def _expm1_rest(x: Array) -> Array:
    """Return expm1(x) - x for |x| < 1.4 without cancellation, by its power series to x^21/21!."""
    near = np.where(np.abs(x) < 1.4, x, 0.0)
    tail = np.ones_like(near)
    for k in range(21, 2, -1):
        tail = 1 + near / k * tail
    return 0.5 * near**2 * tail


class QuasiBinomial(Quasi):
    """V(mu) = mu (1 - mu) for a proportion; the trials enter as a weight, phi / n."""

    name = "Binomial"
    variance_formula = "phi mu (1 - mu) / n"
    unit_interval = True
    takes_trials = True

    def unit_error(self, mu: Array, nu: Array | None) -> Array:
        """Return (1 - 2 mu)^2/(6 mu nu) + 1/2."""
        assert nu is not None
        return (nu - mu) ** 2 / (6 * mu * nu) + 0.5

    def instead(self) -> str:
        """Return the model of proportions with a likelihood."""
        return "use betabinomial, which has a likelihood"

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise where the proportion is outside [0, 1] or no row has more than one trial."""
        require((y < 0) | (y > 1), name, "a binomial proportion must lie in [0, 1]")
        if trials is not None and np.all((trials <= 1) & ((y == 0) | (y == 1))):
            raise ValueError(
                f"{name}: every row has one trial (0 or 1), so the dispersion is unidentified: the "
                "variance of a 0/1 response is mu (1 - mu) whatever phi; give grouped data (K of N), or "
                "write | 0 for the binomial GLM, which has phi = 1"
            )

    def in_domain(self, mu: Array) -> Array:
        """Return where mu is a probability."""
        return (mu >= 0) & (mu <= 1)

    def evaluate(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """Return the criterion and its derivatives, finite for a proportion fitted at its limit."""
        assert nu is not None
        # a negative one is no limit but outside the domain
        mu = np.where((rows.y == 0) & (mu >= 0), np.maximum(mu, MIN_TAIL), mu)
        nu = np.where((rows.y == 1) & (nu >= 0), np.maximum(nu, MIN_TAIL), nu)
        return super().evaluate(rows, mu, nu, phi, order)

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return the expected second derivatives, finite for a mean at its limit."""
        assert nu is not None
        return super().expected_hessian(
            rows, np.maximum(mu, MIN_TAIL), np.maximum(nu, MIN_TAIL), phi
        )

    def unit_variance(self, mu: Array, nu: Array | None) -> tuple[Array, Array]:
        """Return mu nu and nu - mu."""
        nu = 1 - mu if nu is None else nu
        return mu * nu, nu - mu

    def residual(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return y - mu, from the smaller tail."""
        assert nu is not None
        return np.where(mu < 0.5, rows.y - mu, nu - (1 - rows.y))

    def unit_deviance(self, rows: Rows, mu: Array, nu: Array | None) -> Array:
        """Return 2 [y log(y/mu) + (1 - y) log((1 - y)/nu)]."""
        assert nu is not None
        return 2 * (divergence(rows.y, mu) + divergence(1 - rows.y, nu))

    def log_variance_at_response(self, y: Array, trials: Array | None) -> Array:
        """Return log V(y), with proportions of 0 and 1 at (K + 1/6)/(N + 1/3)."""
        n = np.ones_like(y) if trials is None else trials
        edge = (y == 0) | (y == 1)
        moved = np.where(edge, (y * n + BOUNDARY_SHIFT) / (n + 2 * BOUNDARY_SHIFT), y)
        return np.log(moved) + np.log1p(-moved)

    def start(self, rows: Rows) -> Array:
        """Return (K + 1/2)/(N + 1)."""
        n = np.ones_like(rows.y) if rows.trials is None else rows.trials
        return (rows.y * n + 0.5) / (n + 1)
