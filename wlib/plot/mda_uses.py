"""The figures of notebook 23: the routes of classes, patterns, and compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from wlib.plot.colors import BROWN, CONTROL, CONTROLS, DARK, GOOD, INK, METHOD, PURPLE, REDRAWN
from wlib.plot.figures import lines
from wlib.plot.style import FULL, MARKERS, headline, over_seeds


def two_routes(layers: Mapping[str, np.ndarray], names: Sequence[str], *, title: str
               ) -> plt.Figure:
    """Two decision routes through one network, over each other: a column of dots per layer.

    `layers` has bool (2,P): which channels each route uses. Channels are sorted by who uses them,
    those that neither uses below; a line joins neighbors of one route, in its color.
    """
    figure, axis = plt.subplots(figsize=(FULL[0], 4.2), dpi=80)    # of the lines, which are pixels
    colors = {"both": INK, names[0]: METHOD, names[1]: REDRAWN, "neither": "#d4d4d4"}
    places, kinds = [], []
    for uses in layers.values():
        a, b = np.asarray(uses, bool)
        kind = np.select([a & b, a, b], [0, 1, 2], 3)
        order = np.argsort(np.choose(kind, [1, 0, 2, 3]), kind="stable")   # one, both, other, none
        used, place = int((kind < 3).sum()), np.empty(len(kind))
        place[order] = np.r_[np.linspace(1, 0.3, used + 2)[1:-1],
                             np.linspace(0.22, 0, len(kind) - used + 2)[1:-1]]
        places.append(place)
        kinds.append(kind)
    for at, ((left, one), (right, two)) in enumerate(pairwise(zip(places, kinds, strict=True))):
        for own in (1, 2):
            ends = [[(at, y), (at + 1, z)] for y in left[np.isin(one, (0, own))]
                    for z in right[np.isin(two, (0, own))]]
            faint = min(0.5, 25 / max(1, len(ends)))
            axis.add_collection(LineCollection(ends, colors=[METHOD, REDRAWN][own - 1], lw=0.7,
                                               alpha=faint, rasterized=True, zorder=1))
    for at, (place, kind) in enumerate(zip(places, kinds, strict=True)):
        for number, color in enumerate(colors.values()):
            chosen = kind == number
            size = np.clip(700 / max(1, (kind < 3).sum()), 12, 60) if number < 3 else 9
            axis.scatter(np.full(chosen.sum(), at), place[chosen], s=size, color=color, zorder=2,
                         edgecolor="white", lw=0.4)
    for name, color in colors.items():
        axis.scatter([], [], s=40, color=color, label=name)
    axis.set_xticks(range(len(layers)), [f"{name}\n{len(k)} channels" for name, k in
                                         zip(layers, kinds, strict=True)])
    axis.set(yticks=[], ylim=(0, 1), xlim=(-0.3, len(layers) - 0.7))
    axis.grid(visible=False)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14), handletextpad=0.2)
    axis.set_title(title)
    return figure


def by_layer(frame: pd.DataFrame, value: str, *, arms: Mapping[str, str], title: str, ylabel: str
             ) -> plt.Figure:
    """A value over the layers, first to last, a line per arm and a panel per network.

    Columns `network`, `layer`, `arm`, `seed` and the value; bars are 95 % intervals over seeds.
    """
    networks = list(dict.fromkeys(frame["network"]))
    figure, axes = plt.subplots(1, len(networks), figsize=(FULL[0], 3.4), sharey=True,
                                squeeze=False)
    for axis, network in zip(axes[0], networks, strict=True):
        part = frame[frame["network"] == network]
        layers = list(dict.fromkeys(part["layer"]))
        table = over_seeds(part[part["arm"].isin(list(arms))], ["arm", "layer"], value)
        for number, (arm, color) in enumerate(arms.items()):
            own = table[table["arm"] == arm]
            at = [layers.index(name) + 0.06 * (number - (len(arms) - 1) / 2)
                  for name in own["layer"]]
            axis.errorbar(at, own["mean"], own["half"], color=color, capsize=2, elinewidth=1,
                          marker=MARKERS[number], ms=4.5, lw=2.2 if number == 0 else 1.2,
                          ls=":" if "random" in arm else "-", label=arm)
        axis.set_xticks(range(len(layers)), layers,
                        rotation=30 if sum(map(len, layers)) > 30 else 0)
        axis.set(xlabel="channels written by", ylabel=ylabel if network == networks[0] else " ",
                 ylim=(0, 1.05))
        axis.set_title(network if len(networks) > 1 else "", fontsize=10, fontweight="normal")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(arms), loc="outside lower center")
    headline(figure, title)
    return figure


ROUTES = {"trained": METHOD, "random masks of equal size": CONTROLS[1], "untrained": DARK}
COMPRESSION = {"contributions": METHOD, "largest weights (L1)": REDRAWN,
               "geometric median": GOOD, "Taylor": PURPLE, "group norm": BROWN,
               "random": CONTROL}


def one_route(image: ArrayLike, near: pd.DataFrame, *, said: int, true: int, title: str
              ) -> plt.Figure:
    """An image beside the overlap of its route with the routes of all classes, layer by layer.

    `near` has a row per class and a column per layer; `image` is (C,H,W) in [0, 1].
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=FULL, width_ratios=(1, 2.6))
    pixels = np.asarray(image).transpose(1, 2, 0)
    left.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1)
    left.set(xticks=[], yticks=[], xlabel=f"a {true}, taken for a {said}")
    at = range(near.shape[1])
    others = [c for c in near.index if c not in (said, true)]
    right.plot(at, near.loc[others].T, color="#c4c4c4", lw=1)
    right.plot([], [], color="#c4c4c4", lw=1, label="the others")
    for c, name, color, marker in ((said, "the class it was taken for", REDRAWN, "s"),
                                   (true, "its own class", METHOD, "o")):
        right.plot(at, near.loc[c], color=color, marker=marker, ms=5, lw=2,
                   label=f"{c}, {name}")
    right.set_xticks(at, near.columns)
    right.set(ylim=(0, 1.02), xlabel="channels written by", ylabel="overlap (Jaccard)")
    right.legend()
    headline(figure, title)
    return figure


