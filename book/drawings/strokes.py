"""What all drawings share: canvas, boxes, arrows, small networks, and the style."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from wlib.plot.colors import INK, PAPER

WIDTH = 7.2  # inches: one full text column
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9.5, "svg.fonttype": "path",
    "svg.hashsalt": "weights-as-data", "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10}


def rendered(make: Callable[[], Figure]) -> bytes:
    """A figure drawn in the book's style, as SVG."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = make()
        file = io.BytesIO()
        figure.savefig(file, format="svg", facecolor=PAPER, metadata={"Date": None})
    return file.getvalue()


def canvas(height: float) -> tuple[Figure, Any]:
    """A figure of full width whose one axis is measured in inches, origin at the lower left."""
    figure = Figure(figsize=(WIDTH, height), facecolor=PAPER)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def four_panels(titles: Sequence[str], notes: Sequence[str]) -> tuple[Figure, Any]:
    """A canvas with room for four panels, two by two, a title above each and a note below."""
    figure, axis = canvas(4.7)
    for at, (title, note) in enumerate(zip(titles, notes, strict=True)):
        left, low = 0.12 + 3.62 * (at % 2), 2.66 - 2.36 * (at // 2)
        axis.text(left, low + 1.9, title, weight="bold", fontsize=10, va="center")
        axis.text(left, low - 0.17, note, fontsize=9, va="center")
    return figure, axis


def box(
    axis: Any, x: float, y: float, width: float, height: float, color: str, **style: Any
) -> None:
    """A rounded box with a colored edge, lower left corner at (x, y)."""
    style = dict[str, Any](facecolor=PAPER, edgecolor=color, linewidth=1.5) | style
    axis.add_patch(FancyBboxPatch((x, y), width, height, **style,
                                  boxstyle="round,pad=0,rounding_size=0.08"))


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """An arrow between two points."""
    style = dict[str, Any](arrowstyle="-|>", mutation_scale=11, color=INK, linewidth=1.2) | style
    axis.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))


def network(axis: Any, x: float, y: float, size: float, color: str, alpha: float = 1.0) -> None:
    """A small network: three columns of nodes with all their connections, centered on (x, y)."""
    columns = [[(x + (column - 1) * size * 0.5, y + (row - (count - 1) / 2) * size * 0.34)
                for row in range(count)] for column, count in enumerate((2, 3, 2))]
    for left, right in zip(columns, columns[1:], strict=False):
        for a in left:
            for b in right:
                axis.plot(*zip(a, b, strict=True), color=color, linewidth=0.7, alpha=alpha * 0.7)
    for column in columns:
        for node in column:
            axis.add_patch(Circle(node, size * 0.09, facecolor=color, edgecolor=PAPER,
                                  linewidth=0.5, alpha=alpha, zorder=3))
