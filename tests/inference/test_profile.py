"""Profile likelihood: intervals and traces against fits at fixed values."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from scipy import stats
from statsmodels.genmod.families import links

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import fit as fit_module
from hetglm.exceptions import AliasedColumnWarning, BoundaryWarning, SeparationWarning
from hetglm.inference import profile as profile_module
from hetglm.inference.profile import CoefficientProfile, Profile

#: Half of the chi-square quantile of 95 %.
CUT = stats.chi2.isf(0.05, 1) / 2
#: What the tolerance of a limit leaves of the log-likelihood.
LIMIT = 1e-6


def at(case, name, value, right="x + group | z"):
    """Return the log-likelihood with one coefficient fixed, by offsets of a formula."""
    data = simulated().copy()
    mean, dispersion = right.split(" | ")
    if name == "x":
        mean, kwargs = "group", {"offset": value * data["x"]}
    elif name == "dispersion-z":
        dispersion, kwargs = "1", {"offset_dispersion": value * data["z"]}
    else:
        raise KeyError(name)
    return case.formula(f"{mean} | {dispersion}", data, **kwargs).fit().llf


@pytest.mark.parametrize("name", ["x", "dispersion-z"])
def test_the_likelihood_has_fallen_by_the_cut(case, name):
    res = case.formula("x + group | z").fit()
    j = res.model.parameter_names.index(name)
    limits = res.conf_int(cols=[j], method="profile").to_numpy()[0]
    assert limits[0] < res.params.iloc[j] < limits[1]
    for limit in limits:
        assert_allclose(res.llf - at(case, name, limit), CUT, atol=LIMIT)
    wald = res.conf_int(cols=[j]).to_numpy()[0]
    assert_allclose(limits, wald, atol=0.3 * np.ptp(wald))


def test_intervals_of_the_gaussian_mean_by_hand():
    """With constant dispersion the profile is n/2 log(1 + t^2/(n - p))."""
    res = CASES["gaussian"].formula("x + group").fit()
    n, p = res.nobs, 4
    t = np.sqrt(np.expm1(2 * CUT / n) * (n - p))
    se = np.asarray(res.bse)[:4] * np.sqrt(n / (n - p))
    expected = np.asarray(res.params)[:4, None] + np.outer(t * se, [-1, 1])
    profile = res.conf_int(method="profile").to_numpy()[:4]
    assert_allclose(profile, expected, rtol=1e-6)


def test_labels_and_columns():
    res = fitted("gaussian", "x + group | z")
    table = res.conf_int(method="profile", cols=[3, 5])
    assert table.index.tolist() == ["x", "dispersion-z"]
    assert_allclose(table, res.conf_int(method="profile").iloc[[3, 5]])
    assert_allclose(res.conf_int(cols=[1]), res.conf_int().iloc[[1]])
    wide = res.conf_int(0.01, method="profile").to_numpy()
    narrow = res.conf_int(0.2, method="profile").to_numpy()
    assert np.all(wide[:, 0] < narrow[:, 0])
    assert np.all(wide[:, 1] > narrow[:, 1])


def test_offsets_shift_the_coefficient():
    """An offset of x/2 in either part takes 1/2 from its coefficient, and from the interval."""
    data = simulated().assign(half=simulated()["x"] / 2)
    plain = CASES["gaussian"].formula("x | x", data).fit()
    shifts = {"offset": "half", "offset_dispersion": "half"}
    shifted = CASES["gaussian"].formula("x | x", data, **shifts).fit()
    moved = plain.conf_int(method="profile").to_numpy() - [[0], [0.5], [0], [0.5]]
    assert_allclose(shifted.conf_int(method="profile"), moved, rtol=1e-6, atol=1e-7)


def test_robust_covariances_do_not_matter():
    robust = CASES["gamma"].formula("x | z").fit(cov_type="HC0")
    plain = CASES["gamma"].formula("x | z").fit()
    assert_allclose(robust.conf_int(method="profile"), plain.conf_int(method="profile"), rtol=1e-6)


def test_by_reml():
    res = CASES["gaussian"].formula("x + group | z").fit(reml=True)
    j = res.model.parameter_names.index("dispersion-z")
    for limit in res.conf_int(method="profile", cols=[j]).to_numpy()[0]:
        data = simulated()
        fixed = CASES["gaussian"].formula("x + group", data, offset_dispersion=limit * data["z"])
        assert_allclose(res.llf_reml - fixed.fit(reml=True).llf_reml, CUT, atol=LIMIT)
    with pytest.raises(ValueError, match="x: REML criteria of different means"):
        res.profile("x")


def test_no_limit_where_the_likelihood_does_not_fall():
    """A separated slope has a lower limit only."""
    x = np.repeat([0.0, 1.0], 10)
    n = np.full(20, 12.0)
    y = np.where(x == 1, n, np.tile([3.0, 9.0, 6.0, 8.0, 2.0], 4))
    with pytest.warns(SeparationWarning):
        res = het.BetaBinomial(y, np.column_stack([np.ones(20), x]), n_trials=n).fit()
    low, high = res.conf_int(method="profile", cols=[1])[0]
    assert high == np.inf
    assert 0 < low < 10
    held = het.BetaBinomial(y, np.ones((20, 1)), n_trials=n, offset=low * x).fit()
    assert_allclose(res.llf - held.llf, CUT, atol=LIMIT)


@pytest.mark.parametrize("link", [links.InversePower(), links.Identity()])
def test_the_mean_may_leave_its_domain_where_the_fit_stays(link):
    """The other coefficients of the fit may be no start at a value, and the likelihood finite there."""
    rng = np.random.default_rng(3)
    x, group = rng.normal(size=120), rng.choice(list("uvw"), 120)
    data = pd.DataFrame(
        {"x": x, "group": group, "v": 1.0 * (group == "v"), "w": 1.0 * (group == "w")}
    )
    data["y"] = rng.gamma(2, np.exp(1 + 0.5 * x + 0.4 * data["v"]) / 2) + 0.01
    gamma = sm.families.Gamma(link)
    res = hmf.doubleglm("y ~ x + v + w", data, family=gamma).fit()
    limits = res.conf_int(method="profile")
    rest = {"x": "v + w", "v": "x + w", "w": "x + v"}
    for name, others in rest.items():
        for limit in limits.loc[name]:
            model = hmf.doubleglm(f"y ~ {others}", data, family=gamma, offset=limit * data[name])
            inside = [1 - np.min(limit * data[name]), 0, 0, 0]
            held = model.fit(start_params=inside)
            assert_allclose(res.llf - held.llf, CUT, atol=LIMIT)


def separated(family):
    """Return a fit without a success, or an event, in one of two groups, and its data."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"x": rng.normal(size=60), "g": np.repeat(["u", "v"], 30)})
    none = data["g"] == "u"
    if family == "betabinomial":
        data["K"] = np.where(none, 0, rng.binomial(20, rng.beta(2, 3, 60)))
        data["F"] = 20 - data["K"]
        left = "K + F"
    else:
        data["K"] = np.where(none, 0, rng.negative_binomial(2, 0.3, 60))
        left = "K"
    make = getattr(hmf, family)
    with pytest.warns(SeparationWarning):
        return make(f"{left} ~ g + x", data).fit(), lambda right, **kw: make(
            f"{left} ~ {right}", data, **kw
        )


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("family", ["betabinomial", "negativebinomial"])
def test_intervals_of_separated_data_reach_to_infinity(family, alpha):
    """The Wald interval, tens of thousands wide, was the first step, into another maximum."""
    res, model = separated(family)
    table = res.conf_int(alpha, method="profile")
    assert table.loc["Intercept", 0] == -np.inf
    assert table.loc["g[T.v]", 1] == np.inf
    assert res.params["Intercept"] < table.loc["Intercept", 1] < 0
    assert 0 < table.loc["g[T.v]", 0] < res.params["g[T.v]"]
    fixed = np.full(60, table.loc["Intercept", 1])
    held = model("0 + I(1.0 * (g == 'v')) + x", offset=fixed).fit()
    assert_allclose(res.llf - held.llf, stats.chi2.isf(alpha, 1) / 2, atol=LIMIT)


