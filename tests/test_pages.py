"""The pages: what they refuse, what is generated into them, and the book built from a smoke run."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import toybook
import yaml
from bs4 import BeautifulSoup
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from wlib import claims, mda
from wlib.book import (
    claimparts,
    cli,
    drawings,
    effects,
    material,
    origins,
    pagecheck,
    pageparts,
    pages,
    progress,
    staging,
)
from wlib.book.pagecheck import PageError
from wlib.claims.staleness import notebook_fingerprint

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "book").glob("*.md"))
draw = drawings.load(ROOT)


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf8")


def findings(html: str, tmp_path: Path) -> list[str]:
    """What is wrong with a page of this body."""
    (tmp_path / "page.html").write_text(f"<html><body>{html}</body></html>", encoding="utf8")
    return pagecheck.html_problems(tmp_path)


@pytest.fixture
def toy(tmp_path):
    """The toy book, executed at profile laptop and not yet built."""
    return toybook.make(tmp_path / "toy")


# ---------------------------------------------------------------- what staging refuses
def refused(root: Path, words: str, profile: str = "laptop") -> None:
    """Staging must fail with these words, and leave nothing behind."""
    with pytest.raises(PageError, match=words):
        pages.build(profile, root=root)
    assert not (root / "_build" / profile / "stage").exists()
    assert not (root / "_build" / profile / "html").exists()


def test_notebook_not_executed_is_refused(toy):
    (toy / "_build/laptop/executed/01-toy.ipynb").unlink()
    refused(toy, "01-toy: not executed at profile laptop; run: wlib run 01-toy --profile laptop")


def test_notebook_page_without_outputs_is_refused(toy):
    path = toy / "_build/laptop/executed/01-toy.ipynb"
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        cell |= {"outputs": []} if cell["cell_type"] == "code" else {}
    path.write_text(json.dumps(notebook))
    refused(toy, "01-toy: a notebook page without outputs")


def test_partly_executed_notebook_is_refused(toy):
    path = toy / "_build/laptop/executed/01-toy.ipynb"
    edit(path, '"execution_count": 4', '"execution_count": null')
    refused(toy, "01-toy: code cell 4 was not executed")


def test_notebook_with_an_error_is_refused():
    notebook = toybook.notebook()
    notebook["cells"][3]["outputs"] = [{"output_type": "error", "ename": "KeyError"}]
    assert pagecheck.notebook_problems("01", notebook) == ["01: an output is the error KeyError"]


@pytest.mark.parametrize("output, path", [
    ({"output_type": "stream", "name": "stderr", "text": "Matplotlib created a temporary cache "
      "directory at /tmp/matplotlib-x1 because there was an issue"}, "/tmp/matplotlib-x1"),
    ({"output_type": "stream", "name": "stderr", "text": ["a\n", "/a b/ipykernel_41/12.py:3: W"]},
     "b/ipykernel_41/12.py:3:"),
    ({"output_type": "execute_result", "data": {"text/plain": "PosixPath('/home/me/x')"}},
     "/home/me/x"),
    ({"output_type": "display_data", "data": {"text/html": [f"<p>{sys.prefix}/lib/x.py</p>"]}},
     f"{sys.prefix}/lib/x.py")])
def test_a_path_of_one_machine_is_refused(output, path):
    notebook = toybook.notebook()
    notebook["cells"][3]["outputs"] = [output]
    assert pagecheck.notebook_problems("01", notebook) == [
        f"01: code cell 3 shows a path of this machine: {path}"]


def test_what_only_looks_like_a_path_of_one_machine_may_stand():
    notebook = toybook.notebook()
    text = ("1/2, and/or, </home/x>, https://example.org/home/x, book/tmp/x, "
            "<img src='data:image/png;base64,AA+/tmp/AAAA='>")
    notebook["cells"][3]["outputs"] = [
        {"output_type": "display_data", "data": {"text/html": text, "image/png": "+/tmp/AA"}}]
    assert pagecheck.notebook_problems("01", notebook) == []


def test_code_changed_since_execution_is_refused(toy):
    edit(toy / "notebooks/01-toy.ipynb", "print(42)", "print(43)")
    refused(toy, "01-toy: its code cells have changed")


def test_orphan_chapter_and_orphan_notebook_are_refused(toy):
    (toy / "book/lost.md").write_text("# Lost\n")
    refused(toy, "book/lost: orphan page")
    (toy / "book/lost.md").rename(toy / "notebooks/02-lost.ipynb")
    refused(toy, "notebooks/02-lost: orphan page")


def test_page_in_the_contents_without_a_file_is_refused(toy):
    edit(toy / "_toc.yml", "book/claims", "book/claim")
    refused(toy, "book/claim: in _toc.yml, but there is no such file")


def test_unknown_generated_part_names_the_nearest(toy):
    edit(toy / "book/claims.md", "claims-table", "claim-table")
    refused(toy, "book/claims.md: generated part: .* did you mean 'claims-table'")


def test_unknown_profile_names_the_nearest(toy):
    with pytest.raises(ValueError, match="profile: .*did you mean 'laptop'"):
        pages.build("labtop", root=toy)


# ---------------------------------------------------------------- what the built HTML refuses
@pytest.mark.parametrize("html", [
    '<script src="https://cdn.example.org/x.js"></script>',
    '<script src="//cdn.example.org/x.js"></script>',
    '<script>const url = "https://cdn.example.org/x.js"</script>',
    '<link rel="stylesheet" href="https://cdn.example.org/x.css">',
    '<link rel="preconnect" href="https://fonts.example.org">',
    '<img alt="A finding." src="https://example.org/x.png">',
    '<img alt="A finding." src="x.png" srcset="x.png, https://example.org/y.png 2x">',
    '<iframe src="https://example.org"></iframe>',
    '<style>@import "https://example.org/x.css";</style>',
    '<style>body { background: url(https://example.org/x.png) }</style>',
    '<p style="background: url(\'//example.org/x.png\')">text</p>',
])
def test_foreign_address_is_found(html, tmp_path):
    assert any("foreign address" in found for found in findings(html, tmp_path))


def test_foreign_address_in_a_style_sheet_is_found(tmp_path):
    style = "/* url(https://a.org/no.css) */ a { background: url(//b.org/x) }"
    (tmp_path / "own.css").write_text(style)
    assert findings("", tmp_path) == ["own.css: style fetches //b.org/x"]


@pytest.mark.parametrize("html", [
    '<a href="https://example.org">a link that the reader clicks</a>',
    '<link rel="canonical" href="https://example.org">',
    '<script type="application/json">{"see": "https://example.org"}</script>',
    '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    '<img alt="The finding." src="data:image/png;base64,AA==">',
])
def test_own_origin_and_links_are_fine(html, tmp_path):
    assert findings(html, tmp_path) == []


@pytest.mark.parametrize("html", [
    '<img src="x.png">', '<img alt="" src="x.png">', '<img alt="a b c.svg" src="y">',
    '<img alt="_images/x.png" src="../_images/x.png">', '<object data="x.svg"></object>'])
def test_image_without_alt_text_is_found(html, tmp_path):
    assert any("without" in found for found in findings(html, tmp_path))


def test_what_is_known_of_unchanged_pages_is_used_and_nothing_else(tmp_path, monkeypatch):
    known = {"of a page that is gone": [[], [], []]}
    (tmp_path / "a.html").write_text('<p id="here">x</p><img src="x.png">')
    (tmp_path / "b.html").write_text('<a href="a.html#here">x</a>')
    first = pagecheck.html_problems(tmp_path, known)
    assert first == ["a.html: image without alt text: x.png"] and len(known) == 2
    read = []
    parse = pagecheck.parse
    monkeypatch.setattr(pagecheck, "parse", lambda path: read.append(path.name) or parse(path))
    known = json.loads(json.dumps(known))
    assert pagecheck.html_problems(tmp_path, known) == first and read == []
    (tmp_path / "a.html").write_text('<p id="there">x</p>')  # what b links to is gone
    assert pagecheck.html_problems(tmp_path, known) == ["b.html: dead anchor: a.html#here"]
    assert read == ["a.html"]


def test_dead_link_and_dead_anchor_are_found(tmp_path):
    body = ('<a href="gone.html">x</a> <a href="#gone">x</a> <a href="page.html#here">x</a>'
            '<a href="../outside.html">x</a> <p id="here">x</p> <a href="#">x</a>')
    assert findings(body, tmp_path) == [
        "page.html: dead link: gone.html", "page.html: dead anchor: #gone",
        "page.html: dead link: ../outside.html"]


class Host(http.server.BaseHTTPRequestHandler):
    """A host whose paths are the statuses it answers with; it knows no HEAD for /get."""

    def do_GET(self):
        head = self.command == "HEAD"
        status = 405 if head else 200
        if self.path != "/get":
            status = int(self.path.strip("/"))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_outer_links_are_followed_and_only_dead_ones_refused(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    names = ("200", "get", "404#part", "410", "403", "503")
    body = "".join(f'<a href="{site}/{name}">x</a>' for name in names)
    body += '<a href="inner.html">x</a><a href="#here">x</a><a href="mailto:a@b.org">x</a>'
    body += '<a href="http://nowhere.invalid/">x</a><a href="http://127.0.0.1:1/">x</a>'
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    try:
        dead, unsure = pagecheck.dead_outer_links(tmp_path, limit=5)
    finally:
        server.shutdown()
        server.server_close()
    assert dead == [f"page.html: {site}/404: status 404", f"page.html: {site}/410: status 410",
                    f"page.html: http://nowhere.invalid/: {pagecheck.NO_HOST}"]
    assert unsure[:2] == [f"page.html: {site}/{code}: status {code}" for code in (403, 503)]
    assert len(unsure) == 3 and "127.0.0.1:1/: no answer" in unsure[2]


def test_check_links_fails_for_a_dead_link_and_notes_the_rest(toy, monkeypatch):
    monkeypatch.setattr(claims, "project_root", lambda: toy)
    runner = CliRunner()
    refusal = runner.invoke(cli.app, ["check", "--links"])
    assert refusal.exit_code == 2 and "run: wlib build" in refusal.stderr
    index = toy / "_build/laptop/html/index.html"
    index.parent.mkdir(parents=True)
    index.write_text("<p>none</p>")
    found = ["a dead one"], ["a shy one"]
    monkeypatch.setattr(pagecheck, "dead_outer_links", lambda folder: found)
    said = runner.invoke(cli.app, ["check", "--links"])
    assert said.exit_code == 1
    assert "WRONG: a dead one" in said.stdout and "note: a shy one: look" in said.stdout


# ---------------------------------------------------------------- one setting for the repository
def test_no_repository_no_links_to_one(toy):
    settings = yaml.safe_load(pages.config(toy, "laptop"))
    assert settings["repository"]["url"] == "" and "binderhub_url" not in settings["launch_buttons"]
    assert not any(settings["html"][button] for button in pages.REPOSITORY_BUTTONS)


def test_a_repository_s_address_brings_links_to_edit_and_launch(toy):
    edit(toy / "_config.yml", 'url: ""', 'url: "https://github.com/someone/weights"')
    settings = yaml.safe_load(pages.config(toy, "laptop"))
    assert all(settings["html"][button] is True for button in pages.REPOSITORY_BUTTONS)
    assert settings["launch_buttons"]["binderhub_url"] == pages.BINDER


# ---------------------------------------------------------------- times in the contents
def test_contents_say_how_long_a_notebook_takes(toy):
    toc = yaml.safe_load(pages.contents(toy, material.Book.read(toy, "laptop")))
    chapters = toc["parts"][0]["chapters"]
    assert chapters == [{"file": "notebooks/01-toy", "title": "A toy notebook (2 min)"},
                        {"file": "book/claims"}]
    (toy / "_build/laptop/results/01-toy.json").unlink()
    toc = yaml.safe_load(pages.contents(toy, material.Book.read(toy, "laptop")))
    assert toc["parts"][0]["chapters"][0] == {"file": "notebooks/01-toy"}


# ---------------------------------------------------------------- what is generated
def test_prose_changed_since_execution_is_shown_without_a_new_run():
    executed, source = toybook.notebook(), toybook.notebook()
    del source["cells"][2]  # what papermill injected
    source["cells"][0]["source"] = "# A new title"
    source["cells"][2]["source"] = "print(42)  # with another comment"
    fresh = staging.refresh(source, executed)["cells"]
    assert fresh[0]["source"] == "# A new title"
    assert fresh[2]["source"] == "seeds = [0, 1]"
    assert fresh[2]["metadata"]["mystnb"]["code_prompt_show"] == "Show the parameters of this build"
    assert fresh[3]["outputs"] == executed["cells"][3]["outputs"]


def test_notebook_gets_provenance_and_an_anchor_for_its_measure(toy):
    book = material.Book.read(toy, "laptop")
    cells = json.loads(staging.dress("01-toy", toybook.notebook(), book))["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert "Executed at profile laptop in 1 min 15 s" in sources[1]
    assert all(word in sources[1] for word in ("2026-01-02", "01234567", "torch 2.14.1", "0, 1, 2"))
    assert sources[-2:] == ["(measure-T1)=", "report.measure('T1', 1)"]
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)


def test_recorded_run_is_judged_and_the_built_one_shown_beside(toy):
    recorded = toy / "results/study/01-toy.json"
    recorded.parent.mkdir(parents=True)
    recorded.write_text(claims.dumps(toybook.results("study", shift=-3.0)))
    book = material.Book.read(toy, "laptop")
    row = book.rows[0]
    assert book.judged(row)["profile"] == "study"
    assert book.verdict(row).holds == "no"
    text = claimparts.claim(row, book)
    assert "profile study" in text and "at profile laptop, by itself [✔ yes]" in text
    assert "has changed since this run" in text


def with_recorded(root, profile="study", fingerprint=None, **changes):
    """The toy book with one more recorded run; its fingerprint is today's unless one is given."""
    recorded = toybook.results(profile, **changes) | {"run": f"recorded at {profile}"}
    path = root / "notebooks/01-toy.ipynb"
    recorded["fingerprint"] = fingerprint or notebook_fingerprint(
        path, {}, installed=recorded["provenance"]["versions"])
    path = root / f"results/{profile}/01-toy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(claims.dumps(recorded))
    return material.Book.read(root, "laptop")


