"""What the pages refuse: in the sources before a build, in the HTML after it.

Each check returns its findings as sentences, so that one build reports everything that is wrong.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from wlib.ground.reach import PACKAGE

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

FOREIGN = re.compile(r"(?:https?:)?//[\w.-]+\.\w+", re.IGNORECASE)
# What a browser fetches by itself; a link that the reader must click is not among them.
FETCHED = {"script": ("src",), "img": ("src", "srcset"), "iframe": ("src",),
           "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",),
           "embed": ("src",), "object": ("data",), "input": ("src",), "track": ("src",),
           "image": ("href", "xlink:href"), "use": ("href", "xlink:href")}
FETCHED_LINKS = {"stylesheet", "icon", "shortcut", "preload", "prefetch", "modulepreload",
                 "manifest", "preconnect", "dns-prefetch", "apple-touch-icon"}
AGENT = "Mozilla/5.0 (compatible; wlib check --links)"
NO_HOST = "there is no such host"
GONE = {"status 404", "status 410", NO_HOST}
# Paths of one machine: folders that users have, of this installation, and of what Python warns of.
MACHINE = re.compile("|".join((
    r"(?<![\w<.:/-])/(?:home|root|Users|tmp|var|private|opt|mnt|usr)/[^\s'\"<>)]+",
    *(re.escape(place) + r"/[^\s'\"<>)]*" for place in (sys.prefix, str(PACKAGE.parent))),
    r"[^\s'\"<>(]*(?:site-packages/|ipykernel_\d)[^\s'\"<>)]*")))
EMBEDDED = re.compile(r"data:[\w/+.-]+;base64,[\w/+=\s]*")
IMAGE_NAME = re.compile(r"\.(svg|png|jpe?g|gif|webp)$", re.IGNORECASE)


class PageError(ValueError):
    """Pages that are not fit to read; `problems` has one sentence a finding."""

    def __init__(self, headline: str, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n  - ".join([headline + ":", *self.problems]))


def source_problems(root: Path, pages: list[str]) -> list[str]:
    """Pages the contents name twice or in vain, and sources that the contents leave out."""
    found = {path.relative_to(root).with_suffix("").as_posix()
             for pattern in ("book/**/*.md", "notebooks/*.ipynb") for path in root.glob(pattern)}
    return [
        *(f"{page}: named more than once in _toc.yml" for page in sorted(set(pages))
          if pages.count(page) > 1),
        *(f"{page}: in _toc.yml, but there is no such file" for page in pages if page not in found),
        *(f"{page}: orphan page, not in _toc.yml" for page in sorted(found - set(pages))),
    ]


def notebook_problems(name: str, notebook: dict[str, Any]) -> list[str]:
    """A notebook that did not run, ran only in part, kept an error, shows nothing or a machine's
    paths."""
    cells = [cell for cell in notebook["cells"]
             if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    wrong = [f"{name}: code cell {number} was not executed" for number, cell in enumerate(cells, 1)
             if cell.get("execution_count") is None]
    if not outputs:
        return [f"{name}: a notebook page without outputs"]
    wrong += [f"{name}: an output is the error {output.get('ename')}" for output in outputs
              if output.get("output_type") == "error"]
    return wrong + [f"{name}: code cell {number} shows a path of this machine: {path}"
                    for number, cell in enumerate(cells, 1) for path in machine_paths(cell)]


def machine_paths(cell: dict[str, Any]) -> list[str]:
    """Paths that mean something on one machine alone, in what a cell has printed or shown."""
    texts = [text for output in cell.get("outputs", []) for kind, text in
             [("text/plain", output.get("text", "")), *output.get("data", {}).items()]
             if kind.startswith("text/")]
    shown = EMBEDDED.sub("", "\n".join("".join(text) for text in texts))
    return list(dict.fromkeys(MACHINE.findall(shown)))


class Facts(NamedTuple):
    """What the checks need to know of one page."""

    wrong: list[str]     # findings that concern this page alone
    anchors: list[str]   # what can be linked to
    links: list[str]     # where its own links lead


def html_problems(folder: Path, known: dict[str, Any] | None = None) -> list[str]:
    """What is unfit in a folder of built pages: foreign addresses, alt text, dead inner links.

    `known` keeps the facts of pages by the hash of their content, and is brought up to date: most
    pages of a book are the same as when it was last built.
    """
    known, own = {} if known is None else known, Path(__file__).read_bytes()
    facts, seen = {}, {}
    for path in sorted(folder.rglob("*.html")):
        content = path.read_bytes()
        key = hashlib.sha256(own + content).hexdigest()
        seen[key] = known.get(key) or list(page_facts(parse(path)))
        facts[path] = Facts(*seen[key])
    known.clear()
    known |= seen
    anchors = {path: set(one.anchors) for path, one in facts.items()}
    wrong = []
    for path, one in facts.items():
        name = path.relative_to(folder).as_posix()
        findings = [*one.wrong, *dead_links(path, one.links, folder, anchors)]
        wrong += [f"{name}: {finding}" for finding in dict.fromkeys(findings)]
    for path in sorted(folder.rglob("*.css")):
        for address in foreign_in_css(path.read_text(encoding="utf8", errors="replace")):
            wrong.append(f"{path.relative_to(folder).as_posix()}: style fetches {address}")
    return wrong


def page_facts(soup: BeautifulSoup) -> Facts:
    """What can be said of a page without looking at the others."""
    anchors = [str(tag.get("id") or tag.get("name")) for tag in soup.find_all(True)
               if tag.get("id") or tag.get("name")]
    return Facts([*foreign(soup), *without_alt(soup)], anchors,
                 list(dict.fromkeys(str(tag["href"]) for tag in soup.find_all("a", href=True))))


def parse(path: Path) -> BeautifulSoup:
    """A page as a tree."""
    from bs4 import BeautifulSoup

    return BeautifulSoup(path.read_text(encoding="utf8"), "html.parser")


def foreign(soup: BeautifulSoup) -> Iterator[str]:
    """What on a page asks another host for something without the reader's click."""
    for tag, attribute, address in fetched(soup):
        if FOREIGN.match(address.strip()):
            yield f"foreign address in <{tag.name} {attribute}>: {address.strip()[:90]}"
    for script in soup.find_all("script"):
        kind = str(script.get("type") or "")
        if not script.get("src") and "json" not in kind:
            for address in FOREIGN.findall(script.get_text()):
                if address.startswith(("http", "//")) and "://www.w3.org" not in address:
                    yield f"foreign address in an inline script: {address}"
    for style in soup.find_all("style"):
        for address in foreign_in_css(style.get_text()):
            yield f"foreign address in an inline style: {address}"
    for tag in soup.find_all(style=True):
        for address in foreign_in_css(str(tag["style"])):
            yield f"foreign address in a style attribute: {address}"


