"""The GPU kit: what counts as agreement, what its script refuses and leaves, and its recording."""

import json
import os
import subprocess
import sys
import tarfile

import pytest
import torch
import toybook
from conftest import REPOSITORY
from toyrun import git, good, project

from wlib import claims
from wlib.book import planning, recording
from wlib.claims import consistency, staleness
from wlib.ground import versions

sys.path.append(str(REPOSITORY / "benchmarks"))
import gpu

SCRIPT = REPOSITORY / "benchmarks" / "gpu.sh"


# ---------------------------------------------------------------- agreement
def test_differences_are_shares_and_the_worst_is_named():
    a = {"x": torch.tensor([3.0, 4.0]), "mask": torch.tensor([True, True, False, False])}
    b = {"x": torch.tensor([3.0, 4.5]), "mask": torch.tensor([True, False, False, False])}
    gap, name = gpu.apart(a, b)
    assert name == "mask" and gap == 0.25          # 0.5 / |(3, 4.5)| is less
    assert gpu.apart({"x": a["x"]}, {"x": b["x"]})[0] == pytest.approx(0.5 / 29.25**0.5)
    nan = {"y": torch.tensor([9.0]), "x": torch.tensor([float("nan"), 4.0])}
    gap, name = gpu.apart(nan, {"y": torch.tensor([1.0]), "x": a["x"]})
    assert name == "x" and not gap <= 1e9
    assert gpu.apart({"x": a["x"][:1]}, {"x": a["x"]})[0] == float("inf")


@pytest.mark.parametrize("name", ["training, vmap", "D2NWG: zoo, vmap", "MDA: parts joined",
                                  "FREE: replay, prototype, vmap"])
def test_a_wrong_number_breaks_the_agreement(name, monkeypatch):
    one = gpu.AGREEMENT[name]
    right, rival = one.make("cpu"), one.rival("cpu")
    assert gpu.apart(right, rival)[0] <= one.within
    wrong = {key: value * 1.02 for key, value in right.items()}
    assert not gpu.apart(wrong, rival)[0] <= one.within


def test_a_case_that_fails_is_a_row_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    def fails(device):
        raise RuntimeError("no kernel image")

    fine = gpu.case(lambda device: {"x": torch.ones(2)}, 1e-6)
    monkeypatch.setattr(gpu, "AGREEMENT", {"bad": gpu.case(fails, 1e-6), "good": fine})
    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    assert gpu.main(["agreement", str(tmp_path)]) == 1
    table = consistency.load_tables(tmp_path / "gpu-agreement.json")
    rows = table["tables"][0]["rows"]
    assert [row["agree"] for row in rows] == ["NO", "yes"]
    assert "no kernel image" in rows[0]["largest difference"]
    assert table["provenance"]["script"] == "benchmarks/gpu.py"


# ---------------------------------------------------------------- the script
STUB = """#!/bin/sh
case "$*" in
  -) cat > /dev/null;;
  *agreement*) mkdir -p "$3"; echo '{"a": 1}' > "$3/gpu-agreement.json"; exit 1;;
  *times*) sleep 60;;
  *"-m wlib "*) echo "$@" > "$LOG";;
esac
"""


def run(*arguments, **variables):
    return subprocess.run(["bash", str(SCRIPT), *arguments], capture_output=True, text=True,
                          env=os.environ | variables, timeout=120)


def test_bad_arguments_are_refused_before_work_starts(tmp_path):
    for arguments, words in (((), "benchmarks/gpu.sh OUT"), (("a", "b"), "gpu.sh OUT"),
                             (("--fast", str(tmp_path)), "gpu.sh OUT"),
                             ((str(tmp_path / "o"), "--wheels", "/not/there"), "no such folder")):
        done = run(*arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "o" / "log.txt").exists()


def test_a_step_that_fails_or_hangs_costs_only_itself(tmp_path):
    stub, log = tmp_path / "python", tmp_path / "log"
    stub.write_text(STUB)
    stub.chmod(0o755)
    done = run(str(tmp_path / "out"), "--quick", PYTHON=str(stub), LOG=str(log), BUDGET="50",
               LIMIT="4", WLIB_DEVICE="cpu")
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "methods agree: ended with 1" in summary and "times: ended with 124" in summary
    assert "notebooks 11 21 42 43 31 32: done" in summary
    assert "run 11 21 42 43 31 32 --profile smoke" in log.read_text()
    with tarfile.open(tmp_path / "out" / "gpu-results.tar.gz") as packed:
        assert "gpu-results/gpu-agreement.json" in packed.getnames()


# ---------------------------------------------------------------- recording
@pytest.fixture
def brought(tmp_path):
    """A toy project, and what a machine without git made of it."""
    root = project(tmp_path / "book", {"01-one": good("01-one")}, gpu={"01-one": {}})
    (root / "wlib").mkdir()
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    plan = planning.plan([], "gpu", root=root)[0]
    installed = versions.current() | {"torch": "another"}
    results = {"schema": claims.SCHEMA, "notebook": "01-one", "profile": "gpu", "run": "r1",
               "seeds": [0, 1, 2], "settings": {},
               "measures": toybook.results()["measures"],
               "parameters": json.loads(json.dumps(plan.values)),
               "provenance": {"commit": None, "dirty": None, "versions": installed}}
    results["fingerprint"] = staleness.notebook_fingerprint(plan.notebook, plan.values,
                                                            installed=installed)
    folder = tmp_path / "gpu-results"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "01-one.json").write_text(json.dumps(results))
    return root, folder, results


def test_results_of_a_machine_without_git_are_of_the_commit_that_their_code_is(brought):
    root, folder, results = brought
    assert [p.name for p in recording.record("gpu", root=root, brought=folder)] == ["01-one.json"]
    made = claims.load_results(root / "results" / "gpu" / "01-one.json")["provenance"]
    assert made["commit"] == git(root, "rev-parse", "HEAD") and made["dirty"] is False
    assert made["versions"]["torch"] == "another"


def test_results_of_other_code_or_another_profile_are_refused(brought):
    root, folder, results = brought
    for change in ({"fingerprint": "0" * 64}, {"profile": "study"}):
        (folder / "results" / "01-one.json").write_text(json.dumps(results | change))
        with pytest.raises(ValueError, match="01-one is not of this code at profile gpu"):
            recording.record("gpu", root=root, brought=folder)
    with pytest.raises(ValueError, match="--from: got .*, want the folder gpu-results"):
        recording.record("gpu", root=root, brought=root)
    assert not (root / "results").exists()


def test_tables_are_taken_where_their_script_is_the_same(brought):
    root, folder, _ = brought
    script = root / "benchmarks" / "gpu.py"
    script.parent.mkdir()
    script.write_text("from wlib import check\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "a script")
    table = {"tables": [{"title": "t", "command": "c", "rows": [{"a": 1}]}],
             "provenance": {"commit": None, "dirty": None, "script": "benchmarks/gpu.py",
                            "fingerprint": staleness.script_fingerprint(script)}}
    (folder / "gpu-times.json").write_text(json.dumps(table))
    recording.record("gpu", root=root, brought=folder)
    made = consistency.load_tables(root / "results" / "gpu-times.json")["provenance"]
    assert made["commit"] == git(root, "rev-parse", "HEAD")
    script.write_text("from wlib import check, seeds\n")
    git(root, "commit", "-qam", "another")
    with pytest.raises(ValueError, match="gpu-times is not of this code"):
        recording.record("gpu", root=root, brought=folder)
