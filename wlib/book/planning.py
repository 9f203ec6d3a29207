"""What is to run: notebooks, profile, parameters and their kinds, checked before anything runs.

`Folder` says where a profile's outcomes lie; a `Plan` is one notebook with its final parameters.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.book import kinds, parameters
from wlib.check import require, require_one_of
from wlib.claims import staleness
from wlib.ground.files import write_atomic


@dataclass(frozen=True)
class Folder:
    """Where a profile's outcomes lie."""

    root: Path
    profile: str

    @property
    def path(self) -> Path:
        return self.root / "_build" / self.profile

    def executed(self, name: str) -> Path:
        return self.path / "executed" / f"{name}.ipynb"

    def results(self, name: str) -> Path:
        return self.path / "results" / f"{name}.json"

    def failed(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.ipynb"

    def runs(self) -> dict[str, dict[str, Any]]:
        """The entries of runs.json by notebook; none if the file is missing or damaged."""
        try:
            runs = json.loads((self.path / "runs.json").read_text(encoding="utf-8"))
            return {name: run for name, run in runs["notebooks"].items() if isinstance(run, dict)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # only costs a run

    def note(self, name: str, entry: Mapping[str, Any]) -> None:
        """Replace one notebook's entry of runs.json."""
        runs = self.runs() | {name: dict(entry)}
        text = json.dumps({"schema": 1, "notebooks": dict(sorted(runs.items()))}, indent=1)
        write_atomic(self.path / "runs.json", text + "\n")


@dataclass(frozen=True)
class Plan:
    """One notebook to run: with which parameters, and the fingerprint of all that it depends on."""

    name: str
    notebook: Path
    profile: str
    values: dict[str, Any]      # every parameter's final value
    injected: dict[str, Any]    # those that the profile or the command line sets
    fingerprint: str
    judging: str                # of the claims that its table of verdicts shows
    again: str                  # the line that runs it again
    label: str = ""             # which of several runs of one notebook this is

    @property
    def title(self) -> str:
        """What the run is called on the screen."""
        return f"{self.name} {self.label}".strip()


def plan(names: Sequence[str], profile: str, given: Sequence[tuple[str, str]] = (),
         root: Path | None = None) -> list[Plan]:
    """What to run, checked: notebooks (all if none is named), profile, parameters and their types.

    `given` are names and texts from the command line; each must be a parameter of every notebook
    that is to run. `ValueError` names what is wrong and the nearest match.
    """
    root = claims.project_root() if root is None else root
    notebooks = {path.stem: path for path in sorted((root / "notebooks").glob("*.ipynb"))}
    require(len(notebooks) > 0, "notebooks", str(root / "notebooks"), "a folder with notebooks")
    chosen = list(dict.fromkeys(find(name, list(notebooks)) for name in names)) or list(notebooks)
    blocks = read_profile(profile, root, list(notebooks))
    for name in chosen:
        require(name in blocks, f"profiles/{profile}.yml", sorted(blocks), f"a block for {name}")
    texts = [name for name, _ in given]
    for name in texts:
        require(texts.count(name) == 1, "-p", name, "each parameter once")
    return [_plan(notebooks[name], profile, blocks[name], given, root) for name in chosen]


def find(name: str, names: Sequence[str]) -> str:
    """A notebook by its name, its path, or the number that it begins with."""
    stem = Path(name).name.removesuffix(".ipynb")
    numbered = [one for one in names if one.split("-")[0] == stem]
    if len(numbered) == 1:
        return numbered[0]
    require_one_of("notebook", stem, names)
    return stem


def read_profile(profile: str, root: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The blocks of `profiles/P.yml`: a notebook's name, and its parameters' values."""
    require_one_of("profile", profile, [path.stem for path in (root / "profiles").glob("*.yml")])
    path = root / "profiles" / f"{profile}.yml"
    blocks = claims.read_yaml(path)
    require(isinstance(blocks, dict), path.name, blocks, "a mapping with a block per notebook")
    for name, block in blocks.items():
        require_one_of(f"{path.name}: notebook", name, names)
        require(block is None or isinstance(block, dict), f"{path.name}: {name}", block,
                "a mapping of parameters to values")
    return {name: block or {} for name, block in blocks.items()}


def _plan(path: Path, profile: str, block: dict[str, Any], given: Sequence[tuple[str, str]],
          root: Path) -> Plan:
    known, name = parameters.defaults(path), path.stem
    rules, where = kinds.rules(root, name), f"profiles/{profile}.yml: {name}"
    injected = parameters.check(block, known, where)
    kinds.check(injected, rules, where)
    for key, text in given:
        require_one_of(f"{name}: parameter", key, known)
        injected[key] = parameters.parse(text, known[key], f"{name}: {key}")
        kinds.check({key: injected[key]}, rules, name)
    values = known | injected
    again = shlex.join(["wlib", "run", name, "--profile", profile,
                        *(part for pair in given for part in ("-p", *pair))])
    return Plan(name, path, profile, values, injected,
                staleness.notebook_fingerprint(path, values), judging(path, root), again)


def judging(path: Path, root: Path) -> str:
    """Fingerprint of the verdicts that a notebook shows; empty if it shows none."""
    rows = rows_of(root) if ".verdicts(" in path.read_text(encoding="utf-8") else []
    return claims.judging_fingerprint([row for row in rows if row.notebook == path.stem]
                                      ) if rows else ""


def rows_of(root: Path) -> list[claims.Row]:
    """The claims of a book; none if it has no claims file."""
    file = root / "book" / "claims.yml"
    return claims.load(file) if file.exists() else []


def unchanged(one: Plan, folder: Folder) -> bool:
    """Whether the outcome of just this plan lies in the folder, whole and from one run."""
    entry = folder.runs().get(one.name, {})
    return (entry.get("status") == "done" and entry.get("fingerprint") == one.fingerprint
            and entry.get("judging") == one.judging and whole(one.name, folder, entry))


def whole(name: str, folder: Folder, entry: Mapping[str, Any]) -> bool:
    """Whether executed notebook, results file and entry are all there and of one run."""
    try:
        executed = json.loads(folder.executed(name).read_text(encoding="utf-8"))
        results = claims.load_results(folder.results(name))
        return executed["metadata"]["wlib"]["run"] == results["run"] == entry.get("run")
    except (OSError, ValueError, KeyError, TypeError):
        return False