def test_answers_on_a_second_data_set_stand_below_the_first_and_are_not_counted_with_them(toy):
    book = with_recorded(toy)
    row, = book.rows
    assert claimparts.two_data_sets(book, "mge") == "*No recorded run on a second data set yet.*"
    assert "Fashion" not in claimparts.claims_table(book, "") + claimparts.claim(row, book)
    first = claimparts.answers(book)
    same = with_recorded(toy, "study-fashion")
    assert claimparts.two_data_sets(same, "mge") == (
        "Both answers are the same on both data sets for 1 of 1 claims.")
    book = with_recorded(toy, "study-fashion", shift=-9.0)
    assert claimparts.answers(book) == first == {"MGE": [("yes", "ahead")]}
    assert claimparts.answers(book, second=True)["MGE"][0][0] == "no"
    line = claimparts.claim_line(row, book)
    assert line[1].index("✔ yes") < line[1].index("on Fashion-MNIST") < line[1].index("✘ no")
    assert line[4].count("<svg") == 2
    differ = claimparts.two_data_sets(book, "mge")
    assert "for 0 of 1 claims. The others:" in differ and differ.count("[T1](#claim-T1)") == 1
    told = claimparts.claim(row, book)
    assert "On Fashion-MNIST\n: [✘ no]" in told


