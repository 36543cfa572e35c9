"""Every family with every link of the mean and of the dispersion, and what lies at their edges."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from scipy.special import xlog1py, xlogy

import hetglm.api as het
from hetglm.estimation.domain_boundary import active_bounds, maximise_on_boundary
from hetglm.estimation.record import Settings
from hetglm.exceptions import DomainEdgeWarning, SmallCountsWarning, UnboundedLikelihoodError
from hetglm.families.of_statsmodels import of_statsmodels
from hetglm.families.tweedie import CompoundPoissonGamma

F, L = sm.families, sm.families.links

#: A search by differences of the value: what BFGS leaves of it at a gradient of 1e-5.
DIFFERENCES = 1e-6
#: Gradient in units of its standard deviation: where a fit stops.
ZERO = 1e-7


class Softplus(L.Link):
    """A user's link with the least that statsmodels asks for."""

    def __call__(self, p):
        return p + np.log(-np.expm1(-p))

    def inverse(self, z):
        return np.logaddexp(0, z)

    def deriv(self, p):
        return -1 / np.expm1(-p)


def eql(variance, deviance, moved=1 / 6):
    """Return the extended quasi-log-likelihood of a variance function, in a row's y, mu and phi."""

    def value(y, mu, phi):
        at = np.where(y == 0, moved, y)
        return -0.5 * (np.log(2 * np.pi * phi * variance(at)) + deviance(y, mu) / phi)

    return value


def binomial(y, mu, phi):
    n = 12
    at = np.where((y == 0) | (y == 1), (y * n + 1 / 6) / (n + 1 / 3), y)
    d = 2 * (xlogy(y, y) - xlogy(y, mu) + xlog1py(1 - y, -y) - xlog1py(1 - y, -mu))
    return -0.5 * (np.log(2 * np.pi * phi / n * at * (1 - at)) + d / (phi / n))


def tweedie_deviance(p):
    return lambda y, m: (
        2
        * (
            np.where(y > 0, np.abs(y) ** (2 - p), 0) / ((1 - p) * (2 - p))
            - y * m ** (1 - p) / (1 - p)
            + m ** (2 - p) / (2 - p)
        )
    )


def poisson_deviance(y, m):
    return 2 * (xlogy(y, y) - xlogy(y, m) - (y - m))


def negative_binomial_deviance(y, m):
    return 2 * (xlogy(y, y / m) - (y + 1 / 0.3) * np.log((1 + 0.3 * y) / (1 + 0.3 * m)))


def counts(rng, mu, phi):
    return rng.poisson(rng.gamma(mu / phi, phi))


POSITIVE, COUNTS, SHARES = (1.0, 3.0), (2.0, 6.0), (0.3, 0.6)

