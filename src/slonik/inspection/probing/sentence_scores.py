"""One encoder on tasks of sentences: their vectors in all layers, encoded once, and what it did not read whole.

What is measured of each task is in `scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slonik.core.array_store import prune_store
from slonik.core.paths import cache_dir
from slonik.core.protocols import Encoder
from slonik.evaluation.encodechka.embeddings import LARGEST_BYTES, weights_of
from slonik.inspection.probing.layers import LayerVectors
from slonik.inspection.probing.scores import LayerScores, Options, add_means, check_options, score_task
from slonik.inspection.probing.tasks import TaskData


def probe(
    encoder: Encoder,
    tasks: Sequence[TaskData],
    options: Options = Options(),
    on_task: Callable[[str], None] = lambda _: None,
) -> LayerScores:
    """Probe every layer of `encoder` on `tasks`; what has no layers (word vectors) counts as one, layer 0.

    Raises:
        SlonikError: an unknown probe or pooling, or none at all.
    """
    check_options(options)
    found = LayerScores(encoder.name)
    weights = str(weights_of(encoder))
    root = cache_dir() / "layers" if options.use_cache else None
    vectors = LayerVectors(encoder, options.poolings, options.prefix, root)
    vectors.prepare(text for data in tasks for text in data.texts)
    found.encoded, found.reused, found.encoding_seconds = vectors.encoded, vectors.reused, vectors.seconds
    cut = cut_texts(encoder, [text for data in tasks for text in data.texts], options.prefix)
    for pooling in options.poolings:
        for data in tasks:
            on_task(data.task.id)
            score_task(found, vectors, data, options, pooling, weights, cut)
    found.warnings += _told_cut(encoder, tasks, cut)
    add_means(found, options)
    if root is not None:
        prune_store(root, LARGEST_BYTES)
    return found


def cut_texts(encoder: Encoder, texts: Sequence[str], prefix: str | None) -> set[str]:
    """Texts that are longer than the model; none where the encoder has no tokens to count."""
    tokenize: Any = getattr(encoder, "tokenize", None)
    longest: Any = getattr(encoder, "max_length", None)
    if not callable(tokenize) or not isinstance(longest, int):
        return set()
    unique = list(dict.fromkeys(texts))
    rows = tokenize(unique, prefix, whole=True)
    return {text for text, row in zip(unique, rows, strict=True) if len(row) > longest}


def _told_cut(encoder: Encoder, tasks: Sequence[TaskData], cut: set[str]) -> list[str]:
    longest = getattr(encoder, "max_length", None)
    found = []
    for data in tasks:
        if count := sum(text in cut for text in data.texts):
            share = 100 * count / len(data.texts)
            found.append(
                f"{encoder.name}: {count} of {len(data.texts)} sentences of {data.task.id} ({share:.0f} %) are longer "
                f"than its {longest} tokens and were cut"
            )
    return found
