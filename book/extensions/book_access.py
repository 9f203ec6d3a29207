"""Sphinx extension: what the writers get wrong for readers who do not see the page."""

from __future__ import annotations

from typing import Any

# docutils gives a bibliography's entries a role that lists may not contain and ARIA has given up.
REPAIRS = (('role="doc-biblioentry"', 'role="listitem"'),)


def repair(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend a page's body."""
    for wrong, right in REPAIRS:
        if "body" in context:
            context["body"] = context["body"].replace(wrong, right)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
