"""Stepwise selection of the terms of both parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hetglm.design import formula as formula_module
from hetglm.design import syntax
from hetglm.design.random_terms import ModelTerm
from hetglm.estimation.record import Fit, need_rows
from hetglm.estimation.refit import fit_again, refitted_from_null
from hetglm.exceptions import FormulaError, MissingValueError
from hetglm.inference.wald import robust_kwds
from hetglm.utils.display import Printed
from hetglm.utils.messages import listed
from hetglm.utils.parallel import progress_bar

#: A term: its part, and its factors (the variables of an interaction; none for a constant).
Key = tuple[str, frozenset[str]]
Terms = frozenset[Key]
Criterion = str | Callable[[Any], float]

PARTS = ("mean", "dispersion")
DIRECTIONS = ("forward", "backward", "both")
#: Least decrease of the criterion, relative to 1 + its size: rounding could make a search cycle.
TOL_ROUNDING = 1e-8


@dataclass(frozen=True, repr=False)
class Selection(Printed):
    """
    Result of a stepwise selection: the chosen model and the steps to it.

    Attributes
    ----------
    fit : LocationScaleResults
        The chosen model, fitted.
    trace : DataFrame
        A row for the start and for each step: ``action`` ("+" or "-"), ``part``, ``term``, the number
        ``k`` of coefficients, ``llf`` and the criterion.
    tried : DataFrame
        The same for every model that was tried, by step, best first; ``note`` gives the reason why
        a model was skipped.
    criterion : str
        Name of the criterion.
    direction : str
    """

    fit: Any
    trace: pd.DataFrame
    tried: pd.DataFrame
    criterion: str
    direction: str

    @property
    def skipped(self) -> pd.DataFrame:
        """The models that were skipped, with the reason in ``note``."""
        return self.tried[self.tried["note"] != ""]

    def _headline(self) -> str:
        steps, models = len(self.trace) - 1, len(self.tried)
        return (
            f"Stepwise selection ({self.direction}) by {self.criterion}: {models} models tried, "
            f"{steps} step{'' if steps == 1 else 's'}"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        skipped = [
            f"Skipped in step {step}: {row.action} {row.term} ({row.part}): {row.note}"
            for step, row in self.skipped.iterrows()
        ]
        formula = getattr(self.fit.model, "formula", None)
        return [self.trace, *skipped, *([] if formula is None else [f"Chosen: {formula}"])]


@dataclass(frozen=True)
class Move:
    """A term that is added to a model or removed from it; empty for the start."""

    action: str = "start"
    part: str = ""
    term: str = ""


@dataclass(frozen=True)
class Candidate:
    """
    A model of the search and its criterion.

    Attributes
    ----------
    terms : frozenset
    model : LocationScaleModel
    fit : Fit or None
        None where it was skipped.
    value : float
        Value of the criterion.
    note : str
        Reason why it was skipped.
    """

    terms: Terms
    model: Any
    fit: Fit | None = None
    value: float = np.inf
    note: str = ""

    def row(self, move: Move, name: str) -> dict[str, Any]:
        """Return the row of a table, without the note."""
        llf = np.nan if self.fit is None else self.fit.maximum
        value = np.nan if self.fit is None else self.value
        k = _rank(self.model)
        return {**vars(move), "k": k, "llf": llf, name: value}


@dataclass(frozen=True)
class Space:
    """
    The terms of the scope, in order.

    Attributes
    ----------
    names : dict
        Name of each term, the constants of the fit included.
    fixed : frozenset
        Terms that are never removed or added.
    random : frozenset
        Random terms.
    """

    names: dict[Key, str]
    fixed: Terms
    random: Terms

    def moves(self, terms: Terms, direction: str) -> Iterator[tuple[Move, Terms]]:
        """Yield the terms that can be removed from a model or added to it, respecting marginality."""
        for key, name in self.names.items():
            if key in self.fixed:
                continue
            rest = terms - {key}
            if key in terms and direction != "forward":
                if not any(_contains(other, key) for other in rest) and _part(
                    rest - self.random, key[0]
                ):
                    yield Move("-", key[0], name), rest
            if key not in terms and direction != "backward":
                if all(other in terms for other in self.names if _contains(key, other)):
                    yield Move("+", key[0], name), terms | {key}

    def of_part(self, terms: Terms, part: str) -> list[str]:
        """Return the names of a model's terms in a part."""
        return [name for key, name in self.names.items() if key[0] == part and key in terms]


