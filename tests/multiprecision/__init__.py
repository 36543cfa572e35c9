"""
Reference values by mpmath, stored: one JSON file a module, of the rows that the tests ask for.

Functions of this folder know nothing of the code under test. ``python tests/multiprecision`` computes
all of them again and stores them; ``test_multiprecision.py`` does so for some rows. Rows that are not
stored (a new family, another grid) are computed when a test asks for them.
"""

import functools
import json
from pathlib import Path

HERE = Path(__file__).parent
#: Every function with stored values, by module and name.
STORED = {}


class Stored:
    """A function of numbers and names that returns a list of floats, and its stored values."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function, self.file = function, HERE / f"{function.__module__.split('.')[-1]}.json"
        STORED[f"{function.__module__}.{function.__name__}"] = self

    @functools.cached_property
    def rows(self):
        """Return the stored values, by arguments."""
        tables = json.loads(self.file.read_text()) if self.file.exists() else {}
        return {tuple(args): values for args, values in tables.get(self.__name__, [])}

    def __call__(self, *args):
        if args not in self.rows:
            self.rows[args] = [float(value) for value in self.function(*args)]
        return self.rows[args]


def write():
    """Store all rows that are known, one a line."""
    files = {}
    for function in STORED.values():
        rows = [json.dumps(row, separators=(",", ":")) for row in sorted_rows(function)]
        table = f'"{function.__name__}": [\n' + ",\n".join(rows) + "\n]"
        files.setdefault(function.file, []).append(table)
    for file, tables in files.items():
        file.write_text("{" + ",\n".join(tables) + "}\n")


def sorted_rows(function):
    """Return arguments and values in an order that does not depend on that of the tests."""
    return sorted(function.rows.items(), key=lambda row: [str(arg) for arg in row[0]])
