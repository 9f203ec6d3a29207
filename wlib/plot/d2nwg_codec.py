"""The figures of notebook 41: zoos by their start, and what codecs keep of them.

As in `wlib.plot`: a function takes a table and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn  # noqa: F401 -- brings its color maps
from numpy.typing import ArrayLike

from wlib import claims
from wlib.plot import figures
from wlib.plot.colors import CONTROL, DARK, METHOD, REDRAWN
from wlib.plot.style import FULL, headline, over_seeds

ARMS = {"shared": METHOD, "aligned": REDRAWN, "independent": CONTROL}     # how a zoo starts


def in_words(values: Sequence[float] | pd.Series, unit: str = "") -> str:
    """One value per seed as mean and interval; where all seeds agree, the value."""
    if len(values) > 1 and np.ptp(values) < 1e-4:
        return f"{np.mean(values):.3g} {unit}".strip()
    return claims.interval(values).words(unit)


def in_table(frame: pd.DataFrame, by: Sequence[str], columns: Mapping[str, str]) -> pd.DataFrame:
    """A row per group of `by`: the mean over seeds in words of each column, under its heading."""
    rows = [dict(zip(by, key, strict=True))
            | {heading: in_words(part[column]) for column, heading in columns.items()}
            for key, part in frame.groupby(list(by), sort=False)]
    return pd.DataFrame(rows).set_index(list(by))


def zoo_map(maps: Mapping[str, ArrayLike], turn: ArrayLike, dark: ArrayLike, *, title: str
            ) -> plt.Figure:
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
    headline(figure, title)
    return figure


def means(frame: pd.DataFrame, *, arms: Mapping[str, str] = ARMS, title: str) -> plt.Figure:
    """Accuracy of single networks and of means of some, a line of dots each, one arm per start."""
    figure = figures.dots(frame, "accuracy", name="networks", arms=arms, title="",
                          xlabel="test accuracy")
    axis = figure.axes[0]
    axis.axvline(0.1, color=DARK, lw=1, ls=":", label="chance")
    axis.set_xlim(0, 1.01)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    headline(figure, title)
    return figure


def ceilings(frame: pd.DataFrame, trained: Mapping[str, float], *, arms: Mapping[str, str] = ARMS,
             title: str) -> plt.Figure:
    """Accuracy of reconstructed networks over the latent's size, a panel for networks that the
    codec was fitted on and one for others; dashed, what the networks had before (`trained`)."""
    figure = figures.panels(frame, "networks", "size", "accuracy", arms=arms, categorical=False,
                            levels={name: {"chance": 0.1} for name in trained}, title=title,
                            xlabel="numbers of the latent", ylabel="accuracy after the codec")
    for axis, name in zip(figure.axes, frame["networks"].unique(), strict=True):
        axis.axhline(trained[name], color=METHOD, lw=1.2, ls="--",
                     label="before the codec, shared start")
        axis.set(ylim=(0, 1), xticks=sorted(frame["size"].unique()))
        axis.set_title({"seen": "networks of the zoo", "unseen": "networks of unseen data sets"}
                       .get(name, name), fontsize=10, fontweight="normal")
    for legend in list(figure.legends):
        legend.remove()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5,
                  handlelength=1.5, columnspacing=1.2)
    return figure


def zoo_sizes(frame: pd.DataFrame, *, arms: Mapping[str, str] = ARMS, title: str) -> plt.Figure:
    """Accuracy of reconstructed networks of unseen data sets over the size of the zoo."""
    figure = figures.lines(frame, "of", "accuracy", arms=arms, level={"chance": 0.1},
                           xlabel="networks that the codec is fitted on, all directions kept",
                           ylabel="accuracy after the codec")
    figure.axes[0].set_ylim(0, None)
    figure.set_size_inches(6.6, 3.4)
    headline(figure, title)
    return figure


def spans(frame: pd.DataFrame, *, title: str) -> plt.Figure:
    """Bars of networks for unseen data sets (columns network, seed, accuracy), by where they were
    looked for; those of the shared start stand out."""
    table = over_seeds(frame, ["network"], "accuracy")
    colors = {name: METHOD if name.endswith(" shared") else CONTROL for name in table["network"]}
    figure = figures.bars(table, name="network", value="mean", half="half", colors=colors,
                          level={"chance": 0.1}, xlabel="test accuracy on unseen data sets")
    figure.axes[0].set_xlim(0, 1)
    figure.set_size_inches(7.0, 3.6)
    headline(figure, title)
    return figure
