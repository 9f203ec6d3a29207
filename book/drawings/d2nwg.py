"""Part IV, D2NWG, in one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wlib.plot.colors import CONTROL, FAINT, GOOD, INK, METHOD, PURPLE, REDRAWN, SKY

from .strokes import arrow, box, four_panels, network

ZOO = (METHOD, REDRAWN, PURPLE, SKY)
SPOTS = np.array([[-2.4, 1.3], [2.4, 1.2], [-2.0, -1.4], [2.2, -1.3]])      # of ZOO's networks
INCH = 0.4     # of the plane of latents, a unit


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


DRAWINGS = {
    "d2nwg-in-one-picture": (d2nwg_picture, (
        "D2NWG in four steps: a zoo of data sets, each with the network that was trained on "
        "it; the weights of each network become a dot in a plane, networks of one data set "
        "near each other; the same noise is walked to two different places, according to which "
        "data set is asked for; and for a data set never seen, a few images are encoded and "
        "several networks come out.")),
}
