"""
Bias, coverage and size of tests with random effects, by simulation, and the documentation's tables.

``PYTHONPATH=tests python tests/mixed/test_truth.py`` writes the tables, in a quarter of an hour or so of
an idle core, and prints what was warned of; the slow tests compare them with other draws.
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from scipy.special import expit

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.mixed.satterthwaite import satterthwaite

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "random_effects_simulations.rst"
TABLE = DOCS / "simulations" / "random_effects.csv"
SIZES = DOCS / "simulations" / "random_effects_tests.csv"
#: Draws of the tables: many of linear mixed models, whose fits take a hundredth of a second.
DRAWS = {
    "Gaussian": range(1000),
    "Gaussian, both parts": range(150),
    "beta-binomial": range(150),
    "binary": range(150),
}
DRAWS_OF_SIZES = {
    "sd(g) = 0": range(250),
    "sd(dispersion-g) = 0": range(80),
    "z = 0": range(1000),
}
#: Draws of the slow tests, which are others.
HERE = range(1000, 1060)
GROUPS, ROWS, TRIALS = (10, 20, 40), 10, 20
#: A number may be this many standard errors from that of other draws.
MONTE_CARLO = 4
#: The intercept and the effect of z on mean and dispersion; the groups' standard deviations in both.
MEAN, SD_MEAN, SD_DISPERSION = (-0.3, 0.5), 1.0, 0.7
DISPERSION = {"Gaussian": (0.0, 0.7), "beta-binomial": (-2.0, 0.7)}
LAPLACE, NODES, BOTH = {"nodes": 1}, {"nodes": 15}, {"reml": "both", "nodes": 1}


class Setting(NamedTuple):
    """A model: its formula, and its fits by name."""

    formula: str
    fits: dict


BOTH_PARTS, OF_BOTH = "Gaussian, both parts", "REML of both, Laplace"
DISPERSION_SD = "sd(dispersion-g)"
SETTINGS = {
    "Gaussian": Setting("y ~ z + (1 | g)", {"ML": {}, "REML": {"reml": True}}),
    BOTH_PARTS: Setting(
        "y ~ z + (1 | g) | z + (1 | g)",
        {"ML, Laplace": LAPLACE, "ML, 15 nodes": NODES, OF_BOTH: BOTH},
    ),
    "beta-binomial": Setting(
        "y + I(N - y) ~ z | z + (1 | g)",
        {"ML, Laplace": LAPLACE, "ML, 15 nodes": NODES, OF_BOTH: BOTH},
    ),
    "binary": Setting("y ~ z + (1 | g) | 0", {"ML, Laplace": LAPLACE, "ML, 15 nodes": NODES}),
}
CELLS = [
    (name, fit, groups) for name in SETTINGS for fit in SETTINGS[name].fits for groups in GROUPS
]
#: Parameter -> its truth, and whether its bias is relative.
TRUTHS = {
    "z": (MEAN[1], False),
    "dispersion-z": (0.7, False),
    "sd(g)": (SD_MEAN, True),
    "sd(dispersion-g)": (SD_DISPERSION, True),
}


# ---- simulation ------------------------------------------------------------------------------------


@cache
def model(name, groups):
    """Return a model of half the groups at z = 1; its response is drawn anew each time."""
    g = np.repeat(np.arange(groups), ROWS)
    data = pd.DataFrame({"g": g, "z": g % 2.0, "y": np.arange(len(g)) % 2.0, "N": float(TRIALS)})
    family = {"family": sm.families.Binomial()} if name == "binary" else {}
    make = hmf.betabinomial if name == "beta-binomial" else hmf.doubleglm
    return make(SETTINGS[name].formula, data, **family)


def drawn(name, groups, draw):
    """Return a model of data drawn from the truth, the same for every fit."""
    rng = np.random.default_rng([20261128, groups, draw])
    g, empty = np.repeat(np.arange(groups), ROWS), model(name, groups)
    b, c = rng.normal(size=(2, groups))[:, g]
    formula, z = SETTINGS[name].formula, g % 2.0
    mean, _, dispersion = formula.partition(" | z")
    eta = MEAN[0] + MEAN[1] * z + SD_MEAN * b * ("(1" in mean)
    base, ratio = DISPERSION[name.partition(",")[0]] if name != "binary" else (0.0, 0.0)
    log_phi = base + (ratio * z + SD_DISPERSION * c) * bool(dispersion)
    return empty.clone(endog=response(name, eta, np.exp(log_phi), rng))


def response(name, eta, phi, rng):
    if name.startswith("Gaussian"):
        return eta + np.sqrt(phi) * rng.normal(size=len(eta))
    mu = expit(eta)
    if name == "binary":
        return rng.binomial(1, mu).astype(float)
    return rng.binomial(TRIALS, rng.beta(mu / phi, (1 - mu) / phi)).astype(float)


def outcome(cell, draw):
    """Return errors, coverages and failures of one fit, as a dict; and its warnings."""
    name, fit, groups = cell
    new = drawn(name, groups, draw)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            res = new.fit(**SETTINGS[name].fits[fit])
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            return {"no fit": True}, [f"{type(error).__name__}: {error}"]
    out = {"no fit": not res.converged, "at 0": bool(res.fit.at_boundary.any())}
    names, limits = new.parameter_names, np.asarray(res.conf_int())
    for i, parameter in enumerate(names):
        if parameter in TRUTHS:
            truth, relative = TRUTHS[parameter]
            error = np.asarray(res.params)[i] - truth
            out["bias", parameter] = error / truth if relative else error
            # without an interval, as at a standard deviation of 0, nothing is covered
            out["covers", parameter] = bool(limits[i, 0] <= truth <= limits[i, 1])
    return out, [str(w.message) for w in caught]


def simulated(cell, draws, heard=None):
    """Return a frame with a row for each draw; warnings are added to ``heard``."""
    rows = []
    for draw in draws:
        row, said = outcome(cell, draw)
        rows.append(row)
        if heard is not None:
            heard.update(said)
    return pd.DataFrame(rows)


# ---- size of tests ---------------------------------------------------------------------------------

#: Hypothesis -> formulas of the smaller and the larger model, standard deviations of the effects.
NULLS = {
    "sd(g) = 0": ("y ~ z", "y ~ z + (1 | g)", 0.0),
    "sd(dispersion-g) = 0": ("y ~ z + (1 | g) | z", "y ~ z + (1 | g) | z + (1 | g)", 1.0),
    "z = 0": ("y ~ (1 | g)", "y ~ z + (1 | g)", 1.0),
}
#: Draws of a bootstrap: P = 1 / 20 where the observed ratio is above all; one above it decides.
BOOTSTRAP = {"nrep": 19, "sequential": 1}
LEVEL, ROUNDING = 0.05, 1e-12
#: Hypothesis -> the test that the page advises.
ADVISED = {
    "sd(g) = 0": "bootstrap",
    "sd(dispersion-g) = 0": "bootstrap",
    "z = 0": "t, Satterthwaite",
}


@cache
def pair(null, groups):
    """Return the models of a hypothesis and of its alternative."""
    g = np.repeat(np.arange(groups), ROWS)
    data = pd.DataFrame({"g": g, "z": g % 2.0, "y": np.arange(len(g)) % 3.0})
    return tuple(hmf.doubleglm(formula, data) for formula in NULLS[null][:2])


def pvalues(null, groups, draw):
    """Return P of each test of a hypothesis that holds."""
    rng = np.random.default_rng([20261129, groups, draw])
    effects = NULLS[null][2] * np.repeat(rng.normal(size=groups), ROWS)
    y = effects + rng.normal(size=len(effects))
    smaller, larger = (model.clone(endog=y) for model in pair(null, groups))
    if null == "z = 0":
        return of_effect(smaller.fit(), larger)
    fits = smaller.fit(**LAPLACE if smaller.random else {}), larger.fit(**LAPLACE)
    bootstrap = het.anova(*fits, test="bootstrap", rng=draw, **BOOTSTRAP)["P"].iloc[1]
    bound = het.anova(*fits, test="chi-bar-square")["P"].iloc[1]
    ratio = 2 * (fits[1].llf - fits[0].llf)
    return {"chi-square": stats.chi2.sf(ratio, 1), "chi-bar-square": bound, "bootstrap": bootstrap}


def of_effect(smaller, larger):
    """Return P of each test of z."""
    ml, reml = larger.fit(), larger.fit(reml=True)
    df = satterthwaite(larger.core, larger.random, reml.fit).df(np.array([0.0, 1.0]))
    z = np.asarray(reml.tvalues)[1]
    return {
        "LR, ML": stats.chi2.sf(2 * (ml.llf - smaller.llf), 1),
        "Wald z, ML": np.asarray(ml.pvalues)[1],
        "Wald z, REML": np.asarray(reml.pvalues)[1],
        "t, Satterthwaite": 2 * stats.t.sf(abs(z), df),
    }


def sizes(null, groups, draws):
    """Return the share of P of at most 5 % of each test, in per cent, with its standard error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of standard deviations of 0, which half of them have
        found = pd.DataFrame([pvalues(null, groups, draw) for draw in draws])
    return {test: share(found[test] <= LEVEL + ROUNDING) for test in found}


