"""What the runner refuses before it starts, what it catches afterward, and what it keeps."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import toybook
from faults_runner import TRAPS, settings, trapped
from toyrun import (
    PARAMETERS,
    cell,
    git,
    good,
    is_alive,
    project,
    until,
    wlib,
    write_notebook,
)

from wlib import claims
from wlib.book import commits, job, planning, recording, runner
from wlib.book.progress import Display, Track
from wlib.ground import files, versions


# ---------------------------------------------------------------- before anything runs
@pytest.fixture
def toy(tmp_path):
    return project(tmp_path, {"01-one": good("01-one"), "02-two": good("02-two")},
                   smoke={"01-one": {"seeds": [0]}, "02-two": None},
                   laptop={"01-one": {}})


def test_a_plan_has_defaults_then_profile_then_command_line(toy):
    one, two = planning.plan([], "smoke", [("rate", "2")], toy)
    assert one.values == {"data": "toy", "seed": 0, "seeds": [0], "device": "auto", "rate": 2.0}
    assert one.injected == {"seeds": [0], "rate": 2.0} and two.injected == {"rate": 2.0}
    assert one.again == "wlib run 01-one --profile smoke -p rate 2"
    assert one.fingerprint != planning.plan(["01-one"], "smoke", root=toy)[0].fingerprint


@pytest.mark.parametrize("name", ["01-one", "01", "01-one.ipynb", "notebooks/01-one.ipynb"])
def test_a_notebook_is_found_by_name_number_or_path(toy, name):
    assert [plan.name for plan in planning.plan([name, name], "smoke", root=toy)] == ["01-one"]


@pytest.mark.parametrize("names, profile, given, message", [
    (["01-on"], "smoke", [], "notebook: got '01-on', want one of 01-one, .*mean '01-one'"),
    ([], "smok", [], "profile: got 'smok'.*did you mean 'smoke'"),
    ([], "laptop", [], "profiles/laptop.yml: .*want a block for 02-two"),
    ([], "smoke", [("rtae", "1")], "01-one: parameter: got 'rtae'.*did you mean 'rate'"),
    ([], "smoke", [("rate", "x")], "01-one: rate: got 'x', want a number, like 0.5"),
    ([], "smoke", [("seeds", "a")], r"01-one: seeds\[0\]: got 'a', want a whole number"),
    ([], "smoke", [("rate", "1"), ("rate", "2")], "-p: got 'rate', want each parameter once"),
])
def test_wrong_requests_are_refused_by_name(toy, names, profile, given, message):
    with pytest.raises(ValueError, match=message):
        planning.plan(names, profile, given, toy)


@pytest.mark.parametrize("block, message", [
    ({"01-one": {"seed": 1.5}}, "profiles/p.yml: 01-one: seed: got 1.5, want a whole number"),
    ({"01-one": {"sede": 1}}, "profiles/p.yml: 01-one: parameter: .*did you mean 'seed'"),
    ({"01-one": [1]}, r"p.yml: 01-one: got \[1\], want a mapping"),
    ({"01-eno": {}}, "p.yml: notebook: got '01-eno'.*did you mean '01-one'"),
    ([1], "p.yml: got .1., want a mapping"),
])
def test_a_wrong_profile_is_refused_by_name(tmp_path, block, message):
    toy = project(tmp_path, {"01-one": good("01-one")}, p=block)
    with pytest.raises(ValueError, match=message):
        planning.plan(["01-one"], "p", root=toy)


def test_a_notebook_without_parameters_cell_is_refused(toy):
    write_notebook(toy, "01-one", parameters="import os")
    with pytest.raises(ValueError, match="01-one.ipynb: parameters cell: got 'import os'"):
        planning.plan(["01-one"], "smoke", root=toy)


@pytest.mark.parametrize("options, message", [
    ({"jobs": 0}, "jobs: got 0"), ({"limit": -1}, "timeout: got -1"),
    ({"cell_limit": 0}, "cell-timeout: got 0")])
def test_wrong_options_are_refused(toy, options, message):
    with pytest.raises(ValueError, match=message):
        runner.run(planning.plan([], "smoke", root=toy), **options)


# ---------------------------------------------------------------- runs
@pytest.fixture(scope="module")
def faults():
    """A folder in which two good notebooks and every trap of the fault suite ran, and the command.
    """
    return trapped()


@pytest.mark.book
def test_the_summary_tells_what_failed_and_the_others_run(faults):
    done = faults[1]
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert all("FAILED" in lines[name] for name in TRAPS), done.stdout
    assert " done " in lines["01-good"] and " done " in lines["09-good"]
    assert done.stdout.splitlines()[-1] == f"profile smoke: 2 done, {len(TRAPS)} failed"
    assert done.returncode == 1


@pytest.mark.book
def test_a_failing_notebook_prints_cell_traceback_and_the_line_to_run_it_again(faults):
    for part in ("    before = 1\n    1 / 0", "Traceback (most recent call last)",
                 "ZeroDivisionError: division by zero",
                 "run it again: wlib run 02-error --profile smoke"):
        assert part in faults[1].stderr
    assert "02-error: started" in faults[1].stderr and "\x1b" not in faults[1].stderr


@pytest.mark.book
def test_only_whole_outcomes_are_kept(faults):
    built = faults[0] / "_build" / "smoke"
    kept = sorted(str(path.relative_to(built)) for path in built.rglob("*") if path.is_file())
    failed = [f"failed/{name}.ipynb" for name in TRAPS]
    assert [path for path in kept if not path.endswith(".lock")] == sorted(
        ["executed/01-good.ipynb", "executed/09-good.ipynb", "results/01-good.json",
         "results/09-good.json", "runs.json", *failed])


@pytest.mark.book
def test_outcomes_say_where_they_come_from(faults):
    root = faults[0]
    results = claims.load_results(root / "_build/smoke/results/01-good.json")
    executed = json.loads((root / "_build/smoke/executed/01-good.ipynb").read_text())
    entry = planning.Folder(root, "smoke").runs()["01-good"]
    assert results["run"] == executed["metadata"]["wlib"]["run"] == entry["run"]
    assert results["fingerprint"] == entry["fingerprint"] == planning.plan(
        ["01-good"], "smoke", root=root)[0].fingerprint
    assert results["profile"] == "smoke" and results["parameters"]["seeds"] == [0, 1, 2]
    made = results["provenance"]
    assert made["seconds"] > 0 and made["versions"] == versions.current()
    assert len(entry["cells"]) == 4 and entry["status"] == "done"
    text = json.dumps(executed)
    assert str(root) not in text and executed["metadata"]["kernelspec"]["name"] == "python3"
    assert f"kernel {sys.executable}" in text and "'1'" in text


@pytest.mark.book
def test_what_has_not_changed_is_not_run_again(faults):
    root = faults[0]
    begun = time.monotonic()
    done = wlib(root, "run", "01", "09", "--profile", "smoke")
    assert done.stdout.count("unchanged") == 3 and done.returncode == 0
    assert time.monotonic() - begun < 5
    assert recording.problems("smoke", ["01-good"], root) == {}


@pytest.mark.book
def test_the_kernel_is_deaf_even_where_settings_reach_it(tmp_path):
    """As those of the whole machine do, which no variable names."""
    root = project(tmp_path / "book", {"01-toy": [
        "import builtins\nassert not hasattr(builtins, 'planted')", *good("01-toy")]})
    one, = planning.plan([], "smoke", root=root)
    heard = {name: value for name, value in settings(tmp_path).items()
             if name in ("IPYTHONDIR", "PYTHONSTARTUP", "MATPLOTLIBRC")}
    running = job.Job(one, planning.Folder(root, "smoke"), (60.0, 90.0), variables=heard)
    outcome, = runner.run_jobs([running], 1, Display(io.StringIO()))
    assert outcome.status == "done", outcome.details


@pytest.mark.book
def test_the_kernel_takes_no_port_that_another_program_may_want(tmp_path):
    deep = tmp_path / ("a long name " * 8)      # a socket's path has at most 107 bytes
    root = project(deep, {"01-toy": [
        "from pathlib import Path\nfrom ipykernel.connect import get_connection_info\n"
        "of = get_connection_info(unpack=True)\nassert of['transport'] == 'ipc', of\n"
        "assert Path(f\"{of['ip']}-{of['shell_port']}\").is_socket()", *good("01-toy")]})
    done = wlib(root, "run", "01", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert not (root / "_build" / "smoke" / "work").exists()


@pytest.mark.book
def test_a_relative_store_is_one_folder_for_command_and_kernels(tmp_path):
    root = project(tmp_path / "book", {"01-toy": [
        "from wlib import store\ndef give(number):\n    return number", "store.cached(give, seed)",
        *good("01-toy")]})
    for place in ("kept/here", "~/kept/here"):
        done = wlib(root, "run", "--force", "--profile", "smoke", env=os.environ | {
            "WLIB_STORE": place, "HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    kept = {path.relative_to(tmp_path).parts[:-2] for path in tmp_path.rglob("*.safetensors")}
    assert kept == {("book", "kept", "here"), ("kept", "here")}


@pytest.mark.book
def test_the_process_of_a_notebook_ends_without_a_fatal_error(tmp_path, monkeypatch):
    seen, clear = [], job.Job.clear

    def note(job):
        seen.append((job.status, "Fatal" in (job.work / "stderr.txt").read_text()))
        clear(job)

    monkeypatch.setattr(job.Job, "clear", note)
    root = project(tmp_path, {"01-one": good("01-one")})
    done, = runner.run(planning.plan([], "smoke", root=root), display=Display(io.StringIO()))
    assert done.status == "done" and seen == [(0, False)]


# ---------------------------------------------------------------- what counts as unchanged
@pytest.fixture
def built(tmp_path):
    """A project whose one notebook has an outcome, without running it."""
    root = project(tmp_path, {"01-one": good("01-one")}, laptop={"01-one": {}})
    (root / ".gitignore").write_text("_build/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    make_outcome(root)
    return root


def make_outcome(root, **provenance):
    one, folder = planning.plan([], "laptop", root=root)[0], planning.Folder(root, "laptop")
    report = claims.Report("01-one", seeds=[0, 1, 2])
    results = report.results() | {"run": "r1", "profile": "laptop", "parameters": one.values,
                                  "fingerprint": one.fingerprint}
    results["provenance"] |= {"dirty": False, "commit": "c", "seconds": 1.0} | provenance
    files.write_atomic(folder.results("01-one"), claims.dumps(results))
    files.write_atomic(folder.executed("01-one"), '{"metadata": {"wlib": {"run": "r1"}}}')
    folder.note("01-one", {"status": "done", "run": "r1", "fingerprint": one.fingerprint,
                           "judging": "", "seconds": 1.0})
    return folder


def is_unchanged(root, given=()):
    return planning.unchanged(planning.plan([], "laptop", given, root)[0],
                            planning.Folder(root, "laptop"))


def test_prose_changes_nothing_but_code_and_parameters_do(built):
    assert is_unchanged(built)
    assert runner.run(planning.plan([], "laptop", root=built))[0].status == "unchanged"
    write_notebook(built, "01-one", cell("more prose", kind="markdown"),
                   *(source + "  # why" for source in good("01-one")))
    assert is_unchanged(built)
    assert not is_unchanged(built, [("seed", "1")])
    write_notebook(built, "01-one", "x = 1", *good("01-one"))
    assert not is_unchanged(built)
    assert recording.problems("laptop", root=built) == {"01-one": "has changed since it ran"}


@pytest.mark.parametrize("damage", [
    lambda folder: folder.results("01-one").unlink(),
    lambda folder: folder.results("01-one").write_text("{"),
    lambda folder: folder.executed("01-one").unlink(),
    lambda folder: folder.executed("01-one").write_text('{"metadata": {"wlib": {"run": "r2"}}}'),
    lambda folder: (folder.path / "runs.json").write_text("["),
    lambda folder: folder.note("01-one", folder.runs()["01-one"] | {"status": "failed"}),
    lambda folder: folder.note("01-one", folder.runs()["01-one"] | {"run": "r3"}),
])
def test_what_is_not_whole_runs_again(built, damage):
    damage(planning.Folder(built, "laptop"))
    assert not is_unchanged(built) and "01-one" in recording.problems("laptop", root=built)


def test_a_changed_rule_runs_a_notebook_that_shows_verdicts(built):
    path = write_notebook(built, "01-one", "report.verdicts()")
    assert planning.judging(path, built) == ""
    row = {"id": "M1", "paper": "mge", "claim": "c", "figure": "f", "source": "unverified",
           "whose": "paper", "notebook": "01-one", "measure": "m", "unit": "points",
           "better": "higher", "controls": ["a"], "margin": 1,
           "rule": {"quantity": "value", "above": 1}}
    seen = set()
    for change in ({}, {"margin": 2}, {"rule": {"quantity": "value", "above": 2}}):
        files.write_atomic(built / "book" / "claims.yml", json.dumps([row | change]))
        seen.add(planning.judging(path, built))
    files.write_atomic(built / "book" / "claims.yml", json.dumps([row | {"remark": "new"}]))
    assert len(seen) == 3 and planning.judging(path, built) in seen


# ---------------------------------------------------------------- recording and cleaning
def test_results_of_a_clean_run_are_recorded(built):
    paths = recording.record("laptop", root=built)
    assert [str(path.relative_to(built)) for path in paths] == ["results/laptop/01-one.json"]
    assert claims.recorded("01-one", built)["run"] == "r1"
    assert not claims.is_stale(claims.recorded("01-one", built), built)
    assert recording.record("laptop", root=built)  # recorded results do not make the tree dirty


def test_only_runs_that_can_be_trusted_are_recorded(built):
    with pytest.raises(ValueError, match="profile: got 'smoke', want one of gpu"):
        recording.record("smoke", root=built)
    make_outcome(built, dirty=True)
    with pytest.raises(ValueError, match="01-one ran with uncommitted changes"):
        recording.record("laptop", root=built)
    folder = make_outcome(built)
    folder.note("01-one", folder.runs()["01-one"] | {"status": "failed"})
    with pytest.raises(ValueError, match="01-one failed"):
        recording.record("laptop", root=built)
    folder = make_outcome(built)
    results = claims.load_results(folder.results("01-one"))
    results["parameters"]["seed"] = 5
    results["fingerprint"] = planning.plan([], "laptop", [("seed", "5")], built)[0].fingerprint
    folder.results("01-one").write_text(claims.dumps(results))
    with pytest.raises(ValueError, match="01-one ran with other parameters"):
        recording.record("laptop", root=built)
    (built / "new.txt").write_text("new")
    with pytest.raises(ValueError, match="working tree: got 'uncommitted changes'"):
        recording.record("laptop", root=built)
    assert not (built / "results").exists()


def contents(root):
    """Every file of a repository, its own ones included."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_another_repository_is_neither_read_nor_written(tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "mine")
    before, foreign = contents(other), git(other, "rev-parse", "HEAD")
    for name, value in {"GIT_DIR": other / ".git", "GIT_INDEX_FILE": other / ".git/index",
                        "GIT_WORK_TREE": other, "GIT_OBJECT_DIRECTORY": other / ".git/objects",
                        "GIT_CONFIG_PARAMETERS": "'core.bare'='true'"}.items():
        monkeypatch.setenv(name, str(value))     # as git sets them for a hook
    root = project(tmp_path / "book", {"01-one": good("01-one")}, laptop={"01-one": {}})
    assert commits.commit_of(root) == (None, None), "the book is in no repository"
    git(root, "init", "-q")
    assert commits.commit_of(root) == (None, None), "nothing is committed"
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    commit, dirty = commits.commit_of(root)
    assert commit == git(root, "rev-parse", "HEAD") != foreign and dirty is False
    assert contents(other) == before


