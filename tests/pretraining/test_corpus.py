"""Corpora to shards: what is dropped and why, held-out documents, resuming, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.data.filters import CleaningConfig
from slonik.data.sampling import is_held_out
from slonik.pretraining.corpus import CorpusSettings, open_prepared, prepare_corpus
from slonik.pretraining.shards import ShardWriter
from slonik.pretraining.tokenizer import training_texts
from tests import tiny

TEXTS = [f"{text} Глава {n}." for n in range(12) for text in tiny.TEXTS]


def _settings(folder: Path, texts: list[str] = TEXTS, **fields: Any) -> CorpusSettings:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return CorpusSettings(files=(str(path),), shard_tokens=500, **fields)


def test_held_out_documents_are_those_of_every_other_format_and_never_trained_on(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("wordpiece")
    found = prepare_corpus(_settings(tmp_path, held_out_share=0.2), tokenizer, tmp_path / "shards")
    held = {document.text for document in found.held_out}
    assert held == {text for text in TEXTS if is_held_out(text, 0.2)}
    kept = [text for text in TEXTS if text not in held]
    assert len(found.train) == len(kept) == found.summary["kept"]
    (tmp_path / "corpus.jsonl").unlink()  # other processes look at the shards alone
    assert len(open_prepared(tmp_path / "shards").train) == len(kept)
    for number, text in enumerate(kept):
        assert found.train.document(number).tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_kept_white_space_reaches_the_tokens_and_the_tokenizer_sees_no_held_out_text(tmp_path: Path) -> None:
    path = tmp_path / "verse.txt"
    verse = [f"{text}\n    Строка  {number}.\n  И ещё." for number, text in enumerate(TEXTS[:40])]
    path.write_text("\n\n".join(verse), encoding="utf-8")
    settings = CorpusSettings(
        files=(str(path),), border="blank", held_out_share=0.3, cleaning=CleaningConfig(keep_whitespace=True)
    )
    tokenizer = tiny.tokenizer("bpe")
    found = prepare_corpus(settings, tokenizer, tmp_path / "shards")
    held = {document.text for document in found.held_out}
    read = [tokenizer.decode(found.train.document(number).tolist()) for number in range(len(found.train))]
    assert held and held.isdisjoint(read) and sorted([*held, *read]) == sorted(verse)
    assert sorted(training_texts(settings)) == sorted(read)


def test_lines_of_a_document_are_its_sentences(tmp_path: Path) -> None:
    text = "\n".join(tiny.TEXTS[:3])
    found = prepare_corpus(_settings(tmp_path, [text], held_out_share=0.0), tiny.tokenizer(), tmp_path / "s")
    assert len(found.train) == 1 and found.train.documents.tolist() == [0, 3]


def test_what_is_dropped_is_counted_by_reason(tmp_path: Path) -> None:
    texts = [*tiny.TEXTS, tiny.TEXTS[0].upper(), "коротко", "The quick brown fox jumps over the lazy dog again."]
    settings = _settings(tmp_path, texts, drop_other_languages=True, cleaning={"min_characters": 8}, held_out_share=0.0)
    summary = prepare_corpus(settings, tiny.tokenizer(), tmp_path / "s").summary
    dropped = {name: count for name, count in summary.items() if name.startswith("dropped_")}
    # "Да." and "коротко" are short; short Russian texts are never judged
    assert dropped == {"dropped_short": 2, "dropped_duplicate": 1, "dropped_language": 1}
    assert summary["read"] == len(texts) == summary["kept"] + 4


def test_near_duplicates_go_where_they_are_asked_to(tmp_path: Path) -> None:
    long = " ".join(tiny.TEXTS)
    settings = _settings(tmp_path, [long, long + " Конец.", tiny.TEXTS[0]], duplicates="near", held_out_share=0.0)
    assert prepare_corpus(settings, tiny.tokenizer(), tmp_path / "s").summary["dropped_near_duplicate"] == 1


def test_a_killed_conversion_goes_on_to_the_same_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.tokenizer()
    whole = prepare_corpus(_settings(tmp_path), tokenizer, tmp_path / "whole")
    settings = _settings(tmp_path)
    close, closed = ShardWriter._close, []

    def killed(writer: ShardWriter) -> None:
        close(writer)
        closed.append(1)
        if len(closed) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "_close", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_corpus(settings, tokenizer, tmp_path / "killed")
    again = prepare_corpus(settings, tokenizer, tmp_path / "killed")
    assert again.train.tokens(0, again.train.token_count).tolist() == whole.train.tokens(
        0, whole.train.token_count
    ).tolist()  # fmt: skip
    assert again.held_out == whole.held_out and again.train.key == whole.train.key
    assert again.summary == whole.summary and again.summary["tokens"] == again.train.token_count


def test_the_same_call_reads_what_is_there_and_another_corpus_is_refused(tmp_path: Path) -> None:
    settings, tokenizer = _settings(tmp_path), tiny.tokenizer()
    first = prepare_corpus(settings, tokenizer, tmp_path / "s")
    stamp = (tmp_path / "s" / "shards.json").stat().st_mtime_ns
    assert prepare_corpus(settings, tokenizer, tmp_path / "s").train.key == first.train.key
    assert (tmp_path / "s" / "shards.json").stat().st_mtime_ns == stamp
    with pytest.raises(SlonikError, match="made from other inputs"):
        prepare_corpus(_settings(tmp_path, TEXTS[:50]), tokenizer, tmp_path / "s")


def test_a_sample_is_drawn_by_content(tmp_path: Path) -> None:
    settings = _settings(tmp_path, max_documents=30, held_out_share=0.0)
    turned = tmp_path / "turned"
    turned.mkdir()
    reverse = _settings(turned, TEXTS[::-1], max_documents=30, held_out_share=0.0)
    counts = [
        prepare_corpus(each, tiny.tokenizer(), tmp_path / name).train.token_count
        for name, each in (("a", settings), ("b", reverse))
    ]
    assert counts[0] == counts[1]


def test_a_corpus_in_another_language_leaves_no_folder(tmp_path: Path) -> None:
    settings = _settings(tmp_path, ["Only English here, nothing else at all."] * 3)
    with pytest.raises(SlonikError, match="another language"):
        prepare_corpus(settings, tiny.tokenizer(), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_late_line_in_another_encoding_is_refused_before_a_shard_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ru.txt"
    path.write_bytes("".join(f"{text}\n" for text in TEXTS).encode() + "Слон.\n".encode("cp1251"))
    with pytest.raises(SlonikError, match=r"ru.txt, line .* not UTF-8"):
        prepare_corpus(CorpusSettings(files=(str(path),), shard_tokens=50), tiny.tokenizer(), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_shards_that_were_altered_since_they_were_made_are_refused(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    prepare_corpus(_settings(tmp_path), tokenizer, tmp_path / "shards")
    given = CorpusSettings(files=(str(tmp_path / "shards"),))
    assert prepare_corpus(given, tokenizer, tmp_path / "unused").train.token_count
    path = next((tmp_path / "shards").glob("shard_*/tokens.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(SlonikError, match="is not what was written"):
        prepare_corpus(given, tokenizer, tmp_path / "unused")
