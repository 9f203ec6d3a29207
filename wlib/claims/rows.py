"""The claims file: what the papers say, and the rule by which each claim is judged, row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wlib.check import require, require_one_of
from wlib.claims.means import Interval, is_number

SOURCES = ("read in the paper", "in the official code", "from a third party", "unverified")
WHOSE = ("paper", "user")  # whose comparison: its own rivals, or what else one could do
PAPERS = ("mge", "mda", "free", "d2nwg")
QUOTED = "none"  # in the place of a notebook: the book quotes the claim and does not test it
COMPARISONS = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
NEEDED = ("id", "paper", "claim", "figure", "source", "whose", "notebook", "measure", "unit",
          "better", "controls", "margin", "rule")
OPTIONAL = ("references", "remark")


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

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
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
    whose: str
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
    texts = {key: entry[key] for key in ("id", "paper", "claim", "figure", "source", "whose",
                                         "notebook", "measure", "unit", "better")}
    for key, text in texts.items():
        require(isinstance(text, str) and text.strip() != "", f"{where}: {key}", text, "a text")
    require(re.fullmatch(r"[A-Z]\d+[a-z]?", entry["id"]) is not None, f"{where}: id", entry["id"],
            "a letter, a number and perhaps a letter, such as M4a")
    require_one_of(f"{where}: paper", entry["paper"], PAPERS)
    require_one_of(f"{where}: source", entry["source"], SOURCES)
    require_one_of(f"{where}: whose", entry["whose"], WHOSE)
    require_one_of(f"{where}: better", entry["better"], ("higher", "lower"))
    require(is_number(entry["margin"]) and entry["margin"] > 0, f"{where}: margin",
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
    require(is_number(threshold), f"{where}: {given[0]}", threshold, "a number")
    return Rule(entry["quantity"], over, given[0], float(threshold))


def _names(value: Any, where: str) -> tuple[str, ...]:
    fine = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    require(fine and len(set(value)) == len(value), where, value, "a list of different names")
    return tuple(value)
