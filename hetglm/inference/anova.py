"""Tables of tests: against constants, term by term, and of nested fits with each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from hetglm.estimation.covariance import type_of
from hetglm.estimation.record import fitted_of, need_rows
from hetglm.estimation.refit import fit_again, refitted_from_null
from hetglm.exceptions import EveryRefitFailedError, UnboundedLikelihoodError, UntestedTermWarning
from hetglm.inference import random_terms
from hetglm.inference.bootstrap import simulator
from hetglm.inference.bootstrap_test import SimulatedP, Simulation
from hetglm.inference.constant_dispersion import (
    KNOWN,
    ConstantDispersionTest,
    chi_square,
    compare_constant,
)
from hetglm.inference.hypotheses import NOTHING, Hypothesis, Outcome, hypotheses
from hetglm.inference.likelihood_ratio import Submodels, likelihood_ratio
from hetglm.inference.nested import check_nested, comparable, same_mean
from hetglm.inference.null_model import NullModel
from hetglm.inference.score import SCORE_TYPES, score
from hetglm.inference.wald import wald
from hetglm.likelihood.objective import Criterion
from hetglm.utils.display import WIDTH, paragraph, table_html, table_text
from hetglm.utils.linalg import contains
from hetglm.utils.messages import warn
from hetglm.utils.parallel import N_BOUNDARY_REPLICATES, N_REPLICATES, Run

#: Mean (full, constant or empty) and dispersion (full or constant) of a model of the two-row table.
Key = tuple[str, str]
#: Rows of the table of one fit.
PARTS = ["Mean model", "Dispersion model"]
#: Columns that a bootstrap adds to the tables by terms and of several fits.
SIMULATED = SimulatedP._fields[1:]

#: Reason for each row of a table that is not tested.
Reasons = dict[str, str]
#: Errors of a test that leave its row untested.
UNTESTABLE = (ValueError, FloatingPointError, np.linalg.LinAlgError)
#: ``test`` of `anova`: the bound where a variance is 0 under H0.
CHI_BAR = "chi-bar-square"
NO_COLUMN = "no column of its own can be estimated"
AT_BOUNDARY = (
    "the dispersion is at the boundary with the term or without it, where chi-square does not hold; "
    "test='bootstrap' does"
)
VARIANCE_OF_ZERO = (
    "a variance of a random effect is 0 under H0, where chi-square does not hold; "
    "test='bootstrap' does"
)
INDEFINITE = "the robust covariance is not positive definite"


class AnovaTable(pd.DataFrame):
    """A DataFrame that prints all its columns, each with significant digits of its own."""

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def __repr__(self) -> str:
        """Return the table as text, followed by the reasons for untested rows."""
        above, below = self._notes()
        return "\n".join([*map(paragraph, above), table_text(self, WIDTH), *map(paragraph, below)])

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the table as a notebook shows it."""
        above, below = ([f"<p>{escape(note)}</p>" for note in notes] for notes in self._notes())
        return "\n".join([*above, table_html(self), *below])

    def _notes(self) -> tuple[list[str], list[str]]:
        """Return the lines above the table, and those under it."""
        models = [f"Model {i}: {text}" for i, text in enumerate(self.attrs.get("models", []))]
        return models, [*_lines(self.attrs.get("reasons", {})), *self.attrs.get("notes", [])]


def _lines(reasons: Reasons) -> list[str]:
    """Return a line for each untested row."""
    return [f"Not tested: {row}: {why}." for row, why in reasons.items()]


def tried(call: Callable[[], Any], otherwise: Any, row: str, reasons: Reasons) -> Any:
    """Return the result of a test; where it raises, return ``otherwise`` and record the reason."""
    try:
        return call()
    except UNTESTABLE as exc:
        reasons[row] = str(exc)
        return otherwise


