"""Designs of a formula: their columns for the data of the fit and for new data."""

from __future__ import annotations

import ast
import pickle
import re
import types
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import patsy

from hetglm.design import frames, syntax
from hetglm.design.syntax import PATSY_BUILTINS
from hetglm.exceptions import FormulaError, UndefinedTermWarning
from hetglm.utils.messages import RowNames, warn


def levels_of(factors: Collection[Any]) -> set[str]:
    """Return the variables of categorical factors: g, Q('g'), C(g, ...)."""
    found = (syntax.as_it_stands(factor.code) for factor in factors)
    return {name for name in found if name is not None}


def is_plain(code: str, name: str) -> bool:
    """Return whether a factor is a variable itself, or C() of it."""
    return code == name or re.fullmatch(rf"C\({re.escape(name)}(, .*)?\)", code) is not None


@contextmanager
def quiet_arithmetic() -> Iterator[list[str]]:
    """Suppress NumPy's warnings of log(0), which is refused by row, and yield those of log(-1)."""
    invalid: list[str] = []
    with np.errstate(divide="ignore", invalid="call", call=lambda kind, _: invalid.append(kind)):
        yield invalid


def warn_undefined(
    infos: Iterable[patsy.DesignInfo], numbered: pd.DataFrame, names: RowNames, then: str
) -> None:
    """
    Warn of terms that have no value where their variables have: the logarithm of a negative number.

    Parameters
    ----------
    infos : iterable of patsy.DesignInfo
    numbered : DataFrame
        The variables, without missing values, indexed by position in the data.
    names : RowNames
        Of all rows of the data.
    then : str
        What becomes of the rows.
    """
    factors = {factor: info for of in infos for factor, info in of.factor_infos.items()}
    for factor, info in factors.items():
        if info.type != "numerical":
            continue
        with quiet_arithmetic() as invalid:
            values = np.asarray(factor.eval(info.state, numbered), dtype=float)
        if not invalid:
            continue
        bad = np.zeros(len(names.positions), dtype=bool)
        bad[numbered.index[np.isnan(values.reshape(len(numbered), -1)).any(axis=1)]] = True
        if bad.any():
            warn(f"{factor.code} has no value in {names.text(bad)}: {then}", UndefinedTermWarning)


class UsedLevels(patsy.EvalFactor):
    """
    A factor ``C(g, levels=[...])`` without the levels that no row of the fit has.

    Parameters
    ----------
    factor : patsy.EvalFactor
    used : tuple
        The levels that stay.
    """

    def __init__(self, factor: patsy.EvalFactor, used: tuple[Any, ...]) -> None:
        super().__init__(factor.code, origin=factor.origin)
        self._used = used

    def memorize_passes_needed(self, state: dict[str, Any], eval_env: Any) -> int:
        """Prepare the evaluation, as `patsy.EvalFactor` does."""
        passes = super().memorize_passes_needed(state, eval_env)
        tree = ast.parse(state["eval_code"], mode="eval")
        given = syntax.levels_argument(tree.body)
        assert given is not None
        given.elts = [ast.Constant(level) for level in self._used]
        state["eval_code"] = ast.unparse(tree)
        return int(passes)


