"""Answers that are spans of a text of any length: its windows, and the best span of all of them.

Windows overlap, so that an answer is whole in one of them. Numpy and the tokenizer alone; a model runs elsewhere.
Source: Devlin et al. 2019, sections 4.2 and 4.3.

Shapes: T tokens of one window's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from slonik.text.answers import Answer, Floats, softmax
from slonik.text.batching import windows
from slonik.text.pairs import PairTokenizer, Row, pair_template
from slonik.text.tokenizing import encode

LONGEST_ANSWER = 40  # tokens
OVERLAP = 64  # tokens that windows share
NO_PLACE = -1e4


@dataclass(frozen=True)
class FoundSpan:
    """The best span of one window, or of a whole context.

    Attributes:
        text: "" for none. probability: of its first and last token together.
        start, end: characters; both 0 for none.
    """

    text: str
    probability: float
    start: int = 0
    end: int = 0


def context_windows(question: str, context: str, tokenizer: Tokenizer, max_length: int) -> list[tuple[int, int]]:
    """Characters of the context's windows; the question keeps at most half of the room."""
    room = max_length - pair_template(tokenizer).size
    asked = min(len(encode(tokenizer, question).ids), room // 2)
    size = max(8, room - asked)
    offsets = encode(tokenizer, context).offsets
    if len(offsets) <= size:
        return [(0, len(context))]
    size -= 2  # a cut text may fall into a piece or two more
    return [(offsets[a][0], offsets[b - 1][1]) for a, b in windows(len(offsets), size, min(OVERLAP, size // 2))]


def place_probabilities(logits: NDArray[Any], segments: NDArray[Any]) -> Floats:
    """Probabilities (2, T) of first and last token from their logits (2, T).

    Only the context (segment 2) and the first token of all, which stands for "no answer" (SQuAD 2.0), can be one.
    """
    allowed = np.asarray(segments) == 2
    allowed = allowed.copy()
    allowed[:1] = True
    return softmax(np.where(allowed, np.asarray(logits, dtype=np.float64), NO_PLACE))


def best_span(context: str, row: Row, chances: NDArray[Any]) -> FoundSpan:
    """The likeliest span of the second text of a row, of at most LONGEST_ANSWER tokens.

    Args:
        context: the second text. chances: (2, T) probabilities of first and last token.
    """
    inside = np.flatnonzero(row.segments == 2)
    if not len(inside):
        return FoundSpan("", 0.0)
    first, last = chances[0, inside].astype(np.float64), chances[1, inside].astype(np.float64)
    table = np.triu(np.outer(first, last)) - np.triu(np.outer(first, last), LONGEST_ANSWER)
    start, end = np.unravel_index(int(np.argmax(table)), table.shape)
    a, b = int(row.offsets[inside[start], 0]), int(row.offsets[inside[end], 1])
    return FoundSpan(context[a:b], float(table[start, end]), a, b)


def best_of_windows(
    context: str,
    cut: Sequence[tuple[int, int]],
    rows: Sequence[Row],
    chances: Sequence[NDArray[Any]],
    *,
    unanswerable: bool,
) -> FoundSpan:
    """The best span of a whole context.

    Args:
        cut: `context_windows`. rows: one per window. chances: (2, T) per window.
        unanswerable: whether "no answer" may win: it is as likely as in the window that believes in it least.
    """
    found = []
    null = 1.0
    for (start, end), row, one in zip(cut, rows, chances, strict=True):
        best = best_span(context[start:end], row, one)
        found.append(FoundSpan(best.text, best.probability, best.start + start, best.end + start))
        null = min(null, float(one[0, 0] * one[1, 0]))
    best = max(found, key=lambda span: span.probability)
    return FoundSpan("", null) if unanswerable and null > best.probability else best


def span_answer(found: FoundSpan) -> Answer:
    """A span for people: its text, "" where there is no answer, with its probability and characters."""
    line = span_line(found)
    chance = line["probability"]
    return Answer(found.text, {found.text: chance}, line, found.start, found.end)


def span_line(found: FoundSpan) -> dict[str, Any]:
    """A span as `slonik predict` writes it."""
    return {
        "label": found.text, "start": found.start, "end": found.end, "probability": round(found.probability, 6),
    }  # fmt: skip


def question_rows(question: str, context: str, tokenizer: PairTokenizer) -> tuple[list[tuple[int, int]], list[Row]]:
    """Windows of a context in characters, and the row of question and window that a model reads for each."""
    cut = context_windows(question, context, tokenizer.tokenizer, tokenizer.max_length)
    return cut, [tokenizer.row((question, context[start:end])) for start, end in cut]
