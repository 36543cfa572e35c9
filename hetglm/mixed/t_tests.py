"""Tests of the mean with Satterthwaite's degrees of freedom."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from hetglm.inference import wald
from hetglm.inference.test_results import LinearTests
from hetglm.mixed.satterthwaite import satterthwaite

#: Degrees of freedom of t tests, ``df_method``.
DF_METHODS = (None, "satterthwaite")


def t_test(res: Any, r_matrix: Any, df_method: str | None) -> LinearTests:
    """
    Return the t tests of linear hypotheses about the mean, each with degrees of freedom of its own.

    Parameters
    ----------
    res : MixedResults
    r_matrix : array_like, str or tuple
    df_method : {"satterthwaite"}

    Raises
    ------
    ValueError
        For another method, or a hypothesis about other parameters than the mean's.
    """
    if df_method not in DF_METHODS:
        raise ValueError(f"df_method={df_method!r}: choose 'satterthwaite', or None for z tests")
    restrictions = wald.read_restrictions(res, r_matrix)
    coefs = restrictions[0] if isinstance(restrictions, tuple) else restrictions
    R, k = np.atleast_2d(np.asarray(coefs, dtype=float)), res.model.core.k_mean
    if np.any(R[:, k:] != 0):
        raise ValueError("df_method='satterthwaite' is for the mean; leave it out for z tests")
    of = satterthwaite(res.model.core, res.model.random, res.fit)
    df = np.array([of.df(row) for row in R[:, :k]])
    normal = wald.t_test(res, restrictions, None, False)
    test = LinearTests(effect=normal.effect, t=normal.tvalue, sd=normal.sd, df_denom=df)
    test.c_names = normal.c_names
    assert test.dist is stats.t
    return test
