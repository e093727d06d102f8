"""Do the files of a head answer as torch does? Measured on outputs, probabilities and labels, judged by floors.

fp32 is held to torch: its outputs, in padded batches, to torch's for each example alone. int8 and fp16 are held to
fp32: how often they give the same label, how the labels score against fp32's (F1), by how much probabilities differ. An
answer that fp32 itself is undecided about (two labels within ten points of probability) tells nothing of a file: the
floor of agreement is for the others, and both numbers are shown.

Shapes: N answers (texts, or words of a tagger), L labels, T tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.exporting.heads.examples import Example, feed_of
from slonik.exporting.heads.graph import HeadGraph
from slonik.exporting.parity import floors
from slonik.runtime.tagging.chain import Chain
from slonik.runtime.tagging.labels import tag_labels
from slonik.text.answer_spans import place_probabilities
from slonik.text.answers import probabilities, temperature_of, thresholds
from slonik.text.task_config import TaskConfig

SURE = 0.1
"""Probability by which the label must lead for the answer to count as decided."""
Outputs = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Answered:
    """What outputs say.

    Attributes:
        labels: per answer: a label's number, a tuple of them, (first, last) token; empty for numbers.
        chances: per answer its probabilities, of numbers the number alone.
        leads: (N,) by how much each label leads.
        spans: per text (class, first word, last word + 1); of taggers alone.
    """

    labels: list[Hashable]
    chances: list[NDArray[np.float64]]
    leads: NDArray[np.float64]
    spans: list[set[tuple[str, int, int]]]


@dataclass(frozen=True)
class Agreement:
    """How one file's answers compare with another's on the same examples.

    Attributes:
        answers: N. decided: of them those whose label the reference is decided about.
        agreement: share of equal labels among all; agreement_decided: among the decided ones; 1.0 where there are none.
        f1: of the labels against the reference's: macro over labels of one label a text, micro of several and of
            taggers' spans; None for numbers.
        correlation: of numbers; None otherwise.
        mean_difference, max_difference: of probabilities; of numbers, in standard deviations of the reference.
        outputs: largest difference of raw outputs, relative where they are over 1.
    """

    answers: int
    decided: int
    agreement: float
    agreement_decided: float
    f1: float | None
    correlation: float | None
    mean_difference: float
    max_difference: float
    outputs: float

    def sentence(self) -> str:
        """The cell of a table."""
        if self.correlation is not None:
            words = f"correlation {self.correlation:.5f}, differences of {self.mean_difference:.4f} standard deviations"
            return f"{words}, at most {self.max_difference:.3f} ({self.answers} texts)"
        score = "" if self.f1 is None else f", F1 {self.f1:.4f}"
        return (
            f"labels equal {self.agreement:.2%} ({self.agreement_decided:.2%} of the {self.decided} decided of "
            f"{self.answers}){score}, probabilities at most {self.max_difference:.3f} apart"
        )


def in_torch(graph: HeadGraph, examples: Sequence[Example]) -> list[NDArray[np.float32]]:
    """Outputs of each example alone, cut as `HeadSession.run` cuts them."""
    signature, found = graph.signature, []
    for example in examples:
        feed = feed_of(example, signature.inputs, several=signature.several)
        with torch.inference_mode():
            outputs = graph(**{name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feed.items()})
        values = [one[0].float().numpy() for one in outputs]
        found.append(np.stack(values) if len(values) == 2 else values[0])
    return found


def answered(config: TaskConfig, chain: Chain | None, examples: Sequence[Example], outputs: Outputs) -> Answered:
    """What the outputs of examples say.

    Args:
        chain: of a tagger.
    """
    if config.target == "tags":
        assert chain is not None
        return _tagged(config, chain, examples, outputs)
    labels: list[Hashable] = []
    chances: list[NDArray[np.float64]] = []
    leads: list[float] = []
    for example, values in zip(examples, outputs, strict=True):
        if config.target == "answer":
            found = place_probabilities(values, example["segments"])
            labels.append(tuple(int(place) for place in found.argmax(-1)))
            leads.append(min(_lead(row) for row in found))
        else:
            own = values[: len(example["input_ids"])] if config.target == "choice" else values
            found = probabilities(own, config.target, temperature_of(config))
            if config.target == "multi":
                limits = thresholds(config)
                labels.append(tuple(np.flatnonzero(found > limits).tolist()))
                leads.append(float(np.abs(found - limits).min()))
            elif config.target != "number":
                labels.append(int(found.argmax()))
                leads.append(_lead(found))
        chances.append(found.astype(np.float64))
    return Answered(labels, chances, np.array(leads), [])


def _tagged(config: TaskConfig, chain: Chain, examples: Sequence[Example], outputs: Outputs) -> Answered:
    bio = tag_labels(config.labels, rules=bool(config.details.get("rules", True)))
    labels: list[Hashable] = []
    chances: list[NDArray[np.float64]] = []
    spans = []
    for example, values in zip(examples, outputs, strict=True):
        scores = np.asarray(values[example["positions"]], dtype=np.float32)
        tags = chain.decode(scores).tolist()
        labels += tags
        chances += list(chain.marginals(scores).astype(np.float64))
        words = [(place, place + 1) for place in range(len(tags))]
        spans.append({(span.label, span.start, span.end) for span in bio.decode(tags, words)})
    return Answered(labels, chances, np.array([_lead(row) for row in chances]), spans)


def _lead(chances: NDArray[Any]) -> float:
    """By how much the likeliest leads; 1 where there is no other."""
    if chances.size < 2:
        return 1.0
    second, first = np.partition(chances, -2)[-2:]
    return float(first - second)


def agreement(config: TaskConfig, left: Answered, right: Answered, outputs: float) -> Agreement:
    """How `right` compares with the reference `left`."""
    gaps = [np.abs(a - b) for a, b in zip(left.chances, right.chances, strict=True)]
    largest = max((float(gap.max()) for gap in gaps if gap.size), default=0.0)
    mean = float(np.mean([gap.max() for gap in gaps if gap.size])) if gaps else 0.0
    if not all(np.isfinite(gap).all() for gap in gaps):
        largest = mean = float("inf")
    if config.target == "number":
        before, after = (np.array([one.ravel()[0] for one in side.chances]) for side in (left, right))
        spread = float(before.std()) or 1.0
        flat = before.std() == 0 or after.std() == 0
        correlation = 1.0 if flat and largest < 1e-6 else 0.0 if flat else float(np.corrcoef(before, after)[0, 1])
        return Agreement(len(gaps), len(gaps), 1.0, 1.0, None, correlation, mean / spread, largest / spread, outputs)
    same = np.array([a == b for a, b in zip(left.labels, right.labels, strict=True)])
    decided = left.leads >= SURE
    sure = float(same[decided].mean()) if decided.any() else 1.0
    score = _span_f1(left, right) if left.spans else _label_f1(config, left.labels, right.labels)
    return Agreement(len(same), int(decided.sum()), float(same.mean()), sure, score, None, mean, largest, outputs)


def _span_f1(left: Answered, right: Answered) -> float:
    both = sum(len(a & b) for a, b in zip(left.spans, right.spans, strict=True))
    all_of_them = sum(len(a) + len(b) for a, b in zip(left.spans, right.spans, strict=True))
    return 2 * both / all_of_them if all_of_them else 1.0


def _label_f1(config: TaskConfig, left: Sequence[Hashable], right: Sequence[Hashable]) -> float | None:
    """Of single labels macro F1 over those that occur, of several micro F1; None for spans and candidates."""
    if config.target == "multi":
        pairs = [(set(a), set(b)) for a, b in zip(left, right, strict=True)]  # type: ignore[call-overload]
        total = sum(len(a) + len(b) for a, b in pairs)
        return 2 * sum(len(a & b) for a, b in pairs) / total if total else 1.0
    if config.target != "single":
        return None
    scores = []
    for label in {*left, *right}:
        both = sum(a == b == label for a, b in zip(left, right, strict=True))
        scores.append(2 * both / (list(left).count(label) + list(right).count(label)))
    return float(np.mean(scores))


def output_gap(examples: Sequence[Example], left: Outputs, right: Outputs, *, words: bool) -> float:
    """Largest difference between outputs, relative to their own largest value where that is over 1.

    Args:
        words: compare at the first tokens of words alone.
    """
    largest = 0.0
    for example, a, b in zip(examples, left, right, strict=True):
        rows = example["positions"] if words else slice(None)
        one, other = a[rows], b[rows]
        other = other[tuple(slice(size) for size in one.shape)]
        gap = np.abs(one - other).max() / max(1.0, float(np.abs(one).max())) if one.size else 0.0
        largest = max(largest, float(gap) if np.isfinite(gap) else float("inf"))
    return largest


def check_outputs(name: str, difference: float) -> None:
    """Hold fp32 to torch.

    Raises:
        SlonikError: it differs more; nothing should be written.
    """
    limit = floors()["fp32"]["max_difference"]
    if not difference <= limit:
        raise SlonikError(
            f"the ONNX file of {name} differs from torch by {difference:.2g} (at most {limit:g} is allowed): it is not "
            "written; please report the model's family"
        )


def check_labels(name: str, precision: str, found: Agreement) -> None:
    """Hold a reduced precision to its floors of labels.

    Raises:
        SlonikError: it agrees less; the sentence says what else can be tried.
    """
    floor = floors()["labels"]
    failed = None
    if found.correlation is not None:
        if not (found.correlation >= floor["correlation"] and found.mean_difference <= floor["mean_deviation"]):
            failed = f"a correlation of {found.correlation:.4f} (at least {floor['correlation']:g}) and differences of "
            failed += f"{found.mean_difference:.3f} standard deviations (at most {floor['mean_deviation']:g})"
    elif not (
        found.agreement_decided >= floor["agreement_decided"] and found.mean_difference <= floor["mean_probability"]
    ):
        failed = f"{found.agreement_decided:.2%} of the decided labels (at least {floor['agreement_decided']:.0%}) and "
        failed += f"probabilities {found.mean_difference:.3f} apart (at most {floor['mean_probability']:g} on average)"
    if failed is not None:
        other = {"dynamic": "try --int8 static, or --int8 none", "static": "try --int8 dynamic, or --int8 none"}
        raise SlonikError(
            f"{precision} precision of {name} agrees with fp32 in {failed} on {found.answers} answers: nothing is "
            f"written; {other.get(precision, 'leave --fp16 out')}"
        )
