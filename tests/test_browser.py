"""The smoke book in a browser: quiet, self-contained, light, accessible, and alive where it says.

A page is read once a theme (`read`); the tests look at what was found. To add a page there is
nothing to do; to add a part, name a term that its search must find (`TERMS`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import browser as chrome
import pytest
import yaml
from browser import NARROW, THEMES, WIDE, Tab, Visit

from wlib import claims
from wlib.book import pages

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = pages.toc_pages(ROOT / "_toc.yml")
PAGES = [*CONTENTS, "search", "genindex", "_modules/wlib/mge/generator"]
PARTS = [part["caption"] for part in yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]]
# A term, and a page that the search must find for it: one for every part of the contents.
TERMS = {
    "Start here": ("make book", "book/how-to-run"),
    "Foundations": ("glyphs", "notebooks/02-tasks-without-downloads"),
    "Part I: MGE": ("cosine transform", "book/mge"),
    "Part II: MDA": ("logit restriction", "book/mda"),
    "Part III: FREE": ("transductive", "book/free"),
    "Part IV: D2NWG": ("set transformer", "book/d2nwg"),
    "The library": ("keep_mask", "book/library/mge"),
    "Reference": ("undecided", "book/claims"),
}
KEY_PAGES = ["book/index", "book/claims", "book/mge", "notebooks/11-mge-generate",
             "notebooks/12-mge-evolve", "notebooks/13-mge-uses"]
NOTEBOOK = "notebooks/11-mge-generate"  # with folded code, mathematics, tables and figures
THEME = "document.documentElement.dataset.theme"
EXPLORERS = ["notebooks/11-mge-generate", "notebooks/12-mge-evolve"]
# What a browser forbids a page that was opened from disk, and the book says so.
FROM_DISK = ("webfonts", "fa-", "blocked by CORS policy", "net::ERR_FAILED", "_sources")

pytestmark = pytest.mark.book


# ---------------------------------------------------------------- one browser, a tab a theme
@pytest.fixture(scope="module")
def program():
    """The browser; without one the tests are skipped, but in continuous integration they fail."""
    if chrome.chromium() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(chrome.HOW_TO_GET_IT)
    with chrome.browser() as running:
        yield running


@pytest.fixture(scope="module")
def site(smoke_book):
    """The address at which the smoke book is served."""
    with chrome.serve(smoke_book.parent) as address:
        yield address


@pytest.fixture(scope="module")
def tabs(program, site):
    """A tab for each theme."""
    opened = {theme: Tab.open(program, site, theme) for theme in THEMES}
    yield opened
    for tab in opened.values():
        tab.close()


@pytest.fixture
def tab(tabs):
    """The tab with the light theme, for tests that do something on a page."""
    tabs["light"].page.set_viewport_size(WIDE)
    return tabs["light"]


@pytest.fixture(scope="module")
def read(tabs, smoke_book):
    """What a page did in a theme; each is read once, key pages are photographed then."""
    seen: dict[tuple[str, str], Visit] = {}
    album = smoke_book.parent.parent / "screenshots"

    def look(page: str, theme: str) -> Visit:
        if (page, theme) not in seen:
            visits = chrome.read(f"{page}.html", *tabs.values(), code=page in KEY_PAGES)
            seen.update({(page, mode): visit for mode, visit in zip(tabs, visits, strict=True)})
            for mode in tabs if page in KEY_PAGES else ():
                for size in (WIDE, NARROW):
                    tabs[mode].shot(album / f"{Path(page).name}-{mode}-{size['width']}.png", size)
        return seen[page, theme]

    return look


# ---------------------------------------------------------------- every page
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("page", PAGES)
def test_page_is_quiet_light_narrow_and_accessible(page, theme, read):
    """No error, no foreign request, within budget, no sideways scrolling, nothing serious in axe.

    Widths: 1280, 375, and 640 pixels, which is what 200 % zoom leaves of 1280.
    """
    assert read(page, theme).findings() == []


def test_key_pages_are_photographed(read, smoke_book):
    for page in KEY_PAGES:
        for theme in THEMES:
            read(page, theme)
            for size in (WIDE, NARROW):
                name = f"{Path(page).name}-{theme}-{size['width']}.png"
                path = smoke_book.parent.parent / "screenshots" / name
                assert path.stat().st_size > 5_000, name


# ---------------------------------------------------------------- what a reader does
@pytest.mark.parametrize("part", PARTS)
def test_search_finds_a_term_of_each_part(part, tab):
    assert part in TERMS, f"a new part: add a term that the search must find to TERMS of {__file__}"
    term, page = TERMS[part]
    assert tab.visit(f"search.html?q={term.replace(' ', '+')}") == []
    tab.page.wait_for_selector("#search-results .search li a")
    tab.page.wait_for_function(
        "[...document.querySelectorAll('#search-results .search li a')].some(a =>"
        f" a.href.includes('/{page}.html'))")
    assert tab.noise == []


def test_search_opens_from_every_page_by_keyboard(tab):
    tab.visit(f"{NOTEBOOK}.html")
    tab.page.keyboard.press("Control+k")
    tab.page.keyboard.type("margin")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/search.html?q=margin**")
    tab.page.wait_for_selector("#search-results .search li a")
    assert tab.noise == []


def test_theme_switch_reaches_both_themes_and_stays(program, site):
    tab = Tab.open(program, site)
    tab.visit("book/index.html")
    seen = {tab.page.evaluate(THEME): tab.page.evaluate("getComputedStyle(document.body).color")}
    for _ in range(3):
        tab.page.click(".theme-switch-button")
        seen[tab.page.evaluate(THEME)] = tab.page.evaluate("getComputedStyle(document.body).color")
    assert set(seen) == set(THEMES) and len(set(seen.values())) == 2
    while tab.page.evaluate("document.documentElement.dataset.mode") != "dark":
        tab.page.click(".theme-switch-button")
    tab.visit("book/claims.html")
    assert tab.page.evaluate(THEME) == "dark" and tab.noise == []
    tab.close()


def test_code_folds_by_mouse_and_by_keyboard(tab):
    tab.visit(f"{NOTEBOOK}.html")
    fold = tab.page.locator("details.hide").first
    code = fold.locator("pre").first
    assert not code.is_visible()
    fold.locator("summary").click()
    assert code.is_visible()
    fold.locator("summary").press("Enter")
    assert not code.is_visible()


def test_the_keyboard_skips_to_the_text(tab):
    tab.visit(f"{NOTEBOOK}.html")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Skip to main content"
    tab.page.keyboard.press("Enter")
    assert tab.page.url.endswith("#main-content")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.querySelector('#main-content')"
                             ".contains(document.activeElement)")


def test_a_term_shows_its_definition_and_leads_to_it(tab):
    tab.visit(f"{NOTEBOOK}.html")
    term = tab.page.locator("a:has(.std-term)").first
    told = term.get_attribute("title")
    term.click()
    tab.page.wait_for_url("**/notation.html#term-*")
    definition = tab.page.evaluate("document.querySelector(':target').nextElementSibling.innerText")
    assert len(told) > 20 and told in " ".join(definition.split())


def test_figures_are_numbered_and_referred_to_by_number(tab):
    tab.visit(f"{NOTEBOOK}.html")
    numbers = tab.page.locator("figure .caption-number").all_inner_texts()
    assert len(numbers) > 3 and all(number.strip().startswith("Figure ") for number in numbers)
    links = tab.page.locator("a:has(.std-numref)")
    assert links.count() > 1
    for link in links.all():
        figure = tab.page.locator(link.get_attribute("href")).first
        assert link.inner_text() in figure.inner_text()


def test_mathematics_is_drawn_and_says_itself(tab):
    tab.visit("book/mge.html")
    formulas = tab.page.locator("mjx-container")
    assert formulas.count() > 5 and formulas.first.locator("svg").count() == 1
    assert formulas.first.locator("mjx-assistive-mml math").count() == 1


@pytest.mark.parametrize("page", EXPLORERS)
@pytest.mark.parametrize("hand", ["mouse", "keyboard"])
def test_sliders_move_the_picture_without_a_kernel(page, hand, tab):
    assert tab.visit(f"{page}.html") == []
    explorer = tab.page.locator(".explorer").first
    for slider in explorer.locator(".noUi-target").all():
        handle = slider.locator("[role=slider]")
        assert handle.get_attribute("aria-label") and handle.get_attribute("aria-valuetext")
        for _ in range(2):  # there and back: each time the value and the picture change
            value, shown = handle.get_attribute("aria-valuenow"), picture(explorer)
            right = float(value) == float(handle.get_attribute("aria-valuemin"))
            if hand == "mouse":
                drag(tab.page, handle, slider, 0.98 if right else 0.02)
            else:
                handle.press("End" if right else "Home")
            assert handle.get_attribute("aria-valuenow") != value
            assert picture(explorer) != shown
        if hand == "keyboard":
            before = handle.get_attribute("aria-valuetext")
            handle.press("ArrowLeft" if right else "ArrowRight")  # away from the end it is at
            assert handle.get_attribute("aria-valuetext") != before
            handle.press("ArrowRight" if right else "ArrowLeft")
            assert handle.get_attribute("aria-valuetext") == before
    assert tab.noise == []


def drag(page, handle, slider, share):
    """Take a slider's handle with the mouse to a share of its length."""
    slider.scroll_into_view_if_needed()
    start, track = handle.bounding_box(), slider.bounding_box()
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2, steps=4)
    page.mouse.up()