def test_recorded_runs_stand_beside_this_build_on_the_notebook_s_page(toy):
    with_recorded(toy, "laptop", shift=0.5)
    box = origins.provenance("01-toy", with_recorded(toy, shift=-0.5))
    assert "| measure | this build, laptop | recorded, study | recorded, laptop |" in box
    row = next(line for line in box.splitlines() if line.startswith("| T1"))
    assert row.count("±") == 3 and "≠" not in row
    assert "profile study" in box and "do not overlap" in box
    assert "older" not in box and "changed since" not in box and "dropdown" in box


def test_a_build_outside_a_recorded_interval_is_flagged_in_the_title(toy):
    box = origins.provenance("01-toy", with_recorded(toy, shift=-9.0))
    assert "outside a recorded interval: T1" in box.splitlines()[0]  # seen though it is folded
    assert re.search(r"\| T1 \| 93\.6 ± [\d.]+ points \| ≠ 84\.6 ± ", box)


def test_the_flag_goes_up_exactly_where_the_intervals_part(toy):
    half = [origins.span(toybook.results()["measures"]["T1"])]
    widths = half[0].high - half[0].low  # both runs have this interval, one of them shifted
    for shift, parted in ((widths - 0.01, False), (widths + 0.01, True), (-widths - 0.01, True)):
        book = with_recorded(toy, shift=shift)
        assert bool(origins.differing("01-toy", book.records["01-toy"][0], book)) is parted


