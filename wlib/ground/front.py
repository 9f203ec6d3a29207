"""Fronts of packages: names that are imported when they are first used (PEP 562).

    if TYPE_CHECKING:                       # what editors and `reach` read
        from wlib.mge.generator import generate
    else:
        def __getattr__(name):
            return first_use(__name__, name)

So one list says what a package offers, and whoever uses a part of it loads no more than that part.
"""

from __future__ import annotations

import ast
import functools
import sys
from importlib import import_module
from typing import Any

from wlib.ground.sources import READ


def first_use(package: str, name: str) -> Any:
    """What a name of a package stands for, imported now: a name of its front, or a module in it."""
    if name in (places := _places(package)):
        value = getattr(import_module(places[name]), name)
    elif f"{package}.{name}" in READ:
        return import_module(f"{package}.{name}")
    else:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    setattr(sys.modules[package], name, value)          # found at once from now on
    return value


@functools.cache
def _places(package: str) -> dict[str, str]:
    """The names that a front imports, with the modules that define them."""
    return {alias.name: module for node in ast.walk(ast.parse(READ[package]))
            if isinstance(node, ast.ImportFrom) and (module := node.module or "").startswith(
                f"{package}.") for alias in node.names}