def test_a_commit_counts_only_if_it_holds_the_book(built, monkeypatch):
    assert commits.commit_of(built)[1] is False
    (built / "profiles" / "gpu.yml").write_text("{}")
    (built / "profiles" / "gpu.yml").unlink()
    for mark in ("assume-unchanged", "skip-worktree"):
        git(built, "update-index", f"--{mark}", "profiles/laptop.yml")
        assert commits.state_of(built)[2] == "git is told not to look at profiles/laptop.yml"
        git(built, "update-index", f"--no-{mark}", "profiles/laptop.yml")
    (built / "profiles" / "gpu.yml").write_text("{}")
    git(built, "config", "status.showUntrackedFiles", "no")
    assert commits.commit_of(built)[1] is True, "a file that git does not have"
    (built / ".git" / "info" / "exclude").write_text("gpu.yml\n")
    assert commits.commit_of(built) == (None, None)
    with pytest.raises(ValueError, match=r"no commit.*\(.*: git ignores profiles/gpu.yml\)"):
        recording.record("laptop", root=built)
    inner = project(built / "_build" / "inner", {"01-one": good("01-one")}, laptop={"01-one": {}})
    assert commits.commit_of(inner) == (None, None), "the repository around ignores it"
    with pytest.raises(ValueError, match=rf"no commit.*: the repository .* that of {built}\)"):
        recording.record("laptop", root=inner)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_owner_is_named(built, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for path in (built, built / ".git"):
        os.chown(path, 54321, 54321)
    with pytest.raises(ValueError, match=f"no commit.*dubious ownership.*git config --global "
                       f"--add safe.directory {built}"):
        recording.record("laptop", root=built)


def test_a_run_that_leaves_a_control_out_is_not_recorded(built):
    row = toybook.ROW | {"notebook": "01-one"}
    files.write_atomic(built / "book" / "claims.yml", json.dumps([row]))
    git(built, "add", ".")
    git(built, "commit", "-qm", "a claim")
    path = make_outcome(built).results("01-one")
    whole = claims.load_results(path) | {"measures": toybook.results()["measures"]}
    path.write_text(claims.dumps(whole))
    assert recording.record("laptop", root=built)
    whole["measures"]["T1"]["controls"] = {}
    path.write_text(claims.dumps(whole))
    with pytest.raises(ValueError, match="01-one does not measure what the claims ask: T1: contr"):
        recording.record("laptop", root=built)


def test_cleaning_removes_what_was_built_and_nothing_else(built):
    with pytest.raises(ValueError, match="profile: got '../x'"):
        recording.clean("../x", built)
    recording.clean("laptop", built)
    assert not (built / "_build" / "laptop").exists()
    recording.clean(root=built)
    assert not (built / "_build").exists() and (built / "notebooks" / "01-one.ipynb").exists()


# ---------------------------------------------------------------- time-outs and Ctrl-C
SLEEP = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(99)"


@pytest.mark.book
@pytest.mark.parametrize("option, message", [
    ("--cell-timeout", "code cell 2: time-out: the cell took more than 2 s"),
    ("--timeout", "time-out: the notebook took more than 9 s")])
def test_what_takes_too_long_is_ended(tmp_path, option, message):
    root = project(tmp_path, {"01-slow": [SLEEP]})
    done = wlib(root, "run", "--profile", "smoke", option, "2" if "cell" in option else "9")
    assert message in done.stdout and done.returncode == 1
    assert "    time.sleep(99)" in done.stderr, "the cell is shown"
    until(lambda: not is_alive(int((root / "notebooks" / "pid").read_text())), 5)


@pytest.mark.book
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_leaves_no_kernel_and_nothing_half_written(tmp_path, number):
    root = project(tmp_path, {"01-slow": [SLEEP]})
    pid = root / "notebooks" / "pid"
    process = subprocess.Popen([sys.executable, "-m", "wlib", "run", "--profile", "smoke"],
                               cwd=root, stderr=subprocess.PIPE, text=True)
    until(lambda: pid.exists() and pid.read_text())
    os.kill(process.pid, number)
    errors = process.communicate(timeout=30)[1]
    until(lambda: not is_alive(int(pid.read_text())), 10)
    built = root / "_build" / "smoke"
    if number != signal.SIGKILL:
        assert process.returncode == 130 and "stopped" in errors
        assert [path.name for path in built.iterdir() if path.suffix != ".lock"] == []
    assert not (built / "executed").exists() and not (built / "results").exists()
    with runner.only_run(planning.Folder(root, "smoke"), Display(io.StringIO())):
        pass  # the lock is free again


# ---------------------------------------------------------------- progress
class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_time_left_comes_from_earlier_timings(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    track = Track("n", [1.0, 20.0, 60.0], total=3)
    assert track.words() == "starting"
    track.number, track.cell_begun = 2, 100.0
    now[0] = 105.0
    assert track.words() == "cell 2 of 3, about 1 min 15 s left"
    track.total = 4  # the notebook has another number of cells now
    assert track.words() == "cell 2 of 4"


def test_bars_on_a_terminal_and_plain_lines_elsewhere():
    for stream, bars in ((Terminal(), True), (io.StringIO(), False)):
        display = Display(stream)
        for name in ("one", "two"):
            display.start(name, [1.0, 2.0])
            display.cells(name, 2)
            display.cell(name, 1)
        display.tick()
        display.end("one", "done in 3.0 s")
        display.close()
        assert "one: done in 3.0 s\n" in stream.getvalue()
        assert ("cell 1 of 2, about 3.0 s left" in stream.getvalue()) == bars
        assert ("one: started\n" in stream.getvalue()) != bars


def test_the_parent_of_notebooks_needs_no_torch():
    code = ("import sys, wlib.book.cli, wlib.book.pages; "
            "sys.exit(bool({'torch', 'papermill', 'nbclient', 'pandas'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_parameters_cell_of_the_toys_is_what_notebooks_must_have():
    assert {"data", "seed", "seeds", "device"} <= {
        line.split(" = ")[0] for line in PARAMETERS.splitlines()}
