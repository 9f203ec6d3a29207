"""Which commit a book is, and whether anything that a run reads differs from it."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from wlib.ground import surroundings

READ = ("notebooks/*.ipynb", "profiles/*.yml", "book/claims.yml", "wlib/**/*.py")  # by a run


def utc_now() -> str:
    """The time in UTC, as results files have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def commit_of(root: Path) -> tuple[str | None, bool | None]:
    """The commit, and whether files other than recorded results differ from it; None outside git.
    """
    return state_of(root)[:2]


def state_of(root: Path) -> tuple[str | None, bool | None, str]:
    """`commit_of`, and why there is no commit that says what the book in `root` is.

    The repository must be the book's own, and have the files that a run reads: one around it that
    ignores the book says nothing of it.
    """
    try:
        top = surroundings.git(root, "rev-parse", "--show-toplevel")
        if not os.path.samefile(top, root):
            return None, None, f"the repository around it is that of {top}"
        commit = surroundings.git(root, "rev-parse", "--verify", "HEAD")
        ignored = surroundings.git(root, "ls-files", "--others", "--ignored", "--exclude-standard",
                                   "--", *(f":(glob){one}" for one in READ))
        unseen = [line[2:] for line in surroundings.git(root, "ls-files", "-v", "--", *(
            f":(glob){one}" for one in READ)).splitlines() if line[0].islower() or line[0] == "S"]
        changed = surroundings.git(root, "status", "--porcelain", "--untracked-files=normal",
                                   "--ignore-submodules=none", "--", ".", ":!results")
    except OSError as error:
        return None, None, str(error)
    if ignored:
        return None, None, f"git ignores {', '.join(ignored.splitlines()[:3])}"
    if unseen:     # marked by `git update-index` as assume-unchanged or skip-worktree
        return None, None, f"git is told not to look at {', '.join(unseen[:3])}"
    return commit, bool(changed), ""
