"""Every type of covariance of the package's table, with arguments for the simulated data."""

from hetglm.estimation.covariance import COVARIANCE_TYPES, covariance_types
from hetglm.likelihood.adjusted_profile import REML

#: Values for the arguments that types of covariance need.
VALUES = {"groups": "block", "maxlags": 1, "time": "block"}


def given(kind):
    """Return the arguments of a fit with a type of covariance."""
    names = [*kind.needs, *(["groups"] if kind.name == "hac-panel" else [])]  # or time
    return {"cov_type": kind.name, "cov_kwds": {name: VALUES[name] for name in names}}


KINDS = covariance_types()
TWO_WAY = {"cov_type": "cluster", "cov_kwds": {"groups": ["block", "site"]}}
#: Arguments of `fit` for every type after maximum likelihood, and after REML.
COVARIANCES = {name: given(kind) for name, kind in KINDS.items()} | {"two-way": TWO_WAY}
AFTER_REML = {name: given(kind) for name, kind in covariance_types(REML).items()}
#: Those that take frequency weights, and those of score tests.
OF_FREQUENCIES = [k for k, kwds in COVARIANCES.items() if "maxlags" not in kwds["cov_kwds"]]
SCORE_TESTED = [kind.name for kind in COVARIANCE_TYPES if kind.score_test]
