"""What every quantity of the table promises, for every family that has it."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from conftest import CASES, PREDICTED, fitted, simulated, which_of
from numpy.testing import assert_allclose
from statsmodels.tools.numdiff import approx_fprime

from hetglm.prediction.quantities import QUANTITIES, asked, predict

#: Five-point differences at this step: h^4 and rounding over h are both about 1e-12.
STEP = 1e-3
WEIGHTS = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
#: Of these, against the largest of the derivative and the value.
DIFFERENCES = 1e-9
#: Central differences in the coefficients, of step 6e-6.
IN_COEFFICIENTS = 1e-6
#: The same numbers in another order of operations.
ROUNDING = 1e-9
#: A count that is possible in every row.
COUNT = 3

#: Rows at which derivatives are compared: those of a fit, weighted ones, another dispersion link.
ROWS = {
    "fitted": lambda rows: rows,
    "weighted": lambda rows: replace(rows, weights=simulated()["w"].to_numpy(float)),
    "square root": lambda rows: replace(
        rows, link_dispersion=sm.families.links.Sqrt(), offset_dispersion=np.full(rows.n, 5.0)
    ),
}
PROBABLE = [
    name for name, case in CASES.items() if case.exact and case.formula().core.family.discrete
]
PAIRS = [*PREDICTED, *((name, "prob") for name in PROBABLE)]
every_pair = pytest.mark.parametrize(("name", "which"), PAIRS)


def at(name, rows="fitted"):
    """Return rows of a case and coefficients near its maximum."""
    res = fitted(name)
    return ROWS[rows](res.model.core), np.asarray(res.params)


def by_differences(function, rows, params):
    """Return the derivatives of ``function(rows, predictors)`` in both linear predictors."""
    found = []
    for name in ("offset", "offset_dispersion"):
        start = getattr(rows, name)
        start = np.zeros(rows.n) if start is None else start
        shifted = {k: replace(rows, **{name: start + k * STEP}) for k in WEIGHTS}
        found.append(
            sum(w * function(shifted[k], shifted[k].predictors(params)) for k, w in WEIGHTS.items())
            / STEP
        )
    return found


def assert_slopes(quantity, rows, params, of="value"):
    """Compare the derivatives of a quantity, or of its transform, with differences."""
    if of == "value":
        found, function = quantity.slopes, lambda r, p: quantity.value(r, p).reshape(r.n)
    else:
        found, function = (
            lambda r, p: quantity.scale(quantity, r, p).slopes,
            lambda r, p: quantity.scale(quantity, r, p).centre,
        )
    there = rows.predictors(params)
    size = np.abs(function(rows, there))
    for part, slope, expected in zip(
        ("mean", "dispersion"),
        found(rows, there),
        by_differences(function, rows, params),
        strict=True,
    ):
        assert (slope is None) == (part not in quantity.parts), part
        apart = np.abs((0.0 if slope is None else slope) - expected)
        assert np.all(apart <= DIFFERENCES * np.maximum(size, np.abs(expected))), part


@every_pair
@pytest.mark.parametrize("rows", ROWS)
def test_derivatives(name, which, rows):
    """Of the value and of its transform, None where a part is not read."""
    quantity = asked(which, COUNT)
    for of in ("value", "transform"):
        assert_slopes(quantity, *at(name, rows), of)


@pytest.mark.parametrize("which", QUANTITIES)
def test_a_wrong_derivative_is_seen(which):
    quantity, (rows, params) = asked(which, COUNT), at("beta-binomial")

    def a_little_steeper(rows, at):
        return tuple(s if s is None else (1 + 1e-6) * s for s in quantity.slopes(rows, at))

    def swapped(rows, at):
        return quantity.slopes(rows, at)[::-1]

    for wrong in (a_little_steeper, swapped):
        with pytest.raises(AssertionError):
            assert_slopes(replace(quantity, slopes=wrong), rows, params)


@every_pair
@pytest.mark.parametrize("rows", ROWS)
def test_transform(name, which, rows):
    """Back from the transform there is the value, which has the slope that is said."""
    quantity, (rows, params) = asked(which, COUNT), at(name, rows)
    there = rows.predictors(params)
    value, t = quantity.value(rows, there).reshape(rows.n), quantity.scale(quantity, rows, there)
    assert_allclose(t.inverse(t.centre).reshape(rows.n), value, rtol=ROUNDING)
    slope = sum(w * t.inverse(t.centre + k * STEP) for k, w in WEIGHTS.items()) / STEP
    assert np.all(np.abs(slope - t.slope) <= DIFFERENCES * np.maximum(np.abs(value), np.abs(slope)))


@every_pair
def test_parts(name, which):
    """It is NaN where a part that it reads is, and not where another is."""
    rows, params = at(name)
    for part, design in (("mean", "X"), ("dispersion", "Z")):
        unknown = rows.with_designs(**{design: np.full_like(getattr(rows, design), np.nan)})
        values = predict(unknown, params, which, COUNT)
        assert (
            np.isnan(values).all()
            if part in QUANTITIES[which].parts
            else not np.isnan(values).any()
        )


@every_pair
def test_signs(name, which):
    """What is not signed is positive, but for means whose link allows others."""
    if which != "mean" and not QUANTITIES[which].signed:
        assert np.all(predict(*at(name), which, COUNT) > 0)


@pytest.mark.parametrize("name", CASES)
def test_what_a_family_does_not_have_is_refused(name):
    res = fitted(name)
    refused = set(QUANTITIES) - set(which_of(res.model)) - {"prob"}
    for which in refused:
        for call in (res.predict, res.get_prediction, res.get_margeff, res.dispersion_ratios):
            with pytest.raises(
                ValueError, match=f"^which='{which}': {res.model.core.family.name} "
            ):
                call(which=which)


@pytest.mark.parametrize("which", QUANTITIES)
def test_every_name_is_in_the_documentation_and_in_messages(which):
    res = fitted("beta-binomial")
    assert f'- "{which}": {QUANTITIES[which].text}' in type(res._results).predict.__doc__
    with pytest.raises(ValueError, match=rf"which='nope': choose one of .*'{which}'"):
        res.predict(which="nope")
    if not QUANTITIES[which].of_counts:
        with pytest.raises(ValueError, match=rf"which='nope': choose one of .*{which}"):
            res.get_margeff("nope")


# ---- weights -----------------------------------------------------------------------------------

WEIGHTED = [pair for pair in PREDICTED if "var_weights" not in CASES[pair[0]].cls.refused]


@pytest.mark.parametrize(("name", "which"), WEIGHTED)
def test_standard_errors_with_variance_weights(name, which):
    """Of the rows of the fit and, with their weights, of new ones."""
    data = simulated()
    res = CASES[name].formula(var_weights="w").fit()
    params, cov = np.asarray(res.params), np.asarray(res.cov_params())
    jacobian = approx_fprime(params, lambda p: res.model.predict(p, which=which), centered=True)
    se = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, cov, jacobian))
    assert_allclose(res.get_prediction(which=which).se, se, rtol=IN_COEFFICIENTS)
    new = res.get_prediction(data.iloc[[5, 1]], which=which).summary_frame()
    expected = res.get_prediction(which=which).summary_frame().iloc[[5, 1]]
    assert_allclose(new, expected, rtol=ROUNDING)
