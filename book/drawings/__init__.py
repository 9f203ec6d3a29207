"""The drawings of ideas in the chapters: made by code, in one palette, each with its alt text.

They hold no results. Each drawing is an SVG of one text column (text of 9 points and more), opaque,
and the same bytes from the same versions: a build sees no change where there is none. The page
builder loads this folder; a drawing is a function in the module of its part and a line in that
module's `DRAWINGS`.
"""

from . import d2nwg, free, mda, mge, overview, squares
from .overview import MAP_AREAS
from .squares import verdicts, verdicts_alt
from .strokes import rendered

__all__ = ["DRAWINGS", "MAP_AREAS", "d2nwg", "free", "mda", "mge", "overview", "rendered",
           "squares", "verdicts", "verdicts_alt"]

# A drawing's name, the function that draws it, and what it says to those who do not see it.
DRAWINGS = (overview.DRAWINGS | mge.DRAWINGS | mda.DRAWINGS | free.DRAWINGS | d2nwg.DRAWINGS)
