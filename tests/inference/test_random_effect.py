"""Score test for a variance component: the score, what it is adjusted for, and what it finds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import CASES, fitted, simulated
from numpy.polynomial.hermite_e import hermegauss
from numpy.testing import assert_allclose
from scipy.special import logsumexp

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.estimation.record import fitted_of
from hetglm.inference.variance_component import PairScore, groupings

RES = fitted("beta-binomial", "x | z")
EXACT = [name for name, case in CASES.items() if case.exact]
#: Variance at which the derivative of the marginal likelihood is taken; its error is of this order.
SMALL = 1e-7
#: Relative error of the derivative there.
DERIVATIVE = 1e-3
#: Error of an information from 10,000 rows, whose standard error is about 0.01.
SAMPLING = 0.06


def pair_score(res, groups, part, x=None):
    fitted = fitted_of(res)
    codes = groupings(res.model, groups)[0].codes
    x = np.ones(fitted.core.n) if x is None else x
    return PairScore(fitted.core, fitted.fit, codes, x, part)


def marginal(task, variance):
    """Return the marginal log-likelihood with a random effect of this variance, by 7 nodes."""
    nodes, weights = hermegauss(7)
    core, rows = task.core, []
    for b in np.sqrt(variance) * nodes:
        offset = np.zeros(core.n) if core.offset is None else core.offset
        other = np.zeros(core.n) if core.offset_dispersion is None else core.offset_dispersion
        mean = task.part == "mean"
        shifted = replace(
            core,
            offset=offset + b * task.x * mean,
            offset_dispersion=other + b * task.x * (not mean),
        )
        rows.append(np.bincount(task.codes, shifted.loglike_rows(task.fit.internal)))
    return logsumexp(np.array(rows), axis=0, b=(weights / weights.sum())[:, None]).sum()


@pytest.mark.parametrize("part", ["mean", "dispersion"])
@pytest.mark.parametrize("name", EXACT)
def test_score_is_the_slope_of_the_marginal_likelihood_without_its_single_rows(name, part):
    x = simulated()["x"].to_numpy()
    task = pair_score(fitted(name), "block", part, x)
    at = task.core.factors(task.fit.internal)
    first, second = (at.eta, at.eta_eta) if part == "mean" else (at.zeta, at.zeta_zeta)
    single = np.sum(x**2 * (first**2 + second)) / 2
    slope = (marginal(task, SMALL) - marginal(task, 0.0)) / SMALL
    scale = abs(slope) + abs(single)
    assert task.of_response(task.core) == pytest.approx(slope - single, abs=DERIVATIVE * scale)


@pytest.mark.parametrize("name", EXACT)
def test_information_is_the_expected_one(name):
    res = fitted(name, "x | z")
    expected = -res.core.expected_hessian(res.fit.internal)
    scale = np.sqrt(np.diag(expected))
    error = (pair_score(res, "block", "mean").information - expected) / np.outer(scale, scale)
    assert_allclose(error, 0, atol=SAMPLING)


def test_efficient_scores_of_a_draw_solve_the_likelihood_equations():
    task = pair_score(RES, "block", "mean")
    factors = task.drawn(np.random.default_rng(1)).factors(task.fit.internal, 1)
    scores = {p: replace(task, part=p).efficient(factors) for p in ("mean", "dispersion")}
    assert_allclose(task.core.X.T @ scores["mean"], 0, atol=1e-9)
    assert_allclose(task.core.Z.T @ scores["dispersion"], 0, atol=1e-9)


def grouped(part, sd, n_groups=40, size=10, seed=1):
    """Return normal responses with a random effect of this standard deviation in one part."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), size)
    b = sd * rng.normal(size=n_groups)[codes]
    e, x = rng.normal(size=(2, n_groups * size))
    y = b + e if part == "mean" else np.exp(b / 2) * e
    return pd.DataFrame({"y": y, "x": x, "plate": codes, "slope": y + (x - 1) * b})


@pytest.mark.parametrize("part", ["mean", "dispersion"])
def test_finds_the_random_effect_with_its_sd_in_its_part(part):
    res = hmf.doubleglm("y ~ x", grouped(part, 0.6)).fit()
    found = res.test_random_effect("plate", part=part, rng=1)
    assert (found.term, found.part, found.n_groups, found.draws) == ("(1 | plate)", part, 40, 199)
    assert found.pvalue == 0.005
    assert found.statistic > 5
    assert found.sd == pytest.approx(0.6, abs=0.2)
    none = hmf.doubleglm("y ~ x", grouped(part, 0.0)).fit().test_random_effect("plate", rng=1)
    assert none.pvalue > 0.1
    assert (
        f"Score test of (1 | plate) in the {part}, H0: its variance is 0: score z = "
        in " ".join(str(found).split())
    )


