"""Time what the strict runner costs over bare papermill, on a notebook of a few seconds.

    .venv/bin/python benchmarks/overhead.py      # two minutes; writes results/overhead.json

Both run the same notebook in turn, each as a whole process: starting, running, ending.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

from recorded import record  # noqa: E402
from toyrun import good, project  # noqa: E402

ROUNDS = 7
WORK = "import time\ntime.sleep(1)"      # the same wait in each of five cells, no computing


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of one process, which must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def measure(folder: Path) -> list[dict]:
    """Median seconds of both and their ratio, round by round."""
    project(folder, {"01-toy": good("01-toy", *[WORK] * 5)}, laptop={"01-toy": {}})
    commands = {
        "papermill": [sys.executable, "-m", "papermill", "notebooks/01-toy.ipynb", "out.ipynb",
                      "-k", "python3", "--no-progress-bar"],
        "wlib run": [sys.executable, "-m", "wlib", "run", "--profile", "laptop", "--force"]}
    for command in commands.values():
        seconds(command, folder)                                       # warm caches of files
    rounds = [{name: seconds(command, folder) for name, command in commands.items()}
              for _ in range(ROUNDS)]
    ratios = [seconds["wlib run"] / seconds["papermill"] for seconds in rounds]
    rows = [{"command": name, "seconds": round(statistics.median(r[name] for r in rounds), 2)}
            for name in commands]
    rows[0]["÷ papermill"] = "1"
    rows[1]["÷ papermill"] = (f"{statistics.median(ratios):.2f} "
                              f"({min(ratios):.2f}–{max(ratios):.2f})")
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    for row in rows:
        print(row)
    table = {"title": "The strict runner over bare papermill, a notebook of five seconds",
             "command": "python benchmarks/overhead.py", "rows": rows}
    record("overhead", [table], threads=1)


if __name__ == "__main__":
    main()
