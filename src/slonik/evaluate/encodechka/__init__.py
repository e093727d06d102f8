"""encodechka: ten tasks and speed for Russian sentence encoders, in the published and in a mended protocol.

`evaluate` scores an encoder, `compare` gives paired differences, `PUBLISHED` are other people's rows. Needs
scikit-learn, scipy and razdel (the extra `evaluate`); no torch.
"""

from slonik.evaluate.encodechka.compare import compare
from slonik.evaluate.encodechka.published import PUBLISHED, PublishedRow
from slonik.evaluate.encodechka.run import Evaluation, evaluate
from slonik.evaluate.encodechka.tasks import AVERAGES, SUITE, TASKS, VARIANTS, Task

__all__ = [
    "AVERAGES",
    "PUBLISHED",
    "SUITE",
    "TASKS",
    "VARIANTS",
    "Evaluation",
    "PublishedRow",
    "Task",
    "compare",
    "evaluate",
]
