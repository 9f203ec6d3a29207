"""The figures of notebook 42: schedules of noise, paths from noise to a network, samplers.

As in `wlib.plot`: a function takes results and draws, and computes nothing that a page claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike

from wlib.plot.colors import CONTROL, GRAY, METHOD, REDRAWN
from wlib.plot.explore import Chart, explorer, frame
from wlib.plot.style import FULL, MARKERS, headline, over_seeds


def schedules(curves: Mapping[str, Sequence[float]], *, title: str) -> plt.Figure:
    """The share of variance left, one line per schedule, each over its own steps."""
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


def paths(latents: ArrayLike, path: ArrayLike, *, title: str, whole: int = 10) -> plt.Figure:
    """Latents (n, 2) beside the ends of paths (N, steps + 1, 2), of which some are drawn whole."""
    latents, path = np.asarray(latents, float), np.asarray(path, float)
    figure, axes = plt.subplots(1, 2, figsize=(FULL[0], 3.5), sharex=True, sharey=True)
    axes[0].scatter(*latents.T, s=5, color=CONTROL, lw=0, rasterized=True)   # small on the page
    axes[1].scatter(*path[:len(latents), -1].T, s=5, color=METHOD, lw=0, rasterized=True)
    for one in path[:whole]:
        axes[1].plot(*one.T, color=REDRAWN, lw=0.9, zorder=3)
        axes[1].plot(*one[0], color=REDRAWN, marker="o", ms=3.5, zorder=3)
    some = f"samples, and {len(path[:whole])} of their paths"
    for axis, name in zip(axes, ("the toy's latents", some), strict=True):
        axis.set_title(name, fontsize=10, fontweight="normal")
        axis.set(xlabel="first number")
    axes[0].set_ylabel("second number")
    headline(figure, title)
    return figure


def quality(frame: pd.DataFrame, *, title: str) -> plt.Figure:
    """Accuracy over the time to sample one network, one dot per sampler (columns `sampler`, such as
    "DDIM, 20 steps", `seed`, `points`, `ms`), with 95 % intervals of accuracy over seeds."""
    figure, axis = plt.subplots(figsize=(FULL[0], 3.6))
    points, ms = (over_seeds(frame, ["sampler"], column).set_index("sampler") for column in
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


def reverse_explorer(latents: Any, weights: Any, points: Any, goals: Mapping[str, Any], *,
                     names: Sequence, signal: ArrayLike,
                     every: int = 2, kernels: tuple[int, int, int] = (8, 5, 5)) -> Any:
    """An explorer of the way from noise to a network: the latent, the first layer, the accuracy.

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

    def one(name: Any, step: int) -> str:
        at = places.index(name)
        goal = {key: values[at] for key, values in goals.items()}
        return frame([_latent(latents[at, step], goal["latent"], top),
                      _kernels(weights[at, step, :size].reshape(kernels),
                               goal["weights"][:size].reshape(kernels)),
                      _seeing(points[at], goal["points"], step)],
                     reverse_caption(name, step, steps, left[step], latents[at, step],
                                     points[at, step], goal))

    # Every frame costs bytes: eight or nine are enough.
    shown = sorted({*range(0, steps + 1, max(every, round(steps / 7))), steps})
    return explorer({"data set": places, "steps taken": shown}, one, start=[0, len(shown) // 2])


def reverse_caption(name: Any, step: int, steps: int, left: float, latent: np.ndarray,
                    points: float, goal: Mapping) -> str:
    """All numbers of one position in a sentence or two."""
    gap = np.sqrt(np.mean((latent - goal["latent"]) ** 2))
    return (f"Data set {name}, {step} of {steps} steps taken: {left:.1%} of the variance is the "
            f"latent's, the rest noise. The {len(latent)} numbers are {gap:.2f} off those of the "
            f"trained network (root mean square). The decoded network gets {points:.1f} points on "
            f"test images, the trained one {goal['points']:.1f}.")


def _latent(latent: np.ndarray, goal: np.ndarray, top: float) -> str:
    count = min(NUMBERS, len(latent))
    title = "The latent" if count == len(latent) else f"The latent's first {count} numbers"
    chart = Chart(title, (-1, count), (-top, top), xlabel="number", whole=True)
    chart.stems(range(count), latent[:count], METHOD, "now")
    chart.path("".join(f"M{a - 3:.1f} {b:.1f}h6" for a, b in zip(
        chart.across(range(count)), chart.up(goal[:count]), strict=True)), GRAY,
        "stroke-width='2'")
    chart.key("trained", GRAY)
    return chart.svg(f"{count} numbers of the latent beside those of the trained network: the two "
                     f"correlate by {np.corrcoef(latent, goal)[0, 1]:.2f}.")


def _kernels(now: np.ndarray, goal: np.ndarray) -> str:
    chart, limit = Chart(f"First layer: {len(now)} kernels"), np.abs(goal).max()
    for name, tiles, top in (("now", now, 50), ("trained", goal, 110)):
        chart.text(0, top - 6, name)
        chart.tiles(tiles, top, limit, "")
    cosine = np.corrcoef(now.ravel(), goal.ravel())[0, 1]
    return chart.svg(f"{len(now)} kernels of the decoded and of the trained network: their weights "
                     f"correlate by {cosine:.2f}.")


def _seeing(points: np.ndarray, goal: float, step: int) -> str:
    chart = Chart("Accuracy of the decoded network", (0, len(points) - 1), (0, 100),
                  xlabel="steps taken", ylabel="points", whole=True)
    chart.line((0, len(points) - 1), (goal, goal), GRAY, "trained", dashes="5 3")
    chart.line(range(len(points)), points, METHOD, "decoded", width=2)
    chart.dot(step, points[step], METHOD)
    return chart.svg(f"After {step} steps the decoded network gets {points[step]:.1f} points, the "
                     f"trained one {goal:.1f}.")
