"""The strict runner: plan, check, run notebooks one process each, and keep only whole outcomes.

`plan` checks names, types and kinds before anything runs; `run` executes what has changed since it
last ran; `record` copies results of a built run into the repository. What a run writes goes to a
folder of its own and is moved into place when everything about it is right:

    _build/P/executed/NN.ipynb   the notebook with its outputs
    _build/P/results/NN.json     its measures, with where and how they were made
    _build/P/failed/NN.ipynb     a notebook that failed, as far as it came
    _build/P/runs.json           one entry per notebook: status, fingerprint, seconds, also of cells
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from wlib import claims
from wlib.book import kinds, parameters
from wlib.book.progress import Display, duration, killed
from wlib.check import require, require_one_of
from wlib.claims import consistency
from wlib.ground import fingerprint, surroundings
from wlib.ground.files import locked, write_atomic

LIMITS = {"smoke": (300.0, 600.0), "laptop": (1800.0, 3600.0)}  # seconds per cell, per notebook
LONGEST = (4 * 3600.0, 12 * 3600.0)  # for the other profiles
READ = ("notebooks/*.ipynb", "profiles/*.yml", "book/claims.yml", "wlib/**/*.py")  # by a run
GRACE = 3.0  # seconds that a process gets to end its kernel by itself


# ---------------------------------------------------------------- the plan
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
                fingerprint.notebook_fingerprint(path, values), judging(path, root), again)


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


# ---------------------------------------------------------------- one notebook's process
@dataclass
class Outcome:
    """How a notebook ended: "done", "unchanged" or "failed", and why."""

    name: str
    status: str
    seconds: float
    message: str = ""
    details: str = ""


@dataclass
class Job:
    """A notebook that runs in a process of its own."""

    plan: Plan
    folder: Folder
    limits: tuple[float, float]  # seconds per cell, seconds per notebook
    earlier: Sequence[float] = ()  # seconds of the cells in an earlier run
    variables: Mapping[str, str] = field(default_factory=dict)  # of the kernel's environment
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: float = field(default_factory=time.monotonic)  # no clock that can be set back
    starts: list[float] = field(default_factory=list)
    source: str = ""  # of the cell that runs
    process: subprocess.Popen | None = None
    kernel: int | None = None
    exited: bool = False
    status: int | None = None
    end: dict[str, Any] | None = None

    @property
    def work(self) -> Path:
        return self.folder.path / "work" / self.run

    @property
    def notes(self) -> Path:
        """What the kernel has to say to who runs it, and not to who reads the page."""
        return self.work / "notes.txt"

    def start(self, report: Callable[[str, dict[str, Any]], None]) -> None:
        """Start the process; `report(name, event)` is called from a thread for each event."""
        self.work.mkdir(parents=True)
        job = {"notebook": str(self.plan.notebook), "parameters": self.plan.injected,
               "folder": str(self.plan.notebook.parent), "output": str(self.work / "out.ipynb"),
               "cell_timeout": self.limits[0], "run": self.run, "profile": self.plan.profile}
        path = write_atomic(self.work / "job.json", json.dumps(job))
        with open(self.work / "stderr.txt", "wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wlib.book.execute", str(path)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, env=self.environment(),
                cwd=self.plan.notebook.parent, start_new_session=True)
        threading.Thread(target=self._listen, args=(report,), daemon=True).start()

    def environment(self) -> dict[str, str]:
        """The kernel's environment: no settings of the user's own, and where to report."""
        paths = [str(fingerprint.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        return surroundings.variables() | {
            # The notebook must use the very library that was fingerprinted.
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "MPLCONFIGDIR": str(self.folder.path.parent / "matplotlib"),  # keeps the list of fonts
            "IPYTHONDIR": str(self.work / "ipython"), "JUPYTER_CONFIG_DIR": str(self.work),
            "JUPYTER_DATA_DIR": str(self.work), "JUPYTER_RUNTIME_DIR": str(self.work),
            "WLIB_RESULTS": str(self.work / "results.json"), "WLIB_RUN": self.run,
            "WLIB_NOTEBOOK": self.plan.name, "WLIB_PROFILE": self.plan.profile,
            "WLIB_NOTES": str(self.notes),
            } | dict(self.variables)

    def _listen(self, report: Callable[[str, dict[str, Any]], None]) -> None:
        with self.process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line cut off by a kill
                    report(self.plan.title, json.loads(line))
        report(self.plan.title, {"event": "exit"})

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    def is_over(self) -> bool:
        """Whether the process has ended, or has had all the time that it may take."""
        if self.seconds() > self.limits[1] and not self.exited:
            self.end = {"kind": "time-out", "number": len(self.starts) or None,
                        "source": self.source,
                        "message": f"the notebook took more than {self.limits[1]:g} s"}
            return True
        return self.exited

    def cells(self) -> list[float]:
        """Seconds of each code cell that began; none where the process ended before the first."""
        ends = [*self.starts[1:], time.monotonic()][:len(self.starts)]
        return [round(end - start, 3) for start, end in zip(self.starts, ends, strict=True)]

    def stop(self) -> None:
        """End process and kernel, by force if they do not end when their input closes."""
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.status, self.process = self.process.returncode, None
        if self.status != 0 and self.kernel is not None:
            with contextlib.suppress(OSError):  # the kernel leads a group with all it started
                os.killpg(self.kernel, signal.SIGKILL)

    def clear(self) -> None:
        """Remove what the run left; the outcome has been moved away before."""
        shutil.rmtree(self.work, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.work.parent.rmdir()


# ---------------------------------------------------------------- running
def run(plans: Sequence[Plan], *, jobs: int = 1, force: bool = False,
        cell_limit: float | None = None, limit: float | None = None,
        display: Display | None = None, make: Callable[..., Job] = Job) -> list[Outcome]:
    """Run what has changed, `jobs` at once; outcomes in the order of the plans.

    A notebook that fails does not stop the others. Ctrl-C and SIGTERM end every kernel and leave
    nothing half-written: KeyboardInterrupt, and the same call goes on where this one stopped.
    `make` makes the job of a plan.
    """
    require(isinstance(jobs, int) and jobs >= 1, "jobs", jobs, "a whole number ≥ 1")
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


def run_jobs(todo: Sequence[Job], jobs: int, display: Display) -> Iterator[Outcome]:
    """Run jobs with different titles, `jobs` at once; closing the iterator ends what runs."""
    events: queue.Queue = queue.Queue()
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
            how = killed(job.status) if job.status < 0 else f"ended with status {job.status}"
            job.end = {"kind": "crash", "message": f"its process {how}", "source": job.source,
                       "number": len(job.starts) or None, "traceback": errors[-4000:]}
        try:
            outcome = _keep(job, seconds, cells)
        except (OSError, ValueError) as error:
            job.end = {"kind": "outcome", "message": str(error)}
            outcome = failed(job, seconds)
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
        return failed(job, seconds)
    one, folder = job.plan, job.folder
    results = own_results(job)
    now = fingerprint.notebook_fingerprint(one.notebook, one.values, fingerprint.read_sources())
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


def failed(job: Job, seconds: float) -> Outcome:
    """The outcome of a failure: one line for the summary, and cell, traceback and what to do."""
    end, name = job.end, job.plan.title
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


# ---------------------------------------------------------------- small parts
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


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and a closed terminal raise KeyboardInterrupt."""
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with handling(stop):
        yield


