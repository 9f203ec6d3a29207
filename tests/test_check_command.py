"""`wlib check`: what is whole passes, and each thing that is wrong is named."""

import json

import pytest
import toybook
import yaml
from toyrun import call, project

from wlib import claims
from wlib.claims import consistency, staleness
from wlib.ground import files


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book with one claim and one recorded run, nothing wrong."""
    project(tmp_path, {"01-toy": []}, laptop={"01-toy": {}})
    path = tmp_path / "notebooks" / "01-toy.ipynb"
    results = toybook.results()
    results["fingerprint"] = staleness.notebook_fingerprint(
        path, {}, installed=results["provenance"]["versions"])
    results["provenance"]["dirty"] = False
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.yml").write_text(yaml.safe_dump([toybook.ROW]))
    (tmp_path / "book" / "index.md").write_text("Claim T1 was measured.\n✔ reproduced is a mark.")
    files.write_atomic(tmp_path / "results" / "laptop" / "01-toy.json", claims.dumps(results))
    files.write_atomic(tmp_path / "_build" / "smoke" / "results" / "01-toy.json",
                        claims.dumps(results | {"profile": "smoke"}))
    files.write_atomic(tmp_path / "results" / "benchmarks.json", json.dumps(
        {"provenance": {}, "tables": [{"title": "t", "command": "c", "rows": [{"a": 1}]}]}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_whole_book_passes_and_its_verdicts_are_counted(book, capsys):
    found = consistency.check(book)
    assert (found.wrong, found.stale, found.notes) == ([], [], [])
    assert call("check") == 0
    shown = capsys.readouterr().out
    assert "does it hold? 1 yes, 0 makes no difference" in shown
    assert "is a simpler way as good? 1 ahead, 0 level" in shown


def test_a_program_reads_the_answers(book, capsys):
    (book / "book" / "claims.yml").write_text(yaml.safe_dump([
        toybook.ROW, toybook.ROW | {"id": "T2", "notebook": "none", "whose": "user"}]))
    edit(lambda r: r.update(fingerprint="old"))(book)
    assert call("check", "--json") == 0
    told = capsys.readouterr()
    assert "stale: " in told.err
    first, second = json.loads(told.out).pop("rows")
    assert first == {"id": "T1", "paper": "mge", "data": None, "holds": "yes", "simpler": "ahead",
                     "whose": "paper", "seeds": 3, "quoted": False, "verdict": "reproduced"}
    assert second == {"id": "T2", "paper": "mge", "data": None, "holds": "not measured",
                      "simpler": "not measured", "whose": "user", "seeds": 0, "quoted": True,
                      "verdict": "not measured"}
    assert (json.loads(told.out)["wrong"], json.loads(told.out)["stale"]) == (0, 1)


def test_a_second_data_set_has_answers_of_its_own_and_judges_nothing_else(book, capsys):
    results = json.loads((book / "results/laptop/01-toy.json").read_text())
    results |= {"profile": "study-fashion", "parameters": {"data": "fashion"}}
    results["measures"]["T1"]["values"] = [0.0, 0.1, 0.2]
    files.write_atomic(book / "results/study-fashion/01-toy.json", json.dumps(results))
    found = consistency.check(book)
    assert found.wrong == []
    for rows, data, answer in ((found.rows, None, "yes"), (found.second, "fashion", "no")):
        assert [(row["id"], row["data"], row["holds"]) for row in rows] == [("T1", data, answer)]
    assert call("check") == 0
    assert "\non the second data set, does it hold? 0 yes" in capsys.readouterr().out
    assert call("check", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == found.rows + found.second


def edit(change, folder="results/laptop"):
    """A fault that changes the results file."""
    def damage(book):
        path = book / folder / "01-toy.json"
        results = json.loads(path.read_text())
        change(results)
        path.write_text(json.dumps(results))
    return damage


def row(**changes):
    """A fault that changes the claims file."""
    def damage(book):
        new = {key: value for key, value in (toybook.ROW | changes).items() if value != "gone"}
        (book / "book" / "claims.yml").write_text(yaml.safe_dump([new]))
    return damage


def add(path, text):
    """A fault that adds a file."""
    return lambda book: files.write_atomic(book / path, text)


@pytest.mark.parametrize("damage, message", [
    (row(margin="gone"), "row 1 (T1): margin: got 'nothing'"),
    (row(controls=[]), "controls: got []"), (row(verdict="reproduced"), "key: got 'verdict'"),
    (row(controls=["noise", "mean"]), "T1: controls: got ['noise'], want all"),
    (row(unit="percent"), "T1: unit: got 'points'"),
    (row(notebook="02-other"), "T1: notebook: got '01-toy', want '02-other'"),
    (edit(lambda r: r.update(schema=2)), "schema: got 2"),
    (edit(lambda r: r.update(seeds=[0, 1])), "values: got [93.0"),
    (edit(lambda r: r.update(seeds=[0, 1, 1])), "seeds: got [0, 1, 1]"),
    (edit(lambda r: r.update(profile="gpu")), "profile: got 'gpu', want 'laptop'"),
    (edit(lambda r: r.update(notebook="02-x")), "notebook: got '02-x', want '01-toy'"),
    (edit(lambda r: r["provenance"].update(dirty=True)), "want a run of committed code"),
    (edit(lambda r: r["provenance"].pop("commit")), "provenance: commit: got None"),
    (edit(lambda r: r.pop("fingerprint")), "fingerprint: got None"),
    (edit(lambda r: r["measures"]["T1"].update(controls=3)), "T1: controls: got 3"),
    (edit(lambda r: r["measures"]["T1"].update(better="up")), "T1: better: got 'up'"),
    (edit(lambda r: r["measures"]["T1"]["controls"].update(noise=[1])), "T1: noise: got [1]"),
    (edit(lambda r: r["measures"]["T1"].update(image_se=-1)), "image_se: got -1"),
    (edit(lambda r: r.update(schema=2), "_build/smoke/results"), "schema: got 2"),
    (add("results/smoke/01-toy.json", "{}"), "results/smoke: want one of"),
    (add("results/laptop/02-x.json", "{"), "02-x.json: not a results file"),
    (add("results/benchmarks.json", "[]"), "not a file of tables"),
    (add("results/x.json", '{"provenance": {}, "tables": [{"title": "t", "command": 1}]}'),
     "not a file of tables"),
    (add("book/index.md", "T1: ✔ reproduced"), "want no verdict typed by hand"),
    (add("book/index.md", "[✘ not reproduced]{.verdict} for T1"), "want no verdict typed"),
    (add("book/index.md", "[✔ yes]{.verdict .holds-yes} for T1"), "want no verdict typed"),
    (add("book/index.md", "T1: ▲ ahead"), "want no verdict typed"),
    (add("book/library/mge.md", "T1: ▲ ahead"), "mge.md: got 'T1: ▲ ahead', want no verdict typed"),
], ids=range(28))
def test_what_is_wrong_is_named_and_the_status_is_1(book, capsys, damage, message):
    damage(book)
    assert call("check") == 1
    shown = capsys.readouterr().out
    assert any(line.startswith("WRONG: ") and message in line for line in shown.splitlines()), shown


def test_every_defect_of_the_claims_file_is_told_at_once(book):
    bad = [toybook.ROW | {"margin": 0}, toybook.ROW, toybook.ROW, toybook.ROW | {"paper": "x"}]
    (book / "book" / "claims.yml").write_text(yaml.safe_dump(bad))
    with pytest.raises(ValueError) as told:
        claims.load(book / "book" / "claims.yml")
    lines = str(told.value).splitlines()
    assert len(lines) == 3 and all(f"row {n}" in line for n, line in zip(
        (1, 3, 4), lines, strict=True))


def test_stale_runs_and_open_claims_are_named_but_not_wrong(book, capsys):
    rows = [toybook.ROW, toybook.ROW | {"id": "T2"},
            toybook.ROW | {"id": "T3", "notebook": "02-later"}]
    (book / "book" / "claims.yml").write_text(yaml.safe_dump(rows))
    edit(lambda r: r.update(fingerprint="old"))(book)
    assert call("check") == 0 and call("check", "--strict") == 1
    shown = capsys.readouterr().out
    assert "stale: " in shown and "results/laptop/01-toy.json: the notebook or the libr" in shown
    assert "note: 01-toy: T2: no recorded run" in shown
    assert "note: 02-later: T3: the notebook is still to come" in shown
    assert "0 wrong, 1 stale" in shown and shown.count(", 2 not measured") == 4  # twice


def test_the_best_recorded_run_is_judged(book):
    results = json.loads((book / "results/laptop/01-toy.json").read_text()) | {"profile": "gpu"}
    results["measures"]["T1"]["values"] = [0.0, 0.1, 0.2]
    files.write_atomic(book / "results" / "gpu" / "01-toy.json", claims.dumps(results))
    (row,) = consistency.check(book).rows
    assert (row["holds"], row["simpler"], row["seeds"]) == ("no", "behind", 3)


def test_the_book_itself_has_nothing_wrong():
    assert consistency.check(toybook.REPOSITORY).wrong == []
