"""The figures of part IV: zoos and codecs, diffusion, unseen data sets, what samples are worth.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from wlib import plot
from wlib.draw import METHOD
from wlib.plot import FULL


# ---- 41: zoos and codecs ------------------------------------------------------------------------
def zoo_map(maps: Mapping, turn, dark, *, title: str):
    """Two principal components of the networks of some zoos, (n, 2) each, side by side: colored by
    the turn of their data sets in degrees (n,), squares where `dark` (n,) says dark on light."""
    turn, dark = np.asarray(turn, float), np.asarray(dark, bool)
    figure, axes = plt.subplots(1, len(maps), figsize=(FULL[0], 3.6), squeeze=False)
    for axis, (name, places) in zip(axes[0], maps.items(), strict=True):
        places = np.asarray(places, float)
        for part, marker, word in ((~dark, "o", "light on dark"), (dark, "s", "dark on light")):
            dots = axis.scatter(*places[part].T, c=turn[part], cmap="cividis", vmin=-60, vmax=60,
                                marker=marker, s=42, edgecolors="white", linewidths=0.6,
                                label=word)
        axis.set(xlabel="first component", ylabel="second component" if axis is axes[0, 0] else "")
        axis.set_title(name, fontsize=10, fontweight="normal")
    bar = figure.colorbar(dots, ax=list(axes[0]), label="turn of the data set, degrees")
    bar.set_ticks([-60, -30, 0, 30, 60])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def means(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Accuracy of single networks and of means of some, a line of dots each, an arm a start."""
    figure = plot.dots(frame, "accuracy", name="networks", arms=arms, title=title,
                       xlabel="test accuracy")
    axis = figure.axes[0]
    axis.axvline(0.1, color="#333333", lw=1, ls=":", label="chance")
    axis.set_xlim(0, 1.01)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def ceilings(frame: pd.DataFrame, trained: Mapping[str, float], *, arms: Mapping[str, str],
             title: str):
    """Accuracy of reconstructed networks over the latent's size, a panel for networks that the
    codec was fitted on and one for others; dashed, what the networks had before (`trained`)."""
    figure = plot.panels(frame, "networks", "size", "accuracy", arms=arms, categorical=False,
                         levels={name: {"chance": 0.1} for name in trained}, title=title,
                         xlabel="numbers of the latent", ylabel="accuracy after the codec")
    for axis, (name, level) in zip(figure.axes, trained.items(), strict=True):
        axis.axhline(level, color=METHOD, lw=1.2, ls="--", label="before the codec, shared start")
        axis.set(ylim=(0, 1), xticks=sorted(frame["size"].unique()))
        axis.set_title({"seen": "networks of the zoo", "unseen": "networks of unseen data sets"}
                       .get(name, name), fontsize=10, fontweight="normal")
    for legend in list(figure.legends):
        legend.remove()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5,
                  handlelength=1.5, columnspacing=1.2)
    return figure


def zoo_sizes(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Accuracy of reconstructed networks of unseen data sets over the size of the zoo."""
    figure = plot.lines(frame, "of", "accuracy", arms=arms, title=title, level={"chance": 0.1},
                        xlabel="networks that the codec is fitted on, all directions kept",
                        ylabel="accuracy after the codec")
    figure.axes[0].set_ylim(0, None)
    figure.set_size_inches(6.6, 3.4)
    return figure


def spans(table: pd.DataFrame, *, colors: Mapping[str, str], title: str):
    """Bars of networks for unseen data sets, by where they were looked for."""
    figure = plot.bars(table, name="network", value="mean", half="half", colors=colors,
                       level={"chance": 0.1}, title=title,
                       xlabel="test accuracy on unseen data sets")
    figure.axes[0].set_xlim(0, 1)
    figure.set_size_inches(7.0, 3.6)
    return figure


# ---- 42: diffusion ------------------------------------------------------------------------------


# ---- 43: unseen data sets -----------------------------------------------------------------------


# ---- 44: a start or a copy ----------------------------------------------------------------------
