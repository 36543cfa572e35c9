"""The command line ``python -m hetglm``."""
