"""Faults that befall the store: damage of every kind, killed makers, full and read-only disks."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from faults import fault, homeless, promised, remount, small_disk, without_locks
from safetensors.torch import save_file
from toyrun import until

from wlib.ground import entries
from wlib.store import cache as store

CALLS: list[Any] = []


def note(number):
    sys.modules[__name__].CALLS.append(number)   # named, its length would be in the key


def give(number):
    note(number)
    return {"number": number, "w": torch.arange(40.0), "words": ["some text", 1.5, None]}


def same(value: Any, number: int) -> bool:
    """Whether a value is what `give(number)` returns."""
    return (value["number"] == number and value["words"] == ["some text", 1.5, None]
            and torch.equal(value["w"], torch.arange(40.0)))


@contextlib.contextmanager
def store_in(folder: Path) -> Iterator[Path]:
    """The store in a folder of its own; no maker has been called."""
    before = os.environ.get("WLIB_STORE")
    os.environ["WLIB_STORE"] = str(folder)
    CALLS.clear()
    store._warned.clear()
    try:
        yield folder
    finally:
        os.environ.pop("WLIB_STORE")
        if before is not None:
            os.environ["WLIB_STORE"] = before


def survives(folder: Path, damage: Any) -> int:
    """Damage the one entry, ask again: the value must be right. Returns how often it was made."""
    with store_in(folder):
        promised(same(store.cached(give, 1), 1), "the first value")
        path, = folder.rglob("*.safetensors")
        damage(path)
        for _ in range(2):
            promised(same(store.cached(give, 1), 1), "a damaged entry was believed")
        made = len(CALLS)
        for path in folder.rglob("*.safetensors"):
            path.unlink()
        return made


@fault("store", "an entry cut at any of 40 lengths", "made again, never believed")
def truncated(folder: Path) -> str:
    draw = random.Random(0)

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:draw.randrange(path.stat().st_size)])

    made = [survives(folder, cut) for _ in range(40)]
    promised(made == [2] * 40, f"made {made} times")
    return "made again 40 times, then read"


@fault("store", "one bit turned over at any of 200 places", "the value is right or made again")
def bit(folder: Path) -> str:
    draw = random.Random(0)

    def turn(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)

    made = [survives(folder, turn) for _ in range(200)]
    promised(set(made) <= {1, 2}, f"made {set(made)} times")
    return f"made again {made.count(2)} times; {made.count(1)} bits lay in notes about the entry"


@fault("store", "a foreign file, an empty one, another format, one that names no key",
       "made again, never believed")
def foreign(folder: Path) -> str:
    header = {"format": "wlib store 0", "key": "", "value": "1", "made": "{}", "checksum": ""}
    kinds = [lambda path: path.write_bytes(b"PK\3\4" * 40), lambda path: path.write_bytes(b""),
             lambda path: save_file({"t0": torch.ones(3)}, path, metadata=header),
             lambda path: save_file({"t0": torch.ones(3)}, path)]
    promised([survives(folder, kind) for kind in kinds] == [2] * 4, "not made again")
    return "made again 4 times, then read"


@fault("store", "the entry of another key under this one's name", "made again, never believed")
def misplaced(folder: Path) -> str:
    def swap(path: Path) -> None:
        store.cached(give, 2)
        other, = set(folder.rglob("*.safetensors")) - {path}
        path.write_bytes(other.read_bytes())

    promised(survives(folder, swap) == 3, "not made again")
    return "made again, then read"


@fault("store", "an entry that cannot be read", "the value is made; a warning if it cannot be kept")
def unreadable(folder: Path) -> str:
    def shut(path: Path) -> None:
        path.unlink()
        path.mkdir()        # root may read whatever its mode, but no directory

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with store_in(folder):
            store.cached(give, 1)
            path, = folder.rglob("*.safetensors")
            shut(path)
            promised(same(store.cached(give, 1), 1) and len(CALLS) == 2, "the value")
    promised(len(told) == 1 and "cannot keep results" in str(told[0].message), str(told))
    return "made, returned, one warning"


# ---------------------------------------------------------------- killed makers
KILLED = """
import os, signal, sys, time, random
from wlib.store import cache as store
def slow(number, log):
    with open(log, "a") as file:
        file.write(f"{number} ")
    time.sleep(0.002)
    return {"number": number, "list": list(range(2000))}
log = sys.argv[1]
draw = random.Random(0)
for kill in range(30):
    pid = os.fork()
    if pid == 0:
        for number in range(1000):
            store.cached(slow, number + 1000 * kill, log)
        os._exit(0)
    size = os.path.getsize(log) if os.path.exists(log) else 0
    while not os.path.exists(log) or os.path.getsize(log) < size + 8 + 40 * draw.random():
        time.sleep(0.001)
    time.sleep(0.01 * draw.random())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
calls = [int(word) for word in open(log).read().split()]
for number in set(calls):
    assert store.cached(slow, number, log) == {"number": number, "list": list(range(2000))}
again = [int(word) for word in open(log).read().split()][len(calls):]
print(len(calls), len(again), len(set(calls)) == len(calls))
"""


@fault("store", "kill -9 of a maker at 30 random moments",
       "what was finished is read, what was not is made again", slow=True)
def killed_makers(folder: Path) -> str:
    script = folder / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, str(script), str(folder / "log")], capture_output=True,
                          text=True, env=os.environ | {"WLIB_STORE": str(folder / "store")})
    promised(done.returncode == 0, done.stderr[-500:])
    calls, again, once = done.stdout.split()
    promised(once == "True" and int(again) <= 30 < int(calls), done.stdout)
    parts = list((folder / "store").rglob("*.part"))
    promised(parts == [], f"left: {parts}")
    return f"of {calls} entries {again} were unfinished and made again, the others read"


# The first maker never ends; the second is quick.
MAKER = """
import os, sys, time
from pathlib import Path
from wlib.store import cache as store
def make(log):
    first = not Path(log).exists()
    with open(log, "a") as file:
        file.write(f"{os.getpid()} ")
    time.sleep(600 if first else 0)
    return {"value": 42}
