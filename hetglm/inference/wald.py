"""Wald tests of terms."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.estimation.covariance import type_of
from hetglm.inference.hypotheses import NOTHING, Hypothesis, Outcome
from hetglm.inference.likelihood_ratio import Submodels


def wald(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the Wald test of a term in the larger model, with the covariance type of the fit."""
    kept = np.setdiff1d(np.arange(len(res.params)), hypothesis.absent)
    if hypothesis.absent:
        big, larger = submodels.without(hypothesis.absent)
        res = type(res)(big, larger, [], res.cov_type, robust_kwds(res), res.use_t)
    tested = np.flatnonzero(np.isin(kept, hypothesis.term.columns) & res.model.estimable)
    if len(tested) == 0:
        return NOTHING
    if not np.all(res.fit.estimated[tested]):  # at the boundary: no estimate, no standard error
        return Outcome(len(tested), np.nan, np.nan)
    test = res.wald_test(np.eye(len(res.params))[tested])
    return Outcome(len(tested), float(test.statistic), float(test.pvalue))


def robust_kwds(res: Any) -> dict[str, Any]:
    """Return the arguments of a fit's robust covariance."""
    return {name: res.cov_kwds[name] for name in type_of(res).arguments if name in res.cov_kwds}
