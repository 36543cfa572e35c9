"""
``python benchmarks/corpus_report.py``: the corpus of random problems of ``tests/corpus.py``, judged.

Every problem is fitted with nothing but its data and judged three ways: by the scaled gradient, by
L-BFGS-B from many starts, and, where the dispersion ends at zero or infinity, by whether the
log-likelihood of plain coefficients reaches the supremum that is told. ``--peers`` adds how often VGAM,
glmmTMB and the PyPI package gamlss reach the same maximum, the exact log-likelihood taken at their
estimates; see ``_peers.py`` for what they need.
"""

# ruff: noqa: E402 (the threads must be set before NumPy is imported)

from __future__ import annotations

import os

# one thread, set before NumPy loads its BLAS
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from _peers import PEERS, read, run, version, write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import corpus

import hetglm
import hetglm.api as het

try:
    from tqdm import tqdm
except ImportError:

    def tqdm(items, **kwargs):
        return items


#: A peer this far below our maximum has found it, to its own tolerance.
NEAR = 0.01
#: Problems that one process of a peer answers.
BATCH = 20


@dataclass
class Outcome:
    """What became of our fit of a problem; ``best`` is the multi-start's log-likelihood."""

    seed: int
    size: tuple = ()
    error: str = ""
    seconds: float = np.nan
    converged: bool = False
    gradient: float = np.nan
    llf: float = np.nan
    best: float = -np.inf
    gap: float = 0.0
    named: list = field(default_factory=list)
    strange: list = field(default_factory=list)

    @property
    def sound(self):
        """Whether the log-likelihood that is told is that of some coefficients, or their limit."""
        return abs(self.gap) <= corpus.TOLERANCE

    @property
    def short(self):
        return self.best - self.llf

    def __str__(self):
        shape = "rows {}, columns {} + {}".format(*self.size)
        return f"seed {self.seed} ({shape}): {', '.join(self.named) or 'no warning'}"


def outcome(seed, starts):
    """Return what becomes of a problem."""
    p = corpus.problem(seed)
    size = (len(p.y), p.X.shape[1], p.Z.shape[1])
    try:
        ours = corpus.judged(p)
    except Exception as exc:  # to be counted
        return Outcome(seed, size, f"{type(exc).__name__}: {exc}")
    best, (model, result) = -np.inf, (ours.model, ours.result)
    if starts:
        beside = result.fit.internal
        best = corpus.best_of_many(model.core, model.estimable, beside, starts)[0]
    return Outcome(
        seed,
        size,
        "",
        ours.seconds,
        bool(result.converged),
        ours.gradient,
        float(result.llf),
        best,
        ours.overstated(),
        ours.named,
        ours.strange,
    )


def outcomes(size, starts, processes):
    """Return what becomes of the first problems, in their order."""
    work = partial(outcome, starts=starts)
    if processes == 1:
        return [work(seed) for seed in tqdm(range(size), unit="problem")]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(tqdm(pool.imap(work, range(size)), total=size, unit="problem"))


def tell(found, starts):
    """Print what became of the problems."""
    fits = [o for o in found if not o.error]
    steep = [o for o in fits if o.converged and not o.gradient <= corpus.TOLERANCE]
    lost = [o for o in fits if not o.converged]
    silent = [o for o in lost if "ConvergenceWarning" not in o.named]
    odd = [o for o in fits if o.strange]
    apart = [o for o in fits if not o.sound]
    seconds = np.array([o.seconds for o in fits])
    print(f"hetglm {hetglm.__version__}, corpus of {len(found)}")
    _line("fits", len(fits))
    _line("failed with an error", len(found) - len(fits))
    _line("converged", len(fits) - len(lost))
    _line("  with a scaled gradient above 1e-6", len(steep))
    _line("not converged", len(lost))
    _line("  without a ConvergenceWarning", len(silent))
    _line("warned of nothing", sum(not o.named for o in fits))
    for name, count in Counter(name for o in fits for name in o.named).most_common():
        _line(f"  {name}", count)
    _line("warned by another package", len(odd))
    _line("supremum at an end of the dispersion not reached", len(apart))
    if starts:
        short = sorted((o for o in fits if o.short > corpus.TOLERANCE), key=lambda o: -o.short)
        _line(f"multi-start ({starts}) above ours by more than 1e-6", len(short))
        _line("  of these with SeveralMaximaWarning", _carrying(short, "SeveralMaximaWarning"))
        _line("  of these with ConvergenceWarning", _carrying(short, "ConvergenceWarning"))
        _line("  of these with another warning only", sum(_other_only(o) for o in short))
        _line("  of these without a warning", sum(not o.named for o in short))
    print(
        f"seconds per fit: median {np.median(seconds):.4f}, 95 % {np.quantile(seconds, 0.95):.3f}, "
        f"largest {seconds.max():.2f} (seed {fits[int(seconds.argmax())].seed})"
    )
    for o in (o for o in found if o.error):
        print(f"ERROR seed {o.seed}: {o.error}")
    for o in steep:
        print(f"STEEP {o.gradient:.1e} {o}")
    for o in lost:
        print(f"UNCONVERGED {o.gradient:.1e} {o}")
    for o in odd:
        print(f"STRANGE {o}: {o.strange[0]}")
    for o in apart:
        print(f"NOT REACHED {o.gap:.1e} {o}")
    for o in short if starts else []:
        print(f"SHORT {o.short:.2e} of {o.best:.6f} {o}")


def _line(text, count):
    print(f"{text:55s}{count:6d}")


