"""The fault suite: every way of being wrong that we thought of, tried, and what happened.

A fault is a function that does the damage in a folder, holds the outcome against the promise with
`promised`, and returns what happened in words. `test_faults.py` tries them all, and
`benchmarks/promises.py` does for the page *Benchmarks and limits*.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class NotHere(Exception):
    """The fault cannot be made on this machine, and why."""


@dataclass(frozen=True)
class Fault:
    """One fault: what is done, what is promised, and the function that tries it."""

    area: str
    name: str
    promise: str
    attempt: Callable[[Path], str]
    slow: bool = False  # starts many processes: not for the unit tests


FAULTS: list[Fault] = []


def fault(area: str, name: str, promise: str, slow: bool = False
          ) -> Callable[[Callable[[Path], str]], Any]:
    """Put a function on the list."""
    def listed(attempt: Callable[[Path], str]) -> Callable[[Path], str]:
        FAULTS.append(Fault(area, name, promise, attempt, slow or area == "run"))
        return attempt
    return listed


def promised(kept: bool, what: str) -> None:
    """The promise is broken unless `kept`."""
    if not kept:
        raise AssertionError(what)


def refused(function: Callable[..., Any], *arguments: Any, names: str = "") -> str:
    """The message of the `ValueError` or `OSError` by which a function refuses, naming a thing."""
    try:
        value = function(*arguments)
    except (ValueError, OSError) as error:
        promised(names in str(error), f"{names!r} is not named in: {error}")
        return str(error)
    raise AssertionError(f"not refused: {arguments!r:.200} gave {value!r:.200}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own under `folder`, as large as `size` ('64k')."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
                             capture_output=True, text=True) if os.geteuid() == 0 else None
    if mounted is None or mounted.returncode != 0:
        raise NotHere("a small file system can be mounted only by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def first(folder: Path, code: str, proof: str) -> dict[str, str]:
    """An environment in which every Python runs some code first; there `proof` prints True."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", proof], env=environment, capture_output=True)
    if b"True" not in done.stdout:
        raise NotHere("this Python has a sitecustomize of its own")
    return environment


NAMELESS = """
import pwd
def nameless(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")
pwd.getpwuid = nameless
"""


def homeless(folder: Path) -> Iterator[dict[str, str]]:
    """Environments of a user who has no name and no home folder, or none that can be written."""
    environment = first(folder / "first", NAMELESS, "import os; os.environ.pop('HOME', None); "
                        "print(os.path.expanduser('~') == '~')")
    plain = {key: value for key, value in environment.items()
             if key not in ("HOME", "USER", "LOGNAME", "WLIB_STORE", "WLIB_DATA")
             and not key.startswith(("XDG_", "MPL"))}
    yield plain
    yield plain | {"HOME": os.devnull}
    with contextlib.suppress(NotHere), small_disk(folder / "home", "64k") as home:
        remount(home, "ro")
        yield plain | {"HOME": str(home)}


@contextlib.contextmanager
def without_locks(number: int) -> Iterator[None]:
    """No file system has locks: asking for one fails with this number."""
    import fcntl

    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    real, fcntl.flock = fcntl.flock, flock
    try:
        yield
    finally:
        fcntl.flock = real


def remount(folder: Path, how: str) -> None:
    """Make a small disk read-only ('ro') or writable again ('rw')."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)
