"""Replicates on several cores and machines, interrupted and resumed: always the same numbers."""

import builtins
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from conftest import CASES, fitted, simulated
from numpy.testing import assert_array_equal
from quick import thorough

from hetglm.estimation import record
from hetglm.inference import bootstrap
from hetglm.utils import parallel
from hetglm.utils.checkpoint import fingerprint
from hetglm.utils.parallel import Run, replicate

RES = fitted("gaussian", "x | z")
#: Seconds that something that takes one or two may take on a busy machine.
PATIENCE = 60


class Draw:
    """Task: a few draws; sometimes a failure."""

    def __call__(self, rng):
        values = rng.normal(size=3)
        if values[0] > 1:
            raise ValueError("too large: by far")
        return values


class DiesOnce(Draw):
    """Task that kills its process the first time that it is run in another one."""

    def __init__(self, path):
        self.path, self.home = path, os.getpid()

    def __call__(self, rng):
        if os.getpid() != self.home and not self.path.exists():
            self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(rng)


class Broken(Draw):
    def __call__(self, rng):
        raise TypeError("a mistake in the task")


def run(task, nrep, rng=1, **kwargs):
    return replicate(task, nrep, rng, Run(**kwargs), "draws", "")


def records(path):
    """Return the numbers of the replicates in a checkpoint, in the order they were written."""
    lines = path.read_text().splitlines()[1:]
    return [number for line in lines for number in json.loads(line[9:])[0]]


# ---- the same numbers ----------------------------------------------------------------------------


def test_numbers_do_not_depend_on_jobs_or_batches():
    plain = run(Draw(), 50)
    assert (plain.nrep, len(plain.values) + plain.failed) == (50, 50)
    assert plain.reasons == {"ValueError: too large: by far": plain.failed}
    assert plain.failed > 2
    assert len(np.unique(plain.values)) == plain.values.size
    for kwargs in (
        {"batch_size": 7},
        {"n_jobs": 2},
        {"n_jobs": 2, "batch_size": 1},
        {"n_jobs": -1},
    ):
        assert_array_equal(run(Draw(), 50, **kwargs).values, plain.values)
    assert_array_equal(run(Draw(), 20).values, plain.values[: 20 - run(Draw(), 20).failed])
    assert not np.array_equal(run(Draw(), 50, 2).values, plain.values)
    assert not np.array_equal(run(Draw(), 50, None).values, run(Draw(), 50, None).values)


@pytest.mark.parametrize("kind", ["pairs", "parametric", "cluster"])
def test_bootstrap_in_two_processes(kind):
    groups = {"groups": "block"} if kind == "cluster" else {}
    one, two = (RES.bootstrap(12, kind, rng=5, n_jobs=n, **groups) for n in (1, 2))
    assert_array_equal(one.params, two.params)


def test_comparison_in_two_processes():
    kwargs = {"test": "bootstrap", "nrep": 60, "rng": 3, "sequential": 4}
    res = CASES["gaussian"].formula("x | w", simulated(60)).fit()
    one, two = (res.compare_constant_dispersion(n_jobs=n, **kwargs) for n in (1, 2))
    assert one == two
    assert "stopped" in one.method


@pytest.mark.thorough
def test_replicates_keep_to_one_thread():
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads(rng):
        return [max((p["num_threads"] for p in threadpoolctl.threadpool_info()), default=1)]

    with threadpoolctl.threadpool_limits(2):
        assert run(threads, 2).values.max() == 1
        assert run(threads, 4, n_jobs=2).values.max() == 1


def test_a_run_that_may_stop_early_looks_for_the_threads_once(monkeypatch):
    looked = []
    monkeypatch.setattr(parallel, "_one_thread", lambda: looked.append(1) or nullcontext())
    replicate(lambda rng: [1.0], 9, 1, Run(), "draws", "", lambda outcomes: 0)
    assert len(looked) == 1


def test_jobs_follow_the_configuration_of_joblib(monkeypatch):
    import joblib

    assert Run().jobs() == 1
    with joblib.parallel_config(backend="threading", n_jobs=3):
        assert Run().jobs() == 3
        assert Run(1).jobs() == 1
    monkeypatch.delitem(sys.modules, "joblib")
    assert Run().jobs() == 1
    assert "joblib" not in sys.modules


def test_tasks_are_sent_in_little_more_than_their_data():
    of = record.fitted_of(RES._results)
    task = bootstrap.Resampling(of, "parametric", None, "", {}, 1.0)
    task(np.random.default_rng(1))
    data = sum(a.nbytes for a in (of.core.y, of.core.X, of.core.Z))
    assert len(pickle.dumps(task)) < 3 * data + 10_000


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.thorough
def test_batches_of_a_killed_process_are_run_again(tmp_path):
    task = DiesOnce(tmp_path / "died")
    values = run(task, 40, n_jobs=2, batch_size=2).values
    assert task.path.exists()
    assert_array_equal(values, run(Draw(), 40).values)


