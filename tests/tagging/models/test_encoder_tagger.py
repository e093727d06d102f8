"""Encoder taggers: the first token of each word, windows over long texts, folders that any loader reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import slonik
from slonik.core.errors import SlonikError
from slonik.models.task_model import TaskModel, new_task_model, save_task_model
from slonik.tagging.models import load_tagger
from slonik.tagging.models.encoder_tagger import TokenFeatures
from slonik.tagging.models.neural_tagger import NeuralTagger
from slonik.text.task_config import TaskConfig
from tests.tagging.models.toys import LABELS, documents, encoder
from tests.tiny.models import checkpoint
from tests.tiny.tokenizers import tokenizer

TEXTS = [one.text for one in documents()]
ODD = "Слон,слониха и «слонёнок»\r\nза\u0301мок\u00a0у реки 😀 конец"


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("text", [TEXTS[0], ODD])
def test_position_of_a_word_is_its_first_token(kind: str, text: str) -> None:
    toy = tokenizer(kind)
    features = TokenFeatures(toy, window=512, overlap=0)
    words = features.split(text)
    (window,) = features.windows(text, words)
    tokens = toy.encode(text)
    assert window.fields["input_ids"].tolist() == tokens.ids
    for (start, end), place in zip(words, window.fields["positions"], strict=True):
        first, last = tokens.offsets[place]
        assert first < end and last > start
        before = [offsets for offsets in tokens.offsets[1:place] if offsets[1] > start]
        assert not before, (text[start:end], before)


def test_windows_label_every_word_once_and_fit() -> None:
    features = TokenFeatures(tokenizer("unigram"), window=20, overlap=6)
    text = " ".join(TEXTS)
    words = features.split(text)
    found = features.windows(text, words)
    assert len(found) > 3
    assert [place for one in found for place in range(one.first, one.stop)] == list(range(len(words)))
    for one in found:
        assert len(one.fields["input_ids"]) <= 20
        assert one.fields["positions"].min() >= 1 and one.fields["positions"].max() < len(one.fields["input_ids"])


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_a_text_is_scored_alike_alone_and_in_company(tmp_path: Path, family: str) -> None:
    tagger = encoder(tmp_path, family=family)
    together = list(tagger.marginals(TEXTS))
    for text, scores in zip(TEXTS, together, strict=True):
        alone = next(iter(tagger.marginals([text])))
        assert np.allclose(alone.values, scores.values, atol=1e-4)


@pytest.mark.parametrize("crf", [False, True])
def test_saved_tagger_is_an_ordinary_checkpoint_too(tmp_path: Path, crf: bool) -> None:
    tagger = encoder(tmp_path / "base", crf=crf)
    assert isinstance(tagger.model, TaskModel)
    with torch.no_grad():
        for parameter in tagger.model.head.parameters():
            parameter.add_(torch.randn_like(parameter))
    folder = save_task_model(tagger.model, tmp_path / "tagger")
    loaded = load_tagger(folder)
    assert isinstance(loaded, NeuralTagger)
    assert loaded.tag(TEXTS) == tagger.tag(TEXTS)
    assert loaded.describe()["kind"] == ("encoder-crf" if crf else "encoder")
    assert slonik.load(folder).encode(["слон"]).shape == (1, 32)


def test_a_head_that_reads_all_layers_averages_their_normalised_states(tmp_path: Path) -> None:
    tagger = encoder(tmp_path / "base", layers=3)  # two layers and the embeddings
    model = tagger.model
    assert isinstance(model, TaskModel)
    words = tagger.features.split(TEXTS[0])
    (window,) = tagger.features.windows(TEXTS[0], words)[:1]
    batch = {name: torch.from_numpy(array).long()[None] for name, array in window.fields.items()}
    with torch.no_grad():
        model.head.mixture.copy_(torch.tensor([0.0, 1.0, 2.0]))  # type: ignore[operator, union-attr]
        states = model.transformer(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        ).hidden_states
        weights = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
        normalised = [(one - one.mean(-1, keepdim=True)) / (one.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
                      for one in states]  # fmt: skip
        mixed = sum(weight * one[0, batch["positions"][0]] for weight, one in zip(weights, normalised, strict=True))
        assert torch.allclose(model(batch)[0], model.head.output(mixed), atol=1e-4)  # type: ignore[operator, union-attr]
    folder = save_task_model(model, tmp_path / "tagger")
    assert load_tagger(folder).tag(TEXTS) == tagger.tag(TEXTS)


def test_a_model_for_another_task_is_refused(tmp_path: Path) -> None:
    config = TaskConfig(kind="sequence", task="mood", labels=("да", "нет"))
    model = new_task_model(slonik.load(checkpoint(tmp_path / "base")), config)
    folder = save_task_model(model, tmp_path / "mood")
    with pytest.raises(SlonikError, match="not a tagger"):
        load_tagger(folder)


def test_labels_are_those_of_the_task(tmp_path: Path) -> None:
    assert encoder(tmp_path).labels == LABELS.classes
