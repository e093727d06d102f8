"""BiLSTM taggers: batches and padding change nothing, characters count in order, saving keeps every bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.tagging.models import load_tagger
from slonik.tagging.models.bilstm import CHARACTER_LAYERS, reverse_rows, save_bilstm
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.tagging.models.word_features import LONGEST_WORD
from tests.tagging.models.toys import bilstm, documents

TEXTS = [one.text for one in documents()]


def scores(tagger: NeuralTagger, texts: list[str]) -> list[np.ndarray]:
    return [one.values for one in tagger.marginals(texts)]


@pytest.mark.parametrize("options", [{}, {"crf": True}, {"characters": "lstm", "layers": 2}])
def test_a_text_is_scored_alike_alone_and_in_company(options: dict[str, object]) -> None:
    tagger = bilstm(**options)  # type: ignore[arg-type]
    together = scores(tagger, TEXTS)
    for text, values in zip(TEXTS, together, strict=True):
        assert np.allclose(scores(tagger, [text])[0], values, atol=1e-5)
        assert np.allclose(values.sum(-1), 1.0, atol=1e-4)


def test_equal_seeds_make_equal_taggers_and_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = bilstm(seed=1), bilstm(seed=1), bilstm(seed=2)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(scores(first, TEXTS)[0], scores(second, TEXTS)[0])
    assert not np.array_equal(scores(first, TEXTS)[0], scores(other, TEXTS)[0])


def test_either_direction_is_used() -> None:
    tagger = bilstm(window=64, overlap=0)
    base = scores(tagger, ["пароли банка города нет"])[0]
    assert not np.allclose(base[0], scores(tagger, ["пароли банка города атак"])[0][0])
    assert not np.allclose(base[3], scores(tagger, ["хакер банка города нет"])[0][3])


def test_words_unlike_any_other_still_get_scores() -> None:
    tagger = bilstm()
    values = scores(tagger, ["漢字 " + "ю" * 200 + " 🦣"])[0]
    assert values.shape[0] == 3 or values.shape[0] == 4
    assert np.isfinite(values).all()


def test_only_ends_of_very_long_words_are_read() -> None:
    features = bilstm().features
    features.windows("а" * 100, [(0, 100)])
    assert len(features._rows[-1][2]) == LONGEST_WORD  # type: ignore[attr-defined]


@pytest.mark.parametrize("crf", [False, True])
def test_saved_tagger_is_the_same(tmp_path: Path, crf: bool) -> None:
    tagger = bilstm(crf=crf)
    folder = save_bilstm(tagger, tmp_path / "tagger", Passport(name="tagger"))
    loaded = load_tagger(folder)
    assert isinstance(loaded, NeuralTagger)
    assert loaded.labels == tagger.labels
    for mine, theirs in zip(scores(tagger, TEXTS), scores(loaded, TEXTS), strict=True):
        assert np.array_equal(mine, theirs)
    facts = loaded.describe()
    assert facts["kind"] == ("bilstm-crf" if crf else "bilstm") and facts["parameters"] > 1000 and facts["bytes"] > 1000
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.p*kl*"))


def test_a_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    folder = save_bilstm(bilstm(), tmp_path / "tagger", Passport(name="tagger"))
    content = json.loads((folder / "tagger.json").read_text(encoding="utf-8"))
    (folder / "tagger.json").write_text(json.dumps({**content, "kind": "bilstn"}), encoding="utf-8")
    with pytest.raises(SlonikError, match="did you mean 'bilstm'"):
        load_tagger(folder)
    (folder / "tagger.json").write_text(json.dumps({**content, "words": []}), encoding="utf-8")
    with pytest.raises(SlonikError, match="does not fit"):
        load_tagger(folder)
    (folder / "tagger.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"123")
    with pytest.raises(SlonikError, match="damaged"):
        load_tagger(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SlonikError, match="holds no tagger"):
        load_tagger(tmp_path / "empty")


def test_rows_are_reversed_within_their_length() -> None:
    values = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]])
    lengths = torch.tensor([3, 1, 4])
    assert reverse_rows(values, lengths).tolist() == [[3, 2, 1, 0], [4, 0, 0, 0], [8, 7, 6, 5]]
    deep = torch.randn(3, 4, 2)
    assert torch.equal(reverse_rows(reverse_rows(deep, lengths), lengths), deep)


@pytest.mark.parametrize("kind", ["cnn", "lstm"])
def test_a_word_does_not_feel_the_padding_of_others(kind: str) -> None:
    torch.manual_seed(0)
    layer = CHARACTER_LAYERS[kind](20, 10).eval()
    word = torch.tensor([[3, 4, 5, 6]])
    padded = torch.tensor([[3, 4, 5, 6, 0, 0, 0, 0, 0], [7, 8, 9, 10, 11, 12, 13, 14, 15]])
    with torch.no_grad():
        assert layer(word).shape == (1, 10)
        assert torch.allclose(layer(word)[0], layer(padded)[0], atol=1e-6)
        assert not torch.allclose(layer(word), layer(word.flip(1)), atol=1e-3)


def test_cnn_divides_features_among_widths() -> None:
    assert CHARACTER_LAYERS["cnn"](9, 7)(torch.tensor([[2, 3]])).shape == (1, 7)
