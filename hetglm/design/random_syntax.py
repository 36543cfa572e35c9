"""Random terms of formulas, as lme4 and brms write them: (x | g), (x || g), (1 |p| a/b)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, NoReturn

import patsy

from hetglm.design import syntax
from hetglm.exceptions import FormulaError

PARTS = ("mean", "dispersion")
#: Covariance structures of glmmTMB and others that have a counterpart -> how its bar is written.
_COUNTERPARTS = {"us": "|", "gr": "|", "diag": "||"}
#: Covariance structures, written as a call around a random term, that have none.
_STRUCTURES = (
    *("ar1", "hetar1", "ou", "cs", "homcs", "homdiag", "toep", "homtoep", "exp", "mat", "gau"),
    *("rr", "propto", "equalto", "car1", "mm", "gp"),
)
_CALL = re.compile(rf"(?<![\w.])({'|'.join((*_COUNTERPARTS, *_STRUCTURES))})\s*\(")
#: Functions around a grouping variable that make a factor of it elsewhere.
_FACTORS = ("C", "factor", "as.factor", "gr", "Categorical", "pd.Categorical")
#: Marks between grouping variables of which something can be made -> what to write, with the left
#: side and the two variables.
_BETWEEN = {
    "+": "({0} | {1}) + ({0} | {2})",
    "*": "({0} | {1}) + ({0} | {2}) + ({0} | {1}:{2})",
}


@dataclass(frozen=True)
class WrittenTerm:
    """
    A random term of a formula.

    Attributes
    ----------
    part : {"mean", "dispersion"}
    left : str
        What varies between groups, such as ``"1"`` or ``"0 + x"``.
    groups : tuple of str
        Columns whose combinations are the groups: one, or several of an interaction.
    correlated : bool
    label : str or None
    """

    part: str
    left: str
    groups: tuple[str, ...]
    correlated: bool = True
    label: str | None = None

    @property
    def name(self) -> str:
        """Name of the grouping variable, such as ``"a:b"``."""
        return ":".join(self.groups)

    @property
    def text(self) -> str:
        """The term as it is written."""
        bar = "|" if self.label is None else f"|{self.label}|"
        right = ":".join(map(_quoted, self.groups))
        return f"({self.left} {bar if self.correlated else '||'} {right})"


def _quoted(name: str) -> str:
    return name if name.isidentifier() and not iskeyword(name) else f"Q({name!r})"


def take_out(formula: str, part: str) -> tuple[str, list[WrittenTerm]]:
    """
    Return one part of a formula without its random terms, and these.

    Parameters
    ----------
    formula : str
        With its tilde: ``"y ~ x + (1 | g)"``. Where only random terms are left, a constant is.
    part : {"mean", "dispersion"}

    Raises
    ------
    FormulaError
        If a random term cannot be read, or is not a term beside others.
    """
    _check_structures(formula)
    found: list[WrittenTerm] = []
    while (bar := _first_bar(formula)) is not None:
        start, end = syntax.brackets_around(formula, bar)
        fail = _failure(formula, start, end)
        if end is None:
            fail(f"{formula[start:]!r} has no closing bracket; write such as (1 | g)")
        before, after = formula[:start].rstrip(), formula[end:].lstrip()
        _check_beside(formula, start, before, after, fail)
        found += _read(formula[start + 1 : end - 1], part, fail)
        formula = _without(before, after)
    return formula, found


def _first_bar(formula: str) -> int | None:
    """Return the position of the first bar in brackets that are not those of a call."""
    inside = (i for i, char, stack in syntax.scan(formula) if char == "|" and set(stack) == {"g"})
    return next(inside, None)


def _failure(formula: str, start: int, end: int | None) -> Callable[[str], NoReturn]:
    """Return a function that raises a FormulaError with a caret under a term."""
    origin = patsy.Origin(formula, start, len(formula) if end is None else end)

    def fail(message: str) -> NoReturn:
        raise FormulaError(syntax.pointed(message, origin))

    return fail


def _check_structures(formula: str) -> None:
    """Raise a FormulaError for a covariance structure: ar1(0 + x | g)."""
    for found in _CALL.finditer(formula):
        inner = found.end()
        bars = [i for i, c, stack in syntax.scan(formula) if c == "|" and i >= inner and stack]
        if not bars or syntax.brackets_around(formula, bars[0])[0] != inner - 1:
            continue
        end = syntax.brackets_around(formula, bars[0])[1]
        name, fail = found.group(1), _failure(formula, found.start(), end)
        if name in _COUNTERPARTS:
            left, right = formula[inner : bars[0]].strip(), formula[bars[0] + 1 : end and end - 1]
            bar = _COUNTERPARTS[name]
            fail(f"{name}() is not known here; write ({left} {bar} {right.strip('| ')})")
        fail(
            f"the covariance structure {name}() is not available; (x | g) has an unstructured "
            "covariance matrix, (x || g) a diagonal one"
        )


def _check_beside(
    formula: str, start: int, before: str, after: str, fail: Callable[[str], NoReturn]
) -> None:
    """Fail unless a term at a position is a summand of its part."""
    if any(i == start and stack for i, _, stack in syntax.scan(formula)):
        fail(
            "a random term has one pair of brackets and stands outside of others: x + (1 | g) (a "
            "bitwise or is written inside a function, I(a | b))"
        )
    if "~" in after:
        fail("a random term stands to the right of '~', such as y ~ x + (1 | g)")
    if before[-1:] not in ("", "~", "+") or after[:1] not in ("", "+", "-"):
        fail(
            "a random term is added to the others with '+', such as x + (1 | g); for a slope that "
            "varies between groups write (x | g)"
        )


def _without(before: str, after: str) -> str:
    """Return what is left of a part when a term between two others is taken out."""
    if before.endswith("+"):
        left = f"{before[:-1].rstrip()} {after}"
    else:
        left = f"{before} {after.removeprefix('+').lstrip()}"
    left = left.rstrip()
    return f"{left} 1".lstrip() if left[-1:] in ("", "~") else left


def _read(inside: str, part: str, fail: Callable[[str], NoReturn]) -> list[WrittenTerm]:
    """Return the terms of ``"x | a/b"``, what is between the brackets."""
    bars = [i for i, char, stack in syntax.scan(inside) if char == "|" and not stack]
    left, right = inside[: bars[0]].strip(), inside[bars[-1] + 1 :].strip()
    between = inside[bars[0] + 1 : bars[-1]]
    label, adjacent = between.strip() or None, len(bars) == 2 and not between
    if not left:
        fail(f"nothing on the left of the bar; write (1 | {right or 'g'}) for a random intercept")
    if not right:
        fail(f"no grouping variable on the right of the bar; write ({left} | g)")
    if len(bars) > 2 or (len(bars) == 2 and not adjacent and not (label or "").isidentifier()):
        fail(
            f"write ({left} | g), ({left} || g) without correlations, or ({left} |p| g) with a label"
        )
    return [
        WrittenTerm(part, left, names, not adjacent, label)
        for names in _groupings(left, right, fail)
    ]


def _groupings(left: str, right: str, fail: Callable[[str], NoReturn]) -> list[tuple[str, ...]]:
    """Return the variables of each grouping: a/b is a, and b within a."""
    for mark, instead in _BETWEEN.items():
        parts = _split(right, mark)
        if len(parts) > 1 and all(parts) and "**" not in right:
            fail(
                f"'{mark}' does not stand between grouping variables; write "
                f"{instead.format(left, parts[0], mark.join(parts[1:]))}"
            )
    made: list[tuple[str, ...]] = []
    for nested in _split(right, "/"):
        names = tuple(_variable(text, left, fail) for text in _split(nested, ":"))
        made.append((*(made[-1] if made else ()), *names))
    if len(set(made[-1])) < len(made[-1]):
        fail(f"{right!r} has a grouping variable twice")
    return made


def _split(text: str, mark: str) -> list[str]:
    """Return the parts between marks that are outside brackets and quotes."""
    text = text[1:-1] if _is_bracketed(text) else text
    cuts = [i for i, char, stack in syntax.scan(text) if char == mark and not stack]
    edges = zip([0, *(i + 1 for i in cuts)], [*cuts, len(text)], strict=True)
    return [text[a:b].strip() for a, b in edges]


def _is_bracketed(text: str) -> bool:
    """Return whether one pair of brackets is around the whole of a text."""
    outside = [char for _, char, stack in syntax.scan(text) if not stack]
    return text.startswith("(") and "".join(outside) == "()"


def _variable(text: str, left: str, fail: Callable[[str], NoReturn]) -> str:
    """Return the column that a grouping variable is: its name, or Q('name')."""
    if text.isidentifier() and not iskeyword(text):
        return text
    quoted = re.fullmatch(r"Q\(\s*(.+?)\s*\)", text)
    if quoted is not None:
        try:
            return str(ast.literal_eval(quoted.group(1)))
        except (ValueError, SyntaxError):
            pass
    call = re.fullmatch(r"([\w.]+)\(\s*([\w.]+)[^()]*\)", text)
    if call is not None and call.group(1) in _FACTORS:
        fail(
            f"the values of a grouping variable are levels as they are; write ({left} | "
            f"{call.group(2)})"
        )
    interaction = re.fullmatch(r"interaction\(\s*([\w.]+)\s*,\s*([\w.]+)\s*\)", text)
    if interaction is not None:
        fail(f"write ({left} | {':'.join(interaction.groups())})")
    if re.fullmatch(r"[A-Za-z]\w*(\.\w+)+", text):
        fail(f"{text!r} is not a Python name; write ({left} | Q({text!r}))")
    fail(
        f"the grouping variable {text!r} is not a column; make one, as in data['g'] = ..., and write "
        f"({left} | g), ({left} | g:h) for an interaction, ({left} | g/h) for h within g"
    )


def left_side(term: WrittenTerm, columns: Collection[str] = ()) -> Any:
    """
    Return patsy's terms of what varies between groups.

    Raises
    ------
    FormulaError
        If it cannot be read or has no terms.
    """
    try:
        syntax.check_marks(term.left, columns)
        described = patsy.ModelDesc.from_formula(f"~{term.left}")
    except (FormulaError, patsy.PatsyError) as exc:
        raise FormulaError(f"in the random term {term.text}: {exc}") from exc
    if described.lhs_termlist or not described.rhs_termlist:
        raise FormulaError(
            f"{term.text} has no columns; write (1{term.text.removeprefix('(' + term.left)} for an "
            "intercept of each group"
        )
    for factor in {factor for of in described.rhs_termlist for factor in of.factors}:
        at = factor.origin  # "~" is where the term has its bracket
        factor.origin = patsy.Origin(term.text, at.start, at.end)
    return described.rhs_termlist


def check_groups(
    terms: Iterable[WrittenTerm], columns: Collection[str], response: Iterable[Any]
) -> None:
    """
    Raise a FormulaError for a grouping variable that is no column, or is the response.

    Parameters
    ----------
    terms : iterable of WrittenTerm
    columns : collection of str
        Of the data.
    response : iterable of patsy.EvalFactor
        Factors of the left-hand side.
    """
    endog = {syntax.as_it_stands(factor.code) for factor in response}
    for term in terms:
        for name in term.groups:
            if name not in columns:
                raise FormulaError(f"{term.text}: {syntax.unknown_column(name, columns)}")
            if name in endog:
                raise FormulaError(
                    f"{term.text}: {name!r} is the response; write the column that says which group "
                    "a row belongs to"
                )
