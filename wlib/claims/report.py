"""Results with provenance, the claims of the papers, and verdicts that are computed, never typed.

A notebook reports measures with every seed's value and the values of its controls (`Report`).
`book/claims.yml` has one row per claim (`load`). `judge` holds one against the other.
Nothing here imports torch, so that the runner starts fast; tensors and arrays are both taken.
"""

from __future__ import annotations

import datetime
import functools
import json
import math
import os
import platform
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from wlib.check import require, require_one_of, short
from wlib.claims import staleness
from wlib.ground import reach, versions
from wlib.ground.files import write_atomic

SCHEMA = 1
CONFIDENCE = 0.95
RECORDED = ("gpu", "study", "laptop")  # profiles whose recorded runs may be judged, best first
SOURCES = ("read in the paper", "in the official code", "from a third party", "unverified")
PAPERS = ("mge", "mda", "free", "d2nwg")
QUOTED = "none"  # in the place of a notebook: the book quotes the claim and does not test it
MARKS = {"reproduced": "✔", "reproduced, but a control does as well": "≈",
         "not reproduced": "✘", "undecided": "?", "not measured": "–"}
COMPARISONS = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
NEEDED = ("id", "paper", "claim", "figure", "source", "notebook", "measure", "unit", "better",
          "controls", "margin", "rule")
OPTIONAL = ("references", "remark")


