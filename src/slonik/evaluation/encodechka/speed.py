"""The speed task: milliseconds per text, one text at a time, tokenization included.

`compatible`: no warm-up, every pooling is built, as published. `fixed`: ten texts warm up, then the encoder gives
its own vector only. Times of other machines, and of other loads on this one, compare with nothing: use
`slonik bench` for a model beside a model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from slonik.evaluation.encodechka.embeddings import SentenceVectors
from slonik.evaluation.encodechka.score import Score, score_of
from slonik.evaluation.statistics import Mean

_WARM_UP_TEXTS = 10


def score_speed(texts: Sequence[str], vectors: SentenceVectors, variant: str) -> Score:
    """Mean milliseconds per text."""
    start = time.perf_counter()
    is_published = variant == "compatible"
    if not is_published:
        for text in texts[:_WARM_UP_TEXTS]:
            vectors.encode_one(text, every_pooling=False)
    times = []
    for text in texts:
        began = time.perf_counter()
        vectors.encode_one(text, every_pooling=is_published)
        times.append((time.perf_counter() - began) * 1000)
    middle = sorted(times)[len(times) // 2]
    detail = {"median": round(middle, 4), "cpus": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")}
    return score_of(Mean(times), time.perf_counter() - start, **detail)
