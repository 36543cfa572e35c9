"""Intraclass correlation, design effect and effective sample size, and their standard errors."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from statsmodels.tools.numdiff import approx_fprime

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.exceptions import BoundaryWarning

#: The same numbers in another order of additions.
ROUNDING = 1e-9
#: Central differences: step 6e-6, so h^2 and eps/h are both about 1e-10, times third derivatives.
DIFFERENCES = 1e-6
#: Two converged fits: each stops where the gradient is below 1e-8 of its standard deviation.
AT_MAXIMUM = 1e-6

SIZES = ["design-effect", "effective-size"]
FORMULA = "K + I(N - K) ~ x + group | z + group"


def formulas(rho, n):
    """Return the design effect and the effective size as defined."""
    return {"design-effect": 1 + (n - 1) * rho, "effective-size": n / (1 + (n - 1) * rho)}


@pytest.fixture
def res():
    return fitted("beta-binomial")


@pytest.fixture(scope="module")
def half():
    """Return data and a fit of two cells: a no more variable than the binomial, b overdispersed."""
    y = np.concatenate([np.tile([6, 7], 10), [1, 19, 5, 12, 2, 17, 9, 4, 14, 3]])
    data = pd.DataFrame({"y": y, "n": 20, "g": np.repeat(["a", "b"], [20, 10])})
    with pytest.warns(BoundaryWarning):
        return data, hmf.betabinomial("y + I(n - y) ~ g | 0 + g", data).fit()


# ---- values ------------------------------------------------------------------------------------


def test_definitions(res, data):
    n, rho = data["N"], res.predict(which="icc")
    for which, expected in formulas(rho, n).items():
        assert_allclose(res.predict(which=which), expected, rtol=ROUNDING)
    mu = res.fittedvalues
    inflation = res.predict(which="var") / (n * mu * (1 - mu))
    assert_allclose(res.predict(which="design-effect"), inflation, rtol=ROUNDING)


def test_helpers_are_these_predictions(res, data):
    rows = {"exog": data.head(5), "ci_method": "delta", "row_labels": list("pqrst")}
    for which, helper in zip(SIZES, (res.design_effect, res.effective_sample_size), strict=True):
        for given in ({}, rows):
            frame = res.get_prediction(which=which, **given).summary_frame()
            pd.testing.assert_frame_equal(helper(**given).summary_frame(), frame)
        assert helper().which == which
        frame = helper(data.iloc[[3]]).summary_frame()
        assert frame.columns.tolist() == ["predicted", "se", "ci_lower", "ci_upper"]
        assert frame.index.tolist() == [3]


# ---- standard errors and intervals -------------------------------------------------------------

MODELS = {
    "log": lambda data: fitted("beta-binomial"),
    "other link": lambda data: hmf.betabinomial(
        FORMULA, data, link_dispersion=sm.families.links.Sqrt()
    ).fit(),
    "offset": lambda data: hmf.betabinomial(FORMULA, data, offset_dispersion="shift").fit(),
    "clustered": lambda data: hmf.betabinomial(FORMULA, data).fit(
        cov_type="cluster", cov_kwds={"groups": "block"}
    ),
    "frequencies": lambda data: hmf.betabinomial(FORMULA, data, freq_weights="w").fit(),
}


@pytest.mark.parametrize("name", MODELS)
def test_standard_errors_against_differences(name, data):
    res = MODELS[name](data)
    params, cov = np.asarray(res.params), np.asarray(res.cov_params())

    def value(p, which):
        return formulas(res.model.predict(p, which="icc"), data["N"].to_numpy())[which]

    for which in SIZES:
        jacobian = approx_fprime(params, value, args=(which,), centered=True)
        se = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, cov, jacobian))
        assert_allclose(res.get_prediction(which=which).se, se, rtol=DIFFERENCES)
    freq = data["w"].to_numpy() if name == "frequencies" else np.ones(len(data))
    gradient = freq @ jacobian
    total = res.effective_sample_size(total=True)
    assert_allclose(total.predicted, freq @ value(params, "effective-size"), rtol=ROUNDING)
    assert_allclose(total.se, np.sqrt(gradient @ cov @ gradient), rtol=DIFFERENCES)


def test_interval_is_that_of_rho_mapped_through(res, data):
    n = data["N"].to_numpy()
    low, high = res.get_prediction(which="icc").conf_int(alpha=0.02).T
    effect, size = (res.get_prediction(which=which).conf_int(alpha=0.02) for which in SIZES)
    ends = [formulas(low, n), formulas(high, n)]
    assert_allclose(effect, np.column_stack([e["design-effect"] for e in ends]), rtol=ROUNDING)
    # more correlation, fewer effective trials
    ends = np.column_stack([e["effective-size"] for e in reversed(ends)])
    assert_allclose(size, ends, rtol=ROUNDING)


def test_interval_stays_in_range_where_little_is_known():
    y = [0, 9, 1, 8, 3, 10]
    few = het.BetaBinomial(y, np.ones(6), n_trials=[10] * 6).fit()
    sizes = {"a row": few.effective_sample_size(), "all": few.effective_sample_size(total=True)}
    for prediction, least in zip([few.design_effect(), *sizes.values()], (1, 1, 6), strict=True):
        low, high = prediction.conf_int(alpha=1e-12).T
        assert (least < low).all()
        assert (low < prediction.predicted).all()
        assert (prediction.predicted < high).all()
        assert (high < 10 * least if least > 1 else high < 10).all()
    # the symmetric one does not
    assert few.effective_sample_size(ci_method="delta").conf_int(alpha=1e-12).min() < 0


@pytest.mark.parametrize("total", [False, True])
def test_symmetric_interval_and_t(res, total):
    prediction = res.effective_sample_size(total=total, ci_method="delta")
    half = stats.norm.isf(0.05) * prediction.se
    expected = np.column_stack([prediction.predicted - half, prediction.predicted + half])
    assert_allclose(prediction.conf_int(alpha=0.1), expected, rtol=ROUNDING)
    with_t = res.model.fit(use_t=True).effective_sample_size(total=total, ci_method="delta")
    widths = [np.diff(p.conf_int()).ravel() for p in (with_t, prediction)]
    expected = stats.t.isf(0.025, res.df_resid) / stats.norm.isf(0.025)
    assert_allclose(widths[0] / widths[1], expected, rtol=AT_MAXIMUM)


def test_one_trial_has_nothing_to_be_correlated_with(res, data):
    for prediction in (
        res.design_effect(data.head(3), n_trials=[1, 2, 1]),
        res.effective_sample_size(data.head(3), n_trials=[1, 2, 1]),
    ):
        frame = prediction.summary_frame()
        single = frame.iloc[[0, 2]]
        assert_array_equal(single, [[1, 0, 1, 1]] * 2)
        assert frame["se"].iloc[1] > 0
    total = res.effective_sample_size(data.head(3), total=True, n_trials=[1, 1, 1])
    assert_array_equal(total.summary_frame(), [[3, 0, 3, 3]])


def test_no_trials(res, data):
    given = {"exog": data.head(2), "n_trials": [0, 7]}
    assert_array_equal(np.isnan(res.predict(which="design-effect", **given)), [True, False])
    size = res.effective_sample_size(**given)
    assert size.predicted[0] == size.se[0] == 0
    both, alone = (
        res.effective_sample_size(rows, total=True, n_trials=n).summary_frame()
        for rows, n in ((data.head(2), [0, 7]), (data.iloc[[1]], [7]))
    )
    assert_allclose(both, alone, rtol=ROUNDING)


# ---- the total ---------------------------------------------------------------------------------


def test_total_counts_rows_by_their_frequency(data):
    weighted = hmf.betabinomial(FORMULA, data, freq_weights="w").fit()
    repeated = hmf.betabinomial(FORMULA, data.loc[data.index.repeat(data["w"])]).fit()
    frames = [r.effective_sample_size(total=True).summary_frame() for r in (weighted, repeated)]
    assert_allclose(*frames, rtol=AT_MAXIMUM)
    assert frames[0].index.tolist() == ["total"]
    # other trials on the rows of the fit do not change how often each was seen
    doubled = weighted.effective_sample_size(total=True, n_trials=2 * data["N"])
    size = weighted.effective_sample_size(n_trials=2 * data["N"]).predicted
    assert_allclose(doubled.predicted, data["w"] @ size, rtol=ROUNDING)


def test_total_of_new_rows(res, data):
    new = data.iloc[[4, 9, 2]]
    total = res.effective_sample_size(new, total=True, row_labels=["three"])
    rows = res.effective_sample_size(new)
    assert_allclose(total.predicted, rows.predicted.sum(), rtol=ROUNDING)
    # they share the coefficients: the sum knows their covariance, and is no more sure than they are
    assert np.sqrt(np.sum(rows.se**2)) < total.se[0] <= rows.se.sum()
    assert total.summary_frame().index.tolist() == ["three"]
    missing = data.iloc[[4, 9]].assign(z=[0.0, np.nan])
    assert res.effective_sample_size(missing, total=True).summary_frame().isna().all(axis=None)


# ---- new rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", SIZES)
def test_trials_of_new_rows(res, data, which):
    new, expected = data.iloc[[4, 2]], res.predict(which=which).iloc[[4, 2]]
    pd.testing.assert_series_equal(res.predict(new, which=which), expected)
    # the mean does not come into it
    bare = new[["z", "group"]]
    assert_allclose(res.predict(bare, which=which, n_trials=new["N"]), expected, rtol=ROUNDING)
    with pytest.raises(ValueError, match=f"n_trials: .*which='{which}' needs it for new rows"):
        res.predict(bare, which=which)
    with pytest.raises(
        ValueError, match=r"n_trials: must not be negative; see row 2 \(index label\)"
    ):
        res.predict(bare, which=which, n_trials=[3, -1])
    by_name = hmf.betabinomial("K ~ x + group | z + group", data, n_trials="N").fit()
    named = by_name.predict(new.drop(columns="K"), which=which)
    assert_allclose(named, expected, rtol=AT_MAXIMUM)


@pytest.mark.parametrize("which", SIZES)
def test_new_arrays_bring_their_dispersion_and_trials(data, which):
    Z = np.column_stack([np.ones(len(data)), data["z"]])
    res = het.BetaBinomial(data["K"].array, Z, Z, n_trials=data["N"].array).fit()
    given = {"exog_dispersion": Z[:3], "which": which}
    new = res.get_prediction(n_trials=data["N"].array[:3], **given)
    assert_allclose(
        new.summary_frame(), res.get_prediction(which=which).summary_frame().head(3), rtol=ROUNDING
    )
    with pytest.raises(ValueError, match=f"n_trials: .*which='{which}' needs it for new rows"):
        res.predict(**given)
    with pytest.raises(ValueError, match="exog_dispersion: this prediction needs it"):
        res.predict(Z[:3], which=which, n_trials=[1, 2, 3])
    with pytest.raises(ValueError, match=r"n_trials: shape \(1,\)"):
        res.predict(n_trials=[1], **given)


# ---- the boundary ------------------------------------------------------------------------------


def test_at_the_boundary_there_is_no_loss_and_no_standard_error(half):
    data, res = half
    a = (data["g"] == "a").to_numpy()
    for prediction, there in ((res.design_effect(), 1), (res.effective_sample_size(), 20)):
        frame = prediction.summary_frame()
        assert (frame["predicted"][a] == there).all()
        assert frame[a][["se", "ci_lower", "ci_upper"]].isna().all(axis=None)
        assert frame[~a].notna().all(axis=None)
    total = res.effective_sample_size(total=True).summary_frame()
    assert total["predicted"].item() == pytest.approx(res.predict(which="effective-size").sum())
    assert total[["se", "ci_lower", "ci_upper"]].isna().all(axis=None)


def test_one_trial_at_the_boundary_is_one_trial(half):
    data, res = half
    new = data.iloc[[0, 25]]
    frame = res.design_effect(new, n_trials=[1, 20]).summary_frame()
    assert_array_equal(frame.iloc[0], [1, 0, 1, 1])
    total = res.effective_sample_size(new, total=True, n_trials=[1, 20])
    alone = res.effective_sample_size(new.tail(1))
    assert_allclose(total.predicted, 1 + alone.predicted, rtol=ROUNDING)
    assert_allclose(total.se, alone.se, rtol=ROUNDING)


def test_a_row_on_the_other_side_of_the_boundary_is_one_trial(half):
    _, res = half
    Z = np.array([[-1.0, 0.0], [0.0, 1.0]])  # cell a the other way round: its sigma is infinite
    frame = res.design_effect(
        np.ones((2, 2)), Z, transform=False, n_trials=[5, 9], row_labels=None
    ).summary_frame()
    assert frame.predicted.iloc[0] == 5
    assert frame.iloc[0, 1:].isna().all()
    assert frame.iloc[1].notna().all()


def test_at_infinite_dispersion_a_row_is_one_trial(data):
    Z = data[["x"]].head(2).assign(x=1.0)
    for zeta, rho in ((-1000.0, 0), (1000.0, 1)):
        far = het.BetaBinomial(data["K"].head(2), Z, Z, n_trials=data["N"].head(2))
        for which, expected in formulas(rho, data["N"].head(2)).items():
            assert_array_equal(far.predict([0.0, zeta], which=which), expected)


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [n for n, case in CASES.items() if case.cls is not het.BetaBinomial]
)
def test_other_families_have_no_intraclass_correlation(name):
    res = fitted(name)
    for which in ("icc", *SIZES):
        with pytest.raises(ValueError, match=f"which='{which}': .* no intraclass correlation"):
            res.get_prediction(which=which)
    with pytest.raises(ValueError, match="which='design-effect': "):
        res.design_effect()
    for total in (False, True):
        with pytest.raises(ValueError, match="which='effective-size': "):
            res.effective_sample_size(total=total)


def test_misspelt_arguments(res):
    with pytest.raises(ValueError, match="'icc', 'design-effect', 'effective-size'"):
        res.predict(which="deff")
    with pytest.raises(TypeError, match="trials"):
        res.effective_sample_size(total=True, trials=[3])
    with pytest.raises(ValueError, match="ci_method='wald'"):
        res.effective_sample_size(total=True, ci_method="wald")


# ---- regressions -------------------------------------------------------------------------------


def test_probability_of_one_response_whatever_its_frequency(data):
    """The standard error of which="prob" was multiplied by the frequency of the row."""
    weighted = hmf.betabinomial(FORMULA, data, freq_weights="w").fit()
    repeated = hmf.betabinomial(FORMULA, data.loc[data.index.repeat(data["w"])]).fit()
    given = {"which": "prob", "y_values": [5]}
    first = np.cumsum(data["w"]) - data["w"]
    expected = repeated.get_prediction(**given).se[first]
    assert_allclose(weighted.get_prediction(**given).se, expected, rtol=AT_MAXIMUM)
