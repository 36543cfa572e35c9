"""The examples print what their texts say, and their numbers are those of the packages they name."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from hetglm.datasets import load_cats, load_germination, load_welding
from hetglm.examples import cats, claims, germination, sleepstudy, story, welding
from hetglm.models import BetaBinomial, DoubleGLM

REFERENCE = Path(__file__).parents[1] / "reference"
#: lmvar's digits: its solver stops a little before the maximum (slopes to 1e-8, 13 digits printed).
LMVAR = 2e-7
#: What is printed, to half a unit of its last digit.
SIX, FOUR = 6e-7, 6e-5


def reference(name):
    """Return a case of the reference results."""
    return json.loads((REFERENCE / f"{name}.json").read_text())


def printed(main, tmp_path, capsys):
    """Return what an example prints, within 80 columns, with its picture saved."""
    main(tmp_path)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith("Plot")]
    assert max(map(len, lines)) <= 80
    (name,) = re.findall(r"Plot: (.*)", out)
    assert Path(name).read_bytes().startswith(b"\x89PNG")
    return out


def numbers(out, label, count):
    """Return the numbers that follow a row's label in a printed table."""
    pattern = r"^ *" + re.escape(label) + r" +" + r" +".join([r"(-?[\d.]+)"] * count) + "$"
    return np.array([[float(x) for x in row] for row in re.findall(pattern, out, re.M)])


