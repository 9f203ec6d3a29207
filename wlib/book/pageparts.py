"""The generated parts of the pages, as MyST Markdown: claims, verdicts, provenance, times, tables.

A chapter asks for a part by a comment, `<!-- wlib: NAME ARGUMENT -->`, alone on a line or inside
one (such as an `:alt:` option). Nothing here reads a clock or writes a file: equal results, equal
pages.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.book import drawings
from wlib.check import require_one_of
from wlib.ground import fingerprint

PART = re.compile(r"<!-- wlib: ([\w-]+) ?([\w-]*) -->")
PAPERS = {"mge": "MGE", "mda": "MDA", "free": "FREE", "d2nwg": "D2NWG"}
CLASSES = {"reproduced": "reproduced", "reproduced, but a control does as well": "control",
           "not reproduced": "not-reproduced", "undecided": "undecided",
           "not measured": "not-measured"}
OUTSIDE = "≠ "  # this build's interval and a recorded one do not overlap
SHOWN_VERSIONS = ("python", "torch", "torchvision", "numpy", "scikit-learn", "matplotlib")


@dataclass(frozen=True)
class Book:
    """What the generated parts are made from: the claims, this build's runs, the recorded ones."""

    root: Path
    profile: str
    rows: list[claims.Row]
    built: dict[str, dict[str, Any]] = field(default_factory=dict)     # notebook -> results
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)  # notebook -> results
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # best first
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)      # notebook -> run record
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)    # results/NAME.json

    @property
    def folder(self) -> Path:
        """Where the profile's executed notebooks and results lie."""
        return self.root / "_build" / self.profile

    @classmethod
    def read(cls, root: Path, profile: str) -> Book:
        """Gather everything for a profile; `ValueError` names a file that is not right."""
        rows = claims.load(root / "book" / "claims.yml")
        names = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
        built = {name: claims.built(name, profile, root) for name in sorted(names)}
        records = {name: claims.records(name, root) for name in sorted(names)}
        runs = read_json(root / "_build" / profile / "runs.json") or {}
        return cls(root, profile, rows,
                   {name: results for name, results in built.items() if results},
                   {name: found[0] for name, found in records.items() if found}, records,
                   {name: run for name, run in runs.get("notebooks", runs).items()
                    if isinstance(run, dict)},
                   {path.stem: read_json(path) for path in (root / "results").glob("*.json")})

    def judged(self, row: claims.Row) -> dict[str, Any] | None:
        """The run a row is judged by: the best recorded one that measured it, else this build's."""
        for runs in (self.recorded, self.built):
            results = runs.get(row.notebook)
            if results and row.id in results["measures"]:
                return results
        return None

    def verdict(self, row: claims.Row) -> claims.Verdict:
        """The computed verdict of a row."""
        results = self.judged(row)
        return claims.judge(row, results["measures"][row.id] if results else None)


def fill(text: str, book: Book) -> str:
    """A chapter's text with every generated part in place; refuses an unknown part."""

    def part(match: re.Match[str]) -> str:
        require_one_of("generated part", match[1], PARTS)
        return PARTS[match[1]](book, match[2])

    return PART.sub(part, text)


def pictures(book: Book) -> dict[str, bytes]:
    """Every drawing of an idea and the picture of the verdicts, as SVG by name."""
    found, own = drawings.svgs(book.root), drawings.load(book.root)
    return found if own is None else found | {"verdicts": own.verdicts(counts(book))}


# ---------------------------------------------------------------- pieces of Markdown
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


def mark(words: str) -> str:
    """A verdict as the whole book shows it: mark, words and color together."""
    return f"[{claims.MARKS[words]} {words}]{{.verdict .verdict-{CLASSES[words]}}}"


def duration(seconds: float) -> str:
    """'4 s', '2 min 5 s', '1 h 12 min'."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def words(interval: claims.Interval | None, unit: str) -> str:
    """An interval in words, or a dash."""
    return "–" if interval is None else interval.words(unit)


def page(name: str) -> str:
    """The path of a notebook's page as chapters link to it."""
    return f"../notebooks/{name}.ipynb"