def test_a_slope_that_varies():
    res = hmf.doubleglm("slope ~ x", grouped("mean", 0.6)).fit(reml=True)
    by_name = res.test_random_effect("plate", "x", nrep=49, rng=1)
    assert (by_name.term, by_name.pvalue) == ("(0 + x | plate)", 0.02)
    assert by_name.sd == pytest.approx(0.6, abs=0.2)
    data = res.model.frame
    assert res.test_random_effect(data["plate"], data["x"], nrep=49, rng=1) == by_name


def test_frequencies_count_as_rows():
    data = grouped("mean", 0.3, size=3)
    weights = np.arange(len(data)) % 3 + 1
    res = hmf.doubleglm("y ~ x", data, freq_weights=weights).fit()
    repeated = hmf.doubleglm("y ~ x", data.loc[data.index.repeat(weights)]).fit()
    found, expected = (r.test_random_effect("plate", nrep=9, rng=1) for r in (res, repeated))
    assert_allclose(
        [found.statistic, found.sd, found.pvalue],
        [expected.statistic, expected.sd, expected.pvalue],
        rtol=1e-5,
    )
    twice = hmf.doubleglm("y ~ x", data, freq_weights=2 * weights).fit()
    assert twice.test_random_effect(np.arange(120), nrep=2, rng=1).n_groups == 120


def test_gene_is_found_in_the_dispersion_of_splicing():
    data = het.datasets.load_splicing()
    data = data[data["treatment"] == "t.1"].groupby("id").head(6)
    res = hmf.betabinomial("K + I(N - K) ~ C(id) | group", data).fit()
    found = res.test_random_effect("id", part="dispersion", nrep=99, rng=1)
    assert found.pvalue == 0.01
    assert found.statistic > 10
    with pytest.raises(ValueError, match="the mean: it has a fixed coefficient for each group"):
        res.test_random_effect("id")


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.BoundaryWarning")
def test_no_dispersion_at_the_boundary_has_a_random_effect():
    y = np.tile([3, 4, 3, 4], 10)
    res = het.NegativeBinomial(y, np.ones(40)).fit()
    codes = np.arange(40) // 4
    with pytest.raises(ValueError, match="in the dispersion: no row is informative"):
        res.test_random_effect(codes, part="dispersion")
    found = res.test_random_effect(codes, nrep=19, rng=1)
    assert (found.term, found.sd) == ("(1 | g)", 0.0)
    assert found.pvalue > 0.2


LEVELS = np.arange(120)
BAD = {
    "part": ({"groups": "block", "part": "variance"}, "part='variance': choose 'mean' or"),
    "single rows": ({"groups": LEVELS}, r"\(1 \| g\): nothing to test in the mean: every group is"),
    "one group": ({"groups": 0 * LEVELS}, "groups: all rows are in one group"),
    "two": ({"groups": ["block", "site"]}, "groups: give one grouping variable"),
    "unknown exog": ({"groups": "block", "exog": "zz"}, "exog='zz' is not a column"),
    "short exog": ({"groups": "block", "exog": LEVELS[1:]}, r"exog: shape \(119,\)"),
    "missing exog": (
        {"groups": "block", "exog": np.where(LEVELS == 4, np.nan, 1.0)},
        "exog: missing or infinite values; see row 4",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input(bad):
    kwargs, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        RES.test_random_effect(**kwargs)


@pytest.mark.parametrize("name", [name for name in CASES if name not in EXACT])
def test_extended_quasi_likelihood_is_refused_with_what_to_use(name):
    for call in (fitted(name).test_random_effect, fitted(name).diagnose):
        with pytest.raises(
            NotImplementedError, match=r"no marginal likelihood .*; use a model with"
        ):
            call("block")


def test_names_of_groups():
    model, block = RES.model, simulated()["block"]
    two = pd.DataFrame({"block": block, "site": simulated()["site"]})
    given = ("block", ["block"], block, block.to_numpy(), -block.to_numpy(), 1.0 * block.to_numpy())
    names = [groupings(model, groups)[0].name for groups in given]
    assert names == ["block", "block", "block", "block", "g", "block"]
    for pair in (["block", "site"], two.to_numpy()):
        assert [grouping.name for grouping in groupings(model, pair)] == ["block", "site"]