@pytest.mark.thorough
def test_claims_prints_its_analysis(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    claims.main(tmp_path)
    out = capsys.readouterr().out
    text = " ".join(out.split())
    for piece in (
        "1. Exposure in both parts",
        "Likelihood: exact",
        "2. The truth is known here",
        "4. What the dispersion is for",
        "Plot: ",
    ):
        assert piece in text, piece
    # both ways of writing the exposure are one model; without the weight the fit is far worse
    assert float(re.search(r"at most (\S+) standard errors", text)[1]) < 1e-5
    assert float(re.search(r"log-likelihood falls by (\d+)", text)[1]) > 100
    # nine estimates lie around what was simulated
    table = re.search(r"z from truth(.*?)3\. Exposure", text)[1].split()
    z = np.array([float(word) for word in table[4::5]])
    assert len(z) == 9
    assert np.sum(z**2) < 27.9  # chi-square of 9, P = 0.001
    lines = [line for line in out.splitlines() if not line.startswith("Plot")]
    assert max(map(len, lines)) <= 80
    assert (tmp_path / "claims.png").read_bytes().startswith(b"\x89PNG")


def test_claims_are_sums_of_years():
    # a policy of w years has mean w m and variance w phi m^p
    data = claims.make_claims(40_000, rng=1)
    w = data["years"].to_numpy()
    m = np.exp(claims.linear(data, claims.TRUE_MEAN))
    phi = np.exp(claims.linear(data, claims.TRUE_DISPERSION))
    variance = w * phi * m**claims.POWER
    standard = (data["claim"] - w * m) / np.sqrt(variance)
    assert abs(standard.mean()) < 4.5 / np.sqrt(len(data))
    assert_allclose(np.mean(standard**2), 1, atol=0.2)


def test_claims_without_matplotlib(tmp_path, capsys, monkeypatch):
    few = claims.make_claims(3_000)
    monkeypatch.setattr(claims, "make_claims", lambda: few)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    claims.main(tmp_path)
    assert "No plot: plots need matplotlib: pip install" in capsys.readouterr().out


# ---- cats ----------------------------------------------------------------------------------------


def test_cats_has_every_number_of_lmvar():
    c = reference("gaussian_ml_cats_lmvar")
    data = load_cats()
    res = cats.fit_with_intercepts(data)
    table = cats.on_the_scale_of_lmvar(res)
    estimates = [*c["beta"].values(), *c["log_sd_coef"].values()]
    assert_allclose(table["Estimate"], estimates, atol=LMVAR)
    assert_allclose(table["Std. Error"], np.sqrt(np.diag(c["vcov_lmvar_scale"])), atol=LMVAR)
    assert_allclose(cats.covariance_of_lmvar(res), c["vcov_lmvar_scale"], atol=LMVAR)
    assert_allclose([res.llf, res.aic, res.bic], [c["llf"], c["aic"], c["bic"]], rtol=1e-12)
    bands = cats.intervals(res, data.iloc[:6])
    for block in ("ci95_head", "pi95_head"):
        for i, row in enumerate(c[block]):
            for name, value in row.items():
                assert_allclose(bands[name].iloc[i], value, atol=5 * LMVAR, err_msg=name)


def test_cats_prints_its_analysis(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = printed(cats.main, tmp_path, capsys)
    c, bare = reference("gaussian_ml_cats_lmvar"), reference("gaussian_ml_cats_noint_lmvar")
    text = " ".join(out.split())
    for label, value, variance in (
        ("Intercept", c["beta"]["(Intercept)"], c["vcov_lmvar_scale"][0][0]),
        ("dispersion-Bwt", c["log_sd_coef"]["Bwt"], c["vcov_lmvar_scale"][3][3]),
    ):
        row = numbers(out, label, 4)[0]
        assert_allclose(row[:2], [value, np.sqrt(variance)], atol=SIX)
    bare_row = numbers(out, "dispersion-Bwt", 4)[1]
    error = np.sqrt(bare["vcov_lmvar_scale"][1][1])
    assert_allclose(bare_row[:2], [bare["log_sd_coef"]["Bwt"], error], atol=SIX)
    rows = numbers(out, "Bwt_s", 4)
    assert_allclose(rows[0][2:], c["vcov_lmvar_scale"][3][2:], atol=SIX)
    (ci,) = numbers(out, "2.1", 8)
    head, pi = c["ci95_head"][3], c["pi95_head"][3]
    expected = [*head.values(), pi["lwr"], pi["upr"]]
    assert_allclose(ci, expected, atol=6e-4)
    (without,) = numbers(out, "sigma grows with Bwt", 3)
    assert_allclose(without, [bare["llf"], bare["aic"], bare["bic"]], atol=FOUR)
    for piece in (
        f"log likelihood-ratio {c['lr_vs_constant'] / 2:.6f}, 1 additional degree of freedom, P = "
        f"{c['lr_p']:.5f}",
        "144 observations, the log-likelihood is -252.991 with 4 coefficients, 2 of them of the mean",
        "Standardized residuals -2.4159 -0.7261 -0.0655 0.6703 2.5998",
        "Standard deviations 1.1156 1.2265 1.3916 1.5422 2.0330",
        "a constant dispersion is not a special case of this model",
        "Chosen: Hwt ~ Bwt | Bwt",
        "10-fold cross-validation of 144 rows, 5 times",
        "No problems found by the checks that were run",
    ):
        assert piece in text, piece
    # what it says of the gain: below its standard error
    gain, error = map(float, re.search(r"^log_score .* (\S+) +(\S+)$", out, re.M).groups())
    assert -error < gain < 0


# ---- germination ---------------------------------------------------------------------------------


@pytest.mark.thorough
def test_germination_prints_its_analysis(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = printed(germination.main, tmp_path, capsys)
    text = " ".join(out.split())
    vgam = reference("betabinomial_germination_vgam")["coef"]
    (row,) = [r for r in numbers(out, "dispersion-Intercept", 3) if r[0] < -4.2]
    assert_allclose(row[0], vgam["(Intercept):2"], atol=5e-4)  # VGAM stops early
    aod = reference("betabinomial_germination_aod")["rho"]
    for root in ("bean", "cucumber"):
        (row,) = numbers(out, root, 4)
        assert_allclose(row[0], aod[f"phi.root{root}"], atol=FOUR)
    for piece in (
        "the residual deviance is 33.28 on 17 degrees of freedom",
        "grown by 19 to 23 %",
        "score Z = 1.862, P = 0.0313; LR = 2.341",
        "Test of constant dispersion: LR = 0.1461 on 1 df, P = 0.702.",
        "All 831 seeds are equivalent to 514 independent ones",
        "20 lie within the 95 % interval of the binomial and 21 within that of the beta-binomial",
        "21-fold cross-validation of 21 rows",
        "(log-likelihood -53.77; beta-binomial -53.77)",
        "The plates have the standard deviation 0.235 on the logit scale",
        "against no random effect is 2.33; ",
        "has P = 0.063",
    ):
        assert piece in text, piece
    gain = float(re.search(r"^log_score .* (\S+) +\S+$", out, re.M)[1])
    assert gain > 0  # a rho for each extract predicts no better


def test_germination_draws_every_plate():
    pytest.importorskip("matplotlib")
    seeds = load_germination()
    res = BetaBinomial.from_formula(germination.MEAN, seeds).fit()
    plain = germination.GLM.from_formula(
        germination.MEAN, seeds, family=germination.Binomial()
    ).fit()
    axes = germination.plot(seeds, res, plain).axes[0]
    drawn = next(line for line in axes.lines if line.get_label() == "plates").get_ydata()
    assert_allclose(np.sort(drawn), np.sort(seeds["y"] / seeds["n"]))
    wide, narrow = (
        np.array([np.ptp(path.vertices[:, 1]) for path in lines.get_paths()])
        for lines in axes.collections
    )
    assert np.all(wide >= narrow)
    assert np.any(wide > narrow)


# ---- sleepstudy ----------------------------------------------------------------------------------


def test_sleepstudy_prints_its_analysis(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sleepstudy, "N_REPLICATES", 9)  # the ratio is far beyond any of them
    out = printed(sleepstudy.main, tmp_path, capsys)
    text = " ".join(out.split())
    ml, reml = (reference(f"lmer_sleepstudy_{name}") for name in ("ml", "reml"))
    for label, at in (("sd(Subject)", 0), ("sd(Subject: Days)", 1)):
        row = numbers(out, label, 4)[-1]
        assert_allclose(row[[0, 2]], [ml["re_sd"][at], reml["re_sd"][at]], rtol=2e-4)
    row = numbers(out, "Days", 4)[0]
    errors = [np.sqrt(case["vcov"][1][1]) for case in (ml, reml)]
    assert_allclose(row[[1, 3]], errors, atol=6e-4)
    for piece in (
        "10.47 ms a day, standard error 1.23",
        "intraclass correlation 36.0^2 / (36.0^2 + 30.9^2) = 0.58",
        "(Days | Subject) against (1 | Subject) is 42.1 on 2 df",
        "sqrt(18/17) = 1.029: here 1.029",
        "raises the log-likelihood by 18.1 with one parameter",
        "9 ratios of data drawn from the smaller model give P = 0.10",
        "quadrature with 15 nodes",
    ):
        assert piece in text, piece


# ---- welding -------------------------------------------------------------------------------------


def test_welding_prints_its_analysis(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = printed(welding.main, tmp_path, capsys)
    text = " ".join(out.split())
    c = reference("gaussian_reml_welding_remlscore")
    estimates = [*c["beta"], *c["gamma_log_variance"]]
    errors = [*c["se_beta"], *c["se_gamma"]]
    for name, estimate, error in zip(welding.REMLSCORE, estimates, errors, strict=True):
        assert_allclose(welding.REMLSCORE[name], [estimate, error], atol=SIX)
        row = numbers(out, name, 4)[-1]  # after the screening
        assert_allclose(row, [estimate, error] * 2, atol=2 * SIX)
    ml = reference("gaussian_welding_dglm")["anova_ml"][1]["Adj.Chisq"]
    for piece in (
        f"by ML the ratio against a constant dispersion is {ml:.1f} on 3 df, by REML 18.2 (P = 0.0004)",
        "LR (REML) = 18.17 on 2 df",
        "45.7 kg/mm with standard deviation 0.20 (95 % interval 0.10 to 0.41)",
        "multiplies the standard deviation by 5.3",
        "No problems found by the checks that were run",
    ):
        assert piece in text, piece
    # the order of the settings is what it says, and the best is the one it names
    lower = [float(x) for x in re.findall(r"^ *(?:[ -]1 +)*-?1 .* (\S+) +\S+$", out, re.M)]
    assert len(lower) == 8
    assert lower == sorted(lower, reverse=True)


def test_welding_draws_its_welds():
    pytest.importorskip("matplotlib")
    welds = load_welding()
    res = DoubleGLM.from_formula(f"{welding.MEAN} | Material + Preheating", welds)
    res = res.fit(reml=True)
    left, right = welding.plot(welds, res).axes
    drawn = np.concatenate([line.get_ydata() for line in left.lines if line.get_marker() == "o"])
    assert_allclose(np.sort(drawn), np.sort(np.maximum(np.abs(res.resid), 0.01)))
    grid = welding.settings_of(res)
    assert_allclose(np.sort(right.lines[0].get_xdata()), np.sort(grid["mean"]))
    with_method = (welds["Material"] == 1) & (welds["Method"] != -welds["Preheating"])
    assert not with_method.any()  # what the story says of Method


# ---- all -----------------------------------------------------------------------------------------


def test_story(tmp_path, capsys):
    story.say("word " * 40)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 78
    story.show(pd.Series([1.23456], ["a"]), 2)
    assert capsys.readouterr().out == "a    1.23\n\n"

    def nothing():
        raise ImportError("plots need matplotlib")

    story.save({"a.png": nothing}, tmp_path / "new")
    assert capsys.readouterr().out == "No plot: plots need matplotlib\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.thorough
def test_out_from_the_shell(tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-m", "hetglm.examples.welding", "--out", str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "welding.png").is_file()
    assert done.stderr == ""
    command[-1] = str(tmp_path / "a" / "welding.png")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "welding.png is a file; name a folder" in done.stderr
