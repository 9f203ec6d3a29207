"""A browser that reads the built book: Playwright drives a Chromium that is already installed.

Each check returns its findings as sentences, as `pagecheck` does. Only a page's own origin can
be reached: every other name fails to resolve, and whoever asked for it is noted.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_IT = ("no Chromium found: install one (Debian, Ubuntu: apt install chromium), or name "
                 "its program in the environment variable CHROMIUM")
BUDGET = 1_000_000  # bytes of a page without the shared scripts and styles, which are cached
SERIOUS = {"serious", "critical"}
THEMES = ("light", "dark")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
ZOOMED = {"width": 640, "height": 450}  # what a window of 1280 x 900 shows at 200 %
# What a page fetched, in bytes after unpacking; the page itself is the first.
FETCHED = """() => ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
    .map(one => [one.name, one.decodedBodySize])"""
# All rules but the contrast of colors, then that alone where it is to be looked at.
LOOK = """exclude => { window.looked = (async () => [
    await axe.run({resultTypes: ['violations'], rules: {'color-contrast': {enabled: false}}}),
    await axe.run({exclude: [exclude]}, {resultTypes: ['violations'], runOnly: ['color-contrast']})
])(); }"""
WIDGET = "script[type='application/vnd.jupyter.widget-view+json']"
# Elements that reach beyond the window while nothing around them scrolls or clips.
TOO_WIDE = """() => { const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width + 1) return [];
    return [...document.querySelectorAll('body *')].filter(one => {
        const box = one.getBoundingClientRect();
        return box.width > 0 && box.right > width + 1; }).slice(0, 5).map(one =>
        one.tagName.toLowerCase() + (one.id ? '#' + one.id : '') + '.' + one.className); }"""


def chromium() -> str | None:
    """The program of an installed Chromium, or None."""
    given = os.environ.get("CHROMIUM")
    return given or next(filter(None, map(shutil.which, NAMES)), None)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that writes no log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a loopback port; the address it has while the block runs."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A browser for which every host but loopback does not exist."""
    from playwright.sync_api import sync_playwright

    options = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
               "--disable-background-networking", "--disable-dev-shm-usage"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to start as root otherwise
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium(), args=options)
        try:
            yield program
        finally:
            program.close()


