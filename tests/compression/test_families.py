"""Every family of encoders that people have: cut right, or refused in a sentence before its weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CamembertConfig, CamembertModel, PreTrainedModel, T5Config, T5EncoderModel

from slonik.compression import latency
from slonik.compression.config import PruneConfig
from slonik.compression.corpus import CorpusSample
from slonik.compression.gates import gated
from slonik.compression.headed import HeadedEncoder, open_headed
from slonik.compression.plan import Plan, keep_layers, whole
from slonik.compression.pruning import check_pruning, prune
from slonik.compression.surgery import apply, keep_tokens, masks
from slonik.core.errors import SlonikError
from slonik.models import load
from slonik.models.encoder import TorchEncoder
from tests import tiny
from tests.compression.families import batch
from tests.compression.families import tiny as random_model
from tests.compression.toy_corpus import pairs


def _made(family: str, layers: int = 3) -> PreTrainedModel:
    if family == "mpnet":
        return random_model("mpnet", layers=layers)
    torch.manual_seed(0)
    if family == "camembert":
        sizes = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": 48}
        return CamembertModel(CamembertConfig(vocab_size=60, initializer_range=0.2, **sizes)).eval()
    t5 = T5Config(vocab_size=60, d_model=32, d_kv=6, num_layers=layers, num_heads=4, d_ff=48, initializer_factor=3.0)
    return T5EncoderModel(t5).eval()


def _states(model: PreTrainedModel) -> torch.Tensor:
    inputs = batch()
    with torch.no_grad():
        return model(**inputs)[0] * inputs["attention_mask"][:, :, None]


def _narrow(plan: Plan) -> Plan:
    """Without the middle layer, and with some neurons."""
    plan = keep_layers(plan, [0, 2])
    return plan.model_copy(update={"ffn": (tuple(range(5, 37)), tuple(range(32)))})


@pytest.mark.parametrize("family", ["mpnet", "camembert", "t5"])
def test_masked_model_is_the_cut_model(family: str, tmp_path: Path) -> None:
    model = _made(family)
    plan = _narrow(whole(model))
    with gated(model, masks(model, plan)):
        masked = _states(model)
    cut = apply(model, plan)
    assert type(cut) is type(model) and torch.allclose(_states(cut), masked, atol=1e-5)
    assert not torch.allclose(_states(model), masked, atol=1e-2)
    order = [0, 1, 2, *range(59, 2, -1)]
    renumbered = keep_tokens(model, order)
    ids = {old: new for new, old in enumerate(order)}
    inputs = batch()
    moved = inputs | {"input_ids": inputs["input_ids"].apply_(lambda token: ids[int(token)])}
    with torch.no_grad():
        found = renumbered(**moved)[0] * inputs["attention_mask"][:, :, None]
    assert torch.allclose(found, _states(model), atol=1e-5)


@pytest.mark.parametrize("family", ["mpnet", "t5"])
def test_what_shares_position_biases_is_not_cut(family: str) -> None:
    model = _made(family)
    plan = whole(model)
    with pytest.raises(SlonikError, match="share a table of position biases"):
        apply(model, plan.model_copy(update={"heads": tuple((0, 1) for _ in plan.layers)}))
    with pytest.raises(SlonikError, match="hidden dimensions of"):
        apply(model, plan.model_copy(update={"hidden": tuple(range(16))}))
    assert latency.measure(model, tokens=8, use_cache=False).heads == (4,)
    if family == "t5":
        with pytest.raises(SlonikError, match="keep layer 0"):
            apply(model, keep_layers(plan, [1, 2]))


def test_a_target_leaves_heads_of_mpnet_whole(tmp_path: Path) -> None:
    encoder = load(tiny.checkpoint(tmp_path / "mpnet", "mpnet"))
    texts = [russian for _, russian in pairs()]
    sample = CorpusSample(texts=texts, pairs=[], held_texts=texts[:20], held_pairs=[])
    config = PruneConfig(target_flops=0.7, steps=2, texts=16)
    cut, plan, summary = prune(encoder, encoder, config, sample, 0)
    assert {len(heads) for heads in plan.heads} == {4} and isinstance(cut, TorchEncoder)
    assert set(summary["compared"]["moved"]) >= {"layers, heads and neurons"}
    headed = HeadedEncoder(encoder)
    for fields, words in (
        ({"heads": 0.5}, "prune.heads is 0.5"), ({"hidden": 0.5}, "prune.hidden is 0.5"), ({"uneven": True}, "alike")
    ):  # fmt: skip
        with pytest.raises(SlonikError, match=words):
            check_pruning(headed, PruneConfig(**fields))


REFUSED: dict[str, dict[str, Any]] = {
    "albert": {"architectures": ["AlbertModel"]},
    "deberta": {"architectures": ["DebertaModel"]},
    "nomic_bert": {"architectures": ["NomicBertModel"]},
    "eurobert": {"architectures": ["EuroBertModel"]},
    "xlnet": {"architectures": ["XLNetModel"]},
    "new": {"architectures": ["NewModel"], "auto_map": {"AutoModel": "modeling.NewModel"}},
    "qwen3": {"architectures": ["Qwen3Model"]},
}


@pytest.mark.parametrize("family", REFUSED)
def test_others_are_refused_before_their_weights_are_read(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **REFUSED[family]}))
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(SlonikError) as caught:
        open_headed(tmp_path)
    said = str(caught.value)
    assert family in said and "\n" not in said
    assert ("cannot be cut" in said and "slonik distill" in said) or "only encoders can be cut" in said
    assert ("Python code" in said) == (family == "new")
