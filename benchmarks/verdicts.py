"""How often the answers are right: simulated measures of known truth, judged by the book's rules.

    .venv/bin/python benchmarks/verdicts.py      # a minute; writes results/verdicts.json

An arm's value is a number per seed: its true mean, what all arms of that seed share, noise of its
own, and the luck of the test images, which no seed averages out. Intervals and answers come from
`claims.intervals`, `claims.does_it_hold` and `claims.is_simpler_as_good`, the code that judges the
book's claims. All lengths are in margins. A second simulation asks which interval to trust where
each seed holds many images, episodes or data sets.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recorded import record  # noqa: E402

from wlib import claims  # noqa: E402

COMMAND = "python benchmarks/verdicts.py"
MARGIN = 1.0
EFFECTS = (-2.0, -1.0, 0.0, 0.5, 1.0, 2.0)  # the method's true advantage over its best control
SEEDS = (3, 5, 10, 20)
LOOKS = (10, 20)                # seeds at first, and where an answer was open
SPREADS = (0.5, 1.0, 2.0)       # standard deviation over seeds of a paired difference
CONTROLS = (1, 4)               # four are alike: the most chances for one to come near
IMAGES = (0.0, 0.5)             # standard error of a paired difference from the test images
TEST_IMAGES = 500
RULE = claims.Rule("advantage", "control 0", "above", 0.0)
# What is false, and at which true advantages it is.
FALSE = {("holds", "yes"): lambda e: e <= 0, ("holds", "no"): lambda e: e > 0,
         ("holds", "makes no difference"): lambda e: abs(e) >= 1,
         ("simpler", "ahead"): lambda e: e <= 0, ("simpler", "behind"): lambda e: e >= 0,
         ("simpler", "level"): lambda e: abs(e) >= 1}


class Cell(NamedTuple):
    """One kind of measure: its truth and its sizes."""

    effect: float
    seeds: int
    spread: float
    controls: int
    images: float

    def words(self) -> str:
        """'advantage 0, spread 0.5, 1 control, image error 0'."""
        return (f"advantage {self.effect:g}, spread {self.spread:g}, "
                f"{self.controls} control{'s' * (self.controls > 1)}, "
                f"image error {self.images:g}")


class Draws(NamedTuple):
    """Measures of a cell, R repeats: method (R,S), controls (k,R,S), image errors (R,)."""

    method: np.ndarray
    controls: np.ndarray
    image_se: np.ndarray             # of the method's mean
    difference_image_se: np.ndarray  # of a paired difference


Judged = Callable[[Draws], dict[str, np.ndarray]]
Rates = dict[Cell, dict[str, dict[str, float]]]     # cell -> question -> answer -> percent


def cells() -> list[Cell]:
    """Every combination of truth and sizes."""
    return [Cell(*sizes) for sizes in itertools.product(EFFECTS, SEEDS, SPREADS, CONTROLS, IMAGES)]


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


def answers(draws: Draws) -> dict[str, np.ndarray]:
    """Both answers for every repeat, each of shape (R,)."""
    over, wide = ([claims.intervals(draws.method - control, draws.difference_image_se,
                                    claims.corrected(tests)) for control in draws.controls]
                  for tests in (1, len(draws.controls)))
    return {"holds": claims.does_it_hold(RULE, MARGIN, over[0]),
            "simpler": claims.is_simpler_as_good(MARGIN, over, wide)}


def two_looks(draws: Draws, first: int = LOOKS[0]) -> dict[str, np.ndarray]:
    """Both answers where one stops at the `first` seeds unless an answer is open there."""
    early = answers(draws._replace(method=draws.method[:, :first],
                                   controls=draws.controls[..., :first]))
    late = answers(draws)
    again = np.any([early[question] == "open" for question in early], axis=0)
    return {question: np.where(again, late[question], early[question]) for question in early}


def rates(repeats: int, seed: int = 0, judged: Judged = answers, seeds: tuple[int, ...] = SEEDS
          ) -> Rates:
    """The rate of each answer, in percent."""
    found: Rates = {}
    for cell in cells():
        if cell.seeds not in seeds:
            continue
        given = judged(draw(cell, repeats, seed))
        found[cell] = {question: {words: 100 * float(np.mean(given[question] == words))
                                  for words in known if words != claims.NOT_MEASURED}
                       for question, (_, known) in claims.QUESTIONS.items()}
    return found


# ---- tables --------------------------------------------------------------------------------------
def worst(found: Rates, twice: Rates) -> list[dict]:
    """The false answers, each where it is most frequent, by the number of seeds; `twice` are the
    rates of two looks."""
    def highest(rates: Rates, question: str, words: str, is_false: Callable[[float], bool]) -> str:
        return rate(max(given[question][words] for cell, given in rates.items()
                        if is_false(cell.effect)))

    rows = []
    for (question, words), is_false in FALSE.items():
        row = {"false answer": f"{claims.QUESTIONS[question][1][words]} {words}"}
        at = [cell for cell in found if is_false(cell.effect)]
        for seeds in SEEDS:
            here = {cell: given for cell, given in found.items() if cell.seeds == seeds}
            row[f"{seeds} seeds, %"] = highest(here, question, words, is_false)
        row["{} seeds, {} where open, %".format(*LOOKS)] = highest(twice, question, words, is_false)
        cell = max(at, key=lambda cell: found[cell][question][words])
        rows.append(row | {"worst at": f"{cell.words()}, {cell.seeds} seeds"})
    return rows


def rate(percent: float) -> str:
    """'2.5' or '47': a rate as a table shows it."""
    return f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}"


def lines(found: Rates, question: str, controls: int, images: float) -> list[dict]:
    """The cells of one question as rows, seeds side by side; an answer that never came is left out.
    """
    rows: dict[tuple, dict] = {}
    _, marks = claims.QUESTIONS[question]
    for cell, given in found.items():
        if (cell.controls, cell.images) == (controls, images):
            row = rows.setdefault((cell.effect, cell.spread),
                                  {"true advantage": cell.effect, "spread": cell.spread})
            row[f"{cell.seeds} seeds"] = " · ".join(
                f"{marks[words]} {rate(percent)}"
                for words, percent in given[question].items() if percent >= 0.05)
    return [rows[key] for key in sorted(rows)]


def tables(found: Rates, twice: Rates, repeats: int) -> list[dict]:
    """The tables of the page *Benchmarks and limits*."""
    made = [{"title": f"False answers where they are most frequent ({repeats:,} simulated "
                      "measures per cell)", "command": COMMAND, "rows": worst(found, twice)}]
    for question, which, controls in (("holds", "", 1), ("simpler", " One control", 1),
                                      ("simpler", " Four equal controls", 4)):
        asked, _ = claims.QUESTIONS[question]
        made.append({"title": f"Rates of the answers in percent, {asked}{which}",
                     "command": COMMAND, "rows": lines(found, question, controls, 0.0)})
    return made


# ---- many items in each seed ---------------------------------------------------------------------
ITEMS = 60                          # images, episodes or data sets, others in each seed
BETWEEN = (0.0, 0.2, 0.5, 0.8)      # the fraction of an item's variance that its seed has
Bounds = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def students(values: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The book's interval: Student's over the means of the seeds, values (R,S,B)."""
    found = claims.intervals(values.mean(axis=2))
    return found.low, found.high


