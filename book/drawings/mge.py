"""Part I, MGE, in one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from scipy.fft import dct, idct

from wlib.plot.colors import CONTROL, FAINT, GOOD, INK, METHOD, PAPER, REDRAWN

from .strokes import WIDTH, arrow, box, network


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
    fraction = np.cumsum(coefficients[order] ** 2) / np.sum(coefficients**2)
    kept = np.zeros(24, bool)
    kept[order[: int(np.searchsorted(fraction, 0.95)) + 1]] = True
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


DRAWINGS = {
    "mge-in-one-picture": (mge_picture, (
        "MGE in six steps: the seed network's weights are transformed to frequencies, the "
        "largest coefficients that hold 95 percent of the energy are kept, the others are "
        "redrawn from a normal distribution, the transform is inverted to give a new network "
        "close to the seed, and a discriminator keeps or drops it by its quality.")),
}
