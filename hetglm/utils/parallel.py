"""
Independent replicates of a random task: on one core, on all, or on many machines.

A task is anything picklable that is called with a random generator and returns a vector of floats,
or raises a ValueError or FloatingPointError that counts as its failure. Replicate number i always has
the i-th child of the seed, so neither the number of jobs nor the batches nor an interruption change
what comes out (to the last bit with threadpoolctl, which the extra "parallel" brings).
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetglm.exceptions import BootstrapFailureWarning, EveryRefitFailedError
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.checkpoint import Checkpoint
from hetglm.utils.messages import reason, warn

#: Result of a replicate: its vector, or the reason of its failure.
Replicate = list[float] | str

#: Default number of replicates of a bootstrap: B such that (B + 1) alpha is an integer for the usual
#: alpha (Davison and Hinkley 1997, Bootstrap Methods and their Application, sections 4.2 and 5.2).
N_REPLICATES = 999

#: Default of a test that needs a bootstrap unasked, at the boundary: the smallest P is then 1/200.
N_BOUNDARY_REPLICATES = 199

#: Number of batches for each job: a slow or lost one then delays little.
N_BATCHES = 8
#: Largest number of replicates in a batch.
MAX_BATCH = 100

#: Number of successive losses of all running batches after which the run is abandoned.
MAX_LOSSES = 3

#: Number of 32-bit words of a seed.
N_SEED_WORDS = 4


@dataclass(frozen=True)
class Run:
    """
    How replicates are run.

    Attributes
    ----------
    n_jobs : int or None
        Jobs of joblib, as scikit-learn has it: None is 1, or what ``joblib.parallel_config`` says.
    progress : bool or None
        Whether to show a progress bar; None for only on a terminal.
    checkpoint : str, path-like or None
        File that keeps what is done.
    batch_size : int or None
        Replicates a job is given at a time.
    """

    n_jobs: int | None = None
    progress: bool | None = None
    checkpoint: Any = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Validate the settings before any work."""
        jobs = self.n_jobs
        whole = isinstance(jobs, (int, np.integer)) and not isinstance(jobs, bool)
        if jobs is not None and (not whole or jobs == 0):
            raise ValueError(f"n_jobs={jobs!r}: give a number of jobs, or -1 for all cores")
        if self.progress not in (None, True, False):
            raise ValueError(f"progress={self.progress!r}: give True, False or None")
        if self.batch_size is not None:
            checks.count(self.batch_size, "batch_size")

    def jobs(self) -> int:
        """Return how many jobs run at once."""
        if self.n_jobs == 1 or (self.n_jobs is None and "joblib" not in sys.modules):
            return 1
        return int(_joblib().effective_n_jobs(self.n_jobs))


@dataclass(frozen=True)
class Replicates:
    """
    What came of the replicates, in their order.

    Attributes
    ----------
    values : ndarray, shape (done, k)
        Of those that succeeded.
    nrep : int
        Replicates that were run.
    reasons : dict
        Why the others failed, with counts.
    """

    values: Array
    nrep: int
    reasons: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Sequence[Replicate]) -> Replicates:
        """Return outcomes sorted into values and reasons."""
        values = [o for o in outcomes if not isinstance(o, str)]
        reasons = Counter(o for o in outcomes if isinstance(o, str))
        return cls(np.array(values, dtype=float), len(outcomes), dict(reasons))

    @property
    def failed(self) -> int:
        """Number of replicates that failed."""
        return sum(self.reasons.values())


