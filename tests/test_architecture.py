"""Imports run one way, kernels stay pure, and everything public is documented."""

import ast
import importlib
import io
import re
import sys
import tokenize
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
#: Most lines of code of a file, without docstrings, comments and empty lines.
MAX_LINES = 500
#: Most statements of a method in models/results_*.py, docstring apart: it documents and hands over.
MAX_STATEMENTS = 6
#: The only file that imports private names of statsmodels: what a new version breaks, breaks there.
HOST = "utils.host"
#: What models, their results and records of a fit are called in the rooms.
OF_A_FIT = ("res", "results", "result", "model", "fit", "fits", "fitted", "smaller", "larger")


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


def is_private(name):
    """Return whether a part of a dotted name begins with an underscore; ``__all__`` does not count."""
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def private_names_of_statsmodels(path):
    """Return the private modules, names and attributes of statsmodels that a file uses."""
    nodes, known, found = list(ast.walk(parsed(path))), set(), set()
    for node in nodes:
        base = node.module if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            name = ".".join(filter(None, (base, alias.name)))
            if name.split(".")[0] == "statsmodels":
                known.add((alias.asname or alias.name).split(".")[0])
                found |= {name} if is_private(name) else set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of = node.value.func if isinstance(node.value, ast.Call) else node.value
            while isinstance(of, ast.Attribute):
                of = of.value
            if isinstance(of, ast.Name) and of.id in known:
                found.add(f"{of.id}.{node.attr}")
    return found


@pytest.mark.parametrize("name", [n for n in MODULES if n != HOST])
def test_private_names_of_statsmodels_are_in_one_file(name):
    assert private_names_of_statsmodels(MODULES[name]) == set()


def lines_of_code(path):
    """Return the number of lines that hold code: no docstring, comment or empty line."""
    held = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            held |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    silent = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    }
    spans = [(t.start[0], t.end[0]) for t in tokens if t.type not in silent]
    return len({line for first, last in spans for line in range(first, last + 1)} - held)


@pytest.mark.parametrize("name", MODULES)
def test_file_is_not_long(name):
    assert lines_of_code(MODULES[name]) <= MAX_LINES


def long_functions(path):
    """Return the functions of more statements than one that hands over has, with their number."""
    counts = [
        (node.name, len(node.body) - (ast.get_docstring(node) is not None))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
    ]
    return [(name, n) for name, n in counts if n > MAX_STATEMENTS]


@pytest.mark.parametrize("name", [n for n in MODULES if n.startswith("models.results_")])
def test_methods_of_results_hand_over(name):
    assert long_functions(MODULES[name]) == []


def reached(path):
    """Return the private attributes of models, results and fits that a file uses from outside."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of = getattr(node.value, "id", getattr(node.value, "attr", ""))
            found |= {f"{of}.{node.attr}"} if of in OF_A_FIT else set()
    return found


@pytest.mark.parametrize("name", [n for n in MODULES if room(n) != "models"])
def test_rooms_do_not_reach_into_results(name):
    """What a room needs of a fit is `Fitted` or a public attribute: no ``res._x`` or ``model._x``."""
    assert reached(MODULES[name]) == set()


def private_names_of_others(path):
    """Return the private names of other files of ours that a file uses."""
    found, files = set(), set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hetglm"):
            for alias in node.names:
                if f"{node.module}.{alias.name}".removeprefix("hetglm.") in MODULES:
                    files.add(alias.asname or alias.name)
                elif is_private(alias.name):
                    found.add(f"{node.module}.{alias.name}")
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            of = getattr(node.value, "id", "")
            found |= {f"{of}.{node.attr}"} if of in files else set()
    return found


@pytest.mark.parametrize("name", MODULES)
def test_private_names_stay_in_their_file(name):
    assert private_names_of_others(MODULES[name]) == set()


#: A file that breaks each of these rules once or more.
PLANTED = '''"""Notes
of two lines."""

# a comment
import statsmodels.api as sm
from hetglm.inference import wald
from hetglm.inference.wald import _row, intervals
from statsmodels.base import _prediction_inference
from statsmodels.base._x import Public
from statsmodels.base.model import _LLRMixin as Mixin
from statsmodels.base.optimizer import Optimizer


def long(self, res):
    """Notes."""
    res.fit
    res.fit
    res.fit
    res.fit
    res.fit
    res.fit
    res._cov


def short(self):
    """Notes."""
    self.res._x
    self._x
    self.model.__class__
    wald._row
    Optimizer()._fit
    sm.families._Link, Optimizer.__name__, Optimizer.fit
'''


def test_the_walk_sees_what_is_planted(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(PLANTED)
    assert lines_of_code(path) == 7 + 8 + 7
    assert long_functions(path) == [("long", 7)]
    assert reached(path) == {"res._cov", "res._x"}
    assert private_names_of_others(path) == {"hetglm.inference.wald._row", "wald._row"}
    modules = {"_prediction_inference", "_x.Public", "model._LLRMixin"}
    attributes = {"Optimizer._fit", "sm._Link"}
    found = {f"statsmodels.base.{name}" for name in modules} | attributes
    assert private_names_of_statsmodels(path) == found
    assert private_names_of_statsmodels(MODULES[HOST]) != set()


def test_typed():
    assert (ROOT / "py.typed").is_file()


def test_faces_export_what_they_name():
    for face in ("hetglm.api", "hetglm.formula.api"):
        module = importlib.import_module(face)
        assert sorted(set(module.__all__)) == list(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def test_names_of_test_files_are_used_once():
    # pytest imports them without their folders
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
