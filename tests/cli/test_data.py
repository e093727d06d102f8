"""`slonik data convert` on corpora: shards, counts, bad input in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from slonik.cli import data as data_command
from slonik.core.errors import SlonikError
from slonik.pretraining.shards import open_shards
from tests import tiny


def _run(*arguments: str) -> str:
    app = typer.Typer()
    app.callback()(lambda: None)
    data_command.register(app)
    found = CliRunner().invoke(app, ["data", "convert", *arguments], catch_exceptions=False, standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.stdout


def _tokenizer(folder: Path) -> str:
    folder.mkdir()
    tiny.tokenizer("wordpiece").save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_corpus_becomes_shards_and_every_loss_is_counted(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.jsonl"
    first.write_text("\n".join([*tiny.TEXTS, tiny.TEXTS[0]]), encoding="utf-8")
    second.write_text(json.dumps({"text": "Ещё один текст о слоне и реке."}) + "\n", encoding="utf-8")
    out, figures = tmp_path / "shards", tmp_path / "counts.json"
    shown = _run(
        str(first), str(second), "--tokenizer", _tokenizer(tmp_path / "tok"), "--out", str(out),
        "--held-out-share", "0.1", "--json", str(figures),
    )  # fmt: skip
    corpus, counts = open_shards(out, verify=True), json.loads(figures.read_text())
    assert counts["documents"] == len(corpus) and counts["tokens"] == corpus.token_count
    summary = counts["summary"]
    assert summary["read"] == len(tiny.TEXTS) + 2 and summary["dropped_duplicate"] == 1
    assert summary["kept"] + summary["held_out"] + 1 == summary["read"]
    assert f"{corpus.token_count:,} tokens" in shown


def test_borders_make_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n".join(tiny.TEXTS), encoding="utf-8")
    common = ["--tokenizer", _tokenizer(tmp_path / "tok"), "--held-out-share", "0", "--border"]
    _run(str(path), *common, "8", "--out", str(tmp_path / "eight"))
    assert len(open_shards(tmp_path / "eight")) == len(tiny.TEXTS) // 8


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the corpus is empty"),
        ("Только русский".encode("cp1251"), "it looks like cp1251"),
        (b"a\x00b", "NUL byte"),
        (b"Only English text in this file, not a single Russian word.", "another language"),
        (b"x" * (17 << 20), "longer than"),
    ],
)
def test_bad_corpora_are_refused_and_nothing_is_written(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(SlonikError, match=sentence):
        _run(str(path), "--tokenizer", _tokenizer(tmp_path / "tok"), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_corpus_without_a_tokenizer_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("слон", encoding="utf-8")
    with pytest.raises(SlonikError, match="--tokenizer"):
        _run(str(path), "--to", "shards", "--out", str(tmp_path / "out"))
    with pytest.raises(SlonikError, match="say what to make"):
        _run(str(path), "--out", str(tmp_path / "out"))