def anova(
    *results: Any,
    typ: int | None = None,
    test: str | None = None,
    nrep: int | None = None,
    rng: Any = None,
    sequential: int | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
    checkpoint: Any = None,
    batch_size: int | None = None,
) -> AnovaTable:
    """
    Analysis of deviance: test both parts of a fit, each of their terms, or nested fits.

    Parameters
    ----------
    *results : LocationScaleResults
        One fit, or two and more on the same rows.
    typ : {1, 2, 3}, optional
        For one fit, a row for each term of both parts. 1: sequential, each term is added to the terms
        before it; the terms of the mean come first, with constant dispersion. 2: each term is added
        to all terms that do not contain it. 3: each term is added to all other terms; the test then
        depends on the coding of factors.
    test : {"lr", "bootstrap", "wald", "score", "chi-bar-square"}, optional
        Statistic of the rows by term. By default the likelihood ratio; for a fit with a robust
        covariance the Wald test, which uses that covariance, as the score test does. "bootstrap" is
        the likelihood ratio with simulated P: the share of draws from the smaller model of the row
        whose ratio, with both models refitted, is at least as large. "lr" and "bootstrap" are also
        available without ``typ``. Several fits whose random effects differ are tested by "bootstrap"
        by default: with a variance of 0 under H0 chi-square does not hold; "chi-bar-square" is a
        bound that costs nothing and is conservative, most of all with few groups.
    nrep : int, optional
        Draws of the bootstrap for each P, 999 by default (199 where it was not asked for). This and
        the following arguments apply to "bootstrap" only.
    rng : None, int or numpy.random.Generator
        Source of randomness, shared by all rows.
    sequential : int, optional
        Stop the bootstrap of a row after this many draws with a ratio at least as large as the
        observed one (Besag and Clifford 1991).
    n_jobs : int, optional
        As in the results' ``bootstrap``.
    progress : bool, optional
        As in the results' ``bootstrap``, with one bar for each P.
    checkpoint : str or path-like, optional
        As in the results' ``bootstrap``: file of the first P. The files of the others have -2, -3,
        ... appended to its name.
    batch_size : int, optional
        As in the results' ``bootstrap``.

    Returns
    -------
    DataFrame
        One fit with ``typ``: rows (part, term), columns df, statistic (chi-square, or F where the
        fit has ``use_t``) and P. P is NaN where a term cannot be tested, for example where the
        dispersion is at the boundary and the chi-square distribution does not hold;
        ``attrs["reasons"]`` and the printed table give the reason.

        One fit without ``typ``, as R's ``anova.dglm``: rows "Mean model" (against a constant mean, or
        against an empty one where the mean has no constant) and "Dispersion model" (against a
        constant dispersion); columns DF, Seq.Chisq, Seq.P (the mean first, with constant dispersion;
        then the dispersion) and Adj.Chisq, Adj.P (each part with the other one in full). After REML
        the dispersion is tested by ratios of REML criteria. The mean is refitted and tested by maximum
        likelihood, because REML criteria of different means cannot be compared.

        Several fits, ordered by size: df_resid, llf (after REML llf_reml), aic, bic, and df_diff,
        statistic, P against the row above.

        The name of the columns states the criterion; "model-based" is added where a fit has a robust
        covariance, which the likelihood ratio ignores. A bootstrap adds the Monte-Carlo standard
        error of P, the number of draws counted and the number of failed refits: mc_error, draws and
        failed, or Seq.Error, Adj.Error and Failed (of both).

    Raises
    ------
    NotNestedError
        If the fits are not nested or not comparable (REML fits with different means, or one fit by
        REML and one by maximum likelihood), or if the dispersion has no constant.
    ValueError
        For an unknown type or test, one not allowed for the fit, or an argument out of range.
    NotImplementedError
        For the bootstrap of extended quasi-likelihood families, which have no distribution.
    """
    if not results:
        raise ValueError("anova: give at least one fit")
    fits = [getattr(res, "_results", res) for res in results]
    for res in fits:
        if not hasattr(res, "params_dispersion"):
            raise ValueError(f"anova compares hetglm results only; got {type(res).__name__}")
        need_rows(res.model.core)
    if typ is not None and len(fits) > 1:
        raise ValueError(
            "typ: for one fit only, and several were given; leave typ out to compare nested fits"
        )
    mixed = any(res.model.random for res in fits)
    if typ is None and test not in (None, "lr", "bootstrap", *([CHI_BAR] if mixed else [])):
        bound = f", {CHI_BAR!r}" if mixed else ""
        raise ValueError(
            f"test={test!r}: choose 'lr' or 'bootstrap'{bound}, or give typ=1, 2 or 3 with it"
        )
    run = Run(n_jobs, progress, checkpoint, batch_size)
    simulation = None
    unasked = test is None and len(fits) > 1 and _need_bootstrap(fits)
    if test == "bootstrap" or unasked:
        draws = N_BOUNDARY_REPLICATES if unasked else N_REPLICATES
        simulation = Simulation(draws if nrep is None else nrep, rng, sequential, run)
        for res in fits:
            simulator(fitted_of(res))  # raises, before any work, where the family has none
    elif given := _given(nrep=nrep, rng=rng, sequential=sequential, **vars(run)):
        raise ValueError(f"{given}: only with test='bootstrap'")
    if typ is not None:
        return _by_terms(fits[0], typ, test, simulation)
    if len(fits) == 1:
        table = _one(fits[0], simulation)
    else:
        table = _several(fits, simulation, test)
    table.columns.name = _ratio_name(fits, simulation)
    return table


