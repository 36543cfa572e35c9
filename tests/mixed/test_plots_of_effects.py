"""Plots of random effects: what their artists hold, against the numbers they are of."""

import pickle

import numpy as np
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose
from scipy import stats

import hetglm.formula.api as hmf
from hetglm import plots
from hetglm.mixed.leverage import ConditionalResiduals
from hetglm.mixed.plots import LABEL_HEIGHT

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

Z = stats.norm.isf(0.025)


@pytest.fixture(scope="module")
def linear():
    return hmf.doubleglm("Reaction ~ Days + (Days | Subject)", data("sleepstudy")).fit()


@pytest.fixture(scope="module")
def both():
    formula = "Reaction ~ Days + (1 |p| Subject) | (1 |p| Subject)"
    return hmf.doubleglm(formula, data("sleepstudy")).fit()


def points(ax):
    (line,) = (line for line in ax.lines if line.get_marker() == "o")
    return np.column_stack(line.get_data())


def ends(collection):
    """Return start and end of each line, shape (n, 2, 2)."""
    return np.array([path.vertices for path in collection.get_paths()])


def test_caterpillar_has_modes_and_both_intervals(both):
    axes = both.plot_random_effects()
    table = both.ranef()
    assert [ax.get_title() for ax in axes] == ["Subject", "dispersion-Subject"]
    labels = [ax.get_xlabel().split("\n")[0] for ax in axes]
    assert labels == ["effect on mu", "effect on log(phi)"]
    assert "thick: given the estimates" in axes[0].get_xlabel()
    for ax, part in zip(axes, ("mean", "dispersion"), strict=True):
        ordered = table[table["part"] == part].sort_values("mode")
        assert_allclose(points(ax), np.column_stack([ordered["mode"], np.arange(18)]))
        assert [t.get_text() for t in ax.get_yticklabels()] == [str(x) for x in ordered["level"]]
        for lines, sd in zip(ax.collections, ("sd", "sd_given_estimates"), strict=True):
            half = Z * ordered[sd]
            expected = np.column_stack([ordered["mode"] - half, ordered["mode"] + half])
            assert_allclose(ends(lines)[:, :, 0], expected)


def test_caterpillar_of_one_part(both):
    (ax,) = plots.plot_random_effects(both, part="dispersion", alpha=0.5)
    assert ax.get_title() == "dispersion-Subject"
    widths = np.ptp(ends(ax.collections[0])[:, :, 0], axis=1)
    sd = both.ranef().query("part == 'dispersion'").sort_values("mode")["sd"]
    assert_allclose(widths, 2 * stats.norm.isf(0.25) * sd)


def test_levels_without_room_have_no_labels(linear):
    ax = Figure(figsize=(3, 18 * LABEL_HEIGHT / 2)).subplots(1, 2)
    axes = linear.plot_random_effects(ax=ax)
    assert [len(one.get_yticks()) for one in axes] == [0, 0]
    assert axes[0].get_ylabel() == "18 levels of Subject"


def test_qq_is_of_standardised_modes(linear):
    axes = linear.plot_random_effects_qq()
    table, sds = linear.ranef(), linear.variance_components["sd"]
    for ax, column, sd in zip(axes, ("Intercept", "Days"), sds, strict=True):
        rows = table[table["column"] == column]
        standardised = rows["mode"] / np.sqrt(sd**2 - rows["sd_given_estimates"] ** 2)
        normal = stats.norm.ppf((np.arange(1, 19) - 0.5) / 18)
        assert_allclose(points(ax), np.column_stack([normal, np.sort(standardised)]))
    # by maximum likelihood the standardised modes of a balanced design have mean square 1
    intercepts = hmf.doubleglm("Reaction ~ Days + (1 | Subject)", data("sleepstudy")).fit()
    y = points(intercepts.plot_random_effects_qq()[0])[:, 1]
    assert_allclose(np.mean(y**2), 1, rtol=1e-5)


