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
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter

from wlib.plot import figures
from wlib.plot.figures import dots, lines
from wlib.plot.mda_explorer import mda_caption, mda_explorer  # noqa: F401
from wlib.plot.style import COLUMN, FULL, MARKERS, headline, over_seeds
from wlib.plot.theme import CONTROL, METHOD, PURPLE, REDRAWN


# ---- 21: parts ----------------------------------------------------------------------------------
def chain(weights: Sequence, lit: Sequence, *, title: str):
    """A small chain of linear layers as units and weights, what stays in blue.

    `weights` are matrices (Q,P) from the first layer on, `lit` a bool array for each column of
    units, one more. The first column is the input, which is never cut; `lit` says what the layer
    behind it needs.
    """
    weights, lit = [np.asarray(w, float) for w in weights], [np.asarray(m, bool) for m in lit]
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    heights = [(len(column) - 1) / 2 - np.arange(len(column)) for column in lit]
    largest = max(np.abs(w).max() for w in weights)
    for at, w in enumerate(weights):
        stays = np.ones(len(lit[0]), bool) if at == 0 else lit[at]
        for q, p in zip(*np.nonzero(w), strict=True):
            kept = lit[at + 1][q] and stays[p]
            axis.plot([at, at + 1], [heights[at][p], heights[at + 1][q]], zorder=2 if kept else 1,
                      color=METHOD if kept else "#d5d5d5", lw=0.5 + 3 * abs(w[q, p]) / largest,
                      ls="-" if w[q, p] > 0 else (0, (2, 1.5)))
    names = ["input", *("hidden" for _ in weights[1:]), "class"]
    for at, (column, y, name) in enumerate(zip(lit, heights, names, strict=True)):
        stays = np.ones(len(column), bool) if at == 0 else column
        axis.scatter(np.full(len(y), at), y, s=430, zorder=3, lw=1.5,
                     c=[METHOD if kept else "white" for kept in stays],
                     edgecolors=[METHOD if kept else "#8a8a8a" for kept in stays])
        for number, (height, kept) in enumerate(zip(y, stays, strict=True)):
            label = number if name == "class" else number + 1
            axis.text(at, height, str(label), ha="center", va="center", zorder=4, fontsize=10,
                      color="white" if kept else "#5f5f5f")
        axis.text(at, max(map(len, lit)) / 2 + 0.2, name, ha="center", fontsize=10)
    top = max(map(len, lit)) / 2
    axis.set(xlim=(-0.4, len(lit) - 0.6), ylim=(-top - 0.1, top + 0.6))
    axis.set_axis_off()
    axis.set_title(title)
    return figure


def places(table: pd.DataFrame, value: str, *, name: str, arms: Mapping[str, str], title: str,
           xlabel: str):
    """`figures.dots` between 0 and 1 with the legend below, where it hides nothing."""
    figure = dots(table, value, name=name, arms=arms, title="", xlabel=xlabel)
    axis, = figure.axes
    axis.set_xlim(0, 1.02)
    axis.get_legend().remove()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(arms),
                  handlelength=1.2, columnspacing=1.2)
    headline(figure, title)
    return figure


def depth_curve(table: pd.DataFrame, x: str, y: str, **style):
    """`figures.lines` of an accuracy, between 0 and 100 %."""
    figure = lines(table, x, y, **style)
    axis, = figure.axes
    axis.set_ylim(max(0, axis.get_ylim()[0]), 1.02)
    return figure