# ---------------------------------------------------------------- files
def project_root() -> Path:
    """The book's folder: the nearest one above the current folder that has `profiles/`.

    Outside of any, the folder that this package was installed from.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "profiles").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; `ValueError` naming the file when it is not one."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid YAML: {error}") from error


# ---------------------------------------------------------------- rows
@dataclass(frozen=True)
class Rule:
    """What must hold: a measured value, or the advantage over `over`, against a threshold."""

    quantity: str  # "value" or "advantage"
    over: str | None
    comparison: str
    threshold: float

    def met(self, interval: Interval) -> Any:
        """Whether all of the interval is a success; bounds are numbers or arrays."""
        low, high, t = interval.low, interval.high, self.threshold
        return {"above": low > t, "at_least": low >= t,
                "below": high < t, "at_most": high <= t}[self.comparison]

    def excluded(self, interval: Interval) -> Any:
        """Whether none of the interval is a success; bounds are numbers or arrays."""
        low, high, t = interval.low, interval.high, self.threshold
        return {"above": high <= t, "at_least": high < t,
                "below": low >= t, "at_most": low > t}[self.comparison]

    def words(self, unit: str) -> str:
        """The rule for a table: 'advantage over random > 1 points'."""
        what = f"advantage over {self.over}" if self.over else "value"
        return f"{what} {COMPARISONS[self.comparison]} {self.threshold:g} {unit}"


@dataclass(frozen=True)
class Row:
    """One claim of a paper: what it says, how we measure it, and when we call it reproduced."""

    id: str
    paper: str
    claim: str
    figure: str
    source: str
    notebook: str
    measure: str
    unit: str
    better: str
    controls: tuple[str, ...]
    margin: float
    rule: Rule
    references: tuple[str, ...] = ()
    remark: str = ""


def load(path: Path | str | None = None) -> list[Row]:
    """All rows of the claims file (default: `book/claims.yml`), each checked to be complete.

    `ValueError` names every row and the key that is missing, unknown or wrong.
    """
    path = project_root() / "book" / "claims.yml" if path is None else Path(path)
    entries = read_yaml(path)
    require(isinstance(entries, list), str(path), entries, "a list of rows")
    rows, defects = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(_row(entry, f"{path.name}, row {number}"))
            names = [row.id for row in rows]
            require(names.count(names[-1]) == 1, f"{path.name}, row {number}: id", names[-1],
                    "an id used once")
        except ValueError as error:
            defects.append(str(error))
    if defects:
        raise ValueError("\n".join(defects))
    return rows


def _row(entry: Any, where: str) -> Row:
    require(isinstance(entry, dict), where, entry, "a mapping of keys to values")
    if isinstance(entry.get("id"), str):
        where = f"{where} ({entry['id']})"
    for key in NEEDED:
        require(key in entry, f"{where}: {key}", "nothing", "a value for this key")
    for key in entry:
        require_one_of(f"{where}: key", key, NEEDED + OPTIONAL)
    texts = {key: entry[key] for key in ("id", "paper", "claim", "figure", "source", "notebook",
                                         "measure", "unit", "better")}
    for key, text in texts.items():
        require(isinstance(text, str) and text.strip() != "", f"{where}: {key}", text, "a text")
    require(re.fullmatch(r"[A-Z]\d+[a-z]?", entry["id"]) is not None, f"{where}: id", entry["id"],
            "a letter, a number and perhaps a letter, such as M4a")
    require_one_of(f"{where}: paper", entry["paper"], PAPERS)
    require_one_of(f"{where}: source", entry["source"], SOURCES)
    require_one_of(f"{where}: better", entry["better"], ("higher", "lower"))
    require(_is_number(entry["margin"]) and entry["margin"] > 0, f"{where}: margin",
            entry["margin"], "a number above 0")
    controls = _names(entry["controls"], f"{where}: controls")
    require(len(controls) > 0, f"{where}: controls", entry["controls"], "at least one control")
    references = _names(entry.get("references", []), f"{where}: references")
    remark = entry.get("remark", "")
    require(isinstance(remark, str), f"{where}: remark", remark, "a text")
    rule = _rule(entry["rule"], controls + references, f"{where}: rule")
    return Row(**texts, controls=controls, margin=float(entry["margin"]), rule=rule,
               references=references, remark=remark)


def _rule(entry: Any, rivals: tuple[str, ...], where: str) -> Rule:
    require(isinstance(entry, dict), where, entry, "a mapping such as {quantity: value, above: 1}")
    for key in entry:
        require_one_of(f"{where}: key", key, ("quantity", "over", *COMPARISONS))
    require_one_of(f"{where}: quantity", entry.get("quantity"), ("value", "advantage"))
    over = entry.get("over")
    if entry["quantity"] == "advantage":
        require_one_of(f"{where}: over", over, rivals)
    else:
        require(over is None, f"{where}: over", over, "nothing, because the quantity is value")
    given = [key for key in COMPARISONS if key in entry]
    require(len(given) == 1, where, given, f"exactly one of {', '.join(COMPARISONS)}")
    threshold = entry[given[0]]
    require(_is_number(threshold), f"{where}: {given[0]}", threshold, "a number")
    return Rule(entry["quantity"], over, given[0], float(threshold))


def _names(value: Any, where: str) -> tuple[str, ...]:
    fine = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    require(fine and len(set(value)) == len(value), where, value, "a list of different names")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# ---------------------------------------------------------------- intervals and verdicts
class Interval(NamedTuple):
    """A mean with its 95 % interval; without bounds (infinite) when one seed is all there is."""

    low: float
    mean: float
    high: float

    def words(self, unit: str = "") -> str:
        """'95.7 ± 0.4 points', rounded to what the interval supports."""
        half = self.high - self.mean
        if not math.isfinite(half):
            return f"{self.mean:.3g} {unit}".strip() + " (one seed, no interval)"
        digits = 1 - math.floor(math.log10(half)) if half > 0 else 3
        digits = min(max(digits, 0), 6)
        mean = round(self.mean, digits) + 0.0  # no "-0.0"
        return f"{mean:.{digits}f} ± {half:.{digits}f} {unit}".strip()


def interval(values: Any, image_se: float = 0.0) -> Interval:
    """95 % interval of the mean over seeds, values (S,), with the images' variance added.

    The seeds are few, so their margin is Student's, t(0.975, S-1) · s/√S; the test images are one
    more sample, a large one, so theirs is 1.96 · image_se. The two add in squares, which covers
    the truth in 95 % of cases or a little more, whichever of the two is larger.
    """
    values = _array(values, "values")
    require(values.ndim == 1 and len(values) > 0, "values", values, "shape (S,) with S ≥ 1")
    require(_is_number(image_se) and image_se >= 0, "image_se", image_se, "a number ≥ 0")
    return Interval(*(float(one) for one in intervals(values, image_se)))


def intervals(values: np.ndarray, image_se: Any = 0.0) -> Interval:
    """`interval` for many means at once, unchecked: values (...,S) and image_se (...) or a number.

    The bounds are arrays of shape (...).
    """
    mean, count = values.mean(axis=-1), values.shape[-1]
    if count == 1:
        return Interval(mean - math.inf, mean, mean + math.inf)
    half = np.hypot(_student(count - 1) * values.std(axis=-1, ddof=1) / math.sqrt(count),
                    _student(math.inf) * image_se)
    return Interval(mean - half, mean, mean + half)


@functools.cache
def _student(freedom: float) -> float:
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


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


# ---------------------------------------------------------------- what a notebook reports
class Report:
    """The measures of one run of a notebook, kept with every seed's value and the controls'."""

    def __init__(self, notebook: str, *, seeds: Sequence[int],
                 settings: Mapping[str, Any] | None = None) -> None:
        """Begin a report; the name must be that of the notebook which the runner runs."""
        require(isinstance(notebook, str) and notebook != "", "notebook", notebook, "a name")
        running = os.environ.get("WLIB_NOTEBOOK")
        require(running in (None, notebook), "notebook", notebook, f"{running!r}, which is running")
        seeds = [int(seed) for seed in seeds]
        require(len(seeds) > 0 and len(set(seeds)) == len(seeds), "seeds", seeds,
                "at least one seed, none twice")
        self.notebook, self.seeds = notebook, seeds
        self.settings = _plain(dict(settings or {}), "settings")
        self.measures: dict[str, dict[str, Any]] = {}
        self._rows: list[Row] | None = None

    def rows(self) -> list[Row]:
        """The claims that this notebook is to judge; none if there is no claims file."""
        if self._rows is None:
            path = project_root() / "book" / "claims.yml"
            rows = load(path) if path.exists() else []
            self._rows = [row for row in rows if row.notebook == self.notebook]
        return self._rows

    def measure(self, name: str, method: Any, *, unit: str,
                controls: Mapping[str, Any] | None = None,
                references: Mapping[str, Any] | None = None,
                better: str = "higher", resampled: str = "") -> None:
        """Report one measure: the method's values, its controls' and what else to compare with.

        Each is an array (S,), one value per seed, or (S,B), one value per seed and test image
        in the unit of the measure: then its mean over B counts, and the standard error from
        resampling the images is kept (of each, and of each paired difference to the method). The
        claims file's row of that name must ask for exactly these controls, this unit and direction.
        """
        require(isinstance(name, str) and name != "", "name", name, "the measure's name")
        require(name not in self.measures, "name", name, "a measure not yet reported")
        require(isinstance(unit, str) and unit != "", "unit", unit, "a unit, such as 'points'")
        require_one_of("better", better, ("higher", "lower"))
        entry = summarize(name, method, controls or {}, references or {}, len(self.seeds))
        entry |= {"unit": unit, "better": better, "resampled": resampled}
        for row in self.rows():
            if row.id == name:
                check_measure(row, entry)
        self.measures[name] = entry

    def path(self) -> Path:
        """The results file: where the runner wants it, else under `_build/interactive`."""
        default = project_root() / "_build" / "interactive" / "results" / f"{self.notebook}.json"
        return Path(os.environ.get("WLIB_RESULTS", default))

    def save(self) -> None:
        """Write the results file. Returns nothing, so that no page shows this machine's paths."""
        write_atomic(self.path(), dumps(self.results()))

    def results(self) -> dict[str, Any]:
        """What `save` writes; the runner adds commit, fingerprint, parameters and seconds."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        provenance = {"date": now, "versions": versions.current()} | machine()
        return {"schema": SCHEMA, "notebook": self.notebook,
                "profile": os.environ.get("WLIB_PROFILE", "interactive"),
                "run": os.environ.get("WLIB_RUN", str(uuid.uuid4())), "seeds": self.seeds,
                "settings": self.settings, "provenance": provenance, "measures": self.measures}

    def verdicts(self) -> Any:
        """A table (pandas Styler) of this notebook's claims, judged by this run alone."""
        import pandas as pd  # late: the runner imports this module and draws no table

        lines = []
        for row in self.rows():
            verdict = judge(row, self.measures.get(row.id))
            lines.append({"claim": f"{row.id}: {row.claim}", "rule": row.rule.words(row.unit),
                          "measured": _words(verdict.value_interval, row.unit),
                          "best control": verdict.best_control or "–",
                          "advantage over it": _words(verdict.advantage_interval, row.unit),
                          "verdict": f"{verdict.mark} {verdict.words}"})
        columns = ["claim", "rule", "measured", "best control", "advantage over it", "verdict"]
        table = pd.DataFrame(lines, columns=columns).style.hide(axis="index")
        return table.set_uuid(self.notebook)  # the same page twice, byte for byte


