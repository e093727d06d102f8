"""Texts as examples of a task, for calibration and for parity: single texts, pairs, candidates, questions, words.

What an example asks makes no sense, and need not: torch and the files must answer alike whatever they are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.data.annotations.tags import tokenize
from slonik.exporting.heads.graph import reads_pairs
from slonik.runtime.tagging.labels import BioLabels, tag_labels
from slonik.runtime.tagging.names import NameList
from slonik.runtime.tagging.onnx_tagger import window_fields
from slonik.runtime.tagging.token_features import TokenFeatures
from slonik.text.answer_spans import question_rows
from slonik.text.pairs import PairTokenizer, TaskInput, TextSpan, fields_of
from slonik.text.task_config import TaskConfig

Example = dict[str, NDArray[Any]]


def examples_of(config: TaskConfig, pairs: PairTokenizer, folder: Path, texts: Sequence[str]) -> list[Example]:
    """An example of the task per text, from that text and its neighbours; a tagger's long text gives several.

    Args:
        pairs: the model's tokenizer with its length.
        folder: of the checkpoint, for a tagger's list of names.
    """
    if config.target == "tags":
        return _words(config, pairs, folder, texts)
    following = [*texts[1:], *texts[:2]]
    made = []
    for number, text in enumerate(texts):
        first, second = following[number], following[number + 1]
        if config.target == "answer":
            made.append(fields_of(question_rows(text, first, pairs)[1][:1], pairs.pad_id))
        else:
            made.append(pairs.fields(_input(config, number, text, first, second)))
    return made


def _input(config: TaskConfig, number: int, text: str, first: str, second: str) -> TaskInput:
    """The texts of one example; a task that does not say how many it reads gets one and two in turn."""
    if config.target == "choice":
        return TaskInput(((text, first), (text, second)))
    if config.kind == "words":
        apart = config.pairs == "separate"
        rows = ((text,), (first,)) if apart else ((text, first),)
        places = ((0, 0), (1, 0)) if apart else ((0, 0), (0, 1))
        spans = [TextSpan(row, part, *_word(own)) for (row, part), own in zip(places, (text, first), strict=True)]
        return TaskInput(rows, tuple(spans))
    if config.pairs == "separate":
        return TaskInput(((text,), (first,)))
    said = len(config.columns.get("text") or ())
    two = config.kind == "pair" or said == 2 or (said == 0 and reads_pairs(config) and number % 2 == 1)
    return TaskInput(((text, first) if two else (text,),))


def _word(text: str) -> tuple[int, int]:
    words = tokenize(text)
    return words[len(words) // 2] if words else (0, len(text))


def _words(config: TaskConfig, pairs: PairTokenizer, folder: Path, texts: Sequence[str]) -> list[Example]:
    features = features_of(config, pairs, folder)
    found = []
    for text in texts:
        for window in features.windows(text, features.split(text)):
            found.append({**window_fields(window), "positions": window.fields["positions"]})
    return found


def features_of(config: TaskConfig, pairs: PairTokenizer, folder: Path) -> TokenFeatures:
    """Inputs of a tagger, with the list of names that its head reads."""
    labels = tag_labels(config.labels, rules=bool(config.details.get("rules", True)))
    names = NameList.open(folder, labels) if config.head.get("names") and isinstance(labels, BioLabels) else None
    return TokenFeatures(pairs.tokenizer, window=pairs.max_length, names=names)


def feed_of(example: Example, inputs: Sequence[str], *, several: bool) -> Example:
    """One example as all inputs of one run of a graph: (1, T), or (1, R, T) of a graph with several inputs."""
    found = {}
    for name in inputs:
        array = np.asarray(example[name])
        array = array if name == "names" else array.astype(np.int64)
        if several and name not in ("spans", "names") and array.ndim == 1:
            array = array[None]
        found[name] = array[None]
    return found
