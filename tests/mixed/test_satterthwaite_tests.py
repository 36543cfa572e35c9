"""t tests of results with Satterthwaite's degrees of freedom."""

import numpy as np
import pytest
from mixed_cases import data
from numpy.testing import assert_allclose
from scipy import stats

import hetglm.formula.api as hmf


def test_of_sleepstudy():
    res = hmf.doubleglm("Reaction ~ Days + (Days | Subject)", data("sleepstudy")).fit(reml=True)
    test = res.t_test("Intercept = 250, Days = 0", df_method="satterthwaite")
    assert_allclose(test.df_denom, [17, 17], rtol=1e-3)
    assert_allclose(test.tvalue, res.t_test("Intercept = 250, Days = 0").tvalue)
    assert_allclose(
        np.ravel(test.pvalue), 2 * stats.t.sf(np.abs(np.ravel(test.tvalue)), 17), rtol=5e-3
    )
    half = stats.t.isf(0.025, 17) * np.ravel(test.sd)
    assert_allclose(np.diff(test.conf_int()).ravel() / 2, half, rtol=1e-3)
    assert "degrees of freedom of their own" in " ".join(str(test).split())
    assert "on 17 df" in str(res.t_test("Days = 0", df_method="satterthwaite"))
    with pytest.raises(ValueError, match="is for the mean"):
        res.t_test("dispersion-Intercept = 0", df_method="satterthwaite")
    with pytest.raises(ValueError, match="choose 'satterthwaite'"):
        res.t_test("Days = 0", df_method="kr")
