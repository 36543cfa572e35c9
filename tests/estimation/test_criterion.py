"""A third criterion needs a search and its covariances; tests and refits know none by name."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CASES, simulated
from numpy.testing import assert_allclose

import hetglm.api as het
from hetglm.estimation import covariance, fit
from hetglm.estimation.refit import fit_again
from hetglm.estimation.search import search
from hetglm.likelihood.objective import Criterion

#: The log-likelihood less a constant, so that estimates and ratios are those of maximum likelihood.
SHIFTED, SHIFT = Criterion("Shifted"), 7.0
SAME = 1e-9
#: Refits by the likelihood stop at 3e-6 of a standard error.
REFITTED = 1e-5


CALLS = []


def shifted_search(*args):
    CALLS.append(args)
    found = search(*args)
    return replace(found, criterion=SHIFTED, llf=found.llf - SHIFT)


def by_criterion(model):
    return model.results_class_wrapper(
        model.results_class(model, fit_again(model, None, SHIFTED), [])
    )


@pytest.fixture
def fits(monkeypatch):
    """Return a fit by maximum likelihood and one by the criterion, and the latter's smaller one."""
    kind = covariance.CovarianceType(
        "nonrobust",
        "Standard errors from the shifted information.",
        lambda of: of.bread,
        model_based=True,
        criterion=SHIFTED,
    )
    monkeypatch.setitem(fit.SEARCHES, SHIFTED, shifted_search)
    monkeypatch.setattr(covariance, "COVARIANCE_TYPES", (*covariance.COVARIANCE_TYPES, kind))
    model, smaller = (CASES["gaussian"].formula(right) for right in ("x | z", "x"))
    return model.fit(), by_criterion(model), by_criterion(smaller)


def test_it_is_named_and_not_taken_for_another(fits):
    _, res, _ = fits
    text = str(res.summary())
    assert "Shifted" in text
    assert "REML" not in text
    assert "shifted information" in text
    assert not res.reml
    assert np.isnan(res.llf_reml)


def test_its_ratios_and_intervals_are_its_own(fits):
    ml, res, smaller = fits
    assert_allclose(res.bse, ml.bse, rtol=SAME)
    one, two = (r.compare_constant_dispersion() for r in (ml, res))
    assert_allclose(two.statistic, one.statistic, rtol=SAME)
    assert_allclose(two.llf, one.llf - SHIFT, rtol=SAME)
    assert two.criterion == "Shifted"
    assert_allclose(het.anova(res), het.anova(ml), rtol=SAME)
    for typ in (1, 3):
        table = het.anova(res, typ=typ)
        assert_allclose(table, het.anova(ml, typ=typ), rtol=SAME)
        assert table.columns.name == "LR by Shifted"
    several = het.anova(smaller, res)
    assert several.columns[1] == "llf_shifted"
    assert_allclose(several["statistic"].iloc[1], one.statistic, rtol=SAME)
    intervals = [r.conf_int(method="profile") for r in (ml, res)]
    assert_allclose(intervals[1], intervals[0], rtol=SAME)
    assert_allclose(res.aic, ml.aic + 2 * SHIFT, rtol=SAME)
    assert_allclose(res.llnull, ml.llnull - SHIFT, rtol=SAME)


def test_what_needs_a_sum_over_rows_is_refused(fits):
    _, res, _ = fits
    with pytest.raises(ValueError, match=r"score_test: .*fit by Shifted"):
        res.score_test(simulated()[["w"]])
    with pytest.raises(ValueError, match="not after Shifted"):
        het.anova(res, typ=3, test="score")
    with pytest.raises(ValueError, match="'HC0' is not available for a fit by Shifted"):
        type(res._results)(res.model, res.fit, [], "HC0")
    with pytest.raises(
        ValueError, match="one fit is by maximum likelihood and the other by Shifted"
    ):
        het.anova(CASES["gaussian"].formula("x").fit(), res)


def test_its_refits_are_by_it(fits):
    draws = [r.compare_constant_dispersion(test="bootstrap", nrep=5, rng=1) for r in fits[:2]]
    assert draws[0].pvalue == draws[1].pvalue
    CALLS.clear()
    ml, own = (r.bootstrap(3, rng=1).params for r in fits[:2])
    assert_allclose(own, ml, rtol=REFITTED)
    assert len(CALLS) == 3
    scores = [het.cross_validate(r, 3, rng=1).table for r in fits[:2]]
    assert_allclose(scores[1], scores[0], rtol=REFITTED, atol=REFITTED)
