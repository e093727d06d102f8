"""encodechka: ten tasks and speed for Russian sentence encoders, in the published and in a mended protocol.

`encodechka` measures several encoders, `evaluate` scores one, `compare` gives paired differences, `PUBLISHED` are other
people's rows. Needs scikit-learn, scipy and razdel (the extra `evaluate`); no torch.
"""

from slonik.evaluation.encodechka.comparison import compare
from slonik.evaluation.encodechka.run import EncoderScores, evaluate
from slonik.evaluation.encodechka.suite import encodechka
from slonik.evaluation.encodechka.tasks import AVERAGES, PUBLISHED, SUITE, TASKS, VARIANTS, PublishedRow, Task

__all__ = [
    "AVERAGES",
    "PUBLISHED",
    "SUITE",
    "TASKS",
    "VARIANTS",
    "EncoderScores",
    "PublishedRow",
    "Task",
    "compare",
    "encodechka",
    "evaluate",
]
