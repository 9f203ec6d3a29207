"""Sphinx extension: the pages of the library, and links to them.

A page asks for its entries by a comment, `<!-- library: PACKAGE ... -->`. They are the names of the
package's `__all__`, then module by module what else is public there; autodoc writes each from its
signature and docstring. Docstrings are Markdown, as the chapters are, and a comment behind a field
or a constant is its description. Inline code that names an entry becomes a link to it.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from docutils import nodes, utils
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.pycode import parser
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

ASKED = re.compile(r"<!-- library: (.+) -->")
BACK = re.compile(r'(?<=class="viewcode-back" href=")([^"#]*#)([^"]+)')
FULL_NAME = re.compile(r"wlib(\.\w+)+")
# As in Sphinx, but for the colon; a comment that is a ruled heading describes nothing.
COMMENT = re.compile(r"^\s*#(?!.*---):? ?(.*)\r?\n?$")


# ---------------------------------------------------------------- what stands on a page
def entries(app: Any, page: str, source: list[str]) -> None:
    """Put the entries in the place of the comment that asks for them."""
    title = source[0].partition("\n")[0]
    source[0] = ASKED.sub(lambda asked: "\n\n".join(
        text for name in asked[1].split() for text in sections(import_module(name), title)),
        source[0])


def sections(module: ModuleType, title: str) -> Iterator[str]:
    """Markdown for a package and each of its modules, under headings but for the page's title."""
    front = members(module)
    names = [module.__name__, *(f"{module.__name__}.{found.name}" for found
                                in pkgutil.iter_modules(getattr(module, "__path__", ())))]
    for name in names:
        things = front if name == module.__name__ else {
            own: thing for own, thing in members(import_module(name)).items()
            if not any(thing is shown for shown in front.values())}
        heading = [f"## {name}", ""] * (title != f"# {name}")
        yield "\n".join([*heading, "```{eval-rst}", *described(name, things), "```"])


def members(module: ModuleType) -> dict[str, Any]:
    """What is public in a module: a package's `__all__`, constants last, or all that it defines."""
    if hasattr(module, "__path__"):
        named = ((name, getattr(module, name)) for name in getattr(module, "__all__", ()))
        things = [(name, thing) for name, thing in named if not inspect.ismodule(thing)]
        return dict(sorted(things, key=lambda item: not callable(item[1])))
    return {name: thing for name, thing in vars(module).items() if not name.startswith("_")
            and callable(thing) and getattr(thing, "__module__", None) == module.__name__}


def described(module: str, things: dict[str, Any]) -> Iterator[str]:
    """Autodoc's directives for a module and for things in it."""
    yield f".. automodule:: {module}"
    package, _, name = module.rpartition(".")
    if callable(getattr(import_module(package), name, None)):
        yield "   :no-index:"                       # the name is that of a function beside it
    yield ""
    if len(things) > 1:                             # first what there is
        names = " · ".join(f"`{own}`" for own in things)
        yield from (f".. docstring:: {module}", "", f"   {names}", "")
    for name, thing in things.items():
        yield f".. auto{kind(thing)}:: {module}.{name}"
        if inspect.isclass(thing):
            yield from ("   :members:", "   :member-order: bysource")
        yield ""


def kind(thing: Any) -> str:
    """The directive of autodoc that fits."""
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if callable(thing) else "data"


# ---------------------------------------------------------------- docstrings
class Docstring(SphinxDirective):
    """Markdown in the midst of autodoc's language: of an object, with parameters of these names."""

    has_content = True
    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        page = utils.new_document(self.get_source_info()[0], self.state.document.settings)
        MystParser().parse("\n".join(self.content), page)
        parameters = " ".join(self.arguments[1:]).split()
        for literal in page.findall(nodes.literal):
            if literal.astext() not in parameters:
                literal["object"] = self.arguments[0]
        return page.children


def as_markdown(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Hand a docstring to `Docstring`; what a type says of its values or fields is left out."""
    text = "\n".join(lines)
    if not text.strip() or text.startswith("Alias for field number") or (
            what == "data" and text.strip() == (inspect.getdoc(type(thing)) or "").strip()):
        lines.clear()
        return
    try:
        parameters = inspect.signature(thing).parameters
    except (TypeError, ValueError):                                    # not called
        parameters = {}
    lines[:] = [f".. docstring:: {' '.join([name, *parameters])}", "",
                *("   " + line for line in lines), ""]


# ---------------------------------------------------------------- links
def link(app: Any, tree: nodes.document, page: str) -> None:
    """Make inline code that names an entry a link; a full name that leads nowhere is a mistake."""
    known = app.env.domains["py"].objects
    for literal in list(tree.findall(nodes.literal)):
        if isinstance(literal.parent, (nodes.title, nodes.reference)):
            continue
        text = literal.astext().partition("(")[0]
        name = next((name for name in meant(text, literal.get("object")) if name in known), None)
        if name:
            entry = known[name]
            literal.replace_self(make_refnode(app.builder, page, entry.docname, entry.node_id,
                                              literal.deepcopy(), name))
        elif FULL_NAME.fullmatch(text) and ".".join(text.split(".")[:2]) in known:
            logging.getLogger(__name__).warning("no such name in the library: %s", text,
                                                location=literal)


def meant(text: str, place: str | None) -> Iterator[str]:
    """What a text may name, the nearest first: in the docstring of `place` also what lies there."""
    if FULL_NAME.fullmatch(text):
        yield text
        library, package, *path = text.split(".")
        if len(path) > 1:
            yield ".".join([library, package, *path[1:]])               # shown in its package
    while place:
        yield f"{place}.{text}"
        place = place.rpartition(".")[0]


def back(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Lead from a source to its entry, in the package or in the module: viewcode knows one only."""
    known, module = app.env.domains["py"].objects, page.removeprefix("_modules/").replace("/", ".")

    def entry(found: re.Match[str]) -> str:
        own = found[2].removeprefix(f"{module}.").removeprefix(f"{module.rpartition('.')[0]}.")
        names = (name for name in meant(f"{module}.{own}", None) if name in known)
        return found[1] + next((known[name].node_id for name in names), found[2])

    if page.startswith("_modules/"):
        context["body"] = BACK.sub(entry, context["body"])


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; comments are read as Sphinx reads those with a colon."""
    parser.comment_re = COMMENT
    app.add_directive("docstring", Docstring)
    app.connect("source-read", entries)
    app.connect("autodoc-process-docstring", as_markdown)
    app.connect("doctree-resolved", link)
    app.connect("html-page-context", back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
