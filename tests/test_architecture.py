"""Imports run one way, kernels stay pure, and everything public is documented."""

import ast
import importlib
import re
import sys
from functools import cache
from pathlib import Path

import pytest

import hetglm

ROOT = Path(hetglm.__file__).parent

#: What users call besides the rooms: each is a face of functions that live in rooms.
FACES = ("", "api", "formula", "plots", "marginaleffects", "examples", "shell", "__main__")
#: The rooms from the ground up: a file imports its own room and rooms of earlier lines. The room of a
#: file is its first folder, so that a new file needs no entry here.
ROOMS = (
    ("exceptions", "typing"),
    ("utils", "datasets"),
    ("families", "design"),
    ("likelihood",),
    ("estimation",),
    ("prediction",),
    ("inference",),
    ("diagnostics",),
    ("mixed", "batch"),
    ("models",),
    FACES,
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}

#: Packages that only these rooms or files use.
CONFINED = {
    "patsy": re.compile(r"design\..*"),
    "matplotlib": re.compile(r"utils\.axes|.*\.plots\w*"),
}
#: What families are made of, besides the standard library; one file knows statsmodels' families.
PURE = {
    "numpy",
    "scipy",
    "hetglm.families",
    "hetglm.utils",
    "hetglm.typing",
    *sys.stdlib_module_names,
}


@cache
def parsed(path):
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def modules():
    """Return every module of the package by its dotted name without ``hetglm.``."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(name, path, known=None):
    """Return the modules that a file imports anywhere, functions included, as dotted names."""
    known = MODULES if known is None else known
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["hetglm", *filter(None, name.split("."))]
                package = package if path.name == "__init__.py" else package[:-1]
                up = package[: len(package) - node.level + 1]
                base = ".".join([*up, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner.removeprefix("hetglm.") in known else base)
    return found


def room(name):
    """Return the room of a module: its first folder, or itself."""
    return name.split(".")[0]


def may_import(importer, imported):
    """Return whether a room may import another: its own, or one of an earlier line."""
    if room(importer) == room(imported) or room(importer) in FACES:
        return True
    return RANK[room(imported)] < RANK[room(importer)]


def inside(name):
    """Return the module of ours that an import names, or None."""
    return name.removeprefix("hetglm").removeprefix(".") if name.split(".")[0] == "hetglm" else None


def violations(graph):
    """Return the imports that run to a higher room, or sideways to another of the same line."""
    return [(a, b) for a, found in graph.items() for b in found if not may_import(a, b)]


def cycle(graph):
    """Return the modules that are left when those that import nothing left are taken away."""
    left = {a: found - {a} for a, found in graph.items()}
    while free := [a for a, found in left.items() if not found & left.keys()]:
        for a in free:
            del left[a]
    return sorted(left)


GRAPH = {name: {inside(i) for i in imports(name, path)} - {None} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_module_is_in_a_room(name):
    assert room(name) in RANK, f"{name}: put it into one of the rooms {sorted(RANK)}"
    assert not any(part.startswith("_") and part != "__main__" for part in name.split("."))


def test_imports_run_one_way():
    assert violations(GRAPH) == []
    assert cycle(GRAPH) == []


def test_the_walk_sees_imports(tmp_path):
    # the checks themselves: a lazy import upwards, a relative one, one sideways and a cycle
    low, high = tmp_path / "low.py", tmp_path / "high.py"
    low.write_text("def f():\n    from hetglm.models import high\n")
    high.write_text("import patsy.builtins\nfrom ..families import base\nfrom ..utils import low\n")
    known = {"utils.low": low, "models.high": high, "families.base": None}
    graph = {n: imports(n, p, known) for n, p in known.items() if p}
    assert graph["utils.low"] == {"hetglm.models.high"}
    assert graph["models.high"] == {"patsy.builtins", "hetglm.families.base", "hetglm.utils.low"}
    ours = {n: {inside(i) for i in found} - {None} for n, found in graph.items()}
    assert violations(ours) == [("utils.low", "models.high")]
    assert cycle(ours) == ["models.high", "utils.low"]
    assert violations({"families.a": {"design.b"}}) == [("families.a", "design.b")]
    assert len(MODULES) > 20
    assert GRAPH["estimation.search"] >= {"likelihood.likelihood", "estimation.newton"}


@pytest.mark.parametrize("name", MODULES)
def test_packages_are_confined(name):
    used = {i.split(".")[0] for i in imports(name, MODULES[name])} & CONFINED.keys()
    assert [p for p in used if not CONFINED[p].fullmatch(name)] == []


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) == "families"])
def test_families_are_pure(name):
    pure = PURE | ({"statsmodels"} if name == "families.of_statsmodels" else set())
    found = imports(name, MODULES[name])
    assert {i for i in found if not any(f"{i}.".startswith(f"{p}.") for p in pure)} == set()


def test_typed():
    assert (ROOT / "py.typed").is_file()


def test_faces_export_what_they_name():
    for face in ("hetglm.api", "hetglm.formula.api"):
        module = importlib.import_module(face)
        assert sorted(set(module.__all__)) == list(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
