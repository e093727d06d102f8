"""LTG-BERT: attention against the formula written out, positions, blocks, its checkpoint with and without our code."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import slonik
from slonik import models
from slonik.models.fresh import Shape, TokenIds, build
from slonik.models.modeling_ltg_bert import LtgBertForMaskedLM, log_buckets
from tests import tiny

IDS = TokenIds(size=500, pad=1)


def _model(**fields: object) -> LtgBertForMaskedLM:
    sizes = {"family": "ltg-bert", "layers": 2, "hidden": 32, "heads": 4, "ffn": 40, "max_length": 64}
    made = build(Shape.model_validate({**sizes, **fields}), IDS)
    assert isinstance(made, LtgBertForMaskedLM)
    return made.eval()


def test_attention_is_content_and_positions_as_the_paper_writes_them() -> None:
    model = _model(layers=1)
    base, config = model.ltg_bert, model.config
    ids = torch.randint(2, 500, (1, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = base(ids, output_attentions=True).attentions[0][0]  # (H, T, T)
        words, positions = base.embeddings(ids)
        attention = base.encoder.layer[0].attention
        projected = attention.query_key(attention.pre_norm(words))[0]
        placed = attention.query_key(positions)
    size, head = 32, 8
    for number in range(4):
        part = slice(number * head, (number + 1) * head)
        query, key = projected[:, :size][:, part], projected[:, size:][:, part]
        query_at, key_at = placed[:, :size][:, part], placed[:, size:][:, part]
        scores = torch.zeros(9, 9)
        for i in range(9):
            for j in range(9):
                row = int(log_buckets(torch.tensor(i - j), config.position_bucket_size, 64)) + 31
                scores[i, j] = query[i] @ key[j] + query[i] @ key_at[row] + query_at[row] @ key[j]
        expected = torch.softmax(scores / math.sqrt(3 * head), dim=-1)
        assert torch.allclose(weights[number], expected, atol=1e-5)


def test_every_length_finds_its_places_in_the_table() -> None:
    for length in range(20, 1037):
        buckets = log_buckets(torch.tensor([1 - length, 0, length - 1]), 32, length)
        assert buckets.tolist() == [-31, 0, 31], length


def test_buckets_are_exact_nearby_and_symmetric_far_away() -> None:
    distance = torch.arange(-511, 512)
    buckets = log_buckets(distance, 32, 512)
    near = distance.abs() <= 16
    assert torch.equal(buckets[near], distance[near])
    assert torch.equal(buckets, -buckets.flip(0))
    assert int(buckets.max()) == 31 and torch.all(buckets.diff() >= 0)


def test_padding_and_neighbours_in_a_row_change_nothing() -> None:
    model = _model()
    rows = [torch.randint(2, 500, (length,), generator=torch.Generator().manual_seed(length)) for length in (7, 5)]
    alone = [_hidden(model, row[None], torch.ones(1, len(row))) for row in rows]
    padded = torch.ones(2, 7, dtype=torch.long)
    mask = torch.zeros(2, 7)
    for number, row in enumerate(rows):
        padded[number, : len(row)], mask[number, : len(row)] = row, 1
    together = _hidden(model, padded, mask)
    blocks = torch.block_diag(torch.ones(7, 7), torch.ones(5, 5))[None, None] > 0
    packed = _hidden(model, torch.cat(rows)[None], blocks)
    assert torch.allclose(together[0], alone[0][0], atol=1e-5)
    assert torch.allclose(together[1, :5], alone[1][0], atol=1e-5)
    assert torch.allclose(packed[0], torch.cat([alone[0][0], alone[1][0]]), atol=1e-5)


def _hidden(model: LtgBertForMaskedLM, ids: Tensor, mask: Tensor) -> Tensor:
    with torch.no_grad():
        return model.ltg_bert(ids, mask).last_hidden_state


def test_initial_weights_shrink_with_depth() -> None:
    model = _model(layers=4, hidden=64, ffn=256)
    deviation = math.sqrt(2 / (5 * 64)) * 0.88  # of a normal cut at two deviations
    for depth, layer in enumerate(model.ltg_bert.encoder.layer):
        assert abs(layer.attention.value.weight.std().item() / deviation - 1) < 0.05
        expected = deviation * math.sqrt(1 / (2 * (1 + depth)))
        assert abs(layer.feed_forward.inner.weight.std().item() / expected - 1) < 0.05


def _save(folder: Path) -> LtgBertForMaskedLM:
    model = _model()
    model.save_pretrained(folder)
    tiny.tokenizer("wordpiece").save(str(folder / "tokenizer.json"))
    return model


def test_checkpoint_opens_in_slonik_without_a_flag(tmp_path: Path) -> None:
    model = _save(tmp_path)
    assert (tmp_path / "modeling_ltg_bert.py").is_file()
    encoder = slonik.load(tmp_path)
    texts = ["Маленький слон идёт по лесу.", "Снег."]
    vectors = encoder.encode(texts)
    ids = torch.tensor([encoder.tokenize(texts)[1]])
    with torch.no_grad():
        expected = model.ltg_bert(ids).last_hidden_state[0].mean(0)
    expected = expected / expected.norm() if encoder.sentence.normalize else expected
    assert torch.allclose(torch.from_numpy(vectors[1]), expected, atol=1e-5)
    facts = encoder.describe()
    assert (facts["layers"], facts["heads"], facts["ffn"], facts["model_type"]) == (2, 4, 40, "ltg_bert")


@pytest.mark.parametrize("file", ["modeling_ltg_bert.py", "modeling_slonik.py", "modeling_slonik_task.py"])
def test_files_that_travel_ask_transformers_for_nothing_that_its_version_4_lacks(file: str) -> None:
    tree = ast.parse((Path(models.__file__).parent / file).read_text(encoding="utf-8"))
    asked = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transformers")
        for alias in node.names
    }
    classes = {name for module, name in asked if module == "transformers"}
    assert classes <= {"AutoModel", "PretrainedConfig", "PreTrainedModel"}  # not PreTrainedConfig, of version 5
    assert {module for module, _ in asked} <= {"transformers", "transformers.modeling_outputs"}
