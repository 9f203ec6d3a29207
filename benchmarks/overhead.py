"""What `wlib run` costs over bare papermill: the same notebooks under both, in turns.

    .venv/bin/python benchmarks/overhead.py      # two minutes; writes results/overhead.json

Both are whole commands, from the start of Python to its end, with one thread. The notebooks sleep
instead of computing, so that what differs between the two is all that varies.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from run import as_text, provenance, take_turns, times_as_long  # noqa: E402
from toyrun import good, project, wlib  # noqa: E402

from wlib import claims  # noqa: E402
from wlib.runner import THREADS  # noqa: E402

COMMAND = "python benchmarks/overhead.py"
TITLE = "A notebook under wlib run and under bare papermill"
SHAPES = ((20, 0.25), (100, 0.05), (2, 0.0))  # code cells, and the seconds that each sleeps


def overhead(quick: bool) -> list[dict]:
    """One row a notebook: seconds under both, and their ratio round by round."""
    rows = []
    for cells, seconds in SHAPES[-1:] if quick else SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            sleeps = ["import time"] + [f"time.sleep({seconds})"] * cells
            root = project(Path(folder), {"01-toy": good("01-toy", *sleeps)})
            cases = {"papermill": partial(bare, root), "wlib run": partial(strict, root)}
            times = take_turns(cases, 1 if quick else 7)
        median = {name: statistics.median(values) for name, values in times.items()}
        rows.append({"notebook": f"{cells} cells of {seconds:g} s", "papermill, s":
                     median["papermill"], "wlib run, s": median["wlib run"],
                     "difference, s": median["wlib run"] - median["papermill"],
                     "wlib run ÷ papermill": times_as_long(times["wlib run"],
                                                           times["papermill"])[1]})
    return rows


def strict(root: Path) -> None:
    """The notebook under `wlib run`, with all its checks."""
    done = wlib(root, "run", "--profile", "smoke", "--force", env=environment(root))
    assert done.returncode == 0, done.stdout + done.stderr


def bare(root: Path) -> None:
    """The notebook under papermill's own command."""
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "--kernel", "python3",
         str(root / "notebooks" / "01-toy.ipynb"), str(root / "out.ipynb")], cwd=root,
        env=environment(root), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def environment(root: Path) -> dict[str, str]:
    """One thread for both; papermill's run of the notebook reports beside its output."""
    own = {name: "1" for name in THREADS} | {"WLIB_RESULTS": str(root / "results.json")}
    return os.environ | own


def main() -> None:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one row, one round; writes nothing")
    quick = parser.parse_args().quick
    rows = overhead(quick)
    print(f"{TITLE}\n\n{as_text(rows)}")
    if not quick:
        table = {"title": TITLE, "command": COMMAND, "rows": rows}
        claims.write_atomic(ROOT / "results" / "overhead.json", json.dumps(
            {"provenance": provenance(ROOT), "tables": [table]}, indent=1, ensure_ascii=False)
            + "\n")


if __name__ == "__main__":
    main()