# ---- the table -------------------------------------------------------------------------------------


def line(cell, draws, heard=None):
    """Return a line of the table: numbers with their standard errors, in per cent but for effects."""
    found = simulated(cell, draws, heard)
    out = {}
    for parameter, (_, relative) in TRUTHS.items():
        if ("bias", parameter) in found:
            values = found["bias", parameter].dropna() * (100 if relative else 1)
            out[f"bias {parameter}"] = values.mean(), values.sem()
            out[f"covers {parameter}"] = share(found["covers", parameter].fillna(False))
    out["at 0"] = share(found["at 0"].fillna(False))
    out["no fit"] = share(found["no fit"])
    return out


def share(values):
    """Return a share in per cent with its standard error."""
    p = np.mean(values.astype(float))
    return 100 * p, share_error(p, len(values))


def share_error(p, n):
    """Return the standard error of a share in per cent."""
    inner = (n * p + 0.5) / (n + 1)  # half a draw more on either side, lest 0 be known for sure
    return 100 * np.sqrt(inner * (1 - inner) / n)


COLUMNS = [*(f"{kind} {p}" for p in TRUTHS for kind in ("bias", "covers")), "at 0", "no fit"]
#: Columns in the parameters' own units.
EFFECTS = ("bias z", "bias dispersion-z")


