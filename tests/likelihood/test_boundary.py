"""Rows at sigma = 0: the supremum of the likelihood as a result."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path

import corpus
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import optimize, stats

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation import dispersion_boundary
from hetglm.exceptions import (
    AliasedColumnWarning,
    BoundaryWarning,
    SeparationWarning,
    SeveralMaximaWarning,
)
from hetglm.likelihood import boundary

REFERENCE = Path(__file__).parents[1] / "reference"
CERTIFIED = json.loads((REFERENCE / "certified_betabinomial_maxima.json").read_text())["fits"]
#: The certified maxima are exact sums to about 1e-12; so is ours.
LLF = 1e-10
#: Coefficients at a maximum flat to 1e-13 in the log-likelihood are good to its square root.
COEFFICIENT = 1e-6
#: Same numbers from another parametrisation of one maximum.
SAME = 1e-6


def load(name):
    if name == "cbpp":
        return pd.read_csv(REFERENCE / "data" / "cbpp.csv")
    return {"lirat": het.datasets.load_lirat, "germination": het.datasets.load_germination}[name]()


def fit(formula, data, **kwargs):
    with pytest.warns(BoundaryWarning):
        return hmf.betabinomial(formula, data, **kwargs).fit()


@pytest.fixture(scope="module")
def mixed():
    """Cell a binomial and balanced (less variable than binomial), b and c overdispersed."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(list("abc"), 12), "n": 20, "x": rng.normal(size=36)})
    y = rng.binomial(20, rng.beta(1.5, 3, 36))
    data["y"] = np.where(data.g == "a", np.tile([6, 7], 18), y)
    return data


@pytest.mark.parametrize("name", ["lirat_grp", "lirat_grp_hb", "cbpp_period"])
def test_certified_maxima(name):
    case = CERTIFIED[name]
    data = load(case["data"])
    res = fit(f"{case['mean']} | {case['dispersion'].lstrip('~ ')}", data)
    assert res.converged
    assert res.llf == pytest.approx(case["llf"], abs=LLF)
    assert_allclose(res.params_mean, list(case["mu"].values()), atol=COEFFICIENT)
    factor = case["dispersion"].split("(")[1].rstrip(")")
    cells = data.assign(sigma=np.asarray(res.fitted_dispersion)).groupby(factor).sigma.first()
    certified = np.array(list(case["sigma_by_cell"].values()))
    assert_allclose(cells, certified, rtol=1e-5)
    assert np.array_equal(cells == 0, certified == 0)
    lost = np.isnan(res.params)
    assert lost.sum() == 1
    assert res.boundary.terms == list(res.params.index[lost])
    assert np.array_equal(np.isnan(res.bse), lost)
    assert np.isnan(np.asarray(res.conf_int())[lost.to_numpy()]).all()
    # k counts every column: AIC does not reward the boundary
    assert res.aic == pytest.approx(-2 * res.llf + 2 * len(res.params))
    assert res.df_resid == len(data) - len(res.params)


def test_other_rows_are_an_ordinary_fit(mixed):
    """Without a common mean the cells are apart: b and c as if fitted alone, a as the binomial."""
    res = fit("y + I(n - y) ~ 0 + g | 0 + g", mixed)
    alone = hmf.betabinomial("y + I(n - y) ~ 0 + g | 0 + g", mixed[mixed.g != "a"]).fit()
    both = ["g[b]", "g[c]", "dispersion-g[b]", "dispersion-g[c]"]
    assert_allclose(res.params[both], alone.params[both], rtol=SAME)
    assert_allclose(res.bse[both], alone.bse[both], rtol=SAME)
    a = mixed[mixed.g == "a"]
    binomial = sm.GLM(np.column_stack([a.y, a.n - a.y]), np.ones(12), sm.families.Binomial()).fit()
    assert res.llf == pytest.approx(alone.llf + binomial.llf, abs=1e-8)
    assert res.params["g[a]"] == pytest.approx(binomial.params[0], rel=SAME)
    assert res.bse["g[a]"] == pytest.approx(binomial.bse[0], rel=SAME)


