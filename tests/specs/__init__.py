"""
Facts of the families, a file each with a ``SPEC``, found by themselves.

The name of the file is that of the case in ``conftest.CASES``; the contract tests run over all.
"""

import importlib
import pkgutil

from specs.spec import Spec

SPECS: dict[str, Spec] = {
    info.name.replace("_", "-"): importlib.import_module(f"specs.{info.name}").SPEC
    for info in pkgutil.iter_modules(__path__)
    if info.name != "spec"
}