def _contains(larger: Key, smaller: Key) -> bool:
    """Return whether a term is marginal to a larger one."""
    return larger[0] == smaller[0] and bool(smaller[1]) and smaller[1] < larger[1]


def _part(terms: Terms, part: str) -> bool:
    """Return whether a part has a term."""
    return any(key[0] == part for key in terms)


def stepwise(
    res: Any,
    direction: str = "both",
    criterion: Criterion = "aic",
    scope: str | Mapping[str, str | Collection[str]] | None = None,
    *,
    keep: str | Mapping[str, str | Collection[str]] | None = None,
    progress: bool | None = None,
) -> Selection:
    """
    Select terms of both parts stepwise by AIC, BIC or another criterion.

    In each step every model with one term more or less is fitted and the best one is chosen, until
    none is better. Marginality is respected: an interaction is added after the terms it contains and
    removed before them. Random terms of the fit are removed one by one, and may come back; with a
    ``scope`` they stay. The constants of the fit stay. A model without a maximum, or whose fit does
    not converge, is skipped; ``skipped`` gives the reasons. All models are fitted to the rows of
    ``res``.

    Parameters
    ----------
    res : LocationScaleResults
        Where the search starts.
    direction : {"both", "forward", "backward"}
        Terms are added and removed, only added, or only removed.
    criterion : {"aic", "bic"} or callable
        Criterion to minimise; a function receives the fitted results and returns a number. For an
        extended quasi-likelihood AIC and BIC are computed from it.
    scope : str or dict, optional
        The largest model, ``"~ a * b | c"``; or ``{"mean": "~ a * b"}`` for one part, where the other
        part stays unchanged. Lists of names work too; fits without a formula need lists of column
        names. By default the terms of ``res``; "forward" then starts from constants.
    keep : str or dict, optional
        Terms that are never removed, in the same form.
    progress : bool, optional
        Whether to show a progress bar; by default only on a terminal.

    Returns
    -------
    Selection
        With ``fit``, ``trace``, ``tried`` and ``skipped``.

    Raises
    ------
    ValueError
        If an argument is out of range, if the scope lacks a term of the fit or has an unknown one, or
        if the fit is by REML, which has no AIC.

    References
    ----------
    Venables, W. N. and Ripley, B. D. (2002). Modern Applied Statistics with S, 4th edition, 6.8.

    Examples
    --------
    >>> import hetglm.api as het
    >>> import hetglm.formula.api as hmf
    >>> cats = het.datasets.load_cats()
    >>> res = hmf.doubleglm("Hwt ~ Sex * Bwt | Sex * Bwt", cats).fit()
    >>> print(het.stepwise(res, "backward", "bic").fit.model.formula)
    Hwt ~ Bwt | Bwt
    """
    start = getattr(res, "_results", res)
    environment = formula_module.environment(0)
    _check(start, direction, criterion)
    space, terms = _space(start, scope, keep)
    if scope is None and direction == "forward":
        terms = space.fixed
    known = start.model.core.dispersion_is_known
    for part in PARTS[:1] if known else PARTS:
        if not _part(terms, part):
            raise ValueError(
                f"direction='forward': the {part} has no constant to start from; start from a fit with "
                "fewer terms, and give the others in scope"
            )
    search = _Search(start, space, criterion, environment)
    with progress_bar(None, progress, "stepwise selection") as advance:
        search.run(terms, direction, advance)
    return search.selection(res, direction)


