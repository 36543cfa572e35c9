"""What is stored is what the functions give."""

import random

import numpy as np
import pytest

import multiprecision
from multiprecision import betabinomial, families, negbin, tails, tweedie  # noqa: F401

#: Rows of each function that are computed again, other ones at each run.
N_ROWS = 5


@pytest.mark.thorough
@pytest.mark.parametrize("name", multiprecision.STORED)
def test_stored_values_are_those_of_the_functions(name):
    stored = multiprecision.STORED[name]
    rows = random.sample(list(stored.rows), min(N_ROWS, len(stored.rows)))
    assert rows, "python tests/multiprecision"
    for row in rows:
        again = [float(value) for value in stored.function(*row)]
        # what is zero but for the steps of a difference is compared with the value
        atol = 1e-25 * max(1, abs(again[0]) if np.isfinite(again[0]) else 1)
        np.testing.assert_allclose(stored.rows[row], again, rtol=1e-14, atol=atol, err_msg=row)


def test_values_are_stored_by_arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(multiprecision, "HERE", tmp_path)
    monkeypatch.setattr(multiprecision, "STORED", {})
    calls = []

    def square(x, unit):
        return [calls.append(x) or x * x]

    function = multiprecision.Stored(square)
    assert function(0.1, "m") == function(0.1, "m") == [0.1 * 0.1]
    assert function(-np.inf, None) == [np.inf]
    multiprecision.write()
    again = multiprecision.Stored(square)
    assert again(0.1, "m") == [0.1 * 0.1]
    assert again(-np.inf, None) == [np.inf]
    assert calls == [0.1, -np.inf]
    assert again(0.3, "m") == [0.3 * 0.3]  # not stored: computed
    assert calls[2:] == [0.3]
