"""The pages: stage what a build needs, let jupyter-book make HTML, refuse what is not fit to read.

Data flows one way: book/ and the executed notebooks of a profile -> stage -> HTML. The stage is
rewritten only where its content changed, because Sphinx decides by file time what to build again.
The HTML is made in a working folder, checked there, and then moved into place: a failed build
leaves the last good pages. What Sphinx read of an unchanged page is kept; every page is written
anew, because all of them show the contents and many quote one another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import webbrowser
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from wlib.book import material, pagecheck, pageparts, staging
from wlib.book.pagecheck import PageError
from wlib.check import require_one_of
from wlib.ground import reach
from wlib.ground.files import locked

CHECKED = "checked.json"  # what the checks found out about pages, by the hash of their content
FINISHED = "finished"  # in Sphinx's folder: which machinery made it, if it came to its end
SKIPPED = {"__pycache__", ".ipynb_checkpoints", ".DS_Store"}
BUILDERS = ("jupyter-book", "sphinx", "sphinx-book-theme", "pydata-sphinx-theme", "myst-nb",
            "sphinx-exercise", "sphinxcontrib-bibtex", "matplotlib")
# The package has no __main__; its script may belong to another environment on the PATH.
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
REPOSITORY_BUTTONS = ("use_edit_page_button", "use_repository_button", "use_issues_button")
BINDER = "https://mybinder.org"  # builds environment.yml; asked for nothing until it is clicked
SMOKE = ("This book was built at profile <b>smoke</b>, which only proves that every cell runs: "
         "<b>its numbers mean nothing</b>.")


def build(profile: str, open: bool = False, root: str | os.PathLike[str] = ".") -> Path:
    """Build the pages of a profile from its executed notebooks; the path of their index.html.

    Raises `PageError` (a `ValueError`) with everything that is wrong, leaving the last good pages.
    """
    root = Path(root).resolve()
    require_one_of("profile", profile, [path.stem for path in (root / "profiles").glob("*.yml")])
    folder = root / "_build" / profile
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "pages.lock", lambda error: print(
            f"{folder}: {error.strerror}: this file system has no locks; build one book at a time",
            file=sys.stderr)):
        files = staged(profile, root)
        made_of = digest(files)
        html = folder / "html"
        restore(html)
        if not (html / "index.html").is_file() or built_from(folder) != made_of:
            write_stage(folder / "stage", files)
            made = make_html(folder, machinery(files))
            known = material.read_json(folder / CHECKED, damaged={}) or {}
            wrong = pagecheck.html_problems(made, known)
            write(folder / CHECKED, json.dumps(known).encode())
            if wrong:
                raise PageError(f"the pages of profile {profile} are not fit to read", wrong)
            swap(made, html)
            write(folder / "pages.json", json.dumps({"stage": made_of}).encode())
    index = html / "index.html"
    if open:
        webbrowser.open(index.as_uri())
    return index


def staged(profile: str, root: Path) -> dict[str, bytes]:
    """What the stage of a profile holds: content by path in the stage. Nothing is written yet."""
    pages = toc_pages(root / "_toc.yml")
    wrong = pagecheck.source_problems(root, pages)
    book = material.Book.read(root, profile)
    code = reach.digest(reach.read_sources())
    files: dict[str, bytes] = {"_toc.yml": contents(root, book),
                               "_config.yml": config(root, profile)}
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and not SKIPPED & set(path.parts):
            name = path.relative_to(root).as_posix()
            files[name] = (fill(path, book, code, wrong) if path.suffix == ".md"
                           else path.read_bytes())
    for page in pages:
        if page.startswith("notebooks/"):
            files[f"{page}.ipynb"] = stage_notebook(Path(page).name, book, wrong)
    for name, drawing in pageparts.pictures(book).items():
        files[f"book/figures/{name}.svg"] = drawing
    if wrong:
        raise PageError(f"the pages of profile {profile} cannot be staged", wrong)
    return files


def toc_pages(path: Path) -> list[str]:
    """The pages that a table of contents names, without suffix, the landing page first."""
    toc = yaml.safe_load(path.read_text(encoding="utf8"))

    def walk(node: Any) -> list[str]:
        if isinstance(node, list):
            return [page for item in node for page in walk(item)]
        if not isinstance(node, dict):
            return []
        here = [node[key] for key in ("root", "file") if key in node]
        return here + [page for key in ("parts", "chapters", "sections", "subtrees", "entries")
                       for page in walk(node.get(key))]

    return [re.sub(r"\.(md|ipynb)$", "", page) for page in walk(toc)]


def contents(root: Path, book: material.Book) -> bytes:
    """The table of contents as staged: behind each notebook's title, how long it takes."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf8"))

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            name = re.sub(r"\.ipynb$", "", str(node.get("file", "")))
            if name.startswith("notebooks/"):
                title = staging.timed_title(Path(name).name, book)
                node |= {"title": title} if title else {}
            walk(list(node.values()))

    walk(toc)
    return yaml.safe_dump(toc, sort_keys=False, allow_unicode=True).encode()