#: Family of a link; its log-likelihood, how it is drawn, means at x = 0 and 1, the links it lists.
GRID = {
    "gaussian": (
        F.Gaussian,
        lambda y, m, s: stats.norm.logpdf(y, m, np.sqrt(s)),
        lambda rng, m, s: rng.normal(m, np.sqrt(s)),
        POSITIVE,
    ),
    "gamma": (
        F.Gamma,
        lambda y, m, s: stats.gamma.logpdf(y, 1 / s, scale=m * s),
        lambda rng, m, s: rng.gamma(1 / s, m * s),
        POSITIVE,
    ),
    "inverse-gaussian": (
        F.InverseGaussian,
        lambda y, m, s: stats.invgauss.logpdf(y, m * s, scale=1 / s),
        lambda rng, m, s: rng.wald(m, 1 / s),
        POSITIVE,
    ),
    "poisson": (F.Poisson, eql(lambda m: m, poisson_deviance), counts, COUNTS),
    "negative-binomial": (
        lambda link, **kwargs: F.NegativeBinomial(link, alpha=0.3, **kwargs),
        eql(lambda m: m + 0.3 * m**2, negative_binomial_deviance),
        counts,
        COUNTS,
    ),
    "binomial": (
        F.Binomial,
        binomial,
        lambda rng, m, s: rng.binomial(12, rng.beta(2 * m / s, 2 * (1 - m) / s)) / 12,
        SHARES,
    ),
    "tweedie-1.5": (
        lambda link, **kwargs: F.Tweedie(link, var_power=1.5, **kwargs),
        eql(lambda m: m**1.5, tweedie_deviance(1.5)),
        lambda rng, m, s: CompoundPoissonGamma(1.5)(m, s).rvs(random_state=rng),
        POSITIVE,
    ),
    "tweedie-2.5": (
        lambda link, **kwargs: F.Tweedie(link, var_power=2.5, **kwargs),
        eql(lambda m: m**2.5, tweedie_deviance(2.5)),
        lambda rng, m, s: rng.wald(m, np.sqrt(m) / s),
        POSITIVE,
    ),
    "tweedie-exact": (
        lambda link, **kwargs: F.Tweedie(link, var_power=1.5, **kwargs),
        lambda y, m, s: CompoundPoissonGamma(1.5)(m, s).logpdf(y),
        lambda rng, m, s: CompoundPoissonGamma(1.5)(m, s).rvs(random_state=rng),
        POSITIVE,
    ),
}
#: Links that are made from a number.
MADE = {L.Power: lambda: L.Power(0.7), L.NegativeBinomial: lambda: L.NegativeBinomial(alpha=0.3)}
DISPERSION = [L.Log(), L.Identity(), L.InversePower(), L.Power(0.5), Softplus()]


def mean_links(name):
    """Return every link that statsmodels' family lists, and for any mean a power and a user's one."""
    listed = GRID[name][0](None).links
    found = [MADE.get(cls, cls)() for cls in listed]
    if name == "negative-binomial":  # of probabilities: no mean of counts beyond 1
        found = [link for link in found if not isinstance(link, L.CLogLog)]
    return found if name == "binomial" else [*found, L.Power(0.5), L.Power(-1.5), Softplus()]


COMBINATIONS = [
    pytest.param(name, link, of_phi, id=f"{name}-{type(link).__name__}-{type(of_phi).__name__}")
    for name in GRID
    for link in mean_links(name)
    for of_phi in DISPERSION
]


def problem(name, link, of_phi, n=120, seed=0):
    """Return responses whose two linear predictors are straight lines, and the true coefficients."""
    _, _, draw, means = GRID[name]
    rng = np.random.default_rng(seed)
    x, z = rng.uniform(size=(2, n))
    ends = np.asarray(link(np.array(means))), np.asarray(of_phi(np.array([0.3, 1.2])))
    truth = np.concatenate([[a, b - a] for a, b in ends])
    mu, phi = link.inverse(truth[0] + truth[1] * x), of_phi.inverse(truth[2] + truth[3] * z)
    X, Z = (np.column_stack([np.ones(n), v]) for v in (x, z))
    return draw(rng, np.asarray(mu), np.asarray(phi)), X, Z, truth


def model_of(name, link, of_phi, y, X, Z):
    kwargs = {"n_trials": np.full(len(y), 12.0)} if name == "binomial" else {}
    kwargs |= {"likelihood": "exact"} if name == "tweedie-exact" else {}
    kwargs |= {"likelihood": "eql"} if name == "tweedie-1.5" else {}
    # statsmodels refuses a user's link unless its check is disabled
    family = GRID[name][0](link, check_link=False)
    return het.DoubleGLM(y, X, Z, family=family, link_dispersion=of_phi, **kwargs)


def warnings_of(res):
    """Return what a fit says but that counts are small, as they are here."""
    return [note for note in res.notes if not note.startswith("expected counts are small")]


