"""The plain-language check finds each planted fault, and leaves clean fits alone."""

import doctest
import pickle
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import CASES, fitted, simulated
from numpy.testing import assert_allclose
from scipy import linalg

import hetglm.api as het
import hetglm.formula.api as hmf
from hetglm.diagnostics import findings
from hetglm.diagnostics.findings import MAX_HAUCK_DONNER_Z, subsample, wald_slopes
from hetglm.likelihood.likelihood import Likelihood
from hetglm.models import results_diagnostics

#: Central differences of the refitted information agree to so much.
DIFFERENCES = 1e-5
#: Standard error of a direction's information from 1500 draws is sqrt(5/1500), 0.06.
SAMPLING = 0.2


def planted(formula, model="doubleglm", change=None, n=120, fit=None, **kwargs):
    """Return a fit to the simulated data with a fault in them."""
    data = simulated().iloc[:n].copy()
    data["row"] = np.arange(n)
    if change is not None:
        data = change(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(hmf, model)(formula, data, **kwargs).fit(**(fit or {}))


def never(data):
    """Let the group c have no success, and no count."""
    return data.assign(
        **{name: data[name].where(data["group"] != "c", 0) for name in ("K", "count")}
    )


def odd(data, rows, name="odd"):
    """Mark some rows."""
    return data.assign(**{name: data["row"].isin(rows).astype(float)})


def even(data):
    """Let the counts of group b vary as little as they can."""
    b = data["group"] == "b"
    return data.assign(
        count=data["count"].where(~b, 3 + data["row"] // 3 % 2),
        K=data["K"].where(~b, data["N"] // 2),
    )


def all_or_nothing(data):
    """Let the proportions of group b be 0 or 1."""
    b = data["group"] == "b"
    return data.assign(K=data["K"].where(~b, data["N"] * (data["row"] // 3 % 2)))


def nearly_never(data):
    """Let group c have one success."""
    data = never(data)
    first = data.index[data["group"] == "c"][0]
    data.loc[first, ["K", "count"]] = 1
    return data


def falling(data):
    """Add counts whose mean would fall below 0 at large x."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=len(data))
    return data.assign(x=x, falling=rng.poisson(np.maximum(40 * (0.9 - x), 0.02)))


def crossed(data):
    """Return a cell of each level of two factors, one of the mean and one of the dispersion."""
    n, y = [14, 11, 16, 13, 10, 4, 12, 22, 23], [11, 9, 16, 7, 10, 4, 12, 0, 19]
    return pd.DataFrame({"a": np.repeat(range(3), 3), "b": 3 * [0, 1, 2], "n": n, "y": y})


BINOMIAL = sm.families.Binomial()
IDENTITY = sm.families.Poisson(sm.families.links.Identity(), check_link=False)
GAMMA = sm.families.Gamma(sm.families.links.Log())
COUNT = "K + I(N - K) ~ "
FAULTS = {
    "separated beta-binomial": (
        lambda: planted(COUNT + "x + group | z", "betabinomial", never),
        ("separation", "group[T.c]"),
    ),
    "separated binomial by EQL": (
        lambda: planted(COUNT + "group | 1", change=never, family=BINOMIAL),
        ("separation", "group[T.c]"),
    ),
    "separated counts": (
        lambda: planted("count ~ x + group | z", "negativebinomial", never),
        ("separation", "group[T.c]"),
    ),
    "cell at the binomial": (
        lambda: planted(COUNT + "x | group", "betabinomial", even),
        ("boundary", "dispersion-group[T.b]"),
    ),
    "cell at the Poisson": (
        lambda: planted("count ~ x + group | group", "negativebinomial", even),
        ("boundary", "dispersion-group[T.b]"),
    ),
    "cell of all or nothing": (
        lambda: planted(COUNT + "1 | group", "betabinomial", all_or_nothing),
        ("boundary", "dispersion-group[T.b]"),
    ),
    "mean cell of one row": (
        lambda: planted("gaussian ~ x + odd | z", change=lambda d: odd(d, [4])),
        ("single row", "odd"),
    ),
    "mean cell of one row, gamma": (
        lambda: planted("positive ~ x + C(odd) | z", change=lambda d: odd(d, [9]), family=GAMMA),
        ("single row", "C(odd)[T.1.0]"),
    ),
    "dispersion cell of one row": (
        lambda: planted("gaussian ~ x | odd", change=lambda d: odd(d, [4])),
        ("single row", "dispersion-odd"),
    ),
    "dispersion cell of three rows": (
        lambda: planted("gaussian ~ x | C(odd)", change=lambda d: odd(d, [4, 50, 7])),
        ("few rows", "dispersion-C(odd)"),
    ),
    "few rows in the reference level": (
        lambda: planted("gaussian ~ x | C(odd)", change=lambda d: odd(d, range(4, 120))),
        ("few rows", "dispersion-C(odd)"),
    ),
    "dispersion cell that the mean eats": (
        lambda: planted(
            "gaussian ~ x + C(odd * (row // 2)) | odd", change=lambda d: odd(d, range(4, 12))
        ),
        ("few rows", "dispersion-odd"),
    ),
    "aliased in the mean": (
        lambda: planted("gaussian ~ x + I(2 * x) + group | z"),
        ("aliased", "I(2 * x)"),
    ),
    "aliased in the dispersion": (
        lambda: planted("gaussian ~ x | z + I(1 - z)"),
        ("aliased", "dispersion-I(1 - z)"),
    ),
    "Hauck-Donner, beta-binomial": (
        lambda: planted(COUNT + "group | 1", "betabinomial", nearly_never, n=30),
        ("Hauck-Donner", "group[T.c]"),
    ),
    "Hauck-Donner, counts": (
        lambda: planted("count ~ group | 1", "negativebinomial", nearly_never),
        ("Hauck-Donner", "group[T.c]"),
    ),
    "Hauck-Donner in the dispersion": (
        lambda: _lirat("hb + C(grp) | C(grp == 2)"),
        ("Hauck-Donner", "dispersion-C(grp == 2)[T.True]"),
    ),
    "near-singular mean": (
        lambda: planted("gaussian ~ x + I(x + 1e-5 * shift) | z"),
        ("near-singular", "I(x + 1e-5 * shift)"),
    ),
    "near-singular dispersion": (
        lambda: planted("gaussian ~ x | z + I(z + 1e-5 * shift)"),
        ("near-singular", "dispersion-I(z + 1e-5 * shift)"),
    ),
    "leverage on the mean": (
        lambda: planted(
            "gaussian ~ far | z", change=lambda d: d.assign(far=d["x"] + 200 * (d.row == 7))
        ),
        ("leverage", 7),
    ),
    "leverage on the dispersion": (
        lambda: planted(
            "gaussian ~ x | far", change=lambda d: d.assign(far=d["z"] + 50 * (d.row == 7))
        ),
        ("leverage", 7),
    ),
    "mean at the boundary of its domain": (
        lambda: planted("falling ~ x | 1", change=falling, family=IDENTITY),
        ("domain boundary", None),
    ),
    "two maxima": (
        lambda: planted("y ~ C(a) | C(b)", "betabinomial", crossed, n_trials="n"),
        ("several maxima", None),
    ),
    "search cut short": (
        lambda: planted("gaussian ~ x | z", fit={"maxiter": 1}),
        ("convergence", None),
    ),
}


def _lirat(right):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hmf.betabinomial(f"R + I(N - R) ~ {right}", het.datasets.load_lirat()).fit()


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name):
    make, (kind, what) = FAULTS[name]
    found = make().diagnose()
    hits = [f for f in found if f.kind == kind]
    assert hits, f"{kind} is not among {found.kinds}"
    if isinstance(what, int):
        assert any(f.rows == (what,) for f in hits)
    elif what is not None:
        assert any(what in f.terms for f in hits)
    # nothing else but what comes with it
    beside = {
        "separation": {"few rows", "small counts"},
        "boundary": {"Hauck-Donner"},
        "domain boundary": {"small counts", "near-singular", "leverage"},
        "several maxima": {"boundary", "few rows"},
    }
    beside = beside.get(kind, set())
    assert set(found.kinds) <= {kind} | beside
    assert all(f.evidence and f.remedy for f in found)


CLEAN = {
    **{name: lambda name=name: fitted(name) for name in CASES},
    "cats": lambda: hmf.doubleglm("Hwt ~ Sex * Bwt | Sex + Bwt", het.datasets.load_cats()).fit(),
    "welding": lambda: hmf.doubleglm(
        "Strength ~ Drying + Material | Material + Method + Preheating", het.datasets.load_welding()
    ).fit(reml=True),
    "germination": lambda: hmf.betabinomial(
        "y + I(n - y) ~ variety * root | root", het.datasets.load_germination()
    ).fit(),
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_fit_is_left_alone(name):
    res = CLEAN[name]()
    found = res.diagnose()
    if not res.model.core.family.exact:  # these counts are too small for it, and no more is wrong
        assert found.kinds == ["small counts"]
        return
    assert found == []
    assert str(found).startswith("No problems found by the checks that were run")


@pytest.mark.slow
def test_the_main_job_is_left_alone():
    splicing = het.datasets.load_splicing()
    assert (
        hmf.betabinomial("K + I(N - K) ~ C(id) | group + treatment", splicing).fit().diagnose()
        == []
    )


def _together(part):
    """Return data whose plates have effects in one part, and a column of rows without plates."""
    rng, plate = np.random.default_rng(4), np.arange(200) // 10
    b, e = (0.5 if part == "mean" else 0.8) * rng.normal(size=20)[plate], rng.normal(size=200)
    y = b + e if part == "mean" else np.exp(b / 2) * e
    return pd.DataFrame(
        {"y": y, "plate": plate, "row": np.arange(200), "other": np.arange(200) % 7}
    )


@pytest.mark.parametrize("part", ["mean", "dispersion"])
def test_rows_that_go_together_are_found_in_their_part(part):
    data = _together(part)
    model = hmf.doubleglm("y ~ 1", data)
    found = model.fit().diagnose("plate")
    assert found.kinds == ["correlated rows"]
    assert found[0].terms == ("(1 | plate)" if part == "mean" else "dispersion-(1 | plate)",)
    assert f"go together in the {part} (score z = " in found[0].evidence
    assert found[0].remedy.startswith(f"Write (1 | plate) in the {part}; or cov_type='cluster'")
    clustered = model.fit(cov_type="cluster", cov_kwds={"groups": ["plate", "other"]}).diagnose()
    assert clustered.kinds == found.kinds
    assert "the clustered standard errors allow for it" in clustered[0].remedy
    for none in (model.fit().diagnose(), hmf.doubleglm("other ~ 1", data).fit().diagnose("plate")):
        assert none == []
    assert "correlated rows" in none.checks
    for unknown in (None, "row"):
        assert "correlated rows" not in model.fit().diagnose(unknown).checks


def test_an_effect_in_the_mean_that_looks_like_one_in_the_dispersion_is_told():
    rng, plate = np.random.default_rng(1), np.arange(200) // 20
    y = 2 * rng.normal(size=10)[plate] + 0.5 * rng.normal(size=200)
    found = het.DoubleGLM(y, np.ones(200)).fit().diagnose(plate)
    assert [finding.terms for finding in found] == [("(1 | g)",), ("dispersion-(1 | g)",)]
    assert "one in the mean can look like it" in found[1].remedy
    fixed = het.DoubleGLM(y, np.eye(10)[plate]).fit()
    assert fixed.diagnose(plate) == []


def test_findings_print():
    found = _lirat("C(grp) + hb | C(grp)").diagnose()
    text = str(found)
    assert repr(found) == "<Diagnosis: 4 findings: boundary, few rows, Hauck-Donner>"
    assert text.startswith(
        "4 findings: boundary, few rows, Hauck-Donner\n1. boundary (dispersion-C(grp)[T.3]): at"
    )
    words = " ".join(text.split())
    assert "2. few rows (dispersion-C(grp)): rows 43, 44, 45, 46, 47 (counted from 0), 5" in words
    assert max(map(len, text.splitlines())) <= 80
    assert str(found[0]).startswith("boundary (")
    assert found[0].term == "dispersion-C(grp)[T.3]"
    assert found[0].rows == (43, 44, 45, 46, 47)
    with pytest.raises(FrozenInstanceError):
        found[0].kind = "other"
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("name", ["gaussian", "gamma", "beta-binomial", "nb2", "binomial"])
def test_wald_slopes_are_derivatives(name):
    res = fitted(name)
    core, fit = res.core, res.fit
    found = wald_slopes(core, fit)
    for j, b in enumerate(fit.internal):
        h = 1e-4

        def statistic(value, j=j):
            params = fit.internal.copy()
            params[j] = value
            return value / np.sqrt(np.linalg.inv(-core.expected_hessian(params))[j, j])

        slope = (statistic(b + h) - statistic(b - h)) / (2 * h)
        se = b / statistic(b)
        assert_allclose(found[j], slope * se, rtol=DIFFERENCES, atol=DIFFERENCES)


def test_hauck_donner_is_where_the_likelihood_ratio_is_larger():
    res = FAULTS["Hauck-Donner, counts"][0]()
    ratio = het.anova(res, typ=2).loc[("mean", "group"), "statistic"]
    assert res.tvalues["group[T.c]"] ** 2 < 0.5 * ratio


def test_separate_intercepts_are_no_hauck_donner():
    data = simulated().iloc[:21].assign(rare=lambda d: np.where(d.index < 3, 1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        res = hmf.betabinomial("rare + I(N - rare) ~ group - 1 | 1", data).fit()
    assert np.all(wald_slopes(res.core, res.fit)[:3] < 0)
    assert np.all(np.abs(res.tvalues[:3]) < MAX_HAUCK_DONNER_Z)
    assert "Hauck-Donner" not in res.diagnose().kinds


def test_frequencies_count_as_rows():
    def mark(data):
        return odd(data, [4, 50, 7]).assign(w=np.where(data["row"].isin([4, 50, 7]), 4, 1))

    found = planted("gaussian ~ x | odd", change=mark, freq_weights="w").diagnose()
    assert "single row" not in found.kinds
    assert "few rows" not in found.kinds


def test_arrays_and_removed_data():
    data = simulated().assign(odd=lambda d: (d.index == 3).astype(float))
    res = het.DoubleGLM(data["gaussian"], data[["x", "odd"]].assign(const=1.0), data[["z"]]).fit()
    (finding,) = res.diagnose()
    assert (finding.kind, finding.term, finding.rows) == ("single row", "odd", (3,))
    res.remove_data()
    with pytest.raises(ValueError, match="remove_data"):
        res.diagnose()


@pytest.mark.parametrize("index", ["default", "words", "numbers", "repeated"])
def test_rows_are_those_of_the_data_passed(index):
    data = simulated().copy()
    data["odd"] = 0.0
    data.iloc[20, data.columns.get_loc("odd")] = 1.0
    data.iloc[20, data.columns.get_loc("gaussian")] = 60.0
    data.iloc[:5, data.columns.get_loc("x")] = np.nan
    n = len(data)
    data.index = {
        "default": np.arange(n),
        "words": [f"r{i}" for i in range(n)],
        "numbers": np.arange(n)[::-1],
        "repeated": np.arange(n) // 2,
    }[index]
    word = {"words": "r20 (index label)", "numbers": "99 (index label)"}.get(
        index, "20 (counted from 0)"
    )
    (found,) = hmf.doubleglm("gaussian ~ x + odd | z", data).fit().diagnose()
    assert found.rows == (20,)
    assert f"for row {word} alone" in found.evidence
    res = hmf.doubleglm("gaussian ~ x + z | z", data).fit()
    beyond = res.simulate_residuals(99, rng=1, refit=False).outliers
    assert 20 in beyond
    assert 15 not in beyond
    whole = hmf.doubleglm("gaussian ~ x + shift + odd | z", data).fit()
    chosen = het.stepwise(whole, "backward", lambda fit: len(fit.params), keep="~ odd | 1").fit
    assert chosen.model.formula == "gaussian ~ odd | 1"
    (found,) = chosen.diagnose()
    assert found.rows == (20,)
    assert f"for row {word} alone" in found.evidence


def test_rows_of_arrays_are_counted_in_the_data_passed():
    data = simulated().assign(odd=lambda d: (d.index == 20).astype(float), one=1.0)
    data.loc[:4, "x"] = np.nan
    X, Z = data[["one", "x", "odd"]].to_numpy(), data[["one", "z"]].to_numpy()
    (found,) = het.DoubleGLM(data["gaussian"].to_numpy(), X, Z, missing="drop").fit().diagnose()
    assert found.rows == (20,)
    assert "row 20 (counted from 0)" in found.evidence


@pytest.mark.thorough
def test_many_rows_in_little_time():
    n = 200_000
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(4, size=n)})
    data["y"] = rng.normal(size=n) * np.exp(0.2 * data["g"])
    assert hmf.doubleglm("y ~ x | C(g)", data).fit().diagnose() == []


def rare(n):
    """Return a fit of counts to many rows, 40 of which are of a level with one count."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "g": "often"})
    alpha = np.exp(-1 + 0.3 * data["z"])
    data["y"] = rng.poisson(np.exp(1 + 0.4 * data["x"]) * rng.gamma(1 / alpha, alpha))
    data.loc[:39, ["g", "y"]] = "rare", 0
    data.loc[7, "y"] = 1
    return hmf.negativebinomial("y ~ x + g | z", data).fit()


@pytest.mark.thorough
def test_sums_over_counts_are_of_a_sample_of_rows(monkeypatch):
    # at 200,000 rows a minute went into the derivatives of the information
    seen, whole = [], Likelihood.expected_factors

    def counted(core, params):
        seen.append(core.n)
        return whole(core, params)

    res = rare(30_000)
    monkeypatch.setattr(Likelihood, "expected_factors", counted)
    found = res.diagnose()
    assert [f.term for f in found if f.kind == "Hauck-Donner"] == ["g[T.rare]"]
    assert max(seen) == 30_000
    assert sorted(seen)[-2] <= findings.N_SAMPLE_ROWS


@pytest.mark.thorough
def test_sample_of_rows_has_the_information_of_all(monkeypatch):
    monkeypatch.setattr(findings, "N_SAMPLE_ROWS", 1500)
    res = rare(3000)
    core, params = res.core, res.fit.internal
    influence = res.get_influence()
    leverage = influence.hat_matrix_diag + influence.hat_matrix_diag_dispersion
    few = subsample(core, leverage / leverage.sum() + 1 / 3000)
    assert few.n < 1200
    part, all_rows = (-c.expected_hessian(params) for c in (few, core))
    values = linalg.eigh(part, all_rows, eigvals_only=True)
    assert_allclose(values, 1, atol=SAMPLING)
    assert_allclose(wald_slopes(few, res.fit), wald_slopes(core, res.fit), atol=SAMPLING)


def test_docstring_examples():
    assert doctest.testmod(results_diagnostics).failed == 0
