"""Corpora by many workers: the same shards whatever the workers, equal to one process's; what goes wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slonik.core.errors import SlonikError
from slonik.core.identity import folder_identity
from slonik.data.documents import read_documents
from slonik.pretraining.corpus import CorpusSettings, PreparedCorpus, check_corpus, files_identity, prepare_corpus
from slonik.pretraining.preparation.blocks import CleanText, WriteResult
from slonik.pretraining.preparation.prepare import Prepared, prepare
from slonik.pretraining.shards import TokenCorpus, open_shards
from tests import tiny

TEXTS = [f"{text} Глава {n}." for n in range(12) for text in tiny.TEXTS]
VERSE = "Мой дядя самых честных правил,\nКогда не в шутку занемог,\n\nОн уважать себя заставил."
MORE = [TEXTS[3].upper(), "\u200b", VERSE, TEXTS[20] + " Конец.", *TEXTS[::7]]
SETTINGS: dict[str, Any] = {"duplicates": "near", "held_out_share": 0.1}
SHARD_TOKENS = 1000
PART_BYTES = 40_000


def _rows(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def _corpus(folder: Path) -> tuple[str, str]:
    """A file of rows that three tasks read, and a folder of two files that one reads, with duplicates of the former."""
    _rows(folder / "rows.jsonl", TEXTS)
    (folder / "more").mkdir()
    _rows(folder / "more" / "a.jsonl", MORE)
    (folder / "more" / "b.txt").write_text("".join(f"{text}\n" for text in TEXTS[5:30]), encoding="utf-8")
    return str(folder / "rows.jsonl"), str(folder / "more")


def _prepare(sources: Any, out: Path, **options: Any) -> Prepared:
    options = {"tokenizer": tiny.tokenizer(), "part_bytes": PART_BYTES, "workers": 1, **SETTINGS} | options
    return prepare(sources, out, set={"shard_tokens": SHARD_TOKENS}, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Prepared, PreparedCorpus]:
    """(folder with corpus, `one` by one worker and `two` by two, result, what one process makes of the corpus)."""
    folder = tmp_path_factory.mktemp("prepared")
    sources = _corpus(folder)
    found = _prepare(sources, folder / "one")
    _prepare(sources, folder / "two", workers=2)
    settings = CorpusSettings(files=sources, shard_tokens=SHARD_TOKENS, **SETTINGS)
    return folder, found, prepare_corpus(settings, tiny.tokenizer(), folder / "single")


def _all(corpus: TokenCorpus) -> list[list[int]]:
    return [corpus.tokens(0, corpus.token_count).tolist(), corpus.sentences.tolist(), corpus.documents.tolist()]


def test_two_workers_make_what_one_makes_bit_for_bit(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    folder = made[0]
    one, two = (folder_identity(folder / name).parts for name in ("one", "two"))
    assert len(one) > 10 and one == two
    assert not (folder / "one.steps").exists() and not (folder / "two.steps").exists()


def test_the_tokens_are_those_of_one_process(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    folder, found, single = made
    assert _all(open_shards(folder / "one", verify=True)) == _all(single.train)
    assert (folder / "one" / "held_out.jsonl").read_bytes() == (folder / "single" / "held_out.jsonl").read_bytes()
    assert found.summary == single.summary
    assert found.tokens == single.train.token_count and found.documents == len(single.train)


def test_what_is_left_out_is_counted_by_reason_with_an_example(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    _, found, _ = made
    assert found.dropped["empty"] == 1 and found.dropped["duplicate"] > 20 and found.dropped["near_duplicate"] > 0
    assert set(found.examples) == set(found.dropped)
    assert found.examples["duplicate"] == TEXTS[3].upper()
    assert found.summary["read"] == found.documents + found.held_out + sum(found.dropped.values())


def test_the_same_call_finds_the_result_and_another_is_refused(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    folder, found, _ = made
    sources = (str(folder / "rows.jsonl"), str(folder / "more"))
    said: list[str] = []
    again = _prepare(sources, folder / "one", announce=said.append)
    assert again.summary == found.summary and "nothing to do" in said[-1]
    with pytest.raises(SlonikError, match=r"made from other inputs \(settings.duplicates"):
        _prepare(sources, folder / "one", duplicates="exact")


def test_a_killed_preparation_goes_on(
    made: tuple[Path, Prepared, PreparedCorpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = made
    sources = (str(folder / "rows.jsonl"), str(folder / "more"))
    write, begun = WriteResult.run, []

    def killed(block: WriteResult, data: Any, rank: int = 0, world_size: int = 1) -> None:
        begun.append(rank)
        if len(begun) == 3:
            raise KeyboardInterrupt
        write(block, data, rank, world_size)

    monkeypatch.setattr(WriteResult, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        _prepare(sources, tmp_path / "out")
    _prepare(sources, tmp_path / "out")
    assert begun == [0, 1, 2, 2, 3]
    assert folder_identity(tmp_path / "out").parts == folder_identity(folder / "one").parts


def test_a_bad_line_names_its_file_and_only_that_part_is_cleaned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = _corpus(tmp_path)
    bad = tmp_path / "more" / "b.txt"
    whole = bad.read_bytes()
    bad.write_bytes(whole + "Слон.\n".encode("cp1251"))
    clean, cleaned = CleanText.run, []

    def counted(block: CleanText, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        found = list(clean(block, data, rank, world_size))  # nothing is asked for of what was cleaned before
        cleaned.append(rank)
        yield from found

    monkeypatch.setattr(CleanText, "run", counted)
    with pytest.raises(SlonikError, match=r"1 of 4 tasks failed .*b.txt, line 26: not UTF-8.* log .*task_00003.log"):
        _prepare(sources, tmp_path / "out", tokenizer=None)
    assert cleaned == [0, 1, 2]
    bad.write_bytes(whole)
    found = _prepare(sources, tmp_path / "out", tokenizer=None)
    assert cleaned == [0, 1, 2, 3]
    assert found.tokens == 0 and sorted(path.name for path in (tmp_path / "out" / "documents").iterdir()) == [
        f"part_0000{part}.parquet" for part in range(4)
    ]


def test_sources_and_results_of_other_file_systems(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    import fsspec

    folder, found, _ = made
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/rows.jsonl", (folder / "rows.jsonl").read_bytes())
    memory.pipe("/more/a.jsonl", (folder / "more" / "a.jsonl").read_bytes())
    memory.pipe("/more/b.txt", (folder / "more" / "b.txt").read_bytes())
    sources = ["memory://bucket/*.jsonl", "memory://more"]
    options: dict[str, Any] = {"tokenizer": None, "duplicates": "exact"}
    here = _prepare([str(folder / "rows.jsonl"), str(folder / "more")], folder / "texts", **options)
    options |= {"workers": 1, "held_out_share": 0.1, "part_bytes": PART_BYTES}
    there = prepare(sources, "memory://out", **options)
    assert there.summary == here.summary and there.summary["read"] == found.summary["read"]
    for name in ("held_out.jsonl", "documents/part_00000.parquet", "documents/part_00003.parquet"):
        assert memory.cat(f"/out/{name}") == (folder / "texts" / name).read_bytes(), name
    assert not memory.find("/out.steps")
    with pytest.raises(SlonikError, match=r"texts that were set aside .* give .*texts/documents"):
        read_documents(folder / "texts")
    assert sum(1 for _ in read_documents(folder / "texts" / "documents")) == here.documents
    said: list[str] = []
    prepare(sources, "memory://out", announce=said.append, **options)
    assert "nothing to do" in said[-1]


def test_shards_are_a_corpus_for_who_has_their_tokenizer(made: tuple[Path, Prepared, PreparedCorpus]) -> None:
    folder, _, single = made
    settings = CorpusSettings(files=(str(folder / "one"),))
    check_corpus(settings)
    found = prepare_corpus(settings, tiny.tokenizer(), folder / "unused")
    assert _all(found.train) == _all(single.train) and found.held_out == single.held_out
    assert files_identity(settings) != files_identity(CorpusSettings(files=(str(folder / "single"),)))
    assert not (folder / "unused").exists()
    with pytest.raises(SlonikError, match="was made with another tokenizer"):
        prepare_corpus(settings, tiny.tokenizer("bpe"), folder / "unused")
    with pytest.raises(SlonikError, match=r"corpus.duplicates is 'near', and .*one was tokenised before"):
        check_corpus(CorpusSettings(files=(str(folder / "one"),), duplicates="near"))
    with pytest.raises(SlonikError, match="cannot be joined with other files"):
        check_corpus(CorpusSettings(files=(str(folder / "one"), str(folder / "rows.jsonl"))))
    with pytest.raises(SlonikError, match=r"tokenised already .shards.json., and texts are needed"):
        read_documents(folder / "one")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "spark"}, "unknown engine 'spark'"),
        ({"workers": 0}, "number of workers is 0"),
        ({"language": "en"}, "another language"),
        ({"set": {"max_documents": 3}}, "max_documents is 3"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    sources = _corpus(tmp_path)
    with pytest.raises(SlonikError, match=sentence):
        prepare(sources, tmp_path / "out", **{"workers": 1, **options})
    assert not (tmp_path / "out").exists()