def test_reference_level_at_the_boundary_takes_its_differences_with_it(mixed):
    treatment = fit("y + I(n - y) ~ 1 | g", mixed)
    cells = fit("y + I(n - y) ~ 1 | 0 + g", mixed)
    assert treatment.llf == pytest.approx(cells.llf, abs=1e-9)
    assert treatment.boundary.terms == [
        f"dispersion-{n}" for n in ("Intercept", "g[T.b]", "g[T.c]")
    ]
    assert cells.boundary.terms == ["dispersion-g[a]"]
    one_each = mixed.iloc[[0, 12, 24]]
    for which in ("dispersion", "var", "icc", "mean"):
        first, second = (
            r.get_prediction(one_each, which=which).summary_frame() for r in (treatment, cells)
        )
        assert_allclose(first, second, rtol=SAME, equal_nan=True)
    assert treatment.predict(one_each, which="dispersion").iloc[0] == 0


def test_variance_and_distribution_there_are_the_binomial_ones(mixed):
    res = fit("y + I(n - y) ~ g | g", mixed)
    rows = (mixed.g == "a").to_numpy()
    mu = res.fittedvalues[rows]
    assert_allclose(res.predict(which="var")[rows], 20 * mu * (1 - mu))
    assert np.all(res.predict(which="linear-dispersion")[rows] == -np.inf)
    assert_allclose(res.predict(which="prob", y_values=[7])[rows][7], stats.binom.pmf(7, 20, mu))
    assert res.simulate(3, rng=1).shape == (3, 36)
    frame = res.get_prediction(which="dispersion").summary_frame()
    assert (frame.predicted[rows] == 0).all()
    assert frame[rows][["se", "ci_lower", "ci_upper"]].isna().all(axis=None)
    assert frame[~rows].notna().all(axis=None)


def test_a_continuous_term_can_be_finite_beside_a_boundary_cell(mixed):
    res = fit("y + I(n - y) ~ 1 | 0 + g + x", mixed)
    assert np.isfinite(res.params["dispersion-x"])
    assert res.boundary.terms == ["dispersion-g[a]"]
    # what the data say nothing of is NaN: a row of cell a on the other side cannot be placed
    new = mixed.iloc[[0, 12]].assign(x=50.0)
    assert res.predict(new, which="dispersion").iloc[0] == 0
    assert np.isfinite(res.predict(new, which="dispersion").iloc[1])


def test_the_supremum_beats_every_interior_point(mixed):
    model = hmf.betabinomial("y + I(n - y) ~ x | g", mixed)
    with pytest.warns(BoundaryWarning):
        res = model.fit()
    rng = np.random.default_rng(2)
    for _ in range(5):
        start = rng.normal([0, 0, -3, 0, 0], 1)
        found = optimize.minimize(
            lambda p: -model.loglike(p), start, jac=lambda p: -model.score(p), method="BFGS"
        )
        assert -found.fun <= res.llf + 1e-9


def test_all_rows_at_the_boundary_is_the_binomial_model(mixed):
    data = mixed.assign(y=np.tile([6, 7], 18))
    res = fit("y + I(n - y) ~ x", data)
    endog = np.column_stack([data.y, data.n - data.y])
    binomial = sm.GLM(endog, sm.add_constant(data.x), sm.families.Binomial()).fit()
    assert res.llf == pytest.approx(binomial.llf, abs=1e-9)
    assert_allclose(res.params_mean, binomial.params, rtol=SAME)
    assert_allclose(res.bse[:2], binomial.bse, rtol=SAME)
    assert res.boundary.rows.all()


