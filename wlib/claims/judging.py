"""The verdict on a claim: a measure held against its row, computed and never typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wlib.check import require, require_one_of
from wlib.claims.means import Interval, interval
from wlib.claims.rows import QUOTED, Row, Rule

MARKS = {"reproduced": "✔", "reproduced, but a control does as well": "≈",
         "not reproduced": "✘", "undecided": "?", "not measured": "–"}


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about a claim. Intervals are None when nothing was measured."""

    words: str
    reason: str
    rule_interval: Interval | None = None
    value_interval: Interval | None = None
    best_control: str | None = None
    advantage_interval: Interval | None = None  # over the best control; positive = method better

    @property
    def mark(self) -> str:
        return MARKS[self.words]


def advantage(measure: Mapping[str, Any], rival: str) -> Interval:
    """Interval of the paired per-seed difference to a control or reference, positive = better."""
    rivals = measure["controls"] | measure.get("references", {})
    require_one_of("rival", rival, rivals)
    sign = 1 if measure["better"] == "higher" else -1
    difference = np.subtract(measure["values"], rivals[rival]["values"])
    return interval(sign * difference, rivals[rival].get("difference_image_se", 0.0))


def judge(row: Row, measure: Mapping[str, Any] | None) -> Verdict:
    """Hold a measure (as a results file has it, or None) against a row of the claims file.

    `ValueError` if the measure lacks or adds a control, or has another unit or direction.
    """
    if measure is None:
        return Verdict("not measured", "the book quotes it and does not test it"
                       if row.notebook == QUOTED else "no run has measured it")
    check_measure(row, measure)
    value = interval(measure["values"], measure.get("image_se", 0.0))
    over = {name: advantage(measure, name) for name in row.controls}
    best = min(over, key=lambda name: over[name].mean)
    ruled = value if row.rule.quantity == "value" else advantage(measure, row.rule.over)
    rule = f"{ruled.words(row.unit)}, rule: {row.rule.words(row.unit)}"
    words = str(decide(row.rule, row.margin, ruled, list(over.values())))
    if words == "reproduced, but a control does as well":
        best = min((name for name in row.controls if does_as_well(over[name], row.margin)),
                   key=lambda name: over[name].mean)
    rival = f"advantage over {best}: {over[best].words(row.unit)}"
    if words == "not reproduced":
        reason = f"the rule fails ({rule})"
    elif not row.rule.met(ruled):
        reason = f"the interval neither meets nor excludes the rule ({rule})"
    elif words == "undecided":
        reason = f"the rule holds ({rule}), but it is open whether {best} does as well ({rival})"
    elif words == "reproduced":
        reason = f"the rule holds ({rule}) and no control does as well ({rival})"
    else:
        near = f"{best} is within {row.margin:g} {row.unit} ({rival})"
        reason = f"the rule holds ({rule}), but {near}"
    return Verdict(words, reason, ruled, value, best, over[best])


def decide(rule: Rule, margin: float, ruled: Interval, over: Sequence[Interval]) -> np.ndarray:
    """The words of a verdict, from the interval that the rule asks for and those of the advantages.

    Bounds are numbers, or arrays of one shape for many verdicts at once.
    """
    beaten = np.all([one.low > 0 for one in over], axis=0)
    as_well = np.any([does_as_well(one, margin) for one in over], axis=0)
    return np.select(
        [rule.excluded(ruled), np.logical_not(rule.met(ruled)), beaten, as_well],
        ["not reproduced", "undecided", "reproduced", "reproduced, but a control does as well"],
        "undecided")


def does_as_well(advantage: Interval, margin: float) -> Any:
    """Whether a control does as well: its interval is not above 0 and lies below the margin."""
    return np.logical_and(advantage.low <= 0, advantage.high < margin)


def check_measure(row: Row, measure: Mapping[str, Any]) -> None:
    """Refuse a measure that is not the one its row asks for."""
    for key in ("unit", "better"):
        require(measure[key] == getattr(row, key), f"{row.id}: {key}", measure[key],
                f"{getattr(row, key)!r}, as in the claims file")
    missing = [name for name in row.controls if name not in measure["controls"]]
    require(not missing, f"{row.id}: controls", sorted(measure["controls"]),
            f"all that the claims file names (missing: {', '.join(missing)})")
    extra = [name for name in measure["controls"] if name not in row.controls]
    require(not extra, f"{row.id}: controls", extra,
            f"only those that the claims file names ({', '.join(row.controls)}); give other "
            "comparisons as references")
    missing = [name for name in row.references if name not in measure.get("references", {})]
    require(not missing, f"{row.id}: references", sorted(measure.get("references", {})),
            f"all that the claims file names (missing: {', '.join(missing)})")
