"""
The adjusted profile likelihood of Cox and Reid (1987), as in Smyth and Verbyla (1999): REML.

Value, score and information in the coefficients of the dispersion, the mean maximised at each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hetglm.families.exponential import ExponentialDispersion
from hetglm.likelihood.likelihood import Factors, Likelihood
from hetglm.likelihood.objective import MAX_LOG_PHI_STEP, Criterion, Local
from hetglm.typing import Array
from hetglm.utils.linalg import BLOCK_CELLS, gram, solve_scaled, triangular_inverse

REML = Criterion("REML", comparable_means=False)

#: Squared pivot of scaled columns below which a Cholesky factor keeps fewer than nine digits (the
#: relative rounding is an eps over the pivot): QR takes over.
MIN_SQUARED_PIVOT = 1e-7

#: Scaled gradient of the mean at a given dispersion at which it is maximised, to rounding.
TOL_MEAN = 1e-12

#: The same where the gradient no longer shrinks.
TOL_MEAN_STALLED = 1e-6

#: The same in units of the rounding of the linear predictor, where that is larger.
N_ROUNDINGS = 16

#: Ratio of successive scaled gradients above which the gradient no longer shrinks.
MAX_GRADIENT_RATIO = 0.5

#: Newton steps for the mean at a given dispersion, at most.
MAX_MEAN_STEPS = 50

#: Halvings of such a step, at most.
MAX_HALVINGS = 40

#: Loss of log-likelihood by a step that may be rounding, in units of n + |llf|.
TOL_ROUNDING = 2.0**-40


@dataclass(frozen=True)
class Working:
    """
    Working weights of each row and derivatives that the adjustment needs; arrays of shape (n,).

    Attributes
    ----------
    weight : ndarray
        W = f w (d mu / d eta)^2 / (phi V), f the frequency.
    dlogW_deta : ndarray
        d log W / d eta.
    dlogphi_dzeta, d2logphi_dzeta2 : ndarray
        First and second derivative of log phi in its linear predictor.
    information : ndarray
        Expected information of log phi, times the frequency.
    """

    weight: Array
    dlogW_deta: Array
    dlogphi_dzeta: Array
    d2logphi_dzeta2: Array
    information: Array


def working(core: Likelihood, params: Array) -> Working:
    """Return the working weights at ``params`` and their derivatives."""
    at, family = core.predictors(params), core.family
    assert isinstance(family, ExponentialDispersion)
    nu = at.mean.nu if family.unit_interval else None
    phi = core.row_phi(at.phi)
    freq = 1.0 if core.freq is None else core.freq
    mu_mu, _, phi_phi = family.expected_hessian(core.rows, at.mean.mu, nu, phi)
    with np.errstate(all="ignore"):
        V, dV = family.unit_variance(at.mean.mu, nu)
        slope = at.d_phi / at.phi
        return Working(
            -freq * mu_mu * at.mean.d1**2,
            2 * at.mean.d2 / at.mean.d1 - dV * at.mean.d1 / V,
            slope,
            at.d2_phi / at.phi - slope**2,
            -freq * phi_phi * phi**2,
        )


def inverse_cholesky(X: Array, weight: Array) -> Array:
    """Return the inverse Cholesky factor T, T' X' diag(weight) X T = I, upper triangular, (p, p)."""
    with np.errstate(all="ignore"):
        A = gram(X, weight, X)
        s = 1 / np.sqrt(np.diag(A))
    if not np.all(np.isfinite(A)) or not np.all(np.isfinite(s)):
        return np.full(A.shape, np.nan)
    try:
        R = np.linalg.cholesky(A * s * s[:, None]).T
        lost = np.min(np.diag(R), initial=1.0) ** 2 < MIN_SQUARED_PIVOT
    except np.linalg.LinAlgError:
        lost = True
    if lost:
        # rows of large weight first, or QR would lose the digits of the others
        order = np.argsort(-weight)
        R = np.asarray(np.linalg.qr((X * np.sqrt(weight)[:, None] * s)[order], mode="r"))
    return s[:, None] * triangular_inverse(R) if len(s) else A


def weighted_cross_products(
    X: Array, T: Array, weight: Array, columns: Array
) -> tuple[Array, Array]:
    """
    Return the leverages, and U' diag(c) U for each column c, where U = diag(weight)^1/2 X T.

    The sums over pairs of rows that REML needs are products of these: sum_ij h_ij^2 a_i b_j, with
    h_ij = u_i'u_j, is the sum of the products of the elements of U' diag(a) U and U' diag(b) U. No
    array has n times p^2 elements.

    Parameters
    ----------
    X, T : ndarray, shapes (n, p) and (p, p)
    weight : ndarray, shape (n,)
    columns : ndarray, shape (n, m)

    Returns
    -------
    leverage : ndarray, shape (n,)
    products : ndarray, shape (m, p, p)
    """
    n, p = X.shape
    leverage, products = np.empty(n), np.zeros((columns.shape[1], p, p))
    step = max(1, BLOCK_CELLS // max(1, p))
    for i in range(0, n, step):
        rows = slice(i, i + step)
        # rows of U' are contiguous: twice as fast
        U = (T.T @ X[rows].T) * np.sqrt(weight[rows])
        leverage[rows] = np.einsum("ij,ij->j", U, U)
        for product, column in zip(products, columns[rows].T, strict=True):
            product += (U * column) @ U.T
    return leverage, products


def mean_given(core: Likelihood, beta: Array, gamma: Array) -> tuple[Array, Factors] | None:
    """
    Return the maximum in beta for a given gamma, and the factors there; None if there is none.

    Newton's method: for the Gaussian with identity link one step, and one that corrects its rounding.
    """
    factors, solver, before = core.factors(np.concatenate([beta, gamma])), None, np.inf
    if not np.isfinite(factors.loglike.sum()):
        return None
    for _ in range(MAX_MEAN_STEPS):
        assert factors.eta is not None
        gradient = core.X.T @ factors.eta
        if solver is not None:  # the matrix of the last step is near enough to scale the gradient
            decrement = abs(float(gradient @ solver(gradient))) ** 0.5
            stalls = decrement > MAX_GRADIENT_RATIO * before
            if decrement <= TOL_MEAN or (
                stalls and decrement < _least_gradient(core, beta, factors)
            ):
                return beta, factors
            before = decrement
        solver = _solver(core, np.concatenate([beta, gamma]), factors)
        moved = _halved(core, beta, gamma, solver(gradient), factors)
        if moved is None:
            break
        beta, factors = moved
    return (beta, factors) if before < _least_gradient(core, beta, factors) else None


def _least_gradient(core: Likelihood, beta: Array, factors: Factors) -> float:
    """Return the scaled gradient of the mean that rounding of its predictor may cause."""
    assert factors.eta_eta is not None
    terms = np.abs(core.X) @ np.abs(beta)
    with np.errstate(all="ignore"):
        noise = float(np.sqrt(np.sum(np.abs(factors.eta_eta) * terms**2)))
    return max(TOL_MEAN_STALLED, N_ROUNDINGS * np.finfo(float).eps * noise)


def _solver(core: Likelihood, params: Array, factors: Factors) -> Callable[[Array], Array]:
    """Return the function from a gradient of the mean to its step: Newton's, or Fisher scoring's."""
    assert factors.eta_eta is not None
    observed = -factors.eta_eta
    if observed.min(initial=0.0) >= 0:
        T = inverse_cholesky(core.X, observed)
        if np.all(np.isfinite(T)):
            return lambda v: T @ (T.T @ v)
    with np.errstate(all="ignore"):
        information = gram(core.X, observed, core.X)
    if solve_scaled(information, np.zeros(core.k_mean)) is not None:
        return lambda v: np.asarray(solve_scaled(information, v))
    T = inverse_cholesky(core.X, working(core, params).weight)
    return lambda v: T @ (T.T @ v)


def _halved(
    core: Likelihood, beta: Array, gamma: Array, step: Array, factors: Factors
) -> tuple[Array, Factors] | None:
    """Return the first point along a step of the mean, by halving, that does not lose log-likelihood."""
    here = float(factors.loglike.sum())
    noise = TOL_ROUNDING * (core.n + abs(here))
    for k in range(MAX_HALVINGS):
        point = beta + 0.5**k * step
        there = core.factors(np.concatenate([point, gamma]))
        with np.errstate(invalid="ignore"):
            if there.loglike.sum() >= here - noise:
                return point, there
    return None


@dataclass(frozen=True)
class Point:
    """
    The adjusted profile likelihood at gamma, with its derivatives.

    Attributes
    ----------
    beta, gamma : ndarray
    llf, value : float
        Log-likelihood, and the adjusted one.
    gradient : ndarray, shape (q,)
        Exact: the derivative of the mean's maximum in gamma included.
    information : ndarray, shape (q, q)
        Negative Hessian without the derivatives of W in the mean, which are zero for the Gaussian with
        identity link, the Gamma with log link and the like.
    expected : ndarray, shape (q, q)
        Expected information; see `search`.
    unadjusted : ndarray, shape (q, q)
        Expected information if the mean were known.
    T : ndarray, shape (p, p)
        Inverse Cholesky factor of the mean's expected information.
    observed_mean, cross : ndarray, shapes (p, p) and (p, q)
        Minus the second derivatives in the mean, and in both parts, the mean's coefficients scaled by T.
    fixed_weights : bool
        Whether W does not depend on the mean.
    """

    beta: Array
    gamma: Array
    llf: float
    value: float
    gradient: Array
    information: Array
    expected: Array
    unadjusted: Array
    T: Array
    observed_mean: Array
    cross: Array
    fixed_weights: bool


def evaluate(core: Likelihood, beta: Array, gamma: Array) -> Point | None:
    r"""
    Return the adjusted profile likelihood at gamma, None outside its domain.

    With :math:`\ell_A = \ell(\hat\beta_\gamma, \gamma) - \frac12 \log\det X'WX`, leverages h of the
    weights W and r = d log W / d eta the gradient is
    :math:`Z'[\ell_\zeta + \frac12 h s] + D'a_\beta`, where s = d log phi / d zeta,
    :math:`a_\beta = -\frac12 X'(h r)` and :math:`D = (-\ell_{\beta\beta})^{-1} \ell_{\beta\gamma}` is
    the derivative of the mean's maximum in gamma.
    """
    found = mean_given(core, beta, gamma)
    if found is None:
        return None
    beta, f = found
    llf = float(f.loglike.sum())
    w = working(core, np.concatenate([beta, gamma]))
    T = inverse_cholesky(core.X, w.weight)
    if not np.all(np.isfinite(T)):
        return None
    assert f.eta_eta is not None and f.eta_zeta is not None
    assert f.zeta is not None and f.zeta_zeta is not None
    X, Z = core.X, core.Z
    ratio = np.divide(-f.eta_eta, w.weight, out=np.zeros(core.n), where=w.weight > 0)
    h, products = weighted_cross_products(
        X, T, w.weight, np.column_stack([ratio, Z * w.dlogphi_dzeta[:, None]])
    )
    observed_mean = products[0]
    pairs = products[1:].reshape(Z.shape[1], -1)
    squares = pairs @ pairs.T
    cross = -T.T @ gram(X, f.eta_zeta, Z)
    dbeta_dgamma = -solve(observed_mean, cross)
    adjustment = -0.5 * T.T @ (X.T @ np.where(h > 0, h * w.dlogW_deta, 0.0))
    slope2 = w.dlogphi_dzeta**2
    of_rows = f.zeta_zeta + 0.5 * h * (w.d2logphi_dzeta2 - slope2)
    return Point(
        beta,
        gamma,
        llf,
        llf + float(np.log(np.abs(np.diag(T))).sum()),
        Z.T @ (f.zeta + 0.5 * h * w.dlogphi_dzeta) + dbeta_dgamma.T @ adjustment,
        -gram(Z, of_rows, Z) + cross.T @ dbeta_dgamma - 0.5 * squares,
        gram(Z, slope2 * (w.information - h), Z) + 0.5 * squares,
        gram(Z, slope2 * w.information, Z),
        T,
        observed_mean,
        cross,
        not np.any(w.dlogW_deta),
    )


def solve(information: Array, right: Array) -> Array:
    """Return information^-1 right, NaN where it is not positive definite."""
    solution = solve_scaled(information, right) if len(information) else right
    return np.full(right.shape, np.nan) if solution is None else solution


class AdjustedProfile:
    """The adjusted profile log-likelihood in the estimable coefficients of the dispersion."""

    def __init__(self, core: Likelihood, beta: Array) -> None:
        self.core, self.beta, self.n = core, beta, core.n
        self.max_step_length = np.inf
        self._known: list[Point] = []

    def at(self, gamma: Array) -> Point | None:
        """Return the point at gamma; the best and the last one are cached, and the mean of the best."""
        for point in self._known:
            if np.array_equal(point.gamma, gamma):
                return point
        new = evaluate(self.core, self.beta, gamma)
        if new is None:
            return None
        self._known = [max([*self._known, new], key=lambda point: point.value), new]
        self.beta = self._known[0].beta
        return new

    def value(self, params: Array) -> float:
        """Return the adjusted log-likelihood, -inf outside its domain."""
        point = self.at(params)
        return -np.inf if point is None else point.value

    def local(self, params: Array) -> Local:
        """Return value, gradient and information."""
        point = self.at(params)
        if point is None:
            q = len(params)
            return Local(-np.inf, np.full(q, np.nan), np.full((q, q), np.nan))
        return Local(point.value, point.gradient, point.information)

    def gradient(self, params: Array) -> Array:
        """Return the gradient alone."""
        return self.local(params).gradient

    def expected_information(self, params: Array) -> Array:
        """Return the expected information."""
        point = self.at(params)
        assert point is not None
        return point.expected

    def longest_step(self, params: Array, step: Array) -> float:
        """Return the largest fraction of a step that changes no log phi by more than a few units."""
        core = self.core
        at = core.predictors(np.concatenate([self.beta, params]))
        change = np.max(np.abs(at.d_phi / at.phi * (core.Z @ step)), initial=0.0)
        return float(min(1.0, MAX_LOG_PHI_STEP / change)) if change > 0 else 1.0

    def change(self, step: Array) -> float:
        """Return the largest change of a row's linear predictor by a step."""
        return float(np.max(np.abs(self.core.Z @ step), initial=0.0))
