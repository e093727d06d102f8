"""RuSentEval: what every layer of a model knows about a sentence, with baselines, control tasks and intervals."""

from slonik.inspection.probing.published import published_records
from slonik.inspection.probing.run import (
    POOLINGS,
    PROBES,
    Options,
    Probing,
    baseline_records,
    compare,
    probe,
    read_tasks,
)
from slonik.inspection.probing.tasks import TASKS

__all__ = [
    "POOLINGS",
    "PROBES",
    "TASKS",
    "Options",
    "Probing",
    "baseline_records",
    "compare",
    "probe",
    "published_records",
    "read_tasks",
]