def fetched(soup: BeautifulSoup) -> Iterator[tuple[Tag, str, str]]:
    """(tag, attribute, address) of all that a browser fetches for a page; srcset entry by entry."""
    for name, attributes in FETCHED.items():
        for tag in soup.find_all(name):
            for attribute in attributes:
                value = str(tag.get(attribute) or "")
                for address in value.split(",") if attribute == "srcset" else [value]:
                    if address and not address.startswith("data:"):
                        yield tag, attribute, address
    for tag in soup.find_all("link", href=True):
        if FETCHED_LINKS & {str(relation).lower() for relation in tag.get("rel") or []}:
            yield tag, "href", str(tag["href"])


def foreign_in_css(text: str) -> list[str]:
    """Addresses on other hosts that a style sheet fetches."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    addresses = re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", text)
    return [address for pair in addresses for address in pair if FOREIGN.match(address)]


def without_alt(soup: BeautifulSoup) -> Iterator[str]:
    """Images without a text for those who do not see them; docutils fills in the file name."""
    for image in soup.find_all("img"):
        alt, source = str(image.get("alt") or "").strip(), str(image.get("src") or "")
        if not alt or alt == source or IMAGE_NAME.search(alt):
            yield f"image without alt text: {source[:90]}"
    for embedded in soup.find_all("object"):
        if not embedded.get_text(strip=True) and not embedded.get("aria-label"):
            yield f"object without a text: {str(embedded.get('data'))[:90]}"


def dead_links(path: Path, links: list[str], folder: Path, anchors: dict[Path, set[str]]
               ) -> Iterator[str]:
    """Links to pages, files or anchors that the built folder does not have."""
    for address in links:
        link = urlsplit(address)
        if link.scheme or link.netloc or (not link.path and not link.fragment):
            continue
        target = path if not link.path else (path.parent / unquote(link.path)).resolve()
        if target.is_dir():
            target /= "index.html"
        if not target.is_file() or folder.resolve() not in target.resolve().parents:
            yield f"dead link: {address}"
        elif link.fragment and target in anchors and unquote(link.fragment) not in anchors[target]:
            yield f"dead anchor: {address}"


# ---------------------------------------------------------------- links to other hosts
def outer_links(folder: Path) -> dict[str, str]:
    """Every address of another host that the built pages link to, with the first page that does."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.html")):
        for tag in parse(path).find_all("a", href=True):
            address = str(tag["href"]).split("#")[0]
            if urlsplit(address).scheme in ("http", "https"):
                found.setdefault(address, path.relative_to(folder).as_posix())
    return found


def dead_outer_links(folder: Path, limit: float = 20.0) -> tuple[list[str], list[str]]:
    """Outer links that lead nowhere, and those that a program cannot judge; asks the network.

    `limit` is in seconds a link. A host that refuses programs (401, 403, 429) or is out of order
    says nothing about its page: such links are for a reader to look at.
    """
    links = outer_links(folder)
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(links, pool.map(lambda one: answer(one, limit), links), strict=True))
    sentences = {one: f"{links[one]}: {one}: {said}" for one, said in answers.items() if said}
    gone = [one for one, said in answers.items() if said in GONE]
    return ([sentences[one] for one in gone],
            [text for one, text in sentences.items() if one not in gone])


def answer(address: str, limit: float) -> str:
    """What a host says of an address: empty if all is well, else a status or an error."""
    said = ""
    for method in ("HEAD", "GET"):  # some hosts know no HEAD, or answer it wrongly
        request = urllib.request.Request(address, method=method, headers={"User-Agent": AGENT})
        try:
            with urllib.request.urlopen(request, timeout=limit):
                return ""
        except urllib.error.HTTPError as error:
            said = f"status {error.code}"
            error.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            said = NO_HOST if isinstance(reason, socket.gaierror) else f"no answer: {reason}"
    return said
