"""Compute and store the references that the tests ask for: ``python tests/multiprecision``."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

import pytest  # noqa: E402

import multiprecision  # noqa: E402
from multiprecision import betabinomial, families, negbin, tails, tweedie  # noqa: E402, F401

#: The tests that ask.
ASKING = (
    "contract/test_family.py",
    "diagnostics/test_residuals.py",
    "families/test_betabinomial_numerics.py",
    "families/test_negbin.py",
    "families/test_tweedie.py",
)

for function in multiprecision.STORED.values():
    function.rows = {}
failed = pytest.main(["--all", "-q", "-p", "no:cacheprovider", *(str(TESTS / f) for f in ASKING)])
if failed:
    sys.exit("nothing is stored: the tests fail")
multiprecision.write()
