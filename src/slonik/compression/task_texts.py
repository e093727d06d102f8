"""What a model with a head is taught on: inputs of its task, made of unlabelled texts or read from the user's rows.

A classifier of texts reads the corpus as it is. A corpus has no pairs, candidates or questions, so tasks that read
several texts are asked about made ones (a text with an altered copy of it, with its own beginning, with its translation
where there is one, with another text), and about the user's own rows, whose labels are not read: the teacher's answers
are the targets. Rows of the real task teach more; made ones keep the student like its teacher everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slonik.compression.altered_texts import altered_copy
from slonik.compression.config import CorpusConfig
from slonik.compression.corpus import CorpusSample
from slonik.core.errors import SlonikError
from slonik.core.hashing import derive_seed, sha256_json
from slonik.core.identity import corpus_identity
from slonik.core.run import Run
from slonik.data.labelled import ENDINGS, read_questions, read_rows
from slonik.data.sampling import is_held_out
from slonik.models.task_model import TaskModel
from slonik.runtime.tagging.labels import BioLabels
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.text.pairs import Fields, PairTokenizer, TaskInput, TextSpan
from slonik.text.task_config import TaskConfig

_WORDS_FROM = 2000
_ENOUGH_HELD_OUT = 20
_CONTEXT = 4  # texts of a made-up context that a question is asked about
_PAIR_LABELS = {"entailment", "not_entailment", "contradiction", "neutral"}
_SMALL = {"input_ids": np.int32, "attention_mask": np.int8, "token_type_ids": np.int8, "segments": np.int8}
"""Types in which fields are kept: a corpus of them is in memory."""


@dataclass(frozen=True)
class TaskTexts:
    """Inputs of a task.

    Attributes:
        train, held: what is learned, and what the checkpoint is chosen on.
        about: what they are, in words.
        own: the user's rows among `train`, and whether `held` is made of them.
    """

    train: Sequence[TaskInput]
    held: Sequence[TaskInput]
    about: str
    own: int = 0
    held_own: bool = False

    def identity(self) -> str:
        """sha256 over all inputs."""
        parts = [[[one.rows, [list(vars(s).values()) for s in one.spans]] for one in some] for some in
                 (self.train, self.held)]  # fmt: skip
        return sha256_json(parts)


def texts_of(config: TaskConfig, asked: int | None = None) -> int:
    """How many texts one input of the task has.

    Args:
        asked: the recipe's own word. Without it: what the task's columns say, else its head, else its labels: two for
            a head that gives a number without columns (a cross-encoder) and for the labels of inference.
    """
    if asked is not None:
        return asked
    if config.target == "tags":
        return 1
    if config.kind in ("pair", "choice", "answer", "words") or config.pairs == "separate":
        return 2
    if columns := config.columns.get("text"):
        return len(columns)
    inference = {label.lower() for label in config.labels} & _PAIR_LABELS
    return 2 if inference or (config.target == "number" and config.scale is None) else 1


def task_texts(
    config: TaskConfig, sample: CorpusSample, corpus: CorpusConfig, seed: int, *, texts: int | None = None
) -> TaskTexts:
    """The inputs that a model of this task is distilled on.

    Args:
        texts: how many texts one input has, where the recipe says so (`texts_of`).

    Raises:
        SlonikError: rows that do not fit the task.
    """
    count = texts_of(config, texts)
    own = own_inputs(config, corpus.examples, count)
    held_own = [one for one in own if is_held_out(_key(one), corpus.held_out_share)]
    kept = [one for one in own if not is_held_out(_key(one), corpus.held_out_share)]
    if count == 1:
        train = [TaskInput(((text,),)) for text in _all_texts(sample)]
        held = [TaskInput(((text,),)) for text in sample.held_texts]
        about = "texts of the corpus, one by one"
    else:
        made = _Made(config, sample, seed)
        train, held = made.inputs(_all_texts(sample)), made.inputs(sample.held_texts, held=True)
        about = f"{_MADE.get(config.kind, 'pairs')} made of texts of the corpus"
    enough = len(held_own) >= _ENOUGH_HELD_OUT
    if own:
        about += f", and {len(kept):,} rows of {', '.join(corpus.examples)}"
    return TaskTexts([*train, *kept], held_own if enough else [*held, *held_own], about, len(kept), enough)


def examples_input(corpus: CorpusConfig, frame: Run) -> dict[str, Any]:
    """What decides the user's rows, for the step that trains on them.

    Raises:
        SlonikError: a file that is not there.
    """
    if not corpus.examples:
        return {}
    return {"examples": frame.input("examples", corpus_identity(corpus.examples, suffixes=(*ENDINGS, ".json")))}


def own_inputs(config: TaskConfig, files: Sequence[str], count: int) -> list[TaskInput]:
    """The user's rows as inputs of the task; labels are not read, rows that repeat are taken once.

    Raises:
        SlonikError: a task whose rows are not read here, or a row that lacks a column.
    """
    if not files:
        return []
    found: dict[str, TaskInput] = {}
    if config.target == "answer":
        for file in files:
            for asked in read_questions(Path(file)):
                one = TaskInput(((asked.question, asked.context),))
                found.setdefault(_key(one), one)
        return list(found.values())
    if config.kind in ("choice", "words"):
        raise SlonikError(f"rows of a task of the kind {config.kind!r} are not read as examples: leave out --examples")
    columns = list(config.columns.get("text") or (["text"] if count == 1 else ["text", "text_b"]))
    for file in files:
        for number, row in enumerate(read_rows(Path(file), columns), start=1):
            values = [row[column] for column in columns]
            if not all(isinstance(value, str) for value in values):
                raise SlonikError(f"{file}, row {number}: {' and '.join(columns)} must be texts")
            one = _joined(values, config.pairs)
            found.setdefault(_key(one), one)
    return list(found.values())


def _joined(texts: Sequence[str], pairs: str) -> TaskInput:
    if len(texts) == 1 or pairs == "joint":
        return TaskInput((tuple(texts),))
    return TaskInput(tuple((text,) for text in texts))


def _key(one: TaskInput) -> str:
    return "\t".join(text for row in one.rows for text in row)


def _all_texts(sample: CorpusSample) -> list[str]:
    """All different texts of a sample: sentences, both sides of pairs, altered copies."""
    several = [sample.texts, sample.substituted, *([text for pair in some for text in pair] for some in
               (sample.pairs, sample.near))]  # fmt: skip
    return list(dict.fromkeys(text for part in several for text in part))


_MADE = {"choice": "choices", "answer": "questions", "words": "pairs with a marked word each"}


class _Made:
    """Inputs of tasks that read several texts, out of a corpus."""

    def __init__(self, config: TaskConfig, sample: CorpusSample, seed: int) -> None:
        self._config, self._seed = config, seed
        self._translations = {russian: english for english, russian in (*sample.pairs, *sample.held_pairs)}
        self._words = [word for text in sample.texts[:_WORDS_FROM] for word in text.split()]

    def inputs(self, texts: Sequence[str], *, held: bool = False) -> list[TaskInput]:
        """One input per text."""
        rng = np.random.default_rng(derive_seed(self._seed, "task inputs", "held" if held else "train"))
        return [self._input(text, texts, rng) for text in texts]

    def _input(self, text: str, texts: Sequence[str], rng: np.random.Generator) -> TaskInput:
        kind = self._config.kind
        if kind == "choice":
            right, wrong = self._close(text, rng), _another(texts, rng)
            order = (right, wrong) if rng.random() < 0.5 else (wrong, right)
            return TaskInput(tuple((text, candidate) for candidate in order))
        if kind == "answer":
            context = [_another(texts, rng) for _ in range(_CONTEXT - 1)]
            context.insert(int(rng.integers(_CONTEXT)), text)
            return TaskInput(((self._close(text, rng), " ".join(context)),))
        second = self._close(text, rng) if rng.random() < 0.6 else _another(texts, rng)
        made = _joined((text, second), self._config.pairs)
        if kind != "words":
            return made
        rows = [(0, 0), (0, 1)] if len(made.rows) == 1 else [(0, 0), (1, 0)]
        spans = [TextSpan(row, part, *_some_word(one, rng)) for (row, part), one in
                 zip(rows, (text, second), strict=True)]  # fmt: skip
        return TaskInput(made.rows, tuple(spans))

    def _close(self, text: str, rng: np.random.Generator) -> str:
        """A text that has to do with this one: its translation, an altered copy, or its own beginning."""
        ways = [self._translations.get(text), altered_copy(text, self._words, self._seed), _beginning(text)]
        known = [way for way in ways if way]
        return known[int(rng.integers(len(known)))]


def _another(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _beginning(text: str) -> str:
    words = text.split()
    return " ".join(words[: max(1, (len(words) + 1) // 2)]) or text


def _some_word(text: str, rng: np.random.Generator) -> tuple[int, int]:
    places, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        places.append((start, start + len(word)))
        start += len(word)
    return places[int(rng.integers(len(places)))] if places else (0, len(text))


class TaskFields:
    """Inputs of a task as the arrays that its model reads, cut as in use.

    Args:
        names: the folder's list of names, for taggers that read one.
    """

    def __init__(self, model: TaskModel, names: NameList | None = None) -> None:
        self.model, self._tags = model, model.config.target == "tags"
        tokenizer = model.encoder.tokenizer
        self._pairs = PairTokenizer(tokenizer, model.max_length)
        overlap = int(model.config.details.get("overlap", 64))
        self._words = TokenFeatures(tokenizer, window=model.max_length, overlap=overlap, names=names)
        self.pad_id = self._pairs.pad_id

    def __call__(self, inputs: Sequence[TaskInput]) -> list[Fields]:
        """Arrays of every input, of a long text of a tagger those of its windows, in order; texts of a tagger without a
        word give none."""
        if not self._tags:
            return [_small(self._pairs.fields(one)) for one in inputs]
        found = []
        for one in inputs:
            text = one.rows[0][0]
            found += [dict(window.fields) for window in self._words.windows(text, self._words.split(text))]
        return found


def names_of(model: TaskModel) -> NameList | None:
    """The list of names that a tagger reads, from its folder; None where its head reads none.

    Raises:
        SlonikError: the tagger was made in memory, or its list is missing or damaged.
    """
    if model.config.target != "tags" or not model.config.head.get("names"):
        return None
    if model.encoder.source is None:
        raise SlonikError("this tagger reads a list of names, which lies in its folder: give the folder instead")
    return NameList.open(model.encoder.source, BioLabels.of_tags(model.config.labels))


def _small(fields: Fields) -> Fields:
    return {name: array.astype(_SMALL.get(name, array.dtype)) for name, array in fields.items()}