@pytest.mark.parametrize(("name", "link", "of_phi"), COMBINATIONS)
def test_fit_is_the_maximum(name, link, of_phi):
    y, X, Z, truth = problem(name, link, of_phi)
    res = model_of(name, link, of_phi, y, X, Z).fit()
    assert res.converged
    assert warnings_of(res) == []
    score, information = res.model.score(res.params), res.model.information(res.params)
    assert np.sqrt(score @ np.linalg.solve(information, score)) < ZERO
    density = GRID[name][1]

    def loss(params):
        with np.errstate(all="ignore"):
            mu, phi = link.inverse(X @ params[:2]), of_phi.inverse(Z @ params[2:])
            inside = np.all(np.isfinite(mu) & np.isfinite(phi) & (phi > 0))
            inside &= name == "gaussian" or np.all(mu > 0)
            value = -density(y, mu, phi).sum() if inside else np.inf
        return value if np.isfinite(value) else 1e10

    assert_allclose(-loss(res.params), res.llf, rtol=1e-11, atol=1e-9)
    # in units of the standard errors, from the truth and from one beside the fit
    se = np.asarray(res.bse)
    starts = [truth, res.params + 0.3 * se * [1, -1, 1, -1]]
    for start in starts if isinstance(of_phi, L.Log) else starts[:1]:
        with np.errstate(all="ignore"):
            found = optimize.minimize(
                lambda u, s=start: loss(s + u * se), np.zeros(4), method="BFGS"
            )
        assert -found.fun <= res.llf + 1e-8
        if found.success:
            assert_allclose(-found.fun, res.llf, atol=DIFFERENCES)


# ---- the domain of the dispersion --------------------------------------------------------------


@pytest.mark.parametrize("of_phi", [L.Identity(), L.InversePower(), L.Power(0.5)])
@pytest.mark.parametrize("seed", range(5))
def test_steps_into_negative_dispersions_are_halved(of_phi, seed):
    # far apart, from a start of one constant: the first Newton step leaves the domain
    rng = np.random.default_rng(seed)
    x = np.repeat([0.0, 1.0], 40)
    y = rng.normal(size=80) * np.where(x == 1, 30.0, 0.01)
    X, Z = np.ones((80, 1)), np.column_stack([np.ones(80), x])
    res = het.DoubleGLM(y, X, Z, link_dispersion=of_phi).fit()
    log = het.DoubleGLM(y, X, Z).fit()
    # one dispersion a cell: the link is immaterial
    assert res.converged
    assert_allclose(res.llf, log.llf, rtol=1e-10)
    assert_allclose(res.fitted_dispersion, log.fitted_dispersion, rtol=1e-6)


@pytest.mark.parametrize("of_phi", [L.Identity(), L.Power(0.5), L.Log()])
def test_a_dispersion_that_reaches_zero_is_named(of_phi):
    # row 7 lies on the line of the others' means and alone has the smallest z
    rng = np.random.default_rng(1)
    z = rng.uniform(0.2, 1, size=40)
    z[7] = 0.0
    y = rng.normal(size=40) * z
    X, Z = np.column_stack([np.ones(40), np.arange(40) == 7]), np.column_stack([np.ones(40), z])
    if isinstance(of_phi, L.Log):
        Z[:, 1] = z == 0
    with pytest.raises(
        UnboundedLikelihoodError, match=r"row 7 \(counted from 0\).*goes to zero along dispersion"
    ):
        het.DoubleGLM(y, X, Z, link_dispersion=of_phi).fit()


