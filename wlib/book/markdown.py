"""Pieces of MyST Markdown: tables, verdicts with their mark, intervals, links to pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wlib import claims


def cell(text: Any) -> str:
    """A text that is safe in one cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Iterable[str], lines: Iterable[Iterable[Any]], css: str = "") -> str:
    """A Markdown table; a sentence instead where it has no lines."""
    head, lines = list(head), [list(line) for line in lines]
    if not lines:
        return "*Nothing here yet.*"
    rows = [head, ["---"] * len(head), *lines]
    text = "\n".join("| " + " | ".join(cell(item) for item in row) + " |" for row in rows)
    return f"```{{table}}\n:class: {css}\n\n{text}\n```" if css else text


def mark(question: str, words: str) -> str:
    """An answer as the whole book shows it: shape, words and color together.

    The question is a key of `claims.QUESTIONS`.
    """
    _, shapes = claims.QUESTIONS[question]
    return f"[{shapes[words]} {words}]{{.verdict .{question}-{words.replace(' ', '-')}}}"


def marks(verdict: claims.Verdict) -> str:
    """Both answers, side by side."""
    return " ".join(map(mark, claims.QUESTIONS, verdict.answers))


def words(interval: claims.Interval | None, unit: str) -> str:
    """An interval in words, or a dash."""
    return "–" if interval is None else interval.words(unit)


def page(name: str) -> str:
    """The path of a notebook's page as chapters link to it."""
    return f"../notebooks/{name}.ipynb"


def number(value: Any) -> str:
    """A table's entry: numbers to three digits, everything else as it is."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
