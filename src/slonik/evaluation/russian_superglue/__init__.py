"""Russian SuperGLUE 1.1: nine tasks of understanding, their metrics and baselines, predictions and submissions.

`TASKS` are the tasks as literals, `read_examples` reads an official file, `score` gives the official metrics,
`predictions` is the format in which every model's answers are kept. Fine-tuning is another room.
"""

from slonik.evaluation.russian_superglue.metrics import score
from slonik.evaluation.russian_superglue.predictions import Prediction, Predictions, read_predictions, write_predictions
from slonik.evaluation.russian_superglue.readers import find_file, read_examples
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, SUITE, TASKS, Example, Task, items_hash

__all__ = [
    "PROTOCOL",
    "SUITE",
    "TASKS",
    "Example",
    "Prediction",
    "Predictions",
    "Task",
    "find_file",
    "items_hash",
    "read_examples",
    "read_predictions",
    "score",
    "write_predictions",
]