def _need_bootstrap(fits: list[Any]) -> bool:
    """Return whether nested fits differ in variances of random effects, 0 under H0."""
    ordered = [res.model.random for res in sorted(fits, key=lambda res: -res.df_resid)]
    return any(map(random_terms.has_new_variances, ordered, ordered[1:]))


def _given(**arguments: Any) -> str | None:
    """Return the name of the first argument that is not None."""
    return next((name for name, value in arguments.items() if value is not None), None)


def _ratio_name(fits: list[Any], simulation: Simulation | None) -> str:
    """Return the name of a likelihood-ratio table: its criterion, and how P was obtained."""
    res, both = fits[0], len(fits) == 1
    name = "LR" if res.model.core.family.exact else "EQL ratio"
    by = res.fit.criterion
    name += "" if by.by_rows else f" by {by.name}"
    name += ", mean by ML" if both and not by.comparable_means else ""
    name += ", model-based" if any(not type_of(each).model_based for each in fits) else ""
    return name + (", P by bootstrap" if simulation else "")


@dataclass(frozen=True)
class TermTest:
    """
    A test of the terms of a fit; to add one, add it to `TESTS`.

    Attributes
    ----------
    outcome : callable
        ``outcome(res, submodels, hypothesis)``: its `Outcome`.
    why_not : callable
        ``why_not(res)``: reason why a fit does not have it, "" where it does.
    label : str
        Name of its table, "" for the likelihood ratio, whose name depends on the fit.
    of_maxima : bool
        Whether it compares maxima of the criterion.
    """

    outcome: Callable[[Any, Submodels, Hypothesis], Outcome]
    why_not: Callable[[Any], str] = lambda res: ""
    label: str = ""
    of_maxima: bool = False


def _ratio(res: Any, submodels: Submodels, hypothesis: Hypothesis) -> Outcome:
    """Return the likelihood-ratio test of a term; P is NaN where the null is at the boundary."""
    statistic, df = submodels.ratio(hypothesis)
    if df == 0:
        return NOTHING
    null = submodels.without({*hypothesis.absent, *hypothesis.term.columns})[1]
    regular = hypothesis.term.part == "mean" or null.boundary is None
    return Outcome(df, statistic, chi_square(statistic, df) if regular else np.nan)


def _no_ratio(res: Any) -> str:
    """Return why a fit has no likelihood ratio of a term, or nothing."""
    if type_of(res).model_based:
        return ""
    return (
        f"a likelihood ratio ignores cov_type={res.cov_type!r}; use 'wald' or 'score', or fit "
        "with the model-based covariance"
    )