#: Inverse Gaussian responses, x and z: all but row 22 keep the dispersion from 0.
# fmt: off
SPIKE = (
    [3.361, 2.3273, 1.643, 0.2965, 1.0528, 0.5799, 0.8371, 2.8287, 0.8624, 2.3359, 1.2223,
     0.9729, 1.2743, 0.7447, 0.5718, 8.6855, 0.6221, 0.7524, 0.9433, 2.4647, 0.3267, 2.698,
     1.021, 3.2144, 0.675, 0.8471, 0.4112, 2.5111, 0.7648, 5.3116],
    [0.956, 0.2077, 0.8284, 0.1493, 0.5128, 0.1359, 0.689, 0.8417, 0.4255, 0.9569, 0.8253,
     0.3382, 0.5758, 0.7533, 0.8271, 0.9334, 0.145, 0.7456, 0.1394, 0.9065, 0.2261, 0.8532,
     0.3063, 0.9698, 0.5178, 0.3225, 0.2824, 0.6059, 0.3338, 0.6786],
    [0.1544, 0.2498, 0.8699, 0.6004, 0.262, 0.1494, 0.1368, 0.2489, 0.3828, 0.6491, 0.8376,
     0.776, 0.3395, 0.1486, 0.457, 0.4379, 0.5742, 0.3733, 0.6338, 0.1146, 0.2331, 0.7672,
     0.9871, 0.808, 0.843, 0.7957, 0.4568, 0.7387, 0.5785, 0.4507],
)
# fmt: on


def test_a_search_that_stalls_on_a_spike_names_it():
    # phi at 1e-13 is a rounding of nothing yet, but the search gets no further
    y, x, z = (np.array(column) for column in SPIKE)
    X, Z = (np.column_stack([np.ones(30), v]) for v in (x, z))
    model = het.DoubleGLM(y, X, Z, family=F.InverseGaussian(), link_dispersion=L.Identity())
    with pytest.raises(UnboundedLikelihoodError, match=r"row 22 \(counted from 0\) can be fitted"):
        model.fit()


def test_no_start_inside_the_domain_is_said():
    y, X, Z, _ = problem("gaussian", L.Identity(), L.Log())
    model = het.DoubleGLM(y, X, Z, link_dispersion=L.Identity())
    with pytest.raises(ValueError, match="start_params: the log-likelihood is not finite there"):
        model.fit(start_params=[1, 1, -1, 0])


# ---- the domain of the mean ----------------------------------------------------------------------


