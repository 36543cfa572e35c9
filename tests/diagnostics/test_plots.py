"""Pictures: what their artists hold, against the numbers they are of."""

import itertools
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose, assert_array_equal
from quick import thorough
from scipy.special import ndtr, ndtri

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm import plots
from hetglm.diagnostics import plots_dispersion, plots_residuals, residuals
from hetglm.exceptions import BoundaryWarning, SeparationWarning
from hetglm.prediction import quantities
from hetglm.utils import axes as axes_module
from hetglm.utils.axes import bins

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

#: The same numbers by another order of additions.
ROUNDING = 1e-10


def points(ax, marker="o"):
    """Return the points drawn with a marker and no line, shape (n, 2)."""
    found = [np.column_stack(line.get_data()) for line in ax.lines if line.get_marker() == marker]
    return np.concatenate(found)


def texts(ax):
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def drawn(ax):
    """Draw the figure, with labels that overlap or leave it as failures; return its renderer."""
    canvas = ax.figure.canvas
    canvas.draw()
    return canvas.get_renderer()


@pytest.fixture(autouse=True)
def _agg(monkeypatch):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    plain = Figure.__init__

    def with_canvas(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        FigureCanvasAgg(self)

    monkeypatch.setattr(Figure, "__init__", with_canvas)


# ---- the page of six ---------------------------------------------------------------------------------


def test_the_page_of_six(res):
    axes = res.plot_diagnostics(rng=3)
    assert axes.shape == (6,)
    exact = res.model.core.family.exact
    kind = "quantile" if exact else "standardized-deviance"
    label = "quantile residual" if exact else "standardised deviance residual"
    r = res.get_resid(kind, rng=3).to_numpy()
    cloud = points(axes[0])
    assert_allclose(cloud, np.column_stack([res.fittedvalues, r]), rtol=ROUNDING)
    assert axes[0].get_ylabel() == label == axes[1].get_ylabel()
    normal = ndtri((np.arange(1, 121) - 0.5) / 120)
    assert_allclose(points(axes[1]), np.column_stack([normal, np.sort(r)]), rtol=1e-8, atol=1e-12)
    assert_allclose(points(axes[2])[:, 1], np.sort(r) - normal, rtol=1e-8, atol=1e-10)
    influence = res.get_influence()
    largest = np.argsort(influence.cooks_distance[0])[::-1][:3]
    h, s = influence.hat_matrix_diag, influence.resid_studentized
    assert_allclose(points(axes[4], "^"), np.column_stack([h, s])[largest], rtol=ROUNDING)
    assert len(points(axes[4])) == 117
    assert axes[4].get_xlabel().endswith(f"(Cook's D: {', '.join(map(str, largest))})")
    assert texts(axes[5]) == sorted(["z", "group"], key=lambda t: -np.std(_part(res, t)))


def _part(res, term):
    columns = res.model.terms[f"dispersion-{term}"]
    k = len(res.params_mean)
    return res.model.exog_dispersion[:, np.array(columns) - k] @ res.params.iloc[columns]


@pytest.mark.parametrize("size", [(6.4, 4.8), (14, 5)])
@pytest.mark.parametrize("name", ["binomial", "nb2"])
def test_labels_of_the_page_fit(name, size):
    figure = Figure(figsize=size, layout="constrained")
    axes = fitted(name).plot_diagnostics(ax=figure.subplots(2, 3))
    renderer = drawn(axes[0])
    frame = figure.bbox
    boxes = []
    for ax in axes:
        for artist in (ax.xaxis.label, ax.yaxis.label):
            box = artist.get_window_extent(renderer)
            assert box.x0 >= -1
            assert box.x1 <= frame.x1 + 1
            assert box.y0 >= -1
            assert box.y1 <= frame.y1 + 1
            boxes.append(box)
    for i, a in enumerate(boxes):
        assert not any(a.overlaps(b) for b in boxes[i + 1 :])


def test_the_band_is_that_of_simulated_samples():
    at = plots_residuals.ordered(np.arange(50.0), np.ones(50))
    samples = np.sort(np.random.default_rng(0).normal(size=(20_000, 50)), axis=1)
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    # quantiles of 20,000 samples; at the ends the density is low
    assert_allclose(at.low[5:-5], low[5:-5], atol=0.02)
    assert_allclose(at.high[5:-5], high[5:-5], atol=0.02)
    inside = (samples > at.low) & (samples < at.high)
    assert_allclose(inside.mean(axis=0), 0.95, atol=0.006)


def test_frequencies_repeat_order_statistics():
    r, freq = np.array([0.3, -1.0, 2.0]), np.array([1.0, 3.0, 1.0])
    at = plots_residuals.ordered(r, freq)
    assert_allclose(at.resid, [-1.0, 0.3, 2.0])
    assert_allclose(ndtr(at.normal), [1.5 / 5, 3.5 / 5, 4.5 / 5])


def test_dispersion_bins_are_means_of_squares():
    res = fitted("gaussian")
    one = plots_residuals.shown(res, np.random.default_rng(0))
    found = plots_residuals.dispersion_bins(one)
    phi = res.fitted_dispersion.to_numpy()
    square = res.get_resid("standardized").to_numpy() ** 2
    assert found.by == "fitted dispersion"
    order = np.argsort(phi)
    for k in (0, 4, 9):
        rows = order[12 * k : 12 * (k + 1)]
        assert_allclose(found.x[k], phi[rows].mean(), rtol=ROUNDING)
        assert_allclose(found.ratio[k], square[rows].mean(), rtol=ROUNDING)
        error = np.sqrt(np.sum((square[rows] - 1) ** 2)) / 12
        assert_allclose(found.se[k], error, rtol=ROUNDING)
    drawn_line = res.plot_diagnostics()[3].containers[0].lines[0]
    assert_allclose(drawn_line.get_ydata(orig=False), found.ratio)


@pytest.mark.parametrize("name", ["nb2", "beta-binomial"])
def test_dispersion_bins_find_a_dispersion_that_is_half_again_the_fitted(name):
    res = fitted(name, "x | z")
    one = plots_residuals.shown(res, np.random.default_rng(0))
    gamma = res.params_dispersion + np.log([1.5, 1.0])
    law = quantities.distribution(one.core, np.append(res.params_mean, gamma))
    influence, params, rng = one.influence, res.fit.internal, np.random.default_rng(1)
    ratios = []
    for _ in range(200):
        changed = replace(one, core=one.core.with_response(law.rvs(random_state=rng)))
        raw = residuals.pearson(changed.core, params)
        influence.__dict__["resid_studentized"] = raw  # of no fit to these: no leverage
        changed.__dict__["influence"] = influence
        ratios.append(plots_residuals.dispersion_bins(changed).ratio)
    # 1 + d log V/d log phi (1.5 - 1) in one step; the variance is nearly linear in phi
    assert np.mean(ratios) == pytest.approx(1.5, abs=0.1)


def test_constant_dispersion_is_binned_by_the_mean():
    res = fitted("gaussian", "x | 1")
    axes = res.plot_diagnostics(rng=0)
    assert axes[3].get_xlabel() == "fitted mean (binned)"
    assert texts(axes[5]) == ["fitted mean"]


def test_terms_without_an_effect_left_are_flat_and_missing_ones_are_not():
    data = simulated()
    full, short = (hmf.doubleglm(f"gaussian ~ x | {z}", data).fit() for z in ("z", "1"))
    left = [
        np.corrcoef(fit.get_influence().resid_studentized_dispersion, data["z"])[0, 1]
        for fit in (full, short)
    ]
    assert abs(left[0]) < 0.02 < 0.15 < left[1]
    means = full.plot_diagnostics()[5].containers[0].lines[0].get_ydata(orig=False)
    assert len(means) == plots_residuals.N_TERM_BINS
    assert np.abs(means).max() < 1
    r = full.get_influence().resid_studentized_dispersion
    codes = bins(full.model.exog_dispersion[:, 1] * full.params.iloc[-1], 6)
    assert_allclose(means, [r[codes == k].mean() for k in range(6)], rtol=1e-8)


def test_reml_has_components_adjusted_for_the_mean():
    weld = het.datasets.load_welding()
    right = "Drying + Material | Material + Method + Preheating"
    axes = hmf.doubleglm(f"Strength ~ {right}", weld).fit(reml=True).plot_diagnostics()
    # REML solves sum over a cell (d + h phi)/phi = rows: mean of d/((1 - h) phi) near 1
    for container in axes[5].containers:
        assert np.abs(container.lines[0].get_ydata(orig=False)).max() < 0.25


def test_at_the_boundary_rows_are_left_out_and_said_so():
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"cell": np.repeat([0.0, 1.0], 30), "n": 20})
    data["y"] = rng.binomial(20, rng.beta(2, 2, size=60))
    data.loc[data["cell"] == 0, "y"] = 10
    with pytest.warns(BoundaryWarning):
        res = het.BetaBinomial.from_formula("y + I(n - y) ~ 1 | cell", data).fit()
    axes = res.plot_diagnostics(rng=0)
    assert "30 uninformative rows left out" in axes[3].get_xlabel()
    ax = res.plot_dispersion("cell")
    assert ax.get_yscale() == "linear"
    labels = [t.get_text() for t in res.plot_coefficients(intercept=True)[1].get_yticklabels()]
    assert "cell (no estimate)" in labels
    drawn(axes[0])
    drawn(ax)


