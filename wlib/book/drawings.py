"""The drawings that a book brings: the package `book/drawings` in the book's own folder."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from wlib.check import require_one_of


@functools.cache
def load(root: Path) -> ModuleType | None:
    """The package `book/drawings` of a book; None if the book draws nothing."""
    path = root / "book" / "drawings" / "__init__.py"
    if not path.is_file():
        return None
    name = f"drawings of {root}"  # each book's own, whatever lies on Python's path
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file has one
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def svgs(root: Path) -> dict[str, bytes]:
    """All drawings of a book as SVG, by name."""
    book = load(root)
    return {} if book is None else {name: book.rendered(draw)
                                    for name, (draw, _) in book.DRAWINGS.items()}


def alt(root: Path, name: str) -> str:
    """What a drawing says, for those who do not see it; one line."""
    book = load(root)
    known = {} if book is None else book.DRAWINGS
    require_one_of("drawing", name, known)
    return known[name][1]
