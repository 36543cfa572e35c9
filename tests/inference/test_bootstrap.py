"""Bootstrap of estimates and of likelihood ratios: refits, intervals, what is counted."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose, assert_array_equal
from quick import thorough
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import fit as fit_module
from hetglm.estimation import record
from hetglm.estimation import refit as refit_module
from hetglm.estimation.record import Fitted
from hetglm.estimation.refit import _quasi_newton, refit
from hetglm.exceptions import BootstrapFailureWarning, BoundaryWarning
from hetglm.inference import bootstrap, bootstrap_intervals, bootstrap_results, bootstrap_test
from hetglm.utils.parallel import Run, generator

#: A refit that starts at the fit ends where one from the data alone does.
LLF = 1e-8
#: Its coefficients, in standard errors.
SHARE_OF_SE = 2e-5
EXACT = [name for name, case in CASES.items() if case.exact]


def raw(res):
    """Return the results without pandas."""
    return getattr(res, "_results", res)


def task(res, kind="pairs", codes=None, cov_type="", cov_kwds=None):
    res = raw(res)
    of = record.fitted_of(res)
    return bootstrap.Resampling(of, kind, codes, cov_type, cov_kwds or {}, res.df_resid)


def assert_warm_is_cold(of, core, estimable):
    """Check a refit against the search from the data alone; return it."""
    warm, cold = refit(of, core), fit_module.fit(core, of.names, estimable)
    assert abs(warm.llf - cold.llf) < LLF
    assert_array_equal(np.isnan(warm.params), np.isnan(cold.params))
    assert (warm.boundary is None) == (cold.boundary is None)
    kept = cold.estimated
    se = np.sqrt(np.diag(np.linalg.inv(cold.information)))[kept[cold.solved]]
    assert_allclose((warm.params - cold.params)[kept] / se, 0, atol=SHARE_OF_SE)
    return warm


# ---- refits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pairs", "parametric", "cluster"])
@pytest.mark.parametrize("name", EXACT)
def test_warm_refits_end_where_cold_ones_do(name, kind):
    draws = task(fitted(name), kind, np.arange(120) // 6)
    near = 0
    for i in range(6):
        _, core, _ = draws.drawn(generator([7], i))
        warm = assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)
        near += "original" in warm.message
    assert near >= 1  # else the cold one was compared with itself


@pytest.mark.parametrize("name", [name for name in CASES if name not in EXACT])
def test_warm_refits_of_quasi_likelihoods(name):
    draws = task(fitted(name))
    for i in range(3):
        _, core, _ = draws.drawn(generator([8], i))
        assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)


def test_warm_refits_of_many_columns():
    res = hmf.betabinomial(
        "K + I(N - K) ~ C(id) | group + treatment", het.datasets.load_splicing()
    ).fit()
    draws = task(res, "parametric")
    for i in range(3):
        _, core, _ = draws.drawn(generator([9], i))
        warm = assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)
        assert "original" in warm.message
        assert warm.iterations <= 6


def small(n=24, sigma=0.06, seed=3):
    """Return counts of litters whose dispersion is near zero in some draws."""
    rng = np.random.default_rng(seed)
    g = np.arange(n) % 2
    p = rng.beta(0.4 / sigma, 0.6 / sigma, size=n)
    return {"y": rng.binomial(12, p), "n": np.full(n, 12), "g": np.array(["a", "b"])[g]}


def test_refits_find_the_boundary():
    res = hmf.betabinomial("y + I(n - y) ~ g | 0 + g", small()).fit()
    assert raw(res).boundary is None
    draws, ends = task(res, "parametric"), 0
    for i in range(40):
        _, core, _ = draws.drawn(generator([5], i))
        ends += assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable).boundary is not None
    assert 3 < ends < 37


def test_refits_from_a_boundary_are_made_from_the_data():
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("y + I(n - y) ~ g | 0 + g", small(seed=4)).fit()
    draws = task(res, "parametric")
    for i in range(10):
        _, core, _ = draws.drawn(generator([5], i))
        assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)


@pytest.mark.parametrize(("seed", "draw"), [(5, 21), (10, 20)])
def test_maxima_near_an_end_are_doubted(seed, draw):
    """A maximum inside that few steps reach, and a higher one at the boundary."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=16)
    sigma = np.exp(x - 2.5)
    y = rng.binomial(8, rng.beta(0.5 / sigma, 0.5 / sigma))
    res = hmf.betabinomial("y + I(8 - y) ~ 1 | x", {"y": y, "x": x}).fit()
    draws = task(res, "parametric")
    _, core, _ = draws.drawn(generator([5], draw))
    assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)


