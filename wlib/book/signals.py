"""Ctrl-C, SIGTERM and a closed terminal: what may be interrupted, and what is finished first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


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