def mixed_model(values: np.ndarray, _: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random intercept per seed, fitted by restricted maximum likelihood, with Wald's interval.

    Seeds of equal size have the fit in closed form: the mean's variance is that of the seeds'
    means, unless they lie closer together than their items allow; then all items are one sample.
    """
    _, seeds, items = values.shape
    between = items * values.mean(axis=2).var(axis=1, ddof=1)
    within = values.var(axis=2, ddof=1).mean(axis=1)
    pooled = values.reshape(len(values), -1).var(axis=1, ddof=1)
    half = 1.96 * np.sqrt(np.where(between > within, between, pooled) / (seeds * items))
    return values.mean(axis=(1, 2)) - half, values.mean(axis=(1, 2)) + half


def bootstrap(values: np.ndarray, random: np.random.Generator, resamples: int = 500
              ) -> tuple[np.ndarray, np.ndarray]:
    """The hierarchical bootstrap: seeds drawn again, then the items of each; 2.5 to 97.5 %."""
    _, seeds, items = values.shape
    low, high = [], []
    for row in values:
        drawn = random.integers(seeds, size=(resamples, seeds, 1))
        means = row[drawn, random.integers(items, size=(resamples, seeds, items))].mean(axis=(1, 2))
        ends = np.quantile(means, (0.025, 0.975))
        low.append(ends[0])
        high.append(ends[1])
    return np.array(low), np.array(high)


WAYS: dict[str, Bounds] = {"Student's over seeds": students, "mixed model": mixed_model,
                           "hierarchical bootstrap": bootstrap}


def coverage(repeats: int, seed: int = 0) -> list[dict]:
    """How often the intervals of three ways cover the truth, and how wide they are."""
    rows = []
    for seeds, between in itertools.product(SEEDS[:3], BETWEEN):
        random = np.random.default_rng((seed, seeds, int(10 * between)))
        values = (random.normal(size=(repeats, seeds, 1)) * np.sqrt(between)
                  + random.normal(size=(repeats, seeds, ITEMS)) * np.sqrt(1 - between))
        row = {"seeds": seeds, "variance of the seeds": f"{between:.0%}"}
        for name, way in WAYS.items():
            low, high = way(values, random)
            row[name] = (f"{100 * np.mean((low < 0) & (0 < high)):.0f} % "
                         f"(± {np.median(high - low) / 2:.2f})")
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20_000)
    repeats = parser.parse_args().repeats
    made = tables(rates(repeats), rates(repeats, judged=two_looks, seeds=LOOKS[1:]), repeats)
    made.append({"title": f"How often 95 % intervals cover the truth where each seed has {ITEMS} "
                          "items of its own (median half width)", "command": COMMAND,
                 "rows": coverage(repeats // 10)})
    record("verdicts", made)
    for table in made:
        print("\n" + table["title"])
        for row in table["rows"]:
            print("  " + "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
