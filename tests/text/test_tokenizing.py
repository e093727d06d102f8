"""One padding id, one way to make rows: whatever the tokenizer, a row cut or windowed holds the text's own tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slonik.core.errors import SlonikError
from slonik.text.tokenizing import (
    TextRows,
    content_ids,
    encode,
    load_tokenizer,
    pad_id,
    special_names,
    template_of,
    write_tokenizer,
)
from tests import tiny

KINDS = ("wordpiece", "bpe", "unigram")


@pytest.mark.parametrize("kind", KINDS)
def test_windows_hold_every_token_once(kind: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    rows = TextRows(tokenizer, 0)
    contents = content_ids(tokenizer, [*tiny.TEXTS, ""], threads=1)
    room = rows.template.size + 3
    found = rows.arrange(contents, room, "average")
    made, owners, shares = found.ids, found.owners, found.shares
    assert max(map(len, made)) <= room
    head, tail = len(rows.template.head), len(rows.template.tail)
    for number, content in enumerate(contents):
        own = [made[place][head : len(made[place]) - tail] for place in np.flatnonzero(owners == number)]
        assert [token for part in own for token in part] == content
        assert shares[owners == number].sum() == pytest.approx(1.0)
    first = rows.arrange(contents, room, "truncate")
    assert first.ids == rows.rows([*tiny.TEXTS, ""], room, threads=1)
    assert first.cut == sum(len(content) > 3 for content in contents)
    with pytest.raises(SlonikError, match=r"text 0 has more than \d+ tokens"):
        rows.arrange(contents, room, "refuse")


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_point_into_the_text_without_its_prefix(kind: str) -> None:
    tokenizer = tiny.tokenizer(kind)
    rows = TextRows(tokenizer, 0)
    text = "Слон  пьёт воду \ud800 ."
    ids, offsets, special = rows.with_offsets(text, "query: ", 512)
    assert ids == [*rows.template.head, *encode(tokenizer, "query: " + text).ids, *rows.template.tail]
    assert (offsets[special] == 0).all()
    spans = offsets[~special].tolist()
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    covered = {place for start, end in spans for place in range(start, end)}  # bytes of a letter share its span
    assert covered == {place for place, sign in enumerate(text) if not sign.isspace()}


def test_the_padding_id_is_the_configs_then_the_names_then_the_usual() -> None:
    tokenizer = tiny.tokenizer("wordpiece")
    usual = tokenizer.token_to_id("[PAD]")
    assert pad_id(tokenizer) == usual
    assert pad_id(tokenizer, names={"pad_token": "[SEP]"}) == tokenizer.token_to_id("[SEP]")
    assert pad_id(tokenizer, names={"pad_token": "no such token"}) == usual
    assert pad_id(tokenizer, config_id=7, names={"pad_token": "[SEP]"}) == 7
    assert pad_id(tokenizer, config_id=-1) == usual  # what some decoders' configs say for none


def test_many_texts_are_cut_as_each_alone() -> None:
    tokenizer = tiny.tokenizer("bpe")
    texts = [*tiny.TEXTS, "\ud800 слон"] * 20
    assert content_ids(tokenizer, texts, threads=2) == content_ids(tokenizer, texts, threads=1)


def test_a_written_tokenizer_is_read_back_with_its_names(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("wordpiece")
    names = {"pad_token": "[PAD]", "mask_token": "no such token"}
    write_tokenizer(tokenizer, tmp_path, names=names, max_length=77, types=True)
    assert special_names(tmp_path) == {"pad_token": "[PAD]"}
    assert template_of(load_tokenizer(tmp_path)) == template_of(tokenizer)
    assert load_tokenizer(tmp_path / "tokenizer.json").to_str() == load_tokenizer(tmp_path).to_str()
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["model_max_length"] == 77


def test_what_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlonikError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(SlonikError, match="there is no tokenizer"):
        load_tokenizer(tmp_path / "gone.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SlonikError, match="is damaged"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(SlonikError, match="holds no JSON object"):
        special_names(tmp_path)


@pytest.mark.parametrize(
    ("config", "lower"),
    [
        ({"tokenizer_class": "BertTokenizer", "do_lower_case": True}, True),
        ({"tokenizer_class": "BertTokenizerFast"}, True),
        ({"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}, False),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True}, False),
        ({}, True),
    ],
)
def test_case_is_what_the_class_in_transformers_makes_of_it(
    tmp_path: Path, config: dict[str, object], lower: bool
) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny.checkpoint(tmp_path / "model")
    names = json.loads((folder / "tokenizer_config.json").read_text())
    names = {name: value for name, value in names.items() if name != "tokenizer_class"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names | config))
    found = load_tokenizer(folder)
    text = "Ёж МОСКВА, Слон и й"
    assert found.encode(text).ids == transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert (found.encode("Слон").ids == found.encode("слон").ids) == lower
