"""Optimiser, linear algebra, chain rule and starts: on toys, and on a sample of hard problems."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation.domain_boundary import unbounded_direction
from hetglm.estimation.newton import maximise
from hetglm.estimation.start import _bfgs_update, starting_values
from hetglm.exceptions import UnboundedLikelihoodError, UnboundedLikelihoodWarning
from hetglm.families import base, betabinomial
from hetglm.families.of_statsmodels import of_statsmodels
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.links import invert
from hetglm.likelihood.objective import Local, ScaledObjective
from hetglm.utils import linalg
from hetglm.utils.linalg import (
    contains,
    crossed,
    distinct_rows,
    gram,
    independent_columns,
    inverse,
    solve_scaled,
    times,
)

links = sm.families.links

#: Convergence is on the Newton decrement: what is left is about its square in the value.
TOL = 1e-8
#: Sums in another order.
ROUNDING = 1e-12
#: Fourth-order central differences with steps of 1e-3: h^4 and rounding/h.
DIFFERENCE = 1e-8
#: What five digits of each row leave.
APPROXIMATE = 1e-4


# ---- optimiser -----------------------------------------------------------------------------------


class Toy:
    """An objective given by value, gradient and Hessian; it remembers where it was evaluated."""

    n = 1
    max_step_length = np.inf

    def __init__(self, f, grad, hess, expected=None, longest=None):
        self.f, self.grad, self.hess = f, grad, hess
        self.expected, self.longest, self.visited = expected, longest, []

    def value(self, params):
        self.visited.append(params)
        return float(self.f(params))

    def local(self, params):
        return Local(self.value(params), self.grad(params), -self.hess(params))

    def expected_information(self, params):
        return np.eye(len(params)) if self.expected is None else self.expected(params)

    def longest_step(self, params, step):
        return 1.0 if self.longest is None else self.longest / np.max(np.abs(step))

    def change(self, step):
        return np.max(np.abs(step))


def quadratic(A, centre, top=0.0):
    return Toy(
        lambda p: top - 0.5 * (p - centre) @ A @ (p - centre),
        lambda p: -A @ (p - centre),
        lambda p: -A,
    )


def poisson(X, y):
    return Toy(
        lambda p: y @ X @ p - np.exp(X @ p).sum(),
        lambda p: X.T @ (y - np.exp(X @ p)),
        lambda p: -(X.T * np.exp(X @ p)) @ X,
    )


def cauchy(x):
    """Location of Cauchy data: not concave away from the centre."""
    return Toy(
        lambda p: -np.log1p((x - p) ** 2).sum(),
        lambda p: np.array([(2 * (x - p) / (1 + (x - p) ** 2)).sum()]),
        lambda p: np.array([[(2 * ((x - p) ** 2 - 1) / (1 + (x - p) ** 2) ** 2).sum()]]),
        lambda p: np.array([[0.5 * len(x)]]),
    )


def logarithm():
    """log x - x, -inf to the left of 0: a Newton step from 20 lands at -360."""
    return Toy(
        lambda p: np.log(p[0]) - p[0] if p[0] > 0 else -np.inf,
        lambda p: 1 / p - 1,
        lambda p: -np.diag(1 / p**2),
    )


X_TOY = np.column_stack([np.ones(8), np.arange(8.0)])
Y_TOY = np.array([2.0, 1, 4, 3, 9, 8, 20, 31])


@pytest.mark.parametrize(
    ("objective", "start", "at", "most"),
    [
        (quadratic(np.array([[3.0, 1], [1, 2]]), np.array([1.0, -4])), [50.0, 9], [1, -4], 1),
        (quadratic(np.array([[3.0, 1], [1, 2]]), np.array([1.0, -4]), 1e9), [5.0, 9], [1, -4], 2),
        (poisson(X_TOY, Y_TOY), [0.0, 0], None, 9),
        (cauchy(np.array([-1.0, 0, 1])), [2.5], [0], 12),
        (logarithm(), [20.0], [1], 12),
    ],
    ids=["quadratic", "high", "poisson", "nonconcave", "domain"],
)
def test_maximum_is_found(objective, start, at, most):
    found = maximise(objective, np.array(start))
    assert found.converged
    assert found.decrement <= TOL
    assert found.iterations <= most
    assert_allclose(objective.grad(found.params), 0, atol=1e-7)
    assert np.linalg.eigvalsh(objective.hess(found.params)).max() < 0
    assert found.local.value == objective.f(found.params)
    if at is not None:
        assert_allclose(found.params, at, atol=1e-7)


def test_the_log_likelihood_never_falls():
    values = []
    objective = cauchy(np.array([-3.0, -2.5, 0.1, 0.2, 0.4, 9]))
    found = maximise(objective, np.array([8.0]), watch=lambda p: values.append(objective.f(p)))
    assert found.converged
    assert len(values) == found.iterations > 2
    assert np.all(np.diff(values) > -1e-12)


@pytest.mark.parametrize("scale", [[1e6, 1e-6], [1e-5, 1e-5], [1e8, 1]])
def test_free_of_scale(scale):
    # the columns' units change nothing: neither the steps nor what is called converged
    s = np.array(scale)
    plain = maximise(poisson(X_TOY, Y_TOY), np.zeros(2), maxiter=3)
    scaled = maximise(poisson(X_TOY * s, Y_TOY), np.zeros(2), maxiter=3)
    assert 1e-6 < plain.decrement
    assert_allclose(scaled.decrement, plain.decrement, rtol=1e-6)
    assert_allclose(scaled.params * s, plain.params, rtol=1e-9)
    full = maximise(poisson(X_TOY, Y_TOY), np.zeros(2))
    assert maximise(poisson(X_TOY * s, Y_TOY), np.zeros(2)).iterations == full.iterations


@pytest.mark.parametrize("maxiter", [0, 1, 3])
def test_maxiter(maxiter):
    steps = []
    found = maximise(poisson(X_TOY, Y_TOY), np.zeros(2), maxiter=maxiter, watch=steps.append)
    assert not found.converged
    assert found.iterations == len(steps) == maxiter
    assert f"{maxiter} iterations (maxiter)" in found.message
    assert np.array_equal(found.params, steps[-1] if steps else np.zeros(2))


def test_tolerance():
    loose = maximise(poisson(X_TOY, Y_TOY), np.zeros(2), tol=0.1)
    tight = maximise(poisson(X_TOY, Y_TOY), np.zeros(2))
    assert loose.converged
    assert TOL < loose.decrement <= 0.1
    assert loose.iterations < tight.iterations


def test_a_wrong_gradient_is_a_stall():
    # uphill by the gradient, downhill in truth
    objective = Toy(lambda p: -p[0], lambda p: np.ones(1), lambda p: -np.eye(1))
    found = maximise(objective, np.zeros(1))
    assert not found.converged
    assert "cannot be raised" in found.message
    assert_allclose(found.decrement, 1)


def test_a_stall_in_rounding_is_the_maximum():
    # the gradient's own rounding keeps the decrement above the tolerance: 2e-8, 2e-16 in the value
    exact = quadratic(np.eye(2), np.array([1.0, 2]))
    signs = cycle([1, -1])
    objective = Toy(exact.f, lambda p: exact.grad(p) + 1.4e-8 * next(signs), exact.hess)
    found = maximise(objective, np.zeros(2))
    assert found.converged
    assert found.decrement > TOL
    assert found.iterations < 5
    assert "cannot be raised" in found.message


def test_nan_beyond_a_step_is_backed_out_of():
    inner = logarithm()

    def grad(p):
        return np.array([np.nan]) if p[0] > 1.4 else inner.grad(p)

    found = maximise(Toy(inner.f, grad, inner.hess), np.array([1e-3]))
    assert found.converged
    assert_allclose(found.params, 1, rtol=1e-7)


def test_longest_step():
    objective = quadratic(np.eye(1), np.array([10.0]))
    objective.longest = 4.0
    steps = [np.zeros(1)]
    found = maximise(objective, np.zeros(1), watch=steps.append)
    assert found.converged
    assert_allclose(np.diff(np.ravel(steps)), [4, 4, 2])


def test_short_steps_follow_a_short_one():
    """Where the curvature is wrong by a million, only the first step is shortened from full length."""
    wrong = Toy(lambda p: -5e5 * p @ p, lambda p: -1e6 * p, lambda p: -np.eye(1))
    found = maximise(wrong, np.ones(1), maxiter=10)
    assert found.iterations == 10
    assert len(wrong.visited) < 20 + 10 * 6


def test_a_slope_without_end_is_climbed_faster_and_faster():
    """The flat way up has next to no gradient and the wrong curvature: 1e6 away in few steps."""
    slope = Toy(
        lambda p: -1e-4 * np.hypot(p[0] - 1e6, 1.0),
        lambda p: -1e-4 * (p - 1e6) / np.hypot(p - 1e6, 1.0),
        lambda p: np.array([[-1e-4 / np.hypot(p[0] - 1e6, 1.0) ** 3 + 1e-12]]),
    )
    slope.max_step_length = 20.0
    found = maximise(slope, np.zeros(1), maxiter=40)
    assert found.converged
    assert found.params[0] == pytest.approx(1e6)


def test_watch_may_stop():
    def watch(params):
        raise UserWarning(f"at {params[0]:g}")

    with pytest.raises(UserWarning, match="at 10"):
        maximise(quadratic(np.eye(1), np.array([10.0])), np.zeros(1), watch=watch)


def test_singular_information_is_damped():
    # neither the observed nor the expected information has full rank
    A = np.array([[1.0, 1], [1, 1]])
    objective = Toy(
        lambda p: -0.5 * (p[0] + p[1] - 3) ** 2,
        lambda p: -np.full(2, p[0] + p[1] - 3.0),
        lambda p: -A,
        lambda p: A,
    )
    found = maximise(objective, np.zeros(2))
    assert found.converged
    assert_allclose(found.params.sum(), 3, rtol=1e-6)


# ---- linear algebra --------------------------------------------------------------------------------

RNG = np.random.default_rng(20240611)
BASE = RNG.normal(size=(60, 4))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    ("columns", "kept"),
    [
        (BASE, "1111"),
        (BASE[:, [0, 1, 0, 2]], "1101"),
        (
            np.column_stack([BASE[:, 0], BASE[:, 1], BASE[:, 0] - 2 * BASE[:, 1], BASE[:, 2]]),
            "1101",
        ),
        (np.column_stack([np.zeros(60), BASE[:, 0], np.zeros(60)]), "010"),
        (np.zeros((60, 2)), "00"),
        (np.zeros((60, 0)), ""),
        (BASE[:2], "1100"),
        # dummies of every level and a constant: the constant stays, the last level goes
        (
            np.column_stack([np.ones(60), np.arange(60)[:, None] % 3 == [0, 1, 2]]).astype(float),
            "1110",
        ),
    ],
    ids=["full", "repeated", "combined", "zero", "zeros", "none", "short", "dummies"],
)
def test_independent_columns(columns, kept, scale):
    units = scale ** np.linspace(-1, 1, columns.shape[1])
    got = independent_columns(columns * units)
    assert got.dtype == bool
    assert "".join("01"[k] for k in got.astype(int)) == kept


@pytest.mark.parametrize(
    ("gap", "kept"), [(1e-5, True), (1e-6, True), (1e-8, False), (1e-12, False)]
)
@pytest.mark.parametrize("order", [1, -1])
def test_near_collinearity(gap, kept, order):
    # R's lm draws the line at 1e-7 of a column's length
    x = BASE[:, 0] / np.linalg.norm(BASE[:, 0])
    z = BASE[:, 1] - x * (x @ BASE[:, 1])
    X = np.column_stack([x, x + gap * z / np.linalg.norm(z)])[:, ::order]
    assert independent_columns(np.column_stack([X, BASE[:, 2]])).tolist() == [True, kept, True]


def test_rank_of_many_columns():
    # a Vandermonde matrix: condition 1e9, but no column is a combination of the others
    x = np.linspace(-1, 1, 50)
    X = np.vander(x, 12, increasing=True)
    assert independent_columns(X).all()
    assert independent_columns(np.column_stack([X, X @ RNG.normal(size=12)])).sum() == 12


@pytest.mark.parametrize(
    ("X", "target", "inside"),
    [
        (BASE, BASE @ [1, -2, 3, 0.5], True),
        (BASE[:, :3], BASE[:, 3], False),
        (np.arange(60)[:, None] % 3 == [0, 1, 2], np.ones(60), True),
        (np.arange(60)[:, None] % 3 == [0, 1], np.ones(60), False),
        (BASE[:, [0, 0, 1]], BASE[:, 1], True),
        (BASE[:, :2], BASE[:, [1, 2]], False),
        (BASE[:, :2], BASE[:, [1, 0]], True),
        (BASE, np.zeros(60), True),
        (np.zeros((60, 0)), np.ones(60), False),
        (1e6 * BASE, 1e-6 * BASE[:, 0], True),
    ],
)
def test_contains(X, target, inside):
    assert contains(X.astype(float), target) is inside


@pytest.mark.parametrize("units", [[1, 1, 1, 1], [1e-9, 1e9, 1, 1e5]])
def test_inverse_and_solve(units):
    A = (BASE.T @ BASE) * np.outer(units, units)
    expected = np.linalg.inv(BASE.T @ BASE) / np.outer(units, units)
    got = inverse(A)
    assert_allclose(got, expected, rtol=1e-11)
    assert np.array_equal(got, got.T)
    b = np.arange(1.0, 5)
    assert_allclose(solve_scaled(A, b), expected @ b, rtol=1e-9)
    assert_allclose(solve_scaled(A, np.eye(4)), expected, rtol=1e-11)


@pytest.mark.parametrize(
    "bad",
    [
        [[1.0, 2], [2, 1]],
        [[0.0, 0], [0, 1]],
        [[-1.0, 0], [0, 1]],
        [[np.nan, 0], [0, 1]],
        [[np.inf, 0], [0, 1]],
        [[1.0, 1], [1, 1]],
    ],
)
def test_no_inverse(bad):
    assert inverse(np.array(bad)) is None
    assert solve_scaled(np.array(bad), np.ones(2)) is None


def test_inverse_of_nothing():
    assert inverse(np.zeros((0, 0))).shape == (0, 0)


def test_distinct_rows_are_found_where_they_are_few():
    rng = np.random.default_rng(2)
    few = [rng.normal(size=(7, 3)), rng.integers(0, 2, 7).astype(float)]
    few[1][3] = np.nan
    of_row = rng.permutation(np.arange(3000) % 7)
    first, found = distinct_rows([a[of_row] for a in few])
    assert sorted(of_row[first]) == list(range(7))
    assert np.array_equal(of_row[first][found], of_row)
    assert distinct_rows([few[0][of_row], rng.normal(size=3000)]) is None  # each its own
    assert distinct_rows([np.arange(3000.0) // 1.5]) is None  # most are
    assert distinct_rows([few[0][of_row[:900]]]) is None  # not worth the search


@pytest.mark.parametrize("cells", [1, 7, 64, 1 << 16])
@pytest.mark.parametrize("weight", [None, RNG.normal(size=60)])
def test_gram_in_blocks(monkeypatch, cells, weight):
    monkeypatch.setattr(linalg, "BLOCK_CELLS", cells)
    monkeypatch.setattr(linalg, "MIN_BLOCK_ROWS", 1)
    B = BASE[:, :3] ** 2
    expected = np.einsum("ij,i,ik->jk", BASE, np.ones(60) if weight is None else weight, B)
    assert_allclose(gram(BASE, weight, B), expected, rtol=ROUNDING, atol=ROUNDING)
    assert gram(BASE[:, :0], weight, B).shape == (0, 3)
    assert np.array_equal(gram(BASE[:0], None, B[:0]), np.zeros((4, 3)))


class Watched(np.ndarray):
    """Writes down the multiplications of its products."""

    def __array_ufunc__(self, ufunc, method, a, b, out=None):
        a, b = np.asarray(a), np.asarray(b)
        if ufunc is np.matmul:
            counts.append((a.size * (b.shape[1] if b.ndim == 2 else 1), b.ndim))
        return ufunc(a, b) if out is None else ufunc(a, b, out=out)


counts: list[tuple[int, int]] = []


@pytest.mark.parametrize("columns", [0, 1, 5, 44])
@pytest.mark.parametrize("order", ["C", "F"])
def test_small_products_start_no_threads(columns, order):
    """OpenBLAS starts a team of threads from 2^18 multiplications, 9216 for a matrix and a vector."""
    A = np.asarray(RNG.normal(size=(20_000, columns)), order=order)
    b, v = RNG.normal(size=columns), RNG.normal(size=20_000)
    counts.clear()
    watched = A.view(Watched)
    assert_allclose(times(watched, b), A @ b, rtol=ROUNDING, atol=ROUNDING)
    assert_allclose(crossed(watched, v), A.T @ v, rtol=ROUNDING, atol=1e-10)
    assert_allclose(gram(watched, None, watched), A.T @ A, rtol=ROUNDING, atol=1e-10)
    assert len(counts) >= 3
    assert all(size <= (2**18 if ndim == 2 else 9215) for size, ndim in counts)


# ---- the chain rule ----------------------------------------------------------------------------------

#: Family, link of the mean, link of the dispersion, predictors' levels.
CHAINS = {
    "gaussian": (sm.families.Gaussian(), links.Identity(), links.Log(), 0.3, -0.5),
    "gaussian-log": (sm.families.Gaussian(), links.Log(), links.Sqrt(), 0.3, 1.5),
    "gamma-inverse": (sm.families.Gamma(), links.InversePower(), links.Log(), 2.0, -1.0),
    "gamma-identity": (sm.families.Gamma(), links.Identity(), links.Identity(), 3.0, 2.0),
    "inverse-gaussian": (
        sm.families.InverseGaussian(),
        links.InverseSquared(),
        links.Log(),
        2.0,
        -1,
    ),
    "poisson-sqrt": (sm.families.Poisson(), links.Sqrt(), links.Log(), 2.0, 0.2),
    "binomial-cloglog": (sm.families.Binomial(), links.CLogLog(), links.Log(), 0.1, 0.3),
    "binomial-loglog": (sm.families.Binomial(), links.LogLog(), links.Log(), -0.2, 0.3),
    "negative-binomial": (
        sm.families.NegativeBinomial(alpha=0.7),
        links.NegativeBinomial(alpha=0.7),
        links.Log(),
        -1.3,
        0.1,
    ),
    "tweedie": (sm.families.Tweedie(var_power=1.6), links.Power(0.4), links.Log(), 2.0, 0.1),
    "betabinomial": (betabinomial.BetaBinomial(), links.Probit(), links.Log(), 0.2, -1.5),
    "betabinomial-cauchy": (
        betabinomial.BetaBinomial(),
        links.Cauchy(),
        links.InversePower(),
        0.2,
        5,
    ),
}


def chain(name, n=12):
    """Return a likelihood with everything in it, and params inside its domain."""
    family, link, link_dispersion, level, level_dispersion = CHAINS[name]
    ours = family
    if not isinstance(family, base.Family):
        ours = of_statsmodels(family, "eql" if name == "tweedie" else None)
    rng = np.random.default_rng(7)
    X = np.column_stack([np.ones(n), rng.uniform(-0.2, 0.2, n), rng.uniform(-0.2, 0.2, n)])
    Z = np.column_stack([np.ones(n), rng.uniform(-0.3, 0.3, n)])
    trials = rng.integers(2, 30, n).astype(float) if ours.takes_trials else None
    if ours.counts_successes:
        y = np.floor(rng.uniform(0, 1, n) * (trials + 1))
    elif ours.takes_trials:
        y = np.floor(rng.uniform(0, 1, n) * (trials + 1)) / trials
    else:
        y = rng.uniform(0.2, 3, n)
    likelihood = Likelihood(
        ours,
        link,
        link_dispersion,
        y,
        X,
        Z,
        offset=rng.uniform(-0.1, 0.1, n),
        offset_dispersion=rng.uniform(-0.1, 0.1, n),
        trials=trials,
        weights=None if ours.counts_successes else rng.uniform(0.5, 3, n),
        freq=rng.integers(1, 4, n).astype(float),
    )
    return likelihood, np.array([level, 0.4, -0.3, level_dispersion, 0.5])


def differences(f, params, h=1e-3):
    """Return the derivatives of f by fourth-order central differences, one per row."""
    rows = []
    for step in np.eye(len(params)) * h:
        one, two = f(params + step) - f(params - step), f(params + 2 * step) - f(params - 2 * step)
        rows.append((8 * one - two) / (12 * h))
    return np.array(rows)


@pytest.mark.parametrize("name", CHAINS)
def test_gradient_and_hessian(name):
    likelihood, params = chain(name)
    factors = likelihood.factors(params)
    gradient = likelihood.gradient(factors)
    numeric = differences(likelihood.loglike, params)
    assert_allclose(gradient, numeric, rtol=DIFFERENCE, atol=DIFFERENCE * np.abs(gradient).max())
    hessian = likelihood.hessian(factors)
    numeric = differences(lambda p: likelihood.gradient(likelihood.factors(p, 1)), params)
    assert_allclose(hessian, numeric, rtol=DIFFERENCE, atol=DIFFERENCE * np.abs(hessian).max())
    assert_allclose(likelihood.score_obs(params).sum(axis=0), gradient, rtol=ROUNDING, atol=1e-11)


@pytest.mark.parametrize("name", CHAINS)
def test_approximate_gradient(name):
    likelihood, params = chain(name)
    gradient = likelihood.gradient(likelihood.factors(params, 1))
    approximate, _ = likelihood.approximate_gradient(params)
    assert_allclose(
        approximate, gradient, rtol=APPROXIMATE, atol=APPROXIMATE * np.abs(gradient).max()
    )


@pytest.mark.parametrize("name", CHAINS)
def test_the_four_row_arrays(name):
    # trials and offsets where they belong; var_weights divide phi; freq repeats rows
    likelihood, params = chain(name)
    at = invert(likelihood.link, likelihood.X @ params[:3] + likelihood.offset)
    phi = invert(
        likelihood.link_dispersion, likelihood.Z @ params[3:] + likelihood.offset_dispersion
    )
    phi = phi.mu if likelihood.weights is None else phi.mu / likelihood.weights
    family = likelihood.family
    rows = family.prepare(likelihood.y, likelihood.trials)
    nu = 1 - at.mu if family.unit_interval else None
    value = family.evaluate(rows, at.mu, nu, phi, 0).loglike
    assert_allclose(
        likelihood.loglike_rows(params), value * likelihood.freq, rtol=1e-10, atol=1e-12
    )
    assert_allclose(likelihood.loglike(params), (value * likelihood.freq).sum(), rtol=1e-10)
    repeated = likelihood.take(np.repeat(np.arange(likelihood.n), likelihood.freq.astype(int)))
    repeated = Likelihood(**{**vars(repeated), "freq": None, "rows": None})
    for f in (
        lambda m: m.loglike(params),
        lambda m: m.gradient(m.factors(params, 1)),
        lambda m: m.hessian(m.factors(params)),
        lambda m: m.expected_hessian(params),
    ):
        expected = f(repeated)
        assert_allclose(f(likelihood), expected, rtol=1e-10, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("name", [n for n in CHAINS if chain(n)[0].family.exact])
def test_expected_hessian(name):
    # the mean of the observed one over responses drawn from the model, within 5 standard errors
    likelihood, params = chain(name)
    at = likelihood.predictors(params)
    nu = at.mean.nu if likelihood.family.unit_interval else None
    phi = likelihood.row_phi(at.phi)
    frozen = likelihood.family.distribution(at.mean.mu, nu, phi, likelihood.trials)
    rng = np.random.default_rng(11)
    draws = []
    for _ in range(400):
        drawn = likelihood.with_response(
            frozen.rvs(size=likelihood.n, random_state=rng).astype(float)
        )
        draws.append(likelihood.hessian(drawn.factors(params)))
    draws = np.array(draws)
    se = draws.std(axis=0) / np.sqrt(len(draws))
    error = np.abs(draws.mean(axis=0) - likelihood.expected_hessian(params))
    assert np.all(error <= 5 * se + 1e-10 * np.abs(draws).max())
    # there is something to see
    assert np.median(np.diag(se) / np.abs(np.diag(draws.mean(axis=0)))) < 0.1


def test_objective_in_scaled_columns():
    likelihood, params = chain("gaussian")
    X = np.column_stack([likelihood.X * [1, 1e6, 1e-4], likelihood.X[:, 0]])
    scaled = likelihood.with_designs(X=X)
    estimated = np.array([True, True, True, False, True, True])
    objective = ScaledObjective(scaled, estimated)
    full = np.array([0.3, 0.4e-6, -0.3e4, np.nan, -0.5, 0.5])
    reduced = objective.reduced(full)
    assert_allclose(objective.full(reduced), np.nan_to_num(full), rtol=1e-14)
    assert_allclose(objective.value(reduced), likelihood.loglike(params), rtol=1e-12)
    local = objective.local(reduced)
    numeric = differences(objective.value, reduced)
    assert_allclose(local.gradient, numeric, rtol=DIFFERENCE, atol=DIFFERENCE * 10)
    assert_allclose(objective.gradient(reduced), local.gradient, rtol=1e-12)
    assert_allclose(
        local.information, -differences(objective.gradient, reduced), rtol=1e-6, atol=1e-6
    )
    # no log-dispersion moves by more than four in a step
    step = np.array([1.0, 1, 1, 30, 0])
    moved = objective.full(objective.longest_step(params, step) * step)[4:]
    assert_allclose(np.abs(likelihood.Z @ moved).max(), 4)
    assert objective.longest_step(params, step * 0.01) == 1


# ---- starts and hard problems -------------------------------------------------------------------------

F = sm.families
#: Family and how its linear predictor is made: any sign, moderate, or positive.
HARD = {
    "gaussian-identity": (F.Gaussian(), "any"),
    "gaussian-log": (F.Gaussian(links.Log()), "moderate"),
    "gamma-log": (F.Gamma(links.Log()), "moderate"),
    "gamma-inverse": (F.Gamma(links.InversePower()), "positive"),
    "gamma-identity": (F.Gamma(links.Identity()), "positive"),
    "poisson-log": (F.Poisson(links.Log()), "moderate"),
    "poisson-sqrt": (F.Poisson(links.Sqrt()), "large"),
    "poisson-identity": (F.Poisson(links.Identity()), "large"),
    "binomial-logit": (F.Binomial(links.Logit()), "moderate"),
    "binomial-probit": (F.Binomial(links.Probit()), "moderate"),
    "binomial-cloglog": (F.Binomial(links.CLogLog()), "moderate"),
    "binomial-cauchy": (F.Binomial(links.Cauchy()), "moderate"),
    "inverse-gaussian-log": (F.InverseGaussian(links.Log()), "moderate"),
    "inverse-gaussian-squared": (F.InverseGaussian(links.InverseSquared()), "positive"),
    "negative-binomial-log": (F.NegativeBinomial(links.Log(), alpha=0.5), "moderate"),
    "tweedie-log": (F.Tweedie(links.Log(), var_power=1.5), "moderate"),
}
#: Families whose response may be multiplied: their dispersion may also span many decades.
CONTINUOUS = ("gaussian", "gamma", "inverse")


def hard_problem(name, seed):
    """Return the arguments of a DoubleGLM on random data, some in odd units or very uneven."""
    family, kind = HARD[name]
    rng = np.random.default_rng([seed, *name.encode()])
    n, p, q = int(rng.integers(30, 300)), int(rng.integers(1, 5)), int(rng.integers(1, 4))
    positive = kind in ("positive", "large")
    draw = rng.uniform if positive else rng.normal
    X = np.column_stack([np.ones(n), draw(size=(n, p - 1))])
    beta = (
        rng.uniform(0.2, 2, p) if positive else rng.normal(size=p) * (2 if kind == "any" else 0.6)
    )
    beta = beta + (kind == "large")
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    gamma = rng.normal(size=q) * 0.6
    gamma[0] -= 1.5
    free = name.startswith(CONTINUOUS)
    if free and rng.uniform() < 0.4:
        gamma[1:] *= 6
    unit = (
        10 ** rng.uniform(-8, 8) if free and name != "gaussian-log" and rng.uniform() < 0.5 else 1.0
    )
    mu, phi = family.link.inverse(X @ beta), np.exp(np.clip(Z @ gamma, -28, 1.6))
    given = {}
    if name.startswith("gaussian"):
        y = rng.normal(mu, np.sqrt(phi))
    elif name.startswith("gamma"):
        y = np.maximum(rng.gamma(1 / phi, mu * phi), 1e-200)
    elif name.startswith("inverse"):
        y = np.maximum(rng.wald(mu, 1 / phi), 1e-6 * mu)
    elif name.startswith("poisson"):
        y = phi * rng.poisson(mu / phi)
    elif name.startswith("negative"):
        y = rng.poisson(mu * rng.gamma(1 / (0.5 + phi), 0.5 + phi)).astype(float)
    elif name.startswith("tweedie"):
        events = rng.poisson(2 * np.sqrt(mu) / phi)
        y = np.where(events > 0, rng.gamma(np.maximum(events, 1), phi * np.sqrt(mu) / 2), 0.0)
        given["likelihood"] = "eql"
    else:
        given["n_trials"] = rng.integers(2, 60, n).astype(float)
        rho, m = np.clip(phi / (1 + phi), 0.01, 0.8), np.clip(mu, 1e-6, 1 - 1e-6)
        share = rng.beta(m * (1 / rho - 1), (1 - m) * (1 / rho - 1))
        y = rng.binomial(given["n_trials"].astype(int), share).astype(float)
    return {"endog": unit * y, "exog": X, "exog_dispersion": Z, "family": family, **given}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("seed", range(8))
def test_hard_problems_converge_from_the_default_start(name, seed):
    model = het.DoubleGLM(**hard_problem(name, seed))
    res = model.fit()  # a warning would be an error
    assert res.converged
    assert np.isfinite(res.bse).all()
    assert res.mle_retvals["iterations"] <= 40
    factors = model.core.factors(res.params)
    step = solve_scaled(-model.core.hessian(factors), model.core.gradient(factors))
    assert step is not None  # a maximum, not a saddle
    assert np.sqrt(max(model.core.gradient(factors) @ step, 0)) < 1e-5


@pytest.mark.parametrize("name", HARD)
def test_starts_are_finite(name):
    model = het.DoubleGLM(**hard_problem(name, 101))
    starts = list(starting_values(model.core, model.estimable))
    assert np.isfinite(starts).all()
    assert all(np.isfinite(model.core.loglike(start)) for start in starts)


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@pytest.mark.parametrize(
    "name", ["gaussian-identity", "gamma-log", "gamma-identity", "gamma-inverse"]
)
def test_units_of_the_response(name, unit):
    given = {**hard_problem("gamma-log", 3), "family": HARD[name][0]}
    given["exog"] = given["exog"][:, :1]
    given["endog"] = given["endog"] / given["endog"].mean()
    plain = het.DoubleGLM(**given).fit()
    scaled = het.DoubleGLM(**{**given, "endog": unit * given["endog"]}).fit()
    assert scaled.converged
    shift = np.zeros(plain.params_dispersion.shape)
    if name.startswith("gaussian"):
        shift[0] = 2 * np.log(unit)
    assert_allclose(scaled.fittedvalues, unit * plain.fittedvalues, rtol=1e-7)
    assert_allclose(scaled.params_dispersion, plain.params_dispersion + shift, rtol=1e-6, atol=1e-6)
    assert_allclose(scaled.llf, plain.llf - len(given["endog"]) * np.log(unit), rtol=1e-9)


@pytest.mark.parametrize("level", [-40.0, 12.0, 200.0])
@pytest.mark.parametrize("name", ["gaussian-identity", "gamma-log", "poisson-log"])
def test_offsets_of_any_size(name, level):
    given = hard_problem(name, 5)
    n = len(given["endog"])
    offset = np.full(n, level) + np.linspace(-1, 1, n)
    plain = het.DoubleGLM(**given, offset=offset - level).fit()
    shifted = het.DoubleGLM(**given, offset=offset, offset_dispersion=np.full(n, level)).fit()
    assert shifted.converged
    expected = np.asarray(plain.params).copy()
    expected[0] -= level
    expected[len(plain.params_mean)] -= level
    assert_allclose(shifted.params, expected, rtol=1e-6, atol=1e-6)
    assert_allclose(shifted.llf, plain.llf, rtol=1e-9)


@pytest.mark.parametrize("family", [F.Gamma(links.InversePower()), F.InverseGaussian()])
@pytest.mark.parametrize("seed", [2, 5])
def test_regression_that_leaves_the_domain(family, seed):
    # the linked response's least-squares line is negative somewhere: no start by itself
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(40), rng.normal(size=(40, 2)) ** 3])
    y = np.exp(2 * rng.normal(size=40))
    target = 1 / y if family.link.power == -1 else 1 / y**2
    assert np.min(X @ np.linalg.lstsq(X, target, rcond=None)[0]) < 0
    assert het.DoubleGLM(y, X, family=family).fit().converged


def test_no_start_is_an_error_that_says_so():
    # the inverse link needs positive predictors; every coefficient makes half of them negative
    y, x = np.array([1.0, 2, 3, 4, 2, 1]), np.repeat([[1.0], [-1]], 3, axis=0)
    model = het.DoubleGLM(y, x, family=F.Gamma(links.InversePower()))
    with pytest.raises(ValueError, match=r"no starting values.*start_params"):
        model.fit()


@pytest.mark.parametrize("sort", [False, True])
def test_start_from_some_of_many_rows(sort):
    """A stride serves where it has every level; else all rows do. The maximum is the same."""
    rng = np.random.default_rng(5)
    level = np.where(np.arange(9000) == 4321, 1.0, 0.0) if sort else rng.integers(0, 2, 9000)
    X = np.column_stack([np.ones(9000), level, rng.normal(size=9000)])
    y = X @ [1, 2, 3] + np.exp(0.5 * X[:, 2]) * rng.normal(size=9000)
    model = het.DoubleGLM(y, X, X[:, [0, 2]])
    starts = list(starting_values(model.core, model.estimable))
    assert all(np.isfinite(model.loglike(start)) for start in starts)
    res = model.fit()
    assert res.converged
    assert_allclose(res.params, model.fit(start_params=np.zeros(5)).params, rtol=1e-7)


def many_counts(rows):
    """Return a beta-binomial model of many rows, no two alike."""
    rng = np.random.default_rng(rows)
    n = rng.integers(5, 60, rows)
    X, Z = (np.column_stack([np.ones(rows), rng.normal(size=rows)]) for _ in range(2))
    mu, sigma = 1 / (1 + np.exp(-X @ [-0.5, 0.4])), np.exp(Z @ [-2.0, 0.3])
    y = rng.binomial(n, rng.beta(mu / sigma, (1 - mu) / sigma))
    return het.BetaBinomial(y, X, Z, n_trials=n)


def test_start_is_near_the_maximum_of_all_rows():
    """Approximate gradients lead from the maximum of every so many-th row, some standard errors away."""
    model = many_counts(6000)
    res = model.fit()
    start = next(starting_values(model.core, model.estimable))
    assert np.max(np.abs(start - res.params) / res.bse) < 1e-3
    assert res.fit.iterations == 1


def test_a_correction_takes_a_change_of_the_gradient_to_its_step():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(4, 4))
    step, change = rng.normal(size=4), rng.normal(size=4)
    change *= np.sign(change @ step)
    covariance = _bfgs_update(A @ A.T, step, change)
    assert_allclose(covariance @ change, step, rtol=1e-12)
    assert_allclose(covariance, covariance.T, atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert _bfgs_update(A @ A.T, step, -change) is None


@pytest.mark.parametrize("size", [1e3, 1e9])
def test_few_rows_do_not_hide_dependence(size):
    """Rows that a glance misses may be so large that the columns are next to dependent, or not."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(1500, 2))
    X[1::3][:5] = size
    assert independent_columns(X).tolist() == [True, size < 1e7]
    X[:, 1] = 2 * X[:, 0]
    assert independent_columns(X).tolist() == [True, False]


