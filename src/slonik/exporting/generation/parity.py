"""Does an exported model write what torch writes? Logits and greedy tokens on the same prompts, side by side.

Both models read the same prompts, of very different lengths in one batch, and are fed the tokens that torch finds the
likeliest, one by one: so every place is compared, also after a first difference, and a text is the same where no token
differs. Floors are those of `slonik.exporting.parity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.protocols import FloatArray
from slonik.exporting import parity
from slonik.runtime.writing import Writer

_BATCH = 4
_PROMPTS = 24
_STEPS = 16  # tokens that are written after each prompt
_WORDS = (1, 2, 4, 8, 16, 40)  # of the prompts, in turn


@dataclass(frozen=True)
class Likeness:
    """How one writer's logits are like another's, over `tokens` places after `texts` prompts.

    Attributes:
        difference: the largest, relative to the largest logit where that is over 1.
        mean_cosine, min_cosine: of logits less their mean, which draws nothing.
        divergence: mean Kullback-Leibler divergence of the next token's distribution, in nats.
        same_tokens: share of places where both find the same token the likeliest (ties count as the same).
        same_texts: prompts with the same greedy text.
    """

    difference: float
    mean_cosine: float
    min_cosine: float
    divergence: float
    same_tokens: float
    same_texts: int
    tokens: int
    texts: int


def prompts_of(writer: Writer) -> list[list[int]]:
    """Ids of prompts from one word to forty, and the empty one where the model can begin by itself."""
    room = max(2, min(writer.max_tokens - _STEPS - 1, writer.max_length))
    texts = parity.parity_texts()[:_PROMPTS]
    cut = [" ".join(text.split()[: _WORDS[place % len(_WORDS)]]) for place, text in enumerate(texts)]
    rows = [writer.prompts.ids(text, room) for text in cut]
    with suppress(SlonikError):  # it may have no token to begin with
        rows[-1] = writer.prompts.ids("", room)
    return rows


def likeness(reference: Writer, other: Writer, rows: Sequence[list[int]]) -> Likeness:
    """Compare two writers on prompts that are given as ids."""
    gaps, cosines, divergences, texts = [], [], [], []
    matched, tokens = 0, 0
    for start in range(0, len(rows), _BATCH):
        batch = list(rows[start : start + _BATCH])
        steps = min(_STEPS, *(reference.prompts.room(row) for row in batch))
        (expected, own), (given, cache) = reference.read(batch), other.read(batch)
        same = np.ones(len(batch), dtype=bool)
        for step in range(steps):
            scale = max(1.0, float(np.abs(expected).max()))
            gaps.append(_largest(given - expected) / scale)
            cosines += _cosines(expected, given).tolist()
            divergences += _divergences(expected, given).tolist()
            chosen = _same_choice(expected, given, scale)
            same &= chosen
            matched, tokens = matched + int(chosen.sum()), tokens + len(batch)
            if step + 1 < steps:
                following = expected.argmax(1).tolist()
                (expected, own), (given, cache) = reference.step(following, own), other.step(following, cache)
        texts += same.tolist()
    return Likeness(
        max(gaps), float(np.mean(cosines)), float(np.min(cosines)), float(np.mean(divergences)), matched / tokens,
        sum(texts), tokens, len(texts),
    )  # fmt: skip


def check_writing(name: str, found: Likeness) -> None:
    """Hold an fp32 file to torch.

    Raises:
        SlonikError: it differs more than its floor, or writes something else.
    """
    limit = parity.floors()["fp32"]["max_difference"]
    if not found.difference <= limit or found.same_texts < found.texts:
        raise SlonikError(
            f"the ONNX files of {name} differ from torch by {found.difference:.2g} (at most {limit:g} is allowed) and "
            f"write the same greedy text for {found.same_texts} of {found.texts} prompts: they are not written; please "
            "report the model's family"
        )


def check_reduced(name: str, precision: str, found: Likeness) -> None:
    """Hold a reduced precision to its floor.

    Raises:
        SlonikError: its logits agree less.
    """
    agreed = parity.Agreement(found.mean_cosine, found.min_cosine, found.tokens)
    floor = parity.floors()[precision]
    if not (agreed.mean_cosine >= floor["mean_cosine"] and agreed.min_cosine >= floor["min_cosine"]):
        raise SlonikError(
            f"int8 precision of {name} agrees with torch at a mean cosine of logits of {found.mean_cosine:.4f} and a "
            f"lowest of {found.min_cosine:.4f} over {found.tokens} tokens, under the floor of {floor['mean_cosine']} "
            f"and {floor['min_cosine']}: nothing is written; try --int8 none"
        )


def _same_choice(expected: FloatArray, given: FloatArray, scale: float) -> NDArray[np.bool_]:
    """(B,) whether both find the same token the likeliest, or the reference can hardly tell the two apart."""
    rows = np.arange(len(expected))
    best, chosen = expected.max(1), expected[rows, given.argmax(1)]
    found: NDArray[np.bool_] = best - chosen <= parity.floors()["fp32"]["max_difference"] * scale
    return found


def _largest(gaps: FloatArray) -> float:
    return float(np.abs(gaps).max()) if np.isfinite(gaps).all() else float("inf")


def _cosines(left: FloatArray, right: FloatArray) -> NDArray[np.float64]:
    one, other = (array.astype(np.float64) - array.mean(1, keepdims=True) for array in (left, right))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: NDArray[np.float64] = (one * other).sum(1) / np.maximum(norms, 1e-12)
    return found


def _divergences(left: FloatArray, right: FloatArray) -> NDArray[np.float64]:
    one, other = (_log_softmax(array.astype(np.float64)) for array in (left, right))
    found: NDArray[np.float64] = (np.exp(one) * (one - other)).sum(1)
    return found


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found
