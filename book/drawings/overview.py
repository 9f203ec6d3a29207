"""The map of the four parts, and how the book is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wlib.plot.colors import CONTROL, FAINT, GOOD, INK, METHOD, PURPLE, REDRAWN, SKY

from .strokes import WIDTH, arrow, box, canvas, network

PARTS = (
    ("I", "MGE", "one network → many", "Can one network give many, untrained?"),
    ("II", "MDA", "cut apart, join anew", "Can we build from others' parts?"),
    ("III", "FREE", "many networks → a learner", "Can we learn to learn without the data?"),
    ("IV", "D2NWG", "a data set → weights", "Can we sample weights for unseen data?"),
)


def map_of_parts() -> Figure:
    """Four parts as four rows: from what, to what, which question; then one test for all."""
    figure, axis = canvas(4.15)
    colors, icons = (METHOD, REDRAWN, GOOD, PURPLE), (icon_mge, icon_mda, icon_free, icon_d2nwg)
    for row, ((number, name, idea, question), color, icon) in enumerate(
            zip(PARTS, colors, icons, strict=True)):
        y = 3.12 - row * 1.0
        box(axis, 0.08, y, 5.15, 0.88, color)
        icon(axis, 0.85, y + 0.44, color)
        axis.text(1.72, y + 0.62, f"{number}   {name}", fontsize=11.5, weight="bold", va="center")
        axis.text(2.95, y + 0.62, idea, fontsize=9.5, va="center")
        axis.text(1.72, y + 0.27, question, fontsize=9.5, va="center", style="italic")
        arrow(axis, (5.23, y + 0.44), (5.62, 2.06 + (1.5 - row) * 0.3))
    box(axis, 5.64, 1.12, 1.46, 1.9, INK, facecolor=FAINT)
    axis.text(6.37, 2.68, "Compared\nto what?", weight="bold", ha="center", va="center",
              fontsize=11)
    axis.text(6.37, 1.86, "noise, averages,\nshuffles, more\ntraining: rivals\nthat could win",
              ha="center", va="center")
    axis.text(6.37, 1.28, "→ a verdict", ha="center", va="center", weight="bold")
    return figure


# Where the boxes lie, for links on the picture: left, top, width, height as fractions of it.
MAP_AREAS = {name: (0.08 / WIDTH, 1 - (3.12 - row + 0.88) / 4.15, 5.15 / WIDTH, 0.88 / 4.15)
             for row, (_, name, _, _) in enumerate(PARTS)}
MAP_AREAS["verdict"] = (5.64 / WIDTH, 1 - (1.12 + 1.9) / 4.15, 1.46 / WIDTH, 1.9 / 4.15)


def icon_mge(axis: Any, x: float, y: float, color: str) -> None:
    """One network that fans out into three."""
    network(axis, x - 0.45, y, 0.3, color)
    for step in (-0.27, 0, 0.27):
        network(axis, x + 0.42, y + step, 0.22, color, 0.65)
        arrow(axis, (x - 0.2, y), (x + 0.2, y + step), linewidth=0.8, mutation_scale=7)


def icon_mda(axis: Any, x: float, y: float, color: str) -> None:
    """Two bars of blocks, one block of each joined in a third bar."""
    for row, (shade, taken) in enumerate(((color, 1), (SKY, 0))):
        for column in range(3):
            axis.add_patch(Rectangle((x - 0.66 + column * 0.2, y + 0.06 - row * 0.3), 0.17, 0.2,
                                     facecolor=shade, alpha=1 if column == taken else 0.3))
    arrow(axis, (x, y), (x + 0.24, y), linewidth=0.8, mutation_scale=7)
    for column, shade in enumerate((color, SKY)):
        axis.add_patch(Rectangle((x + 0.3 + column * 0.2, y - 0.1), 0.19, 0.2, facecolor=shade))


def icon_free(axis: Any, x: float, y: float, color: str) -> None:
    """A heap of networks and one learner that comes out of it."""
    for dx, dy in ((-0.58, 0.17), (-0.28, 0.21), (-0.55, -0.17), (-0.25, -0.15)):
        network(axis, x + dx, y + dy, 0.22, color, 0.5)
    arrow(axis, (x - 0.05, y), (x + 0.2, y), linewidth=0.8, mutation_scale=7)
    network(axis, x + 0.45, y, 0.34, color)


def icon_d2nwg(axis: Any, x: float, y: float, color: str) -> None:
    """A small grid of images and the network whose weights are sampled for it."""
    shades = np.random.default_rng(4).uniform(0.2, 0.95, (3, 3))
    for i, j in np.ndindex(3, 3):
        axis.add_patch(Rectangle((x - 0.66 + i * 0.18, y - 0.26 + j * 0.18), 0.16, 0.16,
                                 facecolor=color, alpha=shades[i, j]))
    arrow(axis, (x - 0.07, y), (x + 0.18, y), linewidth=0.8, mutation_scale=7)
    network(axis, x + 0.45, y, 0.34, color)


def data_flow() -> Figure:
    """Boxes and arrows: profile, notebook, store, results, claims, stage, pages."""
    figure, axis = canvas(3.5)
    boxes = {  # name: (x, y, title, line below, color)
        "profile": (0.08, 2.45, "profiles/P.yml", "sizes, seeds", METHOD),
        "notebook": (2.02, 2.45, "notebooks/*.ipynb", "stored without outputs", METHOD),
        "library": (0.08, 1.2, "wlib", "the library", METHOD),
        "store": (0.08, 0.15, "the store", "costly results, kept", CONTROL),
        "executed": (4.0, 2.45, "executed notebooks", "with their outputs", REDRAWN),
        "results": (4.0, 1.2, "results, as JSON", "a value per seed, controls", REDRAWN),
        "book": (2.02, 0.15, "book/", "chapters, claims.yml", METHOD),
        "pages": (5.75, 1.2, "the pages", "checked HTML", GOOD),
    }
    wide, high = 1.62, 0.72
    for x, y, title, line, color in boxes.values():
        width = 1.36 if title == "the pages" else wide
        box(axis, x, y, width, high, color)
        middle = x + width / 2
        axis.text(middle, y + 0.47, title, ha="center", va="center", weight="bold")
        axis.text(middle, y + 0.21, line, ha="center", va="center", fontsize=9)
    for start, end in (((1.7, 2.81), (2.0, 2.81)), ((3.64, 2.81), (3.98, 2.81)),
                       ((1.7, 1.75), (2.45, 2.43)), ((0.89, 1.18), (0.89, 0.89)),
                       ((3.3, 2.43), (4.3, 1.94)), ((5.62, 2.7), (6.4, 1.94)),
                       ((5.62, 1.56), (5.73, 1.56)), ((3.64, 0.51), (6.4, 1.18))):
        arrow(axis, start, end)
    arrow(axis, (0.89, 0.89), (0.89, 1.18))
    mono = {"family": "DejaVu Sans Mono", "va": "center"}
    axis.text(2.84, 3.32, "wlib run", ha="center", **mono)
    axis.text(6.36, 2.2, "wlib build", ha="left", **mono)
    axis.text(5.35, 0.4, "claims are judged\nhere, never typed", ha="left", va="center")
    return figure


DRAWINGS = {
    "map-of-parts": (map_of_parts, (
        "The book has four parts, each a way to make networks without ordinary training: MGE "
        "makes many networks from one, MDA cuts networks apart and joins the parts, FREE "
        "learns to learn from many networks, D2NWG samples weights for a data set. All go "
        "through the same comparison with rivals and end in a verdict.")),
    "data-flow": (data_flow, (
        "How the book is made: a profile and the library feed the notebooks, which keep costly "
        "results in the store and write executed notebooks and result files; these and the "
        "chapters become the checked pages, where the claims are judged.")),
}
