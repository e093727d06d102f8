"""Examples: their sizes in tokens, what is cut, and batches that come from seed, epoch and number alone."""

from __future__ import annotations

import numpy as np

from slonik.data.rankings import Asked
from slonik.finetuning.rerank.examples import Examples
from slonik.finetuning.rerank.negatives import Draw, Numbers
from slonik.train.protocols import Batch
from tests import tiny

DOCUMENTS = [*tiny.TEXTS[:8], "слон " * 50]
QUERIES = [Asked("слон", {0: 1.0, 8: 1.0}), Asked("туман", {1: 1.0}), Asked("газета", {2: 1.0})]


def _examples() -> Examples:
    draws = [Draw(asked, np.zeros(0, np.int64), np.arange(9), 2) for asked in QUERIES]
    return Examples.of(QUERIES, draws, 2, "toy")


def test_sizes_are_cut_and_cuts_are_counted() -> None:
    tokenizer, examples = tiny.tokenizer("wordpiece"), _examples()
    whole = [len(tokenizer.encode("слон", DOCUMENTS[0]).ids), len(tokenizer.encode(DOCUMENTS[8]).ids)]
    assert examples.places.tolist() == [[0, 0], [0, 8], [1, 1], [2, 2]]
    assert examples.sizes(tokenizer, DOCUMENTS, 500, together=True)[0] == 3 * whole[0]
    assert examples.sizes(tokenizer, DOCUMENTS, 500, together=False)[1] == 3 * whole[1]
    assert examples.sizes(tokenizer, DOCUMENTS, 40, together=False)[1] == 3 * 40
    assert examples.longer(tokenizer, DOCUMENTS, 40, together=False) == 1


def test_a_batch_is_the_same_whenever_it_is_made() -> None:
    seen: list[list[tuple[str, list[int]]]] = []

    def make(items: list[tuple[Asked, Numbers]]) -> Batch:
        seen.append([(asked.text, numbers.tolist()) for asked, numbers in items])
        return {}

    sizes = np.array([3, 3, 3, 3])
    loader = _examples().loader(sizes, make, max_texts=2, max_tokens=None, seed=1)  # type: ignore[arg-type]
    for epoch in (0, 1, 0):
        for index, items in enumerate(loader.plan(epoch)):
            loader.batch(epoch, index, items)
    assert seen[:2] == seen[4:] and seen[:2] != seen[2:4]
    for batch in seen:
        for text, numbers in batch:
            grades = next(asked.grades for asked in QUERIES if asked.text == text)
            assert numbers[0] in grades and not set(numbers[1:]) & set(grades)
