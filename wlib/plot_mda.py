"""The figures of part II: channels that stay, parts and what they know, routes, the explorer.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from wlib.draw import CONTROL, METHOD, PURPLE, REDRAWN
from wlib.plot import FULL, MARKERS, over_seeds

# ---- 23: uses of parts ---------------------------------------------------------------------------
BOTH, NONE = "#222222", "#d4d4d4"


def two_routes(layers: Mapping[str, np.ndarray], names: Sequence[str], *, title: str):
    """Two decision routes through one network, over each other: a column of dots a layer.

    `layers` has bool (2,P): which channels each route uses. Channels are sorted by who uses them;
    a line joins neighbors that one route uses, in the color of that route.
    """
    figure, axis = plt.subplots(figsize=(FULL[0], 4.2))
    colors = {"both": BOTH, names[0]: METHOD, names[1]: REDRAWN, "neither": NONE}
    places, kinds = [], []
    for uses in layers.values():
        a, b = np.asarray(uses, bool)
        kind = np.select([a & b, a, b], [0, 1, 2], 3)
        order = np.argsort(np.choose(kind, [1, 0, 2, 3]), kind="stable")   # one, both, other, none
        place = np.empty(len(kind))
        place[order] = np.linspace(1, 0, len(kind) + 2)[1:-1]
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
        size = np.clip(900 / len(place), 9, 60)
        for number, color in enumerate(colors.values()):
            chosen = kind == number
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


def by_layer(frame: pd.DataFrame, value: str, *, arms: Mapping[str, str], title: str, ylabel: str):
    """A value over the layers, first to last, a line an arm and a panel a network.

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
        axis.set(xlabel="channels written by", ylabel=ylabel if network == networks[0] else " ")
        axis.set_title(network if len(networks) > 1 else "", fontsize=10, fontweight="normal")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=len(arms), loc="outside lower center")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


ROUTES = {"trained": METHOD, "random masks of equal size": "#8a8a8a", "untrained": "#333333"}
COMPRESSION = {"contributions": METHOD, "largest weights (L1)": REDRAWN,
               "geometric median": "#029e73", "Taylor": PURPLE, "group norm": "#ca9161",
               "random": CONTROL}