def _no_score(res: Any) -> str:
    """Return why a fit has no score test, or nothing."""
    criterion = res.fit.criterion
    if res.model.random:
        return "there is none for fits with random effects; use 'lr' or 'wald'"
    if not criterion.by_rows:
        return f"not after {criterion.name}; use 'lr' or 'wald', or fit by ML"
    if res.cov_type in SCORE_TYPES:
        return ""
    return (
        f"there is none for a fit with cov_type={res.cov_type!r}; use 'wald', or fit with one of "
        f"{', '.join(SCORE_TYPES)}"
    )


#: The tests of terms, ``test`` of `anova`; the bootstrap simulates the P of the ratio.
TESTS = {
    "lr": TermTest(_ratio, _no_ratio, of_maxima=True),
    "bootstrap": TermTest(_ratio, _no_ratio, of_maxima=True),
    "wald": TermTest(wald, label="Wald"),
    "score": TermTest(score, _no_score, label="Score"),
}


def _by_terms(res: Any, typ: int, test: str | None, simulation: Simulation | None) -> AnovaTable:
    """Return a table with a row for each term of both parts."""
    if isinstance(typ, bool) or typ not in (1, 2, 3):
        raise ValueError(f"typ={typ!r}: choose 1 (sequential), 2 (hierarchical) or 3 (marginal)")
    if test is None:
        test = "lr" if type_of(res).model_based else "wald"
    if test not in tuple(TESTS):
        *names, last = map(repr, TESTS)
        raise ValueError(f"test={test!r}: choose {', '.join(names)} or {last}")
    chosen = TESTS[test]
    if why := chosen.why_not(res):
        raise ValueError(f"test={test!r}: {why}")
    submodels = mean = Submodels(res.model, res.fit)
    if chosen.of_maxima and not res.fit.criterion.comparable_means:
        mean = Submodels(res.model, fit_again(res.model, nodes=res.fit.requested_nodes))
    tested = hypotheses(res.model.term_list, typ)
    labels = [(h.term.part, h.term.name.removeprefix("dispersion-")) for h in tested]
    reasons: Reasons = {}
    found: list[tuple[Any, ...]] = []
    for h, label in zip(tested, labels, strict=True):
        name, df = " ".join(label), int(res.model.estimable[list(h.term.columns)].sum())
        models = mean if h.term.part == "mean" else submodels
        outcome = partial(chosen.outcome, res, models, h)
        row = tried(outcome, Outcome(df, np.nan, np.nan), name, reasons)
        if simulation:
            row = (*row[:2], *_simulated(models, h, row, simulation, name, reasons))
        if np.isnan(row[2]):
            reasons.setdefault(name, _why(res, row[0]))
        found.append(row)
    columns = ["df", "statistic", "P", *(SIMULATED if simulation else ())]
    rows = pd.MultiIndex.from_tuples(labels, names=["part", "term"])
    table = _explained(AnovaTable(found, index=rows, columns=columns), reasons)
    table.columns.name = chosen.label or _ratio_name([res], simulation)
    return table


def _why(res: Any, df: int) -> str:
    """Return the reason for a NaN from a test that did not raise."""
    if df == 0:
        return NO_COLUMN
    return AT_BOUNDARY if type_of(res).model_based or res.boundary is not None else INDEFINITE


def _explained(table: AnovaTable, reasons: Reasons) -> AnovaTable:
    """Record the reasons for untested rows in a table, and warn of those that are errors."""
    # the fit has warned of these, or was asked for them
    reported = (NO_COLUMN, AT_BOUNDARY, INDEFINITE, KNOWN, VARIANCE_OF_ZERO)
    if new := {row: why for row, why in reasons.items() if why not in reported}:
        warn(f"anova: {' '.join(_lines(new))}", UntestedTermWarning)
    if reasons:
        table.attrs["reasons"] = reasons
    return table


def _simulated(
    submodels: Submodels,
    hypothesis: Hypothesis,
    found: Outcome,
    simulation: Simulation,
    name: str,
    reasons: Reasons,
) -> SimulatedP:
    """Return the bootstrap P of a term's likelihood ratio; NaN where there is no ratio."""
    if found[0] == 0 or np.isnan(found[1]):
        return SimulatedP()
    try:
        return simulation(*submodels.fits(hypothesis), hypothesis.term.name)
    except EveryRefitFailedError as exc:
        reasons[name] = str(exc)
        return SimulatedP()