def config(root: Path, profile: str) -> bytes:
    """The book's configuration for a profile: a smoke build says on every page what it is.

    Where `repository: url` is set, every page gets links to edit it, to the repository and its
    issues, and each notebook one that launches it.
    """
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf8"))
    html = settings.setdefault("html", {})
    if profile == "smoke":
        html["announcement"] = SMOKE
    if (settings.get("repository") or {}).get("url"):
        html |= dict.fromkeys(REPOSITORY_BUTTONS, True)
        settings.setdefault("launch_buttons", {})["binderhub_url"] = BINDER
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()


def fill(path: Path, book: material.Book, code: str, wrong: list[str]) -> bytes:
    """A chapter with its generated parts in place; what cannot be generated is added to `wrong`.

    A page of the library also names the hash of the code, so that it is read again when that
    changes.
    """
    try:
        text = pageparts.fill(path.read_text(encoding="utf8"), book)
        if "<!-- library: " in text:
            text += f"\n<!-- {code} -->\n"
        return text.encode()
    except ValueError as error:
        wrong.append(f"{path.relative_to(book.root).as_posix()}: {error}")
        return b""


def stage_notebook(name: str, book: material.Book, wrong: list[str]) -> bytes:
    """An executed notebook as staged: its latest prose, its outputs, its box of provenance."""
    path = book.folder / "executed" / f"{name}.ipynb"
    if not path.is_file():
        wrong.append(f"{name}: not executed at profile {book.profile}; "
                     f"run: wlib run {name} --profile {book.profile}")
        return b""
    notebook = material.read_json(path)
    try:
        source = material.read_json(book.root / "notebooks" / path.name)
        notebook = staging.refresh(source or notebook, notebook)
    except ValueError as error:
        wrong.append(f"{name}: {error}")
        return b""
    wrong += pagecheck.notebook_problems(name, notebook)
    return staging.dress(name, notebook, book)


def digest(files: dict[str, bytes]) -> str:
    """One hash of the stage, of the code that builds it and of the versions that build it."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        total.update(path.read_bytes())
    for package in BUILDERS:
        total.update(f"{package} {metadata.version(package)}\n".encode())
    for name in sorted(files):
        total.update(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return total.hexdigest()


def machinery(files: dict[str, bytes]) -> str:
    """One hash of what changes how *any* page is read: settings, extensions, versions."""
    how = {name: content for name, content in files.items()
           if name == "_config.yml" or name.startswith("book/extensions/")}
    return digest(how)


def built_from(folder: Path) -> str | None:
    """The digest that the present pages were built from, or None."""
    try:
        return json.loads((folder / "pages.json").read_text(encoding="utf8"))["stage"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stage(stage: Path, files: dict[str, bytes]) -> None:
    """Make the folder hold exactly these files, touching only those whose content changed."""
    for path in sorted(stage.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(stage).as_posix() not in files:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name, content in files.items():
        path = stage / name
        if not path.is_file() or path.read_bytes() != content:
            write(path, content)


def make_html(folder: Path, made_by: str) -> Path:
    """Run jupyter-book on the stage with warnings as errors; the folder of the HTML it made.

    What Sphinx has read is taken up again only if the last build came to its end, in the same way.
    """
    work, log = folder / "sphinx", folder / "pages.log"
    begin(work, made_by)
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(folder / "stage"),
               "--path-output", str(work), "-W", "-n", "--keep-going"]
    # Python's own warnings concern Sphinx, not the book; no bytecode may land in the stage.
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, env=environment, text=True, encoding="utf8", errors="replace",
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    write(log, run.stdout.encode())
    if run.returncode:
        # Sphinx warns only while it reads a page; kept doctrees would hide the warning next time.
        shutil.rmtree(work, ignore_errors=True)
        headline = f"jupyter-book failed; its whole output is in {log}"
        raise PageError(headline, complaints(run.stdout))
    write(work / FINISHED, made_by.encode())
    return work / "_build" / "html"


def begin(work: Path, made_by: str) -> None:
    """Keep of an earlier build what was read, if it can be trusted; never what was written."""
    finished = work / FINISHED
    trusted = finished.is_file() and finished.read_text(encoding="utf8") == made_by
    finished.unlink(missing_ok=True)
    shutil.rmtree(work / "_build" / "html" if trusted else work, ignore_errors=True)


def complaints(output: str) -> list[str]:
    """The warnings and errors in jupyter-book's output, or its last lines where it names none."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output.splitlines()]
    named = [line for line in lines if re.search(r"\b(WARNING|ERROR|CRITICAL|Error)\b", line)]
    return (named or [line for line in lines if line.strip()][-15:])[:30]


def swap(made: Path, html: Path) -> None:
    """Put a copy of the pages in place of the old ones: two renames, nothing half-copied seen."""
    new, old = html.with_name("html.new"), html.with_name("html.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(made, new, ignore=shutil.ignore_patterns(".buildinfo*", "*.inv.tmp"))
    if html.exists():
        os.replace(html, old)
    os.replace(new, html)
    shutil.rmtree(old, ignore_errors=True)


def restore(html: Path) -> None:
    """Take the old pages back where a build was killed between the two renames of `swap`."""
    old = html.with_name("html.old")
    if not html.exists() and old.exists():
        os.replace(old, html)


def write(path: Path, content: bytes) -> None:
    """Write a file by a temporary name in its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
