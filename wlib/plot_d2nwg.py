"""The figures of part IV: zoos and codecs, diffusion, unseen data sets, what samples are worth.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from wlib.draw import METHOD, REDRAWN
from wlib.plot import FULL, MARKERS, over_seeds

# ---- 41: zoos and codecs ------------------------------------------------------------------------


# ---- 42: diffusion ------------------------------------------------------------------------------


# ---- 43: unseen data sets -----------------------------------------------------------------------
KINDS = {"method": METHOD, "control": "#777777", "trivial": "#ababab", "reference": "#222222",
         "warning": REDRAWN}


def standings(table: pd.DataFrame, *, title: str, xlabel: str,
              level: Mapping[str, float] | None = None):
    """A row an arm, from the top: columns arm, label (of `KINDS`), mean, half (may be infinite)
    and seeds, a list of one value a seed. `level` draws dotted lines ({"chance": 10})."""
    figure, axis = plt.subplots(figsize=(FULL[0], 0.36 * len(table) + 1.3))
    for row, (_, arm) in enumerate(table.iterrows()):
        color = KINDS[arm["label"]]
        axis.plot(arm["seeds"], [row] * len(arm["seeds"]), color=color, ls="", marker="|", ms=8,
                  alpha=0.5)
        half = arm["half"] if np.isfinite(arm["half"]) else None
        axis.errorbar(arm["mean"], row, xerr=half, color=color, capsize=3, marker="o", ms=6,
                      elinewidth=1.4, mec="white")
        right = arm["mean"] + (half or 0)
        axis.annotate(f"{arm['mean']:.0f}", (max([right, *arm["seeds"]]), row), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=9, color=color)
    for name, at in (level or {}).items():
        axis.axvline(at, color="#333333", lw=1, ls=":", zorder=0)
        axis.text(at, len(table) - 0.45, f" {name}", fontsize=9, va="bottom", ha="left")
    axis.set_yticks(range(len(table)), table["arm"])
    for label, kind in zip(axis.get_yticklabels(), table["label"], strict=True):
        label.set_fontweight("bold" if kind == "method" else "normal")
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.4, -0.6))
    axis.margins(x=0.08)
    axis.grid(axis="y", visible=False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def pairs(frame: pd.DataFrame, *, xlabel: str, ylabel: str, title: str):
    """A dot a data set and seed (columns x, y, name, seed); those with a name are drawn as the mean
    over seeds, with the name. Above the diagonal y is ahead."""
    figure, axis = plt.subplots(figsize=(FULL[0], 4.8))
    plain, named = frame[frame["name"] == ""], frame[frame["name"] != ""]
    axis.plot(plain["x"], plain["y"], color=METHOD, ls="", marker="o", ms=5, alpha=0.6,
              mec="white")
    for number, (name, part) in enumerate(named.groupby("name")):
        axis.plot(part["x"].mean(), part["y"].mean(), color=REDRAWN, ls="", ms=9, mec="#333333",
                  marker="D^sv"[number % 4], label=f"{name} (mean over seeds)")
    low = min(frame["x"].min(), frame["y"].min()) - 3
    high = max(frame["x"].max(), frame["y"].max()) + 3
    axis.plot([low, high], [low, high], color="#333333", lw=1, ls=":", zorder=0)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(low, high), ylim=(low, high))
    if len(named):
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


def growth(frame: pd.DataFrame, *, title: str, level: Mapping[str, float]):
    """Points over the size of the zoo (columns size, points, arm, seed), sizes on a logarithmic
    axis, with 95 % intervals over seeds. `level` draws labeled dotted lines."""
    colors = {"sampled": METHOD, "ridge": "#5f5f5f", "nearest network": "#ababab"}
    table = over_seeds(frame, ["arm", "size"], "points")
    figure, axis = plt.subplots(figsize=(FULL[0], 3.6))
    for number, (arm, color) in enumerate(colors.items()):
        part = table[table["arm"] == arm].sort_values("size")
        axis.errorbar(part["size"] * 1.02 ** (number - 1), part["mean"], yerr=part["half"],
                      color=color, marker=MARKERS[number], ms=6, capsize=3, lw=1.6, label=arm)
    for name, at in level.items():
        axis.axhline(at, color="#333333", lw=1, ls=":", label=name)
    sizes = sorted(frame["size"].unique())
    axis.set_xscale("log")
    axis.minorticks_off()
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set(xlabel="data sets in the zoo", ylabel="test accuracy, points")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
    return figure


# ---- 44: a start or a copy ----------------------------------------------------------------------
