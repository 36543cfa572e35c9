"""Tables and lines of the summary that only a fit with random effects has."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetglm.typing import Array


def likelihood_text(res: Any) -> str:
    """Return how the likelihood was computed, with what was integrated out after REML."""
    by = res.fit.criterion
    adjusted = "" if by.comparable_means else f", {by.name}"
    return f"marginal, {_uncapitalised(res.fit.integration)}{adjusted}"


def _uncapitalised(text: str) -> str:
    return text if text.startswith(("Laplace", "Gauss")) else text[:1].lower() + text[1:]


def rows(res: Any) -> list[tuple[str, str]]:
    """Return labels and texts of the lines on groups and on the error of Laplace's approximation."""
    sizes = [("Groups:", _sizes(name, sizes)) for name, sizes in res.group_sizes.items()]
    if np.isnan(res.laplace_error):
        return sizes
    se = res.fit.laplace_error_se
    error = f"log-likelihood less Laplace's approximation {res.laplace_error:+.2g}"
    return [*sizes, ("Error:", error + (f", Monte-Carlo SE {se:.1g}" if se else ""))]


def _sizes(name: str, sizes: Array) -> str:
    """Return the number of groups and of their rows."""
    low, high = int(sizes.min()), int(sizes.max())
    of = f"{low}" if low == high else f"{low} to {high}"
    return f"{name}, {len(sizes)} of {of} row{'s' * (high != 1)}"
