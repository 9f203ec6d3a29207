"""Measured tables as a file of `results/`, with where, when and with what they were made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.book import commits
from wlib.claims import staleness
from wlib.ground import files, versions

ROOT = Path(__file__).resolve().parents[1]


BEGUN = commits.commit_of(ROOT)      # what is measured, whatever is committed meanwhile


def record(path: Path | str, tables: Sequence[dict[str, Any]], threads: int | None = None,
           script: Path | None = None, packages: Sequence[str] = ()) -> Path:
    """Write tables (title, command, rows) to `path`, or to results/NAME.json for a plain name.

    `threads` is said where the measured code was held to so many. Tables made by a `script` on a
    machine without git say by its fingerprint which code made them. `packages` took part beside
    those that count for every result.
    """
    path = ROOT / "results" / f"{path}.json" if isinstance(path, str) else path
    commit, dirty = BEGUN
    made = {"date": commits.utc_now(), "commit": commit, "dirty": dirty} | claims.machine()
    if threads is not None:
        made["machine"] += f", {threads} thread{'s' if threads > 1 else ''} used"
    made["versions"] = versions.current() | {name: metadata.version(name) for name in packages}
    if script is not None:
        made["script"] = script.relative_to(ROOT).as_posix()
        made["fingerprint"] = staleness.script_fingerprint(script)
    return files.write_atomic(path, json.dumps({"provenance": made, "tables": list(tables)},
                                               indent=1, ensure_ascii=False) + "\n")
