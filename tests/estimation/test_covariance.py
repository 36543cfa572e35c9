"""Covariances where there is none, and where statsmodels refuses an argument."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import fitted, simulated
from numpy.testing import assert_allclose
from scipy import linalg

from hetglm.estimation.covariance import covariance, covariance_types, spectrum

#: Arguments of the types that need some.
NEEDED = {
    "cluster": {"groups": simulated()["block"].to_numpy()},
    "HAC": {"maxlags": 2},
    "hac-panel": {"maxlags": 2, "groups": simulated()["block"].to_numpy()},
    "hac-groupsum": {"maxlags": 2, "time": simulated()["block"].to_numpy()},
}


@pytest.mark.parametrize("cov_type", [name for name in covariance_types() if name != "eim"])
def test_a_singular_information_has_no_covariance(cov_type):
    res = fitted("gaussian")
    fit = replace(res.fit, information=np.ones_like(res.fit.information))
    made = covariance(res.core, fit, cov_type, NEEDED.get(cov_type, {}), False, res.df_resid)
    assert made.matrix.shape == (len(res.params), len(res.params))
    assert np.isnan(made.matrix).all()


@pytest.mark.parametrize(
    ("kwds", "message"),
    [
        ({"maxlags": "two"}, "^cov_kwds: maxlags='two': must be a whole number"),
        ({"maxlags": 2.0}, "^cov_kwds: maxlags=2.0: must be a whole number"),
        ({"maxlags": 2, "kernel": "parzen"}, "kernel='parzen': choose 'bartlett' or 'uniform'"),
        ({"maxlags": 2, "weights_func": 1}, "kernel=1: choose 'bartlett' or 'uniform'"),
        ({"kernel": "uniform"}, "cov_type='HAC' needs 'maxlags'"),
        ({"maxlags": 2, "kernel": lambda: 1}, r"^cov_kwds: .*0 positional arguments"),
    ],
)
def test_what_statsmodels_cannot_use_is_an_error_of_the_argument(kwds, message):
    with pytest.raises(ValueError, match=message):
        fitted("gaussian").model.fit(cov_type="HAC", cov_kwds=kwds)


def test_spectrum():
    rng = np.random.default_rng(1)
    A, B = (M @ M.T for M in rng.normal(size=(2, 3, 5)))
    assert_allclose(spectrum(A, B), np.sort(linalg.eigvals(np.linalg.solve(B, A)).real))


@pytest.mark.parametrize(
    ("cov", "reference"),
    [
        ([[np.nan, 0], [0, 1]], [[1, 0], [0, 1]]),
        ([[1, 0], [0, 1]], [[1, 0], [0, np.inf]]),
        ([[1, 0], [0, 1]], [[1, 0], [0, 0]]),
        ([[1, 0], [0, 1]], [[1, 2], [2, 1]]),  # indefinite
    ],
)
def test_no_spectrum(cov, reference):
    assert spectrum(np.array(cov, dtype=float), np.array(reference, dtype=float)) is None