class Scripted:
    """Likelihood whose gradients are given, of information 1."""

    def __init__(self, gradients):
        self.left = list(gradients)

    def approximate_gradient(self, params):
        return np.array([self.left.pop(0)]), True

    def factors(self, params, order=2):
        return SimpleNamespace(loglike=np.zeros(1))

    def gradient(self, factors):
        return self.approximate_gradient(None)[0]

    def hessian(self, factors):
        return np.array([[-1.0]])


@pytest.mark.parametrize(
    ("gradients", "iterations"),
    [
        ((3, 0.5, 0.01, 1e-5, 1), 4),
        ((3, 0.5, 0.1, 0.01, 1e-3, 1e-5, 1), 6),
        ((3, 4, 1e-9, 1e-12), None),  # grows
        ((3, 0.5, 1e9, 1e-2), None),
        ((3, 0.5, np.nan, 1e-9), None),
        ((3, 2, 1, 0.9, 0.8, 0.7, 0.6, 0.5), None),  # too slow
    ],
)
def test_steps_end_where_the_gradient_vanishes_fast(gradients, iterations):
    fit = SimpleNamespace(
        solved=np.array([True]), internal=np.zeros(1), information=np.array([[1.0]])
    )
    found = _quasi_newton(Fitted(None, fit, [], None), Scripted(gradients))
    assert found is None if iterations is None else found.iterations == iterations


def test_refit_without_convergence_is_a_failure(monkeypatch):
    of = record.fitted_of(raw(fitted("gaussian", "x | z")))
    stuck = replace(of.fit, converged=False, message="it is stuck")
    monkeypatch.setattr(fit_module, "fit", lambda *args, **kwargs: stuck)
    with pytest.raises(ValueError, match="no convergence: it is stuck"):
        refit(of, of.core, warm=False)


def test_refits_of_grouped_rows(monkeypatch):
    data = {name: np.tile(value, 60) for name, value in small().items()}
    res = hmf.betabinomial("y + I(n - y) ~ g | g", data).fit()
    draws = task(res, "parametric")
    assert draws.fitted.is_grouped
    _, core, _ = draws.drawn(generator([5], 0))
    grouped = assert_warm_is_cold(draws.fitted, core, draws.fitted.estimable)
    alone = refit(replace(draws.fitted), core)
    assert grouped.llf == pytest.approx(alone.llf, abs=LLF)
    seen = []
    monkeypatch.setattr(refit_module, "_quasi_newton", lambda fitted, core: seen.append(core.n))
    refit(draws.fitted, core)
    assert seen[0] < core.n / 2


