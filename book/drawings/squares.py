"""The answers: a marked square per claim for "does it hold?", its foot for the simpler way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from wlib import claims
from wlib.book.material import SECOND_DATA
from wlib.plot.colors import CONTROL, GOOD, METHOD, REDRAWN

from .strokes import WIDTH, canvas, rendered

BAD = "#d55e00"
COLORS = {"yes": GOOD, "makes no difference": REDRAWN, "no": BAD, "open": METHOD,
          "ahead": GOOD, "level": REDRAWN, "behind": BAD, claims.NOT_MEASURED: CONTROL}
LEGEND = (0.62, (0.08, 1.2, 3.3, 4.3, 5.5)), (0.08, (0.08, 1.2, 2.3, 3.6, 4.8))     # y, each x
Answers = Mapping[str, Sequence[tuple[str, str]]]   # paper -> (holds, simpler) of each claim


def verdicts(answers: Answers, second: Answers) -> bytes:
    """Both answers to each claim of each paper, as SVG: a marked square with a marked foot.

    A paper with answers on the `second` data set has a second row for them.
    """
    return rendered(lambda: verdict_squares(answers, second))


def rows_of(answers: Answers, second: Answers) -> dict[str, Sequence[tuple[str, str]]]:
    """The pairs of each row by its title."""
    rows: dict[str, Sequence[tuple[str, str]]] = {}
    for paper, pairs in answers.items():
        rows[paper] = pairs
        if paper in second:
            rows[f"{paper}, {SECOND_DATA}"] = second[paper]
    return rows


def verdicts_alt(answers: Answers, second: Answers) -> str:
    """The same counts as sentences: a paper's claims by the first answer, then by the second."""
    papers = []
    for paper, pairs in rows_of(answers, second).items():
        both = []
        for place, (question, known) in enumerate(claims.QUESTIONS.values()):
            given = [pair[place] for pair in pairs]
            both.append(f"{question} " + ", ".join(
                f"{given.count(words)} {words}" for words in known if words in given))
        papers.append(f"{paper}, {'; '.join(both)}")
    total = sum(map(len, answers.values()))
    return f"Two answers to each of {total} claims. " + ". ".join(papers) + "."


def verdict_squares(answers: Answers, second: Answers) -> Figure:
    """A row of squares per paper, in the order of the answers; below, what the marks mean."""
    rows = rows_of(answers, second)
    most = max(map(len, rows.values()), default=1)
    side, high = min(0.4, (WIDTH - 1.1) / max(most, 1)), 0.66 * len(rows)
    figure, axis = canvas(high + 1.2)
    for row, (title, pairs) in enumerate(rows.items()):
        y = high + 1.2 - 0.66 * (row + 1)
        if title in answers:
            axis.text(0.08, y + 0.25, title, weight="bold", va="center", fontsize=11)
        else:
            axis.text(0.08, y + 0.25, SECOND_DATA.replace("-", "-\n"), va="center", fontsize=8)
        for column, (holds, simpler) in enumerate(pairs):
            x = 1.0 + side * column
            box(axis, x, y + 0.2, side * 0.88, side * 0.88, claims.HOLDS[holds], COLORS[holds])
            box(axis, x, y, side * 0.88, 0.2, claims.SIMPLER[simpler], COLORS[simpler])
    for place, (title, known) in enumerate(claims.QUESTIONS.values()):
        y, left = LEGEND[place]
        axis.text(0.08, y + 0.36, title, va="center", weight="bold")
        for x, words in zip(left, known, strict=True):
            total = sum(pair[place] == words for pairs in answers.values() for pair in pairs)
            box(axis, x, y, 0.22, 0.22 if place == 0 else 0.16, known[words], COLORS[words])
            axis.text(x + 0.3, y + 0.1, f"{words}: {total}", va="center")
    return figure


def box(axis: Any, x: float, y: float, width: float, height: float, mark: str, color: str) -> None:
    """A tinted box with an answer's mark; mark and color say the same."""
    axis.add_patch(Rectangle((x, y), width, height, facecolor=(color, 0.22), edgecolor=color))
    axis.text(x + width / 2, y + height / 2, mark, ha="center", va="center",
              fontsize=10 if height > 0.2 else 7.5)
