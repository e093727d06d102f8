"""Lines for other clients are right for the pipeline, are valid programs, and say what a client cannot do."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from slonik.reporting.client_snippets import Snippet, snippets
from slonik.text.pipeline import Dense, Normalize, Pooling
from slonik.text.sentence_config import SentenceConfig

FILES = ("model.onnx", "model_quantized.onnx")


def _made(sentence: SentenceConfig, **more: Any) -> dict[str, Snippet]:
    return {one.client: one for one in snippets("org/model", sentence, 384, FILES, **more)}


def _call(program: str, name: str) -> dict[str, str]:
    """Keywords of the one call of `name` in `program`, as they are written."""
    calls = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Call)]
    call = next(node for node in calls if ast.unparse(node.func).endswith(name))
    return {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}


def _dense() -> Dense:
    return Dense(weight=np.eye(8, 16, dtype=np.float32), bias=None, activation="torch.nn.modules.activation.Tanh")


@pytest.mark.parametrize(
    ("sentence", "pooling", "normalised", "from_file"),
    [
        (SentenceConfig.of("mean"), "MEAN", True, False),
        (SentenceConfig.of("mean", normalize=False), "MEAN", False, False),
        (SentenceConfig.of("cls"), "CLS", True, False),
        (SentenceConfig.of("lasttoken"), "DISABLED", False, True),
        (SentenceConfig.of("max"), "DISABLED", False, True),
        (SentenceConfig.of("cls+mean"), "DISABLED", False, True),
        (SentenceConfig((Pooling(("cls",)), _dense(), Normalize())), "DISABLED", False, True),
        (SentenceConfig.of("mean", truncate_dim=16), "DISABLED", False, True),
    ],
)
def test_a_clients_own_pooling_is_named_only_where_it_is_the_whole_pipeline(
    sentence: SentenceConfig, pooling: str, normalised: bool, from_file: bool
) -> None:
    made = _made(sentence)
    call = _call(made["fastembed"].program, "add_custom_model")
    assert (call["pooling"], call["normalization"]) == (f"PoolingType.{pooling}", str(normalised))
    assert call.get("output_name") == ("'sentence_embedding'" if from_file else None)
    assert (call["dim"], call["model_file"]) == ("384", "'onnx/model_quantized.onnx'")
    js = made["transformers.js"].program
    assert ("sentence_embedding" in js) is from_file
    assert from_file or f"pooling: '{sentence.pooling}', normalize: {str(normalised).lower()}" in js
    assert any("0.9" in remark for remark in made["fastembed"].remarks) is from_file


def test_prefix_stands_in_the_texts_and_is_quoted_for_each_language() -> None:
    prefixes = {"query": 'it\'s "so":\n'}
    made = _made(SentenceConfig.of("mean", prefixes=prefixes, default_prefix="query"))
    tree = ast.parse(made["fastembed"].program)
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and "Привет" in str(node.value)]
    assert texts == ['it\'s "so":\nПривет, мир!']
    assert "'it\\'s \"so\":\\nПривет, мир!'" in made["transformers.js"].program
    assert any("prefix" in remark for remark in made["fastembed"].remarks)
    assert "it's" not in made["sentence-transformers"].program  # it adds the prompt itself


def test_what_a_client_does_otherwise_is_said() -> None:
    left_out = SentenceConfig((Pooling(("mean",), include_prompt=False),), prefixes={"q": "q: "}, default_prefix="q")
    assert any("pools a prefix" in remark for remark in _made(left_out)["fastembed"].remarks)
    assert any("`average`" in one for one in _made(SentenceConfig(long_texts="average"))["transformers.js"].remarks)
    assert any("neighbours" in one for one in _made(SentenceConfig(), int8="dynamic")["fastembed"].remarks)
    assert not any("neighbours" in one for one in _made(SentenceConfig(), int8="static")["fastembed"].remarks)
    plain = {one.client: one for one in snippets("m", SentenceConfig(), 8, ["model.onnx"], int8="dynamic")}
    assert "onnx/model.onnx" in plain["fastembed"].program and "fp32" in plain["transformers.js"].program
    assert not any("neighbours" in one for one in plain["fastembed"].remarks)


def test_a_family_that_writes_is_opened_as_a_reader() -> None:
    program = _made(SentenceConfig.of("mean"), writer=True)["transformers.js"].program
    assert "PreTrainedModel" in program and "model_file_name: 'model'" in program and "pipeline(" not in program