def text(column, number, se):
    """Return a cell of the table; biases show their standard errors."""
    if column in EFFECTS:
        return f"{number:+.2f} ± {se:.2f}"
    return f"{number:+.1f} ± {se:.1f}" if column.startswith("bias") else f"{number:.1f}"


def table(draws=DRAWS):
    """Return the rows of the table of bias and coverage."""
    for cell in CELLS:
        heard = Counter()
        found = line(cell, draws[cell[0]], heard)
        for said, times in heard.most_common(3):
            print(f"    {times} x {said[:150]}", file=sys.stderr)
        cells = [text(c, *found[c]) if c in found else "" for c in COLUMNS]
        yield [*cell, len(draws[cell[0]]), *cells]


def table_of_sizes(draws=DRAWS_OF_SIZES):
    """Return the rows of the table of sizes."""
    for null in NULLS:
        found = [sizes(null, groups, draws[null]) for groups in GROUPS]
        for test in found[0]:
            cells = [f"{by_test[test][0]:.1f}" for by_test in found]
            yield [null, test, len(draws[null]), *cells]


def write(path, header, rows):
    """Write and print a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in [header, *rows]:
            writer.writerow(row)
            file.flush()
            print(*row, sep="  ", flush=True)


HEADER = ["Model", "Fit", "Groups", "Draws", *COLUMNS]
HEADER_OF_SIZES = ["Hypothesis", "Test", "Draws", *map(str, GROUPS)]


@cache
def published():
    """Return the table as {cell: {column: (number, standard error)}}."""
    return {
        (row["Model"], row["Fit"], int(row["Groups"])): {
            column: read(row[column], int(row["Draws"])) for column in COLUMNS if row[column]
        }
        for row in csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines())
    }


@cache
def published_sizes():
    """Return the table of sizes as {(hypothesis, groups): {test: (percentage, standard error)}}."""
    out = {}
    for row in csv.DictReader(SIZES.read_text(encoding="utf-8").splitlines()):
        for groups in GROUPS:
            of_tests = out.setdefault((row["Hypothesis"], groups), {})
            of_tests[row["Test"]] = read(row[str(groups)], int(row["Draws"]))
    return out


def read(cell, n):
    """Return the number of a cell and its standard error, which a share of n draws has by itself."""
    number, _, se = cell.partition(" ± ")
    return float(number), float(se) if se else share_error(float(number) / 100, n)


def assert_near(found, expected):
    """Compare numbers of these draws with those of the table's."""
    assert found.keys() == expected.keys()
    for column, (number, se) in found.items():
        theirs, their_se = expected[column]
        # a standard deviation of few draws is itself uncertain
        assert abs(number - theirs) <= MONTE_CARLO * np.hypot(max(se, their_se), their_se), column


