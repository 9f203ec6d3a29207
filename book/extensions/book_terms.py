"""Sphinx extension: a link to a term of the glossary shows the term's definition under the pointer.

The link itself leads to the glossary, for the keyboard and for readers without a pointer.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes

LONGEST = 240  # characters of a definition


def definitions(app: Any) -> dict[str, str]:
    """What the glossaries of the book say, by the anchor of the term."""
    found = {}
    for page in sorted(app.env.found_docs):
        tree = app.env.get_doctree(page) if page in app.env.glossaries else nodes.container()
        for entry in tree.findall(nodes.definition_list_item):
            words = " ".join(" ".join(part.astext().split())
                             for part in entry.findall(nodes.definition))
            for term in entry.findall(nodes.term):
                found |= dict.fromkeys(term["ids"], shortened(words))
    return found


def shortened(words: str) -> str:
    """A definition that fits under a pointer; it ends at a sentence where there is one."""
    if len(words) <= LONGEST:
        return words
    start = words[:LONGEST]
    return start[: start.rfind(". ") + 1] or start[: start.rfind(" ")] + " …"


def note_glossary(app: Any, tree: nodes.document) -> None:
    """Remember which pages hold a glossary: few do, and only those are read again."""
    page = app.env.docname
    known = getattr(app.env, "glossaries", set()) - {page}
    app.env.glossaries = known | {page} if any(tree.findall(addnodes.glossary)) else known


def explain(app: Any, tree: nodes.document, page: str) -> None:
    """Give every link to a term its definition."""
    links = [link for link in tree.findall(nodes.reference)
             if any("std-term" in part["classes"] for part in link.findall(nodes.Element))]
    known = definitions(app) if links else {}
    for link in links:
        anchor = link.get("refid") or link.get("refuri", "").rpartition("#")[2]
        if anchor in known:
            link["reftitle"] = known[anchor]


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; links are resolved before the last event."""
    app.connect("doctree-read", note_glossary)
    app.connect("doctree-resolved", explain, priority=900)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
