"""
Beta-binomial log-probabilities of many counts and their derivatives, block by block.

Rows go to one of two methods: those of moderate sigma and trials (`_mild`) to the shifted log-gammas of
`betabinomial_shifted`, the others, near the binomial or with few draws of a rare colour, to the urn of
`betabinomial`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from hetglm.families.base import Rows
from hetglm.families.special.betabinomial import (
    MAX_FEW,
    N_HEAD,
    Derivatives,
    Urn,
    all_draws,
    every_draw,
    first_draws,
)
from hetglm.families.special.betabinomial_shifted import approximate_score, shifted_draws
from hetglm.families.special.stirling import stirling, stirling_large
from hetglm.typing import Array

#: Rows evaluated at a time: temporaries stay in the cache, and calls cost little.
N_BLOCK_ROWS = 10_000

#: Number of rows up to which they are not split by regime.
MIN_ROWS_SPLIT = 2000

#: Rows split by regime at a time, into blocks of one regime each.
N_SORTED_ROWS = 4 * N_BLOCK_ROWS

#: Trials of each row up to which all draws are summed at once.
MAX_TRIALS_SUMMED = 64

#: Trials times rows up to which all draws are summed at once.
MAX_CELLS_SUMMED = 4096

#: Number of rows up to which both regimes are evaluated for all of them.
MAX_ROWS_UNSPLIT = 400

#: glibc returns blocks above 128 kB to the system at every free, and faults their pages in again at
#: the next use (three quarters of the time of an evaluation), until one larger than these has been
#: freed. One untouched allocation of 4 MB, or of more than a column, makes it keep temporaries.
UNTRIMMED = 1 << 19

#: Expected number of successes below which few of them are drawn one by one: the rest of the
#: derivatives in sigma is far smaller than the terms of the series, y^2/mu and y^3/mu^2.
MAX_RARE_SUCCESSES = 0.5

#: Means and dispersions below this are evaluated at it: no power of it underflows.
MIN_VALUE = 1e-100

#: Means and dispersions above this are evaluated at it: no power of it overflows.
MAX_VALUE = 1e100

#: sigma min(n sigma, 1) min(e, 4), with e = n mu/(1 + n sigma) and mu the smaller tail, of rows that
#: `shifted_draws` takes, at least: it divides the rounding of the second derivatives.
MIN_MILD_SPREAD = 1e-3

#: e of these rows, at least, for the same reason.
MIN_MILD_SHARE = 1e-3

#: sigma of these rows: products of eight steps neither over- nor underflow.
MILD_SIGMA = (1e-4, 10.0)

#: Trials of these rows, at most, for the same reason.
MAX_MILD_TRIALS = 1e9

#: n sigma from which on `approximate_score` has five digits.
MIN_APPROXIMATE_SPREAD = 0.1

#: Largest whole number whose Stirling remainder is tabulated.
MAX_TABULATED = 1024

#: Whole number from which on it may be taken from its series too.
MIN_SERIES = 32

#: Stirling's remainder of 1, ..., MAX_TABULATED, and 0 for 0.
WHOLE = np.append(0.0, stirling(np.arange(1.0, MAX_TABULATED + 1)))

#: k log k up to MAX_FEW.
ENTROPY = xlogy(np.arange(MAX_FEW + 1.0), np.arange(MAX_FEW + 1.0))

#: Memory that each thread keeps from one evaluation to the next.
_KEPT = threading.local()


@dataclass(frozen=True)
class Counts(Rows):
    """Rows with their trials; ``drawn`` holds successes, failures and trials, shape (3, n)."""

    trials: Array
    drawn: Array


def counts(y: Array, n: Array, table: int = MAX_TABULATED) -> Counts:
    """Return the rows of y successes out of n; whole numbers below ``table``, MIN_SERIES or more."""
    drawn = np.empty((3, len(y)))
    drawn[0], drawn[2] = y, n
    np.subtract(n, y, out=drawn[1])
    return Counts(drawn[0], drawn[2], _log_orders(drawn, table), drawn)


def _log_orders(drawn: Array, table: int) -> Array:
    """Return log C(n, y), less n H(y/n)."""
    delta = WHOLE.take(np.minimum(drawn, table).astype(np.intp))
    large = drawn >= table
    if large.any():
        delta[large] = stirling_large(drawn[large])
    orders = drawn[0] * drawn[1]
    never = orders == 0
    orders[never] = 1
    np.divide(drawn[2] / (2 * np.pi), orders, out=orders)
    np.log(orders, out=orders)
    orders *= 0.5
    orders += delta[2]
    orders -= delta[0]
    orders -= delta[1]
    orders[never] = 0
    return orders


def _pieces(which: NDArray[np.bool_], urn: Urn) -> Iterator[Any]:
    """
    Yield blocks of the rows that are True, with the same draws or nearly so: indices or slices.

    Slices, which need no copies, may take in rows that are False where no row has first draws: those
    are mild, and written later.
    """
    rows = np.flatnonzero(which)
    if len(rows) == 0:
        return
    key = ((MAX_FEW + 1) * urn.ky + urn.kz).astype(np.uint8)
    whole = np.ptp(key) == 0 and (key[0] == 0 or len(rows) == len(which))
    if not whole:
        rows = rows[np.argsort(key[rows], kind="stable")]
    for i in range(0, len(which) if whole else len(rows), N_BLOCK_ROWS):
        yield slice(i, i + N_BLOCK_ROWS) if whole else rows[i : i + N_BLOCK_ROWS]


def evaluate_counts(rows: Counts, mu: Array, nu: Array, sigma: Array, order: int) -> Array:
    """Return the log-likelihood and derivatives: shape (1, n), (3, n) or (6, n) by order."""
    size = len(rows.y)
    if size > UNTRIMMED:
        np.empty(size + size // 8)
    out = np.empty(((1, 3, 6)[order], size))
    rest_mild: list[NDArray[np.intp]] = []
    rest_hard: list[NDArray[np.intp]] = []
    with np.errstate(all="ignore"):
        for i in range(0, size, N_SORTED_ROWS):
            part = slice(i, i + N_SORTED_ROWS)
            args = mu[part], nu[part], sigma[part], rows.drawn[:, part]
            mild = _mild(mu[part], nu[part], sigma[part], rows.trials[part])
            if size <= MAX_ROWS_UNSPLIT and not mild.all():
                mild[:] = False
            if 2 * np.count_nonzero(mild) > len(mild):
                _evaluate_mild(*args, order, out[:, part])
                rest_hard.append(i + np.flatnonzero(~mild))
            else:
                _evaluate_hard(*args, order, ~mild, out[:, part])
                rest_mild.append(i + np.flatnonzero(mild))
        for some in _chunks(rest_mild):
            args = mu[some], nu[some], sigma[some], rows.drawn[:, some]
            out[:, some] = _evaluate_mild(*args, order, np.empty((len(out), len(some))))
        for some in _chunks(rest_hard):
            args = mu[some], nu[some], sigma[some], rows.drawn[:, some]
            out[:, some] = _evaluate_hard(*args, order, True, np.empty((len(out), len(some))))
    out[0] += rows.constant
    if order and size and rows.trials.min() <= 1:
        # one trial is uninformative about sigma
        once = (rows.trials == 1) & (mu >= 0) & (nu >= 0) & (sigma >= 0)
        out[2, once] = 0.0
        out[4:, once] = 0.0
    return out


def _blocks(size: int) -> Iterator[slice]:
    """Yield blocks of rows, halves at least where that keeps temporaries below the rows' own memory."""
    step = min(N_BLOCK_ROWS, max(MIN_ROWS_SPLIT, -(-size // 2)))
    for i in range(0, size, step):
        yield slice(i, i + step)


def _workspace(size: int, dtype: Any = float) -> Array:
    """Return the work array of `shifted_draws` for so many rows, the same memory in each call."""
    if not hasattr(_KEPT, "cells"):
        _KEPT.cells = np.empty(8 * 6 * N_BLOCK_ROWS)
    return _KEPT.cells.view(dtype)[: 8 * 6 * size].reshape(8, 6, size)


def _chunks(rows: list[NDArray[np.intp]]) -> Iterator[NDArray[np.intp]]:
    """Yield the rows, N_SORTED_ROWS at a time."""
    together = np.concatenate(rows) if rows else np.empty(0, dtype=np.intp)
    for i in range(0, len(together), N_SORTED_ROWS):
        yield together[i : i + N_SORTED_ROWS]


def _mild(mu: Array, nu: Array, sigma: Array, n: Array) -> NDArray[np.bool_]:
    """Return whether `shifted_draws` keeps its accuracy; sigma does not matter to one trial."""
    mild = (sigma >= MILD_SIGMA[0]) & (sigma <= MILD_SIGMA[1]) & (n <= MAX_MILD_TRIALS)
    if not mild.any():
        return mild
    spread = sigma * n
    share = np.minimum(mu, nu)
    share *= n
    share /= 1 + spread
    mild &= share >= MIN_MILD_SHARE
    np.minimum(spread, 1, out=spread)
    spread *= sigma
    spread *= np.minimum(share, 4, out=share)
    return mild & ((spread >= MIN_MILD_SPREAD) | (n == 1))


def _evaluate_mild(
    mu: Array, nu: Array, sigma: Array, drawn: Array, order: int, out: Array
) -> Array:
    """Write the terms by `shifted_draws`, block by block, into ``out`` and return it."""
    for part in _blocks(len(mu)):
        args = mu[part], nu[part], sigma[part], drawn[:, part]
        shifted_draws(*args, order, _workspace(len(args[0])), out[:, part])
    return out


def approximate_score_counts(rows: Counts, mu: Array, nu: Array, sigma: Array) -> Array | None:
    """Return the score to about five digits, float32 of shape (2, n); None where that is not cheaper."""
    out = np.empty((2, len(mu)), dtype=np.float32)
    for part in _blocks(len(mu)):
        arrays = mu[part], nu[part], sigma[part], rows.drawn[:, part]
        m, w, s, drawn = (a.astype(np.float32) for a in arrays)
        if (s * drawn[2]).min() < MIN_APPROXIMATE_SPREAD or not _mild(m, w, s, drawn[2]).all():
            return None
        approximate_score(m, w, s, drawn, _workspace(len(s), np.float32), out[:, part])
    return out


def _evaluate_hard(
    m: Array, w: Array, s: Array, drawn: Array, order: int, hard: Any, out: Array
) -> Array:
    """Write the terms of the rows that are ``hard`` into ``out``, others too, and return it."""
    y, z, _ = drawn
    flip = (m > w).astype(float)
    dy = flip * (z - y)
    low, high = np.maximum(np.minimum(m, w), MIN_VALUE), np.maximum(m, w)
    if (most := drawn[2].max(initial=0)) <= MAX_TRIALS_SUMMED and most * len(m) <= MAX_CELLS_SUMMED:
        out[:] = every_draw(low, high, np.clip(s, 0, MAX_VALUE), y + dy, z - dy, order)
    else:
        _by_regime(low, high, s, drawn, dy, order, hard, out)
    flip *= -2
    flip += 1
    out[1:5:3] *= flip
    if not (min(m.min(), w.min()) > 0 and s.min() >= 0 and s.max() <= MAX_VALUE):
        _limits(out, y, z, m, w, s)
    return out


def _by_regime(
    low: Array, high: Array, s: Array, drawn: Array, dy: Array, order: int, hard: Any, out: Array
) -> None:
    """Write the terms of the rows that are ``hard``, by one or the other sum."""
    # the mild rows among them cost least as binomial ones
    urn, few = _urn(low, high, np.clip(s, 0, MAX_VALUE) * hard, drawn[0] + dy, drawn[1] - dy)
    for take in _pieces(~few & hard, urn):
        _put(all_draws(_taken(urn, take), order), out, take)
    for take in _pieces(few & hard, urn):
        _put(first_draws(_taken(urn, take), order, False), out, take)
    if few.any():
        entropy = ENTROPY[drawn[:, few].astype(int)]
        out[0, few] += entropy[2] - entropy[0] - entropy[1]


def _put(terms: Derivatives, out: Array, rows: Any) -> None:
    """Write the terms of some rows."""
    for total, term in zip(out, terms, strict=False):
        total[rows] = term


def _urn(mu: Array, nu: Array, sigma: Array, y: Array, z: Array) -> tuple[Urn, NDArray[np.bool_]]:
    """
    Return the rows with their first draws, and which of them have no other draws.

    The first draws fill the urn up to N_HEAD sigma of each colour. Where successes are rare as many
    are taken at any sigma.
    """
    n = y + z
    rare = mu * n < MAX_RARE_SUCCESSES
    few = (n <= MAX_FEW) & (rare | (mu < N_HEAD * sigma))
    if N_HEAD * sigma.max() <= mu.min():
        ky, kz = np.zeros((2, len(n)))
    else:
        ky, kz = (np.fmax(np.ceil(N_HEAD - share / sigma), 0) for share in (mu, nu))
    for k, most in ((ky, y), (kz, z)):
        k[rare] = N_HEAD
        k[few] = MAX_FEW
        np.minimum(k, most, out=k)
    return Urn(mu, nu, sigma, y, z, ky, kz), few


def _taken(urn: Urn, rows: Any) -> Urn:
    """Return some rows."""
    return Urn(*(a[rows] for a in urn))


def _limits(out: Array, y: Array, z: Array, mu: Array, nu: Array, sigma: Array) -> None:
    """
    Put -inf where the response is impossible, NaN derivatives where a parameter is none.

    And continue a mixed row's 1/sigma from MAX_VALUE on.
    """
    far = np.maximum(sigma / MAX_VALUE, 1)
    out[0, y * z > 0] -= np.log(far[y * z > 0])
    for i, power in ((2, 1), (4, 1), (5, 2)):
        out[i : i + 1] /= far**power
    impossible = ((mu <= 0) & (y > 0)) | ((nu <= 0) & (z > 0)) | ((sigma == np.inf) & (y * z > 0))
    out[0, impossible] = -np.inf
    wrong = ~((mu >= 0) & (nu >= 0) & (sigma >= 0))
    if wrong.any():
        out[0, wrong] = -np.inf
        out[1:, wrong] = np.nan
