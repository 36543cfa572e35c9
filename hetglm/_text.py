"""Sentences for errors and warnings that point at rows, terms and the caller's line."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

#: What `rows_text` writes of rows that are counted from 0.
_ROWS = re.compile(r"rows? \d+(, (\d+|\.\.\.))*( \(\d+ in all\))? \(counted from 0\)")


def rows_text(mask: Any, names: Any = None) -> str:
    """Return 'row 3' or 'rows 3, 7, 9, ... (12 in all)' for the true entries of a mask, or names."""
    where = np.flatnonzero(mask)
    head = ", ".join(str(i if names is None else names[i]) for i in where[:5])
    if len(where) == 1:
        return f"row {head}"
    return f"rows {head}" + (f", ... ({len(where)} in all)" if len(where) > 5 else "")


def require(bad: Any, name: str, what: str) -> None:
    """Raise a ValueError naming the response and the rows where ``bad`` is true."""
    if np.any(bad):
        raise ValueError(f"{name}: {what}; see {rows_text(bad)} (counted from 0)")


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return 'a, b, c' or 'a, b, ... (9 in all)'."""
    text = ", ".join(str(name) for name in names[:most])
    return text + (f", ... ({len(names)} in all)" if len(names) > most else "")


def warn(message: str, category: type[Warning]) -> None:
    """Warn at the line of the first caller outside the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("hetglm"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def reason(exc: Exception, most: int = 120) -> str:
    """
    Return the kind of an error and why it came, in short.

    Failures are counted by their reasons, so what differs from one to the next is left out: numbers
    of rows, which are of data that no user has seen, and what follows a colon after four words.
    """
    parts = _ROWS.sub("some rows", str(exc)).split("; ")[0].split(":")
    heads = [":".join(parts[: i + 1]) for i in range(len(parts))]
    text = next((head for head in heads if len(head.split()) > 3), heads[-1])
    if len(text) > most:
        text = text[:most].rsplit(None, 1)[0] + " ..."
    return f"{type(exc).__name__}: {text}"
