"""The source of `wlib`, read once in a process, with the first module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

Sources = Mapping[str, str]  # module name -> source text


def read_sources(folder: Path | str = PACKAGE) -> dict[str, str]:
    """The source of every module of the package `wlib` in `folder`, as it is on disk now."""
    return {name: path.read_text(encoding="utf-8")
            for name, path in files_in(Path(folder), "wlib")}


def files_in(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of a package and of all that lies in it."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if all(part.isidentifier() for part in parts):      # no editor's or notebook's own copy
            yield ".".join([package, *parts]).removesuffix(".__init__"), path


READ = read_sources()
