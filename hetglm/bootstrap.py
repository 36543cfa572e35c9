"""Bootstrap by refitting clones of the model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hetglm import _arrays, _fit, prediction
from hetglm._fit import Fit, RemlFit, at_fit
from hetglm._likelihood import Likelihood
from hetglm._text import warn
from hetglm.exceptions import BootstrapFailureWarning

Array = NDArray[Any]


@dataclass(frozen=True)
class BootstrapResult:
    """
    Replicates of the estimates; unpacks as ``mean, std, params``.

    Attributes
    ----------
    params : ndarray, shape (nrep - failed, p + q)
        Estimates of the refits that succeeded.
    nrep, failed : int
        Replicates asked for, and those whose refit failed.
    kind : str
    reasons : dict
        Why refits failed, with counts.
    """

    params: Array
    nrep: int
    failed: int
    kind: str
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def mean(self) -> Array:
        """Mean of the replicates, shape (p + q,)."""
        return self.params.mean(axis=0)

    @property
    def std(self) -> Array:
        """Standard deviation of the replicates, shape (p + q,)."""
        return self.params.std(axis=0)

    def __iter__(self) -> Iterator[Array]:
        """Yield mean, std and params, as statsmodels' bootstrap returns them."""
        return iter((self.mean, self.std, self.params))


def simulate(core: Likelihood, params: Array, nsim: int, rng: Any) -> Array:
    """Return ``nsim`` responses drawn from the fitted distribution, shape (nsim, n)."""
    nsim = _arrays.count(nsim, "nsim")
    frozen = prediction.distribution(core, params)
    draws = frozen.rvs(size=(nsim, core.n), random_state=_arrays.generator(rng))
    return np.asarray(draws, dtype=float)


def bootstrap(
    model: Any,
    fit: Fit,
    nrep: int,
    kind: str,
    rng: Any,
    groups: Any = None,
    progress: bool | None = None,
) -> BootstrapResult:
    """Return refits to resampled data; see the results' method."""
    nrep = _arrays.count(nrep, "nrep")
    model, groups = _single_rows(model, groups)
    resample = _resampler(model, fit, kind, groups)
    generator = _arrays.generator(rng)
    draws = []
    reasons: Counter[str] = Counter()
    for _ in _progress(range(nrep), progress):
        try:
            draws.append(_refit(resample(generator), fit, model.estimable))
        except (ValueError, FloatingPointError) as exc:
            reasons[type(exc).__name__ + ": " + str(exc).split(":")[0]] += 1
    failed = nrep - len(draws)
    if failed == nrep:
        raise ValueError(f"every bootstrap refit failed: {dict(reasons)}")
    if failed:
        warn(
            f"{failed} of {nrep} bootstrap refits failed and are not among the replicates: "
            f"{dict(reasons)}",
            BootstrapFailureWarning,
        )
    return BootstrapResult(np.array(draws), nrep, failed, kind, dict(reasons))


def _single_rows(model: Any, groups: Any) -> tuple[Any, Any]:
    """Return the model with each row repeated as often as it was observed, so that rows are units."""
    freq = model.freq_weights
    if freq is None:
        return model, groups
    if not np.array_equal(freq, np.round(freq)):
        raise ValueError("freq_weights: the bootstrap draws rows, so they must be whole numbers")
    rows = np.repeat(np.arange(model.core.n), freq.astype(int))
    return model.clone(rows=rows, freq_weights=None), None if groups is None else groups[rows]


def _refit(clone: Any, fit: Fit, estimable: Array) -> Array:
    """Return the estimates of a resampled model, started from those of the original."""
    if not np.array_equal(clone.estimable, estimable):
        raise ValueError("a column is aliased in the resample: a level is missing from it")
    start = None
    if fit.boundary is None and clone.core.loglike(fit.internal) > -np.inf:
        start = fit.internal
    reml = isinstance(fit, RemlFit)
    refit = _fit.fit(clone.core, clone.parameter_names, clone.estimable, start, reml=reml)
    if not refit.converged:
        raise ValueError(f"no convergence: {refit.message}")
    return refit.params


def _resampler(
    model: Any, fit: Fit, kind: str, groups: Any
) -> Callable[[np.random.Generator], Any]:
    """Return a function that makes a clone of the model with resampled rows or responses."""
    n = model.core.n
    if (groups is not None) != (kind == "cluster"):
        raise ValueError("groups: needed for kind='cluster', and only there")
    if kind == "pairs":
        return lambda rng: model.clone(rows=rng.integers(n, size=n))
    if kind == "parametric":
        frozen = prediction.distribution(at_fit(model.core, fit), fit.internal)
        return lambda rng: model.clone(endog=frozen.rvs(size=n, random_state=rng))
    if kind == "cluster":
        if np.ndim(groups) != 1:
            raise ValueError("groups: the cluster bootstrap draws one kind of groups, not two")
        codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        members = [np.flatnonzero(codes == g) for g in range(codes.max() + 1)]
        size = len(members)
        return lambda rng: model.clone(
            rows=np.concatenate([members[g] for g in rng.integers(size, size=size)])
        )
    raise ValueError(f"kind={kind!r}: choose 'pairs', 'parametric' or 'cluster'")


def _progress(items: Iterable[int], wanted: bool | None) -> Iterable[int]:
    """Return the items under a progress bar, by default only on a terminal."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        return items
    try:
        from tqdm import tqdm
    except ImportError as exc:
        if wanted is None:
            return items
        raise ImportError(
            "progress=True needs tqdm: pip install 'hetglm[parallel]', or pass progress=False"
        ) from exc
    return tqdm(items, desc="bootstrap")
