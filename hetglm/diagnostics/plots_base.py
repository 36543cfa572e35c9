"""Shared by the plots of fits: the fits compared, required rows, rows that separation excludes."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.estimation import checks
from hetglm.likelihood.likelihood import Likelihood
from hetglm.typing import Array


def compared(res: Any, res2: Any, labels: Any) -> tuple[list[Any], list[str | None]]:
    """Return one fit or two, and their names in a legend."""
    if res2 is None:
        return [res], [None]
    if not isinstance(getattr(getattr(res2, "model", None), "core", None), Likelihood):
        raise ValueError(f"res2: give the results of another fit of hetglm, not {res2!r:.60}")
    two = isinstance(labels, (list, tuple)) and len(labels) == 2
    if not two or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels={labels!r}: give two strings, the names of the two fits")
    return [res, res2], list(labels)


def separation(res: Any) -> tuple[Array, list[str]]:
    """
    Return which rows are fitted at the limit of a separated mean, shape (n,), and the coefficients.

    The fitted variance of such rows is zero up to rounding, so standardised residuals are meaningless.
    """
    core, found = res.model.core, None
    if core.n:
        found = checks.separated(core, res.fit, res.model.parameter_names)
    return (np.zeros(core.n, dtype=bool), []) if found is None else found
