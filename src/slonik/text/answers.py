"""What a head's outputs say: probabilities, labels over their thresholds, numbers in their units, the best candidate.

Numpy alone, so that torch, an ONNX file and the server answer alike. Spans of a text are in `answer_spans`, tags of
words in the taggers; a model runs elsewhere.

Shapes: N examples, L labels (or candidates of one example), T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.text.task_config import Target, TaskConfig

Floats = NDArray[np.float32]
THRESHOLD = 0.5
THRESHOLDS = "thresholds"
"""Detail of a task with several labels: label -> probability above which it is given."""


TEMPERATURE = "temperature"
"""Detail of a task that was calibrated: what outputs are divided by."""


@dataclass(frozen=True)
class Answer:
    """The answer to one row.

    Attributes:
        label: a label, a list of labels, a number, a text, or a span of the row's context; of MuSeRC, answer -> label.
        probabilities: of the labels or candidates (of MuSeRC, by answer); of a span its own; empty for numbers and free
            words.
        row: as `slonik predict` writes it: `idx`, `label`, or what a submission wants.
        start, end: characters of the context, of a span; -1 for every other answer.
    """

    label: Any
    probabilities: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] = field(default_factory=dict)
    start: int = -1
    end: int = -1


def softmax(values: NDArray[Any], axis: int = -1) -> Floats:
    """Of equal shape; sums to 1 along `axis`."""
    exact = np.asarray(values, dtype=np.float64)
    powers = np.exp(exact - exact.max(axis, keepdims=True))
    found: Floats = (powers / powers.sum(axis, keepdims=True)).astype(np.float32)
    return found


def sigmoid(values: NDArray[Any]) -> Floats:
    """1 / (1 + exp(-values)), of equal shape; no number overflows."""
    found: Floats = (0.5 * (1.0 + np.tanh(0.5 * np.asarray(values, dtype=np.float64)))).astype(np.float32)
    return found


def probabilities(outputs: NDArray[Any], target: Target, temperature: float = 1.0) -> Floats:
    """Outputs (N, L) or (L,), of spans (2, T), as probabilities at a temperature; numbers as they are.

    Sigmoid for "multi", softmax along the last axis for everything else.
    """
    if target == "number":
        return np.asarray(outputs, dtype=np.float32)
    scaled = np.asarray(outputs, dtype=np.float64) / temperature
    return sigmoid(scaled) if target == "multi" else softmax(scaled)


def heated(found: NDArray[Any], target: Target, temperature: float) -> Floats:
    """Probabilities (L,) as they would be at a temperature: what `probabilities` gives for the same outputs by it.

    Of "single" and "choice" p^(1/T), normalised; of "multi" sigmoid(logit(p) / T); all others as they are.
    """
    if temperature == 1.0 or target not in ("single", "choice", "multi"):
        return np.asarray(found, dtype=np.float32)
    sure = np.clip(np.asarray(found, dtype=np.float64), 1e-12, 1 - 1e-12 if target == "multi" else 1.0)
    if target == "multi":
        return sigmoid((np.log(sure) - np.log1p(-sure)) / temperature)
    return softmax(np.log(sure) / temperature)


def temperature_of(config: TaskConfig) -> float:
    """What outputs of a task are divided by before they are probabilities: its own temperature, or 1.

    Raises:
        SlonikError: it is no positive number.
    """
    own = config.details.get(TEMPERATURE, 1.0)
    if not isinstance(own, int | float) or isinstance(own, bool) or not 0 < own < float("inf"):
        raise SlonikError(f"the temperature in task.json is {own!r}: give a number above 0")
    return float(own)


def answers(config: TaskConfig, logits: NDArray[Any]) -> list[Answer]:
    """Outputs (N, L) of a task with target "single", "multi" or "number" as one answer per example."""
    return [answer_of(config, values) for values in probabilities(logits, config.target, temperature_of(config))]


def answer_of(config: TaskConfig, values: NDArray[Any]) -> Answer:
    """Probabilities (L,) as an answer: the likeliest label, of "multi" every label over its threshold, a number.

    Of equally likely labels the first is taken.
    """
    line = answer_line(config, values)
    return Answer(line["label"], line.get("probabilities", {}), line)


def answer_line(config: TaskConfig, values: Any) -> dict[str, Any]:
    """An answer for people: a label, a list of labels, a number, or a text; labels come with `probabilities` of all.

    Args:
        values: probabilities (L,), a number (1,) as the head gave it, or the text itself.
    """
    if config.target == "text":
        return {"label": str(values)}
    if config.target == "number":
        return {"label": number_of(config, values)}
    named = {name: float(value) for name, value in zip(config.labels, values, strict=True)}
    if config.target == "multi":
        chosen = np.asarray(values) > thresholds(config)
        label: Any = [name for name, over in zip(config.labels, chosen, strict=True) if over]
    else:
        label = config.labels[int(np.argmax(values))]
    return {"label": label, "probabilities": {name: round(value, 6) for name, value in named.items()}}


def number_of(config: TaskConfig, output: Any) -> float:
    """The number that an output (1,) of target "number" stands for: through the activation, in the data's units."""
    value = np.ravel(np.asarray(output, dtype=np.float64))[0]
    if config.activation == "sigmoid":
        value = float(sigmoid(np.array(value)))
    mean, deviation = config.scale or (0.0, 1.0)
    return float(value) * deviation + mean


def thresholds(config: TaskConfig) -> Floats:
    """(L,) the probability above which a label of target "multi" is given: the task's own, or one half.

    Raises:
        SlonikError: the task's `thresholds` are for other labels, or no probabilities.
    """
    own = config.details.get(THRESHOLDS) or {}
    if not isinstance(own, Mapping):
        raise SlonikError(f"the thresholds in task.json are {own!r}: give an object, label -> number from 0 to 1")
    unknown = sorted(set(own) - set(config.labels))
    if unknown:
        raise SlonikError(
            f"task.json has a threshold for {unknown[0]!r}, and the labels are {', '.join(config.labels)}"
        )
    wrong = [name for name, value in own.items() if not _is_share(value)]
    if wrong:
        raise SlonikError(f"the threshold of {wrong[0]!r} in task.json is {own[wrong[0]]!r}: use a number from 0 to 1")
    return np.array([own.get(name, THRESHOLD) for name in config.labels], dtype=np.float32)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def choice_of(candidates: Sequence[str], values: NDArray[Any]) -> Answer:
    """Probabilities (L,) of candidates as an answer: the likeliest one's words; `row["choice"]` is its place.

    Of candidates with equal words the probabilities are added up.
    """
    best = int(np.argmax(values))
    chances: dict[str, float] = {}
    for words, value in zip(candidates, values, strict=True):
        chances[words] = chances.get(words, 0.0) + float(value)
    rounded = {words: round(value, 6) for words, value in chances.items()}
    return Answer(candidates[best], rounded, {"label": candidates[best], "choice": best, "probabilities": rounded})
