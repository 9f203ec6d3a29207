"""What `wlib store` lists and deletes."""

import os
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock
from toyrun import call

from wlib import seeds
from wlib.ground import entries, fingerprint, versions
from wlib.store import cache as store


def twice(x, tensor=None):
    return {"twice": 2 * x, "tensor": torch.zeros(100 * x)}


def thrice(x):
    return 3 * x


@pytest.fixture(autouse=True)
def filled(tmp_path, monkeypatch):
    """A store with three entries, the first the longest unused."""
    monkeypatch.setenv("WLIB_STORE", str(tmp_path))
    monkeypatch.setenv("WLIB_NOTEBOOK", "01-toy")
    monkeypatch.setattr(versions, "current", lambda: {"torch": "1"})
    for function, *arguments in ((twice, 1, torch.ones(2)), (thrice, 2), (twice, 3)):
        store.cached(function, *arguments)
    for entry in entries.entries():
        days = {1: 30, 2: 20, 3: 10}[x_of(entry)]
        os.utime(entry.path, (time.time() - days * 86400,) * 2)
    return tmp_path


def x_of(entry):
    return entry.made["recipe"]["arguments"]["x"]


def test_entries_say_what_made_them(capsys):
    first, second, third = entries.entries()
    assert [round(e.days) for e in (first, second, third)] == [10, 20, 30]
    assert first.words() == "test_entries.twice(x=3, tensor=None) in 01-toy"
    assert "tensor=tensor " in third.words() and second.function == "test_entries.thrice"
    assert first.made["seconds"] >= 0 and first.made["date"] and first.size > 1200
    assert call("store", "list", "--function", "test_entries.thrice") == 0
    shown = capsys.readouterr().out
    assert "used 20 days ago" in shown and "thrice(x=2) in 01-toy" in shown
    assert "1 entry" in shown and "twice" not in shown
    assert call("store") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].strip().startswith("3 entries, ") and str(entries.root()) in shown[-1]
    assert shown[1].split() == ["2", "entries,", *entries.size_words(first.size + third.size)
                                .split(), "test_entries.twice"]


def test_a_read_counts_as_use():
    store.cached(twice, 1, torch.ones(2))
    assert x_of(entries.entries()[0]) == 1


@pytest.mark.parametrize("arguments, left", [
    (["--older-than", "25"], [3, 2]), (["--older-than", "15"], [3]), (["--keep", "3KB"], [3, 2]),
    (["--keep", "0B"], []), (["--keep", "1TB"], [3, 2, 1]),
    (["--function", "test_entries.thrice"], [3, 1]), (["--unreachable"], [3, 2, 1]),
    (["--function", "test_entries.twice", "--older-than", "25"], [3, 2])])
def test_pruning_deletes_what_meets_every_condition(filled, arguments, left, capsys):
    def kept():
        return [x_of(entry) for entry in entries.entries()]

    assert call("store", "prune", *arguments, "--dry-run") == 0 and kept() == [3, 2, 1]
    assert f"would delete {3 - len(left)} " in capsys.readouterr().out
    assert call("store", "prune", *arguments) == 0 and kept() == left
    assert f"deleted {3 - len(left)} " in capsys.readouterr().out
    assert len(list(filled.rglob("*.lock"))) == len(left)


@pytest.mark.parametrize("arguments, message", [
    ([], "no condition"), (["--keep", "2"], "size: got '2'"),
    (["--older-than", "-1"], "older-than: got -1")])
def test_pruning_refuses_what_it_cannot_understand(arguments, message, capsys):
    assert call("store", "prune", *arguments) == 2
    assert message in capsys.readouterr().err and len(entries.entries()) == 3


def test_unreachable_are_other_code_other_versions_and_damage(monkeypatch):
    def unreachable():
        return [e.function for e in entries.entries() if not e.reachable()]

    store.cached(seeds.base, 7)
    assert unreachable() == [], "a function of a notebook may be asked for again"
    with monkeypatch.context() as patch:
        patch.setattr(fingerprint, "module_fingerprint", lambda *modules: "other code")
        assert unreachable() == ["seeds.base"]
    with monkeypatch.context() as patch:
        patch.setattr(versions, "current", lambda: {"torch": "2"})
        assert len(unreachable()) == 4
    entry = entries.entries("test_entries.thrice")[0]
    entry.path.write_bytes(entry.path.read_bytes()[:50])
    assert unreachable() == ["test_entries.thrice"]
    assert "damaged" in entries.entries("test_entries.thrice")[0].words()


def test_what_is_being_made_stays(filled):
    entry = entries.entries()[0]
    part = entry.path.with_name(f".{entry.path.stem}.77.part")
    part.write_bytes(b"half")
    with FileLock(entry.path.with_suffix(".lock")):
        assert entries.delete([entry]) == [] and entry.path.exists() and part.exists()
    assert entries.delete([]) == [] and not part.exists() and entry.path.exists()


def test_a_clock_set_back_makes_nothing_old(filled):
    entry = entries.entries()[0]
    os.utime(entry.path, (time.time() + 1e6,) * 2)
    assert entries.entries()[0].days == 0


def test_the_store_is_listed_without_torch(filled):
    code = "import sys, wlib.book.cli as c; c.entries.entries(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


@pytest.mark.parametrize("size, text", [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"),
                                        (2e9, "2.0 GB"), (5e15, "5000.0 TB")])
def test_sizes_read_well(size, text):
    assert entries.size_words(size) == text and entries.read_size(text) == size