def picture(explorer):
    """What an explorer shows, and says to those who do not see it."""
    shown = [view for view in explorer.locator(".widget-html-content").all() if view.is_visible()]
    labels = [image.get_attribute("aria-label") or image.get_attribute("alt")
              for frame in shown for image in frame.locator("svg[role=img], img").all()]
    assert labels and all(labels)
    return [frame.inner_html() for frame in shown]


def test_a_link_to_a_claim_opens_its_fold(tab):
    tab.visit("book/claims.html#claim-m8")
    visible = tab.page.locator("dt:visible", has_text="Whose comparison")
    assert visible.count() == 1
    tab.page.locator("table.claims a[href='#claim-c5']").click()
    tab.page.wait_for_function("document.getElementById('claim-c5').closest('details').open")
    assert visible.count() == 2 and tab.noise == []


def test_claims_are_filtered_by_paper_and_answer(tab):
    tab.visit("book/claims.html")
    rows = claims.load(ROOT / "book" / "claims.yml")
    status = tab.page.locator(".claims-filter [role=status]")
    shown = "table.claims tbody tr:visible"
    assert tab.page.locator(shown).count() == len(rows)
    paper = tab.page.locator(".claims-filter select[name=paper]")
    mine = [row for row in rows if row.paper == "mge"]
    paper.select_option("paper-mge")
    assert tab.page.locator(shown).count() == len(mine)
    assert status.text_content() == f"{len(mine)} of {len(rows)} claims"
    for question in ("holds", "simpler"):
        answer = tab.page.locator(f".claims-filter select[name={question}]")
        for words in answer.locator("option:not([value=''])").all_text_contents():
            answer.select_option(words)
            marks = tab.page.locator(shown).evaluate_all(    # the first: of the first data set
                f"rows => rows.map(row => row.querySelector('[class*={question}-]').textContent)")
            assert set(marks) <= {words}
            assert status.text_content() == f"{len(marks)} of {len(rows)} claims"
        answer.select_option("")
    tab.page.locator(".claims-filter button").focus()
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_function(f"document.querySelector('.claims-filter [role=status]').textContent"
                               f" === '{len(rows)} of {len(rows)} claims'")
    assert tab.page.locator(shown).count() == len(rows) and tab.noise == []