def test_limit_is_where_the_profile_has_fallen(mixed):
    res = fit("y + I(n - y) ~ 1 | g", mixed)
    limits = res.boundary_limits()
    assert limits.index.tolist() == ["Intercept"]
    assert limits.loc["Intercept", "rows"] == 12
    upper = limits.loc["Intercept", "upper"]
    # the same by brute force: sigma of cell a fixed, the rest by another optimiser
    family = res.model.core.family

    def loglike(p):
        sigma = np.select([mixed.g == "a", mixed.g == "b"], [upper, np.exp(p[1])], np.exp(p[2]))
        mu = 1 / (1 + np.exp(-p[0]))
        rows = family.prepare(mixed.y.to_numpy(float), mixed.n.to_numpy(float))
        return family.evaluate(rows, np.full(36, mu), np.full(36, 1 - mu), sigma, 0).loglike.sum()

    best = optimize.minimize(lambda p: -loglike(p), [-0.7, -1, -1], method="Nelder-Mead", tol=1e-10)
    assert 2 * (res.llf + best.fun) == pytest.approx(stats.chi2.isf(0.05, 1), abs=1e-5)
    assert res.boundary_limits(alpha=0.5).upper.iloc[0] < upper
    text = " ".join(res.summary().as_text().split())
    assert "At the binomial boundary: Intercept (12 rows): sigma = 0" in text
    assert f"95 % profile interval up to {upper:.4g}" in text
    with pytest.raises(ValueError, match="no cell"):
        hmf.betabinomial("y + I(n - y) ~ 1", mixed).fit().boundary_limits()


def test_ratio_with_an_interior_null_keeps_chi_square_and_its_full_df(mixed):
    res = fit("y + I(n - y) ~ 1 | g", mixed)
    test = res.compare_constant_dispersion()
    constant = hmf.betabinomial("y + I(n - y) ~ 1", mixed).fit()
    assert test.statistic == pytest.approx(2 * (res.llf - constant.llf), abs=1e-8)
    assert (test.df, test.method) == (2, "chi-square")
    assert test.pvalue == pytest.approx(stats.chi2.sf(test.statistic, 2))


@pytest.mark.thorough
def test_ratio_with_a_null_at_the_boundary_is_bootstrapped_and_says_so(mixed):
    y = np.r_[np.tile([6, 7], 12), [3, 10] * 6]  # c a little overdispersed, all together not
    data = mixed.assign(y=y)
    res = fit("y + I(n - y) ~ 1 | g", data)
    test = res.compare_constant_dispersion(nrep=39, rng=1)
    assert "parametric bootstrap, 39 draws" in test.method
    assert test.pvalue * 40 == pytest.approx(round(test.pvalue * 40))
    assert 0 < test.pvalue < 1
    assert test == res.compare_constant_dispersion(nrep=39, rng=1)
    assert test.method in " ".join(str(test).split())
    assert "use compare_constant_dispersion" in " ".join(res.summary().as_text().split())


def test_tests_skip_or_refuse_what_is_at_the_boundary(mixed):
    res = fit("y + I(n - y) ~ x | 0 + g", mixed)
    assert np.isfinite(res.t_test("dispersion-g[b] = dispersion-g[c]").pvalue)
    assert "dispersion-g" in res.wald_test_terms().table.index
    with pytest.raises(ValueError, match=r"dispersion-g\[a\]: aliased or at the boundary"):
        res.t_test("dispersion-g[a] = 0")


def test_pickles_bootstraps_and_predicts_without_data(mixed):
    res = fit("y + I(n - y) ~ x | g", mixed)
    boot = res.bootstrap(5, kind="parametric", rng=1)
    assert boot.params.shape == (5, 5)
    again = pickle.loads(pickle.dumps(res))
    again.remove_data()
    again = pickle.loads(pickle.dumps(again))
    new = mixed.iloc[[0, 12]]
    assert_allclose(again.predict(new, which="var"), res.predict(new, which="var"))


