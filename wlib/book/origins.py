"""When, where and from what a page's numbers came, and how they stand beside recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wlib import claims
from wlib.book.markdown import table, words
from wlib.book.material import Book
from wlib.book.progress import duration

OUTSIDE = "≠ "  # this build's interval and a recorded one do not overlap
SHOWN_VERSIONS = ("python", "torch", "torchvision", "numpy", "scikit-learn", "matplotlib")


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
             ":class: provenance dropdown", ""]
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


def seconds(name: str, book: Book) -> float | None:
    """How long a notebook took in this build; None if nothing says."""
    built = book.built.get(name)
    return (built["provenance"].get("seconds") if built
            else book.runs.get(name, {}).get("seconds"))
