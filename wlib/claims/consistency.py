"""Whether claims, results and verdicts fit together: what `wlib check` says.

Wrong is what would let a page say something untrue: an incomplete row, a results file that is not
as it should be, a control left out, a verdict typed by hand. Noted is what a reader should know: a
recorded run older than the code, a claim that nothing has measured yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wlib.claims.judging import HOLDS, SIMPLER, Verdict, check_measure, judge
from wlib.claims.results import RECORDED, SECOND, is_stale, load_results
from wlib.claims.rows import QUOTED, Row, load

NEEDED: dict[str, type | tuple[type, ...]] = {
    "commit": str, "dirty": bool, "date": str, "seconds": (int, float), "device": str,
    "machine": str, "versions": dict}
ANSWER = "|".join([r"[✔✘≈]\s*(not )?reproduced", r"\.(holds|simpler)-",
                   *(rf"{mark}\s*{words}" for words, mark in (HOLDS | SIMPLER).items() if mark in
                     "✔✘≈▲▼")])
TYPED = re.compile(rf"\b[A-Z]\d+[a-z]?\b.*({ANSWER})|({ANSWER}).*\b[A-Z]\d+[a-z]?\b")


@dataclass
class Findings:
    """What is wrong, what is worth knowing, and how the claims stand by the recorded runs."""

    wrong: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)  # each claim's answers
    second: list[dict[str, Any]] = field(default_factory=list)  # those on the second data set

    def tried(self, function: Any, *arguments: Any) -> Any:
        """The function's value; None, and one more thing wrong, if it refuses."""
        try:
            return function(*arguments)
        except (ValueError, KeyError, TypeError) as error:
            self.wrong.append(str(error) if isinstance(error, ValueError) else repr(error))
            return None


def check(root: Path) -> Findings:
    """Hold the claims file, all results files and the prose against each other."""
    found = Findings()
    rows = found.tried(load, root / "book" / "claims.yml") or []
    for path in sorted((root / "_build").glob("*/results/*.json")):
        if path.parts[-3] != "interactive":
            _check_results(path, path.parts[-3], rows, root, found)
    judged, second = (_judged(profiles, rows, root, found) for profiles in (RECORDED, SECOND))
    for path in sorted((root / "results").glob("*")):
        if path.is_dir() and path.name not in RECORDED + SECOND:
            found.wrong.append(f"{path}: want one of {', '.join(RECORDED + SECOND)}")
        elif path.suffix == ".json":
            found.tried(load_tables, path)
    found.wrong += typed_verdicts(root)
    found.notes += _missing(rows, judged, root)
    found.rows = [_answers(row, *judged.get(row.id, (judge(row, None), {}))) for row in rows]
    found.second = [_answers(row, *second[row.id]) for row in rows if row.id in second]
    return found


def _judged(profiles: Sequence[str], rows: list[Row], root: Path, found: Findings
            ) -> dict[str, tuple[Verdict, dict[str, Any]]]:
    """By claim, the verdict of the best recorded run that measured it, and that run's results."""
    judged: dict[str, tuple[Verdict, dict[str, Any]]] = {}
    for profile in reversed(profiles):  # the best last, so that its verdict stays
        for path in sorted((root / "results" / profile).glob("*.json")):
            results = _check_results(path, profile, rows, root, found)
            judged |= _check_recorded(path, results, rows, found) if results else {}
    return judged


def _answers(row: Row, verdict: Verdict, results: dict[str, Any]) -> dict[str, Any]:
    """A claim's answers as a program reads them."""
    return {"id": row.id, "paper": row.paper, "data": results.get("parameters", {}).get("data"),
            "holds": verdict.holds, "simpler": verdict.simpler, "whose": row.whose,
            "seeds": len(results.get("seeds", [])), "quoted": row.notebook == QUOTED,
            "verdict": verdict.words}


