"""Fail where a public docstring breaks numpydoc's rules on summary, parameters or returns."""

import inspect
import sys

from numpydoc.validate import validate

import hetglm.api
import hetglm.formula.api

CHECKS = {"GL08", "SS01", "PR01", "PR02", "PR03", "PR04", "RT01", "RT02", "YD01"}


def public_names():
    """Yield the dotted names of what users call: functions, classes and their own methods."""
    for module in (hetglm.api, hetglm.formula.api):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                for member in getattr(thing, "__all__", []):
                    yield f"{thing.__name__}.{member}"
            elif inspect.isclass(thing):
                yield from class_names(thing)
            else:
                yield f"{module.__name__}.{name}"


def class_names(cls, made_by_users=True):
    """Yield a class, if users make it, and the methods it has from this package."""
    if made_by_users:
        yield f"{cls.__module__}.{cls.__name__}"
    for base in cls.__mro__:
        if base.__module__.startswith("hetglm"):
            for name, member in vars(base).items():
                if callable(getattr(member, "__func__", member)) and not name.startswith("_"):
                    yield f"{base.__module__}.{base.__name__}.{name}"


def main():
    """Print what is wrong and return the exit status."""
    from hetglm.inference.bootstrap_results import BootstrapResult
    from hetglm.models.results import LocationScaleResults
    from hetglm.prediction.intervals import LocationScalePrediction

    names = set(public_names())
    for cls in (LocationScaleResults, LocationScalePrediction, BootstrapResult):
        names |= set(class_names(cls, made_by_users=False))
    faults = [
        f"{name}: {code} {text}"
        for name in sorted(names)
        for code, text in validate(name)["errors"]
        if code in CHECKS
    ]
    print("\n".join(faults) or f"numpydoc: {len(names)} public docstrings are in order")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
