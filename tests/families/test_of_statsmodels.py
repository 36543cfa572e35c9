"""Families of statsmodels and the ones here that they stand for."""

import numpy as np
import pytest
import statsmodels.api as sm

from hetglm.families.of_statsmodels import of_statsmodels


def test_tweedie_power():
    for power in (-1.0, 0.5):
        family = of_statsmodels(sm.families.Tweedie(var_power=power))
        with pytest.raises(ValueError, match=rf"var_power must be 0 or at least 1, not {power:g}"):
            family.validate(np.ones(2), None, "y")


def test_parameters_of_statsmodels_families_arrive():
    assert of_statsmodels(sm.families.NegativeBinomial(alpha=0.3)).alpha == 0.3
    assert of_statsmodels(sm.families.Tweedie(var_power=1.7)).power == 1.7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (sm.families.Gamma, r": pass an instance, sm.families.Gamma\(\)"),
        ("gamma", r"='gamma': pass an instance, such as sm.families.Gamma\(\)"),
        (None, ": NoneType is not one of"),
    ],
)
def test_no_family(given, message):
    with pytest.raises(ValueError, match=f"^family{message}"):
        of_statsmodels(given)
