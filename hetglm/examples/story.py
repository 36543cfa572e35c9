"""What the examples share: paragraphs of 78 columns, pictures in a folder, and ``--out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd

from hetglm.shell.files import check_folder

WIDTH = 78
#: Folder of the pictures, unless ``--out`` names another.
OUT = Path("hetglm-out")


def say(text: str) -> None:
    """Print a paragraph, wrapped to 78 columns."""
    print(fill(" ".join(text.split()), WIDTH), end="\n\n")


def heading(text: str) -> None:
    """Print a heading."""
    print(text, "-" * len(text), sep="\n", end="\n\n")


def show(table: pd.DataFrame | pd.Series, digits: int = 4) -> None:
    """Print a table."""
    print(table.round(digits).to_string(), end="\n\n")


def save(pictures: Mapping[str, Callable[[], Any]], out: Path) -> None:
    """Save each picture that its function draws, or say what that needs."""
    try:
        for name, draw in pictures.items():
            figure = draw()
            out.mkdir(parents=True, exist_ok=True)
            figure.savefig(out / name, dpi=120)
            print(f"Picture: {out / name}")
    except ImportError as exc:
        print(f"No plot: {exc}")


def run(main: Callable[[Path], None], module: str) -> None:
    """Run an example from the shell, its pictures in the folder that ``--out`` names."""
    parser = argparse.ArgumentParser(
        f"python -m {module}", description=(main.__doc__ or "").strip().split("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="folder for the pictures"
    )
    out = parser.parse_args().out
    try:
        check_folder(out)
        main(out)
    except (ValueError, OSError) as exc:
        print(f"hetglm: {' '.join(str(exc).split())}", file=sys.stderr)
        sys.exit(2)
