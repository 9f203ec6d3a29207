"""Fill the store ahead of a run: one notebook, once per seed, on local processes or a Dask cluster.

Every costly step is a store entry, so spreading work needs no more than this. The outputs of these
runs are thrown away; the ordinary run that follows only reads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from wlib.book import planning, runner, signals
from wlib.book.job import Job, Outcome
from wlib.book.planning import Folder, Plan
from wlib.book.progress import Display, duration
from wlib.check import require, whole
from wlib.claims import staleness
from wlib.ground import entries


def read_seeds(text: str) -> range:
    """The seeds of 'A:B', from A to B-1."""
    found = re.fullmatch(r"(\d+):(\d+)", text.strip(), re.ASCII)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    require(first < last, "seeds", text, "two whole numbers A:B with A < B, such as 0:20")
    return range(first, last)


def plan(name: str, profile: str, seeds: Sequence[int], given: Sequence[tuple[str, str]] = (),
         root: Path | None = None) -> list[Plan]:
    """One plan a seed, with the parameter `seeds` set to that seed alone."""
    require("seeds" not in dict(given), "-p", "seeds", "other parameters: --seeds sets this one")
    plans = []
    for seed in seeds:
        one, = planning.plan([name], profile, [*given, ("seeds", str(seed))], root)
        require(isinstance(one.values["seeds"], list), f"{one.name}: seeds", one.values["seeds"],
                "a list in the parameters cell")
        plans.append(dataclasses.replace(one, label=f"seed {seed}"))
    return plans


def run(plans: Sequence[Plan], limits: tuple[float, float], jobs: int,
        display: Display | None = None) -> list[Outcome]:
    """Run all on this machine, `jobs` at once; Ctrl-C ends them, what is in the store stays."""
    require(whole(jobs, 1), "jobs", jobs, "a whole number ≥ 1")
    with tempfile.TemporaryDirectory(prefix="wlib-warm-") as folder, signals.interruptible():
        fonts = {"MPLCONFIGDIR": str(Path(folder, "matplotlib"))}  # listed once, not once per seed
        todo = [Job(one, Folder(Path(folder, str(number)), one.profile), limits, variables=fonts)
                for number, one in enumerate(plans)]
        with contextlib.closing(runner.run_jobs(todo, jobs, display or Display())) as ended:
            outcomes = {outcome.name: outcome for outcome in ended}
    return [outcomes[one.title] for one in plans]


# ---------------------------------------------------------------- on a cluster
def run_on_cluster(plans: Sequence[Plan], limits: tuple[float, float], address: str,
                   display: Display | None = None) -> list[Outcome]:
    """Run all on the workers of a Dask scheduler, one seed a task.

    A task whose worker dies runs again on another; what the dead one had put into the store is
    read. Ctrl-C forgets the tasks that have not begun, those that run end by themselves.
    """
    try:
        from distributed import Client, as_completed  # late: an extra that few need
    except ImportError as error:
        raise ValueError("--dask needs the packages of the extra 'cluster': "
                         "pip install 'weights-as-data[cluster]'") from error
    display, outcomes = display or Display(), {}
    with _marked_store() as mark, Client(address, timeout=30) as client:
        tasks = {client.submit(run_task, one, one.notebook.read_text(encoding="utf-8"), limits,
                               str(mark), key=f"wlib-warm-{uuid.uuid4().hex}"): one
                 for one in plans}
        for task in as_completed(tasks):
            one = tasks[task]
            if task.status == "finished":
                outcome = task.result()
            else:
                why = task.exception()
                outcome = Outcome(one.title, "failed", 0.0, f"{type(why).__name__}: {why}")
            outcomes[one.title] = outcome
            display.line(outcome.details or f"{one.title}: {outcome.status} in "
                         f"{duration(outcome.seconds)} ({len(outcomes)} of {len(plans)})")
    return [outcomes[one.title] for one in plans]


@contextlib.contextmanager
def _marked_store() -> Iterator[Path]:
    """A file in the store by which a worker can tell that it sees the same folder."""
    mark = entries.root().resolve() / f".shared-{uuid.uuid4().hex}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def run_task(one: Plan, text: str, limits: tuple[float, float], mark: str) -> Outcome:
    """On a worker: run a plan's notebook, given as text, into a folder that is thrown away.

    Refuses to work where the results would have other keys or lie in another store.
    """
    store, here = Path(mark).parent, socket.gethostname()
    if not Path(mark).exists():
        return Outcome(one.title, "failed", 0.0, f"{here} does not share the store's folder "
                       f"{store}")
    with tempfile.TemporaryDirectory(prefix="wlib-warm-") as folder:
        notebook = Path(folder, "notebooks", one.notebook.name)
        notebook.parent.mkdir()
        notebook.write_text(text, encoding="utf-8")
        if staleness.notebook_fingerprint(notebook, one.values) != one.fingerprint:
            return Outcome(one.title, "failed", 0.0, f"{here} has another version of wlib, of "
                           "Python or of a package: its results would have other keys")
        job = Job(dataclasses.replace(one, notebook=notebook), Folder(Path(folder), one.profile),
                  limits, variables={"WLIB_STORE": str(store)})
        outcome, = runner.run_jobs([job], 1, Display(io.StringIO()))
        return outcome
