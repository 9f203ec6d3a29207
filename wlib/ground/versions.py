"""Versions and settings that can change a number on one and the same machine."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import sys

from wlib.ground import surroundings
from wlib.ground.origin import home, own_modules
from wlib.ground.reach import digest

# Packages whose version can change a number or a figure on a page.
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "mlxtend", "matplotlib",
            "seaborn", "pandas", "pillow", "torch-pruning", "open_clip_torch", "diffusers")


def current() -> dict[str, str]:
    """Versions of Python and of the installed packages that can change a number, and the settings
    of the environment that can; so can the user's own files that Python runs before all else."""
    return dict(_versions()) | _run_first() | surroundings.counted()


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional package that is not installed changes nothing
    return tuple(found)


@functools.cache
def _run_first() -> dict[str, str]:
    """The user's own start-up files: by now they have been run, so they are read but once."""
    return {name: digest(own_modules([name]))[:12]
            for name in ("sitecustomize", "usercustomize")
            if name in sys.modules and home(sys.modules[name]) == "own"}
