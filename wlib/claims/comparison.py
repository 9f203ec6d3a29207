"""Arms of an experiment side by side: means, paired differences, closest rival, tables, report.

Every interval is that of `claims.interval` or `claims.advantage`, so that what a page says of a
lead is what the verdict says. Letters: S seeds, B test images (or data sets, or episodes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from wlib import claims
from wlib.check import require, require_one_of

NOTHING = "–"  # in the place of an interval that there is not


@dataclass(frozen=True, eq=False)
class Comparison:
    """Values of several arms on the same seeds, perhaps on the same images: pairs throughout.

    `values` maps each arm to an array (S,), one value per seed, or (S,B), one per seed and image,
    in the order of `seeds`, or a list of such rows; all arms with images have the same B. The other
    fields are those of `Report.measure`: the unit, which direction is better, what was resampled.
    """

    values: Mapping[str, Any]
    seeds: Sequence[int]
    unit: str = "points"
    better: str = "higher"
    resampled: str = ""

    def __post_init__(self) -> None:
        require(len(set(self.seeds)) == len(self.seeds) > 0, "seeds", self.seeds,
                "at least one seed, none twice")
        require(isinstance(self.unit, str) and self.unit != "", "unit", self.unit, "a unit")
        require_one_of("better", self.better, ("higher", "lower"))
        require(len(self.values) > 0, "values", self.values, "at least one arm")
        for arm, given in self.values.items():
            claims.summarize(f"values[{arm!r}]", given, {}, {}, len(self.seeds))  # refuses
        arrays = {arm: _array(given) for arm, given in self.values.items()}
        images = {array.shape[1] for array in arrays.values() if array.ndim == 2}
        require(len(images) < 2, "values", sorted(images), "the same images for all arms")
        object.__setattr__(self, "values", arrays)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, column: str, seeds: Sequence[int], *,
                   arm: str = "arm", **about: str) -> Comparison:
        """Read a column of a table with one row per arm and seed, in columns `arm` and "seed".

        Several rows of one arm and seed count as their mean.
        """
        for name in (column, arm, "seed"):
            require(name in frame, "frame", list(frame), f"a table with the column {name!r}")
        require(bool(frame[column].notna().all()), f"frame[{column!r}]", frame[column],
                "numbers (some are missing)")
        mean = frame.groupby([arm, "seed"], sort=False, observed=True)[column].mean()
        parts: dict[Any, pd.Series] = {one: part.droplevel(0) for one, part in
                                       mean.groupby(level=0, sort=False)}
        for one, part in parts.items():
            require(set(part.index) == set(seeds), f"frame: seeds of {one!r}", list(part.index),
                    f"the seeds {list(seeds)}")
        return cls({one: part.loc[list(seeds)].to_numpy() for one, part in parts.items()},
                   seeds, **about)

    # ------------------------------------------------------------ values
    def __getitem__(self, arm: str) -> np.ndarray:
        """The values of an arm, (S,) or (S,B)."""
        require_one_of("arm", arm, self.values)
        return self.values[arm]

    def per_seed(self, arm: str) -> np.ndarray:
        """One value per seed, (S,): the mean over images where there are some."""
        values = self[arm]
        return values if values.ndim == 1 else values.mean(axis=1)

    def others(self, *arms: str) -> list[str]:
        """All arms but these."""
        for arm in arms:
            require_one_of("arm", arm, self.values)
        return [arm for arm in self.values if arm not in arms]

    def part(self, images: slice | np.ndarray) -> Comparison:
        """The same arms on some of the images; a single image leaves one value per seed."""
        for arm, values in self.values.items():
            require(values.ndim == 2, f"values[{arm!r}]", values, "shape (S,B)")
        some = {arm: values[:, images] for arm, values in self.values.items()}
        return replace(self, values={arm: values[:, 0] if values.shape[1] == 1 else values
                                     for arm, values in some.items()})

    def minus(self, reference: str) -> Comparison:
        """The other arms' paired differences to one of them, whichever direction is better."""
        base = self[reference]
        for arm in self.others(reference):
            require(self[arm].ndim == base.ndim, f"values[{arm!r}]", self[arm],
                    f"an array like that of {reference!r}, with shape {base.shape}")
        return replace(self, values={arm: self[arm] - base for arm in self.others(reference)})

    # ------------------------------------------------------------ intervals
    def interval(self, arm: str) -> claims.Interval:
        """An arm's mean with its interval over seeds and images."""
        entry = claims.summarize(arm, self[arm], {}, {}, len(self.seeds))
        return claims.interval(entry["values"], entry["image_se"])

    def mean(self, arm: str) -> float:
        """An arm's mean over seeds and images."""
        return self.interval(arm).mean

    def lead(self, method: str, over: str) -> claims.Interval:
        """Paired difference of two arms, signed so that above 0 the first is the better one."""
        entry = claims.summarize(method, self[method], {over: self[over]}, {}, len(self.seeds))
        return claims.advantage(entry | {"better": self.better}, over)

    def ranking(self, arms: Iterable[str] | None = None) -> list[str]:
        """Arms from the best mean to the worst."""
        sign = -1 if self.better == "higher" else 1
        return sorted(self.values if arms is None else arms, key=lambda arm: sign * self.mean(arm))

    def closest(self, method: str, rivals: Iterable[str] | None = None
                ) -> tuple[str, claims.Interval]:
        """The best of the rivals (of all others), and the method's lead over it."""
        ranked = self.ranking(self.others(method) if rivals is None else rivals)
        require(ranked != [], "rivals", ranked, "at least one")
        return ranked[0], self.lead(method, ranked[0])

    # ------------------------------------------------------------ tables and the report
    def words(self, arms: Iterable[str] | None = None, *, unit: bool = False) -> dict[str, str]:
        """Each arm's mean with its interval in words, with or without the unit."""
        arms, said = self.values if arms is None else arms, self.unit if unit else ""
        return {arm: self.interval(arm).words(said) for arm in arms}

    def frame(self, column: str = "value") -> pd.DataFrame:
        """One row per arm and seed, for figures: `arm`, `seed` and the mean over images."""
        return pd.DataFrame([{"arm": arm, "seed": seed, column: value} for arm in self.values
                             for seed, value in zip(self.seeds, self.per_seed(arm).tolist(),
                                                    strict=True)])

    def table(self, column: str, *, over: str | None = None,
              arms: Iterable[str] | None = None) -> pd.DataFrame:
        """One row per arm: its mean, and its lead over one of them, in words."""
        table = pd.DataFrame({"arm": list(self.values if arms is None else arms)})
        table[column] = list(self.words(table["arm"]).values())
        if over is not None:
            table[f"against {over}"] = [NOTHING if arm == over else self.lead(arm, over).words()
                                        for arm in table["arm"]]
        return table

    def report(self, report: claims.Report, name: str, method: str, *,
               controls: Sequence[str] | Mapping[str, str] = (),
               references: Sequence[str] | Mapping[str, str] = ()) -> None:
        """Report an arm as the measure `name`, beside others.

        `controls` and `references` are arms, or map the names that the claim gives them to arms.
        """
        require(list(self.seeds) == report.seeds, "seeds", list(self.seeds),
                f"{report.seeds}, as the report has them")
        rivals = {kind: {name: self[arm] for name, arm in _named(arms).items()}
                  for kind, arms in (("controls", controls), ("references", references))}
        report.measure(name, self[method], unit=self.unit, better=self.better,
                       resampled=self.resampled, **rivals)