def test_pairs_and_clusters_are_fits_to_cloned_rows():
    res = fitted("beta-binomial", "x | z")
    codes = np.arange(120) // 6
    for kind in ("pairs", "cluster"):
        draws = task(res, kind, codes if kind == "cluster" else None)
        rng, again = generator([1], 0), generator([1], 0)
        _, core, groups = draws.drawn(rng)
        if kind == "pairs":
            rows = again.integers(120, size=120)
        else:
            rows = np.concatenate([np.flatnonzero(codes == g) for g in again.integers(20, size=20)])
            assert_array_equal(groups, np.arange(120) // 6)
        clone = raw(res).model.clone(rows=rows)
        assert_array_equal(core.X, clone.core.X)
        assert_array_equal(core.Z, clone.core.Z)
        assert_array_equal(core.y, clone.core.y)
        se = np.asarray(clone.fit().bse)
        boot = draws(generator([1], 0))
        assert_allclose((boot - np.asarray(clone.fit().params)) / se, 0, atol=SHARE_OF_SE)


def test_boundary_rows_of_frequencies_are_repeated():
    data = small(24, 0.02, seed=5) | {"f": np.arange(24) % 3 + 1}
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("y + I(n - y) ~ 1 | 0 + g", data, freq_weights="f").fit()
    boot = res.bootstrap(4, "parametric", rng=1)
    assert boot.failed == 0


def test_generator_moves_on_by_one_draw():
    res = fitted("gaussian", "x | z")
    rng = np.random.default_rng(3)
    first, second = (res.bootstrap(3, rng=rng).params for _ in range(2))
    assert not np.array_equal(first, second)
    assert_array_equal(first, res.bootstrap(5, rng=3).params[:3])


# ---- results -------------------------------------------------------------------------------------


def result(params, estimate, **kwargs):
    params = np.asarray(params, dtype=float)
    names = [f"b{j}" for j in range(params.shape[1])]
    names[-1] = f"dispersion-{names[-1]}"
    given = {"bse": np.ones(len(names)), "acceleration": np.zeros(len(names))} | kwargs
    return bootstrap_results.BootstrapResult(
        params, len(params), 0, "pairs", estimate=np.asarray(estimate, float), names=names, **given
    )


def test_percentile_and_basic_intervals():
    draws = np.random.default_rng(1).normal(size=(199, 2)) ** 3
    boot = result(draws, [0.1, -0.2])
    q = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull").T
    assert_allclose(boot.conf_int(0.1), q)
    assert_allclose(boot.conf_int(0.1, "basic"), 2 * np.array([[0.1], [-0.2]]) - q[:, ::-1])


def test_studentized_interval():
    rng = np.random.default_rng(2)
    draws, se = rng.normal(size=(99, 1)), rng.gamma(5, size=(99, 1))
    boot = result(draws, [0.3], bse=np.array([0.7]), params_bse=se)
    t = np.quantile((draws - 0.3) / se, [0.975, 0.025], method="weibull")
    assert_allclose(boot.conf_int(method="studentized")[0], 0.3 - 0.7 * t)


def test_bca_interval_of_a_skewed_mean_is_that_of_scipy():
    data = np.random.default_rng(4).exponential(size=40) ** 2
    peer = stats.bootstrap(
        (data,), np.mean, n_resamples=9999, method="BCa", random_state=np.random.default_rng(1)
    )
    draws = peer.bootstrap_distribution[:, None]
    influence = data - data.mean()
    a = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    estimate, tails = np.array([data.mean()]), np.array([[0.025], [0.975]])
    moved = bootstrap_intervals.bca_tails(estimate, draws, np.array([a]), tails)[:, 0]
    # scipy interpolates quantiles in another way
    assert_allclose(np.quantile(draws, moved), peer.confidence_interval, rtol=1e-10)
    boot = result(draws, estimate, acceleration=np.array([a]))
    expected = np.quantile(draws, moved, method="weibull")
    assert_allclose(boot.conf_int(method="bca")[0], expected)
    assert np.all(expected > boot.conf_int()[0] + 0.02)


def test_bca_without_bias_and_skewness_is_the_percentile_interval():
    draws = np.random.default_rng(5).normal(size=(999, 1))
    boot = result(draws, [np.median(draws)])
    assert_allclose(boot.conf_int(method="bca"), boot.conf_int(), rtol=1e-12)


def test_acceleration_is_that_of_the_jackknife():
    res = raw(fitted("beta-binomial", "x | z"))
    jack = []
    for i in range(res.model.core.n):
        clone = res.model.clone(rows=np.delete(np.arange(res.model.core.n), i))
        jack.append(fit_module.fit(clone.core, clone.parameter_names, clone.estimable).params)
    moved = np.mean(jack, axis=0) - jack
    exact = (moved**3).sum(axis=0) / (6 * (moved**2).sum(axis=0) ** 1.5)
    # one step instead of a refit
    assert_allclose(res.bootstrap(2, rng=1).acceleration, exact, atol=0.01)
    assert np.abs(exact).max() > 0.02


def test_acceleration_sums_scores_of_groups():
    res = raw(fitted("gaussian", "x | z"))
    each = res.bootstrap(2, "cluster", groups=np.arange(120), rng=1).acceleration
    assert_allclose(each, res.bootstrap(2, rng=1).acceleration)
    pairs = np.repeat(np.arange(60), 2)
    of = record.fitted_of(res)
    influence = bootstrap.influence(of, task(res, "cluster", pairs).members)
    assert_allclose(influence, bootstrap.influence(of, None).reshape(60, 2, -1).sum(axis=1))


@pytest.mark.parametrize("method", ["percentile", "basic", "studentized", "bca"])
def test_replicates_without_a_finite_value_are_beyond_the_limits(method):
    draws = np.random.default_rng(6).normal(size=(199, 2))
    few, many = draws.copy(), draws.copy()
    few[:2, 1], many[:20, 1] = np.nan, np.nan
    boots = [result(d, [0, 0], params_bse=np.ones_like(draws)) for d in (draws, few, many)]
    full, short, none = (boot.conf_int(0.05, method) for boot in boots)
    assert np.isfinite(short).all()
    assert np.ptp(short[1]) > np.ptp(full[1])
    assert_array_equal(none[1], [-np.inf, np.inf])
    assert_array_equal(none[0], full[0])
    frame = boots[2].summary_frame()
    assert frame["finite"].tolist() == [199, 179]
    assert np.isnan(frame.loc["dispersion-b1", "mean"])


def test_quantiles_interpolate_and_end_at_the_extremes():
    ordered = np.arange(1.0, 10.0)[:, None]
    for tail, expected in ((0.5, 5), (0.001, 1), (0.999, 9), (0.25, 2.5)):
        assert bootstrap_intervals._quantile(ordered, np.array([tail]), np.inf) == expected


@pytest.mark.parametrize(
    ("cov_type", "kind"),
    [("nonrobust", "pairs"), ("HC1", "pairs"), ("eim", "parametric"), ("cluster", "cluster")],
)
def test_studentized_refits_have_the_errors_of_a_fit(cov_type, kind):
    codes = np.arange(120) // 6
    kwds = {"cov_kwds": {"groups": codes}} if cov_type == "cluster" else {}
    res = raw(CASES["gaussian"].formula("x | z").fit(cov_type=cov_type, **kwds))
    groups = {"groups": codes} if kind == "cluster" else {}
    boot = res.bootstrap(3, kind, rng=1, studentized=True, **groups)
    draws = task(res, kind, codes if groups else None)
    entropy = np.random.default_rng(1).integers(2**32, size=4).tolist()
    _, core, drawn = draws.drawn(generator(entropy, 2))
    clone = res.model.clone(rows=np.arange(len(core.y)))
    clone.core = core
    kwds = {"cov_kwds": {"groups": drawn}} if kwds else {}
    again = clone.fit(cov_type=cov_type, **kwds)
    assert_allclose(boot.params_bse[2], again.bse, rtol=1e-4)
    assert np.isfinite(boot.conf_int(method="studentized")).all()
    assert_array_equal(boot.params, res.bootstrap(3, kind, rng=1, **groups).params)


def test_aliased_and_boundary_coefficients_have_no_interval(data):
    data["twice"] = 2 * data["x"]
    with pytest.warns(Warning, match="aliased"):
        res = CASES["gaussian"].formula("x + twice | z", data).fit()
    boot = res.bootstrap(20, rng=1)
    for method in ("percentile", "basic", "bca"):
        limits = boot.conf_int(method=method)
        assert_array_equal(np.isnan(limits).all(axis=1), [False, False, True, False, False])


def test_table_and_text():
    boot = fitted("gaussian", "x | z").bootstrap(50, rng=1)
    frame = boot.summary_frame(0.1, "bca")
    assert frame.index.tolist() == ["Intercept", "x", "dispersion-Intercept", "dispersion-z"]
    assert_array_equal(frame[["ci_lower", "ci_upper"]], boot.conf_int(0.1, "bca"))
    assert_array_equal(frame["std"], boot.std)
    assert "50 of 50 replicates" in str(boot)
    failed = replace(boot, nrep=52, failed=2, reasons={"ValueError: why": 2})
    text = " ".join(str(failed).split())
    assert "50 of 52 replicates; 2 refits failed and are left out: {'ValueError: why': 2}" in text


def test_plot():
    from matplotlib.figure import Figure

    boot = fitted("gaussian", "x | z").bootstrap(60, rng=1)
    axes = boot.plot()
    assert [ax.get_title() for ax in axes] == ["dispersion-Intercept", "dispersion-z"]
    assert axes[0].patches
    drawn = Figure().subplots()
    one = boot.plot("x", ax=drawn, method="basic", alpha=0.1)
    assert one is drawn
    lines = [line.get_xdata()[0] for line in one.lines]
    assert_allclose(lines, [boot.estimate[1], *boot.conf_int(0.1, "basic")[1]])
    assert [text.get_text() for text in one.get_legend().get_texts()] == [
        "estimate",
        "90 % interval (basic)",
    ]
    assert len(boot.plot(["x", "Intercept"])) == 2
    holes = replace(boot, params=np.where(np.arange(60)[:, None] < 3, np.nan, boot.params))
    assert "3 of 60 replicates are not finite" in holes.plot("x").texts[0].get_text()
    for bad in ("y", [], ["x", "y"]):
        with pytest.raises(ValueError, match="coefficients"):
            boot.plot(bad)
    with pytest.raises(ValueError, match="1 axes for 2"):
        boot.plot(ax=drawn)


# ---- intervals of a fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cluster", *thorough("pairs", "parametric")])
def test_conf_int_by_bootstrap(kind):
    res = fitted("gamma", "x | z")
    kwargs = {"nrep": 60, "rng": 1, "kind": kind}
    if kind == "cluster":
        kwargs["groups"] = "block"
    table = res.conf_int(0.1, method="bootstrap", **kwargs)
    assert table.index.tolist() == res.params.index.tolist()
    assert_array_equal(table, res.bootstrap(**kwargs).conf_int(0.1, "bca"))
    some = res.conf_int(0.1, [1, 3], "bootstrap", **kwargs)
    assert some.equals(table.iloc[[1, 3]])
    assert_array_equal(raw(res).conf_int(0.1, method="bootstrap", **kwargs), table)


def test_conf_int_is_of_999_pairs_of_rows(monkeypatch):
    original, asked = bootstrap.bootstrap, []

    def fewer(res, nrep, kind, *rest):
        asked.append((nrep, kind))
        return original(res, 99, kind, *rest)

    monkeypatch.setattr(bootstrap, "bootstrap", fewer)
    res = fitted("gaussian", "x | z")
    limits = res.conf_int(method="bootstrap", rng=1)
    assert asked == [(999, None)]
    half = stats.norm.isf(0.025) * np.asarray(res.bse)
    assert_allclose(limits, res.conf_int(), atol=half.max())


def test_arguments_of_the_bootstrap_are_for_it_only():
    res = fitted("gaussian", "x | z")
    for method in ("wald", "profile"):
        with pytest.raises(TypeError, match="'nrep' is for method='bootstrap' only"):
            res.conf_int(method=method, nrep=9)
    with pytest.raises(TypeError, match="unexpected keyword"):
        res.conf_int(method="bootstrap", seed=9)


# ---- REML -----------------------------------------------------------------------------------------


def test_studentized_bootstrap_after_reml():
    """Estimates and standard errors of each refit are those of a fit by REML."""
    res = raw(CASES["gaussian"].formula("x | z").fit(reml=True))
    boot = res.bootstrap(4, rng=1, studentized=True)
    draws = task(res)
    entropy = np.random.default_rng(1).integers(2**32, size=4).tolist()
    for i in range(4):
        _, core, _ = draws.drawn(generator(entropy, i))
        clone = res.model.clone(rows=np.arange(len(core.y)))
        clone.core = core
        again = clone.fit(reml=True)
        assert_allclose(boot.params[i], again.params, rtol=1e-4, atol=1e-5)
        assert_allclose(boot.params_bse[i], again.bse, rtol=1e-4)
    assert np.isfinite(boot.conf_int(method="studentized")).all()


# ---- likelihood ratios ---------------------------------------------------------------------------


def ratio(name="gaussian", right="x | z", **kwargs):
    """Return the comparison of a fit with its null, and both fits."""
    res = raw(fitted(name, right))
    null = raw(fitted(name, right.split("|")[0] + "| 1"))
    pair = record.fitted_of(null), record.fitted_of(res)
    return bootstrap_test.bootstrap_ratio(*pair, **kwargs), (null, res)


def noise():
    """Return a fit whose dispersion has a term that means nothing."""
    return raw(CASES["gaussian"].formula("x | w", simulated(60)).fit())


def test_ratio_counts_as_it_says():
    p, found = ratio(nrep=60, rng=1)[:1][0]
    assert p == found.pvalue == (1 + found.exceeded) / 61
    assert found.exceeded == (found.ratios >= found.statistic).sum()
    q = (1 + found.exceeded) / 62
    assert found.mc_error == pytest.approx(np.sqrt(q * (1 - q) / 60))
    assert (found.nrep, found.failed, found.stopped) == (60, 0, False)


def test_ratios_are_those_of_two_fits():
    (_, found), (null, res) = ratio(nrep=3, rng=4)
    entropy = np.random.default_rng(4).integers(2**32, size=4).tolist()
    for i in range(3):
        y = null.get_distribution().rvs(random_state=generator(entropy, i))
        llf = [r.model.clone(endog=y).fit().llf for r in (res, null)]
        assert found.ratios[i] == pytest.approx(2 * (llf[0] - llf[1]), abs=4 * LLF)


@pytest.mark.thorough
def test_ratios_have_the_distribution_of_chi_square():
    res = noise()
    null = raw(CASES["gaussian"].formula("x | 1", simulated(60)).fit())
    _, found = bootstrap_test.bootstrap_ratio(record.fitted_of(null), record.fitted_of(res), 300, 1)
    assert stats.kstest(found.ratios, stats.chi2(1).cdf).pvalue > 1e-3
    p = res.compare_constant_dispersion(test="bootstrap", nrep=300, rng=1)
    assert p.pvalue == found.pvalue
    # 4 standard errors, and the chi-square is an approximation
    assert p.pvalue == pytest.approx(res.compare_constant_dispersion().pvalue, abs=0.12)


@pytest.mark.parametrize("batch_size", [7, *thorough(1, 50)])
def test_sequential_stop_counts_in_the_order_of_the_draws(batch_size):
    res = noise()
    null = raw(CASES["gaussian"].formula("x | 1", simulated(60)).fit())
    pair = record.fitted_of(null), record.fitted_of(res)
    _, full = bootstrap_test.bootstrap_ratio(*pair, 200, 1)
    p, found = bootstrap_test.bootstrap_ratio(
        *pair, 200, 1, sequential=5, run=Run(1, batch_size=batch_size)
    )
    last = np.flatnonzero(full.ratios >= full.statistic)[4] + 1
    assert last < 100
    assert (found.nrep, found.exceeded, found.stopped) == (last, 5, True)
    assert p == 5 / last
    q = 6 / (last + 2)
    assert found.mc_error == pytest.approx(q * np.sqrt((1 - q) / 5))
    assert_array_equal(found.ratios, full.ratios[:last])
    p, found = bootstrap_test.bootstrap_ratio(*pair, 200, 1, sequential=10**6)
    assert (p, found.stopped) == (full.pvalue, False)


def test_failed_refits_of_a_ratio_are_counted(monkeypatch):
    original = refit_module.refit

    def sometimes(of, core, warm=True):
        if core.y[0] > np.median(CASES["gaussian"].endog(simulated())):
            raise ValueError("no luck: at all")
        return original(of, core, warm)

    monkeypatch.setattr(refit_module, "refit", sometimes)
    res = raw(fitted("gaussian", "x | z"))
    with pytest.warns(BootstrapFailureWarning, match="of 40 bootstrap refits failed"):
        test = res.compare_constant_dispersion(test="bootstrap", nrep=40, rng=1)
    assert 0 < test.failed < 40
    assert test.reasons == {"ValueError: no luck: at all": test.failed}
    assert f"{test.failed} refits failed and are left out" in " ".join(str(test).split())
    assert f"{40 - test.failed} draws from constant dispersion" in test.method
    hits = round(test.pvalue * (41 - test.failed))
    assert test.pvalue == hits / (41 - test.failed)


def test_larger_model_below_the_smaller_one_is_refitted(monkeypatch):
    original, colds = refit_module.refit, []

    def low(of, core, warm=True):
        found = original(of, core, warm)
        colds.append(not warm)
        worse = warm and len(of.names) == 4 and len(colds) % 4 == 1
        return replace(found, llf=found.llf - 100) if worse else found

    plain = ratio(nrep=4, rng=1)[0][1].ratios
    monkeypatch.setattr(refit_module, "refit", low)
    assert_allclose(ratio(nrep=4, rng=1)[0][1].ratios, plain, atol=4 * LLF)
    assert any(colds)
    monkeypatch.setattr(
        refit_module,
        "refit",
        lambda of, core, warm=True: replace(original(of, core, warm), llf=-float(len(of.names))),
    )
    with pytest.raises(
        ValueError, match=r"every bootstrap refit failed.*smaller maximum than its submodel"
    ):
        ratio(nrep=4, rng=1)


def test_comparison_prints_its_monte_carlo_error():
    test = fitted("beta-binomial", "x | z").compare_constant_dispersion(
        test="bootstrap", nrep=39, rng=1
    )
    assert f"P = {test.pvalue:.3g} +/- {test.mc_error:.2g}" in " ".join(str(test).split())
    assert "(parametric bootstrap, 39 draws from constant dispersion)" in " ".join(
        str(test).split()
    )
    stopped = noise().compare_constant_dispersion(test="bootstrap", nrep=99, rng=1, sequential=3)
    assert "stopped at 3 exceedances" in str(stopped)
    assert "+/-" not in str(noise().compare_constant_dispersion())


# ---- bad input -----------------------------------------------------------------------------------

GAUSS = fitted("gaussian", "x | z")
BAD = {
    "test": (lambda: GAUSS.compare_constant_dispersion(test="wald"), "test='wald': choose 'lr'"),
    "nrep": (lambda: GAUSS.compare_constant_dispersion(nrep=0), "nrep=0: must be a whole number"),
    "sequential": (
        lambda: GAUSS.compare_constant_dispersion(test="bootstrap", sequential=0),
        "sequential=0: must be a whole number",
    ),
    "rng": (
        lambda: GAUSS.compare_constant_dispersion(test="bootstrap", rng="1"),
        "^rng: .*not str",
    ),
    "rng float": (lambda: GAUSS.bootstrap(2, rng=1.5), "^rng: .*not float"),
    "jobs": (lambda: GAUSS.bootstrap(2, n_jobs=0), "n_jobs=0: give a number of jobs"),
    "jobs fraction": (lambda: GAUSS.bootstrap(2, n_jobs=1.5), "n_jobs=1.5"),
    "jobs truth": (lambda: GAUSS.bootstrap(2, n_jobs=True), "n_jobs=True"),
    "progress": (lambda: GAUSS.bootstrap(2, progress="yes"), "progress='yes'"),
    "batch": (lambda: GAUSS.bootstrap(2, batch_size=0), "batch_size=0"),
    "method": (lambda: GAUSS.bootstrap(2, rng=1).conf_int(method="t"), "method='t': choose one of"),
    "alpha": (lambda: GAUSS.bootstrap(2, rng=1).conf_int(2.0), "alpha=2.0"),
    "studentized": (
        lambda: GAUSS.bootstrap(2, rng=1).conf_int(method="studentized"),
        r"bootstrap\(\.\.\., studentized=True\)",
    ),
    "clustered errors": (
        lambda: (
            CASES["gaussian"]
            .formula("x | z")
            .fit(cov_type="cluster", cov_kwds={"groups": "block"})
            .bootstrap(2, "pairs", studentized=True)
        ),
        "cov_type='cluster' cannot be computed from a resample of kind='pairs'",
    ),
    "below": (
        lambda: bootstrap_test.bootstrap_ratio(
            *(record.fitted_of(raw(fitted("gaussian", r))) for r in ("x | z", "x | 1"))
        ),
        "the larger model has a smaller maximum than its submodel",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_fit_without_its_rows_is_refused():
    res = CASES["gaussian"].formula("x | z").fit()
    res.remove_data()
    for call in (
        lambda: res.bootstrap(2),
        lambda: res.conf_int(method="bootstrap"),
        lambda: res.conf_int(method="profile"),
        lambda: res.profile("x"),
        lambda: res.compare_constant_dispersion(test="bootstrap", nrep=2),
        lambda: het.anova(res),
        lambda: het.anova(res, typ=2),
        lambda: het.anova(res, res),
    ):
        with pytest.raises(ValueError, match="the data were removed"):
            call()


def test_quasi_likelihood_has_no_parametric_comparison():
    with pytest.raises(NotImplementedError, match="not a distribution"):
        fitted("poisson", "x | z").compare_constant_dispersion(test="bootstrap", nrep=5)


# ---- groups of the fit ---------------------------------------------------------------------------


def clustered(groups, **cov_kwds):
    model = CASES["gaussian"].formula("x | z")
    return model.fit(cov_type="cluster", cov_kwds={"groups": groups, **cov_kwds})


def test_a_clustered_fit_is_resampled_by_its_groups():
    res, plain = clustered("block"), fitted("gaussian", "x | z")
    groups = res.bootstrap(8, "cluster", groups="block", rng=1)
    for given in ({}, {"kind": "cluster"}):
        boot = res.bootstrap(8, rng=1, **given)
        assert boot.kind == "cluster"
        assert_array_equal(boot.params, groups.params)
    assert_array_equal(
        res.conf_int(method="bootstrap", nrep=8, rng=1), groups.conf_int(method="bca")
    )
    assert_array_equal(res.bootstrap(8, "pairs", rng=1).params, plain.bootstrap(8, rng=1).params)
    assert plain.bootstrap(2, rng=1).kind == "pairs"


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.IndefiniteCovarianceWarning")
def test_a_fit_with_two_kinds_of_groups_says_what_to_draw():
    res = clustered(["block", "site"])
    for call in (res.bootstrap, lambda n: res.conf_int(method="bootstrap", nrep=n)):
        with pytest.raises(
            ValueError, match=r"^groups: .*two-way clusters.*pass groups=.*kind='pairs'"
        ):
            call(2)
    assert res.bootstrap(2, groups="site", rng=1).kind == "cluster"


def test_studentized_refits_have_the_scale_of_the_fit():
    plain, scaled = (
        clustered("block", **kwds).bootstrap(3, rng=1, studentized=True)
        for kwds in ({}, {"scaling_factor": 4.0})
    )
    assert_allclose(scaled.params_bse, 2 * plain.params_bse)
    assert_allclose(scaled.bse, 2 * plain.bse)


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.IndefiniteCovarianceWarning")
@pytest.mark.parametrize("groups", ["site", ["block", "site"]])
def test_studentized_refits_have_the_groups_of_the_fit(groups):
    with pytest.raises(ValueError, match=r"^studentized=True: .*not clustered by the groups"):
        clustered(groups).bootstrap(2, groups="block", studentized=True)
    # the same groups under other labels
    clustered("block").bootstrap(2, groups=-(simulated()["block"] % 20), studentized=True, rng=1)


@pytest.mark.parametrize("sequential", [None, 2])
def test_a_p_of_one_has_an_error(sequential):
    """Two draws of two say little: those of p = 1/2 do so every fourth time."""
    found = bootstrap_test.exceedances(
        lambda rng: np.ones(1), 0.5, 2, 1, sequential, Run(), "", "a constant"
    )
    assert (found.pvalue, len(found.ratios)) == (1, 2)
    assert 0.2 < found.mc_error < 0.5
