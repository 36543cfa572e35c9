"""Poles of Laplace's approximation, where the joint density is flat at its mode."""

import numpy as np
import pytest
from statsmodels.tools.sm_exceptions import ConvergenceWarning, ModelWarning

import hetglm.formula.api as hmf
from hetglm.exceptions import LaplaceErrorWarning
from hetglm.mixed.marginal import Marginal


def pairs(groups=30, rows=2):
    """Return negative binomial counts in small groups."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(groups), rows)
    x, b, _ = rng.normal(size=len(g)), 0.7 * rng.normal(size=groups), rng.normal(size=groups)
    rng.normal(size=len(g))
    mean = np.exp(0.5 + 0.4 * x + b[g])
    return {"y": rng.poisson(mean * rng.gamma(2, 0.5, size=len(g))), "x": x, "g": g}


BOTH = "y ~ x + (1 | g) | (1 | g)"


def test_the_criterion_is_not_defined_next_to_a_pole():
    model = hmf.negativebinomial(BOTH, pairs())
    marginal = Marginal(model.core, model.random)
    pole = np.array([0.391, 0.139, -2.392, 0.391, 2.114])
    # above the maximum -98.45 by 15 nodes
    assert marginal.laplace(pole).value > -95.5 and marginal.at(pole) is None
    assert marginal.at(np.array([0.301, 0.294, -1.433, 0.447, 0.1])) is not None


@pytest.mark.thorough
def test_a_pole_is_no_maximum():
    model = hmf.negativebinomial(BOTH, pairs())
    with (
        pytest.warns(ConvergenceWarning, match="next to a pole of Laplace's approximation"),
        pytest.warns(LaplaceErrorWarning),
    ):
        model.fit(nodes=1)
    with pytest.warns(ModelWarning, match=r"sd\(dispersion-g\) = 0"):
        res = model.fit()
    simple = hmf.negativebinomial("y ~ x + (1 | g)", pairs()).fit()
    assert res.converged and res.llf == pytest.approx(simple.llf, abs=1e-6)


@pytest.mark.thorough
def test_variance_of_the_dispersion_at_the_poisson():
    """No row has a dispersion left, so that the variance of its random effects is nowhere."""
    with pytest.warns(ModelWarning, match=r"the dispersion is zero|singular"):
        res = hmf.negativebinomial(BOTH, pairs(2, 10)).fit(nodes=1)
    assert res.converged and res.params["sd(dispersion-g)"] == 0
    assert np.isfinite(res.bse.iloc[0])
