"""Toy projects for the tests of the runner: notebooks without torch, which run in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from wlib.book import cli
from wlib.ground import surroundings

PARAMETERS = "data = 'toy'\nseed = 0\nseeds = [0, 1, 2]\ndevice = 'auto'\nrate = 0.5"
REPORT = """from wlib import claims
report = claims.Report({name!r}, seeds=seeds, settings=dict(rate=rate))
report.measure("x", [seed + rate] * len(seeds), unit="points")
report.save()"""


def cell(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
    """A cell as a notebook file has it."""
    extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "id": f"c{abs(hash(source)) % 10**9}", "source": source,
            "metadata": {"tags": list(tags)}} | extra


def write_notebook(root: Path, name: str, *sources: str | dict[str, Any],
                   parameters: str = PARAMETERS) -> Path:
    """A notebook with prose, a parameters cell, and the given code cells."""
    cells = [cell(f"# {name}", kind="markdown"), cell(parameters, "parameters"),
             *(source if isinstance(source, dict) else cell(source) for source in sources)]
    for number, made in enumerate(cells):
        made["id"] = f"cell-{number}"
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "no-such-kernel", "display_name": "gone", "language": "python"}
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": kernel},
                                "nbformat": 4, "nbformat_minor": 5}))
    return path


def project(root: Path, notebooks: dict[str, list[Any]], **profiles: dict[str, Any]) -> Path:
    """A book's folder with these notebooks and profiles (default: smoke, nothing set)."""
    for name, sources in notebooks.items():
        write_notebook(root, name, *sources)
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "profiles").mkdir()
    for profile, blocks in (profiles or {"smoke": {name: {} for name in notebooks}}).items():
        (root / "profiles" / f"{profile}.yml").write_text(yaml.safe_dump(blocks))
    return root


def good(name: str, *sources: str) -> list[str]:
    """The cells of a notebook that runs and reports."""
    return [*sources, REPORT.format(name=name)]


def wlib(root: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command `wlib`, run in a book's folder."""
    return subprocess.run([sys.executable, "-m", "wlib", *arguments], cwd=root, text=True,
                          capture_output=True, timeout=300, **options)


def call(*arguments: str) -> int:
    """Exit status of the command, run in this process."""
    try:
        cli.main(list(arguments))
    except SystemExit as ended:
        return ended.code
    raise AssertionError("the command did not end by SystemExit")


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie has ended."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def git(root: Path, *arguments: str) -> str:
    """A git command in a toy project, which sees no settings and no repository of the user's own.
    """
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
           "GIT_CEILING_DIRECTORIES": str(root.parent)}
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *names, *arguments], cwd=root, capture_output=True, text=True,
                          env=surroundings.without_git(os.environ) | own, check=True)
    return done.stdout.strip()