@pytest.mark.parametrize("seed", [6, 8, 14])
def test_starts_from_some_rows_are_inside_the_domain_of_all(seed):
    """An identity link: steps along the gradient, and the maximum of some rows, may leave it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, 5000)
    mu = 0.0005 + 3 * x
    y = rng.negative_binomial(2, 2 / (2 + mu))
    X = np.column_stack([np.ones(5000), x])
    model = het.NegativeBinomial(y, X, X, link=links.Identity())
    starts = list(starting_values(model.core, model.estimable))
    assert starts
    assert all(np.isfinite(model.loglike(start)) for start in starts)


def test_last_step_of_many_rows_needs_no_evaluation():
    """The gradient vanishes at the estimates, and the numbers are those at them."""
    model = many_counts(6000)
    res = model.fit()
    assert "last step" in res.fit.message
    hessian = model.hessian(res.params)
    score = model.score(res.params)
    assert np.sqrt(score @ np.linalg.solve(-hessian, score)) < 1e-9
    assert_allclose(res.llf, model.loglike(res.params), rtol=1e-13)
    assert_allclose(res.cov_params(), np.linalg.inv(-hessian), rtol=1e-6)


def test_fits_in_threads():
    """Each thread has work memory of its own."""
    models = [many_counts(rows) for rows in (6000, 6001, 6002, 6003)]
    alone = [model.fit().params for model in models]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for one, other in zip(alone, pool.map(lambda m: m.fit().params, models), strict=True):
                assert np.array_equal(one, other)


# ---- far starts, extreme units, unbounded likelihoods ----------------------------------------------


@pytest.fixture(scope="module")
def straight():
    """Response, positive response and design of a line with a dispersion that moves with x."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=100)
    y = 1 + x + np.exp(0.2 + 0.3 * x) * rng.normal(size=100)
    return y, rng.gamma(2, np.exp(0.5 + 0.2 * x) / 2), sm.add_constant(x)


