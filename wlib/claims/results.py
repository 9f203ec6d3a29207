"""Results files: of the run that was built last, and of the recorded runs, each checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wlib.check import require, require_one_of
from wlib.claims import staleness
from wlib.claims.means import is_number
from wlib.claims.rows import project_root

SCHEMA = 1
RECORDED = ("gpu", "study", "laptop")  # profiles whose recorded runs may be judged, best first
SECOND = ("study-fashion",)             # and on a second data set: the claims' second column


def dumps(results: Mapping[str, Any]) -> str:
    """A results file's text."""
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_results(path: Path | str) -> dict[str, Any]:
    """A results file, checked: schema, name, seeds, and as many values as seeds everywhere."""
    path = Path(path)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a results file: {error}") from error
    require(isinstance(results, dict) and results.get("schema") == SCHEMA, f"{path}: schema",
            results.get("schema") if isinstance(results, dict) else results, str(SCHEMA))
    for key, kind in (("notebook", str), ("profile", str), ("run", str), ("seeds", list),
                      ("settings", dict), ("provenance", dict), ("measures", dict)):
        require(isinstance(results.get(key), kind), f"{path}: {key}", results.get(key),
                f"a {kind.__name__}")
    seeds = results["seeds"]
    fine = all(isinstance(seed, int) for seed in seeds) and 0 < len(set(seeds)) == len(seeds)
    require(fine, f"{path}: seeds", seeds, "at least one whole number, none twice")
    for name, measure in results["measures"].items():
        _check_entry(measure, len(results["seeds"]), f"{path}: {name}")
    return results


def _check_entry(measure: Any, seeds: int, where: str) -> None:
    require(isinstance(measure, dict), where, measure, "a measure")
    for key in ("unit", "better", "controls", "references"):
        require(key in measure, f"{where}: {key}", "nothing", "a value")
    require(isinstance(measure["unit"], str), f"{where}: unit", measure["unit"], "a text")
    require_one_of(f"{where}: better", measure["better"], ("higher", "lower"))
    for kind in ("controls", "references"):
        require(isinstance(measure[kind], dict), f"{where}: {kind}", measure[kind], "a mapping")
    rivals = list((measure["controls"] | measure["references"]).items())
    for name, entry in [("values", measure), *rivals]:
        require(isinstance(entry, dict), f"{where}: {name}", entry, "a mapping")
        values = entry.get("values")
        fine = isinstance(values, list) and len(values) == seeds and all(map(is_number, values))
        require(fine, f"{where}: {name}", values, f"{seeds} finite numbers, one per seed")
        for key in ("image_se", "difference_image_se")[:1 if entry is measure else 2]:
            error = entry.get(key)
            require(is_number(error) and error >= 0, f"{where}: {name}: {key}", error,
                    "a number ≥ 0")


def records(notebook: str, root: Path | None = None,
            profiles: Sequence[str] = RECORDED) -> list[dict[str, Any]]:
    """All recorded runs of a notebook, the best first (gpu, then study, then laptop)."""
    folder = (root or project_root()) / "results"
    paths = [folder / profile / f"{notebook}.json" for profile in profiles]
    return [load_results(path) for path in paths if path.exists()]


def recorded(notebook: str, root: Path | None = None,
             profiles: Sequence[str] = RECORDED) -> dict[str, Any] | None:
    """The best recorded run of a notebook, or None."""
    return next(iter(records(notebook, root, profiles)), None)


def built(notebook: str, profile: str, root: Path | None = None) -> dict[str, Any] | None:
    """The results of the run under `_build/profile`, or None."""
    path = (root or project_root()) / "_build" / profile / "results" / f"{notebook}.json"
    return load_results(path) if path.exists() else None


def is_stale(results: Mapping[str, Any], root: Path | None = None) -> bool:
    """Whether the notebook, or a module of `wlib` that it reaches, has changed since this run."""
    path = (root or project_root()) / "notebooks" / f"{results['notebook']}.ipynb"
    if not path.exists():
        return True
    now = staleness.notebook_fingerprint(path, results.get("parameters", {}),
                                           installed=results["provenance"].get("versions", {}))
    return now != results.get("fingerprint")
