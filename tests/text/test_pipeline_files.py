"""What a folder of modules may say, and what it may not: each refusal is one sentence that names the thing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slonik.core.errors import SlonikError
from slonik.text.activations import ACTIVATIONS
from slonik.text.pipeline import Dense, LayerNorm, Normalize, Pooling, pool
from slonik.text.pipeline_files import modules_without_weights, read_pipeline, write_pipeline
from slonik.text.sentence_config import SentenceConfig
from slonik.text.tensors import read_tensors, tensor_names, write_tensors
from tests.tiny.layouts import edit

RNG = np.random.default_rng(0)


def array(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


MODULES = (Pooling(("cls", "mean")), Dense(array(6, 16), array(6)), LayerNorm(array(6), array(6)), Normalize())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Cls and mean of 8 dimensions, a Dense to 6, a LayerNorm."""
    SentenceConfig(MODULES, max_length=16).write(tmp_path, 8)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": 16}))
    return tmp_path


def test_modules_come_back_as_they_were(folder: Path) -> None:
    assert SentenceConfig.read(folder).modules == MODULES
    assert SentenceConfig.read(folder).dimension(8) == 6


def typed(folder: Path, number: int, **changes: Any) -> None:
    lines = json.loads((folder / "modules.json").read_text())
    lines[number] |= changes
    (folder / "modules.json").write_text(json.dumps(lines))


@pytest.mark.parametrize(
    "kind",
    [
        "sentence_transformers.sparse_encoder.models.SpladePooling",
        "sentence_transformers.models.Router",
        "sentence_transformers.models.WordEmbeddings",
        "sentence_transformers.models.CNN",
        "sentence_transformers.models.LSTM",
        "sentence_transformers.models.BoW",
        "sentence_transformers.models.WeightedLayerPooling",
        "modeling_own.Pooling",
    ],
)
def test_modules_that_are_not_supported_are_named(folder: Path, kind: str) -> None:
    typed(folder, 1, type=kind)
    with pytest.raises(SlonikError, match=kind.replace(".", r"\.")):
        SentenceConfig.read(folder)


@pytest.mark.parametrize("path", ["../other", "/etc", "1_Pooling/../../x", "..\\other", "C:\\x"])
def test_a_path_that_leaves_the_folder_is_not_read(folder: Path, path: str) -> None:
    typed(folder, 2, path=path)
    with pytest.raises(SlonikError, match="outside the folder"):
        SentenceConfig.read(folder)
    with pytest.raises(SlonikError, match="outside the folder"):
        modules_without_weights(folder)


