"""Possible problems of a fit in plain words: the term, the evidence and a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design.terms import Term
from hetglm.diagnostics.influence import LocationScaleInfluence
from hetglm.estimation import checks
from hetglm.estimation.record import Fit, Fitted
from hetglm.inference.variance_component import (
    PARTS,
    Grouping,
    RandomEffectTest,
    groupings,
    need_likelihood,
    of_fit,
    untestable,
)
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array
from hetglm.utils.display import Printed
from hetglm.utils.linalg import contains
from hetglm.utils.messages import listed
from hetglm.utils.parallel import Run

#: Leverage above which a row counts as fitted exactly by a coefficient of its own.
MIN_EXACT_LEVERAGE = 1 - 1e-6
#: Leverage above which a row is reported: its own response then has weight 0.8 in its fit.
MIN_LARGE_LEVERAGE = 0.8
#: Residual degrees of freedom (observations minus leverages) below which a cell has few rows.
MIN_CELL_DF = 5.0
#: Smallest eigenvalue of the information, scaled to unit diagonal: half of the digits are left.
MIN_EIGENVALUE = 1e-8
#: The Hauck-Donner effect is not reported for |z| above this: such a coefficient is clear anyhow.
MAX_HAUCK_DONNER_Z = 5.0
#: Step of the numerical derivative of the information with respect to a linear predictor.
STEP = 1e-4
#: Size of the subsample for the information and its derivatives, in rows: a few per cent of error.
N_SAMPLE_ROWS = 5_000
#: Largest P of a random effect that is reported.
MAX_P = 0.01
#: Number of draws for that P, and of draws with as large a score that make it larger than `MAX_P`.
N_DRAWS = 199
MAX_EXCEEDED = 1
#: Seed of the draws: a fit has one diagnosis.
SEED = 0
#: Kind of finding that needs a grouping variable.
GROUPED = "correlated rows"


@dataclass(frozen=True, repr=False)
class Finding(Printed):
    """
    A possible problem of a fit.

    Attributes
    ----------
    kind : str
        Name of the check that found it, one of those that `LocationScaleResults.diagnose` lists.
    terms : tuple of str
        Names of the coefficients concerned, as in ``params``.
    evidence : str
        Observation that led to the finding.
    remedy : str
        Suggested action.
    rows : tuple of int
        Positions of the rows concerned in the data passed by the user; the text has their labels.
    """

    kind: str
    terms: tuple[str, ...]
    evidence: str
    remedy: str
    rows: tuple[int, ...] = ()

    @property
    def term(self) -> str:
        """The terms in one line."""
        return listed(self.terms)

    def _headline(self) -> str:
        about = f" ({self.term})" if self.terms else ""
        return f"{self.kind}{about}: {self.evidence}. {self.remedy}."


class Diagnosis(Printed, list[Finding]):
    """
    The findings of `diagnose`, a list that prints in plain words.

    Attributes
    ----------
    checks : list of str
        Kinds of findings that were looked for.
    """

    checks: Sequence[str] = ()

    def _headline(self) -> str:
        if not self:
            return f"No problems found by the checks that were run ({', '.join(self.checks)})."
        kinds = ", ".join(dict.fromkeys(self.kinds))
        return f"{len(self)} finding{'s' * (len(self) > 1)}: {kinds}"

    def _body(self) -> list[str | pd.DataFrame]:
        return [f"{i}. {finding._headline()}" for i, finding in enumerate(self, 1)]

    @property
    def kinds(self) -> list[str]:
        """The kinds of the findings."""
        return [finding.kind for finding in self]


@dataclass(frozen=True)
class Facts:
    """
    A fit and the quantities that several checks need.

    Attributes
    ----------
    core : Likelihood
        With rows at the boundary fixed there.
    bare : Likelihood
        With no row fixed.
    fit : Fit
    names : list of str
        Names of the p + q coefficients.
    estimable : ndarray of bool, shape (p + q,)
    terms : list of Term
    tvalues : ndarray, shape (p + q,)
    leverage, leverage_dispersion : ndarray, shape (n,)
    groupings : list of Grouping
        Grouping variables that rows may go together by.
    clustered : bool
        Whether the standard errors allow for that.
    """

    core: Likelihood
    bare: Likelihood
    fit: Fit
    names: list[str]
    estimable: Array
    terms: list[Term]
    tvalues: Array
    leverage: Array
    leverage_dispersion: Array
    groupings: list[Grouping]
    clustered: bool

    def where(self, rows: Array) -> str:
        """Return the labels of rows as text."""
        return self.core.names.text(rows)

    def positions(self, rows: Array) -> tuple[int, ...]:
        """Return the positions of rows in the data passed by the user."""
        return tuple(int(i) for i in self.core.names.positions[rows])

    @cached_property
    def separated(self) -> tuple[Array, list[str]] | None:
        """Rows at the limit of a separated mean and the coefficients concerned."""
        return checks.separated(self.bare, self.fit, self.names)

    @cached_property
    def not_finite(self) -> set[str]:
        """Names of the coefficients without a finite estimate."""
        found = (*separation(self), *boundary(self), *aliased(self))
        return {name for finding in found for name in finding.terms}

    @cached_property
    def cells(self) -> list[Finding]:
        """Findings on the cells of the dispersion."""
        return list(dispersion_cells(self))

    @cached_property
    def random_effects(self) -> list[RandomEffectTest]:
        """Score tests of a random effect of each grouping variable in each part, where there is one."""
        fitted = Fitted(self.bare, self.fit, self.names, self.estimable)
        return [
            of_fit(fitted, grouping, part, N_DRAWS, SEED, MAX_EXCEEDED + 1, Run())
            for grouping in self.groupings
            for part in PARTS
            if not untestable(fitted, grouping, part)
        ]

    @cached_property
    def sample(self) -> Likelihood:
        """The rows, or a subsample of many with the same information up to a few per cent."""
        return self.core if self.core.n <= N_SAMPLE_ROWS else subsample(self.core, self._importance)

    @property
    def _importance(self) -> Array:
        """Sampling weight of each row: its share of the leverages plus its share of the rows."""
        leverage = self.frequency * (self.leverage + self.leverage_dispersion)
        leverage = np.maximum(np.nan_to_num(leverage, posinf=0.0), 0.0)
        return leverage / (leverage.sum() or 1.0) + 1 / len(leverage)

    @property
    def frequency(self) -> Array:
        """Frequency of each row, shape (n,)."""
        return np.ones(self.core.n) if self.core.freq is None else self.core.freq


def diagnose(res: Any, groups: Any = None) -> Diagnosis:
    """Return the findings on a fit; see the results' method."""
    clustered = groups is None and res.cov_type == "cluster"
    if groups is not None:
        need_likelihood(res.core)
    elif clustered and res.core.family.exact:
        groups = res.cov_kwds["groups"]
    model, influence = res.model, LocationScaleInfluence(res)
    facts = Facts(
        res.core,
        model.core,
        res.fit,
        model.parameter_names,
        model.estimable,
        model.term_list,
        np.asarray(res.tvalues),
        influence.hat_matrix_diag,
        influence.hat_matrix_diag_dispersion,
        [] if groups is None else groupings(model, groups),
        clustered,
    )
    found = Diagnosis(finding for check in CHECKS.values() for finding in check(facts))
    found.checks = [kind for kind in CHECKS if kind != GROUPED or facts.random_effects]
    return found


