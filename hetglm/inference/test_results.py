"""statsmodels' tests of coefficients, printed in the style of this package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.contrast import ContrastResults, MultiCompResult, WaldTestResults

from hetglm.utils.display import Printed, p_text
from hetglm.utils.host import ScoreTestResult


class LinearTests(Printed, ContrastResults):
    """Tests of linear hypotheses, one by one or jointly; a statsmodels ContrastResults."""

    def _headline(self) -> str:
        if self.effect is not None:
            return f"Tests of linear hypotheses ({self._distribution()})"
        statistic, p = _number(self.statistic), p_text(_number(self.pvalue))
        if hasattr(self, "fvalue"):
            degrees = f"{_number(self.df_num):.6g} and {_number(self.df_denom):.6g} df"
            return f"F test of linear hypotheses: F = {statistic:.4g} on {degrees}, P {p}"
        degrees = f"{_number(self.df_denom):.6g} df"
        return f"Wald test of linear hypotheses: chi-square = {statistic:.4g} on {degrees}, P {p}"

    def _distribution(self) -> str:
        if self.distribution != "t":
            return "normal distribution"
        if np.size(self.df_denom) > 1:
            return "t distributions on degrees of freedom of their own"
        return f"t distribution on {_number(self.df_denom):.6g} df"

    def _body(self) -> list[str | pd.DataFrame]:
        if self.effect is None:
            return []
        columns = [self.effect, self.sd, self.statistic, self.pvalue, *self.conf_int().T]
        letter = "t" if self.distribution == "t" else "z"
        names = ["coef", "se", letter, "P", "ci_lower", "ci_upper"]
        table = {name: np.ravel(column) for name, column in zip(names, columns, strict=True)}
        if self.distribution == "t" and np.size(self.df_denom) > 1:
            table["df"] = np.ravel(self.df_denom)
        return [pd.DataFrame(table, index=self.c_names)]


class TermTests(Printed, WaldTestResults):
    """Wald tests of the terms of both parts; a statsmodels WaldTestResults."""

    def _headline(self) -> str:
        return "Wald tests of the terms"

    def _body(self) -> list[str | pd.DataFrame]:
        letter = "F" if self.distribution == "F" else "chi2"
        names = [letter, "P", "df", "df_denom"][: self.table.shape[1]]
        numbers = [[_number(value) for value in row] for row in self.table.to_numpy(dtype=object)]
        return [pd.DataFrame(numbers, index=self.table.index, columns=names)]


class PairwiseComparisons(Printed, MultiCompResult):
    """Pairwise comparisons of the levels of a factor; a statsmodels MultiCompResult."""

    def _headline(self) -> str:
        return f"All pairs of levels of {self.term}"

    def _body(self) -> list[str | pd.DataFrame]:
        return [self.result_frame]


class _Score(Printed):
    """Score test: statistic, P and degrees of freedom, printed."""

    def _headline(self) -> str:
        statistic, p, df = self._items()
        if np.size(statistic) > 1:
            return "Score tests of further columns, one by one"
        degrees = "" if df is None else f" on {_number(df):.6g} df"
        return (
            f"Score test of further columns: statistic = {_number(statistic):.4g}{degrees}, "
            f"P {p_text(_number(p))}"
        )

    def _body(self) -> list[str | pd.DataFrame]:
        statistic, p, _ = self._items()
        if np.size(statistic) == 1:
            return []
        return [pd.DataFrame({"z": np.ravel(statistic), "P": np.ravel(p)})]

    def _items(self) -> tuple[Any, Any, Any]:
        raise NotImplementedError


class ScoreTest(_Score, ScoreTestResult):
    """A score test of further columns; the class of statsmodels from 0.15 on."""

    def _items(self) -> tuple[Any, Any, Any]:
        return self.statistic, self.pvalue, self.k_constraint


class ScoreTuple(_Score, tuple[Any, ...]):
    """A score test of further columns: a tuple of statistic, P and, where known, degrees of freedom."""

    def _items(self) -> tuple[Any, Any, Any]:
        return self[0], self[1], self[2] if len(self) > 2 else None


def score_tested(test: Any) -> ScoreTest | ScoreTuple:
    """Return a score test, a tuple or statsmodels' class, as one of the classes that print."""
    if isinstance(test, tuple):
        return ScoreTuple(test)
    names = ("statistic", "pvalue", "distribution", "k_constraint")
    return ScoreTest(**{name: getattr(test, name) for name in names})


def _number(value: Any) -> float:
    """Return a number that statsmodels may wrap in an array."""
    return float(np.squeeze(np.asarray(value, dtype=float)))
