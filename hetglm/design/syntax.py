"""Syntax of formulas, and messages for syntax of other languages."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from inspect import signature
from keyword import iskeyword
from typing import Any

import numpy as np
import patsy
import patsy.builtins
from patsy.parse_formula import parse_formula

from hetglm.exceptions import FormulaError
from hetglm.utils.messages import listed

#: The names patsy gives every formula: C, Q, bs, center, ...
PATSY_BUILTINS = {name: getattr(patsy.builtins, name) for name in patsy.builtins.__all__}
_CLOSING, _QUOTES = ")]}", "'\""
#: Largest number of columns listed in a message.
MAX_LISTED = 20

_FACTOR = "C({0}), or C({0}, Treatment('reference'))"
_SMOOTH = "bs({0}, df=5) or cr({0}, df=5); a penalised smooth is not supported"
_NUMPY = "log log10 log2 log1p expm1 exp sqrt sin cos tan sinh cosh tanh floor sign".split()
_SUMMARIES = {"mean": "mean", "median": "median", "sd": "std", "var": "var", "diff": "diff"}
#: What to write for a random effect.
RANDOM_TERM = "a random intercept of each level of g is (1 | g), a random slope of x (0 + x | g)"
#: mgcv's smooth that is a random effect: s(g, bs="re").
_RANDOM_SMOOTH = re.compile(r"\bbs\s*=\s*['\"]re['\"]")
#: Functions that stand for random effects elsewhere.
RANDOM = ("random", "re", "ranef")
#: Functions of R, Stata and their packages -> what to write here.
FUNCTIONS = {
    **{name: f"np.{name}({{0}}), with numpy imported as np" for name in _NUMPY},
    **dict.fromkeys(("ln",), "np.log({0}), with numpy imported as np"),
    **dict.fromkeys(("factor", "as.factor", "ordered", "as.ordered", "as.character"), _FACTOR),
    "relevel": "C({0}, Treatment('reference'))",
    "interaction": "a:b for the interaction of a and b",
    **dict.fromkeys(("as.numeric", "as.integer"), "{0}.astype(float)"),
    "is.na": "{0}.isna()",
    **dict.fromkeys(("s", "ti", "t2", "lo", "pb", "pbs", "cs", "pspline"), _SMOOTH),
    **dict.fromkeys(("ns", "rcs"), "cr({0}, df=4), a natural cubic spline"),
    "poly": "{0} + I({0}**2), or a spline such as bs({0}, df=4)",
    "cbind": "K + I(N - K) for K successes and N - K failures",
    "offset": "the argument offset=, a column or an array (exposure= takes the logarithm itself)",
    "exposure": "the argument exposure=, a column or an array",
    "weights": "the argument var_weights=, or freq_weights= for repeated rows",
    "cut": "pd.cut({0}, bins), with pandas imported as pd",
    "ifelse": "np.where(condition, a, b), with numpy imported as np",
    "pmin": "np.minimum(a, b), with numpy imported as np",
    "pmax": "np.maximum(a, b), with numpy imported as np",
    **dict.fromkeys(
        ("strata", "cluster"), 'fit(cov_type="cluster", cov_kwds={{"groups": "{0}"}}) for clusters'
    ),
    **{name: f"{{0}}.{here}()" for name, here in _SUMMARIES.items()},
    "lag": "{0}.shift(1)",
    "as.logical": "{0}.astype(bool)",
    "as.Date": "pd.to_datetime({0}), with pandas imported as pd",
}
#: Factor variables of Stata: i.g, ib2.g, c.x.
_STATA = re.compile(r"([ic])(?:b(\d+))?\.(\w+)")
_DOTTED = re.compile(
    rf"(?<![\w.])({'|'.join(re.escape(f) for f in FUNCTIONS if '.' in f)})\s*\(\s*([\w.]*)"
)
#: Additions to the response in brms, y | trials(n) ~ x -> what to write here.
ADDITIONS = {
    "trials": "betabinomial(..., n_trials={0}), or K + I(N - K) for the response",
    "weights": "var_weights={0}, or freq_weights={0} for repeated rows, after the formula",
    "rate": "exposure={0} after the formula",
}
#: How to give the reference level of a coding.
REFERENCES = {"C": "C({0}, Treatment({1}))", "Treatment": "Treatment({1})", "Sum": "Sum(omit={1})"}
CODINGS = ("C", "Treatment", "Sum", "Helmert", "Diff", "Poly")
REFERENCE_WORDS = ("base", "ref", "reference", "baseline", "level", "omit")
#: R's constants -> Python's.
CONSTANTS = {"TRUE": "True", "FALSE": "False", "T": "True", "F": "False", "NULL": "1"}
#: Marks of R outside function calls -> what to write here.
MARKS = {
    "^": "'^' is '**' here: (a + b)**2 for interactions, I(x**2) for a power",
    ":=": "':=' has no meaning in a formula; write '~' after the response, ':' for an interaction",
    "##": "'##' is '*' here: a*b for a + b + a:b",
    "`": "backquotes are Q('...') here, such as Q('body mass')",
    "<-": "'<-' has no meaning in a formula; write '~' after the response",
    "%in%": "'%in%' is not known here; b %in% a is a:b, and a/b is a + a:b",
    "&&": "'&&' is '&' here, inside I(): I((a > 0) & (b > 0))",
    "$": "'$' is not known here; write the name of the column alone",
    ",": "',' has no meaning between terms; write '+', and '|' before the dispersion",
    ";": "';' has no meaning between terms; write '+', and '|' before the dispersion",
    "%>%": "'%>%' is not known here; write the function around its argument",
    "%*%": "'%*%' is not known here; write a*b for a + b + a:b",
}
#: Operators of R, inside function calls too -> what to write here.
OPERATORS = {
    "%/%": "'%/%' is '//' here, inside I(): I(x // 2)",
    "%%": "'%%' is '%' here, inside I(): I(x % 2)",
}


def scan(formula: str) -> Iterator[tuple[int, str, str]]:
    """
    Yield each character outside quotes with its position and the brackets it is in.

    Brackets are a text of "g" for a parenthesis that groups terms and "c" for one of a call, an
    index or the like.
    """
    quote, stack = "", ""
    for i, char in enumerate(formula):
        if quote:
            quote = "" if char == quote and formula[i - 1] != "\\" else quote
        elif char in _QUOTES:
            quote = char
        else:
            stack = stack[:-1] if char in _CLOSING else stack
            yield i, char, stack
            if char == "(":
                before = formula[:i].rstrip()[-1:]
                stack += "c" if before.isalnum() or before in ("_", *_CLOSING, *_QUOTES) else "g"
            elif char in "[{":
                stack += "c"


def split_bar(formula: str) -> tuple[str, str | None]:
    """
    Return the mean formula and the dispersion formula of ``"y ~ x | z"``.

    Only a top-level bar splits: one inside brackets or quotes belongs to its term.

    Raises
    ------
    FormulaError
        If there are two top-level bars, or nothing on one side of one.
    """
    bars = [i for i, char, stack in scan(formula) if char == "|" and not stack]
    if not bars:
        return formula, None
    addition = re.search(r"(\w+)\s*\(\s*([^()]*?)\s*\)", formula[bars[0] : formula.find("~")])
    if addition is not None:
        raise FormulaError(
            f"{addition.group()} after the response is not supported; {_of_addition(*addition.groups())}"
        )
    if len(bars) > 1:
        raise FormulaError(
            f"formula {formula!r} has {len(bars)} bars; write 'y ~ mean | dispersion', and a random "
            "term in brackets, (1 | g)"
        )
    mean, dispersion = formula[: bars[0]].strip(), formula[bars[0] + 1 :].strip()
    if "~" not in mean or not dispersion:
        raise FormulaError(
            f"formula {formula!r}: write 'y ~ mean | dispersion', such as 'y ~ x | 1'"
        )
    return mean, dispersion


def _of_addition(name: str, given: str) -> str:
    """Return what to write instead of brms' additions to the response: y | trials(n) ~ x."""
    instead = ADDITIONS.get(name)
    value = repr(given) if given.isidentifier() else given or "..."
    return f"write {instead.format(value)}" if instead else "it has no counterpart here"


