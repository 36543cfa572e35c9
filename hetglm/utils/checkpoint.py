"""A file that lets an interrupted run go on: a header, then one line for each batch of replicates."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

try:  # POSIX only
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

MAGIC = "hetglm checkpoint 1"


def fingerprint(*parts: Any) -> str:
    """
    Return a digest of arrays, strings, numbers, and objects made of such.

    Equal data give equal digests in every process; fitted values should be passed as text of a few
    digits, for their last bits depend on the machine.
    """
    digest = hashlib.sha256()
    for part in parts:
        _feed(digest, part)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (list, tuple)):
        digest.update(f"sequence of {len(value)}".encode())
        for item in value:
            _feed(digest, item)
    elif hasattr(value, "__dict__") and not callable(value):
        digest.update(type(value).__qualname__.encode())
        _feed(digest, [item for pair in sorted(vars(value).items()) for item in pair])
    else:
        text = getattr(value, "__qualname__", type(value).__qualname__ if callable(value) else None)
        digest.update(repr(value).encode() if text is None else text.encode())


class Checkpoint:
    """
    Outcomes of replicates on disk.

    Each line is a JSON text with its CRC-32 before it, handed to the system at once: of a run that was
    killed, all is there but, at most, the line that was being written.

    Parameters
    ----------
    path : str or path-like
    what : str
        What is replicated, for messages.
    identity : str
        Fingerprint of model, data and settings.
    entropy : list of int
        Seed of the run, for a new file and to compare with; see ``any_seed``.
    any_seed : bool
        Take over the seed of the file, if there is one.

    Attributes
    ----------
    entropy : list of int
        Seed of the file.

    Raises
    ------
    ValueError
        If the file cannot be written, is no checkpoint, or one of another run; it is not changed.
    """

    def __init__(
        self, path: Any, what: str, identity: str, entropy: list[int], any_seed: bool
    ) -> None:
        self._path = path
        self._file = self._opened()
        try:
            lines, length = self._read()
            header = next(lines, None)
            if header is None:
                self.entropy, length = entropy, 0
            else:
                self.entropy = self._checked(header, what, identity, entropy, any_seed)
            self.outcomes = {i: o for line in lines for i, o in zip(*line, strict=True)}
            self._file.truncate(length)
            self._file.seek(length)
            if header is None:
                self._write([MAGIC, what, identity, entropy])
        except BaseException:
            self.close()
            raise

    def append(self, numbers: list[int], outcomes: list[Any]) -> None:
        """Write the outcomes of some replicates."""
        self._write([numbers, outcomes])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _opened(self) -> BinaryIO:
        """Return the file, created if need be, for this process alone."""
        try:
            path = Path(self._path)
            file = open(path, "r+b" if path.exists() else "x+b")
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.close()
            raise ValueError(
                f"checkpoint={str(self._path)!r}: another process is writing it"
            ) from exc
        except (OSError, TypeError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise ValueError(
                f"checkpoint={str(self._path)!r}: cannot be written ({reason}); give the path of a "
                "file, new or from an interrupted run"
            ) from exc
        return file

    def _read(self) -> tuple[Iterator[Any], int]:
        """Return the records of the file, and how many bytes of it they are."""
        content = self._file.read()
        *lines, torn = content.split(b"\n")
        records = [_record(line) for line in lines]
        if lines and records[-1] is None and len(lines) > 1:
            torn, records = lines[-1] + b"\n" + torn, records[:-1]
        damaged = None in records or (content and not records)
        if damaged or (records and records[0][0] != MAGIC):
            raise ValueError(
                f"checkpoint={str(self._path)!r}: not a checkpoint of this version, or damaged; give "
                "another path, or delete the file to start again"
            )
        return iter(records), len(content) - len(torn)

    def _checked(
        self, header: list[Any], what: str, identity: str, entropy: list[int], any_seed: bool
    ) -> list[int]:
        """Return the seed of the file, or raise where it belongs to another run."""
        _, other, others, seed = header
        where = f"checkpoint={str(self._path)!r}"
        if (other, others) != (what, identity):
            raise ValueError(
                f"{where}: belongs to another run ({other}, other model, data or settings), not to this "
                f"{what}; give another path, or delete the file to start again"
            )
        if not any_seed and seed != entropy:
            raise ValueError(
                f"{where}: was started with another rng; pass it, or None to use that of the file"
            )
        return list(seed)

    def _write(self, record: list[Any]) -> None:
        text = json.dumps(record, separators=(",", ":")).encode()
        self._file.write(b"%08x " % zlib.crc32(text) + text + b"\n")
        self._file.flush()


def _record(line: bytes) -> Any:
    """Return the record of a line, None where it is damaged."""
    head, _, text = line.partition(b" ")
    return json.loads(text) if head == b"%08x" % zlib.crc32(text) else None