def test_a_dispersion_of_zero_everywhere_has_no_note():
    data = pd.DataFrame({"y": np.random.default_rng(3).binomial(6, 0.9, size=40)})
    with pytest.warns(BoundaryWarning):
        res = hmf.negativebinomial("y ~ 1", data).fit()
    axes = res.plot_diagnostics(rng=0)
    assert "40 uninformative rows left out" in axes[3].get_xlabel()
    assert axes[5].texts[0].get_text() == "no row is informative"
    assert np.isfinite(points(axes[0])).all()
    drawn(axes[0])


def test_many_terms_are_said_to_be_some():
    rng = np.random.default_rng(0)
    Z = np.column_stack([np.ones(200), rng.normal(size=(200, 6))])
    res = het.DoubleGLM(rng.normal(size=200), Z[:, :2], Z).fit()
    ax = res.plot_diagnostics()[5]
    assert "the 4 of 6 terms that vary most" in ax.get_xlabel()
    assert len(texts(ax)) == 4


# ---- quantile pictures of one or two fits -------------------------------------------------------


def test_qq_of_two_fits():
    small, large = fitted("gaussian", "x | 1"), fitted("gaussian", "x | z")
    ax = Figure().subplots()
    assert large.plot_qq(small, labels=("z", "constant"), ax=ax) is ax
    assert_allclose(points(ax)[:, 1], np.sort(large.get_resid()), rtol=ROUNDING)
    assert_allclose(points(ax, "^")[:, 1], np.sort(small.get_resid()), rtol=ROUNDING)
    assert texts(ax) == ["95 %, pointwise", "z", "constant"]
    assert texts(large.plot_qq()) == ["95 %, pointwise"]
    assert plots.plot_qq(large, fitted("poisson")).get_ylabel().startswith("quantile or standard")


