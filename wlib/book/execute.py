"""Run one notebook in this process with papermill, strictly: `python -m wlib.book.execute JOB`.

papermill ends well after `SystemExit(0)`, obeys `raises-exception` and has no time-out. Here every
code cell must run to its end. Events go to standard output, one JSON object a line; when standard
input closes, the parent is gone, and the kernel is ended too. The kernel is the interpreter that
runs this, whatever kernels are installed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from wlib.book.parameters import assignments
from wlib.book.progress import killed
from wlib.check import require, short
from wlib.ground.files import write_atomic

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
KERNEL_ARGV = [sys.executable, "-m", "wlib.book.kernel", "-f", "{connection_file}",
               "--HistoryManager.enabled=False"]
COLORS = re.compile(r"\x1b\[[0-9;]*m")

running: dict[str, Any] = {"notebook": None, "kernel": None, "exit": None, "number": None,
                           "source": "", "sockets": ""}


class OwnKernel(AsyncKernelManager):
    """A kernel of this interpreter that remembers how it ended.

    They talk through socket files in the job's folder: a port that was free when it was chosen may
    be taken by the time the kernel binds it, and the kernel dies of that on a busy machine.
    """

    def __init__(self, **options: Any) -> None:
        # Relative, because the path of a socket has at most 107 bytes.
        super().__init__(**options, transport="ipc", ip=os.path.relpath(running["sockets"]))

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=KERNEL_ARGV, display_name=KERNEL["display_name"], language="python")

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        await super()._async_launch_kernel(kernel_cmd, **options)
        assert isinstance(self.provisioner, LocalProvisioner)  # a process of this machine
        running["kernel"] = self.provisioner.pid
        emit("kernel", pid=self.provisioner.pid)

    _launch_kernel = _async_launch_kernel

    async def _async_is_alive(self) -> bool:
        if self.provisioner is not None:
            code = await self.provisioner.poll()
            running["exit"] = code if code is not None else running["exit"]
        return await super()._async_is_alive()

    is_alive = _async_is_alive


class StrictEngine(NBClientEngine):
    """papermill's engine, which keeps the notebook in reach when it fails."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
        running["notebook"] = nb_man.nb
        check_injected(nb_man.nb, options.pop("injected"))
        code = [index for index, cell in enumerate(nb_man.nb.cells) if runs(cell)]
        running["numbers"] = {index: number for number, index in enumerate(code, start=1)}
        emit("cells", total=len(code))
        return super().execute_managed_notebook(nb_man, kernel_name, **options)


def check_injected(notebook: Any, parameters: dict[str, Any]) -> None:
    """Refuse to run unless papermill wrote just these parameters, right after the defaults."""
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    places = [place for place, own in enumerate(tags) if "injected-parameters" in own]
    wanted = [place + 1 for place, own in enumerate(tags) if "parameters" in own and parameters]
    require(places == wanted, "places of injected parameters", places, str(wanted))
    for place in places:
        found = assignments(notebook.cells[place].source, "injected parameters")
        require(found == parameters, "injected parameters", found, short(parameters))


def runs(cell: Any) -> bool:
    """Whether a cell is code that the kernel has to run."""
    return cell.cell_type == "code" and cell.source.strip() != ""


def emit(event: str, **details: Any) -> None:
    """Tell the parent what happens."""
    events.write(json.dumps({"event": event} | details) + "\n")
    events.flush()


def on_start(cell: Any, cell_index: int) -> None:
    """Say which cell begins."""
    if runs(cell):
        running.update(number=running["numbers"][cell_index], source=cell.source)
        emit("cell", number=running["number"], source=cell.source)


def main(job: dict[str, Any]) -> None:
    """Execute the notebook of a job and write it to `output`; every end is an event."""
    running["sockets"] = Path(job["output"]).with_name("kernel")
    try:
        notebook = nbformat.read(job["notebook"], as_version=4)
        executed = papermill.execute_notebook(
            notebook, None, parameters=job["parameters"], engine_name="strict",
            injected=job["parameters"], kernel_name=KERNEL["name"], language="python",
            progress_bar=False, request_save_on_cell_execute=False, autosave_cell_every=0,
            cwd=job["folder"], execution_timeout=job["cell_timeout"], start_timeout=120,
            iopub_timeout=60, raise_on_iopub_timeout=True,  # else a slow cell loses its outputs
            record_timing=False, force_raise_errors=True, kernel_manager_class=OwnKernel,
            shutdown_kernel="immediate", on_cell_start=on_start)
        wrong = not_run(executed)
    except Exception as error:
        executed, wrong = running["notebook"], failure(error, job)
    if executed is not None:
        write_atomic(Path(job["output"]), nbformat.writes(tidy(executed, job)))
    if wrong:
        emit("failed", **wrong)
    else:
        emit("done")


def failure(error: Exception, job: dict[str, Any]) -> dict[str, Any]:
    """What went wrong, where, and its traceback."""
    if isinstance(error, PapermillExecutionError):
        text = "\n".join(error.traceback) if error.traceback else str(error)
        return at_cell("error", f"{error.ename}: {error.evalue}", COLORS.sub("", text))
    if isinstance(error, CellTimeoutError):
        return at_cell("time-out", f"the cell took more than {job['cell_timeout']:g} s")
    if isinstance(error, DeadKernelError):
        return at_cell("kernel died", death(running["exit"]))
    return at_cell("crash", f"{type(error).__name__}: {error}", traceback.format_exc())


def death(code: int | None) -> str:
    """Words for a kernel's exit status."""
    if code is not None and code < 0:
        return f"the kernel {killed(code)}"
    return f"the kernel ended by itself (exit status {code}): did this cell call os._exit()?"


def at_cell(kind: str, message: str, text: str = "") -> dict[str, Any]:
    """An event's details for the cell that was running."""
    return {"kind": kind, "message": message, "traceback": text,
            "number": running["number"], "source": running["source"]}


def not_run(notebook: Any) -> dict[str, Any] | None:
    """The first code cell that did not run to its end, or that left an error."""
    for index, cell in enumerate(notebook.cells):
        if not runs(cell):
            continue
        running.update(number=running["numbers"][index], source=cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                return at_cell("error", f"{output.ename}: {output.evalue}: a cell must end by "
                               "itself", COLORS.sub("", "\n".join(output.traceback)))
        if cell.execution_count is None:
            return at_cell("not run", "the cell did not run: is it tagged skip-execution?")
    return None


def tidy(notebook: Any, job: dict[str, Any]) -> Any:
    """An executed notebook without this machine's paths and clocks, with its run's id."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata["wlib"] = {"run": job["run"], "profile": job["profile"]}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
    return notebook


def end_with_parent() -> None:
    """Wait until the parent is gone, then end the kernel and this process at once."""
    while os.read(0, 4096):  # not sys.stdin, whose lock would abort this process at its end
        pass
    if running["kernel"]:
        try:
            os.killpg(running["kernel"], signal.SIGKILL)
        except OSError:
            pass  # it has ended before
    os._exit(1)


if __name__ == "__main__":
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the kernel writes there must not mix with the events
    papermill_engines.register("strict", StrictEngine)
    threading.Thread(target=end_with_parent, daemon=True).start()
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