FAR = [[1e6, -1e6, 50, -50], [3e5, -2e4, 600, 70], [4, 6e4, 1e5, -2], [2e4, 10, 1e5, -1]]


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("start", FAR)
def test_a_far_start_is_no_proof_that_the_likelihood_has_no_maximum(straight, start, reml):
    model = het.DoubleGLM(straight[0], straight[2], straight[2])
    far, default = model.fit(start_params=start, reml=reml), model.fit(reml=reml)
    assert far.converged
    assert_allclose(far.llf, default.llf, rtol=1e-10)
    assert not far.fit.unbounded


@pytest.mark.parametrize("power", [-150, -100, -31, 31, 100, 150])
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(
    "family", [F.Gaussian(), F.Gaussian(links.Log()), F.Gamma(links.Log()), F.InverseGaussian()]
)
def test_no_unit_of_the_response_is_too_large_or_too_small(straight, family, power, reml):
    if isinstance(family, F.InverseGaussian):
        family = F.InverseGaussian(links.Log())
    linear = isinstance(family.link, links.Identity)
    y = straight[0] if linear else straight[1]
    unit, X = 10.0**power, straight[2]
    plain = het.DoubleGLM(y, X, X, family=family).fit(reml=reml)
    scaled = het.DoubleGLM(y * unit, X, X, family=family).fit(reml=reml)
    assert scaled.converged
    shift = len(y) * np.log(unit)
    assert_allclose(scaled.llf + shift, plain.llf, rtol=1e-9)
    assert_allclose(scaled.bse[2:], plain.bse[2:], rtol=1e-6)
    assert_allclose(scaled.bse[:2] / (unit if linear else 1.0), plain.bse[:2], rtol=1e-6)
    assert_allclose(scaled.params[3], plain.params[3], rtol=1e-5)
    if reml:
        back = shift - (2 * np.log(unit) if linear else 0.0)
        assert_allclose(scaled.llf_reml + back, plain.llf_reml, rtol=1e-9)


