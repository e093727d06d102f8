"""`slonik tokenizer trim`: a whole checkpoint, smaller, with the same vectors for texts whose pieces survive."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import tokenizer as tokenizer_command
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from slonik.data.sampling import is_held_out
from slonik.models import load
from tests import tiny
from tests.tiny.texts import PAIRS, TEXTS

ENGLISH = [english for english, _ in PAIRS]
CORPUS = [f"{text} Глава {n}." for n in range(8) for text in TEXTS] + ENGLISH[:4]


def _run(*arguments: str) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    tokenizer_command.register(app)
    result = CliRunner().invoke(app, ["tokenizer", "trim", *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(CORPUS))
    return path


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "modernbert"])
def test_a_checkpoint_is_trimmed_whole_and_embeds_as_before(family: str, tmp_path: Path, corpus: Path) -> None:
    source = tiny.checkpoint(tmp_path / "model", family)
    out, figures = tmp_path / "small", tmp_path / "figures.json"
    shown = _run(str(source), "--corpus", str(corpus), "--out", str(out), "--json", str(figures))
    before, after = load(source), load(out)
    assert after.tokenizer.get_vocab_size() == after.model.config.vocab_size < before.tokenizer.get_vocab_size()
    assert f"{after.tokenizer.get_vocab_size():,} tokens" in shown and "Held-out texts" in shown
    np.testing.assert_allclose(after.encode(TEXTS + ENGLISH[:4]), before.encode(TEXTS + ENGLISH[:4]), atol=1e-6)
    pad = "pad_token_id"
    assert getattr(after.model.config, pad) == getattr(before.model.config, pad)
    records = {(record.metric, record.variant): record for record in read_records(figures)}
    assert records["pieces", ""].value == after.tokenizer.get_vocab_size()
    assert records["identical", ""].n == sum(map(is_held_out, CORPUS)) > 0
    assert 0 < records["identical", "cyrillic"].value <= 1
    step = Passport.read(out).lineage[-1]
    assert step.command == "trim" and set(step.inputs) == {"parent", "corpus.txt"}
    assert Passport.read(out).records == tuple(records.values())


def test_options_reach_the_rules(tmp_path: Path, corpus: Path) -> None:
    source = tiny.checkpoint(tmp_path / "model", "bert")
    words = "walks through the"
    options = ["--counts-only", "--scripts", "ru", "--min-count", "2", "--max-pieces", "150", "--keep", words]
    _run(str(source), "--corpus", str(corpus), "--out", str(tmp_path / "small"), *options)
    small = load(tmp_path / "small")
    assert small.tokenizer.get_vocab_size() == 150
    assert small.tokenizer.encode(words).tokens == load(source).tokenizer.encode(words).tokens
    rules = Passport.read(tmp_path / "small").lineage[-1].config
    assert (rules["mode"], rules["scripts"], rules["min_count"], rules["max_pieces"]) == ("counts", ["ru"], 2, 150)


def test_plain_transformers_loads_the_result(tmp_path: Path, corpus: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    source = tiny.checkpoint(tmp_path / "model", "xlm-roberta")
    _run(str(source), "--corpus", str(corpus), "--out", str(tmp_path / "small"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "small")
    before = AutoTokenizer.from_pretrained(source)
    assert tokenizer.model_max_length == before.model_max_length
    assert tokenizer.special_tokens_map == before.special_tokens_map
    batch, old = (each(TEXTS[:3], padding=True, return_tensors="pt") for each in (tokenizer, before))
    hidden = AutoModel.from_pretrained(tmp_path / "small").eval()(**batch).last_hidden_state
    expected = AutoModel.from_pretrained(source).eval()(**old).last_hidden_state
    assert (hidden - expected).abs().max() < 1e-5


def test_bad_input_is_refused_and_leaves_nothing(tmp_path: Path, corpus: Path) -> None:
    source, out = str(tiny.checkpoint(tmp_path / "model")), tmp_path / "small"
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "cp1251.txt").write_bytes("Слон идёт по лесу".encode("cp1251"))
    for bad, words in {"empty.txt": "the corpus is empty", "cp1251.txt": "cp1251", "none.txt": "not found"}.items():
        with pytest.raises(SlonikError, match=words):
            _run(source, "--corpus", str(tmp_path / bad), "--out", str(out))
    with pytest.raises(SlonikError, match="at most 10 tokens are allowed"):
        _run(source, "--corpus", str(corpus), "--out", str(out), "--max-pieces", "10")
    with pytest.raises(SlonikError, match="language or script 'xx'"):
        _run(source, "--corpus", str(corpus), "--out", str(out), "--scripts", "ru,xx")
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    with pytest.raises(SlonikError, match="not empty"):
        _run(source, "--corpus", str(corpus), "--out", str(out))
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_corpus_too_small_to_set_texts_aside_says_so(tmp_path: Path) -> None:
    source = tiny.checkpoint(tmp_path / "model")
    (tmp_path / "one.txt").write_text(TEXTS[0])
    shown = _run(str(source), "--corpus", str(tmp_path / "one.txt"), "--out", str(tmp_path / "small"))
    assert "too small to set texts aside" in " ".join(shown.split())
    assert json.loads((tmp_path / "small" / "config.json").read_text())["vocab_size"] > 0
