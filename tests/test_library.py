"""The pages of the library: all that is public is there, and each page's example runs."""

import importlib.util
import inspect
import re
import runpy
import time
from importlib import import_module
from pathlib import Path

import pytest
import toybook
import yaml
from bs4 import BeautifulSoup

from wlib.book import pages
from wlib.book.pagecheck import PageError
from wlib.ground import reach

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "book" / "library").glob("*.md"))
NOT_SHOWN = {"book", "plot", "__main__"}     # machinery, and figures that need its tools
ASKED = {name: path for path in LIBRARY
         for names in re.findall(r"<!-- library: (.+) -->", path.read_text(encoding="utf8"))
         for name in names.split()}


def extension():
    """The book's Sphinx extension, not registered."""
    path = ROOT / "book" / "extensions" / "book_library.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- examples
@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_example_prints_what_the_page_says(path, tmp_path, monkeypatch, capsys):
    text = path.read_text(encoding="utf8")
    (code, printed), = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    assert max(map(len, code.splitlines())) <= 88
    script = tmp_path / "example.py"             # a file: the store reads a function's source
    script.write_text(code, encoding="utf8")
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))
    start = time.process_time()
    runpy.run_path(str(script))
    assert time.process_time() - start < 20
    assert capsys.readouterr().out == printed


# ---------------------------------------------------------------- nothing is left out
def test_every_package_and_module_is_asked_for_once():
    rooms = {name.split(".")[1] for name in reach.read_sources() if "." in name}
    assert {f"wlib.{room}" for room in rooms - NOT_SHOWN} == set(ASKED)
    assert sum(path.read_text(encoding="utf8").count("<!-- library: ") for path in LIBRARY
               ) == len(LIBRARY)


def names(module):
    """What a package lists; the modules among it have sections of their own."""
    return [name for name in getattr(module, "__all__", ())
            if not inspect.ismodule(getattr(module, name))]


@pytest.mark.parametrize("name", ASKED)
def test_every_public_name_has_one_entry(name):
    module = import_module(name)
    text = "\n".join(extension().sections(module, ""))
    entries = re.findall(r"^\.\. auto(?:class|exception|function|data):: (.+)$", text, re.MULTILINE)
    assert len(entries) == len(set(entries))
    for public in names(module):
        assert entries.count(f"{name}.{public}") == 1
    shown = [getattr(import_module(entry.rpartition(".")[0]), entry.rpartition(".")[2])
             for entry in entries]
    called = [thing for thing in shown if callable(thing)]
    assert len({id(thing) for thing in called}) == len(called)         # none by two names
    for part, source in reach.read_sources().items():
        if part.startswith(f"{name}."):
            for public in re.findall(r"^(?:def|class) ([a-zA-Z]\w*)", source, re.MULTILINE):
                thing = getattr(import_module(part), public)
                assert any(thing is function for function in called), (part, public)


def test_a_name_means_the_nearest_thing():
    meant = extension().meant
    assert list(meant("wlib.mge.generator.generate", None)) == [
        "wlib.mge.generator.generate", "wlib.mge.generate"]
    assert list(meant("wlib.mge.generate", None)) == ["wlib.mge.generate"]
    assert list(meant("wlib.mge", None)) == ["wlib.mge"]
    assert list(meant("flat", "wlib.core.pool.Pool")) == [
        "wlib.core.pool.Pool.flat", "wlib.core.pool.flat", "wlib.core.flat", "wlib.flat"]
    assert list(meant("flat", None)) == []


# ---------------------------------------------------------------- built pages
@pytest.fixture
def toy(tmp_path):
    """The toy book with one page of the library."""
    root = toybook.make(tmp_path / "toy")
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    toc["parts"][0]["chapters"].append({"file": "book/library/mge"})
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    (root / "book" / "library").mkdir()
    (root / "book" / "library" / "mge.md").write_text("# wlib.mge\n\n<!-- library: wlib.mge -->\n")
    return root


@pytest.mark.book
def test_entries_links_and_sources_are_built_and_a_wrong_name_is_refused(toy):
    index = toy / "book" / "index.md"
    whole = index.read_text(encoding="utf8")
    index.write_text(f"{whole}\n`wlib.mge.generate` and `wlib.mge.racing.race(...)`, `generate`\n")
    folder = pages.build("laptop", root=toy).parent
    page = BeautifulSoup((folder / "book/library/mge.html").read_text(), "html.parser")
    entry = page.find(id="wlib.mge.generate")
    assert entry.find("a", href="../../_modules/wlib/mge/generator.html#generate")
    text = entry.find_next_sibling("dd")
    assert [li.get_text().split()[0] for li in text.select("ol li")] == [
        "Transform", "Keep", "Draw", "Transform"]
    assert text.find("a", href="#wlib.mge.keep_mask").code and text.find("code", string="order")
    assert page.find(id="wlib.mge.Spectrum.coefficients").find_next_sibling(
        "dd").get_text(strip=True) == "(N, n) float64"                 # the comment behind a field
    assert "Built-in" not in page.get_text() and "Alias for" not in page.get_text()
    links = {a["href"]: a.get_text() for a in BeautifulSoup(
        (folder / "book/index.html").read_text(), "html.parser").select("article a:has(code)")}
    assert links == {"library/mge.html#wlib.mge.generate": "wlib.mge.generate",
                     "library/mge.html#wlib.mge.racing.race": "wlib.mge.racing.race(...)"}
    index.write_text(f"{whole}\n`wlib.mge.generated`\n")
    with pytest.raises(PageError, match="no such name in the library: wlib.mge.generated"):
        pages.build("laptop", root=toy)


def test_a_page_of_the_library_is_another_when_the_code_is(toy, monkeypatch):
    def page():
        return pages.staged("laptop", toy)["book/library/mge.md"]

    first = page()
    assert page() == first and first.startswith(b"# wlib.mge\n")
    monkeypatch.setattr(reach, "read_sources", lambda: {"wlib.mge": "def other(): ..."})
    assert page() != first


@pytest.mark.book
def test_every_public_name_stands_on_its_page(smoke_book):
    for name, path in ASKED.items():
        page = smoke_book.parent / "book" / "library" / f"{path.stem}.html"
        soup = BeautifulSoup(page.read_text(encoding="utf8"), "html.parser")
        for public in names(import_module(name)):
            assert len(soup.find_all(id=f"{name}.{public}")) == 1, (name, public)


@pytest.mark.book
def test_each_chapter_leads_to_its_page_of_the_library(smoke_book):
    for name in ("mge", "mda", "free", "d2nwg"):
        chapter = BeautifulSoup((smoke_book.parent / "book" / f"{name}.html").read_text(
            encoding="utf8"), "html.parser")
        assert chapter.select(f'article a[href^="library/{name}.html#"]'), name
