"""Display of numbers, tables and objects: text of 80 columns, one line, HTML and LaTeX."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from html import escape
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.iolib.summary import Summary, fmt_params
from statsmodels.iolib.table import SimpleTable

#: Width of a display in characters: a terminal has 80.
WIDTH = 78
#: Largest number of rows of a table that is printed in full.
MAX_FULL_ROWS = 60
#: Width of the name of a row from which on it is wrapped, beside four numbers in a line.
MAX_NAME = 34
#: Number of rows printed of a longer table: its first and its last ones.
N_SHOWN_ROWS = 10
#: Smallest P that is printed as a number; smaller ones are rounding errors of distribution functions.
MIN_P = 1e-16
#: Absolute value from which numbers are printed with significant digits instead of decimals.
MIN_SIGNIFICANT = 1e6
#: Absolute value from which coefficients are printed with significant digits.
MIN_SIGNIFICANT_COEF = 1e5
#: Number of decimals above which coefficients are printed with significant digits.
MAX_DECIMALS = 6
#: Last parts of the names of columns with P-values.
P_COLUMNS = ("P", "pvalue")
P_PREFIXES = ("P>", "pvalue-")
#: Last parts of the names of columns with Monte-Carlo errors.
ERRORS = ("mc_error", "Error")
#: Last parts of the names of columns with counts or degrees of freedom.
WHOLE = ("df", "DF", "df_resid", "df_denom", "df_diff", "draws", "failed", "Failed")

# Numbers -------------------------------------------------------------------------------------------


def p_text(p: float) -> str:
    """Return '= 0.0123', '< 1e-16' or '= NaN', to follow P."""
    if np.isnan(p):
        return "= NaN"
    return f"= {p:.3g}" if p >= MIN_P else f"< {MIN_P:g}"


def number(x: float, decimals: int = 4, digits: int = 8) -> str:
    """Return a number with ``decimals``, or with significant digits where these would show none."""
    if not np.isfinite(x):
        return "NaN" if np.isnan(x) else f"{x:g}"
    if x == 0 or 10.0 ** (2 - decimals) <= abs(x) < MIN_SIGNIFICANT:
        return f"{x:.{decimals}f}"
    return f"{x:.{digits}g}" if abs(x) >= MIN_SIGNIFICANT else f"{x:.{decimals}g}"


# Tables --------------------------------------------------------------------------------------------


def table_text(table: pd.DataFrame, width: int | None = None) -> str:
    """Return a table as text, in blocks of columns where a width is given."""
    text = table.to_string(line_width=width, **_shown(table))
    return "\n".join(line.rstrip() for line in text.splitlines())


def table_html(table: pd.DataFrame) -> str:
    """Return a table as HTML."""
    return str(table.to_html(escape=True, **_shown(table)))


def _shown(table: pd.DataFrame) -> dict[str, Any]:
    """Return the arguments of pandas' writers of a table."""
    formats = [_cell(table.iloc[:, j]) for j in range(table.shape[1])]
    many = len(table) > MAX_FULL_ROWS
    return {
        "formatters": formats,
        "max_rows": N_SHOWN_ROWS if many else None,
        "show_dimensions": many,
    }


def _cell(column: pd.Series) -> Callable[[Any], str] | None:
    """Return the formatter of a numeric column, None for others."""
    label = column.name[-1] if isinstance(column.name, tuple) else column.name
    kind = str(label).split(".")[-1]
    if not pd.api.types.is_float_dtype(column):
        return None
    if kind in P_COLUMNS or kind.startswith(P_PREFIXES):
        return lambda p: p_text(p).removeprefix("= ")
    if kind in ERRORS:
        return "{:.2g}".format
    return "{:.10g}".format if kind in WHOLE else number


# Objects -------------------------------------------------------------------------------------------


class Printed:
    """
    An object that shows itself: as text, in one line and as HTML.

    A subclass says what it is in ``_headline`` and gives the paragraphs and tables under it in
    ``_body``. Its own dataclass decorator needs ``repr=False``.
    """

    def _headline(self) -> str:
        raise NotImplementedError

    def _body(self) -> list[str | pd.DataFrame]:
        return []

    def __str__(self) -> str:
        """Return the object as text of 80 columns."""
        parts = [self._headline(), *self._body()]
        return "\n".join(
            paragraph(part) if isinstance(part, str) else table_text(part, WIDTH) for part in parts
        )

    def __repr__(self) -> str:
        """Return a description of the object in one line."""
        return f"<{type(self).__name__}: {' '.join(self._headline().split())}>"

    def _repr_html_(self) -> str:
        """Return the object as HTML for a notebook."""
        parts = [self._headline(), *self._body()]
        return "\n".join(
            f"<p>{escape(part)}</p>" if isinstance(part, str) else table_html(part)
            for part in parts
        )


def paragraph(text: str) -> str:
    """Return text in lines of 80 columns; its own line ends stay, and "P = 0.01" is not broken."""
    joined = re.sub(r" ([=<]) ", "\0\\1\0", text)
    parts = [
        wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False)
        for line in joined.splitlines()
    ]
    return "\n".join(line for part in parts for line in part).replace("\0", " ")


# Summaries in statsmodels' format ------------------------------------------------------------------