# Messages of the fit -------------------------------------------------------------------------------


def convergence(facts: Facts) -> Iterator[Finding]:
    """Yield a search that did not converge."""
    fit = facts.fit
    if not fit.converged:
        yield Finding(
            "convergence",
            (),
            f"the fit did not converge: {fit.message} (scaled gradient {fit.decrement:.1e})",
            "Use more iterations, start_params near the maximum, or a simpler dispersion formula",
        )


def unbounded(facts: Facts) -> Iterator[Finding]:
    """Yield an unbounded likelihood."""
    if facts.fit.unbounded:
        yield Finding(
            "unbounded",
            (),
            f"{facts.fit.unbounded}; the fit is a local maximum away from that",
            "Merge the cell with another, or remove the term from one part",
        )


def domain_boundary(facts: Facts) -> Iterator[Finding]:
    """Yield a maximum at the boundary of the domain of the mean."""
    if facts.fit.domain_boundary:
        yield Finding(
            "domain boundary",
            (),
            facts.fit.domain_boundary,
            "Use a link without such a boundary, log or logit",
        )


def several_maxima(facts: Facts) -> Iterator[Finding]:
    """Yield a second local maximum."""
    fit = facts.fit
    if not np.isnan(fit.second):
        yield Finding(
            "several maxima",
            (),
            f"the best maximum found has log-likelihood {fit.llf:.4f}, the next {fit.second:.4f}, and "
            "there may be others",
            "The data do not determine a dispersion with so many terms; use fewer",
        )