def pointed(message: str, origin: Any) -> str:
    """Return a message with the formula below it and a caret under the part it speaks of."""
    return message if origin is None else f"{message}\n{origin.caretize(indent=4)}"


def check_marks(formula: str, columns: Collection[str] = ()) -> None:
    """
    Raise a FormulaError for what is written in another language than patsy's.

    Parameters
    ----------
    formula : str
        One part, without a bar of its own.
    columns : collection of str
        Of the data, for what a dot stands for.
    """

    def refuse(message: str, start: int, end: int) -> None:
        raise FormulaError(pointed(message, patsy.Origin(formula, start, end)))

    outside = {i for i, _, stack in scan(formula) if "c" not in stack}
    for i, char, stack in scan(formula):
        if char == "|" and stack and "c" not in stack:
            start, end = brackets_around(formula, i)
            refuse(
                f"random terms such as {formula[start:end]} stand in the formula of a model only (a "
                "bitwise or is written inside a function, I(a | b))",
                start,
                len(formula) if end is None else end,
            )
    for mark, message in MARKS.items():
        for found in re.finditer(re.escape(mark), formula):
            if found.start() in outside:
                refuse(message, *found.span())
    for mark, message in OPERATORS.items():
        at = formula.find(mark)
        if at >= 0 and _unquoted(formula, at):
            refuse(message, at, at + len(mark))
    for found in _DOTTED.finditer(formula):
        if _unquoted(formula, found.start()):
            name, variable = found.groups()
            refuse(
                f"{name}() is not known here; write {FUNCTIONS[name].format(variable or 'x')}",
                *found.span(1),
            )
    for found in re.finditer(r"(?<![\w.)\]])\.(?![\w.])", formula):
        if found.start() in outside:
            names = f", such as {' + '.join(list(columns)[:MAX_LISTED])}" if columns else ""
            refuse(
                f"'.' does not stand for all columns here; write their names{names}", *found.span()
            )