@pytest.mark.parametrize("page", [page for page in CONTENTS if page.startswith("notebooks/")])
def test_the_notebook_can_be_downloaded_from_its_page(page, tab):
    tab.visit(f"{page}.html")
    link = tab.page.locator("a.btn-download-source-button").first
    tab.page.click(".dropdown-download-buttons button")
    with tab.page.expect_download() as waiting:
        link.click()
    assert waiting.value.suggested_filename == f"{Path(page).name}.ipynb"
    got = json.loads(Path(waiting.value.path()).read_text(encoding="utf8"))
    cells = {"".join(cell["source"]) for cell in got["cells"]}
    own = json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf8"))["cells"]
    assert {"".join(cell["source"]) for cell in own} <= cells


def test_a_chapter_on_paper_is_the_article_alone(tabs, smoke_book):
    """Dark on the screen, it is light on paper, its boxes open, without the site around."""
    tab = tabs["dark"]
    tab.visit(f"{NOTEBOOK}.html")
    tab.page.emulate_media(media="print")
    try:
        for around in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article",
                       ".prev-next-footer", "details.hide > summary", ".copybtn",
                       ".theme-switch-button"):
            for element in tab.page.locator(around).all():
                assert not element.is_visible(), around
        box = tab.page.locator(".admonition.provenance li").first
        assert tab.page.evaluate(THEME) == "light" and box.is_visible()
        paper = tab.page.pdf(path=smoke_book.parent.parent / "screenshots" / "chapter.pdf",
                             format="A4", print_background=True,
                             margin=dict.fromkeys(("top", "right", "bottom", "left"), "15mm"))
        assert paper.startswith(b"%PDF") and len(paper) > 20_000
    finally:
        tab.page.emulate_media(media="screen")
    assert tab.page.evaluate(THEME) == "dark"


# ---------------------------------------------------------------- opened from disk
@pytest.fixture(scope="module")
def disk(program, smoke_book):
    """A tab for pages opened from disk."""
    tab = Tab.open(program, smoke_book.parent.as_uri())
    yield tab
    tab.close()


