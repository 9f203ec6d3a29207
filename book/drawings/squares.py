"""The verdicts: one square with a mark per claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wlib.plot.theme import CONTROL, GOOD, METHOD, REDRAWN

from .strokes import WIDTH, canvas, rendered

VERDICTS = {"reproduced": ("✔", GOOD), "reproduced, but a control does as well": ("≈", REDRAWN),
            "not reproduced": ("✘", "#d55e00"), "undecided": ("?", METHOD),
            "not measured": ("–", CONTROL)}


def verdicts(counts: Mapping[str, Mapping[str, int]]) -> bytes:
    """How many claims of each paper came to which verdict, as SVG: a marked square per claim."""
    return rendered(lambda: verdict_squares(counts))


def verdicts_alt(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The same counts as a sentence per paper."""
    papers = [f"{paper}: " + ", ".join(f"{n} {words}" for words, n in found.items() if n)
              for paper, found in counts.items()]
    total = sum(sum(found.values()) for found in counts.values())
    return f"The verdicts on {total} claims. " + "; ".join(papers) + "."


def verdict_squares(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """A row of squares per paper, in the order of the verdicts; below, what the marks mean."""
    most = max([sum(found.values()) for found in counts.values()], default=1)
    side, high = min(0.4, (WIDTH - 1.1) / max(most, 1)), 0.46 * len(counts)
    figure, axis = canvas(high + 0.75)
    for row, (paper, found) in enumerate(counts.items()):
        y = high + 0.75 - 0.46 * (row + 1)
        axis.text(0.08, y + side / 2, paper, weight="bold", va="center", fontsize=11)
        marks = [words for words, n in found.items() for _ in range(n)]
        for column, words in enumerate(marks):
            verdict_square(axis, 1.0 + side * column, y, side * 0.88, words)
    totals = {words: sum(found[words] for found in counts.values()) for words in VERDICTS}
    places = ((0.08, 0.4), (2.1, 0.4), (0.08, 0.08), (2.1, 0.08), (4.1, 0.08))
    for (words, total), (x, y) in zip(totals.items(), places, strict=True):
        verdict_square(axis, x, y, 0.22, words)
        axis.text(x + 0.3, y + 0.11, f"{words}: {total}", va="center")
    return figure


def verdict_square(axis: Any, x: float, y: float, side: float, words: str) -> None:
    """A tinted square with the verdict's mark; mark and color say the same."""
    mark, color = VERDICTS[words]
    axis.add_patch(Rectangle((x, y), side, side, facecolor=(color, 0.22), edgecolor=color))
    axis.text(x + side / 2, y + side / 2, mark, ha="center", va="center")
