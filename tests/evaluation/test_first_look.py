"""The first look and the character: what is nearest is found, intervals hold, kinds of text are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.evaluation import character as measured
from slonik.evaluation import first_look as look
from slonik.evaluation.character import character
from slonik.reporting.character import weaknesses


class _Knows:
    """An encoder that gives a text and its translation one vector where it knows them, else one of noise."""

    dimension = 32

    def __init__(self, pairs: Sequence[tuple[str, str]], name: str = "embedded:knows") -> None:
        self.name = name
        self._keys = {text: number for number, pair in enumerate(pairs) for text in pair}

    def encode(self, texts: Sequence[str], *, prefix: str | None = None) -> np.ndarray:
        seeds = [self._keys.get(text, sum(map(ord, text)) + 100_000) for text in texts]
        rows = [np.random.default_rng(seed).normal(size=self.dimension) for seed in seeds]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension) * 3

    def describe(self) -> dict:
        return {"name": self.name}


def test_translations_that_a_model_knows_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [*look.PAIRS[:6]]
    monkeypatch.setattr(look, "open_encoder", lambda model: _Knows(known))
    seen = look.first_look("any")
    assert seen.right >= 6 and all(correct for _, _, correct, _, _ in seen.found[:6])
    assert all(first >= second and (not correct or first > 0.999) for _, _, correct, first, second in seen.found[:6])
    assert len(seen.table().rows) == len(look.PAIRS) and f"{seen.right} of 8" in seen.sentence()
    answers = [answer for _, answer in look.PAIRS]
    assert not set(answers) & set(look.OTHERS) and len(set(look.OTHERS)) == len(look.OTHERS)


@pytest.fixture
def pairs() -> list[tuple[str, str]]:
    """Forty single words, and six hundred sentences of eight words."""
    words = [(f"word{number}", f"слово{number}") for number in range(40)]
    sentences = [
        (f"one two three four five six no {n}", f"раз два три четыре пять шесть номер {n}") for n in range(600)
    ]
    return words + sentences


def test_character_tells_words_from_sentences_and_says_what_is_weak(pairs: list[tuple[str, str]]) -> None:
    knows = _Knows(pairs[40:])
    found = character([knows, _Knows([], "nothing")], pairs=pairs, languages=(), candidates=40)
    by = {(record.model, record.task): record for record in found.records}
    assert by["embedded:knows", "sentences"].value == 1.0 and by["embedded:knows", "sentences"].n == 40
    assert by["embedded:knows", "words"].value < 0.2 and by["nothing", "sentences"].value < 0.2
    low, value, high = (getattr(by["embedded:knows", "words"], name) for name in ("low", "value", "high"))
    assert low <= value <= high
    assert by["embedded:knows", "translated"].value == pytest.approx(1.0, abs=1e-5)
    quantiles = by["embedded:knows", "random"].detail["quantiles"]
    assert quantiles["0.05"] < quantiles["0.5"] < quantiles["0.95"] < 1
    said = weaknesses(found.records, "embedded:knows")
    assert any("single words" in sentence for sentence in said) and not any("sentences of" in one for one in said)
    assert "phrases is left out: 0 pairs" in found.notes and len(found.tables) == 2
    again = character(knows, pairs=pairs, languages=(), candidates=40)
    assert [record.value for record in again.records] == [r.value for r in found.records if r.model == knows.name]


def test_character_refuses_what_would_say_nothing(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="unknown language 'xx'"):
        character(_Knows([]), pairs=pairs, languages=("xx",))
    with pytest.raises(SlonikError, match="candidates is 5"):
        character(_Knows([]), pairs=pairs, candidates=5)
    with pytest.raises(SlonikError, match="pairs of sentences"):
        character(_Knows([]), pairs=pairs[:40], languages=())
    with pytest.raises(SlonikError, match="not found"):
        character(_Knows([]), pairs=tmp_path / "absent.tsv")


def test_other_languages_are_asked_by_the_message_that_both_translate(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [(f"message {n}", f"раз два три четыре пять {n}") for n in range(50)]
    monkeypatch.setattr(measured, "demo_pairs", lambda **options: texts)
    monkeypatch.setattr(
        measured, "other_messages", lambda code: {a: f"eins zwei drei vier fünf {a}" for a, _ in texts[5:]}
    )
    found = dict(measured._across("de", measured.random.Random(0)))
    assert found["eins zwei drei vier fünf message 7"] == "раз два три четыре пять 7" and len(found) == 45
