"""What a notebook reports: measures with every seed's value and the values of their controls."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wlib.check import require, require_one_of, short
from wlib.claims.judging import QUESTIONS, check_measure, judge
from wlib.claims.means import Interval, as_array
from wlib.claims.results import SCHEMA, dumps
from wlib.claims.rows import Row, load, project_root
from wlib.ground import reach, versions
from wlib.ground.files import write_atomic


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
            closest = f" over {verdict.best_control}" if verdict.best_control else ""
            lines.append([row.id, *verdict.marks, row.claim, row.rule.words(row.unit),
                          _words(verdict.rule_interval, row.unit),
                          _words(verdict.advantage_interval, row.unit) + closest])
        columns = ["id", *(title for title, _ in QUESTIONS.values()), "claim", "rule", "effect",
                   "closest control"]
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
    array = as_array(values, where)
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