def test_robust_covariance_leaves_the_boundary_out(mixed):
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("y + I(n - y) ~ x | 0 + g", mixed).fit(
            cov_type="cluster", cov_kwds={"groups": "n"} | {"groups": np.arange(36) // 3}
        )
    assert np.array_equal(np.isnan(res.bse), np.isnan(res.params))


def test_recession_finds_every_row_that_can_go():
    Z = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])
    rows, directions, direction = boundary.recession(Z, np.array([0, -1.0, 0, -1]))
    assert rows.tolist() == [False, True, False, True]
    assert np.array_equal(directions[:, 0] != 0, [False, True, False])
    assert_allclose((Z @ direction)[[0, 2]], 0, atol=1e-12)
    assert max((Z @ direction)[[1, 3]]) <= -1
    # rows 0 and 3 alone cannot: what takes them down takes row 1 or 2 up
    signs = np.array([-1.0, 0, 0, -1])
    assert not boundary.recession(Z, signs)[0].any()
    assert boundary.recession(Z, np.array([-1.0, 1, -1, -1]))[0].all()
    assert not boundary.recession(Z, np.array([-1.0, 1, 1, 0]))[0].any()
    # ... unless these rows do not matter
    alone = np.array([False, True, True, False])
    assert boundary.recession(Z, signs, alone)[0].tolist() == [True, False, False, True]
    assert boundary.recession(Z, -np.ones(4), alone)[0].tolist() == [True, False, False, True]
    rows, directions, _ = boundary.recession(Z, -np.ones(4))
    assert rows.all()
    assert directions.shape == (3, 3)
    assert not boundary.recession(Z, np.zeros(4))[0].any()


def test_repeated_rows_go_as_their_distinct_ones(monkeypatch):
    # rows are looked at once however often they are repeated, if all that is said of them is equal
    seen, plain = [], boundary.null_space

    def null_space(Z, rows):
        seen.append(len(Z))
        return plain(Z, rows)

    monkeypatch.setattr(boundary, "null_space", null_space)
    Z = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1], [1, 1, 1]])
    signs = np.array([0, -1.0, 0, -1, 0])
    alone = np.array([False, False, False, False, True])
    of_row = np.random.default_rng(1).integers(0, 5, 2000)
    for free in (alone, np.zeros(5, bool)):
        few, basis, way = boundary.recession(Z, signs, free)
        assert few.any() == free.any()  # row 4 keeps row 3, and so row 1, from falling
        rows, directions, direction = boundary.recession(Z[of_row], signs[of_row], free[of_row])
        assert np.array_equal(rows, few[of_row])
        assert_allclose(directions, basis, atol=1e-12)
        assert_allclose(Z[~free] @ direction, Z[~free] @ way, atol=1e-9)
    assert max(seen) == 5


def test_rows_that_can_fall_are_those_a_linear_programme_finds():
    """As many rows as can go: maximise sum t subject to Zc + t <= 0, 0 <= t <= 1, row by row."""
    rng = np.random.default_rng(3)
    moved = 0
    for _ in range(60):
        n, q = int(rng.integers(4, 30)), int(rng.integers(2, 6))
        Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
        Z[:, 1] = rng.random(n) < 0.3
        if np.linalg.matrix_rank(Z) < q:
            continue
        signs = np.where(Z @ rng.normal(size=q) < 0, -1.0, rng.choice([0.0, 1.0, -1.0], n))
        t = np.diag(signs != 0).astype(float)
        lp = optimize.linprog(
            np.r_[np.zeros(q), -np.ones(n)],
            A_ub=np.block([[-Z * signs[:, None], t], [Z, 0 * t], [-Z, 0 * t]]),
            b_ub=np.r_[np.zeros(n), np.where(signs == 0, 0, 1e6), np.where(signs == 0, 0, 1e6)],
            bounds=[(None, None)] * q + [(0, float(s != 0)) for s in signs],
        )
        want = lp.x[q:] > 0.5
        rows, _, direction = boundary.recession(Z, signs)
        assert np.array_equal(rows, want)
        assert np.all((Z @ direction * signs)[rows] > 1 - 1e-9)
        assert_allclose((Z @ direction)[~rows], 0, atol=1e-6)
        moved += rows.any()
    assert moved > 15


