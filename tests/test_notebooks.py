"""Every notebook of the book: stored clean, complete in its profiles, and running to its end."""

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY

from wlib import claims
from wlib.book import parameters, planning, recording

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PROFILES = ("smoke", "laptop", "study", "gpu")
PARTS = {"study-fashion": ("1", "2")}     # what a profile for some of the parts has
NAMES = [path.stem for path in NOTEBOOKS]
FOLDS = ("hide-", "remove-")
WIDE = 88       # characters: more would scroll sideways in a window of 1,280 pixels


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_the_parameters_that_all_have(path):
    known = parameters.defaults(path)
    assert {"data", "seed", "seeds", "device"} <= set(known)


@pytest.mark.parametrize("profile", [*PROFILES, *PARTS])
def test_every_profile_has_a_fitting_block_for_every_notebook(profile):
    names = [name for name in NAMES if name.startswith(PARTS.get(profile, ("",)))]
    assert [plan.name for plan in planning.plan(names, profile, root=REPOSITORY)] == names


def test_every_profile_is_one_of_these():
    assert {path.stem for path in (REPOSITORY / "profiles").glob("*.yml")} == {*PROFILES, *PARTS}


def test_every_claim_of_a_notebook_that_exists_is_reported_by_it():
    sources = {path.stem: path.read_text(encoding="utf-8") for path in NOTEBOOKS}
    for row in claims.load(REPOSITORY / "book" / "claims.yml"):
        if row.notebook in sources:
            assert row.id in sources[row.notebook], f"{row.notebook} never measures {row.id}"


def broken(cells):
    """Which limits a notebook's code cells do not keep: a reader sees the code, whole and at once.

    Less than 35% of the lines are folded, and never two cells in a row; a fold says what is inside.
    """
    lines = {True: 0, False: 0}
    found, before = set(), False
    for cell in cells:
        meta, source = cell["metadata"], "".join(cell["source"]).splitlines()
        folded = cell["cell_type"] == "code" and any(
            tag.startswith(FOLDS) for tag in meta.get("tags", []))
        if cell["cell_type"] == "code":
            lines[folded] += sum(bool(line.strip()) for line in source)
            found |= {"long"} if len(source) > 25 else set()
            found |= {"wide"} if any(len(line) > WIDE for line in source) else set()
        if folded:
            found |= {"row"} if before else set()
            label = meta.get("mystnb", {}).get("code_prompt_show", "")
            found |= {"label"} if not label.startswith("Show ") else set()
        before = folded
    return found | ({"share"} if lines[True] >= 0.35 * sum(lines.values()) else set())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_hides_little_and_fits_the_page(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert broken(cells) == set()


def code(*lines, fold=False, label=None):
    meta = {"tags": ["hide-input"]} if fold else {}
    return {"cell_type": "code", "source": "\n".join(lines),
            "metadata": meta | ({"mystnb": {"code_prompt_show": label}} if label else {})}


WORDS = {"cell_type": "markdown", "source": "w" * 200, "metadata": {}}
PLAIN, FOLD = code(*["a = 1"] * 20), code("b", fold=True, label="Show the table's code")


@pytest.mark.parametrize("cells, wrong", [
    ([PLAIN, FOLD, WORDS, FOLD, PLAIN], set()),
    ([PLAIN, FOLD, FOLD], {"row"}),
    ([PLAIN, code("b", fold=True)], {"label"}),
    ([PLAIN, code(*["b"] * 11, fold=True, label="Show b")], {"share"}),
    ([PLAIN, code(*["b"] * 10, fold=True, label="Show b")], set()),
    ([code(*["a"] * 25)], set()), ([code(*["a"] * 26)], {"long"}),
    ([code("a" * 88)], set()), ([PLAIN, code("a" * 89)], {"wide"})])
def test_limits_tell_what_is_over_them(cells, wrong):
    assert broken(cells) == wrong


@pytest.mark.book
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_prints_no_line_that_scrolls(smoke_run, name):
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    executed = planning.Folder(Path(REPOSITORY), "smoke").executed(name)
    wide = [line for line in printed(json.loads(executed.read_text(encoding="utf-8"))["cells"])
            if len(line) > WIDE]
    assert wide == []


def printed(cells):
    """Lines that a reader sees as plain text: what is printed, and values that have no better form.
    """
    for cell in cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            plain = data.get("text/plain", "") if {*data} <= {"text/plain"} else ""
            yield from "".join(output.get("text", plain)).splitlines()


def test_printed_lines_are_those_of_streams_and_bare_values():
    cells = [WORDS, code("a") | {"outputs": [
        {"output_type": "stream", "text": ["a\n", "b\n"]},
        {"output_type": "execute_result", "data": {"text/plain": ["c\n", "d"]}},
        {"output_type": "execute_result", "data": {"text/plain": "e", "text/html": "<p>"}}]}]
    assert [*printed(cells)] == ["a", "b", "c", "d"]


@pytest.mark.book
def test_every_notebook_runs_at_profile_smoke(smoke_run):
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    assert recording.problems("smoke", root=REPOSITORY) == {}


@pytest.mark.book
def test_every_measure_that_a_claim_names_is_in_the_results(smoke_run):
    for row in claims.load(REPOSITORY / "book" / "claims.yml"):
        if row.notebook in NAMES:
            results = claims.built(row.notebook, "smoke", REPOSITORY)
            assert claims.judge(row, results["measures"][row.id]).words == "undecided"  # one seed


@pytest.mark.book
def test_a_smoke_run_stays_within_its_time(smoke_run):
    for name, entry in planning.Folder(Path(REPOSITORY), "smoke").runs().items():
        assert entry["seconds"] < 90, f"{name} took {entry['seconds']} s"
