"""The parts of pages on claims: the overview, each claim in full, what a notebook measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wlib import claims
from wlib.book.markdown import mark, page, table, words
from wlib.book.material import Book, read_json
from wlib.book.origins import run_words, stale_note
from wlib.check import require_one_of

PAPERS = {"mge": "MGE", "mda": "MDA", "free": "FREE", "d2nwg": "D2NWG"}


def counts(book: Book) -> dict[str, dict[str, int]]:
    """How many claims of each paper came to which verdict, both in the book's order."""
    found = {paper: [book.verdict(row).words for row in book.rows if row.paper == paper]
             for paper in PAPERS}
    return {PAPERS[paper]: {words: verdicts.count(words) for words in claims.MARKS}
            for paper, verdicts in found.items() if verdicts}


def verdict_summary(book: Book, _: str) -> str:
    """The same counts as a table."""
    found = counts(book)
    head = ["verdict", *(f"[{paper}](#claims-{paper.lower()})" for paper in found)]
    lines = [[mark(words), *(paper[words] for paper in found.values())] for words in claims.MARKS]
    return table(head, lines if found else [])


def claims_table(book: Book, only: str) -> str:
    """All claims, or those of one paper, one line each with its verdict, a table a paper."""
    require_one_of("paper", only or "mge", PAPERS)
    head = ["id", "verdict", "the paper says [its figure, and how sure we are of it]{.figure}",
            "measured", "best control"]
    parts = []
    for paper, title in PAPERS.items():
        lines = [claim_line(row, book) for row in book.rows
                 if row.paper == paper and only in ("", paper)]
        if lines:
            parts += [] if only else [f"```{{rubric}} {title}\n```"]
            parts += [table(head, lines, f"claims paper-{paper}")]
    return "\n\n".join(parts)


def claim_line(row: claims.Row, book: Book) -> list[str]:
    """A claim's line in the overview."""
    verdict = book.verdict(row)
    return [f"[{row.id}](#claim-{row.id})", mark(verdict.words),
            f"{row.claim} [{row.figure} ({row.source})]{{.figure}}",
            words(verdict.value_interval, row.unit) if verdict.value_interval else "",
            verdict.best_control or ""]


def claims_rows(book: Book, _: str) -> str:
    """Every claim with all that its verdict rests on, paper by paper."""
    parts = []
    for paper, title in PAPERS.items():
        mine = [row for row in book.rows if row.paper == paper]
        if mine:
            parts += [f"(claims-{paper})=\n## {title}", *(claim(row, book) for row in mine)]
    return "\n\n".join(parts)


def claim(row: claims.Row, book: Book) -> str:
    """One claim: paper, figure, measure, rule, verdict, the rivals one by one, where it was run."""
    verdict, results = book.verdict(row), book.judged(row)
    facts = {
        "The paper says": row.claim,
        "Its figure": f"{row.figure} ({row.source})",
        "Verdict": f"{mark(verdict.words)} {verdict.reason}.",
        "Our measure": f"{row.measure} ({row.unit}, {row.better} is better)",
        "Rule": f"{row.rule.words(row.unit)}; margin against controls {row.margin:g} {row.unit}",
        "Controls": ", ".join(row.controls),
        "Shown beside": ", ".join(row.references),
        "Remark": row.remark,
        "Judged by": judged_by(row, results, book),
        "This build": beside(row, results, book),
    }
    lines = "\n".join(f"{name}\n: {' '.join(text.split())}\n"
                      for name, text in facts.items() if text)
    rivals = comparison(row.unit, results["measures"][row.id]) if results else ""
    return f"(claim-{row.id})=\n### Claim {row.id}\n\n{lines}\n{rivals}".rstrip()


def judged_by(row: claims.Row, results: dict[str, Any] | None, book: Book) -> str:
    """Which run the verdict rests on, with a link to the cell that measured it."""
    if row.notebook == claims.QUOTED:
        return "no run; the book quotes this claim and does not test it"
    if not is_page(row, book):
        return f"no run yet; notebook {row.notebook} is still to come"
    link = f"[{row.notebook}]({page(row.notebook)})"
    if results is None:
        return f"no run yet; {link} is to measure it"
    if row.id in anchors(book, row.notebook):
        link += f", [the cell that measured it](#measure-{row.id})"
    seeds = ", ".join(map(str, results["seeds"]))
    what = results["measures"][row.id].get("resampled") or "seeds"
    stale = stale_note(results, book)
    return f"{link}; {run_words(results)}; seeds {seeds}; the interval resamples {what}.{stale}"


def beside(row: claims.Row, results: dict[str, Any] | None, book: Book) -> str:
    """The measure in this build's own run, where a recorded one was judged."""
    mine = book.built.get(row.notebook)
    if mine is None or mine is results or row.id not in mine["measures"]:
        return ""
    verdict = claims.judge(row, mine["measures"][row.id])
    return (f"{words(verdict.value_interval, row.unit)} at profile {mine['profile']}, by itself "
            f"{mark(verdict.words)}")


def comparison(unit: str, measure: Mapping[str, Any]) -> str:
    """The method and each rival, with the method's paired advantage."""
    lines = [["the method", "", claims.interval(measure["values"], measure.get("image_se", 0.0))
              .words(unit), ""]]
    for kind in ("controls", "references"):
        for name, entry in measure.get(kind, {}).items():
            value = claims.interval(entry["values"], entry.get("image_se", 0.0))
            lines.append([name, kind[:-1], value.words(unit),
                          claims.advantage(measure, name).words(unit)])
    return table(["", "kind", "value", "advantage of the method"], lines)


def measured(book: Book, name: str) -> str:
    """A measure that is no claim, from the best recorded run that has it, else from this build."""
    for runs in (book.recorded, book.built):
        for notebook, results in runs.items():
            for own, measure in results["measures"].items():
                if re.sub(r"\W+", "-", own) == name:
                    where = f"[{notebook}]({page(notebook)}), {run_words(results)}"
                    return (f"{comparison(measure['unit'], measure)}\n\n{where}, "
                            f"{len(results['seeds'])} seed{'s' * (len(results['seeds']) != 1)}."
                            f"{stale_note(results, book)}")
    return f"*Not measured yet: {name}.*"


def is_page(row: claims.Row, book: Book) -> bool:
    """Whether a row's notebook exists already."""
    return (book.root / "notebooks" / f"{row.notebook}.ipynb").is_file()


def anchors(book: Book, name: str) -> set[str]:
    """The measures whose cell in a notebook can be linked to."""
    notebook = read_json(book.root / "notebooks" / f"{name}.ipynb") or {"cells": []}
    return {found for one in notebook["cells"] for found in measures(one, name, book)}


def measures(one: Mapping[str, Any], name: str, book: Book) -> list[str]:
    """The claims that a cell of a notebook measures: it calls `.measure(` and quotes their ids."""
    text = "".join(one["source"])
    if one["cell_type"] != "code" or ".measure(" not in text:
        return []
    return [row.id for row in book.rows
            if row.notebook == name and re.search(rf"['\"]{row.id}['\"]", text)]
