"""Graphs that tests keep: whatever torch reads of a call decides which one it gets."""

from __future__ import annotations

from typing import Any

import torch

from tests import tiny
from tests.exporting.kept import key_of


def _call(**changes: Any) -> str | None:
    model = tiny.model("bert")
    model.config._name_or_path = changes.pop("place", "here")
    if changes.pop("weight", False):
        with torch.no_grad():
            model.embeddings.word_embeddings.weight[3, 2] += 1e-3
    if heads := changes.pop("heads", None):
        model.config.num_attention_heads = heads
    length = torch.export.Dim("length", min=1, max=changes.pop("longest", 64))
    example = torch.ones(1, changes.pop("example", 8), dtype=torch.int64)
    return key_of((model, (example,)), {"dynamic_shapes": {"input_ids": {1: length}}, "opset_version": 18, **changes})


def test_equal_calls_share_a_graph_and_no_others_do() -> None:
    assert _call() == _call(place="there") is not None
    others: list[dict[str, Any]] = [
        {}, {"weight": True}, {"heads": 2}, {"longest": 32}, {"example": 9}, {"opset_version": 20},
    ]  # fmt: skip
    assert len({_call(**other) for other in others}) == len(others)


def test_what_cannot_be_written_down_has_no_key() -> None:
    assert key_of(lambda: None) is None