@contextlib.contextmanager
def unstoppable() -> Iterator[None]:
    """Inside, these signals wait: what is being put into place or taken down is finished."""
    caught: list[int] = []
    with handling(lambda number, _: caught.append(number)):
        yield
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def handling(handler: Callable[..., None]) -> Iterator[None]:
    """A handler for the signals that end a run; only the main thread can set one.

    A closed terminal that is ignored from the start, as under nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler)
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
              if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def utc_now() -> str:
    """The time in UTC, as results files have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def commit_of(root: Path) -> tuple[str | None, bool | None]:
    """The commit, and whether files other than recorded results differ from it; None outside git.
    """
    return state_of(root)[:2]


def state_of(root: Path) -> tuple[str | None, bool | None, str]:
    """`commit_of`, and why there is no commit that says what the book in `root` is.

    The repository must be the book's own, and have the files that a run reads: one around it that
    ignores the book says nothing of it.
    """
    try:
        top = surroundings.git(root, "rev-parse", "--show-toplevel")
        if not os.path.samefile(top, root):
            return None, None, f"the repository around it is that of {top}"
        commit = surroundings.git(root, "rev-parse", "--verify", "HEAD")
        ignored = surroundings.git(root, "ls-files", "--others", "--ignored", "--exclude-standard",
                                   "--", *(f":(glob){one}" for one in READ))
        unseen = [line[2:] for line in surroundings.git(root, "ls-files", "-v", "--", *(
            f":(glob){one}" for one in READ)).splitlines() if line[0].islower() or line[0] == "S"]
        changed = surroundings.git(root, "status", "--porcelain", "--untracked-files=normal",
                                   "--ignore-submodules=none", "--", ".", ":!results")
    except OSError as error:
        return None, None, str(error)
    if ignored:
        return None, None, f"git ignores {', '.join(ignored.splitlines()[:3])}"
    if unseen:     # marked by `git update-index` as assume-unchanged or skip-worktree
        return None, None, f"git is told not to look at {', '.join(unseen[:3])}"
    return commit, bool(changed), ""


