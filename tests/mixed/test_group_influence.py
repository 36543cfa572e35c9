"""Influence of groups on fits with random effects."""

import numpy as np
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose

import hetglm.formula.api as hmf


def test_influence_of_groups():
    frame = data("sleepstudy")
    res = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", frame).fit()
    influence = res.get_influence()
    exact = influence.exact()
    without = frame[frame["Subject"] != 308]
    again = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", without).fit()
    assert_allclose(exact.loc[308], res.params - again.params, rtol=1e-4, atol=1e-6)
    # one step is the exact change up to terms of second order
    for name in exact:
        assert np.corrcoef(exact[name], influence.d_params[name])[0, 1] > 0.9
    assert_allclose(influence.d_params.sum() / res.bse, 0, atol=1e-4)
    table = influence.summary_frame()
    assert table.shape == (18, 7)
    scaled = influence.d_params.to_numpy() @ np.linalg.inv(res.cov_params())
    cooks = (scaled * influence.d_params.to_numpy()).sum(axis=1) / 6
    assert_allclose(table["cooks_d"], cooks)
    assert f"of {table['cooks_d'].idxmax()}" in str(influence)


def test_groups_that_divide_one():
    res = hmf.doubleglm("Reaction ~ Days + (1 | Subject)", data("sleepstudy")).fit()
    with pytest.raises(ValueError, match="a group of Subject has rows in several"):
        res.get_influence(groups="Days")