def _one(res: Any, simulation: Simulation | None) -> AnovaTable:
    """Return the table of one fit: a row for the mean and one for the dispersion."""
    model = res.model
    reasons: Reasons = {}
    dispersion = tried(lambda: compare_constant(res), None, PARTS[1], reasons)
    with_constant = contains(model.core.X, np.ones((model.core.n, 1)))
    null = "constant" if with_constant else "empty"
    df = int(model.estimable[: model.core.k_mean].sum()) - with_constant
    sequential = adjusted = 0.0
    if df:
        sequential, adjusted = tried(
            lambda: _mean_ratios(res, null, dispersion), (np.nan, np.nan), PARTS[0], reasons
        )
    df_dispersion, ratio, p = np.nan, np.nan, np.nan
    if dispersion is not None:
        df_dispersion, ratio, p = dispersion.df, dispersion.statistic, dispersion.pvalue
        if res.model.random and df_dispersion and np.isnan(p) and not simulation:
            reasons[PARTS[1]] = VARIANCE_OF_ZERO
    if simulation:
        dfs, chisq = (df, df_dispersion), (sequential, adjusted, ratio)
        return _explained(_one_simulated(res, null, dfs, chisq, simulation), reasons)
    rows = [
        (df, sequential, chi_square(sequential, df), adjusted, chi_square(adjusted, df)),
        (df_dispersion, ratio, p, ratio, p),
    ]
    columns = ["DF", "Seq.Chisq", "Seq.P", "Adj.Chisq", "Adj.P"]
    return _explained(AnovaTable(rows, columns=columns, index=PARTS), reasons)


def _mean_ratios(
    res: Any, null: str, dispersion: ConstantDispersionTest | None
) -> tuple[float, float]:
    """Return the ratios of the mean with constant dispersion, and with that of the fit."""
    own, by = res.fit.criterion, res.fit.criterion.of_means
    small = {part: NullModel(res, null, part, by) for part in ("constant", "full")}
    constant, full = _maxima_of_full_mean(res, by)
    if by == own:
        full = small["full"].larger_fit().maximum
        full = full if dispersion is None else max(dispersion.llf, full)
    return (
        likelihood_ratio(constant, small["constant"].fit.maximum, "the mean"),
        likelihood_ratio(full, small["full"].fit.maximum, "the mean"),
    )


def _maxima_of_full_mean(res: Any, by: Criterion) -> tuple[float, float]:
    """Return the maxima with constant and with full dispersion."""
    models = [NullModel(res, "full", part, by) for part in ("constant", "full")]
    try:
        return models[0].fit.maximum, models[1].fit.maximum
    except UnboundedLikelihoodError as exc:
        own = res.fit.criterion
        if by == own:
            raise
        raise UnboundedLikelihoodError(
            f"the row of the mean needs maximum likelihood ({own.name} criteria of different means "
            f"have no ratio), but {exc}. compare_constant_dispersion() tests the dispersion by "
            f"{own.name}",
            exc.where,
        ) from exc


def _one_simulated(
    res: Any,
    null: str,
    df: tuple[float, float],
    chisq: tuple[float, float, float],
    simulation: Simulation,
) -> AnovaTable:
    """Return the table of two rows with simulated P, the mean's against a constant or an empty one."""
    own = res.fit.criterion

    def p(smaller: Key, larger: Key, wanted: Any, what: str, by: Criterion) -> SimulatedP:
        if not wanted:  # no degrees of freedom, or no ratio of the data
            return SimulatedP()
        null, full = (NullModel(res, *key, by).fitted for key in (smaller, larger))
        return simulation(null, full, what)

    of_mean = [
        p(
            (null, part),
            ("full", part),
            df[0] and not np.isnan(x),
            f"the mean, {part} dispersion",
            own.of_means,
        )
        for part, x in zip(("constant", "full"), chisq[:2], strict=True)
    ]
    tested = df[1] > 0  # not where it is NaN
    rest = p(("full", "constant"), ("full", "full"), tested, "the dispersion", own)
    cells = [
        (x, found.pvalue, found.mc_error) for x, found in zip(chisq, (*of_mean, rest), strict=True)
    ]
    rows = [
        (df[0], *cells[0], *cells[1], sum(found.failed for found in of_mean)),
        (df[1], *cells[2], *cells[2], rest.failed),
    ]
    both = [f"{kind}.{name}" for kind in ("Seq", "Adj") for name in ("Chisq", "P", "Error")]
    return AnovaTable(rows, columns=["DF", *both, "Failed"], index=PARTS)


