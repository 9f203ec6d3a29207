"""The figures of notebook 44: starts for fine-tuning, and how near samples lie to the zoo.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, PercentFormatter
from numpy.typing import ArrayLike

from wlib.plot.colors import CONTROL, CONTROLS, DARK, GOOD, METHOD, PURPLE, REDRAWN, SKY
from wlib.plot.figures import lines
from wlib.plot.style import FULL, MARKERS, headline

STARTS = {"sampled": METHOD, "nearest network": REDRAWN, "pretrained on the zoo": PURPLE,
          "mean of the zoo": CONTROLS[0], "random start": "#a5a5a5",
          "codec reconstruction of the oracle": GOOD}
KINDS = {"sampled": METHOD, "network with noise": REDRAWN, "mean of two networks": CONTROL,
         "held-out trained networks": GOOD}


def courses(frame: pd.DataFrame, panels: Mapping[str, str], arms: Sequence[str], *, title: str
            ) -> plt.Figure:
    """Fine-tuning curves (columns `start`, `arm`, `seed`, `step`, `points`) side by side, a panel
    for each value of `start`."""
    figure, (axes,) = plt.subplots(1, len(panels), figsize=(FULL[0] + 0.6, 3.9), sharey=True,
                                   squeeze=False)
    for axis, (name, start) in zip(axes, panels.items(), strict=True):
        lines(frame[frame["start"] == start], "step", "points", percent=False, axis=axis,
              arms={arm: STARTS[arm] for arm in arms}, xlabel="steps of fine-tuning",
              ylabel="test accuracy, points" if start == next(iter(panels.values())) else " ",
              title=" ")
        axis.set_title(name, fontweight="normal", fontsize=10)
        axis.set_ylim(0, 102)
        axis.get_legend().remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    headline(figure, title)
    return figure


def distances(found: Mapping[str, np.ndarray], mark: float, *, title: str, bins: int = 30
              ) -> plt.Figure:
    """Histograms of distances, one under the other with common bins, and a mark."""
    edges = np.linspace(0, max(v.max() for v in found.values()) * 1.02, bins + 1)
    figure, axes = plt.subplots(len(found), 1, figsize=(FULL[0], 0.62 * len(found) + 1.2),
                                sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], found.items(), strict=True):
        color = KINDS.get(name, SKY if name.startswith("sampled") else CONTROLS[0])
        axis.hist(values, edges, color=color, weights=np.full(len(values), 1 / len(values)))
        axis.axvline(mark, color=DARK, lw=1, ls=":")
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axis.grid(axis="y", visible=False)
    axes[-1, 0].set_xlabel("distance to the nearest network of the zoo")
    headline(figure, title)
    return figure


def trade_off(frame: pd.DataFrame, *, title: str) -> plt.Figure:
    """Accuracy `points` against `novelty` of each `arm`: every data set and seed small, means of
    the levels of an arm large and joined from `level` to level."""
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    for number, (arm, color) in enumerate(KINDS.items()):
        part = frame[frame["arm"] == arm]
        mean = part.groupby("level")[["novelty", "points"]].mean()
        axis.plot(part["novelty"], part["points"], color=color, ls="", marker=MARKERS[number],
                  ms=3, alpha=0.35)
        axis.plot(mean["novelty"], mean["points"], color=color, marker=MARKERS[number], ms=7,
                  lw=1.2, label=arm, mec="white", zorder=3 + number)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="novelty of errors", ylabel="test accuracy, points", ylim=(0, 102))
    axis.legend()
    headline(figure, title)
    return figure


def beside(panels: Mapping[str, Any], *, title: str) -> plt.Figure:
    """Weights (1 + k, places) of a sampled network over its nearest, a panel for each name."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(FULL[0], 1.25 * len(panels) + 1.0))
    limit = max(float(np.abs(np.asarray(v)).max()) for v in panels.values())
    for axis, (name, values) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        shown = axis.imshow(np.asarray(values), cmap="vlag", vmin=-limit, vmax=limit,
                            aspect="auto", interpolation="nearest")
        axis.set_yticks(range(len(values)), ["sampled", *(f"nearest {k}" for k in
                                                          range(1, len(values)))])
        axis.axhline(0.5, color=DARK, lw=1)
        axis.grid(False)
        axis.set_title(name, fontweight="normal", fontsize=10)
        axis.set_xticks([])
    np.atleast_1d(axes)[-1].set_xlabel("places in the weights")
    figure.colorbar(shown, ax=list(np.atleast_1d(axes)), label="weight")
    headline(figure, title)
    return figure


def decisions(maps: Any, labels: ArrayLike, names: Sequence[str], *, title: str
              ) -> plt.Figure:
    """A `memorization.DecisionMap`, a panel per network, with the images in their class's color."""
    figure, (axes,) = plt.subplots(1, len(names), figsize=(FULL[0] + 0.6, 3.1), sharey=True,
                                   squeeze=False)
    half = (maps.high - maps.low) / (maps.classes.shape[-1] - 1) / 2      # a cell has its point
    extent = [float(v) for pair in zip(maps.low - half, maps.high + half, strict=True)
              for v in pair]                                              # in the middle
    for axis, name, classes in zip(axes, names, maps.classes, strict=True):
        axis.imshow(np.asarray(classes), cmap="tab10", vmin=0, vmax=9, alpha=0.55, extent=extent,
                    origin="lower", aspect="auto", interpolation="nearest")
        axis.scatter(*maps.places.T, c=labels, cmap="tab10", vmin=0, vmax=9, s=9,
                     edgecolors="white", linewidths=0.3)
        axis.set_title(name, fontweight="normal", fontsize=10)
        axis.set_xlabel("first component")
        axis.grid(False)
    axes[0].set_ylabel("second component")
    headline(figure, title)
    return figure


def sweep(frame: pd.DataFrame, *, title: str) -> plt.Figure:
    """Columns `arm`, `width`, `seed`, `share`, `own` and `seen`, over the width."""
    figure, axes = plt.subplots(1, 3, figsize=(FULL[0] + 0.6, 3.2))
    arms = dict(zip(frame["arm"].unique(), (SKY, METHOD, PURPLE), strict=False))
    for axis, column, name in zip(axes, ("share", "own", "seen"), (
            "unseen: distance, %", "seen: distance, %",
            "seen: test accuracy, points"), strict=True):
        lines(frame, "width", column, arms=arms, axis=axis, percent=False, ylabel=" ",
              xlabel="width of the denoiser")
        axis.set_title(name, fontweight="normal", fontsize=10)
        if column == "seen":
            axis.set_ylim(0, 102)
        else:
            axis.axhline(100, color=DARK, lw=1, ls=":")
            axis.get_legend().remove()
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.minorticks_off()
    headline(figure, title)
    return figure
