"""Named entities: exact-span F1 of taggers on annotated documents, with intervals, differences and every error.

`evaluate` runs a tagger on documents, `score` measures predictions made elsewhere (cross-validation), `compare` gives
paired differences, `Evaluation.errors` what went wrong. A tagger never learns that it is measured.
"""

from __future__ import annotations

from slonik.tagging.evaluation.compare import compare
from slonik.tagging.evaluation.run import Evaluation, evaluate, score
from slonik.tagging.evaluation.tasks import SECCOLL, TASKS, NerTask

__all__ = ["SECCOLL", "TASKS", "Evaluation", "NerTask", "compare", "evaluate", "score"]
