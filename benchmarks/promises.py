"""What goes wrong, and what happens then: every fault of the tests' suite, tried for the table.

    .venv/bin/python benchmarks/promises.py [OUT]     # ten minutes; writes results/faults.json

The tests try the same faults and fail where a promise is broken; here each becomes a row of the
page *Benchmarks and limits*.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "tests")]

import faults  # noqa: E402
import faults_files  # noqa: E402, F401  each fills the list
import faults_runner  # noqa: E402, F401
import faults_store  # noqa: E402, F401
from recorded import record  # noqa: E402

COMMAND = "python benchmarks/promises.py"


def attempt(one: faults.Fault) -> dict[str, str]:
    """Try one fault: a row of the table."""
    with tempfile.TemporaryDirectory(prefix="a fault ") as folder:
        try:
            happened, kept = one.attempt(Path(folder)), "yes"
        except faults.NotHere as reason:
            happened, kept = f"not tried: {reason}", "–"
        except Exception as error:  # whatever it is, the table must tell
            happened, kept = f"{type(error).__name__}: {error}"[:500], "NO"
    return {"where": one.area, "fault": one.name, "promise": one.promise,
            "what happened": happened, "kept": kept}


def table(tried: Iterable[faults.Fault]) -> dict:
    """Try faults, printing a line each: the table as the page shows it."""
    rows = []
    for fault in tried:
        rows.append(attempt(fault))
        print(f"{rows[-1]['kept']:>4}  {fault.name}: {rows[-1]['what happened']}", flush=True)
    return {"title": "Faults that were tried", "command": COMMAND, "rows": rows}


def main() -> int:
    """Write the table; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "results" / "faults.json")
    out = parser.parse_args().out
    made = table(faults.FAULTS)
    record(out, [made])
    broken = sum(row["kept"] == "NO" for row in made["rows"])
    print(f"{len(made['rows'])} faults, {broken} promises broken; written to {out}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
