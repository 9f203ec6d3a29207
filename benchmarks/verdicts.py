"""How often the verdicts are right: simulated measures of known truth, judged by the book's rules.

    .venv/bin/python benchmarks/verdicts.py      # seconds; writes results/verdicts.json

An arm's value is a number per seed: its true mean, what all arms of that seed share, noise of its
own, and the luck of the test images, which no seed averages out. Intervals and verdicts come from
`claims.intervals` and `claims.decide`, the code that judges the book's claims. All lengths are in
margins.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recorded import record  # noqa: E402

from wlib import claims  # noqa: E402

MARGIN = 1.0
EFFECTS = (0.0, 0.5, 1.0, 2.0)  # the method's true advantage over its best control
SEEDS = (3, 5, 10)
SPREADS = (0.5, 1.0, 2.0)       # standard deviation over seeds of a paired difference
CONTROLS = (1, 4)               # four are alike: the most chances for one to come near
IMAGES = (0.0, 0.5)             # standard error of a paired difference from the test images
TEST_IMAGES = 500
RULES = {"rule on a value, met by far": claims.Rule("value", None, "at_least", -100.0),
         "rule on the advantage, above 0": claims.Rule("advantage", "control 0", "above", 0.0)}
SHORT = {"reproduced": "✔", "reproduced, but a control does as well": "≈",
         "not reproduced": "✘", "undecided": "?"}


class Cell(NamedTuple):
    """One kind of measure: its truth and its sizes."""

    effect: float
    seeds: int
    spread: float
    controls: int
    images: float

    def words(self) -> str:
        """'advantage 0, 3 seeds, spread 0.5, 1 control, image error 0'."""
        return (f"advantage {self.effect:g}, {self.seeds} seeds, spread {self.spread:g}, "
                f"{self.controls} control{'s' * (self.controls > 1)}, "
                f"image error {self.images:g}")


class Draws(NamedTuple):
    """Measures of a cell, R repeats: method (R,S), controls (k,R,S), image errors (R,)."""

    method: np.ndarray
    controls: np.ndarray
    image_se: np.ndarray             # of the method's mean
    difference_image_se: np.ndarray  # of a paired difference


def cells() -> list[Cell]:
    """Every combination of truth and sizes."""
    return [Cell(*one) for one in itertools.product(EFFECTS, SEEDS, SPREADS, CONTROLS, IMAGES)]


def draw(cell: Cell, repeats: int, seed: int) -> Draws:
    """Measures as a notebook would report them; both arms of a difference are equally noisy."""
    random = np.random.default_rng((seed, cells().index(cell)))
    size = (cell.controls + 1, repeats, cell.seeds)
    arms = random.normal(size=size) * cell.spread / np.sqrt(2)
    arms += random.normal(size=size[1:])  # a good or bad seed network is so for all arms
    arms += random.normal(size=(*size[:2], 1)) * cell.images / np.sqrt(2)
    arms[1:] -= cell.effect * MARGIN
    seen = np.sqrt(random.chisquare(TEST_IMAGES - 1, repeats) / (TEST_IMAGES - 1)) * cell.images
    return Draws(arms[0], arms[1:], seen / np.sqrt(2), seen)


def verdicts(rule: claims.Rule, draws: Draws) -> np.ndarray:
    """The verdict's words for every repeat, shape (R,)."""
    over = [claims.intervals(draws.method - control, draws.difference_image_se)
            for control in draws.controls]
    value = claims.intervals(draws.method, draws.image_se)
    return claims.decide(rule, MARGIN, value if rule.quantity == "value" else over[0], over)


def rates(repeats: int, seed: int = 0) -> dict[Cell, dict[str, dict[str, float]]]:
    """The share of each verdict, in percent: cell -> rule -> words."""
    found = {}
    for cell in cells():
        draws = draw(cell, repeats, seed)
        words = {name: verdicts(rule, draws) for name, rule in RULES.items()}
        found[cell] = {name: {word: 100 * float(np.mean(got == word)) for word in SHORT}
                       for name, got in words.items()}
    return found


def worst(found: dict[Cell, dict[str, dict[str, float]]]) -> list[dict]:
    """The wrong verdicts, each where it is most frequent."""
    kinds = [("✔ where the method leads by nothing", "reproduced", lambda cell: cell.effect == 0),
             ("≈ where it leads by two margins", "reproduced, but a control does as well",
              lambda cell: cell.effect == 2),
             ("≈ where it leads by one margin", "reproduced, but a control does as well",
              lambda cell: cell.effect == 1),
             ("✘ where the rule is true", "not reproduced", lambda cell: cell.effect > 0)]
    rows = []
    for what, word, concerned in kinds:
        at = [(cell, name) for cell in found for name in RULES if concerned(cell)]
        cell, name = max(at, key=lambda one: found[one[0]][one[1]][word])
        rows.append({"wrong verdict": what, "rate, %": rate(found[cell][name][word]),
                     "cells": len(at), "worst at": f"{cell.words()}; {name}"})
    return rows


def rate(percent: float) -> str:
    """'2.5' or '47': a rate as a table shows it."""
    return f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}"


def lines(found: dict[Cell, dict[str, dict[str, float]]], rule: str, images: float) -> list[dict]:
    """The cells of one rule as rows, seeds side by side; a verdict that never came is left out."""
    rows: dict[tuple, dict] = {}
    for cell, by_rule in found.items():
        if cell.images == images:
            row = rows.setdefault((cell.controls, cell.effect, cell.spread),
                                  {"controls": cell.controls, "true advantage": cell.effect,
                                   "spread": cell.spread})
            row[f"{cell.seeds} seeds"] = " · ".join(
                f"{SHORT[word]} {rate(percent)}" for word, percent in by_rule[rule].items()
                if percent >= 0.05)
    return [rows[key] for key in sorted(rows)]


def tables(found: dict[Cell, dict[str, dict[str, float]]], repeats: int) -> list[dict]:
    """The tables of the page *Benchmarks and limits*."""
    command = "python benchmarks/verdicts.py"
    made = [{"title": f"Wrong verdicts where they are most frequent ({repeats:,} simulated "
                      "measures per cell)", "command": command, "rows": worst(found)}]
    for rule, images in itertools.product(RULES, IMAGES):
        error = f"image error {images:g}" if images else "no image error"
        made.append({"title": f"Rates of the verdicts in percent, {rule}, {error}",
                     "command": command, "rows": lines(found, rule, images)})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20_000)
    repeats = parser.parse_args().repeats
    made = tables(rates(repeats), repeats)
    record("verdicts", made)
    for table in made:
        print("\n" + table["title"])
        for row in table["rows"]:
            print("  " + "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
