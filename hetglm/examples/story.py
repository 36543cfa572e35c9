"""Shared by the examples: paragraphs of 78 columns, plots in a folder, and ``--out DIR``."""

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
#: Folder of the plots, unless ``--out`` names another.
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


def save(plots: Mapping[str, Callable[[], Any]], out: Path) -> None:
    """Save the plot of each function to its file; without matplotlib say how to install it."""
    try:
        for name, draw in plots.items():
            figure = draw()
            out.mkdir(parents=True, exist_ok=True)
            figure.savefig(out / name, dpi=120)
            print(f"Plot: {out / name}")
    except ImportError as exc:
        print(f"No plot: {exc}")


def run(main: Callable[[Path], None], module: str) -> None:
    """Run an example from the shell, with its plots in the folder named by ``--out``."""
    parser = argparse.ArgumentParser(
        f"python -m {module}", description=(main.__doc__ or "").strip().split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="folder for the plots")
    out = parser.parse_args().out
    try:
        check_folder(out)
        main(out)
    except (ValueError, OSError) as exc:
        print(f"hetglm: {' '.join(str(exc).split())}", file=sys.stderr)
        sys.exit(2)