# ---------------------------------------------------------------- claims
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


def map_links(book: Book, _: str) -> str:
    """Links that lie on the drawn map of the parts: to a part's chapter where it exists, else to
    its claims. They stand in the page's HTML, because a picture's own links are lost in an <img>.
    """
    areas, links = drawings.load(book.root).MAP_AREAS, []
    for paper, name in PAPERS.items():
        here = (book.root / "book" / f"{paper}.md").is_file()
        target, words = ((f"{paper}.html", f"{name}, the chapter") if here
                         else (f"claims.html#claims-{paper}", f"{name}, to come: its claims"))
        if here or any(row.paper == paper for row in book.rows):
            links.append((areas[name], target, words))
    links.append((areas["verdict"], "claims.html", "Compared to what? All claims"))
    lines = [f'<a href="{target}" aria-label="{words}" title="{words}" style="left:{x:.2%};'
             f'top:{y:.2%};width:{width:.2%};height:{height:.2%}"></a>'
             for (x, y, width, height), target, words in links]
    return "\n".join(["```{raw} html", '<nav class="map-links" aria-label="The parts, on the map">',
                      *lines, "</nav>", "```"])


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


# ---------------------------------------------------------------- provenance
def run_words(results: Mapping[str, Any]) -> str:
    """Profile, day, device, time and commit of a run."""
    made = results["provenance"]
    commit = str(made.get("commit") or "")[:8]
    parts = [f"profile {results['profile']}", str(made.get("date", "an unknown day"))[:10],
             f"on {made.get('device', 'an unknown device')} ({made.get('machine', 'unknown')})"]
    if made.get("seconds") is not None:
        parts.append(f"in {duration(made['seconds'])}")
    if commit:
        parts.append(f"commit `{commit}`" + (" with changes on top" if made.get("dirty") else ""))
    return ", ".join(parts)


def stale_note(results: Mapping[str, Any], book: Book) -> str:
    """A warning where the notebook or the library has changed since a recorded run."""
    if results is book.built.get(results["notebook"]) or not claims.is_stale(results, book.root):
        return ""
    return " **The notebook or the library has changed since this run.**"


def provenance(name: str, book: Book) -> str:
    """The box that says when, where and from what the numbers of a notebook's page came."""
    results, spent = book.built.get(name), seconds(name, book)
    took = f" in {duration(spent)}" if spent is not None else ""
    alarm = alarms(name, book)
    lines = [f":::{{admonition}} Executed at profile {book.profile}{took}{alarm}",
             f":class: provenance{'' if alarm else ' dropdown'}", ""]
    if results:
        versions = results["provenance"].get("versions", {})
        shown = ", ".join(f"{package} {versions[package]}" for package in SHOWN_VERSIONS
                          if package in versions)
        lines += [f"- This page's run: {run_words(results)}.",
                  f"- Seeds: {', '.join(map(str, results['seeds']))}.", f"- Versions: {shown}."]
    for index, recorded in enumerate(book.records.get(name, [])):
        judged = ", which the [claims](../book/claims.md) are judged by" if index == 0 else ""
        lines.append(f"- Recorded run{judged}: {run_words(recorded)}.{stale_note(recorded, book)}")
    if book.profile == "smoke":
        lines.append("- **Profile smoke only proves that every cell runs: its numbers mean "
                     "nothing.**")
    return "\n".join([*lines, "", beside_recorded(name, book), ":::"])


def alarms(name: str, book: Book) -> str:
    """What the title of the box must not hide: recorded runs that are stale or do not agree."""
    records, parts = book.records.get(name, []), []
    if any(stale_note(recorded, book) for recorded in records):
        parts.append("a recorded run is older than the code")
    differ = {measure for recorded in records for measure in differing(name, recorded, book)}
    if differ:
        parts.append(f"outside a recorded interval: {', '.join(sorted(differ))}")
    return "".join(f" · {part}" for part in parts)


