"""Worked examples: each module prints its analysis when run, ``python -m hetglm.examples.splicing``."""

from __future__ import annotations

import sys

from hetglm.__main__ import use_one_thread

if sys.argv[:1] == ["-m"]:  # Python is looking for the module to run, and NumPy is not imported yet
    use_one_thread()
