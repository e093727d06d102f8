"""Vectors of words in every layer of a model: the mean over the tokens that share letters with a word.

A pair is both words' vectors side by side; where a probe is to say whether they belong together, their product too,
which a linear probe cannot form itself. Words behind the end of a text that was cut have the vector of the last token
that is left; examples with such a word are counted. Everything is in memory: a treebank is small.

Shapes: L layers, embeddings included, W units of a sentence, D dimensions, N examples.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from slonik.core.errors import SlonikError
from slonik.core.progress import track
from slonik.inspection.probing.words import Tokens, WordTask
from slonik.models.encoder import TorchEncoder
from slonik.models.padding import pad
from slonik.models.pooling import reading_part
from slonik.text.tokenizing import encode, template_of

_BATCH = 16
_LARGEST = float(np.finfo(np.float16).max)


class SentenceWords:
    """Vectors of the units of sentences in all layers.

    Args:
        encoder: the model. sentences: as they are shown to it. prefix: before each.

    Attributes:
        vectors: per sentence (L, W, D) in half precision. cut: per sentence the number of its first unit that the model
            did not read, None where it read all. seconds: time spent encoding.
    """

    def __init__(self, encoder: TorchEncoder, sentences: Sequence[Tokens], prefix: str | None) -> None:
        began = time.perf_counter()
        start = encoder.sentence.prefix(prefix)
        template = template_of(encoder.tokenizer)
        room = encoder.max_length - len(template.head) - len(template.tail)
        rows, members, self.cut = [], [], []
        for tokens in sentences:
            encoding = encode(encoder.tokenizer, start + tokens.text)
            ids, offsets = encoding.ids[:room], encoding.offsets[:room]
            marks = [(first - len(start), end - len(start)) for first, end in offsets]
            owners, cut = _owners(tokens, marks, whole=len(encoding.ids) <= room)
            rows.append([*template.head, *ids, *template.tail])
            members.append(owners)
            self.cut.append(cut)
        self.vectors: list[NDArray[np.float16]] = [np.zeros((0, 0, 0), np.float16)] * len(rows)
        order = sorted(range(len(rows)), key=lambda at: -len(rows[at]))
        part = reading_part(encoder.model)
        batches = [order[at : at + _BATCH] for at in range(0, len(order), _BATCH)]
        for batch in track(batches, f"words in the layers of {encoder.name}", len(batches)):
            inputs = pad([rows[at] for at in batch], encoder.pad_id, device=encoder.device)
            with torch.inference_mode():
                states = part(**inputs, output_hidden_states=True).hidden_states
            if not states:
                raise SlonikError(f"{encoder.name} gives no hidden states: its class does not support them")
            stacked = torch.stack(states).float().cpu().numpy()  # (L, B, T, D)
            for place, at in enumerate(batch):
                inner = stacked[:, place, len(template.head) : len(rows[at]) - len(template.tail)]
                found = np.clip(np.einsum("wt,ltd->lwd", members[at], inner, optimize=True), -_LARGEST, _LARGEST)
                self.vectors[at] = found.astype(np.float16)
        self.seconds = time.perf_counter() - began

    @property
    def layers(self) -> int:
        """How many layers there are, embeddings included."""
        return len(self.vectors[0])


class WordVectors:
    """Vectors of a task's examples, as `scores` takes those of sentences."""

    def __init__(self, words: SentenceWords, task: WordTask) -> None:
        self._words, self._task = words, task

    @property
    def cut(self) -> set[str]:
        """Examples with a word that the model did not read."""
        return {
            name
            for name, place in self._task.places.items()
            if (first := self._words.cut[place.sentence]) is not None and any(end > first for _, end in place.stretches)
        }

    def count(self, pooling: str) -> int:
        """Layers that there are vectors of."""
        return self._words.layers

    def take(self, pooling: str, layer: int, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D), (N, 2 D) or (N, 3 D) of one layer, in the order of the examples."""
        found = []
        for name in texts:
            place = self._task.places[name]
            states = self._words.vectors[place.sentence][layer].astype(np.float32)
            parts = [states[first:end].mean(0) for first, end in place.stretches]
            if self._task.multiplied:
                parts.append(parts[0] * parts[1] / max(float(np.abs(parts[0]).mean()), 1e-6))
            found.append(np.concatenate(parts))
        return np.stack(found)


def _owners(
    tokens: Tokens, offsets: Sequence[tuple[int, int]], *, whole: bool
) -> tuple[NDArray[np.float32], int | None]:
    """(W, T) shares of the tokens in every unit, and where the text is not `whole` the first unit behind its end."""
    shares = np.zeros((len(tokens.units), len(offsets)), dtype=np.float32)
    cut = None
    for unit, (start, end) in enumerate(tokens.units):
        inside = [at for at, (first, last) in enumerate(offsets) if first < end and last > start]
        if not inside:  # cut off; or letters that the tokenizer drops, which take the token before
            before = [at for at, (_, last) in enumerate(offsets) if 0 < last <= start]
            inside = before[-1:] or [0]
            if not whole and cut is None and start >= offsets[-1][1]:
                cut = unit
        shares[unit, inside] = 1 / len(inside)
    return shares, cut
