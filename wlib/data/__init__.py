"""Image sets, episodes and families of tasks, all without a download; real sets where installed."""

from wlib.data.imagesets import (
    REAL,
    REAL_SHARES,
    SHARES,
    SPLITS,
    Episode,
    ImageSet,
    assign,
    episodes,
    load,
)

__all__ = [
    "Episode",
    "ImageSet",
    "REAL",
    "REAL_SHARES",
    "SHARES",
    "SPLITS",
    "assign",
    "episodes",
    "load",
]