def test_pairs_have_the_correlation(both, linear):
    (ax,) = both.plot_random_effects_pairs()
    modes = both.ranef()["mode"].to_numpy().reshape(2, 18)
    assert_allclose(points(ax), modes.T)
    without_data = pickle.loads(pickle.dumps(both))
    without_data.remove_data()
    assert_allclose(points(without_data.plot_random_effects_pairs()[0]), modes.T)
    r = both.params["corr(Subject: Intercept, dispersion-Intercept)"]
    assert ax.get_title() == f"correlation {r:.2f}"
    ellipse = np.vstack(ax.lines[2].get_data())
    inverse = np.linalg.inv(both.cov_re.to_numpy())
    distance = np.einsum("im,ij,jm->m", ellipse, inverse, ellipse)
    assert_allclose(distance, stats.chi2.ppf(0.95, 2))
    assert len(ax.texts) == 3
    assert ax.get_ylabel() == "dispersion-Subject: effect on log(phi)"
    (ax,) = linear.plot_random_effects_pairs(factor="Subject")
    assert ax.get_ylabel() == "Subject: Days: effect on mu"


def test_independent_effects_are_named_so():
    res = hmf.doubleglm("Reaction ~ Days + (Days || Subject)", data("sleepstudy")).fit()
    (ax,) = plots.plot_random_effects_pairs(res)
    assert ax.get_title() == "independent"


def test_an_effect_without_variance_is_drawn():
    frame = data("sleepstudy").assign(one=lambda f: f.index % 7)
    with pytest.warns(match="0"):
        res = hmf.doubleglm("Reaction ~ Days + (1 | Subject) + (1 | one)", frame).fit()
    assert_allclose(res.params["sd(one)"], 0)
    axes = res.plot_random_effects_qq(factor="one")
    assert axes[0].texts[0].get_text() == "sd is 0"
    assert_allclose(points(res.plot_random_effects(factor="one")[0])[:, 0], 0)


def test_page_of_six_has_residuals_by_group(linear):
    axes = linear.plot_diagnostics(rng=1)
    # leverages of a linear mixed model: derivatives of fitted values in responses, covariances fixed
    frame = data("sleepstudy")
    X = np.column_stack([np.ones(180), frame["Days"]])
    same = np.equal.outer(frame["Subject"].to_numpy(), frame["Subject"].to_numpy())
    phi = np.exp(linear.params["dispersion-Intercept"])
    random = same * (X @ linear.cov_re.to_numpy() @ X.T)
    P = np.linalg.inv(random + phi * np.eye(180))
    P -= P @ X @ np.linalg.solve(X.T @ P @ X, X.T @ P)
    given = 1 - phi * np.diag(P)
    h = ConditionalResiduals(linear).hat_matrix_diag
    assert np.all((given < h) & (h < given + 0.08))  # the variances are estimated too
    resid = linear.get_resid("quantile", rng=1) / np.sqrt(1 - h)
    size = np.sqrt((resid**2).groupby(frame["Subject"]).mean()).sort_values()
    (found,) = (line for line in axes[4].lines if line.get_marker() == "^")
    assert_allclose(found.get_ydata(), size)
    rank = frame["Subject"].map(dict(zip(size.index, range(18), strict=True)))
    assert_allclose(points(axes[4]), np.column_stack([rank, resid]))
    assert axes[4].get_xlabel() == "18 groups of Subject, ordered"
    # the ratio of observed to fitted dispersion is 1 on the whole
    ratio = axes[3].containers[0][0].get_ydata()
    assert abs(np.mean(ratio) - 1) < 0.1
    assert plots.plot_diagnostics(linear, rng=1).shape == (6,)


@pytest.mark.parametrize("name", ["linear", "both"])
def test_rows_shown_are_those_of_the_fit(name, request):
    res, rows = request.getfixturevalue(name), np.arange(5, 180, 7)
    whole, some = ConditionalResiduals(res), ConditionalResiduals(res, rows)
    for name in ("hat_matrix_diag", "resid_studentized", "resid_studentized_dispersion"):
        assert_allclose(getattr(some, name), getattr(whole, name)[rows], rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("plot_random_effects", {"factor": "subject"}, "choose a grouping variable: Subject"),
        ("plot_random_effects", {"part": "scale"}, "choose 'mean' or 'dispersion'"),
        ("plot_random_effects_qq", {"part": "dispersion"}, "no random effects of the dispersion"),
        ("plot_random_effects", {"alpha": 2}, "alpha"),
        ("plot_random_effects", {"ax": [Figure().subplots()]}, "1 axes for 2 columns"),
    ],
)
def test_bad_arguments(linear, name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(linear, name)(**options)


def test_pairs_need_two_columns():
    res = hmf.doubleglm("Reaction ~ Days + (1 | Subject)", data("sleepstudy")).fit()
    with pytest.raises(ValueError, match="has one column, so there is no pair"):
        res.plot_random_effects_pairs()
