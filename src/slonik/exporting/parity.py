"""Does a file give what torch gives? Measured on real inputs, judged by the floors in `floors.json`.

fp32: the largest difference at three lengths and two batch sizes. Reduced precision: cosines of sentence vectors
on 500 texts, one text at a time. How the same file does on encodechka is the evaluation's to say.

The texts are Russian ones of our own, known by their hash, so that an export is repeatable; those for calibration and
those for parity share no sentence: what quantisation was tuned on does not judge it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.exporting.torch_graph import SentenceGraph
from slonik.text.batching import pad_ids

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
_SHORT, _MIDDLE = 4, 29
_LONGEST = 256  # tokens; longer comparisons cost seconds and find nothing new
_BATCHES = (1, 4)
_PARITY_TEXTS = 500
_CALIBRATION_TEXTS = 96


@cache
def floors() -> dict[str, dict[str, float]]:
    """The floors by precision: `max_difference` (fp32), `mean_cosine` and `min_cosine` (the others)."""
    content = resources.files("slonik.exporting").joinpath("floors.json").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, float]] = json.loads(content)
    return loaded


@dataclass(frozen=True)
class Difference:
    """Largest difference to torch, and where: (texts, tokens) of the batch.

    Hidden states are compared relative to their own largest value where that is over 1.
    """

    hidden: float
    vectors: float
    batches: tuple[tuple[int, int], ...]

    @property
    def largest(self) -> float:
        """The larger of the two."""
        return max(self.hidden, self.vectors)


@dataclass(frozen=True)
class Agreement:
    """Cosines between the sentence vectors of two files over the same texts."""

    mean_cosine: float
    min_cosine: float
    texts: int


def batches_of(rows: Sequence[list[int]], longest: int, pad: int) -> list[Batch]:
    """Batches (ids, mask) of one and of four rows at three lengths, padding in the larger ones.

    Args:
        rows: token ids of texts, specials included; joined where a length asks for it.
        longest: the most tokens the model takes.
        pad: id of the padding token.
    """
    top = min(longest, _LONGEST)
    stream = [token for row in rows for token in row]
    stream *= 1 + 2 * top // len(stream)
    found = []
    for length in sorted({min(_SHORT, top), min(_MIDDLE, max(1, top // 2)), top}):
        for size in _BATCHES:
            made = []
            for row in range(size):
                kept = length if row == 0 else max(1, length - row * max(1, length // 5))
                start = (row * 37) % max(1, len(stream) - length)
                made.append((stream[start:] + stream)[:kept])
            found.append(pad_ids(made, pad))
    return found


def difference_to_torch(
    session: onnxruntime.InferenceSession, graph: SentenceGraph, batches: Sequence[Batch]
) -> Difference:
    """Compare both outputs of a file with torch; hidden states of padding are left out."""
    hidden_gap, vector_gap = 0.0, 0.0
    for ids, mask in batches:
        with torch.inference_mode():
            expected = graph(torch.from_numpy(ids), torch.from_numpy(mask))
        hidden, vectors = (tensor.numpy() for tensor in expected)
        got_hidden, got_vectors = session.run(None, {"input_ids": ids, "attention_mask": mask})
        size = max(1.0, float(np.abs(hidden).max()))
        gaps = np.abs(got_hidden - hidden) * mask[..., None] / size
        hidden_gap = max(hidden_gap, _largest(gaps))
        vector_gap = max(vector_gap, _largest(np.abs(got_vectors - vectors) / max(1.0, float(np.abs(vectors).max()))))
    return Difference(hidden_gap, vector_gap, tuple(ids.shape for ids, _ in batches))  # type: ignore[misc]


def _largest(gaps: NDArray[np.float32]) -> float:
    """The largest value, infinite where something is not a number."""
    return float(gaps.max()) if np.isfinite(gaps).all() else float("inf")


def vectors_of(session: onnxruntime.InferenceSession, rows: Sequence[list[int]]) -> NDArray[np.float32]:
    """Sentence vectors (N, D) of rows of ids, one text at a time."""
    found = []
    for row in rows:
        ids = np.array([row], dtype=np.int64)
        found.append(session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.stack(found).astype(np.float32)


def agreement(left: NDArray[np.float32], right: NDArray[np.float32]) -> Agreement:
    """Cosines between the rows of two arrays (N, D)."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines = (left * right).sum(axis=1) / np.maximum(norms, 1e-12)
    if not np.isfinite(cosines).all():
        return Agreement(float("nan"), float("nan"), len(left))
    return Agreement(float(cosines.mean()), float(cosines.min()), len(left))


def check_difference(name: str, found: Difference) -> None:
    """Hold fp32 to its floor.

    Raises:
        SlonikError: it differs more; nothing should be written.
    """
    limit = floors()["fp32"]["max_difference"]
    if not found.largest <= limit:
        raise SlonikError(
            f"the ONNX file of {name} differs from torch by {found.largest:.2g} (at most {limit:g} is allowed): "
            "it is not written; please report the model's family"
        )


def check_agreement(name: str, precision: str, found: Agreement) -> None:
    """Hold a reduced precision to its floor.

    Raises:
        SlonikError: it agrees less; the sentence says what else can be tried.
    """
    floor = floors()[precision]
    if found.mean_cosine >= floor["mean_cosine"] and found.min_cosine >= floor["min_cosine"]:
        return
    other = {"dynamic": "try --int8 static, or --int8 none", "static": "try --int8 dynamic, or --int8 none"}
    raise SlonikError(
        f"{precision} precision of {name} agrees with fp32 at a mean cosine of {found.mean_cosine:.4f} and a lowest of "
        f"{found.min_cosine:.4f} on {found.texts} texts, under the floor of {floor['mean_cosine']} and "
        f"{floor['min_cosine']}: nothing is written; {other.get(precision, 'leave --fp16 out')}"
    )


@cache
def _sentences() -> tuple[str, ...]:
    content = resources.files("slonik.exporting").joinpath("russian_texts.txt").read_text(encoding="utf-8")
    return tuple(line for line in content.splitlines() if line)


def calibration_texts() -> list[str]:
    """Texts that activation ranges are taken from: every other sentence, and some of them joined into longer texts."""
    return _with_longer(_sentences()[0::2], _CALIBRATION_TEXTS)


def parity_texts() -> list[str]:
    """500 texts that int8 is judged on: the other sentences, alone and joined by two to five."""
    return _with_longer(_sentences()[1::2], _PARITY_TEXTS)


def _with_longer(sentences: tuple[str, ...], count: int) -> list[str]:
    random_state = random.Random(0)
    texts = list(sentences)
    seen = set(texts)
    while len(texts) < count:
        text = " ".join(random_state.sample(sentences, random_state.choice((2, 2, 2, 3, 3, 5))))
        if text not in seen:
            seen.add(text)
            texts.append(text)
    return texts
