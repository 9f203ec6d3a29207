"""The figures of part IV: zoos and codecs, diffusion, unseen data sets.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims. What
samples are worth has its figures in `wlib.plot.d2nwg_worth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn  # noqa: F401 -- brings its color maps
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from wlib.claims.comparison import Comparison
from wlib.plot import figures
from wlib.plot.explore import Chart, explorer, frame
from wlib.plot.style import FULL, MARKERS, headline, over_seeds, show
from wlib.plot.theme import CONTROL, METHOD, REDRAWN


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
    headline(figure, title)
    return figure


def means(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Accuracy of single networks and of means of some, a line of dots each, an arm a start."""
    figure = figures.dots(frame, "accuracy", name="networks", arms=arms, title=title,
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


def zoo_sizes(frame: pd.DataFrame, *, arms: Mapping[str, str], title: str):
    """Accuracy of reconstructed networks of unseen data sets over the size of the zoo."""
    figure = figures.lines(frame, "of", "accuracy", arms=arms, title=title, level={"chance": 0.1},
                        xlabel="networks that the codec is fitted on, all directions kept",
                        ylabel="accuracy after the codec")
    figure.axes[0].set_ylim(0, None)
    figure.set_size_inches(6.6, 3.4)
    return figure


def spans(table: pd.DataFrame, *, colors: Mapping[str, str], title: str):
    """Bars of networks for unseen data sets, by where they were looked for."""
    figure = figures.bars(table, name="network", value="mean", half="half", colors=colors,
                       level={"chance": 0.1}, title=title,
                       xlabel="test accuracy on unseen data sets")
    figure.axes[0].set_xlim(0, 1)
    figure.set_size_inches(7.0, 3.6)
    return figure


# ---- 42: diffusion ------------------------------------------------------------------------------
def schedules(curves: Mapping[str, Sequence[float]], *, title: str):
    """The share of variance left along the way, a line a schedule, each over its own steps."""
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    styles = ((CONTROL, "-", 4), (METHOD, "--", 2), (REDRAWN, "-", 2))
    for (name, values), (color, dashes, width) in zip(curves.items(), styles, strict=False):
        taken = np.arange(1, len(values) + 1) / len(values)       # the first value is after a step
        axis.plot(taken, values, color=color, ls=dashes, lw=width, label=name)
    axis.set(xlabel="steps of noise taken, as a share of all", ylabel="share of variance left",
             ylim=(0, 1.02))
    axis.set_title(title)
    axis.legend()
    return figure


def walks(latents, path, *, title: str, paths: int = 10):
    """Latents (n, 2) beside the ends of walks (N, steps + 1, 2), of which some are drawn whole."""
    latents, path = np.asarray(latents, float), np.asarray(path, float)
    figure, axes = plt.subplots(1, 2, figsize=(FULL[0], 3.5), sharex=True, sharey=True)
    axes[0].scatter(*latents.T, s=5, color=CONTROL, lw=0, rasterized=True)   # small on the page
    axes[1].scatter(*path[:len(latents), -1].T, s=5, color=METHOD, lw=0, rasterized=True)
    for walk in path[:paths]:
        axes[1].plot(*walk.T, color=REDRAWN, lw=0.9, zorder=3)
        axes[1].plot(*walk[0], color=REDRAWN, marker="o", ms=3.5, zorder=3)
    some = f"samples, and {len(path[:paths])} of the walks"
    for axis, name in zip(axes, ("the toy's latents", some), strict=True):
        axis.set_title(name, fontsize=10, fontweight="normal")
        axis.set(xlabel="first number")
    axes[0].set_ylabel("second number")
    headline(figure, title)
    return figure


def quality(frame: pd.DataFrame, *, title: str):
    """Accuracy over the time to sample one network, a dot for each kind of walk (columns `walk`,
    `seed`, `points`, `ms`), with 95 % intervals of accuracy over seeds."""
    figure, axis = plt.subplots(figsize=(FULL[0], 3.6))
    points, ms = (over_seeds(frame, ["walk"], column).set_index("walk") for column in
                  ("points", "ms"))
    kinds = list(dict.fromkeys(name.split(",")[0] for name in points.index))
    colors = dict(zip(kinds, (METHOD, CONTROL), strict=False))
    for kind, marker, below in zip(kinds, MARKERS, (True, False), strict=False):
        mine = [name for name in points.index if name.split(",")[0] == kind]
        axis.errorbar(ms["mean"][mine], points["mean"][mine], points["half"][mine], label=kind,
                      color=colors[kind], marker=marker, ms=6, capsize=2, lw=1.2)
        for name in mine:
            axis.annotate(name.split(", ")[1].split()[0], (ms["mean"][name], points["mean"][name]),
                          xytext=(4, -13 if below else 6), textcoords="offset points", fontsize=9)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.1, y=0.12)
    axis.set(xlabel="time to sample one network, ms (log); beside the dots: steps taken",
             ylabel="accuracy on test images, points")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    headline(figure, title)
    return figure


NUMBERS = 16        # of a latent that are drawn: each costs bytes in every frame