def _words(value: Interval | None, unit: str) -> str:
    return "–" if value is None else value.words(unit)


def judging_fingerprint(rows: Sequence[Row]) -> str:
    """Hash of what a notebook's own table of verdicts depends on beside its measures."""
    shown = [(row.id, row.claim, row.unit, row.better, row.controls, row.margin, repr(row.rule))
             for row in rows]
    return reach.digest(shown)


def summarize(name: str, method: Any, controls: Mapping[str, Any], references: Mapping[str, Any],
              seeds: int) -> dict[str, Any]:
    """Per-seed values, image errors and paired differences of one measure (`Report.measure`)."""
    method = _values(method, f"{name}: method", seeds)
    entry = _summary(method) | {"controls": {}, "references": {}}
    for key, rivals in (("controls", controls), ("references", references)):
        for rival, given in rivals.items():
            where = f"{name}: {key}[{rival!r}]"
            values = _values(given, where, seeds)
            entry[key][rival] = _summary(values) | _difference(method, values, where)
    return entry


def _values(values: Any, where: str, seeds: int) -> np.ndarray:
    array = _array(values, where)
    fits = array.ndim in (1, 2) and array.size > 0 and len(array) == seeds
    require(fits, where, array, f"shape (S,) or (S,B) with S = {seeds} seeds")
    require(array.ndim == 1 or array.shape[1] > 1, where, array, "at least two images")
    return array


