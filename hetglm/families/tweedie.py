r"""
Tweedie family with 1 < p < 2: V(mu) = mu^p, exact by the series of its density.

A sum of N gamma variables, N Poisson: N has mean :math:`\lambda = \mu^{2-p}/(\phi(2-p))`, each summand
shape :math:`a = (2-p)/(p-1)` and scale :math:`\tau = \phi(p-1)\mu^{p-1}`. The response is 0 with
probability :math:`e^{-\lambda}`; elsewhere its density is a sum over N (Dunn and Smyth 2005,
Statistics and Computing 15, 267-280). As for the Gamma, all that separates it from the saddlepoint
form (the extended quasi-likelihood) is one function, here of p and of the size
:math:`x = y^{2-p}/\phi`:

.. math::

    \log f(y) = -\frac{d(y, \mu)}{2\phi} - \frac12\log(2\pi\phi y^p) + \delta_p(x).

With :math:`j_0 = x/(2-p)`, :math:`D(j, j_0) = j\log(j/j_0) - (j - j_0)` and Stirling's remainder S
the large terms of the series cancel on paper,

.. math::

    e^{\delta_p(x)} = \sqrt{\frac{a}{2\pi x}} \sum_{j \ge 1} e^{-(1+a) D(j, j_0) - S(j) - S(ja)},

and what is left is summed around its peak at j_0. Where the sum is as good as its integral
:math:`\delta_p` is Laplace's expansion in 1/x, -p(3 - p)/(24 x) - ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats
from scipy.special import gammainc, gammaincc

from hetglm.families.base import Rows
from hetglm.families.exponential import LOG_2PI, divergence
from hetglm.families.quasi import QuasiTweedie
from hetglm.families.special.tweedie import (
    information,
    saddlepoint_gap,
    series_reach,
    series_remainders,
    series_terms,
)
from hetglm.typing import Array

#: Newton steps for a quantile, at most: far more than it needs.
MAX_QUANTILE_STEPS = 200

#: Relative change of a quantile by its last step: its square is the error that is left.
TOL_QUANTILE = 1e-9


class Tweedie(QuasiTweedie):
    """
    Compound Poisson-gamma distribution with mean mu and variance phi mu^p, 1 < p < 2.

    Parameters
    ----------
    power : float
        The variance power p. Close to 2 the series is long: 100 terms a row at 1.9, 10,000 within
        1e-5 of 2.
    """

    exact = True

    def __init__(self, power: float = 1.5) -> None:
        super().__init__(power)
        if not 1 < self.power < 2:
            raise ValueError(
                f"Tweedie: the series is for 1 < var_power < 2, not {self.power:g}; powers 0, 2 and 3 "
                "are the Gaussian, the Gamma and the inverse Gaussian"
            )

    def prepare(self, y: Array, trials: Array | None) -> Rows:
        """Return the response with -log(2 pi y^p)/2; a 0 has a probability, not a density."""
        with np.errstate(divide="ignore"):
            constant = -0.5 * (LOG_2PI + self.power * np.log(y))
        return Rows(y, trials, np.where(y > 0, constant, 0.0))

    def dispersion_terms(self, rows: Rows, phi: Array, d: Array, order: int) -> tuple[Array, ...]:
        """Return the saddlepoint form plus delta, -d/(2 phi) alone at 0; and derivatives."""
        zero = rows.y == 0
        value, *rest = super().dispersion_terms(rows, phi, d, order)
        alone = -0.5 * d / phi, 0.5 * d / phi**2, -d / phi**3
        gap = np.zeros((3, len(phi)))
        size = rows.y ** (2 - self.power) / phi
        usable = np.isfinite(size) & (size > 0)
        gap[:, usable] = saddlepoint_gap(size[usable], self.power)
        delta, first, second = gap
        extra = delta, -first / phi, (first + second) / phi**2
        parts = zip((value, *rest), extra, alone, strict=False)
        return tuple(np.where(zero, at_zero, part + more) for part, more, at_zero in parts)

    def expected_hessian(
        self, rows: Rows, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """Return -1/(phi V), 0 and minus the information of phi, by quadrature."""
        with np.errstate(all="ignore"):
            mu_mu, mu_phi, _ = super().expected_hessian(rows, mu, nu, phi)
            size = mu ** (2 - self.power) / phi
            return mu_mu, mu_phi, -information(size, self.power) / phi**2

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the compound Poisson-gamma distribution."""
        return CompoundPoissonGamma(self.power)(mu, phi)


