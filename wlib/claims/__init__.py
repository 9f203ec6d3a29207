"""Results with provenance, the claims of the papers, and verdicts that are computed, never typed.

A notebook reports measures with every seed's value and the values of its controls (`Report`).
`book/claims.yml` has one row per claim (`load`). `judge` holds one against the other.
Nothing here imports torch, so that the runner starts fast; tensors and arrays are both taken.
"""

from wlib.claims.judging import (
    MARKS,
    Verdict,
    advantage,
    check_measure,
    decide,
    does_as_well,
    judge,
)
from wlib.claims.means import (
    CONFIDENCE,
    Interval,
    interval,
    intervals,
)
from wlib.claims.report import (
    Report,
    judging_fingerprint,
    machine,
    summarize,
)
from wlib.claims.results import (
    RECORDED,
    SCHEMA,
    built,
    dumps,
    is_stale,
    load_results,
    recorded,
    records,
)
from wlib.claims.rows import (
    COMPARISONS,
    NEEDED,
    OPTIONAL,
    PAPERS,
    QUOTED,
    SOURCES,
    Row,
    Rule,
    load,
    project_root,
    read_yaml,
)

__all__ = [
    "advantage",
    "built",
    "check_measure",
    "COMPARISONS",
    "CONFIDENCE",
    "decide",
    "does_as_well",
    "dumps",
    "Interval",
    "interval",
    "intervals",
    "is_stale",
    "judge",
    "judging_fingerprint",
    "load",
    "load_results",
    "machine",
    "MARKS",
    "NEEDED",
    "OPTIONAL",
    "PAPERS",
    "project_root",
    "QUOTED",
    "read_yaml",
    "RECORDED",
    "recorded",
    "records",
    "Report",
    "Row",
    "Rule",
    "SCHEMA",
    "SOURCES",
    "summarize",
    "Verdict",
]