def _check(res: Any, direction: str, criterion: Criterion) -> None:
    """Validate the arguments before any work."""
    if not hasattr(res, "params_dispersion"):
        raise ValueError(f"res: stepwise needs hetglm results; got {type(res).__name__}")
    if direction not in DIRECTIONS:
        raise ValueError(f"direction={direction!r}: choose 'forward', 'backward' or 'both'")
    if not callable(criterion) and criterion not in ("aic", "bic"):
        raise ValueError(f"criterion={criterion!r}: choose 'aic' or 'bic', or give a function")
    by = res.fit.criterion
    if not by.comparable_means and not callable(criterion):
        raise ValueError(
            f"criterion={criterion!r}: not available after {by.name}, which cannot compare different "
            "means; fit by maximum likelihood, select, and fit the chosen model with reml=True"
        )
    need_rows(res.model.core)
    spec = res.model.spec
    if spec is not None and spec.mean.left_out:
        raise ValueError(
            f"drop_cols: the fit leaves out {listed(spec.mean.left_out)}, but stepwise selects "
            "whole terms, not columns; write the formula without these terms"
        )


# Terms ---------------------------------------------------------------------------------------------


def _space(res: Any, scope: Any, keep: Any) -> tuple[Space, Terms]:
    """Return the terms of the scope and the terms of the fit."""
    own, random = _own(res), {_key(term) for term in res.model.own_random_terms}
    parts = PARTS if scope is None else tuple(_by_part(scope, "scope"))
    names = dict(own)
    if scope is not None:
        wanted = _keys(res, scope, "scope")
        lacking = [
            own[k] for k in own.keys() - random if k[1] and k[0] in parts and k not in wanted
        ]
        if lacking:
            raise ValueError(
                f"scope: it lacks {listed(lacking)}, which the fit has; add it to the scope, or start "
                "from a fit without it"
            )
        stay = {k for k in own if not k[1] or k[0] not in parts} | random
        names = {k: name for k, name in own.items() if k in stay} | wanted
    kept = {} if keep is None else _keys(res, keep, "keep")
    strange = [name for key, name in kept.items() if key not in own]
    if strange:
        raise ValueError(f"keep: {listed(strange)} is not a term of the fit; name terms of the fit")
    fixed = {k for k in names if not k[1] or k[0] not in parts or k in kept}
    fixed |= random if scope is not None else set()
    fixed |= {k for k in own if any(_contains(other, k) for other in fixed)}
    return Space(names, frozenset(fixed), frozenset(random)), frozenset(own)


def _keys(res: Any, given: Any, name: str) -> dict[Key, str]:
    """Return the terms of a scope with their names, without constants, which are never moved."""
    found: dict[Key, str] = {}
    for part, terms in _by_part(given, name).items():
        if not isinstance(terms, str):
            terms = _name_list(terms, part, name)
        of_part = _columns if res.model.spec is None else _formula_terms
        found |= {
            (part, factors): term for factors, term in of_part(res, terms, part, name).items()
        }
    return {key: term for key, term in found.items() if key[1]}


def _name_list(terms: Any, part: str, name: str) -> list[str]:
    """Return a list of names, or column numbers, as strings."""
    given = list(terms) if isinstance(terms, Iterable) else [None]
    if not all(isinstance(term, (str, int, np.integer)) for term in given):
        raise ValueError(
            f"{name}: {terms!r} for the {part} is neither a formula such as '~ a * b' nor a list of "
            "names"
        )
    return [str(term) for term in given]


def _columns(res: Any, terms: str | list[str], part: str, name: str) -> dict[frozenset[str], str]:
    """Return the terms of a scope, a list of columns, for a fit without a formula."""
    columns = res.model.column_names["exog" if part == "mean" else "exog_dispersion"]
    if isinstance(terms, str):
        raise ValueError(
            f"{name}: without a formula give a list of columns of the {part}, of {listed(columns)}"
        )
    strange = [term for term in terms if term not in columns]
    if strange:
        raise ValueError(f"{name}: the {part} has no column {listed(strange)}")
    own = {
        t.name.removeprefix("dispersion-"): t.factors for t in res.model.term_list if t.part == part
    }
    return {own.get(term, frozenset({term})): term for term in terms}


