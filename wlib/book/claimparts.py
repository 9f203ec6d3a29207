"""The parts of pages on claims: the overview, each claim in full, what a notebook measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from wlib import claims
from wlib.book import effects
from wlib.book.markdown import mark, marks, page, table, words
from wlib.book.material import SECOND_DATA, Book, read_json
from wlib.book.origins import run_words, stale_note
from wlib.check import require_one_of

PAPERS = {"mge": "MGE", "mda": "MDA", "free": "FREE", "d2nwg": "D2NWG"}
OWN, SECOND = "as in the notebooks", f"on {SECOND_DATA}"    # the data sets, as the pages say it
EFFECT = "effect [and the advantage over the closest control]{.figure}"


def answers(book: Book, second: bool = False) -> dict[str, list[tuple[str, str]]]:
    """Both answers to each claim, by paper, in the order of the answers; those on the `second`
    data set where a recorded run has them."""
    found = {}
    for paper, title in PAPERS.items():
        verdicts = [book.again(row) if second else book.verdict(row)
                    for row in book.rows if row.paper == paper]
        if pairs := [one.answers for one in verdicts if one is not None]:
            found[title] = sorted(pairs, key=place)
    return found


def place(pair: Iterable[str]) -> list[int]:
    """Where a pair of answers stands among all, for sorting."""
    return [[*known].index(words)
            for (_, known), words in zip(claims.QUESTIONS.values(), pair, strict=True)]


def verdict_summary(book: Book, _: str) -> str:
    """How many claims of each paper have which answer: a table per question."""
    found = answers(book)
    parts = []
    for number, (question, (title, known)) in enumerate(claims.QUESTIONS.items()):
        head = [title, *(f"[{paper}](#claims-{paper.lower()})" for paper in found), "all"]
        lines = []
        for answer in known:
            counts = [[pair[number] for pair in pairs].count(answer) for pairs in found.values()]
            lines.append([mark(question, answer), *counts, sum(counts)])
        parts.append(table(head, lines if found else [], "answers"))
    return "\n\n".join(parts)


def both_countings(book: Book, _: str) -> str:
    """Each pair of answers with the single verdict of before, how many claims have both and which;
    then how many claims had each single verdict."""
    found = {row.id: book.verdict(row) for row in book.rows}
    kinds = sorted({(one.answers, one.words) for one in found.values()},
                   key=lambda kind: (place(kind[0]), claims.VERDICTS.index(kind[1])))
    lines = []
    for pair, old in kinds:
        which = [f"[{name}](#claim-{name})" for name, one in found.items()
                 if (one.answers, one.words) == (pair, old)]
        lines.append([*map(mark, claims.QUESTIONS, pair), old, len(which), ", ".join(which)])
    olds = [one.words for one in found.values()]
    totals = [["**all**", "", old, olds.count(old), ""] for old in claims.VERDICTS]
    head = [*(title for title, _ in claims.QUESTIONS.values()), "in one word", "claims", "which"]
    return table(head, lines + totals if lines else [], "answers")


def claims_table(book: Book, only: str) -> str:
    """All claims, or those of one paper, one line each with both answers, a table per paper."""
    require_one_of("paper", only or "mge", PAPERS)
    head = ["id", "holds?", "a simpler way?",
            "the paper says [its figure, how sure we are of it, whose comparison]{.figure}",
            EFFECT]
    parts = []
    for paper, title in PAPERS.items():
        lines = [claim_line(row, book) for row in book.rows
                 if row.paper == paper and only in ("", paper)]
        if lines:
            parts += [] if only else [f"```{{rubric}} {title}\n```"]
            parts += [table(head, lines, f"claims paper-{paper}")]
    return "\n\n".join(parts)


def claim_line(row: claims.Row, book: Book) -> list[str]:
    """A claim's line in the overview; below each answer that on the second data set, if any."""
    verdicts = [book.verdict(row)] + ([again] if (again := book.again(row)) else [])
    cells = [[mark("holds", one.holds), mark("simpler", one.simpler), effect(row, one)]
             for one in verdicts]
    holds, simpler, pictures = (f" [{SECOND}]{{.figure}} ".join(column)
                                for column in zip(*cells, strict=True))
    return [f"[{row.id}](#claim-{row.id})", holds, simpler,
            f"{row.claim} [{row.figure} ({row.source}; {COMPARISON[row.whose]})]{{.figure}}",
            pictures]


def effect(row: claims.Row, verdict: claims.Verdict) -> str:
    """A picture of what the rule asks for, in words, and the advantage over the closest control."""
    if verdict.rule_interval is None:
        return ""
    return (f"{effects.picture(row, verdict.rule_interval)} "
            f"[{words(verdict.rule_interval, row.unit)}]{{.figure}} "
            f"[{words(verdict.advantage_interval, row.unit)} over "
            f"{verdict.best_control}]{{.figure}}")


def claims_rows(book: Book, _: str) -> str:
    """Every claim with all that its answers rest on, paper by paper, each in a fold."""
    parts = []
    for paper, title in PAPERS.items():
        mine = [row for row in book.rows if row.paper == paper]
        if mine:
            parts += [f"(claims-{paper})=\n## {title}", *(claim(row, book) for row in mine)]
    return "\n\n".join(parts)