def separation(facts: Facts) -> Iterator[Finding]:
    """Yield the terms of a separated mean."""
    if facts.separated is not None:
        rows, terms = facts.separated
        yield Finding(
            "separation",
            tuple(terms),
            f"at {facts.where(rows)} the fit is at the limit of the mean, so the estimate is not finite "
            "and its standard error is meaningless",
            "Merge the level with another, or remove the term; het.anova tests it by a likelihood ratio",
            facts.positions(rows),
        )


def boundary(facts: Facts) -> Iterator[Finding]:
    """Yield the terms whose estimates are infinite because the dispersion is at its boundary."""
    found = facts.fit.boundary
    if found is None:
        return
    family = facts.core.boundary_family
    for rows, reason in (
        (
            found.rows,
            f"the data vary no more than the {family.limit_at_zero}, so the dispersion is zero",
        ),
        (found.infinite, f"the data are {family.limit_at_infinity}, so the dispersion is infinite"),
    ):
        if rows.any():
            yield Finding(
                "boundary",
                tuple(found.terms),
                f"at {facts.where(rows)} {reason}, and these coefficients are not finite",
                "boundary_limits() gives upper limits for such cells; or use fewer terms in the "
                "dispersion",
                facts.positions(rows),
            )


def small_counts(facts: Facts) -> Iterator[Finding]:
    """Yield a large error of the extended quasi-likelihood, with the rows that contribute most to it."""
    found = checks.small_counts(facts.core, facts.fit)
    if found is not None:
        rows = found.error > 0.5 * found.error.max()
        yield Finding(
            "small counts",
            (),
            f"{found.evidence}; see {facts.where(rows)}",
            found.remedy[0].upper() + found.remedy[1:],
            facts.positions(rows),
        )


def aliased(facts: Facts) -> Iterator[Finding]:
    """Yield the columns that were left out of the fit."""
    names = [name for name, kept in zip(facts.names, facts.estimable, strict=True) if not kept]
    if names:
        yield Finding(
            "aliased",
            tuple(names),
            "a linear combination of earlier columns of its part; left out of the fit",
            "Remove it from the formula, or remove the variable that it duplicates",
        )


# Cells ---------------------------------------------------------------------------------------------


def single_rows(facts: Facts) -> Iterator[Finding]:
    """Yield the rows that alone determine a coefficient of the mean, or the dispersion of a cell."""
    rows = (facts.leverage > MIN_EXACT_LEVERAGE) & (facts.frequency <= 1)
    if rows.any():
        X = facts.core.X
        alone = (X[rows] != 0).any(axis=0) & ~(X[~rows] != 0).any(axis=0)
        yield Finding(
            "single row",
            tuple(name for name, own in zip(facts.names, alone, strict=False) if own),
            f"the mean has a coefficient for {facts.where(rows)} alone (leverage 1); such rows are "
            "fitted exactly and contain no information about the dispersion",
            "Merge the cell with another, or remove the term from the mean",
            facts.positions(rows),
        )
    yield from (finding for finding in facts.cells if finding.kind == "single row")


def few_rows(facts: Facts) -> Iterator[Finding]:
    """Yield the cells of the dispersion with few residual degrees of freedom."""
    yield from (finding for finding in facts.cells if finding.kind == "few rows")


def dispersion_cells(facts: Facts) -> Iterator[Finding]:
    """Yield the cells of the dispersion with one row, or few residual degrees of freedom."""
    seen: set[tuple[int, ...]] = set()
    df = facts.frequency * (1 - np.clip(np.nan_to_num(facts.leverage), 0.0, 1.0))
    for term in reversed([t for t in facts.terms if t.part == "dispersion" and t.factors]):
        for rows, label in _cells(facts, term):
            positions = facts.positions(rows)
            count, free = facts.frequency[rows].sum(), df[rows].sum()
            if free >= MIN_CELL_DF or positions in seen:
                continue
            seen.add(positions)
            single = count <= 1
            yield Finding(
                "single row" if single else "few rows",
                (term.name,),
                f"{facts.where(rows)}, {count:g} in all, at {label}; after the mean {free:.1f} degrees "
                "of freedom are left for the dispersion there",
                "Merge the cell with another; its Wald intervals and tests are unreliable, so prefer "
                "REML, the score test or a bootstrap",
                positions,
            )


