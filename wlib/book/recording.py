"""Built runs: why one cannot be shown, which go into the repository, and away with all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.book.commits import state_of
from wlib.book.planning import Folder, Plan, plan, rows_of, whole
from wlib.check import require, require_one_of
from wlib.claims import consistency, staleness
from wlib.ground.files import write_atomic


def problems(profile: str, names: Sequence[str] = (), root: Path | None = None) -> dict[str, str]:
    """Why the outcome of a profile cannot be shown, by notebook; empty if all is well."""
    root = claims.project_root() if root is None else root
    require_one_of("profile", profile, [path.stem for path in (root / "profiles").glob("*.yml")])
    folder, wrong = Folder(root, profile), {}
    runs = folder.runs()
    for name in names or sorted(path.stem for path in (root / "notebooks").glob("*.ipynb")):
        entry = runs.get(name)
        if entry is None:
            wrong[name] = "has not run"
        elif entry.get("status") != "done":
            wrong[name] = f"failed: {entry.get('message', '')}"
        elif not whole(name, folder, entry):
            wrong[name] = "its files are not whole or not of one run"
        elif claims.is_stale(claims.load_results(folder.results(name)), root):
            wrong[name] = "has changed since it ran"
    return wrong


def record(profile: str, names: Sequence[str] = (), root: Path | None = None,
           brought: Path | None = None) -> list[Path]:
    """Copy the results of built runs to `results/P/`, to be committed.

    `brought` is a folder of results and tables that `benchmarks/gpu.sh` left on another machine,
    perhaps without git: they are of this commit if their fingerprints are. `ValueError` for a smoke
    run, a dirty tree (now or then), a failed, missing or changed notebook, and for parameters that
    are not the profile's.
    """
    root = claims.project_root() if root is None else root
    known = claims.RECORDED + claims.SECOND
    require(profile in known, "profile", profile,
            f"one of {', '.join(known)}: only their numbers mean something")
    require(brought is None or (brought / "results").is_dir(), "--from", str(brought),
            "the folder gpu-results that benchmarks/gpu.sh packs")
    commit, dirty, why = state_of(root)
    if commit is None or dirty:
        got = "uncommitted changes" if commit else "no commit"
        raise ValueError(f"working tree: got {got!r}, want a clean one, so that the commit says "
                         "what was run" + f" (why there is none: {why})" * bool(why))
    texts: dict[Path, str] = {}
    wrong: dict[str, str] = {}
    if brought is not None:
        texts, wrong = _tables_of(brought, commit, root)
        names = names or sorted(path.stem for path in (root / "notebooks").glob("*.ipynb")
                                if (brought / "results" / f"{path.stem}.json").exists())
    plans = plan(names, profile, root=root) if names or brought is None else []
    if brought is None:
        wrong = problems(profile, [one.name for one in plans], root)
    rows, folder = rows_of(root), Folder(root, profile)
    for one in plans:
        if one.name in wrong:
            continue
        results = claims.load_results(brought / "results" / f"{one.name}.json" if brought else
                                      folder.results(one.name))
        if brought and (results["profile"] != profile or claims.is_stale(results, root)):
            wrong[one.name] = f"is not of this code at profile {profile}"
            continue
        made = results["provenance"]
        if brought and made.get("commit") is None:    # the fingerprint says that it is this one
            made |= {"commit": commit, "dirty": False}
        if why_not := _unfit(results, one, rows):
            wrong[one.name] = why_not
        texts[Path(profile) / f"{one.name}.json"] = claims.dumps(results)
    require(not wrong, "runs", "; ".join(f"{name} {why}" for name, why in wrong.items()),
            "none of these")
    return [write_atomic(root / "results" / path, text) for path, text in texts.items()]


def _unfit(results: dict[str, Any], one: Plan, rows: list[claims.Row]) -> str:
    """Why a run's results cannot be recorded; empty if they can."""
    if results["provenance"].get("dirty") is not False:
        return "ran with uncommitted changes; commit, then run it with --force"
    if results["parameters"] != json.loads(json.dumps(one.values)):
        return "ran with other parameters than the profile's"
    found = consistency.measure_problems(results, rows)
    return f"does not measure what the claims ask: {'; '.join(found)}" if found else ""


def _tables_of(brought: Path, commit: str, root: Path) -> tuple[dict[Path, str], dict[str, str]]:
    """Tables of benchmarks in a folder, as texts by file, and those of other code."""
    texts, wrong = {}, {}
    for path in sorted(brought.glob("gpu-*.json")):
        content = consistency.load_tables(path)
        made = content["provenance"]
        script = root / str(made.get("script"))
        if script.is_file() and made.get("fingerprint") == staleness.script_fingerprint(script):
            content["provenance"] = made | {"commit": made["commit"] or commit, "dirty": False}
            texts[Path(path.name)] = claims.dumps(content)
        else:
            wrong[path.stem] = "is not of this code"
    return texts, wrong


def clean(profile: str | None = None, root: Path | None = None) -> Path:
    """Remove what was built, of one profile or of all; the store is left alone."""
    root = claims.project_root() if root is None else root
    if profile is not None:
        known = [path.stem for path in (root / "profiles").glob("*.yml")]
        known += ["interactive", "rehearse"]
        require_one_of("profile", profile, known)
    target = root / "_build" / (profile or "")
    shutil.rmtree(target, ignore_errors=True)
    return target
