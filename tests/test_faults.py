"""Every fault of the suite keeps its promise, and the suite would notice if one did not."""

import importlib.util
import json

import faults
import faults_files
import faults_runner
import faults_store
import pytest
from conftest import REPOSITORY

from wlib.book import parameters, planning
from wlib.claims import consistency, results, rows
from wlib.store import cache as store

SPEC = importlib.util.spec_from_file_location(
    "promises", REPOSITORY / "benchmarks" / "promises.py")
promises = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(promises)
QUICK = [fault for fault in faults.FAULTS if not fault.slow]
SLOW = [fault for fault in faults.FAULTS if fault.slow]


def tried(one, folder):
    try:
        one.attempt(folder)
    except faults.NotHere as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_a_fault_gives_a_clear_error_or_the_right_result(one, tmp_path):
    tried(one, tmp_path)


@pytest.mark.book
@pytest.mark.parametrize("one", SLOW, ids=lambda one: one.name)
def test_a_slow_fault_gives_a_clear_error_or_the_right_result(one, tmp_path):
    tried(one, tmp_path)


# ---------------------------------------------------------------- the checks can fail
def believe(path, key):
    """Reads an entry without looking at key or checksum."""
    try:
        with store.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return True, store._decode(json.loads(file.metadata()["value"]), tensors)
    except Exception:
        return False, None


def lax_row(entry, where):
    """A row whose margin nobody has looked at."""
    return claims_row(entry | {"margin": 1.0}, where)


claims_row = rows._row


def in_place(path, text):
    """Writes where the reader reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


SABOTAGE = [
    ("no checksum", store, "_read", believe, faults_store.bit),
    ("no key", store, "_read", believe, faults_store.misplaced),
    ("no types", parameters, "conform", lambda value, *_: value, faults_files.parameters),
    ("no margin", rows, "_row", lax_row, faults_files.claims_file),
    ("no schema", results, "_check_entry", lambda *_: None, faults_files.results_file),
    ("no literals", parameters, "assignments", lambda *_: {"seed": 0}, faults_runner.wrong_cells),
]


@pytest.mark.parametrize("what, module, name, instead, fault", SABOTAGE,
                         ids=[line[0] for line in SABOTAGE])
def test_without_a_check_its_fault_breaks_its_promise(what, module, name, instead, fault, tmp_path,
                                                      monkeypatch):
    monkeypatch.setattr(module, name, instead)
    with pytest.raises((AssertionError, KeyError, TypeError, AttributeError)):
        fault(tmp_path)


def test_a_half_written_outcome_would_be_noticed(tmp_path):
    root = faults_runner.project(tmp_path, {"01-toy": faults_runner.COUNTING})
    unbroken = {"outputs": [[1]], "measures": {"x": 1}}
    faults_runner._nothing_half_written(root, unbroken)
    executed = planning.Folder(root, "smoke").executed("01-toy")
    in_place(executed, json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}))
    with pytest.raises(AssertionError, match="half-written: outputs"):
        faults_runner._nothing_half_written(root, unbroken)


def test_a_broken_promise_is_in_the_table(tmp_path, monkeypatch, capsys):
    def breaks(folder):
        faults.promised(False, "as a test")

    def misses(folder):
        raise faults.NotHere("no such machine")

    monkeypatch.setattr(faults, "FAULTS", [
        faults.Fault("run", "one", "p", lambda folder: "fine"),
        faults.Fault("run", "two", "p", breaks), faults.Fault("run", "three", "p", misses)])
    path = tmp_path / "faults.json"
    monkeypatch.setattr("sys.argv", ["promises.py", str(path)])
    assert promises.main() == 1
    table, = consistency.load_tables(path)["tables"]
    assert [row["kept"] for row in table["rows"]] == ["yes", "NO", "–"]
    assert table["rows"][1]["what happened"] == "AssertionError: as a test"
    assert "3 faults, 1 promises broken" in capsys.readouterr().out


def test_a_refusal_must_name_what_is_wrong():
    with pytest.raises(AssertionError, match="not refused"):
        faults.refused(lambda: 3)
    with pytest.raises(AssertionError, match="is not named"):
        faults.refused(int, "x", names="seeds")
    assert "invalid literal" in faults.refused(int, "x", names="x")
