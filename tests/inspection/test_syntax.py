"""Syntactic heads are found where planted, never in what a head cannot see, and beside a twin with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slonik
from slonik.core.errors import SlonikError
from slonik.data.conllu import Sentence, Unit, Word
from slonik.inspection import syntax as room
from slonik.inspection.page import inspection_tables
from slonik.inspection.syntax import syntax_heads
from slonik.inspection.twin import random_twin
from tests import tiny


def _sentence() -> Sentence:
    words = (
        Word(1, "Слон", "слон", "NOUN", {}, 2, "nsubj"),
        Word(2, "идёт", "идти", "VERB", {}, 0, "root"),
        Word(3, "домой", "домой", "ADV", {}, 2, "advmod"),
    )
    return Sentence(words, tuple(Unit(word.form, (word.id, word.id)) for word in words))


def test_tokens_become_words_and_the_planted_head_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    sentence = _sentence()
    found = room._word_attention(encoder, sentence, "")
    assert not isinstance(found, str)
    words, shape = found
    assert words.shape == (8, 3, 3)
    assert shape == [4, 4]
    assert (words.sum(-1) <= 1 + 1e-6).all()  # the rest is on special tokens

    def planted(*_: object) -> tuple[np.ndarray, list[int]]:
        made = np.full((8, 3, 3), 0.1)
        made[5, [0, 2], 1] = 0.9  # layer 2, head 1: both dependents look at the verb
        made[5, 1, 1] = 0.95  # itself, which does not count
        return made, [4, 4]

    monkeypatch.setattr(room, "_word_attention", planted)
    best = {found.task: found for found in syntax_heads(encoder, [sentence] * 3, fewest=2)}
    any_head = best["syntax_any_to_head"]
    assert (any_head.layer, any_head.detail["head"], any_head.value) == (2, 1, 1.0)
    assert any_head.detail["offset_share"] == 0.5  # the verb is before one of them and after the other
    assert best["syntax_nsubj_to_head"].detail["offset_share"] == 1.0
    assert best["syntax_nsubj_to_head"].n == 3


def test_a_multiword_token_is_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    words = (Word(1, "не", head=2, deprel="advmod"), Word(2, "знаю", head=0, deprel="root"))
    with pytest.raises(SlonikError, match="aligned"):
        syntax_heads(encoder, [Sentence(words, (Unit("незнаю", (1, 2)),))])
    kept = [_sentence()] * 3 + [Sentence(words, (Unit("незнаю", (1, 2)),))] * 2
    records = syntax_heads(encoder, kept, fewest=2)
    assert records[0].detail["sentences"] == 3
    assert records[0].detail["skipped"] == {"a multiword token": 2}
    assert set(records[0].hashes) == {"weights", "texts"}
    (table,) = inspection_tables(records)
    assert "2 of 5 sentences were left out: a multiword token 2" in table.notes
    assert table.columns[4] == "random weights"
    (table,) = inspection_tables(syntax_heads(encoder, kept, fewest=2, twin=False))
    assert "random weights" not in table.columns
    assert syntax_heads(encoder, kept, fewest=200) == []
    assert "too few to say which heads follow syntax" in capsys.readouterr().err


def test_a_decoder_does_not_see_the_words_to_come(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "gpt2"))
    best = {found.task: found for found in syntax_heads(encoder, [_sentence()] * 3, fewest=2)}
    subject = best["syntax_nsubj_to_head"]  # the verb comes after it
    assert (subject.value, subject.detail["unseen"], subject.detail["chance_share"]) == (0.0, 1.0, 0.0)
    assert subject.detail["random_share"] == 0.0
    back = best["syntax_nsubj_to_dependent"]  # from the verb there is but one word to look at
    assert (back.value, back.detail["chance_share"], back.detail["random_share"]) == (1.0, 1.0, 1.0)
    (table,) = inspection_tables(list(best.values()))
    assert any("where no head of a decoder can look" in note for note in table.notes)


def test_a_twin_has_other_weights_and_the_same_words(tmp_path: Path) -> None:
    for family in ("bert", "t5"):
        encoder = slonik.load(tiny.checkpoint(tmp_path / family, family))
        twin = random_twin(encoder)
        assert twin.weights_hash() not in (encoder.weights_hash(), random_twin(encoder, seed=1).weights_hash())
        assert twin.weights_hash() == random_twin(encoder).weights_hash()
        assert twin.tokenize(tiny.TEXTS) == encoder.tokenize(tiny.TEXTS)
        assert twin.encode(tiny.TEXTS[:3]).shape == encoder.encode(tiny.TEXTS[:3]).shape