def test_the_exploration_of_many_starts_is_left_to_the_limits(monkeypatch):
    """It was made at every point, a few hundred times the work of a search from near by."""
    made = []
    fit = fit_module.fit

    def counted(*args, **kwargs):
        made.append(kwargs.get("maxiter", 100))
        return fit(*args, **kwargs)

    res = fitted("beta-binomial", "x + group | z")
    monkeypatch.setattr(fit_module, "fit", counted)
    res.conf_int(method="profile")
    assert made.count(100) == 2 * len(res.params)
    assert len(made) > 3 * made.count(100)


class Branches(CoefficientProfile):
    """A profile of two maxima: near by leads to the smaller one unless the other was met."""

    def __init__(self):
        self.core = SimpleNamespace(has_boundary=True)
        self.llf, self.noise, self.estimate = 0.0, 1e-9, 0.0
        self.known, self.fits = {0.0: 0.0}, {0.0: SimpleNamespace(internal=1.0)}

    def _search(self, value, start, thorough=False):
        steep = 0.25 if thorough else start
        self.known[value], self.fits[value] = -steep * value**2, SimpleNamespace(internal=steep)

    def _continue(self, value):
        self._search(value, self.fits[min(self.fits, key=lambda at: abs(at - value))].internal)

    def _longest_step(self):
        return np.inf


