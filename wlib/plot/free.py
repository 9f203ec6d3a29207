"""The figures of part III: recovered images, learners beside their rivals, mixed pools.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from ipywidgets import VBox
from numpy.typing import ArrayLike
from PIL import Image

from wlib.plot.colors import CONTROL, DARK, METHOD, REDRAWN
from wlib.plot.explore import Chart, explorer, frame
from wlib.plot.figures import lines, side_by_side
from wlib.plot.style import FULL, MARKERS, headline, over_seeds

# ---- 31: recovery -------------------------------------------------------------------------------
ARMS = {"meta-generator": METHOD, "fresh generator": REDRAWN}


def recovery_explorer(curves: Mapping[tuple[str, int], Sequence[float]],
                      images: Mapping[tuple[str, int, int], np.ndarray], *, teachers: int,
                      steps: Sequence[int], classes: Sequence[Sequence[str]],
                      start: Sequence[int]) -> VBox:
    """An explorer of adaptation: one image per class from both generators, and the teacher's
    cross-entropy so far.

    `curves` has the cross-entropy (nats) after 0, 1, … steps under (arm, teacher), `images` bytes
    (C, H, W), gray, under (arm, teacher, step), with the arms of `ARMS`; `classes` names the
    teachers' outputs.
    """
    top = 1.05 * max(max(values) for values in curves.values())

    def one(teacher: int, step: int) -> str:
        at = teacher - 1
        mine = {arm: curves[arm, at] for arm in ARMS}
        seen = {arm: images[arm, at, step] for arm in ARMS}
        return frame([_remembered(seen, step), _descent(mine, step, top)],
                     recovery_caption(mine, teacher, step, classes[at]))

    return explorer({"teacher": range(1, teachers + 1), "steps": list(steps)}, one, start=start)


def recovery_caption(curves: Mapping[str, Sequence[float]], teacher: int, step: int,
                     classes: Sequence[str]) -> str:
    """All numbers of one position in a sentence or two."""
    words = ", ".join(f"{values[step]:.2f} nats by the {arm}" for arm, values in curves.items())
    return (f"Teacher {teacher} (held out), classes {', '.join(map(str, classes))}; one image of "
            f"each from the left. Cross-entropy after {step} step{'' if step == 1 else 's'}: "
            f"{words}.")


def _remembered(images: Mapping[str, np.ndarray], step: int) -> str:
    """A row of gray images for each generator."""
    chart = Chart(f"Images after {step} step{'' if step == 1 else 's'}")
    for top, (arm, stack) in zip((46, 142), images.items(), strict=True):
        chart.text(0, top - 8, arm)
        strip = np.concatenate(list(np.asarray(stack, np.uint8)), axis=1)           # (H, C·W)
        _gray(chart, strip, top, 64 * len(stack) if len(stack) <= 5 else 330)
    return chart.svg(f"Images of {len(stack)} classes after {step} steps, one row per generator.")


def _gray(chart: Chart, strip: np.ndarray, top: int, width: int) -> None:
    """A gray picture of 16 shades: half the bytes, and no eye sees the difference."""
    file = io.BytesIO()
    Image.fromarray(strip // 16 * 17).quantize(16).save(file, "png", optimize=True, bits=4)
    data = base64.b64encode(file.getvalue()).decode()
    height = width * strip.shape[0] / strip.shape[1]
    chart.parts.append(f"<image x='0' y='{top}' width='{width}' height='{height:.1f}' "
                       f"style='image-rendering:pixelated' "
                       f"href='data:image/png;base64,{data}'/>")


def _descent(curves: Mapping[str, Sequence[float]], step: int, top: float) -> str:
    """Both curves up to here in full, the rest pale."""
    steps = max(len(values) for values in curves.values()) - 1
    chart = Chart("What the teacher says of them", (0, steps), (0, top), xlabel="steps",
                  ylabel="cross-entropy (nats)", whole=True)
    for (arm, values), dashes in zip(curves.items(), ("", "5 3"), strict=True):
        chart.line(range(len(values)), values, ARMS[arm], arm, width=2, dashes=dashes)
        chart.dot(step, values[step], ARMS[arm])
    words = ", ".join(f"{arm} {values[step]:.2f}" for arm, values in curves.items())
    return chart.svg(f"Cross-entropy in nats after {step} steps: {words}.")


def adaptation(frame: pd.DataFrame, *, arms: Mapping[str, str], marked: int, title: str
               ) -> plt.Figure:
    """Cross-entropy and accuracy over the number of steps, side by side, with 95 % intervals over
    seeds; the number of steps that the claim is about is marked."""
    figure, axes = plt.subplots(1, 2, figsize=(FULL[0], 3.6))
    places = sorted(frame["k"].unique())
    for axis, column, percent in zip(axes, ("cross-entropy", "accuracy"), (False, True),
                                     strict=True):
        lines(frame, "k", column, arms=arms, axis=axis, percent=percent, xlabel="steps",
              ylabel="cross-entropy, nats" if column == "cross-entropy" else column)
        axis.set_ylim(bottom=0)
        axis.get_legend().remove()
        if marked in places:
            axis.axvline(places.index(marked), color=DARK, lw=1, ls=":", zorder=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2,
                  handlelength=1.5, columnspacing=1.2)
    headline(figure, title)
    return figure


# ---- 32: learners beside their rivals -----------------------------------------------------------
def ranked(frame: pd.DataFrame, panels: Mapping[str, str], *, arms: Mapping[str, str], title: str,
           levels: Mapping[str, Mapping[str, float]] | None = None) -> plt.Figure:
    """A row per arm, a panel for each column of `panels` ({column: label of its axis}).

    Means over the column `seed` with 95 % intervals, and each seed as a small pale dot. `arms`
    maps names, from top to bottom, to colors; `levels` draws dotted lines, {column: {name: x}}.
    """
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False,
                                figsize=(FULL[0], 0.36 * len(arms) + 1.2))
    for axis, (column, label) in zip(axes[0], panels.items(), strict=True):
        table = over_seeds(frame, ["arm"], column).set_index("arm")
        for row, (arm, color) in enumerate(arms.items()):
            single = frame.loc[frame["arm"] == arm, column]
            axis.plot(single, [row] * len(single), color=color, ls="", marker="|", ms=7, alpha=0.45)
            axis.errorbar(table["mean"][arm], row, xerr=table["half"][arm], color=color, capsize=3,
                          marker=MARKERS[0], ms=5.5, elinewidth=1.3, mec="white")
        for name, at in (levels or {}).get(column, {}).items():
            axis.axvline(at, color=DARK, lw=1, ls=":", zorder=0)
            axis.text(at, 0.97, f" {name}", transform=axis.get_xaxis_transform(), fontsize=9,
                      va="top", ha="left")
        axis.set(xlabel=label, ylim=(len(arms) - 0.4, -0.9))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(arms)), list(arms))
    headline(figure, title)
    return figure


# ---- 33: mixed pools ----------------------------------------------------------------------------
POOLS = {"mixed": METHOD, "uniform": REDRAWN}
TIMES = (CONTROL, METHOD, REDRAWN)      # before learning, after the method's, after the control's


def paired(frame: pd.DataFrame, value: str, *, name: str, arm: str, arms: Mapping[str, str],
           title: str, xlabel: str, level: Mapping[str, float] | None = None) -> plt.Figure:
    """A line of dots for each value of the column `name`, a color per arm, with 95 % intervals over
    the column `seed`. `level` draws labeled vertical lines ({"chance": 20})."""
    table = over_seeds(frame, [name, arm], value)
    axis = side_by_side(table, name=name, arm=arm, arms=arms, height=0.5, step=0.2)
    for label, at in (level or {}).items():
        axis.axvline(at, color=DARK, lw=1, ls=":", label=label)
    axis.set_ylim(len(axis.get_yticks()) - 0.5, -0.5)
    axis.set(xlabel=xlabel)
    figure = axis.figure.get_figure(root=True)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center",
                  ncols=len(arms) + len(level or {}))
    headline(figure, title)
    return figure


def cosine_maps(maps: Mapping[str, ArrayLike], labels: Sequence[str], *, title: str
                ) -> plt.Figure:
    """Cosines (T,T) as colored cells with their numbers, side by side on one color scale."""
    figure, axes = plt.subplots(1, len(maps), sharey=True, squeeze=False,
                                figsize=(FULL[0] + 1, 0.3 * len(labels) + 1.7))
    for axis, (name, cosines) in zip(axes[0], maps.items(), strict=True):
        numbers = np.round(np.asarray(cosines), 1) + 0.0 if len(labels) <= 9 else False  # no "-0.0"
        sns.heatmap(cosines, vmin=-1, vmax=1, cmap="RdBu_r", cbar=False, ax=axis, linewidths=0.5,
                    annot=numbers, fmt=".1f", annot_kws={"fontsize": 9}, square=True)
        axis.set_xticks([])
        axis.set_yticks([at + 0.5 for at in range(len(labels))], labels, rotation=0)
        axis.set_title(name, fontsize=10, fontweight="normal")
    figure.colorbar(axes[0, 0].collections[0], ax=list(axes[0]), label="cosine")
    headline(figure, title)
    return figure


def crowds(frame: pd.DataFrame, x: str, y: str, *, arms: Sequence[str], title: str,
           **settings: Any) -> plt.Figure:
    """`plot.lines` over the number of networks, the page wide and the legend below the lines."""
    figure, axis = plt.subplots(figsize=(FULL[0], 3.6))
    lines(frame, x, y, arms=dict(zip(arms, (METHOD, CONTROL, REDRAWN), strict=True)), axis=axis,
          percent=False, **settings)
    if legend := axis.get_legend():
        legend.remove()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    headline(figure, title)
    return figure
