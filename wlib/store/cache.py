"""Costly results on disk, each under the hash of what made it.

    networks = store.cached(train_networks, data, epochs=12)

looks the result up and makes it only if it is missing. The key is the hash of the function's code
and of every `wlib` module it reaches, of the arguments, and of the packages' versions, so that a
changed line gives a new key and a changed comment does not. Two processes that want one thing make
it once: the first takes a lock, the second waits and reads. An entry is written under a temporary
name and renamed; its checksum is tested on every reading, and a damaged one is made again. The
lock belongs to the operating system, which takes it back from a process that died; where a file
system has none, a warning says so once, and the work is perhaps done twice. Where nothing can be
written (a full disk, a folder that is read-only, a user without a home folder), the value is
returned all the same, and a warning says once that it will have to be made again.

Results may be tensors, numbers, strings, lists, tuples and dicts of them, and pandas DataFrames.
Nothing is pickled: tensors lie in a safetensors file whose header holds the rest as JSON.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wlib.check import require, short, whole
from wlib.ground import fingerprint, versions
from wlib.ground.entries import FORMAT, root
from wlib.ground.files import StoreWarning, has_no_locks, locked
from wlib.store.identity import architecture, describe, digest

__all__ = ["architecture", "cached", "describe", "digest", "resume", "root"]


def cached(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """The value of `function(*args, **kwargs)`, made once and then read.

    The function must give the same result for the same arguments. A function of a notebook may
    use that notebook's other functions and plain constants; whatever else it needs is passed.
    """
    require(callable(function) and hasattr(function, "__qualname__"), "function", function,
            "a function")
    require(function.__name__ != "<lambda>", "function", function,
            "one made by def, whose name says what is kept")
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    name = f"{function.__module__.rpartition('.')[2].strip('_')}.{function.__qualname__}"
    recipe = {"function": name, "code": fingerprint.function_fingerprint(function),
              "arguments": {k: describe(v, k) for k, v in bound.arguments.items()},
              "versions": versions.current()} | _settings()
    key = _sha(json.dumps(recipe, sort_keys=True).encode())
    try:
        path = root() / name.replace("<", "").replace(">", "") / f"{key}.safetensors"
    except OSError as error:                   # a user without a home folder
        _warn(error)
        tensors: dict[str, Tensor] = {}
        return _decode(_encode(function(*args, **kwargs), tensors), tensors)
    hit, value = _read(path, key)
    if hit:
        return value
    with _locked(path):
        hit, value = _read(path, key)          # made by another process while this one waited
        if hit:
            return value
        start = time.perf_counter()
        tensors = {}
        tree = json.dumps(_encode(function(*args, **kwargs), tensors))
        made = {"recipe": recipe, "seconds": round(time.perf_counter() - start, 3)}
        _write(path, key, tree, tensors, made | _circumstances(function))
    return _decode(json.loads(tree), tensors)  # the first caller gets what later ones get


def resume(advance: Callable, *args: Any, steps: int, every: int, **kwargs: Any) -> Any:
    """The state of a long run after `steps` steps, kept in the store after each `every` of them.

    `advance(*args, state=state, steps=n, **kwargs)` goes on from a state, None at the beginning,
    until n steps are done, and gives the state then: values that `cached` can keep. A run that was
    killed goes on where it was, and a longer one begins with a shorter one's pieces.
    """
    for name, value, least in (("steps", steps, 0), ("every", every, 1)):
        require(whole(value, least), name, value, f"a whole number ≥ {least}")
    state = None
    for stop in [*range(every, steps, every), steps]:
        state = cached(advance, *args, state=state, steps=stop, **kwargs)
    return state


def _settings() -> dict[str, Any]:
    """PyTorch's settings for the whole process that can change a result, where they are not those
    it starts with."""
    now = {"dtype": str(torch.get_default_dtype()), "device": str(torch.get_default_device()),
           "deterministic": torch.are_deterministic_algorithms_enabled(),
           "precision": torch.get_float32_matmul_precision()}
    usual = {"dtype": "torch.float32", "device": "cpu", "deterministic": False,
             "precision": "highest"}
    changed = {name: value for name, value in now.items() if value != usual[name]}
    return {"torch": changed} if changed else {}


def _circumstances(function: Callable) -> dict[str, Any]:
    """When and where an entry is made; no part of its key."""
    return {"date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "module": function.__module__, "notebook": os.environ.get("WLIB_NOTEBOOK"),
            "profile": os.environ.get("WLIB_PROFILE")}


# ---- one entry ----------------------------------------------------------------------------------
@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of an entry; where there can be none, warn and go on without."""
    with contextlib.ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path.with_suffix(".lock"), _warn))
        except OSError as error:
            _warn(error)
        yield