def _check_results(path: Path, profile: str, rows: list[Row], root: Path,
                   found: Findings) -> dict[str, Any] | None:
    """A results file: its schema, its place, its controls."""
    results = found.tried(load_results, path)
    if results is None:
        return None
    for key, wanted in (("notebook", path.stem), ("profile", profile)):
        if results[key] != wanted:
            found.wrong.append(f"{path}: {key}: got {results[key]!r}, want {wanted!r}")
    found.wrong += [f"{path}: {problem}" for problem in measure_problems(results, rows)]
    if is_stale(results, root):
        found.stale.append(f"{path}: the notebook or the library has changed since this run")
    return results


def measure_problems(results: dict[str, Any], rows: list[Row]) -> list[str]:
    """What in a run's measures is not as the claims file wants it."""
    problems, by_name = [], {row.id: row for row in rows}
    for name, measure in results["measures"].items():
        row = by_name.get(name)
        if row is None:
            continue  # a measure that no claim names
        try:
            check_measure(row, measure)
        except ValueError as error:
            problems.append(str(error))
        if row.notebook != results["notebook"]:
            problems.append(f"{name}: notebook: got {results['notebook']!r}, want "
                            f"{row.notebook!r}, as in the claims file")
    return problems


def _check_recorded(path: Path, results: dict[str, Any], rows: list[Row], found: Findings
                    ) -> dict[str, tuple[Verdict, dict[str, Any]]]:
    """A recorded run: it says where it came from; its verdicts, computed."""
    made = results["provenance"]
    for key, kind in NEEDED.items():
        if not isinstance(made.get(key), kind):
            found.wrong.append(f"{path}: provenance: {key}: got {made.get(key)!r}, want a value")
    if made.get("dirty") is True:
        found.wrong.append(f"{path}: provenance: dirty: got True, want a run of committed code")
    for key, kind in (("fingerprint", str), ("parameters", dict)):
        if not isinstance(results.get(key), kind):
            found.wrong.append(f"{path}: {key}: got {results.get(key)!r}, want a value")
    judged = {row.id: found.tried(judge, row, results["measures"][row.id])
              for row in rows if row.notebook == results["notebook"]
              and row.id in results["measures"]}
    return {name: (verdict, results) for name, verdict in judged.items() if verdict is not None}


def load_tables(path: Path) -> dict[str, Any]:
    """A file of tables as *Benchmarks and limits* shows them; `ValueError` if it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = content["tables"]
        fine = isinstance(content["provenance"], dict) and all(
            isinstance(one["title"], str) and isinstance(one["command"], str)
            and all(isinstance(row, dict) for row in one["rows"]) for one in tables)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a file of tables: {error!r}") from error
    if not fine:
        raise ValueError(f"{path}: not a file of tables: want provenance and tables, each with "
                         "title, command and rows")
    return content


def typed_verdicts(root: Path) -> list[str]:
    """Lines of prose that state the verdict of a claim: only computed ones may."""
    return [f"{where}: got {line.strip()!r}, want no verdict typed by hand"
            for where, text in _prose(root) for line in text.splitlines() if TYPED.search(line)]


def _prose(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((root / "book").rglob("*.md")):
        yield str(path), path.read_text(encoding="utf-8")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield str(path), "".join(cell["source"])


def _missing(rows: list[Row], judged: Collection[str], root: Path) -> list[str]:
    """Claims without a recorded measure, by notebook."""
    notes, missing = [], [row for row in rows if row.id not in judged]
    for name in sorted({row.notebook for row in missing}):
        names = ", ".join(row.id for row in missing if row.notebook == name)
        if name == QUOTED:
            notes.append(f"{names}: the book quotes it and does not test it")
        elif (root / "notebooks" / f"{name}.ipynb").exists():
            notes.append(f"{name}: {names}: no recorded run has measured it")
        else:
            notes.append(f"{name}: {names}: the notebook is still to come")
    return notes
