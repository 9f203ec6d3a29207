"""A notebook's parameters: read from its tagged cell, and checked before anything runs.

papermill only warns about a name that the notebook does not have, and passes any type.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from wlib.check import require, require_one_of, short
from wlib.ground import reach

NAMESPACES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def defaults(path: Path) -> dict[str, Any]:
    """The names and default values in a notebook's one cell tagged `parameters`.

    The cell may hold only lines `name = literal`: it is read, not run. `ValueError` otherwise,
    and for what would let other values count than those given: a tag on a cell of prose (papermill
    injects after it), a cell injected in an earlier run, a parameter that another cell sets again.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tags = [cell.get("metadata", {}).get("tags", []) for cell in cells]
        tagged = [cell for cell, own in zip(cells, tags, strict=True) if "parameters" in own]
        injected = sum("injected-parameters" in own for own in tags)
        kinds = [cell["cell_type"] for cell in tagged]
        sources = ["".join(cell["source"]) for cell in tagged]
        others = ["".join(cell["source"]) for cell in cells
                  if cell["cell_type"] == "code" and cell not in tagged]
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a notebook: {error!r}") from error
    require(kinds == ["code"], f"{path.name}: cells tagged 'parameters'", kinds,
            "exactly one, of code")
    require(injected == 0, f"{path.name}: cells tagged 'injected-parameters'", injected,
            "none: this is the output of an earlier run")
    found = assignments(sources[0], path.name)
    for source in others:
        for name in sorted(_assigned(source) & set(found)):
            require(False, f"{path.name}: parameter {name}", source, "cells that only read it, "
                    "so that the results tell the value that counted")
    return found


def _assigned(source: str) -> set[str]:
    """The names that a cell's own statements (not its loops or functions) assign to."""
    todo = list((reach.parse(source) or ast.Module([], [])).body)
    names: set[str] = set()
    while todo:
        node = todo.pop()
        todo += [part for block in ("body", "orelse", "finalbody") for part in
                 getattr(node, block, []) if not isinstance(node, NAMESPACES)]
        targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            names |= {one.id for target in targets if target is not None
                      for one in ast.walk(target)
                      if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return names


def assignments(source: str, where: str) -> dict[str, Any]:
    """Names and values of lines `name = literal`; `ValueError` for any other line."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{where}: its parameters cell is not Python: {error}") from error
    found: dict[str, Any] = {}
    for node in statements:
        line = ast.unparse(node)
        match node:
            case (ast.Assign(targets=[ast.Name(id=name)], value=value)
                  | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)):
                require(name not in found, f"{where}: parameters cell", line, "each name once")
            case _:
                raise ValueError(f"{where}: parameters cell: got {short(line)}, want only lines "
                                 "such as `seeds = [0, 1, 2]`")
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            raise ValueError(f"{where}: parameters cell: got {line!r}, want a literal "
                             "(number, text, list, True, None)") from None
    return found


# ---------------------------------------------------------------- checking
def check(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values for known parameters, each of its default's type; `ValueError` names what is wrong."""
    checked = {}
    for name, value in given.items():
        require_one_of(f"{where}: parameter", name, known)
        checked[name] = conform(value, known[name], f"{where}: {name}")
    return checked


def conform(value: Any, default: Any, where: str) -> Any:
    """A value of its default's type: whole numbers pass as fractions, nothing else is changed.

    A default of None takes anything; a list's elements follow the default's elements.
    """
    if default is None:
        require(_is_plain(value), where, value, "numbers, texts, true, false, null, and lists or "
                "mappings of these")
        return value
    if isinstance(default, (list, tuple)):
        require(isinstance(value, (list, tuple)), where, value, f"a list like {default!r}")
        pattern = _widest(default) if default else None
        return [conform(item, pattern, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(default, float) and _is(value, int):
        value = float(value)
    require(_is(value, type(default)), where, value, f"{_kind(default)}, like {default!r}")
    require(not isinstance(value, float) or math.isfinite(value), where, value, "a finite number")
    return value


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold a value (YAML also has dates)."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    finite = not isinstance(value, float) or math.isfinite(value)
    return finite and isinstance(value, (type(None), bool, int, float, str))


def _widest(items: Sequence[Any]) -> Any:
    """The element whose type the others fit: a fraction among whole numbers, None if mixed."""
    floats = [item for item in items if isinstance(item, float)]
    pattern = floats[0] if floats else items[0]
    fits = all(_is(item, type(pattern)) or floats and _is(item, int) for item in items)
    return pattern if fits else None


def _is(value: Any, kind: type) -> bool:
    """`isinstance`, but True is not a number."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _kind(default: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text",
            dict: "a mapping"}.get(type(default), type(default).__name__)


# ---------------------------------------------------------------- the command line
def parse(text: str, default: Any, where: str) -> Any:
    """The value that a text on the command line stands for, by the default's type."""
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        require(text.lower() in ("true", "false"), where, text, "true or false")
        return text.lower() == "true"
    if isinstance(default, int):
        require(re.fullmatch(r"[+-]?\d+", text.strip(), re.ASCII) is not None, where, text,
                f"a whole number, like {default!r}")
        return int(text)
    if isinstance(default, float):
        return conform(_float(text, default, where), default, where)
    if isinstance(default, (list, tuple)):
        return conform(_list(text, default, where), default, where)
    return conform(_yaml(text, where), default, where)


def _float(text: str, default: Any, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: got {text!r}, want a number, like {default!r}") from None


def _list(text: str, default: Sequence[Any], where: str) -> list[Any]:
    """`[0, 1, 2]` or `0,1,2`; a single value is a list of one."""
    inner = text.strip()
    if inner.startswith("["):
        value = _yaml(inner, where)
        require(isinstance(value, list), where, text, f"a list like {list(default)!r}")
        return value
    pattern = _widest(default) if default else None
    parts = [part.strip() for part in inner.split(",")] if inner else []
    return [parse(part, pattern, f"{where}[{index}]") for index, part in enumerate(parts)]


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"{where}: got {text!r}, want a value such as 3, true, text or [1, 2]"
                         ) from None
