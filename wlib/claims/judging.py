"""Two answers to a claim, computed and never typed: does it hold, and is a simpler way as good?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wlib.check import require, require_one_of
from wlib.claims.means import CONFIDENCE, Interval, interval
from wlib.claims.rows import QUOTED, Row, Rule

NOT_MEASURED = "not measured"
HOLDS = {"yes": "✔", "makes no difference": "=", "no": "✘", "open": "?", NOT_MEASURED: "–"}
SIMPLER = {"ahead": "▲", "level": "≈", "behind": "▼", "open": "?", NOT_MEASURED: "–"}
QUESTIONS = {"holds": ("does it hold?", HOLDS), "simpler": ("is a simpler way as good?", SIMPLER)}
VERDICTS = ("reproduced", "reproduced, but a control does as well", "not reproduced", "undecided",
            NOT_MEASURED)      # one word for both: how the book judged before it asked twice


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about a claim. Intervals are None when nothing was measured.

    `holds` and `simpler` are the two answers, `words` the single verdict of before.
    """

    holds: str
    simpler: str
    words: str
    why_holds: str
    why_simpler: str
    rule_interval: Interval | None = None
    value_interval: Interval | None = None
    best_control: str | None = None
    # Over the best control, positive = method better: the interval that decided.
    advantage_interval: Interval | None = None

    @property
    def answers(self) -> tuple[str, str]:
        """Both answers, in the order of `QUESTIONS`."""
        return self.holds, self.simpler

    @property
    def marks(self) -> tuple[str, str]:
        """'✔ yes' and '▲ ahead', as the whole book shows them."""
        return f"{HOLDS[self.holds]} {self.holds}", f"{SIMPLER[self.simpler]} {self.simpler}"


def advantage(measure: Mapping[str, Any], rival: str, tests: int = 1) -> Interval:
    """Interval of the paired per-seed difference to a control or reference, positive = better.

    Where the method meets several rivals and one win of theirs counts, `tests` is their number:
    each interval is then wider, so that all of them together err in 5 % of cases (Bonferroni,
    the first step of Holm's procedure).
    """
    rivals = measure["controls"] | measure.get("references", {})
    require_one_of("rival", rival, rivals)
    sign = 1 if measure["better"] == "higher" else -1
    difference = np.subtract(measure["values"], rivals[rival]["values"])
    return interval(sign * difference, rivals[rival].get("difference_image_se", 0.0),
                    corrected(tests))


def corrected(tests: int) -> float:
    """The confidence of each of several intervals that together keep the book's."""
    return 1 - (1 - CONFIDENCE) / tests


def judge(row: Row, measure: Mapping[str, Any] | None) -> Verdict:
    """Hold a measure (as a results file has it, or None) against a row of the claims file.

    `ValueError` if the measure lacks or adds a control, or has another unit or direction.
    """
    if measure is None:
        why = ("the book quotes it and does not test it" if row.notebook == QUOTED
               else "no run has measured it")
        return Verdict(NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, why, why)
    check_measure(row, measure)
    value = interval(measure["values"], measure.get("image_se", 0.0))
    over = {name: advantage(measure, name) for name in row.controls}
    wide = {name: advantage(measure, name, len(row.controls)) for name in row.controls}
    ruled = value if row.rule.over is None else advantage(measure, row.rule.over)
    holds = str(does_it_hold(row.rule, row.margin, ruled))
    simpler = str(is_simpler_as_good(row.margin, [*over.values()], [*wide.values()]))
    best = _decisive(simpler, row.margin, over, wide)
    shown, width = over[best], ""
    if simpler != "ahead" and len(wide) > 1:        # the wide ones decided
        shown, width = wide[best], f", an interval for {len(wide)} controls at once"
    return Verdict(holds, simpler, str(single(row.rule, row.margin, ruled, [*over.values()])),
                   f"{WHY_HOLDS[holds]} ({ruled.words(row.unit)}; rule: "
                   f"{row.rule.words(row.unit)})",
                   f"{WHY_SIMPLER[simpler].format(best)} (advantage over {best}: "
                   f"{shown.words(row.unit)}{width})",
                   ruled, value, best, shown)


WHY_HOLDS = {"yes": "the whole interval meets the rule", "no": "the whole interval fails the rule",
             "makes no difference": "the interval lies around the threshold, within the margin",
             "open": "the interval neither meets nor excludes the rule"}
WHY_SIMPLER = {"ahead": "better than every control; {} is the closest",
               "level": "{} is within the margin, and no control is further ahead",
               "behind": "{} is better", "open": "it is open whether {} does as well"}


def _decisive(simpler: str, margin: float, over: Mapping[str, Interval],
              wide: Mapping[str, Interval]) -> str:
    """The control that the second answer rests on: of those that give it, the best."""
    give = {"behind": lambda name: wide[name].high < 0,
            "level": lambda name: _is_level(margin, over[name], wide[name])}
    names = [name for name in over if give.get(simpler, lambda _: True)(name)]
    return min(names, key=lambda name: over[name].mean)


# ---- the two questions; bounds are numbers, or arrays of one shape for many claims at once -------
def does_it_hold(rule: Rule, margin: float, ruled: Interval) -> np.ndarray:
    """yes, no, makes no difference or open, from the interval that the rule asks for."""
    around = ((ruled.low > rule.threshold - margin) & (ruled.high < rule.threshold + margin))
    return np.select([rule.met(ruled), rule.excluded(ruled), around],
                     ["yes", "no", "makes no difference"], "open")


def is_simpler_as_good(margin: float, over: Sequence[Interval], wide: Sequence[Interval]
                       ) -> np.ndarray:
    """ahead, behind, level or open, from the advantages over all controls.

    `over` has their own intervals, and `wide` those corrected for the number of controls, because
    one control of many is enough for *behind* and *level*; *ahead* has to be shown for all.
    """
    ahead = np.all([one.low > 0 for one in over], axis=0)
    behind = np.any([one.high < 0 for one in wide], axis=0)
    level = (np.all([one.low > -margin for one in over], axis=0)
             & np.any([_is_level(margin, *pair) for pair in zip(over, wide, strict=True)], axis=0))
    return np.select([ahead, behind, level], ["ahead", "behind", "level"], "open")


def _is_level(margin: float, over: Interval, wide: Interval) -> Any:
    """Whether one control is as good: not beaten, and its whole interval within the margin."""
    return np.logical_and.reduce([over.low <= 0, wide.low > -margin, wide.high < margin])


def single(rule: Rule, margin: float, ruled: Interval, over: Sequence[Interval]) -> np.ndarray:
    """The one verdict that the book gave before it asked two questions, for comparison."""
    beaten = np.all([one.low > 0 for one in over], axis=0)
    as_well = np.any([np.logical_and(one.low <= 0, one.high < margin) for one in over], axis=0)
    return np.select([rule.excluded(ruled), np.logical_not(rule.met(ruled)), beaten, as_well],
                     [VERDICTS[2], VERDICTS[3], VERDICTS[0], VERDICTS[1]], VERDICTS[3])


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
