"""`wlib warm`: seeds spread over processes and over a Dask cluster; the ordinary run only reads."""

import json
import signal
import subprocess
import sys

import pytest
from toyrun import call, project, until, wlib

from wlib.book import runner, warming
from wlib.ground import entries

CELLS = ["""import time
from wlib import store
from wlib.ground import entries

def make(seed, rate):
    beside = entries.root().parent  # a kernel sees no variable of the tests' own
    with open(beside / "log", "a") as log:
        log.write(f"{seed}\\n")
    time.sleep(float((beside / "sleep").read_text()))
    return seed ** 2 + rate

values = [store.cached(make, seed, rate) for seed in seeds]""", """from wlib import claims
report = claims.Report("01-toy", seeds=seeds)
report.measure("x", values, unit="points")
report.save()"""]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    root = project(tmp_path / "book", {"01-toy": CELLS},
                   smoke={"01-toy": {"seeds": [0, 1, 2, 3]}})
    (tmp_path / "sleep").write_text("0")
    monkeypatch.setenv("WLIB_STORE", str(tmp_path / "store"))
    return root


def made():
    """The seeds whose maker was called."""
    try:
        with open(entries.root().parent / "log") as log:
            return sorted(map(int, log.read().split()))
    except FileNotFoundError:
        return []


def measured(root):
    return json.loads((root / "_build/smoke/results/01-toy.json").read_text())["measures"]


def serial(root, monkeypatch, tmp_path):
    """The measures of a serial run from a cold store of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("WLIB_STORE", str(tmp_path / "another store"))
        (tmp_path / "sleep").write_text("0")
        assert wlib(root, "run", "--profile", "smoke", "--force").returncode == 0
    return measured(root)


@pytest.mark.parametrize("text", ["3", "3:3", "4:2", "-1:2", "a:b", "1:2:3", "1: 2", ""])
def test_wrong_seeds_are_refused(toy, text, monkeypatch, capsys):
    monkeypatch.chdir(toy)
    assert call("warm", "01", "--profile", "smoke", "--seeds", text) == 2
    assert "seeds: got" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, message", [
    (["-p", "seeds", "1"], "--seeds sets this one"), (["-p", "rat", "1"], "mean 'rate'"),
    (["--jobs", "0"], "jobs: got 0"), (["--jobs", "1", "--dask", "x"], "want one of them"),
    (["--dask", "nonsense://x"], "nonsense")])
def test_wrong_requests_are_refused(toy, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(toy)
    assert call("warm", "01", "--profile", "smoke", "--seeds", "0:2", *arguments) == 2
    assert message in capsys.readouterr().err and made() == []


@pytest.mark.book
def test_warmed_on_local_processes_the_run_only_reads(toy, monkeypatch, tmp_path):
    done = wlib(toy, "warm", "01", "--profile", "smoke", "--seeds", "0:4", "--jobs", "2")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "profile smoke: 4 done"
    assert "01-toy seed 3  done" in done.stdout
    assert made() == [0, 1, 2, 3] and not (toy / "_build").exists()
    assert wlib(toy, "run", "--profile", "smoke").returncode == 0
    assert made() == [0, 1, 2, 3], "no maker was called again"
    assert measured(toy) == serial(toy, monkeypatch, tmp_path)
    assert made() == [0, 0, 1, 1, 2, 2, 3, 3], "a cold store does call them"


@pytest.mark.book
def test_a_seed_that_fails_is_told_and_the_others_run(toy, tmp_path):
    (tmp_path / "sleep").write_text("600")
    done = wlib(toy, "warm", "01", "--profile", "smoke", "--seeds", "0:2", "--cell-timeout", "1")
    assert done.returncode == 1 and "profile smoke: 2 failed" in done.stdout
    assert "01-toy seed 1: code cell 3: time-out" in done.stderr
    assert "run it again: wlib run 01-toy --profile smoke -p seeds 1" in done.stderr


# ---------------------------------------------------------------- a Dask cluster
@pytest.fixture
def cluster(toy, tmp_path):
    """A scheduler and two workers on loopback: (address, worker processes)."""
    pytest.importorskip("distributed")
    (tmp_path / "sleep").write_text("3")
    processes, file = [], tmp_path / "scheduler.json"

    def start(*arguments):
        processes.append(subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path))
        return processes[-1]

    try:
        start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
              "--scheduler-file", str(file))
        until(lambda: file.exists() and file.read_text().endswith("}"))
        workers = [start("dask_worker", "--scheduler-file", str(file), "--nthreads", "1",
                         "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
                         "--local-directory", str(tmp_path)) for _ in range(2)]
        yield json.loads(file.read_text())["address"], workers
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


@pytest.mark.book
def test_a_cluster_that_loses_a_worker_fills_the_store(toy, cluster, monkeypatch, tmp_path):
    address, workers = cluster
    warm = subprocess.Popen([sys.executable, "-m", "wlib", "warm", "01", "--profile", "smoke",
                             "--seeds", "0:4", "--dask", address], cwd=toy, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: len(made()) >= 2)           # both work
    workers[0].send_signal(signal.SIGKILL)
    printed, errors = warm.communicate(timeout=200)
    assert warm.returncode == 0, printed + errors
    assert "profile smoke: 4 done" in printed and set(made()) == {0, 1, 2, 3}
    before = made()
    assert wlib(toy, "run", "--profile", "smoke").returncode == 0
    assert made() == before, "no maker was called again"
    assert measured(toy) == serial(toy, monkeypatch, tmp_path)
    assert list(entries.root().glob(".shared-*")) == []


def test_a_worker_that_would_fill_another_store_refuses(toy, tmp_path):
    one, = warming.plan("01", "smoke", [0], root=toy)
    text = one.notebook.read_text()
    mark = tmp_path / "mark"
    outcome = warming.run_task(one, text, (9.0, 9.0), str(mark))
    assert outcome.status == "failed" and "does not share the store's folder" in outcome.message
    mark.touch()
    outcome = warming.run_task(one, text.replace("** 2", "** 3"), (9.0, 9.0), str(mark))
    assert outcome.status == "failed" and "would have other keys" in outcome.message
    assert made() == []


def test_a_cluster_needs_its_extra(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="extra 'cluster'"):
        warming.run_on_cluster(warming.plan("01", "smoke", [0], root=toy), (9.0, 9.0), "x")


def test_plans_are_told_apart_by_their_seed(toy):
    plans = warming.plan("01", "smoke", range(2, 4), [("rate", "2")], toy)
    assert [plan.title for plan in plans] == ["01-toy seed 2", "01-toy seed 3"]
    assert [plan.values["seeds"] for plan in plans] == [[2], [3]]
    assert runner.limits_of("smoke", None, None) == (300.0, 600.0)