def test_a_recorded_run_older_than_the_code_says_so_in_the_title(toy):
    box = origins.provenance("01-toy", with_recorded(toy, fingerprint="of yesterday"))
    assert "a recorded run is older than the code" in box.splitlines()[0]
    assert "has changed since this run" in box
    book = with_recorded(toy)
    assert "older" not in origins.provenance("01-toy", book)
    edit(toy / "notebooks/01-toy.ipynb", "print(42)", "print(43)")
    assert "older" in origins.provenance("01-toy", material.Book.read(toy, "laptop"))


def test_smoke_one_seed_and_the_recorded_run_itself_are_not_flagged(tmp_path):
    smoke = toybook.make(tmp_path / "smoke", profile="smoke")
    with_recorded(smoke, shift=-9.0)
    box = origins.provenance("01-toy", material.Book.read(smoke, "smoke"))
    assert "≠" not in box and "not compared" in box and "outside" not in box
    one = toybook.results()
    one["measures"]["T1"] |= {"values": [1.0]}
    book = with_recorded(smoke, shift=-9.0)
    book.built["01-toy"] = one
    assert origins.differing("01-toy", book.records["01-toy"][0], book) == []
    same = toybook.results("laptop")
    book.built["01-toy"], book.records["01-toy"] = same, [same]
    assert "≠" not in origins.provenance("01-toy", book)
    assert "recorded, laptop" not in origins.provenance("01-toy", book)


def test_claim_without_a_run_is_not_measured(toy):
    (toy / "_build/laptop/results/01-toy.json").unlink()
    book = material.Book.read(toy, "laptop")
    assert book.verdict(book.rows[0]).holds == claims.NOT_MEASURED
    assert "no run yet" in claimparts.claim(book.rows[0], book)


def test_a_chapter_can_show_a_measure_that_is_no_claim(toy):
    book = material.Book.read(toy, "laptop")
    assert claimparts.measured(book, "noise-levels") == "*Not measured yet: noise-levels.*"
    built = toybook.results()
    built["measures"]["noise levels"] = built["measures"]["T1"]
    book.built["01-toy"] = built
    text = claimparts.measured(book, "noise-levels")
    assert "| noise | control |" in text and "93.6" in text and "profile laptop" in text
    recorded = toybook.results("study", shift=2.0)
    recorded["measures"]["noise levels"] = recorded["measures"]["T1"]
    book.recorded["01-toy"] = recorded
    assert "95.6" in claimparts.measured(book, "noise-levels")        # the recorded run goes first


def test_a_chapter_can_show_what_a_notebook_kept_of_a_figure_over_widths(toy):
    book = material.Book.read(toy, "laptop")
    assert claimparts.along(book, "01-toy") == "*Not measured yet: figures of 01-toy.*"
    built = toybook.results()
    built["settings"] = {"epochs": 3, "gap to base by width, points": {
        "parts": {"4": [-6.0, -8.0], "64": [-1.0, -1.0]},
        "random": {"4": [-30.0, -30.0], "64": [-9.0, -9.0]}}}
    book.built["01-toy"] = built
    text = claimparts.along(book, "01-toy")
    assert "| gap to base, points | width 4 | width 64 |" in text
    assert "| parts | -7 ± 13 |" in text and "2 seeds." in text
    built["settings"].pop("gap to base by width, points")
    assert "Not measured yet" in claimparts.along(book, "01-toy")


