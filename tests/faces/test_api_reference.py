"""The API reference of the documentation has the public names, all of them and no other."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import hetglm
import hetglm.api
import hetglm.formula.api
import hetglm.plots
from hetglm import datasets, examples, exceptions
from hetglm.models.base import LocationScaleModel
from hetglm.utils.display import Printed

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = DOCS / "reference"
ROOT = Path(hetglm.__path__[0])
#: What the rooms hand to each other prints itself as well, for those who debug them.
INSIDE = {"Likelihood", "Fit", "MixedFit", "RemlFit"}
FACES = (hetglm.api, hetglm.formula.api, datasets, exceptions, hetglm.plots)


def listed():
    """Return the dotted names that the pages of the reference list or document."""
    found = set()
    for page in REFERENCE.glob("*.rst"):
        module, in_table = "", False
        for line in page.read_text(encoding="utf-8").splitlines():
            directive = re.match(r"\.\. (\w+):: *(.*)$", line)
            if directive and directive[1] in ("currentmodule", "automodule"):
                module = directive[2]
            elif directive and directive[1].startswith("auto") and directive[2]:
                found.add(f"{module}.{directive[2]}")
            if line == "   :members:":
                exported = importlib.import_module(module).__all__
                found |= {f"{module}.{name}" for name in exported}
            if line and not line.startswith(" "):
                in_table = line.startswith(".. autosummary::")
            elif in_table and (name := re.fullmatch(r" +([\w.]+)", line)):
                found.add(f"{module}.{name[1]}")
    return found


LISTED = listed()
FACE_NAMES = {
    f"{face.__name__}.{name}"
    for face in FACES
    for name in face.__all__
    if name not in ("datasets", "exceptions")
}


def returned():
    """Return the classes whose objects public functions return: each of them prints itself."""
    for module in pkgutil.walk_packages(hetglm.__path__, "hetglm."):
        if not re.search("__main__|marginaleffects", module.name):
            importlib.import_module(module.name)
    found, left = set(), [Printed]
    while left:
        children = left.pop().__subclasses__()
        left += children
        found |= set(children)
    return {
        f"{cls.__module__}.{cls.__name__}"
        for cls in found
        if not cls.__name__.startswith("_")
        and cls.__module__.startswith("hetglm.")
        and not issubclass(cls, LocationScaleModel)
        and cls.__name__ not in INSIDE
    }


def test_faces_are_listed():
    assert len(LISTED) > 60
    faces = tuple(f"{face.__name__}." for face in FACES)
    assert {name for name in LISTED if name.startswith(faces)} == FACE_NAMES


def test_what_is_returned_is_listed():
    others = LISTED - FACE_NAMES - {"hetglm.marginaleffects.MarginalModel"}
    assert others == returned()


def test_examples_are_listed():
    text = (REFERENCE / "datasets.rst").read_text(encoding="utf-8")
    documented = re.findall(r"automodule:: hetglm\.examples\.(\w+)", text)
    runnable = {
        path.stem
        for path in Path(examples.__path__[0]).glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert set(documented) == runnable


@pytest.mark.parametrize(
    "page", ["architecture.rst", "mathematics.rst", "mathematics_random_effects.rst"]
)
def test_files_named_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    paths = re.findall(r"``(\w+/[\w/<>]*(?:\.py)?)", text)
    assert len(paths) >= 2
    missing = [
        path
        for path in paths
        for root in [DOCS.parent if path.startswith("tests/") else ROOT]
        if not list(root.glob(re.sub(r"<\w+>", "*", path)))
    ]
    assert missing == []


def test_rooms_of_the_architecture_are_those_of_the_tree():
    text = (DOCS / "architecture.rst").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(re.findall(r"``(\w+)/``", text)) == rooms


def test_examples_of_the_first_page_print_what_it_says():
    result = doctest.testfile(str(DOCS / "index.rst"), module_relative=False)
    assert result.attempted >= 5
    assert result.failed == 0
