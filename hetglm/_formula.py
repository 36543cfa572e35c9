"""Two-part formulas: the only file that touches patsy."""

from __future__ import annotations

import ast
import pickle
import types
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd
import patsy
import patsy.builtins

from hetglm._arrays import check_index, numeric
from hetglm.exceptions import FormulaError, MissingValueError

#: The names patsy gives every formula: C, Q, bs, center, ...
PATSY_BUILTINS = {name: getattr(patsy.builtins, name) for name in patsy.builtins.__all__}
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "'\""


def split_bar(formula: str) -> tuple[str, str | None]:
    """
    Return the mean formula and the dispersion formula of ``"y ~ x | z"``.

    Only a top-level bar splits: one inside brackets or quotes belongs to its term.

    Raises
    ------
    FormulaError
        If there are two top-level bars, or nothing on one side of one.
    """
    bars = list(_top_level_bars(formula))
    if not bars:
        return formula, None
    if len(bars) > 1:
        raise FormulaError(
            f"formula {formula!r} has {len(bars)} bars; write 'y ~ mean | dispersion'"
        )
    mean, dispersion = formula[: bars[0]].strip(), formula[bars[0] + 1 :].strip()
    if "~" not in mean or not dispersion:
        raise FormulaError(
            f"formula {formula!r}: write 'y ~ mean | dispersion', such as 'y ~ x | 1'"
        )
    return mean, dispersion


def _top_level_bars(formula: str) -> Iterator[int]:
    depth, quote = 0, ""
    for i, char in enumerate(formula):
        if quote:
            quote = "" if char == quote and formula[i - 1] != "\\" else quote
        elif char in _QUOTES:
            quote = char
        elif char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif char == "|" and depth == 0:
            yield i


def _names(code: str) -> tuple[set[str], set[str]]:
    """Return the names a factor's code calls and those it reads as variables."""
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError as exc:
        raise FormulaError(f"cannot read the term {code!r} of the formula: {exc.msg}") from exc
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    functions = {id(call.func): call.func.id for call in calls if isinstance(call.func, ast.Name)}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in functions}
    for call in calls:
        quoted = functions.get(id(call.func)) == "Q" and call.args
        if quoted and isinstance(call.args[0], ast.Constant):
            read.add(str(call.args[0].value))
    return set(functions.values()), read


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


