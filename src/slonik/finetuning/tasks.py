"""The tasks of Russian SuperGLUE as items: which texts go in, which head reads them, what an output means.

One entry per task; no training here. PARus and RuCoS are choices among candidates, RUSSE and RWSD compare marked
spans, the rest are pairs of texts. LiDiRus is answered by a TERRa model. How a task is put in words is in `prompts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slonik.core.errors import lookup
from slonik.evaluation.russian_superglue.metrics import entity_key, normalise_answer
from slonik.evaluation.russian_superglue.predictions import Prediction
from slonik.evaluation.russian_superglue.tasks import PROTOCOL, TASKS, Example, label_names
from slonik.finetuning.items import Floats, Item, with_pairs
from slonik.finetuning.prompts import ask
from slonik.text.pairs import TaskInput, TextSpan
from slonik.text.task_config import Target, TaskConfig

LEARNED_FROM = "learned_from"
"""Detail of a cross-fitted task model: hash of the items, most of which it has learned from."""


@dataclass(frozen=True)
class TaskShape:
    """How a task is put to an encoder.

    Attributes:
        kind: the head. target: what its outputs mean.
        texts: example -> input.
        group: field whose equal values keep examples on one side of a split.
        max_length: tokens of an input.
        pairs: texts jointly or apart.
        head: options of the head.
        tuning: where the task wants other settings than the default.
    """

    kind: str
    target: Target
    texts: Callable[[Mapping[str, Any], str], TaskInput]
    group: str
    max_length: int = 128
    pairs: str = "joint"
    head: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)


def _two(first: str, second: str) -> Callable[[Mapping[str, Any], str], TaskInput]:
    def texts(fields: Mapping[str, Any], pairs: str) -> TaskInput:
        return pair_input(fields[first], fields[second], pairs)

    return texts


def pair_input(first: str, second: str, pairs: str) -> TaskInput:
    """Two texts as one joint input, or as one input each."""
    return TaskInput(((first, second),) if pairs == "joint" else ((first,), (second,)))


def _parus(fields: Mapping[str, Any], _: str) -> TaskInput:
    """A row per choice, always "cause, effect": the order says what the question asks."""
    rows = []
    for name in ("choice1", "choice2"):
        pair = (fields["premise"], fields[name])
        rows.append(pair if fields["question"].strip().lower() == "effect" else pair[::-1])
    return TaskInput(tuple(rows))


def _muserc(fields: Mapping[str, Any], _: str) -> TaskInput:
    return TaskInput(((fields["passage"], f"{fields['question']} {fields['answer']}"),))


def _rucos(fields: Mapping[str, Any], _: str) -> TaskInput:
    passage = fields["passage"].replace("\n@highlight\n", " ")
    entities = fields["entities"] or [""]
    return TaskInput(tuple((passage, fields["query"].replace("@placeholder", entity)) for entity in entities))


def _russe(fields: Mapping[str, Any], pairs: str) -> TaskInput:
    marks = [(fields[f"start{number}"], fields[f"end{number}"]) for number in "12"]
    texts = (fields["sentence1"], fields["sentence2"])
    if pairs == "joint":
        return TaskInput((texts,), tuple(TextSpan(0, part, *mark) for part, mark in enumerate(marks)))
    return TaskInput(((texts[0],), (texts[1],)), tuple(TextSpan(row, 0, *mark) for row, mark in enumerate(marks)))


def _rwsd(fields: Mapping[str, Any], _: str) -> TaskInput:
    text = fields["text"]
    spans = [word_span(text, fields[f"span{n}_text"], fields[f"span{n}_index"]) for n in "12"]
    return TaskInput(((text,),), tuple(TextSpan(0, 0, *span) for span in spans))


def word_span(text: str, wanted: str, index: int) -> tuple[int, int]:
    """Characters of `wanted`, which begins at word number `index` (words are divided by spaces).

    The data's numbers are off by a word here and there: the occurrence nearest to that word is taken, case ignored;
    without any, the words themselves.
    """
    words = [match.span() for match in re.finditer(r"\S+", text)]
    place = words[min(max(index, 0), len(words) - 1)][0] if words else 0
    found = [match.start() for match in re.finditer(re.escape(wanted.strip().lower()), text.lower())]
    if found:
        start = min(found, key=lambda where: abs(where - place))
        return start, start + len(wanted.strip())
    last = min(max(index, 0) + max(1, len(wanted.split())), len(words)) - 1
    return (place, words[last][1]) if words else (0, 0)


SHAPES: dict[str, TaskShape] = {
    "terra": TaskShape("pair", "single", _two("premise", "hypothesis"), "premise", 160),
    "rcb": TaskShape("pair", "single", _two("premise", "hypothesis"), "premise", 192),
    "lidirus": TaskShape("pair", "single", _two("sentence1", "sentence2"), "sentence1", 160),
    "parus": TaskShape("choice", "choice", _parus, "premise", 96, head={"relations": True}),
    "muserc": TaskShape("pair", "single", _muserc, "passage", 512, tuning={"batch_texts": 16}),
    "danetqa": TaskShape("pair", "single", _two("question", "passage"), "passage", 320),
    "rucos": TaskShape("choice", "choice", _rucos, "passage", 384, tuning={"batch_texts": 4, "epochs": 2.0}),
    "russe": TaskShape("words", "single", _russe, "word", 128, pairs="separate"),
    "rwsd": TaskShape("words", "single", _rwsd, "text", 192, head={"whole": True}),
}


def task_config(task_id: str, **changes: Any) -> TaskConfig:
    """The task model of a task of Russian SuperGLUE; `changes` (head, pairs, max_length) override its shape.

    Raises:
        SlonikError: no such task.
    """
    task, shape = lookup(task_id, TASKS, "task"), SHAPES[task_id]
    values: dict[str, Any] = {
        "kind": shape.kind,
        "task": task_id,
        "target": shape.target,
        "labels": label_names(task) if shape.target == "single" else (),
        "max_length": shape.max_length,
        "pairs": shape.pairs,
        "protocol": PROTOCOL,
    }
    values |= {name: value for name, value in changes.items() if value is not None and name != "head"}
    return TaskConfig(**values, head={**shape.head, **changes.get("head", {})})


def items_of(task_id: str, examples: Sequence[Example], pairs: str, *, prompts: str | None = None) -> list[Item]:
    """Items of official examples, one each, in their order.

    Args:
        prompts: ask in words too, "plain" or "none" (the bare texts); None: an encoder reads them.
    """
    shape = SHAPES[task_id]
    items = []
    for example in examples:
        given, group = shape.texts(example.fields, pairs), str(example.fields[shape.group])
        asked = None if prompts is None else ask(task_id, example, plain=prompts == "plain")
        item = Item(example.idx, given, _label(task_id, example), group, asked)
        items.append(item if shape.target == "choice" else with_pairs(item, pairs))
    return items


def _label(task_id: str, example: Example) -> Any:
    if not example.is_labelled:
        return None
    if task_id == "rucos":
        right = {normalise_answer(text) for text in example.answers}
        entities = example.fields["entities"] or [""]
        found = [float(normalise_answer(entity) in right) for entity in entities]
        if any(found):
            return found
        spelled = {entity_key(text) for text in example.answers}  # ё or a hyphen apart: it is that entity all the same
        return [float(entity_key(entity) in spelled) for entity in entities]
    if SHAPES[task_id].target == "choice":
        return [float(example.label == label) for label in TASKS[task_id].labels]
    return TASKS[task_id].labels.index(example.label)  # type: ignore[arg-type]


def answers_of(task_id: str, examples: Sequence[Example], probabilities: Sequence[Floats]) -> list[Prediction]:
    """Predictions from one array of probabilities per example: over labels, or over candidates."""
    task = TASKS[task_id]
    names, made = label_names(task), []
    for example, values in zip(examples, probabilities, strict=True):
        if task_id == "rucos":
            entities = example.fields["entities"] or [""]
            made.append(Prediction(example.idx, entities[int(np.argmax(values))], _named(entities, values)))
        else:
            made.append(Prediction(example.idx, task.labels[int(np.argmax(values))], _named(names, values)))
    return made


def _named(names: Sequence[str], values: Floats) -> dict[str, float]:
    total = float(np.sum(values)) or 1.0
    return {name: float(value) / total for name, value in zip(names, values, strict=True)}
