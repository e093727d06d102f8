"""Pooling, length and prefixes survive the folder, in the files that sentence-transformers reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slonik.core.errors import SlonikError
from slonik.text.sentence_config import SentenceConfig


@pytest.mark.parametrize("pooling", ["mean", "cls", "max+lasttoken", "mean+cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_round_trip(tmp_path: Path, pooling: str, normalize: bool) -> None:
    config = SentenceConfig.of(
        pooling,
        normalize=normalize,
        max_length=128,
        prefixes={"query": "query: "},
        default_prefix="query",
    )
    config.write(tmp_path, 32)
    assert SentenceConfig.read(tmp_path) == config


def test_defaults_and_prefixes(tmp_path: Path) -> None:
    plain = SentenceConfig.read(tmp_path)
    assert (plain.pooling, plain.normalize, plain.prefix(None)) == ("mean", True, "")
    e5 = SentenceConfig(prefixes={"query": "query: "}, default_prefix="query")
    assert (e5.prefix(None), e5.prefix(""), e5.prefix("x ")) == ("query: ", "", "x ")


def test_an_unknown_pooling_is_named(tmp_path: Path) -> None:
    SentenceConfig().write(tmp_path, 8)
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_splade": True}))
    with pytest.raises(SlonikError, match="pooling that is not supported"):
        SentenceConfig.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("sentence_bert_config.json", '{"max_seq_length": "long"}', "max_seq_length .* is 'long': use a whole number"),
        ("sentence_bert_config.json", '{"max_seq_length": 0.5}', "max_seq_length"),
        ("modules.json", "{}", "holds no JSON list"),
        ("config_sentence_transformers.json", "[1]", "holds no JSON object"),
        ("1_Pooling/config.json", "{", "not readable JSON"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    SentenceConfig().write(tmp_path, 8)
    (tmp_path / name).write_text(content)
    with pytest.raises(SlonikError, match=sentence):
        SentenceConfig.read(tmp_path)
