"""The command line: the main job, a user's own CSV, and what it says of bad input."""

from __future__ import annotations

import re
import subprocess
import sys
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


def test_main_job_tells_the_three_steps(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["--out", str(tmp_path)]) == 0
    out = capsys.readouterr()
    text = words(out.out)
    assert out.err == ""
    # 1: the question's double GLM; 2: LR and model-based SE; 3: clustered
    for piece in (
        "-2 log-EQL = 29.115401",
        "P = 0.13",
        "log sigma of group b: +1.279, model-based standard error 0.050",
        "LR = 624.1 on 3 df",
        "group[T.b] 1.279 0.050 0.540 2.367",
        "group b is about 3.6 times more overdispersed than group a (95 % interval 1.2 to 10)",
        "treatment does nothing",
        "The interval is the clustered one",
    ):
        assert piece in text, piece
    # 78, and a few more where patsy's names widen a table; the path of the picture is the user's
    lines = [line for line in out.out.splitlines() if not line.startswith("Picture")]
    assert max(map(len, lines)) <= 84
    assert (tmp_path / "splicing.png").read_bytes().startswith(b"\x89PNG")


def test_main_job_without_matplotlib_says_how_to_get_the_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["--out", str(tmp_path)]) == 0
    assert (
        "No picture: pictures need matplotlib: pip install 'hetglm[plot]'"
        in capsys.readouterr().out
    )


def test_picture_draws_the_data_and_the_fit():
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
    assert main([*arguments, "--cov-type", "HC1"]) == 2
    assert "reml=True" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["Hwt ~ Bwt | Bwt", "--family", "gamma", "--link", "log", "--weights", "Bwt"],
        ["Hwt ~ np.log(Bwt) | Bwt"],
        ["Hwt ~ Bwt | Bwt", "--family", "tweedie", "--var-power", "1.5", "--link", "log"],
        ["Hwt ~ Bwt | Bwt", "--family", "negative-binomial", "--alpha", "0.5"],
        ["Hwt ~ Bwt | 0 + Bwt", "--cov-type", "HC1"],
    ],
)
def test_fit_takes_families_links_and_columns(options, tmp_path, capsys):
    assert main(["fit", CATS, *options, "--out", str(tmp_path)]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    assert "DoubleGLM Regression Results" in out.out
    if "0 + Bwt" in options[0]:
        assert "No ANOVA: a constant dispersion is not a special case" in out.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "y ~ x"], "nowhere.csv: no such file"),
        ([str(DATA), "y ~ x"], "cannot be read as CSV"),
        ([CATS, "Hwt ~ Weight"], "Weight"),
        ([CATS, "Hwt ~ Bwt | Bwt | Bwt"], "2 bars"),
        ([CATS, "Hwt ~ Bwt", "--n-trials", "N"], "n_trials='N' is not a column"),
        ([CATS, "Sex ~ Bwt"], "response 'Sex' is not numeric"),
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
    assert err.count("\n") == 1


def test_empty_and_broken_files(tmp_path, capsys):
    empty, binary = tmp_path / "empty.csv", tmp_path / "binary.csv"
    empty.write_text("")
    binary.write_bytes(bytes(range(256)))
    for path in (empty, binary):
        assert main(["fit", str(path), "y ~ x"]) == 2
        assert re.match(r"hetglm: .*cannot be read as CSV", capsys.readouterr().err)


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
