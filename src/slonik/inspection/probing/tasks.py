"""The fourteen tasks of RuSentEval (Mikhailov et al. 2021, BSNLP): names, files, and what the paper printed.

Literals only. Published figures are accuracies of logistic regression on the authors' data, best layer in brackets;
they compare with nothing measured on other files of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SUITE = "probing"
FOLDER = "rusenteval"
PROTOCOL = "probing-1"
SOURCE = "Mikhailov et al. 2021, table 1"


@dataclass(frozen=True)
class Task:
    """One probing task.

    Attributes:
        id: its name in lower case, also the file's name without ".txt".
        group: what kind of knowledge it asks for. asks: the question, in a few words.
        published: model -> (accuracy, best layer or None), Russian, from the paper.
    """

    id: str
    group: Literal["surface", "syntax", "semantics"]
    asks: str
    published: Mapping[str, tuple[float, int | None]] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The original file name."""
        return f"{self.id}.txt"


def _published(*figures: tuple[float, int | None]) -> dict[str, tuple[float, int | None]]:
    return dict(zip(("mBERT", "LaBSE", "XLM-R", "MiniLM"), figures, strict=True))


TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        Task("sent_len", "surface", "how long is the sentence",
             _published((0.913, 2), (0.933, 1), (0.945, 2), (0.941, 2))),
        Task("word_content", "surface", "which of many words is in it",
             _published((0.848, None), (0.858, None), (0.826, None), (0.728, None))),
        Task("ngram_shift", "syntax", "are two neighbouring words swapped",
             _published((0.848, 8), (0.826, 5), (0.869, 9), (0.805, 9))),
        Task("tree_depth", "syntax", "how deep is its dependency tree",
             _published((0.447, None), (0.461, None), (0.465, None), (0.448, None))),
        Task("conj_type", "syntax", "coordinated or subordinated clauses"),
        Task("gapping", "syntax", "is a verb left out in one clause"),
        Task("impersonal_sent", "syntax", "is the main clause without a subject"),
        Task("subj_number", "semantics", "number of the subject"),
        Task("obj_number", "semantics", "number of the object"),
        Task("subj_gender", "semantics", "gender of the subject"),
        Task("obj_gender", "semantics", "gender of the object"),
        Task("predicate_tense", "semantics", "tense of the predicate",
             _published((0.995, None), (0.998, None), (0.998, None), (0.982, None))),
        Task("predicate_aspect", "semantics", "aspect of the predicate"),
        Task("predicate_voice", "semantics", "voice of the predicate"),
    )
}  # fmt: skip