def _formula_terms(
    res: Any, terms: str | list[str], part: str, name: str
) -> dict[frozenset[str], str]:
    """Return the terms of a scope, a formula or a list of terms, for a fit by formula."""
    if not isinstance(terms, str):
        terms = " + ".join(["1", *(term for term in terms if term != "Intercept")])
    named = syntax.named_terms(terms, name)
    has_constant = any(t.part == part and not t.factors for t in res.model.term_list)
    if has_constant and frozenset() not in named:
        raise ValueError(
            f"{name}: {terms!r} has no constant, but the {part} of the fit has one, which stays; write "
            "it without '- 1', or start from a fit without the constant"
        )
    return named


def _by_part(given: Any, name: str) -> dict[str, Any]:
    """Return the part of a scope for the mean and for the dispersion, where given."""
    example = "'~ a * b | c', or {'mean': '~ a * b'} for one part"
    if isinstance(given, str):
        try:
            mean, dispersion = syntax.split_bar(given if "~" in given else f"~ {given}")
        except FormulaError as exc:
            raise FormulaError(f"{name}={given!r}: write {example}") from exc
        if dispersion is None:
            raise ValueError(
                f"{name}={given!r}: without a bar the part is ambiguous; write {example}"
            )
        if not mean.replace("~", "", 1).strip():
            raise FormulaError(
                f"{name}={given!r}: no terms before the bar; write '~ 1 | z' for a constant mean"
            )
        return {"mean": mean, "dispersion": dispersion}
    if not isinstance(given, Mapping) or not given or set(given) - set(PARTS):
        raise ValueError(f"{name}={given!r}: write {example}")
    return {part: given[part] for part in PARTS if part in given}


# Search --------------------------------------------------------------------------------------------


