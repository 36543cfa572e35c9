"""Beta-binomial family: overdispersed counts out of n, down to the binomial at sigma = 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit

from hetglm.families.base import BoundaryFamily, ModelSpec, Terms
from hetglm.families.quantiles import quantiles
from hetglm.families.special.betabinomial_counts import (
    UNTRIMMED,
    Counts,
    approximate_score_counts,
    counts,
    evaluate_counts,
)
from hetglm.families.special.summation import flat, sum_over_counts
from hetglm.typing import Array
from hetglm.utils.messages import require

np.empty(UNTRIMMED)

#: sigma above which a drawn row is all successes or all failures: other counts have 1e-12.
MAX_SIGMA_DRAWN = 1e12

#: Log odds between which the saturated mean of a row is sought (expit(-40) = 4e-18).
MAX_LOGIT = 40.0

#: Bisections of that interval down to rounding.
N_BISECTIONS = 60

#: Moment estimate of the intraclass correlation in a start, at most.
MAX_RHO = 0.9


class BetaBinomial(BoundaryFamily):
    r"""
    Beta-binomial count of successes out of n, with success probability mu and dispersion sigma.

    The probability of a row is Beta(mu/sigma, nu/sigma); sigma = 1/(alpha + beta) and the
    intraclass correlation is rho = sigma/(1 + sigma). At sigma = 0 it is the binomial, and value
    and derivatives are continuous there.
    """

    name = "Beta-binomial"
    symbol = "sigma"
    variance_formula = "n mu(1-mu) [1 + (n-1) rho], rho = sigma/(1+sigma)"
    unit_interval = True
    takes_trials = True
    limit_at_zero = "binomial"
    limit_at_infinity = "all or nothing"
    uninformative_text = "rows of one trial"
    discrete = True
    counts_successes = True
    model = ModelSpec(
        title="Beta-binomial model with linear predictors for mean and log overdispersion.",
        text="""
Successes out of n with success probability from a Beta(a, b) distribution: mu = a/(a + b), sigma =
1/(a + b), Var(y) = n mu (1 - mu) [1 + (n - 1) rho] and rho = sigma/(1 + sigma) the intraclass
correlation, so that log(sigma) = logit(rho).""",
        endog="Successes and failures; or counts of successes, or proportions, with ``n_trials``.",
        references="""
Crowder, M. J. (1978). Beta-binomial Anova for proportions. Applied Statistics 27, 34-37.""",
        example="""