def _summary(values: np.ndarray) -> dict[str, Any]:
    if values.ndim == 1:
        return {"values": values.tolist(), "image_se": 0.0}
    return {"values": values.mean(axis=1).tolist(), "image_se": _image_se(values)}


def _image_se(values: np.ndarray) -> float:
    """Standard error of the grand mean of (S,B) when the B images are drawn again."""
    return float(values.mean(axis=0).std(ddof=1) / math.sqrt(values.shape[1]))


def _difference(method: np.ndarray, rival: np.ndarray, name: str) -> dict[str, float]:
    if method.ndim == rival.ndim == 2:
        require(method.shape == rival.shape, name, rival, f"the method's shape {method.shape}")
        return {"difference_image_se": _image_se(method - rival)}
    # One of them has no images to resample: only the other's share is known.
    return {"difference_image_se": sum(_image_se(one) for one in (method, rival) if one.ndim == 2)}


def _array(values: Any, where: str) -> np.ndarray:
    """Numbers of any kind (tensor on any device, array, list) as float64; refuses NaN."""
    kind = getattr(values, "dtype", None)
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double().numpy() if values.dtype.is_floating_point else values.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{where}: got {short(values)}, want an array of numbers") from error
    require(array.dtype.kind in "biuf", where, values if kind is None else str(kind),
            "an array of real numbers")
    array = array.astype(np.float64)
    require(bool(np.isfinite(array).all()), where, values, "finite numbers (some are not)")
    return array


