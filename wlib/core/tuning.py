"""Choose a number by a score, on a grid that grows until its best point is not at an edge.

A method that is judged at the edge of its grid is judged untuned, and so may its rivals be. So all
of them begin with the same grid, and each grid is widened where its own best point asks for it:

    found = tune(lambda lr: accuracy_on_validation(lr), [1e-3, 3e-3, 1e-2])
    found.best, found.at_edge, found.scores

`search` does so for several settings, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from wlib.check import require, require_one_of, whole

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Tuned:
    """What a search found: `scores` by value, in the order of the values."""

    scores: dict[float, float]
    better: str = "higher"

    @property
    def best(self) -> float:
        """The value with the best score; of equals the smallest."""
        choose = max if self.better == "higher" else min
        return choose(self.scores, key=self.scores.__getitem__)

    @property
    def at_edge(self) -> bool:
        """Whether no worse value lies on one side of the best: then it is not known to be best."""
        return self.best in (min(self.scores), max(self.scores))


def tune(score: Callable[[float], float], grid: Sequence[float], *, better: str = "higher",
         most: int = 10, limits: tuple[float, float] = (0.0, math.inf)) -> Tuned:
    """Score the values of `grid`, and further ones beyond an edge while the best is there.

    grid: at least two positive numbers, growing by about a constant factor; a step beyond an edge
        is the factor of the two values there. Whole numbers stay whole.
    better: which scores win, "higher" or "lower".
    most: values that are scored at most; the search may then end at an edge, see `Tuned.at_edge`.
    limits: no value beyond these is tried.
    """
    require_one_of("better", better, ("higher", "lower"))
    require(len(grid) >= 2 and all(0 < a < b for a, b in zip(grid, grid[1:], strict=False)),
            "grid", grid, "at least two positive numbers, each larger than the one before")
    require(most >= len(grid), "most", most, f"at least the {len(grid)} values of the grid")
    found = Tuned({value: float(score(value)) for value in grid}, better)
    while found.at_edge and len(found.scores) < most:
        value = _beyond(list(found.scores), found.best)
        if not limits[0] <= value <= limits[1] or value in found.scores:
            break
        scores = found.scores | {value: float(score(value))}
        found = Tuned(dict(sorted(scores.items())), better)
    return found


def _beyond(values: list[float], edge: float) -> float:
    """The next value on the side of `edge`; rates are rounded to two digits."""
    inner = values[1] if edge == values[0] else values[-2]
    value = edge * edge / inner
    if all(isinstance(value, int) for value in values):
        return max(1, round(value))
    return float(f"{value:.2g}")


@dataclass(frozen=True)
class Searched(Generic[Settings]):
    """What a search over several settings found: the best ones, and what each was held against."""

    best: Settings
    found: dict[tuple[int, str], Tuned]         # by round and name of the setting


def search(score: Callable[[Settings], float], begin: Settings,
           grids: Mapping[str, Sequence[float]], *, rounds: int = 2, better: str = "higher",
           most: int = 10, limits: Mapping[str, tuple[float, float]] | None = None
           ) -> Searched[Settings]:
    """Tune the settings in `grids` one after another, from `begin` (a dataclass), in `rounds`.

    Each is set to its best before the next one's turn. What is best of one setting depends on the
    others, so a further round asks again; the search ends early where nothing moved. `limits` are
    those of `tune`, by setting.
    """
    require(whole(rounds), "rounds", rounds, "a whole number ≥ 1")
    best, found = begin, {}
    for turn in range(rounds):
        before = best
        for name, grid in grids.items():
            require(hasattr(best, name), "grids", name, f"a setting of {type(best).__name__}")

            def changed(value: float, at: Settings = best, name: str = name) -> float:
                return score(replace(at, **{name: value}))      # type: ignore[type-var]

            one = tune(changed, grid, better=better, most=most,
                       limits=(limits or {}).get(name, (0.0, math.inf)))
            found[turn, name] = one
            best = replace(best, **{name: one.best})            # type: ignore[type-var]
        if best == before:
            break
    return Searched(best, found)
