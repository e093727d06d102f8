"""Metrics of attention equal what they are by hand; syntactic heads are found where they are planted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import slonik
from slonik.core.errors import SlonikError
from slonik.data.conllu import Sentence, Unit, Word
from slonik.inspection import attention as room
from slonik.inspection.attention import METRICS, attention, head_metrics, per_text, syntax_heads, text_attention
from tests import tiny


def test_metrics_of_uniform_and_of_previous_token_attention() -> None:
    uniform = torch.full((4, 4), 0.25)
    previous = torch.zeros(4, 4)
    previous[torch.arange(4), torch.tensor([0, 0, 1, 2])] = 1.0
    weights = torch.stack([uniform, previous])[None].double()
    mask = torch.ones(1, 4)
    special = torch.tensor([[True, False, False, False]])
    found = {name: per_text(weights, mask, special)[0, :, place] for place, name in enumerate(METRICS)}
    assert found["entropy"].tolist() == pytest.approx([math.log(4), 0.0], abs=1e-9)
    assert found["entropy_share"].tolist() == pytest.approx([1.0, 0.0], abs=1e-9)
    assert found["distance"].tolist() == pytest.approx([(6 + 4 + 4 + 6) / 16, 0.75])
    assert found["special"].tolist() == pytest.approx([0.25, 0.5])
    assert found["self"].tolist() == pytest.approx([0.25, 0.25])
    assert found["previous"].tolist() == pytest.approx([3 / 16, 0.75])
    assert found["next"].tolist() == pytest.approx([3 / 16, 0.0])


def test_padding_changes_nothing() -> None:
    weights = torch.softmax(torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(1)), -1).double()
    padded = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    padded[:, :, :3, :3] = weights
    padded[:, :, 3:, 0] = 1.0
    special = torch.tensor([[True, False, False, False, False]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    torch.testing.assert_close(per_text(padded, mask, special), per_text(weights, mask[:, :3], special[:, :3]))


@pytest.mark.parametrize("family", ("bert", "gpt2", "t5"))
def test_metrics_of_a_model(tmp_path: Path, family: str) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, family))
    found = head_metrics(encoder, tiny.TEXTS[:6])
    assert len(found) == 2 * 4 * len(METRICS)
    for metric in found:
        assert metric.low - 1e-9 <= metric.value <= metric.high + 1e-9
        if metric.name not in ("entropy", "distance"):
            assert -1e-6 <= metric.value <= 1 + 1e-6
    with pytest.raises(SlonikError, match="no texts"):
        head_metrics(encoder, [])


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
    assert found is not None
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
    best = {(f.relation, f.direction): f for f in syntax_heads(encoder, [sentence] * 3, fewest=2)}
    assert (best["any", "head"].layer, best["any", "head"].head, best["any", "head"].share) == (2, 1, 1.0)
    assert best["any", "head"].offset_share == 0.5  # the verb is before one of them and after the other
    assert best["nsubj", "head"].offset_share == 1.0
    assert best["nsubj", "head"].n == 3


def test_a_multiword_token_is_left_out(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    words = (Word(1, "не", head=2, deprel="advmod"), Word(2, "знаю", head=0, deprel="root"))
    with pytest.raises(SlonikError, match="aligned"):
        syntax_heads(encoder, [Sentence(words, (Unit("незнаю", (1, 2)),))])
