"""The data that come with the package, and the simulator of splicing experiments."""

from hashlib import sha256
from importlib import resources

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from hetglm import datasets
from hetglm.datasets import load_clotting, load_splicing, make_splicing

#: name: rows, labels, sums of numeric columns, first digits of the file's SHA-256 (it is the one
#: with which the reference results were made)
CONTENTS = {
    "cats": (144, ["Sex"], {"Bwt": 392.2, "Hwt": 1530.8}, "b7ca9a036620c634"),
    "clotting": (18, ["lot"], {"u": 720, "time": 585}, "fa5032003020df28"),
    "germination": (21, ["variety", "root"], {"n": 831, "y": 424}, "4375c2e11cb7ecf4"),
    "lirat": (58, [], {"N": 607, "R": 267, "hb": 452.3, "grp": 110}, "a7f5ca68e3fef689"),
    "sleepstudy": (180, ["Subject"], {"Days": 810, "Reaction": 53731.4205}, "2918bbddf750e780"),
    "splicing": (
        3600,
        ["id", "group", "treatment"],
        {"N": 119106304, "K": 56491600},
        "65e04eaae75e7c36",
    ),
    "welding": (16, [], {"Drying": 0, "Material": 0, "Strength": 687.4}, "4cb4f46a2d56e191"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents(name):
    rows, labels, sums, checksum = CONTENTS[name]
    file = resources.files("hetglm.datasets") / f"{name}.csv"
    assert sha256(file.read_bytes()).hexdigest().startswith(checksum)
    data = getattr(datasets, f"load_{name}")()
    assert len(data) == rows
    assert not data.isna().any().any()
    assert data.columns.difference(data.select_dtypes("number").columns).tolist() == sorted(labels)
    assert all(isinstance(value, str) for column in labels for value in data[column])
    assert_allclose(data[list(sums)].sum(), list(sums.values()), rtol=1e-12)


def test_loader_returns_a_fresh_frame():
    first = load_splicing()
    first["K"] = 0
    assert load_splicing()["K"].min() > 0


def test_all_names_are_exported():
    assert sorted(datasets.__all__) == sorted(
        [f"load_{name}" for name in CONTENTS] + ["make_splicing"]
    )


def test_wide_clotting_is_the_long_one():
    long, wide = load_clotting(), load_clotting(wide=True)
    assert wide.columns.tolist() == ["u", "lot1", "lot2"]
    for lot in ("1", "2"):
        one = long[long["lot"] == lot]
        assert one["u"].tolist() == wide["u"].tolist()
        assert one["time"].tolist() == wide[f"lot{lot}"].tolist()


def test_simulated_has_the_form_of_the_embedded():
    embedded, simulated = load_splicing(), make_splicing(rng=1)
    assert (simulated.dtypes == embedded.dtypes).all()
    labels = ["id", "group", "treatment"]
    assert_frame_equal(simulated[labels], embedded[labels])
    assert (simulated["N"] >= 1).all()
    assert simulated["K"].between(0, simulated["N"]).all()


@pytest.mark.parametrize(("genes", "replicates", "treatments"), [(1, 1, 1), (3, 4, 2)])
def test_simulated_sizes(genes, replicates, treatments):
    data = make_splicing(genes, replicates, treatments=treatments, rng=0)
    cells = data.groupby(["group", "id", "treatment"]).size()
    assert (cells == replicates).all()
    assert len(cells) == 2 * genes * treatments


def test_few_trials_leave_no_empty_row():
    data = make_splicing(trials=0.5, rng=0)
    assert data["N"].min() == 1


def test_simulated_is_reproducible():
    first = make_splicing(2, 3, rng=7)
    assert_frame_equal(first, make_splicing(2, 3, rng=7))
    assert_frame_equal(first, make_splicing(2, 3, rng=np.random.default_rng(7)))
    assert not first.equals(make_splicing(2, 3, rng=8))
    generator = np.random.default_rng(7)
    assert_frame_equal(first, make_splicing(2, 3, rng=generator))
    assert not first.equals(make_splicing(2, 3, rng=generator))


def test_simulator_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    make_splicing(2, 3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def dispersion_by_gene(data):
    """Return the moment estimate of rho of each gene: its variance beyond the binomial."""
    sums = data.groupby("id")[["K", "N"]].transform("sum")
    p, n = sums["K"] / sums["N"], data["N"]
    square = (data["K"] / n - p) ** 2 / (p * (1 - p))
    return ((square - 1 / n) / (1 - 1 / n)).groupby(data["id"]).mean()


def test_planted_dispersion_is_recovered():
    rho = dispersion_by_gene(make_splicing(genes=300, sigma=1e-3, ratio=4.0, gene_sd=0.0, rng=3))
    a, b = (rho[rho.index.str.startswith(group)].mean() for group in "ab")
    # 27,000 replicates a group: standard errors of 1 % (sigma) and 1.4 % (ratio), four of them here
    assert_allclose(a, 1e-3, rtol=0.04)
    assert_allclose(b / a, 4.0, rtol=0.06)


def test_planted_variation_between_genes_is_recovered():
    data = make_splicing(genes=400, trials_sd=0.5, sigma=1e-2, ratio=1.0, gene_sd=1.0, rng=4)
    log_rho = np.log(dispersion_by_gene(data))
    # 89 degrees of freedom a gene add 2/89 to the variance; the standard error is 0.03
    assert_allclose(log_rho.std(), np.sqrt(1 + 2 / 89), atol=0.1)
    means = np.log(data.groupby("id")["N"].mean())
    assert_allclose([means.mean(), means.std()], [np.log(22_000), 0.5], atol=0.07)


@pytest.mark.parametrize("name", ["genes", "replicates", "treatments"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "many"])
def test_bad_counts_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a positive integer, not {value!r}"):
        make_splicing(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("trials", 0), ("sigma", 0.0), ("ratio", -1), ("trials", np.inf), ("sigma", "small")],
)
def test_bad_positive_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a positive finite number"):
        make_splicing(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("gene_sd", -1), ("trials_sd", np.nan)])
def test_bad_standard_deviations_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a non-negative finite number"):
        make_splicing(**{name: value})
