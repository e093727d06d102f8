"""An example of a task: what is asked, and the right answer where it is known. Reading files is done in `readers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from slonik.core.hashing import sha256_json
from slonik.evaluation.russian_superglue.tasks import Label

Idx: TypeAlias = int | str


@dataclass(frozen=True)
class Example:
    """The smallest thing that gets an answer of its own.

    Attributes:
        idx: the row's official number; "passage/question/answer" for an answer option of MuSeRC; "row/query" for a
            query of RuCoS in a row that has several.
        fields: what is asked, under the official names (`target` of RWSD and the passage of MuSeRC and RuCoS laid
            flat); RuCoS: `entities`, the different candidates in order of their first mention.
        label: the right answer; None where it is not given, and in RuCoS, where several texts may be right.
        answers: RuCoS: the texts that are right; empty elsewhere and where they are not given.
        cluster: what is drawn as one when resampling: the passage of MuSeRC, the item elsewhere.
        group: what counts as one in exact match: the question of MuSeRC, the item elsewhere.
    """

    idx: Idx
    fields: Mapping[str, Any]
    label: Label | None = None
    answers: tuple[str, ...] = ()
    cluster: str = ""
    group: str = ""

    @property
    def is_labelled(self) -> bool:
        """Whether the right answer is known."""
        return self.label is not None or bool(self.answers)


def items_hash(examples: Sequence[Example]) -> str:
    """SHA-256 over numbers and texts, not over labels: equal for a test file with and without its answers."""
    return sha256_json([[example.idx, dict(example.fields)] for example in examples])