@dataclass
class Design:
    """
    One side of a formula: builds its columns from new data, and pickles without the old data.

    Attributes
    ----------
    info : patsy.DesignInfo
        The design with its memorised transforms.
    left_out : tuple of str
        Columns of the formula that are not in the design.
    """

    info: patsy.DesignInfo
    left_out: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [name for name in self.info.column_names if name not in self.left_out]

    @property
    def terms(self) -> dict[str, list[int]]:
        """Columns of each term, by the term's name, as positions in the design."""
        position = {name: i for i, name in enumerate(self.columns)}
        names = {t.name(): self.info.column_names[s] for t, s in self.info.term_slices.items()}
        return {t: [position[c] for c in cs if c in position] for t, cs in names.items()}

    @property
    def factors(self) -> dict[str, frozenset[str]]:
        """What each term is the interaction of, by the term's name; nothing for a constant."""
        return {t.name(): frozenset(f.name() for f in t.factors) for t in self.info.terms}

    @property
    def categories(self) -> set[str]:
        """Variables whose values are the levels of a factor: g, Q('g') or C(g, ...), not I(g > 0)."""
        infos = (info for info in self.info.factor_infos.values() if info.type == "categorical")
        trees = (ast.parse(info.factor.code, mode="eval").body for info in infos)
        return {name for name in map(_as_it_stands, trees) if name is not None}

    @property
    def variables(self) -> set[str]:
        """Names the design reads as variables, from the data or the caller."""
        return set().union(*(_names(factor.code)[1] for factor in self.info.factor_infos))

    def variables_of(self, columns: Iterable[str]) -> set[str]:
        """Return the variables in the terms that some columns of the design belong to."""
        wanted, names = set(columns), self.info.column_names
        terms = [t for t, s in self.info.term_slices.items() if wanted & set(names[s])]
        return {name for t in terms for f in t.factors for name in _names(f.code)[1]}

    def coding(self, name: str) -> tuple[list[Any], np.ndarray]:
        """
        Return the levels of a categorical term, and the row of the design that each has.

        Raises
        ------
        ValueError
            For an unknown term, or one that is not a single factor.
        """
        terms = {term.name(): term for term in self.info.terms}
        if name not in terms or len(terms[name].factors) != 1:
            raise ValueError(
                f"{name!r} is not a term of one factor: choose from {', '.join(terms)}"
            )
        factor = terms[name].factors[0]
        info = self.info.factor_infos[factor]
        if info.type != "categorical":
            raise ValueError(f"{name!r} is a number, not a factor with levels to compare")
        (subterm,) = self.info.term_codings[terms[name]]
        return list(info.categories), np.asarray(subterm.contrast_matrices[factor].matrix)

    def build(self, data: pd.DataFrame) -> pd.DataFrame:
        """
        Return the design on new data; rows with missing values are NaN.

        Raises
        ------
        FormulaError
            If a variable is not in the data, or a level was not seen at the fit.
        """
        read_names = self.variables
        numbered = _plain(data[[c for c in data.columns if c in read_names]])
        numbered = numbered.reset_index(drop=True)
        try:
            (matrix,) = patsy.build_design_matrices(
                [self.info], numbered, NA_action="drop", return_type="dataframe"
            )
        except (patsy.PatsyError, NameError, KeyError) as exc:
            raise FormulaError(f"new data: {_words(exc)}") from exc
        if not self.info.column_names or not self.info.factor_infos:
            # an intercept alone has no variable from which patsy could see the rows
            matrix = pd.DataFrame(1.0, index=numbered.index, columns=self.info.column_names)
        return matrix[self.columns].reindex(numbered.index).set_axis(data.index)

    def __getstate__(self) -> dict[str, Any]:
        """Return the design without frames or patsy objects, which do not pickle."""
        info = self.info
        return {
            "columns": list(info.column_names),
            "left_out": self.left_out,
            "factors": [_freeze_factor(f, fi) for f, fi in info.factor_infos.items()],
            "terms": [
                ([f.code for f in term.factors], [_freeze_subterm(s) for s in subterms])
                for term, subterms in info.term_codings.items()
            ],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the patsy design."""
        factors = {f["code"]: _thaw_factor(f) for f in state["factors"]}
        by_code = {code: info.factor for code, info in factors.items()}
        codings = {
            patsy.Term([by_code[c] for c in codes]): [_thaw_subterm(s, by_code) for s in subterms]
            for codes, subterms in state["terms"]
        }
        infos = {info.factor: info for info in factors.values()}
        self.left_out = state["left_out"]
        self.info = patsy.DesignInfo(state["columns"], infos, OrderedDict(codings))


def _freeze_factor(factor: Any, info: Any) -> dict[str, Any]:
    state = info.state
    calls, read = _names(factor.code)
    env = {
        n: state["eval_env"].namespace[n] for n in calls | read if n in state["eval_env"].namespace
    }
    return {
        "code": factor.code,
        "type": info.type,
        "num_columns": info.num_columns,
        "categories": info.categories,
        "eval_code": state["eval_code"],
        "transforms": {n: (type(t), dict(vars(t))) for n, t in state["transforms"].items()},
        "env": {n: _freeze_value(n, v) for n, v in env.items() if PATSY_BUILTINS.get(n) is not v},
    }


def _freeze_value(name: str, value: Any) -> Any:
    if isinstance(value, types.ModuleType):
        return _Module(value.__name__)
    try:
        pickle.dumps(value)
    except Exception as exc:
        raise pickle.PicklingError(
            f"the formula uses {name!r}, which cannot be pickled; define it at the top level of a module"
        ) from exc
    return value


@dataclass(frozen=True)
class _Module:
    name: str


def _thaw_factor(frozen: dict[str, Any]) -> Any:
    transforms = {}
    for name, (cls, attributes) in frozen["transforms"].items():
        transforms[name] = object.__new__(cls)
        transforms[name].__dict__.update(attributes)
    env = {
        n: import_module(v.name) if isinstance(v, _Module) else v for n, v in frozen["env"].items()
    }
    state = {
        "transforms": transforms,
        "eval_code": frozen["eval_code"],
        "eval_env": patsy.EvalEnvironment([env, PATSY_BUILTINS]),
    }
    code = frozen["code"]
    factor = patsy.EvalFactor(code, origin=patsy.Origin(code, 0, len(code)))
    return patsy.design_info.FactorInfo(
        factor,
        frozen["type"],
        state,
        num_columns=frozen["num_columns"],
        categories=frozen["categories"],
    )


def _freeze_subterm(subterm: Any) -> Any:
    contrasts = {
        f.code: (np.asarray(c.matrix), list(c.column_suffixes))
        for f, c in subterm.contrast_matrices.items()
    }
    return [f.code for f in subterm.factors], contrasts, subterm.num_columns


def _thaw_subterm(frozen: Any, by_code: Mapping[str, Any]) -> Any:
    codes, contrasts, num_columns = frozen
    matrices = {by_code[c]: patsy.ContrastMatrix(m, s) for c, (m, s) in contrasts.items()}
    return patsy.design_info.SubtermInfo([by_code[c] for c in codes], matrices, num_columns)


@dataclass(frozen=True)
class TwoPartFormula:
    """
    The designs of a fitted formula, kept for prediction.

    Attributes
    ----------
    formula, dispersion_formula : str
        Both parts as written.
    endog, mean, dispersion : Design
        Left-hand side and the two right-hand sides.
    columns : dict
        Array argument -> column name, for those given by name.
    """

    formula: str
    dispersion_formula: str
    endog: Design
    mean: Design
    dispersion: Design
    columns: dict[str, str]

    def trials(self, data: pd.DataFrame) -> np.ndarray | None:
        """Return the trials of new data from a left-hand side of two columns, None without it."""
        if len(self.endog.columns) != 2 or not self._has(self.endog, data):
            return None
        return self.endog.build(data).to_numpy().sum(axis=1)

    @staticmethod
    def _has(part: Design, data: pd.DataFrame) -> bool:
        known = {
            name
            for info in part.info.factor_infos.values()
            for name in _names(info.factor.code)[1]
            if name in info.state["eval_env"].namespace
        }
        return part.variables <= set(data.columns) | known


@dataclass(frozen=True)
class FormulaData:
    """
    What a formula makes of a data set: arrays on one common set of rows.

    Attributes
    ----------
    endog, exog, exog_dispersion : DataFrame
        Left-hand side and designs, indexed as the kept rows of the data.
    arrays : dict
        Argument -> ndarray on the kept rows.
    spec : TwoPartFormula
        The designs, for prediction.
    frame : DataFrame
        The kept rows of the data.
    kept : ndarray of int
        Positions of the kept rows in the data passed in.
    n_passed : int
        Rows of the data passed in.
    n_missing : int
        Rows of the subset in use that miss a value.
    index : Index or None
        Of all rows passed in, None where what was passed has none.
    """

    endog: pd.DataFrame
    exog: pd.DataFrame
    exog_dispersion: pd.DataFrame
    arrays: dict[str, np.ndarray]
    spec: TwoPartFormula
    frame: pd.DataFrame
    kept: np.ndarray
    n_passed: int
    n_missing: int
    index: pd.Index | None


def environment(eval_env: Any) -> patsy.EvalEnvironment:
    """
    Return where names that are no columns are looked up, for a function that users call.

    Parameters
    ----------
    eval_env : int, dict or patsy.EvalEnvironment
        Frames above the caller of that function: 0 for the caller itself, -1 for nowhere; or the
        names themselves.
    """
    if isinstance(eval_env, dict):
        return patsy.EvalEnvironment([eval_env])
    if isinstance(eval_env, patsy.EvalEnvironment):
        return eval_env
    if eval_env == -1:
        return patsy.EvalEnvironment([{}])
    return patsy.EvalEnvironment.capture(eval_env, reference=2)


def read(
    formula: str,
    dispersion_formula: str | None,
    data: Any,
    env: patsy.EvalEnvironment,
    arrays: Mapping[str, Any],
    subset: Any = None,
    missing: str = "drop",
    drop_cols: Any = None,
) -> FormulaData:
    """
    Return both designs and every row array on one common set of rows.

    Parameters
    ----------
    formula, dispersion_formula : str
        Mean (or both parts with a bar) and dispersion formula.
    data : DataFrame, or anything pandas makes one of
    env : patsy.EvalEnvironment
        Where names that are no columns are looked up.
    arrays : dict
        Row arrays by argument name; a str is a column of the data, None is left out.
    subset : array_like, optional
        Rows to use, as in ``data.loc[subset]``.
    missing : {"drop", "raise", "none"}
        What to do with rows that miss a value in any variable or array; "none" is "raise", as in
        statsmodels.
    drop_cols : list of str, optional
        Columns to leave out of the mean's design.

    Raises
    ------
    FormulaError, MissingValueError
    """
    mean_text, dispersion_text = _two_parts(formula, dispersion_formula)
    frame = _as_frame(data)
    own = isinstance(data, pd.DataFrame) or not isinstance(frame.index, pd.RangeIndex)
    passed = frame.index if own else None
    n_passed = len(frame)
    terms = _term_lists(mean_text, dispersion_text)
    names = [_names(factor.code) for termlist in terms for t in termlist for factor in t.factors]
    calls, read_names = (set().union(*part) for part in zip(*names, strict=True))
    frame, env = _variables(frame, env, calls, read_names)
    rows = _rows_of(frame, subset)
    columns = {key: value for key, value in arrays.items() if isinstance(value, str)}
    values = {k: _row_array(k, v, frame, rows) for k, v in arrays.items() if v is not None}
    frame = frame.iloc[rows]
    # only what the formula reads: a column named C must not hide patsy's C()
    variables = _plain(frame[[c for c in frame.columns if c in read_names]])
    absent = np.array(variables.isna().any(axis=1), dtype=bool)
    for value in values.values():
        absent |= np.asarray(pd.isna(value))
    index = frame.index
    numbered = variables.reset_index(drop=True)
    infos, matrices = _build(terms, numbered[~absent], env)
    keep = matrices[1].index.to_numpy() if len(matrices[1]) else np.array([], dtype=int)
    if len(keep) < len(frame) and missing != "drop":
        (row, *_) = index[np.setdiff1d(np.arange(len(frame)), keep)].tolist()
        raise MissingValueError(
            f"row {row!r} misses a value in a variable of the formula or in "
            f"{', '.join(values) or 'an array'}; use missing='drop' to leave such rows out"
        )
    if len(keep) == 0:
        raise ValueError("no rows left to fit: the data are empty or every row misses a value")
    endog, exog, exog_dispersion = (m.set_axis(index[keep]) for m in matrices)
    lhs, mean, dispersion = (Design(info) for info in infos)
    unknown = sorted(set(drop_cols or ()) - set(mean.columns))
    if unknown:
        raise FormulaError(f"drop_cols: {unknown[0]!r} is not a column of the mean's design")
    mean.left_out = tuple(drop_cols or ())
    spec = TwoPartFormula(mean_text, dispersion_text, lhs, mean, dispersion, columns)
    arrays_kept = {key: value[keep] if value.ndim else value for key, value in values.items()}
    exog = exog[mean.columns]
    return FormulaData(
        endog,
        exog,
        exog_dispersion,
        arrays_kept,
        spec,
        frame.iloc[keep],
        rows[keep],
        n_passed,
        len(frame) - len(keep),
        passed,
    )


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
    try:
        described = patsy.ModelDesc.from_formula(text if "~" in text else f"~ {text}")
    except patsy.PatsyError as exc:
        raise FormulaError(f"{name}: cannot read {formula!r}: {exc}") from exc
    if described.lhs_termlist:
        raise FormulaError(f"{name}: {formula!r} has a left-hand side; write '~ a + b'")
    return {frozenset(f.name() for f in t.factors): t.name() for t in described.rhs_termlist}


def terms_of(given: str | Sequence[str] | None, frame: pd.DataFrame) -> list[str]:
    """
    Return the names of the terms that columns, or a one-sided formula, stand for.

    Parameters
    ----------
    given : str, sequence of str or None
        Names of columns, or ``"~ a * b"``; a constant is left out.
    frame : DataFrame

    Raises
    ------
    FormulaError
        If it cannot be read.
    """
    found: list[str] = []
    for text in [given] if isinstance(given, str) else given or []:
        if text in frame.columns:
            plain = text.isidentifier() and not iskeyword(text)
            found.append(text if plain else f"Q({text!r})")
        else:
            found += (name for key, name in named_terms(text, "exog_extra").items() if key)
    return found


def with_terms(
    spec: TwoPartFormula,
    frame: pd.DataFrame,
    mean: Sequence[str],
    dispersion: Sequence[str],
    outer: patsy.EvalEnvironment,
) -> FormulaData:
    """
    Return what the formula of a fit makes of its rows with other terms in both parts.

    Parameters
    ----------
    spec : TwoPartFormula
    frame : DataFrame
        The rows of the fit.
    mean, dispersion : sequence of str
        Names of all terms; ``"Intercept"`` is the constant.
    outer : patsy.EvalEnvironment
        Where names are looked up that neither the rows nor the fit know.

    Raises
    ------
    FormulaError
        If a term names an unknown variable.
    MissingValueError
        If a variable misses a value in a row of the fit.
    """
    parts = (spec.endog, spec.mean, spec.dispersion)
    known = [i.state["eval_env"].namespace for p in parts for i in p.info.factor_infos.values()]
    env = patsy.EvalEnvironment([*known, outer.namespace], outer.flags)
    left = " + ".join(term for term in spec.endog.terms if term != "Intercept")
    right, below = (_written(terms) for terms in (mean, dispersion))
    made = read(f"{left} ~ {right}", below, frame, env, {}, missing="raise")
    return replace(made, spec=replace(made.spec, columns=spec.columns))


def _written(terms: Sequence[str]) -> str:
    """Return terms as the right-hand side of a formula."""
    plain = [term for term in terms if term != "Intercept"]
    if len(plain) == len(terms):
        return " + ".join(["0", *plain])
    return " + ".join(plain) or "1"


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with pandas' nullable types as NumPy's: patsy does not know them all."""
    plain = {}
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.api.extensions.ExtensionDtype) and dtype.name != "category":
            numeric = pd.api.types.is_numeric_dtype(dtype) and dtype.name != "boolean"
            column = frame[name]
            plain[name] = (
                column.to_numpy(dtype=float, na_value=np.nan) if numeric else column.astype(object)
            )
    return frame.assign(**plain) if plain else frame