@dataclass
class _Search:
    """The search: it moves from model to model and records each step."""

    res: Any
    space: Space
    criterion: Criterion
    environment: Any
    path: list[tuple[Move, Candidate]] = field(default_factory=list)
    tried: list[tuple[int, Move, Candidate]] = field(default_factory=list)
    known: dict[Terms, Candidate] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the criterion."""
        if isinstance(self.criterion, str):
            return self.criterion
        return str(getattr(self.criterion, "__name__", "criterion"))

    def run(self, terms: Terms, direction: str, advance: Callable[[int], Any]) -> None:
        """Take the best step until none improves the criterion."""
        if self.res.model.spec is not None:
            self._check_variables()
        current = self._start(terms)
        advance(1)
        self.path.append((Move(), current))
        while True:
            step = len(self.path)
            found = []
            for move, neighbour in self.space.moves(current.terms, direction):
                candidate = self._candidate(neighbour, current)
                found.append((step, move, candidate))
                advance(1)
            self.tried += sorted(found, key=lambda each: each[2].value)
            best = min(found, key=lambda each: each[2].value, default=None)
            if best is None or not _is_better(best[2].value, current.value):
                return
            current = best[2]
            self.path.append(best[1:])

    def selection(self, given: Any, direction: str) -> Selection:
        """Return the record of the search with the results of the last model."""
        rows = [candidate.row(move, self.name) for move, candidate in self.path]
        trace = pd.DataFrame(rows).rename_axis("step")
        columns = [*trace.columns, "note"]
        tried = pd.DataFrame(
            [{**c.row(move, self.name), "note": c.note} for _, move, c in self.tried],
            index=pd.Index([step for step, *_ in self.tried], name="step", dtype=int),
            columns=columns,
        )
        last = self.path[-1][1]
        fit = given if last.model is self.res.model else self._results(last, report=True)
        name = self.name.upper() if isinstance(self.criterion, str) else self.name
        if isinstance(self.criterion, str) and not self.res.model.core.family.exact:
            name += " of the extended quasi-likelihood"
        return Selection(fit, trace, tried, name, direction)

    def _build(self, terms: Terms) -> Any:
        own = self.res.model
        random = {_key(term): term for term in own.own_random_terms}
        of_part = (self.space.of_part(terms - random.keys(), part) for part in PARTS)
        made = own.with_terms(*of_part, self.environment)
        kept = [term for key, term in random.items() if key in terms]
        return made if len(kept) == len(random) else made.with_random(kept)

    def _check_variables(self) -> None:
        """Raise for an unknown variable, or one with missing values, before any fit."""
        try:
            self._build(frozenset(self.space.names))
        except MissingValueError as exc:
            raise MissingValueError(
                f"scope: {str(exc).split(' in a variable')[0]} in one of its variables, and all models "
                "need the same rows; refit to the rows where no variable of the scope is missing"
            ) from exc

    def _start(self, terms: Terms) -> Candidate:
        if terms == _own(self.res).keys():
            start = self._valued(Candidate(terms, self.res.model, self.res.fit))
        else:
            start = self._candidate(terms, None)
        if start.fit is None:
            raise ValueError(f"the starting model cannot be fitted: {start.note}")
        self.known[terms] = start
        return start

    def _candidate(self, terms: Terms, current: Candidate | None) -> Candidate:
        """Return a model with its criterion, or with the reason for skipping it."""
        if terms not in self.known:
            self.known[terms] = self._fitted(Candidate(terms, self._build(terms)), current)
        return self.known[terms]

    def _fitted(self, bare: Candidate, current: Candidate | None) -> Candidate:
        model, by = bare.model, self.res.fit.criterion
        larger = current is not None and current.terms < bare.terms
        if larger and current is not None and _rank(model) == _rank(current.model):
            return _skipped(bare, "its columns depend linearly on the columns of the model")
        try:
            fit = fit_again(model, criterion=by, nodes=self.res.fit.requested_nodes)
            smaller = current.fit if larger and current is not None else None
            if current is not None and smaller is not None and fit.maximum < smaller.maximum:
                fit = refitted_from_null(model, fit, current.model, smaller)
        except (ValueError, FloatingPointError, np.linalg.LinAlgError) as exc:
            return _skipped(bare, str(exc))
        if not fit.converged:
            return _skipped(bare, f"the fit did not converge: {fit.message}")
        return self._valued(Candidate(bare.terms, model, fit))

    def _valued(self, candidate: Candidate) -> Candidate:
        """Return a fitted model with its criterion."""
        fit, model = candidate.fit, candidate.model
        assert fit is not None
        if callable(self.criterion):
            value = _number(self.criterion(self._results(candidate)), self.name)
        else:
            penalty = 2.0 if self.criterion == "aic" else np.log(model.nobs)
            value = -2 * fit.llf + penalty * _rank(model)
        if np.isnan(value):
            return _skipped(candidate, f"{self.name} is NaN")
        return Candidate(candidate.terms, model, fit, value)

    def _results(self, candidate: Candidate, report: bool = False) -> Any:
        """Return the results of a model; ``report`` adds notes and warnings, for the chosen one."""
        res, model, fit = self.res, candidate.model, candidate.fit
        assert fit is not None
        notes = []
        if report:
            notes = model.notes_on(fit)
        made = model.results_class(model, fit, notes, res.cov_type, robust_kwds(res), res.use_t)
        return model.results_class_wrapper(made)


def _number(value: Any, name: str) -> float:
    """Return the value of a criterion as a number, validated."""
    if np.ndim(value) or np.asarray(value).dtype.kind not in "biuf":
        raise ValueError(f"criterion: {name!r} returned {value!r}; return one number")
    return float(value)


def _rank(model: Any) -> int:
    """Return the number of estimated parameters."""
    return round(model.nobs - model.df_resid)


def _own(res: Any) -> dict[Key, str]:
    """Return the terms of a fit with their names, its random terms last."""
    model = res.model
    fixed = {
        (term.part, term.factors or frozenset()): term.name.removeprefix("dispersion-")
        for term in model.term_list
    }
    return fixed | {_key(term): term.text for term in model.own_random_terms}


def _key(term: ModelTerm) -> Key:
    """Return the key of a random term."""
    return term.part, frozenset({term.text})


def _skipped(candidate: Candidate, note: str) -> Candidate:
    return Candidate(candidate.terms, candidate.model, note=note)


def _is_better(value: float, than: float) -> bool:
    return value < than - TOL_ROUNDING * (1 + abs(than))
