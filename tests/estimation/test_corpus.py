"""A fixed sample of random problems, most of them nasty: a maximum, or a name for what it is not."""

import corpus
import numpy as np
import pytest
from quick import thorough

BLOCK = 10
#: Starts of the search for the maximum of a problem that is not the recorded one.
OTHER_STARTS = 4
#: Problems of which a better maximum than ours is known, on a strict list: seed, # shortfall.
KNOWN_SHORT = {
    194,  # 1.4e-2
}
#: Problems of which rounding decides whether the best maximum known is found.
SOMETIMES_SHORT = {
    154,  # 7.0e-2
}


def judge(seed):
    """Return what is wrong with our fit of a problem, and how far it stays below the best known."""
    ours, wrong = corpus.judged(corpus.problem(seed)), []
    if "ConvergenceWarning" not in ours.named:
        if not ours.result.converged:
            wrong.append("not converged, and no ConvergenceWarning")
        if not ours.gradient <= corpus.TOLERANCE:
            wrong.append(f"scaled gradient {ours.gradient:.1e}")
        above = ours.overstated()
        if not abs(above) <= corpus.TOLERANCE:
            wrong.append(f"reported a supremum {above:.1e} above what coefficients reach")
    if not np.isfinite(ours.result.llf):
        wrong.append(f"log-likelihood {ours.result.llf}")
    return [*wrong, *ours.strange], best_known(seed, ours) - ours.result.llf


def best_known(seed, ours):
    """Return the best log-likelihood known; searched for where NumPy draws another problem."""
    llf, mark = corpus.recorded()[seed]
    if mark == corpus.mark(corpus.problem(seed)):
        return llf
    model, internal = ours.model, ours.result.fit.internal
    return corpus.best_of_many(model.core, model.estimable, internal, OTHER_STARTS)[0]


def failures_of(seeds):
    """Return what is wrong with our fits of some problems, a line each."""
    failures = []
    for seed in seeds:
        try:
            wrong, short = judge(seed)
        except Exception as exc:  # tell which problem it was, and judge the others
            failures.append(f"seed {seed}: {type(exc).__name__}: {exc}")
            continue
        below = short > corpus.TOLERANCE
        if below and seed not in KNOWN_SHORT | SOMETIMES_SHORT:
            wrong.append(f"{short:.2e} below the best maximum known")
        elif not below and seed in KNOWN_SHORT:
            wrong.append("no longer below the best maximum known: take it off the list KNOWN_SHORT")
        failures += [f"seed {seed}: {text}" for text in wrong]
    return failures


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(0, corpus.SAMPLE, BLOCK))
def test_maximum_or_a_name(first):
    failures = failures_of(range(first, first + BLOCK))
    assert not failures, "\n".join(failures)


#: These take seconds each, longer than the others together.
LONG = (
    "slopes not steep enough",
    "dispersions beyond any double",
    "an interior maximum that was not restarted from",
)


@pytest.mark.parametrize("what", [*(w for w in corpus.BEYOND if w not in LONG), *thorough(*LONG)])
def test_what_once_went_wrong(what):
    failures = failures_of(corpus.BEYOND[what])
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def sample():
    return [corpus.problem(seed) for seed in range(corpus.SAMPLE)]


def test_sample_is_reproducible_and_recorded(sample):
    again = corpus.problem(7)
    for name in ("y", "n", "X", "Z"):
        assert np.array_equal(getattr(again, name), getattr(sample[7], name))
    record = corpus.recorded()
    assert tuple(record) == corpus.KEPT
    assert np.isfinite(list(record.values())).all()
    assert set(KNOWN_SHORT) <= set(range(corpus.SAMPLE))


def test_sample_is_wide(sample):
    """What the corpus promises is in the sample, many times."""
    for part in "XZ":
        columns = np.bincount([getattr(p, part).shape[1] for p in sample], minlength=9)
        assert columns[0] == 0
        assert columns[1:].min() >= 10
        assert len(columns) == 9
    rows = np.array([len(p.y) for p in sample])
    assert rows.min() == 8
    assert rows.max() > 450
    trials = np.array([(p.n.min(), p.n.max()) for p in sample])
    assert trials.min() == 1
    assert 5e5 < trials.max() <= 1e6
    assert all(((p.y >= 0) & (p.y <= p.n)).all() for p in sample)


def test_sample_is_nasty(sample):
    seen = {
        name: 0 for name in ("collinear", "rare", "small", "large", "full", "all", "calm", "wild")
    }
    for p in sample:
        columns = np.hstack([p.X[:, 1:], p.Z[:, 1:]])
        size = np.abs(columns).max(axis=0, initial=0.0)
        values = [np.unique(c, return_counts=True)[1] for c in columns.T]
        seen["collinear"] += any(np.linalg.matrix_rank(_scaled(A)) < A.shape[1] for A in (p.X, p.Z))
        seen["rare"] += any(len(v) == 2 and v.min() < 0.05 * len(p.y) for v in values)
        seen["small"] += any(1e-7 < s < 1e-3 for s in size)
        seen["large"] += any(1e3 < s for s in size)
        # a separated part: one half of a column has no failures
        last = p.X[:, -1] > np.median(p.X[:, -1])
        seen["full"] += bool(last.any() and (p.y == p.n)[last].all() and (p.y < p.n).any())
        edge = (p.y == 0) | (p.y == p.n)
        seen["all"] += bool(edge.mean() > 0.9)
        # Pearson's statistic about one mean for all rows: below one means no overdispersion
        mu = p.y.sum() / p.n.sum()
        if 0 < mu < 1:
            pearson = ((p.y - p.n * mu) ** 2 / (p.n * mu * (1 - mu))).mean()
            seen["calm"] += bool(pearson < 1)
            seen["wild"] += bool(pearson > 1000)
    print(seen)
    assert min(seen.values()) >= 10, seen


def _scaled(A):
    size = np.abs(A).max(axis=0)
    return A / np.where(size > 0, size, 1.0)
