"""What a config.json of Transformers or sentence-transformers says of a head, and how it may contradict itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.text.task_config import TaskConfig


def of(architecture: str = "BertForSequenceClassification", **fields: Any) -> TaskConfig:
    sentence = fields.pop("sentence", {})
    return TaskConfig.of_config_json({"model_type": "bert", "architectures": [architecture], **fields}, sentence)


def test_labels_are_sorted_by_their_numbers_and_keep_their_names() -> None:
    names = [f"класс {number}" for number in range(12)]
    config = of(id2label={str(number): names[number] for number in reversed(range(12))})
    assert config.labels == tuple(names) and config.target == "single" and config.shape == "stock"
    assert of().labels == ("LABEL_0", "LABEL_1")
    assert of(num_labels=3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    half = of(id2label={"0": "нет", "1": "да"}, label2id={"LABEL_0": 0, "LABEL_1": 1})  # a config edited by half
    assert half.labels == ("нет", "да")


@pytest.mark.parametrize(
    ("fields", "target", "activation"),
    [
        ({"num_labels": 3}, "single", "identity"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "multi", "identity"),
        ({"num_labels": 1, "problem_type": "multi_label_classification"}, "multi", "identity"),
        ({"num_labels": 1, "problem_type": "regression"}, "number", "identity"),
        ({"num_labels": 1}, "number", "sigmoid"),
        ({"num_labels": 1, "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "number",
         "identity"),
        ({"num_labels": 1, "sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid",
          "problem_type": "regression"}, "number", "sigmoid"),
        ({"num_labels": 1, "sentence": {"activation_fn": "torch.nn.modules.linear.Identity"}}, "number", "identity"),
    ],
)  # fmt: skip
def test_the_kind_of_problem_is_what_pipelines_and_cross_encoders_take_it_for(
    fields: dict[str, Any], target: str, activation: str
) -> None:
    config = of(**fields)
    assert (config.target, config.activation) == (target, activation)


def test_the_class_says_the_kind() -> None:
    assert of("XLMRobertaForTokenClassification", id2label={"0": "O", "1": "B-PER"}).target == "tags"
    assert of("ElectraForQuestionAnswering").target == "answer"
    assert of("BertForMultipleChoice").target == "choice"
    with pytest.raises(SlonikError, match="names no head"):
        of("BertForMaskedLM")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id2label": {"0": "да", "1": "да"}}, "the label 'да' more than once"),
        ({"id2label": {"0": "да", "2": "нет"}}, "none for number 1"),
        ({"id2label": {"0": "да", "00": "нет"}}, "two labels for number 0"),
        ({"id2label": {"нет": "0"}}, "the key 'нет'"),
        ({"id2label": ["да", "нет"]}, "must be an object"),
        ({"id2label": {}}, "must be an object"),
        ({"id2label": {"0": "да", "1": "нет"}, "num_labels": 3}, "num_labels in config.json is 3"),
        ({"num_labels": 0}, "a whole number over 0"),
        ({"id2label": {"0": "да", "1": "нет"}, "label2id": {"да": 1, "нет": 0}}, "number 0 in id2label"),
        ({"id2label": {"0": "да", "1": "нет"}, "label2id": {"да": 0, "нед": 1}}, "label2id in config.json has no"),
        ({"id2label": {"0": "да", "1": "нет"}, "label2id": {"да": 0, "нет": 1, "?": 2}}, "has '\\?'"),
        ({"num_labels": 3, "problem_type": "regression"}, "regression of several numbers"),
        ({"num_labels": 1, "problem_type": "single_label_classification"}, "there is one label"),
        ({"problem_type": "ranking"}, "problem_type in config.json is 'ranking'"),
        ({"num_labels": 1, "sentence_transformers": {"activation_fn": "my.Own"}}, "the activation in config.json"),
    ],
)  # fmt: skip
def test_contradictions_are_one_sentence(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(SlonikError, match=words):
        of(**fields)


def test_the_length_is_the_tokenizers_within_the_positions(tmp_path: Path) -> None:
    def length(config: dict[str, Any], tokenizer: dict[str, Any]) -> int:
        content = {"architectures": ["XForSequenceClassification"], **config}
        (tmp_path / "config.json").write_text(json.dumps(content), encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        return TaskConfig.read(tmp_path).max_length

    assert length({"model_type": "bert", "max_position_embeddings": 512}, {"model_max_length": 10**30}) == 512
    assert length({"model_type": "bert", "max_position_embeddings": 512}, {"model_max_length": 128}) == 128
    roberta = {"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    assert length(roberta, {"model_max_length": 1000}) == 512
    assert length({"model_type": "t5"}, {}) == 512
