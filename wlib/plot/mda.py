"""The figures of part II: channels that stay, parts and what they know, and the explorer.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims. Here
are those of notebook 21; `mda_joined` has those of 22 and `mda_uses` those of 23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from wlib.plot.colors import DARK, METHOD
from wlib.plot.figures import dots, lines
from wlib.plot.mda_explorer import mda_caption, mda_explorer  # noqa: F401
from wlib.plot.mda_joined import (  # noqa: F401
    show_blocks,
    show_confusions,
    show_gaps,
    show_sizes,
    show_tuned,
)
from wlib.plot.mda_uses import (  # noqa: F401
    COMPRESSION,
    ROUTES,
    by_layer,
    cosines,
    cost_curve,
    one_route,
    two_routes,
)
from wlib.plot.style import FULL, MARKERS, headline, over_seeds


def chain(weights: Sequence, needed: Sequence, *, title: str) -> plt.Figure:
    """A small chain of linear layers as units and weights, what stays in blue.

    `weights` are matrices (Q,P) from the first layer on, `needed` a bool array for each column of
    units, one more. The first column is the input, which is never cut; `needed` says what the layer
    behind it needs.
    """
    weights, needed = [np.asarray(w, float) for w in weights], [np.asarray(m, bool) for m in needed]
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    heights = [(len(column) - 1) / 2 - np.arange(len(column)) for column in needed]
    largest = max(np.abs(w).max() for w in weights)
    for at, w in enumerate(weights):
        stays = np.ones(len(needed[0]), bool) if at == 0 else needed[at]
        for q, p in zip(*np.nonzero(w), strict=True):
            kept = needed[at + 1][q] and stays[p]
            axis.plot([at, at + 1], [heights[at][p], heights[at + 1][q]], zorder=2 if kept else 1,
                      color=METHOD if kept else "#d5d5d5", lw=0.5 + 3 * abs(w[q, p]) / largest,
                      ls="-" if w[q, p] > 0 else (0, (2, 1.5)))
    names = ["input", *("hidden" for _ in weights[1:]), "class"]
    for at, (column, y, name) in enumerate(zip(needed, heights, names, strict=True)):
        stays = np.ones(len(column), bool) if at == 0 else column
        axis.scatter(np.full(len(y), at), y, s=430, zorder=3, lw=1.5,
                     c=[METHOD if kept else "white" for kept in stays],
                     edgecolors=[METHOD if kept else "#8a8a8a" for kept in stays])
        for number, (height, kept) in enumerate(zip(y, stays, strict=True)):
            label = number if name == "class" else number + 1
            axis.text(at, height, str(label), ha="center", va="center", zorder=4, fontsize=10,
                      color="white" if kept else "#5f5f5f")
        axis.text(at, max(map(len, needed)) / 2 + 0.2, name, ha="center", fontsize=10)
    top = max(map(len, needed)) / 2
    axis.set(xlim=(-0.4, len(needed) - 0.6), ylim=(-top - 0.1, top + 0.6))
    axis.set_axis_off()
    axis.set_title(title)
    return figure


def places(table: pd.DataFrame, value: str, *, name: str, arms: Mapping[str, str], title: str,
           xlabel: str) -> plt.Figure:
    """`figures.dots` between 0 and 1 with the legend below, where it hides nothing."""
    figure = dots(table, value, name=name, arms=arms, title="", xlabel=xlabel)
    axis, = figure.axes
    axis.set_xlim(0, 1.02)
    if legend := axis.get_legend():
        legend.remove()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(arms),
                  handlelength=1.2, columnspacing=1.2)
    headline(figure, title)
    return figure


def depth_curve(table: pd.DataFrame, x: str, y: str, **style: Any) -> plt.Figure:
    """`figures.lines` of an accuracy, between 0 and 100 %."""
    figure = lines(table, x, y, **style)
    axis, = figure.axes
    axis.set_ylim(max(0, axis.get_ylim()[0]), 1.02)
    return figure


def arms_by_network(table: pd.DataFrame, value: str, *, arms: Mapping[str, str], title: str,
                    xlabel: str) -> plt.Figure:
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
        axis.axvline(summary.loc[(name, next(iter(arms))), "mean"], color=DARK, ls=":",
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
                 arms: Mapping[str, str], title: str, xlabel: str) -> plt.Figure:
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


def width_sweep(table: pd.DataFrame, *, arms: Mapping[str, str], title: str) -> plt.Figure:
    """Accuracy of parts over the MACs they keep, a line per arm, a panel per network.

    Columns network, arm, fraction, macs, accuracy, seed. Arm "thresholds" is drawn as a star, arm
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
