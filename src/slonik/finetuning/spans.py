"""Span question answering over texts of any length: questions as items, one per window, and how answers are scored.

Windows and the best span of them are `slonik.text.answer_spans`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer

from slonik.data.labelled import Question
from slonik.evaluation.russian_superglue.metrics import normalise_answer, token_f1
from slonik.finetuning.items import Floats, Item
from slonik.text.answer_spans import FoundSpan, best_of_windows, context_windows
from slonik.text.pairs import PairTokenizer, TaskInput


def question_items(questions: Sequence[Question], tokenizer: Tokenizer, max_length: int) -> list[Item]:
    """One item per window; its key is "QUESTION/WINDOW", its label the answer's characters in the window's text.

    A window without the (whole) first answer has none, as has one of a question without an answer.
    """
    items = []
    for number, asked in enumerate(questions):
        for place, (start, end) in enumerate(context_windows(asked.question, asked.context, tokenizer, max_length)):
            text = asked.context[start:end]
            label = None
            if asked.answers:
                first, answer = asked.answers[0]
                if start <= first and first + len(answer) <= end and answer:
                    label = (first - start, first - start + len(answer))
            items.append(Item(f"{number}/{place}", TaskInput(((asked.question, text),)), label, asked.context))
    return items


def best_answers(
    questions: Sequence[Question],
    items: Sequence[Item],
    probabilities: Sequence[Floats],
    tokenizer: PairTokenizer,
    *,
    unanswerable: bool,
) -> dict[int, FoundSpan]:
    """Question number -> its best answer over those of its windows that are among the items.

    Args:
        items: of `question_items`, those of one question together. probabilities: (2, T) of first and last token, per
            item.
        unanswerable: whether "no answer" may win.
    """
    places: dict[int, list[tuple[int, int]]] = {}
    for place, item in enumerate(items):
        owner, window = map(int, str(item.key).split("/"))
        places.setdefault(owner, []).append((place, window))
    found: dict[int, FoundSpan] = {}
    for number, own in places.items():
        asked = questions[number]
        cut = context_windows(asked.question, asked.context, tokenizer.tokenizer, tokenizer.max_length)
        found[number] = best_of_windows(
            asked.context,
            [cut[window] for _, window in own],
            [tokenizer.row(items[place].input.rows[0]) for place, _ in own],
            [probabilities[place] for place, _ in own],
            unanswerable=unanswerable,
        )
    return found


def answer_scores(questions: Sequence[Question], found: Mapping[int, FoundSpan]) -> dict[str, list[float]]:
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
