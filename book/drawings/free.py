"""Part III, FREE, in one picture, and why a walk aligns gradients."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from wlib.plot.colors import CONTROL, GOOD, INK, METHOD, PAPER, PURPLE, REDRAWN

from .strokes import WIDTH, arrow, four_panels, network


def free_picture() -> Figure:
    """Four panels, two of them computed: a heap, one generator adapted to each, the walk through
    two networks, a new task."""
    titles = ("1  A heap of networks, no data", "2  One generator, few steps to each",
              "3  A learner walks through them", "4  A new task, few images")
    notes = ("each knows five classes of its own",
             "gray: from anywhere; blue: from a learned start",
             "each step begins where the last one ended",
             "an image goes to the nearest class mean")
    figure, axis = four_panels(titles, notes)
    for row, color in enumerate((METHOD, REDRAWN, GOOD, PURPLE)):
        x, y = 0.95 + 1.5 * (row % 2), 3.95 - 0.85 * (row // 2)
        network(axis, x, y, 0.5, color)
        axis.text(x + 0.38, y, ("ABDEG", "knrtz", "αβγδθ", "жфцщю")[row], va="center", fontsize=9.5)
    adaptation(axis, 3.9, 2.66)
    two_walks(axis, 0.3, 0.3)
    new_task(axis, 4.2, 0.35)
    return figure


def adaptation(axis: Any, x: float, y: float) -> None:
    """Five steps toward each of four goals, from a start apart and from one that was learned."""
    goals = np.array([[2.55, 1.45], [2.95, 0.75], [2.35, 0.3], [1.9, 1.1]])
    starts = {CONTROL: np.array([0.35, 1.35]), METHOD: goals.mean(0)}
    for color, start in starts.items():
        for goal in goals:
            way = start + np.outer(1 - 0.72 ** np.arange(6), goal - start)
            axis.plot(*(way + (x, y)).T, color=color, marker="o", markersize=2.2, linewidth=0.9)
        axis.add_patch(Circle(start + (x, y), 0.07, facecolor=color, edgecolor=PAPER, zorder=4))
    for goal, color in zip(goals, (METHOD, REDRAWN, GOOD, PURPLE), strict=True):
        network(axis, goal[0] + x + 0.06, goal[1] + y + 0.04, 0.26, color)
    axis.text(x + 0.1, y + 1.5, "fresh", fontsize=9)


def two_walks(axis: Any, x: float, y: float) -> None:
    """Two quadratic losses as ellipses; three walks through both, and as many joint steps."""
    centers, forms = np.array([[0.75, 0.45], [2.3, 0.55]]), np.array([[1.0, 2.6], [2.6, 1.0]])
    for center, form, color in zip(centers, forms, (METHOD, REDRAWN), strict=True):
        turn = np.linspace(0, 2 * np.pi, 100)
        for level in (0.16, 0.36, 0.56):
            ring = center + level * np.column_stack([np.cos(turn), np.sin(turn)]) / np.sqrt(form)
            axis.plot(*(ring + (x, y)).T, color=color, linewidth=0.8, alpha=0.7)
    at = np.array([1.55, 1.5])
    axis.add_patch(Circle(tuple(at + (x, y)), 0.06, facecolor=INK, zorder=4))
    axis.text(*(at + (x + 0.1, y + 0.02)), "learner", fontsize=9)
    for _ in range(3):
        for center, form, color in zip(centers, forms, (METHOD, REDRAWN), strict=True):
            step = at - 0.22 * form * (at - center)
            arrow(axis, tuple(at + (x, y)), tuple(step + (x, y)), color=color, mutation_scale=7)
            at = step


def new_task(axis: Any, x: float, y: float) -> None:
    """Features of three classes, their means, and one image that goes to the nearest."""
    rng = np.random.default_rng(5)
    means = np.array([[0.45, 1.15], [1.75, 1.25], [1.15, 0.3]])
    for mean, color in zip(means, (METHOD, REDRAWN, GOOD), strict=True):
        near = mean + rng.normal(0, 0.13, (5, 2))
        axis.scatter(*(near + (x, y)).T, s=14, color=color, alpha=0.6, linewidth=0)
        axis.scatter(*(near.mean(0) + (x, y)), s=90, color=color, marker="X", edgecolor=PAPER)
    asked = np.array([1.25, 0.85])
    axis.scatter(*(asked + (x, y)), s=40, facecolor=PAPER, edgecolor=INK, zorder=4)
    axis.text(*(asked + (x - 0.12, y + 0.1)), "?", fontsize=11, weight="bold")
    arrow(axis, tuple(asked + (x - 0.01, y - 0.06)), (x + 1.17, y + 0.42), mutation_scale=8)


def walk_residuals(lrs: np.ndarray, count: int = 3, size: int = 4) -> tuple[np.ndarray, ...]:
    """How far a walk through random quadratic losses is from first and from second order.

    Rates (R,) give two arrays (R,): the norm of the walk's displacement over α, mean over all
    orders of the losses, minus Σ g, and minus Σ g − (α/2) ∇ Σ ⟨g_i, g_j⟩.
    """
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(count, size, size))
    H, b = roots @ roots.transpose(0, 2, 1) / size, rng.normal(size=(count, size))
    start = rng.normal(size=size)
    g = H @ start + b                                                               # (T, P)
    pairs = sum(H[j] @ g[i] + H[i] @ g[j] for i, j in combinations(range(count), 2))
    first, second = [], []
    for lr in lrs:
        ends = []
        for order in permutations(range(count)):
            w = start
            for j in order:
                w = w - lr * (H[j] @ w + b[j])
            ends.append((start - w) / lr)
        rest = np.mean(ends, axis=0) - g.sum(0)
        first.append(np.linalg.norm(rest))
        second.append(np.linalg.norm(rest + lr / 2 * pairs))
    return np.array(first), np.array(second)


def walk_orders() -> Figure:
    """Both residuals over the learning rate, on logarithmic axes, with their slopes."""
    lrs = np.logspace(-4, -1, 13)
    figure = Figure(figsize=(WIDTH, 3.1), facecolor=PAPER)
    axis = figure.add_axes((0.12, 0.17, 0.56, 0.76))
    names = ("sum of the gradients", "with the alignment term")
    for gap, color, name, marker in zip(walk_residuals(lrs), (CONTROL, METHOD), names, "so",
                                        strict=True):
        slope = np.polyfit(np.log(lrs[:6]), np.log(gap[:6]), 1)[0]
        axis.loglog(lrs, gap, color=color, marker=marker, markersize=4)
        axis.text(lrs[-1] * 1.25, gap[-1], f"{name}:\nslope {slope:.2f}", fontsize=9.5,
                  va="center", color=INK)
    axis.set(xlabel="learning rate α of the walk", ylabel="distance from the walk")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


DRAWINGS = {
    "free-in-one-picture": (free_picture, (
        "FREE in four steps: a heap of networks, each for five classes of its own, whose data "
        "is gone; one generator of images that reaches each of them in a few steps, because "
        "its start lies between them; a learner that walks through the networks one after "
        "another, each step beginning where the last one ended; and a new task, where an image "
        "goes to the nearest class mean.")),
    "walk-orders": (walk_orders, (
        "How far a walk through three random quadratic losses is from two descriptions of it, "
        "over the learning rate of the walk on logarithmic axes: from the sum of the gradients the "
        "distance falls with slope 1, from the sum with the alignment term with slope 2.")),
}
