"""Small data sets with their stories, and a simulator of splicing experiments."""

from hetglm.datasets.load import (
    load_cats,
    load_clotting,
    load_germination,
    load_lirat,
    load_sleepstudy,
    load_splicing,
    load_welding,
)
from hetglm.datasets.simulate import make_splicing

__all__ = [
    "load_cats",
    "load_clotting",
    "load_germination",
    "load_lirat",
    "load_sleepstudy",
    "load_splicing",
    "load_welding",
    "make_splicing",
]
