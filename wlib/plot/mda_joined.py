"""The figures of notebook 22: joined parts, and what they lose to the sources that they came from.

A function shows its figure with the title and the text that its numbers give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap

from wlib.plot.colors import CONTROL, CONTROLS, DARK, GOOD, METHOD, REDRAWN
from wlib.plot.figures import bars, heats, lines
from wlib.plot.style import COLUMN, FULL, MARKERS, headline, over_seeds, show

KINDS = {"alike": METHOD, "stopped early": REDRAWN, "real and drawn": GOOD}     # of pairs


def show_blocks(layers: Mapping[str, object], empty: float) -> None:
    """Sizes of the weights (Q,P) of some layers as pictures; exact zeros stay white.

    `empty` is the fraction of padding among the weights behind the first layer.
    """
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
    headline(figure, f"{empty:.0%} of the weights behind the first layer are padding")
    show(figure, alt="Layers of the joined network as pictures of their weights: the first is "
         "full, the later ones are two blocks on the diagonal; "
         f"{empty:.0%} of all weights behind the first layer are exactly zero.")


def show_confusions(tables: Mapping[str, pd.DataFrame], taken: pd.DataFrame, arm: str) -> None:
    """Confusions of several arms; `taken` has the percent of images of two groups of classes
    (columns) that get a class of the other source, one row per arm, of which `arm` is told."""
    first, second = taken.columns
    title = (f"{arm.capitalize()} parts give {taken[first][arm]:.0f}% of {first} and "
             f"{taken[second][arm]:.0f}% of {second} to the wrong source")
    show(heats(tables, xlabel="answer", label="% of the images", title=title),
         alt=f"Confusion of {len(next(iter(tables.values())))} classes. " + " ".join(
             f"{name}: {row[first]:.0f}% of {first} and {row[second]:.0f}% of {second} get a class "
             "of the other source." for name, row in taken.iterrows()))


def show_gaps(frame: pd.DataFrame, controls: Sequence[str], along: str = "pair",
              said: str = "{} classes",
              xlabel: str = "classes of the first and the second source") -> None:
    """Gap to base in points along a column, in the order of the frame; a line per arm.

    Columns `along`, `seed`, `arm` (scaled, padded, parts apart, and the `controls`), `gap`; a
    value of `along` is `said` in the title.
    """
    pairs = list(dict.fromkeys(frame[along]))
    mean = frame.groupby(["arm", along])["gap"].mean()
    few, many = mean["scaled", pairs[0]], mean["scaled", pairs[-1]]
    best = str(mean[list(controls)].groupby("arm").mean().idxmax())
    figure, axis = plt.subplots(figsize=(FULL[0], 4.0))
    arms = {"scaled": METHOD, "padded": REDRAWN, "parts apart": GOOD}
    lines(frame.assign(at=frame[along].map(pairs.index)), "at", "gap", axis=axis, percent=False,
          arms=arms | dict(zip(controls, CONTROLS, strict=False)),
          title=f"Scaled parts against base: {few:+.0f} points for {said.format(pairs[0])}, "
                f"{many:+.0f} for {said.format(pairs[-1])}",
          xlabel=xlabel,
          ylabel="accuracy minus base, points", level={"base": 0.0})
    axis.set_xticks(range(len(pairs)), pairs)
    axis.set_ylim(bottom=max(-100, axis.get_ylim()[0]), top=min(40, axis.get_ylim()[1]))
    if legend := axis.get_legend():
        legend.remove()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  handlelength=1.5, columnspacing=1.2)
    show(figure, alt="Gap to base in points. Scaled parts: "
         f"{few:+.1f} for {said.format(pairs[0])}, {many:+.1f} for {said.format(pairs[-1])}. The "
         f"best control on average is {best}: {mean[best, pairs[0]]:+.1f} and "
         f"{mean[best, pairs[-1]]:+.1f}.")


def show_sizes(frame: pd.DataFrame, limit: float) -> None:
    """Gain of scaling over the factor between two parts' winning logits, a dot per pair and seed.

    Columns `factor`, `gain`, `kind` (of `KINDS`).
    """
    far = frame["factor"] > limit
    above, below = (part["gain"].mean() if len(part) else 0.0 for part in (frame[far], frame[~far]))
    figure, axis = plt.subplots(figsize=(COLUMN[0] + 1.2, COLUMN[1]))
    for marker, (kind, color) in zip(MARKERS, KINDS.items(), strict=False):
        part = frame[frame["kind"] == kind]
        if not part.empty:
            axis.plot(part["factor"], part["gain"], color=color, ls="", marker=marker, ms=5.5,
                      alpha=0.75, label=kind)
    axis.axhline(0, color=DARK, lw=1, ls=":")
    axis.axvline(limit, color=DARK, lw=1, ls="--", label=f"factor {limit:g}")
    axis.set(xlabel="factor between the mean winning logits", ylabel="gain of scaling, points")
    axis.set_xscale("log")
    ticks = [t for t in (1, 1.25, 1.5, 2, 3, 4, 6, 8, 12) if t <= 1.1 * frame["factor"].max()]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_title(f"Scaling: {above:+.1f} points where logits differ more than {limit:g}-fold"
                   f", {below:+.1f} below")
    axis.legend()
    show(figure, alt="Gain of scaling in points against the factor between the sources' mean "
         f"winning logits, a dot per pair and seed: {above:+.1f} points on average above {limit:g} "
         f"({far.sum()} dots), {below:+.1f} below ({(~far).sum()} dots).")


def show_tuned(frame: pd.DataFrame, epochs: int) -> None:
    """Accuracy after fine-tuning, and of the rivals: columns `arm`, `seed`, `accuracy`."""
    trained = {"dense": "dense", "zeros held": "zeros held", "scratch": "same shape from scratch"}
    labels = {arm: f"{label}, epochs: {epochs}" for arm, label in trained.items()}
    table = over_seeds(frame, ["arm"], "accuracy").replace({"arm": labels})
    colors = dict.fromkeys(table["arm"], CONTROL)
    colors |= {labels[arm]: METHOD for arm in ("dense", "zeros held")}
    mean = frame.groupby("arm")["accuracy"].mean()
    lift, lead = (100 * (mean["dense"] - mean[arm])
                  for arm in ("scaled, not fine-tuned", "linear probe"))
    told = ", ".join(f"{arm} {mean[arm]:.1%}" for arm in (*trained, "linear probe"))
    show(bars(table, name="arm", value="mean", half="half", colors=colors,
              xlabel="validation accuracy", title=f"Fine-tuning: {lift:+.0f} points; a linear "
              f"probe ends {abs(lead):.0f} points {'lower' if lead > 0 else 'higher'}"),
         alt=f"Validation accuracy after {epochs} epochs: {told}; "
             f"without fine-tuning {mean['scaled, not fine-tuned']:.1%}.")
