"""Time the README's two commands as a new user meets them: a fresh clone, an empty store.

    .venv/bin/python benchmarks/commands.py      # about half an hour; writes results/commands.json

Commit first: the clone holds what is committed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from clones import cloned  # noqa: E402
from recorded import record  # noqa: E402

from wlib.ground import surroundings  # noqa: E402

STEPS = (("make .venv/ready", "set-up: environment and pinned packages, downloads included"),
         ("make book", "all notebooks at profile laptop from an empty store, and the pages"),
         ("make book", "again, with nothing changed"),
         ("make test", "lint, unit tests, all notebooks at profile smoke, the pages"))


def measure(folder: Path) -> list[dict]:
    """Run the steps in a clone below `folder`; a step that fails ends the measurement."""
    clone = cloned(folder / "clone")
    environment = {key: value for key, value in surroundings.without_git(os.environ).items()
                   if not key.endswith("_NUM_THREADS")} | {"WLIB_STORE": str(folder / "store")}
    rows = []
    for command, what in STEPS:
        print(f"{command}: {what} …", flush=True)
        start = time.perf_counter()
        with open(folder / f"step-{len(rows)}.log", "w+") as log:
            done = subprocess.run(command.split(), cwd=clone, env=environment, stdout=log,
                                  stderr=subprocess.STDOUT)
            log.seek(0)
            if done.returncode:
                sys.exit(f"{command} ended with {done.returncode}:\n{log.read()[-4000:]}")
        seconds = time.perf_counter() - start
        rows.append({"command": command, "what": what, "minutes": round(seconds / 60, 1),
                     "seconds": round(seconds)})
        print(f"    {seconds:.0f} s", flush=True)
    return rows


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder))
    table = {"title": "The two commands, from a fresh clone",
             "command": "python benchmarks/commands.py", "rows": rows}
    record("commands", [table])


if __name__ == "__main__":
    main()