@pytest.mark.thorough
def test_jobs_that_keep_dying_end_the_run(tmp_path):
    task = DiesOnce(tmp_path / "never" / "there")
    task.path = type("Gone", (), {"exists": lambda s: False, "touch": lambda s: None})()
    with pytest.raises(RuntimeError, match="the jobs died 3 times in a row with nothing done"):
        run(task, 4, n_jobs=2)


@pytest.mark.parametrize("n_jobs", [1, *thorough(2)])
def test_mistakes_are_not_failures_of_replicates(n_jobs):
    with pytest.raises(TypeError, match="a mistake in the task"):
        run(Broken(), 8, n_jobs=n_jobs)


@pytest.mark.parametrize(
    ("package", "kwargs"), [("joblib", {"n_jobs": 2}), ("tqdm", {"progress": True})]
)
def test_missing_extras_are_named(monkeypatch, package, kwargs):
    original = builtins.__import__

    def without(name, *args, **kwds):
        if name == package:
            raise ImportError(name)
        return original(name, *args, **kwds)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'hetglm\[parallel\]'"):
        run(Draw(), 3, **kwargs)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    if package == "tqdm":
        run(Draw(), 3)


def test_progress_bar(capsys, monkeypatch):
    run(Draw(), 3)
    assert capsys.readouterr().err == ""
    run(Draw(), 30, progress=True)
    assert "30/30" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(Draw(), 3, progress=False)
    assert capsys.readouterr().err == ""
    run(Draw(), 3)
    assert "3/3" in capsys.readouterr().err


# ---- checkpoint ----------------------------------------------------------------------------------

SLOW_RUN = """
    import sys, time
    sys.path.insert(0, {tests!r})
    from conftest import fitted
    from hetglm.inference import bootstrap

    refit = bootstrap.refit

    def slow(*args):
        time.sleep(0.01)
        return refit(*args)

    bootstrap.refit = slow
    fitted("gaussian", "x | z").bootstrap(60, {kind!r}, rng=7, checkpoint={path!r}, batch_size=2)
"""


@pytest.mark.parametrize("kind", ["pairs", *thorough("parametric")])
def test_killed_run_goes_on_where_it_stopped(tmp_path, kind):
    path = tmp_path / "kept"
    code = SLOW_RUN.format(tests=str(Path(__file__).parents[1]), kind=kind, path=str(path))
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    until = time.time() + PATIENCE
    while not path.exists() or len(path.read_bytes().splitlines()) < 6:
        assert time.time() < until
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    before = path.read_bytes()
    begun = before[: before.rindex(b"\n") + 1]
    assert 5 <= begun.count(b"\n") < 31
    boot = RES.bootstrap(60, kind, rng=7, checkpoint=path)
    assert path.read_bytes().startswith(begun)
    assert sorted(records(path)) == list(range(60))
    assert_array_equal(boot.params, RES.bootstrap(60, kind, rng=7).params)


def test_torn_line_is_done_again_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    plain = RES.bootstrap(10, rng=1, checkpoint=path, batch_size=3).params
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for torn in (whole[:-5], whole[: -len(lines[-1]) + 1], whole[:-30] + b"0" * 29 + b"\n"):
        path.write_bytes(torn)
        done = []
        monkeypatch.setattr(
            parallel,
            "generator",
            lambda e, i, d=done, g=parallel.generator: d.append(i) or g(e, i),
        )
        assert_array_equal(RES.bootstrap(10, rng=1, checkpoint=path).params, plain)
        assert done == [9]
        monkeypatch.undo()
        assert path.read_bytes() == whole