def replicate(
    task: Callable[[np.random.Generator], Array],
    nrep: int,
    rng: Any,
    run: Run,
    what: str,
    identity: str,
    enough: Callable[[list[Replicate]], int] | None = None,
) -> Replicates:
    """
    Return the outcomes of replicates 0 to nrep - 1 of a task.

    Parameters
    ----------
    task : callable
        Of a Generator; see the module.
    nrep : int
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        A generator moves on by one draw, whatever nrep is.
    run : Run
    what : str
        What is replicated, for the progress bar and messages.
    identity : str
        Fingerprint of the task.
    enough : callable, optional
        Of the outcomes so far, in order: how many of them are enough, 0 for none. What comes after
        is left out, so that it does not matter how many were run at once.
    """
    nrep = checks.count(nrep, "nrep")
    entropy = checks.generator(rng).integers(2**32, size=N_SEED_WORDS).tolist()
    kept = None
    if run.checkpoint is not None:
        kept = Checkpoint(run.checkpoint, what, identity, entropy, rng is None)
        entropy = kept.entropy
    try:
        with progress_bar(nrep, run.progress, what) as advance:
            return Replicates.of(_Loop(task, entropy, run, kept, advance).first(nrep, enough))
    finally:
        if kept is not None:
            kept.close()


def each(task: Callable[[Any], Any], items: Sequence[Any], run: Run, what: str) -> list[Any]:
    """
    Return what a task makes of each item, in their order, whatever the number of jobs.

    Parameters
    ----------
    task : callable
        Picklable, and without randomness of its own.
    items : sequence
    run : Run
        Of which the jobs and the progress bar are used.
    what : str
        For the progress bar.
    """
    with progress_bar(len(items), run.progress, what) as advance:
        done = []
        for result in _results_of(task, items, run):
            done.append(result)
            advance(1)
        return done


def _results_of(task: Callable[[Any], Any], items: Sequence[Any], run: Run) -> Iterator[Any]:
    """Yield the result of a task for each item, in order."""
    if run.jobs() == 1:
        yield from (_alone(task, item) for item in items)
        return
    joblib = _joblib()
    calls = (joblib.delayed(_alone)(task, item) for item in items)
    yield from joblib.Parallel(run.n_jobs, return_as="generator")(calls)


def _alone(task: Callable[[Any], Any], item: Any) -> Any:
    """Return the result of a task for an item, on one thread."""
    with _one_thread():
        return task(item)


def generator(entropy: Sequence[int], number: int) -> np.random.Generator:
    """Return the generator of a replicate, from the seed's child of this number."""
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(number,)))


def run_batch(task: Any, entropy: list[int], numbers: list[int]) -> Any:
    """
    Return the numbers with their outcomes, or the exception that was no failure of a replicate.

    It is returned and not raised: what a job raises is the loss of the job.
    """
    try:
        with _one_thread():
            return numbers, _outcomes(task, entropy, numbers)
    except Exception as exc:
        return exc


def _outcomes(task: Any, entropy: list[int], numbers: list[int]) -> list[Replicate]:
    return [_outcome(task, generator(entropy, i)) for i in numbers]


def _outcome(task: Any, rng: np.random.Generator) -> Replicate:
    try:
        return np.asarray(task(rng), dtype=float).ravel().tolist()
    except (ValueError, FloatingPointError, np.linalg.LinAlgError) as exc:
        return reason(exc)


