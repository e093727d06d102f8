"""A model with a head for a task: refused, or its head stays as it is or is left out, and that is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.models.language_model import load_language_model, save_language_model
from slonik.models.loading import load
from slonik.models.task_model import load_task_model, save_task_model
from slonik.pretraining.adaptation.config import AdaptConfig
from slonik.pretraining.adaptation.kept_head import KeptHead, kept_head
from slonik.text.task_config import TaskConfig
from tests import tiny
from tests.compression.heads import batch, outputs, task_model


def config(model: Path, **changes: Any) -> AdaptConfig:
    return AdaptConfig.model_validate({"model": str(model), "out": "x", "corpus": {"files": ["x.txt"]}, **changes})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    for kind in ("sequence", "stock sequence", "tags of all layers"):
        save_task_model(task_model(kind), folder / kind)
    tiny.checkpoint(folder / "encoder", "bert")
    tiny.checkpoint(folder / "words", "gpt2", sentence=False)
    TaskConfig(kind="text2text", task="terra", target="single", labels=("yes", "no")).write(folder / "words")
    return folder


@pytest.mark.parametrize("kind", ["sequence", "stock sequence", "tags of all layers"])
def test_a_kept_head_stands_on_the_adapted_encoder(kind: str, place: Path, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="--task-head keep"):
        kept_head(config(place / kind), print)
    said: list[str] = []
    found = kept_head(config(place / kind, task_head="keep"), said.append)
    assert found is not None and "is not taught" in said[0]
    language = load_language_model(place / kind, "mlm")
    with torch.no_grad():
        for parameter in language.body.parameters():
            parameter.mul_(1.5)
    found.save(language, tmp_path / "out", Passport(name="x"))
    before, after = load_task_model(place / kind, device="cpu"), load_task_model(tmp_path / "out", device="cpu")
    fields = batch(after)
    assert not torch.allclose(outputs(before, fields), outputs(after, fields))
    with torch.no_grad():
        for parameter in before.transformer.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(outputs(before, fields), outputs(after, fields))


def test_of_a_shorter_student_too(place: Path, tmp_path: Path) -> None:
    kind = "tags of all layers"
    language = load_language_model(place / kind, "mlm")
    base: Any = language.body
    base.encoder.layer = base.encoder.layer[::2]
    base.config.num_hidden_layers = language.model.config.num_hidden_layers = 2
    KeptHead(str(place / kind), every=2).save(language, tmp_path / "out", Passport(name="x"))
    assert load_task_model(tmp_path / "out", device="cpu").config.head["layers"] == 3


def test_a_head_is_left_out_aloud(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    assert kept_head(config(place / "sequence", task_head="drop"), said.append) is None
    assert "its head is left out" in said[0]
    save_language_model(load_language_model(place / "sequence", "mlm"), tmp_path / "out")
    load(tmp_path / "out", device="cpu")
    assert "has a head" not in capsys.readouterr().err


def test_what_answers_in_words_keeps_its_task(place: Path, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="answers 'terra' in words"):
        kept_head(config(place / "words"), print)
    found = kept_head(config(place / "words", task_head="keep"), print)
    assert found is not None and found.task is not None and found.task.task == "terra"


def test_no_head_no_word(place: Path) -> None:
    assert kept_head(config(place / "encoder"), print) is None
    with pytest.raises(SlonikError, match="has no head for a task"):
        kept_head(config(place / "encoder", task_head="keep"), print)
    content = json.loads((place / "encoder" / "config.json").read_text())
    (place / "encoder" / "config.json").write_text(
        json.dumps(content | {"architectures": ["BertForNextSentencePrediction"]})
    )
    with pytest.raises(SlonikError, match="would lose"):
        kept_head(config(place / "encoder", task_head="drop"), print)
