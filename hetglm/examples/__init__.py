"""Worked examples: each module tells its story when run, ``python -m hetglm.examples.splicing``."""
