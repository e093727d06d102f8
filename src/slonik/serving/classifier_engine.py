"""A classifier as the queue uses it: texts and pairs to scores.

The classifier tokenises for itself; here tokens are counted, for batches of like lengths, for the usage in answers and
for the refusal of what is too long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from slonik.core.errors import NotNumbers
from slonik.core.protocols import Classifier, FloatArray
from slonik.serving.engine import MOST_WINDOWS, TEXTS_ALONE, TEXTS_TOGETHER, Engine, own_policy, workers_of
from slonik.serving.errors import ApiError
from slonik.serving.jobs import Job, Tokens
from slonik.text.pairs import pair_template
from slonik.text.tokenizing import TextRows, pad_id, without_limits


class ClassifierEngine(Engine):
    """Counts and classifies for one model.

    Args:
        classifier: where it has a `tokenizer`, `max_length`, `threads`, `alone` and `long_texts`, they are used.
        threads: processors that the server may use; None = all.
    """

    def __init__(self, classifier: Classifier, threads: int | None = None) -> None:
        self._classifier = classifier
        settings = getattr(classifier, "config", None)
        tokenizer: Tokenizer | None = getattr(classifier, "tokenizer", None)
        self._tokenizer = without_limits(tokenizer) if isinstance(tokenizer, Tokenizer) else None
        self._rows = TextRows(self._tokenizer, pad_id(self._tokenizer)) if self._tokenizer else None
        if self._tokenizer is not None:
            self.max_tokens = getattr(classifier, "max_length", None) or getattr(settings, "max_length", None)
            template = pair_template(self._tokenizer)
            self._specials = {1: template.single.size, 2: template.size}
        self._apart = getattr(settings, "pairs", "joint") == "separate"  # two texts are two inputs
        self.workers = workers_of(classifier, threads) if hasattr(classifier, "threads") else 1
        self.batch_texts = TEXTS_ALONE if getattr(classifier, "alone", False) else TEXTS_TOGETHER
        self.long_texts = own_policy(classifier, settings)

    def prepare(self, wanted: Sequence[tuple[Job, int]]) -> Iterator[tuple[Job, int, Tokens | ApiError]]:
        """Rows with their tokens counted, or refused."""
        for job, index in wanted:
            row = job.texts[index]
            sizes, cut = self._sizes(row, job)
            yield job, index, self._fit(job, index, Tokens(sum(sizes), row, job.long_texts, cut=cut), max(sizes))

    def run(self, texts: Sequence[Tokens]) -> Sequence[Any]:
        """Logits (L,) of each row.

        Raises:
            NotNumbers: the model gave something that is no number.
        """
        scores: list[FloatArray] = [np.empty(0, dtype=np.float32)] * len(texts)
        for policy in {text.long_texts for text in texts}:
            places = [place for place, text in enumerate(texts) if text.long_texts == policy]
            found = self._classifier.logits([texts[place].content for place in places], long_texts=policy)
            if not np.isfinite(found).all():
                raise NotNumbers
            for place, row in zip(places, found, strict=True):
                scores[place] = row
        return scores

    def _sizes(self, row: Any, job: Job) -> tuple[list[int], bool]:
        """Tokens of each input that a row makes, specials included, and whether one is cut: then what is left of it."""
        texts = [row] if isinstance(row, str) else list(row)
        if self._rows is None:
            return [sum(max(1, len(text.split())) for text in texts)], False
        most = None  # how much of a text is to be read: enough to see that it is too long
        if self.max_tokens is not None:
            most = 1 + self.max_tokens * (MOST_WINDOWS if job.long_texts == "average" else 1)
        sizes = [len(ids) for ids in self._rows.rows(texts, most, threads=1)]
        if len(texts) == 2 and not self._apart:
            sizes = [sum(sizes) - 2 * self._specials[1] + self._specials[2]]
        if job.long_texts == "truncate" and self.max_tokens is not None:
            whole, sizes = sizes, [min(size, self.max_tokens) for size in sizes]
            return sizes, whole != sizes
        return sizes, False
