"""Profile intervals of fits with random effects, and their stepwise selection."""

import numpy as np
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose
from scipy import stats

import hetglm.api as het
import hetglm.formula.api as hmf


def fit(formula, **options):
    """Return a fit to sleepstudy, with a factor by subjects and one that has no effect."""
    frame = data("sleepstudy").assign(
        side=lambda d: np.where(d["Subject"] % 2, "l", "r"), lot=np.arange(180) % 7
    )
    return hmf.doubleglm(f"Reaction ~ {formula}", frame).fit(**options)


#: lme4 1.1, confint(lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = FALSE)).
LME4 = {
    "sd(Subject)": (14.381481, 37.716019),
    "corr(Subject: Intercept, Days)": (-0.481501, 0.684986),
    "sd(Subject: Days)": (3.801165, 8.753367),
    "dispersion-Intercept": (2 * np.log(22.898266), 2 * np.log(28.857997)),
    "Intercept": (237.680695, 265.129515),
    "Days": (7.358653, 13.575919),
}


@pytest.mark.parametrize("name", LME4)
def test_intervals(name):
    """Those of lme4 are interpolated."""
    res = fit("Days + (Days | Subject)")
    limits = np.asarray(res.conf_int(cols=[name], method="profile"))[0]
    assert_allclose(limits, LME4[name], rtol=1e-4)


def test_profile_is_the_maximum_over_the_others():
    res = fit("Days + (1 | Subject)")
    path = res.profile("Days", values=[9.0])
    frame = data("sleepstudy")
    moved = hmf.doubleglm("Reaction ~ 1 + (1 | Subject)", frame, offset=9 * frame["Days"]).fit()
    assert_allclose(path.profile[path.values == 9], moved.llf, atol=1e-6)
    # a standard deviation of 0 is the fit without random effects
    path = res.profile("sd(Subject)", values=[0.0])
    assert_allclose(path.profile[0], fit("Days").llf, atol=1e-6)
    assert_allclose(path.values, [0, res.params["sd(Subject)"]])


def test_limits_of_the_domain():
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(6), 4)
    y = 0.45 * rng.normal(size=6)[g] + rng.normal(size=24)
    res = hmf.doubleglm("y ~ 1 + (1 | g)", {"y": y, "g": g}).fit()
    assert res.params["sd(g)"] > 0
    low, high = np.asarray(res.conf_int(cols=["sd(g)"], method="profile"))[0]
    assert low == 0
    cut = res.llf - stats.chi2.isf(0.05, 1) / 2
    assert res.profile("sd(g)", values=[0.0]).profile[0] > cut
    assert_allclose(res.profile("sd(g)", values=[high]).profile[-1], cut, atol=1e-4)


@pytest.mark.thorough
def test_plot():
    ax = fit("Days + (1 | Subject)").plot_profile("sd(Subject)")
    assert ax.get_xlabel() or ax.get_title()


def test_refused():
    res = fit("Days + (1 | Subject)", reml=True)
    with pytest.raises(ValueError, match="the fit is by REML"):
        res.profile("sd(Subject)")
    res = fit("Days + (1 | Subject)")
    with pytest.raises(ValueError, match="lies between 0 and inf"):
        res.profile("sd(Subject)", values=[-1.0])
    with pytest.raises(ValueError, match="choose one of Intercept, Days"):
        res.profile("sd(g)")


# ---- stepwise ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.SingularFitWarning")
def test_stepwise_removes_random_terms():
    res = fit("Days + side + (Days | Subject) + (1 | lot)")
    found = het.stepwise(res, "backward")
    assert list(found.trace["term"][1:]) == ["(1 | lot)", "side"]
    chosen = fit("Days + (Days | Subject)")
    assert found.fit.model.formula == "Reaction ~ Days + (Days | Subject) | 1"
    assert_allclose(found.fit.aic, chosen.aic)
    assert_allclose(found.fit.bse, chosen.bse, rtol=1e-4)
    assert list(found.trace["k"]) == [8, 7, 6]
    # the model without any random term was tried
    without = found.tried.set_index("term").loc["(Days | Subject)"].iloc[-1]
    assert_allclose(without["llf"], fit("Days").llf)


def test_stepwise_with_a_scope_keeps_random_terms():
    res = fit("Days + (1 | Subject)")
    found = het.stepwise(res, scope="~ Days + side | Days")
    assert set(found.tried["term"]) == {"Days", "side"}
    assert found.fit.model.formula == "Reaction ~ Days + (1 | Subject) | Days"
