"""IPython's kernel, deaf to its user's settings, for a notebook: `python -m wlib.book.kernel`.

No start-up file of Python or of IPython, of the user or of the machine, is run, no configuration is
read, and Matplotlib has its own settings. It is imported here, before the first cell, because what
it has to say of this machine's folders and fonts belongs on no page.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__" and Path(sys.path[0]) == Path.cwd():
    del sys.path[0]  # IPython puts it back, behind Python's own modules

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type

from wlib.ground.files import StoreWarning


class OwnShell(ZMQInteractiveShell):
    """IPython's shell, in which `exit()` ends the cell, as it does in Python."""

    def ask_exit(self) -> NoReturn:
        """Raise: IPython would end 0.1 s later, and quick cells after it would run on."""
        raise SystemExit("exit()")


class OwnKernel(IPythonKernel):
    """IPython's kernel with that shell."""

    shell_class = Type(OwnShell)


class OwnKernelApp(IPKernelApp):
    """IPython's kernel that reads no settings and runs nothing before the first cell."""

    kernel_class = Type(OwnKernel)

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """Read no configuration, of the user or of the machine."""

    def init_code(self) -> None:
        """Run no start-up files."""


def load_matplotlib() -> None:
    """Import Matplotlib in a folder that has no settings: it looks for them where it is first."""
    here, folder = Path.cwd(), Path(os.environ["MPLCONFIGDIR"])
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    import matplotlib.font_manager  # noqa: F401  with the list of fonts, made once per machine

    os.chdir(here)


def tell_the_runner() -> None:
    """Let what the store cannot do be said by the runner, once per run, and not on every page."""
    show = warnings.showwarning

    def showwarning(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, StoreWarning):
            with contextlib.suppress(OSError), open(os.environ["WLIB_NOTES"], "a") as notes:
                notes.write(f"{message}\n")
        else:
            show(message, category, *rest, **more)

    warnings.showwarning = showwarning


if __name__ == "__main__":
    load_matplotlib()
    tell_the_runner()
    OwnKernelApp.launch_instance()