>>> seeds = het.datasets.load_germination()
>>> res = hmf.betabinomial("y + I(n - y) ~ variety * root | root", seeds).fit()
>>> print(f"{res.llf:.4f}")
-53.6937""",
        link="Logit",
        refused={"var_weights": "use n_trials for trials or freq_weights for repeated rows"},
        aliases=("bb",),
    )

    def validate(self, y: Array, trials: Array | None, name: str) -> None:
        """Raise a ValueError where y is no count of successes out of the trials."""
        if trials is None:
            raise ValueError(
                f"{name}: a beta-binomial response needs the number of trials of each row; give "
                "n_trials=, or a response of two columns (successes, failures)"
            )
        bad_trials = "n_trials must be whole numbers of at least 1; leave out rows without trials"
        require(
            ~(np.isfinite(trials) & (trials >= 1) & (trials == np.floor(trials))), name, bad_trials
        )
        require(y < 0, name, "a number of successes must not be negative")
        require(
            ~(y == np.floor(y)),
            name,
            "a number of successes must be a whole number; for proportions write y * n_trials",
        )
        require(
            y > trials, name, "more successes than trials; give n_trials as all trials of a row"
        )
        if np.all(trials == 1):
            raise ValueError(
                f"{name}: every row has one trial, so the dispersion is unidentified; sum the "
                "successes and trials of each group into one row, or fit the binomial GLM: DoubleGLM "
                "with family=Binomial() and | 0"
            )

    def prepare(self, y: Array, trials: Array | None) -> Counts:
        """Return the rows with their log-binomial coefficients."""
        if trials is None:
            raise ValueError("a beta-binomial response needs the number of trials of each row")
        return counts(y, np.broadcast_to(trials, np.shape(y)))

    def evaluate(
        self, rows: Counts, mu: Array, nu: Array | None, phi: Array, order: int = 2
    ) -> Terms:
        """
        Return the log-likelihood of each row and its derivatives in (mu, sigma), nu = 1 - mu.

        Parameters
        ----------
        rows : Rows
            From `prepare`.
        mu, nu : ndarray, shape (n,)
            The probability and one minus it; the smaller of the two is taken to be exact.
        phi : ndarray, shape (n,)
            sigma >= 0.
        order : int
            0, 1 or 2.

        Notes
        -----
        -inf where the row is impossible or a parameter is outside its range.
        """
        return Terms(*evaluate_counts(rows, mu, _upper(mu, nu), phi, order))

    def approximate_score(
        self, rows: Counts, mu: Array, nu: Array | None, phi: Array
    ) -> Array | None:
        """Return the score in mu and sigma to about five digits; None where that is not cheaper."""
        with np.errstate(all="ignore"):
            return approximate_score_counts(rows, mu, _upper(mu, nu), phi)

    def saturated(self, rows: Counts, phi: Array) -> Array:
        """Return the maximum over mu by bisection: a sum of log(mu + j sigma), log(nu + j sigma)."""
        low, high = np.full(len(rows.y), -MAX_LOGIT), np.full(len(rows.y), MAX_LOGIT)
        for _ in range(N_BISECTIONS):
            middle = 0.5 * (low + high)
            slope: Any = self.evaluate(rows, expit(middle), expit(-middle), phi, 1).mu
            low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
        value = self.evaluate(rows, expit(middle), expit(-middle), phi, 0).loglike
        # extreme responses: the limit at mu = 0 or 1 is 0
        return np.where((rows.y == 0) | (rows.y == rows.trials), 0.0, value)

    def expected_hessian(
        self, rows: Counts, mu: Array, nu: Array | None, phi: Array
    ) -> tuple[Array, Array, Array]:
        """
        Return the expected second derivatives: minus the expected products of the score.

        NaN where mu is not inside (0, 1) or sigma is negative or NaN.
        """
        points = np.column_stack([mu, _upper(mu, nu), phi, rows.trials])
        unique, where = np.unique(points, axis=0, return_inverse=True)
        sums = np.full((3, len(unique)), np.nan)
        good = (unique[:, :2] > 0).all(axis=1) & (unique[:, 2] >= 0)
        m, w, s, n = unique[good].T
        sums[:, good] = sum_over_counts(m, w, s, 0 * n, n, n, _squared_score)
        mu_mu, mu_phi, phi_phi = -sums[:, where.reshape(-1)]
        return mu_mu, mu_phi, phi_phi

    def variance(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Array:
        """Return the variance of the count."""
        n = _required(trials)
        return _count_variance(mu, _upper(mu, nu), phi, n)

    def mixed_dispersion(self, mu: Array, nu: Array | None, phi: Array, spread: Array) -> Array:
        """Return sigma where the probability has variance rho mu nu + (1 - rho) spread."""
        share = np.minimum(spread / (mu * _upper(mu, nu)), 1.0)
        with np.errstate(divide="ignore"):
            return (phi + share) / (1 - share)

    def start(self, rows: Counts) -> Array:
        """Return (y + 1/2)/(n + 1)."""
        return (rows.y + 0.5) / (rows.trials + 1)

    def moment_dispersion(self, rows: Counts, mu: Array, nu: Array | None) -> Array:
        """
        Return each row's moment estimate of sigma, at least 0.

        A row's squared Pearson residual has mean 1 + (n - 1) rho. A row of one trial is
        uninformative about rho and is given the pooled estimate.
        """
        n = rows.trials
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = (rows.y - n * mu) ** 2 / (n * mu * _upper(mu, nu)) - 1
        informed = (n > 1) & np.isfinite(excess)
        pooled = np.sum(excess[informed]) / max(float(np.sum(n[informed] - 1)), 1.0)
        rho = np.where(informed, excess / np.maximum(n - 1, 1), pooled)
        rho = np.clip(rho, 0, MAX_RHO)
        return rho / (1 - rho)

    def extreme_responses(self, rows: Counts) -> Array:
        """Return -1 where no trial succeeded, 1 where all did, 0 elsewhere."""
        return np.where(rows.y == 0, -1.0, np.where(rows.y == rows.trials, 1.0, 0.0))

    def boundary_scale(self, rows: Counts) -> Array:
        """Return the trials."""
        return rows.trials

    def uninformative(self, rows: Counts) -> Array | None:
        """Return the rows of one trial, None if there are none."""
        single = rows.trials == 1
        return single if single.any() else None

    def distribution(self, mu: Array, nu: Array | None, phi: Array, trials: Array | None) -> Any:
        """Return the frozen distribution of the count (scipy.stats.rv_discrete)."""
        return beta_binomial(mu, _upper(mu, nu), phi, _required(trials))


def _upper(mu: Array, nu: Array | None) -> Array:
    """Return nu, or 1 - mu where it was not given."""
    return 1 - mu if nu is None else nu


def _count_variance(mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
    """Return the variance of the count, for sigma = 0 and infinity too."""
    with np.errstate(divide="ignore"):
        rho = 1 / (1 + 1 / sigma)
    return n * mu * nu * (1 + (n - 1) * rho)


def _required(trials: Array | None) -> Array:
    """Return the trials, or raise."""
    if trials is None:
        raise ValueError("the beta-binomial needs the number of trials: give n_trials=")
    return np.asarray(trials, dtype=float)


def _squared_score(rows: Counts, mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the log-likelihood and the products of the scores, shape (3, rows)."""
    value, a, b = evaluate_counts(rows, mu, nu, sigma, 1)
    return value, np.stack([a * a, a * b, b * b])