def _unquoted(formula: str, position: int) -> bool:
    return any(i == position for i, _, _ in scan(formula))


def brackets_around(formula: str, position: int) -> tuple[int, int | None]:
    """Return where the innermost brackets around a position open, and have closed (None: never)."""
    scanned = list(scan(formula))
    depth = next(len(stack) for i, _, stack in scanned if i == position) - 1
    level = [(i, char) for i, char, stack in scanned if len(stack) == depth]
    start = max(i for i, char in level if char in "([{" and i < position)
    ends = [i + 1 for i, char in level if char in _CLOSING and i > position]
    return start, ends[0] if ends else None


def check_response(formula: str) -> None:
    """
    Raise a FormulaError where the left-hand side is more than a sum of variables and expressions.

    Patsy reads ``K/N`` there as the columns K and K:N, and ``y**2`` as y.
    """
    tree = parse_formula(formula)
    if tree.type != "~" or len(tree.args) != 2:
        return
    left = tree.args[0]
    text = left.origin.relevant_code()
    summands = list(_summands(left))
    for node in summands:
        if node.type != "PYTHON_EXPR":
            raise FormulaError(pointed(_instead(node), node.origin))
    names = [node.token.extra for node in summands]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormulaError(
            pointed(f"response: {text!r} has {twice!r} twice; write it once", left.origin)
        )


def _summands(node: Any) -> Iterator[Any]:
    if node.type == "+" and len(node.args) == 2:
        for part in node.args:
            yield from _summands(part)
    else:
        yield node