def test_qdis_of_two_fits():
    small, large = fitted("nb2", "x | 1"), fitted("nb2", "x | z")
    ax = large.plot_qdis(small, labels=("z", "constant"), bins=8, rng=5)
    place = ndtr(large.get_resid(rng=5))
    expected = np.histogram(place, np.linspace(0, 1, 9))[0] / 120
    assert_allclose(points(ax)[:, 1], expected)
    assert_allclose(points(ax, "^")[:, 1].sum(), 1)
    assert texts(ax) == ["95 % under the model", "z", "constant"]
    assert "deviance" in fitted("poisson").plot_qdis().get_xlabel()
    with pytest.raises(ValueError, match="bins=0"):
        large.plot_qdis(bins=0)


# ---- what is fitted ---------------------------------------------------------------------------------


def test_dispersion_over_a_number_is_a_curve():
    res = fitted("gaussian")
    ax = res.plot_dispersion("dispersion-z", alpha=0.1)
    x, y = ax.lines[0].get_data()
    z = simulated()["z"]
    assert_allclose(x[[0, -1]], [z.min(), z.max()])
    expected = res.get_prediction(
        pd.DataFrame({"z": x, "group": "a"}), which="dispersion"
    ).summary_frame(0.1)
    assert_allclose(y, expected["predicted"])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert_allclose([band.min(), band.max()], [expected.ci_lower.min(), expected.ci_upper.max()])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "dispersion phi, 90 % interval"


def test_dispersion_over_a_factor_is_points():
    res = fitted("nb2")
    ax = res.plot_dispersion("group")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b", "c"]
    new = pd.DataFrame(
        {"group": list("abc"), "z": simulated()["z"].quantile(interpolation="nearest")}
    )
    expected = res.get_prediction(new, which="dispersion").summary_frame()
    container = ax.containers[0]
    assert_allclose(container.lines[0].get_ydata(orig=False), expected["predicted"])
    segments = container.lines[2][0].get_segments()
    assert_allclose([s[:, 1] for s in segments], expected[["ci_lower", "ci_upper"]])


