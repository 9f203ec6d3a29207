"""The figures of the notebooks: one look, one function per kind of figure, a module per part."""

from typing import TYPE_CHECKING

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.plot.colors import (
        CONTROL,
        CONTROLS,
        GOOD,
        METHOD,
        PALETTE,
        PURPLE,
        REDRAWN,
        SKY,
    )
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
    from wlib.plot.style import COLUMN, FULL, MARKERS, headline, over_seeds, show, theme
else:
    def __getattr__(name):
        return first_use(__name__, name)

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


def __dir__() -> list[str]:
    return __all__