def _carrying(found, name):
    return sum(name in o.named for o in found)


def _other_only(o):
    return bool(o.named) and not {"SeveralMaximaWarning", "ConvergenceWarning"} & set(o.named)


def record(found, starts):
    """Write the best log-likelihoods of the problems kept, of earlier records too."""
    kept = {o.seed: o for o in found if o.seed in corpus.KEPT and not o.error}
    if len(kept) < len(corpus.KEPT):
        raise SystemExit("--record: needs fits of all the problems kept, corpus.KEPT")
    marks = {seed: corpus.mark(corpus.problem(seed)) for seed in kept}
    known = {seed: llf for seed, (llf, mark) in corpus.recorded().items() if mark == marks[seed]}
    made = {
        "case": "corpus",
        "data": "problems of tests/corpus.py",
        "model": "BetaBinomial",
        "source": (
            f"python benchmarks/corpus_report.py --record, {date.today()}: the largest of the fit of "
            f"hetglm {hetglm.__version__}, of SciPy's L-BFGS-B from {starts} starts (best_of_many) and "
            "of earlier records"
        ),
        "seed": corpus.KEPT,
        "mark": [marks[seed] for seed in corpus.KEPT],
        "llf": [_best(kept[seed], known.get(seed, -np.inf)) for seed in corpus.KEPT],
    }
    corpus.RECORD.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"recorded in {corpus.RECORD}")


def _best(o, known):
    return max(o.llf if o.sound else -np.inf, o.best, known)


def answers(peer, size, patience):
    """Return a peer's answers to the first problems, by seed."""
    found = {}
    for first in tqdm(range(0, size, BATCH), desc=peer):
        left = list(range(first, min(first + BATCH, size)))
        while left:
            with tempfile.TemporaryDirectory() as directory:
                for seed in left:
                    p = corpus.problem(seed)
                    write(directory, f"{seed:05d}", p.y, p.n, p.X, p.Z)
                said = run(peer, directory, timeout=patience)
                got = {seed: read(peer, directory, f"{seed:05d}") for seed in left}
            done = [seed for seed in left if not got[seed].error.startswith("no answer")]
            # one that dies does so on the first it has not answered; one that hangs, if that is alone
            hung = said.startswith("not done")
            stuck = [] if hung and done else [seed for seed in left if seed not in done][:1]
            for seed in stuck:
                got[seed].error = said.strip()[-200:] or "the process ended"
            found |= {seed: got[seed] for seed in done + stuck}
            left = [seed for seed in left if seed not in found]
    return found


def compare(found, peers, patience):
    """Print how often each peer reaches our maximum."""
    fits = {o.seed: o for o in found if not o.error}
    head = "problems|within 1e-6|within 0.01|failed|not converged|claims, short|above ours".split(
        "|"
    )
    print("\nThe exact log-likelihood at the peers' estimates against ours")
    print(f"{'':25s}" + "".join(f"{h:>15s}" for h in head))
    remarks = []
    for peer in peers:
        installed = version(peer)
        label = f"{PEERS[peer][0]} {installed or ''}"
        if installed is None:
            print(f"{label:25s} is not installed")
            continue
        counts, errors = {True: Counter(), False: Counter()}, Counter()
        for seed, answer in answers(peer, len(found), patience).items():
            if seed not in fits:
                continue
            count = counts["AliasedColumnWarning" in fits[seed].named]
            count["problems"] += 1
            if answer.error or not np.isfinite(answer.mean).any():
                count["failed"] += 1
                errors[answer.error.split("\n")[0][:100] or "no estimates"] += 1
                continue
            gap = fits[seed].llf - _exact(seed, answer)
            count["within 1e-6"] += abs(gap) <= corpus.TOLERANCE
            count["within 0.01"] += abs(gap) <= NEAR
            count["not converged"] += not answer.converged
            count["claims, short"] += answer.converged and not gap <= NEAR
            if gap < -corpus.TOLERANCE:
                count["above ours"] += 1
                remarks.append(f"{label} above ours by {-gap:.2e}: {fits[seed]}")
        for text, count in ((label, counts[False]), ("  aliased columns", counts[True])):
            print(f"{text:25s}" + "".join(f"{count[h]:15d}" for h in head), flush=True)
        remarks += [f"{label} failed {n} times: {e}" for e, n in errors.most_common(8)]
    print(f"'claims, short': converged by its own account, more than {NEAR} below ours")
    print("\n".join(remarks))


def _exact(seed, answer):
    p = corpus.problem(seed)
    model = het.BetaBinomial(np.column_stack([p.y, p.n - p.y]), p.X, p.Z)
    return model.core.loglike(np.r_[answer.mean, answer.dispersion])


def main():
    parser = argparse.ArgumentParser(description="Fit the corpus of random problems and judge it.")
    parser.add_argument("--size", type=int, default=corpus.SIZE, help="so many problems, from 0")
    parser.add_argument("--starts", type=int, default=8, help="of the multi-start; 0: none")
    parser.add_argument("--processes", type=int, default=1, help="for our fits")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), help="compare; all if not named")
    parser.add_argument("--patience", type=float, default=60, help="seconds a peer may be silent")
    parser.add_argument("--record", action="store_true", help="write tests/reference/corpus.json")
    args = parser.parse_args()
    found = outcomes(args.size, args.starts, args.processes)
    tell(found, args.starts)
    if args.record:
        record(found, args.starts)
    if args.peers is not None:
        compare(found, args.peers or list(PEERS), args.patience)


if __name__ == "__main__":
    main()
