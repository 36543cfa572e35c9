"""Sentences for errors and warnings that point at rows, terms and the caller's line."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

#: Matches the text of `RowNames.text`.
_ROWS = re.compile(r"\brows? (?:(?!\brows? ).)*? \((counted from 0|index labels?)\)")
#: Largest number of rows named one by one.
N_NAMED = 5


def quoted(value: Any) -> str:
    """Return a level as the user would type it: 'a' or 2009, not np.int64(2009)."""
    return repr(value.item() if isinstance(value, np.generic) else value)


@dataclass(frozen=True)
class RowNames:
    """
    Names of the rows of a fit as the user knows them.

    Attributes
    ----------
    positions : ndarray of int, shape (n,), or None
        Positions in the data that were passed; None where the rows are these data.
    index : pandas.Index or None
        Labels of all rows of these data, None where they have none.
    """

    positions: Any = None
    index: Any = None

    def take(self, rows: Any) -> RowNames:
        """Return the names of some rows: an index array or a boolean mask."""
        return self if self.positions is None else replace(self, positions=self.positions[rows])

    @property
    def labels(self) -> Any:
        """Labels of the rows, None where the data have none."""
        return None if self.index is None else self.index[self.positions]

    @property
    def known(self) -> Any:
        """Labels of the rows, their positions in the data passed where these have none."""
        return self.positions if self.index is None else self.labels

    def text(self, mask: Any) -> str:
        """
        Return 'row 3 (counted from 0)' or 'rows a, b (index labels)' for the true entries of a mask.

        By position where the data passed have no index, where labels are their positions, or where
        they are not unique.
        """
        by_label = self._labelled and not self.index.equals(pd.RangeIndex(len(self.index)))
        head, s = self._named(mask, by_label)
        return f"row{s} {head} ({f'index label{s}' if by_label else 'counted from 0'})"

    def listed(self, mask: Any) -> str:
        """Return 'index labels 43, 188', or 'positions 43, 188 (counted from 0)' without an index."""
        head, s = self._named(mask, self._labelled)
        return (
            f"index label{s} {head}" if self._labelled else f"position{s} {head} (counted from 0)"
        )

    @property
    def _labelled(self) -> bool:
        return self.index is not None and bool(self.index.is_unique)

    def _named(self, mask: Any, by_label: bool) -> tuple[str, str]:
        """Return the names of the first rows of a mask, and the ending of a plural."""
        where = np.flatnonzero(mask)
        first = where[:N_NAMED]
        first = first if self.positions is None else self.positions[first]
        head = ", ".join(map(str, (self.index[first] if by_label else first).tolist()))
        head += f", ... ({len(where)} in all)" if len(where) > N_NAMED else ""
        return head, "" if len(where) == 1 else "s"


def rows_text(mask: Any) -> str:
    """Return 'rows 3, 7, 9, ... (12 in all) (counted from 0)' for the true entries of a mask."""
    return RowNames().text(mask)


class RowError(ValueError):
    """Some rows of an argument are invalid; the message has their positions, see `naming`."""

    parts: tuple[Any, str, str]


@contextmanager
def naming(names: RowNames) -> Iterator[None]:
    """Turn a RowError raised inside into a ValueError with the user's row labels."""
    try:
        yield
    except RowError as exc:
        bad, name, what = exc.parts
        raise ValueError(f"{name}: {what}; see {names.text(bad)}") from None


def require(bad: Any, name: str, what: str) -> None:
    """Raise a ValueError naming the response and the rows where ``bad`` is true."""
    if np.any(bad):
        error = RowError(f"{name}: {what}; see {rows_text(bad)}")
        error.parts = bad, name, what
        raise error


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
