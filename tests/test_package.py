"""The library as a package: what it needs, what it says of itself, what is left to the book."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from conftest import REPOSITORY

import wlib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
# Modules of the book's machinery; all others are the library.
BOOK = {"claims", "cli", "comparison", "execute", "explore", "kernel", "kinds", "ledger",
        "pageparts", "pages", "parameters", "plot", "plot_d2nwg", "plot_free", "plot_mda",
        "progress", "rehearse", "runner", "warming"}

WITHOUT = """
import importlib.machinery, sys

there = importlib.machinery.PathFinder.find_spec

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {blocked!r} else there(name, path, target)

importlib.machinery.PathFinder.find_spec = find_spec
{code}
"""

USE = """
import importlib, pathlib, torch
failed = set()
for path in pathlib.Path("wlib").glob("[!_]*.py"):
    try:
        importlib.import_module("wlib." + path.stem)
    except ModuleNotFoundError:
        failed.add(path.stem)
from wlib import lego, mda, mge, partfile, pool
net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()
x = torch.rand(6, 1, 2, 2)
part = mda.part(net, x, torch.arange(6) % 3, [0, 2]).network
path = partfile.save_part(lego.assemble([part, part]), sys.argv[1])
assert partfile.load_part(path, net)(x).shape == (6, 4)
assert mge.generate(pool.Pool.stack([net]), children=2).logits(x).shape == (2, 6, 3)
print(*sorted(failed))
"""


def without_the_books_tools(code, *arguments):
    """A process in which the packages of the extra `book` are not there."""
    def names(requirements):
        return {re.split(r"[<>=!~ \[;]", r)[0].lower().replace("_", "-") for r in requirements}

    tools = names(PROJECT["project"]["optional-dependencies"]["book"]) - {"jinja2"}   # torch's, too
    blocked = {module for module, owners in metadata.packages_distributions().items()
               if names(owners) & tools}
    assert {"seaborn", "papermill", "ipykernel", "typer", "yaml"} <= blocked
    return subprocess.run([sys.executable, "-c", WITHOUT.format(blocked=blocked, code=code),
                           *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True)


def test_the_library_needs_none_of_the_books_tools(tmp_path):
    done = without_the_books_tools(USE, tmp_path / "joined")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == BOOK


def test_the_command_without_its_tools_says_what_to_install():
    done = without_the_books_tools("from wlib.__main__ import main; main()")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.fullmatch(r"wlib: there is no \w+ here: .*pip install 'weights-as-data\[book\]'\n",
                        done.stderr)


def test_the_version_is_the_projects_and_types_are_declared():
    assert wlib.__version__ == PROJECT["project"]["version"]
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        wlib.version  # noqa: B018
    declared = PROJECT["tool"]["setuptools"]["package-data"]["wlib"]
    assert "py.typed" in declared and (REPOSITORY / "wlib" / "py.typed").is_file()