def test_a_start_that_is_no_number_is_named(straight):
    y, _, X = straight
    with pytest.raises(ValueError, match="start_params: NaN for dispersion-const"):
        het.DoubleGLM(y, X, X).fit(start_params=[0, 0, np.nan, 0])


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(
    "family", [F.Gaussian(), F.Gamma(links.Log()), F.InverseGaussian(links.Log()), F.Poisson()]
)
def test_cells_that_are_fitted_exactly_are_named(family, reml, monkeypatch):
    """Groups a and b are constant, c is not."""
    data = pd.DataFrame({"g": np.repeat(list("abc"), 4), "y": [1] * 4 + [2] * 4 + [3, 4, 5, 7]})
    calls = []
    evaluate = Likelihood.factors
    monkeypatch.setattr(Likelihood, "factors", lambda *a: calls.append(0) or evaluate(*a))
    message = r"rows 0, .* \(8 in all\).* along dispersion-Intercept"
    with pytest.raises(UnboundedLikelihoodError, match=message):
        hmf.doubleglm("y ~ g | g", data, family=family).fit(reml=reml)
    assert len(calls) < 1000  # millions by REML, of 90 s, before


def proof_of(y, X, Z, rows, reml=False):
    """Return what `unbounded_direction` says of a Gaussian."""
    core = het.DoubleGLM(y, X, Z).core
    estimated = np.ones(X.shape[1] + Z.shape[1], dtype=bool)
    vanished = np.isin(np.arange(len(y)), rows)
    return unbounded_direction(core, estimated, np.zeros(len(estimated)), vanished, reml)