@pytest.mark.parametrize(
    ("file", "changes", "sentence"),
    [
        ("2_Dense/config.json", {"in_features": 12}, "12 to 6 dimensions, the weights beside it have 16 to 6"),
        ("2_Dense/config.json", {"in_features": "16"}, "'16' to 6 dimensions"),
        ("2_Dense/config.json", {"bias": False}, "holds linear.bias, for which .* has no use"),
        ("2_Dense/config.json", {"activation_function": "my.Own"}, "activation_function .* 'my.Own'"),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.GLU"}, "GLU"),
        ("2_Dense/config.json", {"gate": True}, "sets gate to True"),
        ("2_Dense/config.json", {"module_input_name": "all_layer_embeddings"}, "all_layer_embeddings"),
        ("2_Dense/config.json", {"module_input_name": "token_embeddings"}, "works on token states after the pooling"),
        ("3_LayerNorm/config.json", {"dimension": 7}, "another width than the 7"),
        ("1_Pooling/config.json", {"pooling_mode_attention": True}, "sets pooling_mode_attention"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "first"]}, "first"),
        ("1_Pooling/config.json", {"pooling_mode": []}, r"pooling_mode .* is \[\]"),
        ("1_Pooling/config.json", {"include_prompt": "no"}, "include_prompt"),
        (
            "sentence_bert_config.json",
            {"transformer_task": "fill-mask"},
            "'fill-mask', which gives no sentence vectors",
        ),
        ("sentence_bert_config.json", {"max_seq_length": True}, "max_seq_length"),
        ("sentence_bert_config.json", {"do_lower_case": "yes"}, "do_lower_case"),
        (
            "sentence_bert_config.json",
            {"tokenizer_args": {"add_prefix_space": True}},
            "tokenizer_args.add_prefix_space",
        ),
        ("sentence_bert_config.json", {"model_args": {"subfolder": "x"}}, "model_args.subfolder"),
        ("sentence_bert_config.json", {"query_expansion": {"length": 32}}, "query_expansion"),
        ("sentence_bert_config.json", {"magic": 1}, "sets magic to 1"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "'q', which is none of its prompts"),
        ("config_sentence_transformers.json", {"truncate_dim": 0}, "truncate_dim"),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "a sparse encoder"),
        ("config_sentence_transformers.json", {"prompts": ["a"]}, "prompts"),
        ("config_sentence_transformers.json", {"prompts": {"query": 5}}, "the prompt 'query' .* is 5"),
        ("long_texts.json", {"long_text": "average"}, "sets long_text, which is not known"),
        ("long_texts.json", {"long_texts": "windows"}, "'windows': use truncate, average, refuse"),
    ],
)
def test_what_would_change_vectors_unseen_is_refused(
    folder: Path, file: str, changes: dict[str, Any], sentence: str
) -> None:
    edit(folder / file, **changes)
    with pytest.raises(SlonikError, match=sentence):
        SentenceConfig.read(folder)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("sentence_bert_config.json", {"model_args": {"torch_dtype": "float16", "attn_implementation": "sdpa"}}),
        ("sentence_bert_config.json", {"unpad_inputs": True, "magic": None, "other": False}),
        ("1_Pooling/config.json", {"pooling_mode_of_the_future": False, "embedding_dimension": 8}),
        ("config_sentence_transformers.json", {"__version__": {"pytorch": "9"}, "similarity_fn_name": "dot"}),
        ("config_sentence_transformers.json", {"default_prompt_name": "query", "prompts": {"document": None}}),
    ],
)
def test_what_changes_nothing_is_no_matter(folder: Path, file: str, changes: dict[str, Any]) -> None:
    edit(folder / file, **changes)
    assert SentenceConfig.read(folder).modules == MODULES


def test_modules_that_do_not_fit_each_other_or_the_model_are_named(folder: Path) -> None:
    with pytest.raises(SlonikError, match=r"module 2 of modules\.json, Dense 16 to 6 .*, takes 16 .* gives 20"):
        SentenceConfig.read(folder).dimension(10)
    (folder / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(SlonikError, match="weights of the Dense module are missing"):
        read_pipeline(folder)
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(SlonikError, match="--convert-weights"):
        read_pipeline(folder)


def test_a_folder_without_a_pooling_asks_for_one(folder: Path) -> None:
    lines = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(lines[:1]))
    with pytest.raises(SlonikError, match="names no Pooling"):
        SentenceConfig.read(folder)
    chosen = SentenceConfig.read(folder, pooling="cls+max")
    assert chosen.pooling == "cls+max" and chosen.normalize and not chosen.assumed
    (folder / "modules.json").unlink()
    assert SentenceConfig.read(folder, pooling="lasttoken").pooling == "lasttoken"
    with pytest.raises(SlonikError, match="the pooling 'first' is not known"):
        SentenceConfig.read(folder, pooling="first")


def test_a_pooling_is_not_chosen_against_the_folder(folder: Path) -> None:
    with pytest.raises(SlonikError, match="leave out the pooling 'mean'"):
        SentenceConfig.read(folder, pooling="mean")