def _write(path: Path, key: str, tree: str, tensors: dict[str, Tensor], made: dict) -> None:
    """Keep an entry, whole or not at all; a disk that cannot take it costs only a warning."""
    header = {"format": FORMAT, "key": key, "value": tree, "made": json.dumps(made),
              "checksum": _sha(digest(tensors).encode() + tree.encode())}
    temporary = path.with_name(f".{key}.{os.getpid()}.part")
    try:
        for stale in path.parent.glob(f".{key}.*.part"):  # left by a maker that was killed
            stale.unlink(missing_ok=True)
        save_file(tensors, temporary, metadata=header)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        _warn(error)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


_warned: set[tuple[str, bool]] = set()


def _warn(error: Exception) -> None:
    """Say once that this store keeps nothing, or that it has no locks."""
    try:
        where, lockless = f"the store in {root()}", has_no_locks(error)
    except OSError:
        where, lockless = "the store", False
    if (where, lockless) in _warned:
        return
    _warned.add((where, lockless))
    text = (f"{where} has no locks ({error}): results are kept, but two processes that want one "
            "thing may both make it" if lockless else
            f"{where} cannot keep results ({error}): they are right, but have to be made again "
            "next time; free some space (wlib store prune) or name another folder with the "
            "variable WLIB_STORE")
    warnings.warn(text, StoreWarning, stacklevel=4)


def _read(path: Path, key: str) -> tuple[bool, Any]:
    """(found, value); an entry that is damaged or belongs to another key counts as missing."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except Exception:     # not there, unreadable, truncated or foreign: of several classes
        return False, None
    good = (header.get("format") == FORMAT and header.get("key") == key and header.get("checksum")
            == _sha(digest(tensors).encode() + header.get("value", "").encode()))
    if not good:
        return False, None
    with contextlib.suppress(OSError):         # a store may be read-only
        os.utime(path)                         # so that pruning knows what is used
    return True, _decode(json.loads(header["value"]), tensors)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"$tensor": name}
    if isinstance(value, pd.DataFrame):
        return {"$frame": [[c, str(value[c].dtype), [_encode(v, tensors) for v in value[c]]]
                           for c in _columns(value)]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, tensors) for v in value]}
    if isinstance(value, list):
        return [_encode(v, tensors) for v in value]
    if isinstance(value, dict):
        for k in value:
            if not isinstance(k, str) or k.startswith("$"):
                raise ValueError(f"result: got the dict key {k!r}, want text without a leading $")
        return {k: _encode(v, tensors) for k, v in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"result: got {short(value)}, want tensors, plain values, DataFrames, and "
                     "lists, tuples and dicts of them")


def _columns(frame: pd.DataFrame) -> list[str]:
    columns = list(frame.columns)
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise ValueError("result: got a DataFrame with an index of its own, want a numbered one "
                         "(reset_index() turns the other into a column)")
    if not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise ValueError(f"result: got a DataFrame with columns {short(columns)}, want names, "
                         "all different")
    return columns


def _decode(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(v, tensors) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]]
    if "$frame" in tree:
        return pd.DataFrame({c: pd.Series([_decode(v, tensors) for v in column], dtype=dtype)
                             for c, dtype, column in tree["$frame"]})
    if "$tuple" in tree:
        return tuple(_decode(v, tensors) for v in tree["$tuple"])
    return {k: _decode(v, tensors) for k, v in tree.items()}


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
