"""Where code comes from: `wlib`, a package, or the reader himself.

A package's code is told by its name and version. The reader's own has neither, so it counts by its
source, with all that it imports.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wlib.ground import reach
from wlib.ground.sources import files_in

HEAP_TYPE = 1 << 9      # of a class's __flags__: made by Python code or at run time, not built in


def home(value: Any) -> str:
    """Where code comes from: "wlib", "installed" (a package or Python's own) or "own"."""
    is_module = isinstance(value, types.ModuleType)
    name = value.__name__ if is_module else getattr(value, "__module__", None) or "builtins"
    if name.split(".")[0] == "wlib" and name in reach.LOADED.sources:
        return "wlib"
    if name == "__main__":
        return "own"
    top = name.partition(".")[0]
    for module in (name, top):                   # parts of a package that C made have no file
        if file := getattr(sys.modules.get(module), "__file__", None):
            return "installed" if in_package(file) else "own"
    # Python's own modules have none either, and `exec` gives what it makes a name of one of them.
    made = isinstance(value, types.FunctionType) or isinstance(value, type) and bool(
        value.__flags__ & HEAP_TYPE)
    own = made and _at(name, value.__qualname__) is not value
    return "own" if own or top not in sys.stdlib_module_names else "installed"


def found_by_name(value: Any) -> bool:
    """Whether module and name of an object of a package lead to it, so that they stand for it."""
    if home(value) == "own":
        return False
    return _at(getattr(value, "__module__", None), getattr(value, "__qualname__", "?")) is value


def _at(module: Any, name: str) -> Any:
    """What a qualified name leads to in a module that is loaded; None if nothing."""
    return functools.reduce(lambda found, part: getattr(found, part, None), name.split("."),
                            sys.modules.get(module))


def release(value: Any) -> str:
    """The version of the package that something comes from."""
    module = sys.modules.get((getattr(value, "__module__", None) or "builtins").split(".")[0])
    return str(getattr(module, "__version__", ""))


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    """Python's own, and those where pip has put packages: also by --user or --target."""
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    found = [Path(folder).resolve() for folder in sys.path if any(Path(folder).glob("*.dist-info"))]
    return tuple({Path(sysconfig.get_path(key)).resolve() for key in keys} | set(found))


@functools.lru_cache(maxsize=4096)
def in_package(file: str) -> bool:
    """Whether a file lies where packages are installed."""
    return any(folder in Path(file).resolve().parents for folder in _installed_folders())


@functools.cache
def _is_installed(top: str) -> bool:
    """Whether a top-level module is Python's own or a package's."""
    spec = _spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return top in sys.stdlib_module_names or any(map(in_package, filter(None, places)))


def _spec(name: str) -> Any:
    """Where a module lies, loaded or not; None if there is none of that name."""
    try:
        return importlib.util.find_spec(name)
    except Exception:     # no module, one made by hand, or in a package that cannot be imported
        return None


# ---------------------------------------------------------------- the reader's own modules
def own_modules(names: Iterable[str]) -> Any:
    """The reader's own modules among these and all that they import: their code, by its name.

    Imports count wherever they stand, and whether or not they have been run: the key of a result
    must not depend on that. A package counts with all that lies in its folder.
    """
    todo, seen, found = list(names), set(), {}
    while todo:
        name = todo.pop()
        for part, file in () if name in seen else _own_files(name):
            found[part] = hashlib.sha256(file.read_bytes()).hexdigest()
            if file.suffix == ".py":
                source = file.read_text(encoding="utf-8")
                package = part if file.stem == "__init__" else part.rpartition(".")[0]
                found[part] = reach.code_fingerprint(source, package=package, module=True)
                todo += imported(source, package)
        seen.add(name)
    return [sorted(names), sorted(found.items())]


def imported(source: str, package: str) -> set[str]:
    """Names of all modules that a source may import but Python's, packages' and `wlib`'s."""
    places = [place.partition(":") for node in ast.walk(reach.parse(source) or ast.Module([], []))
              for _, place in reach.imports(node, package)]
    found = {name for module, _, part in places for name in (module, f"{module}.{part}") if module}
    tops = {name: name.partition(".")[0] for name in found}
    return {name for name, top in tops.items() if top != "wlib" and not _is_installed(top)}


def _own_files(name: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of one of the reader's own modules, a package's with all inside."""
    spec = _spec(name)
    file = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None)
    inside = [pair for folder in (spec and spec.submodule_search_locations) or ()
              for pair in files_in(Path(folder), name)]
    for part, path in ([(name, Path(file))] if file else []) + inside:
        if path.is_file() and not in_package(str(path)):
            yield part, path