def test_a_bar_in_a_text_does_not_break_a_table(toy):
    book = material.Book.read(toy, "laptop")
    line = next(line for line in claimparts.claims_table(book, "").splitlines() if "T1" in line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 6


def test_smoke_pages_say_that_their_numbers_mean_nothing(tmp_path):
    root = toybook.make(tmp_path / "toy", profile="smoke")
    settings = yaml.safe_load(pages.config(root, "smoke"))
    assert "numbers mean nothing" in settings["html"]["announcement"]
    assert "announcement" not in yaml.safe_load(pages.config(root, "laptop"))["html"]
    assert "mean nothing" in origins.provenance("01-toy", material.Book.read(root, "smoke"))


def test_links_on_the_map_lead_to_what_exists(toy):
    book = material.Book.read(toy, "laptop")
    to = dict(re.findall(r'<a href="([^"]+)" aria-label="([^"]+)"', pageparts.map_links(book, "")))
    assert to == {"claims.html#claims-mge": "MGE, to come: its claims",
                  "claims.html": "Compared to what? All claims"}
    (toy / "book/mge.md").write_text("# MGE\n")
    assert '<a href="mge.html" aria-label="MGE, the chapter"' in pageparts.map_links(book, "")


def test_the_picture_of_the_verdicts_says_its_counts(toy):
    answers = claimparts.answers(material.Book.read(toy, "laptop"))
    assert answers == {"MGE": [("yes", "ahead")]}
    assert {*draw.squares.COLORS} == {*claims.HOLDS, *claims.SIMPLER}
    said = ("Two answers to each of 1 claims. "
            "MGE, does it hold? 1 yes; is a simpler way as good? 1 ahead.")
    assert draw.verdicts_alt(answers, {}) == said
    assert draw.verdicts_alt(answers, {"MGE": [("no", "open")]}) == (
        f"{said} MGE, Fashion-MNIST, does it hold? 1 no; is a simpler way as good? 1 open.")
    assert draw.verdicts(answers, {}) == draw.verdicts(answers, {})
    assert draw.verdicts({}, {}).count(b"<svg") == 1


def test_both_ways_of_counting_stand_side_by_side(toy):
    text = claimparts.both_countings(material.Book.read(toy, "laptop"), "")
    _, _, line, *totals = [line for line in text.splitlines() if line.startswith("|")]
    assert line == ("| [✔ yes]{.verdict .holds-yes} | [▲ ahead]{.verdict .simpler-ahead} "
                    "| reproduced | 1 | [T1](#claim-T1) |")
    assert totals == [f"| **all** |  | {old} | {int(old == 'reproduced')} |  |"
                      for old in claims.VERDICTS]


def ends(svg):
    """Where a picture of an effect has its band, threshold, interval and dot."""
    left, width = (float(re.search(rf'class="margin"[^>]* {key}="([\d.]+)"', svg)[1])
                   for key in ("x", "width"))
    found = re.search(r'class="interval" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)
    return (left, left + width, float(re.search(r'class="threshold" d="M([\d.]+)', svg)[1]),
            *(map(float, found.groups()) if found else ()),
            float(re.search(r'cx="([\d.]+)"', svg)[1]))


def test_the_picture_of_an_effect_keeps_its_proportions(toy):
    row = material.Book.read(toy, "laptop").rows[0]          # above 1 point, margin 1 point
    svg = effects.picture(row, claims.Interval(2.0, 3.0, 4.0))
    left, right, threshold, low, high, mean = ends(svg)
    point = (right - left) / 2
    assert threshold - left == pytest.approx(point, abs=0.2)
    assert [low - threshold, mean - threshold, high - threshold] == pytest.approx(
        [point, 2 * point, 3 * point], abs=0.3)
    assert 0 <= left and high <= effects.WIDTH
    assert 'aria-label="3.0 ± 1.0 points; rule: advantage over noise &gt; 1 points"' in svg
    alone = effects.picture(row, claims.interval([3.0]))
    assert len(ends(alone)) == 4 and "one seed" in alone
    wide = effects.picture(row, claims.Interval(-1e6, 0.0, 1e6))
    assert all(0 <= x <= effects.WIDTH for x in ends(wide))


@pytest.mark.parametrize("seconds, text", [(3.14, "3.1 s"), (59.4, "59 s"), (125, "2 min 5 s"),
                                           (4320, "1 h 12 min")])
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


# ---------------------------------------------------------------- drawings, sources, chapters
@pytest.mark.parametrize("name", draw.DRAWINGS)
def test_drawing_is_the_same_bytes_each_time_and_says_what_it_shows(name):
    first = draw.rendered(draw.DRAWINGS[name][0])
    assert first == draw.rendered(draw.DRAWINGS[name][0]) and b"<svg" in first
    assert len(drawings.alt(ROOT, name)) > 100 and "\n" not in drawings.alt(ROOT, name)


def test_a_book_without_drawings_draws_nothing(toy):
    shutil.rmtree(toy / "book/drawings")
    assert pageparts.pictures(material.Book.read(toy, "laptop")) == {}
    with pytest.raises(ValueError, match="^drawing"):
        drawings.alt(toy, "data-flow")


def test_a_color_of_the_drawings_costs_no_plotting_library():
    code = "import sys, wlib.plot.colors; print({'matplotlib', 'torch'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_unknown_drawing_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'data-flow'"):
        drawings.alt(ROOT, "dataflow")


def test_vendored_files_are_the_recorded_ones():
    static = ROOT / "book" / "static"
    sources = yaml.safe_load((static / "SOURCES.yml").read_text(encoding="utf8"))
    for source in sources:
        content = (static / source["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == source["sha256"], source["file"]
    own = {"book.css", "claims-filter.js", "explorer.js", "favicon.svg", "print.js", "scroll.js",
           "SOURCES.yml"}
    own |= {path.name for path in static.glob("LICENSE*")}
    assert {path.name for path in static.iterdir()} == own | {source["file"] for source in sources}


def test_every_page_is_in_the_contents_once():
    wrong = pagecheck.source_problems(ROOT, pages.toc_pages(ROOT / "_toc.yml"))
    assert wrong == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_asks_only_for_known_parts(path):
    text = path.read_text(encoding="utf8")
    found = pageparts.PART.findall(text)
    assert text.count("<!-- wlib:") == len(found)
    assert {name for name, _ in found} <= set(pageparts.PARTS)
    assert {name for part, name in found if part == "alt"} <= {*draw.DRAWINGS, "verdicts"}


def test_toy_numbers_of_the_mge_chapter_are_right():
    """Each row of its table, computed anew with SciPy alone."""
    from scipy.fft import dct, idct

    text = (ROOT / "book" / "mge.md").read_text(encoding="utf8")
    v = np.array([3, 1, -2, 0.5, 4, -1, 0, 2])
    c = dct(v, norm="ortho")
    assert f"({', '.join(f'{x:.3f}' for x in c)})".replace(", ", r",\ ") in text
    order = np.argsort(-np.abs(c), kind="stable")
    held = np.cumsum(c[order] ** 2) / (c @ c)
    for t in (0.5, 0.8, 0.9, 0.95):
        k = int(np.argmax(held >= t)) + 1
        rest, norm = c[order[k:]], np.linalg.norm(v)
        redraw = np.sqrt(2 * len(rest)) * rest.std() / norm
        numbers = (held[k - 1], rest.mean(), rest.std(), redraw, np.linalg.norm(rest) / norm,
                   np.sqrt(2 * (1 - t)))
        row = f"| {t:.2f} | {k} | " + " | ".join(f"{x:.3f}" for x in numbers) + " |"
        assert row in text, row
    half = np.where(np.isin(np.arange(8), order[:2]), c, 0)
    assert ", ".join(f"{x:g}" for x in idct(half, norm="ortho").round(6)) in text


def test_toy_numbers_of_the_mda_chapter_are_right():
    """The chain of the chapter and of its picture, cut by the library."""
    from torch import nn

    text = (ROOT / "book" / "mda.md").read_text(encoding="utf8")
    net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 3, bias=False))
    layers, needed = draw.mda.small_mda()
    for layer, weight in zip((net[0], net[2]), layers, strict=True):
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        rows = r"\\ ".join(" & ".join(map(str, row)) for row in weight)
        assert f"\\begin{{pmatrix}} {rows} \\end{{pmatrix}}" in text
    x = torch.tensor([[1.0, 2, 1], [2, 0, 1], [0, 1, 3]])          # of classes 0, 1, 2
    found = mda.contributions(net, x, torch.arange(3))
    masks = mda.masks(found, mode="graph")
    for label, (inputs, hidden, _) in needed.items():
        assert masks["2"][label].tolist() == hidden.tolist()
        assert masks["0"][label].tolist() == inputs.tolist()
    part, alone = mda.disassemble(net, masks, [0, 2]), mda.disassemble(net, masks, [0])
    assert part[0].out_features == 2 and alone[0].out_features == alone[2].out_features == 1

    def numbers(values):
        return "(" + ", ".join(f"{v:g}" for v in values.detach().flatten().tolist()) + ")"

    hidden, logits = net[:2](x[:1]), net(x[:1])
    assert f"hidden values are ${numbers(hidden)}$, its logits ${numbers(logits)}$" in text
    assert f"= {numbers(found['2'][0, 0])}$" in text and "$(0,0,0,1)$" in text
    assert f"answers ${numbers(part(x[:1]))}$ to the first image" in text


def test_toy_numbers_of_the_free_chapter_are_right():
    """The walk through two losses, by the library."""
    from wlib.free import bell

    text = (ROOT / "book" / "free.md").read_text(encoding="utf8")
    losses = [lambda w: (w**2 / 2 - 2 * w).sum(), lambda w: (1.5 * w**2 + w).sum()]
    start, rate = torch.tensor([0.5], dtype=torch.float64), 0.1
    one, two = bell.walk(losses[:1], start, rate), bell.walk(losses, start, rate)
    moved = ((start - two) / rate).item()
    joint = sum(torch.func.grad(loss)(start) for loss in losses).item()
    for found, words in ((one.item(), "$w_1 = {:g}$"), (two.item(), "$w_2 = {:g}$"),
                         (moved, "\\alpha = {:g}$"), (joint, "-1.5 + 2.5 = {:.1f}$"),
                         (moved - joint, "The rest, ${:.2f}$")):
        assert words.format(round(found, 9)) in " ".join(text.split()), words
    assert torch.func.grad(losses[1])(one).item() == pytest.approx(2.95)


def test_gaussian_numbers_of_the_mge_chapter_are_right():
    from scipy.optimize import brentq
    from scipy.stats import norm

    text = (ROOT / "book" / "mge.md").read_text(encoding="utf8")
    fractions = (0.8, 0.9, 0.95, 0.99)
    gauss = [2 * norm.sf(brentq(lambda a, t=t: 2 * (a * norm.pdf(a) + norm.sf(a)) - t, 0, 9))
             for t in fractions]
    laplace = [np.exp(-brentq(lambda a, t=t: np.exp(-a) * (a * a + 2 * a + 2) / 2 - t, 0, 30))
               for t in fractions]
    uniform = [1 - (1 - t) ** (1 / 3) for t in fractions]
    for row in (gauss, laplace, uniform):
        assert " | ".join(f"{x:.3f}" for x in row) in text


def test_chapters_avoid_the_words_of_advertisement():
    for path in CHAPTERS:
        text = path.read_text(encoding="utf8")
        assert not re.search(r"\b(obviously|state-of-the-art|novel)\b", text), path.name


def test_pages_are_imported_without_torch():
    code = "import sys, wlib.book.pages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_environment_takes_the_same_stack():
    """Conda's list names Python and pip alone; pip then installs just what the Makefile does."""
    python, pip, rest = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    asked = re.search(r"-e '(\.\[book[\w,]+\])'", (ROOT / "Makefile").read_text())[1]
    assert rest["pip"] == ["-c constraints.txt", f"-e {asked}"] and pip == "pip"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert python.split("=")[1] == project["requires-python"].removeprefix(">=")


def test_every_dependency_is_pinned_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = re.search(r"-e '\.\[([\w,]+)\]'", (ROOT / "Makefile").read_text())[1].split(",")
    wanted = [Requirement(line) for extra in [project["dependencies"],
              *(project["optional-dependencies"][name] for name in asked)] for line in extra]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): version for name, _, version in
            (line.partition("==") for line in lines if not line.startswith("#"))}
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        assert name in pins and requirement.specifier.contains(pins[name]), requirement


