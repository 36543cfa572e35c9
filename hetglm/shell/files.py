"""Files of the command line: data read from text or parquet, folders and results written."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from hetglm.utils.messages import listed

#: Separators that are detected -> their names on the command line and in messages.
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", r"\s+": "space"}
#: Number of first rows of a file from which separator and decimal mark are detected.
N_PROBE_ROWS = 1000
#: Missing values: pandas' own markers but None, which is a label too (a treatment, for one).
MISSING = ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null")
#: First bytes of files that are no text, what they are, and what to do.
SIGNATURES = {
    b"PK\x03\x04": "it is a spreadsheet or zip archive; save the sheet as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "it is an old Excel file; save the sheet as CSV",
}
UNPACK: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
}
PARQUET = b"PAR1"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
_COMMA_DECIMAL = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")
_POINT_DECIMAL = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")


@dataclass(frozen=True)
class Format:
    """
    How a text file is written; None is found from the file.

    Attributes
    ----------
    sep : str or None
        Separator of columns: a character, or a name in `SEPARATORS`.
    decimal : {None, ".", ","}
        Decimal mark.
    encoding : str or None
        UTF-8 by default, UTF-16 where the file has its byte order mark.
    na : sequence of str
        Missing-value markers in addition to `MISSING`.
    """

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    na: Sequence[str] = ()


@dataclass(frozen=True)
class DataFile:
    """
    A data file as read.

    Attributes
    ----------
    frame : DataFrame
        The index has the line of the file that each row is on, where each row has one.
    description : str
        Rows, columns and how they were separated, for the user.
    place : str
        What the index counts: "line" or "row".
    repeated : set of str
        Names that more than one column has in the file; pandas gives the later ones others.
    """

    frame: pd.DataFrame
    description: str
    place: str
    repeated: frozenset[str] = frozenset()


def read_table(path: str, form: Format) -> DataFile:
    """
    Return a data file: text with separators, plain or compressed, or parquet.

    Raises
    ------
    ValueError
        In one sentence, where it cannot be read, or has no rows.
    ImportError
        For parquet without pyarrow.
    """
    raw, repeated = _bytes(path), frozenset[str]()
    if raw.startswith(PARQUET):
        frame, how, place = _parquet(path), "parquet", "row"
    else:
        frame, how, place, repeated = _parsed(path, _decoded(path, raw, form.encoding), form)
    names = [str(name) for name in frame.columns]
    if frame.empty:
        raise ValueError(f"{path}: it names the columns ({listed(names)}) but has no rows")
    rows, columns = frame.shape
    counted = f"{rows} row{'s' * (rows > 1)}, {columns} column{'s' * (columns > 1)}"
    if place == "line":
        counted = f"{counted}, rows named by their line"
    return DataFile(frame, f"{path}: {counted} ({how})", place, repeated)


def _bytes(path: str) -> bytes:
    """Return the content of a file, unpacked."""
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file")
    if os.path.isdir(path):
        raise ValueError(f"{path}: cannot be read as CSV: it is a folder; name a file in it")
    try:
        raw = Path(path).read_bytes()
        for signature, unpack in UNPACK.items():
            raw = unpack(raw) if raw.startswith(signature) else raw
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise ValueError(f"{path}: cannot be read as CSV: {reason}") from exc
    for signature, advice in SIGNATURES.items():
        if raw.startswith(signature):
            raise ValueError(f"{path}: cannot be read as CSV: {advice}")
    return raw


def _parquet(path: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    except ImportError as exc:
        raise ImportError(
            f"{path}: parquet needs pyarrow: pip install pyarrow, or save the data as CSV"
        ) from exc
    except Exception as exc:  # pyarrow has errors of its own
        raise ValueError(f"{path}: cannot be read as parquet: {exc}") from exc


def _decoded(path: str, raw: bytes, encoding: str | None) -> str:
    """Return the text of a file."""
    cannot = f"{path}: cannot be read as CSV"
    if encoding is None and raw.startswith(UTF16):
        encoding = "utf-16"
    if encoding is None and b"\0" in raw:
        raise ValueError(f"{cannot}: it is not text (for UTF-16 write --encoding utf-16)")
    try:
        text = raw.decode(encoding or "utf-8-sig")
    except LookupError as exc:
        raise ValueError(
            f"--encoding {encoding}: unknown; write such as utf-8, latin-1, cp1252 or utf-16"
        ) from exc
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        other = "latin-1 (or cp1252, utf-16)" if encoding is None else "utf-8 (or latin-1, cp1252)"
        raise ValueError(
            f"{cannot}: byte 0x{raw[exc.start]:02x} in line {line} is not {encoding or 'UTF-8'}; name "
            f"the file's encoding, such as --encoding {other}"
        ) from exc
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise ValueError(f"{cannot}: it is empty")
    return text


def _parsed(path: str, text: str, form: Format) -> tuple[pd.DataFrame, str, str, frozenset[str]]:
    """Return the data, how columns are separated, what the index counts, and names given twice."""
    # remarks at the top; their lines count
    text = re.sub(r"\A(#.*\n)+", lambda remarks: "\n" * remarks[0].count("\n"), text)
    sep = _separator(text) if form.sep is None else _by_name(form.sep)
    head = _head(text, sep)
    _check_widths(path, head, sep)
    decimal = _decimal(path, head) if form.decimal is None else form.decimal
    closed = len(head) > 1 and all(len(r) > len(head[0]) and not r[-1] for r in head[1:])
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=sep,
            decimal=decimal,
            keep_default_na=False,
            na_values=[*MISSING, *form.na],
            skipinitialspace=True,
            # a separator after the last column; else a longer row begins with its name, as R writes it
            index_col=False if closed else None,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as exc:
        raise ValueError(
            f"{path}: cannot be read as CSV, separated by {SEPARATORS.get(sep, sep)} ({exc}); name the "
            "separator with --sep"
        ) from exc
    frame.columns = [str(name).strip() for name in frame.columns]
    lines = [i for i, line in enumerate(text.splitlines(), 1) if line.strip()][1:]
    exact = len(lines) == len(frame)
    frame.index = pd.Index(lines if exact else range(1, len(frame) + 1))
    how = f"separated by {SEPARATORS.get(sep, sep)}{', decimal comma' * (decimal == ',')}"
    names = [name.strip() for name in head[0]]
    repeated = frozenset(name for name in names if names.count(name) > 1)
    return frame, how, "line" if exact else "row", repeated


def _by_name(sep: str) -> str:
    """Return a separator of the command line as pandas takes it."""
    names = {name: one for one, name in SEPARATORS.items()}
    sep = {"\\t": "\t", " ": r"\s+", **names}.get(sep, sep)
    if len(sep) != 1 and sep not in SEPARATORS:
        raise ValueError(f"--sep {sep}: write one character, or {', '.join(names)}")
    return sep


def _head(text: str, sep: str) -> list[list[str]]:
    """Return the fields of the first rows."""
    if sep == r"\s+":
        lines = islice(filter(str.strip, io.StringIO(text)), N_PROBE_ROWS)
        return [re.findall(r'"[^"]*"|\S+', line) for line in lines]
    rows = csv.reader(io.StringIO(text), delimiter=sep, skipinitialspace=True)
    try:
        return list(islice(filter(any, rows), N_PROBE_ROWS))
    except csv.Error:  # an unclosed quote, for one: pandas says it better
        return [[""]]


def _separator(text: str) -> str:
    """Return the separator that makes the most columns of the header, and as many of each row."""
    heads = {sep: _head(text, sep) for sep in SEPARATORS}
    wide = {sep: len(rows[0]) for sep, rows in heads.items() if len(rows[0]) > 1}
    if len(wide) > 1:
        wide.pop(r"\s+", None)  # names and labels may have spaces
    even = {sep: width for sep, width in wide.items() if _even(heads[sep])}
    widths = even or wide or {",": 1}
    return max(widths, key=lambda sep: widths[sep])


def _even(rows: list[list[str]]) -> bool:
    """Return whether all rows have as many fields as the header, or all one more (names of rows)."""
    widths = {len(row) for row in rows[1:]}
    return len(widths) <= 1 and widths <= {len(rows[0]), len(rows[0]) + 1}


def _check_widths(path: str, head: list[list[str]], sep: str) -> None:
    """Raise where a row has more fields than the header, unless all have: pandas would shift them."""
    width, more = len(head[0]), [i for i, row in enumerate(head) if len(row) > len(head[0])]
    if more and (len(more) < len(head) - 1 or max(map(len, head)) > width + 1):
        raise ValueError(
            f"{path}: cannot be read as CSV, separated by {SEPARATORS.get(sep, sep)}: row {more[0]} has "
            f"{len(head[more[0]])} fields, the header {width}; name the separator with --sep, or put "
            "quotes around text that contains it"
        )
    if all(_is_number(name) for name in head[0]):
        raise ValueError(f"{path}: the first line must name the columns; it has {listed(head[0])}")


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _decimal(path: str, head: list[list[str]]) -> str:
    """Return the decimal mark: a comma where numbers have one and none has a point."""
    fields = [field.strip() for row in head[1:] for field in row]
    commas = [field for field in fields if _COMMA_DECIMAL.fullmatch(field)]
    if not commas or any(_POINT_DECIMAL.fullmatch(field) for field in fields):
        return "."
    if all(_THOUSANDS.fullmatch(field) for field in commas):
        raise ValueError(
            f"{path}: {commas[0]!r} may be a decimal number or thousands; write --decimal , or remove "
            "the commas"
        )
    return ","


def check_folder(folder: Path, files: Sequence[str] = (), force: bool = True) -> None:
    """
    Raise a ValueError where files cannot be written to a folder, which may not exist yet.

    Parameters
    ----------
    folder : Path
    files : sequence of str
        Names of the files.
    force : bool
        Whether existing ones may be overwritten.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not there.is_dir():
        raise ValueError(f"--out {folder}: {there} is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder}: no permission to write to {there.absolute()}")
    for name in files:
        if (folder / name).is_dir():
            raise ValueError(
                f"--out {folder}: {folder / name} is a folder; name another with --out"
            )
        if (folder / name).exists() and not force:
            raise ValueError(
                f"{folder / name} exists: write --force to overwrite it, or name another folder with "
                "--out"
            )


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """Save a file in a folder that is made where it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path)
