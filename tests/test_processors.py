"""What another processor changes is measured rightly; the weekly job imitates one in earnest."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import REPOSITORY

from wlib import claims

sys.path.append(str(REPOSITORY / "benchmarks"))

import processors


def results(*shifts):
    """Measures of three seeds, the method's and its rivals' moved by so much."""
    a, b, c = shifts
    measure = {"values": [90.0 + a, 92, 94], "image_se": 0.0, "unit": "points",
               "controls": {"noise": {"values": [80.0, 81, 82 - b]}},
               "references": {"chance": {"values": [10.0, 10 + c, 10]}}}
    alone = {"values": [0.5], "image_se": 0.0, "unit": "nats", "controls": {}, "references": {}}
    return {"measures": {"M1": measure, "loss": alone}}


def test_differences_by_hand():
    first, second = processors.compared("99-x", results(0, 0, 0), results(3, 1.5, -0.3), {"M1": 2})
    half = 4.302653 * 2 / math.sqrt(3)        # Student's t for three seeds with deviation 2
    assert first == {
        "notebook": "99", "measure": "M1", "unit": "points", "values": 9, "not the same": 3,
        "largest difference": 3.0, "of a mean": pytest.approx(1.0),
        "÷ half an interval": pytest.approx(1 / half), "÷ margin": pytest.approx(0.5)}
    assert (second["values"], second["not the same"], second["of a mean"]) == (1, 0, 0)
    assert second["÷ margin"] == "–", "no claim by this name"


def test_trainings_that_come_apart_by_hand():
    one = torch.tensor([[3.0, 4], [0, 2], [1, 0], [5, 12]]).double()
    found = processors.growth(one, one + torch.tensor([[0.0, 0], [0, 2], [0, 0], [1.3, 0]]))
    assert [row["epochs"] for row in found] == list(processors.EPOCHS)
    assert [row["weights that differ"] for row in found] == ["0%", "50%", "0%", "50%"]
    assert [row["relative distance"] for row in found] == ["0e+00", "1e+00", "0e+00", "1e-01"]


def test_rivals_are_compared_by_name_and_none_may_be_missing():
    one, other = results(0, 0, 0), results(0, 0, 0)
    rivals = one["measures"]["M1"]["controls"]
    rivals["aged"] = {"values": [1.0, 2, 3]}
    other["measures"]["M1"]["controls"] = {"aged": rivals["aged"], "noise": rivals["noise"]}
    assert processors.compared("99-x", one, other, {})[0]["not the same"] == 0
    del other["measures"]["M1"]["controls"]["aged"]
    with pytest.raises(ValueError, match="M1: .*aged"):
        processors.compared("99-x", one, other, {})


def test_the_weekly_job_and_the_measurement_imitate_the_same_processor():
    flow = yaml.safe_load((REPOSITORY / ".github/workflows/processors.yml").read_text())
    job = flow["jobs"]["test"]
    kinds = [{name: entry[value.split(".")[1].rstrip(" }")] for name, value in job["env"].items()
              if "matrix" in value} for entry in job["strategy"]["matrix"]["include"]]
    assert kinds[0] == processors.OLD and len(kinds) == 2
    line = " ".join(f"{name}={value}" for name, value in processors.OLD.items())
    assert line in (REPOSITORY / "CONTRIBUTING.md").read_text()


def test_an_old_processor_is_imitated_in_earnest_and_a_run_says_so():
    code = "import torch; from wlib import claims; print(claims.machine()['machine'])"
    said = subprocess.run([sys.executable, "-c", code], env=os.environ | processors.OLD, text=True,
                          capture_output=True, check=True).stdout
    assert said.strip().endswith(", DEFAULT")
    here = claims.machine()["machine"]
    assert here.startswith(f"{os.cpu_count()} cores, ")


def test_what_another_processor_changes_is_small_beside_the_intervals():
    """The page says that another processor is one more draw from what the intervals allow for."""
    recorded = json.loads((REPOSITORY / "results" / "processors.json").read_text(encoding="utf-8"))
    apart, rows = (table["rows"] for table in recorded["tables"])
    distances = [float(row["relative distance"]) for row in apart]
    assert distances[0] < 1e-6 and sorted(distances) == distances, "training enlarges it"
    assert {row["notebook"] for row in rows} == {name.split("-")[0] for name in processors.RUNS}
    assert any(row["not the same"] for row in rows), "the two were the same processor"
    assert all(row["÷ half an interval"] < 1 for row in rows if row["÷ half an interval"] != "–")
