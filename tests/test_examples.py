"""The example of insurance claims tells what it says."""

import re
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hetglm.examples import claims


def test_claims_tells_its_story(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    claims.main(tmp_path)
    out = capsys.readouterr().out
    text = " ".join(out.split())
    for piece in (
        "1. Exposure in both parts",
        "Likelihood: exact",
        "2. The truth is known here",
        "4. What the dispersion is for",
        "Picture: ",
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
    lines = [line for line in out.splitlines() if not line.startswith("Picture")]
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
    assert "No picture: pictures need matplotlib: pip install" in capsys.readouterr().out
