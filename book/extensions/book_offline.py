"""Sphinx extension: keep every page on its own origin.

jupyter-book always loads sphinx-thebe, which writes the address of a foreign script into every page
and starts kernels on a foreign host. No option turns it off, so its listeners are taken out.
"""

from __future__ import annotations

from typing import Any


def silence_thebe(app: Any, config: Any) -> None:
    """Disconnect every listener of sphinx-thebe; it adds its scripts through nothing else."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__.split(".")[0] == "sphinx_thebe":
                app.disconnect(listener.id)


def drop_thebe_scripts(
    app: Any, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop what mentions thebe from a page's scripts and styles, whoever added it."""
    for key in ("script_files", "css_files"):
        context[key] = [file for file in context.get(key, []) if "thebe" not in describe(file)]


def describe(file: Any) -> str:
    """Everything a script or style entry says about itself: its file name and its inline body."""
    return f"{file} {getattr(file, 'filename', '')} {getattr(file, 'attributes', '')}".lower()


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx; the page hook comes last, after every other extension's."""
    app.connect("config-inited", silence_thebe)
    app.connect("html-page-context", drop_thebe_scripts, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