def edge_data(seed, n=60):
    """Return counts whose mean would fall below 0 at small x, and a dispersion that varies."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    X, Z = (np.column_stack([np.ones(n), v]) for v in (x, np.arange(n) % 2))
    return rng.poisson(np.maximum(3 * x - 0.3, 0.02)), X, Z


def boundary_model(name, seed):
    y, X, Z = edge_data(seed)
    made = {
        "poisson": (F.Poisson(L.Identity(), check_link=False), {}),
        "negative-binomial": (F.NegativeBinomial(L.Identity(), alpha=0.2, check_link=False), {}),
        "tweedie": (
            F.Tweedie(L.Identity(), var_power=1.5, check_link=False),
            {"likelihood": "eql"},
        ),
        "tweedie-exact": (
            F.Tweedie(L.Identity(), var_power=1.5, check_link=False),
            {"likelihood": "exact"},
        ),
        "binomial": (F.Binomial(L.Identity()), {"n_trials": np.full(60, 8.0)}),
        "binomial-log": (F.Binomial(L.Log()), {"n_trials": np.full(60, 8.0)}),
        "binomial-logc": (F.Binomial(L.LogC()), {"n_trials": np.full(60, 8.0)}),
    }
    family, kwargs = made[name]
    if name.startswith("binomial"):
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=60)
        y = rng.binomial(8, np.clip(1.05 * x - 0.02, 0.005, 0.995)) / 8
        X = np.column_stack([np.ones(60), x])
    return het.DoubleGLM(y, X, Z, family=family, **kwargs)


#: Model, seed, value of the mean at its boundary, and how much of the likelihood the last 1e-13 before
#: the boundary is worth: a Tweedie's goes like the square root.
BOUNDARIES = [
    ("poisson", 0, 0, 1e-9),
    ("poisson", 3, 0, 1e-9),
    ("negative-binomial", 1, 0, 1e-9),
    ("tweedie", 0, 0, 1e-5),
    ("tweedie-exact", 1, 0, 1e-5),
    ("binomial", 0, 0, 1e-9),
    ("binomial", 1, 1, 1e-9),
    ("binomial-log", 0, 1, 1e-9),
    ("binomial-logc", 0, 0, 1e-9),
]


@pytest.mark.parametrize(("name", "seed", "boundary", "short"), BOUNDARIES)
def test_a_maximum_at_the_boundary_of_the_mean_is_found_and_named(name, seed, boundary, short):
    model = boundary_model(name, seed)
    with pytest.warns(
        DomainEdgeWarning, match=rf"domain of the mean, {boundary}: the .* row"
    ) as caught:
        res = model.fit()
    (warned,) = (w for w in caught if w.category is DomainEdgeWarning)
    assert res.converged
    assert res.notes[0] == str(warned.message)
    assert str(warned.message)[:60] in " ".join(res.summary().as_text().split())
    i = int(np.argmin(abs(res.fittedvalues - boundary)))
    assert f"row {i} (counted" in res.notes[0]
    assert_allclose(res.fittedvalues[i], boundary, atol=1e-11)
    assert np.isfinite(res.bse).all()

    # along the boundary of row i: intercept from the slope; no optimum inside is better
    def loss(params):
        value = model.loglike(params)
        return -value if np.isfinite(value) else 1e10

    at = np.asarray(res.params)
    along = np.array([-model.exog[i, 1], 1, 0, 0]), np.eye(4)[2], np.eye(4)[3]
    best = max(
        -optimize.minimize(
            lambda u, d=directions: loss(at + u @ d),
            np.zeros(len(directions)),
            method="Nelder-Mead",
            options={"maxiter": 150},
        ).fun
        for directions in (np.array(along), np.eye(4))
    )
    assert best <= res.llf + short
    # and the gradient of the others is zero along the boundary
    score = model.score(at)
    se = np.asarray(res.bse)
    assert abs(score @ along[0]) * se[1] < 1e-3
    assert np.all(abs(score[2:]) * se[2:] < 1e-6)


def test_a_boundary_of_two_rows():
    # a slope to either side: the mean is held down at both ends
    x = np.linspace(-1, 1, 41)
    y = np.round(4 * (1 - abs(x) ** 0.7))
    X = np.column_stack([np.ones(41), np.maximum(x, 0), np.maximum(-x, 0)])
    y[[0, 1, 39, 40]] = 0
    y[[4, 36]] = 0
    model = het.DoubleGLM(y, X, family=F.Poisson(L.Identity(), check_link=False))
    with pytest.warns(DomainEdgeWarning, match=r"rows 0, 40 \(counted from 0\)"):
        res = model.fit()
    assert_allclose(res.fittedvalues[[0, 40]], 0, atol=1e-11)


def test_rows_at_the_boundary_that_should_not_stay_are_released():
    # started on the boundary of row 0, whose response of 0 is the least of the others' line
    x = np.linspace(0.05, 1, 30)
    y = np.round(0.6 + 2 * x + 0.8 * np.sin(9 * x))
    y[0] = 0
    X, Z = np.column_stack([np.ones(30), x]), np.ones((30, 1))
    model = het.DoubleGLM(y, X, Z, family=F.Poisson(L.Identity(), check_link=False))
    best = model.fit()
    assert best.fittedvalues[0] > 0.2
    start = np.array([1e-12 - 3.0 * x[0], 3.0, 0.0])
    names, kept = model.parameter_names, np.ones(3, dtype=bool)
    stopped = replace(best.fit, internal=start, converged=False)
    settings, watch = Settings(names), lambda params, converged: None
    assert_array_equal(active_bounds(model.core, start), [-1] + [0] * 29)
    found = maximise_on_boundary(model.core, kept, stopped, settings, watch)
    assert_allclose(found.llf, best.llf, rtol=1e-12)
    assert found.domain_boundary == ""
    assert found.converged
    # inside, a search that stopped for another reason is left alone
    stopped = replace(best.fit, converged=False)
    assert maximise_on_boundary(model.core, kept, stopped, settings, watch) is stopped


def test_one_of_two_rows_at_the_boundary_is_released():
    # three lines that meet: held at both ends, one of which the data pull up
    x = np.linspace(-1, 1, 41)
    y = np.round(4 * (1 - abs(x) ** 0.7) + 3 * np.maximum(x, 0) ** 2)
    y[[0, 1, 4, 40]] = 0
    X = np.column_stack([np.ones(41), np.maximum(x, 0), np.maximum(-x, 0)])
    model = het.DoubleGLM(y, X, family=F.Poisson(L.Identity(), check_link=False))
    with pytest.warns(DomainEdgeWarning, match=r"take row 0 \(counted from 0\)"):
        best = model.fit()
    assert best.fittedvalues[40] > 0.2
    start = np.array([3.0, -3 + 1e-12, -3 + 1e-12, 0.0])
    stopped = replace(best.fit, internal=start, converged=False, domain_boundary="")
    found = maximise_on_boundary(
        model.core,
        np.ones(4, dtype=bool),
        stopped,
        Settings(model.parameter_names),
        lambda p, c: None,
    )
    assert found.domain_boundary == best.fit.domain_boundary
    assert_allclose(found.llf, best.llf, rtol=1e-10)


def test_a_probability_below_zero_is_no_limit():
    # its row has y = 0, where a mean of 0 is admissible
    family = of_statsmodels(F.Binomial())
    y, mu = np.array([0.0, 0.0, 1.0, 1.0]), np.array([-0.02, 0.0, 1.02, 1.0])
    rows = family.prepare(y, np.full(4, 8.0))
    value = family.evaluate(rows, mu, 1 - mu, np.ones(4), 0).loglike
    assert (np.isfinite(value) == [False, True, False, True]).all()


def test_an_interior_maximum_is_not_called_a_boundary():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SmallCountsWarning)
        assert warnings_of(boundary_model("binomial", 2).fit()) == []
        assert warnings_of(boundary_model("binomial-logc", 1).fit()) == []


# ---- faults of peers ---------------------------------------------------------------------------


def test_gaussian_with_negative_fitted_means():
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=(2, 80))
    y = -9 + 2 * x + np.exp(0.4 * z) * rng.normal(size=80)
    X, Z = (np.column_stack([np.ones(80), v]) for v in (x, z))
    res, shifted = (het.DoubleGLM(y + c, X, Z).fit() for c in (0, 100))
    assert np.all(res.fittedvalues < 0)
    assert_allclose(res.llf, shifted.llf, rtol=1e-10)
    assert_allclose(res.params[1:], shifted.params[1:], rtol=1e-6)
    assert_allclose(
        res.llf,
        stats.norm.logpdf(y, res.fittedvalues, np.sqrt(res.fitted_dispersion)).sum(),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    "name", ["gaussian", "gamma", "inverse-gaussian", "poisson", "tweedie-exact"]
)
def test_weights_of_both_kinds_against_the_likelihood(name):
    y, X, Z, _ = problem(name, L.Log(), L.Log())
    rng = np.random.default_rng(8)
    w, f = rng.uniform(0.3, 4, size=len(y)), rng.integers(1, 5, size=len(y))
    kwargs = {"likelihood": "exact"} if name == "tweedie-exact" else {}
    family = GRID[name][0](L.Log())
    res = het.DoubleGLM(y, X, Z, family=family, var_weights=w, freq_weights=f, **kwargs).fit()

    def loglike(params):
        mu, phi = np.exp(X @ params[:2]), np.exp(Z @ params[2:])
        return f @ GRID[name][1](y, mu, phi / w)

    assert_allclose(res.llf, loglike(res.params), rtol=1e-12)
    for direction in np.eye(4) * np.asarray(res.bse)[:, None]:
        around = [loglike(res.params + h * direction) for h in (-1e-3, 1e-3)]
        assert abs(around[1] - around[0]) < 1e-7  # a gradient of 5e-5 standard deviations
        assert max(around) < res.llf


def test_offsets_do_not_cross():
    y, X, Z, _ = problem("gamma", L.Log(), L.Log())
    data = pd.DataFrame({"y": y, "x": X[:, 1], "z": Z[:, 1]})
    rng = np.random.default_rng(4)
    shift = rng.normal(size=len(y))
    plain = het.DoubleGLM(y, X, Z, family=F.Gamma(L.Log())).fit()
    # an offset that is a column moves that column's coefficient, in its own part alone
    for part, column, moved in (("offset", X[:, 1], 1), ("offset_dispersion", Z[:, 1], 3)):
        res = het.DoubleGLM(y, X, Z, family=F.Gamma(L.Log()), **{part: 0.7 * column}).fit()
        expected = np.asarray(plain.params) - 0.7 * np.eye(4)[moved]
        assert_allclose(res.params, expected, atol=1e-7)
        assert_allclose(res.llf, plain.llf, rtol=1e-12)
    # a mean's offset under a log link is a rescaled Gamma response; a dispersion's is weights
    scaled = het.DoubleGLM(y * np.exp(-shift), X, Z, family=F.Gamma(L.Log())).fit()
    offset = het.DoubleGLM(y, X, Z, family=F.Gamma(L.Log()), offset=shift).fit()
    assert_allclose(offset.params, scaled.params, atol=1e-7)
    weighted = het.DoubleGLM(y, X, Z, family=F.Gamma(L.Log()), var_weights=np.exp(-shift)).fit()
    dispersed = het.DoubleGLM(y, X, Z, family=F.Gamma(L.Log()), offset_dispersion=shift).fit()
    assert_allclose(dispersed.params, weighted.params, atol=1e-7)
    both = het.DoubleGLM.from_formula(
        "y ~ x | z",
        data.assign(a=shift, b=shift[::-1]),
        family=F.Gamma(L.Log()),
        offset="a",
        offset_dispersion="b",
    ).fit()
    again = het.DoubleGLM(
        y * np.exp(-shift), X, Z, family=F.Gamma(L.Log()), var_weights=np.exp(-shift[::-1])
    ).fit()
    assert_allclose(both.params, again.params, atol=1e-7)


@pytest.mark.parametrize(("maxiter", "is_found"), [(100, True), (1, False)])
def test_a_search_along_one_boundary_runs_into_another(maxiter, is_found):
    """Held at row 40 alone, the search stops where the mean of row 0 is 0; or for want of steps."""
    x = np.linspace(-1, 1, 41)
    y = np.round(4 * (1 - abs(x) ** 0.7))
    y[[0, 1, 4, 36, 39, 40]] = 0
    X = np.column_stack([np.ones(41), np.maximum(x, 0), np.maximum(-x, 0)])
    model = het.DoubleGLM(y, X, family=F.Poisson(L.Identity(), check_link=False))
    with pytest.warns(DomainEdgeWarning, match=r"rows 0, 40 \(counted from 0\)"):
        best = model.fit()
    start = np.array([2.0, -2 + 1e-12, -1.0, 0.0])
    assert_array_equal(np.flatnonzero(active_bounds(model.core, start)), [40])
    stopped = replace(best.fit, internal=start, converged=False, domain_boundary="")
    settings = Settings(model.parameter_names, maxiter=maxiter)
    found = maximise_on_boundary(
        model.core, np.ones(4, dtype=bool), stopped, settings, lambda p, c: None
    )
    if not is_found:
        assert found is stopped
        return
    assert found.domain_boundary == best.fit.domain_boundary
    assert found.converged
    assert_allclose(found.llf, best.llf, rtol=1e-12)