# The other end, separated rows, several maxima -----------------------------------------------------


@pytest.fixture(scope="module")
def all_or_nothing(mixed):
    """Cell a all or nothing, b and c overdispersed."""
    return mixed.assign(y=np.where(mixed.g == "a", np.tile([0, 20, 20], 12), mixed.y))


def test_rows_that_are_all_or_nothing_have_infinite_dispersion(all_or_nothing):
    with pytest.warns(
        BoundaryWarning, match=r"dispersion is infinite in rows 0, 1, .* \(12 in all\)"
    ):
        res = hmf.betabinomial("y + I(n - y) ~ 0 + g | g", all_or_nothing).fit()
    # the cell is one Bernoulli trial a row, eight successes of twelve
    alone = hmf.betabinomial("y + I(n - y) ~ 0 + g | 0 + g", all_or_nothing.iloc[12:]).fit()
    bernoulli = 8 * np.log(8 / 12) + 4 * np.log(4 / 12)
    assert res.converged
    assert res.llf == pytest.approx(alone.llf + bernoulli, abs=1e-8)
    assert res.params["g[a]"] == pytest.approx(np.log(2), rel=SAME)
    assert np.isnan(res.params["dispersion-Intercept"])
    rows = (all_or_nothing.g == "a").to_numpy()
    assert np.array_equal(res.boundary.infinite, rows)
    assert not res.boundary.rows.any()
    assert np.all(res.predict(which="icc")[rows] == 1)
    assert np.all(np.isinf(res.predict(all_or_nothing.iloc[:2], which="dispersion")))
    assert_allclose(res.predict(which="var")[rows], 400 * 2 / 9)
    assert set(np.unique(res.simulate(5, rng=1)[:, rows])) == {0.0, 20.0}
    assert "all or nothing" in " ".join(str(res.summary()).split())
    table = res.get_prediction(which="dispersion").summary_frame()
    assert table[rows][["se", "ci_lower", "ci_upper"]].isna().all(axis=None)


def test_a_slope_takes_rows_to_both_ends():
    rng = np.random.default_rng(5)
    z = np.repeat([-1.0, 0.0, 1.0], 20)
    calm, wild = np.tile([4, 5, 6, 5], 5), np.where(rng.random(20) < 0.5, 0, 10)
    y = np.r_[calm, rng.binomial(10, rng.beta(2, 2, 20)), wild]
    data = pd.DataFrame({"y": y, "n": 10, "z": z})
    with pytest.warns(BoundaryWarning) as caught:
        res = hmf.betabinomial("y + I(n - y) ~ 1 | z", data).fit()
    assert len(caught) == 2
    assert np.array_equal(res.boundary.rows, z < 0)
    assert np.array_equal(res.boundary.infinite, z > 0)
    assert res.boundary.terms == ["dispersion-z"]
    assert np.isfinite(res.params["dispersion-Intercept"])
    new = res.predict(pd.DataFrame({"z": [-2.0, 0.0, 0.5]}), which="icc")
    assert new[0] == 0
    assert 0 < new[1] < 1
    assert new[2] == 1
    # nothing inside is higher
    model = hmf.betabinomial("y + I(n - y) ~ 1 | z", data)
    for slope in (1.0, 5.0, 25.0):
        near = [res.params.iloc[0], res.params.iloc[1], slope]
        assert model.loglike(near) < res.llf