def reverse_explorer(latents, weights, points, goals: Mapping, *, names: Sequence, signal,
                     every: int = 2, kernels: tuple[int, int, int] = (8, 5, 5)):
    """An explorer of the walk from noise to a network: the latent, the first layer, the accuracy.

    For m data sets and k steps `latents` (m, k + 1, L), `weights` (m, k + 1, D) and `points`
    (m, k + 1) are those before the first step and after each. `goals` has the trained networks':
    "latent" (m, L), "weights" (m, D), "points" (m,). `signal` (k,) is the share of variance left at
    each step of the schedule, the least noise first.
    """
    latents, weights, points = (np.asarray(v, float) for v in (latents, weights, points))
    goals = {name: np.asarray(v, float) for name, v in goals.items()}
    steps, places = points.shape[1] - 1, list(names)
    top = 1.05 * max(np.abs(z[..., :NUMBERS]).max() for z in (latents, goals["latent"]))
    left = [*np.asarray(signal, float)[::-1], 1.0]
    size = int(np.prod(kernels))

    def one(name, step):
        at = places.index(name)
        goal = {key: values[at] for key, values in goals.items()}
        return frame([_latent(latents[at, step], goal["latent"], top),
                      _kernels(weights[at, step, :size].reshape(kernels),
                               goal["weights"][:size].reshape(kernels)),
                      _seeing(points[at], goal["points"], step)],
                     reverse_caption(name, step, steps, left[step], latents[at, step],
                                     points[at, step], goal))

    # Every frame costs bytes: eight or nine of a walk are enough.
    shown = sorted({*range(0, steps + 1, max(every, round(steps / 7))), steps})
    return explorer({"data set": places, "steps taken": shown}, one, start=[0, len(shown) // 2])


def reverse_caption(name, step: int, steps: int, left: float, latent, points: float,
                    goal: Mapping) -> str:
    """All numbers of one position in a sentence or two."""
    gap = np.sqrt(np.mean((latent - goal["latent"]) ** 2))
    return (f"Data set {name}, {step} of {steps} steps taken: {left:.1%} of the variance is the "
            f"latent's, the rest noise. The {len(latent)} numbers are {gap:.2f} off those of the "
            f"trained network (root mean square). The decoded network gets {points:.1f} points on "
            f"test images, the trained one {goal['points']:.1f}.")


def _latent(latent, goal, top):
    count = min(NUMBERS, len(latent))
    title = "The latent" if count == len(latent) else f"The latent's first {count} numbers"
    chart = Chart(title, (-1, count), (-top, top), xlabel="number", whole=True)
    chart.stems(range(count), latent[:count], METHOD, "now")
    chart.path("".join(f"M{a - 3:.1f} {b:.1f}h6" for a, b in zip(
        chart.across(range(count)), chart.up(goal[:count]), strict=True)), "#808080",
        "stroke-width='2'")
    chart.key("trained", "#808080")
    return chart.svg(f"{count} numbers of the latent beside those of the trained network: the two "
                     f"correlate by {np.corrcoef(latent, goal)[0, 1]:.2f}.")


def _kernels(now, goal):
    chart, limit = Chart(f"First layer: {len(now)} kernels"), np.abs(goal).max()
    for name, tiles, top in (("now", now, 50), ("trained", goal, 110)):
        chart.text(0, top - 6, name)
        chart.tiles(tiles, top, limit, "")
    cosine = np.corrcoef(now.ravel(), goal.ravel())[0, 1]
    return chart.svg(f"{len(now)} kernels of the decoded and of the trained network: their weights "
                     f"correlate by {cosine:.2f}.")


def _seeing(points, goal, step):
    chart = Chart("Accuracy of the decoded network", (0, len(points) - 1), (0, 100),
                  xlabel="steps taken", ylabel="points", whole=True)
    chart.line((0, len(points) - 1), (goal, goal), "#808080", "trained", dashes="5 3")
    chart.line(range(len(points)), points, METHOD, "decoded", width=2)
    chart.dot(step, points[step], METHOD)
    return chart.svg(f"After {step} steps the decoded network gets {points[step]:.1f} points, the "
                     f"trained one {goal:.1f}.")


# ---- 43: unseen data sets -----------------------------------------------------------------------
ROLES = {"method": METHOD, "control": "#777777", "trivial": "#ababab", "reference": "#222222",
         "warning": REDRAWN}


def standings(table: pd.DataFrame, *, title: str, xlabel: str,
              level: Mapping[str, float] | None = None):
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
        axis.axvline(at, color="#333333", lw=1, ls=":", zorder=0)
        axis.text(at, len(table) - 0.45, f" {name}", fontsize=9, va="bottom", ha="left")
    axis.set_yticks(range(len(table)), table["arm"])
    for label, kind in zip(axis.get_yticklabels(), table["label"], strict=True):
        label.set_fontweight("bold" if kind == "method" else "normal")
    axis.set(xlabel=xlabel, ylim=(len(table) - 0.4, -0.6))
    axis.margins(x=0.08)
    axis.grid(axis="y", visible=False)
    headline(figure, title)
    return figure


def pairs(frame: pd.DataFrame, *, xlabel: str, ylabel: str, title: str):
    """A dot per data set and seed (columns x, y, name, seed); named ones are drawn as the mean
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
    headline(figure, title)
    return figure