def test_dispersion_over_an_interaction_and_a_polynomial():
    data = simulated()
    res = hmf.doubleglm("gaussian ~ x | z * group + I(x ** 2) + x", data).fit()
    ax = res.plot_dispersion("z:group")
    assert texts(ax) == ["group = a", "group = b", "group = c"]
    assert ax.get_xlabel() == "z"
    # a curve over the variable, whatever terms it is in
    for term in ("I(x ** 2)", "x"):
        y = np.log(res.plot_dispersion(term).lines[0].get_ydata(orig=False))
        assert_allclose(np.diff(y, 3), 0, atol=1e-9)
        assert np.abs(np.diff(y, 2)).min() > 1e-5
    two = hmf.doubleglm("gaussian ~ x | z * x", data).fit().plot_dispersion("z:x")
    assert len(texts(two)) == 3


def test_dispersion_of_arrays_with_an_offset(data):
    X = sm.add_constant(data[["x", "z"]].to_numpy())
    res = het.DoubleGLM(data["gaussian"].to_numpy(), X, X, offset_dispersion=data["shift"]).fit()
    x, y = res.plot_dispersion("x2").lines[0].get_data()
    level = res.params[3] + np.median(X[:, 1]) * res.params[4] + np.median(data["shift"])
    assert_allclose(y, np.exp(level + x * res.params[5]), rtol=1e-8)
    # by a formula: from a column, or an array that new rows do not have
    for shift in ("shift", data["shift"].to_numpy()):
        model = hmf.doubleglm("gaussian ~ x + z | x + z", data, offset_dispersion=shift)
        curve = model.fit().plot_dispersion("z").lines[0].get_ydata(orig=False)
        assert_allclose(curve, y, rtol=0.02)  # the middle value, not the median of an even number


def test_dispersion_over_a_number_is_a_curve_for_few_rows():
    # four rows are as many as there are colours: three points were drawn
    data = pd.DataFrame({"K": [3, 9, 4, 8], "N": [10, 11, 9, 12], "z": [1.0, 2.0, 4.0, 7.0]})
    res = hmf.doubleglm("K ~ 1 | z", data).fit()
    x = res.plot_dispersion("z").lines[0].get_xdata()
    assert_allclose(x, np.linspace(1, 7, 101))


def test_dispersion_terms_are_checked():
    res = hmf.doubleglm("gaussian ~ x | x:z:w + z", simulated()).fit()
    for bad in ("y", "Intercept"):
        with pytest.raises(ValueError, match=rf"term='{bad}': choose a term of .*: x:z:w, z"):
            res.plot_dispersion(bad)
    with pytest.raises(ValueError, match=r"3 variables, .*use get_prediction"):
        res.plot_dispersion("x:z:w")
    with pytest.raises(ValueError, match="none"):
        fitted("gaussian", "x | 1").plot_dispersion("z")
    sites = hmf.doubleglm("gaussian ~ x | z * C(site)", simulated()).fit()
    with pytest.raises(ValueError, match="13 levels, but a plot can distinguish only 4"):
        sites.plot_dispersion("z:C(site)")


def test_mean_and_variance(res):
    ax = res.plot_mean_variance()
    mean, variance = res.fittedvalues.to_numpy(), res.predict(which="var").to_numpy()
    if isinstance(res.model, het.BetaBinomial):
        variance = variance / res.model.n_trials**2
    assert_allclose(points(ax, "."), np.column_stack([mean, variance]), rtol=ROUNDING)
    square = res.get_resid("standardized").to_numpy() ** 2 * variance
    codes = bins(mean, 12)
    expected = [(mean[codes == k].mean(), square[codes == k].mean()) for k in range(12)]
    assert_allclose(points(ax), expected, rtol=ROUNDING)
    line = next(line for line in ax.lines if line.get_label() == "fitted")
    assert_allclose(line.get_ydata(orig=False), [variance[codes == k].mean() for k in range(12)])
    assert ("proportion" in ax.get_xlabel()) == (
        "inomial" in res.model.family_name and mean.max() < 1
    )


