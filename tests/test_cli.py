"""The command `wlib`: exit codes, messages, and that each command reaches what it names."""

import subprocess
import sys

import pytest
from toyrun import call, good, project

from wlib.book import cli, job, recording, runner
from wlib.ground import files


@pytest.fixture
def toy(tmp_path, monkeypatch):
    root = project(tmp_path, {"01-one": good("01-one")}, smoke={"01-one": {}},
                   laptop={"01-one": {}})
    monkeypatch.chdir(root / "notebooks")  # any folder of the book will do
    return root


@pytest.fixture
def ran(monkeypatch):
    """Instead of running notebooks: what would have run, and outcomes as told."""
    class Ran(list):
        status = "done"

    seen = Ran()

    def run(plans, **options):
        seen.extend((plan.name, plan.profile, plan.injected, options) for plan in plans)
        return [job.Outcome(plan.name, seen.status, 1.0, "" if seen.status != "failed" else
                               "cell 1: boom") for plan in plans]

    monkeypatch.setattr(runner, "run", run)
    return seen


@pytest.mark.parametrize("status, code", [("done", 0), ("unchanged", 0), ("failed", 1)])
def test_the_exit_code_and_the_summary_tell_the_truth(toy, ran, capsys, status, code):
    ran.status = status
    assert call("run", "01", "--profile", "smoke", "--jobs", "3", "--force") == code
    assert f"profile smoke: 1 {status}" in capsys.readouterr().out
    name, profile, injected, options = ran[0]
    assert (name, profile, injected) == ("01-one", "smoke", {})
    assert options["jobs"] == 3 and options["force"] is True


def test_parameters_are_pairs(toy, ran):
    assert call("run", "-p", "rate", "-1.5", "-p", "data", "a=b", "--profile", "smoke",
                "-p", "seeds=1,2") == 0
    assert ran[0][2] == {"rate": -1.5, "data": "a=b", "seeds": [1, 2]}


@pytest.mark.parametrize("arguments, message", [
    (["run", "--profile", "smoek"], "profile: got 'smoek'.*"),
    (["run", "02-two"], "notebook: got '02-two'"), (["run", "-p", "rate"], "-p: got 'rate'"),
    (["run", "-p", "rate", "x"], "01-one: rate: got 'x'"),
    (["run", "-p", "sede", "1"], "did you mean 'seed'"),
    (["build"], "01-one: has not run"), (["build", "--profile", "x"], "profile: got 'x'"),
    (["record", "--profile", "smoke"], "profile: got 'smoke'"),
    (["record"], "working tree: got 'no commit'"), (["bench"], "run.py: not there"),
    (["clean", "--profile", "x"], "profile: got 'x'"),
])
def test_bad_input_is_one_clear_line_and_status_2(toy, ran, capsys, arguments, message):
    assert call(*arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("wlib: ") and message.rstrip(".*") in errors
    assert ran == [] and "Traceback" not in errors


def test_a_store_without_a_place_is_one_clear_line(toy, monkeypatch, capsys):
    def nameless(number):
        raise KeyError(number)

    for name in ("WLIB_STORE", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nameless)
    assert call("store") == 2
    assert capsys.readouterr().err.startswith("wlib: no folder to keep results in (could not")
    monkeypatch.setenv("WLIB_STORE", "~/store")
    assert call("store") == 2
    assert capsys.readouterr().err.startswith("wlib: WLIB_STORE: got '~/store', want the path")


def test_unknown_commands_and_options_are_refused(toy, capsys):
    assert call("rnu") == 2 and call("run", "--profil", "smoke") == 2
    assert call("run", "--jobs", "many") == 2
    errors = capsys.readouterr().err
    assert "Usage: wlib" in errors and "--jobs" in errors


def test_ctrl_c_is_status_130(toy, monkeypatch, capsys):
    def run(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(runner, "run", run)
    assert call("run", "--profile", "smoke") == 130
    assert "stopped" in capsys.readouterr().err


def test_book_runs_then_builds(toy, ran, monkeypatch, capsys):
    from wlib.book import pages

    monkeypatch.setattr(recording, "problems", lambda profile: {})
    monkeypatch.setattr(pages, "build", lambda profile, open, root: root / profile / "index.html")
    assert call("book", "--profile", "smoke") == 0
    output = capsys.readouterr().out
    assert "01-one  done" in output and str(toy / "smoke" / "index.html") in output
    assert call("build", "--profile", "smoke") == 0


def test_no_book_is_built_when_a_notebook_failed(toy, ran, monkeypatch, capsys):
    ran.status = "failed"
    monkeypatch.setattr(cli, "pages_of", lambda *_: pytest.fail("built"))
    assert call("book") == 1
    assert "not built" in capsys.readouterr().err


def test_bench_passes_arguments_and_status_on(toy):
    (toy / "benchmarks").mkdir()
    (toy / "benchmarks" / "run.py").write_text(
        "import sys\nsys.exit(7 if sys.argv[1:] == ['--quick', 'x'] else 1)")
    assert call("bench", "--quick", "x") == 7


def test_clean_says_what_it_removed(toy, capsys):
    files.write_atomic(toy / "_build" / "smoke" / "x", "x")
    assert call("clean") == 0 and not (toy / "_build").exists()
    assert str(toy / "_build") in capsys.readouterr().out


def test_help_names_every_command():
    done = subprocess.run([sys.executable, "-m", "wlib", "--help"], capture_output=True,
                          text=True)
    assert done.returncode == 0
    for command in ("run", "build", "book", "record", "bench", "clean", "store"):
        assert command in done.stdout
