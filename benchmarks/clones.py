"""Clones of this project, for what is measured on committed code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from wlib.ground import surroundings

ROOT = Path(__file__).resolve().parents[1]


def cloned(folder: Path, commit: str = "HEAD") -> Path:
    """A clone of this project at a commit, in a new folder."""
    for command in (["clone", "--quiet", str(ROOT), str(folder)],
                    ["-C", str(folder), "checkout", "--quiet", "--detach", commit]):
        subprocess.run(["git", *command], env=surroundings.without_git(os.environ), check=True)
    return folder