def test_dispersion_of_a_separated_cell_has_no_estimate(mixed):
    data = mixed.assign(y=np.where(mixed.g == "a", 0, mixed.y))
    said = r"g\[a\].*, but dispersion-g\[a\] cannot be estimated from the other rows"
    with pytest.warns(SeparationWarning, match=said):
        res = hmf.betabinomial("y + I(n - y) ~ 0 + g | 0 + g", data).fit()
    rest = hmf.betabinomial("y + I(n - y) ~ 0 + g | 0 + g", data.iloc[12:]).fit()
    assert res.converged
    assert res.llf == pytest.approx(rest.llf, abs=1e-7)
    assert np.isnan(res.params["dispersion-g[a]"])
    others = ["g[b]", "g[c]", "dispersion-g[b]", "dispersion-g[c]"]
    assert_allclose(res.params[others], rest.params[others], rtol=SAME)
    assert_allclose(res.bse[others], rest.bse[others], rtol=1e-5)
    assert res.fittedvalues[:12].max() < 1e-10
    with pytest.warns(SeparationWarning, match="but dispersion-Intercept cannot be estimated"):
        nothing = hmf.betabinomial("y + I(n - y) ~ x", data.assign(y=0)).fit()
    assert nothing.llf == pytest.approx(0, abs=1e-6)
    assert np.isnan(nothing.params["dispersion-Intercept"])


def test_rows_of_one_trial_leave_a_dispersion_aliased(mixed):
    data = mixed.assign(n=np.where(mixed.g == "b", 1, mixed.n))
    data["y"] = np.minimum(data.y, data.n)
    with pytest.warns(AliasedColumnWarning, match=r"dispersion-g\[b\] \(.*rows of one trial"):
        res = hmf.betabinomial("y + I(n - y) ~ 0 + g | 0 + g", data.iloc[12:]).fit()
    alone = hmf.betabinomial("y + I(n - y) ~ 1", data.iloc[24:]).fit()
    assert np.isnan(res.params["dispersion-g[b]"])
    assert res.params["dispersion-g[c]"] == pytest.approx(alone.params.iloc[1], rel=SAME)


def test_several_maxima_are_said():
    """The best of them needs one row alone to be overdispersed."""
    known = corpus.problem(79)
    endog = np.column_stack([known.y, known.n - known.y])
    model = het.BetaBinomial(endog, known.X, known.Z)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        res = model.fit()
    assert res.llf == pytest.approx(-139.2852380947, abs=1e-8)
    assert any(w.category is SeveralMaximaWarning for w in caught)
    assert "next is at -142.1854" in " ".join(res.notes)


def test_rows_fixed_at_the_boundary_do_not_change_the_others():
    """The interior rows keep their dispersion in the coefficients that they still determine."""
    known = corpus.problem(123)
    model = het.BetaBinomial(np.column_stack([known.y, known.n - known.y]), known.X, known.Z).core
    limits = np.full(model.n, -np.inf)
    limits[:5] = np.nan
    estimated = model.estimable()
    params = np.where(estimated, np.linspace(0.1, 0.5, len(estimated)), 0.0)
    params[model.k_mean :] /= np.abs(model.Z).max(axis=0)
    kept = dispersion_boundary.in_determined(model, limits, params, estimated)
    before, after = (model.dispersion_predictor(p[model.k_mean :])[:5] for p in (params, kept))
    assert_allclose(after, before, rtol=1e-9)
    # two rows need two coefficients of the dispersion at most
    limits[2:] = -np.inf
    kept = dispersion_boundary.in_determined(model, limits, params, estimated)
    assert np.count_nonzero(kept[model.k_mean :]) <= 2
    after = model.dispersion_predictor(kept[model.k_mean :])[:2]
    assert_allclose(after, before[:2], rtol=1e-9)


def test_few_distinct_rows_give_the_same_numbers():
    rng = np.random.default_rng(1)
    rows = 6000
    g, n = rng.integers(0, 3, rows), rng.integers(3, 8, rows)
    X = np.column_stack([np.ones(rows), g == 1, g == 2]).astype(float)
    y = rng.binomial(n, rng.beta(2, 3, rows))
    y[g == 2] = n[g == 2] // 2  # a cell at the boundary
    model = het.BetaBinomial(y, X, X, n_trials=n, freq_weights=rng.integers(1, 3, rows))
    distinct, of_row = model.core.distinct()
    assert distinct.n < 100
    assert distinct.freq.sum() == model.core.freq.sum()
    assert np.array_equal(distinct.y[of_row], model.core.y)
    params = np.array([0.1, 0.2, -0.3, -1.0, 0.2, 0.1])
    assert distinct.loglike(params) == pytest.approx(model.core.loglike(params), rel=1e-13)
    with pytest.warns(BoundaryWarning, match=f"{(g == 2).sum()} in all"):
        res = model.fit()
    assert np.array_equal(res.boundary.rows, g == 2)
    shuffled = rng.permutation(rows)
    with pytest.warns(BoundaryWarning):
        again = model.clone(rows=shuffled).fit()
    assert_allclose(again.params, res.params, rtol=1e-9)
    assert model.clone(rows=np.arange(500)).core.distinct()[1] is None


