"""Metrics of attention equal what they are by hand; no family gives none."""

from __future__ import annotations

import base64
import math
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

import slonik
from slonik.compression.surgery import apply
from slonik.core.errors import SlonikError
from slonik.inspection import attention_weights as room
from slonik.inspection.attention import (
    METRICS,
    attention,
    head_metrics,
    per_text,
    text_attention,
    unpacked,
)
from slonik.inspection.attention_weights import attention_weights, eager_attention
from slonik.inspection.page import inspection_tables
from slonik.inspection.twin import is_twin
from slonik.models.anatomy import dissect
from slonik.models.loading import load_transformer
from tests import tiny
from tests.compression.families import batch, some_plan
from tests.compression.families import tiny as tiny_model


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
        if metric.metric not in ("entropy", "distance"):
            assert -1e-6 <= metric.value <= 1 + 1e-6
    with pytest.raises(SlonikError, match="no texts"):
        head_metrics(encoder, [])


def test_attention_as_one_call(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    found = attention(encoder, tiny.TEXTS[:3])
    assert len(found.records) == 2 * 2 * 4 * len(METRICS)
    (table,) = inspection_tables(found.records)
    assert [row.cells[0].text for row in table.rows] == ["layer 1", "layer 2", "random weights, all layers"]
    entropy = [r.value for r in found.records if is_twin(r.model) and r.metric == "entropy_share"]
    assert min(entropy) > 0.7  # nothing was learned: tokens are nearly alike
    alone = attention(encoder, tiny.TEXTS[:1], twin=False).records
    assert {(r.low, r.high) for r in alone} == {(None, None)} and len(alone) == 2 * 4 * len(METRICS)
    shown = text_attention(encoder, "Слон идёт домой.")
    assert [layer.shape for layer in shown.weights] == [(4, len(shown.tokens), len(shown.tokens))] * 2
    np.testing.assert_allclose(shown.weights[0].sum(-1), 1.0, atol=1e-5)
    layer = shown.records[0].detail["layers"][0]
    size = len(shown.tokens)
    again = unpacked(layer, size, size)
    assert np.abs(again - shown.weights[0]).max() <= shown.weights[0].max() / 510 + 1e-6
    earlier = {"heads": 4, "largest": layer["largest"]}  # records of an earlier slonik, not compressed
    earlier["shares"] = base64.b64encode(zlib.decompress(base64.b64decode(layer["shares"]))).decode()
    np.testing.assert_array_equal(unpacked(earlier, size, size), again)


def test_a_limit_holds_for_the_treebank(tmp_path: Path) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    lines = ["1\tСлон\tслон\tNOUN\t_\t_\t2\tnsubj\t_\t_", "2\tидёт\tидти\tVERB\t_\t_\t0\troot\t_\t_"]
    treebank = tmp_path / "bank.conllu"
    treebank.write_text("\n\n".join("\n".join(lines) for _ in range(30)) + "\n\n", encoding="utf-8")
    for limit, sentences in ((25, 25), (None, 30)):
        found = attention(encoder, tiny.TEXTS[:2], treebank=treebank, limit=limit, twin=False)
        assert {r.detail["sentences"] for r in found.records if r.task.startswith("syntax")} == {sentences}
    with pytest.raises(SlonikError, match="limit is 5, and there is no treebank"):
        attention(encoder, tiny.TEXTS[:2], limit=5)


def test_texts_that_are_cut_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = slonik.load(tiny.checkpoint(tmp_path, "bert"))
    encoder.name = str(tmp_path)  # warnings are said once
    long = "слон идёт домой " * 700
    attention(encoder, [long, "Слон идёт."], twin=False)
    assert f"{tmp_path}: 1 of 2 texts are longer than the 64 tokens that it reads" in capsys.readouterr().err
    text_attention(encoder, long)
    said = capsys.readouterr().err
    assert f"{tmp_path} does not read the last" in said and "of its first 64 tokens" in said


SHAPES = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert", "gpt2", "t5", "slim")


def _of(family: str) -> PreTrainedModel:
    if family == "slim":
        whole = tiny_model("xlm-roberta")
        return apply(whole, some_plan(whole))
    return tiny_model(family)


def _ids() -> tuple[Tensor, Tensor]:
    made = batch(3, 7)
    return made["input_ids"], made["attention_mask"]


@pytest.mark.parametrize("family", SHAPES)
def test_every_family_shows_weights_and_is_left_as_it_was(family: str) -> None:
    model = _of(family)
    used = model.config._attn_implementation
    ids, mask = _ids()
    found = attention_weights(model, ids, mask)
    assert [weights.shape[1] for weights in found] == list(dissect(model).heads)
    for weights in found:
        rows = (weights * mask[:, None, None, :]).sum(-1)[mask[:, None, :].expand(-1, weights.shape[1], -1) == 1]
        torch.testing.assert_close(rows, torch.ones_like(rows), atol=1e-4, rtol=0)
    assert model.config._attn_implementation == used


def test_eager_attention_is_put_back_after_an_error() -> None:
    model = tiny_model("bert")
    used = model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), eager_attention(model):
        assert model.config._attn_implementation == "eager"
        raise ZeroDivisionError
    assert model.config._attn_implementation == used


def test_empty_attention_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def stay(model: Any) -> Any:
        return nullcontext()

    model = tiny_model("bert")
    assert model.config._attn_implementation == "sdpa"
    monkeypatch.setattr(room, "eager_attention", stay)
    with pytest.raises(SlonikError, match="attention weights of 0 layers"):
        attention_weights(model, *_ids())


def test_a_slim_checkpoint_from_disk_shows_its_heads(tmp_path: Path) -> None:
    model = _of("slim")
    model.save_pretrained(tmp_path)
    loaded = load_transformer(tmp_path)
    found = attention_weights(loaded, *_ids())
    assert [weights.shape[1] for weights in found] == list(dissect(model).heads)
