"""The figures of part II: channels that stay, parts and what they know, routes, the explorer.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

from wlib import plot
from wlib.plot import COLUMN, FULL, MARKERS, METHOD


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
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def gaps(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Gap to base in points over pairs of classes, in the order of the frame; a line an arm.

    Columns `pair`, `seed`, `arm`, `gap`.
    """
    pairs = list(dict.fromkeys(frame["pair"]))
    axis = plt.figure(figsize=(FULL[0], 4.0)).subplots()
    plot.lines(frame.assign(at=frame["pair"].map(pairs.index)), "at", "gap", arms=arms, axis=axis,
               percent=False, title=title, xlabel="classes of the first and the second source",
               ylabel="accuracy minus base, points", level={"base": 0.0})
    axis.set_xticks(range(len(pairs)), pairs)
    axis.set_ylim(bottom=max(-100, axis.get_ylim()[0]), top=min(40, axis.get_ylim()[1]))
    axis.get_legend().remove()
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                       handlelength=1.5, columnspacing=1.2)
    return axis.figure


def sizes(frame: pd.DataFrame, *, groups: Mapping[str, str], limit: float, title: str):
    """Gain of scaling over the factor between two parts' winning logits, a dot a pair and seed.

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