def cosines(matrices: Mapping[str, np.ndarray], *, every: int, title: str) -> plt.Figure:
    """Cosines of all pairs of images (B,B) on one color scale, lines between classes."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(FULL[0], 2.9), sharey=True)
    low = min(float(np.asarray(m).min()) for m in matrices.values())
    for axis, (name, cosine) in zip(axes, matrices.items(), strict=True):
        shown = axis.imshow(np.asarray(cosine), cmap="cividis", vmin=low, vmax=1,
                            interpolation="nearest")
        for at in range(every, len(cosine), every):
            axis.axhline(at - 0.5, color="white", lw=0.3)
            axis.axvline(at - 0.5, color="white", lw=0.3)
        axis.set(xticks=[], yticks=[], xlabel="images, class by class")
        axis.grid(visible=False)
        axis.set_title(name, fontsize=10, fontweight="normal")
    figure.colorbar(shown, ax=list(axes), label="cosine", shrink=0.8)
    headline(figure, title)
    return figure


def cost_curve(frame: pd.DataFrame, *, point: tuple[float, float], level: float, title: str
               ) -> plt.Figure:
    """Accuracy over cost as a fraction of the full network's, a line per criterion, and a part."""
    figure = lines(frame, "cost", "accuracy", arms=COMPRESSION, categorical=False, title=title,
                   level={"full network": level}, ylabel="validation accuracy",
                   xlabel="multiply-accumulates, fraction of the full network")
    axis = figure.axes[0]
    axis.plot(*point, marker="*", ms=15, color=METHOD, mec="white", ls="", zorder=5,
              label="the part")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_ylim(0, 1.02)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.set_size_inches(FULL[0], 3.6)
    return figure
