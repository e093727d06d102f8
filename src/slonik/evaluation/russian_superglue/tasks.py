"""The nine tasks of Russian SuperGLUE as literals: folder, files, fields, labels, metrics; and what an example is.

Source: Shavrina et al. 2020 (EMNLP, 2020.emnlp-main.381) and https://github.com/RussianNLP/RussianSuperGLUE (MIT);
version 1.1 (Fenogenova et al. 2021, arXiv:2202.07791) changed the data of RUSSE, DaNetQA, RuCoS, MuSeRC and LiDiRus,
so that scores of 1.0 and 1.1 do not mix. SHA-256 of each task's archive: the download checksums that the `datasets`
library recorded for the site. A published task is never edited here: a change would be a new version beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from slonik.core.errors import SlonikError
from slonik.core.hashing import sha256_json

SUITE = "russian_superglue"
VERSION = "1.1"
PROTOCOL = f"{SUITE}-{VERSION}"
SCORE = "score"  # the nine-task mean, a task of its own in records

Label: TypeAlias = bool | int | str
Idx: TypeAlias = int | str
Kind = Literal["inference", "choice", "answers", "word", "coreference", "question", "cloze"]

_FILES = MappingProxyType(
    {"train": "train.jsonl", "val": "val.jsonl", "val_crowd": "val_crowd.jsonl", "test": "test.jsonl"}
)


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        id: lower-case name used in records.
        name: the task's official name: its folder, and its file in a submission.
        about: one line for people.
        kind: what is asked: "inference" (two texts), "choice" (one of two sentences), "answers" (each answer option
            of a question is right or not), "word" (same sense in two contexts), "coreference" (a pronoun and a
            span), "question" (yes or no to a passage), "cloze" (which entity fills the gap).
        labels: what a label may be, in the official spelling and type; empty where it is any text.
        metrics: names of the task's one or two metrics, in the site's order; the task's value is their mean.
        texts: fields of an example that hold its text, in the order in which the published baseline joins them.
        url: where the site serves the task's archive.
        sha256: hash of that archive.
        sizes: split -> rows of the official file, where known.
        human: the human level, per metric (leaderboard).
        files: split -> file name; `val_crowd` is not official: test items labelled by the public human annotation.
        train_on: the task whose training data serves this one, for a diagnostic set without any.
        licence: of the data.
        version: of the benchmark.
    """

    id: str
    name: str
    about: str
    kind: Kind
    labels: tuple[Label, ...]
    metrics: tuple[str, ...]
    texts: tuple[str, ...]
    url: str
    sha256: str
    sizes: Mapping[str, int]
    human: tuple[float, ...]
    files: Mapping[str, str] = field(default_factory=lambda: _FILES)
    train_on: str | None = None
    licence: str = "MIT"
    version: str = VERSION


_SITE = "https://russiansuperglue.com/tasks/download"
_ENTAILMENT = ("entailment", "not_entailment")


def _task(
    name: str, about: str, kind: Kind, labels: tuple[Label, ...], metrics: tuple[str, ...], texts: tuple[str, ...],
    sha256: str, human: tuple[float, ...], sizes: Mapping[str, int], **more: Any,
) -> Task:  # fmt: skip
    """A task under its official name, which is also that of its archive."""
    return Task(
        name.lower(), name, about, kind, labels, metrics, texts, f"{_SITE}/{name}", sha256, MappingProxyType(sizes),
        human, **more,
    )  # fmt: skip