def _instead(node: Any) -> str:
    code = node.origin.relevant_code()
    if node.type == "~":
        return "'~' stands once, after the response; write '|' before the dispersion"
    bare = without_brackets(code).replace(":", "*")
    said = f"response: {code!r} is read as terms of a formula, not as arithmetic; write I({bare})"
    return said + {
        "/": " with n_trials= for a proportion, or K + I(N - K) for successes and failures",
        "-": ", or K + I(N - K) for successes and failures",
    }.get(node.type, "")


def without_brackets(code: str) -> str:
    """Return an expression without brackets, or an I(), around the whole of it."""
    inner = code.removeprefix("I")
    if not (inner.startswith("(") and inner.endswith(")")):
        return code
    try:
        ast.parse(inner[1:-1], mode="eval")
    except SyntaxError:  # (a)/(b)
        return code
    return inner[1:-1]


def names(code: str) -> tuple[set[str], set[str]]:
    """
    Return the names a factor's code calls and those it reads as variables.

    Raises
    ------
    FormulaError
        If it is no Python, or has ``x^2`` for a power.
    """
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError as exc:
        raise FormulaError(
            f"cannot read the term {code!r} of the formula: {exc.msg.partition('.')[0]}; a column "
            "whose name is not a Python name is written Q('name')"
        ) from exc
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    functions = {id(call.func): call.func.id for call in calls if isinstance(call.func, ast.Name)}
    own = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}  # of comprehensions and lambdas
    read = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in functions} - own
    for call in calls:
        quoted = functions.get(id(call.func)) == "Q" and call.args
        if quoted and isinstance(call.args[0], ast.Constant):
            read.add(str(call.args[0].value))
    return set(functions.values()), read


def as_it_stands(code: str) -> str | None:
    """Return the variable whose values a factor's levels are, or None where it is x > 0 or the like."""
    return _as_it_stands(ast.parse(code, mode="eval").body)


def _as_it_stands(node: ast.expr) -> str | None:
    """Return the variable whose values a factor's levels are, or None where it is x > 0 or the like."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):  # C(year - 2000)
        sides = [side for side in (node.left, node.right) if not isinstance(side, ast.Constant)]
        return _as_it_stands(sides[0]) if len(sides) == 1 else None
    if not isinstance(node, ast.Call):
        return None
    given = node.args[:1] + [k.value for k in node.keywords if k.arg in ("name", "data")]
    if isinstance(node.func, ast.Attribute):  # g.astype(str)
        return _as_it_stands(node.func.value) if node.func.attr == "astype" else None
    if not isinstance(node.func, ast.Name) or not given:
        return None
    if node.func.id == "Q" and isinstance(given[0], ast.Constant):
        return str(given[0].value)
    return _as_it_stands(given[0]) if node.func.id == "C" else None


def levels_argument(node: ast.expr) -> ast.List | ast.Tuple | None:
    """Return the list written as the levels of C(), None where there is none."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    given = [k.value for k in node.keywords if k.arg == "levels"] + node.args[2:3]
    written = node.func.id == "C" and given and isinstance(given[0], (ast.List, ast.Tuple))
    return given[0] if written else None  # type: ignore[return-value]


def levels_written(code: str) -> tuple[Any, ...] | None:
    """Return the levels that C() of a factor's code is given as a list of constants, or None."""
    given = levels_argument(ast.parse(code, mode="eval").body)
    try:
        return None if given is None else tuple(ast.literal_eval(given))
    except ValueError:  # made of names
        return None


def check_readable(factor: Any, columns: Collection[str]) -> None:
    """
    Raise a FormulaError for a factor that is no Python, such as a column with a space in its name.

    Parameters
    ----------
    factor : patsy.EvalFactor
    columns : collection of str
        Of the data.
    """
    try:
        names(factor.code)
    except FormulaError as exc:
        joined = factor.code.replace(" ", "")
        same = [column for column in columns if column.replace(" ", "") == joined]
        what = str(exc)
        if same:
            what = f"column {same[0]!r}: its name is not a Python name; write Q({same[0]!r})"
        raise FormulaError(pointed(what, factor.origin)) from exc


