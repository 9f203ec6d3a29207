"""`wlib rehearse`: every notebook on the CPU, with a profile's shapes and the counts of smoke.

What gives a network its shape is the profile's: architectures, widths, latents, kinds of images.
Seeds, epochs, steps and draws are those of profile smoke where these are fewer (`kinds` knows
which is which), and networks run stacked as on a GPU. So a first run on a GPU fails on nothing that
a CPU could have told. Outcomes lie in `_build/rehearse/P`, with a store of their own: no page shows
them, and none can be recorded.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wlib import claims
from wlib.book import kinds, planning, runner
from wlib.book.job import Job, Outcome
from wlib.book.kinds import Rule
from wlib.book.planning import Folder, Plan
from wlib.book.progress import Display, duration
from wlib.check import require
from wlib.claims import staleness
from wlib.ground.files import write_atomic

SMALL = "smoke"     # the profile whose counts are taken
LIBRARIES = 3       # code cells that run before anything is made: defaults, values, imports


# ---------------------------------------------------------------- the plan
@dataclass(frozen=True)
class Part:
    """The rehearsal of one notebook, and in words what it leaves out."""

    plan: Plan
    replaced: dict[str, str]        # images that are not installed: what stands in for them
    held: str                       # what is in memory at once and was cut


def plan(names: Sequence[str], profile: str, given: Sequence[tuple[str, str]] = (),
         root: Path | None = None) -> list[Part]:
    """What to rehearse. `ValueError` as from `planning.plan`, and for images that are neither
    installed nor have others of their shape to stand in for them."""
    root = claims.project_root() if root is None else root
    wholes = planning.plan(names, profile, given, root)
    smalls = planning.plan([one.name for one in wholes], SMALL, root=root)
    return [_part(whole, small, given, root) for whole, small in zip(wholes, smalls, strict=True)]


def _part(whole: Plan, small: Plan, given: Sequence[tuple[str, str]], root: Path) -> Part:
    rules, values, held = kinds.rules(root, whole.name), {}, []
    replaced: dict[str, str] = {}
    for name, full in whole.values.items():
        rule = rules.get(name)
        values[name] = value = rehearsed(full, small.values[name], rule)
        if rule is not None:
            values[name] = installed(value, rule, f"{whole.name}: {name}", replaced)
        if rule is not None and rule.kind.held and value != full:
            held.append(f"{name} {value} of {full}")
    again = shlex.join(["wlib", "rehearse", whole.name, "--profile", whole.profile,
                        *(part for pair in given for part in ("-p", *pair))])
    one = dataclasses.replace(
        whole, profile=f"rehearse/{whole.profile}", values=values, injected=values, again=again,
        fingerprint=staleness.notebook_fingerprint(whole.notebook, values))
    return Part(one, replaced, ", ".join(held))


def rehearsed(full: Any, small: Any, rule: Rule | None) -> Any:
    """A parameter's value in the rehearsal: the profile's, or less of it if it says how often.

    Of two lists the shorter one counts, of two that are equally long that of profile smoke.
    """
    if rule is None:
        return full
    if rule.rehearse is not None:
        return rule.rehearse
    if rule.kind is kinds.KINDS["device"]:
        return "cpu"
    if not rule.kind.cut:
        return full
    if isinstance(full, (list, tuple)):
        return full if len(full) < len(small) else small
    return min(full, small)


def installed(value: Any, rule: Rule, where: str, replaced: dict[str, str]) -> Any:
    """The names of images with others in place of those that are not installed, which `replaced`
    remembers; a list leaves out what nothing stands in for. Any other value stays as it is."""
    there, kept = rule.kind.there, []
    if there is None:
        return value
    for name in [value] if isinstance(value, str) else value:
        try:
            there(name)
        except FileNotFoundError:
            replaced[name] = name = rule.kind.stand_in.get(name, "")
        if name and name not in kept:
            kept.append(name)
    require(len(kept) > 0, where, value, "images that are installed here: none that are drawn have "
            "this shape")
    return kept[0] if isinstance(value, str) else kept


# ---------------------------------------------------------------- running
@dataclass
class Watched(Job):
    """A job that remembers how much memory its kernel had at most, above that of the libraries."""

    libraries: int = 0
    most: int = 0

    def is_over(self) -> bool:
        self.most = max(self.most, most_resident(self.kernel))
        if len(self.starts) <= LIBRARIES:
            self.libraries = self.most
        return super().is_over()


def most_resident(process: int | None) -> int:
    """The most bytes that a process ever had in memory; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def run(parts: Sequence[Part], *, jobs: int = 1, force: bool = False,
        cell_limit: float | None = None, limit: float | None = None,
        display: Display | None = None) -> tuple[list[Outcome], dict[str, int]]:
    """Rehearse what has changed; outcomes in order, and bytes of memory by notebook."""
    plans = [one.plan for one in parts]
    folder, watched = Folder(plans[0].notebook.parents[1], plans[0].profile), {}

    def make(one: Plan, folder: Folder, limits: tuple[float, float], earlier: Sequence[float]
             ) -> Job:
        variables = {"WLIB_STORE": str(folder.path / "store"), "WLIB_STACKED": "1"}
        watched[one.name] = Watched(one, folder, limits, earlier, variables)
        return watched[one.name]

    outcomes = runner.run(plans, jobs=jobs, force=force, cell_limit=cell_limit, limit=limit,
                          display=display, make=make)
    file = folder.path / "memory.json"
    memory = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    memory |= {name: job.most - job.libraries for name, job in watched.items()}
    write_atomic(file, json.dumps(memory, indent=1) + "\n")
    return outcomes, memory


def summary(parts: Sequence[Part], outcomes: Sequence[Outcome], memory: dict[str, int]) -> str:
    """A line per notebook: how it ended, seconds, memory, and what a whole run has more of."""
    width = max(len(one.name) for one in outcomes)
    lines = [f"{'':<{width}}  {'':<9}  {'time':>10}  {'memory':>8}  held at once, of the profile's"]
    for part, one in zip(parts, outcomes, strict=True):
        used = f"{memory.get(part.plan.name, 0) / 2**30:.1f} GB" if memory.get(part.plan.name) \
            else "?"
        word = "FAILED" if one.status == "failed" else one.status
        lines.append(f"{one.name:<{width}}  {word:<9}  {duration(one.seconds):>10}  {used:>8}  "
                     f"{part.held or 'all'}")
    lines += [f"{one.name}: {one.message.splitlines()[0]}" for one in outcomes if one.message]
    failed = sum(one.status == "failed" for one in outcomes)
    return "\n".join([*lines, f"rehearsed {len(outcomes)}, {failed} failed",
                      "memory: the most that the kernel held above its libraries, images included; "
                      "CUDA itself takes about 0.5 GB more"])


def notes(parts: Sequence[Part]) -> list[str]:
    """Which images are not installed, and what stands in for them."""
    missing = {old: new for part in parts for old, new in part.replaced.items()}
    return [f"not installed: {old}; " + (f"{new} of the same shape instead" if new else "left out")
            for old, new in sorted(missing.items())]
