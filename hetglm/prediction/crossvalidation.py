"""Cross-validated prediction scores of a fit and of the same mean with constant dispersion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import numpy as np
import pandas as pd

from hetglm.estimation.record import Fitted, need_rows
from hetglm.estimation.refit import fit_again, refit
from hetglm.exceptions import FoldFailureWarning
from hetglm.likelihood.likelihood import Likelihood
from hetglm.likelihood.objective import Criterion
from hetglm.prediction import new_rows, quantities
from hetglm.prediction.scores import HeldOut, Metric, chosen_metrics, numbers
from hetglm.typing import Array
from hetglm.utils import checks
from hetglm.utils.display import Printed
from hetglm.utils.messages import listed, reason, warn
from hetglm.utils.parallel import Run, each

#: Names of the models that are compared: the fit, and the same mean with constant dispersion.
FITTED = "fit"
CONSTANT = "constant dispersion"


# Result --------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class CrossValidation(Printed):
    """
    Cross-validated scores of a fit and of its model with constant dispersion.

    Attributes
    ----------
    table : DataFrame
        A row for each metric; columns (model, "mean") and (model, "se") for the fit, for the same
        mean with constant dispersion, and for their difference, paired by rows.
    scores : dict
        Model -> DataFrame of the scores of each row, averaged over repeats; NaN for rows that could
        not be scored.
    k, repeats : int
    units : str
        Independent units of the standard errors: "rows" or "groups".
    failed : dict
        Model -> reasons of failed folds, with counts.
    unpredicted : int
        Number of held-out rows that cannot be predicted: a factor level or column is missing from
        their training rows.
    left_out : int
        Number of rows without any score: all of their folds failed, or they cannot be predicted.
    alpha : float
        One minus the nominal coverage.
    """

    table: pd.DataFrame
    scores: dict[str, pd.DataFrame]
    k: int
    repeats: int
    units: str
    failed: dict[str, dict[str, int]] = field(default_factory=dict)
    unpredicted: int = 0
    left_out: int = 0
    alpha: float = 0.05

    def _headline(self) -> str:
        n = len(next(iter(self.scores.values())))
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        return (
            f"{self.k}-fold cross-validation of {n} rows{times}; standard errors over {self.units}"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        folds = self.k * self.repeats
        texts = _complaints(self.failed, self.unpredicted, self.left_out, folds)
        if "coverage" in self.table.index:
            texts.append(
                f"coverage should be near {1 - self.alpha:g}; for all other metrics smaller is better."
            )
        return [self.table, *texts]


def _complaints(
    failed: Mapping[str, Any], unpredicted: int, left_out: int, folds: int
) -> list[str]:
    """Return sentences on folds and rows that are left out of the averages."""
    texts = [
        f"{sum(reasons.values())} of {folds} folds failed for {name!r} and are left out for all models: "
        f"{reasons}"
        for name, reasons in failed.items()
        if reasons
    ]
    if unpredicted:
        texts.append(
            f"{unpredicted} held-out rows have a factor level or a column that is missing from their "
            "training rows; they cannot be predicted and are left out for all models"
        )
    if left_out:
        texts.append(f"{left_out} rows have no score in any fold")
    return texts


# What users call -----------------------------------------------------------------------------------


def cross_validate(
    res: Any,
    k: int = 10,
    groups: Any = None,
    repeats: int = 1,
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric] | None = None,
    *,
    alpha: float = 0.05,
    rng: Any = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> CrossValidation:
    """
    Return cross-validated scores of a fit and of its model with constant dispersion.

    The rows are divided into k parts at random; each part is predicted by a fit to the others. The
    same is done for the model with constant dispersion. The columns of the designs are taken from
    the fit: quantities that a formula computed from all rows (knots, centres) are not recomputed.
    With random effects, those of groups that the training rows have are at their modes, and the
    predictions of other groups are averaged over theirs; the model with constant dispersion is left out.
    Held-out rows cannot be predicted where a factor level or another column they need is missing from
    the training rows; they are counted in ``unpredicted``. Folds whose fit fails are counted in
    ``failed``. Both are left out of the averages of all models, with a warning.

    Parameters
    ----------
    res : LocationScaleResults
        The fit; its folds are fitted by the same criterion, maximum likelihood or REML.
    k : int
        Number of parts; the number of rows (or groups) for leave-one-out.
    groups : array_like, shape (n,), or str, optional
        Labels or name of a column. Groups are held out as a whole; standard errors are over groups.
    repeats : int
        Number of random divisions.
    metrics : str, callable, sequence or dict, optional
        - "mse", "mae": squared and absolute error of the mean
        - "dss": Dawid-Sebastiani score (y - mean)^2/variance + log(variance)
        - "log_score": minus log density, or minus log probability
        - "crps": continuous ranked probability score
        - "coverage": share of rows in their prediction interval
        - a function of the held-out rows of a fold (with ``endog mean variance observed loglike
          distribution trials rows``, see `HeldOut`) that returns a number for each row, or one for
          the fold

        By default all named metrics; for extended quasi-likelihood families, which have no
        distribution, the first three. Errors, "dss" and "crps" are on the scale of the mean; for the
        beta-binomial this is the proportion.
    alpha : float
        One minus the nominal coverage of prediction intervals.
    rng : None, int or numpy.random.Generator
        Source of randomness of the division; the results do not depend on ``n_jobs``.
    n_jobs : int, optional
        Number of parallel jobs (joblib); -1 for all cores.
    progress : bool, optional
        Whether to show a progress bar; by default only on a terminal.

    Returns
    -------
    CrossValidation
        With ``table`` and the ``scores`` of each row.

    Raises
    ------
    ValueError
        If an argument is out of range, every fold fails, or no row can be predicted.
    NotImplementedError
        If a metric needs a distribution and the family has none.

    References
    ----------
    Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation.
    JASA 102, 359-378.

    Examples
    --------
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> res = hmf.doubleglm("Hwt ~ Bwt | Bwt", het.datasets.load_cats()).fit()
    >>> found = het.cross_validate(res, rng=1, metrics=["mse", "log_score"])
    >>> print(found.table["difference"].round(3).to_string())
                mean     se
    metric
    mse       -0.007  0.019
    log_score -0.024  0.024
    """
    res = getattr(res, "_results", res)
    if not hasattr(res, "params_dispersion"):
        raise ValueError(f"res: cross_validate needs hetglm results; got {type(res).__name__}")
    need_rows(res.model.core)
    run, alpha = Run(n_jobs, progress), checks.share(alpha, "alpha")
    repeats = checks.count(repeats, "repeats")
    chosen = chosen_metrics(metrics, res.model.core.family, alpha)
    codes = None if groups is None else _codes(res.model, groups)
    folds = _folds(res.model.core.n, k, repeats, codes, checks.generator(rng))
    task = FoldTask(_models(res), chosen, res.fit.criterion)
    outcomes = each(task, folds, run, "cross-validation")
    return _summarised(res.model, folds, outcomes, list(chosen), codes, k, repeats, alpha)


def _codes(model: Any, groups: Any) -> Array:
    """Return the group of each row, shape (n,)."""
    codes = model.row_kwds({"groups": groups})["groups"]
    if codes.ndim != 1:
        raise ValueError("groups: give one label for each row; two-way groups are not supported")
    return codes


# Folds ---------------------------------------------------------------------------------------------


def _folds(
    n: int, k: int, repeats: int, codes: Array | None, rng: np.random.Generator
) -> list[tuple[int, Array]]:
    """Return (repeat, held-out rows) of every fold."""
    units = n if codes is None else int(codes.max()) + 1
    what = "rows" if codes is None else "groups"
    if checks.count(k, "k") < 2 or k > units:
        raise ValueError(f"k={k}: give a number of parts from 2 to {units}, the number of {what}")
    size = np.ones(n, dtype=int) if codes is None else np.bincount(codes)
    found = []
    for repeat in range(repeats):
        part = np.empty(units, dtype=int)
        rows = np.zeros(k, dtype=int)
        order = rng.permutation(units)
        if codes is None:
            part[order] = np.arange(units) % k
        else:
            # largest groups first, each to the part with the fewest rows; ties are random
            for unit in order[np.argsort(-size[order], kind="stable")]:
                part[unit] = np.argmin(rows)
                rows[part[unit]] += size[unit]
        of_row = part if codes is None else part[codes]
        found += [(repeat, np.flatnonzero(of_row == i)) for i in range(k)]
    return found


def _models(res: Any) -> dict[str, tuple[Any, Fitted]]:
    """Return the model and its version with constant dispersion, without formula, and both fits."""
    core, names = res.model.core, res.model.column_names
    model = res.model.clone(
        exog=pd.DataFrame(core.X, columns=names["exog"]),
        exog_dispersion=pd.DataFrame(core.Z, columns=names["exog_dispersion"]),
    )
    found = {FITTED: (model, model.fitted(res.fit))}
    free = not core.dispersion_is_known and not model.random
    if free and (core.Z.shape[1] > 1 or np.ptp(core.Z) > 0):
        constant = model.clone(exog_dispersion=pd.DataFrame({"Intercept": np.ones(core.n)}))
        found[CONSTANT] = (
            constant,
            constant.fitted(fit_again(constant, criterion=res.fit.criterion)),
        )
    return found


@dataclass(frozen=True)
class FoldOutcome:
    """
    Result of a fold for one model.

    Attributes
    ----------
    predicted : ndarray of bool, shape (m,)
        Which of the held-out rows can be predicted; none where the fit failed.
    scores : dict
        Metric -> ndarray of shape (m,), NaN where not predicted, or one number for the fold.
    reason : str
        Reason of a failed fit.
    """

    predicted: Array
    scores: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class FoldTask:
    """One fold: fit every model to the training rows and score the predictions of the held-out ones."""

    models: dict[str, tuple[Any, Fitted]]
    metrics: dict[str, Metric]
    criterion: Criterion

    def __call__(self, fold: tuple[int, Array]) -> dict[str, FoldOutcome]:
        """Return the outcome of each model."""
        return {name: self._outcome(*model, fold[1]) for name, model in self.models.items()}

    def _outcome(self, model: Any, fitted: Fitted, rows: Array) -> FoldOutcome:
        train = model.clone(rows=np.setdiff1d(np.arange(model.core.n), rows))
        try:
            fit = fit_of_fold(fitted, train, self.criterion)
        except (ValueError, FloatingPointError, np.linalg.LinAlgError) as exc:
            return FoldOutcome(np.zeros(len(rows), dtype=bool), reason=reason(exc))
        test = replace(model.clone(rows=rows).core, freq=None)
        if fit.boundary is not None:
            test = new_rows.fix_at_boundary(test, fit.boundary)
        predicted = _predictable(train, test)
        if not predicted.any():
            return FoldOutcome(predicted)
        held = held_out(fitted, fit, train, test.take(predicted), rows[predicted])
        return FoldOutcome(predicted, {n: numbers(n, f(held)) for n, f in self.metrics.items()})


@singledispatch
def fit_of_fold(fitted: Fitted, train: Any, criterion: Criterion) -> Any:
    """
    Return the fit to the training rows of a fold: a `Fit`, or a `MixedFit` with random effects.

    Parameters
    ----------
    fitted : Fitted
        The fit to all rows.
    train : LocationScaleModel
        Of the training rows.
    criterion : Criterion
    """
    if np.array_equal(train.estimable, fitted.estimable):
        return refit(fitted, train.core)
    found = fit_again(train, criterion=criterion)
    if not found.converged:
        raise ValueError(f"no convergence: {found.message}")
    return found


def _predictable(train: Any, test: Likelihood) -> Array:
    """Return which held-out rows are estimable from the training rows, shape (m,)."""
    # NaN: the dispersion of cells that only rows at the boundary would determine
    ok = np.asarray(~np.isnan(test.Z).any(axis=1))
    for part, A in (("mean", test.X), ("dispersion", test.Z)):
        if part in train.row_spaces:
            ok &= ~train.row_spaces[part].outside(A).any(axis=1)
    return ok


@singledispatch
def held_out(fitted: Fitted, fit: Any, train: Any, core: Likelihood, rows: Array) -> HeldOut:
    """
    Return held-out rows with their predictions.

    Parameters
    ----------
    fitted : Fitted
        The fit to all rows.
    fit : Fit or MixedFit
        That to the training rows.
    train : LocationScaleModel
        Of the training rows.
    core : Likelihood
        Of the held-out rows.
    rows : ndarray of int, shape (m,)
        Their positions.
    """
    family, params = core.family, fit.internal
    trials = core.trials if family.counts_successes else None
    scale: Any = 1.0 if trials is None else trials
    return HeldOut(
        rows,
        core.y / scale,
        quantities.predict(core, params, "mean"),
        quantities.predict(core, params, "var") / scale**2,
        core.y,
        core.loglike_rows(params),
        trials,
        quantities.distribution(core, params) if family.exact else None,
        family.discrete,
    )


# Averages ------------------------------------------------------------------------------------------


def _summarised(
    model: Any,
    folds: list[tuple[int, Array]],
    outcomes: list[dict[str, FoldOutcome]],
    metrics: list[str],
    codes: Array | None,
    k: int,
    repeats: int,
    alpha: float,
) -> CrossValidation:
    """Return the averages over rows that every model predicts."""
    models = list(outcomes[0])
    failed = {
        name: dict(Counter(o[name].reason for o in outcomes if o[name].reason)) for name in models
    }
    for name, reasons in failed.items():
        if sum(reasons.values()) == len(folds):
            raise ValueError(f"every fold failed for {name!r}: {reasons}")
    n = model.core.n
    common = [np.logical_and.reduce([o[name].predicted for name in models]) for o in outcomes]
    fitted = [not any(o[name].reason for name in models) for o in outcomes]
    unpredicted = sum(int((~c).sum()) for c, f in zip(common, fitted, strict=True) if f)
    counted = np.zeros(n, dtype=int)
    for (_, rows), some in zip(folds, common, strict=True):
        counted[rows] += some
    if not counted.any():
        raise ValueError(_why_none(model, folds, codes is not None, failed))
    rows_of = {name: _row_scores(name, folds, outcomes, common, metrics, n) for name in models}
    index = model.core.names.known
    left_out = int((counted == 0).sum())
    complaints = _complaints(failed, unpredicted, left_out, len(folds))
    if complaints:
        warn("; ".join(complaints), FoldFailureWarning)
    return CrossValidation(
        _table(outcomes, rows_of, metrics, common, counted > 0, codes, model.core.freq),
        {name: pd.DataFrame(values, index=index) for name, values in rows_of.items()},
        k,
        repeats,
        "rows" if codes is None else "groups",
        failed,
        unpredicted,
        left_out,
        alpha,
    )


def _why_none(
    model: Any, folds: list[tuple[int, Array]], grouped: bool, failed: Mapping[str, Any]
) -> str:
    """Return why no row has a score: terms that are not estimable without the held-out rows."""
    lost = np.zeros(len(model.estimable), dtype=bool)
    for _, rows in folds:
        train = model.clone(rows=np.setdiff1d(np.arange(model.core.n), rows))
        lost |= model.estimable & ~train.estimable
    names = [term.name for term in model.term_list if lost[list(term.columns)].any()]
    parts = ("groups", "other groups") if grouped else ("k", "more parts")
    text = f"{parts[0]}: no row has a score"
    if names:
        text += (
            f": {listed(names)} cannot be estimated without the held-out rows; give {parts[1]}, or "
            "remove it from the formula"
        )
    reasons = {name: of_name for name, of_name in failed.items() if of_name}
    return text + (f"; folds that failed: {reasons}" if reasons else "")


def _row_scores(
    name: str,
    folds: list[tuple[int, Array]],
    outcomes: list[dict[str, FoldOutcome]],
    common: list[Array],
    metrics: list[str],
    n: int,
) -> dict[str, Array]:
    """Return the scores of each row, averaged over repeats, for metrics with a number for each row."""
    found = {}
    for metric in metrics:
        total, times = np.zeros(n), np.zeros(n)
        for (_, rows), outcome, some in zip(folds, outcomes, common, strict=True):
            values = outcome[name].scores.get(metric)
            if values is None or np.ndim(values) == 0:
                continue
            own = outcome[name].predicted
            if np.shape(values) != (int(own.sum()),):
                raise ValueError(
                    f"metrics: {metric!r} returned shape {np.shape(values)} for {int(own.sum())} rows; "
                    "return one number for each row, or one for the fold"
                )
            total[rows[some]] += np.asarray(values, dtype=float)[some[own]]
            times[rows[some]] += 1
        if times.any():
            found[metric] = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    return found


def _table(
    outcomes: list[dict[str, FoldOutcome]],
    rows_of: dict[str, dict[str, Array]],
    metrics: list[str],
    common: list[Array],
    there: Array,
    codes: Array | None,
    freq: Array | None,
) -> pd.DataFrame:
    """Return mean and standard error of each metric, of each model and of their difference."""
    models, rows = list(rows_of), []
    for metric in metrics:
        if metric in rows_of[models[0]]:
            values = [rows_of[name][metric][there] for name in models]
            weights, units = (None if a is None else a[there] for a in (freq, codes))
        else:  # one number a fold
            use = [o for o, some in zip(outcomes, common, strict=True) if some.any()]
            values = [np.array([float(o[name].scores[metric]) for o in use]) for name in models]
            weights, units = None, None
        if len(values) == 2:
            with np.errstate(invalid="ignore"):  # both infinite
                values.append(values[0] - values[1])
        rows.append([x for value in values for x in _mean_and_se(value, weights, units)])
    names = [*models, "difference"] if len(models) == 2 else models
    columns = pd.MultiIndex.from_product([names, ["mean", "se"]])
    return pd.DataFrame(rows, index=pd.Index(metrics, name="metric"), columns=columns)


def _mean_and_se(values: Array, freq: Array | None, codes: Array | None) -> tuple[float, float]:
    """Return a weighted mean and its standard error, over groups if there are any."""
    weights = np.ones(len(values)) if freq is None else freq
    total = weights.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = float(weights @ values / total)
        if not np.isfinite(mean):
            return mean, np.nan
        away = values - mean
        if codes is None:
            return mean, float(np.sqrt(weights @ away**2 / (total - 1) / total))
        sums = np.bincount(codes, weights * away)
        count = len(np.unique(codes))
        if count == 1:
            return mean, np.nan
        return mean, float(np.sqrt(count / (count - 1) * sums @ sums) / total)
