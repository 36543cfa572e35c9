"""The command line: the main job, a user's own CSV, and what it says of bad input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import warnings
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

import hetglm.formula.api as hmf
from hetglm.__main__ import main

DATA = files("hetglm.datasets")
SPLICING, CATS = str(DATA / "splicing.csv"), str(DATA / "cats.csv")


@pytest.fixture(autouse=True)
def _own_warnings(monkeypatch):
    """The command line shows warnings in its own way; keep that out of the other tests."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)


def words(text):
    return " ".join(text.split())


@pytest.mark.thorough
def test_main_job_prints_the_four_steps(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["--out", str(tmp_path)]) == 0
    out = capsys.readouterr()
    text = words(out.out)
    assert out.err == ""
    # 1: the question's double GLM; 2: LR and model-based SE; 3: clustered; 4: random effects
    for piece in (
        "-2 log-EQL = 29.115401",
        "P = 0.13",
        "log sigma of group b: +1.279, model-based standard error 0.050",
        "LR = 624.1 on 3 df",
        "group[T.b] 1.279 0.050 0.540 2.367",
        "group b is about 3.6 times more overdispersed than group a (95 % interval 1.2 to 10)",
        "no evidence that treatment changes it (P = 0.14)",
        "That likelihood-ratio test is far too optimistic.",
        "The interval is the clustered one",
        "sd(dispersion-id) 2.138 0.258 1.687 2.709",
        "corr(id: Intercept, dispersion-Intercept) 0.864 0.042 0.755 0.926",
        "2.14 x sqrt(2/20) = 0.68",
        "clustered 1.279 0.540 2.367 0.018",
        "random effects 1.009 0.684 1.476 0.140",
        "by quadrature at these estimates the log- likelihood is 0.54 larger",
        "a typical gene is 2.7 times larger (0.7 to 10, by random effects)",
    ):
        assert piece in text, piece
    # 78, and a few more where patsy's names widen a table; the path of the picture is the user's
    lines = [line for line in out.out.splitlines() if not line.startswith("Plot")]
    assert max(map(len, lines)) <= 84
    for name in ("splicing.png", "genes.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.thorough
def test_quadrature_agrees_with_the_fourth_step():
    formula = "K + I(N - K) ~ group + treatment + (1 |p| id) | group + treatment + (1 |p| id)"
    res = hmf.betabinomial(formula, pd.read_csv(SPLICING)).fit(nodes=15)
    name = "dispersion-group[T.b]"
    assert np.allclose([res.params[name], res.bse[name]], [1.009, 0.684], atol=0.005)


@pytest.mark.filterwarnings("ignore::hetglm.exceptions.LaplaceErrorWarning")
def test_genes_are_drawn_at_their_sigma():
    pytest.importorskip("matplotlib")
    from hetglm.examples import splicing

    data = pd.read_csv(SPLICING)
    data = data[data["id"].isin([f"{g}.{i}" for g in "ab" for i in range(1, 7)])]
    formula = "K + I(N - K) ~ 1 + (1 |p| id) | group + (1 |p| id)"
    res = hmf.betabinomial(formula, data).fit(nodes=1)
    left = splicing.plot_genes(data, res).axes[0]
    drawn = np.concatenate([line.get_ydata() for line in left.lines])
    fitted = np.log(res.fitted_dispersion).groupby(data["id"]).first()
    assert np.allclose(np.sort(drawn), np.sort(fitted))


@pytest.mark.thorough
def test_main_job_without_matplotlib_says_how_to_get_the_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["--out", str(tmp_path)]) == 0
    assert "No plot: plots need matplotlib: pip install 'hetglm[plot]'" in capsys.readouterr().out