def test_mean_and_variance_by_group():
    res = fitted("nb2")
    ax = res.plot_mean_variance(by="group")
    assert texts(ax) == list("abc")
    assert ax.get_legend().get_title().get_text().startswith("group: fitted as lines")
    mean = res.fittedvalues.to_numpy()
    b = (simulated()["group"] == "b").to_numpy()
    codes = bins(mean[b], 12)
    assert_allclose(points(ax, "^")[:, 0], [mean[b][codes == k].mean() for k in range(12)])
    halves = res.plot_mean_variance(by=np.arange(120) % 2)
    assert texts(halves) == ["0", "1"]
    assert texts(res.plot_mean_variance()) == ["fitted", "observed"]
    with pytest.raises(ValueError, match="13 groups, but a plot can distinguish only 4"):
        res.plot_mean_variance(by="site")
    with pytest.raises(ValueError, match="not a column"):
        res.plot_mean_variance(by="y")


def test_groups_are_those_of_the_fitted_rows():
    data = simulated().iloc[:80].copy()
    data.loc[data.index[5], "x"] = np.nan
    labels = np.where(np.arange(80) == 5, "A", np.where(np.arange(80) % 8 == 0, "C", "B"))
    res = CASES["gaussian"].formula("x | x", data).fit()
    ax = res.plot_mean_variance(by=labels)
    assert texts(ax) == ["B", "C"]
    mean = res.fittedvalues.to_numpy()[labels[np.arange(80) != 5] == "C"]
    assert_allclose(points(ax, "^")[:, 0], np.sort(mean), rtol=ROUNDING)


def test_groups_and_levels_keep_the_order_of_a_categorical():
    data, seen = simulated().copy(), ["c", "a", "b"]
    data["group"] = pd.Categorical(data["group"], categories=seen)
    res = CASES["gaussian"].formula("x | group", data).fit()
    assert texts(res.plot_mean_variance(by="group")) == seen
    assert texts(res.plot_mean_variance(by=data["group"])) == seen
    ax = res.plot_dispersion("group")
    assert [t.get_text() for t in ax.get_xticklabels()] == seen
    expected = res.get_prediction(pd.DataFrame({"group": seen}), which="dispersion").predicted
    assert_allclose(ax.containers[0].lines[0].get_ydata(orig=False), expected)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["group", "x"], "by: 2 labels, but there are 120 rows"),
        (np.zeros((120, 2)), "by: give the name of one column, or a label for each row"),
        (["a", 1] * 60, "by: labels of several types cannot be sorted; convert them to strings"),
        ([None, "b"] * 60, "by: missing value in rows 0, 2"),
    ],
)
def test_groups_are_checked(by, message):
    with pytest.raises(ValueError, match=message):
        fitted("gaussian").plot_mean_variance(by=by)


def test_the_legend_of_groups_is_clear_of_the_data():
    data = simulated().copy()
    names = np.array(["control arm (placebo)", "high dose twice daily", "low dose", "rescue"])
    data["a_group_of_long_name"] = names[np.arange(120) % 4]
    ax = CASES["gaussian"].formula(data=data).fit().plot_mean_variance(by="a_group_of_long_name")
    renderer = drawn(ax)
    box = ax.get_legend().get_window_extent(renderer)
    assert not box.overlaps(ax.get_window_extent(renderer))
    assert box.x0 >= 0
    assert box.x1 <= ax.figure.bbox.x1
    assert box.y1 <= ax.figure.bbox.y1


@pytest.fixture(scope="module")
def separated():
    """A beta-binomial fit to which the third of the cells, of no successes, is separated."""
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"g": np.repeat(list("abc"), 200), "x": rng.normal(size=600), "N": 20})
    p = np.where(data["g"] == "a", 0.3, 0.6)
    data["K"] = rng.binomial(20, rng.beta(3 * p, 3 * (1 - p)))
    data.loc[data["g"] == "c", "K"] = 0
    with pytest.warns(SeparationWarning):
        return hmf.betabinomial("K ~ g | x", data, n_trials="N").fit()


def test_separated_rows_are_uninformative_about_the_dispersion(separated):
    axes = separated.plot_diagnostics(rng=0)
    assert "200 uninformative rows left out" in axes[3].get_xlabel()
    plain = separated.model.frame.iloc[:400]
    alone = hmf.betabinomial("K ~ g | x", plain, n_trials="N").fit().plot_diagnostics(rng=0)
    for k in (3, 5):  # as without these rows
        got, expected = (ax[k].containers[0].lines[0].get_xydata() for ax in (axes, alone))
        # the leverages, of 1/200, know of the separated rows by their information of rounding size
        assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_separated_rows_are_not_of_the_variance_function(separated):
    ax = separated.plot_mean_variance()
    assert "(200 rows at the limit of the mean left out)" in ax.get_xlabel()
    assert ax.get_ylim()[0] > 1e-3
    assert len(points(ax, ".")) == 400