print(store.cached(make, sys.argv[1])["value"])
"""


@fault("store", "two jobs on one key, the holder of the lock killed",
       "one makes, the other waits; when the first dies the second takes over", slow=True)
def take_over(folder: Path) -> str:
    script, log = folder / "maker.py", folder / "log"
    script.write_text(MAKER)
    makers = [subprocess.Popen([sys.executable, str(script), str(log)], text=True,
                               env=os.environ | {"WLIB_STORE": str(folder)},
                               stdout=subprocess.PIPE) for _ in range(2)]
    try:
        until(lambda: log.exists() and log.read_text().endswith(" "))
        time.sleep(1.0)
        at_work = log.read_text().split()
        promised(len(at_work) == 1, "both make")
        lock, = folder.rglob("*.lock")
        leftover = lock.with_name(f".{lock.stem}.{at_work[0]}.part")
        leftover.write_bytes(b"half")
        killed, waiting = sorted(makers, key=lambda maker: str(maker.pid) != at_work[0])
        killed.send_signal(signal.SIGKILL)
        promised(waiting.communicate(timeout=60)[0] == "42\n", "the second one's value")
        promised(len(log.read_text().split()) == 2 and not leftover.exists(), "not taken over")
        return "the second waited, took over, and made it once"
    finally:
        for process in makers:
            process.kill()
            process.communicate()


# ---------------------------------------------------------------- disks
def _kept_nothing(folder: Path) -> str:
    """Values are right although nothing can be kept, and one warning says so."""
    with warnings.catch_warnings(record=True) as told, store_in(folder):
        warnings.simplefilter("always")
        for number in (1, 2, 1):
            promised(same(store.cached(give, number), number), "the value")
        promised(CALLS == [1, 2, 1], f"made {CALLS}")
    promised(len(told) == 1 and "cannot keep results" in str(told[0].message), str(told))
    promised([*folder.rglob("*.part"), *folder.rglob("*.safetensors")] == [], "left something")
    return str(told[0].message).partition("(")[2].partition(")")[0]


@fault("store", "a disk that is full", "the value is returned; one warning")
def full_disk(folder: Path) -> str:
    with small_disk(folder / "disk", "64k") as disk:
        with contextlib.suppress(OSError):
            (disk / "filler").write_bytes(bytes(100_000))
        _kept_nothing(disk)
        (disk / "filler").unlink()
        with store_in(disk):
            store.cached(give, 1), store.cached(give, 1)
            promised(CALLS == [1], "not kept although there is space again")
    return "No space left on device: values returned, one warning; kept again with space"


@fault("store", "a file-size limit (as a quota gives)", "the value is returned; one warning")
def quota(folder: Path) -> str:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        _kept_nothing(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    return "File too large: values returned, one warning"


@fault("store", "a folder that is read-only", "what is kept is read; the rest is made; one warning")
def read_only(folder: Path) -> str:
    with small_disk(folder / "disk", "1m") as disk:
        with store_in(disk):
            store.cached(give, 9)
        remount(disk, "ro")
        with store_in(disk), warnings.catch_warnings():
            warnings.simplefilter("error")
            promised(same(store.cached(give, 9), 9) and CALLS == [], "what was kept is not read")
        with warnings.catch_warnings(record=True) as told, store_in(disk):
            warnings.simplefilter("always")
            promised(same(store.cached(give, 1), 1) and same(store.cached(give, 2), 2), "value")
        promised(len(told) == 1, str(told))
        remount(disk, "rw")
    return "read-only: entries read, new values returned, one warning"


@fault("store", "a file system without locks (ENOLCK, EOPNOTSUPP, ENOSYS)",
       "results are kept and read, entries can be deleted; one warning that says so")
def no_locks(folder: Path) -> str:
    for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
        with (store_in(folder / str(number)), without_locks(number),
              warnings.catch_warnings(record=True) as told):
            warnings.simplefilter("always")
            for kind in (1, 2, 1):
                promised(same(store.cached(give, kind), kind), "the value")
            promised(CALLS == [1, 2], f"made {CALLS}")
            text, = (str(warning.message) for warning in told)
            promised("has no locks" in text and "results are kept" in text, text)
            promised(len(entries.delete(entries.entries())) == 2, "not deleted")
            promised(entries.entries() == [], "left")
    return "kept, read and deleted; one warning: has no locks"


ALONE = """
from wlib.store import cache as store
def give(number):
    return {"number": number}
for number in (1, 2, 1):
    assert store.cached(give, number) == {"number": number}
print("the values")
"""


@fault("store", "a user without a name and a home folder, or with one that cannot be written",
       "the value is returned; one warning", slow=True)
def no_home(folder: Path) -> str:
    script, here = folder / "alone.py", folder / "here"
    script.write_text(ALONE)
    here.mkdir()
    for environment in homeless(folder):
        done = subprocess.run([sys.executable, str(script)], cwd=here, env=environment, text=True,
                              capture_output=True)
        promised(done.returncode == 0 and done.stdout == "the values\n", done.stderr[-800:])
        promised(done.stderr.count("StoreWarning") == 1 and "cannot keep results" in done.stderr,
                 done.stderr)
        promised([*here.iterdir()] == [], "left something")
    return "values returned, one warning, nothing left behind"
