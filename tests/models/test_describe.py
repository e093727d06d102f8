"""Figures from shapes alone against torch: parameter counts and its own FLOP counter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel

from slonik import models
from slonik.models.checkpoint_files import TensorInfo, hash_weights, read_tensors
from slonik.models.describe import describe_tensors, flops_per_text, loader_of
from slonik.models.encoder import TorchEncoder
from slonik.models.state import stored_tensors
from tests import tiny


@pytest.fixture(scope="module", params=tiny.ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    """A tiny encoder of each family, three layers."""
    return models.load(tiny.checkpoint(tmp_path_factory.mktemp("tiny") / request.param, request.param, layers=3))


def test_shape_and_parameters(encoder: TorchEncoder) -> None:
    facts = encoder.describe()
    model = encoder.model
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert facts["embedding_parameters"] == sum(p.numel() for p in model.get_submodule("embeddings").parameters())
    assert facts["parameters"] == facts["embedding_parameters"] + facts["encoder_parameters"]
    assert facts["bytes"] == 4 * facts["parameters"]
    shape = {"layers": 3, "hidden": 32, "heads": 4, "head_size": 8, "ffn": 64, "dtype": "F32"}
    assert {key: facts[key] for key in shape} == shape
    assert facts["vocab"] == encoder.tokenizer.get_vocab_size()


def test_flops_equal_torchs_counter(encoder: TorchEncoder) -> None:
    encoder.model.set_attn_implementation("eager")  # the counter sees plain products only
    encoder.model.pooler = None
    config = encoder.model.config.to_dict()
    for tokens in (7, 16):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder.model(input_ids=torch.full((1, tokens), 9), attention_mask=torch.ones(1, tokens))
        # Older releases of Transformers make the angles of rotary positions by a product, newer ones do not.
        counts = counter.get_flop_counts()
        angles = sum(sum(counts[name].values()) for name in counts if name.endswith("rotary_emb"))
        assert flops_per_text(config, stored_tensors(encoder.model), tokens) == counter.get_total_flops() - angles


def test_folder_and_memory_agree(encoder: TorchEncoder) -> None:
    assert encoder.source is not None
    tensors = read_tensors(encoder.source)
    fresh = models.load(encoder.source)
    assert hash_weights(tensors) == fresh.weights_hash()
    facts = describe_tensors(fresh.model.config.to_dict(), tensors)
    assert facts == {key: value for key, value in fresh.describe().items() if key in facts}


def test_uneven_layers_are_listed(tmp_path: Path) -> None:
    tensors = read_tensors(tiny.checkpoint(tmp_path / "bert"))
    small = {
        name: info if "layer.1" not in name else type(info)(info.dtype, tuple(max(1, size // 2) for size in info.shape))
        for name, info in tensors.items()
    }
    facts = describe_tensors({"hidden_size": 32, "num_attention_heads": 4}, small)
    assert (facts["heads"], facts["ffn"]) == ([4, 2], [64, 32])


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_decoders_have_a_shape_too(family: str, tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / family, family)
    model = tiny.model(family, vocab_size=500)
    facts = describe_tensors(model.config.to_dict(), read_tensors(folder))
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (facts["layers"], facts["heads"], facts["ffn"]) == (2, 4, 64)


@pytest.mark.parametrize("family", ["distilbert", "electra"])
def test_further_families(family: str) -> None:
    shape = {"vocab_size": 99, "max_position_embeddings": 40}
    if family == "distilbert":
        config = AutoConfig.for_model(family, dim=32, n_layers=2, n_heads=4, hidden_dim=64, **shape)
    else:
        sizes = {"hidden_size": 32, "embedding_size": 16, "intermediate_size": 64}
        config = AutoConfig.for_model(family, num_hidden_layers=2, num_attention_heads=4, **sizes, **shape)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    tensors = {name: TensorInfo("F32", tuple(tensor.shape)) for name, tensor in model.state_dict().items()}
    facts = describe_tensors(config.to_dict(), tensors)
    assert facts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (facts["layers"], facts["hidden"], facts["heads"], facts["ffn"]) == (2, 32, 4, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.full((1, 9), 5), attention_mask=torch.ones(1, 9))
    assert flops_per_text(config.to_dict(), tensors, 9) == counter.get_total_flops()


def test_loader() -> None:
    assert loader_of({"model_type": "bert"}) == "stock AutoModel.from_pretrained"
    assert "trust_remote_code" in loader_of({"model_type": "x", "auto_map": {"AutoModel": "a.B"}})
    assert loader_of({"model_type": "slonik_slim", "auto_map": {"AutoModel": "a.B"}}).startswith("slonik.load")