def _plain(value: Any, where: str) -> Any:
    """A setting as JSON keeps it; numbers of numpy and torch become Python's."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=lambda v: v.tolist()))
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{where}: got {short(value)}, want what JSON can hold") from error


def machine() -> dict[str, str]:
    """Where this process runs, for a file's provenance: last digits depend on the instructions."""
    torch = sys.modules.get("torch")  # asked only if the notebook has imported it
    instructions = [] if torch is None else [torch.backends.cpu.get_cpu_capability()]
    return {"device": _device(), "machine": ", ".join([f"{os.cpu_count()} cores",
                                                       platform.machine(), *instructions])}


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    return "cpu"


# ---------------------------------------------------------------- results files
def dumps(results: Mapping[str, Any]) -> str:
    """A results file's text."""
    return json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_results(path: Path | str) -> dict[str, Any]:
    """A results file, checked: schema, name, seeds, and as many values as seeds everywhere."""
    path = Path(path)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not a results file: {error}") from error
    require(isinstance(results, dict) and results.get("schema") == SCHEMA, f"{path}: schema",
            results.get("schema") if isinstance(results, dict) else results, SCHEMA)
    for key, kind in (("notebook", str), ("profile", str), ("run", str), ("seeds", list),
                      ("settings", dict), ("provenance", dict), ("measures", dict)):
        require(isinstance(results.get(key), kind), f"{path}: {key}", results.get(key),
                f"a {kind.__name__}")
    seeds = results["seeds"]
    fine = all(isinstance(seed, int) for seed in seeds) and 0 < len(set(seeds)) == len(seeds)
    require(fine, f"{path}: seeds", seeds, "at least one whole number, none twice")
    for name, measure in results["measures"].items():
        _check_entry(measure, len(results["seeds"]), f"{path}: {name}")
    return results


def _check_entry(measure: Any, seeds: int, where: str) -> None:
    require(isinstance(measure, dict), where, measure, "a measure")
    for key in ("unit", "better", "controls", "references"):
        require(key in measure, f"{where}: {key}", "nothing", "a value")
    require(isinstance(measure["unit"], str), f"{where}: unit", measure["unit"], "a text")
    require_one_of(f"{where}: better", measure["better"], ("higher", "lower"))
    for kind in ("controls", "references"):
        require(isinstance(measure[kind], dict), f"{where}: {kind}", measure[kind], "a mapping")
    rivals = list((measure["controls"] | measure["references"]).items())
    for name, entry in [("values", measure), *rivals]:
        require(isinstance(entry, dict), f"{where}: {name}", entry, "a mapping")
        values = entry.get("values")
        fine = isinstance(values, list) and len(values) == seeds and all(map(_is_number, values))
        require(fine, f"{where}: {name}", values, f"{seeds} finite numbers, one per seed")
        for key in ("image_se", "difference_image_se")[:1 if entry is measure else 2]:
            error = entry.get(key)
            require(_is_number(error) and error >= 0, f"{where}: {name}: {key}", error,
                    "a number ≥ 0")


def records(notebook: str, root: Path | None = None) -> list[dict[str, Any]]:
    """All recorded runs of a notebook, the best first (gpu, then study, then laptop)."""
    folder = (root or project_root()) / "results"
    paths = [folder / profile / f"{notebook}.json" for profile in RECORDED]
    return [load_results(path) for path in paths if path.exists()]


def recorded(notebook: str, root: Path | None = None) -> dict[str, Any] | None:
    """The best recorded run of a notebook, or None."""
    return next(iter(records(notebook, root)), None)


def built(notebook: str, profile: str, root: Path | None = None) -> dict[str, Any] | None:
    """The results of the run under `_build/profile`, or None."""
    path = (root or project_root()) / "_build" / profile / "results" / f"{notebook}.json"
    return load_results(path) if path.exists() else None


def is_stale(results: Mapping[str, Any], root: Path | None = None) -> bool:
    """Whether the notebook, or a module of `wlib` that it reaches, has changed since this run."""
    path = (root or project_root()) / "notebooks" / f"{results['notebook']}.ipynb"
    if not path.exists():
        return True
    now = staleness.notebook_fingerprint(path, results.get("parameters", {}),
                                           installed=results["provenance"].get("versions", {}))
    return now != results.get("fingerprint")
