"""
Regression models for the mean and the dispersion of a response.

``import hetglm`` gives what `hetglm.api` has, read when it is first used: the command line's help must
not wait for it.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return a module of the package, or what `hetglm.api` exports."""
    if not name.startswith("_"):
        # modules first: some are read while the api itself is being imported
        if importlib.util.find_spec(f"{__name__}.{name}"):
            return importlib.import_module(f"{__name__}.{name}")
        api = importlib.import_module(f"{__name__}.api")
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names of the module and of `hetglm.api`."""
    return sorted({*globals(), *importlib.import_module(f"{__name__}.api").__all__})
