"""A term of a formula: its name, part and columns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """
    A term of one part.

    Attributes
    ----------
    part : {"mean", "dispersion"}
    name : str
    factors : frozenset of str
        What it is the interaction of; empty for a constant.
    columns : tuple of int
        Positions of its coefficients.
    """

    part: str
    name: str
    factors: frozenset[str]
    columns: tuple[int, ...]
