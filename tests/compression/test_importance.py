"""The losses that importance is taken of: each equals its definition on the uncut model, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from slonik import models
from slonik.compression.config import PruneConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.importance import importance
from slonik.compression.pruning import prune
from slonik.core.errors import SlonikError
from slonik.models.encoder import TorchEncoder
from slonik.train.objectives.masking import IGNORED
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertForMaskedLM

    place = tmp_path_factory.mktemp("importance") / "lm"
    tiny.checkpoint(place, "bert", layers=2)
    encoder = models.load(str(place))
    torch.manual_seed(0)
    with_head = BertForMaskedLM(encoder.model.config)
    with_head.bert.load_state_dict(encoder.model.state_dict(), strict=False)
    with_head.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TorchEncoder:
    return models.load(str(folder))


def _sample(pairs: bool = False) -> CorpusSample:
    return CorpusSample(list(tiny.TEXTS[:12]), list(tiny.PAIRS[:6]) if pairs else [], [], [])


def test_masked_words_cost_what_the_whole_model_says(folder: Path, encoder: TorchEncoder) -> None:
    from transformers import BertForMaskedLM

    found = importance(encoder, encoder, PruneConfig(loss="mlm"), _sample(), 0)
    batch = found.batches[0]
    logits = BertForMaskedLM.from_pretrained(folder).eval()(batch["input_ids"], batch["attention_mask"]).logits
    each = F.cross_entropy(logits.transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none")
    expected = each.sum(1) / (batch["labels"] != IGNORED).sum(1)
    torch.testing.assert_close(found.first(encoder.model, batch), expected, rtol=1e-4, atol=1e-4)


def test_distance_to_the_original_is_zero_at_the_original(encoder: TorchEncoder) -> None:
    found = importance(encoder, encoder, PruneConfig(loss="original"), _sample(), 0)
    assert float(found.later(encoder.model, found.batches[0]).detach().abs().max()) < 1e-5
    assert found.first is not found.later


@pytest.mark.parametrize("loss", ["pairs", "movement", "original", "mlm"])
def test_every_loss_leads_to_a_cut(encoder: TorchEncoder, loss: str) -> None:
    config = PruneConfig(loss=loss, heads=0.5, ffn=0.5, steps=2, texts=8, refit=False)
    cut, plan, _ = prune(encoder, encoder, config, _sample(pairs=True), 0)
    assert cut.model.num_parameters() < encoder.model.num_parameters()
    assert np.isfinite(cut.encode(list(tiny.TEXTS[:2]))).all() and len(plan.layers) == 2


def test_what_is_missing_is_said(encoder: TorchEncoder, tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match="give --pairs"):
        importance(encoder, encoder, PruneConfig(loss="pairs"), _sample(), 0)
    with pytest.raises(SlonikError, match="hidden dimensions"):
        importance(encoder, encoder, PruneConfig(loss="mlm", hidden=0.5), _sample(), 0)
    tiny.checkpoint(tmp_path / "bare", "bert", layers=2)
    bare = models.load(str(tmp_path / "bare"))
    with pytest.raises(SlonikError, match="no language-model head"):
        importance(bare, bare, PruneConfig(loss="mlm"), _sample(), 0)
