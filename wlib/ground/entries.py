"""What lies in the store: who made it, how large it is, when it was last read, and what may go.

Only the headers of entries are read here, so that `wlib store` needs no torch. Deleting an entry is
never wrong, it only costs making it again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from safetensors import SafetensorError, safe_open

from wlib.check import require
from wlib.ground import fingerprint, surroundings, versions
from wlib.ground.files import locked

FORMAT = "wlib store 1"  # how an entry is decoded: another number, and all is made again


def root() -> Path:
    """The store's folder: the environment's WLIB_STORE, else a folder of the user's cache.

    `OSError` where the user has no home folder, and hence no cache.
    """
    try:
        return surroundings.folder("WLIB_STORE") or Path(
            platformdirs.user_cache_dir("weights-as-data"))
    except RuntimeError as error:
        raise OSError(f"no folder to keep results in ({error})") from error


@dataclass(frozen=True)
class Entry:
    """One kept result, by its header; `made` is empty when the header cannot be read."""

    path: Path
    size: int      # bytes
    used: float    # seconds since 1970: last written or read
    made: dict[str, Any]

    @property
    def function(self) -> str:
        """Module and name, such as 'train._fit_one'."""
        return self.path.parent.name

    @property
    def days(self) -> float:
        """Days since it was last read; none if the clock was set back since."""
        return max(0.0, time.time() - self.used) / 86400

    def words(self) -> str:
        """What made it: 'train._fit_one(epochs=3, …)', and in which notebook."""
        if not self.made:
            return f"{self.function}: damaged, will be made again"
        arguments = self.made["recipe"]["arguments"]
        given = ", ".join(f"{name}={_brief(value)}" for name, value in arguments.items())
        where = " ".join(filter(None, (self.made.get("notebook"), self.made.get("profile"))))
        return f"{self.function}({given})" + (f" in {where}" if where else "")

    def reachable(self) -> bool:
        """Whether this installation could ask for it again, as far as can be told.

        A function of a notebook cannot be told without running the notebook: it may be.
        """
        recipe = self.made.get("recipe", {})
        if recipe.get("versions") != versions.current():
            return False
        module, name = self.made.get("module", ""), self.function.partition(".")[2]
        return not module.startswith("wlib.") or fingerprint.is_current(recipe["code"], name)


UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def size_words(size: float) -> str:
    """'512 B', '1.5 MB'."""
    unit = next((unit for unit in UNITS if size < 1000 * UNITS[unit]), "TB")
    return f"{size / UNITS[unit]:.{0 if unit == 'B' else 1}f} {unit}"


def read_size(text: str) -> float:
    """Bytes from a text such as '500 MB' or '2GB'."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)\s*", text, re.ASCII | re.IGNORECASE)
    require(found is not None, "size", text, "a number and a unit, such as 500MB or 2GB")
    assert found is not None
    return float(found[1]) * UNITS[found[2].upper()]


def _brief(value: Any) -> str:
    """An argument in a few letters; what stands for a tensor or a pool by its hash's beginning."""
    text = _text(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _text(value: Any) -> str:
    """A description of `identity` as the reader would write the value."""
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if not isinstance(value, dict):
        return repr(value)
    (kind, inner), *_ = value.items()
    if kind == "tuple":
        return f"({', '.join(map(_text, inner))}{',' * (len(inner) == 1)})"
    if kind == "dict":
        return f"{{{', '.join(f'{_text(k)}: {_text(v)}' for k, v in inner)}}}"
    if kind == "numpy":
        return inner
    if isinstance(inner, str) and len(inner) >= 64:
        return f"{kind} {inner[:8]}"
    return kind if isinstance(inner, list) else f"{kind} {inner}"


def entries(function: str | None = None) -> list[Entry]:
    """All entries, or those of one function, the most recently used first."""
    found = [_entry(path) for path in root().glob("*/*.safetensors")
             if function is None or path.parent.name == function]
    return sorted(filter(None, found), key=lambda entry: -entry.used)


def _entry(path: Path) -> Entry | None:
    """An entry by its file; None if another process has just deleted it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Entry(path, status.st_size, status.st_mtime, _made(path))


def _made(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
        made = json.loads(header["made"])
        fits = header.get("format") == FORMAT and header.get("key") == path.stem
        return made if fits and isinstance(made["recipe"]["arguments"], dict) else {}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return {}


# ---------------------------------------------------------------- deleting
def choose(found: Sequence[Entry], *, older_than: float | None = None, unreachable: bool = False,
           keep: float | None = None) -> list[Entry]:
    """The entries that may go: those that meet every condition given.

    `older_than` days since the last use; `unreachable` by the code of today; `keep` bytes: of those
    that meet the other conditions, the longest unused go until no more than this is left in all.
    """
    for name, value in (("older-than", older_than), ("keep", keep)):
        require(value is None or value >= 0, name, value, "a number ≥ 0")
    going = [entry for entry in found if (older_than is None or entry.days > older_than)
             and not (unreachable and entry.reachable())]
    if keep is None:
        return going
    excess, chosen = sum(entry.size for entry in found) - keep, []
    for entry in sorted(going, key=lambda entry: entry.used):
        if excess > 0:
            chosen.append(entry)
            excess -= entry.size
    return chosen


def delete(going: Sequence[Entry]) -> list[Entry]:
    """Delete entries, and what killed makers left behind; returns the entries that are gone.

    What another process is making just now stays.
    """
    gone = [entry for entry in going if _remove(entry.path, entry.path.with_suffix(".lock"))]
    for part in root().glob("*/.*.part"):
        _remove(part, part.with_name(f"{part.name.split('.')[1]}.lock"))
    for lock in root().glob("*/*.lock"):
        if not lock.with_suffix(".safetensors").exists():
            _remove(lock, lock)
    return gone


def _remove(path: Path, lock: Path) -> bool:
    """Delete a file and its key's lock, unless a process holds that."""
    try:
        with locked(lock, lambda error: None, timeout=0):
            path.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
    except OSError:  # a lock that is held is one, too
        return False
    return True