@pytest.mark.parametrize("page", ["book/index", "book/mge", NOTEBOOK, "book/claims"])
def test_page_works_from_disk_but_for_what_the_book_says(page, disk):
    noise = disk.visit(f"{page}.html")
    assert [line for line in noise if not any(word in line for word in FROM_DISK)] == []
    assert disk.page.locator("article h1").is_visible()
    if page == "book/mge":
        assert disk.page.locator("mjx-container svg").count() > 5
    disk.page.click(".prev-next-footer a.right-next")  # links lead on
    disk.page.locator("article h1").wait_for()
    assert disk.page.url.startswith("file://") and page not in disk.page.url


def test_search_from_disk_finds_pages_without_excerpts(disk):
    disk.visit("search.html?q=margin")
    disk.page.wait_for_selector("#search-results .search li a")
    assert disk.page.locator("#search-results .search li p.context").count() == 0


# ---------------------------------------------------------------- the checks can fail
FINE = ('<!doctype html><html lang="en"><head><title>A page</title>'
        '<link rel="icon" href="data:,"><style>{style}</style></head>'
        '<body><main><h1>A page</h1><p>Text.</p>{body}</main></body></html>')
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
DEFECTS = {
    "console error": ("<script>console.error('broken')</script>", "console error: broken"),
    "error in a script": ("<script>nothing.there()</script>", "nothing is not defined"),
    "foreign picture": ('<img alt="x" src="http://book.example/x.png">', "foreign request: http"),
    "foreign script": ('<script src="https://book.example/x.js"></script>', "foreign request"),
    "foreign request later": ("<script>fetch('https://book.example/').catch(() => 0)</script>",
                              "foreign request: https://book.example/"),
    "missing file": ('<script src="gone.js"></script>', "status 404"),
    "no alt text": (f'<img src="{DOT}">', "critical: image-alt"),
    "low contrast": ('<p style="color: #aaa">pale</p>', "serious: color-contrast"),
    "button without a name": ("<button></button>", "critical: button-name"),
    "overweight": ("<!--" + "x" * 1_000_001 + "-->", "the budget is 1,000,000"),
    "heavy picture": ('<img alt="heavy" src="heavy.svg">', "the budget is 1,000,000"),
    "too wide": ('<div style="width: 1100px">wide</div>', "wider than 375 px: div"),
}


@pytest.fixture(scope="module")
def workshop(program, tmp_path_factory):
    """A folder that is served, for pages with a defect, and a tab a theme to read them in."""
    folder = tmp_path_factory.mktemp("defects")
    (folder / "heavy.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><!--'
                                      + "x" * 1_000_001 + "--></svg>")
    with chrome.serve(folder) as address:
        yield folder, {theme: Tab.open(program, address, theme) for theme in THEMES}


def refused(workshop, body, style="", theme="light"):
    """For what a page with this body is refused."""
    folder, opened = workshop
    name = f"page-{len(list(folder.iterdir()))}.html"  # a new one: browsers keep what they saw
    (folder / name).write_text(FINE.format(body=body, style=style), encoding="utf8")
    return chrome.read(name, opened[theme])[0].findings()


def test_a_fine_page_is_not_refused(workshop):
    assert refused(workshop, "") == []


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_page_with_a_defect_is_refused(defect, workshop):
    body, words = DEFECTS[defect]
    found = refused(workshop, body)
    assert any(words in finding for finding in found), found


def test_a_defect_of_the_dark_theme_is_found_there_alone(workshop):
    style = "@media (prefers-color-scheme: dark) { p { color: #333; background: #222 } }"
    assert refused(workshop, "", style) == []
    assert "color-contrast" in " ".join(refused(workshop, "", style, theme="dark"))


@pytest.mark.parametrize("ci, outcome", [("true", pytest.fail.Exception),
                                         ("", pytest.skip.Exception)])
def test_without_a_browser_the_tests_say_how_to_get_one(ci, outcome, monkeypatch):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(chrome, "chromium", lambda: None)
    with pytest.raises(outcome, match="apt install chromium"):
        next(program.__wrapped__())


@pytest.mark.parametrize("name", chrome.NAMES)
def test_chromium_is_found_by_its_names_and_by_the_variable(name, tmp_path, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chrome.chromium() is None
    (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / name).chmod(0o755)
    assert chrome.chromium() == str(tmp_path / name)
    monkeypatch.setenv("CHROMIUM", "/somewhere/else")
    assert chrome.chromium() == "/somewhere/else"
