"""Two-part formulas: both designs and every row array on one set of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd
import patsy

from hetglm.design import frames, random_design, random_syntax, syntax
from hetglm.design.arrays import check_index
from hetglm.design.design import (
    Design,
    is_plain,
    levels_of,
    quiet_arithmetic,
    warn_undefined,
    without_unused,
)
from hetglm.design.random_design import RandomDesign
from hetglm.design.random_syntax import WrittenTerm
from hetglm.design.random_terms import RandomTerm, given_terms
from hetglm.design.syntax import PATSY_BUILTINS
from hetglm.exceptions import FormulaError, MissingValueError
from hetglm.utils.checks import numeric
from hetglm.utils.messages import RowNames, listed

_DAYS = ("dates", "I((pd.to_datetime({0}) - pd.to_datetime({0}.min())).dt.days)")
_SECONDS = ("durations", "I(pd.to_timedelta({0}).dt.total_seconds())")
#: What pandas calls values that patsy would take for the levels of a factor -> what they are, and
#: the number to write.
DATES = {
    **dict.fromkeys(("datetime64", "datetime"), ("dates", "I(({0} - {0}.min()).dt.days)")),
    "date": _DAYS,
    "timedelta64": ("durations", "I({0}.dt.total_seconds())"),
    "timedelta": _SECONDS,
    "period": ("periods", "I(({0}.dt.start_time - {0}.min().start_time).dt.days)"),
    "time": ("times of day", "I(pd.to_timedelta({0}.astype(str)).dt.total_seconds())"),
}


@dataclass(frozen=True)
class TwoPartFormula:
    """
    The designs of a fitted formula, kept for prediction.

    Attributes
    ----------
    formula, dispersion_formula : str
        Both parts as written, without their random terms.
    endog, mean, dispersion : Design
        Left-hand side and the two right-hand sides.
    columns : dict
        Array argument -> column name, for those given by name.
    random : RandomDesign
        The random terms of both parts.
    """

    formula: str
    dispersion_formula: str
    endog: Design
    mean: Design
    dispersion: Design
    columns: dict[str, str]
    random: RandomDesign = field(default_factory=RandomDesign)

    def trials(self, data: pd.DataFrame) -> np.ndarray | None:
        """Return the trials of new data from a left-hand side of two columns, None without it."""
        if len(self.endog.columns) != 2 or not self._has(self.endog, data):
            return None
        return self.endog.build(data).to_numpy().sum(axis=1)

    def coded(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return rows of the fit for `Design.rebuild`, with levels as patsy reads them fastest."""
        parts = (self.mean, self.dispersion)
        read = frames.read_columns(data, set().union(*(part.variables for part in parts)))
        known = {**self.mean.known, **self.dispersion.known}
        read = frames.conform(read, known, set().union(*(part.categories for part in parts)))
        infos = [info for part in parts for info in part.info.factor_infos.values()]
        for name in read.columns.difference(list(self.columns.values())):
            reading = [info for info in infos if name in syntax.names(info.factor.code)[1]]
            levels = {info.categories for info in reading if is_plain(info.factor.code, name)}
            plain = all(is_plain(info.factor.code, name) for info in reading)
            if plain and len(levels) == 1 and None not in levels:
                read[name] = pd.Categorical(read[name], categories=list(*levels))
        return data.assign(**{str(name): read[name] for name in read})

    @staticmethod
    def _has(part: Design, data: pd.DataFrame) -> bool:
        known = {
            name
            for info in part.info.factor_infos.values()
            for name in syntax.names(info.factor.code)[1]
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
    random : list of RandomTerm
        Random terms on the kept rows.
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
    random: list[RandomTerm]
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
    random: Any = None,
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
    random : list of RandomTerm, optional
        Random terms beside those of the formula; groups may be the name of a column.

    Raises
    ------
    FormulaError, MissingValueError
    """
    given = given_terms(random)
    mean_text, dispersion_text, bars = _without_bars(formula, dispersion_formula)
    bars += random_design.as_written(given)
    groups = {name for term in bars for name in term.groups}
    frame = frames.as_frame(data)
    passed = _labels(data, frame)
    terms, calls, variables = _parse(mean_text, dispersion_text, bars, frame, env)
    frame, env = _variables(frame, env, calls, variables)
    random_syntax.check_groups(bars, list(map(str, frame.columns)), _factors(terms[0]))
    rows = _select(frame, variables, subset, arrays, given, passed)
    parts = _build_parts(terms, rows, env, groups)
    kept = _kept(parts, rows, missing)
    index = rows.frame.index[kept]
    endog, exog, exog_dispersion, *lefts = (matrix.set_axis(index) for matrix in parts.matrices)
    lhs, mean, dispersion, *left_designs = parts.designs
    _leave_out(mean, drop_cols)
    random_terms, random_part = random_design.from_formula(
        bars, left_designs, lefts, parts.plain.loc[kept].set_axis(index)
    )
    columns = {key: value for key, value in arrays.items() if isinstance(value, str)}
    return FormulaData(
        endog=endog,
        exog=exog[mean.columns],
        exog_dispersion=exog_dispersion,
        arrays={key: value[kept] if value.ndim else value for key, value in rows.arrays.items()},
        random=[*random_terms, *random_design.take(rows.random, kept, index)],
        spec=TwoPartFormula(
            mean_text, dispersion_text, lhs, mean, dispersion, columns, random_part
        ),
        frame=_with_plain(rows.frame.iloc[kept], parts.plain.loc[kept]),
        kept=rows.names.positions[kept],
        n_passed=len(frame),
        n_missing=len(rows.frame) - len(kept),
        index=passed,
    )


@dataclass(frozen=True)
class _Rows:
    """
    The rows of the subset in use.

    Attributes
    ----------
    frame : DataFrame
        All columns of the data.
    variables : DataFrame
        The columns that the formula reads.
    arrays : dict
        Argument -> ndarray on these rows, or of no dimension: one number for all rows.
    random : list of RandomTerm
        Random terms given beside the formula as arrays.
    names : RowNames
        Their positions in the data passed in, and the labels of all rows of these.
    """

    frame: pd.DataFrame
    variables: pd.DataFrame
    arrays: dict[str, np.ndarray]
    random: list[RandomTerm]
    names: RowNames

    @property
    def complete(self) -> np.ndarray:
        """Whether each row has a value in every variable and every array."""
        absent = np.array(self.variables.isna().any(axis=1), dtype=bool)
        for value in self.arrays.values():
            absent |= np.asarray(pd.isna(value))
        absent |= random_design.missing(self.random, len(absent))
        return np.asarray(~absent)


@dataclass(frozen=True)
class _Parts:
    """
    Response, mean, dispersion and left sides of random terms on the rows without a missing value.

    Attributes
    ----------
    designs : list of Design
    matrices : list of DataFrame
        Indexed by position among the rows in use.
    plain : DataFrame
        The variables as the formula reads them.
    """

    designs: list[Design]
    matrices: list[pd.DataFrame]
    plain: pd.DataFrame


def _labels(data: Any, frame: pd.DataFrame) -> pd.Index | None:
    """Return the labels of the rows passed in, None where what was passed has none."""
    own = isinstance(data, pd.DataFrame) or not isinstance(frame.index, pd.RangeIndex)
    return frame.index if own else None


def _without_bars(formula: Any, dispersion_formula: Any) -> tuple[str, str, list[WrittenTerm]]:
    """Return both parts of a formula without their random terms, and these."""
    parts = syntax.two_parts(formula, dispersion_formula)
    (mean, of_mean), (dispersion, of_dispersion) = map(
        random_syntax.take_out, parts, random_syntax.PARTS
    )
    return mean, dispersion, [*of_mean, *of_dispersion]


def _parse(
    mean: str,
    dispersion: str,
    bars: Sequence[WrittenTerm],
    frame: pd.DataFrame,
    env: patsy.EvalEnvironment,
) -> tuple[list[Any], set[str], set[str]]:
    """Return patsy's terms of the parts and left sides, the names they call and those they read."""
    columns = list(map(str, frame.columns))
    terms = syntax.term_lists(mean, dispersion, columns)
    terms += [random_syntax.left_side(term, columns) for term in bars]
    factors = _factors(*terms)
    for factor in factors:
        syntax.check_readable(factor, columns)
    names = [syntax.names(factor.code) for factor in factors]
    calls, read_names = (set().union(*part) for part in zip(*names, strict=True))
    _check_names(factors, frame, env)
    read_names |= {name for term in bars for name in term.groups}
    _check_text(frame.columns, read_names)
    return terms, calls, read_names


def _select(
    frame: pd.DataFrame,
    read_names: set[str],
    subset: Any,
    arrays: Mapping[str, Any],
    random: Sequence[RandomTerm],
    passed: pd.Index | None,
) -> _Rows:
    """Return the rows of the subset, or raise a ValueError where none of them is complete."""
    positions = _rows_of(frame, subset)
    if len(frame) and len(positions) == 0:
        raise ValueError(
            "no rows left to fit: subset selects none of the data; give labels or a mask of some"
        )
    values = {k: _row_array(k, v, frame, positions) for k, v in arrays.items() if v is not None}
    beside = random_design.on_rows(random, frame, positions)
    used = frame.iloc[positions]
    variables = frames.read_columns(used, read_names)
    rows = _Rows(used, variables, values, beside, RowNames(positions, passed))
    if not rows.complete.any():
        raise ValueError(_no_rows(variables))
    return rows


def _build_parts(
    terms: list[Any], rows: _Rows, env: patsy.EvalEnvironment, groups: set[str]
) -> _Parts:
    """
    Return the designs that the rows without a missing value determine, and their columns.

    Parameters
    ----------
    terms : list of list of patsy.Term
    rows : _Rows
    env : patsy.EvalEnvironment
    groups : set of str
        Grouping variables of random terms, of which levels are read and nothing else.
    """
    factors = _factors(*terms)
    complete = rows.variables.reset_index(drop=True)[rows.complete]
    plain = _true_as_one(frames.plain(complete, _only_levels(factors, groups)), terms)
    _check_dates(factors, plain, set(_factors(terms[0])))
    coded, known = frames.learn(plain, levels_of(factors))
    written: dict[str, tuple[Any, ...]] = {}
    if "C" not in env.namespace:  # patsy's
        terms, written = without_unused(terms, coded)
    declared = known | frames.declare(known, coded, written)
    with quiet_arithmetic() as invalid:
        infos, matrices = _build(terms, coded, env, dict(rows.variables.dtypes))
    if invalid:
        warn_undefined(infos, coded, rows.names, "left out of the fit")
    return _Parts([_design(info, known, declared) for info in infos], matrices, plain)


def _kept(parts: _Parts, rows: _Rows, missing: str) -> np.ndarray:
    """
    Return the positions, among the rows in use, of those that every part has.

    Raises
    ------
    MissingValueError
        If a row is missing and ``missing`` is not "drop".
    ValueError
        If none is left.
    """
    index, mean = rows.frame.index, parts.matrices[1]
    kept = mean.index.to_numpy() if len(mean) else np.array([], dtype=int)
    if len(kept) < len(index) and missing != "drop":
        (row, *_) = index[np.setdiff1d(np.arange(len(index)), kept)].tolist()
        raise MissingValueError(
            f"row {row!r} misses a value in a variable of the formula or in "
            f"{', '.join(rows.arrays) or 'an array'}; use missing='drop' to leave such rows out"
        )
    if len(kept) == 0:
        raise ValueError(_no_rows(rows.variables))
    return kept


def _leave_out(mean: Design, drop_cols: Sequence[str] | None) -> None:
    """Leave columns out of the mean's design, or raise a FormulaError for one it does not have."""
    unknown = sorted(set(drop_cols or ()) - set(mean.columns))
    if unknown:
        has = listed(mean.columns, syntax.MAX_LISTED)
        raise FormulaError(
            f"drop_cols: {unknown[0]!r} is not a column of the mean's design, which has {has}"
        )
    mean.left_out = tuple(drop_cols or ())


def terms_of(
    given: str | Sequence[str] | None, frame: pd.DataFrame, constant: bool = False
) -> list[str]:
    """
    Return the names of the terms that columns, or a one-sided formula, stand for.

    Parameters
    ----------
    given : str, sequence of str or None
        Names of columns, or ``"~ a * b"``.
    frame : DataFrame
    constant : bool
        Whether the constant of a formula is a term; otherwise it is left out.

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
            named, whole = syntax.named_terms(text, "exog_extra"), constant and "~" in text
            found += (name for key, name in named.items() if key or whole)
    return found


def further_columns(
    spec: TwoPartFormula | None,
    frame: pd.DataFrame | None,
    mean: str | Sequence[str] | None,
    dispersion: str | Sequence[str] | None,
    env: patsy.EvalEnvironment,
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """
    Return the columns that further terms would add to either part.

    Parameters
    ----------
    spec : TwoPartFormula or None
    frame : DataFrame or None
        The rows of the fit.
    mean, dispersion : str, sequence of str or None
        Names of columns, or a one-sided formula; see `terms_of`.
    env : patsy.EvalEnvironment
        Where names are looked up that neither the rows nor the fit know.

    Returns
    -------
    tuple of two DataFrames, None where nothing was asked for

    Raises
    ------
    ValueError
        Without a formula, or where a part has all of these terms.
    """
    if spec is None or frame is None:
        raise ValueError(
            "exog_extra: names and formulas need the data of a formula fit; give the columns"
        )
    designs, asked = (spec.mean, spec.dispersion), (mean, dispersion)
    terms = [
        [*design.terms, *terms_of(given, frame, constant=not design.columns)]
        for design, given in zip(designs, asked, strict=True)
    ]
    made = with_terms(spec, frame, terms[0], terms[1], env)
    wide = made.exog, made.exog_dispersion
    new = [
        columns[[name for name in columns if name not in design.info.column_names]]
        for design, columns in zip(designs, wide, strict=True)
    ]
    for given, columns in zip(asked, new, strict=True):
        if given is not None and columns.shape[1] == 0:
            raise ValueError(f"exog_extra={given!r}: nothing to test, the model has these terms")
    return None if mean is None else new[0], None if dispersion is None else new[1]


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
    if made.random:
        raise FormulaError(
            f"{[*mean, *dispersion]}: the random terms of a model stay; write them in its formula"
        )
    return replace(made, spec=replace(made.spec, columns=spec.columns, random=spec.random))


def _written(terms: Sequence[str]) -> str:
    """Return terms as the right-hand side of a formula."""
    plain = [term for term in terms if term != "Intercept"]
    if len(plain) == len(terms):
        return " + ".join(["0", *plain])
    return " + ".join(plain) or "1"


def _factors(*parts: Any) -> list[Any]:
    return [factor for part in parts for term in part for factor in term.factors]


def _check_names(factors: Sequence[Any], frame: pd.DataFrame, env: patsy.EvalEnvironment) -> None:
    """Raise a FormulaError for a name that neither the data nor the caller nor patsy has."""
    columns = list(map(str, frame.columns))
    for factor in factors:
        called, read_names = syntax.names(factor.code)
        outside = {name for name in called | read_names if name in env.namespace}
        syntax.check_factor(factor, columns, outside | set(PATSY_BUILTINS))


def _check_text(columns: pd.Index, read_names: set[str]) -> None:
    """Raise a FormulaError where a formula reads a column whose name is a number."""
    for name in columns:
        if not isinstance(name, str) and str(name) in read_names and name not in read_names:
            raise FormulaError(
                f"the name of column {name!r} is not text ({type(name).__name__}); rename it, such as "
                "data.rename(columns=str)"
            )


def _only_levels(factors: Sequence[Any], groups: set[str]) -> set[str]:
    """Return the variables that are read as levels, of a C(...) or of groups, and nowhere else."""
    coded = {f for f in factors if f.code.startswith("C(") and syntax.as_it_stands(f.code)}
    others = [syntax.names(factor.code)[1] for factor in factors if factor not in coded]
    return (levels_of(coded) | groups) - set().union(*others)


def _true_as_one(frame: pd.DataFrame, terms: Sequence[Any]) -> pd.DataFrame:
    """Return the frame with 0 and 1 for False and True in what is read by the response alone."""
    left, right = (
        set().union(*(syntax.names(factor.code)[1] for factor in _factors(*parts)))
        for parts in (terms[:1], terms[1:])
    )
    own = [c for c in frame.columns if c in left - right and frame[c].dtype == bool]
    return frame.astype(dict.fromkeys(own, np.int64))


def _with_plain(frame: pd.DataFrame, plain: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the data with the columns of the formula as it reads them."""
    changed = [name for name in plain.columns if plain[name].dtype != frame[name].dtype]
    return frame.assign(**{name: plain[name].to_numpy() for name in changed})


def _no_rows(variables: pd.DataFrame) -> str:
    if len(variables) == 0:
        return "no rows left to fit: the data are empty"
    bare = [f"; column {name!r} has no value" for name in variables if variables[name].isna().all()]
    return f"no rows left to fit: every row misses a value{''.join(bare[:1])}"


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
            series = value if isinstance(value, pd.Series) else pd.Series(scope[name])
            frame = frame.assign(**{name: series.set_axis(frame.index)})
            del scope[name]
    return frame, patsy.EvalEnvironment([scope], env.flags)


def _rows_of(frame: pd.DataFrame, subset: Any) -> np.ndarray:
    rows = np.arange(len(frame))
    if subset is None:
        return rows
    try:
        return pd.Series(rows, index=frame.index).loc[subset].to_numpy()
    except Exception as exc:
        raise ValueError(
            f"subset: cannot select rows of the data: {exc}; give labels or a mask, as for data.loc[...]"
        ) from exc


def _row_array(name: str, value: Any, frame: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Return an array argument on the rows in use; a str is a column of the data."""
    if isinstance(value, str):
        if value not in frame.columns:
            raise FormulaError(syntax.not_a_column(name, value, frame.columns))
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


def _build(
    terms: list[Any], data: pd.DataFrame, env: Any, dtypes: Mapping[str, Any]
) -> tuple[Any, list[pd.DataFrame]]:
    """Return patsy's designs and their columns; ``dtypes`` are those the user's columns have."""
    try:
        infos = patsy.design_matrix_builders(terms, lambda: iter([data]), env, NA_action="drop")
        _check_response(infos[0], dtypes)
        matrices = patsy.build_design_matrices(
            infos, data, NA_action="drop", return_type="dataframe"
        )
    except FormulaError:
        raise
    except (patsy.PatsyError, NameError, KeyError, TypeError, ValueError, AttributeError) as exc:
        hint = frames.describe(data, list(data.columns), dtypes)
        said = syntax.evaluation_fault(exc, hint)
        raise FormulaError(f"cannot evaluate the formula: {said}") from exc
    rows = matrices[0].index
    # a part without variables comes back without the row labels
    return infos, [
        m if i.factor_infos else _ones(m, rows) for i, m in zip(infos, matrices, strict=True)
    ]


def _ones(matrix: pd.DataFrame, rows: pd.Index) -> pd.DataFrame:
    return pd.DataFrame(np.ones((len(rows), matrix.shape[1])), index=rows, columns=matrix.columns)


def _check_dates(factors: Sequence[Any], data: pd.DataFrame, response: set[Any]) -> None:
    """Raise a FormulaError for dates that patsy would take for the levels of a factor."""
    for factor in factors:
        name = syntax.as_it_stands(factor.code)
        if name not in data.columns or factor.code.startswith("C("):
            continue
        kind = pd.api.types.infer_dtype(data[name], skipna=True)
        if kind in DATES:
            what, number = DATES[kind]
            said = (
                f"column {name!r} has {what} (dtype {data[name].dtype}); write a number, such as "
                f"{number.format(name)}"
            )
            said += "" if factor in response else f", or C({name}) for a factor"
            raise FormulaError(syntax.pointed(said, factor.origin))


def _check_response(info: patsy.DesignInfo, dtypes: Mapping[str, Any]) -> None:
    for factor, factor_info in info.factor_infos.items():
        if factor_info.type == "categorical":
            levels = listed([repr(level) for level in factor_info.categories])
            read_names = sorted(syntax.names(factor.code)[1] & set(dtypes))
            has = ", ".join(f"{name!r} has dtype {dtypes[name]}" for name in read_names)
            what = "use pd.to_numeric, or numbers for its levels"
            if factor_info.categories == (False, True):
                code = syntax.without_brackets(factor.name())
                plain = syntax.as_it_stands(factor.code) is not None
                what = f"write {code}.astype(int)" if plain else f"write I(1 * ({code}))"
            raise FormulaError(
                f"response {factor.name()!r} is not numeric: {levels} ({has}); {what}"
            )


def _design(
    info: patsy.DesignInfo,
    known: Mapping[str, frames.Column],
    declared: Mapping[str, frames.Column],
) -> Design:
    """Return a part of the formula; ``declared`` is for what it reads as levels."""
    design = Design(info)
    levels = design.categories
    design.known = {
        name: (declared if name in levels else known)[name]
        for name in design.variables
        if name in known
    }
    return design
