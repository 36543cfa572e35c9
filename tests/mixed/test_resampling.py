"""Bootstrap of fits with random effects, and the scores of their groups."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf
from hetglm.estimation.record import fitted_of
from hetglm.exceptions import LaplaceErrorWarning
from hetglm.inference.bootstrap import Resampling
from hetglm.mixed.clusters import redrawn

MEAN = "Reaction ~ Days + (Days | Subject)"
BOTH = f"{MEAN} | Days + (1 | Subject)"


@cache
def fit(formula=MEAN, **options):
    """Return a fit to sleepstudy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LaplaceErrorWarning)
        return hmf.doubleglm(formula, data("sleepstudy")).fit(**options)


def crossed(**options):
    """Return a fit of two crossed factors, and one that contains both."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.repeat(np.arange(8), 6), "b": np.tile(np.arange(6), 8)})
    frame["b"] += 6 * (frame["a"] // 2)
    frame["batch"] = frame["a"] // 2
    frame["y"] = rng.normal(size=8)[frame["a"]] + rng.normal(size=24)[frame["b"]]
    frame["y"] += rng.normal(size=48)
    return hmf.doubleglm("y ~ 1 + (1 | a) + (1 | b)", frame).fit(**options)


# ---- bootstrap -----------------------------------------------------------------------------------


def test_parametric():
    res = fit()
    draws = res.bootstrap(40, rng=1)
    assert draws.kind == "parametric"
    assert draws.params.shape == (40, 6)
    # with new random effects: conditional ones would give a tenth of this
    assert_allclose(draws.std[:2], res.bse[:2], rtol=0.25)
    assert_allclose(draws.std[3:], res.bse[3:], rtol=0.35)
    limits = draws.conf_int(method="bca")
    assert np.isfinite(limits).all()
    assert_allclose(res.conf_int(method="bootstrap", nrep=40, rng=1), limits)


def test_refits_reach_the_maxima():
    res = fit(BOTH, nodes=1)
    task = Resampling(fitted_of(res._results), "parametric", None, "", {}, res.df_resid)
    estimates = task(np.random.default_rng(5))
    y = task.simulator(np.random.default_rng(5)).y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = res.model.clone(endog=y).fit(nodes=1)
    assert_allclose((estimates - again.params) / again.bse, 0, atol=1e-3)


def test_groups_are_drawn():
    res = fit()
    draws = res.bootstrap(40, "cluster", rng=1)
    assert_allclose(draws.std[:2], res.bse[:2], rtol=0.3)
    # residual variances of subjects differ
    assert draws.std[2] > 2 * res.bse.iloc[2]
    named = res.bootstrap(3, "cluster", groups="Subject", rng=1)
    assert_allclose(named.params, draws.params[:3])


def test_a_group_drawn_twice_is_two_groups():
    res = fit()
    (factor,) = res.model.random
    rows = np.concatenate([np.flatnonzero(factor.codes == g) for g in (4, 4, 2)])
    (again,) = redrawn((factor,), rows, np.repeat([0, 1, 2], 10))
    assert len(again.levels) == 3
    assert_allclose(again.codes, np.repeat([0, 1, 2], 10))
    assert_allclose(again.values, factor.values[rows])
    task = Resampling(fitted_of(res._results), "cluster", factor.codes, "", {}, res.df_resid)
    estimates = task(np.random.default_rng(3))
    _, core, codes = task.drawn(np.random.default_rng(3))
    frame = pd.DataFrame({"Reaction": core.y, "Days": core.X[:, 1], "Subject": codes})
    assert_allclose(estimates, hmf.doubleglm(MEAN, frame).fit().params, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "pairs"}, "rows of a group share its random effects"),
        ({"kind": "cluster"}, "a, b are crossed"),
        ({"kind": "cluster", "groups": "b"}, "a group of a has rows in several"),
        ({"studentized": True}, "no standard errors"),
        ({"kind": "rows"}, "choose 'pairs', 'parametric' or 'cluster'"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        crossed().bootstrap(2, **arguments)


def test_crossed_factors_in_given_groups():
    res = crossed()
    assert res.bootstrap(2, "cluster", groups="batch", rng=1).params.shape == (2, 4)
    assert np.isfinite(res.bootstrap(9, rng=1).conf_int(method="bca")).all()


# ---- scores --------------------------------------------------------------------------------------


def test_scores_of_groups():
    res = fit(BOTH)
    scores = res.model.score_obs(res.params)
    assert scores.shape == (18, 8)
    assert_allclose(scores.sum(axis=0) * res.bse, 0, atol=1e-4)
    # those of a group are the gradient of its own likelihood
    one = res.model.clone(rows=res.model.random[0].codes == 5)
    assert_allclose(scores[5], one.score(res.params), rtol=1e-6, atol=1e-8)
    model = crossed().model
    with pytest.raises(ValueError, match="a, b are crossed"):
        model.score_obs(np.ones(4))


def test_robust_covariance_of_balanced_groups():
    """The estimates are means over groups, whose covariance is then robust."""
    linear = fit(cov_type="cluster")
    lines = [
        np.polyfit(f["Days"], f["Reaction"], 1)[::-1]
        for _, f in data("sleepstudy").groupby("Subject")
    ]
    cov = np.cov(np.array(lines).T) / 18 * 179 / 174
    assert_allclose(linear.cov_params().iloc[:2, :2], cov, rtol=1e-4)
    with pytest.raises(ValueError, match="a, b are crossed"):
        crossed(cov_type="cluster")
