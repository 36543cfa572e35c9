"""
The quick set: what pytest runs by default; ``--all`` runs every test but the slow ones.

Of a test with parameters it has each value of each parameter once, not their combinations; of the
models, one of each kind (``specs.Spec.alike``). Every test is in it but those marked ``thorough``.
"""

import pytest


def quick(items, others):
    """Return the items of the quick set, without the names of models in ``others``."""
    tests = {}
    for item in items:
        if "thorough" not in item.keywords:
            tests.setdefault((item.parent, item.originalname), []).append(item)
    return {i for same in tests.values() for i in each_once(representative(same, others))}


def representative(items, others):
    """Return the items of a test that are of no model in ``others``, or all if each is of one."""
    return [item for item in items if others.isdisjoint(words(item))] or items


def words(item):
    """Return the parameters of an item that are strings."""
    return {value for value in parameters(item).values() if isinstance(value, str)}


def each_once(items):
    """Return few items that together have each value of each parameter."""
    seen, chosen = set(), []
    for enough in (all, any):  # first items whose values are all new, so that one item covers many
        for item in items:
            new = [value not in seen for value in values(item)]
            if not new or enough(new):
                seen |= values(item)
                chosen.append(item)
    return chosen


def values(item):
    """Return the values of an item, known by what they are and not by what they equal."""
    return {(name, id(value)) for name, value in parameters(item).items()}


def parameters(item):
    """Return the parameters of an item by name."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def thorough(*values):
    """Return values of a parameter that only ``--all`` runs."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]