def check_factor(factor: Any, columns: Collection[str], known: Collection[str]) -> None:
    """
    Raise a FormulaError for a factor that names what neither the data nor the caller has.

    Parameters
    ----------
    factor : patsy.EvalFactor
    columns : collection of str
        Of the data.
    known : collection of str
        Names outside the data: the caller's and patsy's.
    """
    message = _fault(factor.code, columns, known)
    if message is not None:
        raise FormulaError(pointed(message, factor.origin))


def _fault(code: str, columns: Collection[str], known: Collection[str]) -> str | None:
    body = ast.parse(code, mode="eval").body
    if isinstance(body, ast.Constant):
        return f"{code} is a constant, not a variable; write '1' for a constant part"
    if code == "Intercept":
        return "'Intercept' is the name of the constant; rename the column"
    for node in ast.walk(body):
        coding = _coding_fault(node)
        if coding is not None:
            return coding
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "te":
            if "te" in PATSY_BUILTINS and all(isinstance(arg, ast.Name) for arg in node.args):
                return (
                    "te() takes bases here, such as te(cr(x, df=4), cr(z, df=4)); it is no smooth"
                )
        if isinstance(node, ast.Compare) and any(map(_joins, (node.left, *node.comparators))):
            return "'&' and '|' bind before '>' in Python; write brackets: (a > 0) & (b > 0)"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
            sides = (node.left, node.right)
            if any(isinstance(s, ast.Constant) and not isinstance(s.value, bool) for s in sides):
                return "'^' is no power in Python; write '**', such as I(x**2)"
    called, read = names(code)
    python = set(dir(builtins))
    for name in sorted(called - set(columns) - set(known) - python, key=code.index):
        return _unknown_function(name, code, known)
    alone = isinstance(body, ast.Name)
    for name in sorted(read - set(columns) - set(known)):
        if alone or name not in python:
            return _unknown_column(name, code, columns)
    return None


def _coding_fault(node: ast.AST) -> str | None:
    """Return what to write for an argument that C() or a coding of it does not have, as C(g, base=1)."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    name = node.func.id
    if name not in CODINGS:
        return None
    accepted = list(signature(PATSY_BUILTINS[name]).parameters)
    wrong = next((k for k in node.keywords if k.arg and k.arg not in accepted), None)
    if wrong is None:
        return None
    said = f"{name}() has no argument {wrong.arg!r}"
    if wrong.arg in REFERENCE_WORDS and name in REFERENCES:
        variable = ast.unparse(node.args[0]) if node.args else "g"
        number = isinstance(wrong.value, ast.Constant) and not isinstance(wrong.value.value, str)
        is_index = wrong.arg == "base" and number
        level = "'reference'" if is_index else ast.unparse(wrong.value)  # R's base=2 is an index
        return f"{said}; write {REFERENCES[name].format(variable, level)}"
    if name == "C":
        return f"{said}; write C(g, Sum) for a coding, C(g, levels=[...]) for an order of levels"
    return f"{said}; it takes {listed(accepted) or 'none'}"


def _joins(node: ast.expr) -> bool:
    """Return whether this is 0 & x, as in x > 0 & y > 1: brackets are missing."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.BitAnd, ast.BitOr))
        and any(isinstance(side, ast.Constant) for side in (node.left, node.right))
    )


def _unknown_function(name: str, code: str, known: Iterable[str]) -> str:
    if name in RANDOM or (name == "s" and _RANDOM_SMOOTH.search(code)):
        return f"{name}() is not known here; {RANDOM_TERM}"
    if name in FUNCTIONS:
        given = re.search(rf"\b{name}\(\s*([\w.]+)", code)
        variable = given.group(1) if given else "x"
        return f"{name}() is not known here; write {FUNCTIONS[name].format(variable)}"
    near = did_you_mean(name, [*PATSY_BUILTINS, *known])
    return f"function {name!r} is not known where the formula is written{near}"


