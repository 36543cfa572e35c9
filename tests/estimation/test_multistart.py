"""Restarts as a heuristic, on fits whose log-likelihood is given: what is tried, and when that ends."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import fitted
from numpy.testing import assert_allclose

from hetglm.estimation.multistart import MAX_ROUNDS, SLOPE_FACTOR, _steepened


def problem(loglike):
    """Return a problem with two mean coefficients whose searches end where they start."""
    of_start = fitted("gaussian").fit

    def explore(start, llf=None):
        return replace(of_start, internal=np.array(start), llf=loglike(start), converged=True)

    likelihood = SimpleNamespace(k_mean=2)
    return SimpleNamespace(likelihood=likelihood, max_rounds=MAX_ROUNDS, explore=explore)


@pytest.mark.parametrize(("top", "tried"), [(0.5, 1), (1.0, 1), (1.7, 2), (4.0, 4), (1e9, 10)])
def test_slopes_grow_as_long_as_that_gains(top, tried):
    """One step beyond the best of the slopes, and no more than so many."""
    given = problem(lambda start: -np.sum((np.log(start[2:]) - np.log(top)) ** 2))
    best = given.explore(np.array([0.3, -1.0, 1.0, 1.0]))
    found = _steepened(given, best)
    starts = np.array([fit.internal for fit in found])
    assert len(starts) == tried
    assert_allclose(starts[:, :2], np.tile([0.3, -1.0], (tried, 1)))
    assert_allclose(starts[:, 2:].T, np.tile(SLOPE_FACTOR ** np.arange(1, tried + 1), (2, 1)))
    assert_allclose(best.internal, [0.3, -1.0, 1.0, 1.0])  # not touched