def differing(name: str, recorded: Mapping[str, Any], book: Book) -> list[str]:
    """Measures of this build whose interval does not overlap that of a recorded run.

    A single seed has no bounds and contradicts nothing; neither do the numbers of profile smoke.
    """
    built = book.built.get(name)
    if built is None or book.profile == "smoke" or built["run"] == recorded["run"]:
        return []
    both = [key for key in built["measures"] if key in recorded["measures"]]
    pairs = [(key, span(built["measures"][key]), span(recorded["measures"][key])) for key in both]
    return [key for key, mine, theirs in pairs if mine.high < theirs.low or theirs.high < mine.low]


def span(measure: Mapping[str, Any]) -> claims.Interval:
    """The interval of a measure's own value."""
    return claims.interval(measure["values"], measure.get("image_se", 0.0))


def beside_recorded(name: str, book: Book) -> str:
    """Each measure of this build beside the same of every recorded run, and the rule that flags."""
    built = book.built.get(name)
    records = [one for one in book.records.get(name, []) if built and one["run"] != built["run"]]
    if not built or not records or not built["measures"]:
        return ""
    flagged = [set(differing(name, recorded, book)) for recorded in records]
    lines = []
    for key, measure in built["measures"].items():
        cells = [OUTSIDE * (key in out) + words(span(recorded["measures"][key]), measure["unit"])
                 if key in recorded["measures"] else "–"
                 for recorded, out in zip(records, flagged, strict=True)]
        lines.append([key, words(span(measure), measure["unit"]), *cells])
    head = ["measure", f"this build, {book.profile}",
            *(f"recorded, {recorded['profile']}" for recorded in records)]
    rule = ("Numbers of profile smoke are not compared." if book.profile == "smoke" else
            f"{OUTSIDE}stands where the intervals of this build and of the recorded run do not "
            "overlap: the built mean lies outside the recorded interval by more than its own "
            "half-width. One seed has no interval and is never marked. Profiles differ in sizes "
            "and seeds, so a difference is a reason to look, not by itself an error.")
    return f"{table(head, lines)}\n\n{rule}\n"


# ---------------------------------------------------------------- notebooks
def refresh(source: Mapping[str, Any], executed: Mapping[str, Any]) -> dict[str, Any]:
    """The executed notebook with the prose and the cell settings of its source.

    A new sentence re-runs nothing, so the executed file may have older prose. `ValueError` if the
    code is not the source's: then the outputs belong to another notebook.
    """
    ran = [one for one in executed["cells"] if one["cell_type"] == "code"]
    injected = [one for one in ran if "injected-parameters" in tags(one)]
    for one in injected:                           # folded: the provenance box names the profile
        one["metadata"]["tags"] = [*tags(one), "hide-input"]
    ran = [one for one in ran if one not in injected]
    own = [one for one in source["cells"] if one["cell_type"] == "code"]
    if [code(one) for one in ran] != [code(one) for one in own]:
        raise ValueError("its code cells have changed since it was executed; run: wlib run --force")
    fresh, cells = copy.deepcopy(dict(source)), []
    for one in fresh["cells"]:
        cells.append(one)
        if one["cell_type"] == "code":
            with_outputs = ran.pop(0)
            one["outputs"] = with_outputs.get("outputs", [])
            one["execution_count"] = with_outputs.get("execution_count")
            if "parameters" in tags(one):
                cells += injected
    return fresh | {"cells": cells, "metadata": executed.get("metadata", {})}


def tags(one: Mapping[str, Any]) -> list[str]:
    """A cell's tags."""
    return one.get("metadata", {}).get("tags", [])


def code(one: Mapping[str, Any]) -> str:
    """What a code cell does, whatever its comments say."""
    return fingerprint.code_fingerprint("".join(one["source"]))