def _unknown_column(name: str, code: str, columns: Collection[str]) -> str:
    if name in ("np", "pd"):
        module = {"np": "numpy", "pd": "pandas"}[name]
        return (
            f"{name!r} is not known where the formula is written; import {module} as {name} there"
        )
    stata = _STATA.fullmatch(code)
    if stata is not None:
        prefix, base, column = stata.groups()
        return _of_stata(prefix, base, column, columns)
    if name == "contr":
        return "contrasts are Treatment, Sum, Helmert, Poly and Diff here, such as C(g, Sum)"
    if name in CONSTANTS:
        return f"column {name!r} not found; in Python it is {CONSTANTS[name]}"
    dotted = [c for c in columns if c.startswith(f"{name}.") and c in code.replace(" ", "")]
    if dotted:
        return f"column {name!r} not found; write Q({max(dotted, key=len)!r}) for the column"
    return f"column {name!r} not found{_nearest_of_all(name, columns, True)}"


def _of_stata(prefix: str, base: str | None, name: str, columns: Collection[str]) -> str:
    """Return what to write for a factor variable of Stata: i.g, ib2.g, c.x."""
    if name not in columns:
        return unknown_column(name, columns)
    reference = f", Treatment({base})" if base else ""
    written = name if prefix == "c" else f"C({name}{reference})"
    return f"'{prefix}{'b' * bool(base)}{base or ''}.{name}' is not known here; write {written}"


def unknown_column(name: str, columns: Collection[str]) -> str:
    """Return the message for an unknown column, with the nearest name and all names."""
    return f"column {name!r} not found{_nearest_of_all(name, columns)}"


def not_a_column(argument: str, name: str, columns: Iterable[Any]) -> str:
    """Return the message for an argument that names no column, with the nearest and all names."""
    said = f"{argument}={name!r} is not a column of the data"
    return f"{said}{_nearest_of_all(name, list(map(str, columns)))}"


def _nearest_of_all(name: str, columns: Collection[str], in_formula: bool = False) -> str:
    there = listed(list(columns), MAX_LISTED) or "none"
    return f"{did_you_mean(name, columns, '. Columns', in_formula)}: {there}"


def did_you_mean(name: str, names: Iterable[str], then: str = "", in_formula: bool = False) -> str:
    """
    Return '; did you mean 'tissue'?' for the nearest of the names, nothing if none is near.

    Parameters
    ----------
    name : str
    names : iterable of str
    then : str
        What follows, ". Columns" or "; coefficients": a space and its word after the question mark.
    in_formula : bool
        Whether the name is to be written in a formula: Q('body mass').
    """
    folded = {str(other).casefold(): str(other) for other in names}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    if not near:
        return then
    found = folded[near[0]]
    bare = not in_formula or (found.isidentifier() and not iskeyword(found))
    written = repr(found) if bare else f"Q({found!r})"
    word = then.lstrip(".; ")
    return f"; did you mean {written}?{' ' * bool(word)}{word[:1].upper()}{word[1:]}"


def named_terms(formula: str, name: str) -> dict[frozenset[str], str]:
    """
    Return the terms of a one-sided formula: what each is made of (a constant of nothing), and its name.

    Parameters
    ----------
    formula : str
        ``"~ a * b"``.
    name : str
        Name of the argument, for the message.

    Raises
    ------
    FormulaError
        If it cannot be read or has a left-hand side.
    """
    text = formula.strip()
    check_marks(text)
    try:
        described = patsy.ModelDesc.from_formula(text if "~" in text else f"~ {text}")
    except patsy.PatsyError as exc:
        raise FormulaError(f"{name}: cannot read {formula!r}: {exc}") from exc
    if described.lhs_termlist:
        raise FormulaError(f"{name}: {formula!r} has a left-hand side; write '~ a + b'")
    return {frozenset(f.name() for f in t.factors): t.name() for t in described.rhs_termlist}


