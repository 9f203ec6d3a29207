"""The figures of the notebooks: one look, one function a kind of figure.

Every function takes results and draws; none computes what a page claims. `theme()` comes first in
a notebook. A figure says its finding in the title and in `alt`, the text for readers who do not see
it; both come from the notebook, where the results are. Intervals are Student's t over seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from wlib.check import require
from wlib.plot.colors import DARK, METHOD, PALETTE
from wlib.plot.style import COLUMN, FULL, MARKERS, headline, over_seeds


def lines(frame: pd.DataFrame, x: str, y: str, *, arms: Mapping[str, str] | Sequence[str],
          axis: plt.Axes | None = None, categorical: bool = True, percent: bool = True,
          level: Mapping[str, float] | None = None, **labels: str) -> plt.Figure:
    """`y` over `x`, a line for each value of the column `arm`, with 95 % intervals over `seed`.

    `arms` maps names to colors; without colors the first is the method's and the rest follow the
    palette. `level` draws labeled horizontal lines ({"chance": 0.1}). `labels` are those of the
    axis: title, xlabel, ylabel; the last two are the columns' names unless they are given.
    """
    axis = axis or plt.figure(figsize=COLUMN).subplots()
    colors = dict(arms) if isinstance(arms, Mapping) else dict(zip(arms, PALETTE, strict=False))
    table = over_seeds(frame[frame["arm"].isin(list(colors))], ["arm", x], y)
    values = sorted(table[x].unique())
    for number, (name, color) in enumerate(colors.items()):
        part = table[table["arm"] == name].sort_values(x)
        shift = (number - (len(colors) - 1) / 2) * 0.07 if categorical else 0.0
        at = [values.index(v) + shift for v in part[x]] if categorical else part[x]
        axis.errorbar(at, part["mean"], part["half"], label=name, color=color, capsize=2,
                      marker=MARKERS[number % len(MARKERS)], ms=4.5, elinewidth=1,
                      lw=2.2 if color == METHOD else 1.2, zorder=3 if color == METHOD else 2)
    for name, height in (level or {}).items():
        axis.axhline(height, color=DARK, lw=1, ls=":", label=name)
    if categorical:
        axis.set_xticks(range(len(values)), [f"{v:g}" for v in values])
    if percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(**{"xlabel": x, "ylabel": y} | {k: text for k, text in labels.items() if text})
    axis.legend()
    return axis.figure.get_figure(root=True)


def grid(frame: pd.DataFrame, x: str, y: str, *, rows: tuple[str, Sequence[str]],
         groups: Mapping[str, Mapping[str, str] | Sequence[str]], title: str,
         xlabel: str, ylabel: str) -> plt.Figure:
    """`lines` in panels: a row for each value of the column `rows[0]`, a column for each group of
    arms; one scale for all, so that panels compare."""
    column, values = rows
    figure, axes = plt.subplots(len(values), len(groups), figsize=(FULL[0], 2.9 * len(values)),
                                sharex=True, sharey=True, squeeze=False)
    for (row, value), (at, (name, arms)) in product(enumerate(values), enumerate(groups.items())):
        lines(frame[frame[column] == value], x, y, arms=arms, axis=axes[row, at],
              xlabel=xlabel if row == len(values) - 1 else " ",
              ylabel=f"{ylabel}, per {value}" if at == 0 else " ",
              title=name if row == 0 else "")
        axes[row, at].title.set(fontweight="normal", fontsize=10)
        axes[row, at].legend(fontsize=9, handlelength=1.2, labelspacing=0.25)
    headline(figure, title)
    return figure


def bars(table: pd.DataFrame, *, name: str, value: str, half: str | None = None,
         colors: Mapping[str, str] | None = None, level: Mapping[str, float] | None = None,
         percent: bool = True, axis: plt.Axes | None = None, **labels: str) -> plt.Figure:
    """Horizontal bars, one per row of the table, with intervals of half-width `half`.

    `labels` are those of the axis: title, and xlabel, which is else the column's name.
    """
    axis = axis or plt.figure(figsize=(6.4, 0.42 * len(table) + 1.2)).subplots()
    shades = [(colors or {}).get(n, METHOD) for n in table[name]]
    axis.barh(range(len(table)), table[value], color=shades, height=0.62,
              xerr=None if half is None else table[half],
              error_kw={"elinewidth": 1.2, "capsize": 3, "ecolor": DARK})
    axis.set_yticks(range(len(table)), table[name])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    for label, at in (level or {}).items():
        axis.axvline(at, color=DARK, lw=1, ls=":")
        axis.text(at, 1, label, transform=axis.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=9)
    if percent:
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set_title(labels.pop("title", ""), pad=16 if level else None)
    axis.set(**{"xlabel": value} | labels)
    return axis.figure.get_figure(root=True)


def panels(frame: pd.DataFrame, column: str, x: str, y: str, *,
           arms: Mapping[str, str] | Sequence[str], title: str,
           levels: Mapping[str, Mapping[str, float]] | None = None, **style: Any) -> plt.Figure:
    """`lines` in one `style` side by side, a panel for each value of a column, in their order.

    `levels` has horizontal lines by panel. Arms stand a little apart, so that bars do not hide
    each other.
    """
    values, width = frame[column].unique(), float(np.ptp(frame[x]))
    apart = {name: 0.009 * width * (k - (len(arms) - 1) / 2) for k, name in enumerate(arms)}
    frame = frame.assign(**{x: frame[x] + frame["arm"].map(apart).fillna(0.0)})
    figure, axes = plt.subplots(1, len(values), figsize=(FULL[0], 3.5), squeeze=False)
    for axis, value in zip(axes[0], values, strict=True):
        lines(frame[frame[column] == value], x, y, arms=arms, axis=axis,
              level=(levels or {}).get(value), **style | {"title": str(value)})
        axis.set_ylabel(axis.get_ylabel() if value == values[0] else " ")
        axis.title.set(fontweight="normal", fontsize=10)
        axis.get_legend().remove()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5,
                  handlelength=1.5, columnspacing=1.2)
    headline(figure, title)
    return figure


def image_grid(rows: Mapping[str, Any], *, columns: int = 12, title: str = "") -> plt.Figure:
    """The first `columns` images of each `ImageSet`, a labeled row per set, pixels left square."""
    require(len(rows) > 0, "rows", rows, "at least one named image set")
    figure, axes = plt.subplots(len(rows), 1, figsize=(FULL[0], 0.62 * len(rows) + 0.4),
                                squeeze=False)
    for axis, (name, images) in zip(axes[:, 0], rows.items(), strict=True):
        strip = images.images[:columns].permute(2, 0, 3, 1).numpy()      # (H, B, W, C)
        blank = columns - strip.shape[1]
        strip = np.pad(strip, ((0, 0), (0, blank), (0, 0), (0, 0)), constant_values=255)
        strip = strip.reshape(strip.shape[0], -1, strip.shape[3])        # (H, B·W, C)
        axis.imshow(strip.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest",
                    aspect="equal")
        axis.set_axis_off()
        axis.text(-0.01, 0.5, name, transform=axis.transAxes, ha="right", va="center", fontsize=9)
    headline(figure, title)
    return figure


def tiles(rows: Mapping[str, Collection[ArrayLike]], *, title: str, names: Sequence[str] = ()
          ) -> plt.Figure:
    """Maps (H, W) in labeled rows, one per column, each scaled to its own range; `names` over the
    columns. For images of an `ImageSet` see `image_grid`."""
    columns = max(len(row) for row in rows.values())
    side = 1.9 if names else 0.8
    figure, axes = plt.subplots(len(rows), columns, squeeze=False,
                                figsize=(side * columns + 1, (side + 0.05) * len(rows) + 0.5))
    for (label, row), line in zip(rows.items(), axes, strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for axis, values in zip(line, row, strict=False):
            axis.imshow(np.asarray(values, float), cmap="gray", interpolation="nearest")
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0], names, strict=False):
        axis.set_title(name, fontsize=9, fontweight="normal", loc="center")
    headline(figure, title)
    return figure


def dots(frame: pd.DataFrame, value: str, *, name: str, arms: Mapping[str, str], title: str,
         xlabel: str, arm: str = "arm") -> plt.Figure:
    """A line of dots for each value of the column `name`, a color per arm, with 95 % intervals."""
    table = over_seeds(frame[frame[arm].isin(list(arms))], [name, arm], value)
    axis = side_by_side(table, name=name, arm=arm, arms=arms)
    axis.invert_yaxis()
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel=xlabel, xlim=(max(0, axis.get_xlim()[0]), min(1.01, axis.get_xlim()[1])))
    axis.legend()
    axis.set_title(title)
    return axis.figure.get_figure(root=True)


def side_by_side(table: pd.DataFrame, *, name: str, arm: str, arms: Mapping[str, str],
                 height: float = 0.4, step: float = 0.16) -> plt.Axes:
    """A new axis with a line for each value of the column `name` and on it a dot per arm.

    `table` as from `over_seeds`; lines are `height` inches apart, dots of a line `step` lines.
    """
    places = {key: at for at, key in enumerate(table[name].unique())}
    axis = plt.figure(figsize=(FULL[0], height * len(places) + 1.3)).subplots()
    for number, (key, color) in enumerate(arms.items()):
        part = table[table[arm] == key]
        shift = step * (number - (len(arms) - 1) / 2)
        axis.errorbar(part["mean"], [places[k] + shift for k in part[name]], xerr=part["half"],
                      color=color, ls="", marker=MARKERS[number], ms=5, capsize=2, elinewidth=1,
                      label=key)
    axis.set_yticks(range(len(places)), list(places))
    return axis


def heats(tables: Mapping[str, pd.DataFrame], *, title: str, xlabel: str, label: str
          ) -> plt.Figure:
    """Tables of equal rows and columns as colored cells with their numbers, side by side on one
    color scale."""
    import seaborn as sns

    first = next(iter(tables.values()))
    figure, axes = plt.subplots(1, len(tables), sharey=True, squeeze=False,
                                figsize=(FULL[0] + 1, 0.42 * len(first) + 1.5))
    cells = np.stack([table.to_numpy(float) for table in tables.values()])
    low, high = cells.min(), cells.max()
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        numbers = table.round() + 0.0                                   # no "-0"
        sns.heatmap(table, annot=numbers, fmt=".0f", cmap="cividis_r", linewidths=0.5, vmin=low,
                    vmax=high, annot_kws={"fontsize": 9}, cbar=False, ax=axis)
        axis.set(xlabel=xlabel, ylabel="")
        axis.tick_params(axis="y", rotation=0)
        axis.set_title(name, fontsize=10, fontweight="normal")
    figure.colorbar(axes[0, 0].collections[0], ax=list(axes[0]), label=label)
    headline(figure, title)
    return figure


def scatter(frame: pd.DataFrame, x: str, y: str, *, group: Sequence[str],
            arms: Mapping[str, str], title: str, xlabel: str, ylabel: str) -> plt.Figure:
    """Points of every seed, small, and a line through the means over seeds of each group, large.

    `group` names the columns of arm and setting; settings are joined in the order of their x.
    """
    axis = plt.figure(figsize=(6.4, 3.8)).subplots()
    for number, (arm, color) in enumerate(arms.items()):
        part = frame[frame[group[0]] == arm]
        mean = part.groupby(group[1])[[x, y]].mean().sort_values(x)
        marker = MARKERS[number]
        axis.plot(part[x], part[y], color=color, ls="", marker=marker, ms=3, alpha=0.35)
        axis.plot(mean[x], mean[y], color=color, marker=marker, ms=7, lw=1.2, label=arm,
                  mec="white", zorder=3 + number)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
    axis.legend()
    axis.set_title(title)
    return axis.figure.get_figure(root=True)
