"""One notebook in a process of its own: started, listened to, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from wlib.book.planning import Folder, Plan
from wlib.ground import reach, surroundings
from wlib.ground.files import write_atomic

GRACE = 3.0  # seconds that a process gets to end its kernel by itself


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
    process: subprocess.Popen[bytes] | None = None
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
        threading.Thread(target=self._listen, args=(self.process.stdout, report),
                         daemon=True).start()

    def environment(self) -> dict[str, str]:
        """The kernel's environment: no settings of the user's own, and where to report."""
        paths = [str(reach.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
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

    def _listen(self, events: IO[bytes], report: Callable[[str, dict[str, Any]], None]) -> None:
        with events:
            for line in events:
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
        assert self.process.stdin is not None  # `start` made it a pipe
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
