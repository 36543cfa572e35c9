"""Imports run one way, kernels stay pure, and everything public is documented."""

import ast
import importlib
import sys
from functools import cache
from pathlib import Path

import pytest

import hetglm

ROOT = Path(hetglm.__file__).parent

#: Each module in its layer, lowest first: it may import its own layer and those before it. A new
#: file has to be placed here.
LAYERS = (
    (
        "exceptions",
        "_text",
        "_files",
        "_numerics",
        "_negbin_numerics",
        "_linalg",
        "_links",
        "_display",
        "_displayed",
    ),
    ("_frames", "_syntax", "_design", "_keywords"),
    ("_arrays", "_formula", "datasets", "families", "_intervals", "_checkpoint", "_tails"),
    ("_likelihood", "_optimize", "_boundary", "_estimability", "_replicates"),
    ("_start", "_search"),
    ("_cells",),
    ("_supremum", "_edge"),
    ("_fit", "_reml"),
    ("_covariance", "_diagnose", "_warm"),
    (
        "prediction",
        "terms",
        "_nested",
        "_constant",
        "_bootstrap_results",
        "effects",
        "anova",
        "bootstrap",
        "residuals",
        "influence",
        "selection",
        "simulated",
        "_crps",
        "_scores",
        "crossvalidation",
        "diagnosis",
        "plots",
        "_plots_base",
        "_plots_diagnostics",
        "_plots_effects",
        "profile",
        "overdispersion",
    ),
    ("summary",),
    ("_results_inference", "_results_predictions", "_results_choice", "_results_pictures"),
    ("results",),
    ("model",),
    ("models",),
    ("", "api", "formula", "examples", "marginaleffects", "_options", "_shell", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: What each module may use of patsy; all others, nothing.
PATSY = {name: None for name in ("_formula", "_syntax", "_design")}
#: Packages that kernels are made of. Families know nothing of links, designs, weights or pandas.
PURE = {
    "numpy",
    "scipy",
    "hetglm.families.special.betabinomial",
    "hetglm.families.special.negbin",
    "hetglm.utils.messages",
    "hetglm.families",
    *sys.stdlib_module_names,
}
KERNELS = ("_numerics", "_negbin_numerics", "_linalg", "_optimize", "families")
#: The registry maps statsmodels' families to ours.
EXCEPTIONS = {("families", "statsmodels"), ("_optimize", "hetglm.utils.linalg")}


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


def rank(name):
    """Return the layer of a module: its own, or that of the package it is in."""
    return RANK.get(name, RANK.get(name.split(".")[0]))


def inside(name):
    """Return the module of ours that an import names, or None."""
    return name.removeprefix("hetglm").removeprefix(".") if name.split(".")[0] == "hetglm" else None


def violations(graph):
    """Return the imports that run from a lower layer to a higher one."""
    edges = [(a, b) for a, found in graph.items() for b in found]
    # a module without a layer has a test of its own
    placed = [edge for edge in edges if None not in map(rank, edge)]
    return [(a, b) for a, b in placed if rank(b) > rank(a)]


def cycle(graph):
    """Return the modules that are left when those that import nothing left are taken away."""
    left = {a: found - {a} for a, found in graph.items()}
    while free := [a for a, found in left.items() if not found & left.keys()]:
        for a in free:
            del left[a]
    return sorted(left)


GRAPH = {name: {inside(i) for i in imports(name, path)} - {None} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_layer(name):
    assert rank(name) is not None, f"place {name} in LAYERS"


def test_imports_run_one_way():
    assert violations(GRAPH) == []
    assert cycle(GRAPH) == []


def test_the_walk_sees_imports(tmp_path):
    # the checks themselves: a lazy import upwards, a relative one, and a cycle inside a layer
    low, model = tmp_path / "_linalg.py", tmp_path / "model.py"
    low.write_text("def f():\n    from hetglm import model\n")
    model.write_text("import patsy.builtins\nfrom .families import base\nfrom . import _linalg\n")
    known = {"_linalg": low, "model": model, "families.base": None}
    graph = {n: imports(n, p, known) for n, p in known.items() if p}
    assert graph["_linalg"] == {"hetglm.models.base"}
    assert graph["model"] == {"patsy.builtins", "hetglm.families.base", "hetglm.utils.linalg"}
    ours = {n: {inside(i) for i in found} - {None} for n, found in graph.items()}
    assert violations(ours) == [("_linalg", "model")]
    assert cycle(ours) == ["_linalg", "model"]
    assert len(MODULES) > 20
    assert GRAPH["_search"] >= {"_likelihood", "_optimize", "_boundary"}


@pytest.mark.parametrize("name", MODULES)
def test_patsy_is_confined(name):
    if not any(i.split(".")[0] == "patsy" for i in imports(name, MODULES[name])):
        return
    assert name in PATSY
    allowed = PATSY[name]
    if allowed is not None:
        used = {
            node.attr
            for node in ast.walk(parsed(MODULES[name]))
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "patsy"
        }
        assert used <= allowed


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[0] in KERNELS])
def test_kernels_are_pure(name):
    foreign = {
        i
        for i in imports(name, MODULES[name])
        if not any(i == pure or i.startswith(f"{pure}.") for pure in PURE)
    }
    allowed = {package for module, package in EXCEPTIONS if module == name}
    assert {i for i in foreign if not any(i.startswith(package) for package in allowed)} == set()


def test_typed():
    assert (ROOT / "py.typed").is_file()


def test_faces_export_what_they_name():
    for face in ("hetglm.api", "hetglm.formula.api"):
        module = importlib.import_module(face)
        assert sorted(set(module.__all__)) == list(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
