"""Rows to outputs and answers with a function of token ids for a model: what is read, cut, averaged, refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.text.pairs import Fields, PairTokenizer
from slonik.text.task_config import TaskConfig
from slonik.text.task_rows import logits_of, predict_rows
from tests import tiny

CONFIG = TaskConfig(kind="sequence", labels=("да", "нет"))
LONG = " ".join(f"{name} живёт в доме {n}." for n, name in enumerate(["Анна", "Пётр", "Клара"] * 8))


def tokenizer(length: int = 16) -> PairTokenizer:
    return PairTokenizer(tiny.tokenizer("wordpiece"), length)


def sums(fields: Sequence[Fields]) -> list[np.ndarray[Any, Any]]:
    """A "model": the mean id of a row's own tokens, and its negative."""
    found = []
    for one in fields:
        own = one["input_ids"][one["segments"] > 0]
        found.append(np.array([own.mean(), -own.mean()], dtype=np.float32))
    return found


def test_windows_of_a_long_text_are_averaged_by_their_tokens() -> None:
    ids = np.array(tiny.tokenizer("wordpiece").encode(LONG, add_special_tokens=False).ids)
    given = tokenizer()
    short = given.rows(("Привет",), "average")
    assert len(short) == 1 and short[0][1] == 1.0
    assert sum(share for _, share in given.rows((LONG,), "average")) == pytest.approx(1.0)
    found = {way: logits_of([LONG], CONFIG, given, sums, way)[0, 0] for way in ("truncate", "average")}  # type: ignore[arg-type]
    assert found["average"] == pytest.approx(ids.mean(), rel=1e-5)
    assert found["truncate"] == pytest.approx(ids[:14].mean(), rel=1e-5)
    own = CONFIG.model_copy(update={"long_texts": "average"})
    assert logits_of([LONG], own, given, sums)[0, 0] == found["average"]
    with pytest.raises(SlonikError, match=rf"row 2: a text has {len(ids) + 2} tokens, and the model takes 16"):
        logits_of(["Привет", LONG], CONFIG, given, sums, "refuse")


def test_of_a_pair_the_longer_text_is_read_in_windows_beside_the_whole_other_one() -> None:
    given = tokenizer(24)
    for texts in (("Кто здесь?", LONG), (LONG, "Кто здесь?")):
        rows = given.rows(texts, "average")
        short = 1 + texts.index("Кто здесь?")
        assert len(rows) > 2 and all(len(row.ids) <= 24 for row, _ in rows)
        asked = {tuple(row.ids[row.segments == short]) for row, _ in rows}
        assert len(asked) == 1
        read = np.concatenate([row.ids[row.segments == 3 - short] for row, _ in rows])
        assert read.tolist() == tiny.tokenizer("wordpiece").encode(LONG, add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("а", "б", "в"), "row 1 has 3 texts"),
        (5, "row 1: 5 is a int, not a text"),
        (("а", None), "row 1: None is a NoneType"),
        ({"texts": "а"}, "row 1: .*text"),
        ((), "row 1 has 0 texts"),
    ],
)
def test_rows_that_are_none_are_named(row: Any, words: str) -> None:
    with pytest.raises(SlonikError, match=words):
        predict_rows([row], CONFIG, tokenizer(), sums)


def test_a_row_is_a_text_a_pair_or_a_mapping() -> None:
    rows = ["Привет", ("Привет", "мир"), {"text": "Привет"}, {"text": "Привет", "text_pair": "мир"}]
    found = logits_of(rows, CONFIG, tokenizer(), sums)
    np.testing.assert_array_equal(found[:2], found[2:])
    named = CONFIG.model_copy(update={"columns": {"text": ["отзыв"], "label": "label"}})
    np.testing.assert_array_equal(logits_of([{"отзыв": "Привет"}], named, tokenizer(), sums)[0], found[0])
    with pytest.raises(SlonikError, match="row 1 has 2 texts, and the task reads отзыв"):
        logits_of([("Привет", "мир")], named, tokenizer(), sums)
    assert logits_of([], CONFIG, tokenizer(), sums).shape == (0, 2)


def test_candidates_and_contexts_are_rows_too() -> None:
    choice = TaskConfig(kind="choice", target="choice")

    def first(fields: Sequence[Fields]) -> list[np.ndarray[Any, Any]]:
        return [-np.arange(len(one["input_ids"]), dtype=np.float32) for one in fields]

    found = predict_rows([("Мама мыла раму", ["потом", "сначала"]), ("а", ["б"])], choice, tokenizer(), first)
    assert [answer.label for answer in found] == ["потом", "б"]
    with pytest.raises(SlonikError, match="its candidates are 'потом'"):
        predict_rows([("Мама", "потом")], choice, tokenizer(), first)

    def ends(fields: Sequence[Fields]) -> list[np.ndarray[Any, Any]]:
        made = []
        for one in fields:
            logits = np.zeros((2, len(one["input_ids"])), dtype=np.float32)
            inside = np.flatnonzero(one["segments"] == 2)
            logits[0, inside[-3]] = logits[1, inside[-2]] = 9.0 + one["input_ids"][inside].mean() / 1000
            logits[:, 1] = 99.0  # in the question: never an answer
            made.append(logits)
        return made

    answer = TaskConfig(kind="answer", target="answer")
    found = predict_rows([{"question": "Кто?", "context": LONG}], answer, tokenizer(32), ends)
    assert found[0].label and LONG[found[0].start : found[0].end] == found[0].label
    with pytest.raises(SlonikError, match="row 1: the context is read in"):
        predict_rows([("Кто?", LONG)], answer, tokenizer(32), ends, "refuse")
    with pytest.raises(SlonikError, match="slonik tag"):
        predict_rows(["а"], TaskConfig(kind="tokens", target="tags", labels=("O", "B-X", "I-X")), tokenizer(), ends)


def test_outputs_that_are_no_numbers_are_no_answer() -> None:
    nothing = np.full(2, np.nan, dtype=np.float32)
    config = TaskConfig(kind="sequence", labels=("а", "б"))
    with pytest.raises(SlonikError, match=r"row 2: .*NaN"):
        predict_rows(["да", "нет"], config, tokenizer(), lambda fields: [np.zeros(2, np.float32), nothing])
    with pytest.raises(SlonikError, match=r"row 1: .*NaN"):
        predict_rows([("да", ["а", "б"])], TaskConfig(kind="choice", target="choice"), tokenizer(), lambda _: [nothing])
