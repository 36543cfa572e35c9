"""Bad input to everything that resamples: a sentence that names the argument, and nothing lost."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import CASES, fitted, simulated

import hetglm.api as het
from hetglm.estimation import record
from hetglm.utils import parallel
from hetglm.utils.checkpoint import fingerprint

RES = fitted("beta-binomial", "x | z")
NULL = fitted("beta-binomial", "x")
ENTRIES = {
    "bootstrap": lambda res, null, **kwargs: res.bootstrap(**kwargs),
    "conf_int": lambda res, null, **kwargs: res.conf_int(method="bootstrap", **kwargs),
    "comparison": lambda res, null, **kwargs: res.compare_constant_dispersion(
        test="bootstrap", **kwargs
    ),
    "overdispersion": lambda res, null, **kwargs: res.test_overdispersion("model", **kwargs),
    "terms": lambda res, null, **kwargs: het.anova(res, typ=3, test="bootstrap", **kwargs),
    "two rows": lambda res, null, **kwargs: het.anova(res, test="bootstrap", **kwargs),
    "random effect": lambda res, null, **kwargs: res.test_random_effect("block", **kwargs),
    "several": lambda res, null, **kwargs: het.anova(null, res, test="bootstrap", **kwargs),
}
BAD = {
    "no draws": ({"nrep": 0}, "^nrep=0: must be a whole number of at least 1"),
    "negative draws": ({"nrep": -5}, "^nrep=-5"),
    "half a draw": ({"nrep": 1.5}, r"^nrep=1\.5"),
    "true draws": ({"nrep": True}, "^nrep=True"),
    "draws as text": ({"nrep": "9"}, "^nrep='9'"),
    "seed as text": ({"rng": "1"}, "^rng: give None, an int or a numpy Generator, not str"),
    "seed a fraction": ({"rng": 1.5}, "^rng: .*not float"),
    "seed a truth value": ({"rng": True}, "^rng: .*not bool"),
    "old generator": ({"rng": np.random.RandomState(1)}, "^rng: .*not RandomState"),
    "negative seed": ({"rng": -1}, "^rng=-1: must not be negative"),
    "no jobs": ({"n_jobs": 0}, "^n_jobs=0: give a number of jobs"),
    "progress": ({"progress": "yes"}, "^progress='yes'"),
    "batches": ({"batch_size": 0}, "^batch_size=0"),
}


@pytest.fixture
def idle(monkeypatch):
    """Let no replicate begin."""
    monkeypatch.setattr(parallel, "_outcomes", None)


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", ENTRIES)
def test_settings(entry, bad):
    kwargs, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        ENTRIES[entry](RES, NULL, **{"nrep": 2, **kwargs})


@pytest.mark.parametrize(
    "entry", [name for name in ENTRIES if name not in ("bootstrap", "conf_int")]
)
def test_sequential(entry):
    with pytest.raises(ValueError, match=r"^sequential=0"):
        ENTRIES[entry](RES, NULL, nrep=2, sequential=0)


@pytest.mark.parametrize("entry", ENTRIES)
def test_unknown_keyword(entry):
    with pytest.raises(TypeError, match="seed"):
        ENTRIES[entry](RES, NULL, nrep=2, seed=1)


def test_settings_that_are_not_needed_are_looked_at_too():
    """Where chi-square serves, a mistake shows as well as on the day when it does not."""
    for call in (RES.compare_constant_dispersion, RES.test_overdispersion):
        for bad in ("no draws", "seed as text", "no jobs"):
            kwargs, message = BAD[bad]
            with pytest.raises(ValueError, match=message):
                call(**kwargs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: het.anova(RES, typ=3, test="boot"),
            "test='boot': choose 'lr', 'bootstrap', 'wald'",
        ),
        (lambda: het.anova(RES, test="boot"), "test='boot': choose 'lr' or 'bootstrap'"),
        (lambda: het.anova(NULL, RES, test="boot"), "test='boot': choose 'lr' or 'bootstrap'"),
        (lambda: RES.compare_constant_dispersion(test="boot"), "test='boot': choose 'lr'"),
        (lambda: RES.test_overdispersion("boot"), "against='boot': choose 'constant' or 'model'"),
        (lambda: RES.bootstrap(2, "boot"), "kind='boot': choose 'pairs'"),
        (lambda: RES.conf_int(method="boot"), "method='boot': choose 'wald', 'profile' or"),
        (lambda: RES.conf_int(method="bootstrap", kind="boot"), "kind='boot': choose 'pairs'"),
    ],
)
def test_unknown_tests(call, message):
    with pytest.raises(ValueError, match=message):
        call()


N = len(simulated())
GROUPS = {
    "too short": (np.arange(N - 1), r"groups: shape \(119,\), but there are 120 rows"),
    "too long": (np.arange(N + 1), r"groups: shape \(121,\), but there are 120 rows"),
    "a number": (3, r"groups: shape \(\)"),
    "missing": (np.where(np.arange(N) == 4, np.nan, 1.0), "groups: missing value"),
    "missing text": (np.where(np.arange(N) == 4, None, "a"), "groups: missing value"),
    "unknown": ("clinic", "groups='clinic' is not a column of the data"),
}
CLUSTERED = {
    "bootstrap": lambda groups: RES.bootstrap(2, "cluster", groups=groups),
    "conf_int": lambda groups: RES.conf_int(
        method="bootstrap", nrep=2, kind="cluster", groups=groups
    ),
    "fit": lambda groups: (
        CASES["beta-binomial"].formula("x | z").fit(cov_type="cluster", cov_kwds={"groups": groups})
    ),
    "random effect": lambda groups: RES.test_random_effect(groups, nrep=2),
    "diagnosis": lambda groups: RES.diagnose(groups),
    "overdispersion": lambda groups: RES.test_overdispersion(groups=groups),
    "score_test": lambda groups: RES.score_test(
        (simulated()[["z"]], None), cov_type="cluster", cov_kwds={"groups": groups}
    ),
}


@pytest.mark.parametrize("bad", GROUPS)
@pytest.mark.parametrize("entry", CLUSTERED)
def test_groups(entry, bad):
    groups, message = GROUPS[bad]
    with pytest.raises(ValueError, match=message):
        CLUSTERED[entry](groups)


@pytest.mark.parametrize("entry", ["bootstrap", "conf_int"])
def test_groups_and_clusters_go_together(entry):
    for kwargs in ({"kind": "cluster"}, {"groups": "block"}):
        with pytest.raises(
            ValueError, match="groups: give groups with kind='cluster', and only with it"
        ):
            ENTRIES[entry](RES, NULL, nrep=2, **kwargs)
    with pytest.raises(ValueError, match="draws one-way clusters"):
        ENTRIES[entry](RES, NULL, nrep=2, kind="cluster", groups=["block", "site"])


@pytest.mark.parametrize("entry", ENTRIES)
def test_checkpoint_of_another_model(entry, tmp_path, monkeypatch):
    path = tmp_path / "kept"
    other = simulated().assign(K=np.roll(simulated()["K"], 1), N=np.roll(simulated()["N"], 1))
    fits = (CASES["beta-binomial"].formula(right, other).fit() for right in ("x | z", "x"))
    ENTRIES[entry](*fits, nrep=2, rng=1, checkpoint=path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(parallel, "_outcomes", None)
    with pytest.raises(ValueError, match=r"kept': belongs to another run .*give another path"):
        ENTRIES[entry](RES, NULL, nrep=2, rng=1, checkpoint=path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("entry", ["bootstrap", "conf_int", "comparison", "terms", "several"])
def test_checkpoint_of_the_same_model_by_reml(entry, tmp_path):
    path, case = tmp_path / "kept", CASES["gaussian"]
    ml, reml = (
        [case.formula(right).fit(reml=reml) for right in ("x | z", "x")] for reml in (False, True)
    )
    kwargs = {"nrep": 2, "rng": 1, "checkpoint": path}
    ENTRIES[entry](*ml, **kwargs)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="belongs to another run"):
        ENTRIES[entry](*reml, **kwargs)
    assert path.read_bytes() == before


def test_refits_by_reml_are_others_whatever_the_estimates():
    ml, reml = (
        record.fitted_of(CASES["gaussian"].formula("x | z").fit(reml=by)._results)
        for by in (False, True)
    )
    same = replace(ml, fit=replace(ml.fit, params=reml.fit.params))
    parts = [record.identifying(fitted) for fitted in (same, reml)]
    assert str(parts[0][-2]) == str(parts[1][-2])
    assert fingerprint(*parts[0]) != fingerprint(*parts[1])


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("entry", ENTRIES)
def test_unwritable_paths(entry, tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "kept", 3.5, "a\0b"):
        with pytest.raises(ValueError, match=r"^checkpoint=.*cannot be written"):
            ENTRIES[entry](RES, NULL, nrep=2, checkpoint=path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
@pytest.mark.parametrize("entry", ENTRIES)
def test_nothing_is_lost_when_a_draw_is_a_mistake(entry, tmp_path, monkeypatch):
    """What was done before is in the file, and the same call goes on from there."""
    path, original = tmp_path / "kept", parallel.generator

    def breaking(entropy, number):
        if number == 2:
            raise KeyError("a mistake")
        return original(entropy, number)

    kwargs = {"nrep": 4, "rng": 1, "checkpoint": path}
    monkeypatch.setattr(parallel, "generator", breaking)
    with pytest.raises(KeyError, match="a mistake"):
        ENTRIES[entry](RES, NULL, **kwargs)
    begun = path.read_bytes()
    assert begun.count(b"\n") == 3
    monkeypatch.undo()
    ENTRIES[entry](RES, NULL, **kwargs)
    assert path.read_bytes().startswith(begun)
    assert path.read_bytes().count(b"\n") == 5
