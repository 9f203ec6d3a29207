"""What another processor changes in the numbers: one training and two notebooks, each run twice.

    .venv/bin/python benchmarks/processors.py      # some minutes; writes results/processors.json

Once with all instructions that this processor has, once with those of a processor from before 2011
alone (SSE 4.1). Code, seeds and packages are the same; every notebook starts from an empty store.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recorded import record  # noqa: E402

from wlib import claims  # noqa: E402
from wlib.check import require  # noqa: E402

COMMAND = "python benchmarks/processors.py"
OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
# Parameters that make them small; the others are those of profile laptop.
RUNS = {"01-networks-as-points": {"epochs": 6, "images": 300},
        "21-mda-disassemble": {"ways": 5, "samples": [40, 15, 15], "held": 6, "widths": [6, 8],
                               "epochs": 3, "draws": 1, "shares": [0.8]}}
EPOCHS = (0, 1, 3, 12)
TRAINING = f"""
import sys, torch
from wlib import data
from wlib.core import train
images = data.load("mnist5k", "train")
rows = [train.fit("lenet", images, epochs=n, device="cpu").flat()[0] for n in {EPOCHS}]
torch.save(torch.stack(rows), sys.argv[1])
"""


def surroundings(variables: dict[str, str], store: Path) -> dict[str, str]:
    """The environment of a run: these variables, this library, a store of its own, one thread."""
    return {k: v for k, v in os.environ.items() if k not in OLD} | variables | {
        "PYTHONPATH": str(ROOT), "WLIB_STORE": str(store), "OMP_NUM_THREADS": "1"}


def trained(folder: Path, variables: dict[str, str]) -> torch.Tensor:
    """The weights of one LeNet after each number of epochs, (epochs, P)."""
    subprocess.run([sys.executable, "-c", TRAINING, str(folder / "weights.pt")], check=True,
                   env=surroundings(variables, folder / "store"))
    return torch.load(folder / "weights.pt").double()


def growth(one: torch.Tensor, other: torch.Tensor) -> list[dict]:
    """A row a number of epochs: how far the two trainings have come apart."""
    far = (one - other).norm(dim=1) / one.norm(dim=1)
    return [{"epochs": n, "weights that differ": f"{differ:.0%}", "relative distance": f"{d:.0e}"}
            for n, differ, d in zip(EPOCHS, (one != other).double().mean(1).tolist(), far.tolist(),
                                   strict=True)]


def run(folder: Path, variables: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The results of both notebooks, run in a folder of their own with an empty store."""
    for name in ("notebooks", "profiles", "book"):
        (folder / name).symlink_to(ROOT / name)
    given, found = surroundings(variables, folder / "store"), {}
    for name, values in RUNS.items():
        settings = [word for key, value in values.items() for word in ("-p", key, str(value))]
        subprocess.run([sys.executable, "-m", "wlib", "run", name, "--profile", "laptop",
                        *settings], cwd=folder, env=given, check=True)
        found[name] = claims.load_results(folder / "_build" / "laptop" / "results" / f"{name}.json")
    return found


def compared(notebook: str, one: dict[str, Any], other: dict[str, Any],
             margins: dict[str, float]) -> list[dict]:
    """A row per measure: how far its values, of the method and of every rival, lie apart."""
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
    """The values of a measure and of its rivals, a number per seed."""
    rivals = measure["controls"] | measure["references"]
    return {"the method": measure["values"]} | {name: r["values"] for name, r in rivals.items()}


def main() -> None:
    margins = {row.id: row.margin for row in claims.load(ROOT / "book" / "claims.yml")}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as both:
        folders = [Path(folder) / name for name in ("native", "old")]
        for own in folders:
            own.mkdir()
        weights = list(both.map(trained, folders, ({}, OLD)))
        results = list(both.map(run, folders, ({}, OLD)))
    rows = [row for name in RUNS for row in compared(name, *(r[name] for r in results), margins)]
    here = torch.backends.cpu.get_cpu_capability()
    tables = [{"title": title, "command": COMMAND, "rows": found} for title, found in (
        (f"One LeNet, one seed: its weights with {here} and with SSE 4.1", growth(*weights)),
        (f"Two notebooks, the same seeds: their measures with {here} and with SSE 4.1", rows))]
    record("processors", tables, threads=1)
    for table in tables:
        print(table["title"], *table["rows"], sep="\n")


if __name__ == "__main__":
    main()
