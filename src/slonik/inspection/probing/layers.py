"""The layers of a model: their vectors, each text encoded once, and which layer is best, and how sure that is.

Vectors are kept in half precision and mapped, not read: one layer of one task is all that is in memory. They are kept
by everything that decides them (weights, config, tokenizer, sentence settings, code, prefix, pooling), block by block,
so that an interrupted run goes on.

The best layer is the one with the highest validation accuracy (the first of equals), so the test accuracy beside it
was not selected on the test. Each resample of the validation sentences chooses its own best layer, and each resample
of the test sentences is scored at that layer: the spread of both is what "84.8 [8]" leaves unsaid. Sentences are drawn
by task, so values of two models on one task are paired.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slonik.core.array_store import ArrayStore
from slonik.core.hashing import derive_seed
from slonik.core.progress import progress_bar
from slonik.core.protocols import Encoder, LayerEncoder
from slonik.evaluation.encodechka.embeddings import vectors_identity
from slonik.evaluation.statistics import Array, Interval, drawn_counts, interval

_BLOCK_TEXTS = 1024


class LayerVectors:
    """Vectors of every layer of one encoder, under several poolings.

    Args:
        encoder: what encodes; one without layers (word vectors) counts as a model with one, layer 0.
        poolings: of "mean", "cls", "last". prefix: put before each text.
        root: the folder of all identities on disk; None keeps vectors in memory only.

    Attributes:
        encoded, reused: texts encoded by this object, and texts that were kept before.
        seconds: time spent encoding.
    """

    def __init__(self, encoder: Encoder, poolings: Sequence[str], prefix: str | None, root: Path | None) -> None:
        self._encoder, self._prefix = encoder, prefix
        identity = {} if root is None else vectors_identity(encoder, prefix)
        self._stores = {pooling: ArrayStore(root, identity | {"layers": pooling}) for pooling in poolings}
        self.encoded = self.reused = 0
        self.seconds = 0.0

    def prepare(self, texts: Iterable[str]) -> None:
        """Encode what some pooling lacks, longest texts first, block by block: one pass for all poolings."""
        unique = list(dict.fromkeys(texts))
        missing = {pooling: set(store.missing(unique)) for pooling, store in self._stores.items()}
        absent = sorted((t for t in unique if any(t in lacking for lacking in missing.values())), key=len, reverse=True)
        poolings = [pooling for pooling, lacking in missing.items() if lacking]
        with progress_bar(f"layers of {self._encoder.name}", total=len(absent)) as bar:
            for start in range(0, len(absent), _BLOCK_TEXTS):
                chunk = absent[start : start + _BLOCK_TEXTS]
                began = time.perf_counter()
                blocks = self._encode(chunk, poolings)
                self.seconds += time.perf_counter() - began
                for pooling, block in blocks.items():
                    rows = [row for row, text in enumerate(chunk) if text in missing[pooling]]
                    if rows:
                        layers = {str(number): layer[rows] for number, layer in enumerate(block)}
                        self._stores[pooling].add([chunk[row] for row in rows], layers)
                bar.advance(len(chunk))
        self.encoded += len(absent)
        self.reused += len(unique) - len(absent)

    def count(self, pooling: str) -> int:
        """Layers that there are vectors of, embeddings included; 0 before anything is encoded."""
        return len(self._stores[pooling].names)

    def take(self, pooling: str, layer: int, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors (N, D) of one layer, in the order of `texts`.

        Raises:
            KeyError: a text that was not prepared.
        """
        return self._stores[pooling].take(str(layer), texts)

    def _encode(self, texts: Sequence[str], poolings: Sequence[str]) -> dict[str, NDArray[np.float16]]:
        if isinstance(self._encoder, LayerEncoder):
            return self._encoder.encode_layers(texts, poolings, prefix=self._prefix)
        vectors = self._encoder.encode(texts, prefix=self._prefix).astype(np.float16)
        return dict.fromkeys(poolings, vectors[None])


@dataclass(frozen=True)
class BestLayer:
    """The layer that validation prefers.

    Attributes:
        layer: its number. accuracy: on the test, with an interval that includes the choice of the layer.
        low, high: where 95 % of the resamples have their best layer. share: how many agree on `layer`.
        replicates: (B,) test accuracies at the resamples' own best layers.
        test_layer, test_accuracy: the highest value on the test itself, as leaderboards print it.
    """

    layer: int
    accuracy: Interval
    low: int
    high: int
    share: float
    replicates: Array
    test_layer: int
    test_accuracy: float


def resampled_means(values: NDArray[np.floating], *, seed: int, sample: str) -> Array:
    """Means of every row of `values` (L, n) over bootstrap resamples of its columns: (L, B)."""
    n = values.shape[1]
    table = np.asarray(values, dtype=np.float32).T
    blocks = drawn_counts(n, derive_seed(seed, "probing bootstrap", sample, n))
    return np.concatenate([(counts.astype(np.float32) @ table) / n for counts in blocks]).T.astype(np.float64)


def intervals(values: NDArray[np.floating], resampled: Array) -> list[Interval]:
    """The interval of every row's mean."""
    return [interval(float(row.mean()), spread) for row, spread in zip(values, resampled, strict=True)]


def interval_around(value: float, replicates: Array) -> Interval:
    """The interval of `value` that holds it too: resamples choose layers anew, so all of them may be on one side."""
    bounds = interval(value, replicates)
    return Interval(value, min(value, bounds.low), max(value, bounds.high))


def best_layer(validation: NDArray[np.floating], test: NDArray[np.floating], *, seed: int, sample: str) -> BestLayer:
    """Choose a layer.

    Args:
        validation, test: (L, n) shares of right answers of every layer on the validation and the test sentences.
        sample: names the sentences; equal for all models on one task.
    """
    chosen = int(validation.mean(1).argmax())
    choices = resampled_means(validation, seed=seed, sample=f"{sample} va").argmax(0)
    scored = resampled_means(test, seed=seed, sample=f"{sample} te")
    replicates = scored[choices, np.arange(scored.shape[1])]
    low, high = np.percentile(choices, [2.5, 97.5])
    accuracies = test.mean(1)
    return BestLayer(
        layer=chosen,
        accuracy=interval_around(float(accuracies[chosen]), replicates),
        low=int(np.floor(low)),
        high=int(np.ceil(high)),
        share=float((choices == chosen).mean()),
        replicates=replicates,
        test_layer=int(accuracies.argmax()),
        test_accuracy=float(accuracies.max()),
    )