def test_finished_checkpoint_grows_and_keeps_its_seed(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    first = RES.bootstrap(5, checkpoint=path).params
    longer = RES.bootstrap(8, checkpoint=str(path), n_jobs=2).params
    assert_array_equal(longer[:5], first)
    entropy = json.loads(path.read_text().splitlines()[0][9:])[3]
    of = record.fitted_of(RES._results)
    task = bootstrap.Resampling(of, "pairs", None, "", {}, 1.0)
    assert_array_equal(longer[7], task(parallel.generator(entropy, 7)))
    assert sorted(records(path)) == list(range(8))
    monkeypatch.setattr(parallel, "_outcomes", None)  # nothing is left to do
    assert_array_equal(RES.bootstrap(5, checkpoint=path).params, first)


def test_failures_and_nan_are_kept(tmp_path):
    path = tmp_path / "kept"

    def one(rng):
        value = rng.normal()
        if value > 0:
            raise ValueError("positive")
        return [np.nan, -np.inf, value]

    plain = run(one, 20, checkpoint=path)
    again = run(one, 20, checkpoint=path)
    assert_array_equal(plain.values, again.values)
    assert plain.reasons == again.reasons == {"ValueError: positive": plain.failed}


def test_every_batch_is_on_disk_before_the_next_one(tmp_path):
    path = tmp_path / "kept"
    seen = []
    run(lambda rng: seen.append(path.read_bytes().count(b"\n")) or [1.0], 6, checkpoint=path)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_comparison_goes_on(tmp_path):
    path = tmp_path / "kept"
    kwargs = {"test": "bootstrap", "rng": 3, "checkpoint": path}
    RES.compare_constant_dispersion(nrep=4, **kwargs)
    test = RES.compare_constant_dispersion(nrep=9, **kwargs)
    assert records(path) == list(range(9))
    del kwargs["checkpoint"]
    assert test == RES.compare_constant_dispersion(nrep=9, **kwargs)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda path: fitted("gaussian").bootstrap(3, rng=1, checkpoint=path), "another run"),
        (lambda path: fitted("gamma", "x | z").bootstrap(3, rng=1, checkpoint=path), "another run"),
        (
            lambda path: (
                CASES["gaussian"]
                .formula("x | z", simulated().assign(gaussian=lambda d: d["gaussian"] + 1e-9))
                .fit()
                .bootstrap(3, rng=1, checkpoint=path)
            ),
            "another run",
        ),
        (lambda path: RES.bootstrap(3, "parametric", rng=1, checkpoint=path), "another run"),
        (lambda path: RES.bootstrap(3, rng=1, studentized=True, checkpoint=path), "another run"),
        (
            lambda path: RES.compare_constant_dispersion(
                test="bootstrap", nrep=3, rng=1, checkpoint=path
            ),
            "another run",
        ),
        (lambda path: RES.bootstrap(3, rng=2, checkpoint=path), "started with another rng"),
    ],
)
def test_checkpoint_of_another_run_is_refused_and_left_alone(tmp_path, other, message):
    path = tmp_path / "kept"
    RES.bootstrap(3, rng=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        other(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x,y\n1,2\n", b"x", b"\0" * 40, b'00000000 ["hetglm"]\n'])
def test_other_files_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.csv': not a checkpoint"):
        RES.bootstrap(3, checkpoint=path)
    assert path.read_bytes() == content


def test_damaged_line_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "kept"
    RES.bootstrap(4, rng=1, checkpoint=path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"1", b"7")
    path.write_bytes(b"".join(lines))
    with pytest.raises(ValueError, match="or damaged"):
        RES.bootstrap(4, rng=1, checkpoint=path)


def test_unwritable_paths_are_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "_outcomes", None)
    for path in (tmp_path, tmp_path / "missing" / "kept", 3.5, "a\0b"):
        with pytest.raises(ValueError, match=r"^checkpoint=.*cannot be written"):
            RES.bootstrap(3, checkpoint=path)


def test_file_in_use_is_refused(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "kept"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is writing it"):
            RES.bootstrap(3, checkpoint=path)
    RES.bootstrap(3, checkpoint=path)


def test_fingerprints():
    core = RES._results.model.core
    same = fingerprint(core.family, core.link, core.X, "a", None, 1)
    assert same == fingerprint(core.family, core.link, core.X.copy(), "a", None, 1)
    other = fitted("negative-binomial", "x | z")._results.model.core
    again = CASES["negative-binomial"].formula("x | z")
    parts = [core.family, core.link, other.family, other.link, core.X, core.X.T, None, "a", 1, True]
    assert len({fingerprint(part) for part in parts}) == len(parts)
    assert fingerprint(other.family) == fingerprint(again.core.family)
    assert fingerprint([1, 2], [3]) != fingerprint([1], [2, 3])
    assert fingerprint(np.zeros(2)) != fingerprint(np.zeros(2, dtype=int))


@pytest.mark.thorough
def test_fingerprint_is_the_same_in_another_process():
    code = """
        import sys
        sys.path.insert(0, {tests!r})
        from conftest import fitted
        from hetglm.estimation.record import identifying, fitted_of
        from hetglm.utils.checkpoint import fingerprint
        of = fitted_of(fitted("negative-binomial", "x | z")._results)
        print(fingerprint(*identifying(of)))
    """
    code = textwrap.dedent(code.format(tests=str(Path(__file__).parents[1])))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    of = record.fitted_of(fitted("negative-binomial", "x | z")._results)
    assert out.stdout.strip() == fingerprint(*record.identifying(of))


# ---- Dask ----------------------------------------------------------------------------------------


def kill_when_begun(path, pid):
    """Kill a process as soon as a checkpoint has a few records."""
    until = time.time() + PATIENCE
    while time.time() < until and (not path.exists() or path.read_bytes().count(b"\n") < 4):
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.thorough
def test_two_dask_workers_one_of_them_killed(tmp_path):
    import joblib
    from distributed import Client, LocalCluster

    path = tmp_path / "kept"
    plain = RES.bootstrap(200, "parametric", rng=4).params
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        LocalCluster(host="127.0.0.1", processes=True, silence_logs=50, **options) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        assert Run().jobs() == 2
        assert_array_equal(RES.bootstrap(40, "parametric", rng=4).params, plain[:40])
        workers = client.run(os.getpid)
        victim = min(workers.values())
        killer = threading.Thread(target=kill_when_begun, args=(path, victim))
        killer.start()
        boot = RES.bootstrap(200, "parametric", rng=4, checkpoint=path, batch_size=4)
        killer.join()
        client.wait_for_workers(2)
        assert victim not in client.run(os.getpid).values()
    assert_array_equal(boot.params, plain)
    assert sorted(records(path)) == list(range(200))