# ---------------------------------------------------------------- built and recorded runs
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
    require(profile in claims.RECORDED, "profile", profile,
            f"one of {', '.join(claims.RECORDED)}: only their numbers mean something")
    require(brought is None or (brought / "results").is_dir(), "--from", str(brought),
            "the folder gpu-results that benchmarks/gpu.sh packs")
    commit, dirty, why = state_of(root)
    require(commit is not None and not dirty, "working tree", "uncommitted changes" if commit else
            "no commit", "a clean one, so that the commit says what was run"
            + f" (why there is none: {why})" * bool(why))
    texts, wrong = {}, {}
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
        made = results["provenance"]
        if brought and (results["profile"] != profile or claims.is_stale(results, root)):
            wrong[one.name] = f"is not of this code at profile {profile}"
            continue
        if brought and made.get("commit") is None:    # the fingerprint says that it is this one
            made |= {"commit": commit, "dirty": False}
        if made.get("dirty") is not False:
            wrong[one.name] = "ran with uncommitted changes; commit, then run it with --force"
        elif results["parameters"] != json.loads(json.dumps(one.values)):
            wrong[one.name] = "ran with other parameters than the profile's"
        elif problems_found := consistency.measure_problems(results, rows):
            wrong[one.name] = f"does not measure what the claims ask: {'; '.join(problems_found)}"
        texts[Path(profile) / f"{one.name}.json"] = claims.dumps(results)
    require(not wrong, "runs", "; ".join(f"{name} {why}" for name, why in wrong.items()),
            "none of these")
    return [write_atomic(root / "results" / path, text) for path, text in texts.items()]


def _tables_of(brought: Path, commit: str, root: Path) -> tuple[dict[Path, str], dict[str, str]]:
    """Tables of benchmarks in a folder, as texts by file, and those of other code."""
    texts, wrong = {}, {}
    for path in sorted(brought.glob("gpu-*.json")):
        content = consistency.load_tables(path)
        made = content["provenance"]
        script = root / str(made.get("script"))
        if script.is_file() and made.get("fingerprint") == fingerprint.script_fingerprint(script):
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
