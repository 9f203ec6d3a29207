"""MDA: cut a CNN into task parts, assemble new networks from parts of several (part II).

`part` cuts, `lego` joins, `partfile` saves and loads; `wiring` finds which channels belong
together, `selectors` are other ways to choose them, `routes` and `graphs` are for the figures.
"""

from wlib.mda.masks import (
    CELLS,
    EPS,
    MODES,
    Contributions,
    Masks,
    Part,
    check_classes,
    contributions,
    disassemble,
    kept,
    masks,
    of_classes,
    part,
    partial_sums,
    relative,
    select,
    vote,
    window_sums,
    wire_scores,
)

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
