"""Span question answering over texts of any length: windows of the context in, the best answer of all windows out.

Windows overlap, so that an answer is whole in one of them. Source: Devlin et al. 2019, section 4.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from slonik.data.labelled import Question
from slonik.evaluation.russian_superglue.metrics import normalise_answer, token_f1
from slonik.finetuning.items import Floats, Item
from slonik.text.batching import windows
from slonik.text.pairs import PairTokenizer, TaskInput, pair_template
from slonik.text.tokenizing import encode

LONGEST_ANSWER = 40  # tokens
OVERLAP = 64  # tokens that windows share


@dataclass(frozen=True)
class Found:
    """The best answer to a question: its text ("" for none) and probability."""

    text: str
    probability: float


def question_items(questions: Sequence[Question], tokenizer: Tokenizer, max_length: int) -> list[Item]:
    """One item per window; its key is "QUESTION/WINDOW", its label the answer's characters in the window's text.

    A window without the (whole) first answer has none, as has one of a question without an answer.
    """
    items = []
    for number, asked in enumerate(questions):
        for place, (start, end) in enumerate(context_windows(asked, tokenizer, max_length)):
            text = asked.context[start:end]
            label = None
            if asked.answers:
                first, answer = asked.answers[0]
                if start <= first and first + len(answer) <= end and answer:
                    label = (first - start, first - start + len(answer))
            items.append(Item(f"{number}/{place}", TaskInput(((asked.question, text),)), label, asked.context))
    return items


def context_windows(asked: Question, tokenizer: Tokenizer, max_length: int) -> list[tuple[int, int]]:
    """Characters of the context's windows; the question keeps at most half of the room."""
    room = max_length - pair_template(tokenizer).size
    question = min(len(encode(tokenizer, asked.question).ids), room // 2)
    size = max(8, room - question)
    offsets = encode(tokenizer, asked.context).offsets
    if len(offsets) <= size:
        return [(0, len(asked.context))]
    size -= 2  # a cut text may fall into a piece or two more
    return [(offsets[a][0], offsets[b - 1][1]) for a, b in windows(len(offsets), size, min(OVERLAP, size // 2))]


def best_answers(
    items: Sequence[Item], probabilities: Sequence[Floats], tokenizer: PairTokenizer, *, unanswerable: bool
) -> dict[int, Found]:
    """Question number -> its best answer over all of its windows.

    Args:
        probabilities: (2, T) of first and last token, per item.
        unanswerable: whether "no answer" may win.
    """
    best: dict[int, Found] = {}
    null: dict[int, float] = {}
    for item, found in zip(items, probabilities, strict=True):
        number = int(str(item.key).split("/")[0])
        text, chance = _best_span(item, found, tokenizer)
        null[number] = min(null.get(number, 1.0), float(found[0, 0] * found[1, 0]))
        if number not in best or chance > best[number].probability:
            best[number] = Found(text, chance)
    if unanswerable:
        return {n: Found("", null[n]) if null[n] > one.probability else one for n, one in best.items()}
    return best


def _best_span(item: Item, found: Floats, tokenizer: PairTokenizer) -> tuple[str, float]:
    row = tokenizer.row(item.input.rows[0])
    inside = np.flatnonzero(row.segments == 2)
    if not len(inside):
        return "", 0.0
    first, last = found[0, inside].astype(np.float64), found[1, inside].astype(np.float64)
    table = np.triu(np.outer(first, last)) - np.triu(np.outer(first, last), LONGEST_ANSWER)
    start, end = np.unravel_index(int(np.argmax(table)), table.shape)
    a, b = int(row.offsets[inside[start], 0]), int(row.offsets[inside[end], 1])
    return item.input.rows[0][1][a:b], float(table[start, end])


def answer_scores(questions: Sequence[Question], found: Mapping[int, Found]) -> dict[str, list[float]]:
    """F1 and exact match of each question that was answered, as SQuAD has them: the best over the right answers."""
    scores: dict[str, list[float]] = {"f1": [], "em": []}
    for number in sorted(found):
        given, right = found[number].text, [text for _, text in questions[number].answers]
        if not right:
            scores["f1"].append(float(not given))
            scores["em"].append(float(not given))
            continue
        scores["f1"].append(max(token_f1(given, text) for text in right))
        scores["em"].append(float(normalise_answer(given) in {normalise_answer(text) for text in right}))
    return scores
