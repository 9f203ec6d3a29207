"""Every notebook of the book: stored clean, complete in its profiles, and running to its end."""

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY

from wlib import claims
from wlib.book import parameters, planning, recording

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PROFILES = ("smoke", "laptop", "study", "gpu")
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_stored_without_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_the_parameters_that_all_have(path):
    known = parameters.defaults(path)
    assert {"data", "seed", "seeds", "device"} <= set(known)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_fitting_block_for_every_notebook(profile):
    assert [one.name for one in planning.plan([], profile, root=REPOSITORY)] == NAMES


def test_every_claim_of_a_notebook_that_exists_is_reported_by_it():
    sources = {path.stem: path.read_text(encoding="utf-8") for path in NOTEBOOKS}
    for row in claims.load(REPOSITORY / "book" / "claims.yml"):
        if row.notebook in sources:
            assert row.id in sources[row.notebook], f"{row.notebook} never measures {row.id}"


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