def test_the_boundary_of_a_long_design_is_that_of_its_rows():
    # merged into their distinct ones once, the rows are mapped back to those of the data
    data = pd.DataFrame({"K": [5] * 1500 + [2, 9] * 750, "N": 10, "g": np.repeat([0, 1], 1500)})
    with pytest.warns(BoundaryWarning):
        res = hmf.betabinomial("K + I(N - K) ~ g | g", data).fit()
    assert np.array_equal(res.boundary.rows, data["g"] == 0)
    assert np.array_equal(res.fitted_dispersion == 0, data["g"] == 0)


#: Cells of successes and trials with two maxima, one of them at sigma = 0.
TWO_MAXIMA = [
    ([7, 22, 2], [7, 29, 5]),
    ([17, 18, 10], [20, 18, 14]),
    ([7, 10, 0, 25], [7, 10, 1, 26]),
    ([3, 0, 1], [30, 15, 1]),
    ([2, 0, 2], [3, 5, 11]),
    ([6, 13, 1], [6, 19, 1]),
    ([8, 5, 0, 16], [8, 7, 2, 20]),
    ([18, 0, 5, 9], [30, 6, 9, 18]),
]


def brute_supremum(y, n):
    """Return the supremum of a cell with its own mean and dispersion, by searches from a grid."""
    y, n = np.array(y, dtype=float), np.array(n, dtype=float)
    family = het.BetaBinomial(y, np.ones((len(y), 1)), n_trials=n).core.family
    rows = family.prepare(y, n)

    def minus(eta, log_sigma=-np.inf):
        mu, sigma = np.full(len(y), 1 / (1 + np.exp(-eta))), np.full(len(y), np.exp(log_sigma))
        return -family.evaluate(rows, mu, 1 - mu, sigma, 0).loglike.sum()

    best = optimize.minimize_scalar(
        minus, bounds=(-8, 8), method="bounded", options={"xatol": 1e-9}
    )
    values = [best.fun]
    for log_sigma in (-2.5, 1.0):
        found = optimize.minimize(lambda p: minus(*p), [best.x, log_sigma], options={"gtol": 1e-6})
        values.append(found.fun)
    return -min(values)


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::hetglm.exceptions.SeveralMaximaWarning")
def test_a_cell_with_two_maxima_is_at_its_supremum():
    suprema = [brute_supremum(*cell) for cell in TWO_MAXIMA]
    pairs = [(0, 1), (2, 4), (3, 5), (6, 7, 5), *((i,) for i in range(len(TWO_MAXIMA)))]
    for some in pairs:
        y, n = (np.concatenate([TWO_MAXIMA[i][part] for i in some]) for part in (0, 1))
        g = np.repeat(range(len(some)), [len(TWO_MAXIMA[i][0]) for i in some])
        X = (g[:, None] == np.arange(len(some))).astype(float)
        res = het.BetaBinomial(y, X, X, n_trials=n).fit()
        assert res.llf == pytest.approx(sum(suprema[i] for i in some), abs=1e-8), some
    assert suprema[0] + suprema[1] == pytest.approx(-12.304645, abs=1e-6)


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
def test_many_rows_at_the_boundary_cost_few_evaluations(monkeypatch):
    """Each cell goes to phi = 0 and leaves it by itself: not each row, nor all cells together."""
    rng = np.random.default_rng(0)
    g, x = np.arange(1500) % 6, rng.uniform(-1, 1, 1500)
    y = rng.poisson(np.exp(0.5 + 0.3 * x + 0.1 * g))
    cells = (g[:, None] == np.arange(6)).astype(float)
    X = np.hstack([cells, cells * x[:, None]])
    family = type(het.NegativeBinomial(y, X).core.family)
    calls, evaluate = [], family.evaluate
    monkeypatch.setattr(family, "evaluate", lambda *a: calls.append(1) or evaluate(*a))
    het.NegativeBinomial(y, X).fit()
    constant = len(calls)
    res = het.NegativeBinomial(y, X, cells).fit()
    assert len(calls) - constant <= 3 * constant
    each = [het.NegativeBinomial(y[g == i], X[g == i][:, [i, 6 + i]]).fit() for i in range(6)]
    assert res.llf == pytest.approx(sum(r.llf for r in each), rel=1e-12)
    dispersions = np.concatenate([r.params_dispersion for r in each])
    assert_allclose(res.params_dispersion, dispersions, rtol=1e-6)
    means = np.transpose([r.params_mean for r in each]).ravel()
    assert_allclose(res.params_mean, means, rtol=1e-6)
    assert np.isnan(dispersions).sum() == 4


