"""Whether a run is of today's code: the fingerprints of notebooks and scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wlib.ground import versions
from wlib.ground.reach import Sources, code_fingerprint, digest


def notebook_fingerprint(path: Path | str, parameters: Mapping[str, Any],
                         sources: Sources | None = None,
                         installed: Mapping[str, str] | None = None) -> str:
    """Hash of what a notebook's run depends on: code cells, parameters, versions, `wlib`.

    `parameters` are the final ones, after profile and command line. Markdown, outputs and
    metadata do not count. `installed` are the versions of a recorded run (default: those of this
    machine), so that a run made elsewhere is stale only when code has changed.
    """
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    installed = versions.current() if installed is None else installed
    return digest(parameters, installed, code_fingerprint(*code, sources=sources))


def script_fingerprint(path: Path) -> str:
    """Hash of a script's code and of every `wlib` module that it reaches."""
    return code_fingerprint(path.read_text(encoding="utf-8"), module=True)
