"""The figures of part I: the generator step by step, its theory, and explorers of both methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from ipywidgets import VBox
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from wlib.plot import explore
from wlib.plot.colors import BROWN, CONTROL, DARK, GRAY, METHOD, PURPLE, REDRAWN, SKY
from wlib.plot.explore import Chart, explorer
from wlib.plot.figures import lines
from wlib.plot.style import FULL, MARKERS, headline, over_seeds


def steps(weights: ArrayLike, coefficients: ArrayLike, kept: ArrayLike, drawn: ArrayLike,
          child: ArrayLike, *, title: str) -> plt.Figure:
    """The generator on one signal: weights, their spectrum with what is kept, the redrawn
    spectrum, and the child beside its parent. All (n,) arrays, `kept` bool."""
    weights, coefficients, drawn, child = (np.asarray(v, float) for v in
                                           (weights, coefficients, drawn, child))
    kept, at = np.asarray(kept, bool), np.arange(len(weights))
    figure, axes = plt.subplots(2, 2, figsize=(FULL[0], 4.6))
    axes[0, 0].plot(at, weights, color=DARK, lw=1)
    axes[0, 0].set(title="1  weights", xlabel="position", ylabel="value")
    for axis, c, name, color in ((axes[0, 1], coefficients, "2  spectrum", CONTROL),
                                 (axes[1, 0], drawn, "3  the rest redrawn", REDRAWN)):
        axis.vlines(at[~kept], 0, c[~kept], color=color, lw=1.4,
                    label="the rest" if color == CONTROL else "redrawn")
        axis.vlines(at[kept], 0, c[kept], color=METHOD, lw=1.4, label="kept")
        axis.set(title=name, xlabel="frequency", ylabel="coefficient")
        axis.legend()
    axes[1, 1].plot(at, weights, color=DARK, lw=1, label="parent")
    axes[1, 1].plot(at, child, color=REDRAWN, lw=1, label="child")
    axes[1, 1].set(title="4  back to weights", xlabel="position", ylabel="value")
    axes[1, 1].legend()
    for axis in axes.flat:
        axis.title.set(fontweight="normal", fontsize=10)
    headline(figure, title)
    return figure


def theory(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str) -> plt.Figure:
    """Distance and cosine of children to their seed network over the energy kept, with what
    theory says: ρ = √(2(1 − t)) and cos = t."""
    figure, (left, right) = plt.subplots(1, 2, figsize=FULL)
    t = np.linspace(frame["energy"].min() - 0.02, 1, 200)
    left.plot(t, np.sqrt(2 * (1 - t)), color=DARK, ls="--", label="√(2(1 − t))")
    left.plot(t, np.sqrt(1 - t), color="#999999", ls=":", label="√(1 − t)")
    right.plot(t, t, color=DARK, ls="--", label="t")
    for axis, column in ((left, "distance"), (right, "cosine")):
        table = over_seeds(frame[frame["arm"].isin(list(arms))], ["arm", "energy"], column)
        for marker, (name, color) in zip(MARKERS, arms.items(), strict=False):
            part = table[table["arm"] == name]
            axis.errorbar(part["energy"], part["mean"], part["half"], label=name, color=color,
                          ls="", marker=marker, ms=5, capsize=2)
        axis.set(xlabel="energy kept t", ylabel=f"{column} to the seed network")
        axis.legend()
    headline(figure, title)
    return figure


def kept_fraction(frame: pd.DataFrame, *, gaussian: pd.DataFrame, arms: Mapping[str, str],
                  title: str) -> plt.Figure:
    """Fraction of coefficients kept over the energy kept, with the line of independent Gaussian
    weights (columns `energy`, `fraction`), for which every transform is the same."""
    figure = lines(frame, "energy", "fraction", arms=arms, categorical=False,
                   xlabel="energy kept t", ylabel="share of coefficients kept", title=title)
    figure.axes[0].plot(gaussian["energy"], gaussian["fraction"], color=DARK, ls="--", lw=1,
                        label="independent Gaussian weights")
    figure.axes[0].legend()
    figure.set_size_inches(6.4, 3.4)
    return figure


def spectrum_lines(frame: pd.DataFrame, x: str, y: str, *, arms: Mapping[str, str], title: str,
                   xlabel: str, ylabel: str, level: Mapping[str, float]) -> plt.Figure:
    """Two panels, `per` network and tensor, of a distance over the energy kept, from zero."""
    figure, axes = plt.subplots(1, 2, figsize=FULL, sharey=True)
    for axis, per in zip(axes, ("network", "tensor"), strict=True):
        lines(frame[frame["per"] == per], x, y, arms=arms, axis=axis, percent=False, level=level,
              xlabel=xlabel, ylabel=ylabel if per == "network" else " ", title=f"per {per}")
        axis.title.set(fontweight="normal", fontsize=10)
        axis.set_ylim(bottom=0)
    headline(figure, title)
    return figure


def fates(table: pd.DataFrame, *, title: str) -> plt.Figure:
    """What became of each arm's candidates: a row of parts that add to one, a row per arm.

    The index names the arms, the columns the fates, "accepted" last.
    """
    figure, axis = plt.subplots(figsize=(FULL[0], 0.42 * len(table) + 1.5))
    shades = dict(zip(table.columns, ("#4d4d4d", REDRAWN, SKY, PURPLE, BROWN), strict=False))
    left = np.zeros(len(table))
    for fate in table.columns:
        color = METHOD if fate == "accepted" else shades[fate]
        axis.barh(range(len(table)), table[fate], left=left, color=color, height=0.62, label=fate)
        left += table[fate].to_numpy()
    axis.set_yticks(range(len(table)), table.index)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="share of candidates", xlim=(0, 1))
    axis.set_title(title, pad=26)
    axis.legend(ncols=len(table.columns), loc="lower left", bbox_to_anchor=(-0.01, 0.99),
                handlelength=1, columnspacing=1.1)
    return figure


def gains(frame: pd.DataFrame, x: str, y: str, *, arms: Mapping[str, str], xlabel: str,
          ylabel: str, title: str) -> plt.Figure:
    """`lines` of what was gained or lost, with a line at nothing. Beyond ±2 the scale is
    logarithmic, so that a gain of a tenth shows beside one of ten."""
    figure = lines(frame, x, y, arms=arms, percent=False, xlabel=xlabel, title=title,
                   ylabel=f"{ylabel} (log beyond ±2)")
    axis, ticks = figure.axes[0], [-10, -5, -2, -1, 0, 1, 2, 5, 10, 20]
    axis.axhline(0, color=DARK, lw=1, ls=":")
    limits = axis.get_ylim()
    axis.set_yscale("symlog", linthresh=2, linscale=1.6)
    axis.set_yticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(*limits)
    figure.set_size_inches(6.8, 3.8)
    return figure


def luck(counts: ArrayLike, chosen: Sequence[np.ndarray], fresh: Sequence[np.ndarray],
         limit: ArrayLike, *, truth: float, title: str) -> plt.Figure:
    """Accuracy of the best of `counts` equal networks on the images that chose it and on fresh
    ones, (N,) and (N,) with their spread as (2, N) each, and the limit of theory (N,)."""
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    for (mean, spread), color, name in ((chosen, REDRAWN, "on the images that chose it"),
                                        (fresh, METHOD, "on fresh images")):
        axis.fill_between(counts, mean - spread, mean + spread, color=color, alpha=0.2, lw=0)
        axis.plot(counts, mean, color=color, lw=2, label=name)
    axis.plot(counts, limit, color=DARK, ls="--", lw=1, label="p + sd √(2 ln N)")
    axis.axhline(truth, color=DARK, ls=":", lw=1, label="true accuracy of all of them")
    axis.set_xscale("log")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axis.set(xlabel="number N of equal networks to choose from", ylabel="accuracy of the best")
    axis.set_title(title)
    axis.legend()
    return figure


def mge_explorer(parent: ArrayLike, kernels: Sequence[int], frames: Sequence[Mapping], *,
                 images: int, draws: int) -> VBox:
    """An explorer of the energy kept: the first layer's spectrum and kernels, the distribution of
    all weights, and the accuracy beside that of two kinds of noise.

    `parent` (P,) are the seed network's weights, `kernels` the shape of its first layer. A frame
    is a position: `energy`, `child` (P,), `coefficients` and `kept` of the first layer (n,),
    `drawn` (n,), `ks`, and `accuracy` by arm.
    """
    parent = np.asarray(parent, float)
    frames = [{**frame, "child": np.asarray(frame["child"], float)} for frame in frames]
    edges = np.linspace(-4, 4, 65) * parent.std()
    heights = [np.histogram(weights, edges, density=True)[0]
               for weights in (parent, *(frame["child"] for frame in frames))]

    def drawn(energy: float) -> str:
        at = energies.index(energy)
        frame = frames[at]
        charts = [_energy_spectrum(frame), _energy_kernels(parent, frame, kernels),
                  _energy_weights(frame["ks"], len(parent), edges, heights, at + 1),
                  _energy_accuracy(frames, at)]
        return explore.frame(charts, mge_caption(frame, images=images, draws=draws))

    energies = [frame["energy"] for frame in frames]
    return explorer({"energy kept t": energies}, drawn, start=[len(energies) // 2])


def mge_caption(frame: Mapping, *, images: int, draws: int) -> str:
    """All numbers of one position in a sentence."""
    kept, right = np.asarray(frame["kept"], bool), frame["accuracy"]
    return (f"Energy kept {frame['energy']:g}: {kept.sum()} of {kept.size} coefficients of the "
            f"first layer stay. Of {images} validation images MGE's children (draws: {draws}) get "
            f"{right['energy']:.0%} right, noise of the same distance {right['noise']:.0%}, noise "
            f"that also keeps the norm {right['noise-norm']:.0%}. The distribution of all weights "
            f"differs by {frame['ks']:.3f} (Kolmogorov–Smirnov).")


def _energy_spectrum(frame: Mapping) -> str:
    c, kept, drawn = (np.asarray(frame[name]) for name in ("coefficients", "kept", "drawn"))
    kept, at, limit = kept.astype(bool), np.arange(len(c)), 1.1 * np.abs(c).max()
    chart = Chart("First layer: spectrum", (-1, len(c)), (-limit, limit), xlabel="frequency")
    chart.stems(at[kept], c[kept], METHOD, f"{kept.sum()} kept")
    chart.stems(at[~kept], drawn[~kept], REDRAWN, f"{(~kept).sum()} redrawn")
    return chart.svg(f"The largest {kept.mean():.0%} of the first layer's coefficients hold "
                     f"{frame['energy']:.0%} of its energy and stay; the others are redrawn.")


def _energy_kernels(parent: np.ndarray, frame: Mapping, shape: Sequence[int]) -> str:
    n, count = int(np.prod(shape)), min(4, int(np.prod(shape[:-2])))
    chart, limit = Chart(f"First layer: {count} kernels"), np.abs(parent[:n]).max()
    for name, weights, top in (("seed", parent, 40), ("child", frame["child"], 120)):
        chart.tiles(weights[:n].reshape(-1, *shape[-2:])[:count], top, limit, name)
    cosine = np.corrcoef(parent[:n], frame["child"][:n])[0, 1]
    return chart.svg(f"{count} kernels of the seed network and of its child: the first layer's "
                     f"weights correlate by {cosine:.2f}.")


def _energy_weights(distance: float, count: int, edges: np.ndarray, heights: Sequence[np.ndarray],
                    at: int) -> str:
    top = 1.1 * max(row.max() for row in heights)
    chart = Chart(f"All {count:,} weights", (edges[0], edges[-1]), (0, top), xlabel="weight",
                  ylabel="density")
    chart.steps(edges, heights[0], CONTROL, "seed", filled=True)
    chart.steps(edges, heights[at], METHOD, "child")
    return chart.svg(f"The distributions of the child's and the seed network's weights differ by "
                     f"{distance:.3f} at most (Kolmogorov–Smirnov distance).")


def _energy_accuracy(frames: Sequence[Mapping], at: int) -> str:
    energies = [frame["energy"] for frame in frames]
    right = {arm: [frame["accuracy"][arm] for frame in frames]
             for arm in ("energy", "noise", "noise-norm")}
    low, high = min(map(min, right.values())), max(map(max, right.values()))
    chart = Chart("Validation images right", (energies[0] - 0.02, energies[-1] + 0.02),
                  (low - 0.03, high + 0.03), xlabel="energy kept t", percent=True)
    here = chart.across(energies[at])
    chart.path(f"M{here:.1f} {chart.TOP}V{chart.BOTTOM}", "currentColor", "stroke-opacity='.6'")
    for values, name, color, width, dashes in zip(
            right.values(), ("MGE", "noise", "noise, same norm"),
            (METHOD, GRAY, PURPLE), (2.5, 1.5, 1.5), ("", "5 3", "2 2"), strict=True):
        chart.line(energies, values, color, name, width=width, dashes=dashes)
        chart.dot(energies[at], values[at], color)
    return chart.svg(f"The children get {right['energy'][at]:.0%} right, noise of the same "
                     f"distance {right['noise'][at]:.0%}, noise that also keeps the norm "
                     f"{right['noise-norm'][at]:.0%}.")


def evolution_explorer(steps: Sequence[Mapping], lines: Mapping[str, Sequence[float]], *,
                       images: int, seed_accuracy: float, shown: int = 60) -> VBox:
    """An explorer of the generations of an evolution: the population by accuracy and diversity,
    who errs on which image, fitness, and the best network beside other searches. Of the images
    it shows those on which the networks of the run disagree.

    A step is a generation: `errors` (μ, B) bool, the fittest first, `accuracy`, `diversity` and
    `fitness` (μ,), `new` (μ,) bool, and `evaluations` so far. `lines` has the best validation
    accuracy of each search by generation, the evolution's own first.
    """
    steps = [{name: np.asarray(value) for name, value in step.items()} for step in steps]
    often = np.concatenate([step["errors"] for step in steps]).mean(0)       # (B,)
    disputed = np.flatnonzero((often > 0) & (often < 1))
    picked = np.linspace(0, len(disputed) - 1, min(shown, len(disputed))).round().astype(int)
    some = disputed[np.argsort(-often[disputed], kind="stable")][picked]

    def drawn(number: int) -> str:
        charts = [_population(steps, number, seed_accuracy), _error_sets(steps[number], some),
                  _fitness(steps, number), _searches(lines, number, seed_accuracy)]
        return explore.frame(charts, evolution_caption(steps, number, lines, images=images))

    return explorer({"generation": list(range(len(steps)))}, drawn)


def evolution_caption(steps: Sequence[Mapping], number: int, lines: Mapping, *, images: int) -> str:
    """All numbers of one generation in a sentence or two."""
    step = steps[number]
    arrived = int(np.sum(step["new"]))
    others = ", ".join(f"{name} {values[number]:.1%}" for name, values in list(lines.items())[1:])
    born = "the first population" if number == 0 else f"{arrived} of {len(step['new'])} are new"
    always = int(np.asarray(step["errors"]).all(0).sum())
    return (f"Generation {number}, {step['evaluations']} networks judged so far; {born}. "
            f"The best gets {np.max(step['accuracy']):.1%} of {images:,} validation images right, "
            f"the mean of the population {np.mean(step['accuracy']):.1%}; its diversity is "
            f"{np.mean(step['diversity']):.2f}; all get {always} images wrong. "
            f"At the same number of networks: {others}.")


def _limits(values: ArrayLike, margin: float = 0.06) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    room = margin * (high - low) + 1e-3
    return low - room, high + room


def _population(steps: Sequence[Mapping], number: int, seed_accuracy: float) -> str:
    step, everyone = steps[number], np.concatenate([s["accuracy"] for s in steps])
    chart = Chart("The population", _limits(np.concatenate([s["diversity"] for s in steps])),
                  _limits([*everyone, seed_accuracy]), xlabel="diversity", percent=True)
    chart.line(chart.x, [seed_accuracy] * 2, GRAY, "seed network", dashes="5 3")
    for new, color, name in ((False, METHOD, "stayed"), (True, REDRAWN, "new")):
        chart.key(name, color)
        for x, y, born in zip(step["diversity"], step["accuracy"], step["new"], strict=True):
            if bool(born) == new:
                chart.dot(x, y, color)
    return chart.svg(f"The {len(step['new'])} networks lie between {step['accuracy'].min():.1%} "
                     f"and {step['accuracy'].max():.1%} of accuracy and between "
                     f"{step['diversity'].min():.2f} and {step['diversity'].max():.2f} of "
                     f"diversity; the seed network is at {seed_accuracy:.1%}.")


def _error_sets(step: Mapping, some: np.ndarray) -> str:
    """A row per network, a column per image, a mark where the network errs."""
    wrong, always = step["errors"][:, some], int(step["errors"].all(0).sum())
    chart = Chart("Who errs on which image")
    wide, high = (chart.RIGHT - chart.LEFT) / max(1, len(some)), (chart.BOTTOM - 40) / len(wrong)
    marks = "".join(f"M{chart.LEFT + j * wide:.1f} {40 + i * high:.1f}h{wide:.1f}v{high - 1:.1f}"
                    f"h-{wide:.1f}z" for i, j in zip(*np.nonzero(wrong), strict=True))
    chart.path(marks, "none", fill=METHOD)
    for i, word in ((0, "fittest"), (len(wrong) - 1, "last")):
        chart.text(chart.LEFT - 5, 44 + high * (i + 0.5), word, "text-anchor='end'")
    chart.text((chart.LEFT + chart.RIGHT) / 2, chart.HEIGHT - 20,
               f"{len(some)} images that only some networks get right", "text-anchor='middle'")
    return chart.svg(f"Who errs on which of {len(some)} images: {int(wrong.all(0).sum())} of them "
                     f"are wrong for the whole population, {int((~wrong.any(0)).sum())} for none. "
                     f"Of all images {always} are wrong for the whole population.")


def _fitness(steps: Sequence[Mapping], number: int) -> str:
    at = np.arange(len(steps))
    best, mean = (np.array([f(step["fitness"]) for step in steps]) for f in (np.max, np.mean))
    chart = Chart("Fitness", (-0.3, len(steps) - 0.7), _limits([*best, *mean]),
                  xlabel="generation", whole=True)
    chart.line(at, best, METHOD, "best", width=2.5)
    chart.line(at, mean, METHOD, "mean", dashes="5 3")
    for values in (best, mean):
        chart.dot(number, values[number], METHOD)
    return chart.svg(f"Fitness of the best is {best[number]:.3f}, of the mean {mean[number]:.3f}; "
                     f"in the first population {best[0]:.3f} and {mean[0]:.3f}.")


def _searches(lines: Mapping[str, Sequence[float]], number: int, seed_accuracy: float) -> str:
    everything = [seed_accuracy, *(v for values in lines.values() for v in values)]
    chart = Chart("Best on the validation images", (-0.3, len(next(iter(lines.values()))) - 0.7),
                  _limits(everything), xlabel="generation", percent=True, whole=True)
    for (name, values), color, width, dashes in zip(
            lines.items(), (METHOD, GRAY, PURPLE), (2.5, 1.5, 1.5), ("", "5 3", "2 2"),
            strict=False):
        chart.line(range(len(values)), values, color, name.split()[0], width=width, dashes=dashes)
        chart.dot(number, values[number], color)
    found = ", ".join(f"{name} {values[number]:.1%}" for name, values in lines.items())
    return chart.svg(f"Best validation accuracy so far: {found}.")
