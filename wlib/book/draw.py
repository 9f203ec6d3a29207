"""The drawings of ideas in the chapters: made by code, in one palette, each with its alt text.

They hold no results. Each drawing is an SVG of one text column (text of 9 points and more), opaque,
and the same bytes from the same versions: a build sees no change where there is none.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle, Wedge
from scipy.fft import dct, idct

from wlib.check import require_one_of
from wlib.plot.theme import CONTROL, FAINT, GOOD, INK, METHOD, PAPER, PURPLE, REDRAWN, SKY

WIDTH = 7.2  # inches: one full text column
STYLE = {"font.family": "DejaVu Sans", "font.size": 9.5, "svg.fonttype": "path",
         "svg.hashsalt": "weights-as-data", "text.color": INK, "axes.edgecolor": INK,
         "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.titlesize": 10}

PARTS = (
    ("I", "MGE", "one network → many", "Can one network give many, untrained?"),
    ("II", "MDA", "cut apart, join anew", "Can we build from others' parts?"),
    ("III", "FREE", "many networks → a learner", "Can we learn to learn without the data?"),
    ("IV", "D2NWG", "a data set → weights", "Can we sample weights for unseen data?"),
)


def svg(name: str) -> bytes:
    """A drawing as SVG."""
    require_one_of("name", name, DRAWINGS)
    return rendered(DRAWINGS[name][0])


def rendered(make: Callable[[], Figure]) -> bytes:
    """A figure drawn in the book's style, as SVG."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = make()
        file = io.BytesIO()
        figure.savefig(file, format="svg", facecolor=PAPER, metadata={"Date": None})
    return file.getvalue()


def alt(name: str) -> str:
    """What a drawing says, for those who do not see it; one line."""
    require_one_of("name", name, DRAWINGS)
    return DRAWINGS[name][1]


# ---------------------------------------------------------------- strokes
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
    style = {"facecolor": PAPER, "edgecolor": color, "linewidth": 1.5} | style
    axis.add_patch(FancyBboxPatch((x, y), width, height, **style,
                                  boxstyle="round,pad=0,rounding_size=0.08"))


def arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """An arrow between two points."""
    style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": INK, "linewidth": 1.2} | style
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


# ---------------------------------------------------------------- the map of the four parts
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


# Where the boxes lie, for links on the picture: left, top, width, height as shares of it.
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


