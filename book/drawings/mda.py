"""Part II, MDA, in one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle, Wedge

from wlib.plot.colors import CONTROL, INK, METHOD, PAPER, REDRAWN

from .strokes import arrow, canvas


def mda_picture() -> Figure:
    """Four panels, three of them computed: a network, what two classes need of it, the part that
    does both, and two parts in one network of block-diagonal weights."""
    weights, needed = small_mda()
    figure, axis = canvas(4.7)
    colors = {0: METHOD, 2: REDRAWN}
    titles = ("1  A trained network", "2  What classes 0 and 2 need",
              "3  The part for classes 0 and 2", "4  Parts of two networks, joined")
    for at, title in enumerate(titles):
        left, low = 0.12 + 3.62 * (at % 2), 2.66 - 2.36 * (at // 2)
        axis.text(left, low + 1.9, title, weight="bold", fontsize=10, va="center")
        if at < 3:
            chain(axis, left + 0.75, low + 0.88, weights, needed if at else {}, colors, cut=at == 2)
    joined_blocks(axis, 3.9, 0.45)
    notes = ("thick lines: large weights", "from the logits down, class by class",
             "what either needs; the rest is gone", "blocks on the diagonal, zeros beside them")
    for at, note in enumerate(notes):
        axis.text(0.12 + 3.62 * (at % 2), 2.5 - 2.36 * (at // 2), note, fontsize=9,
                  va="center")
    return figure


def small_mda() -> tuple[list[np.ndarray], dict[int, list[np.ndarray]]]:
    """Weights of a chain 3–4–3 and, for classes 0 and 2, what of inputs, hidden, logits they need.

    One image per class, thresholds 0.4 and 0.3, as in the chapter's example.
    """
    layers = [np.array([[1, 0, 2], [0, 3, 1], [2, 2, -1], [-1, 1, 4]]),
              np.array([[2, -1, 0, 3], [1, 1, -2, 0], [0, 4, 1, -1]])]
    images = {0: np.array([1, 2, 1]), 2: np.array([0, 1, 3])}

    def relative(v: np.ndarray) -> np.ndarray:
        v = v - v.min(-1, keepdims=True)
        return v / (v.max(-1, keepdims=True) + 1e-5)

    found = {}
    for label, image in images.items():
        inputs = [image, np.maximum(layers[0] @ image, 0)]
        needed = [np.arange(3) == label]
        for weight, a in zip(reversed(layers), reversed(inputs), strict=True):
            votes = relative(np.maximum(weight * a, 0)) > 0.4                   # (outputs, inputs)
            needed.insert(0, relative(votes[needed[0]].sum(0)) > 0.3)
        found[label] = needed
    return layers, found


def chain(axis: Any, x: float, y: float, weights: list[np.ndarray],
          needed: Mapping[int, list[np.ndarray]], colors: Mapping[int, str], cut: bool) -> None:
    """Three columns of nodes; what a class needs in its color, both in halves; the rest is faint,
    or gone."""
    columns = [weights[0].shape[1], *(len(w) for w in weights)]
    places = [[(x + 0.95 * c, y - (row - (count - 1) / 2) * 0.42) for row in range(count)]
              for c, count in enumerate(columns)]
    either = [np.logical_or.reduce([n[c] for n in needed.values()]) if needed
              else np.ones(count, bool) for c, count in enumerate(columns)]
    either[0] = np.ones(columns[0], bool)                       # the image is never cut
    for c, weight in enumerate(weights):
        for q, p in np.ndindex(weight.shape):
            there = either[c][p] and either[c + 1][q]
            if weight[q, p] and (there or not cut):
                axis.plot(*zip(places[c][p], places[c + 1][q], strict=True), zorder=1,
                          color=INK if there else CONTROL, alpha=0.8 if there else 0.25,
                          linewidth=0.5 * abs(weight[q, p]))
    for c, column in enumerate(places):
        for row, place in enumerate(column):
            if cut and not either[c][row]:
                continue
            lit = [colors[k] for k, n in needed.items() if n[c][row]]
            lit = lit or [INK if not needed else "#c9c9c9"]
            for half, shade in enumerate(lit):
                axis.add_patch(Wedge(place, 0.125, 90 + 180 * half,
                                     90 + 180 * (half + 1) if len(lit) == 2 else 450,
                                     facecolor=shade, edgecolor=PAPER, linewidth=0.6, zorder=3))
    for name, column in zip(("image", "hidden", "logits"), places, strict=True):
        axis.text(column[0][0], y + 0.83, name, ha="center", fontsize=9)
    for row, (a, b) in enumerate(places[-1]):
        if either[-1][row] or not cut:
            axis.text(a + 0.2, b, f"class {row}", va="center", fontsize=9)


def joined_blocks(axis: Any, x: float, y: float) -> None:
    """Two blocks, an arrow, and the matrix that has them on its diagonal and zeros elsewhere."""
    side = 0.17
    sizes = ((3, 2), (2, 4))                                   # rows (outputs), columns (inputs)
    for (rows, columns), color, low in zip(sizes, (METHOD, REDRAWN), (0.9, 0.25), strict=True):
        for i, j in np.ndindex(rows, columns):
            axis.add_patch(Rectangle((x + j * side, y + low + i * side), side * 0.9, side * 0.9,
                                     facecolor=color))
    arrow(axis, (x + 0.85, y + 0.78), (x + 1.25, y + 0.78))
    for i, j in np.ndindex(5, 6):
        first = i >= 2
        mine = first == (j < 2)
        color = (METHOD if first else REDRAWN) if mine else PAPER
        axis.add_patch(Rectangle((x + 1.45 + j * side, y + 0.36 + i * side), side * 0.9, side * 0.9,
                                 facecolor=color, edgecolor="#b5b5b5", linewidth=0.5))
        if not mine:
            axis.text(x + 1.45 + (j + 0.45) * side, y + 0.36 + (i + 0.43) * side, "0", ha="center",
                      va="center", fontsize=9, color="#5c5c5c")
    axis.text(x + 1.45 + 6 * side + 0.06, y + 0.36 + 3.4 * side, "part A", va="center", fontsize=9)
    axis.text(x + 1.45 + 6 * side + 0.06, y + 0.36 + 0.95 * side, "part B", va="center", fontsize=9)


DRAWINGS = {
    "mda-in-one-picture": (mda_picture, (
        "MDA in four steps on a chain of three inputs, four hidden channels and three classes: "
        "from the logits down each class asks for the hidden channels that contribute to it, "
        "class 0 for the fourth and class 2 for the second; the part for both keeps these two "
        "and drops the rest; two parts are joined into one network by weights that are block "
        "diagonal, with zeros in the other corners.")),
}
