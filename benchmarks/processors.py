"""What another processor changes in the numbers: two notebooks under two sets of instructions.

    .venv/bin/python benchmarks/processors.py      # some minutes; writes results/processors.json

Every run starts from an empty store: once with all instructions that this processor has, once with
those of a processor from before 2011 alone (SSE 4.1). Code, seeds and packages are the same.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recorded import record  # noqa: E402

from wlib import claims  # noqa: E402
from wlib.check import require  # noqa: E402

OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
RUNS = {"01-networks-as-points": ("laptop", []),
        "21-mda-disassemble": ("smoke", ["-p", "seeds", "[0, 1, 2]", "-p", "epochs", "10",
                                         "-p", "samples", "[60, 20, 20]"])}


def run(folder: Path, variables: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The results of both notebooks, run in a folder of their own with an empty store."""
    folder.mkdir()
    for name in ("notebooks", "profiles", "book"):
        (folder / name).symlink_to(ROOT / name)
    given = {k: v for k, v in os.environ.items() if k not in OLD} | variables | {
        "PYTHONPATH": str(ROOT), "WLIB_STORE": str(folder / "store")}
    found = {}
    for name, (profile, settings) in RUNS.items():
        subprocess.run([sys.executable, "-m", "wlib.cli", "run", name, "--profile", profile,
                        *settings], cwd=folder, env=given, check=True)
        found[name] = claims.load_results(folder / "_build" / profile / "results" / f"{name}.json")
    return found


def compared(notebook: str, one: dict[str, Any], other: dict[str, Any],
             margins: dict[str, float]) -> list[dict]:
    """A row a measure: how far its values, of the method and of every rival, lie apart."""
    rows = []
    require(one["measures"].keys() == other["measures"].keys(), notebook, list(other["measures"]),
            f"the measures {list(one['measures'])}")
    for name, measure in one["measures"].items():
        first, second = arms(measure), arms(other["measures"][name])
        require(first.keys() == second.keys(), name, sorted(second), f"the arms {sorted(first)}")
        a, b = (np.array([given[arm] for arm in first]) for given in (first, second))
        bounds = claims.interval(measure["values"], measure["image_se"])
        half, of_mean = (bounds.high - bounds.low) / 2, float(abs(a.mean(1) - b.mean(1)).max())
        rows.append({
            "notebook": notebook.split("-")[0], "measure": name, "unit": measure["unit"],
            "values": a.size, "not the same": int((a != b).sum()),
            "largest difference": float(abs(a - b).max()), "of a mean": of_mean,
            "÷ half an interval": of_mean / half if 0 < half < math.inf else "–",
            "÷ margin": of_mean / margins[name] if name in margins else "–"})
    return rows


def arms(measure: dict[str, Any]) -> dict[str, list[float]]:
    """The values of a measure and of its rivals, a number a seed."""
    rivals = measure["controls"] | measure["references"]
    return {"the method": measure["values"]} | {name: r["values"] for name, r in rivals.items()}


def main() -> None:
    margins = {row.id: row.margin for row in claims.load(ROOT / "book" / "claims.yml")}
    with tempfile.TemporaryDirectory() as folder:
        native, old = (run(Path(folder) / name, variables)
                       for name, variables in (("native", {}), ("old", OLD)))
    rows = [row for name in RUNS for row in compared(name, native[name], old[name], margins)]
    for row in rows:
        print(row)
    machine = native[next(iter(RUNS))]["provenance"]["machine"]
    table = {"title": f"The same seeds, on this processor ({machine}) and on an imitated old one "
                      "(SSE 4.1)", "command": "python benchmarks/processors.py", "rows": rows}
    record("processors", [table], threads=1)


if __name__ == "__main__":
    main()