@dataclass
class Tab:
    """A page of a browser in one theme, and what went wrong since it was last sent somewhere."""

    page: Any
    site: str
    theme: str = "light"
    noise: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, program: Any, site: str, theme: str = "light") -> Tab:
        """A tab that begins with the system's theme, noting errors and foreign requests."""
        context = program.new_context(viewport=WIDE, color_scheme=theme,
                                      reduced_motion="reduce", bypass_csp=True)
        context.set_default_timeout(20_000)
        tab = cls(context.new_page(), site, theme)
        tab.page.on("console", tab.heard)
        tab.page.on("pageerror", lambda error: tab.noise.append(f"error in a script: {error}"))
        tab.page.on("request", tab.asked)
        tab.page.on("response", tab.answered)
        return tab

    def heard(self, message: Any) -> None:
        """Note an error on the console."""
        if message.type == "error":
            self.noise.append(f"console error: {message.text}")

    def asked(self, request: Any) -> None:
        """Note a request that leaves the page's own origin."""
        address = request.url
        own = address.startswith((self.site + "/", "data:", "blob:", "about:"))
        if not own:
            self.noise.append(f"foreign request: {address[:120]}")

    def answered(self, response: Any) -> None:
        """Note what the page's own origin does not have."""
        if response.status >= 400:
            self.noise.append(f"status {response.status}: {response.url[:120]}")

    def visit(self, path: str) -> list[str]:
        """Go to a page and wait until it stands still; what went wrong on the way."""
        self.noise.clear()
        self.page.set_viewport_size(WIDE)
        self.page.goto(f"{self.site}/{path}", wait_until="load")
        self.settle()
        return list(self.noise)

    def settle(self) -> None:
        """Wait for fonts, mathematics, widgets and two frames."""
        if self.page.locator(WIDGET).count():
            self.page.wait_for_selector(".jupyter-widgets")
        self.page.evaluate("""async () => {
            await document.fonts.ready;
            if (window.MathJax && MathJax.startup && MathJax.startup.promise)
                await MathJax.startup.promise;
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""")

    def weight(self) -> tuple[int, int]:
        """Bytes of the page itself with its pictures, and of the scripts and styles it shares."""
        fetched = {name.split("?")[0].split("#")[0]: size
                   for name, size in self.page.evaluate(FETCHED)}
        shared = sum(size for name, size in fetched.items() if "/_static/" in urlsplit(name).path)
        return sum(fetched.values()) - shared, shared

    def start_axe(self, code: bool = True) -> None:
        """Let axe look at the present page; `axe` waits for it, so that tabs look side by side.

        Without `code` the contrast of the words in code is left out: they are thousands, and all
        pages color them by the same style sheet.
        """
        from axe_playwright_python.base import AXE_SCRIPT

        self.page.evaluate(AXE_SCRIPT)
        self.page.evaluate(LOOK, [".no-such"] if code else [".highlight pre"])

    def axe(self) -> list[dict[str, Any]]:
        """Everything that axe has found since `start_axe`, the slight things too."""
        return [violation for result in self.page.evaluate("() => window.looked")
                for violation in result["violations"]]

    def too_wide(self, size: dict[str, int]) -> list[str]:
        """What makes the page scroll sideways in a window of a size."""
        self.page.set_viewport_size(size)
        self.page.wait_for_timeout(100)
        wide = self.page.evaluate(TOO_WIDE)
        self.page.set_viewport_size(WIDE)
        return [f"wider than {size['width']} px: {element}" for element in wide]

    def close(self) -> None:
        """Close the tab with all that it remembers."""
        self.page.context.close()

    def shot(self, path: Path, size: dict[str, int]) -> None:
        """A picture of the window at a size, once the theme's panels have come to rest."""
        self.page.set_viewport_size(size)
        self.page.wait_for_timeout(400)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)
        self.page.set_viewport_size(WIDE)


def read(path: str, *tabs: Tab, code: bool = True) -> list[Visit]:
    """Go to a page in each tab and look at everything that is looked at on each page."""
    visits = []
    for tab in tabs:
        noise = tab.visit(path)
        wide = [element for size in (NARROW, ZOOMED, WIDE) for element in tab.too_wide(size)]
        visits.append((noise, *tab.weight(), wide))
        tab.start_axe(code)
    return [Visit(*visit, tab.axe()) for visit, tab in zip(visits, tabs, strict=True)]


@dataclass(frozen=True)
class Visit:
    """What a page did in a browser."""

    noise: list[str]             # errors, foreign requests, what was not there
    own: int                     # bytes of the page with its pictures
    shared: int                  # bytes of the scripts and styles that all pages share
    wide: list[str]              # what makes it scroll sideways
    axe: list[dict[str, Any]]    # every violation, slight ones too

    def overweight(self, budget: int = BUDGET) -> list[str]:
        """A page that is heavier than the budget."""
        return [f"weighs {self.own:,} bytes, the budget is {budget:,}"] * (self.own > budget)

    def violations(self) -> list[str]:
        """What axe finds serious or critical, with the first elements concerned."""
        return [f"{violation['impact']}: {violation['id']}: {violation['help']}: "
                + "; ".join(" ".join(map(str, node["target"])) + " " + node["html"][:120]
                            for node in violation["nodes"][:3])
                for violation in self.axe if violation["impact"] in SERIOUS]

    def findings(self) -> list[str]:
        """All for which a page is refused."""
        return [*self.noise, *self.overweight(), *self.wide, *self.violations()]
