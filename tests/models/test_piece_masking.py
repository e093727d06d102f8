"""Hidden pieces: the right share, never a special one, only while training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slonik import models
from slonik.core.errors import SlonikError
from slonik.finetuning.config import Tuning
from slonik.finetuning.train import prepared
from slonik.models.piece_masking import PieceMasking
from slonik.models.task_config import TaskConfig
from slonik.models.task_model import TaskModel, new_task_model
from slonik.text.tokenizers.token_facts import TokenFacts
from tests.tiny.models import checkpoint


def test_the_share_is_hidden_and_specials_stay() -> None:
    special = torch.arange(50) < 5
    masking = PieceMasking(0.3, 4, special)
    ids = torch.arange(50).repeat(400, 1)
    torch.manual_seed(0)
    found = masking(ids)
    assert (found[:, :5] == ids[:, :5]).all()
    changed = found != ids
    assert (found[changed] == 4).all() and changed[:, 5:].float().mean() == pytest.approx(0.3, abs=0.01)
    assert not torch.equal(found, masking(ids))


def _model(folder: Path) -> TaskModel:
    config = TaskConfig(kind="sequence", task="mood", labels=("да", "нет"))
    return new_task_model(models.load(checkpoint(folder, "bert")), config)


def test_a_task_model_hides_pieces_while_it_is_trained(tmp_path: Path) -> None:
    model = _model(tmp_path)
    batch = {"input_ids": torch.randint(10, 60, (4, 12)), "attention_mask": torch.ones(4, 12, dtype=torch.long)}
    model.eval()
    before = model(batch)
    with prepared(model, Tuning(masked_pieces=0.5, encoder_dropout=0.0, head={"dropout": 0.0})):
        assert torch.equal(model(batch), before)  # as when the held-out texts are looked at
        model.transformer.train()
        model.training = True
        torch.manual_seed(1)
        first = model(batch)
        assert not torch.allclose(first, before) and not torch.allclose(first, model(batch))
        torch.manual_seed(1)
        assert torch.allclose(first, model(batch), atol=1e-6)  # torch's state decides: a resumed run hides the same
        model.eval()
    model.training = True
    assert torch.equal(model(batch), before)


def test_without_a_mask_token_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(tmp_path)
    bare = TokenFacts(special=torch.zeros(60).bool().numpy(), starts_word=torch.ones(60).bool().numpy(),
                  bytes=torch.ones(60).long().numpy(), pad=0)  # fmt: skip
    monkeypatch.setattr("slonik.finetuning.train.token_facts", lambda *_, **__: bare)
    with (
        pytest.raises(SlonikError, match="no mask token, and masked_pieces needs one"),
        prepared(model, Tuning(masked_pieces=0.1)),
    ):
        pass
