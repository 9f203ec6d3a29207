"""The generated parts of the pages, as MyST Markdown: claims, verdicts, provenance, times, tables.

A chapter asks for a part by a comment, `<!-- wlib: NAME ARGUMENT -->`, alone on a line or inside
one (such as an `:alt:` option). Nothing here reads a clock or writes a file: equal results, equal
pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wlib.book import drawings
from wlib.book.claimparts import (
    PAPERS,
    along,
    answers,
    both_countings,
    claims_rows,
    claims_table,
    measured,
    two_data_sets,
    verdict_summary,
)
from wlib.book.markdown import number, page, table
from wlib.book.material import Book
from wlib.book.origins import run_words, seconds
from wlib.book.progress import duration
from wlib.check import require_one_of

PART = re.compile(r"<!-- wlib: ([\w-]+) ?([\w-]*) -->")


def fill(text: str, book: Book) -> str:
    """A chapter's text with every generated part in place; refuses an unknown part."""

    def part(match: re.Match[str]) -> str:
        require_one_of("generated part", match[1], PARTS)
        return PARTS[match[1]](book, match[2])

    return PART.sub(part, text)


def pictures(book: Book) -> dict[str, bytes]:
    """Every drawing of an idea and the picture of the verdicts, as SVG by name."""
    found, own = drawings.svgs(book.root), drawings.load(book.root)
    return found if own is None else found | {"verdicts": own.verdicts(*both_answers(book))}


def both_answers(book: Book) -> tuple[dict, dict]:
    """The answers to all claims, and those on the second data set."""
    return answers(book), answers(book, second=True)


def map_links(book: Book, _: str) -> str:
    """Links that lie on the drawn map of the parts: to a part's chapter where it exists, else to
    its claims. They stand in the page's HTML, because a picture's own links are lost in an <img>.
    """
    own = drawings.load(book.root)
    if own is None:
        raise ValueError("map-links: got a book without drawings, want the map in book/drawings")
    areas, links = own.MAP_AREAS, []
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


def alt(book: Book, name: str) -> str:
    """The alt text of a drawing, computed for the picture of the verdicts."""
    own = drawings.load(book.root)
    if own is not None and name == "verdicts":
        return own.verdicts_alt(*both_answers(book))
    return drawings.alt(book.root, name)


PARTS: dict[str, Callable[[Book, str], str]] = {
    "along": along, "alt": alt, "benchmarks": benchmarks, "both-countings": both_countings,
    "claims-rows": claims_rows, "claims-table": claims_table,
    "map-links": map_links, "measured": measured, "times": times,
    "two-data-sets": two_data_sets, "verdict-summary": verdict_summary,
}