def _several(fits: list[Any], simulation: Simulation | None, test: str | None) -> AnovaTable:
    """Return the table of nested fits, ordered by size."""
    notes: list[str] = []
    fits = sorted(fits, key=lambda res: -res.df_resid)
    fitted, by = [fitted_of(res) for res in fits], fits[0].fit.criterion
    criteria = [comparable(res) for res in fits]
    columns = ["df_diff", "statistic", "P", *(SIMULATED if simulation else ())]
    rows = []
    for i, res in enumerate(fits):
        compared = [np.nan] * len(columns)
        if i:
            smaller = fits[i - 1]
            check_nested(smaller, res)
            if criteria[i] < criteria[i - 1]:
                again = refitted_from_null(res.model, res.fit, smaller.model, smaller.fit)
                if (reached := comparable(res, again)) > criteria[i]:
                    criteria[i], fitted[i] = reached, replace(fitted[i], fit=again)
            df, what = round(smaller.df_resid - res.df_resid), f"model {i} against model {i - 1}"
            compared[:2] = df, likelihood_ratio(criteria[i], criteria[i - 1], what)
            at_zero = random_terms.has_new_variances(smaller.model.random, res.model.random)
            if simulation and (at_zero or test == "bootstrap"):
                notes += _by_laplace(i, smaller, res)
                null = fitted[i - 1] if by.comparable_means else same_mean(fitted[i - 1], fitted[i])
                compared[2:] = simulation(null, fitted[i], what)
            elif at_zero and test == CHI_BAR:
                compared[2] = random_terms.chi_bar_square(compared[1], df)
                notes.append(f"P of model {i} {random_terms.CONSERVATIVE.format(df - 1, df)}.")
            elif not at_zero and _is_regular(smaller, res):
                compared[2] = chi_square(compared[1], df)
            if res.model.random and np.isnan(compared[2]):
                notes.append(_no_reference(i, at_zero))
        rows.append([res.df_resid, res.fit.maximum, res.aic, res.bic, *compared])
    llf = "llf" if by.by_rows else f"llf_{by.name.lower()}"
    columns = ["df_resid", llf, "aic", "bic", *columns]
    table = AnovaTable(rows, columns=columns, index=pd.RangeIndex(len(fits), name="model"))
    table.attrs["models"] = [res.model.formula_text() for res in fits]
    if notes:
        table.attrs["notes"] = notes
    return table


def _is_regular(smaller: Any, larger: Any) -> bool:
    """Return whether chi-square holds for the ratio of two fits without a variance between them."""
    if random_terms.differ(smaller.model.random, larger.model.random):
        return not np.any(smaller.fit.at_boundary)  # only correlations are added
    return smaller.boundary is None or contains(smaller.model.core.Z, larger.model.core.Z)


def _by_laplace(i: int, smaller: Any, larger: Any) -> list[str]:
    """Return what the bootstrap of model i compares where a fit is by quadrature, in a sentence."""
    if max(getattr(res.fit, "nodes", 1) for res in (smaller, larger)) == 1:
        return []
    return [
        f"P of model {i} is that of the ratio by Laplace's approximation, of data and draws alike."
    ]


def _no_reference(i: int, at_zero: bool) -> str:
    """Return why model i has no P."""
    why = (
        "a variance of a random effect is 0 under H0" if at_zero else "the smaller fit is singular"
    )
    how = f" or {CHI_BAR!r}" if at_zero else ""
    return f"Model {i} has no P: {why}, where chi-square does not hold; use test='bootstrap'{how}."
