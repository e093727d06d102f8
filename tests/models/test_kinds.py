"""One answer to "what is this model?", and it is Transformers' own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto import modeling_auto

from slonik.core.errors import SlonikError
from slonik.models import embedded
from slonik.models.kinds import Kind, kind_of, stack_of
from slonik.models.names import EMBEDDED_CHECKPOINTS, UNIVERSAL_SENTENCE_ENCODER
from tests import tiny

MASKED = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
CAUSAL = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
SEQ2SEQ = modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES


def expected(family: str) -> str:
    """By what Transformers trains a family for."""
    return "encoder-decoder" if family in SEQ2SEQ else "encoder" if family in MASKED else "decoder"


def test_the_table_is_that_of_transformers() -> None:
    families = {*MASKED, *CAUSAL, *SEQ2SEQ}
    assert {name: stack_of({"model_type": name}) for name in families} == {name: expected(name) for name in families}


@pytest.mark.parametrize(
    ("config", "stack"),
    [
        ({"model_type": "new_family", "architectures": ["NewForCausalLM"]}, "decoder"),
        ({"model_type": "new_family", "architectures": ["NewForMaskedLM"]}, "encoder"),
        ({"model_type": "new_family", "architectures": ["NewForConditionalGeneration"]}, "encoder-decoder"),
        ({"model_type": "new_family", "auto_map": {"AutoModel": "code.New"}}, "encoder"),
        ({"model_type": "new_family", "auto_map": {"AutoModelForCausalLM": "code.New"}}, "decoder"),
        ({"model_type": "new_family"}, None),
        ({"model_type": "t5", "architectures": ["T5EncoderModel"], "is_encoder_decoder": True}, "encoder"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}, "decoder"),
        ({"model_type": "bart", "architectures": ["BartForCausalLM"], "is_decoder": True}, "decoder"),
        ({"model_type": "xlm", "architectures": ["XLMWithLMHeadModel"]}, "encoder"),
        ({"model_type": "slonik_deberta_v2"}, "encoder"),
        ({"model_type": "ltg_bert"}, "encoder"),
    ],
)
def test_what_the_config_says_comes_first(config: dict[str, Any], stack: str | None) -> None:
    assert stack_of(config) == stack


@pytest.mark.parametrize("family", ["gemma", "gemma2", "opt", "llama", "qwen2", "qwen3", "mistral", "gpt2", "gptj"])
def test_decoders_are_never_encoders(family: str) -> None:
    assert stack_of({"model_type": family}) == "decoder"


def written(folder: Path, config: dict[str, Any], **files: dict[str, Any]) -> Kind:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return kind_of(folder)


def test_what_lies_in_a_folder(tmp_path: Path) -> None:
    kind = kind_of(tiny.checkpoint(tmp_path / "bert"))
    assert (kind.name, kind.family, kind.stack) == ("encoder", "bert", "encoder")
    assert not kind.exported and not kind.writes
    (tmp_path / "bert" / "onnx").mkdir()
    assert kind_of(tmp_path / "bert") == replace(kind, exported=True)
    (tmp_path / "bert" / "model.safetensors").unlink()
    assert (kind_of(tmp_path / "bert").name, kind_of(tmp_path / "bert").stack) == ("exported", "encoder")
    gpt2 = written(tmp_path / "gpt2", {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]})
    assert gpt2.writes and str(gpt2) == "a decoder (gpt2)"
    bare = written(tmp_path / "bare", {"model_type": "gpt2", "architectures": ["GPT2Model"]})
    assert bare.in_words and not bare.writes
    head = written(tmp_path / "head", {"model_type": "bert", "architectures": ["BertForSequenceClassification"]})
    assert (head.name, head.stack) == ("head", "encoder")
    task = written(tmp_path / "task", {"model_type": "t5"}, task={"kind": "text2text", "target": "text"})
    assert (task.name, task.stack) == ("task", "encoder-decoder")
    assert written(tmp_path / "ner", {"model_type": "bert"}, task={"target": "tags", "kind": "tokens"}).name == "tagger"
    assert written(tmp_path / "crf", {}, tagger={"kind": "crf"}).name == "tagger"


def test_names_without_folders() -> None:
    assert kind_of("hashing_300").name == "baseline"
    assert kind_of(UNIVERSAL_SENTENCE_ENCODER).name == "embedded"
    assert tuple(embedded.CHECKPOINTS) == EMBEDDED_CHECKPOINTS


def test_an_unknown_family_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"the model_type 'elephant' in .*config.json is not known: take an encoder"):
        written(tmp_path / "x", {"model_type": "elephant"})