def arms_by_network(table: pd.DataFrame, value: str, *, arms: Mapping[str, str], title: str,
                    xlabel: str):
    """Bars of a value with 95 % intervals over seeds, a row per arm, a panel per network.

    The first arm is what the others are held against: a dotted line through the panel.
    """
    networks = list(table["network"].unique())
    summary = over_seeds(table, ["network", "arm"], value).set_index(["network", "arm"])
    rows = list(arms)[1:]
    figure, axes = plt.subplots(1, len(networks), sharey=True, squeeze=False,
                                figsize=(FULL[0], 0.36 * len(rows) + 1.5))
    for axis, name in zip(axes[0], networks, strict=True):
        part = summary.loc[name].loc[rows]
        axis.barh(range(len(rows)), part["mean"], xerr=part["half"], height=0.62, capsize=2,
                  color=[arms[arm] for arm in rows])
        axis.axvline(summary.loc[(name, next(iter(arms))), "mean"], color="#333333", ls=":",
                     lw=1.5)
        axis.set_yticks(range(len(rows)), rows)
        axis.grid(axis="y", visible=False)
        axis.set_xlim(0, 1.02)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_title(name, fontweight="normal", fontsize=10)
    axes[0, 0].invert_yaxis()
    axes[0, len(networks) // 2].set_xlabel(xlabel)
    headline(figure, title)
    return figure


def before_after(table: pd.DataFrame, value: str, *, rows: Sequence[str], column: str, panel: str,
                 arms: Mapping[str, str], title: str, xlabel: str):
    """A value before and after, joined by a line, with 95 % intervals over seeds: `rows` are
    values of the column `arm`, the two `arms` values of `column`, a panel each of `panel`."""
    names = list(table[panel].unique())
    summary = over_seeds(table, [panel, "arm", column], value).set_index([panel, "arm", column])
    figure, axes = plt.subplots(1, len(names), sharey=True, squeeze=False,
                                figsize=(FULL[0], 0.36 * len(rows) + 1.7))
    for axis, name in zip(axes[0], names, strict=True):
        for at, row in enumerate(rows):
            axis.plot(summary.loc[name].loc[row]["mean"], [at, at], color="#d0d0d0", lw=3, zorder=1)
        for marker, (arm, color) in zip(MARKERS, arms.items(), strict=False):
            part = summary.loc[[(name, row, arm) for row in rows]]
            axis.errorbar(part["mean"], range(len(rows)), xerr=part["half"], color=color, ls="",
                          marker=marker, ms=5.5, capsize=2, elinewidth=1, label=arm)
        axis.set_yticks(range(len(rows)), rows)
        axis.set_xlim(0, 1.02)
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_title(name, fontweight="normal", fontsize=10)
    axes[0, 0].invert_yaxis()
    axes[0, -1].set_xlabel(xlabel, loc="right")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    headline(figure, title)
    return figure


def width_sweep(table: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Accuracy of parts over the MACs they keep, a line per arm, a panel per network.

    Columns network, arm, share, macs, accuracy, seed. Arm "thresholds" is drawn as a star, arm
    "logit restriction" as a dotted line.
    """
    networks = list(table["network"].unique())
    figure, axes = plt.subplots(1, len(networks), sharey=True, squeeze=False,
                                figsize=(FULL[0], 3.5))
    for axis, name in zip(axes[0], networks, strict=True):
        part = table[table["network"] == name]
        mean = part.groupby("arm")[["macs", "accuracy"]].mean()
        lines(part.assign(macs=part["macs"].round(4)), "macs", "accuracy", arms=arms, axis=axis,
              categorical=False, title=name,
              xlabel="MACs kept" if axis is axes[0, len(networks) // 2] else " ",
              ylabel="validation accuracy" if axis is axes[0, 0] else " ",
              level={"logit restriction": mean["accuracy"]["logit restriction"]})
        star = mean.loc["thresholds"]
        axis.plot(star["macs"], star["accuracy"], marker="*", ms=14, color=METHOD, mec="white",
                  ls="", zorder=4, label="MDA, thresholds")
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axis.set_ylim(max(0, axis.get_ylim()[0]), 1.02)
        axis.set_title(name, fontweight="normal", fontsize=10)
        handles = axis.get_legend_handles_labels()
        axis.get_legend().remove()
    figure.legend(*handles, loc="outside lower center", ncols=4, handlelength=1.5,
                  columnspacing=1.2)
    headline(figure, title)
    return figure


# ---- 22: joined parts ---------------------------------------------------------------------------
def blocks(layers: Mapping[str, object], *, title: str):
    """Sizes of the weights (Q,P) of some layers as pictures; exact zeros stay white."""
    figure, axes = plt.subplots(1, len(layers), figsize=(FULL[0], 3.0), squeeze=False)
    shades = LinearSegmentedColormap.from_list("weights", ["#cfe3f2", METHOD, "#00263d"])
    for axis, (name, sizes) in zip(axes[0], layers.items(), strict=True):
        sizes = np.asarray(sizes, float)
        axis.imshow(np.ma.masked_equal(sizes, 0), cmap=shades, vmin=0,
                    vmax=np.quantile(sizes[sizes > 0], 0.99), interpolation="nearest",
                    aspect="auto")
        axis.set(xlabel=f"{sizes.shape[1]} inputs", ylabel=f"{sizes.shape[0]} outputs",
                 xticks=[], yticks=[])
        axis.grid(False)
        axis.set_title(name, fontsize=10, fontweight="normal")
    headline(figure, title)
    return figure


def gaps(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Gap to base in points over pairs of classes, in the order of the frame; a line per arm.

    Columns `pair`, `seed`, `arm`, `gap`.
    """
    pairs = list(dict.fromkeys(frame["pair"]))
    axis = plt.figure(figsize=(FULL[0], 4.0)).subplots()
    figures.lines(frame.assign(at=frame["pair"].map(pairs.index)), "at", "gap", arms=arms,
                  axis=axis, percent=False, title=title,
                  xlabel="classes of the first and the second source",
                  ylabel="accuracy minus base, points", level={"base": 0.0})
    axis.set_xticks(range(len(pairs)), pairs)
    axis.set_ylim(bottom=max(-100, axis.get_ylim()[0]), top=min(40, axis.get_ylim()[1]))
    axis.get_legend().remove()
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                       handlelength=1.5, columnspacing=1.2)
    return axis.figure


def sizes(frame: pd.DataFrame, *, groups: Mapping[str, str], limit: float, title: str):
    """Gain of scaling over the factor between two parts' winning logits, a dot per pair and seed.

    Columns `factor`, `gain`, `kind`.
    """
    axis = plt.figure(figsize=(COLUMN[0] + 1.2, COLUMN[1])).subplots()
    for marker, (kind, color) in zip(MARKERS, groups.items(), strict=False):
        part = frame[frame["kind"] == kind]
        if part.empty:
            continue
        axis.plot(part["factor"], part["gain"], color=color, ls="", marker=marker, ms=5.5,
                  alpha=0.75, label=kind)
    axis.axhline(0, color="#333333", lw=1, ls=":")
    axis.axvline(limit, color="#333333", lw=1, ls="--", label=f"factor {limit:g}")
    axis.set(xlabel="factor between the mean winning logits", ylabel="gain of scaling, points")
    axis.set_xscale("log")
    ticks = [t for t in (1, 1.25, 1.5, 2, 3, 4, 6, 8, 12) if t <= 1.1 * frame["factor"].max()]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_title(title)
    axis.legend()
    return axis.figure


# ---- 23: uses of parts ---------------------------------------------------------------------------
BOTH, NONE = "#222222", "#d4d4d4"


def two_routes(layers: Mapping[str, np.ndarray], names: Sequence[str], *, title: str):
    """Two decision routes through one network, over each other: a column of dots per layer.

    `layers` has bool (2,P): which channels each route uses. Channels are sorted by who uses them,
    those that neither uses below; a line joins neighbors of one route, in its color.
    """
    figure, axis = plt.subplots(figsize=(FULL[0], 4.2), dpi=80)    # of the lines, which are pixels
    colors = {"both": BOTH, names[0]: METHOD, names[1]: REDRAWN, "neither": NONE}
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


def by_layer(frame: pd.DataFrame, value: str, *, arms: Mapping[str, str], title: str, ylabel: str):
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


ROUTES = {"trained": METHOD, "random masks of equal size": "#8a8a8a", "untrained": "#333333"}
COMPRESSION = {"contributions": METHOD, "largest weights (L1)": REDRAWN,
               "geometric median": "#029e73", "Taylor": PURPLE, "group norm": "#ca9161",
               "random": CONTROL}


def one_route(image, near: pd.DataFrame, *, said: int, true: int, title: str):
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


def cosines(matrices: Mapping[str, np.ndarray], *, every: int, title: str):
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


def cost_curve(frame: pd.DataFrame, *, point: tuple[float, float], level: float, title: str):
    """Accuracy over cost as a share of the full network's, a line a criterion, and one part."""
    figure = lines(frame, "cost", "accuracy", arms=COMPRESSION, categorical=False, title=title,
                   level={"full network": level}, ylabel="validation accuracy",
                   xlabel="multiply-accumulates, share of the full network")
    axis = figure.axes[0]
    axis.plot(*point, marker="*", ms=15, color=METHOD, mec="white", ls="", zorder=5,
              label="the part")
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_ylim(0, 1.02)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.set_size_inches(FULL[0], 3.6)
    return figure