# ---------------------------------------------------------------- whole builds
@pytest.mark.book
def test_toy_book_is_built_checked_kept_and_not_built_again(toy):
    index = pages.build("laptop", root=toy)
    assert index == toy / "_build/laptop/html/index.html" and index.is_file()
    claim = BeautifulSoup((index.parent / "book/claims.html").read_text(), "html.parser")
    text = claim.find("article").get_text()
    assert "✔ yes" in text
    assert re.search(r"advantage over noise: [\d.]+ ± [\d.]+ points", text)
    assert claim.find("a", href="../notebooks/01-toy.html#measure-t1")
    first = (index.parent / "book/index.html").stat().st_mtime_ns
    pages.build("laptop", root=toy)
    assert (index.parent / "book/index.html").stat().st_mtime_ns == first

    read = {path.name: path.stat().st_mtime_ns
            for path in (toy / "_build/laptop/sphinx").rglob("*.doctree")}
    edit(toy / "book/claims.md", "# Claims", "# All claims")
    pages.build("laptop", root=toy)
    again = {path.name: path.stat().st_mtime_ns
             for path in (toy / "_build/laptop/sphinx").rglob("*.doctree")}
    assert {name for name in read if read[name] != again[name]} == {"claims.doctree"}  # one is read
    assert "All claims" in (index.parent / "book/index.html").read_text()      # and all are written
    assert "A toy notebook (2 min)" in (index.parent / "book/claims.html").read_text()
    first = (index.parent / "book/index.html").stat().st_mtime_ns

    edit(toy / "book/index.md", "# A toy book", "# A toy book\n\n{ref}`nowhere`")
    for _ in range(2):  # a second try must not take the warning's page from the cache
        with pytest.raises(PageError, match="nowhere"):
            pages.build("laptop", root=toy)
    edit(toy / "book/index.md", "{ref}`nowhere`", "![](figures/data-flow.svg)")
    with pytest.raises(PageError, match="book/index.html: image without alt text"):
        pages.build("laptop", root=toy)
    assert (index.parent / "book/index.html").stat().st_mtime_ns == first  # the last good pages
    edit(toy / "book/index.md", "![](figures/data-flow.svg)", "Mended.")
    assert "Mended." in (pages.build("laptop", root=toy).parent / "book/index.html").read_text()