def claim(row: claims.Row, book: Book) -> str:
    """One claim: paper, figure, measure, rule, answers, the rivals one by one, where it was run."""
    verdict, results = book.verdict(row), book.judged(row)
    facts = {
        "The paper says": row.claim,
        "Its figure": f"{row.figure} ({row.source})",
        "Whose comparison": WHOSE[row.whose],
        "Does it hold?": f"{mark('holds', verdict.holds)} {verdict.why_holds}.",
        "Is a simpler way as good?":
            f"{mark('simpler', verdict.simpler)} {verdict.why_simpler}.",
        "In one word": verdict.words,
        "Our measure": f"{row.measure} ({row.unit}, {row.better} is better)",
        "Rule": f"{row.rule.words(row.unit)}; margin {row.margin:g} {row.unit}",
        "Controls": ", ".join(row.controls),
        "Shown beside": ", ".join(row.references),
        "Remark": row.remark,
        "Judged by": judged_by(row, results, book),
        f"On {SECOND_DATA}": on_second(row, book),
        "This build": beside(row, results, book),
    }
    lines = "\n".join(f"{name}\n: {' '.join(text.split())}\n"
                      for name, text in facts.items() if text)
    rivals = comparison(row.unit, results["measures"][row.id]) if results else ""
    return (f":::{{dropdown}} Claim {row.id} {marks(verdict)}\n:name: claim-{row.id}\n"
            f":class-container: claim\n\n{lines}\n{rivals}".rstrip() + "\n:::")


COMPARISON = {"paper": "the paper’s comparison", "user": "a user’s comparison"}
WHOSE = {"paper": "the paper’s own: its rivals, its setting",
         "user": "a user’s: what else one could do; the paper does not claim it"}


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


def on_second(row: claims.Row, book: Book) -> str:
    """Both answers on the second data set, and the run that they rest on."""
    again = book.again(row)
    if again is None:
        return ""
    results = book.second[row.notebook]
    return (f"{marks(again)} {again.why_holds}; {again.why_simpler}. {run_words(results)}, "
            f"{len(results['seeds'])} seeds.{stale_note(results, book)}")


def two_data_sets(book: Book, paper: str) -> str:
    """The claims of a paper whose answers differ between the data sets, a line for each set."""
    require_one_of("paper", paper, PAPERS)
    both = [(row, book.verdict(row), again) for row in book.rows
            if row.paper == paper and (again := book.again(row))]
    if not both:
        return "*No recorded run on a second data set yet.*"
    differ = [one for one in both if one[1].answers != one[2].answers]
    lines = [[f"[{row.id}](#claim-{row.id})" if where == OWN else "", where,
              mark("holds", verdict.holds), mark("simpler", verdict.simpler), effect(row, verdict)]
             for row, *pair in differ for where, verdict in zip((OWN, SECOND), pair, strict=True)]
    head = ["id", "data", "holds?", "a simpler way?", EFFECT]
    said = (f"Both answers are the same on both data sets for {len(both) - len(differ)} of "
            f"{len(both)} claims.")
    return f"{said} The others:\n\n{table(head, lines, 'claims')}" if differ else said


def beside(row: claims.Row, results: dict[str, Any] | None, book: Book) -> str:
    """The measure in this build's own run, where a recorded one was judged."""
    mine = book.built.get(row.notebook)
    if mine is None or mine is results or row.id not in mine["measures"]:
        return ""
    verdict = claims.judge(row, mine["measures"][row.id])
    return (f"{words(verdict.value_interval, row.unit)} at profile {mine['profile']}, by itself "
            f"{marks(verdict)}")


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
                    return (f"{comparison(measure['unit'], measure)}\n\n"
                            f"{source(notebook, results, len(results['seeds']), book)}")
    return f"*Not measured yet: {name}.*"


def source(notebook: str, results: Mapping[str, Any], seeds: int, book: Book) -> str:
    """Where numbers come from: the notebook, its run, and over how many seeds."""
    return (f"[{notebook}]({page(notebook)}), {run_words(results)}, {seeds} "
            f"seed{'s' * (seeds != 1)}.{stale_note(results, book)}")


ALONG = re.compile(r"(.+) by (width|generation|rate), (\w+)")    # a setting: arm -> place -> values


def along(book: Book, notebook: str) -> str:
    """What a notebook kept of its figures over widths, generations or rates, a table each: arms by
    places, one value a seed, from the recorded run, else from this build."""
    for results in filter(None, (runs.get(notebook) for runs in (book.recorded, book.built))):
        kept = [(match, arms) for name, arms in results["settings"].items()
                if (match := ALONG.fullmatch(name))]
        if kept:
            seeds = len(next(iter(next(iter(kept[0][1].values())).values())))
            return "\n\n".join([*(_along(match, arms) for match, arms in kept),
                                source(notebook, results, seeds, book)])
    return f"*Not measured yet: figures of {notebook}.*"


def _along(match: re.Match[str], arms: Mapping[str, Mapping[str, list[float]]]) -> str:
    what, kind, unit = match.groups()
    places = sorted({place for of in arms.values() for place in of}, key=float)
    lines = [[arm, *(claims.interval(of[place]).words() if place in of else "–"
                     for place in places)] for arm, of in arms.items()]
    return table([f"{what}, {unit}", *(f"{kind} {place}" for place in places)], lines)


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