class _Loop:
    """Runs the remaining replicates and stores their outcomes."""

    def __init__(
        self, task: Any, entropy: list[int], run: Run, kept: Checkpoint | None, advance: Any
    ) -> None:
        self.task, self.entropy, self.run = task, entropy, run
        self.kept, self.advance = kept, advance
        self.outcomes: dict[int, Replicate] = {} if kept is None else dict(kept.outcomes)
        self.jobs = run.jobs()

    def first(self, nrep: int, enough: Callable[[list[Replicate]], int] | None) -> list[Replicate]:
        """Return the outcomes of the first ``nrep`` replicates, or fewer if they are enough."""
        # once: to look for the libraries takes longer than a cheap replicate
        with _one_thread() if self.jobs == 1 else nullcontext():
            return self._first(nrep, enough)

    def _first(self, nrep: int, enough: Callable[[list[Replicate]], int] | None) -> list[Replicate]:
        self.advance(sum(i < nrep for i in self.outcomes))
        size = self.run.batch_size or self._size(nrep)
        stop = 0
        while stop < nrep:
            # a run that may stop early starts only as many as keep the jobs busy
            stop = nrep if enough is None else min(nrep, stop + max(self.jobs * size, stop // 10))
            missing = [i for i in range(stop) if i not in self.outcomes]
            batches = [missing[i : i + size] for i in range(0, len(missing), size)]
            if self.jobs == 1:
                self._one_by_one(batches)
            else:
                self._in_parallel(batches)
            done = [self.outcomes[i] for i in range(stop)]
            if enough is not None and (last := enough(done)):
                return done[:last]
        return done

    def _size(self, nrep: int) -> int:
        return 1 if self.jobs == 1 else max(1, min(MAX_BATCH, nrep // (N_BATCHES * self.jobs)))

    def _one_by_one(self, batches: list[list[int]]) -> None:
        for batch in batches:
            self._keep(batch, _outcomes(self.task, self.entropy, batch))

    def _in_parallel(self, batches: list[list[int]]) -> None:
        """Run batches until all are done; batches of a job that died are repeated."""
        losses = 0
        while batches:
            left = len(batches)
            lost = self._arrived(batches)
            batches = [batch for batch in batches if batch[0] not in self.outcomes]
            losses = 0 if len(batches) < left else losses + 1
            if losses == MAX_LOSSES:
                raise RuntimeError(
                    f"the jobs died {losses} times in a row with nothing done ({lost!r}); use fewer; "
                    "replicates done before are in the checkpoint, if there is one"
                ) from lost

    def _arrived(self, batches: list[list[int]]) -> BaseException | None:
        """Store the outcomes of some batches; return the error that ended them early, if any."""
        joblib = _joblib()
        jobs = joblib.Parallel(self.run.n_jobs, return_as="generator_unordered", batch_size=1)
        calls = (joblib.delayed(run_batch)(self.task, self.entropy, batch) for batch in batches)
        results = None
        try:
            while True:
                try:
                    results = jobs(calls) if results is None else results
                    returned = next(results)
                except StopIteration:
                    return None
                except (Exception, CancelledError) as exc:
                    return exc
                if isinstance(returned, Exception):
                    raise returned
                self._keep(*returned)
        finally:
            _abandon(results)

    def _keep(self, numbers: list[int], outcomes: list[Replicate]) -> None:
        """Store the outcomes of a batch."""
        if self.kept is not None:
            self.kept.append(numbers, outcomes)
        self.outcomes |= zip(numbers, outcomes, strict=True)
        self.advance(len(numbers))


def _abandon(results: Any) -> None:
    """Stop the running tasks; joblib would warn that their results are not read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if results is not None:
            results.close()


def _one_thread() -> Any:
    """Limit BLAS to one thread where possible: the number of threads changes the last bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(1)


def _joblib() -> Any:
    try:
        import joblib
    except ImportError as exc:
        raise ImportError(
            "n_jobs needs joblib: pip install 'hetglm[parallel]', or use n_jobs=1"
        ) from exc
    return joblib


@contextmanager
def progress_bar(
    total: int | None, wanted: bool | None, what: str
) -> Iterator[Callable[[int], Any]]:
    """Yield the function that advances a progress bar, by default shown only on a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield lambda number: None
        return
    try:
        from tqdm import tqdm
    except ImportError as exc:
        if wanted is None:
            yield lambda number: None
            return
        raise ImportError(
            "progress=True needs tqdm: pip install 'hetglm[parallel]', or pass progress=False"
        ) from exc
    with tqdm(total=total, desc=what) as bar:
        yield bar.update


def report_failures(done: Replicates, what: str) -> None:
    """Raise where every replicate failed, warn where some did."""
    if done.failed == done.nrep:
        raise EveryRefitFailedError(f"every bootstrap refit failed: {done.reasons}")
    if done.failed:
        warn(
            f"{done.failed} of {done.nrep} bootstrap refits failed and are left out of the {what}: "
            f"{done.reasons}",
            BootstrapFailureWarning,
        )
