"""Uneven encoders: built by their config alone, saved with their code, loaded without a flag."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, BertModel, GPT2Model

from slonik.core.errors import SlonikError
from slonik.models import modeling_slonik, slim
from slonik.models.loading import load
from tests.tiny.models import checkpoint, config

ENCODERS = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert")


def _made(family: str) -> Any:
    stock = {
        made.config_class.model_type: getattr(made, "stock")  # noqa: B009
        for made in modeling_slonik.CLASSES
        if getattr(made, "_auto_class") == "AutoModel"  # noqa: B009
    }["slonik_" + family.replace("-", "_")]
    made = slim.slim_config(stock, config(family).to_dict(), [1, 3], [16, 40], 8)
    return slim.slim_class(stock)(made).eval()


@pytest.mark.parametrize("family", ENCODERS)
def test_layers_have_the_sizes_of_the_config(family: str) -> None:
    from slonik.models.anatomy import dissect

    body = dissect(_made(family))
    assert body.anatomy.family == family
    assert (body.heads, body.ffn, body.head_size) == ((1, 3), (16, 40), 8)


@pytest.mark.parametrize("family", ENCODERS)
def test_whole_checkpoint_loads_like_any_other(family: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "stock", family)
    made = _made(family)
    made.save_pretrained(folder)
    encoder = load(folder)
    assert type(encoder.model) is type(made)
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert torch.allclose(encoder.model(input_ids=ids)[0], made(input_ids=ids)[0], atol=1e-6)
    assert encoder.encode(["слон идёт"]).shape == (1, 32)
    assert encoder.describe()["heads"] == [1, 3] and encoder.describe()["ffn"] == [16, 40]


def test_saved_config_names_class_and_code(tmp_path: Path) -> None:
    _made("bert").save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert content["model_type"] == "slonik_bert"
    assert content["auto_map"]["AutoConfig"] == "modeling_slonik.SlonikBertConfig"
    assert content["auto_map"]["AutoModelForTokenClassification"] == "modeling_slonik.SlonikBertForTokenClassification"
    assert (tmp_path / "modeling_slonik.py").read_bytes() == Path(modeling_slonik.__file__).read_bytes()


def test_fine_tuning_heads_load_from_the_encoder(tmp_path: Path) -> None:
    made = _made("xlm-roberta")
    made.save_pretrained(tmp_path)
    slim.register()
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path, num_labels=3).eval()
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        assert tagger(input_ids=ids).logits.shape == (1, 10, 3)
        assert torch.allclose(tagger.base_model(input_ids=ids)[0], made(input_ids=ids)[0], atol=1e-6)


def test_code_file_stands_alone() -> None:
    tree = ast.parse(Path(modeling_slonik.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {str(name).split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"torch", "transformers"}


def test_heads_need_not_divide_the_hidden_size() -> None:
    values = config("bert").to_dict() | {"hidden_size": 28}
    made = slim.slim_class(BertModel)(slim.slim_config(BertModel, values, [3, 3], [16, 16], 8)).eval()
    assert made(input_ids=torch.arange(5, 15)[None])[0].shape == (1, 10, 28)
    assert made.config.num_attention_heads == 4


def test_sizes_must_fit_the_layers() -> None:
    with pytest.raises(ValueError, match="must name 2 layers"):
        slim.slim_class(BertModel)(slim.slim_config(BertModel, config("bert").to_dict(), [1], [16], 8))
    with pytest.raises(SlonikError, match="GPT2Model cannot have uneven layers"):
        slim.slim_class(GPT2Model)