def _cells(facts: Facts, term: Term) -> Iterator[tuple[Array, str]]:
    """Yield the rows and the name of each level of a factor; nothing for a numeric variable."""
    k = facts.core.k_mean
    margin = [
        t for t in facts.terms if t.part == term.part and t.factors and t.factors <= term.factors
    ]
    columns = np.array(sorted(j - k for t in margin for j in t.columns), dtype=int)
    Z = facts.core.Z[:, columns]
    probe = np.unique(Z[: 4 * (Z.shape[1] + 2)], axis=0)
    if len(columns) == 0 or len(probe) > Z.shape[1] + 1:
        return
    levels, of_row = np.unique(Z, axis=0, return_inverse=True)
    if len(levels) < 2 or len(levels) > Z.shape[1] + 1:
        return
    names = [facts.names[k + j].removeprefix("dispersion-") for j in columns]
    for i, level in enumerate(levels):
        values = [f"{name} = {v:g}" for name, v in zip(names, level, strict=True) if v != 0]
        plain = term.name.removeprefix("dispersion-")
        yield of_row.ravel() == i, " and ".join(values) or f"the reference level of {plain}"


# Numbers -------------------------------------------------------------------------------------------


def hauck_donner(facts: Facts) -> Iterator[Finding]:
    """
    Yield coefficients with the Hauck-Donner effect: |z| decreases as the estimate moves from zero.

    References
    ----------
    Hauck, W. W. and Donner, A. (1977). Wald's test as applied to hypotheses in logit analysis. JASA
    72, 851-853. Yee, T. W. (2022). On the Hauck-Donner effect in Wald tests. JASA 117, 1763-1774.
    """
    slopes = wald_slopes(facts.sample, facts.fit)
    for term in facts.terms:
        columns = list(term.columns)
        A = np.hstack([facts.core.X, facts.core.Z])[:, columns] if columns else np.empty((0, 0))
        if not columns or not term.factors or contains(A, np.ones((len(A), 1))):
            continue  # cell means: that one is far from zero is not a test of interest
        for j in columns:
            if facts.names[j] in facts.not_finite:
                continue
            if slopes[j] < 0 and abs(facts.tvalues[j]) < MAX_HAUCK_DONNER_Z:
                yield Finding(
                    "Hauck-Donner",
                    (facts.names[j],),
                    f"its standard error grows faster than the estimate ({facts.fit.internal[j]:.2f}): "
                    f"z = {facts.tvalues[j]:.2f} would be larger for a smaller effect",
                    "This z is unreliable; use the likelihood ratio (het.anova(res, typ=2)) and "
                    "conf_int(method='profile')",
                )


def subsample(core: Likelihood, importance: Array) -> Likelihood:
    """
    Return rows drawn by importance sampling, with inverse-probability weights as frequencies.

    Leverage-score sampling: rows that alone determine a coefficient are almost surely drawn, and the
    information is approximated with the same relative error in all directions. The seed is fixed.
    """
    share = importance / importance.sum()
    drawn = np.random.default_rng(0).choice(core.n, N_SAMPLE_ROWS, p=share)
    rows, times = np.unique(drawn, return_counts=True)
    taken = core.take(rows)
    frequency = 1.0 if taken.freq is None else taken.freq
    return replace(taken, freq=frequency * times / (N_SAMPLE_ROWS * share[rows]))


def wald_slopes(core: Likelihood, fit: Fit) -> Array:
    """
    Return 1 - b v'/(2 v) of each coefficient, negative where b/sqrt(v) decreases away from zero.

    v is the variance of the coefficient b by the expected information and v' its derivative with
    respect to b, the others fixed. Shape (p + q,); NaN for coefficients without an estimate.
    """
    kept, params, k = fit.solved, fit.internal, core.k_mean
    out = np.full(len(params), np.nan)
    information = -core.expected_hessian(params)[np.ix_(kept, kept)]
    try:
        inverse = np.zeros((len(params), len(params)))
        inverse[np.ix_(kept, kept)] = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return out
    U, T = core.X @ inverse[:k], core.Z @ inverse[k:]
    with np.errstate(all="ignore"):
        for part, A, name in (
            (slice(0, k), core.X, "offset"),
            (slice(k, None), core.Z, "offset_dispersion"),
        ):
            mm, mp, pp = _information_slopes(core, params, name)
            u, t = U[:, part], T[:, part]
            change = mm[:, None] * u * u + 2 * mp[:, None] * u * t + pp[:, None] * t * t
            v_slope = -np.einsum("ij,ij->j", A, change)
            out[part] = 1 - params[part] * v_slope / (2 * np.diag(inverse)[part])
    return np.where(kept, out, np.nan)


