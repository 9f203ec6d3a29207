"""The strict runner: run notebooks one process each, and keep only whole outcomes.

`planning` checks names, types and kinds before anything runs; `run` executes what has changed since
it last ran; `recording` copies results of a built run into the repository. What a run writes goes
to a folder of its own and is moved into place when everything about it is right:

    _build/P/executed/NN.ipynb   the notebook with its outputs
    _build/P/results/NN.json     its measures, with where and how they were made
    _build/P/failed/NN.ipynb     a notebook that failed, as far as it came
    _build/P/runs.json           one entry per notebook: status, fingerprint, seconds, also of cells
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

from filelock import Timeout

from wlib import claims
from wlib.book.commits import commit_of, utc_now
from wlib.book.job import Job, Outcome
from wlib.book.planning import Folder, Plan, unchanged
from wlib.book.progress import Display, duration, killed
from wlib.book.signals import interruptible, unstoppable
from wlib.check import require, whole
from wlib.claims import staleness
from wlib.ground import reach
from wlib.ground.files import locked, write_atomic

LIMITS = {"smoke": (300.0, 600.0), "laptop": (1800.0, 3600.0)}  # seconds per cell, per notebook
LONGEST = (4 * 3600.0, 12 * 3600.0)  # for the other profiles


def run(plans: Sequence[Plan], *, jobs: int = 1, force: bool = False,
        cell_limit: float | None = None, limit: float | None = None,
        display: Display | None = None, make: Callable[..., Job] = Job) -> list[Outcome]:
    """Run what has changed, `jobs` at once; outcomes in the order of the plans.

    A notebook that fails does not stop the others. Ctrl-C and SIGTERM end every kernel and leave
    nothing half-written: KeyboardInterrupt, and the same call goes on where this one stopped.
    `make` makes the job of a plan.
    """
    require(whole(jobs, 1), "jobs", jobs, "a whole number ≥ 1")
    for name, value in (("cell-timeout", cell_limit), ("timeout", limit)):
        require(value is None or value > 0, name, value, "seconds above 0")
    require(len(plans) > 0, "plans", plans, "at least one notebook")
    display = Display() if display is None else display
    folder = Folder(plans[0].notebook.parents[1], plans[0].profile)
    limits = limits_of(plans[0].profile, cell_limit, limit)
    with only_run(folder, display), interruptible():
        shutil.rmtree(folder.path / "work", ignore_errors=True)  # of a run that was killed
        entries = folder.runs()
        outcomes = {one.name: Outcome(one.name, "unchanged", entries[one.name]["seconds"])
                    for one in plans if not force and unchanged(one, folder)}
        todo = [make(one, folder, limits, entries.get(one.name, {}).get("cells", ()))
                for one in plans if one.name not in outcomes]
        if jobs > 1:  # the longest first, so that none is left alone at the end
            todo.sort(key=lambda job: -entries.get(job.plan.name, {}).get("seconds", 1e9))
        with contextlib.closing(run_jobs(todo, jobs, display)) as ended:
            outcomes |= {outcome.name: outcome for outcome in ended}
    return [outcomes[one.name] for one in plans]


def limits_of(profile: str, cell: float | None, notebook: float | None) -> tuple[float, float]:
    """Seconds that a cell and a notebook may take: those given, else the profile's."""
    usual = LIMITS.get(profile, LONGEST)
    return cell or notebook or usual[0], notebook or max(usual[1], cell or 0)


def run_jobs(todo: Sequence[Job], jobs: int, display: Display
             ) -> Generator[Outcome, None, None]:
    """Run jobs with different titles, `jobs` at once; closing the iterator ends what runs."""
    events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
    active: dict[str, Job] = {}
    waiting = list(todo)
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                job = waiting.pop(0)
                active[job.plan.title] = job
                display.start(job.plan.title, job.earlier)
                job.begun = time.monotonic()
                job.start(lambda *event: events.put(event))
            with contextlib.suppress(queue.Empty):
                name, event = events.get(timeout=0.25)
                if name in active:
                    _follow(active[name], event, display)
            for name, job in list(active.items()):
                if job.is_over():
                    outcome = _conclude(job, display)
                    del active[name]
                    yield outcome
            display.tick()
    finally:
        with unstoppable():
            for job in active.values():
                job.stop()
                job.clear()
            display.close()


def _follow(job: Job, event: dict[str, Any], display: Display) -> None:
    """Take in one event of a job."""
    kind = event.pop("event")
    if kind == "kernel":
        job.kernel = event["pid"]
    elif kind == "cells":
        display.cells(job.plan.title, event["total"])
    elif kind == "cell":
        job.starts.append(time.monotonic())
        job.source = event["source"]
        display.cell(job.plan.title, event["number"])
    elif kind in ("done", "failed"):
        job.end = event if kind == "failed" else {}
    elif kind == "exit":
        job.exited = True


