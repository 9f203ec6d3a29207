"""What the generated parts of the pages are made from: claims, runs, tables of benchmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlib import claims

SECOND_DATA = "Fashion-MNIST"     # what the runs of `claims.SECOND` are of, as the pages say it


@dataclass(frozen=True)
class Book:
    """What the generated parts are made from: the claims, this build's runs, the recorded ones."""

    root: Path
    profile: str
    rows: list[claims.Row]
    built: dict[str, dict[str, Any]] = field(default_factory=dict)     # notebook -> results
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)  # notebook -> results
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # best first
    second: dict[str, dict[str, Any]] = field(default_factory=dict)    # recorded, second data set
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)      # notebook -> run record
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)    # results/NAME.json

    @property
    def folder(self) -> Path:
        """Where the profile's executed notebooks and results lie."""
        return self.root / "_build" / self.profile

    @classmethod
    def read(cls, root: Path, profile: str) -> Book:
        """Gather everything for a profile; `ValueError` names a file that is not right."""
        rows = claims.load(root / "book" / "claims.yml")
        names = {path.stem for path in (root / "notebooks").glob("*.ipynb")}
        built = {name: claims.built(name, profile, root) for name in sorted(names)}
        records = {name: claims.records(name, root) for name in sorted(names)}
        second = {name: claims.recorded(name, root, claims.SECOND) for name in sorted(names)}
        runs = read_json(root / "_build" / profile / "runs.json") or {}
        return cls(root, profile, rows,
                   {name: results for name, results in built.items() if results},
                   {name: found[0] for name, found in records.items() if found}, records,
                   {name: results for name, results in second.items() if results},
                   {name: run for name, run in runs.get("notebooks", runs).items()
                    if isinstance(run, dict)},
                   {path.stem: read_json(path) for path in (root / "results").glob("*.json")})

    def judged(self, row: claims.Row) -> dict[str, Any] | None:
        """The run a row is judged by: the best recorded one that measured it, else this build's."""
        for runs in (self.recorded, self.built):
            results = runs.get(row.notebook)
            if results and row.id in results["measures"]:
                return results
        return None

    def verdict(self, row: claims.Row) -> claims.Verdict:
        """The computed verdict of a row."""
        results = self.judged(row)
        return claims.judge(row, results["measures"][row.id] if results else None)

    def again(self, row: claims.Row) -> claims.Verdict | None:
        """The verdict of a row on the second data set; None where no recorded run has it."""
        measures = self.second.get(row.notebook, {}).get("measures", {})
        return claims.judge(row, measures[row.id]) if row.id in measures else None


def read_json(path: Path, damaged: Any = None) -> Any:
    """A JSON file's content, None where there is no such file.

    `ValueError` if it is not JSON, unless there is a value for `damaged` files.
    """
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        if damaged is not None:
            return damaged
        raise ValueError(f"{path}: not valid JSON: {error}") from error
