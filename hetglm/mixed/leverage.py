"""Leverages and standardised residuals of rows, given the random effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hetglm.diagnostics import residuals
from hetglm.diagnostics.influence import standardised
from hetglm.likelihood.likelihood import Likelihood
from hetglm.mixed.conditional import Uncertainty
from hetglm.typing import Array


@dataclass(frozen=True)
class ConditionalResiduals:
    """
    Residuals given the random effects over sqrt(1 - h).

    The leverages h count the random effects: W times the covariance of a row's linear predictors given
    the data, W the expected information of the row. Of a linear mixed model they are the diagonal of the
    matrix that takes responses to fitted values (Hodges and Sargent 2001, Biometrika 88, 367-379).

    Attributes
    ----------
    results : MixedResults
    rows : ndarray of int, shape (m,), optional
        Positions of the rows; all by default.
    """

    results: Any
    rows: Array | None = None

    @cached_property
    def _core(self) -> Likelihood:
        core: Likelihood = self.results.core
        return replace(core if self.rows is None else core.take(self.rows), freq=None)

    @cached_property
    def _expected(self) -> tuple[Array, Array, Array]:
        return self._core.expected_factors(self.results.fit.internal)

    @cached_property
    def _leverages(self) -> tuple[Array, Array]:
        model, core = self.results.model, self._core
        rows = slice(None) if self.rows is None else self.rows
        factors = tuple(
            replace(f, codes=f.codes[rows], values=f.values[rows]) for f in model.random
        )
        V = Uncertainty(model.core, model.random, self.results.fit).of_rows(core.X, core.Z, factors)
        mm, mp, pp = (-w for w in self._expected)
        return mm * V.eta_eta + mp * V.eta_zeta, mp * V.eta_zeta + pp * V.zeta_zeta

    @property
    def hat_matrix_diag(self) -> Array:
        """Leverages on the mean, shape (m,)."""
        return self._leverages[0]

    @cached_property
    def resid_studentized(self) -> Array:
        """Pearson residuals over sqrt(1 - h), shape (m,)."""
        raw = residuals.pearson(self._core, self.results.fit.internal)
        return standardised(raw, self.hat_matrix_diag)

    @cached_property
    def resid_studentized_dispersion(self) -> Array:
        """Dispersion residuals over sqrt(1 - h), shape (m,)."""
        raw = residuals.dispersion(self._core, self.results.fit.internal, self._expected[2])
        return standardised(raw, self._leverages[1])