def two_parts(formula: Any, dispersion_formula: Any) -> tuple[str, str]:
    """
    Return both parts of a formula, the dispersion's with its tilde; a constant where there is none.

    Raises
    ------
    FormulaError
        If one is not a str, or the dispersion is given twice.
    """
    order = "the order is formula, data, exog_dispersion_formula"
    if not isinstance(formula, str):
        raise FormulaError(
            f"formula must be a str such as 'y ~ x | z', not {type(formula).__name__}; {order}"
        )
    if not isinstance(dispersion_formula, (str, type(None))):
        raise FormulaError(
            "exog_dispersion_formula must be a str such as '~ z', not "
            f"{type(dispersion_formula).__name__}; {order}, and all others by name"
        )
    mean, after_bar = split_bar(formula)
    if after_bar is not None and dispersion_formula is not None:
        raise FormulaError(
            f"formula {formula!r} has a bar and exog_dispersion_formula={dispersion_formula!r} is "
            "given too; write the dispersion part once"
        )
    dispersion = after_bar if after_bar is not None else dispersion_formula
    dispersion = "1" if dispersion is None else dispersion.strip()
    return mean, dispersion if dispersion.startswith("~") else f"~ {dispersion}"


def term_lists(mean: str, dispersion: str, columns: Collection[str] = ()) -> list[Any]:
    """
    Return patsy's terms of the response, the mean and the dispersion.

    Raises
    ------
    FormulaError
        If a part cannot be read, lacks a side or has one too many.
    """
    check_marks(mean, columns)
    check_marks(dispersion, columns)
    try:
        check_response(mean)
        first, second = patsy.ModelDesc.from_formula(mean), patsy.ModelDesc.from_formula(dispersion)
    except patsy.PatsyError as exc:
        arithmetic = "only allowed with **"
        said = str(exc).replace(arithmetic, f"{arithmetic}; write arithmetic in I(), as I(2 * x)")
        raise FormulaError(f"cannot read the formula: {said}") from exc
    if not first.lhs_termlist:
        raise FormulaError(f"formula {mean!r} has no response; write 'y ~ ...'")
    if second.lhs_termlist:
        raise FormulaError(f"dispersion formula {dispersion!r} has a left-hand side; write '~ z'")
    return [first.lhs_termlist, first.rhs_termlist, second.rhs_termlist]


def linear_constraint(text: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """
    Return (coefficients, values) of linear hypotheses written as a string.

    Raises
    ------
    FormulaError
        If the string cannot be read or names an unknown coefficient.
    """
    if not text.strip():
        raise FormulaError("the hypothesis is empty; write such as 'x = 0'")
    try:
        constraint = patsy.DesignInfo(names).linear_constraint(text)
    except patsy.PatsyError as exc:
        unknown = _unknown_coefficient(text, names)
        said = _reason(exc) if unknown is None else f"there is no coefficient {unknown!r}"
        if "==" in text:
            said = "write '=' once, as in 'x = 0'"
        then = "; coefficients"
        near = then if unknown is None else did_you_mean(unknown, names, then)
        raise FormulaError(
            f"cannot read the hypothesis {text!r}: {said}{near}: {listed(names, MAX_LISTED)}"
        ) from exc
    return constraint.coefs, constraint.constants[:, 0]


def _unknown_coefficient(text: str, names: Iterable[str]) -> str | None:
    """Return the first word of a hypothesis that is not a coefficient."""
    for name in sorted(names, key=len, reverse=True):
        alone = rf"(?<![\w\].\[:])(?<!dispersion-){re.escape(name)}(?![\w\[.:])"
        text = re.sub(alone, " 0 ", text)
    found = re.search(r"[A-Za-z_][\w.:-]*(\[[^\]]*\]|\([^)]*\))*[\w.:-]*", text)
    return None if found is None else found.group().rstrip("-.:")


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "message", exc)).strip()


def evaluation_fault(exc: Exception, hint: str = "", caret: bool = True) -> str:
    """Return patsy's message with the term it speaks of, and the formula below it."""
    origin = getattr(exc, "origin", None)
    message = f"{_reason(exc)}{hint}"
    if origin is None:
        return message
    message = f"in {origin.relevant_code()!r}: {message}"
    return pointed(message, origin) if caret else message
