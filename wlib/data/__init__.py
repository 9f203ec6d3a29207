"""Image sets, episodes and families of tasks, all without a download; real sets where installed."""

from typing import TYPE_CHECKING, Any

from wlib.ground.front import first_use

if TYPE_CHECKING:
    from wlib.data import domains, glyphs, imagesets, realsets, sets, universes  # noqa: F401
    from wlib.data.imagesets import FRACTIONS, REAL, REAL_FRACTIONS, assign, load
    from wlib.data.sets import SPLITS, Episode, ImageSet, episodes
else:
    def __getattr__(name: str) -> Any:
        return first_use(__name__, name)

__all__ = ["Episode", "FRACTIONS", "ImageSet", "REAL", "REAL_FRACTIONS", "SPLITS", "assign",
           "episodes", "load"]


def __dir__() -> list[str]:
    return __all__