@pytest.mark.parametrize("half", [0.3, 1.5, 9.0])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_where_another_maximum_takes_over_the_profile_goes_on(side, half):
    limit = Branches().limit(half, side, 2 * CUT)
    assert_allclose(limit, 2 * side * np.sqrt(CUT), rtol=1e-6)


def test_no_limit_where_one_group_may_be_binomial():
    """The ratio of dispersions has no upper limit; far out there was a false one, by underflow."""
    y = np.array([3.0, 9, 6, 10, 4, 9, 5, 11, 7, 8, 0, 18, 6, 12, 2, 15, 9, 4, 13, 1])
    g = np.repeat([0.0, 1.0], 10)
    Z = np.column_stack([np.ones(20), g])
    res = het.BetaBinomial(y, np.ones((20, 1)), exog_dispersion=Z, n_trials=np.full(20, 20)).fit()
    low, high = res.conf_int(method="profile", cols=[2])[0]
    assert high == np.inf
    assert 0 < low < res.params[2]
    trace = res.profile("dispersion-x1", [50.0])
    assert res.llf - trace.profile[trace.values == 50.0] < CUT


def test_no_interval_without_an_estimate():
    with pytest.warns(AliasedColumnWarning):
        res = CASES["gaussian"].formula("x + I(2 * x) | z").fit()
    table = res.conf_int(method="profile").to_numpy()
    assert np.isnan(table[2]).all()
    plain = CASES["gaussian"].formula("x | z").fit().conf_int(method="profile")
    assert_allclose(np.delete(table, 2, axis=0), plain, rtol=1e-6)
    with pytest.raises(ValueError, match=r"I\(2 \* x\): aliased"):
        res.profile("I(2 * x)")


@pytest.mark.thorough
def test_at_the_boundary():
    """Coefficients with an estimate have an interval; those without have none."""
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("R + I(N - R) ~ C(grp) | C(grp)", het.datasets.load_lirat()).fit()
    table = res.conf_int(method="profile")
    lost = np.isnan(res.params)
    assert lost.any()
    assert np.isnan(table[lost]).all(axis=None)
    assert table[~lost].notna().all(axis=None)
    # three litters each: their dispersion may be zero too
    assert table[0].filter(like="dispersion-C(grp)")[~lost[-3:]].tolist() == [-np.inf, -np.inf]
    assert np.isfinite(table[1][~lost]).all()


def profile_of(res, j):
    """Return the profile of coefficient j, evaluated at the estimate only."""
    model = res.model
    return CoefficientProfile(model.core, res.fit, model.parameter_names, model.estimable, j)


