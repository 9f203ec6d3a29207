"""Files written whole or not at all, and locks; a module of its own, as who needs it starts fast.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

LOCKLESS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class StoreWarning(RuntimeWarning):
    """What the store cannot do here; values are right all the same."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` once all is written and is gone otherwise."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> Path:
    """Write a text so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


@contextlib.contextmanager
def locked(path: Path, without: Callable[[OSError], None], timeout: float = -1) -> Iterator[None]:
    """Hold the operating system's lock on a file, which it takes back from a process that dies.

    Where the file system has no locks, as some network folders have none, `without` is told and
    all goes on. `filelock.Timeout` where another process holds it for `timeout` seconds (-1: wait).
    """
    lock = FileLock(path)
    try:
        # Asked first, because FileLock takes some such file systems for a lock that is held.
        with open(path, "ab") as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        lock.acquire(timeout)
    except OSError as error:
        if not has_no_locks(error):
            raise
        without(error)
    try:
        yield
    finally:
        lock.release()


def has_no_locks(error: Exception) -> bool:
    """Whether an error means that a file system has no locks."""
    return getattr(error, "errno", None) in LOCKLESS