def dress(name: str, notebook: Mapping[str, Any], book: Book) -> bytes:
    """A notebook as it is staged: provenance after its head, an anchor before each measure."""
    cells, headed, seen = [], False, set()
    for one in notebook["cells"]:
        found = [claim for claim in measures(one, name, book) if claim not in seen]
        seen |= set(found)
        cells += [markdown(f"measure-{claim}", f"(measure-{claim})=") for claim in found]
        cells.append(one)
        if one["cell_type"] == "markdown" and not headed:
            cells.append(markdown("provenance", provenance(name, book)))
            headed = True
    return json.dumps(dict(notebook) | {"cells": cells}, indent=1, ensure_ascii=False).encode()


def markdown(name: str, text: str) -> dict[str, Any]:
    """A Markdown cell."""
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


# ---------------------------------------------------------------- times and benchmarks
def seconds(name: str, book: Book) -> float | None:
    """How long a notebook took in this build; None if nothing says."""
    built = book.built.get(name)
    return (built["provenance"].get("seconds") if built
            else book.runs.get(name, {}).get("seconds"))


def timed_title(name: str, book: Book) -> str | None:
    """A notebook's title as the contents show it, '01 · Points (1 min)', rounded up to minutes."""
    notebook = read_json(book.root / "notebooks" / f"{name}.ipynb") or {"cells": []}
    head = "".join(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    found, took = re.match(r"# +(.+)", head), seconds(name, book)
    if found is None or took is None:
        return None
    title = re.sub(r"[*_`$]", "", found[1]).strip()
    return f"{title} ({max(1, math.ceil(took / 60))} min)"


def times(book: Book, _: str) -> str:
    """How long each notebook took in this build and in its recorded run."""
    lines = []
    for path in sorted((book.root / "notebooks").glob("*.ipynb")):
        built, recorded = book.built.get(path.stem), book.recorded.get(path.stem)
        took = seconds(path.stem, book)
        lines.append([f"[{path.stem}]({page(path.stem)})",
                      "–" if took is None else duration(took),
                      built["provenance"].get("device", "–") if built else "–",
                      run_words(recorded) if recorded else "–"])
    head = ["notebook", f"this build, profile {book.profile}", "device", "recorded run"]
    return table(head, lines)


def benchmarks(book: Book, name: str) -> str:
    """The tables of `results/NAME.json`, each under the command that made it."""
    name = name or "benchmarks"
    measured = book.tables.get(name)
    if measured is None:
        return f"*Nothing recorded yet in results/{name}.json.*"
    made = measured.get("provenance", {})
    facts = [str(made[key]) for key in ("date", "machine", "device", "commit") if made.get(key)]
    parts = [f"Measured: {', '.join(facts)}."] if facts else []
    for one in measured["tables"]:
        head = list(dict.fromkeys(key for row in one["rows"] for key in row))
        parts.append(f"### {one['title']}\n\nCommand: `{one['command']}`\n\n"
                     + table(head, [[number(row.get(key, "–")) for key in head]
                                    for row in one["rows"]]))
    return "\n\n".join(parts)


def number(value: Any) -> str:
    """A table's entry: numbers to three digits, everything else as it is."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def alt(book: Book, name: str) -> str:
    """The alt text of a drawing, computed for the picture of the verdicts."""
    own = drawings.load(book.root)
    if own is not None and name == "verdicts":
        return own.verdicts_alt(counts(book))
    return drawings.alt(book.root, name)


def read_json(path: Path, damaged: Any = None) -> Any:
    """A JSON file's content, None where there is no such file.

    `ValueError` if it is not JSON, unless there is a value for `damaged` files.
    """
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        if damaged is not None:
            return damaged
        raise ValueError(f"{path}: not valid JSON: {error}") from error


PARTS: dict[str, Callable[[Book, str], str]] = {
    "alt": alt, "benchmarks": benchmarks, "claims-rows": claims_rows, "claims-table": claims_table,
    "map-links": map_links, "measured": measured, "times": times,
    "verdict-summary": verdict_summary,
}