def test_an_unbounded_likelihood_is_proved():
    x = np.array([0.0, 1, 2, 3, 4, 10])
    y = np.array([0.3, 1, 2, 2.5, 5, 30])
    one, line = np.ones((6, 1)), np.column_stack([np.ones(6), x])
    alone = np.column_stack([np.ones(6), x == 10])
    # a row of its own dispersion through which the mean can run
    rows, way = proof_of(y, line, alone, rows=[5])
    assert list(np.flatnonzero(rows)) == [5]
    assert way[1] < 0
    assert abs(way[0]) < 1e-9
    # the mean cannot run through three rows off a line
    assert proof_of(y, line, np.column_stack([one, x > 3, x > 9]), rows=[3, 4, 5]) is None
    # on a line of dispersions the far row outweighs those that rise, but not a nearer one
    assert proof_of(y, line, line, rows=[4, 5]) is not None
    assert proof_of(y, line, np.column_stack([one, np.arange(6)]), rows=[4, 5]) is None
    assert proof_of(y, line, one, rows=[4, 5]) is None
    # by REML the mean takes what the one row gains
    assert proof_of(y, line, alone, reml=True, rows=[5]) is None
    pair = np.column_stack([np.ones(6), np.isin(x, [1, 2])])
    assert proof_of(y, one, pair, reml=True, rows=[1, 2]) is None
    y[2] = 1
    assert proof_of(y, one, pair, reml=True, rows=[1, 2]) is not None