# ---------------------------------------------------------------- MGE in one picture
def mge_picture() -> Figure:
    """Six panels, five of them computed: weights, DCT, kept, redrawn, inverse, discriminator."""
    weights, coefficients, kept, redrawn, child = small_mge()
    figure = Figure(figsize=(WIDTH, 4.3), facecolor=PAPER)
    axes = [figure.add_axes((0.035 + 0.337 * (i % 3), 0.575 - 0.5 * (i // 3), 0.265, 0.315))
            for i in range(6)]
    titles = ("1  The seed's weights", "2  As frequencies (DCT)",
              "3  Keep 95 % of the energy", "4  Redraw the rest", "5  Back: a new network",
              "6  Discriminator")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left", weight="bold", fontsize=9.5)
    places = np.arange(len(weights))
    for axis in axes[:5]:
        axis.axhline(0, color=INK, linewidth=0.6)
        axis.set(xticks=[], yticks=[], ylim=(-1.2, 2.9) if axis in axes[1:4] else (-1.4, 1.4))
        axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes[0].bar(places, weights, color=METHOD)
    axes[1].bar(places, coefficients, color=INK)
    axes[2].bar(places, coefficients, color=np.where(kept, METHOD, CONTROL))
    axes[3].bar(places, redrawn, color=np.where(kept, METHOD, REDRAWN))
    axes[4].bar(places, child, color=REDRAWN)
    axes[4].step(np.append(places, places[-1] + 1) - 0.5, np.append(weights, weights[-1]),
                 where="post", color=METHOD, linewidth=1.3)
    notes = ("weights in order", "frequency, low → high", "blue kept, gray not",
             "orange: drawn from a normal", "orange new, blue line the seed")
    for axis, note in zip(axes, notes, strict=False):
        axis.text(0.5, -0.06, note, transform=axis.transAxes, ha="center", va="top", fontsize=9)
    discriminator(axes[5])
    link_panels(figure)
    return figure


def small_mge() -> tuple[np.ndarray, ...]:
    """24 smooth weights, their coefficients, the mask that keeps 95 %, the redraw and the child."""
    rng = np.random.default_rng(3)
    places = np.arange(24)
    weights = np.cos(places / 3.4) * np.exp(-((places - 10) / 10) ** 2) + rng.normal(0, 0.16, 24)
    coefficients = dct(weights, norm="ortho")
    order = np.argsort(-np.abs(coefficients), kind="stable")
    share = np.cumsum(coefficients[order] ** 2) / np.sum(coefficients**2)
    kept = np.zeros(24, bool)
    kept[order[: int(np.searchsorted(share, 0.95)) + 1]] = True
    rest = coefficients[~kept]
    redrawn = np.where(kept, coefficients, rng.normal(rest.mean(), rest.std(), 24))
    return weights, coefficients, kept, redrawn, idct(redrawn, norm="ortho")


def discriminator(axis: Any) -> None:
    """The last panel: a candidate is scored on validation images, then kept or thrown away."""
    axis.set(xlim=(0, 3), ylim=(0, 2))
    axis.axis("off")
    network(axis, 0.42, 1.0, 0.62, REDRAWN)
    arrow(axis, (0.85, 1.0), (1.12, 1.0))
    box(axis, 1.15, 0.42, 1.0, 1.16, INK, facecolor=FAINT)
    axis.text(1.65, 1.0, "as good\nas the\nseed?", ha="center", va="center")
    arrow(axis, (2.17, 1.3), (2.42, 1.55), color=GOOD)
    arrow(axis, (2.17, 0.7), (2.42, 0.45), color=CONTROL)
    axis.text(2.3, 1.72, "✔ keep", va="center", weight="bold")
    axis.text(2.3, 0.28, "✘ drop", va="center", weight="bold")


def link_panels(figure: Figure) -> None:
    """Arrows from panel to panel."""
    for y in (0.735, 0.235):
        for x in (0.306, 0.643):
            figure.add_artist(FancyArrowPatch((x, y), (x + 0.024, y), arrowstyle="-|>", color=INK,
                                              mutation_scale=11, transform=figure.transFigure))


# ---------------------------------------------------------------- MDA in one picture
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

    def relative(v):
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


# ---------------------------------------------------------------- FREE in one picture
def free_picture() -> Figure:
    """Four panels, two of them computed: a heap, one generator adapted to each, the walk through
    two networks, a new task."""
    titles = ("1  A heap of networks, no data", "2  One generator, few steps to each",
              "3  A learner walks through them", "4  A new task, few images")
    notes = ("each knows five classes of its own",
             "gray: from anywhere; blue: from a learned start",
             "each step begins where the last one ended",
             "an image goes to the nearest class mean")
    figure, axis = four_panels(titles, notes)
    for row, color in enumerate((METHOD, REDRAWN, GOOD, PURPLE)):
        x, y = 0.95 + 1.5 * (row % 2), 3.95 - 0.85 * (row // 2)
        network(axis, x, y, 0.5, color)
        axis.text(x + 0.38, y, ("ABDEG", "knrtz", "αβγδθ", "жфцщю")[row], va="center", fontsize=9.5)
    adaptation(axis, 3.9, 2.66)
    two_walks(axis, 0.3, 0.3)
    new_task(axis, 4.2, 0.35)
    return figure


def adaptation(axis: Any, x: float, y: float) -> None:
    """Five steps toward each of four goals, from a start apart and from one that was learned."""
    goals = np.array([[2.55, 1.45], [2.95, 0.75], [2.35, 0.3], [1.9, 1.1]])
    starts = {CONTROL: np.array([0.35, 1.35]), METHOD: goals.mean(0)}
    for color, start in starts.items():
        for goal in goals:
            way = start + np.outer(1 - 0.72 ** np.arange(6), goal - start)
            axis.plot(*(way + (x, y)).T, color=color, marker="o", markersize=2.2, linewidth=0.9)
        axis.add_patch(Circle(start + (x, y), 0.07, facecolor=color, edgecolor=PAPER, zorder=4))
    for goal, color in zip(goals, (METHOD, REDRAWN, GOOD, PURPLE), strict=True):
        network(axis, *(goal + (x + 0.06, y + 0.04)), 0.26, color)
    axis.text(x + 0.1, y + 1.5, "fresh", fontsize=9)


def two_walks(axis: Any, x: float, y: float) -> None:
    """Two quadratic losses as ellipses; three walks through both, and as many joint steps."""
    centers, forms = np.array([[0.75, 0.45], [2.3, 0.55]]), np.array([[1.0, 2.6], [2.6, 1.0]])
    for center, form, color in zip(centers, forms, (METHOD, REDRAWN), strict=True):
        turn = np.linspace(0, 2 * np.pi, 100)
        for level in (0.16, 0.36, 0.56):
            ring = center + level * np.column_stack([np.cos(turn), np.sin(turn)]) / np.sqrt(form)
            axis.plot(*(ring + (x, y)).T, color=color, linewidth=0.8, alpha=0.7)
    at = np.array([1.55, 1.5])
    axis.add_patch(Circle(at + (x, y), 0.06, facecolor=INK, zorder=4))
    axis.text(*(at + (x + 0.1, y + 0.02)), "learner", fontsize=9)
    for _ in range(3):
        for center, form, color in zip(centers, forms, (METHOD, REDRAWN), strict=True):
            step = at - 0.22 * form * (at - center)
            arrow(axis, tuple(at + (x, y)), tuple(step + (x, y)), color=color, mutation_scale=7)
            at = step


def new_task(axis: Any, x: float, y: float) -> None:
    """Features of three classes, their means, and one image that goes to the nearest."""
    rng = np.random.default_rng(5)
    means = np.array([[0.45, 1.15], [1.75, 1.25], [1.15, 0.3]])
    for mean, color in zip(means, (METHOD, REDRAWN, GOOD), strict=True):
        near = mean + rng.normal(0, 0.13, (5, 2))
        axis.scatter(*(near + (x, y)).T, s=14, color=color, alpha=0.6, linewidth=0)
        axis.scatter(*(near.mean(0) + (x, y)), s=90, color=color, marker="X", edgecolor=PAPER)
    asked = np.array([1.25, 0.85])
    axis.scatter(*(asked + (x, y)), s=40, facecolor=PAPER, edgecolor=INK, zorder=4)
    axis.text(*(asked + (x - 0.12, y + 0.1)), "?", fontsize=11, weight="bold")
    arrow(axis, tuple(asked + (x - 0.01, y - 0.06)), (x + 1.17, y + 0.42), mutation_scale=8)


# ---------------------------------------------------------------- why a walk aligns gradients
def walk_residuals(rates: np.ndarray, count: int = 3, size: int = 4) -> tuple[np.ndarray, ...]:
    """How far a walk through random quadratic losses is from first and from second order.

    Rates (R,) give two arrays (R,): the norm of the walk's displacement over α, mean over all
    orders of the losses, minus Σ g, and minus Σ g − (α/2) ∇ Σ ⟨g_i, g_j⟩.
    """
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(count, size, size))
    H, b = roots @ roots.transpose(0, 2, 1) / size, rng.normal(size=(count, size))
    start = rng.normal(size=size)
    g = H @ start + b                                                               # (T, P)
    pairs = sum(H[j] @ g[i] + H[i] @ g[j] for i, j in combinations(range(count), 2))
    first, second = [], []
    for rate in rates:
        ends = []
        for order in permutations(range(count)):
            w = start
            for j in order:
                w = w - rate * (H[j] @ w + b[j])
            ends.append((start - w) / rate)
        rest = np.mean(ends, axis=0) - g.sum(0)
        first.append(np.linalg.norm(rest))
        second.append(np.linalg.norm(rest + rate / 2 * pairs))
    return np.array(first), np.array(second)


def walk_orders() -> Figure:
    """Both residuals over the rate, on logarithmic axes, with their slopes."""
    rates = np.logspace(-4, -1, 13)
    figure = Figure(figsize=(WIDTH, 3.1), facecolor=PAPER)
    axis = figure.add_axes((0.12, 0.17, 0.56, 0.76))
    names = ("sum of the gradients", "with the alignment term")
    for gap, color, name, marker in zip(walk_residuals(rates), (CONTROL, METHOD), names, "so",
                                        strict=True):
        slope = np.polyfit(np.log(rates[:6]), np.log(gap[:6]), 1)[0]
        axis.loglog(rates, gap, color=color, marker=marker, markersize=4)
        axis.text(rates[-1] * 1.25, gap[-1], f"{name}:\nslope {slope:.2f}", fontsize=9.5,
                  va="center", color=INK)
    axis.set(xlabel="rate α of the walk", ylabel="distance from the walk")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


# -------------------------------------------------------------- the verdicts, one square per claim
VERDICTS = {"reproduced": ("✔", GOOD), "reproduced, but a control does as well": ("≈", REDRAWN),
            "not reproduced": ("✘", "#d55e00"), "undecided": ("?", METHOD),
            "not measured": ("–", CONTROL)}


def verdicts(counts: Mapping[str, Mapping[str, int]]) -> bytes:
    """How many claims of each paper came to which verdict, as SVG: a marked square per claim."""
    return rendered(lambda: verdict_squares(counts))


def verdicts_alt(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The same counts as a sentence per paper."""
    papers = [f"{paper}: " + ", ".join(f"{n} {words}" for words, n in found.items() if n)
              for paper, found in counts.items()]
    total = sum(sum(found.values()) for found in counts.values())
    return f"The verdicts on {total} claims. " + "; ".join(papers) + "."


def verdict_squares(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """A row of squares per paper, in the order of the verdicts; below, what the marks mean."""
    most = max([sum(found.values()) for found in counts.values()], default=1)
    side, high = min(0.4, (WIDTH - 1.1) / max(most, 1)), 0.46 * len(counts)
    figure, axis = canvas(high + 0.75)
    for row, (paper, found) in enumerate(counts.items()):
        y = high + 0.75 - 0.46 * (row + 1)
        axis.text(0.08, y + side / 2, paper, weight="bold", va="center", fontsize=11)
        marks = [words for words, n in found.items() for _ in range(n)]
        for column, words in enumerate(marks):
            verdict_square(axis, 1.0 + side * column, y, side * 0.88, words)
    totals = {words: sum(found[words] for found in counts.values()) for words in VERDICTS}
    places = ((0.08, 0.4), (2.1, 0.4), (0.08, 0.08), (2.1, 0.08), (4.1, 0.08))
    for (words, total), (x, y) in zip(totals.items(), places, strict=True):
        verdict_square(axis, x, y, 0.22, words)
        axis.text(x + 0.3, y + 0.11, f"{words}: {total}", va="center")
    return figure


def verdict_square(axis: Any, x: float, y: float, side: float, words: str) -> None:
    """A tinted square with the verdict's mark; mark and color say the same."""
    mark, color = VERDICTS[words]
    axis.add_patch(Rectangle((x, y), side, side, facecolor=(color, 0.22), edgecolor=color))
    axis.text(x + side / 2, y + side / 2, mark, ha="center", va="center")


# ---------------------------------------------------------------- D2NWG in one picture
def d2nwg_picture() -> Figure:
    """Four panels, the third computed: a zoo, its latents, two walks from one noise, a new set."""
    titles = ("1  A zoo: data sets, trained networks", "2  Weights become a few numbers",
              "3  From noise to latents, as asked", "4  A data set never seen")
    notes = ("each network was trained on its data set",
             "one dot per network; near means alike",
             "same noise (gray), two data sets asked for",
             "a few images are encoded; weights come out")
    figure, axis = four_panels(titles, notes)
    for row, color in enumerate(ZOO):
        x, y = 0.55 + 1.6 * (row % 2), 4.0 - 0.85 * (row // 2)
        tile(axis, x, y, 0.5, color, seed=row)
        arrow(axis, (x + 0.32, y), (x + 0.52, y), linewidth=0.8, mutation_scale=7)
        network(axis, x + 0.8, y, 0.42, color)
    latents(axis, 5.35, 3.6)
    reverse_walks(axis, 1.6, 1.12)
    tile(axis, 4.2, 1.1, 0.62, GOOD, seed=7)
    box(axis, 4.82, 0.86, 0.86, 0.48, INK, facecolor=FAINT)
    axis.text(5.25, 1.1, "sample,\ndecode", ha="center", va="center", fontsize=9)
    arrow(axis, (4.56, 1.1), (4.8, 1.1))
    for step in (-0.55, 0, 0.55):
        arrow(axis, (5.7, 1.1), (6.08, 1.1 + step), linewidth=0.8, mutation_scale=7)
        network(axis, 6.4, 1.1 + step, 0.42, GOOD, 0.8)
    return figure


ZOO = (METHOD, REDRAWN, PURPLE, SKY)
SPOTS = np.array([[-2.4, 1.3], [2.4, 1.2], [-2.0, -1.4], [2.2, -1.3]])      # of ZOO's networks
INCH = 0.4     # of the plane of latents, a unit


def tile(axis: Any, x: float, y: float, size: float, color: str, seed: int) -> None:
    """A few images of a data set, as a small grid of shades around (x, y)."""
    shades, cell = np.random.default_rng(seed).uniform(0.15, 0.95, (3, 3)), size / 3
    for i, j in np.ndindex(3, 3):
        axis.add_patch(Rectangle((x - size / 2 + i * cell, y - size / 2 + j * cell), 0.88 * cell,
                                 0.88 * cell, facecolor=color, alpha=shades[i, j]))


def latents(axis: Any, x: float, y: float) -> None:
    """Several networks of each data set as dots around a place of their own."""
    rng = np.random.default_rng(3)
    for spot, color in zip(SPOTS, ZOO, strict=True):
        dots = INCH * (spot + rng.normal(0, 0.2, (9, 2))) + (x, y)
        axis.scatter(*dots.T, s=16, color=color, alpha=0.8, linewidth=0)
    for end in ((x + 1.5, y - 0.85), (x - 1.5, y + 0.8)):
        arrow(axis, (x - 1.5, y - 0.85), end, linewidth=0.8, mutation_scale=7)
    axis.text(x + 1.5, y - 0.75, "z₁", ha="right", fontsize=9)
    axis.text(x - 1.42, y + 0.68, "z₂", fontsize=9)


def reverse_walks(axis: Any, x: float, y: float) -> None:
    """The paths of `reverse_paths` from the same noise to two of the zoo's places."""
    for at, color in ((0, METHOD), (3, SKY)):
        for path in np.moveaxis(reverse_paths(SPOTS[at]), 1, 0):
            path = INCH * path + (x, y)
            axis.plot(*path.T, color=color, linewidth=0.9, alpha=0.8)
            axis.scatter(*path[-1], s=14, color=color, linewidth=0, zorder=4)
    noise = INCH * reverse_paths(SPOTS[0])[0] + (x, y)
    axis.scatter(*noise.T, s=12, color=CONTROL, linewidth=0, zorder=5)


def reverse_paths(spot: np.ndarray, count: int = 6, steps: int = 40, spread: float = 0.2,
                  seed: int = 11) -> np.ndarray:
    """DDIM from noise to networks around a place in a plane, (steps + 1, count, 2).

    With normal latents the best guess of the noise is known, so nothing is trained: x_t is normal
    around √ᾱ·spot with variance ᾱ·spread² + 1 − ᾱ.
    """
    betas = np.linspace(np.sqrt(0.0015 * 1024 / steps), np.sqrt(0.0155 * 1024 / steps), steps) ** 2
    left = np.cumprod(1 - betas)
    x = np.random.default_rng(seed).normal(size=(count, 2))
    path = [x]
    for t in range(steps - 1, -1, -1):
        before = left[t - 1] if t else 1.0
        noise = (np.sqrt(1 - left[t]) * (x - np.sqrt(left[t]) * spot)
                 / (left[t] * spread**2 + 1 - left[t]))
        latent = (x - np.sqrt(1 - left[t]) * noise) / np.sqrt(left[t])
        x = np.sqrt(before) * latent + np.sqrt(1 - before) * noise
        path.append(x)
    return np.stack(path)


# ---------------------------------------------------------------- how the book is made
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


DRAWINGS: dict[str, tuple[Callable[[], Figure], str]] = {
    "map-of-parts": (map_of_parts, (
        "The book has four parts, each a way to make networks without ordinary training: MGE makes "
        "many networks from one, MDA cuts networks apart and joins the parts, FREE learns to learn "
        "from many networks, D2NWG samples weights for a data set. All go through the same "
        "comparison with rivals and end in a verdict.")),
    "mge-in-one-picture": (mge_picture, (
        "MGE in six steps: the seed network's weights are transformed to frequencies, the largest "
        "coefficients that hold 95 percent of the energy are kept, the others are redrawn from a "
        "normal distribution, the transform is inverted to give a new network close to the seed, "
        "and a discriminator keeps or drops it by its quality.")),
    "mda-in-one-picture": (mda_picture, (
        "MDA in four steps on a chain of three inputs, four hidden channels and three classes: "
        "from the logits down each class asks for the hidden channels that contribute to it, class "
        "0 for the fourth and class 2 for the second; the part for both keeps these two and drops "
        "the rest; two parts are joined into one network by weights that are block diagonal, with "
        "zeros in the other corners.")),
    "free-in-one-picture": (free_picture, (
        "FREE in four steps: a heap of networks, each for five classes of its own, whose data is "
        "gone; one generator of images that reaches each of them in a few steps, because its start "
        "lies between them; a learner that walks through the networks one after another, each step "
        "beginning where the last one ended; and a new task, where an image goes to the nearest "
        "class mean.")),
    "walk-orders": (walk_orders, (
        "How far a walk through three random quadratic losses is from two descriptions of it, "
        "over the rate of the walk on logarithmic axes: from the sum of the gradients the "
        "distance falls with slope 1, from the sum with the alignment term with slope 2.")),
    "d2nwg-in-one-picture": (d2nwg_picture, (
        "D2NWG in four steps: a zoo of data sets, each with the network that was trained on it; "
        "the weights of each network become a dot in a plane, networks of one data set near each "
        "other; the same noise is walked to two different places, according to which data set is "
        "asked for; and for a data set never seen, a few images are encoded and several networks "
        "come out.")),
    "data-flow": (data_flow, (
        "How the book is made: a profile and the library feed the notebooks, which keep costly "
        "results in the store and write executed notebooks and result files; these and the "
        "chapters become the checked pages, where the claims are judged.")),
}
