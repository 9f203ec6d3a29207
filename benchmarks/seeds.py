"""Seconds that one seed of a study takes, by notebook: of this commit and of an earlier one.

    .venv/bin/python benchmarks/seeds.py BEFORE [NOTEBOOK ...]   # half an hour; results/seeds.json

Both commits run in clones, in turns and from an empty store, each notebook with the one seed 0 of
its own profile study. Commit first: the clones hold what is committed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from clones import cloned  # noqa: E402
from recorded import record  # noqa: E402

from wlib.ground import surroundings  # noqa: E402

NOTEBOOKS = ("11-mge-generate", "12-mge-evolve", "13-mge-uses", "21-mda-disassemble",
             "22-mda-assemble", "23-mda-uses")


def seconds(clone: Path, notebook: str) -> float:
    """Seconds of all cells of a notebook at profile study with one seed, nothing kept before.

    The figure over the width of the source is cut to one width, because no seed pays for it.
    """
    study = yaml.safe_load((clone / "profiles" / "study.yml").read_text(encoding="utf-8"))
    cut = ["-p", "broad", "[4]"] if "broad" in study[notebook] else []
    with tempfile.TemporaryDirectory() as store:
        environment = surroundings.without_git(os.environ) | {
            "PYTHONPATH": str(clone), "WLIB_STORE": store}
        subprocess.run([sys.executable, "-m", "wlib", "run", notebook, "--profile", "study",
                        "-p", "seeds", "[0]", *cut, "--jobs", "1", "--force"], cwd=clone,
                       env=environment, check=True, stdout=subprocess.DEVNULL)
    runs = json.loads((clone / "_build" / "study" / "runs.json").read_text(encoding="utf-8"))
    return sum(runs["notebooks"][notebook]["cells"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="a commit to hold this one against")
    parser.add_argument("notebooks", nargs="*", default=NOTEBOOKS)
    given, rows = parser.parse_args(), []
    with tempfile.TemporaryDirectory() as folder:
        before, now = (cloned(Path(folder) / name, commit) for name, commit in
                       (("before", given.before), ("now", "HEAD")))
        for notebook in given.notebooks:
            took = [seconds(clone, notebook) for clone in (before, now)]
            rows.append({"notebook": notebook, "seconds before": round(took[0]),
                         "seconds now": round(took[1]), "now / before": took[1] / took[0]})
            print(rows[-1], flush=True)
    record("seeds", [{"title": "One seed of profile study, in seconds",
                      "command": f"python benchmarks/seeds.py {given.before}", "rows": rows}])


if __name__ == "__main__":
    main()
