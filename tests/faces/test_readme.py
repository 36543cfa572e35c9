"""The README's examples and commands are what they say."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil
import re
from pathlib import Path

import hetglm

README = Path(__file__).parents[2] / "README.rst"


def test_examples_print_what_the_readme_says():
    result = doctest.testfile(
        str(README), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted > 10
    assert result.failed == 0


def test_docstring_examples():
    names = {found.name for found in pkgutil.walk_packages(hetglm.__path__, "hetglm.")}
    names.remove("hetglm.__main__")
    if importlib.util.find_spec("marginaleffects") is None:
        names.remove("hetglm.marginaleffects")
    for module in map(importlib.import_module, sorted(names)):
        assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_both_commands_make_their_own_environment():
    commands = re.findall(r"^ +(python3 -m venv .*)$", README.read_text(), flags=re.MULTILINE)
    assert len(commands) == 2
    assert commands[0].endswith("/python -m hetglm")
    assert "pytest" in commands[1]
    assert all(" && " in command and command.startswith("python3 -m venv") for command in commands)


def test_readme_is_valid_restructured_text():
    from docutils.core import publish_doctree

    settings = {"report_level": 2, "halt_level": 2, "syntax_highlight": "none"}
    publish_doctree(README.read_text(), settings_overrides=settings)