def crossed(trials, successes, a=(0, 1, 2), b=(0, 1, 2)):
    """Return one row for each cell of two crossed factors."""
    a, b = np.repeat(a, len(b)), np.tile(b, len(a))
    return pd.DataFrame({"a": a, "b": b, "n": trials, "y": successes})


def test_a_factor_of_the_mean_crosses_that_of_the_dispersion():
    # the maxima are those of L-BFGS-B from 24 starts, the boundary in each cell among them
    data = crossed([14, 11, 16, 13, 10, 4, 12, 22, 23], [11, 9, 16, 7, 10, 4, 12, 0, 19])
    with pytest.warns(BoundaryWarning), pytest.warns(SeveralMaximaWarning):
        res = hmf.betabinomial("y ~ C(a) | C(b)", data, n_trials="n").fit()
    assert_allclose(res.llf, -17.398954389, atol=1e-8)
    assert res.boundary.rows.tolist() == [True, False, False] * 3
    data = crossed([28, 24, 30, 25, 23, 15, 19, 26, 18], [3, 6, 21, 6, 2, 0, 12, 15, 16])
    data["x"] = [1.15, 0.39, -0.49, 0.26, -0.13, 0.62, -0.2, 1.04, -0.61]
    with pytest.warns(BoundaryWarning), pytest.warns(SeveralMaximaWarning):
        res = hmf.betabinomial("y ~ C(a) + x | C(b)", data, n_trials="n").fit()
    assert_allclose(res.llf, -18.657876995, atol=1e-8)


def test_separated_rows_beside_rows_at_the_boundary():
    """The fit is that without the separated rows; rows of zero dispersion keep their places."""
    cells = {"K": [0] * 8 + [5] * 8 + [1, 9] * 4, "h": list("ab" * 4 + "a" * 8 + "b" * 8)}
    data = pd.DataFrame({**cells, "g": ["v"] * 8 + ["u"] * 16, "N": 10})
    with pytest.warns(SeparationWarning), pytest.warns(BoundaryWarning, match="rows 8, 9, 10"):
        res = hmf.betabinomial("K + I(N - K) ~ C(g, Treatment('u')) | h", data).fit()
    with pytest.warns(BoundaryWarning):
        rest = hmf.betabinomial("K + I(N - K) ~ 1 | h", data.iloc[8:]).fit()
    assert_allclose(res.llf, rest.llf, atol=1e-8)
    for which in ("mean", "var"):
        ours, theirs = (fit.predict(which=which).iloc[-16:] for fit in (res, rest))
        assert_allclose(ours, theirs, rtol=1e-6)
    assert_allclose(res.bse["Intercept"], rest.bse["Intercept"], rtol=1e-6)