def test_figure_shows_the_data_and_the_fit():
    pytest.importorskip("matplotlib")
    from hetglm import plots

    data = pd.read_csv(SPLICING)
    observed = plots.beyond_binomial(data, "K", "N", ["group", "treatment", "id"])
    fitted = pd.DataFrame(
        [(g, t, 1e-3, 5e-4, 2e-3) for g in "ab" for t in ("t.1", "t.2", "t.3")],
        columns=["group", "treatment", "predicted", "ci_lower", "ci_upper"],
    )
    axes = plots.plot_beyond_binomial(observed, fitted, "treatment", "group")
    drawn = np.concatenate([line.get_ydata() for line in axes.lines if len(line.get_ydata()) > 2])
    assert np.allclose(np.sort(drawn), np.sort(observed[observed > 0]))
    assert sum(np.allclose(line.get_ydata(), 1e-3) for line in axes.lines) == 6
    one = data[(data.id == "a.1") & (data.treatment == "t.1")]
    share = one.K / one.N
    s2, m = share.var() / (share.mean() * (1 - share.mean())), (1 / one.N).mean()
    assert observed["a", "t.1", "a.1"] == pytest.approx((s2 - m) / (1 - m))


def test_fit_prints_summary_anova_and_writes_coefficients(tmp_path, capsys):
    formula = "K + I(N - K) ~ C(id) | group + treatment"
    arguments = ["fit", SPLICING, formula, "--model", "betabinomial", "--out", str(tmp_path)]
    assert main([*arguments, "--cov-type", "cluster", "--groups", "id"]) == 0
    out = capsys.readouterr().out
    assert "BetaBinomial Regression Results" in out
    assert "Dispersion model   3" in out
    table = pd.read_csv(tmp_path / "coefficients.csv")
    res = hmf.betabinomial(formula, pd.read_csv(SPLICING)).fit(
        cov_type="cluster", cov_kwds={"groups": "id"}
    )
    assert list(table.columns) == [
        *("part", "term", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high")
    ]
    assert np.allclose(table.estimate, res.params, rtol=1e-12)
    assert np.allclose(table.std_error, res.bse, rtol=1e-12)
    assert table.part.tolist() == ["mean"] * 40 + ["dispersion"] * 4
    assert table.term.tolist()[-1] == "treatment[T.t.3]"


def test_fit_takes_counts(tmp_path, capsys):
    arguments = ["fit", SPLICING, "N ~ id | group", "--model", "negativebinomial"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "Var(y) = mu + alpha mu^2" in capsys.readouterr().out
    assert main([*arguments, "--family", "gamma"]) == 2
    assert "negativebinomial is a family itself" in capsys.readouterr().err


def test_fit_by_reml(tmp_path, capsys):
    arguments = ["fit", CATS, "Hwt ~ Bwt | Bwt", "--reml", "--out", str(tmp_path)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert re.search(r"Method: +REML", out)
    assert "LR by REML, mean by ML" in out
    res = hmf.doubleglm("Hwt ~ Bwt | Bwt", pd.read_csv(CATS)).fit(reml=True)
    found = pd.read_csv(tmp_path / "coefficients.csv").estimate
    assert np.allclose(found, res.params, rtol=1e-12)
    assert main([*arguments, "--cov-type", "HC1", "--force"]) == 2
    assert "not available for a fit by REML" in capsys.readouterr().err


def test_fit_with_random_effects(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    arguments = ["fit", str(DATA / "sleepstudy.csv"), "Reaction ~ Days + (1 | Subject)", "--reml"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert "Wald tests of the terms" in capsys.readouterr().out
    found = pd.read_csv(tmp_path / "coefficients.csv").set_index("term")
    assert found.part.tolist() == ["mean", "mean", "dispersion", "random effects"]
    assert found.estimate["sd(Subject)"] == pytest.approx(37.1238, abs=1e-3)
    assert main([*arguments, "--out", str(tmp_path / "other"), "--plot"]) == 0
    assert (tmp_path / "other" / "diagnostics.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "options",
    [
        ["Hwt ~ Bwt | Bwt", "--family", "gamma", "--link", "log", "--weights", "Bwt"],
        ["Hwt ~ np.log(Bwt) | Bwt"],
        ["Hwt ~ Bwt | Bwt", "--family", "tweedie", "--var-power", "1.5", "--link", "log"],
        ["Hwt ~ Bwt | Bwt", "--family", "negative-binomial", "--alpha", "0.5"],
        ["Hwt ~ Bwt | 0 + Bwt", "--cov-type", "HC1"],
        ["Hwt ~ Bwt | Bwt", "--reml", "--cov-type", "oim"],
    ],
)
def test_fit_takes_families_links_and_columns(options, tmp_path, capsys):
    assert main(["fit", CATS, *options, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert "DoubleGLM Regression Results" in out.out
    if "0 + Bwt" in options[0]:
        why = "Not tested: Dispersion model: a constant dispersion is not a special case"
        assert why in " ".join(out.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "y ~ x"], "nowhere.csv: no such file"),
        ([str(DATA), "y ~ x"], "cannot be read as CSV"),
        ([CATS, "Hwt ~ Weight"], "Weight"),
        ([CATS, "Hwt ~ Bwt | Bwt | Bwt"], "2 bars"),
        (
            [CATS, "Hwt ~ Bwt", "--n-trials", "N"],
            "--n-trials N: no such column; there are Sex, Bwt,",
        ),
        ([CATS, "Hwt ~ Bwt", "--cov-type", "cluster", "--groups", "g"], "--groups g: no such"),
        ([CATS, "Bwt ~ Hwt", "--family", "poisson", "--bootstrap", "9"], "for --bootstrap"),
        ([CATS, "Sex ~ Bwt"], "response 'Sex' is not numeric"),
        ([CATS, "Hwt ~ Bwt", "--cov-type", "HC3"], "'HC3' is not available"),
        ([CATS, "Hwt ~ Bwt", "--cov-type", "HAC"], "--cov-type HAC: it needs maxlags"),
        ([CATS, "Hwt ~ Bwt", "--cov-type", "cluster"], "--groups and --cov-type cluster"),
        ([CATS, "Hwt ~ Bwt", "--alpha", "1"], "--alpha: for --family negative-binomial"),
        ([CATS, "Hwt ~ Bwt", "--model", "betabinomial", "--family", "gamma"], "--family"),
        ([CATS, "Hwt ~ Bwt", "--model", "betabinomial"], "trials"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, capsys):
    assert main(["fit", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("hetglm: ")
    assert err.count("\n") == (3 if "^" in err else 1)  # a formula keeps its caret


def test_empty_and_broken_files(tmp_path, capsys):
    empty, binary = tmp_path / "empty.csv", tmp_path / "binary.csv"
    empty.write_text("")
    binary.write_bytes(bytes(range(256)))
    for path in (empty, binary):
        assert main(["fit", str(path), "y ~ x"]) == 2
        assert re.match(r"hetglm: .*cannot be read as CSV", capsys.readouterr().err)


# -- files ------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    """Forty rows of numbers, labels, words with accents, counts and dates."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    return pd.DataFrame(
        {
            "x": x,
            "g": np.resize(["a", "b", "ç"], 40),
            "w": rng.uniform(0.5, 2, 40),
            "y": 1 + x + rng.normal(size=40),
            "day": pd.date_range("2020-01-01", periods=40).astype(str),
        }
    )


def fit(path, formula="y ~ x | g", *options):
    """Return the status of a fit, its results beside its data."""
    return main(["fit", str(path), formula, "--out", str(path.parent / "out"), *options])


def estimates(path):
    return pd.read_csv(path.parent / "out" / "coefficients.csv").estimate


WRITTEN = {
    "semicolons": ({"sep": ";", "decimal": ","}, [], "by semicolon, decimal comma"),
    "tabs": ({"sep": "\t"}, [], "by tab"),
    "bars": ({"sep": "|"}, [], "by bar"),
    "spaces": ({"sep": " "}, [], "by space"),
    "quoted": ({"decimal": ","}, [], "by comma, decimal comma"),
    "names of rows": ({"sep": " ", "index": True}, [], "by space"),
    "a mark": ({"encoding": "utf-8-sig"}, [], "by comma"),
    "utf-16": ({"encoding": "utf-16", "sep": "\t"}, [], "by tab"),
    "latin": ({"encoding": "latin-1"}, ["--encoding", "latin-1"], "by comma"),
    "mine": ({"sep": "!"}, ["--sep", "!"], "by !"),
    "named": (
        {"sep": ";", "decimal": ","},
        ["--sep", "semicolon", "--decimal", ","],
        "by semicolon, decimal comma",
    ),
    "gzip": ({"compression": "gzip"}, [], "by comma"),
    "bzip2": ({"compression": "bz2"}, [], "by comma"),
    "xz": ({"compression": "xz"}, [], "by comma"),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_text_files_of_many_kinds_are_the_same_data(written, table, tmp_path, capsys):
    how, options, said = WRITTEN[written]
    path = tmp_path / "data"
    table.to_csv(path, **{"index": False, **how})
    if written == "names of rows":  # R's write.table has no name above them
        path.write_text(path.read_text(encoding="utf-8").lstrip(), encoding="utf-8")
    assert fit(path, "y ~ x | g", *options) == 0
    out = capsys.readouterr().out
    assert f"40 rows, 5 columns, rows named by their line (separated {said})\n" in out
    res = hmf.doubleglm("y ~ x | g", table).fit()
    assert np.allclose(estimates(path), res.params, rtol=1e-9)


def test_parquet(table, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyarrow")
    path = tmp_path / "data.parquet"
    table.to_parquet(path)
    assert fit(path) == 0
    assert np.allclose(estimates(path), hmf.doubleglm("y ~ x | g", table).fit().params, rtol=1e-9)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert fit(path, "y ~ x", "--force") == 2
    assert "parquet needs pyarrow: pip install pyarrow" in capsys.readouterr().err


def test_separators_after_the_last_column_shift_nothing(table, tmp_path):
    path = tmp_path / "data.csv"
    lines = table.to_csv(index=False).splitlines()
    path.write_text("\n".join([lines[0], *(line + "," for line in lines[1:])]), encoding="utf-8")
    assert fit(path) == 0
    assert np.allclose(estimates(path), hmf.doubleglm("y ~ x | g", table).fit().params, rtol=1e-9)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("x,g,y\n", [], "it names the columns (x, g, y) but has no rows"),
        ("", [], "it is empty"),
        ("\n \n", [], "it is empty"),
        ("1,2.5,3\n4,5,6\n", [], "first line must name the columns; it has 1, 2.5, 3"),
        ("x,y\n1,2\n1,2,3\n4,5\n", [], "row 2 has 3 fields, the header 2; name the separator"),
        ("x;y\n1,234;5\n6,789;1\n", [], "'1,234' may be a decimal number or thousands"),
        ("x,y\n1,2\n", ["--sep", "colon"], "--sep colon: write one character, or comma, semi"),
        ("x,y\n1,2\n", ["--encoding", "utf-99"], "--encoding utf-99: unknown"),
        (b"x,y\n1,caf\xe9\n", [], "byte 0xe9 in line 2 is not UTF-8"),
        (b"x,y\n1,caf\xe9\n", [], "such as --encoding latin-1"),
        (b"PK\x03\x04", [], "a spreadsheet or zip archive; save the sheet as CSV"),
        (b"\x1f\x8b\x08\x00garbage", [], "cannot be read as CSV"),
        (b"x,y\n\x00\x00", [], "it is not text"),
        ('x,y\n"1,2\n', [], "cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(content, options, message, tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert fit(path, "y ~ x", *options) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "data.csv: " in err or "--" in err
    assert err.count("\n") == 1


def test_text_among_numbers_is_named_with_its_lines(table, tmp_path, capsys):
    path, table = tmp_path / "data.csv", table.astype({"x": object, "w": object})
    table.loc[4, "x"] = "."
    table.loc[[1, 2], "w"] = "n/d"
    table.to_csv(path, index=False)
    assert fit(path) == 2
    assert (
        "column 'x' should be numbers but has text: '.' in 1 of 40 rows (line 6); if that marks a "
        'missing value, write --na "."; for labels write C(x)'
    ) in capsys.readouterr().err
    assert fit(path, "y ~ g", "--weights", "w") == 2
    assert (
        "'n/d' in 2 of 40 rows (lines 3, 4); if that marks a missing value, write --na \"n/d\"; "
        "--weights takes numbers"
    ) in capsys.readouterr().err
    assert fit(path, "y ~ x | g", "--weights", "g") == 2
    err = capsys.readouterr().err
    assert "(lines 2, 3, 4, 5, 6, ...); --weights takes numbers" in err
    # with the markers it is the fit without these rows; as labels it is what was asked for
    assert fit(path, "y ~ x | g", "--na", ".", "--na", "n/d", "--weights", "w") == 0
    kept = table.drop(index=[1, 2, 4]).astype({"x": float, "w": float})
    res = hmf.doubleglm("y ~ x | g", kept, var_weights="w").fit()
    assert np.allclose(estimates(path), res.params, rtol=1e-8)
    assert fit(path, "y ~ g + C(w == 'n/d')", "--force") == 0


def test_labels_inside_C_may_be_of_any_kind(table, tmp_path, capsys):
    path = tmp_path / "data.csv"
    table.assign(g=np.resize(["1", "2", "3b"], 40)).to_csv(path, index=False)
    assert fit(path, "y ~ g") == 2
    assert "'3b' in 13 of 40 rows" in capsys.readouterr().err
    assert fit(path, 'y ~ C(g, Treatment(reference="2")) | C(g)') == 0
    table.rename(columns={"g": "log"}).to_csv(path, index=False)
    assert fit(path, "y ~ np.log(w)", "--force") == 0  # the function, not the column


@pytest.mark.parametrize("kind", ["{} kg", "${}", "{} %", "<{}", "1'{}"])
def test_numbers_with_units_are_no_labels(kind, table, tmp_path, capsys):
    path = tmp_path / "data.csv"
    table.assign(x=[kind.format(100 + i) for i in range(40)]).to_csv(path, index=False)
    assert fit(path) == 2
    said = f"column 'x' is text with 40 different values, such as {kind.format(100)!r}"
    assert said in capsys.readouterr().err


def test_a_column_that_is_there_twice_is_not_chosen_from(table, tmp_path, capsys):
    path = tmp_path / "data.csv"
    table.rename(columns={"w": "x"}).to_csv(path, index=False)
    assert fit(path) == 2
    assert "column 'x' is there twice; rename one of them" in capsys.readouterr().err
    assert fit(path, "y ~ g") == 0


def test_markers_of_missing_values(table, tmp_path, capsys):
    path, table = tmp_path / "data.csv", table.astype({"x": object})
    table.loc[[3, 5, 9], "x"] = ["-", "-999", "--"]
    table.to_csv(path, index=False, lineterminator="\r")  # an old Mac's lines
    assert fit(path) == 2
    assert 'write --na="-" --na="--"; for' in capsys.readouterr().err
    assert fit(path, "y ~ x | g", "--na", "-", "--na=--", "--na", "-999") == 0
    kept = table.drop(index=[3, 5, 9]).astype({"x": float})
    assert np.allclose(estimates(path), hmf.doubleglm("y ~ x | g", kept).fit().params, rtol=1e-8)


def test_none_is_a_label_and_remarks_at_the_top_are_none(table, tmp_path, capsys):
    path, table = tmp_path / "data.csv", table.astype({"w": object})
    table["g"] = np.resize(["None", "low"], 40)
    table.loc[2, "w"] = "?"
    path.write_text("# by hand\n#\n" + table.to_csv(index=False), encoding="utf-8")
    assert fit(path) == 0
    assert np.allclose(estimates(path), hmf.doubleglm("y ~ x | g", table).fit().params, rtol=1e-9)
    assert fit(path, "y ~ w", "--force") == 2
    assert "'?' in 1 of 40 rows (line 6)" in capsys.readouterr().err


def test_numbers_with_a_comma_among_points(table, tmp_path, capsys):
    path, table = tmp_path / "data.csv", table.astype({"x": object})
    table.loc[7, "x"] = "1,5"
    table.to_csv(path, index=False, sep=";")
    assert fit(path) == 2
    assert "'1,5' in 1 of 40 rows (line 9); for a decimal comma write --decimal ," in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", ["2020-01-31", "31.1.2020", "1/31/20 12:00"])
def test_dates_are_refused_with_what_to_do(kind, table, tmp_path, capsys):
    path = tmp_path / "data.csv"
    table.assign(day=np.resize([kind, kind.replace("31", "30")], 40)).to_csv(path, index=False)
    assert fit(path, "y ~ x + day") == 2
    err = capsys.readouterr().err
    assert f"column 'day' has dates ({kind})" in err
    assert "write C(day) for a level of its own for each date" in err
    assert fit(path, "y ~ x + C(day)") == 0


def test_out_is_looked_at_before_the_fit(table, tmp_path, capsys, monkeypatch):
    from hetglm.shell import commands as _shell

    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    monkeypatch.setattr(_shell, "build", lambda *args: pytest.fail("fitted"))
    for out in (path, path / "below"):
        assert main(["fit", str(path), "y ~ x", "--out", str(out)]) == 2
        assert "data.csv is a file; name a folder" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert main(["fit", str(path), "y ~ x", "--out", str(tmp_path / "new")]) == 2
    assert "no permission to write to" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_results_are_overwritten_by_force_only(table, tmp_path, capsys):
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    assert fit(path, "y ~ x") == 0
    before = estimates(path)
    assert fit(path, "y ~ 1") == 2
    assert "coefficients.csv exists: write --force to overwrite it" in capsys.readouterr().err
    assert estimates(path).equals(before)
    assert fit(path, "y ~ 1", "--force") == 0
    assert not estimates(path).equals(before)


def test_out_before_the_command_counts(table, tmp_path):
    path = tmp_path / "data.csv"
    table.to_csv(path, index=False)
    assert main(["--out", str(tmp_path / "there"), "fit", str(path), "y ~ x"]) == 0
    assert (tmp_path / "there" / "coefficients.csv").is_file()


def test_the_worked_example_looks_at_out_first(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert "is a file; name a folder" in captured.err
    assert captured.out == ""


# -- options ----------------------------------------------------------------------------------------


def test_likelihood_is_handed_on(tmp_path, capsys):
    arguments = ["fit", CATS, "Hwt ~ Bwt | Bwt", "--family", "tweedie", "--var-power", "1.5"]
    found = {}
    for name in ("exact", "eql"):
        out = tmp_path / name
        assert main([*arguments, "--link", "log", "--likelihood", name, "--out", str(out)]) == 0
        found[name] = pd.read_csv(out / "coefficients.csv").estimate
    assert not np.allclose(found["exact"], found["eql"], rtol=1e-6)
    capsys.readouterr()
    negative = ["fit", CATS, "Hwt ~ Bwt", "--model", "negativebinomial", "--likelihood", "eql"]
    assert main(negative) == 2
    assert "--likelihood: for --model doubleglm" in capsys.readouterr().err


def test_seed_repeats_a_bootstrap_and_quiet_prints_nothing(tmp_path, capsys):
    arguments = ["fit", CATS, "Hwt ~ Bwt | Bwt", "--bootstrap", "29", "--out", str(tmp_path)]
    printed = []
    for seed in ("1", "1", "2"):
        assert main([*arguments, "--seed", seed, "--force"]) == 0
        printed.append(capsys.readouterr().out.split("\n\n")[-2])
    assert printed[0] == printed[1]
    assert "LR" in printed[0]
    assert main([*arguments[:3], "--out", str(tmp_path), "--force", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    for option, value in (("--bootstrap", "0"), ("--seed", "-1")):
        assert main([*arguments, option, value, "--force"]) == 2
        assert f"{option} {value}: write" in capsys.readouterr().err


def test_plot_draws_the_diagnostics_and_asks_for_matplotlib_first(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    arguments = ["fit", CATS, "Hwt ~ Bwt | Bwt", "--plot", "--seed", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert f"Plot: {tmp_path / 'diagnostics.png'}" in capsys.readouterr().out
    assert (tmp_path / "diagnostics.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "coefficients.csv").unlink()
    assert main(arguments) == 2
    assert "diagnostics.png exists: write --force" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([*arguments, "--force"]) == 2
    assert "pip install 'hetglm[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "coefficients.csv").exists()


def test_long_work_says_what_it_is(tmp_path, capsys, monkeypatch):
    from hetglm.shell import commands as _shell

    arguments = ["fit", CATS, "Hwt ~ Bwt", "--out", str(tmp_path), "--force"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_shell, "MIN_ANNOUNCED_SECONDS", 0.0)
    plain = _shell.build
    monkeypatch.setattr(_shell, "build", lambda *args: time.sleep(0.1) or plain(*args))
    assert main(arguments) == 0
    assert "Fitting 144 rows ...\n" in capsys.readouterr().err
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_formula_errors_keep_their_caret(tmp_path, capsys):
    assert main(["fit", CATS, "Hwt ~ Bwt +* Sex", "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    formula, caret = lines[-2:]
    assert caret.strip() == "^"
    assert formula[caret.index("^")] == "*"


def test_what_nobody_foresaw_is_no_traceback(tmp_path, capsys, monkeypatch):
    from hetglm.shell import commands as _shell

    arguments = ["fit", CATS, "Hwt ~ Bwt", "--out", str(tmp_path)]
    for exc, status, said in (
        (ZeroDivisionError("by zero"), 1, "please report it: ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (NotImplementedError("EQL"), 2, "hetglm: EQL"),
        (MemoryError(), 2, "hetglm: MemoryError"),
    ):

        def build(*args, exc=exc):
            raise exc

        monkeypatch.setattr(_shell, "build", build)
        assert main(arguments) == status
        assert said in capsys.readouterr().err


@pytest.mark.thorough
def test_a_closed_pipe_is_no_error(tmp_path):
    command = [sys.executable, "-m", "hetglm", "fit", CATS, "Hwt ~ Bwt", "--out", str(tmp_path)]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done.stdout.close()
    assert done.stderr.read() == ""
    done.stderr.close()
    assert done.wait() == 0
    assert (tmp_path / "coefficients.csv").is_file()


def test_one_thread_unless_the_user_says(monkeypatch):
    import hetglm.__main__ as command

    for name in command.THREADS:
        monkeypatch.setenv(name, "7")  # monkeypatch puts back what it knew
        monkeypatch.delenv(name)
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    command.use_one_thread()
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.delenv("MKL_NUM_THREADS")
    command.use_one_thread()
    assert {os.environ[name] for name in command.THREADS} == {"1"}


def test_threads_are_set_before_numpy_is_there():
    # what `python -m hetglm` imports before it sets them
    code = "import sys, hetglm.__main__; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_examples_set_threads_before_numpy_is_there():
    # Python's -m imports the package with this as its first argument; other imports set nothing
    import hetglm.__main__ as command

    code = (
        "import os, sys; sys.argv[0] = {0!r}; import hetglm.examples; "
        "print('numpy' in sys.modules, os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    env = {name: value for name, value in os.environ.items() if name not in command.THREADS}
    for first, expected in (("-m", "False 1"), ("-c", "False None")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(first)], capture_output=True, text=True, env=env
        )
        assert done.stdout.strip() == expected


@pytest.mark.thorough
def test_a_warning_is_one_line_on_stderr(tmp_path):
    data = pd.read_csv(CATS).assign(Twice=lambda d: 2 * d.Bwt)
    data.to_csv(tmp_path / "twice.csv", index=False)
    command = [sys.executable, "-m", "hetglm", "fit", str(tmp_path / "twice.csv")]
    done = subprocess.run(
        [*command, "Hwt ~ Bwt + Twice | Bwt", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr.startswith("AliasedColumnWarning: aliased, left out of the fit: Twice")
    assert done.stderr.count("\n") == 1


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "mean | dispersion" in text
    assert "--model betabinomial --cov-type cluster --groups id" in text
    assert max(map(len, text.splitlines())) <= 80
