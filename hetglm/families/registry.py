"""
The families that are models of their own.

Standard library only: the command line lists them in its help before anything is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetglm.families.base import Family, ModelSpec

#: Class of the family -> its file in this room. Each is a model class of that name in `hetglm.api`, and
#: in lower case a function of `hetglm.formula.api` and a ``--model`` of the command line.
MODELS = {
    "BetaBinomial": "betabinomial",
    "NegativeBinomial": "negbin",
}


def family_class(name: str) -> type[Family]:
    """Return the family of a model by its name in `MODELS`."""
    module = importlib.import_module(f"hetglm.families.{MODELS[name]}")
    family: type[Family] = getattr(module, name)
    return family


def model_spec(name: str) -> ModelSpec:
    """Return what a family of `MODELS` says of its model."""
    spec = family_class(name).model
    assert spec is not None, f"{name}: a family that is a model needs a ModelSpec"
    return spec