def _conclude(job: Job, display: Display) -> Outcome:
    """Stop what is left of a job, and keep its outcome if everything about it is right."""
    seconds, cells = job.seconds(), job.cells()
    with unstoppable():
        job.stop()
        if job.end is None:
            errors = (job.work / "stderr.txt").read_text(encoding="utf-8", errors="replace")
            how = (killed(job.status) if job.status is not None and job.status < 0
                   else f"ended with status {job.status}")
            job.end = {"kind": "crash", "message": f"its process {how}", "source": job.source,
                       "number": len(job.starts) or None, "traceback": errors[-4000:]}
        try:
            outcome = _keep(job, seconds, cells)
        except (OSError, ValueError) as error:
            outcome = failed(job, {"kind": "outcome", "message": str(error)}, seconds)
        if outcome.status == "failed":
            _keep_failed(job, outcome)
        notes = job.notes.read_text(encoding="utf-8") if job.notes.exists() else ""
        job.clear()
    took = duration(seconds)
    text = f"done in {took}" if outcome.status == "done" else f"FAILED after {took}"
    display.end(job.plan.title, text)
    for note in notes.splitlines():
        display.once(note)
    if outcome.details:
        display.line(outcome.details)
    return outcome


def _keep(job: Job, seconds: float, cells: list[float]) -> Outcome:
    """Check the results of a notebook that ran to its end, and move all of it into place."""
    if job.end:
        return failed(job, job.end, seconds)
    one, folder = job.plan, job.folder
    results = own_results(job)
    now = staleness.notebook_fingerprint(one.notebook, one.values, reach.read_sources())
    require(now == one.fingerprint, "code", "a change since the start", "a notebook and a library "
            "that stay the same while it runs; run it again")
    commit, dirty = commit_of(folder.root)
    results["provenance"] |= {"commit": commit, "dirty": dirty, "date": utc_now(),
                              "seconds": round(seconds, 2)}
    results |= {"profile": one.profile, "fingerprint": one.fingerprint, "parameters": one.values}
    folder.executed(one.name).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(folder.results(one.name), claims.dumps(results))
    os.replace(job.work / "out.ipynb", folder.executed(one.name))
    folder.note(one.name, {"status": "done", "run": job.run, "fingerprint": one.fingerprint,
                           "judging": one.judging, "seconds": round(seconds, 2),
                           "date": utc_now(), "cells": cells})
    folder.failed(one.name).unlink(missing_ok=True)
    return Outcome(one.title, "done", seconds)


def own_results(job: Job) -> dict[str, Any]:
    """The results file that this very run wrote; `ValueError` if there is none."""
    path, name = job.work / "results.json", job.plan.name
    require(path.exists(), "results file", "none", "one: call report.save() in the "
            "notebook")
    results = claims.load_results(path)
    require(results["run"] == job.run, "run of the results file", results["run"],
            f"{job.run}, this run")
    require(results["notebook"] == name, "notebook of the results file",
            results["notebook"], name)
    return results


def failed(job: Job, end: Mapping[str, Any], seconds: float) -> Outcome:
    """The outcome of a failure: one line for the summary, and cell, traceback and what to do."""
    name = job.plan.title
    cell = f"code cell {end['number']}: " if end.get("number") else ""
    message = f"{cell}{end['message']}"
    if end.get("kind") not in ("error", "outcome"):
        message = f"{cell}{end['kind']}: {end['message']}"
    parts = [f"--- {name}: {message}"]
    if end.get("source"):
        parts += ["".join(f"    {line}\n" for line in end["source"].splitlines()).rstrip()]
    if end.get("traceback"):
        parts += [end["traceback"].rstrip()]
    parts += [f"--- run it again: {job.plan.again}"]
    return Outcome(name, "failed", seconds, message, "\n".join(parts))


def _keep_failed(job: Job, outcome: Outcome) -> None:
    """Remember the failure, and keep the notebook as far as it came."""
    with contextlib.suppress(OSError):  # a full disk must not hide why the notebook failed
        earlier = job.folder.runs().get(job.plan.name, {}).get("cells", [])
        job.folder.note(job.plan.name, {"status": "failed", "message": outcome.message,
                                        "seconds": round(outcome.seconds, 2), "date": utc_now(),
                                        "cells": earlier})
        if (job.work / "out.ipynb").exists():
            job.folder.failed(job.plan.name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(job.work / "out.ipynb", job.folder.failed(job.plan.name))


def summary(outcomes: Sequence[Outcome], profile: str) -> str:
    """One line per notebook and one for all, true to what happened."""
    words = {"done": "done", "unchanged": "unchanged", "failed": "FAILED"}
    width = max(len(one.name) for one in outcomes)
    lines = []
    for one in outcomes:
        text = f"{one.name:<{width}}  {words[one.status]:<9}  {duration(one.seconds):>10}"
        text += "  (when it last ran)" if one.status == "unchanged" else ""
        lines.append(text + (f"  {one.message.splitlines()[0]}" if one.message else ""))
    counts = [f"{count} {status}" for status in words
              if (count := sum(one.status == status for one in outcomes))]
    return "\n".join([*lines, f"profile {profile}: {', '.join(counts)}"])


@contextlib.contextmanager
def only_run(folder: Folder, display: Display) -> Iterator[None]:
    """Hold the profile's lock: two runs of one profile would undo each other's work."""
    folder.path.mkdir(parents=True, exist_ok=True)
    path = folder.path / "run.lock"

    def without(error: OSError) -> None:
        display.line(f"{folder.path}: {error.strerror}: this file system has no locks; start no "
                     f"other run of profile {folder.profile} before this one has ended")

    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(path, without, timeout=0))
        except Timeout:
            display.line(f"waiting for another run of profile {folder.profile} to end")
            held.enter_context(locked(path, without))
        yield