def away_from_a_singularity():
    """Return the model of data whose first four rows are on a line and have their own dispersion."""
    x = np.array([1.0, 1, 5, 2, 1, 3, 3, 2, 2, 2, 1, 3, 1])
    y = np.array([1.0, 1, -3, 0, 1.6, 2, 3, -0.6, 1.2, 2.2, 0.2, 1.4, 1.7])
    columns = np.ones(13), x, 1.0 * (np.arange(13) < 4)
    return het.DoubleGLM(y, np.column_stack(columns[:2]), np.column_stack(columns[::2]))


def test_a_local_maximum_away_from_a_singularity_is_taken_and_named():
    """The first start leads to the singularity, another one past it."""
    model = away_from_a_singularity()
    message = (
        r"without bound: rows 0, 1, 2, 3 \(counted from 0\) can be fitted exactly.* along "
        r"dispersion-x1; this is a local maximum .* the singularity, with a zero gradient"
    )
    with pytest.warns(UnboundedLikelihoodWarning, match=message) as caught:
        res = model.fit()
    assert res.notes == [str(caught[0].message)]
    assert res.converged
    assert_allclose(model.score(res.params) * res.bse, 0, atol=1e-6)
    assert np.all(np.linalg.eigvalsh(model.hessian(res.params)) < 0)
    # towards the line of the four rows, mean and dispersion, there is no bound
    line = np.array([2.0, -1.0])
    values = [model.loglike([*line, 0.0, -t]) for t in (10, 20, 40)]
    assert_allclose(np.diff(values), [20, 40], rtol=1e-9)
    assert values[-1] > res.llf
    (found,) = (f for f in res.diagnose() if f.kind == "unbounded")
    assert "rows 0, 1, 2, 3" in found.evidence
    assert "the fit is a local maximum away from that" in found.evidence