@pytest.mark.book
def test_a_repository_s_address_puts_links_on_the_pages(toy):
    edit(toy / "_config.yml", 'url: ""', 'url: "https://github.com/someone/weights"')
    folder = pages.build("laptop", root=toy).parent  # links to other hosts, but nothing fetched
    links = {tag["href"] for tag in BeautifulSoup(
        (folder / "notebooks/01-toy.html").read_text(), "html.parser").find_all("a", href=True)}
    for start in ("https://github.com/someone/weights/edit/main/notebooks/01-toy.ipynb",
                  "https://github.com/someone/weights/issues/new",
                  "https://mybinder.org/v2/gh/someone/weights/main?"):
        assert any(link.startswith(start) for link in links), (start, links)
    text = (folder / "book/claims.html").read_text()
    assert "https://github.com/someone/weights/edit/main/book/claims.md" in text


@pytest.mark.book
def test_a_build_that_broke_off_is_not_built_upon(toy, monkeypatch):
    """Nor is one made by other settings; both begin with an empty folder."""
    work = toy / "work"
    (work / "_build/html").mkdir(parents=True)
    (work / "_build/.doctrees").mkdir()
    (work / pages.FINISHED).write_text("one way")
    pages.begin(work, "one way")
    assert not (work / "_build/html").exists() and (work / "_build/.doctrees").exists()
    pages.begin(work, "one way")  # the build did not come to its end
    assert not work.exists()
    (work / "_build/.doctrees").mkdir(parents=True)
    (work / pages.FINISHED).write_text("one way")
    pages.begin(work, "another way")
    assert not work.exists()


@pytest.fixture(scope="module")
def site(smoke_book):
    """The pages of the book built from the smoke run: trees by path relative to the site."""
    folder = smoke_book.parent
    return {path.relative_to(folder).as_posix(): BeautifulSoup(path.read_text(encoding="utf8"),
                                                               "html.parser")
            for path in sorted(folder.rglob("*.html"))}


@pytest.fixture(scope="module")
def content(site):
    """The pages of the contents, without search, index and redirect."""
    return {page: site[f"{page}.html"] for page in pages.toc_pages(ROOT / "_toc.yml")}


@pytest.mark.book
def test_every_page_of_the_contents_is_there_and_linked(content):
    for page, soup in content.items():
        assert soup.find("h1"), page
        links = {a["href"] for a in soup.select(".bd-sidebar-primary a.internal")}
        assert len(links) >= len(content), page


@pytest.mark.book
def test_nothing_is_fetched_from_another_host(site):
    for page, soup in site.items():
        assert list(pagecheck.foreign(soup)) == [], page
        assert "thebe" not in str(soup).lower(), page