def without_unused(
    parts: Iterable[Any], data: pd.DataFrame
) -> tuple[list[Any], dict[str, tuple[Any, ...]]]:
    """
    Return the terms of both parts, ``C(g, levels=[...])`` with the levels of the data only.

    Parameters
    ----------
    parts : iterable of list of patsy.Term
    data : DataFrame
        The rows of the fit.

    Returns
    -------
    parts : list of list of patsy.Term
    declared : dict
        Levels written in the formula, by variable, where some are unused.
    """
    declared: dict[str, tuple[Any, ...]] = {}

    def factor_of(factor: patsy.EvalFactor) -> patsy.EvalFactor:
        name, levels = syntax.as_it_stands(factor.code), syntax.levels_written(factor.code)
        if name is None or name not in data.columns or levels is None:
            return factor
        there = set(data[name].dropna().unique())
        used = tuple(level for level in levels if level in there)
        if len(used) == len(levels) or len(used) < len(there):  # patsy refuses other values
            return factor
        declared[name] = levels
        return UsedLevels(factor, used)

    made = [[patsy.Term([factor_of(f) for f in t.factors]) for t in part] for part in parts]
    return made, declared


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
    known : dict
        What the variables read from the data were at the fit.
    """

    info: patsy.DesignInfo
    left_out: tuple[str, ...] = ()
    known: dict[str, frames.Column] = field(default_factory=dict)

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
        """Factors of each term, by the term's name; none for a constant."""
        return {t.name(): frozenset(f.name() for f in t.factors) for t in self.info.terms}

    @property
    def categories(self) -> set[str]:
        """Variables whose values are the levels of a factor: g, Q('g') or C(g, ...), not I(g > 0)."""
        infos = self.info.factor_infos.items()
        return levels_of([factor for factor, info in infos if info.type == "categorical"])

    @property
    def variables(self) -> set[str]:
        """Names of the variables of the design, from the data or the caller."""
        return set().union(*(syntax.names(factor.code)[1] for factor in self.info.factor_infos))

    def variables_of(self, columns: Iterable[str]) -> set[str]:
        """Return the variables in the terms that some columns of the design belong to."""
        wanted, names = set(columns), self.info.column_names
        terms = [t for t, s in self.info.term_slices.items() if wanted & set(names[s])]
        return {name for t in terms for f in t.factors for name in syntax.names(f.code)[1]}

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

    def build(self, data: pd.DataFrame, said: set[str] | None = None) -> pd.DataFrame:
        """
        Return the design on new data; rows with missing values are NaN.

        Parameters
        ----------
        data : DataFrame
        said : set of str, optional
            Variables whose unseen levels a warning has named; those named here join them.

        Raises
        ------
        FormulaError
            If a variable is not in the data, or a level was not seen at the fit.
        """
        variables = frames.read_columns(data, self.variables)
        self._check_variables(variables, list(map(str, data.columns)))
        variables = frames.conform(variables, self.known, self.categories, said)
        there = ~variables.isna().any(axis=1).to_numpy(dtype=bool)
        numbered = variables.reset_index(drop=True)
        with quiet_arithmetic() as invalid:
            matrix = self._evaluate(self.info, numbered[there], data.index).reindex(numbered.index)
        if invalid:
            names = RowNames(np.arange(len(numbered)), data.index)
            warn_undefined([self.info], numbered[there], names, "NaN in its prediction")
        return matrix[self.columns].set_axis(data.index)

    def rebuild(self, data: pd.DataFrame, fitted: np.ndarray, changed: set[str]) -> np.ndarray:
        """
        Return the design on the rows of the fit with other values of some variables.

        Parameters
        ----------
        data : DataFrame
            The rows, from `TwoPartFormula.coded`.
        fitted : ndarray, shape (n, p)
            The design at the fit, of which the terms of other variables are taken.
        changed : set of str
            Variables with other values.
        """
        info = self._terms_of(changed)
        read = set().union(*(syntax.names(factor.code)[1] for factor in info.factor_infos))
        numbered = frames.read_columns(data, read).reset_index(drop=True)
        with quiet_arithmetic():
            matrix = self._evaluate(info, numbered, data.index)
        if len(matrix) != len(numbered):  # a value that a function makes missing
            matrix = matrix.reindex(numbered.index)
        made = np.array(fitted)
        for name in matrix.columns.intersection(self.columns):
            made[:, self.columns.index(name)] = matrix[name]
        return made

    def _terms_of(self, variables: set[str]) -> patsy.DesignInfo:
        """Return what patsy makes the terms from that read some of the variables."""
        reading = {f for f in self.info.factor_infos if syntax.names(f.code)[1] & variables}
        return self.info.subset([t for t in self.info.terms if reading.intersection(t.factors)])

    def _evaluate(
        self, info: patsy.DesignInfo, numbered: pd.DataFrame, labels: pd.Index
    ) -> pd.DataFrame:
        """Return the columns of rows without missing values, numbered as the labels of all are."""
        names = info.column_names
        if not info.factor_infos or len(numbered) == 0:
            # without a variable from which patsy could see the rows, an intercept is all there is
            return pd.DataFrame(1.0, index=numbered.index, columns=names)
        try:
            (matrix,) = patsy.build_design_matrices(
                [info], numbered, NA_action="drop", return_type="dataframe"
            )
        except (patsy.PatsyError, NameError, KeyError, TypeError, ValueError) as exc:
            raise FormulaError(self._new_data_fault(exc, numbered, labels)) from exc
        return matrix

    def _check_variables(self, variables: pd.DataFrame, columns: list[str]) -> None:
        for factor, info in self.info.factor_infos.items():
            outside = info.state["eval_env"].namespace
            for name in sorted(syntax.names(factor.code)[1] & set(self.known)):
                if name not in variables.columns and name not in outside:
                    raise FormulaError(f"new data: {syntax.unknown_column(name, columns)}")

    def _new_data_fault(self, exc: Exception, numbered: pd.DataFrame, labels: pd.Index) -> str:
        """Return the error for new data: a level that is not in the fit, or patsy's message."""
        for factor, info in self.info.factor_infos.items():
            if info.type == "categorical" and getattr(exc, "origin", None) is factor.origin:
                found = factor.eval(info.state, numbered)
                found = found.data if hasattr(found, "levels") else found  # what C() returns
                values = pd.Series(np.asarray(found, dtype=object))
                strange = ~values.isin(info.categories) & values.notna()
                if strange.any():
                    where = f"in {factor.code!r}"
                    rows = RowNames(numbered.index.to_numpy(), labels)
                    return frames.unknown_level(where, values, strange, info.categories, rows)
        read = sorted(self.variables)
        return f"new data: {syntax.evaluation_fault(exc, frames.describe(numbered, read), False)}"

    def __getstate__(self) -> dict[str, Any]:
        """Return the design without frames or patsy objects, which do not pickle."""
        info = self.info
        return {
            "columns": list(info.column_names),
            "left_out": self.left_out,
            "known": self.known,
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
        self.left_out, self.known = state["left_out"], state["known"]
        self.info = patsy.DesignInfo(state["columns"], infos, OrderedDict(codings))


def _freeze_factor(factor: Any, info: Any) -> dict[str, Any]:
    state = info.state
    calls, read = syntax.names(factor.code)
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