# ---- tests -----------------------------------------------------------------------------------------


def test_the_tables_have_every_cell():
    assert list(published()) == CELLS
    assert list(published_sizes()) == [(null, groups) for null in NULLS for groups in GROUPS]


def test_a_cell_can_be_computed():
    cell = CELLS[0]
    assert line(cell, range(3)).keys() == published()[cell].keys()
    null = "sd(g) = 0"
    assert sizes(null, 10, range(2)).keys() == published_sizes()[null, 10].keys()


def test_quadrature_ends_at_a_standard_deviation_of_zero():
    found, said = outcome(("binary", "ML, 15 nodes", 10), 15)
    assert found["at 0"]
    assert not found["no fit"]
    assert "singular" in " ".join(said)


def test_fits_converge_and_the_page_says_so():
    assert all(cell["no fit"][0] == 0 for cell in published().values())
    assert "Every fit converged" in PAGE.read_text(encoding="utf-8")


def bias(cell, parameter):
    return published()[cell][f"bias {parameter}"]


@pytest.mark.parametrize("groups", GROUPS)
def test_what_the_page_says_of_bias(groups):
    for name, fits in (("Gaussian", ("ML", "REML")), (BOTH_PARTS, ("ML, Laplace", OF_BOTH))):
        ml, reml = (bias((name, fit, groups), "sd(g)") for fit in fits)
        assert ml[0] < reml[0]
        assert abs(reml[0]) < MONTE_CARLO * reml[1] + 100 / (4 * (groups - 2))
    for name, parameter in ((BOTH_PARTS, DISPERSION_SD), ("beta-binomial", DISPERSION_SD)):
        laplace, nodes, reml = (
            bias((name, fit, groups), parameter)[0]
            for fit in ("ML, Laplace", "ML, 15 nodes", OF_BOTH)
        )
        assert laplace < nodes < 0
        assert laplace < reml
    assert bias(("binary", "ML, Laplace", groups), "sd(g)") < bias(
        ("binary", "ML, 15 nodes", groups), "sd(g)"
    )


def test_fixed_effects_have_no_bias():
    for cell, found in published().items():
        for column in EFFECTS:
            if column in found:
                number, se = found[column]
                assert abs(number) < MONTE_CARLO * se, (cell, column)


@pytest.mark.parametrize("groups", GROUPS)
def test_tests_that_the_page_advises_have_their_size(groups):
    for null, test in ADVISED.items():
        size, se = published_sizes()[null, groups][test]
        assert abs(size - 100 * LEVEL) < MONTE_CARLO * se
    for null in ("sd(g) = 0", "sd(dispersion-g) = 0"):
        found = published_sizes()[null, groups]
        assert found["chi-square"][0] <= found["chi-bar-square"][0]


def test_wald_tests_reject_too_often_with_few_groups():
    found = published_sizes()["z = 0", 10]
    assert found["t, Satterthwaite"][0] < found["Wald z, REML"][0] < found["Wald z, ML"][0]


def test_a_number_that_moved_is_seen():
    expected = {"covers z": (95.0, 1.5), "bias z": (0.0, 0.05)}
    assert_near({"covers z": (92.0, 2.5), "bias z": (0.1, 0.08)}, expected)
    for moved in ({"covers z": (80.0, 2.5)}, {"bias z": (0.5, 0.08)}):
        with pytest.raises(AssertionError):
            assert_near({**expected, **moved}, expected)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cells_are_those_of_the_table(cell):
    assert_near(line(cell, HERE), published()[cell])


@pytest.mark.slow
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("null", NULLS)
def test_sizes_are_those_of_the_table(null, groups):
    assert_near(sizes(null, groups, HERE), published_sizes()[null, groups])


if __name__ == "__main__":
    write(TABLE, HEADER, table())
    write(SIZES, HEADER_OF_SIZES, table_of_sizes())