def test_separated_coefficients_have_no_interval(separated):
    ax = separated.plot_coefficients()[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["g[T.b]", "g[T.c] (no estimate)"]
    assert len(ax.containers[0].lines[0].get_xdata(orig=False)) == 1
    assert np.abs(ax.get_xlim()).max() < 5


def test_long_names_of_coefficients_leave_room():
    data = simulated().copy()
    names = np.array(["control arm (placebo)", "high dose twice daily", "low dose once daily"])
    data["treatment_group_name"] = names[np.arange(120) % 3]
    design = "x * treatment_group_name | x * treatment_group_name"
    axes = CASES["gaussian"].formula(design, data).fit().plot_coefficients()
    renderer = drawn(axes[0])
    for ax in axes:
        assert ax.get_window_extent(renderer).width > 0.2 * ax.figure.bbox.width
        for artist in (ax.title, ax.xaxis.label, *ax.get_yticklabels()):
            box = artist.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= ax.figure.bbox.x1


@pytest.fixture(scope="module")
def at_zero():
    """A beta-binomial fit whose level "high" is at the boundary, and one of them all."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"dose": np.repeat(["low", "mid", "high"], 50), "N": 20})
    levels = ["low", "mid", "high"]
    data["dose"] = pd.Categorical(data["dose"], categories=levels)
    data["K"] = rng.binomial(20, rng.beta(2, 2, size=150))
    data.loc[data["dose"] == "high", "K"] = np.tile([9, 10, 11, 10, 10], 10)
    with pytest.warns(BoundaryWarning):
        return hmf.betabinomial("K ~ 1 | dose", data, n_trials="N").fit()


def test_levels_at_the_boundary_have_their_profile_limit(at_zero):
    ax = at_zero.plot_dispersion("dose", alpha=0.1)
    low, high = ax.containers[0].lines[2][0].get_segments()[2][:, 1]
    assert low == 0
    assert_allclose(high, at_zero.boundary_limits(0.1)["upper"].iloc[0])
    assert ax.get_ylim()[0] == 0
    assert "(0: at the boundary; upper limits by profile likelihood)" in ax.get_xlabel()


def test_an_interval_without_end_does_not_hide_the_others():
    drawn_rows = pd.DataFrame({"predicted": [0.0, 0.1], "ci_lower": 0.0, "ci_upper": [0.3, 1e60]})
    ax = Figure().subplots()
    plots_dispersion._dispersion_axis(ax, drawn_rows)
    assert ax.get_ylim() == pytest.approx((0, 0.324))
    assert "an interval ends above the plot" in ax.get_xlabel()


def test_of_two_factors_the_one_of_many_levels_is_on_the_axis():
    data = simulated().copy()
    data["many"] = np.array(list("pqrstuv"))[np.arange(120) % 7]
    orders = (["group", "many"], ["many", "group"])
    for order in orders:
        frame = data[[*order, *(c for c in data if c not in order)]]
        ax = CASES["gaussian"].formula("x | group:many", frame).fit().plot_dispersion("group:many")
        assert ax.get_xlabel() == "many"
        assert texts(ax) == [f"group = {g}" for g in "abc"]


@pytest.mark.thorough
def test_long_names_of_rows_do_not_reach_other_panels():
    data = simulated()
    dates = pd.date_range("2020-01-01 13:45", periods=120, freq="h")
    patients = [f"patient-{i:05d}-visit-baseline-of-the-first-year" for i in range(120)]
    for index in (dates, patients):
        axes = CASES["gaussian"].formula(data=data.set_axis(index)).fit().plot_diagnostics()
        renderer = drawn(axes[0])
        boxes = [ax.xaxis.label.get_window_extent(renderer) for ax in axes[3:]]
        assert not any(boxes[1].overlaps(box) for box in (boxes[0], boxes[2]))
        assert "00.000000" not in axes[4].get_xlabel()
        assert axes[4].get_xlabel().count("\n") == 3


def test_coefficients(res):
    mean, dispersion = res.plot_coefficients(alpha=0.2)
    assert [t.get_text() for t in mean.get_yticklabels()] == ["x", "group[T.b]", "group[T.c]"][
        -3:
    ] or (sorted(t.get_text() for t in mean.get_yticklabels()) == ["group[T.b]", "group[T.c]", "x"])
    names = [t.get_text() for t in dispersion.get_yticklabels()]
    container = dispersion.containers[0]
    assert_allclose(container.lines[0].get_xdata(orig=False), res.params_dispersion[names])
    ends = res.conf_int(0.2).loc[[f"dispersion-{n}" for n in names]]
    segments = container.lines[2][0].get_segments()
    assert_allclose([s[:, 0] for s in segments], ends, rtol=1e-12)
    assert dispersion.get_title() == f"dispersion: log({res.model.core.family.symbol})"
    assert len(res.plot_coefficients(intercept=True)[1].get_yticklabels()) == 4
    given = Figure().subplots(1, 2)
    assert_array_equal(res.plot_coefficients(ax=given), given)
    with pytest.raises(ValueError, match="1 axes for 2 parts"):
        res.plot_coefficients(ax=given[0])


def test_constant_parts_have_no_coefficients_to_draw():
    ax = fitted("gaussian", "1 | 1").plot_coefficients()[1]
    assert ax.texts[0].get_text() == "constant only"


# ---- very many rows, other data ----------------------------------------------------------------


def test_many_rows_are_sampled_and_the_plot_has_a_note(monkeypatch):
    monkeypatch.setattr(axes_module, "MAX_ROWS", 600)
    monkeypatch.setattr(axes_module, "MAX_POINTS", 100)
    monkeypatch.setattr(plots_residuals, "MAX_POINTS", 500)
    data = pd.concat([simulated()] * 10, ignore_index=True)
    res = CASES["gaussian"].formula("x | z", data).fit()
    axes = res.plot_diagnostics(rng=1)
    said = [ax.get_xlabel().split("\n")[-1] for ax in axes]
    assert said[1:4] == ["(600 of 1,200 rows drawn)"] * 3 == [said[k] for k in (1, 2, 5)]
    assert said[0] == said[4]
    assert 100 <= len(points(axes[0])) <= 103
    assert said[0] == f"({len(points(axes[0]))} of 1,200 rows drawn)"
    r = np.sort(res.get_resid())
    assert np.isin(points(axes[1])[:, 1].round(9), r.round(9)).all()
    # the sample's leverages are those of all rows, but for the sample's information
    h = res.get_influence().hat_matrix_diag
    assert_allclose(points(axes[4])[:, 0].mean(), h.mean(), rtol=0.3)
    assert_array_equal(points(res.plot_diagnostics(rng=1)[0]), points(axes[0]))
    assert "600 of 1,200" in res.plot_mean_variance(by="group").get_xlabel()
    assert "600 of 1,200" in res.plot_qdis().get_xlabel()


def test_order_statistics_keep_the_ends():
    kept = plots_residuals._order_statistics(50_000)
    assert_array_equal(kept[:200], np.arange(200))
    assert_array_equal(kept[-200:], np.arange(49_800, 50_000))
    assert len(kept) < 2500


@pytest.mark.thorough
def test_a_million_rows():
    n = 10**6
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    res = het.DoubleGLM(X @ [1, 0.3] + np.exp(0.2 * X[:, 1]) * rng.normal(size=n), X, X).fit()
    axes = res.plot_diagnostics(rng=1)
    assert "50,000 of 1,000,000 rows drawn" in axes[1].get_xlabel()
    assert sum(len(line.get_xdata()) for ax in axes for line in ax.lines) < 40_000
    assert np.isfinite(res.get_resid()).all()


@pytest.mark.parametrize("cls", ["doubleglm", *thorough("betabinomial")])
def test_star98(cls):
    data = sm.datasets.star98.load_pandas().data
    family = {"family": sm.families.Binomial()} if cls == "doubleglm" else {}
    formula = "NABOVE + NBELOW ~ LOWINC + PERASIAN + PERBLACK | LOWINC + PCTYRRND"
    res = getattr(hmf, cls)(formula, data, **family).fit()
    drawn(res.plot_diagnostics(rng=1)[0])
    drawn(res.plot_mean_variance())
    drawn(res.plot_dispersion("LOWINC"))
    drawn(res.plot_coefficients()[0])
    assert np.isfinite(res.get_influence().summary_frame().to_numpy()).all()
    if cls == "betabinomial":
        assert res.simulate_residuals(19, rng=1).failed == 0


@pytest.mark.thorough
def test_engel():
    data = sm.datasets.engel.load_pandas().data
    res = hmf.doubleglm("foodexp ~ income | np.log(income)", data).fit()
    ax = res.plot_dispersion("np.log(income)")
    assert ax.get_xlabel() == "income"
    drawn(res.plot_diagnostics()[0])
    drawn(res.plot_mean_variance())
    assert res.simulate_residuals(39, rng=1).failed == 0


# ---- the rest -----------------------------------------------------------------------------------


@pytest.mark.thorough
def test_no_global_state_and_no_pyplot():
    before = dict(matplotlib.rcParams)
    res = fitted("gamma")
    res.plot_diagnostics()
    res.plot_qq()
    assert dict(matplotlib.rcParams) == before
    code = "import sys, hetglm.api, hetglm.plots; assert 'matplotlib' not in sys.modules"
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.plot_qq(res2="a"), "res2: give the results of another fit of hetglm, not 'a'"),
        (lambda r: r.plot_qdis(sm.OLS(r.endog, r.exog).fit()), "res2: give the results"),
        (lambda r: r.plot_qq(r, labels=("a",)), r"labels=\('a',\): give two strings"),
        (lambda r: r.plot_qdis(r, labels=None), "labels=None: give two strings"),
        (lambda r: r.plot_qdis(r, labels="ab"), "labels='ab': give two strings"),
        (lambda r: r.plot_qq(ax=Figure()), "ax: give matplotlib Axes, not Figure"),
        (
            lambda r: r.plot_qdis(ax=Figure().subplots(1, 2)),
            "ax: give matplotlib Axes, not ndarray",
        ),
        (lambda r: r.plot_mean_variance(ax=np.ones(3)), "ax: give matplotlib Axes, not ndarray"),
        (lambda r: r.plot_dispersion("z", ax=1), "ax: give matplotlib Axes, not int"),
        (lambda r: r.plot_diagnostics(ax=[1] * 6), "ax: give matplotlib Axes, not list"),
        (lambda r: r.plot_coefficients(ax=Figure()), "ax: give matplotlib Axes, not Figure"),
        (lambda r: r.plot_profile("x", ax=Figure()), "ax: give matplotlib Axes, not Figure"),
        (lambda r: r.plot_dispersion(None), "term=None: choose a term of the dispersion: "),
        (lambda r: r.plot_dispersion(1), "term=1: choose a term of the dispersion: "),
        (lambda r: r.plot_coefficients(intercept="a"), "intercept='a': give True or False"),
        (lambda r: r.get_resid(["pearson"]), r"kind=\['pearson'\]: choose one of"),
    ],
)
def test_arguments_are_checked(call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted("gamma"))


def test_axes_are_counted():
    with pytest.raises(ValueError, match="4 axes for 6 plots"):
        fitted("gamma").plot_diagnostics(ax=Figure().subplots(2, 2))


def test_removed_data_are_missed(data):
    res = CASES["gaussian"].formula(data=data).fit()
    res.remove_data()
    for call in (res.plot_diagnostics, res.plot_qq, res.plot_mean_variance):
        with pytest.raises(ValueError, match="data were removed"):
            call()
    with pytest.raises(ValueError, match="data were removed"):
        res.plot_dispersion("z")
    assert len(res.plot_coefficients()) == 2
    X = sm.add_constant(data["x"].to_numpy())
    arrays = het.DoubleGLM(data["gaussian"].to_numpy(), X, X).fit()
    arrays.remove_data()
    with pytest.raises(ValueError, match="data were removed"):
        arrays.plot_coefficients()


def test_ticks_of_nearly_equal_leverages_are_apart(separated):
    ax = separated.plot_diagnostics(rng=0)[4]
    ax.set_xlim(0.00494, 0.00506)
    renderer = drawn(ax)
    low, high = ax.get_xlim()
    shown = [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
    boxes = [t.get_window_extent(renderer) for t in shown]
    assert len(boxes) > 1
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_the_legend_of_replicates_is_clear_of_their_lines():
    boot = fitted("gaussian", "x | z").bootstrap(60, rng=1)
    holes = replace(boot, params=np.where(np.arange(60)[:, None] < 3, np.nan, boot.params))
    for replicates in (boot, holes):
        ax = replicates.plot("x")
        renderer = drawn(ax)
        legend = ax.get_legend().get_window_extent(renderer)
        for artist in (*ax.lines, *ax.patches, *ax.texts):
            assert not legend.overlaps(artist.get_window_extent(renderer))


def test_bins():
    assert_array_equal(bins(np.array([3.0, 1.0, 3.0]), 5), [1, 0, 1])
    codes = bins(np.arange(100.0), 10)
    assert_array_equal(np.bincount(codes), 10)


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'hetglm\[plot\]'"):
        fitted("gamma").plot_diagnostics()
