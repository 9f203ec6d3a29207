"""The Makefile's set-up with stub interpreters: nothing is installed here."""

import os
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))

STUB = """#!/bin/sh
echo "$@" >> log
case "$*" in
  *version_info*) exit {old};;
  --version) echo "Python 3.9.1";;
  "-m venv --clear .venv") [ {venv} = 0 ] || exit 1
    mkdir -p .venv/bin && cp "$0" .venv/bin/python;;
  "-m pip install"*) exit {pip};;
  "-c import jupyterlab") grep -q "lab]" log;;
esac
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a space in its name, and what make reads."""
    root = tmp_path / "a book"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, root / name)
    return root


def make(root, target="book", old=0, venv=0, pip=0, **options):
    stub = root / "python3"
    stub.write_text(STUB.format(old=old, venv=venv, pip=pip))
    stub.chmod(0o755)
    (root / "log").write_text("")
    for name in ("bash", "sh", "make", "rm", "cat", "mkdir", "cp", "grep"):
        if not (root / name).exists():
            (root / name).symlink_to(shutil.which(name))
    done = subprocess.run(["make", target], cwd=root, capture_output=True, text=True,
                          env={"PATH": str(root)}, **options)
    return done, (root / "log").read_text()


def test_set_up_is_done_once_and_again_when_the_pins_change(folder):
    done, log = make(folder)
    assert done.returncode == 0, done.stderr
    assert log.index("-m venv") < log.index("-m pip install") < log.index("wlib book")
    assert "-c constraints.txt -e .[book,cluster,test]" in log
    assert "pip install" not in make(folder)[1]
    (folder / "constraints.txt").touch()
    log = make(folder)[1]
    assert "pip install" in log and "-m venv" not in log


def test_the_lab_is_installed_when_it_is_asked_for_and_opens_the_notebooks(folder):
    done, log = make(folder, "lab")
    assert done.returncode == 0, done.stderr
    assert log.index(".[book,cluster,test]") < log.index(".[lab]") < log.index(
        "-m jupyterlab notebooks")
    assert "-c constraints.txt -e .[lab]" in log
    assert ".[lab]" not in make(folder, "book")[1]


def test_a_set_up_that_broke_off_does_not_look_finished(folder):
    done, log = make(folder, pip=1)
    assert done.returncode != 0 and "wlib.book.cli" not in log
    assert not (folder / ".venv" / "ready").exists()
    (folder / ".venv" / "bin" / "python").unlink()
    done, log = make(folder)
    assert done.returncode == 0 and "-m venv" in log and "pip install" in log


def test_a_moved_folder_is_set_up_again(folder):
    make(folder)
    moved = folder.rename(folder.with_name("moved book"))
    assert "pip install" in make(moved)[1]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_are_pinned_and_may_only_read(path):
    """Actions by commit, with their release behind; rights to write only to publish."""
    text = path.read_text()
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"}
    assert len(re.findall(r"uses: ", text)) == len(
        re.findall(r"uses: actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", text, re.M))
    for name, job in flow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        rights = {"pages": "write", "id-token": "write"} if name == "publish" else None
        assert job.get("permissions") == rights
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("given, made", [((), ["test", "book"]), (("test",), ["test"])])
def test_ci_runs_both_commands_or_those_that_are_named(given, made, tmp_path):
    """No program is missing here, so none is installed; a failing target ends it."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", tmp_path / ".ci" / "run")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "python3", "chromium"):
        (tools / name).write_text("#!/bin/sh\n")
    (tools / "make").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/log"\n[ "$1" != book ]\n')
    (tools / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/packages"\n')
    (tools / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    for path in tools.iterdir():
        path.chmod(0o755)
    done = subprocess.run(["bash", str(tmp_path / ".ci" / "run"), *given], capture_output=True,
                          env={"PATH": f"{tools}:/usr/bin:/bin"})
    assert (tmp_path / "log").read_text().split() == made
    assert done.returncode == (1 if "book" in made else 0)
    asked = (tmp_path / "packages").read_text() if (tmp_path / "packages").exists() else ""
    here = os.path.isdir("/usr/share/datasets/fashion-mnist")    # the one that is no program
    assert [word for word in asked.split() if not word.startswith("-")] == (
        [] if here else ["update", "install", "dataset-fashion-mnist"])


def test_an_old_python_is_refused_clearly(folder):
    done, _ = make(folder, old=1)
    assert done.returncode != 0 and not (folder / ".venv").exists()
    assert "Python 3.11 or later is needed, and 'python3' is Python 3.9.1" in done.stderr


def test_a_python_without_venv_says_what_to_install(folder):
    done, _ = make(folder, venv=1)
    assert done.returncode != 0 and "apt install python3-venv" in done.stderr
