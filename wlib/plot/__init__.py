"""The figures of the notebooks: one look, one function per kind of figure, a module per part."""

from importlib import import_module
from types import ModuleType

from wlib.plot.figures import (
    bars,
    dots,
    grid,
    heats,
    image_grid,
    lines,
    panels,
    scatter,
    side_by_side,
    tiles,
)
from wlib.plot.mge import (
    evolution_caption,
    evolution_explorer,
    fates,
    gains,
    kept_fraction,
    luck,
    mge_caption,
    mge_explorer,
    spectrum_lines,
    steps,
    theory,
)
from wlib.plot.style import (
    COLUMN,
    CONTROLS,
    FULL,
    MARKERS,
    PALETTE,
    headline,
    over_seeds,
    show,
    theme,
)
from wlib.plot.theme import CONTROL, GOOD, METHOD, PURPLE, REDRAWN, SKY

# Their figures are read when a notebook asks for them.
PARTS = ("d2nwg", "d2nwg_worth", "free", "mda", "mge_pages", "mge_uses")

__all__ = [
    "CONTROL",
    "GOOD",
    "METHOD",
    "PURPLE",
    "REDRAWN",
    "SKY",
    "bars",
    "COLUMN",
    "CONTROLS",
    "dots",
    "evolution_caption",
    "evolution_explorer",
    "fates",
    "FULL",
    "gains",
    "grid",
    "headline",
    "heats",
    "image_grid",
    "kept_fraction",
    "lines",
    "luck",
    "MARKERS",
    "mge_caption",
    "mge_explorer",
    "over_seeds",
    "PALETTE",
    "panels",
    "scatter",
    "show",
    "side_by_side",
    "spectrum_lines",
    "steps",
    "theme",
    "theory",
    "tiles",
]


def __getattr__(name: str) -> ModuleType:
    if name in PARTS:
        return import_module(f"wlib.plot.{name}")
    raise AttributeError(f"module 'wlib.plot' has no attribute {name!r}")