class CompoundPoissonGamma(stats.rv_continuous):
    """
    Sum of a Poisson number of gamma variables, as a scipy distribution with shapes mu and phi.

    At 0 ``pdf`` and ``logpdf`` are those of the atom: the probability of 0, not a density.

    Parameters
    ----------
    power : float
        Variance power, 1 < p < 2.
    """

    #: The lower limit of the support has a positive probability, which may underflow.
    atom = True

    def __init__(self, power: float = 1.5, **kwargs: Any) -> None:
        self.power = power
        super().__init__(**{"a": 0.0, "name": "tweedie", "shapes": "mu, phi", **kwargs})

    def _updated_ctor_param(self) -> dict[str, Any]:
        return {**super()._updated_ctor_param(), "power": self.power}

    def _argcheck(self, mu: Array, phi: Array) -> Any:
        return (mu > 0) & (phi > 0) & np.isfinite(mu) & np.isfinite(phi)

    def _open_support_mask(self, x: Array, *args: Array) -> Any:
        return (x >= 0) & (x < np.inf)  # 0 has a probability

    def _claims(self, mu: Array, phi: Array) -> tuple[Array, float, Array]:
        """Return the mean number of summands, and their shape and scale."""
        p = self.power
        return mu ** (2 - p) / (phi * (2 - p)), (2 - p) / (p - 1), phi * (p - 1) * mu ** (p - 1)

    def _stats(self, mu: Array, phi: Array) -> tuple[Array, ...]:
        p, size = self.power, mu ** (2 - self.power) / phi
        return mu, phi * mu**p, p / np.sqrt(size), p * (2 * p - 1) / size

    def _rvs(self, mu: Array, phi: Array, size: Any = None, random_state: Any = None) -> Array:
        mean, shape, scale = self._claims(mu, phi)
        number = random_state.poisson(mean, size)
        total = random_state.gamma(np.where(number > 0, shape * number, 1.0)) * scale
        return np.where(number > 0, total, 0.0)

    def _logpdf(self, x: Array, mu: Array, phi: Array) -> Array:
        family = Tweedie(self.power)
        return family.evaluate(family.prepare(x, None), mu, None, phi, 0).loglike

    def _pdf(self, x: Array, mu: Array, phi: Array) -> Array:
        return np.exp(self._logpdf(x, mu, phi))

    def _mixture(self, part: Any, x: Array, mu: Array, phi: Array) -> Array:
        """Return the sum over N >= 1 of P(N = j) times the gamma probability ``part``(j a, x/tau)."""
        mean, shape, scale = self._claims(mu, phi)
        out = np.empty(len(x))
        for rows, j, starts, of_row in series_terms(*series_reach(mean, 1.0)):
            # Loader's form of the Poisson probabilities: no large terms cancel
            weight = -divergence(j, mean[rows][of_row]) - series_remainders(j, 1.0)
            weight = np.exp(weight) / np.sqrt(2 * np.pi * j)
            terms = weight * part(shape * j, (x / scale)[rows][of_row])
            out[rows] = np.add.reduceat(terms, starts)
        return out

    def _cdf(self, x: Array, mu: Array, phi: Array) -> Array:
        return np.exp(-self._claims(mu, phi)[0]) + self._mixture(gammainc, x, mu, phi)

    def _sf(self, x: Array, mu: Array, phi: Array) -> Array:
        return self._mixture(gammaincc, x, mu, phi)

    def partial_mean(self, x: Array, mu: Array, phi: Array) -> Array:
        """Return the mean of Y where Y is at most x, and 0 elsewhere; arguments of shape (n,)."""
        return self._claims(mu, phi)[2] * self._mixture(
            lambda shape, t: shape * gammainc(shape + 1, t), x, mu, phi
        )

    def _ppf(self, q: Array, mu: Array, phi: Array) -> Array:
        """Return quantiles by Newton's method in log y, kept within a bracket."""
        q, mu, phi = np.broadcast_arrays(q, mu, phi)
        out = np.zeros(q.shape)
        none = np.exp(-self._claims(mu, phi)[0])
        above = np.flatnonzero(q > none)
        q, mu, phi, none = q[above], mu[above], phi[above], none[above]
        # start from the gamma distribution with the moments of the positive part
        m = mu / (1 - none)
        v = (phi * mu**self.power + mu**2) / (1 - none) - m**2
        start = stats.gamma.ppf((q - none) / (1 - none), m**2 / v, scale=v / m)
        t = np.log(np.maximum(start, 1e-290 * mu))
        low, high = np.full(t.shape, -np.inf), np.full(t.shape, np.inf)
        open_ = np.arange(len(t))
        for _ in range(MAX_QUANTILE_STEPS):
            if not len(open_):
                break
            at = t[open_], q[open_], mu[open_], phi[open_]
            new, low[open_], high[open_] = self._newton(*at, low[open_], high[open_])
            moved, t[open_] = np.abs(new - t[open_]), new
            open_ = open_[moved > TOL_QUANTILE]
        out[above] = np.exp(t)
        return out

    def _newton(
        self, t: Array, q: Array, mu: Array, phi: Array, low: Array, high: Array
    ) -> tuple[Array, Array, Array]:
        """Return the next iterate of each log quantile, and its new bracket."""
        y = np.exp(t)
        short = self._cdf(y, mu, phi) - q
        low, high = np.where(short < 0, t, low), np.where(short < 0, high, t)
        with np.errstate(all="ignore"):
            step = np.clip(-short / (y * self._pdf(y, mu, phi)), -2.0, 2.0)
        new = t + np.where(np.isnan(step), 0.0, step)
        within = (new >= low) & (new <= high) & ~np.isnan(step)
        bracketed = np.isfinite(high - low)
        far = t - 2.0 * np.sign(short)
        with np.errstate(invalid="ignore"):
            middle = np.where(bracketed, 0.5 * (low + high), far)
        return np.where(within, new, middle), low, high
