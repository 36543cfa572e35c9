"""Likelihood ratios against submodels without some terms."""

from __future__ import annotations

from typing import Any

import pandas as pd

from hetglm.estimation.record import TOL_LLF, Fit, Fitted
from hetglm.estimation.refit import fit_again, refitted_from_null
from hetglm.exceptions import NotNestedError
from hetglm.inference.hypotheses import Hypothesis
from hetglm.utils.messages import listed


def likelihood_ratio(larger: float, smaller: float, what: str) -> float:
    """Return the likelihood ratio 2 (larger - smaller); raise where it is negative beyond rounding."""
    value = 2 * (larger - smaller)
    if value < -TOL_LLF * (1 + abs(larger)):
        raise ValueError(
            f"the likelihood ratio of {what} is negative ({value:.3g}): the search did not "
            "reach the maximum of the larger model, even when started at the estimates of the smaller "
            "one; try other start_params, or remove terms"
        )
    return max(value, 0.0)


class Submodels:
    """Submodels of a fit without some of its columns, each fitted once."""

    def __init__(self, model: Any, fitted: Fit) -> None:
        self.model, self.fitted = model, fitted
        self._known: dict[frozenset[int], tuple[Any, Fit]] = {frozenset(): (model, fitted)}

    def without(self, columns: Any) -> tuple[Any, Fit]:
        """Return the model without some columns, and its fit."""
        columns = frozenset(columns)
        if columns not in self._known:
            reduced = self._reduced(columns)
            of = self.fitted
            again = fit_again(reduced, criterion=of.criterion, nodes=of.requested_nodes)
            self._known[columns] = reduced, again
        return self._known[columns]

    def ratio(self, hypothesis: Hypothesis) -> tuple[float, int]:
        """Return the likelihood ratio of a term and its degrees of freedom."""
        absent, term = frozenset(hypothesis.absent), hypothesis.term
        (big, larger), (small, smaller) = (
            self.without(columns) for columns in (absent, absent.union(term.columns))
        )
        if larger.maximum < smaller.maximum:
            larger = refitted_from_null(big, larger, small, smaller)
            self._known[absent] = big, larger
        df = int(big.estimable.sum() - small.estimable.sum())
        return likelihood_ratio(larger.maximum, smaller.maximum, term.name), df

    def fits(self, hypothesis: Hypothesis) -> tuple[Fitted, Fitted]:
        """Return the fits without and with a term, for refits to simulated data."""
        absent = {*hypothesis.absent}
        both = (
            self.without(columns) for columns in (absent.union(hypothesis.term.columns), absent)
        )
        null, full = (model.fitted(fit) for model, fit in both)
        return null, full

    def _reduced(self, columns: frozenset[int]) -> Any:
        core, names = self.model.core, self.model.parameter_names
        designs: dict[str, pd.DataFrame] = {}
        for name, A, first in (
            ("exog", core.X, 0),
            ("exog_dispersion", core.Z, core.k_mean),
        ):
            kept = [j for j in range(A.shape[1]) if first + j not in columns]
            if len(kept) == A.shape[1]:
                continue
            if not kept and name == "exog_dispersion":
                lost = listed([names[j] for j in sorted(columns) if j >= core.k_mean])
                raise NotNestedError(
                    f"without {lost} the dispersion has no column left, so there is no smaller model to "
                    "test against; keep an intercept in the dispersion formula"
                )
            own = self.model.column_names[name]
            designs[name] = pd.DataFrame(A[:, kept], columns=[own[j] for j in kept])
        return self.model.clone(**designs)
