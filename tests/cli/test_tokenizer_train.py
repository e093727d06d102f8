"""`slonik tokenizer train`: a folder that plain AutoTokenizer loads, and the table beside other tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import tokenizer as tokenizer_command
from slonik.core.errors import SlonikError
from slonik.core.passport import Passport
from slonik.core.records import read_records
from tests.tiny.texts import PAIRS, TEXTS
from tests.tiny.tokenizers import tokenizer


def _run(*arguments: str) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    tokenizer_command.register(app)
    result = CliRunner().invoke(app, ["tokenizer", "train", *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(f"{text} Глава {n}." for n in range(4) for text in TEXTS))
    return path


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_a_tokenizer_is_trained_measured_and_written(kind: str, tmp_path: Path, corpus: Path) -> None:
    english, other = tmp_path / "english.txt", tmp_path / "other.json"
    english.write_text("\n".join(pair[0] for pair in PAIRS))
    tokenizer("bpe").save(str(other))
    out, figures = tmp_path / "made", tmp_path / "figures.json"
    options = ["--kind", kind, "--vocab-size", "500", "--out", str(out), "--json", str(figures)]
    shown = _run(str(corpus), *options, "--measure", f"English={english}", "--against", str(other))
    assert "tokens written to" in shown and "held-out" in shown
    assert ("a pair must occur" in shown) == (kind == "wordpiece")
    records = {(Path(record.model).name, record.variant, record.metric): record for record in read_records(figures)}
    assert len(records) == 2 * 2 * 3
    assert records["made", "held-out", "fertility"].value >= 1
    assert records["made", "English", "fertility"].n == len(PAIRS)
    step = Passport.read(out).lineage[-1]
    assert (step.command, list(step.inputs), step.config["vocab_size"]) == ("tokenizer train", ["corpus.txt"], 500)
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == 512 and "unk_token" in config


def test_bad_wishes_are_refused_before_any_work(tmp_path: Path, corpus: Path) -> None:
    out = tmp_path / "made"
    common = [str(corpus), "--out", str(out)]
    for options, words in {
        ("--kind", "word"): "'training.kind' is 'word'",
        ("--kind", "bpe", "--measure", "chats"): "not of the form KIND=FILE",
        ("--kind", "bpe", "--measure", "chats=absent.txt"): "corpus not found: absent.txt",
        ("--kind", "bpe", "--against", str(tmp_path / "absent")): "there is no folder",
        ("--kind", "bpe", "--family", "berd"): "unknown model family 'berd'",
        ("--kind", "bpe", "--vocab-size", "100"): "allow more tokens",
    }.items():
        with pytest.raises(SlonikError, match=words):
            _run(*common, *options)
    assert not out.exists()


def test_a_corpus_without_held_out_texts_says_so_instead_of_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("Слон.")
    shown = _run(str(path), "--kind", "bpe", "--vocab-size", "300", "--out", str(tmp_path / "made"))
    assert "nothing was measured" in shown and "tokens per word" not in shown
