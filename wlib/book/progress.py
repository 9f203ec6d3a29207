"""What `wlib run` shows while notebooks run: a bar each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from tqdm import tqdm

QUIET = 15.0  # seconds between two plain lines about one notebook


def duration(seconds: float) -> str:
    """'4 s', '2 min 5 s', '1 h 12 min'."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def killed(status: int) -> str:
    """Words for the negative exit status of a process that a signal ended."""
    if status == -signal.SIGKILL:
        return "was killed (signal 9): most often the machine ran out of memory"
    return f"was ended by {signal.Signals(-status).name}"


def open_streams() -> None:
    """Give a process that was started without standard streams some that lead nowhere.

    Otherwise the next files that it opens take their numbers, and what is printed goes there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))


class Heard:
    """A stream that goes on in silence when its reader is gone: it must cost no notebook's run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write, as long as anybody reads."""
        self._or_nowhere(lambda: self._stream.write(text))

    def flush(self) -> None:
        """Flush, as long as anybody reads."""
        self._or_nowhere(self._stream.flush)

    def _or_nowhere(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except OSError:
            silence(self._stream)


def silence(stream: TextIO) -> None:
    """Let what is written to a stream from now on go nowhere, if it has a number."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@dataclass
class Track:
    """How far one notebook is, and how long its cells took in an earlier run."""

    name: str
    earlier: Sequence[float]
    total: int = 0
    number: int = 0
    begun: float = field(default_factory=time.monotonic)
    spoken: float = field(default_factory=time.monotonic)
    cell_begun: float = field(default_factory=time.monotonic)
    bar: Any = None

    def left(self) -> float | None:
        """Seconds left by the earlier timings; None if they do not fit this notebook."""
        if self.number == 0 or len(self.earlier) != self.total:
            return None
        here = self.earlier[self.number - 1] - (time.monotonic() - self.cell_begun)
        return max(here, 0.0) + sum(self.earlier[self.number:])

    def words(self) -> str:
        """'cell 3 of 20, about 8.2 s left'."""
        if self.number == 0:
            return "starting"
        left = self.left()
        return (f"cell {self.number} of {self.total}"
                + (f", about {duration(left)} left" if left is not None else ""))


class Display:
    """Progress of several notebooks at once, on one stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = Heard(sys.stderr if stream is None else stream)
        self.bars = self.stream.isatty()
        self.tracks: dict[str, Track] = {}
        self.told: set[str] = set()

    def start(self, name: str, earlier: Sequence[float]) -> None:
        """A notebook begins."""
        track = self.tracks[name] = Track(name, earlier)
        if self.bars:
            places = {one.bar.pos for one in self.tracks.values() if one.bar}
            place = next(place for place in range(99) if -place not in places)
            track.bar = tqdm(total=1, desc=name, position=place, leave=False, file=self.stream,
                             bar_format="{desc} |{bar:20}| {elapsed}{postfix}",
                             dynamic_ncols=True)
        else:
            self.line(f"{name}: started")

    def cells(self, name: str, total: int) -> None:
        """The number of code cells is known."""
        track = self.tracks[name]
        track.total = total
        if track.bar:
            track.bar.total = max(total, 1)

    def cell(self, name: str, number: int) -> None:
        """A cell begins."""
        track = self.tracks[name]
        track.number, track.cell_begun = number, time.monotonic()
        if track.bar:
            track.bar.n = number - 1
        elif track.cell_begun - track.spoken > QUIET:
            track.spoken = track.cell_begun
            self.line(f"{name}: {track.words()} ({duration(track.spoken - track.begun)} so far)")

    def tick(self) -> None:
        """Redraw; called a few times a second."""
        for track in self.tracks.values():
            if track.bar:
                track.bar.set_postfix_str(track.words())

    def end(self, name: str, text: str) -> None:
        """A notebook ended."""
        track = self.tracks.pop(name)
        if track.bar:
            track.bar.close()
        self.line(f"{name}: {text}")

    def line(self, text: str) -> None:
        """A line above the bars."""
        if self.bars:
            tqdm.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def once(self, text: str) -> None:
        """A line, unless it has been shown before."""
        if text not in self.told:
            self.told.add(text)
            self.line(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        for track in self.tracks.values():
            if track.bar:
                track.bar.close()
        self.tracks.clear()