@pytest.fixture
def on_a_line():
    """Gamma data on a line, and the profiles of its intercept and slope, none evaluated yet."""
    x = np.linspace(0, 4, 60)
    y = np.random.default_rng(0).gamma(4, (0.3 + x) / 4)
    X = np.column_stack([np.ones(60), x])
    res = het.DoubleGLM(y, X, family=sm.families.Gamma(links.Identity())).fit()
    return y, x, *(profile_of(res, j) for j in (0, 1))


def line_held(y, x, slope):
    """Return the log-likelihood of a line of a given slope."""
    family = sm.families.Gamma(links.Identity())
    model = het.DoubleGLM(y, np.ones((60, 1)), family=family, offset=slope * x)
    return model.fit(start_params=[1 - min(0, 4 * slope), 0]).llf


@pytest.mark.parametrize("slope", [-1.0, -5.0])
def test_a_value_beyond_the_domain_is_reached_by_shorter_steps(on_a_line, monkeypatch, slope):
    """Neither the neighbouring maximum nor its tangent is inside the domain there."""
    monkeypatch.setattr(profile_module, "_default_start", None)
    y, x, _, profile = on_a_line
    assert profile._predicted(profile.estimate, slope) is None
    assert_allclose(profile(slope), line_held(y, x, slope), rtol=1e-9)
    between = [value for value in profile.known if slope < value < profile.estimate]
    assert between
    for value in between:
        assert_allclose(profile.known[value], line_held(y, x, value), rtol=1e-9)


def test_where_no_step_is_short_enough_a_value_starts_from_the_response(monkeypatch):
    case = CASES["gamma"]
    profile = profile_of(case.formula("x + group | z").fit(), 3)  # x
    monkeypatch.setattr(profile, "_predicted", lambda near, value: None)
    assert_allclose(profile(0.9), at(case, "x", 0.9), rtol=1e-9)
    assert list(profile.known) == [profile.estimate, 0.9]


def test_a_value_without_an_admissible_mean_has_likelihood_zero(on_a_line):
    profile = on_a_line[2]  # the intercept is the mean at x = 0
    assert profile(-1.0) == profile.largest(-1.0) == -np.inf
    assert profile.estimate - 1 not in profile.fits


def test_trace(case):
    res = case.formula("x + group | z").fit()
    trace = res.profile("dispersion-z")
    assert trace.name == "dispersion-z"
    assert len(trace.values) >= 21
    assert np.all(np.diff(trace.values) > 0)
    assert_allclose(trace.profile.max(), res.llf, rtol=1e-12)
    assert_allclose(trace.root[[0, -1]], np.array([-1, 1]) * stats.norm.isf(0.0005), rtol=1e-5)
    assert np.all(np.diff(trace.root) > 0)
    few = res.profile("x", [0.1, 0.0, 0.7])
    assert {0.0, 0.1, 0.7} <= set(few.values)
    assert_allclose(few.profile[few.values == 0.7], at(case, "x", 0.7), rtol=1e-9)


def test_a_profile_above_the_maximum_is_an_error():
    res = CASES["gaussian"].formula("x | z").fit(maxiter=0, warn_convergence=False)
    with pytest.raises(ValueError, match=r"the profile of .* above the fit's.*start_params"):
        res.conf_int(method="profile")


def test_input():
    res = fitted("gaussian", "x | z")
    with pytest.raises(ValueError, match="method='lr': choose"):
        res.conf_int(method="lr")
    with pytest.raises(ValueError, match=r"name='z': choose one of.*dispersion-z"):
        res.profile("z")
    for values in ([0.1, np.nan], [np.inf], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="values: give finite numbers"):
            res.profile("x", values)


@pytest.mark.parametrize("method", ["wald", "profile"])
def test_columns_by_name(method):
    res = fitted("gaussian", "x | z")
    table = res.conf_int(method=method)
    for cols in (
        ["dispersion-z", "x"],
        pd.Index(["dispersion-z", "x"]),
        ["dispersion-z", 1],
        [-1, 1],
    ):
        assert_frame_equal(res.conf_int(method=method, cols=cols), table.iloc[[3, 1]])
    assert_frame_equal(res.conf_int(method=method, cols="x"), table.iloc[[1]])
    assert_frame_equal(res.conf_int(method=method, cols=table.index == "x"), table.iloc[[1]])
    for cols in (["z"], [99], [-5], [1.5], [True], slice(1)):
        with pytest.raises(ValueError, match=r"cols: .* is no coefficient; give .*dispersion-z"):
            res.conf_int(method=method, cols=cols)


