"""The package marginaleffects, where it is installed, against our own predictions and effects."""

import numpy as np
import pandas as pd
import pytest
from conftest import CASES, PREDICTED, simulated
from numpy.testing import assert_allclose

import hetglm.api as het

me = pytest.importorskip("marginaleffects")

from hetglm.marginaleffects import MarginalModel  # noqa: E402  # noqa: E402  # noqa: E402 - only where there is the package

# what it uses of polars is deprecated there, and gone from polars 2
pytestmark = pytest.mark.filterwarnings("ignore:.*get_categories:DeprecationWarning")

#: Its derivatives in the coefficients are one-sided differences; its slopes, two-sided ones.
DERIVATIVES, SLOPES = 1e-4, 1e-5
#: A step for which rounding in the slopes does not matter.
STEP = 1e-5
NAMES = ("beta-binomial", "gaussian", "poisson", "nb2")


@pytest.fixture(scope="module")
def data():
    """Return data without a column named "group", which the package keeps for itself."""
    data = simulated().rename(columns={"group": "arm"})
    return data.assign(number=np.arange(len(data)) % 3 + 1, flag=data["z"] > 0)


@pytest.mark.parametrize(("name", "which"), [pair for pair in PREDICTED if pair[0] in NAMES])
def test_predictions_and_slopes(data, name, which):
    res = CASES[name].formula("x * arm | z + arm", data).fit(cov_type="HC0")
    model = MarginalModel(res, which)
    table = me.predictions(model)
    ours = res.get_prediction(which=which, ci_method="delta").summary_frame()
    assert_allclose(table["estimate"], res.predict(which=which), rtol=1e-12)
    assert_allclose(table["std_error"], ours["se"], rtol=DERIVATIVES)
    assert_allclose(table["conf_low"], ours["ci_lower"], rtol=DERIVATIVES, atol=DERIVATIVES)
    slopes = me.avg_slopes(model, eps_vcov=STEP)
    ours = res.get_margeff(which).summary_frame().sort_index(level=0, sort_remaining=False)
    assert slopes["term"].to_list() == ours.index.get_level_values(0).tolist()
    assert_allclose(slopes["estimate"], ours["effect"], rtol=SLOPES)
    assert_allclose(slopes["std_error"], ours["se"], rtol=DERIVATIVES)
    assert_allclose(slopes["p_value"], ours["P"], rtol=1e-3, atol=1e-12)


def test_comparisons(data):
    res = CASES["beta-binomial"].formula("x + arm | z + arm", data).fit()
    model = MarginalModel(res, "dispersion")
    ratios = me.avg_comparisons(model, variables="arm", comparison="ratioavg")
    ours = res.dispersion_ratios(variables="arm")
    assert ratios["contrast"].to_list() == ["b / a", "c / a"]
    assert_allclose(ratios["estimate"], ours.margeff, rtol=1e-10)
    assert_allclose(ratios["std_error"], ours.margeff * ours.margeff_se, rtol=DERIVATIVES)
    steps = me.comparisons(model, variables="z", newdata=data.head(3))
    moved = (
        res.predict(data.head(3).assign(z=data["z"] + s), which="dispersion") for s in (0.5, -0.5)
    )
    assert_allclose(steps["estimate"], np.subtract(*moved), rtol=1e-10)


def test_kinds_of_variables(data):
    """Numbers and truth values as factors, ordered categories, an exposure by name; t intervals."""
    data = data.assign(ordered=pd.Categorical(data["arm"], categories=["c", "a", "b"]))
    model = CASES["poisson"].formula("C(number) + flag + x | ordered", data, exposure="time")
    res = model.fit(use_t=True)
    for which in ("mean", "dispersion"):
        table = me.avg_slopes(MarginalModel(res, which), eps_vcov=STEP)
        frame = res.get_margeff(which).summary_frame().sort_index(level=0, sort_remaining=False)
        assert table["contrast"].to_list()[:2] == frame.index.get_level_values(1).tolist()[:2]
        assert_allclose(table["estimate"], frame["effect"], rtol=SLOPES)
        assert_allclose(table["p_value"], frame["P"], rtol=1e-3, atol=1e-12)
        assert_allclose(table["conf_low"], frame["ci_lower"], rtol=DERIVATIVES)


def test_rows_with_missing_values_elsewhere_stay(data):
    data = data.assign(note=np.where(data.index < 5, np.nan, 1.0))
    res = CASES["gaussian"].formula("x | z", data).fit()
    assert len(me.predictions(MarginalModel(res))) == len(data)
    data.loc[0, "z"] = np.nan
    res = CASES["gaussian"].formula("x | z", data).fit()
    assert len(me.predictions(MarginalModel(res))) == len(data) - 1


def test_reml_and_aliased_columns(data):
    res = CASES["gaussian"].formula("x | z + arm", data).fit(reml=True)
    table = me.avg_slopes(MarginalModel(res, "sd"), variables="z")
    assert_allclose(table["std_error"], res.get_margeff("sd", variables="z").margeff_se, rtol=1e-4)
    with pytest.warns(UserWarning, match="aliased"):
        res = CASES["gaussian"].formula("x + I(2 * x) | z", data).fit()
    table = me.predictions(MarginalModel(res))
    assert_allclose(table["std_error"], res.get_prediction().summary_frame()["se"], rtol=1e-4)


def test_input(data):
    res = CASES["gaussian"].formula("x | z", data).fit()
    model = MarginalModel(res)
    with pytest.raises(ValueError, match="which='prob': choose one of mean"):
        MarginalModel(res, "prob")
    with pytest.raises(ValueError, match=r"vcov='HC3': give True or False, or fit"):
        me.predictions(model, vcov="HC3")
    assert "std_error" not in me.predictions(model, vcov=False).columns
    arrays = het.DoubleGLM(data["gaussian"].to_numpy(), np.ones((len(data), 1))).fit()
    with pytest.raises(ValueError, match="need a formula fit"):
        MarginalModel(arrays)
    with pytest.raises(ValueError, match=r"reserved column name.*group"):
        me.predictions(MarginalModel(CASES["gaussian"].formula("x | z").fit()))