@pytest.mark.book
def test_every_image_says_what_it_shows(content):
    for page, soup in content.items():
        assert list(pagecheck.without_alt(soup)) == [], page
        for image in soup.select("article img"):
            assert len(image["alt"]) > 20, (page, image["alt"])


@pytest.mark.book
def test_headings_are_in_order(content):
    for page, soup in content.items():
        levels = [int(tag.name[1]) for tag in soup.select("article :is(h1, h2, h3, h4, h5, h6)")]
        assert levels[0] == 1 and levels.count(1) == 1, page
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False)), (page, levels)


@pytest.mark.book
def test_claims_page_has_every_row_with_both_answers(content):
    soup = content["book/claims"]
    rows = claims.load(ROOT / "book" / "claims.yml")
    lines = {tr.td.get_text(strip=True): tr for tr in soup.select("table.claims tbody tr")}
    assert list(lines) == [row.id for row in rows]
    for row in rows:
        again = claims.recorded(row.notebook, ROOT, claims.SECOND)  # on the second data set
        sets = 1 + bool(again and row.id in again["measures"])
        answers = []
        for question, (_, known) in claims.QUESTIONS.items():
            given = [one.get_text(strip=True)
                     for one in lines[row.id].select(f".verdict[class*={question}-]")]
            assert len(given) == sets and {*given} <= {f"{mark} {words}"
                                                       for words, mark in known.items()}
            answers += given
        assert len(lines[row.id].select("svg.effect")) == sets * (row.notebook != claims.QUOTED)
        assert lines[row.id].td.a["href"] == f"#claim-{row.id.lower()}"
        section = soup.find(id=f"claim-{row.id.lower()}")
        assert section.name == "details" or section.find_parent("details")
        assert all(answer in section.get_text() for answer in answers)
        assert all(control in section.get_text() for control in row.controls)


@pytest.mark.book
def test_notebook_pages_have_outputs_and_provenance(content):
    for page, soup in content.items():
        if page.startswith("notebooks/"):
            assert soup.select(".cell_output"), page
            box = soup.select_one(".admonition.provenance")
            assert "Executed at profile smoke in" in box.get_text(), page
            assert "torch" in box.get_text() and "numbers mean nothing" in box.get_text(), page


@pytest.mark.book
def test_every_page_says_that_a_smoke_build_means_nothing(content):
    for page, soup in content.items():
        assert "numbers mean nothing" in soup.select_one(".bd-header-announcement").get_text(), page


@pytest.mark.book
def test_mathematics_comes_from_the_book_itself(site, smoke_book):
    sources = [tag["src"] for tag in site["book/mge.html"].select("script[src]")]
    assert any(source.split("?")[0] == "../_static/tex-svg.js" for source in sources)
    assert (smoke_book.parent / "_static" / "tex-svg.js").is_file()


@pytest.mark.book
def test_landing_page_leads_from_the_map_and_shows_the_verdicts(content):
    soup = content["book/index"]
    links = [a["href"] for a in soup.select(".book-map .map-links a")]
    assert links[0] == "mge.html" and links[-1] == "claims.html" and len(links) == 5
    rows = claims.load(ROOT / "book" / "claims.yml")
    image = soup.select_one("#fig-verdicts img")
    assert image["alt"].startswith(
        f"Two answers to each of {len(rows)} claims. MGE, does it hold? ")


@pytest.mark.book
def test_only_the_claims_page_loads_its_filter(content):
    loading = [page for page, soup in content.items()
               if soup.find("script", src=re.compile("claims-filter"))]
    assert loading == ["book/claims"]
    rows = claims.load(ROOT / "book" / "claims.yml")
    for paper in claimparts.PAPERS:
        lines = content["book/claims"].select(f"table.claims.paper-{paper} tbody tr")
        assert len(lines) == sum(row.paper == paper for row in rows)


@pytest.mark.book
def test_widgets_come_from_the_book_itself_and_only_where_there_are_any(content):
    scripts = ("explorer.js", "require.js", "embed-amd.js")
    for page, soup in content.items():
        sources = [tag["src"].split("?")[0] for tag in soup.select("script[src]")]
        has_widget = bool(soup.find("script", type="application/vnd.jupyter.widget-view+json"))
        loaded = [script for script in sources if script.endswith(scripts)]
        assert loaded == [f"../_static/{script}" for script in scripts if has_widget], page
    view = content["notebooks/11-mge-generate"].find(
        "script", type="application/vnd.jupyter.widget-view+json")
    state = content["notebooks/11-mge-generate"].find(
        "script", type="application/vnd.jupyter.widget-state+json")
    assert json.loads(view.string)["model_id"] in json.loads(state.string)["state"]


@pytest.mark.book
def test_a_page_with_its_pictures_weighs_less_than_a_megabyte(content, smoke_book):
    for page, soup in content.items():
        path = smoke_book.parent / f"{page}.html"
        pictures = {(path.parent / image["src"]).resolve() for image in soup.select("article img")}
        weight = path.stat().st_size + sum(picture.stat().st_size for picture in pictures)
        assert weight <= 2**20, (page, weight)


@pytest.mark.book
def test_exercises_have_folded_solutions_that_were_executed(content):
    for page, soup in content.items():
        if page.startswith("notebooks/"):
            exercises, solutions = soup.select("div.exercise"), soup.select("div.solution")
            assert len(exercises) >= 3 and len(solutions) == len(exercises) - 1, page   # one open
            for solution in solutions:
                assert "dropdown" in solution["class"] and solution.select(".cell_output"), page
