"""The pages beside the code say what is true of the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hetglm

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")
#: Paths of CONTRIBUTING.rst, and those with the name of the table that an entry goes into.
PATHS = sorted(set(re.findall(r"``((?:hetglm|tests|benchmarks)/[^`]*)``", CONTRIBUTING)))
TABLES = re.findall(r"``(hetglm/[^`]*\.py)``, ``([A-Z_]+)``", CONTRIBUTING)


def test_paths_are_found():
    assert len(PATHS) > 25
    assert len(TABLES) >= 3


@pytest.mark.parametrize("path", PATHS)
def test_path_exists(path):
    """A placeholder such as <name> stands for one file or more that are there."""
    assert list(ROOT.glob(re.sub(r"<\w+>", "*", path)))


@pytest.mark.parametrize(("path", "table"), TABLES)
def test_table_exists(path, table):
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^{table}\b.* = ", text, flags=re.MULTILINE)


def test_the_development_version_of_statsmodels_breaks_in_a_file_that_is_there():
    script = (ROOT / ".ci" / "host-main").read_text(encoding="utf-8")
    named = re.findall(r"hetglm[/.]utils[/.]\w+", script)
    assert len(named) == 2
    assert all((ROOT / (name.replace(".", "/") + ".py")).exists() for name in named)


def test_every_room_is_listed():
    rooms = [p.parent.name for p in (ROOT / "hetglm").glob("*/__init__.py")]
    assert [room for room in rooms if f"``hetglm/{room}/``" not in CONTRIBUTING] == []


def test_ten_changes_are_placed():
    _, _, rest = CONTRIBUTING.partition("Ten changes, placed\n")
    changes = re.findall(r"^   \* - (.+)$", rest.partition("\nStyle\n")[0], flags=re.MULTILINE)
    assert len(changes) == 1 + 10


def test_this_release_heads_the_changes():
    heading = rf"^{re.escape(hetglm.__version__)} \((in development|\d{{4}}-\d\d-\d\d)\)$"
    changes = (ROOT / "CHANGES.rst").read_text(encoding="utf-8")
    headings = re.findall(r"^(\d.* \(.*\))\n-+$", changes, flags=re.MULTILINE)
    assert re.fullmatch(heading, headings[0])
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {hetglm.__version__}\n" in citation


@pytest.mark.parametrize("page", ["CHANGES.rst", "CONTRIBUTING.rst"])
def test_page_is_valid_restructured_text(page):
    from docutils.core import publish_doctree

    settings = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    publish_doctree((ROOT / page).read_text(encoding="utf-8"), settings_overrides=settings)