def _unity(rows: Counts, mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the log-likelihood and ones."""
    value = evaluate_counts(rows, mu, nu, sigma, 0)[0]
    return value, np.ones((1, len(value)))


class BetaBinomialDistribution(stats.rv_discrete):
    """
    Distribution of a beta-binomial count, with shapes (mu, nu, sigma, n) and nu = 1 - mu.

    scipy's own `betabinom` forms log-gammas of size 1/sigma and is wrong by tens of nats at tiny
    sigma; this one is right down to sigma = 0, the binomial.
    """

    def _argcheck(self, mu: Array, nu: Array, sigma: Array, n: Array) -> NDArray[np.bool_]:
        whole = (n >= 0) & (n == np.floor(n))
        return whole & (mu >= 0) & (nu >= 0) & (abs(mu + nu - 1) < 1e-8) & (sigma >= 0)

    def _get_support(self, mu: Array, nu: Array, sigma: Array, n: Array) -> tuple[Any, Any]:
        return np.zeros_like(n), n

    def _logpmf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (k, mu, nu, sigma, n)))
        k, mu, nu, sigma, n = flat(k, mu, nu, sigma, n)
        return evaluate_counts(counts(k, n), mu, nu, sigma, 0)[0].reshape(shape)

    def _pmf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        return np.exp(self._logpmf(k, mu, nu, sigma, n))

    def _cdf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (k, mu, nu, sigma, n)))
        k, mu, nu, sigma, n = flat(np.floor(k), mu, nu, sigma, n)
        total = sum_over_counts(mu, nu, sigma, np.zeros_like(k), k, n, _unity)[0]
        return np.minimum(total, 1.0).reshape(shape)

    def _sf(self, k: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        return self._cdf(n - 1 - np.floor(k), nu, mu, sigma, n)

    def _ppf(self, q: Array, mu: Array, nu: Array, sigma: Array, n: Array) -> Array:
        shape = np.broadcast_shapes(*map(np.shape, (q, mu, nu, sigma, n)))
        q, mu, nu, sigma, n = flat(q, mu, nu, sigma, n)

        def ratio(rows: Any) -> Any:
            m, v, s, whole = mu[rows], nu[rows], sigma[rows], n[rows]

            def step(k: Array) -> tuple[Array, Array]:
                left = whole - k
                return left * (m + k * s), (k + 1) * (v + (left - 1) * s)

            return step

        def factors(rows: Any) -> Any:
            left, a, b = n[rows], mu[rows] / sigma[rows], nu[rows] / sigma[rows]
            one = np.ones_like(left)
            return [(left, -1, 1), (a, 1, 1), (one, 1, -1), (b + left - 1, -1, -1)]

        return quantiles(self, q, (mu, nu, sigma, n), n, ratio, factors).reshape(shape)

    def _stats(self, mu: Array, nu: Array, sigma: Array, n: Array) -> tuple[Any, ...]:
        return n * mu, _count_variance(mu, nu, sigma, n), None, None

    def _rvs(
        self,
        mu: Array,
        nu: Array,
        sigma: Array,
        n: Array,
        size: Any = None,
        random_state: Any = None,
    ) -> Any:
        small, large = np.minimum(mu, nu), np.maximum(mu, nu)
        drawn_from_beta = (sigma > 0) & (sigma < MAX_SIGMA_DRAWN)
        positive = np.where(drawn_from_beta, sigma, 1.0)
        with np.errstate(over="ignore"):
            p = random_state.beta(*_shapes(small, large, positive), size)
        p = np.where(sigma > 0, p, small)
        extreme = np.asarray(sigma) >= MAX_SIGMA_DRAWN
        if np.any(extreme):
            p = np.where(extreme, random_state.uniform(size=np.shape(p)) < small, p)
        drawn = random_state.binomial(np.asarray(n).astype(np.int64), p, size)
        return np.where(np.asarray(mu) > nu, n - drawn, drawn)


def _shapes(mu: Array, nu: Array, sigma: Array) -> tuple[Array, Array]:
    """Return the beta's two shapes, kept within what a generator can draw."""
    return np.clip(mu / sigma, 1e-300, 1e300), np.clip(nu / sigma, 1e-300, 1e300)


beta_binomial = BetaBinomialDistribution(name="beta_binomial", shapes="mu, nu, sigma, n")
