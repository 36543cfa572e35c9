"""Shared fixtures: small simulated data and the same model of every family on them; the quick set."""

from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import quick
from specs import SPECS

import hetglm.formula.api as hmf
from hetglm.prediction.quantities import QUANTITIES

#: Whether an extended quasi-likelihood can be trusted is asked in these; the fits of the others are
#: there for their numbers, many of them on counts that are too small for it.
WARNED = ("test_cli.py", "test_eql.py", "test_examples.py", "test_readme.py", "test_size.py")


def pytest_addoption(parser):
    parser.addoption(
        "--all",
        action="store_true",
        help="run every model, combination of parameters and test, except those marked slow "
        "(default: the quick set of tests/quick.py)",
    )
    parser.addoption("--slow", action="store_true", help="as --all, and the tests marked slow")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.path.name not in WARNED:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::hetglm.exceptions.SmallCountsWarning")
            )
    slow = config.getoption("--slow")
    named = any("::" in arg for arg in config.args)
    keep = items if slow or named or config.getoption("--all") else quick(items, ALIKE)
    keep = set(keep) if slow else {item for item in keep if "slow" not in item.keywords}
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = [item for item in items if item in keep]


@cache
def simulated(n=120, seed=20240607):
    """Return data whose mean and dispersion both move with x, z and a group, for every family."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.uniform(-1, 1, size=n)
    group = np.array(["a", "b", "c"])[np.arange(n) % 3]
    eta, phi = 0.4 * x + 0.3 * (group == "b"), np.exp(-0.8 + 0.9 * z)
    mu, p = np.exp(1 + eta), 1 / (1 + np.exp(-eta))
    trials = rng.integers(6, 25, size=n)
    data = pd.DataFrame(
        {
            "x": x,
            "z": z,
            "group": group,
            "block": np.arange(n) // 6,
            "site": np.arange(n) % 13,
            "w": rng.integers(1, 4, size=n),
            "shift": rng.normal(scale=0.3, size=n),
            "time": rng.uniform(0.5, 2, size=n),
            "gaussian": 1 + eta + np.sqrt(phi) * rng.normal(size=n),
            "positive": rng.gamma(1 / phi, phi * mu),
            "wald": rng.wald(mu, 1 / (0.3 * phi)),
            "count": rng.poisson(mu * rng.gamma(1 / phi, phi)),
            "K": rng.binomial(trials, rng.beta(2 * p / phi, 2 * (1 - p) / phi)),
            "N": trials,
        }
    )
    # a Poisson number of gamma claims, of variance phi mu^1.5
    claims = rng.poisson(2 * np.sqrt(mu) / phi)
    data["claims"] = (claims > 0) * rng.gamma(np.maximum(claims, 1), phi * np.sqrt(mu) / 2)
    for spec in SPECS.values():
        if spec.simulate is not None:
            data[spec.response] = spec.simulate(np.random.default_rng(seed), 1 + eta, phi)
    return data


@dataclass(frozen=True)
class Case:
    """A model of one family: how it is built from formulas and from arrays."""

    response: str
    cls: Any
    kwargs: Any = field(default_factory=lambda: MappingProxyType({}))
    exact: bool = True

    @property
    def binomial(self):
        return self.response == "K"

    def endog(self, data):
        """Return the response for the constructor."""
        if self.binomial:
            return pd.DataFrame({"K": data["K"], "failures": data["N"] - data["K"]}, data.index)
        return data[self.response]

    def formula(self, right="x + group | z + group", data=None, **kwargs):
        """Return the model of a formula's right-hand side."""
        data = simulated() if data is None else data
        left = "K + I(N - K)" if self.binomial else self.response
        make = getattr(hmf, self.cls.__name__.lower())
        return make(f"{left} ~ {right}", data, **self.kwargs, **kwargs)

    def arrays(self, X, Z=None, data=None, **kwargs):
        """Return the model of two designs."""
        data = simulated() if data is None else data
        endog = self.endog(data)
        endog = endog if isinstance(X, pd.DataFrame) else endog.to_numpy()
        return self.cls(endog, X, Z, **self.kwargs, **kwargs)


CASES = {
    name: Case(spec.response, spec.model, spec.kwargs, spec.exact)
    for name, spec in SPECS.items()
    if spec.model
}
#: Those that another one stands for in the quick set.
ALIKE = {name for name, spec in SPECS.items() if spec.alike}


#: Quantities with one number a row: all but the probabilities of counts.
WHICH = [name for name, quantity in QUANTITIES.items() if not quantity.of_counts]


def which_of(model):
    """Return the quantities of one number a row that the family of a model has."""
    return [name for name in WHICH if not QUANTITIES[name].needs(model.core.family)]


#: Every case with every quantity that its family has.
PREDICTED = [(name, which) for name, case in CASES.items() for which in which_of(case.formula())]
#: Those whose ratios mean something.
RATIOS = [(name, which) for name, which in PREDICTED if not QUANTITIES[which].signed]


@cache
def fitted(name, right="x + group | z + group"):
    """Return the formula fit of a case, shared by the tests that only read it."""
    return CASES[name].formula(right).fit()


@pytest.fixture
def data():
    return simulated().copy()


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=CASES)
def res(request):
    return fitted(request.param)


@pytest.fixture(params=[name for name, case in CASES.items() if case.exact])
def exact(request):
    return fitted(request.param)


@pytest.fixture(params=[name for name, case in CASES.items() if not case.exact])
def quasi(request):
    return fitted(request.param)
