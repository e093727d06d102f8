"""What a span tagger is trained on: windows with the spans in them, and the loss over all stretches of words.

Every stretch of words that begins in a window is a yes-or-no question for every type; the loss is binary cross entropy,
summed over the stretches and types and divided by the words, so that a rare type counts as its spans do. The types'
descriptions stand as further rows in every batch and are read by the encoder that is trained. Spans wider than the
head's width cannot be learned: they are counted.

Sources: Yu, Bohnet, Poesio 2020; Zhang et al. 2023 (Binder).

Shapes: B windows, W words, M words of the longest span, C types, G gold spans of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor, nn

from slonik.data.annotations.document import Counts, Document
from slonik.data.annotations.tags import Offsets, tokens_of
from slonik.tagging.matching import exact_f1
from slonik.tagging.models.span_tagger import DescriptionRows, SpanTagger
from slonik.train.loaders import PadFields
from slonik.train.protocols import Batch, Loss

Example = Mapping[str, NDArray[Any]]
NO_SPAN = -1
_TIE = 1e-6  # weight of F1 of as many likeliest spans as there are gold ones, where none is above one half yet


def span_examples(documents: Sequence[Document], tagger: SpanTagger, counts: Counts) -> list[Example]:
    """Windows of annotated documents with `gold` (G, 3): first word, further words, type.

    Args:
        counts: grows by spans that the head cannot give.
    """
    numbers = {label: number for number, label in enumerate(tagger.types)}
    examples: list[Example] = []
    for document in documents:
        words = tagger.features.split(document.text)
        found = _places(document, words, numbers, tagger.head.width, counts)
        for window in tagger.features.windows(document.text, words):
            seen = window.first + len(window.fields["positions"])
            own = [
                (first - window.first, more, kind)
                for first, more, kind in found
                if window.first <= first < window.stop and first + more < seen
            ]
            gold = np.array(own or [(NO_SPAN, 0, 0)], dtype=np.int32)
            examples.append({**window.fields, "gold": gold})
    return examples


def _places(
    document: Document, words: Sequence[Offsets], numbers: Mapping[str, int], width: int, counts: Counts
) -> set[tuple[int, int, int]]:
    """(first word, further words, type) of the spans of a document, borders moved to those of words."""
    found: set[tuple[int, int, int]] = set()
    first = 0
    for span in sorted(document.spans):
        covered = tokens_of(span, words, first)
        first = covered.start
        if not covered:
            counts["spans without a word left out"] += 1
        elif len(covered) > width:
            counts[f"spans of more than {width} words left out (system.width says how many)"] += 1
        else:
            found.add((covered.start, len(covered) - 1, numbers[span.label]))
    return found


class SpanObjective:
    """Binary cross entropy of every stretch of words and type; a mean over words."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        scores = model(batch)  # (B, W, M, C)
        gold, valid = targets(batch, scores.shape)
        losses = functional.binary_cross_entropy_with_logits(scores, gold, reduction="none").sum(-1)
        words = batch["starts"].sum().clamp(min=1)
        total = torch.where(valid, losses, 0.0).sum() / words
        return Loss(total, {"spans": total.detach()}, float(words))


def targets(batch: Mapping[str, Tensor], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(B, W, M, C) ones at gold spans, and (B, W, M) whether a stretch is the window's to judge."""
    starts, mask, gold = batch["starts"], batch["word_mask"], batch["gold"]
    lengths = mask.sum(-1)  # (B,)
    ends = torch.arange(shape[1], device=mask.device)[:, None] + torch.arange(shape[2], device=mask.device)
    valid = starts[..., None] & (ends < lengths[:, None, None])
    found = torch.zeros(*shape, device=mask.device)
    row, place = torch.nonzero(gold[..., 0] != NO_SPAN, as_tuple=True)
    chosen = gold[row, place]
    found[row, chosen[:, 0], chosen[:, 1], chosen[:, 2]] = 1.0
    return found, valid


def span_collate(tagger: SpanTagger) -> Callable[[Sequence[Example]], Batch]:
    """Examples to a padded batch, with the rows of the descriptions after them."""
    pad = tagger.model.encoder.pad_id
    padded = PadFields({"input_ids": pad, "gold": NO_SPAN})
    rows = DescriptionRows.of(
        tagger.model.encoder.tokenizer, [tagger.descriptions[label] for label in tagger.types], tagger.model.max_length
    )

    def collate(examples: Sequence[Example]) -> Batch:
        return rows.beside(padded(examples), pad)

    return collate


def span_evaluation(tagger: SpanTagger, documents: Sequence[Document]) -> Callable[[nn.Module], dict[str, float]]:
    """The loop's evaluation: exact micro F1 of all spans of the development set."""
    texts = [document.text for document in documents]

    def evaluate(model: nn.Module) -> dict[str, float]:
        tagger.refresh()
        score = exact_f1(documents, tagger.tag(texts))
        likely = score if score else exact_f1(documents, tagger.likeliest(documents))
        return {"f1": score, "choice": score + _TIE * likely}

    return evaluate