def _information_slopes(core: Likelihood, params: Array, name: str) -> Any:
    """Return derivatives of each row's expected information with respect to a linear predictor."""
    shift = getattr(core, name)
    shift = np.zeros(core.n) if shift is None else shift
    up, down = (_shifted(core, name, shift + h).expected_factors(params) for h in (STEP, -STEP))
    return tuple(-(a - b) / (2 * STEP) for a, b in zip(up, down, strict=True))


def _shifted(core: Likelihood, name: str, shift: Array) -> Likelihood:
    if name == "offset":
        return replace(core, offset=shift)
    return replace(core, offset_dispersion=shift)


def near_singular(facts: Facts) -> Iterator[Finding]:
    """Yield the coefficients of a nearly singular direction of the information."""
    if facts.not_finite:  # these make the information singular, and are reported
        return
    kept = facts.fit.solved
    information = -facts.sample.expected_hessian(facts.fit.internal)[np.ix_(kept, kept)]
    scale = np.sqrt(np.diag(information))
    names = [name for name, own in zip(facts.names, kept, strict=True) if own]
    if not np.all(scale > 0):
        return
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] > MIN_EIGENVALUE:
        return
    share = np.abs(vectors[:, 0])
    which = tuple(name for name, s in zip(names, share, strict=True) if s > 0.3 * share.max())
    yield Finding(
        "near-singular",
        which,
        f"the information has eigenvalue {values[0]:.1e} (unit diagonal): the likelihood hardly changes "
        "along a combination of these coefficients",
        "Centre the variables, remove one of two that are nearly equal, or use fewer terms",
    )


def leverages(facts: Facts) -> Iterator[Finding]:
    """Yield the rows that dominate their own fit of the mean or of the dispersion."""
    known = {i for finding in (*single_rows(facts), *few_rows(facts)) for i in finding.rows}
    for part, h in (("mean", facts.leverage), ("dispersion", facts.leverage_dispersion)):
        rows = h > MIN_LARGE_LEVERAGE
        if rows.any() and h.max() > 3 * np.mean(h) and not known & set(facts.positions(rows)):
            yield Finding(
                "leverage",
                (),
                f"{facts.where(rows)}: leverage up to {h[rows].max():.2f} on the {part}, where the "
                f"average is {np.mean(h):.2f}; the fit there is dominated by this row",
                "See get_influence().summary_frame(), and refit without the row to compare",
                facts.positions(rows),
            )


# Rows that go together -------------------------------------------------------------------------------


def correlated_rows(facts: Facts) -> Iterator[Finding]:
    """Yield the random effects that the fit lacks."""
    for test in facts.random_effects:
        if test.pvalue <= MAX_P:
            prefix = "dispersion-" if test.part == "dispersion" else ""
            yield Finding(
                GROUPED,
                (f"{prefix}{test.term}",),
                f"rows of a group go together in the {test.part} ({test.numbers}; a random effect with "
                f"standard deviation about {test.sd:.2g}), and the model takes them for independent",
                f"Write {test.term} in the {test.part}; {_meanwhile(facts, test)}",
            )


def _meanwhile(facts: Facts, test: RandomEffectTest) -> str:
    """Return what to know of a random effect that the fit lacks."""
    mean = {t.term for t in facts.random_effects if t.part == "mean" and t.pvalue <= MAX_P}
    if test.part == "dispersion" and test.term in mean:
        return (
            "one in the mean can look like it, so test this again in a fit with a coefficient of the "
            "mean for each group"
        )
    if facts.clustered:
        return "the clustered standard errors allow for it, predictions do not"
    return "or cov_type='cluster' with these groups, if standard errors are all you need"


#: Kind of a finding -> the check that yields it; in this order they run and print.
CHECKS: dict[str, Callable[[Facts], Iterator[Finding]]] = {
    "convergence": convergence,
    "unbounded": unbounded,
    "domain boundary": domain_boundary,
    "several maxima": several_maxima,
    "separation": separation,
    "boundary": boundary,
    "small counts": small_counts,
    "aliased": aliased,
    "single row": single_rows,
    "few rows": few_rows,
    "Hauck-Donner": hauck_donner,
    "near-singular": near_singular,
    "leverage": leverages,
    GROUPED: correlated_rows,
}