#: Special characters of LaTeX and their escapes.
LATEX: dict[str, str | int | None] = {
    **{mark: f"\\{mark}" for mark in "#$%&_{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\\": r"\textbackslash{}"},
    **{"^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
}


def latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    return text.translate(str.maketrans(dict(LATEX)))


class TitledSummary(Summary):
    """statsmodels' summary, whose LaTeX has the title of each table and whose HTML is escaped."""

    def as_latex(self) -> str:
        """Return a tabular for each table under its title, then the notes."""
        parts = [_latex_table(table) for table in self.tables]
        notes = (self.extra_txt or "").splitlines()
        return "\n".join([*parts, "", " \\newline\n".join(map(latex, notes))])

    def as_html(self) -> str:
        """Return the tables, with their titles as captions, and the notes."""
        parts = [_changed(table, escape).as_html() for table in self.tables]
        notes = "<br/>".join(map(escape, (self.extra_txt or "").splitlines()))
        return "\n".join([*parts, f"<p>{notes}</p>"])


def _changed(table: SimpleTable, change: Callable[[str], str]) -> SimpleTable:
    """Return a table with its texts and its title changed."""
    changed = copy.deepcopy(table)
    for row in changed:
        for cell in row:
            cell.data = change(str(cell.data))
    changed.title = change(table.title) if table.title else table.title
    return changed


def _latex_table(table: SimpleTable) -> str:
    """Return a table as LaTeX, its title above it."""
    escaped = _changed(table, latex)
    title, escaped.title = escaped.title, None
    lines = [rf"\textbf{{{title}}}\\"] if title else []
    body = escaped.as_latex_tabular(center=False, replacements={})
    return "\n".join([r"\begin{center}", *lines, body, r"\end{center}"])


def coefficient_table(
    names: list[str],
    columns: Sequence[Any],
    title: str,
    alpha: float,
    use_t: bool,
    what: str = "coef",
) -> SimpleTable:
    """
    Return a table in the form of statsmodels', with significant digits on any scale.

    Parameters
    ----------
    names : list of str
    columns : sequence of ndarray
        Estimates, standard errors, statistics, P and limits of shape (k, 2).
    title : str
    alpha : float
        One minus the coverage of the limits.
    use_t : bool
        Whether the statistics are t, not z.
    what : str
        Name of the estimates.
    """
    stat = "t" if use_t else "z"
    # as statsmodels writes them
    ends = [f"[{alpha / 2}", f"{1 - alpha / 2}]"]
    rows = [_coefficient_row(*row[:4], *row[4]) for row in zip(*columns, strict=True)]
    header = [what, "std err", stat, f"P>|{stat}|", *ends]
    if not rows:
        return SimpleTable([["(no coefficients)"]], title=title)
    return SimpleTable(rows, header, names, title=title, txt_fmt=fmt_params)


def estimate_table(
    names: list[str], columns: Sequence[Any], title: str, alpha: float
) -> SimpleTable:
    """
    Return a table like `coefficient_table` without tests: estimates, standard errors, limits.

    Parameters
    ----------
    names, title, alpha
        As of `coefficient_table`.
    columns : sequence of ndarray
        Estimates, standard errors and limits of shape (k, 2).
    """
    rows = [
        (cells := _coefficient_row(value, se, np.nan, np.nan, *limits))[:2] + cells[4:]
        for value, se, limits in zip(*columns, strict=True)
    ]
    header = ["estimate", "std err", f"[{alpha / 2}", f"{1 - alpha / 2}]"]
    lines, wrapped = [], []
    for name, row in zip(names, rows, strict=True):
        *first, last = wrap(name, MAX_NAME, subsequent_indent="  ", break_long_words=False)
        lines += [*first, last]
        wrapped += [[""] * len(row) for _ in first] + [row]
    return SimpleTable(wrapped, header, lines, title=title, txt_fmt=fmt_params)


def _coefficient_row(
    value: float, se: float, stat: float, p: float, low: float, high: float
) -> list[str]:
    """Return the cells of a row: as many decimals as show two digits of the standard error."""
    digit = int(np.floor(np.log10(se))) if np.isfinite(se) and se > 0 else 0
    decimals = max(3, 1 - digit)
    sizes = np.abs([value, se, low, high])
    if decimals <= MAX_DECIMALS and np.all(sizes[np.isfinite(sizes)] < MIN_SIGNIFICANT_COEF):
        numbers = [f"{value:.{max(4, decimals)}f}", *(f"{x:.{decimals}f}" for x in (se, low, high))]
    else:
        numbers = [_significant(x, digit) for x in (value, se, low, high)]
    value_text, se_text, *limits = numbers
    return [
        f"{value_text:>10}",
        f"{se_text:>9}",
        f"{stat:9.3f}" if not abs(stat) >= MIN_SIGNIFICANT_COEF else f"{stat:9.4g}",
        f"{p:#6.3f}",
        *(f"{x:>9}" for x in limits),
    ]


def _significant(x: float, digit: int) -> str:
    """Return a number down to the digit after that of its standard error, four to eight in all."""
    size = int(np.floor(np.log10(abs(x)))) if np.isfinite(x) and x != 0 else digit
    return f"{x:.{min(max(size - digit + 2, 4), 8)}g}"