# ---- pictures -------------------------------------------------------------------------------------


def test_trace_has_the_interval():
    res = fitted("gamma", "x + group | z")
    trace = res.profile("dispersion-z")
    for alpha in (0.05, 0.2):
        exact = res.conf_int(alpha, method="profile").loc["dispersion-z"]
        assert_allclose(trace.conf_int(alpha), exact, rtol=1e-5)
    short = res.profile("x", res.params["x"] + res.bse["x"] * np.array([-0.5, 0.0, 3.0]))
    low, high = short.conf_int()
    assert low == -np.inf
    assert_allclose(high, res.conf_int(method="profile").loc["x", 1], rtol=0.02)


def lines(ax):
    """Return what is drawn, by its label."""
    return {line.get_label(): np.array(line.get_data()) for line in ax.lines}


def test_plot():
    res = fitted("gaussian", "x | z")
    ax = res.plot_profile("dispersion-z", alpha=0.1)
    low, high = res.conf_int(0.1, method="profile").loc["dispersion-z"]
    drawn, cut = lines(ax), stats.chi2.isf(0.1, 1) / 2
    interval = drawn.pop(f"90 %: {low:.4g} to {high:.4g}")
    assert_allclose(interval, [[low, high], [-cut, -cut]], rtol=1e-6)
    estimate = res.params["dispersion-z"]
    assert_allclose(drawn.pop(f"estimate: {estimate:.4g}"), [[estimate], [0]])
    x, y = drawn.pop("profile")
    assert_allclose(np.interp(high, x, y), -cut, rtol=1e-3)
    x, y = drawn.pop("Wald")
    assert_allclose(-0.5 * ((x - estimate) / res.bse["dispersion-z"]) ** 2, y, rtol=0.03)
    assert not drawn
    assert ax.get_xlabel() == "dispersion-z"
    assert ax.get_xlim()[0] < low < high < ax.get_xlim()[1]


def test_plot_on_given_axes():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    trace = fitted("gaussian", "x | z").profile("x")
    assert trace.plot(ax=ax) is ax
    assert f"95 %: {trace.conf_int()[0]:.4g}" in ax.get_legend().get_texts()[1].get_text()


def test_plot_without_a_limit():
    y = np.array([3.0, 9, 6, 10, 4, 9, 5, 11, 7, 8, 0, 18, 6, 12, 2, 15, 9, 4, 13, 1])
    Z = np.column_stack([np.ones(20), np.repeat([0.0, 1.0], 10)])
    model = het.BetaBinomial(y, np.ones((20, 1)), exog_dispersion=Z, n_trials=np.full(20, 20))
    ax = model.fit().plot_profile("dispersion-x1")
    label = next(label for label in lines(ax) if label.startswith("95 %"))
    assert label.endswith("to inf")
    assert lines(ax)[label][0, 1] == pytest.approx(ax.get_xlim()[1])
    assert len(ax.collections[0].get_paths()) == 1


def test_plot_input():
    res = fitted("gaussian", "x | z")
    with pytest.raises(ValueError, match="name='z': choose one of"):
        res.plot_profile("z")
    for call in (res.plot_profile, res.profile("x").plot):
        with pytest.raises(ValueError, match="alpha=2"):
            call(*["x"] * (call == res.plot_profile), alpha=2)


def test_interval_of_a_root_that_falls_and_rises_again():
    """Another maximum beside the profile: only what is above all before counts as rising."""
    root = np.array([-3.0, -1.0, -2.0, -1.5, 0.0, 2.0, 3.0])
    values = np.array([-6.0, -5.0, -4.0, -3.0, 0.0, 1.0, 2.0])
    found = Profile("x", 0.0, 0.0, values, -0.5 * root**2)
    assert_allclose(found.root, root)
    assert np.isfinite(found.conf_int(0.05)).all()
