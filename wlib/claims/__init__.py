"""Results with provenance, the claims of the papers, and verdicts that are computed, never typed.

A notebook reports measures with every seed's value and the values of its controls (`Report`).
`book/claims.yml` has one row per claim (`load`). `judge` holds one against the other.
Nothing here imports torch, so that the runner starts fast; tensors and arrays are both taken.
"""

from wlib.claims.judging import (
    HOLDS,
    NOT_MEASURED,
    QUESTIONS,
    SIMPLER,
    VERDICTS,
    Verdict,
    advantage,
    check_measure,
    corrected,
    does_it_hold,
    is_simpler_as_good,
    judge,
    single,
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
    SECOND,
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
    WHOSE,
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
    "corrected",
    "does_it_hold",
    "dumps",
    "HOLDS",
    "Interval",
    "interval",
    "intervals",
    "is_simpler_as_good",
    "is_stale",
    "judge",
    "judging_fingerprint",
    "load",
    "load_results",
    "machine",
    "NEEDED",
    "NOT_MEASURED",
    "OPTIONAL",
    "PAPERS",
    "project_root",
    "QUESTIONS",
    "QUOTED",
    "read_yaml",
    "RECORDED",
    "SECOND",
    "recorded",
    "records",
    "Report",
    "Row",
    "Rule",
    "SCHEMA",
    "SIMPLER",
    "single",
    "SOURCES",
    "summarize",
    "Verdict",
    "VERDICTS",
    "WHOSE",
]
