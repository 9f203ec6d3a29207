"""The figures of notebook 43: unseen data sets.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn  # noqa: F401 -- brings its color maps

from wlib.claims.comparison import Comparison
from wlib.plot.colors import CONTROLS, DARK, INK, METHOD, REDRAWN
from wlib.plot.style import FULL, MARKERS, headline, over_seeds, show

ROLES = {"method": METHOD, "control": CONTROLS[3], "trivial": CONTROLS[2], "reference": INK,
         "warning": REDRAWN}


def standings(table: pd.DataFrame, *, title: str, xlabel: str,
              level: Mapping[str, float] | None = None) -> plt.Figure:
    """A row per arm, from the top: columns arm, label (of `ROLES`), mean, half (may be infinite)
    and seeds, a list of one value per seed. `level` draws dotted lines ({"chance": 10})."""
    figure, axis = plt.subplots(figsize=(FULL[0], 0.36 * len(table) + 1.3))
    for row, (_, arm) in enumerate(table.iterrows()):
        color = ROLES[arm["label"]]
        axis.plot(arm["seeds"], [row] * len(arm["seeds"]), color=color, ls="", marker="|", ms=8,
                  alpha=0.5)
        half = arm["half"] if np.isfinite(arm["half"]) else None
        axis.errorbar(arm["mean"], row, xerr=half, color=color, capsize=3, marker="o", ms=6,
                      elinewidth=1.4, mec="white")
        right = arm["mean"] + (half or 0)
        axis.annotate(f"{arm['mean']:.0f}", (max([right, *arm["seeds"]]), row), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=9, color=color)
    for name, at in (level or {}).items():
        axis.axvline(at, color=DARK, lw=1, ls=":", zorder=0)
        axis.text(at, len(table) - 0.45, f" {name}", fontsize=9, va="bottom", ha="left")
    axis.set_yticks(range(len(table)), table["arm"])
    for label, kind in zip(axis.get_yticklabels(), table["label"], strict=True):
        label.set_fontweight("bold" if kind == "method" else "normal")
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.4, -0.6))
    axis.margins(x=0.08)
    axis.grid(axis="y", visible=False)
    headline(figure, title)
    return figure


def pairs(frame: pd.DataFrame, *, xlabel: str, ylabel: str, title: str) -> plt.Figure:
    """A dot per data set and seed (columns x, y, name, seed); named ones are drawn as the mean
    over seeds, with the name. Above the diagonal y is ahead."""
    figure, axis = plt.subplots(figsize=(FULL[0], 4.8))
    plain, named = frame[frame["name"] == ""], frame[frame["name"] != ""]
    axis.plot(plain["x"], plain["y"], color=METHOD, ls="", marker="o", ms=5, alpha=0.6,
              mec="white")
    for number, (name, part) in enumerate(named.groupby("name")):
        axis.plot(part["x"].mean(), part["y"].mean(), color=REDRAWN, ls="", ms=9, mec=DARK,
                  marker="D^sv"[number % 4], label=f"{name} (mean over seeds)")
    low = min(frame["x"].min(), frame["y"].min()) - 3
    high = max(frame["x"].max(), frame["y"].max()) + 3
    axis.plot([low, high], [low, high], color=DARK, lw=1, ls=":", zorder=0)
    axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(low, high), ylim=(low, high))
    if len(named):
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    headline(figure, title)
    return figure


def show_standings(arms: Comparison, labels: Mapping[str, str], *, title: str,
                   level: Mapping[str, float]) -> None:
    """Shows arms (arm: label of `ROLES`) with their intervals, in this order."""
    ranges = {arm: arms.interval(arm) for arm in labels}
    table = pd.DataFrame([{"arm": arm, "label": label, "mean": ranges[arm].mean,
                           "half": ranges[arm].high - ranges[arm].mean,
                           "seeds": arms.per_seed(arm).tolist()} for arm, label in labels.items()])
    words = ", ".join(f"{arm} {ranges[arm].mean:.0f}" for arm in labels)
    show(standings(table, title=title, xlabel="test accuracy, points", level=level),
         alt=f"{title}. {words}.")


def show_pairs(arms: Comparison, rival: str, method: str, names: Mapping[int, str], *,
               says: str) -> None:
    """Shows every data set and seed as a dot, a rival across and the method up.

    `names` are those of data sets that stand apart, by their column; `says` is the title, with
    {won} for the part of the others on which the method is ahead, and {rival}.
    """
    dots = pd.DataFrame([{"name": names.get(k, ""), "seed": seed, "x": x, "y": y}
                          for seed, row, column in zip(arms.seeds, arms[rival], arms[method],
                                                       strict=True)
                          for k, (x, y) in enumerate(zip(row, column, strict=True))])
    won = (dots["y"] > dots["x"])[dots["name"] == ""].mean()
    title = says.format(won=won, rival=rival)
    real = ", ".join(f"{name} {part['y'].mean():.0f} against {part['x'].mean():.0f}"
                     for name, part in dots[dots["name"] != ""].groupby("name"))
    across = f"{rival} of the zoo" if rival == "nearest network" else rival
    show(pairs(dots, xlabel=f"{across}, points", ylabel=f"{method}, points", title=title),
         alt=f"{title}. Real sets: {real} points.")


def growth(frame: pd.DataFrame, *, title: str, level: Mapping[str, float]) -> plt.Figure:
    """Points over the size of the zoo (columns size, points, arm, seed), sizes on a logarithmic
    axis, with 95 % intervals over seeds. `level` draws labeled dotted lines."""
    colors = {"sampled": METHOD, "ridge": CONTROLS[0], "nearest network": CONTROLS[2]}
    table = over_seeds(frame, ["arm", "size"], "points")
    figure, axis = plt.subplots(figsize=(FULL[0], 3.6))
    for number, (arm, color) in enumerate(colors.items()):
        part = table[table["arm"] == arm].sort_values("size")
        axis.errorbar(part["size"] * 1.02 ** (number - 1), part["mean"], yerr=part["half"],
                      color=color, marker=MARKERS[number], ms=6, capsize=3, lw=1.6, label=arm)
    for name, at in level.items():
        axis.axhline(at, color=DARK, lw=1, ls=":", label=name)
    sizes = sorted(frame["size"].unique())
    axis.set_xscale("log")
    axis.minorticks_off()
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set(xlabel="data sets in the zoo", ylabel="test accuracy, points")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    headline(figure, title)
    return figure