TASKS: dict[str, Task] = {
    task.id: task
    for task in (
        _task("LiDiRus", "diagnostic of entailment by linguistic category; answered by a model of TERRa", "inference",
              _ENTAILMENT, ("matthews",), ("sentence1", "sentence2"),
              "e1bc2c55cadbc98b0e77a43e1560af8e2fe336ab4bc372f545f69cb48a479cdc", (0.626,), {"test": 1104},
              files=MappingProxyType({"val_crowd": "val_crowd.jsonl", "test": "LiDiRus.jsonl"}), train_on="terra"),
        _task("RCB", "does the speaker commit to the clause: entailment, contradiction or neither (CommitmentBank)",
              "inference", ("entailment", "contradiction", "neutral"), ("macro_f1", "accuracy"),
              ("premise", "hypothesis"),
              "9ecc0bd0cc04e04922349212452166404b5a75b67be9e6aa996c80c64beb6ddb", (0.68, 0.702),
              {"train": 438, "val": 220, "test": 438}),
        _task("PARus", "which of two sentences is the cause or the effect of the premise (COPA)", "choice",
              (0, 1), ("accuracy",), ("premise", "question", "choice1", "choice2"),
              "7093c859a6ab07eab54c86cdd686b7b14afffee46abcd3e2d43876b1fdb8fa59", (0.982,),
              {"train": 400, "val": 100, "test": 500}),
        _task("MuSeRC", "which answer options are right, from several sentences of a passage (MultiRC)", "answers",
              (0, 1), ("f1a", "em"), ("passage", "question", "answer"),
              "679d69df99113d8ca6416eda5583a81ab324f5438097216a416d09e745d2f668", (0.806, 0.42),
              {"train": 500, "val": 100, "test": 322}),
        _task("TERRa", "does the hypothesis follow from the premise (RTE)", "inference",
              _ENTAILMENT, ("accuracy",), ("premise", "hypothesis"),
              "fc7320210b5b6f7087615f13558868de55f46d5e0e365d9d82968c66e6e0dba7", (0.92,),
              {"train": 2616, "val": 307, "test": 3198}),
        _task("RUSSE", "is a word used in one sense in two sentences (WiC)", "word",
              (False, True), ("accuracy",), ("sentence1", "sentence2", "word"),
              "60ecf42ea0f3893e857e0a9522ab92a2ae2ec713d1ab361f2f6f594d0f5324a5", (0.805,),
              {"train": 19845, "val": 8505, "test": 18892}),
        _task("RWSD", "does the pronoun refer to the span (Winograd schemas)", "coreference",
              (False, True), ("accuracy",), ("text", "span1_text", "span2_text"),
              "65894cf114f022a0469bbd535f045d50880e03aa822cd1f3693a54b3665fa962", (0.84,),
              {"train": 606, "val": 204, "test": 154}),
        _task("DaNetQA", "yes or no to a question about a passage (BoolQ)", "question",
              (False, True), ("accuracy",), ("question", "passage"),
              "b5b4bcfe17e1eb16aa13a7aab4ca088871e27b0851468e9a07b9b528bb42fb96", (0.915,),
              {"train": 1749, "val": 821, "test": 805}),
        _task("RuCoS", "which entity of a news text fills the gap in its summary (ReCoRD)", "cloze",
              (), ("f1", "em"), ("passage", "query"),
              "e2f42700122e79cfcce792b54df792630f033eb21e14863cede5852f3aa0d078", (0.93, 0.89),
              {"train": 72193, "val": 7577, "test": 7257}),
    )
}  # fmt: skip


def label_name(label: Label) -> str:
    """A label as the key of a dictionary of probabilities: "true", "1", "entailment", an entity's text.

    One spelling each way, so that True, "true" and 1 are never confused.
    """
    return str(label).lower() if isinstance(label, bool) else str(label)


def label_names(task: Task) -> tuple[str, ...]:
    """Names of a task's labels, in the order of `Task.labels`; empty for RuCoS."""
    return tuple(label_name(label) for label in task.labels)


def parse_label(task: Task, value: Any, where: str) -> Label:
    """A label read from JSON, in the task's own type.

    Besides the official spelling, its name as text is taken ("true", "False", "1"), and 0 and 1 for False and True.

    Args:
        where: file and line, for the sentence.

    Raises:
        SlonikError: no label of this task.
    """
    if not task.labels:
        if isinstance(value, str) and value.strip():
            return value
        raise SlonikError(f"{where}: the label {value!r} is not a text: {task.name} is answered with an entity")
    for label in task.labels:
        if type(value) is type(label) and value == label:
            return label
        if isinstance(value, str) and value.lower() == label_name(label):
            return label
        if isinstance(label, bool) and type(value) is int and value == int(label):
            return label
    allowed = ", ".join(repr(label) for label in task.labels)
    raise SlonikError(f"{where}: {value!r} is not a label of {task.name}: it must be one of {allowed}")


@dataclass(frozen=True)
class Example:
    """The smallest thing that gets an answer of its own: what is asked, and the right answer where it is known.

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
