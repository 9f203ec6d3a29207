"""Notebooks as they are staged: latest prose, outputs, box of provenance, anchors of measures."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from wlib.book.claimparts import measures
from wlib.book.material import Book, read_json
from wlib.book.origins import provenance, seconds
from wlib.ground import reach


def refresh(source: Mapping[str, Any], executed: Mapping[str, Any]) -> dict[str, Any]:
    """The executed notebook with the prose and the cell settings of its source.

    A new sentence re-runs nothing, so the executed file may have older prose. `ValueError` if the
    code is not the source's: then the outputs belong to another notebook.
    """
    ran = [one for one in executed["cells"] if one["cell_type"] == "code"]
    injected = [one for one in ran if "injected-parameters" in tags(one)]
    for one in injected:                           # folded: the provenance box names the profile
        one["metadata"]["tags"] = [*tags(one), "hide-input"]
        one["metadata"]["mystnb"] = {"code_prompt_show": "Show the parameters of this build"}
    ran = [one for one in ran if one not in injected]
    own = [one for one in source["cells"] if one["cell_type"] == "code"]
    if [code(one) for one in ran] != [code(one) for one in own]:
        raise ValueError("its code cells have changed since it was executed; run: wlib run --force")
    fresh, cells = copy.deepcopy(dict(source)), []
    for one in fresh["cells"]:
        cells.append(one)
        if one["cell_type"] == "code":
            with_outputs = ran.pop(0)
            one["outputs"] = with_outputs.get("outputs", [])
            one["execution_count"] = with_outputs.get("execution_count")
            if "parameters" in tags(one):
                cells += injected
    return fresh | {"cells": cells, "metadata": executed.get("metadata", {})}


def tags(one: Mapping[str, Any]) -> list[str]:
    """A cell's tags."""
    return one.get("metadata", {}).get("tags", [])


def code(one: Mapping[str, Any]) -> str:
    """What a code cell does, whatever its comments say."""
    return reach.code_fingerprint("".join(one["source"]))


def dress(name: str, notebook: Mapping[str, Any], book: Book) -> bytes:
    """A notebook as it is staged: provenance after its head, an anchor before each measure."""
    cells, headed, seen = [], False, set()
    for one in notebook["cells"]:
        found = [claim for claim in measures(one, name, book) if claim not in seen]
        seen |= set(found)
        cells += [markdown(f"measure-{claim}", f"(measure-{claim})=") for claim in found]
        cells.append(one)
        if one["cell_type"] == "markdown" and not headed:
            cells.append(markdown("provenance", provenance(name, book)))
            headed = True
    return json.dumps(dict(notebook) | {"cells": cells}, indent=1, ensure_ascii=False).encode()


def markdown(name: str, text: str) -> dict[str, Any]:
    """A Markdown cell."""
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": text}


def timed_title(name: str, book: Book) -> str | None:
    """A notebook's title as the contents show it, '01 · Points (1 min)', rounded up to minutes."""
    notebook = read_json(book.root / "notebooks" / f"{name}.ipynb") or {"cells": []}
    head = "".join(notebook["cells"][0]["source"]) if notebook["cells"] else ""
    found, took = re.match(r"# +(.+)", head), seconds(name, book)
    if found is None or took is None:
        return None
    title = re.sub(r"[*_`$]", "", found[1]).strip()
    return f"{title} ({max(1, math.ceil(took / 60))} min)"