def side_by_side(columns: Mapping[str, Comparison],
                 arms: Iterable[str] | None = None) -> pd.DataFrame:
    """Means in words: one row per arm, one column per comparison, a dash for a missing arm."""
    words = {title: one.words() for title, one in columns.items()}
    every = dict.fromkeys(arm for one in words.values() for arm in one) if arms is None else arms
    return pd.DataFrame({title: [one.get(arm, NOTHING) for arm in every]
                         for title, one in words.items()}, index=list(every))


def stands(gap: claims.Interval, ahead: str = "ahead", behind: str = "behind",
           same: str = "cannot be told apart") -> str:
    """What an interval of differences allows to say, in the words that the sentence needs."""
    return ahead if gap.low > 0 else behind if gap.high < 0 else same


def readings(leads: Mapping[tuple[str, str, str], claims.Interval],
             unit: str = "points") -> pd.DataFrame:
    """One row per lead, {(claim, what, against): interval}: difference in words and reading."""
    rows = [(*what, gap.words(unit), stands(gap)) for what, gap in leads.items()]
    return pd.DataFrame(rows, columns=["claim", "what", "against", "difference", "reading"])


def _array(values: Any) -> np.ndarray:
    """Numbers that have been checked, as float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double()
    return np.asarray(values, dtype=np.float64)


def _named(arms: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    return dict(arms) if isinstance(arms, Mapping) else {arm: arm for arm in arms}
