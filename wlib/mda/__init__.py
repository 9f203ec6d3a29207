"""MDA: cut a CNN into task parts, assemble new networks from parts of several (part II).

`part` cuts, `lego` joins, `partfile` saves and loads; `wiring` finds which channels belong
together, `selectors` are other ways to choose them, `routes` and `graphs` are for the figures.
"""

from wlib.mda.contribution import (
    CELLS,
    Contributions,
    contributions,
    of_classes,
    partial_sums,
    select,
    window_sums,
)
from wlib.mda.masks import EPS, MODES, Masks, masks, relative, vote
from wlib.mda.parts import Part, disassemble, kept, part, wire_scores
from wlib.mda.wiring import check_classes

__all__ = [
    "CELLS",
    "Contributions",
    "EPS",
    "MODES",
    "Masks",
    "Part",
    "check_classes",
    "contributions",
    "disassemble",
    "kept",
    "masks",
    "of_classes",
    "part",
    "partial_sums",
    "relative",
    "select",
    "vote",
    "window_sums",
    "wire_scores",
]
