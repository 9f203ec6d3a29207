"""Weigh, time and examine the built pages: what *Benchmarks and limits* says of them.

    .venv/bin/python benchmarks/pages.py      # a few minutes; writes results/pages.json

Reads the pages of a profile (laptop unless one is given) in a browser, as the tests do, then builds
them again: from nothing, after one sentence was added to one chapter, and unchanged. The tree is
copied for this, so nothing of yours is touched.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import browser as chrome  # noqa: E402
from recorded import record  # noqa: E402

from wlib.book import pages  # noqa: E402

CHAPTER = "book/mge.md"  # the longest one
IMPACTS = ("critical", "serious", "moderate", "minor")


def read(folder: Path) -> dict[str, list[chrome.Visit]]:
    """Every page of the contents in every theme."""
    names = pages.toc_pages(ROOT / "_toc.yml")
    with chrome.serve(folder) as site, chrome.browser() as program:
        tabs = [chrome.Tab.open(program, site, theme) for theme in chrome.THEMES]
        return {name: chrome.read(f"{name}.html", *tabs) for name in names}


def weights(visits: dict[str, list[chrome.Visit]]) -> list[dict]:
    """A row per page, the heaviest first."""
    rows = [{"page": name, "kB": light.own / 1000, "shared, cached: kB": light.shared / 1000,
             "share of the budget": f"{light.own / chrome.BUDGET:.0%}"}
            for name, (light, *_) in visits.items()]
    return sorted(rows, key=lambda row: -row["kB"])


def accessibility(visits: dict[str, list[chrome.Visit]]) -> list[dict]:
    """How many kinds of violations axe finds on how many pages, by theme and impact."""
    rows = []
    for index, theme in enumerate(chrome.THEMES):
        found = [(name, finding) for name, both in visits.items() for finding in both[index].axe]
        for impact in IMPACTS:
            mine = [(name, finding["id"]) for name, finding in found if finding["impact"] == impact]
            kinds = Counter(rule for _, rule in mine)
            rows.append({"theme": theme, "impact": impact, "pages": len({name for name, _ in mine}),
                         "rules": ", ".join(sorted(kinds)) or "none"})
    return rows


def loud(visits: dict[str, list[chrome.Visit]]) -> list[dict]:
    """What a reader would notice: errors, foreign requests, sideways scrolling, by theme."""
    return [{"theme": theme, "pages": len(visits),
             "errors and foreign requests": sum(len(both[index].noise) for both in visits.values()),
             "wider than a window of 375, 640 or 1280 px": sum(bool(both[index].wide)
                                                               for both in visits.values()),
             "over 1 MB": sum(bool(both[index].overweight()) for both in visits.values())}
            for index, theme in enumerate(chrome.THEMES)]


def times(profile: str, repeats: int) -> list[dict]:
    """Seconds of `wlib build` in a copy of the tree: medians and extremes over repeats."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "book"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(
            ".git", ".venv", "html*", "sphinx", "stage", "screenshots", "__pycache__", "work"))
        chapter, built = copy / CHAPTER, copy / "_build" / profile
        text = chapter.read_text(encoding="utf8")

        def nothing_kept(_: int) -> None:
            for name in ("html", "sphinx", "stage"):
                shutil.rmtree(built / name, ignore_errors=True)

        def one_changed(index: int) -> None:
            chapter.write_text(f"{text}\nSentence {index}.\n", encoding="utf8")

        cases = {"from nothing": nothing_kept, "one chapter changed": one_changed,
                 "nothing changed": lambda _: None}
        rows = []
        for what, prepare in cases.items():
            seconds = []
            for index in range(repeats):
                prepare(index)
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", BUILD, str(copy), profile], cwd=copy,
                               check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - start)
            rows.append({"build": what, "median s": statistics.median(seconds),
                         "fastest s": min(seconds), "slowest s": max(seconds), "runs": repeats})
            print(rows[-1], flush=True)
    return rows


# The pages alone: whether the notebooks are up to date is the runner's question.
BUILD = "import sys; sys.path.insert(0, sys.argv[1]); from wlib.book import pages; " \
        "pages.build(sys.argv[2], root=sys.argv[1])"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    html = ROOT / "_build" / given.profile / "html"
    if not (html / "index.html").is_file():
        sys.exit(f"no pages in {html}; run: wlib build --profile {given.profile}")
    if chrome.chromium() is None:
        sys.exit(chrome.HOW_TO_GET_IT)
    visits = read(html)
    command = "python benchmarks/pages.py" + (
        "" if given.profile == "laptop" else f" --profile {given.profile}")
    tables = [{"title": title, "command": command, "rows": rows} for title, rows in (
        (f"Weight of the {len(visits)} pages, profile {given.profile}", weights(visits)),
        ("What a reader would notice", loud(visits)),
        ("What axe-core finds", accessibility(visits)),
        ("Building the pages", times(given.profile, given.repeats)))]
    for table in tables:
        print(table["title"], *table["rows"], sep="\n  ")
    record("pages", tables)


if __name__ == "__main__":
    main()
