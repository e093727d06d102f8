"""A cross-encoder over the first documents of a ranking.

It reads query and document together, too slowly for a corpus: it puts the best documents that another system found into
a new order. What finds them is in `rankers`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from slonik.core.errors import SlonikError
from slonik.core.progress import progress_bar
from slonik.core.protocols import Classifier, FloatArray, LongTexts
from slonik.data.retrieval import RetrievalSet
from slonik.evaluation.retrieval.ranking import NONE, Ranking
from slonik.text.pairs import pair_template
from slonik.text.tokenizing import content_ids

_PAIRS_AT_A_TIME = 1024
_DIGITS = 6  # equal documents get equal scores, whatever batch they were in


class Reranker:
    """A cross-encoder that puts the first documents into a new order.

    Args:
        model: gives one number for (query, document).
        top: how many documents of each query it reads; the others keep their order, below them.
        long_texts: what happens to pairs that are longer than it reads; None = its own way.

    Attributes:
        notes: what was cut up to now, in sentences.
        detail: for records: settings, and where the time of the last ranking went.

    Raises:
        SlonikError: a model that gives no single number.
    """

    def __init__(self, model: Classifier, top: int, long_texts: LongTexts | None = None) -> None:
        if model.target != "number":
            labels = f" ({', '.join(model.labels[:5])})" if model.labels else ""
            raise SlonikError(
                f"{model.name} gives {model.target} labels{labels}, and a reranker gives one number for query and "
                "document: train one with `slonik finetune MODEL --task rerank`"
            )
        self.name, self.identity = model.name, model.identity()
        self._model, self._top, self._long_texts = model, top, long_texts
        self.notes: list[str] = []
        self.detail: dict[str, Any] = {"top": top}

    def rerank(self, task: RetrievalSet, first: Ranking) -> Ranking:
        """The ranking in its new order; scores of what was not read again lie below those that were."""
        started = time.perf_counter()
        heads = [first.found(row)[: self._top] for row in range(len(task.queries))]
        texts = task.take({number for head in heads for number in head})
        cut = pairs_too_long(self._model, task.queries, heads, texts)
        count = sum(map(len, heads))
        if cut and (self._long_texts or getattr(self._model, "long_texts", "truncate")) == "truncate":
            self.notes.append(f"{task.name}: {cut} of {count} pairs are longer than the model reads: cut there")
        pairs = ((task.queries[row], texts[number]) for row, head in enumerate(heads) for number in head)
        scores = self._scores(pairs, count, task)
        numbers, made = first.numbers.copy(), np.full(first.scores.shape, -np.inf, dtype=np.float32)
        order, place = np.asarray(task.order), 0
        for row, head in enumerate(heads):
            if not head:
                continue
            own, chosen = scores[place : place + len(head)], np.array(head, dtype=np.int64)
            place += len(head)
            better = np.lexsort((order[chosen], -own))
            numbers[row, : len(head)], made[row, : len(head)] = chosen[better], own[better]
            rest = int((first.numbers[row] != NONE).sum()) - len(head)
            made[row, len(head) : len(head) + rest] = own.min() - np.arange(1, rest + 1)
        seconds = time.perf_counter() - started
        self.detail |= {"pairs": count, "rerank_seconds": round(seconds, 3)}
        self.detail |= {"ms_per_query": round(1000 * seconds / len(task.queries), 3)}
        return Ranking(numbers, made)

    def _scores(self, pairs: Iterable[tuple[str, str]], count: int, task: RetrievalSet) -> FloatArray:
        found, waiting = [np.zeros(0, dtype=np.float32)], iter(pairs)
        with progress_bar(f"{self.name}: pairs of {task.name}", count) as bar:
            while part := list(islice(waiting, _PAIRS_AT_A_TIME)):
                found.append(np.round(self._model.logits(part, long_texts=self._long_texts)[:, 0], _DIGITS))
                bar.advance(len(part))
        return np.concatenate(found)


def pairs_too_long(model: Any, queries: Sequence[str], heads: Sequence[Sequence[int]], texts: dict[int, str]) -> int:
    """How many pairs of a query and one of its documents have more tokens than a model reads; 0 for what has none."""
    tokenizer, limit = getattr(model, "tokenizer", None), getattr(model, "max_length", None)
    if tokenizer is None or not isinstance(limit, int) or not texts:
        return 0
    room = limit - pair_template(tokenizer).size
    asked = [len(ids) for ids in content_ids(tokenizer, queries)]
    read = {number: len(ids) for number, ids in zip(texts, content_ids(tokenizer, list(texts.values())), strict=True)}
    return sum(asked[row] + read[number] > room for row, head in enumerate(heads) for number in head)