def _two_parts(formula: str, dispersion_formula: str | None) -> tuple[str, str]:
    if not isinstance(formula, str):
        raise FormulaError(
            f"formula must be a str such as 'y ~ x | z', not {type(formula).__name__}"
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


def _term_lists(mean: str, dispersion: str) -> list[Any]:
    try:
        first, second = patsy.ModelDesc.from_formula(mean), patsy.ModelDesc.from_formula(dispersion)
    except patsy.PatsyError as exc:
        raise FormulaError(f"cannot read the formula: {exc}") from exc
    if not first.lhs_termlist:
        raise FormulaError(f"formula {mean!r} has no response; write 'y ~ ...'")
    if second.lhs_termlist:
        raise FormulaError(f"dispersion formula {dispersion!r} has a left-hand side; write '~ z'")
    if not second.rhs_termlist:
        raise FormulaError("the dispersion formula has no terms; write '~ 1' for a constant")
    return [first.lhs_termlist, first.rhs_termlist, second.rhs_termlist]


def _as_frame(data: Any) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if hasattr(data, "to_pandas"):
        return data.to_pandas()
    if data is None:
        raise ValueError("data is None; give a DataFrame or a mapping of columns")
    try:
        return pd.DataFrame(data)
    except Exception as exc:
        raise ValueError(f"data: cannot make a DataFrame of {type(data).__name__}: {exc}") from exc


def _variables(
    frame: pd.DataFrame, env: patsy.EvalEnvironment, calls: set[str], read_names: set[str]
) -> tuple[pd.DataFrame, patsy.EvalEnvironment]:
    """Return the frame and the environment with every name meaning one thing only."""
    outside = calls | (read_names - set(frame.columns))
    scope = {name: env.namespace[name] for name in outside if name in env.namespace}
    for name in calls & set(PATSY_BUILTINS):
        if name in read_names:
            raise FormulaError(
                f"{name!r} is both a variable and patsy's {name}() in this formula; rename the variable"
            )
        if name in scope and not callable(scope[name]):
            del scope[name]
    for name in read_names - set(frame.columns):
        value = scope.get(name)
        # the caller's own array joins the rows, so that missing values and subset reach it
        if isinstance(value, (np.ndarray, pd.Series)) and np.shape(value) == (len(frame),):
            check_index(value, frame.index, name)
            frame = frame.assign(**{name: np.asarray(scope.pop(name))})
    return frame, patsy.EvalEnvironment([scope], env.flags)


def _rows_of(frame: pd.DataFrame, subset: Any) -> np.ndarray:
    rows = np.arange(len(frame))
    if subset is None:
        return rows
    try:
        return pd.Series(rows, index=frame.index).loc[subset].to_numpy()
    except Exception as exc:
        raise ValueError(f"subset: cannot select rows of the data: {exc}") from exc


def _row_array(name: str, value: Any, frame: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Return an array argument on the rows in use; a str is a column of the data."""
    if isinstance(value, str):
        if value not in frame.columns:
            raise FormulaError(f"{name}={value!r} is not a column of the data")
        if frame[value].ndim == 2:
            raise FormulaError(f"{name}={value!r}: several columns have this name; rename them")
        return numeric(frame[value], f"{name}, column {value!r}")[rows]
    array = numeric(value, name)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim == 0:  # one number for all rows, where the constructor takes that
        return array
    if array.ndim != 1 or len(array) not in (len(frame), len(rows)):
        raise ValueError(f"{name}: shape {array.shape}, but the data have {len(frame)} rows")
    check_index(value, frame.index if len(array) == len(frame) else frame.index[rows], name)
    return array[rows] if len(array) == len(frame) else array


def _build(terms: list[Any], data: pd.DataFrame, env: Any) -> tuple[Any, list[pd.DataFrame]]:
    try:
        infos = patsy.design_matrix_builders(terms, lambda: iter([data]), env, NA_action="drop")
        _check_response(infos[0])
        matrices = patsy.build_design_matrices(
            infos, data, NA_action="drop", return_type="dataframe"
        )
    except (patsy.PatsyError, NameError, KeyError) as exc:
        if len(data) == 0:
            raise ValueError(
                "no rows left to fit: the data are empty or every row misses a value"
            ) from exc
        raise FormulaError(f"cannot evaluate the formula: {_words(exc)}") from exc
    rows = matrices[0].index
    # a part without variables comes back without the row labels
    return infos, [
        m if i.factor_infos else _ones(m, rows) for i, m in zip(infos, matrices, strict=True)
    ]


def _ones(matrix: pd.DataFrame, rows: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(np.ones((len(rows), matrix.shape[1])), index=rows, columns=matrix.columns)


def _check_response(info: patsy.DesignInfo) -> None:
    for factor, factor_info in info.factor_infos.items():
        if factor_info.type == "categorical":
            raise FormulaError(
                f"response {factor.name()!r} is not numeric: {factor_info.categories}"
            )


def linear_constraint(text: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """
    Return (coefficients, values) of linear hypotheses written as a string.

    Raises
    ------
    FormulaError
        If the string cannot be read or names an unknown coefficient.
    """
    try:
        constraint = patsy.DesignInfo(names).linear_constraint(text)
    except patsy.PatsyError as exc:
        raise FormulaError(f"cannot read the hypothesis {text!r}: {_words(exc)}") from exc
    return constraint.coefs, constraint.constants[:, 0]


def _words(exc: Exception) -> str:
    """Return patsy's message with the term it speaks of."""
    origin = getattr(exc, "origin", None)
    message = str(getattr(exc, "message", exc)).strip()
    return f"in {origin.relevant_code()!r}: {message}" if origin is not None else message
