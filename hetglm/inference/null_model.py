"""Fits of a result's model with one or both parts constant, and their starting values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from hetglm.estimation.record import TOL_LLF, Fit, Fitted, need_rows
from hetglm.estimation.refit import fit_again, refitted_from_null
from hetglm.inference.random_terms import has_new_variances
from hetglm.likelihood.objective import Criterion
from hetglm.typing import Array
from hetglm.utils.linalg import contains


@dataclass(frozen=True)
class NullModel:
    """
    The model of a result with one, both or neither part replaced by a constant, fitted once.

    Attributes
    ----------
    res : LocationScaleResults
        Keeps the fits.
    mean : {"full", "constant", "empty"}
    dispersion : {"full", "constant"}
    criterion : Criterion
        What its fit maximises, that of the result or another.
    """

    res: Any
    mean: str
    dispersion: str
    criterion: Criterion

    @cached_property
    def model(self) -> Any:
        """The model, without formula."""
        n = self.res.model.core.n
        core, constant = self.res.model.core, pd.DataFrame({"Intercept": np.ones(n)})
        designs = {
            "full": None,
            "constant": constant,
            "empty": pd.DataFrame(index=range(n)),
        }
        # a known dispersion stays what it is
        dispersion = "full" if core.dispersion_is_known else self.dispersion
        of_mean = [t for t in self.res.model.own_random_terms if t.part == "mean"]
        random = None if dispersion == "full" else of_mean
        return self.res.model.clone(
            exog=designs[self.mean], exog_dispersion=designs[dispersion], random=random
        )

    @property
    def fit(self) -> Fit:
        """Its fit, that of the result where neither part is replaced."""
        key = self.mean, self.dispersion, self.criterion
        if key == ("full", "full", self.res.fit.criterion):
            return self.res.fit
        if key not in self.res.null_fits:
            need_rows(self.res.model.core)
            start = self._start()
            self.res.null_fits[key] = fit_again(
                self.model, start, self.criterion, self.res.fit.requested_nodes
            )
        return self.res.null_fits[key]

    def _start(self) -> Array | None:
        """Return starting values, None for the default ones."""
        known = self.res.model.core.dispersion_is_known or self.res.model.random
        of_dispersion = (self.mean, self.dispersion) == ("full", "constant")
        return _constant_start(self.res) if of_dispersion and not known else None

    @property
    def fitted(self) -> Fitted:
        """Its fit as refits need it."""
        fitted: Fitted = self.model.fitted(self.fit)
        return fitted

    @property
    def is_nested(self) -> bool:
        """Whether the result's dispersion can be a constant."""
        core = self.res.model.core
        return contains(core.Z, np.ones((core.n, 1)))

    @property
    def at_boundary(self) -> bool:
        """Whether a dispersion or a variance is at the boundary, where chi-square does not hold."""
        return self.fit.boundary is not None or self.without_variances

    @property
    def without_variances(self) -> bool:
        """Whether it lacks random effects of the result's dispersion."""
        return has_new_variances(self.model.random, self.res.model.random)

    def larger_fit(self) -> Fit:
        """Return the result's fit; where it is below this one, refitted from these estimates."""
        found = self.res.fit
        below = self.fit.maximum - found.maximum
        if 2 * below <= TOL_LLF * (1 + abs(found.maximum)):
            return found
        return refitted_from_null(self.res.model, found, self.model, self.fit)


def _constant_start(res: Any) -> Array | None:
    """Return the fitted mean with its average dispersion: close to the constant model's maximum."""
    core, internal = res.core, res.fit.internal
    zeta = core.predictors(internal).zeta
    offset = 0.0 if core.offset_dispersion is None else core.offset_dispersion
    inside = np.isfinite(zeta)
    if not inside.any():
        return None
    weights = None if core.freq is None else core.freq[inside]
    level = np.average((zeta - offset)[inside], weights=weights)
    start = np.concatenate([internal[: core.k_mean], [level]])
    core = res.model.core
    ones = core.with_designs(Z=np.ones((core.n, 1)))
    return start if ones.loglike(start) > -np.inf else None
