"""What several test files share: one smoke run of every notebook, and the book built from it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wlib.ground import surroundings

REPOSITORY = Path(__file__).resolve().parents[1]

# Nothing that the surroundings name may be written: not the repository whose hook runs the tests,
# nor the results file of a run.
for _name in {*os.environ} - {*surroundings.without_git(os.environ)} | {
        "WLIB_RESULTS", "WLIB_RUN", "WLIB_NOTEBOOK", "WLIB_PROFILE"}:
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True, scope="module")
def drawn_alike_in_a_module():
    """What a file's own fixtures draw from torch's generator does not depend on other files."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def drawn_alike(drawn_alike_in_a_module):
    """A test draws the same whatever ran before it, in whichever order and process."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def figures_are_closed():
    """No test leaves its figures to the next."""
    yield
    if "matplotlib.pyplot" in sys.modules:      # most tests draw nothing and need not load it
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(params=[(-1, 0, 1), (0,)], ids=["three seeds", "one seed"])
def seeds(request):
    """Seeds of what a figure draws; of one alone there is no interval."""
    return request.param


@pytest.fixture(scope="session")
def smoke_run():
    """`wlib run --profile smoke` of the repository: the finished process."""
    return subprocess.run([sys.executable, "-m", "wlib", "run", "--profile", "smoke",
                           "--jobs", "2"], cwd=REPOSITORY, capture_output=True, text=True)


@pytest.fixture(scope="session")
def smoke_book(smoke_run):
    """Path of the index.html of the book built from the smoke run."""
    assert smoke_run.returncode == 0, smoke_run.stdout + smoke_run.stderr
    done = subprocess.run([sys.executable, "-m", "wlib", "build", "--profile", "smoke"],
                          cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])