@pytest.mark.parametrize(
    ("family", "config", "length"),
    [
        ("bert", {"max_position_embeddings": 64}, 64),
        ("roberta", {"max_position_embeddings": 66, "pad_token_id": 1}, 64),
        ("mpnet", {"max_position_embeddings": 66, "pad_token_id": 0}, 64),
        ("gpt2", {"n_positions": 64}, 64),
        ("modernbert", {"max_position_embeddings": 64}, 512),
        ("t5", {"n_positions": 64}, 512),
        ("deberta-v2", {"max_position_embeddings": 64, "position_biased_input": False}, 512),
    ],
)
def test_lengths_are_no_more_than_there_are_positions(
    tmp_path: Path, family: str, config: dict[str, Any], length: int
) -> None:
    edit(tmp_path / "config.json", model_type=family, **config)
    edit(tmp_path / "sentence_bert_config.json", max_seq_length=512)
    assert SentenceConfig.read(tmp_path).max_length == length
    edit(tmp_path / "sentence_bert_config.json", max_seq_length=None)
    edit(tmp_path / "tokenizer_config.json", model_max_length=20)
    assert SentenceConfig.read(tmp_path).max_length == 20
    edit(tmp_path / "tokenizer_config.json", model_max_length=10**30)
    assert SentenceConfig.read(tmp_path).max_length == (512 if family == "t5" else 64)


def test_heads_do_not_mind_what_only_vectors_need(folder: Path) -> None:
    edit(folder / "sentence_bert_config.json", transformer_task="sequence-classification", do_lower_case=True)
    edit(folder / "config_sentence_transformers.json", model_type="CrossEncoder", prompts={"query": "q: "})
    edit(folder / "long_texts.json", long_texts="average")
    found = SentenceConfig.read(folder, vectors=False)
    assert found.lower_case and found.max_length == 16 and found.long_texts == "average"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_torch(name: str) -> None:
    x = np.concatenate([array(4, 30) * 4, np.zeros((4, 2), dtype=np.float32)], axis=1)
    options = {"dim": -1} if "oft" in name and name.endswith(("max", "min", "Max")) else {}
    made = getattr(nn, name)(**options).eval()
    np.testing.assert_allclose(ACTIVATIONS[name](x), made(torch.from_numpy(x)).numpy(), atol=2e-6)


@pytest.mark.parametrize("kept", [[0, 2, 3], [7]])
def test_a_cut_pipeline_reads_what_is_left(kept: list[int]) -> None:
    config = SentenceConfig(MODULES[:2])
    states, mask = array(3, 5, 8), np.ones((3, 5), dtype=np.int64)
    states[:, :, [number for number in range(8) if number not in kept]] = 0
    cut = config.cut(kept, 8)
    assert (cut.dimension(len(kept)), config.cut(None, 8)) == (6, config)
    whole = config.finish(pool(states, mask, ("cls", "mean")))
    np.testing.assert_allclose(cut.finish(pool(states[:, :, kept], mask, ("cls", "mean"))), whole, atol=1e-5)
    assert SentenceConfig(truncate_dim=4).cut([0, 3, 5], 8).truncate_dim == 2


def test_tensors_are_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    values = {"b": array(3, 4), "a": array(5)}
    write_tensors(tmp_path / "own.safetensors", values)
    for name, tensor in safetensors.load_file(tmp_path / "own.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), values[name])
    kinds = {"half": torch.float16, "brain": torch.bfloat16, "double": torch.float64, "single": torch.float32}
    tensors = {name: torch.randn(3, 5).to(kind) for name, kind in kinds.items()}
    safetensors.save_file(tensors, tmp_path / "theirs.safetensors")
    assert sorted(tensor_names(tmp_path / "theirs.safetensors")) == sorted(kinds)
    for name, found in read_tensors(tmp_path / "theirs.safetensors").items():
        np.testing.assert_array_equal(found, tensors[name].float().numpy())
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(SlonikError, match="is damaged"):
        read_tensors(tmp_path / "broken.safetensors")


def test_modules_of_several_layouts_are_written_so_that_they_are_read(tmp_path: Path) -> None:
    modules = (
        Dense(array(8, 8), None, "torch.nn.modules.activation.PReLU", array(1), tokens=True),
        Pooling(("mean", "cls"), include_prompt=False),
        Dense(array(5, 16), array(5), residual=True, shortcut=array(5, 16)),
    )
    write_pipeline(tmp_path, modules, 8)
    assert read_pipeline(tmp_path) == modules
